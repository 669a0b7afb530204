/* jfilter.c - the filters and tests that chat templates use, with Jinja2's argument names and results. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "chat/jinja.h"

typedef JValue *(*Filter)(JRun *r, JValue *in, const JCall *c);

static bool flag_arg(const JCall *c, int at, const char *name, bool otherwise)
{
    const JValue *v = jeval_arg(c, at, name);
    return v ? jvalue_truth(v) : otherwise;
}

static int64_t int_arg(const JCall *c, int at, const char *name, int64_t otherwise)
{
    const JValue *v = jeval_arg(c, at, name);
    return v && v->kind == JV_INT ? v->u.i : v && v->kind == JV_BOOL ? v->u.flag : otherwise;
}

/* ---- of one value ---- */

static JValue *f_string(JRun *r, JValue *in, const JCall *c)
{
    (void)c;
    return in->kind == JV_STR ? in : jvalue_str(r->arena, jvalue_text(r, in));
}

static JValue *f_length(JRun *r, JValue *in, const JCall *c)
{
    (void)c;
    int n;
    if (in->kind == JV_STR) return jvalue_int(r->arena, (int64_t)utf8_count(in->u.s));
    if (in->kind == JV_GENERATOR) return jeval_fail(r, "object of type 'generator' has no len()");
    return jeval_items(r, in, &n) ? jvalue_int(r->arena, n) : NULL;
}

static JValue *f_tojson(JRun *r, JValue *in, const JCall *c)
{
    const JValue *indent = jeval_arg(c, 1, "indent"), *seps = jeval_arg(c, 2, "separators");
    JsonStyle style = { flag_arg(c, 0, "ensure_ascii", false), flag_arg(c, 3, "sort_keys", false), -1, STR(", "),
                        STR(": ") };
    if (indent && indent->kind == JV_INT) {
        if (indent->u.i > 64) return jeval_fail(r, "tojson: indent is too large");
        style.indent = (int)MAX(indent->u.i, 0);
        style.item_sep = STR(",");
    }
    if (seps && (seps->kind == JV_TUPLE || seps->kind == JV_LIST) && seps->u.list.n == 2) {
        style.item_sep = jvalue_text(r, seps->u.list.p[0]);
        style.key_sep = jvalue_text(r, seps->u.list.p[1]);
    }
    Buf b = { 0 };
    if (jjson_write(r, &b, in, &style) == OK) return jvalue_take(r, &b);
    buf_free(&b);
    return NULL;
}

static JValue *f_default(JRun *r, JValue *in, const JCall *c)
{
    bool falsy = flag_arg(c, 1, "boolean", false);
    if (in->kind != JV_UNDEFINED && !(falsy && !jvalue_truth(in))) return in;
    JValue *v = jeval_arg(c, 0, "default_value");
    return v ? v : jvalue_str(r->arena, (Str){ "", 0 });
}

static JValue *f_int(JRun *r, JValue *in, const JCall *c)
{
    JValue *otherwise = jeval_arg(c, 0, "default");
    int64_t i;
    double f;
    if (in->kind == JV_INT) return in;
    if (in->kind == JV_BOOL) return jvalue_int(r->arena, in->u.flag);
    if (in->kind == JV_STR && str_to_i64(str_trim(in->u.s), &i)) return jvalue_int(r->arena, i);
    bool number = in->kind == JV_FLOAT || (in->kind == JV_STR && str_to_f64(str_trim(in->u.s), &f));
    if (in->kind == JV_FLOAT) f = in->u.f;
    if (number && fabs(f) < 9e18) return jvalue_int(r->arena, (int64_t)f);
    return otherwise ? otherwise : jvalue_int(r->arena, 0);
}

static JValue *f_float(JRun *r, JValue *in, const JCall *c)
{
    JValue *otherwise = jeval_arg(c, 0, "default");
    double f;
    if (jvalue_is_number(in)) return jvalue_float(r->arena, jvalue_number(in));
    if (in->kind == JV_STR && str_to_f64(str_trim(in->u.s), &f)) return jvalue_float(r->arena, f);
    return otherwise ? otherwise : jvalue_float(r->arena, 0);
}

