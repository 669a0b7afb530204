/* safetensors.c - reads the weights of a Hugging Face folder: one safetensors file, or several named by an index.
 *
 *   u64 N, N bytes of JSON {"name": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [begin, end]}, ...}, the data
 *
 * The header is read in one pass that keeps a table row per tensor and nothing else. The rules are those of the format's
 * reference: offsets count from the data's start, and sorted by them the tensors fill the data without hole or
 * overlap to the file's last byte. So a file that was cut or padded anywhere is refused. An index's total_size is not
 * looked at; that each tensor lies in the file which the index names is. */
#include <stdlib.h>

#include "base/utf8.h"
#include "load/checkpoint.h"
#include "load/jscan.h"

enum { ROWS_FIRST = 64 };

/* One tensor of a shard as its header describes it. */
typedef struct {
    TensorInfo info;
    int64_t begin, end;
} Row;

typedef struct {
    const char *path;
    const char *name;
    const uint8_t *data; /* where offsets count from */
    size_t n_data;
    Row *rows;
    size_t n, cap;
    size_t first; /* its first tensor's number in the checkpoint */
} Shard;

/* ---- a header entry ---- */

static bool read_shape(Jscan *j, TensorInfo *t)
{
    jscan_open(j, '[');
    t->n_dims = 0;
    for (int i = 0; i < LOAD_DIMS_MAX; i++) t->shape[i] = 1;
    while (jscan_more(j, ']')) {
        int64_t dim;
        if (!jscan_i64(j, &dim)) return false;
        if (t->n_dims < LOAD_DIMS_MAX) t->shape[t->n_dims] = dim;
        t->n_dims++; /* past the maximum: refused by check_row */
        if (t->n_dims > LOAD_DIMS_MAX) break;
    }
    return j->bad == NULL;
}

static bool read_offsets(Jscan *j, Row *r)
{
    int64_t v[2];
    size_t n = 0;
    jscan_open(j, '[');
    while (jscan_more(j, ']')) {
        if (n == COUNT(v)) {
            j->bad = "data_offsets has more than two numbers";
            return false;
        }
        if (!jscan_i64(j, &v[n++])) return false;
    }
    if (j->bad == NULL && n != COUNT(v)) j->bad = "data_offsets needs two numbers";
    if (j->bad != NULL) return false;
    r->begin = v[0];
    r->end = v[1];
    return true;
}

enum { HAS_DTYPE = 1, HAS_SHAPE = 2, HAS_OFFSETS = 4, HAS_ALL = 7 };

static Status read_row(Jscan *j, Row *r, Err *err)
{
    int has = 0;
    Str key, dtype = { "", 0 };
    jscan_open(j, '{');
    while (jscan_more(j, '}') && jscan_key(j, &key)) {
        int what = str_is(key, "dtype")          ? HAS_DTYPE
                   : str_is(key, "shape")        ? HAS_SHAPE
                   : str_is(key, "data_offsets") ? HAS_OFFSETS
                                                 : 0;
        if (has & what) return fail(err, E_CORRUPT, "%s is there twice", load_shown(key).text);
        has |= what;
        if (what == HAS_DTYPE) jscan_str(j, &dtype);
        if (what == HAS_SHAPE && read_shape(j, &r->info) && r->info.n_dims > LOAD_DIMS_MAX) {
            return fail(err, E_UNSUPPORTED, "over %d dimensions", LOAD_DIMS_MAX);
        }
        if (what == HAS_OFFSETS) read_offsets(j, r);
        if (what == 0) jscan_skip(j);
    }
    if (j->bad != NULL) return fail(err, E_CORRUPT, "its header entry is wrong at byte %zu: %s", j->at + 8, j->bad);
    if (has != HAS_ALL) return fail(err, E_CORRUPT, "dtype, shape or data_offsets is missing");
    r->info.dtype = quant_of_name(dtype);
    if (r->info.dtype == DT_NONE || quant_info(r->info.dtype)->block_elems != 1) {
        return fail(err, E_UNSUPPORTED, "dtype %s is not read", load_shown(dtype).text);
    }
    return OK;
}

