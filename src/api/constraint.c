/* constraint.c - what an answer must be: SGLang's fields (regex, ebnf, json_schema, structural_tag), OpenAI's response_format, vLLM's
 * guided_* and structured_outputs, all brought to the one constraint that a RadishRequest has. What the constraint says is not
 * looked at here; that two fields ask for different things is. Any thread. */
#include "api/params.h"

typedef struct {
    const char *key;
    RadishConstraintKind kind;
} Field;

/* The names for the same things, by who invented them. */
static const Field plain[] = { { "regex", RADISH_REGEX },
                               { "ebnf", RADISH_EBNF },
                               { "json_schema", RADISH_JSON_SCHEMA },
                               { "structural_tag", RADISH_STRUCTURAL_TAG } };
static const Field guided[] = { { "guided_regex", RADISH_REGEX },
                                { "guided_grammar", RADISH_EBNF },
                                { "guided_json", RADISH_JSON_SCHEMA },
                                { "guided_choice", RADISH_CHOICE } };
static const Field structured[] = { { "regex", RADISH_REGEX },
                                    { "grammar", RADISH_EBNF },
                                    { "json", RADISH_JSON_SCHEMA },
                                    { "choice", RADISH_CHOICE },
                                    { "json_object", RADISH_JSON_OBJECT },
                                    { "structural_tag", RADISH_STRUCTURAL_TAG } };

/* A constraint may be found once; top: the field of the body that it came with. */
typedef struct {
    RadishRequest *q;
    const char **top;
} Out;

static Status put(Params *p, const Out *out, const char *top, RadishConstraintKind kind, Str text)
{
    if (out->q->constraint != RADISH_FREE)
        return params_refuse(p, top, "asks for one constraint of the answer and %s for another: send one of them",
                             *out->top);
    out->q->constraint = kind;
    out->q->constraint_text = text.p;
    out->q->n_constraint_text = text.n;
    *out->top = top;
    return OK;
}

/* What is JSON may come as JSON or as a string that holds it. */
static Status put_value(Params *p, const Out *out, const char *top, Field f, const json_t *x)
{
    bool text = f.kind == RADISH_REGEX || f.kind == RADISH_EBNF, tag = f.kind == RADISH_STRUCTURAL_TAG;
    if (f.kind == RADISH_JSON_OBJECT) {
        if (!json_is_boolean(x)) return params_wrong(p, f.key, "true or false", x);
        return json_is_true(x) ? put(p, out, top, f.kind, STR("")) : OK;
    }
    if (f.kind == RADISH_CHOICE) {
        if (!json_is_array(x)) return params_wrong(p, f.key, "a list of strings", x);
        return put(p, out, top, f.kind, params_text(p, x));
    }
    if (json_is_string(x) && json_string_length(x) == 0) return OK; /* asks for nothing */
    if (json_is_string(x)) return put(p, out, top, f.kind, (Str){ json_string_value(x), json_string_length(x) });
    if (text) return params_wrong(p, f.key, "a string", x);
    if (!json_is_object(x) && (tag || !json_is_boolean(x)))
        return params_wrong(p, f.key, tag ? "an object, or a string of JSON" : "a schema, or a string of JSON", x);
    return put(p, out, top, f.kind, params_text(p, x));
}

static Status put_fields(Params *p, const Out *out, const char *top, const Field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const json_t *x = params_get(p, fields[i].key);
        if (x) TRY(put_value(p, out, top ? top : fields[i].key, fields[i], x));
    }
    return OK;
}

/* ---- OpenAI's ---- */

static Status read_schema_format(Params *p, const Out *out, const json_t *format)
{
    static const char *const key = "response_format";
    const json_t *named = json_object_get(format, "json_schema"), *schema = json_object_get(named, "schema");
    if (!json_is_object(named))
        return params_refuse(p, key, "of type json_schema needs json_schema: an object with name and schema");
    if (!schema || json_is_null(schema)) return params_refuse(p, key, "has no json_schema.schema");
    if (!json_is_object(schema) && !json_is_boolean(schema))
        return params_refuse(p, key, "has a json_schema.schema that is no object");
    return put(p, out, key, RADISH_JSON_SCHEMA, params_text(p, schema));
}

static Status read_response_format(Params *p, const Out *out)
{
    static const char *const key = "response_format";
    const json_t *format = params_get(p, key), *schema = json_object_get(format, "schema");
    if (!format) return OK;
    const char *type = json_string_value(json_object_get(format, "type"));
    if (!type) return params_refuse(p, key, "must be an object with a type, such as {\"type\":\"text\"}");
    if (!strcmp(type, "text")) return OK;
    if (!strcmp(type, "json_schema")) return read_schema_format(p, out, format);
    if (!strcmp(type, "json_object") && json_is_object(schema)) /* as other servers take it */
        return put(p, out, key, RADISH_JSON_SCHEMA, params_text(p, schema));
    if (!strcmp(type, "json_object")) return put(p, out, key, RADISH_JSON_OBJECT, STR(""));
    if (!strcmp(type, "structural_tag")) return put(p, out, key, RADISH_STRUCTURAL_TAG, params_text(p, format));
    return params_refuse(p, key, "has the type %.40s: use text, json_object, json_schema or structural_tag", type);
}

/* ---- vLLM's ---- */

static Status read_structured_outputs(Params *p, const Out *out)
{
    static const char *const key = "structured_outputs";
    const json_t *o = params_get(p, key);
    bool compact = false;
    if (!o) return OK;
    if (!json_is_object(o)) return params_wrong(p, key, "an object", o);
    Params inner = { .o = o, .where = "structured_outputs.", .arena = p->arena, .err = p->err };
    Status status = put_fields(&inner, out, key, structured, COUNT(structured));
    if (status == OK && params_get(&inner, "whitespace_pattern"))
        status = params_refuse(&inner, "whitespace_pattern", "is not supported: use disable_any_whitespace");
    if (status == OK) status = params_bool(&inner, "disable_any_whitespace", &compact);
    if (status != OK) p->param = key;
    if (compact) out->q->constraint_options = "{\"whitespace\":\"compact\"}";
    return status;
}

static Status read_guided(Params *p, const Out *out)
{
    if (params_get(p, "guided_whitespace_pattern"))
        return params_refuse(p, "guided_whitespace_pattern", "is not supported: leave it out");
    TRY(put_fields(p, out, NULL, guided, COUNT(guided)));
    return read_structured_outputs(p, out);
}

Status constraint_read(Params *p, bool openai, RadishRequest *q, const char **field)
{
    Out out = { q, field };
    TRY(put_fields(p, &out, NULL, plain, COUNT(plain)));
    if (openai) {
        TRY(read_response_format(p, &out));
        TRY(read_guided(p, &out));
    }
    /* options are of JSON alone */
    if (q->constraint != RADISH_JSON_SCHEMA && q->constraint != RADISH_JSON_OBJECT) q->constraint_options = NULL;
    return OK;
}
