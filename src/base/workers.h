/* workers.h - two kinds of helping threads.
 *
 * A Pool runs one data-parallel region at a time for one owner thread (the engine): its threads spin
 * for a short while between regions and then sleep, so a decode step pays nanoseconds a region and an idle
 * server pays nothing. The owner takes part as worker 0.
 *
 * Tasks runs independent jobs (tokenizing, templates) on a few threads in the order given. */
#ifndef BASE_WORKERS_H
#define BASE_WORKERS_H

#include "base/base.h"

typedef struct Pool Pool;

Pool *pool_new(int n_threads);                           /* >= 1, the owner counted; 1 makes no thread */
Pool *pool_new_at(int n_threads, const char *nodes_dir); /* where the system describes its memory nodes; for tests */
void pool_free(Pool *p);
int pool_size(const Pool *p);
/* Calls fn(arg, worker, n_workers) once on every worker, returns when all have. Owner thread only. */
void pool_run(Pool *p, void (*fn)(void *arg, int worker, int n_workers), void *arg);
/* The same for regions that hand out all their work by pool_next: a helper that comes when none is left may not be called
 * at all, so nobody waits for a thread that the system is not running. No barriers inside. */
void pool_share(Pool *p, void (*fn)(void *arg, int worker, int n_workers), void *arg);
/* How often a helper that the system did not let run was given the owner's core. */
uint64_t pool_pulls(const Pool *p);
/* Inside a region: all workers wait for each other (about 35 ns on two idle cores). */
void pool_barrier(Pool *p);
/* Inside a region: hands out [0, n) in chunks; returns false when none is left. Counters start a region at zero; call pool_next_reset
 * from one worker between two pool_barriers before reusing a counter (there are POOL_COUNTERS). */
enum { POOL_COUNTERS = 8 };
bool pool_next(Pool *p, int counter, int n, int chunk, int *begin, int *end);
/* The same in runs that shrink as the end comes nearer, for items that are the same n in region after region: a worker gets
 * those of its memory node first, so that what it writes first (and the system therefore keeps near it) it reads later. */
bool pool_next_near(Pool *p, int counter, int worker, int n, int *begin, int *end);
int pool_node(const Pool *p, int worker); /* 0 where there is but one */
void pool_next_reset(Pool *p, int counter);
/* Lets the threads sleep at once: the engine is going idle. */
void pool_rest(Pool *p);

typedef struct Tasks Tasks;

Tasks *tasks_new(int n_threads, size_t max_waiting);
void tasks_free(Tasks *t);                                  /* finishes what was accepted */
bool tasks_add(Tasks *t, void (*fn)(void *arg), void *arg); /* false: too many waiting */

/* Cores this process may use (its affinity mask), at least 1. */
int workers_cores(void);

#endif
