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
    const char *method; /* "GET" ... */
    Str path;           /* decoded, without the query */
    Str query;          /* raw, after '?' */
    Str body;           /* borrowed until the handler returns */
    Str content_type, authorization;
    const char *peer; /* address, for the log */
} HttpRequest;

/* Zero means the default for every field but handle. */
typedef struct {
    const char *host; /* default 127.0.0.1 */
    int port;         /* 0: any; see http_port */
    size_t max_body;  /* bytes; more is a 413. Default 64 MB */
    /* Bytes of unfinished bodies and of requests sent early, on all connections together; more is a 503. Default 1 GB */
    size_t max_bodies;
    int header_timeout_ms; /* from the first byte of a request to its last, longer for large bodies as they arrive. 30 s */
    int idle_timeout_ms;  /* a kept-alive connection without a request. 75 s */
    int stall_timeout_ms; /* a client that takes no byte of its answer. 60 s */
    size_t max_buffered;  /* a stream that sends on while so many bytes of it are unsent is cut. 1 MB */
    int max_connections;  /* more wait in the backlog. Default: what the file descriptor limit allows, at most 20,000 */
    const char *headers;  /* "Name: value\r\n" lines that every answer carries */
    /* I/O thread, may be NULL: the head has arrived, the body has not. A status refuses the request (its body is not read) with
     * the answer written to `answer` (JSON); 0 lets it in. */
    int (*admit)(void *ctx, const HttpRequest *q, Buf *answer);
    /* I/O thread. Takes over one reference to reply, and must answer or drop it, now or later. */
    void (*handle)(void *ctx, const HttpRequest *q, HttpReply *reply);
    /* Any thread, may be NULL: the JSON body of an answer that net gives by itself (400, 408, 413, 503 ...). */
    void (*error_body)(void *ctx, int status, const char *text, Buf *out);
    void *ctx;
} HttpOptions;

Status http_open(const HttpOptions *o, Http **out, Err *err); /* binds and listens; SIGPIPE is ignored from here on */
int http_port(const Http *h);
void http_run(
    Http *h); /* the calling thread serves until http_stop; then open streams have drained or drain_ms passed */
void http_stop(Http *h, int drain_ms); /* any thread and signal handlers: stop accepting, 503 for new requests, drain */
void http_close(Http *h);              /* after http_run; NULL is fine. Replies still held stay valid and are gone */
int http_connections(const Http *h);   /* any thread */
bool http_stopping(const Http *h);     /* any thread: http_stop was called */

/* Moves the body out of the request instead of borrowing it. Only inside handle; buf_free it. */
Buf http_take_body(HttpReply *r);

/* ---- replies: any thread; each call is cheap and never blocks ---- */

/* A whole answer. headers: NULL or "Name: value\r\n" lines. Gives back the reference. */
void http_reply(HttpReply *r, int status, const char *content_type, const char *headers, Str body);
/* Starts a stream of server-sent events (200, text/event-stream, chunked), unless it has begun. */
void http_sse_begin(HttpReply *r);
void http_sse_send(HttpReply *r,
                   Str data); /* one event: "data: ...\n\n"; data is one line. Begins the stream if need be */
/* What is still to come is all there and follows at once: the stream is not cut for its size any more. */
void http_sse_rest(HttpReply *r);
void http_sse_end(HttpReply *r);   /* ends the stream and gives back the reference */
bool http_has_begun(HttpReply *r); /* an answer or a stream: too late for another status */
/* gone is called at most once, when the client has gone or was cut before the answer was complete: on the I/O thread, or here and now
 * if it has gone already. It may still run while another thread completes the answer; so ctx belongs to the
 * reply, which calls release(ctx) exactly once, when the last reference is given back. Once per reply; release may be NULL. */
void http_on_gone(HttpReply *r, void (*gone)(void *ctx), void (*release)(void *ctx), void *ctx);
bool http_is_gone(const HttpReply *r);
size_t http_unsent(const HttpReply *r); /* bytes waiting for this client: back-pressure */
void http_keep(HttpReply *r);           /* one more reference */
/* Gives back a reference; the last one of an unanswered request answers 500, of an unfinished stream cuts the connection. */
void http_drop(HttpReply *r);

#endif
