/* test_engine.c - what engine.h promises, one promise a test, on the sim backend. */
#include "engine/bench.h"

static void test_one_job(void **state)
{
    (void)state;
    Bench b = bench_open(bench_options(), 64, sim_config_default());
    int32_t prompt[40];
    bench_prompt(prompt, 40, 3);
    static Heard h;
    Job j = bench_job(prompt, 40, 10, &h);
    uint64_t id = bench_submit(&b, &j);
    assert_int_equal(bench_run(&b), 10); /* the prompt's pass gives the first token */
    assert_true(h.id == id);
    assert_int_equal(h.n_end, 1);
    assert_int_equal(h.reason, END_LENGTH);
    assert_int_equal(h.n_tok, 10);
    assert_int_equal(h.n_out, 10);
    assert_int_equal(h.n_cached, 0);
    EngineStats s;
    engine_stats(b.engine, &s);
    assert_int_equal(s.steps, 10);
    assert_int_equal(s.prefill_tokens, 40);
    assert_int_equal(s.decode_tokens, 9);
    assert_int_equal(s.n_running, 0);
    assert_int_equal(s.n_pages_free + s.n_pages_tree, 64);
    assert_int_equal(s.n_pages_tree, 3); /* 49 tokens were computed */
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
