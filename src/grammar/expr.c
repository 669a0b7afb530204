/* expr.c - making nodes in normal form. Derivatives are in derive.c. See expr.h. */
#include "grammar/expr.h"

#include <stdlib.h>

enum { MAX_HEIGHT = 3000, FIRST_SLOTS = 256 };

static uint32_t push_node(Exprs *x, ExprNode n);

void exprs_init(Exprs *x, uint64_t seed, uint32_t max_nodes, uint64_t fuel)
{
    *x = (Exprs){ .seed = seed, .max_nodes = max_nodes, .fuel = fuel, .n_classes = 1 };
    x->n_slots = x->n_set_slots = FIRST_SLOTS;
    x->kids = array_room(NULL, 0, &x->cap_kids, sizeof *x->kids); /* never NULL: empty runs point into them */
    x->tmp = array_room(NULL, 0, &x->cap_tmp, sizeof *x->tmp);
    x->slots = mem_alloc_array(x->n_slots, sizeof *x->slots);
    x->set_slots = mem_alloc_array(x->n_set_slots, sizeof *x->set_slots);
    x->absorbs = mem_alloc_array(16, sizeof *x->absorbs);
    x->cap_absorbs = 16;
    x->n_absorbs = 1;
    x->sets = mem_alloc_array(16, sizeof *x->sets);
    x->cap_sets = 16;
    x->n_sets = 1; /* number 0: no byte */
    push_node(x, (ExprNode){ .kind = X_NOTHING, .flags = X_DEAD | X_UTF8 | X_JSON, .hash = { seed + 1, ~seed } });
    push_node(x, (ExprNode){ .kind = X_EMPTY,
                             .flags = X_NULLABLE | X_ALIVE | X_UTF8 | X_JSON,
                             .hash = { hash_mix(seed + 2), hash_mix(~seed + 5) } });
}

void exprs_done(Exprs *x)
{
    mem_free(x->node);
    mem_free(x->slots);
    mem_free(x->sets);
    mem_free(x->set_slots);
    mem_free(x->kids);
    mem_free(x->absorbs);
    mem_free(x->derived.slots);
    mem_free(x->saturated.slots);
    mem_free(x->lengths.slots);
    mem_free(x->stamps);
    mem_free(x->tmp);
    buf_free(&x->lits);
}

size_t exprs_memory(const Exprs *x)
{
    return (size_t)x->cap * sizeof *x->node + (size_t)(x->n_slots + x->n_set_slots) * 4 +
           x->cap_sets * sizeof *x->sets + x->cap_kids * 4 + x->lits.cap +
           (x->derived.n_slots + x->saturated.n_slots + x->lengths.n_slots) * 8 + x->cap_stamps * 4 + x->cap_tmp * 4;
}

static uint32_t push_node(Exprs *x, ExprNode n)
{
    x->node = array_room32(x->node, x->n, &x->cap, sizeof n);
    x->node[x->n] = n;
    return x->n++;
}

static bool spend(Exprs *x, uint64_t n)
{
    if (x->stop) return false;
    if (x->fuel < n) {
        x->stop = STOP_FUEL;
        return false;
    }
    x->fuel -= n;
    return true;
}

/* ---- byte sets ---- */

static ByteSet set_union(ByteSet a, const ByteSet *b)
{
    for (int i = 0; i < 4; i++) a.bits[i] |= b->bits[i];
    return a;
}

static ByteSet set_meet(ByteSet a, const ByteSet *b)
{
    for (int i = 0; i < 4; i++) a.bits[i] &= b->bits[i];
    return a;
}

static bool set_none(const ByteSet *s)
{
    return !(s->bits[0] | s->bits[1] | s->bits[2] | s->bits[3]);
}

static uint64_t set_hash(const ByteSet *s)
{
    return hash_bytes(s->bits, sizeof s->bits, 77);
}

