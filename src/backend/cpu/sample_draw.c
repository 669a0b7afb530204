/* sample_draw.c - which tokens temperature, top_k, min_p and top_p keep, and the draw among them.
 *
 * top_k, then min_p (relative to the largest probability), then top_p (of what the two left, counted anew as a whole) each
 * keep a prefix of the tokens ranked by falling logit, ties by rising id. So what is kept is one prefix, a Cut, and the draw
 * is the inverse of its cumulative distribution in id order at one uniform number: the stream (seed, counter).
 *
 * No vocabulary is ever sorted, and what nobody needs is not weighed:
 *   - lane_max has left the largest of every 16 logits. The k-th largest of these is a value that k logits reach, and not
 *     many more: they alone are collected, from the few chunks that reach it, and ranked.
 *   - min_p is a value.
 *   - top_p, and a top_k too large for that, cut where a mass is reached. A few probes say between which two values that
 *     must be, with a margin of three deviations; one pass (sift) weighs everything, sums what lies above and sets aside what
 *     lies between, some per cent. If the sums show that the probes were wrong, the pass is repeated for the right side: the
 *     result never depends on them. What was set aside is bisected by value until few are left, and those are ranked.
 * The draw then looks only at the chunk into which its number falls. A count is a mass: all weigh 1 at by = 0.
 *
 * Thread: any; one desk each. */
#include "backend/cpu/sample_draw.h"

#include <float.h>
#include <math.h>

enum {
    DIGIT_BITS = 11, /* of the radix sort */
    N_DIGITS = 1 << DIGIT_BITS,
    FEW = 48,        /* ranked by insertion, and not worth bisecting */
    RANK_MAX = 1024, /* a larger top_k is counted */
    PROBE_STEPS = 9
};

static const float LOG2E = 1.442695041f;
static const float NO_WEIGHT = 87; /* exp(-87) is as good as 0 */
static const float NO_MASS = 36;   /* a million of exp(-36) are below f64's sight of a sum of 1 or more */

typedef struct {
    const Simd *simd;
    SampleDesk *desk;
    const float *y;
    int n, n_chunk;
    float top, inv_temp;
    Weighing g;
    Sift sift; /* the last pass */
} Pick;

/* Kept: y > value, and y == value up to id `last`. */
typedef struct {
    float value;
    int32_t last;
} Cut;

/* ---- room ---- */

static int chunks(int n)
{
    return (n + CHUNK - 1) / CHUNK;
}

void sample_draw_desk(SampleDesk *t, int n)
{
    sample_draw_desk_free(t);
    size_t lanes = (size_t)chunks(n) * CHUNK_LANES, lanes2 = (size_t)chunks((int)lanes) * CHUNK_LANES;
    size_t wide = ((size_t)n + 63) & ~(size_t)63, n_chunk = ((size_t)chunks(n) + 16) & ~(size_t)15;
    t->size = (wide * 8 + 2 * lanes + lanes2 + 2 * SAMPLE_PROBES + n_chunk) * 4 + n_chunk * sizeof(double);
    t->data = mem_map(t->size);
    t->mass = (double *)(void *)t->data;
    t->y = (float *)(void *)(t->mass + n_chunk);
    t->value = t->y + wide;
    t->value_w = t->value + wide;
    t->id = (int32_t *)(void *)(t->value_w + wide);
    t->key = (uint32_t *)(void *)(t->id + wide);
    t->rank = t->key + wide;
    t->key_to = t->rank + wide;
    t->rank_to = t->key_to + wide;
    t->max = (float *)(void *)(t->rank_to + wide);
    t->max_w = t->max + lanes;
    t->max2 = t->max_w + lanes;
    t->probe = t->max2 + lanes2;
    t->probe_w = t->probe + SAMPLE_PROBES;
    t->start = (int *)(void *)(t->probe_w + SAMPLE_PROBES);
}

