/* pointwise.cu - everything between the matrix products that touches each number once or twice.
 *
 * All are bound by bytes moved: 16 bytes a thread and access, a row's numbers in registers between the sum and its use.
 * Sums and products are f32, results are rounded to bf16 once. Rows are wholly independent.
 *   norm   out = x / sqrt(mean(x^2) + eps) * (w + w_bias), with x += add first where there is one
 *   heads  the same for each q and k head, then rope, then k and v into their pages: one warp a head
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

/* A block a row; a thread holds V vectors of 8. */
template <int V> static __global__ void norm_kernel(const __grid_constant__ NormArgs a)
{
    chain_wait();
    __shared__ float part[WARP];
    uint4 *x = (uint4 *)((bf16 *)a.x + (size_t)blockIdx.x * a.x_stride);
    const uint4 *add = (const uint4 *)((const bf16 *)a.add + (size_t)blockIdx.x * a.add_stride);
    uint4 *out = (uint4 *)((bf16 *)a.out + (size_t)blockIdx.x * a.out_stride);
    float f[V][8], sum = 0.f;
    int n = a.cols / 8;
#pragma unroll
    for (int v = 0; v < V; v++) {
        int i = threadIdx.x + v * blockDim.x;
        if (i >= n) continue;
        unpack8(x[i], f[v]);
        if (a.add) {
            float g[8];
            unpack8(add[i], g);
#pragma unroll
            for (int k = 0; k < 8; k++) f[v][k] += g[k];
            uint4 rounded = pack8(f[v]);
            x[i] = rounded;
            unpack8(rounded, f[v]);
        }
#pragma unroll
        for (int k = 0; k < 8; k++) sum += f[v][k] * f[v][k];
    }
    float scale = rsqrtf(block_sum(sum, part) / a.cols + a.eps);
#pragma unroll
    for (int v = 0; v < V; v++) {
        int i = threadIdx.x + v * blockDim.x;
        if (i >= n) continue;
        const float4 *w = (const float4 *)a.w + 2 * i;
        float4 w0 = w[0], w1 = w[1];
        float b = a.w_bias, g[8] = { w0.x + b, w0.y + b, w0.z + b, w0.w + b, w1.x + b, w1.y + b, w1.z + b, w1.w + b };
#pragma unroll
        for (int k = 0; k < 8; k++) g[k] *= f[v][k] * scale;
        out[i] = pack8(g);
    }
}

void launch_norm(Stream s, const NormArgs *a)
{
    int per_row = a->cols / 8, v = per_row <= 128 ? 1 : per_row <= 1024 ? 2 : 4;
    int threads = ((per_row + v - 1) / v + WARP - 1) / WARP * WARP;
    if (a->cols % 8) launch_plain_norm(s, a);
    else if (v == 1) CHAIN(norm_kernel<1>, a->rows, threads, 0, s, *a);
    else if (v == 2) CHAIN(norm_kernel<2>, a->rows, threads, 0, s, *a);
    else CHAIN(norm_kernel<4>, a->rows, threads, 0, s, *a);
}

static __global__ void head_norm_kernel(bf16 *x, int stride, int n_heads, int head_dim, const float *w, float eps, float w_bias)
{
    chain_wait();
    int head = blockIdx.y * (blockDim.x / WARP) + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (head >= n_heads) return;
    bf16 *h = x + (size_t)blockIdx.x * stride + head * head_dim;
    float sum = 0.f;
    for (int i = lane; i < head_dim; i += WARP) sum += __bfloat162float(h[i]) * __bfloat162float(h[i]);
    float scale = rsqrtf(warp_sum(sum) / head_dim + eps);
    for (int i = lane; i < head_dim; i += WARP) h[i] = __float2bfloat16(__bfloat162float(h[i]) * scale * (w[i] + w_bias));
}

