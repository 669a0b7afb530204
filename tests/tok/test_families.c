/* test_families.c - tokenizers that GGUF files name rather than describe: how each family cuts text, against Hugging Face's
 * `tokenizers` with the patterns of the family's own tokenizer.json (families.json, made by make_golden.py); and the models
 * that only GGUF files have, against ids that llama.cpp gave for the same small files. */
/* cmocka comes last, as its macro fail hides base.h's function. */
/* clang-format off */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tok/gguf_file.h"
#include <cmocka.h>
/* clang-format on */

static json_t *load_json(const char *name)
{
    char path[500];
    snprintf(path, sizeof path, RADISH_TESTS "/data/tok/%s", name);
    json_t *json = json_load_file(path, JSON_ALLOW_NUL, NULL);
    assert_non_null(json);
    return json;
}

static void put_list(GgufFile *f, const char *key, const json_t *list)
{
    size_t i;
    const json_t *item;
    gguf_array(f, key, GGUF_STRING, json_array_size(list));
    json_array_foreach(list, i, item) gguf_put_str(&f->meta, str_of(json_string_value(item)));
}

static Tokenizer *open_family(const json_t *all, const char *pre)
{
    GgufFile f = { 0 };
    Err err = { 0 };
    gguf_text(&f, "tokenizer.ggml.model", "gpt2");
    gguf_text(&f, "tokenizer.ggml.pre", pre);
    put_list(&f, "tokenizer.ggml.tokens", json_object_get(all, "tokens"));
    put_list(&f, "tokenizer.ggml.merges", json_object_get(all, "merges"));
    Tokenizer *t = gguf_open(&f, &err);
    if (!t) fail_msg("%s: %s", pre, err.text);
    return t;
}

static uint32_t fnv1a(const Ids *ids)
{
    uint32_t h = 0x811C9DC5u;
    const uint8_t *p = (const uint8_t *)ids->p;
    for (size_t i = 0; i < ids->n * sizeof *ids->p; i++) h = (h ^ p[i]) * 0x01000193u;
    return h;
}

static size_t check_family(const Tokenizer *t, const char *pre, const json_t *texts, const json_t *hashes)
{
    size_t i, bad = 0;
    const json_t *text;
    Ids ids = { 0 };
    assert_int_equal(json_array_size(hashes), json_array_size(texts));
    json_array_foreach(texts, i, text)
    {
        ids.n = 0;
        tok_encode(t, (Str){ json_string_value(text), json_string_length(text) }, 0, &ids);
        if (fnv1a(&ids) == (uint32_t)json_integer_value(json_array_get(hashes, i))) continue;
        if (++bad == 1) printf("%s: ids of %s\n", pre, json_dumps(text, JSON_ENCODE_ANY | JSON_ENSURE_ASCII));
    }
    ids_free(&ids);
    return bad;
}

static void test_families(void **state)
{
    (void)state;
    json_t *texts = load_json("texts.json"), *all = load_json("families.json");
    const char *pre;
    json_t *hashes;
    size_t n = 0, bad = 0;
    json_object_foreach(json_object_get(all, "families"), pre, hashes)
    {
        Tokenizer *t = open_family(all, pre);
        bad += check_family(t, pre, texts, hashes);
        tok_close(t);
        n++;
    }
    json_decref(texts);
    json_decref(all);
    assert_true(n >= 25);
    assert_int_equal(bad, 0);
}

/* Names that share a scanner or a pattern with one above, and those whose patterns are known from other programs only: they
 * can be built, and of letters that have ids none is lost. */
static void test_other_names(void **state)
{
    (void)state;
    static const char *const names[] = { "command-r", "qwen2", "qwen35", "deepseek-llm", "glm5",
                                         "talkie",    "dbrx",  "jais",   "minimax-m2",   "granite-embed-multi-97m" };
    json_t *all = load_json("families.json");
    for (size_t i = 0; i < COUNT(names); i++) {
        Tokenizer *t = open_family(all, names[i]);
        Ids ids = { 0 };
        Buf back = { 0 };
        Str text = STR("abab  b, 1112 (a)\n\na!\t'b IT'S \xE6\x97\xA5");
        tok_encode(t, text, 0, &ids);
        tok_decode(t, ids.p, ids.n, false, &back);
        assert_true(str_eq(buf_view(&back), text));
        ids_free(&ids);
        buf_free(&back);
        tok_close(t);
    }
    json_decref(all);
}

