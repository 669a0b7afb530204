/* http.c - the listening socket, the connections and the I/O thread.
 *
 * libevent supplies the loop (epoll, timers); reading requests is http_parse.c. A connection serves one request at a time:
 *
 *     receiving -> answering -> (kept alive) receiving ...
 *                            -> lingering -> closed
 *
 * While answering, the socket is still watched: a client that leaves is noticed at once, also during a silent prefill. What it
 * sends meanwhile (pipelining) waits in `in`, and it is cut when that is full. Lingering means: the answer is sent, our
 * side is shut, and what still arrives is thrown away for a moment, because closing a socket with unread input makes the
 * kernel send a reset that can overtake the answer.
 *
 * Invariants: (1) conn->reply is set exactly while answering, and reply->conn points back; (2) a connection is freed in
 * conn_close alone, and a function that may close it returns false when its caller must stop; (3) `out` holds bytes of one answer only:
 * the next request is read when the last one is fully sent; (4) nothing here waits.
 * Thread: everything runs on the thread in http_run but http_stop and the atomics. */
#include "net/http.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/http_io.h"
#include "net/http_parse.h"

enum {
    BACKLOG = 4096,
    READ_CHUNK = 64 << 10,
    READS_PER_WAKE = 16,      /* so that one fast sender does not starve the others */
    PIPELINE_MAX = 256 << 10, /* bytes taken ahead while a request is answered; a client that sends more is cut */
    SOCKET_SEND_BUFFER = 256 << 10,
    ACCEPTS_PER_WAKE = 64,
    TICK_MS = 250,
    DRAIN_TICK_MS = 20,
    LINGER_MS = 2000,
    DRAIN_QUIET_MS = 300,    /* after the last answer of a drain, for clients to read it */
    BODY_BYTES_PER_MS = 256, /* a body may take this much longer than the head's deadline */
    VANISHED_MS = 60000,     /* a peer that acknowledges nothing for so long is gone */
    KEEP_OUT = 64 << 10,
    CONNECTIONS_MAX = 20000
};

struct Conn {
    Http *http;
    Conn *prev, *next;
    int fd;
    struct event readable, writable;
    HttpParse parse;
    Buf in;    /* bytes of later requests */
    Buf spare; /* goes back and forth with the reply's buffer, to save allocations */
    Buf out;   /* unsent bytes of the answer, from out_sent on */
    size_t out_sent;
    HttpReply *reply;
    int64_t first_byte_ns; /* of the request being received; 0: none has begun */
    int64_t active_ns;     /* last byte in, or last byte the client took */
    bool keep_alive, lingering, writing;
    size_t counted; /* bytes counted in http->body_bytes */
    char peer[64];
};

struct Http {
    HttpOptions o;
    HttpShared shared;
    struct event_base *base;
    struct event *listener, *dirty, *stop, *tick;
    int listen_fd, port, stop_fd;
    Conn *conns; /* doubly linked */
    atomic_int n_conns;
    atomic_int drain_ms;
    bool draining, accept_paused;
    int64_t drain_until_ns, quiet_ns; /* quiet_ns: since when nothing is being answered */
    size_t body_bytes;
    char *scratch; /* READ_CHUNK bytes */
};

static bool conn_input(Conn *c, const char *data, size_t n);

HttpShared *http_shared(Http *h)
{
    return &h->shared;
}

static void event_add_ms(struct event *e, int ms)
{
    struct timeval tv = { ms / 1000, ms % 1000 * 1000 };
    event_add(e, &tv);
}

/* ---- closing ---- */

/* Bytes that this connection holds of requests that nobody has taken yet. */
static void count_body(Conn *c, size_t now)
{
    c->http->body_bytes += now - c->counted;
    c->counted = now;
}

