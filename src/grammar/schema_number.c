/* schema_number.c - numbers as digits: bounds and multiples as expressions over plain decimals. See schema.h.
 *
 * A decimal is at least a non-negative bound if its whole part is longer, or as long and greater at the first digit that differs, or equal and its
 * fraction is; everything else (at most, negative bounds) is the complement or the mirror of that. Exact: no floating point.
 * Multiples: of a power of ten's divisor by the last digits, of another small integer by the remainders of its digits
 * (states put out one by one), prime power by prime power. Thread: the Build's. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>

#include "base/jsonw.h"
#include "grammar/schema.h"

enum { MAX_REMAINDERS = 19, MAX_SUFFIX = 4 };

typedef struct {
    bool negative;
    Str whole, part; /* without zeros in front (but "0") and behind */
} Decimal;

/* ---- from JSON to digits ---- */

/* The repr of a double, with its exponent worked in. */
static Str plain(Schema *s, const char *repr)
{
    Buf digits = { 0 }, out = { 0 };
    const char *p = repr + (*repr == '-');
    long point = 0, exp = 0;
    bool seen = false;
    for (; isdigit((unsigned char)*p) || *p == '.'; p++) {
        if (*p == '.')
            seen = true;
        else {
            buf_char(&digits, *p);
            point += !seen;
        }
    }
    if (*p == 'e') exp = strtol(p + 1, NULL, 10);
    point += exp;
    if (*repr == '-') buf_char(&out, '-');
    if (point <= 0) buf_char(&out, '0');
    for (long i = 0; i < point; i++) buf_char(&out, i < (long)digits.n ? digits.p[i] : '0');
    if (point < (long)digits.n) buf_char(&out, '.');
    for (long i = point; i < 0; i++) buf_char(&out, '0');
    for (long i = MAX(point, 0L); i < (long)digits.n; i++) buf_char(&out, digits.p[i]);
    Str text = arena_str(s->mem, buf_view(&out));
    buf_free(&digits);
    buf_free(&out);
    return text;
}

static Decimal decimal_of(Str text)
{
    Decimal d = { .negative = text.p[0] == '-' };
    size_t from = d.negative, dot = str_find(text, STR("."), 0), end = text.n;
    if (dot == SIZE_MAX) dot = text.n;
    while (from + 1 < dot && text.p[from] == '0') from++;
    while (end > dot && (text.p[end - 1] == '0' || text.p[end - 1] == '.')) end--;
    d.whole = str_cut(text, from, dot);
    d.part = end > dot ? str_cut(text, dot + 1, end) : (Str){ text.p, 0 };
    if (d.whole.n == 1 && d.whole.p[0] == '0' && d.part.n == 0) d.negative = false;
    return d;
}

Str schema_number_text(Schema *s, json_t *number)
{
    char repr[32];
    Str text;
    if (json_is_integer(number)) {
        text = arena_printf(s->mem, "%lld", (long long)json_integer_value(number));
    } else {
        jsonw_repr(repr, json_real_value(number));
        text = plain(s, repr);
    }
    Decimal d = decimal_of(text);
    return arena_printf(s->mem, "%s%.*s%s%.*s", d.negative ? "-" : "", STR_FMT(d.whole), d.part.n ? "." : "",
                        STR_FMT(d.part));
}

bool schema_number_rounded(const Schema *s, const json_t *v)
{
    return !s->exact_numbers && json_is_real(v) && fabs(json_real_value(v)) >= 9007199254740992.0;
}

static Expr pattern(Schema *s, const Buf *text)
{
    return pattern_build(s->b, buf_view(text), 0, SPELL_UTF8);
}

Expr schema_number_spellings(Schema *s, Str text)
{
    Expr zeros = pattern_build(s->b, STR("0*"), 0, SPELL_UTF8), e = expr_literal(s->b, text);
    if (str_find(text, STR("."), 0) != SIZE_MAX) return expr_cat(s->b, e, zeros);
    return expr_cat(s->b, e, pattern_build(s->b, STR("(\\.0+)?"), 0, SPELL_UTF8));
}

/* ---- bounds ---- */

/* Digits of d before i, then a greater one; false if there is none. */
static bool greater_at(Buf *out, Str d, size_t i)
{
    if (d.p[i] == '9') return false;
    buf_printf(out, "%.*s[%c-9]", (int)i, d.p, d.p[i] + 1);
    return true;
}

