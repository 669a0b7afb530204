/* gguf.c - reads GGUF files, versions 2 and 3, whole or split into parts.
 *
 *   "GGUF" u32 version  u64 n_tensors  u64 n_meta
 *   n_meta   x { string key, u32 type, value }              string = u64 bytes, then the bytes
 *   n_tensors x { string name, u32 n_dims, u64 dims[], u32 ggml type, u64 offset from the data's start }
 *   padding to general.alignment (32 unless said), then the data
 *
 * One walk checks everything and records where things lie; nothing is copied but the two tables. A count from the file
 * is believed only after the bytes that it needs at least were seen to be there, so memory stays a small multiple of
 * the file. Dimensions are stored fastest first and are turned round here. In a split checkpoint the metadata
 * comes from the first part; the others must agree on split.count and bring the tensors they promise. */
#include <stdio.h>

#include "load/checkpoint.h"

enum { META_TYPES = META_F64 + 1, DIMS_MAX = 4 /* GGUF's own limit */ };

/* The least bytes that a metadata entry and a tensor entry take in a file. */
enum { META_MIN = 8 + 1 + 4 + 1, TENSOR_MIN = 8 + 1 + 4 + 4 + 8 };

/* GGUF's types that quant/ has no format for, so that a refusal can name them. */
static const struct {
    uint32_t id;
    const char *name;
} unread_types[] = {
    { 4, "Q4_2" },     { 5, "Q4_3" },   { 9, "Q8_1" },   { 15, "Q8_K" },  { 16, "IQ2_XXS" }, { 17, "IQ2_XS" },
    { 18, "IQ3_XXS" }, { 19, "IQ1_S" }, { 21, "IQ3_S" }, { 22, "IQ2_S" }, { 29, "IQ1_M" },   { 34, "TQ1_0" },
    { 35, "TQ2_0" },   { 39, "MXFP4" }, { 40, "NVFP4" }, { 41, "Q1_0" },  { 42, "Q2_0" },
};

/* ---- a bounded reader ---- */

typedef struct {
    const uint8_t *p;
    size_t n, at; /* at <= n */
} Cursor;

static size_t left(const Cursor *c)
{
    return c->n - c->at;
}

static bool take(Cursor *c, size_t n, const uint8_t **out)
{
    if (n > left(c)) return false;
    *out = c->p + c->at;
    c->at += n;
    return true;
}

static bool take_u32(Cursor *c, uint32_t *out)
{
    const uint8_t *p;
    if (!take(c, 4, &p)) return false;
    memcpy(out, p, 4);
    return true;
}

static bool take_u64(Cursor *c, uint64_t *out)
{
    const uint8_t *p;
    if (!take(c, 8, &p)) return false;
    memcpy(out, p, 8);
    return true;
}

static bool take_str(Cursor *c, Str *out)
{
    uint64_t n;
    const uint8_t *p;
    if (!take_u64(c, &n) || n > left(c) || !take(c, (size_t)n, &p)) return false;
    *out = (Str){ (const char *)p, (size_t)n };
    return true;
}

/* ---- one part of a checkpoint while it is read ---- */

typedef struct {
    Cursor at;
    uint64_t n_tensors, n_metas;
    Meta *metas;
    TensorInfo *tensors;
    NameTable meta_names;
    size_t alignment;
    size_t split_no, split_count, split_tensors;
} Part;

