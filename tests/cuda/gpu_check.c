/* gpu_check.c - every CUDA kernel against plain loops in double, then their speed against what the GPU can do.
 *
 * A stand-alone program for a bare machine with a GPU: `gpu_check [check|bench|all] [name ...]`. It prints one line a case and
 * a count at the end; exit code 0: all passed, 1: not, 77: no GPU. Pages and outputs are poisoned with NaN first,
 * pages are shuffled, sizes are odd on purpose, and each case runs twice and must repeat bit for bit. */
#include "gpu_check.h"

#include <cuda_runtime_api.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_SEQ = 4096 };

static int n_run, n_failed;

cudaStream_t stream;

void cu(cudaError_t e, const char *what)
{
    if (e == cudaSuccess) return;
    printf("CUDA error %s in %s\n", cudaGetErrorString(e), what);
    exit(1);
}

void *dev_alloc(size_t n)
{
    void *p;
    CU(cudaMalloc(&p, n ? n : 1));
    CU(cudaMemset(p, 0xff, n ? n : 1)); /* NaN in every float format */
    return p;
}

void *dev_copy(const void *src, size_t n)
{
    void *p = dev_alloc(n);
    CU(cudaMemcpy(p, src, n, cudaMemcpyHostToDevice));
    return p;
}

void sync(const char *what)
{
    cu(cudaGetLastError(), what);
    cu(cudaStreamSynchronize(stream), what);
}

static uint64_t seed_now = 1;
uint64_t next(void)
{
    seed_now += 0x9e3779b97f4a7c15u;
    return hash_mix(seed_now);
}
float uniform(void)
{
    return (float)(next() >> 40) * 0x1p-24f;
}
float normal(void)
{
    return sqrtf(-2.f * logf(uniform() + 1e-9f)) * cosf(6.2831853f * uniform());
}

uint16_t *random_bf16(size_t n, float std)
{
    uint16_t *p = malloc(n * 2 + 2);
    for (size_t i = 0; i < n; i++) p[i] = f32_to_bf16(std * normal());
    return p;
}

float *random_f32(size_t n, float mean, float std)
{
    float *p = malloc(n * 4 + 4);
    for (size_t i = 0; i < n; i++) p[i] = mean + std * normal();
    return p;
}

double bf(double x)
{
    return bf16_to_f32(f32_to_bf16((float)x));
}

double act_of(int act, double g)
{
    if (act == 0) return g / (1 + exp(-g));
    return act == 1 ? 0.5 * g * (1 + tanh(0.7978845608028654 * (g + 0.044715 * g * g * g)))
                    : 0.5 * g * (1 + erf(g * 0.7071067811865476));
}

double *doubles(const uint16_t *h, size_t n)
{
    double *d = malloc(n * sizeof(double));
    for (size_t i = 0; i < n; i++) d[i] = bf16_to_f32(h[i]);
    return d;
}

/* Relative distance of a bf16 tensor on the device from a reference; NaN counts as infinitely far. */
double distance(const void *dev, int rows, int cols, int stride, const double *ref)
{
    uint16_t *h = malloc((size_t)rows * (size_t)stride * 2);
    CU(cudaMemcpy(h, dev, (size_t)rows * (size_t)stride * 2, cudaMemcpyDeviceToHost));
    double num = 0, den = 0;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) {
            double x = ref[(size_t)r * (size_t)cols + (size_t)c],
                   y = bf16_to_f32(h[(size_t)r * (size_t)stride + (size_t)c]);
            if (isnan(y)) {
                free(h);
                return INFINITY;
            }
            num += (x - y) * (x - y), den += x * x;
        }
    free(h);
    return sqrt(num / (den > 0 ? den : 1));
}

void report(const char *name, double err, double limit, bool repeats)
{
    bool ok = err <= limit && repeats;
    n_run++;
    if (!ok) n_failed++;
    printf("%-6s %-58s err %.2e (limit %.0e)%s\n", ok ? "ok" : "FAILED", name, err, limit,
           repeats ? "" : " RUNS DIFFER");
}

