/* schema_set.c - sets of JSON values: what is in both, in either, in one and not the other. See schema.h.
 *
 * x without a shape of y is a union of shapes, one for each way to be outside of y: too few or too many parts, a required key missing, a key or
 * item of another kind. "Some other key" and "some later item" are ways too, kept as a shape's need: one each, more are
 * refused. Shapes that hold nothing for sure (two kinds for one required key) are dropped at once: that is what keeps
 * discriminated unions small. */
#include <stdlib.h>

#include "grammar/schema.h"

enum { MAX_SHAPES = 3000, PROBE_DEPTH = 4 };

const SchemaSet schema_set_nothing = { 0 };

typedef struct {
    SchemaArray *array;
    SchemaObject *object;
    uint32_t n_arrays, cap_arrays, n_objects, cap_objects;
} Shapes;

/* ---- empty or not ---- */

bool schema_set_term_empty(Schema *s, Term t, int depth)
{
    if (t <= TERM_NONE) return t == TERM_NONE;
    if (s->term[t].empty) return s->term[t].empty == 1;
    if (depth > PROBE_DEPTH || s->term[t].busy || build_failed(s->b)) return false;
    s->term[t].busy = true;
    s->probing++;
    const SchemaSet *x = schema_term_set(s, t);
    bool empty = x && schema_set_empty(s, x, depth + 1);
    s->probing--;
    s->term[t].busy = false;
    if (x && (empty || depth == 0)) s->term[t].empty = empty ? 1 : 2;
    return empty;
}

static bool object_empty(Schema *s, const SchemaObject *o, int depth)
{
    uint32_t required = 0, possible = 0;
    if (o->min > o->max) return true;
    for (uint32_t i = 0; i < o->n_props; i++) {
        required += o->prop[i].required;
        possible += o->prop[i].term != TERM_NONE;
        if (o->prop[i].required && schema_set_term_empty(s, o->prop[i].term, depth)) return true;
    }
    return required > o->max || (o->n_classes == 0 && (possible < o->min || (possible == 0 && o->n_needs)));
}

static bool array_empty(Schema *s, const SchemaArray *a, int depth)
{
    if (a->min > a->max) return true;
    for (uint32_t i = 0; i < a->n_prefix && i < a->min; i++)
        if (schema_set_term_empty(s, a->prefix[i], depth)) return true;
    if (a->min > a->n_prefix && schema_set_term_empty(s, a->rest, depth)) return true;
    for (uint32_t i = 0; i < a->n_needs; i++) {
        const SchemaItemNeed *n = &a->need[i];
        if (n->min > n->max || (uint64_t)n->from + n->min > a->max) return true;
        if (n->min && schema_set_term_empty(s, n->term, depth)) return true;
    }
    return false;
}

bool schema_set_empty(Schema *s, const SchemaSet *x, int depth)
{
    if (x->words || x->n_lits || x->exponents) return false;
    for (uint32_t i = 0; i < x->n_arrays; i++)
        if (!array_empty(s, &x->array[i], depth)) return false;
    for (uint32_t i = 0; i < x->n_objects; i++)
        if (!object_empty(s, &x->object[i], depth)) return false;
    return expr_is_nothing(s->b, x->number) && expr_is_nothing(s->b, x->string);
}

/* ---- lists of shapes ---- */

static void add_object(Schema *s, Shapes *l, SchemaObject o)
{
    if (build_failed(s->b) || object_empty(s, &o, 0)) return;
    l->object = schema_room(s, l->object, l->n_objects, &l->cap_objects, sizeof *l->object);
    if (l->n_objects >= MAX_SHAPES) build_fail(s->b, E_LIMIT, "combined schemas give more than %d shapes", MAX_SHAPES);
    l->object[l->n_objects++] = o;
}

static void add_array(Schema *s, Shapes *l, SchemaArray a)
{
    if (build_failed(s->b) || array_empty(s, &a, 0)) return;
    l->array = schema_room(s, l->array, l->n_arrays, &l->cap_arrays, sizeof *l->array);
    if (l->n_arrays >= MAX_SHAPES) build_fail(s->b, E_LIMIT, "combined schemas give more than %d shapes", MAX_SHAPES);
    l->array[l->n_arrays++] = a;
}

