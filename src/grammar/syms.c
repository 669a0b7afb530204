/* syms.c - rule nodes in normal form, what may be empty, and the ways on from a node. See syms.h. */
#include "grammar/syms.h"

#include <stdlib.h>

#include "grammar/expr.h"

enum { MAX_HEIGHT = 3000, FIRST_SLOTS = 256 };

static uint32_t push_node(Syms *s, SymNode n)
{
    s->node = array_room32(s->node, s->n, &s->cap, sizeof n);
    s->node[s->n] = n;
    return s->n++;
}

void syms_init(Syms *s, uint32_t max_nodes)
{
    *s = (Syms){ .max_nodes = max_nodes, .n_slots = FIRST_SLOTS, .fuel = UINT64_MAX };
    s->slots = mem_alloc_array(s->n_slots, sizeof *s->slots);
    s->steps = array_room(NULL, 0, &s->cap_steps, sizeof *s->steps); /* never NULL: empty runs point into them */
    s->kids = array_room(NULL, 0, &s->cap_kids, sizeof *s->kids);
    s->ids = array_room(NULL, 0, &s->cap_ids, sizeof *s->ids);
    push_node(s, (SymNode){ .kind = Y_NOTHING });
    push_node(s, (SymNode){ .kind = Y_EMPTY, .flags = Y_NULLABLE | Y_FINITE });
}

void syms_done(Syms *s)
{
    mem_free(s->node);
    mem_free(s->slots);
    mem_free(s->kids);
    mem_free(s->steps);
    mem_free(s->tmp);
    mem_free(s->rule);
    mem_free(s->set);
    mem_free(s->ids);
    forms_done(s);
}

size_t syms_memory(const Syms *s)
{
    return s->cap * sizeof *s->node + s->n_slots * 4ull + s->cap_kids * 4 + s->cap_steps * sizeof *s->steps +
           s->cap_rules * sizeof *s->rule + s->cap_ids * 4 + forms_memory(s);
}

/* ---- interning ---- */

static uint64_t node_hash(const SymNode *n, const uint32_t *kids)
{
    uint64_t h = (uint64_t)n->kind << 60 ^ (uint64_t)n->b << 24 ^ n->c;
    if (n->kind == Y_ALT) return hash_bytes(kids, n->b * sizeof *kids, h);
    return hash_mix(h * 0x9e3779b97f4a7c15u + n->a);
}

static bool same(const Syms *s, const SymNode *p, const SymNode *q, const uint32_t *kids)
{
    if (p->kind != q->kind || p->b != q->b || p->c != q->c) return false;
    return p->kind == Y_ALT ? memcmp(s->kids + p->a, kids, p->b * sizeof *kids) == 0 : p->a == q->a;
}

static void grow_slots(Syms *s)
{
    mem_free(s->slots);
    s->n_slots *= 2;
    s->slots = mem_alloc_array(s->n_slots, sizeof *s->slots);
    for (uint32_t i = 2; i < s->n; i++) {
        uint32_t at = (uint32_t)node_hash(&s->node[i], s->kids + s->node[i].a) & (s->n_slots - 1);
        while (s->slots[at]) at = (at + 1) & (s->n_slots - 1);
        s->slots[at] = i;
    }
}

/* Nullable and finite from what the parts have; what is not known counts as no. */
static unsigned flags_of(Syms *s, const SymNode *n)
{
    unsigned f = 0;
    switch ((SymKind)n->kind) {
    case Y_NOTHING: return 0;
    case Y_EMPTY: return Y_NULLABLE | Y_FINITE;
    case Y_LEXEME: return Y_FINITE | (n->c ? Y_NULLABLE : 0u);
    case Y_TOKENS: return s->set[n->a].n || s->set[n->a].all_but ? Y_FINITE : 0;
    case Y_RULE: return (s->rule[n->a].nullable ? Y_NULLABLE : 0u) | (s->rule[n->a].finite ? Y_FINITE : 0u);
    case Y_SEQ: return s->node[n->a].flags & s->node[n->b].flags;
    case Y_ALT:
        for (uint32_t i = 0; i < n->b; i++) f |= s->node[s->kids[n->a + i]].flags;
        return f;
    case Y_REPEAT: return s->node[n->a].flags | (n->b == 0 ? Y_NULLABLE | Y_FINITE : 0u);
    case Y_FORM: return forms_flags(s, n->a, n->b, n->c);
    }
    return 0;
}

