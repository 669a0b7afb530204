/* gemm.h - matrix products of many rows: cuBLASLt, loaded at run time, with a cache of chosen algorithms.
 *
 * out[t][n] = sum_k in[t][k] w[n][k] (+ bias[n]) (+ out[t][n]); bf16 in and w, f32 sums, bf16 or f32 out. */
#ifndef BACKEND_CUDA_GEMM_H
#define BACKEND_CUDA_GEMM_H

#include "backend/cuda/launch.h"
#include "base/base.h"

typedef struct Gemm Gemm;

typedef struct {
    int32_t rows, n, k;
    int32_t in_stride, out_stride;
    int32_t f32, add, bias; /* 0 or 1; no bool, so that shapes can be compared byte for byte */
} GemmShape;

/* gpu: the device's name, a part of the cache file's; cache_dir: "" keeps no file. */
Status gemm_open(const char *gpu, const char *cache_dir, Gemm **out, Err *err);
void gemm_close(Gemm *g); /* NULL is fine */
size_t gemm_workspace_bytes(void);
/* Queues the product; false: the library refuses it. bias: bf16, or f32 with f32 output. */
bool gemm_run(Gemm *g, Stream s, GemmShape shape, void *out, const void *in, const void *w, const void *bias);
bool gemm_is_new(const Gemm *g); /* nothing was ever chosen on this GPU and for this library */
/* Whether this shape has an algorithm that was chosen by timing. */
bool gemm_is_tuned(Gemm *g, GemmShape shape);
/* What a product is timed on: the n_w weights are taken in turn so that caches do not flatter; out is written. */
typedef struct {
    void *out;
    const void *in, *const *w;
    int n_w;
    const void *bias;
    bool (*wanted)(void *ctx); /* NULL, or asked every 10 ms or so: true ends the race without a choice */
    void *ctx;
} GemmData;
/* Times the library's suggestions against each other on the stream, 0.05-0.5 s, and keeps the fastest; other numbers of rows of
 * the same weight take it over until they have been timed themselves. Waits. Returns how many there were; 0: the library refuses
 * the shape. first_us, best_us: NULL, or what the library's first suggestion and the chosen one took. */
int gemm_tune(Gemm *g, Stream s, GemmShape shape, const GemmData *data, double *first_us, double *best_us);
/* Another way to compute this shape takes so long; whether it is the faster one, as far as both have been timed. */
void gemm_note_other(Gemm *g, GemmShape shape, double us);
bool gemm_other_is_faster(Gemm *g, GemmShape shape);
/* Shapes that nobody has timed are planned anew: by neighbours that have been timed since. */
void gemm_replan(Gemm *g);
void gemm_save(Gemm *g); /* writes the cache file if there is something new; failing to is no error */

#endif
