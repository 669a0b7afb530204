/* device.h - what the backend tests share: opening CPU devices of each instruction set, filling and comparing tensors. */
#ifndef TESTS_BACKEND_DEVICE_H
#define TESTS_BACKEND_DEVICE_H

/* cmocka.h wants these four first, and its fail() must not meet ours. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
/* clang-format on */

static const char *const all_isas[] = { "plain", "avx2", "avx512", "avx512bf16", "amx" };

/* NULL: this machine or build has no such instructions. */
static inline Device *open_cpu(const char *isa, int threads)
{
    const BackendOps *ops = backend_find("cpu");
    Device *d = NULL;
    Err err;
    Status s = ops->open(&(DeviceOptions){ .threads = threads, .isa = isa }, &d, &err);
    if (s == E_UNSUPPORTED) return NULL;
    assert_int_equal(s, OK);
    return d;
}

static inline Tensor new_tensor(Device *d, int rows, int cols)
{
    Tensor t;
    Err err;
    assert_int_equal(backend_find("cpu")->tensor(d, rows, cols, DT_F32, &t, &err), OK);
    return t;
}

static inline float *row_of(Tensor t, int row)
{
    return (float *)t.p + (size_t)row * (size_t)t.stride;
}

/* Between the columns of a row and its stride lies a guard that no op may touch. */
static inline void guard(Tensor t)
{
    for (int r = 0; r < t.rows; r++) {
        for (int c = t.cols; c < t.stride; c++) row_of(t, r)[c] = 12345;
    }
}

static inline void check_guard(Tensor t)
{
    for (int r = 0; r < t.rows; r++) {
        for (int c = t.cols; c < t.stride; c++) assert_true(row_of(t, r)[c] == 12345);
    }
}

static inline void fill_normal(Tensor t, Rng *rng, float std)
{
    for (int r = 0; r < t.rows; r++) {
        for (int c = 0; c < t.cols; c++) row_of(t, r)[c] = std * rng_normal(rng);
    }
    guard(t);
}

static inline const Weight *new_vector(Device *d, const float *v, int n)
{
    Weight *w;
    Err err;
    WeightBand band = { .dtype = DT_F32, .rows = 1, .cols = n, .data = v };
    assert_int_equal(backend_find("cpu")->weight(d, WEIGHT_VECTOR, &band, 1, &w, &err), OK);
    return w;
}

/* want and got differ by at most tol of the row's largest value. */
static inline void check_close(const double *want, const float *got, int n, double tol, const char *what)
{
    double top = 1e-20, worst = 0;
    for (int i = 0; i < n; i++) top = fmax(top, fabs(want[i]));
    for (int i = 0; i < n; i++) {
        double diff = fabs(want[i] - got[i]);
        if (!(diff <= worst)) worst = diff;
    }
    if (!(worst <= tol * top)) print_error("%s: off by %g of %g (n %d)\n", what, worst, top, n);
    assert_true(worst <= tol * top);
}

#endif
