/* jfunction.c - the global functions of templates: raise_exception, strftime_now, range, namespace, dict. */
#include <stdio.h>
#include <time.h>

#include "chat/jinja.h"

enum { RANGE_MAX = 100000 };

static JValue *raise_exception(JRun *r, const JCall *c)
{
    const JValue *what = jeval_arg(c, 0, "message");
    if (r->err->status == OK) { /* the template's own words, without a line: they are for the client */
        Str text = what ? jvalue_text(r, what) : STR("the chat template refused the conversation");
        fail(r->err, E_INVALID, "%.*s", STR_FMT(text));
    }
    return NULL;
}

static JValue *strftime_now(JRun *r, const JCall *c)
{
    const JValue *format = jeval_arg(c, 0, "format");
    char text[512], pattern[128];
    if (!format || format->kind != JV_STR || format->u.s.n >= sizeof pattern)
        return jeval_fail(r, "strftime_now needs a format");
    snprintf(pattern, sizeof pattern, "%.*s", STR_FMT(format->u.s));
    time_t t = (time_t)r->now_s;
    struct tm tm;
    gmtime_r(&t, &tm);
    size_t n = strftime(text, sizeof text, pattern, &tm);
    return jvalue_str(r->arena, arena_str(r->arena, (Str){ text, n }));
}

static JValue *range(JRun *r, const JCall *c)
{
    int64_t v[3] = { 0, 0, 1 };
    if (c->n < 1 || c->n > 3) return jeval_fail(r, "range takes one to three numbers");
    for (int i = 0; i < c->n; i++) {
        if (c->p[i]->kind != JV_INT) return jeval_fail(r, "range needs whole numbers, not '%s'", jvalue_type(c->p[i]));
        v[c->n == 1 ? 1 : i] = c->p[i]->u.i;
    }
    if (v[2] == 0) return jeval_fail(r, "range: step is 0");
    bool far = v[0] > (int64_t)1 << 40 || v[0] < -((int64_t)1 << 40) || v[1] > (int64_t)1 << 40 ||
               v[1] < -((int64_t)1 << 40) || v[2] > (int64_t)1 << 40 || v[2] < -((int64_t)1 << 40);
    int64_t n = far ? RANGE_MAX + 1 : v[2] > 0 ? (v[1] - v[0] + v[2] - 1) / v[2] : (v[0] - v[1] - v[2] - 1) / -v[2];
    if (n > RANGE_MAX) return jeval_fail(r, "range too big: at most %d", RANGE_MAX);
    n = MAX(n, 0);
    if (!jeval_spend(r, (size_t)n)) return NULL;
    JValue **items = ARENA_NEW(r->arena, JValue *, (size_t)n + 1);
    for (int64_t i = 0; i < n; i++) items[i] = jvalue_int(r->arena, v[0] + i * v[2]);
    return jvalue_list(r->arena, JV_LIST, items, (int)n);
}

/* namespace(a=1) and dict(a=1), both also of another dict. */
static JValue *collect(JRun *r, const JCall *c, JKind kind)
{
    JValue *d = jvalue_dict(r->arena, kind);
    d->u.dict->run = r;
    if (c->n && c->p[0]->kind == JV_DICT) {
        const JDict *from = c->p[0]->u.dict;
        if (!jeval_spend(r, (size_t)from->n)) return NULL;
        for (int i = 0; i < from->n; i++) jvalue_dict_set(r->arena, d->u.dict, from->p[i].key, from->p[i].value);
    } else if (c->n) {
        return jeval_fail(r, "namespace and dict take a mapping or named values");
    }
    for (int i = 0; i < c->n_named; i++)
        jvalue_dict_set(r->arena, d->u.dict, jvalue_str(r->arena, c->named[i].name), c->named_values[i]);
    return d;
}

JValue *jfunction_call(JRun *r, Str name, const JCall *c)
{
    if (str_is(name, "raise_exception")) return raise_exception(r, c);
    if (str_is(name, "strftime_now")) return strftime_now(r, c);
    if (str_is(name, "range")) return range(r, c);
    return collect(r, c, str_is(name, "dict") ? JV_DICT : JV_NAMESPACE);
}

void jfunction_globals(JRun *r, JEnv *globals)
{
    static const char *const names[] = { "raise_exception", "strftime_now", "range", "namespace", "dict" };
    for (size_t i = 0; i < COUNT(names); i++) {
        JValue *f = ARENA_NEW(r->arena, JValue, 1);
        f->kind = JV_FUNCTION;
        f->u.s = str_of(names[i]);
        jeval_set(r, globals, f->u.s, f);
    }
}
