/* tag.c - structural tags as a front end: the two JSON forms, the table of formats, and those that are made of other formats.
 *
 * {"type": "structural_tag", "format": {...}} is XGrammar's form; {"type": "structural_tag", "structures": [{begin, schema, end}...],
 * "triggers": [...]} is SGLang's older one, which says no more than triggered_tags over JSON schemas. A member that a format does
 * not know is refused: what cannot be enforced must not look accepted. Options: those of JSON schemas. See tag.h.
 * Thread: the Build's. */
#include "grammar/tag.h"

#include "grammar/schema.h"

/* ---- leaves ---- */

static Sym const_string(Tags *t, json_t *j, Str at, const TagEnds *ends)
{
    static const char *const keys[] = { "value" };
    (void)ends;
    if (!tag_known(t, j, at, keys, COUNT(keys))) return SYM_NOTHING;
    Str value = tag_string(t, j, at, keys[0]);
    return build_failed(t->b) ? SYM_NOTHING : tag_mark(t->b, value);
}

static Sym regex(Tags *t, json_t *j, Str at, const TagEnds *ends)
{
    static const char *const keys[] = { "pattern", "excludes" };
    (void)ends;
    if (!tag_known(t, j, at, keys, COUNT(keys))) return SYM_NOTHING;
    Str pattern = tag_string(t, j, at, keys[0]);
    TagTexts excludes = tag_texts(t, j, at, keys[1], true);
    build_at(t->b, tag_child(t, at, keys[0]));
    Expr e = build_failed(t->b) ? EXPR_NOTHING : pattern_build(t->b, pattern, 0, SPELL_UTF8);
    if (excludes.n) e = expr_and(t->b, e, expr_text_without(t->b, excludes.p, excludes.n, SPELL_UTF8));
    return build_failed(t->b) ? SYM_NOTHING : rule_lexeme(t->b, e);
}

static Sym grammar(Tags *t, json_t *j, Str at, const TagEnds *ends)
{
    static const char *const keys[] = { "grammar" };
    (void)ends;
    if (!tag_known(t, j, at, keys, COUNT(keys))) return SYM_NOTHING;
    Str text = tag_string(t, j, at, keys[0]);
    if (build_failed(t->b)) return SYM_NOTHING;
    build_under(t->b, tag_child(t, at, keys[0]));
    Sym out = ebnf_sym(t->b, text, STR("root"));
    build_under(t->b, STR(""));
    return out;
}

static Sym schema_at(Tags *t, json_t *schema, Str at, SchemaHow how)
{
    if (json_is_string(schema))
        schema = tag_parse(t, (Str){ json_string_value(schema), json_string_length(schema) }, at, "the schema");
    if (build_failed(t->b)) return SYM_NOTHING;
    build_under(t->b, at);
    how.options = t->options;
    Sym out = schema_sym(t->b, schema, &how);
    build_under(t->b, STR(""));
    return out;
}

static Sym json_schema(Tags *t, json_t *j, Str at, const TagEnds *ends)
{
    static const char *const keys[] = { "json_schema", "style", "any_order", "max_whitespace_cnt" };
    SchemaHow how = { .max_space = BUILD_INF };
    (void)ends;
    if (!tag_known(t, j, at, keys, COUNT(keys))) return SYM_NOTHING;
    json_t *schema = json_object_get(j, keys[0]);
    if (!json_is_object(schema) && !json_is_boolean(schema))
        tag_refuse(t, at, keys[0], E_INVALID, schema ? "must be a schema" : "is missing");
    Str style = json_object_get(j, keys[1]) ? tag_string(t, j, at, keys[1]) : STR("json");
    how.style = schema_style_find(style);
    if (!build_failed(t->b) && !how.style) tag_refuse(t, at, keys[1], E_UNSUPPORTED, "no style of this name is known");
    if (tag_flag(t, j, at, keys[2], false))
        tag_refuse(t, at, keys[2], E_UNSUPPORTED, "keys come in the order of the schema");
    how.max_space = tag_count(t, j, at, keys[3]);
    return build_failed(t->b) ? SYM_NOTHING : schema_at(t, schema, tag_child(t, at, keys[0]), how);
}

static Sym qwen_xml(Tags *t, json_t *j, Str at, const TagEnds *ends)
{
    static const char *const keys[] = { "json_schema" };
    SchemaHow how = { .max_space = BUILD_INF };
    (void)ends;
    if (!tag_known(t, j, at, keys, COUNT(keys))) return SYM_NOTHING;
    json_t *schema = json_object_get(j, keys[0]);
    if (!json_is_object(schema) && !json_is_boolean(schema))
        tag_refuse(t, at, keys[0], E_INVALID, schema ? "must be a schema" : "is missing");
    how.style = schema_style_find(STR("qwen_xml"));
    return build_failed(t->b) ? SYM_NOTHING : schema_at(t, schema, tag_child(t, at, keys[0]), how);
}

