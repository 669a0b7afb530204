/* gpu_check_step.c - products, and whole passes of a Llama-shaped model through the backend's table: graphs against single
 * launches, and the time of decode and prefill passes with dummy weights of Llama-3-8B's shape. */
#include "backend/backend.h"
#include "backend/cuda/gemm.h"
#include "gpu_check.h"

extern const BackendOps backend_cuda;
static const BackendOps *const ops = &backend_cuda;

static void must(Status st, const Err *err)
{
    if (st == OK) return;
    printf("%s\n", err->text);
    exit(1);
}

/* ---- products ---- */

static void check_product(Gemm *g, int rows, int n, int k, int kind)
{
    bool f32 = kind & 1, add = kind & 2, bias = kind & 4, lt = rows > GEMV_MAX_ROWS;
    size_t nn = (size_t)n, kk = (size_t)k, rr = (size_t)rows;
    uint16_t *w = random_bf16(nn * kk, 1.f / sqrtf((float)k)), *x = random_bf16(rr * kk, 1.f),
             *y = random_bf16(rr * nn, 1.f);
    float *b = random_f32(nn, 0, 1), *yf = malloc(rr * nn * 4);
    uint16_t *bh = malloc(nn * 2);
    for (size_t i = 0; i < nn; i++) bh[i] = f32_to_bf16(b[i]), b[i] = bf16_to_f32(bh[i]);
    for (size_t i = 0; i < rr * nn; i++) yf[i] = bf16_to_f32(y[i]);
    void *dw = dev_copy(w, nn * kk * 2), *dx = dev_copy(x, rr * kk * 2),
         *dy = f32 ? dev_copy(yf, rr * nn * 4) : dev_copy(y, rr * nn * 2);
    void *db = dev_copy(b, nn * 4), *dbh = dev_copy(bh, nn * 2);
    if (lt) {
        GemmShape s = { rows, n, k, k, n, f32, add, bias };
        if (!gemm_run(g, stream, s, dy, dx, dw, !bias ? NULL : f32 ? db : dbh)) printf("refused\n");
    } else {
        GemvArgs a = { dy, dx, dw, bias ? db : NULL, rows, n, k, k, n, f32, add };
        launch_gemv(stream, &a);
    }
    sync("product");
    double num = 0, den = 0;
    float *got = malloc(rr * nn * 4);
    CU(cudaMemcpy(got, dy, rr * nn * (f32 ? 4 : 2), cudaMemcpyDeviceToHost));
    for (int t = 0; t < 400; t++) { /* a sample of the elements, corners among them */
        size_t r = t < 4 ? (t & 1 ? rr - 1 : 0) : next() % rr, c = t < 4 ? (t & 2 ? nn - 1 : 0) : next() % nn;
        double ref = bias ? (double)b[c] : 0, y0 = yf[r * nn + c];
        for (size_t i = 0; i < kk; i++) ref += (double)bf16_to_f32(x[r * kk + i]) * bf16_to_f32(w[c * kk + i]);
        if (add) ref += y0;
        double out = f32 ? got[r * nn + c] : bf16_to_f32(((uint16_t *)got)[r * nn + c]);
        num += isnan(out) ? 1e30 : (out - ref) * (out - ref), den += ref * ref;
    }
    char name[100];
    snprintf(name, sizeof name, "product %d x %d x %d%s%s%s %s", rows, n, k, f32 ? " f32" : "", add ? " add" : "",
             bias ? " bias" : "", lt ? "cuBLASLt" : "gemv");
    report(name, sqrt(num / den), 4e-3, true);
    cudaFree(dw), cudaFree(dx), cudaFree(dy), cudaFree(db), cudaFree(dbh);
    free(w), free(x), free(y), free(b), free(bh), free(yf), free(got);
}

static Gemm *open_gemm(void)
{
    Gemm *g;
    Err err;
    must(gemm_open("test", "", &g, &err), &err);
    return g;
}

void check_products(void)
{
    Gemm *g = open_gemm();
    static const int rows[] = { 1, 3, 8, 9, 16, 17, 64, 200 };
    for (size_t i = 0; i < COUNT(rows); i++)
        for (int kind = 0; kind < 8; kind += 3) check_product(g, rows[i], 776, 584, kind);
    for (int kind = 0; kind < 8; kind++) check_product(g, 5, 1000, 4096, kind), check_product(g, 130, 1000, 4096, kind);
    check_product(g, 1, 49, 64, 1), check_product(g, 4, 28672, 512, 0), check_product(g, 12, 28672, 512, 4),
        check_product(g, 2, 40, 8, 0);
    gemm_close(g);
}

