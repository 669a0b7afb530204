/* phi3.c - Phi-3, 3.5, 4 and 4-mini: the Llama block with q, k, v in one tensor and gate, up in another. */
#include "model/arch.h"

extern const Arch arch_phi3;

/* clang-format off */
#define HF   "model.layers.%d."
#define GGUF "blk.%d."
static const WeightSpec weights[] = {
    { W_EMBED,    0, "model.embed_tokens.weight",          "token_embd.weight",       DIM(n_vocab), DIM(d_model) },
    { W_IN_NORM,  0, HF "input_layernorm.weight",          GGUF "attn_norm.weight",   DIM(one),     DIM(d_model) },
    { W_QKV,      0, HF "self_attn.qkv_proj.weight",       GGUF "attn_qkv.weight",    DIM(d_qkv),   DIM(d_model) },
    { W_O,        0, HF "self_attn.o_proj.weight",         GGUF "attn_output.weight", DIM(d_model), DIM(d_q) },
    { W_FF_NORM,  0, HF "post_attention_layernorm.weight", GGUF "ffn_norm.weight",    DIM(one),     DIM(d_model) },
    { W_GATE_UP,  0, HF "mlp.gate_up_proj.weight",         GGUF "ffn_up.weight",      DIM(d_ff2),   DIM(d_model) },
    { W_DOWN,     0, HF "mlp.down_proj.weight",            GGUF "ffn_down.weight",    DIM(d_model), DIM(d_ff) },
    { W_OUT_NORM, 0, "model.norm.weight",                  "output_norm.weight",      DIM(one),     DIM(d_model) },
    { W_HEAD,     0, "lm_head.weight",                     "output.weight",           DIM(n_vocab), DIM(d_model), DIM(untied) },
    { 0 }
};

static const ConfigKey keys[] = {
    { "rms_norm_eps",   "attention.layer_norm_rms_epsilon", DIM(norm_eps), 'f', false, 1e-5, 0, 1 },
    { "sliding_window", "attention.sliding_window",         DIM(window),   'i', false, 0,    0, MODEL_CTX_MAX },
    { NULL,             NULL,                               DIM(pattern),  'i', false, -1,   -1, -1 },
    { 0 }
};
/* clang-format on */

const Arch arch_phi3 = {
    .hf_name = "Phi3ForCausalLM",
    .model_type = "phi3",
    .gguf_name = "phi3",
    .keys = keys,
    .weights = weights,
    .regs = arch_dense_regs,
    .first = arch_dense_first,
    .layer = arch_dense_layer,
    .last = arch_dense_last,
};
