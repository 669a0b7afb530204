/* test_kv.c - the prefix cache against a naive model, and its speed.
 *
 * The model is a trie of single pages searched by plain loops. Every unpinned page has a stamp that says when its
 * last pin went; eviction takes the smallest stamp. The real tree must hand out, share and evict exactly the same pages.
 * RADISH_SEED=n replays one seed. */
/* clang-format off: cmocka wants these before it */
#include "kv/kv.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
/* clang-format on */

enum { P = KV_PAGE_TOKENS };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SLOW = 1 };
#else
enum { SLOW = 0 };
#endif

/* ---- the naive model ---- */

enum { MODEL_PAGES = 96 };

typedef struct {
    bool used;
    int parent; /* page number, -1: the root */
    uint64_t salt;
    int32_t tok[P];
    int pins, children;
    uint64_t stamp;
} Page;

typedef struct {
    int n, taken;
    Page page[MODEL_PAGES]; /* by page number: those in the tree */
    uint64_t clock;
} Naive;

static int naive_child(const Naive *m, int parent, uint64_t salt, const int32_t *tok)
{
    for (int i = 0; i < m->n; i++)
        if (m->page[i].used && m->page[i].parent == parent && m->page[i].salt == salt &&
            memcmp(m->page[i].tok, tok, sizeof m->page[i].tok) == 0)
            return i;
    return -1;
}

static int naive_match(const Naive *m, uint64_t salt, const int32_t *tok, int n, int32_t *pages)
{
    int at = -1, k = 0;
    for (; (k + 1) * P <= n; k++) {
        int next = naive_child(m, at, salt, tok + (size_t)k * P);
        if (next < 0) break;
        pages[k] = at = next;
    }
    return k;
}

static void naive_pin(Naive *m, const int32_t *pages, int n)
{
    for (int i = 0; i < n; i++) m->page[pages[i]].pins++;
}

static void naive_unpin(Naive *m, const int32_t *pages, int n)
{
    for (int i = n - 1; i >= 0; i--)
        if (--m->page[pages[i]].pins == 0) m->page[pages[i]].stamp = ++m->clock;
}

static int naive_in_tree(const Naive *m)
{
    int n = 0;
    for (int i = 0; i < m->n; i++) n += m->page[i].used;
    return n;
}

static int naive_available(const Naive *m)
{
    int pinned = 0;
    for (int i = 0; i < m->n; i++) pinned += m->page[i].used && m->page[i].pins > 0;
    return m->n - m->taken - pinned;
}

static void naive_evict(Naive *m)
{
    int oldest = -1;
    for (int i = 0; i < m->n; i++)
        if (m->page[i].used && m->page[i].pins == 0 && (oldest < 0 || m->page[i].stamp < m->page[oldest].stamp))
            oldest = i;
    assert_true(oldest >= 0 && m->page[oldest].children == 0);
    if (m->page[oldest].parent >= 0) m->page[m->page[oldest].parent].children--;
    m->page[oldest].used = false;
}

/* ---- one sequence of the random test ---- */

enum { SEQS = 8, SEQ_PAGES = 14 };

typedef struct {
    bool live;
    uint64_t salt;
    int n_tok, n_pages;
    int32_t tok[SEQ_PAGES * P];
    int32_t pages[SEQ_PAGES];
    KvPrefix prefix;
} Seq;

typedef struct {
    Rng rng;
    Kv *kv;
    Naive model;
    Seq seq[SEQS];
    uint64_t ops;
    bool tree;
} World;

/* Few different pages, some of them equal up to their last token, so that sequences share and part everywhere. */
static void random_page(World *w, int32_t *tok)
{
    int32_t kind = (int32_t)rng_below(&w->rng, 3);
    for (int i = 0; i < P; i++) tok[i] = i + 1;
    tok[kind == 2 ? 0 : P - 1] = 100 + kind;
}

static void check_counts(World *w)
{
    KvStats s = kv_stats(w->kv);
    assert_int_equal(s.n_tree, naive_in_tree(&w->model));
    assert_int_equal(s.n_taken, w->model.taken);
    assert_int_equal(s.n_free + s.n_tree + s.n_taken, s.n_pages);
    assert_int_equal(kv_available(w->kv), naive_available(&w->model));
}

