/* test_near.c - masks of schemas' states that are much alike (src/grammar/near.c), against the definition: keys that are not the known
 * ones, and strings of which few characters are left, with tokens that are as long as what is left. */
#include "mask_check.h"

static const char *const words[] = { "a",
                                     "ab",
                                     "key",
                                     "keys",
                                     "e",
                                     "name\"",
                                     "\"",
                                     "\":",
                                     "\",",
                                     "\"}",
                                     " ",
                                     "\\",
                                     "\\n",
                                     "\\\"",
                                     "\\u",
                                     "00e9",
                                     "\\u00e9",
                                     "\xc3\xa9",
                                     "\xf0\x9f\x98\x80",
                                     "{\"",
                                     ",\"",
                                     "\xc3",
                                     "_id",
                                     "x-",
                                     "key\":0",
                                     "a\": 0",
                                     "0",
                                     "\x9f" };

/* Words put together, up to 60 bytes, short ones more often; runs of one character of every length. */
static GrammarVocab *vocabulary(Tokens *t, Rng *rng, int n)
{
    tokens_add_bytes(t);
    for (int i = 1; i <= 40; i++) {
        char run[64];
        memset(run, 'a', sizeof run);
        tokens_add(t, run, (size_t)i);
        memcpy(run + i, "\":", 2);
        tokens_add(t, run, (size_t)i + 1);
        tokens_add(t, run, (size_t)i + 2);
    }
    for (int i = 55; i <= 62; i++) { /* the longest of all */
        char run[64];
        memset(run, 'a', sizeof run);
        tokens_add(t, run, (size_t)i);
    }
    for (int i = 0; i < n; i++) {
        char text[64];
        size_t len = 0, want = rng_below(rng, 4) ? 1 + rng_below(rng, 12) : 1 + rng_below(rng, 60);
        while (len < want) {
            const char *w = words[rng_below(rng, COUNT(words))];
            if (len + strlen(w) > 60) break;
            memcpy(text + len, w, strlen(w));
            len += strlen(w);
        }
        if (len) tokens_add(t, text, len);
    }
    return tokens_close(t);
}

static Grammar *schema(GrammarVocab *v, const char *text)
{
    Grammar *g;
    GrammarError err;
    GrammarSpec spec = { GRAMMAR_JSON_SCHEMA, str_of(text), { 0 } };
    if (grammar_compile(v, &spec, NULL, NULL, &g, &err) != OK) fail_msg("%.80s: %s", text, err.err.text);
    return g;
}

/* Walks that begin behind a text. */
static void walk_after(Grammar *g, const Tokens *t, Rng *rng, const char *begin, int steps)
{
    GrammarMatcher *m = grammar_matcher_new(g);
    if (!grammar_accept_bytes(m, str_of(begin))) fail_msg("refused: %s", begin);
    mask_walk_from(m, t, rng, steps);
    grammar_matcher_free(m);
}

static void test_keys(void **state)
{
    static const char *const schemas[] = {
        "{\"type\":\"object\",\"properties\":{\"key\":{},\"keys\":{},\"name\":{},\"a\":{}}}",
        "{\"type\":\"object\",\"properties\":{\"\":{},\"a\\\\b\":{},\"\xc3\xa9\":{},\"aaaaaaaaaaaaaaaaaaaa\":{}}}",
        "{\"type\":\"object\",\"properties\":{\"key\":{}},\"patternProperties\":{\"^x-\":{\"type\":\"null\"}},"
        "\"additionalProperties\":{\"type\":\"integer\"}}",
        "{\"type\":\"object\",\"properties\":{\"key\":{\"type\":\"null\"},\"a\":{\"type\":\"null\"}},"
        "\"additionalProperties\":{\"type\":\"integer\"}}",
        "{\"type\":\"string\",\"not\":{\"enum\":[\"a\",\"ab\",\"key\",\"aaaaaaaaaaaaaaaaaaaaaaaa\"]}}",
    };
    static const char *const begins[] = { "{\"", "{\"k", "{\"key", "{\"keys", "{\"na", "{\"a", "{\"a\\" };
    Tokens *t = mem_alloc(sizeof *t);
    Rng rng = { 71 };
    (void)state;
    GrammarVocab *v = vocabulary(t, &rng, 500);
    for (size_t i = 0; i < COUNT(schemas); i++) {
        Grammar *g = schema(v, schemas[i]);
        for (int k = 0; k < 8; k++) mask_walk(g, t, &rng, 30);
        for (size_t k = 0; k < COUNT(begins) && i + 1 < COUNT(schemas); k++) {
            Grammar *fresh = schema(v, schemas[i]);
            GrammarMatcher *m = grammar_matcher_new(fresh);
            if (grammar_accept_bytes(m, str_of(begins[k]))) mask_walk_from(m, t, &rng, 4);
            grammar_matcher_free(m);
            grammar_drop(fresh);
        }
        grammar_drop(g);
    }
    grammar_vocab_drop(v);
    mem_free(t);
}

