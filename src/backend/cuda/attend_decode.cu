/* attend_decode.cu - attention of one new token a sequence over its pages.
 *
 *   out[h] = sum_j softmax_j(cap(scale * q[h] . k[j])) v[j], j in [max(0, len - window), len), sinks in the denominator
 *
 * Bound by reading K and V once: 4 * n_kv_head * head_dim bytes a token and layer. The work is cut into items (sequence,
 * kv head) of tiles of 64 tokens; launch_attend_plan, once a pass, gives each of a fixed number of CTAs its share of that list,
 * so the grid, and a graph around it, does not depend on the batch: an equal stretch, or, of few items, one part of one item.
 * An item that a border cuts leaves partial sums that are merged in order: by the CTA that happens to finish last, or,
 * where each CTA has one part, by that of the last part. Either way results do not depend on who was first.
 *
 * Small batches are latency alone, so what the previous kernel does not write is fetched while it still runs (AttendArgs.early):
 * a CTA's entry of the plan holds all that its first copies need, and only a sequence's newest page is waited for. The
 * queries of an item are loaded while the one before it ends.
 *
 * A CTA is one copy warp and four computing warps. The copy warp runs ahead through a ring of tiles, one bulk copy a page;
 * each computing warp owns one page of every tile with its own running maximum, sum and output, so the loop has no
 * block-wide barrier; the four meet once an item. On the tensor cores keys are the 16-row operand and the query heads of
 * one kv head the 8-column one: S^T = K Q^T, O^T = V^T P^T, so a group of up to 8 costs the same as 1.
 * Measured: see docs/perf/gpu-decode-attention.md. */
#include <limits.h>

#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.h"

enum { N_WARP = 4, THREADS = (N_WARP + 1) * WARP, LAST = 1, STOP = 2, ALONE = 4 };

typedef struct {
    int flags, row, head, tok0; /* tok0: position of the tile's first token */
    int len, lo;                /* keys [lo, len) count */
    int n_part;                 /* > 1: this CTA holds one part of so many, that begin in CTA `first` */
    int first;
    int next_row, next_head; /* with LAST: of the item after this one, or any that there is */
} Stage;

/* ---- the plan ---- */

/* A CTA's entry. Borders: sequence, head, tile; and, if that cuts an item, the first and the last border within this item. */
typedef struct {
    int4 at, end;
    int len, row, first; /* of the sequence it begins in: tokens, row, first entry in the batch's pages */
    int alone;           /* 1: no CTA of this plan holds more than one part of one item */
    int page[WARP];              /* the window of its pages that the first tile lies in */
} Start;
static_assert(sizeof(Start) == ATTEND_PLAN_INTS * sizeof(int32_t), "as launch.h promises");

/* Pages are looked up 32 at a time, one a lane: window w holds those of tiles 8w... */
enum { SPAN = WARP / (ATTEND_TILE / PAGE) };

DEV int first_key(int len, int window) { return window > 0 && len > window ? len - window : 0; }

DEV int tiles_of(int len, int window) { return (len - first_key(len, window) / PAGE * PAGE + ATTEND_TILE - 1) / ATTEND_TILE; }

/* An item costs its tiles and ITEM_COST more: loading q, merging, writing. Or, in parts of at most `most` tiles: a CTA each. */
enum { ITEM_COST = 1, PART_LEAST = 2 /* tiles: more parts take longer to merge than they save */ };

DEV int cost_of(int tiles, int most) { return most ? (tiles + most - 1) / most : tiles + ITEM_COST; }

/* sum[i] = cost of the sequences before i, over one kv head. Threads take equal runs. */
DEV void prefix_costs(int *sum, int *run, const AttendArgs *a, int n, int most)
{
    int each = (n + blockDim.x - 1) / blockDim.x, from = threadIdx.x * each, to = min(n, from + each), total = 0;
    for (int i = from; i < to; i++) total += cost_of(tiles_of(a->seq_len[i], a->window), most);
    run[threadIdx.x] = total;
    __syncthreads();
    for (int step = 1; step < (int)blockDim.x; step *= 2) {
        int v = (int)threadIdx.x >= step ? run[threadIdx.x - step] : 0;
        __syncthreads();
        run[threadIdx.x] += v;
        __syncthreads();
    }
    int at = run[threadIdx.x] - total;
    for (int i = from; i < to; i++) {
        sum[i] = at;
        at += cost_of(tiles_of(a->seq_len[i], a->window), most);
    }
    if (threadIdx.x == blockDim.x - 1) sum[n] = run[threadIdx.x];
    __syncthreads();
}

