/* derive.c - what is computed from nodes: derivatives, emptiness, saturation, absorption. See expr.h. */
#include "grammar/expr.h"
#include "grammar/groups.h"

enum { KIDS_ON_STACK = 48, SATURATE_DEPTH = 200, WEIGHT_MAX = 1 << 20, CLOCK_EVERY = 1024, LENGTH_VISITS = 2000 };

/* ---- memo ---- */

static uint32_t memo_get(const ExprMemo *m, uint32_t key)
{
    if (!m->n_slots) return UINT32_MAX;
    for (size_t at = hash_mix(key) & (m->n_slots - 1);; at = (at + 1) & (m->n_slots - 1)) {
        uint64_t s = m->slots[at];
        if (!s) return UINT32_MAX;
        if ((uint32_t)s == key) return (uint32_t)(s >> 32) - 1;
    }
}

static void memo_insert(ExprMemo *m, uint32_t key, uint32_t value)
{
    size_t at = hash_mix(key) & (m->n_slots - 1);
    while (m->slots[at]) at = (at + 1) & (m->n_slots - 1);
    m->slots[at] = ((uint64_t)value + 1) << 32 | key;
}

static void memo_put(ExprMemo *m, uint32_t key, uint32_t value)
{
    if (m->n * 2 >= m->n_slots) {
        ExprMemo old = *m;
        m->n_slots = MAX(old.n_slots * 2, (size_t)256);
        m->slots = mem_alloc_array(m->n_slots, sizeof *m->slots);
        for (size_t i = 0; i < old.n_slots; i++)
            if (old.slots[i]) memo_insert(m, (uint32_t)old.slots[i], (uint32_t)(old.slots[i] >> 32) - 1);
        mem_free(old.slots);
    }
    memo_insert(m, key, value);
    m->n++;
}

/* ---- derivatives ---- */

static uint32_t derive(Exprs *x, uint32_t e, uint8_t byte);

static uint32_t less(uint32_t bound)
{
    return bound == BUILD_INF || bound == 0 ? bound : bound - 1;
}

/* A list of nodes that moves to the heap when it is long. */
typedef struct {
    uint32_t *p, small[KIDS_ON_STACK];
    size_t n, cap;
} List;

static void list_add(List *l, uint32_t e)
{
    if (l->n == l->cap) {
        uint32_t *p = mem_alloc_array(l->cap * 2, sizeof *p);
        memcpy(p, l->p, l->n * sizeof *p);
        if (l->p != l->small) mem_free(l->p);
        l->p = p;
        l->cap *= 2;
    }
    l->p[l->n++] = e;
}

static void list_done(List *l)
{
    if (l->p != l->small) mem_free(l->p);
}

/* d(ab) is d(a)b, and d(b) too while a may be empty: a loop, since chains are long. */
static uint32_t derive_cat(Exprs *x, uint32_t e, uint8_t byte)
{
    List l = { .cap = KIDS_ON_STACK };
    l.p = l.small;
    for (;;) {
        ExprNode n = x->node[e];
        if (n.kind != X_CAT) {
            list_add(&l, derive(x, e, byte));
            break;
        }
        uint32_t d = derive(x, n.a, byte);
        if (d != EXPR_NOTHING) list_add(&l, exprs_cat(x, d, n.b));
        if (!exprs_nullable(x, n.a) || x->stop) break;
        e = n.b;
    }
    uint32_t out = l.n == 0 ? EXPR_NOTHING : l.n == 1 ? l.p[0] : exprs_or(x, l.p, l.n);
    list_done(&l);
    return out;
}

static uint32_t derive_list(Exprs *x, ExprNode n, uint8_t byte)
{
    List l = { .cap = KIDS_ON_STACK };
    l.p = l.small;
    for (uint32_t i = 0; i < n.b && !x->stop; i++) {
        uint32_t d = derive(x, x->kids[n.a + i], byte);
        if (d != EXPR_NOTHING) {
            list_add(&l, d);
        } else if (n.kind == X_AND) {
            list_done(&l);
            return EXPR_NOTHING;
        }
    }
    uint32_t out = n.kind == X_AND ? exprs_and(x, l.p, l.n) : l.n ? exprs_or(x, l.p, l.n) : EXPR_NOTHING;
    list_done(&l);
    return out;
}

