/* generate.c - /generate: SGLang's own endpoint. Streams carry the whole text so far each time, unless the server was told otherwise. */
#include "api/reply.h"
#include "api/routes.h"
#include "base/jsonw.h"

enum { PART_OUT, PART_OUT_TOP, PART_IN, PART_IN_TOP };

/* ---- in ---- */

/* Field of one prompt: element i if the client sent a list, else the value itself. NULL: absent or null. */
static const json_t *nth(const json_t *body, const char *key, int i)
{
    const json_t *x = json_object_get(body, key);
    if (json_is_array(x)) x = json_array_get(x, (size_t)i);
    return json_is_null(x) ? NULL : x;
}

static Status read_text(Call *c, Params *p, const json_t *x)
{
    bool many = json_is_array(x);
    size_t n = many ? json_array_size(x) : 1;
    if (n == 0) return params_refuse(p, "text", "cannot be an empty list");
    if (n > CALL_PROMPTS_MAX)
        return params_refuse(p, "text", "can have at most %d prompts, not %zu", CALL_PROMPTS_MAX, n);
    call_prompts(c, (int)n);
    c->batch = many;
    for (size_t i = 0; i < n; i++) {
        const json_t *s = many ? json_array_get(x, i) : x;
        if (!json_is_string(s)) return params_wrong(p, "text", "a string or a list of strings", s);
        c->prompts[i].text = arena_str(c->arena, (Str){ json_string_value(s), json_string_length(s) });
    }
    return OK;
}

static Status read_ids(Call *c, Params *p, const json_t *x)
{
    if (!json_is_array(x)) return params_wrong(p, "input_ids", "a list of token ids", x);
    if (json_array_size(x) == 0) return params_refuse(p, "input_ids", "cannot be empty");
    bool many = json_is_array(json_array_get(x, 0));
    size_t n = many ? json_array_size(x) : 1;
    if (n > CALL_PROMPTS_MAX)
        return params_refuse(p, "input_ids", "can have at most %d prompts, not %zu", CALL_PROMPTS_MAX, n);
    call_prompts(c, (int)n);
    c->batch = many;
    for (size_t i = 0; i < n; i++) {
        Prompt *one = &c->prompts[i];
        TRY(params_id_list(p, "input_ids", many ? json_array_get(x, i) : x, &one->ids, &one->n_ids));
        if (one->n_ids == 0) return params_refuse(p, "input_ids", "has an empty prompt");
    }
    return OK;
}

static Status check_names(Params *p)
{
    static const char *const known[] = { "max_new_tokens",
                                         "temperature",
                                         "top_p",
                                         "top_k",
                                         "min_p",
                                         "frequency_penalty",
                                         "presence_penalty",
                                         "repetition_penalty",
                                         "min_new_tokens",
                                         "n",
                                         "stop",
                                         "stop_token_ids",
                                         "stop_regex",
                                         "ignore_eos",
                                         "skip_special_tokens",
                                         "spaces_between_special_tokens",
                                         "no_stop_trim",
                                         "json_schema",
                                         "regex",
                                         "ebnf",
                                         "structural_tag",
                                         "logit_bias",
                                         "sampling_seed",
                                         "custom_params",
                                         "stream_interval",
                                         "beam_width" };
    const char *key;
    json_t *x;
    json_object_foreach((json_t *)(uintptr_t)p->o, key, x)
    {
        size_t i = 0;
        while (i < COUNT(known) && strcmp(known[i], key) != 0) i++;
        if (i == COUNT(known)) return params_refuse(p, "sampling_params", "has no field \"%.60s\"", key);
    }
    return OK;
}

static Status read_sampling(Call *c, Params *p, const json_t *o, RadishRequest *q, int *n)
{
    Params inner = { .o = o, .where = "sampling_params.", .arena = c->arena, .err = p->err };
    p->param = "sampling_params";
    if (!json_is_object(o)) return params_wrong(p, "sampling_params", "an object", o);
    inner.where = "";
    TRY(check_names(&inner));
    inner.where = "sampling_params.";
    TRY(params_unsupported(&inner));
    TRY(params_int(&inner, "max_new_tokens", 0, INT32_MAX, &q->max_new_tokens));
    TRY(constraint_read(&inner, false, q, &c->constraint));
    return params_sampling(&inner, false, q, n);
}

static Status read_logprobs(Params *p, Prompt *one)
{
    bool wanted = false;
    int start = -1, top = 0;
    TRY(params_bool(p, "return_logprob", &wanted));
    TRY(params_int(p, "logprob_start_len", -1, INT32_MAX, &start));
    TRY(params_int(p, "top_logprobs_num", 0, CALL_TOP_MAX, &top));
    TRY(params_bool(p, "return_text_in_logprobs", &one->text_in_logprobs));
    if (!wanted) return OK;
    one->top = one->q.top_logprobs = top;
    one->q.prompt_logprobs_from = start;
    return OK;
}

