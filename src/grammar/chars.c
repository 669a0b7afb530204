/* chars.c - characters as byte expressions: UTF-8, every spelling that JSON has inside a string, and those of Python's that all readers
 * take the same way.
 *
 * A character is a number written in digits of a few bits: trailing bytes of UTF-8 are digits of six bits, \u escapes are hex
 * digits, a surrogate pair is 2+4+4 and 2+4+4 bits with fixed text between. One function turns a set of numbers into a
 * deterministic expression over such digits: digits that lead to the same rest are one byte set. */
#include <stdlib.h>

#include "base/utf8.h"
#include "grammar/groups.h"
#include "grammar/inside.h"

enum { MAX_POINT = 0x10FFFF, MAX_LEVELS = 6, TOP_DIGITS = 64 };

typedef enum { DIGIT_TRAIL, DIGIT_HEX } DigitKind;

typedef struct {
    DigitKind kind;
    int bits;
    int base;     /* added to the digit's value */
    Str prefix;   /* text before the digit */
    bool d_first; /* prefix is followed by d or D */
} Level;

typedef struct {
    Build *b;
    const Level *level;
    int n_levels;
} Digits;

typedef struct {
    CharRange *p;
    size_t n;
} Ranges;

static void add_byte(ByteSet *s, uint8_t c)
{
    s->bits[c >> 6] |= 1ull << (c & 63);
}

static void add_digit(ByteSet *s, const Level *l, int v)
{
    v += l->base;
    if (l->kind == DIGIT_TRAIL) {
        add_byte(s, (uint8_t)(0x80 | v));
        return;
    }
    add_byte(s, (uint8_t)("0123456789abcdef"[v]));
    add_byte(s, (uint8_t)("0123456789ABCDEF"[v]));
}

static Expr with_prefix(Build *b, const Level *l, Expr e)
{
    if (l->d_first) {
        ByteSet d = { { 0 } };
        add_byte(&d, 'd');
        add_byte(&d, 'D');
        e = exprs_cat(&b->x, exprs_set(&b->x, d), e);
    }
    return exprs_cat(&b->x, exprs_literal(&b->x, l->prefix.p, l->prefix.n), e);
}

static int bits_from(const Digits *d, int level)
{
    int bits = 0;
    for (int i = level; i < d->n_levels; i++) bits += d->level[i].bits;
    return bits;
}

/* Digits of the same rest, gathered in the order they come. */
typedef struct {
    Expr rest[TOP_DIGITS];
    ByteSet set[TOP_DIGITS];
    int n;
} Fans;

static void fan_add(Fans *f, Expr rest, const Level *l, int digit)
{
    int i = f->n - 1; /* neighbours mostly go the same way */
    while (i >= 0 && f->rest[i] != rest) i--;
    if (i < 0) {
        i = f->n++;
        f->rest[i] = rest;
        f->set[i] = (ByteSet){ { 0 } };
    }
    add_digit(&f->set[i], l, digit);
}

static Expr fan_expr(Build *b, const Fans *f)
{
    Expr e[TOP_DIGITS];
    for (int i = 0; i < f->n; i++) e[i] = exprs_cat(&b->x, exprs_set(&b->x, f->set[i]), f->rest[i]);
    return exprs_or(&b->x, e, (size_t)f->n);
}

/* All numbers, in the digits from `level` on. */
static Expr all_digits(const Digits *d, int level)
{
    Expr out = EXPR_EMPTY;
    for (int i = d->n_levels; i-- > level;) {
        ByteSet s = { { 0 } };
        for (int v = 0; v < 1 << d->level[i].bits; v++) add_digit(&s, &d->level[i], v);
        out = with_prefix(d->b, &d->level[i], exprs_cat(&d->b->x, exprs_set(&d->b->x, s), out));
    }
    return out;
}

/* The numbers of r that lie in [lo, hi], written in the digits from `level` on, after lo is taken off. */
static Expr digits_expr(const Digits *d, int level, Ranges r, uint32_t lo, uint32_t hi)
{
    while (r.n && r.p[0].last < lo) r.p++, r.n--;
    while (r.n && r.p[r.n - 1].first > hi) r.n--;
    if (r.n == 0) return EXPR_NOTHING;
    if (r.p[0].first <= lo && r.p[0].last >= hi) return all_digits(d, level);
    const Level *l = &d->level[level]; /* partly in r, so more than one number: there is a digit */
    uint32_t width = 1u << bits_from(d, level + 1);
    Expr all = EXPR_NOTHING;
    Fans f;
    f.n = 0;
    for (int v = 0; v < 1 << l->bits; v++) {
        uint32_t from = lo + (uint32_t)v * width, to = from + width - 1;
        while (r.n && r.p[0].last < from) r.p++, r.n--;
        if (r.n == 0 || r.p[0].first > to) continue;
        bool full = r.p[0].first <= from && r.p[0].last >= to;
        if (full && all == EXPR_NOTHING) all = all_digits(d, level + 1);
        fan_add(&f, full ? all : digits_expr(d, level + 1, r, from, to), l, v);
    }
    return with_prefix(d->b, l, fan_expr(d->b, &f));
}

