/* q4_k.h - 256 elements in 144 bytes: 4 bits; each 32 share a 6-bit scale and a 6-bit minimum.
 *
 * value = (d * scale) * q - dmin * min. Of each 64 elements, byte l of 32 holds element l in its low half and l + 32 in
 * its high half. Of the 12 bytes of scales, the low six bits of bytes 0-3 are scales 0-3 and of bytes 4-7 minima 0-3;
 * scales and minima 4-7 have their low four bits in the halves of bytes 8-11 and their high two at the top of 0-7. */
#ifndef QUANT_Q4_K_H
#define QUANT_Q4_K_H

#include "quant/f16.h"

typedef struct {
    uint16_t d, dmin; /* f16 */
    uint8_t scales[12];
    uint8_t qs[128];
} BlockQ4_K;

/* Scale and minimum of sub-block k, 0-7; q5_k packs them the same way. */
QUANT_FN int q4_k_scale(const uint8_t *s, int k)
{
    return k < 4 ? s[k] & 63 : (s[k + 4] & 15) | (s[k - 4] >> 6) << 4;
}

QUANT_FN int q4_k_min(const uint8_t *s, int k)
{
    return k < 4 ? s[k + 4] & 63 : s[k + 4] >> 4 | (s[k] >> 6) << 4;
}

QUANT_FN float q4_k_at(const BlockQ4_K *b, int i)
{
    int k = i >> 5;
    int q = (b->qs[(i >> 6) * 32 + (i & 31)] >> ((k & 1) * 4)) & 15;
    return f16_to_f32(b->d) * (float)q4_k_scale(b->scales, k) * (float)q -
           f16_to_f32(b->dmin) * (float)q4_k_min(b->scales, k);
}

QUANT_FN void q4_k_dequant(const BlockQ4_K *b, float *out)
{
    float d = f16_to_f32(b->d), dmin = f16_to_f32(b->dmin);
    for (int k = 0; k < 8; k++) {
        const uint8_t *qs = b->qs + (k >> 1) * 32;
        float scale = d * (float)q4_k_scale(b->scales, k), min = dmin * (float)q4_k_min(b->scales, k);
        int shift = (k & 1) * 4;
        for (int j = 0; j < 32; j++) out[k * 32 + j] = scale * (float)((qs[j] >> shift) & 15) - min;
    }
}

#endif
