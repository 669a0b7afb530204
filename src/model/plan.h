/* plan.h - private to model/: a family's tables bound to one checkpoint and one device.
 *
 * weights.c finds and uploads the tensors, plan.c turns the steps of all layers into one flat list and decides which registers
 * share memory, run.c walks the list. Thread: whoever opens the model, then the engine. */
#ifndef MODEL_PLAN_H
#define MODEL_PLAN_H

#include "model/config.h"
#include "model/model.h"

/* ---- weights ---- */

typedef struct {
    Weight *of_model[W_SLOTS];
    Weight *(*of_layer)[W_SLOTS]; /* [n_layer] */
    bool *has; /* [n_layer + 1][W_SLOTS]: there is one (also when nothing was loaded); row n_layer: of_model */
    uint64_t n_params;
    size_t bytes; /* resident, as far as the device can tell beforehand; else as in the file, vectors as f32 */
} WeightSet;

/* dry, or no ops or device in o: only looks, checks and counts. */
Status weights_load(Checkpoint *c, const Arch *arch, const ModelConfig *config, const ModelOptions *o, bool dry,
                    Arena *a, WeightSet *out, Err *err);
static inline bool weights_has(const WeightSet *w, const ModelConfig *c, int layer, int slot)
{
    return w->has[(size_t)(layer < 0 ? c->n_layer : layer) * W_SLOTS + (size_t)slot];
}

/* ---- the plan ---- */

enum { PLAN_REGS_MAX = 2 * R_REGS };

typedef struct {
    uint8_t op, out, in, x; /* registers; x: the residual of OP_ADD_NORM */
    bool few;               /* runs on the rows whose logits are wanted, not on all */
    int layer;              /* -1: none */
    int rope;               /* index into Model's tables */
    const Weight *w, *bias;
    AttnParams attn;
} PlanStep;

typedef struct {
    int cols, rows; /* rows at most; 0: this register is not used */
    int stride;
    DType dtype;
    int buffer; /* which shared memory */
} PlanReg;

typedef struct {
    int rows, cols;
    DType dtype;
} PlanBuffer;

typedef struct {
    PlanStep *steps;
    int n_steps, n_cut; /* from step n_cut on only wanted rows are computed */
    PlanReg regs[PLAN_REGS_MAX];
    int n_regs;
    int logits; /* the register of the result */
    PlanBuffer buffers[PLAN_REGS_MAX];
    int n_buffers;
    size_t act_bytes;
} Plan;

typedef struct {
    int max_rows, max_logits;
    DType act;
    unsigned flags; /* MODEL_NO_... */
} PlanOptions;

Status plan_build(const Arch *arch, const ModelConfig *c, const WeightSet *w, PlanOptions o, Arena *a, Plan *out,
                  Err *err);
/* Arithmetic of a product for one row; 0 of other steps. */
static inline double plan_flop(const Plan *p, const PlanStep *s)
{
    return s->op == OP_LINEAR ? 2.0 * p->regs[s->out].cols * p->regs[s->in].cols : 0;
}
/* E_UNSUPPORTED naming the op if the backend lacks one that the plan uses. */
Status plan_check_ops(const Plan *p, const BackendOps *ops, Err *err);

/* ---- warm.c ---- */

Status model_warm_passes(Model *m, WarmLimits most, const WarmPlan *plan, Err *err);

/* ---- profile.c: where time goes, on backends that do not queue ---- */

typedef struct Profile Profile;
Profile *profile_new(void);
void profile_free(Profile *p); /* NULL is fine */
void profile_begin(Profile *p, const DeviceBatch *b);
/* A step has run; kv_token_bytes: keys and values of one token in one layer. */
void profile_step(Profile *p, const Plan *plan, const PlanStep *s, const DeviceBatch *b, double kv_token_bytes);
void profile_end(Profile *p, bool sampled); /* the pass is over; sampled: the time since the last step was drawing */
void profile_read(Profile *p, DeviceProfile *out);

#endif
