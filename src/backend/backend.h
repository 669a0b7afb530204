/* backend.h - everything a device must be able to do, as one const table of functions.
 *
 * Calls on one Device run in call order and may be queued; only sync, download and sample_wait wait. Nothing allocates
 * between forward_begin and forward_end. The plain-loop CPU version of an op is its definition; every fast version is compared with
 * it by tests/backend/test_ops.c. An op that the table leaves NULL is not offered: loading names it.
 * Thread: the engine's. */
#ifndef BACKEND_BACKEND_H
#define BACKEND_BACKEND_H

#include "quant/quant.h"

typedef struct Device Device;   /* each backend defines its own */
typedef struct Weight Weight;   /* a matrix or vector in the form the backend likes; owned by the device */
typedef struct KvCache KvCache; /* keys and values of all layers; owned by the device */

/* Activations: [rows][cols], `stride` elements from row to row, in the device's own act dtype (ops->act). Logits and
 * weights of norms are f32 on every backend. */
typedef struct {
    void *p;
    int rows, cols, stride;
    DType dtype;
} Tensor;

/* One ragged batch: n_tok rows of n_seq sequences, in order. Host arrays, valid until sample_wait or the next forward. */
typedef struct {
    int n_tok, n_seq, max_pages;
    const int32_t
        *token;         /* [n_tok]; -1 - i: the token that row i of the last sample drew (not yet known to the host) */
    const int32_t *pos; /* [n_tok] position in the sequence */
    const int32_t *seq_start; /* [n_seq + 1] rows of each sequence */
    const int32_t *seq_len;   /* [n_seq] tokens in the cache after this pass */
    const int32_t *pages;     /* [n_seq][max_pages] */
    const uint64_t *seq_id;   /* [n_seq] stable while a sequence runs; for the sim backend's checks */
    int n_logit;              /* rows whose logits are wanted, in rising order */
    const int32_t *logit_row; /* [n_logit] */
} DeviceBatch;

/* Where a weight comes from: one tensor of a checkpoint or a band of rows of it. Several bands stacked make one Weight (q, k
 * and v), and may differ in dtype. */
typedef struct {
    DType dtype;
    int rows, cols;      /* [rows][cols], a vector is [1][cols] */
    const void *data;    /* borrowed only during the call; NULL: dummy, filled by the device */
    uint64_t dummy_seed; /* of a dummy */
    float dummy_std;     /* > 0: normal; 0: uniform in +-1e-3 */
    int rope_heads; /* > 0: rows are this many heads whose halves were interleaved by the GGUF converter: undo it */
} WeightBand;

typedef enum {
    WEIGHT_LINEAR, /* a matrix for `linear` */
    WEIGHT_EMBED,  /* a table for `embed`; may be used by `linear` as well (tied head) */
    WEIGHT_VECTOR  /* norms and biases, kept in f32 */
} WeightUse;

/* What a weight takes on a device, conversion and padding included. */
typedef struct {
    size_t bytes;   /* its own */
    size_t room[2]; /* rooms that all weights share: of each as much as the largest asks for */
} WeightPlan;

typedef struct {
    int n_layer, n_kv_head, head_dim;
    int n_pages; /* of KV_PAGE_TOKENS tokens */
    DType dtype; /* DT_F16, DT_BF16, DT_F32, DT_I8; DT_NONE: the backend's choice */
} KvShape;

/* cos and sin are computed from these once per device: inv_freq has been scaled on the host by the model (linear, llama3,
 * yarn, longrope), mscale multiplies both. */
typedef struct {
    const float *inv_freq; /* [rot_dim / 2] */
    int rot_dim;           /* <= head_dim: the first rot_dim of each head turn, the rest passes */
    bool interleaved;      /* pairs (2i, 2i+1) instead of (i, i + rot_dim/2) */
    float mscale;
} RopeTable;

typedef struct {
    int n_head, n_kv_head, head_dim;
    float scale;         /* of q.k */
    float softcap;       /* > 0: cap * tanh(s / cap) before the softmax */
    int window;          /* > 0: key j is seen from i only if i - j < window */
    const Weight *sinks; /* NULL, or [n_head] logits that join the denominator */
} AttnParams;

typedef enum { GLU_SILU, GLU_GELU_TANH, GLU_GELU_ERF } GluAct;

/* ---- sampling: one row of logits in, one token out ---- */

enum { SAMPLE_TOP_MAX = 20 };

typedef struct {
    int32_t id;
    uint16_t n_out;     /* times in the output */
    uint16_t in_prompt; /* 0 or 1 */
} TokenCount;

typedef struct {
    int32_t id;
    float add;
} LogitBias;

