/* test_engine.c - what engine.h promises, one promise a test, on the sim backend. */
#include <pthread.h>
#include <unistd.h>

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

/* ---- the prefix cache ---- */

static void run_one(const Bench *b, const Job *j)
{
    bench_submit(b, j);
    bench_run(b);
}

static void test_second_time_is_cached(void **state)
{
    (void)state;
    Bench b = bench_open(bench_options(), 64, sim_config_default());
    int32_t prompt[64];
    bench_prompt(prompt, 64, 5);
    static Heard first, again, other;
    Job j = bench_job(prompt, 64, 5, &first);
    run_one(&b, &j);
    j = bench_job(prompt, 64, 5, &again);
    run_one(&b, &j);
    assert_int_equal(again.n_cached, 48); /* the last token must be computed, so the last page is */
    assert_memory_equal(first.tok, again.tok, 5 * sizeof(int32_t));
    j = bench_job(prompt, 64, 5, &other);
    j.salt = 1;
    run_one(&b, &j);
    assert_int_equal(other.n_cached, 0);
    /* a conversation goes on: prompt, answer, next question */
    int32_t turn[90];
    bench_prompt(turn, 90, 100);
    memcpy(turn, prompt, sizeof prompt);
    static Heard answer, second;
    j = bench_job(prompt, 64, 17, &answer);
    run_one(&b, &j);
    memcpy(turn + 64, answer.tok, 17 * sizeof(int32_t));
    j = bench_job(turn, 90, 3, &second);
    run_one(&b, &j);
    assert_int_equal(second.n_cached, 80);
    bench_close(&b);
}

static void test_equal_prompts_pay_once(void **state)
{
    (void)state;
    EngineOptions o = bench_options();
    o.chunk_tokens = 64; /* the prompt takes several passes, during which all the others wait */
    o.max_batch_tokens = 80;
    Bench b = bench_open(o, 256, sim_config_default());
    int32_t prompt[200];
    bench_prompt(prompt, 200, 9);
    static Heard h[12];
    for (int i = 0; i < 12; i++) {
        Job j = bench_job(prompt, 200, 6, &h[i]);
        j.sampling.temperature = 1;
        j.sampling.seed = (uint64_t)i;
        bench_submit(&b, &j);
    }
    bench_run(&b);
    EngineStats s;
    engine_stats(b.engine, &s);
    assert_int_equal(s.prefill_tokens, 200 + 11 * (200 - 192));
    assert_int_equal(h[0].n_cached, 0);
    for (int i = 1; i < 12; i++) {
        assert_int_equal(h[i].n_cached, 192);
        assert_int_equal(h[i].n_tok, 6);
        assert_memory_not_equal(h[i].tok, h[0].tok, 6 * sizeof(int32_t)); /* another seed, another text */
    }
    bench_close(&b);
}

static void test_part_of_a_prompt_is_shared(void **state)
{
    (void)state;
    EngineOptions o = bench_options();
    o.chunk_tokens = 32;
    Bench b = bench_open(o, 256, sim_config_default());
    int32_t a[160], c[160];
    bench_prompt(a, 160, 1);
    bench_prompt(c, 160, 1);
    c[70] = 500; /* four pages alike */
    static Heard ha, hc;
    Job j = bench_job(a, 160, 3, &ha);
    bench_submit(&b, &j);
    j = bench_job(c, 160, 3, &hc);
    bench_submit(&b, &j);
    assert_true(engine_step(b.engine) && engine_step(b.engine));
    assert_int_equal(hc.n_started, 0); /* 64 tokens are in the tree only now */
    assert_true(engine_step(b.engine));
    assert_int_equal(hc.n_started, 1);
    bench_run(&b);
    assert_int_equal(hc.n_cached, 64);
    bench_close(&b);
}

