/* fuzz_schema.c - a JSON schema of any bytes. Every bit of its first masks is held against the machine itself, and a random walk
 * along them never gets stuck. */
#include "grammar/grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *const tokens[] = { "a", "1",   "0",   "-",     ".",    "e",    "\"",    "\\",
                                      "{", "}",   "[",   "]",     ":",    ",",    " ",     "u",
                                      "/", "{\"", "\":", "\",\"", "null", "true", "false", "\xc3\xa9" };

static Str token_bytes(void *arg, int32_t id)
{
    (void)arg;
    return id < (int32_t)COUNT(tokens) ? str_of(tokens[id]) : (Str){ 0 };
}

static void walk(Grammar *g, uint64_t seed)
{
    GrammarMatcher *m = grammar_matcher_new(g);
    Rng rng = { seed };
    uint32_t w[1];
    for (int i = 0; i < 8 && !grammar_ended(m); i++) {
        if (!grammar_mask(m, w, 1)) break; /* a limit, or these few tokens cannot spell what must come */
        int32_t id;
        for (id = 0; id <= (int32_t)COUNT(tokens); id++)
            CHECK((w[0] >> id & 1) == grammar_accepts(m, &id, 1) || grammar_matcher_failed(m, NULL));
        do id = (int32_t)rng_below(&rng, COUNT(tokens) + 1);
        while (!(w[0] >> id & 1));
        if (!grammar_accept(m, id)) CHECK(grammar_matcher_failed(m, NULL));
    }
    grammar_matcher_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    int32_t end = COUNT(tokens);
    GrammarVocabSpec spec = { .n_tokens = end + 1, .bytes = token_bytes, .end_ids = &end, .n_end_ids = 1 };
    GrammarVocab *v = grammar_vocab_new(&spec);
    GrammarSpec what = { .kind = GRAMMAR_JSON_SCHEMA, .text = { (const char *)data, n } };
    GrammarLimits limits = grammar_default_limits;
    limits.compile_fuel = 100000;
    limits.mask_fuel = 20000;
    Grammar *g;
    GrammarError err;
    if (grammar_compile(v, &what, &limits, NULL, &g, &err) == OK) {
        walk(g, n);
        grammar_drop(g);
    }
    grammar_vocab_drop(v);
    return 0;
}
