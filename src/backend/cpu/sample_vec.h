/* sample_vec.h - the scans over a vocabulary on vectors, in the words of vec_*.h. The plain versions in sample.c define them. */
#ifndef BACKEND_CPU_SAMPLE_VEC_H
#define BACKEND_CPU_SAMPLE_VEC_H

static int vec_argmax(const float *x, int n)
{
    vf t0 = vf_set(-INFINITY), t1 = t0;
    int i = 0;
    for (; i + 2 * VW <= n; i += 2 * VW) {
        t0 = vf_max(vf_load(x + i), t0); /* NaN loses */
        t1 = vf_max(vf_load(x + i + VW), t1);
    }
    float top = vf_top(vf_max(t0, t1));
    for (; i < n; i++) top = x[i] > top ? x[i] : top;
    if (!(top > -INFINITY)) return -1;
    for (i = 0; i + VW <= n; i += VW) {
        unsigned bits = vm_bits(vf_ge(vf_load(x + i), vf_set(top)));
        if (bits) return i + __builtin_ctz(bits);
    }
    while (i < n && !(x[i] >= top)) i++;
    return i;
}

static int vec_find_above(const float *x, int from, int n, float t)
{
    int i = from;
    for (; i + VW <= n; i += VW) {
        unsigned bits = vm_bits(vf_gt(vf_load(x + i), vf_set(t)));
        if (bits) return i + __builtin_ctz(bits);
    }
    while (i < n && !(x[i] > t)) i++;
    return i;
}

VEC vf exp_below(vf x, vf top)
{
    return vf_keep(vf_le(x, top), vf_exp(vf_sub(x, top)));
}

static double vec_sum_exp(const float *x, int n, float top)
{
    vf t = vf_set(top), s0 = vf_zero(), s1 = vf_zero();
    double sum = 0;
    int i = 0;
    for (; i + 2 * VW <= n; i += 2 * VW) {
        s0 = vf_add(s0, exp_below(vf_load(x + i), t));
        s1 = vf_add(s1, exp_below(vf_load(x + i + VW), t));
    }
    for (; i < n; i += VW) {
        int k = MIN(VW, n - i);
        vf e = exp_below(vf_load_n(x + i, k), t);
        s0 = vf_add(s0, vf_keep(vm_from_bits((1u << k) - 1), e));
    }
    sum = vf_sum64(s0) + vf_sum64(s1);
    return sum;
}

static void vec_clean(float *y, const float *x, const uint32_t *allowed, int n)
{
    vf low = vf_set(-INFINITY), high = vf_set(FLT_MAX);
    for (int i = 0; i < n; i += VW) {
        int k = MIN(VW, n - i);
        vf v = k == VW ? vf_load(x + i) : vf_load_n(x + i, k);
        v = vf_add(vf_min(v, high), vf_zero()); /* -0 becomes 0; vf_min turns NaN into high, which the mask undoes */
        vm in = vf_ge(k == VW ? vf_load(x + i) : vf_load_n(x + i, k), vf_set(-FLT_MAX));
        if (allowed) in = vm_and(in, vm_from_bits(allowed[i / 32] >> (i % 32) & ((1u << VW) - 1)));
        v = vf_if(in, v, low);
        if (k == VW)
            vf_store(y + i, v);
        else
            vf_store_n(y + i, v, k);
    }
}

/* Elements [i, n) of a vector, of which there may be fewer than VW, or none; the others are -infinity. */
VEC vf load_rest(const float *y, int i, int n)
{
    if (i + VW <= n) return vf_load(y + i);
    if (i >= n) return vf_set(-INFINITY);
    return vf_if(vm_from_bits((1u << (n - i)) - 1), vf_load_n(y + i, n - i), vf_set(-INFINITY));
}

static float vec_lane_max(const float *y, int n, float *max)
{
    enum { PARTS = CHUNK_LANES / VW };
    vf all = vf_set(-INFINITY);
    for (int i = 0; i < n; i += CHUNK, max += CHUNK_LANES) {
        vf top[PARTS][2];
        for (int j = 0; j < PARTS; j++) top[j][0] = top[j][1] = vf_set(-INFINITY);
        bool whole = i + CHUNK <= n;
        for (int at = i; at < i + CHUNK; at += 2 * CHUNK_LANES) {
            for (int j = 0; j < 2 * PARTS; j++) {
                vf y_j = whole ? vf_load(y + at + j * VW) : load_rest(y, at + j * VW, n);
                top[j % PARTS][j / PARTS] = vf_max(y_j, top[j % PARTS][j / PARTS]); /* NaN loses */
            }
        }
        for (int j = 0; j < PARTS; j++) {
            vf m = vf_max(top[j][0], top[j][1]);
            vf_store(max + j * VW, m);
            all = vf_max(m, all);
        }
    }
    return vf_top(all);
}

/* A Weighing on vectors. All that lies further below top than `least` weighs the same, next to nothing. */
typedef struct {
    vf top, by, least;
} Scales;

VEC Scales scales_of(Weighing g)
{
    return (Scales){ vf_set(g.top), vf_set(g.by), vf_set(-124.9f / MAX(g.by, 1e-30f)) };
}

VEC vf weight_of(const Scales *s, vf y)
{
    return vf_exp2_of(vf_max(vf_sub(y, s->top), s->least), s->by); /* also where y is NaN */
}

