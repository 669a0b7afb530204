/* test_policy.c - the settings of the scheduler: who begins first, what a pass is made of, and how well it knows the room. */
#include "engine/bench.h"

enum { JOBS_MAX = 256, PROMPT = 40 };

typedef struct {
    uint64_t id[JOBS_MAX]; /* in the order in which they ended */
    int n;
} Ended;

static void note_end(void *ctx, const Event *e)
{
    Ended *ended = ctx;
    if (e->kind == EV_END) ended->id[ended->n++] = e->job;
}

/* A job of its own prompt; stop: whether a token may end it (one that min_new keeps away), so that its length is not known. */
static uint64_t submit(const Bench *b, int n_prompt, int max_new, bool stop, int seed, Ended *ended)
{
    static const int32_t any = 1;
    int32_t prompt[2048];
    Heard unused;
    bench_prompt(prompt, n_prompt, seed % VOCAB);
    prompt[0] = seed % VOCAB, prompt[1] = seed / VOCAB;
    Job j = bench_job(prompt, n_prompt, max_new, &unused);
    j.sampling.stop_ids = &any;
    j.sampling.n_stop_ids = stop;
    j.sampling.min_new = stop ? max_new : 0;
    j.on_event = ended ? note_end : NULL;
    j.ctx = ended;
    return bench_submit(b, &j);
}

/* ---- order ---- */

/* Five jobs of known length and one of unknown wait together; when the first runs a seventh comes, longer than all. */
static void check_order(SchedPolicy policy, const int *want)
{
    static const int lengths[] = { 5, 40, 6, 33, 70 };
    EngineOptions o = bench_options();
    o.policy = policy;
    o.max_running = 1;
    Bench b = bench_open(o, 64, sim_config_default());
    Ended ended = { 0 };
    uint64_t id[7];
    for (int i = 0; i < 5; i++) id[i] = submit(&b, PROMPT, lengths[i], false, i, &ended);
    id[5] = submit(&b, PROMPT, 8, true, 5, &ended);
    assert_true(engine_step(b.engine));
    id[6] = submit(&b, PROMPT, 100, false, 6, &ended);
    bench_run(&b);
    assert_int_equal(ended.n, 7);
    for (int i = 0; i < 7; i++) assert_int_equal(ended.id[i], id[want[i]]);
    bench_close(&b);
}

static void test_order(void **state)
{
    (void)state;
    check_order(POLICY_FCFS, (const int[]){ 0, 1, 2, 3, 4, 5, 6 });
    check_order(POLICY_LPM, (const int[]){ 5, 4, 1, 3, 0, 2, 6 }); /* 64 and up, 32 and up, 4 and up */
    check_order(POLICY_LOF, (const int[]){ 5, 4, 1, 3, 2, 0, 6 });
}

/* A stream of long jobs does not keep a short one waiting: each comes to a later turn. */
static void test_nobody_starves(void **state)
{
    (void)state;
    EngineOptions o = bench_options();
    o.policy = POLICY_LOF;
    o.max_running = 1;
    Bench b = bench_open(o, 64, sim_config_default());
    Ended ended = { 0 }, others = { 0 };
    submit(&b, PROMPT, 30, false, 0, NULL);
    submit(&b, PROMPT, 2, false, 1, &ended);
    int steps = 0;
    for (; ended.n == 0; steps++) {
        if (steps % 20 == 0 && steps < 20 * JOBS_MAX) submit(&b, PROMPT, 30, false, 2 + steps, &others);
        assert_true(engine_step(b.engine));
        assert_true(steps < 200);
    }
    bench_close(&b);
}

static void test_policy_names(void **state)
{
    (void)state;
    SchedPolicy p;
    assert_true(engine_find_policy(NULL, &p) && p == POLICY_LPM);
    assert_true(engine_find_policy("fcfs", &p) && p == POLICY_FCFS);
    assert_true(engine_find_policy("lof", &p) && p == POLICY_LOF);
    assert_false(engine_find_policy("best", &p));
}

/* ---- passes ---- */

static EngineStats stats_of(const Bench *b)
{
    EngineStats s;
    engine_stats(b->engine, &s);
    return s;
}

