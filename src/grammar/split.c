/* split.c - a long regular expression as rules over short lexemes, where that changes nothing but the price.
 *
 * A lexeme's masks are shared by structure, and what follows a lexeme is part of its structure: "[^"]*" inside a pattern of twenty
 * such strings is twenty different states, each with masks of its own. Derivations are exact on both levels, so a sequence
 * may be cut anywhere; it is cut only where the cut is free: after a loop of characters and the byte that ends it, which
 * the loop cannot hold. Then a string is the same lexeme wherever it stands, and no place is read in two ways. */
#include "grammar/inside.h"

enum { MAX_DEPTH = 200, MAX_VISITS = 20000 };

typedef struct {
    Build *b;
    uint32_t visits;
} Split;

static bool is_loop(const ExprNode *n)
{
    return n->kind == X_REPEAT && n->c > EXPR_BIG; /* BUILD_INF too */
}

/* Loops inside e, at most 2. An intersection or complement counts as one and is never looked into. */
static int loops(Split *s, Expr e, int depth)
{
    const Exprs *x = &s->b->x;
    int found = 0;
    for (;;) {
        const ExprNode *n = &x->node[e];
        if (++s->visits > MAX_VISITS || depth > MAX_DEPTH) return 0; /* left as it is */
        if (n->kind == X_AND || n->kind == X_NOT) return MIN(found + 1, 2);
        if (n->kind == X_OR)
            for (uint32_t i = 0; i < n->b && found < 2; i++) found += loops(s, x->kids[n->a + i], depth + 1);
        if (n->kind == X_REPEAT) found += is_loop(n) + loops(s, n->a, depth + 1);
        if (n->kind != X_CAT || found >= 2) return MIN(found, 2);
        found += loops(s, n->a, depth + 1);
        e = n->b;
    }
}

static Sym split(Split *s, Expr e, int depth);

static Sym whole(Split *s, Expr e)
{
    Build *b = s->b;
    if (e == EXPR_EMPTY) return SYM_EMPTY;
    return exprs_alive(&b->x, e) ? syms_leaf(&b->s, Y_LEXEME, e, exprs_nullable(&b->x, e)) : SYM_NOTHING;
}

/* The elements of a sequence in order, from the arena. */
static size_t elements(Split *s, Expr e, Expr **out)
{
    const Exprs *x = &s->b->x;
    size_t n = 0, cap = 16, n_stack = 1, cap_stack = 16;
    Expr *list = ARENA_NEW(s->b->mem, Expr, cap), *stack = ARENA_NEW(s->b->mem, Expr, cap_stack);
    stack[0] = e;
    while (n_stack) {
        const ExprNode *p = &x->node[e = stack[--n_stack]];
        if (n_stack + 2 > cap_stack) {
            Expr *more = ARENA_NEW(s->b->mem, Expr, cap_stack * 2);
            memcpy(more, stack, cap_stack * sizeof *more);
            stack = more;
            cap_stack *= 2;
        }
        if (p->kind == X_CAT) {
            stack[n_stack++] = p->b;
            stack[n_stack++] = p->a;
            continue;
        }
        if (n == cap) {
            Expr *more = ARENA_NEW(s->b->mem, Expr, cap * 2);
            memcpy(more, list, cap * sizeof *more);
            list = more;
            cap *= 2;
        }
        list[n++] = e;
    }
    *out = list;
    return n;
}

/* True if `next` ends the loop: it is a literal or a byte set, and the loop's characters begin with none of its first bytes. */
static bool ends_loop(const Exprs *x, Expr loop, Expr next)
{
    const ExprNode *l = &x->node[loop], *n = &x->node[next];
    if (!is_loop(l) || l->flags & X_HARD || (n->kind != X_LIT && n->kind != X_SET)) return false;
    const ByteSet *a = &x->sets[l->first], *b = &x->sets[n->first];
    for (int i = 0; i < 4; i++)
        if (a->bits[i] & b->bits[i]) return false;
    return true;
}

/* p[0..n) as one lexeme. */
static Sym joined(Split *s, const Expr *p, size_t n)
{
    Expr e = EXPR_EMPTY;
    while (n) e = exprs_cat(&s->b->x, p[--n], e);
    return whole(s, e);
}

static Sym split_sequence(Split *s, Expr e, int depth)
{
    Exprs *x = &s->b->x;
    Expr *p;
    size_t n = elements(s, e, &p), from = 0, n_out = 0;
    Sym *out = ARENA_NEW(s->b->mem, Sym, 2 * n + 1), all = SYM_EMPTY;
    for (size_t i = 0; i < n; i++) {
        bool ended = i + 1 < n && ends_loop(x, p[i], p[i + 1]);
        bool inner = !ended && !is_loop(&x->node[p[i]]) && loops(s, p[i], 0) > 0;
        if (!ended && !inner) continue;
        out[n_out++] = joined(s, p + from, i - from);
        if (inner) {
            out[n_out++] = split(s, p[i], depth + 1);
            from = i + 1;
            continue;
        }
        ExprNode next = x->node[p[i + 1]];
        Expr end = next.kind == X_LIT ? exprs_literal(x, x->lits.p + next.a, 1) : p[i + 1];
        out[n_out++] = whole(s, exprs_cat(x, p[i], end));
        from = i + 1;
        if (next.kind == X_LIT)
            p[i + 1] = exprs_literal(x, x->lits.p + next.a + 1, next.b - 1);
        else
            from = ++i + 1;
    }
    out[n_out++] = joined(s, p + from, n - from);
    while (n_out) all = syms_seq(&s->b->s, out[--n_out], all);
    return all;
}

static Sym split(Split *s, Expr e, int depth)
{
    Exprs *x = &s->b->x;
    ExprNode n = x->node[e];
    if (depth > MAX_DEPTH || !build_spend(s->b, 1) || loops(s, e, 0) == 0) return whole(s, e);
    if (n.kind == X_CAT) return split_sequence(s, e, depth);
    if (n.kind == X_REPEAT && loops(s, n.a, 0) > 0) return syms_repeat(&s->b->s, split(s, n.a, depth + 1), n.b, n.c);
    if (n.kind != X_OR) return whole(s, e);
    Sym *out = ARENA_NEW(s->b->mem, Sym, n.b + 1);
    Expr *plain = ARENA_NEW(s->b->mem, Expr, n.b);
    size_t n_out = 0, n_plain = 0;
    for (uint32_t i = 0; i < n.b; i++) {
        Expr kid = x->kids[n.a + i];
        if (loops(s, kid, 0) == 0)
            plain[n_plain++] = kid;
        else
            out[n_out++] = split(s, kid, depth + 1);
    }
    if (n_plain) out[n_out++] = whole(s, exprs_or(x, plain, n_plain));
    return syms_alt(&s->b->s, out, n_out);
}

Sym split_lexeme(Build *b, Expr e)
{
    Split s = { .b = b };
    return loops(&s, e, 0) < 2 ? whole(&s, e) : split(&s, e, 0);
}
