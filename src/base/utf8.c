/* utf8.c - UTF-8 by the Unicode standard's table 3-7: the second byte's range depends on the first, so overlong forms,
 * surrogates and values above U+10FFFF never decode. */
#include "base/utf8.h"

/* Length promised by a first byte and the range its second byte must be in; length 0: no first byte. */
static int lead(uint8_t b, uint8_t *low, uint8_t *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (b < 0x80) return 1;
    if (b < 0xC2) return 0;
    if (b < 0xE0) return 2;
    if (b < 0xF0) {
        if (b == 0xE0) *low = 0xA0;
        if (b == 0xED) *high = 0x9F;
        return 3;
    }
    if (b > 0xF4) return 0;
    if (b == 0xF0) *low = 0x90;
    if (b == 0xF4) *high = 0x8F;
    return 4;
}

/* How many bytes from s[i] on are a valid beginning of a character; *want is the whole length (0: none). */
static int prefix(const char *s, size_t n, size_t i, int *want)
{
    uint8_t low, high;
    *want = lead((uint8_t)s[i], &low, &high);
    int have = *want > 0;
    while (have > 0 && have < *want && i + (size_t)have < n) {
        uint8_t b = (uint8_t)s[i + (size_t)have];
        if (b < low || b > high) break;
        low = 0x80;
        high = 0xBF;
        have++;
    }
    return have;
}

int32_t utf8_next(const char *s, size_t n, size_t i, int *len)
{
    uint8_t b = (uint8_t)s[i];
    if (b < 0x80) {
        *len = 1;
        return b;
    }
    int want, have = prefix(s, n, i, &want);
    *len = MAX(have, 1);
    if (want == 0 || have < want) return -1;
    int32_t cp = want == 2 ? b & 0x1F : want == 3 ? b & 0x0F : b & 0x07;
    for (int k = 1; k < want; k++) cp = (cp << 6) | (s[i + (size_t)k] & 0x3F);
    return cp;
}

int utf8_put(char *out, uint32_t cp)
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    int n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    static const uint8_t first[5] = { 0, 0, 0xC0, 0xE0, 0xF0 };
    for (int k = n - 1; k > 0; k--) {
        out[k] = (char)(0x80 | (cp & 0x3F));
        cp >>= 6;
    }
    out[0] = (char)(first[n] | cp);
    return n;
}

static size_t skip_ascii(const char *s, size_t n, size_t i)
{
    while (i + 8 <= n) {
        uint64_t w;
        memcpy(&w, s + i, 8);
        if (w & 0x8080808080808080u) break;
        i += 8;
    }
    return i;
}

bool utf8_valid(Str s)
{
    for (size_t i = skip_ascii(s.p, s.n, 0); i < s.n; i = skip_ascii(s.p, s.n, i)) {
        int len;
        if (utf8_next(s.p, s.n, i, &len) < 0) return false;
        i += (size_t)len;
    }
    return true;
}

size_t utf8_count(Str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) n += ((uint8_t)s.p[i] & 0xC0) != 0x80;
    return n;
}

size_t utf8_tail(Str s)
{
    for (size_t back = 1; back <= 3 && back <= s.n; back++) {
        size_t i = s.n - back;
        if (((uint8_t)s.p[i] & 0xC0) == 0x80) continue;
        int want, have = prefix(s.p, s.n, i, &want);
        return want > 1 && have < want && (size_t)have == back ? back : 0;
    }
    return 0;
}

void utf8_repair(Buf *out, Str s)
{
    size_t clean = 0;
    for (size_t i = skip_ascii(s.p, s.n, 0); i < s.n; i = skip_ascii(s.p, s.n, i)) {
        int len;
        if (utf8_next(s.p, s.n, i, &len) < 0) {
            buf_add(out, s.p + clean, i - clean);
            buf_add(out, "\xEF\xBF\xBD", 3);
            clean = i + (size_t)len;
        }
        i += (size_t)len;
    }
    buf_add(out, s.p + clean, s.n - clean);
}
