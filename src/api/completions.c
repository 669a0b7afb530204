/* completions.c - /v1/completions: a text goes on. Prompts are a string, a list of strings, token ids or lists of token ids. */
#include "api/openai.h"
#include "api/reply.h"
#include "api/routes.h"
#include "base/jsonw.h"
#include "base/utf8.h"

enum { PART_TOKENS, PART_LOGPROBS, PART_TOP, PART_OFFSETS };

/* ---- in ---- */

static Status read_prompt(Call *c, Params *p, const json_t *x, Prompt *out)
{
    if (json_is_string(x)) {
        out->text = arena_str(c->arena, (Str){ json_string_value(x), json_string_length(x) });
        return OK;
    }
    if (json_is_array(x) && json_array_size(x) == 0)
        return params_refuse(p, "prompt", "cannot be an empty list of tokens");
    return params_id_list(p, "prompt", x, &out->ids, &out->n_ids);
}

static Status read_prompts(Call *c, Params *p)
{
    const json_t *x = params_get(p, "prompt"), *first = json_array_get(x, 0);
    if (!x) return params_refuse(p, "prompt", "is missing: send a string, a list of strings, or token ids");
    bool many = json_is_array(x) && !json_is_integer(first);
    size_t n = many ? json_array_size(x) : 1;
    if (!json_is_string(x) && !json_is_array(x))
        return params_wrong(p, "prompt", "a string, a list of strings, or token ids", x);
    if (n == 0) return params_refuse(p, "prompt", "cannot be an empty list");
    if (n > CALL_PROMPTS_MAX)
        return params_refuse(p, "prompt", "can have at most %d prompts, not %zu", CALL_PROMPTS_MAX, n);
    call_prompts(c, (int)n);
    c->batch = many;
    for (size_t i = 0; i < n; i++) TRY(read_prompt(c, p, many ? json_array_get(x, i) : x, &c->prompts[i]));
    return OK;
}

/* The text of a prompt that came as ids. */
static Status echo_text(Call *c, Prompt *p, Err *err)
{
    char *text;
    size_t n;
    RadishError e;
    if (!p->ids) return OK;
    if (radish_detokenize(c->server->radish, p->ids, (size_t)p->n_ids, true, &text, &n, &e))
        return fail(err, (Status)e.status, "%s", e.text);
    p->text = arena_str(c->arena, (Str){ text, n });
    radish_string_free(text);
    return OK;
}

static Status read_fields(Call *c, Params *p, RadishRequest *q, int *top)
{
    int best_of = 0, max_tokens = 16;
    if (json_is_boolean(params_get(p, "logprobs")))
        return params_refuse(p, "logprobs", "must be a number of alternatives (0 to %d), not true or false",
                             OPENAI_TOP_MAX);
    TRY(params_int(p, "logprobs", 0, OPENAI_TOP_MAX, top));
    TRY(params_bool(p, "echo", &c->echo));
    TRY(params_int(p, "max_tokens", c->echo ? 0 : 1, INT32_MAX, &max_tokens));
    q->max_new_tokens = max_tokens;
    q->parse_specials = true;
    TRY(openai_common(c, p, q));
    TRY(params_int(p, "best_of", 1, 128, &best_of));
    if (best_of > c->n) return params_refuse(p, "best_of", "above n is not supported: ask for n answers and choose");
    q->top_logprobs = *top;
    if (c->echo && *top >= 0) q->prompt_logprobs_from = 0;
    return OK;
}

static Status prepare(Call *c, const json_t *body, Err *err)
{
    Params p = { .o = body, .where = "", .arena = c->arena, .err = err };
    RadishRequest q;
    int top = -1;
    radish_request_init(&q);
    Status status = read_fields(c, &p, &q, &top);
    if (status == OK) status = read_prompts(c, &p);
    if (status == OK && (int64_t)c->n_prompts * c->n > CALL_CHOICES_MAX)
        status = params_refuse(&p, "n", "times the number of prompts is more than %d", CALL_CHOICES_MAX);
    for (int i = 0; status == OK && i < c->n_prompts; i++) {
        Prompt *one = &c->prompts[i];
        one->q = q;
        one->top = top;
        if (c->echo) status = echo_text(c, one, err);
    }
    if (status == OK) status = call_names(c, &p);
    c->param = status == OK ? NULL : p.param;
    return status;
}

/* ---- logprobs ---- */

