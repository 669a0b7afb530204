/* quant.h - what a number format is: its name, block shape, and the value of each element.
 *
 * A format's own header (q4_0.h ...) holds its block struct and an inline NAME_at(block, i), compiled by
 * the C compiler and by nvcc alike. Everything here is pure arithmetic: any thread, no allocation. */
#ifndef QUANT_QUANT_H
#define QUANT_QUANT_H

#include "base/base.h"
#include "quant/f16.h"

/* The order is ours; formats.def gives name, ggml type id, elements and bytes of a block. */
typedef enum {
#define FORMAT(id, name, ggml, elems, bytes) DT_##id,
#include "quant/formats.def"
#undef FORMAT
    DT_COUNT,
    DT_NONE = 255
} DType;

typedef struct {
    const char *name; /* "Q4_1" as GGUF tools print it; "F32", "BF16" ... */
    int ggml;         /* GGUF type id, -1: none */
    int block_elems;  /* 1 for plain numbers */
    int block_bytes;
} DTypeInfo;

const DTypeInfo *quant_info(DType t);    /* t < DT_COUNT */
DType quant_of_ggml(uint32_t ggml_type); /* DT_NONE: not a type we read */
DType quant_of_name(Str name);           /* GGUF or safetensors spelling ("F8_E4M3", "I32"), any case */
/* Bytes of n elements; false when n is no multiple of the block or the size overflows. */
bool quant_size(DType t, size_t n, size_t *bytes);
bool quant_can_dequant(DType t);
/* out[0..n) = values of n elements, bit for bit what the gguf Python package gives. n a multiple of the block. */
void quant_to_f32(DType t, const void *src, float *out, size_t n);
/* The other way, for tests, dummy weights and requantising. F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0 and Q5_1 round as ggml's
 * reference quantisers do; the 256-element formats and IQ4_NL get a simple fit. False: no quantiser (integers, F8, F64). */
bool quant_from_f32(DType t, const float *src, void *out, size_t n);

/* f16_to_f32, f32_to_f16, bf16_to_f32, f32_to_bf16 are inline in f16.h. */

#endif