typedef struct {
    float temperature;                     /* 0: greedy, ties to the lowest id */
    float top_p, min_p;                    /* 1 and 0: off */
    int top_k;                             /* 0: off */
    float frequency, presence, repetition; /* 0, 0, 1: off */
    uint64_t seed;                         /* with counter, all the randomness there is */
    uint64_t counter;                      /* output position, so that batching cannot change a draw */
    const TokenCount *seen;                /* distinct tokens of prompt and output; only kept when a penalty is on */
    int n_seen;
    const LogitBias *bias;
    int n_bias;
    const int32_t *banned; /* ids that may not be drawn (end tokens before min_new_tokens) */
    int n_banned;
    const uint32_t *allowed; /* NULL, or a bit per id: what a grammar allows. Not looked at where there is a target */
    int n_vocab;             /* ids from here on are padding and never drawn */
    int32_t target;          /* >= 0: draw nothing, give this id's logprob (prompt logprobs) */
    bool want_logprob;
    int n_top; /* 0..SAMPLE_TOP_MAX alternatives wanted */
} SampleRow;

typedef struct {
    int32_t token;
    /* Log softmax of the raw logits (before penalties and temperature) that `allowed` leaves; as vLLM reports, and SGLang where
     * nothing else changes them. */
    float logprob;
    int32_t top_id[SAMPLE_TOP_MAX]; /* by falling logprob, ties by id; -1: there are no more */
    float top_logprob[SAMPLE_TOP_MAX];
} SampleOut;

typedef struct {
    int index;           /* which device of its kind */
    int threads;         /* CPU: workers, 0: all cores */
    const char *isa;     /* CPU: "auto", "plain", "avx2", "avx512", ... to pin a path in tests */
    size_t memory_limit; /* bytes, 0: none stated */
    bool profile;        /* keep the figures that `profile` tells; costs some per cent */
} DeviceOptions;

typedef struct {
    char name[96]; /* "AMD EPYC ..., avx512" */
    size_t memory_total, memory_free;
} DeviceInfo;

/* ---- warming up ---- */

enum { WARM_MAX = 64 };

typedef struct {
    int rows, seqs; /* of a pass at most */
    int context;    /* tokens of a sequence at most */
    bool later;     /* algorithms are tried out by `idle`, not now */
} WarmLimits;

typedef struct {
    int n, rows[WARM_MAX];     /* passes of single new tokens */
    int n_prefill, prefill[8]; /* rows of passes of longer pieces */
    bool choosing;             /* nothing is known yet, this first time: algorithms are tried out and remembered */
} WarmPlan;

/* ---- benchmarks: what a device can do, and where its time went ---- */

/* One sustained speed, measured on the device as it is now. */
typedef struct {
    char what[56];          /* "read memory", "product 28672 x 4096" */
    int rows;               /* of a product's input; 0: reading memory */
    bool typical;           /* limits are computed from it: reading, and the products of a layer in turn */
    double bytes_s, flop_s; /* 0: not what was measured */
    double seconds;         /* under load */
    double mhz, watts;      /* 0: unknown */
} DeviceSpeed;

typedef enum { PART_LINEAR, PART_ATTEND, PART_OTHER, PART_SAMPLE, PART_COUNT } ProfilePart;

/* Sums over passes of one kind. */
typedef struct {
    uint64_t passes, rows;
    double busy_s, idle_s; /* the device at work on them; waiting for them, although there was work */
    double host_s;         /* the host in the backend's calls, without waiting */
    uint64_t looked;       /* passes that were timed op by op; all below is of these alone */
    double looked_s;       /* the device at work on them */
    double part_s[PART_COUNT];
    uint64_t part_n[PART_COUNT]; /* stretches of ops of one kind that were timed */
    double flop;                 /* of products */
    double kv_bytes;             /* keys and values that attention reads at least, once for each sequence */
} ProfileKind;

typedef struct {
    ProfileKind decode, prefill; /* passes of single new tokens; all others */
    double joules;               /* the device's since some moment; 0: unknown */
} DeviceProfile;

