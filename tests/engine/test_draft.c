/* test_draft.c - guesses from a sequence's own text: against a plain search, how their chances are measured, and how many of them
 * are worth their rows. */
#include "engine/bench.h"
#include "engine/speculate.h"

enum { N_TOK = 3000 };

typedef struct {
    Draft d;
    int32_t tok[N_TOK], *slot;
    int n;
} Text;

static Text *new_text(int most)
{
    Text *t = mem_alloc(sizeof *t);
    int n_slots = draft_n_slots(most);
    t->slot = mem_alloc_array((size_t)n_slots, sizeof *t->slot);
    draft_init(&t->d, t->slot, n_slots);
    return t;
}

static void free_text(Text *t)
{
    mem_free(t->slot);
    mem_free(t);
}

static void say(Text *t, const int32_t *tok, int n)
{
    for (int i = 0; i < n; i++) {
        t->tok[t->n++] = tok[i];
        draft_add(&t->d, t->tok, t->n);
    }
}

static void test_what_followed_before(void **state)
{
    (void)state;
    static const int32_t words[] = { 1, 2, 3, 4, 5, 6, 9, 2, 3, 7, 8, 1, 2, 3 }, more[] = { 4, 5, 2 };
    Text *t = new_text(100);
    assert_int_equal(draft_guess(&t->d, t->tok, 0, 4), 0);
    say(t, words, (int)COUNT(words));
    assert_int_equal(draft_guess(&t->d, t->tok, t->n, 4), 4);
    assert_int_equal(t->d.matched, 3); /* 1 2 3 stands farther back than 2 3 alone, but says more */
    assert_memory_equal(t->d.token, ((int32_t[]){ 4, 5, 6, 9 }), 4 * sizeof(int32_t));
    say(t, more, (int)COUNT(more));
    assert_int_equal(draft_guess(&t->d, t->tok, t->n, 2), 2);
    assert_int_equal(t->d.matched, 1);
    assert_memory_equal(t->d.token, ((int32_t[]){ 3, 4 }), 2 * sizeof(int32_t)); /* what followed the last 2 */
    say(t, &(int32_t){ 77 }, 1);
    assert_int_equal(draft_guess(&t->d, t->tok, t->n, 2), 0);
    free_text(t);
}

static void test_loops_go_on(void **state)
{
    (void)state;
    Text *t = new_text(100);
    say(t, ((int32_t[]){ 5, 6, 5, 6, 5 }), 5);
    assert_int_equal(draft_guess(&t->d, t->tok, t->n, 100), DRAFT_MAX);
    assert_memory_equal(t->d.token, ((int32_t[]){ 6, 5, 6, 5, 6, 5, 6, 5 }), 8 * sizeof(int32_t));
    free_text(t);
}

/* The latest place at which tok[0..n) has its last `of` tokens before; 0: none. */
static int search(const int32_t *tok, int n, int of)
{
    for (int end = n - 1; end >= of; end--)
        if (memcmp(tok + end - of, tok + n - of, (size_t)of * sizeof *tok) == 0) return end;
    return 0;
}

/* With few enough n-grams for the tables, they find what a search finds, but for those that share a slot. */
static void test_against_a_search(void **state)
{
    (void)state;
    Text *t = new_text(N_TOK);
    Rng rng = { 3 };
    int n_found = 0, n_missed = 0;
    while (t->n < N_TOK) {
        say(t, &(int32_t){ (int32_t)rng_below(&rng, 12) }, 1);
        int of = DRAFT_NGRAM, at = 0;
        while (of > 0 && (of >= t->n || (at = search(t->tok, t->n, of)) == 0)) of--;
        int n = draft_guess(&t->d, t->tok, t->n, 1);
        assert_true(n == 0 || t->d.matched <= of); /* never more than there is */
        bool same = of ? n == 1 && t->d.matched == of && t->d.token[0] == t->tok[at] : n == 0;
        n_found += same;
        n_missed += !same;
    }
    assert_true(n_found > 9 * n_missed);
    free_text(t);
}

/* A long sequence forgets, and stays inside its tables (the sanitizers look on). */
static void test_bounded(void **state)
{
    (void)state;
    assert_int_equal(draft_n_slots(1), draft_n_slots(16));
    assert_true(draft_n_slots(1 << 30) == draft_n_slots(1 << 20) && draft_n_slots(1 << 20) <= 3 * 8192);
    Text *t = new_text(8);
    Rng rng = { 4 };
    for (int i = 0; i < N_TOK; i++) {
        say(t, &(int32_t){ (int32_t)rng_below(&rng, 100000) }, 1);
        int n = draft_guess(&t->d, t->tok, t->n, DRAFT_MAX);
        assert_true(n == 0 ||
                    memcmp(t->tok + t->n - t->d.matched, t->tok + search(t->tok, t->n, t->d.matched) - t->d.matched,
                           (size_t)t->d.matched * sizeof *t->tok) == 0);
    }
    free_text(t);
}

