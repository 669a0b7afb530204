/* workers.c - Pool: threads that run one data-parallel region at a time; Tasks: threads that run independent jobs.
 *
 * `region` is one word: the number of the region, whether its door is closed, and how many helpers went in. A helper goes in by
 * adding one to it, which fails once the door is closed. pool_run never closes it and waits for all; pool_share closes it
 * when the owner finds no work left and waits only for those inside: a helper that the system has not let run since the
 * region began is not waited for, which on a busy machine saves a time slice (milliseconds) a region.
 *
 * A helper that waits for a region spins for SPIN_IDLE_NS, because in a decode step the next one is a few microseconds away,
 * and then sleeps on a condition variable, because waking costs about 20 us but an idle server must cost nothing.
 * `n_asleep` tells the owner whether anybody has to be woken; it is raised before the last look at `region` and read after
 * changing that, both sequentially consistent, so one of the two sees the other.
 *
 * Waiting inside a region (barrier, end of the region) does not sleep: somebody is working, and waking costs more than most
 * waits. It spins for SPIN_BUSY_NS and then gives the core away between looks, so that more threads than cores only cost time.
 *
 * A foreign program that keeps one core busy gets half of it, in slices of 3 ms. When its slice begins, the worker on that core is
 * nearly always inside a region, and all others would wait the slice through: half the speed of the whole pool. So whoever
 * waits looks whether the awaited thread runs at all (its own clock moves). If not, an owner pulls the helper: it may run on the
 * owner's core only, where the owner goes to sleep for the few microseconds that the helper needs to finish; then it is
 * sent to the other cores, and until it gets time there, regions run without it. A helper that waits for a stopped owner
 * gives it its own core and goes to the others itself. When the pool is idle, helpers may go home again. The owner may
 * always run anywhere but for that moment.
 *
 * Where memory is in several nodes, workers are dealt to the nodes by their cores, in order, and a helper's home is its node. A
 * counter of pool_next_near has a part for each node.
 *
 * Threads: pool_run, pool_rest and pool_free belong to the owner; the rest is for any worker of a region. */
#include "base/workers.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/nodes.h"

enum { CACHE_LINE = 64, LOOKS_PER_CLOCK = 64, RUNS_LEFT = 3 /* runs a worker that what is left is cut into */ };
static const uint64_t CLOSED = 1u << 31, INSIDE = CLOSED - 1;
static const int64_t SPIN_IDLE_NS = 300 * 1000; /* between regions, before sleeping */
static const int64_t SPIN_BUSY_NS = 20 * 1000;  /* inside a region, before yielding */
static const int64_t STUCK_NS = 20 * 1000;      /* without running: the system has something else on that core */

#if defined(__x86_64__) || defined(__i386__)
static inline void relax(void)
{
    __builtin_ia32_pause();
}
#elif defined(__aarch64__)
static inline void relax(void)
{
    __asm__ volatile("yield");
}
#else
static inline void relax(void)
{
}
#endif

/* ---- threads ---- */

