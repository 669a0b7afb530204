/* plain.cu - the same ops, one number at a time, for sizes that are no multiple of 8 (heads: of 4).
 *
 * Nobody trains such models, but tiny test checkpoints are made so on purpose, and a loader that accepts a file must run it.
 * No attempt at speed: a warp a row or an output, f32 sums, results rounded to bf16 once. The launchers of
 * pointwise.cu and gemv.cu come here by themselves. */
#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.h"

DEV float get(const void *p, size_t i) { return __bfloat162float(((const bf16 *)p)[i]); }
DEV void set(void *p, size_t i, float v) { ((bf16 *)p)[i] = __float2bfloat16(v); }

/* out row r = in row index[r] * scale; a negative index -1 - i stands for drawn[i]. */
static __global__ void rows_kernel(void *out, int out_stride, const void *in, int in_stride, const int32_t *index,
                                   const int32_t *drawn, int cols, float scale)
{
    int id = index[blockIdx.x];
    if (id < 0) id = drawn[-1 - id];
    for (int i = threadIdx.x; i < cols; i += blockDim.x)
        set(out, (size_t)blockIdx.x * out_stride + i, get(in, (size_t)id * in_stride + i) * scale);
}

void launch_plain_rows(Stream s, void *out, int out_stride, const void *in, int in_stride, const int32_t *index, const int32_t *drawn,
                       int rows, int cols, float scale)
{
    rows_kernel<<<rows, 64, 0, (cudaStream_t)s>>>(out, out_stride, in, in_stride, index, drawn, cols, scale);
}

static __global__ void norm_kernel(const __grid_constant__ NormArgs a)
{
    size_t x = (size_t)blockIdx.x * a.x_stride, add = (size_t)blockIdx.x * a.add_stride, out = (size_t)blockIdx.x * a.out_stride;
    float sum = 0.f;
    for (int i = threadIdx.x; i < a.cols; i += WARP) {
        if (a.add) set(a.x, x + i, get(a.x, x + i) + get(a.add, add + i));
        float v = get(a.x, x + i);
        sum += v * v;
    }
    float scale = rsqrtf(warp_sum(sum) / a.cols + a.eps);
    for (int i = threadIdx.x; i < a.cols; i += WARP) set(a.out, out + i, get(a.x, x + i) * scale * (a.w[i] + a.w_bias));
}

void launch_plain_norm(Stream s, const NormArgs *a) { norm_kernel<<<a->rows, WARP, 0, (cudaStream_t)s>>>(*a); }

static __global__ void add_kernel(void *x, int x_stride, const void *y, int y_stride, int cols)
{
    for (int i = threadIdx.x; i < cols; i += blockDim.x) {
        size_t at = (size_t)blockIdx.x * x_stride + i;
        set(x, at, get(x, at) + get(y, (size_t)blockIdx.x * y_stride + i));
    }
}

void launch_plain_add(Stream s, void *x, int x_stride, const void *y, int y_stride, int rows, int cols)
{
    add_kernel<<<rows, 64, 0, (cudaStream_t)s>>>(x, x_stride, y, y_stride, cols);
}

static __global__ void glu_kernel(void *out, int out_stride, const void *in, int in_stride, int cols, int act)
{
    for (int i = threadIdx.x; i < cols; i += blockDim.x) {
        size_t at = (size_t)blockIdx.x * in_stride + i;
        float g = get(in, at), u = get(in, at + cols), a;
        if (act == 0) a = g / (1.f + __expf(-g));
        else if (act == 1) a = 0.5f * g * (1.f + tanhf(0.7978845608028654f * (g + 0.044715f * g * g * g)));
        else a = 0.5f * g * (1.f + erff(g * 0.7071067811865476f));
        set(out, (size_t)blockIdx.x * out_stride + i, a * u);
    }
}

void launch_plain_glu(Stream s, void *out, int out_stride, const void *in, int in_stride, int rows, int cols, int act)
{
    glu_kernel<<<rows, 64, 0, (cudaStream_t)s>>>(out, out_stride, in, in_stride, cols, act);
}

