/* base.c - the part of a mask that depends on the lexer state alone: tokens that stay inside its lexemes or end with one, and the
 * nodes of the trie where lexemes end inside tokens.
 *
 * A base is found by the structure of the state, so that all grammars of a model share it: a string's inside is walked once per
 * model. Where a state is much like another one (near.c) only the difference is walked. Immutable once shared. */
#include <stdatomic.h>
#include <stdlib.h>

#include "grammar/walk.h"

enum { SHARED_BYTES = 256 << 20 /* of the vocabulary's bases */, FIRST_SHARED = 64 };

static size_t n_words(const Grammar *g)
{
    return grammar_mask_words(g->vocab);
}

void base_drop(Base *b)
{
    if (!b || atomic_fetch_sub(&b->refs, 1) != 1) return;
    for (size_t i = 0; i < b->n_ends; i++) {
        mem_free(b->ends[i].ended);
        mem_free(b->ends[i].node);
    }
    mem_free(b->ends);
    mem_free(b->words);
    mem_free(b);
}

static bool note_crossing(void *arg, Crossing c)
{
    Crossings *l = arg;
    if (l->n > BASE_MAX_ENDS) return true; /* too many: the base will be open */
    l->p = array_room(l->p, l->n, &l->cap, sizeof c);
    l->p[l->n++] = c;
    return true;
}

static int by_accept(const void *p, const void *q)
{
    const Crossing *a = p, *b = q;
    if (a->accept != b->accept) return a->accept < b->accept ? -1 : 1;
    return (a->node > b->node) - (a->node < b->node);
}

/* The numbers, in the vector of state s, of the members of an accept set. */
static void set_ended(const Lexer *l, LexId s, uint32_t accept, BaseEnds *out)
{
    size_t n;
    const Expr *e = lexer_accepted(l, accept, &n);
    const LexState *st = &l->state[s];
    out->ended = mem_alloc_array(n, sizeof *out->ended);
    for (uint32_t i = 0, k = 0; i < st->n && k < n; i++)
        if (l->part[st->at + i].lexeme == e[k]) out->ended[k++] = i;
    out->n_ended = (uint32_t)n;
}

void base_keep_ends(const Lexer *l, LexId s, Crossings *c, Base *b)
{
    bool one = true;
    for (size_t i = 1; i < c->n; i++) one &= c->p[i].accept == c->p[0].accept;
    if (!one) qsort(c->p, c->n, sizeof *c->p, by_accept);
    for (size_t i = 0; i < c->n;) {
        size_t end = i + 1;
        while (end < c->n && c->p[end].accept == c->p[i].accept) end++;
        b->ends = mem_grow(b->ends, (b->n_ends + 1) * sizeof *b->ends);
        BaseEnds *e = &b->ends[b->n_ends++];
        set_ended(l, s, c->p[i].accept, e);
        e->n_nodes = (uint32_t)(end - i);
        e->node = mem_alloc_array(end - i, sizeof *e->node);
        for (size_t k = i; k < end; k++) e->node[k - i] = c->p[k].node;
        b->bytes += (end - i) * sizeof *e->node + sizeof *e;
        i = end;
    }
}

/* By a walk over all of the trie; false: stopped. */
static bool walked_base(Grammar *g, LexId s, Base *b)
{
    Walk w = { .g = g, .t = &g->vocab->trie, .words = b->words, .many = true };
    Crossings c = { 0 };
    bool good = walk_lexer(&w, s, note_crossing, &c);
    b->open = c.n > BASE_MAX_ENDS;
    if (good && !b->open) base_keep_ends(&g->l, s, &c, b);
    mem_free(c.p);
    return good;
}

static Base *make_base(Grammar *g, LexId s, const uint64_t hash[2])
{
    Base *b = mem_alloc(sizeof *b);
    b->hash[0] = hash[0];
    b->hash[1] = hash[1];
    b->words = mem_alloc_array(n_words(g), sizeof *b->words);
    b->bytes = n_words(g) * 4 + sizeof *b;
    atomic_init(&b->refs, 1);
    if (near_base(g, s, b) || (!g->x.stop && walked_base(g, s, b))) return b;
    base_drop(b);
    return NULL;
}

/* ---- bases of a vocabulary, shared ---- */

static size_t shared_slot(const GrammarVocab *v, const uint64_t hash[2])
{
    size_t at = hash[0] & (v->n_slots - 1);
    while (v->bases[at] && (v->bases[at]->hash[0] != hash[0] || v->bases[at]->hash[1] != hash[1]))
        at = (at + 1) & (v->n_slots - 1);
    return at;
}

/* Twice the slots, the same bases; or, when full, half of the bases gone. */
static void rehash_shared(GrammarVocab *v, size_t slots, bool halve)
{
    Base **old = v->bases;
    size_t had = v->n_slots;
    v->n_slots = slots;
    v->bases = mem_alloc_array(slots, sizeof *v->bases);
    v->n_bases = v->base_bytes = 0;
    for (size_t i = 0; i < had; i++) {
        if (!old[i]) continue;
        if (halve && (old[i]->hash[1] & 1)) {
            base_drop(old[i]);
            continue;
        }
        v->bases[shared_slot(v, old[i]->hash)] = old[i];
        v->n_bases++;
        v->base_bytes += old[i]->bytes;
    }
    mem_free(old);
}

static Base *find_shared(GrammarVocab *v, const uint64_t hash[2])
{
    Base *b = NULL;
    pthread_mutex_lock(&v->lock);
    if (v->n_slots) b = v->bases[shared_slot(v, hash)];
    if (b) atomic_fetch_add(&b->refs, 1);
    pthread_mutex_unlock(&v->lock);
    return b;
}

static void share(GrammarVocab *v, Base *b)
{
    pthread_mutex_lock(&v->lock);
    if (v->n_bases * 2 >= v->n_slots) rehash_shared(v, MAX(v->n_slots * 2, (size_t)FIRST_SHARED), false);
    if (v->base_bytes + b->bytes > SHARED_BYTES) rehash_shared(v, v->n_slots, true);
    size_t at = shared_slot(v, b->hash);
    if (!v->bases[at]) {
        v->bases[at] = b;
        atomic_fetch_add(&b->refs, 1);
        v->n_bases++;
        v->base_bytes += b->bytes;
    }
    pthread_mutex_unlock(&v->lock);
}

void base_free_all(GrammarVocab *v)
{
    for (size_t i = 0; i < v->n_slots; i++) base_drop(v->bases[i]);
    mem_free(v->bases);
}

/* The base of a state: known here, or to the vocabulary, or (make) made now. NULL: not known, or stopped. */
Base *base_for(Grammar *g, LexId s, bool make)
{
    Masks *m = &g->m;
    if (s >= m->cap_base_of) {
        size_t had = m->cap_base_of;
        m->cap_base_of = MAX((size_t)s + 1, had * 2);
        m->base_of = mem_grow(m->base_of, m->cap_base_of * sizeof *m->base_of);
        memset(m->base_of + had, 0, (m->cap_base_of - had) * sizeof *m->base_of);
    }
    if (m->base_of[s]) return m->base_of[s];
    uint64_t hash[2];
    lexer_hash(&g->l, s, hash);
    Base *b = find_shared(g->vocab, hash);
    if (!b && make) {
        b = make_base(g, s, hash);
        if (b) share(g->vocab, b);
    }
    return m->base_of[s] = b;
}
