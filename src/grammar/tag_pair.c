/* tag_pair.c - tags: what they begin with, their content, what they end with; and lists of tags with a separator. See tag.h.
 * Thread: the Build's. */
#include "grammar/tag.h"

/* What a tag may end with. */
typedef struct {
    TagTexts texts; /* without the empty one */
    bool empty, has_special;
    int32_t id; /* -1: texts */
    Sym sym;
} End;

/* {"type": "token", "token": id or text}; -1: failed. */
static int32_t token_of(Tags *t, json_t *v, Str at)
{
    static const char *const keys[] = { "token" };
    json_t *type = json_object_get(v, "type");
    if (!json_is_string(type) || strcmp(json_string_value(type), "token") != 0)
        tag_refuse(t, at, NULL, E_INVALID, "must be a string or a token");
    if (build_failed(t->b) || !tag_known(t, v, at, keys, COUNT(keys))) return -1;
    return tag_token_id(t, json_object_get(v, "token"), tag_child(t, at, "token"));
}

/* The empty text is noted, not kept; a text with a special token in it is as well an end of token sequences. */
static void take_text(Tags *t, Str s, TagEnds *mine, End *e)
{
    int32_t id;
    size_t end;
    if (s.n == 0) {
        e->empty = true;
        return;
    }
    e->texts.p[e->texts.n++] = s;
    if (tag_mark_text(t->b, s, &id, &end) == s.n) return;
    e->has_special = true;
    if (tag_mark_text(t->b, s, &id, &end) == 0) mine->ids.p[mine->ids.n++] = id;
}

static void read_end(Tags *t, json_t *j, Str at, TagEnds *mine, End *e)
{
    json_t *v = json_object_get(j, "end"), *item;
    size_t n = json_is_array(v) ? json_array_size(v) : 1, i;
    Str place = tag_child(t, at, "end");
    *e = (End){ .id = -1, .texts.p = ARENA_NEW(t->mem, Str, n + 1) };
    mine->ids.p = ARENA_NEW(t->mem, int32_t, n + 1);
    if (!v) tag_refuse(t, at, "end", E_INVALID, "is missing");
    if (json_is_object(v)) {
        mine->ids.p[mine->ids.n++] = e->id = token_of(t, v, place);
        if (!build_failed(t->b)) e->sym = rule_token(t->b, &e->id, 1);
        return;
    }
    if (json_is_string(v)) take_text(t, (Str){ json_string_value(v), json_string_length(v) }, mine, e);
    if (json_is_array(v) && n == 0) tag_refuse(t, at, "end", E_INVALID, "must have a string");
    json_array_foreach(v, i, item)
    {
        if (!json_is_string(item)) tag_refuse(t, tag_item(t, place, i), NULL, E_INVALID, "must be a string");
        if (build_failed(t->b)) return;
        take_text(t, (Str){ json_string_value(item), json_string_length(item) }, mine, e);
    }
    if (v && !json_is_array(v) && !json_is_string(v))
        tag_refuse(t, at, "end", E_INVALID, "must be a string, an array of strings or a token");
    if (build_failed(t->b)) return;
    Sym *alt = ARENA_NEW(t->mem, Sym, n + 1);
    for (i = 0; i < e->texts.n; i++) alt[i] = tag_mark(t->b, e->texts.p[i]);
    if (e->empty) alt[i++] = SYM_EMPTY;
    e->sym = rule_alt(t->b, alt, i);
    mine->texts = e->texts;
}

static bool is_any_text(json_t *content)
{
    json_t *type = json_object_get(content, "type");
    return json_is_string(type) && strcmp(json_string_value(type), "any_text") == 0;
}

