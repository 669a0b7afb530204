/* batch.h - inside engine: the flat arrays that a pass is described by. */
#ifndef ENGINE_BATCH_H
#define ENGINE_BATCH_H

#include "engine/seq.h"

typedef struct {
    uint64_t id;
    uint32_t version;
    int n;
} RowPages; /* what lies in one row of the page table */

/* What one sequence has in the pass. Its logits are n_scored of prompt positions and then, if it draws, 1 + n_drafts more. What a
 * pass draws for a sequence whose next tokens were forced meanwhile does not count: it draws no more. */
typedef struct {
    Seq *q;                     /* NULL: it has ended meanwhile */
    int n_scored, first_scored; /* the logprobs of prompt tokens first_scored, + 1, ... */
    bool draws, decodes;        /* decodes: its draw is one of the pass's n_decode */
    int n_logits;               /* of the pass, from the first that is its own */
    int n_drafts;               /* guessed tokens after the one that is known: it draws once more for each */
    bool fills_last;            /* its prompt is computed with this pass, and that is all it wants */
    int drawn_at;               /* row of logits it draws from */
} Entry;

typedef struct {
    DeviceBatch device; /* points at the arrays below */
    int32_t *token, *pos, *seq_start, *seq_len, *pages, *logit_row;
    uint64_t *seq_id;
    SampleRow *rows; /* [device.n_logit] */
    SampleOut *out;
    Entry *entry; /* [n] */
    int n;        /* 0: nothing is in flight */
    int n_masked; /* entries that draw under a grammar */
    Seq *dead;    /* ended while in flight: the device may still read what they own. Linked by next */
    int64_t began_ns;
    int max_seqs;
    RowPages *held;          /* [max_seqs] */
    int stride;              /* pages of a row of the table now */
    int n_prefill, n_decode; /* rows of each kind */
    int n_drafts;            /* of n_decode */
} Batch;

void batch_init(Batch *b, int max_rows, int max_seqs, int max_logits, int max_pages);
void batch_done(Batch *b);
void batch_fill(Batch *b, int which, Seq *const *pick, int n, int n_vocab);
void batch_queued(Batch *b); /* the pass is on its way: its sequences move on */
void batch_finish(Batch *b); /* the pass is over: frees the dead */

#endif
