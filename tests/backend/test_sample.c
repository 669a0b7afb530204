/* test_sample.c - drawing tokens: which tokens may come up (against a full sort), how often (chi-square), what changes logits,
 * what a row's draw depends on, and logprobs; on every instruction set. */
#include <stdlib.h>

#include "backend/device.h"

static const BackendOps *ops;

enum { VOCAB = 1000, MAX_VOCAB = 50000, WIDE_VOCAB = 262144, WORDS = (VOCAB + 31) / 32 };

typedef struct {
    Device *d;
    const char *isa;
    Rng rng;
} Bed;

static void on_every_isa(void (*test)(Bed *b))
{
    for (int i = 0; i < (int)COUNT(all_isas); i++) {
        Bed b = { open_cpu(all_isas[i], 2), all_isas[i], { 5 } };
        if (b.d) test(&b);
        ops->close(b.d);
    }
}

static SampleRow row_with(float temperature)
{
    return (SampleRow){ .temperature = temperature, .top_p = 1, .repetition = 1, .n_vocab = VOCAB, .target = -1 };
}

static void draw(Bed *b, Tensor logits, const SampleRow *rows, int n, SampleOut *out)
{
    Err err;
    logits.rows = n;
    ops->sample(b->d, logits, rows, n);
    assert_int_equal(ops->sample_wait(b->d, out, n, &err), OK);
}

static int32_t draw_one(Bed *b, Tensor logits, SampleRow row)
{
    SampleOut out;
    draw(b, logits, &row, 1, &out);
    return out.token;
}

/* ---- the reference: sort everything ---- */

typedef struct {
    float y;
    int32_t id;
} Ranked;

static int by_rank(const void *a, const void *b)
{
    const Ranked *p = a, *q = b;
    if (p->y != q->y) return p->y > q->y ? -1 : 1;
    return p->id < q->id ? -1 : p->id > q->id;
}

static bool forbidden(const SampleRow *r, int32_t id)
{
    for (int i = 0; i < r->n_banned; i++) {
        if (r->banned[i] == id) return true;
    }
    return r->allowed && !(r->allowed[id / 32] >> (id % 32) & 1);
}

static float changed(const SampleRow *r, float x, int32_t id)
{
    for (int i = 0; i < r->n_seen; i++) {
        const TokenCount *c = &r->seen[i];
        if (c->id != id) continue;
        x = x > 0 ? x / r->repetition : x * r->repetition;
        x -= r->frequency * (float)c->n_out;
        x -= c->n_out ? r->presence : 0;
    }
    for (int i = 0; i < r->n_bias; i++) x += r->bias[i].id == id ? r->bias[i].add : 0;
    return forbidden(r, id) ? -INFINITY : x;
}

/* Probabilities by id; `unsure` counts tokens that rounding may put on either side of top_p's border. */
static void reference(const SampleRow *r, const float *x, double *p, int *unsure)
{
    int n = r->n_vocab, kept = n;
    Ranked *rank = calloc((size_t)(unsigned)n, sizeof *rank);
    for (int i = 0; i < n; i++) rank[i] = (Ranked){ changed(r, x[i], i), i };
    qsort(rank, (size_t)(unsigned)n, sizeof *rank, by_rank);
    double top = rank[0].y, total = 0, sum = 0;
    while (kept > 1 && rank[kept - 1].y == -INFINITY) kept--;
    if (r->top_k > 0) kept = MIN(kept, r->top_k);
    while (kept > 1 && exp((rank[kept - 1].y - top) / r->temperature) < r->min_p) kept--;
    for (int i = 0; i < kept; i++) total += exp((rank[i].y - top) / r->temperature);
    *unsure = 0;
    if (r->top_p < 1) {
        int k = 0;
        while (k < kept && sum < r->top_p * total) {
            sum += exp((rank[k++].y - top) / r->temperature);
            if (fabs(sum - r->top_p * total) < 1e-6 * total) *unsure = 1;
        }
        kept = MAX(k, 1);
    }
    for (int i = 0; i < n; i++) p[i] = 0;
    total = 0;
    for (int i = 0; i < kept; i++) total += p[rank[i].id] = exp((rank[i].y - top) / r->temperature);
    for (int i = 0; i < n; i++) p[i] /= total;
    free(rank);
}

