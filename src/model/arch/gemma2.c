/* gemma2.c - Gemma 2: norms before and after each block, softcaps on scores and logits, every other layer windowed.
 *
 * Its norms multiply by (1 + weight); GGUF files have the 1 baked in, so norm_bias depends on the source. */
#include <math.h>

#include "model/arch.h"

extern const Arch arch_gemma2;

/* clang-format off */
#define HF   "model.layers.%d."
#define GGUF "blk.%d."
static const WeightSpec weights[] = {
    { W_EMBED,     0, "model.embed_tokens.weight",            "token_embd.weight",               DIM(n_vocab), DIM(d_model) },
    { W_IN_NORM,   0, HF "input_layernorm.weight",            GGUF "attn_norm.weight",           DIM(one),     DIM(d_model) },
    { W_QKV,       0, HF "self_attn.q_proj.weight",           GGUF "attn_q.weight",              DIM(d_q),     DIM(d_model) },
    { W_QKV,       1, HF "self_attn.k_proj.weight",           GGUF "attn_k.weight",              DIM(d_kv),    DIM(d_model) },
    { W_QKV,       2, HF "self_attn.v_proj.weight",           GGUF "attn_v.weight",              DIM(d_kv),    DIM(d_model) },
    { W_QKV_BIAS,  0, HF "self_attn.q_proj.bias",             GGUF "attn_q.bias",                DIM(one),     DIM(d_q),  DIM(attn_bias) },
    { W_QKV_BIAS,  1, HF "self_attn.k_proj.bias",             GGUF "attn_k.bias",                DIM(one),     DIM(d_kv), DIM(attn_bias) },
    { W_QKV_BIAS,  2, HF "self_attn.v_proj.bias",             GGUF "attn_v.bias",                DIM(one),     DIM(d_kv), DIM(attn_bias) },
    { W_O,         0, HF "self_attn.o_proj.weight",           GGUF "attn_output.weight",         DIM(d_model), DIM(d_q) },
    { W_O_BIAS,    0, HF "self_attn.o_proj.bias",             GGUF "attn_output.bias",           DIM(one),     DIM(d_model), DIM(attn_bias) },
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
    { OP_LINEAR, R_QKV, R_H,   W_QKV, W_QKV_BIAS },
    { OP_ROPE,   R_QKV, R_QKV },
    { OP_ATTN,   R_ATT, R_QKV },
    { OP_LINEAR, R_H,   R_ATT, W_O, W_O_BIAS },
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

static const ConfigKey keys[] = {
    { "tie_word_embeddings",     NULL,                              DIM(tied),          'b', false, 1,    0, 1 },
    { "hidden_activation",       NULL,                              DIM(act),           'a', false, 1,    0, 0 },
    { "head_dim",                "attention.key_length",            DIM(head_dim),      'i', false, 256,  1, MODEL_HEAD_DIM_MAX },
    { "sliding_window",          "attention.sliding_window",        DIM(window),        'i', false, 4096, 0, MODEL_CTX_MAX },
    { NULL,                      "attention.sliding_window_pattern", DIM(pattern),      'i', false, 2,    1, MODEL_LAYERS_MAX },
    { "query_pre_attn_scalar",   NULL,                              DIM(query_scalar),  'f', false, 0,    1, 1 << 20 },
    { "attn_logit_softcapping",  "attn_logit_softcapping",          DIM(attn_softcap),  'f', false, 50,   0, 1e6 },
    { "final_logit_softcapping", "final_logit_softcapping",         DIM(logit_softcap), 'f', false, 30,   0, 1e6 },
    { 0 }
};
/* clang-format on */

static void derive(ModelConfig *c)
{
    c->norm_bias = c->gguf ? 0.0f : 1.0f;
    c->embed_scale = sqrtf((float)c->d_model);
    /* GGUF does not keep query_pre_attn_scalar: the 27B (46 layers) is the one size where it is not head_dim. */
    if (c->query_scalar <= 0.0f) {
        bool is_27b = c->gguf && c->n_layer == 46;
        c->query_scalar = is_27b ? (float)c->d_model / (float)c->n_head : (float)c->head_dim;
    }
    if (c->attn_scale <= 0.0f) c->attn_scale = 1.0f / sqrtf(c->query_scalar);
}

const Arch arch_gemma2 = {
    .hf_name = "Gemma2ForCausalLM",
    .model_type = "gemma2",
    .gguf_name = "gemma2",
    .keys = keys,
    .weights = weights,
    .regs = arch_dense_regs,
    .first = arch_dense_first,
    .layer = layer,
    .last = arch_dense_last,
    .derive = derive,
};
