/* kv.h - where each sequence's keys and values live: page numbers and the tree of known prefixes.
 *
 * A page holds KV_PAGE_TOKENS tokens of one sequence on some device; nothing here touches the device. The tree's edges
 * hold whole pages only. A page is free, or belongs to one edge of the tree, or was taken by the caller.
 * Invariants: (1) free + in the tree + taken = all; (2) a page has one owner; (3) a pinned node has a pinned path
 * to the root, and is never evicted; (4) no two edges of a node start with the same page of tokens.
 * Thread: engine. Deterministic: no clock, no randomness; "least recent" counts calls. */
#ifndef KV_KV_H
#define KV_KV_H

#include "base/base.h"

enum { KV_PAGE_TOKENS = 16 };

typedef struct Kv Kv;
typedef struct KvNode KvNode;

typedef struct {
    KvNode *at; /* NULL: nothing matched, nothing pinned */
    int n_tok;  /* tokens of the prefix, a multiple of KV_PAGE_TOKENS */
} KvPrefix;     /* pinned until kv_unpin */

typedef struct {
    int n_pages, n_free, n_tree, n_taken; /* pages */
    int n_pinned;                         /* pages in the tree that cannot be evicted */
    int n_nodes;
    uint64_t hit_tokens, looked_up_tokens, evicted_pages; /* hits and look-ups of kv_match */
} KvStats;

Kv *kv_new(int n_pages, bool use_tree); /* use_tree false: --disable-radix-cache, matches nothing, remembers nothing */
void kv_free(Kv *kv);

/* The longest known prefix of tok[0..n) under salt (requests of different salts never share), pinned; pages[] receives
 * its page numbers (room for n / KV_PAGE_TOKENS). */
KvPrefix kv_match(Kv *kv, uint64_t salt, const int32_t *tok, int n, int32_t *pages);
/* The same without pinning, counting or refreshing: for policies that look before they choose. Returns tokens. */
int kv_peek(const Kv *kv, uint64_t salt, const int32_t *tok, int n);
void kv_unpin(Kv *kv, KvPrefix p);
/* Evicts least recently used leaves if it must; false: not enough, nothing taken. */
bool kv_take(Kv *kv, int n, int32_t *pages);
int kv_available(const Kv *kv); /* pages that kv_take could give now: free and evictable */
void kv_give_back(Kv *kv, int n, const int32_t *pages);
/* Puts the whole pages of tok[0..n) into the tree. pages[] are all the sequence's pages, of which the first
 * under.n_tok / KV_PAGE_TOKENS are the tree's already. The tree takes the others over, or gives back those it knows
 * already: then pages[] is rewritten to the tree's own (equal content). Returns the new, deeper prefix, pinned;
 * `under` is unpinned by it. Pages past the last whole one stay the caller's. */
KvPrefix kv_remember(Kv *kv, uint64_t salt, KvPrefix under, const int32_t *tok, int n, int32_t *pages);
void kv_flush(Kv *kv); /* drops every unpinned node */
KvStats kv_stats(const Kv *kv);
void kv_verify(const Kv *kv); /* walks everything and CHECKs every invariant */

#endif
