/* f16.h - IEEE half and bfloat16 to and from float, in integer arithmetic and exact float adds.
 *
 * Read by C, C++ and nvcc alike (like every header of this folder but quant.h), so it uses their common subset.
 * No subnormal float is ever made or read on the way, so the answers stay right on threads that flush subnormals
 * to zero. The compiler turns loops over these into vector code. */
#ifndef QUANT_F16_H
#define QUANT_F16_H

#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define QUANT_FN static __host__ __device__ __forceinline__
#else
#define QUANT_FN static inline
#endif

QUANT_FN float f32_of_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

QUANT_FN uint32_t f32_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

QUANT_FN float bf16_to_f32(uint16_t h)
{
    return f32_of_bits((uint32_t)h << 16);
}

QUANT_FN uint16_t f32_to_bf16(float f) /* to nearest even; NaN stays NaN */
{
    uint32_t u = f32_bits(f);
    if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)((u >> 16) | 64);
    return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

QUANT_FN float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t bits = (uint32_t)(h & 0x7fff) << 13; /* exponent and fraction where a float has them */
    /* Normal: move the exponent's bias from 15 to 127. Infinity and NaN: to the top of a float's range. */
    uint32_t large = bits + (112u << 23) + (uint32_t)(bits >= (0x7c00u << 13)) * (112u << 23);
    /* Subnormal: 2^-14 * (1 + fraction) - 2^-14, both exact. */
    uint32_t small = f32_bits(f32_of_bits(bits + (113u << 23)) - f32_of_bits(113u << 23));
    uint32_t is_small = 0u - (uint32_t)(bits < (0x0400u << 13)); /* a mask: with a branch, loops stay scalar */
    return f32_of_bits(sign | (small & is_small) | (large & ~is_small));
}

QUANT_FN uint16_t f32_to_f16(float f) /* to nearest even; over 65519.99 becomes infinity; NaN stays NaN */
{
    uint32_t u = f32_bits(f), a = u & 0x7fffffff, sign = (u >> 16) & 0x8000;
    /* All three answers, then masks that choose: with branches, loops stay scalar. Below 2^-14 one unit is 2^-24, as it
     * is for floats from 0.5 to 1, so adding 0.5 rounds. */
    uint32_t small = f32_bits(f32_of_bits(a) + 0.5f) - f32_bits(0.5f);
    uint32_t normal = (a + 0xfff + ((a >> 13) & 1) - (112u << 23)) >> 13;
    uint32_t quiet = 0x200 | ((a >> 13) & 0x3ff);
    uint32_t is_small = 0u - (uint32_t)(a < 0x38800000), is_nan = 0u - (uint32_t)(a > 0x7f800000);
    uint32_t is_large = 0u - (uint32_t)(a >= 0x47800000); /* 65536 and more */
    uint32_t h = (small & is_small) | (normal & ~is_small & ~is_large) | (0x7c00 & is_large) | (quiet & is_nan);
    return (uint16_t)(sign | h);
}

#endif
