/* fuzz_grammar.h - what the fuzz targets of the grammar's front ends share: a vocabulary of a few tokens, compiling under small limits, and a
 * random walk along the masks in which every bit is held against the machine itself. It never gets stuck. */
#include "grammar/build.h"

typedef struct {
    const char *const *text;
    int32_t n; /* the id after them ends the output */
} FuzzTokens;

static Str token_bytes(void *arg, int32_t id)
{
    const FuzzTokens *t = arg;
    return id < t->n ? str_of(t->text[id]) : (Str){ 0 };
}

/* <|...|> is a special token. */
static bool token_special(void *arg, int32_t id)
{
    return str_starts(token_bytes(arg, id), STR("<|"));
}

static void walk(Grammar *g, int32_t n_tokens, uint64_t seed)
{
    GrammarMatcher *m = grammar_matcher_new(g);
    Rng rng = { seed };
    uint32_t w[1];
    for (int i = 0; i < 8 && !grammar_ended(m); i++) {
        if (!grammar_mask(m, w, 1)) break; /* a limit, or these few tokens cannot spell what must come */
        int32_t id;
        for (id = 0; id <= n_tokens; id++)
            CHECK((w[0] >> id & 1) == grammar_accepts(m, &id, 1) || grammar_matcher_failed(m, NULL));
        do id = (int32_t)rng_below(&rng, (uint32_t)n_tokens + 1);
        while (!(w[0] >> id & 1));
        if (!grammar_accept(m, id)) CHECK(grammar_matcher_failed(m, NULL));
    }
    grammar_matcher_free(m);
}

/* front NULL: the one of the kind. At most 31 tokens: a mask is one word. */
static void fuzz_grammar(FuzzTokens t, GrammarKind kind, FrontEnd front, const uint8_t *data, size_t n)
{
    GrammarVocabSpec spec = { .n_tokens = t.n + 1, .bytes = token_bytes, .special = token_special, .arg = &t };
    spec.end_ids = &t.n;
    spec.n_end_ids = 1;
    GrammarVocab *v = grammar_vocab_new(&spec);
    GrammarSpec what = { .kind = kind, .text = { (const char *)data, n } };
    GrammarLimits limits = grammar_default_limits;
    limits.compile_fuel = 100000;
    limits.mask_fuel = 20000;
    Grammar *g;
    GrammarError err;
    Status st = front ? build_compile(v, front, &what, &limits, NULL, &g, &err)
                      : grammar_compile(v, &what, &limits, NULL, &g, &err);
    if (st == OK) {
        walk(g, t.n, n);
        grammar_drop(g);
    }
    grammar_vocab_drop(v);
}
