/* sample.c - from a row of logits to a token.
 *
 * The order of things: repetition, frequency and presence penalties, bias, bans and the mask change logits; temperature
 * scales; top_k, then min_p (relative to the largest probability), then top_p (of what the two left, counted anew as a
 * whole) each keep a prefix of the tokens ranked by falling logit, ties by rising id. So what is kept is one prefix, and
 * the draw is the inverse of its cumulative distribution in id order at one uniform number: the stream (seed, counter).
 *
 * No vocabulary is ever sorted. A small top_k is found by insertion. Otherwise weigh() computes all weights
 * exp((y - top) / T) and counts how many tokens and how much mass lie above a few fixed weights; the first band that surely
 * holds what matters says which tokens are collected; only those are ranked, by a radix sort without bad cases. With
 * top_p alone even they may be many, and are bisected by value first.
 *
 * Logprobs are of the raw logits. NaN counts as -infinity, +infinity as the largest float; if nothing can be drawn the
 * answer is the lowest id that is not forbidden (0 if all are). Rows are independent: a worker takes one at a time.
 * Thread: the device's owner; the pool's workers inside. */
#include <float.h>
#include <math.h>

#include "backend/cpu/cpu.h"

enum { N_RESULTS = 2, SUM_BLOCK = 512, DIGIT_BITS = 11, N_DIGITS = 1 << DIGIT_BITS, SMALL_K = 128, FEW = 64 };

const float sample_band[SAMPLE_BANDS] = { -1.5f, -3.5f, -6, -8.5f, -11, -14 };

/* One worker's room. */
typedef struct {
    float *y, *w;           /* [vocab] changed logits and weights */
    float *value, *value_w; /* of what was collected */
    int32_t *id;
    uint32_t *key, *other_key, *rank, *other_rank; /* of the sort */
    double *block;                                 /* sums of SUM_BLOCK weights */
    char *data;
    size_t size;
} Desk;

struct SampleRoom {
    Desk *desk; /* [workers] */
    int n_desk, n_vocab, n_rows;
    SampleOut *result[N_RESULTS]; /* a ring: the step after next may be queued before this one is fetched */
    int first, n_waiting, newest;
};

SampleRoom *cpu_sample_room(Device *d)
{
    SampleRoom *r = ARENA_NEW(d->arena, SampleRoom, 1);
    r->n_desk = pool_size(d->pool);
    r->desk = ARENA_NEW(d->arena, Desk, (size_t)r->n_desk);
    return r;
}

void cpu_sample_room_free(SampleRoom *r)
{
    for (int i = 0; i < r->n_desk; i++) {
        if (r->desk[i].data) mem_unmap(r->desk[i].data, r->desk[i].size);
    }
    for (int i = 0; i < N_RESULTS; i++) mem_free(r->result[i]);
}

static void make_desk(Desk *t, size_t n)
{
    if (t->data) mem_unmap(t->data, t->size);
    n = (n + 63) & ~(size_t)63;
    size_t n_block = n / SUM_BLOCK + 1;
    t->size = n * 9 * 4 + n_block * sizeof(double);
    t->data = mem_map(t->size);
    float *f = (float *)(void *)t->data;
    t->y = f;
    t->w = f + n;
    t->value = f + 2 * n;
    t->value_w = f + 3 * n;
    t->id = (int32_t *)(void *)(f + 4 * n);
    t->key = (uint32_t *)(void *)(f + 5 * n);
    t->other_key = t->key + n;
    t->rank = t->key + 2 * n;
    t->other_rank = t->key + 3 * n;
    t->block = (double *)(void *)(f + 9 * n);
}

void cpu_sample_reserve(Device *d, int n_rows, int n_vocab)
{
    SampleRoom *r = d->sample;
    if (n_vocab > r->n_vocab) {
        for (int i = 0; i < r->n_desk; i++) make_desk(&r->desk[i], (size_t)n_vocab);
        r->n_vocab = n_vocab;
    }
    if (n_rows > r->n_rows) {
        for (int i = 0; i < N_RESULTS; i++) r->result[i] = mem_grow(r->result[i], (size_t)n_rows * sizeof(SampleOut));
        r->n_rows = n_rows;
    }
}

/* ---- definitions of the scans ---- */

