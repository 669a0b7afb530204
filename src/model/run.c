/* run.c - the model's door: opens a checkpoint on a device, and walks the plan once for each batch.
 *
 * Order of opening: config, weights (the bulk), plan, activations, rope tables, and pages with what is left of the memory.
 * All device memory is the device's and goes with it; model_close gives back the host's part.
 * Thread: model_open any; everything else the engine's. */
#include "model/plan.h"

enum { PAGE_TOKENS = 16, PAGES_MAX = 1 << 26 }; /* PAGE_TOKENS: KV_PAGE_TOKENS of kv.h, which this layer may not see */

struct Model {
    const BackendOps *ops;
    Device *device;
    Arena *arena;
    const Arch *arch;
    ModelConfig config;
    ModelInfo info;
    WeightSet weights;
    Plan plan;
    Tensor regs[PLAN_REGS_MAX];
    int rope[MODEL_ROPES_MAX]; /* the device's handles */
    KvCache *kv;
    int rope_context; /* what scaled ropes are computed for */
    int max_rows, max_logits;
    int n_logit;      /* of the last forward */
    Profile *profile; /* NULL: nobody asks, or the device keeps its own */
    bool drawing;     /* the pass is not over before its tokens are drawn */
};

/* ---- opening ---- */

static Status describe(Model *m, Checkpoint *c, const ModelOptions *o, Err *err)
{
    TRY(config_read(c, &m->arch, &m->config, err));
    const ModelConfig *g = &m->config;
    int most = rope_context_max(g);
    if (o->context_length < 0 || o->context_length > MAX(most, o->context_least))
        return fail(err, E_LIMIT, "a context length of %d is over the model's own %d", o->context_length, most);
    if (o->context_least > MODEL_CTX_MAX)
        return fail(err, E_LIMIT, "a context length of %d is over %d", o->context_least, MODEL_CTX_MAX);
    m->rope_context = MAX(o->context_length ? o->context_length : g->n_ctx, o->context_least);
    m->ops = o->ops;
    m->device = o->device;
    m->max_rows = o->max_batch_tokens;
    m->max_logits = MIN(o->max_seqs, o->max_batch_tokens);
    m->info = (ModelInfo){ .arch = m->arch->hf_name,
                           .model_type = m->arch->model_type,
                           .n_layer = g->n_layer,
                           .n_head = g->n_head,
                           .n_kv_head = g->n_kv_head,
                           .head_dim = g->head_dim,
                           .d_model = g->d_model,
                           .d_ff = g->d_ff,
                           .n_vocab = g->n_vocab,
                           .n_ctx = g->n_ctx,
                           .context_length = m->rope_context };
    return OK;
}

static Status build_plan(Model *m, unsigned flags, Err *err)
{
    PlanOptions p = { .max_rows = m->max_rows, .max_logits = m->max_logits, .flags = flags };
    p.act = m->ops ? m->ops->act : DT_F32;
    TRY(plan_build(m->arch, &m->config, &m->weights, p, m->arena, &m->plan, err));
    if (m->ops) TRY(plan_check_ops(&m->plan, m->ops, err));
    m->info.n_params = m->weights.n_params;
    m->info.act_bytes = m->plan.act_bytes;
    for (int i = 0; i < m->plan.n_steps; i++) {
        const PlanStep *s = &m->plan.steps[i];
        *(s->few ? &m->info.flop_logit : &m->info.flop_row) += plan_flop(&m->plan, s);
    }
    return OK;
}

static Status make_tensors(Model *m, Err *err)
{
    const Plan *p = &m->plan;
    Tensor buffers[PLAN_REGS_MAX];
    for (int i = 0; i < p->n_buffers; i++) {
        const PlanBuffer *b = &p->buffers[i];
        TRY(m->ops->tensor(m->device, b->rows, b->cols, b->dtype, &buffers[i], err));
    }
    for (int r = 1; r < p->n_regs; r++) {
        const PlanReg *reg = &p->regs[r];
        if (reg->rows == 0) continue;
        Tensor *t = &m->regs[r];
        *t = buffers[reg->buffer];
        bool own = p->buffers[reg->buffer].cols == reg->stride; /* then the device's own padding is kept */
        t->cols = reg->cols;
        if (!own) t->stride = reg->stride;
    }
    return OK;
}

static Status make_ropes(Model *m, Err *err)
{
    const ModelConfig *c = &m->config;
    for (int i = 0; i < MODEL_ROPES_MAX; i++) {
        float inv_freq[MODEL_ROPE_PAIRS_MAX], mscale;
        bool used = false;
        for (int s = 0; s < m->plan.n_steps; s++)
            used = used || (m->plan.steps[s].op == OP_ROPE && m->plan.steps[s].rope == i);
        if (!used) continue;
        rope_compute(&c->rope[i], c->rot_dim, c->n_ctx, m->rope_context, inv_freq, &mscale);
        RopeTable t = { .inv_freq = inv_freq, .rot_dim = c->rot_dim, .mscale = mscale };
        TRY(m->ops->rope_table(m->device, &t, m->info.context_length, &m->rope[i], err));
    }
    return OK;
}

