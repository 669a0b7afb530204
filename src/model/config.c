/* config.c - reads config.json (as transformers 4 and 5 write it) or GGUF metadata into a ModelConfig.
 *
 * Which keys there are is a table: the common one below, and each family's own, whose rows replace common rows of the same
 * field. After the keys: which layers are windowed, rope, the family's derive, and the checks that relate numbers.
 * Any thread. */
#include "model/config.h"

#include <math.h>
#include <stdio.h>

#include "backend/backend.h"

enum { CONFIG_JSON_MAX = 16 << 20, NAME_MAX_SHOWN = 80 };

/* clang-format off */
static const ConfigKey common[] = {
    { "num_hidden_layers",       "block_count",                      DIM(n_layer),       'i', true,  0,    1, MODEL_LAYERS_MAX },
    { "num_attention_heads",     "attention.head_count",             DIM(n_head),        'i', true,  0,    1, MODEL_HEADS_MAX },
    { "num_key_value_heads",     "attention.head_count_kv",          DIM(n_kv_head),     'i', false, 0,    1, MODEL_HEADS_MAX },
    { "head_dim",                "attention.key_length",             DIM(head_dim),      'i', false, 0,    1, MODEL_HEAD_DIM_MAX },
    { NULL,                      "attention.value_length",           DIM(v_dim),         'i', false, 0,    1, MODEL_HEAD_DIM_MAX },
    { "hidden_size",             "embedding_length",                 DIM(d_model),       'i', true,  0,    1, MODEL_WIDTH_MAX },
    { "intermediate_size",       "feed_forward_length",              DIM(d_ff),          'i', true,  0,    1, MODEL_FF_MAX },
    { "vocab_size",              "vocab_size",                       DIM(n_vocab),       'i', false, 0,    1, MODEL_VOCAB_MAX },
    { "max_position_embeddings", "context_length",                   DIM(n_ctx),         'i', false, 2048, 1, MODEL_CTX_MAX },
    { "rms_norm_eps",            "attention.layer_norm_rms_epsilon", DIM(norm_eps),      'f', false, 1e-6, 0, 1 },
    { "hidden_act",              NULL,                               DIM(act),           'a', false, 0,    0, 0 },
    { "attention_bias",          NULL,                               DIM(attn_bias),     'b', false, 0,    0, 1 },
    { "mlp_bias",                NULL,                               DIM(mlp_bias),      'b', false, 0,    0, 1 },
    { "tie_word_embeddings",     NULL,                               DIM(tied),          'b', false, 0,    0, 1 },
    { "partial_rotary_factor",   NULL,                               DIM(partial_rotary), 'f', false, 1,   0.001, 1 },
    { "rope_theta",              "rope.freq_base",                   DIM(rope_theta),    'f', false, 1e4,  2, 1e12 },
    { NULL,                      "rope.dimension_count",             DIM(rot_dim),       'i', false, 0,    2, MODEL_HEAD_DIM_MAX },
    { NULL,                      "attention.scale",                  DIM(attn_scale),    'f', false, 0,    0, 1e6 },
    { 0 }
};

static const struct { const char *name; int act; } activations[] = {
    { "silu", GLU_SILU }, { "swish", GLU_SILU }, { "gelu", GLU_GELU_ERF }, { "gelu_pytorch_tanh", GLU_GELU_TANH },
    { "gelu_new", GLU_GELU_TANH },
};
/* clang-format on */

/* ---- single keys ---- */

static KeyFound json_number(const json_t *j, double *out)
{
    if (!j) return KEY_ABSENT;
    if (json_is_null(j)) return KEY_NULL;
    if (json_is_boolean(j)) {
        *out = json_is_true(j) ? 1.0 : 0.0;
        return KEY_OK;
    }
    if (!json_is_number(j)) return KEY_BAD;
    *out = json_number_value(j);
    return isfinite(*out) ? KEY_OK : KEY_BAD;
}

static KeyFound gguf_number(const Checkpoint *c, const char *prefix, const char *key, double *out)
{
    char full[160];
    snprintf(full, sizeof(full), "%s.%s", prefix, key);
    const Meta *m = load_meta_find(c, full);
    if (!m) return KEY_ABSENT;
    if (m->count == 0 || m->count > MODEL_LAYERS_MAX) return KEY_BAD;
    for (size_t i = 0; i < m->count; i++) {
        int64_t n;
        double x;
        bool flag;
        if (load_meta_i64(m, i, &n))
            x = (double)n;
        else if (load_meta_bool(m, i, &flag))
            x = flag ? 1.0 : 0.0;
        else if (!load_meta_f64(m, i, &x) || !isfinite(x))
            return KEY_BAD;
        if (i && x != *out) return KEY_BAD; /* layers that differ: nothing here can say that */
        *out = x;
    }
    return KEY_OK;
}

