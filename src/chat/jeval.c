/* jeval.c - runs a syntax tree. Every expression returns a value or NULL after jeval_fail; every node costs fuel.
 *
 * Scopes are chained environments: a loop body and a macro get a new one, an if does not; a macro's parent is where it was
 * defined, so it never sees its caller's variables. */
#include <math.h>
#include <stdio.h>

#include "base/utf8.h"
#include "chat/jinja.h"

enum { EVAL_DEPTH = 400, ITEMS_MAX = 1 << 20 };

typedef struct {
    Str name;
    JValue *value;
} Var;

struct JEnv {
    JEnv *parent;
    Var *vars;
    int n, cap;
};

static JValue *eval(JRun *r, JEnv *env, const JNode *n);
static bool run_list(JRun *r, JEnv *env, const JNodes *list);

JValue *jeval_fail(JRun *r, const char *fmt, ...)
{
    if (r->err->status != OK) return NULL; /* the first failure is the one to report */
    va_list args;
    va_start(args, fmt);
    char text[400];
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    fail(r->err, E_INVALID, "chat template line %d: %s", r->line, text);
    return NULL;
}

bool jeval_spend(JRun *r, size_t amount)
{
    r->fuel -= (int64_t)MIN(amount, (size_t)1 << 40);
    if (r->fuel >= 0) return true;
    if (r->err->status == OK) fail(r->err, E_LIMIT, "chat template line %d: the template takes too long", r->line);
    return false;
}

/* ---- variables ---- */

JEnv *jeval_env(Arena *a, JEnv *parent)
{
    JEnv *e = ARENA_NEW(a, JEnv, 1);
    e->parent = parent;
    return e;
}

static Var *lookup(const JEnv *env, Str name)
{
    for (; env; env = env->parent) {
        for (int i = 0; i < env->n; i++) {
            if (str_eq(env->vars[i].name, name)) return &env->vars[i];
        }
    }
    return NULL;
}

void jeval_set(JRun *r, JEnv *env, Str name, JValue *value)
{
    for (int i = 0; i < env->n; i++) {
        if (!str_eq(env->vars[i].name, name)) continue;
        env->vars[i].value = value;
        return;
    }
    if (env->n == env->cap) {
        env->cap = env->cap ? env->cap * 2 : 4;
        Var *more = ARENA_NEW(r->arena, Var, (size_t)env->cap);
        if (env->n) memcpy(more, env->vars, (size_t)env->n * sizeof *more);
        env->vars = more;
    }
    env->vars[env->n++] = (Var){ name, value };
}

/* ---- output ---- */

static bool emit(JRun *r, Str s)
{
    if (!jeval_spend(r, s.n / 16)) return false;
    if (s.n > r->out_max - MIN(r->out->n, r->out_max)) {
        if (r->err->status == OK) fail(r->err, E_LIMIT, "chat template: the prompt is over %zu bytes", r->out_max);
        return false;
    }
    buf_str(r->out, s);
    return true;
}

/* Runs a body with its output caught as text. NULL after failing. */
static JValue *capture(JRun *r, JEnv *env, const JNodes *body)
{
    Buf caught = { 0 }, *outer = r->out;
    r->out = &caught;
    bool good = run_list(r, env, body);
    r->out = outer;
    JValue *v = good ? jvalue_str(r->arena, arena_str(r->arena, buf_view(&caught))) : NULL;
    buf_free(&caught);
    return v;
}

/* ---- iteration ---- */

static JValue **chars_of(JRun *r, Str s, int *n)
{
    JValue **items = ARENA_NEW(r->arena, JValue *, s.n + 1);
    *n = 0;
    for (size_t i = 0; i < s.n;) {
        int len;
        utf8_next(s.p, s.n, i, &len);
        items[(*n)++] = jvalue_str(r->arena, str_cut(s, i, i + (size_t)len));
        i += (size_t)len;
    }
    return items;
}

JValue **jeval_items(JRun *r, JValue *v, int *n)
{
    *n = 0;
    switch (v->kind) {
    case JV_UNDEFINED: return ARENA_NEW(r->arena, JValue *, 1);
    case JV_LIST:
    case JV_TUPLE:
    case JV_GENERATOR:
        *n = v->u.list.n;
        if (!jeval_spend(r, (size_t)*n / 8)) return NULL;
        return v->u.list.p ? v->u.list.p : ARENA_NEW(r->arena, JValue *, 1);
    case JV_STR:
        if (!jeval_spend(r, v->u.s.n)) return NULL;
        return chars_of(r, v->u.s, n);
    case JV_DICT: {
        if (!jeval_spend(r, (size_t)v->u.dict->n / 8)) return NULL;
        JValue **keys = ARENA_NEW(r->arena, JValue *, (size_t)v->u.dict->n + 1);
        for (int i = 0; i < v->u.dict->n; i++) keys[i] = v->u.dict->p[i].key;
        *n = v->u.dict->n;
        return keys;
    }
    case JV_NONE:
    case JV_BOOL:
    case JV_INT:
    case JV_BIGINT:
    case JV_FLOAT:
    case JV_NAMESPACE:
    case JV_MACRO:
    case JV_FUNCTION:
    case JV_METHOD:
    case JV_LOOP: break;
    }
    jeval_fail(r, "'%s' object is not iterable", jvalue_type(v));
    return NULL;
}

