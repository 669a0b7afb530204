/* sched.h - inside engine: who waits, who runs, on which pages, and who is in the next pass. */
#ifndef ENGINE_SCHED_H
#define ENGINE_SCHED_H

#include "engine/seqs.h"

typedef struct {
    SchedPolicy policy;
    int max_running, max_logits, max_batch_tokens, chunk_tokens, mixed_tokens;
    int max_jobs; /* waiting, parked and running */
    bool use_radix, prefill_first, ahead;
} SchedLimits;

typedef struct {
    SchedLimits limits;
    Kv *kv; /* borrowed */
    SeqHeap waiting, deadlines;
    Seq **running; /* [max_running] */
    int n_running;
    Seq **filling; /* [max_running] those of running whose prompt is not yet whole in the tree, in order of admission */
    int n_filling;
    int n_parked;
    Seq **pick; /* [max_running] the pass: first those that decode; n_rows of each is set */
    int n_pick;
    int rows_left, logits_left; /* of the pass being built */
    int cursor;                 /* where a pass too small for all begins */
    int blocked;                /* passes until admission is tried again after the pages did not suffice */
    float growth;               /* guess: share of their allowance that sequences really use */
    uint64_t n_arrived, turn;   /* turn: of jobs that arrive now */
    bool turn_served;           /* one of that turn has begun to run: the next job to arrive opens another */
    uint64_t n_preempted, cached_tokens, prompt_tokens;
} Sched;

void sched_init(Sched *s, const SchedLimits *limits, Kv *kv);
void sched_done(Sched *s);
void sched_add(Sched *s, Seq *q); /* a new job */
/* Takes q out, wherever it is. What it has computed goes into the tree when `keep`, and its pages home. */
void sched_remove(Sched *s, Seq *q, bool keep);
Seq *sched_expired(Sched *s, int64_t now_ns); /* one whose deadline has passed, still inside; NULL: none */
/* Chooses the next pass into pick[]. Returns n_pick; 0: there is nothing to do, or nothing before more is known. */
int sched_pick(Sched *s);
/* The pass is queued: q->n_computed has moved. Finished pages of a prompt go into the tree, for others to find. */
void sched_computed(Sched *s, Seq *q);
/* Some of its guesses did not hold: pages past its known tokens go home. */
void sched_trim(Sched *s, Seq *q);
static inline bool sched_idle(const Sched *s)
{
    return s->n_running + s->n_parked + s->waiting.n == 0;
}
/* Between sched.c and admit.c */
void sched_preempt(Sched *s, Seq *q);
Seq *sched_weakest(const Sched *s);     /* of those running: the lowest priority, then the latest arrival */
void sched_give_rows(Sched *s, Seq *q); /* puts q into the pass with as many rows as there are for it */
void sched_verify(const Sched *s);      /* CHECKs that pages, lists and states agree; allocates */

#endif
