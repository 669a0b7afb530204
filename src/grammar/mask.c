/* mask.c - the text tokens that may come next at a place.
 *
 * A place is a lexer state and a row. Few tokens: the vocabulary's trie is walked with the machine itself, entering only
 * what lives. Many: the answer is put together from two parts. The base depends on the lexer state alone: tokens that stay
 * inside its lexemes or end with one; it is found by the structure of the state, so that all grammars of a model share it. Tokens that
 * run past the end of a lexeme depend on the row: the base lists the nodes at which lexemes end inside tokens, and
 * what is below them is walked with the row that follows. A subtree whose bytes the state absorbs (expr.h) is taken whole.
 *
 * Places are saturated first: a bound that no token can reach is no bound, so every remaining length of a long string has
 * the same mask. Nothing of this changes what a mask is: by definition the tokens whose bytes the machine accepts one by one. */
#include <stdatomic.h>
#include <stdlib.h>

#include "grammar/machine.h"

enum {
    DIRECT_NODES = 1500,      /* a walk that enters more is better made through a base */
    MAX_ENDS = 4096,          /* nodes listed in one base */
    SPARSE_IDS = 512,         /* longer lists are kept as words */
    ABSORB_SPAN = 8,          /* smaller subtrees are walked */
    SHARED_BYTES = 256 << 20, /* of the vocabulary's bases */
    FIRST_SLOTS = 256
};

static size_t n_words(const Grammar *g)
{
    return grammar_mask_words(g->vocab);
}

void masks_init(Grammar *g)
{
    Masks *m = &g->m;
    m->n_slots = FIRST_SLOTS;
    m->slots = mem_alloc_array(m->n_slots, sizeof *m->slots);
    m->words = mem_alloc_array(n_words(g), sizeof *m->words);
    size_t depth = (size_t)g->vocab->trie.max_depth + 2;
    m->level = mem_alloc_array(depth, sizeof *m->level);
    m->at = mem_alloc_array(depth, sizeof *m->at);
}

static void base_drop(Base *b)
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

void masks_done(Grammar *g)
{
    Masks *m = &g->m;
    for (size_t i = 0; i < m->n; i++) mem_free(m->mask[i].words);
    for (size_t i = 0; i < m->cap_base_of; i++) base_drop(m->base_of[i]);
    mem_free(m->mask);
    mem_free(m->slots);
    mem_free(m->ids);
    mem_free(m->base_of);
    mem_free(m->words);
    mem_free(m->stack);
    mem_free(m->level);
    mem_free(m->at);
}

size_t masks_memory(const Grammar *g)
{
    const Masks *m = &g->m;
    return m->cap * sizeof *m->mask + m->n_slots * 4 + m->cap_ids * 4 + m->dense_bytes + m->cap_base_of * 8 +
           m->cap_stack * sizeof *m->stack + n_words(g) * 4;
}

/* ---- where a walk puts what it finds ---- */

typedef struct {
    Grammar *g;
    const Trie *t;
    uint32_t *words; /* bits set so far; NULL: only the list counts */
    bool many;       /* more than SPARSE_IDS: the list is not kept */
    size_t list;     /* where the list begins in Masks.ids */
    size_t entered, max_entered;
} Walk;

static void put_id(Walk *w, int32_t id)
{
    Masks *m = &w->g->m;
    uint32_t *word = &w->words[id >> 5], bit = 1u << (id & 31);
    if (*word & bit) return;
    *word |= bit;
    if (w->many) return;
    m->ids = array_room(m->ids, m->n_ids, &m->cap_ids, sizeof id);
    m->ids[m->n_ids++] = id;
    w->many = m->n_ids - w->list > SPARSE_IDS;
}

static void put_ranks(Walk *w, uint32_t from, uint32_t to)
{
    const int32_t *id = w->t->by_rank;
    uint32_t r = from;
    for (; r < to && !w->many; r++) put_id(w, id[r]);
    for (; r < to; r++) w->words[id[r] >> 5] |= 1u << (id[r] & 31);
}

static bool absorbed(const Trie *t, uint32_t i, Absorb a)
{
    return !(t->below[i].groups & ~a.groups) && t->below[i].chars <= a.chars;
}

/* ---- walks with the machine ---- */

