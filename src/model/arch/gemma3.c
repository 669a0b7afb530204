/* gemma3.c - the text model of Gemma 3: Gemma 2's sandwich of norms, q and k norms instead of softcaps, and five windowed
 * layers to each that sees everything; the two kinds turn by different rope bases.
 *
 * Its norms multiply by (1 + weight); GGUF files have the 1 baked in, so norm_bias depends on the source. */
#include <math.h>

#include "model/arch.h"

extern const Arch arch_gemma3, arch_gemma3_mm;

/* clang-format off */
#define HF   "model.layers.%d."
#define GGUF "blk.%d."
static const WeightSpec weights[] = {
    { W_EMBED,     0, "model.embed_tokens.weight",            "token_embd.weight",               DIM(n_vocab), DIM(d_model) },
    { W_IN_NORM,   0, HF "input_layernorm.weight",            GGUF "attn_norm.weight",           DIM(one),     DIM(d_model) },
    { W_QKV,       0, HF "self_attn.q_proj.weight",           GGUF "attn_q.weight",              DIM(d_q),     DIM(d_model) },
    { W_QKV,       1, HF "self_attn.k_proj.weight",           GGUF "attn_k.weight",              DIM(d_kv),    DIM(d_model) },
    { W_QKV,       2, HF "self_attn.v_proj.weight",           GGUF "attn_v.weight",              DIM(d_kv),    DIM(d_model) },
    { W_Q_NORM,    0, HF "self_attn.q_norm.weight",           GGUF "attn_q_norm.weight",         DIM(one),     DIM(head_dim) },
    { W_K_NORM,    0, HF "self_attn.k_norm.weight",           GGUF "attn_k_norm.weight",         DIM(one),     DIM(head_dim) },
    { W_O,         0, HF "self_attn.o_proj.weight",           GGUF "attn_output.weight",         DIM(d_model), DIM(d_q) },
    { W_ATT_NORM,  0, HF "post_attention_layernorm.weight",   GGUF "post_attention_norm.weight", DIM(one),     DIM(d_model) },
    { W_FF_NORM,   0, HF "pre_feedforward_layernorm.weight",  GGUF "ffn_norm.weight",            DIM(one),     DIM(d_model) },
    { W_GATE_UP,   0, HF "mlp.gate_proj.weight",              GGUF "ffn_gate.weight",            DIM(d_ff),    DIM(d_model) },
    { W_GATE_UP,   1, HF "mlp.up_proj.weight",                GGUF "ffn_up.weight",              DIM(d_ff),    DIM(d_model) },
    { W_DOWN,      0, HF "mlp.down_proj.weight",              GGUF "ffn_down.weight",            DIM(d_model), DIM(d_ff) },
    { W_DOWN_NORM, 0, HF "post_feedforward_layernorm.weight", GGUF "post_ffw_norm.weight",       DIM(one),     DIM(d_model) },
    { W_OUT_NORM,  0, "model.norm.weight",                    "output_norm.weight",              DIM(one),     DIM(d_model) },
    { W_HEAD,      0, "lm_head.weight",                       "output.weight",                   DIM(n_vocab), DIM(d_model), DIM(untied) },
    { 0 }
};

static const Step layer[] = {
    { OP_NORM,   R_H,   R_X,   W_IN_NORM },
    { OP_LINEAR, R_QKV, R_H,   W_QKV },
    { OP_Q_NORM, R_QKV, R_QKV, W_Q_NORM },
    { OP_K_NORM, R_QKV, R_QKV, W_K_NORM },
    { OP_ROPE,   R_QKV, R_QKV },
    { OP_ATTN,   R_ATT, R_QKV },
    { OP_LINEAR, R_H,   R_ATT, W_O },
    { OP_NORM,   R_T,   R_H,   W_ATT_NORM },
    { OP_ADD,    R_X,   R_T },
    { OP_NORM,   R_H,   R_X,   W_FF_NORM },
    { OP_LINEAR, R_GU,  R_H,   W_GATE_UP },
    { OP_GLU,    R_FF,  R_GU },
    { OP_LINEAR, R_H,   R_FF,  W_DOWN },
    { OP_NORM,   R_T,   R_H,   W_DOWN_NORM },
    { OP_ADD,    R_X,   R_T },
    { OP_END }
};