static uint32_t derive_node(Exprs *x, uint32_t e, uint8_t byte)
{
    ExprNode n = x->node[e];
    switch ((ExprKind)n.kind) {
    case X_CAT: return derive_cat(x, e, byte);
    case X_OR:
    case X_AND: return derive_list(x, n, byte);
    case X_NOT: return exprs_not(x, derive(x, n.a, byte));
    case X_REPEAT: {
        uint32_t d = derive(x, n.a, byte);
        return d == EXPR_NOTHING ? d : exprs_cat(x, d, exprs_repeat(x, n.a, less(n.b), less(n.c)));
    }
    case X_NOTHING:
    case X_EMPTY:
    case X_SET:
    case X_LIT: break;
    }
    return EXPR_NOTHING;
}

static uint32_t derive(Exprs *x, uint32_t e, uint8_t byte)
{
    const ExprNode *n = &x->node[e];
    if (x->stop || !set_has(&x->sets[n->first], byte)) return EXPR_NOTHING;
    if (n->kind == X_SET) return EXPR_EMPTY;
    if (n->kind == X_LIT) return exprs_literal(x, x->lits.p + n->a + 1, n->b - 1);
    uint32_t key = e << 8 | byte, known = memo_get(&x->derived, key);
    if (known != UINT32_MAX) return known;
    if (x->fuel == 0) {
        x->stop = STOP_FUEL;
        return EXPR_NOTHING;
    }
    x->fuel--;
    if (x->deadline_ns && x->fuel % CLOCK_EVERY == 0 && clock_ns() > x->deadline_ns) {
        x->stop = STOP_CLOCK;
        return EXPR_NOTHING;
    }
    uint32_t out = derive_node(x, e, byte);
    if (x->stop) return EXPR_NOTHING;
    memo_put(&x->derived, key, out);
    return out;
}

uint32_t exprs_derive(Exprs *x, uint32_t e, uint8_t byte)
{
    uint32_t d = derive(x, e, byte);
    return d != EXPR_NOTHING && exprs_alive(x, d) ? d : EXPR_NOTHING;
}

/* ---- emptiness ---- */

typedef struct {
    uint32_t e, from; /* from: index in the list of the node this one was derived from */
} Visit;

typedef struct {
    Visit *p;
    size_t n, cap;
} Visits;

static bool visit(Exprs *x, Visits *v, uint32_t e, uint32_t from)
{
    if (x->cap_stamps < x->n) {
        size_t had = x->cap_stamps;
        x->cap_stamps = MAX((size_t)x->n * 2, (size_t)256);
        x->stamps = mem_grow(x->stamps, x->cap_stamps * sizeof *x->stamps);
        memset(x->stamps + had, 0, (x->cap_stamps - had) * sizeof *x->stamps);
    }
    if (x->stamps[e] == x->stamp) return false;
    x->stamps[e] = x->stamp;
    v->p = array_room(v->p, v->n, &v->cap, sizeof *v->p);
    v->p[v->n++] = (Visit){ e, from };
    return true;
}

/* Structure that decides: 1 alive, 0 dead, -1 look further. */
static int alive_at_sight(const Exprs *x, uint32_t e)
{
    const ExprNode *n = &x->node[e];
    if (n->flags & (X_ALIVE | X_NULLABLE)) return 1;
    if (n->flags & X_DEAD) return 0;
    return n->flags & X_HARD ? -1 : 1;
}

/* Breadth first over derivatives until one holds the empty string: then everything on the way to it is alive; if none does
 * everything seen is empty. */
