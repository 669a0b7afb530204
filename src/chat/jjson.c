/* jjson.c - JSON to values and back. Order of keys and the text of numbers survive: 1.0 stays a float, 12345678901234567890 keeps
 * its digits. Writing follows Python's json.dumps, which is what chat templates' tojson is. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/jsonw.h"
#include "base/utf8.h"
#include "chat/jinja.h"

typedef struct {
    Arena *arena;
    Str s;
    size_t at;
    const char *what;
    Err *err;
} Reader;

static Status read_value(Reader *r, int depth, JValue **out);

static Status bad(const Reader *r, const char *why)
{
    return fail(r->err, E_INVALID, "%s: not valid JSON at byte %zu: %s", r->what, r->at, why);
}

static void skip_space(Reader *r)
{
    while (r->at < r->s.n &&
           (r->s.p[r->at] == ' ' || r->s.p[r->at] == '\n' || r->s.p[r->at] == '\t' || r->s.p[r->at] == '\r'))
        r->at++;
}

static bool skip(Reader *r, char c)
{
    skip_space(r);
    if (r->at >= r->s.n || r->s.p[r->at] != c) return false;
    r->at++;
    return true;
}

static bool hex4(Reader *r, uint32_t *out)
{
    *out = 0;
    if (r->s.n - r->at < 4) return false;
    for (int i = 0; i < 4; i++) {
        int d = hex_digit(r->s.p[r->at++]);
        if (d < 0) return false;
        *out = *out * 16 + (uint32_t)d;
    }
    return true;
}

static bool escape(Reader *r, Buf *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (r->at >= r->s.n) return false;
    char c = r->s.p[r->at++];
    const char *known = memchr(from, c, sizeof from - 1);
    if (known) {
        buf_char(out, to[known - from]);
        return true;
    }
    uint32_t cp, low;
    if (c != 'u' || !hex4(r, &cp)) return false;
    if (cp >= 0xD800 && cp < 0xDC00) {
        size_t here = r->at;
        bool pair = r->s.n - r->at >= 6 && r->s.p[r->at] == '\\' && r->s.p[r->at + 1] == 'u';
        if (pair) r->at += 2;
        if (pair && hex4(r, &low) && low >= 0xDC00 && low < 0xE000) {
            cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
        } else {
            cp = UTF8_BAD; /* half a pair is no character */
            r->at = here;
        }
    } else if (cp >= 0xDC00 && cp < 0xE000) {
        cp = UTF8_BAD;
    }
    char bytes[4];
    buf_add(out, bytes, (size_t)utf8_put(bytes, cp));
    return true;
}

static Status read_string(Reader *r, Str *out)
{
    size_t begin = ++r->at;
    while (r->at < r->s.n && r->s.p[r->at] != '"' && r->s.p[r->at] != '\\' && (uint8_t)r->s.p[r->at] >= 0x20) r->at++;
    if (r->at < r->s.n && r->s.p[r->at] == '"') { /* nothing to unescape: borrow */
        *out = str_cut(r->s, begin, r->at++);
        return utf8_valid(*out) ? OK : bad(r, "a string is not UTF-8");
    }
    Buf b = { 0 };
    buf_add(&b, r->s.p + begin, r->at - begin);
    bool good = true, closed = false;
    while (good && !closed && r->at < r->s.n) {
        char c = r->s.p[r->at++];
        if (c == '"')
            closed = true;
        else if (c == '\\')
            good = escape(r, &b);
        else if ((uint8_t)c < 0x20)
            good = false;
        else
            buf_char(&b, c);
    }
    good = good && closed && utf8_valid(buf_view(&b));
    *out = arena_str(r->arena, buf_view(&b));
    buf_free(&b);
    return good ? OK : bad(r, "a string is malformed");
}

static Status read_number(Reader *r, JValue **out)
{
    size_t begin = r->at;
    bool real = false;
    while (r->at < r->s.n && (strchr("+-0123456789.eE", r->s.p[r->at]) && r->s.p[r->at])) {
        real = real || r->s.p[r->at] == '.' || (r->s.p[r->at] | 32) == 'e';
        r->at++;
    }
    Str text = str_cut(r->s, begin, r->at);
    int64_t i;
    double f;
    if (!real && str_to_i64(text, &i)) {
        *out = jvalue_int(r->arena, i);
    } else if (real && str_to_f64(text, &f)) {
        *out = jvalue_float(r->arena, f);
    } else if (!real && text.n > 18 && text.n < 400) {
        for (size_t k = text.p[0] == '-'; k < text.n; k++) {
            if (text.p[k] < '0' || text.p[k] > '9') return bad(r, "a number is malformed");
        }
        *out = jvalue_str(r->arena, text);
        (*out)->kind = JV_BIGINT;
    } else {
        return bad(r, "a number is malformed");
    }
    return OK;
}