static JValue *f_abs(JRun *r, JValue *in, const JCall *c)
{
    (void)c;
    if (in->kind == JV_INT) return in->u.i < 0 ? jeval_binary(r, JO_SUB, jvalue_int(r->arena, 0), in) : in;
    return jvalue_is_number(in) ? jvalue_float(r->arena, fabs(jvalue_number(in)))
                                : jeval_fail(r, "abs of a '%s'", jvalue_type(in));
}

static JValue *f_round(JRun *r, JValue *in, const JCall *c)
{
    const JValue *method = jeval_arg(c, 1, "method");
    double scale = pow(10, (double)int_arg(c, 0, "precision", 0));
    if (!jvalue_is_number(in)) return jeval_fail(r, "round of a '%s'", jvalue_type(in));
    double x = jvalue_number(in) * scale;
    x = method && method->kind == JV_STR && str_is(method->u.s, "ceil")    ? ceil(x)
        : method && method->kind == JV_STR && str_is(method->u.s, "floor") ? floor(x)
                                                                           : nearbyint(x);
    return jvalue_float(r->arena, x / scale);
}

static JValue *f_safe(JRun *r, JValue *in, const JCall *c)
{
    (void)c;
    return jvalue_markup(r, in);
}

static JValue *f_method(JRun *r, JValue *in, const char *name, const JCall *c)
{
    return jmethod_call(r, f_string(r, in, c), str_of(name), c);
}

static JValue *f_upper(JRun *r, JValue *in, const JCall *c)
{
    return f_method(r, in, "upper", c);
}

static JValue *f_lower(JRun *r, JValue *in, const JCall *c)
{
    return f_method(r, in, "lower", c);
}

static JValue *f_capitalize(JRun *r, JValue *in, const JCall *c)
{
    return f_method(r, in, "capitalize", c);
}

static JValue *f_trim(JRun *r, JValue *in, const JCall *c)
{
    JCall chars = { .n = 0 };
    JValue *set = jeval_arg(c, 0, "chars");
    if (set && set->kind != JV_NONE) chars = (JCall){ .p = &set, .n = 1 };
    return f_method(r, in, "strip", &chars);
}

static JValue *f_replace(JRun *r, JValue *in, const JCall *c)
{
    JValue *args[3] = { jeval_arg(c, 0, "old"), jeval_arg(c, 1, "new"), jeval_arg(c, 2, "count") };
    if (!args[0] || !args[1]) return jeval_fail(r, "replace needs old and new");
    for (int i = 0; i < 2; i++) args[i] = f_string(r, args[i], c);
    JCall call = { .p = args, .n = args[2] && args[2]->kind == JV_INT ? 3 : 2 };
    return jmethod_call(r, f_string(r, in, c), STR("replace"), &call);
}

/* Title case of the filter: a letter after white space or one of -([{< is raised, the others lowered. */
static JValue *f_title(JRun *r, JValue *in, const JCall *c)
{
    JCall none = { 0 };
    JValue *low = f_method(r, in, "lower", &none);
    (void)c;
    if (!low) return NULL;
    Buf b = { 0 };
    bool start = true;
    for (size_t i = 0; i < low->u.s.n;) {
        int len;
        utf8_next(low->u.s.p, low->u.s.n, i, &len);
        Str ch = str_cut(low->u.s, i, i + (size_t)len);
        JValue *up = start ? jmethod_call(r, jvalue_str(r->arena, ch), STR("upper"), &none) : NULL;
        buf_str(&b, up ? up->u.s : ch);
        start = strchr(" \t\n\r\f\v-([{<", ch.p[0]) != NULL;
        i += (size_t)len;
    }
    return jvalue_take(r, &b);
}

static JValue *f_escape(JRun *r, JValue *in, const JCall *c)
{
    (void)c;
    return jvalue_escaped(r, in);
}