static bool search_alive(Exprs *x, uint32_t e)
{
    Visits v = { 0 };
    bool found = false;
    exprs_classes(x);
    x->stamp++;
    visit(x, &v, e, UINT32_MAX);
    for (uint32_t i = 0; i < v.n && !found && !x->stop; i++) {
        for (int k = 0; k < x->n_classes && !found && !x->stop; k++) {
            uint32_t d = derive(x, v.p[i].e, x->class_byte[k]);
            int known = d == EXPR_NOTHING ? 0 : alive_at_sight(x, d);
            if (known == -1) visit(x, &v, d, i);
            if (known != 1) continue;
            found = true;
            for (uint32_t at = i; at != UINT32_MAX; at = v.p[at].from) x->node[v.p[at].e].flags |= X_ALIVE;
        }
    }
    if (!found && !x->stop)
        for (size_t i = 0; i < v.n; i++) x->node[v.p[i].e].flags |= X_DEAD;
    mem_free(v.p);
    return found;
}

/* ---- saturation ---- */

static uint64_t weight_of_others(const Exprs *x, const ExprNode *n, uint32_t but, int depth);

/* An upper bound of the states of an automaton for a node without complements: its positions, repetitions unrolled; of a meeting, the
 * pairs of both. */
static uint64_t weight(const Exprs *x, uint32_t e, int depth)
{
    uint64_t w = 0;
    for (;;) {
        const ExprNode *n = &x->node[e];
        if (depth > SATURATE_DEPTH || w > WEIGHT_MAX || n->kind == X_NOT) return WEIGHT_MAX;
        if (n->flags & X_CHAR) return w + 1; /* what is inside a character is on the way to one place */
        if (n->kind == X_CAT) {
            w += weight(x, n->a, depth + 1);
            e = n->b;
            continue;
        }
        if (n->kind == X_LIT) return w + n->b;
        if (n->kind == X_AND) return w + weight_of_others(x, n, EXPR_NOTHING, depth + 1);
        if (n->kind == X_OR)
            for (uint32_t i = 0; i < n->b; i++) w += weight(x, x->kids[n->a + i], depth + 1);
        if (n->kind == X_REPEAT) w += weight(x, n->a, depth + 1) * MAX(n->c == BUILD_INF ? n->b : n->c, 1u);
        return w + 1;
    }
}

/* Of all parts of a meeting but one together. */
static uint64_t weight_of_others(const Exprs *x, const ExprNode *n, uint32_t but, int depth)
{
    uint64_t w = 1;
    for (uint32_t i = 0; i < n->b && w < WEIGHT_MAX; i++)
        if (x->kids[n->a + i] != but) w *= weight(x, x->kids[n->a + i], depth) + 1;
    return MIN(w, (uint64_t)WEIGHT_MAX);
}

static uint32_t saturate(Exprs *x, uint32_t e, uint32_t reach, int depth);

/* Within reach bytes a bound is not met that takes more of them. */
static uint32_t saturate_repeat(Exprs *x, const ExprNode *n, uint32_t reach)
{
    uint32_t min = MIN(n->b, reach);
    bool far = (uint64_t)n->c * MAX(exprs_shortest(x, n->a), 1u) > reach;
    uint32_t max = far ? BUILD_INF : n->c;
    return exprs_repeat(x, n->a, min, max);
}

/* Characters C{m,n} that are counted, perhaps with a tail. */
static bool counted(const Exprs *x, uint32_t e, ExprNode *loop, uint32_t *tail)
{
    *loop = x->node[e];
    *tail = EXPR_EMPTY;
    if (loop->kind == X_CAT) {
        *tail = loop->b;
        *loop = x->node[loop->a];
    }
    return loop->kind == X_REPEAT && loop->c != BUILD_INF && (x->node[loop->a].flags & X_CHAR) &&
           !(x->node[*tail].flags & X_HARD);
}

static uint32_t uncounted(Exprs *x, const ExprNode *loop, uint32_t tail)
{
    return exprs_cat(x, exprs_repeat(x, loop->a, loop->b, BUILD_INF), tail);
}

/* What characters meet: how many states it has, and, if it is one part, which. */
typedef struct {
    uint64_t states;
    uint32_t reach, other;
} Room;

/* Characters that a string of C{m,n} and a begun string of what it meets may need to be whole. Where C is any character and m is 0, what
 * the other lacks is enough; else no more than m + states, as a longer one repeats a state. */
