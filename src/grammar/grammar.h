/* grammar.h - constrained decoding: which tokens may come next so that the output stays inside a language.
 *
 * Three objects. A GrammarVocab is a tokenizer seen as bytes: one per model, read-only, shared. A Grammar is a compiled
 * constraint; it may be shared by requests and threads: what it learns on the way (lexer states, rows, masks) it keeps
 * under a lock of its own. A GrammarMatcher is one output under way: one thread at a time.
 *
 * A language here is exact: text is accepted if some derivation of the grammar gives it, whatever the tokens that
 * spell it; a mask has a bit for each token after which the output can still be finished, and for no other. Nothing is
 * ever left unmasked: what would cost more than the limits allow is an error, and the request ends with it.
 *
 * Masks: bit t % 32 of word t / 32, 1 is allowed; ids past the tokenizer's own are 0. */
#ifndef GRAMMAR_GRAMMAR_H
#define GRAMMAR_GRAMMAR_H

#include "base/base.h"

/* ---- the vocabulary ---- */

typedef struct GrammarVocab GrammarVocab;

typedef struct {
    int n_tokens;
    Str (*bytes)(void *arg,
                 int32_t id); /* the raw bytes of a token, borrowed during the call; empty: text never uses it */
    bool (*special)(void *arg, int32_t id); /* true: only rules that name the id allow it, never text */
    void *arg;
    const int32_t *end_ids; /* what may end an output (eos, eot); copied */
    size_t n_end_ids;
} GrammarVocabSpec;

enum { GRAMMAR_MAX_TOKENS = 1 << 20, GRAMMAR_MAX_TOKEN_BYTES = 1000 /* longer tokens are never allowed */ };

/* Any number of references; the last grammar_vocab_drop frees. Thread-safe. */
GrammarVocab *grammar_vocab_new(const GrammarVocabSpec *spec);
GrammarVocab *grammar_vocab_ref(GrammarVocab *v);
void grammar_vocab_drop(GrammarVocab *v); /* NULL is fine */
int grammar_vocab_size(const GrammarVocab *v);
/* Words of a mask that covers the tokenizer: rows of a batch may be longer, grammar_mask zeroes what is past. */
size_t grammar_mask_words(const GrammarVocab *v);
Str grammar_vocab_bytes(const GrammarVocab *v, int32_t id); /* of a text token; empty for specials and unknown ids */
size_t grammar_vocab_memory(const GrammarVocab *v);         /* bytes, shared masks included */

/* ---- limits: counted, so that the same input always meets them at the same place ---- */

typedef struct {
    /* while compiling: E_LIMIT with the place */
    size_t text_bytes;      /* of the constraint */
    uint32_t nesting;       /* of the constraint's own text: groups, schemas, tags */
    uint32_t references;    /* $ref and rule expansions */
    size_t enum_bytes;      /* of enum, const and choice values together */
    uint32_t alternatives;  /* of one rule or one choice */
    uint32_t pattern_nodes; /* expression nodes made for one pattern */
    uint32_t nodes;         /* expression nodes made while compiling */
    uint32_t repeat;        /* largest bound of a repetition */
    uint32_t symbols;       /* rule nodes */
    uint64_t compile_fuel;  /* steps: nodes made, derivatives taken, rows built */
    int64_t compile_ns;     /* wall clock, a backstop */
    /* while running: the request ends with an error */
    uint32_t states;     /* lexer states */
    size_t memory;       /* bytes of one grammar, everything it learned included */
    uint64_t mask_fuel;  /* derivatives taken for one mask or one token */
    uint64_t mask_items; /* parser items made for one mask or one token */
    int64_t mask_ns;     /* wall clock, a backstop: far above what mask_fuel takes, as the machine may be busy */
    uint32_t row_items;  /* items of one parser row */
    uint32_t depth;      /* of nested rules */
} GrammarLimits;

extern const GrammarLimits grammar_default_limits;

/* ---- grammars ---- */

typedef enum {
    GRAMMAR_REGEX,         /* text: a regular expression that the whole output matches */
    GRAMMAR_CHOICE,        /* text: a JSON array of strings, one of which is the output */
    GRAMMAR_EBNF,          /* text: rules, GBNF or SGLang's dialect; root is "root" unless option_json says other */
    GRAMMAR_JSON_SCHEMA,   /* text: a schema */
    GRAMMAR_JSON_OBJECT,   /* text unused: any JSON object */
    GRAMMAR_STRUCTURAL_TAG /* text: JSON, SGLang's and XGrammar's forms */
} GrammarKind;

