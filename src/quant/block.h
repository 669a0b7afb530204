/* block.h - one block of any blocked format, for code that works on all of them: copy a block's bytes in, then use
 * the member of its format. C only. */
#ifndef QUANT_BLOCK_H
#define QUANT_BLOCK_H

#include "quant/iq4_nl.h"
#include "quant/iq4_xs.h"
#include "quant/q2_k.h"
#include "quant/q3_k.h"
#include "quant/q4_0.h"
#include "quant/q4_1.h"
#include "quant/q4_k.h"
#include "quant/q5_0.h"
#include "quant/q5_1.h"
#include "quant/q5_k.h"
#include "quant/q6_k.h"
#include "quant/q8_0.h"

typedef union {
    BlockQ4_0 q4_0;
    BlockQ4_1 q4_1;
    BlockQ5_0 q5_0;
    BlockQ5_1 q5_1;
    BlockQ8_0 q8_0;
    BlockQ2_K q2_k;
    BlockQ3_K q3_k;
    BlockQ4_K q4_k;
    BlockQ5_K q5_k;
    BlockQ6_K q6_k;
    BlockIQ4_NL iq4_nl;
    BlockIQ4_XS iq4_xs;
} AnyBlock;

/* formats.def and the structs must not drift apart. */
_Static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22, "block sizes");
_Static_assert(sizeof(BlockQ5_1) == 24 && sizeof(BlockQ8_0) == 34 && sizeof(BlockQ2_K) == 84, "block sizes");
_Static_assert(sizeof(BlockQ3_K) == 110 && sizeof(BlockQ4_K) == 144 && sizeof(BlockQ5_K) == 176, "block sizes");
_Static_assert(sizeof(BlockQ6_K) == 210 && sizeof(BlockIQ4_NL) == 18 && sizeof(BlockIQ4_XS) == 136, "block sizes");

#endif
