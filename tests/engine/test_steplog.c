/* test_steplog.c - what an engine tells of its last steps when something breaks: a CHECK in a child process, the device, or
 * when it is asked. */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/bench.h"

enum { TEXT = 1 << 18 };

/* All that can be read from fd. */
static char *read_all(int fd)
{
    static char text[TEXT];
    size_t n = 0;
    for (ssize_t more; n < TEXT - 1 && (more = read(fd, text + n, TEXT - 1 - n)) > 0;) n += (size_t)more;
    text[n] = 0;
    close(fd);
    return text;
}

static int count_lines(const char *text, const char *with)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, with)); at++) n++;
    return n;
}

static Job job(int32_t *prompt, int n, int seed, int max_new, void (*on_event)(void *, const Event *))
{
    static Heard unused;
    bench_prompt(prompt, n, seed);
    Job j = bench_job(prompt, n, max_new, &unused);
    j.on_event = on_event;
    return j;
}

/* ---- a CHECK ---- */

static void break_at_the_third(void *ctx, const Event *e)
{
    (void)ctx;
    CHECK(e->kind != EV_TOKEN || e->index < 2);
}

/* Runs two jobs until a CHECK fails in the middle of a step. */
static void die(bool ahead)
{
    EngineOptions o = bench_options();
    o.ahead = ahead;
    Bench b = bench_open(o, 64, sim_config_default());
    int32_t prompt[60];
    Job first = job(prompt, 40, 1, 10, NULL);
    bench_submit(&b, &first);
    Job second = job(prompt, 60, 200, 10, break_at_the_third);
    bench_submit(&b, &second);
    bench_run(&b);
}

static char *stderr_of_child(void (*run)(bool), bool arg, int *status)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL); /* not cmocka's */
        dup2(ends[1], STDERR_FILENO);
        run(arg);
        _exit(0);
    }
    close(ends[1]);
    char *text = read_all(ends[0]);
    assert_int_equal(waitpid(child, status, 0), child);
    return text;
}

static void check_death(bool ahead)
{
    int status;
    const char *text = stderr_of_child(die, ahead, &status);
    assert_true(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
    assert_non_null(strstr(text, "test_steplog.c"));
    const char *first = strstr(text, "step 1 at 0.000000 s: queued 2 sequences, rows 100 of prompts + 0 of decoding"),
               *next = strstr(text, "step 2 at"), *last = strstr(text, ahead ? "step 4 at" : "step 3 at");
    assert_true(first && next > first && last > next);
    assert_non_null(strstr(text, "job:rows/length 1:40/40 2:60/60"));
    assert_non_null(strstr(text, "job:rows/length 1:1/42 2:1/62")); /* the third pass */
    assert_non_null(strstr(text, "2 tokens, 0 ended; 2 run, 0 wait, 0 parked; pages "));
    assert_null(strstr(last + 1, "\nstep ")); /* the step that failed is the last, and had queued its pass */
    assert_non_null(strstr(last, "queued 2 sequences"));
    assert_non_null(strstr(text, ahead ? "4 steps in all" : "3 steps in all"));
}

static void test_check_fails(void **state)
{
    (void)state;
    check_death(false);
    check_death(true);
}

/* ---- a fault ---- */

static void note_fault(void *ctx, const char *why)
{
    snprintf(ctx, 200, "%s", why);
}

static void fault(bool ahead)
{
    char why[200] = "";
    EngineOptions o = bench_options();
    o.ahead = ahead;
    o.on_fault = note_fault;
    o.fault_ctx = why;
    SimConfig sim = sim_config_default();
    sim.fault_rate = 0.02f;
    sim.seed = 3;
    Bench b = bench_open(o, 512, sim);
    int32_t prompt[60];
    Job j = job(prompt, 60, 1, 2000, NULL);
    bench_submit(&b, &j);
    bench_run(&b);
    bench_close(&b);
    fprintf(stderr, "told: %s\n", why);
}

static void test_fault(void **state)
{
    (void)state;
    for (int ahead = 0; ahead < 2; ahead++) {
        int status;
        const char *text = stderr_of_child(fault, ahead, &status);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_non_null(strstr(text, "the device has failed: simulated fault in pass"));
        assert_non_null(strstr(text, "told: simulated fault in pass"));
        assert_in_range(count_lines(text, "queued 1 sequences"), 2, 64);
    }
}

/* ---- asked ---- */

static void test_ring(void **state)
{
    (void)state;
    enum { STEPS = 150, KEPT = 64 };
    Bench b = bench_open(bench_options(), 64, sim_config_default());
    int32_t prompt[60];
    Job j = job(prompt, 60, 1, 500, NULL);
    bench_submit(&b, &j);
    for (int i = 0; i < STEPS; i++) assert_true(engine_step(b.engine));
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    engine_dump_steps(b.engine, ends[1]);
    close(ends[1]);
    char *text = read_all(ends[0]), *at = text;
    for (int step = STEPS - KEPT + 1; step <= STEPS; step++) {
        char begin[32];
        snprintf(begin, sizeof begin, "step %d at", step);
        assert_memory_equal(at, begin, strlen(begin));
        at = strchr(at, '\n') + 1;
    }
    assert_string_equal(at, "150 steps in all\n");
    bench_close(&b);
}

static void *ask(void *engine)
{
    int ends[2];
    if (pipe(ends) != 0) return NULL;
    engine_dump_steps(engine, ends[1]);
    close(ends[1]);
    close(ends[0]);
    return NULL;
}

static void test_asked_while_it_runs(void **state)
{
    (void)state;
    Bench b = bench_open(bench_options(), 64, sim_config_default());
    int32_t prompt[60];
    Job j = job(prompt, 60, 1, 900, NULL);
    bench_submit(&b, &j);
    for (int i = 0; i < 60; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, ask, b.engine), 0);
        for (int k = 0; k < 10; k++) engine_step(b.engine);
        pthread_join(thread, NULL);
    }
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_fails),
        cmocka_unit_test(test_fault),
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_asked_while_it_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
