/* test_workers.c - regions reach every worker once, barriers order writes, chunks cover a range exactly once, tasks all run. */
/* cmocka.h wants these four first, and its fail() must not meet ours. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/nodes.h"
#include "base/workers.h"

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
/* clang-format on */

enum { MAX_WORKERS = 8, N_ITEMS = 10007 };

static void nap_ms(long ms)
{
    nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

/* ---- Pool ---- */

typedef struct {
    Pool *pool;
    int calls[MAX_WORKERS];
    int n_seen;
} Region;

static void count_call(void *arg, int worker, int n_workers)
{
    Region *r = arg;
    r->calls[worker]++;
    if (worker == 0) r->n_seen = n_workers;
}

static void each_worker_once(void **state)
{
    (void)state;
    for (int n = 1; n <= MAX_WORKERS; n++) {
        Region r = { .pool = pool_new(n) };
        assert_int_equal(pool_size(r.pool), n);
        const int rounds = 300;
        for (int i = 0; i < rounds; i++) {
            pool_run(r.pool, count_call, &r);
            if (i == 100) nap_ms(2); /* long enough for the helpers to fall asleep */
            if (i == 200) pool_rest(r.pool);
        }
        assert_int_equal(r.n_seen, n);
        for (int w = 0; w < n; w++) assert_int_equal(r.calls[w], rounds);
        pool_free(r.pool);
    }
}

/* Each worker writes its cell, all wait, each reads its neighbour's: plain memory, so tsan sees a missing barrier too. */
typedef struct {
    Pool *pool;
    int cell[MAX_WORKERS];
    int errors[MAX_WORKERS];
} Ring;

static void pass_round(void *arg, int worker, int n_workers)
{
    Ring *r = arg;
    for (int i = 0; i < 200; i++) {
        r->cell[worker] = i;
        pool_barrier(r->pool);
        if (r->cell[(worker + 1) % n_workers] != i) r->errors[worker]++;
        pool_barrier(r->pool);
    }
}

static void barrier_orders_writes(void **state)
{
    (void)state;
    for (int n = 1; n <= MAX_WORKERS; n++) {
        Ring r = { .pool = pool_new(n) };
        for (int i = 0; i < 5; i++) pool_run(r.pool, pass_round, &r);
        for (int w = 0; w < n; w++) assert_int_equal(r.errors[w], 0);
        pool_free(r.pool);
    }
}

typedef struct {
    Pool *pool;
    uint8_t hits[2][N_ITEMS];
} Cover;

static void take_chunks(void *arg, int worker, int n_workers)
{
    (void)n_workers;
    Cover *c = arg;
    int begin, end;
    while (pool_next(c->pool, 3, N_ITEMS, 7, &begin, &end)) {
        for (int i = begin; i < end; i++) c->hits[0][i]++;
    }
    pool_barrier(c->pool);
    if (worker == 0) pool_next_reset(c->pool, 3);
    pool_barrier(c->pool);
    while (pool_next(c->pool, 3, N_ITEMS, 1000, &begin, &end)) {
        for (int i = begin; i < end; i++) c->hits[1][i]++;
    }
}

static void chunks_cover_once(void **state)
{
    (void)state;
    for (int n = 1; n <= 4; n++) {
        Cover c = { .pool = pool_new(n) };
        for (int round = 0; round < 3; round++) {
            memset(c.hits, 0, sizeof c.hits);
            pool_run(c.pool, take_chunks, &c); /* the counter starts each region at zero */
            for (int i = 0; i < N_ITEMS; i++) {
                assert_int_equal(c.hits[0][i], 1);
                assert_int_equal(c.hits[1][i], 1);
            }
        }
        int begin, end;
        assert_false(pool_next(c.pool, 0, 0, 5, &begin, &end));
        pool_free(c.pool);
    }
}

/* ---- memory nodes ---- */

enum { NODE_TEXT = 64 };

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* A folder as the system has it: nodes[i] is what node i * 2 says, NULL: there is none. */
static char *node_dir(char *dir, size_t size, const char *const *nodes, int n)
{
    char path[256];
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, size, "%s/radish-nodes-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
    for (int i = 0; i < n; i++) {
        if (!nodes[i]) continue;
        snprintf(path, sizeof path, "%s/node%d", dir, 2 * i);
        assert_int_equal(mkdir(path, 0700), 0);
        snprintf(path, sizeof path, "%s/node%d/cpulist", dir, 2 * i);
        write_text(path, nodes[i]);
    }
    return dir;
}

static void drop_node_dir(const char *dir, int n)
{
    char path[256];
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/node%d/cpulist", dir, 2 * i);
        unlink(path);
        snprintf(path, sizeof path, "%s/node%d", dir, 2 * i);
        rmdir(path);
    }
    rmdir(dir);
}