int plain_argmax(const float *x, int n)
{
    int best = -1;
    float top = -INFINITY;
    for (int i = 0; i < n; i++) {
        if (x[i] > top) {
            top = x[i];
            best = i;
        }
    }
    return best;
}

int plain_find_above(const float *x, int from, int n, float t)
{
    while (from < n && !(x[from] > t)) from++;
    return from;
}

double plain_sum_exp(const float *x, int n, float top)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        if (x[i] <= top) sum += exp((double)x[i] - top);
    }
    return sum;
}

void plain_clean(float *y, const float *x, const uint32_t *allowed, int n)
{
    for (int i = 0; i < n; i++) {
        bool in = !allowed || (allowed[i / 32] >> (i % 32) & 1);
        float v = x[i] > FLT_MAX ? FLT_MAX : x[i] + 0.0f; /* and no -0 */
        y[i] = in && v > -INFINITY ? v : -INFINITY;
    }
}

void plain_weigh(float *w, const float *y, int n, float top, float inv_temp, Weighed *out)
{
    memset(out, 0, sizeof *out);
    for (int i = 0; i < n; i++) {
        float z = (y[i] - top) * inv_temp;
        w[i] = expf(z);
        out->total += w[i];
        for (int b = 0; b < SAMPLE_BANDS; b++) {
            if (z < sample_band[b]) continue;
            out->count[b]++;
            out->mass[b] += w[i];
        }
    }
}

double plain_mass_above(const float *y, const float *w, int n, float t, int *count)
{
    double mass = 0;
    *count = 0;
    for (int i = 0; i < n; i++) {
        if (!(y[i] >= t)) continue;
        mass += w[i];
        ++*count;
    }
    return mass;
}

int plain_collect(int32_t *ids, float *values, const float *y, int n, float t, float below)
{
    int m = 0;
    for (int i = 0; i < n; i++) {
        if (!(y[i] >= t && y[i] < below)) continue;
        ids[m] = i;
        values[m++] = y[i];
    }
    return m;
}

/* ---- changing logits ---- */

static bool changes_logits(const SampleRow *r)
{
    return r->n_seen || r->n_bias || r->n_banned || r->allowed;
}

/* What clean() promises holds after a change as well. */
static float settle(float v)
{
    return v > FLT_MAX ? FLT_MAX : v >= -FLT_MAX ? v + 0.0f : -INFINITY;
}

static void change_logits(float *y, const SampleRow *r, int n)
{
    for (int i = 0; i < r->n_seen; i++) {
        const TokenCount *c = &r->seen[i];
        if (c->id < 0 || c->id >= n) continue;
        float *v = &y[c->id];
        if (r->repetition != 1 && (c->n_out || c->in_prompt)) *v = *v > 0 ? *v / r->repetition : *v * r->repetition;
        *v -= r->frequency * (float)c->n_out;
        if (c->n_out) *v -= r->presence;
        *v = settle(*v);
    }
    for (int i = 0; i < r->n_bias; i++) {
        float *v = r->bias[i].id >= 0 && r->bias[i].id < n ? &y[r->bias[i].id] : NULL;
        if (v) *v = settle(*v + r->bias[i].add);
    }
    for (int i = 0; i < r->n_banned; i++) {
        if (r->banned[i] >= 0 && r->banned[i] < n) y[r->banned[i]] = -INFINITY;
    }
}

static bool is_banned(const SampleRow *r, int32_t id)
{
    for (int i = 0; i < r->n_banned; i++) {
        if (r->banned[i] == id) return true;
    }
    return false;
}

/* When no logit is left to compare. */
static int32_t first_allowed(const SampleRow *r, int n)
{
    for (int32_t id = 0; id < n; id++) {
        if (r->allowed && !(r->allowed[id / 32] >> (id % 32) & 1)) continue;
        if (!is_banned(r, id)) return id;
    }
    return 0;
}

/* ---- ranking ---- */

/* Rising keys are falling values. */
static uint32_t falling_key(float v)
{
    uint32_t u;
    memcpy(&u, &v, 4);
    return u & 0x80000000u ? u : ~u & 0x7fffffffu;
}

