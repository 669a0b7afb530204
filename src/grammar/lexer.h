/* lexer.h - the lexemes of a row run as one automaton, made as it is walked. Not a door.
 *
 * A state is a sorted vector of (lexeme, what is left of it), interned. A step takes the derivative of each; lexemes that died
 * leave, lexemes that are complete leave too and are named by the state's accept set; one that is complete and may go on does
 * both. State 0 has nothing left and accepted nothing. A start state is marked: nothing of its lexemes has been read.
 * Steps cost a table look-up once they are known. Thread: the grammar's lock. */
#ifndef GRAMMAR_LEXER_H
#define GRAMMAR_LEXER_H

#include "grammar/expr.h"

typedef uint32_t LexId;

enum { LEX_DEAD = 0 };

typedef struct {
    Expr lexeme, rest;
} LexPart;

typedef struct {
    uint32_t at, n;  /* parts */
    uint32_t row;    /* of steps, + 1; 0: none yet */
    uint32_t accept; /* number of the accept set, 0: nothing is complete here */
    LexId saturated; /* see lexer_saturated, 0: not known */
    LexId kept;      /* the same with its large bound at COUNT_KEPT, 0: not known, or there is none */
    uint32_t bound;  /* its large bound, if kept */
    bool big;        /* some bound is large */
    bool kept_known;
    bool start, absorb_known, dense;
    Absorb absorb; /* of one of the parts: the widest */
} LexState;

typedef struct {
    Exprs *x;
    LexState *state;
    uint32_t n, cap, max_states;
    uint32_t *slots, n_slots;
    LexPart *part;
    size_t n_parts, cap_parts;
    uint32_t *step; /* rows of n_classes: state + 1, 0: not known */
    size_t n_steps, cap_steps;
    uint32_t *set; /* accept sets: offsets into member, [n_sets + 1] */
    size_t n_sets, cap_sets;
    Expr *member;
    size_t n_members, cap_members;
    uint32_t *set_slots, n_set_slots;
    LexPart *tmp;
    Expr *tmp_accept;
    size_t cap_tmp, cap_tmp_accept;
} Lexer;

void lexer_init(Lexer *l, Exprs *x, uint32_t max_states); /* x is frozen */
void lexer_done(Lexer *l);
size_t lexer_memory(const Lexer *l);
/* The start state of these lexemes (sorted, distinct). */
LexId lexer_start(Lexer *l, const Expr *lexemes, size_t n);
/* The state with this one part, in the midst of its lexeme. */
LexId lexer_alone(Lexer *l, LexPart p);
LexId lexer_make_step(Lexer *l, LexId s, uint8_t byte);
/* The members of an accept set. */
const Expr *lexer_accepted(const Lexer *l, uint32_t accept, size_t *n);
/* The accept set with these members (sorted, distinct). */
uint32_t lexer_accept_set(Lexer *l, const Expr *e, size_t n);
/* A state that walks the same over `reach` bytes, with large bounds gone. */
LexId lexer_saturated(Lexer *l, LexId s, uint32_t reach);
/* Counting without a state for each number: a state with one large bound is replaced by the one with that bound at COUNT_KEPT, and
 * what was taken off is added to *more; when little is left it is put back. A state that cannot be replaced gets all
 * of *more back. *more counts for the bounds of s before, for those of the result after. */
enum { COUNT_KEPT = 2048 };
LexId lexer_count(Lexer *l, LexId s, uint32_t reach, uint32_t *more);
Absorb lexer_absorb(Lexer *l, LexId s);
/* Of what the state will do, the same in every grammar of a vocabulary. */
void lexer_hash(const Lexer *l, LexId s, uint64_t out[2]);

static inline LexId lexer_step(Lexer *l, LexId s, uint8_t byte)
{
    uint32_t row = l->state[s].row;
    uint32_t v = row ? l->step[row - 1 + l->x->class_of[byte]] : 0;
    return v ? v - 1 : lexer_make_step(l, s, byte);
}

#endif
