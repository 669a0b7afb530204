/* until.c - text up to a mark, without a complement where that can be.
 *
 * If the first character of a mark does not come again in it, a beginning of the mark ends where that character stands once more:
 * text without the mark is any other character, or beginnings of the mark one after the other, the last of them followed
 * by a character that neither goes on with it nor begins anew. Such a text can be met with a length and still be counted (see
 * exprs_saturate); a complement could not. Thread: the Build's. */
#include "base/utf8.h"
#include "grammar/inside.h"

enum { MAX_MARK = 200 /* characters */ };

static Expr any_text(Build *b, Spelling how)
{
    return expr_repeat(b, expr_any_char(b, how), 0, BUILD_INF);
}

/* The mark's characters; 0: too many, not UTF-8, or the first comes twice. */
static size_t characters(Str mark, uint32_t *out)
{
    size_t n = 0;
    if (!utf8_valid(mark)) return 0;
    for (size_t i = 0; i < mark.n; n++) {
        int len;
        if (n == MAX_MARK) return 0;
        out[n] = (uint32_t)utf8_next(mark.p, mark.n, i, &len);
        if (n && out[n] == out[0]) return 0;
        i += (size_t)len;
    }
    return n;
}

static Expr one(Build *b, uint32_t c)
{
    return expr_class(b, &(CharRange){ c, c }, 1, SPELL_UTF8);
}

/* Any character but these two, which may be the same. */
static Expr neither(Build *b, uint32_t x, uint32_t y)
{
    uint32_t lo = MIN(x, y), hi = MAX(x, y);
    CharRange r[3];
    size_t n = 0;
    if (lo > 0) r[n++] = (CharRange){ 0, lo - 1 };
    if (hi > lo + 1) r[n++] = (CharRange){ lo + 1, hi - 1 };
    if (hi < 0x10FFFF) r[n++] = (CharRange){ hi + 1, 0x10FFFF };
    return expr_class(b, r, n, SPELL_UTF8);
}

static Expr plain_without(Build *b, const uint32_t *c, size_t n)
{
    if (n == 1) return expr_repeat(b, neither(b, c[0], c[0]), 0, BUILD_INF);
    Expr begun = EXPR_EMPTY, missed = neither(b, c[0], c[n - 1]);
    for (size_t i = n - 2; i > 0 && !build_failed(b); i--) {
        begun = expr_or(b, EXPR_EMPTY, expr_cat(b, one(b, c[i]), begun));
        missed = expr_or(b, neither(b, c[0], c[i]), expr_cat(b, one(b, c[i]), missed));
    }
    Expr first = one(b, c[0]), some = expr_repeat(b, expr_cat(b, first, begun), 0, BUILD_INF);
    Expr away = expr_cat_n(b, (Expr[]){ some, first, missed }, 3);
    Expr step = expr_or(b, neither(b, c[0], c[0]), away);
    return expr_cat(b, expr_repeat(b, step, 0, BUILD_INF), some);
}

Expr expr_until(Build *b, Str mark, Spelling how)
{
    uint32_t c[MAX_MARK];
    size_t n = how == SPELL_UTF8 ? characters(mark, c) : 0;
    Expr text = any_text(b, how), end = expr_text(b, mark, how);
    if (n) return expr_cat(b, plain_without(b, c, n), end);
    Expr early = expr_cat_n(b, (Expr[]){ text, end, expr_any_char(b, how), text }, 4);
    return expr_without(b, expr_cat(b, text, end), early);
}