/* Sleeps unless *word is no longer `seen`; may return early. */
static void futex_wait(atomic_uint *word, unsigned seen)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(atomic_uint *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* Helpers take no signals: those are for the thread that reads them. False: the system has no thread to give. */
static bool start(pthread_t *out, const char *name, void *(*body)(void *), void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool ok = pthread_create(out, NULL, body, arg) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (ok) pthread_setname_np(*out, name);
    return ok;
}

int workers_cores(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    long n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : (int)n;
}

/* ---- Pool ---- */

typedef struct {
    alignas(CACHE_LINE) atomic_int next;
} Counter;

/* One of the pool's threads, as the others see it. */
typedef struct {
    atomic_int tid;     /* 0: not known yet */
    atomic_int clock;   /* clockid_t of the time that it ran */
    atomic_bool inside; /* a region */
} Runner;

typedef struct {
    alignas(CACHE_LINE) Runner runner;
    Pool *pool;
    int index;
    atomic_bool pulled;   /* to the owner's core: it sleeps when it has done its part */
    atomic_bool kept_off; /* a core that it may use when the pool is idle */
    cpu_set_t home;       /* cores that it may run on */
} Helper;

struct Pool {
    alignas(CACHE_LINE) _Atomic uint64_t region;      /* number << 32 | CLOSED | helpers that went in */
    void (*fn)(void *arg, int worker, int n_workers); /* published by region */
    void *arg;
    atomic_bool resting, stopping;
    alignas(CACHE_LINE) atomic_uint n_done; /* helpers that finished this region */
    atomic_bool owner_sleeps;               /* until n_done changes */
    alignas(CACHE_LINE) Runner owner;
    pthread_t owner_thread; /* whose tid that is */
    alignas(CACHE_LINE) atomic_int n_arrived;
    alignas(CACHE_LINE) atomic_uint phase; /* barriers passed */
    Counter counters[POOL_COUNTERS][NODES_MAX];
    alignas(CACHE_LINE) atomic_int n_asleep;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int n; /* workers, the owner counted */
    int n_nodes;
    int first[NODES_MAX + 1]; /* worker of each node */
    cpu_set_t cores;          /* that this process may use */
    bool can_pull;            /* this system lets us see and move threads, and there are cores to choose from */
    atomic_ulong n_pulls;     /* of helpers and owner */
    atomic_bool moving_owner;
    bool crowded;       /* more workers than cores: spinning would only keep the others from running */
    pthread_t *threads; /* [n - 1] */
    Helper *helpers;    /* [n - 1] */
    Arena *arena;       /* holds all of this, on cache lines of its own */
};

/* A wait in progress: all zero at first. */
typedef struct {
    uint32_t looks;
    int64_t since, now;     /* of the first and the last look at the clock; 0: none yet */
    const Runner *watched;  /* is it running? */
    int64_t ran, ran_since; /* its own time at ran_since */
} Wait;

/* One look's worth of waiting. Returns false once budget_ns have passed since the first look at the clock. */
static bool spin(Wait *w, int64_t budget_ns)
{
    relax();
    if (++w->looks % LOOKS_PER_CLOCK) return true;
    w->now = clock_ns();
    if (!w->since) w->since = w->now;
    return w->now - w->since < budget_ns;
}

/* Waits inside a region until *word is no longer `old`. */
static void wait_change(const Pool *p, atomic_uint *word, unsigned old)
{
    Wait w = { 0 };
    bool spinning = !p->crowded;
    while (atomic_load_explicit(word, memory_order_acquire) == old) {
        if (spinning)
            spinning = spin(&w, SPIN_BUSY_NS);
        else
            sched_yield();
    }
}

/* ---- who runs where: see the head of this file ---- */

static void runner_init(Runner *r)
{
    clockid_t clock;
    int tid = pthread_getcpuclockid(pthread_self(), &clock) == 0 ? (int)syscall(SYS_gettid) : 0;
    atomic_store_explicit(&r->clock, clock, memory_order_relaxed);
    atomic_store_explicit(&r->tid, tid, memory_order_release);
}

/* Nanoseconds that it ran so far. */
static int64_t ran_ns(const Runner *r)
{
    struct timespec t;
    if (clock_gettime(atomic_load_explicit(&r->clock, memory_order_relaxed), &t) != 0) return 0;
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* It is inside a region and has not run at all for STUCK_NS. Called again and again while waiting; looks at the clocks only
 * when spin() has. */
static bool is_stopped(Wait *w, const Runner *r)
{
    if (!atomic_load_explicit(&r->inside, memory_order_relaxed) ||
        !atomic_load_explicit(&r->tid, memory_order_acquire)) {
        w->watched = NULL;
        return false;
    }
    if (w->watched == r && w->now - w->ran_since < STUCK_NS) return false;
    int64_t ran = ran_ns(r);
    bool stopped = w->watched == r && ran == w->ran;
    w->watched = r;
    w->ran = ran;
    w->ran_since = w->now;
    return stopped;
}

/* Lets the thread (0: this one) run on this core only, or on all the others. */
static bool move(const Pool *p, int tid, int core, bool here)
{
    cpu_set_t set = p->cores;
    if (here) {
        CPU_ZERO(&set);
        CPU_SET((size_t)core, &set);
    } else {
        CPU_CLR((size_t)core, &set);
    }
    return sched_setaffinity(tid, sizeof set, &set) == 0;
}

/* For a helper: gives this core to the owner and leaves it. */
static void make_way(Helper *h)
{
    Pool *p = h->pool;
    int core = sched_getcpu(), tid = atomic_load_explicit(&p->owner.tid, memory_order_relaxed);
    if (atomic_exchange_explicit(&p->moving_owner, true, memory_order_acq_rel)) return; /* another helper does */
    if (core >= 0 && core < CPU_SETSIZE && move(p, tid, core, true)) {
        move(p, 0, core, false); /* goes on when that core has time */
        sched_setaffinity(tid, sizeof p->cores, &p->cores);
        atomic_store_explicit(&h->kept_off, true, memory_order_relaxed);
        atomic_fetch_add_explicit(&p->n_pulls, 1, memory_order_relaxed);
    }
    atomic_store_explicit(&p->moving_owner, false, memory_order_release);
}

/* For the owner: lets the helper finish here, sleeping, then sends it to the other cores. */
static void pull(Pool *p, Helper *h, unsigned done)
{
    int core = sched_getcpu(), tid = atomic_load_explicit(&h->runner.tid, memory_order_relaxed);
    if (core < 0 || core >= CPU_SETSIZE) return;
    atomic_store_explicit(&h->pulled, true, memory_order_relaxed);
    if (move(p, tid, core, true)) {
        atomic_store(&p->owner_sleeps, true);
        if (atomic_load(&p->n_done) == done) futex_wait(&p->n_done, done);
        atomic_store_explicit(&p->owner_sleeps, false, memory_order_relaxed);
        move(p, tid, core, false);
        atomic_store_explicit(&h->kept_off, true, memory_order_relaxed);
        atomic_fetch_add_explicit(&p->n_pulls, 1, memory_order_relaxed);
    }
    atomic_store_explicit(&h->pulled, false, memory_order_relaxed);
}

/* ---- helpers ---- */

static unsigned region_number(uint64_t region)
{
    return (unsigned)(region >> 32);
}

static void sleep_until_work(Pool *p, unsigned seen)
{
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->n_asleep, 1);
    while (region_number(atomic_load(&p->region)) == seen && !atomic_load(&p->stopping)) {
        pthread_cond_wait(&p->wake, &p->lock);
    }
    atomic_fetch_sub(&p->n_asleep, 1);
    pthread_mutex_unlock(&p->lock);
}

/* Waits for a region that is not `seen`; 0: the pool ends. */
static uint64_t next_region(Helper *h, unsigned seen)
{
    Pool *p = h->pool;
    Wait w = { 0 };
    for (;;) {
        uint64_t region = atomic_load_explicit(&p->region, memory_order_acquire);
        if (region_number(region) != seen) return region;
        if (atomic_load_explicit(&p->stopping, memory_order_relaxed)) return 0;
        bool rest = p->crowded || atomic_load_explicit(&p->resting, memory_order_relaxed) ||
                    atomic_load_explicit(&h->pulled, memory_order_relaxed);
        if (!rest && spin(&w, SPIN_IDLE_NS)) {
            if (p->can_pull && w.now - w.since > SPIN_BUSY_NS && is_stopped(&w, &p->owner)) make_way(h);
            continue;
        }
        if (!rest && atomic_exchange_explicit(&h->kept_off, false, memory_order_relaxed))
            sched_setaffinity(0, sizeof h->home, &h->home);
        sleep_until_work(p, seen);
        w = (Wait){ 0 };
    }
}

static bool go_in(Pool *p, uint64_t region)
{
    while (!(region & CLOSED)) {
        unsigned number = region_number(region);
        if (atomic_compare_exchange_weak_explicit(&p->region, &region, region + 1, memory_order_acq_rel,
                                                  memory_order_acquire)) {
            return true;
        }
        if (region_number(region) != number) return false; /* the next one has begun: start over with it */
    }
    return false;
}

static void *helper_main(void *arg)
{
    Helper *h = arg;
    Pool *p = h->pool;
    unsigned seen = 0;
    if (p->n_nodes > 1) sched_setaffinity(0, sizeof h->home, &h->home);
    runner_init(&h->runner);
    for (uint64_t region; (region = next_region(h, seen));) {
        seen = region_number(region);
        if (!go_in(p, region)) continue;
        atomic_store_explicit(&h->runner.inside, true, memory_order_relaxed);
        p->fn(p->arg, h->index, p->n);
        atomic_store_explicit(&h->runner.inside, false, memory_order_relaxed);
        atomic_fetch_add(&p->n_done, 1);
        if (atomic_load(&p->owner_sleeps)) futex_wake(&p->n_done);
    }
    return NULL;
}

static void wake_all(Pool *p)
{
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

/* Deals n workers to the nodes as the cores lie. */
static void deal_workers(Pool *p, const Nodes *nodes, int n)
{
    int total = 0, before = 0;
    for (int i = 0; i < nodes->n; i++) total += CPU_COUNT(&nodes->cores[i]);
    p->n_nodes = nodes->n;
    for (int i = 0; i < nodes->n; i++) {
        before += CPU_COUNT(&nodes->cores[i]);
        p->first[i + 1] = (int)((int64_t)n * before / total);
        for (int w = MAX(1, p->first[i]); w < p->first[i + 1]; w++) p->helpers[w - 1].home = nodes->cores[i];
    }
}

Pool *pool_new(int n_threads)
{
    return pool_new_at(n_threads, NODES_DIR);
}

Pool *pool_new_at(int n_threads, const char *nodes_dir)
{
    CHECK(n_threads >= 1);
    Nodes nodes;
    Arena *arena = arena_new(0);
    Pool *p = ARENA_NEW(arena, Pool, 1);
    p->arena = arena;
    p->n = 1;
    p->threads = ARENA_NEW(arena, pthread_t, (size_t)n_threads);
    p->helpers = ARENA_NEW(arena, Helper, (size_t)n_threads);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    p->crowded = n_threads > workers_cores();
    p->can_pull = !p->crowded && sched_getaffinity(0, sizeof p->cores, &p->cores) == 0;
    for (int i = 0; i < n_threads - 1; i++) p->helpers[i] = (Helper){ .pool = p, .index = i + 1, .home = p->cores };
    p->n_nodes = 1;
    p->first[1] = n_threads;
    if (p->can_pull) {
        nodes_find(nodes_dir, &p->cores, &nodes);
        deal_workers(p, &nodes, n_threads);
    }
    for (int i = 0; i < n_threads - 1; i++) {
        if (!start(&p->threads[i], "radish-pool", helper_main, &p->helpers[i])) break; /* fewer workers, same results */
        p->n++;
    }
    return p;
}

void pool_free(Pool *p)
{
    if (!p) return;
    atomic_store(&p->stopping, true);
    wake_all(p);
    for (int i = 0; i < p->n - 1; i++) pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    arena_free(p->arena);
}

int pool_size(const Pool *p)
{
    return p->n;
}

/* Opens a region and takes part in it. */
static void open_region(Pool *p, void (*fn)(void *arg, int worker, int n_workers), void *arg)
{
    for (int i = 0; i < POOL_COUNTERS; i++) {
        for (int j = 0; j < p->n_nodes; j++) {
            atomic_int *next =
                &p->counters[i][j].next; /* a counter that nobody used costs one read of a line we have */
            if (atomic_load_explicit(next, memory_order_relaxed)) atomic_store_explicit(next, 0, memory_order_relaxed);
        }
    }
    if (p->n > 1) {
        p->fn = fn;
        p->arg = arg;
        atomic_store_explicit(&p->resting, false, memory_order_relaxed);
        if (!atomic_load_explicit(&p->owner.tid, memory_order_relaxed) ||
            !pthread_equal(p->owner_thread, pthread_self())) {
            p->owner_thread = pthread_self();
            runner_init(&p->owner);
        }
        atomic_store_explicit(&p->owner.inside, true, memory_order_relaxed);
        atomic_store_explicit(&p->n_done, 0, memory_order_relaxed);
        unsigned number = region_number(atomic_load_explicit(&p->region, memory_order_relaxed)) + 1;
        atomic_store(&p->region, (uint64_t)(number ? number : 1) << 32);
        if (atomic_load(&p->n_asleep)) wake_all(p);
    }
    fn(arg, 0, p->n);
}

/* A helper that stopped inside this region; NULL: the first one that we wait for runs. */
static Helper *find_stopped(Pool *p, Wait *w)
{
    for (int i = 0; p->can_pull && i < p->n - 1; i++) {
        Helper *h = &p->helpers[i];
        if (!atomic_load_explicit(&h->runner.inside, memory_order_relaxed)) continue;
        return is_stopped(w, &h->runner) ? h : NULL;
    }
    return NULL;
}

static void wait_done(Pool *p, unsigned n)
{
    Wait w = { 0 };
    for (unsigned done; (done = atomic_load_explicit(&p->n_done, memory_order_acquire)) < n;) {
        if (!p->crowded && spin(&w, SPIN_BUSY_NS)) continue;
        Helper *stopped = find_stopped(p, &w);
        if (stopped)
            pull(p, stopped, done);
        else
            sched_yield();
    }
}

void pool_run(Pool *p, void (*fn)(void *arg, int worker, int n_workers), void *arg)
{
    open_region(p, fn, arg);
    wait_done(p, (unsigned)p->n - 1);
    atomic_store_explicit(&p->owner.inside, false, memory_order_relaxed);
}

void pool_share(Pool *p, void (*fn)(void *arg, int worker, int n_workers), void *arg)
{
    open_region(p, fn, arg);
    if (p->n > 1) wait_done(p, (unsigned)(atomic_fetch_or(&p->region, CLOSED) & INSIDE));
    atomic_store_explicit(&p->owner.inside, false, memory_order_relaxed);
}

uint64_t pool_pulls(const Pool *p)
{
    return atomic_load_explicit(&p->n_pulls, memory_order_relaxed);
}

void pool_barrier(Pool *p)
{
    if (p->n == 1) return;
    unsigned phase = atomic_load_explicit(&p->phase, memory_order_relaxed); /* cannot move before we arrive */
    if (atomic_fetch_add_explicit(&p->n_arrived, 1, memory_order_acq_rel) == p->n - 1) {
        atomic_store_explicit(&p->n_arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&p->phase, phase + 1, memory_order_release);
    } else {
        wait_change(p, &p->phase, phase);
    }
}

bool pool_next(Pool *p, int counter, int n, int chunk, int *begin, int *end)
{
    DEBUG_CHECK(counter >= 0 && counter < POOL_COUNTERS && chunk > 0);
    atomic_int *next = &p->counters[counter][0].next;
    if (atomic_load_explicit(next, memory_order_relaxed) >= n) return false; /* keeps the sum from ever overflowing */
    int at = atomic_fetch_add_explicit(next, chunk, memory_order_relaxed);
    if (at >= n) return false;
    *begin = at;
    *end = chunk < n - at ? at + chunk : n;
    return true;
}

/* A run of what is left of node's items, [n * first[node] / workers, n * first[node + 1] / workers). */
static bool next_of_node(Pool *p, int counter, int node, int n, int *begin, int *end)
{
    atomic_int *next = &p->counters[counter][node].next;
    int from = (int)((int64_t)n * p->first[node] / p->first[p->n_nodes]);
    int size = (int)((int64_t)n * p->first[node + 1] / p->first[p->n_nodes]) - from;
    int at = atomic_load_explicit(next, memory_order_relaxed), workers = p->first[node + 1] - p->first[node];
    if (at >= size) return false;
    int run = MAX(1, (size - at) / (RUNS_LEFT * workers));
    at = atomic_fetch_add_explicit(next, run, memory_order_relaxed);
    if (at >= size) return false;
    *begin = from + at;
    *end = from + MIN(at + run, size);
    return true;
}

bool pool_next_near(Pool *p, int counter, int worker, int n, int *begin, int *end)
{
    DEBUG_CHECK(counter >= 0 && counter < POOL_COUNTERS && worker < p->n);
    int node = pool_node(p, worker);
    for (int i = 0; i < p->n_nodes; i++) {
        if (next_of_node(p, counter, (node + i) % p->n_nodes, n, begin, end)) return true;
    }
    return false;
}

int pool_node(const Pool *p, int worker)
{
    int node = 0;
    while (node < p->n_nodes - 1 && worker >= p->first[node + 1]) node++;
    return node;
}

void pool_next_reset(Pool *p, int counter)
{
    for (int i = 0; i < p->n_nodes; i++) atomic_store_explicit(&p->counters[counter][i].next, 0, memory_order_relaxed);
}

void pool_rest(Pool *p)
{
    atomic_store_explicit(&p->resting, true, memory_order_relaxed);
}

/* ---- Tasks ---- */

typedef struct {
    void (*fn)(void *arg);
    void *arg;
} Task;

struct Tasks {
    pthread_mutex_t lock; /* of everything below */
    pthread_cond_t more;
    Task *ring; /* [max] */
    size_t first, n, max;
    bool closing;
    int n_threads;
    pthread_t threads[];
};

static void *tasks_main(void *arg)
{
    Tasks *t = arg;
    pthread_mutex_lock(&t->lock);
    for (;;) {
        while (!t->n && !t->closing) pthread_cond_wait(&t->more, &t->lock);
        if (!t->n) break;
        Task task = t->ring[t->first];
        t->first = (t->first + 1) % t->max;
        t->n--;
        pthread_mutex_unlock(&t->lock);
        task.fn(task.arg);
        pthread_mutex_lock(&t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

Tasks *tasks_new(int n_threads, size_t max_waiting)
{
    CHECK(n_threads >= 1 && max_waiting >= 1);
    Tasks *t = mem_alloc(sizeof *t + (size_t)n_threads * sizeof(pthread_t));
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->more, NULL);
    t->max = max_waiting;
    t->ring = mem_alloc_array(max_waiting, sizeof *t->ring);
    for (int i = 0; i < n_threads; i++) {
        if (!start(&t->threads[i], "radish-task", tasks_main, t)) break;
        t->n_threads++;
    }
    CHECK(t->n_threads > 0);
    return t;
}

void tasks_free(Tasks *t)
{
    if (!t) return;
    pthread_mutex_lock(&t->lock);
    t->closing = true;
    pthread_cond_broadcast(&t->more);
    pthread_mutex_unlock(&t->lock);
    for (int i = 0; i < t->n_threads; i++) pthread_join(t->threads[i], NULL);
    pthread_cond_destroy(&t->more);
    pthread_mutex_destroy(&t->lock);
    mem_free(t->ring);
    mem_free(t);
}

bool tasks_add(Tasks *t, void (*fn)(void *arg), void *arg)
{
    pthread_mutex_lock(&t->lock);
    bool room = t->n < t->max && !t->closing;
    if (room) {
        t->ring[(t->first + t->n) % t->max] = (Task){ fn, arg };
        t->n++;
        pthread_cond_signal(&t->more);
    }
    pthread_mutex_unlock(&t->lock);
    return room;
}