KeyFound config_number(const ConfigSource *s, const char *hf, const char *gguf, double *out)
{
    if (s->json) return hf ? json_number(json_object_get(s->json, hf), out) : KEY_ABSENT;
    return gguf ? gguf_number(s->gguf, s->prefix, gguf, out) : KEY_ABSENT;
}

static void key_name(const ConfigSource *s, const ConfigKey *k, char *out, size_t n)
{
    if (s->json)
        snprintf(out, n, "config.json: %s", k->hf);
    else
        snprintf(out, n, "%s.%s", s->prefix, k->gguf);
}

static void set_field(ModelConfig *c, const ConfigKey *k, double value)
{
    int i = (int)value;
    float f = (float)value;
    if (k->type == 'f')
        memcpy((char *)c + k->field, &f, sizeof(f));
    else
        memcpy((char *)c + k->field, &i, sizeof(i));
}

static Status read_activation(const ConfigSource *s, const ConfigKey *k, ModelConfig *c, Err *err)
{
    const json_t *j = s->json && k->hf ? json_object_get(s->json, k->hf) : NULL;
    c->act = (int)k->dflt;
    if (!j || json_is_null(j)) return OK;
    const char *name = json_string_value(j);
    if (!name) return fail(err, E_INVALID, "config.json: %s is not a string", k->hf);
    for (size_t i = 0; i < COUNT(activations); i++)
        if (strcmp(name, activations[i].name) == 0) {
            c->act = activations[i].act;
            return OK;
        }
    return fail(err, E_UNSUPPORTED,
                "config.json: %s \"%.*s\" is not supported; supported: silu, gelu, gelu_pytorch_tanh, gelu_new", k->hf,
                NAME_MAX_SHOWN, name);
}

static Status read_key(const ConfigSource *s, const ConfigKey *k, ModelConfig *c, Err *err)
{
    if (k->type == 'a') return read_activation(s, k, c, err);
    double x = 0.0;
    char name[200];
    KeyFound found = config_number(s, k->hf, k->gguf, &x);
    if (found == KEY_ABSENT && !k->required) {
        set_field(c, k, k->dflt);
        return OK;
    }
    key_name(s, k, name, sizeof(name));
    if (found == KEY_ABSENT) return fail(err, E_INVALID, "%s is missing", name);
    if (found == KEY_NULL && k->required) return fail(err, E_INVALID, "%s is null", name);
    if (found == KEY_NULL) {
        set_field(c, k, 0.0);
        return OK;
    }
    if (found == KEY_BAD)
        return fail(err, E_INVALID, "%s is not one number%s", name, s->gguf ? " (the same for all layers)" : "");
    if (k->type != 'f' && x != floor(x)) return fail(err, E_INVALID, "%s is %g, expected a whole number", name, x);
    /* 0 often stands for "none", as null does */
    if (!(x >= k->min && x <= k->max) && !(x == 0.0 && !k->required && k->min > 0.0 && k->dflt == 0.0))
        return fail(err, E_INVALID, "%s is %g, expected %g to %g", name, x, k->min, k->max);
    set_field(c, k, x);
    return OK;
}

static bool family_has(const Arch *arch, Dim field)
{
    for (const ConfigKey *k = arch->keys; k && k->field; k++)
        if (k->field == field) return true;
    return false;
}

static Status read_keys(const ConfigSource *s, const Arch *arch, ModelConfig *c, Err *err)
{
    for (const ConfigKey *k = common; k->field; k++)
        if (!family_has(arch, k->field)) TRY(read_key(s, k, c, err));
    for (const ConfigKey *k = arch->keys; k && k->field; k++) {
        bool per_layer = k->field == DIM(pattern) && s->gguf; /* may be an array: read_layer_kinds */
        if (per_layer)
            c->pattern = (int)k->dflt;
        else
            TRY(read_key(s, k, c, err));
    }
    return OK;
}

/* ---- which layers are windowed ---- */

