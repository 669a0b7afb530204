/* bench.h - what every engine test needs: a model on the sim backend, an engine, and jobs that write down what they are told. */
#ifndef TESTS_ENGINE_BENCH_H
#define TESTS_ENGINE_BENCH_H

#include "backend/sim/sim.h"
#include "engine/engine.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
/* clang-format on */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SLOW = 1 };
#else
enum { SLOW = 0 };
#endif

enum { VOCAB = 512, BENCH_TOKENS = 2048 };

typedef struct {
    Checkpoint *checkpoint;
    Device *device;
    Model *model;
    Engine *engine;
} Bench;

/* o->model is filled in. n_pages rules the KV cache. */
static inline Bench bench_open(EngineOptions o, int n_pages, SimConfig sim)
{
    Bench b = { 0 };
    Err err = { 0 };
    Status st = load_open(RADISH_TESTS "/engine/data/tiny", (LoadOptions){ .dummy = true }, &b.checkpoint, &err);
    if (st == OK) st = backend_sim.open(&(DeviceOptions){ 0 }, &b.device, &err);
    ModelOptions m = { .ops = &backend_sim,
                       .device = b.device,
                       .max_batch_tokens = o.max_batch_tokens,
                       .max_seqs = o.max_running,
                       .n_pages = n_pages };
    if (st == OK) {
        sim_configure(b.device, &sim);
        st = model_open(b.checkpoint, &m, &b.model, &err);
    }
    o.model = b.model;
    if (st == OK) st = engine_open(&o, &b.engine, &err);
    if (st != OK) fprintf(stderr, "%s\n", err.text);
    assert_int_equal(st, OK);
    return b;
}

static inline void bench_close(Bench *b)
{
    engine_close(b->engine);
    model_close(b->model);
    backend_sim.close(b->device);
    load_close(b->checkpoint);
}

static inline EngineOptions bench_options(void)
{
    return (EngineOptions){ .policy = POLICY_FCFS,
                            .max_running = 16,
                            .max_queued = 4096,
                            .max_batch_tokens = 256,
                            .chunk_tokens = 128,
                            .use_radix = true,
                            .verify = true };
}

/* What a job was told. Checks the order of events as they come. */
typedef struct {
    uint64_t id;
    int n_started, n_end, n_tok, n_scored;
    int n_prompt, n_cached, n_preempted, n_out;
    int32_t tok[BENCH_TOKENS];
    int32_t matched;
    EndReason reason;
    float logprob_sum, prompt_logprob_sum;
    int first_scored, last_scored;
    bool said_why;
} Heard;

static inline void bench_hear(void *ctx, const Event *e)
{
    Heard *h = ctx;
    assert_int_equal(h->n_end, 0);
    if (!h->id) h->id = e->job;
    assert_true(h->id == e->job);
    if (e->kind == EV_STARTED) {
        assert_int_equal(h->n_started++, 0);
        h->n_prompt = e->n_prompt;
        h->n_cached = e->n_cached;
    } else if (e->kind == EV_TOKEN) {
        assert_int_equal(h->n_started, 1);
        assert_int_equal(e->index, h->n_tok);
        h->tok[h->n_tok++] = e->token;
        h->logprob_sum += e->logprob;
    } else if (e->kind == EV_PROMPT_LOGPROBS) {
        assert_int_equal(h->n_tok, 0);
        if (h->n_scored++)
            assert_int_equal(e->index, h->last_scored + 1);
        else
            h->first_scored = e->index;
        h->last_scored = e->index;
        h->prompt_logprob_sum += e->logprob;
    } else {
        h->n_end++;
        h->reason = e->reason;
        h->matched = e->matched;
        h->n_preempted = e->n_preempted;
        h->n_out = e->n_out;
        h->said_why = e->message && e->message[0];
    }
}

static inline Job bench_job(const int32_t *prompt, int n, int max_new, Heard *h)
{
    *h = (Heard){ 0 };
    Job j = { .prompt = prompt, .n_prompt = n, .sampling = sampling_default(), .on_event = bench_hear, .ctx = h };
    j.sampling.temperature = 0;
    j.sampling.max_new = max_new;
    return j;
}

static inline uint64_t bench_submit(const Bench *b, const Job *j)
{
    Err err = { 0 };
    uint64_t id = 0;
    Status st = engine_submit(b->engine, j, &id, &err);
    if (st != OK) fprintf(stderr, "%s\n", err.text);
    assert_int_equal(st, OK);
    return id;
}

static inline int bench_run(const Bench *b)
{
    int n = 0;
    while (engine_step(b->engine)) n++;
    return n;
}

static inline void bench_prompt(int32_t *tok, int n, int32_t from)
{
    for (int i = 0; i < n; i++) tok[i] = (from + i * 7) % VOCAB;
}

#endif