static void conn_close(Conn *c)
{
    Http *h = c->http;
    event_del(&c->readable);
    event_del(&c->writable);
    close(c->fd);
    if (c->prev)
        c->prev->next = c->next;
    else
        h->conns = c->next;
    if (c->next) c->next->prev = c->prev;
    atomic_fetch_sub(&h->n_conns, 1);
    count_body(c, 0);
    if (c->reply) http_reply_lost(c->reply);
    http_parse_done(&c->parse);
    buf_free(&c->in);
    buf_free(&c->out);
    buf_free(&c->spare);
    mem_free(c);
    if (h->accept_paused && !h->draining) {
        h->accept_paused = false;
        event_add(h->listener, NULL);
    }
}

static void conn_linger(Conn *c)
{
    c->lingering = true;
    c->active_ns = clock_ns();
    shutdown(c->fd, SHUT_WR);
}

/* ---- sending ---- */

/* Sends what the socket takes of data; false: the connection is dead. */
static bool send_some(Conn *c, const char *data, size_t n, size_t *sent)
{
    *sent = 0;
    while (*sent < n) {
        ssize_t k = send(c->fd, data + *sent, n - *sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
        *sent += (size_t)k;
    }
    return true;
}

/* Sends the rest of `out`, then `more`; keeps what the socket does not take. May close: false. */
static bool conn_send(Conn *c, Str more)
{
    size_t waiting = c->out.n - c->out_sent, sent_out = 0, sent_more = 0;
    bool alive = send_some(c, c->out.p + c->out_sent, waiting, &sent_out);
    if (alive && sent_out == waiting) alive = send_some(c, more.p, more.n, &sent_more);
    if (!alive) {
        conn_close(c);
        return false;
    }
    c->out_sent += sent_out;
    if (c->out_sent == c->out.n) {
        c->out_sent = 0;
        buf_clear(&c->out);
        if (c->out.cap > KEEP_OUT) {
            buf_free(&c->out);
            c->out = (Buf){ 0 };
        }
    } else if (c->out_sent > KEEP_OUT && c->out_sent > c->out.n / 2) {
        memmove(c->out.p, c->out.p + c->out_sent, c->out.n - c->out_sent);
        c->out.n -= c->out_sent;
        c->out_sent = 0;
    }
    buf_add(&c->out, more.p + sent_more, more.n - sent_more);
    if (sent_out + sent_more > 0) c->active_ns = clock_ns();
    if (c->reply) atomic_fetch_sub(&c->reply->unsent, sent_out + sent_more);
    bool rest = c->out.n > 0;
    if (rest != c->writing) {
        c->writing = rest;
        if (rest)
            event_add(&c->writable, NULL);
        else
            event_del(&c->writable);
    }
    return true;
}

/* An answer of the server's own, without a handler; the connection ends with it. May close: false. */
static bool conn_refuse(Conn *c, int status, const char *text)
{
    Buf b = { 0 };
    c->keep_alive = false;
    c->first_byte_ns = 0;
    count_body(c, 0);
    http_reply_error(&c->http->shared, status, text, &b);
    bool alive = conn_send(c, buf_view(&b));
    buf_free(&b);
    if (alive && c->out.n == 0) conn_linger(c);
    return alive;
}

/* The answer is complete and sent: on to the next request. May close: false. */
static bool conn_next(Conn *c)
{
    c->reply->conn = NULL;
    http_reply_unref(c->reply);
    c->reply = NULL;
    if (!c->keep_alive || c->http->draining) {
        conn_linger(c);
        return true;
    }
    if (c->in.n == 0) return true;
    Buf early = c->in;
    c->in = (Buf){ 0 };
    bool alive = conn_input(c, early.p, early.n);
    buf_free(&early);
    return alive;
}

/* Takes what writers left in the reply and sends it. */
static void conn_flush(Conn *c, HttpReply *r)
{
    pthread_mutex_lock(&r->lock);
    Buf taken = r->pending;
    r->pending = c ? c->spare : (Buf){ 0 };
    r->queued = false;
    bool ended = r->ended, broken = r->broken, keep_alive = r->keep_alive, bounded = r->ended || r->rest;
    pthread_mutex_unlock(&r->lock);
    if (c) c->spare = (Buf){ 0 };
    size_t waited = c ? c->out.n - c->out_sent : 0;
    if (c && conn_send(c, buf_view(&taken))) {
        c->keep_alive = keep_alive && !c->http->draining;
        size_t waits = c->out.n - c->out_sent;
        bool too_slow = !bounded && taken.n > 0 && MIN(waited, waits) > c->http->o.max_buffered;
        if (taken.cap <= KEEP_OUT) {
            c->spare = taken;
            buf_clear(&c->spare);
            taken = (Buf){ 0 };
        }
        if (broken || too_slow) {
            conn_close(c);
        } else if (ended && c->out.n == 0) {
            conn_next(c);
        }
    }
    buf_free(&taken);
}

static void on_dirty(evutil_socket_t fd, short what, void *arg)
{
    Http *h = arg;
    void *items[256];
    (void)fd, (void)what;
    queue_fd_clear(h->shared.dirty);
    for (;;) {
        size_t n = queue_pop(h->shared.dirty, items, COUNT(items));
        if (n == 0) return;
        for (size_t i = 0; i < n; i++) {
            HttpReply *r = items[i];
            conn_flush(r->conn, r);
            http_reply_unref(r);
        }
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    Conn *c = arg;
    (void)fd, (void)what;
    c->writing = false;
    if (!conn_send(c, (Str){ 0 }) || c->out.n > 0) return;
    if (!c->reply) {
        if (!c->lingering) conn_linger(c); /* a refusal is sent */
        return;
    }
    pthread_mutex_lock(&c->reply->lock);
    bool ended = c->reply->ended && c->reply->pending.n == 0;
    pthread_mutex_unlock(&c->reply->lock);
    if (ended) conn_next(c);
}

/* ---- receiving ---- */

static HttpRequest conn_request(const Conn *c)
{
    const HttpParse *p = &c->parse;
    return (HttpRequest){ .method = p->method,
                          .path = buf_view(&p->path),
                          .query = p->query,
                          .body = buf_view(&p->body),
                          .content_type = p->content_type,
                          .authorization = p->authorization,
                          .peer = c->peer };
}

/* The head is there. May refuse: false, and the caller stops (the connection may be closed). */
static bool conn_admit(Conn *c)
{
    Http *h = c->http;
    if (h->draining) {
        conn_refuse(c, 503, "the server is shutting down");
        return false;
    }
    if (h->o.admit) {
        Buf answer = { 0 }, all = { 0 };
        HttpRequest q = conn_request(c);
        int status = h->o.admit(h->o.ctx, &q, &answer);
        if (status) {
            c->keep_alive = false;
            c->first_byte_ns = 0;
            http_reply_frame(&all, &h->shared, NULL, status, "application/json", NULL, buf_view(&answer));
            if (conn_send(c, buf_view(&all)) && c->out.n == 0) conn_linger(c);
        }
        buf_free(&answer);
        buf_free(&all);
        if (status) return false;
    }
    if (c->parse.expects_continue && c->parse.minor == 1 && c->parse.state != PARSE_DONE) {
        return conn_send(c, STR("HTTP/1.1 100 Continue\r\n\r\n"));
    }
    return true;
}

static void copy_request_id(char *out, Str id)
{
    size_t n = 0;
    for (size_t i = 0; i < id.n && n < REQUEST_ID_MAX; i++) {
        if (id.p[i] > 0x20 && id.p[i] < 0x7f) out[n++] = id.p[i];
    }
    out[n] = 0;
}

static void conn_handle(Conn *c)
{
    HttpParse *p = &c->parse;
    HttpReply *r = http_reply_new(c->http, c);
    HttpRequest q = conn_request(c);
    r->head_only = !strcmp(p->method, "HEAD");
    r->chunked = p->minor == 1;
    r->keep_alive = p->keep_alive;
    copy_request_id(r->request_id, p->request_id);
    c->reply = r;
    c->first_byte_ns = 0;
    c->active_ns = clock_ns();
    count_body(c, 0);
    c->http->o.handle(c->http->o.ctx, &q, r);
    http_parse_reset(p);
}

Buf http_take_body(HttpReply *r)
{
    Buf b = r->conn->parse.body;
    r->conn->parse.body = (Buf){ 0 };
    return b;
}

/* Bytes from the client. May close: false. */
static bool conn_input(Conn *c, const char *data, size_t n)
{
    Http *h = c->http;
    if (c->lingering || (!c->reply && c->out.n > 0)) return true; /* a refusal is under way: thrown away */
    while (n > 0 && !c->reply) {
        HttpParse *p = &c->parse;
        bool in_head = p->state == PARSE_HEAD;
        if (c->first_byte_ns == 0) c->first_byte_ns = clock_ns();
        size_t used = http_parse_feed(p, data, n);
        data += used;
        n -= used;
        if (p->state == PARSE_BAD) return conn_refuse(c, p->status, p->why);
        if (in_head && p->state != PARSE_HEAD) {
            if (!conn_admit(c)) return false;
        }
        count_body(c, p->body.n);
        if (h->body_bytes > h->o.max_bodies) return conn_refuse(c, 503, "too many large requests at once; try again");
        if (p->state == PARSE_DONE) conn_handle(c);
    }
    buf_add(&c->in, data, n);
    count_body(c, c->parse.body.n + c->in.n);
    if (c->in.n == 0 || (c->in.n <= PIPELINE_MAX && h->body_bytes <= h->o.max_bodies)) return true;
    conn_close(c);
    return false;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    Conn *c = arg;
    (void)what;
    for (int i = 0; i < READS_PER_WAKE; i++) {
        ssize_t n = recv(fd, c->http->scratch, READ_CHUNK, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (n <= 0) {
            conn_close(c); /* a half-close counts as leaving */
            return;
        }
        if (!conn_input(c, c->http->scratch, (size_t)n) || n < READ_CHUNK) return;
    }
}

/* ---- accepting ---- */

static void peer_name(const struct sockaddr_storage *a, socklen_t n, char *out, size_t size)
{
    char host[48], port[8];
    if (getnameinfo((const struct sockaddr *)a, n, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV)) {
        host[0] = port[0] = 0;
    }
    snprintf(out, size, "%s:%s", host, port);
}

static void conn_open(Http *h, int fd, const struct sockaddr_storage *a, socklen_t n)
{
    Conn *c = mem_alloc(sizeof *c);
    c->http = h;
    c->fd = fd;
    c->active_ns = clock_ns();
    http_parse_init(&c->parse, h->o.max_body);
    peer_name(a, n, c->peer, sizeof c->peer);
    event_assign(&c->readable, h->base, fd, EV_READ | EV_PERSIST, on_readable, c);
    event_assign(&c->writable, h->base, fd, EV_WRITE, on_writable, c);
    c->next = h->conns;
    if (c->next) c->next->prev = c;
    h->conns = c;
    atomic_fetch_add(&h->n_conns, 1);
    event_add(&c->readable, NULL);
    if (!evtimer_pending(h->tick, NULL)) event_add_ms(h->tick, TICK_MS);
}

static void on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
    Http *h = arg;
    (void)what;
    for (int i = 0; i < ACCEPTS_PER_WAKE; i++) {
        struct sockaddr_storage a;
        socklen_t n = sizeof a;
        bool full = atomic_load(&h->n_conns) >= h->o.max_connections;
        int fd = full ? -1 : accept4(listen_fd, (struct sockaddr *)&a, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && !full && (errno == EINTR || errno == ECONNABORTED)) continue;
        if (fd < 0) {
            if (!full && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
            h->accept_paused =
                true; /* out of descriptors or at the limit: the backlog waits until a connection closes */
            event_del(h->listener);
            if (!evtimer_pending(h->tick, NULL)) event_add_ms(h->tick, TICK_MS);
            return;
        }
        conn_open(h, fd, &a, n);
    }
}

/* ---- deadlines and draining ---- */

/* May close it. */
static void conn_tick(Conn *c, int64_t now)
{
    const HttpOptions *o = &c->http->o;
    int64_t quiet_ms = (now - c->active_ns) / 1000000;
    if (c->lingering) {
        if (quiet_ms > LINGER_MS) conn_close(c);
    } else if (c->out.n > 0) {
        if (quiet_ms > o->stall_timeout_ms) conn_close(c);
    } else if (c->reply) {
        return;
    } else if (c->first_byte_ns) {
        int64_t allowed_ms = o->header_timeout_ms + (int64_t)(c->parse.body.n / BODY_BYTES_PER_MS);
        if ((now - c->first_byte_ns) / 1000000 > allowed_ms) conn_refuse(c, 408, "the request did not arrive in time");
    } else if (quiet_ms > o->idle_timeout_ms) {
        conn_close(c);
    }
}

static bool conn_busy(const Conn *c)
{
    return c->reply || c->out.n > 0;
}

static void drain_begin(Http *h)
{
    h->draining = true;
    h->drain_until_ns = clock_ns() + (int64_t)atomic_load(&h->drain_ms) * 1000000;
    event_del(h->listener);
    close(h->listen_fd);
    h->listen_fd = -1;
    for (Conn *c = h->conns, *next; c; c = next) {
        next = c->next;
        if (!conn_busy(c) && !c->lingering && c->first_byte_ns == 0) conn_close(c);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    Http *h = arg;
    int64_t now = clock_ns();
    bool busy = false;
    (void)fd, (void)what;
    if (atomic_load(&h->shared.stopping) && !h->draining) drain_begin(h);
    for (Conn *c = h->conns, *next; c; c = next) {
        next = c->next;
        busy = busy || conn_busy(c);
        conn_tick(c, now);
    }
    if (h->draining) {
        if (busy || h->quiet_ns == 0) h->quiet_ns = now;
        bool done = !h->conns || (!busy && now - h->quiet_ns > (int64_t)DRAIN_QUIET_MS * 1000000);
        if (done || now > h->drain_until_ns) {
            event_base_loopbreak(h->base);
            return;
        }
    } else if (h->accept_paused && atomic_load(&h->n_conns) < h->o.max_connections) {
        h->accept_paused = false;
        event_add(h->listener, NULL);
    }
    if (h->draining || h->conns)
        event_add_ms(h->tick, h->draining ? DRAIN_TICK_MS : TICK_MS); /* an idle server sleeps */
}

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
    Http *h = arg;
    uint64_t n;
    ssize_t ignored = read(fd, &n, sizeof n);
    (void)ignored, (void)what;
    on_tick(-1, 0, h);
}

void http_stop(Http *h, int drain_ms)
{
    uint64_t one = 1;
    int saved = errno;
    atomic_store(&h->drain_ms, drain_ms);
    atomic_store(&h->shared.stopping, true);
    ssize_t ignored = write(h->stop_fd, &one, sizeof one);
    (void)ignored;
    errno = saved;
}

/* ---- life ---- */

static int bind_first(struct addrinfo *list)
{
    int saved = 0;
    for (struct addrinfo *a = list; a; a = a->ai_next) {
        int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
        if (fd < 0) {
            saved = errno;
            continue;
        }
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, a->ai_addr, a->ai_addrlen) == 0) return fd;
        saved = errno;
        close(fd);
    }
    errno = saved;
    return -1;
}

/* Accepted sockets inherit these on Linux. */
static void socket_options(int fd)
{
    int one = 1, send_buffer = SOCKET_SEND_BUFFER;
    unsigned vanished = VANISHED_MS;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &vanished, sizeof vanished);
}