static Sym intern(Syms *s, SymNode n, const uint32_t *kids)
{
    uint32_t at = (uint32_t)node_hash(&n, kids) & (s->n_slots - 1);
    for (; s->slots[at]; at = (at + 1) & (s->n_slots - 1))
        if (same(s, &s->node[s->slots[at]], &n, kids)) return s->slots[at];
    if (s->n >= s->max_nodes || n.height > MAX_HEIGHT) {
        s->over = true;
        return SYM_NOTHING;
    }
    if (kids) {
        n.a = (uint32_t)s->n_kids;
        for (uint32_t i = 0; i < n.b; i++) {
            s->kids = array_room(s->kids, s->n_kids, &s->cap_kids, sizeof *s->kids);
            s->kids[s->n_kids++] = kids[i];
        }
    }
    n.flags = s->frozen ? (uint8_t)flags_of(s, &n) : 0;
    s->slots[at] = push_node(s, n);
    if (s->n * 2 > s->n_slots) grow_slots(s);
    return s->n - 1;
}

Sym syms_leaf(Syms *s, SymKind kind, uint32_t number, bool nullable)
{
    return intern(s, (SymNode){ .kind = (uint8_t)kind, .a = number, .c = nullable }, NULL);
}

Sym syms_form_node(Syms *s, uint32_t form, uint32_t b, uint32_t c)
{
    return intern(s, (SymNode){ .kind = Y_FORM, .a = form, .b = b, .c = c }, NULL);
}

Sym syms_seq(Syms *s, Sym a, Sym b)
{
    if (a == SYM_NOTHING || b == SYM_NOTHING) return SYM_NOTHING;
    if (a == SYM_EMPTY) return b;
    if (b == SYM_EMPTY) return a;
    unsigned height = MAX(s->node[a].height + 1u, s->node[b].height);
    return intern(s, (SymNode){ .kind = Y_SEQ, .a = a, .b = b, .height = (uint16_t)height }, NULL);
}

Sym syms_repeat(Syms *s, Sym a, uint32_t min, uint32_t max)
{
    if (max == 0 || a == SYM_EMPTY) return SYM_EMPTY;
    if (a == SYM_NOTHING) return min ? SYM_NOTHING : SYM_EMPTY;
    if (min == 1 && max == 1) return a;
    unsigned height = s->node[a].height + 1u;
    return intern(s, (SymNode){ .kind = Y_REPEAT, .a = a, .b = min, .c = max, .height = (uint16_t)height }, NULL);
}

static int by_id(const void *p, const void *q)
{
    uint32_t a = *(const uint32_t *)p, b = *(const uint32_t *)q;
    return (a > b) - (a < b);
}

Sym syms_alt(Syms *s, const Sym *a, size_t n)
{
    size_t total = 0, k = 0, to = 0;
    for (size_t i = 0; i < n; i++) total += s->node[a[i]].kind == Y_ALT ? s->node[a[i]].b : 1;
    if (total == 0) return SYM_NOTHING;
    uint32_t *kids = mem_alloc_array(total, sizeof *kids);
    unsigned height = 0;
    for (size_t i = 0; i < n; i++) {
        const SymNode *p = &s->node[a[i]];
        height = MAX(height, p->height);
        if (p->kind == Y_ALT)
            for (uint32_t j = 0; j < p->b; j++) kids[k++] = s->kids[p->a + j];
        else if (a[i] != SYM_NOTHING)
            kids[k++] = a[i];
    }
    qsort(kids, k, sizeof *kids, by_id);
    for (size_t i = 0; i < k; i++)
        if (i == 0 || kids[i] != kids[to - 1]) kids[to++] = kids[i];
    SymNode node = { .kind = Y_ALT, .b = (uint32_t)to, .height = (uint16_t)(height + 1) };
    Sym out = to == 0 ? SYM_NOTHING : to == 1 ? kids[0] : intern(s, node, kids);
    mem_free(kids);
    return out;
}

/* ---- what is known of all nodes ---- */

/* Parts come before the whole, so one pass in order settles everything but rules; rules are passed over until nothing changes. */
bool syms_freeze(Syms *s)
{
    for (bool changed = true; changed;) {
        if (s->fuel < s->n) return false;
        s->fuel -= s->n;
        changed = false;
        for (uint32_t i = 0; i < s->n; i++) s->node[i].flags = (uint8_t)flags_of(s, &s->node[i]);
        for (uint32_t i = 0; i < s->n_rules; i++) {
            Rule *r = &s->rule[i];
            unsigned f = s->node[r->body].flags;
            bool nullable = f & Y_NULLABLE, finite = f & Y_FINITE;
            changed |= nullable != r->nullable || finite != r->finite;
            r->nullable = nullable;
            r->finite = finite;
        }
    }
    s->frozen = true;
    return true;
}

