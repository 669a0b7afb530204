/* schema_array.c - shapes of arrays as rules. See schema.h. Where some items must be of some kind, or no two may be equal, the array is a
 * form (forms.h). Thread: the Build's. */
#include "grammar/schema.h"

enum { MAX_VALUES = 256 /* of uniqueItems */, MAX_WAYS = 32 };

static Sym seq2(Schema *s, Sym x, Sym y)
{
    return rule_seq(s->b, (Sym[]){ x, y }, 2);
}

static Sym seq3(Schema *s, Sym x, Sym y, Sym z)
{
    return rule_seq(s->b, (Sym[]){ x, y, z }, 3);
}

static Sym text_sym(Schema *s, Expr before, const char *text, Expr after)
{
    return schema_sym_text(s, before, str_of(text), after);
}

typedef struct {
    Schema *s;
    const SchemaArray *a;
    Sym comma, shut;
} Array;

static Sym item(Array *p, Term t, uint32_t i)
{
    Sym value = schema_sym_of_term(p->s, t);
    if (value == SYM_NOTHING) return SYM_NOTHING;
    return i ? seq2(p->s, p->comma, value) : value;
}

/* After the first n items, or all, of the prefix. */
static Sym rest_items(Array *p, uint32_t i)
{
    Schema *s = p->s;
    const SchemaArray *a = p->a;
    uint32_t least = a->min > i ? a->min - i : 0, most = a->max == BUILD_INF ? BUILD_INF : a->max - i;
    Sym end = i ? p->shut : rule_lexeme(s->b, expr_literal(s->b, STR("]")));
    if (most == 0) return end;
    if (i) return seq2(s, rule_repeat(s->b, item(p, a->rest, 1), least, most), p->shut);
    Sym more = rule_repeat(s->b, item(p, a->rest, 1), least ? least - 1 : 0, most == BUILD_INF ? most : most - 1);
    Sym some = seq3(s, item(p, a->rest, 0), more, p->shut);
    return rule_alt(s->b, (Sym[]){ some, least ? SYM_NOTHING : end }, 2);
}

static Sym plain_items(Array *p)
{
    Schema *s = p->s;
    const SchemaArray *a = p->a;
    uint32_t n = MIN(a->n_prefix, a->max);
    Sym out = rest_items(p, n);
    for (uint32_t i = n; i-- > 0 && build_spend(s->b, 1);) {
        Sym end = i ? p->shut : rule_lexeme(s->b, expr_literal(s->b, STR("]")));
        out = rule_alt(s->b, (Sym[]){ seq2(s, item(p, a->prefix[i], i), out), i >= a->min ? end : SYM_NOTHING }, 2);
    }
    return out;
}

/* ---- items that must be there ---- */

/* item i by what it does: the needs in that set, and not those of the others that may be done only so often. Several ways to be
 * outside of a need are several alternatives. */
static Sym needed_item(Array *p, uint32_t i, uint32_t needs)
{
    Schema *s = p->s;
    const SchemaArray *a = p->a;
    uint32_t n = 1;
    Term *way = ARENA_NEW(s->mem, Term, MAX_WAYS);
    way[0] = i < a->n_prefix ? a->prefix[i] : a->rest;
    for (uint32_t k = 0; k < a->n_needs; k++) {
        const SchemaItemNeed *need = &a->need[k];
        bool does = needs >> k & 1;
        if (does && i < need->from) return SYM_NOTHING;
        if (does)
            for (uint32_t j = 0; j < n; j++) way[j] = schema_term_and(s, way[j], need->term);
        if (does || i < need->from || need->max == BUILD_INF) continue;
        uint32_t parts = need->term == TERM_NONE ? 0 : schema_term_parts(s, need->term), had = n;
        if (need->term == TERM_NONE) continue;
        if (parts == 0) return SYM_NOTHING;
        if (n * parts > MAX_WAYS) build_fail(s->b, E_UNSUPPORTED, "the complement of contains over several schemas");
        if (build_failed(s->b)) return SYM_NOTHING;
        n *= parts;
        for (uint32_t j = n; j-- > 0;) way[j] = schema_term_without(s, way[j % had], need->term, j / had);
    }
    Sym alt[MAX_WAYS];
    for (uint32_t j = 0; j < n; j++) alt[j] = item(p, way[j], i);
    return rule_alt(s->b, alt, n);
}

/* Bounds that a list need not count. */
static FormNeed form_need(const SchemaItemNeed *n)
{
    return (FormNeed){ n->min, n->max };
}

