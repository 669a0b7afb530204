/* gpu_check_thin.c - products of up to 8 rows with what stands around them (thin.cu): each kind, pairs with a norm between them, and
 * a layer's four, against plain loops in double; then their speed. */
#include "gpu_check.h"

/* A product on the host, beside the one on the device. */
typedef struct {
    ThinArgs a;
    uint16_t *w;
    float *norm, *bias; /* norm: of the input, NULL: none */
    double *x, *y;      /* input and output: shared between products that feed one another */
} Both;

static const float W_BIAS = 0.25f; /* of every norm */

static double dot(const Both *b, const double *x, double scale, int n)
{
    double s = 0;
    const uint16_t *w = b->w + (size_t)n * (size_t)b->a.k;
    for (int k = 0; k < b->a.k; k++) {
        double v = b->norm ? x[k] * (double)(b->norm[k] + W_BIAS) * scale : x[k];
        s += v * bf16_to_f32(w[k]);
    }
    return s + (b->bias ? b->bias[n] : 0);
}

static void plain_product(const Both *b)
{
    int out = b->a.kind == FLOW_GATE ? b->a.n / 2 : b->a.n;
    for (int r = 0; r < b->a.rows; r++) {
        const double *x = b->x + (size_t)r * (size_t)b->a.k;
        double square = 0;
        for (int k = 0; k < b->a.k; k++) square += x[k] * x[k];
        double scale = 1 / sqrt(square / b->a.k + (double)b->a.eps);
        for (int n = 0; n < out; n++) {
            double *y = b->y + (size_t)r * (size_t)out + n, s = dot(b, x, scale, n);
            if (b->a.kind == FLOW_GATE) s = act_of(b->a.act, s) * dot(b, x, scale, n + out);
            if (b->a.kind == FLOW_ADD) s += *y;
            *y = b->a.kind == FLOW_F32 ? s : bf(s);
        }
    }
}

static float *squares(void)
{
    static float *square;
    if (!square) square = dev_alloc(sizeof(float) * THIN_MAX_CTA * THIN_MAX_ROWS);
    return square;
}

/* With random weights; `in` and `out` are set by the caller. */
static Both make_product(int rows, int n, int k, FlowKind kind, bool bias)
{
    Both b = { .a = { .rows = rows, .n = n, .k = k, .kind = (int)kind, .in_stride = k, .eps = 1e-5f } };
    size_t nk = (size_t)n * (size_t)k;
    b.w = random_bf16(nk, 1.f / sqrtf((float)k));
    b.a.w = dev_copy(b.w, nk * 2);
    b.a.square = squares();
    if (bias) b.bias = random_f32((size_t)n, 0, 1), b.a.bias = dev_copy(b.bias, (size_t)n * 4);
    b.a.out_stride = kind == FLOW_GATE ? n / 2 : n;
    return b;
}

/* What `to` reads is what `from` adds to, normalised; scaled: where from leaves it. */
static void join(Both *from, Both *to, void *scaled)
{
    to->norm = random_f32((size_t)to->a.k, 1, 0.3f);
    to->a.normed = true;
    to->a.in = scaled;
    from->a.scaled = scaled;
    from->a.scaled_stride = to->a.in_stride;
    from->a.gain = dev_copy(to->norm, (size_t)to->a.k * 4);
    from->a.gain_bias = W_BIAS;
    to->x = from->y;
}

static void product_free(Both *b)
{
    cudaFree((void *)(uintptr_t)b->a.w), cudaFree((void *)(uintptr_t)b->a.gain), cudaFree((void *)(uintptr_t)b->a.bias);
    free(b->w), free(b->norm), free(b->bias);
}

static void launch(const Both *b)
{
    ThinArgs a = b->a;
    if (!launch_thin_fits(&a) || !cuda_thin_map(&a)) printf("a product of %d x %d does not fit\n", a.n, a.k), exit(1);
    launch_thin(stream, &a);
}

