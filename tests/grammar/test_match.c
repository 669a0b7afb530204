/* test_match.c - masks against the definition: a token is allowed if its bytes, one by one, are. Rollback, clones, limits. */
#include "grammar/build.h"
#include "mask_check.h"

static const char *const alphabet[] = { "a", "b", "c", "0", "1", "2",        "\"", "\\", "{", "}",
                                        "[", "]", ":", ",", " ", "\xc3\xa9", "u",  "n",  ".", "-" };

static Grammar *regex(GrammarVocab *v, const char *pattern, const GrammarLimits *limits, Status want)
{
    Grammar *g;
    GrammarError err;
    GrammarSpec spec = { GRAMMAR_REGEX, str_of(pattern), { 0 } };
    Status got = grammar_compile(v, &spec, limits, NULL, &g, &err);
    if (got != want) print_message("%.60s: %d, %s\n", pattern, got, err.err.text);
    assert_int_equal(got, want);
    return g;
}

static const char *const patterns[] = {
    "a",
    "(a|b)*c",
    "a{2,5}b{0,300}c",
    "\"([^\"\\\\\\x00-\\x1f]|\\\\[\"\\\\/bfnrt])*\"",
    "-?(0|[1-9][0-9]*)(\\.[0-9]+)?",
    "[a-c]{3}|[0-2]+",
    "(ab|a)(bc|c)*",
    "\\{(\"a\":(0|1)(,\"b\":\\[(0|1)*\\])?)?\\}",
    ".*abc",
    "(.|\\n){0,100}",
    "[^a]*a[^b]{200,400}b",
    "(\xc3\xa9|u)+[^\\x00-\\x7f]?",
    "a?b?c?0?1?2?",
    "^a|b$|^$",
    "((a{1,3}){1,3}b)*",
};

static void test_masks_equal_definition(void **state)
{
    (void)state;
    static Tokens t;
    Rng rng = { 1 };
    GrammarVocab *v = tokens_vocab(&t, &rng, alphabet, COUNT(alphabet), 600, 5);
    for (size_t i = 0; i < COUNT(patterns); i++) {
        Grammar *g = regex(v, patterns[i], NULL, OK);
        for (int k = 0; k < 4; k++) mask_walk(g, &t, &rng, 12);
        grammar_drop(g);
    }
    grammar_vocab_drop(v);
}

/* value: word | [ value (, value)* ] | { word : value } | <special> value; ambiguous and left-recursive parts on purpose */
static Sym nested(Build *b, const GrammarSpec *spec)
{
    (void)spec;
    int32_t special = 856;
    Sym value = rule_new(b, STR("value")), list = rule_new(b, STR("list")), sum = rule_new(b, STR("sum"));
    Sym word = rule_lexeme(b, pattern_build(b, STR("[a-c]+|\"[^\"]{0,200}\""), 0, SPELL_UTF8));
    Sym number = rule_lexeme(b, pattern_build(b, STR("[0-2]+"), 0, SPELL_UTF8));
    Sym comma = rule_lexeme(b, expr_literal(b, STR(","))), colon = rule_lexeme(b, expr_literal(b, STR(": ")));
    Sym open = rule_lexeme(b, expr_literal(b, STR("["))), shut = rule_lexeme(b, expr_literal(b, STR("]")));
    Sym left = rule_lexeme(b, expr_literal(b, STR("{"))), right = rule_lexeme(b, expr_literal(b, STR("}")));
    Sym minus = rule_lexeme(b, expr_literal(b, STR("-"))),
        space = rule_lexeme(b, pattern_build(b, STR(" *"), 0, SPELL_UTF8));
    Sym more = rule_seq(b, (Sym[]){ list, comma, value }, 3);
    rule_define(b, list, rule_alt(b, (Sym[]){ value, more }, 2)); /* left recursion */
    Sym deep = rule_seq(b, (Sym[]){ sum, minus, sum }, 3);
    rule_define(b, sum, rule_alt(b, (Sym[]){ number, deep, rule_repeat(b, number, 2, 3) }, 3)); /* ambiguous */
    Sym array = rule_seq(b, (Sym[]){ open, space, rule_repeat(b, list, 0, 1), space, shut }, 5);
    Sym object = rule_seq(b, (Sym[]){ left, word, colon, value, right }, 5);
    Sym marked = rule_seq(b, (Sym[]){ rule_token(b, &special, 1), value }, 2);
    rule_define(b, value, rule_alt(b, (Sym[]){ word, sum, array, object, marked }, 5));
    return value;
}