/* Sorts rank[0..m), indices into value[], by falling value; equal values stay in order of index, that is of id. */
static void rank_values(Desk *t, int m)
{
    for (int i = 0; i < m; i++) t->key[i] = falling_key(t->value[t->rank[i]]);
    for (int shift = 0; shift < 32; shift += DIGIT_BITS) {
        uint32_t at[N_DIGITS] = { 0 };
        for (int i = 0; i < m; i++) at[t->key[i] >> shift & (N_DIGITS - 1)]++;
        if (at[t->key[0] >> shift & (N_DIGITS - 1)] == (uint32_t)m) continue; /* all alike */
        uint32_t sum = 0;
        for (int i = 0; i < N_DIGITS; i++) {
            uint32_t n = at[i];
            at[i] = sum;
            sum += n;
        }
        for (int i = 0; i < m; i++) {
            uint32_t to = at[t->key[i] >> shift & (N_DIGITS - 1)]++;
            t->other_key[to] = t->key[i];
            t->other_rank[to] = t->rank[i];
        }
        uint32_t *key = t->key, *rank = t->rank;
        t->key = t->other_key, t->rank = t->other_rank;
        t->other_key = key, t->other_rank = rank;
    }
}

/* Index of the last that top_k, min_p and top_p keep of m collected ones, among which is all that top_k and min_p leave. */
static uint32_t last_kept(Desk *t, const SampleRow *r, int m)
{
    for (int i = 0; i < m; i++) t->rank[i] = (uint32_t)i;
    rank_values(t, m);
    int kept = r->top_k > 0 ? MIN(r->top_k, m) : m, n = 1;
    double total = t->value_w[t->rank[0]];
    while (n < kept && (!(r->min_p > 0) || t->value_w[t->rank[n]] >= r->min_p)) total += t->value_w[t->rank[n++]];
    if (!(r->top_p < 1)) return t->rank[n - 1];
    double sum = t->value_w[t->rank[0]], wanted = r->top_p * total;
    kept = 1;
    while (kept < n && sum < wanted) sum += t->value_w[t->rank[kept++]];
    return t->rank[kept - 1];
}

/* The same for top_p alone, wanted being its share of all mass. Values are bisected until few are left between one that keeps
 * enough and one that does not; only those are ranked. */
static uint32_t last_by_mass(const Simd *s, Desk *t, int m, double wanted, float low, float top)
{
    float high = nextafterf(top, INFINITY); /* at or above low lies enough, at or above high does not */
    double sum = 0;
    int n_low = m, n_high = 0;
    while (n_low - n_high > FEW) {
        float mid = low / 2 + high / 2;
        if (!(mid > low && mid < high)) break; /* equal values: they are ranked by id */
        int count;
        double mass = s->mass_above(t->value, t->value_w, m, mid, &count);
        if (mass >= wanted) {
            low = mid;
            n_low = count;
        } else {
            high = mid;
            n_high = count;
            sum = mass;
        }
    }
    int n = s->collect((int32_t *)t->rank, t->w, t->value, m, low, high); /* w has done its work */
    rank_values(t, n);
    int kept = 0;
    do {
        sum += t->value_w[t->rank[kept++]];
    } while (kept < n && sum < wanted);
    return t->rank[kept - 1];
}

/* ---- drawing ---- */

static float uniform(const SampleRow *r)
{
    return rng_uniform(r->seed, r->counter, 0);
}

/* The lowest index at which the sum of w[from..] passes target; the last positive one if rounding kept it from passing. */
static int walk(const float *w, int from, int to, double target)
{
    double sum = 0;
    int last = from;
    for (int i = from; i < to; i++) {
        if (!(w[i] > 0)) continue;
        sum += w[i];
        last = i;
        if (sum > target) break;
    }
    return last;
}

static double block_sum(const float *w, int n)
{
    float lane[16] = { 0 };
    int i = 0;
    for (; i + 16 <= n; i += 16) {
        for (int j = 0; j < 16; j++) lane[j] += w[i + j];
    }
    double sum = 0;
    for (int j = 0; j < 16; j++) sum += lane[j];
    for (; i < n; i++) sum += w[i];
    return sum;
}

