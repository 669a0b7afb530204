/* bench_tokenize.c - `radish bench tokenize -m MODEL FILE`: how fast a tokenizer reads a text, one core. Needs no weights. */
#include <stdio.h>

#include "base/file.h"
#include "base/jsonw.h"
#include "cli/bench.h"
#include "tok/tok.h"

enum { RUNS = 5 };

/* Median seconds of RUNS encodings, after one that warms caches of the machine (the tokenizer's own start cold in each call). */
static double encode_s(const Tokenizer *t, Str text, Ids *ids)
{
    double s[RUNS];
    tok_encode(t, text, 0, ids);
    for (int i = 0; i < RUNS; i++) {
        ids->n = 0;
        int64_t began = clock_ns();
        tok_encode(t, text, 0, ids);
        s[i] = (double)(clock_ns() - began) / 1e9;
    }
    return bench_median(s, RUNS);
}

static double decode_s(const Tokenizer *t, const Ids *ids, Buf *text)
{
    double s[RUNS];
    for (int i = 0; i < RUNS; i++) {
        buf_clear(text);
        int64_t began = clock_ns();
        tok_decode(t, ids->p, ids->n, false, text);
        s[i] = (double)(clock_ns() - began) / 1e9;
    }
    return bench_median(s, RUNS);
}

int bench_tokenize(const Options *o)
{
    const char *path = o->radish.tokenizer_path ? o->radish.tokenizer_path : o->radish.model_path;
    if (!path || o->n_args < 2) {
        fprintf(stderr, "radish: usage: radish bench tokenize -m MODEL FILE\n");
        return 1;
    }
    Err err;
    Tokenizer *t;
    FileMap f;
    int64_t began = clock_ns();
    Status status = tok_open_path(path, &t, &err);
    double open_s = (double)(clock_ns() - began) / 1e9;
    if (status == OK && file_map(o->arg[1], &f, &err) != OK) {
        tok_close(t);
        status = E_IO;
    }
    if (status != OK) {
        fprintf(stderr, "radish: %s\n", err.text);
        return 1;
    }
    Ids ids = { 0 };
    Buf text = { 0 }, json = { 0 };
    Str in = { (const char *)f.p, f.n };
    double e = encode_s(t, in, &ids), d = decode_s(t, &ids, &text), mb = (double)in.n / 1e6;
    printf("%d tokens of vocabulary, opened in %.1f ms; %.2f MB are %zu tokens\nencode %.1f MB/s, %.1f M tokens/s; "
           "decode %.1f MB/s\n",
           tok_n_vocab(t), open_s * 1e3, mb, ids.n, mb / e, (double)ids.n / e / 1e6, mb / d);
    buf_printf(&json, "{\"bytes\":%zu,\"tokens\":%zu,\"open_ms\":%.3f,\"encode_mb_s\":%.2f,\"decode_mb_s\":%.2f}\n",
               in.n, ids.n, open_s * 1e3, mb / e, mb / d);
    bool good = bench_write_json(o->json, &json);
    ids_free(&ids);
    buf_free(&text);
    buf_free(&json);
    file_unmap(&f);
    tok_close(t);
    return good ? 0 : 1;
}
