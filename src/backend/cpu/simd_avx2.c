/* simd_avx2.c - the vector loops (*_vec.h) in AVX2, as a table. */
#include <float.h>
#include <math.h>

#include "backend/cpu/simd.h"

/* The words first, then what is written in them. */
/* clang-format off */
#include "backend/cpu/vec_avx2.h"
#include "backend/cpu/attend_avx2.h"
#include "backend/cpu/math_vec.h"

#define VEC_WIDE_TILES 0
#include "backend/cpu/attend_vec.h"
#include "backend/cpu/store_vec.h"
#include "backend/cpu/pointwise_vec.h"
#include "backend/cpu/sample_vec.h"

const Simd simd_avx2 = {
    .name = "avx2",
    .norm = vec_norm,
    .add = vec_add,
    .scale = vec_scale,
    .softcap = vec_softcap,
    .rope = vec_rope,
    .glu = vec_glu,
    .quantize = vec_quantize,
    .kv_store = vec_kv_store,
    .attend = vec_attend,
    .argmax = vec_argmax,
    .find_above = vec_find_above,
    .sum_exp = vec_sum_exp,
    .clean = vec_clean,
    .lane_max = vec_lane_max,
    .weigh = vec_weigh,
    .tally = vec_tally,
    .collect = vec_collect,
    .sift = vec_sift,
};
