/* test_linear.c - the matrix products of the CPU backend.
 *
 * The integer paths are compared bit for bit with a scalar model of the same rounding, written from linear_kernels.h's
 * description and knowing the formats only through quant_to_f32: the scale of a block is what quant_to_f32 gives when
 * every number of the block is made 1, the minimum what it gives when every number is 0. All formats are also
 * compared with the definition (ISA_PLAIN) within an error. With RADISH_BENCH=1 in the environment the program measures
 * instead of testing. */
/* cmocka's fail() must come after ours, and needs these four. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/cpu/linear.h"

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
/* clang-format on */

/* ---- formats ---- */

typedef struct {
    int at, n;
    uint8_t one; /* the byte that makes each number 1 */
} Range;

typedef struct {
    DType dtype;
    bool halves;    /* a scale for every 16 columns */
    int d_at, m_at; /* the f16 scale, and minimum or scale of minima (-1: none) */
    Range range[2]; /* where the numbers stand */
} Format;

static const Format formats[] = {
    { DT_Q4_0, false, 0, -1, { { 2, 16, 0x99 } } },
    { DT_Q4_1, false, 0, 2, { { 4, 16, 0x11 } } },
    { DT_Q5_0, false, 0, -1, { { 2, 4, 0xff }, { 6, 16, 0x11 } } },
    { DT_Q5_1, false, 0, 2, { { 4, 4, 0 }, { 8, 16, 0x11 } } },
    { DT_Q8_0, false, 0, -1, { { 2, 32, 1 } } },
    { DT_IQ4_NL, false, 0, -1, { { 2, 16, 0x88 } } },
    { DT_Q4_K, false, 0, 2, { { 16, 128, 0x11 } } },
    { DT_Q5_K, false, 0, 2, { { 16, 32, 0 }, { 48, 128, 0x11 } } },
    { DT_IQ4_XS, false, 0, -1, { { 8, 128, 0x88 } } },
    { DT_Q6_K, true, 208, -1, { { 0, 128, 0x11 }, { 128, 64, 0xaa } } },
    { DT_Q3_K, true, 108, -1, { { 0, 32, 0xff }, { 32, 64, 0x55 } } },
    { DT_Q2_K, true, 80, 82, { { 16, 64, 0x55 } } },
};

static const DType floats[] = { DT_F32, DT_F16, DT_BF16 };

static size_t size_of(DType t, size_t n)
{
    size_t bytes;
    assert_true(quant_size(t, n, &bytes));
    return bytes;
}

static float noise(Rng *rng)
{
    return (float)(rng_next(rng) >> 40) * 0x1p-23f - 1;
}

/* Random rows in a file's format; block formats get random bytes and small scales of both signs. */
static uint8_t *random_rows(DType t, int rows, int cols, uint64_t seed)
{
    Rng rng = { seed };
    size_t n = (size_t)rows * (size_t)cols, bytes = size_of(t, n);
    uint8_t *p = malloc(bytes);
    for (size_t i = 0; i < bytes; i++) p[i] = (uint8_t)rng_next(&rng);
    const DTypeInfo *info = quant_info(t);
    for (size_t f = 0; f < COUNT(formats); f++) {
        if (formats[f].dtype != t) continue;
        for (size_t b = 0; b < bytes; b += (size_t)info->block_bytes) {
            uint16_t d = f32_to_f16(noise(&rng) * 0.01f), m = f32_to_f16(noise(&rng) * 0.05f);
            memcpy(p + b + formats[f].d_at, &d, 2);
            if (formats[f].m_at >= 0) memcpy(p + b + formats[f].m_at, &m, 2);
        }
        return p;
    }
    for (size_t i = 0; i < n; i++) {
        float v = noise(&rng);
        uint16_t h = t == DT_F16 ? f32_to_f16(v) : f32_to_bf16(v);
        memcpy(p + i * (size_t)info->block_bytes, t == DT_F32 ? (void *)&v : (void *)&h, (size_t)info->block_bytes);
    }
    return p;
}