static bool same_twice(void *dev, size_t n, void (*run)(void *), void *ctx)
{
    void *a = malloc(n), *b = malloc(n);
    CU(cudaMemcpy(a, dev, n, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 2; i++) run(ctx);
    sync("second run");
    CU(cudaMemcpy(b, dev, n, cudaMemcpyDeviceToHost));
    bool same = memcmp(a, b, n) == 0;
    free(a), free(b);
    return same;
}

/* ---- attention ---- */

typedef struct {
    const char *name;
    int head_dim, n_head, n_kv_head;
    int window;
    float softcap;
    bool sinks;
    int n_seq;
    int min_len, max_len; /* of all tokens of a sequence, new ones included */
    int n_q;              /* new tokens of each; 1: decode; -1: half decode, half random */
} AttnCase;

typedef struct {
    AttnCase c;
    int len[MAX_SEQ], rows[MAX_SEQ], row0[MAX_SEQ + 1], n_decode, n_rows, n_tile;
    AttendArgs a;
    int32_t *plan;
    int32_t *newest; /* slots of the decoded rows' tokens */
    uint16_t **kv;   /* [n_seq]: host k then v, [len][2][n_kv][head_dim] */
    uint16_t *q;     /* host [n_rows][qkv width] */
    float *sinks;
    double *ref; /* [n_rows][n_head * head_dim] */
    void *dev[32];
    int n_dev;
} AttnRun;

static void *keep(AttnRun *r, void *p)
{
    r->dev[r->n_dev++] = p;
    return p;
}

static void reference_row(AttnRun *r, int seq, int i, int head)
{
    const AttnCase *c = &r->c;
    int d = c->head_dim, group = c->n_head / c->n_kv_head, kvh = head / group,
        width = (c->n_head + 2 * c->n_kv_head) * d;
    int pos = r->len[seq] - r->rows[seq] + i, lo = c->window > 0 ? MAX(0, pos - c->window + 1) : 0;
    const uint16_t *q = r->q + (size_t)(r->row0[seq] + i) * (size_t)width + (size_t)head * (size_t)d;
    double *out = r->ref + (size_t)(r->row0[seq] + i) * (size_t)(c->n_head * d) + (size_t)head * (size_t)d;
    double *s = malloc(sizeof(double) * (size_t)(pos + 1)), top = -1e300, sum = 0;
    for (int j = lo; j <= pos; j++) {
        const uint16_t *k = r->kv[seq] + ((size_t)(j * 2) * (size_t)c->n_kv_head + (size_t)kvh) * (size_t)d;
        double x = 0;
        for (int e = 0; e < d; e++) x += (double)bf16_to_f32(q[e]) * bf16_to_f32(k[e]);
        x *= (double)r->a.scale;
        if (c->softcap > 0) x = c->softcap * tanh(x / c->softcap);
        s[j] = x;
        top = MAX(top, x);
    }
    for (int e = 0; e < d; e++) out[e] = 0;
    for (int j = lo; j <= pos; j++) {
        const uint16_t *v = r->kv[seq] + ((size_t)(j * 2 + 1) * (size_t)c->n_kv_head + (size_t)kvh) * (size_t)d;
        double w = exp(s[j] - top);
        sum += w;
        for (int e = 0; e < d; e++) out[e] += w * bf16_to_f32(v[e]);
    }
    if (c->sinks) sum += exp((double)r->sinks[head] - top);
    for (int e = 0; e < d; e++) out[e] /= sum;
    free(s);
}

typedef struct {
    AttnRun *r;
    int part, n_part;
} RefPart;

static void *reference_part(void *arg)
{
    RefPart *p = arg;
    int at = 0;
    for (int s = 0; s < p->r->c.n_seq; s++)
        for (int i = 0; i < p->r->rows[s]; i++)
            for (int h = 0; h < p->r->c.n_head; h++)
                if (at++ % p->n_part == p->part) reference_row(p->r, s, i, h);
    return NULL;
}

static void reference(AttnRun *r)
{
    enum { N = 16 };
    pthread_t t[N];
    RefPart p[N];
    for (int i = 0; i < N; i++) {
        p[i] = (RefPart){ r, i, N };
        pthread_create(&t[i], NULL, reference_part, &p[i]);
    }
    for (int i = 0; i < N; i++) pthread_join(t[i], NULL);
}

/* Lengths, rows, shuffled pages; on the device. */
static void attn_batch(AttnRun *r)
{
    const AttnCase *c = &r->c;
    int32_t *first = malloc(sizeof(int32_t) * MAX_SEQ), n_pages = 0, *tiles = malloc(sizeof(int32_t) * 2 * 65536);
    r->n_decode = c->n_q == 1 ? c->n_seq : c->n_q < 0 ? c->n_seq / 2 : 0;
    r->n_rows = r->n_tile = 0;
    for (int i = 0; i < c->n_seq; i++) {
        r->len[i] = c->min_len + (int)(next() % (uint64_t)(c->max_len - c->min_len + 1));
        r->rows[i] = i < r->n_decode ? 1
                     : c->n_q > 0    ? MIN(c->n_q, r->len[i])
                                     : 1 + (int)(next() % (uint64_t)r->len[i]);
        r->row0[i] = r->n_rows;
        r->n_rows += r->rows[i];
        first[i] = n_pages;
        n_pages += (r->len[i] + PAGE_TOKENS - 1) / PAGE_TOKENS;
        if (i >= r->n_decode || !attend_decode_fits(c->n_head / c->n_kv_head))
            for (int q = 0; q < r->rows[i]; q += attend_prefill_rows(c->n_head / c->n_kv_head)) {
                tiles[2 * r->n_tile] = i, tiles[2 * r->n_tile + 1] = q;
                r->n_tile++;
            }
    }
    if (!attend_decode_fits(c->n_head / c->n_kv_head)) r->n_decode = 0;
    int32_t *pages = malloc(sizeof(int32_t) * (size_t)(n_pages + 1)), count[4] = { r->n_decode, r->n_tile, 0, 0 };
    for (int i = 0; i < n_pages; i++) pages[i] = i;
    for (int i = n_pages - 1; i > 0; i--) {
        int j = (int)(next() % (uint64_t)(i + 1)), t = pages[i];
        pages[i] = pages[j], pages[j] = t;
    }
    size_t n = sizeof(int32_t) * (size_t)c->n_seq;
    r->a.count = keep(r, dev_copy(count, sizeof count));
    r->a.seq_len = keep(r, dev_copy(r->len, n));
    r->a.seq_rows = keep(r, dev_copy(r->rows, n));
    r->a.seq_row = keep(r, dev_copy(r->row0, n));
    r->a.page_first = keep(r, dev_copy(first, n));
    r->a.pages = keep(r, dev_copy(pages, sizeof(int32_t) * (size_t)n_pages));
    r->a.tiles = keep(r, dev_copy(tiles, sizeof(int32_t) * 2 * (size_t)(r->n_tile + 1)));
    r->a.n_tile = r->n_tile;
    r->row0[MAX_SEQ] = n_pages;
    int32_t *slot = malloc(n + 4);
    for (int i = 0; i < c->n_seq; i++) {
        int at = r->len[i] - 1;
        slot[i] = pages[first[i] + at / PAGE_TOKENS] * PAGE_TOKENS + at % PAGE_TOKENS;
    }
    r->newest = keep(r, dev_copy(slot, n));
    free(first), free(pages), free(tiles), free(slot);
}

static void attn_setup(AttnRun *r, int n_layer)
{
    const AttnCase *c = &r->c;
    attn_batch(r);
    int group = c->n_head / c->n_kv_head, dim = attend_kv_dim(c->head_dim),
        width = (c->n_head + 2 * c->n_kv_head) * c->head_dim;
    r->a.n_head = c->n_head, r->a.n_kv_head = c->n_kv_head, r->a.head_dim = c->head_dim, r->a.kv_dim = dim;
    r->a.scale = 1.f / sqrtf((float)c->head_dim);
    r->a.softcap = c->softcap, r->a.window = c->window;
    r->a.qkv_stride = width, r->a.out_stride = c->n_head * c->head_dim + 8;
    r->a.kv = keep(r, dev_alloc((size_t)n_layer * (size_t)r->row0[MAX_SEQ] * (size_t)c->n_kv_head * (size_t)dim * 64));
    r->q = random_bf16((size_t)r->n_rows * (size_t)width, 2.f);
    r->a.qkv = keep(r, dev_copy(r->q, (size_t)r->n_rows * (size_t)width * 2));
    r->a.out = keep(r, dev_alloc((size_t)r->n_rows * (size_t)r->a.out_stride * 2));
    r->a.n_cta = attend_decode_fits(group) ? attend_decode_ctas(group, dim) : 0;
    r->a.plan = r->plan = keep(r, dev_alloc(sizeof(int32_t) * ATTEND_PLAN_INTS * ATTEND_MAX_CTA));
    if (r->a.n_cta) r->a.part = keep(r, dev_alloc(attend_part_bytes(group, dim)));
    r->a.arrived = keep(r, dev_alloc(sizeof(uint32_t) * ATTEND_MAX_CTA));
    CU(cudaMemset(r->a.arrived, 0, sizeof(uint32_t) * ATTEND_MAX_CTA));
    r->sinks = random_f32((size_t)c->n_head, 1.f, 2.f);
    if (c->sinks) r->a.sinks = keep(r, dev_copy(r->sinks, sizeof(float) * (size_t)c->n_head));
}

/* Random keys and values, put into the pages by launch_heads. */
static void attn_fill(AttnRun *r)
{
    const AttnCase *c = &r->c;
    int32_t *pages = malloc(sizeof(int32_t) * (size_t)r->row0[MAX_SEQ]), first = 0;
    CU(cudaMemcpy(pages, r->a.pages, sizeof(int32_t) * (size_t)r->row0[MAX_SEQ], cudaMemcpyDeviceToHost));
    r->kv = malloc(sizeof(uint16_t *) * (size_t)c->n_seq);
    for (int i = 0; i < c->n_seq; i++) {
        size_t width = (size_t)(2 * c->n_kv_head * c->head_dim);
        r->kv[i] = random_bf16((size_t)r->len[i] * width, 1.f);
        int32_t *slot = malloc(sizeof(int32_t) * (size_t)r->len[i]);
        for (int t = 0; t < r->len[i]; t++) slot[t] = pages[first + t / PAGE_TOKENS] * PAGE_TOKENS + t % PAGE_TOKENS;
        first += (r->len[i] + PAGE_TOKENS - 1) / PAGE_TOKENS;
        void *rows = dev_copy(r->kv[i], (size_t)r->len[i] * width * 2),
             *slots = dev_copy(slot, sizeof(int32_t) * (size_t)r->len[i]);
        HeadArgs h = { .qkv = rows,
                       .stride = (int)width,
                       .rows = r->len[i],
                       .n_head = 0,
                       .n_kv_head = c->n_kv_head,
                       .head_dim = c->head_dim,
                       .slot = slots,
                       .kv = (void *)(uintptr_t)r->a.kv,
                       .kv_dim = r->a.kv_dim };
        launch_heads(stream, &h);
        sync("launch_heads");
        cudaFree(rows), cudaFree(slots), free(slot);
    }
    free(pages);
}

static void attn_launch(void *ctx)
{
    AttnRun *r = ctx;
    if (r->n_decode) {
        launch_attend_plan(stream, r->plan, &r->a);
        launch_attend_decode(stream, &r->a);
    }
    launch_attend_prefill(stream, &r->a);
}

/* What puts the newest tokens of a batch of single rows into their pages. */
static HeadArgs newest_heads(const AttnRun *r, const void *qkv)
{
    return (HeadArgs){ .qkv = (void *)(uintptr_t)qkv,
                       .stride = r->a.qkv_stride,
                       .rows = r->n_rows,
                       .n_head = r->c.n_head,
                       .n_kv_head = r->c.n_kv_head,
                       .head_dim = r->c.head_dim,
                       .slot = r->newest,
                       .kv = (void *)(uintptr_t)r->a.kv,
                       .kv_dim = r->a.kv_dim,
                       .let_on = true };
}

typedef struct {
    AttnRun *r;
    HeadArgs poison, heads;
} ChainRun;

/* As in a later layer of a pass: NaN lies in the newest tokens' slots until just before. */
static void chain_launch(void *ctx)
{
    ChainRun *c = ctx;
    AttendArgs a = c->r->a;
    a.early = true;
    launch_attend_plan(stream, c->r->plan, &a);
    launch_heads(stream, &c->poison);
    CU(cudaMemsetAsync(a.out, 0xff, (size_t)c->r->n_rows * (size_t)a.out_stride * 2, stream));
    launch_heads(stream, &c->heads);
    launch_attend_decode(stream, &a);
}

/* The rows of q get the keys and values of their newest tokens; then decode attention is to overtake what writes them. */
static void check_chain(AttnRun *r)
{
    const AttnCase *c = &r->c;
    size_t width = (size_t)r->a.qkv_stride, n_kv = (size_t)(2 * c->n_kv_head * c->head_dim),
           n = (size_t)r->n_rows * width * 2;
    char name[100];
    snprintf(name, sizeof name, "chained %s", c->name);
    for (int i = 0; i < c->n_seq; i++)
        memcpy(r->q + (size_t)i * width + width - n_kv, r->kv[i] + (size_t)(r->len[i] - 1) * n_kv, n_kv * 2);
    void *real = keep(r, dev_copy(r->q, n)), *nan = keep(r, dev_alloc(n));
    ChainRun run = { r, newest_heads(r, nan), newest_heads(r, real) };
    double err = 0;
    for (int i = 0; i < 5; i++) {
        chain_launch(&run);
        sync(name);
        err = MAX(err, distance(r->a.out, r->n_rows, c->n_head * c->head_dim, r->a.out_stride, r->ref));
    }
    report(name, err, 4e-3, same_twice(r->a.out, (size_t)r->n_rows * (size_t)r->a.out_stride * 2, chain_launch, &run));
}

static void attn_free(AttnRun *r)
{
    for (int i = 0; i < r->n_dev; i++) cudaFree(r->dev[i]);
    if (r->kv)
        for (int i = 0; i < r->c.n_seq; i++) free(r->kv[i]);
    free(r->kv), free(r->q), free(r->sinks), free(r->ref);
    free(r);
}

static void check_attention(const AttnCase *c)
{
    AttnRun *r = calloc(1, sizeof *r);
    r->c = *c;
    attn_setup(r, 1);
    attn_fill(r);
    r->ref = malloc(sizeof(double) * (size_t)r->n_rows * (size_t)(c->n_head * c->head_dim));
    attn_launch(r);
    sync(c->name);
    reference(r);
    double err = distance(r->a.out, r->n_rows, c->n_head * c->head_dim, r->a.out_stride, r->ref);
    bool same = same_twice(r->a.out, (size_t)r->n_rows * (size_t)r->a.out_stride * 2, attn_launch, r);
    report(c->name, err, 4e-3, same);
    if (r->n_decode == c->n_seq) check_chain(r);
    attn_free(r);
}

/* clang-format off */
static const AttnCase attn_cases[] = {
    { "decode d128 group 4, lengths 1..65", 128, 8, 2, 0, 0, false, 65, 1, 65, 1 },
    { "decode d128 group 4, 1 sequence of 1", 128, 32, 8, 0, 0, false, 1, 1, 1, 1 },
    { "decode d128 group 4, 1 sequence of 9000 (split)", 128, 32, 8, 0, 0, false, 1, 9000, 9000, 1 },
    { "decode d128 group 4, 3 sequences to 4000 (split)", 128, 32, 8, 0, 0, false, 3, 100, 4000, 1 },
    { "decode d128 group 4, 200 ragged", 128, 32, 8, 0, 0, false, 200, 1, 700, 1 },
    { "decode d128 group 1", 128, 8, 8, 0, 0, false, 33, 1, 400, 1 },
    { "decode d128 group 7", 128, 28, 4, 0, 0, false, 33, 1, 400, 1 },
    { "decode d128 group 8", 128, 64, 8, 0, 0, false, 17, 1, 400, 1 },
    { "decode d128 group 16", 128, 32, 2, 0, 0, false, 17, 1, 400, 1 },
    { "decode d128 group 12, split", 128, 24, 2, 0, 0, false, 3, 1000, 3000, 1 },
    { "decode d64 group 3", 64, 9, 3, 0, 0, false, 40, 1, 300, 1 },
    { "decode d64 group 8 window 100 sinks", 64, 64, 8, 100, 0, true, 40, 1, 600, 1 },
    { "decode d64 group 15", 64, 30, 2, 0, 0, false, 11, 1, 600, 1 },
    { "decode d96 group 1", 96, 8, 8, 0, 0, false, 21, 1, 300, 1 },
    { "decode d96 group 16", 96, 32, 2, 0, 0, false, 21, 1, 300, 1 },
    { "decode d80 in pages of 96", 80, 8, 4, 0, 0, false, 21, 1, 300, 1 },
    { "decode d16 in pages of 64", 16, 4, 2, 0, 0, false, 21, 1, 300, 1 },
    { "decode d256 group 2 softcap window 64", 256, 8, 4, 64, 50, false, 21, 1, 300, 1 },
    { "decode d256 group 4 softcap", 256, 8, 2, 0, 30, false, 5, 1, 3000, 1 },
    { "decode d256 group 16", 256, 16, 1, 0, 0, false, 5, 1, 2000, 1 },
    { "decode d128 group 4 sinks, split", 128, 32, 8, 0, 0, true, 2, 2000, 3000, 1 },
    { "decode d128 group 4 window 1000, split", 128, 32, 8, 1000, 0, false, 2, 2000, 3000, 1 },
    { "decode d128 group 4 window 1", 128, 8, 2, 1, 0, false, 9, 1, 200, 1 },
    { "wide group 20 (prefill kernel)", 64, 40, 2, 0, 0, false, 9, 1, 200, 1 },
    { "prefill d128 group 4, whole prompts", 128, 32, 8, 0, 0, false, 5, 1, 300, 4096 },
    { "prefill d128 group 4, chunk 100 after a prefix", 128, 8, 2, 0, 0, false, 5, 200, 900, 100 },
    { "prefill d128 group 7", 128, 28, 4, 0, 0, false, 3, 1, 300, 4096 },
    { "prefill d128 group 1 window 70", 128, 4, 4, 70, 0, false, 4, 1, 500, 4096 },
    { "prefill d64 group 8 window 128 sinks", 64, 64, 8, 128, 0, true, 3, 100, 500, 4096 },
    { "prefill d64 group 3", 64, 9, 3, 0, 0, false, 6, 1, 300, 4096 },
    { "prefill d96 group 1", 96, 8, 8, 0, 0, false, 4, 1, 300, 4096 },
    { "prefill d256 group 2 softcap", 256, 8, 4, 0, 50, false, 3, 1, 300, 4096 },
    { "prefill d256 group 4 window 100", 256, 8, 2, 100, 0, false, 3, 1, 300, 60 },
    { "prefill d80 group 2", 80, 8, 4, 0, 0, false, 3, 1, 200, 4096 },
    { "mixed decode and prefill d128", 128, 32, 8, 0, 0, false, 12, 1, 200, -1 },
    { "mixed decode and prefill d64 window", 64, 8, 2, 50, 0, false, 12, 1, 200, -1 },
};
/* clang-format on */

/* ---- pointwise ---- */

typedef struct {
    NormArgs n;
    void *x0; /* what x was */
} NormRun;

static void norm_launch(void *ctx)
{
    NormRun *r = ctx;
    CU(cudaMemcpyAsync(r->n.x, r->x0, (size_t)r->n.rows * (size_t)r->n.x_stride * 2, cudaMemcpyDeviceToDevice, stream));
    launch_norm(stream, &r->n);
}

static void check_norm(int rows, int cols, bool add, float w_bias)
{
    size_t n = (size_t)rows * (size_t)cols;
    uint16_t *x = random_bf16(n, 3.f), *y = random_bf16(n, 1.f);
    float *w = random_f32((size_t)cols, 1.f, 0.3f);
    double *ref = malloc(n * 8);
    for (int r = 0; r < rows; r++) {
        double ss = 0;
        for (int c = 0; c < cols; c++) {
            size_t i = (size_t)r * (size_t)cols + (size_t)c;
            ref[i] = bf16_to_f32(x[i]);
            if (add) ref[i] = bf16_to_f32(f32_to_bf16(bf16_to_f32(x[i]) + bf16_to_f32(y[i])));
            ss += ref[i] * ref[i];
        }
        for (int c = 0; c < cols; c++)
            ref[(size_t)r * (size_t)cols + (size_t)c] *= 1 / sqrt(ss / cols + 1e-5) * (double)(w[c] + w_bias);
    }
    NormRun run = { .n = { .x = dev_alloc(n * 2),
                           .add = add ? dev_copy(y, n * 2) : NULL,
                           .out = dev_alloc(n * 2),
                           .w = dev_copy(w, (size_t)cols * 4),
                           .rows = rows,
                           .cols = cols,
                           .x_stride = cols,
                           .add_stride = cols,
                           .out_stride = cols,
                           .eps = 1e-5f,
                           .w_bias = w_bias },
                    .x0 = dev_copy(x, n * 2) };
    norm_launch(&run);
    sync("norm");
    char name[80];
    snprintf(name, sizeof name, "%snorm %d x %d bias %g", add ? "add_" : "", rows, cols, (double)w_bias);
    double err = distance(run.n.out, rows, cols, cols, ref);
    report(name, err, 4e-3, same_twice(run.n.out, n * 2, norm_launch, &run));
    cudaFree(run.n.x), cudaFree((void *)(uintptr_t)run.n.add), cudaFree(run.n.out),
        cudaFree((void *)(uintptr_t)run.n.w), cudaFree(run.x0);
    free(x), free(y), free(w), free(ref);
}

static void check_glu(int rows, int cols, int act)
{
    size_t n = (size_t)rows * (size_t)cols;
    uint16_t *x = random_bf16(2 * n, 2.f);
    double *ref = malloc(n * 8);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) {
            double g = bf16_to_f32(x[(size_t)r * 2 * (size_t)cols + (size_t)c]);
            double u = bf16_to_f32(x[(size_t)r * 2 * (size_t)cols + (size_t)(cols + c)]);
            double a = act == 0   ? g / (1 + exp(-g))
                       : act == 1 ? 0.5 * g * (1 + tanh(0.7978845608028654 * (g + 0.044715 * g * g * g)))
                                  : 0.5 * g * (1 + erf(g * 0.7071067811865476));
            ref[(size_t)r * (size_t)cols + (size_t)c] = a * u;
        }
    void *in = dev_copy(x, 4 * n), *out = dev_alloc(2 * n);
    launch_glu(stream, out, cols, in, 2 * cols, rows, cols, act);
    sync("glu");
    char name[80];
    snprintf(name, sizeof name, "glu %d x %d act %d", rows, cols, act);
    report(name, distance(out, rows, cols, cols, ref), 4e-3, true);
    cudaFree(in), cudaFree(out), free(x), free(ref);
}

