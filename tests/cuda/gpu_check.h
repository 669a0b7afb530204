/* gpu_check.h - what the parts of gpu_check share. */
#ifndef TESTS_CUDA_GPU_CHECK_H
#define TESTS_CUDA_GPU_CHECK_H

#include <cuda_runtime_api.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend/cuda/launch.h"
#include "base/base.h"
#include "quant/quant.h"

enum { PAGE_TOKENS = 16 };

extern cudaStream_t stream;
void cu(cudaError_t e, const char *what); /* prints and exits */
#define CU(call) cu((call), #call)
void *dev_alloc(size_t n); /* all NaN */
void *dev_copy(const void *src, size_t n);
void sync(const char *what);

uint64_t next(void);
float uniform(void);
float normal(void);
uint16_t *random_bf16(size_t n, float std);
float *random_f32(size_t n, float mean, float std);
double bf(double x);                          /* rounded to bf16 */
double act_of(int act, double g);             /* GluAct */
double *doubles(const uint16_t *h, size_t n); /* of bf16; the caller frees */
/* Relative distance of a bf16 tensor on the device from a reference; NaN counts as infinitely far. */
double distance(const void *dev, int rows, int cols, int stride, const double *ref);
void report(const char *name, double err, double limit, bool repeats);
double time_ms(void (*run)(void *), void *ctx, double budget); /* of one call, over about `budget` ms, as a graph */

void check_products(void);
void check_draw(void);
void check_steps(void);
void check_small(void);
void check_thin(void);
void bench_products(double read_ceiling);
void bench_rows(double read_ceiling);
void bench_draw(void);
void bench_small(double read_ceiling);
void bench_thin(double read_ceiling);
void bench_steps(double read_ceiling);

#endif
