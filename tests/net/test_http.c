/* test_http.c - the HTTP server through raw sockets: framing, deadlines, slow readers, vanished clients, draining.
 *
 * A small application stands behind it: /echo answers the body, /hold keeps the reply until the test releases it, /stream/N sends N
 * events from a thread of its own, /flood sends without end, /drop forgets to answer. */
/* cmocka.h wants these four first, and its fail() must not meet ours. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "net/http.h"

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
/* clang-format on */

typedef struct {
    Http *http;
    pthread_t io;
    pthread_mutex_t lock;
    HttpReply *held;
    atomic_int n_gone, n_released, n_handled, n_flooded;
    atomic_bool stop_flood;
    pthread_t threads[64];
    int n_threads;
} App;

typedef struct {
    App *app;
    HttpReply *reply;
    int n;
} Stream;

/* ---- the application ---- */

static void on_gone(void *ctx)
{
    atomic_fetch_add(&((App *)ctx)->n_gone, 1);
}

static void on_release(void *ctx)
{
    atomic_fetch_add(&((App *)ctx)->n_released, 1);
}

static void *stream_thread(void *arg)
{
    Stream *s = arg;
    http_sse_begin(s->reply);
    for (int i = 0; i < s->n; i++) {
        char line[64];
        int n = snprintf(line, sizeof line, "{\"i\":%d}", i);
        http_sse_send(s->reply, (Str){ line, (size_t)n });
        if (i % 16 == 0) usleep(100);
    }
    http_sse_end(s->reply);
    mem_free(s);
    return NULL;
}

static void *flood_thread(void *arg)
{
    Stream *s = arg;
    static const char block[4096];
    char data[sizeof block];
    memset(data, 'x', sizeof data);
    http_sse_begin(s->reply);
    while (!http_is_gone(s->reply) && !atomic_load(&s->app->stop_flood)) {
        if (s->n && http_unsent(s->reply) > (size_t)s->n) {
            usleep(500); /* the polite producer: waits while the client is behind */
            continue;
        }
        http_sse_send(s->reply, (Str){ data, sizeof data });
        atomic_fetch_add(&s->app->n_flooded, 1);
    }
    http_sse_end(s->reply);
    mem_free(s);
    return NULL;
}

static void spawn(App *a, void *(*fn)(void *), HttpReply *r, int n)
{
    Stream *s = mem_alloc(sizeof *s);
    *s = (Stream){ a, r, n };
    pthread_mutex_lock(&a->lock);
    assert_true(a->n_threads < (int)COUNT(a->threads));
    pthread_create(&a->threads[a->n_threads++], NULL, fn, s);
    pthread_mutex_unlock(&a->lock);
}

static void handle(void *ctx, const HttpRequest *q, HttpReply *r)
{
    App *a = ctx;
    int64_t n = 0;
    atomic_fetch_add(&a->n_handled, 1);
    if (str_is(q->path, "/echo")) {
        http_reply(r, 200, "text/plain", NULL, q->body);
    } else if (str_is(q->path, "/taken")) {
        Buf body = http_take_body(r);
        http_reply(r, 200, "text/plain", NULL, buf_view(&body));
        buf_free(&body);
    } else if (str_is(q->path, "/hold") || str_is(q->path, "/begin")) {
        http_on_gone(r, on_gone, on_release, a);
        if (str_is(q->path, "/begin")) http_sse_begin(r);
        pthread_mutex_lock(&a->lock);
        a->held = r;
        pthread_mutex_unlock(&a->lock);
    } else if (str_starts(q->path, STR("/stream/")) && str_to_i64(str_cut(q->path, 8, q->path.n), &n)) {
        http_on_gone(r, on_gone, on_release, a);
        spawn(a, stream_thread, r, (int)n);
    } else if (str_is(q->path, "/flood") || str_is(q->path, "/polite")) {
        http_on_gone(r, on_gone, on_release, a);
        spawn(a, flood_thread, r, str_is(q->path, "/polite") ? 64 << 10 : 0);
    } else if (str_is(q->path, "/query")) {
        http_reply(r, 200, "text/plain", "X-Extra: 1\r\n", q->query);
    } else if (str_is(q->path, "/big")) {
        Buf b = { 0 };
        for (int i = 0; i < 1 << 19; i++) buf_add(&b, "0123456789abcdef", 16);
        http_reply(r, 200, "text/plain", NULL, buf_view(&b));
        buf_free(&b);
    } else {
        http_drop(r);
    }
}