/* Eight decode; a prompt of several passes comes. Returns how many rows decoded while it was computed, *most: rows of a pass. */
static int decoded_beside(EngineOptions o, int n_prompt, int *most)
{
    o.max_batch_tokens = 256;
    o.chunk_tokens = 256;
    o.verify = true;
    Bench b = bench_open(o, 256, sim_config_default());
    Ended ended = { 0 };
    for (int i = 0; i < 8; i++) submit(&b, PROMPT, 200, false, i, &ended);
    while (stats_of(&b).decode_tokens < 8 || stats_of(&b).prefill_tokens < 8 * PROMPT)
        assert_true(engine_step(b.engine));
    EngineStats before = stats_of(&b), last = before;
    submit(&b, n_prompt, 2, false, 100, &ended);
    *most = 0;
    while (stats_of(&b).prefill_tokens < before.prefill_tokens + (uint64_t)n_prompt) {
        assert_true(engine_step(b.engine));
        EngineStats now = stats_of(&b);
        *most = MAX(*most, (int)(now.prefill_tokens + now.decode_tokens - last.prefill_tokens - last.decode_tokens));
        last = now;
    }
    bench_run(&b);
    assert_int_equal(ended.n, 9);
    bench_close(&b);
    return (int)(last.decode_tokens - before.decode_tokens);
}

/* Also: with its pages the rows of the table grow in a pass where the eight are not; theirs must be written anew. */
static void test_prefill_first(void **state)
{
    (void)state;
    int most;
    EngineOptions o = bench_options();
    o.prefill_first = true;
    assert_int_equal(decoded_beside(o, 1300, &most), 0);
    assert_int_equal(most, 256);
    o.ahead = true;
    decoded_beside(o, 1300, &most);
    o = bench_options();
    assert_int_equal(decoded_beside(o, 1300, &most), 8 * 6); /* 248 rows of the prompt a pass */
    assert_int_equal(most, 256);
}

static void test_mixed_tokens(void **state)
{
    (void)state;
    int most;
    EngineOptions o = bench_options();
    o.mixed_tokens = 64;
    assert_int_equal(decoded_beside(o, 560, &most), 8 * 10); /* 56 of the prompt a pass */
    assert_int_equal(most, 64);
    o.mixed_tokens = 4; /* less than decode: a share is the prompt's even so */
    assert_int_equal(decoded_beside(o, 20, &most), 8 * 20);
    assert_int_equal(most, 9);
}

/* ---- room ---- */

/* Jobs whose lengths are known, in a cache that holds few of them: nobody is preempted, and the cache is full all the same. */
static void fill_cache(uint64_t seed, bool ahead)
{
    enum { N = 200, PAGES = 96 };
    Rng rng = { seed };
    EngineOptions o = bench_options();
    o.use_radix = false;
    o.ahead = ahead;
    o.policy = (SchedPolicy)rng_below(&rng, 3);
    o.prefill_first = rng_below(&rng, 2);
    o.max_running = 64;
    if (rng_below(&rng, 2)) o.chunk_tokens = o.mixed_tokens = 80;
    Bench b = bench_open(o, PAGES, sim_config_default());
    Ended ended = { 0 };
    uint32_t longest = rng_below(&rng, 3) ? 100 : 600;
    for (int i = 0; i < N; i++)
        submit(&b, 1 + (int)rng_below(&rng, longest), 1 + (int)rng_below(&rng, 200), false, i, &ended);
    double used = 0;
    int n = 0;
    for (; engine_step(b.engine); n++) {
        EngineStats s = stats_of(&b);
        if (s.n_waiting == 0) continue;
        used += PAGES - s.n_pages_free;
    }
    EngineStats s = stats_of(&b);
    assert_int_equal(ended.n, N);
    assert_int_equal(s.preemptions, 0);
    assert_true(used / n > 0.6 * PAGES);
    bench_close(&b);
}

static void test_known_lengths_fill_the_cache(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < (SLOW ? 4 : 400); seed++) fill_cache(seed, seed % 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),        cmocka_unit_test(test_nobody_starves),
        cmocka_unit_test(test_policy_names), cmocka_unit_test(test_prefill_first),
        cmocka_unit_test(test_mixed_tokens), cmocka_unit_test(test_known_lengths_fill_the_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