static const SchemaSet *keep(Schema *s, SchemaSet x, const Shapes *l)
{
    if (build_failed(s->b)) return NULL;
    x.array = l->array;
    x.n_arrays = l->n_arrays;
    x.object = l->object;
    x.n_objects = l->n_objects;
    return arena_copy(s->mem, &x, sizeof x);
}

static Status unsupported(Schema *s, const char *why)
{
    return build_fail(s->b, E_UNSUPPORTED, "%s", why);
}

/* ---- keys ---- */

static const SchemaProp *find_prop(const SchemaObject *o, Str name)
{
    for (uint32_t i = 0; i < o->n_props; i++)
        if (str_eq(o->prop[i].name, name)) return &o->prop[i];
    return NULL;
}

static bool in_class(Schema *s, Expr keys, Str text)
{
    return keys == s->all_strings || expr_matches(s->b, keys, text);
}

Term schema_set_value_of(Schema *s, const SchemaObject *o, Str name, Str text)
{
    build_spend(s->b, 1 + o->n_props / 8);
    const SchemaProp *p = find_prop(o, name);
    if (p) return p->term;
    for (uint32_t i = 0; i < o->n_classes; i++)
        if (in_class(s, o->class[i].keys, text)) return o->class[i].term;
    return TERM_NONE;
}

static Expr expr_both(Schema *s, Expr x, Expr y)
{
    return x == s->all_strings ? y : y == s->all_strings || x == y ? x : expr_and(s->b, x, y);
}

static bool classes_and(Schema *s, const SchemaObject *x, const SchemaObject *y, SchemaObject *out)
{
    out->class = ARENA_NEW(s->mem, SchemaClass, (size_t)x->n_classes * y->n_classes + 1);
    out->n_classes = 0;
    for (uint32_t i = 0; i < x->n_classes; i++) {
        for (uint32_t k = 0; k < y->n_classes; k++) {
            Expr keys = expr_both(s, x->class[i].keys, y->class[k].keys);
            Term t = schema_term_and(s, x->class[i].term, y->class[k].term);
            if (t == TERM_NONE || expr_is_nothing(s->b, keys)) continue;
            out->class[out->n_classes++] = (SchemaClass){ keys, t };
            if (!build_spend(s->b, 10)) return false;
        }
    }
    return true;
}

/* A shape with a copy of the properties and room for more. */
static SchemaObject with_room(Schema *s, const SchemaObject *o, uint32_t more)
{
    SchemaObject out = *o;
    out.prop = ARENA_NEW(s->mem, SchemaProp, (size_t)o->n_props + more + 1);
    if (o->n_props) memcpy(out.prop, o->prop, o->n_props * sizeof *o->prop);
    build_spend(s->b, 1 + o->n_props / 8);
    return out;
}

/* The key as a property of its own: what the classes said of it; its place. */
static SchemaProp *own_prop(Schema *s, SchemaObject *o, const SchemaProp *key)
{
    for (uint32_t i = 0; i < o->n_props; i++)
        if (str_eq(o->prop[i].name, key->name)) return &o->prop[i];
    SchemaProp p = { key->name, key->text, schema_set_value_of(s, o, key->name, key->text), false };
    o->prop[o->n_props] = p;
    return &o->prop[o->n_props++];
}

static void add_key_need(Schema *s, SchemaObject *o, SchemaKeyNeed need)
{
    for (uint32_t i = 0; i < o->n_needs; i++)
        if (o->need[i].keys == need.keys && o->need[i].term == need.term) return;
    if (o->n_needs == FORM_MAX_NEEDS)
        unsupported(s, "too many complements over additional properties meet");
    else
        o->need[o->n_needs++] = need;
}

static void objects_and(Schema *s, const SchemaObject *x, const SchemaObject *y, Shapes *out)
{
    SchemaObject o = with_room(s, x, y->n_props);
    for (uint32_t i = 0; i < y->n_props; i++) own_prop(s, &o, &y->prop[i])->required |= y->prop[i].required;
    for (uint32_t i = 0; i < o.n_props && !build_failed(s->b); i++) {
        SchemaProp *p = &o.prop[i];
        p->term = schema_term_and(s, p->term, schema_set_value_of(s, y, p->name, p->text));
    }
    if (!classes_and(s, x, y, &o)) return;
    o.min = MAX(x->min, y->min);
    o.max = MIN(x->max, y->max);
    for (uint32_t i = 0; i < y->n_needs; i++) add_key_need(s, &o, y->need[i]);
    add_object(s, out, o);
}