/* ---- which tokens, and how often ---- */

/* Draws many times; every token drawn must be in the reference's set, every likely one must come up, and the
 * frequencies must pass a chi-square test at six deviations. */
static void check_distribution(Bed *b, SampleRow r, const float *x, const char *what)
{
    enum { ROWS = 512 };
    const int rounds = strcmp(b->isa, "plain") == 0 ? 8 : 24, n_draws = rounds * ROWS;
    static double p[MAX_VOCAB];
    static int seen[MAX_VOCAB];
    static SampleRow rows[ROWS];
    static SampleOut out[ROWS];
    int unsure;
    reference(&r, x, p, &unsure);
    memset(seen, 0, sizeof seen);
    Tensor t = {
        .p = calloc(ROWS, (size_t)(unsigned)r.n_vocab * 4), .rows = ROWS, .cols = r.n_vocab, .stride = r.n_vocab
    };
    for (int i = 0; i < ROWS; i++) memcpy(row_of(t, i), x, (size_t)(unsigned)r.n_vocab * 4);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < ROWS; i++) {
            rows[i] = r;
            rows[i].counter = (uint64_t)(round * ROWS + i);
        }
        draw(b, t, rows, ROWS, out);
        for (int i = 0; i < ROWS; i++) seen[out[i].token]++;
    }
    double chi = 0, rest = 0, rest_seen = 0;
    int degrees = 0;
    for (int i = 0; i < r.n_vocab; i++) {
        if (p[i] == 0 && seen[i] && !unsure) print_error("%s, %s: drew %d, which is not kept\n", b->isa, what, i);
        assert_true(p[i] > 0 || !seen[i] || unsure);
        if (p[i] * n_draws < 10) {
            rest += p[i] * n_draws;
            rest_seen += seen[i];
            continue;
        }
        chi += (seen[i] - p[i] * n_draws) * (seen[i] - p[i] * n_draws) / (p[i] * n_draws);
        degrees++;
    }
    if (rest > 10) {
        chi += (rest_seen - rest) * (rest_seen - rest) / rest;
        degrees++;
    }
    degrees = MAX(degrees - 1, 1);
    if (!(chi <= degrees + 6 * sqrt(2.0 * degrees) + 6))
        print_error("%s, %s: chi-square %g of %d\n", b->isa, what, chi, degrees);
    assert_true(chi <= degrees + 6 * sqrt(2.0 * degrees) + 6);
    free(t.p);
}

static void distribution_on(Bed *b)
{
    float x[VOCAB];
    for (int i = 0; i < VOCAB; i++) x[i] = 2 * rng_normal(&b->rng);
    SampleRow r = row_with(1);
    check_distribution(b, r, x, "plain softmax");
    r.temperature = 0.5f;
    check_distribution(b, r, x, "temperature 0.5");
    r.temperature = 1.5f;
    r.top_k = 7;
    check_distribution(b, r, x, "top_k 7");
    r.top_k = 0;
    r.top_p = 0.6f;
    check_distribution(b, r, x, "top_p 0.6");
    r.top_k = 40;
    r.min_p = 0.2f;
    check_distribution(b, r, x, "top_k 40, min_p 0.2, top_p 0.6");
    r.top_p = 1;
    r.top_k = 0;
    check_distribution(b, r, x, "min_p 0.2");
    for (int i = 0; i < VOCAB; i++) x[i] = 1;
    r = row_with(1);
    check_distribution(b, r, x, "uniform");
    r.top_k = 10; /* ties: the ten lowest ids */
    check_distribution(b, r, x, "top_k of ties");
    r.top_k = 0;
    r.top_p = 0.0505f;
    check_distribution(b, r, x, "top_p of ties");
}

static void distributions(void **state)
{
    (void)state;
    on_every_isa(distribution_on);
}

