/* q2_k.h - 256 elements in 84 bytes: 2 bits; each 16 share a 4-bit scale (low half) and a 4-bit minimum (high half).
 *
 * value = (d * scale) * q - dmin * min. In each half of 128 elements, byte l of 32 holds elements l, l + 32, l + 64 and
 * l + 96, lowest bits first. */
#ifndef QUANT_Q2_K_H
#define QUANT_Q2_K_H

#include "quant/f16.h"

typedef struct {
    uint8_t scales[16];
    uint8_t qs[64];
    uint16_t d, dmin; /* f16 */
} BlockQ2_K;

QUANT_FN float q2_k_at(const BlockQ2_K *b, int i)
{
    int q = (b->qs[(i >> 7) * 32 + (i & 31)] >> (((i >> 5) & 3) * 2)) & 3;
    uint8_t s = b->scales[i >> 4];
    return f16_to_f32(b->d) * (float)(s & 15) * (float)q - f16_to_f32(b->dmin) * (float)(s >> 4);
}

QUANT_FN void q2_k_dequant(const BlockQ2_K *b, float *out)
{
    float d = f16_to_f32(b->d), dmin = f16_to_f32(b->dmin);
    for (int k = 0; k < 16; k++) { /* runs of 16 that share a scale */
        const uint8_t *qs = b->qs + (k >> 3) * 32 + (k & 1) * 16;
        float scale = d * (float)(b->scales[k] & 15), min = dmin * (float)(b->scales[k] >> 4);
        int shift = ((k >> 1) & 3) * 2;
        for (int j = 0; j < 16; j++) out[k * 16 + j] = scale * (float)((qs[j] >> shift) & 3) - min;
    }
}

#endif
