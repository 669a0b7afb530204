/* build.c - the builder: sticky errors, limits, fuel, and the functions of build.h that are thin over expr.c and syms.c. */
#include <stdio.h>
#include <stdlib.h>

#include "grammar/inside.h"

enum { CLOCK_EVERY = 20000 /* steps of fuel between looks at the clock */, TREE_DEPTH = 2000 };

const GrammarLimits grammar_default_limits = {
    .text_bytes = 2 << 20,
    .nesting = 256,
    .references = 100000,
    .enum_bytes = 4 << 20,
    .alternatives = 100000,
    .pattern_nodes = 50000,
    .nodes = 1000000,
    .repeat = 1 << 20,
    .symbols = 500000,
    .compile_fuel = 2000000,
    .compile_ns = 2000000000,
    .states = 100000,
    .memory = 64 << 20,
    .mask_fuel = 60000,
    .mask_items = 20000,
    .mask_ns = 1000000000,
    .row_items = 2000,
    .depth = 10000,
};

const GrammarLimits *build_limits(const Build *b)
{
    return b->limits;
}

Arena *build_arena(Build *b)
{
    return b->mem;
}

void build_at(Build *b, Str place)
{
    if (b->under.n && place.n && place.p[0] != '/') place.n = 0;
    snprintf(b->place, sizeof b->place, "%.*s%.*s", STR_FMT(b->under), STR_FMT(place));
}

void build_under(Build *b, Str prefix)
{
    b->under = prefix;
    build_at(b, STR(""));
}

bool build_failed(const Build *b)
{
    return b->err->err.status != OK;
}

Status build_fail(Build *b, Status status, const char *fmt, ...)
{
    if (build_failed(b)) return b->err->err.status;
    va_list args;
    va_start(args, fmt);
    b->err->err.status = status;
    vsnprintf(b->err->err.text, sizeof b->err->err.text, fmt, args);
    va_end(args);
    memcpy(b->err->pointer, b->place, sizeof b->place);
    b->x.stop = b->x.stop ? b->x.stop : STOP_CANCEL; /* the pools do no more work */
    return status;
}

static void look_at_clock(Build *b)
{
    if (b->x.fuel > b->clock_at) return;
    b->clock_at = b->x.fuel > CLOCK_EVERY ? b->x.fuel - CLOCK_EVERY : 0;
    if (b->cancel && *b->cancel)
        build_fail(b, E_CANCELLED, "cancelled while compiling");
    else if (clock_ns() > b->deadline_ns)
        build_fail(b, E_LIMIT, "compiling takes longer than %lld ms", (long long)(b->limits->compile_ns / 1000000));
}

bool build_check(Build *b)
{
    if (build_failed(b)) return true;
    if (b->s.over) build_fail(b, E_LIMIT, "needs more than %u rule nodes", b->limits->symbols);
    if (b->x.stop == STOP_FUEL)
        build_fail(b, E_LIMIT, "compiling needs more than %llu steps", (unsigned long long)b->limits->compile_fuel);
    if (b->x.stop == STOP_NODES) build_fail(b, E_LIMIT, "needs more than %u expression nodes", b->limits->nodes);
    if (b->x.stop == STOP_HEIGHT) build_fail(b, E_LIMIT, "is nested too deeply");
    if (!build_failed(b)) look_at_clock(b);
    return build_failed(b);
}

bool build_spend(Build *b, uint64_t n)
{
    if (b->x.fuel < n)
        b->x.stop = b->x.stop ? b->x.stop : STOP_FUEL;
    else
        b->x.fuel -= n;
    return !build_check(b);
}

bool build_count_enum(Build *b, size_t bytes)
{
    b->enum_bytes += MIN(bytes, b->limits->enum_bytes + 1);
    if (b->enum_bytes > b->limits->enum_bytes)
        build_fail(b, E_LIMIT, "enum, const and choice values together have more than %zu bytes",
                   b->limits->enum_bytes);
    return !build_failed(b);
}

/* ---- expressions ---- */

static Expr checked(Build *b, Expr e)
{
    return build_check(b) ? EXPR_NOTHING : e;
}

Expr expr_bytes(Build *b, ByteSet set)
{
    return checked(b, exprs_set(&b->x, set));
}

Expr expr_literal(Build *b, Str bytes)
{
    return checked(b, exprs_literal(&b->x, bytes.p, bytes.n));
}

Expr expr_cat(Build *b, Expr x, Expr y)
{
    return checked(b, exprs_cat(&b->x, x, y));
}

Expr expr_cat_n(Build *b, const Expr *x, size_t n)
{
    Expr out = EXPR_EMPTY;
    while (n) out = exprs_cat(&b->x, x[--n], out);
    return checked(b, out);
}

Expr expr_or(Build *b, Expr x, Expr y)
{
    Expr both[2] = { x, y };
    return checked(b, exprs_or(&b->x, both, 2));
}

