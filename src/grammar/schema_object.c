/* schema_object.c - shapes of objects as rules. See schema.h.
 *
 * An object whose properties are all required is written in their order: a form to fill in. Where some may be left out, or the value has
 * several shapes, they come in any order: in a fixed one, what is written first would decide what can still be said. (Option "order": "schema" or "any" for all.)
 * In order, what is left to write after property i is a node that lists every later key up to the next required one, so an
 * object of k properties has O(k) states; in any order it is a form (forms.h), made as it is met. Known keys have one spelling,
 * and no other key may spell one of them. Two other keys of one object may be equal: what is not listed cannot be
 * remembered. Thread: the Build's. */
#include "grammar/schema.h"
#include "grammar/tag.h"

enum { CHAIN = 200 /* keys listed before a rule of its own begins */, MAX_CELLS = 200000 };

static Sym text_sym(Schema *s, Expr before, const char *text, Expr after)
{
    return schema_sym_text(s, before, str_of(text), after);
}

typedef struct {
    Schema *s;
    const SchemaObject *o;
    SchemaProp *prop; /* those that may be there */
    uint32_t n;
    bool alone; /* the value has no other shape */
    Sym other;  /* one more key and its value */
    Expr known; /* the keys that are properties */
    Sym open, shut;
    uint32_t min, max, cells; /* counts from 0 to cells - 1; the last stands for more if there is no max */
} Object;

static Sym key_sym(Object *p, const SchemaProp *prop, bool first)
{
    Schema *s = p->s;
    const SchemaStyle *how = s->style;
    Str key = arena_printf(s->mem, "%s%.*s%s", how->key_before, STR_FMT(prop->text), how->key_after);
    return schema_sym_text(s, first ? EXPR_EMPTY : s->comma, key, s->colon);
}

/* The keys of a class that are no known property, spelled in the one way. */
static Expr class_keys(Object *p, Expr keys, Expr known)
{
    Schema *s = p->s;
    Expr e = keys == s->all_strings ? s->key_text : expr_and(s->b, s->key_text, keys);
    return known == EXPR_NOTHING ? e : expr_without(s->b, e, known);
}

/* t, and the terms of the needs in that set; TERM_NONE if the key is in not all of their keys. */
static Term needed_term(Object *p, Term t, uint32_t needs, Str text)
{
    Schema *s = p->s;
    for (uint32_t i = 0; i < p->o->n_needs; i++) {
        if (!(needs >> i & 1)) continue;
        if (!expr_matches(s->b, p->o->need[i].keys, text)) return TERM_NONE;
        t = schema_term_and(s, t, p->o->need[i].term);
    }
    return t;
}

/* A key of these classes with its value, without the comma, that does that set of needs. */
static Sym other_sym(Object *p, uint32_t needs)
{
    Schema *s = p->s;
    const SchemaObject *o = p->o;
    Sym *alt = ARENA_NEW(s->mem, Sym, o->n_classes + 1);
    size_t n = 0;
    int32_t id;
    size_t end;
    Str open = str_of(s->style->key_before);
    bool plain_open = tag_mark_text(s->b, open, &id, &end) == open.n;
    Sym mark = plain_open ? SYM_EMPTY : text_sym(s, EXPR_EMPTY, s->style->key_before, EXPR_EMPTY);
    Expr before = plain_open ? expr_literal(s->b, open) : EXPR_EMPTY;
    for (uint32_t i = 0; i < o->n_classes && !build_failed(s->b); i++) {
        Expr keys = class_keys(p, o->class[i].keys, p->known);
        Term t = o->class[i].term;
        for (uint32_t k = 0; k < o->n_needs; k++) {
            if (!(needs >> k & 1)) continue;
            keys = expr_and(s->b, keys, o->need[k].keys);
            t = schema_term_and(s, t, o->need[k].term);
        }
        Sym value = schema_style_value(s, t);
        if (value == SYM_NOTHING || expr_is_nothing(s->b, keys)) continue;
        Sym key = text_sym(s, expr_cat(s->b, before, keys), s->style->key_after, s->colon);
        alt[n++] = rule_seq(s->b, (Sym[]){ mark, key, value }, 3);
    }
    return n ? rule_alt(s->b, alt, n) : SYM_NOTHING;
}

