/* bench_offline.c - `radish bench offline`: a list of requests at once through the engine, no HTTP.
 *
 * Each line of --lengths is "input_tokens<TAB>output_tokens". Prompts are random ids, drawing is greedy, end tokens are ignored: so
 * many tokens in, so many out, the same work for every engine. Wall time runs from the first submit to the last end. */
#include <stdio.h>

#include "base/file.h"
#include "base/jsonw.h"
#include "base/mailbox.h"
#include "cli/bench.h"

enum { REQUESTS_MAX = 60000, FILE_MAX = 8 << 20, SEED = 42 };

typedef struct {
    int input, output;
} Length;

typedef struct {
    RadishEndReason reason;
    int n_out;
    char message[200];
} End;

static bool next_number(Str text, size_t *at, int *out)
{
    size_t begin = *at;
    while (*at < text.n && text.p[*at] >= '0' && text.p[*at] <= '9') (*at)++;
    int64_t x;
    if (!str_to_i64(str_cut(text, begin, *at), &x) || x < 1 || x > 1 << 24) return false;
    *out = (int)x;
    return true;
}

/* How many lines were read; -1 after printing what is wrong. */
static int read_lengths(Arena *a, const char *path, int max, Length **out)
{
    Err err;
    Str text;
    if (file_read(a, path, FILE_MAX, &text, &err) != OK) {
        fprintf(stderr, "radish: %s\n", err.text);
        return -1;
    }
    *out = ARENA_NEW(a, Length, REQUESTS_MAX);
    int n = 0;
    for (size_t at = 0; at < text.n && n < REQUESTS_MAX && (max <= 0 || n < max);) {
        Length *l = &(*out)[n];
        bool good = next_number(text, &at, &l->input) && at < text.n && text.p[at++] == '\t' &&
                    next_number(text, &at, &l->output);
        while (good && at < text.n && text.p[at] == '\r') at++;
        if (!good || (at < text.n && text.p[at] != '\n')) {
            fprintf(stderr, "radish: %s line %d: needs input_tokens<TAB>output_tokens\n", path, n + 1);
            return -1;
        }
        at++;
        n++;
    }
    return n;
}

static void on_event(void *ctx, const RadishEvent *e)
{
    if (e->kind != RADISH_EV_END) return;
    End end = { .reason = e->reason, .n_out = e->n_out };
    if (e->message) snprintf(end.message, sizeof end.message, "%s", e->message);
    mailbox_put(ctx, &end, sizeof end, NULL, 0);
}

static bool submit_all(Radish *r, Arena *a, const Length *lengths, int n, Mailbox *box)
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

static void report(Radish *r, const Options *o, int n, int64_t n_in, int64_t n_out, double wall)
{
    RadishStats s;
    radish_stats(r, &s);
    double busy = s.busy_s > 0 ? s.busy_s : 1,
           hit = s.prompt_tokens ? (double)s.cached_tokens / (double)s.prompt_tokens : 0;
    printf("requests          %d (%lld tokens in, %lld out)\n", n, (long long)n_in, (long long)n_out);
    printf("wall              %.2f s\noutput            %.1f tokens/s\ntotal             %.1f tokens/s\n", wall,
           (double)n_out / wall, (double)(n_in + n_out) / wall);
    printf("cache hit rate    %.1f %%\nsteps             %llu, preemptions %llu\n", 100 * hit,
           (unsigned long long)s.steps, (unsigned long long)s.preemptions);
    printf("time              prefill %.1f %%, decode %.1f %%, scheduling %.2f %%\n", 100 * s.prefill_s / busy,
           100 * s.decode_s / busy, 100 * s.sched_s / busy);
    Buf j = { 0 };
    buf_printf(&j,
               "{\"requests\":%d,\"input_tokens\":%lld,\"output_tokens\":%lld,\"wall_s\":%.4f,\"output_tok_s\":%.2f,"
               "\"total_tok_s\":%.2f,"
               "\"cache_hit_rate\":%.4f,\"steps\":%llu,\"preemptions\":%llu,\"prefill_share\":%.4f,\"decode_share\":%."
               "4f,\"sched_share\":%.5f}\n",
               n, (long long)n_in, (long long)n_out, wall, (double)n_out / wall, (double)(n_in + n_out) / wall, hit,
               (unsigned long long)s.steps, (unsigned long long)s.preemptions, s.prefill_s / busy, s.decode_s / busy,
               s.sched_s / busy);
    bench_write_json(o->json, &j);
    buf_free(&j);
}

int bench_offline(Radish *r, const Options *o)
{
    if (!o->lengths) {
        fprintf(stderr,
                "radish: which requests? --lengths FILE, lines of input_tokens<TAB>output_tokens (bench/D1.tsv ...)\n");
        return 1;
    }
    Arena *a = arena_new(0);
    Mailbox *box = mailbox_new();
    Length *lengths = NULL;
    int64_t n_in = 0, n_out = 0;
    int n = read_lengths(a, o->lengths, o->num, &lengths);
    bool good = n > 0;
    if (n == 0) fprintf(stderr, "radish: %s is empty\n", o->lengths);
    for (int i = 0; i < n; i++) n_in += lengths[i].input;
    int64_t began = clock_ns();
    good = good && submit_all(r, a, lengths, n, box) && wait_all(box, n, &n_out);
    if (good) report(r, o, n, n_in, n_out, (double)(clock_ns() - began) / 1e9);
    radish_cancel_all(r);
    if (!good)
        radish_flush_cache(r, 10000,
                           NULL); /* waits until what was cancelled has ended: events point into the mailbox */
    mailbox_free(box);
    arena_free(a);
    return good ? 0 : 1;
}
