/* bench_online.c - `radish bench online --url URL --lengths FILE --rate X`: the load of many clients, and what they see.
 *
 * Requests of the list are sent to a running server when a Poisson process says so, each on a connection of its own, as ids of
 * random tokens, streamed, end tokens ignored. Whatever speaks SGLang's /generate or, if the URL ends so, OpenAI's
 * /v1/completions can be measured. One thread, one poll() over all connections; times are those at which bytes arrive. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/jsonw.h"
#include "cli/bench.h"
#include "cli/bench_list.h"

enum { CLIENTS_MAX = 8192, HOST_MAX = 200, LINE_MAX_BYTES = 8 << 20, SEED = 7, ID_FIRST = 10, N_IDS = 290 };
static const double GIVE_UP_S = 120; /* nothing came from anybody for so long */

typedef struct {
    char host[HOST_MAX], port[8], path[HOST_MAX];
    bool openai;
} Url;

/* A list of seconds that grows. */
typedef struct {
    double *p;
    size_t n, cap;
} Times;

typedef enum { HEAD, CHUNK_SIZE, CHUNK, CHUNK_END, PLAIN } BodyPart;

typedef struct {
    int fd; /* -1: not open */
    Buf out;
    size_t sent;
    Buf line;         /* of the head, or with a chunk's size */
    Buf event, other; /* a line of the body; what is no event: the reason of a refusal */
    BodyPart part;
    size_t chunk_left;
    bool chunked, good; /* good: answered 200 */
    int n_tokens, n_wanted;
    double began, last; /* sent; the last token */
} Client;

typedef struct {
    Url url;
    struct addrinfo *address;
    Client *client; /* those that are open come first */
    int n_open;
    struct pollfd *poll;
    Times whole, first, gap;
    int n_done, n_failed;
    int64_t n_in, n_out;
    double last_byte;
    char failure[200]; /* the first */
} Load;

static double now_s(void)
{
    return (double)clock_ns() / 1e9;
}

/* ---- figures ---- */

static void add(Times *t, double x)
{
    if (t->n == t->cap) {
        t->cap = MAX((size_t)1024, 2 * t->cap);
        t->p = mem_grow(t->p, t->cap * sizeof *t->p);
    }
    t->p[t->n++] = x;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The value that `share` of them do not exceed, in milliseconds. */
static double at_ms(const Times *sorted, double share)
{
    if (sorted->n == 0) return 0;
    size_t i = (size_t)(share * (double)(sorted->n - 1) + 0.5);
    return sorted->p[i] * 1e3;
}

static void print_times(const char *what, const char *key, Times *t, Buf *json)
{
    double sum = 0;
    qsort(t->p, t->n, sizeof *t->p, by_value);
    for (size_t i = 0; i < t->n; i++) sum += t->p[i];
    double mean = t->n ? sum / (double)t->n * 1e3 : 0;
    printf("%-24s mean %9.2f ms   median %9.2f   p90 %9.2f   p99 %9.2f\n", what, mean, at_ms(t, 0.5), at_ms(t, 0.9),
           at_ms(t, 0.99));
    buf_printf(json, ",\"%s_ms\":{\"mean\":%.3f,\"median\":%.3f,\"p90\":%.3f,\"p99\":%.3f}", key, mean, at_ms(t, 0.5),
               at_ms(t, 0.9), at_ms(t, 0.99));
}

/* ---- where to ---- */

/* http://host[:port][/path] */
static bool read_url(const char *text, Url *u)
{
    Str s = str_of(text);
    *u = (Url){ 0 };
    if (!str_starts(s, STR("http://"))) return false;
    s = str_cut(s, 7, s.n);
    size_t slash = str_find(s, STR("/"), 0), end = slash == SIZE_MAX ? s.n : slash;
    size_t colon = str_find(str_cut(s, 0, end), STR(":"), 0), host = colon == SIZE_MAX ? end : colon;
    Str path = slash == SIZE_MAX || slash + 1 == s.n ? STR("/generate") : str_cut(s, slash, s.n);
    Str port = colon == SIZE_MAX ? STR("80") : str_cut(s, colon + 1, end);
    if (host == 0 || host >= HOST_MAX || path.n >= HOST_MAX || port.n == 0 || port.n >= sizeof u->port) return false;
    memcpy(u->host, s.p, host);
    memcpy(u->port, port.p, port.n);
    memcpy(u->path, path.p, path.n);
    u->openai = str_ends(path, STR("/completions"));
    return true;
}

static bool find_host(Load *l)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    int e = getaddrinfo(l->url.host, l->url.port, &hints, &l->address);
    if (e != 0) fprintf(stderr, "radish: %s:%s: %s\n", l->url.host, l->url.port, gai_strerror(e));
    return e == 0 && l->address;
}

