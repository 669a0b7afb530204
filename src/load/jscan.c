/* jscan.c - see jscan.h. The text must be valid UTF-8 (callers check); numbers other than whole ones are only skipped. */
#include "load/jscan.h"

#include "base/utf8.h"

enum { DEPTH_MAX = 64 };

static bool wrong(Jscan *j, const char *why)
{
    if (j->bad == NULL) j->bad = why;
    return false;
}

/* The next byte that is no white space, or 0 at the end. */
static char peek(Jscan *j)
{
    while (j->at < j->n && strchr(" \t\r\n", j->p[j->at]) != NULL && j->p[j->at] != 0) j->at++;
    return (char)(j->at < j->n ? j->p[j->at] : 0);
}

static bool expect(Jscan *j, char c, const char *why)
{
    if (j->bad != NULL || peek(j) != c) return wrong(j, why);
    j->at++;
    return true;
}

bool jscan_open(Jscan *j, char bracket)
{
    j->fresh = expect(j, bracket, bracket == '{' ? "an object was expected" : "an array was expected");
    return j->fresh;
}

bool jscan_more(Jscan *j, char closing)
{
    bool fresh = j->fresh;
    j->fresh = false;
    if (j->bad != NULL) return false;
    if (peek(j) == closing) {
        j->at++;
        return false;
    }
    return fresh || expect(j, ',', "a comma or the closing bracket was expected");
}

/* The four digits at s; -1: they are not. */
static int32_t hex4(Str s)
{
    int32_t v = 0;
    if (s.n < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int d = hex_digit(s.p[i]);
        if (d < 0) return -1;
        v = v * 16 + d;
    }
    return v;
}

/* Reads what follows \u at s, with its second half if it is the first of a pair. Returns the bytes read, 0 if wrong. */
static size_t unicode_escape(Str s, uint32_t *cp)
{
    int32_t a = hex4(s);
    if (a < 0 || (a >= 0xdc00 && a < 0xe000)) return 0;
    *cp = (uint32_t)a;
    if (a < 0xd800 || a >= 0xe000) return 4;
    if (s.n < 10 || s.p[4] != '\\' || s.p[5] != 'u') return 0;
    int32_t b = hex4(str_cut(s, 6, s.n));
    if (b < 0xdc00 || b >= 0xe000) return 0;
    *cp = 0x10000 + (((uint32_t)a - 0xd800) << 10) + ((uint32_t)b - 0xdc00);
    return 10;
}

/* Copies a string's inside with its escapes replaced; it never gets longer. */
static bool unescape(Jscan *j, Str in, Str *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char *p = arena_alloc(j->arena, in.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < in.n;) {
        if (in.p[i] != '\\') {
            p[n++] = in.p[i++];
            continue;
        }
        uint32_t cp;
        const char *simple = strchr(from, in.p[i + 1]); /* a byte follows: the string's end was found past escapes */
        if (simple != NULL && *simple != 0) {
            p[n++] = to[simple - from];
            i += 2;
        } else {
            size_t took = in.p[i + 1] == 'u' ? unicode_escape(str_cut(in, i + 2, in.n), &cp) : 0;
            if (took == 0) return wrong(j, "a bad escape in a string");
            n += (size_t)utf8_put(p + n, cp);
            i += 2 + took;
        }
    }
    *out = (Str){ p, n };
    return true;
}

/* Finds a string's end; the inside stays as it is written. */
static bool raw_string(Jscan *j, Str *inside, bool *escapes)
{
    if (!expect(j, '"', "a string was expected")) return false;
    size_t start = j->at;
    *escapes = false;
    for (; j->at < j->n && j->p[j->at] != '"'; j->at++) {
        if ((unsigned char)j->p[j->at] < ' ') return wrong(j, "a control character in a string");
        if (j->p[j->at] != '\\') continue;
        *escapes = true;
        if (++j->at == j->n) break;
    }
    if (j->at >= j->n) return wrong(j, "the text ends inside a string");
    *inside = str_cut((Str){ j->p, j->n }, start, j->at++);
    return true;
}

bool jscan_str(Jscan *j, Str *out)
{
    bool escapes;
    if (!raw_string(j, out, &escapes)) return false;
    return !escapes || unescape(j, *out, out);
}

bool jscan_key(Jscan *j, Str *out)
{
    return jscan_str(j, out) && expect(j, ':', "a colon was expected");
}

bool jscan_i64(Jscan *j, int64_t *out)
{
    int64_t v = 0;
    if (j->bad != NULL) return false;
    char c = peek(j);
    if (c < '0' || c > '9') return wrong(j, "a whole number from 0 on was expected");
    size_t start = j->at;
    for (; j->at < j->n && j->p[j->at] >= '0' && j->p[j->at] <= '9'; j->at++) {
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, j->p[j->at] - '0', &v)) {
            return wrong(j, "a number over 2^63");
        }
    }
    if (c == '0' && j->at - start > 1) return wrong(j, "a number with a leading zero");
    if (j->at < j->n && strchr(".eE", j->p[j->at]) != NULL && j->p[j->at] != 0)
        return wrong(j, "a whole number was expected");
    *out = v;
    return true;
}

/* A number, true, false or null: any run of their letters, which is enough for what is thrown away. */
static bool skip_word(Jscan *j)
{
    size_t start = j->at;
    while (j->at < j->n && strchr("+-.0123456789eEtrufalsn", j->p[j->at]) != NULL && j->p[j->at] != 0) j->at++;
    return j->at > start || wrong(j, "a value was expected");
}

static bool skip_deep(Jscan *j, int depth)
{
    Str s;
    bool escapes;
    if (depth > DEPTH_MAX) return wrong(j, "nested too deep");
    char c = j->bad == NULL ? peek(j) : 0;
    if (c == '"') return raw_string(j, &s, &escapes);
    if (c != '{' && c != '[') return j->bad == NULL && skip_word(j);
    char closing = (char)(c == '{' ? '}' : ']');
    jscan_open(j, c);
    while (jscan_more(j, closing)) {
        if (c == '{' && !(raw_string(j, &s, &escapes) && expect(j, ':', "a colon was expected"))) return false;
        if (!skip_deep(j, depth + 1)) return false;
    }
    return j->bad == NULL;
}

bool jscan_skip(Jscan *j)
{
    return skip_deep(j, 0);
}

bool jscan_end(Jscan *j)
{
    if (j->bad == NULL && (peek(j) != 0 || j->at < j->n)) wrong(j, "text after the end");
    return j->bad == NULL;
}
