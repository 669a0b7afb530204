/* test_engine.c - the engine on a GPU: batched, chunked, preempted and cached runs agree with runs alone, two runs are the same to
 * the last bit, outputs stay inside their grammars, a prompt of 131,000 tokens is read in any chunks and found again in the cache, and nothing grows once ready.
 *
 * Other batches take other algorithms and so round otherwise: tokens must agree until one was a close call, and the probabilities
 * of what both drew must be near each other. Skipped where there is no GPU. */
#include <math.h>

#include "engine/language.h"

enum { N_JOBS = 24, TURN = 20, TOLD_MAX = 64, LONG_PROMPT = 131000, LONG_NEW = 24 };
static const float CLOSE_CALL = 0.12f, NEAR = 0.06f; /* of log probabilities, in bf16 */

static const BackendOps *cuda;

typedef struct {
    int n, n_cached, n_end;
    int32_t tok[TOLD_MAX];
    float logprob[TOLD_MAX], gap[TOLD_MAX]; /* gap: between the likeliest two */
    EndReason reason;
} Told;

static void hear(void *ctx, const Event *e)
{
    Told *t = ctx;
    if (e->kind == EV_STARTED) t->n_cached = e->n_cached;
    if (e->kind == EV_END) t->n_end++, t->reason = e->reason;
    if (e->kind != EV_TOKEN || t->n == TOLD_MAX) return;
    t->gap[t->n] = e->n_top > 1 ? e->top_logprob[0] - e->top_logprob[1] : 1e9f;
    t->logprob[t->n] = e->logprob;
    t->tok[t->n++] = e->token;
}

static Bench open_gpu(EngineOptions o, const char *config, int n_pages, float std)
{
    Bench b = { 0 };
    Err err = { 0 };
    char path[512];
    snprintf(path, sizeof path, "%s/%s", RADISH_TESTS, config);
    Status st = load_open(path, (LoadOptions){ .dummy = true }, &b.checkpoint, &err);
    if (st == OK) st = cuda->open(&(DeviceOptions){ 0 }, &b.device, &err);
    ModelOptions m = { .ops = cuda,
                       .device = b.device,
                       .max_batch_tokens = o.max_batch_tokens,
                       .max_seqs = o.max_running,
                       .kv_dtype = DT_NONE,
                       .n_pages = n_pages,
                       .dummy_std = std,
                       .dummy_seed = 9 };
    if (st == OK) st = model_open(b.checkpoint, &m, &b.model, &err);
    if (st == OK) st = model_warm(b.model, false, NULL, &err);
    o.model = b.model;
    o.ahead = true;
    if (st == OK) st = engine_open(&o, &b.engine, &err);
    if (st != OK) fail_msg("%s", err.text);
    return b;
}

static void close_gpu(Bench *b)
{
    engine_close(b->engine);
    model_close(b->model);
    cuda->close(b->device);
    load_close(b->checkpoint);
}

static size_t free_bytes(const Bench *b)
{
    DeviceInfo info;
    cuda->info(b->device, &info);
    return info.memory_free;
}

/* The same tokens up to a close call, and about the same probabilities up to there. Returns how many agreed. */
static int agree(const Told *a, const Told *b)
{
    for (int i = 0; i < a->n && i < b->n; i++) {
        if (a->tok[i] != b->tok[i]) {
            if (a->gap[i] >= CLOSE_CALL)
                fail_msg("token %d: %d and %d, though by %g", i, a->tok[i], b->tok[i], (double)a->gap[i]);
            return i;
        }
        if (fabsf(a->logprob[i] - b->logprob[i]) > NEAR)
            fail_msg("token %d: logprobs %g and %g", i, (double)a->logprob[i], (double)b->logprob[i]);
    }
    assert_int_equal(a->n, b->n);
    return a->n;
}

static void same_bits(const Told *a, const Told *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->tok, b->tok, (size_t)a->n * sizeof *a->tok);
    assert_memory_equal(a->logprob, b->logprob, (size_t)a->n * sizeof *a->logprob);
}

/* ---- many short jobs ---- */

static Job choose(int i, int32_t *prompt, Told *t)
{
    Rng rng = { (uint64_t)i };
    int shared = i % 3 * 37, n = shared + 3 + (int)rng_below(&rng, 60);
    bench_prompt(prompt, shared, i % 2 * 100);
    for (int k = shared; k < n; k++) prompt[k] = (int32_t)rng_below(&rng, VOCAB);
    *t = (Told){ 0 };
    Job j = { .prompt = prompt, .n_prompt = n, .sampling = sampling_default(), .on_event = hear, .ctx = t };
    j.sampling.temperature = 0;
    j.sampling.max_new = TURN + (int)rng_below(&rng, 30);
    j.sampling.n_top_logprobs = 2;
    return j;
}