void sample_draw_desk_free(SampleDesk *t)
{
    if (t->data) mem_unmap(t->data, t->size);
    t->data = NULL;
}

/* ---- ranking ---- */

/* Rising keys are falling values. */
static uint32_t falling_key(float v)
{
    uint32_t u;
    v += 0.0f; /* -0 and 0 are equal */
    memcpy(&u, &v, 4);
    return u & 0x80000000u ? u : ~u & 0x7fffffffu;
}

static void rank_few(const uint32_t *key, uint32_t *rank, int m)
{
    for (int i = 1; i < m; i++) {
        uint32_t r = rank[i];
        int at = i;
        for (; at > 0 && key[rank[at - 1]] > key[r]; at--) rank[at] = rank[at - 1];
        rank[at] = r;
    }
}

/* Sorts rank[0..m), indices into value[] in rising order, by falling value; equal values stay in order of index, that is of
 * id. */
static void rank_values(SampleDesk *t, int m)
{
    if (m <= FEW) {
        for (int i = 0; i < m; i++) t->key[t->rank[i]] = falling_key(t->value[t->rank[i]]);
        rank_few(t->key, t->rank, m);
        return;
    }
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
            t->key_to[to] = t->key[i];
            t->rank_to[to] = t->rank[i];
        }
        uint32_t *key = t->key, *rank = t->rank;
        t->key = t->key_to, t->rank = t->rank_to;
        t->key_to = key, t->rank_to = rank;
    }
}

/* ---- drawing ---- */

static bool keeps(Cut cut, float value, int32_t id)
{
    return (value > cut.value) | ((value == cut.value) & (id <= cut.last));
}

/* What is not kept weighs nothing. Without branches, for the compiler's vectors. */
static void drop_ids(float *w, const float *value, const int32_t *ids, int m, Cut cut)
{
    for (int i = 0; i < m; i++) w[i] = keeps(cut, value[i], ids[i]) ? w[i] : 0;
}

static double sum_of(const float *w, int n)
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

/* The lowest index at which the sum of w[0..] passes target; the last positive one if rounding kept it from passing. */
static int walk(const float *w, int n, double target)
{
    double sum = 0;
    int last = 0;
    for (int i = 0; i < n; i++) {
        if (!(w[i] > 0)) continue;
        sum += w[i];
        last = i;
        if (sum > target) break;
    }
    return last;
}

/* From value[0..m) and its ids. */
static int32_t draw_listed(const Pick *p, int m, Cut cut, float u)
{
    SampleDesk *t = p->desk;
    p->simd->weigh(t->value_w, t->value, m, p->g);
    drop_ids(t->value_w, t->value, t->id, m, cut);
    return t->id[walk(t->value_w, m, u * sum_of(t->value_w, m))];
}

/* The chunk into which the target falls, which is made relative to it. */
static int find_chunk(const double *mass, int n_chunk, double *target)
{
    int last = 0;
    for (int c = 0; c < n_chunk; c++) {
        if (!(mass[c] > 0)) continue;
        last = c;
        if (*target < mass[c]) return c;
        *target -= mass[c];
    }
    *target = INFINITY; /* rounding: the end of the last that has anything */
    return last;
}

/* From all that the cut keeps. The last sift weighed by p->g, its `to` lies above the cut, its `from` not. */
static int32_t draw_sifted(const Pick *p, Cut cut, float u)
{
    SampleDesk *t = p->desk;
    p->simd->weigh(t->value_w, t->value, t->start[p->n_chunk], p->g);
    drop_ids(t->value_w, t->value, t->id, t->start[p->n_chunk], cut);
    double total = 0;
    for (int c = 0; c < p->n_chunk; c++) {
        t->mass[c] += sum_of(t->value_w + t->start[c], t->start[c + 1] - t->start[c]);
        total += t->mass[c];
    }
    double target = u * total;
    int first = find_chunk(t->mass, p->n_chunk, &target) * CHUNK, n = MIN(CHUNK, p->n - first);
    float w[CHUNK];
    p->simd->weigh(w, p->y + first, n, p->g);
    for (int i = 0; i < n; i++) w[i] = keeps(cut, p->y[first + i], first + i) ? w[i] : 0;
    return first + walk(w, n, target);
}

