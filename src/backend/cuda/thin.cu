/* thin.cu - a product with few rows (up to 8), with what stands before and after it: reading the weights is all that counts.
 *
 *   out = gate(in w^T / rms + bias) (+ out)
 *
 * Bound by reading w once. One CTA an SM: a copy warp walks through the CTA's weights into a ring of stages, from before
 * earlier kernels are done, since weights depend on none of them. No more than AHEAD stages are on their way at once: that is
 * enough for all the bandwidth there is, and what is asked for beyond it makes everybody's way to L2 longer. An input warp
 * brings the tokens, eight computing warps eat the ring faster than memory fills it, and a closing warp adds up their sums, in
 * a fixed order, and writes the outputs. All of them only ever wait for barriers in shared memory, and run as far ahead as
 * these let them.
 *
 * A tile is 16 outputs over all of k (gated: 8 gates and their 8 ups), dealt to CTAs in turn. A stage is 8 planes of 64
 * columns of a tile, swizzled; each computing warp owns a plane. The weights are the 16-row operand of the tensor cores, the
 * tokens the 8-column one. An input that is too wide for shared memory comes in slabs, again for each tile.
 *
 * The norm takes no kernel of its own: a product that adds to the residual leaves x * g, and the sum of squares of what each
 * CTA has added; the next product divides its sums by the rms. Measured: see docs/perf/gpu-gemm.md. sm_90 only. */
#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.h"

enum { N_EAT = 8, CLOSE = N_EAT, INPUT, COPY, THREADS = (COPY + 1) * WARP, TOKENS = THIN_MAX_ROWS, HALF = 8, TILE = 2 * HALF };
enum { PLANES = THIN_PLANES, PLANE = TOKENS * 128, CHUNK = PLANES * PLANE, BOX = HALF * PLANES * 128, STAGE = 2 * BOX };
enum { STAGES_MAX = 12, AHEAD = 3, TURNS = 2, WHOLE_MAX = 128 << 10, SLABS = 32 << 10 };

/* Shared memory: the ring, then the input, then this. */
typedef struct {
    float2 part[TURNS][N_EAT][2][WARP]; /* a tile's sums by warp, in turns: rows lane / 4 of each half */
    uint64_t full[STAGES_MAX], empty[STAGES_MAX];
    uint64_t in_full[2], in_empty[2], part_full[TURNS], part_free[TURNS];
} Room;

static __host__ __device__ int n_tile_of(const ThinArgs *a) { return a->kind == FLOW_GATE ? (a->n / 2 + HALF - 1) / HALF : (a->n + TILE - 1) / TILE; }

/* Pieces of k, of PLANES planes. */
static __host__ __device__ int n_chunk_of(const ThinArgs *a) { return (a->k / 64 + PLANES - 1) / PLANES; }

/* ---- the copy warp: weights. One thread ---- */

#if __CUDA_ARCH__ >= 900
/* A box at (0, row, plane); what lies past the last row or plane arrives as zeros. */
DEV void copy_box(uint32_t dst, const FlowMap *map, int row, int plane, uint32_t bar)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];"
                 ::"r"(dst), "l"(map), "r"(0), "r"(row), "r"(plane), "r"(bar) : "memory");
}

DEV void copy_box_once(uint32_t dst, const FlowMap *map, int row, int plane, uint32_t bar, uint64_t policy)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%2, %3, %4}], [%5], %6;"
                 ::"r"(dst), "l"(map), "r"(0), "r"(row), "r"(plane), "r"(bar), "l"(policy) : "memory");
}

DEV void know_map(const FlowMap *map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }
DEV void fence_proxy(void) { asm volatile("fence.proxy.async;" ::: "memory"); }
#else
DEV void copy_box(uint32_t, const FlowMap *, int, int, uint32_t) {}
DEV void copy_box_once(uint32_t, const FlowMap *, int, int, uint32_t, uint64_t) {}
DEV void know_map(const FlowMap *) {}
DEV void fence_proxy(void) {}
#endif