/* Decimals without a sign that are at least (strict: above) d. */
static Expr above_unsigned(Schema *s, const Decimal *d, bool strict)
{
    Buf p = { 0 };
    size_t n = d->whole.n;
    buf_printf(&p, "[1-9][0-9]{%zu,}(\\.[0-9]+)?", n);
    for (size_t i = 0; i < n; i++) {
        buf_char(&p, '|');
        if (greater_at(&p, d->whole, i))
            buf_printf(&p, "[0-9]{%zu}(\\.[0-9]+)?", n - i - 1);
        else
            p.n--;
    }
    buf_printf(&p, "|%.*s(", STR_FMT(d->whole));
    for (size_t i = 0; i < d->part.n; i++) {
        size_t at = p.n;
        buf_str(&p, STR("\\."));
        if (greater_at(&p, d->part, i))
            buf_str(&p, STR("[0-9]*|"));
        else
            p.n = at;
    }
    if (d->part.n)
        buf_printf(&p, "\\.%.*s%s)", STR_FMT(d->part), strict ? "[0-9]*[1-9][0-9]*" : "[0-9]*");
    else
        buf_str(&p, strict ? STR("\\.[0-9]*[1-9][0-9]*)") : STR("(\\.[0-9]+)?)"));
    Expr e = pattern(s, &p);
    buf_free(&p);
    return e;
}

static Expr above(Schema *s, Str bound, bool strict)
{
    Decimal d = decimal_of(bound);
    if (!d.negative) return above_unsigned(s, &d, strict);
    Expr below = expr_cat(s->b, expr_literal(s->b, STR("-")), above_unsigned(s, &d, !strict));
    return expr_without(s->b, s->decimals, below);
}

static Expr below(Schema *s, Str bound, bool strict)
{
    return expr_without(s->b, s->decimals, above(s, bound, !strict));
}

/* ---- multiples ---- */

/* Digits, zeros in front allowed, whose value has remainder 0: a state for each remainder, put out from the last on. */
static Expr remainder_zero(Schema *s, uint32_t q)
{
    Build *b = s->b;
    Expr way[MAX_REMAINDERS][MAX_REMAINDERS];
    for (uint32_t i = 0; i < q; i++) {
        for (uint32_t k = 0; k < q; k++) {
            ByteSet set = { { 0 } };
            bool any = false;
            for (uint32_t d = 0; d < 10; d++) {
                if ((i * 10 + d) % q != k) continue;
                set.bits[0] |= 1ull << ('0' + d);
                any = true;
            }
            way[i][k] = any ? expr_bytes(b, set) : EXPR_NOTHING;
        }
    }
    for (uint32_t k = q; k-- > 1;) {
        Expr loop = expr_repeat(b, way[k][k], 0, BUILD_INF);
        for (uint32_t i = 0; i < k; i++)
            for (uint32_t j = 0; j < k; j++)
                way[i][j] = expr_or(b, way[i][j], expr_cat(b, way[i][k], expr_cat(b, loop, way[k][j])));
    }
    return expr_repeat(b, way[0][0], 1, BUILD_INF);
}

/* Digits that end in a multiple of m, where m divides 10^n. */
static Expr by_suffix(Schema *s, uint32_t m, int n)
{
    Buf p = { 0 };
    uint32_t power = 1;
    for (int i = 0; i < n; i++) power *= 10;
    buf_str(&p, STR("("));
    for (uint32_t v = 0; v < power; v += m) buf_printf(&p, "%s[0-9]*%0*u", v ? "|" : "", n, v);
    for (uint32_t v = 0; v < power; v += m) buf_printf(&p, "|%u", v);
    buf_str(&p, STR(")"));
    Expr e = pattern(s, &p);
    buf_free(&p);
    return e;
}

/* Digits whose value all prime powers in q divide; EXPR_NOTHING: one of them is too large. */
static Expr by_factors(Schema *s, uint32_t q)
{
    Expr digits = pattern_build(s->b, STR("[0-9]+"), 0, SPELL_UTF8);
    for (uint32_t p = 3; q > 1; p += 2) {
        uint32_t power = 1;
        if (p > MAX_REMAINDERS) return EXPR_NOTHING;
        for (; q % p == 0; q /= p) power *= p;
        if (power > MAX_REMAINDERS) return EXPR_NOTHING;
        if (power > 1) digits = expr_and(s->b, digits, remainder_zero(s, power));
    }
    return digits;
}

static Expr multiples_of_integer(Schema *s, uint32_t m)
{
    uint32_t q = m, power = 1;
    int n = 0;
    while (q % 2 == 0) q /= 2;
    while (q % 5 == 0) q /= 5;
    for (; power % (m / q) && n <= MAX_SUFFIX; n++) power *= 10;
    if (n > MAX_SUFFIX || power / (m / q) > 1000) return EXPR_NOTHING;
    Expr digits = by_factors(s, q);
    if (digits == EXPR_NOTHING) return EXPR_NOTHING;
    if (n) digits = expr_and(s->b, digits, by_suffix(s, m / q, n));
    Expr sign = pattern_build(s->b, STR("-?"), 0, SPELL_UTF8);
    return expr_cat(s->b, sign, expr_cat(s->b, digits, pattern_build(s->b, STR("(\\.0+)?"), 0, SPELL_UTF8)));
}

