/* sample.c - from rows of logits to tokens: the op, what changes logits, greedy choice, and logprobs.
 *
 * The order of things: repetition, frequency and presence penalties, bias, bans and the mask change logits; temperature
 * scales; top_k, min_p and top_p keep some, and one is drawn (sample_draw.c). Logits that nothing changes are not copied.
 *
 * Under a mask of few ids only those are looked at: their logits are brought together at the front of the desk, and what is
 * drawn there is an index among them. The order of ids stays, so it is the same draw.
 *
 * Logprobs are of the raw logits, under a mask of those that it allows. NaN counts as -infinity, +infinity as the largest float; if nothing can be drawn the
 * answer is the lowest id that is not forbidden (0 if all are). Rows are independent: a worker takes one at a time.
 * Thread: the device's owner; the pool's workers inside. */
#include <float.h>
#include <math.h>

#include "backend/cpu/sample_draw.h"

enum { N_RESULTS = 2 };

struct SampleRoom {
    SampleDesk *desk; /* [workers] */
    int n_desk, n_vocab, n_rows;
    SampleOut *result[N_RESULTS]; /* a ring: the step after next may be queued before this one is fetched */
    int first, n_waiting, newest;
};

SampleRoom *cpu_sample_room(Device *d)
{
    SampleRoom *r = ARENA_NEW(d->arena, SampleRoom, 1);
    r->n_desk = pool_size(d->pool);
    r->desk = ARENA_NEW(d->arena, SampleDesk, (size_t)r->n_desk);
    return r;
}

void cpu_sample_room_free(SampleRoom *r)
{
    for (int i = 0; i < r->n_desk; i++) sample_draw_desk_free(&r->desk[i]);
    for (int i = 0; i < N_RESULTS; i++) mem_free(r->result[i]);
}