/* ---- a small top_k ---- */

/* A value that at least k logits reach, and not many more; -FLT_MAX if that is all there are. */
static float reached_by(const Pick *p, int k)
{
    int n = p->n_chunk * CHUNK_LANES, n2 = chunks(n) * CHUNK_LANES;
    const float *max = k <= n2 / 2 ? p->desk->max2 : p->desk->max;
    if (k <= n2 / 2) n = n2;
    float high = p->top, low = p->top;
    Tally c = { 0 };
    for (float step = 1; c.count < k; step *= 2) { /* away from the top, twice as far each time */
        high = low;
        low = p->top - step;
        if (!(low > -FLT_MAX)) return -FLT_MAX;
        p->simd->tally(max, max, n, low, &c);
    }
    while (c.count > k + k / 4 + 4) {
        float mid = low / 2 + high / 2;
        if (!(mid > low && mid < high)) break;
        Tally m;
        p->simd->tally(max, max, n, mid, &m);
        if (m.count >= k) {
            low = mid;
            c = m;
        } else {
            high = mid;
        }
    }
    return low;
}

/* The cut that top_k and top_p make among value[0..m), which has all that min_p leaves of the first top_k. */
static Cut cut_listed(const Pick *p, const SampleRow *r, int m)
{
    SampleDesk *t = p->desk;
    for (int i = 0; i < m; i++) t->rank[i] = (uint32_t)i;
    rank_values(t, m);
    int n = MIN(r->top_k, m);
    if (r->top_p < 1) {
        p->simd->weigh(t->value_w, t->value, m, p->g);
        double total = 0, sum = t->value_w[t->rank[0]];
        for (int i = 0; i < n; i++) total += t->value_w[t->rank[i]];
        double wanted = r->top_p * total;
        int kept = 1;
        while (kept < n && sum < wanted) sum += t->value_w[t->rank[kept++]];
        n = kept;
    }
    uint32_t last = t->rank[n - 1];
    return (Cut){ t->value[last], t->id[last] };
}

/* ---- a cut by mass ---- */

/* The first `absolute` of the mass, or if that is 0 the share of all of it, less `excess`. */
typedef struct {
    double absolute, share, excess;
} Wanted;

static double wanted_of(Wanted w, double total)
{
    return w.absolute > 0 ? w.absolute : w.share * (total - w.excess);
}

/* What is known before everything is weighed: the largest of every 16 logits exactly, the others from some of them, every
 * `scale`-th. In a row of few large logits nearly all mass is in the first part. */
typedef struct {
    int n; /* probes; those that are the largest of their 16, or below low, have weight 0 */
    double scale;
    float lowest;
    Tally max, probes; /* of all */
} Guess;

static void gather_probes(const Pick *p, Weighing g, float low, Guess *guess)
{
    SampleDesk *t = p->desk;
    int whole = p->n / CHUNK, step = whole * CHUNK_LANES / SAMPLE_PROBES + 1, n_max = p->n_chunk * CHUNK_LANES;
    int looked_at = (whole + step - 1) / step * CHUNK_LANES;
    guess->n = 0;
    guess->scale = (double)p->n / looked_at;
    guess->lowest = p->top;
    for (int c = 0; c < whole; c += step) {
        const float *y = p->y + c * CHUNK, *max = t->max + c * CHUNK_LANES;
        for (int i = 0; i < CHUNK_LANES; i++) {
            bool in = (y[i] >= low) & (y[i] < max[i]);
            t->probe[guess->n++] = in ? y[i] : -INFINITY;
            guess->lowest = in && y[i] < guess->lowest ? y[i] : guess->lowest;
        }
    }
    p->simd->weigh(t->probe_w, t->probe, guess->n, g);
    p->simd->weigh(t->max_w, t->max, n_max, g);
    p->simd->tally(t->probe, t->probe_w, guess->n, low, &guess->probes);
    p->simd->tally(t->max, t->max_w, n_max, low, &guess->max);
}

