/* cpu.c - the CPU backend's door: devices, their memory, and the table of ops.
 *
 * Calls run at once and in order; the pool's workers help inside a call. Nothing here waits, so the only fault of the
 * contract, an asynchronous one, cannot happen. Thread: the device's owner. */
#include "backend/cpu/cpu.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { POS_MAX = 1 << 24, SPLIT_NS = 4000 };

extern const BackendOps backend_cpu;

/* ---- workers ---- */

typedef struct {
    Pool *pool;
    int n, chunk;
    void (*fn)(void *arg, int begin, int end);
    void *arg;
} Split;

static void split_worker(void *arg, int worker, int n_workers)
{
    (void)worker, (void)n_workers;
    Split *s = arg;
    int begin, end;
    while (pool_next(s->pool, 0, s->n, s->chunk, &begin, &end)) s->fn(s->arg, begin, end);
}

void cpu_split(Device *d, int n, size_t cost, void (*fn)(void *arg, int begin, int end), void *arg)
{
    int workers = pool_size(d->pool);
    if (n < 2 || workers < 2 || (size_t)n * cost < SPLIT_NS) {
        if (n > 0) fn(arg, 0, n);
        return;
    }
    Split s = { d->pool, n, MAX(1, n / (workers * 4)), fn, arg };
    pool_share(d->pool, split_worker, &s);
}

/* ---- devices ---- */

static int count(void)
{
    return 1;
}

static Status parse_isa(const char *name, CpuIsa *out, Err *err)
{
    if (!name || strcmp(name, "auto") == 0) {
        *out = linear_isa_best();
        return OK;
    }
    for (int i = 0; i < ISA_COUNT; i++) {
        if (strcmp(name, linear_isa_name((CpuIsa)i)) != 0) continue;
        *out = (CpuIsa)i;
        if (linear_isa_ok(*out)) return OK;
        return fail(err, E_UNSUPPORTED, "this CPU or build has no %s; use auto or plain", name);
    }
    return fail(err, E_INVALID, "unknown instruction set %s; use auto, plain, avx2, avx512, avx512bf16 or amx", name);
}

static Status open_device(const DeviceOptions *o, Device **out, Err *err)
{
    if (o->index != 0) return fail(err, E_NOT_FOUND, "there is one CPU device, index 0, not %d", o->index);
    if (o->threads < 0 || o->threads > 4096) return fail(err, E_INVALID, "threads %d: use 1 to 4096, or 0", o->threads);
    CpuIsa isa = ISA_PLAIN;
    TRY(parse_isa(o->isa, &isa, err));
    Arena *arena = arena_new(0);
    Device *d = ARENA_NEW(arena, Device, 1);
    d->arena = arena;
    d->isa = isa;
    d->simd = simd_find(MIN(isa, ISA_AVX512)); /* what lies above serves products of matrices alone */
    d->memory_limit = o->memory_limit;
    d->pool = pool_new(o->threads ? o->threads : workers_cores());
    d->linear = linear_new(isa, d->pool);
    d->attend = cpu_attend_room(d);
    d->sample = cpu_sample_room(d);
    *out = d;
    return OK;
}

static void close_device(Device *d)
{
    if (!d) return;
    cpu_sample_room_free(d->sample);
    cpu_attend_room_free(d->attend);
    for (int i = 0; i < d->n_rope; i++) mem_unmap(d->rope[i].cos_sin, d->rope[i].size);
    for (KvCache *kv = d->caches; kv; kv = kv->next) mem_unmap(kv->data, kv->size);
    for (Mapping *m = d->mappings; m; m = m->next) mem_unmap(m->p, m->size);
    linear_free(d->linear);
    pool_free(d->pool);
    arena_free(d->arena);
}

/* The value of a "key : value" line of a file below /proc, "" if there is none. */
static void proc_value(const char *path, const char *key, char *out, size_t n)
{
    out[0] = 0;
    FILE *f = fopen(path, "r");
    if (!f) return;
    char line[512];
    while (!out[0] && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) != 0 || !colon) continue;
        Str v = str_trim(str_of(colon + 1));
        snprintf(out, n, "%.*s", STR_FMT(v));
    }
    fclose(f);
}