static Status read_head(Part *part, Err *err)
{
    Cursor *c = &part->at;
    const uint8_t *magic;
    uint32_t version;
    if (!take(c, 4, &magic) || memcmp(magic, "GGUF", 4) != 0) {
        return fail(err, E_CORRUPT, "not a GGUF file (its first bytes are not \"GGUF\")");
    }
    if (!take_u32(c, &version)) return fail(err, E_CORRUPT, "ends inside the header; download it again");
    if (version == 2u << 24 || version == 3u << 24) {
        return fail(err, E_UNSUPPORTED, "big-endian GGUF; convert it with gguf-convert-endian FILE little");
    }
    if (version == 1) return fail(err, E_UNSUPPORTED, "GGUF version 1; convert the model again for version 3");
    if (version != 2 && version != 3) {
        return fail(err, E_UNSUPPORTED, "GGUF version %u; versions 2 and 3 are read", version);
    }
    if (!take_u64(c, &part->n_tensors) || !take_u64(c, &part->n_metas)) {
        return fail(err, E_CORRUPT, "ends inside the header; download it again");
    }
    if (part->n_metas > LOAD_METAS_MAX || part->n_metas > left(c) / META_MIN) {
        return fail(err, E_CORRUPT, "promises %llu metadata keys, more than the file holds or the limit of %d",
                    (unsigned long long)part->n_metas, LOAD_METAS_MAX);
    }
    if (part->n_tensors > LOAD_TENSORS_MAX || part->n_tensors > left(c) / TENSOR_MIN) {
        return fail(err, E_CORRUPT, "promises %llu tensors, more than the file holds or the limit of %d",
                    (unsigned long long)part->n_tensors, LOAD_TENSORS_MAX);
    }
    return OK;
}

/* ---- metadata ---- */

/* Walks over a string value and sees that it is whole. */
static bool skip_string(Cursor *c)
{
    Str s;
    return take_str(c, &s) && s.n <= LOAD_STRING_MAX;
}

static Status read_array(Cursor *c, Meta *m, Err *err)
{
    ShownName key = load_shown(m->key);
    uint32_t elem;
    uint64_t count;
    if (!take_u32(c, &elem) || !take_u64(c, &count)) return fail(err, E_CORRUPT, "ends inside key %s", key.text);
    if (elem >= META_TYPES) return fail(err, E_CORRUPT, "key %s: array of unknown type %u", key.text, elem);
    if (elem == META_ARRAY) return fail(err, E_UNSUPPORTED, "key %s: an array of arrays", key.text);
    size_t least = elem == META_STRING ? 8 : load_meta_size((MetaType)elem);
    if (count > left(c) / least) {
        return fail(err, E_CORRUPT, "key %s: promises %llu elements, more than the file holds", key.text,
                    (unsigned long long)count);
    }
    m->elem = (MetaType)elem;
    m->count = (size_t)count;
    m->data = c->p + c->at;
    if (elem != META_STRING) {
        c->at += m->count * least;
    } else {
        for (size_t i = 0; i < m->count; i++) {
            if (!skip_string(c)) return fail(err, E_CORRUPT, "key %s: string %zu ends past the file", key.text, i);
        }
    }
    return OK;
}

static Status read_meta(Cursor *c, Meta *m, Err *err)
{
    uint32_t type;
    if (!take_str(c, &m->key)) return fail(err, E_CORRUPT, "ends inside a metadata key; download it again");
    ShownName key = load_shown(m->key);
    if (m->key.n == 0 || m->key.n > LOAD_KEY_MAX) {
        return fail(err, E_CORRUPT, "a metadata key of %zu bytes (1 to %d are allowed)", m->key.n, LOAD_KEY_MAX);
    }
    if (!take_u32(c, &type)) return fail(err, E_CORRUPT, "ends inside key %s; download it again", key.text);
    if (type >= META_TYPES) return fail(err, E_CORRUPT, "key %s: unknown type %u", key.text, type);
    m->type = (MetaType)type;
    m->elem = m->type;
    m->count = 1;
    m->data = c->p + c->at;
    if (type == META_ARRAY) {
        TRY(read_array(c, m, err));
    } else if (type == META_STRING) {
        if (!skip_string(c)) return fail(err, E_CORRUPT, "key %s: its string ends past the file", key.text);
    } else if (!take(c, load_meta_size((MetaType)type), &m->data)) {
        return fail(err, E_CORRUPT, "ends inside key %s; download it again", key.text);
    }
    m->size = (size_t)(c->p + c->at - m->data);
    return OK;
}

