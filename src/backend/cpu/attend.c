/* attend.c - attention over the paged KV cache: how the work is cut, and the definition of its inner part.
 *
 *   tile    a few queries of one sequence x the query heads that share one kv head: at most ATTN_ROWS rows, which read
 *           each key and value once for all of them. In decode a tile is one query.
 *   block   ATTN_BLOCK tokens, aligned to absolute positions. simd->attend() computes one tile against one block: its own
 *           maximum, sum and weighted values, from nothing.
 *   merge   the blocks of a row are merged in rising order, each step rescaling to the larger maximum.
 *
 * A row's result is therefore the same sequence of operations whatever else is in the batch, however the prompt was cut
 * into chunks, and however many threads there are: blocks depend on absolute positions, merging on their order alone.
 * When there are many tiles, a worker walks a tile's blocks and merges as it goes. When there are few (decode of one long
 * sequence), blocks are handed out one by one and merged afterwards, in the same order: the same bits.
 * Thread: the device's owner; the pool's workers inside. */
#include <math.h>

#include "backend/cpu/cpu.h"

enum {
    PART_STRIDE_MAX = ATTN_DIM_MAX + 16, /* floats of a row's partial result: values, then maximum and sum */
    SPLIT_PER_WORKER = 4,                /* with fewer tiles than this a worker, blocks are handed out instead */
    SPLIT_TILES_MAX = 256,
    SPLIT_ROOM = 32 << 20 /* bytes for partial results; beyond that tiles stay whole, with the same result */
};

/* What one worker needs for one tile. */
typedef struct {
    float q[ATTN_ROWS * ATTN_DIM_MAX];
    float score[ATTN_ROWS * ATTN_BLOCK];
    float part[ATTN_ROWS * PART_STRIDE_MAX];
    float total[ATTN_ROWS * PART_STRIDE_MAX];
    AttnBlock block;
} Bench;

struct AttendRoom {
    Bench *bench; /* [workers] */
    size_t bench_size;
    char *split;     /* SPLIT_ROOM */
    int *tile_start; /* [max_seq + 1] */
    int max_seq;
};

AttendRoom *cpu_attend_room(Device *d)
{
    AttendRoom *r = ARENA_NEW(d->arena, AttendRoom, 1);
    r->bench_size = (size_t)pool_size(d->pool) * sizeof(Bench);
    r->bench = mem_map(r->bench_size);
    r->split = mem_map(SPLIT_ROOM);
    return r;
}

void cpu_attend_room_free(AttendRoom *r)
{
    mem_unmap(r->bench, r->bench_size);
    mem_unmap(r->split, SPLIT_ROOM);
    mem_free(r->tile_start);
}

void cpu_attend_reserve(Device *d, int n_seq)
{
    AttendRoom *r = d->attend;
    if (n_seq <= r->max_seq) return;
    r->max_seq = n_seq;
    r->tile_start = mem_grow(r->tile_start, ((size_t)n_seq + 1) * sizeof(int));
}

/* ---- definitions ---- */

static float kv_get(const void *p, DType dtype, int i)
{
    if (dtype == DT_F32) return ((const float *)p)[i];
    uint16_t h = ((const uint16_t *)p)[i];
    return dtype == DT_F16 ? f16_to_f32(h) : bf16_to_f32(h);
}

static void kv_put(void *p, DType dtype, int i, float x)
{
    if (dtype == DT_F32)
        ((float *)p)[i] = x;
    else if (dtype == DT_F16)
        ((uint16_t *)p)[i] = f32_to_f16(x > 65504 ? 65504 : x < -65504 ? -65504 : x);
    else
        ((uint16_t *)p)[i] = f32_to_bf16(x);
}

void plain_kv_store(void *k_page, void *v_page, const float *k, const float *v, int dim, int slot, DType dtype)
{
    int dim_pad = (dim + 15) & ~15;
    for (int i = 0; i < dim; i++) {
        kv_put(k_page, dtype, i * KV_PAGE + slot, k[i]);
        kv_put(v_page, dtype, slot * dim_pad + i, v[i]);
    }
    for (int i = dim; i < dim_pad; i++) kv_put(v_page, dtype, slot * dim_pad + i, 0);
}