static Status check_row(Row *r, Err *err)
{
    size_t n = 1;
    for (int i = 0; i < r->info.n_dims; i++) {
        if (!mul_size(n, (size_t)r->info.shape[i], &n))
            return fail(err, E_CORRUPT, "its dimensions multiply past 2^64");
    }
    if (!quant_size(r->info.dtype, n, &r->info.size)) return fail(err, E_CORRUPT, "its size overflows");
    if (r->end < r->begin) return fail(err, E_CORRUPT, "its data ends before it begins");
    if ((uint64_t)(r->end - r->begin) != r->info.size) {
        return fail(err, E_CORRUPT, "%lld bytes of data for a shape that needs %zu", (long long)(r->end - r->begin),
                    r->info.size);
    }
    return OK;
}

/* ---- a shard ---- */

static Row *add_row(Shard *s, Arena *a)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : ROWS_FIRST;
        Row *rows = ARENA_NEW(a, Row, cap);
        if (s->n > 0) memcpy(rows, s->rows, s->n * sizeof *rows);
        s->rows = rows;
        s->cap = cap;
    }
    return &s->rows[s->n++];
}

static Status read_member(Shard *s, Jscan *j, Err *err)
{
    Str name;
    if (!jscan_key(j, &name)) return OK; /* told by read_header */
    if (str_is(name, "__metadata__")) {
        jscan_skip(j);
        return OK;
    }
    if (s->n == LOAD_TENSORS_MAX) return fail(err, E_LIMIT, "over %d tensors", LOAD_TENSORS_MAX);
    if (name.n > LOAD_KEY_MAX) return fail(err, E_LIMIT, "a tensor's name of %zu bytes", name.n);
    Row *r = add_row(s, j->arena);
    r->info.name = name;
    if (read_row(j, r, err) != OK || check_row(r, err) != OK)
        return fail_prefix(err, "tensor %s", load_shown(name).text);
    return OK;
}

static Status read_header(Shard *s, Arena *a, Str text, Err *err)
{
    if (text.n == 0 || text.p[0] != '{')
        return fail(err, E_CORRUPT, "not a safetensors file (its header is no JSON object)");
    if (!utf8_valid(text)) return fail(err, E_CORRUPT, "its header is not UTF-8");
    Jscan j = { .arena = a, .p = text.p, .n = text.n };
    jscan_open(&j, '{');
    while (jscan_more(&j, '}')) TRY(read_member(s, &j, err));
    if (!jscan_end(&j)) return fail(err, E_CORRUPT, "its header is wrong at byte %zu: %s", j.at + 8, j.bad);
    return OK;
}

