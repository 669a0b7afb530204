/* tok_open.h - what both tokenizer fuzz targets do: open bytes as a tokenizer file, then use it. A refusal is one line; an opened
 * tokenizer encodes anything, and its stream gives the same text as decoding at once. */
#ifndef TESTS_FUZZ_TOK_OPEN_H
#define TESTS_FUZZ_TOK_OPEN_H

#include <stdlib.h>

#include "base/utf8.h"
#include "tok/tok.h"

static inline void fuzz_tok_use(const Tokenizer *t, Str text)
{
    Ids ids = { 0 };
    Buf whole = { 0 }, streamed = { 0 };
    tok_encode(t, text, TOK_SPECIALS | TOK_ADD_BOS, &ids);
    for (size_t i = 0; i < ids.n; i++)
        if (ids.p[i] < 0) abort();
    for (int skip = 0; skip < 2; skip++) {
        TokStream s;
        whole.n = streamed.n = 0;
        tok_decode(t, ids.p, ids.n, skip, &whole);
        tok_stream_init(&s, t, skip);
        for (size_t i = 0; i < ids.n; i++) {
            tok_stream_push(&s, ids.p[i], &streamed);
            if (!utf8_valid(buf_view(&streamed))) abort();
        }
        tok_stream_end(&s, &streamed);
        if (!str_eq(buf_view(&whole), buf_view(&streamed))) abort();
    }
    buf_free(&whole);
    buf_free(&streamed);
    ids_free(&ids);
}

static inline int fuzz_tok_open(const uint8_t *data, size_t n, const char *name)
{
    Tokenizer *t = NULL;
    Err err = { 0 };
    Str bytes = { (const char *)data, n };
    if (tok_open_bytes(bytes, name, &t, &err) != OK) {
        if (err.text[0] == 0 || strchr(err.text, '\n')) abort();
        return 0;
    }
    fuzz_tok_use(t, STR("Hello  world, it's 2024!\n\n <s>\xE4\xB8\xAD\xE6\x96\x87 e\xCC\x81 \xF0\x9F\x98\x80 \xFF\x80 "
                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
    fuzz_tok_use(t, str_cut(bytes, 0, n < 4096 ? n : 4096));
    for (int32_t id = -1; id <= tok_n_vocab(t) && id < 1000; id++) {
        Str piece = tok_piece(t, id);
        if (piece.n && tok_find(t, piece) > tok_n_vocab(t)) abort();
    }
    tok_close(t);
    return 0;
}

#endif