static const Format *format_of(DType t)
{
    for (size_t f = 0; f < COUNT(formats); f++) {
        if (formats[f].dtype == t) return &formats[f];
    }
    return NULL;
}

/* ---- the model ---- */

/* A block with every number one (one = 1) or the lowest (one = 0), dequantised. */
static void uniform_block(const Format *f, const uint8_t *block, bool one, float *out)
{
    uint8_t copy[256];
    const DTypeInfo *info = quant_info(f->dtype);
    memcpy(copy, block, (size_t)info->block_bytes);
    for (int i = 0; i < 2; i++) memset(copy + f->range[i].at, one ? f->range[i].one : 0, (size_t)f->range[i].n);
    if (one && f->m_at >= 0) memset(copy + f->m_at, 0, 2);
    quant_to_f32(f->dtype, copy, out, (size_t)info->block_elems);
}

typedef struct {
    float scale[2], min[2]; /* of both halves of 32 columns */
    int q[32];
} ModelBlock;

/* Takes one row of a file apart: out[cols / 32]. */
static void model_row(const Format *f, const uint8_t *row, int cols, ModelBlock *out)
{
    const DTypeInfo *info = quant_info(f->dtype);
    float v[256], one[256], low[256] = { 0 };
    for (int c = 0; c < cols; c += info->block_elems, row += info->block_bytes) {
        quant_to_f32(f->dtype, row, v, (size_t)info->block_elems);
        uniform_block(f, row, true, one);
        if (f->m_at >= 0) uniform_block(f, row, false, low);
        for (int i = 0; i < info->block_elems; i++) {
            ModelBlock *b = &out[(c + i) / 32];
            b->scale[i / 16 % 2] = one[i];
            b->min[i / 16 % 2] = low[i];
            b->q[i % 32] = one[i] != 0 ? (int)lrintf((v[i] - low[i]) / one[i]) : 0;
        }
    }
}

typedef struct {
    int a[32];
    float d;
} ModelAct;

static void model_act(const float *x, int cols, ModelAct *out)
{
    for (int c = 0; c < cols; c += 32, out++, x += 32) {
        float amax = 0;
        for (int i = 0; i < 32; i++) amax = fmaxf(amax, fabsf(x[i]));
        float inv = amax < 1e-30f ? 0 : 127.0f / amax;
        out->d = amax < 1e-30f ? 0 : amax / 127.0f;
        for (int i = 0; i < 32; i++) out->a[i] = (int)lrintf(x[i] * inv);
    }
}

static float model_dot(const Format *f, const ModelBlock *w, const ModelAct *x, int cols)
{
    float acc = 0;
    for (int b = 0; b < cols / 32; b++, w++, x++) {
        int dot[2] = { 0 }, sum[2] = { 0 };
        for (int i = 0; i < 32; i++) {
            dot[i / 16] += w->q[i] * x->a[i];
            sum[i / 16] += x->a[i];
        }
        if (f->halves) {
            float s = fmaf((float)dot[1], w->scale[1], (float)dot[0] * w->scale[0]);
            acc = fmaf(s, x->d, acc);
        } else {
            acc = fmaf((float)(dot[0] + dot[1]) * w->scale[0], x->d, acc);
        }
        if (f->m_at < 0) continue;
        if (f->halves) {
            acc = fmaf(w->min[0], x->d * (float)sum[0], acc);
            acc = fmaf(w->min[1], x->d * (float)sum[1], acc);
        } else {
            acc = fmaf(w->min[0], x->d * (float)(sum[0] + sum[1]), acc);
        }
    }
    return acc;
}

/* ---- one product, and what it should be ---- */

typedef struct {
    DType dtype;
    int rows, cols, n;
    uint8_t *raw;
    float *in, *before, *bias; /* before: what out holds when add is asked for */
    size_t in_stride, out_stride;
} Case;

