/* read_json.c - calls and arguments that are JSON: passed on byte for byte, looked at only as far as strings and brackets go.
 *
 * The object of a call may have its members in any order, and more of them. Arguments that come before the name are held until the
 * name is there. Arguments that are a string of JSON, as some models write them, are what is in the string. */
#include "base/utf8.h"
#include "dialect/parse.h"

enum { KEY_MAX = 64 };

/* ---- one value ---- */

static void scan_begin(DialectParser *p)
{
    p->depth = 0;
    p->in_string = p->escaped = false;
}

/* What can stand outside strings. */
static bool legal(char c)
{
    return parse_space(c) || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' ||
           c == '-' || c == '.' || c == ',' || c == ':' || c == '"' || c == '{' || c == '}' || c == '[' || c == ']';
}

/* A byte of an object or array. READ_NEXT: the last. READ_BAD: JSON has no such byte there. */
static Read scan(DialectParser *p, char c)
{
    if (p->in_string) {
        bool escaped = p->escaped;
        p->escaped = c == '\\' && !escaped;
        if (c == '"' && !escaped) p->in_string = false;
        return READ_MORE;
    }
    if (!legal(c)) return READ_BAD;
    if (c == '"') p->in_string = true;
    if (c == '{' || c == '[') p->depth++;
    if (c == '}' || c == ']') p->depth--;
    return p->depth > 0 ? READ_MORE : READ_NEXT;
}

/* A byte of the arguments: told, if the call has begun. */
static Read pass(DialectParser *p, char c)
{
    Read r = scan(p, c);
    if (r == READ_BAD) return READ_DONE; /* what came is the arguments */
    if (p->begun) {
        parse_args(p, (Str){ &c, 1 });
        parse_commit(p);
    }
    return r;
}

Read read_json_args(DialectParser *p, char c)
{
    if (p->sub == 0) {
        if (parse_space(c)) return READ_MORE;
        if (c != '{') return steps_last(p) ? READ_BAD : READ_DONE; /* no arguments: the next mark decides */
        p->sub = 1;
        parse_begin(p);
        scan_begin(p);
    }
    return pass(p, c);
}

/* ---- strings ---- */

static size_t put_escape(Str raw, size_t i, Buf *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *at = strchr(from, raw.p[i]);
    char utf8[4];
    if (raw.p[i] && at) {
        buf_char(out, to[at - from]);
        return i + 1;
    }
    if (raw.p[i] != 'u' || i + 5 > raw.n) return SIZE_MAX;
    uint32_t code = 0;
    for (size_t k = 1; k <= 4; k++) {
        int digit = hex_digit(raw.p[i + k]);
        if (digit < 0) return SIZE_MAX;
        code = code * 16 + (uint32_t)digit;
    }
    i += 5;
    if (code >= 0xDC00 && code < 0xE000) return SIZE_MAX;
    if (code >= 0xD800 && code < 0xDC00) {
        uint32_t low = 0;
        if (i + 6 > raw.n || raw.p[i] != '\\' || raw.p[i + 1] != 'u') return SIZE_MAX;
        for (size_t k = 2; k < 6; k++) {
            int digit = hex_digit(raw.p[i + k]);
            if (digit < 0) return SIZE_MAX;
            low = low * 16 + (uint32_t)digit;
        }
        if (low < 0xDC00 || low > 0xDFFF) return SIZE_MAX;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        i += 6;
    }
    buf_add(out, utf8, (size_t)utf8_put(utf8, code));
    return i;
}

/* The inside of a string, decoded. */
static bool decode(Str raw, Buf *out)
{
    for (size_t i = 0; i < raw.n;) {
        if (raw.p[i] != '\\') {
            buf_char(out, raw.p[i++]);
        } else {
            if (i + 1 >= raw.n) return false;
            i = put_escape(raw, i + 1, out);
            if (i == SIZE_MAX) return false;
        }
    }
    return true;
}

/* ---- the object of a call ---- */

enum { AT_OPEN, AT_KEY, AT_KEY_TEXT, AT_COLON, AT_VALUE, AT_NAME, AT_ID, AT_ARGS, AT_ARGS_TEXT, AT_SKIP, AT_WORD };

static bool is_args_key(const DialectParser *p)
{
    Str key = buf_view(&p->key);
    return !p->args_done && (str_is(key, "arguments") || str_is(key, "parameters"));
}

static bool is_name_key(const DialectParser *p)
{
    const char *ours = p->o.dialect->forms[p->form].name_key;
    return p->name.n == 0 && (str_is(buf_view(&p->key), ours) || str_is(buf_view(&p->key), "name"));
}

static bool is_id_key(const DialectParser *p)
{
    Str key = buf_view(&p->key);
    return !p->begun && p->id.n == 0 && (str_is(key, "id") || str_is(key, "tool_call_id"));
}

