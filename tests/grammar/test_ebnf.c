/* test_ebnf.c - EBNF grammars of both dialects: what they accept, what is refused and where. */
#include "text_check.h"

static GrammarVocab *vocab(void)
{
    static Tokens t;
    static const char *const alphabet[] = { "a", "b", "1", "+", "\"", "{", "}", "[", "]", ",", ":", " " };
    Rng rng = { 3 };
    return tokens_vocab(&t, &rng, alphabet, COUNT(alphabet), 300, 4);
}

typedef struct {
    const char *grammar;
    const char *good[6], *bad[6];
} Case;

static const char json_grammar[] =
    "# JSON, as llama.cpp writes it\n"
    "root   ::= object\n"
    "value  ::= object | array | string | number | (\"true\" | \"false\" | \"null\") ws\n"
    "object ::=\n"
    "  \"{\" ws (\n"
    "            string \":\" ws value\n"
    "    (\",\" ws string \":\" ws value)*\n"
    "  )? \"}\" ws\n"
    "array  ::= \"[\" ws ( value (\",\" ws value)* )? \"]\" ws\n"
    "string ::= \"\\\"\" ( [^\"\\\\\\x7F\\x00-\\x1F] | \"\\\\\" ([\"\\\\bfnrt] | \"u\" "
    "[0-9a-fA-F]{4}) )* \"\\\"\" ws\n"
    "number ::= (\"-\"? ([0-9] | [1-9] [0-9]{0,15})) (\".\" [0-9]+)? ([eE] [-+]? [0-9] "
    "[1-9]{0,15})? ws\n"
    "ws ::= | \" \" | \"\\n\" [ \\t]{0,20}\n";

static const Case cases[] = {
    { json_grammar,
      { "{}", "{\"a\": [1, 2.5e3, {\"b\": null}], \"c\": \"\\u00e9x\"}", "{ }", "{\"a\":\n  true}" },
      { "", "[1]", "{\"a\":}", "{\"a\": 01x}", "{,}", "{\"a\": 1,}" } },
    { "root ::= \"yes\" | \"no\" | \"\"", { "yes", "no", "" }, { "y", "yesno" } },
    { "root ::= [a-c]+ [^0-9] . \"\\x41\\u00e9\\U0001F600\"",
      { "abcx.A\xc3\xa9\xf0\x9f\x98\x80", "a-\nA\xc3\xa9\xf0\x9f\x98\x80" },
      { "a1.A\xc3\xa9\xf0\x9f\x98\x80", "x" } },
    { "root ::= \"a\"{2,3} \"b\"{2} \"c\"{1,} \"d\"{,2}",
      { "aabbc", "aaabbccdd" },
      { "abbc", "aaaabbc", "aabb", "aabbcddd" } },
    /* recursion at the end, at the begin, of two rules, in the middle */
    { "root ::= word ws\nword ::= [a-z] word | [a-z]\nws ::= ([ \\t] ws)?", { "abc  ", "a" }, { " ", "", "a b" } },
    { "root ::= sum\nsum ::= sum \"+\" n | n\nn ::= n [0-9] | [0-9]", { "1", "1+22+3" }, { "+1", "1+", "" } },
    { "root ::= a\na ::= \"a\" b | \"\"\nb ::= \"b\" a", { "", "abab" }, { "a", "aba", "b" } },
    { "root ::= \"(\" root \")\" | \"x\"", { "x", "((x))" }, { "((x)", "()", "xx" } },
    { "root ::= expr\nexpr ::= expr [-+] term | term\nterm ::= term [*] f | f\nf ::= \"(\" expr \")\" | [0-9]+",
      { "1", "(1+2)*34-5", "((7))" },
      { "", "1+", "(1", "1)" } },
    /* names, comments, rules without line ends, forward references */
    { "main-rule ::= x_1 # a comment \"not a string\nx_1 ::= \"#\" y.z y.z ::= 'q'\nroot ::= main-rule",
      { "#q" },
      { "#", "q" } },
    { "root ::= /[a-f]{2}\\/x|\\d+/ \"!\"", { "ab/x!", "12!" }, { "ab!", "!" } },
    { "root ::= (\"a\" | (\"b\" (\"c\" | \"\")))? \"d\"", { "d", "ad", "bd", "bcd" }, { "cd", "abd" } },
};

static void test_texts(void **state)
{
    (void)state;
    GrammarVocab *v = vocab();
    for (size_t i = 0; i < COUNT(cases); i++) {
        GrammarError err;
        Grammar *g = text_compile(v, GRAMMAR_EBNF, cases[i].grammar, NULL, &err);
        if (!g) print_message("%s: %s at %s\n", cases[i].grammar, err.err.text, err.pointer);
        assert_non_null(g);
        for (int k = 0; k < 6; k++) {
            if (cases[i].good[k] && !text_accepted(g, str_of(cases[i].good[k])))
                fail_msg("%s refuses %s", cases[i].grammar, cases[i].good[k]);
            if (cases[i].bad[k] && text_accepted(g, str_of(cases[i].bad[k])))
                fail_msg("%s accepts %s", cases[i].grammar, cases[i].bad[k]);
        }
        grammar_drop(g);
    }
    grammar_vocab_drop(v);
}

