/* upload.c - weights onto the device: bf16 whatever they were.
 *
 * 16-bit floats go as they are, everything else through f32 on the host, by way of two pinned buffers so that conversion and copy
 * overlap; a few threads convert. Vectors are kept in f32 and in bf16. Buffers and threads live from the first weight that has
 * data until warming up. Thread: the engine's. */
#include "backend/cuda/cuda.h"
#include "base/workers.h"

enum { UPLOAD_BYTES = 32 << 20, THREADS = 8, ROWS_EACH = 16 };

struct Upload {
    Pool *pool;
    char *pinned[2];
    cudaEvent_t done[2];
    int now;
};

static Status open_upload(Device *d, Err *err)
{
    if (d->upload) return OK;
    Upload *u = d->upload = mem_alloc(sizeof *u);
    u->pool = pool_new(MIN(THREADS, workers_cores()));
    for (int i = 0; i < 2; i++)
        if (cudaMallocHost((void **)&u->pinned[i], UPLOAD_BYTES) != cudaSuccess ||
            cudaEventCreate(&u->done[i]) != cudaSuccess)
            return fail(err, E_DEVICE, "no pinned host memory: %s", cudaGetErrorString(cudaGetLastError()));
    return OK;
}

void cuda_upload_close(Device *d)
{
    Upload *u = d->upload;
    if (!u) return;
    cuda_ok(d, cudaStreamSynchronize(d->stream));
    for (int i = 0; i < 2; i++) {
        if (u->pinned[i]) cudaFreeHost(u->pinned[i]);
        if (u->done[i]) cudaEventDestroy(u->done[i]);
    }
    pool_free(u->pool);
    mem_free(u);
    d->upload = NULL;
}

/* The next buffer, free to be written. */
static char *take(Device *d)
{
    Upload *u = d->upload;
    u->now ^= 1;
    cuda_ok(d, cudaEventSynchronize(u->done[u->now]));
    return u->pinned[u->now];
}

static void put(Device *d, void *dst, size_t n)
{
    Upload *u = d->upload;
    cuda_ok(d, cudaMemcpyAsync(dst, u->pinned[u->now], n, cudaMemcpyHostToDevice, d->stream));
    cuda_ok(d, cudaEventRecord(u->done[u->now], d->stream));
}

/* Where row r of the band lies in its source: the converter to GGUF interleaved the halves of each head. */
static size_t source_row(const WeightBand *b, size_t r)
{
    if (b->rope_heads <= 0) return r;
    size_t head = (size_t)(b->rows / b->rope_heads), in = r % head;
    return r - in + (in < head / 2 ? 2 * in : 2 * (in - head / 2) + 1);
}

static void row_to_bf16(uint16_t *out, const char *src, DType t, size_t n, float *room)
{
    if (t == DT_BF16) {
        memcpy(out, src, 2 * n);
        return;
    }
    quant_to_f32(t, src, room, n);
    for (size_t i = 0; i < n; i++) out[i] = f32_to_bf16(room[i]);
}

/* Rows [from, from + n) of a band on their way to bf16; workers take some each. */
typedef struct {
    Pool *pool;
    const WeightBand *b;
    uint16_t *to;
    size_t from, n, row_bytes;
} Conversion;

static void convert(void *arg, int worker, int n_workers)
{
    Conversion *c = arg;
    size_t cols = (size_t)c->b->cols;
    float *room = c->b->dtype == DT_BF16 ? NULL : mem_alloc_array(cols, sizeof(float));
    int begin, end;
    (void)worker, (void)n_workers;
    while (pool_next(c->pool, 0, (int)c->n, ROWS_EACH, &begin, &end))
        for (size_t i = (size_t)begin; i < (size_t)end; i++)
            row_to_bf16(c->to + i * cols, (const char *)c->b->data + source_row(c->b, c->from + i) * c->row_bytes,
                        c->b->dtype, cols, room);
    mem_free(room);
}

