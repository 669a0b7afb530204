/* inside.h - what a Build is made of. Not a door. */
#ifndef GRAMMAR_INSIDE_H
#define GRAMMAR_INSIDE_H

#include "grammar/expr.h"
#include "grammar/syms.h"
#include "grammar/vocab.h"

/* A pattern that has been built. */
typedef struct {
    Str text;
    int flags;
    Spelling how;
    Expr e;
} KnownPattern;

struct Build {
    Exprs x;
    Syms s;
    const GrammarLimits *limits;
    const GrammarVocab *vocab;
    Arena *mem;
    GrammarError *err; /* the first failure; err.status OK: none */
    char place[256];
    Str under; /* put before places */
    size_t enum_bytes;
    KnownPattern *pattern; /* open addressing; text.p NULL: free */
    uint32_t n_patterns, n_pattern_slots;
    int64_t deadline_ns;
    uint64_t clock_at; /* fuel left when the clock is looked at next */
    const volatile bool *cancel;
};

/* Turns what the pools say (fuel, nodes) into the Build's error; true if there is one. */
bool build_check(Build *b);

/* pattern.c: pattern_build without looking whether it is known (pattern_memo.c). */
Expr pattern_read(Build *b, Str pattern, int flags, Spelling how);

/* split.c: the symbol of a lexeme; several lexemes where one would only cost more. */
Sym split_lexeme(Build *b, Expr e);

#endif
