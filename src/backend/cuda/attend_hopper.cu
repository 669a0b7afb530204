/* attend_hopper.cu - attend_prefill.cu for sm_90a: the same sums and the same tiles of rows, by warpgroup instructions.
 *
 * A CTA is one copy warp and two computing warpgroups of 64 packed rows each. Keys and values come in tiles of 128 tokens
 * (64 for head size 256) into two stages each; pages are stored as planes of 64 elements a row already swizzled as the
 * instructions want them, so a tile is gathered by plain bulk copies of 2 KB, one a page and plane. Q lies in shared memory
 * in the same form. Each warpgroup starts S = Q K^T of the next tile before O += P V of the present one, so
 * that the softmax of the one runs beside the product of the other; two warpgroups fill the rest of the gaps.
 * Values of tokens that are no part of the sequence are cleared in the last tile (0 * NaN is NaN).
 * Bound: 4 * head_dim * n_head operations a pair. Measured: see docs/perf/gpu-prefill-attention.md. */
#include "backend/cuda/launch.h"
#include "backend/cuda/wgmma.cuh"

enum { N_GROUP = 2, GROUP = 128, THREADS = (N_GROUP + 1) * GROUP, GROUP_ROWS = 64, ROWS = N_GROUP * GROUP_ROWS, N_STAGE = 2 };

template <int D> struct Size {
    enum {
        TILE = D > 128 ? 64 : 128, PAGES = TILE / PAGE, PLANES = D / 64, PLANE = TILE * 128, /* bytes of a plane of a tile */
        PART = PLANES * PLANE, Q_PLANE = GROUP_ROWS * 128, Q = PLANES * Q_PLANE,             /* bytes of K or V; of a group's Q */
        SHARED = N_GROUP * Q + 2 * N_STAGE * PART + 1024
    };
};

#if __CUDA_ARCH_FEAT_SM90_ALL

/* What one CTA does; as in attend_prefill.cu. */
typedef struct {
    int seq, head, q0, n_q, pos0, len, base, n_tile;
} Work;

template <int TILE> DEV Work work_of(const AttendArgs *a)
{
    Work w;
    int group = a->n_head / a->n_kv_head, i = blockIdx.x / a->n_kv_head;
    w.seq = a->tiles[2 * i];
    w.q0 = a->tiles[2 * i + 1];
    w.head = blockIdx.x % a->n_kv_head;
    w.n_q = min(ROWS / group, a->seq_rows[w.seq] - w.q0);
    w.len = a->seq_len[w.seq];
    w.pos0 = w.len - a->seq_rows[w.seq] + w.q0;
    int lo = a->window > 0 ? max(0, w.pos0 - a->window + 1) : 0;
    w.base = lo / PAGE;
    w.n_tile = (w.pos0 + w.n_q - w.base * PAGE + TILE - 1) / TILE;
    return w;
}

/* Barriers: K full, V full, K empty, V empty, N_STAGE each. */
DEV uint32_t bar_of(uint32_t bars, int kind, int stage) { return bars + (kind * N_STAGE + stage) * 8; }

template <int D> DEV void copy_warp(const AttendArgs *a, const Work *w, uint32_t ring, uint32_t bars)
{
    typedef Size<D> Z;
    enum { BLOCK = 2 * PAGE * D * 2, PIECE = PAGE * 128 };
    int lane = threadIdx.x % WARP, n_pages = (w->pos0 + w->n_q + PAGE - 1) / PAGE, page_in = lane % Z::PAGES, plane = lane / Z::PAGES;
    uint64_t policy = policy_stream();
    const int32_t *pages = a->pages + a->page_first[w->seq];
    for (int tile = 0, stage = 0, phase = 0; tile < w->n_tile; tile++) {
        int first = w->base + tile * Z::PAGES, n = min((int)Z::PAGES, n_pages - first);
        bool mine = page_in < n && plane < Z::PLANES;
        int where = mine ? __ldg(pages + first + page_in) : 0;
        const char *src = (const char *)a->kv + ((size_t)where * a->n_kv_head + w->head) * BLOCK + plane * PIECE;
#pragma unroll
        for (int v = 0; v < 2; v++) {
            uint32_t full = bar_of(bars, v, stage), dst = ring + (2 * stage + v) * Z::PART + plane * Z::PLANE + page_in * PIECE;
            bar_wait(bar_of(bars, 2 + v, stage), phase ^ 1);
            if (lane == 0)
                asm volatile("{ .reg .b64 s; mbarrier.arrive.expect_tx.shared.b64 s, [%0], %1; }" ::"r"(full), "r"(n * Z::PLANES * PIECE) : "memory");
            __syncwarp();
            if (mine)
                asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;"
                             ::"r"(dst), "l"(src + v * (PAGE * D * 2)), "r"(PIECE), "r"(full), "l"(policy) : "memory");
        }
        if (++stage == N_STAGE) stage = 0, phase ^= 1;
    }
}