/* A small whole number under key; otherwise fallback if the key is absent. */
static Status small_number(const Part *part, const char *key, size_t fallback, size_t max, size_t *out, Err *err)
{
    size_t i;
    int64_t v;
    *out = fallback;
    if (!load_names_find(&part->meta_names, str_of(key), &i)) return OK;
    const Meta *m = &part->metas[i];
    if (m->type == META_ARRAY || !load_meta_i64(m, 0, &v)) {
        return fail(err, E_CORRUPT, "key %s: not a whole number", key);
    }
    if (v < 0 || (uint64_t)v > max) {
        return fail(err, E_CORRUPT, "key %s: %lld is not in 0 to %zu", key, (long long)v, max);
    }
    *out = (size_t)v;
    return OK;
}

static Status read_metas(Part *part, Arena *a, Err *err)
{
    part->metas = ARENA_NEW(a, Meta, (size_t)part->n_metas);
    load_names_init(&part->meta_names, a, (size_t)part->n_metas);
    for (size_t i = 0; i < part->n_metas; i++) {
        Meta *m = &part->metas[i];
        TRY(read_meta(&part->at, m, err));
        if (!load_names_put(&part->meta_names, m->key, i)) {
            return fail(err, E_CORRUPT, "key %s is there twice", load_shown(m->key).text);
        }
    }
    TRY(small_number(part, "general.alignment", 32, LOAD_ALIGN_MAX, &part->alignment, err));
    if (part->alignment < 8 || (part->alignment & (part->alignment - 1)) != 0) {
        return fail(err, E_CORRUPT, "key general.alignment: %zu is not a power of two from 8 on", part->alignment);
    }
    TRY(small_number(part, "split.no", 0, LOAD_FILES_MAX - 1, &part->split_no, err));
    TRY(small_number(part, "split.count", 0, LOAD_FILES_MAX, &part->split_count, err));
    return small_number(part, "split.tensors.count", 0, LOAD_TENSORS_MAX, &part->split_tensors, err);
}

/* ---- tensors ---- */

static Status read_type(Cursor *c, TensorInfo *t, Err *err)
{
    uint32_t type;
    if (!take_u32(c, &type)) return fail(err, E_CORRUPT, "the file ends inside its entry");
    t->dtype = quant_of_ggml(type);
    if (t->dtype != DT_NONE) return OK;
    for (size_t i = 0; i < COUNT(unread_types); i++) {
        if (unread_types[i].id != type) continue;
        return fail(err, E_UNSUPPORTED,
                    "format %s is not read; use a Q4_K_M, Q5_K_M, Q6_K, Q8_0 or F16 file of the model",
                    unread_types[i].name);
    }
    return fail(err, E_CORRUPT, "unknown format %u", type);
}

/* Reads dimensions and type; the shape comes out slowest first and the size is checked for overflow. */
static Status read_shape(Cursor *c, TensorInfo *t, Err *err)
{
    uint32_t n_dims;
    size_t n = 1;
    if (!take_u32(c, &n_dims)) return fail(err, E_CORRUPT, "the file ends inside its entry");
    if (n_dims > DIMS_MAX) return fail(err, E_CORRUPT, "%u dimensions; at most %d are allowed", n_dims, DIMS_MAX);
    t->n_dims = (int)n_dims;
    for (int i = 0; i < LOAD_DIMS_MAX; i++) t->shape[i] = 1;
    for (int i = t->n_dims - 1; i >= 0; i--) {
        uint64_t dim;
        if (!take_u64(c, &dim)) return fail(err, E_CORRUPT, "the file ends inside its entry");
        if (dim == 0) return fail(err, E_CORRUPT, "a dimension is 0");
        if (dim > INT64_MAX || !mul_size(n, (size_t)dim, &n) || n > INT64_MAX) {
            return fail(err, E_CORRUPT, "its dimensions multiply past 2^63");
        }
        t->shape[i] = (int64_t)dim;
    }
    TRY(read_type(c, t, err));
    const DTypeInfo *f = quant_info(t->dtype);
    size_t row = t->n_dims > 0 ? (size_t)t->shape[t->n_dims - 1] : 1;
    if (row % (size_t)f->block_elems != 0) {
        return fail(err, E_CORRUPT, "rows of %zu elements are no multiple of %s's block of %d", row, f->name,
                    f->block_elems);
    }
    if (!quant_size(t->dtype, n, &t->size)) return fail(err, E_CORRUPT, "its size overflows");
    return OK;
}