/* ---- objects: x without y ---- */

/* Keys that are no property of either, with a value that y does not allow. */
static void other_keys_without(Schema *s, const SchemaObject *x, const SchemaObject *y, Shapes *out)
{
    Expr left = s->all_strings;
    for (uint32_t i = 0; i <= y->n_classes && !build_failed(s->b); i++) {
        bool last = i == y->n_classes;
        Expr keys = last ? left : y->class[i].keys;
        Term t = last ? TERM_NONE : y->class[i].term;
        if (!last) left = keys == s->all_strings ? EXPR_NOTHING : expr_without(s->b, left, keys);
        if (t == TERM_ANY || keys == EXPR_NOTHING || x->n_classes == 0) continue;
        for (uint32_t k = 0; k < x->n_props && keys != EXPR_NOTHING; k++)
            keys = expr_without(s->b, keys, expr_text(s->b, x->prop[k].name, s->style->spell));
        for (uint32_t k = 0; k < y->n_props && keys != EXPR_NOTHING; k++)
            keys = expr_without(s->b, keys, expr_text(s->b, y->prop[k].name, s->style->spell));
        Expr possible = EXPR_NOTHING;
        for (uint32_t k = 0; k < x->n_classes; k++)
            possible = expr_or(s->b, possible, expr_both(s, keys, x->class[k].keys));
        if (expr_is_nothing(s->b, possible)) continue;
        SchemaObject base = with_room(s, x, y->n_props);
        for (uint32_t k = 0; k < y->n_props; k++) own_prop(s, &base, &y->prop[k]);
        for (uint32_t part = 0; part < schema_term_parts(s, t) && !build_failed(s->b); part++) {
            SchemaObject o = base;
            add_key_need(s, &o, (SchemaKeyNeed){ keys, schema_term_without(s, TERM_ANY, t, part) });
            add_object(s, out, o);
        }
    }
}

static void prop_without(Schema *s, const SchemaObject *x, const SchemaObject *y, const SchemaProp *key, Shapes *out)
{
    Term t = schema_set_value_of(s, y, key->name, key->text);
    const SchemaProp *in_y = find_prop(y, key->name);
    for (uint32_t part = 0; part < schema_term_parts(s, t) && !build_failed(s->b); part++) {
        SchemaObject o = with_room(s, x, 1);
        SchemaProp *p = own_prop(s, &o, key);
        p->required = true;
        p->term = schema_term_without(s, p->term, t, part);
        if (p->term != TERM_NONE) add_object(s, out, o);
    }
    if (!in_y || !in_y->required) return;
    SchemaObject o = with_room(s, x, 1);
    SchemaProp *p = own_prop(s, &o, key);
    p->term = TERM_NONE;
    if (!p->required) add_object(s, out, o);
}

/* A need of y that x without y has none of. */
static void need_without(Schema *s, const SchemaObject *x, const SchemaKeyNeed *need, Shapes *out)
{
    if (schema_term_parts(s, need->term) > 1) unsupported(s, "a complement of a complement over several schemas");
    SchemaObject o = with_room(s, x, 0), all = { .max = BUILD_INF };
    all.class = ARENA_NEW(s->mem, SchemaClass, 2);
    all.n_classes = 2;
    all.class[0] = (SchemaClass){ expr_without(s->b, s->all_strings, need->keys), TERM_ANY };
    all.class[1] =
        (SchemaClass){ need->keys,
                       need->term == TERM_ANY ? TERM_NONE : schema_term_without(s, TERM_ANY, need->term, 0) };
    for (uint32_t i = 0; i < o.n_props && !build_failed(s->b); i++) {
        const SchemaProp *p = &o.prop[i];
        o.prop[i].term = schema_term_and(s, p->term, schema_set_value_of(s, &all, p->name, p->text));
    }
    SchemaObject both = o;
    if (classes_and(s, &o, &all, &both)) add_object(s, out, both);
}