void cpu_sample_reserve(Device *d, int n_rows, int n_vocab)
{
    SampleRoom *r = d->sample;
    if (n_vocab > r->n_vocab) {
        for (int i = 0; i < r->n_desk; i++) sample_draw_desk(&r->desk[i], n_vocab);
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

float plain_lane_max(const float *y, int n, float *max)
{
    float top = -INFINITY;
    for (int i = 0; i < (n + CHUNK - 1) / CHUNK * CHUNK_LANES; i++) max[i] = -INFINITY;
    for (int i = 0; i < n; i++) {
        float *m = &max[i / CHUNK * CHUNK_LANES + i % CHUNK_LANES];
        *m = y[i] > *m ? y[i] : *m;
        top = y[i] > top ? y[i] : top;
    }
    return top;
}

static float weight_of(float y, Weighing g)
{
    float z = (y - g.top) * g.by;
    return z > -124.9f ? exp2f(z) : 0;
}

void plain_weigh(float *w, const float *y, int n, Weighing g)
{
    for (int i = 0; i < n; i++) w[i] = weight_of(y[i], g);
}

void plain_tally(const float *y, const float *w, int n, float t, Tally *out)
{
    *out = (Tally){ 0 };
    for (int i = 0; i < n; i++) {
        if (!(y[i] >= t)) continue;
        out->mass += w[i];
        out->squares += (double)w[i] * w[i];
        out->count++;
    }
}

int plain_collect(int32_t *ids, float *values, const float *y, const float *max, int n, float t)
{
    (void)max; /* only saves time */
    int m = 0;
    for (int i = 0; i < n; i++) {
        if (!(y[i] >= t)) continue;
        ids[m] = i;
        values[m++] = y[i];
    }
    return m;
}

void plain_sift(Sift *s)
{
    int m = 0;
    s->above = s->total = 0;
    for (int i = 0; i < s->n; i++) {
        if (i % CHUNK == 0) {
            s->start[i / CHUNK] = m;
            s->mass[i / CHUNK] = 0;
        }
        if (!(s->y[i] >= s->low)) continue;
        float w = weight_of(s->y[i], s->g);
        s->total += w;
        if (s->y[i] >= s->to) {
            s->mass[i / CHUNK] += w;
            s->above += w;
        } else if (s->y[i] >= s->from) {
            s->ids[m] = i;
            s->values[m++] = s->y[i];
        }
    }
    s->start[(s->n + CHUNK - 1) / CHUNK] = m;
}

/* ---- masks ---- */

enum { FEW = 2048 }; /* allowed ids up to which they are looked at one by one */

static bool is_allowed(const SampleRow *r, int32_t id)
{
    return !r->allowed || (r->allowed[id / 32] >> (id % 32) & 1);
}

static uint32_t word_of(const SampleRow *r, int i, int n)
{
    int left = n - i * 32;
    return left >= 32 ? r->allowed[i] : r->allowed[i] & ((1u << left) - 1);
}

/* How many ids the mask allows; n where that are more than FEW, or there is no mask. */
static int count_few(const SampleRow *r, int n)
{
    int m = 0;
    if (!r->allowed || n <= 0) return n;
    for (int i = 0; i <= (n - 1) / 32 && m <= FEW; i++) m += __builtin_popcount(word_of(r, i, n));
    return m <= FEW ? m : n;
}

/* Allowed id number `at`, counted from 0. */
static int32_t nth_allowed(const SampleRow *r, int n, int at)
{
    for (int i = 0;; i++) {
        uint32_t bits = word_of(r, i, n);
        int m = __builtin_popcount(bits);
        for (; at < m && at > 0; at--) bits &= bits - 1;
        if (at == 0 && bits) return i * 32 + __builtin_ctz(bits);
        at -= m;
    }
}

/* What clean() promises, and holds after a change as well. */
static float settle(float v)
{
    return v > FLT_MAX ? FLT_MAX : v >= -FLT_MAX ? v + 0.0f : -INFINITY;
}

/* y[id] = x[id] of the allowed ids. */
static void pick_few(float *y, const float *x, const SampleRow *r, int n)
{
    for (int i = 0; i <= (n - 1) / 32; i++)
        for (uint32_t bits = word_of(r, i, n); bits; bits &= bits - 1) {
            int32_t id = i * 32 + __builtin_ctz(bits);
            y[id] = settle(x[id]);
        }
}

/* The allowed ids' values one after another, in place: none moves up. */
static void pack_few(float *y, const SampleRow *r, int n)
{
    int m = 0;
    for (int i = 0; i <= (n - 1) / 32; i++)
        for (uint32_t bits = word_of(r, i, n); bits; bits &= bits - 1) y[m++] = y[i * 32 + __builtin_ctz(bits)];
}

/* ---- changing logits ---- */

static bool changes_logits(const SampleRow *r)
{
    return r->n_seen || r->n_bias || r->n_banned || r->allowed;
}

/* What the mask forbids stays as it is: there may be nothing in y. */
static void change_logits(float *y, const SampleRow *r, int n)
{
    for (int i = 0; i < r->n_seen; i++) {
        const TokenCount *c = &r->seen[i];
        if (c->id < 0 || c->id >= n || !is_allowed(r, c->id)) continue;
        float *v = &y[c->id];
        if (r->repetition != 1 && (c->n_out || c->in_prompt)) *v = *v > 0 ? *v / r->repetition : *v * r->repetition;
        *v -= r->frequency * (float)c->n_out;
        if (c->n_out) *v -= r->presence;
        *v = settle(*v);
    }
    for (int i = 0; i < r->n_bias; i++) {
        int32_t id = r->bias[i].id;
        if (id >= 0 && id < n && is_allowed(r, id)) y[id] = settle(y[id] + r->bias[i].add);
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
    for (int32_t id = 0; id < n; id++)
        if (is_allowed(r, id) && !is_banned(r, id)) return id;
    return 0;
}

/* ---- choosing ---- */

/* Index into y[0..n), which nothing changes any more; -1: nothing there can be drawn. */
static int choose_index(const Simd *s, SampleDesk *t, const float *y, const SampleRow *r, int n)
{
    if (!(r->temperature > 0)) return s->argmax(y, n);
    float top = s->lane_max(y, n, t->max);
    if (top > FLT_MAX) { /* an infinity among raw logits */
        s->clean(t->y, y, NULL, n);
        y = t->y;
        top = s->lane_max(y, n, t->max);
    }
    return top >= -FLT_MAX ? sample_draw(s, t, r, y, n, top) : -1;
}

/* n_few: of the allowed ids if they are few, else n. */
static int32_t choose(const Simd *s, SampleDesk *t, const float *x, const SampleRow *r, int n, int n_few)
{
    CHECK(t->y);
    const float *y = x;
    if (n_few < n) {
        pick_few(t->y, x, r, n);
        change_logits(t->y, r, n);
        pack_few(t->y, r, n);
        y = t->y;
    } else if (changes_logits(r)) {
        s->clean(t->y, x, r->allowed, n);
        change_logits(t->y, r, n);
        y = t->y;
    }
    int at = n_few > 0 ? choose_index(s, t, y, r, n_few) : -1;
    if (at < 0) return first_allowed(r, n);
    return n_few < n ? nth_allowed(r, n, at) : at;
}

/* ---- logprobs ---- */

/* Never NaN: with an infinite logit the row's mass sits there. */
static float logprob(float x, float top, double log_sum)
{
    if (!(x > -INFINITY)) return -INFINITY;
    if (x == top && isinf(top)) return 0;
    return (float)((double)x - top - log_sum);
}

/* The n_top largest logits, by insertion: after the first few, find_above skips nearly everything. */
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

static void give_logprobs(const Simd *s, const float *x, int n, float own, const SampleRow *r, SampleOut *out)
{
    int best = n > 0 ? s->argmax(x, n) : -1, n_top = MAX(0, MIN(r->n_top, SAMPLE_TOP_MAX));
    float top = best < 0 ? 0 : x[best];
    double log_sum = best < 0 || isinf(top) ? 0 : log(s->sum_exp(x, n, top));
    out->logprob = logprob(own, top, log_sum);
    if (!n_top) return;
    top_logits(s, x, n, n_top, out);
    for (int i = 0; i < n_top; i++) out->top_logprob[i] = logprob(out->top_logprob[i], top, log_sum);
}

/* Of the allowed logits alone, unless the row is told what to say. */
static void give_masked_logprobs(const Simd *s, float *y, const float *x, int n, int n_few, const SampleRow *r,
                                 SampleOut *out)
{
    float own = settle(x[out->token]);
    if (n_few < n) {
        pick_few(y, x, r, n);
        pack_few(y, r, n);
    } else {
        s->clean(y, x, r->allowed, n);
    }
    give_logprobs(s, y, n_few, own, r, out);
    for (int i = 0; i < r->n_top && i < SAMPLE_TOP_MAX && n_few < n; i++)
        if (out->top_id[i] >= 0) out->top_id[i] = nth_allowed(r, n, out->top_id[i]);
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
        SampleDesk *t = &a->d->sample->desk[worker];
        int n_few = r->target >= 0 ? n : count_few(r, n);
        out->token = r->target >= 0 ? r->target : choose(s, t, x, r, n, n_few);
        out->logprob = 0;
        if (!r->want_logprob && r->n_top <= 0 && r->target < 0) continue;
        if (r->allowed && r->target < 0)
            give_masked_logprobs(s, t->y, x, n, n_few, r, out);
        else
            give_logprobs(s, x, n, out->token >= 0 && out->token < n ? x[out->token] : -INFINITY, r, out);
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
