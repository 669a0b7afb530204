/* build.h - what a front end fills: a grammar as rules over lexemes, and lexemes as regular expressions over bytes.
 * The inner door of the folder: schema, EBNF, tags and patterns are written on it, the parser reads what it holds.
 *
 * The two levels mean the same kind of thing - a language - and may be mixed freely; a derivation is exact at both, with no
 * longest-match rule. Choose by cost: a lexeme is a regular language run as one automaton, so a JSON string with its pattern
 * and length, a number with bounds, an enum, a literal key belong in one lexeme each (with intersection and complement
 * at hand); objects, arrays, recursion and anything with a special token are rules. Never split a string or a number over
 * several lexemes, and never put two optional-whitespace lexemes side by side: each ambiguity costs time, not correctness.
 * "Text up to a mark" is a lexeme too: expr_until. Whitespace: a lexeme such as expr_json_space, put where the
 * form allows it, or made part of a literal ("," then space then "\"key\"") where that reads well.
 *
 * Errors are sticky: the first failure is kept with the place set by build_at, every later call is a no-op that returns
 * EXPR_NOTHING or SYM_NOTHING, and compiling fails with it. A front end may look at build_failed in its loops; it has to
 * in loops whose length the caller of the API decides. Everything is bounded: nodes, symbols and fuel are counted by the
 * functions here, nesting and references by the front ends through build_limits.
 *
 * Thread: one Build, one thread. */
#ifndef GRAMMAR_BUILD_H
#define GRAMMAR_BUILD_H

#include "grammar/grammar.h"

typedef struct Build Build;
typedef uint32_t Expr; /* a set of byte strings; equal ids: equal structure */
typedef uint32_t Sym;  /* a rule, a lexeme, or what is put together from them */

enum { EXPR_NOTHING = 0, EXPR_EMPTY = 1, SYM_NOTHING = 0, SYM_EMPTY = 1 };
#define BUILD_INF UINT32_MAX /* a repetition without an upper bound */

/* ---- the builder ---- */

const GrammarLimits *build_limits(const Build *b);
Arena *build_arena(Build *b); /* lives as long as the compilation */
/* Where the front end is: a JSON pointer, or "byte 12". Copied, cut to fit. */
void build_at(Build *b, Str place);
/* Where a front end inside another one works: put before every place that is a JSON pointer; other places are this one.
 * Empty: none. Borrowed until the next call. */
void build_under(Build *b, Str prefix);
Status build_fail(Build *b, Status status, const char *fmt, ...) PRINTF_LIKE(3, 4);
bool build_failed(const Build *b);
/* Takes n steps of fuel and looks at the clock and the cancel flag now and then; false: failed (now or before). */
bool build_spend(Build *b, uint64_t n);
/* Counts bytes of enum, const and choice values; false: over the limit. */
bool build_count_enum(Build *b, size_t bytes);

/* ---- expressions ---- */

typedef struct {
    uint64_t bits[4]; /* byte c: bit c % 64 of bits[c / 64] */
} ByteSet;

typedef struct {
    uint32_t first, last; /* code points, inclusive; surrogates inside a range are left out */
} CharRange;

/* How characters are spelled: as UTF-8; as the inside of a JSON string: raw where JSON allows it, and every escape:
 * \n, \", \/, \u000a in either case, surrogate pairs; or as the inside of "..." in Python: raw, \n, \", \', \u000a.
 * Each spelled character decodes to one code point. */
typedef enum { SPELL_UTF8, SPELL_JSON, SPELL_PYTHON } Spelling;

Expr expr_bytes(Build *b, ByteSet set);
Expr expr_literal(Build *b, Str bytes);                                /* exactly these bytes */
Expr expr_text(Build *b, Str text, Spelling how);                      /* the text in every spelling; bad UTF-8 fails */
Expr expr_class(Build *b, const CharRange *r, size_t n, Spelling how); /* one character; ranges in any order */
Expr expr_any_char(Build *b, Spelling how);
Expr expr_cat(Build *b, Expr x, Expr y);
Expr expr_cat_n(Build *b, const Expr *x, size_t n);
Expr expr_or(Build *b, Expr x, Expr y);
Expr expr_or_n(Build *b, const Expr *x, size_t n);
Expr expr_and(Build *b, Expr x, Expr y);
Expr expr_and_n(Build *b, const Expr *x, size_t n);
/* All byte strings that are not in x. Meet it with what may stand there: expr_without(any text, x). */
Expr expr_not(Build *b, Expr x);
Expr expr_without(Build *b, Expr x, Expr y);                    /* x and not y */
Expr expr_repeat(Build *b, Expr x, uint32_t min, uint32_t max); /* never unrolled; 0, BUILD_INF is x* */
/* One of many literals, as a tree by their first bytes: the form for enums, keys and choices. Any order, may repeat. */
Expr expr_one_of(Build *b, const Str *literals, size_t n);
/* Whole characters up to and with the first occurrence of mark: no proper prefix of a match holds it. */
Expr expr_until(Build *b, Str mark, Spelling how);
/* Whole characters without any of the marks inside. */
Expr expr_text_without(Build *b, const Str *marks, size_t n, Spelling how);
/* True if no string is in x; may spend fuel. Every lexeme is tested; a front end asks where it wants a better sentence. */
bool expr_is_nothing(Build *b, Expr x);
bool expr_matches_empty(const Build *b, Expr x);
/* True if s is in x: by derivatives, spends fuel. */
bool expr_matches(Build *b, Expr x, Str s);

