/* test_ops.c - every op but attention, sampling and products: each instruction set against a second writing in f64. */
#include "backend/device.h"

static const BackendOps *ops;
static const int widths[] = { 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 48, 63, 64, 100, 255, 576, 1000 };

enum { N_ROWS = 5, MAX_WIDTH = 1000 };

typedef struct {
    Device *d;
    const char *isa;
    Rng rng;
} Bed;

static void on_every_isa(void (*test)(Bed *b))
{
    for (int i = 0; i < (int)COUNT(all_isas); i++) {
        for (int threads = 1; threads <= 2; threads++) {
            Bed b = { open_cpu(all_isas[i], threads), all_isas[i], { 42 } };
            if (b.d) test(&b);
            ops->close(b.d);
        }
    }
}

/* ---- norms ---- */

static void norm_ref(double *out, const float *x, const float *w, int n, double eps, double w_bias)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)x[i] * x[i];
    double by = 1 / sqrt(sum / n + eps);
    for (int i = 0; i < n; i++) out[i] = x[i] * by * (w[i] + w_bias);
}

static void norm_on(Bed *b)
{
    float w[MAX_WIDTH];
    double want[MAX_WIDTH];
    for (int k = 0; k < (int)COUNT(widths); k++) {
        int n = widths[k];
        for (int i = 0; i < n; i++) w[i] = rng_normal(&b->rng);
        const Weight *weight = new_vector(b->d, w, n);
        Tensor in = new_tensor(b->d, N_ROWS, n), out = new_tensor(b->d, N_ROWS, n), x = new_tensor(b->d, N_ROWS, n);
        fill_normal(in, &b->rng, 3);
        fill_normal(x, &b->rng, 2);
        guard(out);
        float w_bias = k % 2 ? 1.0f : 0.0f;
        ops->norm(b->d, out, in, weight, 1e-5f, w_bias);
        for (int r = 0; r < N_ROWS; r++) {
            norm_ref(want, row_of(in, r), w, n, 1e-5f, w_bias);
            check_close(want, row_of(out, r), n, 1e-6, b->isa);
        }
        float sum[N_ROWS][MAX_WIDTH];
        for (int r = 0; r < N_ROWS; r++) {
            for (int i = 0; i < n; i++) sum[r][i] = row_of(x, r)[i] + row_of(in, r)[i];
        }
        ops->add_norm(b->d, x, out, in, weight, 1e-6f, w_bias);
        for (int r = 0; r < N_ROWS; r++) {
            assert_memory_equal(sum[r], row_of(x, r), (size_t)n * 4);
            norm_ref(want, sum[r], w, n, 1e-6f, w_bias);
            check_close(want, row_of(out, r), n, 1e-6, b->isa);
        }
        ops->norm(b->d, x, x, weight, 1e-6f, w_bias); /* in place gives the same bits */
        for (int r = 0; r < N_ROWS; r++) assert_memory_equal(row_of(x, r), row_of(out, r), (size_t)n * 4);
        check_guard(out);
        check_guard(x);
    }
}

static void norms(void **state)
{
    (void)state;
    on_every_isa(norm_on);
}

static void head_norm_on(Bed *b)
{
    static const int dims[] = { 8, 20, 32, 64, 80, 96, 128, 256 };
    double want[256];
    float w[256], before[8 * 256];
    for (int k = 0; k < (int)COUNT(dims); k++) {
        int n = dims[k], heads = 6, first = n;
        for (int i = 0; i < n; i++) w[i] = rng_normal(&b->rng);
        const Weight *weight = new_vector(b->d, w, n);
        Tensor x = new_tensor(b->d, 3, 8 * n);
        fill_normal(x, &b->rng, 1);
        memcpy(before, row_of(x, 2), (size_t)(8 * n) * 4);
        ops->head_norm(b->d, x, first, heads, n, weight, 1e-6f, 1);
        assert_memory_equal(before, row_of(x, 2), (size_t)n * 4);
        assert_memory_equal(before + 7 * n, row_of(x, 2) + 7 * n, (size_t)n * 4);
        for (int h = 1; h <= heads; h++) {
            norm_ref(want, before + h * n, w, n, 1e-6f, 1);
            check_close(want, row_of(x, 2) + h * n, n, 1e-6, b->isa);
        }
        check_guard(x);
    }
}

