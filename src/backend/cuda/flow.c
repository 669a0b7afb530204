/* flow.c - finds what flow.cu (rows up to 2) and thin.cu (up to 8) can take in what a pass has written down.
 *
 * Flow: a link is [gather] [norm] linear [glu | add | the addition of an add_norm]; links follow one another directly. What lies
 * between the parts of a link is then never written, so each such tensor must be dead: written before it is read again.
 * A norm or glu may not write over what other CTAs still read.
 * Thin: linear [glu | add], or linear and add_norm, whose norm is then a part of the next linear. Thread: the engine's. */
#include <cuda.h>

#include "backend/cuda/cuda.h"

typedef CUresult (*Encode)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *,
                           const cuuint64_t *, const cuuint32_t *, const cuuint32_t *, CUtensorMapInterleave,
                           CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

static bool reads(const Command *c, const void *p)
{
    bool in_place = c->kind == C_ADD || c->kind == C_HEAD_NORM || c->kind == C_ROPE || c->kind == C_KV_STORE ||
                    c->kind == C_SOFTCAP || (c->kind == C_LINEAR && c->i[0]);
    return c->in.p == p || c->add.p == p || (in_place && c->out.p == p);
}

/* Whether nobody reads p before it is written again, from c on. After the pass only logits are read, and nobody drops those. */
static bool is_dead(const Device *d, const Command *c, const void *p)
{
    for (; c < d->commands + d->n_commands; c++) {
        if (reads(c, p)) return false;
        if (c->out.p == p) return true;
    }
    return true;
}

/* Of a matrix [rows][cols] of bf16: [cols / 64][rows][64], boxes of [planes][8][64], 128-byte swizzle. */
static bool describe(FlowMap *out, const void *p, int rows, int cols, int stride, int planes)
{
    Encode encode = NULL;
    enum cudaDriverEntryPointQueryResult found;
    CUtensorMap map;
    const cuuint64_t dims[3] = { 64, (cuuint64_t)rows, (cuuint64_t)(cols / 64) },
                     strides[2] = { (cuuint64_t)stride * 2, 128 };
    const cuuint32_t box[3] = { 64, 8, (cuuint32_t)planes }, ones[3] = { 1, 1, 1 };
    if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", (void **)&encode, 12000, cudaEnableDefault,
                                         &found) != cudaSuccess ||
        !encode)
        return false;
    CUresult r = encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, (void *)(uintptr_t)p, dims, strides, box, ones,
                        CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                        CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    memcpy(out, &map, sizeof *out);
    return r == CUDA_SUCCESS;
}

bool cuda_flow_map(FlowLink *l)
{
    return describe(&l->map, l->w, l->n, l->k, l->k, FLOW_STEP / 64);
}

bool cuda_thin_map(ThinArgs *a)
{
    return describe(&a->w_map, a->w, a->n, a->k, a->k, THIN_PLANES) &&
           describe(&a->in_map, a->in, a->rows, a->k, a->in_stride, THIN_PLANES);
}

/* [gather] [norm] linear. added: the sum of an add_norm in front has been seen to. Returns the commands it takes; 0: no link. */
static int front_of(const Device *d, const Command *c, int n, bool added, FlowLink *l)
{
    const Command *gather = NULL, *norm = NULL, *lin;
    int at = 0;
    if (n > 0 && c->kind == C_GATHER) gather = &c[at++];
    if (at < n && c[at].kind == C_NORM && (added || !c[at].add.p) && (!gather || c[at].in.p == gather->out.p))
        norm = &c[at++];
    if (at == n || c[at].kind != C_LINEAR) return 0;
    lin = &c[at++];
    Tensor in = lin->in;
    if (norm && (norm->out.p != in.p || norm->in.cols != lin->w->cols || norm->rows != lin->rows)) return 0;
    if (norm && !is_dead(d, lin + 1, norm->out.p) && lin->out.p != norm->out.p) return 0;
    if (norm) in = norm->in;
    if (gather && (gather->out.p != in.p || gather->rows != lin->rows)) return 0;
    if (gather && !is_dead(d, lin + 1, gather->out.p)) return 0;
    if (gather) in = gather->in;
    bool f32 = lin->out.dtype == DT_F32;
    if (in.p == lin->out.p || (f32 && lin->i[0])) return 0;
    *l = (FlowLink){ .w = lin->w->data,
                     .in = in.p,
                     .pick = gather ? d->at.logit_row : NULL,
                     .norm = norm ? norm->w->f32 : NULL,
                     .bias = lin->bias ? lin->bias->f32 : NULL,
                     .out = lin->out.p,
                     .eps = norm ? norm->f[0] : 0,
                     .w_bias = norm ? norm->f[1] : 0,
                     .n = lin->w->rows,
                     .k = lin->w->cols,
                     .in_stride = in.stride,
                     .out_stride = lin->out.stride,
                     .kind = f32         ? FLOW_F32
                             : lin->i[0] ? FLOW_ADD
                                         : FLOW_STORE };
    return launch_flow_fits(l, lin->rows, d->n_sm) && cuda_flow_map(l) ? at : 0;
}

