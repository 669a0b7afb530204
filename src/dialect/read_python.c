/* read_python.c - arguments written as Python's keywords, and as Gemma's objects; the values are literal.c's. */
#include "base/jsonw.h"
#include "dialect/parse.h"

enum { AT_GAP, AT_KEY, AT_VALUE, AT_AFTER };

/* The value's bytes so far are told; nothing is held for them. */
static void tell(DialectParser *p, Buf *out)
{
    parse_args(p, buf_view(out));
    buf_free(out);
    parse_commit(p);
}

static Read close_args(DialectParser *p)
{
    if (p->args_open) parse_args(p, STR("}"));
    return READ_NEXT;
}

static Read read_keyword(DialectParser *p, char c)
{
    if (c == '=') {
        if (!p->begun) parse_begin(p);
        read_open_key(p);
        p->lit = (Lit){ 0 };
        p->place = AT_VALUE;
        parse_commit(p);
        return READ_MORE;
    }
    if (parse_space(c)) return READ_MORE;
    if (!parse_name_byte(c) || p->key.n > DIALECT_MAX_NAME) return READ_BAD;
    buf_char(&p->key, c);
    return READ_MORE;
}

static Read read_after(DialectParser *p, char c)
{
    p->place = AT_AFTER;
    if (c == ')') return close_args(p);
    if (c == ',') p->place = AT_GAP;
    return c == ',' || parse_space(c) ? READ_MORE : READ_BAD;
}

static Read read_value(DialectParser *p, char c)
{
    Buf out = { 0 };
    Read r = literal_python(&p->lit, c, &out);
    if (r == READ_DONE || r == READ_BAD) {
        parse_args(p, buf_view(&out));
        buf_free(&out);
        return r == READ_BAD ? READ_BAD : read_after(p, c);
    }
    if (r == READ_NEXT) p->place = AT_AFTER;
    tell(p, &out);
    return READ_MORE;
}

Read read_python_args(DialectParser *p, char c)
{
    switch (p->place) {
    case AT_GAP:
        if (parse_space(c)) return READ_MORE;
        if (c == ')') return close_args(p);
        if (!parse_name_byte(c)) return READ_BAD;
        buf_clear(&p->key);
        buf_char(&p->key, c);
        p->place = AT_KEY;
        return READ_MORE;
    case AT_KEY: return read_keyword(p, c);
    case AT_VALUE: return read_value(p, c);
    default: return read_after(p, c);
    }
}

Read read_gemma(DialectParser *p, char c)
{
    Buf out = { 0 };
    if (p->sub == 0) {
        if (c != '{') return READ_BAD;
        p->sub = 1;
        parse_begin(p);
        p->lit = (Lit){ 0 };
    }
    Read r = literal_gemma(&p->lit, c, &out);
    if (r != READ_BAD) {
        tell(p, &out);
        return r;
    }
    buf_free(&out);
    return READ_DONE; /* the mark that follows may still fit */
}
