/* model.h - a checkpoint bound to a device: batches of tokens in, logits and tokens out.
 *
 * A Model owns its weights, activations and KV pages on the device; all are allocated by model_open and nothing after.
 * Thread: engine (model_open: any, before the engine starts). */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "backend/backend.h"
#include "load/load.h"

typedef struct Model Model;

/* For diagnosis and tests: leaves out what the planner does to a family's steps. The logits do not change. */
enum { MODEL_NO_FUSION = 1, MODEL_NO_CUT = 2, MODEL_NO_SHARING = 4 };

typedef struct {
    const BackendOps *ops;
    Device *device;       /* borrowed; must outlive the model */
    int max_batch_tokens; /* rows of a pass at most */
    int max_seqs;         /* sequences of a pass, and rows of logits, at most */
    int context_length;   /* 0: the model's own */
    int context_least;    /* > 0: so many tokens fit, even if the model was made for fewer: for measuring */
    int n_pages;          /* KV pages; 0: from memory_budget */
    size_t memory_budget; /* bytes for weights + KV + activations; 0: n_pages rules */
    DType kv_dtype;       /* DT_NONE: the backend's choice */
    float dummy_std;      /* of dummy weights; 0: uniform +-1e-3 */
    uint64_t dummy_seed;
    unsigned plan_flags; /* MODEL_NO_...; 0: none */
    bool profile;        /* for model_profile */
} ModelOptions;

typedef struct {
    const char *arch;       /* "LlamaForCausalLM" */
    const char *model_type; /* "llama" */
    int n_layer, n_head, n_kv_head, head_dim, d_model, d_ff, n_vocab, n_ctx;
    int context_length; /* what this Model serves */
    uint64_t n_params;
    size_t weight_bytes, kv_bytes, act_bytes, kv_page_bytes; /* on the device */
    int n_pages;
    double flop_row, flop_logit; /* of products: a row, and in addition a row whose logits are wanted */
} ModelInfo;

Status model_open(Checkpoint *c, const ModelOptions *o, Model **out, Err *err);
void model_close(Model *m);
const ModelInfo *model_info(const Model *m);
/* What model_open would use, without loading: for `radish inspect`. */
Status model_plan(Checkpoint *c, const ModelOptions *o, ModelInfo *out, Err *err);

/* Runs the batch: new keys and values into their pages, logits of the wanted rows into the model's logits tensor. Queued. */
void model_forward(Model *m, const DeviceBatch *b);
/* Draws n tokens from the last forward's n_logit rows, row i from logits row i. */
void model_sample(Model *m, const SampleRow *rows, int n);
Status model_sample_wait(Model *m, SampleOut *out, int n, Err *err);
/* Copies the last forward's logits ([n_logit][n_vocab] f32) out; waits. For tests and perplexity. */
void model_logits(Model *m, float *out);
int64_t model_now_ns(Model *m);
/* Lets the device see every size of pass once, before the engine starts; it does nothing where that changes nothing. on_choosing
 * (NULL is fine) is called first if algorithms must be chosen, which takes a while, or is left to model_idle. E_DEVICE, E_LIMIT: the
 * device's. */
Status model_warm(Model *m, bool later, void (*on_choosing)(void), Err *err);
/* While no pass is under way: work that makes later ones faster, until wanted(ctx). Whether there is more. */
bool model_idle(Model *m, bool (*wanted)(void *ctx), void *ctx);
/* Where time went so far, if ModelOptions.profile (or the device's own) is on; zeros otherwise. Any thread. */
void model_profile(Model *m, DeviceProfile *out);

#endif
