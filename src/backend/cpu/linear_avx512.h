/* linear_avx512.h - the words in which linear_tile.h is written, for AVX-512 with VNNI. See linear_avx2.h for the other tongue.
 *
 * vi is a vector of VW 32-bit words or 4 * VW bytes, vf of VW floats (vec_avx512.h). A vector holds a whole panel's 16 rows, so
 * there is one part. */
#ifndef BACKEND_CPU_LINEAR_AVX512_H
#define BACKEND_CPU_LINEAR_AVX512_H

#include "backend/cpu/linear_kernels.h"
#include "backend/cpu/vec_avx512.h"

enum { TOKENS_MAX = 12, NEEDS_SIGN = false };
typedef __m512i vi;

/* One word, one line. */
/* clang-format off */
VEC vi vi_load(const uint8_t *p) { return _mm512_loadu_si512(p); }
VEC vi vi_word(const uint8_t *p) { int32_t v; memcpy(&v, p, 4); return _mm512_set1_epi32(v); }
VEC vf vf_word(const uint8_t *p) { float v; memcpy(&v, p, 4); return _mm512_set1_ps(v); }
VEC vi vi_zero(void) { return _mm512_setzero_si512(); }
VEC vi vi_byte(int v) { return _mm512_set1_epi8((char)v); }
VEC vi vi_and(vi a, vi b) { return _mm512_and_si512(a, b); }
VEC vi vi_or_and(vi a, vi b, vi m) { return _mm512_ternarylogic_epi32(a, b, m, 0xf8); } /* a | b & m */
#define vi_shl(v, n) _mm512_slli_epi16(v, n)
#define vi_shr(v, n) _mm512_srli_epi16(v, n)
/* top added to the bytes whose bit in the mask is set: 4 * VW bits at p */
VEC vi vi_add_where(vi v, const uint8_t *p, vi top)
{
    uint64_t m;
    memcpy(&m, p, 8);
    return _mm512_mask_add_epi8(v, (__mmask64)m, v, top);
}
VEC vi vi_look_up(const uint8_t *table16, vi v)
{
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)table16)), v);
}
VEC vi vi_less_128(vi v) { return _mm512_xor_si512(v, vi_byte(-128)); }
VEC vf vf_of_vi(vi v) { return _mm512_cvtepi32_ps(v); }
VEC vf vf_of_u8(const uint8_t *p) { return vf_of_vi(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p))); }
VEC vf vf_of_i8(const uint8_t *p) { return vf_of_vi(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p))); }
/* the lower or upper halves of VW bytes */
VEC vf vf_of_nibbles(const uint8_t *p, bool upper)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    v = _mm_and_si128(upper ? _mm_srli_epi16(v, 4) : v, _mm_set1_epi8(15));
    return vf_of_vi(_mm512_cvtepu8_epi32(v));
}
/* the lower and the upper bf16 of each word */
VEC vf vf_low_bf16(vi v) { return _mm512_castsi512_ps(_mm512_slli_epi32(v, 16)); }
VEC vf vf_high_bf16(vi v) { return _mm512_castsi512_ps(vi_and(v, _mm512_set1_epi32((int)0xffff0000))); }
/* clang-format on */

/* z += the products of 4 columns (numbers v) of all tokens; a: of the first token's 4 columns. */
INLINE void dot_group(Form f, int n, vi v, const uint8_t *a, int g, vi *part_sums, vi *z)
{
    (void)f, (void)g, (void)part_sums;
    UNROLL
    for (int t = 0; t < n; t++) z[t] = _mm512_dpbusd_epi32(z[t], v, vi_word(a + 32 * t));
}

/* 32 columns of one token: int8 numbers and scale; the sum of each half, or in sum[0] of all. */
INLINE float round_block(const float *x, bool halves, uint8_t *q, int *sum)
{
    __m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16);
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i ma = _mm512_and_si512(_mm512_castps_si512(a), magnitude);
    __m512i mb = _mm512_and_si512(_mm512_castps_si512(b), magnitude);
    int32_t bits = _mm512_reduce_max_epi32(_mm512_max_epi32(ma, mb)); /* NaN is the largest */
    float amax;
    memcpy(&amax, &bits, 4);
    bool none = amax < ACT_TINY;
    const __m512i least = _mm512_set1_epi32(-128); /* instead of what a NaN becomes, so that sums cannot overflow */
    __m512 inv = _mm512_set1_ps(none ? 0 : 127.0f / amax);
    __m512i ia = _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(a, inv)), least);
    __m512i ib = _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(b, inv)), least);
    _mm_storeu_si128((__m128i *)(void *)q, _mm512_cvtsepi32_epi8(ia));
    _mm_storeu_si128((__m128i *)(void *)(q + 16), _mm512_cvtsepi32_epi8(ib));
    sum[0] = _mm512_reduce_add_epi32(halves ? ia : _mm512_add_epi32(ia, ib));
    if (halves) sum[1] = _mm512_reduce_add_epi32(ib);
    return none ? 0 : amax / 127.0f;
}

#define TOKENS(X, ...)                                                                                                 \
    X(1, __VA_ARGS__)                                                                                                  \
    X(2, __VA_ARGS__)                                                                                                  \
    X(3, __VA_ARGS__)                                                                                                  \
    X(4, __VA_ARGS__)                                                                                                  \
    X(5, __VA_ARGS__)                                                                                                  \
    X(6, __VA_ARGS__)                                                                                                  \
    X(7, __VA_ARGS__)                                                                                                  \
    X(8, __VA_ARGS__)                                                                                                  \
    X(9, __VA_ARGS__)                                                                                                  \
    X(10, __VA_ARGS__)                                                                                                 \
    X(11, __VA_ARGS__)                                                                                                 \
    X(12, __VA_ARGS__)

#endif