/* Norm and rope of q and k in place; what reaches the pages is checked through attention. */
static void check_heads(int rows, int head_dim, int rot, bool interleaved, bool norm)
{
    enum { H = 5, KV = 2 };
    int width = (H + 2 * KV) * head_dim, n_freq = rot / 2;
    size_t n = (size_t)rows * (size_t)width;
    uint16_t *x = random_bf16(n, 1.f);
    float *wq = random_f32((size_t)head_dim, 1.f, 0.3f), *wk = random_f32((size_t)head_dim, 1.f, 0.3f), freq[128];
    int32_t *pos = malloc(sizeof *pos * (size_t)rows);
    for (int i = 0; i < n_freq; i++) freq[i] = (float)pow(10000.0, -2.0 * i / rot);
    double *ref = malloc(n * 8), *h = malloc(sizeof(double) * (size_t)head_dim);
    for (int r = 0; r < rows; r++) {
        pos[r] = (int)(next() % 3000);
        for (int k = 0; k < H + 2 * KV; k++) {
            size_t at = (size_t)r * (size_t)width + (size_t)(k * head_dim);
            double ss = 0;
            for (int i = 0; i < head_dim; i++) h[i] = bf16_to_f32(x[at + (size_t)i]), ss += h[i] * h[i];
            for (int i = 0; i < head_dim && norm && k < H + KV; i++)
                h[i] *= 1 / sqrt(ss / head_dim + 1e-6) * (double)(k < H ? wq : wk)[i];
            for (int i = 0; i < n_freq && k < H + KV; i++) {
                int a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : i + n_freq;
                double t = (double)((float)pos[r] * freq[i]), u = h[a], v = h[b];
                h[a] = 1.5 * (u * cos(t) - v * sin(t)), h[b] = 1.5 * (v * cos(t) + u * sin(t));
            }
            for (int i = 0; i < head_dim; i++) ref[at + (size_t)i] = h[i];
        }
    }
    float *table = dev_alloc(sizeof(float) * 2 * (size_t)n_freq * 3000), *dfreq = dev_copy(freq, sizeof freq);
    HeadArgs a = { .qkv = dev_copy(x, n * 2),
                   .stride = width,
                   .rows = rows,
                   .n_head = H,
                   .n_kv_head = KV,
                   .head_dim = head_dim,
                   .q_norm = norm ? dev_copy(wq, 4 * (size_t)head_dim) : NULL,
                   .k_norm = norm ? dev_copy(wk, 4 * (size_t)head_dim) : NULL,
                   .eps = 1e-6f,
                   .rope = rot ? table : NULL,
                   .rot_dim = rot,
                   .interleaved = interleaved,
                   .n_rot = H + KV,
                   .pos = dev_copy(pos, sizeof *pos * (size_t)rows),
                   .kv_dim = attend_kv_dim(head_dim) };
    if (rot) launch_rope_table(stream, table, dfreq, n_freq, 3000, 1.5f);
    launch_heads(stream, &a);
    sync("heads");
    char name[80];
    snprintf(name, sizeof name, "heads %d rows d%d rot %d%s%s", rows, head_dim, rot, interleaved ? " interleaved" : "",
             norm ? " norm" : "");
    report(name, distance(a.qkv, rows, width, width, ref), 4e-3, true);
    free(pos), free(x), free(wq), free(wk), free(ref), free(h);
}

