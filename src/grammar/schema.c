/* schema.c - JSON Schema into lexemes and rules. schema.h says how a schema is kept; this file writes it down and is the front end.
 *
 * A term becomes an alternative of one lexeme (all its words, numbers and strings) and a rule for each shape. Properties come in the order of
 * `properties`, then others; what is left to write after property i is a node that lists every later key up to the next
 * required one, so an object of k properties has O(k) states. Known keys have one spelling, and no other key may spell
 * one of them. Terms wait in a list for their rules: no recursion, whatever the depth. Options: {"whitespace": "flexible" (runs of
 * at most 20 after and before punctuation, the default), "single" (one space after , and :), "compact" (none)}.
 * Two other keys of one object may be equal: what is not listed cannot be remembered. Thread: the Build's. */
#include "grammar/schema.h"

#include "grammar/tag.h"

enum {
    CHAIN = 200 /* keys listed before a rule of its own begins */,
    MAX_CELLS = 200000,
    MAX_SUBSET = 8,
    MAX_SPACE = 20
};

static const char decimal_pattern[] = "(0|[1-9][0-9]*)(\\.[0-9]+)?|-([1-9][0-9]*(\\.[0-9]+)?|0\\.0*[1-9][0-9]*)";

Status schema_refuse(Schema *s, Str at, const char *key, Status status, const char *why)
{
    if (build_failed(s->b)) return status;
    build_at(s->b, key ? schema_term_child(s, at, key) : at);
    return build_fail(s->b, status, "%s%s%s", key ? key : "", key ? ": " : "", why);
}

static Expr plain(Schema *s, const char *pattern)
{
    return pattern_build(s->b, str_of(pattern), PATTERN_DOT_ALL, SPELL_UTF8);
}

static Sym seq3(Schema *s, Sym x, Sym y, Sym z)
{
    return rule_seq(s->b, (Sym[]){ x, y, z }, 3);
}

Sym schema_sym_text(Schema *s, Expr before, Str text, Expr after)
{
    Sym out = SYM_EMPTY;
    while (!build_failed(s->b)) {
        int32_t id;
        size_t end, n = tag_mark_text(s->b, text, &id, &end);
        before = expr_cat(s->b, before, expr_literal(s->b, str_cut(text, 0, n)));
        if (n == text.n) return rule_seq(s->b, (Sym[]){ out, rule_lexeme(s->b, expr_cat(s->b, before, after)) }, 2);
        out = seq3(s, out, rule_lexeme(s->b, before), rule_token(s->b, &id, 1));
        before = EXPR_EMPTY;
        text = str_cut(text, end, text.n);
    }
    return SYM_NOTHING;
}

static Sym text_sym(Schema *s, Expr before, const char *text, Expr after)
{
    return schema_sym_text(s, before, str_of(text), after);
}

/* ---- terms that wait for their rule ---- */

static Sym scalar_sym(Schema *s, const SchemaSet *x);

Sym schema_sym_of_term(Schema *s, Term t)
{
    if (t == TERM_NONE || build_failed(s->b)) return SYM_NOTHING;
    if (s->term[t].has_sym) return s->term[t].sym;
    const SchemaSet *x = schema_term_set(s, t);
    if (!x) return SYM_NOTHING;
    Sym made = SYM_NOTHING;
    if (x->n_arrays || x->n_objects) {
        made = rule_new(s->b, STR("value"));
        if (s->n_todo == s->cap_todo) {
            s->cap_todo = s->cap_todo ? s->cap_todo * 2 : 64;
            Term *p = ARENA_NEW(s->mem, Term, s->cap_todo);
            if (s->n_todo) memcpy(p, s->todo, s->n_todo * sizeof *p);
            s->todo = p;
        }
        s->todo[s->n_todo++] = t;
    } else {
        made = scalar_sym(s, x);
    }
    s->term[t].has_sym = true;
    s->term[t].sym = made;
    return made;
}

/* ---- words, numbers, strings ---- */

static Expr numbers(Schema *s, const SchemaSet *x)
{
    if (x->exponents) return plain(s, "-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?");
    if (x->number == s->integers) return plain(s, "0|-?[1-9][0-9]*");
    if (x->number == EXPR_NOTHING || !x->whole) return x->number;
    return expr_and(s->b, x->number, plain(s, "0|-?[1-9][0-9]*")); /* integers are written without .0 */
}