static Case case_new(DType t, int rows, int cols, int n, uint64_t seed)
{
    Case c = { t, rows, cols, n, .in_stride = (size_t)cols + 3, .out_stride = (size_t)rows + 5 };
    Rng rng = { seed + 1 };
    c.raw = random_rows(t, rows, cols, seed);
    c.in = calloc((size_t)n * c.in_stride, sizeof(float));
    c.before = calloc((size_t)n * c.out_stride, sizeof(float));
    c.bias = calloc((size_t)rows, sizeof(float));
    for (size_t i = 0; i < (size_t)n * c.in_stride; i++) c.in[i] = noise(&rng) * (i % 37 ? 1 : 20);
    for (size_t i = 0; i < (size_t)n * c.out_stride; i++) c.before[i] = noise(&rng);
    for (int i = 0; i < rows; i++) c.bias[i] = noise(&rng);
    for (int i = 0; i < MIN(32, cols); i++) c.in[i] = 0; /* a block that rounds to nothing */
    return c;
}

static void case_free(Case *c)
{
    free(c->raw);
    free(c->in);
    free(c->before);
    free(c->bias);
}

static Weight *weight_of(Linear *l, WeightUse use, DType t, int rows, int cols, const void *data)
{
    Err err;
    Weight *w;
    WeightBand b = { .dtype = t, .rows = rows, .cols = cols, .data = data };
    assert_int_equal(linear_weight(l, use, &b, 1, &w, &err), OK);
    return w;
}

/* Rows [from, from + n) of the case; the whole out, to see that nothing else is written. */
static float *product(Linear *l, const Case *c, int from, int n, bool with_bias, bool add)
{
    float *out = malloc((size_t)c->n * c->out_stride * sizeof(float));
    memcpy(out, c->before, (size_t)c->n * c->out_stride * sizeof(float));
    Weight *w = weight_of(l, WEIGHT_LINEAR, c->dtype, c->rows, c->cols, c->raw);
    Weight *bias = with_bias ? weight_of(l, WEIGHT_VECTOR, DT_F32, 1, c->rows, c->bias) : NULL;
    LinearIo io = {
        out + (size_t)from * c->out_stride, c->in + (size_t)from * c->in_stride, c->out_stride, c->in_stride, n, add
    };
    linear_run(l, w, bias, &io);
    return out;
}

static void check_untouched(const Case *c, const float *out)
{
    for (int t = 0; t < c->n; t++) {
        for (size_t i = (size_t)c->rows; i < c->out_stride; i++)
            assert_true(out[(size_t)t * c->out_stride + i] == c->before[(size_t)t * c->out_stride + i]);
    }
}

/* dots: [n][rows], without bias and what was there. */
static void check_exact(const Case *c, const float *out, const float *dots, bool with_bias, bool add)
{
    for (int t = 0; t < c->n; t++) {
        for (int r = 0; r < c->rows; r++) {
            float want = dots[t * c->rows + r], got = out[(size_t)t * c->out_stride + (size_t)r];
            if (with_bias) want += c->bias[r];
            if (add) want = c->before[(size_t)t * c->out_stride + (size_t)r] + want;
            if (want != got)
                fail_msg("%s %dx%d n %d: token %d row %d is %.9g, not %.9g", quant_info(c->dtype)->name, c->rows,
                         c->cols, c->n, t, r, (double)got, (double)want);
        }
    }
}

static double error_of(const Case *c, const float *out, const float *want)
{
    double sum = 0, err = 0;
    for (int t = 0; t < c->n; t++) {
        for (int r = 0; r < c->rows; r++) {
            size_t i = (size_t)t * c->out_stride + (size_t)r;
            sum += (double)want[i] * (double)want[i];
            err += ((double)out[i] - (double)want[i]) * ((double)out[i] - (double)want[i]);
        }
    }
    return err / sum;
}

static float *model_dots(const Case *c)
{
    const Format *f = format_of(c->dtype);
    size_t row_bytes = size_of(c->dtype, (size_t)c->cols), n_blocks = (size_t)c->cols / 32;
    ModelBlock *w = malloc(n_blocks * sizeof *w);
    ModelAct *x = malloc((size_t)c->n * n_blocks * sizeof *x);
    float *dots = malloc((size_t)c->n * (size_t)c->rows * sizeof(float));
    for (int t = 0; t < c->n; t++) model_act(c->in + (size_t)t * c->in_stride, c->cols, x + (size_t)t * n_blocks);
    for (int r = 0; r < c->rows; r++) {
        model_row(f, c->raw + (size_t)r * row_bytes, c->cols, w);
        for (int t = 0; t < c->n; t++) dots[t * c->rows + r] = model_dot(f, w, x + (size_t)t * n_blocks, c->cols);
    }
    free(w);
    free(x);
    return dots;
}