static Status listen_on(Http *h, Err *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *list = NULL;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a;
    socklen_t n = sizeof a;
    char port[12];
    memset(&a, 0, sizeof a);
    snprintf(port, sizeof port, "%d", h->o.port);
    int code = getaddrinfo(h->o.host, port, &hints, &list);
    if (code) return fail(err, E_INVALID, "cannot listen on host %s: %s", h->o.host, gai_strerror(code));
    h->listen_fd = bind_first(list);
    freeaddrinfo(list);
    if (h->listen_fd < 0) return fail(err, E_IO, "cannot listen on %s:%d: %s", h->o.host, h->o.port, strerror(errno));
    socket_options(h->listen_fd);
    if (listen(h->listen_fd, BACKLOG) || getsockname(h->listen_fd, &a.any, &n)) {
        return fail(err, E_IO, "cannot listen on %s:%d: %s", h->o.host, h->o.port, strerror(errno));
    }
    h->port = ntohs(a.any.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
    return OK;
}

static int descriptor_limit(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l)) return 256;
    if (l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        setrlimit(RLIMIT_NOFILE, &l);
        getrlimit(RLIMIT_NOFILE, &l);
    }
    return l.rlim_cur > CONNECTIONS_MAX + 256 ? CONNECTIONS_MAX : MAX((int)l.rlim_cur - 64, 16);
}

