/* http.h - HTTP/1.1 connections on libevent: requests in, replies and server-sent events out. Knows no endpoint.
 *
 * One I/O thread runs http_run; handlers are called there and must not block: they take the request apart and hand the work
 * over. A reply may be written from any thread through its HttpReply handle; bytes cross to the I/O thread in a queue.
 * Framing is checked strictly (RFC 9112): duplicate or odd lengths, unknown transfer codings, bad names get a 400 and the
 * connection is closed. Slow senders meet an absolute deadline, slow readers a bounded buffer. */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "base/base.h"

typedef struct Http Http;
typedef struct HttpReply HttpReply; /* one answer under way; reference counted */

typedef struct {
    const char *method;       /* "GET" ... */
    Str path;                 /* decoded, without the query */
    Str query;                /* raw, after '?' */
    Str body;                 /* borrowed until the handler returns */
    Str content_type, authorization;
    const char *peer;         /* address, for the log */
} HttpRequest;

typedef struct {
    const char *host;
    int port;                 /* 0: any; see http_port */
    size_t max_body;          /* bytes; more is a 413 */
    int header_timeout_ms;    /* from the first byte of a request to its last */
    size_t max_buffered;      /* bytes unsent on one connection before it is cut */
    /* I/O thread. Takes over one reference to reply, and must answer or drop it, now or later. */
    void (*handle)(void *ctx, const HttpRequest *q, HttpReply *reply);
    void *ctx;
} HttpOptions;

Status http_open(const HttpOptions *o, Http **out, Err *err); /* binds and listens */
int http_port(const Http *h);
void http_run(Http *h);                     /* the calling thread serves until http_stop; then open streams have drained or drain_ms passed */
void http_stop(Http *h, int drain_ms);      /* any thread and signal handlers: stop accepting, 503 for new requests, drain */
void http_close(Http *h);
int http_connections(const Http *h);

/* ---- replies: any thread; each call is cheap and never blocks ---- */

/* A whole answer. headers: NULL or "Name: value\r\n" lines. Gives back the reference. */
void http_reply(HttpReply *r, int status, const char *content_type, const char *headers, Str body);
/* Starts a stream of server-sent events (200, text/event-stream, chunked). */
void http_sse_begin(HttpReply *r);
void http_sse_send(HttpReply *r, Str data); /* one event: "data: ...\n\n" */
void http_sse_end(HttpReply *r);            /* ends the stream and gives back the reference */
/* Called on the I/O thread, at most once, when the client has gone or was cut before the answer was complete. */
void http_on_gone(HttpReply *r, void (*gone)(void *ctx), void *ctx);
bool http_is_gone(const HttpReply *r);
size_t http_unsent(const HttpReply *r);     /* bytes waiting for this client: back-pressure */
void http_keep(HttpReply *r);               /* one more reference */
void http_drop(HttpReply *r);               /* gives back a reference; the last one of an unanswered request answers 500 */

#endif
