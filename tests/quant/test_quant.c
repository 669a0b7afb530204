/* test_quant.c - formats against the gguf package's answers (golden.bin, written by make_golden.py), their own inverses, and
 * 16-bit floats against exact arithmetic over every value. */
/* clang-format off */
#include "base/file.h"
#include "quant/block.h"
#include "quant/fp8.h"
#include "quant/quant.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> /* its macros spoil declarations that come after it */
/* clang-format on */

/* ---- golden data ---- */

typedef struct {
    char kind;
    DType t;
    uint32_t n, n_bytes;
    const char *blocks;
    const char *floats; /* unaligned */
} Record;

static bool next_record(Str *rest, Record *r)
{
    char name[8] = { 0 };
    if (rest->n == 0) return false;
    assert_true(rest->n >= 16);
    r->kind = rest->p[0];
    memcpy(name, rest->p + 1, 7);
    memcpy(&r->n, rest->p + 8, 4);
    memcpy(&r->n_bytes, rest->p + 12, 4);
    r->t = quant_of_name(str_of(name));
    assert_int_not_equal(r->t, DT_NONE);
    r->blocks = rest->p + 16;
    r->floats = r->blocks + r->n_bytes;
    size_t all = 16 + (size_t)r->n_bytes + (size_t)r->n * 4;
    assert_true(rest->n >= all);
    *rest = str_cut(*rest, all, rest->n);
    return true;
}

static Str golden(Arena *a)
{
    Err err;
    Str text;
    if (file_read(a, RADISH_TESTS "/quant/golden.bin", 1 << 20, &text, &err) != OK) fail_msg("%s", err.text);
    return text;
}

static void blocks_mean_what_gguf_says(void **state)
{
    (void)state;
    Arena *a = arena_new(0);
    Str rest = golden(a);
    Record r;
    bool seen[DT_COUNT] = { 0 };
    while (next_record(&rest, &r)) {
        if (r.kind != 'D') continue;
        float *got = ARENA_NEW(a, float, r.n), *want = ARENA_NEW(a, float, r.n);
        uint8_t *odd = arena_alloc(a, r.n_bytes + 1); /* blocks in a file may lie at any address */
        memcpy(want, r.floats, (size_t)r.n * 4);
        memcpy(odd + 1, r.blocks, r.n_bytes);
        quant_to_f32(r.t, odd + 1, got, r.n);
        for (uint32_t i = 0; i < r.n; i++) {
            if (f32_bits(got[i]) != f32_bits(want[i]))
                fail_msg("%s element %u: got %.9g, want %.9g", quant_info(r.t)->name, i, (double)got[i],
                         (double)want[i]);
        }
        seen[r.t] = true;
    }
    for (int t = 0; t < DT_COUNT; t++) {
        if (quant_info((DType)t)->block_elems > 1) assert_true(seen[t]); /* a new format needs golden data */
    }
    assert_true(seen[DT_F16] && seen[DT_BF16]);
    arena_free(a);
}

static void floats_round_as_gguf_does(void **state)
{
    (void)state;
    Arena *a = arena_new(0);
    Str rest = golden(a);
    Record r;
    int n = 0;
    while (next_record(&rest, &r)) {
        if (r.kind != 'Q') continue;
        float *x = ARENA_NEW(a, float, r.n);
        uint8_t *got = arena_alloc(a, r.n_bytes);
        memcpy(x, r.floats, (size_t)r.n * 4);
        assert_true(quant_from_f32(r.t, x, got, r.n));
        for (uint32_t i = 0; i < r.n_bytes; i++) {
            if (got[i] != (uint8_t)r.blocks[i])
                fail_msg("%s byte %u: %02x, want %02x", quant_info(r.t)->name, i, got[i], (uint8_t)r.blocks[i]);
        }
        n++;
    }
    assert_int_equal(n, 7);
    arena_free(a);
}

/* ---- properties of every blocked format ---- */

static float value_at(DType t, const AnyBlock *b, int i)
{
    switch ((int)t) {
    case DT_Q4_0: return q4_0_at(&b->q4_0, i);
    case DT_Q4_1: return q4_1_at(&b->q4_1, i);
    case DT_Q5_0: return q5_0_at(&b->q5_0, i);
    case DT_Q5_1: return q5_1_at(&b->q5_1, i);
    case DT_Q8_0: return q8_0_at(&b->q8_0, i);
    case DT_Q2_K: return q2_k_at(&b->q2_k, i);
    case DT_Q3_K: return q3_k_at(&b->q3_k, i);
    case DT_Q4_K: return q4_k_at(&b->q4_k, i);
    case DT_Q5_K: return q5_k_at(&b->q5_k, i);
    case DT_Q6_K: return q6_k_at(&b->q6_k, i);
    case DT_IQ4_NL: return iq4_nl_at(&b->iq4_nl, i);
    case DT_IQ4_XS: return iq4_xs_at(&b->iq4_xs, i);
    default: fail_msg("no NAME_at in this test for %s", quant_info(t)->name); return 0;
    }
}

