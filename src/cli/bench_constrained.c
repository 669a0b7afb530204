/* bench_constrained.c - `radish bench constrained`: what bounding answers by a JSON schema costs, and what appending forced text gains.
 *
 * Two engines on the same model: one draws every token, the other appends what its grammar forces. Each round asks the first for
 * --num free answers at once, then for as many that are records without end (so that every answer has --output-len tokens), then
 * both for records of a fixed form. Rounds repeat and medians of their ratios are printed: what else the machine does then
 * falls on both sides. */
#include <stdio.h>
#include <sys/resource.h>

#include "base/mailbox.h"
#include "cli/bench.h"

enum { NUM = 64, OUTPUT_LEN = 128, RUNS = 5, RUNS_MAX = 64, FORM_LEN = 400 };

/* One object after another, with every kind of value. */
static const char endless[] =
    "{\"type\":\"array\",\"minItems\":10000,\"items\":{\"type\":\"object\",\"additionalProperties\":false,"
    "\"required\":[\"name\",\"about\",\"age\",\"score\",\"kind\"],\"properties\":{\"name\":{\"type\":\"string\"},"
    "\"about\":{\"type\":\"string\",\"maxLength\":200},\"age\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":130},"
    "\"score\":{\"type\":\"number\"},\"kind\":{\"enum\":[\"person\",\"place\",\"thing\"]}}}}";

/* What is read out of a text: short values between long names. */
static const char form[] =
    "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"customer_name\",\"date_of_birth\","
    "\"contract_status\",\"preferred_language\",\"country_of_residence\",\"is_newsletter_subscriber\"],\"properties\":{"
    "\"customer_name\":{\"type\":\"string\",\"maxLength\":24},\"date_of_birth\":{\"type\":\"string\",\"format\":"
    "\"date\"},"
    "\"contract_status\":{\"enum\":[\"active\",\"terminated\",\"suspended\"]},\"preferred_language\":{\"enum\":["
    "\"english\","
    "\"french\",\"german\",\"spanish\"]},\"country_of_residence\":{\"enum\":[\"United Kingdom\",\"France\",\"Germany\","
    "\"Spain\"]},\"is_newsletter_subscriber\":{\"type\":\"boolean\"}}}";

typedef struct {
    bool ended;
    RadishEndReason reason;
    int n_out;
} Note;

static void on_event(void *ctx, const RadishEvent *e)
{
    Note n = { e->kind == RADISH_EV_END, e->reason, e->n_out };
    if (n.ended) mailbox_put(ctx, &n, sizeof n, NULL, 0);
}

typedef struct {
    double seconds, cpu_s, host_us; /* of all threads; the engine's own time for a token */
    int n_tokens, n_failed;
} Told;

