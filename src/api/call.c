/* call.c - the life of a request that makes tokens.
 *
 *   I/O thread      call_start: the body moves into the Call
 *   text thread     prepare (JSON -> prompts), tokenize, submit every choice
 *   radish          events of each choice -> text and logprobs gathered, deltas sent
 *   whoever is last the answer, or the stream's end
 *
 * `open` counts the choices that have not ended plus one for the submitting thread; whoever brings it to zero finishes the
 * answer, and until then nobody does. So finishing needs no lock, and it happens once.
 * `refs` keeps the memory: one for the work until it is finished, one for the reply, which may call on_gone as long as it lives.
 *
 * A client that leaves sets `gone` and cancels what is submitted; the submitting thread raises n_submitted first and looks at
 * `gone` after that, so no order of the two leaves a request running. */
#include "api/call.h"

#include <math.h>

#include "api/chat_tools.h"
#include "api/reply.h"
#include "base/jsonw.h"

/* ---- life ---- */

static void link_call(Call *c)
{
    Server *s = c->server;
    pthread_mutex_lock(&s->lock);
    c->next = s->calls;
    if (c->next) c->next->prev = c;
    s->calls = c;
    pthread_mutex_unlock(&s->lock);
}

static void unlink_call(Call *c)
{
    Server *s = c->server;
    pthread_mutex_lock(&s->lock);
    if (c->prev)
        c->prev->next = c->next;
    else
        s->calls = c->next;
    if (c->next) c->next->prev = c->prev;
    if (!s->calls) pthread_cond_broadcast(&s->idle);
    pthread_mutex_unlock(&s->lock);
}

static void free_choice(Choice *h)
{
    Buf *bufs[] = { &h->text, &h->json_text, &h->json_ids, &h->matched_stop, &h->message, &h->scratch };
    for (size_t i = 0; i < COUNT(bufs); i++) buf_free(bufs[i]);
    for (size_t i = 0; i < FRAGMENTS; i++) buf_free(&h->part[i]);
    ids_free(&h->ids);
    chat_answer_free(h);
}

static void unref_call(void *call)
{
    Call *c = call;
    if (atomic_fetch_sub(&c->refs, 1) != 1) return;
    unlink_call(c); /* from here on the server may be closed: it is not touched any more */
    for (int i = 0; i < c->n_choices; i++) free_choice(&c->choices[i]);
    for (int i = 0; i < c->n_prompts; i++) {
        if (c->prompts[i].tokenized) radish_ids_free((int32_t *)(uintptr_t)c->prompts[i].ids);
    }
    buf_free(&c->body);
    chat_tools_free(c);
    arena_free(c->arena);
    mem_free(c);
}

static void cancel(Call *c)
{
    atomic_store(&c->gone, true);
    int n = atomic_load(&c->n_submitted);
    for (int i = 0; i < n; i++) radish_cancel(c->server->radish, c->choices[i].id);
}

static void on_gone(void *call)
{
    Call *c = call;
    atomic_fetch_add(&c->server->n_aborted, 1);
    cancel(c);
}

static Call *call_new(Server *s, const Format *format, HttpReply *reply)
{
    Call *c = mem_alloc(sizeof *c);
    c->server = s;
    c->format = format;
    c->reply = reply;
    c->arena = arena_new(4096);
    c->created_s = clock_wall_s();
    c->start_ns = clock_ns();
    c->request_model = str_of(s->model_name);
    c->n = 1;
    c->id_prefix = "";
    atomic_init(&c->open, 1);
    atomic_init(&c->refs, 2);
    link_call(c);
    http_on_gone(reply, on_gone, unref_call, c);
    return c;
}

void call_prompts(Call *c, int n_prompts)
{
    c->prompts = ARENA_NEW(c->arena, Prompt, (size_t)n_prompts);
    c->n_prompts = n_prompts;
    for (int i = 0; i < n_prompts; i++) {
        radish_request_init(&c->prompts[i].q);
        c->prompts[i].top = -1;
        c->prompts[i].start = -1;
    }
}