/* The fewest tiles, from PART_LEAST on, such that no CTA holds more than one part of so many, if that ends no later than
 * equal stretches would; else 0. Stretches meet two items in a CTA, which costs a tile. Every thread tries a number. */
DEV int choose_most(const int *sum, int n, int n_kv_head, int n_cta, int *best)
{
    int most = threadIdx.x + PART_LEAST, parts = 0;
    long long all = (long long)sum[n] * n_kv_head;
    if (n * n_kv_head > n_cta) return 0;
    if (threadIdx.x == 0) *best = INT_MAX;
    __syncthreads();
    for (int i = 0; i < n; i++) parts += cost_of(sum[i + 1] - sum[i] - ITEM_COST, most);
    if (parts * n_kv_head <= n_cta) atomicMin(best, most);
    __syncthreads();
    return *best < INT_MAX && (*best == PART_LEAST || (long long)*best * n_cta <= all + n_cta) ? *best : 0;
}

/* Borders lie at least one tile apart, so no part of a cut item is empty; CTAs that would get less get nothing. */
DEV int4 border(const int *sum, const AttendArgs *a, int n, int most, int i)
{
    long long all = (long long)sum[n] * a->n_kv_head, n_used = min((long long)a->n_cta, all);
    if (i >= n_used) return make_int4(n, 0, 0, 0);
    long long x = all * i / n_used;
    int lo = 0, hi = n; /* the last sequence that begins at or before x */
    while (lo + 1 < hi) {
        int mid = (lo + hi) / 2;
        if ((long long)sum[mid] * a->n_kv_head <= x) lo = mid;
        else hi = mid;
    }
    int tiles = tiles_of(a->seq_len[lo], a->window), cost = cost_of(tiles, most);
    int rest = (int)(x - (long long)sum[lo] * a->n_kv_head), head = rest / cost, tile = rest % cost;
    if (most) tile = tile * tiles / cost;
    if (tile >= tiles) tile = 0, head++;
    if (head == a->n_kv_head) head = 0, lo++;
    return make_int4(lo, head, tile, 0);
}

/* The border with the run of borders that cut the same item. */
DEV int4 with_run(const int4 *at, int i, int n_cta)
{
    int4 b = at[i];
    int first = i, last = i;
    if (b.z == 0) return b;
    while (first > 1 && at[first - 1].x == b.x && at[first - 1].y == b.y && at[first - 1].z > 0) first--;
    while (last < n_cta && at[last + 1].x == b.x && at[last + 1].y == b.y) last++;
    b.w = first | last << 16;
    return b;
}

/* Every block finds all borders, and each of its warps writes one entry. */
static __global__ void plan_kernel(Start *plan, const __grid_constant__ AttendArgs a)
{
    extern __shared__ int sum[];
    __shared__ int run[1024], best;
    __shared__ int4 at[ATTEND_MAX_CTA + 1];
    chain_wait();
    int n = a.count[0];
    prefix_costs(sum, run, &a, n, 0);
    int most = choose_most(sum, n, a.n_kv_head, a.n_cta, &best);
    if (most) prefix_costs(sum, run, &a, n, most);
    for (int i = threadIdx.x; i <= a.n_cta; i += blockDim.x) at[i] = border(sum, &a, n, most, i);
    __syncthreads();
    int i = (blockIdx.x * blockDim.x + threadIdx.x) / WARP, lane = threadIdx.x % WARP;
    if (i >= a.n_cta) return;
    int4 b = with_run(at, i, a.n_cta), of = make_int4(0, 0, 0, 0);
    int page = 0;
    if (b.x < n) {
        of = make_int4(a.seq_len[b.x], a.seq_row[b.x], a.page_first[b.x], most > 0);
        int k = first_key(of.x, a.window) / PAGE + b.z / SPAN * WARP + lane;
        if (k * PAGE < of.x) page = a.pages[of.z + k];
    }
    plan[i].page[lane] = page;
    if (lane == 0) plan[i].at = b, plan[i].end = with_run(at, i + 1, a.n_cta), *(int4 *)&plan[i].len = of;
}

/* ---- the copy warp ---- */

/* Which part of its item a CTA holds, when the item is cut: at its front border, at its back border, or at both. */
DEV void set_part(Stage *st, int front, int back)
{
    int run = front ? front : back;
    st->n_part = run ? (run >> 16) - (run & 0xffff) + 2 : 1;
    st->first = (run & 0xffff) - 1;
}

