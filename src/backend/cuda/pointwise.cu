/* pointwise.cu - what stands between the matrix products and touches each number once or twice (heads.cu has the rest).
 *
 * All are bound by bytes moved: 16 bytes a thread and access, a row's numbers in registers between the sum and its use,
 * several loads under way before the first is used, and no division to find a row: a block knows its own.
 * Sums and products are f32, results are rounded to bf16 once. Rows are wholly independent.
 *   norm   out = x / sqrt(mean(x^2) + eps) * (w + w_bias), with x += add first where there is one
 *   glu    out = act(gate) * up */
#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.h"

/* ---- embed, gather ---- */

static __global__ void embed_kernel(bf16 *out, int out_stride, const bf16 *table, const int32_t *token, const int32_t *drawn,
                                    int cols, float scale)
{
    chain_wait();
    int row = blockIdx.x, id = token[row];
    if (id < 0) id = drawn[-1 - id];
    const uint4 *src = (const uint4 *)(table + (size_t)id * cols);
    uint4 *dst = (uint4 *)(out + (size_t)row * out_stride);
    for (int i = threadIdx.x; i < cols / 8; i += blockDim.x) {
        uint4 v = src[i];
        if (scale != 1.f) {
            float f[8];
            unpack8(v, f);
            for (int k = 0; k < 8; k++) f[k] *= scale;
            v = pack8(f);
        }
        dst[i] = v;
    }
}

void launch_embed(Stream s, void *out, int out_stride, const void *table, const int32_t *token, const int32_t *drawn, int rows,
                  int cols, float scale)
{
    if (cols % 8) launch_plain_rows(s, out, out_stride, table, cols, token, drawn, rows, cols, scale);
    else CHAIN(embed_kernel, rows, 128, 0, s, (bf16 *)out, out_stride, (const bf16 *)table, token, drawn, cols, scale);
}

static __global__ void gather_kernel(bf16 *out, int out_stride, const bf16 *in, int in_stride, const int32_t *row, int cols)
{
    chain_wait();
    const uint4 *src = (const uint4 *)(in + (size_t)row[blockIdx.x] * in_stride);
    uint4 *dst = (uint4 *)(out + (size_t)blockIdx.x * out_stride);
    for (int i = threadIdx.x; i < cols / 8; i += blockDim.x) dst[i] = src[i];
}

void launch_gather(Stream s, void *out, int out_stride, const void *in, int in_stride, const int32_t *row, int rows, int cols)
{
    if (cols % 8) launch_plain_rows(s, out, out_stride, in, in_stride, row, nullptr, rows, cols, 1.f);
    else CHAIN(gather_kernel, rows, 128, 0, s, (bf16 *)out, out_stride, (const bf16 *)in, in_stride, row, cols);
}

/* ---- norms ---- */

enum { SMS = 132, ROWS_FEW = 2 * SMS };

/* A block takes every gridDim.x-th row; a thread holds V vectors of 8, and the weights of its columns where they fit the
 * registers. The next row is under way while this one's sum goes round the block. */
