/* http_reply.c - answers: written by any thread, framed at once, sent by the I/O thread.
 *
 * A writer appends finished bytes to the reply's own buffer and puts the reply into the queue of dirty ones unless it is
 * there already. So a burst of tokens costs one queue entry and one send however many events it holds, and the queue is
 * never longer than there are replies.
 *
 * The lock of a reply is the one lock outside base/: what crosses is a growing buffer, not an item. Nothing that
 * could wait is called under it. */
#include <stdlib.h>
#include <time.h>

#include "net/http_io.h"

/* ---- framing ---- */

static const char *phrase(int status)
{
    static const struct {
        int status;
        const char *text;
    } phrases[] = {
        { 200, "OK" },
        { 202, "Accepted" },
        { 204, "No Content" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 408, "Request Timeout" },
        { 413, "Content Too Large" },
        { 414, "URI Too Long" },
        { 415, "Unsupported Media Type" },
        { 417, "Expectation Failed" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 500, "Internal Server Error" },
        { 501, "Not Implemented" },
        { 503, "Service Unavailable" },
        { 505, "HTTP Version Not Supported" },
    };
    for (size_t i = 0; i < COUNT(phrases); i++) {
        if (phrases[i].status == status) return phrases[i].text;
    }
    return "Status";
}

static void add_head(Buf *out, const HttpShared *s, const HttpReply *r, int status, const char *content_type)
{
    char date[40];
    struct tm tm;
    time_t now = (time_t)clock_wall_s();
    gmtime_r(&now, &tm);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    buf_printf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status, phrase(status), date);
    if (content_type) buf_printf(out, "Content-Type: %s\r\n", content_type);
    if (s->headers) buf_str(out, str_of(s->headers));
    if (r && r->request_id[0]) buf_printf(out, "X-Request-Id: %s\r\n", r->request_id);
    if (status == 503) buf_str(out, STR("Retry-After: 1\r\n"));
    if (!r || !r->keep_alive || atomic_load(&s->stopping)) {
        buf_str(out, STR("Connection: close\r\n"));
    } else if (!r->chunked) {
        buf_str(out, STR("Connection: keep-alive\r\n")); /* an HTTP/1.0 client that asked for it */
    }
}

void http_reply_frame(Buf *out, const HttpShared *s, const HttpReply *r, int status, const char *content_type,
                      const char *headers, Str body)
{
    add_head(out, s, r, status, content_type);
    if (headers) buf_str(out, str_of(headers));
    if (status != 204) buf_printf(out, "Content-Length: %zu\r\n", body.n);
    buf_str(out, STR("\r\n"));
    if (!(r && r->head_only)) buf_str(out, body);
}

void http_reply_error(HttpShared *s, int status, const char *text, Buf *out)
{
    Buf body = { 0 };
    if (s->error_body) {
        s->error_body(s->ctx, status, text, &body);
    } else {
        buf_str(&body, str_of(text));
    }
    http_reply_frame(out, s, NULL, status, s->error_body ? "application/json" : "text/plain", NULL, buf_view(&body));
    buf_free(&body);
}

/* ---- references ---- */

