/* machine.h - a compiled grammar at work: where an output stands, a step by a byte, the mask of a place. Not a door.
 *
 * An output stands at a few places at once, each a Place: a row of the parser and how far a lexeme that may come next has been
 * read. Usually there is one; after a number, say, there are two (it may go on, or be done). A step by a byte steps the
 * lexer of each; lexemes that end lead to one new row, merged over all places. What may come next is the union over the
 * places, so masks are made and remembered for each place by itself. Thread: under Grammar.lock. */
#ifndef GRAMMAR_MACHINE_H
#define GRAMMAR_MACHINE_H

#include "grammar/rows.h"
#include "grammar/vocab.h"

enum { MAX_PLACES = 256 };

typedef struct {
    LexId lex;
    RowId row;
    uint32_t more; /* of the state's large bound: see lexer_count */
} Place;

/* Where lexemes end inside tokens: the nodes of the vocabulary's trie, for one set of lexemes that end there, given by their
 * positions in the state's vector. */
typedef struct {
    uint32_t *ended, *node;
    uint32_t n_ended, n_nodes;
} BaseEnds;

struct Base {
    _Atomic int refs;
    uint64_t hash[2];
    uint32_t *words; /* tokens that stay inside the lexemes or end with one: dense */
    BaseEnds *ends;
    size_t n_ends, bytes;
    bool open; /* lexemes end at too many nodes to list them */
};

/* The text tokens allowed at a place: those of base (may be NULL), of words (may be NULL) and the ids. */
typedef struct {
    LexId lex;
    RowId row;
    Base *base;
    uint32_t *words;
    uint32_t ids, n_ids; /* in Masks.ids */
} Mask;

typedef struct {
    Mask *mask;
    size_t n, cap;
    uint32_t *slots; /* mask + 1 by (lex, row) */
    size_t n_slots;
    int32_t *ids;
    size_t n_ids, cap_ids;
    size_t dense_bytes;
    Base **base_of; /* by lexer state; NULL: not known */
    size_t cap_base_of;
    /* scratch of walks */
    uint32_t *words;
    Place *stack;
    size_t cap_stack;
    uint32_t *level; /* where the places of a depth end in stack */
    LexId *at;       /* by depth */
    LexId *of;       /* near.c: the other state */
    ByteSet *apart;  /* near.c: bytes after which the two may differ */
} Masks;

struct Grammar {
    GrammarVocab *vocab;
    GrammarLimits limits;
    Exprs x;
    Syms s;
    Lexer l;
    Rows r;
    Masks m;
    RowId first;
    pthread_mutex_t lock;
    _Atomic int refs;
};

/* Sets the fuel of one mask or token. */
void machine_refuel(Grammar *g);
/* What limit stopped the last operation; NULL: none. Clears it if it was the operation's own. */
const char *machine_stopped(Grammar *g);
size_t machine_memory(const Grammar *g);

/* Places after a byte: how many (0: refused, or stopped), written to out (MAX_PLACES). *ended: a lexeme ended here, so that a
 * token may end here even if no text may follow. */
size_t machine_step(Grammar *g, const Place *in, size_t n, uint8_t byte, Place *out, bool *ended);

/* The place at the begin of a row. */
Place machine_begin(Grammar *g, RowId row);
/* Nothing of a lexeme has been read: tokens by id and the end may stand here. */
static inline bool machine_fresh(const Grammar *g, Place p)
{
    return p.lex == LEX_DEAD || g->l.state[p.lex].start;
}

/* The mask of a place, made if need be; NULL: stopped. Valid until the next call. */
const Mask *mask_of(Grammar *g, Place p);
void masks_init(Grammar *g);
void masks_done(Grammar *g);
size_t masks_memory(const Grammar *g);

#endif
