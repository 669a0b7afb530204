/* linear_avx2.c - packing of activations and tile products for AVX2 with FMA and F16C: linear_tile.h in the words of linear_avx2.h. */
/* The words first, then what is written in them. */
/* clang-format off */
#include "backend/cpu/linear_avx2.h"
#include "backend/cpu/linear_tile.h"

#define BLOCK_FNS(...) TOKENS(BLOCK_FN, __VA_ARGS__)
INT8_FORMATS(BLOCK_FNS)
TOKENS(FLOAT_FN, F32)
TOKENS(FLOAT_FN, F16)
TOKENS(FLOAT_FN, BF16)

const LinearKernels linear_avx2 = {
    .pair_act = ACT_F32,
    .slice_bytes = 128 << 10,
    .pack = { [ACT_F32] = pack_f32, [ACT_INT8] = pack_int8 },
    .tile = { FLOAT_ROW(F32) FLOAT_ROW(F16) FLOAT_ROW(BF16) INT8_FORMATS(BLOCK_ROW) }
};
/* clang-format on */