static Sym seq2(Schema *s, Sym x, Sym y)
{
    return rule_seq(s->b, (Sym[]){ x, y }, 2);
}

/* All others behind count keys: ", other" as often as the bounds ask, then the end. */
static Sym others_after(Object *p, uint32_t count)
{
    Schema *s = p->s;
    Sym comma = rule_lexeme(s->b, s->comma), more = p->other ? seq2(s, comma, p->other) : SYM_NOTHING;
    uint32_t least = p->min > count ? p->min - count : 0, most = p->max == BUILD_INF ? BUILD_INF : p->max - count;
    return seq2(s, rule_repeat(s->b, more, least, most), p->shut);
}

/* The same as the first of all keys. */
static Sym others_first(Object *p)
{
    Schema *s = p->s;
    Sym end = text_sym(s, EXPR_EMPTY, s->style->shut, EXPR_EMPTY);
    Sym more = p->other && p->max ? seq2(s, p->other, others_after(p, MIN(1u, p->cells - 1))) : SYM_NOTHING;
    return rule_alt(s->b, (Sym[]){ more, p->min ? SYM_NOTHING : end }, 2);
}

static Sym as_rule(Schema *s, Sym body)
{
    if (body == SYM_NOTHING || build_failed(s->b)) return SYM_NOTHING;
    Sym rule = rule_new(s->b, STR("members"));
    rule_define(s->b, rule, body);
    return rule;
}

/* In order: from the last property to the first: what may follow, by how many keys are there. */
static Sym members(Object *p)
{
    Schema *s = p->s;
    Sym *after = ARENA_NEW(s->mem, Sym, p->cells), *now = ARENA_NEW(s->mem, Sym, p->cells);
    for (uint32_t c = 0; c < p->cells; c++) after[c] = others_after(p, c);
    Sym first = others_first(p);
    for (uint32_t i = p->n; i-- > 0 && build_spend(s->b, 1 + p->cells / 4);) {
        const SchemaProp *prop = &p->prop[i];
        Sym value = schema_style_value(s, prop->term);
        Sym next = value ? seq2(s, key_sym(p, prop, false), value) : SYM_NOTHING;
        Sym begin = value ? seq2(s, key_sym(p, prop, true), value) : SYM_NOTHING;
        bool cut = i % CHAIN == 0;
        for (uint32_t c = 0; c < p->cells; c++) {
            bool full = c + 1 == p->cells && p->max != BUILD_INF;
            Sym with = full ? SYM_NOTHING : seq2(s, next, after[MIN(c + 1, p->cells - 1)]);
            now[c] = rule_alt(s->b, (Sym[]){ with, prop->required ? SYM_NOTHING : after[c] }, 2);
            if (cut && p->n > CHAIN) now[c] = as_rule(s, now[c]);
        }
        Sym with = p->max ? seq2(s, begin, after[MIN(1u, p->cells - 1)]) : SYM_NOTHING;
        first = rule_alt(s->b, (Sym[]){ with, prop->required ? SYM_NOTHING : first }, 2);
        if (cut && p->n > CHAIN) first = as_rule(s, first);
        Sym *swap = after;
        after = now;
        now = swap;
    }
    return first;
}

/* Bounds that say nothing are dropped, so that nothing is counted for them. */
static void tidy_bounds(Object *p)
{
    uint32_t required = 0;
    for (uint32_t i = 0; i < p->n; i++) required += p->prop[i].required;
    p->min = p->o->min <= required ? 0 : p->o->min;
    p->max = p->other == SYM_NOTHING && p->o->max >= p->n ? BUILD_INF : p->o->max;
    if (p->max != BUILD_INF && p->max > build_limits(p->s->b)->repeat) p->max = BUILD_INF;
}