DEV const bf16 *row_at(const AttendArgs *a, const Work *w, const void *base, int stride, int r)
{
    int group = a->n_head / a->n_kv_head;
    return (const bf16 *)base + (size_t)(a->seq_row[w->seq] + w->q0 + r / group) * stride +
           (w->head * group + r % group) * a->head_dim;
}

/* A warpgroup's 64 rows of Q into shared memory. */
template <int D> DEV void load_q(unsigned char *q, const AttendArgs *a, const Work *w, int row0)
{
    int n_rows = w->n_q * (a->n_head / a->n_kv_head);
    for (int i = threadIdx.x % GROUP; i < GROUP_ROWS * (D / 8); i += GROUP) {
        int r = i / (D / 8), c = i % (D / 8);
        uint4 v = make_uint4(0, 0, 0, 0);
        if (row0 + r < n_rows && c * 8 < a->head_dim) v = *(const uint4 *)(row_at(a, w, a->qkv, a->qkv_stride, row0 + r) + c * 8);
        *(uint4 *)(q + c / 8 * Size<D>::Q_PLANE + r * 128 + (((c & 7) ^ (r & 7)) << 4)) = v;
    }
    fence_async();
    part_sync(1 + row0 / GROUP_ROWS, GROUP);
}

/* Rows from `from` on of a tile of V become 0. Both warpgroups may do it. */
template <int D> DEV void clear_rows(unsigned char *v, int from, int bar)
{
    typedef Size<D> Z;
    for (int i = threadIdx.x % GROUP; i < (Z::TILE - from) * (D / 8); i += GROUP) {
        int r = from + i / (D / 8), c = i % (D / 8);
        *(uint4 *)(v + c / 8 * Z::PLANE + r * 128 + ((c & 7) << 4)) = make_uint4(0, 0, 0, 0);
    }
    fence_async();
    part_sync(bar, GROUP);
}

template <int D> struct Rows {
    float o[D / 2];
    float m[2], l[2];
    int pos[2];
};

template <int D> DEV void start_scores(float s[Size<D>::TILE / 2], uint32_t q, uint32_t k)
{
    typedef Size<D> Z;
    wgmma_begin();
#pragma unroll
    for (int i = 0; i < D / 16; i++) {
        uint64_t a = wgmma_desc(q + i / 4 * Z::Q_PLANE + i % 4 * 32, Z::Q_PLANE), b = wgmma_desc(k + i / 4 * Z::PLANE + i % 4 * 32, Z::PLANE);
        if (Z::TILE == 128) wgmma_ss_n128(s, a, b, i > 0);
        else wgmma_ss_n64(s, a, b, i > 0);
    }
    wgmma_commit();
}

template <int D> DEV void start_values(float *o, const uint32_t *p, uint32_t v)
{
    typedef Size<D> Z;
    wgmma_begin();
#pragma unroll
    for (int i = 0; i < Z::TILE / 16; i++) {
        uint64_t b = wgmma_desc(v + i * 2048, Z::PLANE);
        if (D == 64) wgmma_rs_n64(o, p + 4 * i, b);
        else if (D == 128) wgmma_rs_n128(o, p + 4 * i, b);
        else wgmma_rs_n256(o, p + 4 * i, b);
    }
    wgmma_commit();
}

template <int D> DEV void mask(float s[Size<D>::TILE / 2], const Rows<D> *r, const AttendArgs *a, int tok0)
{
    int lane = threadIdx.x % WARP;
#pragma unroll
    for (int i = 0; i < Size<D>::TILE / 2; i++) {
        int j = tok0 + i / 4 * 8 + lane % 4 * 2 + (i & 1), pos = r->pos[i >> 1 & 1];
        if (j > pos || (a->window > 0 && j <= pos - a->window)) s[i] = -INFINITY;
    }
}