static void nodes_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *nodes[3];
        int n, cores[3]; /* what comes out for cores 0-7 but 5 */
    } cases[] = {
        { { "0-3\n", "4-7\n" }, 2, { 4, 3 } },
        { { "0,2,4-4,6\n", NULL, "1,3,5,7" }, 2, { 4, 3 } },
        { { "0-7\n", "\n" }, 1, { 7 } },
        { { "5\n", "0-4,6-7\n" }, 1, { 7 } },
        { { NULL }, 1, { 7 } },
        { { "0-3", "3-7" }, 1, { 7 } }, /* a core twice */
        { { "0-3", "6-7" }, 1, { 7 } },
        { { "0-x", "4-7" }, 1, { 7 } },
        { { "3-0,1-2", "4-7" }, 1, { 7 } },
        { { "0-99999999999999999999", "4-7" }, 1, { 7 } },
        { { "0-3,,", "4-7,8-11" }, 1, { 7 } },
    };
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    for (size_t i = 0; i < 8; i++)
        if (i != 5) CPU_SET(i, &allowed);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char dir[NODE_TEXT];
        Nodes nodes;
        nodes_find(node_dir(dir, sizeof dir, cases[i].nodes, 3), &allowed, &nodes);
        drop_node_dir(dir, 3);
        assert_int_equal(nodes.n, cases[i].n);
        for (int j = 0; j < nodes.n; j++) assert_int_equal(CPU_COUNT(&nodes.cores[j]), cases[i].cores[j]);
    }
}

typedef struct {
    Pool *pool;
    int n;
    uint8_t hits[N_ITEMS];
    int errors;
} Near;

static void take_near(void *arg, int worker, int n_workers)
{
    (void)n_workers;
    Near *c = arg;
    int begin, end;
    while (pool_next_near(c->pool, 2, worker, c->n, &begin, &end)) {
        for (int i = begin; i < end; i++) c->hits[i]++;
    }
}

/* Asks for the last worker: its node's items, the later ones, come first and in order, then the others. */
static void take_as_last(void *arg, int worker, int n_workers)
{
    Near *c = arg;
    int border = c->n * (n_workers - 1) / n_workers, at = border, begin, end;
    if (worker) return;
    while (pool_next_near(c->pool, 2, n_workers - 1, c->n, &begin, &end)) {
        if (begin != at || end <= begin || (begin < border && end > border)) c->errors++;
        at = end == c->n ? 0 : end;
    }
    if (at != border) c->errors++;
}

/* Two nodes of one core each. */
static void near_items_cover_once(void **state)
{
    (void)state;
    static const int counts[] = { 0, 1, 2, 3, 5, 97, N_ITEMS };
    char dir[NODE_TEXT], text[2][NODE_TEXT];
    cpu_set_t all, two;
    if (workers_cores() < 2) skip();
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&two);
    for (size_t c = 0; CPU_COUNT(&two) < 2; c++) {
        if (!CPU_ISSET(c, &all)) continue;
        snprintf(text[CPU_COUNT(&two)], NODE_TEXT, "%zu\n", c);
        CPU_SET(c, &two);
    }
    assert_int_equal(sched_setaffinity(0, sizeof two, &two), 0);
    node_dir(dir, sizeof dir, (const char *const[]){ text[0], text[1] }, 2);
    for (int threads = 1; threads <= 2; threads++) {
        Near c = { .pool = pool_new_at(threads, dir) };
        assert_int_equal(pool_node(c.pool, threads - 1), 1);
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            c.n = counts[i];
            memset(c.hits, 0, sizeof c.hits);
            pool_share(c.pool, take_near, &c);
            for (int j = 0; j < c.n; j++) assert_int_equal(c.hits[j], 1);
            if (c.n > 1) pool_run(c.pool, take_as_last, &c);
            assert_int_equal(c.errors, 0);
        }
        pool_free(c.pool);
    }
    drop_node_dir(dir, 2);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
}

