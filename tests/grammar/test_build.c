/* test_build.c - expressions and rules against their definition: sets of all strings of a and b up to a length, computed plainly;
 * characters in JSON against every way to write them. */
#include "base/utf8.h"
#include "grammar/build.h"
#include "test.h"
#include "vocab_of.h"

enum { LONGEST = 7, N_STRINGS = (2 << LONGEST) - 1 };

typedef struct {
    bool has[N_STRINGS];
} Lang;

/* String number i: bits of i + 1 below the highest one, 0 is a. */
static size_t text_of(int i, char *out)
{
    size_t n = 0;
    unsigned v = (unsigned)i + 1;
    for (int bit = 31 - __builtin_clz(v); bit-- > 0;) out[n++] = v >> bit & 1 ? 'b' : 'a';
    return n;
}

static int number_of(const char *s, size_t n)
{
    unsigned v = 1;
    for (size_t i = 0; i < n; i++) v = v << 1 | (s[i] == 'b');
    return (int)v - 1;
}

static Lang lang_cat(const Lang *x, const Lang *y)
{
    Lang out = { { 0 } };
    char s[32] = { 0 };
    for (int i = 0; i < N_STRINGS; i++) {
        size_t n = text_of(i, s);
        for (size_t k = 0; k <= n && !out.has[i]; k++)
            out.has[i] = x->has[number_of(s, k)] && y->has[number_of(s + k, n - k)];
    }
    return out;
}

static Lang lang_empty(void)
{
    Lang out = { { 0 } };
    out.has[0] = true;
    return out;
}

static Lang lang_or(Lang x, const Lang *y)
{
    for (int i = 0; i < N_STRINGS; i++) x.has[i] |= y->has[i];
    return x;
}

static Lang lang_repeat(const Lang *x, uint32_t min, uint32_t max)
{
    Lang power = lang_empty(), out = { { 0 } };
    uint32_t last = max == BUILD_INF ? min + LONGEST + 1 : max; /* more never gives a shorter string */
    for (uint32_t k = 0; k <= last; k++) {
        if (k >= min) out = lang_or(out, &power);
        power = lang_cat(&power, x);
    }
    return out;
}

/* ---- expressions ---- */

typedef struct {
    Expr e;
    Lang l;
} Pair;

static Pair leaf(Build *b, Rng *rng)
{
    static const char *const texts[] = { "a", "b", "ab", "ba", "aab", "" };
    Pair p = { 0 };
    if (rng_below(rng, 8) == 0) {
        p.e = pattern_build(b, STR("[ab]"), 0, SPELL_UTF8);
        p.l.has[1] = p.l.has[2] = true;
        return p;
    }
    const char *t = texts[rng_below(rng, COUNT(texts))];
    p.e = expr_literal(b, str_of(t));
    p.l.has[number_of(t, strlen(t))] = true;
    return p;
}

static Pair random_expr(Build *b, Rng *rng, int depth)
{
    if (depth == 0) return leaf(b, rng);
    Pair x = random_expr(b, rng, depth - 1), y = random_expr(b, rng, (int)rng_below(rng, (uint32_t)depth));
    uint32_t min = rng_below(rng, 3), max = rng_below(rng, 3) == 0 ? BUILD_INF : min + rng_below(rng, 4);
    switch (rng_below(rng, 6)) {
    case 0:
    case 1: return (Pair){ expr_cat(b, x.e, y.e), lang_cat(&x.l, &y.l) };
    case 2: return (Pair){ expr_or(b, x.e, y.e), lang_or(x.l, &y.l) };
    case 3: {
        Pair p = { .e = expr_and(b, x.e, y.e) };
        for (int i = 0; i < N_STRINGS; i++) p.l.has[i] = x.l.has[i] && y.l.has[i];
        return p;
    }
    case 4: {
        Pair p = { .e = expr_not(b, x.e) };
        for (int i = 0; i < N_STRINGS; i++) p.l.has[i] = !x.l.has[i];
        return p;
    }
    default: return (Pair){ expr_repeat(b, x.e, min, max), lang_repeat(&x.l, min, max) };
    }
}

