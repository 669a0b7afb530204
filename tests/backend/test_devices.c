/* test_devices.c - every op of every backend that computes here, against the CPU's plain loops: odd sizes, tensors and pages full
 * of NaN before, pages in random order, several sequences of all kinds in one pass.
 *
 * Only the door is used. Values get onto a device as rows of an embedding table, so inputs are rounded to bf16 first and are the
 * same everywhere; f32 tensors get them through a product with the identity. Where there is no GPU the CPU's best instruction
 * set stands in, so that the test itself is tested. */
#include "backend/device.h"

enum { N_DEV = 2, ROWS_MAX = 2048, PAGE = 16, PAGES = 96 };

typedef struct {
    const BackendOps *ops[N_DEV]; /* 0: the definition */
    Device *d[N_DEV];
    Rng rng;
    const char *name;
    int32_t token[ROWS_MAX], pos[ROWS_MAX], pages[PAGES];
} Bed;

typedef struct {
    Tensor t[N_DEV];
} Pair;

typedef struct {
    Weight *w[N_DEV];
} PairWeight;

/* ---- values onto both devices, and back ---- */

static float *rounded(Bed *b, size_t n, float std)
{
    float *v = mem_alloc_array(n, sizeof *v);
    for (size_t i = 0; i < n; i++) v[i] = bf16_to_f32(f32_to_bf16(std * rng_normal(&b->rng)));
    return v;
}

static PairWeight weight(Bed *b, WeightUse use, const float *v, int rows, int cols)
{
    PairWeight w;
    Err err = { 0 };
    WeightBand band = { .dtype = DT_F32, .rows = rows, .cols = cols, .data = v };
    for (int i = 0; i < N_DEV; i++)
        if (b->ops[i]->weight(b->d[i], use, &band, 1, &w.w[i], &err) != OK) fail_msg("%s", err.text);
    return w;
}

static PairWeight random_weight(Bed *b, WeightUse use, int rows, int cols, float std)
{
    float *v = rounded(b, (size_t)rows * (size_t)cols, std);
    PairWeight w = weight(b, use, v, rows, cols);
    mem_free(v);
    return w;
}

/* One sequence whose every row may be wanted. */
static DeviceBatch plain_batch(Bed *b, int rows)
{
    static const uint64_t id = 1;
    static int32_t start[2], len[1];
    CHECK(rows <= ROWS_MAX && rows <= PAGES * PAGE);
    start[1] = len[0] = rows;
    for (int i = 0; i < rows; i++) b->token[i] = b->pos[i] = i;
    for (int i = 0; i < PAGES; i++) b->pages[i] = i;
    return (DeviceBatch){ rows, 1, PAGES, b->token, b->pos, start, len, b->pages, &id, rows, b->pos };
}

static void fill(Bed *b, Pair *p, const float *v, int rows, int cols)
{
    PairWeight w = weight(b, WEIGHT_EMBED, v, rows, cols);
    for (int i = 0; i < N_DEV; i++) {
        DeviceBatch batch = plain_batch(b, rows);
        Tensor t = p->t[i];
        t.rows = rows;
        b->ops[i]->forward_begin(b->d[i], &batch);
        b->ops[i]->embed(b->d[i], t, w.w[i], 1);
        b->ops[i]->forward_end(b->d[i]);
    }
}

static Pair empty(Bed *b, int rows, int cols, bool f32)
{
    Pair p;
    Err err = { 0 };
    for (int i = 0; i < N_DEV; i++)
        if (b->ops[i]->tensor(b->d[i], rows, cols, f32 ? DT_F32 : b->ops[i]->act, &p.t[i], &err) != OK)
            fail_msg("%s", err.text);
    return p;
}

/* What an op writes to: NaN until then. */
static Pair poisoned(Bed *b, int rows, int cols)
{
    Pair p = empty(b, rows, cols, false);
    float *v = mem_alloc_array((size_t)rows * (size_t)cols, sizeof *v);
    for (size_t i = 0; i < (size_t)rows * (size_t)cols; i++) v[i] = NAN;
    fill(b, &p, v, rows, cols);
    mem_free(v);
    return p;
}

static Pair random_pair(Bed *b, int rows, int cols, float std)
{
    Pair p = empty(b, rows, cols, false);
    float *v = rounded(b, (size_t)rows * (size_t)cols, std);
    fill(b, &p, v, rows, cols);
    mem_free(v);
    return p;
}

