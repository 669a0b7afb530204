/* sample.cu - from a row of f32 logits to a token, without sorting.
 *
 * The rules are those of the CPU's sample.c: penalties, bias, bans and the mask change logits; temperature scales; top_k,
 * then min_p, then top_p each keep a prefix of the tokens ranked by falling logit (ties by rising id), so what is kept is
 * always "above this key, or equal to it with an id up to that": a Cut. Cuts are found by radix selection: three passes with a
 * histogram of 11 bits of the key, of counts for top_k and of probability for top_p. The draw inverts the cumulative
 * distribution in id order at one uniform number.
 * Where something cuts, one pass counts how many tokens and how much probability lie above a few fixed weights; the first such
 * band that surely holds what is kept, if it is short, is listed in shared memory, and the selection reads only that.
 * Probabilities are summed as integers (40 bits after the point), so the order of adding cannot change a result.
 * A CTA of 32 warps a row; a warp owns a run of ids. Greedy reads the row once (bound: memory), top_k and top_p four
 * times, from L2. Measured: see docs/perf/gpu-sampling.md. */
#include <float.h>

#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.h"

typedef unsigned long long u64;

enum { THREADS = 1024, N_WARP = THREADS / WARP, STEP = WARP * 4, BINS = 2048, LIST_MAX = 2048, N_BAND = 8 };

/* Rising with the value; NaN never comes here. */
DEV uint32_t key_of(float v)
{
    uint32_t u = __float_as_uint(v);
    return u & 0x80000000u ? ~u : u | 0x80000000u;
}

DEV float value_of(uint32_t key) { return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key); }

enum { KEY_NONE = 0x007fffff }; /* the key of minus infinity */

typedef enum { COUNT, MASS, TIES } Kind;

/* A row and what is kept of it so far. */
typedef struct {
    const float *x;        /* 16-byte aligned, readable to the next multiple of 4 */
    const int *ids;        /* NULL: i itself is the id */
    const uint32_t *allowed;
    int n, run;            /* entries, entries of a warp */
    float top, inv_temp, min_p;
    int best;
    uint32_t cut_key;      /* kept: key > cut_key, or equal and id <= cut_last */
    int cut_last;
    uint32_t tie;          /* of TIES */
    Kind kind;
} View;

typedef struct {
    u64 bins[BINS];
    u64 part[N_WARP];
    u64 found, before;
    int id;
    float fpart[WARP];
    int count[N_WARP][N_BAND];
    u64 mass[N_WARP][N_BAND + 1];
    __align__(16) float list[LIST_MAX];
    int list_id[LIST_MAX];
} Room;

DEV float clean(float v) { return v > FLT_MAX ? FLT_MAX : v > -INFINITY ? v + 0.f : -INFINITY; }

/* Four entries from i on, cleaned and masked. */
DEV float4 four(const View *w, int i)
{
    bool in = i < w->n;
    float4 v = *(const float4 *)(w->x + (in ? i : 0));
    uint32_t bits = in ? (1u << min(4, w->n - i)) - 1 : 0;
    if (w->allowed && in) bits &= w->allowed[i / 32] >> (i % 32);
    v.x = bits & 1 ? clean(v.x) : -INFINITY, v.y = bits & 2 ? clean(v.y) : -INFINITY;
    v.z = bits & 4 ? clean(v.z) : -INFINITY, v.w = bits & 8 ? clean(v.w) : -INFINITY;
    return v;
}

DEV int id_of(const View *w, int i) { return w->ids ? w->ids[min(i, w->n - 1)] : i; }

DEV float weight(const View *w, float v) { return __expf((v - w->top) * w->inv_temp); }

DEV u64 mass_of(const View *w, float v) { return __float2ull_rz(weight(w, v) * 0x1p40f); }

DEV bool kept(const View *w, float v, int id)
{
    uint32_t k = key_of(v);
    if (!(k > w->cut_key || (k == w->cut_key && id <= w->cut_last))) return false;
    return !(w->min_p > 0.f) || id == w->best || weight(w, v) >= w->min_p;
}

