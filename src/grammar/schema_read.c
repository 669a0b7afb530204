/* schema_read.c - one schema object as a set: its own keywords, met with what allOf, anyOf, oneOf, not, if, $ref, enum say. See schema.h.
 *
 * oneOf is exact: each branch less all the others. if/then/else is (if and then) or (else less if). What the sets cannot say is refused with the
 * place of the keyword; names of no meaning here (title, default, examples, unknown ones) are annotations, as the standard has it. */
#include "base/utf8.h"
#include "grammar/schema.h"

typedef const SchemaSet *(*Combine)(Schema *s, const SchemaSet *x, const SchemaSet *y);

/* ---- references ---- */

/* One step of a pointer, decoded; *p moves behind it. */
static Str take_step(Schema *s, Str ref, size_t *p)
{
    Buf out = { 0 };
    for (; *p < ref.n && ref.p[*p] != '/'; ++*p) {
        char c = ref.p[*p];
        if (c == '%' && *p + 2 < ref.n && hex_digit(ref.p[*p + 1]) >= 0 && hex_digit(ref.p[*p + 2]) >= 0) {
            c = (char)(hex_digit(ref.p[*p + 1]) * 16 + hex_digit(ref.p[*p + 2]));
            *p += 2;
        }
        if (c == '~' && *p + 1 < ref.n && (ref.p[*p + 1] == '0' || ref.p[*p + 1] == '1'))
            c = ref.p[++*p] == '0' ? '~' : '/';
        buf_char(&out, c);
    }
    Str step = arena_str(s->mem, buf_view(&out));
    buf_free(&out);
    return step;
}

static json_t *by_pointer(Schema *s, Str ref)
{
    json_t *j = s->root;
    for (size_t p = 0; p < ref.n && j;) {
        if (ref.p[p] != '/') return NULL;
        p++;
        Str step = take_step(s, ref, &p);
        int64_t i;
        if (json_is_array(j))
            j = str_to_i64(step, &i) && i >= 0 ? json_array_get(j, (size_t)i) : NULL;
        else
            j = json_object_get(j, step.p);
    }
    return j;
}

static bool names(json_t *j, const char *key, Str name)
{
    json_t *v = json_object_get(j, key);
    return json_is_string(v) && str_eq(str_of(json_string_value(v)), name);
}

/* The schema that has this anchor or $id, anywhere; as deep as the JSON reader allows. */
static json_t *by_name(Schema *s, json_t *j, Str name, Str anchor)
{
    json_t *v, *found = NULL;
    const char *key;
    size_t i;
    if (!build_spend(s->b, 1)) return NULL;
    if (json_is_array(j)) {
        json_array_foreach(j, i, v)
        {
            if ((found = by_name(s, v, name, anchor))) return found;
        }
        return NULL;
    }
    if (!json_is_object(j)) return NULL;
    if (names(j, "$anchor", anchor) || names(j, "$dynamicAnchor", anchor) || names(j, "$id", name) ||
        names(j, "id", name))
        return j;
    json_object_foreach(j, key, v)
    {
        if ((found = by_name(s, v, name, anchor))) return found;
    }
    return NULL;
}

static json_t *resolve(Schema *s, Str ref)
{
    json_t *id = json_object_get(s->root, "$id");
    if (!id) id = json_object_get(s->root, "id");
    if (json_is_string(id)) {
        Str base = str_of(json_string_value(id));
        if (base.n && base.p[base.n - 1] == '#') base.n--;
        if (base.n && str_starts(ref, base) && (ref.n == base.n || ref.p[base.n] == '#'))
            ref = str_cut(ref, base.n, ref.n);
    }
    if (ref.n == 0 || (ref.n == 1 && ref.p[0] == '#')) return s->root;
    if (ref.p[0] == '#' && ref.p[1] == '/') return by_pointer(s, str_cut(ref, 1, ref.n));
    return by_name(s, s->root, ref, ref.p[0] == '#' ? str_cut(ref, 1, ref.n) : (Str){ "\n", 1 });
}

static const SchemaSet *read_ref(Schema *s, json_t *v, Str at)
{
    if (!json_is_string(v)) {
        schema_refuse(s, at, "$ref", E_INVALID, "must be a string");
        return NULL;
    }
    Str ref = str_of(json_string_value(v));
    if (++s->n_refs > build_limits(s->b)->references) schema_refuse(s, at, "$ref", E_LIMIT, "too many references");
    json_t *to = resolve(s, ref);
    if (!to) {
        bool local = ref.n && ref.p[0] == '#';
        schema_refuse(s, at, "$ref", local ? E_INVALID : E_UNSUPPORTED,
                      local ? "leads to nothing in this schema" : "only references into this schema are supported");
        return NULL;
    }
    Str pointer = ref.n && ref.p[0] == '#' ? str_cut(ref, 1, ref.n) : ref;
    return schema_term_set(s, schema_term_of(s, to, arena_str(s->mem, pointer)));
}