static void grow_set_slots(Exprs *x)
{
    mem_free(x->set_slots);
    x->n_set_slots *= 2;
    x->set_slots = mem_alloc_array(x->n_set_slots, sizeof *x->set_slots);
    for (uint32_t i = 1; i < x->n_sets; i++) {
        uint32_t at = (uint32_t)set_hash(&x->sets[i]) & (x->n_set_slots - 1);
        while (x->set_slots[at]) at = (at + 1) & (x->n_set_slots - 1);
        x->set_slots[at] = i;
    }
}

/* The number of a set. */
static uint32_t intern_set(Exprs *x, const ByteSet *s)
{
    if (set_none(s)) return 0;
    uint32_t at = (uint32_t)set_hash(s) & (x->n_set_slots - 1);
    for (; x->set_slots[at]; at = (at + 1) & (x->n_set_slots - 1))
        if (memcmp(&x->sets[x->set_slots[at]], s, sizeof *s) == 0) return x->set_slots[at];
    x->sets = array_room32(x->sets, x->n_sets, &x->cap_sets, sizeof *s);
    x->sets[x->n_sets] = *s;
    x->set_slots[at] = x->n_sets++;
    if (x->n_sets * 2 > x->n_set_slots) grow_set_slots(x);
    return x->n_sets - 1;
}

static uint32_t union_sets(Exprs *x, uint32_t a, uint32_t b)
{
    if (a == b || b == 0) return a;
    if (a == 0) return b;
    ByteSet s = set_union(x->sets[a], &x->sets[b]);
    return intern_set(x, &s);
}

static uint32_t all_bytes(Exprs *x)
{
    ByteSet s = { { ~0ull, ~0ull, ~0ull, ~0ull } };
    return intern_set(x, &s);
}

/* ---- interning nodes ---- */

static bool same(const Exprs *x, const ExprNode *p, const ExprNode *q, const uint32_t *kids, const char *lit)
{
    if (p->hash[0] != q->hash[0] || p->hash[1] != q->hash[1] || p->kind != q->kind || p->b != q->b) return false;
    if (p->kind == X_LIT) return memcmp(x->lits.p + p->a, lit, p->b) == 0;
    if (p->kind == X_OR || p->kind == X_AND) return memcmp(x->kids + p->a, kids, p->b * sizeof *kids) == 0;
    return p->a == q->a && p->c == q->c;
}

static void grow_slots(Exprs *x)
{
    mem_free(x->slots);
    x->n_slots *= 2;
    x->slots = mem_alloc_array(x->n_slots, sizeof *x->slots);
    for (uint32_t i = 2; i < x->n; i++) {
        uint32_t at = (uint32_t)x->node[i].hash[0] & (x->n_slots - 1);
        while (x->slots[at]) at = (at + 1) & (x->n_slots - 1);
        x->slots[at] = i;
    }
}

/* The id of the node; kids or lit hold what a (still unset) will point to. */
static uint32_t intern(Exprs *x, ExprNode *n, const uint32_t *kids, const char *lit)
{
    uint32_t at = (uint32_t)n->hash[0] & (x->n_slots - 1);
    for (; x->slots[at]; at = (at + 1) & (x->n_slots - 1))
        if (same(x, &x->node[x->slots[at]], n, kids, lit)) return x->slots[at];
    if (!spend(x, 1)) return EXPR_NOTHING;
    if (x->n >= x->max_nodes) {
        x->stop = STOP_NODES;
        return EXPR_NOTHING;
    }
    if (n->height > MAX_HEIGHT) {
        x->stop = STOP_HEIGHT;
        return EXPR_NOTHING;
    }
    if (kids) {
        n->a = (uint32_t)x->n_kids;
        for (uint32_t i = 0; i < n->b; i++) {
            x->kids = array_room(x->kids, x->n_kids, &x->cap_kids, sizeof *x->kids);
            x->kids[x->n_kids++] = kids[i];
        }
    }
    if (lit) {
        n->a = (uint32_t)x->lits.n;
        buf_add(&x->lits, lit, n->b);
    }
    x->slots[at] = push_node(x, *n);
    if (x->n * 2 > x->n_slots) grow_slots(x);
    return x->n - 1;
}