/* Largest difference beside the largest value of the row; NaN is infinitely far. */
static void same(Bed *b, const Pair *p, int rows, double tol, const char *what)
{
    int cols = p->t[0].cols;
    size_t n = (size_t)rows * (size_t)cols;
    float *v[N_DEV];
    double worst = 0;
    for (int i = 0; i < N_DEV; i++) {
        Tensor t = p->t[i];
        t.rows = rows;
        v[i] = mem_alloc_array(n, sizeof(float));
        b->ops[i]->download(b->d[i], v[i], t);
    }
    for (int r = 0; r < rows; r++) {
        const float *want = v[0] + (size_t)r * (size_t)cols, *got = v[1] + (size_t)r * (size_t)cols;
        double top = 1e-20, off = 0;
        for (int c = 0; c < cols; c++) {
            double diff = fabs((double)want[c] - (double)got[c]);
            top = fmax(top, fabs((double)want[c]));
            if (!(diff <= off)) off = diff;
        }
        if (!(off / top <= worst)) worst = off / top;
    }
    if (!(worst <= tol))
        print_error("%s, %s, %d x %d: off by %.3g of the row's top\n", b->name, what, rows, cols, worst);
    assert_true(worst <= tol);
    for (int i = 0; i < N_DEV; i++) mem_free(v[i]);
}

/* Runs ops of one pass over `rows` rows on device i: the loop's body is the pass. */
#define PASS(b, i, batch)                                                                                              \
    for (int i = 0; i < N_DEV; i++)                                                                                    \
        for (bool once_ = ((b)->ops[i]->forward_begin((b)->d[i], (batch)), true); once_;                               \
             once_ = ((b)->ops[i]->forward_end((b)->d[i]), false))

static Tensor top(Tensor t, int rows)
{
    t.rows = rows;
    return t;
}

/* ---- row by row ---- */

static const int widths[] = { 8, 24, 64, 100, 576, 1000, 4096 }, counts[] = { 1, 2, 3, 7, 16, 33, 130 };

static void row_ops(Bed *b)
{
    for (size_t k = 0; k < COUNT(widths); k++) {
        int n = widths[k], rows = counts[k];
        DeviceBatch batch = plain_batch(b, rows);
        PairWeight w = random_weight(b, WEIGHT_VECTOR, 1, n, 1);
        Pair x = random_pair(b, rows, n, 2), y = random_pair(b, rows, n, 1), out = poisoned(b, rows, n),
             sum = poisoned(b, rows, n), gate = random_pair(b, rows, 2 * n, 3), glu[3], few = poisoned(b, rows, n);
        for (int a = 0; a < 3; a++) glu[a] = poisoned(b, rows, n);
        static const int32_t wanted[] = { 0, 2, 5, 6 };
        batch = plain_batch(b, rows);
        batch.n_logit = rows >= 7 ? 4 : 1;
        batch.logit_row = wanted;
        PASS(b, i, &batch)
        {
            const BackendOps *o = b->ops[i];
            o->norm(b->d[i], out.t[i], x.t[i], w.w[i], 1e-5f, k % 2 ? 1.0f : 0.0f);
            for (int a = 0; a < 3; a++) o->glu(b->d[i], glu[a].t[i], gate.t[i], (GluAct)a);
            o->gather(b->d[i], top(few.t[i], batch.n_logit), y.t[i]);
            o->add_norm(b->d[i], x.t[i], sum.t[i], y.t[i], w.w[i], 1e-6f, 0);
            o->add(b->d[i], y.t[i], x.t[i]);
            o->softcap(b->d[i], y.t[i], 4);
        }
        same(b, &out, rows, 5e-3, "norm");
        for (int a = 0; a < 3; a++) same(b, &glu[a], rows, 5e-3, "glu");
        same(b, &few, batch.n_logit, 0, "gather");
        same(b, &x, rows, 5e-3, "add_norm: the sum");
        same(b, &sum, rows, 1.2e-2, "add_norm");
        same(b, &y, rows, 1.2e-2, "add, softcap");
    }
}