DEV void copy_weights(const ThinArgs *a, Room *room, uint32_t ring)
{
    uint64_t policy = policy_stream();
    uint32_t full = shared_addr(room->full), empty = shared_addr(room->empty);
    bool gate = a->kind == FLOW_GATE;
    int n_tile = n_tile_of(a), n_chunk = n_chunk_of(a), stage = 0, phase = 1;
    int landed = 0, landed_phase = 0, under_way = 0; /* the oldest stage on its way; how many there are */
    for (int tile = blockIdx.x; tile < n_tile; tile += gridDim.x) {
        int row0 = tile * (gate ? HALF : TILE), row1 = gate ? a->n / 2 + row0 : row0 + HALF;
        for (int c = 0; c < n_chunk; c++) {
            uint32_t dst = ring + stage * STAGE, bar = full + stage * 8;
            bar_wait(empty + stage * 8, phase);
            if (under_way == AHEAD) {
                bar_wait(full + landed * 8, landed_phase);
                if (++landed == a->n_stage) landed = 0, landed_phase ^= 1;
            } else {
                under_way++;
            }
            bar_expect(bar, STAGE);
            copy_box_once(dst, &a->w_map, row0, c * PLANES, bar, policy);
            copy_box_once(dst + BOX, &a->w_map, row1, c * PLANES, bar, policy);
            if (++stage == a->n_stage) stage = 0, phase ^= 1;
        }
    }
}

/* ---- the input warp ---- */

/* The whole input as one fill of buffer 0, or slabs in buffers 0 and 1 in turn, for every tile again. */
DEV void copy_input(const ThinArgs *a, Room *room, uint32_t x)
{
    int lane = threadIdx.x % WARP, n_tile = n_tile_of(a), n_chunk = n_chunk_of(a), phases = 0, b = 0; /* phases: a bit a buffer */
    if (lane == 0) know_map(&a->in_map);
    chain_wait();
    fence_proxy();
    for (int tile = blockIdx.x; tile < n_tile; tile += gridDim.x) {
        for (int from = 0; from < n_chunk; from += a->slab, b ^= 1) {
            int to = min(n_chunk, from + a->slab);
            uint32_t bar = shared_addr(&room->in_full[b]), dst = x + b * (SLABS / 2);
            bar_wait(shared_addr(&room->in_empty[b]), (phases >> b & 1) ^ 1);
            if (lane == 0) bar_expect(bar, (to - from) * CHUNK);
            __syncwarp();
            for (int c = from + lane; c < to; c += WARP) copy_box(dst + (c - from) * CHUNK, &a->in_map, 0, c * PLANES, bar);
            phases ^= 1 << b;
        }
        if (a->whole) break;
    }
}

/* ---- the computing warps ---- */