static void run_together(Told *told, uint64_t *preemptions, uint64_t *cached)
{
    static int32_t prompt[N_JOBS][200];
    EngineOptions o = { .policy = POLICY_LPM,
                        .max_running = 9,
                        .max_batch_tokens = 40,
                        .chunk_tokens = 23,
                        .use_radix = true,
                        .verify = true };
    Bench b = open_gpu(o, "engine/data/tiny", 26, 0.4f);
    static const int32_t never = 0; /* lengths are only guessed then, so pages do run out */
    for (int i = 0; i < N_JOBS; i++) {
        Job j = choose(i, prompt[i], &told[i]);
        j.sampling.stop_ids = &never;
        j.sampling.n_stop_ids = 1;
        j.sampling.min_new = j.sampling.max_new;
        bench_submit(&b, &j);
        if (i % 3 == 0) engine_step(b.engine);
    }
    bench_run(&b);
    EngineStats s;
    engine_stats(b.engine, &s);
    *preemptions = s.preemptions;
    *cached = s.cached_tokens;
    close_gpu(&b);
}

static void test_batches_agree(void **state)
{
    (void)state;
    static Told alone[N_JOBS], together[N_JOBS], again[N_JOBS];
    static int32_t prompt[N_JOBS][200];
    uint64_t preemptions, cached;
    int agreed = 0, all = 0;
    EngineOptions o = { .max_running = 64, .max_batch_tokens = 256, .verify = true };
    Bench b = open_gpu(o, "engine/data/tiny", 64, 0.4f);
    static const int32_t never = 0;
    for (int i = 0; i < N_JOBS; i++) {
        Job j = choose(i, prompt[i], &alone[i]);
        j.sampling.stop_ids = &never;
        j.sampling.n_stop_ids = 1;
        j.sampling.min_new = j.sampling.max_new;
        bench_submit(&b, &j);
        bench_run(&b);
    }
    close_gpu(&b);
    run_together(together, &preemptions, &cached);
    assert_true(preemptions > 0 && cached > 0);
    for (int i = 0; i < N_JOBS; i++) {
        agreed += agree(&alone[i], &together[i]);
        all += alone[i].n;
    }
    print_message("%d of %d tokens before a close call\n", agreed, all);
    assert_true(agreed * 10 > all * 8);
    run_together(again, &preemptions, &cached);
    for (int i = 0; i < N_JOBS; i++) same_bits(&together[i], &again[i]);
}

/* ---- outputs inside a grammar, beside free ones ---- */

typedef struct {
    Told told[N_JOBS];
    uint64_t steps, jumped;
} Bounded;

static void run_bounded(Language *l, Grammar *const *g, bool no_jump, Bounded *out)
{
    static int32_t prompt[N_JOBS][200];
    static const int32_t end = LANGUAGE_END;
    EngineOptions o = {
        .max_running = 16, .max_batch_tokens = 64, .use_radix = true, .verify = true, .no_jump = no_jump
    };
    Bench b = open_gpu(o, "engine/data/tiny", 64, 0.4f);
    for (int i = 0; i < N_JOBS; i++) {
        Job j = choose(i, prompt[i], &out->told[i]);
        j.sampling.temperature = i % 2 ? 1.0f : 0.0f;
        j.sampling.seed = (uint64_t)i;
        j.sampling.presence = i % 5 == 4 ? 0.5f : 0;
        j.sampling.max_new = TOLD_MAX;
        j.sampling.n_top_logprobs = i % 7 == 6 ? 2 : -1;
        if (i % 3 != 2) {
            j.grammar = g[i % 2];
            j.encode = language_encode;
            j.encode_arg = l;
            j.sampling.stop_ids = &end;
            j.sampling.n_stop_ids = 1;
        }
        bench_submit(&b, &j);
        if (i % 4 == 0) engine_step(b.engine);
    }
    bench_run(&b);
    EngineStats s;
    engine_stats(b.engine, &s);
    out->steps = s.steps;
    out->jumped = s.jumped_tokens;
    close_gpu(&b);
}

