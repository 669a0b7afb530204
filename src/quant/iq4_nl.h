/* iq4_nl.h - 32 elements in 18 bytes: 4 bits that index a table of 16 levels, dense near zero. value = d * level.
 *
 * Bits are packed as in q4_0. */
#ifndef QUANT_IQ4_NL_H
#define QUANT_IQ4_NL_H

#include "quant/f16.h"

typedef struct {
    uint16_t d; /* f16 */
    uint8_t qs[16];
} BlockIQ4_NL;

/* Level q. The table is local so that host and device code have it alike; compilers make it a constant. */
QUANT_FN int iq4_nl_level(int q)
{
    const int8_t levels[16] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 };
    return levels[q & 15];
}

QUANT_FN float iq4_nl_at(const BlockIQ4_NL *b, int i)
{
    int q = i < 16 ? b->qs[i] & 15 : b->qs[i - 16] >> 4;
    return f16_to_f32(b->d) * (float)iq4_nl_level(q);
}

QUANT_FN void iq4_nl_dequant(const BlockIQ4_NL *b, float *out)
{
    float d = f16_to_f32(b->d);
    for (int j = 0; j < 16; j++) {
        out[j] = d * (float)iq4_nl_level(b->qs[j] & 15);
        out[j + 16] = d * (float)iq4_nl_level(b->qs[j] >> 4);
    }
}

#endif
