/* ask.c - see ask.h. Events arrive on Radish's text thread and cross to the caller's in a mailbox. */
#include "cli/ask.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/jsonw.h"
#include "base/log.h"
#include "base/mailbox.h"

typedef struct {
    RadishEventKind kind;
    int n_prompt, n_cached, n_out;
    RadishEndReason reason;
    char message[256];
} Note;

Radish *ask_open(Options *o)
{
    RadishError err;
    Radish *r = NULL;
    if (!o->radish.model_path && o->n_args) o->radish.model_path = o->arg[--o->n_args];
    if (radish_open(&o->radish, &r, &err) == RADISH_OK) return r;
    fprintf(stderr, "radish: %s\n", err.text);
    return NULL;
}

/* Command line first, then the model's generation_config.json, then greedy-ish defaults of our own. */
static float chosen(double given, float model, float other)
{
    return given > 0 ? (float)given : isnan(model) ? other : model;
}

void ask_request(Radish *r, const Options *o, Str prompt, bool is_chat, RadishRequest *q)
{
    RadishInfo info;
    radish_info(r, &info);
    radish_request_init(q);
    q->text = prompt.p;
    q->n_text = prompt.n;
    q->parse_specials = is_chat;
    q->add_bos = !is_chat;
    q->max_new_tokens = o->max_tokens > 0 ? o->max_tokens : -1;
    q->temperature = o->has_temperature ? (float)o->temperature : isnan(info.temperature) ? 0.7f : info.temperature;
    q->top_p = chosen(o->top_p, info.top_p, 0.95f);
    q->min_p = chosen(o->min_p, info.min_p, 0);
    q->top_k = o->top_k > 0 ? (int)o->top_k : MAX(info.top_k, 0);
    q->repetition_penalty = chosen(o->repetition_penalty, info.repetition_penalty, 1);
    q->has_seed = o->has_seed;
    q->seed = (uint64_t)(int64_t)o->seed;
}

static void on_event(void *ctx, const RadishEvent *e)
{
    Note n = {
        .kind = e->kind, .n_prompt = e->n_prompt, .n_cached = e->n_cached, .n_out = e->n_out, .reason = e->reason
    };
    if (e->message) snprintf(n.message, sizeof n.message, "%s", e->message);
    mailbox_put(ctx, &n, sizeof n, e->text, e->n_text);
}

static void take(const Note *n, Str text, int64_t began, Buf *answer, Answer *out)
{
    double now = (double)(clock_ns() - began) / 1e9;
    if (n->kind == RADISH_EV_STARTED) {
        out->n_prompt = n->n_prompt;
        out->n_cached = n->n_cached;
    }
    if (n->kind == RADISH_EV_TOKEN && out->first_s == 0) out->first_s = now;
    if (text.n) {
        fwrite(text.p, 1, text.n, stdout);
        fflush(stdout);
        if (answer) buf_str(answer, text);
    }
    if (n->kind != RADISH_EV_END) return;
    out->reason = n->reason;
    out->n_out = n->n_out;
    out->total_s = now;
    memcpy(out->message, n->message, sizeof out->message);
}

bool ask_run(Radish *r, RadishRequest *q, const volatile int *interrupted, Buf *answer, Answer *out)
{
    RadishError err;
    uint64_t id;
    *out = (Answer){ 0 };
    Mailbox *box = mailbox_new();
    q->on_event = on_event;
    q->ctx = box;
    int64_t began = clock_ns();
    if (radish_submit(r, q, &id, &err) != RADISH_OK) {
        fprintf(stderr, "radish: %s\n", err.text);
        mailbox_free(box);
        return false;
    }
    while (out->reason == RADISH_END_NONE && mailbox_wait(box)) {
        size_t n;
        for (const Note *note; (note = mailbox_next(box, &n));)
            take(note, (Str){ (const char *)(note + 1), n - sizeof *note }, began, answer, out);
        if (interrupted && *interrupted) radish_cancel(r, id);
    }
    mailbox_free(box);
    if (out->reason == RADISH_END_FAILED) fprintf(stderr, "\nradish: %s\n", out->message);
    return out->reason != RADISH_END_FAILED;
}

char *ask_render(Radish *r, const char *messages_json, size_t *n)
{
    RadishError err;
    char *prompt;
    if (radish_render_chat(r, &(RadishChat){ .messages_json = messages_json }, &prompt, n, &err) == RADISH_OK)
        return prompt;
    fprintf(stderr, "radish: %s\n", err.text);
    return NULL;
}

bool ask_as_chat(Radish *r, const Options *o, Buf *text)
{
    Buf json = { 0 };
    buf_char(&json, '[');
    if (o->system) {
        buf_str(&json, STR("{\"role\":\"system\",\"content\":"));
        jsonw_str(&json, str_of(o->system));
        buf_str(&json, STR("},"));
    }
    buf_str(&json, STR("{\"role\":\"user\",\"content\":"));
    jsonw_str(&json, buf_view(text));
    buf_add(&json, "}]", 3);
    size_t n;
    char *prompt = ask_render(r, json.p, &n);
    buf_free(&json);
    if (!prompt) return false;
    buf_clear(text);
    buf_add(text, prompt, n);
    radish_string_free(prompt);
    return true;
}

bool ask_stdin(Buf *out, size_t max)
{
    for (;;) {
        buf_reserve(out, 1 << 16);
        ssize_t n = read(STDIN_FILENO, out->p + out->n, 1 << 16);
        if (n < 0) return false;
        if (n == 0) return true;
        out->n += (size_t)n;
        if (out->n > max) {
            fprintf(stderr, "radish: standard input is over the limit of %zu bytes\n", max);
            return false;
        }
    }
}