static void objects_without(Schema *s, const SchemaObject *x, const SchemaObject *y, Shapes *out)
{
    Shapes common = { 0 };
    if (!x->n_needs && !y->n_needs) {
        objects_and(s, x, y, &common);
        if (common.n_objects == 0) { /* nothing to take away */
            add_object(s, out, *x);
            return;
        }
    }
    SchemaObject o = *x;
    if (y->min > 0) {
        o.max = MIN(x->max, y->min - 1);
        add_object(s, out, o);
    }
    o = *x;
    if (y->max < BUILD_INF) {
        o.min = MAX(x->min, y->max + 1);
        add_object(s, out, o);
    }
    for (uint32_t i = 0; i < y->n_props && !build_failed(s->b); i++) prop_without(s, x, y, &y->prop[i], out);
    for (uint32_t i = 0; i < x->n_props && !build_failed(s->b); i++)
        if (!find_prop(y, x->prop[i].name)) prop_without(s, x, y, &x->prop[i], out);
    other_keys_without(s, x, y, out);
    for (uint32_t i = 0; i < y->n_needs && !build_failed(s->b); i++) need_without(s, x, &y->need[i], out);
}

/* ---- arrays ---- */

static Term item_of(const SchemaArray *a, uint32_t i)
{
    return i < a->n_prefix ? a->prefix[i] : a->rest;
}

/* At least n items by name. */
static SchemaArray with_prefix(Schema *s, const SchemaArray *a, uint32_t n)
{
    SchemaArray out = *a;
    if (n <= a->n_prefix && a->n_prefix) {
        out.prefix = arena_copy(s->mem, a->prefix, a->n_prefix * sizeof *a->prefix);
        return out;
    }
    build_spend(s->b, 1 + n);
    if (build_failed(s->b)) return out;
    out.prefix = ARENA_NEW(s->mem, Term, (size_t)n + 1);
    for (uint32_t i = 0; i < n; i++) out.prefix[i] = item_of(a, i);
    out.n_prefix = n;
    return out;
}

static void add_item_need(Schema *s, SchemaArray *a, SchemaItemNeed need)
{
    for (uint32_t i = 0; i < a->n_needs; i++) {
        SchemaItemNeed *n = &a->need[i];
        if (n->from != need.from || n->term != need.term) continue;
        n->min = MAX(n->min, need.min);
        n->max = MIN(n->max, need.max);
        return;
    }
    if (a->n_needs == FORM_MAX_NEEDS)
        unsupported(s, "too many of contains, or of complements over items, meet");
    else
        a->need[a->n_needs++] = need;
}

static void arrays_and(Schema *s, const SchemaArray *x, const SchemaArray *y, Shapes *out)
{
    SchemaArray a = with_prefix(s, x, MAX(x->n_prefix, y->n_prefix));
    for (uint32_t i = 0; i < a.n_prefix && !build_failed(s->b); i++) {
        a.prefix[i] = schema_term_and(s, a.prefix[i], item_of(y, i));
        if (a.max > i && schema_set_term_empty(s, a.prefix[i], 0)) a.max = i;
    }
    a.rest = schema_term_and(s, x->rest, y->rest);
    a.min = MAX(x->min, y->min);
    a.max = MIN(a.max, y->max);
    if (a.max > a.n_prefix && schema_set_term_empty(s, a.rest, 0)) a.max = a.n_prefix;
    a.unique |= y->unique;
    for (uint32_t i = 0; i < y->n_needs; i++) add_item_need(s, &a, y->need[i]);
    add_array(s, out, a);
}

static void item_without(Schema *s, const SchemaArray *x, uint32_t i, Term t, Shapes *out)
{
    for (uint32_t part = 0; part < schema_term_parts(s, t) && !build_failed(s->b); part++) {
        SchemaArray a = with_prefix(s, x, i + 1);
        a.min = MAX(a.min, i + 1);
        a.prefix[i] = schema_term_without(s, a.prefix[i], t, part);
        add_array(s, out, a);
    }
}

/* Only arrays of that length may be in both; those that are longer are added, the others returned. */
static SchemaArray cut_common(Schema *s, const SchemaArray *x, uint32_t max, Shapes *out)
{
    SchemaArray cut = *x;
    if (max >= x->max || x->n_needs) return cut;
    cut.min = MAX(x->min, max + 1);
    add_array(s, out, cut);
    cut.min = x->min;
    cut.max = max;
    return cut;
}

