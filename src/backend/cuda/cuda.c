/* cuda.c - the table of the cuda backend, and its boot: devices, weights, tensors, pages.
 *
 * The driver is found by the statically linked runtime when a device is asked for; without one count() is 0 and nothing
 * else is ever called.
 * Thread: the engine's. */
#include "backend/cuda/cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

bool cuda_ok(Device *d, cudaError_t e)
{
    if (e != cudaSuccess && d->error == cudaSuccess) d->error = e;
    return d->error == cudaSuccess;
}

Status cuda_alloc(void **out, size_t n, const char *what, Err *err)
{
    cudaError_t e = cudaMalloc(out, n ? n : 1);
    if (e == cudaSuccess) return OK;
    size_t free_now = 0, all = 0;
    cudaGetLastError();
    cudaMemGetInfo(&free_now, &all);
    return fail(err, E_LIMIT, "GPU memory: %zu MB for %s do not fit, %zu of %zu MB are free", n >> 20, what,
                free_now >> 20, all >> 20);
}

/* Sizes that passes are rounded up to: few, so that graphs and chosen algorithms are few; fine, so that little is wasted. From
 * 512 on products come in waves over all SMs, and 576 rows take as long as 640. */
int cuda_pad(int rows)
{
    int step = rows <= 4 ? 1 : rows <= 16 ? 4 : rows <= 64 ? 16 : rows <= 256 ? 32 : rows <= 512 ? 64 : 128;
    int padded = (rows + step - 1) / step * step;
    return padded == 3 ? 4 : padded;
}

int cuda_pad_next(int rows)
{
    return cuda_pad(rows + 1);
}

/* ---- devices ---- */

static int count_devices(void)
{
    int n = 0;
    return cudaGetDeviceCount(&n) == cudaSuccess ? n : 0;
}

/* Where chosen algorithms are remembered; made if it is not there. "": nowhere. */
static const char *cache_dir(Arena *a)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if ((!base || !base[0]) && home && home[0]) base = arena_printf(a, "%s/.cache", home).p;
    if (!base || !base[0]) return "";
    const char *dir = arena_printf(a, "%s/radish", base).p;
    mkdir(base, 0700);
    mkdir(dir, 0700);
    return dir;
}

static void close_device(Device *d)
{
    if (!d) return;
    if (d->stream) cudaStreamSynchronize(d->stream);
    cuda_step_free(d);
    cuda_sample_free(d);
    cuda_upload_close(d);
    cuda_profile_close(d);
    nvml_close(d->nvml);
    for (Weight *w = d->weights, *next; w; w = next) {
        next = w->next;
        cudaFree(w->data);
        cudaFree(w->f32);
        mem_free(w);
    }
    for (KvCache *k = d->kvs, *next; k; k = next) {
        next = k->next;
        cudaFree(k->data);
        mem_free(k);
    }
    for (int i = 0; i < d->n_tensors; i++) cudaFree(d->tensors[i]);
    for (int i = 0; i < d->n_rope; i++) cudaFree(d->rope[i].table);
    gemm_close(d->gemm);
    if (d->stream) cudaStreamDestroy(d->stream);
    mem_free(d->tensors);
    arena_free(d->arena);
    mem_free(d);
}