typedef struct {
    Gemm *g;
    GemmShape s;
    void *w[8], *x, *y;
    int n_w;
} ProductRun;

static void lt_launch(void *ctx)
{
    ProductRun *p = ctx;
    for (int i = 0; i < p->n_w; i++) gemm_run(p->g, stream, p->s, p->y, p->x, p->w[i], NULL);
}

static void gemv_launch(void *ctx)
{
    ProductRun *p = ctx;
    for (int i = 0; i < p->n_w; i++) {
        GemvArgs a = { p->y, p->x, p->w[i], NULL, p->s.rows, p->s.n, p->s.k, p->s.k, p->s.n, p->s.f32, false };
        launch_gemv(stream, &a);
    }
}

void bench_products(double ceiling)
{
    static const struct {
        const char *name;
        int n, k;
        bool f32;
    } shapes[] = { { "qkv", 6144, 4096, false },
                   { "o", 4096, 4096, false },
                   { "gate_up", 28672, 4096, false },
                   { "down", 4096, 14336, false },
                   { "head", 128256, 4096, true } };
    static const int rows[] = { 1,   8,   16,  32,  64,  128,  192,  256,  320,  384,  448,
                                512, 576, 640, 768, 896, 1024, 2048, 3072, 4096, 8192, 6144 };
    Gemm *g = open_gemm();
    for (size_t i = 0; i < COUNT(shapes); i++) {
        ProductRun p = { .g = g, .n_w = i == 4 ? 2 : 6 };
        size_t bytes = (size_t)shapes[i].n * (size_t)shapes[i].k * 2;
        for (int w = 0; w < p.n_w; w++)
            launch_fill(stream, p.w[w] = dev_alloc(bytes), bytes / 2, (uint64_t)w, 0.02f, false);
        p.x = dev_alloc((size_t)8192 * (size_t)shapes[i].k * 2);
        p.y = dev_alloc((size_t)8192 * (size_t)shapes[i].n * 4);
        launch_fill(stream, p.x, (size_t)8192 * (size_t)shapes[i].k, 99, 1.f, false);
        for (size_t r = 0; r < COUNT(rows); r++) {
            if (i == 4 && rows[r] > 1024) continue;
            p.s =
                (GemmShape){ rows[r], shapes[i].n, shapes[i].k, shapes[i].k, shapes[i].n, shapes[i].f32, false, false };
            double first, best, gemv = 0, near = time_ms(lt_launch, &p, 60) / p.n_w * 1e3;
            GemmData data = { p.y, p.x, (const void *const *)p.w, p.n_w, NULL };
            int n = gemm_tune(g, stream, p.s, &data, &first, &best);
            double tuned = time_ms(lt_launch, &p, 60) / p.n_w * 1e3;
            if (rows[r] <= GEMV_MAX_ROWS) gemv = time_ms(gemv_launch, &p, 60) / p.n_w * 1e3;
            printf(
                "%-8s M=%-5d first %7.1f us  by neighbour %7.1f  best of %2d %7.1f (in the race %7.1f) %6.1f TFLOP/s "
                "%5.2f TB/s",
                shapes[i].name, rows[r], first, near, n, tuned, best,
                2.0 * rows[r] * (double)shapes[i].n * shapes[i].k / tuned * 1e-6, (double)bytes / tuned * 1e-6);
            if (gemv > 0)
                printf("   gemv %7.1f us %5.2f TB/s %5.1f %%", gemv, (double)bytes / gemv * 1e-6,
                       (double)bytes / gemv * 1e-4 / ceiling);
            printf("\n");
        }
        for (int w = 0; w < p.n_w; w++) cudaFree(p.w[w]);
        cudaFree(p.x), cudaFree(p.y);
    }
    gemm_close(g);
}

/* ---- whole passes ---- */

typedef struct {
    int n_layer, d, n_head, n_kv, hd, ff, vocab, max_rows, max_seqs, max_pos, n_pages;
    float std;
} Shape;

typedef struct {
    Shape s;
    Device *dev;
    Weight *embed, *head, *norm, **qkv, **o, **gate_up, **down, **norm1, **norm2;
    KvCache *kv;
    Tensor x, h, q, a, g, f, few, logits;
    int rope;
} Net;

