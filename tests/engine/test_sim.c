/* test_sim.c - thousands of small worlds, each grown from one seed: an engine with random limits, jobs that arrive, share
 * prefixes, go on as conversations, are cancelled, stopped, late or refused; sometimes the device breaks.
 *
 * In each: every job ends exactly once; what it was told is what it is told alone (or the beginning of it, if it was
 * ended from outside), whether the engine guesses ahead or not; no page is lost; everybody gets through. The engine verifies itself after each step, and the device
 * checks the content of every page it is sent to. Some jobs' outputs are bounded by a grammar: they stay inside its language, and what is
 * forced is appended as it is alone.
 * RADISH_SEED=n replays one world; RADISH_SIM_SECONDS=n makes the search longer. */
#include "base/log.h"
#include "engine/language.h"

enum { JOBS = 64, PROMPT_MAX = 260, NEW_MAX = 70, DOCS = 6, STEPS_MAX = 60000 };

static Language language;
static Grammar *grammars[4];

typedef struct {
    int32_t prompt[PROMPT_MAX + NEW_MAX];
    int n_prompt;
    Job job;
    LogitBias bias[2];
    int32_t stop[2];
    int64_t arrives_ns;
    bool submitted;
    int stop_at; /* output tokens after which the listener calls engine_stop; -1: never */
    struct World *world;
    Heard alone, heard;
} Run;

typedef struct World {
    uint64_t seed;
    Rng rng;
    int32_t doc[DOCS][PROMPT_MAX];
    EngineOptions options;
    int n_pages;
    float fault_rate, repeat;
    uint64_t drafted, accepted, jumped;
    Bench bench;
    Run *run; /* [JOBS] */
    int n_runs, n_ended;
} World;

static uint32_t below(World *w, uint32_t n)
{
    return rng_below(&w->rng, n);
}

static bool one_in(World *w, uint32_t n)
{
    return below(w, n) == 0;
}

/* ---- what happens in a world ---- */

static void choose_options(World *w)
{
    int rows = one_in(w, 4) ? 1 + (int)below(w, 6) : 1 + (int)below(w, 300);
    w->options = (EngineOptions){ .policy = (SchedPolicy)below(w, 3),
                                  .max_running = 1 + (int)below(w, 12),
                                  .max_queued = 1000,
                                  .max_batch_tokens = rows,
                                  .chunk_tokens = 1 + (int)below(w, (uint32_t)rows),
                                  .mixed_tokens = one_in(w, 3) ? 1 + (int)below(w, 40) : 0,
                                  .prefill_first = one_in(w, 3),
                                  .use_radix = !one_in(w, 5),
                                  .ahead = one_in(w, 2),
                                  .verify = true };
    w->options.no_jump = one_in(w, 4);
    if (!w->options.ahead && !one_in(w, 3)) {
        w->options.draft_tokens = 1 + (int)below(w, ENGINE_DRAFT_MAX);
        w->options.draft_always = one_in(w, 2);
        w->repeat = 0.5f + 0.1f * (float)below(w, 6); /* else no guess would ever hold */
    }
    int least = (PROMPT_MAX + 2 * NEW_MAX) / KV_PAGE_TOKENS + 1;
    w->n_pages = least + (int)below(w, one_in(w, 2) ? 10 : 200);
    w->fault_rate = one_in(w, 20) ? 0.01f : 0;
    for (int d = 0; d < DOCS; d++)
        for (int i = 0; i < PROMPT_MAX; i++)
            w->doc[d][i] = d && i < 20 * d ? w->doc[d - 1][i] : (int32_t)below(w, VOCAB);
}

static Sampling choose_sampling(World *w, Run *r)
{
    Sampling p = sampling_default();
    p.temperature = one_in(w, 2) ? 0 : 0.8f;
    p.seed = below(w, 5);
    p.top_k = (int)below(w, 3);
    if (one_in(w, 5)) p.presence = 0.5f;
    if (one_in(w, 8)) p.repetition = 1.1f;
    p.max_new = one_in(w, 10) ? 0 : 1 + (int)below(w, NEW_MAX);
    p.min_new = one_in(w, 4) ? (int)below(w, (uint32_t)p.max_new + 1) : 0;
    r->bias[0] = (LogitBias){ (int32_t)below(w, VOCAB), 3 };
    p.bias = r->bias;
    p.n_bias = one_in(w, 6);
    for (int i = 0; i < 2; i++) r->stop[i] = (int32_t)below(w, VOCAB);
    p.stop_ids = r->stop;
    p.n_stop_ids = (int)below(w, 3);
    p.n_top_logprobs = one_in(w, 3) ? (int)below(w, 4) : -1;
    p.prompt_logprobs_from = one_in(w, 6) ? (int)below(w, (uint32_t)r->n_prompt + 1) : -1;
    return p;
}

