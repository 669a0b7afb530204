/* test_cache.c - one grammar for equal specs, from many threads at once; failures told again; bounded bytes; shared use under load. */
#include <pthread.h>

#include "grammar/grammar.h"
#include "test.h"
#include "vocab_of.h"

static const char *const alphabet[] = { "a", "b", "c", "\"", "0", "1" };
enum { THREADS = 6, ROUNDS = 40 };

typedef struct {
    GrammarCache *c;
    GrammarVocab *v;
    int seed;
    Grammar *first;
} Job;

static Grammar *get(GrammarCache *c, GrammarVocab *v, const char *pattern, Status want)
{
    GrammarSpec spec = { GRAMMAR_REGEX, str_of(pattern), { 0 } };
    GrammarError err;
    Grammar *g;
    Status got = grammar_cache_get(c, v, &spec, NULL, &g, &err);
    CHECK(got == want && (got == OK) == (g != NULL));
    return g;
}

/* All threads walk the same grammars at once, each along its own random path. */
static void *run(void *arg)
{
    Job *job = arg;
    Rng rng = { (uint64_t)job->seed };
    uint32_t words[32];
    for (int i = 0; i < ROUNDS; i++) {
        char pattern[64];
        snprintf(pattern, sizeof pattern, "(\"[a-c]{0,20}\"|[01]{%d,})*", i % 5 + 1);
        Grammar *g = get(job->c, job->v, pattern, OK);
        if (i == 0) job->first = grammar_ref(g);
        GrammarMatcher *m = grammar_matcher_new(g);
        for (int k = 0; k < 20 && !grammar_ended(m); k++) {
            CHECK(grammar_mask(m, words, COUNT(words)));
            int32_t id;
            do id = (int32_t)rng_below(&rng, (uint32_t)grammar_vocab_size(job->v));
            while (!(words[id >> 5] >> (id & 31) & 1));
            CHECK(grammar_accept(m, id));
        }
        grammar_matcher_free(m);
        grammar_drop(g);
        get(job->c, job->v, "(a", E_INVALID);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    static Tokens t;
    Rng rng = { 9 };
    Job job[THREADS];
    pthread_t thread[THREADS];
    GrammarVocab *v = tokens_vocab(&t, &rng, alphabet, COUNT(alphabet), 200, 4);
    GrammarCache *c = grammar_cache_new(0);
    for (int i = 0; i < THREADS; i++) {
        job[i] = (Job){ c, v, i + 1, NULL };
        assert_int_equal(pthread_create(&thread[i], NULL, run, &job[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < THREADS; i++) {
        assert_ptr_equal(job[i].first, job[0].first); /* compiled once */
        grammar_drop(job[i].first);
    }
    grammar_cache_free(c);
    grammar_vocab_drop(v);
}

static void test_bounded(void **state)
{
    (void)state;
    static Tokens t;
    Rng rng = { 9 };
    GrammarVocab *v = tokens_vocab(&t, &rng, alphabet, COUNT(alphabet), 200, 4);
    GrammarCache *c = grammar_cache_new(1 << 20);
    Grammar *kept = get(c, v, "a{7}", OK);
    for (int i = 0; i < 500; i++) {
        char pattern[32];
        snprintf(pattern, sizeof pattern, "(ab){%d}", i + 1);
        grammar_drop(get(c, v, pattern, OK));
    }
    GrammarMatcher *m = grammar_matcher_new(kept); /* out of the cache by now, alive all the same */
    assert_true(grammar_accept_bytes(m, STR("aaaaaaa")));
    assert_true(grammar_can_end(m));
    grammar_matcher_free(m);
    Grammar *again = get(c, v, "a{7}", OK);
    assert_ptr_not_equal(again, kept);
    grammar_drop(again);
    grammar_drop(kept);
    grammar_cache_free(c);
    grammar_vocab_drop(v);
}

static void test_find(void **state)
{
    (void)state;
    static Tokens t;
    Rng rng = { 9 };
    GrammarVocab *v = tokens_vocab(&t, &rng, alphabet, COUNT(alphabet), 200, 4);
    GrammarCache *c = grammar_cache_new(0);
    GrammarSpec spec = { GRAMMAR_REGEX, STR("[ab]+"), { 0 } }, other = spec, bad = { GRAMMAR_REGEX, STR("(a"), { 0 } };
    assert_null(grammar_cache_find(c, v, &spec));
    Grammar *g = get(c, v, "[ab]+", OK), *found = grammar_cache_find(c, v, &spec);
    assert_ptr_equal(found, g);
    grammar_drop(found);
    other.kind = GRAMMAR_CHOICE;
    assert_null(grammar_cache_find(c, v, &other));
    get(c, v, "(a", E_INVALID);
    assert_null(grammar_cache_find(c, v, &bad));
    grammar_drop(g);
    grammar_cache_free(c);
    grammar_vocab_drop(v);
}

static void test_cancel_and_limits(void **state)
{
    (void)state;
    static Tokens t;
    Rng rng = { 9 };
    GrammarVocab *v = tokens_vocab(&t, &rng, alphabet, COUNT(alphabet), 200, 4);
    GrammarSpec spec = { GRAMMAR_REGEX, STR("[a-c]{1,5}"), { 0 } };
    GrammarLimits limits = grammar_default_limits;
    GrammarError err;
    Grammar *g;
    volatile bool cancel = true;
    assert_int_equal(grammar_compile(v, &spec, NULL, &cancel, &g, &err), E_CANCELLED);
    limits.compile_fuel = 5;
    assert_int_equal(grammar_compile(v, &spec, &limits, NULL, &g, &err), E_LIMIT);
    limits = grammar_default_limits;
    limits.text_bytes = 4;
    assert_int_equal(grammar_compile(v, &spec, &limits, NULL, &g, &err), E_LIMIT);
    limits = grammar_default_limits;
    limits.memory = 1;
    assert_int_equal(grammar_compile(v, &spec, &limits, NULL, &g, &err), OK);
    GrammarMatcher *m = grammar_matcher_new(g);
    uint32_t words[32];
    assert_false(grammar_mask(m, words, COUNT(words))); /* over a limit: an error, no mask */
    assert_true(grammar_matcher_failed(m, &err.err));
    assert_false(grammar_accept(m, 'a'));
    grammar_matcher_free(m);
    grammar_drop(g);
    GrammarSpec choice = { GRAMMAR_CHOICE, STR("[\"yes\",\"no\",\"yes sir\"]"), { 0 } };
    assert_int_equal(grammar_compile(v, &choice, NULL, NULL, &g, &err), OK);
    m = grammar_matcher_new(g);
    assert_true(grammar_accept_bytes(m, STR("yes")));
    assert_true(grammar_can_end(m));
    assert_true(grammar_accept_bytes(m, STR(" sir")));
    assert_false(grammar_accept_bytes(m, STR("s")));
    grammar_matcher_free(m);
    grammar_drop(g);
    choice.text = STR("[\"a\", 3]");
    assert_int_equal(grammar_compile(v, &choice, NULL, NULL, &g, &err), E_INVALID);
    assert_string_equal(err.pointer, "/1");
    grammar_vocab_drop(v);
}

/* A grammar that has come near its limit of memory is not handed out again; who holds it may go on. */
static void test_grown(void **state)
{
    (void)state;
    static Tokens t;
    Rng rng = { 5 };
    GrammarVocab *v = tokens_vocab(&t, &rng, alphabet, COUNT(alphabet), 100, 4);
    GrammarCache *c = grammar_cache_new(0);
    GrammarSpec spec = { GRAMMAR_REGEX, STR("(a|b[01]){1,30}c"), { 0 } };
    GrammarLimits limits = grammar_default_limits;
    GrammarError err;
    Grammar *g[3];
    assert_int_equal(grammar_cache_get(c, v, &spec, &limits, &g[0], &err), OK);
    assert_int_equal(grammar_cache_get(c, v, &spec, &limits, &g[1], &err), OK);
    assert_ptr_equal(g[0], g[1]);
    limits.memory = grammar_memory(g[0]) * 3 / 2;
    assert_int_equal(grammar_cache_get(c, v, &spec, &limits, &g[2], &err), OK);
    assert_ptr_not_equal(g[0], g[2]);
    GrammarMatcher *m = grammar_matcher_new(g[0]);
    assert_true(grammar_accept_bytes(m, STR("ab0c")));
    grammar_matcher_free(m);
    for (int i = 0; i < 3; i++) grammar_drop(g[i]);
    grammar_cache_free(c);
    grammar_vocab_drop(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_threads), cmocka_unit_test(test_bounded),
                                        cmocka_unit_test(test_find), cmocka_unit_test(test_cancel_and_limits),
                                        cmocka_unit_test(test_grown) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
