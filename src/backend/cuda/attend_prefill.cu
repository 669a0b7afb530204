/* attend_prefill.cu - attention of many new tokens of a sequence over its pages: prompts, chunks of prompts after a
 * cached prefix, and groups of query heads too wide for attend_decode.cu.
 *
 *   out[i][h] = sum_j softmax_j(cap(scale * q[i][h] . k[j])) v[j], pos(i) - window < j <= pos(i)
 *
 * Bound by the tensor cores: 4 * head_dim * n_head operations a pair (i, j). The query heads of one kv head are packed with
 * the tokens into one dimension of rows, 128 a CTA, so keys are read once for the group: row r is token r / group, head
 * r % group. One copy warp fills a ring of tiles of 64 tokens, one bulk copy a page; eight computing warps own 16 rows
 * each and never wait for one another: S = Q K^T with running maximum and sum in registers, P stays in registers, O += P V.
 * Tiles wholly above a warp's diagonal are skipped; the list of tiles is sorted longest first by the host.
 * This is the version for every chip and shape; attend_hopper.cu is that for sm_90a. */
#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.h"

enum { N_WARP = 8, ROWS = 16 * N_WARP, THREADS = (N_WARP + 1) * WARP, N_PAGE = ATTEND_TILE / PAGE };

/* What one CTA does. */
typedef struct {
    int seq, head, q0, n_q;  /* rows: tokens [q0, q0 + n_q) of those new in this pass */
    int pos0;                /* position of the first */
    int len;                 /* tokens of the sequence in the pages */
    int base, n_tile;        /* first page, tiles from there */
} Work;

DEV Work work_of(const AttendArgs *a)
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
    w.n_tile = (w.pos0 + w.n_q - w.base * PAGE + ATTEND_TILE - 1) / ATTEND_TILE;
    return w;
}

template <int D>
DEV void copy_warp(const AttendArgs *a, const Work *w, unsigned char *ring, uint32_t full, uint32_t empty, int n_stage)
{
    enum { BLOCK = 2 * PAGE * D * 2 };
    int lane = threadIdx.x % WARP, n_pages = (w->pos0 + w->n_q + PAGE - 1) / PAGE;
    uint64_t policy = policy_stream();
    const int32_t *pages = a->pages + a->page_first[w->seq];
    for (int tile = 0, stage = 0, phase = 0; tile < w->n_tile; tile++) {
        int page = w->base + tile * N_PAGE + lane, n = min((int)N_PAGE, n_pages - (page - lane));
        int where = lane < n ? __ldg(pages + page) : 0;
        bar_wait(empty + stage * 8, phase ^ 1);
        const char *src = (const char *)a->kv + ((size_t)where * a->n_kv_head + w->head) * BLOCK;
        copy_blocks(shared_addr(ring) + (stage * N_PAGE + lane) * BLOCK, src, BLOCK, n, n * BLOCK, full + stage * 8, policy);
        if (++stage == n_stage) stage = 0, phase ^= 1;
    }
}

/* A warp's 16 rows. A thread holds rows lane / 4 and + 8, columns 2 * (lane % 4) + {0, 1} of each 8. */
template <int D> struct Rows {
    uint32_t q[D / 16][4];
    float o[D / 8][4];
    float m[2], l[2];
    int pos[2]; /* of the two rows; -1: no such row, nothing is seen from it */
};

DEV const bf16 *row_at(const AttendArgs *a, const Work *w, const void *base, int stride, int r)
{
    int group = a->n_head / a->n_kv_head;
    return (const bf16 *)base + (size_t)(a->seq_row[w->seq] + w->q0 + r / group) * stride +
           (w->head * group + r % group) * a->head_dim;
}

template <int D> DEV void begin_rows(Rows<D> *s, const AttendArgs *a, const Work *w, int row0)
{
    int lane = threadIdx.x % WARP, group = a->n_head / a->n_kv_head;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int r = row0 + lane / 4 + i * 8;
        bool is = r < w->n_q * group;
        const bf16 *q = row_at(a, w, a->qkv, a->qkv_stride, is ? r : 0);
        s->pos[i] = is ? w->pos0 + r / group : -1;
        s->m[i] = NEG_BIG;
        s->l[i] = 0.f;
#pragma unroll
        for (int k = 0; k < D / 16; k++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                int d = k * 16 + h * 8 + lane % 4 * 2;
                s->q[k][h * 2 + i] = is && d < a->head_dim ? *(const uint32_t *)(q + d) : 0;
            }
    }
#pragma unroll
    for (int k = 0; k < D / 8; k++) s->o[k][0] = s->o[k][1] = s->o[k][2] = s->o[k][3] = 0.f;
}

