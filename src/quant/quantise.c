/* quantise.c - floats into blocks: for tests, dummy weights and requantising on load.
 *
 * Q8_0, Q4_0, Q4_1, Q5_0 and Q5_1 round as ggml's reference quantisers do, bit for bit. The 256-element formats and the
 * IQ4 ones get a plain fit of scales to the extremes of each run: valid blocks, a little worse than those of a search for the
 * best scale, which only matters for making models and not for serving them. NaN becomes the lowest code. Any thread. */
#include <math.h>

#include "quant/block.h"
#include "quant/quant.h"

/* ---- what the formats share ---- */

static float inverse(float d)
{
    return d != 0 ? 1.0f / d : 0.0f;
}

static int clamp(float x, int low, int high) /* truncates towards zero */
{
    return x > (float)low ? x < (float)high ? (int)x : high : low;
}

static int nearest(float x, int low, int high)
{
    return clamp(roundf(x), low, high);
}

/* The element that is farthest from zero, with its sign; the first of equals. */
static float extreme(const float *x, int n)
{
    float best = 0;
    for (int i = 0; i < n; i++) best = fabsf(x[i]) > fabsf(best) ? x[i] : best;
    return best;
}

static void range(const float *x, int n, float *min, float *max)
{
    *min = *max = x[0];
    for (int i = 1; i < n; i++) {
        *min = x[i] < *min ? x[i] : *min;
        *max = x[i] > *max ? x[i] : *max;
    }
}

/* A non-negative f16 scale under which `levels` times it reaches max. */
static float scale_to(float max, int levels, uint16_t *stored)
{
    *stored = f32_to_f16(max / (float)levels);
    return f16_to_f32(*stored);
}

/* ---- blocks of 32, as the reference rounds ---- */

static void to_q8_0(const float *x, BlockQ8_0 *b)
{
    float d = fabsf(extreme(x, 32)) / 127, id = inverse(d);
    b->d = f32_to_f16(d);
    for (int i = 0; i < 32; i++) b->qs[i] = (int8_t)nearest(x[i] * id, -128, 127);
}

static void to_q4_0(const float *x, BlockQ4_0 *b)
{
    float d = extreme(x, 32) / -8, id = inverse(d);
    b->d = f32_to_f16(d);
    for (int i = 0; i < 16; i++) {
        int low = clamp(x[i] * id + 8.5f, 0, 15), high = clamp(x[i + 16] * id + 8.5f, 0, 15);
        b->qs[i] = (uint8_t)(low | high << 4);
    }
}

static void to_q4_1(const float *x, BlockQ4_1 *b)
{
    float min, max;
    range(x, 32, &min, &max);
    float d = (max - min) / 15, id = inverse(d);
    b->d = f32_to_f16(d);
    b->m = f32_to_f16(min);
    for (int i = 0; i < 16; i++) {
        int low = clamp((x[i] - min) * id + 0.5f, 0, 15), high = clamp((x[i + 16] - min) * id + 0.5f, 0, 15);
        b->qs[i] = (uint8_t)(low | high << 4);
    }
}

/* Packs 32 five-bit numbers. */
static void pack_q5(const uint8_t *q, uint8_t *qh, uint8_t *qs)
{
    memset(qh, 0, 4);
    for (int i = 0; i < 32; i++) qh[i >> 3] = (uint8_t)(qh[i >> 3] | (q[i] >> 4) << (i & 7));
    for (int i = 0; i < 16; i++) qs[i] = (uint8_t)((q[i] & 15) | (q[i + 16] & 15) << 4);
}

static void to_q5_0(const float *x, BlockQ5_0 *b)
{
    float d = extreme(x, 32) / -16, id = inverse(d);
    uint8_t q[32];
    b->d = f32_to_f16(d);
    for (int i = 0; i < 32; i++) q[i] = (uint8_t)clamp(x[i] * id + 16.5f, 0, 31);
    pack_q5(q, b->qh, b->qs);
}

static void to_q5_1(const float *x, BlockQ5_1 *b)
{
    float min, max;
    uint8_t q[32];
    range(x, 32, &min, &max);
    float d = (max - min) / 31, id = inverse(d);
    b->d = f32_to_f16(d);
    b->m = f32_to_f16(min);
    for (int i = 0; i < 32; i++) q[i] = (uint8_t)clamp((x[i] - min) * id + 0.5f, 0, 31);
    pack_q5(q, b->qh, b->qs);
}

/* ---- codebook formats ---- */

static int nearest_level(float x)
{
    int best = 0;
    for (int q = 1; q < 16; q++) {
        if (fabsf(x - (float)iq4_nl_level(q)) < fabsf(x - (float)iq4_nl_level(best))) best = q;
    }
    return best;
}

static void pack_levels(const float *x, float scale, uint8_t *qs)
{
    float id = inverse(scale);
    for (int i = 0; i < 16; i++) qs[i] = (uint8_t)(nearest_level(x[i] * id) | nearest_level(x[i + 16] * id) << 4);
}