static JValue *f_indent(JRun *r, JValue *in, const JCall *c)
{
    const JValue *width = jeval_arg(c, 0, "width");
    bool first = flag_arg(c, 1, "first", false), blank = flag_arg(c, 2, "blank", false);
    Str pad = width && width->kind == JV_STR ? width->u.s : (Str){ 0 }, s = f_string(r, in, c)->u.s;
    int64_t n = int_arg(c, 0, "width", 4);
    if (!pad.p) {
        if (n < 0 || n > 1000) return jeval_fail(r, "indent: width is out of range");
        char *p = arena_alloc(r->arena, (size_t)n + 1);
        memset(p, ' ', (size_t)n);
        pad = (Str){ p, (size_t)n };
    }
    Buf b = { 0 };
    for (size_t at = 0, line = 0; at <= s.n; line++) {
        size_t end = str_find(s, STR("\n"), at);
        Str row = str_cut(s, at, MIN(end, s.n));
        if (end == SIZE_MAX && row.n == 0 && line > 0) break;
        if ((line == 0 ? first : true) && (blank || row.n || line == 0)) buf_str(&b, pad);
        buf_str(&b, row);
        if (end == SIZE_MAX) break;
        if (!jvalue_fits(r, &b)) return NULL;
        buf_char(&b, '\n');
        at = end + 1;
    }
    return jvalue_take(r, &b);
}

static JValue *f_wordcount(JRun *r, JValue *in, const JCall *c)
{
    JCall none = { 0 };
    JValue *words = f_method(r, in, "split", &none);
    (void)c;
    return words ? jvalue_int(r->arena, words->u.list.n) : NULL;
}

static JValue *f_format(JRun *r, JValue *in, const JCall *c)
{
    JValue *args = jvalue_list(r->arena, JV_TUPLE, c->p, c->n);
    return jeval_binary(r, JO_MOD, f_string(r, in, c), args);
}

static JValue *f_attr(JRun *r, JValue *in, const JCall *c)
{
    JValue *name = jeval_arg(c, 0, "name");
    return name && name->kind == JV_STR ? jeval_attr(r, in, name->u.s) : jeval_fail(r, "attr needs a name");
}

/* ---- of sequences ---- */

static JValue *f_list(JRun *r, JValue *in, const JCall *c)
{
    (void)c;
    int n;
    JValue **items = jeval_items(r, in, &n);
    return items ? jvalue_list(r->arena, JV_LIST, items, n) : NULL;
}

static JValue *f_join(JRun *r, JValue *in, const JCall *c)
{
    JValue *between = jeval_arg(c, 0, "d"), *path = jeval_arg(c, 1, "attribute");
    int n;
    JValue **items = jeval_items(r, in, &n);
    if (!items) return NULL;
    Str d = between ? jvalue_text(r, between) : (Str){ 0 };
    Buf b = { 0 };
    for (int i = 0; i < n; i++) {
        JValue *v = path && path->kind == JV_STR ? jeval_path(r, items[i], path->u.s) : items[i];
        if (!v || !jeval_spend(r, 1 + b.n / 1024)) break;
        if (i) buf_str(&b, d);
        buf_str(&b, jvalue_text(r, v));
        if (!jvalue_fits(r, &b)) return NULL;
    }
    return r->err->status == OK ? jvalue_take(r, &b) : (buf_free(&b), NULL);
}

static JValue *pair(JRun *r, JValue *key, JValue *value)
{
    JValue **two = ARENA_NEW(r->arena, JValue *, 2);
    two[0] = key;
    two[1] = value;
    return jvalue_list(r->arena, JV_TUPLE, two, 2);
}

static JValue *f_items(JRun *r, JValue *in, const JCall *c)
{
    (void)c;
    if (in->kind == JV_UNDEFINED) return jvalue_list(r->arena, JV_GENERATOR, NULL, 0);
    if (in->kind != JV_DICT) return jeval_fail(r, "Can only get item pairs from a mapping.");
    if (!jeval_spend(r, (size_t)in->u.dict->n)) return NULL;
    JValue **out = ARENA_NEW(r->arena, JValue *, (size_t)in->u.dict->n + 1);
    for (int i = 0; i < in->u.dict->n; i++) out[i] = pair(r, in->u.dict->p[i].key, in->u.dict->p[i].value);
    return jvalue_list(r->arena, JV_GENERATOR, out, in->u.dict->n);
}