static Status read_list(Reader *r, int depth, JValue **out)
{
    JValue **items = NULL;
    int n = 0, cap = 0;
    r->at++;
    if (!skip(r, ']')) {
        do {
            if (n == cap) {
                cap = cap ? cap * 2 : 4;
                JValue **more = ARENA_NEW(r->arena, JValue *, (size_t)cap);
                if (n) memcpy(more, items, (size_t)n * sizeof *more);
                items = more;
            }
            TRY(read_value(r, depth + 1, &items[n++]));
        } while (skip(r, ','));
        if (!skip(r, ']')) return bad(r, "expected ',' or ']'");
    }
    *out = jvalue_list(r->arena, JV_LIST, items, n);
    return OK;
}

static Status read_dict(Reader *r, int depth, JValue **out)
{
    *out = jvalue_dict(r->arena, JV_DICT);
    r->at++;
    if (skip(r, '}')) return OK;
    do {
        Str key;
        JValue *value = NULL;
        skip_space(r);
        if (r->at >= r->s.n || r->s.p[r->at] != '"') return bad(r, "expected a key in double quotes");
        TRY(read_string(r, &key));
        if (!skip(r, ':')) return bad(r, "expected ':'");
        TRY(read_value(r, depth + 1, &value));
        jvalue_dict_set(r->arena, (*out)->u.dict, jvalue_str(r->arena, key), value);
    } while (skip(r, ','));
    return skip(r, '}') ? OK : bad(r, "expected ',' or '}'");
}

static Status read_value(Reader *r, int depth, JValue **out)
{
    static const struct {
        const char *word;
        const JValue *value;
    } words[] = { { "null", &jvalue_none }, { "true", &jvalue_true }, { "false", &jvalue_false } };
    if (depth > JJSON_DEPTH) return fail(r->err, E_LIMIT, "%s: nested more than %d deep", r->what, JJSON_DEPTH);
    skip_space(r);
    if (r->at >= r->s.n) return bad(r, "it ends too early");
    char c = r->s.p[r->at];
    Str s;
    if (c == '[') return read_list(r, depth, out);
    if (c == '{') return read_dict(r, depth, out);
    if (c == '"') {
        TRY(read_string(r, &s));
        *out = jvalue_str(r->arena, s);
        return OK;
    }
    if (c == '-' || (c >= '0' && c <= '9')) return read_number(r, out);
    for (size_t i = 0; i < COUNT(words); i++) {
        if (!str_starts(str_cut(r->s, r->at, r->s.n), str_of(words[i].word))) continue;
        r->at += strlen(words[i].word);
        *out = (JValue *)(uintptr_t)words[i].value;
        return OK;
    }
    return bad(r, "expected a value");
}

Status jjson_parse(Arena *a, Str text, const char *what, JValue **out, Err *err)
{
    Reader r = { a, text, 0, what, err };
    TRY(read_value(&r, 0, out));
    skip_space(&r);
    return r.at == text.n ? OK : bad(&r, "something follows the value");
}

/* ---- writing ---- */

static void write_str(Buf *out, Str s, bool ascii)
{
    if (!ascii) {
        jsonw_str(out, s);
        return;
    }
    Buf raw = { 0 };
    jsonw_str(&raw, s);
    for (size_t i = 0; i < raw.n;) {
        int len;
        int32_t cp = utf8_next(raw.p, raw.n, i, &len);
        if (cp < 0x80)
            buf_char(out, raw.p[i]);
        else if (cp < 0x10000)
            buf_printf(out, "\\u%04x", (unsigned)cp);
        else
            buf_printf(out, "\\u%04x\\u%04x", 0xD800 + ((unsigned)(cp - 0x10000) >> 10),
                       0xDC00 + ((unsigned)(cp - 0x10000) & 0x3FF));
        i += (size_t)len;
    }
    buf_free(&raw);
}

typedef struct {
    JRun *run;
    Buf *out;
    const JsonStyle *style;
} Writer;

static Status write_value(Writer *w, const JValue *v, int depth);

static void new_line(Writer *w, int depth)
{
    if (w->style->indent < 0) return;
    buf_char(w->out, '\n');
    for (int i = 0; i < w->style->indent * depth; i++) buf_char(w->out, ' ');
}

