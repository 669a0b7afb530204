/* step.c - one pass over the model: ops are written down, the batch is uploaded, the commands run, if possible as a graph.
 *
 * Picture of forward_end:  batch -> one pinned block -> one copy -> device arrays;  commands -> [graph of this size] -> stream.
 * A pass of single tokens (decode) whose commands are byte for byte those of an earlier one is captured the second time and
 * replayed from then on. A capture is made only of passes that have run before, so modules are loaded and shapes planned.
 * Neighbouring head_norm, rope and kv_store commands on one tensor run as one kernel.
 * While warming up, products that nobody has timed yet are timed for the best algorithm, or noted for later (choose.c).
 * Invariants: (1) nothing here allocates once the largest batch has been seen; (2) a graph's pointers are into buffers that
 * live as long as the graph: growing the step buffer drops all graphs; (3) a stage buffer is not written while its copy is
 * in flight. Thread: the engine's. */
#include <stdlib.h>

#include "backend/cuda/cuda.h"

enum { CAPTURE_AFTER = 2, FEW_ROWS = 8, FIRST_INTS = 1 << 18 };

/* ---- writing down ---- */

static Command *add(Device *d, CommandKind kind, int rows)
{
    CHECK(d->in_step && d->n_commands < COMMANDS_MAX);
    Command *c = &d->commands[d->n_commands++];
    memset(c, 0, sizeof *c);
    c->kind = (int32_t)kind;
    c->rows = cuda_pad(rows);
    return c;
}

/* Field by field: a struct's padding must stay zero, and rows are no part of a command. */
static void put(Tensor *to, Tensor t)
{
    to->p = t.p;
    to->cols = t.cols;
    to->stride = t.stride;
    to->dtype = t.dtype;
}

void cuda_embed(Device *d, Tensor out, const Weight *table, float scale)
{
    Command *c = add(d, C_EMBED, out.rows);
    put(&c->out, out);
    c->w = table;
    c->f[0] = scale;
}

void cuda_norm(Device *d, Tensor out, Tensor in, const Weight *w, float eps, float w_bias)
{
    Command *c = add(d, C_NORM, out.rows);
    put(&c->out, out);
    put(&c->in, in);
    c->w = w;
    c->f[0] = eps;
    c->f[1] = w_bias;
}

void cuda_add_norm(Device *d, Tensor x, Tensor out, Tensor more, const Weight *w, float eps, float w_bias)
{
    cuda_norm(d, out, x, w, eps, w_bias);
    put(&d->commands[d->n_commands - 1].add, more);
}

void cuda_add(Device *d, Tensor x, Tensor y)
{
    Command *c = add(d, C_ADD, x.rows);
    put(&c->out, x);
    put(&c->in, y);
}

void cuda_linear(Device *d, Tensor out, Tensor in, const Weight *w, const Weight *bias, bool more)
{
    Command *c = add(d, C_LINEAR, out.rows);
    put(&c->out, out);
    put(&c->in, in);
    c->w = w;
    c->bias = bias;
    c->i[0] = more;
}

void cuda_head_norm(Device *d, Tensor x, int first, int n_heads, int head_dim, const Weight *w, float eps, float w_bias)
{
    Command *c = add(d, C_HEAD_NORM, x.rows);
    put(&c->out, x);
    c->w = w;
    c->i[0] = first;
    c->i[1] = n_heads;
    c->i[2] = head_dim;
    c->f[0] = eps;
    c->f[1] = w_bias;
}

void cuda_rope(Device *d, Tensor qkv, int n_rot_heads, int head_dim, int table)
{
    Command *c = add(d, C_ROPE, qkv.rows);
    put(&c->out, qkv);
    c->i[0] = n_rot_heads;
    c->i[1] = head_dim;
    c->i[2] = table;
}

void cuda_kv_store(Device *d, KvCache *kv, int layer, Tensor qkv, int n_head)
{
    Command *c = add(d, C_KV_STORE, qkv.rows);
    put(&c->out, qkv);
    c->kv = kv;
    c->i[0] = layer;
    c->i[1] = n_head;
}