static uint64_t need_of(const Exprs *x, const ExprNode *loop, uint32_t tail, Room *room)
{
    bool json = loop->a == x->any[SPELL_JSON] && (x->node[room->other].flags & X_JSON),
         utf8 = loop->a == x->any[SPELL_UTF8] && (x->node[room->other].flags & X_UTF8);
    bool simple = room->other != EXPR_NOTHING && tail == EXPR_EMPTY && loop->b == 0 && (json || utf8);
    uint32_t closing = simple ? exprs_closing(x, room->other) : UINT32_MAX;
    if (closing != UINT32_MAX) return closing + 2ull;
    return room->states + loop->b + weight(x, tail, 0) + 2;
}

/* The parts of a union, each as fn has it; fn of e itself if it is no union. */
static uint32_t each_part(Exprs *x, uint32_t e, uint32_t (*fn)(Exprs *x, uint32_t e, Room *arg), Room *arg)
{
    ExprNode n = x->node[e];
    if (n.kind != X_OR) return fn(x, e, arg);
    List l = { .cap = KIDS_ON_STACK };
    l.p = l.small;
    for (uint32_t i = 0; i < n.b; i++) list_add(&l, fn(x, x->kids[n.a + i], arg));
    uint32_t all = exprs_or(x, l.p, l.n);
    list_done(&l);
    return all;
}

/* A meeting with one part changed. */
static uint32_t meeting_with(Exprs *x, const ExprNode *n, uint32_t i, uint32_t part)
{
    List l = { .cap = KIDS_ON_STACK };
    l.p = l.small;
    for (uint32_t k = 0; k < n->b; k++) list_add(&l, k == i ? part : x->kids[n->a + k]);
    uint32_t all = exprs_and(x, l.p, l.n);
    list_done(&l);
    return all;
}

/* Characters C{m,n}, perhaps with a tail, that meet A without complements: if n leaves enough beyond reach it does not bind. */
static uint32_t saturate_side(Exprs *x, uint32_t side, Room *room)
{
    ExprNode n;
    uint32_t tail;
    if (!counted(x, side, &n, &tail)) return side;
    uint64_t need = room->reach + need_of(x, &n, tail, room);
    return n.c < need || need > WEIGHT_MAX ? side : uncounted(x, &n, tail);
}

static uint32_t saturate_and(Exprs *x, uint32_t e, uint32_t reach)
{
    ExprNode n = x->node[e];
    for (uint32_t i = 0; i < n.b; i++) {
        uint32_t kid = x->kids[n.a + i];
        if (!(x->node[kid].flags & X_BIG)) continue;
        Room room = { weight_of_others(x, &n, kid, 0), reach, n.b == 2 ? x->kids[n.a + 1 - i] : EXPR_NOTHING };
        uint32_t side = each_part(x, kid, saturate_side, &room);
        if (side != kid) return meeting_with(x, &n, i, side);
    }
    return e;
}

static uint32_t saturate_or(Exprs *x, ExprNode n, uint32_t reach, int depth)
{
    List l = { .cap = KIDS_ON_STACK };
    l.p = l.small;
    for (uint32_t i = 0; i < n.b; i++) list_add(&l, saturate(x, x->kids[n.a + i], reach, depth + 1));
    uint32_t out = exprs_or(x, l.p, l.n);
    list_done(&l);
    return out;
}

static uint32_t saturate(Exprs *x, uint32_t e, uint32_t reach, int depth)
{
    ExprNode n = x->node[e];
    if (!(n.flags & X_BIG) || depth > SATURATE_DEPTH || x->stop) return e;
    uint32_t known = memo_get(&x->saturated, e);
    if (known != UINT32_MAX) return known;
    uint32_t out = e;
    if (n.kind == X_AND)
        out = saturate_and(x, e, reach);
    else if (n.kind == X_OR)
        out = saturate_or(x, n, reach, depth);
    else if (n.kind == X_REPEAT && !(n.flags & X_HARD))
        out = saturate_repeat(x, &n, reach);
    else if (n.kind == X_CAT)
        out = exprs_cat(x, saturate(x, n.a, reach, depth + 1), saturate(x, n.b, reach, depth + 1));
    if (x->stop) return e;
    memo_put(&x->saturated, e, out);
    return out;
}

