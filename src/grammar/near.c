/* near.c - a base made from the base of a state that is much the same.
 *
 * Two kinds of states come up in great numbers, each a little different. A key that is none of the known ones, K & !F, is told from
 * any key K only along the beginnings of the strings of F: both states are stepped side by side, and a subtree of the trie in
 * which they have become one state is as the other base says. A string with n characters left is told from a string without a bound
 * only by tokens of more than n characters: those with plain characters alone are known to the vocabulary by their number,
 * the few others are spelled out. What comes out is what a walk over all of the trie would give. Thread: under Grammar.lock. */
#include "grammar/walk.h"

enum { MAX_ENTERED = 3000 /* nodes; more, and the plain walk is as good */, MIN_BYTES = 60 /* of a loop worth it */ };

/* ---- which state is near ---- */

/* A part that is a loop of characters, then a tail; perhaps less some strings. */
typedef struct {
    Expr loop, tail;
    ByteSet less; /* first bytes of what is taken away */
    bool minus;   /* something is */
    bool has_empty;
} Part;

static void add_first(const Exprs *x, ByteSet *to, Expr e)
{
    const ByteSet *f = &x->sets[x->node[e].first];
    for (int k = 0; k < 4; k++) to->bits[k] |= f->bits[k];
}

static bool part_of(const Exprs *x, Expr rest, Part *out)
{
    const ExprNode *n = &x->node[rest];
    *out = (Part){ .loop = rest, .tail = EXPR_EMPTY };
    if (n->kind == X_CAT) {
        out->loop = n->a;
        out->tail = n->b;
        n = &x->node[n->a];
    }
    out->has_empty = n->flags & X_NULLABLE;
    if (n->kind == X_AND) {
        Expr loop = EXPR_NOTHING;
        for (uint32_t i = 0; i < n->b; i++) {
            Expr kid = x->kids[n->a + i];
            if (x->node[kid].kind == X_NOT)
                add_first(x, &out->less, x->node[kid].a);
            else if (loop == EXPR_NOTHING)
                loop = kid;
            else
                return false;
        }
        if (loop == EXPR_NOTHING) return false;
        out->minus = true;
        out->loop = loop;
    }
    return x->node[out->loop].kind == X_REPEAT;
}

static int n_bytes(const ByteSet *s)
{
    int n = 0;
    for (int k = 0; k < 4; k++) n += __builtin_popcountll(s->bits[k]);
    return n;
}

/* The number of the part of s that most tokens live by, s.n if there is none: one that is less than its loop, or any loop
 * beside other parts. */
static uint32_t main_part(const Grammar *g, LexId s, Part *out)
{
    const LexState *st = &g->l.state[s];
    for (uint32_t i = 0; i < st->n; i++) {
        Expr rest = g->l.part[st->at + i].rest;
        if (!part_of(&g->x, rest, out) || (st->n == 1 && !out->minus)) continue;
        if (n_bytes(&g->x.sets[g->x.node[out->loop].first]) >= MIN_BYTES && n_bytes(&out->less) < MIN_BYTES) return i;
    }
    return st->n;
}

/* ---- a string with so many characters left ---- */

typedef struct {
    Expr loop, tail, chars;
    uint32_t min, max;
    LexId free; /* the same without bounds */
} Count;

static bool is_count(const Grammar *g, LexId s, Count *out)
{
    const Exprs *x = &g->x;
    const LexState *st = &g->l.state[s];
    Part p;
    if (st->n != 1 || !part_of(x, g->l.part[st->at].rest, &p) || p.minus || p.tail == EXPR_EMPTY) return false;
    const ExprNode *n = &x->node[p.loop];
    const ByteSet *head = &x->sets[n->first], *tail = &x->sets[x->node[p.tail].first];
    if (!(x->node[n->a].flags & X_CHAR) || n_bytes(head) < MIN_BYTES || (n->b == 0 && n->c == BUILD_INF)) return false;
    for (int k = 0; k < 4; k++)
        if (tail->bits[k] & (head->bits[k] | g->vocab->counts.begins.bits[k])) return false;
    *out = (Count){ .loop = p.loop, .tail = p.tail, .chars = n->a, .min = n->b, .max = n->c };
    return true;
}

/* A path that lives without bounds lives with them: characters are counted as they begin, until the tail does. */
static bool within(Grammar *g, const Count *c, Str path)
{
    const ByteSet *first = &g->x.sets[g->x.node[c->chars].first];
    uint32_t begun = 0;
    LexId at = c->free;
    for (size_t i = 0; i < path.n; i++) {
        uint8_t byte = (uint8_t)path.p[i];
        if (at == c->free && !set_has(first, byte)) return begun >= c->min;
        if (at == c->free && ++begun > c->max) return false;
        at = lexer_step(&g->l, at, byte);
    }
    return true;
}

static void check_word(Grammar *g, const Count *c, uint32_t *words, size_t at, uint32_t ask)
{
    for (; ask; ask &= ask - 1) {
        int bit = __builtin_ctz(ask);
        int32_t id = (int32_t)(at * 32) + bit;
        if (!within(g, c, grammar_vocab_bytes(g->vocab, id))) words[at] &= ~(1u << bit);
    }
}

