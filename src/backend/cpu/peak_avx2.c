/* peak_avx2.c - fused multiply-add, and the three steps that sum int8 products. */
#include <immintrin.h>

#include "backend/cpu/peak.h"

static void run_f32(long rounds, float *room)
{
    __m256 sum[PEAK_SUMS], by = _mm256_loadu_ps(room);
    for (int i = 0; i < PEAK_SUMS; i++) sum[i] = by;
    for (long r = 0; r < rounds; r++)
        for (int i = 0; i < PEAK_SUMS; i++) sum[i] = _mm256_fmadd_ps(sum[i], by, by);
    for (int i = 0; i < PEAK_SUMS; i++) _mm256_storeu_ps(room, _mm256_add_ps(_mm256_loadu_ps(room), sum[i]));
}

static void run_int8(long rounds, float *room)
{
    __m256i sum[PEAK_SUMS], by = _mm256_loadu_si256((const void *)room), one = _mm256_set1_epi16(1);
    for (int i = 0; i < PEAK_SUMS; i++) sum[i] = by;
    for (long r = 0; r < rounds; r++)
        for (int i = 0; i < PEAK_SUMS; i++) { /* the factor depends on the sum, or it would be computed once */
            __m256i pairs = _mm256_maddubs_epi16(by, _mm256_xor_si256(by, sum[i]));
            sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(pairs, one));
        }
    for (int i = 0; i < PEAK_SUMS; i++) by = _mm256_add_epi32(by, sum[i]);
    _mm256_storeu_si256((void *)room, by);
}

static void read_all(const void *p, size_t n, float *room)
{
    const char *at = p;
    __m256i sum[4] = { 0 };
    for (size_t i = 0; i < n; i += 128)
        for (int k = 0; k < 4; k++)
            sum[k] = _mm256_add_epi64(sum[k], _mm256_loadu_si256((const void *)(at + i + 32 * (size_t)k)));
    for (int k = 1; k < 4; k++) sum[0] = _mm256_add_epi64(sum[0], sum[k]);
    _mm256_storeu_si256((void *)room, sum[0]);
}

const Peak peak_avx2 = {
    .f32 = run_f32, .int8 = run_int8, .f32_ops = 2 * 8 * PEAK_SUMS, .int8_ops = 2 * 32 * PEAK_SUMS, .read = read_all
};
