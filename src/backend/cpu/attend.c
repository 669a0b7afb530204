/* attend.c - attention over the paged KV cache: how the work is cut, and the definition of its inner part.
 *
 *   tile    a few queries x the query heads that share one kv head. Its queries are neighbours in one sequence (of a prompt), or
 *           single ones of several sequences whose page tables begin alike (in decode).
 *   block   ATTN_BLOCK tokens, aligned to absolute positions. simd->attend() computes at most ATTN_ROWS rows of a tile against one
 *           block: their own maximum, sum and weighted values, from nothing.
 *   merge   the blocks of a row are merged in rising order, each step rescaling to the larger maximum.
 *
 * A row's result is therefore the same sequence of operations whatever else is in the batch, however the prompt was cut
 * into chunks, and however many threads there are: blocks depend on absolute positions, merging on their order alone. So sequences
 * that share pages can read them together and nobody sees a difference: a tile of several sequences takes the blocks that all of
 * them share with all of its rows, block by block, so that a block is read from memory once a tile; then every sequence goes
 * on alone. Only whole blocks are shared.
 *
 * When there are many tiles, a worker walks a tile's blocks and merges as it goes. When there are few (decode of one long
 * sequence), blocks are handed out one by one and merged afterwards, in the same order: the same bits.
 * Thread: the device's owner; the pool's workers inside. */
#include <math.h>
#include <stdlib.h>

#include "backend/cpu/cpu.h"

enum {
    PART_STRIDE_MAX = ATTN_DIM_MAX + 16, /* floats of a row's partial result: values, then maximum and sum */
    TILE_ROWS = 4 * ATTN_ROWS,           /* of a tile of several sequences; others have ATTN_ROWS at most */
    SPLIT_PER_WORKER = 4,                /* with fewer tiles than this a worker, blocks are handed out instead */
    SPLIT_TILES_MAX = 256,
    SPLIT_ROOM = 32 << 20 /* bytes for partial results; beyond that tiles stay whole, with the same result */
};

/* What one worker needs for one tile. */
typedef struct {
    float q[TILE_ROWS * ATTN_DIM_MAX];
    int8_t q_codes[TILE_ROWS * ATTN_DIM_MAX]; /* int8 caches: the queries rounded */
    float q_scale[TILE_ROWS];
    int32_t q_total[TILE_ROWS];
    float score[ATTN_ROWS * ATTN_BLOCK];
    float part[ATTN_ROWS * PART_STRIDE_MAX];
    float total[TILE_ROWS * PART_STRIDE_MAX];
    AttnBlock block;
    const void *fetched; /* first page of the keys that were asked for last */
} Bench;

/* A sequence in the order in which tiles are cut: single queries first, those with like pages side by side. */
typedef struct {
    const int32_t *pages;
    int seq, n_whole; /* blocks of which the query sees all tokens; 0: not a single query */
    int shared;       /* of these, how many have the pages of the one before */
} Turn;

/* What starts at a turn: spans of queries, each a column of tiles. */
typedef struct {
    int first_span;
    int n_turns;  /* > 1: this turn and those after it make one span; 0: part of one */
    int n_shared; /* blocks read together */
} Cut;

struct AttendRoom {
    Bench *bench; /* [workers] */
    size_t bench_size;
    char *split; /* SPLIT_ROOM */
    Turn *turn;  /* [max_seq] */
    Cut *cut;    /* [max_seq + 1] */
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
    mem_free(r->turn);
    mem_free(r->cut);
}

void cpu_attend_reserve(Device *d, int n_seq)
{
    AttendRoom *r = d->attend;
    if (n_seq <= r->max_seq) return;
    r->max_seq = n_seq;
    r->turn = mem_grow(r->turn, (size_t)n_seq * sizeof(Turn));
    r->cut = mem_grow(r->cut, ((size_t)n_seq + 1) * sizeof(Cut));
}

/* ---- definitions ---- */

