/* bench_latency.c - `radish bench latency`: how fast a batch of a given size decodes, and how fast a prompt is prefilled.
 *
 * Decode: `batch` prompts of --input-len random ids go in at once; the clock starts when the last of them has its first token and
 * stops when batch x --output-len more tokens have come, so that every counted step has the full batch. Prefill: one prompt, from
 * submit to its first token. Each is repeated --runs times after one warm-up; medians are printed. */
#include <stdio.h>

#include "base/jsonw.h"
#include "base/mailbox.h"
#include "cli/bench.h"

enum { LIST_MAX = 32, BATCH_MAX = 4096, RUNS_MAX = 64, INPUT_LEN = 128, OUTPUT_LEN = 32 };
enum { SLOWEST_ROWS = 256 }; /* of prompts in a pass beside full decoding */

typedef struct {
    RadishEventKind kind;
    int index;
    int64_t at_ns;
} Note;

typedef struct {
    Radish *r;
    Mailbox *box;
    Arena *arena;
    Rng rng;
    RadishInfo info;
    const BenchLimit *limit;
    bool profile;
    uint64_t id[BATCH_MAX];
} Bench;

static void on_event(void *ctx, const RadishEvent *e)
{
    Note n = { e->kind, e->index, clock_ns() };
    mailbox_put(ctx, &n, sizeof n, NULL, 0);
}

static bool submit(Bench *b, int i, int n_in, int n_out)
{
    RadishError err;
    RadishRequest q;
    int32_t *ids = ARENA_NEW(b->arena, int32_t, (size_t)n_in);
    bench_random_ids(&b->rng, b->info.n_vocab, n_in, ids);
    radish_request_init(&q);
    q.ids = ids;
    q.n_ids = n_in;
    q.max_new_tokens = n_out;
    q.temperature = 0;
    q.ignore_eos = true;
    q.on_event = on_event;
    q.ctx = b->box;
    if (radish_submit(b->r, &q, &b->id[i], &err) == RADISH_OK) return true;
    fprintf(stderr, "radish: %s\n", err.text);
    return false;
}

/* Waits until `ends` requests have ended. */
static void drain(Bench *b, int ends)
{
    while (ends > 0 && mailbox_wait(b->box)) {
        size_t n;
        for (const Note *note; (note = mailbox_next(b->box, &n));) ends -= note->kind == RADISH_EV_END;
    }
}

/* Seconds for batch x output tokens at full batch; 0 if refused. The first of a batch draw while the last are still being read: they
 * may draw more, and what is left over is cancelled. */
static double decode_once(Bench *b, int batch, int n_in, int n_out)
{
    int slack = MIN(batch * n_in / SLOWEST_ROWS + 2, b->info.context_length - n_in - n_out - 1);
    int firsts = 0, ended = 0, sent = 0;
    int64_t counted = 0, want = (int64_t)batch * n_out, began = 0, stopped = 0;
    for (; sent < batch; sent++) {
        if (!submit(b, sent, n_in, n_out + MAX(slack, 0) + 1)) break;
    }
    while (sent == batch && !stopped && ended < batch && mailbox_wait(b->box)) {
        size_t n;
        for (const Note *note; (note = mailbox_next(b->box, &n));) {
            ended += note->kind == RADISH_EV_END;
            if (note->kind != RADISH_EV_TOKEN) continue;
            if (began) counted++;
            if (began && counted == want) stopped = note->at_ns;
            if (note->index == 0 && ++firsts == batch) began = note->at_ns;
        }
    }
    if (sent == batch && !stopped) fprintf(stderr, "radish: %d requests do not run together here\n", batch);
    for (int i = 0; i < sent; i++) radish_cancel(b->r, b->id[i]);
    drain(b, sent - ended);
    return stopped ? (double)(stopped - began) / 1e9 : 0;
}

static double prefill_once(Bench *b, int n_in)
{
    int64_t began = clock_ns(), first = 0;
    bool ended = false;
    if (!submit(b, 0, n_in, 1)) return 0;
    while (!ended && mailbox_wait(b->box)) {
        size_t n;
        for (const Note *note; (note = mailbox_next(b->box, &n));) {
            if (note->kind == RADISH_EV_TOKEN && !first) first = note->at_ns;
            ended = ended || note->kind == RADISH_EV_END;
        }
    }
    return (double)(first - began) / 1e9;
}

/* Seconds at the least of what decode_once counts, or of a prefill; 0: unknown. */
static double decode_limit(const Bench *b, int batch, int n_in, int n_out)
{
    BenchPass p = { .rows = batch, .logits = batch, .kv_tokens = batch * (n_in + (n_out + 1) / 2.0) };
    return bench_limit_known(b->limit) ? bench_limit_pass_s(b->limit, &b->info, &p) * n_out : 0;
}

static double prefill_limit(const Bench *b, int n_in)
{
    BenchPass p = { .rows = n_in, .logits = 1, .attend_pairs = (double)n_in * n_in / 2 };
    return bench_limit_known(b->limit) ? bench_limit_pass_s(b->limit, &b->info, &p) : 0;
}

