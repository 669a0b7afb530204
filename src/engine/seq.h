/* seq.h - inside engine: one job from submission to its last event. */
#ifndef ENGINE_SEQ_H
#define ENGINE_SEQ_H

#include "engine/constrain.h"
#include "engine/draft.h"
#include "engine/engine.h"

enum { SEQ_STOP_IDS_MAX = 1024 };
enum { SEQ_JUMP_ROWS = 64 }; /* of forced text that go with those that decode; a longer one waits like a prompt */

typedef enum {
    SEQ_NEW,     /* in the inbox */
    SEQ_WAITING, /* in the scheduler's queue; holds no page */
    SEQ_PARKED,  /* waits for its leader to compute what both begin with; holds no page */
    SEQ_RUNNING  /* holds pages[0..n_pages) */
} SeqState;

/* Token counts for penalties: a list that a SampleRow can point at, and a table that finds a token in it. */
typedef struct {
    TokenCount *list; /* NULL: no penalty is on */
    int32_t *slot;    /* [mask + 1] index into list + 1; 0: empty */
    int n, mask;
} SeqCounts;

/* One block of memory from seq_new to seq_free, with everything the job can ever need: the engine's thread allocates
 * nothing for it. tok[] is the prompt and then the output. When the engine runs ahead, the device has drawn (or will have)
 * n_drawing tokens more than the host knows; n_computed counts what has been queued, for calls on a device run in order, so
 * that whatever is queued later finds it done. */
struct Seq {
    uint64_t id;
    uint64_t arrival; /* order of entering the scheduler */
    uint64_t turn;    /* shared by those that arrived while none of them ran */
    SeqState state;
    int32_t *tok;        /* [n_prompt + max_new] */
    int n_prompt, n_tok; /* prompt; prompt and output so far */
    int n_drawing;       /* draws queued that have not been told yet */
    int32_t drawn_at;    /* the row of the last draw among its pass's logits */
    int n_computed;      /* positions whose keys and values are in pages, or queued to be */
    int32_t *pages;      /* [pages of n_prompt + max_new] */
    int n_pages;
    KvPrefix prefix;        /* the first pages, which are the tree's */
    int n_shared_pages;     /* of pages: found in the tree at admission, so probably others' too */
    uint32_t pages_version; /* counts changes to pages[] other than growing */
    uint64_t *page_hash;    /* [n_prompt / KV_PAGE_TOKENS] of salt and all tokens up to the page's end */
    uint64_t salt;
    int priority;
    int64_t deadline_ns; /* 0: none */
    Sampling sampling;
    SeqCounts counts;
    Draft draft; /* slot NULL: it never has guesses */
    Constrain constrain;
    int n_untold;     /* the last of tok[]: forced before the first pass, told after EV_STARTED */
    int next_logprob; /* prompt position whose logprob is to be queued next; n_prompt: none is */
    void (*on_event)(void *ctx, const Event *e);
    void *ctx;
    bool started; /* EV_STARTED has been told */
    int n_cached, n_preempted;
    int passed_over;              /* times a later job was admitted first */
    int n_rows, n_logits;         /* of the pass being built */
    int n_drafts;                 /* of n_rows, the last: draft.token[0..n_drafts) */
    int entry[2];                 /* its last place in each of the engine's two batches */
    int running_at;               /* index into the scheduler's running */
    int heap_at[2];               /* places in its heaps, -1: not there; SeqHeapKind */
    int place;                    /* in the queue, when last taken out to be looked at */
    int peeked;                   /* pages found in the tree when last looked */
    Seq *leader;                  /* of a parked sequence */
    int wait_pages;               /* of a parked sequence: what the leader must have put into the tree */
    Seq *followers, *next, *prev; /* those parked here; neighbours in the leader's list */
};

/* The job is checked against the model's limits, and its grammar makes the first mask. o: the engine's. Any thread. */
Status seq_new(const Job *job, const ModelInfo *m, const EngineOptions *o, Seq **out, Err *err);
void seq_free(Seq *s);
void seq_append(Seq *s, int32_t token); /* one token of output, with its counts */
static inline int seq_n_out(const Seq *s)
{
    return s->n_tok - s->n_prompt;
}
static inline int seq_pages_for(int n_tok)
{
    return (n_tok + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
}
/* Whether its output ends at max_new and nowhere else, unless somebody outside ends it. */
static inline bool seq_length_known(const Seq *s)
{
    return s->sampling.n_stop_ids == 0 && !s->constrain.matcher;
}
/* How many tokens there are when all that is queued has been drawn. */
static inline int seq_n_planned(const Seq *s)
{
    return s->n_tok + s->n_drawing;
}
/* How many positions may be computed now: those of all planned tokens, but never that of the last one allowed. */
static inline int seq_n_positions(const Seq *s)
{
    return MIN(seq_n_planned(s), s->n_prompt + MAX(s->sampling.max_new - 1, 0));
}
/* Rows it could use in the pass being built. With penalties the host must know a token before the next is drawn. */
static inline int seq_rows_left(const Seq *s)
{
    return s->counts.list && s->n_drawing ? 0 : seq_n_positions(s) - s->n_computed;
}
/* Whether its next rows are output: one, or with it those of text that was forced. */
static inline bool seq_decodes(const Seq *s)
{
    int left = seq_rows_left(s);
    return left == 1 || (s->constrain.matcher && left > 1 && left <= SEQ_JUMP_ROWS && s->n_computed >= s->n_prompt);
}
/* Whether tokens after the next may be drawn in one pass with it: each row must know how to draw before the rows before it
 * have drawn. Penalties would have to count those. */
static inline bool seq_may_draft(const Seq *s)
{
    return s->draft.slot != NULL;
}
/* How many leading tokens may come from the tree: something must be left to compute, and all that a logprob is due for. */
int seq_usable_prefix(const Seq *s);
/* How many whole pages of both prompts are equal from the start, given that the first `known` are. */
int seq_shared_pages(const Seq *a, const Seq *b, int known);
/* Logit rows among the next n_rows positions: for prompt logprobs, and the last known token if output is wanted. */
int seq_logits_in(const Seq *s, int n_rows);
/* The first position from n_computed on that gives a prompt logprob. */
int seq_first_scored(const Seq *s);
/* target -1: draw output token n_out, given all before it; else tell the logprob of target. */
void seq_sample_row(const Seq *s, int32_t target, int n_out, int n_vocab, SampleRow *row);

#endif