/* {"text":logprob,...}; two tokens may look alike, the likelier one is kept. */
static void add_top(Buf *out, Choice *h, const RadishEvent *e)
{
    size_t begin = out->n;
    int n = MIN(e->n_top, h->prompt->top);
    Buf *key = &h->scratch;
    buf_char(out, '{');
    for (int i = 0; i < n; i++) {
        buf_clear(key);
        reply_piece(key, h->call->server, e->top_id[i]);
        buf_char(key, ':');
        if (str_find(str_cut(buf_view(out), begin, out->n), buf_view(key), 0) != SIZE_MAX) continue;
        jsonw_sep(out);
        buf_str(out, buf_view(key));
        reply_logprob(out, e->top_logprob[i]);
    }
    buf_char(out, '}');
}

static void add_token(Choice *h, const RadishEvent *e, bool known)
{
    for (int i = 0; i < FRAGMENTS; i++) {
        if (h->part[i].n) buf_char(&h->part[i], ',');
    }
    reply_piece(&h->part[PART_TOKENS], h->call->server, e->token);
    jsonw_i64(&h->part[PART_OFFSETS], (int64_t)h->n_chars);
    if (!known) {
        buf_str(&h->part[PART_LOGPROBS], STR("null"));
        buf_str(&h->part[PART_TOP], STR("null"));
        return;
    }
    reply_logprob(&h->part[PART_LOGPROBS], e->logprob);
    add_top(&h->part[PART_TOP], h, e);
}

static void on_prompt_logprob(Choice *h, const RadishEvent *e)
{
    size_t n;
    const char *piece = radish_piece(h->call->server->radish, e->token, &n);
    add_token(h, e, e->index > 0);
    if (piece) h->n_chars += utf8_count((Str){ piece, n });
}

static void on_token(Choice *h, const RadishEvent *e)
{
    if (e->index == 0) h->n_chars = h->call->echo ? utf8_count(h->prompt->text) : 0;
    add_token(h, e, true);
    h->n_chars += utf8_count((Str){ e->text, e->n_text });
}

static void add_logprobs(Buf *out, Choice *h)
{
    static const char *const names[] = { "tokens", "token_logprobs", "top_logprobs", "text_offset" };
    if (h->prompt->top < 0) {
        buf_str(out, STR("null"));
        return;
    }
    buf_char(out, '{');
    for (int i = 0; i < FRAGMENTS; i++) {
        jsonw_key(out, names[i]);
        buf_char(out, '[');
        buf_str(out, buf_view(&h->part[i]));
        buf_char(out, ']');
    }
    buf_char(out, '}');
}

/* ---- out ---- */

static void on_delta(Choice *h)
{
    Buf *b = &h->scratch;
    bool running = h->reason == RADISH_END_NONE;
    Str text = call_new_text(h);
    if (running && text.n == 0 && h->part[PART_TOKENS].n == 0) return;
    buf_clear(b);
    openai_head(b, h->call, "text_completion");
    buf_printf(b, "{\"index\":%d,\"text\":", h->index);
    jsonw_str(b, text);
    buf_str(b, STR(",\"logprobs\":"));
    add_logprobs(b, h);
    openai_finish(b, h, running);
    if (h->call->return_ids) {
        jsonw_key(b, "token_ids");
        jsonw_ids(b, h->ids.p + h->ids_sent, h->ids.n - h->ids_sent);
        h->ids_sent = h->ids.n;
    }
    buf_char(b, '}');
    openai_chunk_tail(b, h->call, h);
    call_send(h->call, b);
    for (int i = 0; i < FRAGMENTS; i++) buf_clear(&h->part[i]);
}

static void on_end(Call *c)
{
    openai_send_usage(c, "text_completion");
}

static void whole(Call *c, Buf *out)
{
    openai_head(out, c, "text_completion");
    for (int i = 0; i < c->n_choices; i++) {
        Choice *h = &c->choices[i];
        buf_printf(out, "%s{\"index\":%d,\"text\":", i ? "," : "", i);
        jsonw_str(out, buf_view(&h->text));
        buf_str(out, STR(",\"logprobs\":"));
        add_logprobs(out, h);
        openai_finish(out, h, false);
        openai_ids(out, h);
        buf_char(out, '}');
    }
    openai_tail(out, c);
}

const Format completions_format = { .prepare = prepare,
                                    .prompt_logprob = on_prompt_logprob,
                                    .token = on_token,
                                    .delta = on_delta,
                                    .end = on_end,
                                    .whole = whole };

static void handle(Server *s, const HttpRequest *q, HttpReply *r)
{
    (void)q;
    call_start(s, &completions_format, "cmpl-", r);
}

const Route completions_route = { "/v1/completions", ROUTE_POST | ROUTE_JSON, handle };
