/* health.c - is it alive: /health from the I/O thread alone, so that it answers under any load; /health_generate through the engine. */
#include "api/reply.h"
#include "api/routes.h"

/* Work that makes no step for so long means that the engine is stuck. */
#define STUCK_NS (60 * 1000000000LL)
enum { GENERATE_TIMEOUT_MS = 20000 };

static bool is_stuck(Server *s)
{
    RadishStats stats;
    radish_stats(s->radish, &stats);
    int64_t now = clock_ns();
    bool works = stats.running + stats.waiting > 0;
    if (!works || stats.steps != s->seen_steps || s->seen_ns == 0) {
        s->seen_steps = stats.steps;
        s->seen_ns = now;
    }
    return works && now - s->seen_ns > STUCK_NS;
}

static void health(Server *s, const HttpRequest *q, HttpReply *r)
{
    (void)q;
    if (is_stuck(s))
        reply_error(r, 503, STR("the engine has made no step for a minute"), NULL, NULL);
    else
        http_reply(r, 200, "text/plain", NULL, STR(""));
}

/* ---- one token through everything ---- */

static void whole(Call *c, Buf *out)
{
    (void)c, (void)out; /* 200 with an empty body */
}

static const Format format = { .whole = whole };

static void health_generate(Server *s, const HttpRequest *q, HttpReply *r)
{
    (void)q;
    int32_t id = s->info.bos_id >= 0 ? s->info.bos_id : 0;
    call_start_ids(s, &format, r, id, GENERATE_TIMEOUT_MS);
}

static void root(Server *s, const HttpRequest *q, HttpReply *r)
{
    (void)s, (void)q;
    http_reply(r, 200, "application/json", NULL, STR("\"Radish is running\""));
}

static void version(Server *s, const HttpRequest *q, HttpReply *r)
{
    Buf b = { 0 };
    (void)s, (void)q;
    buf_printf(&b, "{\"version\":\"%s\"}", radish_version());
    reply_json(r, &b);
    buf_free(&b);
}

const Route root_route = { "/", ROUTE_GET | ROUTE_OPEN, root };
const Route health_route = { "/health", ROUTE_GET | ROUTE_OPEN, health };
const Route health_ready_route = { "/health/ready", ROUTE_GET | ROUTE_OPEN, health };
const Route ping_route = { "/ping", ROUTE_GET | ROUTE_OPEN, health };
const Route health_generate_route = { "/health_generate", ROUTE_GET | ROUTE_OPEN, health_generate };
const Route version_route = { "/version", ROUTE_GET, version };
