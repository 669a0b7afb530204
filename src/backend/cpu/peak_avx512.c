/* peak_avx512.c - fused multiply-add, and the instruction that sums int8 products. */
#include <immintrin.h>

#include "backend/cpu/peak.h"

static void run_f32(long rounds, float *room)
{
    __m512 sum[PEAK_SUMS], by = _mm512_loadu_ps(room);
    for (int i = 0; i < PEAK_SUMS; i++) sum[i] = by;
    for (long r = 0; r < rounds; r++)
        for (int i = 0; i < PEAK_SUMS; i++) sum[i] = _mm512_fmadd_ps(sum[i], by, by);
    for (int i = 0; i < PEAK_SUMS; i++) _mm512_storeu_ps(room, _mm512_add_ps(_mm512_loadu_ps(room), sum[i]));
}

static void run_int8(long rounds, float *room)
{
    __m512i sum[PEAK_SUMS], by = _mm512_loadu_si512(room);
    for (int i = 0; i < PEAK_SUMS; i++) sum[i] = by;
    for (long r = 0; r < rounds; r++)
        for (int i = 0; i < PEAK_SUMS; i++) sum[i] = _mm512_dpbusd_epi32(sum[i], by, by);
    for (int i = 0; i < PEAK_SUMS; i++) by = _mm512_add_epi32(by, sum[i]);
    _mm512_storeu_si512(room, by);
}

static void read_all(const void *p, size_t n, float *room)
{
    const char *at = p;
    __m512i sum[4] = { 0 };
    for (size_t i = 0; i < n; i += 256)
        for (int k = 0; k < 4; k++) sum[k] = _mm512_add_epi64(sum[k], _mm512_loadu_si512(at + i + 64 * (size_t)k));
    for (int k = 1; k < 4; k++) sum[0] = _mm512_add_epi64(sum[0], sum[k]);
    _mm512_storeu_si512(room, sum[0]);
}

const Peak peak_avx512 = {
    .f32 = run_f32, .int8 = run_int8, .f32_ops = 2 * 16 * PEAK_SUMS, .int8_ops = 2 * 64 * PEAK_SUMS, .read = read_all
};