static int admit(void *ctx, const HttpRequest *q, Buf *answer)
{
    (void)ctx;
    if (!str_is(q->path, "/secret") || str_is(q->authorization, "Bearer k")) return 0;
    buf_str(answer, STR("{\"no\":1}"));
    return 401;
}

static void error_body(void *ctx, int status, const char *text, Buf *out)
{
    (void)ctx;
    buf_printf(out, "{\"error\":%d,\"text\":\"%s\"}", status, text);
}

static void *io_thread(void *arg)
{
    http_run(((App *)arg)->http);
    return NULL;
}

static App *app_new(void)
{
    App *a = mem_alloc(sizeof *a);
    Err err = { 0 };
    HttpOptions o = { .max_body = 1 << 20,
                      .max_bodies = 3 << 20,
                      .header_timeout_ms = 500,
                      .idle_timeout_ms = 60000,
                      .stall_timeout_ms = 1500,
                      .max_buffered = 256 << 10,
                      .headers = "X-Server: t\r\n",
                      .admit = admit,
                      .handle = handle,
                      .error_body = error_body,
                      .ctx = a };
    pthread_mutex_init(&a->lock, NULL);
    assert_int_equal(http_open(&o, &a->http, &err), OK);
    pthread_create(&a->io, NULL, io_thread, a);
    return a;
}

static void app_stop(App *a, int drain_ms)
{
    http_stop(a->http, drain_ms);
    pthread_join(a->io, NULL);
}

static void app_free(App *a)
{
    atomic_store(&a->stop_flood, true);
    for (int i = 0; i < a->n_threads; i++) pthread_join(a->threads[i], NULL);
    if (a->held) http_drop(a->held);
    http_close(a->http);
    pthread_mutex_destroy(&a->lock);
    mem_free(a);
}

static void app_done(App *a)
{
    app_stop(a, 0);
    app_free(a);
}

/* ---- the client ---- */

static int dial_port(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) {
        close(fd);
        return -1;
    }
    return fd;
}

static int dial(const App *a)
{
    int fd = dial_port(http_port(a->http));
    assert_true(fd >= 0);
    return fd;
}

static void put(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t k = send(fd, data, n, MSG_NOSIGNAL);
        if (k <= 0) return; /* the server may have hung up already: what it said is what counts */
        data += k;
        n -= (size_t)k;
    }
}

static void puts_to(int fd, const char *text)
{
    put(fd, text, strlen(text));
}

/* Reads until `until` is in the answer, the peer closes, or timeout. */
static Buf get(int fd, const char *until, int timeout_ms)
{
    Buf b = { 0 };
    int64_t end = clock_ns() + (int64_t)timeout_ms * 1000000;
    for (;;) {
        char part[65536];
        struct pollfd p = { fd, POLLIN, 0 };
        int64_t left = (end - clock_ns()) / 1000000;
        if (left <= 0 || poll(&p, 1, (int)left) <= 0) break;
        ssize_t n = recv(fd, part, sizeof part, 0);
        if (n <= 0) break;
        buf_add(&b, part, (size_t)n);
        if (until && str_find(buf_view(&b), str_of(until), 0) != SIZE_MAX) break;
    }
    buf_add(&b, "", 1);
    b.n--;
    return b;
}

static bool is_closed(int fd, int timeout_ms)
{
    struct pollfd p = { fd, POLLIN, 0 };
    char c;
    return poll(&p, 1, timeout_ms) > 0 && recv(fd, &c, 1, 0) <= 0;
}

static int status_of(const Buf *b)
{
    return b->n > 12 && !strncmp(b->p, "HTTP/1.1 ", 9) ? atoi(b->p + 9) : 0;
}

static bool has(const Buf *b, const char *what)
{
    return str_find(buf_view(b), str_of(what), 0) != SIZE_MAX;
}

