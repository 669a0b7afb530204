/* peak.h - loops that do nothing but arithmetic in registers, or nothing but read: what cores can do at best, for comparison.
 * One table for each instruction set, like simd.h. Thread: any. */
#ifndef BACKEND_CPU_PEAK_H
#define BACKEND_CPU_PEAK_H

#include <stddef.h>

enum { PEAK_SUMS = 12 }; /* independent sums: latency times throughput of a multiplier, and registers are left */

/* Runs `rounds` rounds; room: 64 floats or more to start from and to leave the sums in, so that nothing is left out. */
typedef void (*PeakRun)(long rounds, float *room);

typedef struct {
    PeakRun f32, int8, bf16;                            /* NULL: nothing better than the set below has */
    double f32_ops, int8_ops, bf16_ops;                 /* multiplications and additions of a round */
    void (*read)(const void *p, size_t n, float *room); /* n: a multiple of 1024 */
} Peak;

extern const Peak peak_plain, peak_avx2, peak_avx512, peak_avx512bf16;

#endif
