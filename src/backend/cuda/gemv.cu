/* gemv.cu - products with few rows (up to 16), where reading the weights is all that counts.
 *
 *   out[t][n] = sum_k in[t][k] w[n][k] (+ bias[n]) (+ out[t][n])
 *
 * Bound by reading w once. One CTA of 16 warps an SM walks over tiles of 16 outputs; the warps share k, 64 bytes of a row at
 * a time. Each warp always has the loads of its next round in flight while it multiplies the present one, across
 * tiles too; those of the first round are issued before earlier kernels are done, since weights depend on none of them.
 * The tensor cores do the sums, so 8 tokens cost what 1 costs: w is the 16-row operand, the tokens the 8-column one. A sum
 * over k may be taken in any order, so thread j of four takes 8 neighbouring k (16 bytes) as its share of two
 * instructions, in w and in x alike, straight from memory. The warps add up through shared memory in a fixed order.
 * (Bulk copies of 1 KB a row into a ring were slower: 3.2 against 3.8 TB/s; one row is too small a piece.)
 * Measured: see docs/perf/gpu-gemm.md. */
#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.h"

enum { N_WARP = 16, THREADS = N_WARP * WARP, ROWS = 16, DEEP = 4, STEP = 32, ROUND = N_WARP * STEP * DEEP };

DEV uint4 load_once(const bf16 *p)
{
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
    return v;
}

/* A warp's weights of one round: rows lane / 4 and + 8 of a tile. */
typedef struct {
    uint4 v[DEEP][2];
} Round;

/* Where a warp is in its stream of rounds. */
typedef struct {
    int tile, k; /* k: the lane's first */
} Place;

DEV Place first_place(void)
{
    Place p = { (int)blockIdx.x, (int)(threadIdx.x / WARP) * STEP + (int)threadIdx.x % 4 * 8 };
    return p;
}

DEV Place next_place(Place p, int k)
{
    p.k += ROUND;
    if (p.k - (int)threadIdx.x / WARP * STEP - (int)threadIdx.x % 4 * 8 >= k) {
        p.k = first_place().k;
        p.tile += gridDim.x;
    }
    return p;
}

DEV void load_round(Round *r, const GemvArgs *a, Place p, int n_tile)
{
    int lane = threadIdx.x % WARP, row = p.tile * ROWS + lane / 4;
    const bf16 *w0 = (const bf16 *)a->w + (size_t)min(row, a->n - 1) * a->k, *w1 = (const bf16 *)a->w + (size_t)min(row + 8, a->n - 1) * a->k;
#pragma unroll
    for (int u = 0; u < DEEP; u++) {
        int k = p.k + u * N_WARP * STEP;
        bool in = p.tile < n_tile && k < a->k;
        r->v[u][0] = in ? load_once(w0 + k) : make_uint4(0, 0, 0, 0);
        r->v[u][1] = in ? load_once(w1 + k) : make_uint4(0, 0, 0, 0);
    }
}

template <int NT> DEV void add_round(float sum[NT][4], const Round *r, const GemvArgs *a, int k0)
{
    int lane = threadIdx.x % WARP;
    uint4 x[DEEP][NT];
#pragma unroll
    for (int u = 0; u < DEEP; u++)
#pragma unroll
        for (int t = 0; t < NT; t++) {
            int k = k0 + u * N_WARP * STEP, tok = t * 8 + lane / 4;
            x[u][t] = k < a->k && tok < a->rows ? *(const uint4 *)((const bf16 *)a->in + (size_t)tok * a->in_stride + k) : make_uint4(0, 0, 0, 0);
        }
#pragma unroll
    for (int u = 0; u < DEEP; u++) {
        uint4 lo = r->v[u][0], hi = r->v[u][1];
        uint32_t a0[4] = { lo.x, hi.x, lo.y, hi.y }, a1[4] = { lo.z, hi.z, lo.w, hi.w };
#pragma unroll
        for (int t = 0; t < NT; t++) {
            mma(sum[t], a0, x[u][t].x, x[u][t].y);
            mma(sum[t], a1, x[u][t].z, x[u][t].w);
        }
    }
}

template <int NT> struct Part {
    float v[N_WARP][8 * NT][ROWS + 1];
};

template <int NT> DEV void put_out(const GemvArgs *a, const Part<NT> *part, int row0)
{
    for (int i = threadIdx.x; i < ROWS * a->rows; i += THREADS) {
        int r = i % ROWS, t = i / ROWS, n = row0 + r;
        if (n >= a->n) continue;
        float s = a->bias ? a->bias[n] : 0.f;
#pragma unroll
        for (int p = 0; p < N_WARP; p++) s += part->v[p][t][r];
        size_t at = (size_t)t * a->out_stride + n;
        if (a->f32) {
            float *o = (float *)a->out + at;
            *o = a->add ? *o + s : s;
        } else {
            bf16 *o = (bf16 *)a->out + at;
            *o = __float2bfloat16(a->add ? __bfloat162float(*o) + s : s);
        }
    }
}

template <int NT> static __global__ void __launch_bounds__(THREADS, 1) gemv_kernel(const __grid_constant__ GemvArgs a)
{
    __shared__ Part<NT> part[2];
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, n_tile = (a.n + ROWS - 1) / ROWS, turn = 0;
    Place ahead = first_place();
    Round now, next;
    load_round(&now, &a, ahead, n_tile);
    ahead = next_place(ahead, a.k);
    chain_wait();
    for (int tile = blockIdx.x; tile < n_tile; tile += gridDim.x, turn ^= 1) {
        float sum[NT][4] = {};
        for (int k0 = 0; k0 < a.k; k0 += ROUND) {
            load_round(&next, &a, ahead, n_tile);
            ahead = next_place(ahead, a.k);
            add_round<NT>(sum, &now, &a, k0 + first_place().k);
            now = next;
        }
#pragma unroll
        for (int t = 0; t < NT; t++)
#pragma unroll
            for (int c = 0; c < 4; c++) part[turn].v[warp][t * 8 + lane % 4 * 2 + (c & 1)][lane / 4 + (c >> 1) * 8] = sum[t][c];
        __syncthreads(); /* one a tile: the other half of part[] is read meanwhile */
        put_out<NT>(&a, &part[turn], tile * ROWS);
    }
}

void launch_gemv(Stream s, const GemvArgs *a)
{
    int dev, n_sm, n_tile = (a->n + ROWS - 1) / ROWS;
    cudaGetDevice(&dev);
    cudaDeviceGetAttribute(&n_sm, cudaDevAttrMultiProcessorCount, dev);
    int grid = n_tile < n_sm ? n_tile : n_sm;
    if (a->k % 8) launch_plain_linear(s, a);
    else if (a->rows <= 8) CHAIN(gemv_kernel<1>, grid, THREADS, 0, s, *a);
    else CHAIN(gemv_kernel<2>, grid, THREADS, 0, s, *a);
}