/* The fields of prompt i, lists taken apart. */
static Status read_prompt(Call *c, Params *p, int i)
{
    static const char *const keys[] = { "return_logprob", "logprob_start_len", "top_logprobs_num",
                                        "return_text_in_logprobs" };
    Prompt *one = &c->prompts[i];
    const json_t *sampling = nth(p->o, "sampling_params", i);
    int n = 1;
    one->q.max_new_tokens = 128;
    one->q.parse_specials = true;
    if (sampling) TRY(read_sampling(c, p, sampling, &one->q, &n));
    if (i > 0 && n != c->n)
        return params_refuse(p, "sampling_params", "must have the same n for all prompts of a batch");
    c->n = n;
    json_t *flat = json_object();
    for (size_t k = 0; k < COUNT(keys); k++) {
        const json_t *x = nth(p->o, keys[k], i);
        if (x) json_object_set(flat, keys[k], (json_t *)(uintptr_t)x);
    }
    Params inner = { .o = flat, .where = "", .arena = c->arena, .err = p->err };
    Status status = read_logprobs(&inner, one);
    if (status != OK) p->param = inner.param;
    json_decref(flat);
    TRY(status);
    return params_int(p, "priority", INT32_MIN, INT32_MAX, &one->q.priority);
}

static Status read_body(Call *c, Params *p)
{
    static const char *const lists[] = { "sampling_params", "return_logprob", "logprob_start_len", "top_logprobs_num",
                                         "lora_path" };
    const json_t *text = params_get(p, "text"), *ids = params_get(p, "input_ids"), *lora = params_get(p, "lora_path");
    bool no_lora = json_is_array(lora); /* a list of nulls asks for nothing */
    for (size_t i = 0; no_lora && i < json_array_size(lora); i++) no_lora = json_is_null(json_array_get(lora, i));
    if (no_lora) json_object_del((json_t *)(uintptr_t)p->o, "lora_path");
    TRY(params_unsupported(p));
    TRY(params_bool(p, "stream", &c->stream));
    TRY(params_bool(p, "return_prompt_token_ids", &c->return_prompt_ids));
    if (text)
        TRY(read_text(c, p, text));
    else if (ids)
        TRY(read_ids(c, p, ids));
    else
        return params_refuse(p, "text", "or input_ids must be given");
    for (size_t i = 0; i < COUNT(lists); i++) TRY(params_list_of(p, lists[i], c->n_prompts));
    for (int i = 0; i < c->n_prompts; i++) TRY(read_prompt(c, p, i));
    TRY(call_names(c, p));
    if ((int64_t)c->n_prompts * c->n > CALL_CHOICES_MAX)
        return params_refuse(p, "sampling_params", "ask for more than %d answers together", CALL_CHOICES_MAX);
    c->batch = c->batch || c->n > 1;
    return OK;
}

static Status prepare(Call *c, const json_t *body, Err *err)
{
    Params p = { .o = body, .where = "", .arena = c->arena, .err = err };
    Status status = read_body(c, &p);
    c->param = status == OK ? NULL : p.param;
    return status;
}

/* ---- logprobs: [logprob|null, id, text|null] ---- */

static void add_triple(Buf *out, const Choice *h, int32_t id, float logprob, bool known)
{
    jsonw_sep(out);
    buf_char(out, '[');
    if (known)
        reply_logprob(out, logprob);
    else
        buf_str(out, STR("null"));
    buf_printf(out, ",%d,", id);
    if (h->prompt->text_in_logprobs)
        reply_piece(out, h->call->server, id);
    else
        buf_str(out, STR("null"));
    buf_char(out, ']');
}

static void add_position(Choice *h, const RadishEvent *e, int part, bool known)
{
    Buf *one = &h->part[part], *top = &h->part[part + 1];
    if (one->n == 0) buf_char(one, '[');
    add_triple(one, h, e->token, e->logprob, known);
    if (h->prompt->top <= 0) return;
    if (top->n == 0) buf_char(top, '[');
    jsonw_sep(top);
    if (!known) {
        buf_str(top, STR("null"));
        return;
    }
    buf_char(top, '[');
    for (int i = 0; i < MIN(e->n_top, h->prompt->top); i++) add_triple(top, h, e->top_id[i], e->top_logprob[i], true);
    buf_char(top, ']');
}

static void on_prompt_logprob(Choice *h, const RadishEvent *e)
{
    add_position(h, e, PART_IN, e->index > 0);
}

static void on_token(Choice *h, const RadishEvent *e)
{
    add_position(h, e, PART_OUT, true);
}

static void add_list(Buf *out, const char *name, const Buf *list)
{
    jsonw_key(out, name);
    if (list->n)
        buf_str(out, buf_view(list));
    else
        buf_char(out, '[');
    buf_char(out, ']');
}

/* ---- out ---- */

