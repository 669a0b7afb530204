/* walk.h - walks over the vocabulary's trie, and where they put the tokens they find. Not a door.
 *
 * A walk collects bits in words that are empty when it begins; up to WALK_SPARSE ids it keeps a list of them beside, so that
 * few tokens stay few bytes. Thread: under Grammar.lock. */
#ifndef GRAMMAR_WALK_H
#define GRAMMAR_WALK_H

#include "grammar/machine.h"

enum { WALK_SPARSE = 512 /* longer lists are kept as words */, WALK_ABSORB_SPAN = 8 /* smaller subtrees are walked */ };

typedef struct {
    Grammar *g;
    const Trie *t;
    uint32_t *words; /* bits set so far */
    bool many;       /* more than WALK_SPARSE: the list is not kept */
    size_t list;     /* where the list begins in Masks.ids */
    size_t entered, max_entered;
} Walk;

/* Tokens of these ranks. */
void walk_put(Walk *w, uint32_t from, uint32_t to);

/* Everything below node i is of characters that a absorbs. */
static inline bool walk_absorbed(const Trie *t, uint32_t i, Absorb a)
{
    return !(t->below[i].groups & ~a.groups) && t->below[i].chars <= a.chars;
}

/* A lexeme ends inside tokens, at that node. */
typedef struct {
    uint32_t node, accept;
} Crossing;

/* Called at each; false stops the walk. */
typedef bool (*OnCrossing)(void *arg, Crossing c);

/* The trie walked with the lexer alone: tokens that stay inside lexemes or end with one. false: stopped. */
bool walk_lexer(Walk *w, LexId from, OnCrossing on, void *arg);

typedef struct {
    Crossing *p;
    size_t n, cap;
} Crossings;

/* ---- base.c: the part of a mask that depends on the lexer alone ---- */

enum { BASE_MAX_ENDS = 4096 /* nodes listed in one base */ };

void base_drop(Base *b); /* NULL is fine */
/* The base of a state: known here, or to the vocabulary, or (make) made now. NULL: not known, or stopped. */
Base *base_for(Grammar *g, LexId s, bool make);
/* Adds crossings to the base's ends, by what ends there. */
void base_keep_ends(const Lexer *l, LexId s, Crossings *c, Base *b);

/* ---- near.c ---- */

/* There is such a state: most tokens are allowed in s, and its base costs little. */
bool near_exists(Grammar *g, LexId s);
/* Fills b from the base of a state much like s; false: there is none (b is as it was), or stopped. */
bool near_base(Grammar *g, LexId s, Base *b);

#endif