static void put_out(FlowLink *l, FlowKind kind, Tensor out)
{
    l->kind = (int)kind;
    l->out = out.p;
    l->out_stride = out.stride;
}

/* What may follow the linear c[-1] within its link. Returns the commands it takes, 0 or 1; *added: the next link begins with a
 * norm whose sum is done here. */
static int back_of(const Device *d, const Command *c, int n, FlowLink *l, bool room, bool *added)
{
    const void *between = c[-1].out.p;
    FlowLink next;
    *added = false;
    if (n < 1 || l->kind != FLOW_STORE || c->rows != c[-1].rows) return 0;
    if (c->kind == C_GLU && c->in.p == between && 2 * c->out.cols == l->n && c->out.p != l->in &&
        (c->out.p == between || is_dead(d, c + 1, between))) {
        FlowLink gate = *l;
        put_out(&gate, FLOW_GATE, c->out);
        gate.act = c->i[0];
        if (!launch_flow_fits(&gate, c->rows, d->n_sm)) return 0;
        *l = gate;
        return 1;
    }
    if (c->kind == C_ADD && c->in.p == between && c->out.p != l->in && is_dead(d, c + 1, between)) {
        put_out(l, FLOW_ADD, c->out);
        return 1;
    }
    if (c->kind == C_NORM && c->add.p == between && c->in.p != l->in && room &&
        (c->out.p == between || is_dead(d, c + 1, between)) && front_of(d, c, n, true, &next)) {
        put_out(l, FLOW_ADD, c->in);
        *added = true;
    }
    return 0;
}

static int run_flow(Device *d, const Command *c, int n)
{
    FlowArgs a = { .rows = c->rows };
    int used = 0;
    bool added = false;
    if (c->kind != C_LINEAR && c->kind != C_NORM && c->kind != C_GATHER) return 0;
    while (a.n_link < FLOW_LINKS && used < n && c[used].rows == a.rows) {
        FlowLink *l = &a.link[a.n_link];
        int front = front_of(d, c + used, n - used, added, l);
        if (!front || c[used + front - 1].rows != a.rows) break;
        used += front;
        used += back_of(d, c + used, n - used, l, a.n_link + 1 < FLOW_LINKS, &added);
        a.n_link++;
    }
    if (!a.n_link) return 0;
    if (!d->meet) { /* once, before any graph */
        if (!cuda_ok(d, cudaMalloc((void **)&d->meet, sizeof(uint32_t)))) return used;
        cuda_ok(d, cudaMemsetAsync(d->meet, 0, sizeof(uint32_t), d->stream));
    }
    a.meet = d->meet;
    cuda_profile_part(d, PART_LINEAR);
    launch_flow(d->stream, &a);
    return used;
}

/* ---- thin.cu ---- */

