/* engine.h - tokens in, tokens out. No text, no JSON, no sockets.
 *
 * The engine owns the model, the pages and the running sequences, and one thread that loops: take new jobs, choose who
 * runs, run one pass, draw tokens, tell the owners. Given the same jobs, seeds and order of arrival it gives the same
 * tokens; a job's tokens do not depend on what else runs. Time comes from the model's clock, so the
 * sim backend runs days in seconds. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "grammar/grammar.h"
#include "kv/kv.h"
#include "model/model.h"

typedef struct Engine Engine;

/* Who of those that wait begins first, at equal priority. */
typedef enum {
    POLICY_FCFS, /* who came first */
    POLICY_LPM, /* who has the longest prefix in the tree; then, of those that waited together, who is known to draw twice as
                    many tokens */
    POLICY_LOF /* of those that waited together, who is known to draw more tokens */
} SchedPolicy;
#define ENGINE_POLICIES "lpm, fcfs or lof"

enum { ENGINE_DRAFT_MAX = 8, ENGINE_DRAFT_LOGITS = 64 }; /* the second: of max_logits, what guesses can use */
enum { ENGINE_MIXED_TOKENS = 2048 }; /* of mixed_tokens: a good value for large devices (docs/perf/engine.md) */

bool engine_find_policy(const char *name, SchedPolicy *out); /* NULL: the default, lpm; false: there is no such */

typedef struct {
    Model *model; /* borrowed; must outlive the engine */
    SchedPolicy policy;
    int max_running;      /* sequences at once */
    int max_logits;       /* rows of logits of a pass; <= the model's. 0: max_running */
    int max_queued;       /* jobs waiting; more are refused with E_BUSY. 0: 65536 */
    int max_batch_tokens; /* rows of a pass: decode rows plus prefill chunk; <= the model's */
    int chunk_tokens;     /* longest prefill chunk of one sequence in a pass; <= max_batch_tokens */
    int mixed_tokens; /* rows of a pass in which some decode: bounds the pause between their tokens. 0: no other limit */
    bool use_radix;
    bool
        prefill_first; /* prompts get passes of their own and go before decoding: fewer passes are mixed, tokens pause */
    bool ahead;        /* queue the next pass before this one's tokens are known: for devices that run by themselves */
    int draft_tokens;  /* of a sequence, guessed from its own text and checked in one pass with its next one: up to so
                           many, ENGINE_DRAFT_MAX at most; no token changes. 0: none. Not with ahead: a guess needs the last token */
    bool no_jump;      /* text that a grammar forces is drawn token by token, not appended at once */
    bool draft_always; /* as many as there are, not by measured gain: the same passes on every run */
    bool verify;       /* kv_verify after each step: tests */
    void (*on_fault)(void *ctx,
                     const char *why); /* NULL, or: the device has failed, all jobs are ended. Engine thread */
    void *fault_ctx;
} EngineOptions;

/* How to draw; the defaults are sampling_default(). */
typedef struct {
    float temperature, top_p, min_p;
    int top_k; /* 0: off */
    float frequency, presence, repetition;
    uint64_t seed;
    const LogitBias *bias; /* copied */
    int n_bias;
    int min_new, max_new;    /* max_new 0: prefill only (fills the cache, gives prompt logprobs) */
    const int32_t *stop_ids; /* copied; end the sequence, are not part of the output count's text */
    int n_stop_ids;
    bool ignore_eos;    /* stop_ids of the model are ignored by the caller leaving them out; this keeps min/max alone */
    int n_top_logprobs; /* -1: no logprobs; 0: chosen token only; up to SAMPLE_TOP_MAX */
    int prompt_logprobs_from; /* -1: none; else logprobs of prompt tokens from this position on (position 0 has none:
                                   nothing comes before it); their EV_PROMPT_LOGPROBS come in order, before the first EV_TOKEN */
} Sampling;

Sampling sampling_default(void);

typedef enum { EV_STARTED, EV_PROMPT_LOGPROBS, EV_TOKEN, EV_END } EventKind;
typedef enum { END_NONE, END_STOP, END_LENGTH, END_CANCELLED, END_TIMEOUT, END_FAILED } EndReason;

