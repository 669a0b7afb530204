/* ebnf.c - EBNF grammars into lexemes and rules.
 *
 * A rule that does not lead back to itself, and is made of such rules, is a regular language: it becomes one expression, and so does a
 * rule that calls only itself, always last or always first (ws ::= [ \t] ws | ""): that is a loop. What is left are
 * the truly recursive rules; inside them the longest stretches without one are lexemes, so that a parser item never
 * stands for a single byte. Regular rules are found by counting down the references of each (no recursion over rules);
 * trees are as deep as the text's own groups, which are limited. Thread: the Build's. */
#include "grammar/ebnf.h"

#include <jansson.h>

typedef struct {
    Ebnf g;
    Build *b;
    bool *regular; /* by rule: expr says all */
    Expr *expr;
    Sym *sym; /* of the others; SYM_NOTHING: not made yet */
    uint32_t *todo, n_todo;
} Front;

/* What a tree means: an expression if it is regular. */
typedef struct {
    bool regular;
    Expr e;
    Sym s;
} Part;

/* coef R | rest: what a rule R means as long as R stands only at one end. */
typedef struct {
    Expr coef, rest;
    bool fits;
} Linear;

static Expr class_expr(Front *f, const EbnfNode *n)
{
    Expr e = expr_class(f->b, n->range, n->n, SPELL_UTF8);
    if (!n->negate) return e;
    Expr any = expr_any_char(f->b, SPELL_UTF8);
    return n->n ? expr_without(f->b, any, e) : any;
}

static Expr leaf_expr(Front *f, const EbnfNode *n)
{
    build_at(f->b, arena_printf(build_arena(f->b), "byte %u", n->at));
    if (n->kind == EBNF_LITERAL) return expr_text(f->b, n->text, SPELL_UTF8);
    if (n->kind == EBNF_PATTERN) return pattern_build(f->b, n->text, 0, SPELL_UTF8);
    return class_expr(f, n);
}

/* ---- references ---- */

typedef void (*OnRef)(void *arg, uint32_t rule);

static void each_ref(const EbnfNode *n, OnRef on, void *arg)
{
    if (n->kind == EBNF_REF) on(arg, n->rule);
    if (n->kind == EBNF_TOKENS) on(arg, UINT32_MAX);
    if (n->kind != EBNF_SEQ && n->kind != EBNF_ALT && n->kind != EBNF_REPEAT) return;
    for (const EbnfNode *c = n->first; c; c = c->next) each_ref(c, on, arg);
}

typedef struct {
    Front *f;
    uint32_t self;
    uint32_t *waits; /* by rule: references to others that are not known to be regular; UINT32_MAX: never */
    uint32_t *count; /* by rule: how many refer to it */
    uint32_t *users, *first;
} Graph;

static void count_ref(void *arg, uint32_t rule)
{
    Graph *g = arg;
    if (rule == UINT32_MAX)
        g->waits[g->self] = UINT32_MAX;
    else if (rule != g->self) {
        g->count[rule]++;
        if (g->waits[g->self] != UINT32_MAX) g->waits[g->self]++;
    }
}

static void list_ref(void *arg, uint32_t rule)
{
    Graph *g = arg;
    if (rule != UINT32_MAX && rule != g->self) g->users[g->first[rule] + --g->count[rule]] = g->self;
}

static void graph_make(Graph *g)
{
    Ebnf *e = &g->f->g;
    Arena *mem = build_arena(e->b);
    uint32_t total = 0;
    g->waits = ARENA_NEW(mem, uint32_t, e->n_rules);
    g->count = ARENA_NEW(mem, uint32_t, e->n_rules);
    g->first = ARENA_NEW(mem, uint32_t, e->n_rules + 1);
    for (g->self = 0; g->self < e->n_rules; g->self++) each_ref(e->rule[g->self].body, count_ref, g);
    for (uint32_t i = 0; i < e->n_rules; i++) {
        g->first[i] = total;
        total += g->count[i];
    }
    g->first[e->n_rules] = total;
    g->users = ARENA_NEW(mem, uint32_t, total + 1);
    for (g->self = 0; g->self < e->n_rules; g->self++) each_ref(e->rule[g->self].body, list_ref, g);
}

/* ---- regular rules ---- */

/* left: R may stand first instead of last. */
static Linear linear_of(Front *f, const EbnfNode *n, uint32_t self, bool left);

