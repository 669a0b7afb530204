/* test_tok.c - the promises of tok.h beside ids: special ids and templates from the files of a folder, streams, threads,
 * long and malformed text, and refusals that name the file and what is wrong in it. */
/* cmocka comes last, as its macro fail hides base.h's function. */
/* clang-format off */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/utf8.h"
#include "tok/gguf_file.h"
#include "tok/tok.h"
#include <cmocka.h>
/* clang-format on */

#define DATA RADISH_TESTS "/data/tok/"

static Tokenizer *opened(const char *path)
{
    Tokenizer *t = NULL;
    Err err = { 0 };
    if (tok_open_path(path, &t, &err) != OK) fail_msg("%s", err.text);
    return t;
}

static Tokenizer *from_text(const char *json)
{
    Tokenizer *t = NULL;
    Err err = { 0 };
    if (tok_open_bytes(str_of(json), "tokenizer.json", &t, &err) != OK) fail_msg("%s", err.text);
    return t;
}

static void expect(const Tokenizer *t, Str text, int flags, const int32_t *want, size_t n)
{
    Ids ids = { 0 };
    tok_encode(t, text, flags, &ids);
    assert_int_equal(ids.n, n);
    for (size_t i = 0; i < n; i++) assert_int_equal(ids.p[i], want[i]);
    ids_free(&ids);
}

#define EXPECT(t, text, flags, ...)                                                                                    \
    expect(t, STR(text), flags, (const int32_t[]){ __VA_ARGS__ }, sizeof(int32_t[]){ __VA_ARGS__ } / sizeof(int32_t))

/* ---- a folder's files ---- */

static const char small[] =
    "{\"added_tokens\":[{\"id\":4,\"content\":\"<s>\",\"special\":true},{\"id\":5,\"content\":\"<|im_end|>\","
    "\"special\":true},"
    "{\"id\":6,\"content\":\"<think>\",\"special\":false}],\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_"
    "space\":false},"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"\xC4\xA0\":3},\"merges\":[\"a b\"]},"
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":"
    "{\"id\":\"A\"}}],"
    "\"special_tokens\":{\"<s>\":{\"ids\":[4]}}},\"decoder\":{\"type\":\"ByteLevel\"}}";

static void put(const char *dir, const char *name, const char *text)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(file_write(path, str_of(text), NULL), OK);
}