/* ---- formats made of formats ---- */

static Sym elements(Tags *t, json_t *j, Str at, const TagEnds *ends, Sym (*join)(Build *, const Sym *, size_t))
{
    static const char *const keys[] = { "elements" };
    if (!tag_known(t, j, at, keys, COUNT(keys))) return SYM_NOTHING;
    json_t *list = tag_list(t, j, at, keys[0], false), *v;
    Sym *s = ARENA_NEW(t->mem, Sym, json_array_size(list) + 1);
    Str place = tag_child(t, at, keys[0]);
    size_t n = 0, i;
    if (list && json_array_size(list) == 0) tag_refuse(t, at, keys[0], E_INVALID, "must have an element");
    json_array_foreach(list, i, v)
    {
        if (build_failed(t->b)) break;
        s[n++] = tag_format(t, v, tag_item(t, place, i), ends);
    }
    return build_failed(t->b) ? SYM_NOTHING : join(t->b, s, n);
}

static Sym sequence(Tags *t, json_t *j, Str at, const TagEnds *ends)
{
    return elements(t, j, at, ends, rule_seq);
}

static Sym either(Tags *t, json_t *j, Str at, const TagEnds *ends)
{
    return elements(t, j, at, ends, rule_alt);
}

static Sym times(Tags *t, json_t *j, Str at, const TagEnds *ends, uint32_t min, uint32_t max)
{
    json_t *content = json_object_get(j, "content");
    if (!content) tag_refuse(t, at, "content", E_INVALID, "is missing");
    Sym one = build_failed(t->b) ? SYM_NOTHING : tag_format(t, content, tag_child(t, at, "content"), ends);
    build_at(t->b, at);
    return build_failed(t->b) ? SYM_NOTHING : rule_repeat(t->b, one, min, max);
}

static const char *const content_key[] = { "content" };

static Sym optional(Tags *t, json_t *j, Str at, const TagEnds *ends)
{
    return tag_known(t, j, at, content_key, 1) ? times(t, j, at, ends, 0, 1) : SYM_NOTHING;
}

static Sym plus(Tags *t, json_t *j, Str at, const TagEnds *ends)
{
    return tag_known(t, j, at, content_key, 1) ? times(t, j, at, ends, 1, BUILD_INF) : SYM_NOTHING;
}

static Sym star(Tags *t, json_t *j, Str at, const TagEnds *ends)
{
    return tag_known(t, j, at, content_key, 1) ? times(t, j, at, ends, 0, BUILD_INF) : SYM_NOTHING;
}

static Sym repeat(Tags *t, json_t *j, Str at, const TagEnds *ends)
{
    static const char *const keys[] = { "min", "max", "content" };
    if (!tag_known(t, j, at, keys, COUNT(keys))) return SYM_NOTHING;
    json_t *most = json_object_get(j, "max");
    bool open = json_is_integer(most) && json_integer_value(most) == -1;
    uint32_t min = tag_count(t, j, at, "min"), max = open ? BUILD_INF : tag_count(t, j, at, "max");
    if (!json_object_get(j, "min")) tag_refuse(t, at, "min", E_INVALID, "is missing");
    if (!most) tag_refuse(t, at, "max", E_INVALID, "is missing");
    if (min > max) tag_refuse(t, at, "max", E_INVALID, "is below min");
    return build_failed(t->b) ? SYM_NOTHING : times(t, j, at, ends, min, max);
}

/* ---- the table ---- */

static const struct {
    const char *type;
    Sym (*build)(Tags *t, json_t *j, Str at, const TagEnds *ends);
} formats[] = {
    { "const_string", const_string },
    { "json_schema", json_schema },
    { "qwen_xml_parameter", qwen_xml },
    { "regex", regex },
    { "grammar", grammar },
    { "any_text", tag_any_text },
    { "sequence", sequence },
    { "or", either },
    { "optional", optional },
    { "plus", plus },
    { "star", star },
    { "repeat", repeat },
    { "tag", tag_pair },
    { "triggered_tags", tag_triggered },
    { "tags_with_separator", tag_separated },
    { "dispatch", tag_dispatch },
    { "token", tag_token },
    { "exclude_token", tag_exclude_token },
    { "any_tokens", tag_any_tokens },
    { "token_triggered_tags", tag_token_triggered },
    { "token_dispatch", tag_token_dispatch },
};