/* Two independent mixes of what the node is made of. */
static void set_node_hash(Exprs *x, ExprNode *n, uint64_t p, uint64_t q)
{
    uint64_t kind = (uint64_t)n->kind << 56 ^ (uint64_t)n->c << 20;
    n->hash[0] = hash_mix(hash_mix(p ^ x->seed) + kind * 3 + q * 0x9e3779b97f4a7c15u);
    n->hash[1] = hash_mix(hash_mix(q + x->seed * 7) ^ (kind + p * 0xda942042e4dd58b5u));
}

/* ---- leaves ---- */

/* Bytes that are characters by themselves: all of ASCII; and of JSON's inside, raw. */
static unsigned set_flags(const ByteSet *s)
{
    if (s->bits[2] | s->bits[3]) return 0;
    const uint64_t quote = 1ull << '"', backslash = 1ull << ('\\' - 64);
    bool json = !(s->bits[0] & (0xffffffffull | quote)) && !(s->bits[1] & backslash);
    return X_UTF8 | (json ? X_JSON : 0);
}

uint32_t exprs_set(Exprs *x, ByteSet set)
{
    uint32_t s = intern_set(x, &set);
    if (!s) return EXPR_NOTHING;
    ExprNode n = { .kind = X_SET, .flags = (uint8_t)(X_ALIVE | set_flags(&set)), .a = s, .first = s };
    set_node_hash(x, &n, set_hash(&set), hash_bytes(&set, sizeof set, x->seed));
    return intern(x, &n, NULL, NULL);
}

static uint32_t single(Exprs *x, uint8_t c)
{
    ByteSet s = { { 0 } };
    s.bits[c >> 6] = 1ull << (c & 63);
    return exprs_set(x, s);
}

static unsigned literal_flags(const char *p, size_t n)
{
    bool json = true;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)p[i];
        if (c >= 0x80) return 0;
        if (c < 0x20 || c == '"' || c == '\\') json = false;
    }
    return X_UTF8 | (json ? X_JSON : 0);
}

uint32_t exprs_literal(Exprs *x, const char *p, size_t n)
{
    if (n == 0) return EXPR_EMPTY;
    if (n == 1) return single(x, (uint8_t)*p);
    if (!spend(x, 1 + n / 16)) return EXPR_NOTHING;
    ByteSet first = { { 0 } };
    first.bits[(uint8_t)*p >> 6] = 1ull << ((uint8_t)*p & 63);
    ExprNode node = { .kind = X_LIT, .flags = (uint8_t)(X_ALIVE | literal_flags(p, n)), .b = (uint32_t)n };
    node.first = intern_set(x, &first);
    set_node_hash(x, &node, hash_bytes(p, n, 1), hash_bytes(p, n, x->seed));
    char small[256];
    char *copy = n <= sizeof small ? small : mem_alloc(n);
    memcpy(copy, p, n); /* p may point into lits, which may move */
    uint32_t e = intern(x, &node, NULL, copy);
    if (copy != small) mem_free(copy);
    return e;
}

void exprs_mark_char(Exprs *x, uint32_t e, uint64_t groups, unsigned flags)
{
    ExprNode *n = &x->node[e];
    n->flags |= (uint8_t)flags;
    if (e == EXPR_NOTHING || n->more) return;
    x->absorbs = array_room32(x->absorbs, x->n_absorbs, &x->cap_absorbs, sizeof *x->absorbs);
    n->more = x->n_absorbs;
    x->absorbs[x->n_absorbs++] = groups;
}

/* ---- inner nodes ---- */

