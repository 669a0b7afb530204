/* llama.c - Llama 2 and 3.x, SmolLM2, and Mistral, which is Llama with a sliding window.
 *
 * GGUF calls all of them "llama" and stores the rows of q and k for interleaved rope; `heads` undoes that. */
#include "model/arch.h"

extern const Arch arch_llama, arch_mistral;

/* clang-format off */
#define HF   "model.layers.%d."
#define GGUF "blk.%d."
static const WeightSpec weights[] = {
    { W_EMBED,        0, "model.embed_tokens.weight",          "token_embd.weight",       DIM(n_vocab), DIM(d_model) },
    { W_IN_NORM,      0, HF "input_layernorm.weight",          GGUF "attn_norm.weight",   DIM(one),     DIM(d_model) },
    { W_QKV,          0, HF "self_attn.q_proj.weight",         GGUF "attn_q.weight",      DIM(d_q),     DIM(d_model), .heads = DIM(n_head) },
    { W_QKV,          1, HF "self_attn.k_proj.weight",         GGUF "attn_k.weight",      DIM(d_kv),    DIM(d_model), .heads = DIM(n_kv_head) },
    { W_QKV,          2, HF "self_attn.v_proj.weight",         GGUF "attn_v.weight",      DIM(d_kv),    DIM(d_model) },
    { W_QKV_BIAS,     0, HF "self_attn.q_proj.bias",           GGUF "attn_q.bias",        DIM(one),     DIM(d_q),  DIM(attn_bias), DIM(n_head) },
    { W_QKV_BIAS,     1, HF "self_attn.k_proj.bias",           GGUF "attn_k.bias",        DIM(one),     DIM(d_kv), DIM(attn_bias), DIM(n_kv_head) },
    { W_QKV_BIAS,     2, HF "self_attn.v_proj.bias",           GGUF "attn_v.bias",        DIM(one),     DIM(d_kv), DIM(attn_bias) },
    { W_O,            0, HF "self_attn.o_proj.weight",         GGUF "attn_output.weight", DIM(d_model), DIM(d_q) },
    { W_O_BIAS,       0, HF "self_attn.o_proj.bias",           GGUF "attn_output.bias",   DIM(one),     DIM(d_model), DIM(attn_bias) },
    { W_FF_NORM,      0, HF "post_attention_layernorm.weight", GGUF "ffn_norm.weight",    DIM(one),     DIM(d_model) },
    { W_GATE_UP,      0, HF "mlp.gate_proj.weight",            GGUF "ffn_gate.weight",    DIM(d_ff),    DIM(d_model) },
    { W_GATE_UP,      1, HF "mlp.up_proj.weight",              GGUF "ffn_up.weight",      DIM(d_ff),    DIM(d_model) },
    { W_GATE_UP_BIAS, 0, HF "mlp.gate_proj.bias",              GGUF "ffn_gate.bias",      DIM(one),     DIM(d_ff), DIM(mlp_bias) },
    { W_GATE_UP_BIAS, 1, HF "mlp.up_proj.bias",                GGUF "ffn_up.bias",        DIM(one),     DIM(d_ff), DIM(mlp_bias) },
    { W_DOWN,         0, HF "mlp.down_proj.weight",            GGUF "ffn_down.weight",    DIM(d_model), DIM(d_ff) },
    { W_DOWN_BIAS,    0, HF "mlp.down_proj.bias",              GGUF "ffn_down.bias",      DIM(one),     DIM(d_model), DIM(mlp_bias) },
    { W_OUT_NORM,     0, "model.norm.weight",                  "output_norm.weight",      DIM(one),     DIM(d_model) },
    { W_HEAD,         0, "lm_head.weight",                     "output.weight",           DIM(n_vocab), DIM(d_model), DIM(untied) },
    { 0 }
};

/* Llama's config.json has no window; a GGUF "llama" with one is a Mistral. */
static const ConfigKey llama_keys[] = {
    { NULL, "attention.sliding_window", DIM(window), 'i', false, 0, 0, MODEL_CTX_MAX },
    { NULL, NULL, DIM(pattern), 'i', false, -1, -1, -1 },
    { 0 }
};
static const ConfigKey mistral_keys[] = {
    { "sliding_window", NULL, DIM(window), 'i', false, 4096, 0, MODEL_CTX_MAX },
    { NULL, NULL, DIM(pattern), 'i', false, -1, -1, -1 },
    { 0 }
};
/* clang-format on */

const Arch arch_llama = {
    .hf_name = "LlamaForCausalLM",
    .model_type = "llama",
    .gguf_name = "llama",
    .keys = llama_keys,
    .weights = weights,
    .regs = arch_dense_regs,
    .first = arch_dense_first,
    .layer = arch_dense_layer,
    .last = arch_dense_last,
};

const Arch arch_mistral = {
    .hf_name = "MistralForCausalLM",
    .model_type = "mistral",
    .keys = mistral_keys,
    .weights = weights,
    .regs = arch_dense_regs,
    .first = arch_dense_first,
    .layer = arch_dense_layer,
    .last = arch_dense_last,
};
