/* test_attend.c - attention over pages: against a writing in f64, and the rule that a row's bits depend on that row alone.
 *
 * Keys, values and queries are functions of (sequence, position, head, dimension), so the same tokens can be run in any
 * chunks and company. Pages come in random order; every slot that holds no token holds NaN. */
#include <stdlib.h>

#include "backend/device.h"
#include "test.h"

static const BackendOps *ops;

enum { PAGE = 16, MAX_SEQS = 18, MAX_LEN = 700 };

typedef struct {
    const char *name;
    int n_kv, group, dim, window;
    float softcap;
    bool sinks;
    DType dtype;
    int n_seq, len[MAX_SEQS];
    int shared; /* even sequences have these first tokens in common, odd ones half of them: the same pages */
} Case;

static const Case cases[] = {
    { "one head", 1, 1, 32, 0, 0, false, DT_F32, 2, { 40, 1 } },
    { "smollm2", 3, 3, 64, 0, 0, false, DT_F16, 3, { 270, 17, 5 } },
    { "smollm2 f32", 3, 3, 64, 0, 0, false, DT_F32, 3, { 257, 32, 31 } },
    { "bf16", 2, 4, 64, 0, 0, false, DT_BF16, 3, { 100, 16, 33 } },
    { "window", 2, 2, 48, 37, 0, false, DT_F16, 3, { 600, 38, 36 } },
    { "window of one", 1, 3, 32, 1, 0, false, DT_F32, 2, { 300, 20 } },
    { "softcap", 2, 2, 128, 0, 20, false, DT_F32, 2, { 90, 3 } },
    { "sinks", 2, 8, 64, 128, 0, true, DT_F16, 2, { 300, 7 } },
    { "gemma", 1, 4, 256, 200, 50, false, DT_BF16, 2, { 280, 65 } },
    { "wide group", 1, 16, 80, 0, 0, true, DT_F16, 2, { 70, 30 } },
    { "group of 13", 2, 13, 32, 0, 0, false, DT_F32, 1, { 50 } },
    { "group of 5", 1, 5, 96, 0, 0, false, DT_F16, 3, { 47, 48, 49 } },
    { "group of 7", 1, 7, 112, 0, 0, false, DT_F32, 2, { 34, 1 } },
    { "odd dim", 2, 2, 20, 11, 5, true, DT_F16, 3, { 55, 300, 16 } },
    { "tiny dim", 1, 12, 4, 0, 0, false, DT_F32, 2, { 50, 3 } },
    { "long", 1, 2, 32, 0, 0, false, DT_F16, 1, { 690 } },
    { "int8", 3, 3, 64, 0, 0, false, DT_I8, 3, { 270, 17, 5 } },
    { "int8, window", 2, 2, 48, 37, 0, false, DT_I8, 3, { 600, 38, 36 } },
    { "int8, softcap and sinks", 1, 4, 128, 0, 20, true, DT_I8, 2, { 290, 65 } },
    { "int8, odd dim", 2, 7, 18, 0, 0, false, DT_I8, 2, { 47, 300 } },
    { "int8, tiny dim", 1, 12, 4, 0, 0, false, DT_I8, 2, { 50, 3 } },
    { "shared by two", 1, 2, 32, 0, 0, false, DT_F16, 2, { 520, 600 }, 512 },
    { "shared",
      3,
      3,
      64,
      0,
      0,
      false,
      DT_F16,
      18,
      { 513, 514, 515, 530, 580, 513, 514, 515, 530, 580, 525, 526, 527, 528, 512, 512, 516, 600 },
      512 },
    { "shared, int8", 2, 3, 32, 0, 0, true, DT_I8, 7, { 600, 514, 515, 530, 580, 513, 514 }, 512 },
    { "shared, wide group", 1, 16, 16, 0, 0, false, DT_F32, 3, { 514, 515, 530 }, 512 },
    { "shared in part", 2, 2, 32, 0, 0, false, DT_F16, 4, { 520, 600, 530, 431 }, 400 },
    { "shared, window", 1, 2, 32, 520, 0, false, DT_F16, 5, { 540, 515, 530, 690, 513 }, 512 },
};

static float value_at(int what, int seq, int pos, int head, int c)
{
    uint64_t h =
        hash_mix((uint64_t)what << 56 ^ (uint64_t)seq << 44 ^ (uint64_t)pos << 24 ^ (uint64_t)head << 12 ^ (uint64_t)c);
    return ((float)(h >> 40) / (float)(1 << 24) - 0.5f) * (what == 0 ? 6.0f : 2.0f);
}

static int shared_by(const Case *c, int seq)
{
    return seq % 2 ? c->shared / 2 : c->shared;
}