uint32_t exprs_cat(Exprs *x, uint32_t a, uint32_t b)
{
    if (a == EXPR_NOTHING || b == EXPR_NOTHING) return EXPR_NOTHING;
    if (a == EXPR_EMPTY) return b;
    if (b == EXPR_EMPTY) return a;
    const ExprNode *p = &x->node[a], *q = &x->node[b];
    unsigned both = p->flags & q->flags & (X_NULLABLE | X_UTF8 | X_JSON | X_ALIVE);
    unsigned either = (p->flags | q->flags) & (X_HARD | X_BIG);
    ExprNode n = { .kind = X_CAT, .flags = (uint8_t)(both | either), .a = a, .b = b };
    n.height = (uint16_t)MAX(p->height + 1, q->height);
    set_node_hash(x, &n, p->hash[0] ^ q->hash[1] * 3, p->hash[1] + q->hash[0] * 5);
    n.first = p->flags & X_NULLABLE ? union_sets(x, p->first, q->first) : p->first;
    return intern(x, &n, NULL, NULL);
}

uint32_t exprs_not(Exprs *x, uint32_t a)
{
    if (x->stop) return EXPR_NOTHING;
    const ExprNode *p = &x->node[a];
    if (p->kind == X_NOT) return p->a;
    ExprNode n = {
        .kind = X_NOT, .flags = (uint8_t)(X_HARD | (p->flags & X_BIG)), .a = a, .height = (uint16_t)(p->height + 1)
    };
    if (!(p->flags & X_NULLABLE)) n.flags |= X_NULLABLE | X_ALIVE;
    set_node_hash(x, &n, p->hash[0], p->hash[1]);
    n.first = all_bytes(x);
    return intern(x, &n, NULL, NULL);
}

uint32_t exprs_repeat(Exprs *x, uint32_t a, uint32_t min, uint32_t max)
{
    if (max == 0 || a == EXPR_EMPTY) return EXPR_EMPTY;
    if (a == EXPR_NOTHING) return min ? EXPR_NOTHING : EXPR_EMPTY;
    if (min == 1 && max == 1) return a;
    const ExprNode *p = &x->node[a];
    unsigned big = 0;
    if (p->flags & X_NULLABLE) min = 0;
    if (p->kind == X_REPEAT && p->c == BUILD_INF && p->b <= 1 && min <= 1) { /* (y*)*, (y+)*, (y+)+ */
        if (min == 0 && p->b == 0) return a;
        if (max == BUILD_INF || max == 1) return exprs_repeat(x, p->a, min * p->b, BUILD_INF);
    }
    if (min > EXPR_BIG || (max > EXPR_BIG && max != BUILD_INF)) big = X_BIG;
    unsigned flags =
        big | (p->flags & (X_HARD | X_UTF8 | X_JSON | X_BIG)) | (min == 0 ? X_NULLABLE | X_ALIVE : p->flags & X_ALIVE);
    ExprNode n = { .kind = X_REPEAT, .flags = (uint8_t)flags, .a = a, .b = min, .c = max, .first = p->first };
    n.height = (uint16_t)(p->height + 1);
    set_node_hash(x, &n, p->hash[0] + min, p->hash[1] + max);
    return intern(x, &n, NULL, NULL);
}

/* ---- unions and intersections ---- */

static void tmp_push(Exprs *x, uint32_t e)
{
    x->tmp = array_room(x->tmp, x->n_tmp, &x->cap_tmp, sizeof *x->tmp);
    x->tmp[x->n_tmp++] = e;
}

static int by_id(const void *p, const void *q)
{
    uint32_t a = *(const uint32_t *)p, b = *(const uint32_t *)q;
    return (a > b) - (a < b);
}

static void sort_ids(uint32_t *p, size_t n)
{
    if (n > 24) {
        qsort(p, n, sizeof *p, by_id);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        uint32_t v = p[i];
        size_t j = i;
        for (; j && p[j - 1] > v; j--) p[j] = p[j - 1];
        p[j] = v;
    }
}

