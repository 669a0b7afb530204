/* measure.c - what this very GPU sustains: reading memory, and products in the shapes of Llama-3-8B, with clock and power.
 *
 * Power sets the speed of long products, so each is kept up for a while before it counts, on data like that of a run with
 * dummy weights. Work is queued in batches of some 10 ms, two of them ahead of the host's clock. Thread: the engine's. */
#include <stdio.h>

#include "backend/cuda/cuda.h"

enum { N_SHAPES = 4 };
static const size_t POOL = (size_t)1280 << 20;
static const double WARM_S = 0.25, BATCH_S = 0.03, LOOK_S = 0.15; /* asking for clocks takes milliseconds */
static const int shapes[N_SHAPES][2] = { { 6144, 4096 }, { 4096, 4096 }, { 28672, 4096 }, { 4096, 14336 } };
static const int row_counts[] = { 512, 1024, 4096, 8192 };

typedef struct {
    Device *d;
    char *pool; /* weights, and what is read; in and out: as many as the largest product needs */
    char *in, *out;
    size_t pool_bytes;
    int next;  /* weights are taken in turn, so that caches do not help */
    int shape; /* N_SHAPES: all in turn */
    int rows;
} Bed;

/* ---- one piece of work ---- */

static void *weight_at(Bed *b, size_t bytes)
{
    size_t places = MAX((size_t)1, b->pool_bytes / bytes);
    return b->pool + ((size_t)b->next++ % places) * bytes;
}

static GemmShape shape_of(int rows, int i)
{
    return (GemmShape){
        .rows = rows, .n = shapes[i][0], .k = shapes[i][1], .in_stride = shapes[i][1], .out_stride = shapes[i][0]
    };
}

static void read_once(Bed *b)
{
    launch_read(b->d->stream, b->pool, b->pool_bytes);
}

static void product_once(Bed *b)
{
    for (int i = 0; i < N_SHAPES; i++) {
        if (b->shape != N_SHAPES && b->shape != i) continue;
        size_t bytes = (size_t)shapes[i][0] * (size_t)shapes[i][1] * 2;
        gemm_run(b->d->gemm, b->d->stream, shape_of(b->rows, i), b->out, b->in, weight_at(b, bytes), NULL);
    }
}

static double flop_of(const Bed *b)
{
    double sum = 0;
    for (int i = 0; i < N_SHAPES; i++)
        if (b->shape == N_SHAPES || b->shape == i) sum += 2.0 * b->rows * shapes[i][0] * shapes[i][1];
    return sum;
}

/* ---- keeping it up ---- */

static double once_s(Bed *b, void (*work)(Bed *b))
{
    for (int i = 0; i < 2; i++) work(b);
    cuda_ok(b->d, cudaStreamSynchronize(b->d->stream));
    int64_t began = clock_ns();
    for (int i = 0; i < 4; i++) work(b);
    cuda_ok(b->d, cudaStreamSynchronize(b->d->stream));
    return (double)(clock_ns() - began) / 4e9;
}

typedef struct {
    double joules, mhz, watts; /* energy at the start; sums over n readings */
    double at_s;               /* of the last reading */
    int n;
} Meter;

static void look(Device *d, Meter *m, double now_s)
{
    NvmlNow at = nvml_read(d->nvml);
    if (m->n == 0) m->joules = at.joules;
    m->mhz += at.sm_mhz;
    m->watts += at.watts;
    m->at_s = now_s;
    m->n++;
}