/* What entry i counts for. */
DEV u64 amount(const View *w, float v, int i)
{
    if (w->kind == TIES) return key_of(v) == w->tie;
    if (!kept(w, v, id_of(w, i))) return 0;
    return w->kind == COUNT ? 1 : mass_of(w, v);
}

DEV u64 warp_sum64(u64 x)
{
#pragma unroll
    for (int o = 16; o; o >>= 1) x += __shfl_xor_sync(~0u, x, o);
    return x;
}

DEV u64 warp_max64(u64 x)
{
#pragma unroll
    for (int o = 16; o; o >>= 1) {
        u64 y = __shfl_xor_sync(~0u, x, o);
        if (y > x) x = y;
    }
    return x;
}

/* Largest in the block; 0 if all are. */
DEV u64 block_max64(u64 x, Room *room)
{
    x = warp_max64(x);
    __syncthreads();
    if (threadIdx.x % WARP == 0) room->part[threadIdx.x / WARP] = x;
    __syncthreads();
    return warp_max64(room->part[threadIdx.x % WARP]);
}

/* The first in rank below `under`: key and inverted id; 0: nothing is left. */
DEV u64 next_best(const View *w, Room *room, u64 under)
{
    u64 best = 0;
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
#pragma unroll 4
    for (int i = warp * w->run + lane * 4; i < min(w->n, (warp + 1) * w->run); i += STEP) {
        float4 v = four(w, i);
        float f[4] = { v.x, v.y, v.z, v.w };
#pragma unroll
        for (int c = 0; c < 4; c++) {
            u64 p = (u64)key_of(f[c]) << 32 | (uint32_t)~(i + c);
            if (f[c] > -INFINITY && p < under && p > best) best = p;
        }
    }
    return block_max64(best, room);
}

/* The first of all: the same for under = all ones, in fewer instructions. */
DEV u64 best_of(const View *w, Room *room)
{
    float best = -INFINITY;
    int id = 0, warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, end = min(w->n, (warp + 1) * w->run);
#pragma unroll 8
    for (int i = warp * w->run + lane * 4; i < end; i += STEP) {
        float4 v = *(const float4 *)(w->x + i);
        uint32_t bits = w->allowed ? w->allowed[i / 32] >> (i % 32) : ~0u;
        if (v.x > best && bits & 1) best = v.x, id = i; /* a thread's ids rise, so of equals the first stays */
        if (v.y > best && bits & 2 && i + 1 < w->n) best = v.y, id = i + 1;
        if (v.z > best && bits & 4 && i + 2 < w->n) best = v.z, id = i + 2;
        if (v.w > best && bits & 8 && i + 3 < w->n) best = v.w, id = i + 3;
    }
    return block_max64(best > -INFINITY ? (u64)key_of(clean(best)) << 32 | (uint32_t)~id : 0, room);
}

/* Amounts of each warp's run into room->part; returns their sum. */
DEV u64 sum_runs(const View *w, Room *room)
{
    u64 sum = 0;
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
#pragma unroll 4
    for (int i = warp * w->run + lane * 4; i < min(w->n, (warp + 1) * w->run); i += STEP) {
        float4 v = four(w, i);
        sum += amount(w, v.x, i) + amount(w, v.y, i + 1) + amount(w, v.z, i + 2) + amount(w, v.w, i + 3);
    }
    sum = warp_sum64(sum);
    __syncthreads();
    if (lane == 0) room->part[warp] = sum;
    __syncthreads();
    return warp_sum64(room->part[lane]);
}

