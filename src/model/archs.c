/* archs.c - the list of model families, and the tables that the dense ones share. */
#include "model/arch.h"

extern const Arch arch_llama, arch_mistral, arch_qwen2, arch_qwen3, arch_gemma2, arch_gemma3, arch_gemma3_mm, arch_phi3;

/* A family's first row here is the one whose name is printed for GGUF files. */
const Arch *const archs[] = { &arch_llama,  &arch_mistral,   &arch_qwen2, &arch_qwen3, &arch_gemma2,
                              &arch_gemma3, &arch_gemma3_mm, &arch_phi3,  NULL };

/* clang-format off */
const RegSpec arch_dense_regs[R_REGS] = {
    [R_X]      = { "x",      DIM(d_model) }, /* the residual stream */
    [R_H]      = { "h",      DIM(d_model) }, /* its norm */
    [R_QKV]    = { "qkv",    DIM(d_qkv) },
    [R_ATT]    = { "att",    DIM(d_q) },
    [R_GU]     = { "gu",     DIM(d_ff2) },   /* gate | up */
    [R_FF]     = { "ff",     DIM(d_ff) },
    [R_T]      = { "t",      DIM(d_model) }, /* what a block adds to x */
    [R_LOGITS] = { "logits", DIM(n_vocab) },
};

const Step arch_dense_first[] = { { OP_EMBED, R_X, R_NONE, W_EMBED }, { OP_END } };

/* The Llama block. Norms of q and k heads, and all biases, are left out where a family has no such weight. */
const Step arch_dense_layer[] = {
    { OP_NORM,   R_H,   R_X,   W_IN_NORM },
    { OP_LINEAR, R_QKV, R_H,   W_QKV, W_QKV_BIAS },
    { OP_Q_NORM, R_QKV, R_QKV, W_Q_NORM },
    { OP_K_NORM, R_QKV, R_QKV, W_K_NORM },
    { OP_ROPE,   R_QKV, R_QKV },
    { OP_ATTN,   R_ATT, R_QKV },
    { OP_LINEAR, R_T,   R_ATT, W_O, W_O_BIAS },
    { OP_ADD,    R_X,   R_T },
    { OP_NORM,   R_H,   R_X,   W_FF_NORM },
    { OP_LINEAR, R_GU,  R_H,   W_GATE_UP, W_GATE_UP_BIAS },
    { OP_GLU,    R_FF,  R_GU },
    { OP_LINEAR, R_T,   R_FF,  W_DOWN, W_DOWN_BIAS },
    { OP_ADD,    R_X,   R_T },
    { OP_END }
};

const Step arch_dense_last[] = {
    { OP_NORM,    R_H,      R_X,      W_OUT_NORM },
    { OP_LINEAR,  R_LOGITS, R_H,      W_HEAD },
    { OP_SOFTCAP, R_LOGITS, R_LOGITS },
    { OP_END }
};
/* clang-format on */

/* The window is a setting that is off in all published checkpoints; where it is on, the first layers see everything. */
void arch_window_from_layer(ModelConfig *c)
{
    if (!c->use_window) {
        c->window = 0;
        return;
    }
    for (int i = c->max_window_layers; i < c->n_layer; i++) c->windowed[i] = 1;
}

const Arch *arch_of_hf(Str hf_name, Str model_type)
{
    for (const Arch *const *a = archs; *a; a++)
        if (str_is(hf_name, (*a)->hf_name)) return *a;
    if (hf_name.n) return NULL; /* a name we do not know may be a variant with the same model_type: do not guess */
    for (const Arch *const *a = archs; *a; a++)
        if (str_is(model_type, (*a)->model_type)) return *a;
    return NULL;
}

const Arch *arch_of_gguf(Str name)
{
    for (const Arch *const *a = archs; *a; a++)
        if ((*a)->gguf_name && str_is(name, (*a)->gguf_name)) return *a;
    return NULL;
}

void arch_names(Buf *b, bool gguf)
{
    size_t n = 0, k = 0;
    for (const Arch *const *a = archs; *a; a++) n += !gguf || (*a)->gguf_name;
    for (const Arch *const *a = archs; *a; a++) {
        const char *name = gguf ? (*a)->gguf_name : (*a)->hf_name;
        if (!name) continue;
        buf_printf(b, "%s%s", k == 0 ? "" : k + 1 == n ? " and " : ", ", name);
        k++;
    }
}