Sym tag_format(Tags *t, json_t *j, Str at, const TagEnds *ends)
{
    const char *type = json_string_value(json_object_get(j, "type"));
    Sym out = SYM_NOTHING;
    if (!build_spend(t->b, 10)) return SYM_NOTHING;
    if (!json_is_object(j)) {
        tag_refuse(t, at, NULL, E_INVALID, "a format must be an object");
    } else if (!type) {
        tag_refuse(t, at, "type", E_INVALID, json_object_get(j, "type") ? "must be a string" : "is missing");
    } else if (t->depth >= build_limits(t->b)->nesting) {
        tag_refuse(t, at, NULL, E_LIMIT, "formats are nested too deeply");
    } else {
        size_t i = 0;
        while (i < COUNT(formats) && strcmp(formats[i].type, type) != 0) i++;
        t->depth++;
        build_at(t->b, at);
        if (i < COUNT(formats))
            out = formats[i].build(t, j, at, ends);
        else
            tag_refuse(t, at, "type", E_UNSUPPORTED, "no format of this name is known");
        t->depth--;
    }
    return build_failed(t->b) ? SYM_NOTHING : out;
}

/* ---- SGLang's older form ---- */

/* {"begin", "schema", "end"} */
static bool structure(Tags *t, json_t *j, Str at, TagParts *out)
{
    static const char *const keys[] = { "begin", "schema", "end" };
    *out = (TagParts){ .id = -1 };
    if (!json_is_object(j)) tag_refuse(t, at, NULL, E_INVALID, "must be an object");
    if (build_failed(t->b) || !tag_known(t, j, at, keys, COUNT(keys))) return false;
    out->begin = tag_string(t, j, at, "begin");
    Str end = tag_string(t, j, at, "end");
    json_t *schema = json_object_get(j, "schema");
    if (!schema) tag_refuse(t, at, "schema", E_INVALID, "is missing");
    if (build_failed(t->b)) return false;
    Sym both[2] = { schema_at(t, schema, tag_child(t, at, "schema"),
                              (SchemaHow){ .max_space = BUILD_INF, .style = &schema_style_json }),
                    tag_mark(t->b, end) };
    out->inner = build_failed(t->b) ? SYM_NOTHING : rule_seq(t->b, both, 2);
    return !build_failed(t->b);
}

static Sym structures(Tags *t, json_t *j)
{
    static const char *const keys[] = { "structures", "triggers" };
    if (!tag_known(t, j, STR(""), keys, COUNT(keys))) return SYM_NOTHING;
    json_t *list = tag_list(t, j, STR(""), keys[0], false), *v;
    TagParts *p = ARENA_NEW(t->mem, TagParts, json_array_size(list) + 1);
    TagTriggered how = { .tags = p, .at_tags = STR("/structures"), .at = STR(""), .loop = true };
    size_t i;
    how.triggers = tag_texts(t, j, STR(""), keys[1], false);
    if (list && json_array_size(list) == 0) tag_refuse(t, STR(""), keys[0], E_INVALID, "must have an element");
    json_array_foreach(list, i, v)
    {
        if (build_failed(t->b) || !structure(t, v, tag_item(t, how.at_tags, i), &p[how.n++])) return SYM_NOTHING;
    }
    return build_failed(t->b) ? SYM_NOTHING : tag_after_triggers(t, &how);
}

/* ---- the front end ---- */

static Sym document(Tags *t, json_t *j)
{
    static const char *const keys[] = { "format" };
    static const TagEnds none = { 0 };
    json_t *type = json_object_get(j, "type"), *format = json_object_get(j, "format");
    if (!json_is_object(j)) tag_refuse(t, STR(""), NULL, E_INVALID, "a structural tag must be an object");
    if (type && (!json_is_string(type) || strcmp(json_string_value(type), "structural_tag") != 0))
        tag_refuse(t, STR(""), "type", E_INVALID, "must be \"structural_tag\"");
    if (!format && !json_object_get(j, "structures"))
        tag_refuse(t, STR(""), NULL, E_INVALID, "a structural tag has a format, or structures and triggers");
    if (build_failed(t->b)) return SYM_NOTHING;
    if (!format) return structures(t, j);
    return tag_known(t, j, STR(""), keys, COUNT(keys)) ? tag_format(t, format, STR("/format"), &none) : SYM_NOTHING;
}

Sym tag_front(Build *b, const GrammarSpec *spec)
{
    Tags t = { .b = b, .mem = build_arena(b), .options = spec->options };
    json_t *j = tag_parse(&t, spec->text, STR(""), "the structural tag");
    Sym out = build_failed(b) ? SYM_NOTHING : document(&t, j);
    for (size_t i = 0; i < t.n_held; i++) json_decref(t.held[i]);
    if (build_failed(b)) return SYM_NOTHING;
    build_at(b, STR(""));
    if (out == SYM_NOTHING) build_fail(b, E_INVALID, "nothing can satisfy this structural tag");
    return out;
}