static Sym expressions_front(Build *b, const GrammarSpec *spec)
{
    Rng rng = { 42 };
    (void)spec;
    for (int k = 0; k < 1500 && !build_failed(b); k++) {
        Pair p = random_expr(b, &rng, 1 + k % 4);
        bool any = false;
        char s[32];
        for (int i = 0; i < N_STRINGS; i++) {
            size_t n = text_of(i, s);
            assert_int_equal(expr_matches(b, p.e, (Str){ s, n }), p.l.has[i]);
            any |= p.l.has[i];
        }
        if (any) assert_false(expr_is_nothing(b, p.e));
    }
    assert_false(build_failed(b));
    return rule_lexeme(b, expr_literal(b, STR("a")));
}

static void with_front(FrontEnd front, uint64_t fuel)
{
    static Tokens t;
    static const char *const alphabet[] = { "a", "b" };
    Rng rng = { 1 };
    GrammarVocab *v = tokens_vocab(&t, &rng, alphabet, COUNT(alphabet), 20, 3);
    GrammarSpec spec = { 0 };
    GrammarLimits limits = grammar_default_limits;
    GrammarError err;
    Grammar *g;
    limits.compile_fuel = fuel;
    limits.compile_ns = (int64_t)600 * 1000000000;
    limits.nodes = 16000000;
    Status got = build_compile(v, front, &spec, &limits, NULL, &g, &err);
    if (got != OK) print_message("%s\n", err.err.text);
    assert_int_equal(got, OK);
    grammar_drop(g);
    grammar_vocab_drop(v);
}

static void test_expressions(void **state)
{
    (void)state;
    with_front(expressions_front, 1000000000);
}

/* ---- helpers ---- */

static bool holds(const char *s, size_t n, const char *part)
{
    return str_find((Str){ s, n }, str_of(part), 0) != SIZE_MAX;
}

static Sym helpers_front(Build *b, const GrammarSpec *spec)
{
    (void)spec;
    Str words[] = { STR("ab"), STR("a"), STR("abba"), STR("b"), STR("ab"), STR("abb") };
    Expr until = expr_until(b, STR("aba"), SPELL_UTF8);
    Expr without = expr_text_without(b, (Str[]){ STR("aa"), STR("bab") }, 2, SPELL_UTF8);
    Expr one_of = expr_one_of(b, words, COUNT(words));
    for (int i = 0; i < N_STRINGS; i++) {
        char s[32];
        size_t n = text_of(i, s);
        bool ends = n >= 3 && memcmp(s + n - 3, "aba", 3) == 0 && !holds(s, n - 1, "aba"), listed = false;
        for (size_t k = 0; k < COUNT(words); k++) listed |= str_eq(words[k], (Str){ s, n });
        assert_int_equal(expr_matches(b, until, (Str){ s, n }), ends);
        assert_int_equal(expr_matches(b, without, (Str){ s, n }), !holds(s, n, "aa") && !holds(s, n, "bab"));
        assert_int_equal(expr_matches(b, one_of, (Str){ s, n }), listed);
    }
    return rule_lexeme(b, one_of);
}

static void test_helpers(void **state)
{
    (void)state;
    with_front(helpers_front, 10000000);
}

/* ---- characters in JSON ---- */

static uint32_t random_char(Rng *rng)
{
    static const uint32_t top[] = { 0x80, 0x100, 0x3000, 0x10000, 0x110000 };
    uint32_t c = rng_below(rng, top[rng_below(rng, COUNT(top))]);
    return c >= 0xD800 && c < 0xE000 ? c - 0x800 : c;
}

static void check_spelling(Build *b, Expr e, Str s, bool want)
{
    if (expr_matches(b, e, s) != want) print_message("%.*s: want %d\n", STR_FMT(s), want);
    assert_int_equal(expr_matches(b, e, s), want);
}

static void check_char(Build *b, Expr e, uint32_t c, bool in)
{
    char s[32] = { 0 };
    size_t n = (size_t)utf8_put(s, c);
    check_spelling(b, e, (Str){ s, n }, in && c >= 0x20 && c != '"' && c != '\\');
    const char *forms[] = { "\\u%04x", "\\u%04X" };
    for (int k = 0; k < 2; k++) {
        n = c < 0x10000 ? (size_t)snprintf(s, sizeof s, forms[k], c)
                        : (size_t)snprintf(s, sizeof s, "\\u%04x\\u%04X", 0xD800 + ((c - 0x10000) >> 10),
                                           0xDC00 + ((c - 0x10000) & 0x3FF));
        check_spelling(b, e, (Str){ s, n }, in);
    }
    static const char from[] = "\"\\/\b\f\n\r\t", to[] = "\"\\/bfnrt";
    for (int k = 0; from[k]; k++)
        if (c == (uint8_t)from[k]) check_spelling(b, e, (Str){ (char[]){ '\\', to[k] }, 2 }, in);
}