static void check_rows(void)
{
    enum { V = 50, C = 264, R = 9 };
    uint16_t *table = random_bf16(V * C, 1.f);
    int32_t token[R] = { 3, 49, -1, 0, -2, 7, 7, 1, -3 }, drawn[3] = { 11, 48, 2 }, row[4] = { 1, 2, 5, 8 };
    double ref[R * C], ref2[4 * C];
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++) {
            int id = token[r] < 0 ? drawn[-1 - token[r]] : token[r];
            ref[r * C + c] = 2.5 * bf16_to_f32(table[id * C + c]);
        }
    for (int r = 0; r < 4; r++)
        for (int c = 0; c < C; c++) ref2[r * C + c] = ref[row[r] * C + c];
    void *out = dev_alloc(R * C * 2), *out2 = dev_alloc(4 * C * 2);
    launch_embed(stream, out, C, dev_copy(table, V * C * 2), dev_copy(token, sizeof token),
                 dev_copy(drawn, sizeof drawn), R, C, 2.5f);
    launch_gather(stream, out2, C, out, C, dev_copy(row, sizeof row), 4, C);
    sync("embed");
    report("embed", distance(out, R, C, C, ref), 4e-3, true);
    report("gather", distance(out2, 4, C, C, ref2), 4e-3, true);
    launch_add(stream, out2, C, out2, C, 4, C);
    launch_softcap_act(stream, out2, C, 4, C, 3.f);
    sync("add");
    for (int i = 0; i < 4 * C; i++) ref2[i] = 3 * tanh(2 * ref2[i] / 3);
    report("add, softcap", distance(out2, 4, C, C, ref2), 6e-3, true);
    free(table);
}

