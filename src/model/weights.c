/* weights.c - finds each weight of a family's table in the checkpoint, checks its shape, and hands it to the device.
 *
 * The same table knows both names of a tensor. Where the converter to GGUF changed numbers, the change is undone or
 * told to the backend here: permuted q and k rows (rope_heads), norms with 1 added (norm_bias of the config). Vectors are
 * put together on the host, in f32. A dummy checkpoint has no tensors: the device makes them up from a seed for each name.
 * Thread: whoever opens the model. */
#include <stdio.h>

#include "base/file.h"
#include "model/plan.h"

enum { BANDS_MAX = 4, NAME_MAX_BYTES = 160 };

/* What precedes "layers." in files of models with a vision tower, by transformers 4 and 5, and in bare base models. */
static const struct {
    const char *base, *head;
} roots[] = {
    { "model.", "" },
    { "language_model.model.", "language_model." },
    { "model.language_model.", "" },
    { "", "" },
};

typedef struct {
    Checkpoint *c;
    const Arch *arch;
    const ModelConfig *config;
    const ModelOptions *o;
    bool dry, dummy;
    size_t room[2]; /* that the weights so far share on the device */
    int root;
    WeightSet *out;
    Err *err;
} Loader;

/* ---- names ---- */

static void spec_name(const Loader *l, const WeightSpec *s, int layer, char *out)
{
    const char *name = l->config->gguf ? s->gguf : s->hf, *before = "";
    if (!l->config->gguf) {
        if (strncmp(name, "model.", 6) == 0) {
            before = roots[l->root].base;
            name += 6;
        } else {
            before = roots[l->root].head;
        }
    }
    const char *hole = strstr(name, "%d");
    if (hole)
        snprintf(out, NAME_MAX_BYTES, "%s%.*s%d%s", before, (int)(hole - name), name, layer, hole + 2);
    else
        snprintf(out, NAME_MAX_BYTES, "%s%s", before, name);
}

static void find_root(Loader *l)
{
    char name[NAME_MAX_BYTES];
    for (int i = 0; i < (int)COUNT(roots); i++) {
        l->root = i;
        spec_name(l, l->arch->weights, 0, name); /* the embedding comes first in every table */
        if (load_find(l->c, name)) return;
    }
    l->root = 0;
}

static bool of_layer(const WeightSpec *s)
{
    return strstr(s->hf, "%d") != NULL;
}

static uint64_t seed_of(const Loader *l, const char *name)
{
    uint64_t seed = l->o->dummy_seed ? l->o->dummy_seed : 1;
    return hash_bytes(name, strlen(name), seed);
}

/* ---- one band ---- */

static bool is_vector(const WeightSpec *s)
{
    return s->rows == DIM(one);
}

static Status check_shape(const TensorInfo *t, const char *name, int rows, int cols, bool vector, Err *err)
{
    bool ok = vector ? t->n_dims >= 1 && t->shape[t->n_dims - 1] == cols : t->n_dims == 2;
    if (vector)
        for (int i = 0; i + 1 < t->n_dims; i++) ok = ok && t->shape[i] == 1;
    else
        ok = ok && t->shape[0] == rows && t->shape[1] == cols;
    if (ok) return OK;
    char shape[96] = "";
    size_t n = 0;
    for (int i = 0; i < t->n_dims && n < sizeof(shape) - 24; i++)
        n += (size_t)snprintf(shape + n, sizeof(shape) - n, "%s%lld", i ? ", " : "", (long long)t->shape[i]);
    if (vector) return fail(err, E_CORRUPT, "tensor %s has shape [%s], expected [%d]", name, shape, cols);
    return fail(err, E_CORRUPT, "tensor %s has shape [%s], expected [%d, %d]", name, shape, rows, cols);
}

static void type_names(const Loader *l, char *out, size_t n)
{
    size_t used = 0;
    out[0] = 0;
    for (int t = 0; t < DT_COUNT && used + 16 < n; t++)
        if (quant_can_dequant((DType)t) && (!l->o->ops || !l->o->device || l->o->ops->supports(l->o->device, (DType)t)))
            used += (size_t)snprintf(out + used, n - used, "%s%s", used ? ", " : "", quant_info((DType)t)->name);
}

static Status check_dtype(const Loader *l, const TensorInfo *t, const char *name, bool vector)
{
    bool ok = quant_can_dequant(t->dtype);
    if (ok && !vector && !l->dry) ok = l->o->ops->supports(l->o->device, t->dtype);
    if (ok) return OK;
    char known[256];
    type_names(l, known, sizeof(known));
    return fail(l->err, E_UNSUPPORTED, "tensor %s has type %s, which is not supported here; supported: %s", name,
                t->dtype < DT_COUNT ? quant_info(t->dtype)->name : "unknown", known);
}

