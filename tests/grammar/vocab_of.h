/* vocab_of.h - small vocabularies for tests: every byte, then pieces made of an alphabet, a special token and an end token. */
#ifndef TESTS_GRAMMAR_VOCAB_OF_H
#define TESTS_GRAMMAR_VOCAB_OF_H

#include "grammar/grammar.h"

typedef struct {
    Str token[4096];
    char text[4096][64];
    int n;
    int32_t special, end;
} Tokens;

static Str tokens_bytes(void *arg, int32_t id)
{
    return ((Tokens *)arg)->token[id];
}

static bool tokens_special(void *arg, int32_t id)
{
    const Tokens *t = arg;
    return id == t->special || id == t->end;
}

static inline void tokens_add(Tokens *t, const char *p, size_t n)
{
    memcpy(t->text[t->n], p, n);
    t->token[t->n] = (Str){ t->text[t->n], n };
    t->n++;
}

/* Then <special> and <end>, and the vocabulary of all of them. */
static inline GrammarVocab *tokens_close(Tokens *t)
{
    t->special = t->n;
    tokens_add(t, "<special>", 9);
    t->end = t->n;
    tokens_add(t, "<end>", 5);
    GrammarVocabSpec spec = { t->n, tokens_bytes, tokens_special, t, &t->end, 1 };
    return grammar_vocab_new(&spec);
}

static inline void tokens_add_bytes(Tokens *t)
{
    *t = (Tokens){ 0 };
    for (int c = 0; c < 256; c++) tokens_add(t, (char[]){ (char)c }, 1);
}

/* 256 bytes, n random pieces of up to max characters of the alphabet, then <special> and <end>. */
static inline GrammarVocab *tokens_vocab(Tokens *t, Rng *rng, const char *const *alphabet, size_t n_alphabet, int n,
                                         int max)
{
    tokens_add_bytes(t);
    for (int i = 0; i < n; i++) {
        char piece[16];
        size_t len = 0;
        for (int k = 1 + (int)rng_below(rng, (uint32_t)max); k > 0; k--) {
            const char *c = alphabet[rng_below(rng, (uint32_t)n_alphabet)];
            if (len + strlen(c) > sizeof piece) break;
            memcpy(piece + len, c, strlen(c));
            len += strlen(c);
        }
        tokens_add(t, piece, len);
    }
    return tokens_close(t);
}

#endif