/* linear, or norm and linear of what the product before has added to (added). Returns the commands it takes; 0: it does not fit. */
static int thin_front(const Command *c, int n, bool added, ThinArgs *a)
{
    const Command *norm = added ? c : NULL, *lin = added ? c + 1 : c;
    if (n < 1 + added || lin->kind != C_LINEAR) return 0;
    Tensor in = lin->in;
    bool f32 = lin->out.dtype == DT_F32;
    if (norm && (norm->out.p != in.p || norm->in.cols != lin->w->cols || norm->rows != lin->rows)) return 0;
    if (in.p == lin->out.p || (f32 && lin->i[0])) return 0;
    *a = (ThinArgs){ .w = lin->w->data,
                     .in = in.p,
                     .bias = lin->bias ? lin->bias->f32 : NULL,
                     .out = lin->out.p,
                     .eps = norm ? norm->f[0] : 0,
                     .rows = lin->rows,
                     .n = lin->w->rows,
                     .k = lin->w->cols,
                     .in_stride = in.stride,
                     .out_stride = lin->out.stride,
                     .kind = f32         ? FLOW_F32
                             : lin->i[0] ? FLOW_ADD
                                         : FLOW_STORE,
                     .normed = added };
    return launch_thin_fits(a) ? 1 + added : 0;
}

static void thin_out(ThinArgs *a, FlowKind kind, Tensor out)
{
    a->kind = (int)kind;
    a->out = out.p;
    a->out_stride = out.stride;
}

/* Whether the norm c adds `between` to the residual and the linear after it alone reads what comes out. Then it is done here. */
static bool thin_joins(const Device *d, const Command *c, int n, const void *between, ThinArgs *a)
{
    ThinArgs next;
    if (c->kind != C_NORM || c->add.p != between || c->in.p == a->in || c->out.p == a->in || c->out.p == c->in.p)
        return false;
    if (c->out.p != between && !is_dead(d, c + 1, between)) return false;
    if (!thin_front(c, n, true, &next) || !is_dead(d, c + 2, c->out.p)) return false;
    thin_out(a, FLOW_ADD, c->in);
    a->scaled = c->out.p;
    a->scaled_stride = c->out.stride;
    a->gain = c->w->f32;
    a->gain_bias = c->f[1];
    return true;
}

/* What may follow the linear c[-1] within its kernel. Returns the commands it takes, 0 or 1; *added: as for thin_front. */
static int thin_back(const Device *d, const Command *c, int n, ThinArgs *a, bool *added)
{
    const void *between = c[-1].out.p;
    *added = false;
    if (n < 1 || a->kind != FLOW_STORE || c->rows != c[-1].rows) return 0;
    if (c->kind == C_GLU && c->in.p == between && 2 * c->out.cols == a->n && c->out.p != a->in &&
        (c->out.p == between || is_dead(d, c + 1, between))) {
        thin_out(a, FLOW_GATE, c->out);
        a->act = c->i[0];
        return 1;
    }
    if (c->kind == C_ADD && c->in.p == between && c->out.p != a->in && is_dead(d, c + 1, between)) {
        thin_out(a, FLOW_ADD, c->out);
        return 1;
    }
    *added = thin_joins(d, c, n, between, a);
    return 0;
}

/* A linear and, as long as norms join them, its successors. */
static int run_thin(Device *d, const Command *c, int n)
{
    ThinArgs a;
    int used = 0, front;
    bool added = false;
    if (!d->square && !cuda_ok(d, cudaMalloc((void **)&d->square, sizeof(float) * THIN_MAX_CTA * THIN_MAX_ROWS)))
        return n;
    do {
        front = thin_front(c + used, n - used, added, &a);
        if (!front) return used;
        used += front;
        used += thin_back(d, c + used, n - used, &a, &added);
        a.square = d->square;
        if (!cuda_thin_map(&a)) cuda_ok(d, cudaErrorNotSupported);
        cuda_profile_part(d, PART_LINEAR);
        launch_thin(d->stream, &a);
    } while (added);
    return used;
}

/* ---- which of them ---- */

bool cuda_flow_takes(const Device *d, const Command *c)
{
    FlowLink l;
    ThinArgs a;
    if (!d->flows || c->kind != C_LINEAR || c->rows > THIN_MAX_ROWS) return false;
    return c->rows <= FLOW_MAX_ROWS ? front_of(d, c, 1, false, &l) : thin_front(c, 1, false, &a);
}

int cuda_flow(Device *d, const Command *c, int n)
{
    if (!d->flows || c->rows > THIN_MAX_ROWS) return 0;
    return c->rows <= FLOW_MAX_ROWS ? run_flow(d, c, n) : run_thin(d, c, n);
}
