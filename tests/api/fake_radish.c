/* fake_radish.c - the embedding API without a model, for tests of what stands on it. Linked instead of src/radish.
 *
 * Tokens are bytes (256 BOS, 257 EOS). The answer to a prompt is the prompt again and again. The first word of a prompt can
 * ask for trouble: !busy (submit refuses), !fail (the engine fails after two tokens), !eos (ends by itself after three),
 * !slow (a token every 5 ms), !never (is never started), !once TEXT (the answer is TEXT, and ends by itself). A constrained answer is the constraint itself, "KIND TEXT OPTIONS"; one whose
 * text begins with ! is refused by an event, as one that does not compile. Events come from one thread, as the real ones do. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/base.h"
#include "radish.h"

enum { VOCAB = 258, BOS = 256, EOS = 257, CONTEXT = 4096, STEP_US = 50 };

typedef struct Item Item;
struct Item {
    Item *next;
    uint64_t id;
    RadishRequest q;
    int32_t *ids;
    int n_ids, n_out, max_new, n_slow;
    char *stop[8];
    int n_stop;
    bool cancelled, started, fails, ends, slow, never;
    Buf text;
    Buf says; /* constrained: the answer */
};

struct Radish {
    pthread_t thread;
    pthread_mutex_t lock;
    Item *items;
    uint64_t n_ids, n_done, n_cancelled, n_steps;
    bool closing;
};

/* ---- events ---- */

static void emit(Item *t, RadishEvent *e)
{
    e->request = t->id;
    if (!e->text) e->text = "";
    t->q.on_event(t->q.ctx, e);
}

static void end(Item *t, RadishEndReason reason, int32_t matched, const char *stop)
{
    RadishEvent e = { .kind = RADISH_EV_END,
                      .reason = reason,
                      .matched_id = matched,
                      .matched_stop = stop,
                      .n_out = t->n_out,
                      .token = matched,
                      .index = t->n_out - 1,
                      .message = reason == RADISH_END_FAILED ? "the fake failed" : NULL };
    emit(t, &e);
}

static void refuse_late(Item *t)
{
    RadishEvent e = { .kind = RADISH_EV_END,
                      .reason = RADISH_END_FAILED,
                      .matched_id = -1,
                      .message = "the constraint was refused at byte 1: the fake does not like it",
                      .status = RADISH_INVALID };
    emit(t, &e);
}

static void start(Item *t)
{
    RadishEvent e = { .kind = RADISH_EV_STARTED, .n_prompt = t->n_ids, .n_cached = t->n_ids / 16 * 16 };
    t->started = true;
    emit(t, &e);
    for (int i = t->q.prompt_logprobs_from; t->q.prompt_logprobs_from >= 0 && i < t->n_ids; i++) {
        RadishEvent p = {
            .kind = RADISH_EV_PROMPT_LOGPROB, .index = i, .token = t->ids[i], .logprob = i ? -0.5f : NAN
        };
        emit(t, &p);
    }
}

/* One token; true: the request has ended. */
static bool step(Item *t)
{
    static const int32_t top_id[2] = { 'x', 'y' };
    static const float top_logprob[2] = { -0.25f, -1.5f };
    if (t->n_out >= t->max_new) {
        end(t, RADISH_END_LENGTH, -1, NULL);
        return true;
    }
    if (t->fails && t->n_out == 2) {
        end(t, RADISH_END_FAILED, -1, NULL);
        return true;
    }
    if (t->ends && t->n_out == 3) {
        t->n_out++;
        end(t, RADISH_END_STOP, EOS, NULL);
        return true;
    }
    if (t->says.n && (size_t)t->n_out == t->says.n) {
        end(t, RADISH_END_STOP, -1, NULL);
        return true;
    }
    int32_t token = t->says.n ? (int32_t)(unsigned char)t->says.p[t->n_out] : t->ids[t->n_out % t->n_ids];
    char c = (char)token;
    RadishEvent e = { .kind = RADISH_EV_TOKEN,
                      .index = t->n_out++,
                      .token = token,
                      .logprob = -0.25f,
                      .n_top = MIN(MAX(t->q.top_logprobs, 0), 2),
                      .top_id = top_id,
                      .top_logprob = top_logprob,
                      .text = &c,
                      .n_text = token < 128 };
    buf_add(&t->text, &c, 1);
    emit(t, &e);
    for (int i = 0; i < t->n_stop; i++) {
        if (!str_ends(buf_view(&t->text), str_of(t->stop[i]))) continue;
        end(t, RADISH_END_STOP, -1, t->stop[i]);
        return true;
    }
    return false;
}

