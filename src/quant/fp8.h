/* fp8.h - the two 8-bit floats of the OCP standard: E4M3 (finite, to 448) and E5M2 (to 57344, with infinity).
 *
 * Both have subnormals. E4M3 has no infinity, and only 0x7f and 0xff are NaN; E5M2 is the upper byte of a half. */
#ifndef QUANT_FP8_H
#define QUANT_FP8_H

#include "quant/f16.h"

QUANT_FN float f8_e5m2_to_f32(uint8_t x)
{
    return f16_to_f32((uint16_t)(x << 8));
}

QUANT_FN float f8_e4m3_to_f32(uint8_t x)
{
    uint32_t sign = (uint32_t)(x & 0x80) << 24, bits = (uint32_t)(x & 0x7f) << 20;
    uint32_t large = bits + (120u << 23); /* the exponent's bias from 7 to 127 */
    /* Subnormal: 2^-6 * (1 + fraction) - 2^-6, both exact. */
    uint32_t small = f32_bits(f32_of_bits(bits + (121u << 23)) - f32_of_bits(121u << 23));
    uint32_t value = bits < (8u << 20) ? small : bits == (0x7fu << 20) ? 0x7fc00000 : large;
    return f32_of_bits(sign | value);
}

#endif