/* Keys are strings; json.dumps turns other plain values into their JSON text. */
static Status write_key(Writer *w, const JValue *key)
{
    Buf b = { 0 };
    Status status = OK;
    if (key->kind == JV_STR)
        buf_str(&b, key->u.s);
    else if (key->kind == JV_BOOL)
        buf_str(&b, key->u.flag ? STR("true") : STR("false"));
    else if (key->kind == JV_NONE)
        buf_str(&b, STR("null"));
    else if (jvalue_is_number(key))
        jvalue_print(w->run, &b, key, false, 0);
    else
        status = E_INVALID;
    if (status == OK)
        write_str(w->out, buf_view(&b), w->style->ascii);
    else
        jeval_fail(w->run, "tojson: keys must be strings, not %s", jvalue_type(key));
    buf_free(&b);
    return status;
}

static int by_key(const void *a, const void *b)
{
    const JPair *x = a, *y = b;
    size_t n = MIN(x->key->u.s.n, y->key->u.s.n);
    int c = n ? memcmp(x->key->u.s.p, y->key->u.s.p, n) : 0;
    return c ? c : (x->key->u.s.n > y->key->u.s.n) - (x->key->u.s.n < y->key->u.s.n);
}

static Status write_dict(Writer *w, const JDict *d, int depth)
{
    JPair *pairs = d->p;
    bool all_text = true;
    for (int i = 0; i < d->n; i++) all_text = all_text && d->p[i].key->kind == JV_STR;
    if (w->style->sort && all_text && d->n) {
        pairs = arena_copy(w->run->arena, d->p, (size_t)d->n * sizeof *pairs);
        qsort(pairs, (size_t)d->n, sizeof *pairs, by_key);
    }
    buf_char(w->out, '{');
    for (int i = 0; i < d->n; i++) {
        if (i) buf_str(w->out, w->style->item_sep);
        new_line(w, depth + 1);
        TRY(write_key(w, pairs[i].key));
        buf_str(w->out, w->style->key_sep);
        TRY(write_value(w, pairs[i].value, depth + 1));
    }
    if (d->n) new_line(w, depth);
    buf_char(w->out, '}');
    return OK;
}

static Status write_list(Writer *w, const JValue *v, int depth)
{
    buf_char(w->out, '[');
    for (int i = 0; i < v->u.list.n; i++) {
        if (i) buf_str(w->out, w->style->item_sep);
        new_line(w, depth + 1);
        TRY(write_value(w, v->u.list.p[i], depth + 1));
    }
    if (v->u.list.n) new_line(w, depth);
    buf_char(w->out, ']');
    return OK;
}

static void write_float(Buf *out, double f)
{
    char text[40];
    if (isnan(f))
        buf_str(out, STR("NaN"));
    else if (isinf(f))
        buf_str(out, f > 0 ? STR("Infinity") : STR("-Infinity"));
    else
        buf_add(out, text, (size_t)jsonw_repr(text, f));
}

static Status write_value(Writer *w, const JValue *v, int depth)
{
    if (depth > JJSON_DEPTH || !jeval_spend(w->run, 1)) {
        if (depth > JJSON_DEPTH) jeval_fail(w->run, "tojson: a value is nested too deeply");
        return E_LIMIT;
    }
    if (w->out->n > w->run->out_max) {
        jeval_fail(w->run, "tojson: a text is over %zu bytes", w->run->out_max);
        return E_LIMIT;
    }
    switch (v->kind) {
    case JV_NONE: buf_str(w->out, STR("null")); return OK;
    case JV_BOOL: buf_str(w->out, v->u.flag ? STR("true") : STR("false")); return OK;
    case JV_INT: jsonw_i64(w->out, v->u.i); return OK;
    case JV_BIGINT: buf_str(w->out, v->u.s); return OK;
    case JV_FLOAT: write_float(w->out, v->u.f); return OK;
    case JV_STR: write_str(w->out, v->u.s, w->style->ascii); return OK;
    case JV_LIST:
    case JV_TUPLE: return write_list(w, v, depth);
    case JV_DICT: return write_dict(w, v->u.dict, depth);
    case JV_UNDEFINED:
    case JV_GENERATOR:
    case JV_NAMESPACE:
    case JV_MACRO:
    case JV_FUNCTION:
    case JV_METHOD:
    case JV_LOOP: break;
    }
    jeval_fail(w->run, "tojson: a value of type %s has no JSON form", jvalue_type(v));
    return E_INVALID;
}

Status jjson_write(JRun *r, Buf *out, const JValue *v, const JsonStyle *style)
{
    Writer w = { r, out, style };
    return write_value(&w, v, 0);
}
