/* radix.h - inside kv: the tree of known prefixes over the page store. */
#ifndef KV_RADIX_H
#define KV_RADIX_H

#include "kv/pages.h"

/* A node is the end of an edge: `first`..`last` are the edge's pages in order. The root is NULL. */
struct KvNode {
    KvNode *parent;
    KvNode *same_bucket;   /* the table's chain */
    KvNode *older, *newer; /* the list of unpinned nodes */
    uint64_t hash;         /* of parent, salt and the first page's tokens */
    uint64_t salt;
    int32_t first, last, n_pages;
    int32_t n_children;
    int32_t pins; /* of its own, plus one for each child that has any */
};

typedef struct {
    Pages *pages;
    KvNode *pool;    /* [pages->n]: each node owns a page at least, so there cannot be more */
    KvNode *unused;  /* chained by parent */
    KvNode **bucket; /* [mask + 1] nodes by hash */
    uint64_t mask, seed;
    KvNode *oldest, *newest;        /* unpinned nodes; a node stands behind all of its descendants */
    int n_nodes, n_pages, n_pinned; /* n_pinned: pages of pinned nodes */
} Radix;

void radix_init(Radix *t, Pages *pages);
void radix_done(Radix *t);
/* Follows tok below `at` as far as the tree goes, up to n pages; page numbers into pages[] (may be NULL), their count into
 * *found. Returns the node where it ends, splitting an edge that goes on beyond. */
KvNode *radix_descend(Radix *t, KvNode *at, uint64_t salt, const int32_t *tok, int n, int32_t *pages, int *found);
int radix_peek(const Radix *t, uint64_t salt, const int32_t *tok, int n); /* how many pages; changes nothing */
/* Hangs n taken pages below `at`, which has no child that starts alike; they become the tree's. own_pins of at's pins
 * are the caller's. Returns the node where they end: `at` itself, grown longer, when it is a leaf where no one else stands;
 * otherwise a new unpinned one. */
KvNode *radix_append(Radix *t, KvNode *at, int own_pins, uint64_t salt, const int32_t *tok, int n,
                     const int32_t *pages);
void radix_pin(Radix *t, KvNode *at);   /* NULL: nothing */
void radix_unpin(Radix *t, KvNode *at); /* NULL: nothing */
int radix_evict(Radix *t, int n);       /* frees up to n pages, least recently unpinned first; returns how many */
void radix_verify(const Radix *t);      /* CHECKs what the header comments promise; allocates */

#endif
