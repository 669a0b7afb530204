/* gpu_check_draw.c - sampling: the kernel against a sort, through the backend's own calls. */
#include "backend/backend.h"
#include "gpu_check.h"

extern const BackendOps backend_cuda;

typedef struct {
    float v;
    int32_t id;
} Ranked;

static int falling(const void *a, const void *b)
{
    const Ranked *x = a, *y = b;
    if (x->v != y->v) return x->v > y->v ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static void change(float *y, const SampleRow *r)
{
    for (int i = 0; i < r->n_seen; i++) {
        float *v = &y[r->seen[i].id];
        if (r->seen[i].n_out || r->seen[i].in_prompt) *v = *v > 0 ? *v / r->repetition : *v * r->repetition;
        *v -= r->frequency * (float)r->seen[i].n_out;
        if (r->seen[i].n_out) *v -= r->presence;
    }
    for (int i = 0; i < r->n_bias; i++) y[r->bias[i].id] += r->bias[i].add;
    for (int i = 0; i < r->n_banned; i++) y[r->banned[i]] = -INFINITY;
    for (int i = 0; i < r->n_vocab; i++)
        if (r->allowed && !(r->allowed[i / 32] >> (i % 32) & 1)) y[i] = -INFINITY;
}

/* How far the drawn token is from what the definition draws, in probability: 0 if it is the same. */
static double miss(const float *x, const SampleRow *r, int32_t token)
{
    int n = r->n_vocab, m = 0, keep = 0;
    float *y = malloc(sizeof(float) * (size_t)n);
    Ranked *k = malloc(sizeof(Ranked) * (size_t)n);
    double *w = calloc((size_t)n, sizeof(double)), total = 0, cum = 0, far = 0;
    memcpy(y, x, sizeof(float) * (size_t)n);
    change(y, r);
    for (int i = 0; i < n; i++)
        if (y[i] > -INFINITY) k[m++] = (Ranked){ y[i], i };
    qsort(k, (size_t)m, sizeof *k, falling);
    if (r->temperature <= 0) {
        far = token == k[0].id ? 0 : 1;
        goto out;
    }
    keep = r->top_k > 0 ? MIN(r->top_k, m) : m;
    for (int i = 0; i < keep; i++) {
        double p = exp(((double)k[i].v - k[0].v) / r->temperature);
        if (r->min_p > 0 && p < r->min_p)
            keep = i;
        else
            total += p;
    }
    for (int i = 0; i < keep && r->top_p < 1; i++) {
        cum += exp(((double)k[i].v - k[0].v) / r->temperature);
        if (cum >= r->top_p * total) keep = i + 1;
    }
    total = 0;
    for (int i = 0; i < keep; i++) total += w[k[i].id] = exp(((double)k[i].v - k[0].v) / r->temperature);
    double u = (double)rng_uniform(r->seed, r->counter, 0) * total, lo = 0;
    for (int i = 0; i < token; i++) lo += w[i];
    if (w[token] == 0)
        far = 1;
    else if (u < lo)
        far = (lo - u) / total;
    else if (u > lo + w[token])
        far = (u - lo - w[token]) / total;
out:
    free(y), free(k), free(w);
    return far;
}

static bool in_mask(const SampleRow *r, int i)
{
    return !r->allowed || (r->allowed[i / 32] >> (i % 32) & 1);
}

static void check_logprobs(const float *x, const SampleRow *r, const SampleOut *o, double *worst)
{
    double top = -1e300, sum = 0;
    int n = 0;
    for (int i = 0; i < r->n_vocab; i++)
        if (in_mask(r, i)) top = MAX(top, (double)x[i]), n++;
    for (int i = 0; i < r->n_vocab; i++)
        if (in_mask(r, i)) sum += exp((double)x[i] - top);
    *worst = MAX(*worst, fabs((double)o->logprob - ((double)x[o->token] - top - log(sum))));
    for (int t = 0; t < r->n_top; t++) {
        if (t >= n || o->top_id[t] < 0) {
            if (t < n || o->top_id[t] >= 0) *worst = 1;
            continue;
        }
        *worst = MAX(*worst, fabs((double)o->top_logprob[t] - ((double)x[o->top_id[t]] - top - log(sum))));
        int above = 0;
        for (int i = 0; i < r->n_vocab; i++)
            above += in_mask(r, i) && (x[i] > x[o->top_id[t]] || (x[i] == x[o->top_id[t]] && i < o->top_id[t]));
        if (above != t || !in_mask(r, o->top_id[t])) *worst = 1;
    }
}

enum { ROWS = 96 };

static void make_row(SampleRow *r, int i, int n_vocab, TokenCount *seen, LogitBias *bias, int32_t *banned,
                     uint32_t *allowed)
{
    *r = (SampleRow){ .temperature = i % 4 == 0 ? 0 : 0.3f + uniform(),
                      .top_p = i % 3 == 1 ? 0.1f + 0.85f * uniform() : 1,
                      .min_p = i % 5 == 2 ? 0.2f * uniform() : 0,
                      .top_k = i % 3 == 2 ? 1 + (int)(next() % 60) : 0,
                      .repetition = 1,
                      .seed = next(),
                      .counter = (uint64_t)i,
                      .n_vocab = n_vocab,
                      .target = -1,
                      .want_logprob = i % 2 == 0,
                      .n_top = i % 7 == 0 || i % 10 == 4 ? 5 : 0 };
    if (i % 6 == 5) {
        for (int k = 0; k < MIN(40, n_vocab); k++)
            seen[k] = (TokenCount){ (k * 37 + i) % n_vocab, (uint16_t)(k % 3), (uint16_t)(k % 2) };
        r->seen = seen, r->n_seen = MIN(40, n_vocab), r->frequency = 0.5f, r->presence = 0.3f, r->repetition = 1.2f;
    }
    if (i % 8 == 3) {
        for (int k = 0; k < 5; k++) bias[k] = (LogitBias){ (k * 101 + i) % n_vocab, 3.f * normal() };
        banned[0] = 5 % n_vocab, banned[1] = 77 % n_vocab;
        r->bias = bias, r->n_bias = 5, r->banned = banned, r->n_banned = 2;
    }
    if (i % 10 == 4) {
        int sparse = i % 20 == 4; /* some masks leave a few ids, or one */
        for (int k = 0; k < (n_vocab + 31) / 32; k++) allowed[k] = (uint32_t)next() & (uint32_t)next();
        for (int k = 1; k < (n_vocab + 31) / 32 && sparse; k++)
            allowed[k] = next() % 64 == 0 ? allowed[k] & (uint32_t)next() & (uint32_t)next() : 0;
        allowed[0] |= 1;
        r->allowed = allowed;
    }
}

static void check_vocab(Device *d, int n_vocab, float sharp, bool ties)
{
    Tensor t;
    Err err;
    if (backend_cuda.tensor(d, ROWS, n_vocab + 3, DT_F32, &t, &err) != OK) cu(cudaErrorMemoryAllocation, err.text);
    float *x = malloc(sizeof(float) * (size_t)t.stride * ROWS);
    for (int i = 0; i < t.stride * ROWS; i++) x[i] = ties ? (float)(next() % 7) : sharp * normal();
    for (int r = 0; r < ROWS; r++)
        for (int i = n_vocab; i < t.stride; i++) x[r * t.stride + i] = NAN; /* padding must not be seen */
    CU(cudaMemcpy(t.p, x, sizeof(float) * (size_t)t.stride * ROWS, cudaMemcpyHostToDevice));
    SampleRow rows[ROWS];
    SampleOut out[ROWS], again[ROWS];
    TokenCount *seen = calloc(ROWS * 40, sizeof *seen);
    LogitBias *bias = calloc(ROWS * 5, sizeof *bias);
    int32_t *banned = calloc(ROWS * 2, sizeof *banned);
    size_t words = (size_t)(n_vocab + 31) / 32;
    uint32_t *allowed = calloc(ROWS * words, 4);
    for (int i = 0; i < ROWS; i++)
        make_row(&rows[i], i, n_vocab, seen + i * 40, bias + i * 5, banned + i * 2, allowed + (size_t)i * words);
    memset(out, 0, sizeof out), memset(again, 0, sizeof again);
    backend_cuda.sample(d, t, rows, ROWS);
    backend_cuda.sample(d, t, rows, ROWS);
    if (backend_cuda.sample_wait(d, out, ROWS, &err) != OK || backend_cuda.sample_wait(d, again, ROWS, &err) != OK)
        cu(cudaErrorUnknown, err.text);
    double far = 0, worst = 0;
    int bad = -1;
    for (int i = 0; i < ROWS; i++) {
        double m = out[i].token >= 0 && out[i].token < n_vocab ? miss(x + i * t.stride, &rows[i], out[i].token) : 2;
        if (m > far) far = m, bad = i;
        if (rows[i].want_logprob || rows[i].n_top) check_logprobs(x + i * t.stride, &rows[i], &out[i], &worst);
    }
    char name[100];
    snprintf(name, sizeof name, "draw, vocabulary %d, std %g%s (row %d)", n_vocab, (double)sharp, ties ? ", ties" : "",
             bad);
    report(name, far, 2e-5, memcmp(out, again, sizeof out) == 0);
    snprintf(name, sizeof name, "logprobs, vocabulary %d", n_vocab);
    report(name, worst, 2e-5, true);
    free(x), free(seen), free(bias), free(banned), free(allowed);
}

static Device *open_device(void)
{
    Device *d;
    Err err;
    DeviceOptions o = { 0 };
    if (backend_cuda.open(&o, &d, &err) != OK) {
        printf("%s\n", err.text);
        exit(1);
    }
    return d;
}

void check_draw(void)
{
    Device *d = open_device();
    check_vocab(d, 17, 1, false);
    check_vocab(d, 257, 2, false);
    check_vocab(d, 1000, 1, true);
    check_vocab(d, 49152, 3, false);
    check_vocab(d, 128256, 2.5f, false);
    check_vocab(d, 32001, 0.001f, false);
    backend_cuda.close(d);
}

/* ---- speed ---- */

typedef struct {
    DrawArgs a;
} DrawRun;

static void draw_launch(void *ctx)
{
    launch_draw(stream, &((DrawRun *)ctx)->a);
}

void bench_draw(void)
{
    enum { V = 128256, R = 1024 };
    static const struct {
        const char *name;
        float inv_temp, top_p;
        int top_k;
    } kinds[] = { { "greedy", 0, 1, 0 },
                  { "temperature", 1, 1, 0 },
                  { "top_k 50", 1, 1, 50 },
                  { "top_p 0.9", 1, 0.9f, 0 },
                  { "top_k 50 top_p 0.9", 1, 0.9f, 50 } };
    DrawRun d = { { .logits = dev_alloc((size_t)V * R * 4),
                    .stride = V,
                    .list = dev_alloc(64),
                    .save = dev_alloc(64),
                    .token = dev_alloc(R * 4),
                    .logprob = dev_alloc(R * 4),
                    .top_id = dev_alloc(R * 80),
                    .top_logprob = dev_alloc(R * 80) } };
    launch_fill(stream, d.a.logits, (size_t)V * R, 3, 2.f, true);
    for (size_t k = 0; k < COUNT(kinds); k++) {
        printf("draw %-22s", kinds[k].name);
        for (int n = 1; n <= R; n *= 32) {
            DrawRow *rows = calloc((size_t)n, sizeof *rows);
            for (int i = 0; i < n; i++)
                rows[i] = (DrawRow){ .inv_temp = kinds[k].inv_temp,
                                     .top_p = kinds[k].top_p,
                                     .top_k = kinds[k].top_k,
                                     .repetition = 1,
                                     .uniform = uniform(),
                                     .n_vocab = V,
                                     .target = -1,
                                     .allowed_at = -1 };
            d.a.rows = n;
            d.a.row = dev_copy(rows, sizeof *rows * (size_t)n);
            printf("  %4d rows %8.1f us", n, time_ms(draw_launch, &d, 40) * 1e3);
            cudaFree((void *)(uintptr_t)d.a.row);
            free(rows);
        }
        printf("\n");
    }
    cudaFree(d.a.logits);
}
