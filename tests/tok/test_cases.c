/* test_cases.c - ids of hard strings and of whole texts in real vocabularies, against those of the libraries made for
 * them. RADISH_CORPUS names the folder with tokenizer-cases/ and text/, RADISH_VOCABS the one with the vocabulary files
 * (under the names that texts.json gives, or VOCABULARY.json); what is not there is skipped, with a message. */
/* cmocka comes last, as its macro fail hides base.h's function. */
/* clang-format off */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "tok/sha256.h"
#include "tok/tok.h"
#include <cmocka.h>
/* clang-format on */

static int n_run, n_skipped;

static void expect_ids(const char *vocab, json_t *line, const Ids *got, const char *key)
{
    json_t *want = json_object_get(line, key);
    bool same = json_array_size(want) == got->n;
    for (size_t i = 0; same && i < got->n; i++) same = json_integer_value(json_array_get(want, i)) == got->p[i];
    if (same) return;
    printf("%s: %s (%s): text %s\n  want %s\n  got  [", vocab, json_string_value(json_object_get(line, "name")), key,
           json_string_value(json_object_get(line, "text")), json_dumps(want, JSON_COMPACT));
    for (size_t i = 0; i < got->n && i < 200; i++) printf("%d,", got->p[i]);
    printf("]\n");
    fail_msg("%s: ids differ", vocab);
}

static void check_line(const Tokenizer *t, const char *vocab, json_t *line)
{
    json_t *json = json_object_get(line, "text");
    Str text = { json_string_value(json), json_string_length(json) };
    Ids ids = { 0 };
    tok_encode(t, text, 0, &ids);
    expect_ids(vocab, line, &ids, "ids");
    if (json_object_get(line, "ids_special")) {
        ids.n = 0;
        tok_encode(t, text, TOK_SPECIALS, &ids);
        expect_ids(vocab, line, &ids, "ids_special");
    }
    ids_free(&ids);
}

static void check_cases(const Tokenizer *t, const char *vocab, const char *corpus)
{
    char path[1000], *line = NULL;
    size_t cap = 0;
    snprintf(path, sizeof path, "%s/tokenizer-cases/%s.jsonl", corpus, vocab);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    int n = 0;
    while (getline(&line, &cap, f) > 0) {
        json_t *json = json_loads(line, JSON_ALLOW_NUL, NULL);
        assert_non_null(json);
        check_line(t, vocab, json);
        json_decref(json);
        n++;
    }
    assert_true(n > 100);
    free(line);
    fclose(f);
}

static void check_text(const Tokenizer *t, const char *vocab, const char *corpus, const char *name, json_t *want)
{
    Arena *mem = arena_new(0);
    Str text;
    Ids ids = { 0 };
    char hex[65];
    assert_int_equal(file_read(mem, file_join(mem, corpus, name), 64 << 20, &text, NULL), OK);
    tok_encode(t, text, 0, &ids);
    sha256_hex(ids.p, ids.n * sizeof *ids.p, hex);
    const char *wanted = json_string_value(json_object_get(want, "sha256"));
    if (strcmp(hex, wanted) != 0)
        fail_msg("%s: %s: %zu ids, not the %lld expected, or others", vocab, name, ids.n,
                 json_integer_value(json_object_get(want, "ids")));
    Buf back = { 0 };
    tok_decode(t, ids.p, ids.n, false, &back);
    if (strcmp(vocab, "smollm2") != 0 && strncmp(vocab, "qwen", 4) != 0) { /* missing bytes; NFC */
        assert_int_equal(back.n, text.n);
        assert_memory_equal(back.p, text.p, text.n);
    }
    buf_free(&back);
    ids_free(&ids);
    arena_free(mem);
}

static void check_vocab(const char *vocab, json_t *entry, const char *corpus, const char *vocabs)
{
    char path[1000], texts[1000];
    snprintf(path, sizeof path, "%s/%s", vocabs, json_string_value(json_object_get(entry, "file")));
    if (!file_exists(path)) snprintf(path, sizeof path, "%s/%s.json", vocabs, vocab);
    if (!file_exists(path)) {
        printf("%s: no file %s: skipped\n", vocab, path);
        n_skipped++;
        return;
    }
    Tokenizer *t;
    Err err = { 0 };
    if (tok_open_path(path, &t, &err) != OK) fail_msg("%s", err.text);
    check_cases(t, vocab, corpus);
    snprintf(texts, sizeof texts, "%s/text", corpus);
    const char *name;
    json_t *want;
    json_object_foreach(json_object_get(entry, "texts"), name, want) check_text(t, vocab, texts, name, want);
    tok_close(t);
    n_run++;
    printf("%s: all ids as expected\n", vocab);
}

static void test_vocabularies(void **state)
{
    (void)state;
    const char *corpus = getenv("RADISH_CORPUS"), *vocabs = getenv("RADISH_VOCABS");
    if (!corpus || !vocabs) {
        printf("RADISH_CORPUS and RADISH_VOCABS are not set: skipped\n");
        skip();
    }
    char path[1000];
    snprintf(path, sizeof path, "%s/tokenizer-cases/texts.json", corpus);
    json_t *all = json_load_file(path, 0, NULL), *entry;
    assert_non_null(all);
    const char *vocab, *only = getenv("RADISH_VOCAB");
    json_object_foreach(json_object_get(all, "vocabularies"), vocab, entry)
    {
        if (only && strcmp(only, vocab) != 0) continue;
        check_vocab(vocab, entry, corpus, vocabs);
    }
    json_decref(all);
    printf("%d vocabularies checked, %d skipped\n", n_run, n_skipped);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_vocabularies) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