/* The rid of prompt i; seen: those of the prompts before it. */
static Status read_rid(Call *c, Params *p, int i, json_t *seen)
{
    const json_t *x = params_get(p, "rid");
    bool listed = json_is_array(x);
    if (listed) x = json_array_get(x, (size_t)i);
    if (!x || json_is_null(x)) return OK;
    if (!json_is_string(x)) return params_wrong(p, "rid", "a string or a list of strings", x);
    Str rid = { json_string_value(x), json_string_length(x) };
    if (rid.n > CALL_RID_MAX) return params_refuse(p, "rid", "can have at most %d characters", CALL_RID_MAX);
    if (listed && json_object_getn(seen, rid.p, rid.n))
        return params_refuse(p, "rid", "has \"%.*s\" twice", STR_FMT(rid));
    if (listed) json_object_setn_new(seen, rid.p, rid.n, json_true());
    c->prompts[i].rid =
        c->batch && !listed && rid.n ? arena_printf(c->arena, "%.*s_%d", STR_FMT(rid), i) : arena_str(c->arena, rid);
    return OK;
}

Status call_names(Call *c, Params *p)
{
    static const char *const lists[] = { "rid", "cache_salt", "extra_key" };
    Status status = OK;
    json_t *seen = json_object();
    for (size_t i = 0; status == OK && i < COUNT(lists); i++) status = params_list_of(p, lists[i], c->n_prompts);
    for (int i = 0; status == OK && i < c->n_prompts; i++) {
        status = read_rid(c, p, i, seen);
        if (status == OK) status = params_salt(p, (size_t)i, &c->prompts[i].q.cache_salt);
    }
    json_decref(seen);
    return status;
}

/* ---- finishing ---- */

/* param: the field at fault, NULL: c->param knows. */
static void set_error(Call *c, const Err *err, const char *param)
{
    if (atomic_exchange(&c->claimed, true)) return; /* the first one is told */
    c->error = *err;
    if (param) c->param = param;
    atomic_store(&c->failed, true);
}

static void finish_failed(Call *c)
{
    const Err *err = &c->error;
    if (!http_is_gone(c->reply)) atomic_fetch_add(&c->server->n_refused, 1);
    if (!http_has_begun(c->reply)) {
        reply_err(c->reply, err, c->param, c->code);
        return;
    }
    Buf inner = { 0 }, b = { 0 };
    reply_error_json(&inner, reply_status(err->status), str_of(err->text), c->param, c->code);
    buf_printf(&b, "{\"error\":%.*s}", STR_FMT(inner));
    call_send(c, &b);
    http_sse_send(c->reply, STR("[DONE]"));
    http_sse_end(c->reply);
    buf_free(&inner);
    buf_free(&b);
}

static void last_delta(Choice *h)
{
    h->told = true;
    h->call->format->delta(h);
}

/* What was held back from a client that was behind is sent now, all of it: there is no later. */
static void finish_stream(Call *c)
{
    http_sse_rest(c->reply);
    for (int i = 0; i < c->n_choices; i++) {
        if (!c->choices[i].told && !atomic_load(&c->gone)) last_delta(&c->choices[i]);
    }
    if (c->format->end) c->format->end(c);
    http_sse_send(c->reply, STR("[DONE]"));
    http_sse_end(c->reply);
}

static void finish(Call *c)
{
    if (atomic_load(&c->failed)) {
        finish_failed(c);
    } else if (c->stream) {
        finish_stream(c);
    } else {
        Buf b = { 0 };
        if (!http_is_gone(c->reply)) c->format->whole(c, &b);
        reply_json(c->reply, &b);
        buf_free(&b);
    }
    unref_call(c);
}

static void close_one(Call *c)
{
    if (atomic_fetch_sub(&c->open, 1) == 1) finish(c);
}

/* ---- events ---- */

/* The client is behind: what comes is gathered, and goes out with a later delta. */
static bool client_is_behind(const Call *c)
{
    return http_unsent(c->reply) > CALL_AHEAD_MAX;
}

static void take_token(Choice *h, const RadishEvent *e)
{
    const Format *f = h->call->format;
    ids_push(&h->ids, e->token);
    atomic_fetch_add(&h->call->server->n_output_tokens, 1);
    if (f->token && h->prompt->top >= 0 && !atomic_load(&h->call->gone)) f->token(h, e);
}