static double cpu_now(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* num answers at once, to prompts from number `first` on; NULL schema: free ones. */
static bool ask(Radish *r, const char *schema, int num, int max_new, int first, Told *t)
{
    RadishRequest q;
    RadishError err;
    RadishStats was, now;
    Mailbox *box = mailbox_new();
    radish_stats(r, &was);
    int64_t began = clock_ns();
    double cpu = cpu_now();
    int n_ended = 0, n_asked = 0;
    *t = (Told){ 0 };
    radish_request_init(&q);
    q.on_event = on_event;
    q.ctx = box;
    q.max_new_tokens = max_new;
    q.ignore_eos = true;
    q.has_seed = true;
    q.constraint = schema ? RADISH_JSON_SCHEMA : RADISH_FREE;
    q.constraint_text = schema;
    q.n_constraint_text = schema ? strlen(schema) : 0;
    q.constraint_options = "{\"whitespace\":\"compact\"}";
    for (; n_asked < num; n_asked++) {
        char text[200];
        q.n_text =
            (size_t)snprintf(text, sizeof text,
                             "Customer no. %d, Ann Lee, born on 1980-%02d-12, lives in Spain and speaks French; the "
                             "contract is active. As JSON: ",
                             first + n_asked, 1 + n_asked % 12);
        q.text = text;
        q.seed = (uint64_t)n_asked;
        if (radish_submit(r, &q, NULL, &err) == RADISH_OK) continue;
        fprintf(stderr, "radish: %s\n", err.text);
        break;
    }
    while (n_ended < n_asked && mailbox_wait(box)) {
        size_t size;
        for (const Note *n; (n = mailbox_next(box, &size)); n_ended++) {
            t->n_tokens += n->n_out;
            t->n_failed += n->reason != RADISH_END_STOP && n->reason != RADISH_END_LENGTH;
        }
    }
    t->seconds = (double)(clock_ns() - began) / 1e9;
    t->cpu_s = cpu_now() - cpu;
    radish_stats(r, &now);
    t->host_us = (now.sched_s - was.sched_s) * 1e6 / MAX(t->n_tokens, 1);
    mailbox_free(box);
    if (t->n_failed) fprintf(stderr, "radish: %d answers failed\n", t->n_failed);
    return n_asked == num && t->n_failed == 0;
}

typedef struct {
    double free, bounded, share, drawn, jumped, gain; /* tokens a second; answers a second */
    double free_us, bounded_us, cpu_share;            /* engine's time for a token; CPU time of all threads */
} Figures;

static bool run_rounds(Radish *draws, Radish *jumps, int num, int max_new, int runs, Figures *f)
{
    double x[9][RUNS_MAX];
    Told t[4];
    for (int i = -1; i < runs; i++) { /* the first warms up: compiles, and learns what text is alike */
        int at = 4 * (i + 1) * num;   /* no prompt comes twice: none finds another's in the cache */
        if (!ask(draws, NULL, num, max_new, at, &t[0]) || !ask(draws, endless, num, max_new, at + num, &t[1]) ||
            !ask(draws, form, num, FORM_LEN, at + 2 * num, &t[2]) ||
            !ask(jumps, form, num, FORM_LEN, at + 3 * num, &t[3]))
            return false;
        if (i < 0) continue;
        x[0][i] = t[0].n_tokens / t[0].seconds;
        x[1][i] = t[1].n_tokens / t[1].seconds;
        x[2][i] = x[1][i] / x[0][i];
        x[3][i] = num / t[2].seconds;
        x[4][i] = num / t[3].seconds;
        x[5][i] = x[4][i] / x[3][i];
        x[6][i] = t[0].host_us;
        x[7][i] = t[1].host_us;
        x[8][i] = t[1].cpu_s / t[1].n_tokens / (t[0].cpu_s / t[0].n_tokens);
    }
    *f = (Figures){ bench_median(x[0], runs), bench_median(x[1], runs), bench_median(x[2], runs),
                    bench_median(x[3], runs), bench_median(x[4], runs), bench_median(x[5], runs),
                    bench_median(x[6], runs), bench_median(x[7], runs), bench_median(x[8], runs) };
    return true;
}

static bool report(Radish *jumps, const Figures *f, int num, const char *path)
{
    Buf json = { 0 };
    RadishStats s;
    radish_stats(jumps, &s);
    double forced = s.output_tokens ? 100.0 * (double)s.jumped_tokens / (double)s.output_tokens : 0;
    printf("%d at once: free %.1f tokens/s, inside a schema %.1f tokens/s: %.1f %%; CPU time %.1f %%; engine %.2f and "
           "%.2f us a token\n",
           num, f->free, f->bounded, 100 * f->share, 100 * f->cpu_share, f->free_us, f->bounded_us);
    printf(
        "%d at once, fixed form: drawn %.2f answers/s, forced text appended %.2f answers/s: %.2f times; %.0f %% of the "
        "tokens were forced\n",
        num, f->drawn, f->jumped, f->gain, forced);
    buf_printf(&json,
               "{\"kind\":\"constrained\",\"num\":%d,\"free_tok_s\":%.2f,\"schema_tok_s\":%.2f,\"share\":%.4f,\"free_"
               "us\":%.3f,\"schema_us\":%.3f,"
               "\"drawn_answers_s\":%.3f,\"jumped_answers_s\":%.3f,\"gain\":%.3f,\"forced\":%.3f}\n",
               num, f->free, f->bounded, f->share, f->free_us, f->bounded_us, f->drawn, f->jumped, f->gain,
               forced / 100);
    bool good = bench_write_json(path, &json);
    buf_free(&json);
    return good;
}

int bench_constrained(Options *o)
{
    int num = o->num > 0 ? o->num : NUM, runs = o->runs > 0 ? MIN(o->runs, RUNS_MAX) : RUNS;
    Figures f;
    Options drawn = *o;
    drawn.radish.disable_jump_forward = true;
    Radish *draws = ask_open(&drawn), *jumps = draws ? ask_open(o) : NULL;
    bool good = jumps && run_rounds(draws, jumps, num, o->output_len > 0 ? o->output_len : OUTPUT_LEN, runs, &f) &&
                report(jumps, &f, num, o->json);
    radish_close(draws);
    radish_close(jumps);
    return good ? 0 : 1;
}