bool syms_token_in(const Syms *s, uint32_t set, int32_t id)
{
    const TokenSet *t = &s->set[set];
    size_t lo = t->at, hi = t->at + t->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (s->ids[mid] == id) return !t->all_but;
        if (s->ids[mid] < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return t->all_but;
}

/* ---- ways on ---- */

static void tmp_push(Syms *s, Sym symbol, Sym rest)
{
    s->tmp = array_room(s->tmp, s->n_tmp, &s->cap_tmp, sizeof *s->tmp);
    s->tmp[s->n_tmp++] = (SymStep){ symbol, rest };
}

static void collect(Syms *s, Sym e);

/* The steps of a, each followed by `then`. */
void syms_collect_before(Syms *s, Sym a, Sym then)
{
    size_t from = s->n_tmp;
    collect(s, a);
    for (size_t i = from; i < s->n_tmp; i++) s->tmp[i].rest = syms_seq(s, s->tmp[i].rest, then);
}

static uint32_t less(uint32_t bound)
{
    return bound == BUILD_INF || bound == 0 ? bound : bound - 1;
}

static void collect(Syms *s, Sym e)
{
    for (;;) {
        SymNode n = s->node[e];
        switch ((SymKind)n.kind) {
        case Y_NOTHING:
        case Y_EMPTY: return;
        case Y_LEXEME:
        case Y_TOKENS:
        case Y_RULE: tmp_push(s, e, SYM_EMPTY); return;
        case Y_ALT:
            for (uint32_t i = 0; i < n.b; i++) collect(s, s->kids[n.a + i]);
            return;
        case Y_REPEAT: {
            bool nullable = s->node[n.a].flags & Y_NULLABLE;
            syms_collect_before(s, n.a, syms_repeat(s, n.a, nullable ? 0 : less(n.b), less(n.c)));
            return;
        }
        case Y_SEQ:
            syms_collect_before(s, n.a, n.b);
            if (!(s->node[n.a].flags & Y_NULLABLE)) return;
            e = n.b;
            break;
        case Y_FORM: forms_collect(s, e); return;
        }
    }
}

static int by_symbol(const void *p, const void *q)
{
    const SymStep *a = p, *b = q;
    if (a->symbol != b->symbol) return a->symbol < b->symbol ? -1 : 1;
    return (a->rest > b->rest) - (a->rest < b->rest);
}

/* tmp[base..] sorted, only ways that can end, rests of one symbol joined; appended to steps. */
static void keep_steps(Syms *s, size_t base, SymNode *n)
{
    if (s->n_tmp > base + 1) qsort(s->tmp + base, s->n_tmp - base, sizeof *s->tmp, by_symbol);
    size_t at = s->n_steps;
    for (size_t i = base; i < s->n_tmp;) {
        Sym symbol = s->tmp[i].symbol, rest = s->tmp[i].rest;
        size_t end = i + 1;
        while (end < s->n_tmp && s->tmp[end].symbol == symbol) end++;
        if (end - i > 1) {
            Sym *rests = mem_alloc_array(end - i, sizeof *rests);
            for (size_t k = i; k < end; k++) rests[k - i] = s->tmp[k].rest;
            rest = syms_alt(s, rests, end - i);
            mem_free(rests);
        }
        i = end;
        if (!(s->node[symbol].flags & s->node[rest].flags & Y_FINITE)) continue;
        s->steps = array_room(s->steps, s->n_steps, &s->cap_steps, sizeof *s->steps);
        s->steps[s->n_steps++] = (SymStep){ symbol, rest };
    }
    n->steps = (uint32_t)at + 1;
    n->n_steps = (uint32_t)(s->n_steps - at);
}

const SymStep *syms_steps(Syms *s, Sym a, uint32_t *n)
{
    if (!s->node[a].steps && !s->over) {
        size_t base = s->n_tmp;
        collect(s, a);
        SymNode made = s->node[a];
        keep_steps(s, base, &made);
        s->n_tmp = base;
        if (!s->over) {
            s->node[a].steps = made.steps;
            s->node[a].n_steps = made.n_steps;
        }
    }
    *n = s->over ? 0 : s->node[a].n_steps;
    return s->steps + (*n ? s->node[a].steps - 1 : 0);
}
