/* core.h - inside engine: the Engine itself, shared by engine.c (threads, inbox, loop) and accept.c (tokens to events). */
#ifndef ENGINE_CORE_H
#define ENGINE_CORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/queue.h"
#include "engine/batch.h"
#include "engine/sched.h"
#include "engine/speculate.h"
#include "engine/steplog.h"

/* A message that is not a job. They form a stack that any thread may push to, so none is ever refused; the engine takes
 * all at once and turns them round. */
typedef enum { CONTROL_CANCEL, CONTROL_STOP, CONTROL_CANCEL_ALL, CONTROL_FLUSH } ControlKind;

typedef struct Control Control;
struct Control {
    ControlKind kind;
    uint64_t id;         /* CANCEL, STOP; CANCEL_ALL: the last id there was */
    Queue *reply;        /* FLUSH: the caller waits here, and owns the Control */
    int64_t deadline_ns; /* FLUSH: on the wall's clock */
    bool flushed;        /* FLUSH: the answer */
    Control *next;
};

enum { STATS_WORDS = (sizeof(EngineStats) + 7) / 8 };

struct Engine {
    EngineOptions o;
    Model *model;
    const ModelInfo *info;
    /* any thread */
    Queue *inbox; /* of Seq */
    _Atomic(Control *) control;
    _Atomic uint64_t next_id;
    _Atomic int n_live; /* jobs accepted and not ended */
    _Atomic bool failed, closing;
    _Atomic uint64_t stats_version; /* odd: being written */
    _Atomic uint64_t stats_word[STATS_WORDS];
    /* the engine's thread */
    Kv *kv;
    SeqTable table;
    Ids forced; /* a run of tokens that a grammar forces, while they are appended */
    Sched sched;
    Speculate speculate;
    Batch batch[2];              /* one in flight while the other is filled; without running ahead only the first */
    int turn;                    /* the one to be filled next */
    Batch *flying;               /* queued by the step before and not yet waited for */
    int64_t device_ns, ended_ns; /* host time inside the model in this step; when the last pass ended */
    EngineStats stats;
    StepRecord step; /* being written */
    StepLog log;
    Control *flushes; /* waiting for the engine to be idle */
    int64_t window_ns;
    uint64_t window_tokens; /* start of the second that tok_s is taken over */
    Err fault;
    int max_jobs;
    /* the owner */
    pthread_t thread;
    bool threaded;
};

/* Takes q out, says EV_END, frees q. `last`: what was drawn last, if it ended q. */
void accept_end(Engine *e, Seq *q, EndReason reason, int32_t matched, const SampleOut *last);
void accept_started(Engine *e, const Batch *b);                   /* EV_STARTED for those in their first pass */
void accept_tokens(Engine *e, Batch *b);                          /* after a pass */
void accept_end_all(Engine *e, EndReason reason, uint64_t up_to); /* ids up to that one */

#endif
