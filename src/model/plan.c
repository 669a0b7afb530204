/* plan.c - turns a family's steps into one flat list for all layers, and decides what shares memory.
 *
 * Families write the plain program; three things are done to it here, each a pattern with a test that the result is unchanged:
 * - fuse: an ADD into x followed by a NORM of x becomes one ADD_NORM, across layers too;
 * - cut: after the last attention rows do not meet any more, so only those whose logits are wanted go on (GATHER);
 * - share: registers that are never alive at the same time lie in the same memory.
 * Thread: whoever opens the model. */
#include "model/plan.h"

enum { ALIGN_ELEMS = 32 }; /* rows of a register start at a multiple of this many elements */

typedef struct {
    const Arch *arch;
    const ModelConfig *c;
    const WeightSet *w;
    PlanOptions o;
    Plan *p;
} Builder;

/* ---- the flat list ---- */

static const Weight *weight_of(const Builder *b, int layer, int slot)
{
    if (slot == W_NONE) return NULL;
    return b->w->of_model[slot] ? b->w->of_model[slot] : layer >= 0 ? b->w->of_layer[layer][slot] : NULL;
}

static bool has(const Builder *b, int layer, int slot)
{
    return weights_has(b->w, b->c, -1, slot) || (layer >= 0 && weights_has(b->w, b->c, layer, slot));
}

static void bind(Builder *b, const Step *steps, int layer, const LayerPlan *lp)
{
    for (const Step *s = steps; s->op != OP_END; s++) {
        if (s->w != W_NONE && !has(b, layer, s->w)) continue;
        if (s->op == OP_SOFTCAP && b->c->logit_softcap <= 0.0f) continue;
        PlanStep *out = &b->p->steps[b->p->n_steps++];
        *out = (PlanStep){ .op = s->op, .out = s->out, .in = s->in, .layer = layer };
        out->w = weight_of(b, layer, s->w);
        out->bias = weight_of(b, layer, s->bias);
        if (!lp) continue;
        out->rope = lp->rope;
        out->attn = (AttnParams){ .n_head = b->c->n_head,
                                  .n_kv_head = b->c->n_kv_head,
                                  .head_dim = b->c->head_dim,
                                  .scale = b->c->attn_scale,
                                  .softcap = b->c->attn_softcap,
                                  .window = lp->window };
    }
}

static LayerPlan layer_plan(const Builder *b, int i)
{
    LayerPlan lp = { .steps = b->arch->layer, .rope = 0, .window = b->c->windowed[i] ? b->c->window : 0 };
    if (b->arch->plan_layer) b->arch->plan_layer(b->c, i, &lp);
    return lp;
}

static int count_steps(const Step *s)
{
    int n = 0;
    while (s[n].op != OP_END) n++;
    return n;
}

static void bind_all(Builder *b, Arena *a)
{
    size_t n = (size_t)count_steps(b->arch->first) + (size_t)count_steps(b->arch->last) + PLAN_REGS_MAX; /* gathers */
    for (int i = 0; i < b->c->n_layer; i++) n += (size_t)count_steps(layer_plan(b, i).steps);
    b->p->steps = ARENA_NEW(a, PlanStep, n);
    bind(b, b->arch->first, -1, NULL);
    for (int i = 0; i < b->c->n_layer; i++) {
        LayerPlan lp = layer_plan(b, i);
        bind(b, lp.steps, i, &lp);
    }
    bind(b, b->arch->last, -1, NULL);
    b->p->n_regs = R_REGS;
    b->p->logits = R_LOGITS;
}

/* ---- fuse ---- */

static void fuse_add_norm(Plan *p)
{
    int n = 0;
    for (int i = 0; i < p->n_steps; i++) {
        const PlanStep *s = &p->steps[i], *next = s + 1;
        if (s->op == OP_ADD && i + 1 < p->n_steps && next->op == OP_NORM && next->in == s->out && next->out != s->in) {
            PlanStep fused = *next;
            fused.op = OP_ADD_NORM;
            fused.x = s->out;
            fused.in = s->in;
            p->steps[n++] = fused;
            i++;
        } else {
            p->steps[n++] = *s;
        }
    }
    p->n_steps = n;
}

/* ---- what a step reads and writes: sets of registers ---- */