static void test_lengths(void **state)
{
    static const int most[] = { 1, 2, 3, 5, 8, 14, 15, 16, 17, 18, 24, 40, 61 };
    Tokens *t = mem_alloc(sizeof *t);
    Rng rng = { 72 };
    char text[200];
    (void)state;
    GrammarVocab *v = vocabulary(t, &rng, 400);
    for (size_t i = 0; i < COUNT(most); i++) {
        int least = (int)rng_below(&rng, (uint32_t)most[i] + 1) * (int)rng_below(&rng, 2);
        snprintf(text, sizeof text, "{\"type\":\"string\",\"minLength\":%d,\"maxLength\":%d}", least, most[i]);
        Grammar *g = schema(v, text);
        walk_after(g, t, &rng, "\"", 4);
        for (int k = 0; k < 4; k++) walk_after(g, t, &rng, "\"", 3);
        grammar_drop(g);
        snprintf(text, sizeof text,
                 "{\"type\":\"array\",\"items\":{\"maxLength\":%d,\"pattern\":\"^[^b]*$\",\"type\":\"string\"}}",
                 most[i]);
        g = schema(v, text);
        walk_after(g, t, &rng, "[\"", 4);
        grammar_drop(g);
    }
    grammar_vocab_drop(v);
    mem_free(t);
}

/* Lengths beside a pattern that lacks a few bytes wherever it stands: bounds that are just met, and just not. */
static void test_patterns(void **state)
{
    static const char *const patterns[] = { "^(aa+ )*aa+b$",    "^(a{3}|e){2,30}$", "^(key ?){0,40}x-$",
                                            "^a*(_id)?$",       "^a*bbbbbbbbbb$",   "^a*(x[0-9]{9}){2}$",
                                            "^(a|bbbbbbbbb)*$", "^(a{9}e){2,9}$" };
    Tokens *t = mem_alloc(sizeof *t);
    Rng rng = { 74 };
    char text[200];
    (void)state;
    GrammarVocab *v = vocabulary(t, &rng, 300);
    for (size_t i = 0; i < COUNT(patterns) * 28; i++) {
        int most = i < COUNT(patterns) * 24 ? 58 + (int)(i / COUNT(patterns)) : 22 + (int)rng_below(&rng, 20);
        snprintf(text, sizeof text, "{\"type\":\"string\",\"maxLength\":%d,\"pattern\":\"%s\"}", most,
                 patterns[i % COUNT(patterns)]);
        Grammar *g = schema(v, text);
        for (int k = 0; k < 3; k++) walk_after(g, t, &rng, "\"", 5);
        grammar_drop(g);
    }
    grammar_vocab_drop(v);
    mem_free(t);
}

/* Lexemes of their own beside the loop. */
static void test_parts(void **state)
{
    static const char *const rules[] = {
        "root ::= \"[\" (str | key | num) \"]\"\nstr ::= \"\\\"\" [^\"]* \"\\\"\" \"x-\"\nkey ::= \"\\\"key\\\"\" "
        "\"0\"\nnum ::= \"\\\"a\\\":\" [0-9]+",
        "root ::= (any | key)\nany ::= [^\"]* \"\\\"e\"\nkey ::= \"key\" key | \"a\" \"\\\"\" \"0\"",
    };
    Tokens *t = mem_alloc(sizeof *t);
    Rng rng = { 73 };
    (void)state;
    GrammarVocab *v = vocabulary(t, &rng, 500);
    for (size_t i = 0; i < COUNT(rules) * 6; i++) {
        Grammar *g;
        GrammarError err;
        GrammarSpec spec = { GRAMMAR_EBNF, str_of(rules[i % COUNT(rules)]), { 0 } };
        if (grammar_compile(v, &spec, NULL, NULL, &g, &err) != OK) fail_msg("%zu: %s", i, err.err.text);
        mask_walk(g, t, &rng, 10);
        if (i % COUNT(rules) == 0) walk_after(g, t, &rng, "[\"", 4);
        grammar_drop(g);
    }
    grammar_vocab_drop(v);
    mem_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_keys), cmocka_unit_test(test_lengths),
                                        cmocka_unit_test(test_patterns), cmocka_unit_test(test_parts) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