void launch_head_norm(Stream s, void *x, int stride, int rows, int n_heads, int head_dim, const float *w, float eps, float w_bias)
{
    CHAIN(head_norm_kernel, dim3(rows, (n_heads + 3) / 4), 4 * WARP, 0, s, (bf16 *)x, stride, n_heads, head_dim, w, eps, w_bias);
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
    if (ACT == 0) return x / (1.f + __expf(-x));
    if (ACT == 1) return 0.5f * x * (1.f + tanhf(0.7978845608028654f * (x + 0.044715f * x * x * x)));
    return 0.5f * x * (1.f + erff(x * 0.7071067811865476f));
}

template <int ACT> static __global__ void glu_kernel(bf16 *out, int out_stride, const bf16 *in, int in_stride, int vecs, long long n)
{
    chain_wait();
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < n; i += (long long)gridDim.x * blockDim.x) {
        long long row = i / vecs, col = i % vecs;
        const uint4 *p = (const uint4 *)(in + row * in_stride) + col;
        float g[8], u[8];
        unpack8(p[0], g);
        unpack8(p[vecs], u);
#pragma unroll
        for (int k = 0; k < 8; k++) g[k] = activate<ACT>(g[k]) * u[k];
        ((uint4 *)(out + row * out_stride))[col] = pack8(g);
    }
}

void launch_glu(Stream s, void *out, int out_stride, const void *gate_up, int in_stride, int rows, int cols, int act)
{
    long long n = (long long)rows * (cols / 8);
    int grid = grid_of(n, 256), vecs = cols / 8;
    const bf16 *in = (const bf16 *)gate_up;
    if (cols % 8) launch_plain_glu(s, out, out_stride, gate_up, in_stride, rows, cols, act);
    else if (act == 0) CHAIN(glu_kernel<0>, grid, 256, 0, s, (bf16 *)out, out_stride, in, in_stride, vecs, n);
    else if (act == 1) CHAIN(glu_kernel<1>, grid, 256, 0, s, (bf16 *)out, out_stride, in, in_stride, vecs, n);
    else CHAIN(glu_kernel<2>, grid, 256, 0, s, (bf16 *)out, out_stride, in, in_stride, vecs, n);
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

/* ---- rope and the pages ---- */

static __global__ void rope_table_kernel(float2 *table, const float *inv_freq, int n_freq, long long n, float mscale)
{
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < n; i += (long long)gridDim.x * blockDim.x) {
        float angle = (float)(i / n_freq) * inv_freq[i % n_freq], s, c; /* the product in f32, as models are trained */
        sincosf(angle, &s, &c);
        table[i] = make_float2(c * mscale, s * mscale);
    }
}

void launch_rope_table(Stream s, float *table, const float *inv_freq, int n_freq, int max_pos, float mscale)
{
    long long n = (long long)max_pos * n_freq;
    rope_table_kernel<<<grid_of(n, 256), 256, 0, (cudaStream_t)s>>>((float2 *)table, inv_freq, n_freq, n, mscale);
}

/* A lane holds the pairs of elements (2e, 2e + 1), e = lane + 32 j. Elements that turn together are i and i + rot/2, held by
 * different lanes: so everything is read, then written, with the warp in step between. */
enum { PAIRS = 256 / 2 / WARP };

DEV float2 load_pair(const bf16 *h, int i)
{
    uint32_t v = *(const uint32_t *)(h + i);
    return make_float2(low2(v), high2(v));
}

DEV float2 times(float2 a, float scale, const float *w, int i, float w_bias)
{
    return make_float2(a.x * scale * (w[i] + w_bias), a.y * scale * (w[i + 1] + w_bias));
}