/* Index drawn in proportion to w[0..n), of which at least one is positive. */
static int draw(const float *w, int n, double *block, float u)
{
    double total = 0;
    int n_block = (n + SUM_BLOCK - 1) / SUM_BLOCK;
    for (int b = 0; b < n_block; b++) {
        block[b] = block_sum(w + b * SUM_BLOCK, MIN(SUM_BLOCK, n - b * SUM_BLOCK));
        total += block[b];
    }
    double target = u * total;
    int at = 0, last = 0;
    while (at < n_block) {
        if (block[at] > 0) {
            last = at;
            if (target < block[at]) break;
            target -= block[at];
        }
        at++;
    }
    if (at == n_block) { /* rounding: the end of the last block that has anything */
        at = last;
        target = INFINITY;
    }
    return walk(w, at * SUM_BLOCK, MIN(n, (at + 1) * SUM_BLOCK), target);
}

/* The logit below which nothing matters: of top_k and min_p all that they leave lies above it, so that top_p can count it;
 * of top_p alone, all that is kept. A little lower than exact, for rounding. */
static float threshold(const SampleRow *r, const Weighed *h, float top, float inv_temp)
{
    float z = -INFINITY;
    bool by_count = r->top_k > 0, by_mass = !by_count && !(r->min_p > 0);
    for (int b = SAMPLE_BANDS - 1; b >= 0; b--) {
        if (by_count && h->count[b] >= r->top_k) z = sample_band[b];
        if (by_mass && h->mass[b] >= r->top_p * h->total * 1.0001) z = sample_band[b];
    }
    if (r->min_p > 0) z = MAX(z, logf(r->min_p));
    return top + (z - 0.01f - 1e-4f * fabsf(z)) / inv_temp;
}

/* The k-th largest of y[0..n), for a small k, by insertion; -infinity if there are fewer. */
static float kth_largest(const Simd *s, const float *y, int n, int k)
{
    float best[SMALL_K], t = -INFINITY;
    int m = 0;
    for (int i = s->find_above(y, 0, n, t); i < n; i = s->find_above(y, i + 1, n, t)) {
        int at = m < k ? m++ : k - 1;
        for (; at > 0 && y[i] > best[at - 1]; at--) best[at] = best[at - 1];
        best[at] = y[i];
        if (m == k) t = best[k - 1];
    }
    return t;
}

/* What is not kept weighs nothing. Index order is id order. Without branches, for the compiler's vectors. */
static void drop(float *w, const float *value, int m, float lowest, int last)
{
    for (int i = 0; i < m; i++) {
        bool in = (value[i] > lowest) | ((value[i] == lowest) & (i <= last));
        w[i] = in ? w[i] : 0;
    }
}

static int32_t draw_kept(const Simd *s, Desk *t, const SampleRow *r, int n, float top, float inv_temp)
{
    Weighed h = { 0 };
    float low;
    if (r->top_k > 0 && r->top_k < n && r->top_k <= SMALL_K) {
        low = kth_largest(s, t->y, n, r->top_k);
    } else {
        s->weigh(t->w, t->y, n, top, inv_temp, &h);
        bool all = !(r->top_k > 0 && r->top_k < n) && !(r->top_p < 1) && !(r->min_p > 0);
        if (all) return draw(t->w, n, t->block, uniform(r));
        low = threshold(r, &h, top, inv_temp);
    }
    int m = s->collect(t->id, t->value, t->y, n, low > -FLT_MAX ? low : -FLT_MAX, INFINITY);
    double whole = h.total;
    s->weigh(t->value_w, t->value, m, top, inv_temp, &h);
    bool by_mass = r->top_k <= 0 && !(r->min_p > 0);
    low = MAX(low, top - 90 / inv_temp); /* below, all weights are 0 */
    uint32_t last = by_mass ? last_by_mass(s, t, m, r->top_p * whole, low, top) : last_kept(t, r, m);
    drop(t->value_w, t->value, m, t->value[last], (int)last);
    return t->id[draw(t->value_w, m, t->block, uniform(r))];
}

static int32_t choose(const Simd *s, Desk *t, const float *x, const SampleRow *r, int n)
{
    CHECK(t->y);
    bool greedy = !(r->temperature > 0);
    const float *y = x;
    if (!greedy || changes_logits(r)) {
        s->clean(t->y, x, r->allowed, n);
        change_logits(t->y, r, n);
        y = t->y;
    }
    int best = s->argmax(y, n);
    if (best < 0) return first_allowed(r, n);
    if (greedy) return best;
    float inv_temp = 1 / r->temperature; /* kept where neither 0 * infinity nor infinity * 0 can come up */
    inv_temp = inv_temp > 1e30f ? 1e30f : inv_temp < 1e-30f ? 1e-30f : inv_temp;
    return draw_kept(s, t, r, n, y[best], inv_temp);
}

