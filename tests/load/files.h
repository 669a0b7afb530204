/* files.h - what the tests of load/ share: a temporary folder, files in it, and the bytes of GGUF and safetensors files piece
 * by piece, so that a test can get each piece wrong. */
#ifndef TESTS_LOAD_FILES_H
#define TESTS_LOAD_FILES_H

/* clang-format off */
#include "base/file.h"
#include "load/load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h> /* its macros spoil declarations that come after it */
/* clang-format on */

/* ---- files ---- */

static inline char *files_new(Arena *a)
{
    char *dir = arena_cstr(a, STR("/tmp/radish-load-XXXXXX"));
    assert_non_null(mkdtemp(dir));
    return dir;
}

static inline void files_free(const char *dir)
{
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

/* Writes dir/name and gives its path. */
static inline const char *files_put(Arena *a, const char *dir, const char *name, Str content)
{
    const char *path = file_join(a, dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(content.n ? content.p : "", 1, content.n, f), content.n);
    assert_int_equal(fclose(f), 0);
    return path;
}

/* Opens what must open. */
static inline Checkpoint *files_open(const char *path)
{
    Err err = { 0 };
    Checkpoint *c;
    if (load_open(path, (LoadOptions){ 0 }, &c, &err) != OK) fail_msg("%s", err.text);
    return c;
}

/* Opens what must be refused with a line that names a path and says `why`. */
static inline void files_refused(const char *path, LoadOptions options, Status status, const char *why)
{
    Err err = { 0 };
    Checkpoint *c;
    Status s = load_open(path, options, &c, &err);
    if (s == OK) fail_msg("%s was read; expected: %s", path, why);
    if (s != status || strstr(err.text, why) == NULL || strchr(err.text, '\n') != NULL ||
        strchr(err.text, ':') == NULL) {
        fail_msg("status %d, \"%s\"; expected status %d and: %s", (int)s, err.text, (int)status, why);
    }
    assert_null(c);
}

/* Reads every byte that a checkpoint lends, so that a sanitizer sees each. Returns their sum. */
static inline uint64_t files_touch(Checkpoint *c)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < load_n_tensors(c); i++) {
        const TensorInfo *t = load_tensor(c, i);
        for (size_t k = 0; k < t->size; k++) sum += t->data[k];
        for (size_t k = 0; k < t->name.n; k++) sum += (uint8_t)t->name.p[k];
    }
    for (size_t i = 0; i < load_n_meta(c); i++) {
        const Meta *m = load_meta(c, i);
        Str s;
        double x;
        for (size_t k = 0; k < m->size; k++) sum += m->data[k];
        for (size_t pos = 0; load_meta_next_str(m, &pos, &s);) sum += s.n ? (uint8_t)s.p[s.n - 1] : 0;
        for (size_t k = 0; k < m->count && load_meta_f64(m, k, &x); k++) sum++;
    }
    return sum;
}

/* ---- GGUF pieces ---- */

static inline void put_u32(Buf *b, uint32_t v)
{
    buf_add(b, &v, 4);
}

static inline void put_u64(Buf *b, uint64_t v)
{
    buf_add(b, &v, 8);
}

static inline void put_str(Buf *b, const char *s)
{
    put_u64(b, strlen(s));
    buf_str(b, str_of(s));
}

static inline void gguf_head(Buf *b, uint32_t version, uint64_t n_tensors, uint64_t n_metas)
{
    buf_str(b, STR("GGUF"));
    put_u32(b, version);
    put_u64(b, n_tensors);
    put_u64(b, n_metas);
}

static inline void gguf_key(Buf *b, const char *key, uint32_t type)
{
    put_str(b, key);
    put_u32(b, type);
}

static inline void gguf_meta(Buf *b, const char *key, uint32_t type, const void *value, size_t n)
{
    gguf_key(b, key, type);
    buf_add(b, value, n);
}

static inline void gguf_u32(Buf *b, const char *key, uint32_t v)
{
    gguf_meta(b, key, META_U32, &v, 4);
}

static inline void gguf_array(Buf *b, const char *key, uint32_t elem, uint64_t count)
{
    gguf_key(b, key, META_ARRAY);
    put_u32(b, elem);
    put_u64(b, count);
}

/* A tensor of up to two dimensions, GGUF's order; a zero ends them. */
static inline void gguf_tensor(Buf *b, const char *name, uint64_t fast, uint64_t slow, uint32_t type, uint64_t offset)
{
    put_str(b, name);
    put_u32(b, slow ? 2 : 1);
    put_u64(b, fast);
    if (slow) put_u64(b, slow);
    put_u32(b, type);
    put_u64(b, offset);
}

static inline void put_pad(Buf *b, size_t alignment)
{
    while (b->n % alignment) buf_char(b, 0);
}

static inline void put_bytes(Buf *b, size_t n)
{
    for (size_t i = 0; i < n; i++) buf_char(b, (char)(i * 7 + 1));
}

/* ---- safetensors ---- */

/* A file with this header and n bytes of data. */
static inline void safetensors_file(Buf *b, Str header, size_t n)
{
    put_u64(b, header.n);
    buf_str(b, header);
    put_bytes(b, n);
}

#endif
