/* lexer.c - see lexer.h. */
#include "grammar/lexer.h"

#include "grammar/groups.h"

enum { FIRST_SLOTS = 256, FIRST_SET_SLOTS = 64 };

static LexId intern(Lexer *l, const LexPart *p, size_t n, uint32_t accept, bool start);

static void tmp_reserve(Lexer *l, size_t n)
{
    if (n <= l->cap_tmp) return;
    l->cap_tmp = MAX(n, l->cap_tmp * 2);
    l->tmp = mem_grow(l->tmp, l->cap_tmp * sizeof *l->tmp);
    l->tmp_accept = mem_grow(l->tmp_accept, l->cap_tmp * sizeof *l->tmp_accept);
}

void lexer_init(Lexer *l, Exprs *x, uint32_t max_states)
{
    *l = (Lexer){ .x = x, .max_states = max_states, .n_slots = FIRST_SLOTS, .n_set_slots = FIRST_SET_SLOTS };
    l->slots = mem_alloc_array(l->n_slots, sizeof *l->slots);
    l->set_slots = mem_alloc_array(l->n_set_slots, sizeof *l->set_slots);
    l->part = array_room(NULL, 0, &l->cap_parts, sizeof *l->part); /* never NULL: empty runs point into them */
    l->member = array_room(NULL, 0, &l->cap_members, sizeof *l->member);
    tmp_reserve(l, 16);
    l->set = mem_alloc_array(16, sizeof *l->set);
    l->cap_sets = 16;
    l->n_sets = 1; /* set 0: nothing; set[1] is where the next begins */
    l->state = mem_alloc_array(16, sizeof *l->state);
    l->cap = 16;
    l->n = 1;
}

void lexer_done(Lexer *l)
{
    mem_free(l->state);
    mem_free(l->slots);
    mem_free(l->part);
    mem_free(l->step);
    mem_free(l->set);
    mem_free(l->set_slots);
    mem_free(l->member);
    mem_free(l->tmp);
    mem_free(l->tmp_accept);
}

size_t lexer_memory(const Lexer *l)
{
    return l->cap * sizeof *l->state + l->n_slots * 4ull + l->cap_parts * sizeof *l->part + l->cap_steps * 4 +
           (l->cap_sets + l->cap_members + l->n_set_slots) * 4;
}

/* ---- accept sets ---- */

const Expr *lexer_accepted(const Lexer *l, uint32_t accept, size_t *n)
{
    *n = l->set[accept + 1] - l->set[accept];
    return l->member + l->set[accept];
}

static void grow_set_slots(Lexer *l)
{
    mem_free(l->set_slots);
    l->n_set_slots *= 2;
    l->set_slots = mem_alloc_array(l->n_set_slots, sizeof *l->set_slots);
    for (uint32_t i = 1; i < l->n_sets; i++) {
        size_t n;
        const Expr *e = lexer_accepted(l, i, &n);
        uint32_t at = (uint32_t)hash_bytes(e, n * sizeof *e, 3) & (l->n_set_slots - 1);
        while (l->set_slots[at]) at = (at + 1) & (l->n_set_slots - 1);
        l->set_slots[at] = i;
    }
}

uint32_t lexer_accept_set(Lexer *l, const Expr *e, size_t n)
{
    if (n == 0) return 0;
    uint32_t at = (uint32_t)hash_bytes(e, n * sizeof *e, 3) & (l->n_set_slots - 1);
    for (; l->set_slots[at]; at = (at + 1) & (l->n_set_slots - 1)) {
        size_t m;
        const Expr *have = lexer_accepted(l, l->set_slots[at], &m);
        if (m == n && memcmp(have, e, n * sizeof *e) == 0) return l->set_slots[at];
    }
    for (size_t i = 0; i < n; i++) {
        l->member = array_room(l->member, l->n_members, &l->cap_members, sizeof *l->member);
        l->member[l->n_members++] = e[i];
    }
    uint32_t made = (uint32_t)l->n_sets++;
    l->set = array_room(l->set, l->n_sets, &l->cap_sets, sizeof *l->set);
    l->set[made + 1] = (uint32_t)l->n_members;
    l->set_slots[at] = made;
    if (l->n_sets * 2 > l->n_set_slots) grow_set_slots(l);
    return made;
}

/* ---- states ---- */

static uint64_t state_hash(const LexPart *p, size_t n, uint32_t accept, bool start)
{
    return hash_bytes(p, n * sizeof *p, (uint64_t)accept << 1 | start);
}

static void grow_slots(Lexer *l)
{
    mem_free(l->slots);
    l->n_slots *= 2;
    l->slots = mem_alloc_array(l->n_slots, sizeof *l->slots);
    for (uint32_t i = 1; i < l->n; i++) {
        const LexState *s = &l->state[i];
        uint32_t at = (uint32_t)state_hash(l->part + s->at, s->n, s->accept, s->start) & (l->n_slots - 1);
        while (l->slots[at]) at = (at + 1) & (l->n_slots - 1);
        l->slots[at] = i;
    }
}