static bool take(World *w, Seq *s, int n)
{
    Naive *m = &w->model;
    bool got = kv_take(w->kv, n, s->pages + s->n_pages);
    assert_int_equal(got, n <= naive_available(m));
    if (!got) return false;
    while (m->n - m->taken - naive_in_tree(m) < n) naive_evict(m);
    m->taken += n;
    for (int i = 0; i < n; i++) assert_false(m->page[s->pages[s->n_pages + i]].used);
    s->n_pages += n;
    return true;
}

static void start(World *w, Seq *s)
{
    *s = (Seq){ .live = true, .salt = rng_below(&w->rng, 2) };
    int whole = 1 + (int)rng_below(&w->rng, SEQ_PAGES - 1);
    for (int i = 0; i < whole; i++) random_page(w, s->tok + (size_t)i * P);
    s->n_tok = whole * P - (int)rng_below(&w->rng, P);
    int32_t expected[SEQ_PAGES];
    int known = w->tree ? naive_match(&w->model, s->salt, s->tok, s->n_tok, expected) : 0;
    assert_int_equal(kv_peek(w->kv, s->salt, s->tok, s->n_tok), known * P);
    s->prefix = kv_match(w->kv, s->salt, s->tok, s->n_tok, s->pages);
    assert_int_equal(s->prefix.n_tok, known * P);
    assert_memory_equal(s->pages, expected, (size_t)known * sizeof(int32_t));
    naive_pin(&w->model, expected, known);
    s->n_pages = known;
    if (!take(w, s, (s->n_tok + P - 1) / P - known)) {
        kv_unpin(w->kv, s->prefix);
        naive_unpin(&w->model, s->pages, known);
        s->live = false;
    }
}

static void grow(World *w, Seq *s)
{
    int32_t page[P];
    int more = 1 + (int)rng_below(&w->rng, 2 * P);
    for (int i = 0; i < more && s->n_tok < SEQ_PAGES * P; i++) {
        if (s->n_tok == s->n_pages * P && !take(w, s, 1)) return;
        if (s->n_tok % P == 0 || i == 0) random_page(w, page);
        s->tok[s->n_tok] = page[s->n_tok % P];
        s->n_tok++;
    }
}

/* The model's version of kv_remember: pages it has already are swapped, the others change hands. */
static void naive_remember(World *w, Seq *s, int n, int32_t *expected)
{
    Naive *m = &w->model;
    int under = s->prefix.n_tok / P, whole = n / P;
    memcpy(expected, s->pages, (size_t)s->n_pages * sizeof *expected);
    for (int i = under; i < whole; i++) {
        int parent = i ? expected[i - 1] : -1, known = naive_child(m, parent, s->salt, s->tok + (size_t)i * P);
        m->taken--;
        if (known >= 0) {
            expected[i] = known;
        } else {
            Page *p = &m->page[expected[i]];
            assert_false(p->used);
            *p = (Page){ .used = true, .parent = parent, .salt = s->salt };
            memcpy(p->tok, s->tok + (size_t)i * P, sizeof p->tok);
            if (parent >= 0) m->page[parent].children++;
        }
        m->page[expected[i]].pins++;
    }
}

static void remember(World *w, Seq *s, int n)
{
    int32_t expected[SEQ_PAGES];
    if (w->tree && n / P > s->prefix.n_tok / P)
        naive_remember(w, s, n, expected);
    else
        memcpy(expected, s->pages, sizeof expected);
    int before = s->prefix.n_tok;
    s->prefix = kv_remember(w->kv, s->salt, s->prefix, s->tok, n, s->pages);
    assert_int_equal(s->prefix.n_tok, w->tree ? MAX(before, n / P * P) : 0);
    assert_memory_equal(s->pages, expected, (size_t)s->n_pages * sizeof *expected);
}

