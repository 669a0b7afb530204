/* seqs.c - the heap of those who wait and the table of all who live. Nothing allocates after init. */
#include "engine/seqs.h"

/* ---- heap ---- */

/* Classes are by powers of two: among lengths that differ less it is better to mix, for those of one length need the most
 * pages at the same time. */
static int rank(const SeqHeap *h, const Seq *s)
{
    if (h->order == ORDER_ARRIVAL) return 0;
    if (!seq_length_known(s)) return INT32_MAX;
    return h->order == ORDER_LENGTH ? s->sampling.max_new : 32 - __builtin_clz((unsigned)s->sampling.max_new + 1);
}

static bool before(const SeqHeap *h, const Seq *a, const Seq *b)
{
    if (h->kind == HEAP_WAITING && a->priority != b->priority) return a->priority > b->priority;
    if (h->order != ORDER_ARRIVAL && a->turn != b->turn) return a->turn < b->turn;
    if (rank(h, a) != rank(h, b)) return rank(h, a) > rank(h, b);
    if (h->kind == HEAP_DEADLINE && a->deadline_ns != b->deadline_ns) return a->deadline_ns < b->deadline_ns;
    return a->arrival < b->arrival;
}

static void place(SeqHeap *h, int i, Seq *s)
{
    h->at[i] = s;
    s->heap_at[h->kind] = i;
}

static void sift_up(SeqHeap *h, int i, Seq *s)
{
    for (; i > 0 && before(h, s, h->at[(i - 1) / 2]); i = (i - 1) / 2) place(h, i, h->at[(i - 1) / 2]);
    place(h, i, s);
}

static void sift_down(SeqHeap *h, int i, Seq *s)
{
    for (int child; (child = 2 * i + 1) < h->n; i = child) {
        if (child + 1 < h->n && before(h, h->at[child + 1], h->at[child])) child++;
        if (!before(h, h->at[child], s)) break;
        place(h, i, h->at[child]);
    }
    place(h, i, s);
}

void seqs_heap_init(SeqHeap *h, SeqHeapKind kind, SeqOrder order, int cap)
{
    *h = (SeqHeap){ .kind = kind, .order = order, .cap = cap, .at = mem_alloc_array((size_t)cap, sizeof(Seq *)) };
}

void seqs_heap_done(SeqHeap *h)
{
    mem_free(h->at);
}

void seqs_heap_push(SeqHeap *h, Seq *s)
{
    CHECK(h->n < h->cap && s->heap_at[h->kind] < 0);
    sift_up(h, h->n++, s);
}

void seqs_heap_remove(SeqHeap *h, Seq *s)
{
    int i = s->heap_at[h->kind];
    if (i < 0) return;
    CHECK(i < h->n && h->at[i] == s);
    s->heap_at[h->kind] = -1;
    Seq *last = h->at[--h->n];
    if (last == s) return;
    if (i > 0 && before(h, last, h->at[(i - 1) / 2]))
        sift_up(h, i, last);
    else
        sift_down(h, i, last);
}

Seq *seqs_heap_pop(SeqHeap *h)
{
    if (h->n == 0) return NULL;
    Seq *first = h->at[0];
    seqs_heap_remove(h, first);
    return first;
}

/* ---- table: ids are handed out in rising order, so their low bits spread by themselves ---- */

void seqs_table_init(SeqTable *t, int cap)
{
    t->n = 0;
    t->mask = 15;
    while (t->mask + 1 < 2 * (uint64_t)cap) t->mask = t->mask * 2 + 1;
    t->slot = mem_alloc_array((size_t)t->mask + 1, sizeof(Seq *));
}

void seqs_table_done(SeqTable *t)
{
    mem_free(t->slot);
}

void seqs_table_add(SeqTable *t, Seq *s)
{
    CHECK((uint64_t)t->n * 2 <= t->mask);
    uint64_t i = s->id & t->mask;
    while (t->slot[i]) i = (i + 1) & t->mask;
    t->slot[i] = s;
    t->n++;
}

static uint64_t find(const SeqTable *t, uint64_t id)
{
    uint64_t i = id & t->mask;
    while (t->slot[i] && t->slot[i]->id != id) i = (i + 1) & t->mask;
    return i;
}

Seq *seqs_table_find(const SeqTable *t, uint64_t id)
{
    return t->slot[find(t, id)];
}

void seqs_table_remove(SeqTable *t, uint64_t id)
{
    uint64_t hole = find(t, id);
    CHECK(t->slot[hole]);
    t->n--;
    for (uint64_t i = (hole + 1) & t->mask; t->slot[i]; i = (i + 1) & t->mask) {
        uint64_t home = t->slot[i]->id & t->mask;
        if (((i - home) & t->mask) < ((i - hole) & t->mask)) continue; /* it must not move before its home */
        t->slot[hole] = t->slot[i];
        hole = i;
    }
    t->slot[hole] = NULL;
}