static JValue *end_item(JRun *r, JValue *in, bool last)
{
    int n;
    JValue **items = jeval_items(r, in, &n);
    if (!items) return NULL;
    return n ? items[last ? n - 1 : 0] : jvalue_undefined(r->arena, STR("the item of an empty sequence"));
}

static JValue *f_first(JRun *r, JValue *in, const JCall *c)
{
    (void)c;
    return end_item(r, in, false);
}

static JValue *f_last(JRun *r, JValue *in, const JCall *c)
{
    (void)c;
    return end_item(r, in, true);
}

static JValue *f_reverse(JRun *r, JValue *in, const JCall *c)
{
    (void)c;
    int n;
    JValue **items = jeval_items(r, in, &n);
    if (!items) return NULL;
    JValue **out = ARENA_NEW(r->arena, JValue *, (size_t)n + 1);
    for (int i = 0; i < n; i++) out[i] = items[n - 1 - i];
    JValue *v = jvalue_list(r->arena, JV_GENERATOR, out, n);
    JCall none = { 0 };
    return in->kind == JV_STR ? f_join(r, v, &none) : v;
}

/* Text sorts without regard to case unless asked: the key is lowered. */
static JValue *sort_key(JRun *r, JValue *v, bool case_sensitive)
{
    JCall none = { 0 };
    return v->kind == JV_STR && !case_sensitive ? jmethod_call(r, v, STR("lower"), &none) : v;
}

typedef struct {
    JValue *key, *value;
} Keyed;

/* Merge sort: stable, as Python's. False after failing. */
static bool merge_sort(JRun *r, Keyed *a, Keyed *scratch, int n, bool reverse)
{
    if (n < 2) return true;
    int half = n / 2, i = 0, j = half, k = 0;
    if (!merge_sort(r, a, scratch, half, reverse) || !merge_sort(r, a + half, scratch, n - half, reverse)) return false;
    while (i < half && j < n) {
        bool later;
        if (!jeval_spend(r, 1) || !jeval_compare(r, reverse ? JO_GT : JO_LT, a[j].key, a[i].key, &later)) return false;
        scratch[k++] = later ? a[j++] : a[i++];
    }
    while (i < half) scratch[k++] = a[i++];
    while (j < n) scratch[k++] = a[j++];
    memcpy(a, scratch, (size_t)n * sizeof *a);
    return true;
}

static JValue *sorted(JRun *r, Keyed *keyed, int n, bool reverse)
{
    Keyed *scratch = ARENA_NEW(r->arena, Keyed, (size_t)n + 1);
    JValue **out = ARENA_NEW(r->arena, JValue *, (size_t)n + 1);
    if (!merge_sort(r, keyed, scratch, n, reverse)) return NULL;
    for (int i = 0; i < n; i++) out[i] = keyed[i].value;
    return jvalue_list(r->arena, JV_LIST, out, n);
}

static JValue *f_sort(JRun *r, JValue *in, const JCall *c)
{
    JValue *path = jeval_arg(c, 2, "attribute");
    bool case_sensitive = flag_arg(c, 1, "case_sensitive", false);
    int n;
    JValue **items = jeval_items(r, in, &n);
    if (!items) return NULL;
    Keyed *keyed = ARENA_NEW(r->arena, Keyed, (size_t)n + 1);
    for (int i = 0; i < n; i++) {
        JValue *v = path && path->kind == JV_STR ? jeval_path(r, items[i], path->u.s) : items[i];
        keyed[i] = (Keyed){ v ? sort_key(r, v, case_sensitive) : NULL, items[i] };
        if (!keyed[i].key) return NULL;
    }
    return sorted(r, keyed, n, flag_arg(c, 0, "reverse", false));
}