static void hear(void *ctx, const Event *e);

static void finish_choosing(World *w, Run *r)
{
    r->world = w;
    r->job = (Job){ .prompt = r->prompt, .n_prompt = r->n_prompt, .on_event = hear, .ctx = r };
    r->job.sampling = choose_sampling(w, r);
    if (one_in(w, 3)) {
        r->job.grammar = grammars[below(w, COUNT(grammars))];
        r->job.encode = one_in(w, 5) ? NULL : language_encode;
        r->job.encode_arg = &language;
        if (one_in(w, 2)) r->stop[0] = LANGUAGE_END;
    }
    r->job.salt = one_in(w, 6);
    r->job.priority = one_in(w, 8) ? (int)below(w, 3) - 1 : 0;
    if (one_in(w, 12)) r->job.deadline_ns = r->arrives_ns + (int64_t)below(w, 3000000);
    r->stop_at = one_in(w, 12) ? (int)below(w, NEW_MAX) : -1;
}

static Run *next_run(World *w)
{
    return w->n_runs < JOBS ? &w->run[w->n_runs++] : NULL;
}

static void choose_jobs(World *w)
{
    int n = 1 + (int)below(w, JOBS - 16);
    int64_t at = 0, gap = one_in(w, 3) ? 1 : 1 + below(w, 400000);
    while (w->n_runs < n) {
        Run *r = next_run(w);
        int d = (int)below(w, DOCS), shared = (int)below(w, PROMPT_MAX - 20);
        memcpy(r->prompt, w->doc[d], (size_t)shared * sizeof *r->prompt);
        r->n_prompt = shared + 1 + (int)below(w, 19);
        for (int i = shared; i < r->n_prompt; i++) r->prompt[i] = (int32_t)below(w, VOCAB);
        at += below(w, (uint32_t)gap * 2);
        r->arrives_ns = at;
        finish_choosing(w, r);
        for (int twins = one_in(w, 5) ? (int)below(w, 6) : 0; twins > 0 && w->n_runs < n; twins--) {
            Run *t = next_run(w);
            memcpy(t->prompt, r->prompt, sizeof r->prompt);
            t->n_prompt = r->n_prompt;
            t->arrives_ns = at;
            finish_choosing(w, t);
        }
    }
}

/* The answer and some more words become the next prompt of the same conversation. */
static void go_on(World *w, const Run *r)
{
    if (!one_in(w, 4) || r->n_prompt + r->heard.n_tok + 8 > PROMPT_MAX) return;
    Run *next = next_run(w);
    if (!next) return;
    memcpy(next->prompt, r->prompt, sizeof r->prompt);
    memcpy(next->prompt + r->n_prompt, r->heard.tok, (size_t)r->heard.n_tok * sizeof *r->prompt);
    next->n_prompt = r->n_prompt + r->heard.n_tok;
    for (int i = 0; i < 8; i++) next->prompt[next->n_prompt++] = (int32_t)below(w, VOCAB);
    next->arrives_ns = backend_sim.now_ns(w->bench.device) + below(w, 500000);
    finish_choosing(w, next);
}

/* ---- running it ---- */

static void hear(void *ctx, const Event *e)
{
    Run *r = ctx;
    bench_hear(&r->heard, e);
    if (e->kind == EV_TOKEN && r->heard.n_tok == r->stop_at) engine_stop(r->world->bench.engine, e->job);
    if (e->kind == EV_END) r->world->n_ended++;
}

static void submit(World *w, Run *r)
{
    Err err = { 0 };
    r->submitted = true;
    Status st = engine_submit(w->bench.engine, &r->job, NULL, &err);
    if (st == OK) return;
    assert_int_equal(st, E_DEVICE);
    assert_true(w->fault_rate > 0);
    r->heard.n_end = 1;
    r->heard.reason = END_FAILED;
    w->n_ended++;
}