/* A warp an output, rows one after the other. */
static __global__ void linear_kernel(const __grid_constant__ GemvArgs a)
{
    int n = blockIdx.x, lane = threadIdx.x;
    for (int t = 0; t < a.rows; t++) {
        float sum = 0.f;
        for (int k = lane; k < a.k; k += WARP) sum += get(a.in, (size_t)t * a.in_stride + k) * get(a.w, (size_t)n * a.k + k);
        sum = warp_sum(sum) + (a.bias ? a.bias[n] : 0.f);
        size_t at = (size_t)t * a.out_stride + n;
        if (lane) continue;
        if (a.f32) ((float *)a.out)[at] = a.add ? ((float *)a.out)[at] + sum : sum;
        else set(a.out, at, a.add ? get(a.out, at) + sum : sum);
    }
}

void launch_plain_linear(Stream s, const GemvArgs *a) { linear_kernel<<<a->n, WARP, 0, (cudaStream_t)s>>>(*a); }

/* As heads_kernel of pointwise.cu; a lane holds elements lane + 32 j, read before any is written. */
template <int KV_DIM> static __global__ void heads_kernel(const __grid_constant__ HeadArgs a)
{
    int head = blockIdx.y, lane = threadIdx.x, first_v = a.n_head + a.n_kv_head, half = a.rot_dim / 2;
    size_t h = (size_t)blockIdx.x * a.stride + head * a.head_dim;
    const float *w = head < a.n_head ? a.q_norm : head < first_v ? a.k_norm : nullptr;
    bool rot = a.rope && head < a.n_rot;
    const float2 *table = (const float2 *)a.rope + (rot ? (size_t)a.pos[blockIdx.x] * half : 0);
    float v[8], sum = 0.f, scale = 1.f;
    for (int i = lane; i < a.head_dim; i += WARP) sum += get(a.qkv, h + i) * get(a.qkv, h + i);
    if (w) scale = rsqrtf(warp_sum(sum) / a.head_dim + a.eps);
    for (int j = 0; j < 8; j++) {
        int i = lane + j * WARP, other = a.interleaved ? i ^ 1 : i < half ? i + half : i - half, f = a.interleaved ? i / 2 : i % half;
        bool turns = rot && i < a.rot_dim, first = a.interleaved ? i % 2 == 0 : i < half;
        if (!turns) other = i, f = 0;
        v[j] = i < a.head_dim ? get(a.qkv, h + i) * scale * (w ? w[i] + a.w_bias : 1.f) : 0.f;
        if (!turns) continue;
        float u = get(a.qkv, h + other) * scale * (w ? w[other] + a.w_bias : 1.f);
        v[j] = v[j] * table[f].x + (first ? -u : u) * table[f].y;
    }
    __syncwarp();
    int slot = a.kv ? a.slot[blockIdx.x] : -1;
    for (int j = 0; j < 8; j++) {
        int i = lane + j * WARP;
        if ((w || rot) && i < a.head_dim) set(a.qkv, h + i, v[j]);
        if (slot < 0 || head < a.n_head || i >= KV_DIM) continue;
        int kv = head < first_v ? head - a.n_head : head - first_v;
        char *block = (char *)a.kv + ((size_t)(slot / PAGE) * a.n_kv_head + kv) * (2 * PAGE * KV_DIM * 2);
        if (head >= first_v) block += PAGE * KV_DIM * 2;
        set(block + kv_chunk<KV_DIM>(slot % PAGE, i / 8), i % 8, v[j]);
    }
}

void launch_plain_heads(Stream s, const HeadArgs *a)
{
    dim3 grid(a->rows, a->n_head + (a->kv ? 2 : 1) * a->n_kv_head);
    cudaStream_t st = (cudaStream_t)s;
    if (a->kv_dim == 64) heads_kernel<64><<<grid, WARP, 0, st>>>(*a);
    else if (a->kv_dim == 96) heads_kernel<96><<<grid, WARP, 0, st>>>(*a);
    else if (a->kv_dim == 128) heads_kernel<128><<<grid, WARP, 0, st>>>(*a);
    else heads_kernel<256><<<grid, WARP, 0, st>>>(*a);
}
