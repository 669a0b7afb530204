/* bench_offline.c - `radish bench offline`: a list of requests at once through the engine, no HTTP.
 *
 * Each line of --lengths is "input_tokens<TAB>output_tokens". Prompts are random ids, drawing is greedy, end tokens are ignored: so
 * many tokens in, so many out, the same work for every engine. Wall time runs from the first submit to the last end. */
#include <stdio.h>

#include "base/jsonw.h"
#include "base/mailbox.h"
#include "cli/bench.h"
#include "cli/bench_list.h"

enum { SEED = 42 };
static const int64_t SLOW_SUBMIT_NS = 1000000000; /* so long that it should be told */

typedef struct {
    RadishEndReason reason;
    int n_out;
    char message[200];
} End;

static void on_event(void *ctx, const RadishEvent *e)
{
    if (e->kind != RADISH_EV_END) return;
    End end = { .reason = e->reason, .n_out = e->n_out };
    if (e->message) snprintf(end.message, sizeof end.message, "%s", e->message);
    mailbox_put(ctx, &end, sizeof end, NULL, 0);
}

static bool submit_all(Radish *r, Arena *a, const BenchLength *lengths, int n, Mailbox *box)
{
    RadishInfo info;
    RadishError err;
    Rng rng = { SEED };
    radish_info(r, &info);
    int32_t *ids = ARENA_NEW(a, int32_t, (size_t)info.context_length + 1);
    for (int i = 0; i < n; i++) {
        int input = MIN(lengths[i].input, info.context_length);
        bench_random_ids(&rng, info.n_vocab, input, ids);
        RadishRequest q;
        radish_request_init(&q);
        q.ids = ids;
        q.n_ids = input;
        q.max_new_tokens = lengths[i].output;
        q.temperature = 0;
        q.ignore_eos = true;
        q.on_event = on_event;
        q.ctx = box;
        if (radish_submit(r, &q, NULL, &err) == RADISH_OK) continue;
        fprintf(stderr, "radish: line %d (%d in, %d out): %s\n", i + 1, lengths[i].input, lengths[i].output, err.text);
        return false;
    }
    return true;
}

static bool wait_all(Mailbox *box, int n, int64_t *n_out)
{
    for (int done = 0; done < n;) {
        size_t size;
        if (!mailbox_wait(box)) return false;
        for (const End *end; (end = mailbox_next(box, &size)); done++) {
            *n_out += end->n_out;
            if (end->reason == RADISH_END_LENGTH) continue;
            fprintf(stderr, "radish: a request ended early: %s\n", end->message);
            return false;
        }
    }
    return true;
}

/* Every prompt computed once, every token drawn reading what came before it: no order of passes can do with less. */
static double limit_s(Radish *r, const BenchLimit *l, const BenchLength *q, int n)
{
    RadishInfo m;
    radish_info(r, &m);
    BenchPass sum = { 0 };
    int longest = 0;
    for (int i = 0; i < n; i++) {
        double in = q[i].input, out = q[i].output;
        sum.rows += in + out - 1;
        sum.logits += out;
        sum.kv_tokens += (out - 1) * in + out * (out - 1) / 2;
        sum.attend_pairs += in * in / 2;
        longest = MAX(longest, q[i].output);
    }
    BenchPass least = { .rows = 1, .logits = 1 };
    double weights = bench_limit_pass_s(l, &m, &least) * longest;
    return MAX(bench_limit_pass_s(l, &m, &sum), weights);
}

typedef struct {
    int n;
    int64_t n_in, n_out;
    double wall_s, limit_s; /* limit_s 0: unknown */
} Run;