/* 1: what lies at or above t is surely enough, -1: surely not, 0: cannot tell. */
static int enough(const Pick *p, const Guess *guess, Weighing g, Wanted w, float t)
{
    Tally max, probes;
    float at;
    p->simd->tally(p->desk->max, p->desk->max_w, p->n_chunk * CHUNK_LANES, t, &max);
    p->simd->tally(p->desk->probe, p->desk->probe_w, guess->n, t, &probes);
    p->simd->weigh(&at, &t, 1, g);
    double above = max.mass + guess->scale * probes.mass, total = guess->max.mass + guess->scale * guess->probes.mass;
    double in = w.absolute > 0 ? 1 : 1 - w.share, out = w.absolute > 0 ? 0 : w.share;
    double spread = in * in * (probes.squares + (double)at * at) + out * out * (guess->probes.squares - probes.squares);
    double over = above - wanted_of(w, total), margin = 3 * guess->scale * sqrt(MAX(spread, 0));
    return over > margin ? 1 : over < -margin ? -1 : 0;
}

/* Between which two values of [low, top] the cut probably is; to is INFINITY where that is not known. */
static void bracket(const Pick *p, Weighing g, Wanted w, float low, float *from, float *to)
{
    *from = low;
    *to = INFINITY;
    if (p->n < 4 * CHUNK) return;
    Guess guess;
    gather_probes(p, g, low, &guess);
    float under = guess.lowest, over = p->top;
    if (enough(p, &guess, g, w, over) < 0) { /* as far down as there is surely not enough */
        for (int i = 0; i < PROBE_STEPS; i++) {
            float mid = under / 2 + over / 2;
            if (enough(p, &guess, g, w, mid) < 0)
                over = mid;
            else
                under = mid;
        }
        *to = over;
    }
    for (float step = (p->top - guess.lowest) / (1 << PROBE_STEPS); over > guess.lowest; step *= 2) {
        if (enough(p, &guess, g, w, over) > 0) { /* from here up there is */
            *from = MAX(low, over);
            return;
        }
        if (!(over - step < over)) return;
        over -= step;
    }
}

static void sift(Pick *p, Weighing g, float low, float from, float to)
{
    SampleDesk *t = p->desk;
    p->sift = (Sift){ .y = p->y, .max = t->max, .n = p->n, .g = g, .low = low, .from = from, .to = to };
    p->sift.mass = t->mass;
    p->sift.start = t->start;
    p->sift.ids = t->id;
    p->sift.values = t->value;
    p->simd->sift(&p->sift);
}

/* The cut at `wanted` among the m values that were set aside, `sum` being the mass above them. They are bisected until few
 * are left between a value that keeps enough and one that does not; only those are ranked. */
static Cut cut_between(const Pick *p, Weighing g, int m, double sum, double wanted)
{
    SampleDesk *t = p->desk;
    p->simd->weigh(t->value_w, t->value, m, g);
    float low = p->sift.from, high = p->sift.to < p->top ? p->sift.to : nextafterf(p->top, INFINITY);
    int n_low = m, n_high = 0;
    double base = sum;
    while (n_low - n_high > FEW) {
        float mid = low / 2 + high / 2;
        if (!(mid > low && mid < high)) break; /* equal values: they are ranked by id */
        Tally c;
        p->simd->tally(t->value, t->value_w, m, mid, &c);
        if (base + c.mass >= wanted) {
            low = mid;
            n_low = c.count;
        } else {
            high = mid;
            n_high = c.count;
            sum = base + c.mass;
        }
    }
    int n = 0, kept = 0;
    for (int i = 0; i < m; i++) {
        t->rank[n] = (uint32_t)i;
        n += (t->value[i] >= low) & (t->value[i] < high); /* no branch to guess */
    }
    rank_values(t, n);
    do {
        sum += t->value_w[t->rank[kept++]];
    } while (kept < n && sum < wanted);
    uint32_t last = t->rank[kept - 1];
    return (Cut){ t->value[last], t->id[last] };
}