static Status layer_types_json(const json_t *types, ModelConfig *c, Err *err)
{
    if (!json_is_array(types) || json_array_size(types) != (size_t)c->n_layer)
        return fail(err, E_INVALID, "config.json: layer_types is not a list of num_hidden_layers (%d) names",
                    c->n_layer);
    for (int i = 0; i < c->n_layer; i++) {
        const char *kind = json_string_value(json_array_get(types, (size_t)i));
        if (kind && strcmp(kind, "sliding_attention") == 0)
            c->windowed[i] = 1;
        else if (kind && strcmp(kind, "full_attention") == 0)
            c->windowed[i] = 0;
        else
            return fail(
                err, E_UNSUPPORTED,
                "config.json: layer_types[%d] \"%.*s\" is not supported; supported: full_attention, sliding_attention",
                i, NAME_MAX_SHOWN, kind ? kind : "(not a string)");
    }
    return OK;
}

static Status layer_kinds_gguf(const ConfigSource *s, ModelConfig *c, Err *err)
{
    char key[160];
    snprintf(key, sizeof(key), "%s.attention.sliding_window_pattern", s->prefix);
    const Meta *m = load_meta_find(s->gguf, key);
    int64_t n;
    if (!m) return OK;
    if (m->type != META_ARRAY) {
        if (!load_meta_i64(m, 0, &n) || n < 0 || n > MODEL_LAYERS_MAX)
            return fail(err, E_INVALID, "%s is not a number from 0 to %d", key, MODEL_LAYERS_MAX);
        c->pattern = (int)n;
        return OK;
    }
    if (m->count < (size_t)c->n_layer) return fail(err, E_INVALID, "%s has fewer elements than layers", key);
    for (int i = 0; i < c->n_layer; i++) {
        bool flag;
        if (load_meta_bool(m, (size_t)i, &flag))
            c->windowed[i] = flag;
        else if (load_meta_i64(m, (size_t)i, &n))
            c->windowed[i] = n != 0;
        else
            return fail(err, E_INVALID, "%s is not an array of booleans", key);
    }
    c->pattern = -2; /* said layer by layer */
    return OK;
}

static Status read_layer_kinds(const ConfigSource *s, ModelConfig *c, Err *err)
{
    if (s->gguf) TRY(layer_kinds_gguf(s, c, err));
    if (c->pattern != -2)
        for (int i = 0; i < c->n_layer; i++)
            c->windowed[i] = c->pattern == -1 || (c->pattern > 0 && i % c->pattern < c->pattern - 1);
    return OK;
}

/* ---- the whole ---- */

/* Many GGUF files do not say vocab_size: the embedding has that many rows. */
static void vocab_from_table(const ConfigSource *s, ModelConfig *c)
{
    const TensorInfo *t = s->gguf ? load_find(s->gguf, "token_embd.weight") : NULL;
    if (t && t->n_dims == 2 && t->shape[0] > 0 && t->shape[0] <= MODEL_VOCAB_MAX) c->n_vocab = (int)t->shape[0];
}

static Status check_sums(const ConfigSource *s, ModelConfig *c, Err *err)
{
    const char *where = s->json ? "config.json" : s->prefix;
    if (c->n_vocab == 0) return fail(err, E_INVALID, "%s: vocab_size is missing", where);
    if (c->n_head % c->n_kv_head != 0)
        return fail(err, E_INVALID, "%s: %d attention heads cannot share %d key-value heads evenly", where, c->n_head,
                    c->n_kv_head);
    if (c->v_dim && c->v_dim != c->head_dim)
        return fail(err, E_UNSUPPORTED, "%s: heads of %d for keys and %d for values: only equal sizes are supported",
                    where, c->head_dim, c->v_dim);
    if (c->head_dim % 2 != 0)
        return fail(err, E_UNSUPPORTED, "%s: head_dim is %d, and rope needs an even one", where, c->head_dim);
    if (c->norm_eps <= 0.0f) return fail(err, E_INVALID, "%s: the epsilon of the RMS norm is not above 0", where);
    return OK;
}

static void derive_common(ModelConfig *c)
{
    if (c->n_kv_head == 0) c->n_kv_head = c->n_head;
    if (c->head_dim == 0) c->head_dim = MAX(c->d_model / c->n_head, 1);
    c->one = 1;
    c->embed_scale = 1.0f;
    c->d_q = c->n_head * c->head_dim;
    c->d_kv = c->n_kv_head * c->head_dim;
    c->d_qkv = c->d_q + 2 * c->d_kv;
    c->d_ff2 = 2 * c->d_ff;
}