/* The id at which the running sum, in id order, passes target; room->part holds the runs' sums, target is below the total. */
DEV int find_id(const View *w, Room *room, u64 target)
{
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    u64 sum = 0;
    for (int i = 0; i < warp; i++) sum += room->part[i];
    if (target >= sum && target < sum + room->part[warp]) {
        bool done = false;
        for (int i0 = warp * w->run; i0 < min(w->n, (warp + 1) * w->run) && !done; i0 += STEP) {
            int i = i0 + lane * 4;
            float4 v = four(w, i);
            u64 a[4] = { amount(w, v.x, i), amount(w, v.y, i + 1), amount(w, v.z, i + 2), amount(w, v.w, i + 3) };
            u64 mine = a[0] + a[1] + a[2] + a[3], upto = mine;
            for (int o = 1; o < WARP; o *= 2) {
                u64 y = __shfl_up_sync(~0u, upto, o);
                if (lane >= o) upto += y;
            }
            u64 s = sum + upto - mine;
            if (target >= s && target < s + mine) {
                int c = 0;
                while (target >= s + a[c]) s += a[c++];
                room->id = id_of(w, i + c);
                done = true;
            }
            done = __any_sync(~0u, done);
            sum += __shfl_sync(~0u, upto, WARP - 1);
        }
    }
    __syncthreads();
    return room->id;
}

/* room->found: the bin, from the top, in which the running sum reaches wanted; room->before: the sum above it. */
DEV void find_bin(Room *room, u64 wanted)
{
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, b = BINS - 1 - 2 * (int)threadIdx.x;
    u64 hi = room->bins[b], lo = room->bins[b - 1], upto = hi + lo;
    for (int o = 1; o < WARP; o *= 2) {
        u64 y = __shfl_up_sync(~0u, upto, o);
        if (lane >= o) upto += y;
    }
    if (lane == WARP - 1) room->part[warp] = upto;
    __syncthreads();
    for (int i = 0; i < warp; i++) upto += room->part[i];
    u64 above = upto - hi - lo;
    if (above < wanted && above + hi >= wanted) room->found = (u64)b, room->before = above;
    else if (above + hi < wanted && upto >= wanted) room->found = (u64)(b - 1), room->before = above + hi;
    __syncthreads();
}

/* Cuts what is kept to the shortest prefix whose amount reaches wanted, which is at least 1 and at most the whole. */
DEV void cut(View *w, Room *room, u64 wanted)
{
    static const int shifts[3] = { 21, 10, 0 }, widths[3] = { 11, 11, 10 };
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    uint32_t prefix = 0;
    for (int round = 0; round < 3; round++) {
        int shift = shifts[round], width = widths[round];
        for (int i = threadIdx.x; i < BINS; i += THREADS) room->bins[i] = 0;
        __syncthreads();
        for (int i = warp * w->run + lane * 4; i < min(w->n, (warp + 1) * w->run); i += STEP) {
            float4 v = four(w, i);
            float f[4] = { v.x, v.y, v.z, v.w };
#pragma unroll
            for (int c = 0; c < 4; c++) {
                uint32_t k = key_of(f[c]);
                u64 a = round && k >> (shift + width) != prefix ? 0 : amount(w, f[c], i + c);
                if (a) atomicAdd(&room->bins[k >> shift & ((1u << width) - 1)], a);
            }
        }
        __syncthreads();
        find_bin(room, wanted);
        prefix = prefix << width | (uint32_t)room->found;
        wanted -= room->before;
        __syncthreads();
    }
    Kind kind = w->kind;
    u64 each = kind == COUNT ? 1 : mass_of(w, value_of(prefix)), n = each ? (wanted + each - 1) / each : 1;
    uint32_t old_key = w->cut_key;
    int old_last = w->cut_last;
    w->kind = TIES;
    w->tie = prefix;
    u64 all = sum_runs(w, room);
    int last = find_id(w, room, (n < all ? n : all) - 1);
    w->kind = kind;
    w->cut_key = prefix;
    w->cut_last = prefix == old_key && old_last < last ? old_last : last;
    __syncthreads();
}

/* ---- the short list ---- */

