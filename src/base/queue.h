/* queue.h - a bounded queue of pointers between threads: many producers, one or many consumers.
 * Threads meet only here. A consumer may sleep in queue_wait, or watch queue_fd in an event loop:
 * the fd becomes readable when the queue goes from empty to not empty. */
#ifndef BASE_QUEUE_H
#define BASE_QUEUE_H

#include "base/base.h"

typedef struct Queue Queue;

Queue *queue_new(size_t capacity);
void queue_free(Queue *q);                  /* NULL is fine; items still inside are the caller's to have drained */
bool queue_push(Queue *q, void *item);      /* false: full or closed, the item stays the caller's */
bool queue_push_wait(Queue *q, void *item); /* waits for room; false: closed */
size_t queue_pop(Queue *q, void **items, size_t max); /* takes what is there, up to max; never waits */
/* Waits until something is there, the queue is closed or woken, or timeout_ns passed (-1: no limit). */
size_t queue_pop_wait(Queue *q, void **items, size_t max, int64_t timeout_ns);
void queue_wake(Queue *q);  /* ends one queue_pop_wait without an item */
void queue_close(Queue *q); /* pushes fail from now on; what is inside can still be popped */
bool queue_closed(const Queue *q);
size_t queue_count(const Queue *q);
int queue_fd(Queue *q);        /* an eventfd, made on first call */
void queue_fd_clear(Queue *q); /* before draining on a wake-up of the fd */

#endif
