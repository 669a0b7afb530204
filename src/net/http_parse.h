/* http_parse.h - bytes to one HTTP/1.1 request, strictly. Internal to net/. */
#ifndef NET_HTTP_PARSE_H
#define NET_HTTP_PARSE_H

#include "base/base.h"

enum {
    PARSE_HEAD_MAX = 32 << 10, /* request line and headers */
    PARSE_TARGET_MAX = 8 << 10,
    PARSE_HEADERS_MAX = 100,
    PARSE_CHUNK_LINE_MAX = 256,
    PARSE_TRAILER_MAX = 4 << 10,
    PARSE_METHOD_MAX = 15
};

typedef enum {
    PARSE_HEAD, /* reading the request line and the headers */
    PARSE_BODY, /* Content-Length bytes */
    PARSE_CHUNK_SIZE,
    PARSE_CHUNK_DATA,
    PARSE_CHUNK_END, /* the CRLF after a chunk's data */
    PARSE_TRAILER,
    PARSE_DONE,
    PARSE_BAD /* status and why say what the answer is */
} ParseState;

/* All slices point into `head` and are valid from the end of the head on, until http_parse_reset. */
typedef struct {
    ParseState state;
    size_t max_body;
    Buf head, body, line; /* line: the chunk size line or trailer being collected */
    uint64_t left;        /* bytes of the body or of this chunk still to come */
    size_t trailer_bytes;
    int status;
    const char *why;
    char method[PARSE_METHOD_MAX + 1];
    Buf path; /* percent-decoded */
    Str query;
    int minor; /* HTTP/1.minor */
    bool keep_alive, expects_continue, chunked;
    uint64_t length; /* of the body if not chunked */
    int n_host, n_length, n_coding;
    Str content_type, authorization, request_id;
} HttpParse;

void http_parse_init(HttpParse *p, size_t max_body);
void http_parse_reset(HttpParse *p); /* ready for the next request on the connection; keeps small buffers */
void http_parse_done(HttpParse *p);
/* Takes bytes until the head ends (so that the caller can look at it), the request ends, or n is used up.
 * Returns how many it took. In PARSE_DONE and PARSE_BAD it takes none. */
size_t http_parse_feed(HttpParse *p, const char *data, size_t n);
/* Bytes that arrived so far, head and body. */
size_t http_parse_received(const HttpParse *p);

#endif