static void finish(World *w, Seq *s)
{
    if (rng_below(&w->rng, 4)) remember(w, s, s->n_tok);
    int known = s->prefix.n_tok / P;
    kv_unpin(w->kv, s->prefix);
    naive_unpin(&w->model, s->pages, known);
    kv_give_back(w->kv, s->n_pages - known, s->pages + known);
    w->model.taken -= s->n_pages - known;
    s->live = false;
}

static void flush(World *w)
{
    Naive *m = &w->model;
    kv_flush(w->kv);
    for (int i = 0; i < m->n; i++)
        if (m->page[i].used && m->page[i].pins == 0) {
            if (m->page[i].parent >= 0) m->page[m->page[i].parent].children--;
            m->page[i].used = false;
        }
}

static void one_op(World *w)
{
    Seq *s = &w->seq[rng_below(&w->rng, SEQS)];
    uint32_t dice = rng_below(&w->rng, 100);
    if (!s->live)
        start(w, s);
    else if (dice < 35)
        grow(w, s);
    else if (dice < 60)
        remember(w, s, (int)rng_below(&w->rng, (uint32_t)s->n_tok + 1));
    else if (dice < 99)
        finish(w, s);
    else
        flush(w);
    check_counts(w);
    w->ops++;
}

static uint64_t run_seed(uint64_t seed, int n_ops)
{
    World *w = mem_alloc(sizeof *w);
    w->rng.s = seed;
    w->tree = seed % 8 != 7;
    w->model.n = 4 + (int)rng_below(&w->rng, MODEL_PAGES - 4);
    w->kv = kv_new(w->model.n, w->tree);
    for (int i = 0; i < n_ops; i++) {
        one_op(w);
        if (i % 16 == 0) kv_verify(w->kv);
    }
    for (int i = 0; i < SEQS; i++)
        if (w->seq[i].live) finish(w, &w->seq[i]);
    kv_flush(w->kv);
    kv_verify(w->kv);
    assert_int_equal(kv_stats(w->kv).n_free, w->model.n);
    uint64_t ops = w->ops;
    kv_free(w->kv);
    mem_free(w);
    return ops;
}

/* Says how to come back to what failed, whether by a test's assertion or by a CHECK inside. */
static uint64_t running_seed = UINT64_MAX;

static void print_seed(void *ctx)
{
    (void)ctx;
    if (running_seed != UINT64_MAX) fprintf(stderr, "failed: RADISH_SEED=%llu\n", (unsigned long long)running_seed);
}

static int print_seed_after(void **state)
{
    (void)state;
    print_seed(NULL);
    running_seed = UINT64_MAX;
    return 0;
}

static void test_against_naive(void **state)
{
    (void)state;
    base_on_panic(print_seed, NULL);
    const char *replay = getenv("RADISH_SEED");
    uint64_t ops = 0, seed = replay ? strtoull(replay, NULL, 10) : 0, first = seed;
    int64_t end = clock_ns() + (int64_t)2000000000;
    do {
        running_seed = seed;
        ops += run_seed(seed++, 3000);
    } while (!replay && clock_ns() < end);
    running_seed = UINT64_MAX;
    print_message("naive model: %llu seeds, %llu operations\n", (unsigned long long)(seed - first),
                  (unsigned long long)ops);
}

/* ---- what the header promises, one by one ---- */

static void fill(int32_t *tok, int n, int32_t from)
{
    for (int i = 0; i < n; i++) tok[i] = from + i;
}

static void test_doubles_go_home(void **state)
{
    (void)state;
    Kv *kv = kv_new(8, true);
    int32_t tok[3 * P], a[3], b[3];
    fill(tok, 3 * P, 0);
    assert_true(kv_take(kv, 3, a) && kv_take(kv, 3, b));
    KvPrefix none = { NULL, 0 };
    KvPrefix pa = kv_remember(kv, 0, none, tok, 2 * P + 5, a);
    assert_int_equal(pa.n_tok, 2 * P);
    KvPrefix pb = kv_remember(kv, 0, none, tok, 3 * P, b);
    assert_int_equal(pb.n_tok, 3 * P);
    assert_int_equal(b[0], a[0]);
    assert_int_equal(b[1], a[1]);
    assert_int_equal(kv_stats(kv).n_free, 4);
    assert_int_equal(kv_stats(kv).n_taken, 1);
    pa = kv_remember(kv, 0, pa, tok, 3 * P, a); /* late, and finds it all known */
    assert_int_equal(a[2], b[2]);
    kv_unpin(kv, pa);
    kv_unpin(kv, pb);
    kv_verify(kv);
    assert_int_equal(kv_available(kv), 8);
    kv_free(kv);
}

