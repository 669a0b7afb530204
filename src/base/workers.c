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
 * Waiting inside a region (barrier, end of the region) never sleeps: somebody is working. It spins for SPIN_BUSY_NS and
 * then gives the core away between looks, so that more threads than cores, or a busy neighbour, only cost time.
 *
 * Threads: pool_run, pool_rest and pool_free belong to the owner; the rest is for any worker of a region. */
#include "base/workers.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <unistd.h>

enum { CACHE_LINE = 64, LOOKS_PER_CLOCK = 64 };
static const uint64_t CLOSED = 1u << 31, INSIDE = CLOSED - 1;
static const int64_t SPIN_IDLE_NS = 300 * 1000; /* between regions, before sleeping */
static const int64_t SPIN_BUSY_NS = 20 * 1000;  /* inside a region, before yielding */

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

typedef struct {
    Pool *pool;
    int index;
} Helper;

struct Pool {
    alignas(CACHE_LINE) _Atomic uint64_t region;      /* number << 32 | CLOSED | helpers that went in */
    void (*fn)(void *arg, int worker, int n_workers); /* published by region */
    void *arg;
    atomic_bool resting, stopping;
    alignas(CACHE_LINE) atomic_int n_done; /* helpers that finished this region */
    alignas(CACHE_LINE) atomic_int n_arrived;
    alignas(CACHE_LINE) atomic_uint phase; /* barriers passed */
    Counter counters[POOL_COUNTERS];
    alignas(CACHE_LINE) atomic_int n_asleep;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int n;              /* workers, the owner counted */
    bool crowded;       /* more workers than cores: spinning would only keep the others from running */
    pthread_t *threads; /* [n - 1] */
    Helper *helpers;    /* [n - 1] */
    Arena *arena;       /* holds all of this, on cache lines of its own */
};

/* One look's worth of waiting. Returns false once budget_ns have passed since the first look. */
static bool spin(uint32_t *looks, int64_t *since, int64_t budget_ns)
{
    relax();
    if (++*looks % LOOKS_PER_CLOCK) return true;
    int64_t now = clock_ns();
    if (!*since) *since = now;
    return now - *since < budget_ns;
}

/* Waits inside a region until *word is no longer `old`. */
static void wait_change(const Pool *p, atomic_uint *word, unsigned old)
{
    uint32_t looks = 0;
    int64_t since = 0;
    bool spinning = !p->crowded;
    while (atomic_load_explicit(word, memory_order_acquire) == old) {
        if (spinning)
            spinning = spin(&looks, &since, SPIN_BUSY_NS);
        else
            sched_yield();
    }
}

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
static uint64_t next_region(Pool *p, unsigned seen)
{
    uint32_t looks = 0;
    int64_t since = 0;
    for (;;) {
        uint64_t region = atomic_load_explicit(&p->region, memory_order_acquire);
        if (region_number(region) != seen) return region;
        if (atomic_load_explicit(&p->stopping, memory_order_relaxed)) return 0;
        bool rest = p->crowded || atomic_load_explicit(&p->resting, memory_order_relaxed);
        if (rest || !spin(&looks, &since, SPIN_IDLE_NS)) {
            sleep_until_work(p, seen);
            looks = 0;
            since = 0;
        }
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
    for (uint64_t region; (region = next_region(p, seen));) {
        seen = region_number(region);
        if (!go_in(p, region)) continue;
        p->fn(p->arg, h->index, p->n);
        atomic_fetch_add_explicit(&p->n_done, 1, memory_order_release);
    }
    return NULL;
}

static void wake_all(Pool *p)
{
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

Pool *pool_new(int n_threads)
{
    CHECK(n_threads >= 1);
    Arena *arena = arena_new(0);
    Pool *p = ARENA_NEW(arena, Pool, 1);
    p->arena = arena;
    p->n = 1;
    p->threads = ARENA_NEW(arena, pthread_t, (size_t)n_threads);
    p->helpers = ARENA_NEW(arena, Helper, (size_t)n_threads);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    p->crowded = n_threads > workers_cores();
    for (int i = 0; i < n_threads - 1; i++) {
        p->helpers[i] = (Helper){ p, i + 1 };
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
        atomic_int *next = &p->counters[i].next; /* a counter that nobody used costs one read of a line we have */
        if (atomic_load_explicit(next, memory_order_relaxed)) atomic_store_explicit(next, 0, memory_order_relaxed);
    }
    if (p->n > 1) {
        p->fn = fn;
        p->arg = arg;
        atomic_store_explicit(&p->resting, false, memory_order_relaxed);
        atomic_store_explicit(&p->n_done, 0, memory_order_relaxed);
        unsigned number = region_number(atomic_load_explicit(&p->region, memory_order_relaxed)) + 1;
        atomic_store(&p->region, (uint64_t)(number ? number : 1) << 32);
        if (atomic_load(&p->n_asleep)) wake_all(p);
    }
    fn(arg, 0, p->n);
}

static void wait_done(Pool *p, int n)
{
    uint32_t looks = 0;
    int64_t since = 0;
    bool spinning = !p->crowded;
    while (atomic_load_explicit(&p->n_done, memory_order_acquire) < n) {
        if (spinning)
            spinning = spin(&looks, &since, SPIN_BUSY_NS);
        else
            sched_yield();
    }
}

void pool_run(Pool *p, void (*fn)(void *arg, int worker, int n_workers), void *arg)
{
    open_region(p, fn, arg);
    wait_done(p, p->n - 1);
}

void pool_share(Pool *p, void (*fn)(void *arg, int worker, int n_workers), void *arg)
{
    open_region(p, fn, arg);
    if (p->n > 1) wait_done(p, (int)(atomic_fetch_or(&p->region, CLOSED) & INSIDE));
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
    atomic_int *next = &p->counters[counter].next;
    if (atomic_load_explicit(next, memory_order_relaxed) >= n) return false; /* keeps the sum from ever overflowing */
    int at = atomic_fetch_add_explicit(next, chunk, memory_order_relaxed);
    if (at >= n) return false;
    *begin = at;
    *end = chunk < n - at ? at + chunk : n;
    return true;
}

void pool_next_reset(Pool *p, int counter)
{
    atomic_store_explicit(&p->counters[counter].next, 0, memory_order_relaxed);
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
