/* trie.c - texts into a depth-first trie, and what lies below each node. See vocab.h. */
#include <stdlib.h>

#include "grammar/vocab.h"

enum { SPAN = (1 << 24) - 1, RANK = (1 << 22) - 1, DEPTH = (1 << 10) - 1 }; /* what the fields hold */
static const uint64_t GROUPS = (1ull << 48) - 1;

static int by_bytes(const void *p, const void *q)
{
    const TrieEntry *a = p, *b = q;
    int c = memcmp(a->bytes.p, b->bytes.p, MIN(a->bytes.n, b->bytes.n));
    if (c) return c;
    if (a->bytes.n != b->bytes.n) return a->bytes.n < b->bytes.n ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

typedef struct {
    TrieEntry e;
    uint64_t key; /* the first eight bytes, big end first: most comparisons end here */
} Keyed;

static uint64_t key_of(Str s)
{
    uint64_t key = 0;
    for (size_t j = 0; j < 8; j++) key = key << 8 | (j < s.n ? (uint8_t)s.p[j] : 0);
    return key;
}

static int by_key(const void *p, const void *q)
{
    const Keyed *a = p, *b = q;
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    return by_bytes(&a->e, &b->e);
}

/* By the first two bytes into buckets, then each bucket by comparisons. */
static void sort_entries(TrieEntry *e, size_t n)
{
    enum { BUCKETS = 1 << 16 };
    Keyed *k = mem_alloc_array(n, sizeof *k);
    uint32_t *end = mem_alloc_array(BUCKETS + 1, sizeof *end);
    for (size_t i = 0; i < n; i++) end[key_of(e[i].bytes) >> 48]++;
    for (size_t i = 1; i <= BUCKETS; i++) end[i] += end[i - 1];
    for (size_t i = n; i-- > 0;) {
        uint64_t key = key_of(e[i].bytes);
        k[--end[key >> 48]] = (Keyed){ e[i], key };
    }
    for (size_t i = 0; i < BUCKETS; i++) /* end[i] is where bucket i begins now */
        if (end[i + 1] - end[i] > 1) qsort(k + end[i], end[i + 1] - end[i], sizeof *k, by_key);
    for (size_t i = 0; i < n; i++) e[i] = k[i].e;
    mem_free(k);
    mem_free(end);
}

static size_t shared_prefix(Str a, Str b)
{
    size_t n = MIN(a.n, b.n), i = 0;
    while (i < n && a.p[i] == b.p[i]) i++;
    return i;
}

/* Nodes in the order of the sorted entries; open[d] is the node at depth d of the last entry. */
static void add_nodes(Trie *t, const TrieEntry *e, size_t n, uint32_t *open)
{
    Str last = { "", 0 };
    t->node[t->n_nodes++] = (TrieNode){ .span = 1 };
    open[0] = 0;
    for (size_t i = 0; i < n; i++) {
        Str s = e[i].bytes;
        if (s.n == 0) continue;
        size_t same = shared_prefix(last, s);
        for (size_t d = same; d < last.n; d++) t->node[open[d + 1]].span = (t->n_nodes - open[d + 1]) & SPAN;
        for (size_t d = same; d < s.n; d++) {
            open[d + 1] = t->n_nodes;
            t->node[t->n_nodes++] =
                (TrieNode){ .rank = t->n_ranked & RANK, .depth = (d + 1) & DEPTH, .byte = (uint8_t)s.p[d] };
        }
        t->by_rank[t->n_ranked++] = e[i].id;
        t->max_depth = MAX(t->max_depth, (uint32_t)s.n);
        last = s;
    }
    for (size_t d = 0; d <= last.n; d++) t->node[open[d]].span = (t->n_nodes - open[d]) & SPAN;
    t->node[t->n_nodes] = (TrieNode){ .rank = t->n_ranked & RANK };
}

/* What of a character has been seen: how many bytes are missing; -1: no UTF-8. */
static int after_byte(int missing, uint8_t c, int *group)
{
    *group = -1;
    if (missing > 0) return (c & 0xC0) == 0x80 ? missing - 1 : -1;
    if (missing < 0) return -1;
    if (c < 0x80) return *group = group_of_ascii(c), 0;
    if (c >= 0xC2 && c <= 0xDF) return *group = GROUP_LEAD2, 1;
    if (c >= 0xE0 && c <= 0xEF) return *group = GROUP_LEAD3, 2;
    if (c >= 0xF0 && c <= 0xF4) return *group = GROUP_LEAD4, 3;
    return -1;
}

/* E0, ED, F0 and F4 narrow what the second byte may be; a wrong one makes the text bad. */
static bool second_is_bad(uint8_t lead, uint8_t c)
{
    return (lead == 0xE0 && c < 0xA0) || (lead == 0xED && c > 0x9F) || (lead == 0xF0 && c < 0x90) ||
           (lead == 0xF4 && c > 0x8F);
}

/* Bottom up: a node's facts are those of its children and the children's own bytes. missing[i]: bytes that the character at node i
 * still lacks, found top down. Inside a character nothing may be skipped, so such nodes say GROUP_BAD of themselves but
 * hand on what is below. */
static void fill_below(Trie *t)
{
    int8_t *missing = mem_alloc_array(t->n_nodes, 1);
    uint32_t *open = mem_alloc_array(t->max_depth + 2, sizeof *open);
    TrieBelow *b = t->below;
    for (uint32_t i = 1; i < t->n_nodes; i++) {
        const TrieNode *n = &t->node[i];
        uint32_t depth = n->depth, up = open[depth - 1];
        int group;
        open[depth] = i;
        int left = after_byte(missing[up], n->byte, &group);
        if (missing[up] > 0 && second_is_bad(t->node[up].byte, n->byte)) left = -1;
        missing[i] = (int8_t)left;
    }
    for (uint32_t i = t->n_nodes; i-- > 0;) {
        for (uint32_t c = i + 1; c < i + t->node[i].span; c += t->node[c].span) {
            int group;
            after_byte(missing[i], t->node[c].byte, &group);
            uint64_t own = missing[c] < 0 ? 1ull << GROUP_BAD : group >= 0 ? 1ull << group : 0;
            b[i].groups |= (b[c].groups | own) & GROUPS;
            b[i].chars = MAX(b[i].chars, b[c].chars + (uint32_t)(group >= 0)) & 0xFFFF;
        }
    }
    for (uint32_t i = 1; i < t->n_nodes; i++)
        if (missing[i] != 0) b[i].groups |= 1ull << GROUP_BAD;
    mem_free(missing);
    mem_free(open);
}

void trie_build(Trie *t, TrieEntry *e, size_t n)
{
    *t = (Trie){ 0 };
    size_t longest = 0, nodes = 2;
    sort_entries(e, n);
    for (size_t i = 0; i < n; i++) {
        longest = MAX(longest, e[i].bytes.n);
        nodes += e[i].bytes.n - (i ? shared_prefix(e[i - 1].bytes, e[i].bytes) : 0);
    }
    CHECK(nodes <= TRIE_MAX_NODES && longest <= TRIE_MAX_DEPTH);
    t->node = mem_alloc_array(nodes, sizeof *t->node);
    t->by_rank = mem_alloc_array(n, sizeof *t->by_rank);
    uint32_t *open = mem_alloc_array(longest + 1, sizeof *open);
    add_nodes(t, e, n, open);
    mem_free(open);
    t->below = mem_alloc_array(t->n_nodes, sizeof *t->below);
    fill_below(t);
}

void trie_done(Trie *t)
{
    mem_free(t->node);
    mem_free(t->below);
    mem_free(t->by_rank);
    *t = (Trie){ 0 };
}
