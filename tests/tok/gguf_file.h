/* gguf_file.h - GGUF files that hold a tokenizer's metadata and no tensors, for tests: filled key by key, then opened. */
#ifndef TESTS_TOK_GGUF_FILE_H
#define TESTS_TOK_GGUF_FILE_H

#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "tok/tok.h"

typedef struct {
    Buf meta;
    uint64_t n;
} GgufFile;

enum { GGUF_U32 = 4, GGUF_I32 = 5, GGUF_F32 = 6, GGUF_STRING = 8, GGUF_ARRAY = 9 };

static inline void gguf_put_str(Buf *b, Str s)
{
    uint64_t n = s.n;
    buf_add(b, &n, 8);
    buf_str(b, s);
}

static inline void gguf_key(GgufFile *f, const char *key, uint32_t type)
{
    gguf_put_str(&f->meta, str_of(key));
    buf_add(&f->meta, &type, 4);
    f->n++;
}

static inline void gguf_text(GgufFile *f, const char *key, const char *text)
{
    gguf_key(f, key, GGUF_STRING);
    gguf_put_str(&f->meta, str_of(text));
}

static inline void gguf_u32(GgufFile *f, const char *key, uint32_t value)
{
    gguf_key(f, key, GGUF_U32);
    buf_add(&f->meta, &value, 4);
}

static inline void gguf_array(GgufFile *f, const char *key, uint32_t elem, uint64_t n)
{
    gguf_key(f, key, GGUF_ARRAY);
    buf_add(&f->meta, &elem, 4);
    buf_add(&f->meta, &n, 8);
}

static inline void gguf_texts(GgufFile *f, const char *key, const char *const *texts, size_t n)
{
    gguf_array(f, key, GGUF_STRING, n);
    for (size_t i = 0; i < n; i++) gguf_put_str(&f->meta, str_of(texts[i]));
}

static inline void gguf_i32s(GgufFile *f, const char *key, const int32_t *values, size_t n)
{
    gguf_array(f, key, GGUF_I32, n);
    buf_add(&f->meta, values, n * sizeof *values);
}

static inline void gguf_f32s(GgufFile *f, const char *key, const float *values, size_t n)
{
    gguf_array(f, key, GGUF_F32, n);
    buf_add(&f->meta, values, n * sizeof *values);
}

/* Opens the file and frees what was put into it; NULL and the text if it is refused. */
static inline Tokenizer *gguf_open(GgufFile *f, Err *err)
{
    char path[] = "/tmp/radish-tok-XXXXXX.gguf";
    int fd = mkstemps(path, 5);
    CHECK(fd >= 0);
    close(fd);
    Buf file = { 0 };
    uint32_t version = 3;
    uint64_t n_tensors = 0;
    buf_str(&file, STR("GGUF"));
    buf_add(&file, &version, 4);
    buf_add(&file, &n_tensors, 8);
    buf_add(&file, &f->n, 8);
    buf_str(&file, buf_view(&f->meta));
    while (file.n % 32) buf_char(&file, 0);
    CHECK(file_write(path, buf_view(&file), NULL) == OK);
    Tokenizer *t = NULL;
    if (tok_open_path(path, &t, err) != OK) t = NULL;
    unlink(path);
    buf_free(&file);
    buf_free(&f->meta);
    *f = (GgufFile){ 0 };
    return t;
}

#endif