/* s becomes weights; shrink: what earlier sums are to be multiplied by. */
template <int D> DEV void soften(Rows<D> *r, float s[Size<D>::TILE / 2], float scale, float shrink[2])
{
    enum { N = Size<D>::TILE / 2 };
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float top = NEG_BIG, sum = 0.f;
#pragma unroll
        for (int i = 2 * h; i < N; i += 4) top = fmaxf(top, fmaxf(s[i], s[i + 1]));
        top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
        top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
        float m = fmaxf(r->m[h], top * scale);
        shrink[h] = exp2_fast(r->m[h] - m);
        r->m[h] = m;
#pragma unroll
        for (int i = 2 * h; i < N; i += 4) {
            s[i] = exp2_fast(fmaf(s[i], scale, -m));
            s[i + 1] = exp2_fast(fmaf(s[i + 1], scale, -m));
            sum += s[i] + s[i + 1];
        }
        r->l[h] = r->l[h] * shrink[h] + sum;
    }
}

template <int D> DEV void weigh(Rows<D> *r, float s[Size<D>::TILE / 2], const AttendArgs *a, const Work *w, int tok0, float shrink[2])
{
    float scale = a->scale * LOG2E;
    if (a->softcap > 0.f) {
        scale = LOG2E;
#pragma unroll
        for (int i = 0; i < Size<D>::TILE / 2; i++) s[i] = a->softcap * tanhf(s[i] * a->scale / a->softcap);
    }
    if (a->window > 0 || tok0 + Size<D>::TILE > w->pos0 + 1) mask<D>(s, r, a, tok0);
    soften<D>(r, s, scale, shrink);
}

template <int D> DEV void pack(uint32_t p[Size<D>::TILE / 4], const float s[Size<D>::TILE / 2])
{
#pragma unroll
    for (int i = 0; i < Size<D>::TILE / 4; i++) p[i] = pack2(s[2 * i], s[2 * i + 1]);
}

template <int D> DEV void end_rows(Rows<D> *r, const AttendArgs *a, const Work *w, int row0)
{
    int lane = threadIdx.x % WARP, group = a->n_head / a->n_kv_head;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int row = row0 + threadIdx.x % GROUP / WARP * 16 + lane / 4 + h * 8;
        float l = r->l[h], scale;
        l += __shfl_xor_sync(~0u, l, 1);
        l += __shfl_xor_sync(~0u, l, 2);
        if (r->pos[h] < 0) continue;
        scale = 1.f / l;
        if (a->sinks) {
            float sink = a->sinks[w->head * group + row % group] * LOG2E, top = fmaxf(r->m[h], sink), k = exp2_fast(r->m[h] - top);
            scale = k / (l * k + exp2_fast(sink - top));
        }
        bf16 *out = (bf16 *)row_at(a, w, a->out, a->out_stride, row);
#pragma unroll
        for (int i = 0; i < D / 8; i++) {
            int d = i * 8 + lane % 4 * 2;
            if (d < a->head_dim) *(uint32_t *)(out + d) = pack2(r->o[4 * i + 2 * h] * scale, r->o[4 * i + 2 * h + 1] * scale);
        }
    }
}

template <int D> DEV void compute(const AttendArgs *a, const Work *w, unsigned char *smem, uint32_t bars, int wg)
{
    typedef Size<D> Z;
    int row0 = wg * GROUP_ROWS, group = a->n_head / a->n_kv_head, n_rows = w->n_q * group, lane = threadIdx.x % WARP;
    bool leader = lane == 0; /* each warp says for itself that it is done */
    unsigned char *q = smem + wg * Z::Q, *ring = smem + N_GROUP * Z::Q;
    int top = w->pos0 + min(row0 + GROUP_ROWS - 1, n_rows - 1) / group;
    int n_tile = row0 < n_rows ? (top - w->base * PAGE) / Z::TILE + 1 : 0; /* what this warpgroup sees; at most one fewer, or none */
    for (int t = 0; t < w->n_tile && n_tile == 0; t++) {                     /* no rows: let the others go on */
        for (int v = 0; v < 2 && leader; v++) {
            bar_wait(bar_of(bars, v, t % N_STAGE), t / N_STAGE & 1);
            bar_arrive(bar_of(bars, 2 + v, t % N_STAGE));
        }
    }
    if (n_tile == 0) return;
    load_q<D>(q, a, w, row0);
    Rows<D> r;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int row = row0 + threadIdx.x % GROUP / WARP * 16 + lane / 4 + h * 8;
        r.pos[h] = row < n_rows ? w->pos0 + row / group : -1;
        r.m[h] = NEG_BIG, r.l[h] = 0.f;
    }