/* One product; with a norm it reads what another one before it has added to. */
static void check_product(int rows, int n, int k, FlowKind kind, bool norm, bool bias, int act)
{
    enum { K0 = 192, TURNS = 3 };
    Both b[2] = { make_product(rows, k, K0, FLOW_ADD, false), make_product(rows, n, k, kind, bias) };
    int out = b[1].a.out_stride;
    size_t n0 = (size_t)rows * K0, nx = (size_t)rows * (size_t)k, ny = (size_t)rows * (size_t)out,
           size = kind == FLOW_F32 ? 4 : 2;
    uint16_t *in = random_bf16(n0, 1.f), *x = random_bf16(nx, 1.5f), *y = random_bf16(ny, 1.f);
    void *din = dev_copy(in, n0 * 2), *dx = dev_alloc(nx * 2), *dy = dev_alloc(ny * size), *dh = dev_alloc(nx * 2);
    b[0].a.in = din, b[0].a.out = dx, b[1].a.in = dx, b[1].a.out = dy, b[1].a.act = act;
    b[0].x = doubles(in, n0), b[0].y = b[1].x = doubles(x, nx), b[1].y = doubles(y, ny);
    if (norm) join(&b[0], &b[1], dh);
    char *got[2] = { malloc(ny * size), malloc(ny * size) };
    bool same = true;
    for (int i = 0; i < TURNS; i++) {
        CU(cudaMemcpy(dx, x, nx * 2, cudaMemcpyHostToDevice));
        CU(cudaMemset(dh, 0xff, nx * 2)), CU(cudaMemset(dy, 0xff, ny * size));
        if (kind == FLOW_ADD) CU(cudaMemcpy(dy, y, ny * 2, cudaMemcpyHostToDevice));
        CU(cudaDeviceSynchronize());
        if (norm) launch(&b[0]);
        launch(&b[1]);
        sync("thin");
        CU(cudaMemcpy(got[i > 0], dy, ny * size, cudaMemcpyDeviceToHost));
        if (i > 0) same = same && memcmp(got[0], got[1], ny * size) == 0;
    }
    if (norm) plain_product(&b[0]);
    plain_product(&b[1]);
    double num = 0, den = 0;
    for (size_t i = 0; i < ny; i++) {
        double v = kind == FLOW_F32 ? (double)((float *)(void *)got[0])[i]
                                    : (double)bf16_to_f32(((uint16_t *)(void *)got[0])[i]);
        num += pow(isnan(v) ? 1e30 : v - b[1].y[i], 2), den += b[1].y[i] * b[1].y[i];
    }
    char name[100];
    static const char *const kinds[] = { "store", "add", "f32", "gate" };
    snprintf(name, sizeof name, "thin %d x %d x %d %s%s%s", rows, n, k, kinds[kind], norm ? " norm" : "",
             bias ? " bias" : "");
    report(name, sqrt(num / den), 4e-3, same);
    cudaFree(din), cudaFree(dx), cudaFree(dy), cudaFree(dh);
    free(in), free(x), free(y), free(b[0].x), free(b[0].y), free(b[1].y), free(got[0]), free(got[1]);
    product_free(&b[0]), product_free(&b[1]);
}

/* What follows attention in a layer: o onto x, norm and gate+up, down onto x, norm and the next layer's qkv. */
static void check_layer(int rows, int d, int ff, int qkv)
{
    enum { TURNS = 12 };
    size_t nx = (size_t)rows * (size_t)d, nf = (size_t)rows * (size_t)ff, nq = (size_t)rows * (size_t)qkv;
    uint16_t *att = random_bf16(nx, 1.f), *x = random_bf16(nx, 1.f);
    void *da = dev_copy(att, nx * 2), *dx = dev_alloc(nx * 2), *df = dev_alloc(nf * 2), *dq = dev_alloc(nq * 2),
         *dh = dev_alloc(nx * 2);
    Both b[4] = { make_product(rows, d, d, FLOW_ADD, false), make_product(rows, 2 * ff, d, FLOW_GATE, false),
                  make_product(rows, d, ff, FLOW_ADD, false), make_product(rows, qkv, d, FLOW_STORE, true) };
    b[0].a.in = da, b[2].a.in = df, b[0].a.out = b[2].a.out = dx, b[1].a.out = df, b[3].a.out = dq;
    b[0].x = doubles(att, nx), b[0].y = b[2].y = doubles(x, nx), b[1].y = b[2].x = calloc(nf, 8),
    b[3].y = calloc(nq, 8);
    join(&b[0], &b[1], dh), join(&b[2], &b[3], dh);
    uint16_t *first = malloc(nq * 2), *again = malloc(nq * 2);
    bool same = true;
    for (int i = 0; i < TURNS; i++) {
        CU(cudaMemcpy(dx, x, nx * 2, cudaMemcpyHostToDevice));
        CU(cudaDeviceSynchronize());
        for (int j = 0; j < 4; j++) launch(&b[j]);
        sync("thin");
        CU(cudaMemcpy(i ? again : first, dq, nq * 2, cudaMemcpyDeviceToHost));
        if (i) same = same && memcmp(first, again, nq * 2) == 0;
    }
    for (int i = 0; i < 4; i++) plain_product(&b[i]);
    char name[100];
    snprintf(name, sizeof name, "thin layer, %d rows, %d %d %d", rows, d, ff, qkv);
    report(name, distance(dq, rows, qkv, qkv, b[3].y), 8e-3, same);
    for (int i = 0; i < 4; i++) product_free(&b[i]);
    cudaFree(da), cudaFree(dx), cudaFree(df), cudaFree(dq), cudaFree(dh);
    free(b[0].x), free(b[0].y), free(b[1].y), free(b[3].y), free(att), free(x), free(first), free(again);
}

