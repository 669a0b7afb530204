/* rope.c - how positions become angles: reads the rope part of a config, and computes the frequencies.
 *
 * Three spellings are read: rope_theta + rope_scaling (transformers 4), rope_parameters, flat or one for each kind of layer
 * (transformers 5), and GGUF's rope.* keys with its tensors of factors. All become RopeSpecs.
 *
 * Kinds whose factors depend on the length of the text (dynamic, longrope) are fixed here by the context that the server
 * is started with: cached keys of one regime cannot be used in another. Everything is computed in double. */
#include <math.h>
#include <stdio.h>

#include "model/config.h"

static const char *const kind_names[ROPE_KINDS] = { "default", "linear", "dynamic", "llama3", "yarn", "longrope" };

enum { KIND_SHOWN_MAX = 60 };

static Status kind_of(Str name, const char *where, RopeKind *out, Err *err)
{
    if (str_is(name, "none")) name = STR("default"); /* GGUF */
    if (str_is(name, "su")) name = STR("longrope");  /* the first Phi-3 configs */
    for (int i = 0; i < ROPE_KINDS; i++)
        if (str_is(name, kind_names[i])) {
            *out = (RopeKind)i;
            return OK;
        }
    return fail(err, E_UNSUPPORTED,
                "%s: rope type \"%.*s\" is not supported; supported: default, linear, dynamic, llama3, yarn, longrope",
                where, (int)MIN(name.n, (size_t)KIND_SHOWN_MAX), name.p);
}

static RopeSpec plain(double theta)
{
    return (RopeSpec){ .theta = theta, .factor = 1.0, .beta_fast = 32.0, .beta_slow = 1.0, .truncate = true };
}

/* ---- config.json ---- */

/* A positive number of the dictionary; absent or null: *out stays. */
static Status get(const json_t *dict, const char *key, double min, double max, double *out, Err *err)
{
    const json_t *j = json_object_get(dict, key);
    if (!j || json_is_null(j)) return OK;
    double x = json_is_number(j) ? json_number_value(j) : NAN;
    if (!(x >= min && x <= max))
        return fail(err, E_INVALID, "config.json: rope %s is not a number from %g to %g", key, min, max);
    *out = x;
    return OK;
}

static Status get_factors(const json_t *dict, const char *key, int want, float *out, int *n, Err *err)
{
    const json_t *list = json_object_get(dict, key);
    if (!json_is_array(list) || json_array_size(list) != (size_t)want)
        return fail(err, E_INVALID, "config.json: rope %s is not a list of %d numbers", key, want);
    for (int i = 0; i < want; i++) {
        const json_t *j = json_array_get(list, (size_t)i);
        double x = json_is_number(j) ? json_number_value(j) : 0.0;
        if (!(x >= 1e-6 && x <= 1e6)) return fail(err, E_INVALID, "config.json: rope %s[%d] is not above 0", key, i);
        out[i] = (float)x;
    }
    *n = want;
    return OK;
}

static Status read_orig(const json_t *config, const json_t *dict, const ModelConfig *c, RopeSpec *r, Err *err)
{
    double orig = c->n_ctx;
    TRY(get(config, "original_max_position_embeddings", 1, MODEL_CTX_MAX, &orig, err));
    TRY(get(dict, "original_max_position_embeddings", 1, MODEL_CTX_MAX, &orig, err));
    r->n_orig = (int)orig;
    return OK;
}

static Status read_yarn(const json_t *dict, RopeSpec *r, Err *err)
{
    TRY(get(dict, "beta_fast", 0, 1e6, &r->beta_fast, err));
    TRY(get(dict, "beta_slow", 0, 1e6, &r->beta_slow, err));
    TRY(get(dict, "mscale", 0, 1e3, &r->mscale, err));
    TRY(get(dict, "mscale_all_dim", 0, 1e3, &r->mscale_all_dim, err));
    if (r->beta_fast == 0.0) r->beta_fast = 32.0;
    if (r->beta_slow == 0.0) r->beta_slow = 1.0;
    r->truncate = !json_is_false(json_object_get(dict, "truncate"));
    return OK;
}

