/* counts.h - the tokens of a vocabulary by their number of characters: what a string may hold of which few are left. Not a door.
 *
 * A plain token is whole characters (the last may be only begun) that JSON strings hold as they are: it takes as many of a
 * string's characters as it has, whatever else the string is. Read-only once made. */
#ifndef GRAMMAR_COUNTS_H
#define GRAMMAR_COUNTS_H

#include "grammar/build.h"

enum { COUNTS_MASKED = 16 /* numbers of characters that have a mask; tokens of more bytes are listed */ };

/* A token of more than COUNTS_MASKED bytes. */
typedef struct {
    int32_t id;
    uint32_t bytes;
} LongToken;

typedef struct {
    uint32_t *plain;    /* mask of the plain tokens */
    uint32_t *few;      /* [COUNTS_MASKED] masks: those of at most so many characters */
    ByteSet begins;     /* what plain characters begin with */
    LongToken *longest; /* the longest first */
    size_t n_long;
} Counts;

void counts_init(GrammarVocab *v); /* its tokens and trie are there */
void counts_done(Counts *c);
size_t counts_memory(const GrammarVocab *v);

#endif