static bool turn(Radish *r, Item *t)
{
    pthread_mutex_lock(&r->lock);
    bool cancelled = t->cancelled || r->closing;
    pthread_mutex_unlock(&r->lock);
    if (cancelled) {
        end(t, RADISH_END_CANCELLED, -1, NULL);
        return true;
    }
    if (t->never || (t->slow && ++t->n_slow % 100)) return false;
    if (t->says.n > 2 && t->says.p[2] == '!') {
        refuse_late(t);
        return true;
    }
    if (!t->started) start(t);
    return step(t);
}

static void item_free(Item *t)
{
    for (int i = 0; i < t->n_stop; i++) mem_free(t->stop[i]);
    mem_free(t->ids);
    buf_free(&t->text);
    buf_free(&t->says);
    mem_free(t);
}

/* Everything that waits gets one token; new ones may come in front meanwhile. */
static void round_of_all(Radish *r, Item *list)
{
    while (list) {
        Item *t = list;
        list = t->next;
        bool ended = turn(r, t);
        pthread_mutex_lock(&r->lock);
        Item **at = &r->items;
        while (*at != t) at = &(*at)->next;
        if (ended) *at = t->next;
        r->n_done += ended;
        r->n_cancelled += ended && t->cancelled;
        r->n_steps++;
        pthread_mutex_unlock(&r->lock);
        if (ended) item_free(t);
    }
}

static void *run(void *arg)
{
    Radish *r = arg;
    for (;;) {
        pthread_mutex_lock(&r->lock);
        Item *list = r->items;
        bool done = r->closing && !list;
        pthread_mutex_unlock(&r->lock);
        if (done) return NULL;
        round_of_all(r, list);
        usleep(STEP_US);
    }
}

/* ---- the API ---- */

int radish_open(const RadishOptions *o, Radish **out, RadishError *err)
{
    (void)o, (void)err;
    Radish *r = mem_alloc(sizeof *r);
    pthread_mutex_init(&r->lock, NULL);
    pthread_create(&r->thread, NULL, run, r);
    *out = r;
    return RADISH_OK;
}

