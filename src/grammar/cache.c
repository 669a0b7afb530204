/* cache.c - compiled grammars by what was asked for. One compilation of equal specs at a time: later callers wait for it. The
 * least recently used go when the bytes are over; failures are told again for FAIL_NS without compiling, a cancelled or
 * timed-out one never is. Any thread; one lock, not held while compiling. */
#include <pthread.h>

#include "grammar/grammar.h"

enum { N_SLOTS = 1 << 12, MAX_FAILED = 1024, DEFAULT_BYTES = 256 << 20 };
static const int64_t FAIL_NS = 60000000000;

typedef struct Entry {
    struct Entry *next;          /* in the slot */
    struct Entry *newer, *older; /* by use */
    GrammarVocab *vocab;
    GrammarKind kind;
    Str text, options;
    char *bytes; /* of both */
    uint64_t hash;
    Grammar *g; /* NULL: being compiled, or failed */
    bool compiling;
    int waiting;
    int64_t failed_at;
    GrammarError err;
    size_t size;
} Entry;

struct GrammarCache {
    pthread_mutex_t lock;
    pthread_cond_t done;
    Entry *slot[N_SLOTS];
    Entry *newest, *oldest;
    size_t bytes, max_bytes, n_failed;
};

GrammarCache *grammar_cache_new(size_t max_bytes)
{
    GrammarCache *c = mem_alloc(sizeof *c);
    c->max_bytes = max_bytes ? max_bytes : DEFAULT_BYTES;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->done, NULL);
    return c;
}

static void unlink_entry(GrammarCache *c, Entry *e)
{
    *(e->newer ? &e->newer->older : &c->newest) = e->older;
    *(e->older ? &e->older->newer : &c->oldest) = e->newer;
    e->newer = e->older = NULL;
}

static void link_newest(GrammarCache *c, Entry *e)
{
    e->older = c->newest;
    e->newer = NULL;
    *(c->newest ? &c->newest->newer : &c->oldest) = e;
    c->newest = e;
}

static void entry_free(Entry *e)
{
    grammar_drop(e->g);
    grammar_vocab_drop(e->vocab);
    mem_free(e->bytes);
    mem_free(e);
}

static void remove_entry(GrammarCache *c, Entry *e)
{
    Entry **at = &c->slot[e->hash % N_SLOTS];
    while (*at != e) at = &(*at)->next;
    *at = e->next;
    unlink_entry(c, e);
    c->bytes -= e->size;
    if (!e->g && !e->compiling) c->n_failed--;
    entry_free(e);
}

void grammar_cache_free(GrammarCache *c)
{
    if (!c) return;
    while (c->newest) remove_entry(c, c->newest);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->done);
    mem_free(c);
}

static uint64_t spec_hash(const GrammarVocab *v, const GrammarSpec *s)
{
    uint64_t h = hash_bytes(s->text.p, s->text.n, (uintptr_t)v ^ (uint64_t)s->kind << 60);
    return hash_bytes(s->options.p, s->options.n, h);
}

static Entry *find(GrammarCache *c, uint64_t h, const GrammarVocab *v, const GrammarSpec *s)
{
    for (Entry *e = c->slot[h % N_SLOTS]; e; e = e->next)
        if (e->hash == h && e->vocab == v && e->kind == s->kind && str_eq(e->text, s->text) &&
            str_eq(e->options, s->options))
            return e;
    return NULL;
}

static Entry *add(GrammarCache *c, uint64_t h, GrammarVocab *v, const GrammarSpec *s)
{
    Entry *e = mem_alloc(sizeof *e);
    e->bytes = mem_alloc(s->text.n + s->options.n + 1);
    if (s->text.n) memcpy(e->bytes, s->text.p, s->text.n);
    if (s->options.n) memcpy(e->bytes + s->text.n, s->options.p, s->options.n);
    e->text = (Str){ e->bytes, s->text.n };
    e->options = (Str){ e->bytes + s->text.n, s->options.n };
    e->vocab = grammar_vocab_ref(v);
    e->kind = s->kind;
    e->hash = h;
    e->compiling = true;
    e->next = c->slot[h % N_SLOTS];
    c->slot[h % N_SLOTS] = e;
    link_newest(c, e);
    return e;
}

