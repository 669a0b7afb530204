/* bench_traffic.c - `radish bench traffic`: what the scheduler makes of a list of requests on the simulated device.
 *
 * The engine is the server's; only the device and its clock are simulated, so days pass in seconds and the same command
 * prints the same figures. Lines of --lengths arrive at --rate a second (Poisson), or all at the start; --num more than there are
 * lines begins the list again. Prompts are random ids. The engine knows how long answers get, unless --hide-lengths
 * makes it expect that each may end at any token or go on to the context's end. No thread but the caller's. */
#include <math.h>
#include <stdio.h>

#include "backend/sim/sim.h"
#include "base/jsonw.h"
#include "cli/bench.h"
#include "cli/bench_list.h"
#include "engine/engine.h"

enum { MAX_RUNNING = 1024, MAX_ROWS = 8192, REQUESTS_MAX = 20000000, SEED = 42 };

/* ---- times: counted in buckets of 1.6 %, so that any number of them can be kept ---- */

enum { STEP_BITS = 17, FIRST_BUCKET = 0x30000000 >> STEP_BITS, TIME_BUCKETS = 4096 }; /* from 5e-10 s up */

typedef struct {
    uint64_t count[TIME_BUCKETS], n;
} Times;

static void times_add(Times *t, double seconds)
{
    float x = (float)seconds;
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    int at = (bits >> STEP_BITS) - FIRST_BUCKET;
    t->count[MIN(MAX(at, 0), TIME_BUCKETS - 1)]++;
    t->n++;
}

static double times_at(const Times *t, double share)
{
    uint64_t below = (uint64_t)(share * (double)t->n), seen = 0;
    int at = 0;
    while (at < TIME_BUCKETS - 1 && (seen += t->count[at]) <= below) at++;
    int32_t bits = (at + FIRST_BUCKET) << STEP_BITS | 1 << (STEP_BITS - 1); /* the bucket's middle */
    float x;
    memcpy(&x, &bits, sizeof x);
    return t->n ? (double)x : 0;
}

/* ---- the world ---- */

typedef struct Sent Sent;

typedef struct {
    Checkpoint *checkpoint;
    Device *device;
    Model *model;
    Engine *engine;
    const Options *o;
    const BenchLength *lengths;
    int n_lengths, n, n_sent, n_ended, n_failed;
    Sent *sent;    /* [n] */
    int32_t *ids;  /* [context] */
    double next_s; /* when the next one arrives */
    int64_t began_ns, n_in, n_out;
    char why[256]; /* the first failure */
    Rng rng;
    Times first, gap, whole;
} World;

struct Sent {
    World *w;
    int64_t arrived_ns, last_ns;
    int stop_after; /* tokens after which the listener ends it; 0: the engine does */
};

static void on_event(void *ctx, const Event *e)
{
    Sent *q = ctx;
    World *w = q->w;
    int64_t now = model_now_ns(w->model);
    if (e->kind == EV_TOKEN) {
        if (e->index == 0)
            times_add(&w->first, (double)(now - q->arrived_ns) / 1e9);
        else
            times_add(&w->gap, (double)(now - q->last_ns) / 1e9);
        q->last_ns = now;
        w->n_out++;
        if (e->index + 1 == q->stop_after) engine_stop(w->engine, e->job);
    } else if (e->kind == EV_END) {
        times_add(&w->whole, (double)(now - q->arrived_ns) / 1e9);
        w->n_ended++;
        if (e->reason == END_FAILED && w->n_failed++ == 0) snprintf(w->why, sizeof w->why, "%s", e->message);
    }
}

