/* expr_size.c - how many bytes an expression still takes. See expr.h.
 *
 * For nodes without intersections and complements: the shortest string, and the most that any begun string lacks: wherever one
 * stands inside, it can be finished within so many bytes. Loops count once: to leave a loop costs what is left of its body. */
#include "grammar/expr.h"

enum { MAX_SIZE = 1 << 20, MAX_DEPTH = 200 };

typedef struct {
    uint32_t shortest, closing;
} Size;

static uint32_t sum(uint64_t a, uint64_t b)
{
    return (uint32_t)MIN(a + b, (uint64_t)MAX_SIZE);
}

static bool size_of(const Exprs *x, uint32_t e, int depth, Size *out);

/* A chain from its end: what is behind an element is needed to finish it. */
static bool chain_size(const Exprs *x, uint32_t e, int depth, Size *out)
{
    *out = (Size){ 0, 0 };
    for (;; e = x->node[e].b) {
        bool last = x->node[e].kind != X_CAT;
        Size part;
        if (!size_of(x, last ? e : x->node[e].a, depth + 1, &part)) return false;
        out->closing = MAX(sum(out->closing, part.shortest), part.closing); /* what came before needs this one too */
        out->shortest = sum(out->shortest, part.shortest);
        if (last) return true;
    }
}

static bool size_of(const Exprs *x, uint32_t e, int depth, Size *out)
{
    const ExprNode *n = &x->node[e];
    *out = (Size){ 0, 0 };
    if (depth > MAX_DEPTH || n->flags & X_HARD) return false;
    switch ((ExprKind)n->kind) {
    case X_NOTHING:
    case X_AND:
    case X_NOT: return false;
    case X_EMPTY: return true;
    case X_SET: *out = (Size){ 1, 1 }; return true;
    case X_LIT: *out = (Size){ n->b, n->b }; return true;
    case X_CAT: return chain_size(x, e, depth, out);
    case X_OR:
        out->shortest = MAX_SIZE;
        for (uint32_t i = 0; i < n->b; i++) {
            Size one;
            if (!size_of(x, x->kids[n->a + i], depth + 1, &one)) return false;
            out->shortest = MIN(out->shortest, one.shortest);
            out->closing = MAX(out->closing, one.closing);
        }
        return true;
    case X_REPEAT: {
        Size one;
        if (!size_of(x, n->a, depth + 1, &one)) return false;
        out->shortest = sum(0, (uint64_t)one.shortest * n->b);
        out->closing = sum(one.closing, out->shortest);
        return true;
    }
    }
    return false;
}

uint32_t exprs_closing(const Exprs *x, uint32_t e)
{
    Size s;
    return size_of(x, e, 0, &s) && s.closing < MAX_SIZE ? s.closing : UINT32_MAX;
}

uint32_t exprs_shortest(const Exprs *x, uint32_t e)
{
    Size s;
    return size_of(x, e, 0, &s) ? s.shortest : 0;
}
