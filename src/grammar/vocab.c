/* vocab.c - a tokenizer's tokens as the grammar sees them. See vocab.h and grammar.h. */
#include "grammar/vocab.h"

#include <stdatomic.h>
#include <stdlib.h>

static bool usable(const GrammarVocabSpec *spec, int32_t id, Str bytes)
{
    return bytes.n > 0 && bytes.n <= GRAMMAR_MAX_TOKEN_BYTES && !(spec->special && spec->special(spec->arg, id));
}

static int by_text(const void *p, const void *q)
{
    const TrieEntry *a = p, *b = q;
    int c = memcmp(a->bytes.p, b->bytes.p, MIN(a->bytes.n, b->bytes.n));
    if (c == 0) c = (a->bytes.n > b->bytes.n) - (a->bytes.n < b->bytes.n);
    return c ? c : (a->id > b->id) - (a->id < b->id);
}

/* The texts of special tokens, for rules that name them. */
static void copy_names(GrammarVocab *v, const GrammarVocabSpec *spec)
{
    Buf names = { 0 };
    size_t cap = 0;
    for (int32_t id = 0; spec->special && id < v->n_tokens; id++) {
        Str s = spec->bytes(spec->arg, id);
        if (s.n == 0 || s.n > GRAMMAR_MAX_TOKEN_BYTES || !spec->special(spec->arg, id)) continue;
        if (v->n_named == cap) v->named = mem_grow(v->named, (cap = MAX(cap * 2, (size_t)64)) * sizeof *v->named);
        v->named[v->n_named++] = (TrieEntry){ { NULL, s.n }, id };
        v->named_first[(uint8_t)s.p[0] >> 6] |= 1ull << (s.p[0] & 63);
        buf_str(&names, s);
    }
    v->names = names.p;
    for (size_t i = 0, at = 0; i < v->n_named; at += v->named[i++].bytes.n) v->named[i].bytes.p = names.p + at;
    if (v->n_named > 1) qsort(v->named, v->n_named, sizeof *v->named, by_text);
}

/* Copies the bytes of all tokens; specials keep none: text never uses them. */
static void copy_tokens(GrammarVocab *v, const GrammarVocabSpec *spec)
{
    Buf blob = { 0 };
    for (int32_t id = 0; id < v->n_tokens; id++) {
        Str s = spec->bytes(spec->arg, id);
        v->offset[id] = (uint32_t)blob.n;
        if (usable(spec, id, s))
            buf_str(&blob, s);
        else
            v->special[id] = 1;
    }
    v->offset[v->n_tokens] = (uint32_t)blob.n;
    v->blob = blob.p;
}

/* The tokens that text may use. Longer ones are left out as far as it takes for the trie to stay within its bounds: no
 * vocabulary in use comes near. */
static size_t text_entries(const GrammarVocab *v, TrieEntry *e)
{
    size_t longest = GRAMMAR_MAX_TOKEN_BYTES, n, total;
    do {
        n = total = 0;
        for (int32_t id = 0; id < v->n_tokens; id++) {
            Str s = grammar_vocab_bytes(v, id);
            if (s.n == 0 || s.n > longest || grammar_vocab_is_end(v, id)) continue;
            e[n++] = (TrieEntry){ s, id };
            total += s.n;
        }
        longest /= 2;
    } while (total + 2 > TRIE_MAX_NODES);
    return n;
}