/* ---- strings ---- */

static bool take_length(Schema *s, json_t *j, Str at, const char *key, uint32_t *out)
{
    json_t *v = json_object_get(j, key);
    if (!v) return true;
    double x = json_is_number(v) ? json_number_value(v) : -1;
    if (x < 0 || x > 4e9 || x != (double)(uint32_t)x) {
        schema_refuse(s, at, key, E_INVALID, "must be a whole number from 0 on");
        return false;
    }
    *out = (uint32_t)x;
    return true;
}

static Expr read_string(Schema *s, json_t *j, Str at)
{
    Expr e = s->all_strings, x;
    json_t *pattern = json_object_get(j, "pattern"), *format = json_object_get(j, "format");
    uint32_t min = 0, max = BUILD_INF;
    if (pattern && !json_is_string(pattern)) schema_refuse(s, at, "pattern", E_INVALID, "must be a string");
    if (!take_length(s, j, at, "minLength", &min) || !take_length(s, j, at, "maxLength", &max)) return EXPR_NOTHING;
    if (max != BUILD_INF && max > build_limits(s->b)->repeat)
        max = BUILD_INF - 1; /* refused below by its own sentence */
    build_at(s->b, schema_term_child(s, at, max == BUILD_INF ? "minLength" : "maxLength"));
    if (min || max != BUILD_INF) e = expr_repeat(s->b, expr_any_char(s->b, s->style->spell), min, max);
    if (pattern && !build_failed(s->b)) {
        build_at(s->b, schema_term_child(s, at, "pattern"));
        x = pattern_build(s->b, str_of(json_string_value(pattern)), PATTERN_SEARCH, s->style->spell);
        e = e == s->all_strings ? x : expr_and(s->b, x, e);
    }
    if (json_is_string(format) && schema_format(s, str_of(json_string_value(format)), &x))
        e = e == s->all_strings ? x : expr_and(s->b, x, e);
    return e;
}

/* ---- types ---- */

enum {
    T_NULL = 1,
    T_BOOLEAN = 2,
    T_INTEGER = 4,
    T_NUMBER = 8,
    T_STRING = 16,
    T_ARRAY = 32,
    T_OBJECT = 64,
    T_ALL = 123
};

static unsigned type_bit(Schema *s, json_t *v, Str at)
{
    static const char *const names_of[] = { "null", "boolean", "integer", "number", "string", "array", "object" };
    for (unsigned i = 0; i < COUNT(names_of) && json_is_string(v); i++)
        if (strcmp(json_string_value(v), names_of[i]) == 0) return 1u << i;
    schema_refuse(s, at, "type", E_INVALID, "not a type of JSON Schema");
    return 0;
}

static unsigned read_types(Schema *s, json_t *j, Str at)
{
    json_t *type = json_object_get(j, "type"), *v;
    unsigned bits = 0;
    size_t i;
    if (!type) return T_ALL;
    if (!json_is_array(type)) return type_bit(s, type, at);
    json_array_foreach(type, i, v) bits |= type_bit(s, v, at);
    return bits;
}

static bool has_any(json_t *j, const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (json_object_get(j, keys[i])) return true;
    return false;
}

static void read_numbers(Schema *s, json_t *j, Str at, unsigned types, SchemaSet *out)
{
    static const char *const keys[] = { "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf" };
    out->whole = !(types & T_NUMBER);
    out->exponents = !out->whole && !has_any(j, keys, COUNT(keys));
    out->number = schema_number_bounds(s, j, at, out->whole ? s->integers : s->decimals);
}