static void one_element_is_the_blocks(void **state)
{
    (void)state;
    Rng rng = { 5 };
    for (int t = 0; t < DT_COUNT; t++) {
        const DTypeInfo *f = quant_info((DType)t);
        if (f->block_elems == 1) continue;
        for (int round = 0; round < 50; round++) {
            AnyBlock b;
            float all[256];
            uint8_t bytes[sizeof b];
            for (size_t i = 0; i < sizeof b; i++) bytes[i] = (uint8_t)rng_next(&rng);
            memcpy(&b, bytes, sizeof b);
            quant_to_f32((DType)t, &b, all, (size_t)f->block_elems);
            for (int i = 0; i < f->block_elems; i++) {
                float one = value_at((DType)t, &b, i);
                if (f32_bits(one) != f32_bits(all[i]) && !(isnan(one) && isnan(all[i])))
                    fail_msg("%s element %d", f->name, i);
            }
        }
    }
}

/* What quantising normal weights may cost: error's norm over the weights' norm, a little above what each format gives. */
static const struct {
    DType t;
    double most;
} losses[] = {
    { DT_F32, 0 },      { DT_F16, 3e-4 },   { DT_BF16, 2e-3 },  { DT_Q8_0, 0.008 },  { DT_Q4_0, 0.11 },
    { DT_Q4_1, 0.09 },  { DT_Q5_0, 0.055 }, { DT_Q5_1, 0.045 }, { DT_Q2_K, 0.36 },   { DT_Q3_K, 0.23 },
    { DT_Q4_K, 0.095 }, { DT_Q5_K, 0.05 },  { DT_Q6_K, 0.025 }, { DT_IQ4_NL, 0.10 }, { DT_IQ4_XS, 0.105 },
};

static void quantising_loses_little(void **state)
{
    (void)state;
    enum { N = 256 * 40 };
    static float x[N], y[N];
    static uint8_t blocks[N * 4];
    Rng rng = { 9 };
    for (int i = 0; i < N; i++) x[i] = rng_normal(&rng) * 0.02f;
    for (size_t k = 0; k < COUNT(losses); k++) {
        double error = 0, norm = 0;
        assert_true(quant_from_f32(losses[k].t, x, blocks, N));
        quant_to_f32(losses[k].t, blocks, y, N);
        for (int i = 0; i < N; i++) {
            error += (double)(x[i] - y[i]) * (double)(x[i] - y[i]);
            norm += (double)x[i] * (double)x[i];
        }
        if (!(sqrt(error / norm) <= losses[k].most))
            fail_msg("%s loses %.5f", quant_info(losses[k].t)->name, sqrt(error / norm));
    }
}

/* Zeros, huge numbers and NaN give valid blocks; zeros come back as zeros. */
static void odd_rows_are_survived(void **state)
{
    (void)state;
    static const float fills[] = { 0, -0.0f, 1e-38f, 1e-44f, 3e38f, -3e38f };
    float x[256], y[256];
    uint8_t block[1024];
    for (int t = 0; t < DT_COUNT; t++) {
        for (size_t k = 0; k <= COUNT(fills); k++) {
            for (int i = 0; i < 256; i++) x[i] = k < COUNT(fills) ? fills[k] : i % 3 ? NAN : INFINITY;
            if (!quant_from_f32((DType)t, x, block, 256)) continue;
            quant_to_f32((DType)t, block, y, 256);
            for (int i = 0; i < 256 && k < 2; i++) assert_true(y[i] == 0);
        }
    }
    assert_false(quant_from_f32(DT_I32, x, block, 256));
    assert_false(quant_from_f32(DT_F8_E4M3, x, block, 256));
}

/* ---- 16-bit floats ---- */

/* A half's value by its definition. */
static double half_value(uint16_t h)
{
    int exponent = (h >> 10) & 31, fraction = h & 1023;
    double v = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
    if (exponent == 31) v = fraction ? NAN : INFINITY;
    return h & 0x8000 ? -v : v;
}

static void every_half_is_exact(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        double want = half_value((uint16_t)h);
        float got = f16_to_f32((uint16_t)h);
        if (isnan(want)) {
            assert_true(isnan(got));
            assert_true(isnan(f16_to_f32(f32_to_f16(got))));
        } else {
            assert_true((double)got == want && !signbit(got) == !(h & 0x8000));
            assert_int_equal(f32_to_f16(got), h);
        }
    }
}