#pragma unroll
    for (int i = 0; i < D / 2; i++) r.o[i] = 0.f;
    float s[Z::TILE / 2], shrink[2];
    uint32_t p[Z::TILE / 4], q_at = shared_addr(q), ring_at = shared_addr(ring);
    int known = min(w->len, (w->pos0 + w->n_q + PAGE - 1) / PAGE * PAGE); /* values past it are not ours */
    bar_wait(bar_of(bars, 0, 0), 0);
    start_scores<D>(s, q_at, ring_at);
    wgmma_wait<0>();
    wgmma_hold<Z::TILE / 2>(s);
    if (leader) bar_arrive(bar_of(bars, 2, 0));
    weigh<D>(&r, s, a, w, w->base * PAGE, shrink);
    pack<D>(p, s);
    int t = 0;
    for (; t + 1 < n_tile; t++) {
        int stage = t % N_STAGE, next = (t + 1) % N_STAGE;
        bar_wait(bar_of(bars, 0, next), (t + 1) / N_STAGE & 1);
        start_scores<D>(s, q_at, ring_at + 2 * next * Z::PART);
        bar_wait(bar_of(bars, 1, stage), t / N_STAGE & 1);
        start_values<D>(r.o, p, ring_at + (2 * stage + 1) * Z::PART);
        wgmma_wait<1>();
        wgmma_hold<Z::TILE / 2>(s);
        if (leader) bar_arrive(bar_of(bars, 2, next));
        weigh<D>(&r, s, a, w, w->base * PAGE + (t + 1) * Z::TILE, shrink);
        wgmma_wait<0>();
        wgmma_hold<D / 2>(r.o);
        if (leader) bar_arrive(bar_of(bars, 3, stage));
#pragma unroll
        for (int i = 0; i < D / 2; i++) r.o[i] *= shrink[i >> 1 & 1];
        pack<D>(p, s);
    }
    int stage = t % N_STAGE, tok0 = w->base * PAGE + t * Z::TILE;
    bar_wait(bar_of(bars, 1, stage), t / N_STAGE & 1);
    if (tok0 + Z::TILE > known) clear_rows<D>(ring + (2 * stage + 1) * Z::PART, max(0, known - tok0), 1 + wg);
    start_values<D>(r.o, p, ring_at + (2 * stage + 1) * Z::PART);
    wgmma_wait<0>();
    wgmma_hold<D / 2>(r.o);
    end_rows<D>(&r, a, w, row0);
}

#endif

template <int D> static __global__ void __launch_bounds__(THREADS, 1) hopper_kernel(const __grid_constant__ AttendArgs a)
{
#if __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ __align__(1024) unsigned char smem[];
    typedef Size<D> Z;
    uint32_t bars = shared_addr(smem + N_GROUP * Z::Q + 2 * N_STAGE * Z::PART);
    chain_wait();
    if ((int)blockIdx.x >= a.count[1] * a.n_kv_head) return;
    Work w = work_of<Z::TILE>(&a);
    if (threadIdx.x == 0) {
        for (int i = 0; i < 4 * N_STAGE; i++) bar_init(bars + i * 8, i < 2 * N_STAGE ? 1 : N_GROUP * (GROUP / WARP));
        fence_init();
    }
    __syncthreads();
    if (threadIdx.x / GROUP == N_GROUP) {
        reg_fewer<24>();
        if (threadIdx.x % GROUP < WARP) copy_warp<D>(&a, &w, shared_addr(smem + N_GROUP * Z::Q), bars);
    } else {
        reg_more<240>();
        compute<D>(&a, &w, smem, bars, threadIdx.x / GROUP);
    }
#endif
}

template <int D> static void launch(Stream s, const AttendArgs *a)
{
    cudaFuncSetAttribute((const void *)hopper_kernel<D>, cudaFuncAttributeMaxDynamicSharedMemorySize, Size<D>::SHARED);
    CHAIN(hopper_kernel<D>, a->n_tile * a->n_kv_head, THREADS, Size<D>::SHARED, s, *a);
}

bool attend_hopper_fits(const AttendArgs *a)
{
    cudaFuncAttributes f; /* of code that was compiled for another chip the body is empty */
    if (cudaFuncGetAttributes(&f, (const void *)hopper_kernel<128>) != cudaSuccess || f.ptxVersion != 90) return false;
    return a->head_dim % 8 == 0 && a->kv_dim != 96 && a->n_head / a->n_kv_head <= ROWS;
}

void launch_attend_hopper(Stream s, const AttendArgs *a)
{
    if (a->n_tile <= 0) return;
    if (a->kv_dim == 64) launch<64>(s, a);
    else if (a->kv_dim == 128) launch<128>(s, a);
    else launch<256>(s, a);
}