/* ---- logprobs ---- */

/* Never NaN: with an infinite logit the row's mass sits there. */
static float logprob(float x, float top, double log_sum)
{
    if (!(x > -INFINITY)) return -INFINITY;
    if (x == top && isinf(top)) return 0;
    return (float)((double)x - top - log_sum);
}

/* The n_top largest raw logits, by insertion: after the first few, find_above skips nearly everything. */
static void top_logits(const Simd *s, const float *x, int n, int n_top, SampleOut *out)
{
    int m = 0;
    float t = -INFINITY;
    for (int i = s->find_above(x, 0, n, t); i < n; i = s->find_above(x, i + 1, n, t)) {
        int at = m < n_top ? m++ : n_top - 1;
        while (at > 0 && x[i] > out->top_logprob[at - 1]) {
            out->top_logprob[at] = out->top_logprob[at - 1];
            out->top_id[at] = out->top_id[at - 1];
            at--;
        }
        out->top_logprob[at] = x[i];
        out->top_id[at] = i;
        if (m == n_top) t = out->top_logprob[n_top - 1];
    }
    for (; m < n_top; m++) {
        out->top_logprob[m] = -INFINITY;
        out->top_id[m] = -1;
    }
}

static void give_logprobs(const Simd *s, const float *x, const SampleRow *r, int n, SampleOut *out)
{
    int best = s->argmax(x, n), n_top = MAX(0, MIN(r->n_top, SAMPLE_TOP_MAX));
    float top = best < 0 ? 0 : x[best];
    double log_sum = best < 0 || isinf(top) ? 0 : log(s->sum_exp(x, n, top));
    out->logprob = out->token >= 0 && out->token < n ? logprob(x[out->token], top, log_sum) : -INFINITY;
    if (!n_top) return;
    top_logits(s, x, n, n_top, out);
    for (int i = 0; i < n_top; i++) out->top_logprob[i] = logprob(out->top_logprob[i], top, log_sum);
}

/* ---- ops ---- */

typedef struct {
    Device *d;
    Tensor logits;
    const SampleRow *rows;
    SampleOut *out;
    int n;
} Sampling;

static void sample_worker(void *arg, int worker, int n_workers)
{
    (void)n_workers;
    const Sampling *a = arg;
    const Simd *s = a->d->simd;
    int i, end;
    while (pool_next(a->d->pool, 0, a->n, 1, &i, &end)) {
        const SampleRow *r = &a->rows[i];
        const float *x = cpu_row(a->logits, i);
        SampleOut *out = &a->out[i];
        int n = r->n_vocab > 0 ? MIN(r->n_vocab, a->logits.cols) : a->logits.cols;
        out->token = r->target >= 0 ? r->target : choose(s, &a->d->sample->desk[worker], x, r, n);
        out->logprob = 0;
        if (r->want_logprob || r->n_top > 0 || r->target >= 0) give_logprobs(s, x, r, n, out);
    }
}

int32_t cpu_drawn(const Device *d, int row)
{
    return d->sample->result[d->sample->newest][row].token;
}

void cpu_sample(Device *d, Tensor logits, const SampleRow *rows, int n)
{
    SampleRoom *room = d->sample;
    cpu_sample_reserve(d, n, logits.cols);
    if (room->n_waiting == N_RESULTS) { /* nobody fetched the oldest */
        room->first = (room->first + 1) % N_RESULTS;
        room->n_waiting--;
    }
    room->newest = (room->first + room->n_waiting++) % N_RESULTS;
    Sampling a = { d, logits, rows, room->result[room->newest], n };
    pool_share(d->pool, sample_worker, &a);
}

Status cpu_sample_wait(Device *d, SampleOut *out, int n, Err *err)
{
    SampleRoom *room = d->sample;
    if (n == 0) return OK; /* a pass of prefill chunks alone draws nothing */
    if (!room->n_waiting) return fail(err, E_INVALID, "nothing was sampled");
    memcpy(out, room->result[room->first], (size_t)n * sizeof *out);
    room->first = (room->first + 1) % N_RESULTS;
    room->n_waiting--;
    return OK;
}
