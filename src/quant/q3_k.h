/* q3_k.h - 256 elements in 110 bytes: 3 bits; each 16 share a 6-bit scale. value = (d * (scale - 32)) * q.
 *
 * Low two bits lie as in q2_k. hmask holds the third: bit e / 32 of byte e % 32, where a bit that is NOT set takes 4
 * away. Scale k has its low four bits in byte k % 8 (low half if k < 8) and its high two in byte 8 + k % 4. */
#ifndef QUANT_Q3_K_H
#define QUANT_Q3_K_H

#include "quant/f16.h"

typedef struct {
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t scales[12];
    uint16_t d; /* f16 */
} BlockQ3_K;

QUANT_FN int q3_k_scale(const BlockQ3_K *b, int k)
{
    int low = k < 8 ? b->scales[k] & 15 : b->scales[k - 8] >> 4;
    return (low | ((b->scales[8 + (k & 3)] >> (2 * (k >> 2))) & 3) << 4) - 32;
}

QUANT_FN float q3_k_at(const BlockQ3_K *b, int i)
{
    int q = (b->qs[(i >> 7) * 32 + (i & 31)] >> (((i >> 5) & 3) * 2)) & 3;
    int high = (b->hmask[i & 31] >> (i >> 5)) & 1;
    return f16_to_f32(b->d) * (float)q3_k_scale(b, i >> 4) * (float)(q - 4 + 4 * high);
}

QUANT_FN void q3_k_dequant(const BlockQ3_K *b, float *out)
{
    float d = f16_to_f32(b->d);
    for (int k = 0; k < 16; k++) {
        const uint8_t *qs = b->qs + (k >> 3) * 32 + (k & 1) * 16, *high = b->hmask + (k & 1) * 16;
        float scale = d * (float)q3_k_scale(b, k);
        int shift = ((k >> 1) & 3) * 2, bit = k >> 1;
        for (int j = 0; j < 16; j++) {
            int q = ((qs[j] >> shift) & 3) - 4 + 4 * ((high[j] >> bit) & 1);
            out[k * 16 + j] = scale * (float)q;
        }
    }
}

#endif
