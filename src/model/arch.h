/* arch.h - how a model family is described: tables first, code only where tables end.
 *
 * A family is three tables: the keys of its config, its weights (slot, names, shape) and its steps, a straight-line
 * program over registers (named activations). The loader, the shape checker, the memory planner, the fuser and the runner
 * all read the same tables, and so should you: arch/qwen3.c is a whole family. There are no conditionals and
 * no arithmetic in steps: a family that needs one needs an op. Adding a family: arch/NAME.c and a line in archs.c.
 *
 * Everything here is constant or owned by one caller; any thread. */
#ifndef MODEL_ARCH_H
#define MODEL_ARCH_H

#include "base/base.h"

/* Limits of what a config from outside may ask for. */
enum {
    MODEL_LAYERS_MAX = 512,
    MODEL_HEADS_MAX = 1024,
    MODEL_HEAD_DIM_MAX = 512,
    MODEL_WIDTH_MAX = 1 << 18,
    MODEL_FF_MAX = 1 << 20,
    MODEL_VOCAB_MAX = 1 << 24,
    MODEL_CTX_MAX = 1 << 27,
    MODEL_ROPE_PAIRS_MAX = MODEL_HEAD_DIM_MAX / 2,
    MODEL_ROPES_MAX = 2
};

typedef enum { ROPE_PLAIN, ROPE_LINEAR, ROPE_DYNAMIC, ROPE_LLAMA3, ROPE_YARN, ROPE_LONGROPE, ROPE_KINDS } RopeKind;

/* How positions become angles. Numbers that a kind does not use stay 0. */
typedef struct {
    RopeKind kind;
    double theta, factor;
    double low_freq, high_freq;    /* llama3 */
    double beta_fast, beta_slow;   /* yarn */
    double mscale, mscale_all_dim; /* yarn; both 0: from the factor alone */
    double attn_factor;            /* yarn, longrope; 0: from the factor */
    int n_orig;                    /* context before scaling */
    bool truncate;                 /* yarn: the ramp's ends are whole dimensions */
    int n_short, n_long;           /* divisors of each frequency: longrope, and GGUF's rope_freqs (short) */
    float short_factor[MODEL_ROPE_PAIRS_MAX], long_factor[MODEL_ROPE_PAIRS_MAX];
} RopeSpec;

/* Every number a family may need. One flat struct: the config's keys fill it, derive() completes it, nothing changes it
 * afterwards. A field that a table names is an int, or a float for ConfigKeys of type 'f'. */
typedef struct {
    int none; /* so that DIM() of a real field is never 0 */
    int n_layer, n_head, n_kv_head, head_dim, d_model, d_ff, n_vocab, n_ctx;
    int v_dim;                         /* of GGUF: must be head_dim */
    int rot_dim;                       /* rotated part of a head */
    int attn_bias, mlp_bias;           /* 1: those linears have biases */
    int tied, untied;                  /* the config says so; both 0: it does not say */
    int act;                           /* a GluAct */
    int window, pattern;               /* pattern: 0 no layer is windowed, -1 all are, n: all but every n-th */
    int use_window, max_window_layers; /* Qwen2 */
    int d_q, d_kv, d_qkv, d_ff2, one;  /* derived */
    int gguf;                          /* 1: the weights went through the GGUF converter */
    float norm_eps, norm_bias;         /* norms multiply by (weight + norm_bias) */
    float partial_rotary, rope_theta, rope_theta_local;
    float query_scalar, attn_scale, attn_softcap, logit_softcap, embed_scale;
    RopeSpec rope[MODEL_ROPES_MAX]; /* [1]: windowed layers, where rope_theta_local > 0 */
    uint8_t windowed[MODEL_LAYERS_MAX];
} ModelConfig;

/* A width is a field of ModelConfig: the compiler checks its spelling. */
typedef uint16_t Dim;
#define DIM(field) ((Dim)offsetof(ModelConfig, field))

static inline int dim_of(const ModelConfig *c, Dim d)
{
    int value;
    memcpy(&value, (const char *)c + d, sizeof(value));
    return value;
}

/* One key of config.json and its GGUF twin (without the "llama." in front). An absent key is dflt, or a failure if
 * required; null is 0. Type: 'i' int, 'f' float, 'b' bool (into an int), 'a' name of an activation. */
