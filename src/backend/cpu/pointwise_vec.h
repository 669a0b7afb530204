/* pointwise_vec.h - norms, rotations and gates on vectors, in the words of vec_*.h. The plain versions in pointwise.c define
 * them. A row's sum is taken lane by lane and then across lanes, in an order that depends on its width alone. */
#ifndef BACKEND_CPU_POINTWISE_VEC_H
#define BACKEND_CPU_POINTWISE_VEC_H

static void vec_norm(float *out, const float *in, const float *w, int n, float eps, float w_bias)
{
    vf s0 = vf_zero(), s1 = vf_zero();
    int i = 0;
    for (; i + 2 * VW <= n; i += 2 * VW) {
        vf a = vf_load(in + i), b = vf_load(in + i + VW);
        s0 = vf_fma(a, a, s0);
        s1 = vf_fma(b, b, s1);
    }
    for (; i < n; i += VW) {
        vf a = vf_load_n(in + i, MIN(VW, n - i));
        s0 = vf_fma(a, a, s0);
    }
    double sum = vf_sum64(s0) + vf_sum64(s1);
    vf by = vf_set((float)(1 / sqrt(sum / n + eps))), bias = vf_set(w_bias);
    for (i = 0; i + VW <= n; i += VW) {
        vf_store(out + i, vf_mul(vf_mul(vf_load(in + i), by), vf_add(vf_load(w + i), bias)));
    }
    if (i < n) {
        int k = n - i;
        vf_store_n(out + i, vf_mul(vf_mul(vf_load_n(in + i, k), by), vf_add(vf_load_n(w + i, k), bias)), k);
    }
}

static void vec_add(float *x, const float *y, int n)
{
    int i = 0;
    for (; i + VW <= n; i += VW) vf_store(x + i, vf_add(vf_load(x + i), vf_load(y + i)));
    if (i < n) vf_store_n(x + i, vf_add(vf_load_n(x + i, n - i), vf_load_n(y + i, n - i)), n - i);
}

static void vec_scale(float *x, int n, float by)
{
    int i = 0;
    for (; i + VW <= n; i += VW) vf_store(x + i, vf_mul(vf_load(x + i), vf_set(by)));
    if (i < n) vf_store_n(x + i, vf_mul(vf_load_n(x + i, n - i), vf_set(by)), n - i);
}

static void vec_softcap(float *x, int n, float cap)
{
    vf c = vf_set(cap);
    int i = 0;
    for (; i + VW <= n; i += VW) vf_store(x + i, vf_mul(c, vf_tanh(vf_div(vf_load(x + i), c))));
    if (i < n) vf_store_n(x + i, vf_mul(c, vf_tanh(vf_div(vf_load_n(x + i, n - i), c))), n - i);
}

static void vec_rope(float *x, const float *cos_sin, int half, bool interleaved)
{
    int i = 0, whole = half / VW * VW;
    for (; i < whole; i += VW) {
        vf c = vf_load(cos_sin + i), s = vf_load(cos_sin + half + i), a, b;
        if (interleaved) {
            vf_load_pairs(x + 2 * i, &a, &b);
        } else {
            a = vf_load(x + i);
            b = vf_load(x + half + i);
        }
        vf p = vf_fnma(b, s, vf_mul(a, c)), q = vf_fma(a, s, vf_mul(b, c));
        if (interleaved) {
            vf_store_pairs(x + 2 * i, p, q);
        } else {
            vf_store(x + i, p);
            vf_store(x + half + i, q);
        }
    }
    int step = interleaved ? 2 : 1, apart = interleaved ? 1 : half;
    for (; i < half; i++) {
        float *a = x + i * step, *b = a + apart, c = cos_sin[i], s = cos_sin[half + i];
        float turned = *a * c - *b * s;
        *b = *b * c + *a * s;
        *a = turned;
    }
}

VEC vf gate_act(vf x, GluAct a)
{
    if (a == GLU_GELU_ERF) return vf_mul(x, vf_normal(x));
    vf z = x; /* x * sigmoid(z): gelu's 0.5 x (1 + tanh(u)) is x * sigmoid(2u) */
    if (a == GLU_GELU_TANH) {
        vf cube = vf_mul(vf_mul(x, x), x);
        z = vf_mul(vf_set(2 * 0.7978845608f), vf_fma(vf_set(0.044715f), cube, x));
    }
    return vf_div(x, vf_add(vf_set(1), vf_exp(vf_sub(vf_zero(), z))));
}

VEC void glu_as(float *out, const float *gate, const float *up, int n, GluAct a)
{
    int i = 0;
    for (; i + VW <= n; i += VW) vf_store(out + i, vf_mul(gate_act(vf_load(gate + i), a), vf_load(up + i)));
    if (i < n) vf_store_n(out + i, vf_mul(gate_act(vf_load_n(gate + i, n - i), a), vf_load_n(up + i, n - i)), n - i);
}

static void vec_glu(float *out, const float *gate, const float *up, int n, GluAct a)
{
    switch (a) {
    case GLU_SILU: glu_as(out, gate, up, n, GLU_SILU); break;
    case GLU_GELU_TANH: glu_as(out, gate, up, n, GLU_GELU_TANH); break;
    case GLU_GELU_ERF: glu_as(out, gate, up, n, GLU_GELU_ERF); break;
    }
}

#endif