void cuda_attend(Device *d, Tensor out, Tensor qkv, KvCache *kv, int layer, const AttnParams *p)
{
    Command *c = add(d, C_ATTEND, qkv.rows);
    put(&c->out, out);
    put(&c->in, qkv);
    c->kv = kv;
    c->i[0] = layer;
    c->attn.n_head = p->n_head;
    c->attn.n_kv_head = p->n_kv_head;
    c->attn.head_dim = p->head_dim;
    c->attn.scale = p->scale;
    c->attn.softcap = p->softcap;
    c->attn.window = p->window;
    c->attn.sinks = p->sinks;
}

void cuda_glu(Device *d, Tensor out, Tensor gate_up, GluAct act)
{
    Command *c = add(d, C_GLU, out.rows);
    put(&c->out, out);
    put(&c->in, gate_up);
    c->i[0] = (int32_t)act;
}

void cuda_gather(Device *d, Tensor out, Tensor in)
{
    Command *c = add(d, C_GATHER, out.rows);
    put(&c->out, out);
    put(&c->in, in);
}

void cuda_softcap(Device *d, Tensor logits, float cap)
{
    Command *c = add(d, C_SOFTCAP, logits.rows);
    put(&c->out, logits);
    c->f[0] = cap;
}

/* ---- the batch, on its way to the device ---- */

static void drop_graph(Graph *g)
{
    if (g->exec) cudaGraphExecDestroy(g->exec);
    g->exec = NULL;
}

static void drop_graphs(Device *d)
{
    for (int i = 0; i < GRAPHS_MAX; i++) drop_graph(&d->graphs[i]);
    memset(d->graphs, 0, sizeof d->graphs);
}

/* Room for n ints in the device buffer and in the next stage. False: there is none. */
static bool make_room(Device *d, size_t n, Stage *s)
{
    if (n > d->buffer_n) {
        size_t want = MAX((size_t)FIRST_INTS, n + n / 4);
        cuda_ok(d, cudaStreamSynchronize(d->stream));
        drop_graphs(d);
        cudaFree(d->buffer);
        d->buffer = NULL;
        d->buffer_n = 0;
        if (!cuda_ok(d, cudaMalloc((void **)&d->buffer, want * sizeof(int32_t)))) return false;
        d->buffer_n = want;
    }
    if (!s->done && !cuda_ok(d, cudaEventCreateWithFlags(&s->done, cudaEventDisableTiming))) return false;
    cuda_ok(d, cudaEventSynchronize(s->done));
    if (n > s->n) {
        cudaFreeHost(s->host);
        s->host = NULL;
        s->n = 0;
        if (!cuda_ok(d, cudaMallocHost((void **)&s->host, d->buffer_n * sizeof(int32_t)))) return false;
        s->n = d->buffer_n;
    }
    return true;
}

/* Sequences with one new row first: they are decoded, the others prefilled. */
static void sort_sequences(Device *d)
{
    const DeviceBatch *b = d->batch;
    if (b->n_seq > d->order_cap) {
        d->order_cap = MAX(1024, 2 * b->n_seq);
        d->order = mem_grow(d->order, sizeof(int32_t) * (size_t)d->order_cap);
    }
    bool fits = d->group == 0 || attend_decode_fits(d->group);
    int n = 0;
    for (int i = 0; i < b->n_seq; i++)
        if (fits && b->seq_start[i + 1] - b->seq_start[i] == 1) d->order[n++] = i;
    d->n_decode = n;
    for (int i = 0; i < b->n_seq; i++)
        if (!fits || b->seq_start[i + 1] - b->seq_start[i] != 1) d->order[n++] = i;
    d->n_tile = 0;
    int each = d->group ? attend_prefill_rows(d->group) : 0;
    for (int i = d->n_decode; i < b->n_seq && each; i++)
        d->n_tile += (b->seq_start[d->order[i] + 1] - b->seq_start[d->order[i]] + each - 1) / each;
}

typedef struct {
    int32_t seq, first, cost;
} Tile;