static Status read_entry(Cursor *c, TensorInfo *t, uint64_t *offset, Err *err)
{
    TRY(read_shape(c, t, err));
    if (!take_u64(c, offset)) return fail(err, E_CORRUPT, "the file ends inside its entry");
    return OK;
}

static Status read_name(Cursor *c, Str *name, Err *err)
{
    if (!take_str(c, name)) return fail(err, E_CORRUPT, "ends inside a tensor's name; download it again");
    if (name->n == 0 || name->n > LOAD_NAME_MAX) {
        return fail(err, E_CORRUPT, "a tensor's name of %zu bytes (1 to %d are allowed)", name->n, LOAD_NAME_MAX);
    }
    return OK;
}

/* Puts a tensor at its bytes. end is where the one before it stopped: tensors lie in order and never overlap. */
static Status place(const Part *part, size_t data_start, uint64_t offset, size_t *end, TensorInfo *t, Err *err)
{
    size_t room = part->at.n > data_start ? part->at.n - data_start : 0;
    if (offset % part->alignment != 0) {
        return fail(err, E_CORRUPT, "offset %llu is no multiple of the alignment %zu", (unsigned long long)offset,
                    part->alignment);
    }
    if (offset > room || t->size > room - (size_t)offset) {
        return fail(err, E_CORRUPT,
                    "ends past the file: %zu bytes at %llu, but %zu bytes of data are there; download it again",
                    t->size, (unsigned long long)offset, room);
    }
    if (offset < *end) return fail(err, E_CORRUPT, "overlaps the tensor before it");
    *end = (size_t)offset + t->size;
    t->data = part->at.p + data_start + offset;
    return OK;
}

/* Reads the tensor table, then finds each one's bytes: their start is known only when the table has been read. */
static Status read_tensors(Part *part, Arena *a, Err *err)
{
    size_t data_start, end = 0, n = (size_t)part->n_tensors;
    TensorInfo *out = part->tensors = ARENA_NEW(a, TensorInfo, n);
    uint64_t *offsets = ARENA_NEW(a, uint64_t, n);
    for (size_t i = 0; i < n; i++) {
        TRY(read_name(&part->at, &out[i].name, err));
        if (read_entry(&part->at, &out[i], &offsets[i], err) != OK) {
            return fail_prefix(err, "tensor %s", load_shown(out[i].name).text);
        }
    }
    if (!add_size(part->at.at, part->alignment - 1, &data_start)) return fail(err, E_CORRUPT, "the header overflows");
    data_start &= ~(part->alignment - 1);
    for (size_t i = 0; i < n; i++) {
        if (place(part, data_start, offsets[i], &end, &out[i], err) != OK) {
            return fail_prefix(err, "tensor %s", load_shown(out[i].name).text);
        }
    }
    return OK;
}

/* ---- the parts together ---- */

/* Maps the file as the checkpoint's next one and reads it. */
static Status read_part(Checkpoint *c, const char *path, Part *part, Err *err)
{
    FileMap *map = &c->files[c->n_files];
    TRY(file_map(path, map, err));
    c->n_files++;
    *part = (Part){ .at = { map->p, map->n, 0 } };
    Status s = read_head(part, err);
    if (s == OK) s = read_metas(part, c->arena, err);
    if (s == OK) s = read_tensors(part, c->arena, err);
    return s == OK ? OK : fail_prefix(err, "%s", path);
}

