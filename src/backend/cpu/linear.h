/* linear.h - the matrix products of the CPU backend: weights in, out = in . w^T (+ bias).
 *
 * A Weight is a stack of bands (q, k and v, each perhaps of another number format). For the fast instruction sets each
 * band is repacked once, at load, into panels (panel.h): a few output rows side by side, in the order in which the
 * kernel reads them. Then the file's bytes are not needed any more. ISA_PLAIN keeps the file's blocks: it is the
 * definition, dequantising to f32 and summing in f32.
 *
 * The rule that everything here obeys: the result for one row of `in`, bit for bit, depends on that row, the weight and
 * the instruction set alone: not on how many rows the call has, nor on the number of threads.
 *
 * Fast paths round activations: quantised weights take them as int8 with one f32 scale per 32 columns, bf16 weights as bf16
 * where the CPU has products of bf16; else bf16, f16 and f32 weights take them as they are.
 *
 * Thread: the device's owner (the pool's workers help inside a call). */
#ifndef BACKEND_CPU_LINEAR_H
#define BACKEND_CPU_LINEAR_H

#include "backend/backend.h"
#include "base/workers.h"

/* In rising order: a CPU that has one has those before it. */
typedef enum {
    ISA_PLAIN,  /* plain C; the definition */
    ISA_AVX2,   /* avx2, fma, f16c */
    ISA_AVX512, /* avx512 f bw vl dq vnni: Cascade Lake and Ice Lake on */
    ISA_AVX512BF16,
    ISA_AMX, /* amx tile int8 bf16: Sapphire Rapids on */
    ISA_COUNT
} CpuIsa;

const char *linear_isa_name(CpuIsa isa); /* "plain", "avx2" ... */
bool linear_isa_ok(CpuIsa isa);          /* compiled in, and this CPU has it */
CpuIsa linear_isa_best(void);

typedef struct Linear Linear; /* owns the weights, and the room for rounded activations */

/* pool is kept; NULL: everything runs in the calling thread. isa must be linear_isa_ok. */
Linear *linear_new(CpuIsa isa, Pool *pool);
void linear_free(Linear *l); /* with all its weights; NULL is fine */
bool linear_supports(const Linear *l, DType weight);
size_t linear_bytes(const Linear *l); /* resident: weights and room */

/* Repacks the bands (all of the same cols) into memory of l. WEIGHT_VECTOR: bands are laid end to end, as f32.
 * rope_heads turns rows (of a vector: elements) back into Hugging Face's order. Not inside a step: it allocates. */
Status linear_weight(Linear *l, WeightUse use, const WeightBand *bands, int n_bands, Weight **out, Err *err);
void linear_plan(const Linear *l, WeightUse use, const WeightBand *bands, int n_bands, WeightPlan *out); /* of that */
int linear_rows(const Weight *w);            /* of all bands together; of a vector: 1 */
int linear_cols(const Weight *w);            /* of a vector: its length */
const float *linear_vector(const Weight *w); /* a vector's values; a matrix: NULL */
/* out[cols] = row `row` of the matrix, dequantised exactly as quant_to_f32 does. Any thread. */
void linear_embed_row(const Weight *w, int row, float *out);

typedef struct {
    float *out;        /* [n_rows][linear_rows(w)] */
    const float *in;   /* [n_rows][linear_cols(w)] */
    size_t out_stride; /* elements from row to row */
    size_t in_stride;
    int n_rows;
    bool add; /* out += instead of out = */
} LinearIo;

/* out = in . w^T + bias; bias may be NULL, else a vector of linear_rows(w). in and out do not overlap.
 * Allocates nothing. */
void linear_run(Linear *l, const Weight *w, const Weight *bias, const LinearIo *io);

#endif