uint32_t exprs_saturate(Exprs *x, uint32_t e, uint32_t reach)
{
    return saturate(x, e, reach, 0);
}

/* ---- alive or not ---- */

static uint32_t uncounted_side(Exprs *x, uint32_t side, Room *room)
{
    ExprNode n;
    uint32_t tail;
    if (!counted(x, side, &n, &tail)) return side;
    room->states = MIN(room->states, (uint64_t)n.c);
    return uncounted(x, &n, tail);
}

/* Some string of e has at most so many bytes; BUILD_INF: not known. A search that ends at the first node that is known, and leaves
 * what it found on the whole way. */
static uint32_t some_length(Exprs *x, uint32_t e)
{
    uint32_t known = memo_get(&x->lengths, e), found = BUILD_INF;
    if (known != UINT32_MAX) return known ? known - 1 : BUILD_INF;
    Visits v = { 0 };
    exprs_classes(x);
    x->stamp++;
    visit(x, &v, e, UINT32_MAX);
    for (uint32_t i = 0; i < v.n && v.n < LENGTH_VISITS && found == BUILD_INF && !x->stop; i++) {
        for (int k = 0; k < x->n_classes && found == BUILD_INF && !x->stop; k++) {
            uint32_t d = derive(x, v.p[i].e, x->class_byte[k]);
            if (d == EXPR_NOTHING) continue;
            known = exprs_nullable(x, d) ? 1 : memo_get(&x->lengths, d);
            visit(x, &v, d, i);
            if (known == UINT32_MAX || known == 0) continue;
            found = known - 1;
            for (uint32_t at = i; at != UINT32_MAX; at = v.p[at].from) memo_put(&x->lengths, v.p[at].e, ++found + 1);
        }
    }
    mem_free(v.p);
    if (found == BUILD_INF && !x->stop) memo_put(&x->lengths, e, 0);
    return found;
}

/* A meeting that counts is looked at without its bounds: that is one of few, where each count would be one of its own. Some string of
 * it is within the bounds, or a search must say. */
bool exprs_alive(Exprs *x, uint32_t e)
{
    int known = alive_at_sight(x, e);
    const ExprNode n = x->node[e];
    if (known != -1) return known;
    for (uint32_t i = 0; n.kind == X_AND && i < n.b && !x->stop; i++) {
        Room least = { .states = BUILD_INF }; /* the least bound is put there */
        uint32_t side = each_part(x, x->kids[n.a + i], uncounted_side, &least);
        if (least.states == BUILD_INF) continue;
        if (some_length(x, meeting_with(x, &n, i, side)) > least.states || x->stop) break;
        x->node[e].flags |= X_ALIVE;
        return true;
    }
    return search_alive(x, e);
}

/* ---- counters ---- */

/* The one of the parts that has a large bound; EXPR_NOTHING: none has, or several. */
static uint32_t only_big(const Exprs *x, const ExprNode *n)
{
    uint32_t found = EXPR_NOTHING;
    for (uint32_t i = 0; i < n->b; i++) {
        uint32_t kid = x->kids[n->a + i];
        if (!(x->node[kid].flags & X_BIG)) continue;
        if (found != EXPR_NOTHING) return EXPR_NOTHING;
        found = kid;
    }
    return found;
}

/* The one large upper bound of e, 0 if there is none, or several, or one that must not be moved: under a complement, or where a
 * bound of least would be told apart from a larger one within reach bytes. */