Expr expr_or_n(Build *b, const Expr *x, size_t n)
{
    if (n > b->limits->alternatives) build_fail(b, E_LIMIT, "more than %u alternatives", b->limits->alternatives);
    if (build_check(b)) return EXPR_NOTHING;
    return checked(b, exprs_or(&b->x, x, n));
}

Expr expr_and(Build *b, Expr x, Expr y)
{
    Expr both[2] = { x, y };
    return checked(b, exprs_and(&b->x, both, 2));
}

Expr expr_and_n(Build *b, const Expr *x, size_t n)
{
    return checked(b, exprs_and(&b->x, x, n));
}

Expr expr_not(Build *b, Expr x)
{
    return checked(b, exprs_not(&b->x, x));
}

Expr expr_without(Build *b, Expr x, Expr y)
{
    return expr_and(b, x, expr_not(b, y));
}

Expr expr_repeat(Build *b, Expr x, uint32_t min, uint32_t max)
{
    uint32_t most = max == BUILD_INF ? min : max;
    if (most > b->limits->repeat) build_fail(b, E_LIMIT, "repeats %u times, more than %u", most, b->limits->repeat);
    if (min > max) return EXPR_NOTHING;
    return checked(b, exprs_repeat(&b->x, x, min, max));
}

static int by_bytes(const void *p, const void *q)
{
    const Str *a = p, *b = q;
    int c = memcmp(a->p, b->p, MIN(a->n, b->n));
    return c ? c : (a->n > b->n) - (a->n < b->n);
}

/* Sorted strings that share their first `from` bytes, as a tree: what all share, then one branch for each next byte. */
static Expr tree(Build *b, const Str *s, size_t n, size_t from, int depth)
{
    if (depth > TREE_DEPTH)
        build_fail(b, E_LIMIT, "more than %d of the values are each other's beginnings", TREE_DEPTH);
    if (build_check(b)) return EXPR_NOTHING;
    size_t shared = from, last = s[n - 1].n;
    while (shared < s[0].n && shared < last && s[0].p[shared] == s[n - 1].p[shared]) shared++;
    Expr head = exprs_literal(&b->x, s[0].p + from, shared - from);
    if (n == 1 || s[0].n == last) {
        if (n == 1 || shared == last) return head; /* one string, perhaps several times */
    }
    Expr *branch = ARENA_NEW(b->mem, Expr, MIN(n, (size_t)256) + 1);
    size_t n_branches = 0, i = 0;
    while (i < n && s[i].n == shared) i++;
    if (i) branch[n_branches++] = EXPR_EMPTY;
    while (i < n) {
        size_t end = i + 1;
        while (end < n && s[end].p[shared] == s[i].p[shared]) end++;
        branch[n_branches++] = tree(b, s + i, end - i, shared, depth + 1);
        i = end;
    }
    return exprs_cat(&b->x, head, exprs_or(&b->x, branch, n_branches));
}

Expr expr_one_of(Build *b, const Str *literals, size_t n)
{
    if (n > b->limits->alternatives) build_fail(b, E_LIMIT, "more than %u alternatives", b->limits->alternatives);
    if (build_check(b) || n == 0) return EXPR_NOTHING;
    Str *s = arena_copy(b->mem, literals, n * sizeof *s);
    qsort(s, n, sizeof *s, by_bytes);
    for (size_t i = 0; i < n; i++)
        if (!build_spend(b, 1 + s[i].n / 8)) return EXPR_NOTHING;
    return checked(b, tree(b, s, n, 0, 0));
}

static Expr any_text(Build *b, Spelling how)
{
    return expr_repeat(b, expr_any_char(b, how), 0, BUILD_INF);
}

Expr expr_text_without(Build *b, const Str *marks, size_t n, Spelling how)
{
    Expr text = any_text(b, how), out = text;
    for (size_t i = 0; i < n; i++) {
        Expr with = expr_cat(b, text, expr_cat(b, expr_text(b, marks[i], how), text));
        out = expr_without(b, out, with);
    }
    return out;
}

bool expr_is_nothing(Build *b, Expr x)
{
    bool alive = exprs_alive(&b->x, x);
    return build_check(b) || !alive;
}

bool expr_matches_empty(const Build *b, Expr x)
{
    return exprs_nullable(&b->x, x);
}

bool expr_matches(Build *b, Expr x, Str s)
{
    for (size_t i = 0; i < s.n && x != EXPR_NOTHING && build_spend(b, 1); i++)
        x = exprs_derive(&b->x, x, (uint8_t)s.p[i]);
    return !build_check(b) && exprs_nullable(&b->x, x);
}

/* ---- rules ---- */

static Sym checked_sym(Build *b, Sym s)
{
    return build_spend(b, 1) ? s : SYM_NOTHING;
}

