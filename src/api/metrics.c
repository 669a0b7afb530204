/* metrics.c - /metrics: counters and gauges as Prometheus text, under SGLang's names. */
#include "api/reply.h"
#include "api/routes.h"
#include "base/jsonw.h"

typedef struct {
    const char *name, *type, *help;
    double value;
} Metric;

static void add_label(Buf *out, Str value)
{
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == '"' || value.p[i] == '\\') buf_char(out, '\\');
        buf_char(out, value.p[i] == '\n' ? ' ' : value.p[i]);
    }
}

static void add_metric(Buf *out, const Server *s, const Metric *m)
{
    char number[40];
    buf_printf(out, "# HELP sglang:%s %s\n# TYPE sglang:%s %s\nsglang:%s{model_name=\"", m->name, m->help, m->name,
               m->type, m->name);
    add_label(out, str_of(s->model_name));
    jsonw_repr(number, m->value);
    buf_printf(out, "\"} %s\n", number);
}

static void metrics(Server *s, const HttpRequest *q, HttpReply *r)
{
    RadishStats t;
    Buf b = { 0 };
    (void)q;
    radish_stats(s->radish, &t);
    int used = MAX(t.kv_pages - t.kv_pages_free - t.kv_pages_cached, 0);
    uint64_t prompt = atomic_load(&s->n_prompt_tokens), cached = atomic_load(&s->n_cached_tokens);
    const Metric list[] = {
        { "prompt_tokens_total", "counter", "Prompt tokens of admitted requests.", (double)prompt },
        { "cached_tokens_total", "counter", "Prompt tokens found in the prefix cache.", (double)cached },
        { "generation_tokens_total", "counter", "Tokens drawn.", (double)atomic_load(&s->n_output_tokens) },
        { "num_requests_total", "counter", "Requests received that make tokens.", (double)atomic_load(&s->n_requests) },
        { "num_refused_requests_total", "counter", "Requests answered with an error.",
          (double)atomic_load(&s->n_refused) },
        { "num_aborted_requests_total", "counter", "Requests whose client left.", (double)atomic_load(&s->n_aborted) },
        { "num_retractions_total", "counter", "Sequences that gave their memory up and began again.",
          (double)t.preemptions },
        { "num_steps_total", "counter", "Passes of the engine.", (double)t.steps },
        { "spec_draft_tokens_total", "counter", "Tokens guessed ahead.", (double)t.drafted_tokens },
        { "spec_accepted_tokens_total", "counter", "Guessed tokens that were drawn.", (double)t.accepted_tokens },
        { "num_running_reqs", "gauge", "Sequences in the batch.", t.running },
        { "num_queue_reqs", "gauge", "Sequences waiting.", t.waiting },
        { "num_used_tokens", "gauge", "KV cache tokens held by running sequences.", (double)used * s->info.page_size },
        { "max_total_num_tokens", "gauge", "KV cache tokens there are.", s->info.max_total_tokens },
        { "token_usage", "gauge", "Share of the KV cache held by running sequences.",
          t.kv_pages ? (double)used / t.kv_pages : 0 },
        { "cache_hit_rate", "gauge", "Cached share of all prompt tokens.",
          prompt ? (double)cached / (double)prompt : 0 },
        { "gen_throughput", "gauge", "Tokens drawn per second, lately.", t.tokens_per_s },
        { "num_connections", "gauge", "Open HTTP connections.", http_connections(s->http) },
    };
    for (size_t i = 0; i < COUNT(list); i++) add_metric(&b, s, &list[i]);
    http_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8", NULL, buf_view(&b));
    buf_free(&b);
}

const Route metrics_route = { "/metrics", ROUTE_GET | ROUTE_OPEN, metrics };
