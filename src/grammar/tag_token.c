/* tag_token.c - formats over token ids: one token, any but some, and free tokens in which a trigger must be followed by what it asks
 * for. The end ids are never among "any". See tag.h. Thread: the Build's. */
#include <stdlib.h>

#include "grammar/inside.h"
#include "grammar/tag.h"

int32_t tag_token_id(Tags *t, json_t *v, Str at)
{
    int64_t id = -1;
    if (json_is_integer(v))
        id = json_integer_value(v);
    else if (json_is_string(v))
        id = grammar_vocab_find(t->b->vocab, (Str){ json_string_value(v), json_string_length(v) });
    if (id >= 0 && id < grammar_vocab_size(t->b->vocab)) return (int32_t)id;
    build_at(t->b, at);
    if (json_is_string(v))
        build_fail(t->b, E_INVALID, "\"%.100s\" is no token of this model", json_string_value(v));
    else
        build_fail(t->b, E_INVALID, "a token is an id of the vocabulary, or its text");
    return -1;
}

/* A list of tokens, and the ends of the tag around. */
static TagIds ids_of(Tags *t, json_t *j, Str at, const char *key, const TagEnds *ends)
{
    json_t *list = tag_list(t, j, at, key, true), *v;
    TagIds out = { ARENA_NEW(t->mem, int32_t, json_array_size(list) + ends->ids.n + 1), 0 };
    Str place = tag_child(t, at, key);
    size_t i;
    json_array_foreach(list, i, v)
    {
        if (!build_spend(t->b, 4)) break;
        out.p[out.n++] = tag_token_id(t, v, tag_item(t, place, i));
    }
    for (i = 0; i < ends->ids.n; i++) out.p[out.n++] = ends->ids.p[i];
    return out;
}

Sym tag_token(Tags *t, json_t *j, Str at, const TagEnds *ends)
{
    static const char *const keys[] = { "token" };
    (void)ends;
    if (!tag_known(t, j, at, keys, COUNT(keys))) return SYM_NOTHING;
    int32_t id = tag_token_id(t, json_object_get(j, "token"), tag_child(t, at, "token"));
    return build_failed(t->b) ? SYM_NOTHING : rule_token(t->b, &id, 1);
}

Sym tag_exclude_token(Tags *t, json_t *j, Str at, const TagEnds *ends)
{
    static const char *const keys[] = { "exclude_tokens" };
    if (!tag_known(t, j, at, keys, COUNT(keys))) return SYM_NOTHING;
    TagIds not = ids_of(t, j, at, keys[0], ends);
    return build_failed(t->b) ? SYM_NOTHING : rule_any_token_but(t->b, not .p, not .n);
}

Sym tag_any_tokens(Tags *t, json_t *j, Str at, const TagEnds *ends)
{
    static const char *const keys[] = { "exclude_tokens", "max_tokens" };
    if (!tag_known(t, j, at, keys, COUNT(keys))) return SYM_NOTHING;
    TagIds not = ids_of(t, j, at, keys[0], ends);
    uint32_t most = tag_count(t, j, at, "max_tokens");
    build_at(t->b, tag_child(t, at, "max_tokens"));
    if (build_failed(t->b)) return SYM_NOTHING;
    return rule_repeat(t->b, rule_any_token_but(t->b, not .p, not .n), 0, most);
}

/* ---- triggers ---- */

typedef struct {
    int32_t id;
    Sym after;
} Way;

/* Tokens but the triggers and those excluded; then a trigger with what it asks for, and so on; or the end. */
static Sym free_tokens(Tags *t, const Way *way, size_t n, TagIds excludes, bool loop)
{
    Build *b = t->b;
    Sym *alt = ARENA_NEW(t->mem, Sym, n + 1), rule = loop ? rule_new(b, STR("tokens")) : SYM_EMPTY;
    int32_t *not = ARENA_NEW(t->mem, int32_t, n + excludes.n + 1);
    if (build_failed(b)) return SYM_NOTHING;
    for (size_t i = 0; i < n; i++) {
        not [i] = way[i].id;
        alt[i] = rule_seq(b, (Sym[]){ rule_token(b, &way[i].id, 1), way[i].after, rule }, 3);
    }
    if (excludes.n) memcpy(not +n, excludes.p, excludes.n * sizeof *not );
    alt[n] = SYM_EMPTY;
    Sym any = rule_repeat(b, rule_any_token_but(b, not, n + excludes.n), 0, BUILD_INF);
    Sym all = rule_seq(b, (Sym[]){ any, rule_alt(b, alt, n + 1) }, 2);
    if (loop) rule_define(b, rule, all);
    return loop ? rule : all;
}

