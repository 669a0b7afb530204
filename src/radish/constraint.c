/* constraint.c - requests whose output a constraint bounds, on their way to the engine.
 *
 * A compilation may take long, and a hostile one takes all that the limits allow: it runs on threads of its own, so that
 * nothing else waits for it, and who asks for what the cache has does not wait behind it either. A request that is being
 * compiled is known by the id it will have in the engine: cancelling finds it in the list here, or not, and then the engine has
 * it. The vocabulary is made for the first constraint: a server that sees none pays nothing.
 * Threads: submit and cancel any; the rest the compiling threads. */
#include <stdatomic.h>

#include "base/log.h"
#include "base/workers.h"
#include "grammar/grammar.h"
#include "radish.h"
#include "radish/state.h"

enum { THREADS_MAX = 4, WAITING_MAX = 4096 };

typedef struct Pending Pending;

struct Pending {
    Constraints *owner;
    Pending *prev, *next; /* in the list, under the lock */
    Request *request;     /* holds what job and spec point at */
    Job job;
    GrammarSpec spec;
    bool cancelled; /* under the lock */
};

struct Constraints {
    Radish *r;
    Tasks *tasks;
    GrammarCache *cache;
    pthread_mutex_t lock; /* of the list */
    Pending *pending;
    pthread_mutex_t vocab_lock;    /* of making it */
    _Atomic(GrammarVocab *) vocab; /* NULL: not yet */
};

Constraints *radish_constraints_new(Radish *r)
{
    Constraints *c = mem_alloc(sizeof *c);
    c->r = r;
    c->cache = grammar_cache_new(0);
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->vocab_lock, NULL);
    c->tasks = tasks_new(MAX(2, MIN(THREADS_MAX, workers_cores() / 4)), WAITING_MAX);
    return c;
}

void radish_constraints_close(Constraints *c)
{
    if (!c) return;
    radish_constraints_cancel(c, 0, true);
    tasks_free(c->tasks);
    grammar_cache_free(c->cache);
    grammar_vocab_drop(atomic_load(&c->vocab));
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->vocab_lock);
    mem_free(c);
}

/* ---- the vocabulary ---- */

static Str piece(void *tok, int32_t id)
{
    return tok_piece(tok, id);
}

static bool special(void *tok, int32_t id)
{
    return tok_is_special(tok, id);
}

static void encode(void *tok, Str text, Ids *out)
{
    tok_encode(tok, text, 0, out);
}

static GrammarVocab *vocab_of(Constraints *c)
{
    const Radish *r = c->r;
    GrammarVocab *v = atomic_load(&c->vocab);
    if (v) return v;
    pthread_mutex_lock(&c->vocab_lock);
    v = atomic_load(&c->vocab);
    if (!v) {
        int64_t began = clock_ns();
        GrammarVocabSpec spec = { .n_tokens = MIN(tok_n_vocab(r->tok), r->info.n_vocab),
                                  .bytes = piece,
                                  .special = special,
                                  .arg = r->tok,
                                  .end_ids = r->stop_ids.p,
                                  .n_end_ids = r->stop_ids.n };
        v = grammar_vocab_new(&spec);
        atomic_store(&c->vocab, v);
        log_debug("constraints: a vocabulary of %d tokens in %.1f ms", spec.n_tokens,
                  (double)(clock_ns() - began) / 1e6);
    }
    pthread_mutex_unlock(&c->vocab_lock);
    return v;
}

/* ---- the list ---- */

static void link_pending(Constraints *c, Pending *p)
{
    pthread_mutex_lock(&c->lock);
    p->next = c->pending;
    if (p->next) p->next->prev = p;
    c->pending = p;
    pthread_mutex_unlock(&c->lock);
}

/* Returns whether it was cancelled meanwhile; afterwards nobody can. */
static bool unlink_pending(Constraints *c, Pending *p)
{
    pthread_mutex_lock(&c->lock);
    *(p->prev ? &p->prev->next : &c->pending) = p->next;
    if (p->next) p->next->prev = p->prev;
    bool cancelled = p->cancelled;
    pthread_mutex_unlock(&c->lock);
    return cancelled;
}

static bool is_cancelled(Constraints *c, const Pending *p)
{
    pthread_mutex_lock(&c->lock);
    bool cancelled = p->cancelled;
    pthread_mutex_unlock(&c->lock);
    return cancelled;
}

bool radish_constraints_cancel(Constraints *c, uint64_t id, bool all)
{
    bool found = false;
    if (!c) return false;
    pthread_mutex_lock(&c->lock);
    for (Pending *p = c->pending; p; p = p->next) {
        if (!all && p->job.id != id) continue;
        p->cancelled = found = true;
    }
    pthread_mutex_unlock(&c->lock);
    return found;
}

/* ---- compiling ---- */