/* f32, f16 and (without products of bf16) bf16 weights: one chain of fused multiply-adds over the columns. */
static float *float_dots(const Case *c)
{
    float *dots = calloc((size_t)c->n * (size_t)c->rows, sizeof(float));
    float *row = malloc((size_t)c->cols * sizeof(float));
    for (int r = 0; r < c->rows; r++) {
        quant_to_f32(c->dtype, c->raw + (size_t)r * size_of(c->dtype, (size_t)c->cols), row, (size_t)c->cols);
        for (int t = 0; t < c->n; t++) {
            for (int k = 0; k < c->cols; k++)
                dots[t * c->rows + r] =
                    fmaf(row[k], c->in[(size_t)t * c->in_stride + (size_t)k], dots[t * c->rows + r]);
        }
    }
    free(row);
    return dots;
}

/* ---- tests ---- */

/* Products of bf16 sum in an order of their own. */
static bool has_model(DType t, CpuIsa isa)
{
    return t != DT_BF16 || isa < ISA_AVX512BF16;
}

/* One case on one instruction set and number of threads: exact where there is a model, near the definition always, and
 * the same for any cut of its rows. */
static void check_case(DType t, int rows, int cols, int n, CpuIsa isa, int threads)
{
    bool with_bias = (rows + n) % 2, add = (rows + n) / 2 % 2;
    Case c = case_new(t, rows, cols, n, (uint64_t)(rows * 1000 + cols + n));
    Pool *pool = threads ? pool_new(threads) : NULL;
    Linear *l = linear_new(isa, pool), *plain = linear_new(ISA_PLAIN, NULL);
    float *out = product(l, &c, 0, n, with_bias, add);
    check_untouched(&c, out);
    float *dots = !has_model(t, isa) ? NULL : format_of(t) ? model_dots(&c) : float_dots(&c);
    if (dots) check_exact(&c, out, dots, with_bias, add);
    float *want = product(plain, &c, 0, n, with_bias, add);
    check_untouched(&c, want);
    double err = error_of(&c, out, want);
    double limit = rows * n >= 200 ? 5e-4 : 0.1; /* a few outputs may cancel by chance */
    if (!(err < limit)) fail_msg("%s %dx%d n %d: error %g", quant_info(t)->name, rows, cols, n, err);
    int from = n / 3, some = n - from - n / 4;
    float *part = product(l, &c, from, some, with_bias, add), *one = product(l, &c, n - 1, 1, with_bias, add);
    size_t row = c.out_stride * sizeof(float);
    assert_memory_equal(part + (size_t)from * c.out_stride, out + (size_t)from * c.out_stride, (size_t)some * row);
    assert_memory_equal(one + (size_t)(n - 1) * c.out_stride, out + (size_t)(n - 1) * c.out_stride, row);
    free(part);
    free(one);
    free(want);
    free(dots);
    free(out);
    linear_free(plain);
    linear_free(l);
    pool_free(pool);
    case_free(&c);
}

static void shapes(DType t, CpuIsa isa)
{
    static const int rows[] = { 1, 15, 16, 17, 33, 48, 70 };
    static const int tokens[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 25, 70 };
    static const int blocks[] = { 1, 2, 3, 5, 18 }, odd_cols[] = { 1, 2, 31, 32, 577 };
    int block = quant_info(t)->block_elems;
    for (size_t i = 0; i < COUNT(tokens); i++) {
        size_t j = i % COUNT(blocks);
        int cols = block == 1 ? odd_cols[j] : block == 256 ? 256 * (blocks[j] % 4 + 1) : block * blocks[j];
        check_case(t, rows[i % COUNT(rows)], cols, tokens[i], isa, (int)(i % 4));
    }
}