static void fill_defaults(HttpOptions *o)
{
    if (!o->host) o->host = "127.0.0.1";
    if (!o->max_body) o->max_body = (size_t)64 << 20;
    if (!o->max_bodies) o->max_bodies = (size_t)1 << 30;
    if (!o->header_timeout_ms) o->header_timeout_ms = 30000;
    if (!o->idle_timeout_ms) o->idle_timeout_ms = 75000;
    if (!o->stall_timeout_ms) o->stall_timeout_ms = 60000;
    if (!o->max_buffered) o->max_buffered = (size_t)1 << 20;
    int limit = descriptor_limit();
    if (o->max_connections <= 0 || o->max_connections > limit) o->max_connections = limit;
}

Status http_open(const HttpOptions *o, Http **out, Err *err)
{
    *out = NULL;
    Http *h = mem_alloc(sizeof *h);
    h->o = *o;
    h->listen_fd = -1;
    fill_defaults(&h->o);
    h->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    h->base = event_base_new();
    h->shared = (HttpShared){ .headers = o->headers, .error_body = o->error_body, .ctx = o->ctx };
    h->shared.dirty = queue_new(2 * CONNECTIONS_MAX);
    h->scratch = mem_alloc(READ_CHUNK);
    signal(SIGPIPE, SIG_IGN);
    if (h->stop_fd < 0 || !h->base) {
        fail(err, E_IO, "cannot create the event loop: %s", strerror(errno));
    } else if (listen_on(h, err) == OK) {
        h->listener = event_new(h->base, h->listen_fd, EV_READ | EV_PERSIST, on_accept, h);
        h->dirty = event_new(h->base, queue_fd(h->shared.dirty), EV_READ | EV_PERSIST, on_dirty, h);
        h->stop = event_new(h->base, h->stop_fd, EV_READ | EV_PERSIST, on_stop, h);
        h->tick = evtimer_new(h->base, on_tick, h);
        *out = h;
        return OK;
    }
    Status status = err ? err->status : E_IO;
    http_close(h);
    return status;
}