static Weight *dummy(Net *n, WeightUse use, int rows, int cols, uint64_t seed)
{
    Weight *w;
    Err err;
    WeightBand b = { .dtype = DT_BF16, .rows = rows, .cols = cols, .dummy_seed = seed, .dummy_std = n->s.std };
    float *ones = NULL;
    if (use == WEIGHT_VECTOR) {
        ones = random_f32((size_t)cols, 1, 0.1f);
        b.data = ones, b.dtype = DT_F32;
    }
    must(ops->weight(n->dev, use, &b, 1, &w, &err), &err);
    free(ones);
    return w;
}

static Net *net_open(Shape s)
{
    Net *n = calloc(1, sizeof *n);
    Err err;
    DeviceOptions o = { 0 };
    n->s = s;
    must(ops->open(&o, &n->dev, &err), &err);
    size_t z = sizeof(Weight *) * (size_t)s.n_layer;
    n->qkv = malloc(z), n->o = malloc(z), n->gate_up = malloc(z), n->down = malloc(z), n->norm1 = malloc(z),
    n->norm2 = malloc(z);
    n->embed = dummy(n, WEIGHT_EMBED, s.vocab, s.d, 1), n->head = dummy(n, WEIGHT_LINEAR, s.vocab, s.d, 2);
    n->norm = dummy(n, WEIGHT_VECTOR, 1, s.d, 3);
    for (int i = 0; i < s.n_layer; i++) {
        uint64_t seed = 10 + 10 * (uint64_t)i;
        n->qkv[i] = dummy(n, WEIGHT_LINEAR, (s.n_head + 2 * s.n_kv) * s.hd, s.d, seed);
        n->o[i] = dummy(n, WEIGHT_LINEAR, s.d, s.n_head * s.hd, seed + 1);
        n->gate_up[i] = dummy(n, WEIGHT_LINEAR, 2 * s.ff, s.d, seed + 2);
        n->down[i] = dummy(n, WEIGHT_LINEAR, s.d, s.ff, seed + 3);
        n->norm1[i] = dummy(n, WEIGHT_VECTOR, 1, s.d, seed + 4),
        n->norm2[i] = dummy(n, WEIGHT_VECTOR, 1, s.d, seed + 5);
    }
    struct {
        Tensor *t;
        int rows, cols;
        DType type;
    } tensors[] = { { &n->x, s.max_rows, s.d, DT_BF16 },
                    { &n->h, s.max_rows, s.d, DT_BF16 },
                    { &n->q, s.max_rows, (s.n_head + 2 * s.n_kv) * s.hd, DT_BF16 },
                    { &n->a, s.max_rows, s.n_head * s.hd, DT_BF16 },
                    { &n->g, s.max_rows, 2 * s.ff, DT_BF16 },
                    { &n->f, s.max_rows, s.ff, DT_BF16 },
                    { &n->few, s.max_seqs, s.d, DT_BF16 },
                    { &n->logits, s.max_seqs, s.vocab, DT_F32 } };
    for (size_t i = 0; i < COUNT(tensors); i++)
        must(ops->tensor(n->dev, tensors[i].rows, tensors[i].cols, tensors[i].type, tensors[i].t, &err), &err);
    float freq[128];
    for (int i = 0; i < s.hd / 2; i++) freq[i] = (float)pow(500000.0, -2.0 * i / s.hd);
    RopeTable t = { .inv_freq = freq, .rot_dim = s.hd, .mscale = 1 };
    must(ops->rope_table(n->dev, &t, s.max_pos, &n->rope, &err), &err);
    must(ops->kv_cache(n->dev, (KvShape){ s.n_layer, s.n_kv, s.hd, s.n_pages, DT_NONE }, &n->kv, &err), &err);
    return n;
}

static void net_close(Net *n)
{
    ops->close(n->dev);
    free(n->qkv), free(n->o), free(n->gate_up), free(n->down), free(n->norm1), free(n->norm2), free(n);
}

static Tensor rows_of(Tensor t, int rows)
{
    t.rows = rows;
    return t;
}

