/* gpu_check_small.c - products of few rows that run as one kernel (flow.cu): each kind of link, and a layer's chain of them, against
 * plain loops in double; then their speed. */
#include "gpu_check.h"

/* A link on the host, beside the one on the device. */
typedef struct {
    FlowLink l;
    uint16_t *w;
    float *norm, *bias;
    double *x, *y; /* input and output: shared between links that feed one another */
    int in_rows;
} Both;

static double dot(const Both *b, const double *x, double scale, int n)
{
    double s = 0;
    for (int k = 0; k < b->l.k; k++) {
        double v = x[k];
        if (b->norm) v *= (double)(b->norm[k] + b->l.w_bias) * scale;
        s += v * bf16_to_f32(b->w[(size_t)n * (size_t)b->l.k + (size_t)k]);
    }
    return s + (b->bias ? b->bias[n] : 0);
}

static void plain_link(const Both *b, int rows, const int32_t *pick)
{
    int out = b->l.kind == FLOW_GATE ? b->l.n / 2 : b->l.n;
    for (int r = 0; r < rows; r++) {
        const double *x = b->x + (size_t)(b->l.pick ? pick[r] : r) * (size_t)b->l.k;
        double square = 0;
        for (int k = 0; k < b->l.k; k++) square += x[k] * x[k];
        double scale = 1 / sqrt(square / b->l.k + (double)b->l.eps);
        for (int n = 0; n < out; n++) {
            double *y = b->y + (size_t)r * (size_t)out + n, s = dot(b, x, scale, n);
            if (b->l.kind == FLOW_GATE) s = act_of(b->l.act, s) * dot(b, x, scale, n + out);
            if (b->l.kind == FLOW_ADD) s += *y;
            *y = b->l.kind == FLOW_F32 ? s : bf(s);
        }
    }
}

/* A link with random weights; `in` and `out` are set by the caller. */
static Both make_link(int n, int k, FlowKind kind, bool norm, bool bias)
{
    Both b = { .l = { .n = n, .k = k, .kind = (int)kind, .in_stride = k, .eps = 1e-5f } };
    size_t nk = (size_t)n * (size_t)k;
    b.w = random_bf16(nk, 1.f / sqrtf((float)k));
    b.l.w = dev_copy(b.w, nk * 2);
    if (norm) b.norm = random_f32((size_t)k, 1, 0.3f), b.l.norm = dev_copy(b.norm, (size_t)k * 4), b.l.w_bias = 0.25f;
    if (bias) b.bias = random_f32((size_t)n, 0, 1), b.l.bias = dev_copy(b.bias, (size_t)n * 4);
    b.l.out_stride = kind == FLOW_GATE ? n / 2 : n;
    if (!launch_flow_fits(&b.l, FLOW_MAX_ROWS, 132) || !cuda_flow_map(&b.l))
        printf("a link of %d x %d does not fit\n", n, k), exit(1);
    return b;
}

static void link_free(Both *b)
{
    cudaFree((void *)(uintptr_t)b->l.w), cudaFree((void *)(uintptr_t)b->l.norm), cudaFree((void *)(uintptr_t)b->l.bias);
    free(b->w), free(b->norm), free(b->bias);
}

static uint32_t *meeting(void)
{
    static uint32_t *meet;
    if (!meet) meet = dev_alloc(4);
    CU(cudaMemset(meet, 0, 4));
    return meet;
}

