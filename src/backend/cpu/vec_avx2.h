/* vec_avx2.h - the words in which the vector loops (*_vec.h) are written, for AVX2 with FMA and F16C.
 *
 * vf is a vector of VW floats, vm a lane mask. vf_max(x, y) and vf_min(x, y) return y where x is NaN. */
#ifndef BACKEND_CPU_VEC_AVX2_H
#define BACKEND_CPU_VEC_AVX2_H

#include <immintrin.h>
#include <stdint.h>

enum { VW = 8 };
typedef __m256 vf;
typedef __m256 vm; /* all bits of a lane, or none */
#define VEC static inline __attribute__((always_inline))

/* One word, one line. */
/* clang-format off */
VEC vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
VEC void vf_store(float *p, vf x) { _mm256_storeu_ps(p, x); }
VEC vf vf_set(float x) { return _mm256_set1_ps(x); }
VEC vf vf_zero(void) { return _mm256_setzero_ps(); }
VEC vf vf_iota(void) { return _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7); }
VEC __m256i vec_first(int n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
/* the first n lanes, 0 < n <= VW; the others are 0 and are not touched */
VEC vf vf_load_n(const float *p, int n) { return _mm256_maskload_ps(p, vec_first(n)); }
VEC void vf_store_n(float *p, vf x, int n) { _mm256_maskstore_ps(p, vec_first(n), x); }

VEC vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
VEC vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
VEC vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
VEC vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
VEC vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }   /* a * b + c */
VEC vf vf_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); } /* c - a * b */
VEC vf vf_fms(vf a, vf b, vf c) { return _mm256_fmsub_ps(a, b, c); }   /* a * b - c */
VEC vf vf_max(vf x, vf y) { return _mm256_max_ps(x, y); }
VEC vf vf_min(vf x, vf y) { return _mm256_min_ps(x, y); }
VEC vf vf_round(vf x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
VEC vf vf_abs(vf x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
VEC vf vf_sign_of(vf magnitude, vf sign)
{
    return _mm256_blendv_ps(magnitude, _mm256_or_ps(magnitude, _mm256_set1_ps(-0.0f)), sign); /* magnitude >= 0 */
}
VEC vf vf_scale2(vf x, vf n) /* x * 2^n, n whole, -126 <= n <= 127 */
{
    __m256i e = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(e, 23)));
}
VEC vf vf_raise(vf x, vf n) /* adds the low 9 bits of n's pattern to the exponent of x */
{
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), _mm256_slli_epi32(_mm256_castps_si256(n), 23)));
}

VEC vm vf_ge(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_GE_OQ); }
VEC vm vf_gt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
VEC vm vf_le(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
VEC vm vf_lt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
VEC vm vm_and(vm a, vm b) { return _mm256_and_ps(a, b); }
VEC vm vm_andn(vm a, vm b) { return _mm256_andnot_ps(a, b); } /* b without a */
VEC unsigned vm_bits(vm m) { return (unsigned)_mm256_movemask_ps(m); }
VEC vm vm_from_bits(unsigned bits)
{
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)bits), bit), bit));
}
VEC vf vf_if(vm m, vf yes, vf no) { return _mm256_blendv_ps(no, yes, m); }
VEC vf vf_keep(vm m, vf x) { return _mm256_and_ps(m, x); } /* 0 elsewhere */
VEC vf vf_add_if(vm m, vf sum, vf x) { return _mm256_add_ps(sum, _mm256_and_ps(m, x)); }

/* Across lanes, in a fixed order. */
VEC float vf_sum(vf x)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
VEC float vf_top(vf x)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
VEC double vf_sum64(vf x)
{
    __m256d s = _mm256_add_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(x)), _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)));
    __m128d t = _mm_add_pd(_mm256_castpd256_pd128(s), _mm256_extractf128_pd(s, 1));
    return _mm_cvtsd_f64(_mm_add_sd(t, _mm_unpackhi_pd(t, t)));
}

VEC vf vf_of_f16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)); }
VEC vf vf_of_bf16(const uint16_t *p)
{
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
VEC void vf_to_f16(uint16_t *p, vf x)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}

/* Pairs: evens and odds of 2 * VW floats, and back. */
VEC void vf_load_pairs(const float *p, vf *even, vf *odd)
{
    vf a = vf_load(p), b = vf_load(p + VW);
    vf lo = _mm256_permute2f128_ps(a, b, 0x20), hi = _mm256_permute2f128_ps(a, b, 0x31);
    *even = _mm256_shuffle_ps(lo, hi, 0x88); /* 0 2 | 4 6 of each half lie side by side */
    *odd = _mm256_shuffle_ps(lo, hi, 0xdd);
}
VEC void vf_store_pairs(float *p, vf even, vf odd)
{
    vf lo = _mm256_unpacklo_ps(even, odd), hi = _mm256_unpackhi_ps(even, odd);
    vf_store(p, _mm256_permute2f128_ps(lo, hi, 0x20));
    vf_store(p + VW, _mm256_permute2f128_ps(lo, hi, 0x31));
}

/* clang-format on */

enum {
    SCORE_ROWS = 6,  /* rows of a register tile of q.k ... */
    SCORE_PAGES = 1, /* ... times pages of two vectors: 12 sums */
    VALUE_ROWS = 6,  /* rows of a register tile of p.v ... */
    VALUE_VECS = 2   /* ... times vectors of the head */
};

#endif
