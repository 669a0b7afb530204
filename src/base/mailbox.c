/* mailbox.c - two byte buffers and a lock. A record is its length in eight bytes, then the bytes, padded to eight. */
#include "base/mailbox.h"

#include <pthread.h>

struct Mailbox {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    Buf in;      /* writers', under the lock */
    bool closed; /* under the lock */
    Buf out;     /* the reader's */
    size_t at;
};

Mailbox *mailbox_new(void)
{
    Mailbox *m = mem_alloc(sizeof *m);
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->filled, NULL);
    return m;
}

void mailbox_free(Mailbox *m)
{
    if (!m) return;
    pthread_cond_destroy(&m->filled);
    pthread_mutex_destroy(&m->lock);
    buf_free(&m->in);
    buf_free(&m->out);
    mem_free(m);
}

static size_t padded(size_t n)
{
    return (n + 7) / 8 * 8;
}

void mailbox_put(Mailbox *m, const void *head, size_t n_head, const void *tail, size_t n_tail)
{
    uint64_t n = n_head + n_tail;
    pthread_mutex_lock(&m->lock);
    if (!m->closed) {
        bool was_empty = m->in.n == 0;
        buf_reserve(&m->in, sizeof n + padded(n));
        buf_add(&m->in, &n, sizeof n);
        buf_add(&m->in, head, n_head);
        buf_add(&m->in, tail, n_tail);
        buf_add(&m->in, "\0\0\0\0\0\0\0", padded(n) - n);
        if (was_empty) pthread_cond_signal(&m->filled);
    }
    pthread_mutex_unlock(&m->lock);
}

bool mailbox_wait(Mailbox *m)
{
    buf_clear(&m->out);
    m->at = 0;
    pthread_mutex_lock(&m->lock);
    while (m->in.n == 0 && !m->closed) pthread_cond_wait(&m->filled, &m->lock);
    Buf empty = m->out;
    m->out = m->in;
    m->in = empty;
    pthread_mutex_unlock(&m->lock);
    return m->out.n > 0;
}

const void *mailbox_next(Mailbox *m, size_t *n)
{
    if (m->at >= m->out.n) return NULL;
    uint64_t size;
    memcpy(&size, m->out.p + m->at, sizeof size);
    const void *record = m->out.p + m->at + sizeof size;
    m->at += sizeof size + padded(size);
    *n = size;
    return record;
}

void mailbox_close(Mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    m->closed = true;
    pthread_cond_signal(&m->filled);
    pthread_mutex_unlock(&m->lock);
}
