/* test_forms.c - objects in any order and lists that must hold certain items: masks against the definition on random walks, none of which may
 * come to a dead end; and every order of a small object, against what its bounds say. */
#include "mask_check.h"

static const char *const words[] = { "\"a\":", "\"b\":", "\"c\":", "\"x",  "\":", "1",  "null", "\"\"", ",",   "{",
                                     "}",      "[",      "]",      "{\"a", ",\"", "],", "}}",   "1,",   "12,", "5" };

static Grammar *schema(GrammarVocab *v, const char *text)
{
    Grammar *g;
    GrammarError err;
    GrammarSpec spec = { GRAMMAR_JSON_SCHEMA, str_of(text), STR("{\"whitespace\":\"compact\"}") };
    if (grammar_compile(v, &spec, NULL, NULL, &g, &err) != OK) fail_msg("%.80s: %s", text, err.err.text);
    return g;
}

static const char *const schemas[] = {
    "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{\"type\":\"null\"},\"c\":{}},\"required\":[\"b\"],"
    "\"additionalProperties\":false}",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"enum\":[1]},\"b\":{\"enum\":[1]},\"c\":{\"enum\":[1]}},"
    "\"required\":[\"c\"],\"minProperties\":2,\"maxProperties\":3,\"additionalProperties\":{\"type\":\"null\"}}",
    "{\"type\":\"object\",\"properties\":{\"a\":false,\"b\":{\"enum\":[1]}},\"minProperties\":1,"
    "\"additionalProperties\":false}",
    "{\"type\":\"object\",\"maxProperties\":3,\"allOf\":[{\"not\":{\"additionalProperties\":{\"type\":\"integer\"}}},"
    "{\"not\":{\"patternProperties\":{\"^x\":{\"type\":\"null\"}}}}],\"properties\":{\"a\":{\"enum\":[1]},\"xa\":{"
    "\"enum\":["
    "1,null]}},\"additionalProperties\":{\"enum\":[1,null]}}",
    "{\"type\":\"array\",\"prefixItems\":[{\"type\":\"object\",\"not\":{\"additionalProperties\":{\"type\":\"integer\"}"
    "}}],"
    "\"items\":{\"type\":\"object\",\"not\":{\"additionalProperties\":{\"type\":\"null\"}}}}",
    "{\"type\":\"array\",\"items\":{\"enum\":[1,12,null,\"\"]},\"contains\":{\"type\":\"null\"},\"minContains\":2,"
    "\"maxContains\":3,\"maxItems\":5}",
    "{\"type\":\"array\",\"items\":{\"enum\":[1,5,12,null]},\"allOf\":[{\"contains\":{\"minimum\":5}},{\"contains\":{"
    "\"maximum\":9}},{\"contains\":{\"type\":\"null\"}}],\"maxItems\":3}",
    "{\"type\":\"array\",\"prefixItems\":[{\"enum\":[1]},{\"enum\":[5]}],\"items\":{\"enum\":[1,12]},\"contains\":{"
    "\"const\":"
    "12},\"minItems\":1}",
    "{\"type\":\"array\",\"items\":{\"enum\":[1,12,5,51,15,55,\"\",null,true]},\"uniqueItems\":true,\"minItems\":7}",
    "{\"oneOf\":[{\"contains\":{\"const\":1}},{\"contains\":{\"const\":5}},{\"maxItems\":1}],\"type\":\"array\","
    "\"items\":{"
    "\"enum\":[1,5,null]}}",
};

static void test_masks(void **state)
{
    Tokens *t = mem_alloc(sizeof *t);
    Rng rng = { 81 };
    (void)state;
    GrammarVocab *v = tokens_vocab(t, &rng, words, COUNT(words), 400, 4);
    for (size_t i = 0; i < COUNT(schemas); i++) {
        Grammar *g = schema(v, schemas[i]);
        for (int k = 0; k < 6; k++) mask_walk(g, t, &rng, 16);
        grammar_drop(g);
    }
    grammar_vocab_drop(v);
    mem_free(t);
}

static bool accepted(Grammar *g, Str text)
{
    GrammarMatcher *m = grammar_matcher_new(g);
    bool good = grammar_accept_bytes(m, text) && grammar_can_end(m);
    grammar_matcher_free(m);
    return good;
}

/* Every sequence of up to four keys out of a, b, c and two others, with and without repetition. */
static void test_every_order(void **state)
{
    static const char keys[] = "abcxy";
    Tokens *t = mem_alloc(sizeof *t);
    Rng rng = { 82 };
    (void)state;
    GrammarVocab *v = tokens_vocab(t, &rng, words, COUNT(words), 50, 3);
    Grammar *g =
        schema(v, "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{},\"c\":{}},\"required\":[\"a\",\"c\"],"
                  "\"minProperties\":3,\"maxProperties\":4}");
    for (int code = 0; code < 6 * 6 * 6 * 6; code++) {
        int count[5] = { 0 }, n = 0;
        Buf text = { 0 };
        buf_char(&text, '{');
        for (int k = 0, left = code; k < 4; k++, left /= 6) {
            if (left % 6 == 5) continue;
            count[left % 6]++;
            buf_printf(&text, "%s\"%c\":1", n++ ? "," : "", keys[left % 6]);
        }
        buf_char(&text, '}');
        bool once = count[0] == 1 && count[1] <= 1 && count[2] == 1, good = once && n >= 3;
        if (accepted(g, buf_view(&text)) != good) fail_msg("%.*s: should be %d", STR_FMT(buf_view(&text)), good);
        buf_free(&text);
    }
    grammar_drop(g);
    grammar_vocab_drop(v);
    mem_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_masks), cmocka_unit_test(test_every_order) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
