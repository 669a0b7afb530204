/* choose.c - which algorithm computes a product: timed once on each kind of GPU, then remembered on disk (gemm.c).
 *
 * Passes of warming up bring every shape of product there is. Those that nobody has timed yet are timed at once, or, if nobody
 * is to wait for that, noted; then the library's own choice serves meanwhile, and cuda_idle times one after the other whenever
 * the engine has nothing to do, the shapes of small batches first. It gives way within about 10 ms and begins that shape anew
 * later. When a size of pass is done its graph is stale, and made again the next time it is wanted.
 * Thread: the engine's. */
#include "backend/cuda/cuda.h"
#include "base/log.h"

enum { RACE_WEIGHTS = 32, RACE_MIN = 1 << 22 }; /* RACE_MIN: elements of a weight worth timing */

static bool same_shape(const Weight *a, const Weight *b)
{
    return a->rows == b->rows && a->cols == b->cols;
}

static bool is_unknown(Device *d, const Command *c)
{
    if (c->kind != C_LINEAR || c->i[0] || (size_t)c->w->rows * (size_t)c->w->cols < RACE_MIN) return false;
    return !cuda_flow_takes(d, c) && !gemm_is_tuned(d->gemm, cuda_shape_of(c));
}

/* Microseconds of our own product, over the same weights in turn. */
static double time_gemv(Device *d, const Command *c, const void *const *w, int n_w)
{
    cudaEvent_t from, to;
    float ms = 0;
    CHECK(n_w > 0);
    int n = 3 * MAX(8, n_w);
    Weight some = *c->w;
    Command copy = *c;
    copy.w = &some;
    cudaEventCreate(&from);
    cudaEventCreate(&to);
    for (int round = 0; round < 2; round++) {
        cudaEventRecord(from, d->stream);
        for (int i = 0; i < n; i++) {
            some.data = (void *)(uintptr_t)w[i % n_w];
            cuda_run_gemv(d, &copy);
        }
        cudaEventRecord(to, d->stream);
        cuda_ok(d, cudaEventSynchronize(to));
        cudaEventElapsedTime(&ms, from, to);
    }
    cudaEventDestroy(from);
    cudaEventDestroy(to);
    return (double)ms * 1e3 / n;
}

/* The product's output is scratch until a pass runs again. wanted: NULL, or ends the race without a result. */
static void race(Device *d, const Command *c, bool (*wanted)(void *ctx), void *ctx)
{
    const void *w[RACE_WEIGHTS] = { c->w->data };
    int n = 1;
    for (const Weight *other = d->weights; other && n < RACE_WEIGHTS; other = other->next)
        if (other != c->w && !other->f32 && same_shape(other, c->w)) w[n++] = other->data;
    GemmData data = { .out = c->out.p, .in = c->in.p, .w = w, .n_w = n, .bias = cuda_bias_of(c) };
    data.wanted = wanted;
    data.ctx = ctx;
    gemm_tune(d->gemm, d->stream, cuda_shape_of(c), &data, NULL, NULL);
    if (c->rows <= GEMV_MAX_ROWS && gemm_is_tuned(d->gemm, cuda_shape_of(c)))
        gemm_note_other(d->gemm, cuda_shape_of(c), time_gemv(d, c, w, n));
}

/* Of each shape the first command. */
static void note(Device *d, const Command *c)
{
    GemmShape shape = cuda_shape_of(c);
    if (!d->todo) d->todo = ARENA_NEW(d->arena, Command, TODO_MAX);
    for (int i = 0; i < d->n_todo; i++) {
        GemmShape other = cuda_shape_of(&d->todo[i]);
        if (memcmp(&other, &shape, sizeof shape) == 0) return;
    }
    if (d->n_todo < TODO_MAX) d->todo[d->n_todo++] = *c;
}

void cuda_choose(Device *d)
{
    bool any = false, later = d->choose_until_ns == 0;
    for (int i = 0; i < d->n_commands && (later || clock_ns() < d->choose_until_ns); i++) {
        const Command *c = &d->commands[i];
        if (!is_unknown(d, c)) continue;
        if (later) {
            note(d, c);
            continue;
        }
        if (!any) cuda_run_all(d); /* on nothing but zeros products are faster than on anything else */
        any = true;
        race(d, c, NULL, NULL);
    }
    if (any) gemm_save(d->gemm);
}

/* All products of a size are known. */
static void finish_size(Device *d, int rows)
{
    gemm_save(d->gemm);
    for (int i = 0; i < GRAPHS_MAX; i++)
        if (d->graphs[i].exec && d->graphs[i].rows == rows) d->graphs[i].stale = true;
}

bool cuda_idle(Device *d, bool (*wanted)(void *ctx), void *ctx)
{
    if (d->n_todo == 0 || d->error != cudaSuccess) return false;
    Command c = d->todo[d->n_todo - 1];
    race(d, &c, wanted, ctx);
    if (!gemm_is_tuned(d->gemm, cuda_shape_of(&c)) && wanted(ctx)) return true;
    d->n_todo--;
    if (d->n_todo == 0 || d->todo[d->n_todo - 1].rows != c.rows) finish_size(d, c.rows);
    if (d->n_todo > 0) return true;
    gemm_replan(d->gemm);
    log_info("all algorithms for this GPU are chosen now, and remembered");
    return false;
}