static LexId intern(Lexer *l, const LexPart *p, size_t n, uint32_t accept, bool start)
{
    if (n == 0 && !accept) return LEX_DEAD;
    uint32_t at = (uint32_t)state_hash(p, n, accept, start) & (l->n_slots - 1);
    for (; l->slots[at]; at = (at + 1) & (l->n_slots - 1)) {
        const LexState *s = &l->state[l->slots[at]];
        if (s->n == n && s->accept == accept && s->start == start && memcmp(l->part + s->at, p, n * sizeof *p) == 0)
            return l->slots[at];
    }
    if (l->n >= l->max_states) {
        l->x->stop = STOP_NODES;
        return LEX_DEAD;
    }
    LexState made = { .at = (uint32_t)l->n_parts, .n = (uint32_t)n, .accept = accept, .start = start };
    for (size_t i = 0; i < n; i++) {
        made.big |= (l->x->node[p[i].rest].flags & X_BIG) != 0;
        l->part = array_room(l->part, l->n_parts, &l->cap_parts, sizeof *l->part);
        l->part[l->n_parts++] = p[i];
    }
    l->state = array_room32(l->state, l->n, &l->cap, sizeof made);
    l->state[l->n] = made;
    l->slots[at] = l->n++;
    if (l->n * 2 > l->n_slots) grow_slots(l);
    return l->n - 1;
}

LexId lexer_start(Lexer *l, const Expr *lexemes, size_t n)
{
    tmp_reserve(l, n);
    for (size_t i = 0; i < n; i++) l->tmp[i] = (LexPart){ lexemes[i], lexemes[i] };
    return intern(l, l->tmp, n, 0, true);
}

LexId lexer_alone(Lexer *l, LexPart p)
{
    return intern(l, &p, 1, 0, false);
}

static void remember(Lexer *l, LexId s, uint8_t byte, LexId to)
{
    LexState *st = &l->state[s];
    if (!st->row) {
        size_t n = (size_t)l->x->n_classes;
        while (l->n_steps + n > l->cap_steps)
            l->step = array_room(l->step, l->cap_steps, &l->cap_steps, sizeof *l->step);
        memset(l->step + l->n_steps, 0, n * sizeof *l->step);
        st->row = (uint32_t)l->n_steps + 1;
        l->n_steps += n;
    }
    l->step[st->row - 1 + l->x->class_of[byte]] = to + 1;
}

LexId lexer_make_step(Lexer *l, LexId s, uint8_t byte)
{
    Exprs *x = l->x;
    uint32_t n = l->state[s].n, at = l->state[s].at;
    size_t alive = 0, accepted = 0;
    uint8_t as = x->class_byte[x->class_of[byte]];
    tmp_reserve(l, n);
    for (uint32_t i = 0; i < n; i++) {
        LexPart p = l->part[at + i];
        Expr d = exprs_derive(x, p.rest, as);
        if (d == EXPR_NOTHING) continue;
        if (exprs_nullable(x, d)) l->tmp_accept[accepted++] = p.lexeme;
        if (d != EXPR_EMPTY) l->tmp[alive++] = (LexPart){ p.lexeme, d };
    }
    if (x->stop) return LEX_DEAD;
    uint32_t accept = lexer_accept_set(l, l->tmp_accept, accepted);
    LexId to = intern(l, l->tmp, alive, accept, false);
    if (x->stop) return LEX_DEAD;
    remember(l, s, byte, to);
    return to;
}

LexId lexer_saturated(Lexer *l, LexId s, uint32_t reach)
{
    if (s == LEX_DEAD || l->state[s].saturated) return l->state[s].saturated;
    LexState st = l->state[s];
    bool changed = false;
    tmp_reserve(l, st.n);
    for (uint32_t i = 0; i < st.n; i++) {
        LexPart p = l->part[st.at + i];
        l->tmp[i] = (LexPart){ p.lexeme, exprs_saturate(l->x, p.rest, reach) };
        changed |= l->tmp[i].rest != p.rest;
    }
    LexId to = changed ? intern(l, l->tmp, st.n, st.accept, st.start) : s;
    if (l->x->stop) return s;
    l->state[s].saturated = to;
    l->state[to].saturated = to;
    return to;
}

/* The state with delta added to its large bounds. */
static LexId shifted(Lexer *l, LexId s, int64_t delta)
{
    LexState st = l->state[s];
    tmp_reserve(l, st.n);
    for (uint32_t i = 0; i < st.n; i++) {
        LexPart p = l->part[st.at + i];
        l->tmp[i] = (LexPart){ p.lexeme, exprs_shift(l->x, p.rest, delta) };
    }
    return intern(l, l->tmp, st.n, st.accept, st.start);
}

