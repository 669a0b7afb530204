/* jvalue.c - values of the template engine: making, comparing, printing them as Python does. All memory is the rendering's arena. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/jsonw.h"
#include "base/utf8.h"
#include "chat/jinja.h"

enum { DICT_INDEX_FROM = 12, PRINT_DEPTH = 60, EQUAL_DEPTH = 200 };

const JValue jvalue_none = { .kind = JV_NONE };
const JValue jvalue_true = { .kind = JV_BOOL, .u.flag = true };
const JValue jvalue_false = { .kind = JV_BOOL, .u.flag = false };

static JValue *make(Arena *a, JKind kind)
{
    JValue *v = ARENA_NEW(a, JValue, 1);
    v->kind = kind;
    return v;
}

JValue *jvalue_undefined(Arena *a, Str name)
{
    JValue *v = make(a, JV_UNDEFINED);
    v->u.s = name;
    return v;
}

JValue *jvalue_bool(bool b)
{
    return (JValue *)(uintptr_t)(b ? &jvalue_true : &jvalue_false);
}

JValue *jvalue_int(Arena *a, int64_t i)
{
    JValue *v = make(a, JV_INT);
    v->u.i = i;
    return v;
}

JValue *jvalue_float(Arena *a, double f)
{
    JValue *v = make(a, JV_FLOAT);
    v->u.f = f;
    return v;
}

JValue *jvalue_str(Arena *a, Str s)
{
    JValue *v = make(a, JV_STR);
    v->u.s = s;
    return v;
}

JValue *jvalue_list(Arena *a, JKind kind, JValue **items, int n)
{
    JValue *v = make(a, kind);
    v->u.list.p = items;
    v->u.list.n = n;
    return v;
}

/* ---- dicts: pairs in order of insertion, an index over them once they are many ---- */

JValue *jvalue_dict(Arena *a, JKind kind)
{
    JValue *v = make(a, kind);
    v->u.dict = ARENA_NEW(a, JDict, 1);
    return v;
}

static uint64_t hash_key(const JValue *k, int depth)
{
    enum { MOST = 16, DEEPEST = 4 }; /* what lies beyond does not tell keys apart */
    if (k->kind == JV_STR) return hash_bytes(k->u.s.p, k->u.s.n, 1);
    if (jvalue_is_number(k)) {
        double d = jvalue_number(k);
        d = d == 0 ? 0 : d; /* -0 equals 0 */
        return hash_bytes(&d, sizeof d, 2);
    }
    uint64_t h = (uint64_t)k->kind;
    if ((k->kind != JV_TUPLE && k->kind != JV_LIST) || depth == DEEPEST) return h;
    for (int i = 0; i < k->u.list.n && i < MOST; i++) {
        uint64_t both[2] = { h, hash_key(k->u.list.p[i], depth + 1) };
        h = hash_bytes(both, sizeof both, 3);
    }
    return h;
}

static int find(const JDict *d, const JValue *key)
{
    if (!d->index) {
        for (int i = 0; i < d->n; i++) {
            if (jvalue_equal(d->run, d->p[i].key, key)) return i;
        }
        return -1;
    }
    for (uint64_t h = hash_key(key, 0);; h++) {
        int32_t i = d->index[h & (uint64_t)(d->n_index - 1)];
        if (i == 0) return -1;
        if (jvalue_equal(d->run, d->p[i - 1].key, key)) return i - 1;
    }
}

static void index_add(JDict *d, int i)
{
    uint64_t h = hash_key(d->p[i].key, 0);
    while (d->index[h & (uint64_t)(d->n_index - 1)]) h++;
    d->index[h & (uint64_t)(d->n_index - 1)] = i + 1;
}