Sym rule_lexeme(Build *b, Expr x)
{
    if (x == EXPR_EMPTY) return SYM_EMPTY;
    if (expr_is_nothing(b, x)) {
        build_fail(b, E_INVALID, "nothing can satisfy this");
        return SYM_NOTHING;
    }
    return checked_sym(b, split_lexeme(b, x));
}

static int by_number(const void *p, const void *q)
{
    int32_t a = *(const int32_t *)p, b = *(const int32_t *)q;
    return (a > b) - (a < b);
}

static void add_id(Syms *s, int32_t id)
{
    s->ids = array_room(s->ids, s->n_ids, &s->cap_ids, sizeof *s->ids);
    s->ids[s->n_ids++] = id;
}

/* A set of ids; the end ids are never in one that is given by what it lacks. */
static Sym token_set(Build *b, const int32_t *ids, size_t n, bool all_but)
{
    Syms *s = &b->s;
    if (!build_spend(b, 1 + n)) return SYM_NOTHING;
    size_t at = s->n_ids, n_end = 0;
    const int32_t *end = grammar_vocab_ends(b->vocab, &n_end);
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= grammar_vocab_size(b->vocab)) {
            build_fail(b, E_INVALID, "token id %d is not in the vocabulary", (int)ids[i]);
            return SYM_NOTHING;
        }
        add_id(s, ids[i]);
    }
    for (size_t i = 0; all_but && i < n_end; i++) add_id(s, end[i]);
    if (s->n_ids > at) qsort(s->ids + at, s->n_ids - at, sizeof *s->ids, by_number);
    s->set = array_room32(s->set, s->n_sets, &s->cap_sets, sizeof *s->set);
    s->set[s->n_sets] = (TokenSet){ (uint32_t)at, (uint32_t)(s->n_ids - at), all_but };
    return checked_sym(b, syms_leaf(s, Y_TOKENS, s->n_sets++, false));
}

Sym rule_token(Build *b, const int32_t *ids, size_t n)
{
    return token_set(b, ids, n, false);
}

Sym rule_any_token_but(Build *b, const int32_t *ids, size_t n)
{
    return token_set(b, ids, n, true);
}

Sym rule_seq(Build *b, const Sym *s, size_t n)
{
    Sym out = SYM_EMPTY;
    while (n) out = syms_seq(&b->s, s[--n], out);
    return checked_sym(b, out);
}

Sym rule_alt(Build *b, const Sym *s, size_t n)
{
    if (n > b->limits->alternatives) build_fail(b, E_LIMIT, "more than %u alternatives", b->limits->alternatives);
    if (!build_spend(b, 1 + n / 8)) return SYM_NOTHING;
    return checked_sym(b, syms_alt(&b->s, s, n));
}

Sym rule_repeat(Build *b, Sym s, uint32_t min, uint32_t max)
{
    uint32_t most = max == BUILD_INF ? min : max;
    if (most > b->limits->repeat) build_fail(b, E_LIMIT, "repeats %u times, more than %u", most, b->limits->repeat);
    if (min > max) return SYM_NOTHING;
    return checked_sym(b, syms_repeat(&b->s, s, min, max));
}

Sym rule_form(Build *b, const FormSpec *spec)
{
    uint64_t states = spec->max == BUILD_INF ? MAX(spec->min, spec->n_parts) + 1ull : spec->max + 1ull;
    for (uint32_t i = 0; i < spec->n_needs; i++)
        states *= 1ull + MIN(spec->need[i].max == BUILD_INF ? spec->need[i].min : spec->need[i].max, FORM_MAX_LIST);
    if (spec->n_parts > FORM_MAX_PARTS || (spec->list && states > FORM_MAX_LIST))
        build_fail(b, E_LIMIT, "more than %d parts in any order, or %d states of a list", FORM_MAX_PARTS,
                   FORM_MAX_LIST);
    if (!build_spend(b, 1 + spec->n_parts / 8 + (spec->list ? states / 16 : 0))) return SYM_NOTHING;
    return checked_sym(b, forms_new(&b->s, spec));
}

Sym rule_new(Build *b, Str name)
{
    Syms *s = &b->s;
    if (!build_spend(b, 1)) return SYM_NOTHING;
    s->rule = array_room32(s->rule, s->n_rules, &s->cap_rules, sizeof *s->rule);
    s->rule[s->n_rules] = (Rule){ .name = arena_str(b->mem, name) };
    return checked_sym(b, syms_leaf(s, Y_RULE, s->n_rules++, false));
}

void rule_define(Build *b, Sym rule, Sym body)
{
    if (build_failed(b)) return;
    const SymNode *n = &b->s.node[rule];
    CHECK(n->kind == Y_RULE && !b->s.rule[n->a].defined);
    b->s.rule[n->a].body = body;
    b->s.rule[n->a].defined = true;
}
