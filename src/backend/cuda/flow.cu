/* flow.cu - several products in a row with one or two rows as one kernel that hardly ever stops reading weights.
 *
 *   out = gate(norm(in) w^T + bias) (+ out)       for each link of a chain; a link's input may be an earlier link's output
 *
 * Bound by reading the weights once. One CTA an SM: a copy warp walks through all the weights that the CTA will ever need,
 * link after link, into a ring of stages, and does not care whether their inputs exist yet: while the CTAs meet between
 * two links (the grid's barrier, the new input's way from L2) the ring fills up, and the eight computing warps eat it faster than
 * memory fills it.
 *
 * A tile is 16 outputs over all of k (gated: 8 gates and their 8 ups); tiles are dealt to CTAs in turn, each link beginning
 * where the last one stopped. A stage is STEP columns of a tile, in planes of 64 columns, swizzled; each warp owns a plane.
 * The weights are the 16-row operand of the tensor cores, the tokens the 8-column one. The input lies in shared
 * memory, in slabs where it is too wide; then a tile's sums wait in shared memory from slab to slab. The norm: its weights
 * are multiplied into the input, its 1 / rms into the sums. Everything is added in a fixed order.
 * Measured: see docs/perf/gpu-gemm.md, also why not for more rows. sm_90 only. */
#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.h"

enum { N_WARP = 8, N_EAT = N_WARP * WARP, THREADS = N_EAT + WARP, ROWS = 16, TOKENS = 8 };
enum { STEP = FLOW_STEP, WARP_STEP = STEP / N_WARP, BOX = 8 * STEP * 2, STAGE = 2 * BOX };
enum { STAGES_MAX = 12, AHEAD = 3, WAITING = 8 };

/* Shared memory: the ring, then the input, then this. */
typedef struct {
    float part[2][N_WARP][TOKENS][ROWS + 1]; /* a tile's sums by warp, in two turns */
    float wait[WAITING][TOKENS][ROWS];       /* sums of tiles between slabs */
    float square[N_WARP][TOKENS];            /* of the input, by warp */
    uint64_t full[STAGES_MAX], empty[STAGES_MAX];
} Room;

/* ---- how the work is dealt ---- */

static __host__ __device__ int n_tile_of(const FlowLink *l) { return l->kind == FLOW_GATE ? (l->n / 2 + 7) / 8 : (l->n + ROWS - 1) / ROWS; }

/* The first tile of this CTA; `dealt`: tiles of the links before. */
DEV int first_tile(int dealt)
{
    int t = (int)blockIdx.x - dealt % (int)gridDim.x;
    return t < 0 ? t + gridDim.x : t;
}

/* ---- the copy warp ---- */

/* Eight rows of STEP columns; what lies past the last row or column arrives as zeros. */
DEV void copy_box(uint32_t dst, const FlowMap *map, int row, int plane, uint32_t bar, uint64_t policy)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%2, %3, %4}], [%5], %6;"
                 ::"r"(dst), "l"(map), "r"(0), "r"(row), "r"(plane), "r"(bar), "l"(policy) : "memory");
#endif
}

/* STEP columns of a tile: two boxes. One thread. */
DEV void copy_stage(const FlowLink *l, int tile, int k0, uint32_t dst, uint32_t bar, uint64_t policy)
{
    bool gate = l->kind == FLOW_GATE;
    int row0 = tile * (gate ? 8 : ROWS), row1 = gate ? l->n / 2 + row0 : row0 + 8;
    bar_expect(bar, STAGE);
    copy_box(dst, &l->map, row0, k0 / 64, bar, policy);
    copy_box(dst + BOX, &l->map, row1, k0 / 64, bar, policy);
}