/* The insides of strings, with the quotes if those are no special tokens. */
static Expr strings(Schema *s, const SchemaSet *x, Expr quote)
{
    Str *text = ARENA_NEW(s->mem, Str, x->n_lits + 1);
    size_t n = 0;
    for (uint32_t i = 0; i < x->n_lits; i++)
        if (x->lit[i].string) text[n++] = x->lit[i].text;
    Expr e = n ? expr_or(s->b, x->string, expr_one_of(s->b, text, n)) : x->string;
    e = expr_cat(s->b, e, quote);
    if (s->style->spell == SPELL_UTF8 && quote != EXPR_EMPTY) /* nothing else tells where such a text ends */
        e = expr_and(s->b, e, expr_until(s->b, str_of(s->style->quote), SPELL_UTF8));
    return expr_cat(s->b, quote, e);
}

static Sym scalar_sym(Schema *s, const SchemaSet *x)
{
    const char *const words[] = { s->style->null_word, s->style->true_word, s->style->false_word };
    Str *text = ARENA_NEW(s->mem, Str, (size_t)x->n_lits * 2 + COUNT(words)), quote = str_of(s->style->quote);
    size_t n = 0, end;
    int32_t id;
    for (size_t i = 0; i < COUNT(words); i++)
        if (x->words >> i & 1) text[n++] = str_of(words[i]);
    for (uint32_t i = 0; i < x->n_lits; i++) {
        if (x->lit[i].string) continue;
        text[n++] = x->lit[i].text;
        if (x->lit[i].point) text[n++] = arena_printf(s->mem, "%.*s.0", STR_FMT(x->lit[i].text));
    }
    Expr e = expr_or(s->b, n ? expr_one_of(s->b, text, n) : EXPR_NOTHING, numbers(s, x));
    bool plain_quote = tag_mark_text(s->b, quote, &id, &end) == quote.n;
    Expr inside = strings(s, x, plain_quote ? expr_literal(s->b, quote) : EXPR_EMPTY);
    if (plain_quote) {
        e = expr_or(s->b, e, inside);
        return expr_is_nothing(s->b, e) ? SYM_NOTHING : rule_lexeme(s->b, e);
    }
    Sym mark = text_sym(s, EXPR_EMPTY, s->style->quote, EXPR_EMPTY);
    Sym string = expr_is_nothing(s->b, inside) ? SYM_NOTHING : seq3(s, mark, rule_lexeme(s->b, inside), mark);
    Sym other = expr_is_nothing(s->b, e) ? SYM_NOTHING : rule_lexeme(s->b, e);
    return rule_alt(s->b, (Sym[]){ string, other }, 2);
}

/* ---- objects ---- */

typedef struct {
    Schema *s;
    const SchemaObject *o;
    SchemaProp *prop; /* those that may be there */
    uint32_t n;
    Sym other, needed; /* one more key and its value; one that meets the need */
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

/* A key of these classes with its value, without the comma. */
static Sym other_sym(Object *p, Expr known, bool need)
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
        Expr keys = class_keys(p, o->class[i].keys, known);
        Term t = o->class[i].term;
        if (need) {
            keys = expr_and(s->b, keys, o->need_keys);
            t = schema_term_and(s, t, o->need_term);
        }
        Sym value = schema_style_value(s, t);
        if (value == SYM_NOTHING || expr_is_nothing(s->b, keys)) continue;
        alt[n++] = seq3(s, mark, text_sym(s, expr_cat(s->b, before, keys), s->style->key_after, s->colon), value);
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
    if (p->o->has_need) {
        Sym any = rule_repeat(s->b, more, 0, BUILD_INF);
        return rule_seq(s->b, (Sym[]){ any, seq2(s, comma, p->needed), any, p->shut }, 4);
    }
    return seq2(s, rule_repeat(s->b, more, least, most), p->shut);
}

/* The same as the first of all keys. */
static Sym others_first(Object *p)
{
    Schema *s = p->s;
    Sym end = text_sym(s, EXPR_EMPTY, s->style->shut, EXPR_EMPTY);
    Sym more = p->other && p->max ? seq2(s, p->other, others_after(p, MIN(1u, p->cells - 1))) : SYM_NOTHING;
    if (p->o->has_need) {
        Sym comma = rule_lexeme(s->b, s->comma), any = rule_repeat(s->b, seq2(s, comma, p->other), 0, BUILD_INF);
        return rule_alt(s->b, (Sym[]){ more, seq3(s, p->needed, any, p->shut) }, 2);
    }
    return rule_alt(s->b, (Sym[]){ more, p->min ? SYM_NOTHING : end }, 2);
}

static Sym as_rule(Schema *s, Sym body)
{
    if (body == SYM_NOTHING || build_failed(s->b)) return SYM_NOTHING;
    Sym rule = rule_new(s->b, STR("members"));
    rule_define(s->b, rule, body);
    return rule;
}

