/* language.h - a vocabulary for the engine's tests: every byte, pieces of several, and an end token; grammars over it; and a tokenizer
 * that takes the longest piece at each place. */
#ifndef TESTS_ENGINE_LANGUAGE_H
#define TESTS_ENGINE_LANGUAGE_H

#include "engine/bench.h"
#include "grammar/grammar.h"

enum { LANGUAGE_END = VOCAB - 1, LANGUAGE_BYTES = 256, LANGUAGE_PIECE = 8 };

typedef struct {
    char piece[VOCAB][LANGUAGE_PIECE];
    Str token[VOCAB];
    GrammarVocab *vocab;
} Language;

static Str language_bytes(void *arg, int32_t id)
{
    return ((const Language *)arg)->token[id];
}

static bool language_special(void *arg, int32_t id)
{
    (void)arg;
    return id == LANGUAGE_END;
}

static inline void language_open(Language *l)
{
    static const char *const parts[] = { "{\"", "\"}", "\":", "\",\"", "name", "na", "ab",  "abc", "1",  "12",
                                         "on",  "off", "tr",  "true",  "e",    "x",  "xyz", " ",   ", ", "],[" };
    Rng rng = { 77 };
    int32_t end = LANGUAGE_END;
    *l = (Language){ 0 };
    for (int i = 0; i < VOCAB; i++) {
        size_t n = 0;
        if (i < LANGUAGE_BYTES) l->piece[i][n++] = (char)i;
        for (int k = 0; i >= LANGUAGE_BYTES && i < LANGUAGE_END && k < 2; k++) {
            const char *s = parts[rng_below(&rng, COUNT(parts))];
            if (n + strlen(s) > LANGUAGE_PIECE) break;
            memcpy(l->piece[i] + n, s, strlen(s));
            n += strlen(s);
        }
        l->token[i] = (Str){ l->piece[i], n };
    }
    GrammarVocabSpec spec = { VOCAB, language_bytes, language_special, l, &end, 1 };
    l->vocab = grammar_vocab_new(&spec);
}

static inline void language_close(Language *l)
{
    grammar_vocab_drop(l->vocab);
}

static inline Grammar *language_grammar(Language *l, GrammarKind kind, const char *text, const GrammarLimits *limits)
{
    GrammarSpec spec = { kind, str_of(text), { 0 } };
    GrammarError err;
    Grammar *g;
    if (grammar_compile(l->vocab, &spec, limits, NULL, &g, &err) != OK) fprintf(stderr, "%s: %s\n", text, err.err.text);
    assert_non_null(g);
    return g;
}

static inline void language_encode(void *arg, Str text, Ids *out)
{
    const Language *l = arg;
    for (size_t i = 0; i < text.n;) {
        int32_t best = (uint8_t)text.p[i];
        for (int32_t id = LANGUAGE_BYTES; id < LANGUAGE_END; id++)
            if (l->token[id].n > l->token[best].n && str_starts(str_cut(text, i, text.n), l->token[id])) best = id;
        ids_push(out, best);
        i += l->token[best].n;
    }
}

/* Whether the tokens stay inside g; whole: and may end there. */
static inline bool language_has(Grammar *g, const int32_t *tok, int n, bool whole)
{
    GrammarMatcher *m = grammar_matcher_new(g);
    bool good = grammar_accepts(m, tok, (size_t)n) == (size_t)n;
    for (int i = 0; i < n && good; i++) grammar_accept(m, tok[i]);
    if (whole) good = good && grammar_can_end(m);
    grammar_matcher_free(m);
    return good;
}

static inline void language_text(const Language *l, const int32_t *tok, int n, Buf *out)
{
    for (int i = 0; i < n; i++) buf_str(out, l->token[tok[i]]);
}

#endif