/* Clears the tokens that the bounds forbid. */
static void cut_tokens(Grammar *g, const Count *c, uint32_t *words)
{
    const GrammarVocab *v = g->vocab;
    size_t n = grammar_mask_words(v);
    bool few = c->max < COUNTS_MASKED;
    for (size_t i = 0; (few || c->min) && i < n; i++) {
        uint32_t odd = words[i] & ~v->counts.plain[i];
        if (few) words[i] &= v->counts.few[c->max * n + i] | odd;
        check_word(g, c, words, i, odd);
    }
    for (size_t i = 0; !few && i < v->counts.n_long && v->counts.longest[i].bytes > c->max; i++) {
        int32_t id = v->counts.longest[i].id;
        uint32_t bit = 1u << (id & 31), *word = &words[id >> 5];
        if ((*word & bit) && !within(g, c, grammar_vocab_bytes(v, id))) *word &= ~bit;
    }
}

/* The text from the root to a node: the begin of any token below it. */
static Str path_to(const GrammarVocab *v, uint32_t node)
{
    const TrieNode *n = &v->trie.node[node];
    Str s = grammar_vocab_bytes(v, v->trie.by_rank[n->rank]);
    return (Str){ s.p, n->depth };
}

static BaseEnds *add_ends(Base *b, size_t room)
{
    b->ends = mem_grow(b->ends, (b->n_ends + 1) * sizeof *b->ends);
    BaseEnds *e = &b->ends[b->n_ends++];
    *e = (BaseEnds){ .node = mem_alloc_array(room + 1, sizeof *e->node) };
    return e;
}

static void keep_list(Base *b, BaseEnds *e, const uint32_t *ended, uint32_t n)
{
    e->ended = mem_alloc_array(n, sizeof *e->ended);
    memcpy(e->ended, ended, n * sizeof *ended);
    e->n_ended = n;
    b->bytes += e->n_nodes * sizeof *e->node + sizeof *e;
}

static bool count_base(Grammar *g, LexId s, Count *c, Base *b)
{
    Expr loop = exprs_repeat(&g->x, g->x.node[c->loop].a, 0, BUILD_INF);
    LexPart p = { g->l.part[g->l.state[s].at].lexeme, exprs_cat(&g->x, loop, c->tail) };
    c->free = lexer_alone(&g->l, p);
    const Base *from = g->x.stop ? NULL : base_for(g, c->free, true);
    if (!from || from->open) return false;
    memcpy(b->words, from->words, grammar_mask_words(g->vocab) * sizeof *b->words);
    cut_tokens(g, c, b->words);
    for (size_t i = 0; i < from->n_ends; i++) {
        const BaseEnds *all = &from->ends[i];
        BaseEnds *e = add_ends(b, all->n_nodes);
        for (uint32_t k = 0; k < all->n_nodes; k++)
            if (within(g, c, path_to(g->vocab, all->node[k]))) e->node[e->n_nodes++] = all->node[k];
        keep_list(b, e, all->ended, all->n_ended);
    }
    return !g->x.stop;
}

/* ---- the difference of two states ---- */

typedef struct {
    uint32_t from, to; /* nodes */
} Range;

typedef struct {
    Grammar *g;
    uint32_t *words;
    Range *gone; /* where the other base's ends do not hold; in order */
    size_t n_gone, cap_gone, entered;
    Crossings ends;
} Near;

static ByteSet all_bytes(void)
{
    return (ByteSet){ { ~0ull, ~0ull, ~0ull, ~0ull } };
}

/* Bytes after which s and `of` (one part) may be different states. */
static ByteSet bytes_apart(const Grammar *g, LexId s, LexId of)
{
    const Exprs *x = &g->x;
    const LexState *st = &g->l.state[s], *o = &g->l.state[of];
    ByteSet apart = { { 0 } };
    bool found = false;
    if (o->n != 1) return all_bytes();
    LexPart main = g->l.part[o->at];
    for (uint32_t i = 0; i < st->n; i++) {
        LexPart p = g->l.part[st->at + i];
        Part of_p, of_main;
        if (p.lexeme != main.lexeme) {
            add_first(x, &apart, p.rest);
            continue;
        }
        found = true;
        if (p.rest == main.rest) continue;
        if (!part_of(x, p.rest, &of_p) || !part_of(x, main.rest, &of_main)) return all_bytes();
        if (of_main.minus || of_p.loop != of_main.loop || of_p.tail != of_main.tail) return all_bytes();
        for (int k = 0; k < 4; k++) apart.bits[k] |= of_p.less.bits[k];
        if (of_p.has_empty != of_main.has_empty) add_first(x, &apart, of_p.tail);
    }
    return found ? apart : all_bytes();
}

static void set_ranks(Near *d, uint32_t from, uint32_t to, bool on)
{
    const int32_t *id = d->g->vocab->trie.by_rank;
    for (uint32_t r = from; r < to; r++) {
        uint32_t *word = &d->words[id[r] >> 5], bit = 1u << (id[r] & 31);
        *word = on ? *word | bit : *word & ~bit;
    }
}