/* What the copy warp knows of a sequence. Loads of the next one are issued an item ahead: under load each takes as long
 * as a tile does. */
typedef struct {
    int seq, len, lo, base, row; /* base: first page that is read */
    const int32_t *pages;
} Source;

DEV Source source(const AttendArgs *a, int seq, int len, int row, int first)
{
    int lo = first_key(len, a->window);
    return { seq, len, lo, lo / PAGE, row, a->pages + first };
}

DEV Source source_of(const AttendArgs *a, int seq) { return source(a, seq, a->seq_len[seq], a->seq_row[seq], a->page_first[seq]); }

DEV int pages_of(const Source *s, int w)
{
    int page = s->base + w * WARP + threadIdx.x % WARP;
    return page * PAGE < s->len ? __ldcg(s->pages + page) : 0;
}

DEV bool before(int x, int y, int z, int4 end) { return x < end.x || (x == end.x && (y < end.y || (y == end.y && z < end.z))); }

template <int D>
DEV void copy_warp(const AttendArgs *a, unsigned char *ring, Stage *desc, uint32_t full, uint32_t empty, int n_stage)
{
    enum { BLOCK = 2 * PAGE * D * 2 };
    int lane = threadIdx.x % WARP, stage = 0, phase = 0;
    const Start *start = (const Start *)a->plan + blockIdx.x;
    int4 at = __ldcg(&start->at), end = __ldcg(&start->end), of = __ldcg((const int4 *)&start->len);
    int here = __ldcg(start->page + lane);
    bool waits = a->early; /* the newest pages are still being written */
    if (before(at.x, at.y, at.z, end)) {
        uint64_t policy = policy_stream();
        int front = at.z > 0 ? at.w : 0, from = at.z, head = at.y;
        Source src = source(a, at.x, of.x, of.y, of.z);
        for (bool more = true; more;) {
            bool cut = src.seq == end.x && head == end.y;
            int n_tile = tiles_of(src.len, a->window), to = cut ? end.z : n_tile, ahead = 0, after = 0;
            int next_head = head + 1 == a->n_kv_head ? 0 : head + 1, next_seq = src.seq + (next_head == 0);
            more = !cut && before(next_seq, next_head, 0, end);
            Source next = more && next_seq != src.seq ? source_of(a, next_seq) : src;
            for (int tile = from; tile < to; tile++) {
                if (tile % SPAN == 0 && tile != from) here = ahead;
                int page = src.base + tile * (ATTEND_TILE / PAGE), n = min(ATTEND_TILE / PAGE, (src.len + PAGE - 1) / PAGE - page);
                int where = __shfl_sync(~0u, here, tile % SPAN * (ATTEND_TILE / PAGE) + lane % (ATTEND_TILE / PAGE));
                bool last = tile == to - 1, late = waits && tile == n_tile - 1;
                bar_wait(empty + stage * 8, phase ^ 1);
                if (lane == 0) {
                    Stage *st = desc + stage;
                    st->flags = (last ? LAST : 0) | (of.w ? ALONE : 0);
                    st->row = src.row, st->head = head, st->tok0 = page * PAGE, st->len = src.len, st->lo = src.lo;
                    set_part(st, front, cut ? end.w : 0);
                    if (last) st->next_row = next.row, st->next_head = next_head;
                }
                const char *block = (const char *)a->kv + ((size_t)where * a->n_kv_head + head) * BLOCK;
                uint32_t to_ring = shared_addr(ring) + (stage * (ATTEND_TILE / PAGE) + lane) * BLOCK;
                copy_blocks(to_ring, block, BLOCK, late ? n - 1 : n, n * BLOCK, full + stage * 8, policy);
                if (late) {
                    chain_wait();
                    waits = false;
                    if (lane == n - 1) copy_late(to_ring, block, BLOCK, full + stage * 8, policy);
                }
                if (++stage == n_stage) stage = 0, phase ^= 1;
                if (tile == from || tile % SPAN == 0) ahead = pages_of(&src, tile / SPAN + 1);
                if (tile == from && more) after = pages_of(&next, 0);
            }
            front = from = 0;
            head = next_head, src = next, here = after;
        }
    }
    bar_wait(empty + stage * 8, phase ^ 1);
    if (lane == 0) desc[stage].flags = STOP;
    __syncwarp();
    for (int i = lane; i < COPY_ARRIVALS; i += WARP) bar_arrive(full + stage * 8);
}

/* ---- the computing warps ---- */