static void info(Device *d, DeviceInfo *out)
{
    char model[64], available[64];
    proc_value("/proc/cpuinfo", "model name", model, sizeof model);
    proc_value("/proc/meminfo", "MemAvailable", available, sizeof available);
    snprintf(out->name, sizeof out->name, "%s, %s, %d threads", model[0] ? model : "CPU", linear_isa_name(d->isa),
             pool_size(d->pool));
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    out->memory_total = (size_t)sysconf(_SC_PHYS_PAGES) * page;
    size_t kib = strtoul(available, NULL, 10); /* "12345 kB" */
    out->memory_free = kib ? kib * 1024 : (size_t)sysconf(_SC_AVPHYS_PAGES) * page;
    if (d->memory_limit) {
        out->memory_total = MIN(out->memory_total, d->memory_limit);
        out->memory_free = MIN(out->memory_free, d->memory_limit);
    }
}

static bool supports(const Device *d, DType weight)
{
    return linear_supports(d->linear, weight);
}

/* ---- memory ---- */

static Status weight(Device *d, WeightUse use, const WeightBand *bands, int n_bands, Weight **out, Err *err)
{
    return linear_weight(d->linear, use, bands, n_bands, out, err);
}

static void weight_plan(const Device *d, WeightUse use, const WeightBand *bands, int n_bands, WeightPlan *out)
{
    linear_plan(d->linear, use, bands, n_bands, out);
}

static size_t weight_bytes(const Device *d)
{
    return linear_bytes(d->linear);
}

static Status tensor(Device *d, int max_rows, int cols, DType dtype, Tensor *out, Err *err)
{
    if (dtype != DT_F32) return fail(err, E_UNSUPPORTED, "the cpu backend keeps activations in F32");
    if (max_rows < 1 || cols < 1) return fail(err, E_INVALID, "an activation of %d x %d", max_rows, cols);
    int stride = (cols + 15) & ~15; /* rows start on cache lines */
    Mapping *m = ARENA_NEW(d->arena, Mapping, 1);
    m->size = (size_t)max_rows * (size_t)stride * sizeof(float);
    m->p = mem_map(m->size);
    m->next = d->mappings;
    d->mappings = m;
    cpu_attend_reserve(d, max_rows); /* so that no batch that fits the activations needs more room later */
    cpu_sample_reserve(d, max_rows, cols);
    *out = (Tensor){ m->p, max_rows, cols, stride, DT_F32 };
    return OK;
}

static DType kv_dtype(const Device *d, KvShape shape)
{
    if (shape.dtype != DT_NONE) return shape.dtype;
    return d->isa == ISA_PLAIN ? DT_F32 : DT_F16;
}

/* Bytes of a page's keys, or values, of one head; `wide` elements a token. */
static size_t kv_part_bytes(DType dtype, int wide)
{
    if (dtype == DT_I8) return ((size_t)wide + sizeof(float)) * KV_PAGE; /* a scale a token */
    return (size_t)wide * KV_PAGE * (size_t)quant_info(dtype)->block_bytes;
}

static size_t kv_k_bytes(const Device *d, KvShape shape)
{
    DType t = kv_dtype(d, shape);
    return kv_part_bytes(t, t == DT_I8 ? (shape.head_dim + 3) & ~3 : shape.head_dim);
}

static size_t kv_head_bytes(const Device *d, KvShape shape)
{
    return kv_k_bytes(d, shape) + kv_part_bytes(kv_dtype(d, shape), (shape.head_dim + 15) & ~15);
}

static size_t kv_page_bytes(const Device *d, KvShape shape)
{
    return kv_head_bytes(d, shape) * (size_t)shape.n_kv_head * (size_t)shape.n_layer;
}

static Status kv_cache(Device *d, KvShape shape, KvCache **out, Err *err)
{
    shape.dtype = kv_dtype(d, shape);
    if (shape.dtype != DT_F32 && shape.dtype != DT_F16 && shape.dtype != DT_BF16 && shape.dtype != DT_I8)
        return fail(err, E_UNSUPPORTED, "the cpu backend keeps keys and values in F32, F16, BF16 or int8");
    if (shape.n_layer < 1 || shape.n_kv_head < 1 || shape.n_pages < 1)
        return fail(err, E_INVALID, "a KV cache needs layers, heads and pages");
    if (shape.head_dim < 1 || shape.head_dim > ATTN_DIM_MAX)
        return fail(err, E_UNSUPPORTED, "head_dim %d: the cpu backend does 1 to %d", shape.head_dim, ATTN_DIM_MAX);
    KvCache *kv = ARENA_NEW(d->arena, KvCache, 1);
    kv->shape = shape;
    kv->dim_pad = (shape.head_dim + 15) & ~15;
    kv->k_bytes = kv_k_bytes(d, shape);
    kv->head_bytes = kv_head_bytes(d, shape);
    if (!mul_size(kv_page_bytes(d, shape), (size_t)shape.n_pages, &kv->size))
        return fail(err, E_LIMIT, "a KV cache of %d pages is too large", shape.n_pages);
    kv->data = mem_map(kv->size);
    kv->next = d->caches;
    d->caches = kv;
    *out = kv;
    return OK;
}