static void share_chunks(void *arg, int worker, int n_workers)
{
    (void)worker, (void)n_workers;
    Cover *c = arg;
    int begin, end;
    while (pool_next(c->pool, 0, N_ITEMS, 50, &begin, &end)) {
        for (int i = begin; i < end; i++) c->hits[0][i]++;
    }
}

/* Many short regions, more threads than cores: late helpers must neither miss a chunk nor touch the next region's. */
static void shared_regions_cover_once(void **state)
{
    (void)state;
    for (int n = 1; n <= MAX_WORKERS; n += 3) {
        Cover c = { .pool = pool_new(n) };
        Region r = { .pool = c.pool };
        for (int round = 1; round <= 250; round++) {
            pool_share(c.pool, share_chunks, &c);
            for (int i = 0; i < N_ITEMS; i++) {
                if (c.hits[0][i] != round) assert_int_equal(c.hits[0][i], round);
            }
            if (round % 10 == 0) pool_run(c.pool, count_call, &r);
        }
        for (int w = 0; w < n; w++) assert_int_equal(r.calls[w], 25);
        pool_free(c.pool);
    }
}

static void region_allocates_nothing(void **state)
{
    (void)state;
    Ring r = { .pool = pool_new(4) };
    pool_run(r.pool, pass_round, &r);
    uint64_t before = mem_allocations();
    pool_run(r.pool, pass_round, &r);
    assert_int_equal(mem_allocations(), before);
    pool_free(r.pool);
}

/* CPU time of the process while nothing runs: helpers that spun would burn all of the 100 ms. */
static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void idle_pool_sleeps(void **state)
{
    (void)state;
    Region r = { .pool = pool_new(4) };
    pool_run(r.pool, count_call, &r);
    double before = cpu_ms();
    nap_ms(100);
    assert_true(cpu_ms() - before < 30);
    pool_run(r.pool, count_call, &r);
    assert_int_equal(r.calls[3], 2);
    pool_free(r.pool);
}

static void free_without_a_region(void **state)
{
    (void)state;
    pool_free(pool_new(4));
    pool_free(NULL);
}

/* ---- a foreign loop on one core ---- */

enum { ITEMS = 64, SPINS = 400, REGION_MS = 250 };

typedef struct {
    Pool *pool;
    bool even; /* equal parts instead of pool_next */
    uint64_t sums[MAX_WORKERS];
} Work;

static void work_item(Work *w, int worker)
{
    uint64_t x = (uint64_t)worker + 1;
    for (int i = 0; i < SPINS; i++) x = x * 6364136223846793005u + 1442695040888963407u;
    w->sums[worker] += x | 1;
}

static void work(void *arg, int worker, int n_workers)
{
    Work *w = arg;
    int begin, end;
    if (w->even) {
        for (int i = ITEMS * worker / n_workers; i < ITEMS * (worker + 1) / n_workers; i++) work_item(w, worker);
        return;
    }
    while (pool_next(w->pool, 0, ITEMS, 1, &begin, &end)) work_item(w, worker);
}

typedef struct {
    int core;
    atomic_bool stop;
} Foreign;

static void *foreign_loop(void *arg)
{
    Foreign *f = arg;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)f->core, &one);
    sched_setaffinity(0, sizeof one, &one);
    while (!atomic_load_explicit(&f->stop, memory_order_relaxed)) continue;
    return NULL;
}

/* The last core that we may use. */
static int last_core(void)
{
    cpu_set_t set;
    int core = 0;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    for (int i = 0; i < CPU_SETSIZE; i++) core = CPU_ISSET((size_t)i, &set) ? i : core;
    return core;
}

/* Regions of 64 items done in REGION_MS. */
static int regions_done(Work *w)
{
    int n = 0;
    for (int64_t end = clock_ns() + REGION_MS * 1000000LL; clock_ns() < end; n++) {
        if (w->even)
            pool_run(w->pool, work, w);
        else
            pool_share(w->pool, work, w);
    }
    return n;
}

