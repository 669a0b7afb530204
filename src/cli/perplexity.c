/* perplexity.c - `radish perplexity`: exp of the mean negative log likelihood of a text.
 *
 * Windows and scoring are llama.cpp's, so that figures compare: the text is cut into windows of --context-length tokens that do
 * not overlap, the first token of each replaced by BOS where the model has one, and only the second half of each window is
 * scored (tokens context/2 + 1 on, each predicted from at least half a window). A rest shorter than a window is left out. */
#include <math.h>
#include <stdio.h>

#include "base/file.h"
#include "base/mailbox.h"
#include "cli/ask.h"
#include "cli/cli.h"

enum { FILE_MAX = 1 << 30, AHEAD = 8 /* windows under way at once */ };

typedef struct {
    int window;
    RadishEventKind kind;
    float logprob;
    RadishEndReason reason;
    char message[200];
} Note;

typedef struct {
    Mailbox *box;
    int window;
} Slot;

static void on_event(void *ctx, const RadishEvent *e)
{
    Slot *slot = ctx;
    Note n = { .window = slot->window, .kind = e->kind, .logprob = e->logprob, .reason = e->reason };
    if (e->message) snprintf(n.message, sizeof n.message, "%s", e->message);
    if (e->kind != RADISH_EV_PROMPT_LOGPROB || !isnan(e->logprob)) mailbox_put(slot->box, &n, sizeof n, NULL, 0);
}

typedef struct {
    Radish *r;
    const int32_t *ids;
    int n_windows, context;
    int32_t bos;
    Mailbox *box;
    Slot *slots;
    double nll;
    int64_t scored;
} Run;

static bool submit(Run *run, int w, RadishError *err)
{
    Ids window = { 0 };
    ids_add(&window, run->ids + (size_t)w * (size_t)run->context, (size_t)run->context);
    if (run->bos >= 0) window.p[0] = run->bos;
    RadishRequest q;
    radish_request_init(&q);
    q.ids = window.p;
    q.n_ids = run->context;
    q.max_new_tokens = 0;
    q.prompt_logprobs_from = run->context / 2 + 1;
    q.on_event = on_event;
    run->slots[w] = (Slot){ run->box, w };
    q.ctx = &run->slots[w];
    bool good = radish_submit(run->r, &q, NULL, err) == RADISH_OK;
    ids_free(&window);
    return good;
}

/* Scores every window, AHEAD at a time; prints the running figure as llama.cpp does. */
static bool score(Run *run)
{
    RadishError err;
    int sent = 0, done = 0;
    while (done < run->n_windows) {
        for (; sent < run->n_windows && sent - done < AHEAD; sent++) {
            if (submit(run, sent, &err)) continue;
            fprintf(stderr, "radish: %s\n", err.text);
            return false;
        }
        if (!mailbox_wait(run->box)) return false;
        size_t n;
        for (const Note *note; (note = mailbox_next(run->box, &n));) {
            if (note->kind == RADISH_EV_PROMPT_LOGPROB) {
                run->nll -= (double)note->logprob;
                run->scored++;
            } else if (note->kind == RADISH_EV_END) {
                if (note->reason == RADISH_END_FAILED) {
                    fprintf(stderr, "radish: %s\n", note->message);
                    return false;
                }
                done++;
                if (run->scored) fprintf(stderr, "[%d]%.4f,", done, exp(run->nll / (double)run->scored));
            }
        }
    }
    fprintf(stderr, "\n");
    return true;
}

static bool tokens_of(Radish *r, const char *path, int32_t **ids, size_t *n)
{
    Err err;
    RadishError error;
    FileMap f;
    if (file_map(path, &f, &err) != OK || f.n > FILE_MAX) {
        fprintf(stderr, "radish: %s\n", f.n > FILE_MAX ? "the text is over 1 GiB" : err.text);
        return false;
    }
    bool good = radish_tokenize(r, (const char *)f.p, f.n, false, true, ids, n, &error) == RADISH_OK;
    if (!good) fprintf(stderr, "radish: %s\n", error.text);
    file_unmap(&f);
    return good;
}

int cli_perplexity(int argc, char **argv)
{
    Options o = { 0 };
    if (!options_read(CMD_PERPLEXITY, argc, argv, &o)) return 1;
    if (!o.n_args) {
        fprintf(stderr, "radish: which text? radish perplexity -m MODEL --context-length 512 FILE\n");
        return 1;
    }
    const char *path = o.arg[--o.n_args];
    int context = o.radish.context_length > 0 ? o.radish.context_length : 512;
    o.radish.context_length = context;
    Radish *r = ask_open(&o);
    if (!r) return 1;
    RadishInfo info;
    radish_info(r, &info);
    int32_t *ids = NULL;
    size_t n = 0;
    bool good = tokens_of(r, path, &ids, &n);
    if (good && n < (size_t)context * 2) {
        fprintf(stderr, "radish: the text has %zu tokens; it needs at least two windows of %d\n", n, context);
        good = false;
    }
    if (good) {
        size_t t_bos = 0;
        int32_t *probe = NULL;
        RadishError err;
        radish_tokenize(r, "", 0, false, true, &probe, &t_bos, &err); /* does the tokenizer add a BOS by itself? */
        Run run = { .r = r,
                    .ids = ids,
                    .n_windows = (int)(n / (size_t)context),
                    .context = context,
                    .bos = t_bos ? info.bos_id : -1 };
        radish_ids_free(probe);
        run.box = mailbox_new();
        run.slots = mem_alloc_array((size_t)run.n_windows, sizeof *run.slots);
        int64_t began = clock_ns();
        good = score(&run);
        if (good) {
            double s = (double)(clock_ns() - began) / 1e9;
            printf("windows %d of %d tokens, %lld scored, %.1f tokens a second\n", run.n_windows, context,
                   (long long)run.scored, (double)run.n_windows * context / s);
            printf("ppl %.4f\n", exp(run.nll / (double)run.scored));
        }
        radish_cancel_all(r);
        radish_close(r); /* before the slots go: late events point to them */
        r = NULL;
        mailbox_free(run.box);
        mem_free(run.slots);
    }
    radish_ids_free(ids);
    radish_close(r);
    return good ? 0 : 1;
}