static bool absorbed_by_any(Walk *w, uint32_t i, const Place *p, size_t n)
{
    if (w->t->node[i].span < ABSORB_SPAN) return false;
    for (size_t k = 0; k < n; k++)
        if (absorbed(w->t, i, lexer_absorb(&w->g->l, p[k].lex))) return true;
    return false;
}

/* Room for the places after one more byte. */
static void stack_room(Masks *m, size_t used)
{
    if (used + MAX_PLACES <= m->cap_stack) return;
    m->cap_stack = MAX(m->cap_stack * 2, used + (size_t)MAX_PLACES);
    m->stack = mem_grow(m->stack, m->cap_stack * sizeof *m->stack);
}

/* All texts below node root, from a place. false: stopped, or max_entered nodes were entered. Places of depth d below the root stand
 * in stack between level[d - 1] and level[d]. */
static bool walk_places(Walk *w, uint32_t root, Place from)
{
    Masks *m = &w->g->m;
    const Trie *t = w->t;
    uint32_t top = t->node[root].depth, stop = root + t->node[root].span;
    stack_room(m, 0);
    m->stack[0] = from;
    m->level[0] = 1;
    for (uint32_t i = root + 1; i < stop;) {
        const TrieNode *n = &t->node[i];
        uint32_t depth = n->depth - top;
        uint32_t begin = depth > 1 ? m->level[depth - 2] : 0, end = m->level[depth - 1];
        bool ended;
        stack_room(m, end);
        size_t k = machine_step(w->g, m->stack + begin, end - begin, n->byte, m->stack + end, &ended);
        while (k && m->stack[end + k - 1].lex == LEX_DEAD) k--; /* a row where no text may follow */
        if (w->g->r.over || w->g->x.stop) return false;
        if (k == 0 && !ended) {
            i += n->span;
            continue;
        }
        if (++w->entered > w->max_entered) return false;
        m->level[depth] = end + (uint32_t)k;
        bool whole = k && absorbed_by_any(w, i, m->stack + end, k);
        put_ranks(w, n->rank, t->node[whole ? i + n->span : i + 1].rank);
        i += whole || k == 0 ? n->span : 1;
    }
    return true;
}

/* The same where the root's children are many and few of them live: those are looked for by their bytes first. */
static bool walk_rest(Walk *w, uint32_t root, Place from, const ByteSet *first)
{
    const Trie *t = w->t;
    for (uint32_t c = root + 1; c < root + t->node[root].span; c += t->node[c].span)
        if (set_has(first, t->node[c].byte)) return walk_places(w, root, from);
    return true;
}

/* ---- bases ---- */

typedef struct {
    uint32_t node, accept;
} Crossing;

/* Called where a lexeme ends inside tokens; false stops the walk. */
typedef bool (*OnCrossing)(void *arg, Crossing c);

/* The trie walked with the lexer alone: tokens that stay inside lexemes or end with one. Tokens that are allowed come in runs
 * of ranks; a run is put when it ends. */
static bool walk_lexer(Walk *w, LexId from, OnCrossing on, void *arg)
{
    Grammar *g = w->g;
    const Trie *t = w->t;
    LexId *at = g->m.at;
    uint32_t begin = 0, end = 0; /* of the run */
    at[0] = from;
    for (uint32_t i = 1; i < t->n_nodes;) {
        const TrieNode n = t->node[i];
        __builtin_prefetch(&t->node[i + n.span]); /* where the walk goes if this subtree is settled at once */
        __builtin_prefetch(&t->below[i + n.span]);
        LexId to = lexer_step(&g->l, at[n.depth - 1], n.byte);
        if (to == LEX_DEAD) {
            if (g->x.stop) return false;
            i += n.span;
            continue;
        }
        if (n.rank != end) {
            put_ranks(w, begin, end);
            begin = n.rank;
        }
        if (n.span == 1) { /* most nodes: nothing more to know */
            end = t->node[++i].rank;
            continue;
        }
        at[n.depth] = to;
        uint32_t accept = g->l.state[to].accept, parts = g->l.state[to].n;
        bool whole = parts && n.span >= ABSORB_SPAN && absorbed(t, i, lexer_absorb(&g->l, to));
        end = t->node[whole ? i + n.span : i + 1].rank;
        if (accept && !whole && !on(arg, (Crossing){ i, accept })) return false;
        i += whole || parts == 0 ? n.span : 1;
    }
    put_ranks(w, begin, end);
    return !g->x.stop;
}