HttpReply *http_reply_new(Http *h, Conn *c)
{
    HttpReply *r = mem_alloc(sizeof *r);
    atomic_init(&r->refs, 2); /* the connection's and the application's */
    atomic_init(&r->holders, 1);
    r->http = h;
    r->conn = c;
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

void http_reply_unref(HttpReply *r)
{
    if (atomic_fetch_sub(&r->refs, 1) != 1) return;
    if (r->release_fn) r->release_fn(r->ctx);
    pthread_mutex_destroy(&r->lock);
    buf_free(&r->pending);
    mem_free(r);
}

void http_keep(HttpReply *r)
{
    atomic_fetch_add(&r->holders, 1);
    atomic_fetch_add(&r->refs, 1);
}

static void give_back(HttpReply *r)
{
    atomic_fetch_sub(&r->holders, 1);
    http_reply_unref(r);
}

/* ---- writing: begin_write, append to r->pending, end_write ---- */

/* False: nobody will read it. */
static bool begin_write(HttpReply *r)
{
    pthread_mutex_lock(&r->lock);
    if (!atomic_load(&r->gone) && !r->ended) return true;
    pthread_mutex_unlock(&r->lock);
    return false;
}

static void end_write(HttpReply *r, size_t before)
{
    atomic_fetch_add(&r->unsent, r->pending.n - before);
    if (!r->queued) {
        r->queued = true;
        atomic_fetch_add(&r->refs, 1);
        CHECK(queue_push(http_shared(r->http)->dirty, r)); /* has room for every reply there can be */
    }
    pthread_mutex_unlock(&r->lock);
}

void http_reply(HttpReply *r, int status, const char *content_type, const char *headers, Str body)
{
    if (begin_write(r)) {
        CHECK(!r->begun);
        size_t before = r->pending.n;
        http_reply_frame(&r->pending, http_shared(r->http), r, status, content_type, headers, body);
        r->begun = r->ended = true;
        end_write(r, before);
    }
    give_back(r);
}

static void add_sse_head(HttpReply *r)
{
    if (r->begun) return;
    r->begun = true;
    add_head(&r->pending, http_shared(r->http), r, 200, "text/event-stream");
    buf_str(&r->pending, STR("Cache-Control: no-cache\r\n"));
    if (r->chunked) buf_str(&r->pending, STR("Transfer-Encoding: chunked\r\n"));
    buf_str(&r->pending, STR("\r\n"));
}

void http_sse_begin(HttpReply *r)
{
    if (!begin_write(r)) return;
    size_t before = r->pending.n;
    add_sse_head(r);
    end_write(r, before);
}

void http_sse_send(HttpReply *r, Str data)
{
    static const char prefix[] = "data: ", suffix[] = "\n\n";
    if (r->head_only || !begin_write(r)) return;
    size_t before = r->pending.n, n = sizeof prefix - 1 + data.n + sizeof suffix - 1;
    add_sse_head(r);
    buf_reserve(&r->pending, n + 24);
    if (r->chunked) buf_printf(&r->pending, "%zx\r\n", n);
    buf_str(&r->pending, STR(prefix));
    buf_str(&r->pending, data);
    buf_str(&r->pending, STR(suffix));
    if (r->chunked) buf_str(&r->pending, STR("\r\n"));
    end_write(r, before);
}

void http_sse_rest(HttpReply *r)
{
    pthread_mutex_lock(&r->lock);
    r->rest = true;
    pthread_mutex_unlock(&r->lock);
}

void http_sse_end(HttpReply *r)
{
    if (begin_write(r)) {
        size_t before = r->pending.n;
        add_sse_head(r);
        if (r->chunked && !r->head_only) buf_str(&r->pending, STR("0\r\n\r\n"));
        r->ended = true;
        end_write(r, before);
    }
    give_back(r);
}

bool http_has_begun(HttpReply *r)
{
    pthread_mutex_lock(&r->lock);
    bool begun = r->begun;
    pthread_mutex_unlock(&r->lock);
    return begun;
}

void http_drop(HttpReply *r)
{
    if (atomic_fetch_sub(&r->holders, 1) == 1 && begin_write(r)) {
        size_t before = r->pending.n;
        if (r->begun) {
            r->broken = true;
        } else {
            r->keep_alive = false;
            http_reply_error(http_shared(r->http), 500, "the request was dropped without an answer", &r->pending);
            r->begun = true;
        }
        r->ended = true;
        end_write(r, before);
    }
    http_reply_unref(r);
}

/* ---- the client's side ---- */

void http_on_gone(HttpReply *r, void (*gone)(void *ctx), void (*release)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&r->lock);
    CHECK(!r->gone_fn && !r->release_fn);
    bool now = atomic_load(&r->gone);
    r->gone_fn = now ? NULL : gone;
    r->release_fn = release;
    r->ctx = ctx;
    pthread_mutex_unlock(&r->lock);
    if (now && gone) gone(ctx);
}

void http_reply_lost(HttpReply *r)
{
    pthread_mutex_lock(&r->lock);
    void (*gone)(void *ctx) = r->ended ? NULL : r->gone_fn;
    r->gone_fn = NULL;
    atomic_store(&r->gone, true);
    buf_free(&r->pending);
    r->pending = (Buf){ 0 };
    pthread_mutex_unlock(&r->lock);
    atomic_store(&r->unsent, 0);
    r->conn = NULL;
    if (gone) gone(r->ctx);
    http_reply_unref(r);
}

bool http_is_gone(const HttpReply *r)
{
    return atomic_load(&r->gone);
}

size_t http_unsent(const HttpReply *r)
{
    return atomic_load(&r->unsent);
}
