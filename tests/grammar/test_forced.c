/* test_forced.c - jump-forward: what is forced, and that forced tokens are those the tokenizer would give whatever comes next. */
#include "grammar/build.h"
#include "test.h"

/* A tokenizer that takes the longest token at each place: simple, and its choices depend on what follows. */
static const char *const texts[] = { "\"",   "a",      "b",   "c",  "d",   "e",  "n",    "m",    ":",
                                     "{",    "}",      ",",   "1",  "2",   " ",  "name", "na",   "\":",
                                     "\": ", "\": \"", "{\"", "ab", "abc", "de", "}}",   "\",\"" };
enum { N = COUNT(texts), END = N };

static Str token_bytes(void *arg, int32_t id)
{
    (void)arg;
    return id < N ? str_of(texts[id]) : (Str){ 0 };
}

static void encode(void *arg, Str text, Ids *out)
{
    (void)arg;
    for (size_t i = 0; i < text.n;) {
        int32_t best = -1;
        for (int32_t id = 0; id < N; id++)
            if (str_starts(str_cut(text, i, text.n), str_of(texts[id])) &&
                (best < 0 || strlen(texts[id]) > strlen(texts[best])))
                best = id;
        assert_true(best >= 0);
        ids_push(out, best);
        i += strlen(texts[best]);
    }
}

typedef struct {
    GrammarVocab *v;
    Grammar *g;
    GrammarMatcher *m;
    Ids ids;
} World;

static World open_world(const char *pattern)
{
    World w = { 0 };
    int32_t end = END;
    GrammarVocabSpec vs = { .n_tokens = N + 1, .bytes = token_bytes, .end_ids = &end, .n_end_ids = 1 };
    GrammarSpec spec = { GRAMMAR_REGEX, str_of(pattern), { 0 } };
    GrammarError err;
    w.v = grammar_vocab_new(&vs);
    assert_int_equal(grammar_compile(w.v, &spec, NULL, NULL, &w.g, &err), OK);
    w.m = grammar_matcher_new(w.g);
    return w;
}

static void close_world(World *w)
{
    grammar_matcher_free(w->m);
    grammar_drop(w->g);
    grammar_vocab_drop(w->v);
    ids_free(&w->ids);
}

static void expect_bytes(World *w, const char *want)
{
    Buf b = { 0 };
    grammar_forced_bytes(w->m, 1000, &b);
    assert_int_equal(b.n, strlen(want));
    assert_memory_equal(b.p ? b.p : "", want, b.n);
    buf_free(&b);
}

/* The forced tokens after `back` (texts, ended by NULL) are `want`, separated by |. */
static void expect_tokens(World *w, const char *back, const char *want)
{
    Ids last = { 0 }, out = { 0 };
    Buf got = { 0 };
    encode(NULL, str_of(back), &last);
    grammar_forced_tokens(w->m, last.p, last.n, encode, NULL, &out);
    for (size_t i = 0; i < out.n; i++) buf_printf(&got, "%s%s", i ? "|" : "", texts[out.p[i]]);
    buf_char(&got, 0);
    assert_string_equal(got.p, want);
    buf_free(&got);
    ids_free(&last);
    ids_free(&out);
}

static void test_bytes(void **state)
{
    (void)state;
    World w = open_world("\\{\"name\": \"(a|b)\"(,\"b\")?\\}");
    expect_bytes(&w, "{\"name\": \"");
    assert_true(grammar_accept_bytes(w.m, STR("{\"na")));
    expect_bytes(&w, "me\": \"");
    assert_true(grammar_accept_bytes(w.m, STR("me\": \"a")));
    expect_bytes(&w, "\""); /* then } or , */
    assert_true(grammar_accept_bytes(w.m, STR("\"}")));
    expect_bytes(&w, ""); /* the end is a choice of its own: nothing is forced by bytes */
    assert_int_equal(grammar_forced_token(w.m), END);
    close_world(&w);
    w = open_world("a(b)?");
    expect_bytes(&w, "a");
    assert_true(grammar_accept_bytes(w.m, STR("a")));
    expect_bytes(&w, ""); /* may end, or go on */
    assert_int_equal(grammar_forced_token(w.m), -1);
    close_world(&w);
}

static void test_tokens(void **state)
{
    (void)state;
    /* What follows the forced text may join its last token: after {"name": " comes a or b, and no token has them both */
    World w = open_world("\\{\"name\": \"[ab]*\"\\}");
    expect_tokens(&w, "", "{\"|name|\": \"");
    close_world(&w);
    /* "ab" is forced, but "abc" is a token and c may follow: nothing holds */
    w = open_world("1ab(c|d)");
    expect_tokens(&w, "", "1");
    close_world(&w);
    /* no c may follow: ab stays */
    w = open_world("1ab(d|e)2");
    expect_tokens(&w, "", "1|ab");
    close_world(&w);
    /* the token before would be another one if the forced text had been known: nothing is forced */
    w = open_world("na(me)1");
    assert_true(grammar_accept(w.m, 16));
    expect_tokens(&w, "na", "");
    close_world(&w);
}

/* Greedy along forced tokens spells the same text as one byte at a time does. */
static void test_same_text(void **state)
{
    (void)state;
    World w = open_world("\\{\"name\": \"abc\",\"de\":1(,\"b\":2)?\\}");
    Ids last = { 0 }, out = { 0 };
    Buf text = { 0 };
    for (int i = 0; i < 100 && !grammar_ended(w.m); i++) {
        out.n = 0;
        grammar_forced_tokens(w.m, last.p, last.n, encode, NULL, &out);
        if (out.n == 0) { /* the "model" picks the first allowed token */
            uint32_t words[1];
            assert_true(grammar_mask(w.m, words, 1));
            ids_push(&out, __builtin_ctz(words[0]));
        }
        for (size_t k = 0; k < out.n; k++) {
            assert_true(grammar_accept(w.m, out.p[k]));
            if (out.p[k] < N) buf_str(&text, str_of(texts[out.p[k]]));
            last.n = 0;
            if (out.p[k] < N) ids_push(&last, out.p[k]);
        }
    }
    assert_true(grammar_ended(w.m));
    assert_true(str_starts(buf_view(&text), STR("{\"name\": \"abc\",\"de\":1")));
    ids_free(&last);
    ids_free(&out);
    buf_free(&text);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_bytes), cmocka_unit_test(test_tokens),
                                        cmocka_unit_test(test_same_text) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