/* type and the keywords that speak of one type. */
static const SchemaSet *read_own(Schema *s, json_t *j, Str at)
{
    static const char *const own[] = { "type",
                                       "pattern",
                                       "format",
                                       "minLength",
                                       "maxLength",
                                       "minimum",
                                       "maximum",
                                       "exclusiveMinimum",
                                       "multipleOf",
                                       "exclusiveMaximum",
                                       "properties",
                                       "required",
                                       "minProperties",
                                       "maxProperties",
                                       "propertyNames",
                                       "patternProperties",
                                       "additionalProperties",
                                       "items",
                                       "prefixItems",
                                       "additionalItems",
                                       "minItems",
                                       "maxItems",
                                       "uniqueItems",
                                       "contains",
                                       "unevaluatedProperties",
                                       "unevaluatedItems" };
    if (!has_any(j, own, COUNT(own))) return s->any;
    unsigned types = read_types(s, j, at);
    SchemaSet x = { .words = (types & T_NULL ? WORD_NULL : 0u) | (types & T_BOOLEAN ? WORD_TRUE | WORD_FALSE : 0u) };
    if (types & (T_INTEGER | T_NUMBER)) read_numbers(s, j, at, types, &x);
    if (types & T_STRING) x.string = read_string(s, j, at);
    if (types & T_ARRAY) {
        x.array = ARENA_NEW(s->mem, SchemaArray, 1);
        x.n_arrays = schema_shape_array(s, j, at, x.array);
    }
    if (types & T_OBJECT && !build_failed(s->b)) {
        x.object = ARENA_NEW(s->mem, SchemaObject, 1);
        x.n_objects = schema_shape_object(s, j, at, x.object);
    }
    return build_failed(s->b) ? NULL : arena_copy(s->mem, &x, sizeof x);
}

/* ---- values ---- */

static SchemaLit lit_of(Schema *s, json_t *v)
{
    SchemaLit l = { .string = json_is_string(v) };
    if (l.string) {
        l.name = arena_str(s->mem, (Str){ json_string_value(v), json_string_length(v) });
        l.text = schema_term_escaped(s, l.name);
    } else {
        l.name = l.text = schema_number_text(s, v);
        l.point = json_is_real(v) && str_find(l.name, STR("."), 0) == SIZE_MAX;
    }
    return l;
}

static void const_array(Schema *s, json_t *value, Str pointer, SchemaArray *a)
{
    json_t *v;
    size_t i;
    a->min = a->max = a->n_prefix = (uint32_t)json_array_size(value);
    a->prefix = ARENA_NEW(s->mem, Term, a->n_prefix + 1);
    a->rest = TERM_NONE;
    json_array_foreach(value, i, v) a->prefix[i] = schema_term_const(s, v, pointer);
}

static void const_object(Schema *s, json_t *value, Str pointer, SchemaObject *o)
{
    json_t *v;
    const char *key;
    o->max = BUILD_INF;
    o->prop = ARENA_NEW(s->mem, SchemaProp, json_object_size(value) + 1);
    json_object_foreach(value, key, v)
    {
        Str name = arena_str(s->mem, str_of(key));
        o->prop[o->n_props++] =
            (SchemaProp){ name, schema_term_escaped(s, name), schema_term_const(s, v, pointer), true };
    }
}

/* Values of a list; shapes are as many as there are arrays and objects. */
static const SchemaSet *read_values(Schema *s, json_t *const *v, size_t n, Str pointer)
{
    SchemaSet x = { .whole = true };
    if (n > build_limits(s->b)->alternatives) schema_refuse(s, pointer, NULL, E_LIMIT, "too many values");
    if (build_failed(s->b)) return NULL;
    x.lit = ARENA_NEW(s->mem, SchemaLit, n + 1);
    x.array = ARENA_NEW(s->mem, SchemaArray, n + 1);
    x.object = ARENA_NEW(s->mem, SchemaObject, n + 1);
    for (size_t i = 0; i < n && build_spend(s->b, 1); i++) {
        if (json_is_null(v[i])) x.words |= WORD_NULL;
        if (json_is_boolean(v[i])) x.words |= json_is_true(v[i]) ? WORD_TRUE : WORD_FALSE;
        if (json_is_array(v[i])) const_array(s, v[i], pointer, &x.array[x.n_arrays++]);
        if (json_is_object(v[i])) const_object(s, v[i], pointer, &x.object[x.n_objects++]);
        if (!json_is_string(v[i]) && !json_is_number(v[i])) continue;
        if (schema_number_rounded(s, v[i]))
            schema_refuse(s, pointer, NULL, E_UNSUPPORTED, "a number too large to be known exactly");
        if (build_failed(s->b)) break;
        SchemaLit l = lit_of(s, v[i]);
        if (!build_count_enum(s->b, l.text.n)) break;
        x.lit[x.n_lits++] = l;
    }
    return build_failed(s->b) ? NULL : arena_copy(s->mem, &x, sizeof x);
}

const SchemaSet *schema_read_const(Schema *s, json_t *value, Str pointer)
{
    build_at(s->b, pointer);
    return read_values(s, &value, 1, pointer);
}

