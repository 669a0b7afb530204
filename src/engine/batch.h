/* batch.h - inside engine: the flat arrays that a pass is described by. */
#ifndef ENGINE_BATCH_H
#define ENGINE_BATCH_H

#include "engine/seq.h"

typedef struct {
    uint64_t id;
    uint32_t version;
    int n;
} RowPages; /* what lies in one row of the page table */

typedef struct {
    DeviceBatch device; /* points at the arrays below */
    int32_t *token, *pos, *seq_start, *seq_len, *pages, *logit_row;
    uint64_t *seq_id;
    SampleRow *rows; /* [device.n_logit] */
    SampleOut *out;
    RowPages *held;          /* [max_seqs] */
    int stride;              /* pages of a row of the table now */
    int n_prefill, n_decode; /* rows of each kind */
} Batch;

void batch_init(Batch *b, int max_rows, int max_seqs, int max_pages);
void batch_done(Batch *b);
void batch_fill(Batch *b, Seq *const *pick, int n, int n_vocab);

#endif