static size_t page_bytes(const Model *m, KvShape shape)
{
    if (m->ops && m->device) return m->ops->kv_page_bytes(m->device, shape);
    size_t elem = shape.dtype == DT_F32 ? 4 : 2;
    return 2 * elem * PAGE_TOKENS * (size_t)shape.n_layer * (size_t)shape.n_kv_head * (size_t)shape.head_dim;
}

/* Counts pages: those asked for, or what the budget leaves after weights and activations. */
static Status plan_pages(Model *m, const ModelOptions *o, KvShape *shape, Err *err)
{
    const ModelConfig *c = &m->config;
    ModelInfo *info = &m->info;
    *shape =
        (KvShape){ .n_layer = c->n_layer, .n_kv_head = c->n_kv_head, .head_dim = c->head_dim, .dtype = o->kv_dtype };
    info->kv_page_bytes = page_bytes(m, *shape);
    if (o->n_pages < 0 || o->n_pages > PAGES_MAX)
        return fail(err, E_LIMIT, "%d KV pages: expected 0 to %d", o->n_pages, PAGES_MAX);
    size_t used = info->weight_bytes + info->act_bytes;
    size_t pages = (size_t)o->n_pages;
    if (pages == 0 && o->memory_budget == 0)
        return fail(err, E_INVALID, "neither a number of KV pages nor a memory budget is given");
    if (pages == 0) {
        pages = o->memory_budget > used ? (o->memory_budget - used) / MAX(info->kv_page_bytes, (size_t)1) : 0;
        pages = MIN(pages, (size_t)PAGES_MAX);
    }
    if (pages == 0)
        return fail(err, E_LIMIT,
                    "a memory budget of %zu MB cannot hold %zu MB of weights, %zu MB of activations and one KV page",
                    o->memory_budget >> 20, info->weight_bytes >> 20, info->act_bytes >> 20);
    shape->n_pages = info->n_pages = (int)pages;
    info->kv_bytes = pages * info->kv_page_bytes;
    return OK;
}

static Status open_on_device(Model *m, Checkpoint *c, const ModelOptions *o, Err *err)
{
    KvShape shape;
    TRY(describe(m, c, o, err));
    TRY(weights_load(c, m->arch, &m->config, o, false, m->arena, &m->weights, err));
    TRY(build_plan(m, o->plan_flags, err));
    m->info.weight_bytes = m->ops->weight_bytes(m->device);
    TRY(plan_pages(m, o, &shape, err));
    m->info.context_length = (int)MIN((int64_t)m->info.context_length, (int64_t)m->info.n_pages * PAGE_TOKENS);
    TRY(make_tensors(m, err));
    TRY(make_ropes(m, err));
    return m->ops->kv_cache(m->device, shape, &m->kv, err);
}

Status model_open(Checkpoint *c, const ModelOptions *o, Model **out, Err *err)
{
    CHECK(o->ops && o->device);
    Model *m = mem_alloc(sizeof(*m));
    m->arena = arena_new(0);
    if (o->profile && !o->ops->profile) m->profile = profile_new();
    Status st = open_on_device(m, c, o, err);
    if (st != OK) {
        fail_prefix(err, "%s", load_path(c));
        model_close(m);
        m = NULL;
    }
    *out = m;
    return st;
}

Status model_plan(Checkpoint *c, const ModelOptions *o, ModelInfo *out, Err *err)
{
    Model *m = mem_alloc(sizeof(*m));
    KvShape shape;
    m->arena = arena_new(0);
    Status st = describe(m, c, o, err);
    if (st == OK) st = weights_load(c, m->arch, &m->config, o, true, m->arena, &m->weights, err);
    if (st == OK) st = build_plan(m, o->plan_flags, err);
    m->info.weight_bytes = m->weights.bytes;
    if (st == OK) st = plan_pages(m, o, &shape, err);
    if (st != OK) fail_prefix(err, "%s", load_path(c));
    *out = m->info;
    model_close(m);
    return st;
}

void model_close(Model *m)
{
    if (!m) return;
    profile_free(m->profile);
    arena_free(m->arena);
    mem_free(m);
}

const ModelInfo *model_info(const Model *m)
{
    return &m->info;
}

/* ---- running ---- */

static Tensor reg(const Model *m, int r, int rows)
{
    Tensor t = m->regs[r];
    t.rows = rows;
    return t;
}

