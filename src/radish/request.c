/* request.c - from a RadishRequest to an engine job, and from engine events to text events.
 *
 * The engine thread only copies an event into the mailbox. The text thread turns tokens into text, looks for stop strings,
 * and calls the owner. When a stop string is found the owner gets its END at once; the engine is told, and whatever it
 * drew meanwhile is dropped. Every request ends with exactly one RADISH_EV_END because every job ends with
 * exactly one EV_END. */
#include <math.h>
#include <stdatomic.h>

#include "base/utf8.h"
#include "radish.h"
#include "radish/state.h"

enum { STOP_STRINGS_MAX = 64, STOP_STRING_BYTES = 4096 };

void radish_request_init(RadishRequest *q)
{
    *q = (RadishRequest){ .max_new_tokens = -1,
                          .temperature = 1,
                          .top_p = 1,
                          .repetition_penalty = 1,
                          .top_logprobs = -1,
                          .prompt_logprobs_from = -1,
                          .add_bos = true };
}

void radish_request_free(Request *q)
{
    if (!q) return;
    output_free(q->output);
    Arena *arena = q->arena;
    arena_free(arena); /* the Request itself lives in it */
}

/* ---- submit ---- */

static Status check_range(const char *name, float x, float low, float high, Err *err)
{
    if (x >= low && x <= high) return OK; /* NaN fails both */
    return fail(err, E_INVALID, "%s must be between %g and %g, not %g", name, (double)low, (double)high, (double)x);
}

static Status check_sampling(const Radish *r, const RadishRequest *q, Err *err)
{
    TRY(check_range("temperature", q->temperature, 0, 1e6f, err));
    TRY(check_range("top_p", q->top_p, 0, 1, err));
    TRY(check_range("min_p", q->min_p, 0, 1, err));
    TRY(check_range("frequency_penalty", q->frequency_penalty, -2, 2, err));
    TRY(check_range("presence_penalty", q->presence_penalty, -2, 2, err));
    TRY(check_range("repetition_penalty", q->repetition_penalty, 0, 2, err));
    if (q->repetition_penalty == 0) return fail(err, E_INVALID, "repetition_penalty must be above 0");
    if (q->top_k < 0) return fail(err, E_INVALID, "top_k must be 0 (off) or positive, not %d", q->top_k);
    if (q->top_logprobs > SAMPLE_TOP_MAX)
        return fail(err, E_INVALID, "top_logprobs can be at most %d, not %d", SAMPLE_TOP_MAX, q->top_logprobs);
    if (q->n_stop > STOP_STRINGS_MAX)
        return fail(err, E_LIMIT, "at most %d stop strings, not %d", STOP_STRINGS_MAX, q->n_stop);
    if (q->n_stop && !r->tok) return fail(err, E_INVALID, "stop strings need a tokenizer; use stop_token_ids");
    for (int i = 0; i < q->n_stop; i++) {
        if (strlen(q->stop[i]) > STOP_STRING_BYTES)
            return fail(err, E_LIMIT, "a stop string can have at most %d bytes", STOP_STRING_BYTES);
    }
    for (int i = 0; i < q->n_bias; i++) {
        if (q->bias[i].id < 0 || q->bias[i].id >= r->info.n_vocab)
            return fail(err, E_INVALID, "logit_bias: token %d is not in the vocabulary of %d", q->bias[i].id,
                        r->info.n_vocab);
    }
    return OK;
}