static Status complete(const ConfigSource *s, const Arch *arch, ModelConfig *c, Err *err)
{
    c->gguf = s->gguf != NULL;
    TRY(read_keys(s, arch, c, err));
    derive_common(c);
    vocab_from_table(s, c);
    TRY(read_layer_kinds(s, c, err));
    TRY(check_sums(s, c, err));
    TRY(rope_read(s, c, err));
    if (arch->derive) arch->derive(c);
    const json_t *types = s->json ? json_object_get(s->json, "layer_types") : NULL;
    if (types && !json_is_null(types)) TRY(layer_types_json(types, c, err));
    if (c->attn_scale <= 0.0f) c->attn_scale = 1.0f / sqrtf((float)c->head_dim);
    if (c->window == 0) memset(c->windowed, 0, sizeof(c->windowed));
    return OK;
}

static Str json_str(const json_t *j)
{
    const char *p = json_string_value(j);
    return p ? (Str){ p, json_string_length(j) } : (Str){ "", 0 };
}

static Status unknown_arch(Str name, bool gguf, Err *err)
{
    Buf known = { 0 };
    arch_names(&known, gguf);
    Status st = fail(err, E_UNSUPPORTED, "architecture \"%.*s\" is not supported; supported: %.*s",
                     (int)MIN(name.n, (size_t)NAME_MAX_SHOWN), name.p, STR_FMT(buf_view(&known)));
    buf_free(&known);
    return st;
}

static Status from_root(const json_t *root, const Arch **arch, ModelConfig *out, Err *err)
{
    if (!json_is_object(root)) return fail(err, E_INVALID, "config.json is not a JSON object");
    Str name = json_str(json_array_get(json_object_get(root, "architectures"), 0));
    Str type = json_str(json_object_get(root, "model_type"));
    if (name.n == 0 && type.n == 0) return fail(err, E_INVALID, "config.json has neither architectures nor model_type");
    *arch = arch_of_hf(name, type);
    if (!*arch) return unknown_arch(name.n ? name : type, false, err);
    const json_t *quant = json_object_get(root, "quantization_config");
    if (quant && !json_is_null(quant)) {
        Str method = json_str(json_object_get(quant, "quant_method"));
        return fail(err, E_UNSUPPORTED,
                    "config.json: quantization_config with quant_method \"%.*s\" is not supported; supported: "
                    "F32, F16 and BF16 safetensors without it, and GGUF files",
                    (int)MIN(method.n, (size_t)NAME_MAX_SHOWN), method.p);
    }
    const json_t *text = json_object_get(root, "text_config");
    ConfigSource s = { .json = json_is_object(text) ? text : root };
    TRY(complete(&s, *arch, out, err));
    /* "not tied" counts only when it is said: a head that is missing then is a damaged file */
    const json_t *tie = json_object_get(s.json, "tie_word_embeddings");
    out->untied = json_is_false(tie);
    return OK;
}

Status config_from_json(Str text, const Arch **arch, ModelConfig *out, Err *err)
{
    memset(out, 0, sizeof(*out));
    if (text.n > CONFIG_JSON_MAX) return fail(err, E_LIMIT, "config.json is over %d MiB", CONFIG_JSON_MAX >> 20);
    json_error_t why;
    json_t *root = json_loadb(text.p, text.n, 0, &why);
    if (!root) return fail(err, E_CORRUPT, "config.json: line %d: %s", why.line, why.text);
    Status st = from_root(root, arch, out, err);
    json_decref(root);
    return st;
}

static Status from_gguf(Checkpoint *c, const Arch **arch, ModelConfig *out, Err *err)
{
    Str name;
    char prefix[64];
    const Meta *m = load_meta_find(c, "general.architecture");
    if (!m || !load_meta_str(m, 0, &name)) return fail(err, E_INVALID, "general.architecture is missing");
    *arch = arch_of_gguf(name);
    if (!*arch) return unknown_arch(name, true, err);
    snprintf(prefix, sizeof(prefix), "%.*s", STR_FMT(name));
    memset(out, 0, sizeof(*out));
    ConfigSource s = { .gguf = c, .prefix = prefix };
    return complete(&s, *arch, out, err);
}

Status config_read(Checkpoint *c, const Arch **arch, ModelConfig *out, Err *err)
{
    if (load_kind(c) == LOAD_GGUF) return from_gguf(c, arch, out, err);
    Str text = load_side_file(c, "config.json");
    if (!text.p) return fail(err, E_NOT_FOUND, "config.json is missing");
    return config_from_json(text, arch, out, err);
}
