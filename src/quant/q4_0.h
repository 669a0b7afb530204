/* q4_0.h - 32 elements in 18 bytes: 4 bits and a scale. value = d * (q - 8).
 *
 * Byte j holds element j in its low half and element j + 16 in its high half. */
#ifndef QUANT_Q4_0_H
#define QUANT_Q4_0_H

#include "quant/f16.h"

typedef struct {
    uint16_t d; /* f16 */
    uint8_t qs[16];
} BlockQ4_0;

QUANT_FN float q4_0_at(const BlockQ4_0 *b, int i)
{
    int q = i < 16 ? b->qs[i] & 15 : b->qs[i - 16] >> 4;
    return f16_to_f32(b->d) * (float)(q - 8);
}

QUANT_FN void q4_0_dequant(const BlockQ4_0 *b, float *out)
{
    float d = f16_to_f32(b->d);
    for (int j = 0; j < 16; j++) {
        out[j] = d * (float)((b->qs[j] & 15) - 8);
        out[j + 16] = d * (float)((b->qs[j] >> 4) - 8);
    }
}

#endif