/* Published configs leave out what equals the class's defaults, so those stand here. */
static const ConfigKey keys[] = {
    { "tie_word_embeddings",     NULL,                      DIM(tied),             'b', false, 1,       0, 1 },
    { "hidden_activation",       NULL,                      DIM(act),              'a', false, 1,       0, 0 },
    { "num_attention_heads",     "attention.head_count",    DIM(n_head),           'i', false, 8,       1, MODEL_HEADS_MAX },
    { "num_key_value_heads",     "attention.head_count_kv", DIM(n_kv_head),        'i', false, 4,       1, MODEL_HEADS_MAX },
    { "head_dim",                "attention.key_length",    DIM(head_dim),         'i', false, 256,     1, MODEL_HEAD_DIM_MAX },
    { "vocab_size",              "vocab_size",              DIM(n_vocab),          'i', false, 262208,  1, MODEL_VOCAB_MAX },
    { "max_position_embeddings", "context_length",          DIM(n_ctx),            'i', false, 131072,  1, MODEL_CTX_MAX },
    { "rope_theta",              "rope.freq_base",          DIM(rope_theta),       'f', false, 1000000, 2, 1e12 },
    { "rope_local_base_freq",    "rope.freq_base_swa",      DIM(rope_theta_local), 'f', false, 10000,   2, 1e12 },
    { "sliding_window",          "attention.sliding_window", DIM(window),          'i', false, 4096,    0, MODEL_CTX_MAX },
    { "sliding_window_pattern",  "attention.sliding_window_pattern", DIM(pattern), 'i', false, 6,       1, MODEL_LAYERS_MAX },
    { "query_pre_attn_scalar",   NULL,                      DIM(query_scalar),     'f', false, 0,       1, 1 << 20 },
    { "attn_logit_softcapping",  "attn_logit_softcapping",  DIM(attn_softcap),     'f', false, 0,       0, 1e6 },
    { "final_logit_softcapping", "final_logit_softcapping", DIM(logit_softcap),    'f', false, 0,       0, 1e6 },
    { 0 }
};
/* clang-format on */

static void derive(ModelConfig *c)
{
    c->norm_bias = c->gguf ? 0.0f : 1.0f;
    c->embed_scale = sqrtf((float)c->d_model);
    /* GGUF does not keep query_pre_attn_scalar: the 27B (62 layers) is the one size where it is not 256. */
    if (c->query_scalar <= 0.0f) {
        bool is_27b = c->gguf && c->n_layer == 62;
        float own = c->gguf ? (float)c->head_dim : 256.0f;
        c->query_scalar = is_27b ? (float)c->d_model / (float)c->n_head : own;
    }
    if (c->attn_scale <= 0.0f) c->attn_scale = 1.0f / sqrtf(c->query_scalar);
}

static void plan_layer(const ModelConfig *c, int i, LayerPlan *out)
{
    out->rope = c->windowed[i] ? 1 : 0;
}

const Arch arch_gemma3 = {
    .hf_name = "Gemma3ForCausalLM",
    .model_type = "gemma3_text",
    .gguf_name = "gemma3",
    .keys = keys,
    .weights = weights,
    .regs = arch_dense_regs,
    .first = arch_dense_first,
    .layer = layer,
    .last = arch_dense_last,
    .derive = derive,
    .plan_layer = plan_layer,
};

/* The 4B and larger ones come with a vision tower: here only their text model is read. */
const Arch arch_gemma3_mm = {
    .hf_name = "Gemma3ForConditionalGeneration",
    .model_type = "gemma3",
    .keys = keys,
    .weights = weights,
    .regs = arch_dense_regs,
    .first = arch_dense_first,
    .layer = layer,
    .last = arch_dense_last,
    .derive = derive,
    .plan_layer = plan_layer,
};
