/* test_golden.c - ids and texts of small tokenizers of every kind (tests/data/tok, made by make_golden.py) are those of
 * Hugging Face's `tokenizers`.
 *
 * With arguments it is a tool for test_hf.py: `test_golden encode FILE` reads one JSON string a line and prints
 * [ids, ids with specials] for each; `test_golden decode FILE` reads arrays of ids and prints strings;
 * `test_golden bench FILE TEXT...` measures both ways, the first time and the best of 20. */
/* cmocka comes last, as its macro fail hides base.h's function. */
/* clang-format off */
#include <dirent.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/jsonw.h"
#include "tok/tok.h"
#include <cmocka.h>
/* clang-format on */

static Tokenizer *open_or_fail(const char *path)
{
    Tokenizer *t = NULL;
    Err err = { 0 };
    if (tok_open_path(path, &t, &err) != OK) {
        printf("%s\n", err.text);
        fail_msg("%s does not open", path);
    }
    return t;
}

static void ids_of(const Tokenizer *t, const json_t *text, int flags, Ids *out)
{
    out->n = 0;
    tok_encode(t, (Str){ json_string_value(text), json_string_length(text) }, flags, out);
}

static bool same_ids(const json_t *want, const Ids *got)
{
    bool same = json_array_size(want) == got->n;
    for (size_t i = 0; same && i < got->n; i++) same = json_integer_value(json_array_get(want, i)) == got->p[i];
    return same;
}

static void show(const char *name, const char *what, const json_t *text, const json_t *want, const Ids *got)
{
    Buf b = { 0 };
    jsonw_ids(&b, got->p, got->n);
    printf("%s: %s of %s\n  want %s\n  got  %.*s\n", name, what, json_dumps(text, JSON_ENCODE_ANY | JSON_ENSURE_ASCII),
           json_dumps(want, JSON_COMPACT), (int)b.n, b.p);
    buf_free(&b);
}

static size_t check_ids(const char *name, const Tokenizer *t, const json_t *texts, const json_t *all, bool plain_only)
{
    size_t i, bad = 0;
    const json_t *text;
    Ids got = { 0 };
    json_array_foreach(texts, i, text)
    {
        const json_t *want = json_array_get(all, i), *plain = json_array_get(want, 0);
        const json_t *special = json_array_get(want, json_array_size(want) - 1);
        ids_of(t, text, 0, &got);
        if (!same_ids(plain, &got) && ++bad < 4) show(name, "ids", text, plain, &got);
        if (plain_only) continue;
        ids_of(t, text, TOK_SPECIALS | TOK_ADD_BOS, &got);
        if (!same_ids(special, &got) && ++bad < 4) show(name, "ids with specials", text, special, &got);
    }
    ids_free(&got);
    return bad;
}

static size_t check_decoded(const char *name, const Tokenizer *t, const json_t *all, const json_t *decoded)
{
    size_t i, bad = 0;
    const json_t *want;
    Ids ids = { 0 };
    Buf got = { 0 };
    json_array_foreach(decoded, i, want)
    {
        const json_t *both = json_array_get(all, i * 3), *list = json_array_get(both, json_array_size(both) - 1);
        ids.n = got.n = 0;
        for (size_t k = 0; k < json_array_size(list); k++)
            ids_push(&ids, (int32_t)json_integer_value(json_array_get(list, k)));
        tok_decode(t, ids.p, ids.n, false, &got);
        if (str_eq(buf_view(&got), (Str){ json_string_value(want), json_string_length(want) })) continue;
        if (++bad < 4) {
            Buf quoted = { 0 };
            jsonw_str(&quoted, buf_view(&got));
            printf("%s: decoded text %zu\n  want %s\n  got  %.*s\n", name, i, json_dumps(want, JSON_ENCODE_ANY),
                   (int)quoted.n, quoted.p);
            buf_free(&quoted);
        }
    }
    ids_free(&ids);
    buf_free(&got);
    return bad;
}

static size_t check_tokenizer(const char *name, const json_t *texts)
{
    char path[1000];
    snprintf(path, sizeof path, RADISH_TESTS "/data/tok/%s.json", name);
    bool model = !file_exists(path); /* SentencePiece's own files: its ids, without specials */
    if (model) snprintf(path, sizeof path, RADISH_TESTS "/data/tok/%s.model", name);
    Tokenizer *t = open_or_fail(path);
    snprintf(path, sizeof path, RADISH_TESTS "/data/tok/%s.ids.json", name);
    json_t *want = json_load_file(path, JSON_ALLOW_NUL, NULL);
    assert_non_null(want);
    const json_t *ids = json_object_get(want, "ids");
    assert_int_equal(json_array_size(ids), json_array_size(texts));
    size_t bad = check_ids(name, t, texts, ids, model) + check_decoded(name, t, ids, json_object_get(want, "decoded"));
    if (bad) printf("%s: %zu differences\n", name, bad);
    json_decref(want);
    tok_close(t);
    return bad;
}

