/* test_seqs.c - the heap and the table against arrays searched by plain loops. Jobs live long and ids run on, so in a busy
 * server ids do meet in one slot of the table, though hardly ever in a short test of the engine. */
#include "engine/seqs.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

enum { N = 60 };

static Seq seqs[N];

static void test_table(void **state)
{
    (void)state;
    Rng rng = { 3 };
    for (int round = 0; round < 200; round++) {
        SeqTable t;
        bool in[N] = { false };
        int n = 0;
        seqs_table_init(&t, N);
        for (int i = 0; i < N; i++) /* few low bits: they crowd, and wrap round the end */
            seqs[i].id = ((uint64_t)i << 20) + (round % 2 ? t.mask - rng_below(&rng, 6) : rng_below(&rng, 40));
        for (int op = 0; op < 1000; op++) {
            int i = (int)rng_below(&rng, N);
            if (in[i])
                seqs_table_remove(&t, seqs[i].id);
            else
                seqs_table_add(&t, &seqs[i]);
            in[i] = !in[i];
            n += in[i] ? 1 : -1;
            assert_int_equal(t.n, n);
            for (int k = 0; k < N; k++) assert_ptr_equal(seqs_table_find(&t, seqs[k].id), in[k] ? &seqs[k] : NULL);
        }
        seqs_table_done(&t);
    }
}

static bool goes_first(SeqHeapKind kind, const Seq *a, const Seq *b)
{
    if (kind == HEAP_WAITING && a->priority != b->priority) return a->priority > b->priority;
    if (kind == HEAP_DEADLINE && a->deadline_ns != b->deadline_ns) return a->deadline_ns < b->deadline_ns;
    return a->arrival < b->arrival;
}

static void check_heap(SeqHeapKind kind)
{
    Rng rng = { 5 };
    SeqHeap h;
    bool in[N] = { false };
    seqs_heap_init(&h, kind, ORDER_ARRIVAL, N);
    for (int i = 0; i < N; i++)
        seqs[i] = (Seq){ .arrival = (uint64_t)i,
                         .priority = (int)rng_below(&rng, 3),
                         .deadline_ns = rng_below(&rng, 4),
                         .heap_at = { -1, -1 } };
    for (int op = 0; op < 100000; op++) {
        int i = (int)rng_below(&rng, N);
        Seq *first = NULL;
        for (int k = 0; k < N; k++)
            if (in[k] && (!first || goes_first(kind, &seqs[k], first))) first = &seqs[k];
        if (rng_below(&rng, 4) == 0) {
            assert_ptr_equal(seqs_heap_pop(&h), first);
            if (first) in[first - seqs] = false;
        } else if (in[i]) {
            seqs_heap_remove(&h, &seqs[i]);
            in[i] = false;
        } else {
            seqs_heap_push(&h, &seqs[i]);
            in[i] = true;
        }
        for (int k = 0; k < N; k++) assert_int_equal(seqs[k].heap_at[kind] >= 0, in[k]);
    }
    seqs_heap_done(&h);
}

static void test_heap(void **state)
{
    (void)state;
    check_heap(HEAP_WAITING);
    check_heap(HEAP_DEADLINE);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_table), cmocka_unit_test(test_heap) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