static int by_offset(const void *a, const void *b)
{
    const Row *x = *(Row *const *)a, *y = *(Row *const *)b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* Sees that the tensors fill the data exactly, and points each at its bytes. */
static Status place_rows(Shard *s, Arena *a, Err *err)
{
    int64_t at = 0;
    Row **order = ARENA_NEW(a, Row *, s->n);
    for (size_t i = 0; i < s->n; i++) order[i] = &s->rows[i];
    if (s->n > 0) qsort(order, s->n, sizeof(Row *), by_offset);
    for (size_t i = 0; i < s->n; i++) {
        Row *r = order[i];
        const char *what = r->begin < at   ? "overlaps the one before it"
                           : r->begin > at ? "leaves a hole before it"
                                           : NULL;
        if (what != NULL) return fail(err, E_CORRUPT, "tensor %s %s", load_shown(r->info.name).text, what);
        if ((uint64_t)r->end > s->n_data) {
            return fail(err, E_CORRUPT, "tensor %s ends past the file (cut short? download it again)",
                        load_shown(r->info.name).text);
        }
        r->info.data = s->data + r->begin;
        at = r->end;
    }
    if ((uint64_t)at != s->n_data)
        return fail(err, E_CORRUPT, "%zu bytes after the last tensor", s->n_data - (size_t)at);
    return OK;
}

static Status read_mapped(Shard *s, Arena *a, FileMap map, Err *err)
{
    uint64_t n;
    /* Only if it cannot be one: the length at the start may look like any other file's first bytes. */
    const char *advice = map.n > 8 && map.p[8] == '{' ? NULL : load_recognise(map.p, map.n);
    if (advice != NULL) return fail(err, E_CORRUPT, "%s", advice);
    if (map.n < 8) return fail(err, E_CORRUPT, "too short for a safetensors file; download it again");
    memcpy(&n, map.p, 8);
    if (n > LOAD_HEADER_MAX) {
        return fail(err, E_CORRUPT, "promises a header of %llu bytes, over the limit of %d", (unsigned long long)n,
                    LOAD_HEADER_MAX);
    }
    if (n > map.n - 8) return fail(err, E_CORRUPT, "ends inside its header; download it again");
    s->data = map.p + 8 + n;
    s->n_data = map.n - 8 - (size_t)n;
    TRY(read_header(s, a, (Str){ (const char *)map.p + 8, (size_t)n }, err));
    return place_rows(s, a, err);
}

static Status read_shard(Checkpoint *c, Shard *s, const char *name, Err *err)
{
    FileMap *map = &c->files[c->n_files];
    s->name = name;
    s->path = file_join(c->arena, c->dir, name);
    if (!file_exists(s->path)) return fail(err, E_NOT_FOUND, "%s: not there; download the missing file", s->path);
    TRY(file_map(s->path, map, err));
    c->n_files++;
    return read_mapped(s, c->arena, *map, err) == OK ? OK : fail_prefix(err, "%s", s->path);
}

/* Makes one table of all shards' tensors. */
static Status join(Checkpoint *c, Shard *shards, size_t n_shards, Err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < n_shards; i++) n += shards[i].n;
    if (n > LOAD_TENSORS_MAX) return fail(err, E_LIMIT, "%s: over %d tensors", c->dir, LOAD_TENSORS_MAX);
    c->tensors = ARENA_NEW(c->arena, TensorInfo, n);
    load_names_init(&c->tensor_names, c->arena, n);
    for (size_t i = 0; i < n_shards; i++) {
        shards[i].first = c->n_tensors;
        for (size_t k = 0; k < shards[i].n; k++) {
            const TensorInfo *t = &shards[i].rows[k].info;
            if (!load_names_put(&c->tensor_names, t->name, c->n_tensors)) {
                return fail(err, E_CORRUPT, "%s: tensor %s is there twice", shards[i].path, load_shown(t->name).text);
            }
            c->tensors[c->n_tensors++] = *t;
        }
    }
    return OK;
}

static Status open_single(Checkpoint *c, const char *name, Err *err)
{
    Shard shard = { 0 };
    c->files = ARENA_NEW(c->arena, FileMap, 1);
    TRY(read_shard(c, &shard, name, err));
    return join(c, &shard, 1, err);
}

/* ---- the index of a sharded checkpoint ---- */

typedef struct {
    Str tensor, file;
    size_t shard;
} Place;

typedef struct {
    Place *places;
    size_t n, cap;
} Index;

static bool safe_name(Str s)
{
    if (s.n == 0 || s.n > 255 || s.p[0] == '.' || !str_ends(s, STR(".safetensors"))) return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '/' || s.p[i] == '\\' || (unsigned char)s.p[i] < ' ') return false;
    }
    return true;
}

static Status read_place(Index *index, Jscan *j, Err *err)
{
    Place p = { 0 };
    if (!jscan_key(j, &p.tensor) || !jscan_str(j, &p.file)) return OK; /* told by read_index */
    if (!safe_name(p.file)) {
        return fail(err, E_CORRUPT, "tensor %s: bad file name %s", load_shown(p.tensor).text, load_shown(p.file).text);
    }
    if (index->n == LOAD_TENSORS_MAX) return fail(err, E_LIMIT, "over %d tensors", LOAD_TENSORS_MAX);
    if (index->n == index->cap) {
        index->cap = index->cap ? index->cap * 2 : ROWS_FIRST;
        Place *places = ARENA_NEW(j->arena, Place, index->cap);
        if (index->n > 0) memcpy(places, index->places, index->n * sizeof *places);
        index->places = places;
    }
    index->places[index->n++] = p;
    return OK;
}

static Status read_index(Index *index, Arena *a, Str text, Err *err)
{
    Str key;
    bool seen = false;
    const char *advice = load_recognise((const uint8_t *)text.p, text.n);
    if (advice != NULL) return fail(err, E_CORRUPT, "%s", advice);
    if (!utf8_valid(text)) return fail(err, E_CORRUPT, "not UTF-8");
    Jscan j = { .arena = a, .p = text.p, .n = text.n };
    jscan_open(&j, '{');
    while (jscan_more(&j, '}') && jscan_key(&j, &key)) {
        if (!str_is(key, "weight_map")) {
            jscan_skip(&j);
            continue;
        }
        if (seen) return fail(err, E_CORRUPT, "weight_map is there twice");
        seen = true;
        jscan_open(&j, '{');
        while (jscan_more(&j, '}')) TRY(read_place(index, &j, err));
    }
    if (!jscan_end(&j)) return fail(err, E_CORRUPT, "wrong at byte %zu: %s", j.at, j.bad);
    if (index->n == 0) return fail(err, E_CORRUPT, "no weight_map, or an empty one");
    return OK;
}

