/* attend_avx512.h - the words that attention over int8 keys and values needs beside those of vec_avx512.h. */
#ifndef BACKEND_CPU_ATTEND_AVX512_H
#define BACKEND_CPU_ATTEND_AVX512_H

#include "backend/cpu/vec_avx512.h"

/* One word, one line. */
/* clang-format off */
/* Whole numbers: vi is VW of 32 bits, or their bytes in fours. */
typedef __m512i vi;
VEC vi vi_load(const void *p) { return _mm512_loadu_si512(p); }
VEC vf vf_of_vi(vi x) { return _mm512_cvtepi32_ps(x); }
VEC vf vf_of_i8(const int8_t *p) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p))); }
VEC void vf_to_i8(int8_t *p, vf x) /* to nearest even; |x| < 128 */
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
}
VEC int32_t vf_whole_sum(vf x) { return _mm512_reduce_add_epi32(_mm512_cvtps_epi32(x)); }
/* Products of signed bytes (never -128) with four signed ones, in fours: prepare the bytes, start with dot4_start of the sum of the
 * four over all calls, then add. The instruction wants one side unsigned, so 128 is added there and taken off at the start. */
VEC vi vi_dot4_bytes(vi k) { return _mm512_xor_si512(k, _mm512_set1_epi8(INT8_MIN)); }
VEC vi vi_dot4_start(int32_t total) { return _mm512_set1_epi32(-128 * total); }
VEC vi vi_dot4(vi sum, vi k, const int8_t *q)
{
    int32_t four;
    __builtin_memcpy(&four, q, 4);
    return _mm512_dpbusd_epi32(sum, k, _mm512_set1_epi32(four));
}

/* clang-format on */

#endif