static Sym json_front(Build *b, const GrammarSpec *spec)
{
    Rng rng = { 11 };
    (void)spec;
    for (int k = 0; k < 300; k++) {
        CharRange r[3];
        size_t n = 1 + rng_below(&rng, 3);
        for (size_t i = 0; i < n; i++) {
            r[i].first = random_char(&rng);
            r[i].last = r[i].first + rng_below(&rng, k % 2 ? 30 : 3000);
        }
        Expr e = expr_class(b, r, n, SPELL_JSON), u = expr_class(b, r, n, SPELL_UTF8);
        for (int i = 0; i < 40; i++) {
            uint32_t c = i % 2 ? random_char(&rng) : r[(size_t)i % n].first + rng_below(&rng, 40);
            bool in = false;
            char s[4];
            if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) continue;
            for (size_t j = 0; j < n; j++) in |= c >= r[j].first && c <= r[j].last;
            check_char(b, e, c, in);
            check_spelling(b, u, (Str){ s, (size_t)utf8_put(s, c) }, in);
        }
    }
    check_spelling(b, expr_any_char(b, SPELL_JSON), STR("\\ud800"), false);
    check_spelling(b, expr_any_char(b, SPELL_JSON), STR("\\udc00\\ud800"), false);
    check_spelling(b, expr_any_char(b, SPELL_JSON), STR("\\x41"), false);
    return rule_lexeme(b, expr_any_char(b, SPELL_JSON));
}

static void test_json_spelling(void **state)
{
    (void)state;
    with_front(json_front, 1000000000);
}

/* ---- rules ---- */

enum { MAX_RULES = 4, MAX_NODES = 80 };

typedef struct {
    enum { LEXEME, RULE, SEQ, ALT, REPEAT } kind;
    int a, b; /* nodes; of a lexeme and a rule: which */
    uint32_t min, max;
} Node;

typedef struct {
    Node node[MAX_NODES];
    int n, n_rules, body[MAX_RULES];
} Cfg;

static const char *const lexemes[] = { "a", "b", "ab", "a*b?", "(a|bb)+", "b{1,3}" };

static int random_node(Cfg *c, Rng *rng, int depth)
{
    if (c->n >= MAX_NODES - 4) depth = 0;
    Node n = { 0 };
    uint32_t pick = depth == 0 ? rng_below(rng, 2) : 2 + rng_below(rng, 4);
    if (pick < 2) {
        n.kind = pick == 0 ? LEXEME : RULE;
        n.a = (int)rng_below(rng, pick == 0 ? COUNT(lexemes) : (uint32_t)c->n_rules);
    } else {
        n.kind = pick == 2 || pick == 5 ? SEQ : pick == 3 ? ALT : REPEAT;
        n.a = random_node(c, rng, depth - 1);
        n.b = n.kind == REPEAT ? 0 : random_node(c, rng, depth - 1);
        n.min = rng_below(rng, 3);
        n.max = rng_below(rng, 2) ? BUILD_INF : n.min + rng_below(rng, 3);
    }
    c->node[c->n] = n;
    return c->n++;
}

static Lang lang_of(const Cfg *c, const Lang *rules, const Lang *lex, int i)
{
    const Node *n = &c->node[i];
    if (n->kind == LEXEME) return lex[n->a];
    if (n->kind == RULE) return rules[n->a];
    Lang x = lang_of(c, rules, lex, n->a);
    if (n->kind == REPEAT) return lang_repeat(&x, n->min, n->max);
    Lang y = lang_of(c, rules, lex, n->b);
    return n->kind == SEQ ? lang_cat(&x, &y) : lang_or(x, &y);
}

static Sym sym_of(Build *b, const Cfg *c, const Sym *rules, int i)
{
    const Node *n = &c->node[i];
    if (n->kind == LEXEME) return rule_lexeme(b, pattern_build(b, str_of(lexemes[n->a]), 0, SPELL_UTF8));
    if (n->kind == RULE) return rules[n->a];
    Sym x = sym_of(b, c, rules, n->a);
    if (n->kind == REPEAT) return rule_repeat(b, x, n->min, n->max);
    Sym both[2] = { x, sym_of(b, c, rules, n->b) };
    return n->kind == SEQ ? rule_seq(b, both, 2) : rule_alt(b, both, 2);
}