/* Panels so long that they are cut into slices of columns, and more rows than are packed at a time. */
static void long_rows_and_many_tokens(CpuIsa isa)
{
    check_case(DT_Q4_1, 17, 16384 + 96, 14, isa, 2);
    check_case(DT_Q8_0, 16, 8192 + 2080, 13, isa, 2);
    check_case(DT_Q6_K, 16, 16384, 5, isa, 0);
    check_case(DT_F32, 33, 3001, 13, isa, 2);
    check_case(DT_BF16, 33, 5001, 26, isa, 2);
    check_case(DT_Q4_0, 20, 64, 1100, isa, 3);
    check_case(DT_F16, 40, 33, 600, isa, 2);
}

static void all_formats_and_shapes(CpuIsa isa)
{
    if (!linear_isa_ok(isa)) {
        print_message("this machine or build has no %s\n", linear_isa_name(isa));
        skip();
    }
    for (size_t f = 0; f < COUNT(formats); f++) shapes(formats[f].dtype, isa);
    for (size_t f = 0; f < COUNT(floats); f++) shapes(floats[f], isa);
    long_rows_and_many_tokens(isa);
}

static void avx2_equals_its_model(void **state)
{
    (void)state;
    all_formats_and_shapes(ISA_AVX2);
}

static void avx512_equals_its_model(void **state)
{
    (void)state;
    all_formats_and_shapes(ISA_AVX512);
}

static void avx512bf16_equals_its_model(void **state)
{
    (void)state;
    all_formats_and_shapes(ISA_AVX512BF16);
}

static void amx_equals_its_model(void **state)
{
    (void)state;
    all_formats_and_shapes(ISA_AMX);
}

static void rows_come_back_exactly(void **state)
{
    (void)state;
    for (int isa = 0; isa < ISA_COUNT; isa++) {
        if (!linear_isa_ok((CpuIsa)isa)) continue;
        Linear *l = linear_new((CpuIsa)isa, NULL);
        for (size_t f = 0; f < COUNT(formats) + COUNT(floats); f++) {
            DType t = f < COUNT(formats) ? formats[f].dtype : floats[f - COUNT(formats)];
            int rows = 37, cols = quant_info(t)->block_elems == 1 ? 77 : 768;
            uint8_t *raw = random_rows(t, rows, cols, f);
            Weight *w = weight_of(l, WEIGHT_EMBED, t, rows, cols, raw);
            for (int r = 0; r < rows; r++) {
                float got[768], want[768];
                linear_embed_row(w, r, got);
                quant_to_f32(t, raw + (size_t)r * size_of(t, (size_t)cols), want, (size_t)cols);
                for (int k = 0; k < cols; k++) assert_true(got[k] == want[k]);
            }
            free(raw);
        }
        linear_free(l);
    }
}