static void test_leader_leaves(void **state)
{
    (void)state;
    EngineOptions o = bench_options();
    o.chunk_tokens = 32;
    Bench b = bench_open(o, 256, sim_config_default());
    int32_t prompt[160];
    bench_prompt(prompt, 160, 1);
    static Heard h[3];
    uint64_t id[3];
    for (int i = 0; i < 3; i++) {
        Job j = bench_job(prompt, 160, 3, &h[i]);
        id[i] = bench_submit(&b, &j);
    }
    assert_true(engine_step(b.engine));
    engine_cancel(b.engine, id[0]);
    engine_cancel(b.engine, id[2]); /* one that waits */
    bench_run(&b);
    assert_int_equal(h[0].reason, END_CANCELLED);
    assert_int_equal(h[2].reason, END_CANCELLED);
    assert_int_equal(h[2].n_started, 0);
    assert_int_equal(h[1].reason, END_LENGTH);
    assert_int_equal(h[1].n_cached, 32); /* what the leader had done is not lost */
    bench_close(&b);
}

static void test_without_radix(void **state)
{
    (void)state;
    EngineOptions o = bench_options();
    o.use_radix = false;
    Bench b = bench_open(o, 64, sim_config_default());
    int32_t prompt[64];
    bench_prompt(prompt, 64, 5);
    static Heard h[2];
    for (int i = 0; i < 2; i++) {
        Job j = bench_job(prompt, 64, 5, &h[i]);
        bench_submit(&b, &j);
    }
    bench_run(&b);
    assert_int_equal(h[1].n_cached, 0);
    assert_memory_equal(h[0].tok, h[1].tok, 5 * sizeof(int32_t));
    EngineStats s;
    engine_stats(b.engine, &s);
    assert_int_equal(s.n_pages_free, 64);
    bench_close(&b);
}

/* ---- sampling's bookkeeping ---- */

static void test_stop_ids_and_min_new(void **state)
{
    (void)state;
    Bench b = bench_open(bench_options(), 64, sim_config_default());
    int32_t prompt[20], stop;
    bench_prompt(prompt, 20, 12);
    static Heard plain, stopped, late;
    Job j = bench_job(prompt, 20, 12, &plain);
    run_one(&b, &j);
    stop = plain.tok[4];
    for (int i = 0; i < 4; i++) assert_int_not_equal(plain.tok[i], stop);
    j = bench_job(prompt, 20, 12, &stopped);
    j.sampling.stop_ids = &stop;
    j.sampling.n_stop_ids = 1;
    run_one(&b, &j);
    assert_int_equal(stopped.reason, END_STOP);
    assert_int_equal(stopped.matched, stop);
    assert_int_equal(stopped.n_tok, 4);
    assert_int_equal(stopped.n_out, 5);
    j = bench_job(prompt, 20, 12, &late);
    j.sampling.stop_ids = &stop;
    j.sampling.n_stop_ids = 1;
    j.sampling.min_new = 8;
    run_one(&b, &j);
    assert_true(late.n_tok >= 8);
    for (int i = 0; i < 8; i++) assert_int_not_equal(late.tok[i], stop);
    bench_close(&b);
}

static void test_prompt_logprobs(void **state)
{
    (void)state;
    EngineOptions o = bench_options();
    o.max_running = 5; /* and so at most five logit rows a pass */
    Bench b = bench_open(o, 64, sim_config_default());
    int32_t prompt[64];
    bench_prompt(prompt, 64, 5);
    static Heard warm, all, some, none, decoding;
    Job j = bench_job(prompt, 64, 2, &warm);
    run_one(&b, &j);
    Job other = bench_job(prompt, 30, 40, &decoding);
    bench_submit(&b, &other);
    j = bench_job(prompt, 64, 2, &all);
    j.sampling.prompt_logprobs_from = 0;
    run_one(&b, &j);
    assert_int_equal(all.first_scored, 1);
    assert_int_equal(all.last_scored, 63);
    assert_int_equal(all.n_scored, 63);
    assert_int_equal(all.n_cached, 0);
    assert_memory_equal(all.tok, warm.tok, 2 * sizeof(int32_t));
    j = bench_job(prompt, 64, 0, &some);
    j.sampling.prompt_logprobs_from = 40;
    run_one(&b, &j);
    assert_int_equal(some.n_scored, 24);
    assert_int_equal(some.n_cached, 32);
    assert_int_equal(some.n_tok, 0);
    assert_int_equal(some.reason, END_LENGTH);
    assert_true(some.prompt_logprob_sum > all.prompt_logprob_sum); /* fewer terms, all of them negative */
    j = bench_job(prompt, 64, 0, &none);
    run_one(&b, &j);
    assert_int_equal(none.n_scored + none.n_tok, 0);
    assert_int_equal(none.n_end, 1);
    assert_int_equal(decoding.n_tok, 40);
    bench_close(&b);
}

