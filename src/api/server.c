/* server.c - the HTTP server around a model: opens and closes it, checks keys, finds the endpoint.
 *
 * Threads: requests arrive on the I/O thread (the one in api_run), JSON and text are worked on by `text` threads, tokens come on
 * radish's own thread. Closing goes the way the work came: HTTP drains, text threads finish, the last calls end. */
#include <stdio.h>
#include <unistd.h>

#include "api/chat_tools.h"
#include "api/reply.h"
#include "api/routes.h"
#include "base/log.h"

enum { TEXT_THREADS_MAX = 8, TASKS_MAX = 1 << 16, SLOW_TASKS_MAX = 256 };

static const char cors[] = "Access-Control-Allow-Methods: GET, POST, PUT, OPTIONS\r\n"
                           "Access-Control-Allow-Headers: *\r\nAccess-Control-Max-Age: 86400\r\n";

/* ---- who may ask ---- */

/* Takes the same time wherever the texts differ. */
static bool same_secret(Str given, const char *secret)
{
    size_t n = strlen(secret);
    unsigned char differs = given.n != n;
    for (size_t i = 0; i < given.n; i++) differs |= (unsigned char)(given.p[i] ^ secret[n ? i % n : 0]);
    return differs == 0;
}

static bool has_key(Str authorization, const char *key)
{
    if (!str_starts(authorization, STR("Bearer ")) && !str_starts(authorization, STR("bearer "))) return false;
    return same_secret(str_trim(str_cut(authorization, 7, authorization.n)), key);
}

static bool may_ask(const Server *s, const HttpRequest *q)
{
    const Route *r = routes_find(q->path);
    if (!strcmp(q->method, "OPTIONS") || (r && r->flags & ROUTE_OPEN)) return true;
    const char *key = s->o.api_key, *admin = s->o.admin_api_key;
    if (r && r->flags & ROUTE_ADMIN && admin) return has_key(q->authorization, admin);
    return !key || has_key(q->authorization, key) || (admin && has_key(q->authorization, admin));
}

/* Before the body is read. */
static int admit(void *ctx, const HttpRequest *q, Buf *answer)
{
    if (may_ask(ctx, q)) return 0;
    reply_error_json(answer, 401, STR("Unauthorized: send the server's key as \"Authorization: Bearer KEY\""), NULL,
                     "invalid_api_key");
    return 401;
}

/* ---- requests ---- */

static bool is_json(Str content_type)
{
    static const char want[] = "application/json";
    size_t n = sizeof want - 1;
    if (content_type.n < n) return false;
    for (size_t i = 0; i < n; i++) {
        if ((content_type.p[i] | 32) != want[i] && content_type.p[i] != want[i]) return false;
    }
    return content_type.n == n || content_type.p[n] == ';' || content_type.p[n] == ' ';
}

static void no_such_path(HttpReply *r, Str path)
{
    Buf b = { 0 };
    buf_printf(&b, "there is nothing at %.*s; try /v1/models, /v1/completions, /v1/chat/completions or /generate",
               (int)MIN(path.n, 200u), path.p);
    reply_error(r, 404, buf_view(&b), NULL, NULL);
    buf_free(&b);
}

static void wrong_method(HttpReply *r, const Route *route, const char *method)
{
    Buf text = { 0 }, body = { 0 }, allow = { 0 };
    buf_printf(&text, "%s does not take %s, only %s", route->path, method, routes_methods(route));
    reply_error_json(&body, 405, buf_view(&text), NULL, NULL);
    buf_printf(&allow, "Allow: %s\r\n%c", routes_methods(route), 0);
    http_reply(r, 405, "application/json", allow.p, buf_view(&body));
    buf_free(&text);
    buf_free(&body);
    buf_free(&allow);
}

static void handle(void *ctx, const HttpRequest *q, HttpReply *r)
{
    const Route *route = routes_find(q->path);
    if (log_level() >= LOG_DEBUG)
        log_debug("request peer=%s method=%s path=%.*s bytes=%zu", q->peer, q->method, STR_FMT(q->path), q->body.n);
    if (!strcmp(q->method, "OPTIONS")) {
        http_reply(r, 204, NULL, cors, (Str){ 0 });
    } else if (!route) {
        no_such_path(r, q->path);
    } else if (!routes_allow(route, q->method)) {
        wrong_method(r, route, q->method);
    } else if (route->flags & ROUTE_JSON && !is_json(q->content_type)) {
        reply_error(r, 400,
                    STR("the Content-Type must be application/json: add the header \"Content-Type: application/json\""),
                    NULL, NULL);
    } else {
        route->handle(ctx, q, r);
    }
}

static void error_body(void *ctx, int status, const char *text, Buf *out)
{
    (void)ctx;
    reply_error_json(out, status, str_of(text), NULL, NULL);
}

/* ---- life ---- */

Status api_open(const ApiOptions *o, Radish *radish, Server **out, Err *err)
{
    *out = NULL;
    Server *s = mem_alloc(sizeof *s);
    s->o = *o;
    s->radish = radish;
    radish_info(radish, &s->info);
    s->model_name = o->served_model_name ? o->served_model_name : s->info.model_path;
    s->started_s = clock_wall_s();
    s->started_ns = clock_ns();
    s->id_seed = hash_mix((uint64_t)clock_ns() ^ ((uint64_t)getpid() << 40) ^ (uint64_t)s->started_s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->idle, NULL);
    int threads = o->text_threads > 0 ? o->text_threads : MIN(MAX(workers_cores() / 2, 1), TEXT_THREADS_MAX);
    s->text = tasks_new(threads, TASKS_MAX);
    s->slow = tasks_new(1, SLOW_TASKS_MAX);
    HttpOptions h = { .host = o->host,
                      .port = o->port,
                      .max_body = o->max_body,
                      .headers = "Access-Control-Allow-Origin: *\r\n",
                      .admit = o->api_key || o->admin_api_key ? admit : NULL,
                      .handle = handle,
                      .error_body = error_body,
                      .ctx = s };
    Status status = chat_tools_open(s, err);
    if (status == OK) status = http_open(&h, &s->http, err);
    if (status != OK) {
        api_close(s);
        return status;
    }
    *out = s;
    return OK;
}

int api_port(const Server *s)
{
    return http_port(s->http);
}

void api_run(Server *s)
{
    http_run(s->http);
}

void api_stop(Server *s, int drain_ms)
{
    http_stop(s->http, drain_ms);
}

void api_close(Server *s)
{
    if (!s) return;
    tasks_free(s->slow);
    tasks_free(s->text);
    call_wait_idle(s);
    http_close(s->http);
    pthread_cond_destroy(&s->idle);
    pthread_mutex_destroy(&s->lock);
    ids_free(&s->marks);
    mem_free(s);
}