static Sym cfg_front(Build *b, const GrammarSpec *spec)
{
    const Cfg *c = (const void *)spec->text.p;
    Sym rules[MAX_RULES];
    for (int i = 0; i < c->n_rules; i++) rules[i] = rule_new(b, STR("r"));
    for (int i = 0; i < c->n_rules; i++) rule_define(b, rules[i], sym_of(b, c, rules, c->body[i]));
    return rules[0];
}

static Lang lexeme_lang(const char *pattern)
{
    Lang one[2] = { { { 0 } }, { { 0 } } }, x, y;
    one[0].has[1] = one[1].has[2] = true; /* a, b */
    if (strcmp(pattern, "a") == 0) return one[0];
    if (strcmp(pattern, "b") == 0) return one[1];
    if (strcmp(pattern, "ab") == 0) return lang_cat(&one[0], &one[1]);
    if (strcmp(pattern, "b{1,3}") == 0) return lang_repeat(&one[1], 1, 3);
    if (strcmp(pattern, "a*b?") == 0) {
        x = lang_repeat(&one[0], 0, BUILD_INF);
        y = lang_repeat(&one[1], 0, 1);
        return lang_cat(&x, &y);
    }
    y = lang_cat(&one[1], &one[1]);
    x = lang_or(one[0], &y);
    return lang_repeat(&x, 1, BUILD_INF);
}

/* True if the grammar has any text. */
static bool check_cfg(GrammarVocab *v, const Cfg *c, const Lang *lex)
{
    Lang rules[MAX_RULES] = { 0 };
    for (bool changed = true; changed;) { /* least fixed point */
        changed = false;
        for (int i = 0; i < c->n_rules; i++) {
            Lang l = lang_of(c, rules, lex, c->body[i]);
            changed |= memcmp(&l, &rules[i], sizeof l) != 0;
            rules[i] = l;
        }
    }
    GrammarSpec spec = { .text = { (const char *)c, sizeof *c } };
    GrammarError err;
    Grammar *g;
    if (build_compile(v, cfg_front, &spec, NULL, NULL, &g, &err) != OK) {
        assert_non_null(strstr(err.err.text, "nothing can satisfy"));
        for (int i = 0; i < N_STRINGS; i++) assert_false(rules[0].has[i]);
        return false;
    }
    for (int i = 0; i < N_STRINGS; i++) {
        char s[32];
        size_t n = text_of(i, s);
        GrammarMatcher *m = grammar_matcher_new(g);
        bool good = n == 0 || grammar_accept_bytes(m, (Str){ s, n }), extends = false;
        assert_int_equal(good && grammar_can_end(m), rules[0].has[i]);
        for (int k = 0; k < N_STRINGS && !good; k++) {
            char t[32];
            size_t nt = text_of(k, t);
            extends |= rules[0].has[k] && nt >= n && memcmp(s, t, n) == 0;
        }
        assert_false(extends); /* refused though a text of the language begins so */
        assert_false(grammar_matcher_failed(m, NULL));
        grammar_matcher_free(m);
    }
    grammar_drop(g);
    return true;
}

static void test_rules(void **state)
{
    (void)state;
    static Tokens t;
    static const char *const alphabet[] = { "a", "b" };
    Rng rng = { 4 };
    GrammarVocab *v = tokens_vocab(&t, &rng, alphabet, COUNT(alphabet), 20, 3);
    Lang lex[COUNT(lexemes)];
    for (size_t i = 0; i < COUNT(lexemes); i++) lex[i] = lexeme_lang(lexemes[i]);
    int n = 0;
    for (int k = 0; k < 400; k++) {
        static Cfg c;
        c = (Cfg){ .n_rules = 1 + (int)rng_below(&rng, MAX_RULES) };
        for (int i = 0; i < c.n_rules; i++) c.body[i] = random_node(&c, &rng, 1 + (int)rng_below(&rng, 3));
        n += check_cfg(v, &c, lex);
    }
    assert_true(n > 200);
    grammar_vocab_drop(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_expressions), cmocka_unit_test(test_helpers),
                                        cmocka_unit_test(test_json_spelling), cmocka_unit_test(test_rules) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