/* One sentence: what is wrong, and where. */
static void explain(const GrammarError *why, Err *err)
{
    Err inner = why->err;
    fail(err, inner.status, "the constraint was refused%s%s: %s", why->pointer[0] ? " at " : "", why->pointer,
         inner.text);
}

static Status compile(Constraints *c, const GrammarSpec *spec, Grammar **out, Err *err)
{
    GrammarError why;
    if (grammar_cache_get(c->cache, vocab_of(c), spec, NULL, out, &why) != OK) explain(&why, err);
    return why.err.status;
}

/* When the engine has taken it, an END may come at any time, and with it the Request may go. */
static void run_pending(void *pending)
{
    Pending *p = pending;
    Constraints *c = p->owner;
    Err err = { 0 };
    Grammar *g = NULL;
    uint64_t id = p->job.id;
    bool cancelled = is_cancelled(c, p);
    Status status = cancelled ? OK : compile(c, &p->spec, &g, &err);
    cancelled = is_cancelled(c, p);
    if (status == OK && !cancelled) {
        p->job.grammar = g;
        status = engine_submit(c->r->engine, &p->job, NULL, &err);
    }
    bool submitted = status == OK && !cancelled, late = unlink_pending(c, p);
    if (submitted && late)
        engine_cancel(c->r->engine, id);
    else if (!submitted)
        radish_end_unbegun(p->request, id, late ? END_CANCELLED : END_FAILED, &err);
    grammar_drop(g);
    mem_free(p);
}

static GrammarSpec spec_of(const Radish *r, const RadishRequest *q, Arena *arena)
{
    static const GrammarKind kinds[] = { [RADISH_REGEX] = GRAMMAR_REGEX,
                                         [RADISH_CHOICE] = GRAMMAR_CHOICE,
                                         [RADISH_EBNF] = GRAMMAR_EBNF,
                                         [RADISH_JSON_SCHEMA] = GRAMMAR_JSON_SCHEMA,
                                         [RADISH_JSON_OBJECT] = GRAMMAR_JSON_OBJECT,
                                         [RADISH_STRUCTURAL_TAG] = GRAMMAR_STRUCTURAL_TAG };
    bool json = q->constraint == RADISH_JSON_SCHEMA || q->constraint == RADISH_JSON_OBJECT;
    GrammarSpec s = { .kind = kinds[q->constraint] };
    s.text = arena_str(arena, (Str){ q->constraint_text, q->n_constraint_text });
    if (q->constraint_options)
        s.options = arena_str(arena, str_of(q->constraint_options));
    else if (json && r->compact_json)
        s.options = STR("{\"whitespace\":\"compact\"}");
    return s;
}

/* Takes over what job and spec point at; they live as long as the Request. */
static Pending *pending_new(Radish *r, const Job *job, const GrammarSpec *spec)
{
    Pending *p = mem_alloc(sizeof *p);
    *p = (Pending){ .owner = r->constraints, .request = job->ctx, .job = *job, .spec = *spec };
    size_t bytes = (size_t)job->n_prompt * sizeof *job->prompt;
    p->job.prompt = arena_copy(p->request->arena, job->prompt, bytes);
    p->job.id = engine_new_id(r->engine);
    return p;
}

Status radish_submit_constrained(Radish *r, const RadishRequest *q, const Job *job, uint64_t *id, Err *err)
{
    Constraints *c = r->constraints;
    if ((int)q->constraint < 0 || q->constraint > RADISH_STRUCTURAL_TAG)
        return fail(err, E_INVALID, "there is no constraint of kind %d", (int)q->constraint);
    if (!c) return fail(err, E_INVALID, "a constraint needs a tokenizer, and this model was opened without one");
    if (q->n_constraint_text > grammar_default_limits.text_bytes)
        return fail(err, E_LIMIT, "the constraint has %zu bytes, more than %zu", q->n_constraint_text,
                    grammar_default_limits.text_bytes);
    Request *request = job->ctx;
    Job constrained = *job;
    constrained.encode = encode;
    constrained.encode_arg = r->tok;
    GrammarSpec spec = spec_of(r, q, request->arena);
    GrammarVocab *v = atomic_load(&c->vocab);
    Grammar *known = v ? grammar_cache_find(c->cache, v, &spec) : NULL;
    if (known) {
        constrained.grammar = known;
        Status status = engine_submit(r->engine, &constrained, id, err);
        grammar_drop(known);
        return status;
    }
    Pending *p = pending_new(r, &constrained, &spec);
    *id = p->job.id;
    link_pending(c, p);
    if (tasks_add(c->tasks, run_pending, p)) return OK;
    unlink_pending(c, p);
    mem_free(p);
    return fail(err, E_BUSY, "too many constraints are waiting to be compiled: try again later");
}