template <int V> static __global__ void __launch_bounds__(1024) norm_kernel(const __grid_constant__ NormArgs a)
{
    constexpr bool KEEP = V <= 2;
    __shared__ float part[WARP];
    uint4 x[V], more[V];
    float w[KEEP ? V : 1][8];
    int n = a.cols / 8, step = gridDim.x;
    auto weights = [&](int i, float *g) {
        float4 w0 = ((const float4 *)a.w)[2 * i], w1 = ((const float4 *)a.w)[2 * i + 1];
        float b = a.w_bias;
        g[0] = w0.x + b, g[1] = w0.y + b, g[2] = w0.z + b, g[3] = w0.w + b;
        g[4] = w1.x + b, g[5] = w1.y + b, g[6] = w1.z + b, g[7] = w1.w + b;
    };
    auto load = [&](int row) {
#pragma unroll
        for (int v = 0; v < V; v++) {
            int i = threadIdx.x + v * blockDim.x;
            if (i >= n || row >= a.rows) continue;
            x[v] = ((const uint4 *)((const bf16 *)a.x + (size_t)row * a.x_stride))[i];
            if (a.add) more[v] = ((const uint4 *)((const bf16 *)a.add + (size_t)row * a.add_stride))[i];
        }
    };
#pragma unroll
    for (int v = 0; v < V && KEEP; v++)
        if (threadIdx.x + v * blockDim.x < n) weights(threadIdx.x + v * blockDim.x, w[v]);
    chain_wait();
    load(blockIdx.x);
    for (int row = blockIdx.x; row < a.rows; row += step) {
        float f[V][8], sum = 0.f;
#pragma unroll
        for (int v = 0; v < V; v++) {
            int i = threadIdx.x + v * blockDim.x;
            if (i >= n) continue;
            unpack8(x[v], f[v]);
            if (a.add) {
                float g[8];
                unpack8(more[v], g);
#pragma unroll
                for (int k = 0; k < 8; k++) f[v][k] += g[k];
                uint4 rounded = pack8(f[v]);
                ((uint4 *)((bf16 *)a.x + (size_t)row * a.x_stride))[i] = rounded;
                unpack8(rounded, f[v]);
            }
#pragma unroll
            for (int k = 0; k < 8; k++) sum += f[v][k] * f[v][k];
        }
        load(row + step);
        float scale = rsqrtf(block_sum(sum, part) / a.cols + a.eps);
#pragma unroll
        for (int v = 0; v < V; v++) {
            int i = threadIdx.x + v * blockDim.x;
            if (i >= n) continue;
            if (!KEEP) weights(i, w[0]);
#pragma unroll
            for (int k = 0; k < 8; k++) f[v][k] *= scale * w[KEEP ? v : 0][k];
            ((uint4 *)((bf16 *)a.out + (size_t)row * a.out_stride))[i] = pack8(f[v]);
        }
    }
}

void launch_norm(Stream s, const NormArgs *a)
{
    int per_row = a->cols / 8, v = per_row <= 128 ? 1 : per_row <= 1024 ? 2 : 4;
    int threads = ((per_row + v - 1) / v + WARP - 1) / WARP * WARP, most = SMS * (1024 / threads > 0 ? 1024 / threads : 1);
    int grid = a->rows < most ? a->rows : most;
    if (a->cols % 8) launch_plain_norm(s, a);
    else if (v == 1) CHAIN(norm_kernel<1>, grid, threads, 0, s, *a);
    else if (v == 2) CHAIN(norm_kernel<2>, grid, threads, 0, s, *a);
    else CHAIN(norm_kernel<4>, grid, threads, 0, s, *a);
}

/* ---- elementwise ---- */

static __global__ void add_kernel(bf16 *x, int x_stride, const bf16 *y, int y_stride, int vecs, long long n)
{
    chain_wait();
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < n; i += (long long)gridDim.x * blockDim.x) {
        long long row = i / vecs, col = i % vecs;
        uint4 *p = (uint4 *)(x + row * x_stride) + col;
        float f[8], g[8];
        unpack8(*p, f);
        unpack8(((const uint4 *)(y + row * y_stride))[col], g);
#pragma unroll
        for (int k = 0; k < 8; k++) f[k] += g[k];
        *p = pack8(f);
    }
}

static int grid_of(long long n, int threads)
{
    long long blocks = (n + threads - 1) / threads;
    return (int)(blocks < 132 * 16 ? (blocks > 0 ? blocks : 1) : 132 * 16);
}

void launch_add(Stream s, void *x, int x_stride, const void *y, int y_stride, int rows, int cols)
{
    long long n = (long long)rows * (cols / 8);
    if (cols % 8) launch_plain_add(s, x, x_stride, y, y_stride, rows, cols);
    else CHAIN(add_kernel, grid_of(n, 256), 256, 0, s, (bf16 *)x, x_stride, (const bf16 *)y, y_stride, cols / 8, n);
}

/* act: 0 SiLU, 1 GELU by tanh, 2 GELU by erf; as GluAct */
template <int ACT> DEV float activate(float x)
{
    if (ACT == 0) return __fdividef(x, 1.f + __expf(-x));
    if (ACT == 1) return 0.5f * x * (1.f + tanhf(0.7978845608028654f * (x + 0.044715f * x * x * x)));
    return 0.5f * x * (1.f + erff(x * 0.7071067811865476f));
}

enum { GLU_THREADS = 256, GLU_BATCH = 4 };