static void head_norms(void **state)
{
    (void)state;
    on_every_isa(head_norm_on);
}

/* ---- elementwise ---- */

static double act_ref(double x, GluAct a)
{
    if (a == GLU_SILU) return x / (1 + exp(-x));
    if (a == GLU_GELU_ERF) return 0.5 * x * (1 + erf(x / sqrt(2)));
    return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
}

static void glu_on(Bed *b)
{
    static const float edges[] = { 0, -0.0f, 100, -100, 1e4f, -1e4f, 88, -88, 1e-20f, -5, 9, -9 };
    for (int k = 0; k < (int)COUNT(widths); k++) {
        int n = widths[k];
        Tensor in = new_tensor(b->d, N_ROWS, 2 * n), out = new_tensor(b->d, N_ROWS, n);
        fill_normal(in, &b->rng, 3);
        for (int i = 0; i < (int)COUNT(edges) && i < n; i++) row_of(in, 0)[i] = edges[i];
        guard(out);
        for (int a = 0; a < 3; a++) {
            ops->glu(b->d, out, in, (GluAct)a);
            for (int r = 0; r < N_ROWS; r++) {
                const float *x = row_of(in, r);
                for (int i = 0; i < n; i++) {
                    double y = act_ref(x[i], (GluAct)a) * x[n + i];
                    double scale = fmax(fabs(x[i] * (double)x[n + i]), 1e-30); /* gelu's tail is a difference */
                    if (!(fabs(y - row_of(out, r)[i]) <= 5e-7 * scale)) {
                        print_error("%s: glu %d of %g: %g, not %g\n", b->isa, a, x[i], row_of(out, r)[i], y);
                    }
                    assert_true(fabs(y - row_of(out, r)[i]) <= 5e-7 * scale);
                }
            }
        }
        check_guard(out);
    }
}

static void glus(void **state)
{
    (void)state;
    on_every_isa(glu_on);
}

static void add_softcap_on(Bed *b)
{
    double want[MAX_WIDTH];
    for (int k = 0; k < (int)COUNT(widths); k++) {
        int n = widths[k];
        Tensor x = new_tensor(b->d, N_ROWS, n), y = new_tensor(b->d, N_ROWS, n);
        float sum[MAX_WIDTH];
        fill_normal(x, &b->rng, 40);
        fill_normal(y, &b->rng, 1);
        for (int i = 0; i < n; i++) sum[i] = row_of(x, 4)[i] + row_of(y, 4)[i];
        ops->add(b->d, x, y);
        assert_memory_equal(sum, row_of(x, 4), (size_t)n * 4);
        row_of(x, 4)[0] = sum[0] = 1e6f;
        ops->softcap(b->d, x, 30);
        for (int i = 0; i < n; i++) want[i] = 30 * tanh(sum[i] / 30.0);
        check_close(want, row_of(x, 4), n, 5e-7, b->isa);
        memcpy(sum, row_of(x, 3), (size_t)n * 4);
        ops->softcap(b->d, x, -0.0625f);
        for (int i = 0; i < n; i++) assert_true(row_of(x, 3)[i] == sum[i] * 0.0625f);
        check_guard(x);
    }
}

static void add_and_softcap(void **state)
{
    (void)state;
    on_every_isa(add_softcap_on);
}

/* ---- rope ---- */