static void test_rules(void **state)
{
    (void)state;
    static Tokens t;
    Rng rng = { 7 };
    GrammarVocab *v = tokens_vocab(&t, &rng, alphabet, COUNT(alphabet), 600, 5);
    assert_int_equal(t.special, 856);
    Grammar *g;
    GrammarError err;
    GrammarSpec spec = { 0 };
    assert_int_equal(build_compile(v, nested, &spec, NULL, NULL, &g, &err), OK);
    for (int k = 0; k < 30; k++) mask_walk(g, &t, &rng, 20);
    grammar_drop(g);
    grammar_vocab_drop(v);
}

/* Free text up to a mark, meetings and complements, and any token but one: what masks take whole subtrees for. */
static Sym hard(Build *b, const GrammarSpec *spec)
{
    int32_t special = 856;
    (void)spec;
    Expr text = expr_text_without(b, (Str[]){ STR("ab"), STR("{") }, 2, SPELL_UTF8);
    Expr json = expr_and(b, pattern_build(b, STR("^[a-c\xc3\xa9\"]+[^u]*$"), PATTERN_SEARCH, SPELL_JSON),
                         expr_repeat(b, expr_any_char(b, SPELL_JSON), 2, 400));
    Expr quoted = expr_cat(b, expr_literal(b, STR("\"")), expr_cat(b, json, expr_literal(b, STR("\""))));
    Sym call = rule_seq(
        b, (Sym[]){ rule_lexeme(b, expr_literal(b, STR("{"))), rule_lexeme(b, quoted), rule_token(b, &special, 1) }, 3);
    Sym free_text = rule_lexeme(b, text), until = rule_lexeme(b, expr_until(b, STR("0]"), SPELL_UTF8));
    Sym any = rule_seq(b, (Sym[]){ rule_token(b, &special, 1), rule_any_token_but(b, (int32_t[]){ 'a', 'b' }, 2) }, 2);
    Sym one = rule_alt(
        b, (Sym[]){ call, rule_seq(b, (Sym[]){ rule_lexeme(b, expr_literal(b, STR("["))), until }, 2), any }, 3);
    return rule_seq(b, (Sym[]){ free_text, rule_repeat(b, rule_seq(b, (Sym[]){ one, free_text }, 2), 0, BUILD_INF) },
                    2);
}

static void test_hard(void **state)
{
    (void)state;
    static Tokens t;
    Rng rng = { 17 };
    GrammarVocab *v = tokens_vocab(&t, &rng, alphabet, COUNT(alphabet), 600, 5);
    assert_int_equal(t.special, 856);
    Grammar *g;
    GrammarError err;
    GrammarSpec spec = { 0 };
    assert_int_equal(build_compile(v, hard, &spec, NULL, NULL, &g, &err), OK);
    for (int k = 0; k < 40; k++) mask_walk(g, &t, &rng, 16);
    grammar_drop(g);
    grammar_vocab_drop(v);
}

static void test_rollback_and_clone(void **state)
{
    (void)state;
    static Tokens t;
    Rng rng = { 3 };
    GrammarVocab *v = tokens_vocab(&t, &rng, alphabet, COUNT(alphabet), 600, 5);
    Grammar *g = regex(v, "\\{(\"[a-c]{0,9}\":(0|1)+,?)*\\}", NULL, OK);
    GrammarMatcher *m = grammar_matcher_new(g);
    uint32_t before[160], after[160];
    for (int i = 0; i < 300; i++) {
        assert_true(grammar_mask(m, before, COUNT(before)));
        size_t steps = grammar_steps(m);
        GrammarMatcher *c = grammar_matcher_clone(m);
        int taken = 0;
        for (int k = 0; k < 4 && !grammar_ended(m); k++, taken++) {
            assert_true(grammar_mask(m, after, COUNT(after)));
            assert_true(grammar_accept(m, mask_pick(&rng, after, t.n)));
        }
        assert_true(grammar_rollback(m, (size_t)taken));
        assert_int_equal(grammar_steps(m), steps);
        assert_true(grammar_mask(m, after, COUNT(after)));
        assert_memory_equal(before, after, sizeof before);
        assert_true(grammar_mask(c, after, COUNT(after)));
        assert_memory_equal(before, after, sizeof before);
        grammar_matcher_free(c);
        int32_t id = mask_pick(&rng, before, t.n);
        if (id != t.end) assert_true(grammar_accept(m, id));
    }
    assert_false(grammar_rollback(m, grammar_steps(m) + 1));
    grammar_matcher_free(m);
    grammar_drop(g);
    grammar_vocab_drop(v);
}