static void test_penalties_change_and_repeat(void **state)
{
    (void)state;
    Bench b = bench_open(bench_options(), 64, sim_config_default());
    int32_t prompt[20];
    bench_prompt(prompt, 20, 11);
    static Heard plain, once, twice;
    Job j = bench_job(prompt, 20, 30, &plain);
    run_one(&b, &j);
    j = bench_job(prompt, 20, 30, &once);
    j.sampling.presence = 0.5f;
    run_one(&b, &j);
    j.ctx = &twice;
    run_one(&b, &j);
    assert_memory_not_equal(plain.tok, once.tok, 30 * sizeof(int32_t));
    assert_memory_equal(twice.tok, once.tok, 30 * sizeof(int32_t));
    bench_close(&b);
}

/* ---- ending from outside ---- */

static void test_cancel_stop_deadline(void **state)
{
    (void)state;
    EngineOptions o = bench_options();
    o.max_running = 3;
    Bench b = bench_open(o, 64, sim_config_default());
    int32_t prompt[4][20];
    static Heard h[4];
    uint64_t id[4];
    for (int i = 0; i < 4; i++) {
        bench_prompt(prompt[i], 20, i * 50);
        Job j = bench_job(prompt[i], 20, 100, &h[i]);
        j.deadline_ns = i == 2 ? 400000 : 0;
        id[i] = bench_submit(&b, &j);
    }
    for (int i = 0; i < 3; i++) assert_true(engine_step(b.engine));
    engine_stop(b.engine, id[0]);
    engine_cancel(b.engine, id[3]); /* not admitted yet */
    engine_cancel(b.engine, 123456);
    sim_advance(b.device, 1000000);
    bench_run(&b);
    engine_cancel(b.engine, id[0]); /* long gone */
    bench_run(&b);
    assert_int_equal(h[0].reason, END_STOP);
    assert_int_equal(h[0].matched, -1);
    assert_int_equal(h[0].n_out, 3);
    assert_int_equal(h[1].n_out, 100);
    assert_int_equal(h[2].reason, END_TIMEOUT);
    assert_int_equal(h[3].reason, END_CANCELLED);
    assert_int_equal(h[3].n_started, 0);
    bench_close(&b);
}

static void test_close_cancels(void **state)
{
    (void)state;
    Bench b = bench_open(bench_options(), 64, sim_config_default());
    int32_t prompt[20];
    bench_prompt(prompt, 20, 11);
    static Heard runs, waits;
    Job j = bench_job(prompt, 20, 100, &runs);
    bench_submit(&b, &j);
    assert_true(engine_step(b.engine));
    j = bench_job(prompt, 20, 100, &waits);
    bench_submit(&b, &j);
    bench_close(&b);
    assert_int_equal(runs.reason, END_CANCELLED);
    assert_int_equal(waits.reason, END_CANCELLED);
}