/* The kept set, exactly, over many shapes of logits: its ends are found by drawing with every u that matters. Here by
 * asking each of many counters, which covers sets of a few tokens completely. */
static void kept_sets_on(Bed *b)
{
    enum { DRAWS = 400 };
    static float x[MAX_VOCAB];
    static double p[MAX_VOCAB];
    static const int vocabs[] = { 1, 2, 15, 16, 17, 33, 1000, 49152 };
    for (int trial = 0; trial < 120; trial++) {
        int n = vocabs[trial % (int)COUNT(vocabs)], unsure;
        if (n > VOCAB && (trial > 60 || (trial > 8 && strcmp(b->isa, "plain") == 0))) continue; /* slow */
        float spread = (float[]){ 0.001f, 1, 4, 30 }[trial / 8 % 4];
        for (int i = 0; i < n; i++) {
            x[i] = spread * rng_normal(&b->rng);
            if (trial % 3 == 0) x[i] = roundf(x[i] * 4) / 4; /* many ties, and -0 */
        }
        SampleRow r = row_with(0.7f + 0.01f * (float)trial);
        r.n_vocab = n;
        r.top_k = trial % 5 == 0 ? 0 : 1 + (int)rng_below(&b->rng, 8);
        r.top_p = trial % 5 == 0 ? (spread > 1 ? 0.3f : 0.0003f) : trial % 2 ? 0.7f : 1;
        r.min_p = trial % 7 == 0 ? 0.5f : 0;
        reference(&r, x, p, &unsure);
        if (unsure) continue;
        Tensor t = { .p = x, .rows = 1, .cols = n, .stride = n };
        int kept = 0, hits = 0;
        static uint8_t hit[MAX_VOCAB];
        memset(hit, 0, sizeof hit);
        for (int i = 0; i < n; i++) kept += p[i] > 0;
        for (int i = 0; i < (kept > 40 ? 40 : DRAWS); i++) {
            if (n > VOCAB && i == 150) break;
            r.counter = (uint64_t)i;
            int32_t id = draw_one(b, t, r);
            if (p[id] == 0) print_error("%s: trial %d drew %d, which is not kept\n", b->isa, trial, id);
            assert_true(p[id] > 0);
            hit[id] = 1;
        }
        for (int i = 0; i < n; i++) {
            if (p[i] < 0.2 || kept > 40) continue;
            hits++;
            assert_true(hit[i]); /* missed by chance once in 10^14 */
        }
        assert_true(hits > 0 || kept > 4);
    }
}

static void kept_sets(void **state)
{
    (void)state;
    on_every_isa(kept_sets_on);
}

/* The definition of the draw itself: the first id whose cumulative probability passes the uniform number. */
static void inverse_on(Bed *b)
{
    float x[VOCAB];
    double p[VOCAB];
    int unsure, checked = 0;
    for (int i = 0; i < VOCAB; i++) x[i] = rng_normal(&b->rng);
    Tensor t = { .p = x, .rows = 1, .cols = VOCAB, .stride = VOCAB };
    for (int i = 0; i < 500; i++) {
        SampleRow r = row_with(1);
        r.seed = 77;
        r.counter = (uint64_t)i;
        r.top_k = i % 2 ? 100 : 0;
        reference(&r, x, p, &unsure);
        double u = rng_uniform(77, (uint64_t)i, 0), sum = 0;
        int want = 0;
        for (want = 0; want < VOCAB - 1; want++) {
            sum += p[want];
            if (sum > u) break;
        }
        if (fabs(sum - u) < 1e-5 || fabs(sum - p[want] - u) < 1e-5) continue; /* too near a border to tell */
        assert_int_equal(draw_one(b, t, r), want);
        checked++;
    }
    assert_true(checked > 450);
}

static void draws_invert_the_cumulative(void **state)
{
    (void)state;
    on_every_isa(inverse_on);
}

/* ---- wide vocabularies ---- */