/* q, k and v of different formats in one weight, q and k with rotary heads to put in order. */
static void bands_stack(void **state)
{
    (void)state;
    static const DType types[3] = { DT_Q4_K, DT_Q6_K, DT_BF16 };
    static const int rows[3] = { 48, 20, 35 }, heads[3] = { 3, 1, 0 };
    enum { COLS = 512, N = 9, ALL = 48 + 20 + 35 };
    float in[N * COLS];
    Rng rng = { 5 };
    for (int i = 0; i < N * COLS; i++) in[i] = noise(&rng);
    for (int isa = 0; isa < ISA_COUNT; isa++) {
        if (!linear_isa_ok((CpuIsa)isa)) continue;
        Pool *pool = pool_new(2);
        Linear *l = linear_new((CpuIsa)isa, pool);
        WeightBand bands[3];
        uint8_t *raw[3];
        float got[N * ALL];
        Err err;
        Weight *w;
        for (int b = 0; b < 3; b++) {
            raw[b] = random_rows(types[b], rows[b], COLS, (uint64_t)b);
            bands[b] = (WeightBand){
                .dtype = types[b], .rows = rows[b], .cols = COLS, .data = raw[b], .rope_heads = heads[b]
            };
        }
        assert_int_equal(linear_weight(l, WEIGHT_LINEAR, bands, 3, &w, &err), OK);
        assert_int_equal(linear_rows(w), ALL);
        linear_run(l, w, NULL, &(LinearIo){ got, in, ALL, COLS, N, false });
        for (int b = 0, row0 = 0; b < 3; row0 += rows[b++]) {
            float one[N * 48];
            Weight *alone = weight_of(l, WEIGHT_LINEAR, types[b], rows[b], COLS, raw[b]);
            linear_run(l, alone, NULL, &(LinearIo){ one, in, (size_t)rows[b], COLS, N, false });
            int dim = heads[b] ? rows[b] / heads[b] : 0;
            for (int t = 0; t < N; t++) {
                for (int r = 0; r < rows[b]; r++) { /* file row (head, pair j, side s) is our row (head, s, j) */
                    int to = dim ? r / dim * dim + r % 2 * (dim / 2) + r % dim / 2 : r;
                    assert_true(got[t * ALL + row0 + to] == one[t * rows[b] + r]);
                }
            }
            free(raw[b]);
        }
        linear_free(l);
        pool_free(pool);
    }
}

static void vectors_are_f32(void **state)
{
    (void)state;
    Linear *l = linear_new(ISA_PLAIN, NULL);
    uint16_t a[4] = { f32_to_bf16(1), f32_to_bf16(2), f32_to_bf16(3), f32_to_bf16(4) };
    float b[2] = { 5, 6 };
    WeightBand bands[2] = { { .dtype = DT_BF16, .rows = 1, .cols = 4, .data = a, .rope_heads = 1 },
                            { .dtype = DT_F32, .rows = 1, .cols = 2, .data = b } };
    Weight *w;
    Err err;
    assert_int_equal(linear_weight(l, WEIGHT_VECTOR, bands, 2, &w, &err), OK);
    assert_int_equal(linear_cols(w), 6);
    const float want[6] = { 1, 3, 2, 4, 5, 6 };
    assert_memory_equal(linear_vector(w), want, sizeof want);
    linear_free(l);
}

static void dummies_have_the_wanted_spread(void **state)
{
    (void)state;
    Pool *pool = pool_new(3);
    for (size_t f = 0; f < COUNT(formats) + COUNT(floats); f++) {
        DType t = f < COUNT(formats) ? formats[f].dtype : floats[f - COUNT(formats)];
        Linear *alone = linear_new(linear_isa_best(), NULL), *three = linear_new(ISA_PLAIN, pool);
        WeightBand b = { .dtype = t, .rows = 60, .cols = 1024, .dummy_seed = 7, .dummy_std = 0.02f };
        Weight *w[2];
        Err err;
        assert_int_equal(linear_weight(alone, WEIGHT_EMBED, &b, 1, &w[0], &err), OK);
        assert_int_equal(linear_weight(three, WEIGHT_EMBED, &b, 1, &w[1], &err), OK);
        double sum = 0, squares = 0;
        for (int r = 0; r < b.rows; r++) {
            float x[1024], y[1024];
            linear_embed_row(w[0], r, x);
            linear_embed_row(w[1], r, y);
            for (int k = 0; k < b.cols; k++) {
                assert_true(x[k] == y[k]);
                sum += (double)x[k];
                squares += (double)x[k] * (double)x[k];
            }
        }
        double n = b.rows * b.cols, mean = sum / n, std = sqrt(squares / n - mean * mean);
        if (fabs(mean) > 0.005 || std < 0.017 || std > 0.023)
            fail_msg("%s: mean %g, deviation %g", quant_info(t)->name, mean, std);
        linear_free(alone);
        linear_free(three);
    }
    pool_free(pool);
}

