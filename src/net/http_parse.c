/* http_parse.c - bytes to one HTTP/1.1 request (RFC 9112), strictly. No sockets: tests and the fuzzer feed it any way they like.
 *
 * Two machines that disagree about where a request ends let one client speak for another (request smuggling). So whatever has
 * two readings is refused: bare CR or LF, white space before a colon, folded lines, two lengths or a length beside a
 * coding, any coding but exactly "chunked", signs or 0x in a length.
 *
 * Invariants: (1) the outcome does not depend on how the bytes were cut; (2) no buffer grows beyond its limit: the head
 * PARSE_HEAD_MAX, a line PARSE_CHUNK_LINE_MAX, the body max_body, and the body grows with what arrives, never by
 * what was promised. Thread: whoever owns the HttpParse. */
#include "net/http_parse.h"

enum { KEEP_BUFFER = 64 << 10 }; /* larger buffers are not kept for the next request */

static void bad(HttpParse *p, int status, const char *why)
{
    p->state = PARSE_BAD;
    p->status = status;
    p->why = why;
}

/* RFC 9110 token characters. */
static bool is_token_char(unsigned char c)
{
    if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')) return true;
    return c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_token(Str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!is_token_char((unsigned char)s.p[i])) return false;
    }
    return s.n > 0;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool same_word(Str a, const char *b)
{
    size_t n = strlen(b);
    if (a.n != n) return false;
    for (size_t i = 0; i < n; i++) {
        if (lower(a.p[i]) != lower(b[i])) return false;
    }
    return true;
}

static Str trim_blanks(Str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) s = str_cut(s, 1, s.n);
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) s.n--;
    return s;
}

/* True if the comma-separated list has the word. */
static bool list_has(Str list, const char *word)
{
    size_t from = 0;
    for (size_t i = 0; i <= list.n; i++) {
        if (i < list.n && list.p[i] != ',') continue;
        if (same_word(trim_blanks(str_cut(list, from, i)), word)) return true;
        from = i + 1;
    }
    return false;
}

/* ---- the request line ---- */

/* %XX decoded; false for a broken escape or an encoded NUL. */
static bool decode_path(Buf *out, Str s)
{
    buf_clear(out);
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            if (s.n - i < 3) return false;
            int high = hex_digit(s.p[i + 1]), low = hex_digit(s.p[i + 2]);
            if (high < 0 || low < 0 || (high | low) == 0) return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        buf_char(out, c);
    }
    return true;
}

/* "/path?query", "http://host/path?query" (what proxies send) or "*". */
static bool parse_target(HttpParse *p, Str t)
{
    for (size_t i = 0; i < t.n; i++) {
        if (t.p[i] < 0x21 || t.p[i] > 0x7e || t.p[i] == '#') return false;
    }
    if (str_starts(t, STR("http://")) || str_starts(t, STR("https://"))) {
        size_t slash = str_find(t, STR("/"), 8);
        t = slash == SIZE_MAX ? STR("/") : str_cut(t, slash, t.n);
    }
    if (t.n == 0 || (t.p[0] != '/' && !str_is(t, "*"))) return false;
    size_t question = str_find(t, STR("?"), 0);
    p->query = question == SIZE_MAX ? (Str){ 0 } : str_cut(t, question + 1, t.n);
    return decode_path(&p->path, question == SIZE_MAX ? t : str_cut(t, 0, question));
}

