/* speculate.h - inside engine: how many guessed tokens join the next pass, by what they bring and what they cost. */
#ifndef ENGINE_SPECULATE_H
#define ENGINE_SPECULATE_H

#include "engine/sched.h"

enum { SPECULATE_ROWS = ENGINE_DRAFT_LOGITS }; /* passes of more rows have no guesses: their rows are no longer cheap */

typedef struct {
    int most;                       /* guessed tokens of a sequence in a pass; 0: off */
    bool always;                    /* as many as there are, whatever they cost: the same passes on every run */
    double ns[SPECULATE_ROWS + 1];  /* [rows] measured: a pass that only decodes; 0: not yet */
    int since_plain, since_drafted; /* passes that might have had guesses: since one ran without; since one ran with */
} Speculate;

/* Gives sequences of the pass just picked (which must all decode) guesses: n_drafts, and rows, logits and pages for them. */
void speculate_pick(Speculate *p, Sched *s);
void speculate_measured(Speculate *p, int rows, int64_t ns); /* a pass that only decoded */
double speculate_cost(const Speculate *p, int rows);         /* ns that such a pass should take; 0: unknown */

#endif
