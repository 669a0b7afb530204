/* linear_avx512bf16.c - what BF16 adds to AVX-512: products of pairs of bf16, activations rounded to it. */
/* The words first, then what is written in them. */
/* clang-format off */
#include "backend/cpu/linear_avx512.h"

#define PAIR_ACT_BYTES 4
INLINE vf pair_step(int n, const uint8_t *w, const uint8_t *a, vf acc)
{
    (void)n;
    return _mm512_dpbf16_ps(acc, (__m512bh)vi_load(w), (__m512bh)vi_word(a));
}
#include "backend/cpu/linear_tile.h"
/* clang-format on */

/* Pairs of bf16 of all tokens side by side. */
static void pack_bf16(const ActForm *f, const float *in, size_t in_stride, int n_tok, int cols, uint8_t *out)
{
    (void)f;
    for (int t = 0; t < n_tok; t++) {
        const float *x = in + (size_t)t * in_stride;
        for (int c = 0; c < cols; c += 2 * VW) {
            int low = MIN(cols - c, VW), high = MIN(MAX(cols - c - VW, 0), VW);
            vf a = vf_load_n(x + c, low), b = high ? vf_load_n(x + c + VW, high) : vf_zero();
            __m512bh h = _mm512_cvtne2ps_pbh(b, a);
            uint32_t w[VW];
            memcpy(w, &h, sizeof w);
            uint8_t *at = out + 4 * ((size_t)(c / 2) * (size_t)n_tok + (size_t)t);
            for (int i = 0; i < (low + high + 1) / 2; i++) memcpy(at + 4 * i * n_tok, &w[i], 4);
        }
    }
}

/* clang-format off */
TOKENS(FLOAT_FN, BF16)

const LinearKernels linear_avx512bf16 = {
    .pair_act = ACT_BF16,
    .pack = { [ACT_BF16] = pack_bf16 },
    .tile = { FLOAT_ROW(BF16) }
};
/* clang-format on */