/* Those whose time has come. Returns when the next one's will: -1, there is none. */
static int64_t submit_arrived(World *w)
{
    int64_t now = backend_sim.now_ns(w->bench.device), next = -1;
    for (int i = 0; i < w->n_runs; i++) {
        Run *r = &w->run[i];
        if (r->submitted) continue;
        if (r->arrives_ns <= now)
            submit(w, r);
        else if (next < 0 || r->arrives_ns < next)
            next = r->arrives_ns;
    }
    return next;
}

static void meddle(World *w)
{
    Run *r = &w->run[below(w, (uint32_t)w->n_runs)];
    if (one_in(w, 60) && r->heard.id && !r->heard.n_end) engine_cancel(w->bench.engine, r->heard.id);
    if (one_in(w, 2000)) engine_cancel_all(w->bench.engine);
}

static uint64_t play(World *w)
{
    SimConfig sim = sim_config_default();
    sim.check_all = true;
    sim.fault_rate = w->fault_rate;
    sim.repeat = w->repeat;
    sim.seed = w->seed;
    w->bench = bench_open(w->options, w->n_pages, sim);
    uint64_t steps = 0;
    for (int gone_on = 0; w->n_ended < w->n_runs;) {
        int64_t next = submit_arrived(w);
        bool ran = engine_step(w->bench.engine);
        assert_true(++steps < STEPS_MAX); /* someone starves */
        meddle(w);
        for (int n = w->n_runs; gone_on < n && w->run[gone_on].heard.n_end; gone_on++)
            if (w->run[gone_on].heard.reason != END_FAILED) go_on(w, &w->run[gone_on]);
        if (!ran && next >= 0) sim_advance(w->bench.device, MAX(0, next - backend_sim.now_ns(w->bench.device)));
    }
    EngineStats s;
    engine_step(w->bench.engine);
    engine_stats(w->bench.engine, &s);
    assert_int_equal(s.n_running + s.n_waiting, 0);
    w->drafted = s.drafted_tokens;
    w->jumped = s.jumped_tokens;
    w->accepted = s.accepted_tokens;
    assert_true(w->accepted <= w->drafted && (w->options.draft_tokens || !w->drafted));
    assert_int_equal(engine_flush_cache(w->bench.engine, 0, NULL), OK);
    engine_step(w->bench.engine);
    engine_stats(w->bench.engine, &s);
    assert_int_equal(s.n_pages_free, w->n_pages);
    bench_close(&w->bench);
    return steps;
}

/* ---- what a job is told alone: written a second time, without the engine, page k of the cache for page k ---- */

enum { ALONE_ROWS = 512, ALONE_PAGES = 32 };