static void rope_case(Bed *b, int head_dim, int rot, bool interleaved)
{
    enum { HEADS = 5, ROTATED = 4, N = 6 };
    static const int32_t pos[N] = { 0, 1, 7, 255, 256, 4095 };
    float freq[256];
    for (int i = 0; i < rot / 2; i++) freq[i] = powf(10000, -2.0f * (float)i / (float)rot);
    int table;
    Err err;
    RopeTable t = { freq, rot, interleaved, interleaved ? 1.25f : 1.0f };
    assert_int_equal(ops->rope_table(b->d, &t, 4096, &table, &err), OK);
    Tensor x = new_tensor(b->d, N, HEADS * head_dim), y = new_tensor(b->d, N, HEADS * head_dim);
    fill_normal(x, &b->rng, 1);
    memcpy(y.p, x.p, (size_t)N * (size_t)x.stride * 4);
    DeviceBatch batch = { .n_tok = N, .n_seq = 0, .pos = pos };
    ops->forward_begin(b->d, &batch);
    ops->rope(b->d, y, ROTATED, head_dim, table);
    ops->forward_end(b->d);
    double want[HEADS * 256];
    for (int r = 0; r < N; r++) {
        for (int i = 0; i < HEADS * head_dim; i++) want[i] = row_of(x, r)[i];
        for (int h = 0; h < ROTATED; h++) {
            for (int i = 0; i < rot / 2; i++) {
                int p = h * head_dim + (interleaved ? 2 * i : i), q = p + (interleaved ? 1 : rot / 2);
                double angle = (float)pos[r] * freq[i], c = cos(angle) * t.mscale, s = sin(angle) * t.mscale;
                want[p] = row_of(x, r)[p] * c - row_of(x, r)[q] * s;
                want[q] = row_of(x, r)[q] * c + row_of(x, r)[p] * s;
            }
        }
        check_close(want, row_of(y, r), HEADS * head_dim, 5e-7, b->isa);
    }
    check_guard(y);
}

static void rope_on(Bed *b)
{
    static const int dims[][2] = {
        { 64, 64 }, { 128, 128 }, { 80, 32 }, { 96, 96 }, { 20, 12 }, { 256, 64 }, { 8, 2 }
    };
    for (int i = 0; i < (int)COUNT(dims); i++) {
        rope_case(b, dims[i][0], dims[i][1], false);
        rope_case(b, dims[i][0], dims[i][1], true);
    }
}

static void ropes(void **state)
{
    (void)state;
    on_every_isa(rope_on);
}

/* ---- embed, gather, download, memory ---- */

static void embed_on(Bed *b)
{
    enum { VOCAB = 50, WIDTH = 40, N = 7 };
    static const int32_t token[N] = { 0, 49, 3, 3, 17, 20, 1 }, wanted[3] = { 1, 4, 6 };
    float table[VOCAB * WIDTH], got[3 * WIDTH];
    for (int i = 0; i < VOCAB * WIDTH; i++) table[i] = rng_normal(&b->rng);
    WeightBand band = { .dtype = DT_F32, .rows = VOCAB, .cols = WIDTH, .data = table };
    Weight *w;
    Err err;
    assert_int_equal(ops->weight(b->d, WEIGHT_EMBED, &band, 1, &w, &err), OK);
    assert_true(ops->weight_bytes(b->d) >= sizeof table);
    Tensor x = new_tensor(b->d, N, WIDTH);
    guard(x);
    int32_t pos[N] = { 0 };
    DeviceBatch batch = { .n_tok = N, .token = token, .pos = pos, .n_logit = 3, .logit_row = wanted };
    ops->forward_begin(b->d, &batch);
    ops->embed(b->d, x, w, 2.5f);
    for (int r = 0; r < N; r++) {
        for (int c = 0; c < WIDTH; c++) assert_true(row_of(x, r)[c] == table[token[r] * WIDTH + c] * 2.5f);
    }
    Tensor out = new_tensor(b->d, 3, WIDTH);
    ops->gather(b->d, out, x);
    ops->download(b->d, got, out);
    for (int i = 0; i < 3; i++) assert_memory_equal(got + i * WIDTH, row_of(x, wanted[i]), WIDTH * 4);
    Tensor same = x;
    same.rows = 3;
    ops->gather(b->d, same, x);
    ops->forward_end(b->d);
    for (int i = 0; i < 3; i++) assert_memory_equal(got + i * WIDTH, row_of(x, i), WIDTH * 4);
}

static void embeds_and_gathers(void **state)
{
    (void)state;
    on_every_isa(embed_on);
}