static JValue *f_dictsort(JRun *r, JValue *in, const JCall *c)
{
    const JValue *by = jeval_arg(c, 1, "by");
    bool by_value = by && by->kind == JV_STR && str_is(by->u.s, "value"),
         case_sensitive = flag_arg(c, 0, "case_sensitive", false);
    if (in->kind != JV_DICT) return jeval_fail(r, "dictsort needs a mapping, not '%s'", jvalue_type(in));
    const JDict *d = in->u.dict;
    if (!jeval_spend(r, (size_t)d->n)) return NULL;
    Keyed *keyed = ARENA_NEW(r->arena, Keyed, (size_t)d->n + 1);
    for (int i = 0; i < d->n; i++) {
        JValue *by_this = by_value ? d->p[i].value : d->p[i].key;
        keyed[i] = (Keyed){ sort_key(r, by_this, case_sensitive), pair(r, d->p[i].key, d->p[i].value) };
        if (!keyed[i].key) return NULL;
    }
    return sorted(r, keyed, d->n, flag_arg(c, 2, "reverse", false));
}

static JValue *f_unique(JRun *r, JValue *in, const JCall *c)
{
    JValue *path = jeval_arg(c, 1, "attribute");
    bool case_sensitive = flag_arg(c, 0, "case_sensitive", false);
    int n, m = 0;
    JValue **items = jeval_items(r, in, &n);
    if (!items) return NULL;
    JValue **out = ARENA_NEW(r->arena, JValue *, (size_t)n + 1), *seen = jvalue_dict(r->arena, JV_DICT);
    seen->u.dict->run = r;
    for (int i = 0; i < n; i++) {
        JValue *v = path && path->kind == JV_STR ? jeval_path(r, items[i], path->u.s) : items[i];
        if (!v || !jeval_spend(r, 1)) return NULL;
        JValue *key = sort_key(r, v, case_sensitive);
        if (!key) return NULL;
        if (key->kind == JV_LIST || key->kind == JV_DICT)
            return jeval_fail(r, "unhashable type: '%s'", jvalue_type(key));
        if (jvalue_dict_get(seen->u.dict, key)) continue;
        jvalue_dict_set(r->arena, seen->u.dict, key, key);
        out[m++] = items[i];
    }
    return jvalue_list(r->arena, JV_GENERATOR, out, m);
}

static JValue *extreme(JRun *r, JValue *in, const JCall *c, JOp op)
{
    JValue *path = jeval_arg(c, 1, "attribute"), *best = NULL, *best_key = NULL;
    int n;
    JValue **items = jeval_items(r, in, &n);
    for (int i = 0; items && i < n; i++) {
        JValue *v = path && path->kind == JV_STR ? jeval_path(r, items[i], path->u.s) : items[i],
               *key = v ? sort_key(r, v, false) : NULL;
        bool better = true;
        if (!key || (best && !jeval_compare(r, op, key, best_key, &better))) return NULL;
        if (!better) continue;
        best = items[i];
        best_key = key;
    }
    return !items ? NULL : best ? best : jvalue_undefined(r->arena, STR("the extreme of an empty sequence"));
}

static JValue *f_min(JRun *r, JValue *in, const JCall *c)
{
    return extreme(r, in, c, JO_LT);
}

static JValue *f_max(JRun *r, JValue *in, const JCall *c)
{
    return extreme(r, in, c, JO_GT);
}

static JValue *f_sum(JRun *r, JValue *in, const JCall *c)
{
    JValue *path = jeval_arg(c, 0, "attribute"), *sum = jeval_arg(c, 1, "start");
    int n;
    JValue **items = jeval_items(r, in, &n);
    if (!sum) sum = jvalue_int(r->arena, 0);
    for (int i = 0; items && sum && i < n; i++) {
        JValue *v = path && path->kind == JV_STR ? jeval_path(r, items[i], path->u.s) : items[i];
        sum = v ? jeval_binary(r, JO_ADD, sum, v) : NULL;
    }
    return items ? sum : NULL;
}

static JValue *f_batch(JRun *r, JValue *in, const JCall *c)
{
    int64_t size = int_arg(c, 0, "linecount", 0);
    JValue *fill = jeval_arg(c, 1, "fill_with");
    int n, m = 0;
    JValue **items = jeval_items(r, in, &n);
    if (!items) return NULL;
    if (size < 1) return jeval_fail(r, "batch needs a size");
    JValue **out = ARENA_NEW(r->arena, JValue *, (size_t)n + 1);
    for (int at = 0; at < n; at += (int)MIN(size, INT32_MAX / 2)) {
        int k = (int)MIN(size, n - at), whole = fill ? (int)MIN(size, 1 << 16) : k;
        JValue **row = ARENA_NEW(r->arena, JValue *, (size_t)whole + 1);
        for (int i = 0; i < whole; i++) row[i] = i < k ? items[at + i] : fill;
        out[m++] = jvalue_list(r->arena, JV_LIST, row, whole);
    }
    return jvalue_list(r->arena, JV_GENERATOR, out, m);
}

