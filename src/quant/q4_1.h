/* q4_1.h - 32 elements in 20 bytes: 4 bits, a scale and a minimum. value = d * q + m.
 *
 * Byte j holds element j in its low half and element j + 16 in its high half. */
#ifndef QUANT_Q4_1_H
#define QUANT_Q4_1_H

#include "quant/f16.h"

typedef struct {
    uint16_t d, m; /* f16 */
    uint8_t qs[16];
} BlockQ4_1;

QUANT_FN float q4_1_at(const BlockQ4_1 *b, int i)
{
    int q = i < 16 ? b->qs[i] & 15 : b->qs[i - 16] >> 4;
    return f16_to_f32(b->d) * (float)q + f16_to_f32(b->m);
}

QUANT_FN void q4_1_dequant(const BlockQ4_1 *b, float *out)
{
    float d = f16_to_f32(b->d), m = f16_to_f32(b->m);
    for (int j = 0; j < 16; j++) {
        out[j] = d * (float)(b->qs[j] & 15) + m;
        out[j + 16] = d * (float)(b->qs[j] >> 4) + m;
    }
}

#endif