/* m / 10^k where m divides a power of ten: the last digits before and behind the point, each way they can be. */
static Expr multiples_of_part(Schema *s, uint32_t m, uint32_t k)
{
    uint32_t power = 1, n = 0;
    for (; n < k || power % m; n++) {
        if (n == MAX_SUFFIX + 2) return EXPR_NOTHING;
        power *= 10;
    }
    bool all = m == 1; /* any digits, k of them behind the point */
    if (!all && power / m > 1000) return EXPR_NOTHING;
    Buf p = { 0 };
    buf_printf(&p, all ? "-?([0-9]+(\\.[0-9]{1,%u}0*)?" : "-?(", k);
    for (uint32_t v = 0; v < power && !all; v += m) {
        Str digits = arena_printf(s->mem, "%0*u", (int)MAX(n, k + 1), v);
        Str whole = str_cut(digits, 0, digits.n - k), part = str_cut(digits, digits.n - k, digits.n), front = whole;
        while (part.n && part.p[part.n - 1] == '0') part.n--;
        while (front.n > 1 && front.p[0] == '0') front = str_cut(front, 1, front.n);
        Str end = part.n ? arena_printf(s->mem, "\\.%.*s0*", STR_FMT(part)) : STR("(\\.0+)?");
        if (n > k)
            buf_printf(&p, "%s([0-9]*%.*s|%.*s)%.*s", v ? "|" : "", STR_FMT(whole), STR_FMT(front), STR_FMT(end));
        else
            buf_printf(&p, "%s[0-9]+%.*s", v ? "|" : "", STR_FMT(end));
    }
    buf_char(&p, ')');
    Expr e = pattern(s, &p);
    buf_free(&p);
    return e;
}

static Expr multiples(Schema *s, json_t *j, Str at, Expr number)
{
    Decimal d = decimal_of(schema_number_text(s, j));
    int64_t whole = 0;
    Expr e = EXPR_NOTHING;
    str_to_i64(d.whole, &whole);
    if (d.negative || (d.part.n == 0 && whole == 0)) {
        schema_refuse(s, at, "multipleOf", E_INVALID, "must be above 0");
        return EXPR_NOTHING;
    }
    if (d.part.n == 0 && d.whole.n <= 6)
        e = multiples_of_integer(s, (uint32_t)whole);
    else if (d.part.n && str_to_i64(arena_printf(s->mem, "%.*s%.*s", STR_FMT(d.whole), STR_FMT(d.part)), &whole) &&
             whole <= 1000000 && d.part.n <= MAX_SUFFIX + 2)
        e = multiples_of_part(s, (uint32_t)whole, (uint32_t)d.part.n);
    if (e == EXPR_NOTHING) {
        schema_refuse(s, at, "multipleOf", E_UNSUPPORTED, "this number is not supported");
        return EXPR_NOTHING;
    }
    return expr_and(s->b, number, e);
}

/* A whole number beyond 2^53 may have been read as the double next to it: the bound is then the next one inside, so that nothing
 * beyond the one that was written is allowed. */
static Str bound_text(Schema *s, json_t *v, bool upper)
{
    double x = json_number_value(v);
    if (!schema_number_rounded(s, v)) return schema_number_text(s, v);
    json_t *inside = json_real(nextafter(x, upper ? -INFINITY : INFINITY));
    Str text = schema_number_text(s, inside);
    json_decref(inside);
    return text;
}

Expr schema_number_bounds(Schema *s, json_t *j, Str at, Expr number)
{
    static const struct {
        const char *key, *other;
        bool upper, strict;
    } bounds[] = { { "minimum", "exclusiveMinimum", false, false },
                   { "maximum", "exclusiveMaximum", true, false },
                   { "exclusiveMinimum", NULL, false, true },
                   { "exclusiveMaximum", NULL, true, true } };
    for (size_t i = 0; i < COUNT(bounds) && !build_failed(s->b); i++) {
        json_t *v = json_object_get(j, bounds[i].key);
        if (!v || (bounds[i].strict && json_is_boolean(v))) continue; /* draft 4: it says how the other is meant */
        if (!json_is_number(v)) {
            schema_refuse(s, at, bounds[i].key, E_INVALID, "must be a number");
            break;
        }
        bool strict = bounds[i].strict || (bounds[i].other && json_is_true(json_object_get(j, bounds[i].other)));
        Str text = bound_text(s, v, bounds[i].upper);
        number = expr_and(s->b, number, bounds[i].upper ? below(s, text, strict) : above(s, text, strict));
    }
    json_t *v = json_object_get(j, "multipleOf");
    if (v && !json_is_number(v)) schema_refuse(s, at, "multipleOf", E_INVALID, "must be a number");
    return v && !build_failed(s->b) ? multiples(s, v, at, number) : number;
}
