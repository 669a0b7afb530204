/* q5_0.h - 32 elements in 22 bytes: 5 bits and a scale. value = d * (q - 16).
 *
 * Low four bits as in q4_0; bit i of the little-endian word qh is the fifth bit of element i. */
#ifndef QUANT_Q5_0_H
#define QUANT_Q5_0_H

#include "quant/f16.h"

typedef struct {
    uint16_t d; /* f16 */
    uint8_t qh[4];
    uint8_t qs[16];
} BlockQ5_0;

/* Element i's five bits; q5_1 packs them the same way. */
QUANT_FN int q5_bits(const uint8_t *qh, const uint8_t *qs, int i)
{
    int low = i < 16 ? qs[i] & 15 : qs[i - 16] >> 4;
    return low | ((qh[i >> 3] >> (i & 7)) & 1) << 4;
}

QUANT_FN float q5_0_at(const BlockQ5_0 *b, int i)
{
    return f16_to_f32(b->d) * (float)(q5_bits(b->qh, b->qs, i) - 16);
}

QUANT_FN void q5_0_dequant(const BlockQ5_0 *b, float *out)
{
    float d = f16_to_f32(b->d);
    uint32_t qh;
    memcpy(&qh, b->qh, 4);
    for (int j = 0; j < 16; j++) {
        out[j] = d * (float)((int)((b->qs[j] & 15u) | ((qh >> j) & 1) << 4) - 16);
        out[j + 16] = d * (float)((int)(((uint32_t)b->qs[j] >> 4) | ((qh >> (j + 16)) & 1) << 4) - 16);
    }
}

#endif
