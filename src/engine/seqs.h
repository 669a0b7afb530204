/* seqs.h - inside engine: two containers of sequences, sized once. */
#ifndef ENGINE_SEQS_H
#define ENGINE_SEQS_H

#include "engine/seq.h"

/* A binary heap that knows where each sequence lies, so that any one can leave. */
typedef enum {
    HEAP_WAITING, /* higher priority first, then by SeqOrder */
    HEAP_DEADLINE /* earlier deadline first, then earlier arrival */
} SeqHeapKind;

/* All end with: earlier arrival first. The last two go turn by turn; in one, those of unknown length are first. */
typedef enum {
    ORDER_ARRIVAL,
    ORDER_CLASS, /* twice as long before half as long */
    ORDER_LENGTH /* longer first */
} SeqOrder;

typedef struct {
    SeqHeapKind kind;
    SeqOrder order;
    Seq **at;
    int n, cap;
} SeqHeap;

void seqs_heap_init(SeqHeap *h, SeqHeapKind kind, SeqOrder order, int cap);
void seqs_heap_done(SeqHeap *h);
void seqs_heap_push(SeqHeap *h, Seq *s);
Seq *seqs_heap_pop(SeqHeap *h);            /* NULL: empty */
void seqs_heap_remove(SeqHeap *h, Seq *s); /* not there: nothing */

/* Finds a live sequence by its id. */
typedef struct {
    Seq **slot; /* [mask + 1] open addressing, linear */
    uint64_t mask;
    int n;
} SeqTable;

void seqs_table_init(SeqTable *t, int cap);
void seqs_table_done(SeqTable *t);
void seqs_table_add(SeqTable *t, Seq *s);
Seq *seqs_table_find(const SeqTable *t, uint64_t id); /* NULL: not there */
void seqs_table_remove(SeqTable *t, uint64_t id);

#endif
