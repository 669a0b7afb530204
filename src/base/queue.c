/* queue.c - a ring of pointers under a mutex. The lock is held for a few instructions; what matters for speed is that a
 * consumer takes many items at once and that the eventfd is written only when the queue stops being empty. */
#include "base/queue.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct Queue {
    pthread_mutex_t lock;
    pthread_cond_t not_empty, not_full;
    void **ring;
    size_t capacity, head, count;
    bool closed, woken;
    int fd;
};

Queue *queue_new(size_t capacity)
{
    CHECK(capacity > 0);
    Queue *q = mem_alloc(sizeof *q);
    q->ring = mem_alloc_array(capacity, sizeof *q->ring);
    q->capacity = capacity;
    q->fd = -1;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->not_empty, &monotonic);
    pthread_cond_init(&q->not_full, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return q;
}

void queue_free(Queue *q)
{
    if (!q) return;
    if (q->fd >= 0) close(q->fd);
    pthread_cond_destroy(&q->not_empty);
    pthread_cond_destroy(&q->not_full);
    pthread_mutex_destroy(&q->lock);
    mem_free(q->ring);
    mem_free(q);
}

static void ring_fd(const Queue *q)
{
    uint64_t one = 1;
    if (q->fd >= 0) {
        ssize_t ignored = write(q->fd, &one, sizeof one);
        (void)ignored;
    }
}

static void put(Queue *q, void *item)
{
    q->ring[(q->head + q->count) % q->capacity] = item;
    if (q->count++ == 0) ring_fd(q);
    pthread_cond_signal(&q->not_empty);
}

bool queue_push(Queue *q, void *item)
{
    pthread_mutex_lock(&q->lock);
    bool fits = !q->closed && q->count < q->capacity;
    if (fits) put(q, item);
    pthread_mutex_unlock(&q->lock);
    return fits;
}

bool queue_push_wait(Queue *q, void *item)
{
    pthread_mutex_lock(&q->lock);
    while (!q->closed && q->count == q->capacity) pthread_cond_wait(&q->not_full, &q->lock);
    bool open = !q->closed;
    if (open) put(q, item);
    pthread_mutex_unlock(&q->lock);
    return open;
}

static size_t take(Queue *q, void **items, size_t max)
{
    size_t n = MIN(q->count, max);
    for (size_t i = 0; i < n; i++) items[i] = q->ring[(q->head + i) % q->capacity];
    q->head = (q->head + n) % q->capacity;
    q->count -= n;
    if (n) pthread_cond_broadcast(&q->not_full);
    return n;
}

size_t queue_pop(Queue *q, void **items, size_t max)
{
    pthread_mutex_lock(&q->lock);
    size_t n = take(q, items, max);
    pthread_mutex_unlock(&q->lock);
    return n;
}

size_t queue_pop_wait(Queue *q, void **items, size_t max, int64_t timeout_ns)
{
    struct timespec until;
    if (timeout_ns >= 0) {
        int64_t t = clock_ns() + timeout_ns;
        until = (struct timespec){ t / 1000000000, t % 1000000000 };
    }
    pthread_mutex_lock(&q->lock);
    while (q->count == 0 && !q->closed && !q->woken) {
        if (timeout_ns < 0)
            pthread_cond_wait(&q->not_empty, &q->lock);
        else if (pthread_cond_timedwait(&q->not_empty, &q->lock, &until) == ETIMEDOUT)
            break;
    }
    q->woken = false;
    size_t n = take(q, items, max);
    pthread_mutex_unlock(&q->lock);
    return n;
}

void queue_wake(Queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->woken = true;
    ring_fd(q);
    pthread_cond_broadcast(&q->not_empty);
    pthread_mutex_unlock(&q->lock);
}

void queue_close(Queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    ring_fd(q);
    pthread_cond_broadcast(&q->not_empty);
    pthread_cond_broadcast(&q->not_full);
    pthread_mutex_unlock(&q->lock);
}

bool queue_closed(const Queue *q)
{
    Queue *m = (Queue *)(uintptr_t)q; /* only the lock changes */
    pthread_mutex_lock(&m->lock);
    bool closed = q->closed;
    pthread_mutex_unlock(&m->lock);
    return closed;
}

size_t queue_count(const Queue *q)
{
    Queue *m = (Queue *)(uintptr_t)q;
    pthread_mutex_lock(&m->lock);
    size_t n = q->count;
    pthread_mutex_unlock(&m->lock);
    return n;
}

int queue_fd(Queue *q)
{
    pthread_mutex_lock(&q->lock);
    if (q->fd < 0) {
        q->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        CHECK(q->fd >= 0);
        if (q->count) ring_fd(q);
    }
    int fd = q->fd;
    pthread_mutex_unlock(&q->lock);
    return fd;
}

void queue_fd_clear(Queue *q)
{
    uint64_t n;
    ssize_t ignored = read(queue_fd(q), &n, sizeof n);
    (void)ignored;
}