/* The call begins as soon as it has a name and its arguments; those that are held are told. */
static void begin_held(DialectParser *p)
{
    Buf text = { 0 };
    Str raw = str_cut(buf_view(&p->in), p->base + p->from, p->base + p->to);
    bool is_text = raw.n && raw.p[0] == '"';
    if (is_text && decode(str_cut(raw, 1, raw.n - 1), &text)) raw = buf_view(&text);
    parse_begin(p);
    parse_args(p, raw.n ? raw : STR("{}"));
    buf_free(&text);
}

static Read value_over(DialectParser *p)
{
    p->place = AT_KEY;
    return READ_MORE;
}

static Read begin_value(DialectParser *p, char c)
{
    size_t here = p->pos - p->base;
    scan_begin(p);
    p->from = is_args_key(p) ? here : p->from;
    if (c == '"') {
        p->sub = here + 1;
        p->place = is_name_key(p) ? AT_NAME : is_id_key(p) ? AT_ID : is_args_key(p) ? AT_ARGS_TEXT : AT_SKIP;
        if (p->place == AT_SKIP) p->in_string = true;
        return READ_MORE;
    }
    if (is_name_key(p)) return READ_BAD;
    if (c != '{' && c != '[') {
        if (is_args_key(p) && c != 'n') return READ_BAD; /* null is none */
        p->place = AT_WORD;
        return legal(c) ? READ_MORE : READ_BAD;
    }
    if (is_args_key(p)) {
        if (c == '[') return READ_BAD;
        p->place = AT_ARGS;
        if (p->name.n) parse_begin(p);
        return pass(p, c);
    }
    p->place = AT_SKIP;
    return scan(p, c);
}

/* The byte after a string's inside: whether it was the closing quote. */
static bool string_ends(DialectParser *p, char c)
{
    bool escaped = p->escaped;
    p->escaped = c == '\\' && !escaped;
    return c == '"' && !escaped;
}

static Read read_string(DialectParser *p, char c)
{
    size_t here = p->pos - p->base;
    if (!string_ends(p, c)) return here - p->sub > DIALECT_MAX_HOLD ? READ_BAD : READ_MORE;
    Str raw = str_cut(buf_view(&p->in), p->base + p->sub, p->base + here);
    if (p->place == AT_ARGS_TEXT) {
        p->args_done = true;
        p->to = here + 1;
        if (p->name.n) begin_held(p);
        return value_over(p);
    }
    Buf *out = p->place == AT_NAME ? &p->name : &p->id;
    if (raw.n > DIALECT_MAX_NAME || !decode(raw, out)) return READ_BAD;
    if (p->place == AT_NAME) {
        bool known = dialect_tools_find(p->o.tools, buf_view(out)) >= 0;
        if (out->n == 0 || (p->o.dialect->forms[p->form].bare && !known)) return READ_BAD;
        if (p->args_done) begin_held(p);
    }
    return value_over(p);
}

static Read read_args_object(DialectParser *p, char c)
{
    Read r = pass(p, c);
    if (r == READ_MORE) return r;
    p->args_done = true;
    p->to = p->pos - p->base + (r == READ_NEXT);
    if (r == READ_DONE) return p->begun ? READ_DONE : READ_BAD;
    return value_over(p);
}

static Read read_key(DialectParser *p, char c)
{
    if (parse_space(c) || c == ',') return READ_MORE;
    if (c == '}') {
        bool bare = p->o.dialect->forms[p->form].bare; /* without a mark, arguments are what makes it a call */
        return p->name.n && (p->begun || !bare) ? READ_NEXT : READ_BAD;
    }
    if (c != '"') return READ_BAD;
    buf_clear(&p->key);
    p->escaped = false;
    p->place = AT_KEY_TEXT;
    return READ_MORE;
}

static Read read_member(DialectParser *p, char c)
{
    switch (p->place) {
    case AT_OPEN: p->place = AT_KEY; return c == '{' ? READ_MORE : READ_BAD;
    case AT_KEY: return read_key(p, c);
    case AT_KEY_TEXT:
        if (string_ends(p, c))
            p->place = AT_COLON;
        else if (p->key.n < KEY_MAX)
            buf_char(&p->key, c);
        return READ_MORE;
    case AT_COLON:
        if (c == ':') p->place = AT_VALUE;
        return c == ':' || parse_space(c) ? READ_MORE : READ_BAD;
    case AT_VALUE: return parse_space(c) ? READ_MORE : begin_value(p, c);
    case AT_ARGS: return read_args_object(p, c);
    case AT_SKIP: {
        Read r = scan(p, c);
        bool over = r == READ_NEXT || (r == READ_MORE && p->depth == 0 && !p->in_string);
        return over ? value_over(p) : r;
    }
    case AT_WORD:
        if (c != ',' && c != '}') return legal(c) ? READ_MORE : READ_BAD;
        p->place = AT_KEY;
        return read_key(p, c);
    default: return read_string(p, c);
    }
}

/* READ_BAD of a call that has been told only ends its object: the marks that follow may still fit. */
Read read_call(DialectParser *p, char c)
{
    Read r = read_member(p, c);
    return r == READ_BAD && p->begun ? READ_DONE : r;
}