static void parse_request_line(HttpParse *p, Str line)
{
    size_t a = str_find(line, STR(" "), 0);
    size_t b = a == SIZE_MAX ? SIZE_MAX : str_find(line, STR(" "), a + 1);
    if (b == SIZE_MAX) {
        bad(p, 400, "the request line must be: METHOD SP TARGET SP HTTP/1.1");
        return;
    }
    Str method = str_cut(line, 0, a), target = str_cut(line, a + 1, b), version = str_cut(line, b + 1, line.n);
    if (!is_token(method)) {
        bad(p, 400, "the method is not a token");
    } else if (method.n > PARSE_METHOD_MAX) {
        bad(p, 501, "unknown method");
    } else if (target.n > PARSE_TARGET_MAX) {
        bad(p, 414, "the request target is too long");
    } else if (version.n != 8 || !str_starts(version, STR("HTTP/")) || version.p[6] != '.') {
        bad(p, 400, "the request line must end in HTTP/1.1");
    } else if (version.p[5] != '1' || (version.p[7] != '0' && version.p[7] != '1')) {
        bad(p, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    } else if (!parse_target(p, target)) {
        bad(p, 400, "the request target is not a valid path");
    } else {
        memcpy(p->method, method.p, method.n);
        p->method[method.n] = 0;
        p->minor = version.p[7] - '0';
        p->keep_alive = p->minor == 1;
    }
}

/* ---- headers ---- */

static void take_length(HttpParse *p, Str value)
{
    uint64_t n = 0;
    bool fine = value.n > 0 && value.n <= 18 && p->n_length++ == 0;
    for (size_t i = 0; fine && i < value.n; i++) {
        fine = value.p[i] >= '0' && value.p[i] <= '9';
        n = n * 10 + (uint64_t)(value.p[i] - '0');
    }
    if (!fine) {
        bad(p, 400, "Content-Length must be given once, in digits");
        return;
    }
    p->length = n;
}

static void take_header(HttpParse *p, Str name, Str value)
{
    if (same_word(name, "content-length")) {
        take_length(p, value);
    } else if (same_word(name, "transfer-encoding")) {
        if (p->n_coding++ > 0 || !same_word(value, "chunked"))
            bad(p, 400, "the only Transfer-Encoding is chunked, given once");
        p->chunked = true;
    } else if (same_word(name, "host")) {
        if (p->n_host++ > 0) bad(p, 400, "more than one Host header");
    } else if (same_word(name, "connection")) {
        if (list_has(value, "close")) p->keep_alive = false;
        if (p->minor == 0 && list_has(value, "keep-alive")) p->keep_alive = true;
    } else if (same_word(name, "expect")) {
        if (!same_word(value, "100-continue")) bad(p, 417, "the only Expect is 100-continue");
        p->expects_continue = true;
    } else if (same_word(name, "content-type")) {
        p->content_type = value;
    } else if (same_word(name, "authorization")) {
        p->authorization = value;
    } else if (same_word(name, "x-request-id")) {
        p->request_id = value;
    }
}

/* One line without its CRLF. */
static bool split_header(Str line, Str *name, Str *value)
{
    size_t colon = str_find(line, STR(":"), 0);
    if (colon == SIZE_MAX) return false;
    *name = str_cut(line, 0, colon);
    *value = trim_blanks(str_cut(line, colon + 1, line.n));
    if (!is_token(*name)) return false; /* also white space before the colon, and folded lines */
    for (size_t i = 0; i < value->n; i++) {
        unsigned char c = (unsigned char)value->p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) return false;
    }
    return true;
}

/* What the head as a whole says about the body. */
static void finish_head(HttpParse *p)
{
    if (p->chunked && p->n_length > 0) {
        bad(p, 400, "Content-Length and Transfer-Encoding exclude each other");
    } else if (p->chunked && p->minor == 0) {
        bad(p, 400, "HTTP/1.0 has no Transfer-Encoding");
    } else if (p->minor == 1 && p->n_host == 0) {
        bad(p, 400, "the Host header is missing");
    } else if (p->length > p->max_body) {
        bad(p, 413, "the request body is too large");
    } else if (p->chunked) {
        p->state = PARSE_CHUNK_SIZE;
    } else {
        p->left = p->length;
        p->state = p->left > 0 ? PARSE_BODY : PARSE_DONE;
    }
}

static void parse_head(HttpParse *p)
{
    Str rest = buf_view(&p->head);
    int n_lines = 0;
    while (p->state == PARSE_HEAD) {
        size_t end = str_find(rest, STR("\r\n"), 0);
        Str line = str_cut(rest, 0, end), name, value;
        rest = str_cut(rest, end + 2, rest.n);
        if (n_lines == 0) {
            parse_request_line(p, line);
        } else if (line.n == 0) {
            finish_head(p);
        } else if (n_lines > PARSE_HEADERS_MAX) {
            bad(p, 431, "too many headers");
        } else if (split_header(line, &name, &value)) {
            take_header(p, name, value);
        } else {
            bad(p, 400, "a header line is malformed");
        }
        n_lines++;
    }
}

/* Collects the head byte by byte; lines must end in CRLF and CR stands nowhere else. */
static size_t feed_head(HttpParse *p, const char *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        Buf *h = &p->head;
        char c = data[i], before = h->n > 0 ? h->p[h->n - 1] : 0;
        if ((c == '\n') != (before == '\r')) {
            bad(p, 400, "lines must end in CRLF");
            return i;
        }
        if (c == 0) {
            bad(p, 400, "a NUL byte in the head of the request");
            return i;
        }
        if (h->n == PARSE_HEAD_MAX) {
            bad(p, memchr(h->p, '\n', h->n) ? 431 : 414, "the head of the request is too long");
            return i;
        }
        buf_char(h, c);
        if (c != '\n') continue;
        if (h->n == 2) {
            buf_clear(h); /* empty lines before a request are skipped (RFC 9112, 2.2) */
        } else if (h->n >= 4 && h->p[h->n - 3] == '\n') {
            parse_head(p);
            return i + 1;
        }
    }
    return n;
}

/* ---- bodies ---- */