/* As value_at; keys and values of what is shared are those of sequence 0. */
static float element(const Case *c, int what, int seq, int pos, int head, int i)
{
    return value_at(what, what && pos < shared_by(c, seq) ? 0 : seq, pos, head, i);
}

/* A head's vector as the cache keeps it: values, or for int8 codes and a scale. Queries are scaled first, and kept as they are
 * unless the cache is int8. */
static double kept_as(const Case *c, int what, int seq, int pos, int head, double *out)
{
    float x[512], top = 0, scale = (float)(1 / sqrt(c->dim));
    for (int i = 0; i < c->dim; i++) {
        x[i] = element(c, what, seq, pos, head, i) * (what ? 1 : scale);
        top = fmaxf(top, fabsf(x[i]));
    }
    for (int i = 0; i < c->dim; i++) {
        if (c->dtype == DT_I8)
            out[i] = nearbyintf(x[i] * (127 / top));
        else if (what)
            out[i] = c->dtype == DT_F16    ? f16_to_f32(f32_to_f16(x[i]))
                     : c->dtype == DT_BF16 ? bf16_to_f32(f32_to_bf16(x[i]))
                                           : x[i];
        else
            out[i] = element(c, 0, seq, pos, head, i) / sqrt(c->dim);
    }
    return c->dtype == DT_I8 ? top / 127 : 1;
}

static double sink_at(int head)
{
    return (float)((head % 5) - 1) * 0.75f;
}

/* ---- the definition again, in f64 ---- */

static void reference(const Case *c, int seq, int pos, int head, double *out)
{
    double s[MAX_LEN], max = -INFINITY, sum = 0, q[512], x[512];
    int from = c->window ? MAX(0, pos - c->window + 1) : 0, kv_head = head / c->group;
    double q_scale = kept_as(c, 0, seq, pos, head, q);
    for (int j = from; j <= pos; j++) {
        double dot = 0, scale = kept_as(c, 1, seq, j, kv_head, x);
        for (int i = 0; i < c->dim; i++) dot += q[i] * x[i];
        s[j] = dot * scale * q_scale;
        if (c->softcap > 0) s[j] = c->softcap * tanh(s[j] / c->softcap);
        max = fmax(max, s[j]);
    }
    for (int i = 0; i < c->dim; i++) out[i] = 0;
    for (int j = from; j <= pos; j++) {
        double p = exp(s[j] - max), scale = kept_as(c, 2, seq, j, kv_head, x);
        sum += p;
        for (int i = 0; i < c->dim; i++) out[i] += p * scale * x[i];
    }
    if (c->sinks) sum += exp(sink_at(head) - max);
    for (int i = 0; i < c->dim; i++) out[i] /= sum;
}

/* ---- running a case ---- */

typedef struct {
    const Case *c;
    Device *d;
    KvCache *kv;
    const Weight *sinks;
    Tensor qkv, out;
    int n_pages, max_pages;
    int32_t *pages; /* [n_seq][max_pages] */
    int done[MAX_SEQS];
    float *result[MAX_SEQS]; /* [len][n_head * dim] */
} Bed;

static int width(const Case *c)
{
    return c->n_kv * c->group * c->dim;
}

/* Writes NaN into every slot of every page. */
static void poison(Bed *b)
{
    const Case *c = b->c;
    int n = b->n_pages * PAGE;
    Tensor t = new_tensor(b->d, n, (c->group + 2) * c->n_kv * c->dim);
    for (int r = 0; r < n; r++) {
        for (int i = 0; i < t.cols; i++) row_of(t, r)[i] = NAN;
    }
    int32_t *pos = calloc((size_t)(unsigned)n, 4), *page = calloc((size_t)(unsigned)b->n_pages, 4), start[2] = { 0, n };
    for (int i = 0; i < n; i++) pos[i] = i;
    for (int i = 0; i < b->n_pages; i++) page[i] = i;
    DeviceBatch batch = {
        .n_tok = n, .n_seq = 1, .max_pages = b->n_pages, .pos = pos, .seq_start = start, .seq_len = &n
    };
    batch.pages = page;
    ops->forward_begin(b->d, &batch);
    for (int layer = 0; layer < 2; layer++) ops->kv_store(b->d, b->kv, layer, t, c->n_kv * c->group);
    ops->forward_end(b->d);
    free(pos);
    free(page);
}