/* ---- attributes and items ---- */

static JValue *loop_attr(JRun *r, JLoop *l, Str name)
{
    Arena *a = r->arena;
    if (str_is(name, "index")) return jvalue_int(a, l->at + 1);
    if (str_is(name, "index0")) return jvalue_int(a, l->at);
    if (str_is(name, "revindex")) return jvalue_int(a, l->n - l->at);
    if (str_is(name, "revindex0")) return jvalue_int(a, l->n - l->at - 1);
    if (str_is(name, "first")) return jvalue_bool(l->at == 0);
    if (str_is(name, "last")) return jvalue_bool(l->at == l->n - 1);
    if (str_is(name, "length")) return jvalue_int(a, l->n);
    if (str_is(name, "depth")) return jvalue_int(a, l->depth);
    if (str_is(name, "depth0")) return jvalue_int(a, l->depth - 1);
    if (str_is(name, "previtem")) return l->at > 0 ? l->items[l->at - 1] : jvalue_undefined(a, name);
    if (str_is(name, "nextitem")) return l->at + 1 < l->n ? l->items[l->at + 1] : jvalue_undefined(a, name);
    return NULL;
}

static JValue *method_of(JRun *r, JValue *self, Str name)
{
    JValue *m = ARENA_NEW(r->arena, JValue, 1);
    m->kind = JV_METHOD;
    m->u.method.self = self;
    m->u.method.name = name;
    return m;
}

JValue *jeval_attr(JRun *r, JValue *of, Str name)
{
    if (of->kind == JV_UNDEFINED) return jeval_fail(r, "'%.*s' is undefined", STR_FMT(of->u.s));
    if (str_starts(name, STR("__"))) return jeval_fail(r, "access to attribute '%.*s' is unsafe", STR_FMT(name));
    if (of->kind == JV_LOOP) {
        JValue *v = loop_attr(r, of->u.loop, name);
        if (v) return v;
    }
    JValue *found = of->kind == JV_NAMESPACE ? jvalue_dict_find(of->u.dict, name) : NULL;
    if (found) return found;
    if (jmethod_known(of, name)) return method_of(r, of, name);
    if (of->kind == JV_DICT) found = jvalue_dict_find(of->u.dict, name);
    if (of->kind == JV_MACRO && str_is(name, "name")) return jvalue_str(r->arena, of->u.macro.node->name);
    return found ? found : jvalue_undefined(r->arena, name);
}

static JValue *char_at(JRun *r, Str s, int64_t i)
{
    int64_t n = (int64_t)utf8_count(s);
    if (i < 0) i += n;
    if (!jeval_spend(r, s.n / 8)) return NULL;
    if (i < 0 || i >= n) return jvalue_undefined(r->arena, STR("index"));
    size_t at = 0;
    int len = 0;
    for (int64_t k = 0; k <= i; k++) {
        at += (size_t)len;
        utf8_next(s.p, s.n, at, &len);
    }
    return jvalue_str(r->arena, str_cut(s, at, at + (size_t)len));
}

JValue *jeval_item(JRun *r, JValue *of, JValue *key)
{
    if (of->kind == JV_UNDEFINED) return jeval_fail(r, "'%.*s' is undefined", STR_FMT(of->u.s));
    if (of->kind == JV_DICT) {
        JValue *v = jvalue_dict_get(of->u.dict, key);
        if (v) return v;
    }
    bool sequence = of->kind == JV_LIST || of->kind == JV_TUPLE;
    if ((sequence || of->kind == JV_STR) && (key->kind == JV_INT || key->kind == JV_BOOL)) {
        int64_t i = key->kind == JV_INT ? key->u.i : key->u.flag;
        if (of->kind == JV_STR) return char_at(r, of->u.s, i);
        if (i < 0) i += of->u.list.n;
        return i >= 0 && i < of->u.list.n ? of->u.list.p[i] : jvalue_undefined(r->arena, STR("index"));
    }
    if (key->kind == JV_STR) return jeval_attr(r, of, key->u.s);
    return jvalue_undefined(r->arena, STR("item"));
}