static Status prompt_ids(Radish *r, const RadishRequest *q, Ids *ids, Err *err)
{
    if (q->ids) {
        ids_add(ids, q->ids, (size_t)MAX(q->n_ids, 0));
    } else {
        if (!r->tok) return fail(err, E_INVALID, "this model was opened without a tokenizer: send token ids");
        tok_encode(r->tok, (Str){ q->text, q->n_text },
                   (q->parse_specials ? TOK_SPECIALS : 0) | (q->add_bos ? TOK_ADD_BOS : 0), ids);
        /* An empty text is a prompt to speak freely: begin as the model's documents begin. */
        if (ids->n == 0) ids_push(ids, r->info.bos_id >= 0 ? r->info.bos_id : MAX(r->info.eos_id, 0));
    }
    if (ids->n == 0) return fail(err, E_INVALID, "the prompt is empty: send at least one token");
    for (size_t i = 0; i < ids->n; i++) {
        if (ids->p[i] < 0 || ids->p[i] >= r->info.n_vocab)
            return fail(err, E_INVALID, "token id %d is not in the vocabulary of %d", ids->p[i], r->info.n_vocab);
    }
    if (ids->n > (size_t)r->info.context_length)
        return fail(err, E_INVALID, "the prompt has %zu tokens, the context length is %d: shorten the prompt", ids->n,
                    r->info.context_length);
    return OK;
}

/* How many tokens may be drawn: what is asked for, if prompt and output fit the context together. */
static Status output_budget(const Radish *r, const RadishRequest *q, size_t n_prompt, int *max_new, Err *err)
{
    int room = r->info.context_length - (int)n_prompt;
    *max_new = q->max_new_tokens < 0 ? room : q->max_new_tokens;
    if (*max_new > room)
        return fail(err, E_INVALID,
                    "%zu prompt tokens + %d new tokens pass the context length of %d: shorten the prompt or lower "
                    "max_tokens to %d",
                    n_prompt, *max_new, r->info.context_length, MAX(room, 0));
    if (q->max_new_tokens != 0 && *max_new == 0)
        return fail(err, E_INVALID, "the prompt of %zu tokens fills the context length of %d: no room to answer",
                    n_prompt, r->info.context_length);
    if (q->min_new_tokens > *max_new)
        return fail(err, E_INVALID, "min_tokens %d is more than max_tokens %d", q->min_new_tokens, *max_new);
    return OK;
}

static Request *request_new(Radish *r, const RadishRequest *q)
{
    Arena *arena = arena_new(2048);
    Request *p = ARENA_NEW(arena, Request, 1);
    *p = (Request){ .r = r, .on_event = q->on_event, .ctx = q->ctx, .arena = arena };
    if (!r->tok) return p;
    Str *stops = ARENA_NEW(arena, Str, (size_t)q->n_stop + 1);
    p->stop = ARENA_NEW(arena, char *, (size_t)q->n_stop + 1);
    for (int i = 0; i < q->n_stop; i++) {
        if (!q->stop[i][0]) continue; /* an empty stop string would end every answer */
        p->stop[p->n_stop] = arena_cstr(arena, str_of(q->stop[i]));
        stops[p->n_stop] = str_of(p->stop[p->n_stop]);
        p->n_stop++;
    }
    OutputOptions o = { .stop = stops,
                        .n_stop = p->n_stop,
                        .keep_stop = q->keep_stop,
                        .skip_special = !q->keep_special,
                        .kept = q->kept_ids,
                        .n_kept = q->n_kept_ids };
    p->output = output_new(r->tok, &o);
    return p;
}