typedef struct {
    GrammarKind kind;
    Str text;    /* copied */
    Str options; /* a JSON object of options that the front end knows (whitespace, strictness); empty: defaults. Copied */
} GrammarSpec;

typedef struct {
    Err err;
    char pointer[256]; /* JSON pointer (or byte offset for texts that are no JSON) of what was refused; "" if unknown */
} GrammarError;

typedef struct Grammar Grammar;

/* Compiles. Blocks the calling thread for at most limits->compile_ns or so; *cancel (may be NULL) set by another thread
 * stops it with E_CANCELLED. limits NULL: the defaults. The grammar holds a reference of v. */
Status grammar_compile(GrammarVocab *v, const GrammarSpec *spec, const GrammarLimits *limits,
                       const volatile bool *cancel, Grammar **out, GrammarError *err);
Grammar *grammar_ref(Grammar *g);
void grammar_drop(Grammar *g); /* NULL is fine */
GrammarVocab *grammar_vocab_of(const Grammar *g);
size_t grammar_memory(Grammar *g);

/* ---- a cache of grammars: one compilation for equal specs, at most max_bytes kept; failures are kept briefly ---- */

typedef struct GrammarCache GrammarCache;

GrammarCache *grammar_cache_new(size_t max_bytes); /* 0: 256 MiB */
void grammar_cache_free(GrammarCache *c);          /* NULL is fine; grammars still referenced live on */
/* As grammar_compile; a second caller with the same spec waits for the first. The caller drops *out. Thread-safe. */
Status grammar_cache_get(GrammarCache *c, GrammarVocab *v, const GrammarSpec *spec, const GrammarLimits *limits,
                         Grammar **out, GrammarError *err);
/* Only what is there, with a reference for the caller; never waits for a compilation. NULL: not there. Thread-safe. */
Grammar *grammar_cache_find(GrammarCache *c, const GrammarVocab *v, const GrammarSpec *spec);

/* ---- matchers ---- */

typedef struct GrammarMatcher GrammarMatcher;

GrammarMatcher *grammar_matcher_new(Grammar *g); /* holds a reference */
void grammar_matcher_free(GrammarMatcher *m);
GrammarMatcher *grammar_matcher_clone(const GrammarMatcher *m); /* with the history: a clone can roll back as far */
void grammar_matcher_reset(GrammarMatcher *m);

/* Each of these is false (and changes nothing) if the grammar refuses; after an error (grammar_matcher_failed) everything
 * is refused. An end id is accepted only where the output may end; after it nothing is. */
bool grammar_accept(GrammarMatcher *m, int32_t token);
bool grammar_accept_bytes(GrammarMatcher *m, Str bytes); /* counts as one step of the history */
/* As many of the tokens, from the first, as are accepted; changes nothing. For drafts. */
size_t grammar_accepts(GrammarMatcher *m, const int32_t *tokens, size_t n);
size_t grammar_steps(const GrammarMatcher *m);      /* accepted and not rolled back */
bool grammar_rollback(GrammarMatcher *m, size_t n); /* false: there are not that many steps */

/* Writes n_words words (at least grammar_mask_words). Has at least one bit, unless false is returned: an error, or the
 * output has ended. */
bool grammar_mask(GrammarMatcher *m, uint32_t *words, size_t n_words);
bool grammar_can_end(GrammarMatcher *m);     /* an end id is allowed now */
bool grammar_ended(const GrammarMatcher *m); /* an end id was accepted */
/* True if a limit was met (err says which): every later call refuses. */
bool grammar_matcher_failed(const GrammarMatcher *m, Err *err);

/* ---- jump-forward ---- */

/* The one token that may come next, -1 if there is a choice: exact at any time. */
int32_t grammar_forced_token(GrammarMatcher *m);
/* Appends the bytes that must come next, at most max; stops where the output may end or a special token may stand. */
void grammar_forced_bytes(GrammarMatcher *m, size_t max, Buf *out);
/* Appends the tokens that the tokenizer would give for the forced bytes and that no later text can change: the text of the
 * last n_back tokens (their ids in `last`, in order) and the forced bytes are encoded together; nothing is forced if
 * that changes the last tokens; tail tokens are dropped while a longer allowed token could take their place. */
typedef void (*GrammarEncode)(void *arg, Str text, Ids *out);
void grammar_forced_tokens(GrammarMatcher *m, const int32_t *last, size_t n_back, GrammarEncode encode, void *arg,
                           Ids *out);

#endif