static void check_link(int rows, int n, int k, FlowKind kind, int with, int act)
{
    enum { NORM = 1, BIAS = 2, PICK = 4 };
    Both b = make_link(n, k, kind, with & NORM, with & BIAS);
    int out = b.l.out_stride, in_rows = rows + 3;
    int32_t pick[FLOW_MAX_ROWS];
    size_t nx = (size_t)in_rows * (size_t)k, ny = (size_t)rows * (size_t)out, size = kind == FLOW_F32 ? 4 : 2;
    uint16_t *x = random_bf16(nx, 1.5f), *y = random_bf16(ny, 1.f);
    void *dx = dev_copy(x, nx * 2), *dy = dev_alloc(ny * size), *dpick;
    for (int i = 0; i < rows; i++) pick[i] = (i * 5 + 2) % in_rows;
    dpick = dev_copy(pick, sizeof pick);
    b.x = doubles(x, nx), b.y = doubles(y, ny);
    b.l.in = dx, b.l.out = dy, b.l.act = act, b.l.pick = with & PICK ? dpick : NULL;
    char *first = malloc(ny * size), *again = malloc(ny * size);
    for (int i = 0; i < 2; i++) {
        FlowArgs a = { .n_link = 1, .rows = rows, .meet = meeting() };
        a.link[0] = b.l;
        if (kind == FLOW_ADD) CU(cudaMemcpy(dy, y, ny * 2, cudaMemcpyHostToDevice));
        launch_flow(stream, &a);
        sync("flow");
        CU(cudaMemcpy(i ? again : first, dy, ny * size, cudaMemcpyDeviceToHost));
    }
    plain_link(&b, rows, pick);
    double num = 0, den = 0;
    for (size_t i = 0; i < ny; i++) {
        double v = kind == FLOW_F32 ? (double)((float *)(void *)first)[i]
                                    : (double)bf16_to_f32(((uint16_t *)(void *)first)[i]);
        num += pow(isnan(v) ? 1e30 : v - b.y[i], 2), den += b.y[i] * b.y[i];
    }
    char name[100];
    static const char *const kinds[] = { "store", "add", "f32", "gate" };
    snprintf(name, sizeof name, "flow %d x %d x %d %s%s%s%s", rows, n, k, kinds[kind], with & NORM ? " norm" : "",
             with & BIAS ? " bias" : "", with & PICK ? " pick" : "");
    report(name, sqrt(num / den), 4e-3, memcmp(first, again, ny * size) == 0);
    cudaFree(dx), cudaFree(dy), cudaFree(dpick), free(x), free(y), free(b.x), free(b.y), free(first), free(again);
    link_free(&b);
}

/* What follows attention in a layer: o onto x, norm and gate+up, down onto x, norm and the next layer's qkv. */
static void check_layer(int rows, int d, int ff, int qkv)
{
    size_t nx = (size_t)rows * (size_t)d, nf = (size_t)rows * (size_t)ff, nq = (size_t)rows * (size_t)qkv;
    uint16_t *att = random_bf16(nx, 1.f), *x = random_bf16(nx, 1.f);
    void *da = dev_copy(att, nx * 2), *dx = dev_alloc(nx * 2), *df = dev_alloc(nf * 2), *dq = dev_alloc(nq * 2);
    Both b[4] = { make_link(d, d, FLOW_ADD, false, false), make_link(2 * ff, d, FLOW_GATE, true, false),
                  make_link(d, ff, FLOW_ADD, false, false), make_link(qkv, d, FLOW_STORE, true, true) };
    b[0].l.in = da, b[2].l.in = df, b[1].l.in = b[3].l.in = dx;
    b[0].l.out = b[2].l.out = dx, b[1].l.out = df, b[3].l.out = dq;
    b[0].x = doubles(att, nx), b[0].y = b[1].x = b[2].y = b[3].x = doubles(x, nx);
    b[1].y = b[2].x = calloc(nf, 8), b[3].y = calloc(nq, 8);
    uint16_t *first = malloc(nq * 2), *again = malloc(nq * 2);
    bool same = true;
    FlowArgs a = { .n_link = 4, .rows = rows, .meet = meeting() };
    for (int i = 0; i < 4; i++) a.link[i] = b[i].l;
    for (int i = 0; i < 20; i++) {
        CU(cudaMemcpy(dx, x, nx * 2, cudaMemcpyHostToDevice));
        launch_flow(stream, &a);
        sync("flow");
        CU(cudaMemcpy(i ? again : first, dq, nq * 2, cudaMemcpyDeviceToHost));
        if (i) same = same && memcmp(first, again, nq * 2) == 0;
    }
    for (int i = 0; i < 4; i++) plain_link(&b[i], rows, NULL);
    char name[100];
    snprintf(name, sizeof name, "flow of a layer, %d rows, %d %d %d", rows, d, ff, qkv);
    report(name, distance(dq, rows, qkv, qkv, b[3].y), 8e-3, same);
    for (int i = 0; i < 4; i++) link_free(&b[i]);
    cudaFree(da), cudaFree(dx), cudaFree(df), cudaFree(dq);
    free(b[0].x), free(b[0].y), free(b[1].y), free(b[3].y), free(att), free(x), free(first), free(again);
}

