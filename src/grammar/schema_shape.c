/* schema_shape.c - what the keywords of objects and arrays say, as shapes. See schema.h. Thread: the Build's. */
#include "grammar/schema.h"

/* A count: an integer, or a real without a fraction; false if it is there and none. */
static bool take_count(Schema *s, json_t *j, Str at, const char *key, uint32_t *out)
{
    json_t *v = json_object_get(j, key);
    if (!v) return true;
    double x = json_is_number(v) ? json_number_value(v) : -1;
    if (x < 0 || x != (double)(long long)MIN(x, 1e15)) {
        schema_refuse(s, at, key, E_INVALID, "must be a whole number from 0 on");
        return false;
    }
    *out = (uint32_t)MIN(x, (double)(BUILD_INF - 1));
    return true;
}

/* ---- objects ---- */

static SchemaProp prop_of(Schema *s, const char *name, Term term)
{
    Str n = arena_str(s->mem, str_of(name));
    return (SchemaProp){ n, schema_term_escaped(s, n), term, false };
}

static json_t *member(Schema *s, json_t *j, Str at, const char *key, bool array)
{
    json_t *v = json_object_get(j, key);
    if (v && !(array ? json_is_array(v) : json_is_object(v)))
        schema_refuse(s, at, key, E_INVALID, array ? "must be an array" : "must be an object");
    return v && !build_failed(s->b) ? v : NULL;
}

typedef struct {
    SchemaClass *p;
    uint32_t n;
} Classes;

/* Splits every class by the pattern; keys in it are of that term too. */
static void split(Schema *s, Classes *l, Expr keys, Term t)
{
    SchemaClass *p = ARENA_NEW(s->mem, SchemaClass, (size_t)l->n * 2 + 1);
    uint32_t n = 0;
    Expr rest = keys;
    for (uint32_t i = 0; i < l->n && build_spend(s->b, 10); i++) {
        Expr in = expr_and(s->b, l->p[i].keys, keys), out = expr_without(s->b, l->p[i].keys, keys);
        rest = expr_without(s->b, rest, l->p[i].keys);
        if (!expr_is_nothing(s->b, in)) p[n++] = (SchemaClass){ in, schema_term_and(s, l->p[i].term, t) };
        if (!expr_is_nothing(s->b, out)) p[n++] = (SchemaClass){ out, l->p[i].term };
    }
    if (!expr_is_nothing(s->b, rest)) p[n++] = (SchemaClass){ rest, t };
    *l = (Classes){ p, n };
}

/* propertyNames as an expression. */
static Expr names_of(Schema *s, json_t *j, Str at)
{
    json_t *v = json_object_get(j, "propertyNames");
    if (!v) return s->all_strings;
    const SchemaSet *x = schema_term_set(s, schema_term_of(s, v, schema_term_child(s, at, "propertyNames")));
    if (!x) {
        schema_refuse(s, at, "propertyNames", E_UNSUPPORTED, "a schema that leads back to itself");
        return EXPR_NOTHING;
    }
    Expr e = x->string;
    for (uint32_t i = 0; i < x->n_lits && !build_failed(s->b); i++)
        if (x->lit[i].string) e = expr_or(s->b, e, expr_text(s->b, x->lit[i].name, s->style->spell));
    return e;
}

/* Classes of keys that are not under `properties`, and what patterns add to those that are. */
static void read_classes(Schema *s, json_t *j, Str at, SchemaObject *out)
{
    json_t *patterns = member(s, j, at, "patternProperties", false), *more = json_object_get(j, "additionalProperties"),
           *v;
    const char *key;
    if (!json_object_get(j, "additionalProperties")) more = json_object_get(j, "unevaluatedProperties");
    Term t = more ? schema_term_of(s, more, schema_term_child(s, at, "additionalProperties")) : TERM_ANY;
    Classes l = { 0 };
    Expr names = names_of(s, j, at), left = s->all_strings;
    Str place = schema_term_child(s, at, "patternProperties");
    json_object_foreach(patterns, key, v)
    {
        if (build_failed(s->b)) return;
        build_at(s->b, schema_term_child(s, place, key));
        Expr keys = pattern_build(s->b, str_of(key), PATTERN_SEARCH, s->style->spell);
        Term value = schema_term_of(s, v, schema_term_child(s, place, key));
        for (uint32_t i = 0; i < out->n_props && !build_failed(s->b); i++)
            if (expr_matches(s->b, keys, out->prop[i].text))
                out->prop[i].term = schema_term_and(s, out->prop[i].term, value);
        split(s, &l, keys, value);
        left = expr_without(s->b, left, keys);
    }
    SchemaClass *p = ARENA_NEW(s->mem, SchemaClass, (size_t)l.n + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i <= l.n && !build_failed(s->b); i++) {
        SchemaClass c = i < l.n ? l.p[i] : (SchemaClass){ left, t };
        c.keys = names == s->all_strings ? c.keys : c.keys == s->all_strings ? names : expr_and(s->b, c.keys, names);
        if (c.term != TERM_NONE && !expr_is_nothing(s->b, c.keys)) p[n++] = c;
    }
    for (uint32_t i = 0; i < out->n_props && names != s->all_strings && !build_failed(s->b); i++)
        if (!expr_matches(s->b, names, out->prop[i].text)) out->prop[i].term = TERM_NONE;
    out->class = p;
    out->n_classes = n;
}