typedef struct BackendOps {
    const char *name;   /* "cpu", "cuda", "sim" */
    DType act;          /* activations: F32 on the CPU, BF16 on CUDA */
    bool queues;        /* calls return before the work is done, so the engine may stay one pass ahead */
    int (*count)(void); /* devices there are; 0 when there is no driver */
    Status (*open)(const DeviceOptions *o, Device **out, Err *err);
    void (*close)(Device *d); /* NULL is fine; frees all that it owns */
    void (*info)(Device *d, DeviceInfo *out);
    bool (*supports)(const Device *d, DType weight); /* as a WEIGHT_LINEAR */

    /* boot: before the first forward */
    Status (*weight)(Device *d, WeightUse use, const WeightBand *bands, int n_bands, Weight **out, Err *err);
    /* What `weight` would take for bands that it would not refuse: over all weights, the sum of bytes and the largest rooms are what
     * weight_bytes says once they are loaded. data may be NULL. The op is NULL: as many bytes as in the file, vectors as f32. */
    void (*weight_plan)(const Device *d, WeightUse use, const WeightBand *bands, int n_bands, WeightPlan *out);
    Status (*tensor)(Device *d, int max_rows, int cols, DType dtype, Tensor *out, Err *err); /* activation storage */
    Status (*kv_cache)(Device *d, KvShape shape, KvCache **out, Err *err);
    size_t (*kv_page_bytes)(const Device *d, KvShape shape); /* all layers, K and V */
    Status (*rope_table)(Device *d, const RopeTable *t, int max_pos, int *handle, Err *err);
    size_t (*weight_bytes)(const Device *d); /* resident so far */

    /* a step. forward_begin makes the batch's arrays known to the device; tensors are passed with rows = n_tok (or n_logit). */
    void (*forward_begin)(Device *d, const DeviceBatch *b);
    /* NULL, or: runs the pass just begun from what the device noted when it was last led through `plan` (an address that names a
     * list of steps), so that the caller need not lead it again. False: it must, now; the device may note that. */
    bool (*replay)(Device *d, const void *plan);
    void (*embed)(Device *d, Tensor out, const Weight *table, float scale);
    void (*norm)(Device *d, Tensor out, Tensor in, const Weight *w, float eps,
                 float w_bias); /* RMS; out = in/rms * (w + w_bias) */
    /* x += add, then out = norm(x). The common pair, in one pass. */
    void (*add_norm)(Device *d, Tensor x, Tensor out, Tensor add, const Weight *w, float eps, float w_bias);
    void (*add)(Device *d, Tensor x, Tensor y); /* x += y */
    /* out = in . w^T (+ bias) ; with add: out += . */
    void (*linear)(Device *d, Tensor out, Tensor in, const Weight *w, const Weight *bias, bool add);
    /* RMS norm of each head_dim-wide head in columns [first, first + n_heads * head_dim) */
    void (*head_norm)(Device *d, Tensor x, int first, int n_heads, int head_dim, const Weight *w, float eps,
                      float w_bias);
    void (*rope)(Device *d, Tensor qkv, int n_rot_heads, int head_dim, int table);
    void (*kv_store)(Device *d, KvCache *kv, int layer, Tensor qkv,
                     int n_head); /* k at column n_head * head_dim, then v */
    void (*attend)(Device *d, Tensor out, Tensor qkv, KvCache *kv, int layer, const AttnParams *p);
    void (*glu)(Device *d, Tensor out, Tensor gate_up, GluAct act); /* out = act(gate) * up; gate is the left half */
    void (*gather)(Device *d, Tensor out, Tensor in);               /* out row i = in row logit_row[i] */
    void (*softcap)(Device *d, Tensor logits,
                    float cap); /* cap * tanh(x / cap); also x * scale when cap < 0: x * -cap */
    void (*forward_end)(Device *d);

    /* Draws a token for each of n rows of logits ([n][n_vocab], f32). Queued; rows borrowed until sample_wait. */
    void (*sample)(Device *d, Tensor logits, const SampleRow *rows, int n);
    Status (*sample_wait)(Device *d, SampleOut *out, int n,
                          Err *err);                    /* the one place an asynchronous fault surfaces */
    void (*download)(Device *d, void *dst, Tensor src); /* as f32 [rows][cols]; waits */
    int64_t (*now_ns)(Device *d);                       /* NULL: the wall clock. The sim backend's virtual time */

    /* The end of boot, on devices that get faster or take memory as sizes of passes come up: between begin and end the model runs a
     * pass of each size in *plan twice, and nothing that comes later needs memory or time of its own. warm_bytes: what that takes
     * besides weights, activations and pages. NULL: there is nothing to do. */
    size_t (*warm_bytes)(const Device *d, WarmLimits most);
    Status (*warm_begin)(Device *d, WarmLimits most, WarmPlan *plan, Err *err);
    Status (*warm_end)(Device *d, Err *err);
    /* NULL, or: while no pass is under way, work that makes later ones faster. Returns soon after wanted says that somebody waits, else
     * within a second; whether there is more to do. */
    bool (*idle)(Device *d, bool (*wanted)(void *ctx), void *ctx);

    /* Sustained speeds, at least `seconds` under load each, before any weight is made; brief: the typical ones alone. Returns how
     * many of `max`. NULL: not offered. */
    int (*measure)(Device *d, double seconds, bool brief, DeviceSpeed *out, int max);
    /* What DeviceOptions.profile has gathered so far; any thread. NULL: the model times its calls itself. */
    void (*profile)(Device *d, DeviceProfile *out);
} BackendOps;

/* NULL: no such backend in this build. */
const BackendOps *backend_find(const char *name);
extern const BackendOps *const backends[]; /* ends with NULL; the first that has a device is the default */

#endif