static void check_pointwise(void)
{
    check_norm(7, 64, false, 0), check_norm(7, 576, false, 1), check_norm(3, 4096, true, 0),
        check_norm(3, 8200, true, 0);
    check_norm(2, 16384, false, 0), check_norm(33, 960, true, 0), check_norm(1100, 4096, true, 0);
    check_norm(1300, 512, false, 1), check_norm(300, 9000, true, 0);
    for (int act = 0; act < 3; act++) check_glu(5, 1536, act);
    check_glu(3, 14336, 0), check_glu(700, 1544, 0);
    check_heads(13, 128, 128, false, false), check_heads(13, 128, 128, true, true),
        check_heads(13, 64, 32, false, true);
    check_heads(13, 256, 256, false, true), check_heads(13, 80, 32, false, false),
        check_heads(13, 96, 96, false, false);
    check_heads(13, 128, 0, false, true), check_heads(13, 16, 16, false, false);
    check_heads(400, 128, 128, false, true), check_heads(270, 64, 64, false, false);
    check_rows();
}

/* ---- speed ---- */

/* Milliseconds of one call, over about `budget` ms. */
double time_ms(void (*run)(void *), void *ctx, double budget)
{
    cudaEvent_t a, b;
    float ms = 0;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    CU(cudaEventCreate(&a)), CU(cudaEventCreate(&b));
    run(ctx);
    sync("warm");
    CU(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    run(ctx);
    CU(cudaStreamEndCapture(stream, &graph));
    CU(cudaGraphInstantiate(&exec, graph, 0));
    CU(cudaGraphLaunch(exec, stream));
    CU(cudaEventRecord(a, stream));
    CU(cudaGraphLaunch(exec, stream));
    CU(cudaEventRecord(b, stream));
    sync("estimate");
    CU(cudaEventElapsedTime(&ms, a, b));
    int n = (int)MAX(3.0, MIN(2000.0, budget / (double)ms));
    CU(cudaEventRecord(a, stream));
    for (int i = 0; i < n; i++) CU(cudaGraphLaunch(exec, stream));
    CU(cudaEventRecord(b, stream));
    sync("timing");
    CU(cudaEventElapsedTime(&ms, a, b));
    cudaGraphExecDestroy(exec), cudaGraphDestroy(graph), cudaEventDestroy(a), cudaEventDestroy(b);
    return (double)ms / n;
}

typedef struct {
    const char *p;
    size_t n;
} ReadRun;
static void read_launch(void *ctx)
{
    ReadRun *r = ctx;
    launch_read(stream, r->p, r->n);
}

static double read_ceiling(void)
{
    ReadRun r = { .n = (size_t)4 << 30 };
    char *p = dev_alloc(r.n);
    launch_fill(stream, p, r.n / 2, 7, 1.f, false);
    r.p = p;
    double ms = time_ms(read_launch, &r, 300);
    cudaFree(p);
    printf("read ceiling: %.3f TB/s\n", (double)r.n / ms * 1e-9);
    return (double)r.n / ms * 1e-9;
}

typedef struct {
    AttnRun *r;
    int n_layer;
    size_t layer_bytes;
    bool heads, attend; /* what a layer runs: with both as in a pass, the second overtaking the first */
} LayersRun;

static void layers_launch(void *ctx)
{
    LayersRun *l = ctx;
    AttendArgs a = l->r->a;
    HeadArgs h = newest_heads(l->r, a.qkv);
    if (l->r->n_decode) launch_attend_plan(stream, l->r->plan, &a);
    for (int i = 0; i < l->n_layer; i++) {
        a.early = i > 0;
        h.kv = (void *)(uintptr_t)a.kv;
        if (l->heads) launch_heads(stream, &h);
        if (l->r->n_decode && l->attend) launch_attend_decode(stream, &a);
        if (l->attend) launch_attend_prefill(stream, &a);
        a.kv = (const char *)a.kv + l->layer_bytes;
    }
}

static void bench_attention(const AttnCase *c, double ceiling)
{
    AttnRun *r = calloc(1, sizeof *r);
    r->c = *c;
    size_t page = (size_t)c->n_kv_head * (size_t)attend_kv_dim(c->head_dim) * 64;
    size_t tokens = (size_t)c->n_seq * (size_t)(c->max_len + c->min_len) / 2, layer = tokens / PAGE_TOKENS * page;
    int n_layer = (int)MAX((size_t)1, MIN((size_t)32, ((size_t)1 << 30) / (layer + 1)));
    attn_setup(r, n_layer);
    LayersRun l = { r, n_layer, (size_t)r->row0[MAX_SEQ] * page, false, true };
    launch_fill(stream, (void *)(uintptr_t)r->a.kv, l.layer_bytes * (size_t)n_layer / 2, 7, 1.f, false);
    double ms = time_ms(layers_launch, &l, 150) / n_layer, bytes = 0, flop = 0;
    for (int i = 0; i < c->n_seq; i++) {
        int seen = c->window > 0 ? MIN(c->window, r->len[i]) : r->len[i];
        bytes += 4.0 * c->n_kv_head * c->head_dim * seen;
        flop += 4.0 * c->n_head * c->head_dim * r->rows[i] * (r->len[i] - r->rows[i] + 0.5 * (r->rows[i] + 1));
    }
    if (r->n_decode) {
        l.heads = true;
        double both = time_ms(layers_launch, &l, 100) / n_layer;
        l.attend = false;
        double heads = time_ms(layers_launch, &l, 30) / n_layer;
        printf("%-52s %9.1f us %7.3f TB/s %5.1f %% of ceiling; %7.1f us after heads, which alone take %5.1f\n", c->name,
               ms * 1e3, bytes / ms * 1e-9, bytes / ms * 1e-7 / ceiling, both * 1e3, heads * 1e3);
    } else
        printf("%-52s %9.1f us %7.1f TFLOP/s\n", c->name, ms * 1e3, flop / ms * 1e-9);
    attn_free(r);
}

/* clang-format off */
static const AttnCase bench_cases[] = {
    { "decode B=1 ctx 512, 32/8 d128", 128, 32, 8, 0, 0, false, 1, 512, 512, 1 },
    { "decode B=1 ctx 8192", 128, 32, 8, 0, 0, false, 1, 8192, 8192, 1 },
    { "decode B=1 ctx 131072", 128, 32, 8, 0, 0, false, 1, 131072, 131072, 1 },
    { "decode B=8 ctx 512", 128, 32, 8, 0, 0, false, 8, 512, 512, 1 },
    { "decode B=64 ctx 128", 128, 32, 8, 0, 0, false, 64, 128, 128, 1 },
    { "decode B=64 ctx 512", 128, 32, 8, 0, 0, false, 64, 512, 512, 1 },
    { "decode B=64 ctx 8192", 128, 32, 8, 0, 0, false, 64, 8192, 8192, 1 },
    { "decode B=256 ctx 128", 128, 32, 8, 0, 0, false, 256, 128, 128, 1 },
    { "decode B=256 ctx 512", 128, 32, 8, 0, 0, false, 256, 512, 512, 1 },
    { "decode B=256 ctx 243..1013", 128, 32, 8, 0, 0, false, 256, 243, 1013, 1 },
    { "decode B=512 ctx 243..1013", 128, 32, 8, 0, 0, false, 512, 243, 1013, 1 },
    { "decode B=1024 ctx 128", 128, 32, 8, 0, 0, false, 1024, 128, 128, 1 },
    { "decode B=1024 ctx 243..1013", 128, 32, 8, 0, 0, false, 1024, 243, 1013, 1 },
    { "decode B=256 ctx 243..1013, 28/4 d128", 128, 28, 4, 0, 0, false, 256, 243, 1013, 1 },
    { "decode B=256 ctx 243..1013, 32/32 d128", 128, 32, 32, 0, 0, false, 256, 243, 1013, 1 },
    { "decode B=256 ctx 243..1013, 64/8 d128", 128, 64, 8, 0, 0, false, 256, 243, 1013, 1 },
    { "decode B=256 ctx 243..1013, 32/2 d128 (group 16)", 128, 32, 2, 0, 0, false, 256, 243, 1013, 1 },
    { "decode B=256 ctx 243..1013, 64/8 d64", 64, 64, 8, 0, 0, false, 256, 243, 1013, 1 },
    { "decode B=256 ctx 243..1013, 32/32 d96", 96, 32, 32, 0, 0, false, 256, 243, 1013, 1 },
    { "decode B=256 ctx 243..1013, 16/8 d256", 256, 16, 8, 0, 0, false, 256, 243, 1013, 1 },
    { "decode B=256 ctx 1000..3000 window 512", 128, 32, 8, 512, 0, false, 256, 1000, 3000, 1 },
    { "decode B=256 ctx 243..1013 softcap", 128, 32, 8, 0, 50, false, 256, 243, 1013, 1 },
    { "prefill 32 x 250", 128, 32, 8, 0, 0, false, 32, 250, 250, 250 },
    { "prefill 1 x 2048", 128, 32, 8, 0, 0, false, 1, 2048, 2048, 2048 },
    { "prefill 1 x 8192", 128, 32, 8, 0, 0, false, 1, 8192, 8192, 8192 },
    { "prefill 2048 after 8192", 128, 32, 8, 0, 0, false, 1, 10240, 10240, 2048 },
    { "prefill 1 x 8192, 64/8 d64", 64, 64, 8, 0, 0, false, 1, 8192, 8192, 8192 },
    { "prefill 1 x 4096, 16/8 d256", 256, 16, 8, 0, 0, false, 1, 4096, 4096, 4096 },
};
/* clang-format on */

static bool wanted(const char *name, int n, char **names)
{
    for (int i = 0; i < n; i++)
        if (strstr(name, names[i])) return true;
    return n == 0;
}

int main(int argc, char **argv)
{
    int n = 0;
    const char *what = argc > 1 ? argv[1] : "all";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (cudaGetDeviceCount(&n) != cudaSuccess || n == 0) {
        printf("no GPU: skipped\n");
        return 77;
    }
    struct cudaDeviceProp prop;
    CU(cudaGetDeviceProperties(&prop, 0));
    printf("%s, %d SMs, %.1f GB\n", prop.name, prop.multiProcessorCount, (double)prop.totalGlobalMem * 1e-9);
    CU(cudaStreamCreate(&stream));
    if (strcmp(what, "bench") != 0) {
        if (wanted("pointwise", argc - 2, argv + 2)) check_pointwise();
        for (size_t i = 0; i < COUNT(attn_cases); i++)
            if (wanted(attn_cases[i].name, argc - 2, argv + 2)) check_attention(&attn_cases[i]);
        if (wanted("products", argc - 2, argv + 2)) check_products();
        if (wanted("flow", argc - 2, argv + 2)) check_small();
        if (wanted("thin", argc - 2, argv + 2)) check_thin();
        if (wanted("draw", argc - 2, argv + 2)) check_draw();
        if (wanted("steps", argc - 2, argv + 2)) check_steps();
        printf("%d cases, %d failed\n", n_run, n_failed);
    }
    if (strcmp(what, "check") != 0) {
        double ceiling = read_ceiling();
        for (size_t i = 0; i < COUNT(bench_cases); i++)
            if (wanted(bench_cases[i].name, argc - 2, argv + 2)) bench_attention(&bench_cases[i], ceiling);
        if (wanted("products", argc - 2, argv + 2)) bench_products(ceiling);
        if (wanted("rows", argc - 2, argv + 2)) bench_rows(ceiling);
        if (wanted("flow", argc - 2, argv + 2)) bench_small(ceiling);
        if (wanted("thin", argc - 2, argv + 2)) bench_thin(ceiling);
        if (wanted("draw", argc - 2, argv + 2)) bench_draw();
        if (wanted("steps", argc - 2, argv + 2)) bench_steps(ceiling);
    }
    return n_failed ? 1 : 0;
}