/* Bounds far beyond any token: masks stay equal and memory stays small while the text grows. */
static void test_long_bounds(void **state)
{
    (void)state;
    static Tokens t;
    Rng rng = { 5 };
    GrammarVocab *v = tokens_vocab(&t, &rng, alphabet, COUNT(alphabet), 300, 5);
    Grammar *g = regex(v, "\"[a-c]{5,1000000}\"", NULL, OK);
    GrammarMatcher *m = grammar_matcher_new(g);
    assert_true(grammar_accept_bytes(m, STR("\"aaaaaaaaaa")));
    uint32_t first[160], now[160];
    assert_true(grammar_mask(m, first, COUNT(first)));
    for (int i = 0; i < 60000; i++) assert_true(grammar_accept_bytes(m, STR("ab")));
    assert_true(grammar_memory(g) < 8 << 20);
    assert_true(grammar_mask(m, now, COUNT(now)));
    assert_memory_equal(first, now, sizeof first);
    grammar_matcher_free(m);
    grammar_drop(g);
    /* near the bound it binds */
    g = regex(v, "(a{0,300}|b{290})c", NULL, OK);
    m = grammar_matcher_new(g);
    for (int i = 0; i < 300; i++) {
        if (i > 290) mask_check(m, &t);
        assert_true(grammar_accept_bytes(m, STR("a")));
    }
    assert_false(grammar_accept_bytes(m, STR("a")));
    mask_check(m, &t);
    grammar_matcher_free(m);
    grammar_drop(g);
    grammar_vocab_drop(v);
}

/* Large bounds are counted beside the state, and bind all the same: to the character, with a tail, under an intersection. */
static Sym long_front(Build *b, const GrammarSpec *spec)
{
    Expr text = pattern_build(b, STR("([a-c]|\xc3\xa9){10,5000}"), 0, SPELL_UTF8),
         only = pattern_build(b, spec->text, 0, SPELL_UTF8);
    Expr e = expr_cat(b, expr_and(b, text, only), expr_literal(b, STR(".")));
    Sym either[2] = { rule_lexeme(b, e), rule_lexeme(b, expr_literal(b, STR("aaaa2"))) };
    return rule_alt(b, either, 2);
}

static void test_bounds_bind(void **state)
{
    (void)state;
    static Tokens t;
    static const char *const others[] = { ".*", "(ab)*(c|\xc3\xa9)*", "[^c]*", "(a|b|c|\xc3\xa9){0,4999}" };
    static const int most[] = { 5000, 5000, 5000, 4999 };
    Rng rng = { 5 };
    GrammarVocab *v = tokens_vocab(&t, &rng, alphabet, COUNT(alphabet), 300, 5);
    for (size_t k = 0; k < COUNT(others); k++) {
        Grammar *g;
        GrammarError err;
        GrammarSpec spec = { .text = str_of(others[k]) };
        assert_int_equal(build_compile(v, long_front, &spec, NULL, NULL, &g, &err), OK);
        GrammarMatcher *m = grammar_matcher_new(g);
        for (int i = 0; i < most[k]; i++) {
            if (i % 1000 == 998 || i == 9 || i == most[k] - 2) mask_check(m, &t);
            assert_int_equal(grammar_accepts(m, (int32_t[]){ '.' }, 1), i >= 10 && !(k == 1 && i % 2));
            Str next = i % 2 ? STR("b") : STR("a");
            if (k == 2 && i % 2) next = STR("\xc3\xa9");
            assert_true(grammar_accept_bytes(m, next));
        }
        mask_check(m, &t);
        assert_false(grammar_accept_bytes(m, STR("a")));
        assert_true(grammar_rollback(m, 100));
        for (int i = 0; i < 100; i++) assert_true(grammar_accept_bytes(m, (most[k] + i) % 2 ? STR("b") : STR("a")));
        assert_false(grammar_accept_bytes(m, STR("a")));
        assert_true(grammar_accept_bytes(m, STR(".")));
        assert_true(grammar_can_end(m));
        grammar_matcher_free(m);
        grammar_drop(g);
    }
    grammar_vocab_drop(v);
}