static void arrays_without(Schema *s, const SchemaArray *whole, const SchemaArray *y, Shapes *out)
{
    Shapes common = { 0 };
    SchemaArray held = *whole;
    const SchemaArray *x = &held;
    if (!x->n_needs && !y->n_needs) {
        arrays_and(s, x, y, &common);
        if (common.n_arrays == 0) {
            add_array(s, out, *x);
            return;
        }
        held = cut_common(s, whole, common.array[0].max, out);
    }
    SchemaArray a = *x;
    if (y->unique) unsupported(s, "the complement of uniqueItems is not supported");
    if (y->min > 0) {
        a.max = MIN(x->max, y->min - 1);
        add_array(s, out, a);
    }
    a = *x;
    if (y->max < BUILD_INF) {
        a.min = MAX(x->min, y->max + 1);
        add_array(s, out, a);
    }
    for (uint32_t i = 0; i < y->n_prefix && i < x->max && !build_failed(s->b); i++)
        item_without(s, x, i, y->prefix[i], out);
    for (uint32_t part = 0; x->max > y->n_prefix && part < schema_term_parts(s, y->rest); part++) {
        a = *x;
        Term t = schema_term_without(s, TERM_ANY, y->rest, part);
        add_item_need(s, &a, (SchemaItemNeed){ y->n_prefix, 1, BUILD_INF, t });
        add_array(s, out, a);
    }
    for (uint32_t i = 0; i < y->n_needs && !build_failed(s->b); i++) {
        SchemaItemNeed n = y->need[i];
        a = *x;
        if (n.min) add_item_need(s, &a, (SchemaItemNeed){ n.from, 0, n.min - 1, n.term });
        if (n.min) add_array(s, out, a);
        a = *x;
        if (n.max != BUILD_INF) add_item_need(s, &a, (SchemaItemNeed){ n.from, n.max + 1, BUILD_INF, n.term });
        if (n.max != BUILD_INF) add_array(s, out, a);
    }
}

/* ---- single values ---- */

static bool has_lit(Schema *s, const SchemaSet *x, const SchemaLit *l)
{
    build_spend(s->b, 1 + x->n_lits / 16);
    for (uint32_t i = 0; i < x->n_lits; i++)
        if (x->lit[i].string == l->string && str_eq(x->lit[i].name, l->name)) return true;
    if (l->string) return x->string == s->all_strings || expr_matches(s->b, x->string, l->text);
    return x->exponents || expr_matches(s->b, x->number, l->name);
}

/* Those of x that are (or are not) in y, added to out. */
static void filter_lits(Schema *s, const SchemaSet *x, const SchemaSet *y, bool in, SchemaSet *out)
{
    for (uint32_t i = 0; i < x->n_lits && !build_failed(s->b); i++)
        if (has_lit(s, y, &x->lit[i]) == in) out->lit[out->n_lits++] = x->lit[i];
}

/* Every spelling of the single strings or numbers. */
static Expr lits_expr(Schema *s, const SchemaSet *x, bool string)
{
    Expr *e = ARENA_NEW(s->mem, Expr, x->n_lits + 1);
    size_t n = 0;
    for (uint32_t i = 0; i < x->n_lits && !build_failed(s->b); i++) {
        if (x->lit[i].string != string) continue;
        e[n++] = string ? expr_text(s->b, x->lit[i].name, s->style->spell) : schema_number_spellings(s, x->lit[i].name);
    }
    return n ? expr_or_n(s->b, e, n) : EXPR_NOTHING;
}

/* ---- sets ---- */

const SchemaSet *schema_set_and(Schema *s, const SchemaSet *x, const SchemaSet *y)
{
    if (!x || !y || build_failed(s->b)) return NULL;
    if (x == y || y == s->any) return x;
    if (x == s->any) return y;
    SchemaSet out = { .words = x->words & y->words,
                      .exponents = x->exponents && y->exponents,
                      .whole = x->whole || y->whole,
                      .number = x->exponents   ? y->number
                                : y->exponents ? x->number
                                               : expr_and(s->b, x->number, y->number),
                      .string = expr_both(s, x->string, y->string) };
    if (x->string == EXPR_NOTHING) out.string = EXPR_NOTHING;
    out.lit = ARENA_NEW(s->mem, SchemaLit, (size_t)x->n_lits + y->n_lits + 1);
    filter_lits(s, x, y, true, &out);
    filter_lits(s, y, x, true, &out);
    Shapes l = { 0 };
    for (uint32_t i = 0; i < x->n_arrays; i++)
        for (uint32_t k = 0; k < y->n_arrays; k++) arrays_and(s, &x->array[i], &y->array[k], &l);
    for (uint32_t i = 0; i < x->n_objects; i++)
        for (uint32_t k = 0; k < y->n_objects; k++) objects_and(s, &x->object[i], &y->object[k], &l);
    return keep(s, out, &l);
}