/* Finds the state's smallest large bound and the state with it at COUNT_KEPT, if every part that counts far can be moved so. */
static void find_kept(Lexer *l, LexId s, uint32_t reach)
{
    LexState st = l->state[s];
    uint32_t least = BUILD_INF;
    for (uint32_t i = 0; i < st.n && least; i++) {
        Expr e = l->part[st.at + i].rest;
        if (l->x->node[e].flags & X_BIG) least = MIN(least, exprs_bound(l->x, e, reach, COUNT_KEPT / 2));
    }
    bool fits = least && least != BUILD_INF;
    LexId kept = fits ? shifted(l, s, (int64_t)COUNT_KEPT - least) : LEX_DEAD;
    if (l->x->stop) return;
    l->state[s].kept = kept;
    l->state[s].bound = fits ? least : 0;
    l->state[s].kept_known = true;
}

LexId lexer_count(Lexer *l, LexId s, uint32_t reach, uint32_t *more)
{
    if (!l->state[s].big && *more == 0) return s;
    if (!l->state[s].kept_known) find_kept(l, s, reach);
    const LexState *st = &l->state[s];
    uint64_t whole = (uint64_t)st->bound + *more;
    if (st->kept && whole > COUNT_KEPT) {
        *more = (uint32_t)(whole - COUNT_KEPT);
        return st->kept;
    }
    if (*more == 0) return s;
    uint32_t back = *more;
    *more = 0;
    return shifted(l, s, back);
}

/* True if every string of k trailing bytes, the first of them from lo to hi, leads from `at` to s. */
static bool trails_lead_to(Lexer *l, LexId at, LexId s, int k, int lo, int hi)
{
    if (k == 0) return at == s;
    int last_class = -1;
    LexId last = LEX_DEAD;
    for (int c = lo; c <= hi; c++) {
        if (l->x->class_of[c] == last_class) continue; /* classes are mostly runs */
        last_class = l->x->class_of[c];
        LexId to = lexer_step(l, at, (uint8_t)c);
        if (to == LEX_DEAD) return false;
        if (to == last) continue;
        last = to;
        if (!trails_lead_to(l, to, s, k - 1, 0x80, 0xBF)) return false;
    }
    return true;
}

static bool leads_loop(Lexer *l, LexId s, int k, int lo, int hi)
{
    for (int c = lo; c <= hi; c++) {
        int from = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80, to = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
        LexId at = lexer_step(l, s, (uint8_t)c);
        if (at == LEX_DEAD || !trails_lead_to(l, at, s, k, from, to)) return false;
    }
    return true;
}

/* The groups of characters that lead from s back to s: free text without some mark has many, but is no repetition of characters by
 * its looks. One letter is tried before all are. */
static Absorb loops(Lexer *l, LexId s)
{
    if (lexer_step(l, s, 'e') != s) return (Absorb){ 0, 0 };
    uint64_t groups = ~0ull & ~(1ull << GROUP_BAD);
    for (int c = 0; c < 0x80; c++)
        if (lexer_step(l, s, (uint8_t)c) != s) groups &= ~(1ull << group_of_ascii((uint8_t)c));
    if (!leads_loop(l, s, 1, 0xC2, 0xDF)) groups &= ~(1ull << GROUP_LEAD2);
    if (!leads_loop(l, s, 2, 0xE0, 0xEF)) groups &= ~(1ull << GROUP_LEAD3);
    if (!leads_loop(l, s, 3, 0xF0, 0xF4)) groups &= ~(1ull << GROUP_LEAD4);
    return (Absorb){ groups, UINT32_MAX };
}

Absorb lexer_absorb(Lexer *l, LexId s)
{
    if (l->state[s].absorb_known) return l->state[s].absorb;
    LexState st = l->state[s];
    Absorb best = { 0, 0 };
    bool hard = false;
    for (uint32_t i = 0; i < st.n; i++) {
        Expr e = l->part[st.at + i].rest;
        Absorb a = exprs_absorb(l->x, e);
        hard |= (l->x->node[e].flags & X_HARD) != 0;
        if (l->x->stop) return best;
        bool wider = __builtin_popcountll(a.groups) > __builtin_popcountll(best.groups);
        if (a.groups && (a.chars > best.chars || (a.chars == best.chars && wider))) best = a;
    }
    if (!best.groups && hard) best = loops(l, s);
    if (l->x->stop) return (Absorb){ 0, 0 };
    l->state[s].absorb = best;
    l->state[s].absorb_known = true;
    return best;
}

void lexer_hash(const Lexer *l, LexId s, uint64_t out[2])
{
    const LexState *st = &l->state[s];
    out[0] = st->n;
    out[1] = ~(uint64_t)st->n;
    for (uint32_t i = 0; i < st->n; i++) {
        const ExprNode *e = &l->x->node[l->part[st->at + i].rest];
        out[0] = hash_mix(out[0] * 3 + e->hash[0]);
        out[1] = hash_mix(out[1] * 5 ^ e->hash[1]);
    }
}