/* ---- sets of code points ---- */

static int by_first(const void *p, const void *q)
{
    uint32_t a = ((const CharRange *)p)->first, b = ((const CharRange *)q)->first;
    return (a > b) - (a < b);
}

static void keep(Ranges *r, uint32_t first, uint32_t last)
{
    if (first > last) return;
    if (r->n && first <= r->p[r->n - 1].last + 1)
        r->p[r->n - 1].last = MAX(r->p[r->n - 1].last, last);
    else
        r->p[r->n++] = (CharRange){ first, last };
}

/* Sorted, disjoint, no surrogates. */
static Ranges normal(Build *b, const CharRange *r, size_t n)
{
    CharRange *sorted = arena_copy(b->mem, r, n * sizeof *r);
    if (n) qsort(sorted, n, sizeof *sorted, by_first);
    Ranges out = { ARENA_NEW(b->mem, CharRange, n * 2 + 1), 0 };
    for (size_t i = 0; i < n; i++) {
        uint32_t first = sorted[i].first, last = MIN(sorted[i].last, (uint32_t)MAX_POINT);
        keep(&out, first, MIN(last, 0xD7FFu));
        keep(&out, MAX(first, 0xE000u), last);
    }
    return out;
}

static bool covers(Ranges r, uint32_t first, uint32_t last)
{
    for (size_t i = 0; i < r.n; i++)
        if (r.p[i].first <= first && r.p[i].last >= last) return true;
    return false;
}

static Ranges cut(Build *b, Ranges r, uint32_t lo, uint32_t hi)
{
    Ranges out = { ARENA_NEW(b->mem, CharRange, r.n + 1), 0 };
    for (size_t i = 0; i < r.n; i++)
        if (r.p[i].first <= hi && r.p[i].last >= lo)
            out.p[out.n++] = (CharRange){ MAX(r.p[i].first, lo), MIN(r.p[i].last, hi) };
    return out;
}

/* Groups of bytes of which every character is in r. */
static uint64_t groups_of(Ranges r)
{
    uint64_t all = ~0ull;
    for (uint32_t c = 0; c < 0x80; c++)
        if (!covers(r, c, c)) all &= ~(1ull << group_of_ascii((uint8_t)c));
    if (!covers(r, 0x80, 0x7FF)) all &= ~(1ull << GROUP_LEAD2);
    if (!covers(r, 0x800, 0xD7FF) || !covers(r, 0xE000, 0xFFFF)) all &= ~(1ull << GROUP_LEAD3);
    if (!covers(r, 0x10000, MAX_POINT)) all &= ~(1ull << GROUP_LEAD4);
    return all & ~(1ull << GROUP_BAD);
}

/* ---- spellings ---- */

static Expr ascii_part(Build *b, Ranges r)
{
    ByteSet s = { { 0 } };
    for (size_t i = 0; i < r.n; i++)
        for (uint32_t c = r.p[i].first; c <= r.p[i].last && c < 0x80; c++) add_byte(&s, (uint8_t)c);
    return exprs_set(&b->x, s);
}

static Expr utf8_part(Build *b, Ranges r, int trail, uint32_t lo, uint32_t hi)
{
    static const Level levels[3] = { { DIGIT_TRAIL, 6, 0, { 0 }, 0 },
                                     { DIGIT_TRAIL, 6, 0, { 0 }, 0 },
                                     { DIGIT_TRAIL, 6, 0, { 0 }, 0 } };
    static const uint8_t lead[4] = { 0, 0xC0, 0xE0, 0xF0 };
    Digits d = { b, levels, trail };
    Ranges in = cut(b, r, lo, hi);
    uint32_t width = 1u << 6 * trail;
    Expr parts[32];
    size_t n = 0;
    for (uint32_t top = lo / width; top <= hi / width; top++) { /* first bytes of the same rest are joined */
        Expr rest = digits_expr(&d, 0, in, top * width, top * width + width - 1);
        if (rest == EXPR_NOTHING) continue;
        ByteSet s = { { 0 } };
        add_byte(&s, (uint8_t)(lead[trail] | top));
        uint32_t next = top + 1;
        for (; next <= hi / width; next++) {
            if (digits_expr(&d, 0, in, next * width, next * width + width - 1) != rest) break;
            add_byte(&s, (uint8_t)(lead[trail] | next));
        }
        top = next - 1;
        parts[n++] = exprs_cat(&b->x, exprs_set(&b->x, s), rest);
    }
    return exprs_or(&b->x, parts, n);
}

static Expr utf8_class(Build *b, Ranges r)
{
    Expr e[4] = { ascii_part(b, r), utf8_part(b, r, 1, 0x80, 0x7FF), utf8_part(b, r, 2, 0x800, 0xFFFF),
                  utf8_part(b, r, 3, 0x10000, MAX_POINT) };
    return exprs_or(&b->x, e, 4);
}

