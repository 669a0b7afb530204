/* warm.c - the end of boot: every size of pass is seen once before anybody waits for one.
 *
 * Buffers get the size that the largest batch needs; a pass of each size runs, whereby its products' algorithms are chosen or
 * noted (the first time on this kind of GPU: choose.c), and runs again, whereby it becomes a graph. Afterwards nothing takes memory any more. Graphs
 * live in the driver's memory: GRAPH_BYTES each is what one of 32 layers was seen to take, with something to spare.
 * Thread: the engine's. */
#include "backend/cuda/cuda.h"

static const size_t GRAPH_BYTES = (size_t)2 << 20, DRIVER_BYTES = (size_t)192 << 20;
static const int64_t CHOOSING_NS = 40000000000; /* then the rest takes what its neighbours took */

/* Passes with prompts in them have any number of rows: what is chosen for these serves the numbers between. */
static const int ladder[] = { 0 /* the most */, 6144, 4096, 3072, 2048, 1792, 1536, 1280 };

/* The largest first: they matter most if choosing runs out of time. */
static void list_sizes(WarmLimits most, WarmPlan *plan)
{
    int rising[WARM_MAX], n = 0, last = cuda_pad(MIN(most.seqs, GRAPH_ROWS_MAX));
    for (int rows = 1; rows <= last && n < WARM_MAX; rows = cuda_pad_next(rows)) rising[n++] = rows;
    plan->n = plan->n_prefill = 0;
    for (int i = n - 1; i >= 0; i--) plan->rows[plan->n++] = MIN(rising[i], most.seqs);
    for (int i = 0; i < (int)COUNT(ladder); i++) {
        int rows = i == 0 ? most.rows : ladder[i];
        if (rows <= most.rows && rows > last) plan->prefill[plan->n_prefill++] = rows;
    }
}

size_t cuda_warm_bytes(const Device *d, WarmLimits most)
{
    WarmPlan plan;
    (void)d;
    list_sizes(most, &plan);
    return cuda_step_bytes(most) + cuda_sample_bytes(most) + (size_t)plan.n * GRAPH_BYTES + DRIVER_BYTES;
}

Status cuda_warm_begin(Device *d, WarmLimits most, WarmPlan *plan, Err *err)
{
    cuda_upload_close(d);
    list_sizes(most, plan);
    plan->choosing = gemm_is_new(d->gemm);
    d->warming = true;
    d->choose_until_ns = most.later ? 0 : clock_ns() + CHOOSING_NS;
    if (cuda_step_reserve(d, most) && cuda_sample_reserve(d, most)) return OK;
    return fail(err, E_LIMIT, "%s: no memory for the arrays of a batch: %s", d->name, cudaGetErrorString(d->error));
}

Status cuda_warm_end(Device *d, Err *err)
{
    d->warming = false;
    d->warmed = true;
    if (cuda_ok(d, cudaStreamSynchronize(d->stream))) return OK;
    return fail(err, E_DEVICE, "%s failed while warming up: %s", d->name, cudaGetErrorString(d->error));
}
