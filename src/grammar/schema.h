/* schema.h - JSON schemas as sets of JSON values. Not a door: schema.c is the front end.
 *
 * A SchemaSet is a union: words, numbers and strings as expressions, single strings and numbers, and shapes of arrays and objects. Sets
 * meet, join and are taken from each other exactly (schema_set.c). What is inside an array or object is a SchemaTerm: a
 * conjunction of schemas of the document and of complements of such, looked at when it is needed; there are finitely
 * many, so recursion ends. A term says nothing until schema_term_set is asked.
 *
 * Everything lives in the Build's arena; nothing here is freed. NULL for a set: the Build has failed, or (while only probing whether
 * something is empty) it is not known yet. Thread: the Build's. */
#ifndef GRAMMAR_SCHEMA_H
#define GRAMMAR_SCHEMA_H

#include <jansson.h>

#include "grammar/build.h"

typedef uint32_t Term;
enum { TERM_ANY = 0, TERM_NONE = 1 };

/* How values are written down. The texts are marks: special tokens in them are meant as tokens. schema_style.c has the list. */
typedef struct SchemaStyle SchemaStyle;
struct SchemaStyle {
    const char *name;
    Spelling spell;
    const char *null_word, *true_word, *false_word;
    const char *quote;                       /* on both sides of a string */
    const char *open, *shut, *comma, *colon; /* of an object */
    const char *key_before, *key_after;      /* around a key */
    const char *other_keys;                  /* the one spelling of keys that are not listed: a pattern */
    const char *value;                       /* behind the colon and white space; NULL: nothing */
    const SchemaStyle *inner;                /* the members' values are written in this one; NULL: in the same */
    /* Members as text up to a mark, where a value is a string. NULL: values as they are. */
    const char *close;
    bool line;           /* a line end may stand before and behind such a text */
    const char *kind[6]; /* before a value: string, number, boolean, null, array, object */
};
extern const SchemaStyle schema_style_json;

typedef struct {
    Str name; /* decoded */
    Str text; /* as JSON writes it, without quotes */
    Term term;
    bool required;
} SchemaProp;

/* Keys that are no known property, and what their values are. Classes of one object are disjoint; a key in none is not allowed. */
typedef struct {
    Expr keys; /* insides of JSON strings, in every spelling */
    Term term;
} SchemaClass;

/* Some key of these, a property or another, has a value of that term. */
typedef struct {
    Expr keys;
    Term term;
} SchemaKeyNeed;

typedef struct {
    SchemaProp *prop;
    SchemaClass *class;
    uint32_t n_props, n_classes;
    uint32_t min, max;
    uint32_t n_needs;
    SchemaKeyNeed need[FORM_MAX_NEEDS];
} SchemaObject;

/* From index `from` on, so many items are of that term. */
typedef struct {
    uint32_t from, min, max;
    Term term;
} SchemaItemNeed;

typedef struct {
    Term *prefix;
    uint32_t n_prefix;
    Term rest;
    uint32_t min, max;
    bool unique;
    uint32_t n_needs;
    SchemaItemNeed need[FORM_MAX_NEEDS];
} SchemaArray;

/* One string or number. */
typedef struct {
    bool string;
    bool point; /* a whole number that the schema writes with .0 */
    Str name;   /* decoded string, or the number in plain decimals */
    Str text;   /* inside of the JSON string, or the number */
} SchemaLit;

enum { WORD_NULL = 1, WORD_TRUE = 2, WORD_FALSE = 4, WORD_ALL = 7 };

typedef struct {
    unsigned words;
    bool exponents; /* all numbers, in every spelling */
    bool whole;     /* number holds integers alone */
    Expr number;    /* plain decimals, without -0: with a value every spelling of it */
    Expr string;    /* insides of JSON strings, in every spelling */
    SchemaLit *lit;
    SchemaArray *array;
    SchemaObject *object;
    uint32_t n_lits, n_arrays, n_objects;
} SchemaSet;

typedef struct {
    json_t *json;
    bool is_const; /* the value itself, not a schema */
    Str pointer;
    const SchemaSet *set;
    bool busy;
} SchemaNode;

typedef struct {
    uint32_t *lit; /* node * 2 + 1 if it is the complement; sorted */
    uint32_t n;
    const SchemaSet *set;
    uint8_t empty; /* 0 not asked, 1 yes, 2 no or not known */
    bool busy, has_sym;
    Sym sym;
} SchemaTerm;

typedef struct Schema Schema;
struct Schema {
    Build *b;
    Arena *mem;
    const SchemaStyle *style;
    Schema *inner; /* of style->inner, over the same document */
    json_t *root;
    SchemaNode *node;
    uint32_t n_nodes, cap_nodes, *node_slots, n_node_slots;
    SchemaTerm *term;
    uint32_t n_terms, cap_terms, *term_slots, n_term_slots;
    uint32_t depth, probing, n_refs;
    enum { SCHEMA_AUTO_ORDER, SCHEMA_IN_ORDER, SCHEMA_ANY_ORDER } order; /* of keys: see schema_object.c */
    bool exact_numbers;                                                  /* see SchemaHow */
    bool legacy_refs; /* up to draft 7 what stands beside $ref is not looked at */
    Expr all_strings, decimals, integers;
    SchemaSet *any;
    Term *todo; /* terms whose rule is not defined yet */
    uint32_t n_todo, cap_todo;
    Expr space, key_text; /* optional white space; keys in their one spelling */
    Expr colon, comma;    /* with the space behind them */
};