/* The arguments from `from` on, for a filter or test named by an argument. */
static JCall rest_of(const JCall *c, int from)
{
    JCall rest = *c;
    rest.p = c->p + MIN(from, c->n);
    rest.n = MAX(c->n - from, 0);
    return rest;
}

/* What map, select and reject go through: nothing of a falsy value, even of one that cannot be iterated. */
static JValue **loop_items(JRun *r, JValue *in, int *n)
{
    *n = 0;
    return jvalue_truth(in) ? jeval_items(r, in, n) : ARENA_NEW(r->arena, JValue *, 1);
}

static JValue *f_map(JRun *r, JValue *in, const JCall *c)
{
    JValue *path = jeval_arg(c, -1, "attribute"), *otherwise = jeval_arg(c, -1, "default");
    int n;
    JValue **items = loop_items(r, in, &n);
    if (!items) return NULL;
    if (!path && (c->n == 0 || c->p[0]->kind != JV_STR))
        return jeval_fail(r, "map needs a filter's name or attribute=");
    JValue **out = ARENA_NEW(r->arena, JValue *, (size_t)n + 1);
    JCall rest = rest_of(c, 1);
    for (int i = 0; i < n; i++) {
        out[i] = path ? jeval_path(r, items[i], jvalue_text(r, path)) : jfilter_apply(r, c->p[0]->u.s, items[i], &rest);
        if (out[i] && path && otherwise && out[i]->kind == JV_UNDEFINED) out[i] = otherwise;
        if (!out[i] || !jeval_spend(r, 1)) return NULL;
    }
    return jvalue_list(r->arena, JV_GENERATOR, out, n);
}

/* select, reject and their attr forms: `attr` says that the first argument is a path. */
static JValue *selected(JRun *r, JValue *in, const JCall *c, bool attr, bool keep)
{
    int n, m = 0, at = attr ? 1 : 0;
    JValue **items = loop_items(r, in, &n);
    if (!items) return NULL;
    if (attr && (c->n == 0 || c->p[0]->kind != JV_STR)) return jeval_fail(r, "selectattr needs an attribute");
    JValue **out = ARENA_NEW(r->arena, JValue *, (size_t)n + 1);
    JCall rest = rest_of(c, at + 1);
    for (int i = 0; i < n; i++) {
        JValue *v = attr ? jeval_path(r, items[i], c->p[0]->u.s) : items[i];
        if (!v || !jeval_spend(r, 1)) return NULL;
        bool holds = jvalue_truth(v);
        if (c->n > at && (c->p[at]->kind != JV_STR || !jtest_apply(r, c->p[at]->u.s, v, &rest, &holds)))
            return jeval_fail(r, "no such test");
        if (holds == keep) out[m++] = items[i];
    }
    return jvalue_list(r->arena, JV_GENERATOR, out, m);
}

static JValue *f_select(JRun *r, JValue *in, const JCall *c)
{
    return selected(r, in, c, false, true);
}

static JValue *f_reject(JRun *r, JValue *in, const JCall *c)
{
    return selected(r, in, c, false, false);
}

static JValue *f_selectattr(JRun *r, JValue *in, const JCall *c)
{
    return selected(r, in, c, true, true);
}

static JValue *f_rejectattr(JRun *r, JValue *in, const JCall *c)
{
    return selected(r, in, c, true, false);
}

/* Not in Hugging Face's environment; a few templates use it and fail there. The same error, when it is reached. */
static JValue *f_from_json(JRun *r, JValue *in, const JCall *c)
{
    (void)in;
    (void)c;
    return jeval_fail(r, "No filter named 'from_json'.");
}