/* One pass over positions [from, n), logits of all from `scored` on. mask: NULL, or of the token drawn. */
static void alone_pass(const World *w, Run *r, const int32_t *tok, int from, int n, int scored, const uint32_t *mask,
                       SampleOut *out)
{
    const Sampling *p = &r->job.sampling;
    static int32_t pos[ALONE_ROWS], pages[ALONE_PAGES], logit_row[ALONE_ROWS];
    static SampleRow rows[ALONE_ROWS];
    static TokenCount seen[ALONE_ROWS];
    int32_t start[2] = { 0, n - from }, len = n;
    uint64_t id = 1;
    int n_logit = 0, n_seen = 0, n_out = n - r->n_prompt;
    bool penalty = p->presence != 0 || p->repetition != 1;
    for (int i = 0; penalty && i < n; i++) { /* the slow way: each token is looked for among all before it */
        int k = 0;
        while (k < n_seen && seen[k].id != tok[i]) k++;
        if (k == n_seen) seen[n_seen++] = (TokenCount){ .id = tok[i] };
        if (i < r->n_prompt) seen[k].in_prompt = 1;
        if (i >= r->n_prompt) seen[k].n_out++;
    }
    for (int i = from; i < n; i++) {
        pos[i - from] = i;
        if (i < scored) continue;
        logit_row[n_logit] = i - from;
        rows[n_logit++] = (SampleRow){ .temperature = p->temperature,
                                       .top_p = p->top_p,
                                       .min_p = p->min_p,
                                       .top_k = p->top_k,
                                       .frequency = p->frequency,
                                       .presence = p->presence,
                                       .repetition = p->repetition,
                                       .seed = p->seed,
                                       .counter = (uint64_t)n_out,
                                       .seen = seen,
                                       .n_seen = n_seen,
                                       .bias = p->bias,
                                       .n_bias = p->n_bias,
                                       .banned = p->stop_ids,
                                       .n_banned = n_out < p->min_new && !mask ? p->n_stop_ids : 0,
                                       .allowed = i + 1 == n ? mask : NULL,
                                       .n_vocab = VOCAB,
                                       .target = i + 1 < r->n_prompt ? tok[i + 1] : -1 };
    }
    for (int i = 0; i < ALONE_PAGES; i++) pages[i] = i;
    DeviceBatch b = { .n_tok = n - from,
                      .n_seq = 1,
                      .max_pages = ALONE_PAGES,
                      .token = tok + from,
                      .pos = pos,
                      .seq_start = start,
                      .seq_len = &len,
                      .pages = pages,
                      .seq_id = &id,
                      .n_logit = n_logit,
                      .logit_row = logit_row };
    Err err;
    model_forward(w->bench.model, &b);
    if (n_logit) model_sample(w->bench.model, rows, n_logit);
    assert_int_equal(model_sample_wait(w->bench.model, out, n_logit, &err), OK);
}

static bool is_stop(const Sampling *p, int32_t token)
{
    for (int i = 0; i < p->n_stop_ids; i++)
        if (p->stop_ids[i] == token) return true;
    return false;
}

/* The mask of the next token, the slow way: each token is tried. False: only the end may come. */
static bool alone_mask(const Sampling *p, GrammarMatcher *m, int n_out, uint32_t *mask)
{
    int n = 0, n_banned = 0;
    bool other = false;
    memset(mask, 0, VOCAB / 8);
    for (int32_t id = 0; id < VOCAB; id++) {
        if (!grammar_accepts(m, &id, 1)) continue;
        other = other || id != LANGUAGE_END;
        n++;
        n_banned += n_out < p->min_new && is_stop(p, id);
        mask[id / 32] |= 1u << (id % 32);
    }
    for (int32_t id = 0; id < VOCAB && n_out < p->min_new && n_banned < n; id++)
        if (is_stop(p, id)) mask[id / 32] &= ~(1u << (id % 32));
    return other;
}

/* Appends what must come; returns how many. */
static int alone_jump(const World *w, const Run *r, GrammarMatcher *m, int32_t *tok, int n, int room)
{
    Ids ids = { 0 };
    int n_out = n - r->n_prompt, took = 0, back = MIN(n_out, 2);
    if (w->options.no_jump || !r->job.encode || r->job.sampling.n_top_logprobs >= 0) return 0;
    grammar_forced_tokens(m, tok + n - back, (size_t)back, language_encode, &language, &ids);
    while (took < room && (size_t)took < ids.n && !is_stop(&r->job.sampling, ids.p[took])) {
        assert_true(grammar_accept(m, ids.p[took]));
        tok[n + took] = ids.p[took];
        took++;
    }
    ids_free(&ids);
    return took;
}