/* One exchange on a connection of its own; the status, and the answer if out is given. */
static int ask(const App *a, const char *request, size_t n, Buf *out)
{
    int fd = dial(a);
    put(fd, request, n);
    shutdown(fd, SHUT_WR);
    close(fd);
    fd = dial(a);
    put(fd, request, n);
    Buf b = get(fd, NULL, 300);
    int status = status_of(&b);
    close(fd);
    if (out) {
        *out = b;
    } else {
        buf_free(&b);
    }
    return status;
}

static bool eventually(atomic_int *x, int want)
{
    for (int i = 0; i < 4000 && atomic_load(x) != want; i++) usleep(5000); /* long only on a busy machine */
    return atomic_load(x) == want;
}

static HttpReply *wait_held(App *a)
{
    for (int i = 0; i < 1000; i++) {
        pthread_mutex_lock(&a->lock);
        HttpReply *r = a->held;
        a->held = NULL;
        pthread_mutex_unlock(&a->lock);
        if (r) return r;
        usleep(2000);
    }
    fail_msg("the request never reached the handler");
    return NULL;
}

/* ---- tests ---- */

static void test_exchange(void **state)
{
    (void)state;
    App *a = app_new();
    int fd = dial(a);
    puts_to(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nX-Request-Id: r-1\r\nContent-Length: 5\r\n\r\nhello");
    Buf b = get(fd, "hello", 2000);
    assert_int_equal(status_of(&b), 200);
    assert_true(has(&b, "X-Request-Id: r-1\r\n") && has(&b, "X-Server: t\r\n") && has(&b, "Content-Length: 5\r\n"));
    assert_false(has(&b, "Connection: close"));
    buf_free(&b);
    puts_to(fd, "GET http://x/%71uery?a=%20b HTTP/1.1\r\nHost: x\r\n\r\n"); /* same connection, absolute form, escape */
    b = get(fd, "a=%20b", 2000);
    assert_int_equal(status_of(&b), 200);
    assert_true(has(&b, "X-Extra: 1\r\n"));
    buf_free(&b);
    puts_to(
        fd,
        "HEAD /echo HTTP/1.1\r\nHost: x\r\n\r\nPOST /taken HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n"); /* pipelined */
    b = get(fd, "abc0123456789", 2000);
    assert_true(has(&b, "abc0123456789"));
    buf_free(&b);
    puts_to(fd, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    b = get(fd, NULL, 2000);
    assert_int_equal(status_of(&b), 500);
    assert_true(has(&b, "\"error\":500") && has(&b, "Connection: close"));
    buf_free(&b);
    close(fd);
    app_done(a);
}

static void test_malformed(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *request;
    } cases[] = {
#define H "Host: x\r\n"
        { 400, "POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Content-Length: 3, 3\r\n\r\nabc" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Content-Length: +3\r\n\r\nabc" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Content-Length: -3\r\n\r\nabc" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Content-Length: 0x3\r\n\r\nabc" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Content-Length:\r\n\r\nabc" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\nabc" },
        { 413, "POST /echo HTTP/1.1\r\n" H "Content-Length: 999999999999\r\n\r\nabc" },
        { 413, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nfffffff\r\n" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" },
        { 400,
          "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
        { 400, "POST /echo HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Content-Length : 3\r\n\r\nabc" },
        { 400, "POST /echo HTTP/1.1\r\n" H " folded: 1\r\n\r\n" },
        { 400, "POST /echo HTTP/1.1\r\n" H "X: 1\r\n\tfolded\r\n\r\n" },
        { 400, "GET /echo HTTP/1.1\nHost: x\n\n" },
        { 400, "GET /echo HTTP/1.1\r\nHost: x\n\r\n" },
        { 400, "GET /echo HTTP/1.1\r\n" H "X: a\rb\r\n\r\n" },
        { 400, "GET /echo HTTP/1.1\r\n" H "X: a\x01\r\n\r\n" },
        { 400, "GET /echo HTTP/1.1\r\n" H ": empty\r\n\r\n" },
        { 400, "GET /echo HTTP/1.1\r\n" H "no colon\r\n\r\n" },
        { 400, "GET /echo HTTP/1.1\r\n" H "b@d: 1\r\n\r\n" },
        { 400, "GET /echo HTTP/1.1\r\n" H "Host: y\r\n\r\n" },
        { 400, "GET /echo HTTP/1.1\r\nX: 1\r\n\r\n" },
        { 400, "GET  /echo HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET /echo  HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET /echo\r\n" H "\r\n" },
        { 400, "GET echo HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET /%zz HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET /%00 HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET /a#b HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET /\x80 HTTP/1.1\r\n" H "\r\n" },
        { 400, "G(T /echo HTTP/1.1\r\n" H "\r\n" },
        { 400, "GET /echo HTTQ/1.1\r\n" H "\r\n" },
        { 505, "GET /echo HTTP/2.0\r\n" H "\r\n" },
        { 505, "GET /echo HTTP/1.2\r\n" H "\r\n" },
        { 501, "ABCDEFGHIJKLMNOPQRST /echo HTTP/1.1\r\n" H "\r\n" },
        { 417, "POST /echo HTTP/1.1\r\n" H "Expect: tea\r\nContent-Length: 1\r\n\r\n1" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n0\r\n\r\n" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1111111111111111\r\n" },
        { 400, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n" },
#undef H
    };
    App *a = app_new();
    for (size_t i = 0; i < COUNT(cases); i++) {
        int fd = dial(a);
        puts_to(fd, cases[i].request);
        Buf b = get(fd, "}", 2000);
        if (status_of(&b) != cases[i].status)
            fail_msg("case %zu: %d instead of %d: %s", i, status_of(&b), cases[i].status, b.p);
        assert_true(has(&b, "\r\nConnection: close\r\n") && has(&b, "{\"error\":"));
        assert_true(is_closed(fd, 1000));
        buf_free(&b);
        close(fd);
    }
    assert_int_equal(atomic_load(&a->n_handled), 0);
    char nul[] = "GET /echo HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n";
    assert_int_equal(ask(a, nul, sizeof nul - 1, NULL), 400);
    app_done(a);
}

static void test_limits(void **state)
{
    (void)state;
    App *a = app_new();
    Buf b = { 0 };
    buf_str(&b, STR("GET /echo HTTP/1.1\r\nHost: x\r\nX: "));
    for (int i = 0; i < 40000; i++) buf_char(&b, 'x');
    assert_int_equal(ask(a, b.p, b.n, NULL), 431);
    buf_clear(&b);
    buf_str(&b, STR("GET /echo HTTP/1.1\r\nHost: x\r\n"));
    for (int i = 0; i < 200; i++) buf_printf(&b, "X%d: 1\r\n", i);
    buf_str(&b, STR("\r\n"));
    assert_int_equal(ask(a, b.p, b.n, NULL), 431);
    buf_clear(&b);
    buf_str(&b, STR("GET /"));
    for (int i = 0; i < 40000; i++) buf_char(&b, 'x');
    assert_int_equal(ask(a, b.p, b.n, NULL), 414);
    buf_clear(&b);
    buf_str(&b,
            STR("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")); /* too large only in sum */
    for (int i = 0; i < 20; i++) {
        buf_str(&b, STR("10000\r\n"));
        for (int j = 0; j < 0x10000; j++) buf_char(&b, 'y');
        buf_str(&b, STR("\r\n"));
    }
    assert_int_equal(ask(a, b.p, b.n, NULL), 413);
    buf_free(&b);
    app_done(a);
}

static void test_body_budget(void **state)
{
    (void)state;
    App *a = app_new(); /* 1 MB a body, 3 MB together */
    int fds[4];
    char *block = mem_alloc(1 << 20);
    for (int i = 0; i < 4; i++) {
        fds[i] = dial(a);
        puts_to(fds[i], "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
        put(fds[i], block, 900000);
        usleep(20000);
    }
    Buf b = get(fds[3], "}", 20000);
    assert_int_equal(status_of(&b), 503);
    assert_true(has(&b, "Retry-After: "));
    buf_free(&b);
    put(fds[0], block, 100000); /* the others are not harmed */
    b = get(fds[0], "\r\n\r\n", 20000);
    assert_int_equal(status_of(&b), 200);
    buf_free(&b);
    for (int i = 0; i < 4; i++) close(fds[i]);
    mem_free(block);
    app_done(a);
}

static void test_admit(void **state)
{
    (void)state;
    App *a = app_new();
    int fd = dial(a);
    puts_to(fd, "POST /secret HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"); /* refused before the body */
    Buf b = get(fd, "}", 2000);
    assert_int_equal(status_of(&b), 401);
    assert_true(has(&b, "{\"no\":1}"));
    buf_free(&b);
    close(fd);
    fd = dial(a);
    puts_to(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    b = get(fd, "\r\n\r\n", 2000);
    assert_string_equal(b.p, "HTTP/1.1 100 Continue\r\n\r\n");
    buf_free(&b);
    puts_to(fd, "ok");
    b = get(fd, "ok", 2000);
    assert_int_equal(status_of(&b), 200);
    buf_free(&b);
    close(fd);
    app_done(a);
}

static void test_slow_senders(void **state)
{
    (void)state;
    static const char head[] = "GET /echo HTTP/1.1\r\nHost: x\r\nX-A-Long-Name: 1\r\n";
    static const char body[] = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\naaaaaaaaaaaaaaaaaaaaaaaa";
    App *a = app_new(); /* half a second from the first byte */
    for (int kind = 0; kind < 2; kind++) {
        const char *text = kind ? body : head;
        size_t start = kind ? sizeof body - 24 : 1, n = kind ? sizeof body - 1 : sizeof head - 1;
        int fd = dial(a);
        int64_t begin = clock_ns();
        put(fd, text, start);
        for (size_t i = start; i < n && !is_closed(fd, 100); i++) put(fd, text + i, 1);
        assert_true(clock_ns() - begin < 1600 * 1000000LL); /* dripping does not extend it */
        close(fd);
    }
    int fd = dial(a);
    put(fd, head, 10);
    Buf b = get(fd, "}", 2000);
    assert_int_equal(status_of(&b), 408);
    buf_free(&b);
    close(fd);
    app_done(a);
}

static void test_stream(void **state)
{
    (void)state;
    App *a = app_new();
    int fds[32];
    for (size_t i = 0; i < COUNT(fds); i++) {
        fds[i] = dial(a);
        puts_to(fds[i], i % 2 ? "GET /stream/300 HTTP/1.1\r\nHost: x\r\n\r\n" : "GET /stream/300 HTTP/1.0\r\n\r\n");
    }
    for (size_t i = 0; i < COUNT(fds); i++) {
        Buf b = get(fds[i], i % 2 ? "\r\n0\r\n\r\n" : NULL, 5000);
        assert_int_equal(status_of(&b), 200);
        assert_true(has(&b, "Content-Type: text/event-stream\r\n"));
        assert_true(has(&b, "Transfer-Encoding: chunked\r\n") == (i % 2 == 1));
        size_t at = 0;
        for (int k = 0; k < 300; k++) {
            char line[64];
            snprintf(line, sizeof line, "data: {\"i\":%d}\n\n", k);
            at = str_find(buf_view(&b), str_of(line), at);
            assert_true(at != SIZE_MAX);
        }
        buf_free(&b);
        close(fds[i]);
    }
    assert_true(eventually(&a->n_released, 32)); /* given back once for each */
    assert_int_equal(atomic_load(&a->n_gone), 0);
    app_done(a);
}

static void test_client_leaves(void **state)
{
    (void)state;
    App *a = app_new();
    for (int kind = 0; kind < 6; kind++) { /* waiting or streaming; close, reset, half-close */
        int fd = dial(a);
        puts_to(fd, kind < 3 ? "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n" : "GET /begin HTTP/1.1\r\nHost: x\r\n\r\n");
        HttpReply *r = wait_held(a);
        assert_false(http_is_gone(r));
        if (kind % 3 == 1) {
            struct linger reset = { 1, 0 };
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        }
        if (kind % 3 == 2) {
            shutdown(fd, SHUT_WR);
        } else {
            close(fd);
        }
        assert_true(eventually(&a->n_gone, kind + 1));
        assert_true(http_is_gone(r));
        assert_int_equal(atomic_load(&a->n_released), kind);
        if (kind < 3) {
            http_reply(r, 200, "text/plain", NULL, STR("nobody reads it"));
        } else {
            http_sse_send(r, STR("x"));
            http_sse_end(r);
        }
        assert_int_equal(atomic_load(&a->n_released), kind + 1);
        if (kind % 3 == 2) close(fd);
    }
    app_done(a);
}

static void test_gone_before_asked(void **state)
{
    (void)state;
    App *a = app_new();
    int fd = dial(a);
    puts_to(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    HttpReply *r = wait_held(a);
    http_keep(r);
    http_drop(r);
    assert_false(http_is_gone(r));
    http_drop(r); /* the last one: 500 */
    Buf b = get(fd, "}", 2000);
    assert_int_equal(status_of(&b), 500);
    buf_free(&b);
    close(fd);
    fd = dial(a);
    puts_to(fd, "GET /begin HTTP/1.1\r\nHost: x\r\n\r\n");
    r = wait_held(a);
    http_sse_send(r, STR("half"));
    http_drop(r); /* an unfinished stream is cut, not ended */
    b = get(fd, NULL, 2000);
    assert_true(has(&b, "data: half\n\n") && !has(&b, "\r\n0\r\n\r\n"));
    buf_free(&b);
    close(fd);
    app_done(a);
}

static void test_slow_readers(void **state)
{
    (void)state;
    App *a = app_new();
    int fd = dial(a), polite = dial(a), big = dial(a);
    puts_to(fd, "GET /flood HTTP/1.1\r\nHost: x\r\n\r\n"); /* reads nothing, the producer does not care: cut */
    assert_true(eventually(&a->n_gone, 1));
    assert_true(atomic_load(&a->n_flooded) < 40000);
    close(fd);
    puts_to(big, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n"); /* whole answers may be larger than a stream's buffer */
    usleep(300000);
    Buf b = get(big, NULL, 1000);
    assert_true(b.n > 8 << 20);
    buf_free(&b);
    close(big);
    atomic_store(&a->n_flooded, 0);
    puts_to(
        polite,
        "GET /polite HTTP/1.1\r\nHost: x\r\n\r\n"); /* the producer watches http_unsent: only the stall limit cuts */
    usleep(300000);
    int before = atomic_load(&a->n_flooded);
    usleep(200000);
    assert_int_equal(atomic_load(&a->n_flooded), before);
    b = get(polite, NULL, 200);
    assert_true(b.n > 0);
    buf_free(&b);
    usleep(50000);
    assert_true(atomic_load(&a->n_flooded) > before);
    assert_true(eventually(&a->n_gone, 2));
    close(polite);
    app_done(a);
}

/* One event may be larger than what a stream may leave unsent, and so may be the rest of it. */
static void test_huge_events(void **state)
{
    (void)state;
    enum { SIZE = 8 << 20 };
    App *a = app_new();
    char *huge = mem_alloc(SIZE);
    memset(huge, 'x', SIZE);
    for (int rest = 0; rest < 2; rest++) {
        int fd = dial(a);
        puts_to(fd, "GET /begin HTTP/1.1\r\nHost: x\r\n\r\n");
        HttpReply *r = wait_held(a);
        if (rest) http_sse_rest(r);
        for (int i = 0; i <= rest; i++) {
            http_sse_send(r, (Str){ huge, SIZE });
            usleep(200000); /* the I/O thread has met a socket that takes no more */
        }
        assert_int_equal(atomic_load(&a->n_gone), 0);
        http_sse_end(r);
        Buf b = get(fd, "\r\n0\r\n\r\n", 5000);
        assert_true(b.n > (size_t)(rest + 1) * SIZE);
        buf_free(&b);
        close(fd);
    }
    mem_free(huge);
    app_done(a);
}

static void test_pipelined_flood(void **state)
{
    (void)state;
    App *a = app_new();
    int fd = dial(a);
    puts_to(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    HttpReply *r = wait_held(a);
    char *block = mem_alloc(1 << 20);
    memset(block, 'G', 1 << 20);
    put(fd, block, 1 << 20);
    assert_true(eventually(&a->n_gone, 1)); /* no memory for what nobody asked for */
    http_drop(r);
    mem_free(block);
    close(fd);
    app_done(a);
}

static void test_drain(void **state)
{
    (void)state;
    App *a = app_new();
    int port = http_port(a->http), idle = dial(a), held = dial(a), kept = dial(a), streams[8];
    puts_to(held, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    HttpReply *r = wait_held(a);
    for (size_t i = 0; i < COUNT(streams); i++) {
        streams[i] = dial(a);
        puts_to(streams[i], "GET /stream/2000 HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    for (size_t i = 0; i < COUNT(streams); i++) {
        Buf first = get(streams[i], "data: ", 2000);
        assert_true(has(&first, "data: "));
        buf_free(&first);
    }
    puts_to(kept, "GET /echo HTTP/1.1\r\n"); /* in the middle of a request */
    usleep(20000);
    http_stop(a->http, 5000);
    assert_true(http_stopping(a->http));
    assert_true(is_closed(idle, 1000));
    puts_to(kept, "Host: x\r\n\r\n");
    Buf b = get(kept, "}", 1000);
    assert_int_equal(status_of(&b), 503);
    buf_free(&b);
    int fd = dial_port(port);
    assert_true(fd < 0);
    for (size_t i = 0; i < COUNT(streams); i++) {
        b = get(streams[i], "\r\n0\r\n\r\n", 5000);
        assert_true(has(&b, "{\"i\":1999}") && has(&b, "\r\n0\r\n\r\n"));
        buf_free(&b);
        close(streams[i]);
    }
    http_reply(r, 200, "text/plain", NULL, STR("late"));
    b = get(held, "late", 2000);
    assert_int_equal(status_of(&b), 200);
    assert_true(has(&b, "Connection: close\r\n"));
    buf_free(&b);
    pthread_join(a->io, NULL);
    assert_int_equal(http_connections(a->http), 0);
    close(idle), close(held), close(kept);
    app_free(a);
}

static void test_drain_runs_out(void **state)
{
    (void)state;
    App *a = app_new();
    int fd = dial(a);
    puts_to(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    HttpReply *r = wait_held(a);
    int64_t begin = clock_ns();
    app_stop(a, 200);
    assert_true(clock_ns() - begin < 1500 * 1000000LL);
    assert_int_equal(atomic_load(&a->n_gone), 1);
    assert_true(is_closed(fd, 1000));
    http_reply(r, 200, NULL, NULL, STR("after the end")); /* a reply outlives its server */
    close(fd);
    app_free(a);
}

static void test_many(void **state)
{
    (void)state;
    App *a = app_new();
    enum { N = 400 };
    int fds[N];
    for (int i = 0; i < N; i++) {
        fds[i] = dial(a);
        puts_to(fds[i], "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            Buf b = get(fds[i], "hi", 5000);
            assert_int_equal(status_of(&b), 200);
            buf_free(&b);
            if (round < 2) puts_to(fds[i], "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
        }
    }
    assert_int_equal(http_connections(a->http), N);
    for (int i = 0; i < N; i++) close(fds[i]);
    for (int i = 0; i < 400 && http_connections(a->http); i++) usleep(5000);
    assert_int_equal(http_connections(a->http), 0);
    app_done(a);
}

static void test_address_in_use(void **state)
{
    (void)state;
    App *a = app_new();
    Http *second = NULL;
    Err err = { 0 };
    HttpOptions o = { .port = http_port(a->http), .handle = handle };
    assert_int_equal(http_open(&o, &second, &err), E_IO);
    assert_null(second);
    assert_non_null(strstr(err.text, "in use"));
    o = (HttpOptions){ .host = "no.such.host.invalid", .handle = handle };
    assert_int_not_equal(http_open(&o, &second, &err), OK);
    app_done(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_body_budget),
        cmocka_unit_test(test_admit),
        cmocka_unit_test(test_slow_senders),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_client_leaves),
        cmocka_unit_test(test_gone_before_asked),
        cmocka_unit_test(test_slow_readers),
        cmocka_unit_test(test_huge_events),
        cmocka_unit_test(test_pipelined_flood),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_drain_runs_out),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_address_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