static size_t feed_bytes(HttpParse *p, const char *data, size_t n, ParseState next)
{
    size_t take = (uint64_t)n < p->left ? n : (size_t)p->left;
    buf_add(&p->body, data, take);
    p->left -= take;
    if (p->left == 0) p->state = next;
    return take;
}

/* "1a2b" or "1a2b;extension": hexadecimal digits, and an extension that is looked at by nobody. */
static void parse_chunk_size(HttpParse *p, Str line)
{
    uint64_t size = 0;
    size_t i = 0;
    while (i < line.n && i < 15 && hex_digit(line.p[i]) >= 0) {
        size = size << 4 | (uint64_t)hex_digit(line.p[i]);
        i++;
    }
    size_t extension = i;
    while (extension < line.n && (line.p[extension] == ' ' || line.p[extension] == '\t')) extension++;
    if (i == 0 || (extension < line.n ? line.p[extension] != ';' : extension > i)) {
        bad(p, 400, "a chunk size must be hexadecimal digits");
    } else if (size > p->max_body - p->body.n) {
        bad(p, 413, "the request body is too large");
    } else {
        p->left = size;
        p->state = size > 0 ? PARSE_CHUNK_DATA : PARSE_TRAILER;
    }
}

static void parse_trailer(HttpParse *p, Str line)
{
    Str name, value;
    if (line.n == 0) {
        p->state = PARSE_DONE;
    } else if (!split_header(line, &name, &value)) {
        bad(p, 400, "a trailer line is malformed");
    }
}

/* Collects one line of the chunked coding and gives it, without its CRLF, to whoever the state says. */
static size_t feed_line(HttpParse *p, const char *data, size_t n)
{
    size_t limit = p->state == PARSE_TRAILER ? PARSE_TRAILER_MAX : PARSE_CHUNK_LINE_MAX;
    for (size_t i = 0; i < n; i++) {
        Buf *l = &p->line;
        char c = data[i], before = l->n > 0 ? l->p[l->n - 1] : 0;
        if ((c == '\n') != (before == '\r') || c == 0) {
            bad(p, 400, "lines of the chunked coding must end in CRLF");
            return i;
        }
        if (l->n == limit || (p->state == PARSE_TRAILER && ++p->trailer_bytes > limit)) {
            bad(p, 400, "a line of the chunked coding is too long");
            return i;
        }
        buf_char(l, c);
        if (c != '\n') continue;
        Str line = { l->p, l->n - 2 };
        if (p->state == PARSE_CHUNK_SIZE) {
            parse_chunk_size(p, line);
        } else if (p->state == PARSE_TRAILER) {
            parse_trailer(p, line);
        } else if (line.n > 0) {
            bad(p, 400, "a chunk is longer than its size says");
        } else {
            p->state = PARSE_CHUNK_SIZE;
        }
        buf_clear(l);
        return i + 1;
    }
    return n;
}

size_t http_parse_feed(HttpParse *p, const char *data, size_t n)
{
    size_t used = 0;
    bool in_head = p->state == PARSE_HEAD;
    while (used < n && p->state != PARSE_DONE && p->state != PARSE_BAD) {
        if (in_head && p->state != PARSE_HEAD) break;
        const char *d = data + used;
        size_t m = n - used;
        switch (p->state) {
        case PARSE_HEAD: used += feed_head(p, d, m); break;
        case PARSE_BODY: used += feed_bytes(p, d, m, PARSE_DONE); break;
        case PARSE_CHUNK_DATA: used += feed_bytes(p, d, m, PARSE_CHUNK_END); break;
        case PARSE_CHUNK_SIZE:
        case PARSE_CHUNK_END:
        case PARSE_TRAILER: used += feed_line(p, d, m); break;
        case PARSE_DONE:
        case PARSE_BAD: break;
        }
    }
    return used;
}

size_t http_parse_received(const HttpParse *p)
{
    return p->head.n + p->body.n + p->line.n;
}

/* ---- life ---- */

static void recycle(Buf *b)
{
    if (b->cap > KEEP_BUFFER) {
        buf_free(b);
        *b = (Buf){ 0 };
    }
    buf_clear(b);
}

void http_parse_init(HttpParse *p, size_t max_body)
{
    *p = (HttpParse){ .max_body = max_body };
}

void http_parse_reset(HttpParse *p)
{
    HttpParse fresh = { .max_body = p->max_body };
    recycle(&p->head);
    recycle(&p->body);
    recycle(&p->line);
    recycle(&p->path);
    fresh.head = p->head;
    fresh.body = p->body;
    fresh.line = p->line;
    fresh.path = p->path;
    *p = fresh;
}

void http_parse_done(HttpParse *p)
{
    buf_free(&p->head);
    buf_free(&p->body);
    buf_free(&p->line);
    buf_free(&p->path);
    *p = (HttpParse){ 0 };
}
