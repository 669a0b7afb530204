/* expr.h - regular expressions as shared nodes, and their derivatives. Not a door: front ends use build.h.
 *
 * A node stands for a set of byte strings. Nodes are hash-consed: the same structure has the same id, so that a lexer state
 * is a vector of ids and equality is equality of ids. The derivative of a node by a byte is the set of what may follow
 * that byte (Brzozowski 1964, with intersection and complement); repetitions are never unrolled, so a{0,1000000} is
 * one node and each derivative of it another. Nodes are never freed before the pool.
 *
 * Work is bounded: each node made and each derivative taken costs fuel. When it is out `stop` is set, everything returns
 * EXPR_NOTHING, and nothing that was computed meanwhile is remembered; the owner looks at `stop` before it believes a result.
 * Thread: the owner's lock. */
#ifndef GRAMMAR_EXPR_H
#define GRAMMAR_EXPR_H

#include "grammar/build.h"

typedef enum {
    X_NOTHING,
    X_EMPTY,
    X_SET,    /* a: number of the byte set */
    X_LIT,    /* a: offset in lits, b: length, at least 2 */
    X_CAT,    /* a then b */
    X_OR,     /* a: offset in kids, b: how many; sorted, no two equal */
    X_AND,    /* the same */
    X_NOT,    /* a */
    X_REPEAT, /* a, at least b times, at most c */
} ExprKind;

enum {
    X_NULLABLE = 1, /* the empty string is in it */
    X_HARD = 2,     /* has an intersection or complement inside: may be empty without looking so */
    X_ALIVE = 4,    /* known to be non-empty; */
    X_DEAD = 8,     /* known to be empty; neither: not known */
    X_UTF8 = 16,    /* only strings of whole UTF-8 characters */
    X_JSON = 32,    /* only insides of JSON strings */
    X_CHAR = 64,    /* made by expr_class: strings of exactly one character */
    X_BIG = 128     /* has a repetition with a large bound inside */
};

enum {
    EXPR_MAX_NODES = 1 << 24,
    /* an id and a byte fit 32 bits */ EXPR_BIG = 64 /* smaller bounds are not looked at */
};

/* From 32 bits to 32 bits, by open addressing: value << 32 | key + 1. */
typedef struct {
    uint64_t *slots;
    size_t n, n_slots;
} ExprMemo;

typedef struct {
    uint8_t kind, flags;
    uint16_t height; /* how deep a recursion over it goes */
    uint32_t a, b, c;
    uint32_t first;   /* byte set: no other byte has a derivative (some of these may have none) */
    uint32_t more;    /* index in absorbs: which characters are in it; 0: not known */
    uint64_t hash[2]; /* of the structure: equal in every pool with the same seed */
} ExprNode;

typedef enum { STOP_NONE, STOP_FUEL, STOP_NODES, STOP_HEIGHT, STOP_CLOCK, STOP_CANCEL } ExprStop;

typedef struct {
    ExprNode *node;
    uint32_t n, cap, max_nodes;
    uint32_t *slots; /* node ids by hash, 0: free */
    uint32_t n_slots;
    ByteSet *sets;
    uint32_t n_sets, cap_sets;
    uint32_t *set_slots;
    uint32_t n_set_slots;
    uint32_t *kids;
    size_t n_kids, cap_kids;
    Buf lits;
    uint64_t *absorbs; /* groups of bytes (groups.h) */
    uint32_t n_absorbs, cap_absorbs;
    ExprMemo derived, saturated, lengths;
    uint32_t *stamps; /* by node: visited in search number stamp */
    size_t cap_stamps;
    uint32_t stamp;
    uint32_t *tmp; /* a stack for lists under construction */
    size_t n_tmp, cap_tmp;
    uint8_t class_of[256]; /* bytes that no set and no literal tells apart */
    uint8_t class_byte[256];
    int n_classes;
    uint32_t classed_sets; /* sets that have been looked at */
    size_t classed_lits;
    bool frozen; /* classes are final */
    uint64_t seed;
    uint64_t fuel;
    int64_t deadline_ns; /* looked at now and then while derivatives are taken; 0: none */
    ExprStop stop;
    uint32_t any[3]; /* by Spelling: any character, any text; 0: not made yet */
    uint32_t text[3];
} Exprs;

void exprs_init(Exprs *x, uint64_t seed, uint32_t max_nodes, uint64_t fuel);
void exprs_done(Exprs *x);
size_t exprs_memory(const Exprs *x);

uint32_t exprs_set(Exprs *x, ByteSet set);
uint32_t exprs_literal(Exprs *x, const char *p, size_t n);
uint32_t exprs_cat(Exprs *x, uint32_t a, uint32_t b);
uint32_t exprs_or(Exprs *x, const uint32_t *e, size_t n);
uint32_t exprs_and(Exprs *x, const uint32_t *e, size_t n);
uint32_t exprs_not(Exprs *x, uint32_t a);
uint32_t exprs_repeat(Exprs *x, uint32_t a, uint32_t min, uint32_t max);
/* Says that a node holds all characters of the groups given; flags: X_CHAR and a spelling if it holds nothing else. */
void exprs_mark_char(Exprs *x, uint32_t e, uint64_t groups, unsigned flags);

/* The most bytes that any begun string of e lacks to be whole; UINT32_MAX: not known (intersections, complements). */
uint32_t exprs_closing(const Exprs *x, uint32_t e);
/* At most the bytes of its shortest string. */
uint32_t exprs_shortest(const Exprs *x, uint32_t e);
/* Brings class_of up to date with the sets and literals made so far. */
void exprs_classes(Exprs *x);
uint32_t exprs_derive(Exprs *x, uint32_t e, uint8_t byte);
bool exprs_alive(Exprs *x, uint32_t e);
/* The same for all strings of at most reach bytes as far as prefixes go: large bounds become none. */
uint32_t exprs_saturate(Exprs *x, uint32_t e, uint32_t reach);
/* The one large upper bound in e that may be moved down to `least` without a change within reach bytes; 0: there is none. */
uint32_t exprs_bound(const Exprs *x, uint32_t e, uint32_t reach, uint32_t least);
/* Adds delta to every large upper bound. */
uint32_t exprs_shift(Exprs *x, uint32_t e, int64_t delta);
/* Groups of bytes and a number of characters: every string of so few characters of these groups has a live derivative. */
typedef struct {
    uint64_t groups;
    uint32_t chars;
} Absorb;
Absorb exprs_absorb(Exprs *x, uint32_t e);

static inline bool exprs_nullable(const Exprs *x, uint32_t e)
{
    return x->node[e].flags & X_NULLABLE;
}

static inline bool set_has(const ByteSet *s, uint8_t c)
{
    return s->bits[c >> 6] >> (c & 63) & 1;
}

/* Room for one more element of an array; the array may move. */
static inline void *array_room(void *p, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) return p;
    *cap = MAX(*cap * 2, (size_t)16);
    return mem_grow(p, *cap * size);
}

static inline void *array_room32(void *p, uint32_t n, uint32_t *cap, size_t size)
{
    if (n < *cap) return p;
    *cap = MAX(*cap * 2, 16u);
    return mem_grow(p, (size_t)*cap * size);
}

#endif
