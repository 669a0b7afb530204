/* test_idle.c - what a device does while nobody asks: it is called when nothing runs, gives way to jobs, to controls and to closing, and is
 * not called in the middle of work. */
#include <time.h>

#include "engine/bench.h"

enum { N_NEW = 40, GIVE_UP_S = 20 };

static struct {
    atomic_int called, gave_way, running; /* running: passes queued and not yet waited for */
    atomic_bool disturbed;
} seen;

static void nap(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* Never ends of its own accord, and always has more to do. */
static bool idle(Device *d, bool (*wanted)(void *ctx), void *ctx)
{
    (void)d;
    atomic_fetch_add(&seen.called, 1);
    if (atomic_load(&seen.running)) atomic_store(&seen.disturbed, true);
    while (!wanted(ctx)) nap();
    atomic_fetch_add(&seen.gave_way, 1);
    return true;
}

static void begin(Device *d, const DeviceBatch *b)
{
    atomic_fetch_add(&seen.running, 1);
    backend_sim.forward_begin(d, b);
}

static Status sample_wait(Device *d, SampleOut *out, int n, Err *err)
{
    atomic_fetch_sub(&seen.running, 1);
    return backend_sim.sample_wait(d, out, n, err);
}

static void until(const atomic_int *what, int least)
{
    int64_t end = clock_ns() + (int64_t)GIVE_UP_S * 1000000000;
    while (atomic_load(what) < least && clock_ns() < end) nap();
    assert_true(atomic_load(what) >= least);
}

static Bench open_lazy(const BackendOps *ops, bool ahead)
{
    Bench b = { 0 };
    Err err = { 0 };
    assert_int_equal(load_open(RADISH_TESTS "/engine/data/tiny", (LoadOptions){ .dummy = true }, &b.checkpoint, &err),
                     OK);
    assert_int_equal(ops->open(&(DeviceOptions){ 0 }, &b.device, &err), OK);
    ModelOptions m = { .ops = ops, .device = b.device, .max_batch_tokens = 256, .max_seqs = 16, .n_pages = 100 };
    assert_int_equal(model_open(b.checkpoint, &m, &b.model, &err), OK);
    EngineOptions o = bench_options();
    o.model = b.model;
    o.ahead = ahead;
    assert_int_equal(engine_open(&o, &b.engine, &err), OK);
    assert_int_equal(engine_start(b.engine, &err), OK);
    return b;
}

static void live(bool ahead)
{
    BackendOps lazy = backend_sim;
    lazy.idle = idle;
    lazy.forward_begin = begin;
    lazy.sample_wait = sample_wait;
    memset(&seen, 0, sizeof seen);
    Bench b = open_lazy(&lazy, ahead);
    static Heard heard;
    int32_t prompt[30];
    EngineStats s;
    until(&seen.called, 1);
    for (uint64_t n = 1; n <= 3; n++) {
        int before = atomic_load(&seen.called);
        bench_prompt(prompt, 30, (int32_t)n);
        Job j = bench_job(prompt, 30, N_NEW, &heard);
        j.sampling.ignore_eos = true;
        bench_submit(&b, &j);
        until(&seen.called, before + 1); /* it runs dry only when the job is done */
        engine_stats(b.engine, &s);
        assert_int_equal(s.jobs_done, n);
        assert_int_equal(heard.n_tok, N_NEW);
    }
    int before = atomic_load(&seen.gave_way);
    engine_cancel(b.engine, 12345);
    until(&seen.gave_way, before + 1);
    bench_close(&b);
    assert_false(atomic_load(&seen.disturbed));
}

static void test_plain(void **state)
{
    (void)state;
    live(false);
}

static void test_ahead(void **state)
{
    (void)state;
    live(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_plain), cmocka_unit_test(test_ahead) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