/* From the last property to the first: what may follow, by how many keys are there. */
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
static bool count_cells(Object *p)
{
    uint32_t required = 0;
    for (uint32_t i = 0; i < p->n; i++) required += p->prop[i].required;
    p->min = p->o->min <= required ? 0 : p->o->min;
    p->max = p->other == SYM_NOTHING && p->o->max >= p->n ? BUILD_INF : p->o->max;
    uint32_t top = p->max == BUILD_INF ? p->min : p->max;
    if (p->max != BUILD_INF && p->max > build_limits(p->s->b)->repeat) p->max = BUILD_INF;
    if (p->n == 0 && p->max != BUILD_INF) top = 1; /* only others: a repetition counts */
    if (p->n == 0 && p->max == BUILD_INF) top = MIN(p->min, 1u);
    if (p->o->has_need && (p->min > 1 || p->max != BUILD_INF)) {
        build_fail(p->s->b, E_UNSUPPORTED, "counts of properties beside a complement over additional properties");
        return false;
    }
    if (p->o->has_need) top = 0;
    if ((uint64_t)(top + 1ull) * (p->n + 1ull) > MAX_CELLS) {
        build_fail(p->s->b, E_LIMIT, "minProperties or maxProperties over too many properties");
        return false;
    }
    if (p->o->has_need) p->min = 0;
    p->cells = top + 1;
    return true;
}

static Sym object_sym(Schema *s, const SchemaObject *o)
{
    Object p = { .s = s, .o = o };
    Str *known = ARENA_NEW(s->mem, Str, o->n_props + 1);
    p.prop = ARENA_NEW(s->mem, SchemaProp, o->n_props + 1);
    for (uint32_t i = 0; i < o->n_props; i++) {
        known[i] = o->prop[i].text;
        if (o->prop[i].term != TERM_NONE) p.prop[p.n++] = o->prop[i];
        if (o->prop[i].term == TERM_NONE && o->prop[i].required) return SYM_NOTHING;
    }
    Expr known_keys = o->n_props && o->n_classes ? expr_one_of(s->b, known, o->n_props) : EXPR_NOTHING;
    p.other = other_sym(&p, known_keys, false);
    if (o->has_need && (p.needed = other_sym(&p, known_keys, true)) == SYM_NOTHING) return SYM_NOTHING;
    if (build_failed(s->b) || !count_cells(&p)) return SYM_NOTHING;
    p.open = text_sym(s, EXPR_EMPTY, s->style->open, s->space);
    p.shut = text_sym(s, s->space, s->style->shut, EXPR_EMPTY);
    return seq2(s, p.open, members(&p));
}

/* ---- arrays ---- */

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

/* Some item from need_from on is of need_term. */
static Sym needed_items(Array *p)
{
    Schema *s = p->s;
    const SchemaArray *a = p->a;
    if (a->max != BUILD_INF || a->min > a->need_from + 1) {
        build_fail(s->b, E_UNSUPPORTED, "bounds of the number of items beside contains or a complement over items");
        return SYM_NOTHING;
    }
    uint32_t n = MAX(a->n_prefix, a->need_from) + 1;
    Sym any = rule_repeat(s->b, item(p, a->rest, 1), 0, BUILD_INF);
    Sym found = seq2(s, any, p->shut);
    Sym out = rule_seq(s->b, (Sym[]){ any, item(p, schema_term_and(s, a->rest, a->need_term), 1), any, p->shut }, 4);
    for (uint32_t i = n; i-- > 0 && build_spend(s->b, 1);) {
        Term t = i < a->n_prefix ? a->prefix[i] : a->rest;
        Sym hit = i < a->need_from ? SYM_NOTHING : seq2(s, item(p, schema_term_and(s, t, a->need_term), i), found);
        out = rule_alt(s->b, (Sym[]){ seq2(s, item(p, t, i), out), hit }, 2);
        found = rule_alt(s->b, (Sym[]){ seq2(s, item(p, t, i), found), i ? p->shut : SYM_NOTHING }, 2);
    }
    return out;
}