static Status start(Device *d, const DeviceOptions *o, Err *err)
{
    struct cudaDeviceProp p;
    int n = count_devices();
    if (n == 0) return fail(err, E_NOT_FOUND, "no GPU: there is none, or no NVIDIA driver");
    if (o->index < 0 || o->index >= n) return fail(err, E_INVALID, "GPU %d: there are %d", o->index, n);
    d->index = o->index;
    if (cudaGetDeviceProperties(&p, d->index) != cudaSuccess || cudaSetDevice(d->index) != cudaSuccess)
        return fail(err, E_DEVICE, "GPU %d does not answer: %s", d->index, cudaGetErrorString(cudaGetLastError()));
    snprintf(d->name, sizeof d->name, "%.60s", p.name);
    if (p.major < 8)
        return fail(err, E_UNSUPPORTED, "%s has compute capability %d.%d: 8.0 or newer is needed", d->name, p.major,
                    p.minor);
    d->n_sm = p.multiProcessorCount;
    d->flows = p.major == 9;
    if (cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking) != cudaSuccess)
        return fail(err, E_DEVICE, "%s: no stream: %s", d->name, cudaGetErrorString(cudaGetLastError()));
    TRY(cuda_alloc((void **)&d->arrived, sizeof(uint32_t) * ATTEND_MAX_CTA, "attention", err));
    cuda_ok(d, cudaMemsetAsync(d->arrived, 0, sizeof(uint32_t) * ATTEND_MAX_CTA, d->stream));
    TRY(cuda_sample_open(d, err));
    if (o->profile) {
        d->nvml = nvml_open(d->index);
        if (!cuda_profile_open(d))
            return fail(err, E_DEVICE, "%s: no events: %s", d->name, cudaGetErrorString(d->error));
    }
    return gemm_open(d->name, cache_dir(d->arena), &d->gemm, err);
}

static Status open_device(const DeviceOptions *o, Device **out, Err *err)
{
    Device *d = mem_alloc(sizeof *d);
    d->arena = arena_new(0);
    d->commands = ARENA_NEW(d->arena, Command, COMMANDS_MAX);
    Status st = start(d, o, err);
    if (st != OK) {
        close_device(d);
        d = NULL;
    }
    *out = d;
    return st;
}

static void info(Device *d, DeviceInfo *out)
{
    cudaMemGetInfo(&out->memory_free, &out->memory_total);
    snprintf(out->name, sizeof out->name, "%s, %d SMs", d->name, d->n_sm);
}

static bool supports(const Device *d, DType t)
{
    (void)d;
    return quant_can_dequant(t);
}

/* ---- weights: upload.c ---- */

static size_t weight_bytes(const Device *d)
{
    return d->weight_bytes;
}

/* ---- tensors, pages, rope ---- */

static Status make_tensor(Device *d, int max_rows, int cols, DType dtype, Tensor *out, Err *err)
{
    int stride = (cols + 7) / 8 * 8;
    size_t n = (size_t)cuda_pad(max_rows) * (size_t)stride * (dtype == DT_F32 ? 4 : 2);
    if (dtype != DT_F32 && dtype != DT_BF16) return fail(err, E_UNSUPPORTED, "cuda has f32 and bf16 tensors only");
    *out = (Tensor){ .rows = max_rows, .cols = cols, .stride = stride, .dtype = dtype };
    TRY(cuda_alloc(&out->p, n, "activations", err));
    cuda_ok(d, cudaMemsetAsync(out->p, 0, n, d->stream));
    if (d->n_tensors == d->cap_tensors) {
        d->cap_tensors = MAX(32, 2 * d->cap_tensors);
        d->tensors = mem_grow(d->tensors, sizeof(void *) * (size_t)d->cap_tensors);
    }
    d->tensors[d->n_tensors++] = out->p;
    return OK;
}

static size_t layer_page_bytes(KvShape s)
{
    return (size_t)s.n_kv_head * (size_t)attend_kv_dim(s.head_dim) * 2 * 2 * PAGE_TOKENS;
}

static size_t kv_page_bytes(const Device *d, KvShape s)
{
    (void)d;
    return (size_t)s.n_layer * layer_page_bytes(s);
}

static Status make_kv(Device *d, KvShape s, KvCache **out, Err *err)
{
    if (s.dtype != DT_NONE && s.dtype != DT_BF16)
        return fail(err, E_UNSUPPORTED, "cuda keeps keys and values in bf16 only");
    if (!attend_kv_dim(s.head_dim) || s.head_dim % 2)
        return fail(err, E_UNSUPPORTED, "a head size of %d: cuda needs an even one, up to 256", s.head_dim);
    KvCache *k = mem_alloc(sizeof *k);
    k->next = d->kvs;
    d->kvs = k;
    k->shape = s;
    k->dim = attend_kv_dim(s.head_dim);
    k->layer_bytes = (size_t)s.n_pages * layer_page_bytes(s);
    TRY(cuda_alloc((void **)&k->data, k->layer_bytes * (size_t)s.n_layer, "KV pages", err));
    cuda_ok(d, cudaMemsetAsync(k->data, 0, k->layer_bytes * (size_t)s.n_layer, d->stream));
    *out = k;
    return OK;
}

