/* pointwise.c - ops that treat each row, or each element, by itself: the loops over rows, and the plain definitions.
 * Rows are shared out over the pool when there is enough work to pay for waking it. Thread: the device's owner. */
#include <math.h>

#include "backend/cpu/cpu.h"

/* ---- definitions ---- */

void plain_norm(float *out, const float *in, const float *w, int n, float eps, float w_bias)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)in[i] * in[i];
    float by = (float)(1 / sqrt(sum / n + eps));
    for (int i = 0; i < n; i++) out[i] = in[i] * by * (w[i] + w_bias);
}

void plain_add(float *x, const float *y, int n)
{
    for (int i = 0; i < n; i++) x[i] += y[i];
}

void plain_scale(float *x, int n, float by)
{
    for (int i = 0; i < n; i++) x[i] *= by;
}

void plain_softcap(float *x, int n, float cap)
{
    for (int i = 0; i < n; i++) x[i] = cap * tanhf(x[i] / cap);
}

void plain_rope(float *x, const float *cos_sin, int half, bool interleaved)
{
    int step = interleaved ? 2 : 1, apart = interleaved ? 1 : half;
    for (int i = 0; i < half; i++) {
        float *a = x + i * step, *b = a + apart, c = cos_sin[i], s = cos_sin[half + i];
        float turned = *a * c - *b * s;
        *b = *b * c + *a * s;
        *a = turned;
    }
}