static void test_fault_ends_all(void **state)
{
    (void)state;
    SimConfig sim = sim_config_default();
    sim.fault_rate = 0.2f;
    Bench b = bench_open(bench_options(), 64, sim);
    int32_t prompt[20];
    bench_prompt(prompt, 20, 11);
    static Heard h[5];
    for (int i = 0; i < 5; i++) {
        Job j = bench_job(prompt, 20, 200, &h[i]);
        bench_submit(&b, &j);
    }
    bench_run(&b);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(h[i].n_end, 1);
        assert_int_equal(h[i].reason, END_FAILED);
        assert_true(h[i].said_why);
    }
    Err err = { 0 };
    Job j = bench_job(prompt, 20, 200, &h[0]);
    assert_int_equal(engine_submit(b.engine, &j, NULL, &err), E_DEVICE);
    assert_true(strlen(err.text) > 0);
    bench_close(&b);
}

/* ---- refusals ---- */

static void refuse(const Bench *b, Job j, const char *says)
{
    Err err = { 0 };
    assert_int_equal(engine_submit(b->engine, &j, NULL, &err), E_INVALID);
    assert_non_null(strstr(err.text, says));
}

static void test_refusals(void **state)
{
    (void)state;
    Bench b = bench_open(bench_options(), 16, sim_config_default());
    static int32_t prompt[300];
    static Heard h;
    LogitBias bias = { VOCAB, 1 };
    Job good = bench_job(prompt, 20, 5, &h), j;
    refuse(&b, (j = good, j.n_prompt = 0, j), "empty");
    refuse(&b, (j = good, j.n_prompt = 300, j), "context");
    refuse(&b, (j = good, j.sampling.max_new = 237, j), "at most 236");
    refuse(&b, (j = good, j.sampling.max_new = -1, j), "max_tokens");
    refuse(&b, (j = good, j.sampling.min_new = 6, j), "min_tokens");
    refuse(&b, (j = good, j.sampling.temperature = -1, j), "temperature");
    refuse(&b, (j = good, j.sampling.temperature = 0.0f / 0.0f, j), "temperature");
    refuse(&b, (j = good, j.sampling.top_p = 0, j), "top_p");
    refuse(&b, (j = good, j.sampling.min_p = 2, j), "min_p");
    refuse(&b, (j = good, j.sampling.top_k = -1, j), "top_k");
    refuse(&b, (j = good, j.sampling.repetition = 0, j), "repetition");
    refuse(&b, (j = good, j.sampling.n_top_logprobs = 21, j), "top logprobs");
    refuse(&b, (j = good, j.sampling.bias = &bias, j.sampling.n_bias = 1, j), "logit_bias");
    refuse(&b, (j = good, j.sampling.prompt_logprobs_from = 21, j), "position 21");
    prompt[7] = VOCAB;
    refuse(&b, good, "token 7");
    prompt[7] = -1;
    refuse(&b, good, "token 7");
    bench_close(&b);
}

static void test_queue_full(void **state)
{
    (void)state;
    EngineOptions o = bench_options();
    o.max_running = 2;
    o.max_queued = 3;
    Bench b = bench_open(o, 64, sim_config_default());
    int32_t prompt[20];
    bench_prompt(prompt, 20, 11);
    static Heard h[6];
    Err err = { 0 };
    for (int i = 0; i < 5; i++) {
        Job j = bench_job(prompt, 20, 4, &h[i]);
        bench_submit(&b, &j);
    }
    Job j = bench_job(prompt, 20, 4, &h[5]);
    assert_int_equal(engine_submit(b.engine, &j, NULL, &err), E_BUSY);
    bench_run(&b);
    run_one(&b, &j); /* room again */
    for (int i = 0; i < 6; i++) assert_int_equal(h[i].reason, END_LENGTH);
    bench_close(&b);
}

/* ---- memory ---- */

