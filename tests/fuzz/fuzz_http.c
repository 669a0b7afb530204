/* fuzz_http.c - requests as bytes: however they are cut, the outcome is the same, and no limit is passed. The first byte of
 * the input seeds the cuts. */
#include "net/http_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MAX_BODY = 4096 };

static size_t feed_all(HttpParse *p, const char *data, size_t n, Rng *cuts)
{
    size_t used = 0;
    while (used < n && p->state != PARSE_DONE && p->state != PARSE_BAD) {
        size_t part = n - used;
        size_t cut = cuts ? 1 + rng_below(cuts, 7) : part;
        part = MIN(part, cut);
        size_t k = http_parse_feed(p, data + used, part);
        CHECK(k <= part);
        if (k == 0) CHECK(p->state == PARSE_BAD);
        used += k;
        CHECK(p->head.n <= PARSE_HEAD_MAX && p->body.n <= MAX_BODY && p->line.n <= PARSE_TRAILER_MAX);
    }
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0) return 0;
    HttpParse a, b;
    Rng cuts = { data[0] };
    http_parse_init(&a, MAX_BODY);
    http_parse_init(&b, MAX_BODY);
    for (size_t from = 1; from < n;) { /* several requests on a connection */
        size_t used = feed_all(&a, (const char *)data + from, n - from, NULL);
        CHECK(feed_all(&b, (const char *)data + from, n - from, &cuts) == used);
        CHECK(a.state == b.state && a.status == b.status);
        if (a.state != PARSE_DONE) break;
        CHECK(str_eq(buf_view(&a.body), buf_view(&b.body)) && str_eq(buf_view(&a.path), buf_view(&b.path)));
        CHECK(a.keep_alive == b.keep_alive && str_eq(a.authorization, b.authorization));
        from += used;
        http_parse_reset(&a);
        http_parse_reset(&b);
    }
    http_parse_done(&a);
    http_parse_done(&b);
    return 0;
}
