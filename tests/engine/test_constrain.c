/* test_constrain.c - outputs that a grammar bounds: how they end, what is forced, who wins where rules meet, and what a limit costs.
 * Random schedules of such jobs among others are test_sim.c's. */
#include "engine/language.h"

static Language language;

static const char *const form = "\\{\"name\":\"[a-e]{1,6}\",\"on\":(true|false),\"off\":\\[1,2,12\\]\\}";

static Job job_of(Grammar *g, int max_new, Heard *h)
{
    static const int32_t prompt[] = { 5, 6, 7, 8 };
    static const int32_t end = LANGUAGE_END;
    Job j = bench_job(prompt, 4, max_new, h);
    j.sampling.stop_ids = &end;
    j.sampling.n_stop_ids = 1;
    j.grammar = g;
    j.encode = language_encode;
    j.encode_arg = &language;
    return j;
}

static EngineOptions options(bool ahead, bool no_jump)
{
    EngineOptions o = bench_options();
    o.ahead = ahead;
    o.no_jump = no_jump;
    return o;
}

/* Runs one job alone. */
static EngineStats run_one(const Job *j, EngineOptions o)
{
    EngineStats s;
    Bench b = bench_open(o, 64, sim_config_default());
    bench_submit(&b, j);
    bench_run(&b);
    engine_stats(b.engine, &s);
    bench_close(&b);
    return s;
}

static void expect_text(const Heard *h, const char *want)
{
    Buf b = { 0 };
    language_text(&language, h->tok, h->n_tok, &b);
    buf_char(&b, 0);
    assert_string_equal(b.p, want);
    buf_free(&b);
}

static void test_inside_and_whole(void **state)
{
    (void)state;
    Grammar *g = language_grammar(&language, GRAMMAR_REGEX, form, NULL);
    for (int seed = 0; seed < 200; seed++) {
        Heard h;
        Job j = job_of(g, 100, &h);
        j.sampling.temperature = 1;
        j.sampling.seed = (uint64_t)seed;
        EngineStats s = run_one(&j, options(seed & 1, seed & 2));
        assert_int_equal(h.reason, END_STOP);
        assert_int_equal(h.matched, -1); /* after the last brace nothing may follow: no end token is drawn for that */
        assert_true(language_has(g, h.tok, h.n_tok, true));
        assert_int_equal(h.n_out, h.n_tok);
        assert_true((s.jumped_tokens > 0) == !(seed & 2));
        /* one is drawn from the prompt's last row; one that runs ahead has a row in a pass after the end */
        assert_in_range(s.decode_tokens + 1, h.n_tok, h.n_tok + (seed & 1));
    }
    grammar_drop(g);
}

/* The end token is one of several choices here: drawing it ends the job, also where its owner does not list it. */
static void test_an_end_token_ends(void **state)
{
    (void)state;
    Grammar *g = language_grammar(&language, GRAMMAR_REGEX, "x{0,40}", NULL);
    int n_drawn = 0;
    for (int seed = 0; seed < 60; seed++) {
        Heard h;
        Job j = job_of(g, 100, &h);
        j.sampling.temperature = 1;
        j.sampling.seed = (uint64_t)seed;
        j.sampling.n_stop_ids = seed % 2; /* none: ignore_eos */
        run_one(&j, options(seed & 4, false));
        assert_int_equal(h.reason, END_STOP);
        assert_true(h.matched == LANGUAGE_END || h.n_tok > 0);
        assert_int_equal(h.n_out, h.n_tok + (h.matched == LANGUAGE_END));
        n_drawn += h.matched == LANGUAGE_END;
    }
    assert_in_range(n_drawn, 10, 60);
    grammar_drop(g);
}

static void test_what_is_forced_is_not_drawn(void **state)
{
    (void)state;
    Grammar *g = language_grammar(&language, GRAMMAR_REGEX, "\\{\"name\":\"(abc|xyz)\",\"on\":true\\}", NULL);
    for (int way = 0; way < 8; way++) {
        Heard h, drawn;
        Job j = job_of(g, 100, &h), slow = job_of(g, 100, &drawn);
        EngineOptions o = options(way & 1, false);
        if (way & 2) o.prefill_first = true;
        if (way & 4 && !o.ahead) o.draft_tokens = 4, o.draft_always = true;
        EngineStats s = run_one(&j, o), t = run_one(&slow, options(way & 1, true));
        assert_true(language_has(g, h.tok, h.n_tok, true));
        assert_in_range(s.jumped_tokens, 4, h.n_tok - 1); /* abc or xyz is a choice */
        assert_true(s.steps < t.steps / 2);
        assert_true(t.jumped_tokens == 0 && t.steps + 1 >= (uint64_t)drawn.n_tok);
        Ids want = { 0 };
        Buf b = { 0 };
        language_text(&language, h.tok, h.n_tok, &b);
        language_encode(&language, buf_view(&b), &want); /* as the tokenizer writes the whole */
        int same = 0;
        while (same < h.n_tok && (size_t)same < want.n && h.tok[same] == want.p[same]) same++;
        assert_true(same >= 3); /* up to the choice at least */
        ids_free(&want);
        buf_free(&b);
    }
    grammar_drop(g);
}

