/* added.c - finds added tokens in text: at each place the longest, from left to right.
 *
 * A trie whose first level is a table by byte. Most text has no byte that begins an added token, or only a rare '<', so
 * finding the next such byte is nearly all of the work. Read-only after matcher_new; any thread. */
#include "tok/parts.h"

typedef struct {
    uint32_t child, sibling; /* 0: none */
    uint32_t which;          /* index + 1 of the token that ends here, 0: none */
    uint8_t byte;
} TrieNode;

struct Matcher {
    TrieNode *node; /* [0] is not used; [1..256] are the first level */
    size_t n, cap;
    bool first[256];
    int only_first; /* the byte that begins every token, or -1 */
};

static uint32_t step(const Matcher *m, uint32_t at, uint8_t byte)
{
    for (uint32_t i = m->node[at].child; i; i = m->node[i].sibling)
        if (m->node[i].byte == byte) return i;
    return 0;
}

static uint32_t grow(Matcher *m, uint32_t at, uint8_t byte)
{
    uint32_t i = step(m, at, byte);
    if (i) return i;
    if (m->n == m->cap) {
        m->cap *= 2;
        m->node = mem_grow(m->node, m->cap * sizeof *m->node);
    }
    i = (uint32_t)m->n++;
    m->node[i] = (TrieNode){ .sibling = m->node[at].child, .byte = byte };
    m->node[at].child = i;
    return i;
}

Matcher *matcher_new(const Added *added, size_t n, bool normalized)
{
    Matcher *m = mem_alloc(sizeof *m);
    m->cap = 1024;
    m->node = mem_alloc_array(m->cap, sizeof *m->node);
    m->n = 257;
    size_t n_first = 0;
    for (size_t i = 0; i < n; i++) {
        if (added[i].normalized != normalized || added[i].find.n == 0) continue;
        const uint8_t *p = (const uint8_t *)added[i].find.p;
        n_first += !m->first[p[0]];
        m->first[p[0]] = true;
        m->only_first = p[0];
        uint32_t at = p[0] + 1u;
        for (size_t k = 1; k < added[i].find.n; k++) at = grow(m, at, p[k]);
        m->node[at].which = (uint32_t)i + 1;
    }
    if (n_first != 1) m->only_first = -1;
    if (n_first) return m;
    matcher_free(m);
    return NULL;
}

void matcher_free(Matcher *m)
{
    if (!m) return;
    mem_free(m->node);
    mem_free(m);
}

/* The next place at or after from where a token could begin, or n. */
static size_t next_first(const Matcher *m, Str text, size_t from)
{
    if (from >= text.n) return text.n;
    if (m->only_first >= 0) {
        const char *p = memchr(text.p + from, m->only_first, text.n - from);
        return p ? (size_t)(p - text.p) : text.n;
    }
    while (from < text.n && !m->first[(uint8_t)text.p[from]]) from++;
    return from;
}

bool matcher_next(const Matcher *m, Str text, size_t from, size_t *start, size_t *end, uint32_t *which)
{
    for (size_t i = from; (i = next_first(m, text, i)) < text.n; i++) {
        uint32_t best = 0;
        size_t k = i;
        for (uint32_t at = (uint8_t)text.p[k++] + 1u; at; at = k < text.n ? step(m, at, (uint8_t)text.p[k++]) : 0) {
            if (!m->node[at].which) continue;
            best = m->node[at].which;
            *end = k;
        }
        if (!best) continue;
        *start = i;
        *which = best - 1;
        return true;
    }
    return false;
}
