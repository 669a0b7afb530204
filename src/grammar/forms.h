/* forms.h - parts of which each may come once, in any order, and lists that must hold certain items. Not a door.
 *
 * Written as rules, an object of twenty keys in any order would be a million of them. A form is one node for each state it is met
 * in - which parts are there, which needs are met, how many others came - and says its ways on only when the parser asks.
 * A need is something that so many entries must do; an entry that may do some of them has a variant for each subset it does. Several
 * variants may match the same text: the parser follows them all. Thread: that of the Syms. */
#ifndef GRAMMAR_FORMS_H
#define GRAMMAR_FORMS_H

#include "grammar/build.h"

enum { FORM_MAX_LIST = 20000 /* states of a list */, FORM_SUBSETS = 1 << FORM_MAX_NEEDS };

typedef struct {
    FormSpec spec;     /* its arrays are own */
    uint64_t *must;    /* parts that are required, as bits */
    uint64_t *can;     /* parts that may be finished, as bits: final once the rules are frozen */
    uint8_t *alive;    /* lists: by state */
    uint32_t cap;      /* counts from here on are the same */
    uint32_t n_counts; /* lists: combinations of the needs' counts */
} Form;

/* Sets of parts that are there, interned. */
typedef struct {
    uint64_t *bits;
    size_t n_bits, cap_bits;
    uint32_t *at; /* offsets, [n_sets + 1] */
    size_t n_sets, cap_sets;
    uint32_t *slots;
    size_t n_slots;
} FormSets;

struct Syms;
void forms_done(struct Syms *s);
size_t forms_memory(const struct Syms *s);
/* The node of a new form in its first state; the spec is copied. */
Sym forms_new(struct Syms *s, const FormSpec *spec);
/* Of that node: Y_FINITE, Y_NULLABLE; from the flags of its entries. */
unsigned forms_flags(struct Syms *s, uint32_t form, uint32_t b, uint32_t c);
/* Collects the ways on (syms_collect_before). */
void forms_collect(struct Syms *s, Sym e);

#endif