static void heads(Bed *b)
{
    static const int dims[][3] = { { 64, 64, 0 }, { 128, 128, 1 }, { 96, 96, 0 }, { 80, 32, 0 }, { 256, 64, 1 } };
    enum { HEADS = 5, TURNING = 4, N = 37 };
    for (size_t k = 0; k < COUNT(dims); k++) {
        int dim = dims[k][0], rot = dims[k][1], table[N_DEV];
        float freq[128];
        Err err = { 0 };
        for (int i = 0; i < rot / 2; i++) freq[i] = powf(10000, -2.0f * (float)i / (float)rot);
        RopeTable t = { freq, rot, dims[k][2] == 1, 1.1f };
        for (int i = 0; i < N_DEV; i++) assert_int_equal(b->ops[i]->rope_table(b->d[i], &t, 8192, &table[i], &err), OK);
        PairWeight w = random_weight(b, WEIGHT_VECTOR, 1, dim, 1);
        Pair x = random_pair(b, N, HEADS * dim, 1);
        DeviceBatch batch = plain_batch(b, N);
        int32_t pos[N];
        for (int i = 0; i < N; i++) pos[i] = (int32_t)rng_below(&b->rng, PAGES * PAGE);
        batch.pos = pos;
        PASS(b, i, &batch)
        {
            b->ops[i]->head_norm(b->d[i], x.t[i], dim, 3, dim, w.w[i], 1e-6f, 0);
            b->ops[i]->rope(b->d[i], x.t[i], TURNING, dim, table[i]);
        }
        same(b, &x, N, 1.2e-2, "head_norm, rope");
    }
}

static void products(Bed *b)
{
    static const int shapes[][3] = { { 1, 48, 64 },      { 1, 4096, 1000 }, { 3, 776, 584 },  { 8, 1000, 4096 },
                                     { 17, 776, 584 },   { 33, 200, 4096 }, { 130, 72, 256 }, { 300, 1001, 512 },
                                     { 700, 640, 1024 }, { 5, 40, 24 } };
    for (size_t k = 0; k < COUNT(shapes); k++) {
        int rows = shapes[k][0], n = shapes[k][1], in = shapes[k][2];
        PairWeight w = random_weight(b, WEIGHT_LINEAR, n, in, 0.05f), bias = random_weight(b, WEIGHT_VECTOR, 1, n, 1);
        Pair x = random_pair(b, rows, in, 1), out = poisoned(b, rows, n), with_bias = poisoned(b, rows, n),
             more = random_pair(b, rows, n, 1), logits = empty(b, rows, n, true);
        DeviceBatch batch = plain_batch(b, rows);
        PASS(b, i, &batch)
        {
            const BackendOps *o = b->ops[i];
            o->linear(b->d[i], out.t[i], x.t[i], w.w[i], NULL, false);
            o->linear(b->d[i], with_bias.t[i], x.t[i], w.w[i], bias.w[i], false);
            o->linear(b->d[i], more.t[i], x.t[i], w.w[i], NULL, true);
            o->linear(b->d[i], logits.t[i], x.t[i], w.w[i], bias.w[i], false);
        }
        same(b, &out, rows, 1e-2, "linear");
        same(b, &with_bias, rows, 1e-2, "linear with bias");
        same(b, &more, rows, 1e-2, "linear, added");
        same(b, &logits, rows, 1e-2, "linear to f32");
    }
}

/* ---- attention ---- */

typedef struct {
    int head_dim, n_head, n_kv_head, window;
    float softcap;
    bool sinks;
} AttnCase;

enum { N_SEQ = 9 };
/* tokens of each sequence, and how many of them are new: decode, a whole prompt, a chunk in its middle or at its end */
static const int seq_len[N_SEQ] = { 1, 17, 40, 64, 5, 300, 33, 16, 129 },
                 seq_new[N_SEQ] = { 1, 1, 7, 64, 5, 1, 32, 1, 100 };

typedef struct {
    int n;
    int32_t start[N_SEQ + 1], len[N_SEQ], token[1024], pos[1024], pages[N_SEQ][PAGES];
    int first[1024]; /* the row of all rows that a row is */
} Ragged;

/* The last `take` tokens of each sequence. */
static DeviceBatch ragged_batch(Ragged *r, const int *take)
{
    static const uint64_t id[N_SEQ] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
    int before = 0;
    r->n = 0;
    for (int s = 0; s < N_SEQ; s++) {
        r->start[s] = r->n;
        r->len[s] = seq_len[s];
        for (int p = seq_len[s] - take[s]; p < seq_len[s]; p++) {
            r->token[r->n] = r->first[r->n] = before + p;
            r->pos[r->n++] = p;
        }
        before += seq_len[s];
    }
    r->start[N_SEQ] = r->n;
    return (DeviceBatch){ r->n, N_SEQ, PAGES, r->token, r->pos, r->start, r->len, r->pages[0], id, 0, NULL };
}