static void test_tiny_tokenizers(void **state)
{
    (void)state;
    json_t *texts = json_load_file(RADISH_TESTS "/data/tok/texts.json", JSON_ALLOW_NUL, NULL);
    DIR *dir = opendir(RADISH_TESTS "/data/tok");
    assert_non_null(texts);
    assert_non_null(dir);
    size_t n = 0, bad = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        char name[256];
        snprintf(name, sizeof name, "%s", e->d_name);
        char *dot = strstr(name, ".ids.json");
        if (!dot) continue;
        *dot = 0;
        bad += check_tokenizer(name, texts);
        n++;
    }
    closedir(dir);
    json_decref(texts);
    printf("%zu tokenizers\n", n);
    assert_true(n >= 30);
    assert_int_equal(bad, 0);
}

/* ---- the tool ---- */

static void encode_line(const Tokenizer *t, const json_t *text, Buf *out)
{
    Ids ids = { 0 };
    buf_char(out, '[');
    ids_of(t, text, 0, &ids);
    jsonw_ids(out, ids.p, ids.n);
    buf_char(out, ',');
    ids_of(t, text, TOK_SPECIALS | TOK_ADD_BOS, &ids);
    jsonw_ids(out, ids.p, ids.n);
    buf_char(out, ']');
    ids_free(&ids);
}

static void decode_line(const Tokenizer *t, const json_t *list, Buf *out)
{
    Ids ids = { 0 };
    Buf text = { 0 };
    for (size_t k = 0; k < json_array_size(list); k++)
        ids_push(&ids, (int32_t)json_integer_value(json_array_get(list, k)));
    tok_decode(t, ids.p, ids.n, false, &text);
    jsonw_str(out, buf_view(&text));
    buf_free(&text);
    ids_free(&ids);
}

static double mb_s(size_t bytes, int64_t ns)
{
    return (double)bytes * 1e3 / (double)MAX(ns, 1);
}

static void bench(const Tokenizer *t, const char *path)
{
    Arena *mem = arena_new(0);
    Str text;
    Ids ids = { 0 };
    Buf back = { 0 };
    int64_t first = 0, best = INT64_MAX, decoded = INT64_MAX;
    if (file_read(mem, path, 1 << 30, &text, NULL) != OK) return;
    for (int i = 0; i < 20; i++) {
        ids.n = back.n = 0;
        int64_t start = clock_ns();
        tok_encode(t, text, 0, &ids);
        int64_t ns = clock_ns() - start;
        if (i == 0) first = ns;
        best = MIN(best, ns);
        start = clock_ns();
        tok_decode(t, ids.p, ids.n, false, &back);
        decoded = MIN(decoded, clock_ns() - start);
    }
    printf("%s: %zu bytes, %zu ids; encode %.1f MB/s first, %.1f best; decode %.1f MB/s\n", path, text.n, ids.n,
           mb_s(text.n, first), mb_s(text.n, best), mb_s(text.n, decoded));
    ids_free(&ids);
    buf_free(&back);
    arena_free(mem);
}

static int tool(const char *what, const char *path, int n_texts, char **texts)
{
    Tokenizer *t;
    Err err = { 0 };
    int64_t start = clock_ns();
    if (tok_open_path(path, &t, &err) != OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    if (strcmp(what, "bench") == 0) {
        printf("%s: opened in %.1f ms\n", path, (double)(clock_ns() - start) / 1e6);
        for (int i = 0; i < n_texts; i++) bench(t, texts[i]);
        tok_close(t);
        return 0;
    }
    char *line = NULL;
    size_t cap = 0;
    Buf out = { 0 };
    while (getline(&line, &cap, stdin) > 0) {
        json_t *json = json_loads(line, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        buf_clear(&out);
        if (strcmp(what, "encode") == 0)
            encode_line(t, json, &out);
        else
            decode_line(t, json, &out);
        printf("%.*s\n", (int)out.n, out.p);
        json_decref(json);
    }
    free(line);
    buf_free(&out);
    tok_close(t);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_tiny_tokenizers) };
    if (argc >= 3) return tool(argv[1], argv[2], argc - 3, argv + 3);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
