/* radix.c - remembers which token prefixes already have keys and values on the device.
 *
 * An edge holds whole pages only: two prompts that part inside a page share what comes before that page. Splitting a
 * page would copy device memory, and nothing here touches the device. All edges are found in one hash table, keyed by
 * the parent, the salt and the tokens of the edge's first page; the following pages are a linked list of page numbers.
 *
 * A pin counts at its node and, once for each child that has any, at the parent: pinning stops at the first ancestor that
 * is pinned already, so it costs what it changes. Nodes with no pin form a list in the order in which they lost
 * their last one. Unpinning walks upwards, so a node always stands behind its descendants: the head of the list
 * is the least recently used node and a leaf, and eviction needs no search. It cuts pages off the leaf's end,
 * because the beginning of a prefix is worth more than its end.
 *
 * Invariants: (1) the parent of a pinned node is pinned; (2) a page belongs to one edge; (3) no two edges of a node start
 * with the same page of tokens (under the root: and salt); (4) the list holds exactly the nodes without pins,
 * children before parents; (5) a split keeps the node's identity for the lower part, so pins stay where they were.
 * Thread: the Kv's owner. */
#include "kv/radix.h"

enum { PAGE_BYTES = sizeof(PageTokens) };
_Static_assert(PAGE_BYTES == KV_PAGE_TOKENS * sizeof(int32_t), "a page of tokens is compared as bytes");

/* ---- the table of edges ---- */

/* The seed is this tree's address: it changes which nodes share a bucket, never what is found. */
static uint64_t edge_hash(const Radix *t, const KvNode *parent, uint64_t salt, const int32_t *tok)
{
    uint64_t under = parent ? (uint64_t)(parent - t->pool) + 1 : hash_mix(salt);
    return hash_bytes(tok, PAGE_BYTES, t->seed + under * 0x9e3779b97f4a7c15u);
}

static KvNode *find_child(const Radix *t, const KvNode *parent, uint64_t salt, const int32_t *tok)
{
    uint64_t hash = edge_hash(t, parent, salt, tok);
    for (KvNode *c = t->bucket[hash & t->mask]; c; c = c->same_bucket)
        if (c->hash == hash && c->parent == parent && c->salt == salt &&
            memcmp(t->pages->tok[c->first].id, tok, PAGE_BYTES) == 0)
            return c;
    return NULL;
}

static void table_add(Radix *t, KvNode *n)
{
    n->hash = edge_hash(t, n->parent, n->salt, t->pages->tok[n->first].id);
    KvNode **head = &t->bucket[n->hash & t->mask];
    n->same_bucket = *head;
    *head = n;
}

static void table_remove(Radix *t, const KvNode *n)
{
    KvNode **at = &t->bucket[n->hash & t->mask];
    while (*at != n) at = &(*at)->same_bucket;
    *at = n->same_bucket;
}

/* ---- the list of unpinned nodes ---- */

static void list_remove(Radix *t, KvNode *n)
{
    *(n->older ? &n->older->newer : &t->oldest) = n->newer;
    *(n->newer ? &n->newer->older : &t->newest) = n->older;
    n->older = n->newer = NULL;
}

static void list_add_behind(Radix *t, KvNode *n, KvNode *older) /* older NULL: as the oldest of all */
{
    n->older = older;
    n->newer = older ? older->newer : t->oldest;
    *(n->older ? &n->older->newer : &t->oldest) = n;
    *(n->newer ? &n->newer->older : &t->newest) = n;
}

void radix_pin(Radix *t, KvNode *at)
{
    for (; at && at->pins++ == 0; at = at->parent) {
        list_remove(t, at);
        t->n_pinned += at->n_pages;
    }
}

void radix_unpin(Radix *t, KvNode *at)
{
    for (; at; at = at->parent) {
        CHECK(at->pins > 0);
        if (--at->pins > 0) return;
        list_add_behind(t, at, t->newest);
        t->n_pinned -= at->n_pages;
    }
}

/* ---- nodes ---- */

static KvNode *node_new(Radix *t, KvNode *parent, uint64_t salt)
{
    KvNode *n = t->unused;
    CHECK(n);
    t->unused = n->parent;
    *n = (KvNode){ .parent = parent, .salt = salt, .first = -1, .last = -1 };
    t->n_nodes++;
    return n;
}