static void test_salt_separates(void **state)
{
    (void)state;
    Kv *kv = kv_new(8, true);
    int32_t tok[2 * P], a[2];
    fill(tok, 2 * P, 0);
    assert_true(kv_take(kv, 2, a));
    KvPrefix p = kv_remember(kv, 1, (KvPrefix){ NULL, 0 }, tok, 2 * P, a);
    assert_int_equal(kv_peek(kv, 1, tok, 2 * P), 2 * P);
    assert_int_equal(kv_peek(kv, 2, tok, 2 * P), 0);
    assert_int_equal(kv_peek(kv, 1, tok, 2 * P - 1), P);
    kv_unpin(kv, p);
    kv_free(kv);
}

static void test_pinned_survive(void **state)
{
    (void)state;
    Kv *kv = kv_new(4, true);
    int32_t tok[2 * P], other[2 * P], a[2], b[2], c[4];
    fill(tok, 2 * P, 0);
    fill(other, 2 * P, 1000);
    assert_true(kv_take(kv, 2, a) && kv_take(kv, 2, b));
    KvPrefix pa = kv_remember(kv, 0, (KvPrefix){ NULL, 0 }, tok, 2 * P, a);
    kv_unpin(kv, kv_remember(kv, 0, (KvPrefix){ NULL, 0 }, other, 2 * P, b));
    assert_false(kv_take(kv, 3, c));
    assert_int_equal(kv_peek(kv, 0, other, 2 * P), 2 * P); /* refused: nothing was evicted */
    assert_true(kv_take(kv, 1, c));
    assert_int_equal(kv_peek(kv, 0, other, 2 * P), P); /* its end went first */
    assert_true(kv_take(kv, 1, c + 1));
    assert_false(kv_take(kv, 1, c + 2));
    assert_int_equal(kv_peek(kv, 0, tok, 2 * P), 2 * P);
    kv_unpin(kv, pa);
    kv_give_back(kv, 2, c);
    kv_flush(kv);
    assert_int_equal(kv_stats(kv).n_free, 4);
    kv_verify(kv);
    kv_free(kv);
}

/* ---- speed ---- */

enum { BIG_NODES = 100000, PROMPT = 1000, ROUNDS = 400 };

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Many prompts that share beginnings of random length: about n_nodes edges. */
static void plant(Kv *kv, Rng *rng, int n_nodes)
{
    int32_t tok[8 * P], pages[8];
    while (kv_stats(kv).n_nodes < n_nodes) {
        int n = 3 + (int)rng_below(rng, 4);
        for (int i = 0; i < n * P; i++) tok[i] = (int32_t)rng_below(rng, i < P ? 3 : i < 2 * P ? 2 : 30000);
        for (int i = 0; i < 2 * P; i++)
            if (i % P) tok[i] = 7;
        for (int i = P; i < P + 14; i++) tok[i] = (int32_t)rng_below(rng, 2);
        KvPrefix p = kv_match(kv, 0, tok, n * P, pages);
        assert_true(kv_take(kv, n - p.n_tok / P, pages + p.n_tok / P));
        kv_unpin(kv, kv_remember(kv, 0, p, tok, n * P, pages));
    }
}