/* Sorts tmp[base..] and takes doubles out. */
static void sort_tail(Exprs *x, size_t base)
{
    uint32_t *p = x->tmp + base;
    size_t n = x->n_tmp - base, to = 0;
    sort_ids(p, n);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || p[i] != p[to - 1]) p[to++] = p[i];
    x->n_tmp = base + to;
}

/* Puts the list e on tmp with inner lists of the same kind opened; false if `zero` is in it, which decides everything. */
static bool flatten(Exprs *x, ExprKind kind, const uint32_t *e, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const ExprNode *p = &x->node[e[i]];
        if (kind == X_OR && p->kind == X_NOTHING) continue;
        if (kind == X_AND && p->kind == X_NOTHING) return false;
        bool everything = p->kind == X_NOT && p->a == EXPR_NOTHING;
        if (kind == X_AND && everything) continue;
        if (kind == X_OR && everything) return false;
        if (p->kind == kind)
            for (uint32_t k = 0; k < p->b; k++) tmp_push(x, x->kids[p->a + k]);
        else
            tmp_push(x, e[i]);
    }
    return true;
}

/* All byte sets of the list become one. */
static void join_sets(Exprs *x, ExprKind kind, size_t base)
{
    size_t to = base, n_sets = 0;
    ByteSet all = { { 0 } };
    for (size_t i = base; i < x->n_tmp; i++) {
        const ExprNode *p = &x->node[x->tmp[i]];
        if (p->kind != X_SET) {
            x->tmp[to++] = x->tmp[i];
            continue;
        }
        const ByteSet *s = &x->sets[p->a];
        all = n_sets++ == 0 ? *s : kind == X_OR ? set_union(all, s) : set_meet(all, s);
    }
    if (n_sets == 0) return;
    x->n_tmp = to;
    uint32_t e = exprs_set(x, all);
    if (e != EXPR_NOTHING || kind == X_AND) tmp_push(x, e);
}

/* "Any text" swallows every other text in a union and vanishes from a meeting with one. */
static void absorb_text(Exprs *x, ExprKind kind, size_t base)
{
    for (int how = 0; how < 2; how++) {
        uint32_t text = x->text[how];
        unsigned flag = how == SPELL_JSON ? X_JSON : X_UTF8;
        bool found = false, other = false;
        for (size_t i = base; i < x->n_tmp; i++) {
            if (x->tmp[i] == text)
                found = true;
            else if (x->node[x->tmp[i]].flags & flag)
                other = true;
        }
        if (!text || !found || !other) continue;
        size_t to = base;
        for (size_t i = base; i < x->n_tmp; i++) {
            uint32_t e = x->tmp[i];
            bool drop = kind == X_OR ? e != text && (x->node[e].flags & flag) : e == text;
            if (!drop) x->tmp[to++] = e;
        }
        x->n_tmp = to;
    }
}

static uint32_t list_node(Exprs *x, ExprKind kind, size_t base)
{
    const uint32_t *kids = x->tmp + base;
    size_t n = x->n_tmp - base;
    ExprNode node = { .kind = (uint8_t)kind, .b = (uint32_t)n };
    if (!spend(x, n / 4)) return EXPR_NOTHING;
    unsigned every = X_NULLABLE | X_UTF8 | X_JSON, some = 0, height = 0;
    uint64_t h0 = 0, h1 = 0;
    ByteSet first = kind == X_OR ? (ByteSet){ { 0 } } : (ByteSet){ { ~0ull, ~0ull, ~0ull, ~0ull } };
    for (size_t i = 0; i < n; i++) {
        const ExprNode *p = &x->node[kids[i]];
        every &= p->flags;
        some |= p->flags;
        height = MAX(height, p->height);
        h0 += hash_mix(p->hash[0]);
        h1 += hash_mix(p->hash[1] + 99);
        first = kind == X_OR ? set_union(first, &x->sets[p->first]) : set_meet(first, &x->sets[p->first]);
    }
    if (kind == X_OR)
        node.flags = (uint8_t)((every & (X_UTF8 | X_JSON)) | (some & (X_NULLABLE | X_HARD | X_ALIVE | X_BIG)));
    else
        node.flags =
            (uint8_t)(X_HARD | (some & (X_UTF8 | X_JSON | X_BIG)) | (every & X_NULLABLE ? X_NULLABLE | X_ALIVE : 0));
    node.height = (uint16_t)(height + 1);
    node.first = intern_set(x, &first);
    set_node_hash(x, &node, h0, h1);
    return intern(x, &node, kids, NULL);
}