/* The turned pair (i, i + 1) of a head. */
DEV float2 turn(const HeadArgs *a, const bf16 *h, int i, float2 v, float scale, const float *w, const float2 *table)
{
    int half = a->rot_dim / 2;
    if (a->interleaved) {
        float2 t = table[i / 2];
        return make_float2(v.x * t.x - v.y * t.y, v.y * t.x + v.x * t.y);
    }
    int j = i < half ? i + half : i - half, f = i < half ? i : j;
    float2 u = load_pair(h, j), t0 = table[f], t1 = table[f + 1];
    if (w) u = times(u, scale, w, j, a->w_bias);
    float sign = i < half ? -1.f : 1.f;
    return make_float2(v.x * t0.x + sign * u.x * t0.y, v.y * t1.x + sign * u.y * t1.y);
}

template <int KV_DIM> DEV void put_page(const HeadArgs *a, int slot, int head, int v, int i, uint32_t value)
{
    char *block = (char *)a->kv + ((size_t)(slot / PAGE) * a->n_kv_head + head) * (2 * PAGE * KV_DIM * 2) + v * (PAGE * KV_DIM * 2);
    *(uint32_t *)(block + kv_chunk<KV_DIM>(slot % PAGE, i / 8) + i % 8 * 2) = value;
}

template <int KV_DIM> static __global__ void heads_kernel(const __grid_constant__ HeadArgs a)
{
    chain_wait();
    int row = blockIdx.x, head = blockIdx.y * (blockDim.x / WARP) + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    int first_k = a.n_head, first_v = a.n_head + a.n_kv_head, n = a.kv ? first_v + a.n_kv_head : first_v;
    if (head >= n) return;
    bf16 *h = (bf16 *)a.qkv + (size_t)row * a.stride + head * a.head_dim;
    const float *w = head < first_k ? a.q_norm : head < first_v ? a.k_norm : nullptr;
    bool rot = a.rope && head < a.n_rot;
    const float2 *table = (const float2 *)a.rope + (rot ? (size_t)a.pos[row] * (a.rot_dim / 2) : 0);
    float2 v[PAIRS];
    float sum = 0.f, scale = 1.f;
#pragma unroll
    for (int j = 0; j < PAIRS; j++) {
        int i = 2 * (lane + j * WARP);
        v[j] = i < a.head_dim ? load_pair(h, i) : make_float2(0.f, 0.f);
        sum += v[j].x * v[j].x + v[j].y * v[j].y;
    }
    if (w) scale = rsqrtf(warp_sum(sum) / a.head_dim + a.eps);
#pragma unroll
    for (int j = 0; j < PAIRS; j++) {
        int i = 2 * (lane + j * WARP);
        if (i >= a.head_dim) continue;
        if (w) v[j] = times(v[j], scale, w, i, a.w_bias);
        if (rot && i < a.rot_dim) v[j] = turn(&a, h, i, v[j], scale, w, table);
    }
    __syncwarp();
    int slot = a.kv ? a.slot[row] : -1;
#pragma unroll
    for (int j = 0; j < PAIRS; j++) {
        int i = 2 * (lane + j * WARP);
        uint32_t p = pack2(v[j].x, v[j].y);
        if ((w || rot) && i < a.head_dim) *(uint32_t *)(h + i) = p;
        if (slot >= 0 && head >= first_k && i < KV_DIM) {
            if (head < first_v) put_page<KV_DIM>(&a, slot, head - first_k, 0, i, p);
            else put_page<KV_DIM>(&a, slot, head - first_v, 1, i, p);
        }
    }
}

void launch_heads(Stream s, const HeadArgs *a)
{
    int n = a->n_head + (a->kv ? 2 : 1) * a->n_kv_head;
    dim3 grid(a->rows, (n + 7) / 8);
    if (a->head_dim % 4 || a->rot_dim % 4) launch_plain_heads(s, a);
    else if (a->kv_dim == 64) CHAIN(heads_kernel<64>, grid, 256, 0, s, *a);
    else if (a->kv_dim == 96) CHAIN(heads_kernel<96>, grid, 256, 0, s, *a);
    else if (a->kv_dim == 128) CHAIN(heads_kernel<128>, grid, 256, 0, s, *a);
    else CHAIN(heads_kernel<256>, grid, 256, 0, s, *a);
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