/* One dictionary: rope_scaling, rope_parameters, or the part of it for one kind of layer. */
static Status read_dict(const json_t *config, const json_t *dict, const ModelConfig *c, RopeSpec *r, Err *err)
{
    const json_t *type = json_object_get(dict, "rope_type");
    if (!type || json_is_null(type)) type = json_object_get(dict, "type");
    if (type && !json_is_null(type)) {
        if (!json_is_string(type)) return fail(err, E_INVALID, "config.json: rope_type is not a string");
        TRY(kind_of((Str){ json_string_value(type), json_string_length(type) }, "config.json", &r->kind, err));
    }
    TRY(get(dict, "rope_theta", 2, 1e12, &r->theta, err));
    if (r->kind == ROPE_PLAIN) return OK;
    double factor = 0.0;
    TRY(get(dict, "factor", 1e-3, 1e6, &factor, err));
    TRY(read_orig(config, dict, c, r, err));
    TRY(get(dict, "attention_factor", 1e-6, 1e6, &r->attn_factor, err));
    if (r->kind == ROPE_YARN) TRY(read_yarn(dict, r, err));
    if (r->kind == ROPE_LLAMA3) {
        r->low_freq = 1.0;
        r->high_freq = 4.0;
        TRY(get(dict, "low_freq_factor", 1e-6, 1e6, &r->low_freq, err));
        TRY(get(dict, "high_freq_factor", 1e-6, 1e6, &r->high_freq, err));
        if (r->high_freq <= r->low_freq)
            return fail(err, E_INVALID, "config.json: rope high_freq_factor is not above low_freq_factor");
    }
    if (r->kind == ROPE_LONGROPE) {
        TRY(get_factors(dict, "short_factor", c->rot_dim / 2, r->short_factor, &r->n_short, err));
        TRY(get_factors(dict, "long_factor", c->rot_dim / 2, r->long_factor, &r->n_long, err));
    }
    bool may_lack = r->kind == ROPE_LONGROPE || r->kind == ROPE_YARN;
    if (factor == 0.0 && !may_lack)
        return fail(err, E_INVALID, "config.json: rope type %s needs a factor", kind_names[r->kind]);
    r->factor = factor > 0.0 ? factor : (double)c->n_ctx / r->n_orig;
    return OK;
}

static Status set_rot_dim(ModelConfig *c, double partial, Err *err)
{
    if (c->rot_dim == 0) c->rot_dim = (int)(c->head_dim * partial);
    if (c->rot_dim < 2 || c->rot_dim % 2 != 0 || c->rot_dim > c->head_dim)
        return fail(err, E_UNSUPPORTED,
                    "rope over %d of %d dimensions of a head is not supported: it takes an even number", c->rot_dim,
                    c->head_dim);
    return OK;
}

static Status read_json(const ConfigSource *s, ModelConfig *c, Err *err)
{
    const json_t *dict = json_object_get(s->json, "rope_parameters");
    if (!json_is_object(dict)) dict = json_object_get(s->json, "rope_scaling");
    if (dict && !json_is_null(dict) && !json_is_object(dict))
        return fail(err, E_INVALID, "config.json: rope_scaling is not an object");
    const json_t *full = json_object_get(dict, "full_attention");
    const json_t *sliding = json_object_get(dict, "sliding_attention");
    bool per_kind = json_is_object(full) || json_is_object(sliding);
    double partial = (double)c->partial_rotary;
    TRY(get(per_kind ? full : dict, "partial_rotary_factor", 0.001, 1, &partial, err));
    TRY(set_rot_dim(c, partial, err));
    if (!per_kind) return json_is_object(dict) ? read_dict(s->json, dict, c, &c->rope[0], err) : OK;
    TRY(read_dict(s->json, full, c, &c->rope[0], err));
    if (c->rope_theta_local > 0.0f) return read_dict(s->json, sliding, c, &c->rope[1], err);
    return OK;
}

/* ---- GGUF ---- */