/* A warp's share of a stage, its plane. */
DEV void add_stage(float sum[2][4], uint32_t stage, uint32_t x)
{
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, row = lane & 15, half = lane >> 4;
    uint32_t at = stage + (row >> 3) * BOX + warp * (HALF * 128) + (row & 7) * 128, w[4][4], b[2][4];
    x += warp * PLANE + (lane & 7) * 128;
#pragma unroll
    for (int j = 0; j < 4; j++) ldmatrix(w[j], at + (((2 * j + half) ^ (row & 7)) << 4));
#pragma unroll
    for (int j = 0; j < 2; j++) ldmatrix(b[j], x + (((4 * j + (lane >> 3)) ^ (lane & 7)) << 4));
#pragma unroll
    for (int j = 0; j < 4; j++) mma(sum[j & 1], w[j], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
}

/* This warp is done with what the barrier guards. */
DEV void let_go(uint32_t bar)
{
    __syncwarp();
    if (threadIdx.x % WARP == 0) bar_arrive(bar);
}

DEV void eat_all(const ThinArgs *a, Room *room, uint32_t ring, uint32_t x)
{
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, n_tile = n_tile_of(a), n_chunk = n_chunk_of(a);
    int stage = 0, phase = 0, b = 0, phases = 0, n = 0; /* n: tiles so far */
    uint32_t full = shared_addr(room->full), empty = shared_addr(room->empty);
    for (int tile = blockIdx.x; tile < n_tile; tile += gridDim.x, n++) {
        float sum[2][4] = {};
        for (int from = 0; from < n_chunk; from += a->slab) {
            uint32_t at = x + b * (SLABS / 2);
            if (!a->whole || n == 0) bar_wait(shared_addr(&room->in_full[b]), phases >> b & 1);
            for (int c = from, to = min(n_chunk, from + a->slab); c < to; c++, at += CHUNK) {
                bar_wait(full + stage * 8, phase);
                add_stage(sum, ring + stage * STAGE, at);
                let_go(empty + stage * 8);
                if (++stage == a->n_stage) stage = 0, phase ^= 1;
            }
            if (a->whole) break;
            let_go(shared_addr(&room->in_empty[b]));
            phases ^= 1 << b;
            b ^= 1;
        }
        int turn = n % TURNS;
        bar_wait(shared_addr(&room->part_free[turn]), (n / TURNS & 1) ^ 1);
        room->part[turn][warp][0][lane] = make_float2(sum[0][0] + sum[1][0], sum[0][1] + sum[1][1]);
        room->part[turn][warp][1][lane] = make_float2(sum[0][2] + sum[1][2], sum[0][3] + sum[1][3]);
        let_go(shared_addr(&room->part_full[turn]));
    }
}

/* ---- the closing warp: a lane's outputs are row lane / 4 of both halves of a tile, its tokens lane % 4 * 2 + {0, 1} ---- */

/* Over the rows of a warp. */
DEV float2 row_sum(float2 s)
{
#pragma unroll
    for (int o = 4; o < WARP; o *= 2) s.x += __shfl_xor_sync(~0u, s.x, o), s.y += __shfl_xor_sync(~0u, s.y, o);
    return s;
}

/* 1 / rms of the lane's tokens, from the sums of squares that the CTAs of the product before have left. */
DEV float2 scales(const ThinArgs *a)
{
    int lane = threadIdx.x % WARP, n = gridDim.x;
    float2 s = make_float2(0.f, 0.f);
    if (!a->normed) return make_float2(1.f, 1.f);
#pragma unroll 8
    for (int i = lane / 4; i < n; i += 8) {
        float2 v = __ldcg((const float2 *)(a->square + i * TOKENS + lane % 4 * 2));
        s.x += v.x, s.y += v.y;
    }
    s = row_sum(s);
    return make_float2(rsqrtf(s.x / a->k + a->eps), rsqrtf(s.y / a->k + a->eps));
}

/* What a lane's outputs need besides their sums. It is asked for a tile ahead. */
typedef struct {
    int n[2]; /* the outputs; gated: rows of the gate and of the up weights; -1: none */
    float bias[2], gain[2], old[2][2];
} Extra;

DEV Extra extra_of(const ThinArgs *a, int tile)
{
    bool gate = a->kind == FLOW_GATE;
    int n_out = gate ? a->n / 2 : a->n, n = tile * (gate ? HALF : TILE) + threadIdx.x % WARP / 4, token = threadIdx.x % 4 * 2;
    Extra e = {};
    e.n[0] = n < n_out ? n : -1;
    e.n[1] = gate ? (n < n_out ? n_out + n : -1) : n + HALF < n_out ? n + HALF : -1;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        if (e.n[h] < 0) continue;
        if (a->bias) e.bias[h] = a->bias[e.n[h]];
        if (a->scaled) e.gain[h] = a->gain[e.n[h]] + a->gain_bias;
#pragma unroll
        for (int j = 0; j < 2; j++)
            if (a->kind == FLOW_ADD && token + j < a->rows)
                e.old[h][j] = low2(__ldcg((const unsigned short *)a->out + (size_t)(token + j) * a->out_stride + e.n[h]));
    }
    return e;
}

/* Writes one output of a token; returns its square as the next product sees it. */
DEV float put_one(const ThinArgs *a, int token, int n, float y, float gain)
{
    size_t at = (size_t)token * a->out_stride + n;
    if (a->kind == FLOW_F32) {
        ((float *)a->out)[at] = y;
        return 0.f;
    }
    bf16 r = __float2bfloat16(y);
    ((bf16 *)a->out)[at] = r;
    if (!a->scaled) return 0.f;
    y = __bfloat162float(r);
    ((bf16 *)a->scaled)[(size_t)token * a->scaled_stride + n] = __float2bfloat16(y * gain);
    return y * y;
}

/* n_so_far: tiles. */
DEV void close_tile(const ThinArgs *a, Room *room, float2 scale, const Extra *e, int n_so_far, float2 *square)
{
    bool gate = a->kind == FLOW_GATE;
    int lane = threadIdx.x % WARP, turn = n_so_far % TURNS, token = lane % 4 * 2;
    float2 v[2] = {};
    bar_wait(shared_addr(&room->part_full[turn]), n_so_far / TURNS & 1);
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
        for (int w = 0; w < N_EAT; w++) {
            float2 part = room->part[turn][w][h][lane];
            v[h].x += part.x, v[h].y += part.y;
        }
    let_go(shared_addr(&room->part_free[turn]));
#pragma unroll
    for (int h = 0; h < 2; h++) {
        v[h].x = v[h].x * scale.x + e->bias[h] + e->old[h][0];
        v[h].y = v[h].y * scale.y + e->bias[h] + e->old[h][1];
    }
    if (gate) v[0].x = activated(a->act, v[0].x) * v[1].x, v[0].y = activated(a->act, v[0].y) * v[1].y;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        if (e->n[h] < 0 || (gate && h)) continue;
        if (token < a->rows) square->x += put_one(a, token, e->n[h], v[h].x, e->gain[h]);
        if (token + 1 < a->rows) square->y += put_one(a, token + 1, e->n[h], v[h].y, e->gain[h]);
    }
}