static uint32_t bit(int reg)
{
    return 1u << reg;
}

static bool in_place(int op)
{
    return op == OP_Q_NORM || op == OP_K_NORM || op == OP_ROPE || op == OP_SOFTCAP || op == OP_ADD;
}

static uint32_t reads(const PlanStep *s)
{
    uint32_t set = s->op == OP_EMBED ? 0 : bit(s->in);
    if (in_place(s->op)) set |= bit(s->out);
    if (s->op == OP_ADD_NORM) set |= bit(s->x);
    return set;
}

/* Registers whose old content a step ends. */
static uint32_t defines(const PlanStep *s)
{
    return in_place(s->op) ? 0 : bit(s->out);
}

static uint32_t live_before(const Plan *p, int at)
{
    uint32_t live = bit(p->logits);
    for (int i = p->n_steps - 1; i >= at; i--) live = (live & ~defines(&p->steps[i])) | reads(&p->steps[i]);
    return live;
}

/* ---- cut ---- */

static int cut_at(const Plan *p, unsigned flags)
{
    int last_norm = 0, last_attn = 0;
    for (int i = 0; i < p->n_steps; i++) {
        if (p->steps[i].op == OP_NORM || p->steps[i].op == OP_ADD_NORM) last_norm = i;
        if (p->steps[i].op == OP_ATTN) last_attn = i;
    }
    return flags & MODEL_NO_CUT ? last_norm : last_attn + 1;
}

static void rename_reg(PlanStep *s, int from, int to)
{
    if (s->out == from) s->out = (uint8_t)to;
    if (s->in == from) s->in = (uint8_t)to;
    if (s->x == from) s->x = (uint8_t)to;
}

/* Every register alive at the cut gets a short twin, and the rest of the program works on the twins. */
static void cut(Builder *b)
{
    Plan *p = b->p;
    int at = cut_at(p, b->o.flags), n_new = 0;
    uint32_t live = live_before(p, at) & ~bit(R_NONE);
    PlanStep gathers[PLAN_REGS_MAX];
    for (int r = 1; r < R_REGS; r++) {
        if (!(live & bit(r))) continue;
        CHECK(p->n_regs < PLAN_REGS_MAX);
        int twin = p->n_regs++;
        p->regs[twin] = p->regs[r];
        gathers[n_new++] = (PlanStep){ .op = OP_GATHER, .out = (uint8_t)twin, .in = (uint8_t)r, .layer = -1 };
        for (int i = at; i < p->n_steps; i++) rename_reg(&p->steps[i], r, twin);
    }
    memmove(p->steps + at + n_new, p->steps + at, (size_t)(p->n_steps - at) * sizeof(*p->steps));
    memcpy(p->steps + at, gathers, (size_t)n_new * sizeof(*p->steps));
    p->n_steps += n_new;
    p->n_cut = at;
    for (int i = at; i < p->n_steps; i++) p->steps[i].few = true;
}

/* ---- share ---- */

static void size_regs(Builder *b)
{
    Plan *p = b->p;
    for (int r = 1; r < R_REGS; r++) {
        if (!b->arch->regs[r].name) continue;
        int cols = dim_of(b->c, b->arch->regs[r].width);
        p->regs[r] = (PlanReg){ .cols = cols, .dtype = r == p->logits ? DT_F32 : b->o.act };
        p->regs[r].stride = (cols + ALIGN_ELEMS - 1) / ALIGN_ELEMS * ALIGN_ELEMS;
    }
}

static void count_rows(Builder *b)
{
    for (int i = 0; i < b->p->n_steps; i++) {
        PlanReg *out = &b->p->regs[b->p->steps[i].out];
        out->rows = MAX(out->rows, b->p->steps[i].few ? b->o.max_logits : b->o.max_rows);
    }
}

/* conflict[r]: the registers that may not lie where r lies. */
static void find_conflicts(const Plan *p, bool share, uint32_t *conflict)
{
    for (int r = 0; r < p->n_regs; r++) conflict[r] = share ? 0 : ~bit(r);
    uint32_t live = bit(p->logits);
    for (int i = p->n_steps - 1; i >= 0; i--) {
        const PlanStep *s = &p->steps[i];
        uint32_t others = (live | reads(s)) & ~bit(s->out);
        conflict[s->out] |= others;
        for (int r = 0; r < p->n_regs; r++)
            if (others & bit(r)) conflict[r] |= bit(s->out);
        live = (live & ~defines(s)) | reads(s);
    }
}