static void rounding_to_half_is_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7c00; h++) { /* between h and the next */
        double a = half_value((uint16_t)h), b = h == 0x7bff ? 65536 : half_value((uint16_t)(h + 1));
        float middle = (float)((a + b) / 2); /* exact */
        uint16_t even = (uint16_t)(h & 1 ? h + 1 : h);
        assert_int_equal(f32_to_f16(middle), even);
        assert_int_equal(f32_to_f16(nextafterf(middle, 0)), h);
        assert_int_equal(f32_to_f16(nextafterf(middle, INFINITY)), h + 1);
        assert_int_equal(f32_to_f16(-middle), even | 0x8000);
    }
    assert_int_equal(f32_to_f16(1e30f), 0x7c00);
    assert_int_equal(f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(f32_to_f16(1e-40f), 0);
}

static void bfloat_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = bf16_to_f32((uint16_t)h);
        assert_int_equal(f32_bits(f), h << 16);
        if (isnan(f)) {
            assert_true(isnan(bf16_to_f32(f32_to_bf16(f))));
            continue;
        }
        assert_int_equal(f32_to_bf16(f), h);
        if (isinf(f)) continue;
        assert_int_equal(f32_to_bf16(f32_of_bits(h << 16 | 0x7fff)), h);
        assert_int_equal(f32_to_bf16(f32_of_bits(h << 16 | 0x8000)), h & 1 ? h + 1 : h);
        assert_int_equal(f32_to_bf16(f32_of_bits(h << 16 | 0x8001)), h + 1);
    }
    assert_true(isnan(bf16_to_f32(f32_to_bf16(f32_of_bits(0x7f800001))))); /* its payload lies in the cut bits */
}

static void every_f8_is_exact(void **state)
{
    (void)state;
    for (int x = 0; x < 256; x++) {
        int e4 = (x >> 3) & 15, m3 = x & 7, e5 = (x >> 2) & 31, m2 = x & 3;
        double a = e4 == 0 ? ldexp(m3, -9) : ldexp(8 + m3, e4 - 10);
        double b = e5 == 0 ? ldexp(m2, -16) : ldexp(4 + m2, e5 - 17);
        uint8_t byte = (uint8_t)x;
        float got[2];
        if ((x & 127) == 127) a = NAN;
        if (e5 == 31) b = m2 ? NAN : INFINITY;
        if (x & 128) a = -a, b = -b;
        quant_to_f32(DT_F8_E4M3, &byte, &got[0], 1);
        quant_to_f32(DT_F8_E5M2, &byte, &got[1], 1);
        assert_true(isnan(a) ? isnan(got[0]) : (double)got[0] == a && !signbit(got[0]) == !signbit(a));
        assert_true(isnan(b) ? isnan(got[1]) : (double)got[1] == b && !signbit(got[1]) == !signbit(b));
    }
    assert_true(f8_e4m3_to_f32(0x7e) == 448 && f8_e5m2_to_f32(0x7b) == 57344);
}

/* ---- the table ---- */

static void names_and_sizes(void **state)
{
    (void)state;
    size_t n;
    for (int t = 0; t < DT_COUNT; t++) {
        const DTypeInfo *f = quant_info((DType)t);
        assert_int_equal(quant_of_name(str_of(f->name)), t);
        if (f->ggml >= 0) assert_int_equal(quant_of_ggml((uint32_t)f->ggml), t);
    }
    assert_int_equal(quant_of_name(STR("q4_k")), DT_Q4_K);
    assert_int_equal(quant_of_name(STR("Q4_")), DT_NONE);
    assert_int_equal(quant_of_name(STR("Q4_K_M")), DT_NONE);
    assert_int_equal(quant_of_name(STR("")), DT_NONE);
    assert_int_equal(quant_of_name((Str){ "F32\0", 4 }), DT_NONE);
    assert_int_equal(quant_of_ggml(9), DT_NONE);
    assert_int_equal(quant_of_ggml(UINT32_MAX), DT_NONE);
    assert_true(quant_size(DT_Q4_K, 512, &n) && n == 288);
    assert_true(quant_size(DT_F32, 0, &n) && n == 0);
    assert_false(quant_size(DT_Q4_K, 32, &n));
    assert_false(quant_size(DT_F32, SIZE_MAX / 2, &n));
    assert_true(quant_can_dequant(DT_IQ4_XS) && quant_can_dequant(DT_F64) && !quant_can_dequant(DT_I8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_mean_what_gguf_says),
        cmocka_unit_test(floats_round_as_gguf_does),
        cmocka_unit_test(one_element_is_the_blocks),
        cmocka_unit_test(quantising_loses_little),
        cmocka_unit_test(odd_rows_are_survived),
        cmocka_unit_test(every_half_is_exact),
        cmocka_unit_test(rounding_to_half_is_to_nearest_even),
        cmocka_unit_test(bfloat_rounds_to_nearest_even),
        cmocka_unit_test(every_f8_is_exact),
        cmocka_unit_test(names_and_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