/* uniqueItems over few values: a state for each set of values that are there. */
static Sym unique_items(Array *p)
{
    Schema *s = p->s;
    const SchemaArray *a = p->a;
    const SchemaStyle *how = s->style;
    const SchemaSet *x = schema_term_set(s, a->rest);
    if (!x) return SYM_NOTHING;
    Str value[MAX_SUBSET + 3];
    uint32_t n = 0;
    for (int i = 0; i < 3; i++)
        if (x->words >> i & 1)
            value[n++] = str_of((const char *[]){ how->null_word, how->true_word, how->false_word }[i]);
    if (a->n_prefix || a->has_need || x->n_arrays || x->n_objects || x->exponents || x->n_lits + n > MAX_SUBSET ||
        !expr_is_nothing(s->b, x->number) || !expr_is_nothing(s->b, x->string)) {
        build_fail(s->b, E_UNSUPPORTED, "uniqueItems: only over at most %d listed values", MAX_SUBSET);
        return SYM_NOTHING;
    }
    for (uint32_t i = 0; i < x->n_lits; i++) {
        bool twice = false;
        for (uint32_t k = 0; k < i; k++)
            twice |= x->lit[k].string == x->lit[i].string && str_eq(x->lit[k].name, x->lit[i].name);
        Str t = x->lit[i].text;
        if (x->lit[i].string) t = arena_printf(s->mem, "%s%.*s%s", how->quote, STR_FMT(t), how->quote);
        if (!twice) value[n++] = t;
    }
    Sym *set = ARENA_NEW(s->mem, Sym, (size_t)1 << n), alt[MAX_SUBSET + 4];
    for (uint32_t m = 1u << n; m-- > 0 && build_spend(s->b, n);) {
        uint32_t k = 0, there = (uint32_t)__builtin_popcount(m);
        if (there >= a->min) alt[k++] = m ? p->shut : rule_lexeme(s->b, expr_literal(s->b, STR("]")));
        for (uint32_t i = 0; i < n && there < a->max; i++) {
            if (m >> i & 1) continue;
            Sym v = schema_sym_text(s, EXPR_EMPTY, value[i], EXPR_EMPTY);
            alt[k++] = m ? seq3(s, p->comma, v, set[m | 1u << i]) : seq2(s, v, set[m | 1u << i]);
        }
        set[m] = rule_alt(s->b, alt, k);
    }
    return set[0];
}

static Sym array_sym(Schema *s, const SchemaArray *a)
{
    Array p = { s, a, rule_lexeme(s->b, s->comma), text_sym(s, s->space, "]", EXPR_EMPTY) };
    SchemaArray held = *a;
    if (held.max != BUILD_INF && held.max > build_limits(s->b)->repeat) {
        build_fail(s->b, E_LIMIT, "maxItems is above %u", build_limits(s->b)->repeat);
        return SYM_NOTHING;
    }
    Sym items = a->unique && a->max > 1 ? unique_items(&p) : a->has_need ? needed_items(&p) : plain_items(&p);
    return seq2(s, text_sym(s, EXPR_EMPTY, "[", s->space), items);
}

/* ---- all of it ---- */

static Str place_of(Schema *s, Term t)
{
    return t > TERM_NONE ? s->node[s->term[t].lit[0] / 2].pointer : STR("");
}

Sym schema_sym_of_set(Schema *s, const SchemaSet *x)
{
    Sym *alt = ARENA_NEW(s->mem, Sym, (size_t)x->n_arrays + x->n_objects + 1);
    size_t n = 0;
    if (!s->style->close) alt[n++] = scalar_sym(s, x);
    for (uint32_t i = 0; i < x->n_arrays && !s->style->close; i++) alt[n++] = array_sym(s, &x->array[i]);
    for (uint32_t i = 0; i < x->n_objects && !build_failed(s->b); i++) alt[n++] = object_sym(s, &x->object[i]);
    return n && !build_failed(s->b) ? rule_alt(s->b, alt, n) : SYM_NOTHING;
}

static bool read_options(Schema *s, const SchemaHow *how)
{
    Str options = how->options;
    json_t *j = options.n ? json_loadb(options.p, options.n, 0, NULL) : json_object(),
           *v = json_object_get(j, "whitespace");
    const char *way = v ? json_string_value(v) : "flexible";
    bool compact = way && strcmp(way, "compact") == 0, single = way && strcmp(way, "single") == 0;
    bool good = json_is_object(j) && way && (compact || single || strcmp(way, "flexible") == 0);
    if (!good)
        build_fail(s->b, E_INVALID, "options are an object; whitespace is \"flexible\", \"single\" or \"compact\"");
    Expr one = plain(s, " ?");
    uint32_t most = how->max_space == BUILD_INF ? MAX_SPACE : how->max_space;
    s->space = compact || single ? EXPR_EMPTY : expr_repeat(s->b, plain(s, "[ \\t\\n\\r]"), 0, most);
    Expr after = single ? one : s->space;
    s->comma = expr_cat(s->b, expr_literal(s->b, str_of(s->style->comma)), after);
    s->colon = expr_cat(s->b, expr_literal(s->b, str_of(s->style->colon)), after);
    if (s->style->close) { /* a value is all text behind its key */
        s->comma = s->space = expr_repeat(s->b, plain(s, "[ \\t\\n\\r]"), 0, most);
        s->colon = s->style->value ? expr_cat(s->b, s->space, expr_literal(s->b, str_of(s->style->value))) : EXPR_EMPTY;
    }
    json_decref(j);
    return good;
}

