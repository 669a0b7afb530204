/* iq4_xs.h - 256 elements in 136 bytes: the levels of iq4_nl; each 32 share a 6-bit scale. value = (d * (scale - 32)) * level.
 *
 * Of each 32 elements, byte j of 16 holds element j in its low half and j + 16 in its high half. Scale k has its low
 * four bits in a half of scales_l[k / 2] and its high two at bit 2k of the little-endian word scales_h. */
#ifndef QUANT_IQ4_XS_H
#define QUANT_IQ4_XS_H

#include "quant/iq4_nl.h"

typedef struct {
    uint16_t d; /* f16 */
    uint16_t scales_h;
    uint8_t scales_l[4];
    uint8_t qs[128];
} BlockIQ4_XS;

QUANT_FN int iq4_xs_scale(const BlockIQ4_XS *b, int k)
{
    return (((b->scales_l[k >> 1] >> ((k & 1) * 4)) & 15) | ((b->scales_h >> (2 * k)) & 3) << 4) - 32;
}

QUANT_FN float iq4_xs_at(const BlockIQ4_XS *b, int i)
{
    int k = i >> 5;
    int q = (b->qs[k * 16 + (i & 15)] >> (((i >> 4) & 1) * 4)) & 15;
    return f16_to_f32(b->d) * (float)iq4_xs_scale(b, k) * (float)iq4_nl_level(q);
}

QUANT_FN void iq4_xs_dequant(const BlockIQ4_XS *b, float *out)
{
    float d = f16_to_f32(b->d);
    for (int k = 0; k < 8; k++) {
        const uint8_t *qs = b->qs + k * 16;
        float scale = d * (float)iq4_xs_scale(b, k);
        for (int j = 0; j < 16; j++) {
            out[k * 32 + j] = scale * (float)iq4_nl_level(qs[j] & 15);
            out[k * 32 + j + 16] = scale * (float)iq4_nl_level(qs[j] >> 4);
        }
    }
}

#endif