/* What a warp knows of an item so far. Query heads 8i.. are column tile i; a thread holds columns 2 * (lane % 4) + {0, 1} of
 * each, and of the output (transposed) rows lane / 4 and + 8 of each 16. */
template <int D, int NT> struct Running {
    uint32_t q[D / 16][NT][2];
    float o[D / 16][NT][4];
    float m[NT][2], l[NT][2];
};

/* Of a kv head of a row. */
template <int D, int NT> DEV void load_queries(uint32_t q[D / 16][NT][2], const AttendArgs *a, int row, int kv_head, int group)
{
    int lane = threadIdx.x % WARP;
    const bf16 *from = (const bf16 *)a->qkv + (size_t)row * a->qkv_stride + kv_head * group * a->head_dim;
#pragma unroll
    for (int nt = 0; nt < NT; nt++) {
        int h = nt * 8 + lane / 4;
#pragma unroll
        for (int k = 0; k < D / 16; k++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                int d = k * 16 + i * 8 + lane % 4 * 2;
                q[k][nt][i] = h < group && d < a->head_dim ? *(const uint32_t *)(from + h * a->head_dim + d) : 0;
            }
        }
    }
}

template <int D, int NT> DEV void begin_item(Running<D, NT> *r)
{
#pragma unroll
    for (int nt = 0; nt < NT; nt++) {
#pragma unroll
        for (int k = 0; k < D / 16; k++) {
#pragma unroll
            for (int i = 0; i < 4; i++) r->o[k][nt][i] = 0.f;
        }
        r->m[nt][0] = r->m[nt][1] = NEG_BIG;
        r->l[nt][0] = r->l[nt][1] = 0.f;
    }
}

/* The values of tokens past the end are whatever the page held, maybe NaN, and 0 * NaN is NaN: clear them. */
template <int D> DEV void clear_tail(unsigned char *v, int n_valid)
{
    int lane = threadIdx.x % WARP;
    for (int i = lane; i < (PAGE - n_valid) * (D / 8); i += WARP)
        *(uint4 *)(v + kv_chunk<D>(n_valid + i / (D / 8), i % (D / 8))) = make_uint4(0, 0, 0, 0);
    fence_async(); /* the copy engine writes here next */
    __syncwarp();
}

template <int D, int NT> DEV void scores(float s[NT][4], const Running<D, NT> *r, uint32_t k)
{
    int lane = threadIdx.x % WARP, tok = lane & 15, half = lane >> 4;
#pragma unroll
    for (int nt = 0; nt < NT; nt++) s[nt][0] = s[nt][1] = s[nt][2] = s[nt][3] = 0.f;
#pragma unroll
    for (int i = 0; i < D / 16; i++) {
        uint32_t key[4];
        ldmatrix(key, k + kv_chunk<D>(tok, 2 * i + half));
#pragma unroll
        for (int nt = 0; nt < NT; nt++) mma(s[nt], key, r->q[i][nt][0], r->q[i][nt][1]);
    }
}

/* s becomes exp2(s - maximum); sums and outputs so far follow the new maximum. */
template <int D, int NT> DEV void soften(Running<D, NT> *r, float s[NT][4])
{
    bool moved = false;
    float shrink[NT][2];
#pragma unroll
    for (int nt = 0; nt < NT; nt++) {
#pragma unroll
        for (int c = 0; c < 2; c++) {
            float top = fmaxf(s[nt][c], s[nt][c + 2]);
#pragma unroll
            for (int o = 4; o < 32; o *= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, o));
            float m = fmaxf(r->m[nt][c], top);
            moved |= m > r->m[nt][c];
            shrink[nt][c] = exp2_fast(r->m[nt][c] - m);
            r->m[nt][c] = m;
            s[nt][c] = exp2_fast(s[nt][c] - m);
            s[nt][c + 2] = exp2_fast(s[nt][c + 2] - m);
            r->l[nt][c] = r->l[nt][c] * shrink[nt][c] + s[nt][c] + s[nt][c + 2];
        }
    }
    if (__any_sync(~0u, moved)) {
#pragma unroll
        for (int i = 0; i < D / 16; i++)
#pragma unroll
            for (int nt = 0; nt < NT; nt++)
#pragma unroll
                for (int c = 0; c < 4; c++) r->o[i][nt][c] *= shrink[nt][c & 1];
    }
}