/* Of the logits from low up, the shortest prefix that has the wanted mass. Leaves the sums of its pass in p->sift. */
static Cut cut_by_mass(Pick *p, Weighing g, float low, Wanted w)
{
    float from, to;
    bracket(p, g, w, low, &from, &to);
    sift(p, g, low, from, to);
    int *n = &p->desk->start[p->n_chunk];
    double wanted = wanted_of(w, p->sift.total);
    if (p->sift.above >= wanted && to < INFINITY) { /* the probes were wrong */
        sift(p, g, low, to, INFINITY);
    } else if (from > low) {
        p->simd->weigh(p->desk->value_w, p->desk->value, *n, g);
        if (p->sift.above + sum_of(p->desk->value_w, *n) < wanted) sift(p, g, low, low, from);
    }
    if (*n == 0) sift(p, g, low, low, INFINITY); /* rounding at a border */
    return cut_between(p, g, *n, p->sift.above, wanted);
}

/* ---- the whole of it ---- */

static Cut cut_counted(Pick *p, int k, float low, double *excess)
{
    static const Weighing one = { 0, 0 };
    Cut cut = cut_by_mass(p, one, low, (Wanted){ .absolute = k });
    if (p->sift.total <= k) cut = (Cut){ low, INT32_MAX };
    Tally c;
    p->simd->tally(p->y, p->y, p->n, cut.value, &c);
    float w;
    p->simd->weigh(&w, &cut.value, 1, p->g);
    *excess = c.count > k ? (c.count - k) * (double)w : 0; /* equals of the last that are not kept */
    return cut;
}

int32_t sample_draw(const Simd *s, SampleDesk *t, const SampleRow *r, const float *y, int n, float top)
{
    float inv_temp = 1 / r->temperature, u = rng_uniform(r->seed, r->counter, 0);
    inv_temp = inv_temp > 1e30f ? 1e30f : inv_temp < 1e-30f ? 1e-30f : inv_temp; /* no 0 * infinity, no infinity * 0 */
    Pick p = { s, t, y, n, chunks(n), top, inv_temp, { top, inv_temp * LOG2E }, { 0 } };
    s->lane_max(t->max, p.n_chunk * CHUNK_LANES, t->max2);
    float low = r->min_p > 0 ? MIN(top, top + logf(r->min_p) / inv_temp) : -FLT_MAX;
    low = MAX(low, -FLT_MAX);
    bool by_count = r->top_k > 0 && r->top_k < n;
    if (by_count && r->top_k <= MIN(RANK_MAX, p.n_chunk * CHUNK_LANES / 2)) {
        int m = s->collect(t->id, t->value, y, t->max, n, MAX(low, reached_by(&p, r->top_k)));
        return draw_listed(&p, m, cut_listed(&p, r, m), u);
    }
    Cut cut = { low, INT32_MAX };
    double excess = 0;
    if (by_count) cut = cut_counted(&p, r->top_k, low, &excess);
    float heavy = MAX(cut.value, top - (r->top_p < 1 ? NO_MASS : NO_WEIGHT) / inv_temp);
    if (r->top_p < 1) {
        Cut by_mass = cut_by_mass(&p, p.g, heavy, (Wanted){ .share = r->top_p, .excess = excess });
        bool tied = by_mass.value == cut.value && by_mass.last > cut.last;
        if (!tied) cut = by_mass;
    } else {
        sift(&p, p.g, heavy, heavy, nextafterf(heavy, INFINITY));
        if (heavy > cut.value) cut = (Cut){ heavy, INT32_MAX };
    }
    return draw_sifted(&p, cut, u);
}