static void fill_job(Radish *r, const RadishRequest *q, Request *p, const Ids *prompt, int max_new, Job *job)
{
    Sampling s = sampling_default();
    s.temperature = q->temperature < 1e-6f ? 0 : q->temperature;
    s.top_p = q->top_p == 0 ? 1e-9f : q->top_p; /* SGLang refuses 0, OpenAI allows it: only the likeliest stays */
    s.min_p = q->min_p;
    s.top_k = q->top_k;
    s.frequency = q->frequency_penalty;
    s.presence = q->presence_penalty;
    s.repetition = q->repetition_penalty;
    s.seed = q->has_seed ? q->seed : hash_mix(r->seed + atomic_fetch_add(&r->n_requests, 1) * 0x9e3779b97f4a7c15u);
    LogitBias *bias = ARENA_NEW(p->arena, LogitBias, (size_t)q->n_bias + 1);
    for (int i = 0; i < q->n_bias; i++) bias[i] = (LogitBias){ q->bias[i].id, q->bias[i].bias };
    s.bias = bias;
    s.n_bias = q->n_bias;
    s.min_new = q->min_new_tokens;
    s.max_new = max_new;
    int32_t *stops = ARENA_NEW(p->arena, int32_t, r->stop_ids.n + (size_t)q->n_stop_ids + 1);
    for (size_t i = 0; i < r->stop_ids.n && !q->ignore_eos; i++) stops[s.n_stop_ids++] = r->stop_ids.p[i];
    for (int i = 0; i < q->n_stop_ids; i++) stops[s.n_stop_ids++] = q->stop_ids[i];
    s.stop_ids = stops;
    s.ignore_eos = q->ignore_eos;
    s.n_top_logprobs = q->top_logprobs;
    s.prompt_logprobs_from = q->prompt_logprobs_from;
    *job = (Job){ .prompt = prompt->p,
                  .n_prompt = (int)prompt->n,
                  .sampling = s,
                  .priority = q->priority,
                  .on_event = radish_on_engine_event,
                  .ctx = p };
    if (q->cache_salt && q->cache_salt[0]) job->salt = hash_bytes(q->cache_salt, strlen(q->cache_salt), 0x5a17) | 1;
    if (q->timeout_ms > 0) job->deadline_ns = model_now_ns(r->model) + (int64_t)q->timeout_ms * 1000000;
}

static Status submit(Radish *r, const RadishRequest *q, Ids *prompt, uint64_t *id, Err *err)
{
    int max_new;
    Job job;
    if (!q->on_event) return fail(err, E_INVALID, "on_event must be set");
    TRY(check_sampling(r, q, err));
    TRY(prompt_ids(r, q, prompt, err));
    TRY(output_budget(r, q, prompt->n, &max_new, err));
    CHECK(prompt->n > 0 && prompt->p);
    Request *p = request_new(r, q);
    p->first_id = q->prompt_logprobs_from == 0 ? prompt->p[0] : -1;
    fill_job(r, q, p, prompt, max_new, &job);
    Status status = q->constraint == RADISH_FREE ? engine_submit(r->engine, &job, id, err)
                                                 : radish_submit_constrained(r, q, &job, id, err);
    if (status != OK) radish_request_free(p);
    return status;
}

int radish_submit(Radish *r, const RadishRequest *q, uint64_t *id, RadishError *error)
{
    Err err = { 0 };
    Ids prompt = { 0 };
    uint64_t ignored;
    Status status = submit(r, q, &prompt, id ? id : &ignored, &err);
    ids_free(&prompt);
    return status == OK ? RADISH_OK : radish_report(error, &err);
}

void radish_cancel(Radish *r, uint64_t id)
{
    if (!radish_constraints_cancel(r->constraints, id, false)) engine_cancel(r->engine, id);
}

void radish_cancel_all(Radish *r)
{
    radish_constraints_cancel(r->constraints, 0, true);
    engine_cancel_all(r->engine);
}

/* ---- events ---- */

typedef struct {
    Request *request;
    Event event;
    RadishStatus status; /* of END_FAILED */
} Note;                  /* followed in the mailbox by n_top floats and n_top ids */

static void post(Request *q, const Event *e, Status status)
{
    struct {
        float logprob[SAMPLE_TOP_MAX];
        int32_t id[SAMPLE_TOP_MAX];
    } top;
    Note note = { q, *e, (RadishStatus)status };
    if (e->message)
        note.event.message =
            arena_cstr(q->arena, str_of(e->message)); /* the engine's text may go before ours is read */
    int n = MIN(e->n_top, SAMPLE_TOP_MAX);
    if (n > 0) {
        memcpy(top.logprob, e->top_logprob, (size_t)n * sizeof(float));
        memcpy(top.id, e->top_id, (size_t)n * sizeof(int32_t));
    }
    mailbox_put(q->r->events, &note, sizeof note, &top, n > 0 ? sizeof top : 0);
}

