/* walk.c - see walk.h. */
#include "grammar/walk.h"

static void put_id(Walk *w, int32_t id)
{
    Masks *m = &w->g->m;
    uint32_t *word = &w->words[id >> 5], bit = 1u << (id & 31);
    if (*word & bit) return;
    *word |= bit;
    if (w->many) return;
    m->ids = array_room(m->ids, m->n_ids, &m->cap_ids, sizeof id);
    m->ids[m->n_ids++] = id;
    w->many = m->n_ids - w->list > WALK_SPARSE;
}

void walk_put(Walk *w, uint32_t from, uint32_t to)
{
    const int32_t *id = w->t->by_rank;
    uint32_t r = from;
    for (; r < to && !w->many; r++) put_id(w, id[r]);
    for (; r < to; r++) w->words[id[r] >> 5] |= 1u << (id[r] & 31);
}

/* Tokens that are allowed come in runs of ranks; a run is put when it ends. */
bool walk_lexer(Walk *w, LexId from, OnCrossing on, void *arg)
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
            walk_put(w, begin, end);
            begin = n.rank;
        }
        if (n.span == 1) { /* most nodes: nothing more to know */
            end = t->node[++i].rank;
            continue;
        }
        at[n.depth] = to;
        uint32_t accept = g->l.state[to].accept, parts = g->l.state[to].n;
        bool whole = parts && n.span >= WALK_ABSORB_SPAN && walk_absorbed(t, i, lexer_absorb(&g->l, to));
        end = t->node[whole ? i + n.span : i + 1].rank;
        if (accept && !whole && !on(arg, (Crossing){ i, accept })) return false;
        i += whole || parts == 0 ? n.span : 1;
    }
    walk_put(w, begin, end);
    return !g->x.stop;
}