static void add_finish(Buf *out, const Choice *h)
{
    jsonw_key(out, "finish_reason");
    switch (h->reason) {
    case RADISH_END_NONE: buf_str(out, STR("null")); return;
    case RADISH_END_STOP:
        buf_str(out, STR("{\"type\":\"stop\",\"matched\":"));
        call_matched_json(out, h);
        buf_char(out, '}');
        return;
    case RADISH_END_LENGTH: buf_printf(out, "{\"type\":\"length\",\"length\":%d}", h->n_out); return;
    case RADISH_END_TIMEOUT:
        buf_str(out, STR("{\"type\":\"abort\",\"message\":\"the time for this request ran out\"}"));
        return;
    case RADISH_END_CANCELLED:
    case RADISH_END_FAILED: buf_str(out, STR("{\"type\":\"abort\",\"message\":\"the request was aborted\"}")); return;
    }
}

static void add_meta(Buf *out, const Choice *h)
{
    buf_str(out, STR("{\"id\":"));
    jsonw_str(out, h->rid);
    add_finish(out, h);
    buf_printf(out, ",\"prompt_tokens\":%d,\"completion_tokens\":%d,\"cached_tokens\":%d",
               MAX(h->n_prompt, h->prompt->n_ids), h->n_out, h->n_cached);
    buf_printf(out,
               ",\"cached_tokens_details\":null,\"reasoning_tokens\":0,\"num_retractions\":%d,\"total_retractions\":%d",
               h->n_preempted, h->n_preempted);
    buf_str(out, STR(",\"weight_version\":\"default\",\"dp_rank\":null"));
    if (h->reason != RADISH_END_NONE) {
        jsonw_key(out, "e2e_latency");
        jsonw_f64(out, (double)(h->end_ns - h->call->start_ns) / 1e9);
    }
    if (h->prompt->top >= 0) {
        add_list(out, "input_token_logprobs", &h->part[PART_IN]);
        add_list(out, "output_token_logprobs", &h->part[PART_OUT]);
        buf_printf(out, ",\"output_token_logprobs_length\":%d", h->n_out);
    }
    if (h->prompt->top > 0) {
        add_list(out, "input_top_logprobs", &h->part[PART_IN_TOP]);
        add_list(out, "output_top_logprobs", &h->part[PART_OUT_TOP]);
    }
    buf_char(out, '}');
}

/* Text as the inside of a JSON string, appended. */
static void add_escaped(Buf *out, Str text)
{
    size_t begin = out->n;
    jsonw_str(out, text);
    memmove(out->p + begin, out->p + begin + 1, out->n - begin - 2);
    out->n -= 2;
}

/* What is new goes to the growing JSON texts, so that a chunk is copies of what is there. */
static void catch_up(Choice *h)
{
    Str text = call_new_text(h);
    bool incremental = h->call->server->o.incremental_streaming && h->call->stream;
    if (incremental) {
        buf_clear(&h->json_text);
        buf_clear(&h->json_ids);
    }
    add_escaped(&h->json_text, text);
    for (; h->ids_sent < h->ids.n; h->ids_sent++) {
        if (h->json_ids.n) buf_char(&h->json_ids, ',');
        jsonw_i64(&h->json_ids, h->ids.p[h->ids_sent]);
    }
}

static void add_answer(Buf *out, Choice *h, bool with_index)
{
    const Call *c = h->call;
    catch_up(h);
    buf_char(out, '{');
    if (c->server->info.has_tokenizer) {
        buf_str(out, STR("\"text\":\""));
        buf_str(out, buf_view(&h->json_text));
        buf_char(out, '"');
    }
    jsonw_key(out, "output_ids");
    buf_char(out, '[');
    buf_str(out, buf_view(&h->json_ids));
    buf_str(out, STR("],\"meta_info\":"));
    add_meta(out, h);
    if (c->return_prompt_ids) {
        jsonw_key(out, "prompt_token_ids");
        jsonw_ids(out, h->prompt->ids, (size_t)h->prompt->n_ids);
    }
    if (with_index) buf_printf(out, ",\"index\":%d", h->index);
    buf_char(out, '}');
}

static void on_delta(Choice *h)
{
    Buf *b = &h->scratch;
    buf_clear(b);
    add_answer(b, h, h->call->batch);
    call_send(h->call, b);
}

static void whole(Call *c, Buf *out)
{
    if (c->batch) buf_char(out, '[');
    for (int i = 0; i < c->n_choices; i++) {
        if (i) buf_char(out, ',');
        add_answer(out, &c->choices[i], false);
    }
    if (c->batch) buf_char(out, ']');
}

const Format generate_format = {
    .prepare = prepare, .prompt_logprob = on_prompt_logprob, .token = on_token, .delta = on_delta, .whole = whole
};

static void handle(Server *s, const HttpRequest *q, HttpReply *r)
{
    (void)q;
    call_start(s, &generate_format, "", r);
}

const Route generate_route = { "/generate", ROUTE_POST | ROUTE_PUT, handle };