static void vec_weigh(float *w, const float *y, int n, Weighing g)
{
    Scales s = scales_of(g);
    for (int i = 0; i < n; i += VW) {
        vf v = load_rest(y, i, n), e = vf_keep(vf_gt(vf_sub(v, s.top), s.least), weight_of(&s, v));
        if (i + VW <= n)
            vf_store(w + i, e);
        else
            vf_store_n(w + i, e, n - i);
    }
}

static void vec_tally(const float *y, const float *w, int n, float t, Tally *out)
{
    vf low = vf_set(t), mass[2] = { vf_zero(), vf_zero() }, squares[2] = { vf_zero(), vf_zero() };
    int m = 0, i = 0;
    for (; i + 2 * VW <= n; i += 2 * VW) {
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            vm in = vf_ge(vf_load(y + i + j * VW), low);
            vf e = vf_keep(in, vf_load(w + i + j * VW));
            mass[j] = vf_add(mass[j], e);
            squares[j] = vf_fma(e, e, squares[j]);
            m += __builtin_popcount(vm_bits(in));
        }
    }
    for (; i < n; i += VW) {
        vm in = vf_ge(load_rest(y, i, n), low);
        vf e = vf_keep(in, i + VW <= n ? vf_load(w + i) : vf_load_n(w + i, n - i));
        mass[0] = vf_add(mass[0], e);
        squares[0] = vf_fma(e, e, squares[0]);
        m += __builtin_popcount(vm_bits(in));
    }
    *out = (Tally){ vf_sum64(vf_add(mass[0], mass[1])), vf_sum64(vf_add(squares[0], squares[1])), m };
}

VEC bool reaches(const float *max, vf t)
{
    unsigned any = 0;
    for (int j = 0; j < CHUNK_LANES; j += VW) any |= vm_bits(vf_ge(vf_load(max + j), t));
    return any != 0;
}

enum { WORDS = CHUNK / 64 };

/* Appends the logits of a chunk, whose first is y[first], that have a bit set. In two steps, because a branch a vector would
 * be guessed wrongly most of the time. */
static inline int set_aside(const uint64_t bits[WORDS], const float *y, int first, int32_t *ids, float *values)
{
    int m = 0;
    for (int i = 0; i < WORDS; i++) {
        for (uint64_t word = bits[i]; word; word &= word - 1) {
            int id = first + i * 64 + __builtin_ctzll(word);
            ids[m] = id;
            values[m++] = y[id];
        }
    }
    return m;
}

static int vec_collect(int32_t *ids, float *values, const float *y, const float *max, int n, float t)
{
    vf low = vf_set(t);
    int m = 0;
    for (int first = 0; first < n; first += CHUNK, max += CHUNK_LANES) {
        if (!reaches(max, low)) continue;
        uint64_t bits[WORDS] = { 0 };
        int end = MIN(CHUNK, n - first);
        for (int i = 0; i < end; i += VW) {
            bits[i / 64] |= (uint64_t)vm_bits(vf_ge(load_rest(y, first + i, n), low)) << (i % 64);
        }
        m += set_aside(bits, y, first, ids + m, values + m);
    }
    return m;
}

typedef struct {
    Scales scales;
    vf low, from, to;
} SiftBy;

/* 64 logits. Returns which to set aside. */
VEC uint64_t sift_word(const SiftBy *b, const float *y, int n, vf above[2], vf total[2], const bool whole)
{
    uint64_t word = 0;
#pragma GCC unroll 8
    for (int i = 0; i < 64; i += VW) {
        vf v = whole ? vf_load(y + i) : load_rest(y, i, n), e = weight_of(&b->scales, v);
        vm over = vf_ge(v, b->to), aside = vm_andn(over, vf_ge(v, b->from));
        int j = i / VW % 2;
        total[j] = vf_add_if(vf_ge(v, b->low), total[j], e);
        above[j] = vf_add_if(over, above[j], e);
        word |= (uint64_t)vm_bits(aside) << i;
    }
    return word;
}

static void vec_sift(Sift *s)
{
    SiftBy b = { scales_of(s->g), vf_set(s->low), vf_set(s->from), vf_set(s->to) };
    int m = 0, chunk = 0;
    s->above = s->total = 0;
    for (int first = 0; first < s->n; first += CHUNK, chunk++) {
        s->start[chunk] = m;
        s->mass[chunk] = 0;
        if (!reaches(s->max + chunk * CHUNK_LANES, b.low)) continue;
        uint64_t bits[WORDS];
        vf above[2] = { vf_zero(), vf_zero() }, total[2] = { vf_zero(), vf_zero() };
        bool whole = first + CHUNK <= s->n;
        for (int i = 0; i < WORDS; i++) {
            const float *y = s->y + first + i * 64;
            bits[i] = whole ? sift_word(&b, y, 64, above, total, true)
                            : sift_word(&b, y, s->n - first - i * 64, above, total, false);
        }
        s->mass[chunk] = vf_sum64(vf_add(above[0], above[1]));
        s->above += s->mass[chunk];
        s->total += vf_sum64(vf_add(total[0], total[1]));
        m += set_aside(bits, s->y, first, s->ids + m, s->values + m);
    }
    s->start[chunk] = m;
}

#endif