/* NaN and infinity stay what they are, in their own row. */
static void not_a_number_spoils_its_row_only(void **state)
{
    (void)state;
    static const DType types[] = { DT_Q4_0, DT_Q4_1, DT_Q8_0, DT_Q6_K, DT_BF16, DT_F32 };
    for (int isa = 0; isa < ISA_COUNT; isa++) {
        for (size_t f = 0; f < COUNT(types) && linear_isa_ok((CpuIsa)isa); f++) {
            Case c = case_new(types[f], 20, 512, 6, f);
            Linear *l = linear_new((CpuIsa)isa, NULL);
            float *clean = product(l, &c, 0, c.n, false, false);
            c.in[1 * c.in_stride + 100] = NAN;
            c.in[4 * c.in_stride + 7] = INFINITY;
            float *out = product(l, &c, 0, c.n, false, false);
            for (int t = 0; t < c.n; t++) {
                for (int r = 0; r < c.rows; r++) {
                    size_t at = (size_t)t * c.out_stride + (size_t)r;
                    if (t == 1) assert_true(isnan(out[at]));
                    if (t == 4) assert_true(!isfinite(out[at]));
                    if (t != 1 && t != 4) assert_true(out[at] == clean[at]);
                }
            }
            free(out);
            free(clean);
            linear_free(l);
            case_free(&c);
        }
    }
}

static void wrong_shapes_are_refused(void **state)
{
    (void)state;
    Linear *l = linear_new(ISA_PLAIN, NULL);
    float x[96] = { 0 };
    Weight *w;
    Err err;
    WeightBand odd[2] = { { .dtype = DT_F32, .rows = 2, .cols = 32, .data = x },
                          { .dtype = DT_F32, .rows = 1, .cols = 31, .data = x } };
    assert_int_equal(linear_weight(l, WEIGHT_LINEAR, odd, 2, &w, &err), E_CORRUPT);
    WeightBand block = { .dtype = DT_Q4_0, .rows = 1, .cols = 33, .data = x };
    assert_int_equal(linear_weight(l, WEIGHT_LINEAR, &block, 1, &w, &err), E_CORRUPT);
    WeightBand heads = { .dtype = DT_F32, .rows = 3, .cols = 32, .data = x, .rope_heads = 1 };
    assert_int_equal(linear_weight(l, WEIGHT_LINEAR, &heads, 1, &w, &err), E_CORRUPT);
    WeightBand type = { .dtype = DT_BOOL, .rows = 1, .cols = 32, .data = x };
    assert_int_equal(linear_weight(l, WEIGHT_LINEAR, &type, 1, &w, &err), E_UNSUPPORTED);
    linear_free(l);
}

/* ---- measuring: RADISH_BENCH=1, or =Q4_1,BF16 for some formats; RADISH_SHAPES=4096x4096 (all), RADISH_THREADS (2),
 * RADISH_ISA (the best) ---- */

enum { COLD_BYTES = 160 << 20, PASSES = 5, PASS_MS = 40 };