static int longer(const void *a, const void *b)
{
    const Tile *x = a, *y = b;
    if (x->cost != y->cost) return x->cost > y->cost ? -1 : 1;
    if (x->seq != y->seq) return x->seq < y->seq ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* The longest first, so that the last CTAs to start are short. In place: three ints each while sorting, then two. */
static void write_tiles(Device *d, int32_t *out)
{
    const DeviceBatch *b = d->batch;
    int each = d->group ? attend_prefill_rows(d->group) : 0, n = 0;
    Tile *t = (Tile *)(void *)out;
    for (int i = d->n_decode; i < b->n_seq && each; i++) {
        int s = d->order[i], rows = b->seq_start[s + 1] - b->seq_start[s];
        for (int q = 0; q < rows; q += each) t[n++] = (Tile){ i, q, b->seq_len[s] - rows + q };
    }
    qsort(t, (size_t)n, sizeof *t, longer);
    for (int i = 0; i < n; i++) {
        int32_t seq = t[i].seq, first = t[i].first;
        out[2 * i] = seq;
        out[2 * i + 1] = first;
    }
}

static int32_t *piece(int32_t **at, size_t n)
{
    int32_t *p = *at;
    *at += (n + 3) & ~(size_t)3;
    return p;
}

/* The same arrays in the host's block and, at the same offsets, in the device's. n_tile: room. Returns ints up to pages. */
static size_t lay_out(StepArrays *a, int32_t *base, int rows, int logit_rows, int seqs, int n_tile)
{
    int32_t *at = base;
    a->count = piece(&at, 4);
    a->token = piece(&at, (size_t)rows);
    a->pos = piece(&at, (size_t)rows);
    a->slot = piece(&at, (size_t)rows);
    a->logit_row = piece(&at, (size_t)logit_rows);
    a->seq_len = piece(&at, (size_t)seqs);
    a->seq_row = piece(&at, (size_t)seqs);
    a->seq_rows = piece(&at, (size_t)seqs);
    a->page_first = piece(&at, (size_t)seqs);
    a->tiles = piece(&at, 3 * (size_t)n_tile);
    a->pages = at;
    return (size_t)(at - base);
}

static int pages_of(const DeviceBatch *b, int seq)
{
    return (b->seq_len[seq] + PAGE_TOKENS - 1) / PAGE_TOKENS;
}

static void write_rows(Device *d, StepArrays *a)
{
    const DeviceBatch *b = d->batch;
    size_t n = (size_t)b->n_tok, pad = (size_t)(d->rows - b->n_tok);
    memcpy(a->token, b->token, n * 4);
    memcpy(a->pos, b->pos, n * 4);
    memset(a->token + n, 0, pad * 4);
    memset(a->pos + n, 0, pad * 4);
    memset(a->slot + n, 0xff, pad * 4);
    for (int s = 0; s < b->n_seq; s++) {
        const int32_t *pages = b->pages + (size_t)s * (size_t)b->max_pages;
        for (int r = b->seq_start[s]; r < b->seq_start[s + 1]; r++)
            a->slot[r] = pages[b->pos[r] / PAGE_TOKENS] * PAGE_TOKENS + b->pos[r] % PAGE_TOKENS;
    }
    for (int i = 0; i < d->logit_rows; i++) a->logit_row[i] = i < b->n_logit ? b->logit_row[i] : 0;
}

static void write_sequences(Device *d, StepArrays *a)
{
    const DeviceBatch *b = d->batch;
    int32_t n_pages = 0;
    a->count[0] = d->n_decode;
    a->count[1] = d->n_tile;
    a->count[2] = a->count[3] = 0;
    for (int i = 0; i < b->n_seq; i++) {
        int s = d->order[i], n = pages_of(b, s);
        a->seq_len[i] = b->seq_len[s];
        a->seq_row[i] = b->seq_start[s];
        a->seq_rows[i] = b->seq_start[s + 1] - b->seq_start[s];
        a->page_first[i] = n_pages;
        memcpy(a->pages + n_pages, b->pages + (size_t)s * (size_t)b->max_pages, (size_t)n * 4);
        n_pages += n;
    }
}

static bool is_decode(const Device *d)
{
    return d->batch->n_tok == d->batch->n_seq && d->rows <= GRAPH_ROWS_MAX;
}

/* Puts the batch's arrays on the device, d->at pointing to them. */
static bool upload(Device *d)
{
    const DeviceBatch *b = d->batch;
    StepArrays host;
    d->group = 0;
    for (int i = 0; i < d->n_commands; i++) {
        const AttnParams *p = &d->commands[i].attn;
        if (d->commands[i].kind != C_ATTEND) continue;
        CHECK(d->group == 0 || d->group == p->n_head / p->n_kv_head); /* tiles are cut for one group */
        d->group = p->n_head / p->n_kv_head;
    }
    sort_sequences(d);
    int seqs = is_decode(d) ? d->rows : b->n_seq, tiles = is_decode(d) && d->n_tile ? d->rows : d->n_tile;
    size_t n = lay_out(&host, NULL, d->rows, d->logit_rows, seqs, tiles);
    for (int i = 0; i < b->n_seq; i++) n += (size_t)pages_of(b, i);
    Stage *s = &d->stage[d->stage_now];
    d->stage_now = (d->stage_now + 1) % STAGES;
    if (!make_room(d, n, s)) return false;
    lay_out(&host, s->host, d->rows, d->logit_rows, seqs, tiles);
    lay_out(&d->at, d->buffer, d->rows, d->logit_rows, seqs, tiles);
    write_rows(d, &host);
    write_sequences(d, &host);
    write_tiles(d, host.tiles);
    cuda_ok(d, cudaMemcpyAsync(d->buffer, s->host, n * sizeof(int32_t), cudaMemcpyHostToDevice, d->stream));
    return cuda_ok(d, cudaEventRecord(s->done, d->stream));
}

/* ---- running the commands ---- */

static const float *floats(const Weight *w)
{
    return w ? w->f32 : NULL;
}

GemmShape cuda_shape_of(const Command *c)
{
    return (GemmShape){ .rows = c->rows,
                        .n = c->w->rows,
                        .k = c->w->cols,
                        .in_stride = c->in.stride,
                        .out_stride = c->out.stride,
                        .f32 = c->out.dtype == DT_F32,
                        .add = c->i[0] != 0,
                        .bias = c->bias != NULL };
}

const void *cuda_bias_of(const Command *c)
{
    if (!c->bias) return NULL;
    return c->out.dtype == DT_F32 ? (const void *)c->bias->f32 : c->bias->data;
}

void cuda_run_gemv(Device *d, const Command *c)
{
    size_t out_size = c->out.dtype == DT_F32 ? 4 : 2;
    for (int r = 0; r < c->rows; r += GEMV_MAX_ROWS) {
        GemvArgs a = { .out = (char *)c->out.p + (size_t)r * (size_t)c->out.stride * out_size,
                       .in = (const char *)c->in.p + (size_t)r * (size_t)c->in.stride * 2,
                       .w = c->w->data,
                       .bias = floats(c->bias),
                       .rows = MIN(GEMV_MAX_ROWS, c->rows - r),
                       .n = c->w->rows,
                       .k = c->w->cols,
                       .in_stride = c->in.stride,
                       .out_stride = c->out.stride,
                       .f32 = c->out.dtype == DT_F32,
                       .add = c->i[0] != 0 };
        launch_gemv(d->stream, &a);
    }
}

static void run_linear(Device *d, const Command *c)
{
    bool own = c->rows <= FEW_ROWS || c->w->cols % 8; /* few: until it has been timed */
    if (!(c->w->cols % 8) && c->rows <= GEMV_MAX_ROWS && gemm_is_tuned(d->gemm, cuda_shape_of(c)))
        own = gemm_other_is_faster(d->gemm, cuda_shape_of(c));
    if (own || !gemm_run(d->gemm, d->stream, cuda_shape_of(c), c->out.p, c->in.p, c->w->data, cuda_bias_of(c)))
        cuda_run_gemv(d, c);
}

static void run_norm(Device *d, const Command *c)
{
    NormArgs a = { .x = c->in.p,
                   .add = c->add.p,
                   .out = c->out.p,
                   .w = c->w->f32,
                   .rows = c->rows,
                   .cols = c->in.cols,
                   .x_stride = c->in.stride,
                   .add_stride = c->add.stride,
                   .out_stride = c->out.stride,
                   .eps = c->f[0],
                   .w_bias = c->f[1] };
    launch_norm(d->stream, &a);
}

/* How the decode sequences' keys are divided is the same for all layers with the same window: a plan of this pass, made now or
 * for a layer before, which then waited for it. */
static void use_plan(Device *d, AttendArgs *a)
{
    AttendPlan *p = d->plans;
    while (p < d->plans + d->n_plans &&
           (p->n_kv_head != a->n_kv_head || p->window != a->window || p->n_cta != a->n_cta))
        p++;
    if (p == d->plans + d->n_plans) {
        CHECK(d->n_plans < PLANS_MAX);
        d->n_plans++;
        *p = (AttendPlan){ .n_kv_head = a->n_kv_head, .window = a->window, .n_cta = a->n_cta };
        cuda_ok(d, cudaMalloc((void **)&p->plan, sizeof(int32_t) * ATTEND_PLAN_INTS * ATTEND_MAX_CTA));
    }
    a->early = p->ready;
    a->plan = p->plan;
    if (!p->ready) launch_attend_plan(d->stream, p->plan, a);
    p->ready = true;
}

static void run_attend(Device *d, const Command *c)
{
    const AttnParams *p = &c->attn;
    AttendArgs a = { .qkv = c->in.p,
                     .out = c->out.p,
                     .qkv_stride = c->in.stride,
                     .out_stride = c->out.stride,
                     .kv = c->kv->data + (size_t)c->i[0] * c->kv->layer_bytes,
                     .n_head = p->n_head,
                     .n_kv_head = p->n_kv_head,
                     .head_dim = p->head_dim,
                     .kv_dim = c->kv->dim,
                     .scale = p->scale,
                     .softcap = p->softcap,
                     .window = p->window,
                     .sinks = floats(p->sinks),
                     .count = d->at.count,
                     .seq_len = d->at.seq_len,
                     .seq_row = d->at.seq_row,
                     .seq_rows = d->at.seq_rows,
                     .page_first = d->at.page_first,
                     .pages = d->at.pages,
                     .tiles = d->at.tiles,
                     .n_tile = is_decode(d) && d->n_tile ? d->rows : d->n_tile,
                     .arrived = d->arrived };
    if (d->n_decode) {
        size_t need = attend_part_bytes(d->group, c->kv->dim);
        if (need > d->part_bytes) { /* once: all layers of a model are alike */
            cudaFree(d->part);
            if (!cuda_ok(d, cudaMalloc((void **)&d->part, need))) return;
            cuda_ok(d, cudaMemsetAsync(d->part, 0xff, need, d->stream));
            d->part_bytes = need;
        }
        a.n_cta = attend_decode_ctas(d->group, c->kv->dim);
        a.part = d->part;
        use_plan(d, &a);
        a.let_on = d->flows && d->rows <= THIN_MAX_ROWS; /* a flow or a thin product follows */
        launch_attend_decode(d->stream, &a);
    }
    launch_attend_prefill(d->stream, &a);
}

/* Head norms, rope and kv_store of one tensor, as many as follow one another: one kernel. Returns how many. */
static int run_heads(Device *d, const Command *c, int n)
{
    HeadArgs a = { .qkv = c->out.p, .stride = c->out.stride, .rows = c->rows, .pos = d->at.pos, .slot = d->at.slot };
    const Command *store = NULL, *norm[2] = { NULL, NULL }, *rope = NULL;
    int used = 0, n_norm = 0;
    for (; used < n && !store && c[used].out.p == c->out.p; used++) {
        const Command *k = &c[used];
        if (k->kind == C_HEAD_NORM && n_norm < 2 && !rope)
            norm[n_norm++] = k;
        else if (k->kind == C_ROPE && !rope)
            rope = k;
        else if (k->kind == C_KV_STORE)
            store = k;
        else
            break;
    }
    if (!store) return 0;
    KvShape s = store->kv->shape;
    a.n_head = store->i[1];
    a.n_kv_head = s.n_kv_head;
    a.head_dim = s.head_dim;
    a.kv_dim = store->kv->dim;
    a.kv = store->kv->data + (size_t)store->i[0] * store->kv->layer_bytes;
    for (int i = 0; i < n_norm; i++) {
        bool q = norm[i]->i[0] == 0 && norm[i]->i[1] == a.n_head,
             k = norm[i]->i[0] == a.n_head * a.head_dim && norm[i]->i[1] == s.n_kv_head;
        if (norm[i]->i[2] != a.head_dim || !(q || k)) return 0;
        if (q)
            a.q_norm = norm[i]->w->f32;
        else
            a.k_norm = norm[i]->w->f32;
        a.eps = norm[i]->f[0];
        a.w_bias = norm[i]->f[1];
    }
    if (rope) {
        const Rope *r = &d->rope[rope->i[2]];
        if (rope->i[1] != a.head_dim) return 0;
        a.rope = r->table;
        a.rot_dim = r->rot_dim;
        a.interleaved = r->interleaved;
        a.n_rot = rope->i[0];
    }
    a.let_on = d->n_decode > 0; /* decode attention follows */
    launch_heads(d->stream, &a);
    return used;
}

static void run_rope(Device *d, const Command *c)
{
    const Rope *r = &d->rope[c->i[2]];
    HeadArgs a = { .qkv = c->out.p,
                   .stride = c->out.stride,
                   .rows = c->rows,
                   .n_head = c->i[0],
                   .head_dim = c->i[1],
                   .rope = r->table,
                   .rot_dim = r->rot_dim,
                   .interleaved = r->interleaved,
                   .n_rot = c->i[0],
                   .pos = d->at.pos,
                   .slot = d->at.slot,
                   .kv_dim = attend_kv_dim(c->i[1]) };
    launch_heads(d->stream, &a);
}

static void run_one(Device *d, const Command *c)
{
    cudaStream_t s = d->stream;
    Tensor o = c->out, in = c->in;
    switch ((CommandKind)c->kind) {
    case C_EMBED: launch_embed(s, o.p, o.stride, c->w->data, d->at.token, d->drawn, c->rows, o.cols, c->f[0]); break;
    case C_NORM: run_norm(d, c); break;
    case C_ADD: launch_add(s, o.p, o.stride, in.p, in.stride, c->rows, o.cols); break;
    case C_LINEAR: run_linear(d, c); break;
    case C_HEAD_NORM:
        launch_head_norm(s, (uint16_t *)o.p + c->i[0], o.stride, c->rows, c->i[1], c->i[2], c->w->f32, c->f[0],
                         c->f[1]);
        break;
    case C_ROPE: run_rope(d, c); break;
    case C_KV_STORE: CHECK(run_heads(d, c, 1) == 1); break;
    case C_ATTEND: run_attend(d, c); break;
    case C_GLU: launch_glu(s, o.p, o.stride, in.p, in.stride, c->rows, o.cols, c->i[0]); break;
    case C_GATHER: launch_gather(s, o.p, o.stride, in.p, in.stride, d->at.logit_row, c->rows, o.cols); break;
    case C_SOFTCAP:
        if (o.dtype == DT_F32)
            launch_softcap(s, o.p, o.stride, c->rows, o.cols, c->f[0]);
        else
            launch_softcap_act(s, o.p, o.stride, c->rows, o.cols, c->f[0]);
        break;
    }
}

void cuda_run_all(Device *d)
{
    for (int i = 0; i < d->n_plans; i++) d->plans[i].ready = false;
    for (int i = 0; i < d->n_commands;) {
        const Command *c = &d->commands[i];
        bool heads = c->kind == C_HEAD_NORM || c->kind == C_ROPE || c->kind == C_KV_STORE;
        cuda_profile_command(d, c);
        int used = heads ? run_heads(d, c, d->n_commands - i) : cuda_flow(d, c, d->n_commands - i);
        if (!used) run_one(d, c);
        i += used ? used : 1;
    }
    cuda_ok(d, cudaGetLastError());
}

/* ---- graphs ---- */

/* Of every word of every command, in order: a few microseconds a step. */
static uint64_t step_key(const Device *d)
{
    _Static_assert(sizeof(Command) % 8 == 0, "words");
    uint64_t key = (uint64_t)d->rows << 1 | is_decode(d), w;
    const char *p = (const char *)d->commands;
    for (size_t i = 0; i < sizeof(Command) * (size_t)d->n_commands; i += 8) {
        memcpy(&w, p + i, 8);
        key = (key ^ w) * 0x9e3779b97f4a7c15u;
        key ^= key >> 29;
    }
    return key ? key : 1;
}

/* NULL: no room left, the step runs command by command. */
static Graph *graph_of(Device *d, uint64_t key)
{
    for (int i = 0; i < GRAPHS_MAX; i++)
        if (d->graphs[i].key == key || d->graphs[i].key == 0) {
            d->graphs[i].key = key;
            return &d->graphs[i];
        }
    return NULL;
}

static bool capture(Device *d, Graph *g)
{
    cudaGraph_t graph = NULL;
    if (!cuda_ok(d, cudaStreamBeginCapture(d->stream, cudaStreamCaptureModeThreadLocal))) return false;
    cuda_run_all(d);
    if (!cuda_ok(d, cudaStreamEndCapture(d->stream, &graph))) return false;
    bool ok = cuda_ok(d, cudaGraphInstantiate(&g->exec, graph, 0));
    cudaGraphDestroy(graph);
    g->rows = d->rows;
    return ok;
}

/* With algorithms that were chosen since, into the memory of the old one: once a size, it takes some milliseconds. */
static void renew(Device *d, Graph *g)
{
    cuda_ok(d, cudaStreamSynchronize(d->stream));
    drop_graph(g);
    g->stale = false;
    capture(d, g);
}

void cuda_forward_begin(Device *d, const DeviceBatch *b)
{
    CHECK(!d->in_step);
    cuda_profile_enter(d);
    d->in_step = true;
    d->batch = b;
    d->n_commands = 0;
    d->n_tok = b->n_tok;
    d->n_logit = b->n_logit;
    d->rows = cuda_pad(b->n_tok);
    d->logit_rows = b->n_logit ? cuda_pad(b->n_logit) : 0;
}

void cuda_flush(Device *d)
{
    if (!d->in_step || d->n_commands == 0) return;
    if (d->error == cudaSuccess && upload(d)) cuda_run_all(d);
    d->n_commands = 0;
}

void cuda_forward_end(Device *d)
{
    CHECK(d->in_step);
    Graph *g = NULL;
    bool looked = cuda_profile_begin(d, is_decode(d));
    if (d->error == cudaSuccess && d->n_commands && upload(d)) {
        if (is_decode(d)) g = graph_of(d, step_key(d));
        if (d->warming) cuda_choose(d);
        if (g && g->stale) renew(d, g);
        bool later = g && ++g->seen >= CAPTURE_AFTER && (d->warming || !d->warmed);
        if (later && !g->exec && !looked) capture(d, g);
        if (g && g->exec && !looked)
            cuda_ok(d, cudaGraphLaunch(g->exec, d->stream));
        else
            cuda_run_all(d);
    }
    cuda_profile_end(d, d->n_logit == 0);
    d->n_commands = 0;
    d->in_step = false;
    d->batch = NULL;
}

static size_t most_ints(WarmLimits most)
{
    StepArrays none;
    size_t pages = ((size_t)most.context + PAGE_TOKENS - 1) / PAGE_TOKENS;
    return lay_out(&none, NULL, cuda_pad(most.rows), cuda_pad(most.seqs), cuda_pad(most.seqs), most.rows) +
           pages * (size_t)most.seqs;
}

size_t cuda_step_bytes(WarmLimits most)
{
    return MAX((size_t)FIRST_INTS, most_ints(most) * 5 / 4) * sizeof(int32_t);
}

bool cuda_step_reserve(Device *d, WarmLimits most)
{
    bool ok = true;
    for (int i = 0; i < STAGES && ok; i++) ok = make_room(d, most_ints(most), &d->stage[i]);
    return ok;
}

void cuda_step_free(Device *d)
{
    drop_graphs(d);
    for (int i = 0; i < STAGES; i++) {
        if (d->stage[i].host) cudaFreeHost(d->stage[i].host);
        if (d->stage[i].done) cudaEventDestroy(d->stage[i].done);
    }
    for (int i = 0; i < d->n_plans; i++) cudaFree(d->plans[i].plan);
    cudaFree(d->buffer);
    cudaFree(d->part);
    cudaFree(d->arrived);
    cudaFree(d->meet);
    cudaFree(d->square);
    mem_free(d->order);
}