static uint32_t list_of(Exprs *x, ExprKind kind, const uint32_t *e, size_t n)
{
    if (x->stop) return EXPR_NOTHING;
    size_t base = x->n_tmp;
    uint32_t out;
    if (!flatten(x, kind, e, n)) {
        out = kind == X_AND ? EXPR_NOTHING : exprs_not(x, EXPR_NOTHING);
    } else {
        join_sets(x, kind, base);
        sort_tail(x, base);
        absorb_text(x, kind, base);
        size_t left = x->n_tmp - base;
        if (kind == X_AND && left && x->tmp[base] == EXPR_NOTHING)
            out = EXPR_NOTHING;
        else if (left == 0)
            out = kind == X_AND ? exprs_not(x, EXPR_NOTHING) : EXPR_NOTHING;
        else
            out = left == 1 ? x->tmp[base] : list_node(x, kind, base);
    }
    x->n_tmp = base;
    return out;
}

uint32_t exprs_or(Exprs *x, const uint32_t *e, size_t n)
{
    if (n == 2 && e[0] == e[1]) return e[0];
    if (n == 2 && e[0] == EXPR_NOTHING) return e[1];
    if (n == 2 && e[1] == EXPR_NOTHING) return e[0];
    return list_of(x, X_OR, e, n);
}

uint32_t exprs_and(Exprs *x, const uint32_t *e, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (e[i] != EXPR_EMPTY) continue;
        for (size_t k = 0; k < n; k++)
            if (!exprs_nullable(x, e[k])) return EXPR_NOTHING;
        return EXPR_EMPTY;
    }
    return list_of(x, X_AND, e, n);
}

/* ---- byte classes ---- */

static void split_classes(Exprs *x, const ByteSet *s)
{
    int inside[256], next = x->n_classes;
    bool out[256] = { false };
    for (int c = 0; c < 256; c++)
        if (!set_has(s, (uint8_t)c)) out[x->class_of[c]] = true;
    for (int k = 0; k < 256; k++) inside[k] = -1;
    for (int c = 0; c < 256; c++) {
        int k = x->class_of[c];
        if (!set_has(s, (uint8_t)c) || !out[k]) continue; /* wholly inside: stays */
        if (inside[k] < 0) inside[k] = next++;
        x->class_of[c] = (uint8_t)inside[k];
    }
    x->n_classes = next;
}

void exprs_classes(Exprs *x)
{
    if (x->frozen) return;
    for (; x->classed_sets < x->n_sets; x->classed_sets++)
        if (x->classed_sets) split_classes(x, &x->sets[x->classed_sets]);
    bool seen[256] = { false };
    for (; x->classed_lits < x->lits.n; x->classed_lits++) seen[(uint8_t)x->lits.p[x->classed_lits]] = true;
    for (int c = 0; c < 256; c++) {
        ByteSet s = { { 0 } };
        s.bits[c >> 6] = 1ull << (c & 63);
        if (seen[c]) split_classes(x, &s);
    }
    for (int c = 255; c >= 0; c--) x->class_byte[x->class_of[c]] = (uint8_t)c;
}