static Status rope_table(Device *d, const RopeTable *t, int max_pos, int *handle, Err *err)
{
    if (d->n_rope == ROPE_TABLES_MAX) return fail(err, E_LIMIT, "more than %d rope tables", ROPE_TABLES_MAX);
    if (t->rot_dim < 2 || t->rot_dim > ATTN_DIM_MAX || t->rot_dim % 2 || max_pos < 1 || max_pos > POS_MAX)
        return fail(err, E_UNSUPPORTED, "a rope table of %d dimensions and %d positions", t->rot_dim, max_pos);
    CpuRope *r = &d->rope[d->n_rope];
    r->half = t->rot_dim / 2;
    r->inv_freq = arena_copy(d->arena, t->inv_freq, (size_t)r->half * sizeof(float));
    r->max_pos = max_pos;
    r->interleaved = t->interleaved;
    r->mscale = t->mscale;
    r->size = (size_t)max_pos * (size_t)t->rot_dim * sizeof(float);
    r->cos_sin = mem_map(r->size); /* touched only as far as positions come up */
    *handle = d->n_rope++;
    return OK;
}

/* ---- a step ---- */

/* The angle is rounded to f32 before the cosine, as the published models' own code does. */
static void rope_fill(CpuRope *r, int n_pos)
{
    for (int pos = r->n_filled; pos < n_pos; pos++) {
        float *row = r->cos_sin + (size_t)pos * 2 * (size_t)r->half;
        for (int i = 0; i < r->half; i++) {
            double angle = (float)pos * r->inv_freq[i];
            row[i] = (float)(cos(angle) * r->mscale);
            row[r->half + i] = (float)(sin(angle) * r->mscale);
        }
    }
    r->n_filled = MAX(r->n_filled, n_pos);
}

static void forward_begin(Device *d, const DeviceBatch *b)
{
    d->batch = b;
    int last = -1;
    for (int i = 0; i < b->n_tok; i++) last = MAX(last, b->pos[i]);
    for (int i = 0; i < d->n_rope; i++) {
        CHECK(last < d->rope[i].max_pos);
        if (last >= d->rope[i].n_filled) rope_fill(&d->rope[i], MIN((last | 255) + 1, d->rope[i].max_pos));
    }
    cpu_attend_begin(d, b);
}

static void forward_end(Device *d)
{
    (void)d; /* everything has run; the batch stays known, for embed's and gather's callers in tests */
}

static void linear(Device *d, Tensor out, Tensor in, const Weight *w, const Weight *bias, bool add)
{
    LinearIo io = { out.p, in.p, (size_t)out.stride, (size_t)in.stride, in.rows, add };
    linear_run(d->linear, w, bias, &io);
}

static void download(Device *d, void *dst, Tensor src)
{
    (void)d;
    for (int r = 0; r < src.rows; r++) {
        memcpy((float *)dst + (size_t)r * (size_t)src.cols, cpu_row(src, r), (size_t)src.cols * sizeof(float));
    }
}

const BackendOps backend_cpu = {
    .name = "cpu",
    .act = DT_F32,
    .count = count,
    .open = open_device,
    .close = close_device,
    .info = info,
    .supports = supports,
    .weight = weight,
    .weight_plan = weight_plan,
    .tensor = tensor,
    .kv_cache = kv_cache,
    .kv_page_bytes = kv_page_bytes,
    .rope_table = rope_table,
    .weight_bytes = weight_bytes,
    .forward_begin = forward_begin,
    .embed = cpu_embed,
    .norm = cpu_norm,
    .add_norm = cpu_add_norm,
    .add = cpu_add,
    .linear = linear,
    .head_norm = cpu_head_norm,
    .rope = cpu_rope,
    .kv_store = cpu_kv_store,
    .attend = cpu_attend,
    .glu = cpu_glu,
    .gather = cpu_gather,
    .softcap = cpu_softcap,
    .forward_end = forward_end,
    .sample = cpu_sample,
    .sample_wait = cpu_sample_wait,
    .download = download,
    .measure = cpu_measure,
};