static void test_prompt_under_20_us(void **state)
{
    (void)state;
    Kv *kv = kv_new(8 * BIG_NODES, true);
    Rng rng = { 42 };
    plant(kv, &rng, BIG_NODES);
    static int32_t tok[ROUNDS][PROMPT];
    int64_t insert_ns[ROUNDS], match_ns[ROUNDS];
    for (int r = 0; r < ROUNDS; r++)
        for (int i = 0; i < PROMPT; i++) tok[r][i] = (int32_t)rng_below(&rng, 30000);
    uint64_t before = mem_allocations();
    for (int again = 0; again < 2; again++) { /* first all are new, then all are known */
        for (int r = 0; r < ROUNDS; r++) {
            int32_t pages[PROMPT / P + 1];
            int64_t t = clock_ns();
            KvPrefix p = kv_match(kv, 0, tok[r], PROMPT, pages);
            int known = p.n_tok / P;
            assert_true(kv_take(kv, PROMPT / P - known, pages + known));
            kv_unpin(kv, kv_remember(kv, 0, p, tok[r], PROMPT, pages));
            (again ? match_ns : insert_ns)[r] = clock_ns() - t;
            assert_int_equal(known, again ? PROMPT / P : 0);
        }
    }
    assert_int_equal(mem_allocations(), before);
    qsort(insert_ns, ROUNDS, sizeof *insert_ns, by_value);
    qsort(match_ns, ROUNDS, sizeof *match_ns, by_value);
    print_message("tree of %d nodes, prompt of %d tokens: match + insert %.1f us, match of a known one %.1f us\n",
                  kv_stats(kv).n_nodes, PROMPT, (double)insert_ns[ROUNDS / 2] / 1e3,
                  (double)match_ns[ROUNDS / 2] / 1e3);
    assert_true(SLOW || insert_ns[ROUNDS / 2] < 60000); /* 20 us is the aim; a shared machine is given room */
    kv_verify(kv);
    kv_free(kv);
}

/* The same kinds of operation as above without the model: what the cache itself costs. */
static void test_operations_a_second(void **state)
{
    (void)state;
    enum { OPS = SLOW ? 50000 : 1000000, PAGES = 4096, LIVE = 64, LONG = 8 };
    Kv *kv = kv_new(PAGES, true);
    Rng rng = { 7 };
    static struct {
        bool live;
        KvPrefix prefix;
        int n_pages;
        int32_t tok[LONG * P], pages[LONG];
    } seq[LIVE];
    uint64_t before = mem_allocations();
    int64_t t = clock_ns();
    for (int op = 0; op < OPS; op++) {
        int i = (int)rng_below(&rng, LIVE), n = 1 + (int)rng_below(&rng, LONG);
        if (!seq[i].live) {
            for (int k = 0; k < n; k++) {
                int32_t kind = (int32_t)rng_below(&rng, k < 2 ? 4 : 64);
                for (int j = 0; j < P; j++) seq[i].tok[k * P + j] = kind;
            }
            seq[i].prefix = kv_match(kv, 0, seq[i].tok, n * P, seq[i].pages);
            int known = seq[i].prefix.n_tok / P;
            seq[i].n_pages = n;
            seq[i].live = kv_take(kv, n - known, seq[i].pages + known);
            if (!seq[i].live) kv_unpin(kv, seq[i].prefix);
        } else if (rng_below(&rng, 2)) {
            n = MIN(n, seq[i].n_pages);
            seq[i].prefix = kv_remember(kv, 0, seq[i].prefix, seq[i].tok, n * P, seq[i].pages);
        } else {
            int known = seq[i].prefix.n_tok / P;
            kv_unpin(kv, seq[i].prefix);
            kv_give_back(kv, seq[i].n_pages - known, seq[i].pages + known);
            seq[i].live = false;
        }
    }
    double s = (double)(clock_ns() - t) / 1e9;
    assert_int_equal(mem_allocations(), before);
    print_message("%d operations in %.2f s: %.2f million a second\n", OPS, s, OPS / s / 1e6);
    assert_true(SLOW || OPS / s > 300000);
    kv_verify(kv);
    kv_free(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_against_naive, print_seed_after),
        cmocka_unit_test(test_doubles_go_home),
        cmocka_unit_test(test_salt_separates),
        cmocka_unit_test(test_pinned_survive),
        cmocka_unit_test(test_prompt_under_20_us),
        cmocka_unit_test(test_operations_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