/* ---- schema.c ---- */

typedef struct {
    Str options;        /* as of the front end */
    uint32_t max_space; /* longest run of white space; BUILD_INF: as the options say */
    const SchemaStyle *style;
    bool exact; /* integers of the document are integers: none was too large and read as a real */
} SchemaHow;

/* A schema that belongs to another front end's document, which outlives the call. */
Sym schema_sym(Build *b, json_t *root, const SchemaHow *how);
/* What is said of a set by schemas, as a symbol; its arrays and objects are written now, what is in them later. */
Sym schema_sym_of_set(Schema *s, const SchemaSet *x);
/* The same for a term; SYM_NOTHING: nothing is in it. */
Sym schema_sym_of_term(Schema *s, Term t);
/* Text with an expression before and one behind it; special tokens in it are tokens. */
Sym schema_sym_text(Schema *s, Expr before, Str text, Expr after);

/* ---- schema_style.c ---- */

/* NULL: there is no style of that name. */
const SchemaStyle *schema_style_find(Str name);
/* The value of a member, with all that its style puts behind it. */
Sym schema_style_value(Schema *s, Term t);

/* Room in the arena for one more element of an array, which may move. */
void *schema_room(Schema *s, void *p, uint32_t n, uint32_t *cap, size_t size);
/* Fails with the place of the keyword (NULL: of the schema itself). */
Status schema_refuse(Schema *s, Str at, const char *key, Status status, const char *why);

/* ---- schema_object.c, schema_array.c: shapes as rules ---- */

Sym schema_object_sym(Schema *s, const SchemaObject *o, bool alone); /* alone: no other shape of the same value */
Sym schema_array_sym(Schema *s, const SchemaArray *a);

/* ---- schema_set.c: sets ---- */

const SchemaSet *schema_set_and(Schema *s, const SchemaSet *x, const SchemaSet *y);
const SchemaSet *schema_set_or(Schema *s, const SchemaSet *x, const SchemaSet *y);
const SchemaSet *schema_set_without(Schema *s, const SchemaSet *x, const SchemaSet *y);
/* True if nothing is in it for sure. */
bool schema_set_empty(Schema *s, const SchemaSet *x, int depth);
bool schema_set_term_empty(Schema *s, Term t, int depth);
/* What a key's value is in that shape: of the property, or of the class the key is in. */
Term schema_set_value_of(Schema *s, const SchemaObject *o, Str name, Str text);
extern const SchemaSet schema_set_nothing;

/* ---- schema_term.c: nodes and terms ---- */

uint32_t schema_term_node(Schema *s, json_t *json, Str pointer, bool is_const);
Term schema_term_of(Schema *s, json_t *schema, Str pointer);
Term schema_term_const(Schema *s, json_t *value, Str pointer);
Term schema_term_and(Schema *s, Term x, Term y);
/* The term of the same schemas in s->inner. */
Term schema_term_inner(Schema *s, Term t);
/* t and the complement of one of u's parts. */
Term schema_term_without(Schema *s, Term t, Term u, uint32_t part);
uint32_t schema_term_parts(const Schema *s, Term t);
const SchemaSet *schema_term_set(Schema *s, Term t);
const SchemaSet *schema_term_node_set(Schema *s, uint32_t node);
Str schema_term_child(Schema *s, Str pointer, const char *key);
Str schema_term_item(Schema *s, Str pointer, size_t i);
Str schema_term_escaped(Schema *s, Str name); /* as JSON writes it, without quotes */

/* ---- schema_read.c, schema_shape.c: what a schema says ---- */

const SchemaSet *schema_read(Schema *s, const SchemaNode *n);
const SchemaSet *schema_read_const(Schema *s, json_t *value, Str pointer);
bool schema_shape_object(Schema *s, json_t *j, Str at, SchemaObject *out);
bool schema_shape_array(Schema *s, json_t *j, Str at, SchemaArray *out);

/* ---- schema_number.c, schema_format.c ---- */

/* minimum, maximum, multipleOf and the like, met with what is given. */
Expr schema_number_bounds(Schema *s, json_t *j, Str at, Expr number);
Str schema_number_text(Schema *s, json_t *number);                 /* plain decimals */
bool schema_number_rounded(const Schema *s, const json_t *number); /* may not be the number that was written */
Expr schema_number_spellings(Schema *s, Str text);                 /* every decimal of that value */
/* False: the format is an annotation. */
bool schema_format(Schema *s, Str name, Expr *out);

#endif