static void options_are_checked(void **state)
{
    (void)state;
    Device *d;
    Err err;
    assert_int_equal(ops->open(&(DeviceOptions){ .isa = "sse9" }, &d, &err), E_INVALID);
    assert_int_equal(ops->open(&(DeviceOptions){ .index = 1 }, &d, &err), E_NOT_FOUND);
    assert_int_equal(ops->open(&(DeviceOptions){ .threads = -1 }, &d, &err), E_INVALID);
    assert_int_equal(ops->open(&(DeviceOptions){ .threads = 2 }, &d, &err), OK);
    DeviceInfo info;
    ops->info(d, &info);
    assert_true(info.name[0] && info.memory_total > 0 && info.memory_free > 0);
    KvCache *kv;
    KvShape shape = { 2, 3, 64, 10, DT_NONE };
    assert_true(ops->kv_page_bytes(d, shape) >= (size_t)2 * 3 * 64 * 16 * 2 * 2);
    shape.dtype = DT_Q4_0;
    assert_int_equal(ops->kv_cache(d, shape, &kv, &err), E_UNSUPPORTED);
    ops->close(d);
    ops->close(NULL);
    assert_null(backend_find("abacus"));
}

/* ---- a whole step ---- */

enum { D_MODEL = 64, HEADS = 4, KV_HEADS = 2, HEAD = 16, FF = 96, VOCAB = 300, QKV = (HEADS + 2 * KV_HEADS) * HEAD };

typedef struct {
    Device *d;
    Weight *embed, *qkv, *o, *gate_up, *down;
    const Weight *norm;
    Tensor x, h, q, a, gu, ff, logits;
    KvCache *kv;
    int rope;
} Net;

static Weight *matrix(Net *m, WeightUse use, int rows, int cols)
{
    WeightBand band = { .dtype = DT_F32, .rows = rows, .cols = cols, .dummy_seed = 7, .dummy_std = 0.1f };
    Weight *w;
    Err err;
    assert_int_equal(ops->weight(m->d, use, &band, 1, &w, &err), OK);
    return w;
}

static void build(Net *m, int rows)
{
    float ones[D_MODEL], freq[HEAD / 2];
    for (int i = 0; i < D_MODEL; i++) ones[i] = 1;
    for (int i = 0; i < HEAD / 2; i++) freq[i] = 1.0f / (float)(1 + i);
    Err err;
    m->norm = new_vector(m->d, ones, D_MODEL);
    m->embed = matrix(m, WEIGHT_EMBED, VOCAB, D_MODEL);
    m->qkv = matrix(m, WEIGHT_LINEAR, QKV, D_MODEL);
    m->o = matrix(m, WEIGHT_LINEAR, D_MODEL, HEADS * HEAD);
    m->gate_up = matrix(m, WEIGHT_LINEAR, 2 * FF, D_MODEL);
    m->down = matrix(m, WEIGHT_LINEAR, D_MODEL, FF);
    m->x = new_tensor(m->d, rows, D_MODEL);
    m->h = new_tensor(m->d, rows, D_MODEL);
    m->q = new_tensor(m->d, rows, QKV);
    m->a = new_tensor(m->d, rows, HEADS * HEAD);
    m->gu = new_tensor(m->d, rows, 2 * FF);
    m->ff = new_tensor(m->d, rows, FF);
    m->logits = new_tensor(m->d, rows, VOCAB);
    assert_int_equal(ops->kv_cache(m->d, (KvShape){ 1, KV_HEADS, HEAD, 64, DT_NONE }, &m->kv, &err), OK);
    assert_int_equal(ops->rope_table(m->d, &(RopeTable){ freq, HEAD, false, 1 }, 1024, &m->rope, &err), OK);
}

static Tensor rows_of(Tensor t, int rows)
{
    t.rows = rows;
    return t;
}

