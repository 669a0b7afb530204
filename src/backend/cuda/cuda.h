/* cuda.h - what the C files of this backend share: the device, its weights, pages and the step being recorded.
 *
 * Ops between forward_begin and forward_end are only written down (Command); forward_end uploads the batch in one copy
 * and runs them: queued one by one, or, when the very same commands were seen before for a pass of single tokens, as one
 * CUDA graph of that size. All that varies from step to step lies in device arrays (StepArrays), so a graph stays true.
 * Rows are padded to a bucket (cuda_pad); padding rows are computed, have no page and belong to no sequence.
 * Thread: the engine's. */
#ifndef BACKEND_CUDA_CUDA_H
#define BACKEND_CUDA_CUDA_H

#include <cuda_runtime_api.h>

#include "backend/backend.h"
#include "backend/cuda/gemm.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/nvml.h"

enum {
    PAGE_TOKENS = 16,
    COMMANDS_MAX = 8192,
    GRAPHS_MAX = 64,
    PLANS_MAX = 8, /* kinds of attention layers (window, heads) in one model */
    STAGES = 4,    /* host buffers of batches on their way */
    RESULTS = 4,   /* samples not yet fetched */
    GRAPH_ROWS_MAX = 1024,
    TODO_MAX = 512,
    DRAW_ROWS_MAX = 16384,
    DRAW_WORDS = 2 + 2 * DRAW_TOPS /* of a row's result */
};

struct Weight {
    void *data; /* bf16 [rows][cols]; of a vector the same values as `f32` */
    float *f32; /* vectors only */
    int rows, cols;
    Weight *next;
};

struct KvCache {
    KvShape shape;
    char *data;
    int dim; /* head size in the pages */
    size_t layer_bytes;
    KvCache *next;
};

typedef struct {
    float *table;
    int rot_dim;
    bool interleaved;
} Rope;

typedef enum {
    C_EMBED,
    C_NORM,
    C_ADD,
    C_LINEAR,
    C_HEAD_NORM,
    C_ROPE,
    C_KV_STORE,
    C_ATTEND,
    C_GLU,
    C_GATHER,
    C_SOFTCAP
} CommandKind;

/* Compared byte for byte: zeroed before it is filled in. */
typedef struct {
    int32_t kind, rows; /* rows: padded */
    Tensor out, in, add;
    const Weight *w, *bias;
    KvCache *kv;
    int32_t i[4];
    float f[2];
    AttnParams attn;
} Command;

/* Pieces of one device buffer, in this order; T rows, S sequences, both padded. */
typedef struct {
    int32_t *count;                                     /* [4] decode sequences, prefill tiles */
    int32_t *token, *pos, *slot;                        /* [T] */
    int32_t *logit_row;                                 /* [L] */
    int32_t *seq_len, *seq_row, *seq_rows, *page_first; /* [S] */
    int32_t *tiles;                                     /* [n_tile][2] */
    int32_t *pages;
} StepArrays;

typedef struct {
    int32_t *host;
    size_t n; /* capacity in int32 */
    cudaEvent_t done;
} Stage;

typedef struct {
    uint64_t key; /* of the commands; 0: unused */
    int seen, rows;
    bool stale; /* better algorithms are known by now */
    cudaGraphExec_t exec;
} Graph;

typedef struct {
    int n_kv_head, window, n_cta;
    int32_t *plan;
    bool ready; /* in this step */
} AttendPlan;

typedef struct {
    int32_t *host; /* pinned [cap * DRAW_WORDS] */
    int n, cap;    /* rows */
    bool tops;
    cudaEvent_t done;
} SampleResult;

typedef struct {
    int32_t *host; /* pinned */
    size_t cap;    /* words */
    cudaEvent_t done;
} SampleStage;

typedef struct Profile Profile;
typedef struct Upload Upload;

struct Device {
    int index, n_sm;
    bool flows; /* flow.cu and thin.cu may take products of few rows */
    char name[80];
    cudaStream_t stream;
    cudaError_t error; /* the first */
    Gemm *gemm;
    Profile *profile; /* NULL: nobody asks */
    Nvml *nvml;       /* NULL: nobody has asked yet, or there is none */
    Arena *arena;
    size_t weight_bytes;
    Weight *weights;
    Upload *upload; /* NULL: none under way */
    KvCache *kvs;
    void **tensors;
    int n_tensors, cap_tensors;
    Rope rope[16];
    int n_rope;
    /* the step */
    bool in_step;
    int n_tok, n_logit, n_decode, n_tile, rows, logit_rows, group;
    const DeviceBatch *batch;
    Command *commands;
    int n_commands;
    StepArrays at;
    int32_t *buffer;
    size_t buffer_n;
    Stage stage[STAGES];
    int stage_now;
    int32_t *order; /* [n_seq] the batch's sequences, decode first */
    int order_cap;
    Graph graphs[GRAPHS_MAX];
    bool warming, warmed;    /* warming: sizes come up now; warmed: none come later, so nothing is captured any more */
    int64_t choose_until_ns; /* while warming; 0: not now, but when the device is idle */
    Command *todo; /* products to choose for, one of each shape, by rising need: of passes in the order of warming */
    int n_todo;
    /* attention */
    AttendPlan plans[PLANS_MAX];
    int n_plans;
    float *part;
    size_t part_bytes;
    uint32_t *arrived, *meet; /* meet: where the CTAs of a flow meet */
    float *square;            /* what one thin product leaves for the next */
    /* samples */
    int32_t *sample_in; /* [2 * sample_in_cap] */
    size_t sample_in_cap;
    int32_t *drawn; /* [DRAW_ROWS_MAX * DRAW_WORDS], the tokens first: what embed reads */
    SampleResult results[RESULTS];
    int result_first, result_n;
    SampleStage sample_stage[STAGES];
    int sample_stage_now;
};