void check_thin(void)
{
    static const int rows[] = { 1, 3, 4, 5, 8 };
    for (size_t i = 0; i < COUNT(rows); i++) {
        int r = rows[i], act = (int)i % 3;
        check_product(r, 776, 576, FLOW_STORE, false, false, 0), check_product(r, 49, 128, FLOW_F32, true, true, 0);
        check_product(r, 300, 9216, FLOW_ADD, false, false, 0),
            check_product(r, 1016, 1024, FLOW_GATE, true, true, act);
        check_product(r, 40, 64, FLOW_STORE, true, false, 0), check_product(r, 3001, 1536, FLOW_F32, true, false, 0);
        check_product(r, 600, 704, FLOW_ADD, true, true, 0), check_product(r, 302, 192, FLOW_GATE, true, true, 2 - act);
        check_layer(r, 512, 1280, 1000);
    }
    check_product(8, 4240, 8256, FLOW_STORE, false, true, 0), check_product(7, 5000, 4096, FLOW_STORE, true, false, 0);
    check_layer(8, 1024, 10240, 768), check_layer(6, 2048, 5632, 3072), check_layer(2, 64, 128, 96);
}

/* ---- speed ---- */

enum { LAYERS = 6 };
typedef struct {
    ThinArgs a[4 * LAYERS];
    int n;
} ThinRun;

static void run_thin(void *ctx)
{
    ThinRun *f = ctx;
    for (int i = 0; i < f->n; i++) {
        ThinArgs a = f->a[i];
        launch_thin(stream, &a);
    }
}

static void bench_products_of(const char *name, const ThinArgs *products, int n, int rows, double ceiling)
{
    ThinRun *run = calloc(1, sizeof *run);
    double bytes = 0;
    for (int i = 0; i < LAYERS; i++)
        for (int j = 0; j < n; j++) {
            ThinArgs *a = &run->a[run->n++];
            *a = products[j];
            a->rows = rows;
            a->w = (const char *)a->w + (size_t)i * (size_t)a->n * (size_t)a->k * 2;
            if (!cuda_thin_map(a)) exit(1);
            if (i == 0) bytes += 2.0 * a->n * a->k;
        }
    double us = time_ms(run_thin, run, 60) / LAYERS * 1e3;
    printf("thin %-8s rows %-3d %7.1f us %5.2f TB/s %5.1f %%\n", name, rows, us, bytes / us * 1e-6,
           bytes / us * 1e-4 / ceiling);
    free(run);
}

void bench_thin(double ceiling)
{
    enum { D = 4096, FF = 14336, QKV = 6144 };
    static const char *const names[] = { "o", "gate_up", "down", "qkv" };
    static const int rows[] = { 1, 4, 8 };
    ThinArgs p[4] = { { .n = D, .k = D, .kind = FLOW_ADD },
                      { .n = 2 * FF, .k = D, .kind = FLOW_GATE },
                      { .n = D, .k = FF, .kind = FLOW_ADD },
                      { .n = QKV, .k = D, .kind = FLOW_STORE } };
    void *x = dev_alloc(8 * D * 2), *att = dev_alloc(8 * D * 2), *f = dev_alloc(8 * FF * 2),
         *q = dev_alloc(8 * QKV * 2), *h = dev_alloc(8 * D * 2);
    float *ones = random_f32(D, 1, 0.1f), *gain = dev_copy(ones, D * 4);
    launch_fill(stream, att, 8 * D, 1, 1.f, false), launch_fill(stream, x, 8 * D, 2, 1.f, false);
    launch_fill(stream, f, 8 * FF, 3, 1.f, false), launch_fill(stream, h, 8 * D, 4, 1.f, false);
    launch_fill(stream, squares(), (size_t)THIN_MAX_CTA * THIN_MAX_ROWS, 5, 0.f, true);
    p[0].in = att, p[2].in = f, p[1].in = p[3].in = h, p[1].normed = p[3].normed = true;
    p[0].out = p[2].out = x, p[1].out = f, p[3].out = q, p[0].scaled = p[2].scaled = h;
    p[0].gain = p[2].gain = gain, p[0].scaled_stride = p[2].scaled_stride = D;
    for (int i = 0; i < 4; i++) {
        size_t n = (size_t)p[i].n * (size_t)p[i].k * LAYERS;
        void *w = dev_alloc(n * 2);
        launch_fill(stream, w, n, 7 + (uint64_t)i, 1e-3f, false);
        p[i].w = w, p[i].in_stride = p[i].k, p[i].out_stride = i == 1 ? FF : p[i].n, p[i].eps = 1e-5f;
        p[i].square = squares();
    }
    for (size_t r = 0; r < COUNT(rows); r++) {
        for (int i = 0; i < 4; i++) bench_products_of(names[i], &p[i], 1, rows[r], ceiling);
        bench_products_of("layer", p, 4, rows[r], ceiling);
    }
    for (int i = 0; i < 4; i++) cudaFree((void *)(uintptr_t)p[i].w);
    cudaFree(x), cudaFree(att), cudaFree(f), cudaFree(q), cudaFree(h), cudaFree(gain), free(ones);
}