/* Numbers the files in the order in which they are first named; names has room for LOAD_FILES_MAX. */
static Status number_files(Index *index, Arena *a, Str *names, size_t *n_names, Err *err)
{
    NameTable known;
    size_t n = 0;
    load_names_init(&known, a, MIN(index->n, LOAD_FILES_MAX));
    for (size_t i = 0; i < index->n; i++) {
        Place *p = &index->places[i];
        if (load_names_find(&known, p->file, &p->shard)) continue;
        if (n == LOAD_FILES_MAX) return fail(err, E_LIMIT, "over %d files", LOAD_FILES_MAX);
        load_names_put(&known, p->file, n);
        p->shard = n;
        names[n++] = p->file;
    }
    *n_names = n;
    return OK;
}

/* Sees that each tensor of the index is in the file that it names. */
static Status check_places(const Checkpoint *c, const Index *index, const Shard *shards, Err *err)
{
    for (size_t i = 0; i < index->n; i++) {
        const Place *p = &index->places[i];
        const Shard *s = &shards[p->shard];
        size_t at;
        if (!load_names_find(&c->tensor_names, p->tensor, &at) || at < s->first || at >= s->first + s->n) {
            return fail(err, E_CORRUPT, "%s: tensor %s is not in it, though the index says so", s->path,
                        load_shown(p->tensor).text);
        }
    }
    return OK;
}

static Status open_sharded(Checkpoint *c, const char *path, Err *err)
{
    Index index = { 0 };
    FileMap map;
    size_t n = 0;
    if (file_size(path) > LOAD_SIDE_FILE_MAX) return fail(err, E_LIMIT, "%s: over %d bytes", path, LOAD_SIDE_FILE_MAX);
    TRY(file_map(path, &map, err));
    c->files = ARENA_NEW(c->arena, FileMap, LOAD_FILES_MAX + 1);
    c->files[c->n_files++] = map; /* names are borrowed from it */
    Str *names = ARENA_NEW(c->arena, Str, LOAD_FILES_MAX);
    Status s = read_index(&index, c->arena, (Str){ (const char *)map.p, map.n }, err);
    if (s == OK) s = number_files(&index, c->arena, names, &n, err);
    if (s != OK) return fail_prefix(err, "%s", path);
    Shard *shards = ARENA_NEW(c->arena, Shard, n);
    for (size_t i = 0; i < n; i++) TRY(read_shard(c, &shards[i], arena_cstr(c->arena, names[i]), err));
    TRY(join(c, shards, n, err));
    return check_places(c, &index, shards, err);
}

Status safetensors_open(Checkpoint *c, Err *err)
{
    int n;
    const char *index = file_join(c->arena, c->dir, "model.safetensors.index.json");
    if (file_exists(file_join(c->arena, c->dir, "model.safetensors"))) return open_single(c, "model.safetensors", err);
    if (file_exists(index)) return open_sharded(c, index, err);
    const char *only = load_only_file(c->arena, c->dir, ".safetensors", &n);
    if (only != NULL) return open_single(c, only, err);
    if (n > 1)
        return fail(err, E_NOT_FOUND, "%s: several safetensors files but no model.safetensors.index.json; download it",
                    c->dir);
    load_only_file(c->arena, c->dir, ".bin", &n);
    if (n > 0) {
        return fail(err, E_UNSUPPORTED,
                    "%s: pickled weights only (*.bin), which are not read; save the model as safetensors or GGUF",
                    c->dir);
    }
    const char *gguf = load_only_file(c->arena, c->dir, ".gguf", &n);
    if (gguf != NULL)
        return fail(err, E_INVALID, "%s: no safetensors in it; give its GGUF file: %s", c->dir,
                    file_join(c->arena, c->dir, gguf));
    return fail(err, E_NOT_FOUND,
                "%s: no *.safetensors in it; download them, or use --load-format dummy for random weights", c->dir);
}