static void set_up(Bed *b, const Case *c, Device *d, Rng *rng)
{
    Err err;
    int total = 0;
    *b = (Bed){ .c = c, .d = d };
    for (int s = 0; s < c->n_seq; s++) {
        b->max_pages = MAX(b->max_pages, (c->len[s] + PAGE - 1) / PAGE);
        b->result[s] = calloc((size_t)c->len[s] * (size_t)width(c), 4);
        total += c->len[s];
    }
    b->n_pages = c->n_seq * b->max_pages + 3;
    b->pages = calloc((size_t)(unsigned)b->n_pages, 4);
    for (int i = 0; i < b->n_pages; i++) b->pages[i] = i;
    for (int i = b->n_pages - 1; i > 0; i--) {
        int j = (int)rng_below(rng, (uint32_t)i + 1), t = b->pages[i];
        b->pages[i] = b->pages[j];
        b->pages[j] = t;
    }
    for (int s = 1; s < c->n_seq; s++) {
        memcpy(b->pages + s * b->max_pages, b->pages, (size_t)(unsigned)(shared_by(c, s) / PAGE) * 4);
    }
    KvShape shape = { 2, c->n_kv, c->dim, b->n_pages, c->dtype };
    assert_int_equal(ops->kv_cache(d, shape, &b->kv, &err), OK);
    b->qkv = new_tensor(d, total, (c->group + 2) * c->n_kv * c->dim);
    b->out = new_tensor(d, total, width(c));
    if (c->sinks) {
        float v[64];
        for (int h = 0; h < c->n_kv * c->group; h++) v[h] = (float)sink_at(h);
        b->sinks = new_vector(d, v, c->n_kv * c->group);
    }
    poison(b);
}

static void tear_down(Bed *b)
{
    for (int s = 0; s < b->c->n_seq; s++) free(b->result[s]);
    free(b->pages);
}

static void fill_row(Bed *b, int row, int seq, int pos)
{
    const Case *c = b->c;
    float *x = row_of(b->qkv, row);
    for (int what = 0; what < 3; what++) {
        int heads = what == 0 ? c->n_kv * c->group : c->n_kv;
        for (int h = 0; h < heads; h++) {
            for (int i = 0; i < c->dim; i++) *x++ = element(c, what, seq, pos, h, i);
        }
    }
}

/* One pass: chunk[s] new tokens of each sequence (0: not in the batch). */
static void pass(Bed *b, const int *chunk)
{
    const Case *c = b->c;
    int n_seq = 0, n_tok = 0;
    static int32_t pos[MAX_SEQS * MAX_LEN];
    int32_t start[MAX_SEQS + 1] = { 0 }, len[MAX_SEQS], which[MAX_SEQS];
    int32_t *pages = calloc((size_t)(unsigned)(c->n_seq * b->max_pages), 4);
    for (int s = 0; s < c->n_seq; s++) {
        if (!chunk[s]) continue;
        memcpy(pages + n_seq * b->max_pages, b->pages + s * b->max_pages, (size_t)b->max_pages * 4);
        which[n_seq] = s;
        for (int i = 0; i < chunk[s]; i++, n_tok++) {
            pos[n_tok] = b->done[s] + i;
            fill_row(b, n_tok, s, pos[n_tok]);
        }
        len[n_seq] = b->done[s] + chunk[s];
        start[++n_seq] = n_tok;
    }
    /* entries of the page table beyond a sequence's end must never be looked at */
    for (int s = 0; s < n_seq; s++) {
        for (int i = (len[s] + PAGE - 1) / PAGE; i < b->max_pages; i++) pages[s * b->max_pages + i] = INT32_MIN;
    }
    DeviceBatch batch = { .n_tok = n_tok, .n_seq = n_seq, .max_pages = b->max_pages, .pos = pos, .seq_start = start };
    batch.seq_len = len;
    batch.pages = pages;
    Tensor qkv = b->qkv, out = b->out;
    qkv.rows = out.rows = n_tok;
    AttnParams p = { c->n_kv * c->group, c->n_kv, c->dim, (float)(1 / sqrt(c->dim)), c->softcap, c->window, b->sinks };
    guard(out);
    ops->forward_begin(b->d, &batch);
    ops->kv_store(b->d, b->kv, 1, qkv, c->n_kv * c->group);
    ops->attend(b->d, out, qkv, b->kv, 1, &p);
    ops->forward_end(b->d);
    check_guard(out);
    for (int s = 0; s < n_seq; s++) {
        int seq = which[s], n = start[s + 1] - start[s];
        for (int i = 0; i < n; i++) {
            memcpy(b->result[seq] + (size_t)(b->done[seq] + i) * (size_t)width(c), row_of(out, start[s] + i),
                   (size_t)width(c) * 4);
        }
        b->done[seq] += n;
    }
    free(pages);
}

typedef enum { WHOLE, ALONE, ONE_BY_ONE, RANDOM, N_SCHEDULES } Schedule;