static void random_pages(Bed *b, Ragged *r)
{
    int32_t all[PAGES];
    int at = 0;
    for (int i = 0; i < PAGES; i++) all[i] = i;
    for (int i = PAGES - 1; i > 0; i--) {
        int j = (int)rng_below(&b->rng, (uint32_t)i + 1), t = all[i];
        all[i] = all[j];
        all[j] = t;
    }
    for (int s = 0; s < N_SEQ; s++)
        for (int p = 0; p * PAGE < seq_len[s]; p++) r->pages[s][p] = all[at++];
    CHECK(at <= PAGES);
}

static void attend_case(Bed *b, const AttnCase *c)
{
    static Ragged all, some;
    int width = (c->n_head + 2 * c->n_kv_head) * c->head_dim;
    KvCache *kv[N_DEV];
    Err err = { 0 };
    float sinks[64];
    for (int i = 0; i < c->n_head; i++) sinks[i] = rng_normal(&b->rng);
    PairWeight sink = weight(b, WEIGHT_VECTOR, sinks, 1, c->n_head);
    for (int i = 0; i < N_DEV; i++) {
        KvShape shape = { 2, c->n_kv_head, c->head_dim, PAGES, DT_NONE };
        if (b->ops[i]->kv_cache(b->d[i], shape, &kv[i], &err) != OK) fail_msg("%s", err.text);
    }
    Pair nan = poisoned(b, PAGES * PAGE, width);
    DeviceBatch poison = plain_batch(b, PAGES * PAGE);
    PASS(b, i, &poison)
    {
        for (int layer = 0; layer < 2; layer++) b->ops[i]->kv_store(b->d[i], kv[i], layer, nan.t[i], c->n_head);
    }
    random_pages(b, &all);
    memcpy(some.pages, all.pages, sizeof all.pages);
    DeviceBatch whole = ragged_batch(&all, seq_len), part = ragged_batch(&some, seq_new);
    PairWeight table = random_weight(b, WEIGHT_EMBED, whole.n_tok, width, 1);
    Pair qkv = empty(b, whole.n_tok, width, false), out = poisoned(b, whole.n_tok, c->n_head * c->head_dim);
    PASS(b, i, &whole)
    {
        b->ops[i]->embed(b->d[i], qkv.t[i], table.w[i], 1);
        b->ops[i]->kv_store(b->d[i], kv[i], 1, qkv.t[i], c->n_head);
    }
    PASS(b, i, &part)
    {
        AttnParams p = { c->n_head,
                         c->n_kv_head,
                         c->head_dim,
                         1 / sqrtf((float)c->head_dim),
                         c->softcap,
                         c->window,
                         c->sinks ? sink.w[i] : NULL };
        b->ops[i]->embed(b->d[i], top(qkv.t[i], part.n_tok), table.w[i], 1);
        b->ops[i]->kv_store(b->d[i], kv[i], 1, top(qkv.t[i], part.n_tok), c->n_head);
        b->ops[i]->attend(b->d[i], top(out.t[i], part.n_tok), top(qkv.t[i], part.n_tok), kv[i], 1, &p);
    }
    same(b, &out, part.n_tok, 1.5e-2, "attend");
}

static void attention(Bed *b)
{
    static const AttnCase cases[] = {
        { 64, 9, 3, 0, 0, false },  { 128, 32, 8, 0, 0, false }, { 128, 28, 4, 0, 0, false },
        { 64, 16, 2, 20, 0, true }, { 96, 4, 4, 0, 0, false },   { 256, 8, 4, 0, 50, false },
        { 80, 8, 4, 0, 0, false },  { 128, 32, 2, 0, 0, true },  { 128, 5, 5, 33, 30, false },
    };
    for (size_t i = 0; i < COUNT(cases); i++) attend_case(b, &cases[i]);
}

/* ---- drawing ---- */

