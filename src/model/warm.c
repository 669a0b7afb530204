/* warm.c - model_warm: passes of every size that the device wants to see, on page 0, before anybody is served.
 *
 * What they write there is garbage that nobody reads: a page's content counts only after a sequence has written it.
 * Thread: whoever opens the model, before the engine starts. */
#include "model/plan.h"

enum { PAGE_TOKENS = 16, PREFILL_TOKENS = 1024 };

typedef struct {
    Arena *arena;
    Model *model;
    int n_vocab;
    DeviceBatch batch;
} Warm;

/* rows new tokens in pieces of `each`, all of them drawn from if each is 1, else the last of each piece. */
static void fill(Warm *w, int rows, int each, int most_seqs)
{
    int n_seq = 0, max_pages = (each + PAGE_TOKENS - 1) / PAGE_TOKENS;
    arena_reset(w->arena);
    int32_t *token = ARENA_NEW(w->arena, int32_t, (size_t)rows), *pos = ARENA_NEW(w->arena, int32_t, (size_t)rows),
            *start = ARENA_NEW(w->arena, int32_t, (size_t)rows + 1), *len = ARENA_NEW(w->arena, int32_t, (size_t)rows),
            *logit = ARENA_NEW(w->arena, int32_t, (size_t)rows);
    uint64_t *id = ARENA_NEW(w->arena, uint64_t, (size_t)rows);
    for (int r = 0; r < rows && n_seq < most_seqs; n_seq++) {
        int n = MIN(each, rows - r);
        for (int i = 0; i < n; i++) token[r + i] = (r + i) % w->n_vocab, pos[r + i] = i;
        start[n_seq] = r;
        len[n_seq] = n;
        id[n_seq] = UINT64_MAX - (uint64_t)n_seq;
        r += n;
        start[n_seq + 1] = r;
        logit[n_seq] = r - 1;
    }
    w->batch = (DeviceBatch){ .n_tok = start[n_seq],
                              .n_seq = n_seq,
                              .max_pages = max_pages,
                              .token = token,
                              .pos = pos,
                              .seq_start = start,
                              .seq_len = len,
                              .pages = ARENA_NEW(w->arena, int32_t, (size_t)n_seq * (size_t)max_pages),
                              .seq_id = id,
                              .n_logit = n_seq,
                              .logit_row = logit };
}

static Status pass(Warm *w, Err *err)
{
    int n = w->batch.n_logit;
    SampleRow *rows = ARENA_NEW(w->arena, SampleRow, (size_t)n);
    SampleOut *out = ARENA_NEW(w->arena, SampleOut, (size_t)n);
    for (int i = 0; i < n; i++)
        rows[i] = (SampleRow){ .top_p = 1, .repetition = 1, .n_vocab = w->n_vocab, .target = -1 };
    model_forward(w->model, &w->batch);
    model_sample(w->model, rows, n);
    return model_sample_wait(w->model, out, n, err);
}

Status model_warm_passes(Model *m, WarmLimits most, const WarmPlan *plan, Err *err)
{
    Warm w = { .arena = arena_new(0), .model = m, .n_vocab = model_info(m)->n_vocab };
    Status st = OK;
    for (int i = 0; i < plan->n_prefill && st == OK; i++) {
        int each = MAX(PREFILL_TOKENS, (plan->prefill[i] + most.seqs - 1) / most.seqs);
        fill(&w, plan->prefill[i], MIN(each, most.context), most.seqs);
        st = pass(&w, err);
    }
    for (int i = 0; i < plan->n && st == OK; i++) {
        fill(&w, plan->rows[i], 1, most.seqs);
        st = pass(&w, err);
        if (st == OK) st = pass(&w, err);
    }
    arena_free(w.arena);
    return st;
}
