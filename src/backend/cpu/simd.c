/* simd.c - the plain table, and which table belongs to which instruction set. */
#include "backend/cpu/simd.h"

const Simd simd_plain = {
    .name = "plain",
    .norm = plain_norm,
    .add = plain_add,
    .scale = plain_scale,
    .softcap = plain_softcap,
    .rope = plain_rope,
    .glu = plain_glu,
    .quantize = plain_quantize,
    .kv_store = plain_kv_store,
    .attend = plain_attend,
    .argmax = plain_argmax,
    .find_above = plain_find_above,
    .sum_exp = plain_sum_exp,
    .clean = plain_clean,
    .lane_max = plain_lane_max,
    .weigh = plain_weigh,
    .tally = plain_tally,
    .collect = plain_collect,
    .sift = plain_sift,
};

static const Simd *const tables[ISA_COUNT] = {
    [ISA_PLAIN] = &simd_plain,
#if RADISH_X86
    [ISA_AVX2] = &simd_avx2,
    [ISA_AVX512] = &simd_avx512,
#endif
};

const Simd *simd_find(CpuIsa isa)
{
    return tables[isa] ? tables[isa] : &simd_plain;
}
