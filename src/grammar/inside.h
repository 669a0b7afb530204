/* inside.h - what a Build is made of. Not a door. */
#ifndef GRAMMAR_INSIDE_H
#define GRAMMAR_INSIDE_H

#include "grammar/expr.h"
#include "grammar/syms.h"
#include "grammar/vocab.h"

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
    int64_t deadline_ns;
    uint64_t clock_at; /* fuel left when the clock is looked at next */
    const volatile bool *cancel;
};

/* Turns what the pools say (fuel, nodes) into the Build's error; true if there is one. */
bool build_check(Build *b);

/* split.c: the symbol of a lexeme; several lexemes where one would only cost more. */
Sym split_lexeme(Build *b, Expr e);

#endif