/* Down to the limits: whole grammars by use, never one that somebody waits for. Grammars grow while they are used, so
 * sizes are taken anew. */
static void trim(GrammarCache *c)
{
    for (Entry *e = c->oldest, *newer; e && (c->bytes > c->max_bytes || c->n_failed > MAX_FAILED); e = newer) {
        newer = e->newer;
        if (!e->compiling && e->waiting == 0) remove_entry(c, e);
    }
}

static void account(GrammarCache *c, Entry *e)
{
    size_t size = e->text.n + e->options.n + sizeof *e + (e->g ? grammar_memory(e->g) : 0);
    c->bytes += size - e->size;
    e->size = size;
}

/* Whether a known failure may be told again: not if it was a matter of time. */
static bool failure_holds(const Entry *e)
{
    return e->err.err.status != E_CANCELLED && clock_ns() - e->failed_at < FAIL_NS;
}

/* Has learned so much that it may meet its limit of memory: whoever uses it goes on, the next begins anew. */
static bool grown(const Entry *e, const GrammarLimits *limits)
{
    return grammar_memory(e->g) > (limits ? limits : &grammar_default_limits)->memory / 2;
}

static void compile_entry(GrammarCache *c, Entry *e, const GrammarLimits *limits)
{
    GrammarSpec own = { e->kind, e->text, e->options };
    GrammarError err;
    Grammar *g;
    pthread_mutex_unlock(&c->lock);
    int64_t began = clock_ns();
    grammar_compile(e->vocab, &own, limits, NULL, &g, &err);
    bool slow = clock_ns() - began > (limits ? limits : &grammar_default_limits)->compile_ns;
    pthread_mutex_lock(&c->lock);
    e->g = g;
    e->err = err;
    e->failed_at = slow ? clock_ns() - FAIL_NS : clock_ns(); /* the machine was busy, perhaps */
    e->compiling = false;
    if (!g) c->n_failed++;
    account(c, e);
    pthread_cond_broadcast(&c->done);
}

Grammar *grammar_cache_find(GrammarCache *c, const GrammarVocab *v, const GrammarSpec *spec)
{
    pthread_mutex_lock(&c->lock);
    Entry *e = find(c, spec_hash(v, spec), v, spec);
    Grammar *g = e && e->g ? grammar_ref(e->g) : NULL;
    if (g) {
        unlink_entry(c, e);
        link_newest(c, e);
    }
    pthread_mutex_unlock(&c->lock);
    return g;
}

Status grammar_cache_get(GrammarCache *c, GrammarVocab *v, const GrammarSpec *spec, const GrammarLimits *limits,
                         Grammar **out, GrammarError *err)
{
    uint64_t h = spec_hash(v, spec);
    pthread_mutex_lock(&c->lock);
    Entry *e = find(c, h, v, spec);
    if (e && !e->compiling && e->waiting == 0 && (e->g ? grown(e, limits) : !failure_holds(e))) {
        remove_entry(c, e);
        e = NULL;
    }
    if (!e) {
        e = add(c, h, v, spec);
        e->waiting++;
        compile_entry(c, e, limits);
    } else {
        e->waiting++;
        while (e->compiling) pthread_cond_wait(&c->done, &c->lock);
        unlink_entry(c, e);
        link_newest(c, e);
    }
    e->waiting--;
    *out = e->g ? grammar_ref(e->g) : NULL;
    *err = e->err;
    if (e->g) account(c, e);
    trim(c);
    pthread_mutex_unlock(&c->lock);
    return err->err.status;
}