static void take_end(Choice *h, const RadishEvent *e)
{
    Call *c = h->call;
    if (e->reason == RADISH_END_STOP && e->matched_id >= 0) take_token(h, e); /* the token that ended it counts */
    h->reason = e->reason;
    h->matched_id = e->matched_id;
    if (e->matched_stop) buf_str(&h->matched_stop, str_of(e->matched_stop));
    if (e->message) buf_str(&h->message, str_of(e->message));
    h->n_out = e->n_out;
    h->n_preempted += e->n_preempted;
    h->end_ns = clock_ns();
    Err err;
    if (e->reason == RADISH_END_FAILED) {
        bool refused = e->status == RADISH_INVALID || e->status == RADISH_UNSUPPORTED || e->status == RADISH_LIMIT;
        Status status = e->status == RADISH_OK ? E_DEVICE : (Status)e->status;
        fail(&err, status, "%s", e->message ? e->message : "the engine failed");
        set_error(c, &err, refused ? c->constraint : NULL);
    } else if (e->reason == RADISH_END_TIMEOUT) {
        fail(&err, E_BUSY, "the engine did not answer in time");
        set_error(c, &err, NULL);
    }
}

static void on_event(void *choice, const RadishEvent *e)
{
    Choice *h = choice;
    Call *c = h->call;
    const Format *f = c->format;
    bool listened = !atomic_load(&c->gone);
    if (e->n_text) buf_add(&h->text, e->text, e->n_text);
    switch (e->kind) {
    case RADISH_EV_STARTED:
        h->n_prompt = e->n_prompt;
        h->n_cached = e->n_cached;
        atomic_fetch_add(&c->server->n_prompt_tokens, (uint64_t)e->n_prompt);
        atomic_fetch_add(&c->server->n_cached_tokens, (uint64_t)e->n_cached);
        break;
    case RADISH_EV_PROMPT_LOGPROB:
        if (listened && f->prompt_logprob) f->prompt_logprob(h, e);
        break;
    case RADISH_EV_TOKEN:
        h->n_out++;
        take_token(h, e);
        if (listened && c->stream && !client_is_behind(c)) f->delta(h);
        if (listened && !c->stream && f->text) f->text(h);
        break;
    case RADISH_EV_END:
        take_end(h, e);
        if (listened && c->stream && !atomic_load(&c->failed) && !client_is_behind(c)) last_delta(h);
        close_one(c); /* h may be gone from here on */
        break;
    }
}

/* ---- submitting ---- */

static Str new_rid(Server *s, Arena *a, const char *prefix)
{
    uint64_t k = atomic_fetch_add(&s->n_ids, 1);
    uint64_t high = hash_mix(s->id_seed + 2 * k), low = hash_mix(~s->id_seed + 2 * k + 1);
    return arena_printf(a, "%s%016llx%016llx", prefix, (unsigned long long)high, (unsigned long long)low);
}

static void make_choices(Call *c)
{
    c->n_choices = c->n_prompts * c->n;
    c->choices = ARENA_NEW(c->arena, Choice, (size_t)c->n_choices);
    for (int i = 0; i < c->n_choices; i++) {
        Choice *h = &c->choices[i];
        h->call = c;
        h->index = i;
        h->prompt = &c->prompts[i / c->n];
        h->matched_id = -1;
        if (c->echo) buf_str(&h->text, h->prompt->text);
        if (i > 0 && c->id_prefix[0] && h->prompt->rid.n == 0) {
            h->rid =
                c->choices[0].rid; /* the choices of one OpenAI answer share its id, unless the client names them */
        } else if (h->prompt->rid.n == 0) {
            h->rid = new_rid(c->server, c->arena, c->id_prefix);
        } else if (c->n == 1) {
            h->rid = h->prompt->rid;
        } else {
            h->rid = arena_printf(c->arena, "%.*s_%d", STR_FMT(h->prompt->rid), i % c->n);
        }
    }
}