static void step(Net *m, const DeviceBatch *b, const SampleRow *rows, SampleOut *out)
{
    Err err;
    int n = b->n_tok;
    AttnParams p = { HEADS, KV_HEADS, HEAD, 0.25f, 0, 0, NULL };
    Tensor x = rows_of(m->x, n), h = rows_of(m->h, n), q = rows_of(m->q, n), a = rows_of(m->a, n);
    ops->forward_begin(m->d, b);
    ops->embed(m->d, x, m->embed, 1);
    ops->norm(m->d, h, x, m->norm, 1e-5f, 0);
    ops->linear(m->d, q, h, m->qkv, NULL, false);
    ops->rope(m->d, q, HEADS + KV_HEADS, HEAD, m->rope);
    ops->kv_store(m->d, m->kv, 0, q, HEADS);
    ops->attend(m->d, a, q, m->kv, 0, &p);
    ops->linear(m->d, h, a, m->o, NULL, false);
    ops->add_norm(m->d, x, a, h, m->norm, 1e-5f, 0);
    ops->linear(m->d, rows_of(m->gu, n), a, m->gate_up, NULL, false);
    ops->glu(m->d, rows_of(m->ff, n), rows_of(m->gu, n), GLU_SILU);
    ops->linear(m->d, x, rows_of(m->ff, n), m->down, NULL, true);
    ops->gather(m->d, rows_of(h, b->n_logit), x);
    ops->linear(m->d, rows_of(m->logits, b->n_logit), rows_of(h, b->n_logit), m->embed, NULL, false);
    ops->forward_end(m->d);
    ops->sample(m->d, rows_of(m->logits, b->n_logit), rows, b->n_logit);
    assert_int_equal(ops->sample_wait(m->d, out, b->n_logit, &err), OK);
}

/* After one step of each kind, steps of new sizes and positions allocate nothing; and a token that only the device knows
 * (token -1 - i) gives what the token itself gives. */
static void steady_on(Bed *b)
{
    enum { SEQS = 8, STEPS = 40 };
    Net m = { .d = b->d };
    build(&m, 32);
    int32_t token[32], pos[32], start[SEQS + 1], len[SEQS], pages[SEQS][4], wanted[SEQS];
    SampleRow rows[SEQS];
    SampleOut out[SEQS], known[SEQS];
    for (int s = 0; s < SEQS; s++) {
        for (int i = 0; i < 4; i++) pages[s][i] = s * 4 + (i + s) % 4;
        rows[s] = (SampleRow){ .temperature = 1, .top_p = 0.9f, .top_k = s * 10, .repetition = 1, .target = -1 };
        rows[s].want_logprob = true;
        rows[s].n_top = 3;
        rows[s].seed = (uint64_t)s;
    }
    uint64_t before = 0;
    for (int t = 0; t < STEPS; t++) {
        int n_seq = t == 0 ? SEQS : 1 + t % SEQS; /* the first step sees the largest batch */
        for (int s = 0; s <= n_seq; s++) start[s] = s;
        for (int s = 0; s < n_seq; s++) {
            token[s] = t == 0 ? s + 1 : out[s % (1 + (t - 1) % SEQS)].token;
            pos[s] = t;
            len[s] = t + 1;
            wanted[s] = s;
            rows[s].counter = (uint64_t)t;
        }
        DeviceBatch batch = { n_seq, n_seq, 4, token, pos, start, len, pages[0], NULL, n_seq, wanted };
        if (t == 1) before = mem_allocations();
        step(&m, &batch, rows, out);
        for (int s = 0; s < n_seq; s++) assert_in_range(out[s].token, 0, VOCAB - 1);
    }
    assert_int_equal(mem_allocations(), before);
    int32_t p0[1] = { STEPS }, s0[2] = { 0, 1 }, l0[1] = { STEPS + 1 }, w0[1] = { 0 }, later[1] = { -1 };
    DeviceBatch one = { 1, 1, 4, &out[0].token, p0, s0, l0, pages[0], NULL, 1, w0 };
    DeviceBatch two = one;
    two.token = later;
    SampleOut again[1];
    for (int s = 0; s < SEQS; s++) out[0].token = token[0];
    step(&m, &one, rows, known);
    out[0].token = known[0].token;
    step(&m, &one, rows, known);
    out[0].token = token[0];
    step(&m, &one, rows, again);
    step(&m, &two, rows, again);
    assert_int_equal(again[0].token, known[0].token);
    assert_true(again[0].logprob == known[0].logprob);
}

static void steady_step_allocates_nothing(void **state)
{
    (void)state;
    on_every_isa(steady_on);
}

int main(void)
{
    ops = backend_find("cpu");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms),
        cmocka_unit_test(head_norms),
        cmocka_unit_test(glus),
        cmocka_unit_test(add_and_softcap),
        cmocka_unit_test(ropes),
        cmocka_unit_test(embeds_and_gathers),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(steady_step_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
