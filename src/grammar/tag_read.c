/* tag_read.c - members of a format: checked as they are read, refused with their pointer. See tag.h. Thread: the Build's. */
#include "grammar/tag.h"

Str tag_child(Tags *t, Str at, const char *key)
{
    return arena_printf(t->mem, "%.*s/%s", STR_FMT(at), key);
}

Str tag_item(Tags *t, Str at, size_t i)
{
    return arena_printf(t->mem, "%.*s/%zu", STR_FMT(at), i);
}

Status tag_refuse(Tags *t, Str at, const char *key, Status status, const char *why)
{
    if (build_failed(t->b)) return status;
    build_at(t->b, key ? tag_child(t, at, key) : at);
    return build_fail(t->b, status, "%s%s%s", key ? key : "", key ? ": " : "", why);
}

bool tag_known(Tags *t, json_t *j, Str at, const char *const *keys, size_t n)
{
    const char *key;
    json_t *v;
    json_object_foreach(j, key, v)
    {
        size_t i = 0;
        while (i < n && strcmp(keys[i], key) != 0) i++;
        if (i < n || strcmp(key, "type") == 0) continue;
        build_at(t->b, at);
        build_fail(t->b, E_UNSUPPORTED, "\"%.100s\" means nothing in this format", key);
        return false;
    }
    return !build_failed(t->b);
}

static Str text_of(json_t *v)
{
    return (Str){ json_string_value(v), json_string_length(v) };
}

Str tag_string(Tags *t, json_t *j, Str at, const char *key)
{
    json_t *v = json_object_get(j, key);
    if (json_is_string(v)) return text_of(v);
    tag_refuse(t, at, key, E_INVALID, v ? "must be a string" : "is missing");
    return (Str){ "", 0 };
}

bool tag_flag(Tags *t, json_t *j, Str at, const char *key, bool absent)
{
    json_t *v = json_object_get(j, key);
    if (v && !json_is_boolean(v)) tag_refuse(t, at, key, E_INVALID, "must be true or false");
    return v ? json_is_true(v) : absent;
}

uint32_t tag_count(Tags *t, json_t *j, Str at, const char *key)
{
    json_t *v = json_object_get(j, key);
    if (!v || json_is_null(v)) return BUILD_INF;
    json_int_t n = json_is_integer(v) ? json_integer_value(v) : -1;
    if (n >= 0 && n <= INT32_MAX) return (uint32_t)n;
    tag_refuse(t, at, key, E_INVALID, "must be a whole number from 0 on");
    return 0;
}

json_t *tag_list(Tags *t, json_t *j, Str at, const char *key, bool optional)
{
    json_t *v = json_object_get(j, key);
    if (!v && optional) return NULL;
    if (!json_is_array(v)) tag_refuse(t, at, key, E_INVALID, v ? "must be an array" : "is missing");
    if (v && json_array_size(v) > build_limits(t->b)->alternatives) tag_refuse(t, at, key, E_LIMIT, "is too long");
    return build_failed(t->b) ? NULL : v;
}

TagTexts tag_texts(Tags *t, json_t *j, Str at, const char *key, bool optional)
{
    json_t *list = tag_list(t, j, at, key, optional), *v;
    TagTexts out = { ARENA_NEW(t->mem, Str, json_array_size(list) + 1), 0 };
    size_t i;
    json_array_foreach(list, i, v)
    {
        if (!json_is_string(v) || json_string_length(v) == 0) {
            tag_refuse(t, tag_item(t, tag_child(t, at, key), i), NULL, E_INVALID, "must be a string with a character");
            break;
        }
        if (!build_spend(t->b, 1 + json_string_length(v) / 8)) break;
        out.p[out.n++] = text_of(v);
    }
    return out;
}

TagTexts tag_texts_and(Tags *t, TagTexts x, TagTexts y)
{
    TagTexts out = { ARENA_NEW(t->mem, Str, x.n + y.n + 1), x.n + y.n };
    if (x.n) memcpy(out.p, x.p, x.n * sizeof *x.p);
    if (y.n) memcpy(out.p + x.n, y.p, y.n * sizeof *y.p);
    return out;
}

json_t *tag_parse(Tags *t, Str text, Str at, const char *what)
{
    json_error_t why;
    size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_t *j = json_loadb(text.p, text.n, flags, &why);
    if (!j) j = json_loadb(text.p, text.n, flags | JSON_DECODE_INT_AS_REAL, &why);
    if (!j) {
        bool deep = json_error_code(&why) == json_error_stack_overflow;
        build_at(t->b, at);
        build_fail(t->b, deep ? E_LIMIT : E_INVALID, "%s is %s (%s, at byte %d)", what,
                   deep ? "nested too deeply" : "no JSON", why.text, why.position);
        return NULL;
    }
    if (t->n_held == t->cap_held) {
        t->cap_held = t->cap_held ? t->cap_held * 2 : 8;
        json_t **p = ARENA_NEW(t->mem, json_t *, t->cap_held);
        if (t->n_held) memcpy(p, t->held, t->n_held * sizeof *p);
        t->held = p;
    }
    return t->held[t->n_held++] = j;
}