static Status make_rope(Device *d, const RopeTable *t, int max_pos, int *handle, Err *err)
{
    if (d->n_rope == (int)COUNT(d->rope)) return fail(err, E_LIMIT, "more than %d rope tables", d->n_rope);
    Rope *r = &d->rope[d->n_rope];
    size_t n = (size_t)(t->rot_dim / 2);
    float *freq;
    *r = (Rope){ .rot_dim = t->rot_dim, .interleaved = t->interleaved };
    TRY(cuda_alloc((void **)&r->table, sizeof(float) * 2 * n * (size_t)max_pos, "a rope table", err));
    *handle = d->n_rope++;
    TRY(cuda_alloc((void **)&freq, sizeof(float) * n, "a rope table", err));
    cuda_ok(d, cudaMemcpy(freq, t->inv_freq, sizeof(float) * n, cudaMemcpyHostToDevice));
    launch_rope_table(d->stream, r->table, freq, (int)n, max_pos, t->mscale);
    cuda_ok(d, cudaStreamSynchronize(d->stream));
    cudaFree(freq);
    return d->error == cudaSuccess ? OK : fail(err, E_DEVICE, "a rope table: %s", cudaGetErrorString(d->error));
}

/* ---- back to the host ---- */

static void download(Device *d, void *dst, Tensor src)
{
    size_t rows = (size_t)src.rows, cols = (size_t)src.cols, size = src.dtype == DT_F32 ? 4 : 2;
    float *out = dst;
    cuda_flush(d);
    if (src.dtype == DT_F32) {
        cuda_ok(d, cudaStreamSynchronize(d->stream));
        cuda_ok(d, cudaMemcpy2D(out, cols * 4, src.p, (size_t)src.stride * 4, cols * 4, rows, cudaMemcpyDeviceToHost));
        return;
    }
    uint16_t *h = mem_alloc_array(rows * cols, size);
    cuda_ok(d, cudaStreamSynchronize(d->stream));
    cuda_ok(d, cudaMemcpy2D(h, cols * 2, src.p, (size_t)src.stride * 2, cols * 2, rows, cudaMemcpyDeviceToHost));
    for (size_t i = 0; i < rows * cols; i++) out[i] = bf16_to_f32(h[i]);
    mem_free(h);
}

extern const BackendOps backend_cuda;
const BackendOps backend_cuda = {
    .name = "cuda",
    .act = DT_BF16,
    .queues = true,
    .count = count_devices,
    .open = open_device,
    .close = close_device,
    .info = info,
    .supports = supports,
    .weight = cuda_upload,
    .weight_plan = cuda_upload_plan,
    .tensor = make_tensor,
    .kv_cache = make_kv,
    .kv_page_bytes = kv_page_bytes,
    .rope_table = make_rope,
    .weight_bytes = weight_bytes,
    .forward_begin = cuda_forward_begin,
    .embed = cuda_embed,
    .norm = cuda_norm,
    .add_norm = cuda_add_norm,
    .add = cuda_add,
    .linear = cuda_linear,
    .head_norm = cuda_head_norm,
    .rope = cuda_rope,
    .kv_store = cuda_kv_store,
    .attend = cuda_attend,
    .glu = cuda_glu,
    .gather = cuda_gather,
    .softcap = cuda_softcap,
    .forward_end = cuda_forward_end,
    .sample = cuda_sample,
    .sample_wait = cuda_sample_wait,
    .download = download,
    .warm_bytes = cuda_warm_bytes,
    .warm_begin = cuda_warm_begin,
    .warm_end = cuda_warm_end,
    .idle = cuda_idle,
    .measure = cuda_measure,
    .profile = cuda_profile,
};