DEV void copy_all(const FlowArgs *a, uint32_t ring, uint32_t full, uint32_t empty)
{
    uint64_t policy = policy_stream();
    int stage = 0, phase = 1, dealt = 0;
    int landed = 0, landed_phase = 0, under_way = 0; /* the oldest stage on its way; how many there are */
    for (int i = 0; i < a->n_link; i++) {
        const FlowLink *l = &a->link[i];
        int n_tile = n_tile_of(l);
        for (int slab = 0; slab < l->k; slab += l->slab)
            for (int tile = first_tile(dealt); tile < n_tile; tile += gridDim.x)
                for (int k0 = slab, end = min(l->k, slab + l->slab); k0 < end; k0 += STEP) {
                    bar_wait(empty + stage * 8, phase);
                    if (under_way == AHEAD) {
                        bar_wait(full + landed * 8, landed_phase);
                        if (++landed == a->n_stage) landed = 0, landed_phase ^= 1;
                    } else {
                        under_way++;
                    }
                    if (threadIdx.x % WARP == 0) copy_stage(l, tile, k0, ring + stage * STAGE, full + stage * 8, policy);
                    __syncwarp();
                    if (++stage == a->n_stage) stage = 0, phase ^= 1;
                }
        dealt += n_tile;
    }
}

/* ---- the input ---- */

DEV void copy16(uint32_t dst, const void *src) { asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(dst), "l"(src) : "memory"); }

DEV const bf16 *input_row(const FlowLink *l, int r)
{
    int row = l->pick ? l->pick[r] : r;
    return (const bf16 *)l->in + (size_t)row * l->in_stride;
}

/* Columns [k0, k1) of the rows as they are. */
DEV void take_input(const FlowArgs *a, const FlowLink *l, uint32_t x, int pitch, int k0, int k1)
{
    int vecs = (k1 - k0) / 8;
    for (int r = 0; r < a->rows; r++) {
        const bf16 *src = input_row(l, r) + k0;
        for (int i = threadIdx.x; i < vecs; i += N_EAT) copy16(x + r * pitch + i * 16, src + i * 8);
    }
    asm volatile("cp.async.wait_all;" ::: "memory");
}

DEV void put_shared(uint32_t at, uint4 v)
{
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(at), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}

/* The same, times the norm's weights; squares are added to square[]. */
DEV void take_normed(const FlowArgs *a, const FlowLink *l, uint32_t x, int pitch, int k0, int k1, float square[TOKENS])
{
    enum { ROWS_MAX = FLOW_MAX_ROWS, AHEAD = 2 };
    int vecs = (k1 - k0) / 8;
    for (int i0 = threadIdx.x; i0 < vecs; i0 += AHEAD * N_EAT) {
        uint4 v[AHEAD][ROWS_MAX];
        float g[AHEAD][8];
#pragma unroll
        for (int u = 0; u < AHEAD; u++) {
            int i = min(i0 + u * N_EAT, vecs - 1);
            const float4 *w = (const float4 *)(l->norm + k0) + 2 * i;
            float4 w0 = __ldg(w), w1 = __ldg(w + 1);
            float b = l->w_bias;
            g[u][0] = w0.x + b, g[u][1] = w0.y + b, g[u][2] = w0.z + b, g[u][3] = w0.w + b;
            g[u][4] = w1.x + b, g[u][5] = w1.y + b, g[u][6] = w1.z + b, g[u][7] = w1.w + b;
#pragma unroll
            for (int r = 0; r < ROWS_MAX; r++)
                if (r < a->rows) v[u][r] = __ldcg((const uint4 *)(input_row(l, r) + k0) + i);
        }
#pragma unroll
        for (int u = 0; u < AHEAD; u++) {
            int i = i0 + u * N_EAT;
#pragma unroll
            for (int r = 0; r < ROWS_MAX; r++) {
                if (r >= a->rows || i >= vecs) continue;
                float f[8];
                unpack8(v[u][r], f);
#pragma unroll
                for (int c = 0; c < 8; c++) {
                    square[r] += f[c] * f[c];
                    f[c] *= g[u][c];
                }
                put_shared(x + r * pitch + i * 16, pack8(f));
            }
        }
    }
}

DEV void put_squares(Room *room, const float square[TOKENS])
{
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
#pragma unroll
    for (int r = 0; r < FLOW_MAX_ROWS; r++) {
        float s = warp_sum(square[r]);
        if (lane == 0) room->square[warp][r] = s;
    }
}

/* ---- a tile ---- */

