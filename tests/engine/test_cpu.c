/* test_cpu.c - the engine on the CPU backend: whatever the batch around it, a job's tokens and logprobs are the same to the
 * last bit. A small model with random weights, jobs that share prefixes, chunks of odd lengths, too few pages. */
#include "engine/bench.h"

enum { N_JOBS = 24, TURN = 20 };

static Bench open_cpu(EngineOptions o, int n_pages, const char *isa, float std)
{
    Bench b = { 0 };
    Err err = { 0 };
    const BackendOps *cpu = backend_find("cpu");
    assert_non_null(cpu);
    Status st = load_open(RADISH_TESTS "/engine/data/tiny", (LoadOptions){ .dummy = true }, &b.checkpoint, &err);
    if (st == OK) st = cpu->open(&(DeviceOptions){ .threads = 2, .isa = isa }, &b.device, &err);
    ModelOptions m = { .ops = cpu,
                       .device = b.device,
                       .max_batch_tokens = o.max_batch_tokens,
                       .max_seqs = MAX(o.max_running, o.max_logits),
                       .n_pages = n_pages,
                       .kv_dtype = DT_NONE,
                       .dummy_std = std,
                       .dummy_seed = 9 };
    if (st == OK) st = model_open(b.checkpoint, &m, &b.model, &err);
    o.model = b.model;
    if (st == OK) st = engine_open(&o, &b.engine, &err);
    if (st != OK) fprintf(stderr, "%s\n", err.text);
    assert_int_equal(st, OK);
    return b;
}

static void close_cpu(Bench *b)
{
    engine_close(b->engine);
    model_close(b->model);
    backend_find("cpu")->close(b->device);
    load_close(b->checkpoint);
}

static Job choose(int i, int32_t *prompt, Heard *h)
{
    static const int32_t never = 0; /* banned throughout; but lengths are only guessed, so pages do run out */
    Rng rng = { (uint64_t)i };
    int shared = i % 3 * 37, n = shared + 3 + (int)rng_below(&rng, 60);
    bench_prompt(prompt, shared, i % 2 * 100); /* the beginnings are few, the ends are their own */
    for (int k = shared; k < n; k++) prompt[k] = (int32_t)rng_below(&rng, VOCAB);
    Job j = bench_job(prompt, n, TURN + (int)rng_below(&rng, 30), h);
    j.sampling.n_top_logprobs = 2;
    j.sampling.stop_ids = &never;
    j.sampling.n_stop_ids = 1;
    j.sampling.min_new = j.sampling.max_new;
    if (i % 2) {
        j.sampling.temperature = 0.9f;
        j.sampling.top_p = 0.95f;
        j.sampling.seed = (uint64_t)i;
    }
    if (i % 5 == 0) j.sampling.presence = 0.7f;
    if (i % 6 == 0) j.sampling.prompt_logprobs_from = i / 6;
    return j;
}

/* The model must say many things, or equal answers prove nothing. */
static void check_variety(const Heard *h, int least)
{
    bool seen[VOCAB] = { false };
    int n = 0;
    for (int i = 0; i < N_JOBS; i++)
        for (int k = 0; k < h[i].n_tok; k++) {
            n += !seen[h[i].tok[k]];
            seen[h[i].tok[k]] = true;
        }
    assert_true(n > least);
}

/* drafts: tokens of a sequence that the engine may guess; their rows stand in one pass with the row before. */
static void compare_batches(const char *isa, bool ahead, int drafts)
{
    static Heard alone[N_JOBS], together[N_JOBS];
    static int32_t prompt[N_JOBS][200];
    float std = drafts ? 0.15f : 0.4f; /* small weights: a token says much about the next, so guesses can hold */
    EngineOptions o = { .max_running = 64, .max_batch_tokens = 256, .verify = true };
    Bench b = open_cpu(o, 64, isa, std);
    for (int i = 0; i < N_JOBS; i++) {
        Job j = choose(i, prompt[i], &alone[i]);
        bench_submit(&b, &j);
        bench_run(&b);
    }
    close_cpu(&b);
    check_variety(alone, drafts ? 40 : 100);
    o = (EngineOptions){ .policy = POLICY_LPM,
                         .max_running = 9,
                         .max_batch_tokens = 40,
                         .chunk_tokens = 23,
                         .use_radix = true,
                         .ahead = ahead,
                         .max_logits = 30,
                         .draft_tokens = drafts,
                         .draft_always = true,
                         .verify = true };
    b = open_cpu(o, 26, isa, std);
    for (int i = 0; i < N_JOBS; i++) {
        Job j = choose(i, prompt[i], &together[i]);
        bench_submit(&b, &j);
        if (i % 3 == 0) engine_step(b.engine);
    }
    bench_run(&b);
    EngineStats s;
    engine_stats(b.engine, &s);
    assert_true(s.preemptions > 0 && s.cached_tokens > 0);
    print_message("%llu guessed, %llu right\n", (unsigned long long)s.drafted_tokens,
                  (unsigned long long)s.accepted_tokens);
    assert_true(drafts ? s.accepted_tokens > 20 && s.drafted_tokens > s.accepted_tokens : s.drafted_tokens == 0);
    for (int i = 0; i < N_JOBS; i++) {
        assert_int_equal(together[i].n_tok, alone[i].n_tok);
        assert_memory_equal(together[i].tok, alone[i].tok, (size_t)alone[i].n_tok * sizeof(int32_t));
        assert_true(together[i].logprob_sum == alone[i].logprob_sum);
        assert_true(together[i].prompt_logprob_sum == alone[i].prompt_logprob_sum);
    }
    close_cpu(&b);
}

static void test_same_bits_in_any_batch(void **state)
{
    (void)state;
    compare_batches("plain", false, 0);
    compare_batches("auto", false, 0);
    compare_batches("auto", true, 0);
}

static void test_same_bits_with_guesses(void **state)
{
    (void)state;
    compare_batches("plain", false, 3);
    compare_batches("auto", false, 1);
    compare_batches("auto", false, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_same_bits_in_any_batch),
                                        cmocka_unit_test(test_same_bits_with_guesses) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