static Linear linear_seq(Front *f, const EbnfNode *n, uint32_t self, bool left)
{
    Build *b = f->b;
    Linear out = { EXPR_NOTHING, EXPR_EMPTY, true };
    for (const EbnfNode *c = n->first; c && out.fits; c = c->next) {
        Linear x = linear_of(f, c, self, left);
        if (!x.fits || (left ? x.coef : out.coef) != EXPR_NOTHING) {
            out.fits = x.fits && left && c == n->first;
            if (out.fits) out = x;
            continue;
        }
        out.coef = left ? expr_cat(b, out.coef, x.rest) : expr_cat(b, out.rest, x.coef);
        out.rest = expr_cat(b, out.rest, x.rest);
    }
    return out;
}

static Linear linear_of(Front *f, const EbnfNode *n, uint32_t self, bool left)
{
    Build *b = f->b;
    Linear out = { EXPR_NOTHING, EXPR_NOTHING, true };
    if (build_failed(b)) return out;
    switch (n->kind) {
    case EBNF_LITERAL:
    case EBNF_CLASS:
    case EBNF_PATTERN: out.rest = leaf_expr(f, n); break;
    case EBNF_TOKENS: out.fits = false; break;
    case EBNF_REF:
        if (n->rule == self)
            out.coef = EXPR_EMPTY;
        else
            out.rest = f->expr[n->rule];
        break;
    case EBNF_SEQ: return linear_seq(f, n, self, left);
    case EBNF_ALT:
        for (const EbnfNode *c = n->first; c && out.fits; c = c->next) {
            Linear x = linear_of(f, c, self, left);
            out = (Linear){ expr_or(b, out.coef, x.coef), expr_or(b, out.rest, x.rest), x.fits };
        }
        break;
    case EBNF_REPEAT:
        out = linear_of(f, n->first, self, left);
        if (out.coef == EXPR_NOTHING)
            out.rest = expr_repeat(b, out.rest, n->min, n->max);
        else if (n->max == 1)
            out.rest = n->min ? out.rest : expr_or(b, out.rest, EXPR_EMPTY);
        else
            out.fits = false;
        break;
    }
    return out;
}

static bool try_regular(Front *f, uint32_t rule)
{
    Build *b = f->b;
    const EbnfNode *body = f->g.rule[rule].body;
    for (int left = 0; left < 2; left++) {
        Linear x = linear_of(f, body, rule, left);
        if (!x.fits) continue;
        Expr loop = x.coef == EXPR_NOTHING ? EXPR_EMPTY : expr_repeat(b, x.coef, 0, BUILD_INF);
        f->expr[rule] = left ? expr_cat(b, x.rest, loop) : expr_cat(b, loop, x.rest);
        return true;
    }
    return false;
}

/* Rules whose references are all settled, until none is left. */
static void find_regular(Front *f)
{
    Graph g = { .f = f };
    graph_make(&g);
    uint32_t n = f->g.n_rules, n_ready = 0;
    uint32_t *ready = ARENA_NEW(build_arena(f->b), uint32_t, n);
    for (uint32_t i = 0; i < n; i++)
        if (g.waits[i] == 0) ready[n_ready++] = i;
    for (uint32_t i = 0; i < n_ready && build_spend(f->b, 1); i++) {
        uint32_t rule = ready[i];
        if (!try_regular(f, rule)) continue;
        f->regular[rule] = true;
        for (uint32_t k = g.first[rule]; k < g.first[rule + 1]; k++) {
            uint32_t *waits = &g.waits[g.users[k]];
            if (*waits != UINT32_MAX && --*waits == 0) ready[n_ready++] = g.users[k];
        }
    }
}

/* ---- the others ---- */

static Sym sym_of(Front *f, Part p)
{
    if (!p.regular) return p.s;
    return p.e == EXPR_NOTHING || build_failed(f->b) ? SYM_NOTHING : rule_lexeme(f->b, p.e);
}

static Sym rule_sym(Front *f, uint32_t rule)
{
    if (f->sym[rule] == SYM_NOTHING) {
        f->sym[rule] = rule_new(f->b, f->g.rule[rule].name);
        f->todo[f->n_todo++] = rule;
    }
    return f->sym[rule];
}

static Part part_of(Front *f, const EbnfNode *n);

static size_t n_children(const EbnfNode *n)
{
    size_t k = 0;
    for (const EbnfNode *c = n->first; c; c = c->next) k++;
    return k;
}

/* Neighbours that are regular are joined. */
static Part part_seq(Front *f, const EbnfNode *n)
{
    Sym *s = ARENA_NEW(build_arena(f->b), Sym, n_children(n) * 2 + 1);
    size_t k = 0;
    Expr run = EXPR_EMPTY;
    bool regular = true;
    for (const EbnfNode *c = n->first; c && !build_failed(f->b); c = c->next) {
        Part p = part_of(f, c);
        if (p.regular) {
            run = expr_cat(f->b, run, p.e);
            continue;
        }
        regular = false;
        if (run != EXPR_EMPTY) s[k++] = sym_of(f, (Part){ true, run, 0 });
        s[k++] = p.s;
        run = EXPR_EMPTY;
    }
    if (regular) return (Part){ true, run, SYM_NOTHING };
    if (run != EXPR_EMPTY) s[k++] = sym_of(f, (Part){ true, run, 0 });
    return (Part){ false, EXPR_NOTHING, rule_seq(f->b, s, k) };
}