/* A warp's share of a stage, its plane. x: the lane's address in the input, at the share's first column. */
DEV void add_stage(float sum[2][4], uint32_t stage, uint32_t x)
{
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, row = lane & 15, half = lane >> 4;
    uint32_t at = stage + (row >> 3) * BOX + warp * 1024 + (row & 7) * 128, w[4][4], b[2][4];
#pragma unroll
    for (int j = 0; j < 4; j++) ldmatrix(w[j], at + (((2 * j + half) ^ (row & 7)) << 4));
#pragma unroll
    for (int j = 0; j < 2; j++) ldmatrix(b[j], x + j * 64);
#pragma unroll
    for (int j = 0; j < 4; j++) mma(sum[j & 1], w[j], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
}

DEV float sum_of(Room *room, int turn, int t, int r, int place, bool first, bool last)
{
    float s = first ? 0.f : room->wait[place][t][r];
#pragma unroll
    for (int w = 0; w < N_WARP; w++) s += room->part[turn][w][t][r];
    if (!last) room->wait[place][t][r] = s;
    return s;
}

/* Adds the warps' sums up; after the last slab writes the tile's outputs. One thread an output, the same in every slab. */
DEV void end_tile(const FlowArgs *a, const FlowLink *l, Room *room, int turn, int tile, int place, bool first, bool last)
{
    bool gate = l->kind == FLOW_GATE;
    int r = threadIdx.x % ROWS, t = threadIdx.x / ROWS;
    if (t >= a->rows || (gate && r >= 8)) return;
    int n = gate ? tile * 8 + r : tile * ROWS + r, n_out = gate ? l->n / 2 : l->n;
    float scale = 1.f, s = sum_of(room, turn, t, r, place, first, last), up = gate ? sum_of(room, turn, t, r + 8, place, first, last) : 0.f;
    if (!last || n >= n_out) return;
    if (l->norm) {
        float square = 0.f;
#pragma unroll
        for (int w = 0; w < N_WARP; w++) square += room->square[w][t];
        scale = rsqrtf(square / l->k + l->eps);
    }
    s = s * scale + (l->bias ? l->bias[n] : 0.f);
    if (gate) {
        up = up * scale + (l->bias ? l->bias[n_out + n] : 0.f);
        s = activated(l->act, s) * up;
    }
    size_t at = (size_t)t * l->out_stride + n;
    if (l->kind == FLOW_F32) {
        ((float *)l->out)[at] = s;
    } else {
        bf16 *o = (bf16 *)l->out + at;
        if (l->kind == FLOW_ADD) s += low2(__ldcg((const unsigned short *)o));
        *o = __float2bfloat16(s);
    }
}

/* ---- the CTAs meet ---- */

/* The counter's top bit turns when all have come: CTA 0 adds what is missing. It never has to be reset. */
DEV uint32_t grid_arrive(uint32_t *count)
{
    __threadfence();
    return atomicAdd(count, blockIdx.x == 0 ? 0x80000000u - (gridDim.x - 1) : 1u);
}

DEV void grid_wait(const uint32_t *count, uint32_t before)
{
    uint32_t now;
    do asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(now) : "l"(count) : "memory");
    while (!((now ^ before) & 0x80000000u));
    __threadfence();
}

/* ---- the computing warps ---- */

typedef struct {
    int stage, phase, turn;
} Place;

DEV void eat_tile(const FlowArgs *a, Room *room, uint32_t ring, uint32_t x, int pitch, int columns, Place *p)
{
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    int row = (lane & 7) < a->rows ? lane & 7 : 0; /* a row that is none: its column of sums is never looked at */
    uint32_t full = shared_addr(room->full), empty = shared_addr(room->empty), lane_x = x + row * pitch + (lane >> 3) * 16 + warp * WARP_STEP * 2;
    float sum[2][4] = {};
    for (int k0 = 0; k0 < columns; k0 += STEP) {
        bar_wait(full + p->stage * 8, p->phase);
        if (k0 + warp * WARP_STEP < columns) add_stage(sum, ring + p->stage * STAGE, lane_x + k0 * 2);
        __syncwarp();
        if (lane == 0) bar_arrive(empty + p->stage * 8);
        if (++p->stage == a->n_stage) p->stage = 0, p->phase ^= 1;
    }
#pragma unroll
    for (int c = 0; c < 4; c++) room->part[p->turn][warp][lane % 4 * 2 + (c & 1)][lane / 4 + (c >> 1) * 8] = sum[0][c] + sum[1][c];
    part_sync(1, N_EAT);
}