static __device__ const float bands[N_BAND] = { -1.f, -2.f, -3.f, -4.f, -5.5f, -7.5f, -10.f, -14.f };

DEV float depth(const View *w, float v) { return (v - w->top) * w->inv_temp; }

/* Counts and probabilities above each band, of each warp's run; the last mass is the whole. */
DEV void count_bands(const View *w, Room *room)
{
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, count[N_BAND] = {};
    u64 mass[N_BAND + 1] = {};
    for (int i = warp * w->run + lane * 4; i < min(w->n, (warp + 1) * w->run); i += STEP) {
        float4 v = four(w, i);
        float f[4] = { v.x, v.y, v.z, v.w };
#pragma unroll
        for (int c = 0; c < 4; c++) {
            float z = depth(w, f[c]);
            u64 m = mass_of(w, f[c]);
            mass[N_BAND] += m;
#pragma unroll
            for (int b = 0; b < N_BAND; b++)
                if (z >= bands[b]) count[b]++, mass[b] += m;
        }
    }
    __syncthreads();
#pragma unroll
    for (int b = 0; b <= N_BAND; b++) {
        u64 m = warp_sum64(mass[b]);
        int n = b < N_BAND ? __reduce_add_sync(~0u, count[b < N_BAND ? b : 0]) : 0;
        if (lane == 0) room->mass[warp][b] = m;
        if (lane == 0 && b < N_BAND) room->count[warp][b] = n;
    }
    __syncthreads();
}

/* The first band that surely holds what is kept, and is short enough; N_BAND: none. top_k and min_p each bound it alone; top_p is a
 * share of what they leave, and bounds it if it is the only one. */
DEV int choose_band(const DrawRow *r, const Room *room, u64 total, bool only_p)
{
    int lane = threadIdx.x % WARP;
    for (int b = 0; b < N_BAND; b++) {
        int n = __reduce_add_sync(~0u, room->count[lane][b]);
        u64 m = warp_sum64(room->mass[lane][b]);
        bool k = r->top_k > 0 && n >= r->top_k, p = only_p && (double)m >= ceil((double)r->top_p * (double)total);
        bool min_p = r->min_p > 0.f && bands[b] <= __logf(r->min_p) - 0.01f;
        if (k || p || min_p) return n <= LIST_MAX ? b : N_BAND;
    }
    return N_BAND;
}

/* Entries above the band, in order of id. */
DEV void make_list(View *w, Room *room, int band)
{
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, at = 0, n = 0;
    for (int i = 0; i < N_WARP; i++) {
        at += i < warp ? room->count[i][band] : 0;
        n += room->count[i][band];
    }
    for (int i0 = warp * w->run; i0 < min(w->n, (warp + 1) * w->run); i0 += STEP) {
        int i = i0 + lane * 4, mine = 0, upto;
        float4 v = four(w, i);
        float f[4] = { v.x, v.y, v.z, v.w };
#pragma unroll
        for (int c = 0; c < 4; c++) mine += depth(w, f[c]) >= bands[band];
        if (!__any_sync(~0u, mine)) continue;
        upto = mine;
        for (int o = 1; o < WARP; o *= 2) {
            int y = __shfl_up_sync(~0u, upto, o);
            if (lane >= o) upto += y;
        }
        int to = at + upto - mine;
#pragma unroll
        for (int c = 0; c < 4; c++)
            if (depth(w, f[c]) >= bands[band]) {
                room->list[to] = f[c];
                room->list_id[to++] = i + c;
            }
        at += __shfl_sync(~0u, upto, WARP - 1);
    }
    __syncthreads();
    w->x = room->list, w->ids = room->list_id, w->allowed = nullptr;
    w->n = n, w->run = (n + N_WARP * STEP - 1) / (N_WARP * STEP) * STEP;
}

/* ---- changing logits, and back ---- */

DEV float settle(float v) { return v > FLT_MAX ? FLT_MAX : v >= -FLT_MAX ? v + 0.f : -INFINITY; }

