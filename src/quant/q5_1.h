/* q5_1.h - 32 elements in 24 bytes: 5 bits, a scale and a minimum. value = d * q + m.
 *
 * Bits are packed as in q5_0. */
#ifndef QUANT_Q5_1_H
#define QUANT_Q5_1_H

#include "quant/q5_0.h"

typedef struct {
    uint16_t d, m; /* f16 */
    uint8_t qh[4];
    uint8_t qs[16];
} BlockQ5_1;

QUANT_FN float q5_1_at(const BlockQ5_1 *b, int i)
{
    return f16_to_f32(b->d) * (float)q5_bits(b->qh, b->qs, i) + f16_to_f32(b->m);
}

QUANT_FN void q5_1_dequant(const BlockQ5_1 *b, float *out)
{
    float d = f16_to_f32(b->d), m = f16_to_f32(b->m);
    uint32_t qh;
    memcpy(&qh, b->qh, 4);
    for (int j = 0; j < 16; j++) {
        out[j] = d * (float)((b->qs[j] & 15u) | ((qh >> j) & 1) << 4) + m;
        out[j + 16] = d * (float)(((uint32_t)b->qs[j] >> 4) | ((qh >> (j + 16)) & 1) << 4) + m;
    }
}

#endif
