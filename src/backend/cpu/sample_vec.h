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

static void vec_weigh(float *w, const float *y, int n, float top, float inv_temp, Weighed *out)
{
    vf t = vf_set(top), by = vf_set(inv_temp), total = vf_zero(), mass[SAMPLE_BANDS];
    int count[SAMPLE_BANDS] = { 0 };
    for (int b = 0; b < SAMPLE_BANDS; b++) mass[b] = vf_zero();
    for (int i = 0; i < n; i += VW) {
        int k = MIN(VW, n - i);
        vf z = vf_mul(vf_sub(k == VW ? vf_load(y + i) : vf_load_n(y + i, k), t), by);
        if (k < VW) z = vf_if(vm_from_bits((1u << k) - 1), z, vf_set(-INFINITY));
        vf e = vf_exp(z);
        if (k == VW)
            vf_store(w + i, e);
        else
            vf_store_n(w + i, e, k);
        total = vf_add(total, e);
        if (!vm_bits(vf_ge(z, vf_set(sample_band[SAMPLE_BANDS - 1])))) continue;
        for (int b = 0; b < SAMPLE_BANDS; b++) {
            vm in = vf_ge(z, vf_set(sample_band[b]));
            mass[b] = vf_add(mass[b], vf_keep(in, e));
            count[b] += __builtin_popcount(vm_bits(in));
        }
    }
    out->total = vf_sum64(total);
    for (int b = 0; b < SAMPLE_BANDS; b++) {
        out->mass[b] = vf_sum64(mass[b]);
        out->count[b] = count[b];
    }
}

static double vec_mass_above(const float *y, const float *w, int n, float t, int *count)
{
    vf low = vf_set(t), mass = vf_zero();
    int m = 0, i = 0;
    double rest = 0;
    for (; i + VW <= n; i += VW) {
        vm in = vf_ge(vf_load(y + i), low);
        mass = vf_add(mass, vf_keep(in, vf_load(w + i)));
        m += __builtin_popcount(vm_bits(in));
    }
    for (; i < n; i++) {
        if (!(y[i] >= t)) continue;
        rest += w[i];
        m++;
    }
    *count = m;
    return vf_sum64(mass) + rest;
}

static int vec_collect(int32_t *ids, float *values, const float *y, int n, float t, float below)
{
    int m = 0, i = 0;
    for (; i + VW <= n; i += VW) {
        vf v = vf_load(y + i);
        vm in = vm_and(vf_ge(v, vf_set(t)), vf_lt(v, vf_set(below)));
        if (vm_bits(in)) m += vf_pack(values + m, ids + m, v, in, i);
    }
    for (; i < n; i++) {
        if (!(y[i] >= t && y[i] < below)) continue;
        ids[m] = i;
        values[m++] = y[i];
    }
    return m;
}

#endif