typedef struct {
    const char *hf, *gguf; /* NULL: this source has no such key */
    Dim field;
    char type;
    bool required;
    double dflt, min, max;
} ConfigKey;

/* ---- slots and registers that the dense families share; a family with others continues at W_OWN, R_OWN ---- */

enum {
    W_NONE,
    W_EMBED,
    W_IN_NORM,
    W_QKV,
    W_QKV_BIAS,
    W_Q_NORM,
    W_K_NORM,
    W_O,
    W_O_BIAS,
    W_ATT_NORM,
    W_FF_NORM,
    W_GATE_UP,
    W_GATE_UP_BIAS,
    W_DOWN,
    W_DOWN_BIAS,
    W_DOWN_NORM,
    W_OUT_NORM,
    W_HEAD,
    W_OWN,
    W_SLOTS = 48
};
enum { R_NONE, R_X, R_H, R_QKV, R_ATT, R_GU, R_FF, R_T, R_LOGITS, R_OWN, R_REGS = 16 };

/* One tensor of the checkpoint, or one band of a fused slot. The bands of a slot are neighbours in the table. */
typedef struct {
    uint8_t slot, band;
    const char *hf, *gguf; /* "%d" is the layer; a name without it belongs to the whole model */
    Dim rows, cols;        /* a vector has DIM(one) rows */
    Dim need;              /* 0: always there. Else optional in files, but demanded where this field is not 0 */
    Dim heads;             /* 0, or this many heads whose rows the GGUF converter permuted for interleaved rope */
} WeightSpec;

typedef struct {
    const char *name;
    Dim width;
} RegSpec;

typedef enum {
    OP_END,
    OP_EMBED,  /* out = rows of w * embed_scale */
    OP_NORM,   /* out = rms norm of in */
    OP_ADD,    /* out += in */
    OP_LINEAR, /* out = in . w^T + bias */
    OP_Q_NORM, /* each q head of out is normed in place */
    OP_K_NORM,
    OP_ROPE,     /* q and k heads of out turn in place */
    OP_ATTN,     /* k and v of in go to their pages, out = attention */
    OP_GLU,      /* out = act(left half of in) * right half */
    OP_SOFTCAP,  /* out = cap * tanh(out / cap); skipped where the config has no cap */
    OP_ADD_NORM, /* x += in, out = norm(x): made by the planner, not written by families */
    OP_GATHER,   /* out = the rows of in whose logits are wanted: likewise */
    OP_COUNT
} OpKind;

/* out = op(in, w, bias). A step whose optional weight the checkpoint lacks is left out. */
typedef struct {
    uint8_t op, out, in, w, bias;
} Step;

typedef struct {
    const Step *steps;
    int rope;   /* index into ModelConfig.rope */
    int window; /* 0: sees everything before it */
} LayerPlan;

typedef struct Arch {
    const char *hf_name;    /* architectures[0] of config.json */
    const char *model_type; /* model_type of config.json */
    const char *gguf_name;  /* general.architecture, NULL: GGUF knows it under another family's name */
    const ConfigKey *keys;  /* beside or instead of the common ones; may be NULL */
    const WeightSpec *weights;
    const RegSpec *regs;                                             /* [R_REGS] */
    const Step *first, *layer, *last;                                /* embedding; each layer; final norm and head */
    void (*derive)(ModelConfig *c);                                  /* may be NULL */
    void (*plan_layer)(const ModelConfig *c, int i, LayerPlan *out); /* changes the defaults of layer i; may be NULL */
} Arch;

extern const Arch *const archs[];                    /* ends with NULL */
const Arch *arch_of_hf(Str hf_name, Str model_type); /* NULL: unknown */
const Arch *arch_of_gguf(Str name);
void arch_names(Buf *b, bool gguf); /* "A, B and C" for messages */

/* Shared by the dense families. */
void arch_window_from_layer(ModelConfig *c); /* a derive: use_window, from layer max_window_layers on (Qwen2 and 3) */
extern const RegSpec arch_dense_regs[];
extern const Step arch_dense_first[], arch_dense_layer[], arch_dense_last[];

#endif
