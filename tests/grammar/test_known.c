/* test_known.c - what other engines are on record for: masks that get dearer with the output or with a length, objects of many optional keys,
 * rules of one character, hundreds of tools. What a grammar learns on the way (its memory) tells what it did. */
#include <stdio.h>

#include "mask_check.h"

static const char *const words[] = { "\"", "a",  "b", "ab", "{\"", "k1", "\":", ",\"",
                                     "1",  "12", "}", "[",  "]",   " ",  "\\n" };

static GrammarVocab *vocabulary(Tokens *t, uint64_t seed)
{
    Rng rng = { seed };
    return tokens_vocab(t, &rng, words, COUNT(words), 300, 3);
}

static Grammar *compiled(GrammarVocab *v, GrammarKind kind, Str text)
{
    Grammar *g;
    GrammarError err;
    GrammarSpec spec = { kind, text, STR("") };
    if (grammar_compile(v, &spec, NULL, NULL, &g, &err) != OK) fail_msg("%.60s: %s", text.p, err.err.text);
    return g;
}

static void say(GrammarMatcher *m, Str text, int times)
{
    uint32_t mask[160];
    for (int i = 0; i < times; i++) {
        assert_true(grammar_mask(m, mask, COUNT(mask)));
        assert_true(grammar_accept_bytes(m, text));
    }
}

/* What is learned in the first hundred steps is all there is to learn, up to near the end of a bounded one. */
static void flat(GrammarVocab *v, GrammarKind kind, const char *text, const char *begin, const char *step, int steps)
{
    Grammar *g = compiled(v, kind, str_of(text));
    GrammarMatcher *m = grammar_matcher_new(g);
    say(m, str_of(begin), 1);
    say(m, str_of(step), 100);
    size_t had = grammar_memory(g);
    say(m, str_of(step), steps);
    if (grammar_memory(g) > had + (64 << 10)) fail_msg("%.60s: %zu bytes, then %zu", text, had, grammar_memory(g));
    grammar_matcher_free(m);
    grammar_drop(g);
}

static void test_flat(void **state)
{
    static Tokens t;
    (void)state;
    GrammarVocab *v = vocabulary(&t, 1);
    flat(v, GRAMMAR_JSON_SCHEMA, "{\"type\":\"string\"}", "\"", "ab", 20000);
    flat(v, GRAMMAR_JSON_SCHEMA, "{\"type\":\"string\",\"maxLength\":100000}", "\"", "ab", 20000);
    flat(v, GRAMMAR_JSON_SCHEMA, "{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}", "[1", ",12", 20000);
    flat(v, GRAMMAR_JSON_SCHEMA,
         "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}}}}", "[{}",
         ",{\"b\":1,\"a\":2}", 5000);
    flat(v, GRAMMAR_JSON_SCHEMA, "{\"type\":\"object\",\"properties\":{\"a\":{}}}", "{\"b\":1", ",\"b1\":\"\"", 5000);
    flat(v, GRAMMAR_EBNF, "root ::= digit+\ndigit ::= [0-9]", "1", "12", 20000);
    flat(v, GRAMMAR_EBNF, "root ::= \"<\" text \"</parameter>\"\ntext ::= [^<]*", "<", "ab", 20000);
    grammar_vocab_drop(v);
}

/* Every key of 300 may be left out: written in a random order, in less than the limits; and many orders one after the other. */
static void test_optional(void **state)
{
    enum { KEYS = 300, ORDERS = 20 };
    static Tokens t;
    (void)state;
    GrammarVocab *v = vocabulary(&t, 2);
    Buf text = { 0 };
    Rng rng = { 8 };
    buf_str(&text, STR("{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"));
    for (int i = 0; i < KEYS; i++) buf_printf(&text, "%s\"k%d\":{\"type\":\"integer\"}", i ? "," : "", i);
    buf_str(&text, STR("}}"));
    Grammar *g = compiled(v, GRAMMAR_JSON_SCHEMA, buf_view(&text));
    for (int o = 0; o < ORDERS; o++) {
        GrammarMatcher *m = grammar_matcher_new(g);
        bool seen[KEYS] = { false };
        say(m, STR("{"), 1);
        for (int n = 0; n < 40; n++) {
            char key[32];
            int i = (int)rng_below(&rng, KEYS);
            snprintf(key, sizeof key, "%s\"k%d\":1", n ? "," : "", i);
            assert_int_equal(grammar_accept_bytes(m, str_of(key)), !seen[i]);
            if (seen[i]) break;
            seen[i] = true;
            uint32_t mask[160];
            assert_true(grammar_mask(m, mask, COUNT(mask)));
        }
        grammar_matcher_free(m);
    }
    if (grammar_memory(g) > (48 << 20)) fail_msg("%zu bytes", grammar_memory(g));
    grammar_drop(g);
    buf_free(&text);
    grammar_vocab_drop(v);
}

static void test_tools(void **state)
{
    static Tokens t;
    (void)state;
    GrammarVocab *v = vocabulary(&t, 3);
    Buf text = { 0 };
    buf_str(&text, STR("{\"anyOf\":["));
    for (int i = 0; i < 500; i++)
        buf_printf(
            &text,
            "%s{\"type\":\"object\",\"properties\":{\"name\":{\"const\":\"tool_%d\"},\"arguments\":{\"type\":"
            "\"object\","
            "\"properties\":{\"p%d\":{\"type\":\"string\"}},\"required\":[\"p%d\"],\"additionalProperties\":false}},"
            "\"required\":[\"name\",\"arguments\"],\"additionalProperties\":false}",
            i ? "," : "", i, i, i);
    buf_str(&text, STR("]}"));
    Grammar *g = compiled(v, GRAMMAR_JSON_SCHEMA, buf_view(&text));
    GrammarMatcher *m = grammar_matcher_new(g);
    say(m, STR("{\"name\":\"tool_417\","), 1);
    assert_false(grammar_accept_bytes(m, STR("\"arguments\":{\"p41\"")));
    say(m, STR("\"arguments\":{\"p417\":\"x\"}}"), 1);
    assert_true(grammar_can_end(m));
    grammar_matcher_free(m);
    grammar_drop(g);
    buf_free(&text);
    grammar_vocab_drop(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_flat), cmocka_unit_test(test_optional),
                                        cmocka_unit_test(test_tools) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