static void expect_ids(const Tokenizer *t, const char *text, const int32_t *want, size_t n)
{
    Ids ids = { 0 };
    tok_encode(t, str_of(text), 0, &ids);
    bool same = ids.n == n;
    for (size_t i = 0; same && i < n; i++) same = ids.p[i] == want[i];
    if (!same) fail_msg("other ids of \"%s\": %zu of them, %zu wanted", text, ids.n, n);
    ids_free(&ids);
}

#define EXPECT(t, text, ...)                                                                                           \
    expect_ids(t, text, (const int32_t[]){ __VA_ARGS__ }, sizeof(int32_t[]){ __VA_ARGS__ } / sizeof(int32_t))

static void expect_text(const Tokenizer *t, const int32_t *ids, size_t n, const char *want)
{
    Buf out = { 0 };
    tok_decode(t, ids, n, false, &out);
    assert_true(str_is(buf_view(&out), want));
    buf_free(&out);
}

#define EXPECT_TEXT(t, want, ...)                                                                                      \
    expect_text(t, (const int32_t[]){ __VA_ARGS__ }, sizeof(int32_t[]){ __VA_ARGS__ } / sizeof(int32_t), want)

static void test_rwkv(void **state)
{
    (void)state;
    static const char *const tokens[] = { "<s>",   "a",       "ab",     "abc",   "b",
                                          "bcd",   "\\n",     "\\n\\n", "\\xe6", "\\xe6\\x97\\xa5",
                                          "\\x97", "\\xA5",   "\\'",    "\\\\",  "\\t",
                                          "\"",    "[PAD16]", "c",      "d" };
    static const int32_t types[] = { 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 5, 1, 1 };
    GgufFile f = { 0 };
    Err err = { 0 };
    gguf_text(&f, "tokenizer.ggml.model", "rwkv");
    gguf_texts(&f, "tokenizer.ggml.tokens", tokens, COUNT(tokens));
    gguf_i32s(&f, "tokenizer.ggml.token_type", types, COUNT(types));
    gguf_u32(&f, "tokenizer.ggml.eos_token_id", 0);
    Tokenizer *t = gguf_open(&f, &err);
    if (!t) fail_msg("%s", err.text);
    EXPECT(t, "abcd", 3, 18); /* the longest at each place, though "a" and "bcd" would do */
    EXPECT(t, "abab", 2, 2);
    EXPECT(t, "bcd\n\n\n", 5, 7, 6);
    EXPECT(t, "\xE6\x97\xA5'\\\t\"", 9, 12, 13, 14, 15);
    EXPECT(t,
           "a\xE6\x97\xA5z\xE6\x97\x97"
           "a",
           1, 9, 8, 10, 10, 1); /* no token has z */
    EXPECT_TEXT(t, "\xE6\x97\xA5'\nab", 8, 10, 11, 12, 6, 2);
    assert_int_equal(tok_eos(t), 0);
    tok_close(t);
}

static void test_plamo2(void **state)
{
    (void)state;
    static char bytes[256][8];
    static const char *const own[] = { "a", "b", "ab", "abc", "c", "bc", " ", "\xC3\xA9", "a\xC3\xA9" };
    static const float own_scores[] = { -2, -2, -4, -7, -3, -4.5f, -1, -3, -5 };
    const char *tokens[4 + 256 + COUNT(own)] = { "<|plamo:unk|>", "<|plamo:bos|>", "<|plamo:eos|>", "<|plamo:pad|>" };
    int32_t types[COUNT(tokens)] = { 2, 3, 3, 3 };
    float scores[COUNT(tokens)] = { 0 };
    for (size_t i = 0; i < 256; i++) {
        snprintf(bytes[i], sizeof bytes[i], "<0x%02X>", (unsigned)i);
        tokens[4 + i] = bytes[i];
        types[4 + i] = 6;
    }
    for (size_t i = 0; i < COUNT(own); i++) {
        tokens[260 + i] = own[i];
        types[260 + i] = 1;
        scores[260 + i] = own_scores[i];
    }
    GgufFile f = { 0 };
    Err err = { 0 };
    gguf_text(&f, "tokenizer.ggml.model", "plamo2");
    gguf_texts(&f, "tokenizer.ggml.tokens", tokens, COUNT(tokens));
    gguf_f32s(&f, "tokenizer.ggml.scores", scores, COUNT(scores));
    gguf_i32s(&f, "tokenizer.ggml.token_type", types, COUNT(types));
    Tokenizer *t = gguf_open(&f, &err);
    if (!t) fail_msg("%s", err.text);
    EXPECT(t, "ab", 262);       /* as good as a and b: the longer piece */
    EXPECT(t, "abc", 260, 265); /* better than abc, and than ab with c */
    EXPECT(t, "a bc", 260, 266, 265);
    EXPECT(t,
           "a\xC3\xA9\xE6\x97\xA5"
           "b",
           268, 234, 155, 169, 261);
    EXPECT(t, "<0x41>", 64, 52, 124, 56, 53, 66); /* text is never taken for the piece of a byte */
    EXPECT(t,
           "\xC3\xA9"
           "a\n",
           267, 260, 14);
    EXPECT_TEXT(t, "a\xE6\x97\xA5 b", 260, 234, 155, 169, 266, 261);
    assert_true(tok_bos(t) == 1 && tok_eos(t) == 2 && !tok_adds_bos(t));
    tok_close(t);
}

