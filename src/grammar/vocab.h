/* vocab.h - the inside of a GrammarVocab: all text tokens as one trie, and masks that every grammar may share. Not a door.
 *
 * The trie is one array in depth-first order: node i's subtree is i .. i + span(i), its first child i + 1. Tokens are numbered in
 * the order in which their nodes come (their rank), so a subtree is a range of ranks. Tokens with the same bytes share a
 * node and have neighbouring ranks. Node 0 is the root, the empty text. */
#ifndef GRAMMAR_VOCAB_H
#define GRAMMAR_VOCAB_H

#include <pthread.h>

#include "grammar/counts.h"
#include "grammar/grammar.h"
#include "grammar/groups.h"

typedef struct {
    uint64_t span : 24;  /* nodes of the subtree, itself included */
    uint64_t rank : 22;  /* tokens that come before this node's own */
    uint64_t depth : 10; /* bytes from the root */
    uint64_t byte : 8;
} TrieNode;
_Static_assert(sizeof(TrieNode) == 8, "walks are bound by reading nodes");
enum { TRIE_MAX_NODES = (1 << 24) - 2, TRIE_MAX_DEPTH = 1000 };

/* What is strictly below a node, if the node is at a boundary of characters: groups of the bytes, GROUP_BAD if a boundary or
 * well-formedness is missing; most characters on one way down (a begun one counts). */
typedef struct {
    uint64_t groups : 48;
    uint64_t chars : 16;
} TrieBelow;

typedef struct {
    TrieNode *node; /* [n_nodes + 1]: the last one ends the ranks */
    TrieBelow *below;
    int32_t *by_rank; /* [n_ranked] token ids */
    uint32_t n_nodes, n_ranked;
    uint32_t max_depth; /* bytes of the longest token */
} Trie;

/* A text and what it stands for, for trie_build. */
typedef struct {
    Str bytes;
    int32_t id;
} TrieEntry;

/* Sorts the entries; empty texts are left out. At most TRIE_MAX_NODES bytes in all. */
void trie_build(Trie *t, TrieEntry *e, size_t n);
void trie_done(Trie *t);
/* The tokens that end at node i are by_rank[node[i].rank .. node[i + 1].rank), those of its subtree end at node[i + span].rank. */

/* The part of a mask that depends on a lexer state alone: see mask.c. Immutable once shared; counted references. */
typedef struct Base Base;

struct GrammarVocab {
    Trie trie;
    Counts counts;
    char *blob;
    uint32_t *offset; /* [n_tokens + 1] into blob */
    uint8_t *special; /* [n_tokens] 1: special or not to be used */
    TrieEntry *named; /* special tokens that have a text, sorted by it; the texts lie in names */
    char *names;
    size_t n_named;
    uint64_t named_first[4]; /* bytes that such a text begins with */
    int n_tokens;
    int32_t *ends;
    size_t n_ends;
    uint64_t seed; /* of the structure hashes that base masks are found by */
    _Atomic int refs;
    pthread_mutex_t lock; /* of what follows */
    Base **bases;         /* open addressing by hash */
    size_t n_bases, n_slots, base_bytes;
};

const int32_t *grammar_vocab_ends(const GrammarVocab *v, size_t *n);
static inline bool grammar_vocab_is_end(const GrammarVocab *v, int32_t id)
{
    for (size_t i = 0; i < v->n_ends; i++)
        if (v->ends[i] == id) return true;
    return false;
}
/* How many bytes of text from `at` on are the text of a special token, the longest there is; 0: none begins there. */
size_t grammar_vocab_special_at(const GrammarVocab *v, Str text, size_t at, int32_t *id);
/* The token with exactly this text, a special one if there is; -1: none. */
int32_t grammar_vocab_find(const GrammarVocab *v, Str text);
/* bases are freed by base.c's function */
void base_free_all(GrammarVocab *v);

#endif
