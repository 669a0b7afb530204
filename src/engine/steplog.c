/* steplog.c - a ring of the last steps, told line by line.
 *
 * Each record is a sequence lock over atomic words: whoever reads while the engine writes leaves that record out. A line is
 * put together on the stack and written by one call, so that nothing is needed that a dying process may lack.
 * Thread: the engine's; steplog_dump any. */
#include "engine/steplog.h"

#include <stdio.h>
#include <unistd.h>

void steplog_picked(StepRecord *r, const Batch *b)
{
    r->n_seq = b->n;
    r->n_prefill = b->n_prefill;
    r->n_decode = b->n_decode;
    r->n_logit = b->device.n_logit;
    r->max_pages = b->device.max_pages;
    for (int i = 0; i < MIN(b->n, STEPLOG_PICKED); i++) {
        r->picked[i].id = b->seq_id[i];
        r->picked[i].rows = b->seq_start[i + 1] - b->seq_start[i];
        r->picked[i].len = b->seq_len[i];
    }
}

void steplog_put(StepLog *l, const StepRecord *r)
{
    uint64_t word[STEPLOG_WORDS] = { 0 };
    memcpy(word, r, sizeof *r);
    _Atomic uint64_t *version = &l->ring[r->step % STEPLOG_STEPS].version, *to = l->ring[r->step % STEPLOG_STEPS].word;
    uint64_t old = atomic_load_explicit(version, memory_order_relaxed);
    atomic_store_explicit(version, old + 1, memory_order_relaxed);
    for (int i = 0; i < STEPLOG_WORDS; i++) atomic_store_explicit(&to[i], word[i], memory_order_release);
    atomic_store_explicit(version, old + 2, memory_order_release);
    atomic_store_explicit(&l->n, r->step, memory_order_release);
}

static bool get(const StepLog *l, uint64_t step, StepRecord *out)
{
    const _Atomic uint64_t *version = &l->ring[step % STEPLOG_STEPS].version,
                           *from = l->ring[step % STEPLOG_STEPS].word;
    uint64_t word[STEPLOG_WORDS], before = atomic_load_explicit(version, memory_order_acquire);
    for (int i = 0; i < STEPLOG_WORDS; i++) word[i] = atomic_load_explicit(&from[i], memory_order_acquire);
    memcpy(out, word, sizeof *out);
    return before % 2 == 0 && before == atomic_load_explicit(version, memory_order_relaxed) && out->step == step;
}

static void add(char *line, size_t size, size_t *n, const char *fmt, ...) PRINTF_LIKE(4, 5);
static void add(char *line, size_t size, size_t *n, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int more = vsnprintf(line + *n, size - *n, fmt, args);
    va_end(args);
    *n = MIN(*n + (size_t)MAX(more, 0), size - 1);
}

static size_t describe(const StepRecord *r, char *line, size_t size)
{
    size_t n = 0;
    add(line, size, &n, "step %llu at %lld.%06lld s:", (unsigned long long)r->step,
        (long long)(r->queued_ns / 1000000000), (long long)(r->queued_ns % 1000000000 / 1000));
    if (r->n_seq)
        add(line, size, &n,
            " queued %d sequences, rows %d of prompts + %d of decoding, %d drawn from, tables of %d pages,", r->n_seq,
            r->n_prefill, r->n_decode, r->n_logit, r->max_pages);
    for (int i = 0; i < MIN(r->n_seq, STEPLOG_PICKED); i++)
        add(line, size, &n, "%s %llu:%d/%d", i ? "" : " job:rows/length", (unsigned long long)r->picked[i].id,
            r->picked[i].rows, r->picked[i].len);
    if (r->n_seq > STEPLOG_PICKED) add(line, size, &n, " ...");
    if (r->waited)
        add(line, size, &n, "; finished a pass of %lld.%03lld ms, %d tokens, %d ended",
            (long long)(r->took_ns / 1000000), (long long)(r->took_ns % 1000000 / 1000), r->n_tokens, r->n_ended);
    add(line, size, &n, "; %d run, %d wait, %d parked; pages %d free, %d in the tree; %llu preempted; host %lld us\n",
        r->n_running, r->n_waiting, r->n_parked, r->n_pages_free, r->n_pages_tree, (unsigned long long)r->n_preempted,
        (long long)(r->sched_ns / 1000));
    return n;
}

static void put_line(int fd, const char *line, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, line, n);
        if (done <= 0) return;
        line += done;
        n -= (size_t)done;
    }
}

void steplog_dump(const StepLog *l, int fd)
{
    char line[1024];
    uint64_t last = atomic_load_explicit(&l->n, memory_order_acquire);
    uint64_t first = last > STEPLOG_STEPS ? last - STEPLOG_STEPS + 1 : 1;
    for (uint64_t step = first; step <= last; step++) {
        StepRecord r;
        if (get(l, step, &r)) put_line(fd, line, describe(&r, line, sizeof line));
    }
    size_t n = 0;
    add(line, sizeof line, &n, "%llu steps in all\n", (unsigned long long)last);
    put_line(fd, line, n);
}
