/* gemv.cu - products with few rows (up to 16), where reading the weights is all that counts.
 *
 *   out[t][n] = sum_k in[t][k] w[n][k] (+ bias[n]) (+ out[t][n])
 *
 * Bound by reading w once. The tensor cores do the sums, so 8 tokens cost what 1 costs: w is the 16-row operand, the tokens
 * the 8-column one. Both are read straight from memory in the instruction's own layout: a sum over k may be taken in any
 * order, so thread j of four takes 8 neighbouring k (16 bytes) as its share of two instructions, in w and in x alike.
 * A CTA owns 16 * RT outputs; its eight warps share k, 64 bytes of a row at a time, and add up through shared memory in a
 * fixed order. Measured: see docs/perf/gpu-gemm.md. */
#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.h"

enum { N_WARP = 8, DEEP = 4 };

DEV uint4 load_once(const bf16 *p)
{
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
    return v;
}

DEV uint4 none(void) { return make_uint4(0, 0, 0, 0); }

template <int NT, int RT> static __global__ void __launch_bounds__(N_WARP *WARP, RT == 1 ? 3 : 2) gemv_kernel(const __grid_constant__ GemvArgs a)
{
    __shared__ float part[N_WARP][16 * RT][8 * NT + 1];
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, row0 = blockIdx.x * 16 * RT;
    const bf16 *w[2 * RT], *x[NT];
    bool row_in[2 * RT], tok_in[NT];
#pragma unroll
    for (int i = 0; i < 2 * RT; i++) {
        int r = row0 + lane / 4 + i * 8;
        row_in[i] = r < a.n;
        w[i] = (const bf16 *)a.w + (size_t)(row_in[i] ? r : 0) * a.k + lane % 4 * 8;
    }
#pragma unroll
    for (int i = 0; i < NT; i++) {
        int t = lane / 4 + i * 8;
        tok_in[i] = t < a.rows;
        x[i] = (const bf16 *)a.in + (size_t)(tok_in[i] ? t : 0) * a.in_stride + lane % 4 * 8;
    }
    float sum[RT][NT][4] = {};
    for (int k0 = warp * 32; k0 < a.k; k0 += N_WARP * 32 * DEEP) {
        uint4 wv[DEEP][2 * RT], xv[DEEP][NT];
#pragma unroll
        for (int u = 0; u < DEEP; u++) {
            int k = k0 + u * N_WARP * 32;
            bool in = k + lane % 4 * 8 < a.k;
#pragma unroll
            for (int i = 0; i < 2 * RT; i++) wv[u][i] = in && row_in[i] ? load_once(w[i] + k) : none();
#pragma unroll
            for (int i = 0; i < NT; i++) xv[u][i] = in && tok_in[i] ? *(const uint4 *)(x[i] + k) : none();
        }
#pragma unroll
        for (int u = 0; u < DEEP; u++)
#pragma unroll
            for (int r = 0; r < RT; r++) {
                uint4 lo = wv[u][2 * r], hi = wv[u][2 * r + 1];
                uint32_t a0[4] = { lo.x, hi.x, lo.y, hi.y }, a1[4] = { lo.z, hi.z, lo.w, hi.w };
#pragma unroll
                for (int t = 0; t < NT; t++) {
                    mma(sum[r][t], a0, xv[u][t].x, xv[u][t].y);
                    mma(sum[r][t], a1, xv[u][t].z, xv[u][t].w);
                }
            }
    }
#pragma unroll
    for (int r = 0; r < RT; r++)
#pragma unroll
        for (int t = 0; t < NT; t++)
#pragma unroll
            for (int c = 0; c < 4; c++)
                part[warp][r * 16 + lane / 4 + (c >> 1) * 8][t * 8 + lane % 4 * 2 + (c & 1)] = sum[r][t][c];
    __syncthreads();
    for (int i = threadIdx.x; i < 16 * RT * a.rows; i += N_WARP * WARP) {
        int r = i % (16 * RT), t = i / (16 * RT), n = row0 + r;
        if (n >= a.n) continue;
        float s = a.bias ? a.bias[n] : 0.f;
#pragma unroll
        for (int p = 0; p < N_WARP; p++) s += part[p][r][t];
        size_t at = (size_t)t * a.out_stride + n;
        if (a.f32) {
            float *o = (float *)a.out + at;
            *o = a.add ? *o + s : s;
        } else {
            bf16 *o = (bf16 *)a.out + at;
            *o = __float2bfloat16(a.add ? __bfloat162float(*o) + s : s);
        }
    }
}

void launch_gemv(Stream s, const GemvArgs *a)
{
    cudaStream_t st = (cudaStream_t)s;
    bool wide = a->n >= 32 * 512; /* enough CTAs of 32 outputs to fill the chip */
    int grid = (a->n + (wide ? 31 : 15)) / (wide ? 32 : 16);
    if (a->rows <= 8 && wide) gemv_kernel<1, 2><<<grid, N_WARP * WARP, 0, st>>>(*a);
    else if (a->rows <= 8) gemv_kernel<1, 1><<<grid, N_WARP * WARP, 0, st>>>(*a);
    else if (wide) gemv_kernel<2, 2><<<grid, N_WARP * WARP, 0, st>>>(*a);
    else gemv_kernel<2, 1><<<grid, N_WARP * WARP, 0, st>>>(*a);
}
