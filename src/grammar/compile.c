/* compile.c - from a spec to a grammar: the table of front ends, the limits, what is checked once all rules are there. */
#include <stdatomic.h>

#include "grammar/inside.h"
#include "grammar/machine.h"

static const struct {
    GrammarKind kind;
    FrontEnd front;
} fronts[] = {
    { GRAMMAR_REGEX, pattern_front },      { GRAMMAR_CHOICE, choice_front },      { GRAMMAR_EBNF, ebnf_front },
    { GRAMMAR_JSON_SCHEMA, schema_front }, { GRAMMAR_JSON_OBJECT, schema_front }, { GRAMMAR_STRUCTURAL_TAG, tag_front },
};

static FrontEnd front_of(GrammarKind kind)
{
    for (size_t i = 0; i < COUNT(fronts); i++)
        if (fronts[i].kind == kind) return fronts[i].front;
    return NULL;
}

static Sym run_front(Build *b, FrontEnd front, const GrammarSpec *spec)
{
    if (spec->text.n > b->limits->text_bytes)
        build_fail(b, E_LIMIT, "the constraint has %zu bytes, more than %zu", spec->text.n, b->limits->text_bytes);
    else if (!front)
        build_fail(b, E_UNSUPPORTED, "this kind of constraint is not supported");
    else
        return front(b, spec);
    return SYM_NOTHING;
}

/* All rules defined, and something can be written at all. */
static void check_rules(Build *b, Sym root)
{
    Syms *s = &b->s;
    build_at(b, STR(""));
    for (uint32_t i = 0; i < s->n_rules && !build_failed(b); i++)
        if (!s->rule[i].defined) build_fail(b, E_INVALID, "rule %.*s is not defined", STR_FMT(s->rule[i].name));
    if (build_failed(b)) return;
    s->fuel = b->limits->compile_fuel * 20; /* a pass over a node is far cheaper than a step */
    if (!syms_freeze(s))
        build_fail(b, E_LIMIT, "the rules take too long to analyse");
    else if (!(s->node[root].flags & Y_FINITE))
        build_fail(b, E_INVALID, "nothing can satisfy this grammar");
}

/* The machine takes the pools over and makes its first row. */
static Grammar *assemble(Build *b, GrammarVocab *v, Sym root)
{
    Grammar *g = mem_alloc(sizeof *g);
    g->vocab = grammar_vocab_ref(v);
    g->limits = *b->limits;
    exprs_classes(&b->x);
    g->x = b->x;
    g->s = b->s;
    g->x.frozen = true;
    g->x.max_nodes = EXPR_MAX_NODES;
    g->s.max_nodes = SYMS_MAX_NODES; /* the limit of memory holds from here on */
    lexer_init(&g->l, &g->x, g->limits.states);
    rows_init(&g->r, &g->s, &g->l, &g->limits);
    masks_init(g);
    pthread_mutex_init(&g->lock, NULL);
    atomic_init(&g->refs, 1);
    machine_refuel(g);
    g->first = rows_first(&g->r, root);
    const char *why = machine_stopped(g);
    if (why) build_fail(b, E_LIMIT, "%s", why);
    return g;
}

Status build_compile(GrammarVocab *v, FrontEnd front, const GrammarSpec *spec, const GrammarLimits *limits,
                     const volatile bool *cancel, Grammar **out, GrammarError *err)
{
    if (!limits) limits = &grammar_default_limits;
    *err = (GrammarError){ 0 };
    *out = NULL;
    Build b = { .limits = limits, .vocab = v, .err = err, .cancel = cancel, .mem = arena_new(0) };
    b.deadline_ns = clock_ns() + limits->compile_ns;
    b.clock_at = limits->compile_fuel;
    exprs_init(&b.x, v->seed, limits->nodes, limits->compile_fuel);
    syms_init(&b.s, limits->symbols);
    Sym root = run_front(&b, front, spec);
    if (!build_check(&b)) check_rules(&b, root);
    Grammar *g = build_failed(&b) ? NULL : assemble(&b, v, root);
    if (!g) {
        exprs_done(&b.x);
        syms_done(&b.s);
    } else if (build_failed(&b)) {
        grammar_drop(g);
        g = NULL;
    }
    arena_free(b.mem);
    *out = g;
    return err->err.status;
}

Status grammar_compile(GrammarVocab *v, const GrammarSpec *spec, const GrammarLimits *limits,
                       const volatile bool *cancel, Grammar **out, GrammarError *err)
{
    return build_compile(v, front_of(spec->kind), spec, limits, cancel, out, err);
}

Grammar *grammar_ref(Grammar *g)
{
    atomic_fetch_add(&g->refs, 1);
    return g;
}

void grammar_drop(Grammar *g)
{
    if (!g || atomic_fetch_sub(&g->refs, 1) != 1) return;
    masks_done(g);
    rows_done(&g->r);
    lexer_done(&g->l);
    syms_done(&g->s);
    exprs_done(&g->x);
    pthread_mutex_destroy(&g->lock);
    grammar_vocab_drop(g->vocab);
    mem_free(g);
}

GrammarVocab *grammar_vocab_of(const Grammar *g)
{
    return g->vocab;
}

size_t grammar_memory(Grammar *g)
{
    pthread_mutex_lock(&g->lock);
    size_t n = machine_memory(g);
    pthread_mutex_unlock(&g->lock);
    return n;
}
