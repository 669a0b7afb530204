/* mask_check.h - masks against the definition: a token is allowed if its bytes, one by one, are. */
#ifndef TESTS_GRAMMAR_MASK_CHECK_H
#define TESTS_GRAMMAR_MASK_CHECK_H

#include "grammar/grammar.h"
#include "test.h"
#include "vocab_of.h"

static inline bool mask_bit(const uint32_t *w, int32_t id)
{
    return w[id >> 5] >> (id & 31) & 1;
}

/* A byte that no text here may hold is allowed only where rules take tokens by their ids. */
static inline bool mask_ids_allowed(GrammarMatcher *m)
{
    return grammar_accepts(m, (int32_t[]){ 0xff }, 1) == 1;
}

/* The mask of a state is what its definition says, for every token. */
static inline void mask_check(GrammarMatcher *m, const Tokens *t)
{
    bool by_id = mask_ids_allowed(m);
    uint32_t words[160];
    assert_true(grammar_mask(m, words, COUNT(words)));
    for (int32_t id = 0; id < t->n; id++) {
        bool want;
        if (id == t->end)
            want = grammar_can_end(m);
        else if (id == t->special)
            want = grammar_accepts(m, &id, 1) == 1;
        else {
            GrammarMatcher *c = grammar_matcher_clone(m);
            want = true;
            for (size_t i = 0; i < t->token[id].n && want; i++)
                want = grammar_accept_bytes(c, str_cut(t->token[id], i, i + 1));
            grammar_matcher_free(c);
            if (by_id && !want) want = grammar_accepts(m, &id, 1) == 1;
        }
        if (mask_bit(words, id) != want)
            print_message("token %d \"%.*s\": mask %d\n", id, STR_FMT(t->token[id]), !want);
        assert_int_equal(mask_bit(words, id), want);
    }
    for (int32_t id = t->n; id < 160 * 32; id++) assert_false(mask_bit(words, id));
}

static inline int32_t mask_pick(Rng *rng, const uint32_t *w, int n)
{
    int allowed = 0;
    for (int32_t i = 0; i < n; i++) allowed += mask_bit(w, i);
    int k = (int)rng_below(rng, (uint32_t)allowed);
    for (int32_t i = 0; i < n; i++)
        if (mask_bit(w, i) && k-- == 0) return i;
    return -1;
}

/* A random walk that keeps to the masks; every state checked. */
static inline void mask_walk_from(GrammarMatcher *m, const Tokens *t, Rng *rng, int steps)
{
    uint32_t words[160];
    for (int i = 0; i < steps && !grammar_ended(m); i++) {
        mask_check(m, t);
        assert_true(grammar_mask(m, words, COUNT(words)));
        int32_t id = mask_pick(rng, words, t->n);
        assert_true(grammar_accept(m, id));
    }
    Err err = { 0 };
    assert_false(grammar_matcher_failed(m, &err));
}

static inline void mask_walk(Grammar *g, const Tokens *t, Rng *rng, int steps)
{
    GrammarMatcher *m = grammar_matcher_new(g);
    mask_walk_from(m, t, rng, steps);
    grammar_matcher_free(m);
}

#endif