/* ---- one client ---- */

static void write_request(const Load *l, const BenchLength *q, Rng *rng, Buf *out)
{
    Buf body = { 0 };
    buf_str(&body, l->url.openai ? STR("{\"model\":\"default\",\"prompt\":[") : STR("{\"input_ids\":["));
    for (int i = 0; i < q->input; i++) buf_printf(&body, "%s%d", i ? "," : "", ID_FIRST + (int)rng_below(rng, N_IDS));
    buf_printf(&body,
               l->url.openai ? "],\"max_tokens\":%d,\"temperature\":0,\"ignore_eos\":true,\"stream\":true,"
                               "\"stream_options\":{\"include_usage\":true}}"
                             : "],\"sampling_params\":{\"max_new_tokens\":%d,\"temperature\":0,\"ignore_eos\":true},"
                               "\"stream\":true}",
               q->output);
    buf_printf(out,
               "POST %s HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
               "Connection: close\r\n\r\n",
               l->url.path, l->url.host, l->url.port, body.n);
    buf_str(out, buf_view(&body));
    buf_free(&body);
}

static void start(Load *l, const BenchLength *q, Rng *rng)
{
    Client *c = &l->client[l->n_open++];
    *c = (Client){ .n_wanted = q->output, .began = now_s() };
    CHECK(l->address);
    write_request(l, q, rng, &c->out);
    l->n_in += q->input;
    c->fd = socket(l->address->ai_family, SOCK_STREAM, 0);
    if (c->fd < 0) return; /* told when it is closed */
    int one = 1;
    fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, l->address->ai_addr, l->address->ai_addrlen) == 0 || errno == EINPROGRESS) return;
    close(c->fd);
    c->fd = -1;
}

static void finish(Load *l, Client *c)
{
    bool good = c->good && c->n_tokens == c->n_wanted;
    if (good) {
        add(&l->whole, c->last - c->began);
        l->n_out += c->n_tokens;
        l->n_done++;
    } else if (l->n_failed++ == 0) {
        buf_add(&c->other, c->event.p, c->event.n);
        snprintf(l->failure, sizeof l->failure, "%d of %d tokens came. %.*s", c->n_tokens, c->n_wanted,
                 (int)MIN(c->other.n, (size_t)160), c->other.n ? c->other.p : "");
    }
    if (c->fd >= 0) close(c->fd);
    buf_free(&c->out);
    buf_free(&c->line);
    buf_free(&c->event);
    buf_free(&c->other);
    *c = l->client[--l->n_open];
}

/* An event of the stream: how many tokens have come with it is in it, or it is one. */
static void on_event(Load *l, Client *c, Str data, double now)
{
    static const char key[] = "\"completion_tokens\":";
    size_t at = str_find(data, STR("\"completion_tokens\":"), 0);
    int n = c->n_tokens + 1;
    if (str_is(data, "[DONE]")) return;
    if (at != SIZE_MAX) n = (int)strtol(data.p + at + sizeof key - 1, NULL, 10); /* a line is NUL-terminated */
    if (n <= c->n_tokens || n > c->n_wanted) return; /* the end's own event, a usage report */
    if (c->n_tokens == 0)
        add(&l->first, now - c->began);
    else
        add(&l->gap, now - c->last);
    c->n_tokens = n;
    c->last = now;
}