static Sym needed_items(Array *p)
{
    Schema *s = p->s;
    const SchemaArray *a = p->a;
    uint32_t n = a->n_prefix;
    for (uint32_t k = 0; k < a->n_needs; k++) n = MAX(n, a->need[k].from);
    n = MAX(n, 1u) + 1; /* the first item and later ones are told apart */
    if (n > FORM_MAX_PARTS || !build_spend(s->b, n)) {
        build_fail(s->b, E_LIMIT, "more than %d items by place beside contains", FORM_MAX_PARTS - 1);
        return SYM_NOTHING;
    }
    Sym *entry = ARENA_NEW(s->mem, Sym, (size_t)n * 2 << FORM_MAX_NEEDS);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < 1u << a->n_needs; k++) {
            Sym e = needed_item(p, i, k);
            entry[(((i ? n : 0) + i) << FORM_MAX_NEEDS) + k] = e;
        }
    FormSpec f = { .list = true, .n_parts = n, .entry = entry, .min = a->min, .max = a->max, .n_needs = a->n_needs };
    f.shut[0] = rule_lexeme(s->b, expr_literal(s->b, STR("]")));
    f.shut[1] = p->shut;
    for (uint32_t k = 0; k < a->n_needs; k++) f.need[k] = form_need(&a->need[k]);
    return rule_form(s->b, &f);
}

/* ---- uniqueItems, over values that can be listed ---- */

static bool same_lit(const SchemaLit *x, const SchemaLit *y)
{
    return x->string == y->string && str_eq(x->name, y->name);
}

static uint32_t list_values(Schema *s, const SchemaSet *x, Str *value)
{
    const SchemaStyle *how = s->style;
    uint32_t n = 0;
    for (int i = 0; i < 3; i++)
        if (x->words >> i & 1)
            value[n++] = str_of((const char *[]){ how->null_word, how->true_word, how->false_word }[i]);
    for (uint32_t i = 0; i < x->n_lits && n <= MAX_VALUES; i++) {
        bool twice = false;
        for (uint32_t k = 0; k < i && !twice; k++) twice = same_lit(&x->lit[i], &x->lit[k]);
        Str t = x->lit[i].text;
        if (x->lit[i].string) t = arena_printf(s->mem, "%s%.*s%s", how->quote, STR_FMT(t), how->quote);
        if (!twice) value[n++] = t;
    }
    return n;
}

static Sym unique_items(Array *p)
{
    Schema *s = p->s;
    const SchemaArray *a = p->a;
    const SchemaSet *x = schema_term_set(s, a->rest);
    if (!x) return SYM_NOTHING;
    Str value[MAX_VALUES + 4];
    bool listed = !a->n_prefix && !a->n_needs && !x->n_arrays && !x->n_objects && !x->exponents &&
                  build_spend(s->b, x->n_lits) && expr_is_nothing(s->b, x->number) && expr_is_nothing(s->b, x->string);
    uint32_t n = listed ? list_values(s, x, value) : 0;
    if (!listed || n > MAX_VALUES) {
        build_fail(s->b, E_UNSUPPORTED, "uniqueItems: only over at most %d listed values", MAX_VALUES);
        return SYM_NOTHING;
    }
    Sym *entry = ARENA_NEW(s->mem, Sym, (size_t)(n + 1) * 2 << FORM_MAX_NEEDS);
    for (uint32_t i = 0; i < n; i++) {
        Sym v = schema_sym_text(s, EXPR_EMPTY, value[i], EXPR_EMPTY);
        entry[i << FORM_MAX_NEEDS] = v;
        entry[(n + i) << FORM_MAX_NEEDS] = seq2(s, p->comma, v);
    }
    FormSpec f = { .n_parts = n, .entry = entry, .min = a->min, .max = MIN(a->max, n) };
    f.shut[0] = rule_lexeme(s->b, expr_literal(s->b, STR("]")));
    f.shut[1] = p->shut;
    return rule_form(s->b, &f);
}

Sym schema_array_sym(Schema *s, const SchemaArray *a)
{
    Array p = { s, a, rule_lexeme(s->b, s->comma), text_sym(s, s->space, "]", EXPR_EMPTY) };
    SchemaArray held = *a;
    if (held.max != BUILD_INF && held.max > build_limits(s->b)->repeat) {
        build_fail(s->b, E_LIMIT, "maxItems is above %u", build_limits(s->b)->repeat);
        return SYM_NOTHING;
    }
    Sym items = a->unique && a->max > 1 ? unique_items(&p) : a->n_needs ? needed_items(&p) : plain_items(&p);
    return seq2(s, text_sym(s, EXPR_EMPTY, "[", s->space), items);
}