static void drawing(Bed *b)
{
    enum { VOCAB = 1000, N = 64 };
    static float identity[VOCAB * VOCAB];
    static SampleRow rows[N];
    static SampleOut out[N_DEV][N];
    static TokenCount seen[4] = { { 3, 2, 1 }, { 17, 1, 0 }, { 500, 0, 1 }, { 999, 4, 0 } };
    static const LogitBias bias[3] = { { 7, 2.5f }, { 999, -3 }, { 7, 0.5f } };
    static const int32_t banned[2] = { 0, 12 };
    static uint32_t mask[3][(VOCAB + 31) / 32]; /* half of all, a few, one */
    Err err = { 0 };
    for (int id = 0; id < VOCAB; id++)
        for (int k = 0; k < 3; k++)
            mask[k][id / 32] |= (uint32_t)(id % (k == 0 ? 2 : k == 1 ? 90 : 600) == k) << (id % 32);
    mask[2][602 / 32] = 0;
    for (int i = 0; i < VOCAB; i++) identity[i * VOCAB + i] = 1;
    PairWeight w = weight(b, WEIGHT_LINEAR, identity, VOCAB, VOCAB);
    Pair x = random_pair(b, N, VOCAB, 2), logits = empty(b, N, VOCAB, true);
    for (int i = 0; i < N; i++) {
        rows[i] = (SampleRow){ .temperature = i % 4 ? 0.5f + 0.1f * (float)(i % 9) : 0,
                               .top_p = i % 3 == 1 ? 0.8f : 1,
                               .min_p = i % 7 == 3 ? 0.05f : 0,
                               .top_k = i % 5 == 2 ? 1 + i : 0,
                               .repetition = i % 6 == 1 ? 1.3f : 1,
                               .presence = i % 6 == 2 ? 0.8f : 0,
                               .seed = (uint64_t)i,
                               .counter = 5,
                               .n_vocab = VOCAB - i % 2,
                               .target = i == 9 ? 44 : -1,
                               .want_logprob = true,
                               .n_top = i % 8 == 0 ? 5 : 0 };
        if (i % 6 == 1 || i % 6 == 2) rows[i].seen = seen, rows[i].n_seen = 4;
        if (i % 4 == 3) rows[i].bias = bias, rows[i].n_bias = 3;
        if (i % 5 == 3) rows[i].allowed = mask[i % 3], rows[i].n_top = 5;
        if (i % 9 == 0) rows[i].banned = banned, rows[i].n_banned = 2;
    }
    DeviceBatch batch = plain_batch(b, N);
    for (int i = 0; i < N_DEV; i++) {
        b->ops[i]->forward_begin(b->d[i], &batch);
        b->ops[i]->linear(b->d[i], logits.t[i], x.t[i], w.w[i], NULL, false);
        b->ops[i]->forward_end(b->d[i]);
        b->ops[i]->sample(b->d[i], logits.t[i], rows, N);
        assert_int_equal(b->ops[i]->sample_wait(b->d[i], out[i], N, &err), OK);
    }
    for (int i = 0; i < N; i++) {
        if (out[0][i].token != out[1][i].token)
            print_error("%s, row %d: drew %d, not %d\n", b->name, i, out[1][i].token, out[0][i].token);
        assert_int_equal(out[0][i].token, out[1][i].token);
        assert_true(fabsf(out[0][i].logprob - out[1][i].logprob) < 1e-3f);
        for (int k = 0; k < rows[i].n_top; k++) assert_int_equal(out[0][i].top_id[k], out[1][i].top_id[k]);
        int32_t id = out[0][i].token;
        if (rows[i].allowed && rows[i].target < 0) assert_true(rows[i].allowed[id / 32] >> (id % 32) & 1);
    }
}

/* ---- all of it, on every backend ---- */

static void on_devices(void (*test)(Bed *b))
{
    for (int k = 0; backends[k]; k++) {
        static Bed b;
        Err err = { 0 };
        bool cpu = strcmp(backends[k]->name, "cpu") == 0;
        if (strcmp(backends[k]->name, "sim") == 0) continue; /* it computes nothing */
        if (backends[k]->count() == 0) {
            print_message("no %s device: skipped\n", backends[k]->name);
            continue;
        }
        b = (Bed){ .ops = { backend_find("cpu"), backends[k] }, .rng = { 11 }, .name = backends[k]->name };
        if (b.ops[0]->open(&(DeviceOptions){ .isa = "plain", .threads = 2 }, &b.d[0], &err) != OK ||
            b.ops[1]->open(&(DeviceOptions){ .threads = cpu ? 2 : 0 }, &b.d[1], &err) != OK)
            fail_msg("%s", err.text);
        test(&b);
        for (int i = 0; i < N_DEV; i++) b.ops[i]->close(b.d[i]);
    }
}

static void test_row_ops(void **state)
{
    (void)state;
    on_devices(row_ops);
}

static void test_heads(void **state)
{
    (void)state;
    on_devices(heads);
}

static void test_products(void **state)
{
    (void)state;
    on_devices(products);
}

static void test_attention(void **state)
{
    (void)state;
    on_devices(attention);
}

static void test_drawing(void **state)
{
    (void)state;
    on_devices(drawing);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_row_ops), cmocka_unit_test(test_heads),
                                        cmocka_unit_test(test_products), cmocka_unit_test(test_attention),
                                        cmocka_unit_test(test_drawing) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
