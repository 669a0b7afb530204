/* text_check.h - a whole text against a grammar, byte by byte: whether it is accepted. For the tests of front ends. */
#ifndef TESTS_GRAMMAR_TEXT_CHECK_H
#define TESTS_GRAMMAR_TEXT_CHECK_H

#include "grammar/build.h"
#include "test.h"
#include "vocab_of.h"

/* How many bytes are accepted; text.n + 1 if the text may end there too. */
static inline size_t text_accepts(Grammar *g, Str text)
{
    GrammarMatcher *m = grammar_matcher_new(g);
    size_t good = 0;
    Err err;
    while (good < text.n && grammar_accept_bytes(m, str_cut(text, good, good + 1))) good++;
    if (good == text.n && grammar_can_end(m)) good++;
    if (grammar_matcher_failed(m, &err)) print_message("%.80s: %s\n", text.p, err.text);
    grammar_matcher_free(m);
    return good;
}

static inline bool text_accepted(Grammar *g, Str text)
{
    return text_accepts(g, text) > text.n;
}

/* Compiles or prints why not; NULL then. */
static inline Grammar *text_compile(GrammarVocab *v, GrammarKind kind, const char *text, const char *options,
                                    GrammarError *err)
{
    GrammarSpec spec = { kind, str_of(text), options ? str_of(options) : (Str){ 0 } };
    Grammar *g;
    grammar_compile(v, &spec, NULL, NULL, &g, err);
    return g;
}

#endif