static void take_ends(Near *d, uint32_t from, uint32_t to)
{
    d->gone = array_room(d->gone, d->n_gone, &d->cap_gone, sizeof *d->gone);
    d->gone[d->n_gone++] = (Range){ from, to };
}

static void put_crossing(Near *d, uint32_t node, uint32_t accept)
{
    if (!accept || d->ends.n > BASE_MAX_ENDS) return;
    d->ends.p = array_room(d->ends.p, d->ends.n, &d->ends.cap, sizeof *d->ends.p);
    d->ends.p[d->ends.n++] = (Crossing){ node, accept };
}

/* Node i, where s and `of` differ: the node to go on with. */
static uint32_t settle(Near *d, uint32_t i, LexId s, LexId of)
{
    Grammar *g = d->g;
    const Trie *t = &g->vocab->trie;
    const TrieNode *n = &t->node[i];
    uint32_t behind = i + n->span, own = t->node[i + 1].rank, end = t->node[behind].rank;
    uint32_t parts = s ? g->l.state[s].n : 0, accept = s ? g->l.state[s].accept : 0;
    set_ranks(d, n->rank, own, s != LEX_DEAD);
    if (parts == 0) { /* nothing goes on from here */
        set_ranks(d, own, end, false);
        take_ends(d, i, behind);
        put_crossing(d, i, accept);
        return behind;
    }
    if (n->span >= WALK_ABSORB_SPAN && walk_absorbed(t, i, lexer_absorb(&g->l, s))) {
        set_ranks(d, own, end, true);
        take_ends(d, i, behind);
        return behind;
    }
    take_ends(d, i, i + 1);
    put_crossing(d, i, accept);
    g->m.at[n->depth] = s;
    g->m.of[n->depth] = of;
    g->m.apart[n->depth] = bytes_apart(g, s, of);
    return i + 1;
}

/* Both states side by side; false: they differ too much, or stopped. */
static bool walk_apart(Near *d, LexId s, LexId of)
{
    Grammar *g = d->g;
    Masks *m = &g->m;
    const Trie *t = &g->vocab->trie;
    m->at[0] = s;
    m->of[0] = of;
    m->apart[0] = bytes_apart(g, s, of);
    for (uint32_t i = 1; i < t->n_nodes;) {
        const TrieNode *n = &t->node[i];
        uint32_t up = n->depth - 1;
        LexId to, other;
        if (!set_has(&m->apart[up], n->byte)) {
            i += n->span;
            continue;
        }
        to = lexer_step(&g->l, m->at[up], n->byte);
        other = lexer_step(&g->l, m->of[up], n->byte);
        if (g->x.stop) return false;
        if (to == other) {
            i += n->span;
            continue;
        }
        if (++d->entered > MAX_ENTERED) return false;
        i = settle(d, i, to, other);
    }
    return true;
}

/* The ends of the other base where the states are one: its part is number `part` of this state. */
static void keep_common(const Near *d, const Base *from, uint32_t part, Base *b)
{
    for (size_t i = 0; i < from->n_ends; i++) {
        const BaseEnds *all = &from->ends[i];
        BaseEnds *e = add_ends(b, all->n_nodes);
        size_t r = 0;
        for (uint32_t k = 0; k < all->n_nodes; k++) {
            while (r < d->n_gone && d->gone[r].to <= all->node[k]) r++;
            if (r == d->n_gone || all->node[k] < d->gone[r].from) e->node[e->n_nodes++] = all->node[k];
        }
        keep_list(b, e, &part, 1);
    }
}

static bool apart_base(Grammar *g, LexId s, uint32_t part, const Part *p, Base *b)
{
    LexPart main = g->l.part[g->l.state[s].at + part];
    main.rest = exprs_cat(&g->x, p->loop, p->tail);
    LexId of = lexer_alone(&g->l, main);
    const Base *from = g->x.stop ? NULL : base_for(g, of, true);
    if (!from || from->open) return false;
    size_t size = grammar_mask_words(g->vocab) * sizeof *b->words;
    Near d = { .g = g, .words = b->words };
    memcpy(b->words, from->words, size);
    bool good = walk_apart(&d, s, of) && d.ends.n <= BASE_MAX_ENDS;
    if (good) {
        keep_common(&d, from, part, b);
        base_keep_ends(&g->l, s, &d.ends, b);
    } else {
        memset(b->words, 0, size);
    }
    mem_free(d.gone);
    mem_free(d.ends.p);
    return good;
}

bool near_exists(Grammar *g, LexId s)
{
    Part p;
    Count c;
    return is_count(g, s, &c) || main_part(g, s, &p) < g->l.state[s].n;
}

bool near_base(Grammar *g, LexId s, Base *b)
{
    Part p;
    Count c;
    if (is_count(g, s, &c)) return count_base(g, s, &c, b);
    uint32_t part = main_part(g, s, &p);
    return part < g->l.state[s].n && apart_base(g, s, part, &p, b);
}