static Status submit(World *w, Err *err)
{
    BenchLength l = w->lengths[w->n_sent % w->n_lengths];
    const ModelInfo *m = model_info(w->model);
    static const int32_t any_id = 0;
    Sent *q = &w->sent[w->n_sent];
    if (l.input + l.output > m->context_length)
        return fail(err, E_INVALID, "line %d (%d in, %d out) does not fit the context of %d",
                    w->n_sent % w->n_lengths + 1, l.input, l.output, m->context_length);
    *q = (Sent){ .w = w, .arrived_ns = w->began_ns + (int64_t)(w->next_s * 1e9) };
    q->stop_after = w->o->hide_lengths ? l.output : 0;
    bench_random_ids(&w->rng, m->n_vocab, l.input, w->ids);
    Job j = { .prompt = w->ids, .n_prompt = l.input, .sampling = sampling_default(), .on_event = on_event, .ctx = q };
    j.sampling.temperature = 0;
    j.sampling.ignore_eos = !w->o->hide_lengths;
    j.sampling.max_new = w->o->hide_lengths ? m->context_length - l.input : l.output;
    j.sampling.min_new = w->o->hide_lengths ? l.output : 0; /* the id below is not drawn before */
    j.sampling.stop_ids = &any_id;
    j.sampling.n_stop_ids = w->o->hide_lengths;
    w->n_in += l.input;
    w->n_sent++;
    return engine_submit(w->engine, &j, NULL, err);
}

static Status run(World *w, Err *err)
{
    w->began_ns = model_now_ns(w->model);
    while (w->n_ended < w->n) {
        while (w->n_sent < w->n && (double)(model_now_ns(w->model) - w->began_ns) >= w->next_s * 1e9) {
            if (submit(w, err) != OK) return w->n_failed ? fail(err, E_DEVICE, "%s", w->why) : err->status;
            if (w->o->rate > 0) w->next_s -= log(1 - (double)(rng_next(&w->rng) >> 11) * 0x1p-53) / w->o->rate;
        }
        if (!engine_step(w->engine) && w->n_sent < w->n)
            sim_advance(w->device, w->began_ns + (int64_t)(w->next_s * 1e9) + 1 - model_now_ns(w->model));
    }
    return w->n_failed ? fail(err, E_DEVICE, "%s", w->why) : OK;
}

/* ---- opening ---- */

static Status open_world(World *w, Err *err)
{
    const RadishOptions *r = &w->o->radish;
    SimConfig sim = sim_config_default();
    EngineOptions e = { .use_radix = !r->disable_radix_cache,
                        .prefill_first = r->prefill_first,
                        .max_running = r->max_running > 0 ? r->max_running : MAX_RUNNING,
                        .max_queued = w->n,
                        .chunk_tokens = MAX(r->chunked_prefill_size, 0),
                        .mixed_tokens = r->max_mixed_tokens > 0 ? r->max_mixed_tokens : ENGINE_MIXED_TOKENS,
                        .verify = r->verify };
    e.max_batch_tokens = r->max_batch_tokens > 0 ? r->max_batch_tokens : e.chunk_tokens > 0 ? e.chunk_tokens : MAX_ROWS;
    e.max_batch_tokens = MAX(e.max_batch_tokens, e.max_running);
    if (!engine_find_policy(r->schedule_policy, &e.policy))
        return fail(err, E_INVALID, "--schedule-policy %s: use " ENGINE_POLICIES, r->schedule_policy);
    TRY(load_open(r->model_path, (LoadOptions){ .dummy = true }, &w->checkpoint, err));
    TRY(backend_sim.open(&(DeviceOptions){ 0 }, &w->device, err));
    double share = r->mem_fraction > 0 ? (double)r->mem_fraction : 0.9;
    ModelOptions m = { .ops = &backend_sim,
                       .device = w->device,
                       .max_batch_tokens = e.max_batch_tokens,
                       .max_seqs = e.max_running,
                       .context_length = r->context_length,
                       .kv_dtype = DT_NONE,
                       .memory_budget = (size_t)(share * (double)sim.memory) };
    if (r->max_total_tokens > 0) m.n_pages = MAX(r->max_total_tokens / KV_PAGE_TOKENS, 1);
    TRY(model_open(w->checkpoint, &m, &w->model, err));
    e.model = w->model;
    w->ids = mem_alloc_array((size_t)model_info(w->model)->context_length, sizeof *w->ids);
    return engine_open(&e, &w->engine, err);
}