static void grow(Arena *a, JDict *d)
{
    d->cap = d->cap ? d->cap * 2 : 4;
    JPair *p = ARENA_NEW(a, JPair, (size_t)d->cap);
    if (d->n) memcpy(p, d->p, (size_t)d->n * sizeof *p);
    d->p = p;
    if (d->cap <= DICT_INDEX_FROM) return;
    d->n_index = d->cap * 4;
    while (d->n_index & (d->n_index - 1)) d->n_index &= d->n_index - 1; /* a power of two, at least twice the pairs */
    d->index = ARENA_NEW(a, int32_t, (size_t)d->n_index);
    for (int i = 0; i < d->n; i++) index_add(d, i);
}

void jvalue_dict_set(Arena *a, JDict *d, JValue *key, JValue *value)
{
    int i = find(d, key);
    if (i >= 0) {
        d->p[i].value = value;
        return;
    }
    if (d->n == d->cap) grow(a, d);
    d->p[d->n] = (JPair){ key, value };
    if (d->index) index_add(d, d->n);
    d->n++;
}

JValue *jvalue_dict_get(const JDict *d, const JValue *key)
{
    int i = find(d, key);
    return i < 0 ? NULL : d->p[i].value;
}

JValue *jvalue_dict_find(const JDict *d, Str key)
{
    JValue k = { .kind = JV_STR, .u.s = key };
    return jvalue_dict_get(d, &k);
}

/* ---- questions ---- */

bool jvalue_is_number(const JValue *v)
{
    return v->kind == JV_INT || v->kind == JV_FLOAT || v->kind == JV_BOOL || v->kind == JV_BIGINT;
}

double jvalue_number(const JValue *v)
{
    double x = 0;
    if (v->kind == JV_INT) return (double)v->u.i;
    if (v->kind == JV_FLOAT) return v->u.f;
    if (v->kind == JV_BOOL) return v->u.flag;
    str_to_f64(v->u.s, &x);
    return x;
}

bool jvalue_truth(const JValue *v)
{
    switch (v->kind) {
    case JV_UNDEFINED:
    case JV_NONE: return false;
    case JV_BOOL: return v->u.flag;
    case JV_INT: return v->u.i != 0;
    case JV_FLOAT: return v->u.f != 0;
    case JV_STR: return v->u.s.n > 0;
    case JV_LIST:
    case JV_TUPLE: return v->u.list.n > 0;
    case JV_DICT: return v->u.dict->n > 0;
    case JV_BIGINT:
    case JV_GENERATOR:
    case JV_NAMESPACE:
    case JV_MACRO:
    case JV_FUNCTION:
    case JV_METHOD:
    case JV_LOOP: return true;
    }
    return false;
}

static bool equal(JRun *r, const JValue *a, const JValue *b, int depth);

static bool equal_lists(JRun *r, const JValue *a, const JValue *b, int depth)
{
    if (a->u.list.n != b->u.list.n) return false;
    for (int i = 0; i < a->u.list.n; i++) {
        if (!equal(r, a->u.list.p[i], b->u.list.p[i], depth + 1)) return false;
    }
    return true;
}

static bool equal_dicts(JRun *r, const JDict *a, const JDict *b, int depth)
{
    if (a->n != b->n) return false;
    for (int i = 0; i < a->n; i++) {
        const JValue *other = jvalue_dict_get(b, a->p[i].key);
        if (!other || !equal(r, a->p[i].value, other, depth + 1)) return false;
    }
    return true;
}

/* Loops can build values that are deep, and far larger to walk through than to keep, as parts are shared. */
static bool equal(JRun *r, const JValue *a, const JValue *b, int depth)
{
    if (a == b && a->kind != JV_FLOAT) return true;
    if (jvalue_is_number(a) && jvalue_is_number(b)) {
        if (a->kind == JV_INT && b->kind == JV_INT) return a->u.i == b->u.i;
        if (a->kind == JV_BIGINT && b->kind == JV_BIGINT) return str_eq(a->u.s, b->u.s);
        return jvalue_number(a) == jvalue_number(b);
    }
    if (a->kind != b->kind) return false;
    if (depth > EQUAL_DEPTH) return r && jeval_fail(r, "values are nested too deeply to compare") != NULL;
    if (r && depth > 0 && !jeval_spend(r, 1)) return false;
    switch (a->kind) {
    case JV_UNDEFINED:
    case JV_NONE: return true;
    case JV_STR: return str_eq(a->u.s, b->u.s);
    case JV_LIST:
    case JV_TUPLE: return equal_lists(r, a, b, depth);
    case JV_DICT: return equal_dicts(r, a->u.dict, b->u.dict, depth);
    case JV_BOOL:
    case JV_INT:
    case JV_BIGINT:
    case JV_FLOAT:
    case JV_GENERATOR:
    case JV_NAMESPACE:
    case JV_MACRO:
    case JV_FUNCTION:
    case JV_METHOD:
    case JV_LOOP: return false;
    }
    return false;
}