JValue *jeval_path(JRun *r, JValue *of, Str path)
{
    while (of && path.n) {
        size_t dot = str_find(path, STR("."), 0);
        Str step = str_cut(path, 0, MIN(dot, path.n));
        int64_t i;
        JValue *key = str_to_i64(step, &i) ? jvalue_int(r->arena, i) : jvalue_str(r->arena, step);
        of = of->kind == JV_UNDEFINED ? of : jeval_item(r, of, key);
        path = dot == SIZE_MAX ? (Str){ 0 } : str_cut(path, dot + 1, path.n);
    }
    return of;
}

/* A bound of a slice as Python clips it. */
static int64_t bound(const JValue *v, int64_t n, int64_t missing, bool backwards)
{
    if (!v || v->kind == JV_NONE) return missing;
    int64_t i = v->kind == JV_INT ? v->u.i : v->u.flag;
    if (i < 0) i += n;
    int64_t low = backwards ? -1 : 0, high = backwards ? n - 1 : n;
    return i < low ? low : i > high ? high : i;
}

static JValue *slice(JRun *r, JValue *of, JValue *part[3])
{
    for (int i = 0; i < 3; i++) {
        if (part[i] && part[i]->kind != JV_INT && part[i]->kind != JV_BOOL && part[i]->kind != JV_NONE)
            return jeval_fail(r, "slice indices must be integers or None");
    }
    int64_t step = part[2] && part[2]->kind != JV_NONE ? (part[2]->kind == JV_INT ? part[2]->u.i : part[2]->u.flag) : 1;
    if (step == 0) return jeval_fail(r, "slice step cannot be zero");
    if (of->kind == JV_UNDEFINED) return jeval_fail(r, "'%.*s' is undefined", STR_FMT(of->u.s));
    if (of->kind != JV_STR && of->kind != JV_LIST && of->kind != JV_TUPLE)
        return jeval_fail(r, "'%s' object is not sliceable", jvalue_type(of));
    int n;
    JValue **items = jeval_items(r, of, &n);
    if (!items) return NULL;
    int64_t begin = bound(part[0], n, step > 0 ? 0 : n - 1, step < 0),
            end = bound(part[1], n, step > 0 ? n : -1, step < 0);
    JValue **out = ARENA_NEW(r->arena, JValue *, (size_t)n + 1);
    int m = 0;
    for (int64_t i = begin; step > 0 ? i < end : i > end; i += step) {
        out[m++] = items[i];
        if (step > n || step < -(int64_t)n) break; /* one element, and no overflow of i */
    }
    if (of->kind != JV_STR) return jvalue_list(r->arena, of->kind, out, m);
    Buf text = { 0 };
    for (int i = 0; i < m; i++) buf_str(&text, out[i]->u.s);
    return jvalue_take(r, &text);
}

/* ---- operators ---- */

static JValue *concat(JRun *r, Str a, Str b)
{
    if (!jeval_spend(r, (a.n + b.n) / 16)) return NULL;
    char *p = arena_alloc(r->arena, a.n + b.n + 1);
    if (a.n) memcpy(p, a.p, a.n);
    if (b.n) memcpy(p + a.n, b.p, b.n);
    return jvalue_str(r->arena, (Str){ p, a.n + b.n });
}

static JValue *add_texts(JRun *r, JValue *a, JValue *b)
{
    if (!a->markup && !b->markup) return concat(r, a->u.s, b->u.s);
    JValue *v = concat(r, jvalue_escaped(r, a)->u.s, jvalue_escaped(r, b)->u.s);
    return v ? jvalue_markup(r, v) : NULL;
}

static JValue *integers(JRun *r, JOp op, int64_t x, int64_t y, bool *done)
{
    int64_t z = 0;
    bool over = false;
    *done = true;
    if ((op == JO_DIV || op == JO_FLOORDIV || op == JO_MOD) && y == 0) return jeval_fail(r, "division by zero");
    if (op == JO_ADD)
        over = __builtin_add_overflow(x, y, &z);
    else if (op == JO_SUB)
        over = __builtin_sub_overflow(x, y, &z);
    else if (op == JO_MUL)
        over = __builtin_mul_overflow(x, y, &z);
    else if (op == JO_FLOORDIV && y != -1)
        z = x / y - ((x % y != 0) && ((x < 0) != (y < 0)));
    else if (op == JO_FLOORDIV)
        over = __builtin_sub_overflow((int64_t)0, x, &z);
    else if (op == JO_MOD)
        z = y == -1 ? 0 : x % y + (x % y != 0 && (x % y < 0) != (y < 0) ? y : 0);
    else
        *done = false;
    if (over) return jeval_fail(r, "an integer is too large");
    return *done ? jvalue_int(r->arena, z) : NULL;
}