static void close_world(World *w)
{
    engine_close(w->engine);
    model_close(w->model);
    backend_sim.close(w->device);
    load_close(w->checkpoint);
    mem_free(w->sent);
    mem_free(w->ids);
}

/* ---- saying it ---- */

static void put_times(Buf *j, const char *name, const Times *t)
{
    printf("%-18s median %.4g s, 90 %% %.4g s, 99 %% %.4g s\n", name, times_at(t, 0.5), times_at(t, 0.9),
           times_at(t, 0.99));
    buf_printf(j, ",\"%s_s\":{\"p50\":%.6g,\"p90\":%.6g,\"p99\":%.6g}", name, times_at(t, 0.5), times_at(t, 0.9),
               times_at(t, 0.99));
}

static void report(const World *w, double real_s)
{
    EngineStats s;
    engine_stats(w->engine, &s);
    double wall = (double)(model_now_ns(w->model) - w->began_ns) / 1e9, steps = (double)MAX(s.steps, 1u);
    double rows = (double)(s.prefill_tokens + s.decode_tokens) / steps;
    const ModelInfo *m = model_info(w->model);
    Buf j = { 0 };
    printf("%s, %d tokens of KV cache\n", m->arch, m->n_pages * KV_PAGE_TOKENS);
    printf("requests           %d (%lld tokens in, %lld out)\n", w->n, (long long)w->n_in, (long long)w->n_out);
    printf("simulated          %.2f s in %.2f s; %.2f us a step, of it the engine %.2f\n", wall, real_s,
           real_s * 1e6 / steps, (double)s.sched_ns / 1e3 / steps);
    printf("output             %.1f tokens/s\ntotal              %.1f tokens/s\n", (double)w->n_out / wall,
           (double)(w->n_in + w->n_out) / wall);
    printf("steps              %llu of %.1f rows; preemptions %llu\n", (unsigned long long)s.steps, rows,
           (unsigned long long)s.preemptions);
    buf_printf(&j,
               "{\"requests\":%d,\"input_tokens\":%lld,\"output_tokens\":%lld,\"wall_s\":%.6f,\"real_s\":%.6f,"
               "\"output_tok_s\":%.2f,\"steps\":%llu,\"rows\":%.2f,\"preemptions\":%llu,\"sched_us\":%.3f",
               w->n, (long long)w->n_in, (long long)w->n_out, wall, real_s, (double)w->n_out / wall,
               (unsigned long long)s.steps, rows, (unsigned long long)s.preemptions, (double)s.sched_ns / 1e3 / steps);
    put_times(&j, "first_token", &w->first);
    put_times(&j, "between_tokens", &w->gap);
    put_times(&j, "request", &w->whole);
    buf_str(&j, STR("}\n"));
    bench_write_json(w->o->json, &j);
    buf_free(&j);
}

int bench_traffic(const Options *o)
{
    Arena *a = arena_new(0);
    BenchLength *lengths;
    Err err = { 0 };
    if (!o->radish.model_path || !o->lengths) {
        fprintf(stderr, "radish: bench traffic needs --model-path CONFIG and --lengths FILE (bench/online.tsv ...)\n");
        arena_free(a);
        return 1;
    }
    World *w = mem_alloc(sizeof *w);
    *w = (World){ .o = o, .rng = { SEED } };
    w->n_lengths = bench_list_read(a, o->lengths, 0, &lengths);
    w->lengths = lengths;
    w->n = MIN(o->num > 0 ? o->num : w->n_lengths, REQUESTS_MAX);
    Status st = w->n_lengths > 0 ? open_world(w, &err) : E_INVALID;
    int64_t began = clock_ns();
    if (st == OK) {
        w->sent = mem_alloc_array((size_t)w->n, sizeof *w->sent);
        st = run(w, &err);
    }
    if (st == OK)
        report(w, (double)(clock_ns() - began) / 1e9);
    else if (err.text[0])
        fprintf(stderr, "radish: %s\n", err.text);
    close_world(w);
    mem_free(w);
    arena_free(a);
    return st == OK ? 0 : 1;
}