static Status tokenize(Call *c, Prompt *p, Err *err)
{
    int32_t *ids;
    size_t n;
    RadishError e = { 0 };
    if (p->ids || p->tokenized) return OK;
    int status =
        radish_tokenize(c->server->radish, p->text.p, p->text.n, p->q.parse_specials, p->q.add_bos, &ids, &n, &e);
    if (status) return fail(err, (Status)e.status, "%s", e.text);
    p->ids = ids;
    p->n_ids = (int)n;
    p->tokenized = true;
    return OK;
}

/* What only the number of tokens tells. */
static Status check_length(Call *c, const Prompt *p, Err *err)
{
    int context = c->server->info.context_length;
    int64_t wanted = MAX(p->q.max_new_tokens, 0);
    if (p->n_ids + wanted > context) {
        c->code = "context_length_exceeded";
        return fail(err, E_INVALID,
                    "the prompt has %d tokens and %lld new ones are asked for, together more than the context length "
                    "of %d: shorten "
                    "the prompt or ask for at most %d",
                    p->n_ids, (long long)wanted, context, MAX(context - p->n_ids, 0));
    }
    if (p->q.prompt_logprobs_from > p->n_ids)
        return fail(err, E_INVALID, "logprob_start_len is %d, the prompt has only %d tokens", p->q.prompt_logprobs_from,
                    p->n_ids);
    return OK;
}

static Status submit_choice(Call *c, Choice *h, Err *err)
{
    RadishRequest q = h->prompt->q;
    RadishError e = { 0 };
    uint64_t id;
    if (h->prompt->n_ids > 0) {
        q.ids = h->prompt->ids;
        q.n_ids = h->prompt->n_ids;
    } else {
        q.text = ""; /* an empty text: radish knows how a document begins */
    }
    q.on_event = on_event;
    q.ctx = h;
    q.seed += (uint64_t)(h->index % c->n); /* n answers of one seed are n different ones, the same ones each time */
    atomic_fetch_add(&c->open, 1);
    if (radish_submit(c->server->radish, &q, &id, &e)) {
        atomic_fetch_sub(&c->open, 1);
        if (strstr(e.text, "context length")) c->code = "context_length_exceeded";
        return fail(err, (Status)e.status, "%s", e.text);
    }
    h->id = id;
    atomic_store(&c->n_submitted, h->index + 1);
    if (atomic_load(&c->gone)) radish_cancel(c->server->radish, id);
    return OK;
}

static Status submit_all(Call *c, Err *err)
{
    for (int i = 0; i < c->n_prompts; i++) {
        TRY(tokenize(c, &c->prompts[i], err));
        TRY(check_length(c, &c->prompts[i], err));
    }
    make_choices(c);
    for (int i = 0; i < c->n_choices && !atomic_load(&c->gone); i++) TRY(submit_choice(c, &c->choices[i], err));
    if (atomic_load(&c->gone)) return fail(err, E_CANCELLED, "the client has gone");
    return OK;
}

static Status prepare(Call *c, Err *err)
{
    json_t *root = NULL;
    size_t held = c->body.n;
    Status status = params_parse(buf_view(&c->body), &root, err);
    buf_free(&c->body);
    c->body = (Buf){ 0 };
    call_dequeued(c->server, held);
    if (status == OK) status = c->format->prepare(c, root, err);
    if (status == OK) status = submit_all(c, err);
    json_decref(root); /* what the requests point into is copied by now */
    return status;
}

static void run_call(void *call)
{
    Call *c = call;
    Err err = { 0 };
    Status status = c->prompts ? submit_all(c, &err) : prepare(c, &err);
    if (status != OK) {
        set_error(c, &err, NULL);
        cancel(c);
    }
    close_one(c);
}

bool call_queue(Server *s, size_t n_bytes, void (*work)(void *arg), void *arg)
{
    size_t queued = atomic_fetch_add(&s->queued_bytes, n_bytes);
    if (queued <= CALL_QUEUED_BYTES_MAX && tasks_add(s->text, work, arg)) return true;
    call_dequeued(s, n_bytes);
    return false;
}

void call_dequeued(Server *s, size_t n_bytes)
{
    atomic_fetch_sub(&s->queued_bytes, n_bytes);
}