static float act(float x, GluAct a)
{
    switch (a) {
    case GLU_SILU: return x / (1 + expf(-x));
    case GLU_GELU_TANH: return 0.5f * x * (1 + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
    case GLU_GELU_ERF: return 0.5f * x * (1 + erff(x * 0.7071067812f));
    }
    return x;
}

void plain_glu(float *out, const float *gate, const float *up, int n, GluAct a)
{
    for (int i = 0; i < n; i++) out[i] = act(gate[i], a) * up[i];
}

/* ---- embed ---- */

typedef struct {
    Device *d;
    Tensor out, in;
    const float *w; /* of a norm */
    const Weight *table;
    float scale, eps, w_bias;
    int first, n_heads, head_dim; /* of head_norm and rope */
    const CpuRope *rope;
    GluAct act;
} Rows;

static void embed_rows(void *arg, int begin, int end)
{
    const Rows *r = arg;
    for (int i = begin; i < end; i++) {
        int32_t token = r->d->batch->token[i];
        if (token < 0) token = cpu_drawn(r->d, -1 - token);
        linear_embed_row(r->table, token, cpu_row(r->out, i));
        if (r->scale != 1) r->d->simd->scale(cpu_row(r->out, i), r->out.cols, r->scale);
    }
}

void cpu_embed(Device *d, Tensor out, const Weight *table, float scale)
{
    Rows r = { .d = d, .out = out, .table = table, .scale = scale };
    cpu_split(d, out.rows, (size_t)out.cols, embed_rows, &r);
}

/* ---- norms ---- */

static void norm_rows(void *arg, int begin, int end)
{
    const Rows *r = arg;
    for (int i = begin; i < end; i++) {
        r->d->simd->norm(cpu_row(r->out, i), cpu_row(r->in, i), r->w, r->in.cols, r->eps, r->w_bias);
    }
}

void cpu_norm(Device *d, Tensor out, Tensor in, const Weight *w, float eps, float w_bias)
{
    Rows r = { .d = d, .out = out, .in = in, .w = linear_vector(w), .eps = eps, .w_bias = w_bias };
    DEBUG_CHECK(r.w && linear_cols(w) == in.cols);
    cpu_split(d, in.rows, (size_t)in.cols / 8, norm_rows, &r);
}

typedef struct {
    Rows rows;
    Tensor x;
} AddNorm;

static void add_norm_rows(void *arg, int begin, int end)
{
    const AddNorm *a = arg;
    const Rows *r = &a->rows;
    for (int i = begin; i < end; i++) {
        float *x = cpu_row(a->x, i);
        r->d->simd->add(x, cpu_row(r->in, i), a->x.cols);
        r->d->simd->norm(cpu_row(r->out, i), x, r->w, a->x.cols, r->eps, r->w_bias);
    }
}

void cpu_add_norm(Device *d, Tensor x, Tensor out, Tensor add, const Weight *w, float eps, float w_bias)
{
    AddNorm a = { { .d = d, .out = out, .in = add, .w = linear_vector(w), .eps = eps, .w_bias = w_bias }, x };
    DEBUG_CHECK(a.rows.w && linear_cols(w) == x.cols);
    cpu_split(d, x.rows, (size_t)x.cols / 6, add_norm_rows, &a);
}

static void head_norm_rows(void *arg, int begin, int end)
{
    const Rows *r = arg;
    for (int i = begin; i < end; i++) {
        float *x = cpu_row(r->out, i) + r->first;
        for (int h = 0; h < r->n_heads; h++, x += r->head_dim) {
            r->d->simd->norm(x, x, r->w, r->head_dim, r->eps, r->w_bias);
        }
    }
}

void cpu_head_norm(Device *d, Tensor x, int first, int n_heads, int head_dim, const Weight *w, float eps, float w_bias)
{
    Rows r = { .d = d, .out = x, .w = linear_vector(w), .eps = eps, .w_bias = w_bias };
    r.first = first;
    r.n_heads = n_heads;
    r.head_dim = head_dim;
    DEBUG_CHECK(r.w && linear_cols(w) == head_dim);
    cpu_split(d, x.rows, (size_t)n_heads * (size_t)head_dim / 4, head_norm_rows, &r);
}

/* ---- the rest ---- */

static void add_rows(void *arg, int begin, int end)
{
    const Rows *r = arg;
    for (int i = begin; i < end; i++) r->d->simd->add(cpu_row(r->out, i), cpu_row(r->in, i), r->out.cols);
}

void cpu_add(Device *d, Tensor x, Tensor y)
{
    Rows r = { .d = d, .out = x, .in = y };
    cpu_split(d, x.rows, (size_t)x.cols / 8, add_rows, &r);
}

static void rope_rows(void *arg, int begin, int end)
{
    const Rows *r = arg;
    for (int i = begin; i < end; i++) {
        const float *cos_sin = r->rope->cos_sin + (size_t)r->d->batch->pos[i] * 2 * (size_t)r->rope->half;
        float *x = cpu_row(r->out, i);
        for (int h = 0; h < r->n_heads; h++, x += r->head_dim) {
            r->d->simd->rope(x, cos_sin, r->rope->half, r->rope->interleaved);
        }
    }
}

void cpu_rope(Device *d, Tensor qkv, int n_rot_heads, int head_dim, int table)
{
    CHECK(table >= 0 && table < d->n_rope && 2 * d->rope[table].half <= head_dim);
    Rows r = { .d = d, .out = qkv, .n_heads = n_rot_heads, .head_dim = head_dim, .rope = &d->rope[table] };
    cpu_split(d, qkv.rows, (size_t)n_rot_heads * (size_t)head_dim / 4, rope_rows, &r);
}

static void glu_rows(void *arg, int begin, int end)
{
    const Rows *r = arg;
    for (int i = begin; i < end; i++) {
        const float *gate = cpu_row(r->in, i);
        r->d->simd->glu(cpu_row(r->out, i), gate, gate + r->out.cols, r->out.cols, r->act);
    }
}

void cpu_glu(Device *d, Tensor out, Tensor gate_up, GluAct a)
{
    Rows r = { .d = d, .out = out, .in = gate_up, .act = a };
    cpu_split(d, out.rows, (size_t)out.cols, glu_rows, &r);
}

/* In rising order, so out may be in. */
void cpu_gather(Device *d, Tensor out, Tensor in)
{
    for (int i = 0; i < d->batch->n_logit; i++) {
        memmove(cpu_row(out, i), cpu_row(in, d->batch->logit_row[i]), (size_t)out.cols * sizeof(float));
    }
}

static void softcap_rows(void *arg, int begin, int end)
{
    const Rows *r = arg;
    for (int i = begin; i < end; i++) {
        if (r->scale > 0)
            r->d->simd->softcap(cpu_row(r->out, i), r->out.cols, r->scale);
        else
            r->d->simd->scale(cpu_row(r->out, i), r->out.cols, -r->scale);
    }
}

void cpu_softcap(Device *d, Tensor logits, float cap)
{
    Rows r = { .d = d, .out = logits, .scale = cap };
    cpu_split(d, logits.rows, (size_t)logits.cols, softcap_rows, &r);
}