/* The divisors of all frequencies as a tensor, where the converter wrote them. */
static Status factor_tensor(const Checkpoint *c, const char *name, int want, float *out, int *n, Err *err)
{
    const TensorInfo *t = load_find(c, name);
    if (!t) return OK;
    if (t->dtype != DT_F32 || t->n_dims != 1 || t->shape[0] != want)
        return fail(err, E_CORRUPT, "tensor %s is not a vector of %d F32 numbers", name, want);
    memcpy(out, t->data, (size_t)want * sizeof(float));
    for (int i = 0; i < want; i++)
        if (!(out[i] >= 1e-6f && out[i] <= 1e6f))
            return fail(err, E_CORRUPT, "tensor %s holds numbers not above 0", name);
    *n = want;
    return OK;
}

static Status meta_number(const ConfigSource *s, const char *key, double min, double max, double *out, Err *err)
{
    double x;
    KeyFound found = config_number(s, NULL, key, &x);
    if (found == KEY_ABSENT) return OK;
    if (found != KEY_OK || !(x >= min && x <= max))
        return fail(err, E_INVALID, "%s.%s is not a number from %g to %g", s->prefix, key, min, max);
    *out = x;
    return OK;
}

static Status read_gguf(const ConfigSource *s, ModelConfig *c, Err *err)
{
    RopeSpec *r = &c->rope[0];
    char key[160];
    Str type;
    double orig = c->n_ctx;
    TRY(set_rot_dim(c, 1.0, err));
    snprintf(key, sizeof(key), "%s.rope.scaling.type", s->prefix);
    const Meta *m = load_meta_find(s->gguf, key);
    if (m) {
        if (!load_meta_str(m, 0, &type)) return fail(err, E_INVALID, "%s is not a string", key);
        TRY(kind_of(type, key, &r->kind, err));
    }
    TRY(meta_number(s, "rope.scale_linear", 1e-3, 1e6, &r->factor, err)); /* old files */
    TRY(meta_number(s, "rope.scaling.factor", 1e-3, 1e6, &r->factor, err));
    if (!m && r->factor != 1.0) r->kind = ROPE_LINEAR; /* what a factor meant before there were types */
    TRY(meta_number(s, "rope.scaling.original_context_length", 1, MODEL_CTX_MAX, &orig, err));
    TRY(meta_number(s, "rope.scaling.yarn_beta_fast", 1e-6, 1e6, &r->beta_fast, err));
    TRY(meta_number(s, "rope.scaling.yarn_beta_slow", 1e-6, 1e6, &r->beta_slow, err));
    double attn = 0.0;
    TRY(meta_number(s, "rope.scaling.attn_factor", 1e-6, 1e6, &attn, err));
    r->n_orig = (int)orig;
    int pairs = c->rot_dim / 2;
    TRY(factor_tensor(s->gguf, "rope_freqs.weight", pairs, r->short_factor, &r->n_short, err));
    if (load_find(s->gguf, "rope_factors_long.weight")) {
        TRY(factor_tensor(s->gguf, "rope_factors_short.weight", pairs, r->short_factor, &r->n_short, err));
        TRY(factor_tensor(s->gguf, "rope_factors_long.weight", pairs, r->long_factor, &r->n_long, err));
        if (r->n_short == 0) return fail(err, E_CORRUPT, "tensor rope_factors_short.weight is missing");
        r->kind = ROPE_LONGROPE;
        r->attn_factor = attn;
        r->factor = (double)c->n_ctx / r->n_orig;
    } else if (r->kind == ROPE_LONGROPE) {
        return fail(err, E_CORRUPT, "%s is longrope, but tensor rope_factors_long.weight is missing", key);
    }
    /* yarn's own factor comes on top of the one that files may state */
    if (r->kind == ROPE_YARN && attn > 0.0)
        r->attn_factor = attn * (r->factor > 1.0 ? 0.1 * log(r->factor) + 1.0 : 1.0);
    return OK;
}

Status rope_read(const ConfigSource *s, ModelConfig *c, Err *err)
{
    c->rope[0] = plain((double)c->rope_theta);
    c->rope[1] = plain((double)c->rope_theta_local);
    TRY(s->json ? read_json(s, c, err) : read_gguf(s, c, err));
    for (int i = 0; i < MODEL_ROPES_MAX; i++)
        if (c->rope[i].kind == ROPE_DYNAMIC && c->rot_dim <= 2)
            return fail(err, E_UNSUPPORTED, "dynamic rope over %d dimensions is not supported", c->rot_dim);
    return OK;
}

/* ---- the arithmetic ---- */