int http_port(const Http *h)
{
    return h->port;
}

int http_connections(const Http *h)
{
    return atomic_load(&h->n_conns);
}

bool http_stopping(const Http *h)
{
    return atomic_load(&h->shared.stopping);
}

/* Gives back the queue's references; nothing is queued any more once every connection is closed. */
static void forget_dirty(Http *h)
{
    void *item;
    while (queue_pop(h->shared.dirty, &item, 1)) http_reply_unref(item);
}

void http_run(Http *h)
{
    event_add(h->listener, NULL);
    event_add(h->dirty, NULL);
    event_add(h->stop, NULL);
    event_base_dispatch(h->base);
    while (h->conns) conn_close(h->conns); /* what did not drain in time is told so */
    forget_dirty(h);
}

void http_close(Http *h)
{
    if (!h) return;
    while (h->conns) conn_close(h->conns);
    forget_dirty(h);
    struct event *events[] = { h->listener, h->dirty, h->stop, h->tick };
    for (size_t i = 0; i < COUNT(events); i++) {
        if (events[i]) event_free(events[i]);
    }
    if (h->base) event_base_free(h->base);
    if (h->listen_fd >= 0) close(h->listen_fd);
    if (h->stop_fd >= 0) close(h->stop_fd);
    queue_free(h->shared.dirty);
    mem_free(h->scratch);
    mem_free(h);
}