static void test_preemption_loses_nothing(void **state)
{
    (void)state;
    EngineOptions o = bench_options();
    int32_t prompt[8][24], stop = 7;
    static Heard alone[8], together[8];
    Bench roomy = bench_open(o, 256, sim_config_default()), tight = bench_open(o, 12, sim_config_default());
    for (int i = 0; i < 8; i++) {
        bench_prompt(prompt[i], 24, i * 31);
        Job j = bench_job(prompt[i], 24, 90, &alone[i]);
        j.sampling.stop_ids = &stop; /* so that the length is a guess, and a wrong one */
        j.sampling.n_stop_ids = 1;
        run_one(&roomy, &j);
        j.ctx = &together[i];
        together[i] = (Heard){ 0 };
        bench_submit(&tight, &j);
    }
    bench_run(&tight);
    int preempted = 0;
    for (int i = 0; i < 8; i++) {
        assert_int_equal(together[i].n_end, 1);
        assert_int_equal(together[i].n_tok, alone[i].n_tok);
        assert_memory_equal(together[i].tok, alone[i].tok, (size_t)alone[i].n_tok * sizeof(int32_t));
        preempted += together[i].n_preempted;
    }
    assert_true(preempted > 0);
    assert_int_equal(together[0].n_preempted, 0); /* the oldest is never the victim */
    bench_close(&roomy);
    bench_close(&tight);
}

static void test_known_lengths_are_not_preempted(void **state)
{
    (void)state;
    Bench b = bench_open(bench_options(), 40, sim_config_default());
    int32_t prompt[16][24];
    static Heard h[16];
    for (int i = 0; i < 16; i++) {
        bench_prompt(prompt[i], 24, i * 31);
        Job j = bench_job(prompt[i], 24, 60 + i * 10, &h[i]);
        bench_submit(&b, &j); /* no stop ids: what it will need is known */
    }
    bench_run(&b);
    EngineStats s;
    engine_stats(b.engine, &s);
    assert_int_equal(s.preemptions, 0);
    assert_int_equal(s.jobs_done, 16);
    bench_close(&b);
}

static void test_priority(void **state)
{
    (void)state;
    EngineOptions o = bench_options();
    o.max_running = 2;
    Bench b = bench_open(o, 64, sim_config_default());
    int32_t prompt[4][20];
    static Heard h[4];
    for (int i = 0; i < 4; i++) {
        bench_prompt(prompt[i], 20, i * 50);
        Job j = bench_job(prompt[i], 20, 30, &h[i]);
        j.priority = i == 3 ? 5 : 0;
        bench_submit(&b, &j);
        if (i == 1) assert_true(engine_step(b.engine));
    }
    assert_true(engine_step(b.engine));
    assert_int_equal(h[3].n_started, 1); /* at once, in the place of the youngest */
    assert_int_equal(h[2].n_started, 0);
    bench_run(&b);
    assert_int_equal(h[1].n_preempted, 1);
    assert_int_equal(h[0].n_preempted, 0);
    for (int i = 0; i < 4; i++) assert_int_equal(h[i].n_tok, 30);
    bench_close(&b);
}

/* ---- policies ---- */

static void test_lpm_takes_the_cached_first(void **state)
{
    (void)state;
    EngineOptions o = bench_options();
    o.policy = POLICY_LPM;
    o.max_running = 1;
    Bench b = bench_open(o, 64, sim_config_default());
    int32_t warm[64], cold[64];
    bench_prompt(warm, 64, 5);
    bench_prompt(cold, 64, 300);
    static Heard h[40], first;
    Job j = bench_job(warm, 64, 1, &first);
    run_one(&b, &j);
    j = bench_job(cold, 64, 1, &h[0]);
    bench_submit(&b, &j);
    for (int i = 1; i < 40; i++) {
        j = bench_job(warm, 64, 1, &h[i]);
        bench_submit(&b, &j);
    }
    int before = 0;
    while (engine_step(b.engine) && h[0].n_started == 0) before++;
    assert_int_equal(before, 16); /* overtaken so often, and not once more */
    bench_run(&b);
    bench_close(&b);
}

