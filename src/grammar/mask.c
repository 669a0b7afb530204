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
#include "grammar/walk.h"

enum { DIRECT_NODES = 1500 /* a walk that enters more is better made through a base */, FIRST_SLOTS = 256 };

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
    m->of = mem_alloc_array(depth, sizeof *m->of);
    m->apart = mem_alloc_array(depth, sizeof *m->apart);
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
    mem_free(m->of);
    mem_free(m->apart);
}

size_t masks_memory(const Grammar *g)
{
    const Masks *m = &g->m;
    return m->cap * sizeof *m->mask + m->n_slots * 4 + m->cap_ids * 4 + m->dense_bytes + m->cap_base_of * 8 +
           m->cap_stack * sizeof *m->stack + n_words(g) * 4;
}

/* ---- walks with the machine ---- */

static bool absorbed_by_any(Walk *w, uint32_t i, const Place *p, size_t n)
{
    if (w->t->node[i].span < WALK_ABSORB_SPAN) return false;
    for (size_t k = 0; k < n; k++)
        if (walk_absorbed(w->t, i, lexer_absorb(&w->g->l, p[k].lex))) return true;
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
        walk_put(w, n->rank, t->node[whole ? i + n->span : i + 1].rank);
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
    bool dense = g->l.state[lex].dense || near_exists(g, lex);
    Base *b = base_for(g, lex, dense);
    if (!b && !dense) {
        if (direct_mask(g, q, DIRECT_NODES, &made)) return remember(g, made);
        if (g->x.stop || g->r.over) return NULL;
        g->l.state[lex].dense = true;
        b = base_for(g, lex, true);
    }
    if (!b || !mask_on_base(g, q, b, &made)) return NULL;
    made.base = b;
    return remember(g, made);
}