/* Finds band s of `layer`. *found false: an optional tensor that is not there. */
static Status band(Loader *l, const WeightSpec *s, int layer, WeightBand *out, bool *found)
{
    char name[NAME_MAX_BYTES];
    const ModelConfig *c = l->config;
    int rows = dim_of(c, s->rows), cols = dim_of(c, s->cols);
    bool needed = s->need == 0 || dim_of(c, s->need) != 0;
    spec_name(l, s, layer, name);
    *out = (WeightBand){ .rows = rows, .cols = cols, .dtype = DT_BF16 };
    if (s->heads && c->gguf) out->rope_heads = dim_of(c, s->heads);
    *found = true;
    if (s->slot == W_HEAD && c->tied) { /* a head beside a tied embedding is a leftover that nobody uses */
        *found = false;
        return OK;
    }
    if (l->dummy) {
        *found = needed;
        out->dummy_seed = seed_of(l, name);
        out->dummy_std = l->o->dummy_std;
        return OK;
    }
    const TensorInfo *t = load_find(l->c, name);
    if (!t) {
        *found = false;
        return needed ? fail(l->err, E_CORRUPT, "tensor %s is missing", name) : OK;
    }
    TRY(check_shape(t, name, rows, cols, is_vector(s), l->err));
    TRY(check_dtype(l, t, name, is_vector(s)));
    out->dtype = t->dtype;
    out->data = t->data;
    return OK;
}

/* ---- one slot ---- */

/* Element j of half h of a head stands at 2j + h after the converter; put it back to h * d / 2 + j. */
static void unpermute(const float *in, float *out, int n, int heads)
{
    int d = n / heads;
    for (int i = 0; i < n; i++) {
        int head = i / d, j = i % d;
        out[head * d + (j % 2) * (d / 2) + j / 2] = in[i];
    }
}

static Status vector(Loader *l, const WeightBand *bands, int n_bands, Weight **out)
{
    int cols = 0;
    for (int i = 0; i < n_bands; i++) cols += bands[i].cols;
    WeightBand all = { .dtype = DT_F32, .rows = 1, .cols = cols };
    if (l->dummy) {
        all.dummy_seed = bands[0].dummy_seed;
        all.dummy_std = bands[0].dummy_std;
        return l->o->ops->weight(l->o->device, WEIGHT_VECTOR, &all, 1, out, l->err);
    }
    float *values = mem_alloc_array((size_t)cols * 2, sizeof(float)), *raw = values + cols;
    int at = 0;
    for (int i = 0; i < n_bands; i++) {
        size_t n = (size_t)bands[i].cols;
        quant_to_f32(bands[i].dtype, bands[i].data, bands[i].rope_heads ? raw : values + at, n);
        if (bands[i].rope_heads) unpermute(raw, values + at, bands[i].cols, bands[i].rope_heads);
        at += bands[i].cols;
    }
    all.data = values;
    Status st = l->o->ops->weight(l->o->device, WEIGHT_VECTOR, &all, 1, out, l->err);
    mem_free(values);
    return st;
}

/* What they take on the device, where it can say so; else what they take in the file. */
static size_t resident(Loader *l, WeightUse use, const WeightBand *bands, int n_bands, size_t in_file)
{
    const BackendOps *ops = l->o->ops;
    if (!ops || !ops->weight_plan || !l->o->device) return in_file;
    WeightPlan plan;
    WeightBand all = { .dtype = DT_F32, .rows = 1 }; /* a vector is handed over whole */
    for (int i = 0; i < n_bands; i++) all.cols += bands[i].cols;
    bool vector = use == WEIGHT_VECTOR;
    for (int i = 0; i < n_bands && !vector; i++) { /* what cannot be loaded is said by who loads it */
        size_t row;
        if (!ops->supports(l->o->device, bands[i].dtype) || !quant_size(bands[i].dtype, (size_t)bands[i].cols, &row))
            return in_file;
    }
    ops->weight_plan(l->o->device, use, vector ? &all : bands, vector ? 1 : n_bands, &plan);
    for (size_t i = 0; i < COUNT(plan.room); i++) {
        plan.bytes += plan.room[i] > l->room[i] ? plan.room[i] - l->room[i] : 0;
        l->room[i] = MAX(l->room[i], plan.room[i]);
    }
    return plan.bytes;
}