static void test_all_forced(void **state)
{
    (void)state;
    Grammar *g = language_grammar(&language, GRAMMAR_CHOICE, "[\"{\\\"name\\\":true}\"]", NULL);
    for (int ahead = 0; ahead < 2; ahead++) {
        Heard h;
        Job j = job_of(g, 100, &h);
        EngineStats s = run_one(&j, options(ahead, false));
        expect_text(&h, "{\"name\":true}");
        assert_int_equal(h.reason, END_STOP);
        assert_in_range(s.steps, 1, 2);
        for (int most = 1; most <= h.n_tok; most++) { /* cut anywhere */
            Heard cut;
            j = job_of(g, most, &cut);
            run_one(&j, options(ahead, false));
            assert_int_equal(cut.n_tok, most);
            assert_int_equal(cut.reason, most < h.n_tok ? END_LENGTH : END_STOP);
        }
    }
    grammar_drop(g);
}

static void test_nothing_may_be_said(void **state)
{
    (void)state;
    Grammar *g = language_grammar(&language, GRAMMAR_CHOICE, "[\"\"]", NULL);
    Heard h;
    Job j = job_of(g, 10, &h);
    run_one(&j, options(false, false));
    assert_int_equal(h.reason, END_STOP);
    assert_int_equal(h.n_tok, 0);
    grammar_drop(g);
}

/* Bans of stop ids before min_new hold where there is something else to draw; where there is not the grammar wins. */
static void test_min_new(void **state)
{
    (void)state;
    Grammar *g = language_grammar(&language, GRAMMAR_REGEX, "[a-z]{3,30}", NULL);
    for (int seed = 0; seed < 60; seed++) {
        Heard h;
        Job j = job_of(g, 60, &h);
        j.sampling.temperature = 1;
        j.sampling.seed = (uint64_t)seed;
        j.sampling.min_new = 5;
        run_one(&j, options(seed & 1, false));
        assert_int_equal(h.reason, END_STOP);
        assert_true(language_has(g, h.tok, h.n_tok, true));
        Buf b = { 0 };
        language_text(&language, h.tok, h.n_tok, &b);
        assert_true(h.n_tok >= 5 || b.n == 30);
        buf_free(&b);
    }
    grammar_drop(g);
    g = language_grammar(&language, GRAMMAR_REGEX, "on|off", NULL);
    Heard h;
    Job j = job_of(g, 60, &h);
    j.sampling.min_new = 20;
    run_one(&j, options(false, false));
    assert_true(h.reason == END_STOP && language_has(g, h.tok, h.n_tok, true));
    static const int32_t comma = ','; /* a stop id of the owner's: banned, though it is all there is */
    Grammar *commas = language_grammar(&language, GRAMMAR_REGEX, ",{9}", NULL);
    j = job_of(commas, 60, &h);
    j.sampling.stop_ids = &comma;
    j.sampling.min_new = 4;
    run_one(&j, options(false, false));
    assert_true(h.reason == END_STOP && h.matched == ',' && h.n_out == 1);
    grammar_drop(commas);
    grammar_drop(g);
}

/* Penalties, bias, bans and logprobs beside a grammar: the mask rules. */
static void test_with_everything(void **state)
{
    (void)state;
    Grammar *g =
        language_grammar(&language, GRAMMAR_JSON_SCHEMA,
                         "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":4},\"on\":"
                         "{\"type\":\"boolean\"}},\"required\":[\"name\",\"on\"],\"additionalProperties\":false}",
                         NULL);
    LogitBias bias[] = { { 'q', 100 }, { '{', -100 } };
    for (int seed = 0; seed < 80; seed++) {
        Heard h;
        Job j = job_of(g, 200, &h);
        j.sampling.temperature = 1;
        j.sampling.seed = (uint64_t)seed;
        if (seed & 2) j.sampling.presence = 1, j.sampling.repetition = 1.5f;
        if (seed & 4) j.sampling.bias = bias, j.sampling.n_bias = 2;
        if (seed & 8) j.sampling.n_top_logprobs = 5;
        EngineStats s = run_one(&j, options(seed & 1, false));
        assert_true(h.reason == END_STOP && language_has(g, h.tok, h.n_tok, true));
        if (seed & 8) assert_int_equal(s.jumped_tokens, 0); /* each logprob is of a draw */
    }
    grammar_drop(g);
}

