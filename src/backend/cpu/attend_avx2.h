/* attend_avx2.h - the words that attention over int8 keys and values needs beside those of vec_avx2.h. */
#ifndef BACKEND_CPU_ATTEND_AVX2_H
#define BACKEND_CPU_ATTEND_AVX2_H

#include "backend/cpu/vec_avx2.h"

/* One word, one line. */
/* clang-format off */
/* Whole numbers: vi is VW of 32 bits, or their bytes in fours. */
typedef __m256i vi;
VEC vi vi_load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
VEC vf vf_of_vi(vi x) { return _mm256_cvtepi32_ps(x); }
VEC vf vf_of_i8(const int8_t *p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p))); }
VEC void vf_to_i8(int8_t *p, vf x) /* to nearest even; |x| < 128 */
{
    __m256i wide = _mm256_cvtps_epi32(x);
    __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    _mm_storel_epi64((__m128i *)(void *)p, _mm_packs_epi16(half, half));
}
VEC int32_t vf_whole_sum(vf x)
{
    __m256i wide = _mm256_cvtps_epi32(x);
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}
/* Products of signed bytes (never -128) with four signed ones, in fours: prepare the bytes, start with dot4_start of the sum of the
 * four over all calls, then add. One side must be unsigned: |k|, with k's sign moved to q; two products stay below 2^15. */
VEC vi vi_dot4_bytes(vi k) { return k; }
VEC vi vi_dot4_start(int32_t total) { (void)total; return _mm256_setzero_si256(); }
VEC vi vi_dot4(vi sum, vi k, const int8_t *q)
{
    int32_t four;
    __builtin_memcpy(&four, q, 4);
    __m256i two = _mm256_maddubs_epi16(_mm256_abs_epi8(k), _mm256_sign_epi8(_mm256_set1_epi32(four), k));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(two, _mm256_set1_epi16(1)));
}

/* clang-format on */

#endif