/* Ends the line begun, and goes on with the JSON object begun. */
static void tell(Bench *b, double seconds, double limit, double tokens, const BenchProfile *p, Buf *json)
{
    printf("  %10.1f tokens/s", tokens / seconds);
    if (limit > 0) printf("  %5.1f %% of this device's %.1f", 100 * limit / seconds, tokens / limit);
    printf("\n");
    buf_printf(json, "\"tok_s\":%.2f,\"limit_tok_s\":%.2f,", tokens / seconds, limit > 0 ? tokens / limit : 0);
    if (!b->profile) return;
    buf_str(json, STR("\"profile\":"));
    bench_profile_end(b->r, p, b->limit, json);
    buf_char(json, ',');
}

static bool decode_row(Bench *b, int batch, int n_in, int n_out, int runs, Buf *json)
{
    double s[RUNS_MAX];
    BenchProfile profile;
    decode_once(b, batch, n_in, MIN(n_out, 8)); /* warm-up */
    bench_profile_begin(b->r, &profile);
    for (int i = 0; i < runs; i++) {
        arena_reset(b->arena);
        s[i] = decode_once(b, batch, n_in, n_out);
        if (s[i] <= 0) return false;
    }
    double ms = bench_median(s, runs) * 1e3 / n_out;
    printf("decode   batch %4d  in %5d  out %4d  %8.3f ms a step", batch, n_in, n_out, ms);
    jsonw_sep(json);
    buf_printf(json, "{\"kind\":\"decode\",\"batch\":%d,\"input_len\":%d,\"output_len\":%d,", batch, n_in, n_out);
    tell(b, ms * n_out / 1e3, decode_limit(b, batch, n_in, n_out), (double)batch * n_out, &profile, json);
    buf_printf(json, "\"ms_per_step\":%.4f}", ms);
    return true;
}

static bool prefill_row(Bench *b, int n_in, int runs, Buf *json)
{
    double s[RUNS_MAX];
    BenchProfile profile;
    prefill_once(b, n_in);
    bench_profile_begin(b->r, &profile);
    for (int i = 0; i < runs; i++) {
        arena_reset(b->arena);
        s[i] = prefill_once(b, n_in);
        if (s[i] <= 0) return false;
    }
    double median = bench_median(s, runs);
    printf("prefill  in %5d                       %9.3f ms       ", n_in, median * 1e3);
    jsonw_sep(json);
    buf_printf(json, "{\"kind\":\"prefill\",\"input_len\":%d,", n_in);
    tell(b, median, prefill_limit(b, n_in), n_in, &profile, json);
    buf_printf(json, "\"ms\":%.4f}", median * 1e3);
    return true;
}

static int input_len(const Options *o)
{
    return o->input_len > 0 ? o->input_len : INPUT_LEN;
}

static int output_len(const Options *o)
{
    return o->output_len > 0 ? o->output_len : OUTPUT_LEN;
}

static int read_prefills(const Options *o, int out[LIST_MAX])
{
    return options_int_list(o->prefill ? o->prefill : "512", out, LIST_MAX);
}

int bench_latency_tokens(const Options *o)
{
    int prefills[LIST_MAX], n = read_prefills(o, prefills);
    int64_t most = (int64_t)input_len(o) + output_len(o) + 1;
    for (int i = 0; i < n; i++) most = MAX(most, (int64_t)prefills[i] + 1);
    return (int)MIN(most, (int64_t)INT32_MAX);
}

int bench_latency(Radish *r, const Options *o, const BenchLimit *limit)
{
    int batches[LIST_MAX], prefills[LIST_MAX], runs = o->runs > 0 ? MIN(o->runs, RUNS_MAX) : 3;
    int n_batches = options_int_list(o->batch ? o->batch : "1,16,64", batches, LIST_MAX);
    int n_prefills = read_prefills(o, prefills);
    if (!n_batches || !n_prefills) {
        fprintf(stderr, "radish: --batch and --prefill need lists of numbers like 1,16,64\n");
        return 1;
    }
    Bench *b = mem_alloc(sizeof *b);
    *b = (Bench){ .r = r, .box = mailbox_new(), .arena = arena_new(0), .rng = { 7 }, .limit = limit };
    b->profile = o->radish.profile;
    radish_info(r, &b->info);
    Buf json = { 0 };
    buf_char(&json, '[');
    bool good = true;
    for (int i = 0; i < n_batches && good; i++) {
        if (batches[i] > MIN(BATCH_MAX, b->info.max_running)) {
            fprintf(stderr, "radish: batch %d is over --max-running-requests %d\n", batches[i], b->info.max_running);
            good = false;
        } else {
            good = decode_row(b, batches[i], input_len(o), output_len(o), runs, &json);
        }
    }
    for (int i = 0; i < n_prefills && good; i++) good = prefill_row(b, prefills[i], runs, &json);
    buf_str(&json, STR("]\n"));
    good = bench_write_json(o->json, &json) && good;
    buf_free(&json);
    mailbox_free(b->box);
    arena_free(b->arena);
    mem_free(b);
    return good ? 0 : 1;
}