static void net_forward(Net *n, const DeviceBatch *b)
{
    Device *d = n->dev;
    const Shape *s = &n->s;
    Tensor x = rows_of(n->x, b->n_tok), h = rows_of(n->h, b->n_tok), q = rows_of(n->q, b->n_tok),
           a = rows_of(n->a, b->n_tok);
    Tensor g = rows_of(n->g, b->n_tok), f = rows_of(n->f, b->n_tok), few = rows_of(n->few, b->n_logit),
           logits = rows_of(n->logits, b->n_logit);
    AttnParams p = { .n_head = s->n_head, .n_kv_head = s->n_kv, .head_dim = s->hd, .scale = 1.f / sqrtf((float)s->hd) };
    ops->forward_begin(d, b);
    ops->embed(d, x, n->embed, 1);
    ops->norm(d, h, x, n->norm1[0], 1e-5f, 0);
    for (int i = 0; i < s->n_layer; i++) {
        ops->linear(d, q, h, n->qkv[i], NULL, false);
        ops->rope(d, q, s->n_head + s->n_kv, s->hd, n->rope);
        ops->kv_store(d, n->kv, i, q, s->n_head);
        ops->attend(d, a, q, n->kv, i, &p);
        ops->linear(d, h, a, n->o[i], NULL, false);
        ops->add_norm(d, x, h, h, n->norm2[i], 1e-5f, 0);
        ops->linear(d, g, h, n->gate_up[i], NULL, false);
        ops->glu(d, f, g, GLU_SILU);
        ops->linear(d, h, f, n->down[i], NULL, false);
        if (i + 1 < s->n_layer)
            ops->add_norm(d, x, h, h, n->norm1[i + 1], 1e-5f, 0);
        else
            ops->add(d, x, h);
    }
    if (b->n_logit) {
        ops->gather(d, few, x);
        ops->norm(d, few, few, n->norm, 1e-5f, 0);
        ops->linear(d, logits, few, n->head, NULL, false);
    }
    ops->forward_end(d);
}

/* Sequences of equal shape: n_seq of len tokens, the last n_new of which are computed. */
typedef struct {
    DeviceBatch b;
    int32_t *data;
} Batch;

static Batch batch_make(int n_seq, const int *len, int n_new, int first_page, const int32_t *token)
{
    Batch r = { 0 };
    int max_pages = 0, rows = n_seq * n_new, page = first_page;
    for (int i = 0; i < n_seq; i++) max_pages = MAX(max_pages, (len[i] + 15) / 16);
    size_t n = (size_t)rows * 2 + (size_t)n_seq * 3 + 1 + (size_t)n_seq * (size_t)max_pages;
    int32_t *at = r.data = calloc(n, 4), *tok = at, *pos = tok + rows, *start = pos + rows, *slen = start + n_seq + 1,
            *row = slen + n_seq;
    int32_t *pages = row + n_seq;
    for (int i = 0; i < n_seq; i++) {
        start[i + 1] = (i + 1) * n_new, slen[i] = len[i], row[i] = (i + 1) * n_new - 1;
        for (int j = 0; j < n_new; j++)
            pos[i * n_new + j] = len[i] - n_new + j, tok[i * n_new + j] = token[i * n_new + j];
        for (int j = 0; j < (len[i] + 15) / 16; j++) pages[i * max_pages + j] = page++;
    }
    r.b = (DeviceBatch){ .n_tok = rows,
                         .n_seq = n_seq,
                         .max_pages = max_pages,
                         .token = tok,
                         .pos = pos,
                         .seq_start = start,
                         .seq_len = slen,
                         .pages = pages,
                         .n_logit = n_seq,
                         .logit_row = row };
    return r;
}

/* Prompts of 20 tokens at once; the same one token at a time (the later ones as graphs): the last logits must agree. */
void check_steps(void)
{
    enum { B = 5, L = 20, V = 504 };
    Net *n = net_open((Shape){ 3, 256, 8, 2, 32, 512, V, 512, 64, 128, 64, 0.06f });
    int32_t token[B * L];
    int len[B], one[B];
    float *whole = malloc(sizeof(float) * B * V), *steps = malloc(sizeof(float) * B * V),
          *again = malloc(sizeof(float) * B * V);
    for (int i = 0; i < B * L; i++) token[i] = (int32_t)(next() % V);
    for (int i = 0; i < B; i++) len[i] = L;
    Batch all = batch_make(B, len, L, 1, token);
    net_forward(n, &all.b);
    ops->download(n->dev, whole, rows_of(n->logits, B));
    for (int round = 0; round < 2; round++)
        for (int t = 0; t < L; t++) {
            int32_t tok[B];
            for (int i = 0; i < B; i++) one[i] = t + 1, tok[i] = token[i * L + t];
            Batch b = batch_make(B, one, 1, 30 * round, tok);
            for (int i = 0; i < B; i++) ((int32_t *)(uintptr_t)b.b.pages)[i * b.b.max_pages] = 30 + 2 * i;
            for (int i = 0; i < B && t >= 16; i++)
                ((int32_t *)(uintptr_t)b.b.pages)[i * b.b.max_pages + 1] = 31 + 2 * i;
            net_forward(n, &b.b);
            if (t == L - 1) ops->download(n->dev, round ? again : steps, rows_of(n->logits, B));
            free(b.data);
        }
    double num = 0, den = 0;
    for (int i = 0; i < B * V; i++) num += pow((double)(whole[i] - steps[i]), 2), den += pow((double)whole[i], 2);
    report("prompt at once against token by token", den > 0 ? sqrt(num / den) : INFINITY, 2e-2,
           memcmp(steps, again, sizeof(float) * B * V) == 0);
    free(all.data), free(whole), free(steps), free(again);
    net_close(n);
}