static JValue *reals(JRun *r, JOp op, double x, double y, bool both_int)
{
    if ((op == JO_DIV || op == JO_FLOORDIV || op == JO_MOD) && y == 0) return jeval_fail(r, "division by zero");
    double z = op == JO_ADD        ? x + y
               : op == JO_SUB      ? x - y
               : op == JO_MUL      ? x * y
               : op == JO_DIV      ? x / y
               : op == JO_FLOORDIV ? floor(x / y)
                                   : pow(x, y);
    if (op == JO_MOD) z = x - y * floor(x / y);
    if (op == JO_POW && both_int && y >= 0 && fabs(z) < 9e15) return jvalue_int(r->arena, (int64_t)z);
    return jvalue_float(r->arena, z);
}

static int64_t integer_of(const JValue *v)
{
    return v->kind == JV_INT ? v->u.i : v->u.flag;
}

static JValue *arithmetic(JRun *r, JOp op, JValue *a, JValue *b)
{
    bool ints = (a->kind == JV_INT || a->kind == JV_BOOL) && (b->kind == JV_INT || b->kind == JV_BOOL), done = false;
    JValue *v = ints ? integers(r, op, integer_of(a), integer_of(b), &done) : NULL;
    return done ? v : reals(r, op, jvalue_number(a), jvalue_number(b), ints);
}

static JValue *repeat(JRun *r, JValue *what, int64_t times)
{
    int64_t n = times < 0 ? 0 : times;
    size_t each = what->kind == JV_STR ? what->u.s.n : (size_t)what->u.list.n, all;
    if (!mul_size(each, (size_t)n, &all) || all > ITEMS_MAX || !jeval_spend(r, all))
        return jeval_fail(r, "a repetition is too long");
    if (what->kind == JV_STR) {
        char *p = arena_alloc(r->arena, all + 1);
        for (int64_t i = 0; i < n && each; i++) memcpy(p + (size_t)i * each, what->u.s.p, each);
        return jvalue_str(r->arena, (Str){ p, all });
    }
    JValue **p = ARENA_NEW(r->arena, JValue *, all + 1);
    for (size_t i = 0; i < all; i++) p[i] = what->u.list.p[i % each];
    return jvalue_list(r->arena, what->kind, p, (int)all);
}

static JValue *join_lists(JRun *r, const JValue *a, const JValue *b)
{
    int n = a->u.list.n + b->u.list.n;
    if (n > ITEMS_MAX || !jeval_spend(r, (size_t)n)) return jeval_fail(r, "a list is too long");
    JValue **p = ARENA_NEW(r->arena, JValue *, (size_t)n + 1);
    if (a->u.list.n) memcpy(p, a->u.list.p, (size_t)a->u.list.n * sizeof *p);
    if (b->u.list.n) memcpy(p + a->u.list.n, b->u.list.p, (size_t)b->u.list.n * sizeof *p);
    return jvalue_list(r->arena, a->kind, p, n);
}

JValue *jeval_binary(JRun *r, JOp op, JValue *a, JValue *b)
{
    if (op == JO_CONCAT) return concat(r, jvalue_text(r, a), jvalue_text(r, b));
    const JValue *missing = a->kind == JV_UNDEFINED ? a : b->kind == JV_UNDEFINED ? b : NULL;
    if (op == JO_MOD && a->kind == JV_STR) {
        JCall c = { .p = &b, .n = 1 };
        return jmethod_call(r, a, STR("%"), &c);
    }
    if (missing) return jeval_fail(r, "'%.*s' is undefined", STR_FMT(missing->u.s));
    if (jvalue_is_number(a) && jvalue_is_number(b)) return arithmetic(r, op, a, b);
    if (op == JO_ADD && a->kind == JV_STR && b->kind == JV_STR) return add_texts(r, a, b);
    if (op == JO_ADD && a->kind == b->kind && (a->kind == JV_LIST || a->kind == JV_TUPLE)) return join_lists(r, a, b);
    bool a_seq = a->kind == JV_STR || a->kind == JV_LIST || a->kind == JV_TUPLE,
         b_seq = b->kind == JV_STR || b->kind == JV_LIST || b->kind == JV_TUPLE;
    if (op == JO_MUL && a_seq && b->kind == JV_INT) return repeat(r, a, b->u.i);
    if (op == JO_MUL && b_seq && a->kind == JV_INT) return repeat(r, b, a->u.i);
    return jeval_fail(r, "unsupported operand types: '%s' and '%s'", jvalue_type(a), jvalue_type(b));
}

static bool contains(JRun *r, JValue *in, JValue *what, bool *out)
{
    *out = false;
    if (in->kind == JV_STR) {
        if (what->kind != JV_STR) {
            jeval_fail(r, "'in <string>' requires string as left operand, not %s", jvalue_type(what));
            return false;
        }
        *out = str_find(in->u.s, what->u.s, 0) != SIZE_MAX;
        return jeval_spend(r, in->u.s.n / 8);
    }
    if (in->kind == JV_DICT) {
        *out = jvalue_dict_get(in->u.dict, what) != NULL;
        return true;
    }
    int n;
    JValue **items = jeval_items(r, in, &n);
    if (!items || !jeval_spend(r, (size_t)n)) return false;
    for (int i = 0; i < n && !*out; i++) *out = jvalue_equal(r, items[i], what);
    return r->err->status == OK;
}