const SchemaSet *schema_set_or(Schema *s, const SchemaSet *x, const SchemaSet *y)
{
    if (!x || !y || build_failed(s->b)) return NULL;
    if (x == y || x == s->any || y == &schema_set_nothing) return x;
    if (y == s->any || x == &schema_set_nothing) return y;
    bool x_num = x->exponents || x->number != EXPR_NOTHING, y_num = y->exponents || y->number != EXPR_NOTHING;
    SchemaSet out = { .words = x->words | y->words,
                      .exponents = x->exponents || y->exponents,
                      .whole = (x->whole || !x_num) && (y->whole || !y_num),
                      .number = expr_or(s->b, x->number, y->number),
                      .string = expr_or(s->b, x->string, y->string) };
    if (x->string == s->all_strings || y->string == s->all_strings) out.string = s->all_strings;
    if (out.exponents) out.number = s->decimals;
    out.lit = ARENA_NEW(s->mem, SchemaLit, (size_t)x->n_lits + y->n_lits + 1);
    if (x->n_lits) memcpy(out.lit, x->lit, x->n_lits * sizeof *out.lit);
    if (y->n_lits) memcpy(out.lit + x->n_lits, y->lit, y->n_lits * sizeof *out.lit);
    out.n_lits = x->n_lits + y->n_lits;
    Shapes l = { 0 };
    for (uint32_t i = 0; i < x->n_arrays; i++) add_array(s, &l, x->array[i]);
    for (uint32_t i = 0; i < y->n_arrays; i++) add_array(s, &l, y->array[i]);
    for (uint32_t i = 0; i < x->n_objects; i++) add_object(s, &l, x->object[i]);
    for (uint32_t i = 0; i < y->n_objects; i++) add_object(s, &l, y->object[i]);
    return keep(s, out, &l);
}

/* The shapes of x, less those of y one after the other. */
static Shapes shapes_without(Schema *s, const SchemaSet *x, const SchemaSet *y)
{
    Shapes now = { x->array, x->object, x->n_arrays, x->n_arrays, x->n_objects, x->n_objects };
    for (uint32_t k = 0; k < y->n_arrays; k++) {
        Shapes next = { 0 };
        for (uint32_t i = 0; i < now.n_arrays && !build_failed(s->b); i++)
            arrays_without(s, &now.array[i], &y->array[k], &next);
        now.array = next.array;
        now.n_arrays = next.n_arrays;
    }
    for (uint32_t k = 0; k < y->n_objects; k++) {
        Shapes next = { 0 };
        for (uint32_t i = 0; i < now.n_objects && !build_failed(s->b); i++)
            objects_without(s, &now.object[i], &y->object[k], &next);
        now.object = next.object;
        now.n_objects = next.n_objects;
    }
    return now;
}

const SchemaSet *schema_set_without(Schema *s, const SchemaSet *x, const SchemaSet *y)
{
    if (!x || !y || build_failed(s->b)) return NULL;
    if (y == &schema_set_nothing) return x;
    if (x == y || y == s->any) return &schema_set_nothing;
    Expr strings = expr_or(s->b, y->string, lits_expr(s, y, true));
    Expr numbers = expr_or(s->b, y->number, lits_expr(s, y, false));
    SchemaSet out = { .words = x->words & ~y->words,
                      .exponents = x->exponents,
                      .whole = x->whole,
                      .number = x->number,
                      .string = x->string };
    if (y->string == s->all_strings)
        out.string = EXPR_NOTHING;
    else if (strings != EXPR_NOTHING)
        out.string = expr_without(s->b, x->string, strings);
    if (y->exponents)
        out.number = EXPR_NOTHING;
    else if (numbers != EXPR_NOTHING)
        out.number = expr_without(s->b, x->number, numbers);
    if (y->exponents || numbers != EXPR_NOTHING) out.exponents = false;
    out.lit = ARENA_NEW(s->mem, SchemaLit, (size_t)x->n_lits + 1);
    filter_lits(s, x, y, false, &out);
    Shapes l = shapes_without(s, x, y);
    return keep(s, out, &l);
}
