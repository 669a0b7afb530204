/* jsonw.c - JSON text out. */
#include "base/jsonw.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"

static void escaped(Buf *b, uint8_t c)
{
    switch (c) {
    case '"': buf_str(b, STR("\\\"")); break;
    case '\\': buf_str(b, STR("\\\\")); break;
    case '\n': buf_str(b, STR("\\n")); break;
    case '\r': buf_str(b, STR("\\r")); break;
    case '\t': buf_str(b, STR("\\t")); break;
    case '\b': buf_str(b, STR("\\b")); break;
    case '\f': buf_str(b, STR("\\f")); break;
    default: buf_printf(b, "\\u%04x", c);
    }
}

void jsonw_str(Buf *b, Str s)
{
    buf_char(b, '"');
    size_t clean = 0;
    for (size_t i = 0; i < s.n;) {
        uint8_t c = (uint8_t)s.p[i];
        if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
            i++;
            continue;
        }
        int len = 1;
        if (c >= 0x80 && utf8_next(s.p, s.n, i, &len) >= 0) {
            i += (size_t)len;
            continue;
        }
        buf_add(b, s.p + clean, i - clean);
        if (c >= 0x80)
            buf_add(b, "\xEF\xBF\xBD", 3);
        else
            escaped(b, c);
        i += (size_t)len;
        clean = i;
    }
    buf_add(b, s.p + clean, s.n - clean);
    buf_char(b, '"');
}

void jsonw_f64(Buf *b, double x)
{
    if (!isfinite(x)) {
        buf_str(b, STR("null"));
        return;
    }
    char text[32];
    int n = jsonw_repr(text, x);
    buf_add(b, text, (size_t)n);
}

void jsonw_f32(Buf *b, float x)
{
    if (!isfinite(x)) {
        buf_str(b, STR("null"));
        return;
    }
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x) break;
    }
    buf_str(b, str_of(text));
}

void jsonw_i64(Buf *b, int64_t x)
{
    buf_printf(b, "%lld", (long long)x);
}

void jsonw_bool(Buf *b, bool x)
{
    buf_str(b, x ? STR("true") : STR("false"));
}

void jsonw_sep(Buf *b)
{
    char last = b->n ? b->p[b->n - 1] : '[';
    if (last != '[' && last != '{' && last != ':') buf_char(b, ',');
}

void jsonw_key(Buf *b, const char *key)
{
    jsonw_sep(b);
    buf_char(b, '"');
    buf_str(b, str_of(key));
    buf_str(b, STR("\":"));
}

void jsonw_ids(Buf *b, const int32_t *ids, size_t n)
{
    buf_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        char text[16];
        int len = snprintf(text, sizeof text, i ? ",%d" : "%d", ids[i]);
        buf_add(b, text, (size_t)len);
    }
    buf_char(b, ']');
}

/* Shortest digits that read back the same, placed as Python places them: exponents below -4 or from 16 on. */
int jsonw_repr(char *out, double x)
{
    if (isnan(x)) return snprintf(out, 32, "nan");
    if (isinf(x)) return snprintf(out, 32, x < 0 ? "-inf" : "inf");
    char e[40];
    for (int digits = 0; digits <= 16; digits++) {
        snprintf(e, sizeof e, "%.*e", digits, x);
        if (strtod(e, NULL) == x) break;
    }
    char mantissa[24];
    int n = 0;
    const char *c = e;
    bool negative = *c == '-';
    if (negative) c++;
    for (; *c && *c != 'e'; c++) {
        if (*c != '.') mantissa[n++] = *c;
    }
    int exponent = (int)strtol(c + 1, NULL, 10);
    while (n > 1 && mantissa[n - 1] == '0') n--;
    mantissa[n] = 0;
    const char *sign = negative ? "-" : "";
    if (exponent < -4 || exponent >= 16) {
        return n > 1 ? snprintf(out, 32, "%s%c.%se%+03d", sign, mantissa[0], mantissa + 1, exponent)
                     : snprintf(out, 32, "%s%ce%+03d", sign, mantissa[0], exponent);
    }
    if (exponent < 0) return snprintf(out, 32, "%s0.%.*s%s", sign, -exponent - 1, "0000", mantissa);
    if (n <= exponent + 1) return snprintf(out, 32, "%s%s%.*s.0", sign, mantissa, exponent + 1 - n, "0000000000000000");
    return snprintf(out, 32, "%s%.*s.%s", sign, exponent + 1, mantissa, mantissa + exponent + 1);
}