typedef struct {
    EventKind kind;
    uint64_t job;
    /* EV_STARTED */
    int n_prompt, n_cached; /* prompt tokens found in the tree */
    /* EV_TOKEN; EV_PROMPT_LOGPROBS gives position `index` of the prompt */
    int index; /* of the output token, from 0 */
    int32_t token;
    float logprob; /* valid if asked for */
    int n_top;
    const int32_t *top_id; /* borrowed during the call */
    const float *top_logprob;
    /* EV_END: always last, exactly once. The stop id itself is drawn and counted in n_out, but has no EV_TOKEN: its index,
     * token, logprob and alternatives come here. engine_stop and a stop id of none give matched -1. */
    EndReason reason;
    int32_t matched; /* END_STOP: the stop id */
    int n_out, n_preempted;
    const char *message; /* END_FAILED; borrowed during the call */
    bool refused;        /* END_FAILED: the job's own constraint met a limit, the engine is well */
} Event;

typedef struct {
    uint64_t id;           /* 0, or one of engine_new_id that no other job has */
    const int32_t *prompt; /* copied by engine_submit */
    int n_prompt;          /* >= 1 */
    Sampling sampling;
    /* The output stays inside this language, and ends where it is complete (END_STOP, matched -1 if nothing but an end token could
     * follow, whatever min_new and stop ids say). NULL: free. The engine takes a reference. */
    Grammar *grammar;
    GrammarEncode
        encode; /* NULL, or how the tokenizer writes forced text: such text then comes without being drawn. Any thread */
    void *encode_arg;
    uint64_t salt;                               /* cache salt: jobs of different salts never share pages */
    int priority;                                /* higher runs first */
    int64_t deadline_ns;                         /* on the model's clock; 0: none */
    void (*on_event)(void *ctx, const Event *e); /* engine thread: hand over and return */
    void *ctx;
} Job;

typedef struct {
    int n_running, n_waiting;
    int n_pages, n_pages_free, n_pages_tree;
    uint64_t steps, prefill_tokens, decode_tokens, cached_tokens, prompt_tokens;
    uint64_t jobs_done, jobs_cancelled, jobs_failed, preemptions;
    uint64_t jumped_tokens;                   /* of decode_tokens: forced by a grammar, and not drawn */
    uint64_t drafted_tokens, accepted_tokens; /* guessed, and of these drawn; the latter are decode_tokens too */
    int64_t busy_ns, sched_ns, prefill_ns, decode_ns; /* where time went; a mixed pass is split by rows */
    double tok_s;                                     /* of decode, over the last second or so */
    int64_t stepped_ns; /* clock_ns() when the last step ended: with jobs inside, since when the engine is silent */
} EngineStats;

Status engine_open(const EngineOptions *o, Engine **out, Err *err); /* starts nothing */
Status engine_start(Engine *e, Err *err);                           /* its own thread runs the loop */
bool engine_step(Engine *e);  /* or: the caller's thread, one step; false: nothing to do */
void engine_close(Engine *e); /* cancels what runs, joins the thread; NULL is fine */

/* Any thread. E_INVALID: the job can never run (too long, bad id ...), with the sentence for the client; E_BUSY: queue full. */
Status engine_submit(Engine *e, const Job *job, uint64_t *id, Err *err);
/* For a job that is to be named before it is submitted. Any thread. */
uint64_t engine_new_id(Engine *e);
void engine_cancel(Engine *e, uint64_t id); /* any thread; unknown and finished ids are fine */
/* Ends the job as END_STOP from outside (a stop string was seen); tokens drawn since are dropped. Any thread. */
void engine_stop(Engine *e, uint64_t id);
void engine_cancel_all(Engine *e); /* any thread */
/* Any thread; waits up to timeout_ms for the engine to be idle. E_BUSY: requests are running. */
Status engine_flush_cache(Engine *e, int timeout_ms, Err *err);
void engine_stats(Engine *e, EngineStats *out); /* any thread: a snapshot of the last step */
/* Writes the last steps to fd, a line each: what ran, on how many pages, how long it took. Any thread, also in a signal
 * handler. The engine does so by itself on stderr when a CHECK or the device fails. */
void engine_dump_steps(const Engine *e, int fd);
void engine_verify(Engine *e); /* engine thread or a stopped engine: CHECKs pages and sequences */

#endif