/* ---- bytes to events ---- */

/* A line of the head, or one with a chunk's size. */
static void on_line(Client *c, Str line)
{
    if (c->part == HEAD) {
        if (str_starts(line, STR("HTTP/1."))) c->good = str_find(line, STR(" 200"), 0) != SIZE_MAX;
        if (line.n > 18 && strncasecmp(line.p, "Transfer-Encoding:", 18) == 0) c->chunked = true;
        if (line.n == 0) c->part = c->chunked ? CHUNK_SIZE : PLAIN;
    } else if (c->part == CHUNK_SIZE) {
        c->chunk_left = strtoul(line.p, NULL, 16);
        c->part = CHUNK;
    } else {
        c->part = CHUNK_SIZE;
    }
}

/* Appends up to the end of a line; returns how many bytes were taken. *whole: the line is complete, without its end. */
static size_t take_line(Buf *line, const char *p, size_t n, bool *whole)
{
    const char *end = memchr(p, '\n', n);
    size_t used = end ? (size_t)(end - p) + 1 : n;
    *whole = end != NULL;
    if (line->n < LINE_MAX_BYTES) buf_add(line, p, used);
    if (!end) return used;
    line->n--;
    if (line->n && line->p[line->n - 1] == '\r') line->n--;
    buf_char(line, 0); /* so that numbers can be read */
    line->n--;
    return used;
}

static void on_body(Load *l, Client *c, const char *p, size_t n, double now)
{
    while (n) {
        bool whole;
        size_t used = take_line(&c->event, p, n, &whole);
        p += used;
        n -= used;
        if (!whole) return;
        Str line = buf_view(&c->event);
        if (str_starts(line, STR("data: ")))
            on_event(l, c, str_cut(line, 6, line.n), now);
        else if (line.n)
            buf_add(&c->other, line.p, MIN(line.n, (size_t)120));
        buf_clear(&c->event);
    }
}

static void on_bytes(Load *l, Client *c, const char *p, size_t n, double now)
{
    while (n) {
        bool whole = false, body = c->part == CHUNK || c->part == PLAIN;
        size_t used = c->part == CHUNK ? MIN(n, c->chunk_left) : n;
        if (body)
            on_body(l, c, p, used, now);
        else
            used = take_line(&c->line, p, n, &whole);
        if (c->part == CHUNK && (c->chunk_left -= used) == 0) c->part = CHUNK_END;
        if (whole) {
            on_line(c, buf_view(&c->line));
            buf_clear(&c->line);
        }
        p += used;
        n -= used;
    }
}