static void test_inside_a_grammar(void **state)
{
    (void)state;
    static Language l;
    static Bounded drawn, jumped, again;
    language_open(&l);
    Grammar *g[2] = { language_grammar(&l, GRAMMAR_REGEX,
                                       "\\{\"name\":\"[a-e]{1,6}\",\"on\":(true|false),\"off\":\\[1,2,12\\]\\}", NULL),
                      language_grammar(&l, GRAMMAR_REGEX, "((abc|xyz|true), ){2,9}(on|off)", NULL) };
    run_bounded(&l, g, true, &drawn);
    run_bounded(&l, g, false, &jumped);
    run_bounded(&l, g, false, &again);
    for (int i = 0; i < N_JOBS; i++) {
        const Told *t[] = { &drawn.told[i], &jumped.told[i] };
        for (int k = 0; k < 2 && i % 3 != 2; k++) {
            assert_int_equal(t[k]->n_end, 1);
            assert_int_equal(t[k]->reason, END_STOP);
            assert_true(language_has(g[i % 2], t[k]->tok, t[k]->n, true));
        }
        same_bits(&jumped.told[i], &again.told[i]);
    }
    print_message("%llu steps drawn, %llu with %llu tokens appended\n", (unsigned long long)drawn.steps,
                  (unsigned long long)jumped.steps, (unsigned long long)jumped.jumped);
    assert_true(drawn.jumped == 0 && jumped.jumped > 20);
    for (int i = 0; i < 2; i++) grammar_drop(g[i]);
    language_close(&l);
}

/* ---- one very long job ---- */

static Told read_long(const Bench *b, const int32_t *prompt)
{
    static Told t;
    t = (Told){ 0 };
    Job j = { .prompt = prompt, .n_prompt = LONG_PROMPT, .sampling = sampling_default(), .on_event = hear, .ctx = &t };
    j.sampling.temperature = 0;
    j.sampling.max_new = LONG_NEW;
    j.sampling.n_top_logprobs = 2;
    bench_submit(b, &j);
    bench_run(b);
    assert_int_equal(t.n_end, 1);
    assert_int_equal(t.reason, END_LENGTH);
    assert_int_equal(t.n, LONG_NEW);
    return t;
}

static void test_long_prompt(void **state)
{
    (void)state;
    static int32_t prompt[LONG_PROMPT];
    static const int chunks[] = { 8192, 3000 };
    Told t[3];
    Rng rng = { 5 };
    for (int i = 0; i < LONG_PROMPT; i++) prompt[i] = (int32_t)rng_below(&rng, 4096);
    for (int i = 0; i < 2; i++) {
        EngineOptions o = {
            .max_running = 4, .max_batch_tokens = 8192, .chunk_tokens = chunks[i], .use_radix = true, .verify = i == 0
        };
        Bench b = open_gpu(o, "cuda/data/long", (LONG_PROMPT + LONG_NEW) / 16 + 40, 0.05f);
        int64_t began = clock_ns();
        t[i] = read_long(&b, prompt);
        print_message("%d tokens in chunks of %d: %.2f s\n", LONG_PROMPT, chunks[i],
                      (double)(clock_ns() - began) / 1e9);
        assert_int_equal(t[i].n_cached, 0);
        if (i == 0) {
            t[2] = read_long(&b, prompt);
            assert_true(t[2].n_cached > LONG_PROMPT - 64);
        }
        close_gpu(&b);
    }
    assert_true(agree(&t[0], &t[1]) > 0);
    assert_true(agree(&t[0], &t[2]) > 0);
}

/* ---- memory ---- */

static void test_nothing_grows(void **state)
{
    (void)state;
    enum { N = 200, STEPS = 1200 };
    static Told told[N];
    static int32_t prompt[N][200];
    EngineOptions o = { .max_running = 64, .max_batch_tokens = 512, .use_radix = true };
    Bench b = open_gpu(o, "engine/data/tiny", 2000, 0.4f);
    size_t before = free_bytes(&b);
    int steps = 0;
    for (int i = 0; steps < STEPS; i++) {
        Job j = choose(i % N, prompt[i % N], &told[i % N]);
        j.sampling.temperature = i % 3 ? 0.9f : 0;
        j.sampling.top_k = i % 5 ? 0 : 40;
        j.sampling.presence = i % 4 ? 0 : 0.5f;
        j.sampling.prompt_logprobs_from = i % 7 ? -1 : 1;
        bench_submit(&b, &j);
        if (i % 50 == 49) steps += bench_run(&b);
        for (int k = 0; k < i % 4; k++) steps += engine_step(b.engine);
    }
    bench_run(&b);
    size_t after = free_bytes(&b);
    print_message("%d steps, %zu bytes of GPU memory taken meanwhile\n", steps, before - after);
    assert_true(after >= before);
    close_gpu(&b);
}

int main(void)
{
    cuda = backend_find("cuda");
    if (!cuda || cuda->count() == 0) {
        print_message("no GPU: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_batches_agree), cmocka_unit_test(test_inside_a_grammar),
                                        cmocka_unit_test(test_long_prompt), cmocka_unit_test(test_nothing_grows) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