/* A block takes a row, or its share of one. The gate and up numbers are read for the last time. */
template <int ACT>
static __global__ void __launch_bounds__(GLU_THREADS) glu_kernel(bf16 *out, int out_stride, const bf16 *in, int in_stride, int vecs)
{
    chain_wait();
    const uint4 *gate = (const uint4 *)(in + (size_t)blockIdx.x * in_stride), *up = gate + vecs;
    uint4 *dst = (uint4 *)(out + (size_t)blockIdx.x * out_stride);
    int step = GLU_THREADS * gridDim.y;
    for (int i = blockIdx.y * GLU_THREADS + threadIdx.x; i < vecs; i += GLU_BATCH * step) {
        uint4 g[GLU_BATCH], u[GLU_BATCH];
#pragma unroll
        for (int b = 0; b < GLU_BATCH; b++)
            if (i + b * step < vecs) g[b] = __ldcs(gate + i + b * step), u[b] = __ldcs(up + i + b * step);
#pragma unroll
        for (int b = 0; b < GLU_BATCH; b++) {
            if (i + b * step >= vecs) continue;
            float x[8], y[8];
            unpack8(g[b], x);
            unpack8(u[b], y);
#pragma unroll
            for (int k = 0; k < 8; k++) x[k] = activate<ACT>(x[k]) * y[k];
            dst[i + b * step] = pack8(x);
        }
    }
}

void launch_glu(Stream s, void *out, int out_stride, const void *gate_up, int in_stride, int rows, int cols, int act)
{
    int vecs = cols / 8, most = (vecs + GLU_THREADS - 1) / GLU_THREADS, want = (2 * ROWS_FEW + rows - 1) / rows;
    dim3 grid(rows, want < most ? want : most);
    const bf16 *in = (const bf16 *)gate_up;
    if (cols % 8) launch_plain_glu(s, out, out_stride, gate_up, in_stride, rows, cols, act);
    else if (act == 0) CHAIN(glu_kernel<0>, grid, GLU_THREADS, 0, s, (bf16 *)out, out_stride, in, in_stride, vecs);
    else if (act == 1) CHAIN(glu_kernel<1>, grid, GLU_THREADS, 0, s, (bf16 *)out, out_stride, in, in_stride, vecs);
    else CHAIN(glu_kernel<2>, grid, GLU_THREADS, 0, s, (bf16 *)out, out_stride, in, in_stride, vecs);
}

DEV float capped(float x, float cap) { return cap < 0.f ? x * -cap : cap * tanhf(x / cap); }

static __global__ void softcap_kernel(float *x, int stride, int cols, long long n, float cap)
{
    chain_wait();
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < n; i += (long long)gridDim.x * blockDim.x) {
        float *p = x + i / cols * stride + i % cols;
        *p = capped(*p, cap);
    }
}

static __global__ void softcap_act_kernel(bf16 *x, int stride, int cols, long long n, float cap)
{
    chain_wait();
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < n; i += (long long)gridDim.x * blockDim.x) {
        bf16 *p = x + i / cols * stride + i % cols;
        *p = __float2bfloat16(capped(__bfloat162float(*p), cap));
    }
}

void launch_softcap(Stream s, float *x, int stride, int rows, int cols, float cap)
{
    long long n = (long long)rows * cols;
    CHAIN(softcap_kernel, grid_of(n, 256), 256, 0, s, x, stride, cols, n, cap);
}

void launch_softcap_act(Stream s, void *x, int stride, int rows, int cols, float cap)
{
    long long n = (long long)rows * cols;
    CHAIN(softcap_act_kernel, grid_of(n, 256), 256, 0, s, (bf16 *)x, stride, cols, n, cap);
}

/* ---- dummy weights ---- */

DEV uint64_t mix(uint64_t x)
{
    x ^= x >> 30, x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27, x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static __global__ void fill_kernel(void *out, size_t n, uint64_t seed, float std, bool f32)
{
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) {
        uint64_t r = mix(seed + (i + 1) * 0x9e3779b97f4a7c15u);
        float u0 = ((uint32_t)(r >> 40) + 0.5f) * 0x1p-24f, u1 = (uint32_t)(r & 0xffffff) * 0x1p-24f;
        float x = std > 0.f ? std * sqrtf(-2.f * logf(u0)) * cospif(2.f * u1) : (2.f * u0 - 1.f) * 1e-3f;
        if (f32) ((float *)out)[i] = x;
        else ((bf16 *)out)[i] = __float2bfloat16(x);
    }
}

void launch_fill(Stream s, void *out, size_t n, uint64_t seed, float std, bool f32)
{
    fill_kernel<<<132 * 8, 256, 0, (cudaStream_t)s>>>(out, n, seed, std, f32);
}
