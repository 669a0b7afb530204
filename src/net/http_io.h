/* http_io.h - what http.c (connections, I/O thread) and http_reply.c (answers, any thread) share. Internal to net/. */
#ifndef NET_HTTP_IO_H
#define NET_HTTP_IO_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/queue.h"
#include "net/http.h"

typedef struct Conn Conn;

enum { REQUEST_ID_MAX = 128 };

/* Two counts: `holders` are the references of the application, whose end is an event (500); `refs` keep the memory and
 * count holders, the connection and the queue. */
struct HttpReply {
    atomic_int refs, holders;
    Http *http;
    Conn *conn;                          /* I/O thread only; NULL once answered or gone */
    bool head_only, chunked, keep_alive; /* fixed at birth */
    char request_id[REQUEST_ID_MAX + 1];
    pthread_mutex_t
        lock; /* of the fields below. Held for a few stores and copies only; nothing is called under it but the queue */
    Buf pending; /* framed bytes on their way to the I/O thread */
    bool queued; /* the queue holds a reference to this reply */
    bool begun;  /* the head is written */
    bool rest;   /* what is still to be written is bounded: a slow reader is not cut for it */
    bool ended;  /* the answer is complete in `pending` or sent */
    bool broken; /* a begun answer was dropped: cut the connection */
    void (*gone_fn)(void *ctx);
    void (*release_fn)(void *ctx);
    void *ctx;
    atomic_bool gone;
    atomic_size_t unsent; /* framed bytes that the socket has not taken */
};

/* What reply code needs of the server. */
struct HttpShared {
    Queue *dirty; /* of HttpReply *, each at most once */
    const char *headers;
    void (*error_body)(void *ctx, int status, const char *text, Buf *out);
    void *ctx;
    atomic_bool stopping;
};
typedef struct HttpShared HttpShared;
HttpShared *http_shared(Http *h);

HttpReply *http_reply_new(Http *h, Conn *c);
void http_reply_unref(HttpReply *r);
/* I/O thread: the connection is lost. Tells the application if the answer was not complete. */
void http_reply_lost(HttpReply *r);
/* The whole text of an answer that the server gives by itself; closes the connection. */
void http_reply_error(HttpShared *s, int status, const char *text, Buf *out);
/* Status line, common headers, Content-Length and body. */
void http_reply_frame(Buf *out, const HttpShared *s, const HttpReply *r, int status, const char *content_type,
                      const char *headers, Str body);

#endif
