/* syms.h - rules as shared nodes over lexemes, token sets and rules; the upper of the two levels. Not a door.
 *
 * A node is hash-consed like an expression, and residuals are nodes too: after the parser has seen a symbol, what is left of a rule is
 * the node that syms_steps gives for it. Repetitions are never unrolled. Before syms_freeze nothing is known of rules that
 * are not defined yet; after it every node knows whether it may be empty and whether it can be finished at all. */
#ifndef GRAMMAR_SYMS_H
#define GRAMMAR_SYMS_H

#include "grammar/forms.h"

typedef enum {
    Y_NOTHING,
    Y_EMPTY,
    Y_LEXEME, /* a: its expression, c: 1 if that matches empty text */
    Y_TOKENS, /* a: number of the token set */
    Y_RULE,   /* a: number of the rule */
    Y_SEQ,    /* a then b */
    Y_ALT,    /* a: offset in kids, b: how many; sorted */
    Y_REPEAT, /* a, at least b times, at most c */
    Y_FORM,   /* a: number of the form, b, c: its state (forms.c) */
} SymKind;

enum { SYMS_MAX_NODES = 1 << 24 };
enum { Y_NULLABLE = 1, Y_FINITE = 2 /* some text or token sequence ends it */ };

typedef struct {
    uint8_t kind, flags;
    uint16_t height;
    uint32_t a, b, c;
    uint32_t steps, n_steps; /* offset in Syms.steps + 1, 0: not made yet */
} SymNode;

/* One way on: see this symbol (a node of kind lexeme, tokens or rule), then the rest is left. */
typedef struct {
    Sym symbol, rest;
} SymStep;

typedef struct {
    Sym body; /* SYM_NOTHING and !defined: not yet */
    bool defined, nullable, finite;
    Str name;
} Rule;

typedef struct {
    uint32_t at, n; /* ids, sorted, in Syms.ids */
    bool all_but;
} TokenSet;

typedef struct Syms {
    SymNode *node;
    uint32_t n, cap, max_nodes;
    uint32_t *slots, n_slots;
    uint32_t *kids;
    size_t n_kids, cap_kids;
    SymStep *steps;
    size_t n_steps, cap_steps;
    SymStep *tmp;
    size_t n_tmp, cap_tmp;
    Rule *rule;
    uint32_t n_rules, cap_rules;
    TokenSet *set;
    uint32_t n_sets, cap_sets;
    int32_t *ids;
    size_t n_ids, cap_ids;
    Form *form;
    uint32_t n_forms, cap_forms;
    FormSets form_sets;
    bool frozen, over; /* over: max_nodes was met */
    uint64_t fuel;
} Syms;

void syms_init(Syms *s, uint32_t max_nodes);
void syms_done(Syms *s);
size_t syms_memory(const Syms *s);
Sym syms_leaf(Syms *s, SymKind kind, uint32_t number, bool nullable);
Sym syms_seq(Syms *s, Sym a, Sym b);
Sym syms_alt(Syms *s, const Sym *a, size_t n);
Sym syms_repeat(Syms *s, Sym a, uint32_t min, uint32_t max);
Sym syms_form_node(Syms *s, uint32_t form, uint32_t b, uint32_t c);
/* Inside of syms_steps: the ways on from a, each followed by `then`. */
void syms_collect_before(Syms *s, Sym a, Sym then);
/* Finds out which nodes may be empty and which can be finished; false: fuel is out. */
bool syms_freeze(Syms *s);
/* The ways on from a node, sorted by symbol, one for each; valid until the next call that makes nodes. Only ways that can be
 * finished. */
const SymStep *syms_steps(Syms *s, Sym a, uint32_t *n);
bool syms_token_in(const Syms *s, uint32_t set, int32_t id);

#endif