static void constants(Schema *s)
{
    s->all_strings = expr_repeat(s->b, expr_any_char(s->b, s->style->spell), 0, BUILD_INF);
    s->decimals = plain(s, decimal_pattern);
    s->integers = plain(s, "(0|-?[1-9][0-9]*)(\\.0+)?");
    s->key_text = plain(s, s->style->other_keys);
    SchemaSet any = { .words = WORD_ALL, .exponents = true, .number = s->decimals, .string = s->all_strings };
    SchemaArray a = { .rest = TERM_ANY, .max = BUILD_INF };
    SchemaClass c = { s->all_strings, TERM_ANY };
    SchemaObject o = { .class = arena_copy(s->mem, &c, sizeof c), .n_classes = 1, .max = BUILD_INF };
    any.array = arena_copy(s->mem, &a, sizeof a);
    any.object = arena_copy(s->mem, &o, sizeof o);
    any.n_arrays = any.n_objects = 1;
    s->any = arena_copy(s->mem, &any, sizeof any);
    schema_term_const(s, s->root, STR("")); /* the two terms that are always there */
}

static void legacy(Schema *s)
{
    static const char *const drafts[] = { "draft-03", "draft-04", "draft-05", "draft-06", "draft-07" };
    const char *v = json_string_value(json_object_get(s->root, "$schema"));
    for (size_t i = 0; i < COUNT(drafts) && v; i++) s->legacy_refs |= strstr(v, drafts[i]) != NULL;
}

/* Rules of the terms that wait, and of those that come up meanwhile. */
static void define_terms(Schema *s, uint32_t *from)
{
    for (; *from < s->n_todo && !build_failed(s->b); ++*from) {
        Term t = s->todo[*from];
        build_at(s->b, place_of(s, t));
        Sym body = schema_sym_of_set(s, schema_term_set(s, t));
        if (!build_failed(s->b)) rule_define(s->b, s->term[t].sym, body);
    }
}

static bool begin(Schema *s, Build *b, json_t *root, const SchemaStyle *style, const SchemaHow *how)
{
    *s = (Schema){ .b = b, .mem = build_arena(b), .root = root, .style = style };
    if (!read_options(s, how)) return false;
    legacy(s);
    constants(s);
    return !build_failed(b);
}

Sym schema_sym(Build *b, json_t *root, const SchemaHow *how)
{
    Schema s, inner;
    uint32_t done = 0, done_inside = 0;
    if (!begin(&s, b, root, how->style, how)) return SYM_NOTHING;
    if (s.style->inner && !begin(&inner, b, root, s.style->inner, how)) return SYM_NOTHING;
    if (s.style->inner) s.inner = &inner;
    Term t = schema_term_of(&s, root, STR(""));
    const SchemaSet *x = schema_term_set(&s, t);
    if (!x) return SYM_NOTHING;
    Sym out = s.inner ? schema_sym_of_set(&s, &(SchemaSet){ .object = x->object, .n_objects = x->n_objects })
                      : schema_sym_of_term(&s, t);
    define_terms(&s, &done);
    if (s.inner) define_terms(&inner, &done_inside);
    build_at(b, STR(""));
    if (out == SYM_NOTHING) build_fail(b, E_INVALID, "nothing can satisfy this schema");
    return out;
}

Sym schema_front(Build *b, const GrammarSpec *spec)
{
    json_error_t why;
    Str text = spec->kind == GRAMMAR_JSON_OBJECT ? STR("{\"type\":\"object\"}") : spec->text;
    json_t *root = json_loadb(text.p, text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (!root) root = json_loadb(text.p, text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &why);
    if (!root) {
        bool deep = json_error_code(&why) == json_error_stack_overflow;
        build_fail(b, deep ? E_LIMIT : E_INVALID, "the schema is %s (%s, at byte %d)",
                   deep ? "nested too deeply" : "no JSON", why.text, why.position);
        return SYM_NOTHING;
    }
    Sym out = schema_sym(b, root, &(SchemaHow){ spec->options, BUILD_INF, &schema_style_json });
    json_decref(root);
    return out;
}