/* clang-format off */
static const struct { const char *name; Filter run; } filters[] = {
    { "tojson", f_tojson }, { "length", f_length }, { "count", f_length }, { "string", f_string }, { "list", f_list }, { "join", f_join },
    { "safe", f_safe }, { "trim", f_trim }, { "items", f_items }, { "default", f_default }, { "d", f_default }, { "selectattr", f_selectattr },
    { "rejectattr", f_rejectattr }, { "select", f_select }, { "reject", f_reject }, { "map", f_map }, { "int", f_int }, { "float", f_float },
    { "upper", f_upper }, { "lower", f_lower }, { "title", f_title }, { "capitalize", f_capitalize }, { "dictsort", f_dictsort }, { "sort", f_sort },
    { "unique", f_unique }, { "replace", f_replace }, { "indent", f_indent }, { "first", f_first }, { "last", f_last }, { "min", f_min },
    { "max", f_max }, { "sum", f_sum }, { "reverse", f_reverse }, { "abs", f_abs }, { "round", f_round }, { "batch", f_batch },
    { "escape", f_escape }, { "e", f_escape }, { "format", f_format }, { "attr", f_attr }, { "wordcount", f_wordcount }, { "from_json", f_from_json },
};
/* clang-format on */

static Filter find_filter(Str name)
{
    for (size_t i = 0; i < COUNT(filters); i++) {
        if (str_is(name, filters[i].name)) return filters[i].run;
    }
    return NULL;
}

bool jfilter_known(Str name)
{
    return find_filter(name) != NULL;
}

JValue *jfilter_apply(JRun *r, Str name, JValue *in, const JCall *c)
{
    Filter f = find_filter(name);
    return f ? f(r, in, c) : jeval_fail(r, "no filter named '%.*s'", STR_FMT(name));
}

/* ---- tests ---- */

typedef enum {
    T_DEFINED,
    T_UNDEFINED,
    T_NONE,
    T_STRING,
    T_MAPPING,
    T_ITERABLE,
    T_SEQUENCE,
    T_BOOLEAN,
    T_TRUE,
    T_FALSE,
    T_NUMBER,
    T_INTEGER,
    T_FLOAT,
    T_CALLABLE,
    T_EQ,
    T_NE,
    T_LT,
    T_LE,
    T_GT,
    T_GE,
    T_IN,
    T_EVEN,
    T_ODD,
    T_DIVISIBLE,
    T_LOWER,
    T_UPPER,
    T_SAMEAS,
    T_FILTER,
    T_TEST
} TestKind;

/* clang-format off */
static const struct { const char *name; TestKind kind; } tests[] = {
    { "defined", T_DEFINED }, { "undefined", T_UNDEFINED }, { "none", T_NONE }, { "string", T_STRING }, { "mapping", T_MAPPING },
    { "iterable", T_ITERABLE }, { "sequence", T_SEQUENCE }, { "boolean", T_BOOLEAN }, { "true", T_TRUE }, { "false", T_FALSE }, { "number", T_NUMBER },
    { "integer", T_INTEGER }, { "float", T_FLOAT }, { "callable", T_CALLABLE }, { "equalto", T_EQ }, { "eq", T_EQ }, { "==", T_EQ }, { "ne", T_NE },
    { "!=", T_NE }, { "lt", T_LT }, { "lessthan", T_LT }, { "<", T_LT }, { "le", T_LE }, { "<=", T_LE }, { "gt", T_GT }, { "greaterthan", T_GT },
    { ">", T_GT }, { "ge", T_GE }, { ">=", T_GE }, { "in", T_IN }, { "even", T_EVEN }, { "odd", T_ODD }, { "divisibleby", T_DIVISIBLE },
    { "lower", T_LOWER }, { "upper", T_UPPER }, { "sameas", T_SAMEAS }, { "filter", T_FILTER }, { "test", T_TEST },
};
/* clang-format on */

static int find_test(Str name)
{
    for (size_t i = 0; i < COUNT(tests); i++) {
        if (str_is(name, tests[i].name)) return (int)tests[i].kind;
    }
    return -1;
}

bool jtest_known(Str name)
{
    return find_test(name) >= 0;
}