static void node_free(Radix *t, KvNode *n)
{
    CHECK(n->n_children == 0 && n->pins == 0 && n->n_pages == 0);
    list_remove(t, n);
    if (n->parent) n->parent->n_children--;
    n->parent = t->unused;
    t->unused = n;
    t->n_nodes--;
}

static void edge_extend(Radix *t, KvNode *n, const int32_t *tok, int count, const int32_t *pages)
{
    Pages *p = t->pages;
    for (int i = 0; i < count; i++) {
        int32_t page = pages[i];
        CHECK(p->state[page] == PAGE_TAKEN);
        p->state[page] = PAGE_TREE;
        memcpy(p->tok[page].id, tok + (size_t)i * KV_PAGE_TOKENS, PAGE_BYTES);
        p->prev[page] = n->last;
        p->next[page] = -1;
        *(n->last >= 0 ? &p->next[n->last] : &n->first) = page;
        n->last = page;
    }
    n->n_pages += count;
    t->n_pages += count;
    if (n->pins) t->n_pinned += count;
}

/* Cuts n's edge behind its page `last`, the k-th. A new node takes the upper part; n keeps the lower part, its children and
 * its pins. */
static KvNode *split(Radix *t, KvNode *n, int k, int32_t last)
{
    Pages *p = t->pages;
    KvNode *upper = node_new(t, n->parent, n->salt);
    table_remove(t, n);
    upper->first = n->first;
    upper->last = last;
    upper->n_pages = k;
    upper->n_children = 1;
    n->first = p->next[last];
    n->n_pages -= k;
    n->parent = upper;
    p->next[last] = -1;
    p->prev[n->first] = -1;
    table_add(t, upper);
    table_add(t, n);
    if (n->pins)
        upper->pins = 1;
    else
        list_add_behind(t, upper, n);
    return upper;
}

/* ---- walking ---- */

/* How many pages of n's edge tok begins with; the first is known to be equal. *last: the last of them. */
static int edge_match(const Radix *t, const KvNode *n, const int32_t *tok, int max, int32_t *pages, int32_t *last)
{
    const Pages *p = t->pages;
    int32_t page = n->first;
    int k = 0;
    do {
        *last = page;
        if (pages) pages[k] = page;
        page = p->next[page];
        k++;
    } while (k < max && page >= 0 && memcmp(p->tok[page].id, tok + (size_t)k * KV_PAGE_TOKENS, PAGE_BYTES) == 0);
    return k;
}

KvNode *radix_descend(Radix *t, KvNode *at, uint64_t salt, const int32_t *tok, int n, int32_t *pages, int *found)
{
    int done = 0;
    while (done < n) {
        const int32_t *rest = tok + (size_t)done * KV_PAGE_TOKENS;
        KvNode *c = find_child(t, at, salt, rest);
        if (!c) break;
        int32_t last;
        int k = edge_match(t, c, rest, n - done, pages ? pages + done : NULL, &last);
        done += k;
        if (k < c->n_pages) {
            at = split(t, c, k, last);
            break;
        }
        at = c;
    }
    *found = done;
    return at;
}

int radix_peek(const Radix *t, uint64_t salt, const int32_t *tok, int n)
{
    const KvNode *at = NULL;
    int done = 0;
    while (done < n) {
        const int32_t *rest = tok + (size_t)done * KV_PAGE_TOKENS;
        const KvNode *c = find_child(t, at, salt, rest);
        if (!c) break;
        int32_t last;
        int k = edge_match(t, c, rest, n - done, NULL, &last);
        done += k;
        if (k < c->n_pages) break;
        at = c;
    }
    return done;
}

KvNode *radix_append(Radix *t, KvNode *at, int own_pins, uint64_t salt, const int32_t *tok, int n, const int32_t *pages)
{
    CHECK(n > 0);
    if (at && at->n_children == 0 &&
        at->pins == own_pins) { /* nobody else stands here: no need for a chain of short edges */
        edge_extend(t, at, tok, n, pages);
        return at;
    }
    KvNode *leaf = node_new(t, at, salt);
    edge_extend(t, leaf, tok, n, pages);
    table_add(t, leaf);
    list_add_behind(t, leaf, NULL);
    if (at) at->n_children++;
    return leaf;
}