static void run(Bed *b, Schedule how, Rng *rng)
{
    const Case *c = b->c;
    bool more = true;
    while (more) {
        int chunk[MAX_SEQS] = { 0 };
        more = false;
        for (int s = 0; s < c->n_seq; s++) {
            int left = c->len[s] - b->done[s];
            if (!left) continue;
            if (how == ALONE && more) continue;
            chunk[s] = how == ONE_BY_ONE ? 1 : how == RANDOM ? (int)rng_below(rng, (uint32_t)left + 1) : left;
            more = true;
        }
        int n = 0;
        for (int s = 0; s < c->n_seq; s++) n += chunk[s];
        if (n) pass(b, chunk);
    }
}

static void check_values(Bed *b, double tol)
{
    const Case *c = b->c;
    double want[512];
    for (int s = 0; s < c->n_seq; s++) {
        for (int pos = 0; pos<c->len[s]; pos += c->n_seq> 6 ? 101 : pos < 40 || pos > c->len[s] - 20 ? 1 : 13) {
            for (int h = 0; h < c->n_kv * c->group; h++) {
                reference(c, s, pos, h, want);
                check_close(want, b->result[s] + (size_t)pos * (size_t)width(c) + h * c->dim, c->dim, tol, c->name);
            }
        }
    }
}

static void one_case(const Case *c, const char *isa)
{
    Rng rng = { 99 };
    Bed first = { 0 };
    Device *d = open_cpu(isa, 1);
    if (!d) return;
    set_up(&first, c, d, &rng);
    run(&first, WHOLE, &rng);
    check_values(&first, 1e-5);
    for (int threads = 1; threads <= 3; threads++) {
        for (int how = 0; how < N_SCHEDULES; how++) {
            bool plain = strcmp(isa, "plain") == 0;
            if (plain && (threads != 2 || how == ALONE || how == WHOLE || c->n_seq > 7)) continue; /* slow */
            Bed other;
            Device *e = open_cpu(isa, threads);
            set_up(&other, c, e, &rng);
            run(&other, (Schedule)how, &rng);
            for (int s = 0; s < c->n_seq; s++) {
                size_t n = (size_t)c->len[s] * (size_t)width(c) * 4;
                if (memcmp(first.result[s], other.result[s], n)) {
                    print_error("%s, %s: schedule %d with %d threads gives other bits\n", isa, c->name, how, threads);
                }
                assert_memory_equal(first.result[s], other.result[s], n);
            }
            tear_down(&other);
            ops->close(e);
        }
    }
    tear_down(&first);
    ops->close(d);
}

/* In the shared cases each sequence writes the shared pages, the same bits at once: the thread sanitizer would have to object. */
static void all_cases(const char *isa)
{
    bool slow = test_is_slow();
    for (int i = 0; i < (int)COUNT(cases); i += slow ? 4 : 1)
        if (!slow || !cases[i].shared) one_case(&cases[i], isa);
}

static void plain_is_right_and_invariant(void **state)
{
    (void)state;
    all_cases("plain");
}

static void avx2_is_right_and_invariant(void **state)
{
    (void)state;
    all_cases("avx2");
}

static void avx512_is_right_and_invariant(void **state)
{
    (void)state;
    all_cases("avx512");
}

/* Values beyond F16's range must not become infinities that 0 * inf would spread. */
static void f16_saturates(void **state)
{
    (void)state;
    for (int i = 0; i < (int)COUNT(all_isas); i++) {
        Device *d = open_cpu(all_isas[i], 1);
        if (!d) continue;
        KvCache *kv;
        Err err;
        assert_int_equal(ops->kv_cache(d, (KvShape){ 1, 1, 32, 1, DT_F16 }, &kv, &err), OK);
        Tensor qkv = new_tensor(d, 2, 96), out = new_tensor(d, 2, 32);
        for (int c = 0; c < 96; c++) {
            row_of(qkv, 0)[c] = c < 64 ? 0 : 1e6f;
            row_of(qkv, 1)[c] = c < 64 ? 0 : -1e6f;
        }
        int32_t pos[2] = { 0, 1 }, start[2] = { 0, 2 }, len[1] = { 2 }, page[1] = { 0 };
        DeviceBatch b = {
            .n_tok = 2, .n_seq = 1, .max_pages = 1, .pos = pos, .seq_start = start, .seq_len = len, .pages = page
        };
        ops->forward_begin(d, &b);
        ops->kv_store(d, kv, 0, qkv, 1);
        ops->attend(d, out, qkv, kv, 0, &(AttnParams){ 1, 1, 32, 1, 0, 0, NULL });
        ops->forward_end(d);
        assert_true(row_of(out, 0)[5] == 65504);
        assert_true(row_of(out, 1)[5] == 0);
        ops->close(d);
    }
}

int main(void)
{
    ops = backend_find("cpu");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_is_right_and_invariant),
        cmocka_unit_test(avx2_is_right_and_invariant),
        cmocka_unit_test(avx512_is_right_and_invariant),
        cmocka_unit_test(f16_saturates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