static size_t reg_bytes(const PlanReg *r)
{
    return (size_t)r->rows * (size_t)r->stride * (size_t)quant_info(r->dtype)->block_bytes;
}

static bool fits(const Plan *p, int buffer, int reg, const uint32_t *conflict)
{
    if (p->buffers[buffer].dtype != p->regs[reg].dtype) return false;
    for (int r = 1; r < p->n_regs; r++)
        if (p->regs[r].rows && p->regs[r].buffer == buffer && (conflict[reg] & bit(r))) return false;
    return true;
}

/* Largest first, each into the first buffer where nobody is in its way: the first one there is the largest of its buffer. */
static void place_regs(Builder *b)
{
    Plan *p = b->p;
    uint32_t conflict[PLAN_REGS_MAX];
    bool placed[PLAN_REGS_MAX] = { false };
    find_conflicts(p, !(b->o.flags & MODEL_NO_SHARING), conflict);
    for (int r = 1; r < p->n_regs; r++) p->regs[r].buffer = -1;
    for (;;) {
        int best = 0;
        for (int r = 1; r < p->n_regs; r++)
            if (p->regs[r].rows && !placed[r] && (!best || reg_bytes(&p->regs[r]) > reg_bytes(&p->regs[best])))
                best = r;
        if (!best) break;
        PlanReg *reg = &p->regs[best];
        int at = 0;
        while (at < p->n_buffers && !fits(p, at, best, conflict)) at++;
        if (at == p->n_buffers) {
            p->buffers[p->n_buffers++] = (PlanBuffer){ reg->rows, reg->stride, reg->dtype };
            p->act_bytes += reg_bytes(reg);
        }
        reg->buffer = at;
        placed[best] = true;
    }
}

Status plan_build(const Arch *arch, const ModelConfig *c, const WeightSet *w, PlanOptions o, Arena *a, Plan *out,
                  Err *err)
{
    *out = (Plan){ 0 };
    Builder b = { .arch = arch, .c = c, .w = w, .o = o, .p = out };
    if (o.max_rows < 1 || o.max_logits < 1 || o.max_logits > o.max_rows)
        return fail(err, E_INVALID, "a model needs room for at least one token and one sequence a pass");
    bind_all(&b, a);
    if (!(o.flags & MODEL_NO_FUSION)) fuse_add_norm(out);
    size_regs(&b);
    cut(&b);
    count_rows(&b);
    place_regs(&b);
    return OK;
}

/* ---- what the backend must offer ---- */

Status plan_check_ops(const Plan *p, const BackendOps *ops, Err *err)
{
    const char *missing = NULL;
    for (int i = 0; i < p->n_steps && !missing; i++) {
        switch ((OpKind)p->steps[i].op) {
        case OP_EMBED: missing = ops->embed ? NULL : "embed"; break;
        case OP_NORM: missing = ops->norm ? NULL : "norm"; break;
        case OP_ADD: missing = ops->add ? NULL : "add"; break;
        case OP_ADD_NORM: missing = ops->add_norm ? NULL : "add_norm"; break;
        case OP_LINEAR: missing = ops->linear ? NULL : "linear"; break;
        case OP_Q_NORM:
        case OP_K_NORM: missing = ops->head_norm ? NULL : "head_norm"; break;
        case OP_ROPE: missing = ops->rope ? NULL : "rope"; break;
        case OP_ATTN: missing = ops->attend && ops->kv_store ? NULL : "attend"; break;
        case OP_GLU: missing = ops->glu ? NULL : "glu"; break;
        case OP_SOFTCAP: missing = ops->softcap ? NULL : "softcap"; break;
        case OP_GATHER: missing = ops->gather ? NULL : "gather"; break;
        case OP_END:
        case OP_COUNT: break;
        }
    }
    if (!missing) return OK;
    return fail(err, E_UNSUPPORTED, "the %s backend does not offer the operation \"%s\", which this model needs",
                ops->name, missing);
}