void plain_attend(AttnBlock *b)
{
    for (int r = 0; r < b->n_rows; r++) {
        const float *q = b->q + r * b->dim_pad;
        float *score = b->score + r * ATTN_BLOCK, max = -INFINITY;
        for (int t = b->from[r]; t < b->to[r]; t++) {
            double s = 0;
            for (int i = 0; i < b->dim; i++) {
                s += (double)q[i] * kv_get(b->k[t / KV_PAGE], b->dtype, i * KV_PAGE + t % KV_PAGE);
            }
            score[t] = b->softcap > 0 ? (float)(b->softcap * tanh(s / b->softcap)) : (float)s;
            max = score[t] > max ? score[t] : max;
        }
        double acc[ATTN_DIM_MAX] = { 0 }, sum = 0;
        for (int t = b->from[r]; t < b->to[r]; t++) {
            double p = exp(score[t] - max);
            sum += p;
            for (int i = 0; i < b->dim; i++) {
                acc[i] += p * kv_get(b->v[t / KV_PAGE], b->dtype, t % KV_PAGE * b->dim_pad + i);
            }
        }
        for (int i = 0; i < b->dim_pad; i++) b->acc[r][i] = (float)acc[i];
        b->max[r] = max;
        b->sum[r] = (float)sum;
    }
}

/* ---- one call ---- */

typedef struct {
    Device *d;
    const DeviceBatch *b;
    const AttnParams *p;
    const float *sinks;
    const KvCache *kv;
    int layer;
    Tensor qkv, out;
    int group;    /* query heads of a kv head */
    int n_sub;    /* tiles across a group: 1 unless the group is larger than ATTN_ROWS */
    int sub;      /* query heads of a tile at most */
    int n_query;  /* queries of a tile at most */
    int n_column; /* kv heads x n_sub: tiles across the heads */
    int n_tile, part_stride;
    bool split;
    int unit_start[SPLIT_TILES_MAX + 1]; /* when split: first block of each tile */
} Attend;

typedef struct {
    int seq, row, n_query; /* queries are rows [row, row + n_query) of the batch */
    int kv_head, head, n_head;
    int first_pos, first_block, n_block;
} Tile;

/* Tiles are numbered column by column inside a span of queries, spans by sequence. */
static Tile find_tile(const Attend *a, int index)
{
    const int *start = a->d->attend->tile_start;
    int lo = 0, hi = a->b->n_seq, span = index / a->n_column, column = index % a->n_column;
    while (hi - lo > 1) {
        int mid = (lo + hi) / 2;
        if (start[mid] <= span)
            lo = mid;
        else
            hi = mid;
    }
    Tile t = { .seq = lo, .kv_head = column / a->n_sub };
    t.row = a->b->seq_start[lo] + (span - start[lo]) * a->n_query;
    t.n_query = MIN(a->n_query, a->b->seq_start[lo + 1] - t.row);
    int skip = column % a->n_sub * a->sub;
    t.head = t.kv_head * a->group + skip;
    t.n_head = MIN(a->sub, a->group - skip);
    t.first_pos = a->b->pos[t.row];
    int first = a->p->window > 0 ? MAX(0, t.first_pos - a->p->window + 1) : 0;
    t.first_block = first / ATTN_BLOCK;
    t.n_block = (t.first_pos + t.n_query - 1) / ATTN_BLOCK + 1 - t.first_block;
    return t;
}

static void load_queries(const Attend *a, const Tile *t, float *q)
{
    int dim = a->p->head_dim, dim_pad = a->kv->dim_pad;
    for (int i = 0; i < t->n_query; i++) {
        const float *from = cpu_row(a->qkv, t->row + i) + t->head * dim;
        for (int h = 0; h < t->n_head; h++, q += dim_pad, from += dim) {
            for (int c = 0; c < dim; c++) q[c] = from[c] * a->p->scale;
            for (int c = dim; c < dim_pad; c++) q[c] = 0;
        }
    }
}

