/* steplog.h - inside engine: the last steps, for the moment in which something goes wrong. */
#ifndef ENGINE_STEPLOG_H
#define ENGINE_STEPLOG_H

#include <stdatomic.h>

#include "engine/batch.h"

enum { STEPLOG_STEPS = 64, STEPLOG_PICKED = 4 };

/* One step: the pass that it queued, and the pass that it waited for (the one before if the engine is ahead). */
typedef struct {
    uint64_t step;                                          /* from 1 */
    int64_t queued_ns;                                      /* on the model's clock */
    int64_t sched_ns;                                       /* host time outside the model */
    int64_t took_ns;                                        /* of the pass waited for */
    int32_t n_seq, n_prefill, n_decode, n_logit, max_pages; /* queued; n_seq 0: nothing was */
    int32_t waited, n_tokens, n_ended;                      /* waited for: whether, tokens drawn, jobs that ended */
    int32_t n_running, n_waiting, n_parked, n_pages_free, n_pages_tree;
    uint64_t n_preempted; /* since the start */
    struct {
        uint64_t id;
        int32_t rows, len;    /* in this pass; tokens in pages after it */
    } picked[STEPLOG_PICKED]; /* the first ones */
} StepRecord;

enum { STEPLOG_WORDS = (sizeof(StepRecord) + 7) / 8 };

/* Written by the engine's thread; read by any, also by one that is dying or a signal handler: hence atomic words. */
typedef struct {
    struct {
        _Atomic uint64_t version; /* odd: being written */
        _Atomic uint64_t word[STEPLOG_WORDS];
    } ring[STEPLOG_STEPS];
    _Atomic uint64_t n; /* steps begun */
} StepLog;

/* Stores r as step r->step, over what was there. */
void steplog_put(StepLog *l, const StepRecord *r);
void steplog_picked(StepRecord *r, const Batch *b); /* describes a batch that has been filled */
void steplog_dump(const StepLog *l, int fd); /* a line a step, oldest first. Any thread, any time; allocates nothing */

#endif