static void clear(const char *dir)
{
    static const char *const names[] = { "tokenizer.json", "tokenizer_config.json", "generation_config.json",
                                         "config.json",    "chat_template.jinja",   "tokenizer.model" };
    char path[300];
    for (size_t i = 0; i < COUNT(names); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

static bool is_stop(const Tokenizer *t, int32_t id)
{
    size_t n;
    const int32_t *stops = tok_stop_ids(t, &n);
    for (size_t i = 0; i < n; i++)
        if (stops[i] == id) return true;
    return false;
}

static void test_folder(void **state)
{
    (void)state;
    char dir[] = "/tmp/radish-tok-XXXXXX";
    assert_non_null(mkdtemp(dir));
    put(dir, "tokenizer.json", small);
    put(dir, "tokenizer_config.json",
        "{\"bos_token\":{\"content\":\"<s>\"},\"eos_token\":\"<|im_end|>\",\"chat_template\":[{\"name\":\"default\","
        "\"template\":\"D\"},"
        "{\"name\":\"tool_use\",\"template\":\"T\"}]}");
    put(dir, "generation_config.json", "{\"eos_token_id\":[5,1]}");
    Tokenizer *t = opened(dir);
    assert_int_equal(tok_n_vocab(t), 7);
    assert_int_equal(tok_bos(t), 4);
    assert_int_equal(tok_eos(t), 5);
    assert_true(tok_adds_bos(t));
    assert_true(is_stop(t, 5) && is_stop(t, 1) && !is_stop(t, 0));
    assert_true(str_is(tok_chat_template(t, ""), "D") && str_is(tok_chat_template(t, "tool_use"), "T"));
    assert_int_equal(tok_chat_template(t, "other").n, 0);
    assert_true(str_is(tok_special_text(t, "bos_token"), "<s>"));
    assert_int_equal(tok_special_text(t, "pad_token").n, 0);
    assert_true(tok_is_special(t, 4) && !tok_is_special(t, 6) && !tok_is_special(t, 99) && !tok_is_special(t, -1));
    assert_int_equal(tok_find(t, STR("<think>")), 6);
    assert_int_equal(tok_find(t, STR("ab")), 2);
    assert_int_equal(tok_find(t, STR("ba")), -1);
    assert_true(str_is(tok_piece(t, 3), " "));
    EXPECT(t, "ab<think> a", TOK_ADD_BOS, 4, 2, 6, 3, 0);
    EXPECT(t, "<s>ab", TOK_SPECIALS, 4, 2);
    tok_close(t);
    /* An added token that only the config knows, and one that is also a piece of the model. */
    put(dir, "tokenizer_config.json",
        "{\"added_tokens_decoder\":{\"7\":{\"content\":\"<new>\",\"special\":true,\"rstrip\":true},\"1\":{\"content\":"
        "\"b\",\"special\":false}}}");
    t = opened(dir);
    EXPECT(t, "a<new> ab", TOK_SPECIALS, 0, 7, 0, 1);
    tok_close(t);
    put(dir, "chat_template.jinja", "J");
    t = opened(dir);
    assert_true(str_is(tok_chat_template(t, ""), "J")); /* a file of its own comes first */
    tok_close(t);
    clear(dir);
}

/* ---- GGUF ---- */

/* Letters and spaces as bytes, one merge, a control token and a user-defined one. */
static Tokenizer *open_bpe(const char *pre, Err *err)
{
    static const char *const tokens[] = { "a", "b", "ab", "\xC4\xA0", "<|im_end|>", "<think>", "1" };
    static const char *const merges[] = { "a b" };
    static const int32_t types[] = { 1, 1, 1, 1, 3, 4, 1 };
    GgufFile f = { 0 };
    gguf_text(&f, "general.architecture", "llama");
    gguf_text(&f, "tokenizer.ggml.model", "gpt2");
    gguf_text(&f, "tokenizer.ggml.pre", pre);
    gguf_texts(&f, "tokenizer.ggml.tokens", tokens, COUNT(tokens));
    gguf_texts(&f, "tokenizer.ggml.merges", merges, COUNT(merges));
    gguf_i32s(&f, "tokenizer.ggml.token_type", types, COUNT(types));
    gguf_u32(&f, "tokenizer.ggml.eos_token_id", 4);
    gguf_text(&f, "tokenizer.chat_template", "D");
    gguf_text(&f, "tokenizer.chat_template.tool_use", "T");
    return gguf_open(&f, err);
}

static void test_gguf(void **state)
{
    (void)state;
    Err err = { 0 };
    Tokenizer *t = open_bpe("smollm", &err);
    assert_non_null(t);
    EXPECT(t, "ab 11<think>a<|im_end|>", TOK_SPECIALS, 2, 3, 6, 6, 5, 0, 4);
    assert_int_equal(tok_eos(t), 4);
    assert_true(is_stop(t, 4) && tok_is_special(t, 4) && !tok_is_special(t, 5) && !tok_adds_bos(t));
    assert_true(str_is(tok_chat_template(t, ""), "D") && str_is(tok_chat_template(t, "tool_use"), "T"));
    assert_true(str_is(tok_special_text(t, "eos_token"), "<|im_end|>"));
    tok_close(t);
    assert_null(open_bpe("nobody-knows", &err));
    assert_non_null(strstr(err.text, "tokenizer.ggml.pre is \"nobody-knows\""));
}

static void test_gguf_spm(void **state)
{
    (void)state;
    static const char *const tokens[] = { "<unk>",
                                          "<s>",
                                          "</s>",
                                          "<0x63>",
                                          "\xE2\x96\x81",
                                          "a",
                                          "\xE2\x96\x81"
                                          "a",
                                          "b",
                                          "ab",
                                          "<x>" };
    static const int32_t types[] = { 2, 3, 3, 6, 1, 1, 1, 1, 1, 4 };
    static const float scores[] = { 0, 0, 0, 0, -4, -5, -2, -6, -1, 0 };
    GgufFile f = { 0 };
    gguf_text(&f, "tokenizer.ggml.model", "llama");
    gguf_texts(&f, "tokenizer.ggml.tokens", tokens, COUNT(tokens));
    gguf_f32s(&f, "tokenizer.ggml.scores", scores, COUNT(scores));
    gguf_i32s(&f, "tokenizer.ggml.token_type", types, COUNT(types));
    Err err = { 0 };
    Tokenizer *t = gguf_open(&f, &err);
    if (!t) fail_msg("%s", err.text);
    EXPECT(t, "a ab", TOK_ADD_BOS, 1, 6, 4, 8); /* the higher score merges first */
    EXPECT(t, "cd", 0, 4, 3, 0);                /* a byte's piece; d has none */
    EXPECT(t, "a<x>b</s>", 0, 6, 9, 7, 0); /* a user-defined piece takes no space before what follows; </s> is text */
    EXPECT(t, "a</s>b", TOK_SPECIALS, 6, 2, 4, 7);
    Buf out = { 0 };
    const int32_t ids[] = { 6, 4, 8, 3 };
    tok_decode(t, ids, COUNT(ids), false, &out);
    assert_true(str_is(buf_view(&out), "a abc"));
    buf_free(&out);
    tok_close(t);
}

/* ---- text of every kind ---- */

static void test_text(void **state)
{
    (void)state;
    Tokenizer *t = from_text(small);
    expect(t, STR(""), TOK_ADD_BOS, (const int32_t[]){ 4 }, 1);
    EXPECT(t, "xaxbx", 0, 2); /* bytes without a piece are gone before neighbours merge */
    /* A malformed byte is U+FFFD, which is no letter and ends the word; bytes without a piece give nothing. */
    EXPECT(t, "a\377b", 0, 0, 1);
    expect(t, (Str){ NULL, 0 }, 0, NULL, 0);
    tok_close(t);
}

/* Empty matches of a Replace put its content in; the words are what `tokenizers` normalizes these texts to. */
static void test_empty_replace(void **state)
{
    (void)state;
    Tokenizer *t =
        from_text("{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"x*\"},\"content\":\"-\"},"
                  "\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"-a-b-c-d-\":0,\"-\\u00e9-\\u65e5-\":1,\"-\":2}}}");
    EXPECT(t, "abxxcd", 0, 0);
    EXPECT(t, "\xC3\xA9\xE6\x97\xA5x", 0, 1);
    EXPECT(t, "xx", 0, 2);
    expect(t, STR(""), 0, NULL, 0);
    tok_close(t);
}

/* A long run costs about as much a byte as a short one. */
static void test_long_runs(void **state)
{
    (void)state;
    static const char *const names[] = { DATA "llama3.json", DATA "llama2.json", DATA "unigram.json", DATA "bert.json",
                                         DATA "qwen2.json" };
    static const char *const units[] = { "a",  " ", "\n",           "'s",  "e\xCC\x81", "\xCC\xB4\xCC\x81",
                                         "ab", "<", "\xE4\xB8\xAD", "<s>", "1" };
    enum { N = 1 << 18 };
    Buf text = { 0 };
    Ids ids = { 0 };
    for (size_t i = 0; i < COUNT(names); i++) {
        Tokenizer *t = opened(names[i]);
        for (size_t k = 0; k < COUNT(units); k++) {
            buf_clear(&text);
            ids.n = 0;
            while (text.n < N) buf_str(&text, str_of(units[k]));
            clock_t start = clock(); /* of this process: the machine may be busy */
            tok_encode(t, buf_view(&text), TOK_SPECIALS, &ids);
            int64_t ms = (int64_t)(clock() - start) * 1000 / CLOCKS_PER_SEC;
            if (ms > 20000) fail_msg("%s: %d bytes of \"%s\" took %lld ms", names[i], N, units[k], (long long)ms);
        }
        tok_close(t);
    }
    ids_free(&ids);
    buf_free(&text);
}

/* ---- streams ---- */

static void check_stream(const Tokenizer *t, const int32_t *ids, size_t n, bool skip)
{
    Buf whole = { 0 }, streamed = { 0 };
    TokStream s;
    tok_decode(t, ids, n, skip, &whole);
    tok_stream_init(&s, t, skip);
    for (size_t i = 0; i < n; i++) {
        tok_stream_push(&s, ids[i], &streamed);
        assert_true(utf8_valid(buf_view(&streamed)));
    }
    tok_stream_end(&s, &streamed);
    assert_int_equal(whole.n, streamed.n);
    if (whole.n) assert_memory_equal(whole.p, streamed.p, whole.n);
    buf_free(&whole);
    buf_free(&streamed);
}

static void test_streams(void **state)
{
    (void)state;
    static const char *const names[] = { "gpt2",    "llama3", "llama2", "mistral", "gemma",
                                         "unigram", "bert",   "clip",   "words",   "ctc" };
    Rng r = { 7 };
    for (size_t i = 0; i < COUNT(names); i++) {
        char path[300];
        snprintf(path, sizeof path, DATA "%s.json", names[i]);
        Tokenizer *t = opened(path);
        for (int round = 0; round < 300; round++) {
            int32_t ids[40];
            size_t n = rng_below(&r, COUNT(ids));
            /* every other round mostly from the low ids, where the single bytes are */
            uint32_t top = round % 2 ? 260 : (uint32_t)tok_n_vocab(t) + 3;
            for (size_t k = 0; k < n; k++) ids[k] = (int32_t)rng_below(&r, top) - 1;
            check_stream(t, ids, n, round % 3 == 0);
        }
        tok_close(t);
    }
}

/* Characters come out whole and at once, a genuine U+FFFD does not hold the stream up. */
static void test_stream_bytes(void **state)
{
    (void)state;
    Tokenizer *t = opened(DATA "gpt2.json");
    Ids ids = { 0 };
    Buf out = { 0 };
    TokStream s;
    tok_encode(t, STR("\xF0\x9F\xA6\x84"), 0, &ids);
    assert_true(ids.n > 1);
    tok_stream_init(&s, t, false);
    for (size_t i = 0; i + 1 < ids.n; i++) tok_stream_push(&s, ids.p[i], &out);
    assert_int_equal(out.n, 0);
    tok_stream_push(&s, ids.p[ids.n - 1], &out);
    assert_true(str_is(buf_view(&out), "\xF0\x9F\xA6\x84"));
    int32_t bad = tok_find(t, STR("\xFF"));
    assert_true(bad >= 0);
    tok_stream_push(&s, bad, &out);
    assert_true(str_is(buf_view(&out), "\xF0\x9F\xA6\x84\xEF\xBF\xBD"));
    tok_stream_push(&s, ids.p[0], &out);
    tok_stream_end(&s, &out);
    assert_true(str_is(buf_view(&out), "\xF0\x9F\xA6\x84\xEF\xBF\xBD\xEF\xBF\xBD"));
    buf_free(&out);
    ids_free(&ids);
    tok_close(t);
}

/* ---- threads ---- */

typedef struct {
    const Tokenizer *t;
    Str text;
    const Ids *want;
    bool same;
} Job;

static void *encode_often(void *arg)
{
    Job *job = arg;
    Ids got = { 0 };
    job->same = true;
    for (int i = 0; i < 20; i++) {
        got.n = 0;
        tok_encode(job->t, job->text, TOK_SPECIALS, &got);
        job->same = job->same && got.n == job->want->n && memcmp(got.p, job->want->p, got.n * sizeof *got.p) == 0;
    }
    ids_free(&got);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    Tokenizer *t = opened(DATA "regex.json");
    Buf text = { 0 };
    Ids want = { 0 };
    for (int i = 0; i < 200; i++) buf_printf(&text, "The %d quick brown f\xC3\xB6xes, it's <s> %d!\n", i, i * 7919);
    tok_encode(t, buf_view(&text), TOK_SPECIALS, &want);
    pthread_t thread[8];
    Job job[8];
    for (int i = 0; i < 8; i++) {
        job[i] = (Job){ .t = t, .text = buf_view(&text), .want = &want };
        assert_int_equal(pthread_create(&thread[i], NULL, encode_often, &job[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(thread[i], NULL);
        assert_true(job[i].same);
    }
    buf_free(&text);
    ids_free(&want);
    tok_close(t);
}

/* ---- refusals ---- */

static void refused(Str bytes, const char *name, const char *part)
{
    Tokenizer *t = NULL;
    Err err = { 0 };
    assert_int_not_equal(tok_open_bytes(bytes, name, &t, &err), OK);
    assert_null(t);
    if (!strstr(err.text, name) || !strstr(err.text, part) || strchr(err.text, '\n'))
        fail_msg("the text is \"%s\", without %s or %s", err.text, name, part);
}

/* Steps that would make gigabytes of a page of text. */
static void refuse_growth(void)
{
    static const char model[] = "\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0}}}";
    Buf b = { 0 };
    buf_printf(&b, "{\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"%0300d\"},%s", 0, model);
    refused(buf_view(&b), "tokenizer.json", "300 bytes, over 256");
    buf_clear(&b);
    buf_printf(&b, "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[");
    for (int i = 0; i < 3; i++)
        buf_printf(&b, "%s{\"type\":\"Replace\",\"pattern\":{\"String\":\"0\"},\"content\":\"%0100d\"}", i ? "," : "",
                   0);
    buf_printf(&b, "]},%s", model);
    refused(buf_view(&b), "tokenizer.json", "1000000 times as long");
    buf_clear(&b);
    buf_printf(&b,
               "{\"added_tokens\":[{\"id\":0,\"content\":\"%05000d\"}],\"model\":{\"type\":\"WordLevel\",\"vocab\":{"
               "\"a\":0}}}",
               0);
    refused(buf_view(&b), "tokenizer.json", "5000 bytes, over 4096");
    buf_free(&b);
}

static void test_refusals(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "{", "line 1" },
        { "{}", "model" },
        { "{\"model\":{\"type\":\"Magic\"}}", "Magic" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}}", "merges" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":99999999},\"merges\":[]}}", "99999999" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":\"b\"},\"merges\":[]}}", "no integer id" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", "merges[0]" },
        { "{\"normalizer\":{\"type\":\"Wish\"},\"model\":{}}", "normalizer: type \"Wish\"" },
        { "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"}}",
          "pre_tokenizer: split pattern (" },
        { "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a[bc]]\"}}}", "a class within a class" },
        { "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[[:graph:]]\"}}}", "double brackets" },
        { "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Odd\"}}", "Odd" },
        { "{\"decoder\":{\"type\":\"Odd\"},\"model\":{}}", "decoder" },
        { "{\"model\":{\"type\":\"Unigram\",\"unk_id\":7,\"vocab\":[[\"a\",-1]]}}", "unk_id" },
        { "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", "vocab[0]" },
        { "{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0}},\"added_tokens\":[{\"content\":\"x\",\"id\":-1}]}",
          "added_tokens[0]" },
        { "{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0},\"max_input_chars_per_word\":100000}}",
          "max_input_chars_per_word is 100000" },
        { "{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"////\"}}", "charsmap" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) refused(str_of(cases[i][0]), "tokenizer.json", cases[i][1]);
    refuse_growth();
    refused(STR(""), "tokenizer.model", "no pieces");
    refused(STR("\n\x7F"), "tokenizer.model", "malformed");
    refused(STR("YQ== 0\nYg== x\n"), "tokenizer.model", "line 2");
    refused(STR("YQ== 0\n"), "tokenizer.model", "rank file of 1");
    refused(STR("{\"vocab\":[{\"token_bytes\":\"YQ==\"}],\"config\":{}}"), "tekken.json", "config");
}

/* Every prefix of a good file is refused, or is whole. */
static void test_cut_files(void **state)
{
    (void)state;
    static const char *const names[] = { DATA "spm_bpe.model", DATA "spm_unigram.model", DATA "clip.json" };
    Arena *mem = arena_new(0);
    for (size_t i = 0; i < COUNT(names); i++) {
        Str bytes;
        assert_int_equal(file_read(mem, names[i], 1 << 20, &bytes, NULL), OK);
        for (size_t n = 0; n < bytes.n; n += n < 300 ? 1 : 97) {
            char *exact = malloc(n + 1); /* a sanitizer sees a read past the end */
            memcpy(exact, bytes.p, n);
            Tokenizer *t = NULL;
            Err err = { 0 };
            if (tok_open_bytes((Str){ exact, n }, "cut", &t, &err) == OK)
                tok_close(t);
            else
                assert_true(err.text[0] != 0);
            free(exact);
        }
    }
    arena_free(mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gguf),     cmocka_unit_test(test_gguf_spm),     cmocka_unit_test(test_folder),
        cmocka_unit_test(test_text),     cmocka_unit_test(test_long_runs),    cmocka_unit_test(test_empty_replace),
        cmocka_unit_test(test_streams),  cmocka_unit_test(test_stream_bytes), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_cut_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