/* Shapes of wide rows. The last two lie to whoever looks at a part of each 256 logits. */
typedef enum { PEAKED, REALISTIC, FLAT, TIED, STEPS, LOW_PROBES, HIGH_PROBES, N_SHAPES } Shape;

static void fill_shape(float *x, int n, Shape shape, Rng *rng)
{
    for (int i = 0; i < n; i++) {
        float v = rng_normal(rng);
        bool probe = i % 256 < 16;
        x[i] = shape == FLAT || shape == PEAKED ? 0.3f * v : 3 * v;
        if (shape == TIED) x[i] = 1.5f;
        if (shape == STEPS) x[i] = roundf(v);
        if (shape == LOW_PROBES) x[i] = 0.1f * v - (probe ? 5 : 0);
        if (shape == HIGH_PROBES) x[i] = 0.1f * v + (probe ? 5 : 0);
    }
    if (shape == PEAKED) x[n / 3] = 16;
}

/* Every draw against the definition, in f64, of what is kept and of the inverse of its cumulative distribution. */
static int check_wide(Bed *b, Tensor t, SampleRow r, const char *what)
{
    enum { DRAWS = 24 };
    static double p[WIDE_VOCAB];
    SampleOut out[DRAWS];
    SampleRow rows[DRAWS];
    int unsure, checked = 0;
    reference(&r, t.p, p, &unsure);
    t.stride = 0; /* the same row for all */
    for (int i = 0; i < DRAWS; i++) {
        rows[i] = r;
        rows[i].counter = (uint64_t)i;
    }
    draw(b, t, rows, DRAWS, out);
    for (int i = 0; i < DRAWS; i++) {
        double u = rng_uniform(r.seed, (uint64_t)i, 0), sum = 0, near = unsure ? 2e-5 : 4e-6;
        int want = 0;
        while (want < t.cols && sum + p[want] <= u + near) sum += p[want++];
        if (sum > u - near) continue; /* too near a border to tell */
        if (out[i].token != want) print_error("%s, %s: drew %d, not %d\n", b->isa, what, out[i].token, want);
        assert_int_equal(out[i].token, want);
        checked++;
    }
    return checked;
}

static void wide_on(Bed *b)
{
    static const struct {
        const char *what;
        float top_p, min_p;
        int top_k;
    } limits[] = { { "nothing", 1, 0, 0 },       { "top_p 0.95", 0.95f, 0, 0 },
                   { "top_p 0.5", 0.5f, 0, 0 },  { "top_p 0.01", 0.01f, 0, 0 },
                   { "min_p 0.1", 1, 0.1f, 0 },  { "min_p, top_p", 0.8f, 0.1f, 0 },
                   { "top_k 50", 1, 0, 50 },     { "top_k 700", 0.9f, 0, 700 },
                   { "top_k 9000", 1, 0, 9000 }, { "top_k 9000 and all", 0.7f, 0.02f, 9000 } };
    static float x[WIDE_VOCAB];
    bool plain = strcmp(b->isa, "plain") == 0;
    int checked = 0;
    for (int shape = 0; shape < N_SHAPES; shape++) {
        int n = shape % 2 || plain ? 49152 - 7 : WIDE_VOCAB - 5;
        fill_shape(x, n, (Shape)shape, &b->rng);
        Tensor t = { .p = x, .rows = 1, .cols = n, .stride = n };
        for (int i = 0; i < (int)COUNT(limits); i++) {
            SampleRow r = row_with(0.8f);
            r.n_vocab = n;
            r.top_p = limits[i].top_p;
            r.min_p = limits[i].min_p;
            r.top_k = limits[i].top_k;
            checked += check_wide(b, t, r, limits[i].what);
        }
    }
    assert_true(checked > 500);
}

static void wide_vocabularies(void **state)
{
    (void)state;
    on_every_isa(wide_on);
}

/* ---- masks ---- */

enum { MASK_VOCAB = 49152 - 7, MASK_BITS = (MASK_VOCAB + 31) / 32 };