/* One tile against block `index` of its sequence; the partial results of its rows go to part, part_stride apart. */
static void run_block(const Attend *a, const Tile *t, int index, Bench *w, float *part)
{
    AttnBlock *b = &w->block;
    int begin = index * ATTN_BLOCK, last = t->first_pos + t->n_query - 1;
    const int32_t *pages = a->b->pages + (size_t)t->seq * (size_t)a->b->max_pages + index * ATTN_PAGES;
    b->n_rows = t->n_query * t->n_head;
    b->n_pages = MIN(ATTN_PAGES, (last - begin) / KV_PAGE + 1);
    b->dim = a->p->head_dim;
    b->dim_pad = a->kv->dim_pad;
    b->dtype = a->kv->shape.dtype;
    b->softcap = a->p->softcap;
    b->q = w->q;
    b->score = w->score;
    int seen_from = ATTN_BLOCK;
    for (int r = 0; r < b->n_rows; r++) {
        int pos = t->first_pos + r / t->n_head;
        int from = a->p->window > 0 ? MAX(0, pos - a->p->window + 1 - begin) : 0;
        b->to[r] = MAX(0, MIN(ATTN_BLOCK, pos + 1 - begin));
        b->from[r] = MIN(from, b->to[r]);
        seen_from = MIN(seen_from, b->from[r]);
        b->acc[r] = part + r * a->part_stride;
    }
    for (int i = 0; i < b->n_pages; i++) { /* pages that have slid out of the window may be gone: never look them up */
        int page = pages[MAX(i, MIN(seen_from / KV_PAGE, b->n_pages - 1))];
        char *k = cpu_kv_at(a->kv, a->layer, page, t->kv_head);
        b->k[i] = k;
        b->v[i] = cpu_kv_v(a->kv, k);
    }
    a->d->simd->attend(b);
    for (int r = 0; r < b->n_rows; r++) {
        b->acc[r][b->dim_pad] = b->max[r];
        b->acc[r][b->dim_pad + 1] = b->sum[r];
    }
}

/* total and part: dim values, then maximum and sum. An empty part has sum 0. */
static void merge(float *total, const float *part, int dim)
{
    float *max = &total[dim], *sum = &total[dim + 1];
    if (part[dim + 1] == 0) return;
    if (*sum == 0) {
        memcpy(total, part, ((size_t)dim + 2) * sizeof(float));
        return;
    }
    float top = part[dim] > *max ? part[dim] : *max;
    float old = expf(*max - top), new = expf(part[dim] - top);
    for (int i = 0; i < dim; i++) total[i] = total[i] * old + part[i] * new;
    *sum = *sum * old + part[dim + 1] * new;
    *max = top;
}

static void finish(const Attend *a, const Tile *t, const float *total)
{
    int dim = a->p->head_dim, dim_pad = a->kv->dim_pad;
    for (int i = 0; i < t->n_query; i++) {
        float *out = cpu_row(a->out, t->row + i) + t->head * dim;
        for (int h = 0; h < t->n_head; h++, total += a->part_stride, out += dim) {
            float sum = total[dim_pad + 1];
            if (a->sinks) sum += expf(a->sinks[t->head + h] - total[dim_pad]);
            float by = 1 / sum;
            for (int c = 0; c < dim; c++) out[c] = total[c] * by;
        }
    }
}

/* ---- workers ---- */

static void clear_total(const Attend *a, const Tile *t, float *total)
{
    for (int r = 0; r < t->n_query * t->n_head; r++) total[r * a->part_stride + a->kv->dim_pad + 1] = 0;
}

static void merge_rows(const Attend *a, const Tile *t, float *total, const float *part)
{
    for (int r = 0; r < t->n_query * t->n_head; r++) {
        merge(total + r * a->part_stride, part + r * a->part_stride, a->kv->dim_pad);
    }
}

static void whole_tile(const Attend *a, int index, Bench *w)
{
    Tile t = find_tile(a, index);
    load_queries(a, &t, w->q);
    if (t.n_block == 1) {
        run_block(a, &t, t.first_block, w, w->total);
    } else {
        clear_total(a, &t, w->total);
        for (int i = 0; i < t.n_block; i++) {
            run_block(a, &t, t.first_block + i, w, w->part);
            merge_rows(a, &t, w->total, w->part);
        }
    }
    finish(a, &t, w->total);
}

static float *split_part(const Attend *a, int unit)
{
    return (float *)a->d->attend->split + (size_t)unit * ATTN_ROWS * (size_t)a->part_stride;
}

static void split_unit(const Attend *a, int unit, Bench *w)
{
    int tile = 0;
    while (a->unit_start[tile + 1] <= unit) tile++;
    Tile t = find_tile(a, tile);
    load_queries(a, &t, w->q);
    run_block(a, &t, t.first_block + unit - a->unit_start[tile], w, split_part(a, unit));
}

static void split_merge(const Attend *a, int tile, Bench *w)
{
    Tile t = find_tile(a, tile);
    clear_total(a, &t, w->total);
    for (int u = a->unit_start[tile]; u < a->unit_start[tile + 1]; u++) merge_rows(a, &t, w->total, split_part(a, u));
    finish(a, &t, w->total);
}