template <int D, int NT> DEV void add_page(Running<D, NT> *r, const AttendArgs *a, const Stage *st, unsigned char *block, int tok0)
{
    int lane = threadIdx.x % WARP;
    float s[NT][4];
    uint32_t v = shared_addr(block) + PAGE * D * 2, p[NT][2];
    if (tok0 + PAGE > st->len) clear_tail<D>(block + PAGE * D * 2, st->len - tok0);
    scores<D, NT>(s, r, shared_addr(block));
    bool whole = tok0 >= st->lo && tok0 + PAGE <= st->len;
#pragma unroll
    for (int nt = 0; nt < NT; nt++)
#pragma unroll
        for (int c = 0; c < 4; c++) {
            float x = s[nt][c] * a->scale;
            if (a->softcap > 0.f) x = a->softcap * tanhf(x / a->softcap);
            int j = tok0 + lane / 4 + (c >> 1) * 8;
            s[nt][c] = whole || (j >= st->lo && j < st->len) ? x * LOG2E : -INFINITY;
        }
    soften<D, NT>(r, s);
#pragma unroll
    for (int nt = 0; nt < NT; nt++) {
        p[nt][0] = transpose8(pack2(s[nt][0], s[nt][1]));
        p[nt][1] = transpose8(pack2(s[nt][2], s[nt][3]));
    }
    int tok = (lane & 7) + (lane >> 4) * 8, half = lane >> 3 & 1;
#pragma unroll
    for (int i = 0; i < D / 16; i++) {
        uint32_t val[4];
        ldmatrix_trans(val, v + kv_chunk<D>(tok, 2 * i + half));
#pragma unroll
        for (int nt = 0; nt < NT; nt++) mma(r->o[i][nt], val, p[nt][0], p[nt][1]);
    }
}

/* ---- the end of an item: four warps into one, and parts of a cut item into one ---- */

template <int D, int NT> struct __align__(16) Merge {
    float o[N_WARP][8 * NT][D + 4]; /* + 4: no bank conflict */
    float m[N_WARP][8 * NT], l[N_WARP][8 * NT];
    int last;
};

template <int D, int NT> DEV void put_warp(Merge<D, NT> *g, Running<D, NT> *r, int group)
{
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
#pragma unroll
    for (int nt = 0; nt < NT; nt++) {
#pragma unroll
        for (int c = 0; c < 2; c++) {
            int h = nt * 8 + lane % 4 * 2 + c;
            float l = r->l[nt][c];
#pragma unroll
            for (int o = 4; o < 32; o *= 2) l += __shfl_xor_sync(~0u, l, o);
            if (h >= group) continue;
            if (lane < 4) g->m[warp][h] = r->m[nt][c], g->l[warp][h] = l;
#pragma unroll
            for (int i = 0; i < D / 16; i++) {
                g->o[warp][h][i * 16 + lane / 4] = r->o[i][nt][c];
                g->o[warp][h][i * 16 + lane / 4 + 8] = r->o[i][nt][c + 2];
            }
        }
    }
}

DEV void put_out(const AttendArgs *a, const Stage *st, int group, int h, int d, float4 o, float m, float l)
{
    if (d >= a->head_dim) return;
    int head = st->head * group + h;
    float scale;
    if (a->sinks) {
        float sink = a->sinks[head] * LOG2E, top = fmaxf(m, sink), w = exp2_fast(m - top);
        scale = w / (l * w + exp2_fast(sink - top));
    } else {
        scale = 1.f / l;
    }
    bf16 *out = (bf16 *)a->out + (size_t)st->row * a->out_stride + head * a->head_dim + d;
    uint2 v = make_uint2(pack2(o.x * scale, o.y * scale), pack2(o.z * scale, o.w * scale));
    if (a->head_dim % 4 == 0) {
        *(uint2 *)out = v;
    } else { /* an even head size: pairs */
        *(uint32_t *)out = v.x;
        if (d + 2 < a->head_dim) *(uint32_t *)(out + 2) = v.y;
    }
}

/* ---- parts of CTAs that have no other: each number is its own flag ---- */

/* Numbers of a part pass from one thread of its CTA to the same thread of the merging one, through words that have all bits
 * set before and after: no sum of ours has those. This saves two journeys to memory and back, which a flag would need.
 * The merging CTA is the last of the item's, and so is not started before those it waits for. */
enum { SLOT_THREADS = 16 * 256 / 4 };

typedef struct {
    float4 o[SLOT_THREADS];
    float2 ml[SLOT_THREADS];
} Slot;

DEV float4 slot_o(const Slot *s, int i)
{
    float4 v;
    asm volatile("ld.relaxed.gpu.global.v4.f32 {%0,%1,%2,%3}, [%4];"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(s->o + i) : "memory");
    return v;
}

