/* bench_answer.c - `radish bench answer`: how fast one answer to a real prompt comes, and what guessing ahead brings there.
 *
 * Random ids have no text to guess from, so this asks --prompt through the chat template, --runs times after one warm-up, always with
 * the same seed. Counted are tokens after the first: reading the prompt is bench latency's. The checksum of the tokens is
 * the same with and without --speculative-algorithm. */
#include <stdio.h>

#include "base/jsonw.h"
#include "base/mailbox.h"
#include "cli/bench.h"

enum { RUNS_MAX = 64, OUTPUT_LEN = 256, SEED = 42 };

typedef struct {
    RadishEventKind kind;
    RadishEndReason reason;
    int32_t token;
    int n_prompt;
    int64_t at_ns;
} Note;

typedef struct {
    int n_prompt, n_out;
    uint64_t sum; /* of the tokens, in order */
    double seconds;
} Told;

static void on_event(void *ctx, const RadishEvent *e)
{
    Note n = { e->kind, e->reason, e->token, e->n_prompt, clock_ns() };
    mailbox_put(ctx, &n, sizeof n, NULL, 0);
}

static bool ask_once(Radish *r, RadishRequest *q, Mailbox *box, Told *t)
{
    RadishError err;
    int64_t first = 0, last = 0;
    RadishEndReason ended = RADISH_END_NONE;
    *t = (Told){ 0 };
    q->on_event = on_event;
    q->ctx = box;
    if (radish_submit(r, q, NULL, &err) != RADISH_OK) {
        fprintf(stderr, "radish: %s\n", err.text);
        return false;
    }
    while (!ended && mailbox_wait(box)) {
        size_t size;
        for (const Note *n; (n = mailbox_next(box, &size));) {
            if (n->kind == RADISH_EV_END) ended = n->reason;
            if (n->kind == RADISH_EV_STARTED) t->n_prompt = n->n_prompt;
            if (n->kind != RADISH_EV_TOKEN) continue;
            if (t->n_out++ == 0) first = n->at_ns;
            last = n->at_ns;
            t->sum = hash_mix(t->sum + (uint64_t)(uint32_t)n->token + 1);
        }
    }
    t->seconds = (double)(last - first) / 1e9;
    if (ended != RADISH_END_FAILED && t->n_out > 1) return true;
    fprintf(stderr, "radish: the answer has ended after %d tokens: there is nothing to measure\n", t->n_out);
    return false;
}

static void report(const Told *t, double seconds, const RadishStats *was, const RadishStats *now, Buf *json)
{
    double steps = (double)(now->steps - was->steps), drawn = (double)(now->output_tokens - was->output_tokens);
    double guessed = (double)(now->drafted_tokens - was->drafted_tokens),
           right = (double)(now->accepted_tokens - was->accepted_tokens);
    double tok_s = (t->n_out - 1) / seconds, each = steps > 0 ? drawn / steps : 0;
    printf("answer  in %5d  out %4d  %8.1f tokens/s  %5.2f tokens a step; guessed %.0f, right %.0f (%.0f %%); tokens "
           "%016llx\n",
           t->n_prompt, t->n_out, tok_s, each, guessed, right, guessed > 0 ? 100 * right / guessed : 0.0,
           (unsigned long long)t->sum);
    buf_printf(json,
               "{\"kind\":\"answer\",\"input_len\":%d,\"output_len\":%d,\"tok_s\":%.2f,\"tokens_per_step\":%.4f,"
               "\"drafted\":%.0f,\"accepted\":%.0f,\"checksum\":\"%016llx\"}\n",
               t->n_prompt, t->n_out, tok_s, each, guessed, right, (unsigned long long)t->sum);
}

static bool ask_all(Radish *r, RadishRequest *q, Mailbox *box, int runs, Buf *json)
{
    Told t, first;
    double s[RUNS_MAX];
    RadishStats was, now;
    if (!ask_once(r, q, box, &first)) return false; /* warm-up; its prompt is cached from now on */
    radish_stats(r, &was);
    for (int i = 0; i < runs; i++) {
        if (!ask_once(r, q, box, &t)) return false;
        s[i] = t.seconds;
        if (t.sum == first.sum) continue;
        fprintf(stderr, "radish: the same seed gave another answer\n");
        return false;
    }
    radish_stats(r, &now);
    report(&t, bench_median(s, runs), &was, &now, json);
    return true;
}

int bench_answer(Radish *r, Options *o)
{
    int runs = o->runs > 0 ? MIN(o->runs, RUNS_MAX) : 3;
    if (!o->prompt) {
        fprintf(stderr, "radish: which question? --prompt TEXT (--prompt \"$(cat bench/summarise.txt)\")\n");
        return 1;
    }
    Buf text = { 0 }, json = { 0 };
    RadishInfo info;
    radish_info(r, &info);
    buf_str(&text, str_of(o->prompt));
    Mailbox *box = mailbox_new();
    bool good = !info.has_chat_template || ask_as_chat(r, o, &text);
    if (good) {
        RadishRequest q;
        o->max_tokens = o->output_len > 0 ? o->output_len : OUTPUT_LEN;
        ask_request(r, o, buf_view(&text), info.has_chat_template, &q);
        if (!o->has_temperature) q.temperature = 0;
        if (!o->has_seed) q.has_seed = true, q.seed = SEED;
        good = ask_all(r, &q, box, runs, &json) && bench_write_json(o->json, &json);
    }
    mailbox_free(box);
    buf_free(&text);
    buf_free(&json);
    return good ? 0 : 1;
}