/* n ids, or about that; bits past the vocabulary are set as well, and must not be seen. */
static int fill_mask(uint32_t *mask, int n, Rng *rng)
{
    int m = 0;
    memset(mask, 0, MASK_BITS * 4);
    while (m < n) {
        int id = (int)rng_below(rng, MASK_VOCAB);
        m += !(mask[id / 32] >> (id % 32) & 1);
        mask[id / 32] |= 1u << (id % 32);
    }
    for (int id = MASK_VOCAB; id < MASK_BITS * 32; id++) mask[id / 32] |= 1u << (id % 32);
    return m;
}

/* Log softmax of what the mask leaves, and the largest of it. */
static void check_masked_logprobs(Bed *b, Tensor t, SampleRow r)
{
    const float *x = t.p;
    Ranked *rank = calloc((size_t)r.n_vocab, sizeof *rank);
    SampleOut out;
    double sum = 0;
    int n = 0;
    for (int i = 0; i < r.n_vocab; i++)
        if (!forbidden(&(SampleRow){ .allowed = r.allowed }, i)) rank[n++] = (Ranked){ x[i], i };
    qsort(rank, (size_t)n, sizeof *rank, by_rank);
    for (int i = 0; i < n; i++) sum += exp((double)rank[i].y);
    r.want_logprob = true;
    r.n_top = 6;
    draw(b, t, &r, 1, &out);
    assert_false(forbidden(&r, out.token));
    assert_true(fabs(out.logprob - (x[out.token] - log(sum))) < 2e-5);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(out.top_id[i], i < n ? rank[i].id : -1);
        if (i < n) assert_true(fabs(out.top_logprob[i] - (rank[i].y - log(sum))) < 2e-5);
        if (i >= n) assert_true(out.top_logprob[i] == -INFINITY);
    }
    r.target = 7; /* as the prompt has it: no mask bounds that */
    r.n_top = 0;
    double all = 0;
    for (int i = 0; i < r.n_vocab; i++) all += exp((double)x[i]);
    draw(b, t, &r, 1, &out);
    assert_true(out.token == 7 && fabs(out.logprob - (x[7] - log(all))) < 2e-5);
    free(rank);
}

/* Masks of one id to nearly all, with all that changes and cuts logits, against the definition. */
static void masks_on(Bed *b)
{
    static const int sizes[] = { 1, 2, 5, 60, 2047, 2048, 2049, 9000, MASK_VOCAB - 40 };
    static float x[MASK_VOCAB];
    static uint32_t mask[MASK_BITS];
    Tensor t = { .p = x, .rows = 1, .cols = MASK_VOCAB, .stride = MASK_VOCAB };
    int checked = 0;
    for (int i = 0; i < (int)COUNT(sizes); i++) {
        for (int way = 0; way < 8; way++) {
            fill_shape(x, MASK_VOCAB, way == 3 ? TIED : way == 5 ? STEPS : REALISTIC, &b->rng);
            fill_mask(mask, sizes[i], &b->rng);
            SampleRow r = row_with(0.7f);
            r.n_vocab = MASK_VOCAB;
            r.allowed = mask;
            if (way == 1) r.top_k = 40;
            if (way == 2) r.top_p = 0.8f;
            if (way == 3) r.top_k = 3;
            if (way == 4) r.min_p = 0.05f;
            TokenCount seen[] = { { 3, 1, 1 }, { 40000, 2, 0 }, { 60000, 1, 0 }, { -1, 1, 0 } };
            LogitBias bias[] = { { 5, 4 }, { 60000, 3 }, { 4000, -3 } };
            int32_t banned[] = { 9, 31000 };
            if (way == 6) r.seen = seen, r.n_seen = 4, r.repetition = 1.3f, r.presence = 0.5f;
            if (way == 7) r.bias = bias, r.n_bias = 3, r.banned = banned, r.n_banned = 2;
            for (int k = 0; k < 3 && way >= 6; k++) { /* those named are among the allowed, sometimes */
                int id = k == 0 ? 3 : k == 1 ? 40000 : 5;
                if (i % 2) mask[id / 32] |= 1u << (id % 32);
            }
            checked += check_wide(b, t, r, "mask");
            check_masked_logprobs(b, t, r);
            r.temperature = 0;
            int32_t best = -1, got = draw_one(b, t, r);
            for (int32_t id = 0; id < MASK_VOCAB; id++)
                if (!forbidden(&r, id) && (best < 0 || changed(&r, x[id], id) > changed(&r, x[best], best))) best = id;
            assert_int_equal(got, best);
        }
    }
    assert_true(checked > 1000);
}