static float kv_get(const void *p, DType dtype, int i)
{
    if (dtype == DT_F32) return ((const float *)p)[i];
    if (dtype == DT_I8) return ((const int8_t *)p)[i];
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

void plain_quantize(int8_t *codes, const float *x, int n, float *scale, int32_t *total)
{
    float amax = 0;
    bool odd = false;
    for (int i = 0; i < n; i++) {
        float a = fabsf(x[i]);
        odd |= !(a < INFINITY);
        amax = a > amax ? a : amax;
    }
    *total = 0;
    *scale = odd ? NAN : amax < ATTN_TINY ? 0 : amax / 127;
    float by = odd || amax < ATTN_TINY ? 0 : 127 / amax;
    for (int i = 0; i < n; i++) {
        codes[i] = (int8_t)(odd ? 0 : lrintf(x[i] * by));
        *total += codes[i];
    }
}

/* Where element i of a key is, from the key of slot 0 on. */
static int key_at(DType dtype, int i, int slot)
{
    return dtype == DT_I8 ? (i / 4 * KV_PAGE + slot) * 4 + i % 4 : i * KV_PAGE + slot;
}

static void plain_store_i8(char *k_page, char *v_page, const float *k, const float *v, int dim, int slot)
{
    int8_t codes[ATTN_DIM_MAX + 16] = { 0 };
    int dim_pad = (dim + 15) & ~15, dim4 = (dim + 3) & ~3;
    int32_t total;
    plain_quantize(codes, k, dim, (float *)(void *)(k_page + dim4 * KV_PAGE) + slot, &total);
    for (int i = 0; i < dim4; i++) k_page[key_at(DT_I8, i, slot)] = (char)(i < dim ? codes[i] : 0);
    plain_quantize(codes, v, dim, (float *)(void *)(v_page + dim_pad * KV_PAGE) + slot, &total);
    for (int i = 0; i < dim_pad; i++) v_page[slot * dim_pad + i] = (char)(i < dim ? codes[i] : 0);
}

void plain_kv_store(void *k_page, void *v_page, const float *k, const float *v, int dim, int slot, DType dtype)
{
    if (dtype == DT_I8) {
        plain_store_i8(k_page, v_page, k, v, dim, slot);
        return;
    }
    int dim_pad = (dim + 15) & ~15;
    for (int i = 0; i < dim; i++) {
        kv_put(k_page, dtype, i * KV_PAGE + slot, k[i]);
        kv_put(v_page, dtype, slot * dim_pad + i, v[i]);
    }
    for (int i = dim; i < dim_pad; i++) kv_put(v_page, dtype, slot * dim_pad + i, 0);
}

static double plain_score(const AttnBlock *b, int r, int t)
{
    const void *k = b->k[t / KV_PAGE];
    if (b->dtype == DT_I8) {
        int32_t sum = 0;
        for (int i = 0; i < b->dim; i++) {
            sum += b->q_codes[r * b->dim_pad + i] * ((const int8_t *)k)[key_at(DT_I8, i, t % KV_PAGE)];
        }
        return (float)sum * (attn_k_scale(b, t / KV_PAGE)[t % KV_PAGE] * b->q_scale[r]);
    }
    double s = 0;
    for (int i = 0; i < b->dim; i++) {
        s += (double)b->q[r * b->dim_pad + i] * kv_get(k, b->dtype, key_at(b->dtype, i, t % KV_PAGE));
    }
    return s;
}

void plain_attend(AttnBlock *b)
{
    for (int r = 0; r < b->n_rows; r++) {
        float *score = b->score + r * ATTN_BLOCK, max = -INFINITY;
        for (int t = b->from[r]; t < b->to[r]; t++) {
            double s = plain_score(b, r, t);
            score[t] = b->softcap > 0 ? (float)(b->softcap * tanh(s / b->softcap)) : (float)s;
            max = score[t] > max ? score[t] : max;
        }
        double acc[ATTN_DIM_MAX] = { 0 }, sum = 0;
        for (int t = b->from[r]; t < b->to[r]; t++) {
            double p = exp(score[t] - max);
            sum += p;
            if (b->dtype == DT_I8) p *= attn_v_scale(b, t / KV_PAGE)[t % KV_PAGE];
            for (int i = 0; i < b->dim; i++) {
                acc[i] += p * kv_get(b->v[t / KV_PAGE], b->dtype, t % KV_PAGE * b->dim_pad + i);
            }
        }
        for (int i = 0; i < b->dim_pad; i++) b->acc[r][i] = (float)acc[i];
        b->max[r] = max;
        b->sum[r] = (float)sum;
    }
}

/* ---- who shares ---- */

static int by_pages(const void *x, const void *y)
{
    const Turn *a = x, *b = y;
    if (!a->n_whole || !b->n_whole) return a->n_whole != b->n_whole ? (a->n_whole ? -1 : 1) : a->seq - b->seq;
    int n = MIN(a->n_whole, b->n_whole) * ATTN_PAGES;
    for (int i = 0; i < n; i++) {
        if (a->pages[i] != b->pages[i]) return a->pages[i] < b->pages[i] ? -1 : 1;
    }
    return a->n_whole != b->n_whole ? a->n_whole - b->n_whole : a->seq - b->seq;
}

void cpu_attend_begin(Device *d, const DeviceBatch *b)
{
    cpu_attend_reserve(d, b->n_seq);
    Turn *turn = d->attend->turn;
    for (int s = 0; s < b->n_seq; s++) {
        int row = b->seq_start[s], n = b->seq_start[s + 1] - row;
        turn[s] = (Turn){ .pages = b->pages + (size_t)s * (size_t)b->max_pages, .seq = s };
        turn[s].n_whole = n == 1 ? (b->pos[row] + 1) / ATTN_BLOCK : 0;
    }
    if (b->n_seq > 1) qsort(turn, (size_t)b->n_seq, sizeof *turn, by_pages);
    for (int i = 1; i < b->n_seq; i++) {
        int n = MIN(turn[i - 1].n_whole, turn[i].n_whole) * ATTN_PAGES, same = 0;
        while (same < n && turn[i - 1].pages[same] == turn[i].pages[same]) same++;
        turn[i].shared = same / ATTN_PAGES;
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
    int n_query;  /* queries that simd->attend takes at most */
    int n_column; /* kv heads x n_sub: tiles across the heads */
    int n_tile, part_stride;
    bool split;
    int unit_start[SPLIT_TILES_MAX + 1]; /* when split: first block of each tile */
} Attend;

typedef struct {
    int n_query;  /* its queries: */
    int turn;     /* of several sequences, a turn each; */
    int seq, row; /* or of one, rows [row, row + n_query) of the batch */
    bool several;
    int kv_head, head, n_head;
    int n_shared;               /* blocks [0, n_shared) are those of all */
    int first_block, end_block; /* of one sequence */
} Tile;

typedef struct {
    int seq, row, pos;
} Query;

static Query query_at(const Attend *a, const Tile *t, int i)
{
    Query q = { t->seq, t->row + i, 0 };
    if (t->several) {
        q.seq = a->d->attend->turn[t->turn + i].seq;
        q.row = a->b->seq_start[q.seq];
    }
    q.pos = a->b->pos[q.row];
    return q;
}

/* Tiles are numbered column by column inside a span of queries, spans by turn. */
static Tile find_tile(const Attend *a, int index)
{
    const Cut *cut = a->d->attend->cut;
    int lo = 0, hi = a->b->n_seq, span = index / a->n_column, column = index % a->n_column;
    while (hi - lo > 1) {
        int mid = (lo + hi) / 2;
        if (cut[mid].first_span <= span)
            lo = mid;
        else
            hi = mid;
    }
    Tile t = { .turn = lo, .seq = a->d->attend->turn[lo].seq, .kv_head = column / a->n_sub };
    int skip = column % a->n_sub * a->sub;
    t.head = t.kv_head * a->group + skip;
    t.n_head = MIN(a->sub, a->group - skip);
    if (cut[lo].n_turns > 1) {
        t.several = true;
        t.n_query = cut[lo].n_turns;
        t.n_shared = cut[lo].n_shared;
        return t;
    }
    t.row = a->b->seq_start[t.seq] + (span - cut[lo].first_span) * a->n_query;
    t.n_query = MIN(a->n_query, a->b->seq_start[t.seq + 1] - t.row);
    int pos = a->b->pos[t.row], first = a->p->window > 0 ? MAX(0, pos - a->p->window + 1) : 0;
    t.first_block = first / ATTN_BLOCK;
    t.end_block = (pos + t.n_query - 1) / ATTN_BLOCK + 1;
    return t;
}

static void load_queries(const Attend *a, const Tile *t, Bench *w)
{
    int dim = a->p->head_dim, dim_pad = a->kv->dim_pad, r = 0;
    for (int i = 0; i < t->n_query; i++) {
        const float *from = cpu_row(a->qkv, query_at(a, t, i).row) + t->head * dim;
        for (int h = 0; h < t->n_head; h++, from += dim, r++) {
            float *q = w->q + r * dim_pad;
            for (int c = 0; c < dim; c++) q[c] = from[c] * a->p->scale;
            for (int c = dim; c < dim_pad; c++) q[c] = 0;
            if (a->kv->shape.dtype != DT_I8) continue;
            a->d->simd->quantize(w->q_codes + r * dim_pad, q, dim_pad, &w->q_scale[r], &w->q_total[r]);
        }
    }
}

/* The queries [first, first + n) of a tile, as rows of simd->attend. */
typedef struct {
    int first, n;
} Rows;

static void set_rows(const Attend *a, const Tile *t, Rows rows, Bench *w)
{
    AttnBlock *b = &w->block;
    int row = rows.first * t->n_head, dim_pad = a->kv->dim_pad;
    b->n_rows = rows.n * t->n_head;
    b->dim = a->p->head_dim;
    b->dim_pad = dim_pad;
    b->dtype = a->kv->shape.dtype;
    b->softcap = a->p->softcap;
    b->q = w->q + row * dim_pad;
    b->q_codes = w->q_codes + row * dim_pad;
    b->q_scale = w->q_scale + row;
    b->q_total = w->q_total + row;
    b->score = w->score;
}

/* What to ask of memory ahead of time: the keys of the next block, and this one's values while its scores are computed. The latter
 * only pays when the keys are there already, or are few: measured in docs/perf/cpu-attention.md. left: tokens from this block on. */
static void plan_fetch(const Attend *a, int kv_head, const int32_t *pages, int left, Bench *w)
{
    AttnBlock *b = &w->block;
    for (int i = 0; i < ATTN_PAGES; i++) {
        bool more = (ATTN_PAGES + i) * KV_PAGE < left;
        b->next[i] = more ? cpu_kv_at(a->kv, a->layer, pages[ATTN_PAGES + i], kv_head) : NULL;
    }
    b->k_bytes = (int)a->kv->k_bytes;
    b->v_bytes = (int)(a->kv->head_bytes - a->kv->k_bytes);
    b->fetch_v = b->dtype == DT_I8 || w->fetched == b->k[0];
    w->fetched = b->next[0];
}

/* Some rows against block `index` of their sequences; their partial results go to part, part_stride apart. */
static void run_block(const Attend *a, const Tile *t, Rows rows, int index, Bench *w, float *part)
{
    AttnBlock *b = &w->block;
    set_rows(a, t, rows, w);
    int begin = index * ATTN_BLOCK, seen_from = ATTN_BLOCK, seen_to = 0, seq = query_at(a, t, rows.first).seq;
    for (int i = 0, r = 0; i < rows.n; i++) {
        int pos = query_at(a, t, rows.first + i).pos;
        int from = a->p->window > 0 ? MAX(0, pos - a->p->window + 1 - begin) : 0;
        int to = MAX(0, MIN(ATTN_BLOCK, pos + 1 - begin));
        for (int h = 0; h < t->n_head; h++, r++) {
            b->to[r] = to;
            b->from[r] = MIN(from, to);
            b->acc[r] = part + r * a->part_stride;
        }
        seen_from = MIN(seen_from, MIN(from, to));
        seen_to = MAX(seen_to, to);
    }
    const int32_t *pages = a->b->pages + (size_t)seq * (size_t)a->b->max_pages + index * ATTN_PAGES;
    b->n_pages = (seen_to + KV_PAGE - 1) / KV_PAGE;
    for (int i = 0; i < b->n_pages; i++) { /* pages that have slid out of the window may be gone: never look them up */
        int page = pages[MAX(i, MIN(seen_from / KV_PAGE, b->n_pages - 1))];
        char *k = cpu_kv_at(a->kv, a->layer, page, t->kv_head);
        b->k[i] = k;
        b->v[i] = cpu_kv_v(a->kv, k);
    }
    plan_fetch(a, t->kv_head, pages, a->b->seq_len[seq] - begin, w);
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
        float *out = cpu_row(a->out, query_at(a, t, i).row) + t->head * dim;
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

/* total: of the whole tile. */
static void merge_rows(const Attend *a, const Tile *t, Rows rows, float *total, const float *part)
{
    total += rows.first * t->n_head * a->part_stride;
    for (int r = 0; r < rows.n * t->n_head; r++) {
        merge(total + r * a->part_stride, part + r * a->part_stride, a->kv->dim_pad);
    }
}

/* The steps of a tile are numbered: the shared blocks, then each sequence's own. Returns the block of a step, and whose; false: there
 * are not that many. */
static bool find_step(const Attend *a, const Tile *t, int step, Rows *rows, int *block)
{
    *rows = (Rows){ 0, t->n_query };
    if (!t->several) {
        *block = t->first_block + step;
        return *block < t->end_block;
    }
    *block = step;
    if (step < t->n_shared) return true;
    for (int i = 0; i < t->n_query; i++) {
        int end = query_at(a, t, i).pos / ATTN_BLOCK + 1;
        *rows = (Rows){ i, 1 };
        if (*block < end) return true;
        *block -= end - t->n_shared;
    }
    return false;
}

static int count_steps(const Attend *a, const Tile *t)
{
    if (!t->several) return t->end_block - t->first_block;
    int n = t->n_shared;
    for (int i = 0; i < t->n_query; i++) n += query_at(a, t, i).pos / ATTN_BLOCK + 1 - t->n_shared;
    return n;
}

static void whole_tile(const Attend *a, int index, Bench *w)
{
    Tile t = find_tile(a, index);
    load_queries(a, &t, w);
    clear_total(a, &t, w->total);
    Rows rows;
    for (int step = 0, block; find_step(a, &t, step, &rows, &block); step++) {
        for (int end = rows.first + rows.n; rows.first < end; rows.first += a->n_query) {
            rows.n = MIN(a->n_query, end - rows.first);
            run_block(a, &t, rows, block, w, w->part);
            merge_rows(a, &t, rows, w->total, w->part);
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
    int tile = 0, block;
    while (a->unit_start[tile + 1] <= unit) tile++;
    Tile t = find_tile(a, tile);
    Rows rows;
    load_queries(a, &t, w);
    CHECK(find_step(a, &t, unit - a->unit_start[tile], &rows, &block));
    run_block(a, &t, rows, block, w, split_part(a, unit));
}

static void split_merge(const Attend *a, int tile, Bench *w)
{
    Tile t = find_tile(a, tile);
    clear_total(a, &t, w->total);
    for (int u = a->unit_start[tile]; u < a->unit_start[tile + 1]; u++) {
        Rows rows;
        int block;
        CHECK(find_step(a, &t, u - a->unit_start[tile], &rows, &block));
        merge_rows(a, &t, rows, w->total, split_part(a, u));
    }
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
    int at, end, n = a->unit_start[a->n_tile],
                 chunk = MAX(1, n / (8 * pool_size(a->d->pool))); /* neighbours follow each other */
    while (pool_next(a->d->pool, 0, n, chunk, &at, &end)) {
        for (; at < end; at++) split_unit(a, at, &a->d->attend->bench[worker]);
    }
}

/* ---- ops ---- */

/* How many turns from i on make one span, at most `max`. */
static int span_of(const Attend *a, int i, int max, int *n_shared)
{
    const Turn *turn = a->d->attend->turn;
    int n = 1, window = a->p->window;
    *n_shared = turn[i].n_whole;
    while (n < max && i + n < a->b->n_seq && turn[i + n].shared > 0) {
        int shared = MIN(*n_shared, turn[i + n].shared);
        if (n > 1 && 2 * shared < *n_shared) break; /* those so far have more in common */
        if (window > 0 && a->b->pos[a->b->seq_start[turn[i + n].seq]] >= window) break;
        *n_shared = shared;
        n++;
    }
    if (window > 0 && a->b->pos[a->b->seq_start[turn[i].seq]] >= window) n = 1;
    return n;
}

/* With max single queries of several sequences in a tile at most. */
static void cut_spans(Attend *a, int max)
{
    Cut *cut = a->d->attend->cut;
    const Turn *turn = a->d->attend->turn;
    int span = 0;
    for (int i = 0; i < a->b->n_seq;) {
        int seq = turn[i].seq, n_query = a->b->seq_start[seq + 1] - a->b->seq_start[seq], n_shared = 0;
        int n = n_query == 1 ? span_of(a, i, max, &n_shared) : 1;
        cut[i] = (Cut){ span, n, n_shared };
        span += (n_query + a->n_query - 1) / a->n_query;
        for (int j = 1; j < n; j++) cut[i + j] = (Cut){ span, 0, 0 };
        i += n;
    }
    a->n_tile = span * a->n_column;
}

static void cut(Attend *a)
{
    int workers = pool_size(a->d->pool), enough = SPLIT_PER_WORKER * workers;
    a->group = a->p->n_head / a->p->n_kv_head;
    a->n_sub = (a->group + ATTN_ROWS - 1) / ATTN_ROWS;
    a->sub = (a->group + a->n_sub - 1) / a->n_sub;
    a->n_query = MAX(1, ATTN_ROWS / a->sub);
    a->n_column = a->p->n_kv_head * a->n_sub;
    a->part_stride = a->kv->dim_pad + 16;
    cut_spans(a, a->n_query);
    int wider = MIN(TILE_ROWS / ATTN_ROWS, a->n_tile / enough);
    if (wider > 1) cut_spans(a, wider * a->n_query);
    if (workers == 1 || a->n_tile >= enough || a->n_tile > SPLIT_TILES_MAX) return;
    a->unit_start[0] = 0;
    for (int i = 0; i < a->n_tile; i++) {
        Tile t = find_tile(a, i);
        a->unit_start[i + 1] = a->unit_start[i] + count_steps(a, &t);
    }
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
