/* linear_avx2.h - the words in which linear_tile.h is written, for AVX2 with FMA and F16C.
 *
 * vi is a vector of VW 32-bit words or 4 * VW bytes, vf of VW floats (vec_avx2.h). A vector holds half of a panel's 16 rows:
 * there are two parts. There is no 8-bit product that sums into 32 bits: vpmaddubsw makes pairs in 16. For 4-, 5- and 6-bit
 * numbers up to 4 of these are added before they are widened (4 * 2 * 31 * 127 < 2^15). Numbers of 8 bits (and codebook values)
 * would overflow as unsigned, so they come with their sign, which is moved to the activation. */
#ifndef BACKEND_CPU_LINEAR_AVX2_H
#define BACKEND_CPU_LINEAR_AVX2_H

#include "backend/cpu/linear_kernels.h"
#include "backend/cpu/vec_avx2.h"

enum { TOKENS_MAX = 4, NEEDS_SIGN = true };
typedef __m256i vi;

/* One word, one line. */
/* clang-format off */
VEC vi vi_load(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
VEC vi vi_word(const uint8_t *p) { int32_t v; memcpy(&v, p, 4); return _mm256_set1_epi32(v); }
VEC vf vf_word(const uint8_t *p) { float v; memcpy(&v, p, 4); return _mm256_set1_ps(v); }
VEC vi vi_zero(void) { return _mm256_setzero_si256(); }
VEC vi vi_byte(int v) { return _mm256_set1_epi8((char)v); }
VEC vi vi_and(vi a, vi b) { return _mm256_and_si256(a, b); }
VEC vi vi_or_and(vi a, vi b, vi m) { return _mm256_or_si256(a, _mm256_and_si256(b, m)); } /* a | b & m */
#define vi_shl(v, n) _mm256_slli_epi16(v, n)
#define vi_shr(v, n) _mm256_srli_epi16(v, n)
/* top added to the bytes whose bit in the mask is set: 4 * VW bits at p */
VEC vi vi_add_where(vi v, const uint8_t *p, vi top)
{
    const __m256i byte_of = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i set = _mm256_and_si256(_mm256_shuffle_epi8(vi_word(p), byte_of), bit);
    return _mm256_or_si256(v, _mm256_and_si256(_mm256_cmpeq_epi8(set, bit), top));
}
VEC vi vi_look_up(const uint8_t *table16, vi v)
{
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)table16)), v);
}
VEC vi vi_less_128(vi v) { return _mm256_xor_si256(v, vi_byte(-128)); }
VEC vf vf_of_vi(vi v) { return _mm256_cvtepi32_ps(v); }
VEC vf vf_of_u8(const uint8_t *p) { return vf_of_vi(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p))); }
VEC vf vf_of_i8(const uint8_t *p) { return vf_of_vi(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p))); }
/* the lower or upper halves of VW bytes */
VEC vf vf_of_nibbles(const uint8_t *p, bool upper)
{
    __m128i v = _mm_loadl_epi64((const __m128i *)(const void *)p);
    v = _mm_and_si128(upper ? _mm_srli_epi16(v, 4) : v, _mm_set1_epi8(15));
    return vf_of_vi(_mm256_cvtepu8_epi32(v));
}
/* the lower and the upper bf16 of each word */
VEC vf vf_low_bf16(vi v) { return _mm256_castsi256_ps(_mm256_slli_epi32(v, 16)); }
VEC vf vf_high_bf16(vi v) { return _mm256_castsi256_ps(vi_and(v, _mm256_set1_epi32((int)0xffff0000))); }
/* clang-format on */

/* z += the products of 4 columns (numbers v) of all tokens; a: of the first token's 4 columns. Over the groups g in turn,
 * as many as fit are added in 16 bits, in part_sums, first. */
INLINE void dot_group(Form f, int n, vi v, const uint8_t *a, int g, vi *part_sums, vi *z)
{
    const bool is_signed = f.bits == 8 || f.codebook;
    const int together = is_signed ? 1 : f.bits == 6 ? 2 : 4;
    __m256i size = is_signed ? _mm256_abs_epi8(v) : v;
    UNROLL
    for (int t = 0; t < n; t++) {
        __m256i b = vi_word(a + 32 * t);
        if (is_signed) b = _mm256_sign_epi8(b, v);
        b = _mm256_maddubs_epi16(size, b);
        part_sums[t] = g % together == 0 ? b : _mm256_add_epi16(part_sums[t], b);
        if (g % together == together - 1)
            z[t] = _mm256_add_epi32(z[t], _mm256_madd_epi16(part_sums[t], _mm256_set1_epi16(1)));
    }
}

INLINE float largest(const float *x)
{
    int32_t bits = 0;
    for (int i = 0; i < BLOCK_COLS; i++) {
        int32_t v;
        memcpy(&v, x + i, 4);
        v &= 0x7fffffff; /* NaN is the largest */
        bits = MAX(bits, v);
    }
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

/* 32 columns of one token: int8 numbers and scale; the sum of each half, or in sum[0] of all. */
INLINE float round_block(const float *x, bool halves, uint8_t *q, int *sum)
{
    float amax = largest(x);
    bool none = amax < ACT_TINY;
    __m256 inv = _mm256_set1_ps(none ? 0 : 127.0f / amax);
    for (int h = 0; h < 2; h++) {
        __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 16 * h), inv));
        __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 16 * h + 8), inv));
        __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
        __m128i v = _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
        _mm_storeu_si128((__m128i *)(void *)(q + 16 * h), v);
        __m256i s = _mm256_madd_epi16(w, _mm256_set1_epi16(1));
        __m128i t = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
        t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4e));
        sum[h] = _mm_cvtsi128_si32(_mm_add_epi32(t, _mm_shuffle_epi32(t, 0xb1)));
    }
    if (!halves) sum[0] += sum[1];
    return none ? 0 : amax / 127.0f;
}

#define TOKENS(X, ...) X(1, __VA_ARGS__) X(2, __VA_ARGS__) X(3, __VA_ARGS__) X(4, __VA_ARGS__)

#endif