/* The last tiles of a prompt see the most, so they are handed out first. */
static void tile_worker(void *arg, int worker, int n_workers)
{
    (void)n_workers;
    const Attend *a = arg;
    int at, end;
    while (pool_next(a->d->pool, 0, a->n_tile, 1, &at, &end)) {
        whole_tile(a, a->n_tile - 1 - at, &a->d->attend->bench[worker]);
    }
}

static void unit_worker(void *arg, int worker, int n_workers)
{
    (void)n_workers;
    const Attend *a = arg;
    int at, end;
    while (pool_next(a->d->pool, 0, a->unit_start[a->n_tile], 1, &at, &end)) {
        split_unit(a, at, &a->d->attend->bench[worker]);
    }
}

/* ---- ops ---- */

static void cut(Attend *a)
{
    int *start = a->d->attend->tile_start, workers = pool_size(a->d->pool);
    a->group = a->p->n_head / a->p->n_kv_head;
    a->n_sub = (a->group + ATTN_ROWS - 1) / ATTN_ROWS;
    a->sub = (a->group + a->n_sub - 1) / a->n_sub;
    a->n_query = MAX(1, ATTN_ROWS / a->sub);
    a->n_column = a->p->n_kv_head * a->n_sub;
    start[0] = 0;
    for (int s = 0; s < a->b->n_seq; s++) {
        int n = a->b->seq_start[s + 1] - a->b->seq_start[s];
        start[s + 1] = start[s] + (n + a->n_query - 1) / a->n_query;
    }
    a->n_tile = start[a->b->n_seq] * a->n_column;
    a->part_stride = a->kv->dim_pad + 16;
    if (workers == 1 || a->n_tile >= SPLIT_PER_WORKER * workers || a->n_tile > SPLIT_TILES_MAX) return;
    a->unit_start[0] = 0;
    for (int i = 0; i < a->n_tile; i++) a->unit_start[i + 1] = a->unit_start[i] + find_tile(a, i).n_block;
    size_t room = (size_t)a->unit_start[a->n_tile] * ATTN_ROWS * (size_t)a->part_stride * sizeof(float);
    a->split = a->unit_start[a->n_tile] > a->n_tile && room <= SPLIT_ROOM;
}

void cpu_attend(Device *d, Tensor out, Tensor qkv, KvCache *kv, int layer, const AttnParams *p)
{
    CHECK(p->head_dim == kv->shape.head_dim && p->n_kv_head == kv->shape.n_kv_head && p->n_head % p->n_kv_head == 0);
    CHECK(layer >= 0 && layer < kv->shape.n_layer);
    Attend a = { .d = d, .b = d->batch, .p = p, .kv = kv, .layer = layer, .qkv = qkv, .out = out };
    a.sinks = p->sinks ? linear_vector(p->sinks) : NULL;
    cut(&a);
    if (!a.split) {
        pool_share(d->pool, tile_worker, &a);
        return;
    }
    pool_share(d->pool, unit_worker, &a);
    for (int i = 0; i < a.n_tile; i++) split_merge(&a, i, &d->attend->bench[0]);
}

typedef struct {
    Device *d;
    const KvCache *kv;
    int layer, n_head;
    Tensor qkv;
} Store;

static void store_rows(void *arg, int begin, int end)
{
    const Store *s = arg;
    const DeviceBatch *b = s->d->batch;
    int dim = s->kv->shape.head_dim, n_kv = s->kv->shape.n_kv_head, seq = 0;
    for (int i = begin; i < end; i++) {
        while (b->seq_start[seq + 1] <= i) seq++;
        int page = b->pages[(size_t)seq * (size_t)b->max_pages + (size_t)(b->pos[i] / KV_PAGE)];
        DEBUG_CHECK(page >= 0 && page < s->kv->shape.n_pages);
        const float *k = cpu_row(s->qkv, i) + s->n_head * dim, *v = k + n_kv * dim;
        for (int h = 0; h < n_kv; h++) {
            char *to = cpu_kv_at(s->kv, s->layer, page, h);
            s->d->simd->kv_store(to, cpu_kv_v(s->kv, to), k + h * dim, v + h * dim, dim, b->pos[i] % KV_PAGE,
                                 s->kv->shape.dtype);
        }
    }
}

void cpu_kv_store(Device *d, KvCache *kv, int layer, Tensor qkv, int n_head)
{
    CHECK(layer >= 0 && layer < kv->shape.n_layer);
    Store s = { d, kv, layer, n_head, qkv };
    cpu_split(d, qkv.rows, (size_t)kv->shape.n_kv_head * (size_t)kv->shape.head_dim, store_rows, &s);
}