static void masks(void **state)
{
    (void)state;
    on_every_isa(masks_on);
}

/* ---- what changes logits ---- */

static void changes_on(Bed *b)
{
    uint32_t allowed[WORDS] = { 0 };
    float x[VOCAB];
    for (int i = 0; i < VOCAB; i++) x[i] = 1.5f * rng_normal(&b->rng);
    int32_t banned[] = { 3, 500, 999, -1, 5000 };
    LogitBias bias[] = { { 10, 8 }, { 11, -100 }, { 12, 5.5f }, { 12, 1 }, { -4, 50 }, { 100000, 50 } };
    TokenCount seen[] = { { 10, 3, 0 }, { 20, 1, 1 }, { 30, 0, 1 }, { 40, 9, 0 }, { 999, 2, 0 }, { 2000, 1, 1 } };
    x[20] = 6;
    x[30] = 5;
    x[40] = -2;
    SampleRow r = row_with(1);
    r.bias = bias;
    r.n_bias = 6;
    check_distribution(b, r, x, "bias");
    r.seen = seen;
    r.n_seen = 6;
    r.repetition = 1.3f;
    check_distribution(b, r, x, "repetition");
    r.frequency = 0.4f;
    r.presence = 0.7f;
    check_distribution(b, r, x, "all penalties");
    r.banned = banned;
    r.n_banned = 5;
    r.top_k = 20;
    check_distribution(b, r, x, "bans");
    for (int i = 0; i < VOCAB; i++) {
        if (i % 3 == 0 || i == 10) allowed[i / 32] |= 1u << (i % 32);
    }
    r.allowed = allowed;
    check_distribution(b, r, x, "mask");
    Tensor t = { .p = x, .rows = 1, .cols = VOCAB, .stride = VOCAB };
    r.temperature = 0;
    double p[VOCAB];
    int unsure, best = 0;
    SampleRow sharp = r;
    sharp.temperature = 0.01f;
    reference(&sharp, x, p, &unsure);
    for (int i = 0; i < VOCAB; i++) best = p[i] > p[best] ? i : best;
    assert_int_equal(draw_one(b, t, r), best);
    memset(allowed, 0, sizeof allowed);
    allowed[7] = 1u << 5; /* one token left */
    r.temperature = 1;
    for (int i = 0; i < 20; i++) {
        r.counter = (uint64_t)i;
        assert_int_equal(draw_one(b, t, r), 7 * 32 + 5);
    }
}

static void changes_of_logits(void **state)
{
    (void)state;
    on_every_isa(changes_on);
}

/* ---- what a draw depends on ---- */

static void dependence_on(Bed *b)
{
    enum { ROWS = 37, COLS = 3000 };
    Tensor t = new_tensor(b->d, ROWS, COLS);
    fill_normal(t, &b->rng, 2);
    SampleRow rows[ROWS];
    SampleOut all[ROWS], one, again[ROWS];
    int differs = 0;
    for (int i = 0; i < ROWS; i++) {
        rows[i] = row_with((float)(i % 4) * 0.5f);
        rows[i].n_vocab = COLS - i % 3;
        rows[i].top_k = i % 5 * 50;
        rows[i].top_p = i % 2 ? 0.9f : 1;
        rows[i].seed = (uint64_t)i / 2;
        rows[i].counter = (uint64_t)i * 1000003;
        rows[i].want_logprob = true;
        rows[i].n_top = i % 6;
    }
    draw(b, t, rows, ROWS, all);
    for (int i = ROWS - 1; i >= 0; i--) { /* alone, at another place: the same bits */
        Tensor u = { row_of(t, i), 1, COLS, t.stride, DT_F32 };
        draw(b, u, &rows[i], 1, &one);
        assert_int_equal(one.token, all[i].token);
        assert_memory_equal(&one.logprob, &all[i].logprob, 4);
        assert_memory_equal(one.top_id, all[i].top_id, (size_t)rows[i].n_top * 4);
        assert_memory_equal(one.top_logprob, all[i].top_logprob, (size_t)rows[i].n_top * 4);
    }
    for (int i = 0; i < ROWS; i++) rows[i].seed += 1000;
    draw(b, t, rows, ROWS, again);
    for (int i = 0; i < ROWS; i++) {
        if (i % 4 == 0) assert_int_equal(again[i].token, all[i].token); /* greedy */
        differs += again[i].token != all[i].token;
    }
    assert_true(differs > ROWS / 3);
    check_guard(t);
}

