/* draft.h - inside engine: guesses of what one sequence will say next, looked up in what it has said and read.
 *
 * What follows the last few tokens is guessed to be what followed them before (prompt lookup). Each guess is compared with
 * what is really drawn, whether it was used or not, so the chance that one holds is measured for each length of match. */
#ifndef ENGINE_DRAFT_H
#define ENGINE_DRAFT_H

#include "engine/engine.h"

enum { DRAFT_MAX = ENGINE_DRAFT_MAX, DRAFT_NGRAM = 3 }; /* tokens guessed at once; longest match looked for */

typedef struct {
    int32_t *slot; /* [DRAFT_NGRAM][mask + 1] where an n-gram was last seen: the position after it. 0: empty */
    int mask;
    int at, n, matched;        /* the guess: token[0..n) for positions at, at + 1 ..., after a match so long */
    int32_t token[DRAFT_MAX];  /* stays as it is until the next guess */
    float chance[DRAFT_NGRAM]; /* measured: the token after a match of i + 1 tokens is the one guessed */
} Draft;

/* The slots for a sequence of at most n_tok tokens: bounded, so a long one forgets some of its n-grams. */
int draft_n_slots(int n_tok);
/* slot: [draft_n_slots(n_tok)] borrowed for as long as d lives. */
void draft_init(Draft *d, int32_t *slot, int n_slots);
/* tok[n_tok - 1] has become known. Must be told of every token, in order. */
void draft_add(Draft *d, const int32_t *tok, int n_tok);
/* Guesses up to most tokens after tok[0..n_tok) into d->token. Returns how many: most, or 0. */
int draft_guess(Draft *d, const int32_t *tok, int n_tok, int most);
/* That token i of the guess holds if those before it do. */
double draft_chance(const Draft *d, int i);

#endif