GrammarVocab *grammar_vocab_new(const GrammarVocabSpec *spec)
{
    CHECK(spec->n_tokens > 0 && spec->n_tokens <= GRAMMAR_MAX_TOKENS);
    GrammarVocab *v = mem_alloc(sizeof *v);
    v->n_tokens = spec->n_tokens;
    v->offset = mem_alloc_array((size_t)v->n_tokens + 1, sizeof *v->offset);
    v->special = mem_alloc((size_t)v->n_tokens);
    copy_tokens(v, spec);
    copy_names(v, spec);
    v->ends = mem_alloc_array(spec->n_end_ids, sizeof *v->ends);
    for (size_t i = 0; i < spec->n_end_ids; i++)
        if (spec->end_ids[i] >= 0 && spec->end_ids[i] < v->n_tokens) v->ends[v->n_ends++] = spec->end_ids[i];
    TrieEntry *e = mem_alloc_array((size_t)v->n_tokens, sizeof *e);
    size_t n = text_entries(v, e);
    trie_build(&v->trie, e, n);
    mem_free(e);
    counts_init(v);
    v->seed = hash_mix((uint64_t)clock_ns() ^ (uintptr_t)v ^ (uint64_t)clock_wall_s() << 32);
    atomic_init(&v->refs, 1);
    pthread_mutex_init(&v->lock, NULL);
    return v;
}

GrammarVocab *grammar_vocab_ref(GrammarVocab *v)
{
    atomic_fetch_add(&v->refs, 1);
    return v;
}

void grammar_vocab_drop(GrammarVocab *v)
{
    if (!v || atomic_fetch_sub(&v->refs, 1) != 1) return;
    base_free_all(v);
    trie_done(&v->trie);
    pthread_mutex_destroy(&v->lock);
    mem_free(v->blob);
    mem_free(v->offset);
    mem_free(v->special);
    mem_free(v->named);
    mem_free(v->names);
    mem_free(v->ends);
    counts_done(&v->counts);
    mem_free(v);
}

int grammar_vocab_size(const GrammarVocab *v)
{
    return v->n_tokens;
}

size_t grammar_mask_words(const GrammarVocab *v)
{
    return ((size_t)v->n_tokens + 31) / 32;
}

Str grammar_vocab_bytes(const GrammarVocab *v, int32_t id)
{
    if (id < 0 || id >= v->n_tokens) return (Str){ 0 };
    return (Str){ v->blob + v->offset[id], v->offset[id + 1] - v->offset[id] };
}

size_t grammar_vocab_memory(const GrammarVocab *v)
{
    const Trie *t = &v->trie;
    size_t nodes = (size_t)t->n_nodes * (sizeof *t->node + sizeof *t->below);
    return nodes + counts_memory(v) + (size_t)v->n_tokens * 9 + v->offset[v->n_tokens] + v->n_named * sizeof *v->named +
           v->base_bytes + sizeof *v;
}

const int32_t *grammar_vocab_ends(const GrammarVocab *v, size_t *n)
{
    *n = v->n_ends;
    return v->ends;
}

/* The special token with exactly this text, -1. */
static int32_t find_named(const GrammarVocab *v, Str text)
{
    size_t lo = 0, hi = v->n_named;
    TrieEntry key = { text, -1 };
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (by_text(&v->named[mid], &key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < v->n_named && str_eq(v->named[lo].bytes, text) ? v->named[lo].id : -1;
}

size_t grammar_vocab_special_at(const GrammarVocab *v, Str text, size_t at, int32_t *id)
{
    if (at >= text.n || !(v->named_first[(uint8_t)text.p[at] >> 6] >> (text.p[at] & 63) & 1)) return 0;
    for (size_t n = MIN(text.n - at, (size_t)GRAMMAR_MAX_TOKEN_BYTES); n; n--) {
        *id = find_named(v, str_cut(text, at, at + n));
        if (*id >= 0) return n;
    }
    return 0;
}

int32_t grammar_vocab_find(const GrammarVocab *v, Str text)
{
    const Trie *t = &v->trie;
    int32_t id = find_named(v, text);
    uint32_t at = 0;
    if (id >= 0) return id;
    for (size_t i = 0; i < text.n; i++) {
        uint32_t c = at + 1, stop = at + t->node[at].span;
        while (c < stop && t->node[c].byte != (uint8_t)text.p[i]) c += t->node[c].span;
        if (c >= stop) return -1;
        at = c;
    }
    return at && t->node[at].rank < t->node[at + 1].rank ? t->by_rank[t->node[at].rank] : -1;
}