int radix_evict(Radix *t, int n)
{
    Pages *p = t->pages;
    int freed = 0;
    while (freed < n && t->oldest) {
        KvNode *leaf = t->oldest;
        CHECK(leaf->n_children == 0);
        if (n - freed >= leaf->n_pages) table_remove(t, leaf); /* while its first page is there */
        for (; freed < n && leaf->n_pages > 0; freed++, leaf->n_pages--, t->n_pages--) {
            int32_t page = leaf->last;
            leaf->last = p->prev[page];
            if (leaf->last >= 0) p->next[leaf->last] = -1;
            pages_give_back(p, page);
        }
        if (leaf->n_pages == 0) node_free(t, leaf);
    }
    return freed;
}

/* ---- life ---- */

void radix_init(Radix *t, Pages *pages)
{
    *t = (Radix){ .pages = pages, .seed = hash_mix((uintptr_t)t) };
    t->pool = mem_alloc_array((size_t)pages->n, sizeof *t->pool);
    for (int i = pages->n - 1; i >= 0; i--) {
        t->pool[i].parent = t->unused;
        t->unused = &t->pool[i];
    }
    t->mask = 15;
    while (t->mask < (uint64_t)pages->n) t->mask = t->mask * 2 + 1;
    t->bucket = mem_alloc_array((size_t)t->mask + 1, sizeof(KvNode *));
}

void radix_done(Radix *t)
{
    mem_free(t->pool);
    mem_free(t->bucket);
}

/* ---- verify ---- */

typedef struct {
    int children, pinned_children, place; /* place in the list, from 1; 0: not there */
} Seen;

static int verify_edge(const Radix *t, const KvNode *n)
{
    const Pages *p = t->pages;
    int count = 0;
    int32_t before = -1;
    for (int32_t page = n->first; page >= 0; before = page, page = p->next[page], count++) {
        CHECK(page < p->n && p->state[page] == PAGE_TREE && p->prev[page] == before);
        CHECK(count < n->n_pages);
    }
    CHECK(before == n->last && count == n->n_pages && count > 0);
    CHECK(!n->parent || n->parent->salt == n->salt);
    CHECK(find_child(t, n->parent, n->salt, p->tok[n->first].id) == n); /* the only one that starts so */
    return count;
}

static void verify_node(const Radix *t, const KvNode *n, const Seen *seen)
{
    const Seen *s = &seen[n - t->pool];
    CHECK(s->children == n->n_children && n->pins >= s->pinned_children);
    CHECK((n->pins == 0) == (s->place > 0));
    if (n->parent && n->parent->pins == 0) CHECK(n->pins == 0 && s->place < seen[n->parent - t->pool].place);
}

void radix_verify(const Radix *t)
{
    Seen *seen = mem_alloc_array((size_t)t->pages->n, sizeof *seen);
    int n_nodes = 0, n_pages = 0, n_pinned = 0, n_listed = 0;
    for (uint64_t b = 0; b <= t->mask; b++) {
        for (const KvNode *n = t->bucket[b]; n; n = n->same_bucket) {
            CHECK(++n_nodes <= t->n_nodes);
            int count = verify_edge(t, n);
            n_pages += count;
            if (n->pins) n_pinned += count;
            if (!n->parent) continue;
            seen[n->parent - t->pool].children++;
            if (n->pins) seen[n->parent - t->pool].pinned_children++;
        }
    }
    CHECK(n_nodes == t->n_nodes && n_pages == t->n_pages && n_pinned == t->n_pinned);
    const KvNode *older = NULL;
    for (const KvNode *n = t->oldest; n; older = n, n = n->newer) {
        CHECK(n->older == older && ++n_listed <= n_nodes);
        seen[n - t->pool].place = n_listed;
    }
    CHECK(older == t->newest);
    for (uint64_t b = 0; b <= t->mask; b++)
        for (const KvNode *n = t->bucket[b]; n; n = n->same_bucket) verify_node(t, n, seen);
    mem_free(seen);
}