DEV void close_all(const ThinArgs *a, Room *room)
{
    int lane = threadIdx.x % WARP, n_tile = n_tile_of(a), n = 0;
    float2 square = make_float2(0.f, 0.f);
    chain_wait();
    Extra now = extra_of(a, blockIdx.x);
    float2 scale = scales(a);
    for (int tile = blockIdx.x; tile < n_tile; tile += gridDim.x) {
        Extra next = extra_of(a, tile + gridDim.x);
        close_tile(a, room, scale, &now, n++, &square);
        now = next;
    }
    if (!a->scaled) return;
    square = row_sum(square);
    if (lane < 4) *(float2 *)(a->square + blockIdx.x * TOKENS + lane * 2) = square;
}

/* ---- the kernel ---- */

static __global__ void __launch_bounds__(THREADS, 1) thin_kernel(const __grid_constant__ ThinArgs a)
{
    extern __shared__ __align__(1024) unsigned char smem[];
    int warp = threadIdx.x / WARP;
    uint32_t ring = shared_addr(smem), x = ring + a.n_stage * STAGE;
    Room *room = (Room *)(smem + a.n_stage * STAGE + a.input_bytes);
    /* Before chain_wait, and yet nothing runs far ahead: two of these CTAs never share an SM, so once all are there, all of the
     * product before have left, and they had waited for what is before them. A small successor waits beside this CTA. */
    chain_go();
    if (threadIdx.x == 0) {
        for (int i = 0; i < a.n_stage; i++) bar_init(shared_addr(&room->full[i]), 1), bar_init(shared_addr(&room->empty[i]), N_EAT);
        for (int i = 0; i < 2; i++) bar_init(shared_addr(&room->in_full[i]), 1), bar_init(shared_addr(&room->in_empty[i]), N_EAT);
        for (int i = 0; i < TURNS; i++) bar_init(shared_addr(&room->part_full[i]), N_EAT), bar_init(shared_addr(&room->part_free[i]), 1);
        fence_init();
    }
    __syncthreads();
    if (warp < N_EAT) eat_all(&a, room, ring, x);
    else if (warp == CLOSE) close_all(&a, room);
    else if (warp == INPUT) copy_input(&a, room, x);
    else if (threadIdx.x % WARP == 0) copy_weights(&a, room, ring);
}

/* ---- the launcher ---- */

bool launch_thin_fits(const ThinArgs *a)
{
    bool aligned = a->k % 64 == 0 && a->in_stride % 8 == 0 && (uintptr_t)a->w % 16 == 0 && (uintptr_t)a->in % 16 == 0;
    return a->rows >= 1 && a->rows <= THIN_MAX_ROWS && aligned;
}

void launch_thin(Stream s, ThinArgs *a)
{
    int dev, n_sm, room, n_chunk = n_chunk_of(a);
    cudaGetDevice(&dev);
    cudaDeviceGetAttribute(&n_sm, cudaDevAttrMultiProcessorCount, dev);
    cudaDeviceGetAttribute(&room, cudaDevAttrMaxSharedMemoryPerBlockOptin, dev);
    a->whole = n_chunk * CHUNK <= WHOLE_MAX;
    a->slab = a->whole ? n_chunk : SLABS / 2 / CHUNK;
    a->input_bytes = a->whole ? n_chunk * CHUNK : SLABS;
    int n = (room - (int)sizeof(Room) - a->input_bytes) / STAGE;
    a->n_stage = n < STAGES_MAX ? n : STAGES_MAX;
    int bytes = a->n_stage * STAGE + a->input_bytes + (int)sizeof(Room);
    cudaFuncSetAttribute((const void *)thin_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    CHAIN(thin_kernel, n_sm < THIN_MAX_CTA ? n_sm : THIN_MAX_CTA, THREADS, bytes, s, *a);
}