static void test_tokens_and_root(void **state)
{
    (void)state;
    GrammarVocab *v = vocab();
    GrammarError err;
    Grammar *g = text_compile(v, GRAMMAR_EBNF, "start ::= <[556]> other ::= start \"a\" <[97]> !<[98]>",
                              "{\"root\":\"other\"}", &err);
    assert_non_null(g);
    GrammarMatcher *m = grammar_matcher_new(g);
    assert_false(grammar_accept(m, 97));
    assert_true(grammar_accept(m, 556)); /* the special token of this vocabulary */
    assert_true(grammar_accept(m, 97));
    assert_false(grammar_accept(m, 98));
    assert_true(grammar_accept(m, 97));
    assert_false(grammar_accept(m, 98));
    assert_true(grammar_accept(m, 99));
    assert_true(grammar_can_end(m));
    grammar_matcher_free(m);
    grammar_drop(g);
    grammar_vocab_drop(v);
}

static const struct {
    const char *grammar, *place, *says;
    Status status;
} refused[] = {
    { "root ::= x", "byte 9", "not defined", E_INVALID },
    { "x ::= \"a\"", "", "no rule named", E_INVALID },
    { "", "", "no rule named", E_INVALID },
    { "root ::= \"a", "byte 9", "does not end", E_INVALID },
    { "root ::= [a", "byte 9", "without ]", E_INVALID },
    { "root ::= [z-a]", "byte 13", "backwards", E_INVALID },
    { "root ::= (\"a\"", "byte 9", "without )", E_INVALID },
    { "root ::= \"a\")", "byte 12", "without (", E_INVALID },
    { "root ::= *", "byte 9", "nothing to repeat", E_INVALID },
    { "root ::= \"a\"{3,1}", "byte 12", "wrong way", E_INVALID },
    { "root ::= \"a\"{x}", "byte 12", "written {m}", E_INVALID },
    { "root ::= \"a\"{9999999}", "byte 12", "too large", E_LIMIT },
    { "root ::= \"\\q\"", "byte 11", "unknown escape", E_INVALID },
    { "root ::= \"\\ud800\"", "byte 11", "no character", E_INVALID },
    { "root ::= \"a\" root ::= \"b\"", "byte 13", "second time", E_INVALID },
    { "root ::= \"a\" (= \"b\")", "byte 13", "look-ahead", E_UNSUPPORTED },
    { "root ::= TagDispatch((\"a\", b))", "byte 9", "TagDispatch", E_UNSUPPORTED },
    { "root ::= <think>", "byte 9", "by text", E_UNSUPPORTED },
    { "root ::= /(?=a)b/", "byte 9", "look-ahead", E_UNSUPPORTED },
    { "root ::= \"a\" root", "", "nothing can satisfy", E_INVALID },
    { "root = \"a\"", "byte 5", "::=", E_INVALID },
    { "root ::= \"\xff\"", "", "UTF-8", E_INVALID },
};

static void test_refusals(void **state)
{
    (void)state;
    GrammarVocab *v = vocab();
    for (size_t i = 0; i < COUNT(refused); i++) {
        GrammarError err;
        Grammar *g = text_compile(v, GRAMMAR_EBNF, refused[i].grammar, NULL, &err);
        if (g) fail_msg("%s compiles", refused[i].grammar);
        if (!strstr(err.err.text, refused[i].says) || err.err.status != refused[i].status ||
            strcmp(err.pointer, refused[i].place) != 0)
            fail_msg("%s: \"%s\" at \"%s\"", refused[i].grammar, err.err.text, err.pointer);
    }
    grammar_vocab_drop(v);
}

static Status hostile(GrammarVocab *v, const Buf *text)
{
    GrammarSpec spec = { GRAMMAR_EBNF, buf_view(text), { 0 } };
    GrammarError err;
    Grammar *g;
    Status s = grammar_compile(v, &spec, NULL, NULL, &g, &err);
    grammar_drop(g);
    return s;
}

static void test_hostile(void **state)
{
    (void)state;
    GrammarVocab *v = vocab();
    Buf text = { 0 };
    buf_str(&text, STR("root ::= "));
    for (int i = 0; i < 60000; i++) buf_char(&text, '(');
    assert_int_equal(hostile(v, &text), E_LIMIT);
    buf_clear(&text); /* a long chain of rules */
    buf_str(&text, STR("root ::= r0\n"));
    for (int i = 0; i < 20000; i++) buf_printf(&text, "r%d ::= r%d\n", i, i + 1);
    buf_str(&text, STR("r20000 ::= \"a\"\n"));
    assert_int_equal(hostile(v, &text), OK);
    buf_clear(&text);
    buf_str(&text, STR("root ::= \"a\""));
    for (int i = 0; i < 60000; i++) buf_str(&text, STR("*"));
    assert_int_equal(hostile(v, &text), E_LIMIT);
    buf_clear(&text);
    buf_str(&text, STR("root ::= \"\""));
    for (int i = 0; i < 110000; i++) buf_str(&text, STR("|\"a\""));
    assert_int_equal(hostile(v, &text), E_LIMIT);
    buf_clear(&text);
    buf_str(&text, STR("root ::= "));
    for (int i = 0; i < 110000; i++) buf_str(&text, STR("x "));
    buf_str(&text, STR("\nx ::= \"a\""));
    assert_int_equal(hostile(v, &text), E_LIMIT);
    buf_free(&text);
    grammar_vocab_drop(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_tokens_and_root),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