static const SchemaSet *read_enum(Schema *s, json_t *list, Str at)
{
    if (!json_is_array(list)) {
        schema_refuse(s, at, "enum", E_INVALID, "must be an array");
        return NULL;
    }
    size_t n = json_array_size(list);
    json_t **v = ARENA_NEW(s->mem, json_t *, n + 1);
    for (size_t i = 0; i < n; i++) v[i] = json_array_get(list, i);
    Str place = schema_term_child(s, at, "enum");
    build_at(s->b, place);
    return read_values(s, v, n, place);
}

/* ---- combinations ---- */

static const SchemaSet *part(Schema *s, json_t *j, Str at)
{
    if (!json_is_object(j) && !json_is_boolean(j)) {
        schema_refuse(s, at, NULL, E_INVALID, "must be a schema");
        return NULL;
    }
    return schema_term_set(s, schema_term_of(s, j, at));
}

static json_t *list_of(Schema *s, json_t *j, Str at, const char *key)
{
    json_t *list = json_object_get(j, key);
    if (list && (!json_is_array(list) || json_array_size(list) == 0))
        schema_refuse(s, at, key, E_INVALID, "must be an array with at least one schema");
    return build_failed(s->b) ? NULL : list;
}

static const SchemaSet *read_all(Schema *s, json_t *list, Str place, const SchemaSet *x, Combine with)
{
    for (size_t i = 0; i < json_array_size(list) && x; i++) {
        const SchemaSet *y = part(s, json_array_get(list, i), schema_term_item(s, place, i));
        build_at(s->b, place);
        x = with(s, x, y);
    }
    return x;
}

static const SchemaSet *read_one_of(Schema *s, json_t *list, Str place, const SchemaSet *x)
{
    size_t n = json_array_size(list);
    const SchemaSet **branch = ARENA_NEW(s->mem, const SchemaSet *, n), *out = &schema_set_nothing;
    for (size_t i = 0; i < n; i++) {
        branch[i] = schema_set_and(s, x, part(s, json_array_get(list, i), schema_term_item(s, place, i)));
        if (!branch[i]) return NULL;
    }
    for (size_t i = 0; i < n && out; i++) {
        const SchemaSet *y = branch[i];
        for (size_t k = 0; k < n && y; k++) {
            if (k == i) continue;
            build_at(s->b, schema_term_item(s, place, i));
            if (!build_spend(s->b, 5)) return NULL;
            y = schema_set_without(s, y, branch[k]);
        }
        out = schema_set_or(s, out, y);
    }
    return out;
}

static const SchemaSet *read_if(Schema *s, json_t *j, Str at, const SchemaSet *x)
{
    json_t *then = json_object_get(j, "then"), *other = json_object_get(j, "else");
    if (!then && !other) return x;
    const SchemaSet *cond = part(s, json_object_get(j, "if"), schema_term_child(s, at, "if"));
    const SchemaSet *yes = schema_set_and(s, x, cond);
    build_at(s->b, schema_term_child(s, at, "if"));
    const SchemaSet *no = schema_set_without(s, x, cond);
    if (then) yes = schema_set_and(s, yes, part(s, then, schema_term_child(s, at, "then")));
    if (other) no = schema_set_and(s, no, part(s, other, schema_term_child(s, at, "else")));
    return schema_set_or(s, yes, no);
}

/* ---- dependencies ---- */

/* Any value, but as an object one in which this key is there, or is not. */
static const SchemaSet *with_key(Schema *s, const char *key, bool there)
{
    SchemaSet x = *s->any;
    SchemaObject *o = arena_copy(s->mem, s->any->object, sizeof *o);
    Str name = arena_str(s->mem, str_of(key));
    SchemaProp p = { name, schema_term_escaped(s, name), there ? TERM_ANY : TERM_NONE, there };
    o->prop = arena_copy(s->mem, &p, sizeof p);
    o->n_props = 1;
    x.object = o;
    return arena_copy(s->mem, &x, sizeof x);
}

static const SchemaSet *objects_only(Schema *s, const SchemaSet *x)
{
    if (!x) return NULL;
    SchemaSet y = { .object = x->object, .n_objects = x->n_objects };
    return arena_copy(s->mem, &y, sizeof y);
}