DEV float2 slot_ml(const Slot *s, int i)
{
    float2 v;
    asm volatile("ld.relaxed.gpu.global.v2.f32 {%0,%1}, [%2];" : "=f"(v.x), "=f"(v.y) : "l"(s->ml + i) : "memory");
    return v;
}

DEV void put_slot(Slot *s, int i, float4 o, float m, float l)
{
    asm volatile("st.relaxed.gpu.global.v4.f32 [%0], {%1,%2,%3,%4};"
                 ::"l"(s->o + i), "f"(o.x), "f"(o.y), "f"(o.z), "f"(o.w) : "memory");
    asm volatile("st.relaxed.gpu.global.v2.f32 [%0], {%1,%2};" ::"l"(s->ml + i), "f"(m), "f"(l) : "memory");
}

DEV bool is_set(float x) { return __float_as_uint(x) == ~0u; }

DEV bool missing(float4 o, float2 ml)
{
    return is_set(o.x) || is_set(o.y) || is_set(o.z) || is_set(o.w) || is_set(ml.x) || is_set(ml.y);
}

DEV void add_part(float4 *o, float *m, float *l, float4 po, float pm, float pl)
{
    float top = fmaxf(*m, pm), w0 = exp2_fast(*m - top), w1 = exp2_fast(pm - top);
    o->x = o->x * w0 + po.x * w1, o->y = o->y * w0 + po.y * w1;
    o->z = o->z * w0 + po.z * w1, o->w = o->w * w0 + po.w * w1;
    *l = *l * w0 + pl * w1, *m = top;
}

/* Element i of the item: the parts before this CTA's, in order. Asking again for all that is missing at once was no faster. */
template <int NT> DEV void gather_slots(Slot *slot, int n, int i, float4 *o, float *m, float *l)
{
    enum { AT_ONCE = 8 / NT };
    float nan = __uint_as_float(~0u);
    for (int p = 0; p < n; p += AT_ONCE) {
        float4 v[AT_ONCE];
        float2 w[AT_ONCE];
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) {
            if (p + k < n) v[k] = slot_o(slot + p + k, i), w[k] = slot_ml(slot + p + k, i);
        }
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) {
            if (p + k >= n) break;
            while (missing(v[k], w[k])) v[k] = slot_o(slot + p + k, i), w[k] = slot_ml(slot + p + k, i);
            put_slot(slot + p + k, i, make_float4(nan, nan, nan, nan), nan, nan);
            add_part(o, m, l, v[k], w[k].x, w[k].y);
        }
    }
}

/* A part: o [8 * NT][D], then m and l [8 * NT] each. */
template <int D, int NT> DEV float *part_at(const AttendArgs *a, int cta, int first)
{
    return (float *)((Slot *)a->part + ATTEND_MAX_CTA) + (size_t)(2 * cta + (cta == first)) * (8 * NT * (D + 2));
}

/* Parts are fetched AT_ONCE at a time: each fetch takes as long as a tile. */
template <int D, int NT> DEV void merge_parts(const AttendArgs *a, const Stage *st, int group)
{
    enum { AT_ONCE = 8 };
    for (int i = threadIdx.x; i < group * (D / 4); i += N_WARP * WARP) {
        int h = i / (D / 4), d = i % (D / 4) * 4;
        float m = NEG_BIG, l = 0.f;
        float4 o = make_float4(0.f, 0.f, 0.f, 0.f);
        for (int p = 0; p < st->n_part; p += AT_ONCE) {
            float pm[AT_ONCE], pl[AT_ONCE];
            float4 v[AT_ONCE];
#pragma unroll
            for (int k = 0; k < AT_ONCE; k++) {
                const float *part = part_at<D, NT>(a, st->first + min(p + k, st->n_part - 1), st->first);
                pm[k] = __ldcg(part + 8 * NT * D + h), pl[k] = __ldcg(part + 8 * NT * (D + 1) + h);
                v[k] = __ldcg((const float4 *)(part + h * D + d));
            }
#pragma unroll
            for (int k = 0; k < AT_ONCE; k++) {
                if (p + k >= st->n_part) break;
                add_part(&o, &m, &l, v[k], pm[k], pl[k]);
            }
        }
        put_out(a, st, group, h, d, o, m, l);
    }
}

