/* peak_avx512bf16.c - the instruction that sums bf16 products. */
#include <immintrin.h>

#include "backend/cpu/peak.h"

static void run_bf16(long rounds, float *room)
{
    __m512 sum[PEAK_SUMS];
    __m512bh by = (__m512bh)_mm512_loadu_si512(room);
    for (int i = 0; i < PEAK_SUMS; i++) sum[i] = _mm512_loadu_ps(room);
    for (long r = 0; r < rounds; r++)
        for (int i = 0; i < PEAK_SUMS; i++) sum[i] = _mm512_dpbf16_ps(sum[i], by, by);
    for (int i = 0; i < PEAK_SUMS; i++) _mm512_storeu_ps(room, _mm512_add_ps(_mm512_loadu_ps(room), sum[i]));
}

const Peak peak_avx512bf16 = { .bf16 = run_bf16, .bf16_ops = 2 * 32 * PEAK_SUMS };