/* Gemma 4's kind: merges over characters, U+2581 for a space, bytes where no piece is. */
static void test_gemma4(void **state)
{
    (void)state;
    static const char *const tokens[] = { "<pad>",
                                          "<eos>",
                                          "<bos>",
                                          "<unk>",
                                          "<0xE6>",
                                          "<0x97>",
                                          "<0xA5>",
                                          "a",
                                          "b",
                                          "\n",
                                          "\xE2\x96\x81",
                                          "\n\n",
                                          "ab",
                                          "\xE2\x96\x81"
                                          "ab" };
    static const char *const merges[] = { "a b", "\n \n", "\xE2\x96\x81 ab" };
    static const int32_t types[] = { 3, 3, 3, 3, 6, 6, 6, 1, 1, 1, 1, 1, 1, 1 };
    for (int named = 0; named < 2; named++) { /* as a model of its own, and as a way to split gpt2's */
        GgufFile f = { 0 };
        Err err = { 0 };
        gguf_text(&f, "tokenizer.ggml.model", named ? "gpt2" : "gemma4");
        gguf_texts(&f, "tokenizer.ggml.tokens", tokens, COUNT(tokens));
        gguf_texts(&f, "tokenizer.ggml.merges", merges, COUNT(merges));
        gguf_i32s(&f, "tokenizer.ggml.token_type", types, COUNT(types));
        gguf_u32(&f, "tokenizer.ggml.bos_token_id", 2);
        gguf_u32(&f, "tokenizer.ggml.unknown_token_id", 3);
        if (named) gguf_text(&f, "tokenizer.ggml.pre", "gemma4");
        Tokenizer *t = gguf_open(&f, &err);
        if (!t) fail_msg("%s", err.text);
        EXPECT(t, " ab ab\n\n\n", 13, 13, 11, 9);
        EXPECT(t, "\xE6\x97\xA5 b", 4, 5, 6, 10, 8);
        EXPECT(t, "xya", 3, 7); /* what has no bytes is unknown, a run of it once */
        EXPECT_TEXT(t, " ab\xE6\x97\xA5 ", 13, 4, 5, 6, 10);
        assert_true(tok_bos(t) == 2 && tok_eos(t) == -1);
        tok_close(t);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    static const char *const token = "a";
    static const char *const names[] = { "hybriddna", "whitespace", "none", "gpt2" };
    for (size_t i = 0; i < COUNT(names); i++) {
        GgufFile f = { 0 };
        Err err = { 0 };
        gguf_text(&f, "tokenizer.ggml.model", names[i]);
        gguf_texts(&f, "tokenizer.ggml.tokens", &token, 1);
        gguf_text(&f, "tokenizer.ggml.pre", "smollm llama3"); /* two names are none */
        assert_null(gguf_open(&f, &err));
        assert_non_null(strstr(err.text, i < 3 ? names[i] : "tokenizer.ggml.pre is \"smollm llama3\""));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families), cmocka_unit_test(test_other_names), cmocka_unit_test(test_rwkv),
        cmocka_unit_test(test_plamo2),   cmocka_unit_test(test_gemma4),      cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