static void start(Call *c)
{
    Err err;
    atomic_fetch_add(&c->server->n_requests, 1);
    if (call_queue(c->server, c->body.n, run_call, c)) return;
    fail(&err, E_BUSY, "too many requests are waiting; try again");
    set_error(c, &err, NULL);
    close_one(c);
}

void call_start(Server *s, const Format *format, const char *id_prefix, HttpReply *reply)
{
    Call *c = call_new(s, format, reply);
    c->id_prefix = id_prefix;
    c->body = http_take_body(reply);
    start(c);
}

void call_start_ids(Server *s, const Format *format, HttpReply *reply, int32_t id, int timeout_ms)
{
    Call *c = call_new(s, format, reply);
    int32_t *ids = ARENA_NEW(c->arena, int32_t, 1);
    ids[0] = id;
    call_prompts(c, 1);
    c->prompts[0].ids = ids;
    c->prompts[0].n_ids = 1;
    c->prompts[0].q.max_new_tokens = 1;
    c->prompts[0].q.temperature = 0;
    c->prompts[0].q.timeout_ms = timeout_ms;
    start(c);
}

int call_abort(Server *s, Str rid, bool all)
{
    int n_aborted = 0;
    pthread_mutex_lock(&s->lock);
    for (Call *c = s->calls; c; c = c->next) {
        int n = atomic_load(&c->n_submitted);
        for (int i = 0; i < n; i++) {
            if (!all && !str_starts(c->choices[i].rid, rid)) continue;
            radish_cancel(s->radish, c->choices[i].id);
            n_aborted++;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return n_aborted;
}

void call_wait_idle(Server *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->calls) pthread_cond_wait(&s->idle, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

/* ---- what the formats share ---- */

const char *call_finish_reason(const Choice *h)
{
    switch (h->reason) {
    case RADISH_END_STOP: return chat_answer_calls(h) ? "tool_calls" : "stop";
    case RADISH_END_LENGTH: return "length";
    case RADISH_END_NONE:
    case RADISH_END_CANCELLED:
    case RADISH_END_TIMEOUT:
    case RADISH_END_FAILED: break;
    }
    return "abort";
}

void call_matched_json(Buf *out, const Choice *h)
{
    if (h->reason == RADISH_END_STOP && h->matched_stop.n) {
        jsonw_str(out, buf_view(&h->matched_stop));
    } else if (h->reason == RADISH_END_STOP && h->matched_id >= 0) {
        jsonw_i64(out, h->matched_id);
    } else {
        buf_str(out, STR("null"));
    }
}

void call_send(Call *c, const Buf *data)
{
    http_sse_send(c->reply, buf_view(data));
}

Str call_new_text(Choice *h)
{
    Str s = { h->text.p + h->n_sent, h->text.n - h->n_sent };
    if (s.n == 0) return STR("");
    h->n_sent = h->text.n;
    return s;
}

void call_usage_json(Buf *out, const Call *c, int first, int n)
{
    int64_t prompt = 0, cached = 0, drawn = 0, thought = 0;
    for (int i = first; i < first + n; i++) {
        const Choice *h = &c->choices[i];
        drawn += h->n_out;
        thought += chat_answer_thought(h);
        if (i % c->n != 0 && n > 1) continue; /* a prompt counts once, however many answers it has */
        prompt += MAX(h->n_prompt, h->prompt->n_ids);
        cached += h->n_cached;
    }
    buf_str(out, STR("{\"prompt_tokens\":"));
    jsonw_i64(out, prompt);
    buf_str(out, STR(",\"total_tokens\":"));
    jsonw_i64(out, prompt + drawn);
    buf_str(out, STR(",\"completion_tokens\":"));
    jsonw_i64(out, drawn);
    buf_str(out, STR(",\"prompt_tokens_details\":"));
    if (c->server->o.cache_report) {
        buf_printf(out, "{\"cached_tokens\":%lld}", (long long)cached);
    } else {
        buf_str(out, STR("null"));
    }
    buf_printf(out, ",\"reasoning_tokens\":%lld}", (long long)thought);
}
