/* measure.c - what these cores sustain together: reading memory, and arithmetic that never leaves the registers.
 * Thread: the device's owner; the pool's workers take part. */
#include <stdio.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/peak.h"

enum { ROOM = 64, CHUNK_BYTES = 1 << 20, ANY_ROWS = 1 };
static const size_t READ_BYTES = (size_t)1 << 30; /* several times the last cache */
static const long ROUNDS = 2000;                  /* between two looks at the clock */

static const Peak *const tables[ISA_COUNT] = {
    [ISA_PLAIN] = &peak_plain,
#if RADISH_X86
    [ISA_AVX2] = &peak_avx2,
    [ISA_AVX512] = &peak_avx512,
    [ISA_AVX512BF16] = &peak_avx512bf16,
#endif
};

/* What all workers do at once, until the time is over. */
typedef struct {
    Pool *pool;
    PeakRun run; /* NULL: read */
    void (*read)(const void *p, size_t n, float *room);
    const char *data;
    double seconds;
    int64_t began_ns;
    _Atomic int64_t done; /* rounds, or bytes */
} Work;

static void work(void *arg, int worker, int n_workers)
{
    Work *w = arg;
    float room[ROOM];
    int64_t done = 0, chunks = (int64_t)(READ_BYTES / CHUNK_BYTES);
    for (int i = 0; i < ROOM; i++) room[i] = 1e-3f; /* sums stay small */
    for (int64_t i = worker; (double)(clock_ns() - w->began_ns) / 1e9 < w->seconds; i += n_workers) {
        if (w->run)
            w->run(ROUNDS, room);
        else
            w->read(w->data + (i % chunks) * CHUNK_BYTES, CHUNK_BYTES, room);
        done += w->run ? ROUNDS : CHUNK_BYTES;
    }
    w->done += done;
    DEBUG_CHECK(room[0] + 1 > room[0]);
}

/* Rounds, or bytes, a second. */
static double rate(Device *d, Work *w, double seconds)
{
    w->began_ns = clock_ns();
    w->seconds = seconds;
    w->done = 0;
    pool_run(d->pool, work, w);
    return (double)w->done / ((double)(clock_ns() - w->began_ns) / 1e9);
}

static DeviceSpeed measure_read(Device *d, double seconds, void (*read)(const void *p, size_t n, float *room))
{
    DeviceSpeed s = { .what = "read memory", .typical = true, .seconds = seconds };
    char *data = mem_map(READ_BYTES);
    memset(data, 1, READ_BYTES);
    Work w = { .pool = d->pool, .read = read, .data = data };
    s.bytes_s = rate(d, &w, seconds);
    mem_unmap(data, READ_BYTES);
    return s;
}

static DeviceSpeed measure_run(Device *d, double seconds, const char *what, PeakRun run, double ops)
{
    DeviceSpeed s = { .rows = ANY_ROWS, .seconds = seconds };
    Work w = { .pool = d->pool, .run = run };
    snprintf(s.what, sizeof s.what, "%s arithmetic", what);
    s.flop_s = rate(d, &w, seconds) * ops;
    return s;
}

/* Each kind of arithmetic by the best set that has it; the fastest of them is what limits are computed from. */
int cpu_measure(Device *d, double seconds, bool brief, DeviceSpeed *out, int max)
{
    Peak best = { 0 };
    int n = 0, fastest = 1;
    (void)brief; /* it does not take long */
    for (int i = 0; i <= (int)d->isa; i++) {
        const Peak *p = tables[i];
        if (!p || !linear_isa_ok((CpuIsa)i)) continue;
        if (p->f32) best.f32 = p->f32, best.f32_ops = p->f32_ops;
        if (p->int8) best.int8 = p->int8, best.int8_ops = p->int8_ops;
        if (p->bf16) best.bf16 = p->bf16, best.bf16_ops = p->bf16_ops;
        if (p->read) best.read = p->read;
    }
    if (max < 4) return 0;
    out[n++] = measure_read(d, seconds, best.read);
    out[n++] = measure_run(d, seconds, "f32", best.f32, best.f32_ops);
    if (best.bf16) out[n++] = measure_run(d, seconds, "bf16", best.bf16, best.bf16_ops);
    if (best.int8) out[n++] = measure_run(d, seconds, "int8", best.int8, best.int8_ops);
    for (int i = 1; i < n; i++)
        if (out[i].flop_s > out[fastest].flop_s) fastest = i;
    out[fastest].typical = true;
    return n;
}