static Status put_band(Device *d, const WeightBand *b, uint16_t *dst, Err *err)
{
    size_t rows = (size_t)b->rows, cols = (size_t)b->cols, row_bytes;
    if (!b->data) {
        launch_fill(d->stream, dst, rows * cols, b->dummy_seed, b->dummy_std, false);
        return OK;
    }
    if (!quant_size(b->dtype, cols, &row_bytes) || 2 * cols > UPLOAD_BYTES)
        return fail(err, E_UNSUPPORTED, "a weight with rows of %d numbers of type %s", b->cols,
                    quant_info(b->dtype)->name);
    TRY(open_upload(d, err));
    size_t each = UPLOAD_BYTES / (2 * cols);
    for (size_t done = 0; done < rows; done += each) {
        Conversion c = { .pool = d->upload->pool, .b = b, .from = done, .n = MIN(each, rows - done) };
        c.to = (uint16_t *)(void *)take(d);
        c.row_bytes = row_bytes;
        pool_share(c.pool, convert, &c);
        put(d, dst + done * cols, 2 * c.n * cols);
    }
    return OK;
}

static Status put_matrix(Device *d, Weight *w, const WeightBand *bands, int n_bands, Err *err)
{
    size_t n = (size_t)w->rows * (size_t)w->cols, at = 0;
    TRY(cuda_alloc(&w->data, 2 * n, "a weight", err));
    d->weight_bytes += 2 * n;
    for (int i = 0; i < n_bands; i++) {
        TRY(put_band(d, &bands[i], (uint16_t *)w->data + at, err));
        at += (size_t)bands[i].rows * (size_t)bands[i].cols;
    }
    return OK;
}

static Status put_vector(Device *d, Weight *w, const WeightBand *bands, int n_bands, Err *err)
{
    size_t n = (size_t)w->rows * (size_t)w->cols, at = 0;
    TRY(cuda_alloc((void **)&w->f32, 4 * n, "a vector", err));
    TRY(cuda_alloc(&w->data, 2 * n, "a vector", err));
    d->weight_bytes += 6 * n;
    if (4 * n > UPLOAD_BYTES) return fail(err, E_LIMIT, "a vector of %zu numbers", n);
    for (int i = 0; i < n_bands; i++) {
        size_t k = (size_t)bands[i].rows * (size_t)bands[i].cols;
        if (bands[i].data) {
            TRY(open_upload(d, err));
            float *f = (float *)(void *)take(d);
            quant_to_f32(bands[i].dtype, bands[i].data, f, k);
            put(d, w->f32 + at, 4 * k);
            uint16_t *h = (uint16_t *)(void *)take(d);
            cuda_ok(d, cudaEventSynchronize(d->upload->done[d->upload->now ^ 1]));
            for (size_t j = 0; j < k; j++) h[j] = f32_to_bf16(f[j]);
            put(d, (uint16_t *)w->data + at, 2 * k);
        } else {
            launch_fill(d->stream, w->f32 + at, k, bands[i].dummy_seed, bands[i].dummy_std, true);
            launch_fill(d->stream, (uint16_t *)w->data + at, k, bands[i].dummy_seed, bands[i].dummy_std, false);
        }
        at += k;
    }
    return OK;
}

Status cuda_upload(Device *d, WeightUse use, const WeightBand *bands, int n_bands, Weight **out, Err *err)
{
    Weight *w = mem_alloc(sizeof *w);
    w->next = d->weights;
    d->weights = w;
    w->cols = bands[0].cols;
    for (int i = 0; i < n_bands; i++) w->rows += bands[i].rows;
    *out = w;
    TRY(use == WEIGHT_VECTOR ? put_vector(d, w, bands, n_bands, err) : put_matrix(d, w, bands, n_bands, err));
    return d->error == cudaSuccess ? OK
                                   : fail(err, E_DEVICE, "a weight did not arrive: %s", cudaGetErrorString(d->error));
}

void cuda_upload_plan(const Device *d, WeightUse use, const WeightBand *bands, int n_bands, WeightPlan *out)
{
    size_t n = 0;
    (void)d;
    for (int i = 0; i < n_bands; i++) n += (size_t)bands[i].rows * (size_t)bands[i].cols;
    *out = (WeightPlan){ .bytes = n * (use == WEIGHT_VECTOR ? 6 : 2) };
}
