/* batch.c - writes the chosen sequences down as a DeviceBatch, and the rows of logits to draw from.
 *
 * Most of it changes from pass to pass, the page numbers hardly do: a row of the page table is kept while the same sequence
 * stands in it and only its new pages are added. The table's rows are as long as the longest sequence needs
 * (rounded up, so that they seldom change), not as the context would allow. Thread: engine. */
#include "engine/batch.h"

enum { STRIDE_STEP = 64 };

void batch_init(Batch *b, int max_rows, int max_seqs, int max_logits, int max_pages)
{
    size_t rows = (size_t)max_rows, seqs = (size_t)max_seqs, logits = (size_t)max_logits;
    max_pages = (max_pages + STRIDE_STEP - 1) / STRIDE_STEP * STRIDE_STEP;
    *b = (Batch){ .max_seqs = max_seqs,
                  .token = mem_alloc_array(rows, sizeof(int32_t)),
                  .pos = mem_alloc_array(rows, sizeof(int32_t)),
                  .seq_start = mem_alloc_array(seqs + 1, sizeof(int32_t)),
                  .seq_len = mem_alloc_array(seqs, sizeof(int32_t)),
                  .seq_id = mem_alloc_array(seqs, sizeof(uint64_t)),
                  .pages = mem_alloc_array(seqs * (size_t)max_pages, sizeof(int32_t)),
                  .logit_row = mem_alloc_array(logits, sizeof(int32_t)),
                  .rows = mem_alloc_array(logits, sizeof(SampleRow)),
                  .out = mem_alloc_array(logits, sizeof(SampleOut)),
                  .entry = mem_alloc_array(seqs, sizeof(Entry)),
                  .held = mem_alloc_array(seqs, sizeof(RowPages)) };
    b->device = (DeviceBatch){ .token = b->token,
                               .pos = b->pos,
                               .seq_start = b->seq_start,
                               .seq_len = b->seq_len,
                               .pages = b->pages,
                               .seq_id = b->seq_id,
                               .logit_row = b->logit_row };
}

void batch_done(Batch *b)
{
    mem_free(b->token);
    mem_free(b->pos);
    mem_free(b->seq_start);
    mem_free(b->seq_len);
    mem_free(b->seq_id);
    mem_free(b->pages);
    mem_free(b->logit_row);
    mem_free(b->rows);
    mem_free(b->out);
    mem_free(b->entry);
    mem_free(b->held);
}

static void set_stride(Batch *b, Seq *const *pick, int n)
{
    int longest = 1;
    for (int i = 0; i < n; i++) longest = MAX(longest, pick[i]->n_pages);
    if (longest <= b->stride && b->stride <= 4 * longest + STRIDE_STEP) return;
    b->stride = (longest + STRIDE_STEP - 1) / STRIDE_STEP * STRIDE_STEP;
    for (int i = 0; i < b->max_seqs; i++) b->held[i].id = UINT64_MAX; /* rows past n, too, lie elsewhere now */
}

static void copy_pages(Batch *b, int row, const Seq *q)
{
    RowPages *held = &b->held[row];
    int from = held->id == q->id && held->version == q->pages_version ? held->n : 0;
    int32_t *to = b->pages + (size_t)row * (size_t)b->stride;
    if (from < q->n_pages) memcpy(to + from, q->pages + from, (size_t)(q->n_pages - from) * sizeof *to);
    *held = (RowPages){ q->id, q->pages_version, q->n_pages };
}

/* A token that the host does not know yet is named by the row of the last sample that draws it, or is guessed. */
static int32_t token_at(const Seq *q, int pos)
{
    if (pos < q->n_tok) return q->tok[pos];
    return q->n_drafts ? q->draft.token[pos - q->n_tok] : -1 - q->drawn_at;
}

static void copy_rows(Batch *b, const Seq *q, Entry *entry, int n_vocab)
{
    DeviceBatch *d = &b->device;
    int end = q->sampling.max_new > 0 ? seq_n_planned(q) : 0;
    for (int i = 0; i < q->n_rows; i++) {
        int pos = q->n_computed + i, row = d->n_tok++;
        b->token[row] = token_at(q, pos);
        b->pos[row] = pos;
        bool scored = pos + 1 >= q->next_logprob && pos + 1 < q->n_prompt;
        bool drawn = end > 0 && pos + 1 >= end;
        if (!scored && !drawn) continue;
        entry->n_logits++;
        entry->n_scored += scored;
        if (drawn && !entry->draws) entry->draws = true, entry->drawn_at = d->n_logit;
        b->logit_row[d->n_logit] = row;
        seq_sample_row(q, scored ? q->tok[pos + 1] : -1, MAX(pos + 1 - q->n_prompt, 0), n_vocab,
                       &b->rows[d->n_logit++]);
    }
}

void batch_fill(Batch *b, int which, Seq *const *pick, int n, int n_vocab)
{
    DeviceBatch *d = &b->device;
    d->n_tok = d->n_logit = b->n_prefill = b->n_decode = b->n_drafts = b->n_masked = 0;
    d->n_seq = b->n = n;
    set_stride(b, pick, n);
    d->max_pages = b->stride;
    for (int i = 0; i < n; i++) {
        Seq *q = pick[i];
        q->entry[which] = i;
        b->entry[i] = (Entry){ .q = q, .first_scored = seq_first_scored(q) + 1, .n_drafts = q->n_drafts };
        b->entry[i].fills_last = q->sampling.max_new == 0 && q->n_computed + q->n_rows == q->n_prompt;
        b->seq_start[i] = d->n_tok;
        b->seq_len[i] = q->n_computed + q->n_rows;
        b->seq_id[i] = q->id;
        copy_pages(b, i, q);
        copy_rows(b, q, &b->entry[i], n_vocab);
        b->n_masked += b->entry[i].draws && q->constrain.matcher;
        b->n_drafts += q->n_drafts;
        b->entry[i].decodes = b->entry[i].draws && q->n_computed >= q->n_prompt;
        int n_decode = b->entry[i].decodes ? 1 + q->n_drafts : 0;
        b->n_decode += n_decode;
        b->n_prefill += q->n_rows - n_decode; /* forced text is computed like a prompt */
    }
    b->seq_start[n] = d->n_tok;
}

void batch_queued(Batch *b)
{
    for (int i = 0; i < b->n; i++) {
        const Entry *entry = &b->entry[i];
        Seq *q = entry->q;
        q->n_computed += q->n_rows - q->n_drafts; /* those of guesses that hold come with them */
        q->n_rows = q->n_drafts = 0;
        if (entry->n_scored) q->next_logprob = entry->first_scored + entry->n_scored;
        if (!entry->draws) continue;
        q->n_drawing++;
        q->drawn_at = entry->drawn_at;
    }
}

void batch_finish(Batch *b)
{
    for (Seq *q = b->dead, *next; q; q = next) {
        next = q->next;
        seq_free(q);
    }
    b->dead = NULL;
    b->n = 0;
}