/* ---- patterns: regular expressions as users write them (pattern.c says what is understood) ---- */

enum {
    PATTERN_SEARCH = 1, /* found anywhere, as JSON Schema's `pattern`; else the whole text matches */
    PATTERN_DOT_ALL = 2 /* . is any character; else any but line ends */
};

/* Fails by name for look-around, back-references and the like. */
Expr pattern_build(Build *b, Str pattern, int flags, Spelling how);

/* ---- rules ---- */

/* A terminal. A lexeme that matches empty text is an optional one. Equal expressions give the same lexeme. Fails if the
 * expression matches nothing. */
Sym rule_lexeme(Build *b, Expr x);
/* One of these token ids; for special tokens, and for text tokens named by id. */
Sym rule_token(Build *b, const int32_t *ids, size_t n);
Sym rule_any_token_but(Build *b, const int32_t *ids, size_t n); /* of all ids but the end ids */
Sym rule_seq(Build *b, const Sym *s, size_t n);
Sym rule_alt(Build *b, const Sym *s,
             size_t n); /* SYM_NOTHING parts are dropped; none left: SYM_NOTHING, which matches nothing */
Sym rule_repeat(Build *b, Sym s, uint32_t min, uint32_t max); /* never unrolled */

/* Parts in any order, each at most once, perhaps with others between them; or a list of items. An entry (a part, an other, an item)
 * may do some of the needs: it has a variant for each set of them, SYM_NOTHING where there is none. Every entry brings what
 * stands between it and the one before, so there are two of each: as the first of all, and later. */
enum { FORM_MAX_NEEDS = 3, FORM_MAX_PARTS = 4096 };
typedef struct {
    uint32_t min, max; /* how many entries do it; sets: 1 and BUILD_INF */
} FormNeed;
typedef struct {
    bool list;            /* entry i is item i, the last of them all later ones */
    uint32_t n_parts;     /* at most FORM_MAX_PARTS; lists: at least 1 */
    const Sym *entry;     /* [first, later][n_parts][1 << FORM_MAX_NEEDS] */
    const Sym *other;     /* sets: [first, later][1 << FORM_MAX_NEEDS]; NULL: none */
    const bool *required; /* sets: [n_parts] */
    Sym shut[2];          /* the end: of nothing, and behind an entry */
    uint32_t min, max;    /* entries in all */
    uint32_t n_needs;
    FormNeed need[FORM_MAX_NEEDS];
} FormSpec;
Sym rule_form(Build *b, const FormSpec *spec);

/* A named rule, for recursion and sharing: made first, defined once later; undefined ones fail the compilation. */
Sym rule_new(Build *b, Str name);
void rule_define(Build *b, Sym rule, Sym body);

/* ---- front ends (compile.c has the table) ---- */

/* Returns the root; on failure anything, the Build knows. */
typedef Sym (*FrontEnd)(Build *b, const GrammarSpec *spec);

/* Compiles what a front end of the caller's makes; grammar_compile picks one by spec->kind. */
Status build_compile(GrammarVocab *v, FrontEnd front, const GrammarSpec *spec, const GrammarLimits *limits,
                     const volatile bool *cancel, Grammar **out, GrammarError *err);

Sym pattern_front(Build *b, const GrammarSpec *spec);
Sym choice_front(Build *b, const GrammarSpec *spec);
Sym ebnf_front(Build *b, const GrammarSpec *spec);
Sym schema_front(Build *b, const GrammarSpec *spec);
Sym tag_front(Build *b, const GrammarSpec *spec);
/* A grammar inside another front end's text. */
Sym ebnf_sym(Build *b, Str text, Str root);

#endif