typedef struct {
    int rows, cols;
} Shape;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* With one thread the time that it ran, which neighbours do not stretch. */
static int64_t bench_ns(int threads)
{
    struct timespec t;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Median seconds of a product, the weights taken in turn. */
static double time_product(Linear *l, int threads, Weight **w, int n_weights, const LinearIo *io)
{
    double s[PASSES];
    int next = 0;
    for (int p = 0; p < PASSES; p++) {
        int64_t start = bench_ns(threads), now = start;
        int calls = 0;
        while (now - start < PASS_MS * 1000000) {
            linear_run(l, w[next], NULL, io);
            next = (next + 1) % n_weights;
            calls++;
            now = bench_ns(threads);
        }
        s[p] = (double)(now - start) * 1e-9 / calls;
    }
    qsort(s, PASSES, sizeof s[0], by_value);
    return s[PASSES / 2];
}

static void bench_shape(CpuIsa isa, int threads, DType t, Shape shape)
{
    static const int tokens[] = { 1, 4, 8, 16, 64, 512 };
    Pool *pool = pool_new(threads);
    Linear *l = linear_new(isa, pool);
    size_t bytes = size_of(t, (size_t)shape.rows * (size_t)shape.cols);
    int n_weights = (int)(COLD_BYTES / bytes) + 1;
    Weight **w = calloc((size_t)n_weights, sizeof *w);
    uint8_t *raw = random_rows(t, shape.rows, shape.cols, 1);
    int64_t start = bench_ns(threads);
    for (int i = 0; i < n_weights; i++) w[i] = weight_of(l, WEIGHT_LINEAR, t, shape.rows, shape.cols, raw);
    double pack = (double)(bench_ns(threads) - start) * 1e-9;
    float *in = calloc((size_t)512 * (size_t)shape.cols, sizeof(float));
    float *out = calloc((size_t)512 * (size_t)shape.rows, sizeof(float));
    Rng rng = { 3 };
    for (size_t i = 0; i < (size_t)512 * (size_t)shape.cols; i++) in[i] = noise(&rng);
    printf("%-6s %5dx%-5d pack %4.1f GB/s |", quant_info(t)->name, shape.rows, shape.cols,
           (double)bytes * n_weights / pack * 1e-9);
    for (int hot = 0; hot < 2; hot++) {
        printf(hot ? " hot" : " cold");
        for (size_t i = 0; i < COUNT(tokens); i++) {
            LinearIo io = { out, in, (size_t)shape.rows, (size_t)shape.cols, tokens[i], false };
            double s = time_product(l, threads, w, hot ? 1 : n_weights, &io);
            printf(" %d:%.0f", tokens[i], 2.0 * shape.rows * shape.cols * tokens[i] / s * 1e-9);
            if (tokens[i] == 1) printf("(%.0fGB/s)", (double)bytes / s * 1e-9);
        }
    }
    printf("\n");
    free(in);
    free(out);
    free(raw);
    free(w);
    linear_free(l);
    pool_free(pool);
}

static bool named(const char *list, const char *name)
{
    const char *at = strstr(list, name);
    size_t n = strlen(name);
    return !strcmp(list, "1") || (at && (at[n] == 0 || at[n] == ',') && (at == list || at[-1] == ','));
}

/* GFLOP/s by tokens: cold (weights of 160 MB in turn) and hot (one weight). */
static int bench(const char *list)
{
    static const Shape shapes_of[] = { { 1536, 576 },  { 576, 1536 },   { 576, 576 },
                                       { 4096, 4096 }, { 14336, 4096 }, { 4096, 14336 } };
    const char *threads = getenv("RADISH_THREADS"), *isa_name = getenv("RADISH_ISA"), *only = getenv("RADISH_SHAPES");
    CpuIsa isa = linear_isa_best();
    for (int i = 0; isa_name && i < ISA_COUNT; i++) {
        if (!strcmp(isa_name, linear_isa_name((CpuIsa)i))) isa = (CpuIsa)i;
    }
    if (!linear_isa_ok(isa)) return printf("no %s here\n", isa_name), 1;
    for (size_t f = 0; f < COUNT(formats) + COUNT(floats); f++) {
        DType t = f < COUNT(formats) ? formats[f].dtype : floats[f - COUNT(formats)];
        if (!named(list, quant_info(t)->name)) continue;
        for (size_t i = 0; i < COUNT(shapes_of); i++) {
            char name[32];
            snprintf(name, sizeof name, "%dx%d", shapes_of[i].rows, shapes_of[i].cols);
            if (shapes_of[i].cols % quant_info(t)->block_elems || (only && !named(only, name))) continue;
            bench_shape(isa, threads ? atoi(threads) : 2, t, shapes_of[i]);
        }
    }
    return 0;
}

int main(void)
{
    const char *list = getenv("RADISH_BENCH");
    if (list) return bench(list);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(avx2_equals_its_model),
        cmocka_unit_test(avx512_equals_its_model),
        cmocka_unit_test(avx512bf16_equals_its_model),
        cmocka_unit_test(amx_equals_its_model),
        cmocka_unit_test(rows_come_back_exactly),
        cmocka_unit_test(bands_stack),
        cmocka_unit_test(vectors_are_f32),
        cmocka_unit_test(dummies_have_the_wanted_spread),
        cmocka_unit_test(wrong_shapes_are_refused),
        cmocka_unit_test(not_a_number_spoils_its_row_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
