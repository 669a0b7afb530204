/* tools.c - the tools of a request: names, schemas, and what each parameter's value may be.
 *
 * Schemas are kept as the JSON text that the grammar compiles; here only "type", enum, const, the combinations of schemas and
 * references within the document are looked at, and only to tell strings from everything else. */
#include <jansson.h>

#include "base/jsonw.h"
#include "dialect/describe.h"

enum { TYPE_STRING = 1, TYPE_NULL = 2, TYPE_OTHER = 4, TYPE_DEPTH = 32 };

struct DialectTools {
    json_t *all; /* the document */
    Arena *mem;
    DialectTool *tool;
    json_t **schema; /* borrowed from all, NULL: none */
    size_t n;
};

/* ---- reading ---- */

static bool good_name(Str s)
{
    if (s.n == 0 || s.n > DIALECT_MAX_NAME) return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == '"' || s.p[i] == '\\' || s.p[i] == '<' || s.p[i] == '>')
            return false;
    return true;
}

/* As the client wrote it, but for spaces: numbers in their shortest form. Nesting is bounded by the parser's. */
void dialect_write_json(Buf *out, const json_t *x)
{
    const char *key;
    json_t *v;
    size_t i;
    if (json_is_object(x)) {
        buf_char(out, '{');
        json_object_foreach((json_t *)(uintptr_t)x, key, v)
        {
            jsonw_sep(out);
            jsonw_str(out, str_of(key));
            buf_char(out, ':');
            dialect_write_json(out, v);
        }
        buf_char(out, '}');
    } else if (json_is_array(x)) {
        buf_char(out, '[');
        json_array_foreach(x, i, v)
        {
            jsonw_sep(out);
            dialect_write_json(out, v);
        }
        buf_char(out, ']');
    } else if (json_is_string(x)) {
        jsonw_str(out, (Str){ json_string_value(x), json_string_length(x) });
    } else if (json_is_integer(x)) {
        jsonw_i64(out, json_integer_value(x));
    } else if (json_is_real(x)) {
        jsonw_f64(out, json_real_value(x));
    } else if (json_is_boolean(x)) {
        jsonw_bool(out, json_is_true(x));
    } else {
        buf_str(out, STR("null"));
    }
}

static Status read_one(DialectTools *t, size_t i, const json_t *tool, Err *err)
{
    const json_t *f = json_object_get(tool, "function"), *type = json_object_get(tool, "type"),
                 *name = json_object_get(f, "name"), *strict = json_object_get(f, "strict");
    json_t *parameters = json_object_get(f, "parameters");
    DialectTool *out = &t->tool[i];
    if (!json_is_object(tool)) return fail(err, E_INVALID, "[%zu] must be an object", i);
    if (type && !json_is_null(type) && (!json_is_string(type) || strcmp(json_string_value(type), "function") != 0))
        return fail(err, E_UNSUPPORTED, "[%zu].type must be \"function\"", i);
    if (!json_is_object(f)) return fail(err, E_INVALID, "[%zu].function must be an object with a name", i);
    out->name = (Str){ json_string_value(name), json_string_length(name) };
    if (!good_name(out->name))
        return fail(err, E_INVALID,
                    "[%zu].function.name must be 1 to %d characters without spaces, quotes and brackets", i,
                    DIALECT_MAX_NAME);
    if (strict && !json_is_null(strict) && !json_is_boolean(strict))
        return fail(err, E_INVALID, "[%zu].function.strict must be true or false", i);
    out->strict = json_is_true(strict);
    out->loose = json_is_false(strict);
    if (!parameters || json_is_null(parameters)) {
        out->schema = STR("");
        return OK;
    }
    if (!json_is_object(parameters))
        return fail(err, E_INVALID, "[%zu].function.parameters must be a JSON Schema, an object", i);
    t->schema[i] = parameters;
    Buf text = { 0 };
    dialect_write_json(&text, parameters);
    out->schema = arena_str(t->mem, buf_view(&text));
    buf_free(&text);
    return OK;
}

