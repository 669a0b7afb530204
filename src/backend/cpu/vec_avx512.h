/* vec_avx512.h - the words in which the vector loops (*_vec.h) are written, for AVX-512. See vec_avx2.h for the other tongue.
 *
 * vf is a vector of VW floats, vm a lane mask. vf_max(x, y) and vf_min(x, y) return y where x is NaN. */
#ifndef BACKEND_CPU_VEC_AVX512_H
#define BACKEND_CPU_VEC_AVX512_H

#include <immintrin.h>
#include <stdint.h>

enum { VW = 16 };
typedef __m512 vf;
typedef __mmask16 vm;
#define VEC static inline __attribute__((always_inline))

/* One word, one line. */
/* clang-format off */
VEC vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
VEC void vf_store(float *p, vf x) { _mm512_storeu_ps(p, x); }
VEC vf vf_set(float x) { return _mm512_set1_ps(x); }
VEC vf vf_zero(void) { return _mm512_setzero_ps(); }
VEC vf vf_iota(void) { return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
/* the first n lanes, 0 < n <= VW; the others are 0 and are not touched */
VEC vf vf_load_n(const float *p, int n) { return _mm512_maskz_loadu_ps((vm)((1u << n) - 1), p); }
VEC void vf_store_n(float *p, vf x, int n) { _mm512_mask_storeu_ps(p, (vm)((1u << n) - 1), x); }

VEC vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
VEC vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
VEC vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
VEC vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
VEC vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }   /* a * b + c */
VEC vf vf_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); } /* c - a * b */
VEC vf vf_fms(vf a, vf b, vf c) { return _mm512_fmsub_ps(a, b, c); }   /* a * b - c */
VEC vf vf_max(vf x, vf y) { return _mm512_max_ps(x, y); }
VEC vf vf_min(vf x, vf y) { return _mm512_min_ps(x, y); }
VEC vf vf_round(vf x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
VEC vf vf_abs(vf x) { return _mm512_abs_ps(x); }
VEC vf vf_sign_of(vf magnitude, vf sign)
{
    const __m512i bit = _mm512_set1_epi32(INT32_MIN);
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(bit, _mm512_castps_si512(sign), _mm512_castps_si512(magnitude), 0xca));
}
VEC vf vf_scale2(vf x, vf n) { return _mm512_scalef_ps(x, n); } /* x * 2^n, n whole, -126 <= n <= 127 */
VEC vf vf_raise(vf x, vf n) /* adds the low 9 bits of n's pattern to the exponent of x */
{
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), _mm512_slli_epi32(_mm512_castps_si512(n), 23)));
}

VEC vm vf_ge(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
VEC vm vf_gt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
VEC vm vf_le(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
VEC vm vf_lt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
VEC vm vm_and(vm a, vm b) { return (vm)(a & b); }
VEC vm vm_andn(vm a, vm b) { return _kandn_mask16(a, b); } /* b without a */
VEC unsigned vm_bits(vm m) { return m; }
VEC vm vm_from_bits(unsigned bits) { return (vm)bits; }
VEC vf vf_if(vm m, vf yes, vf no) { return _mm512_mask_blend_ps(m, no, yes); }
VEC vf vf_keep(vm m, vf x) { return _mm512_maskz_mov_ps(m, x); } /* 0 elsewhere */
VEC vf vf_add_if(vm m, vf sum, vf x) { return _mm512_mask_add_ps(sum, m, sum, x); }

/* Across lanes, in a fixed order. */
VEC float vf_sum(vf x) { return _mm512_reduce_add_ps(x); }
VEC float vf_top(vf x) { return _mm512_reduce_max_ps(x); }
VEC double vf_sum64(vf x)
{
    __m512d lo = _mm512_cvtps_pd(_mm512_castps512_ps256(x));
    __m512d hi = _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
    return _mm512_reduce_add_pd(_mm512_add_pd(lo, hi));
}

VEC vf vf_of_f16(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p)); }
VEC vf vf_of_bf16(const uint16_t *p)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
VEC void vf_to_f16(uint16_t *p, vf x)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

/* Pairs: evens and odds of 2 * VW floats, and back. */
VEC void vf_load_pairs(const float *p, vf *even, vf *odd)
{
    const __m512i e = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    vf a = vf_load(p), b = vf_load(p + VW);
    *even = _mm512_permutex2var_ps(a, e, b);
    *odd = _mm512_permutex2var_ps(a, _mm512_add_epi32(e, _mm512_set1_epi32(1)), b);
}
VEC void vf_store_pairs(float *p, vf even, vf odd)
{
    const __m512i lo = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    vf_store(p, _mm512_permutex2var_ps(even, lo, odd));
    vf_store(p + VW, _mm512_permutex2var_ps(even, _mm512_add_epi32(lo, _mm512_set1_epi32(8)), odd));
}

/* clang-format on */

enum {
    SCORE_ROWS = 12, /* rows of a register tile of q.k ... */
    SCORE_PAGES = 2, /* ... times pages: 24 sums */
    VALUE_ROWS = 6,  /* rows of a register tile of p.v ... */
    VALUE_VECS = 4   /* ... times vectors of the head */
};

#endif