void check_small(void)
{
    static const int rows[] = { 1, 2 };
    for (size_t i = 0; i < COUNT(rows); i++)
        for (int with = 0; with < 8; with += 3) check_link(rows[i], 776, 576, FLOW_STORE, with, 0);
    for (int act = 0; act < 3; act++) check_link(2, 1016, 1024, FLOW_GATE, act, act);
    check_link(1, 40, 64, FLOW_STORE, 1, 0), check_link(2, 49, 128, FLOW_F32, 7, 0);
    check_link(2, 3001, 1536, FLOW_F32, 5, 0), check_link(1, 520, 640, FLOW_ADD, 2, 0);
    check_link(2, 300, 9216, FLOW_ADD, 1, 0), check_link(2, 4096, 4672, FLOW_GATE, 3, 0);
    check_link(1, 200, 14336, FLOW_ADD, 3, 0), check_link(1, 2300, 8256, FLOW_STORE, 1, 0),
        check_link(2, 200, 17472, FLOW_ADD, 1, 0), check_link(1, 300, 34048, FLOW_STORE, 0, 0);
    check_layer(1, 1024, 2048, 1536), check_layer(2, 4096, 4608, 768), check_layer(1, 512, 5120, 4000),
        check_layer(2, 64, 128, 96);
    check_layer(2, 4096, 14336, 6144);
}

/* ---- speed ---- */

enum { LAYERS = 6 };
typedef struct {
    FlowArgs a[LAYERS];
    int n;
} FlowRun;

static void run_flows(void *ctx)
{
    FlowRun *f = ctx;
    for (int i = 0; i < f->n; i++) {
        FlowArgs a = f->a[i];
        launch_flow(stream, &a);
    }
}

static void bench_link(const char *name, const FlowLink *links, int n_link, int rows, uint32_t *meet, double ceiling)
{
    FlowRun *run = calloc(1, sizeof *run);
    double bytes = 0;
    run->n = LAYERS;
    for (int i = 0; i < LAYERS; i++) {
        run->a[i] = (FlowArgs){ .n_link = n_link, .rows = rows, .meet = meet };
        for (int j = 0; j < n_link; j++) {
            FlowLink l = links[j];
            l.w = (const char *)l.w + (size_t)i * (size_t)l.n * (size_t)l.k * 2;
            if (!cuda_flow_map(&l)) exit(1);
            run->a[i].link[j] = l;
            if (i == 0) bytes += 2.0 * l.n * l.k;
        }
    }
    double us = time_ms(run_flows, run, 60) / LAYERS * 1e3;
    printf("flow %-8s rows %-3d %7.1f us %5.2f TB/s %5.1f %%\n", name, rows, us, bytes / us * 1e-6,
           bytes / us * 1e-4 / ceiling);
    free(run);
}

void bench_small(double ceiling)
{
    enum { D = 4096, FF = 14336, QKV = 6144 };
    static const char *const names[] = { "o", "gate_up", "down", "qkv" };
    static const int rows[] = { 1, 2 };
    FlowLink l[4] = { { .n = D, .k = D, .kind = FLOW_ADD },
                      { .n = 2 * FF, .k = D, .kind = FLOW_GATE },
                      { .n = D, .k = FF, .kind = FLOW_ADD },
                      { .n = QKV, .k = D, .kind = FLOW_STORE } };
    void *x = dev_alloc(16 * D * 2), *att = dev_alloc(16 * D * 2), *f = dev_alloc(16 * FF * 2),
         *q = dev_alloc(16 * QKV * 2);
    float *ones = random_f32(D, 1, 0.1f);
    launch_fill(stream, att, 16 * D, 1, 1.f, false), launch_fill(stream, x, 16 * D, 2, 1.f, false);
    launch_fill(stream, f, 16 * FF, 3, 1.f, false);
    l[0].in = att, l[2].in = f, l[1].in = l[3].in = x;
    l[0].out = l[2].out = x, l[1].out = f, l[3].out = q;
    l[1].norm = l[3].norm = dev_copy(ones, D * 4);
    for (int i = 0; i < 4; i++) {
        size_t n = (size_t)l[i].n * (size_t)l[i].k * LAYERS;
        void *w = dev_alloc(n * 2);
        launch_fill(stream, w, n, 7 + (uint64_t)i, 1e-3f, false);
        l[i].w = w, l[i].in_stride = l[i].k, l[i].out_stride = i == 1 ? FF : l[i].n, l[i].eps = 1e-5f;
    }
    uint32_t *meet = meeting();
    for (size_t r = 0; r < COUNT(rows); r++) {
        for (int i = 0; i < 4; i++) bench_link(names[i], &l[i], 1, rows[r], meet, ceiling);
        bench_link("layer", l, 4, rows[r], meet, ceiling);
    }
    for (int i = 0; i < 4; i++) cudaFree((void *)(uintptr_t)l[i].w);
    cudaFree(x), cudaFree(att), cudaFree(f), cudaFree(q), free(ones);
}