/* Remembers the first error; false if there is one. */
bool cuda_ok(Device *d, cudaError_t e);
int cuda_pad(int rows);
int cuda_pad_next(int rows); /* the next larger size */
Status cuda_alloc(void **out, size_t n, const char *what, Err *err);

/* upload.c */
Status cuda_upload(Device *d, WeightUse use, const WeightBand *bands, int n_bands, Weight **out, Err *err);
void cuda_upload_plan(const Device *d, WeightUse use, const WeightBand *bands, int n_bands, WeightPlan *out);
void cuda_upload_close(Device *d); /* waits for what is on its way; gives back buffers and threads */

/* step.c */
void cuda_forward_begin(Device *d, const DeviceBatch *b);
void cuda_forward_end(Device *d);
void cuda_flush(Device *d); /* runs what is written down, one by one */
void cuda_embed(Device *d, Tensor out, const Weight *table, float scale);
void cuda_norm(Device *d, Tensor out, Tensor in, const Weight *w, float eps, float w_bias);
void cuda_add_norm(Device *d, Tensor x, Tensor out, Tensor more, const Weight *w, float eps, float w_bias);
void cuda_add(Device *d, Tensor x, Tensor y);
void cuda_linear(Device *d, Tensor out, Tensor in, const Weight *w, const Weight *bias, bool more);
void cuda_head_norm(Device *d, Tensor x, int first, int n_heads, int head_dim, const Weight *w, float eps,
                    float w_bias);
void cuda_rope(Device *d, Tensor qkv, int n_rot_heads, int head_dim, int table);
void cuda_kv_store(Device *d, KvCache *kv, int layer, Tensor qkv, int n_head);
void cuda_attend(Device *d, Tensor out, Tensor qkv, KvCache *kv, int layer, const AttnParams *p);
void cuda_glu(Device *d, Tensor out, Tensor gate_up, GluAct act);
void cuda_gather(Device *d, Tensor out, Tensor in);
void cuda_softcap(Device *d, Tensor logits, float cap);
GemmShape cuda_shape_of(const Command *c); /* of a C_LINEAR */
const void *cuda_bias_of(const Command *c);
void cuda_run_gemv(Device *d, const Command *c);
void cuda_run_all(Device *d); /* what is written down */
void cuda_step_free(Device *d);
/* Bytes on the device of a batch's arrays, and room for them made now. */
size_t cuda_step_bytes(WarmLimits most);
bool cuda_step_reserve(Device *d, WarmLimits most);

/* flow.c: runs as many of the n commands from c on as flow.cu or thin.cu takes together; returns how many, maybe 0. */
int cuda_flow(Device *d, const Command *c, int n);
bool cuda_flow_takes(const Device *d, const Command *c); /* a product that is never left to others */

/* draw.c */
void cuda_sample(Device *d, Tensor logits, const SampleRow *rows, int n);
Status cuda_sample_wait(Device *d, SampleOut *out, int n, Err *err);
Status cuda_sample_open(Device *d, Err *err);
void cuda_sample_free(Device *d);
size_t cuda_sample_bytes(WarmLimits most); /* on the device, for rows with penalties and masks */
bool cuda_sample_reserve(Device *d, WarmLimits most);

/* warm.c */
size_t cuda_warm_bytes(const Device *d, WarmLimits most);
Status cuda_warm_begin(Device *d, WarmLimits most, WarmPlan *plan, Err *err);
Status cuda_warm_end(Device *d, Err *err);

/* choose.c */
void cuda_choose(Device *d); /* of the pass that is written down and uploaded, while warming */
bool cuda_idle(Device *d, bool (*wanted)(void *ctx), void *ctx);

/* profile.c: all but open do nothing without a profile */
bool cuda_profile_open(Device *d);
void cuda_profile_close(Device *d);
void cuda_profile(Device *d, DeviceProfile *out); /* any thread */
void cuda_profile_enter(Device *d);               /* the host comes in: forward_begin, sample */
bool cuda_profile_begin(Device *d, bool decode);  /* the pass starts; whether its commands are to be run one by one */
void cuda_profile_command(Device *d, const Command *c);
void cuda_profile_part(Device *d, ProfilePart part); /* what is queued from here on belongs to it */
void cuda_profile_end(Device *d, bool of_pass);      /* the host leaves; of_pass: no sample follows */
void cuda_profile_collect(Device *d);

/* measure.c */
int cuda_measure(Device *d, double least_s, bool brief, DeviceSpeed *out, int max);

#endif
