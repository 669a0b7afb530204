/* openai.c - what /v1/completions and /v1/chat/completions share: common fields, and the frame of answers and chunks. */
#include "api/openai.h"

#include "base/jsonw.h"

/* ---- in ---- */

/* "base:adapter" asks for an adapter; any other name is taken, as SGLang does, and given back. */
static Status read_model(Call *c, Params *p)
{
    Str model = { 0 }, served = str_of(c->server->model_name);
    TRY(params_str(p, "model", &model));
    if (model.n == 0) return OK;
    if (model.n > served.n && str_starts(model, served) && model.p[served.n] == ':')
        return params_refuse(p, "model", "asks for an adapter; this server has none, leave out what follows the colon");
    c->request_model = arena_str(c->arena, model);
    return OK;
}

/* Options without a stream are ignored, as SGLang does: clients send them always. */
static Status read_stream(Call *c, Params *p)
{
    TRY(params_bool(p, "stream", &c->stream));
    const json_t *options = params_get(p, "stream_options");
    if (!options) return OK;
    if (!json_is_object(options)) return params_wrong(p, "stream_options", "an object", options);
    Params inner = { .o = options, .where = "stream_options.", .arena = p->arena, .err = p->err };
    Status status = params_bool(&inner, "include_usage", &c->include_usage);
    if (status == OK) status = params_bool(&inner, "continuous_usage_stats", &c->continuous_usage);
    if (status != OK) p->param = "stream_options";
    return status;
}

Status openai_common(Call *c, Params *p, RadishRequest *q)
{
    Str user = { 0 };
    TRY(params_unsupported(p));
    TRY(read_model(c, p));
    TRY(read_stream(c, p));
    TRY(params_str(p, "user", &user));
    TRY(params_bool(p, "return_token_ids", &c->return_ids));
    TRY(params_bool(p, "return_prompt_token_ids", &c->return_prompt_ids));
    TRY(params_int(p, "priority", INT32_MIN, INT32_MAX, &q->priority));
    TRY(constraint_read(p, true, q, &c->constraint));
    return params_sampling(p, true, q, &c->n);
}

/* ---- out ---- */

void openai_head(Buf *out, const Call *c, const char *object)
{
    buf_str(out, STR("{\"id\":"));
    jsonw_str(out, c->choices[0].rid);
    buf_printf(out, ",\"object\":\"%s\",\"created\":%lld,\"model\":", object, (long long)c->created_s);
    jsonw_str(out, c->request_model);
    buf_str(out, STR(",\"choices\":["));
}

void openai_chunk_tail(Buf *out, const Call *c, const Choice *h)
{
    buf_str(out, STR("],\"usage\":"));
    if (!h) {
        call_usage_json(out, c, 0, c->n_choices);
    } else if (c->continuous_usage) {
        call_usage_json(out, c, h->index, 1);
    } else {
        buf_str(out, STR("null"));
    }
    buf_char(out, '}');
}

void openai_send_usage(Call *c, const char *object)
{
    if (!c->include_usage) return;
    Buf b = { 0 };
    openai_head(&b, c, object);
    openai_chunk_tail(&b, c, NULL);
    call_send(c, &b);
    buf_free(&b);
}

void openai_tail(Buf *out, const Call *c)
{
    buf_str(out, STR("],\"usage\":"));
    call_usage_json(out, c, 0, c->n_choices);
    buf_str(out, STR(",\"metadata\":{\"weight_version\":\"default\"}}"));
}

void openai_finish(Buf *out, const Choice *h, bool running)
{
    if (running) {
        buf_str(out, STR(",\"finish_reason\":null,\"matched_stop\":null"));
        return;
    }
    buf_printf(out, ",\"finish_reason\":\"%s\",\"matched_stop\":", call_finish_reason(h));
    call_matched_json(out, h);
}

void openai_ids(Buf *out, const Choice *h)
{
    if (h->call->return_ids) {
        jsonw_key(out, "token_ids");
        jsonw_ids(out, h->ids.p, h->ids.n);
    }
    if (h->call->return_ids || h->call->return_prompt_ids) {
        jsonw_key(out, "prompt_token_ids");
        jsonw_ids(out, h->prompt->ids, (size_t)h->prompt->n_ids);
    }
}