static void test_few_rows_many_sequences(void **state)
{
    (void)state;
    EngineOptions o = bench_options();
    o.max_batch_tokens = 3;
    o.chunk_tokens = 3;
    Bench b = bench_open(o, 256, sim_config_default());
    int32_t prompt[10][20];
    static Heard h[10];
    for (int i = 0; i < 10; i++) {
        bench_prompt(prompt[i], 20, i * 50);
        Job j = bench_job(prompt[i], 20, 20, &h[i]);
        bench_submit(&b, &j);
    }
    int steps = bench_run(&b);
    for (int i = 0; i < 10; i++) assert_int_equal(h[i].n_tok, 20);
    assert_true(steps >= 10 * 39 / 3);
    bench_close(&b);
}

/* ---- cost ---- */

static void test_decoding_allocates_nothing(void **state)
{
    (void)state;
    EngineOptions o = bench_options();
    o.verify = false; /* verifying takes notes */
    Bench b = bench_open(o, 512, sim_config_default());
    int32_t prompt[16][50];
    static Heard h[16];
    for (int i = 0; i < 16; i++) {
        bench_prompt(prompt[i], 50, i * 31);
        Job j = bench_job(prompt[i], 50, 200, &h[i]);
        j.sampling.presence = i % 2 ? 0.5f : 0;
        j.sampling.n_top_logprobs = 5;
        bench_submit(&b, &j);
    }
    uint64_t before = mem_allocations();
    bench_run(&b); /* from the first chunk to the last token */
    assert_int_equal(mem_allocations(), before);
    for (int i = 0; i < 16; i++) assert_int_equal(h[i].n_tok, 200);
    bench_close(&b);
}

static void ignore(void *ctx, const Event *e)
{
    (void)ctx, (void)e;
}

static void test_overhead(void **state)
{
    (void)state;
    enum { N = 1024, LEN = 200, NEW = 300 };
    EngineOptions o = bench_options();
    o.max_running = N;
    o.max_batch_tokens = 16384;
    o.chunk_tokens = 8192;
    o.policy = POLICY_LPM;
    o.verify = false;
    Bench b = bench_open(o, N * 40, sim_config_default());
    int32_t prompt[LEN];
    int32_t stop = 1;
    for (int i = 0; i < N; i++) {
        bench_prompt(prompt, LEN, i);
        prompt[0] = i % VOCAB, prompt[1] = i / VOCAB;
        static Heard unused;
        Job j = bench_job(prompt, LEN, NEW, &unused);
        j.on_event = ignore;
        j.sampling.stop_ids = &stop;
        j.sampling.n_stop_ids = 1;
        j.sampling.min_new = NEW;
        bench_submit(&b, &j);
    }
    EngineStats s, before;
    do {
        assert_true(engine_step(b.engine));
        engine_stats(b.engine, &s);
    } while (s.n_running < N);
    engine_step(b.engine);
    engine_stats(b.engine, &before);
    int64_t wall = clock_ns();
    enum { STEPS = 200 };
    for (int i = 0; i < STEPS; i++) engine_step(b.engine);
    wall = clock_ns() - wall;
    engine_stats(b.engine, &s);
    assert_int_equal(s.decode_tokens - before.decode_tokens, N * STEPS);
    double engine = (double)(s.sched_ns - before.sched_ns) / (N * STEPS), all = (double)wall / (N * STEPS);
    print_message("%d running: engine %.0f ns, with the simulated device %.0f ns per sequence and step\n", N, engine,
                  all);
    assert_true(SLOW || engine < 1000);
    bench_close(&b);
}