static Part part_alt(Front *f, const EbnfNode *n)
{
    size_t n_parts = n_children(n), n_e = 0, n_s = 0;
    Sym *s = ARENA_NEW(build_arena(f->b), Sym, n_parts + 1);
    Expr *e = ARENA_NEW(build_arena(f->b), Expr, n_parts + 1);
    for (const EbnfNode *c = n->first; c && !build_failed(f->b); c = c->next) {
        Part p = part_of(f, c);
        if (p.regular)
            e[n_e++] = p.e;
        else
            s[n_s++] = p.s;
    }
    Part regular = { true, n_e ? expr_or_n(f->b, e, n_e) : EXPR_NOTHING, SYM_NOTHING };
    if (n_s == 0) return regular;
    if (n_e) s[n_s++] = sym_of(f, regular);
    return (Part){ false, EXPR_NOTHING, rule_alt(f->b, s, n_s) };
}

static Part part_of(Front *f, const EbnfNode *n)
{
    Build *b = f->b;
    Part p = { true, EXPR_NOTHING, SYM_NOTHING };
    if (build_failed(b)) return p;
    switch (n->kind) {
    case EBNF_LITERAL:
    case EBNF_CLASS:
    case EBNF_PATTERN: p.e = leaf_expr(f, n); break;
    case EBNF_TOKENS:
        p.regular = false;
        p.s = n->negate ? rule_any_token_but(b, &n->id, 1) : rule_token(b, &n->id, 1);
        break;
    case EBNF_REF:
        p.regular = f->regular[n->rule];
        if (p.regular)
            p.e = f->expr[n->rule];
        else
            p.s = rule_sym(f, n->rule);
        break;
    case EBNF_SEQ: return part_seq(f, n);
    case EBNF_ALT: return part_alt(f, n);
    case EBNF_REPEAT:
        p = part_of(f, n->first);
        if (p.regular)
            p.e = expr_repeat(b, p.e, n->min, n->max);
        else
            p.s = rule_repeat(b, p.s, n->min, n->max);
        break;
    }
    return p;
}

/* ---- the root ---- */

/* {"root": "name"} */
static Str root_name(Build *b, Str options)
{
    if (options.n == 0) return STR("root");
    json_t *j = json_loadb(options.p, options.n, 0, NULL), *root = json_object_get(j, "root");
    Str name = STR("root");
    if (!json_is_object(j) || (root && !json_is_string(root)))
        build_fail(b, E_INVALID, "the options of a grammar are an object; its root is a string");
    else if (root)
        name = arena_str(build_arena(b), str_of(json_string_value(root)));
    json_decref(j);
    return name;
}

static Sym make_rules(Front *f, uint32_t root)
{
    Arena *mem = build_arena(f->b);
    uint32_t n = f->g.n_rules;
    f->regular = ARENA_NEW(mem, bool, n);
    f->expr = ARENA_NEW(mem, Expr, n);
    f->sym = ARENA_NEW(mem, Sym, n);
    f->todo = ARENA_NEW(mem, uint32_t, n);
    find_regular(f);
    if (build_failed(f->b)) return SYM_NOTHING;
    if (f->regular[root]) return sym_of(f, (Part){ true, f->expr[root], SYM_NOTHING });
    Sym out = rule_sym(f, root);
    for (uint32_t i = 0; i < f->n_todo && !build_failed(f->b); i++)
        rule_define(f->b, f->sym[f->todo[i]], sym_of(f, part_of(f, f->g.rule[f->todo[i]].body)));
    return out;
}

Sym ebnf_sym(Build *b, Str text, Str root)
{
    Front f = { .g = { .b = b }, .b = b };
    ebnf_read(&f.g, text);
    if (build_failed(b)) return SYM_NOTHING;
    build_at(b, STR(""));
    for (uint32_t i = 0; i < f.g.n_rules; i++)
        if (str_eq(f.g.rule[i].name, root)) return make_rules(&f, i);
    build_fail(b, E_INVALID, "there is no rule named \"%.*s\"", (int)MIN(root.n, (size_t)100), root.p);
    return SYM_NOTHING;
}

Sym ebnf_front(Build *b, const GrammarSpec *spec)
{
    return ebnf_sym(b, spec->text, root_name(b, spec->options));
}