static Status read_all(DialectTools *t, Str json, Err *err)
{
    json_error_t why;
    t->all = json_loadb(json.p, json.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (!t->all) return fail(err, E_INVALID, " is no JSON: %s", why.text);
    if (!json_is_array(t->all)) return fail(err, E_INVALID, " must be a list");
    size_t n = json_array_size(t->all);
    if (n > DIALECT_MAX_TOOLS) return fail(err, E_LIMIT, " can have at most %d tools, not %zu", DIALECT_MAX_TOOLS, n);
    t->tool = ARENA_NEW(t->mem, DialectTool, n + 1);
    t->schema = ARENA_NEW(t->mem, json_t *, n + 1);
    for (; t->n < n; t->n++) {
        TRY(read_one(t, t->n, json_array_get(t->all, t->n), err));
        if (dialect_tools_find(t, t->tool[t->n].name) >= 0)
            return fail(err, E_INVALID, "[%zu].function.name: there are two functions \"%.100s\"", t->n,
                        t->tool[t->n].name.p);
    }
    return OK;
}

Status dialect_tools_read(Str json, DialectTools **out, Err *err)
{
    DialectTools *t = mem_alloc(sizeof *t);
    t->mem = arena_new(0);
    Status status = read_all(t, json, err);
    if (status != OK) {
        dialect_tools_free(t);
        return status;
    }
    *out = t;
    return OK;
}

void dialect_tools_free(DialectTools *t)
{
    if (!t) return;
    json_decref(t->all);
    arena_free(t->mem);
    mem_free(t);
}

size_t dialect_tools_count(const DialectTools *t)
{
    return t ? t->n : 0;
}

int dialect_tools_find(const DialectTools *t, Str name)
{
    for (size_t i = 0; t && i < t->n; i++)
        if (str_eq(t->tool[i].name, name)) return (int)i;
    return -1;
}

const DialectTool *dialect_tools_at(const DialectTools *t, size_t i)
{
    CHECK(i < t->n);
    return &t->tool[i];
}

/* ---- what a value may be ---- */

static unsigned type_of_word(const json_t *type)
{
    const char *word = json_string_value(type);
    if (!word) return 0;
    if (!strcmp(word, "string")) return TYPE_STRING;
    return !strcmp(word, "null") ? TYPE_NULL : TYPE_OTHER;
}

static unsigned type_of_value(const json_t *v)
{
    if (json_is_string(v)) return TYPE_STRING;
    return json_is_null(v) ? TYPE_NULL : TYPE_OTHER;
}

/* Of "#/$defs/x"; NULL: elsewhere, or nothing. */
static const json_t *referred(const json_t *root, const char *ref)
{
    const json_t *at = root;
    char word[200];
    if (ref[0] != '#') return NULL;
    for (const char *p = ref + 1; *p && at;) {
        size_t n = 0;
        for (p++; *p && *p != '/' && n + 1 < sizeof word; p++) {
            bool escaped = *p == '~' && (p[1] == '0' || p[1] == '1');
            word[n++] = (char)(escaped ? (p[1] == '0' ? '~' : '/') : *p);
            if (escaped) p++;
        }
        word[n] = 0;
        if (*p && *p != '/') return NULL;
        at = json_object_get(at, word);
    }
    return at;
}

/* The types that a schema lets through, as far as it is easily seen; 0: it says nothing. */
static unsigned types_of(const json_t *root, const json_t *s, int depth)
{
    static const char *const unions[] = { "anyOf", "oneOf", "allOf" };
    const json_t *type = json_object_get(s, "type"), *list = json_object_get(s, "enum"),
                 *one = json_object_get(s, "const"), *ref = json_object_get(s, "$ref"), *v;
    unsigned all = type_of_word(type);
    size_t i;
    if (depth > TYPE_DEPTH) return TYPE_OTHER;
    json_array_foreach(type, i, v) all |= type_of_word(v);
    if (json_is_true(json_object_get(s, "nullable"))) all |= TYPE_NULL;
    if (all & ~(unsigned)TYPE_NULL) return all;
    json_array_foreach(list, i, v) all |= type_of_value(v);
    if (one) all |= type_of_value(one);
    for (size_t k = 0; k < COUNT(unions); k++) {
        const json_t *parts = json_object_get(s, unions[k]);
        json_array_foreach(parts, i, v) all |= types_of(root, v, depth + 1);
    }
    if (json_is_string(ref)) all |= types_of(root, referred(root, json_string_value(ref)), depth + 1);
    return all;
}

ValueKind dialect_tools_value(const DialectTools *t, int tool, Str parameter)
{
    const json_t *root = t && tool >= 0 && (size_t)tool < t->n ? t->schema[tool] : NULL;
    const json_t *s = json_object_getn(json_object_get(root, "properties"), parameter.p, parameter.n);
    if (!s) s = json_object_get(root, "additionalProperties");
    unsigned types = types_of(root, s, 0);
    if (types & TYPE_OTHER) return VALUE_JSON;
    if (types == TYPE_NULL) return VALUE_JSON;
    return types & TYPE_NULL ? VALUE_STRING_OR_NULL : VALUE_STRING;
}