DEV void change(const DrawArgs *a, const DrawRow *r, float *x)
{
    for (int i = threadIdx.x; i < r->n_seen; i += THREADS) {
        int at = r->seen_at + 2 * i, id = a->list[at], n_out = a->list[at + 1] & 0xffff, in_prompt = a->list[at + 1] >> 16;
        if (id < 0 || id >= r->n_vocab) continue;
        float v = a->save[at] = x[id];
        v = clean(v);
        if (r->repetition != 1.f && (n_out || in_prompt)) v = v > 0.f ? v / r->repetition : v * r->repetition;
        v = __fsub_rn(v, __fmul_rn(r->frequency, (float)n_out)); /* unfused: bit for bit the CPU's */
        if (n_out) v -= r->presence;
        x[id] = settle(v);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < r->n_bias; i += THREADS) {
        int at = r->bias_at + 2 * i, id = a->list[at];
        if (id < 0 || id >= r->n_vocab) continue;
        a->save[at] = x[id];
        x[id] = settle(clean(x[id]) + __int_as_float(a->list[at + 1]));
    }
    __syncthreads();
    for (int i = threadIdx.x; i < r->n_banned; i += THREADS) {
        int at = r->banned_at + i, id = a->list[at];
        if (id < 0 || id >= r->n_vocab) continue;
        a->save[at] = x[id];
        x[id] = -INFINITY;
    }
    __syncthreads();
}

DEV void put_back(const DrawArgs *a, const DrawRow *r, float *x, int at, int n, int step)
{
    for (int i = threadIdx.x; i < n; i += THREADS) {
        int id = a->list[at + step * i];
        if (id >= 0 && id < r->n_vocab) x[id] = a->save[at + step * i];
    }
    __syncthreads();
}

/* ---- a row ---- */

/* When no logit is left to compare: the lowest id that is not forbidden. */
DEV int first_allowed(const DrawArgs *a, const DrawRow *r, const View *w, Room *room)
{
    u64 best = 0;
    for (int id = threadIdx.x; id < w->n; id += THREADS) {
        bool in = !w->allowed || w->allowed[id / 32] >> (id % 32) & 1;
        for (int i = 0; i < r->n_banned && in; i++) in = a->list[r->banned_at + i] != id;
        if (in) best = max(best, (u64)~(uint32_t)id);
    }
    best = block_max64(best, room);
    return best ? (int)~(uint32_t)best : 0;
}

DEV int choose(const DrawArgs *a, const DrawRow *r, View *w, Room *room)
{
    u64 first = best_of(w, room);
    if (!first) return first_allowed(a, r, w, room);
    w->best = (int)~(uint32_t)first;
    if (r->inv_temp == 0.f) return w->best;
    w->top = value_of((uint32_t)(first >> 32));
    w->inv_temp = r->inv_temp;
    bool k = r->top_k > 0 && r->top_k < w->n, p = r->top_p < 1.f, min_p = r->min_p > 0.f;
    u64 total = 0;
    if (k || p || min_p) {
        count_bands(w, room);
        total = warp_sum64(room->mass[threadIdx.x % WARP][N_BAND]);
        int band = choose_band(r, room, total, p && !k && !min_p);
        if (band < N_BAND) make_list(w, room, band);
    }
    w->kind = COUNT;
    if (k && (u64)r->top_k < sum_runs(w, room)) cut(w, room, (u64)r->top_k);
    w->min_p = r->min_p;
    w->kind = MASS;
    if (!p || k || min_p) total = sum_runs(w, room);
    if (p) {
        u64 wanted = (u64)ceil((double)r->top_p * (double)total);
        cut(w, room, wanted < 1 ? 1 : wanted < total ? wanted : total);
        total = sum_runs(w, room);
    }
    u64 target = (u64)((double)r->uniform * (double)total);
    return find_id(w, room, target < total ? target : total - 1);
}