template <int D, int NT> DEV void end_item(Merge<D, NT> *g, Running<D, NT> *r, const AttendArgs *a, const Stage *st, int group)
{
    put_warp(g, r, group);
    part_sync(1, N_WARP * WARP);
    bool alone = st->flags & ALONE, merges = blockIdx.x == st->first + st->n_part - 1;
    float *part = part_at<D, NT>(a, blockIdx.x, st->first);
    Slot *slot = (Slot *)a->part + st->first;
    for (int i = threadIdx.x; i < group * (D / 4); i += N_WARP * WARP) {
        int h = i / (D / 4), d = i % (D / 4) * 4;
        float m = fmaxf(fmaxf(g->m[0][h], g->m[1][h]), fmaxf(g->m[2][h], g->m[3][h])), l = 0.f;
        float4 o = make_float4(0.f, 0.f, 0.f, 0.f);
#pragma unroll
        for (int w = 0; w < N_WARP; w++) {
            float k = exp2_fast(g->m[w][h] - m);
            float4 v = *(const float4 *)&g->o[w][h][d];
            o.x += v.x * k, o.y += v.y * k, o.z += v.z * k, o.w += v.w * k;
            l += g->l[w][h] * k;
        }
        if (st->n_part == 1) {
            put_out(a, st, group, h, d, o, m, l);
        } else if (!alone) {
            *(float4 *)(part + h * D + d) = o;
            if (d == 0) part[8 * NT * D + h] = m, part[8 * NT * (D + 1) + h] = l;
        } else if (!merges) {
            put_slot(slot + (blockIdx.x - st->first), i, o, m, l);
        } else {
            float4 all = make_float4(0.f, 0.f, 0.f, 0.f);
            float top = NEG_BIG, sum = 0.f;
            gather_slots<NT>(slot, st->n_part - 1, i, &all, &top, &sum);
            add_part(&all, &top, &sum, o, m, l);
            put_out(a, st, group, h, d, all, top, sum);
        }
    }
    if (st->n_part > 1 && !alone) {
        part_sync(1, N_WARP * WARP); /* one thread speaks for all: what they wrote comes before its count */
        if (threadIdx.x == 0) g->last = count_device(a->arrived + st->first) == st->n_part - 1u;
        part_sync(1, N_WARP * WARP);
        if (g->last) {
            merge_parts<D, NT>(a, st, group);
            if (threadIdx.x == 0) a->arrived[st->first] = 0;
        }
    }
    part_sync(1, N_WARP * WARP); /* g is free again */
}

template <int D, int NT>
static __global__ void __launch_bounds__(THREADS, D > 128 ? 1 : 2) decode_kernel(const __grid_constant__ AttendArgs a, int n_stage)
{
    enum { BLOCK = 2 * PAGE * D * 2 };
    extern __shared__ __align__(1024) unsigned char smem[];
    unsigned char *ring = smem;
    Merge<D, NT> *g = (Merge<D, NT> *)(ring + (size_t)n_stage * (ATTEND_TILE / PAGE) * BLOCK);
    uint64_t *bars = (uint64_t *)(g + 1);
    Stage *desc = (Stage *)(bars + 2 * n_stage);
    uint32_t full = shared_addr(bars), empty = full + n_stage * 8;
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, group = a.n_head / a.n_kv_head;
    if (threadIdx.x == 0) {
        for (int i = 0; i < n_stage; i++) bar_init(full + i * 8, COPY_ARRIVALS), bar_init(empty + i * 8, N_WARP);
        fence_init();
    }
    __syncthreads();
    if (!a.early) chain_wait();
    if (a.let_on) chain_go();
    if (warp == N_WARP) {
        copy_warp<D>(&a, ring, desc, full, empty, n_stage);
        return;
    }
    enum { AHEAD = NT == 1 || D <= 64 }; /* else there are no registers for the queries of two items */
    const Start *start = (const Start *)a.plan + blockIdx.x;
    Running<D, NT> run;
    uint32_t next[D / 16][NT][2];
    int row = __ldcg(&start->row), head = __ldcg(&start->at.y);
    chain_wait();
    load_queries<D, NT>(run.q, &a, row, head, group);
    begin_item<D, NT>(&run);
    for (int stage = 0, phase = 0;;) {
        bar_wait(full + stage * 8, phase);
        Stage st = desc[stage];
        if (st.flags & STOP) break;
        bool last = st.flags & LAST;
        if (AHEAD && last) load_queries<D, NT>(next, &a, st.next_row, st.next_head, group);
        int tok0 = st.tok0 + warp * PAGE;
        if (tok0 < st.len) add_page<D, NT>(&run, &a, &st, ring + (stage * (ATTEND_TILE / PAGE) + warp) * BLOCK, tok0);
        __syncwarp();
        if (lane == 0) bar_arrive(empty + stage * 8);
        if (last) {
            end_item<D, NT>(g, &run, &a, &st, group);
            if (AHEAD) memcpy(run.q, next, sizeof next);
            else load_queries<D, NT>(run.q, &a, st.next_row, st.next_head, group);
            begin_item<D, NT>(&run);
        }
        if (++stage == n_stage) stage = 0, phase ^= 1;
    }
}