/* x, where the key asks for more: names, or a schema. */
static const SchemaSet *read_dependency(Schema *s, const char *key, json_t *v, Str at, const SchemaSet *x)
{
    const SchemaSet *without = schema_set_and(s, x, with_key(s, key, false));
    const SchemaSet *with = schema_set_and(s, objects_only(s, x), with_key(s, key, true));
    if (json_is_array(v) || json_is_string(v)) {
        for (size_t i = 0; i < (json_is_string(v) ? 1 : json_array_size(v)) && with; i++) {
            json_t *name = json_is_string(v) ? v : json_array_get(v, i);
            if (!json_is_string(name)) schema_refuse(s, at, NULL, E_INVALID, "must be an array of strings");
            if (build_failed(s->b)) return NULL;
            with = schema_set_and(s, with, with_key(s, json_string_value(name), true));
        }
    } else {
        with = schema_set_and(s, with, part(s, v, at));
    }
    return schema_set_or(s, without, with);
}

static const SchemaSet *read_dependencies(Schema *s, json_t *j, Str at, const SchemaSet *x)
{
    static const char *const keys[] = { "dependencies", "dependentRequired", "dependentSchemas" };
    const char *key;
    json_t *v;
    for (size_t i = 0; i < COUNT(keys); i++) {
        json_t *all = json_object_get(j, keys[i]);
        Str place = schema_term_child(s, at, keys[i]);
        if (all && !json_is_object(all)) schema_refuse(s, at, keys[i], E_INVALID, "must be an object");
        json_object_foreach(all, key, v)
        {
            build_at(s->b, place);
            if (x) x = read_dependency(s, key, v, schema_term_child(s, place, key), x);
        }
    }
    return x;
}

/* ---- one schema ---- */

static bool check_keywords(Schema *s, json_t *j, Str at)
{
    static const char *const no[] = { "$dynamicRef", "$recursiveRef", "extends", "disallow", "divisibleBy" };
    static const char *const inside[] = { "allOf", "anyOf", "oneOf", "not", "if", "$ref", "dependentSchemas" };
    static const char *const unevaluated[] = { "unevaluatedProperties", "unevaluatedItems" };
    for (size_t i = 0; i < COUNT(no); i++)
        if (json_object_get(j, no[i])) schema_refuse(s, at, no[i], E_UNSUPPORTED, "is not supported");
    for (size_t i = 0; i < COUNT(unevaluated); i++) {
        json_t *v = json_object_get(j, unevaluated[i]);
        if (v && !json_is_true(v) && has_any(j, inside, COUNT(inside)))
            schema_refuse(s, at, unevaluated[i], E_UNSUPPORTED, "is not supported beside schemas that apply in place");
    }
    return !build_failed(s->b);
}

const SchemaSet *schema_read(Schema *s, const SchemaNode *n)
{
    json_t *j = n->json, *v;
    Str at = n->pointer;
    build_at(s->b, at);
    if (json_is_boolean(j)) return json_is_true(j) ? s->any : &schema_set_nothing;
    if (!json_is_object(j)) {
        schema_refuse(s, at, NULL, E_INVALID, "a schema must be an object or a boolean");
        return NULL;
    }
    if (!build_spend(s->b, 5) || !check_keywords(s, j, at)) return NULL;
    json_t *ref = json_object_get(j, "$ref");
    if (s->legacy_refs && json_is_string(ref)) return read_ref(s, ref, at);
    const SchemaSet *x = read_own(s, j, at);
    if (x && (v = json_object_get(j, "enum"))) x = schema_set_and(s, x, read_enum(s, v, at));
    if (x && (v = json_object_get(j, "const")))
        x = schema_set_and(s, x, schema_read_const(s, v, schema_term_child(s, at, "const")));
    if (x && ref) x = schema_set_and(s, x, read_ref(s, ref, at));
    if (x && (v = list_of(s, j, at, "allOf"))) x = read_all(s, v, schema_term_child(s, at, "allOf"), x, schema_set_and);
    if (x && (v = list_of(s, j, at, "anyOf")))
        x = schema_set_and(s, x, read_all(s, v, schema_term_child(s, at, "anyOf"), &schema_set_nothing, schema_set_or));
    if (x && (v = list_of(s, j, at, "oneOf"))) x = read_one_of(s, v, schema_term_child(s, at, "oneOf"), x);
    if (x && (v = json_object_get(j, "not"))) {
        const SchemaSet *y = part(s, v, schema_term_child(s, at, "not"));
        build_at(s->b, schema_term_child(s, at, "not"));
        x = schema_set_without(s, x, y);
    }
    if (x && json_object_get(j, "if")) x = read_if(s, j, at, x);
    return x ? read_dependencies(s, j, at, x) : NULL;
}