static void run_step(Model *m, const PlanStep *s, const DeviceBatch *b)
{
    const BackendOps *ops = m->ops;
    const ModelConfig *c = &m->config;
    Device *d = m->device;
    int rows = s->few ? b->n_logit : b->n_tok;
    Tensor out = reg(m, s->out, rows), in = reg(m, s->in, s->op == OP_GATHER ? b->n_tok : rows);

    switch ((OpKind)s->op) {
    case OP_EMBED: ops->embed(d, out, s->w, c->embed_scale); break;
    case OP_NORM: ops->norm(d, out, in, s->w, c->norm_eps, c->norm_bias); break;
    case OP_ADD: ops->add(d, out, in); break;
    case OP_ADD_NORM: ops->add_norm(d, reg(m, s->x, rows), out, in, s->w, c->norm_eps, c->norm_bias); break;
    case OP_LINEAR: ops->linear(d, out, in, s->w, s->bias, false); break;
    case OP_Q_NORM: ops->head_norm(d, out, 0, c->n_head, c->head_dim, s->w, c->norm_eps, c->norm_bias); break;
    case OP_K_NORM: ops->head_norm(d, out, c->d_q, c->n_kv_head, c->head_dim, s->w, c->norm_eps, c->norm_bias); break;
    case OP_ROPE: ops->rope(d, out, c->n_head + c->n_kv_head, c->head_dim, m->rope[s->rope]); break;
    case OP_ATTN:
        ops->kv_store(d, m->kv, s->layer, in, c->n_head);
        ops->attend(d, out, in, m->kv, s->layer, &s->attn);
        break;
    case OP_GLU: ops->glu(d, out, in, (GluAct)c->act); break;
    case OP_SOFTCAP: ops->softcap(d, out, c->logit_softcap); break;
    case OP_GATHER: ops->gather(d, out, in); break;
    case OP_END:
    case OP_COUNT: CHECK(false);
    }
}

/* The pass ends here, or with model_sample if tokens are drawn. */
static void run_timed(Model *m, const DeviceBatch *b, int n)
{
    double kv_token = (double)m->info.kv_page_bytes / PAGE_TOKENS / m->info.n_layer;
    if (m->drawing) profile_end(m->profile, false); /* nobody drew */
    profile_begin(m->profile, b);
    for (int i = 0; i < n; i++) {
        run_step(m, &m->plan.steps[i], b);
        profile_step(m->profile, &m->plan, &m->plan.steps[i], b, kv_token);
    }
    m->drawing = b->n_logit > 0;
    if (!m->drawing) profile_end(m->profile, false);
}

void model_forward(Model *m, const DeviceBatch *b)
{
    CHECK(b->n_tok >= 1 && b->n_tok <= m->max_rows);
    CHECK(b->n_logit >= 0 && b->n_logit <= m->max_logits && b->n_logit <= b->n_tok);
    m->ops->forward_begin(m->device, b);
    if (m->profile || !m->ops->replay || !m->ops->replay(m->device, m->plan.steps)) {
        int n = b->n_logit ? m->plan.n_steps : m->plan.n_cut; /* nobody asks: keys and values are all that is wanted */
        if (m->profile) run_timed(m, b, n);
        for (int i = 0; i < n && !m->profile; i++) run_step(m, &m->plan.steps[i], b);
    }
    m->ops->forward_end(m->device);
    m->n_logit = b->n_logit;
}

void model_sample(Model *m, const SampleRow *rows, int n)
{
    CHECK(n >= 1 && n <= m->n_logit);
    m->ops->sample(m->device, reg(m, m->plan.logits, n), rows, n);
    if (m->profile && m->drawing) profile_end(m->profile, true);
    m->drawing = false;
}

Status model_sample_wait(Model *m, SampleOut *out, int n, Err *err)
{
    return m->ops->sample_wait(m->device, out, n, err);
}

void model_logits(Model *m, float *out)
{
    if (m->n_logit) m->ops->download(m->device, out, reg(m, m->plan.logits, m->n_logit));
}

int64_t model_now_ns(Model *m)
{
    return m->ops->now_ns ? m->ops->now_ns(m->device) : clock_ns();
}

void model_profile(Model *m, DeviceProfile *out)
{
    *out = (DeviceProfile){ 0 };
    if (m->profile)
        profile_read(m->profile, out);
    else if (m->ops->profile)
        m->ops->profile(m->device, out);
}

bool model_idle(Model *m, bool (*wanted)(void *ctx), void *ctx)
{
    return m->ops->idle && m->ops->idle(m->device, wanted, ctx);
}

Status model_warm(Model *m, bool later, void (*on_choosing)(void), Err *err)
{
    WarmPlan plan;
    WarmLimits most = { .rows = m->max_rows, .seqs = m->max_logits, .context = m->info.context_length, .later = later };
    if (!m->ops->warm_begin) return OK;
    TRY(m->ops->warm_begin(m->device, most, &plan, err));
    if (plan.choosing && on_choosing) on_choosing();
    TRY(model_warm_passes(m, most, &plan, err));
    return m->ops->warm_end(m->device, err);
}