typedef struct {
    Crossing *p;
    size_t n, cap;
} Crossings;

static bool note_crossing(void *arg, Crossing c)
{
    Crossings *l = arg;
    if (l->n > MAX_ENDS) return true; /* too many: the base will be open */
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

static void keep_ends(const Lexer *l, LexId s, Crossings *c, Base *b)
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

static Base *make_base(Grammar *g, LexId s, const uint64_t hash[2])
{
    Base *b = mem_alloc(sizeof *b);
    b->hash[0] = hash[0];
    b->hash[1] = hash[1];
    b->words = mem_alloc_array(n_words(g), sizeof *b->words);
    b->bytes = n_words(g) * 4 + sizeof *b;
    atomic_init(&b->refs, 1);
    Walk w = { .g = g, .t = &g->vocab->trie, .words = b->words, .many = true };
    Crossings c = { 0 };
    if (walk_lexer(&w, s, note_crossing, &c)) {
        b->open = c.n > MAX_ENDS;
        if (!b->open) keep_ends(&g->l, s, &c, b);
    } else {
        base_drop(b);
        b = NULL;
    }
    mem_free(c.p);
    return b;
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
    if (v->n_bases * 2 >= v->n_slots) rehash_shared(v, MAX(v->n_slots * 2, (size_t)64), false);
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

void mask_bases_free(GrammarVocab *v)
{
    for (size_t i = 0; i < v->n_slots; i++) base_drop(v->bases[i]);
    mem_free(v->bases);
}

/* The base of a state: known here, or to the vocabulary, or (make) made now. NULL: not known, or stopped. */
static Base *base_for(Grammar *g, LexId s, bool make)
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

/* ---- masks of places ---- */

static size_t mask_slot(const Masks *m, LexId lex, RowId row)
{
    size_t at = hash_mix((uint64_t)lex << 32 | row) & (m->n_slots - 1);
    for (; m->slots[at]; at = (at + 1) & (m->n_slots - 1)) {
        const Mask *k = &m->mask[m->slots[at] - 1];
        if (k->lex == lex && k->row == row) break;
    }
    return at;
}

static const Mask *remember(Grammar *g, Mask made)
{
    Masks *m = &g->m;
    m->mask = array_room(m->mask, m->n, &m->cap, sizeof made);
    m->mask[m->n++] = made;
    if (m->n * 2 > m->n_slots) {
        mem_free(m->slots);
        m->n_slots *= 2;
        m->slots = mem_alloc_array(m->n_slots, sizeof *m->slots);
        for (size_t i = 0; i < m->n; i++) m->slots[mask_slot(m, m->mask[i].lex, m->mask[i].row)] = (uint32_t)i + 1;
    } else {
        m->slots[mask_slot(m, made.lex, made.row)] = (uint32_t)m->n;
    }
    return &m->mask[m->n - 1];
}

/* Takes what a walk has found into the mask, and leaves the scratch words empty. */
static void take_found(Walk *w, Mask *out)
{
    Masks *m = &w->g->m;
    size_t n = n_words(w->g);
    if (w->many) {
        out->words = mem_alloc_array(n, sizeof *out->words);
        memcpy(out->words, w->words, n * sizeof *out->words);
        m->dense_bytes += n * sizeof *out->words;
        memset(w->words, 0, n * sizeof *w->words);
        m->n_ids = w->list;
        return;
    }
    for (size_t i = w->list; i < m->n_ids; i++) w->words[m->ids[i] >> 5] = 0;
    out->ids = (uint32_t)w->list;
    out->n_ids = (uint32_t)(m->n_ids - w->list);
}

static void forget_found(Walk *w)
{
    w->g->m.n_ids = w->list;
    memset(w->words, 0, n_words(w->g) * sizeof *w->words);
}

static Walk walk_begin(Grammar *g, size_t max_entered)
{
    return (Walk){ .g = g, .t = &g->vocab->trie, .words = g->m.words, .list = g->m.n_ids, .max_entered = max_entered };
}

/* By the machine alone; false: too much to enter, or stopped. */
static bool direct_mask(Grammar *g, Place p, size_t max_entered, Mask *out)
{
    Walk w = walk_begin(g, max_entered);
    if (walk_places(&w, 0, p)) {
        take_found(&w, out);
        return true;
    }
    forget_found(&w);
    return false;
}

/* The place after lexemes of an accept set have ended; *first: bytes that may follow (and perhaps some that may not). */
static bool place_after(Grammar *g, RowId row, uint32_t accept, Place *out, ByteSet *first)
{
    RowId to = rows_scan(&g->r, row, accept);
    if (to == ROW_NONE) return false;
    *out = machine_begin(g, to);
    const LexState *s = &g->l.state[out->lex];
    *first = (ByteSet){ { 0 } };
    for (uint32_t i = 0; i < s->n; i++) {
        const ByteSet *f = &g->x.sets[g->x.node[g->l.part[s->at + i].rest].first];
        for (int k = 0; k < 4; k++) first->bits[k] |= f->bits[k];
    }
    return true;
}

/* Adds the tokens that go on after a lexeme's end at the nodes that the base lists. */
static bool add_listed(Walk *w, Place p, const Base *b)
{
    Grammar *g = w->g;
    Expr few[64];
    for (size_t i = 0; i < b->n_ends; i++) {
        const BaseEnds *t = &b->ends[i];
        Expr *e = t->n_ended <= COUNT(few) ? few : mem_alloc_array(t->n_ended, sizeof *e);
        for (uint32_t k = 0; k < t->n_ended; k++) e[k] = g->l.part[g->l.state[p.lex].at + t->ended[k]].lexeme;
        uint32_t accept = lexer_accept_set(&g->l, e, t->n_ended);
        if (e != few) mem_free(e);
        Place after;
        ByteSet first;
        if (!place_after(g, p.row, accept, &after, &first)) return false;
        for (uint32_t k = 0; k < t->n_nodes && after.lex != LEX_DEAD; k++)
            if (!walk_rest(w, t->node[k], after, &first)) return false;
    }
    return true;
}

typedef struct {
    Walk *w;
    RowId row;
    uint32_t accept; /* of after and first */
    Place after;
    ByteSet first;
} Follow;

static bool follow_crossing(void *arg, Crossing c)
{
    Follow *f = arg;
    if (c.accept != f->accept && !place_after(f->w->g, f->row, c.accept, &f->after, &f->first)) return false;
    f->accept = c.accept;
    return f->after.lex == LEX_DEAD || walk_rest(f->w, c.node, f->after, &f->first);
}

/* The same where there are too many such nodes to list: they are met again. */
static bool add_met(Walk *w, Place p)
{
    Follow f = { .w = w, .row = p.row };
    return walk_lexer(w, p.lex, follow_crossing, &f);
}

static bool mask_on_base(Grammar *g, Place p, Base *b, Mask *out)
{
    Walk w = walk_begin(g, SIZE_MAX);
    if (b->open ? add_met(&w, p) : add_listed(&w, p, b)) {
        take_found(&w, out);
        return true;
    }
    forget_found(&w);
    return false;
}

const Mask *mask_of(Grammar *g, Place p)
{
    LexId lex = lexer_saturated(&g->l, p.lex, g->vocab->trie.max_depth + 1);
    if (g->x.stop) return NULL;
    size_t at = mask_slot(&g->m, lex, p.row);
    if (g->m.slots[at]) return &g->m.mask[g->m.slots[at] - 1];
    Mask made = { .lex = lex, .row = p.row };
    Place q = { lex, p.row, 0 };
    if (lex == LEX_DEAD) return remember(g, made);
    Base *b = base_for(g, lex, g->l.state[lex].dense);
    if (!b && !g->l.state[lex].dense) {
        if (direct_mask(g, q, DIRECT_NODES, &made)) return remember(g, made);
        if (g->x.stop || g->r.over) return NULL;
        g->l.state[lex].dense = true;
        b = base_for(g, lex, true);
    }
    if (!b || !mask_on_base(g, q, b, &made)) return NULL;
    made.base = b;
    return remember(g, made);
}
