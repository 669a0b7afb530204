/* read_xml.c - arguments as elements, one each: values stand as they are, and the tool's schema says what they mean.
 *
 * A string is told as it comes. What may be something else is held until its element ends: it is JSON if it reads as JSON (or as
 * a literal of Python, which models write at times), and a string otherwise. */
#include <jansson.h>

#include "base/jsonw.h"
#include "dialect/parse.h"

enum { AT_GAP, AT_KEY, AT_TYPE, AT_OPEN, AT_VALUE };

void read_open_key(DialectParser *p)
{
    Buf text = { 0 };
    buf_str(&text, p->args_open ? STR(", ") : STR("{"));
    jsonw_str(&text, buf_view(&p->key));
    buf_str(&text, STR(": "));
    parse_args(p, buf_view(&text));
    buf_free(&text);
    p->args_open = true;
}

static const Xml *xml_of(const DialectParser *p)
{
    return p->o.dialect->forms[p->form].xml;
}

/* ---- values ---- */

static bool is_json(Str s)
{
    json_t *x = json_loadb(s.p, s.n, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
    json_decref(x);
    return x != NULL;
}

static bool put_python(Str s, Buf *out)
{
    Lit l = { 0 };
    Buf text = { 0 };
    Read r = READ_MORE;
    for (size_t i = 0; r == READ_MORE && i < s.n; i++) {
        r = literal_python(&l, s.p[i], &text);
        if (r == READ_DONE || (r == READ_NEXT && i + 1 < s.n)) r = READ_BAD;
    }
    if (r == READ_MORE && literal_python(&l, ' ', &text) != READ_DONE) r = READ_BAD; /* a space ends a word */
    bool good = r != READ_BAD;
    if (good) buf_str(out, buf_view(&text));
    buf_free(&text);
    return good;
}

void read_xml_value(Str text, ValueKind kind, Buf *out)
{
    Str inner = str_trim(text);
    if (kind == VALUE_STRING_OR_NULL && str_is(inner, "null"))
        buf_str(out, inner);
    else if (kind == VALUE_JSON && is_json(inner))
        buf_str(out, inner);
    else if (kind != VALUE_JSON || !put_python(inner, out))
        jsonw_str(out, text);
}

static void say_value(DialectParser *p, char c)
{
    Buf one = { 0 };
    if (p->kind != VALUE_STRING) {
        buf_char(&p->value, c);
        return;
    }
    literal_char(&one, c);
    parse_args(p, buf_view(&one));
    buf_free(&one);
}

static void end_value(DialectParser *p)
{
    Buf text = { 0 };
    if (p->kind == VALUE_STRING)
        buf_char(&text, '"');
    else
        read_xml_value(p->value.n ? buf_view(&p->value) : STR(""), p->kind, &text);
    parse_args(p, buf_view(&text));
    buf_free(&text);
    p->place = AT_GAP;
}

static void begin_value(DialectParser *p)
{
    p->place = AT_VALUE;
    p->sub = 0;
    buf_clear(&p->value);
    if (p->kind == VALUE_STRING) parse_args(p, STR("\""));
    parse_commit(p);
}

/* Whether what is held begins like, or is, the end of a value. READ_BAD: neither. */
static Read ends_with(Str held, const char *close)
{
    size_t n = strlen(close);
    if (memcmp(held.p, close, MIN(n, held.n)) != 0) return READ_BAD;
    return held.n < n ? READ_MORE : READ_NEXT;
}

static Read read_value(DialectParser *p, char c)
{
    const Xml *x = xml_of(p);
    Str held = parse_held(p);
    if (x->trim && p->sub == 0 && c == '\n') {
        p->sub = 1;
        parse_commit(p);
        return READ_MORE;
    }
    p->sub = 1;
    bool newline = x->trim && held.p[0] == '\n';
    if (newline && held.n == 1) return READ_MORE;
    Read r = ends_with(newline ? str_cut(held, 1, held.n) : held, x->value_close);
    if (r == READ_NEXT) {
        end_value(p);
        parse_commit(p);
        p->sub = 0;
        p->mark = p->pos + 1 - p->base;
        return READ_MORE;
    }
    if (r == READ_BAD) {
        say_value(p, held.p[0]);
        p->base++;
        p->pos = p->base - 1; /* the next byte to read is base */
    }
    return READ_MORE;
}

/* ---- keys ---- */

static void begin_key(DialectParser *p)
{
    p->sub = 0;
    p->place = AT_KEY;
    buf_clear(&p->key);
}

/* Gathers until `close`; READ_NEXT: it has come, and was cut off. */
static Read gather(DialectParser *p, char c, const char *close)
{
    buf_char(&p->key, c);
    if (!str_ends(buf_view(&p->key), str_of(close))) return p->key.n > DIALECT_MAX_NAME ? READ_BAD : READ_MORE;
    p->key.n -= strlen(close);
    return READ_NEXT;
}

static void key_over(DialectParser *p)
{
    const Xml *x = xml_of(p);
    if (!p->begun) parse_begin(p);
    Str key = str_trim(buf_view(&p->key));
    p->kind = dialect_tools_value(p->o.tools, p->tool, key);
    memmove(p->key.p, key.p, key.n);
    p->key.n = key.n;
    read_open_key(p);
    p->sub = 0;
    buf_clear(&p->key);
    if (x->typed)
        p->place = AT_TYPE;
    else if (x->value_open[0])
        p->place = AT_OPEN;
    else
        begin_value(p);
}

static Read read_gap(DialectParser *p, char c)
{
    const char *open = xml_of(p)->key_open;
    if (p->sub == 0 && parse_space(c)) return READ_MORE;
    if (open[p->sub] == c) {
        if (!open[++p->sub]) begin_key(p);
        return READ_MORE;
    }
    if (p->args_open) parse_args(p, STR("}"));
    return READ_BACK;
}

Read read_xml_args(DialectParser *p, char c)
{
    const Xml *x = xml_of(p);
    Read r = READ_MORE;
    switch (p->place) {
    case AT_GAP: return read_gap(p, c);
    case AT_KEY:
        r = gather(p, c, x->key_close);
        if (r == READ_NEXT) key_over(p);
        break;
    case AT_TYPE:
        r = gather(p, c, x->value_open);
        if (r != READ_NEXT) break;
        p->kind = str_is(buf_view(&p->key), "true") ? VALUE_STRING : VALUE_JSON;
        begin_value(p);
        break;
    case AT_OPEN:
        if (p->sub == 0 && parse_space(c)) return READ_MORE;
        if (x->value_open[p->sub] != c) return READ_BAD;
        if (!x->value_open[++p->sub]) begin_value(p);
        break;
    default: return read_value(p, c);
    }
    return r == READ_NEXT ? READ_MORE : r;
}

void read_xml_finish(DialectParser *p)
{
    if (p->place != AT_VALUE) return;
    for (; p->base < p->pos; p->base++) say_value(p, p->in.p[p->base]);
    if (p->kind != VALUE_STRING) parse_args(p, buf_view(&p->value));
}