/* Runs `work` for WARM_S and then for at least `least_s`; returns how often a second, and fills in clock and power. */
static double sustain(Bed *b, void (*work)(Bed *b), double least_s, DeviceSpeed *out)
{
    Device *d = b->d;
    Meter meter = { 0 };
    cudaEvent_t done[2] = { NULL, NULL };
    int each = MAX(1, (int)(BATCH_S / once_s(b, work)));
    int64_t began = clock_ns(), n = 0;
    double counted_s = 0;
    for (int i = 0; i < 2; i++) cuda_ok(d, cudaEventCreateWithFlags(&done[i], cudaEventDisableTiming));
    for (int batch = 0; d->error == cudaSuccess; batch++) {
        for (int i = 0; i < each; i++) work(b);
        cuda_ok(d, cudaEventRecord(done[batch % 2], d->stream));
        if (batch == 0) continue;
        cuda_ok(d, cudaEventSynchronize(done[(batch + 1) % 2])); /* now the device has one batch to do */
        double now_s = (double)(clock_ns() - began) / 1e9;
        if (now_s < WARM_S) continue;
        if (counted_s > 0) n += each;
        if (counted_s > 0) out->seconds = now_s - counted_s;
        if (counted_s <= 0) counted_s = now_s;
        bool last = out->seconds >= least_s;
        if (last || meter.n == 0 || now_s - meter.at_s > LOOK_S) look(d, &meter, now_s);
        if (last) break;
    }
    double joules = nvml_read(d->nvml).joules - meter.joules;
    cuda_ok(d, cudaStreamSynchronize(d->stream));
    for (int i = 0; i < 2; i++) cudaEventDestroy(done[i]);
    out->mhz = meter.n ? meter.mhz / meter.n : 0;
    out->watts = joules > 0 && out->seconds > 0 ? joules / out->seconds : meter.n ? meter.watts / meter.n : 0;
    return d->error == cudaSuccess && out->seconds > 0 ? (double)n / out->seconds : 0;
}

static DeviceSpeed measure_read(Bed *b, double least_s)
{
    DeviceSpeed s = { .what = "read memory", .typical = true };
    s.bytes_s = sustain(b, read_once, least_s, &s) * (double)b->pool_bytes;
    return s;
}

static DeviceSpeed measure_product(Bed *b, int rows, int shape, double least_s)
{
    DeviceSpeed s = { .rows = rows, .typical = shape == N_SHAPES };
    if (shape == N_SHAPES)
        snprintf(s.what, sizeof s.what, "products of a layer");
    else
        snprintf(s.what, sizeof s.what, "product %d x %d", shapes[shape][0], shapes[shape][1]);
    b->rows = rows;
    b->shape = shape;
    s.flop_s = sustain(b, product_once, least_s, &s) * flop_of(b);
    return s;
}

/* ---- all of it ---- */

static bool make_bed(Device *d, Bed *b)
{
    int rows = row_counts[COUNT(row_counts) - 1];
    *b = (Bed){ .d = d, .pool_bytes = POOL };
    size_t widest = (size_t)rows * 28672 * 2;
    if (cudaMalloc((void **)&b->pool, POOL) != cudaSuccess || cudaMalloc((void **)&b->in, widest) != cudaSuccess ||
        cudaMalloc((void **)&b->out, widest) != cudaSuccess) {
        cudaGetLastError();
        return false;
    }
    launch_fill(d->stream, b->pool, POOL / 2, 1, 0, false);
    launch_fill(d->stream, b->in, widest / 2, 2, 1, false);
    return cuda_ok(d, cudaStreamSynchronize(d->stream));
}

static void choose_algorithms(Bed *b)
{
    for (size_t r = 0; r < COUNT(row_counts); r++)
        for (int i = 0; i < N_SHAPES; i++) {
            GemmShape s = shape_of(row_counts[r], i);
            size_t bytes = (size_t)s.n * (size_t)s.k * 2;
            const void *w[8];
            for (int k = 0; k < (int)COUNT(w); k++) w[k] = weight_at(b, bytes);
            GemmData data = { .out = b->out, .in = b->in, .w = w, .n_w = (int)COUNT(w) };
            if (!gemm_is_tuned(b->d->gemm, s)) gemm_tune(b->d->gemm, b->d->stream, s, &data, NULL, NULL);
        }
    gemm_save(b->d->gemm);
}

int cuda_measure(Device *d, double least_s, bool brief, DeviceSpeed *out, int max)
{
    Bed b;
    int n = 0;
    if (!d->nvml) d->nvml = nvml_open(d->index);
    if (make_bed(d, &b)) {
        choose_algorithms(&b);
        if (n < max) out[n++] = measure_read(&b, least_s);
        for (size_t r = 0; r < COUNT(row_counts); r++)
            for (int i = brief ? N_SHAPES : 0; i <= N_SHAPES && n < max; i++)
                out[n++] = measure_product(&b, row_counts[r], i, least_s);
    }
    cudaFree(b.pool);
    cudaFree(b.in);
    cudaFree(b.out);
    return d->error == cudaSuccess ? n : 0;
}
