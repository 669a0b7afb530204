/* admin.c - what is served and what is running, for routers and benchmark tools; flushing and aborting. */
#include "api/reply.h"
#include "api/routes.h"
#include "base/jsonw.h"

static void add_str(Buf *out, const char *key, const char *value)
{
    jsonw_key(out, key);
    if (value)
        jsonw_str(out, str_of(value));
    else
        buf_str(out, STR("null"));
}

static void add_int(Buf *out, const char *key, int64_t value)
{
    jsonw_key(out, key);
    jsonw_i64(out, value);
}

/* Value of a key of the query string, or empty. */
static Str query_value(Str query, const char *key)
{
    size_t n = strlen(key), from = 0;
    for (size_t i = 0; i <= query.n; i++) {
        if (i < query.n && query.p[i] != '&') continue;
        Str pair = str_cut(query, from, i);
        if (pair.n > n && !memcmp(pair.p, key, n) && pair.p[n] == '=') return str_cut(pair, n + 1, pair.n);
        from = i + 1;
    }
    return (Str){ 0 };
}

/* ---- what is served ---- */

static void model_info(Server *s, const HttpRequest *q, HttpReply *r)
{
    const RadishInfo *i = &s->info;
    Buf b = { 0 };
    (void)q;
    buf_char(&b, '{');
    add_str(&b, "model_path", i->model_path);
    add_str(&b, "tokenizer_path", i->tokenizer_path);
    buf_str(&b, STR(",\"is_generation\":true,\"preferred_sampling_params\":null,\"weight_version\":\"default\""));
    buf_str(&b, STR(",\"has_image_understanding\":false,\"has_audio_understanding\":false"));
    add_str(&b, "model_type", i->model_type);
    jsonw_key(&b, "architectures");
    buf_char(&b, '[');
    jsonw_str(&b, str_of(i->arch));
    buf_str(&b, STR("]}"));
    reply_json(r, &b);
    buf_free(&b);
}

static void add_internal_state(Buf *b, const Server *s)
{
    RadishStats t;
    radish_stats(s->radish, &t);
    buf_str(b, STR("[{\"last_gen_throughput\":"));
    jsonw_f64(b, t.tokens_per_s);
    buf_str(b, STR(",\"memory_usage\":{\"weight\":"));
    jsonw_f64(b, (double)s->info.weight_bytes / 1e9);
    buf_str(b, STR(",\"kvcache\":"));
    jsonw_f64(b, (double)s->info.kv_bytes / 1e9);
    add_int(b, "token_capacity", s->info.max_total_tokens);
    buf_char(b, '}');
    add_int(b, "effective_max_running_requests_per_dp", s->info.max_running);
    buf_str(b, STR("}]"));
}

/* Adds the options that the command line had and that are not said yet. */
static void add_server_args(Buf *b, const Server *s)
{
    if (!s->o.server_args_json) return;
    Buf text = { 0 };
    json_t *said = json_loadb(b->p, b->n, 0, NULL), *args;
    buf_printf(&text, "{%s}", s->o.server_args_json);
    args = json_loadb(text.p, text.n, 0, NULL);
    CHECK(said && args);
    json_object_update_missing(said, args);
    buf_clear(b);
    params_dump(b, said);
    json_decref(said);
    json_decref(args);
    buf_free(&text);
}

static void server_info(Server *s, const HttpRequest *q, HttpReply *r)
{
    const RadishInfo *i = &s->info;
    Buf b = { 0 };
    (void)q;
    buf_char(&b, '{');
    add_str(&b, "model_path", i->model_path);
    add_str(&b, "model_id", s->model_name);
    add_str(&b, "tokenizer_path", i->tokenizer_path);
    add_str(&b, "served_model_name", s->model_name);
    add_str(&b, "device", i->device);
    add_str(&b, "kv_cache_dtype", i->kv_dtype);
    add_str(&b, "host", s->o.host);
    add_int(&b, "port", http_port(s->http));
    add_int(&b, "context_length", i->context_length);
    add_int(&b, "max_running_requests", i->max_running);
    add_int(&b, "max_total_tokens", i->max_total_tokens);
    add_int(&b, "max_total_num_tokens", i->max_total_tokens);
    add_int(&b, "max_req_input_len", i->context_length - 1);
    add_int(&b, "chunked_prefill_size", i->chunked_prefill_size);
    add_int(&b, "max_prefill_tokens", i->max_batch_tokens);
    add_int(&b, "page_size", i->page_size);
    add_int(&b, "tp_size", 1);
    add_int(&b, "dp_size", 1);
    add_str(&b, "disaggregation_mode", "null");
    add_str(&b, "weight_version", "default");
    add_str(&b, "status", "ready");
    jsonw_key(&b, "internal_states");
    add_internal_state(&b, s);
    buf_str(&b, STR(",\"kv_events\":null"));
    add_str(&b, "version", radish_version());
    buf_char(&b, '}');
    add_server_args(&b, s);
    reply_json(r, &b);
    buf_free(&b);
}

/* ---- what is running ---- */

static int used_tokens(const Server *s, const RadishStats *t)
{
    return (t->kv_pages - t->kv_pages_free - t->kv_pages_cached) * s->info.page_size;
}

