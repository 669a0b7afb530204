/* test_traffic.c - a Llama 3 8B on one simulated H200: what the scheduler makes of real lists of lengths, in virtual time.
 *
 * The device's cost model is crude, so figures are held against what the same model says is possible, not against
 * measurements: a scheduler that idles, thrashes or starves shows as a gap. */
#include <math.h>

#include "engine/bench.h"

enum { LIST_MAX = 4000, LONGEST = 8192 };

typedef struct {
    int n_in, n_out;
} Length;

static int read_lengths(const char *name, Length *out)
{
    char path[512];
    snprintf(path, sizeof path, "%s/../bench/%s", RADISH_TESTS, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    int n = 0;
    while (n < LIST_MAX && fscanf(f, "%d %d", &out[n].n_in, &out[n].n_out) == 2) n++;
    fclose(f);
    return n;
}

typedef struct {
    Checkpoint *checkpoint;
    Device *device;
    Model *model;
    Engine *engine;
} Rig;

static Rig rig_open(EngineOptions o)
{
    Rig r = { 0 };
    Err err = { 0 };
    SimConfig sim = sim_config_default();
    Status st = load_open(RADISH_TESTS "/engine/data/llama8b", (LoadOptions){ .dummy = true }, &r.checkpoint, &err);
    if (st == OK) st = backend_sim.open(&(DeviceOptions){ 0 }, &r.device, &err);
    sim_configure(r.device, &sim);
    ModelOptions m = { .ops = &backend_sim,
                       .device = r.device,
                       .max_batch_tokens = o.max_batch_tokens,
                       .max_seqs = o.max_running,
                       .memory_budget = (size_t)125 << 30,
                       .kv_dtype = DT_NONE };
    if (st == OK) st = model_open(r.checkpoint, &m, &r.model, &err);
    o.model = r.model;
    if (st == OK) st = engine_open(&o, &r.engine, &err);
    if (st != OK) fprintf(stderr, "%s\n", err.text);
    assert_int_equal(st, OK);
    return r;
}

static void rig_close(Rig *r)
{
    engine_close(r->engine);
    model_close(r->model);
    backend_sim.close(r->device);
    load_close(r->checkpoint);
}

typedef struct {
    Rig *rig;
    int *n_ended;
    int64_t arrived_ns, last_ns;
    float *first, *gaps; /* seconds to the first token of each; the longest time between two tokens of each */
    int index, stop_after;
} Told;

static void hear(void *ctx, const Event *e)
{
    Told *t = ctx;
    int64_t now = backend_sim.now_ns(t->rig->device);
    if (e->kind == EV_END) ++*t->n_ended;
    if (e->kind != EV_TOKEN) return;
    float since = (float)((double)(now - (e->index ? t->last_ns : t->arrived_ns)) / 1e9);
    if (e->index == 0)
        t->first[t->index] = since;
    else
        t->gaps[t->index] = MAX(t->gaps[t->index], since);
    t->last_ns = now;
    if (e->index + 1 == t->stop_after) engine_stop(t->rig->engine, e->job);
}

/* A job of random ids. The length is what the list says; `told`: and the engine may know it; else it
 * expects up to the context's end. */
static void submit(const Rig *r, Rng *rng, Length l, bool told, Told *t)
{
    static int32_t prompt[LONGEST];
    int32_t stop = 5;
    for (int k = 0; k < l.n_in; k++) prompt[k] = (int32_t)rng_below(rng, 128000);
    Job j = { .prompt = prompt, .n_prompt = l.n_in, .sampling = sampling_default(), .on_event = hear, .ctx = t };
    j.sampling.max_new = told ? l.n_out : LONGEST - l.n_in;
    t->stop_after = told ? 0 : l.n_out;
    j.sampling.stop_ids = &stop;
    j.sampling.n_stop_ids = !told;
    Err err = { 0 };
    if (engine_submit(r->engine, &j, NULL, &err) != OK) fprintf(stderr, "%s\n", err.text);
    assert_int_equal(err.status, OK);
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

typedef struct {
    double virtual_s, real_s, tok_s, first_p99, gap_p99;
    EngineStats stats;
} Outcome;

/* rate: requests a second; 0: all are there at the start. */
static Outcome drive(EngineOptions o, const Length *list, int n, double rate, bool told)
{
    Rig r = rig_open(o);
    Rng rng = { 1 };
    static Told tell[LIST_MAX];
    static float first[LIST_MAX], gaps[LIST_MAX];
    int n_ended = 0, n_sent = 0;
    double out = 0, arrives = 0;
    int64_t began = backend_sim.now_ns(r.device), real = clock_ns();
    memset(gaps, 0, sizeof gaps);
    while (n_ended < n) {
        while (n_sent < n && (double)(backend_sim.now_ns(r.device) - began) >= arrives * 1e9) {
            tell[n_sent] = (Told){ .rig = &r, .n_ended = &n_ended, .first = first, .gaps = gaps, .index = n_sent };
            tell[n_sent].arrived_ns = began + (int64_t)(arrives * 1e9);
            submit(&r, &rng, list[n_sent], told, &tell[n_sent]);
            out += list[n_sent++].n_out;
            if (rate > 0) arrives -= log(1.0 - (double)rng_below(&rng, 1 << 20) / (1 << 20)) / rate;
        }
        if (!engine_step(r.engine) && n_sent < n)
            sim_advance(r.device, began + (int64_t)(arrives * 1e9) + 1 - backend_sim.now_ns(r.device));
    }
    Outcome got = { .virtual_s = (double)(backend_sim.now_ns(r.device) - began) / 1e9 };
    got.real_s = (double)(clock_ns() - real) / 1e9;
    got.tok_s = out / got.virtual_s;
    engine_stats(r.engine, &got.stats);
    rig_close(&r);
    qsort(first, (size_t)n, sizeof *first, by_value);
    qsort(gaps, (size_t)n, sizeof *gaps, by_value);
    got.first_p99 = (double)first[n * 99 / 100];
    got.gap_p99 = (double)gaps[n * 99 / 100];
    return got;
}

static void say(const char *what, const Outcome *got)
{
    print_message("%s: %.0f s in %.1f s, %.0f tok/s, %llu passes, %llu preempted; first token p99 %.2f s, longest wait "
                  "between tokens p99 %.3f s; engine %.0f us a pass\n",
                  what, got->virtual_s, got->real_s, got->tok_s, (unsigned long long)got->stats.steps,
                  (unsigned long long)got->stats.preemptions, got->first_p99, got->gap_p99,
                  (double)got->stats.sched_ns / 1e3 / (double)got->stats.steps);
}

/* What the cost model would allow, were there no tail, no pauses and always as many rows as are needed to be bound by
 * arithmetic: every token through the matrices, every output token through the head, every position read. */
static double possible_tok_s(const Length *list, int n, const SimConfig *sim)
{
    const double layers = 32.0 * (4096.0 * (4096 + 2 * 1024 + 4096) + 3.0 * 4096 * 14336), head = 4096.0 * 128256;
    double in = 0, out = 0, read = 0;
    for (int i = 0; i < n; i++) {
        in += list[i].n_in;
        out += list[i].n_out;
        read += (double)list[i].n_out * (list[i].n_in + list[i].n_out / 2.0);
    }
    double s = (2 * layers * (in + out) + 2 * head * out) / sim->flops_s + read * 32 * 2 * 1024 * 2 / sim->bytes_s;
    return out / s;
}

static void test_offline(void **state)
{
    (void)state;
    static Length list[LIST_MAX];
    const SimConfig sim = sim_config_default();
    int n = read_lengths("D1.tsv", list);
    if (SLOW) n = MIN(n, 200);
    double possible = possible_tok_s(list, n, &sim);
    EngineOptions o = { .policy = POLICY_LPM, .max_running = 1024, .max_batch_tokens = 8192, .use_radix = true };
    Outcome known = drive(o, list, n, 0, true);
    say("offline, lengths known", &known);
    assert_int_equal(known.stats.preemptions, 0);
    assert_true(SLOW || known.tok_s > 0.85 * possible);
    Outcome unknown = drive(o, list, n, 0, false);
    say("offline, lengths unknown", &unknown);
    print_message("at most %.0f tok/s are possible\n", possible);
    assert_true(SLOW || unknown.tok_s > 0.8 * possible);
}

static void test_online(void **state)
{
    (void)state;
    static Length list[LIST_MAX];
    int n = MIN(read_lengths("online.tsv", list), SLOW ? 200 : LIST_MAX);
    EngineOptions o = { .policy = POLICY_LPM, .max_running = 512, .max_batch_tokens = 2048, .use_radix = true };
    Outcome calm = drive(o, list, n, 16, false);
    say("online, 16 a second", &calm);
    assert_true(calm.first_p99 < 0.3 && calm.gap_p99 < 0.1);
    assert_int_equal(calm.stats.preemptions, 0);
    o.max_running = 64; /* more arrive than get through: the queue grows, but those who run do not suffer */
    Outcome crowded = drive(o, list, n, 40, false);
    say("online, 40 a second on 64 places", &crowded);
    assert_true(crowded.gap_p99 < 0.1);
}

/* ---- the device ---- */

/* What passes of these rows of one sequence, of which the last n_logit are wanted, take on a device of its own. */
static void time_passes(bool walk, const int (*pass)[2], int n, int64_t *ns)
{
    static int32_t token[4096], pos[4096], pages[256], logit_row[4096];
    Err err = { 0 };
    Rig r = { 0 };
    int32_t len = 0;
    uint64_t id = 1;
    assert_int_equal(
        load_open(RADISH_TESTS "/engine/data/llama8b", (LoadOptions){ .dummy = true }, &r.checkpoint, &err), OK);
    assert_int_equal(backend_sim.open(&(DeviceOptions){ 0 }, &r.device, &err), OK);
    ModelOptions m = { .ops = &backend_sim,
                       .device = r.device,
                       .max_batch_tokens = 4096,
                       .max_seqs = 4096,
                       .n_pages = 256,
                       .kv_dtype = DT_NONE,
                       .profile = walk }; /* a profile times each operation: no pass is replayed */
    assert_int_equal(model_open(r.checkpoint, &m, &r.model, &err), OK);
    for (int i = 0; i < 256; i++) pages[i] = i;
    for (int i = 0; i < n; i++) {
        int rows = pass[i][0], n_logit = pass[i][1];
        int32_t start[2] = { 0, rows };
        for (int k = 0; k < rows; k++) pos[k] = len + k;
        for (int k = 0; k < n_logit; k++) logit_row[k] = rows - n_logit + k;
        len += rows;
        DeviceBatch b = { .n_tok = rows, .n_seq = 1, .max_pages = 256, .token = token, .pos = pos };
        b.seq_start = start, b.seq_len = &len, b.pages = pages, b.seq_id = &id;
        b.n_logit = n_logit, b.logit_row = logit_row;
        int64_t before = backend_sim.now_ns(r.device);
        model_forward(r.model, &b);
        ns[i] = backend_sim.now_ns(r.device) - before;
        assert_int_equal(backend_sim.sample_wait(r.device, NULL, 0, &err), OK); /* the pages were in order */
    }
    rig_close(&r);
}

/* A pass that is replayed costs what it costs to walk it, whatever its size and whoever is wanted of it. */
static void test_replay(void **state)
{
    (void)state;
    static const int pass[][2] = { { 1, 1 },  { 100, 0 }, { 700, 1 },    { 1, 1 }, { 5, 5 },
                                   { 64, 3 }, { 33, 0 },  { 2000, 700 }, { 1, 1 } };
    int64_t walked[COUNT(pass)], replayed[COUNT(pass)];
    time_passes(true, pass, COUNT(pass), walked);
    time_passes(false, pass, COUNT(pass), replayed);
    for (size_t i = 0; i < COUNT(pass); i++) {
        assert_true(walked[i] > 3000000); /* the weights are read */
        assert_in_range(replayed[i] - walked[i] + 2, 0, 4);
    }
    assert_true(walked[7] > 10 * walked[8]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offline),
        cmocka_unit_test(test_online),
        cmocka_unit_test(test_replay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
