/* peak.c - plain loops, which the compiler turns into what every machine of its kind has. */
#include "backend/cpu/peak.h"

#include <stdint.h>
#include <string.h>

enum { LANES = 4, WIDE = PEAK_SUMS * LANES };

static void run_f32(long rounds, float *room)
{
    float sum[WIDE], by[LANES] = { room[0], room[1], room[2], room[3] };
    for (int i = 0; i < WIDE; i++) sum[i] = room[i];
    for (long r = 0; r < rounds; r++)
        for (int i = 0; i < WIDE; i++) sum[i] = sum[i] * by[i % LANES] + by[i % LANES];
    for (int i = 0; i < WIDE; i++) room[i] += sum[i];
}

static void read_all(const void *p, size_t n, float *room)
{
    const uint64_t *at = p;
    uint64_t sum[8] = { 0 };
    for (size_t i = 0; i < n / 8; i += 8)
        for (size_t k = 0; k < 8; k++) sum[k] += at[i + k];
    for (int k = 0; k < 8; k++) room[k] += (float)sum[k];
}

const Peak peak_plain = { .f32 = run_f32, .f32_ops = 2 * WIDE, .read = read_all };
