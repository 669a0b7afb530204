/* test_output.c - running answers: whatever the tokens, the stop strings and where they fall, the deltas joined are the text up to the
 * first match, nothing that may belong to a stop string is shown early, and no character is cut. The vocabulary is bytes. */
#include "base/utf8.h"
#include "chat/chat.h"
#include "test.h"

static Tokenizer *tok;

/* The naive answer: decode all, cut at the stop string that ends first. */
static size_t cut_of(Str text, const Str *stop, int n_stop, bool keep, int *matched)
{
    *matched = -1;
    for (size_t end = 1; end <= text.n; end++) {
        for (int i = 0; i < n_stop; i++) {
            if (!str_ends(str_cut(text, 0, end), stop[i])) continue;
            size_t begin = end - stop[i].n;
            bool earlier = *matched < 0 || begin < end - stop[*matched].n;
            if (earlier) *matched = i;
        }
        if (*matched >= 0) return keep ? end : end - stop[*matched].n;
    }
    return text.n;
}

static void check(Str text, const Str *stop, int n_stop, bool keep)
{
    Ids ids = { 0 };
    Buf got = { 0 };
    OutputOptions o = { stop, n_stop, keep, true };
    tok_encode(tok, text, 0, &ids);
    Output *out = output_new(tok, &o);
    bool stopped = false;
    size_t used = 0;
    for (; used < ids.n && !stopped; used++) {
        stopped = output_push(out, ids.p[used], &got);
        assert_true(utf8_valid(buf_view(&got)));
    }
    if (!stopped) output_end(out, &got);
    int matched;
    size_t n = cut_of(text, stop, n_stop, keep, &matched);
    if (got.n != n || !str_starts(text, buf_view(&got)) || output_matched(out) != matched)
        print_message("text \"%.*s\" got \"%.*s\" want %zu bytes, matched %d want %d\n", STR_FMT(text),
                      STR_FMT(buf_view(&got)), n, output_matched(out), matched);
    assert_int_equal(got.n, n);
    assert_true(str_starts(text, buf_view(&got)));
    assert_int_equal(output_matched(out), matched);
    output_free(out);
    buf_free(&got);
    ids_free(&ids);
}

/* Texts over a few letters, so that stop strings and their beginnings occur all the time. A stop string that ends inside a token is
 * found when the token is whole; tokens here are single bytes and short words, which is why the naive answer holds. */
static void test_random(void **state)
{
    (void)state;
    static const char *const letters[] = { "a", "b", "ab", "\n", "\xC3\xA9", "x" };
    Rng rng = { 11 };
    for (int round = 0; round < 3000; round++) {
        Buf text = { 0 }, words[3] = { 0 };
        Str stop[3];
        int n_stop = (int)rng_below(&rng, 4);
        for (uint32_t i = rng_below(&rng, 30); i > 0; i--)
            buf_str(&text, str_of(letters[rng_below(&rng, COUNT(letters))]));
        for (int i = 0; i < n_stop; i++) {
            for (uint32_t k = 1 + rng_below(&rng, 4); k > 0; k--)
                buf_str(&words[i], str_of(letters[rng_below(&rng, COUNT(letters))]));
            stop[i] = buf_view(&words[i]);
        }
        check(buf_view(&text), stop, n_stop, round & 1);
        buf_free(&text);
        for (int i = 0; i < 3; i++) buf_free(&words[i]);
    }
}

static void test_held_back(void **state)
{
    (void)state;
    Str stop = STR("bax");
    Buf got = { 0 };
    Ids ids = { 0 };
    Output *out = output_new(tok, &(OutputOptions){ &stop, 1, false, true });
    tok_encode(tok, STR("abab"), 0, &ids);
    for (size_t i = 0; i < ids.n; i++) output_push(out, ids.p[i], &got);
    assert_true(str_is(buf_view(&got), "aba")); /* the last b may begin the stop string */
    output_end(out, &got);
    assert_true(str_is(buf_view(&got), "abab"));
    output_free(out);
    buf_free(&got);
    ids_free(&ids);
}

/* Special tokens are left out, but for those that somebody is told by. */
static void test_kept(void **state)
{
    (void)state;
    static const int32_t ids[] = { 'a', 256, 257, 'b', 256 }, mark = 256;
    static const char *const want[] = { "a<mark>b<mark>", "ab", "a<mark><other>b<mark>" };
    for (int way = 0; way < 3; way++) {
        Buf got = { 0 };
        OutputOptions o = { .skip_special = way < 2, .kept = &mark, .n_kept = way != 1 };
        Output *out = output_new(tok, &o);
        for (size_t i = 0; i < COUNT(ids); i++) output_push(out, ids[i], &got);
        output_end(out, &got);
        assert_true(str_is(buf_view(&got), want[way]));
        output_free(out);
        buf_free(&got);
    }
}

/* A byte-level BPE without merges, so that every byte is a token, written as a tokenizer.json. */
static void write_tokenizer(const char *path)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("{\"added_tokens\":[{\"id\":256,\"content\":\"<mark>\",\"special\":true},{\"id\":257,\"content\":\"<other>\","
          "\"special\":true}],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":"
          "false,\"use_regex\":true},"
          "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{",
          f);
    for (int b = 0, next = 256; b < 256; b++) {
        bool own = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        fprintf(f, "%s\"\\u%04x\":%d", b ? "," : "", own ? b : next++, b);
    }
    fputs("}}}", f);
    fclose(f);
}

int main(void)
{
    char dir[] = "/tmp/radish-output-XXXXXX", path[64];
    Err err;
    if (!mkdtemp(dir)) return 1;
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    write_tokenizer(path);
    Status status = tok_open_path(path, &tok, &err);
    remove(path);
    remove(dir);
    if (status != OK) {
        printf("[  FAILED  ] 1 test(s): %s\n", err.text);
        return 1;
    }
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_random), cmocka_unit_test(test_held_back),
                                        cmocka_unit_test(test_kept) };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tok_close(tok);
    return failed;
}
