/* grammar_run.h - a text held against a constraint token by token, timed: shared by `grammar-check` and `bench grammar`. */
#ifndef CLI_GRAMMAR_RUN_H
#define CLI_GRAMMAR_RUN_H

#include "grammar/grammar.h"
#include "tok/tok.h"

/* The tokenizer at a path (a model or tokenizer file) and its vocabulary (vocab_ms may be NULL: what making it took); prints why and returns false if it cannot. */
bool grammar_run_open(const char *path, Tokenizer **t, GrammarVocab **v, double *vocab_ms);
/* Makes the mask of the begin: it belongs to the price of a constraint, a request waits for both. */
void grammar_run_first_mask(Grammar *g);

typedef struct {
    bool accepted; /* every token was in its mask, and an end token is allowed after the last */
    int at;        /* of the token that was refused, or the number of tokens */
    double *us;    /* of each mask and the token's acceptance; kept by the caller over runs */
    size_t n, cap; /* of us: n is added to */
    bool cpu; /* set by the caller: the thread's time on a processor, not the wall's; reading it costs about 0.3 us */
} GrammarRun;

/* Appends to run->us; what it held before stays. text must be what the constraint is about: whole. */
void grammar_run_text(GrammarMatcher *m, const Tokenizer *t, Str text, int tok_flags, GrammarRun *run);

/* The end of the JSON value that begins at s[i] (white space before it is skipped), SIZE_MAX if there is none. Looks at
 * brackets and strings only; the caller knows the text to be JSON, or hears of it from who reads the value. */
size_t grammar_run_value(Str s, size_t i);
/* The value of a key of the object that s is, as it stands there; n 0: there is none. */
Str grammar_run_member(Str s, const char *key);
/* Appends the value without the white space between its parts. */
void grammar_run_compact(Str value, Buf *out);

#endif
