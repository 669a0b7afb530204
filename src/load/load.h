/* load.h - opens a checkpoint and answers what is in it: named, shaped, typed, borrowed bytes.
 *
 * A checkpoint is a GGUF file (its split siblings found by name), or a Hugging Face folder with
 * config.json and safetensors (one file or a sharded index). Files are memory-mapped; nothing is copied,
 * so data stays valid until load_close. Every size and offset was checked against the file before load_open returns.
 * Hostile input gives a failure that names file, tensor or key; never a crash or an allocation larger than a small
 * multiple of the file. Thread: any one at a time; read-only after open, so then all. */
#ifndef LOAD_LOAD_H
#define LOAD_LOAD_H

#include "quant/quant.h"

typedef struct Checkpoint Checkpoint;

typedef enum { LOAD_GGUF, LOAD_HF } LoadKind;

enum { LOAD_DIMS_MAX = 5 }; /* a video model's patch embedding has five; language models stay within three */

typedef struct {
    Str name;
    DType dtype;
    int n_dims; /* 0 (scalar) to LOAD_DIMS_MAX */
    int64_t shape
        [LOAD_DIMS_MAX]; /* row-major, slowest first, as in Hugging Face; GGUF's order is turned round. Unused: 1 */
    const uint8_t *data; /* borrowed; no alignment promised. NULL in a dummy checkpoint */
    size_t size;         /* bytes */
} TensorInfo;

typedef struct {
    bool dummy; /* --load-format dummy: read config.json alone; there are no tensors (path: folder or the json file) */
} LoadOptions;

Status load_open(const char *path, LoadOptions options, Checkpoint **out, Err *err);
void load_close(Checkpoint *c); /* NULL is fine */

LoadKind load_kind(const Checkpoint *c);
bool load_is_dummy(const Checkpoint *c);
const char *load_path(const Checkpoint *c);
size_t load_n_tensors(const Checkpoint *c);
const TensorInfo *load_tensor(const Checkpoint *c, size_t i);       /* in file order */
const TensorInfo *load_find(const Checkpoint *c, const char *name); /* NULL: not there */

/* ---- GGUF metadata (kind LOAD_GGUF; elsewhere always NULL or false) ---- */

typedef enum {
    META_U8,
    META_I8,
    META_U16,
    META_I16,
    META_U32,
    META_I32,
    META_F32,
    META_BOOL,
    META_STRING,
    META_ARRAY,
    META_U64,
    META_I64,
    META_F64 /* GGUF's own numbering */
} MetaType;

typedef struct {
    Str key;
    MetaType type;       /* of the value, or META_ARRAY */
    MetaType elem;       /* of an array's elements */
    size_t count;        /* 1, or an array's length */
    const uint8_t *data; /* the raw little-endian value, unaligned; strings are u64 length + bytes */
    size_t size;         /* bytes of it all */
} Meta;

size_t load_n_meta(const Checkpoint *c);
const Meta *load_meta(const Checkpoint *c, size_t i);
const Meta *load_meta_find(const Checkpoint *c, const char *key);
/* A scalar (i = 0) or element i of an array; any integer type is accepted where it fits, as f64 too.
 * False: m is NULL, i is past the end, or another type. */
bool load_meta_i64(const Meta *m, size_t i, int64_t *out);
bool load_meta_f64(const Meta *m, size_t i, double *out);
bool load_meta_bool(const Meta *m, size_t i, bool *out);
bool load_meta_str(const Meta *m, size_t i, Str *out); /* O(1) for scalars; arrays of strings: use the iterator */
/* Walks an array of strings (or the one string): *pos starts at 0, then is the walk's own; false at the end. */
bool load_meta_next_str(const Meta *m, size_t *pos, Str *out);

/* ---- Hugging Face side files (kind LOAD_HF) ---- */

/* Text of a file in the checkpoint's folder ("config.json", "tokenizer.json", "chat_template.jinja", ...), borrowed
 * until load_close; an empty Str with p == NULL when there is none. Names with a slash are refused. */
Str load_side_file(Checkpoint *c, const char *name);

#endif