static bool has_id(TagIds ids, int32_t id)
{
    for (size_t i = 0; i < ids.n; i++)
        if (ids.p[i] == id) return true;
    return false;
}

Sym tag_token_triggered(Tags *t, json_t *j, Str at, const TagEnds *ends)
{
    static const char *const keys[] = { "trigger_tokens", "tags", "exclude_tokens", "at_least_one",
                                        "stop_after_first" };
    static const TagEnds none = { 0 };
    size_t n = 0;
    if (!tag_known(t, j, at, keys, COUNT(keys)) || !tag_list(t, j, at, keys[0], false)) return SYM_NOTHING;
    TagIds triggers = ids_of(t, j, at, keys[0], &none), excludes = ids_of(t, j, at, keys[2], ends);
    bool must = tag_flag(t, j, at, keys[3], false), stop = tag_flag(t, j, at, keys[4], false);
    TagParts *p = tag_parts_list(t, j, at, ends, &n);
    if (!p) return SYM_NOTHING;
    Way *way = ARENA_NEW(t->mem, Way, n + triggers.n + 1);
    Sym *first = ARENA_NEW(t->mem, Sym, n + 1);
    for (size_t i = 0; i < n && !build_failed(t->b); i++) {
        Str place = tag_item(t, tag_child(t, at, "tags"), i);
        if (!p[i].is_token)
            tag_refuse(t, place, "begin", E_INVALID, "must be a token here");
        else if (!has_id(triggers, p[i].id))
            tag_refuse(t, place, "begin", E_INVALID, "is none of trigger_tokens");
        way[i] = (Way){ p[i].id, p[i].inner };
        first[i] = rule_seq(t->b, (Sym[]){ rule_token(t->b, &p[i].id, 1), p[i].inner }, 2);
    }
    for (size_t i = 0; i < triggers.n; i++) way[n + i] = (Way){ triggers.p[i], SYM_NOTHING };
    if (build_failed(t->b)) return SYM_NOTHING;
    Sym one = rule_alt(t->b, first, n);
    if (must && stop) return one;
    Sym all = free_tokens(t, way, n + triggers.n, excludes, !stop);
    return must ? rule_seq(t->b, (Sym[]){ one, all }, 2) : all;
}

Sym tag_token_dispatch(Tags *t, json_t *j, Str at, const TagEnds *ends)
{
    static const char *const keys[] = { "rules", "loop", "exclude_tokens" };
    if (!tag_known(t, j, at, keys, COUNT(keys))) return SYM_NOTHING;
    json_t *list = tag_list(t, j, at, keys[0], false), *v;
    bool loop = tag_flag(t, j, at, keys[1], true);
    TagIds excludes = ids_of(t, j, at, keys[2], ends);
    Way *way = ARENA_NEW(t->mem, Way, json_array_size(list) + 1);
    size_t n = 0, i;
    json_array_foreach(list, i, v)
    {
        Str place = tag_item(t, tag_child(t, at, keys[0]), i);
        if (build_failed(t->b)) return SYM_NOTHING;
        if (!json_is_array(v) || json_array_size(v) != 2)
            tag_refuse(t, place, NULL, E_INVALID, "must be a token and a format");
        else
            way[n].id = tag_token_id(t, json_array_get(v, 0), tag_item(t, place, 0));
        if (!build_failed(t->b)) way[n++].after = tag_format(t, json_array_get(v, 1), tag_item(t, place, 1), ends);
    }
    return build_failed(t->b) ? SYM_NOTHING : free_tokens(t, way, n, excludes, loop);
}
