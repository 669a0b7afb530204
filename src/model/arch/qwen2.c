/* qwen2.c - Qwen2 and Qwen2.5: the Llama block with biases on q, k and v. */
#include "model/arch.h"

extern const Arch arch_qwen2;

/* clang-format off */
#define HF   "model.layers.%d."
#define GGUF "blk.%d."
static const WeightSpec weights[] = {
    { W_EMBED,    0, "model.embed_tokens.weight",          "token_embd.weight",       DIM(n_vocab), DIM(d_model) },
    { W_IN_NORM,  0, HF "input_layernorm.weight",          GGUF "attn_norm.weight",   DIM(one),     DIM(d_model) },
    { W_QKV,      0, HF "self_attn.q_proj.weight",         GGUF "attn_q.weight",      DIM(d_q),     DIM(d_model) },
    { W_QKV,      1, HF "self_attn.k_proj.weight",         GGUF "attn_k.weight",      DIM(d_kv),    DIM(d_model) },
    { W_QKV,      2, HF "self_attn.v_proj.weight",         GGUF "attn_v.weight",      DIM(d_kv),    DIM(d_model) },
    { W_QKV_BIAS, 0, HF "self_attn.q_proj.bias",           GGUF "attn_q.bias",        DIM(one),     DIM(d_q) },
    { W_QKV_BIAS, 1, HF "self_attn.k_proj.bias",           GGUF "attn_k.bias",        DIM(one),     DIM(d_kv) },
    { W_QKV_BIAS, 2, HF "self_attn.v_proj.bias",           GGUF "attn_v.bias",        DIM(one),     DIM(d_kv) },
    { W_O,        0, HF "self_attn.o_proj.weight",         GGUF "attn_output.weight", DIM(d_model), DIM(d_q) },
    { W_FF_NORM,  0, HF "post_attention_layernorm.weight", GGUF "ffn_norm.weight",    DIM(one),     DIM(d_model) },
    { W_GATE_UP,  0, HF "mlp.gate_proj.weight",            GGUF "ffn_gate.weight",    DIM(d_ff),    DIM(d_model) },
    { W_GATE_UP,  1, HF "mlp.up_proj.weight",              GGUF "ffn_up.weight",      DIM(d_ff),    DIM(d_model) },
    { W_DOWN,     0, HF "mlp.down_proj.weight",            GGUF "ffn_down.weight",    DIM(d_model), DIM(d_ff) },
    { W_OUT_NORM, 0, "model.norm.weight",                  "output_norm.weight",      DIM(one),     DIM(d_model) },
    { W_HEAD,     0, "lm_head.weight",                     "output.weight",           DIM(n_vocab), DIM(d_model), DIM(untied) },
    { 0 }
};

static const ConfigKey keys[] = {
    { "use_sliding_window", NULL, DIM(use_window),        'b', false, 0,  0, 1 },
    { "max_window_layers",  NULL, DIM(max_window_layers), 'i', false, 28, 0, MODEL_LAYERS_MAX },
    { "sliding_window",     NULL, DIM(window),            'i', false, 4096, 0, MODEL_CTX_MAX },
    { 0 }
};
/* clang-format on */

const Arch arch_qwen2 = {
    .hf_name = "Qwen2ForCausalLM",
    .model_type = "qwen2",
    .gguf_name = "qwen2",
    .keys = keys,
    .weights = weights,
    .regs = arch_dense_regs,
    .first = arch_dense_first,
    .layer = arch_dense_layer,
    .last = arch_dense_last,
    .derive = arch_window_from_layer,
};