static SchemaProp *find(const SchemaObject *o, Str name)
{
    for (uint32_t i = 0; i < o->n_props; i++)
        if (str_eq(o->prop[i].name, name)) return &o->prop[i];
    return NULL;
}

static void read_required(Schema *s, json_t *j, Str at, SchemaObject *out)
{
    json_t *list = member(s, j, at, "required", true), *v;
    size_t i;
    json_array_foreach(list, i, v)
    {
        if (!json_is_string(v) || !build_spend(s->b, 1 + out->n_props / 8)) {
            schema_refuse(s, at, "required", E_INVALID, "must be an array of strings");
            return;
        }
        SchemaProp *p = find(out, str_of(json_string_value(v)));
        if (!p) {
            SchemaProp made = prop_of(s, json_string_value(v), TERM_ANY);
            made.term = schema_set_value_of(s, out, made.name, made.text);
            p = &out->prop[out->n_props++];
            *p = made;
        }
        p->required = true;
    }
}

bool schema_shape_object(Schema *s, json_t *j, Str at, SchemaObject *out)
{
    json_t *props = member(s, j, at, "properties", false), *required = json_object_get(j, "required"), *v;
    const char *key;
    *out = (SchemaObject){ .max = BUILD_INF };
    out->prop = ARENA_NEW(s->mem, SchemaProp, json_object_size(props) + json_array_size(required) + 1);
    Str place = schema_term_child(s, at, "properties");
    json_object_foreach(props, key, v)
    {
        if (build_failed(s->b)) return false;
        if (!json_is_object(v) && !json_is_boolean(v)) schema_refuse(s, place, key, E_INVALID, "must be a schema");
        out->prop[out->n_props++] = prop_of(s, key, schema_term_of(s, v, schema_term_child(s, place, key)));
    }
    read_classes(s, j, at, out);
    if (build_failed(s->b)) return false;
    read_required(s, j, at, out);
    return take_count(s, j, at, "minProperties", &out->min) && take_count(s, j, at, "maxProperties", &out->max) &&
           !build_failed(s->b);
}

/* ---- arrays ---- */

static void read_items(Schema *s, json_t *j, Str at, SchemaArray *out)
{
    json_t *prefix = json_object_get(j, "prefixItems"), *items = json_object_get(j, "items"), *v;
    const char *at_prefix = "prefixItems", *at_rest = "items";
    size_t i;
    if (json_is_array(items)) {
        prefix = items;
        at_prefix = "items";
        at_rest = "additionalItems";
        items = json_object_get(j, at_rest);
    }
    if (prefix && !json_is_array(prefix)) schema_refuse(s, at, at_prefix, E_INVALID, "must be an array");
    if (!items) items = json_object_get(j, "unevaluatedItems");
    out->prefix = ARENA_NEW(s->mem, Term, json_array_size(prefix) + 1);
    Str place = schema_term_child(s, at, at_prefix);
    json_array_foreach(prefix, i, v)
    {
        if (build_failed(s->b)) return;
        Term t = schema_term_of(s, v, schema_term_item(s, place, i));
        if (t == TERM_NONE) out->max = MIN(out->max, (uint32_t)i);
        out->prefix[out->n_prefix++] = t;
    }
    out->rest = items ? schema_term_of(s, items, schema_term_child(s, at, at_rest)) : TERM_ANY;
    if (out->rest == TERM_NONE) out->max = MIN(out->max, out->n_prefix);
}

static void read_contains(Schema *s, json_t *j, Str at, SchemaArray *out)
{
    SchemaItemNeed n = { .min = 1, .max = BUILD_INF };
    json_t *v = json_object_get(j, "contains");
    if (!v || !take_count(s, j, at, "minContains", &n.min) || !take_count(s, j, at, "maxContains", &n.max)) return;
    if (n.min == 0 && n.max == BUILD_INF) return;
    n.term = schema_term_of(s, v, schema_term_child(s, at, "contains"));
    out->need[out->n_needs++] = n;
}

bool schema_shape_array(Schema *s, json_t *j, Str at, SchemaArray *out)
{
    uint32_t max = BUILD_INF;
    *out = (SchemaArray){ .max = BUILD_INF, .rest = TERM_ANY };
    read_items(s, j, at, out);
    read_contains(s, j, at, out);
    out->unique = json_is_true(json_object_get(j, "uniqueItems"));
    if (build_failed(s->b) || !take_count(s, j, at, "minItems", &out->min) || !take_count(s, j, at, "maxItems", &max))
        return false;
    out->max = MIN(out->max, max);
    return true;
}
