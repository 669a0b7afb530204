/* pattern_memo.c - patterns that have been built, by their text: five hundred tools ask for the same numbers and dates again and again.
 * Thread: the Build's. */
#include "grammar/inside.h"

enum { FIRST_SLOTS = 64 };

static uint32_t slot_of(const Build *b, Str text, int flags, Spelling how)
{
    uint32_t mask = b->n_pattern_slots - 1;
    uint32_t at = (uint32_t)hash_bytes(text.p, text.n, (uint64_t)flags * 4 + how) & mask;
    for (; b->pattern[at].text.p; at = (at + 1) & mask) {
        const KnownPattern *k = &b->pattern[at];
        if (k->flags == flags && k->how == how && str_eq(k->text, text)) break;
    }
    return at;
}

static void grow(Build *b)
{
    KnownPattern *old = b->pattern;
    uint32_t had = b->n_pattern_slots;
    b->n_pattern_slots = had ? had * 2 : FIRST_SLOTS;
    b->pattern = ARENA_NEW(b->mem, KnownPattern, b->n_pattern_slots);
    for (uint32_t i = 0; i < had; i++)
        if (old[i].text.p) b->pattern[slot_of(b, old[i].text, old[i].flags, old[i].how)] = old[i];
}

Expr pattern_build(Build *b, Str pattern, int flags, Spelling how)
{
    if (build_check(b)) return EXPR_NOTHING;
    if (b->n_patterns * 2 >= b->n_pattern_slots) grow(b);
    uint32_t at = slot_of(b, pattern, flags, how);
    if (b->pattern[at].text.p) return build_spend(b, 1) ? b->pattern[at].e : EXPR_NOTHING;
    Expr e = pattern_read(b, pattern, flags, how);
    if (build_failed(b)) return EXPR_NOTHING;
    b->pattern[at] = (KnownPattern){ arena_str(b->mem, pattern), flags, how, e };
    b->n_patterns++;
    return e;
}