/* Scores of NP pages: p[t][..] for tokens 8t... */
template <int D, int NP> DEV void scores(float p[2 * NP][4], const Rows<D> *s, uint32_t block)
{
    enum { BLOCK = 2 * PAGE * D * 2 };
    int lane = threadIdx.x % WARP, tok = (lane & 7) + (lane >> 4) * 8, half = lane >> 3 & 1;
#pragma unroll
    for (int t = 0; t < 2 * NP; t++) p[t][0] = p[t][1] = p[t][2] = p[t][3] = 0.f;
#pragma unroll
    for (int i = 0; i < D / 16; i++)
#pragma unroll
        for (int page = 0; page < NP; page++) {
            uint32_t key[4];
            ldmatrix(key, block + page * BLOCK + kv_chunk<D>(tok, 2 * i + half));
            mma(p[2 * page], s->q[i], key[0], key[1]);
            mma(p[2 * page + 1], s->q[i], key[2], key[3]);
        }
}

template <int D, int NP> DEV void mask(float p[2 * NP][4], const Rows<D> *s, const AttendArgs *a, int tok0)
{
    int lane = threadIdx.x % WARP;
#pragma unroll
    for (int t = 0; t < 2 * NP; t++)
#pragma unroll
        for (int c = 0; c < 4; c++) {
            int j = tok0 + t * 8 + lane % 4 * 2 + (c & 1), pos = s->pos[c >> 1];
            if (j > pos || (a->window > 0 && j <= pos - a->window)) p[t][c] = -INFINITY;
        }
}

template <int D, int NP> DEV void soften(Rows<D> *s, float p[2 * NP][4], float scale)
{
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float top = NEG_BIG;
#pragma unroll
        for (int t = 0; t < 2 * NP; t++) top = fmaxf(top, fmaxf(p[t][2 * i], p[t][2 * i + 1]));
        top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
        top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
        float m = fmaxf(s->m[i], top * scale), shrink = exp2_fast(s->m[i] - m), sum = 0.f;
        s->m[i] = m;
#pragma unroll
        for (int t = 0; t < 2 * NP; t++)
#pragma unroll
            for (int c = 2 * i; c < 2 * i + 2; c++) {
                p[t][c] = exp2_fast(fmaf(p[t][c], scale, -m));
                sum += p[t][c];
            }
        s->l[i] = s->l[i] * shrink + sum;
        if (__all_sync(~0u, shrink == 1.f)) continue;
#pragma unroll
        for (int k = 0; k < D / 8; k++) s->o[k][2 * i] *= shrink, s->o[k][2 * i + 1] *= shrink;
    }
}

/* Values past the sequence's end are whatever the page held, maybe NaN, and 0 * NaN is NaN. */
DEV uint32_t keep(uint32_t v, int tok, int len) { return tok + 1 < len ? v : tok < len ? v & 0xffff : 0; }

template <int D, int NP> DEV void add_values(Rows<D> *s, float p[2 * NP][4], uint32_t block, int tok0, int len, int n_page)
{
    enum { BLOCK = 2 * PAGE * D * 2 };
    int lane = threadIdx.x % WARP, tok = lane & 15, half = lane >> 4;
#pragma unroll
    for (int page = 0; page < NP; page++) {
        if (page >= n_page) break;
        float *lo = p[2 * page], *hi = p[2 * page + 1];
        uint32_t w[4] = { pack2(lo[0], lo[1]), pack2(lo[2], lo[3]), pack2(hi[0], hi[1]), pack2(hi[2], hi[3]) };
        bool tail = tok0 + page * PAGE + PAGE > len;
        int first = tok0 + page * PAGE + lane % 4 * 2;
#pragma unroll
        for (int i = 0; i < D / 16; i++) {
            uint32_t v[4];
            ldmatrix_trans(v, block + page * BLOCK + PAGE * D * 2 + kv_chunk<D>(tok, 2 * i + half));
            if (tail) {
                v[0] = keep(v[0], first, len), v[1] = keep(v[1], first + 8, len);
                v[2] = keep(v[2], first, len), v[3] = keep(v[3], first + 8, len);
            }
            mma(s->o[2 * i], w, v[0], v[1]);
            mma(s->o[2 * i + 1], w, v[2], v[3]);
        }
    }
}

template <int D, int NP> DEV void add_tile(Rows<D> *s, const AttendArgs *a, const Work *w, uint32_t block, int tok0)
{
    float p[2 * NP][4], scale = a->scale * LOG2E;
    int n_page = (w->pos0 + w->n_q - tok0 + PAGE - 1) / PAGE;
    if (n_page <= 0) return;
    scores<D, NP>(p, s, block);
    if (a->softcap > 0.f) {
        scale = LOG2E;
#pragma unroll
        for (int t = 0; t < 2 * NP; t++)
#pragma unroll
            for (int c = 0; c < 4; c++) p[t][c] = a->softcap * tanhf(p[t][c] * a->scale / a->softcap);
    }
    if (a->window > 0 || tok0 + NP * PAGE > w->pos0 + 1) mask<D, NP>(p, s, a, tok0);
    soften<D, NP>(s, p, scale);
    add_values<D, NP>(s, p, block, tok0, w->len, n_page);
}