bool jvalue_equal(JRun *r, const JValue *a, const JValue *b)
{
    return equal(r, a, b, 0);
}

const char *jvalue_type(const JValue *v)
{
    static const char *const names[] = { "Undefined", "NoneType", "bool",   "int",        "int",  "float",
                                         "str",       "list",     "tuple",  "generator",  "dict", "Namespace",
                                         "Macro",     "function", "method", "LoopContext" };
    return names[v->kind];
}

/* ---- printing ---- */

/* Python's idea of what repr shows as it is: not controls, separators other than space, private or unassigned marks. */
static bool printable(int32_t cp)
{
    if (cp < 0x20 || (cp >= 0x7F && cp <= 0xA0) || cp == 0xAD) return false;
    if (cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200F) || (cp >= 0x2028 && cp <= 0x202F) ||
        (cp >= 0x205F && cp <= 0x206F))
        return false;
    if (cp == 0x3000 || cp == 0xFEFF || (cp >= 0xE000 && cp <= 0xF8FF) || (cp >= 0xFFF9 && cp <= 0xFFFB)) return false;
    return cp < 0xE0000;
}

static void repr_char(Buf *out, int32_t cp, char quote)
{
    char bytes[4];
    if (cp == quote || cp == '\\')
        buf_printf(out, "\\%c", (char)cp);
    else if (cp == '\n')
        buf_str(out, STR("\\n"));
    else if (cp == '\r')
        buf_str(out, STR("\\r"));
    else if (cp == '\t')
        buf_str(out, STR("\\t"));
    else if (printable(cp))
        buf_add(out, bytes, (size_t)utf8_put(bytes, (uint32_t)cp));
    else if (cp < 0x100)
        buf_printf(out, "\\x%02x", (unsigned)cp);
    else if (cp < 0x10000)
        buf_printf(out, "\\u%04x", (unsigned)cp);
    else
        buf_printf(out, "\\U%08x", (unsigned)cp);
}

static void repr_str(Buf *out, Str s)
{
    bool single = s.n && memchr(s.p, '\'', s.n), both = s.n && memchr(s.p, '"', s.n);
    char quote = single && !both ? '"' : '\'';
    buf_char(out, quote);
    for (size_t i = 0; i < s.n;) {
        int len;
        int32_t cp = utf8_next(s.p, s.n, i, &len);
        repr_char(out, cp < 0 ? UTF8_BAD : cp, quote);
        i += (size_t)len;
    }
    buf_char(out, quote);
}

static bool print_items(JRun *r, Buf *out, const JValue *v, int depth)
{
    bool is_tuple = v->kind == JV_TUPLE;
    buf_char(out, is_tuple ? '(' : '[');
    for (int i = 0; i < v->u.list.n; i++) {
        if (i) buf_add(out, ", ", 2);
        if (!jvalue_print(r, out, v->u.list.p[i], true, depth + 1)) return false;
    }
    if (is_tuple && v->u.list.n == 1) buf_char(out, ',');
    buf_char(out, is_tuple ? ')' : ']');
    return true;
}

