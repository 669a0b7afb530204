/* q8_0.h - 32 elements in 34 bytes: 8 bits and a scale. value = d * q. */
#ifndef QUANT_Q8_0_H
#define QUANT_Q8_0_H

#include "quant/f16.h"

typedef struct {
    uint16_t d; /* f16 */
    int8_t qs[32];
} BlockQ8_0;

QUANT_FN float q8_0_at(const BlockQ8_0 *b, int i)
{
    return f16_to_f32(b->d) * (float)b->qs[i];
}

QUANT_FN void q8_0_dequant(const BlockQ8_0 *b, float *out)
{
    float d = f16_to_f32(b->d);
    for (int j = 0; j < 32; j++) out[j] = d * (float)b->qs[j];
}

#endif