DEV void eat_link(const FlowArgs *a, const FlowLink *l, Room *room, uint32_t ring, uint32_t x, int dealt, Place *p)
{
    int n_tile = n_tile_of(l);
    float square[TOKENS] = {};
    if (first_tile(dealt) >= n_tile) return;
    for (int slab = 0; slab < l->k; slab += l->slab) {
        int end = min(l->k, slab + l->slab), pitch = (end - slab) * 2 + 16;
        if (l->norm) {
            take_normed(a, l, x, pitch, slab, end, square);
            if (end == l->k) put_squares(room, square);
        } else {
            take_input(a, l, x, pitch, slab, end);
        }
        part_sync(1, N_EAT);
        int place = 0;
        for (int tile = first_tile(dealt); tile < n_tile; tile += gridDim.x, place++, p->turn ^= 1) {
            eat_tile(a, room, ring, x, pitch, end - slab, p);
            end_tile(a, l, room, p->turn, tile, place, slab == 0, end == l->k);
        }
    }
}

static __global__ void __launch_bounds__(THREADS, 1) flow_kernel(const __grid_constant__ FlowArgs a)
{
    extern __shared__ __align__(1024) unsigned char smem[];
    Room *room = (Room *)(smem + a.n_stage * STAGE + a.input_bytes);
    uint32_t ring = shared_addr(smem), full = shared_addr(room->full), empty = shared_addr(room->empty), x = ring + a.n_stage * STAGE;
    if (threadIdx.x == 0) {
        for (int i = 0; i < a.n_stage; i++) bar_init(full + i * 8, 1), bar_init(empty + i * 8, N_WARP);
        fence_init();
    }
    __syncthreads();
    if (threadIdx.x / WARP == N_WARP) {
        copy_all(&a, ring, full, empty); /* no kernel writes weights: nothing to wait for */
        return;
    }
    Place p = { 0, 0, 0 };
    uint32_t before = 0;
    for (int i = 0, dealt = 0; i < a.n_link; i++) {
        if (i == 0) chain_wait();
        else if (threadIdx.x == 0) grid_wait(a.meet, before);
        part_sync(1, N_EAT);
        eat_link(&a, &a.link[i], room, ring, x, dealt, &p);
        dealt += n_tile_of(&a.link[i]);
        part_sync(1, N_EAT);
        if (threadIdx.x == 0 && i < a.n_link - 1) before = grid_arrive(a.meet);
    }
}

/* ---- the launcher ---- */

/* Columns of the input that lie in shared memory at once, about 64 KB: whole stages, as equal as can be. */
static int slab_of(int k)
{
    const int most = 16384, n = (k + most - 1) / most;
    return ((k + n - 1) / n + STEP - 1) / STEP * STEP;
}

bool launch_flow_fits(const FlowLink *l, int rows, int n_sm)
{
    if (rows < 1 || rows > FLOW_MAX_ROWS || l->k % 64 || l->in_stride % 8 || (uintptr_t)l->w % 16 || (uintptr_t)l->in % 16) return false;
    return l->k <= slab_of(l->k) || (n_tile_of(l) + n_sm - 1) / n_sm <= WAITING;
}

void launch_flow(Stream s, FlowArgs *a)
{
    int dev, n_sm, room;
    cudaGetDevice(&dev);
    cudaDeviceGetAttribute(&n_sm, cudaDevAttrMultiProcessorCount, dev);
    cudaDeviceGetAttribute(&room, cudaDevAttrMaxSharedMemoryPerBlockOptin, dev);
    a->input_bytes = 0;
    for (int i = 0; i < a->n_link; i++) {
        FlowLink *l = &a->link[i];
        l->slab = slab_of(l->k);
        int need = (a->rows * ((l->slab < l->k ? l->slab : l->k) * 2 + 16) + 127) / 128 * 128;
        if (need > a->input_bytes) a->input_bytes = need;
    }
    int fixed = (int)sizeof(Room) + a->input_bytes, n = (room - fixed) / STAGE;
    a->n_stage = n < STAGES_MAX ? n : STAGES_MAX;
    int bytes = a->n_stage * STAGE + fixed;
    cudaFuncSetAttribute((const void *)flow_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    CHAIN(flow_kernel, n_sm, THREADS, bytes, s, *a);
}
