/* draft.c - three direct-mapped tables, one for each length of n-gram.
 *
 * A table holds the position after the n-gram seen last; the tokens themselves are compared in tok[], so two n-grams that
 * share a slot cost a guess, never a wrong match. An n-gram enters when the token after it is known: the end of the sequence
 * never finds itself. A guess that runs into the end goes on with itself, as a loop would. Thread: engine; draft_init and the
 * prompt's draft_add the submitter's. */
#include "engine/draft.h"

enum { SLOTS_MAX = 8192 }; /* of each length: 96 KiB for a sequence at most */
static const float RATE = 1.0f / 8;
static const float CHANCE_FIRST[DRAFT_NGRAM] = { 0.15f, 0.4f, 0.6f };

int draft_n_slots(int n_tok)
{
    int n = 16;
    while (n < n_tok && n < SLOTS_MAX) n *= 2;
    return DRAFT_NGRAM * n;
}

void draft_init(Draft *d, int32_t *slot, int n_slots)
{
    *d = (Draft){ .slot = slot, .mask = n_slots / DRAFT_NGRAM - 1 };
    memset(slot, 0, (size_t)n_slots * sizeof *slot);
    memcpy(d->chance, CHANCE_FIRST, sizeof d->chance);
}

/* Where the n tokens before position end have their place. */
static int32_t *slot_of(const Draft *d, const int32_t *tok, int end, int n)
{
    uint64_t hash = (uint64_t)n;
    for (int i = end - n; i < end; i++) hash = hash_mix(hash + (uint32_t)tok[i]);
    return d->slot + (size_t)(n - 1) * ((size_t)d->mask + 1) + (hash & (uint64_t)d->mask);
}

static void score(Draft *d, int32_t token, int pos)
{
    int i = pos - d->at;
    if (i < 0 || i >= d->n) return;
    float *chance = &d->chance[MIN(d->matched + i, DRAFT_NGRAM) - 1];
    bool right = d->token[i] == token;
    *chance += RATE * ((right ? 1.0f : 0.0f) - *chance);
    if (!right) d->n = 0;
}

void draft_add(Draft *d, const int32_t *tok, int n_tok)
{
    int pos = n_tok - 1;
    score(d, tok[pos], pos);
    for (int n = 1; n <= MIN(DRAFT_NGRAM, pos); n++) *slot_of(d, tok, pos, n) = pos;
}

/* Where the last n tokens were seen before: the position after them; 0: nowhere. */
static int look_up(const Draft *d, const int32_t *tok, int n_tok, int n)
{
    int pos = n <= n_tok ? *slot_of(d, tok, n_tok, n) : 0;
    if (pos == 0 || memcmp(tok + pos - n, tok + n_tok - n, (size_t)n * sizeof *tok) != 0) return 0;
    return pos;
}

int draft_guess(Draft *d, const int32_t *tok, int n_tok, int most)
{
    int pos = 0, n = DRAFT_NGRAM;
    while (n > 0 && (pos = look_up(d, tok, n_tok, n)) == 0) n--;
    d->at = n_tok;
    d->matched = n;
    d->n = n > 0 ? MIN(most, DRAFT_MAX) : 0;
    for (int i = 0; i < d->n; i++) d->token[i] = pos + i < n_tok ? tok[pos + i] : d->token[pos + i - n_tok];
    return d->n;
}

double draft_chance(const Draft *d, int i)
{
    return (double)d->chance[MIN(d->matched + i, DRAFT_NGRAM) - 1];
}