static int compare_text(Str a, Str b)
{
    size_t n = MIN(a.n, b.n);
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

/* Order of two values; false after failing: types without an order. */
static bool order(JRun *r, JValue *a, JValue *b, int *out)
{
    if (jvalue_is_number(a) && jvalue_is_number(b)) {
        double x = jvalue_number(a), y = jvalue_number(b);
        *out = (x > y) - (x < y);
        return true;
    }
    if (a->kind == JV_STR && b->kind == JV_STR) {
        *out = compare_text(a->u.s, b->u.s);
        return true;
    }
    if (a->kind == b->kind && (a->kind == JV_LIST || a->kind == JV_TUPLE)) {
        int i = 0, n = MIN(a->u.list.n, b->u.list.n);
        while (i < n && jvalue_equal(r, a->u.list.p[i], b->u.list.p[i])) i++;
        if (r->err->status != OK || !jeval_spend(r, (size_t)i)) return false;
        if (i < n && ++r->depth > EVAL_DEPTH) return jeval_fail(r, "lists are nested too deeply to order") != NULL;
        if (i < n) {
            bool good = order(r, a->u.list.p[i], b->u.list.p[i], out);
            r->depth--;
            return good;
        }
        *out = (a->u.list.n > b->u.list.n) - (a->u.list.n < b->u.list.n);
        return true;
    }
    const JValue *missing = a->kind == JV_UNDEFINED ? a : b->kind == JV_UNDEFINED ? b : NULL;
    if (missing)
        jeval_fail(r, "'%.*s' is undefined", STR_FMT(missing->u.s));
    else
        jeval_fail(r, "'<' not supported between instances of '%s' and '%s'", jvalue_type(a), jvalue_type(b));
    return false;
}

bool jeval_compare(JRun *r, JOp op, JValue *a, JValue *b, bool *out)
{
    int c = 0;
    if (op == JO_EQ || op == JO_NE) {
        *out = jvalue_equal(r, a, b) == (op == JO_EQ);
        return r->err->status == OK;
    }
    if (op == JO_IN || op == JO_NOT_IN) {
        if (!contains(r, b, a, out)) return false;
        *out = *out == (op == JO_IN);
        return true;
    }
    if (!order(r, a, b, &c)) return false;
    *out = op == JO_LT ? c < 0 : op == JO_LE ? c <= 0 : op == JO_GT ? c > 0 : c >= 0;
    return true;
}

static JValue *comparisons(JRun *r, JEnv *env, const JNode *n)
{
    JValue *left = eval(r, env, n->kids.p[0]);
    for (int i = 1; left && i < n->kids.n; i++) {
        bool holds;
        JValue *right = eval(r, env, n->kids.p[i]);
        if (!right || !jeval_compare(r, n->ops[i - 1], left, right, &holds)) return NULL;
        if (!holds) return jvalue_bool(false);
        left = right;
    }
    return left ? jvalue_bool(true) : NULL;
}

/* ---- calls ---- */

JValue *jeval_arg(const JCall *c, int at, const char *name)
{
    if (at >= 0 && at < c->n) return c->p[at];
    for (int i = 0; name && i < c->n_named; i++) {
        if (str_is(c->named[i].name, name)) return c->named_values[i];
    }
    return NULL;
}

static bool arguments(JRun *r, JEnv *env, const JArgs *args, JCall *c)
{
    *c = (JCall){ .n = args->list.n, .n_named = args->n_named, .named = args->named };
    c->p = ARENA_NEW(r->arena, JValue *, (size_t)c->n + 1);
    c->named_values = ARENA_NEW(r->arena, JValue *, (size_t)c->n_named + 1);
    for (int i = 0; i < c->n; i++) {
        if (!(c->p[i] = eval(r, env, args->list.p[i]))) return false;
    }
    for (int i = 0; i < c->n_named; i++) {
        if (!(c->named_values[i] = eval(r, env, args->named[i].value))) return false;
    }
    return true;
}

static JValue *keyword(const JCall *c, Str name)
{
    for (int i = 0; i < c->n_named; i++) {
        if (str_eq(c->named[i].name, name)) return c->named_values[i];
    }
    return NULL;
}

static JValue *call_macro(JRun *r, const JValue *m, const JCall *c, JValue *caller)
{
    const JNode *node = m->u.macro.node;
    const JArgs *params = &node->args;
    JEnv *env = jeval_env(r->arena, m->u.macro.env);
    for (int i = 0; i < params->n_named; i++) {
        Str name = params->named[i].name;
        JValue *v = i < c->n ? c->p[i] : keyword(c, name);
        if (!v && params->named[i].value) v = eval(r, env, params->named[i].value);
        if (!v && params->named[i].value) return NULL;
        jeval_set(r, env, name, v ? v : jvalue_undefined(r->arena, name));
    }
    if (c->n > params->n_named && params->n_named >= 0)
        return jeval_fail(r, "macro '%.*s' takes not more than %d arguments", STR_FMT(node->name), params->n_named);
    if (caller) jeval_set(r, env, STR("caller"), caller);
    int line = r->line;
    JValue *out = capture(r, env, &node->kids);
    r->flow = FLOW_ON; /* a macro's break is not its caller's */
    if (out) r->line = line;
    return out;
}

static JValue *call_value(JRun *r, JValue *f, const JCall *c, JValue *caller)
{
    switch (f->kind) {
    case JV_MACRO: return call_macro(r, f, c, caller);
    case JV_FUNCTION: return jfunction_call(r, f->u.s, c);
    case JV_METHOD: return jmethod_call(r, f->u.method.self, f->u.method.name, c);
    case JV_UNDEFINED: return jeval_fail(r, "'%.*s' is undefined", STR_FMT(f->u.s));
    case JV_NONE:
    case JV_BOOL:
    case JV_INT:
    case JV_BIGINT:
    case JV_FLOAT:
    case JV_STR:
    case JV_LIST:
    case JV_TUPLE:
    case JV_GENERATOR:
    case JV_DICT:
    case JV_NAMESPACE:
    case JV_LOOP: break;
    }
    return jeval_fail(r, "'%s' object is not callable", jvalue_type(f));
}

static JValue *call(JRun *r, JEnv *env, const JNode *n, JValue *caller)
{
    JCall c;
    JValue *f = eval(r, env, n->a);
    if (!f || !arguments(r, env, &n->args, &c)) return NULL;
    return call_value(r, f, &c, caller);
}

/* ---- expressions ---- */

static JValue *name_value(JRun *r, JEnv *env, Str name)
{
    const Var *v = lookup(env, name);
    return v ? v->value : jvalue_undefined(r->arena, name);
}

static JValue *list_value(JRun *r, JEnv *env, const JNode *n)
{
    JValue **items = ARENA_NEW(r->arena, JValue *, (size_t)n->kids.n + 1);
    for (int i = 0; i < n->kids.n; i++) {
        if (!(items[i] = eval(r, env, n->kids.p[i]))) return NULL;
    }
    return jvalue_list(r->arena, n->kind == JN_LIST ? JV_LIST : JV_TUPLE, items, n->kids.n);
}

static JValue *dict_value(JRun *r, JEnv *env, const JNode *n)
{
    JValue *d = jvalue_dict(r->arena, JV_DICT);
    d->u.dict->run = r;
    for (int i = 0; i < n->kids.n; i++) {
        JValue *key = eval(r, env, n->kids.p[i]), *value = key ? eval(r, env, n->other.p[i]) : NULL;
        if (!value) return NULL;
        if (key->kind == JV_LIST || key->kind == JV_DICT)
            return jeval_fail(r, "unhashable type: '%s'", jvalue_type(key));
        jvalue_dict_set(r->arena, d->u.dict, key, value);
    }
    return d;
}

static JValue *signed_value(JRun *r, JEnv *env, const JNode *n)
{
    JValue *v = eval(r, env, n->a);
    if (!v) return NULL;
    if (!jvalue_is_number(v)) return jeval_fail(r, "bad operand type for unary -: '%s'", jvalue_type(v));
    if (n->kind == JN_POS) return v;
    return jeval_binary(r, JO_SUB, jvalue_int(r->arena, 0), v);
}

static JValue *filter_value(JRun *r, JEnv *env, const JNode *n)
{
    JCall c;
    JValue *in = eval(r, env, n->a);
    if (!in || !arguments(r, env, &n->args, &c)) return NULL;
    return jfilter_apply(r, n->name, in, &c);
}

static JValue *test_value(JRun *r, JEnv *env, const JNode *n)
{
    JCall c;
    bool holds;
    JValue *in = eval(r, env, n->a);
    if (!in || !arguments(r, env, &n->args, &c) || !jtest_apply(r, n->name, in, &c, &holds)) return NULL;
    return jvalue_bool(holds != n->negated);
}

static JValue *slice_value(JRun *r, JEnv *env, const JNode *n)
{
    const JNode *nodes[3] = { n->b, n->c, n->d };
    JValue *part[3] = { 0 }, *of = eval(r, env, n->a);
    for (int i = 0; of && i < 3; i++) {
        if (nodes[i] && !(part[i] = eval(r, env, nodes[i]))) return NULL;
    }
    return of ? slice(r, of, part) : NULL;
}

static JValue *condition_value(JRun *r, JEnv *env, const JNode *n)
{
    JValue *test = eval(r, env, n->b);
    if (!test) return NULL;
    if (jvalue_truth(test)) return eval(r, env, n->a);
    return n->c ? eval(r, env, n->c) : jvalue_undefined(r->arena, STR("the inline if-expression"));
}

static JValue *pair_value(JRun *r, JEnv *env, const JNode *n) /* two operands, both wanted */
{
    JValue *a = eval(r, env, n->a), *b = a ? eval(r, env, n->b) : NULL;
    if (!b) return NULL;
    return n->kind == JN_ITEM ? jeval_item(r, a, b) : jeval_binary(r, n->op, a, b);
}

static JValue *logic_value(JRun *r, JEnv *env, const JNode *n)
{
    JValue *a = eval(r, env, n->a);
    if (!a || n->kind == JN_NOT) return a ? jvalue_bool(!jvalue_truth(a)) : NULL;
    return jvalue_truth(a) == (n->kind == JN_OR) ? a : eval(r, env, n->b);
}

static JValue *eval_node(JRun *r, JEnv *env, const JNode *n)
{
    JValue *v;
    switch (n->kind) {
    case JN_CONST: return n->value;
    case JN_NAME: return name_value(r, env, n->name);
    case JN_LIST:
    case JN_TUPLE: return list_value(r, env, n);
    case JN_DICT: return dict_value(r, env, n);
    case JN_COND: return condition_value(r, env, n);
    case JN_AND:
    case JN_OR:
    case JN_NOT: return logic_value(r, env, n);
    case JN_NEG:
    case JN_POS: return signed_value(r, env, n);
    case JN_ITEM:
    case JN_BINARY: return pair_value(r, env, n);
    case JN_COMPARE: return comparisons(r, env, n);
    case JN_ATTR: v = eval(r, env, n->a); return v ? jeval_attr(r, v, n->name) : NULL;
    case JN_SLICE: return slice_value(r, env, n);
    case JN_CALL: return call(r, env, n, NULL);
    case JN_FILTER: return filter_value(r, env, n);
    case JN_TEST: return test_value(r, env, n);
    case JN_BLOCK:
    case JN_TEXT:
    case JN_PRINT:
    case JN_IF:
    case JN_FOR:
    case JN_SET:
    case JN_SET_BLOCK:
    case JN_MACRO:
    case JN_CALL_BLOCK:
    case JN_FILTER_BLOCK:
    case JN_BREAK:
    case JN_CONTINUE: break;
    }
    base_panic(__FILE__, __LINE__, "statement where an expression was parsed");
    return NULL;
}

static JValue *eval(JRun *r, JEnv *env, const JNode *n)
{
    if (!jeval_spend(r, 1)) return NULL;
    if (++r->depth > EVAL_DEPTH) return jeval_fail(r, "macros or expressions are nested too deeply");
    JValue *v = eval_node(r, env, n);
    r->depth--;
    return v;
}

/* ---- statements ---- */

/* Binds a loop's or set's target: a name, or names to unpack into. */
static bool bind(JRun *r, JEnv *env, const JNode *target, JValue *v)
{
    if (target->kind == JN_NAME) {
        jeval_set(r, env, target->name, v);
        return true;
    }
    int n;
    JValue **items = jeval_items(r, v, &n);
    if (!items) return false;
    if (n != target->kids.n) return jeval_fail(r, "cannot unpack %d values into %d names", n, target->kids.n) != NULL;
    for (int i = 0; i < n; i++) jeval_set(r, env, target->kids.p[i]->name, items[i]);
    return true;
}

static bool assign(JRun *r, JEnv *env, const JNode *target, JValue *v)
{
    if (target->kind != JN_ATTR && target->kind != JN_ITEM) return bind(r, env, target, v);
    JValue *of = eval(r, env, target->a);
    if (!of) return false;
    if (of->kind != JV_NAMESPACE) return jeval_fail(r, "cannot assign attribute on non-namespace object") != NULL;
    jvalue_dict_set(r->arena, of->u.dict, jvalue_str(r->arena, target->name), v);
    return true;
}

static int loop_depth(const JEnv *env)
{
    const Var *v = lookup(env, STR("loop"));
    return v && v->value->kind == JV_LOOP ? v->value->u.loop->depth : 0;
}

/* The items that pass a loop's own "if". NULL after failing. */
static JValue **filtered(JRun *r, JEnv *env, const JNode *n, JValue **items, int *count)
{
    if (!n->c) return items;
    JValue **kept = ARENA_NEW(r->arena, JValue *, (size_t)*count + 1);
    int m = 0;
    for (int i = 0; i < *count; i++) {
        JEnv *inner = jeval_env(r->arena, env);
        if (!bind(r, inner, n->a, items[i])) return NULL;
        JValue *keep = eval(r, inner, n->c);
        if (!keep) return NULL;
        if (jvalue_truth(keep)) kept[m++] = items[i];
    }
    *count = m;
    return kept;
}

static bool for_loop(JRun *r, JEnv *env, const JNode *n)
{
    int count;
    JValue *over = eval(r, env, n->b);
    JValue **items = over ? jeval_items(r, over, &count) : NULL;
    if (items) items = filtered(r, env, n, items, &count);
    if (!items) return false;
    if (count == 0) return run_list(r, env, &n->other);
    JLoop *state = ARENA_NEW(r->arena, JLoop, 1);
    JValue *loop = ARENA_NEW(r->arena, JValue, 1);
    *state = (JLoop){ .items = items, .n = count, .depth = loop_depth(env) + 1 };
    loop->kind = JV_LOOP;
    loop->u.loop = state;
    for (state->at = 0; state->at < count; state->at++) {
        JEnv *inner = jeval_env(r->arena, env);
        jeval_set(r, inner, STR("loop"), loop);
        if (!jeval_spend(r, 1) || !bind(r, inner, n->a, items[state->at]) || !run_list(r, inner, &n->kids))
            return false;
        bool stop = r->flow == FLOW_BREAK;
        r->flow = FLOW_ON;
        if (stop) break;
    }
    return true;
}

static JValue *macro_value(JRun *r, JEnv *env, const JNode *n)
{
    JValue *m = ARENA_NEW(r->arena, JValue, 1);
    m->kind = JV_MACRO;
    m->u.macro.node = n;
    m->u.macro.env = env;
    return m;
}

/* Captured text, through the filters of {% set x | f %} or {% filter f %}: the hole is the variable without a name. */
static JValue *filtered_text(JRun *r, JEnv *env, const JNodes *body, const JNode *chain)
{
    JValue *text = capture(r, jeval_env(r->arena, env), body);
    if (!text || !chain) return text;
    JEnv *inner = jeval_env(r->arena, env);
    jeval_set(r, inner, (Str){ 0 }, text);
    return eval(r, inner, chain);
}

static bool if_block(JRun *r, JEnv *env, const JNode *n)
{
    JValue *test = eval(r, env, n->a);
    if (!test) return false;
    return run_list(r, env, jvalue_truth(test) ? &n->kids : &n->other);
}

static bool run_node(JRun *r, JEnv *env, const JNode *n)
{
    JValue *v = NULL;
    switch (n->kind) {
    case JN_TEXT: return emit(r, n->name);
    case JN_PRINT: v = eval(r, env, n->a); return v && emit(r, jvalue_text(r, v)) && r->err->status == OK;
    case JN_BLOCK: return run_list(r, env, &n->kids);
    case JN_IF: return if_block(r, env, n);
    case JN_FOR: return for_loop(r, env, n);
    case JN_SET: v = eval(r, env, n->b); return v && assign(r, env, n->a, v);
    case JN_SET_BLOCK: v = filtered_text(r, env, &n->kids, n->c); return v && assign(r, env, n->a, v);
    case JN_MACRO: jeval_set(r, env, n->name, macro_value(r, env, n)); return true;
    case JN_CALL_BLOCK: v = call(r, env, n->a, macro_value(r, env, n)); return v && emit(r, jvalue_text(r, v));
    case JN_FILTER_BLOCK: v = filtered_text(r, env, &n->kids, n->a); return v && emit(r, jvalue_text(r, v));
    case JN_BREAK: r->flow = FLOW_BREAK; return true;
    case JN_CONTINUE: r->flow = FLOW_CONTINUE; return true;
    case JN_CONST:
    case JN_NAME:
    case JN_LIST:
    case JN_TUPLE:
    case JN_DICT:
    case JN_COND:
    case JN_AND:
    case JN_OR:
    case JN_NOT:
    case JN_NEG:
    case JN_POS:
    case JN_BINARY:
    case JN_COMPARE:
    case JN_ATTR:
    case JN_ITEM:
    case JN_SLICE:
    case JN_CALL:
    case JN_FILTER:
    case JN_TEST: break;
    }
    base_panic(__FILE__, __LINE__, "expression where a statement was parsed");
    return false;
}

static bool run_list(JRun *r, JEnv *env, const JNodes *list)
{
    if (++r->depth > EVAL_DEPTH) return jeval_fail(r, "blocks are nested too deeply") != NULL;
    for (int i = 0; i < list->n && r->flow == FLOW_ON; i++) {
        r->line = list->p[i]->line;
        if (!jeval_spend(r, 1) || !run_node(r, env, list->p[i])) return false;
    }
    r->depth--;
    return true;
}

Status jeval_run(JRun *r, const JNode *root)
{
    if (run_list(r, r->globals, &root->kids)) return r->err->status;
    if (r->err->status == OK) fail(r->err, E_INVALID, "chat template line %d: cannot be rendered", r->line);
    return r->err->status;
}