bool tag_parts(Tags *t, json_t *j, Str at, const TagEnds *outer, TagParts *out)
{
    static const char *const keys[] = { "begin", "content", "end" };
    json_t *begin = json_object_get(j, "begin"), *content = json_object_get(j, "content");
    TagEnds mine = { 0 };
    End e;
    *out = (TagParts){ .id = -1 };
    if (!json_is_object(j)) tag_refuse(t, at, NULL, E_INVALID, "a tag must be an object");
    if (build_failed(t->b) || !tag_known(t, j, at, keys, COUNT(keys))) return false;
    out->is_token = json_is_object(begin);
    if (out->is_token)
        out->id = token_of(t, begin, tag_child(t, at, "begin"));
    else
        out->begin = tag_string(t, j, at, "begin");
    read_end(t, j, at, &mine, &e);
    if (!content) tag_refuse(t, at, "content", E_INVALID, "is missing");
    if (build_failed(t->b)) return false;
    Str place = tag_child(t, at, "content");
    if (is_any_text(content) && e.id < 0 && !e.empty && !e.has_special) {
        out->inner = tag_any_text_until(t, content, place, e.texts);
        return !build_failed(t->b);
    }
    if (e.empty) { /* what ends the tag around may follow at once */
        mine.texts = tag_texts_and(t, mine.texts, outer->texts);
        int32_t *ids = ARENA_NEW(t->mem, int32_t, mine.ids.n + outer->ids.n + 1);
        if (mine.ids.n) memcpy(ids, mine.ids.p, mine.ids.n * sizeof *ids);
        if (outer->ids.n) memcpy(ids + mine.ids.n, outer->ids.p, outer->ids.n * sizeof *ids);
        mine.ids = (TagIds){ ids, mine.ids.n + outer->ids.n };
    }
    Sym inner = tag_format(t, content, place, &mine);
    out->inner = build_failed(t->b) ? SYM_NOTHING : rule_seq(t->b, (Sym[]){ inner, e.sym }, 2);
    return !build_failed(t->b);
}

static Sym whole(Tags *t, const TagParts *p)
{
    Sym begin = p->is_token ? rule_token(t->b, &p->id, 1) : tag_mark(t->b, p->begin);
    return rule_seq(t->b, (Sym[]){ begin, p->inner }, 2);
}

Sym tag_pair(Tags *t, json_t *j, Str at, const TagEnds *outer)
{
    TagParts p;
    return tag_parts(t, j, at, outer, &p) ? whole(t, &p) : SYM_NOTHING;
}

TagParts *tag_parts_list(Tags *t, json_t *j, Str at, const TagEnds *outer, size_t *n)
{
    json_t *list = tag_list(t, j, at, "tags", false), *v;
    TagParts *p = ARENA_NEW(t->mem, TagParts, json_array_size(list) + 1);
    Str place = tag_child(t, at, "tags");
    size_t i;
    *n = 0;
    if (list && json_array_size(list) == 0) tag_refuse(t, at, "tags", E_INVALID, "must have a tag");
    json_array_foreach(list, i, v)
    {
        Str here = tag_item(t, place, i);
        json_t *type = json_object_get(v, "type");
        if (type && (!json_is_string(type) || strcmp(json_string_value(type), "tag") != 0))
            tag_refuse(t, here, "type", E_INVALID, "must be \"tag\"");
        if (build_failed(t->b) || !tag_parts(t, v, here, outer, &p[i])) return NULL;
        *n = i + 1;
    }
    return build_failed(t->b) ? NULL : p;
}

Sym tag_separated(Tags *t, json_t *j, Str at, const TagEnds *outer)
{
    static const char *const keys[] = { "tags", "separator", "at_least_one", "stop_after_first" };
    size_t n = 0;
    if (!tag_known(t, j, at, keys, COUNT(keys))) return SYM_NOTHING;
    Sym mark = tag_mark(t->b, tag_string(t, j, at, keys[1]));
    bool must = tag_flag(t, j, at, keys[2], false), stop = tag_flag(t, j, at, keys[3], false);
    TagParts *p = tag_parts_list(t, j, at, outer, &n);
    if (!p) return SYM_NOTHING;
    Sym *alt = ARENA_NEW(t->mem, Sym, n + 1);
    for (size_t i = 0; i < n; i++) alt[i] = whole(t, &p[i]);
    Sym one = rule_alt(t->b, alt, n), more = rule_seq(t->b, (Sym[]){ mark, one }, 2);
    Sym all = stop ? one : rule_seq(t->b, (Sym[]){ one, rule_repeat(t->b, more, 0, BUILD_INF) }, 2);
    return must ? all : rule_repeat(t->b, all, 0, 1);
}