static void to_iq4_nl(const float *x, BlockIQ4_NL *b)
{
    b->d = f32_to_f16(extreme(x, 32) / -127);
    pack_levels(x, f16_to_f32(b->d), b->qs);
}

static void to_iq4_xs(const float *x, BlockIQ4_XS *b)
{
    float scales[8];
    memset(b, 0, sizeof *b);
    for (int k = 0; k < 8; k++) scales[k] = extreme(x + k * 32, 32) / -127;
    b->d = f32_to_f16(extreme(scales, 8) / -32);
    float d = f16_to_f32(b->d), id = inverse(d);
    for (int k = 0; k < 8; k++) {
        int s = nearest(scales[k] * id, -32, 31) + 32;
        b->scales_l[k >> 1] = (uint8_t)(b->scales_l[k >> 1] | (s & 15) << ((k & 1) * 4));
        b->scales_h = (uint16_t)(b->scales_h | (s >> 4) << (2 * k));
        pack_levels(x + k * 32, d * (float)(s - 32), b->qs + k * 16);
    }
}

/* ---- blocks of 256 with scales and minima ---- */

enum { RUNS_MAX = 16 };

/* Per run of a block: how far it reaches below zero and the step that covers the rest; then both as small whole numbers. */
typedef struct {
    float d, dmin;
    uint16_t d_stored, dmin_stored;
    int scale[RUNS_MAX], min[RUNS_MAX];
} Fit;

/* Runs of n elements, `levels` steps each, scales and minima from 0 to most. */
static Fit fit(const float *x, int n, int levels, int most)
{
    Fit f = { 0 };
    int runs = 256 / n;
    float steps[RUNS_MAX], mins[RUNS_MAX];
    for (int k = 0; k < runs; k++) {
        float min, max;
        range(x + k * n, n, &min, &max);
        min = min < 0 ? min : 0;
        max = max > min ? max : min;
        steps[k] = (max - min) / (float)levels;
        mins[k] = -min;
    }
    f.d = scale_to(extreme(steps, runs), most, &f.d_stored);
    f.dmin = scale_to(extreme(mins, runs), most, &f.dmin_stored);
    for (int k = 0; k < runs; k++) {
        f.scale[k] = nearest(steps[k] * inverse(f.d), 0, most);
        f.min[k] = nearest(mins[k] * inverse(f.dmin), 0, most);
    }
    return f;
}

static int fit_code(const Fit *f, int run, float x, int most)
{
    return nearest((x + f->dmin * (float)f->min[run]) * inverse(f->d * (float)f->scale[run]), 0, most);
}

static void to_q2_k(const float *x, BlockQ2_K *b)
{
    Fit f = fit(x, 16, 3, 15);
    memset(b, 0, sizeof *b);
    b->d = f.d_stored;
    b->dmin = f.dmin_stored;
    for (int k = 0; k < 16; k++) b->scales[k] = (uint8_t)(f.scale[k] | f.min[k] << 4);
    for (int i = 0; i < 256; i++) {
        uint8_t *q = &b->qs[(i >> 7) * 32 + (i & 31)];
        *q = (uint8_t)(*q | fit_code(&f, i >> 4, x[i], 3) << (((i >> 5) & 3) * 2));
    }
}

static void pack_k_scales(const Fit *f, uint8_t *s)
{
    for (int k = 0; k < 4; k++) {
        s[k] = (uint8_t)(f->scale[k] | (f->scale[k + 4] >> 4) << 6);
        s[k + 4] = (uint8_t)(f->min[k] | (f->min[k + 4] >> 4) << 6);
        s[k + 8] = (uint8_t)((f->scale[k + 4] & 15) | (f->min[k + 4] & 15) << 4);
    }
}

static void to_q4_k(const float *x, BlockQ4_K *b)
{
    Fit f = fit(x, 32, 15, 63);
    memset(b, 0, sizeof *b);
    b->d = f.d_stored;
    b->dmin = f.dmin_stored;
    pack_k_scales(&f, b->scales);
    for (int i = 0; i < 256; i++) {
        uint8_t *q = &b->qs[(i >> 6) * 32 + (i & 31)];
        *q = (uint8_t)(*q | fit_code(&f, i >> 5, x[i], 15) << (((i >> 5) & 1) * 4));
    }
}

static void to_q5_k(const float *x, BlockQ5_K *b)
{
    Fit f = fit(x, 32, 31, 63);
    memset(b, 0, sizeof *b);
    b->d = f.d_stored;
    b->dmin = f.dmin_stored;
    pack_k_scales(&f, b->scales);
    for (int i = 0; i < 256; i++) {
        uint8_t *q = &b->qs[(i >> 6) * 32 + (i & 31)], *high = &b->qh[i & 31];
        int code = fit_code(&f, i >> 5, x[i], 31);
        *q = (uint8_t)(*q | (code & 15) << (((i >> 5) & 1) * 4));
        *high = (uint8_t)(*high | (code >> 4) << (i >> 5));
    }
}