static void test_ahead(void **state)
{
    (void)state;
    EngineOptions o = bench_options();
    Bench plain = bench_open(o, 64, sim_config_default());
    o.ahead = true;
    Bench ahead = bench_open(o, 64, sim_config_default());
    int32_t prompt[40], stop;
    bench_prompt(prompt, 40, 3);
    static Heard a, b, stopped, penalised;
    Job j = bench_job(prompt, 40, 10, &a);
    run_one(&plain, &j);
    j.ctx = &b;
    bench_submit(&ahead, &j);
    assert_true(engine_step(ahead.engine));
    assert_int_equal(b.n_tok, 0); /* its first pass is in flight */
    assert_int_equal(bench_run(&ahead), 10);
    assert_int_equal(b.n_tok, 10);
    assert_memory_equal(a.tok, b.tok, 10 * sizeof(int32_t));
    EngineStats s;
    engine_stats(ahead.engine, &s);
    assert_int_equal(s.steps, 10); /* the length was known: no pass in vain */
    stop = a.tok[5];
    for (int i = 0; i < 5; i++) assert_int_not_equal(a.tok[i], stop);
    j = bench_job(prompt, 40, 10, &stopped);
    j.sampling.stop_ids = &stop;
    j.sampling.n_stop_ids = 1;
    run_one(&ahead, &j);
    assert_int_equal(stopped.n_tok, 5);
    engine_stats(ahead.engine, &s);
    assert_int_equal(s.steps, 10 + 7); /* the one after the stop was on its way already */
    j = bench_job(prompt, 40, 10, &penalised);
    j.sampling.presence = 0.5f;
    static Heard same;
    run_one(&ahead, &j);
    j.ctx = &same;
    run_one(&plain, &j);
    assert_memory_equal(penalised.tok, same.tok, 10 * sizeof(int32_t));
    bench_close(&plain);
    bench_close(&ahead);
}

/* ---- threads ---- */

typedef struct {
    atomic_int *ended;
    int n_tok, n_end;
} Quick;

static void count_events(void *ctx, const Event *e)
{
    Quick *q = ctx;
    q->n_tok += e->kind == EV_TOKEN;
    q->n_end += e->kind == EV_END;
    if (e->kind == EV_END) atomic_fetch_add(q->ended, 1);
}

enum { CLIENTS = 4, EACH = 60 };

typedef struct {
    const Bench *bench;
    Quick quick[EACH];
    int seed;
} Client;

static void *client(void *arg)
{
    Client *c = arg;
    Rng rng = { (uint64_t)c->seed };
    for (int i = 0; i < EACH; i++) {
        int32_t prompt[40];
        bench_prompt(prompt, 40, (int32_t)rng_below(&rng, 4) * 50);
        Heard unused;
        Job j = bench_job(prompt, 40, 1 + (int)rng_below(&rng, 40), &unused);
        j.on_event = count_events;
        j.ctx = &c->quick[i];
        uint64_t id = bench_submit(c->bench, &j);
        EngineStats s;
        engine_stats(c->bench->engine, &s);
        if (rng_below(&rng, 3) == 0) engine_cancel(c->bench->engine, id);
        if (rng_below(&rng, 10) == 0) engine_flush_cache(c->bench->engine, 1, NULL);
    }
    return NULL;
}

