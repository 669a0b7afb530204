/* q6_k.h - 256 elements in 210 bytes: 6 bits; each 16 share an 8-bit scale. value = (d * scale) * (q - 32).
 *
 * In each half of 128 elements: byte l of 64 has the low four bits of elements l (low half) and l + 64 (high half); byte
 * l of 32 has the high two bits of elements l, l + 32, l + 64 and l + 96, lowest first. */
#ifndef QUANT_Q6_K_H
#define QUANT_Q6_K_H

#include "quant/f16.h"

typedef struct {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    uint16_t d; /* f16 */
} BlockQ6_K;

QUANT_FN float q6_k_at(const BlockQ6_K *b, int i)
{
    int h = i >> 7, r = i & 127;
    int q = (b->ql[h * 64 + (r & 63)] >> ((r >> 6) * 4)) & 15;
    q |= ((b->qh[h * 32 + (r & 31)] >> ((r >> 5) * 2)) & 3) << 4;
    return f16_to_f32(b->d) * (float)b->scales[i >> 4] * (float)(q - 32);
}

QUANT_FN void q6_k_dequant(const BlockQ6_K *b, float *out)
{
    float d = f16_to_f32(b->d);
    for (int k = 0; k < 16; k++) { /* runs of 16 that share a scale */
        int h = k >> 3, r = (k & 7) * 16;
        const uint8_t *ql = b->ql + h * 64 + (r & 63), *qh = b->qh + h * 32 + (r & 31);
        int low = (r >> 6) * 4, high = (r >> 5) * 2;
        float scale = d * (float)b->scales[k];
        for (int j = 0; j < 16; j++) {
            int q = ((ql[j] >> low) & 15) | ((qh[j] >> high) & 3) << 4;
            out[k * 16 + j] = scale * (float)(q - 32);
        }
    }
}

#endif