static void a_draw_depends_on_its_row(void **state)
{
    (void)state;
    on_every_isa(dependence_on);
}

/* Two samples may be queued before the first is fetched. */
static void queue_on(Bed *b)
{
    float x[2][VOCAB] = { { 0 } };
    Err err;
    SampleOut out;
    x[0][5] = 1;
    x[1][9] = 1;
    SampleRow r = row_with(0);
    for (int i = 0; i < 2; i++) ops->sample(b->d, (Tensor){ x[i], 1, VOCAB, VOCAB, DT_F32 }, &r, 1);
    assert_int_equal(ops->sample_wait(b->d, &out, 1, &err), OK);
    assert_int_equal(out.token, 5);
    assert_int_equal(ops->sample_wait(b->d, &out, 1, &err), OK);
    assert_int_equal(out.token, 9);
    assert_int_equal(ops->sample_wait(b->d, &out, 1, &err), E_INVALID);
}

static void two_may_be_queued(void **state)
{
    (void)state;
    on_every_isa(queue_on);
}

/* ---- greedy, edges ---- */

static void edges_on(Bed *b)
{
    static const int sizes[] = { 1, 2, 7, 16, 17, 40, 1000 };
    for (int k = 0; k < (int)COUNT(sizes); k++) {
        int n = sizes[k];
        float x[VOCAB];
        Tensor t = { .p = x, .rows = 1, .cols = n, .stride = n };
        for (int mode = 0; mode < 7; mode++) {
            for (int i = 0; i < n; i++) x[i] = (float)(i % 5);
            int want = -1, at = n / 2;
            if (mode == 0) want = MIN(4, n - 1); /* ties: the lowest id */
            if (mode == 1) {
                for (int i = 0; i < n; i++) x[i] = NAN;
                want = 0;
            }
            if (mode == 2) {
                for (int i = 0; i < n; i++) x[i] = -INFINITY;
                want = 0;
            }
            if (mode == 3) {
                x[at] = INFINITY;
                want = at;
            }
            if (mode == 4) {
                for (int i = 0; i < n; i++) x[i] = i == at ? -1e30f : NAN;
                want = at;
            }
            if (mode == 5) {
                for (int i = 0; i < n; i++) x[i] = i % 2 ? NAN : i % 3 ? INFINITY : -INFINITY;
            }
            if (mode == 6) {
                for (int i = 0; i < n; i++) x[i] = i == at ? 3e38f : -3e38f;
                want = at;
            }
            for (int how = 0; how < 6; how++) {
                static const float temps[] = { 0, 1, 1e-45f, 1e30f, 1e-10f, 1 };
                SampleRow r = row_with(temps[how]);
                r.n_vocab = n;
                r.want_logprob = true;
                r.n_top = 5;
                r.top_p = how == 5 ? 0.5f : 1;
                r.top_k = how == 4 ? 3 : 0;
                r.min_p = how == 5 ? 1.5f : 0;
                SampleOut out;
                draw(b, t, &r, 1, &out);
                assert_in_range(out.token, 0, n - 1);
                assert_true(out.logprob == out.logprob); /* no NaN */
                for (int i = 0; i < 5; i++) assert_true(out.top_logprob[i] == out.top_logprob[i]);
                if (want >= 0 && (how == 0 || (mode != 0 && how != 3))) assert_int_equal(out.token, want);
            }
        }
    }
}