/* ---- launchers ---- */

typedef struct {
    const void *kernel;
    int kv_dim, n_tile; /* column tiles of 8 query heads */
    size_t merge_bytes;
} Variant;

#define VARIANT(d, nt) { (const void *)decode_kernel<d, nt>, d, nt, sizeof(Merge<d, nt>) }
static const Variant variants[] = { VARIANT(64, 1), VARIANT(64, 2), VARIANT(96, 1), VARIANT(96, 2),
                                    VARIANT(128, 1), VARIANT(128, 2), VARIANT(256, 1), VARIANT(256, 2) };

static const Variant *variant_of(int group, int kv_dim)
{
    for (const Variant &v : variants)
        if (v.kv_dim == kv_dim && v.n_tile == (group + 7) / 8) return &v;
    return nullptr;
}

static size_t shared_bytes(const Variant *v, int n_stage)
{
    return v->merge_bytes + (size_t)n_stage * (ATTEND_TILE * v->kv_dim * 4 + 16 + sizeof(Stage)) + 16;
}

/* Two CTAs an SM if each gets two stages at least, else one; then as many stages as fit. */
static int choose(const Variant *v, int *n_stage, int *per_sm)
{
    int dev, sm_bytes, block_bytes, n_sm;
    cudaGetDevice(&dev);
    cudaDeviceGetAttribute(&sm_bytes, cudaDevAttrMaxSharedMemoryPerMultiprocessor, dev);
    cudaDeviceGetAttribute(&block_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, dev);
    cudaDeviceGetAttribute(&n_sm, cudaDevAttrMultiProcessorCount, dev);
    int room = 0;
    for (*per_sm = v->kv_dim > 128 ? 1 : 2; *per_sm >= 1; --*per_sm) {
        room = sm_bytes / *per_sm - 1024 < block_bytes ? sm_bytes / *per_sm - 1024 : block_bytes;
        for (*n_stage = 8; *n_stage >= 2 && (int)shared_bytes(v, *n_stage) > room; --*n_stage) {}
        if (*n_stage >= 2) break;
    }
    if (*per_sm < 1) return 0;
    return n_sm * *per_sm < ATTEND_MAX_CTA ? n_sm * *per_sm : ATTEND_MAX_CTA;
}

int attend_kv_dim(int head_dim)
{
    return head_dim <= 64 ? 64 : head_dim <= 96 ? 96 : head_dim <= 128 ? 128 : head_dim <= 256 ? 256 : 0;
}

bool attend_decode_fits(int group) { return group >= 1 && group <= 16; }

int attend_decode_ctas(int group, int kv_dim)
{
    int n_stage, per_sm;
    const Variant *v = variant_of(group, kv_dim);
    return v ? choose(v, &n_stage, &per_sm) : 0;
}

size_t attend_part_bytes(int group, int kv_dim)
{
    return ATTEND_MAX_CTA * sizeof(Slot) + (size_t)2 * ATTEND_MAX_CTA * ((group + 7) / 8 * 8) * (kv_dim + 2) * sizeof(float);
}

void launch_attend_plan(Stream s, int32_t *plan, const AttendArgs *a)
{
    CHAIN(plan_kernel, (a->n_cta + 31) / 32, 32 * WARP, (ATTEND_MAX_DECODE + 1) * sizeof(int), s, (Start *)plan, *a);
}

void launch_attend_decode(Stream s, const AttendArgs *args)
{
    int n_stage, per_sm;
    AttendArgs a = *args;
    const Variant *v = variant_of(a.n_head / a.n_kv_head, a.kv_dim);
    if (!v || !choose(v, &n_stage, &per_sm)) return;
    size_t bytes = shared_bytes(v, n_stage);
    cudaFuncSetAttribute(v->kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    void *to_kernel[] = { &a, &n_stage };
    Chain c;
    chain_set(&c, a.n_cta, THREADS, bytes, s);
    a.early = a.early && c.config.numAttrs; /* older chips have only one way to copy, and nothing to overtake */
    cudaLaunchKernelExC(&c.config, v->kernel, to_kernel);
}
