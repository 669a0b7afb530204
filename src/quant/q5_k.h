/* q5_k.h - 256 elements in 176 bytes: as q4_k, with a fifth bit. value = (d * scale) * q - dmin * min.
 *
 * Bit e / 32 of qh[e % 32] is the fifth bit of element e. */
#ifndef QUANT_Q5_K_H
#define QUANT_Q5_K_H

#include "quant/q4_k.h"

typedef struct {
    uint16_t d, dmin; /* f16 */
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
} BlockQ5_K;

QUANT_FN float q5_k_at(const BlockQ5_K *b, int i)
{
    int k = i >> 5;
    int q = (b->qs[(i >> 6) * 32 + (i & 31)] >> ((k & 1) * 4)) & 15;
    q |= ((b->qh[i & 31] >> k) & 1) << 4;
    return f16_to_f32(b->d) * (float)q4_k_scale(b->scales, k) * (float)q -
           f16_to_f32(b->dmin) * (float)q4_k_min(b->scales, k);
}

QUANT_FN void q5_k_dequant(const BlockQ5_K *b, float *out)
{
    float d = f16_to_f32(b->d), dmin = f16_to_f32(b->dmin);
    for (int k = 0; k < 8; k++) {
        const uint8_t *qs = b->qs + (k >> 1) * 32;
        float scale = d * (float)q4_k_scale(b->scales, k), min = dmin * (float)q4_k_min(b->scales, k);
        int shift = (k & 1) * 4;
        for (int j = 0; j < 32; j++) {
            int q = ((qs[j] >> shift) & 15) | ((b->qh[j] >> k) & 1) << 4;
            out[k * 32 + j] = scale * (float)q - min;
        }
    }
}

#endif