static void play_one_alone(const World *w, Run *r)
{
    const Sampling *p = &r->job.sampling;
    static SampleOut out[ALONE_ROWS];
    int32_t tok[ALONE_ROWS];
    uint32_t mask[VOCAB / 32];
    Heard *a = &r->alone;
    int n = r->n_prompt, done = 0, first = p->prompt_logprobs_from >= 0 ? MAX(p->prompt_logprobs_from - 1, 0) : n - 1;
    GrammarMatcher *m = r->job.grammar && p->max_new > 0 ? grammar_matcher_new(r->job.grammar) : NULL;
    memcpy(tok, r->prompt, (size_t)n * sizeof *tok);
    if (m && p->prompt_logprobs_from < 0) n += alone_jump(w, r, m, tok, n, p->max_new - 1);
    if (m) alone_mask(p, m, n - r->n_prompt, mask);
    if (n > r->n_prompt) first = n - 1;
    const SampleOut *drawn = out;
    a->reason = END_LENGTH;
    for (;; first = n - 1) {
        alone_pass(w, r, tok, done, n, MIN(first, n - 1), m ? mask : NULL, out);
        if (done == 0) {
            a->n_scored = MAX(n - 1 - first, 0);
            for (int i = 0; i < a->n_scored; i++) a->prompt_logprob_sum += out[i].logprob;
        }
        drawn = out + (done == 0 ? a->n_scored : 0);
        done = n;
        if (p->max_new == 0) break;
        tok[n++] = drawn->token;
        if (m) assert_true(grammar_accept(m, drawn->token));
        if (is_stop(p, drawn->token) || (m && grammar_ended(m))) {
            a->reason = END_STOP;
            break;
        }
        a->logprob_sum += drawn->logprob;
        bool open = !m || alone_mask(p, m, n - r->n_prompt, mask);
        if (m && open && n - r->n_prompt < p->max_new) {
            n += alone_jump(w, r, m, tok, n, p->max_new - (n - r->n_prompt));
            open = alone_mask(p, m, n - r->n_prompt, mask);
        }
        if (!open) a->reason = END_STOP;
        if (!open || n - r->n_prompt == p->max_new) break;
    }
    a->n_out = n - r->n_prompt;
    a->n_tok =
        a->n_out - (p->max_new > 0 && a->reason == END_STOP && (is_stop(p, tok[n - 1]) || (m && grammar_ended(m))));
    memcpy(a->tok, tok + r->n_prompt, (size_t)a->n_tok * sizeof *tok);
    grammar_matcher_free(m);
}

static void play_alone(World *w)
{
    EngineOptions o = { .max_running = ALONE_ROWS, .max_batch_tokens = ALONE_ROWS, .max_queued = 4 };
    SimConfig sim = sim_config_default();
    sim.repeat = w->repeat;
    w->bench = bench_open(o, ALONE_PAGES, sim);
    for (int i = 0; i < w->n_runs; i++) play_one_alone(w, &w->run[i]);
    bench_close(&w->bench);
}

static void compare(const World *w, const Run *r)
{
    const Heard *h = &r->heard, *a = &r->alone;
    assert_int_equal(h->n_end, 1);
    assert_in_range(h->n_tok, 0, a->n_tok);
    assert_memory_equal(h->tok, a->tok, (size_t)h->n_tok * sizeof *h->tok);
    assert_true(w->fault_rate > 0 || h->reason != END_FAILED);
    assert_true(r->job.deadline_ns || h->reason != END_TIMEOUT);
    assert_true(h->n_cached == 0 || w->options.use_radix);
    if (r->job.grammar && h->n_tok) assert_true(language_has(r->job.grammar, h->tok, h->n_tok, false));
    bool complete =
        r->job.grammar && h->reason == END_STOP && h->n_tok == a->n_tok; /* ended by itself, or just before */
    bool natural =
        h->reason == END_LENGTH || (h->reason == END_STOP && h->matched >= 0) || (complete && r->stop_at < 0);
    if (!natural) return;
    assert_int_equal(h->reason, a->reason);
    assert_int_equal(h->n_tok, a->n_tok);
    assert_int_equal(h->n_out, a->n_out);
    assert_int_equal(h->n_scored, a->n_scored);
    assert_true(h->logprob_sum == a->logprob_sum && h->prompt_logprob_sum == a->prompt_logprob_sum);
}

static World *new_world(uint64_t seed)
{
    World *w = mem_alloc(sizeof *w);
    w->run = mem_alloc_array(JOBS, sizeof *w->run);
    w->seed = w->rng.s = seed;
    choose_options(w);
    choose_jobs(w);
    return w;
}

static void free_world(World *w)
{
    mem_free(w->run);
    mem_free(w);
}

/* ---- the tests ---- */

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

typedef struct {
    uint64_t worlds, jobs, steps, preempted, cached, faults, drafted, accepted, jumped, bounded;
} Tally;

