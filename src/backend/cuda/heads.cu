/* heads.cu - what stands between the q, k, v product and attention: norms of heads, rope, keys and values into their pages.
 *
 * Bound by bytes moved. Two ways: heads_wide for head sizes 64, 128 and 256 that turn wholly or not at all (nearly every
 * model), where lanes hold 16 bytes each, the cosines of a row stay in registers over its heads, and partners meet by
 * shuffles; heads_kernel for every other even size. Both round to bf16 once, after norm and rope. */
#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.h"

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

/* ---- rope: the table ---- */

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
    rope_table_kernel<<<132 * 8, 256, 0, (cudaStream_t)s>>>((float2 *)table, inv_freq, n_freq, n, mscale);
}

/* ---- wide: 8 elements a lane ---- */

enum { WIDE_THREADS = 256, WIDE_BATCH = 4, ROWS_FEW = 2 * 132 };

template <int D> DEV uint4 *page_chunk(const HeadArgs *a, int slot, int kv_head, int v, int chunk)
{
    char *block = (char *)a->kv + ((size_t)(slot / PAGE) * a->n_kv_head + kv_head) * (2 * PAGE * D * 2) + v * (PAGE * D * 2);
    return (uint4 *)(block + kv_chunk<D>(slot % PAGE, chunk));
}

/* cos and sin of this lane's 8 elements; no turn at all is a turn by 0. */
template <int D> DEV void load_angles(const HeadArgs *a, int row, int lane, float c[8], float s[8])
{
#pragma unroll
    for (int k = 0; k < 8; k++) c[k] = 1.f, s[k] = 0.f;
    if (!a->rope) return;
    const float4 *t = (const float4 *)((const float2 *)a->rope + (size_t)a->pos[row] * (D / 2)) + lane % (D / 16) * 4;
    float sign = lane < D / 16 ? -1.f : 1.f;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        float4 v = t[k];
        c[2 * k] = v.x, s[2 * k] = sign * v.y, c[2 * k + 1] = v.z, s[2 * k + 1] = sign * v.w;
    }
}

/* D / 8 lanes a head. Every lane of a warp walks the same number of heads, so that shuffles find their partners. */
template <int D> static __global__ void __launch_bounds__(WIDE_THREADS) heads_wide(const __grid_constant__ HeadArgs a)
{
    constexpr int LANES = D / 8, GROUPS = WIDE_THREADS / LANES;
    if (a.let_on) chain_go();
    int row = blockIdx.x, lane = threadIdx.x % LANES, step = GROUPS * gridDim.y;
    int first_k = a.n_head, first_v = a.n_head + a.n_kv_head, n = a.kv ? first_v + a.n_kv_head : first_v;
    int slot = a.kv ? a.slot[row] : -1;
    uint4 *x = (uint4 *)((bf16 *)a.qkv + (size_t)row * a.stride) + lane;
    float c[8], s[8];
    load_angles<D>(&a, row, lane, c, s);
    chain_wait(); /* what has been read so far is the pass's, written before its first kernel */
    for (int base = blockIdx.y * GROUPS; base < n; base += WIDE_BATCH * step) {
        int head = base + threadIdx.x / LANES;
        uint4 raw[WIDE_BATCH];
#pragma unroll
        for (int j = 0; j < WIDE_BATCH; j++)
            raw[j] = head + j * step < n ? x[(head + j * step) * LANES] : make_uint4(0, 0, 0, 0);
#pragma unroll
        for (int j = 0; j < WIDE_BATCH; j++, head += step) {
            if (base + j * step >= n) break; /* the same for the whole block */
            const float *w = head < first_k ? a.q_norm : head < first_v ? a.k_norm : nullptr;
            bool rot = a.rope && head < a.n_rot, ours = head < n;
            float f[8], sum = 0.f;
            unpack8(raw[j], f);
            if (a.q_norm || a.k_norm) {
#pragma unroll
                for (int k = 0; k < 8; k++) sum += f[k] * f[k];
#pragma unroll
                for (int o = LANES / 2; o; o >>= 1) sum += __shfl_xor_sync(~0u, sum, o);
                float scale = rsqrtf(sum / D + a.eps);
#pragma unroll
                for (int k = 0; k < 8; k++) f[k] = w ? f[k] * scale * (w[lane * 8 + k] + a.w_bias) : f[k];
            }
            if (a.rope) {
#pragma unroll
                for (int k = 0; k < 8; k++) {
                    float u = __shfl_xor_sync(~0u, f[k], LANES / 2);
                    f[k] = rot ? f[k] * c[k] + u * s[k] : f[k];
                }
            }
            uint4 p = w || rot ? pack8(f) : raw[j];
            if (ours && (w || rot)) x[head * LANES] = p;
            if (ours && slot >= 0 && head >= first_k)
                *page_chunk<D>(&a, slot, head < first_v ? head - first_k : head - first_v, head >= first_v, lane) = p;
        }
    }
}

/* Rows of whole 16-byte pieces, turned wholly or not at all, and kept in the pages at their own size. */
static bool wide_fits(const HeadArgs *a)
{
    int d = a->head_dim;
    bool turns = !a->rope || (a->rot_dim == d && !a->interleaved);
    return (d == 64 || d == 128 || d == 256) && a->kv_dim == d && turns && a->stride % 8 == 0 && (uintptr_t)a->qkv % 16 == 0;
}

static void launch_wide(Stream s, const HeadArgs *a, int n)
{
    int groups = WIDE_THREADS / (a->head_dim / 8);
    dim3 grid(a->rows, a->rows < ROWS_FEW ? (n + groups - 1) / groups : 1);
    if (a->head_dim == 64) CHAIN(heads_wide<64>, grid, WIDE_THREADS, 0, s, *a);
    else if (a->head_dim == 128) CHAIN(heads_wide<128>, grid, WIDE_THREADS, 0, s, *a);
    else CHAIN(heads_wide<256>, grid, WIDE_THREADS, 0, s, *a);
}

/* ---- any even size ---- */

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
    if (a.let_on) chain_go();
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
    else if (wide_fits(a)) launch_wide(s, a, n);
    else if (a->kv_dim == 64) CHAIN(heads_kernel<64>, grid, 256, 0, s, *a);
    else if (a->kv_dim == 96) CHAIN(heads_kernel<96>, grid, 256, 0, s, *a);
    else if (a->kv_dim == 128) CHAIN(heads_kernel<128>, grid, 256, 0, s, *a);
    else CHAIN(heads_kernel<256>, grid, 256, 0, s, *a);
}