static void report(Radish *r, const Run *run, Buf *j)
{
    RadishStats s;
    radish_stats(r, &s);
    double busy = s.busy_s > 0 ? s.busy_s : 1, out_s = (double)run->n_out / run->wall_s,
           all_s = (double)(run->n_in + run->n_out) / run->wall_s,
           hit = s.prompt_tokens ? (double)s.cached_tokens / (double)s.prompt_tokens : 0;
    printf("requests          %d (%lld tokens in, %lld out)\n", run->n, (long long)run->n_in, (long long)run->n_out);
    printf("wall              %.2f s\noutput            %.1f tokens/s", run->wall_s, out_s);
    if (run->limit_s > 0)
        printf(", %.1f %% of this device's %.1f", 100 * run->limit_s / run->wall_s, (double)run->n_out / run->limit_s);
    printf("\ntotal             %.1f tokens/s\ncache hit rate    %.1f %%\nsteps             %llu, preemptions %llu\n",
           all_s, 100 * hit, (unsigned long long)s.steps, (unsigned long long)s.preemptions);
    printf("time              prefill %.1f %%, decode %.1f %%, scheduling %.2f %%\n", 100 * s.prefill_s / busy,
           100 * s.decode_s / busy, 100 * s.sched_s / busy);
    if (s.drafted_tokens)
        printf("guesses           %llu, %.1f %% of them drawn\n", (unsigned long long)s.drafted_tokens,
               100 * (double)s.accepted_tokens / (double)s.drafted_tokens);
    buf_printf(j,
               "{\"requests\":%d,\"input_tokens\":%lld,\"output_tokens\":%lld,\"wall_s\":%.4f,\"output_tok_s\":%.2f,"
               "\"total_tok_s\":%.2f,\"limit_tok_s\":%.2f,\"cache_hit_rate\":%.4f,\"steps\":%llu,\"preemptions\":%llu,"
               "\"drafted_tokens\":%llu,\"accepted_tokens\":%llu,"
               "\"prefill_share\":%.4f,\"decode_share\":%.4f,\"sched_share\":%.5f",
               run->n, (long long)run->n_in, (long long)run->n_out, run->wall_s, out_s, all_s,
               run->limit_s > 0 ? (double)run->n_out / run->limit_s : 0, hit, (unsigned long long)s.steps,
               (unsigned long long)s.preemptions, (unsigned long long)s.drafted_tokens,
               (unsigned long long)s.accepted_tokens, s.prefill_s / busy, s.decode_s / busy, s.sched_s / busy);
}

static bool run_all(Radish *r, const Options *o, const BenchLimit *limit, Arena *a, Mailbox *box)
{
    BenchLength *lengths = NULL;
    BenchProfile profile;
    Buf json = { 0 };
    Run run = { .n = bench_list_read(a, o->lengths, o->num, &lengths) };
    if (run.n <= 0) return false;
    for (int i = 0; i < run.n; i++) run.n_in += lengths[i].input;
    bench_profile_begin(r, &profile);
    int64_t began = clock_ns();
    if (!submit_all(r, a, lengths, run.n, box)) return false;
    if (clock_ns() - began > SLOW_SUBMIT_NS)
        fprintf(stderr, "radish: submitting took %.1f s of this\n", (double)(clock_ns() - began) / 1e9);
    if (!wait_all(box, run.n, &run.n_out)) return false;
    run.wall_s = (double)(clock_ns() - began) / 1e9;
    if (bench_limit_known(limit)) run.limit_s = limit_s(r, limit, lengths, run.n);
    report(r, &run, &json);
    if (o->radish.profile) {
        buf_str(&json, STR(",\"profile\":"));
        bench_profile_end(r, &profile, limit, &json);
    }
    buf_str(&json, STR("}\n"));
    bool good = bench_write_json(o->json, &json);
    buf_free(&json);
    return good;
}

int bench_offline(Radish *r, const Options *o, const BenchLimit *limit)
{
    if (!o->lengths) {
        fprintf(stderr,
                "radish: which requests? --lengths FILE, lines of input_tokens<TAB>output_tokens (bench/D1.tsv ...)\n");
        return 1;
    }
    Arena *a = arena_new(0);
    Mailbox *box = mailbox_new();
    bool good = run_all(r, o, limit, a, box);
    radish_cancel_all(r);
    if (!good)
        radish_flush_cache(r, 10000,
                           NULL); /* waits until what was cancelled has ended: events point into the mailbox */
    mailbox_free(box);
    arena_free(a);
    return good ? 0 : 1;
}