static void count(Tally *t, const World *w)
{
    t->worlds++;
    t->jobs += (uint64_t)w->n_runs;
    t->faults += w->fault_rate > 0;
    t->drafted += w->drafted;
    t->accepted += w->accepted;
    t->jumped += w->jumped;
    for (int i = 0; i < w->n_runs; i++) {
        t->preempted += (uint64_t)w->run[i].heard.n_preempted;
        t->cached += w->run[i].heard.n_cached > 0;
        t->bounded += w->run[i].job.grammar && w->run[i].heard.n_tok > 0;
    }
}

static void test_worlds(void **state)
{
    (void)state;
    base_on_panic(print_seed, NULL);
    const char *replay = getenv("RADISH_SEED"), *seconds = getenv("RADISH_SIM_SECONDS");
    int64_t end = clock_ns() + (seconds ? strtoll(seconds, NULL, 10) : 12) * 1000000000;
    uint64_t seed = replay ? strtoull(replay, NULL, 10) : 0;
    Tally t = { 0 };
    do {
        running_seed = seed;
        World *w = new_world(seed++);
        t.steps += play(w);
        play_alone(w);
        for (int i = 0; i < w->n_runs; i++) compare(w, &w->run[i]);
        count(&t, w);
        free_world(w);
    } while (!replay && clock_ns() < end);
    running_seed = UINT64_MAX;
    print_message(
        "%llu worlds, %llu jobs, %llu steps; %llu preemptions, %llu jobs with a cached prefix, %llu worlds with "
        "faults; %llu tokens guessed, %llu of them right; %llu answers inside a grammar, %llu tokens forced\n",
        (unsigned long long)t.worlds, (unsigned long long)t.jobs, (unsigned long long)t.steps,
        (unsigned long long)t.preempted, (unsigned long long)t.cached, (unsigned long long)t.faults,
        (unsigned long long)t.drafted, (unsigned long long)t.accepted, (unsigned long long)t.bounded,
        (unsigned long long)t.jumped);
    if (replay) return;
    assert_true(t.drafted > t.accepted && t.accepted > 0);
    assert_true(t.preempted > 0 && t.cached > 0 && t.bounded > 0 && t.jumped > 0); /* or the worlds are too kind */
}

/* Same seed, same world: every event of every job in the same step. */
static void test_same_seed_same_world(void **state)
{
    (void)state;
    for (uint64_t seed = 1000; seed < (SLOW ? 1005 : 1020); seed++) {
        running_seed = seed;
        World *a = new_world(seed), *b = new_world(seed);
        assert_int_equal(play(a), play(b));
        for (int i = 0; i < a->n_runs; i++) {
            assert_int_equal(a->run[i].heard.reason, b->run[i].heard.reason);
            assert_int_equal(a->run[i].heard.n_tok, b->run[i].heard.n_tok);
            assert_int_equal(a->run[i].heard.n_cached, b->run[i].heard.n_cached);
            assert_int_equal(a->run[i].heard.n_preempted, b->run[i].heard.n_preempted);
        }
        free_world(a);
        free_world(b);
    }
    running_seed = UINT64_MAX;
}

static int open_language(void **state)
{
    static const char *const patterns[] = { "\\{\"name\":\"[a-e]{1,6}\",\"on\":(true|false),\"off\":\\[1,2,12\\]\\}",
                                            "((abc|xyz|true), ){2,20}(on|off)", "(\"name\": ?\"(ab|abc|x)\",){1,9}" };
    (void)state;
    language_open(&language);
    for (size_t i = 0; i < COUNT(patterns); i++)
        grammars[i] = language_grammar(&language, GRAMMAR_REGEX, patterns[i], NULL);
    grammars[COUNT(patterns)] = language_grammar(
        &language, GRAMMAR_JSON_SCHEMA,
        "{\"type\":\"object\",\"properties\":{\"name\":{\"enum\":[\"abc\",\"xyz\",\"on\"]},\"na\":{\"type\":"
        "\"array\",\"items\":{\"type\":\"boolean\"}}},\"required\":[\"name\",\"na\"]}",
        NULL);
    return 0;
}

static int close_language(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(grammars); i++) grammar_drop(grammars[i]);
    language_close(&language);
    return 0;
}

int main(void)
{
    log_set_level(LOG_NONE); /* faults are part of the game */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_worlds, print_seed_after),
        cmocka_unit_test_teardown(test_same_seed_same_world, print_seed_after),
    };
    return cmocka_run_group_tests(tests, open_language, close_language);
}