static void run_clients(bool ahead)
{
    EngineOptions o = bench_options();
    o.ahead = ahead;
    Bench b = bench_open(o, 128, sim_config_default());
    Err err;
    assert_int_equal(engine_start(b.engine, &err), OK);
    static Client clients[CLIENTS];
    pthread_t thread[CLIENTS];
    atomic_int ended = 0;
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (Client){ .bench = &b, .seed = i };
        for (int k = 0; k < EACH; k++) clients[i].quick[k].ended = &ended;
        assert_int_equal(pthread_create(&thread[i], NULL, client, &clients[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++) pthread_join(thread[i], NULL);
    while (atomic_load(&ended) < CLIENTS * EACH) usleep(1000);
    assert_int_equal(engine_flush_cache(b.engine, 5000, &err), OK);
    EngineStats s;
    engine_stats(b.engine, &s);
    assert_int_equal(s.jobs_done + s.jobs_cancelled, CLIENTS * EACH);
    bench_close(&b);
    for (int i = 0; i < CLIENTS; i++)
        for (int k = 0; k < EACH; k++) assert_int_equal(clients[i].quick[k].n_end, 1);
}

static void test_threads(void **state)
{
    (void)state;
    run_clients(false);
}

static void test_threads_ahead(void **state)
{
    (void)state;
    run_clients(true);
}

static void test_flush(void **state)
{
    (void)state;
    Bench b = bench_open(bench_options(), 64, sim_config_default());
    int32_t prompt[64];
    bench_prompt(prompt, 64, 5);
    static Heard first, again;
    Job j = bench_job(prompt, 64, 5, &first);
    bench_submit(&b, &j);
    assert_true(engine_step(b.engine));
    Err err = { 0 };
    assert_int_equal(engine_flush_cache(b.engine, 10, &err), E_BUSY);
    bench_run(&b);
    assert_int_equal(engine_flush_cache(b.engine, 10, &err), OK);
    j = bench_job(prompt, 64, 5, &again);
    run_one(&b, &j);
    assert_int_equal(again.n_cached, 0);
    bench_close(&b);
}

/* ---- the device's own checks ---- */

/* The sim backend is only worth something if it notices: two sequences are given one page. */
static void test_sim_notices_a_shared_page(void **state)
{
    (void)state;
    Bench b = bench_open(bench_options(), 8, sim_config_default());
    int32_t token[2] = { 5, 6 }, pos[2] = { 0, 0 }, start[3] = { 0, 1, 2 }, len[2] = { 1, 1 }, pages[2] = { 3, 4 };
    int32_t logit_row[2] = { 0, 1 };
    uint64_t id[2] = { 1, 2 };
    DeviceBatch d = { .n_tok = 2,
                      .n_seq = 2,
                      .max_pages = 1,
                      .token = token,
                      .pos = pos,
                      .seq_start = start,
                      .seq_len = len,
                      .pages = pages,
                      .seq_id = id,
                      .n_logit = 2,
                      .logit_row = logit_row };
    SampleRow rows[2] = { { .n_vocab = VOCAB, .target = -1, .repetition = 1 },
                          { .n_vocab = VOCAB, .target = -1, .repetition = 1 } };
    SampleOut out[2];
    Err err = { 0 };
    model_forward(b.model, &d);
    model_sample(b.model, rows, 2);
    assert_int_equal(model_sample_wait(b.model, out, 2, &err), OK);
    pages[1] = 3;
    model_forward(b.model, &d);
    model_sample(b.model, rows, 2);
    assert_int_equal(model_sample_wait(b.model, out, 2, &err), E_DEVICE);
    assert_non_null(strstr(err.text, "sequence"));
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_job),
        cmocka_unit_test(test_second_time_is_cached),
        cmocka_unit_test(test_equal_prompts_pay_once),
        cmocka_unit_test(test_part_of_a_prompt_is_shared),
        cmocka_unit_test(test_leader_leaves),
        cmocka_unit_test(test_without_radix),
        cmocka_unit_test(test_stop_ids_and_min_new),
        cmocka_unit_test(test_prompt_logprobs),
        cmocka_unit_test(test_penalties_change_and_repeat),
        cmocka_unit_test(test_cancel_stop_deadline),
        cmocka_unit_test(test_close_cancels),
        cmocka_unit_test(test_fault_ends_all),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_queue_full),
        cmocka_unit_test(test_preemption_loses_nothing),
        cmocka_unit_test(test_known_lengths_are_not_preempted),
        cmocka_unit_test(test_priority),
        cmocka_unit_test(test_lpm_takes_the_cached_first),
        cmocka_unit_test(test_few_rows_many_sequences),
        cmocka_unit_test(test_decoding_allocates_nothing),
        cmocka_unit_test(test_overhead),
        cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_threads_ahead),
        cmocka_unit_test(test_flush),
        cmocka_unit_test(test_sim_notices_a_shared_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