template <int D> DEV void end_rows(Rows<D> *s, const AttendArgs *a, const Work *w, int row0)
{
    int lane = threadIdx.x % WARP, group = a->n_head / a->n_kv_head;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int r = row0 + lane / 4 + i * 8;
        float l = s->l[i], scale;
        l += __shfl_xor_sync(~0u, l, 1);
        l += __shfl_xor_sync(~0u, l, 2);
        if (s->pos[i] < 0) continue;
        scale = 1.f / l;
        if (a->sinks) {
            float sink = a->sinks[w->head * group + r % group] * LOG2E, top = fmaxf(s->m[i], sink), k = exp2_fast(s->m[i] - top);
            scale = k / (l * k + exp2_fast(sink - top));
        }
        bf16 *out = (bf16 *)row_at(a, w, a->out, a->out_stride, r);
#pragma unroll
        for (int k = 0; k < D / 8; k++) {
            int d = k * 8 + lane % 4 * 2;
            if (d < a->head_dim) *(uint32_t *)(out + d) = pack2(s->o[k][2 * i] * scale, s->o[k][2 * i + 1] * scale);
        }
    }
}

template <int D> static __global__ void __launch_bounds__(THREADS, 1) prefill_kernel(const __grid_constant__ AttendArgs a, int n_stage)
{
    enum { BLOCK = 2 * PAGE * D * 2, NP = D > 128 ? 2 : 4 };
    extern __shared__ __align__(1024) unsigned char smem[];
    uint64_t *bars = (uint64_t *)(smem + (size_t)n_stage * N_PAGE * BLOCK);
    uint32_t full = shared_addr(bars), empty = full + n_stage * 8, ring = shared_addr(smem);
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, group = a.n_head / a.n_kv_head, row0 = warp * 16;
    chain_wait();
    if ((int)blockIdx.x >= a.count[1] * a.n_kv_head) return;
    Work w = work_of(&a);
    if (threadIdx.x == 0) {
        for (int i = 0; i < n_stage; i++) bar_init(full + i * 8, COPY_ARRIVALS), bar_init(empty + i * 8, N_WARP);
        fence_init();
    }
    __syncthreads();
    if (warp == N_WARP) {
        copy_warp<D>(&a, &w, smem, full, empty, n_stage);
        return;
    }
    Rows<D> rows;
    begin_rows<D>(&rows, &a, &w, row0);
    int top = w.pos0 + min(row0 + 15, w.n_q * group - 1) / group; /* the warp sees nothing past this */
    if (row0 >= w.n_q * group) top = -1;
    for (int tile = 0, stage = 0, phase = 0; tile < w.n_tile; tile++) {
        int tok0 = w.base * PAGE + tile * ATTEND_TILE;
        bar_wait(full + stage * 8, phase);
#pragma unroll 1
        for (int i = 0; i < N_PAGE / NP; i++)
            if (tok0 + i * NP * PAGE <= top)
                add_tile<D, NP>(&rows, &a, &w, ring + (stage * N_PAGE + i * NP) * BLOCK, tok0 + i * NP * PAGE);
        __syncwarp();
        if (lane == 0) bar_arrive(empty + stage * 8);
        if (++stage == n_stage) stage = 0, phase ^= 1;
    }
    end_rows<D>(&rows, &a, &w, row0);
}

static size_t shared_bytes(int kv_dim, int n_stage) { return (size_t)n_stage * (ATTEND_TILE * kv_dim * 4 + 16); }

template <int D> static void launch(cudaStream_t s, const AttendArgs *a)
{
    int dev, room, n_stage = 4;
    cudaGetDevice(&dev);
    cudaDeviceGetAttribute(&room, cudaDevAttrMaxSharedMemoryPerBlockOptin, dev);
    while (n_stage > 1 && (int)shared_bytes(D, n_stage) > room) n_stage--;
    cudaFuncSetAttribute((const void *)prefill_kernel<D>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared_bytes(D, n_stage));
    CHAIN(prefill_kernel<D>, a->n_tile * a->n_kv_head, THREADS, shared_bytes(D, n_stage), s, *a, n_stage);
}

void launch_attend_prefill(Stream s, const AttendArgs *a)
{
    if (a->n_tile <= 0) return;
    if (attend_hopper_fits(a)) {
        launch_attend_hopper(s, a);
        return;
    }
    if (a->kv_dim == 64) launch<64>((cudaStream_t)s, a);
    else if (a->kv_dim == 96) launch<96>((cudaStream_t)s, a);
    else if (a->kv_dim == 128) launch<128>((cudaStream_t)s, a);
    else launch<256>((cudaStream_t)s, a);
}

int attend_prefill_rows(int group) { return ROWS / group; }