static bool is_sequence(const JValue *v)
{
    return v->kind == JV_STR || v->kind == JV_LIST || v->kind == JV_TUPLE || v->kind == JV_DICT ||
           v->kind == JV_UNDEFINED;
}

static bool integer_test(JRun *r, TestKind kind, const JValue *in, const JValue *arg, bool *out)
{
    int64_t by = kind == T_DIVISIBLE ? (arg && arg->kind == JV_INT ? arg->u.i : 0) : 2;
    bool number = in->kind == JV_INT || in->kind == JV_BOOL;
    if (!number || by == 0) return jeval_fail(r, "a test of whole numbers on '%s'", jvalue_type(in)) != NULL;
    int64_t rest = by == -1 ? 0 : (in->kind == JV_INT ? in->u.i : in->u.flag) % by;
    *out = (rest == 0) != (kind == T_ODD);
    return true;
}

static bool case_test(JRun *r, JValue *in, bool upper, bool *out)
{
    JCall none = { 0 };
    JValue *text = f_string(r, in, &none),
           *changed = jmethod_call(r, text, upper ? STR("isupper") : STR("islower"), &none);
    if (!changed) return false;
    *out = jvalue_truth(changed);
    return true;
}

bool jtest_apply(JRun *r, Str name, JValue *in, const JCall *c, bool *out)
{
    static const JOp ops[] = {
        [T_EQ] = JO_EQ, [T_NE] = JO_NE, [T_LT] = JO_LT, [T_LE] = JO_LE, [T_GT] = JO_GT, [T_GE] = JO_GE, [T_IN] = JO_IN
    };
    JValue *arg = jeval_arg(c, 0, NULL);
    int kind = find_test(name);
    if (kind < 0) return jeval_fail(r, "no test named '%.*s'", STR_FMT(name)) != NULL;
    if (kind >= T_EQ && kind <= T_IN)
        return arg ? jeval_compare(r, ops[kind], in, arg, out)
                   : jeval_fail(r, "test '%.*s' needs an argument", STR_FMT(name)) != NULL;
    switch ((TestKind)kind) {
    case T_DEFINED: *out = in->kind != JV_UNDEFINED; break;
    case T_UNDEFINED: *out = in->kind == JV_UNDEFINED; break;
    case T_NONE: *out = in->kind == JV_NONE; break;
    case T_STRING: *out = in->kind == JV_STR; break;
    case T_MAPPING: *out = in->kind == JV_DICT; break;
    case T_SEQUENCE: *out = is_sequence(in); break;
    case T_ITERABLE: *out = is_sequence(in) || in->kind == JV_GENERATOR || in->kind == JV_LOOP; break;
    case T_BOOLEAN: *out = in->kind == JV_BOOL; break;
    case T_TRUE: *out = in->kind == JV_BOOL && in->u.flag; break;
    case T_FALSE: *out = in->kind == JV_BOOL && !in->u.flag; break;
    case T_NUMBER: *out = jvalue_is_number(in); break;
    case T_INTEGER: *out = in->kind == JV_INT || in->kind == JV_BIGINT; break;
    case T_FLOAT: *out = in->kind == JV_FLOAT; break;
    case T_CALLABLE:
        *out = in->kind == JV_MACRO || in->kind == JV_FUNCTION || in->kind == JV_METHOD || in->kind == JV_UNDEFINED;
        break;
    case T_EVEN:
    case T_ODD:
    case T_DIVISIBLE: return integer_test(r, (TestKind)kind, in, arg, out);
    case T_LOWER:
    case T_UPPER: return case_test(r, in, kind == T_UPPER, out);
    case T_SAMEAS:
        *out = arg && (in == arg || (in->kind == arg->kind && in->kind <= JV_BOOL && jvalue_equal(r, in, arg)));
        break;
    case T_FILTER: *out = in->kind == JV_STR && jfilter_known(in->u.s); break;
    case T_TEST: *out = in->kind == JV_STR && jtest_known(in->u.s); break;
    case T_EQ:
    case T_NE:
    case T_LT:
    case T_LE:
    case T_GT:
    case T_GE:
    case T_IN: break;
    }
    return true;
}