/* Two foreign loops on one core: sooner or later they stop a helper inside a region. */
static void stopped_helpers_are_pulled(void **state)
{
    (void)state;
    if (workers_cores() < 2) skip();
    Work w = { .pool = pool_new(workers_cores() < MAX_WORKERS ? workers_cores() : MAX_WORKERS) };
    Foreign f[2] = { { .core = last_core() }, { .core = last_core() } };
    pthread_t t[2];
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&t[i], NULL, foreign_loop, &f[i]), 0);
    for (int i = 0; i < 60 && !pool_pulls(w.pool); i++) assert_true(regions_done(&w) > 0);
    if (workers_cores() <= 4) assert_true(pool_pulls(w.pool) > 0); /* with many, nobody need use that core */
    for (int i = 0; i < 2; i++) atomic_store(&f[i].stop, true);
    for (int i = 0; i < 2; i++) pthread_join(t[i], NULL);
    Cover c = { .pool = w.pool };
    pool_share(w.pool, share_chunks, &c);
    for (int i = 0; i < N_ITEMS; i++) assert_int_equal(c.hits[0][i], 1);
    pool_free(w.pool);
}

/* RADISH_BENCH=1: regions of work handed out or cut into equal parts, alone and beside a foreign loop on one core. */
static int bench(void)
{
    Work w = { .pool = pool_new(workers_cores() < MAX_WORKERS ? workers_cores() : MAX_WORKERS) };
    for (int round = 0; round < 6; round++) {
        w.even = round % 2;
        int alone = regions_done(&w);
        Foreign f = { .core = last_core() };
        pthread_t t;
        if (pthread_create(&t, NULL, foreign_loop, &f) != 0) return 1;
        int beside = regions_done(&w);
        atomic_store(&f.stop, true);
        pthread_join(t, NULL);
        printf("%s: %d regions alone, %d beside a loop: %.2f; %llu pulls so far\n",
               w.even ? "equal parts" : "handed out ", alone, beside, (double)beside / alone,
               (unsigned long long)pool_pulls(w.pool));
    }
    pool_free(w.pool);
    return 0;
}

/* ---- Tasks ---- */

static void add_one(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
}

static void tasks_all_run(void **state)
{
    (void)state;
    atomic_int n = 0;
    Tasks *t = tasks_new(3, 16);
    int accepted = 0;
    while (accepted < 5000) {
        if (tasks_add(t, add_one, &n))
            accepted++;
        else
            sched_yield();
    }
    tasks_free(t);
    assert_int_equal(atomic_load(&n), 5000);
    tasks_free(NULL);
}

typedef struct {
    atomic_bool *gate;
    int *order, *n, id;
} Ordered;

static void run_ordered(void *arg)
{
    Ordered *o = arg;
    while (!atomic_load(o->gate)) sched_yield();
    o->order[(*o->n)++] = o->id;
}

static void tasks_keep_order_and_limit(void **state)
{
    (void)state;
    atomic_bool gate = false;
    int order[5], n = 0;
    Ordered jobs[6];
    Tasks *t = tasks_new(1, 4);
    for (int i = 0; i < 6; i++) jobs[i] = (Ordered){ &gate, order, &n, i };
    assert_true(tasks_add(t, run_ordered, &jobs[0]));
    nap_ms(20); /* the thread holds job 0 now: four more may wait */
    int accepted = 0;
    for (int i = 1; i < 6; i++) accepted += tasks_add(t, run_ordered, &jobs[i]);
    assert_in_range(accepted, 3, 4); /* 3 only if the thread has not even started */
    atomic_store(&gate, true);
    tasks_free(t);
    assert_int_equal(n, 1 + accepted);
    for (int i = 0; i < n; i++) assert_int_equal(order[i], i);
}

static void cores_at_least_one(void **state)
{
    (void)state;
    assert_true(workers_cores() >= 1);
}

int main(void)
{
    if (getenv("RADISH_BENCH")) return bench();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_worker_once),
        cmocka_unit_test(barrier_orders_writes),
        cmocka_unit_test(chunks_cover_once),
        cmocka_unit_test(shared_regions_cover_once),
        cmocka_unit_test(nodes_are_read),
        cmocka_unit_test(near_items_cover_once),
        cmocka_unit_test(region_allocates_nothing),
        cmocka_unit_test(idle_pool_sleeps),
        cmocka_unit_test(stopped_helpers_are_pulled),
        cmocka_unit_test(free_without_a_region),
        cmocka_unit_test(tasks_all_run),
        cmocka_unit_test(tasks_keep_order_and_limit),
        cmocka_unit_test(cores_at_least_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