static bool count_cells(Object *p)
{
    uint32_t top = p->max == BUILD_INF ? p->min : p->max;
    if (p->n == 0 && p->max != BUILD_INF) top = 1; /* only others: a repetition counts */
    if (p->n == 0 && p->max == BUILD_INF) top = MIN(p->min, 1u);
    if ((uint64_t)(top + 1ull) * (p->n + 1ull) > MAX_CELLS) {
        build_fail(p->s->b, E_LIMIT, "minProperties or maxProperties over too many properties");
        return false;
    }
    p->cells = top + 1;
    return true;
}

/* ---- any order ---- */

/* A property may be left out, or it is one shape of several: what is written first would decide what can still be written. */
static bool in_any_order(const Object *p)
{
    bool optional = false;
    if (p->o->n_needs) return true;
    if (p->n == 0 || p->n > FORM_MAX_PARTS || p->s->order == SCHEMA_IN_ORDER) return false;
    if (!p->alone) return true;
    for (uint32_t i = 0; i < p->n; i++) optional |= !p->prop[i].required;
    return p->s->order == SCHEMA_ANY_ORDER || optional;
}

static Sym form_sym(Object *p)
{
    Schema *s = p->s;
    Sym comma = rule_lexeme(s->b, s->comma), *entry = ARENA_NEW(s->mem, Sym, (size_t)p->n * 2 << FORM_MAX_NEEDS),
        other[2 << FORM_MAX_NEEDS] = { 0 };
    bool *required = ARENA_NEW(s->mem, bool, p->n + 1);
    for (uint32_t i = 0; i < p->n && build_spend(s->b, 1); i++) {
        Sym first = key_sym(p, &p->prop[i], true), later = key_sym(p, &p->prop[i], false);
        required[i] = p->prop[i].required;
        for (uint32_t k = 0; k < 1u << p->o->n_needs; k++) {
            Sym value = schema_style_value(s, needed_term(p, p->prop[i].term, k, p->prop[i].text));
            entry[(i << FORM_MAX_NEEDS) + k] = value ? seq2(s, first, value) : SYM_NOTHING;
            entry[((p->n + i) << FORM_MAX_NEEDS) + k] = value ? seq2(s, later, value) : SYM_NOTHING;
        }
    }
    for (uint32_t k = 0; k < 1u << p->o->n_needs; k++) {
        Sym e = k ? other_sym(p, k) : p->other;
        other[k] = e;
        other[(1 << FORM_MAX_NEEDS) + k] = e ? seq2(s, comma, e) : SYM_NOTHING;
    }
    FormSpec f = {
        .n_parts = p->n, .entry = entry, .other = other, .required = required, .min = p->min, .max = p->max
    };
    f.shut[0] = text_sym(s, EXPR_EMPTY, s->style->shut, EXPR_EMPTY);
    f.shut[1] = p->shut;
    f.n_needs = p->o->n_needs;
    for (uint32_t i = 0; i < f.n_needs; i++) f.need[i] = (FormNeed){ 1, BUILD_INF };
    return rule_form(s->b, &f);
}

Sym schema_object_sym(Schema *s, const SchemaObject *o, bool alone)
{
    Object p = { .s = s, .o = o, .alone = alone };
    Str *known = ARENA_NEW(s->mem, Str, o->n_props + 1);
    p.prop = ARENA_NEW(s->mem, SchemaProp, o->n_props + 1);
    for (uint32_t i = 0; i < o->n_props; i++) {
        known[i] = o->prop[i].text;
        if (o->prop[i].term != TERM_NONE) p.prop[p.n++] = o->prop[i];
        if (o->prop[i].term == TERM_NONE && o->prop[i].required) return SYM_NOTHING;
    }
    p.known = o->n_props && o->n_classes ? expr_one_of(s->b, known, o->n_props) : EXPR_NOTHING;
    p.other = other_sym(&p, 0);
    tidy_bounds(&p);
    p.open = text_sym(s, EXPR_EMPTY, s->style->open, s->space);
    p.shut = text_sym(s, s->space, s->style->shut, EXPR_EMPTY);
    if (in_any_order(&p)) return seq2(s, p.open, form_sym(&p));
    if (build_failed(s->b) || !count_cells(&p)) return SYM_NOTHING;
    return seq2(s, p.open, members(&p));
}