/* ---- blocks of 256 with signed scales of 16 elements ---- */

/* Fits scales so that each run's extreme gets the code `low`, the most negative one; scales are signed, from low_scale. */
static float fit_signed(const float *x, int low, int low_scale, uint16_t *stored, int *scale)
{
    float steps[16];
    for (int k = 0; k < 16; k++) steps[k] = extreme(x + k * 16, 16) / (float)low;
    *stored = f32_to_f16(extreme(steps, 16) / (float)low_scale);
    float d = f16_to_f32(*stored);
    for (int k = 0; k < 16; k++) scale[k] = nearest(steps[k] * inverse(d), low_scale, -low_scale - 1);
    return d;
}

static void to_q3_k(const float *x, BlockQ3_K *b)
{
    int scale[16];
    memset(b, 0, sizeof *b);
    float d = fit_signed(x, -4, -32, &b->d, scale);
    for (int k = 0; k < 16; k++) {
        int s = scale[k] + 32;
        b->scales[k & 7] = (uint8_t)(b->scales[k & 7] | (s & 15) << (k < 8 ? 0 : 4));
        b->scales[8 + (k & 3)] = (uint8_t)(b->scales[8 + (k & 3)] | (s >> 4) << (2 * (k >> 2)));
    }
    for (int i = 0; i < 256; i++) {
        uint8_t *q = &b->qs[(i >> 7) * 32 + (i & 31)], *high = &b->hmask[i & 31];
        int code = nearest(x[i] * inverse(d * (float)scale[i >> 4]), -4, 3) + 4;
        *q = (uint8_t)(*q | (code & 3) << (((i >> 5) & 3) * 2));
        *high = (uint8_t)(*high | (code >> 2) << (i >> 5));
    }
}

static void to_q6_k(const float *x, BlockQ6_K *b)
{
    int scale[16];
    memset(b, 0, sizeof *b);
    float d = fit_signed(x, -32, -128, &b->d, scale);
    for (int k = 0; k < 16; k++) b->scales[k] = (int8_t)scale[k];
    for (int i = 0; i < 256; i++) {
        int h = i >> 7, r = i & 127;
        uint8_t *low = &b->ql[h * 64 + (r & 63)], *high = &b->qh[h * 32 + (r & 31)];
        int code = nearest(x[i] * inverse(d * (float)scale[i >> 4]), -32, 31) + 32;
        *low = (uint8_t)(*low | (code & 15) << ((r >> 6) * 4));
        *high = (uint8_t)(*high | (code >> 4) << ((r >> 5) * 2));
    }
}

/* ---- rows ---- */

static bool to_block(DType t, const float *x, AnyBlock *b)
{
    switch ((int)t) {
    case DT_Q4_0: to_q4_0(x, &b->q4_0); return true;
    case DT_Q4_1: to_q4_1(x, &b->q4_1); return true;
    case DT_Q5_0: to_q5_0(x, &b->q5_0); return true;
    case DT_Q5_1: to_q5_1(x, &b->q5_1); return true;
    case DT_Q8_0: to_q8_0(x, &b->q8_0); return true;
    case DT_Q2_K: to_q2_k(x, &b->q2_k); return true;
    case DT_Q3_K: to_q3_k(x, &b->q3_k); return true;
    case DT_Q4_K: to_q4_k(x, &b->q4_k); return true;
    case DT_Q5_K: to_q5_k(x, &b->q5_k); return true;
    case DT_Q6_K: to_q6_k(x, &b->q6_k); return true;
    case DT_IQ4_NL: to_iq4_nl(x, &b->iq4_nl); return true;
    case DT_IQ4_XS: to_iq4_xs(x, &b->iq4_xs); return true;
    default: return false;
    }
}

static void f16_row(const float *src, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h = f32_to_f16(src[i]);
        memcpy(out + i * 2, &h, 2);
    }
}

static void bf16_row(const float *src, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h = f32_to_bf16(src[i]);
        memcpy(out + i * 2, &h, 2);
    }
}

bool quant_from_f32(DType t, const float *src, void *out, size_t n)
{
    const DTypeInfo *f = quant_info(t);
    size_t elems = (size_t)f->block_elems, bytes = (size_t)f->block_bytes;
    CHECK(n % elems == 0);
    if (t == DT_F32) {
        memcpy(out, src, n * 4);
        return true;
    }
    if (t == DT_F16 || t == DT_BF16) {
        t == DT_F16 ? f16_row(src, out, n) : bf16_row(src, out, n);
        return true;
    }
    if (elems == 1) return false;
    for (size_t i = 0; i < n / elems; i++) {
        AnyBlock b;
        if (!to_block(t, src + i * elems, &b)) return false;
        memcpy((uint8_t *)out + i * bytes, &b, bytes);
    }
    return true;
}
