/* test_fault.c - a GPU that faults in the middle of a batch: every job ends with the reason, new ones are refused, nothing hangs.
 *
 * The fault is a page number far outside the cache, given to the device behind the engine's back. It ends this process's use of
 * the GPU, so this is a program of its own. Skipped where there is no GPU. */
#include "engine/bench.h"

enum { N_JOBS = 12, GOOD_PASSES = 20, FAR_PAGE = 1 << 26, BATCH_PAGES = 64 * 64 };

static const BackendOps *cuda;
static int n_passes;

static void begin(Device *d, const DeviceBatch *b)
{
    static int32_t pages[BATCH_PAGES];
    static DeviceBatch bad; /* as long as the pass */
    bad = *b;
    if (++n_passes > GOOD_PASSES) {
        CHECK(b->n_seq * b->max_pages <= BATCH_PAGES);
        for (int i = 0; i < b->n_seq * b->max_pages; i++) pages[i] = FAR_PAGE + i;
        bad.pages = pages;
    }
    cuda->forward_begin(d, &bad);
}

static atomic_int n_faults;

/* What makes a server stop, and exit with 1 (tests/e2e/test_fault.py has the rest of that way). */
static void on_fault(void *ctx, const char *why)
{
    assert_ptr_equal(ctx, &n_faults);
    assert_true(why[0] != 0);
    atomic_fetch_add(&n_faults, 1);
}

typedef struct {
    int n_end, n_tok;
    EndReason reason;
    char message[200];
} Told;

static void hear(void *ctx, const Event *e)
{
    Told *t = ctx;
    t->n_tok += e->kind == EV_TOKEN;
    if (e->kind != EV_END) return;
    t->n_end++;
    t->reason = e->reason;
    if (e->message) snprintf(t->message, sizeof t->message, "%s", e->message);
}

static void test_fault_ends_everything(void **state)
{
    (void)state;
    static Told told[N_JOBS];
    static int32_t prompt[40];
    BackendOps faulty = *cuda;
    Bench b = { 0 };
    Err err = { 0 };
    faulty.forward_begin = begin;
    assert_int_equal(load_open(RADISH_TESTS "/engine/data/tiny", (LoadOptions){ .dummy = true }, &b.checkpoint, &err),
                     OK);
    assert_int_equal(cuda->open(&(DeviceOptions){ 0 }, &b.device, &err), OK);
    ModelOptions m = { .ops = &faulty,
                       .device = b.device,
                       .max_batch_tokens = 256,
                       .max_seqs = 16,
                       .n_pages = 400,
                       .kv_dtype = DT_NONE,
                       .dummy_std = 0.4f };
    if (model_open(b.checkpoint, &m, &b.model, &err) != OK) fail_msg("%s", err.text);
    EngineOptions o = { .model = b.model,
                        .max_running = 16,
                        .max_batch_tokens = 256,
                        .ahead = true,
                        .on_fault = on_fault,
                        .fault_ctx = &n_faults };
    assert_int_equal(engine_open(&o, &b.engine, &err), OK);
    assert_int_equal(engine_start(b.engine, &err), OK);
    for (int i = 0; i < N_JOBS; i++) {
        bench_prompt(prompt, 40, i);
        Job j = { .prompt = prompt, .n_prompt = 40, .sampling = sampling_default(), .on_event = hear, .ctx = &told[i] };
        j.sampling.max_new = 200;
        j.sampling.ignore_eos = true;
        bench_submit(&b, &j);
    }
    EngineStats s;
    int64_t until = clock_ns() + 20000000000;
    do {
        engine_stats(b.engine, &s);
    } while (s.jobs_failed < N_JOBS && clock_ns() < until);
    assert_int_equal(s.jobs_failed, N_JOBS);
    Job late = { .prompt = prompt, .n_prompt = 40, .sampling = sampling_default(), .on_event = hear, .ctx = &told[0] };
    assert_int_equal(engine_submit(b.engine, &late, NULL, &err), E_DEVICE);
    engine_close(b.engine);
    assert_int_equal(atomic_load(&n_faults), 1);
    for (int i = 0; i < N_JOBS; i++) {
        assert_int_equal(told[i].n_end, 1);
        assert_int_equal(told[i].reason, END_FAILED);
        assert_true(told[i].message[0] != 0);
    }
    print_message("after %d passes: %s\n", n_passes, told[0].message);
    model_close(b.model);
    cuda->close(b.device);
    load_close(b.checkpoint);
}

int main(void)
{
    cuda = backend_find("cuda");
    if (!cuda || cuda->count() == 0) {
        print_message("no GPU: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_fault_ends_everything) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