static Status count(Loader *l, WeightUse use, const WeightBand *bands, int n_bands)
{
    bool is_vec = use == WEIGHT_VECTOR;
    size_t in_file = 0;
    for (int i = 0; i < n_bands; i++) {
        size_t elems, bytes, total;
        bool ok = mul_size((size_t)bands[i].rows, (size_t)bands[i].cols, &elems) &&
                  quant_size(is_vec ? DT_F32 : bands[i].dtype, elems, &bytes) && add_size(in_file, bytes, &total);
        if (!ok) return fail(l->err, E_LIMIT, "the weights are larger than memory can be");
        l->out->n_params += elems;
        in_file = total;
    }
    if (!add_size(l->out->bytes, resident(l, use, bands, n_bands, in_file), &l->out->bytes))
        return fail(l->err, E_LIMIT, "the weights are larger than memory can be");
    return OK;
}

/* All bands of the slot that begins at s; *n is how many rows of the table that is. */
static Status slot(Loader *l, const WeightSpec *s, int layer, int *n)
{
    WeightBand bands[BANDS_MAX];
    int n_bands = 0, n_found = 0;
    for (; n_bands < BANDS_MAX && s[n_bands].slot == s->slot; n_bands++) {
        bool found;
        TRY(band(l, &s[n_bands], layer, &bands[n_found], &found));
        n_found += found;
    }
    *n = n_bands;
    if (n_found == 0) return OK;
    if (n_found < n_bands) {
        char name[NAME_MAX_BYTES];
        spec_name(l, s, layer, name);
        return fail(l->err, E_CORRUPT, "%s and its neighbours: some of %d tensors are missing", name, n_bands);
    }
    size_t row = (size_t)(layer < 0 ? l->config->n_layer : layer);
    l->out->has[row * W_SLOTS + s->slot] = true;
    WeightUse use = is_vector(s) ? WEIGHT_VECTOR : s->slot == W_EMBED ? WEIGHT_EMBED : WEIGHT_LINEAR;
    TRY(count(l, use, bands, n_bands));
    if (l->dry) return OK;
    Weight **to = layer < 0 ? &l->out->of_model[s->slot] : &l->out->of_layer[layer][s->slot];
    if (use == WEIGHT_VECTOR) return vector(l, bands, n_bands, to);
    Status st = l->o->ops->weight(l->o->device, use, bands, n_bands, to, l->err);
    if (st != OK) {
        char name[NAME_MAX_BYTES];
        spec_name(l, s, layer, name);
        fail_prefix(l->err, "tensor %s", name);
    }
    for (int i = 0; i < n_bands; i++) { /* the device has its own now: not both at a time for the whole model */
        size_t bytes;
        if (bands[i].data && quant_size(bands[i].dtype, (size_t)bands[i].rows * (size_t)bands[i].cols, &bytes))
            file_drop(bands[i].data, bytes);
    }
    return st;
}

static Status load_all(Loader *l)
{
    int n;
    for (const WeightSpec *s = l->arch->weights; s->slot; s += n) {
        n = 1;
        if (of_layer(s)) continue;
        TRY(slot(l, s, -1, &n));
    }
    for (int layer = 0; layer < l->config->n_layer; layer++)
        for (const WeightSpec *s = l->arch->weights; s->slot; s += n) {
            n = 1;
            if (of_layer(s)) TRY(slot(l, s, layer, &n));
        }
    return OK;
}

Status weights_load(Checkpoint *c, const Arch *arch, const ModelConfig *config, const ModelOptions *o, bool dry,
                    Arena *a, WeightSet *out, Err *err)
{
    Loader l = { .c = c, .arch = arch, .config = config, .o = o, .out = out, .err = err };
    l.dry = dry || !o->ops || !o->device;
    l.dummy = load_is_dummy(c);
    *out = (WeightSet){ 0 };
    size_t n_layer = (size_t)config->n_layer;
    out->of_layer = arena_alloc_array(a, n_layer, sizeof(*out->of_layer));
    out->has = ARENA_NEW(a, bool, (n_layer + 1) * W_SLOTS);
    if (!config->gguf && !l.dummy) find_root(&l);
    TRY(load_all(&l));
    size_t model_row = n_layer * W_SLOTS;
    if (!out->has[model_row + W_HEAD]) { /* tied: one table, used both ways */
        out->of_model[W_HEAD] = out->of_model[W_EMBED];
        out->has[model_row + W_HEAD] = true;
    }
    return OK;
}