/* ---- speed of whole passes ---- */

typedef struct {
    Net *n;
    Batch b;
    SampleRow *rows;
    SampleOut *out;
} StepRun;

static double steps_ms(StepRun *r, double budget)
{
    Err err;
    int n = 20;
    double ms = 0;
    for (int round = 0; round < 3; round++) { /* warm and tune, estimate, measure; one step ahead as the engine runs */
        CU(cudaDeviceSynchronize());
        int64_t t0 = clock_ns();
        for (int i = 0; i < n; i++) {
            net_forward(r->n, &r->b.b);
            ops->sample(r->n->dev, rows_of(r->n->logits, r->b.b.n_seq), r->rows, r->b.b.n_seq);
            if (i) must(ops->sample_wait(r->n->dev, r->out, r->b.b.n_seq, &err), &err);
        }
        must(ops->sample_wait(r->n->dev, r->out, r->b.b.n_seq, &err), &err);
        ms = (double)(clock_ns() - t0) * 1e-6 / n;
        n = round == 0 ? 3 : (int)MAX(3, MIN(1000, budget / ms));
    }
    return ms;
}

static void bench_step(Net *net, int n_seq, int min_len, int max_len, int n_new, double ceiling)
{
    int *len = calloc((size_t)n_seq, sizeof(int)), pages = 0;
    int32_t *token = calloc((size_t)n_seq * (size_t)n_new, 4);
    double tokens = 0;
    for (int i = 0; i < n_seq; i++) {
        len[i] = min_len + (int)((int64_t)(max_len - min_len) * i / n_seq), pages += (len[i] + 15) / 16;
        tokens += len[i];
    }
    for (int i = 0; i < n_seq * n_new; i++) token[i] = (int32_t)(next() % (uint64_t)net->s.vocab);
    StepRun r = { net, batch_make(n_seq, len, n_new, 0, token), calloc((size_t)n_seq, sizeof(SampleRow)),
                  calloc((size_t)n_seq, sizeof(SampleOut)) };
    for (int i = 0; i < n_seq; i++)
        r.rows[i] = (SampleRow){ .top_p = 1, .repetition = 1, .n_vocab = net->s.vocab, .target = -1 };
    double ms = steps_ms(&r, n_new > 1 ? 400 : 1200);
    const Shape *s = &net->s;
    double lin = (double)s->n_layer * (double)s->d *
                 ((s->n_head + 2 * s->n_kv) * s->hd + s->n_head * s->hd + 3.0 * s->ff),
           head = (double)s->vocab * s->d;
    double rows = (double)n_seq * n_new, kv = tokens * s->n_layer * s->n_kv * s->hd * 4;
    double gemm_ms = MAX(2 * (lin * rows + head * n_seq) / 650e9, 2 * (lin + head) / ceiling * 1e-9);
    double limit = gemm_ms + (n_new == 1 ? kv / ceiling * 1e-9 : 0);
    printf("%s B=%-5d ctx %d..%d new %d: %8.3f ms  %9.0f tok/s   limit %8.3f ms  %5.1f %%\n",
           n_new > 1 ? "prefill" : "decode ", n_seq, min_len, max_len, n_new, ms, rows / ms * 1e3, limit,
           100 * limit / ms);
    free(len), free(token), free(r.b.data), free(r.rows), free(r.out);
}

void bench_steps(double ceiling)
{
    Net *n = net_open((Shape){ 32, 4096, 32, 8, 128, 14336, 128256, 8192, 1024, 16384, 50000, 0 });
    static const int batch[] = { 1, 4, 8, 16, 64, 128, 256, 512, 1024 };
    for (size_t i = 0; i < COUNT(batch); i++) bench_step(n, batch[i], 128, 640, 1, ceiling);
    bench_step(n, 512, 243, 1013, 1, ceiling), bench_step(n, 1024, 243, 1013, 1, ceiling);
    bench_step(n, 1, 4096, 4096, 4096, ceiling), bench_step(n, 32, 250, 250, 250, ceiling);
    bench_step(n, 1, 128, 128, 128, ceiling);
    net_close(n);
}