/* False: the connection is over. */
static bool serve(Load *l, Client *c, short events)
{
    char room[1 << 16];
    if (c->fd < 0) return false;
    if (events & POLLOUT && c->sent < c->out.n) {
        ssize_t n = send(c->fd, c->out.p + c->sent, c->out.n - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return false;
        if (n > 0) c->sent += (size_t)n;
    }
    if (!(events & (POLLIN | POLLERR | POLLHUP))) return true;
    ssize_t n = recv(c->fd, room, sizeof room, 0);
    if (n < 0 && errno == EAGAIN) return true;
    if (n < 0) buf_str(&c->other, str_of(strerror(errno)));
    if (n <= 0) return false;
    l->last_byte = now_s();
    on_bytes(l, c, room, (size_t)n, l->last_byte);
    return true;
}

/* ---- all of them ---- */

/* Waits for bytes, until `until` at most. */
static void wait_and_serve(Load *l, double until)
{
    for (int i = 0; i < l->n_open; i++) {
        Client *c = &l->client[i];
        l->poll[i] = (struct pollfd){ .fd = c->fd, .events = c->sent < c->out.n ? POLLIN | POLLOUT : POLLIN };
        if (c->fd < 0) until = 0;
    }
    double ms = (until - now_s()) * 1e3;
    poll(l->poll, (nfds_t)l->n_open, ms < 0 ? 0 : ms > 1000 ? 1000 : (int)ms + 1);
    for (int i = l->n_open - 1; i >= 0; i--) { /* from the end: the last takes the place of one that ends */
        short events = l->poll[i].revents;
        if ((events || l->client[i].fd < 0) && !serve(l, &l->client[i], events)) finish(l, &l->client[i]);
    }
}

/* False: the server has fallen silent. */
static bool run(Load *l, const BenchLength *lengths, int n_lengths, int n, double rate)
{
    Rng rng = { SEED };
    double next = now_s();
    l->last_byte = next;
    for (int sent = 0; sent < n || l->n_open;) {
        while (sent < n && now_s() >= next && l->n_open < CLIENTS_MAX) {
            if (l->n_open == 0) l->last_byte = now_s();
            start(l, &lengths[sent++ % n_lengths], &rng);
            next += rate > 0 ? -log(1 - ((double)rng_below(&rng, 1 << 30) + 0.5) / (1 << 30)) / rate : 0;
        }
        wait_and_serve(l, sent < n ? next : now_s() + 1);
        if (l->n_open && now_s() - l->last_byte > GIVE_UP_S) return false;
    }
    return true;
}

static bool report(Load *l, const Options *o, double seconds)
{
    Buf json = { 0 };
    printf("requests                 %d done, %d failed, %.2f s; %.2f requests/s\n", l->n_done, l->n_failed, seconds,
           l->n_done / seconds);
    if (l->n_failed) printf("first failure            %s\n", l->failure);
    printf("tokens                   %lld in, %lld out; output %.1f tokens/s\n", (long long)l->n_in,
           (long long)l->n_out, (double)l->n_out / seconds);
    buf_printf(&json, "{\"rate\":%.3f,\"done\":%d,\"failed\":%d,\"seconds\":%.3f,\"output_tok_s\":%.2f", o->rate,
               l->n_done, l->n_failed, seconds, (double)l->n_out / seconds);
    print_times("end to end", "e2e", &l->whole, &json);
    print_times("time to first token", "ttft", &l->first, &json);
    print_times("between tokens", "itl", &l->gap, &json);
    buf_str(&json, STR("}\n"));
    bool good = bench_write_json(o->json, &json);
    buf_free(&json);
    return good && l->n_failed == 0;
}

int bench_online(const Options *o)
{
    Load l = { 0 };
    BenchLength *lengths = NULL;
    if (!o->url || !o->lengths || !read_url(o->url, &l.url)) {
        fprintf(
            stderr,
            "radish: usage: radish bench online --url http://HOST:PORT[/PATH] --lengths FILE [--rate X] [--num N]\n");
        return 1;
    }
    Arena *a = arena_new(0);
    int n = bench_list_read(a, o->lengths, 0, &lengths);
    bool good = n > 0 && find_host(&l);
    if (good) {
        l.client = mem_alloc_array(CLIENTS_MAX, sizeof *l.client);
        l.poll = mem_alloc_array(CLIENTS_MAX, sizeof *l.poll);
        double began = now_s();
        good = run(&l, lengths, n, o->num > 0 ? o->num : n, o->rate);
        if (!good) fprintf(stderr, "radish: nothing came from %s for %.0f s\n", o->url, GIVE_UP_S);
        while (l.n_open) finish(&l, &l.client[l.n_open - 1]);
        good = report(&l, o, now_s() - began) && good;
        freeaddrinfo(l.address);
    }
    mem_free(l.client);
    mem_free(l.poll);
    mem_free(l.whole.p);
    mem_free(l.first.p);
    mem_free(l.gap.p);
    arena_free(a);
    return good ? 0 : 1;
}