static bool print_dict(JRun *r, Buf *out, const JDict *d, int depth)
{
    buf_char(out, '{');
    for (int i = 0; i < d->n; i++) {
        if (i) buf_add(out, ", ", 2);
        if (!jvalue_print(r, out, d->p[i].key, true, depth + 1)) return false;
        buf_add(out, ": ", 2);
        if (!jvalue_print(r, out, d->p[i].value, true, depth + 1)) return false;
    }
    buf_char(out, '}');
    return true;
}

bool jvalue_print(JRun *r, Buf *out, const JValue *v, bool repr, int depth)
{
    char text[40];
    if (depth > PRINT_DEPTH) return jeval_fail(r, "a value is nested too deeply to print") != NULL;
    if (out->n > r->out_max) return jeval_fail(r, "a text is over %zu bytes", r->out_max) != NULL;
    if (!jeval_spend(r, 1)) return false;
    switch (v->kind) {
    case JV_UNDEFINED:
        if (repr) buf_str(out, STR("Undefined"));
        return true;
    case JV_NONE: buf_str(out, STR("None")); return true;
    case JV_BOOL: buf_str(out, v->u.flag ? STR("True") : STR("False")); return true;
    case JV_INT: jsonw_i64(out, v->u.i); return true;
    case JV_BIGINT: buf_str(out, v->u.s); return true;
    case JV_FLOAT: buf_add(out, text, (size_t)jsonw_repr(text, v->u.f)); return true;
    case JV_STR:
        if (repr)
            repr_str(out, v->u.s);
        else
            buf_str(out, v->u.s);
        return true;
    case JV_LIST:
    case JV_TUPLE: return print_items(r, out, v, depth);
    case JV_DICT: return print_dict(r, out, v->u.dict, depth);
    case JV_NAMESPACE:
        buf_str(out, STR("<Namespace "));
        if (!print_dict(r, out, v->u.dict, depth)) return false;
        buf_char(out, '>');
        return true;
    case JV_GENERATOR:
    case JV_MACRO:
    case JV_FUNCTION:
    case JV_METHOD:
    case JV_LOOP: buf_printf(out, "<%s object>", jvalue_type(v)); return true;
    }
    return true;
}

Str jvalue_text(JRun *r, const JValue *v)
{
    if (v->kind == JV_STR) return v->u.s;
    Buf b = { 0 };
    jvalue_print(r, &b, v, false, 0);
    Str s = arena_str(r->arena, buf_view(&b));
    buf_free(&b);
    return s;
}

bool jvalue_fits(JRun *r, Buf *b)
{
    if (b->n <= r->out_max) return true;
    buf_free(b);
    return jeval_fail(r, "a text is over %zu bytes", r->out_max) != NULL;
}

JValue *jvalue_take(JRun *r, Buf *b)
{
    JValue *v = jeval_spend(r, b->n / 16) ? jvalue_str(r->arena, arena_str(r->arena, buf_view(b))) : NULL;
    buf_free(b);
    return v;
}

/* ---- markup ---- */

JValue *jvalue_markup(JRun *r, JValue *v)
{
    if (v->kind == JV_STR && v->markup) return v;
    JValue *m = jvalue_str(r->arena, jvalue_text(r, v));
    m->markup = true;
    return m;
}

JValue *jvalue_escaped(JRun *r, JValue *v)
{
    static const char marks[] = "&<>\"'";
    static const char *const to[] = { "&amp;", "&lt;", "&gt;", "&#34;", "&#39;" };
    if (v->kind == JV_STR && v->markup) return v;
    Str s = jvalue_text(r, v);
    if (!jeval_spend(r, s.n / 8)) return v; /* the rendering has failed */
    Buf b = { 0 };
    for (size_t i = 0; i < s.n; i++) {
        const char *hit = s.p[i] ? strchr(marks, s.p[i]) : NULL;
        if (hit)
            buf_str(&b, str_of(to[hit - marks]));
        else
            buf_char(&b, s.p[i]);
    }
    JValue *out = jvalue_str(r->arena, arena_str(r->arena, buf_view(&b)));
    buf_free(&b);
    out->markup = true;
    return out;
}