/* \uXXXX and surrogate pairs. */
static Expr escaped_by_number(Build *b, Ranges r)
{
    static const Level plane0[4] = { { DIGIT_HEX, 4, 0, { "u", 1 }, 0 },
                                     { DIGIT_HEX, 4, 0, { 0 }, 0 },
                                     { DIGIT_HEX, 4, 0, { 0 }, 0 },
                                     { DIGIT_HEX, 4, 0, { 0 }, 0 } };
    static const Level pairs[6] = { { DIGIT_HEX, 2, 8, { "u", 1 }, 1 }, { DIGIT_HEX, 4, 0, { 0 }, 0 },
                                    { DIGIT_HEX, 4, 0, { 0 }, 0 },      { DIGIT_HEX, 2, 12, { "\\u", 2 }, 1 },
                                    { DIGIT_HEX, 4, 0, { 0 }, 0 },      { DIGIT_HEX, 4, 0, { 0 }, 0 } };
    Digits low = { b, plane0, 4 }, high = { b, pairs, 6 };
    Ranges up = cut(b, r, 0x10000, MAX_POINT);
    for (size_t i = 0; i < up.n; i++) up.p[i].first -= 0x10000, up.p[i].last -= 0x10000;
    Expr e[2] = { digits_expr(&low, 0, cut(b, r, 0, 0xFFFF), 0, 0xFFFF), digits_expr(&high, 0, up, 0, 0xFFFFF) };
    return exprs_or(&b->x, e, 2);
}

/* Inside quotes: raw where that is allowed, the escapes that have a name, \\ and more. names: characters, then what stands for each. */
static Expr quoted_class(Build *b, Ranges r, const char *from, const char *to, Expr numbered)
{
    ByteSet names = { { 0 } };
    for (int i = 0; from[i]; i++)
        if (covers(r, (uint8_t)from[i], (uint8_t)from[i])) add_byte(&names, (uint8_t)to[i]);
    Expr after[2] = { exprs_set(&b->x, names), numbered };
    Ranges raw = { ARENA_NEW(b->mem, CharRange, r.n + 4), 0 };
    static const CharRange plain[] = { { 0x20, 0x21 }, { 0x23, 0x5B }, { 0x5D, MAX_POINT } };
    for (size_t k = 0; k < COUNT(plain); k++) {
        Ranges part = cut(b, r, plain[k].first, plain[k].last);
        for (size_t i = 0; i < part.n; i++) keep(&raw, part.p[i].first, part.p[i].last);
    }
    Expr e[2] = { utf8_class(b, raw), exprs_cat(&b->x, exprs_literal(&b->x, "\\", 1), exprs_or(&b->x, after, 2)) };
    Expr out = exprs_or(&b->x, e, 2);
    exprs_mark_char(&b->x, out, groups_of(raw), X_CHAR);
    return out;
}

static Expr json_class(Build *b, Ranges r)
{
    Expr out = quoted_class(b, r, "\"\\/\b\f\n\r\t", "\"\\/bfnrt", escaped_by_number(b, r));
    exprs_mark_char(&b->x, out, 0, X_JSON);
    return out;
}

/* \\/ would be two characters, a surrogate pair too. */
static Expr python_class(Build *b, Ranges r)
{
    return quoted_class(b, r, "\"\\'\b\f\n\r\t", "\"\\'bfnrt", escaped_by_number(b, cut(b, r, 0, 0xFFFF)));
}

Expr expr_class(Build *b, const CharRange *ranges, size_t n, Spelling how)
{
    if (build_check(b)) return EXPR_NOTHING;
    Ranges r = normal(b, ranges, n);
    Expr e;
    if (how == SPELL_JSON) {
        e = json_class(b, r);
    } else if (how == SPELL_PYTHON) {
        e = python_class(b, r);
    } else {
        e = utf8_class(b, r);
        if (e != EXPR_NOTHING) exprs_mark_char(&b->x, e, groups_of(r), X_UTF8 | X_CHAR);
    }
    return build_check(b) ? EXPR_NOTHING : e;
}

Expr expr_any_char(Build *b, Spelling how)
{
    static const CharRange all = { 0, MAX_POINT };
    if (!b->x.any[how]) {
        b->x.any[how] = expr_class(b, &all, 1, how);
        b->x.text[how] = exprs_repeat(&b->x, b->x.any[how], 0, BUILD_INF);
    }
    return b->x.any[how];
}

Expr expr_text(Build *b, Str text, Spelling how)
{
    if (build_check(b)) return EXPR_NOTHING;
    if (!utf8_valid(text)) {
        build_fail(b, E_INVALID, "text that is not valid UTF-8");
        return EXPR_NOTHING;
    }
    if (how == SPELL_UTF8) return expr_literal(b, text);
    Expr *e = ARENA_NEW(b->mem, Expr, text.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.n && build_spend(b, 1);) {
        int len;
        uint32_t c = (uint32_t)utf8_next(text.p, text.n, i, &len);
        e[n++] = expr_class(b, &(CharRange){ c, c }, 1, how);
        i += (size_t)len;
    }
    return expr_cat_n(b, e, n);
}