static uint32_t bound(const Exprs *x, uint32_t e, uint32_t reach, uint32_t least, int depth)
{
    const ExprNode *n = &x->node[e];
    if (!(n->flags & X_BIG) || depth > SATURATE_DEPTH) return 0;
    if (n->kind == X_REPEAT) {
        bool fits = n->c != BUILD_INF && n->c > least && n->b + reach < least;
        return fits && !(n->flags & X_HARD) && !(x->node[n->a].flags & X_BIG) ? n->c : 0;
    }
    if (n->kind == X_CAT) {
        bool both = x->node[n->a].flags & x->node[n->b].flags & X_BIG;
        uint32_t part = x->node[n->a].flags & X_BIG ? n->a : n->b;
        return both ? 0 : bound(x, part, reach, least, depth + 1);
    }
    if (n->kind == X_OR) {
        uint32_t part = only_big(x, n);
        return part == EXPR_NOTHING ? 0 : bound(x, part, reach, least, depth + 1);
    }
    if (n->kind == X_AND) {
        uint32_t side = only_big(x, n), part = side;
        if (x->node[part].kind == X_OR) part = only_big(x, &x->node[part]);
        const ExprNode *p = &x->node[part];
        uint32_t tail = p->kind == X_CAT ? p->b : EXPR_EMPTY, loop = p->kind == X_CAT ? p->a : part;
        const ExprNode *l = &x->node[loop];
        if (l->kind != X_REPEAT || !(x->node[l->a].flags & X_CHAR)) return 0;
        bool first = x->kids[n->a] == side;
        Room room = { weight_of_others(x, n, side, 0), reach, n->b == 2 ? x->kids[n->a + first] : EXPR_NOTHING };
        uint64_t need = reach + need_of(x, l, tail, &room);
        return need < least ? bound(x, part, reach, least, depth + 1) : 0;
    }
    return 0;
}

uint32_t exprs_bound(const Exprs *x, uint32_t e, uint32_t reach, uint32_t least)
{
    return bound(x, e, reach, least, 0);
}

static uint32_t shift_list(Exprs *x, ExprNode n, int64_t delta)
{
    List l = { .cap = KIDS_ON_STACK };
    l.p = l.small;
    for (uint32_t i = 0; i < n.b; i++) list_add(&l, exprs_shift(x, x->kids[n.a + i], delta));
    uint32_t out = n.kind == X_AND ? exprs_and(x, l.p, l.n) : exprs_or(x, l.p, l.n);
    list_done(&l);
    return out;
}

uint32_t exprs_shift(Exprs *x, uint32_t e, int64_t delta)
{
    ExprNode n = x->node[e];
    if (!(n.flags & X_BIG) || x->stop) return e;
    if (n.kind == X_REPEAT && n.c != BUILD_INF && n.c > EXPR_BIG)
        return exprs_repeat(x, n.a, n.b, (uint32_t)((int64_t)n.c + delta));
    if (n.kind == X_CAT) return exprs_cat(x, exprs_shift(x, n.a, delta), exprs_shift(x, n.b, delta));
    if (n.kind == X_OR || n.kind == X_AND) return shift_list(x, n, delta);
    return e;
}

/* ---- absorption ---- */

/* Where a character must lead to: to `want`, or (EXPR_NOTHING) to anything that holds the empty string. */
static bool arrived(const Exprs *x, uint32_t e, uint32_t want)
{
    return want ? e == want : e != EXPR_NOTHING && exprs_nullable(x, e);
}

/* True if every string of k trailing bytes, the first of which lies between lo and hi, leads there. */
static bool all_trails(Exprs *x, uint32_t e, uint32_t want, int k, int lo, int hi)
{
    if (k == 0) return arrived(x, e, want);
    uint32_t last = EXPR_NOTHING;
    int last_class = -1;
    for (int c = lo; c <= hi; c++) {
        if (x->class_of[c] == last_class) continue; /* classes are mostly runs */
        last_class = x->class_of[c];
        uint32_t d = derive(x, e, (uint8_t)c);
        if (d == EXPR_NOTHING) return false;
        if (d == last) continue;
        last = d;
        if (!all_trails(x, d, want, k - 1, 0x80, 0xBF)) return false;
    }
    return true;
}

static bool all_leads(Exprs *x, uint32_t e, uint32_t want, int k, int lo, int hi)
{
    for (int c = lo; c <= hi; c++) {
        int from = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80, to = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
        uint32_t d = derive(x, e, (uint8_t)c);
        if (d == EXPR_NOTHING || !all_trails(x, d, want, k, from, to)) return false;
    }
    return true;
}