static void get_load(Server *s, const HttpRequest *q, HttpReply *r)
{
    RadishStats t;
    Buf b = { 0 };
    (void)q;
    radish_stats(s->radish, &t);
    buf_printf(&b,
               "[{\"dp_rank\":0,\"num_reqs\":%d,\"num_waiting_reqs\":%d,\"num_tokens\":%d,\"num_pending_tokens\":0,"
               "\"ts_tic\":",
               t.running + t.waiting, t.waiting, MAX(used_tokens(s, &t), 0));
    jsonw_f64(&b, (double)clock_ns() / 1e9);
    buf_str(&b, STR("}]"));
    reply_json(r, &b);
    buf_free(&b);
}

static void loads(Server *s, const HttpRequest *q, HttpReply *r)
{
    RadishStats t;
    Buf b = { 0 };
    Str format = query_value(q->query, "format");
    if (format.n && !str_is(format, "json")) {
        reply_error(r, 400, STR("format can only be json; /metrics has the figures as Prometheus text"), "format",
                    NULL);
        return;
    }
    radish_stats(s->radish, &t);
    int used = MAX(used_tokens(s, &t), 0), total = s->info.max_total_tokens;
    double hits = t.prompt_tokens ? (double)t.cached_tokens / (double)t.prompt_tokens : 0;
    buf_printf(&b, "{\"timestamp\":%lld,\"version\":\"%s\",\"accelerator\":", (long long)clock_wall_s(),
               radish_version());
    jsonw_str(&b, str_of(s->info.device));
    buf_str(&b, STR(",\"num_accelerators\":1,\"dp_rank_count\":1,\"loads\":[{\"dp_rank\":0"));
    add_int(&b, "num_running_reqs", t.running);
    add_int(&b, "num_waiting_reqs", t.waiting);
    add_int(&b, "num_total_reqs", t.running + t.waiting);
    add_int(&b, "num_used_tokens", used);
    add_int(&b, "num_total_tokens", used);
    add_int(&b, "max_total_num_tokens", total);
    add_int(&b, "max_running_requests", s->info.max_running);
    jsonw_key(&b, "token_usage");
    jsonw_f64(&b, total ? (double)used / total : 0);
    jsonw_key(&b, "gen_throughput");
    jsonw_f64(&b, t.tokens_per_s);
    jsonw_key(&b, "cache_hit_rate");
    jsonw_f64(&b, hits);
    buf_str(&b, STR("}]}"));
    reply_json(r, &b);
    buf_free(&b);
}

/* ---- flushing ---- */

typedef struct {
    Server *server;
    HttpReply *reply;
    int timeout_ms;
} Flush;

static void run_flush(void *flush)
{
    Flush *f = flush;
    RadishError e = { 0 };
    int status = radish_flush_cache(f->server->radish, f->timeout_ms, &e);
    if (status == RADISH_OK)
        http_reply(f->reply, 200, "text/plain", NULL, STR("Cache flushed.\n"));
    else
        reply_error(f->reply, 400, str_of(e.text), NULL, NULL);
    mem_free(f);
}

static void flush_cache(Server *s, const HttpRequest *q, HttpReply *r)
{
    double seconds = 0;
    Str text = query_value(q->query, "timeout");
    if (text.n && (!str_to_f64(text, &seconds) || !(seconds >= 0 && seconds <= 86400))) {
        reply_error(r, 400, STR("timeout must be seconds between 0 and 86400"), "timeout", NULL);
        return;
    }
    Flush *f = mem_alloc(sizeof *f);
    *f = (Flush){ s, r, (int)(seconds * 1000) };
    if (tasks_add(s->slow, run_flush, f)) return;
    mem_free(f);
    reply_error(r, 503, STR("too many requests are waiting; try again"), NULL, NULL);
}

/* ---- aborting ---- */

static void abort_request(Server *s, const HttpRequest *q, HttpReply *r)
{
    Err err = { 0 };
    json_t *root = NULL;
    Params p = { .where = "", .err = &err };
    bool all = false;
    Str rid = { 0 };
    Status status =
        q->body.n > 1 << 16 ? fail(&err, E_INVALID, "the body is too long") : params_parse(q->body, &root, &err);
    p.o = root;
    if (status == OK) status = params_bool(&p, "abort_all", &all);
    if (status == OK) status = params_str(&p, "rid", &rid);
    if (status == OK && !all && rid.n == 0)
        status = params_refuse(&p, "rid", "is missing: give one, or \"abort_all\":true");
    if (status == OK) {
        call_abort(s, rid, all);
        http_reply(r, 200, NULL, NULL, STR(""));
    } else {
        reply_err(r, &err, p.param, NULL);
    }
    json_decref(root);
}

const Route model_info_route = { "/model_info", ROUTE_GET, model_info };
const Route get_model_info_route = { "/get_model_info", ROUTE_GET, model_info };
const Route server_info_route = { "/server_info", ROUTE_GET, server_info };
const Route get_server_info_route = { "/get_server_info", ROUTE_GET, server_info };
const Route get_load_route = { "/get_load", ROUTE_GET, get_load };
const Route loads_route = { "/v1/loads", ROUTE_GET, loads };
const Route flush_cache_route = { "/flush_cache", ROUTE_GET | ROUTE_POST | ROUTE_ADMIN, flush_cache };
const Route abort_route = { "/abort_request", ROUTE_POST | ROUTE_ADMIN, abort_request };