void radish_on_engine_event(void *request, const Event *e)
{
    post(request, e, e->refused ? E_LIMIT : e->reason == END_FAILED ? E_DEVICE : OK);
}

void radish_end_unbegun(Request *q, uint64_t id, EndReason reason, const Err *why)
{
    Event e = { .kind = EV_END, .job = id, .reason = reason, .matched = -1 };
    if (reason == END_FAILED) e.message = why->text;
    post(q, &e, why ? why->status : OK);
}

static void tell_token(Request *q, RadishEvent *out, Buf *text)
{
    bool matched = false;
    q->n_out++;
    buf_clear(text);
    if (q->output) matched = output_push(q->output, out->token, text);
    out->text = text->p;
    out->n_text = text->n;
    q->on_event(q->ctx, out);
    if (!matched) return;
    q->stopped = true;
    engine_stop(q->r->engine, out->request);
    RadishEvent end = { .kind = RADISH_EV_END,
                        .request = out->request,
                        .reason = RADISH_END_STOP,
                        .matched_id = -1,
                        .matched_stop = q->stop[output_matched(q->output)],
                        .n_out = q->n_out,
                        .text = "" };
    q->on_event(q->ctx, &end);
}

static void tell_end(Request *q, RadishEvent *out, Buf *text)
{
    buf_clear(text);
    if (q->output) output_end(q->output, text);
    out->text = text->p;
    out->n_text = text->n;
    q->on_event(q->ctx, out);
}

/* Nothing comes before the first token of a prompt: its logprob is NaN. The engine cannot know it was asked for. */
static void tell_first(Request *q, uint64_t id)
{
    RadishEvent first = {
        .kind = RADISH_EV_PROMPT_LOGPROB, .request = id, .token = q->first_id, .logprob = NAN, .text = ""
    };
    q->on_event(q->ctx, &first);
}

static void tell(const Note *note, const float *top_logprob, const int32_t *top_id, Buf *text)
{
    static const RadishEventKind kinds[] = { [EV_STARTED] = RADISH_EV_STARTED,
                                             [EV_PROMPT_LOGPROBS] = RADISH_EV_PROMPT_LOGPROB,
                                             [EV_TOKEN] = RADISH_EV_TOKEN,
                                             [EV_END] = RADISH_EV_END };
    const Event *e = &note->event;
    Request *q = note->request;
    RadishEvent out = { .kind = kinds[e->kind],
                        .request = e->job,
                        .n_prompt = e->n_prompt,
                        .n_cached = e->n_cached,
                        .index = e->index,
                        .token = e->token,
                        .logprob = e->logprob,
                        .n_top = e->n_top,
                        .top_id = top_id,
                        .top_logprob = top_logprob,
                        .reason = (RadishEndReason)e->reason,
                        .matched_id = e->reason == END_STOP ? e->matched : -1,
                        .n_out = e->n_out,
                        .n_preempted = e->n_preempted,
                        .message = e->message,
                        .status = note->status,
                        .text = "" };
    if (!q->stopped) {
        if (e->kind == EV_TOKEN)
            tell_token(q, &out, text);
        else if (e->kind == EV_END)
            tell_end(q, &out, text);
        else
            q->on_event(q->ctx, &out);
        if (e->kind == EV_STARTED && q->first_id >= 0) tell_first(q, e->job);
    }
    if (e->kind == EV_END) radish_request_free(q);
}

void *radish_text_main(void *radish)
{
    Radish *r = radish;
    Buf text = { 0 };
    buf_reserve(&text, 256);
    while (mailbox_wait(r->events)) {
        size_t n;
        for (const Note *note; (note = mailbox_next(r->events, &n));) {
            const float *logprob = n > sizeof *note ? (const float *)(note + 1) : NULL;
            const int32_t *id = logprob ? (const int32_t *)(logprob + SAMPLE_TOP_MAX) : NULL;
            tell(note, logprob, id, &text);
        }
    }
    buf_free(&text);
    return NULL;
}
