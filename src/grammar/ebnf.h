/* ebnf.h - an EBNF grammar as it was read: rules as trees, all in the Build's arena. Not a door.
 * ebnf_read.c makes it from text, ebnf.c turns it into lexemes and rules. */
#ifndef GRAMMAR_EBNF_H
#define GRAMMAR_EBNF_H

#include "grammar/build.h"

typedef enum {
    EBNF_LITERAL, /* text: UTF-8 */
    EBNF_CLASS,   /* ranges, n of them */
    EBNF_PATTERN, /* text: a regular expression */
    EBNF_TOKENS,  /* id, negate */
    EBNF_REF,     /* rule */
    EBNF_SEQ,     /* first child, its next ... */
    EBNF_ALT,
    EBNF_REPEAT /* first, min, max */
} EbnfKind;

typedef struct EbnfNode EbnfNode;
struct EbnfNode {
    EbnfKind kind;
    bool negate;
    uint32_t at; /* byte of the text */
    Str text;
    CharRange *range;
    uint32_t n, min, max;
    uint32_t rule;
    int32_t id;
    EbnfNode *first, *next;
};

typedef struct {
    Str name;
    uint32_t at;    /* where it was met first */
    EbnfNode *body; /* NULL: not defined */
} EbnfRule;

typedef struct {
    Build *b;
    EbnfRule *rule;
    uint32_t n_rules, cap_rules;
    uint32_t *slots, n_slots; /* rules by name: number + 1 */
    uint32_t n_refs;
} Ebnf;

/* Reads the text; failures are the Build's. Every rule that is named is defined afterwards. */
void ebnf_read(Ebnf *e, Str text);

#endif