/* The name of part no (from 0) of count: path must end in "-00002-of-00003.gguf" or so. NULL if it does not. */
static char *part_path(Arena *a, const char *path, size_t no, size_t count)
{
    char of[32];
    Str p = str_of(path);
    int n = snprintf(of, sizeof of, "-of-%05zu.gguf", count);
    size_t tail = (size_t)n + 6; /* "-00001" goes before it */
    if (p.n <= tail || !str_ends(p, (Str){ of, (size_t)n }) || p.p[p.n - tail] != '-') return NULL;
    return arena_cstr(a, arena_printf(a, "%.*s-%05zu%s", (int)(p.n - tail), p.p, no + 1, of));
}

/* Sees that part i is what its name says and what the first part promises. */
static Status check_part(const Part *part, const Part *first, size_t i, const char *path, Err *err)
{
    if (part->split_no != i || part->split_count != first->split_count) {
        return fail(err, E_CORRUPT, "%s: says that it is part %zu of %zu, but its name says %zu of %zu", path,
                    part->split_no + 1, part->split_count, i + 1, first->split_count);
    }
    return OK;
}

/* Reads all parts of a split checkpoint, of which probe at path is one. parts is room for all. */
static Status read_split(Checkpoint *c, const char *path, Part *parts, size_t count, Err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const char *name = part_path(c->arena, path, i, count);
        if (name == NULL) {
            return fail(err, E_INVALID,
                        "%s: part of a checkpoint split into %zu, but its name does not end in -00001-of-%05zu.gguf, "
                        "so the other parts cannot be found; give the files their first names back",
                        path, count, count);
        }
        if (!file_exists(name)) {
            return fail(err, E_NOT_FOUND, "%s: part %zu of %zu is missing; put all parts into one folder", name, i + 1,
                        count);
        }
        TRY(read_part(c, name, &parts[i], err));
        TRY(check_part(&parts[i], &parts[0], i, name, err));
        n += (size_t)parts[i].n_tensors;
    }
    if (parts[0].split_tensors != 0 && parts[0].split_tensors != n) {
        return fail(err, E_CORRUPT, "%s: its parts hold %zu tensors, but split.tensors.count says %zu", path, n,
                    parts[0].split_tensors);
    }
    return OK;
}

/* Makes one table of the parts' tensors. */
static Status join(Checkpoint *c, const Part *parts, size_t count, Err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) n += (size_t)parts[i].n_tensors;
    if (n > LOAD_TENSORS_MAX) return fail(err, E_LIMIT, "%s: over %d tensors", c->path, LOAD_TENSORS_MAX);
    c->tensors = count == 1 ? parts[0].tensors : ARENA_NEW(c->arena, TensorInfo, n);
    load_names_init(&c->tensor_names, c->arena, n);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < parts[i].n_tensors; k++) {
            const TensorInfo *t = &parts[i].tensors[k];
            if (!load_names_put(&c->tensor_names, t->name, c->n_tensors)) {
                return fail(err, E_CORRUPT, "%s: tensor %s is there twice", c->path, load_shown(t->name).text);
            }
            c->tensors[c->n_tensors++] = *t;
        }
    }
    c->metas = parts[0].metas;
    c->n_metas = (size_t)parts[0].n_metas;
    c->meta_names = parts[0].meta_names;
    return OK;
}

static void drop_files(Checkpoint *c)
{
    for (size_t i = 0; i < c->n_files; i++) file_unmap(&c->files[i]);
    c->n_files = 0;
}

Status gguf_open(Checkpoint *c, const char *path, Err *err)
{
    Part *parts = ARENA_NEW(c->arena, Part, 1);
    c->kind = LOAD_GGUF;
    c->files = ARENA_NEW(c->arena, FileMap, 1);
    TRY(read_part(c, path, parts, err));
    size_t count = parts[0].split_count;
    if (count > 1) { /* only now is it known how many there are */
        drop_files(c);
        c->files = ARENA_NEW(c->arena, FileMap, count);
        parts = ARENA_NEW(c->arena, Part, count);
        TRY(read_split(c, path, parts, count, err));
    }
    return join(c, parts, count > 1 ? count : 1, err);
}