static void edges(void **state)
{
    (void)state;
    on_every_isa(edges_on);
}

static void nothing_allowed_on(Bed *b)
{
    float x[64];
    uint32_t allowed[2] = { 0, 1u << 3 | 1u << 9 };
    int32_t banned[] = { 35 };
    for (int i = 0; i < 64; i++) x[i] = NAN;
    SampleRow r = row_with(1);
    r.n_vocab = 64;
    r.allowed = allowed;
    r.banned = banned;
    r.n_banned = 1;
    Tensor t = { .p = x, .rows = 1, .cols = 64, .stride = 64 };
    assert_int_equal(draw_one(b, t, r),
                     41); /* the lowest that is allowed and not banned, though its logit is no number */
    allowed[1] = 0;
    assert_int_equal(draw_one(b, t, r), 0);
}

static void nothing_left_to_draw(void **state)
{
    (void)state;
    on_every_isa(nothing_allowed_on);
}

/* ---- logprobs ---- */

static void logprobs_on(Bed *b)
{
    float x[VOCAB + 24];
    for (int i = 0; i < VOCAB + 24; i++) x[i] = 3 * rng_normal(&b->rng);
    x[VOCAB + 3] = 100; /* padding: outside the vocabulary, so nobody's logprob knows it */
    x[400] = x[100];
    Tensor t = { .p = x, .rows = 1, .cols = VOCAB + 24, .stride = VOCAB + 24 };
    double sum = 0;
    for (int i = 0; i < VOCAB; i++) sum += exp(x[i]);
    SampleRow r = row_with(1);
    LogitBias bias = { 7, 50 };
    r.bias = &bias;
    r.n_bias = 1;
    r.want_logprob = true;
    r.n_top = SAMPLE_TOP_MAX;
    SampleOut out;
    draw(b, t, &r, 1, &out);
    assert_int_equal(out.token, 7);
    assert_true(fabs(out.logprob - (x[7] - log(sum))) < 2e-6); /* of the raw logits */
    Ranked rank[VOCAB];
    for (int i = 0; i < VOCAB; i++) rank[i] = (Ranked){ x[i], i };
    qsort(rank, VOCAB, sizeof *rank, by_rank);
    for (int i = 0; i < SAMPLE_TOP_MAX; i++) {
        assert_int_equal(out.top_id[i], rank[i].id);
        assert_true(fabs(out.top_logprob[i] - (rank[i].y - log(sum))) < 2e-6);
    }
    for (int32_t target = 0; target < VOCAB; target += 37) {
        r.target = target;
        draw(b, t, &r, 1, &out);
        assert_int_equal(out.token, target);
        assert_true(fabs(out.logprob - (x[target] - log(sum))) < 2e-6);
    }
    r.target = VOCAB + 3;
    draw(b, t, &r, 1, &out);
    assert_true(out.logprob == -INFINITY);
    r = row_with(0);
    r.n_vocab = 3;
    r.n_top = 5;
    r.target = -1;
    draw(b, t, &r, 1, &out);
    assert_int_equal(out.top_id[3], -1);
    assert_true(out.top_logprob[4] == -INFINITY);
}

static void logprobs(void **state)
{
    (void)state;
    on_every_isa(logprobs_on);
}

int main(void)
{
    ops = backend_find("cpu");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distributions),
        cmocka_unit_test(kept_sets),
        cmocka_unit_test(draws_invert_the_cumulative),
        cmocka_unit_test(wide_vocabularies),
        cmocka_unit_test(masks),
        cmocka_unit_test(changes_of_logits),
        cmocka_unit_test(a_draw_depends_on_its_row),
        cmocka_unit_test(two_may_be_queued),
        cmocka_unit_test(edges),
        cmocka_unit_test(nothing_left_to_draw),
        cmocka_unit_test(logprobs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
