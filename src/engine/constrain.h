/* constrain.h - inside engine: a sequence whose output a grammar bounds.
 *
 * The mask of the next token is made as soon as the token before is known, so it is there when a draw is queued; where the
 * device runs ahead that is while it computes the very pass whose logits the mask is for (see queue_draw in engine.c). Nothing
 * is drawn without a mask: a matcher that meets a limit ends its sequence. */
#ifndef ENGINE_CONSTRAIN_H
#define ENGINE_CONSTRAIN_H

#include "backend/backend.h"
#include "grammar/grammar.h"

typedef struct Seq Seq;

typedef struct {
    GrammarMatcher *matcher; /* NULL: free; has taken all known tokens of the output. Owned */
    GrammarVocab *vocab;     /* the grammar's, which the matcher holds */
    GrammarEncode encode;    /* NULL: what is forced is drawn like everything else */
    void *encode_arg;
    uint32_t *mask; /* [1 + guesses of a pass][n_words]; the first is the next token's */
    size_t n_words;
} Constrain;

typedef enum {
    CONSTRAIN_ON,       /* there is a choice of how to go on (always, without a grammar) */
    CONSTRAIN_COMPLETE, /* nothing but an end token may follow */
    CONSTRAIN_ENDED,    /* an end token was taken */
    CONSTRAIN_FAILED    /* a limit was met: grammar_matcher_failed says which */
} ConstrainState;

/* Takes the last token of s, which was drawn under the mask or is forced. ON, ENDED or FAILED. */
ConstrainState constrain_take(Seq *s);
/* Makes the mask of the token after the last. ON, COMPLETE or FAILED. */
ConstrainState constrain_next(Seq *s);
/* Gives row[0] the mask of the next token, and row[1 + i] that of the token after guess i, for the guesses s has. FAILED or ON. */
ConstrainState constrain_rows(Seq *s, int n_drafts, SampleRow *row);
/* How many of the n tokens the grammar would take. */
int constrain_holds(Seq *s, const int32_t *tok, int n);
/* Appends to out what must come next and ends before `room` tokens, as the tokenizer would write it; nothing where a token is
 * the better choice or logprobs are wanted. */
void constrain_forced(Seq *s, int room, Ids *out);

#endif