static void test_hostile(void **state)
{
    (void)state;
    static Tokens t;
    Rng rng = { 5 };
    GrammarVocab *v = tokens_vocab(&t, &rng, alphabet, COUNT(alphabet), 300, 5);
    Buf b = { 0 };
    for (int i = 0; i < 60000; i++) buf_char(&b, '(');
    buf_char(&b, 'a');
    for (int i = 0; i < 60000; i++) buf_char(&b, ')');
    buf_char(&b, 0);
    regex(v, b.p, NULL, E_LIMIT);
    buf_free(&b);
    Grammar *g = regex(v, "(a{1000}){1000}", NULL, OK);
    GrammarMatcher *m = grammar_matcher_new(g);
    for (int i = 0; i < 100; i++) {
        mask_check(m, &t);
        assert_true(grammar_accept_bytes(m, STR("aaa")));
    }
    grammar_matcher_free(m);
    grammar_drop(g);
    regex(v, "a{9999999}", NULL, E_LIMIT);
    for (int i = 0; i < 2000; i++) buf_printf(&b, "(a|b%d*)?", i);
    buf_char(&b, 0);
    grammar_drop(regex(v, b.p, NULL, OK));
    buf_free(&b);
    g = regex(v, "(a|b)*a(a|b){30}c", NULL, OK); /* 2^30 states if they were all made */
    m = grammar_matcher_new(g);
    bool good = true;
    for (int i = 0; i < 200000 && good; i++) good = grammar_accept_bytes(m, rng_below(&rng, 2) ? STR("a") : STR("b"));
    Err err = { 0 };
    if (!good) assert_true(grammar_matcher_failed(m, &err));
    assert_true(grammar_memory(g) < 80 << 20);
    grammar_matcher_free(m);
    grammar_drop(g);
    grammar_vocab_drop(v);
}

static void test_refused_patterns(void **state)
{
    (void)state;
    static Tokens t;
    Rng rng = { 5 };
    GrammarVocab *v = tokens_vocab(&t, &rng, alphabet, COUNT(alphabet), 30, 5);
    static const struct {
        const char *pattern;
        Status want;
    } cases[] = { { "a(?=b)", E_UNSUPPORTED },
                  { "(?<!a)b", E_UNSUPPORTED },
                  { "(a)\\1", E_UNSUPPORTED },
                  { "\\bword", E_UNSUPPORTED },
                  { "(?>a)", E_UNSUPPORTED },
                  { "a++", E_UNSUPPORTED },
                  { "(a", E_INVALID },
                  { "a)", E_INVALID },
                  { "[a", E_INVALID },
                  { "*", E_INVALID },
                  { "a**", E_INVALID },
                  { "[b-a]", E_INVALID },
                  { "\\p{Greek}", E_UNSUPPORTED },
                  { "a{3,2}", E_INVALID },
                  { "\\", E_INVALID },
                  { "(?P=x)", E_UNSUPPORTED },
                  { "a$b", E_INVALID },
                  { "(^a)*", E_UNSUPPORTED },
                  { "a{2}{3}", E_INVALID },
                  { "[^\\x00-\\U0010ffff]", E_INVALID } };
    for (size_t i = 0; i < COUNT(cases); i++) grammar_drop(regex(v, cases[i].pattern, NULL, cases[i].want));
    grammar_vocab_drop(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masks_equal_definition),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_hard),
        cmocka_unit_test(test_rollback_and_clone),
        cmocka_unit_test(test_long_bounds),
        cmocka_unit_test(test_bounds_bind),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_refused_patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