static void test_chances(void **state)
{
    (void)state;
    Text *t = new_text(N_TOK);
    Rng rng = { 5 };
    for (int i = 0; i < 200; i++) { /* 1 2 3 4 always; after 4 anything */
        static const int32_t fixed[] = { 1, 2, 3, 4 };
        for (int k = 0; k < 4; k++) {
            draft_guess(&t->d, t->tok, t->n, 1);
            say(t, &fixed[k], 1);
        }
        draft_guess(&t->d, t->tok, t->n, 1);
        say(t, &(int32_t){ 100 + (int32_t)rng_below(&rng, 100000) }, 1);
    }
    say(t, ((int32_t[]){ 1, 2, 3 }), 3); /* not guessed, so not counted */
    assert_int_equal(draft_guess(&t->d, t->tok, t->n, 4), 4);
    assert_int_equal(t->d.matched, 3);
    assert_true(draft_chance(&t->d, 0) < 0.7 && draft_chance(&t->d, 0) > 0.1); /* 3 4: always; 3 4 ?: never */
    say(t, ((int32_t[]){ 4, 55 }), 2);
    assert_int_equal(t->d.n, 0); /* a wrong guess is over */
    free_text(t);
}

static void test_costs(void **state)
{
    (void)state;
    Speculate p = { .most = 8 };
    assert_true(speculate_cost(&p, 3) == 0);
    speculate_measured(&p, 1, 1000);
    assert_true(speculate_cost(&p, 1) == 1000 && speculate_cost(&p, 9) == 1000); /* worth a try */
    speculate_measured(&p, 9, 3000);
    assert_true(speculate_cost(&p, 5) == 2000 && speculate_cost(&p, 64) == 3000);
    speculate_measured(&p, 9, 1000000000);
    assert_true(speculate_cost(&p, 9) < 3500);
    for (int i = 0; i < 200; i++) speculate_measured(&p, 9, 5000);
    assert_true(speculate_cost(&p, 9) > 4990 && speculate_cost(&p, 9) <= 5000);
    speculate_measured(&p, SPECULATE_ROWS + 1, 1); /* no place for it */
    speculate_measured(&p, 0, 1);
}

/* A text that repeats itself, on a device where rows are almost free or cost as much as passes. */
typedef struct {
    int64_t pass_ns;
    double flops_s;
    float repeat;
    int draft_tokens;
    bool always;
} Setting;

enum { N_NEW = 1000 };

static EngineStats run_repeating(Setting w, Heard *h)
{
    SimConfig sim = sim_config_default();
    EngineOptions o = bench_options();
    EngineStats s;
    int32_t prompt[40];
    sim.repeat = w.repeat;
    sim.pass_ns = w.pass_ns;
    sim.flops_s = w.flops_s;
    sim.tile_rows = 1;
    o.draft_tokens = w.draft_tokens;
    o.draft_always = w.always;
    Bench b = bench_open(o, 200, sim);
    bench_prompt(prompt, 40, 3);
    Job j = bench_job(prompt, 40, N_NEW, h);
    bench_submit(&b, &j);
    bench_run(&b);
    engine_stats(b.engine, &s);
    bench_close(&b);
    assert_int_equal(h->n_tok, N_NEW);
    return s;
}

static void test_cheap_rows(void **state)
{
    (void)state;
    static Heard plain, guessing;
    EngineStats none = run_repeating((Setting){ 1000000, 660e12, 0.95f, 0, false }, &plain),
                many = run_repeating((Setting){ 1000000, 660e12, 0.95f, 8, false }, &guessing);
    assert_int_equal(none.drafted_tokens, 0);
    assert_true(many.accepted_tokens > 500 && many.steps < none.steps / 2 && many.busy_ns < none.busy_ns / 2);
    assert_int_equal(many.decode_tokens, none.decode_tokens);
    assert_memory_equal(plain.tok, guessing.tok, sizeof(int32_t) * N_NEW);
}

/* Every row costs what a pass of one does: a guess that may fail is a loss, and after a few it is seen to be. */
static void test_dear_rows(void **state)
{
    (void)state;
    static Heard plain, guessing, blind;
    EngineStats none = run_repeating((Setting){ 0, 1e8, 0.6f, 0, false }, &plain),
                few = run_repeating((Setting){ 0, 1e8, 0.6f, 8, false }, &guessing),
                all = run_repeating((Setting){ 0, 1e8, 0.6f, 8, true }, &blind);
    assert_true(all.drafted_tokens > 1000 && few.drafted_tokens < all.drafted_tokens / 8);
    assert_true(few.busy_ns < none.busy_ns + none.busy_ns / 20 && all.busy_ns > 2 * none.busy_ns);
    assert_memory_equal(plain.tok, guessing.tok, sizeof(int32_t) * N_NEW);
    assert_memory_equal(plain.tok, blind.tok, sizeof(int32_t) * N_NEW);
}

static void test_refused_options(void **state)
{
    (void)state;
    Engine *e;
    Err err;
    SimConfig sim = sim_config_default();
    Bench b = bench_open(bench_options(), 10, sim);
    EngineOptions o = bench_options();
    o.model = b.model;
    o.draft_tokens = ENGINE_DRAFT_MAX + 1;
    assert_int_equal(engine_open(&o, &e, &err), E_INVALID);
    o.draft_tokens = 1;
    o.ahead = true; /* a guess follows a token that the host does not know yet */
    assert_int_equal(engine_open(&o, &e, &err), E_INVALID);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_followed_before),
        cmocka_unit_test(test_loops_go_on),
        cmocka_unit_test(test_against_a_search),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_chances),
        cmocka_unit_test(test_costs),
        cmocka_unit_test(test_cheap_rows),
        cmocka_unit_test(test_dear_rows),
        cmocka_unit_test(test_refused_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