void radish_close(Radish *r)
{
    pthread_mutex_lock(&r->lock);
    r->closing = true;
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

const char *radish_version(void)
{
    return RADISH_VERSION;
}

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

static int refuse(RadishError *err, RadishStatus status, const char *text)
{
    err->status = status;
    snprintf(err->text, sizeof err->text, "%s", text);
    return (int)status;
}

static bool asks_for(const Item *t, const char *word)
{
    int n = (int)strlen(word);
    if (t->n_ids < n) return false;
    for (int i = 0; i < n; i++) {
        if (t->ids[i] != word[i]) return false;
    }
    return true;
}

int radish_submit(Radish *r, const RadishRequest *q, uint64_t *id, RadishError *err)
{
    Item *t = mem_alloc(sizeof *t);
    t->q = *q;
    t->n_ids = q->n_ids > 0 ? q->n_ids : 1;
    t->ids = mem_alloc_array((size_t)t->n_ids, sizeof *t->ids);
    t->ids[0] = BOS;
    if (q->n_ids > 0) memcpy(t->ids, q->ids, (size_t)q->n_ids * sizeof *q->ids);
    for (int i = 6; asks_for(t, "!once ") && i < t->n_ids; i++) buf_char(&t->says, (char)t->ids[i]);
    if (q->constraint && !t->says.n)
        buf_printf(&t->says, "%d %.*s %s", (int)q->constraint, (int)q->n_constraint_text, q->constraint_text,
                   q->constraint_options ? q->constraint_options : "");
    t->max_new = q->max_new_tokens < 0 ? CONTEXT - t->n_ids : q->max_new_tokens;
    if (asks_for(t, "!busy") || q->top_k == 7777) {
        item_free(t);
        return refuse(err, RADISH_BUSY, "the queue is full");
    }
    t->fails = asks_for(t, "!fail");
    t->ends = asks_for(t, "!eos") && !q->ignore_eos;
    t->slow = asks_for(t, "!slow");
    t->never = asks_for(t, "!never");
    for (; t->n_stop < MIN(q->n_stop, 8); t->n_stop++) {
        size_t n = strlen(q->stop[t->n_stop]) + 1;
        t->stop[t->n_stop] = mem_alloc(n);
        memcpy(t->stop[t->n_stop], q->stop[t->n_stop], n);
    }
    pthread_mutex_lock(&r->lock);
    *id = t->id = ++r->n_ids;
    t->next = r->items;
    r->items = t;
    pthread_mutex_unlock(&r->lock);
    return RADISH_OK;
}

void radish_cancel(Radish *r, uint64_t id)
{
    pthread_mutex_lock(&r->lock);
    for (Item *t = r->items; t; t = t->next) t->cancelled = t->cancelled || t->id == id;
    pthread_mutex_unlock(&r->lock);
}

void radish_cancel_all(Radish *r)
{
    pthread_mutex_lock(&r->lock);
    for (Item *t = r->items; t; t = t->next) t->cancelled = true;
    pthread_mutex_unlock(&r->lock);
}

int radish_tokenize(Radish *r, const char *text, size_t n, bool parse_specials, bool add_bos, int32_t **ids,
                    size_t *n_ids, RadishError *err)
{
    (void)r, (void)parse_specials, (void)add_bos, (void)err;
    *ids = mem_alloc_array(n + 1, sizeof **ids);
    for (size_t i = 0; i < n; i++) (*ids)[i] = (unsigned char)text[i];
    *n_ids = n;
    return RADISH_OK;
}

int radish_detokenize(Radish *r, const int32_t *ids, size_t n_ids, bool skip_special, char **text, size_t *n,
                      RadishError *err)
{
    (void)r, (void)skip_special, (void)err;
    *text = mem_alloc(n_ids + 1);
    *n = 0;
    for (size_t i = 0; i < n_ids; i++) {
        if (ids[i] < 128) (*text)[(*n)++] = (char)ids[i];
    }
    return RADISH_OK;
}

void radish_ids_free(int32_t *ids)
{
    mem_free(ids);
}

void radish_string_free(char *s)
{
    mem_free(s);
}

const char *radish_piece(Radish *r, int32_t id, size_t *n)
{
    static const char bytes[] = "abcdefghijklmnopqrstuvwxyz";
    (void)r;
    *n = id >= 'a' && id <= 'z';
    return *n ? bytes + (id - 'a') : "";
}

int32_t radish_token_id(Radish *r, const char *text, size_t n)
{
    (void)r;
    return n == 1 ? (unsigned char)text[0] : -1;
}

const char *radish_chat_template(Radish *r, size_t *n)
{
    (void)r;
    *n = 0;
    return "";
}

/* The prompt of a conversation is its JSON, so that tests see what the template would get. */
int radish_render_chat(Radish *r, const RadishChat *chat, char **prompt, size_t *n, RadishError *err)
{
    (void)r;
    if (strstr(chat->messages_json, "!raise")) return refuse(err, RADISH_INVALID, "the template raised: no");
    Buf b = { 0 };
    buf_str(&b, str_of(chat->messages_json));
    buf_str(&b, str_of(chat->kwargs_json));
    buf_printf(&b, "|%d%d", chat->no_generation_prompt, chat->continue_final_message);
    *n = b.n;
    buf_char(&b, 0);
    *prompt = b.p;
    return RADISH_OK;
}

void radish_info(Radish *r, RadishInfo *out)
{
    (void)r;
    *out = (RadishInfo){ .model_path = "fake/model",
                         .tokenizer_path = "fake/model",
                         .arch = "FakeForCausalLM",
                         .model_type = "fake",
                         .device = "none",
                         .kv_dtype = "f32",
                         .n_vocab = VOCAB,
                         .n_ctx = CONTEXT,
                         .context_length = CONTEXT,
                         .max_total_tokens = 1 << 16,
                         .max_running = 64,
                         .max_batch_tokens = 512,
                         .chunked_prefill_size = 512,
                         .page_size = 16,
                         .has_chat_template = true,
                         .has_tokenizer = true,
                         .bos_id = BOS,
                         .eos_id = EOS,
                         .temperature = NAN,
                         .top_p = NAN,
                         .min_p = NAN,
                         .repetition_penalty = NAN,
                         .top_k = -1 };
}

const int32_t *radish_stop_ids(Radish *r, size_t *n)
{
    static const int32_t eos = EOS;
    (void)r;
    *n = 1;
    return &eos;
}

void radish_stats(Radish *r, RadishStats *out)
{
    *out = (RadishStats){ .kv_pages = 100, .kv_pages_free = 100 };
    pthread_mutex_lock(&r->lock);
    for (Item *t = r->items; t; t = t->next) out->running++;
    out->requests_done = r->n_done;
    out->requests_cancelled = r->n_cancelled;
    out->steps = r->n_steps;
    pthread_mutex_unlock(&r->lock);
}

int radish_flush_cache(Radish *r, int timeout_ms, RadishError *err)
{
    for (int waited = 0;; waited++) {
        RadishStats s;
        radish_stats(r, &s);
        if (s.running == 0) return RADISH_OK;
        if (waited >= timeout_ms) return refuse(err, RADISH_BUSY, "requests are running");
        usleep(1000);
    }
}