int rope_context_max(const ModelConfig *c)
{
    const RopeSpec *r = &c->rope[0];
    double n = c->n_ctx;
    if (r->kind == ROPE_DYNAMIC) n *= MAX(r->factor, 1.0);
    if (r->kind == ROPE_YARN) n = MAX(n, r->factor * r->n_orig);
    return (int)MIN(n, (double)MODEL_CTX_MAX);
}

/* The dimension that turns this many times within the original context. */
static double yarn_dim(const RopeSpec *r, int rot_dim, double turns)
{
    return rot_dim * log(r->n_orig / (turns * 2.0 * M_PI)) / (2.0 * log(r->theta));
}

/* Fast dimensions keep their frequency, slow ones are divided by the factor, a ramp lies between. */
static void yarn(const RopeSpec *r, int rot_dim, double *freq)
{
    double low = yarn_dim(r, rot_dim, r->beta_fast), high = yarn_dim(r, rot_dim, r->beta_slow);
    if (r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = MAX(low, 0.0);
    high = MIN(high, rot_dim - 1.0);
    if (low == high) high += 0.001;
    for (int i = 0; i < rot_dim / 2; i++) {
        double ramp = MIN(MAX((i - low) / (high - low), 0.0), 1.0);
        freq[i] = freq[i] / r->factor * ramp + freq[i] * (1.0 - ramp);
    }
}

static void llama3(const RopeSpec *r, int rot_dim, double *freq)
{
    for (int i = 0; i < rot_dim / 2; i++) {
        double turns = r->n_orig * freq[i] / (2.0 * M_PI); /* within the original context */
        double smooth = (turns - r->low_freq) / (r->high_freq - r->low_freq);
        smooth = MIN(MAX(smooth, 0.0), 1.0);
        freq[i] *= (1.0 - smooth) / r->factor + smooth;
    }
}

static double yarn_mscale(const RopeSpec *r)
{
    if (r->attn_factor > 0.0) return r->attn_factor;
    if (r->factor <= 1.0) return 1.0;
    double l = 0.1 * log(r->factor);
    if (r->mscale > 0.0 && r->mscale_all_dim > 0.0) return (r->mscale * l + 1.0) / (r->mscale_all_dim * l + 1.0);
    return l + 1.0;
}

static double longrope_mscale(const RopeSpec *r)
{
    if (r->attn_factor > 0.0) return r->attn_factor;
    if (r->factor <= 1.0 || r->n_orig <= 1) return 1.0;
    return sqrt(1.0 + log(r->factor) / log(r->n_orig));
}

static double theta_of(const RopeSpec *r, int rot_dim, int n_ctx, int context_length)
{
    if (r->kind != ROPE_DYNAMIC) return r->theta;
    double length = MAX(context_length, n_ctx);
    return r->theta * pow(r->factor * length / n_ctx - (r->factor - 1.0), rot_dim / (rot_dim - 2.0));
}

void rope_compute(const RopeSpec *r, int rot_dim, int n_ctx, int context_length, float *inv_freq, float *mscale)
{
    double freq[MODEL_ROPE_PAIRS_MAX], scale = 1.0;
    double theta = theta_of(r, rot_dim, n_ctx, context_length);
    CHECK(rot_dim / 2 <= MODEL_ROPE_PAIRS_MAX);
    bool use_long = r->kind == ROPE_LONGROPE && context_length > r->n_orig;
    for (int i = 0; i < rot_dim / 2; i++) {
        freq[i] = pow(theta, -2.0 * i / rot_dim);
        if (use_long)
            freq[i] /= (double)r->long_factor[i];
        else if (r->n_short)
            freq[i] /= (double)r->short_factor[i];
        if (r->kind == ROPE_LINEAR) freq[i] /= r->factor;
    }
    if (r->kind == ROPE_LLAMA3) llama3(r, rot_dim, freq);
    if (r->kind == ROPE_YARN) {
        yarn(r, rot_dim, freq);
        scale = yarn_mscale(r);
    }
    if (r->kind == ROPE_LONGROPE) scale = longrope_mscale(r);
    for (int i = 0; i < rot_dim / 2; i++) inv_freq[i] = (float)freq[i];
    *mscale = (float)scale;
}