DEV float logprob(float x, float top, float log_sum)
{
    if (!(x > -INFINITY)) return -INFINITY;
    return x == top && isinf(top) ? 0.f : x - top - log_sum;
}

DEV bool in_mask(const uint32_t *allowed, int i) { return !allowed || allowed[i / 32] >> (i % 32) & 1; }

/* Log of the sum of exp of the raw logits that the mask leaves over their largest, which goes to *top. */
DEV float log_sum_of(const float *x, const uint32_t *allowed, int n, float *top, Room *room)
{
    float best = -INFINITY, sum = 0.f;
    for (int i = threadIdx.x; i < n; i += THREADS)
        if (in_mask(allowed, i)) best = fmaxf(best, x[i]); /* fmaxf drops NaN */
    best = warp_max(best);
    __syncthreads();
    if (threadIdx.x % WARP == 0) room->fpart[threadIdx.x / WARP] = best;
    __syncthreads();
    *top = best = warp_max(room->fpart[threadIdx.x % WARP]);
    if (isinf(best)) return 0.f;
    for (int i = threadIdx.x; i < n; i += THREADS)
        if (x[i] <= best && in_mask(allowed, i)) sum += __expf(x[i] - best);
    return logf(block_sum(sum, room->fpart));
}

/* The n_top largest raw logits of the mask. An infinite one counts as the largest float among its equals in rank. */
DEV void give_tops(const DrawArgs *a, const DrawRow *r, const View *raw, Room *room, int row, float top, float log_sum)
{
    u64 under = ~0ull;
    for (int t = 0; t < r->n_top && t < DRAW_TOPS; t++) {
        u64 p = under ? next_best(raw, room, under) : 0;
        int id = p ? (int)~(uint32_t)p : -1;
        if (threadIdx.x == 0) {
            a->top_id[row * DRAW_TOPS + t] = id;
            a->top_logprob[row * DRAW_TOPS + t] = id < 0 ? -INFINITY : logprob(raw->x[id], top, log_sum);
        }
        under = p;
    }
}

static __global__ void __launch_bounds__(THREADS) draw_kernel(const __grid_constant__ DrawArgs a)
{
    __shared__ Room room;
    int row = blockIdx.x;
    DrawRow r = a.row[row];
    float *x = a.logits + (size_t)row * a.stride, top = 0.f, log_sum = 0.f;
    View w = {};
    w.x = x, w.n = r.n_vocab, w.run = (r.n_vocab + N_WARP * STEP - 1) / (N_WARP * STEP) * STEP;
    w.cut_key = KEY_NONE, w.cut_last = -1, w.best = -1, w.inv_temp = 1.f;
    bool probs = r.want_logprob || r.n_top > 0 || r.target >= 0, changes = r.n_seen || r.n_bias || r.n_banned;
    if (r.allowed_at >= 0 && r.target < 0) w.allowed = (const uint32_t *)a.list + r.allowed_at;
    if (probs) log_sum = log_sum_of(x, w.allowed, r.n_vocab, &top, &room);
    if (r.n_top > 0) give_tops(&a, &r, &w, &room, row, top, log_sum);
    int token = r.target;
    if (token < 0) {
        if (changes) change(&a, &r, x);
        token = choose(&a, &r, &w, &room);
        __syncthreads();
        if (changes) {
            put_back(&a, &r, x, r.banned_at, r.n_banned, 1);
            put_back(&a, &r, x, r.bias_at, r.n_bias, 2);
            put_back(&a, &r, x, r.seen_at, r.n_seen, 2);
        }
    }
    if (threadIdx.x == 0) {
        a.token[row] = token;
        a.logprob[row] = probs ? (token < r.n_vocab ? logprob(x[token], top, log_sum) : -INFINITY) : 0.f;
    }
}

void launch_draw(Stream s, const DrawArgs *a)
{
    draw_kernel<<<a->rows, THREADS, 0, (cudaStream_t)s>>>(*a);
}