/* The groups of bytes of which every character leads there. */
static uint64_t groups_to(Exprs *x, uint32_t e, uint32_t want)
{
    uint64_t groups = ~0ull & ~(1ull << GROUP_BAD);
    for (int c = 0; c < 0x80; c++)
        if (!arrived(x, derive(x, e, (uint8_t)c), want)) groups &= ~(1ull << group_of_ascii((uint8_t)c));
    if (!all_leads(x, e, want, 1, 0xC2, 0xDF)) groups &= ~(1ull << GROUP_LEAD2);
    if (!all_leads(x, e, want, 2, 0xE0, 0xEF)) groups &= ~(1ull << GROUP_LEAD3);
    if (!all_leads(x, e, want, 3, 0xF0, 0xF4)) groups &= ~(1ull << GROUP_LEAD4);
    return groups;
}

/* The groups of bytes of which every character is, by itself, in e; remembered in the node. */
static uint64_t char_groups(Exprs *x, uint32_t e)
{
    if (x->node[e].more) return x->absorbs[x->node[e].more];
    uint64_t groups = groups_to(x, e, EXPR_NOTHING);
    if (x->stop) return 0;
    exprs_mark_char(x, e, groups, 0);
    return groups;
}

static bool char_repeat(Exprs *x, uint32_t e, Absorb *out)
{
    ExprNode n = x->node[e];
    if (n.kind != X_REPEAT) return false;
    *out = (Absorb){ char_groups(x, n.a), n.c };
    return out->groups != 0;
}

/* C{0,n} T meets nodes to which characters of C lead back: after any of them T may still come, if it may now. side: this part of the
 * meeting, or one of its own parts. */
static Absorb absorb_counted(Exprs *x, const ExprNode *meeting, uint32_t i, uint32_t side)
{
    ExprNode n = x->node[side];
    Absorb best = { 0, 0 }, a;
    for (uint32_t k = 0; n.kind == X_OR && k < n.b; k++) {
        a = absorb_counted(x, meeting, i, x->kids[n.a + k]);
        if (a.groups && a.chars > best.chars) best = a;
    }
    if (n.kind != X_CAT || x->node[n.a].b != 0 || !char_repeat(x, n.a, &a)) return best;
    for (uint32_t k = 0; k < meeting->b && a.groups && !x->stop; k++) {
        uint32_t other = x->kids[meeting->a + k];
        if (k == i) continue;
        if (derive(x, other, 'e') != other) return best; /* one letter is tried before all are */
        a.groups &= groups_to(x, other, other);
    }
    if (!a.groups || !exprs_alive(x, meeting_with(x, meeting, i, n.b))) return best;
    return x->stop ? best : a;
}

/* What is left must hold the empty string whenever it stops. */
static Absorb absorb_meeting(Exprs *x, ExprNode n)
{
    Absorb best = { ~0ull, UINT32_MAX }, a;
    for (uint32_t i = 0; i < n.b; i++) {
        uint32_t kid = x->kids[n.a + i];
        if (x->node[kid].b != 0 || !char_repeat(x, kid, &a)) a = (Absorb){ 0, 0 };
        best.groups &= a.groups;
        best.chars = MIN(best.chars, a.chars);
    }
    if (best.groups) return best;
    best = (Absorb){ 0, 0 };
    for (uint32_t i = 0; i < n.b && !best.groups; i++) best = absorb_counted(x, &n, i, x->kids[n.a + i]);
    return best;
}

Absorb exprs_absorb(Exprs *x, uint32_t e)
{
    ExprNode n = x->node[e];
    Absorb best = { 0, 0 }, a;
    if (n.kind == X_REPEAT) {
        if (char_repeat(x, e, &a)) best = a;
    } else if (n.kind == X_CAT) {
        if (char_repeat(x, n.a, &a)) best = a;
    } else if (n.kind == X_OR) {
        for (uint32_t i = 0; i < n.b; i++) {
            a = exprs_absorb(x, x->kids[n.a + i]);
            bool wider = __builtin_popcountll(a.groups) > __builtin_popcountll(best.groups);
            if (a.groups && (a.chars > best.chars || (a.chars == best.chars && wider))) best = a;
        }
    } else if (n.kind == X_AND) {
        best = absorb_meeting(x, n);
    }
    return best;
}