/* A limit at run time ends the job, and nothing after it is told; others go on. */
static void test_limits(void **state)
{
    (void)state;
    GrammarLimits limits = grammar_default_limits;
    limits.states = 14;
    int n_failed = 0;
    for (int ahead = 0; ahead < 2; ahead++) {
        Grammar *g = language_grammar(&language, GRAMMAR_REGEX, "(a|b)*a(a|b){9}x", &limits);
        Heard h, free_h;
        Job j = job_of(g, 400, &h), other = job_of(NULL, 50, &free_h);
        other.sampling.n_stop_ids = 0;
        j.sampling.temperature = 1;
        Bench b = bench_open(options(ahead, false), 64, sim_config_default());
        bench_submit(&b, &j);
        bench_submit(&b, &other);
        bench_run(&b);
        assert_int_equal(free_h.reason, END_LENGTH);
        assert_true(language_has(g, h.tok, 0, false));
        n_failed += h.reason == END_FAILED && h.said_why;
        EngineStats s;
        engine_stats(b.engine, &s);
        assert_int_equal(s.jobs_failed, h.reason == END_FAILED);
        bench_submit(&b, &other); /* the engine is well */
        memset(&free_h, 0, sizeof free_h);
        bench_run(&b);
        assert_int_equal(free_h.reason, END_LENGTH);
        bench_close(&b);
        grammar_drop(g);
    }
    assert_int_equal(n_failed, 2);
}

static Str any_byte(void *arg, int32_t id)
{
    return str_cut(*(Str *)arg, (size_t)id % 100, (size_t)id % 100 + 1);
}

static bool none_special(void *arg, int32_t id)
{
    (void)arg, (void)id;
    return false;
}

static void test_refused(void **state)
{
    (void)state;
    char letters[100];
    for (int i = 0; i < 100; i++) letters[i] = (char)(i + 28);
    Str text = { letters, sizeof letters };
    GrammarVocabSpec spec = { .n_tokens = VOCAB + 33, .bytes = any_byte, .special = none_special, .arg = &text };
    Language wide = { .vocab = grammar_vocab_new(&spec) };
    Bench b = bench_open(options(false, false), 64, sim_config_default());
    Heard h;
    Err err;
    Grammar *g = language_grammar(&wide, GRAMMAR_REGEX, form, NULL);
    Job j = job_of(g, 10, &h);
    assert_int_equal(engine_submit(b.engine, &j, NULL, &err), E_INVALID); /* of a larger tokenizer */
    grammar_drop(g);
    g = language_grammar(&language, GRAMMAR_REGEX, form, NULL);
    j = job_of(g, 0, &h); /* prefill only: no output, nothing to bound */
    bench_submit(&b, &j);
    bench_run(&b);
    assert_true(h.reason == END_LENGTH && h.n_tok == 0);
    bench_close(&b);
    grammar_drop(g);
    language_close(&wide);
}

/* Named before it is submitted; cancelled in the middle of a jump's pass. */
static void test_named_and_cancelled(void **state)
{
    (void)state;
    Grammar *g = language_grammar(&language, GRAMMAR_REGEX, "(\\{\"name\":\"abc\",\"on\":(true|false)\\}){100}", NULL);
    for (int ahead = 0; ahead < 2; ahead++)
        for (int after = 0; after < 12; after++) {
            Heard h;
            Job j = job_of(g, 1500, &h);
            j.sampling.temperature = 1;
            Bench b = bench_open(options(ahead, false), 200, sim_config_default());
            uint64_t id = engine_new_id(b.engine);
            j.id = id;
            assert_int_equal(bench_submit(&b, &j), id);
            for (int i = 0; i < after; i++) engine_step(b.engine);
            engine_cancel(b.engine, id);
            bench_run(&b);
            assert_true(h.reason == END_CANCELLED && h.id == id);
            assert_true(language_has(g, h.tok, h.n_tok, false));
            bench_close(&b);
        }
    grammar_drop(g);
}

static int open_language(void **state)
{
    (void)state;
    language_open(&language);
    return 0;
}

static int close_language(void **state)
{
    (void)state;
    language_close(&language);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inside_and_whole),
        cmocka_unit_test(test_an_end_token_ends),
        cmocka_unit_test(test_what_is_forced_is_not_drawn),
        cmocka_unit_test(test_all_forced),
        cmocka_unit_test(test_nothing_may_be_said),
        cmocka_unit_test(test_min_new),
        cmocka_unit_test(test_with_everything),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_named_and_cancelled),
    };
    return cmocka_run_group_tests(tests, open_language, close_language);
}
