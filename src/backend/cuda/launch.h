/* launch.h - every kernel as a C function: it picks a grid, queues the work on a stream, and returns.
 *
 * Nothing here allocates, waits or reports: errors surface where the stream is waited for. `void *` tensors hold bf16
 * unless the comment says f32; strides count elements. Rows are padded to a bucket for the graphs: padding rows are
 * computed and ignored, but never touch a KV page (their slot is -1) and are no part of a sequence. */
#ifndef BACKEND_CUDA_LAUNCH_H
#define BACKEND_CUDA_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void *Stream;

/* ---- pointwise.cu, heads.cu ---- */

/* out[r] = table[token[r]] * scale; a token of -1 - i is drawn[i]. */
void launch_embed(Stream s, void *out, int out_stride, const void *table, const int32_t *token, const int32_t *drawn,
                  int rows, int cols, float scale);
typedef struct {
    void *x;         /* normalised; with add: x += add first, rounded */
    const void *add; /* NULL: none */
    void *out;
    const float *w;
    int rows, cols, x_stride, add_stride, out_stride;
    float eps, w_bias;
} NormArgs;
void launch_norm(Stream s, const NormArgs *a);
void launch_add(Stream s, void *x, int x_stride, const void *y, int y_stride, int rows, int cols);
void launch_glu(Stream s, void *out, int out_stride, const void *gate_up, int in_stride, int rows, int cols, int act);
void launch_gather(Stream s, void *out, int out_stride, const void *in, int in_stride, const int32_t *row, int rows,
                   int cols);
void launch_softcap(Stream s, float *x, int stride, int rows, int cols, float cap);
void launch_softcap_act(Stream s, void *x, int stride, int rows, int cols, float cap);

/* cos and sin of pos * inv_freq[i], times mscale, as pairs: table [max_pos][rot/2][2] f32. */
void launch_rope_table(Stream s, float *table, const float *inv_freq, int n_freq, int max_pos, float mscale);

/* What stands between the q, k, v product and attention, in one pass over its rows: norm of each q and k head, rope,
 * and keys and values into their pages. Each part may be absent. */
typedef struct {
    void *qkv;
    int stride, rows;
    int n_head, n_kv_head, head_dim;
    const float *q_norm, *k_norm; /* [head_dim], NULL: none */
    float eps, w_bias;
    const float *rope; /* NULL: none */
    int rot_dim, interleaved;
    int n_rot;                 /* heads that turn: n_head + n_kv_head, or fewer */
    const int32_t *pos, *slot; /* slot: page * 16 + place in the page; -1: padding */
    void *kv;                  /* the layer's pages; NULL: k and v stay where they are */
    int kv_dim;                /* head size in the pages: head_dim rounded up, the rest zeroed */
    bool let_on;               /* as in AttendArgs */
} HeadArgs;
void launch_heads(Stream s, const HeadArgs *a);
/* RMS norm of single heads in place, for layouts that launch_heads does not know. */
void launch_head_norm(Stream s, void *x, int stride, int rows, int n_heads, int head_dim, const float *w, float eps,
                      float w_bias);

/* Dummy weights: uniform in +-1e-3 if std is 0, else normal. n elements, the same for the same seed. */
void launch_fill(Stream s, void *out, size_t n, uint64_t seed, float std, bool f32);

/* ---- attend_decode.cu, attend_prefill.cu ---- */

enum { ATTEND_TILE = 64, ATTEND_MAX_CTA = 512, ATTEND_MAX_DECODE = 8192, ATTEND_PLAN_INTS = 44 };

typedef struct {
    const void *qkv;
    void *out;
    int qkv_stride, out_stride;
    const void *kv; /* the layer's pages: [page][kv head][K, V][16 * kv_dim], see device.cuh */
    int n_head, n_kv_head, head_dim, kv_dim;
    float scale, softcap;
    int window;
    const float *sinks;
    /* the batch: sequences with one row first */
    const int32_t *count;                                     /* [0] decode sequences, [1] prefill tiles */
    const int32_t *seq_len, *seq_row, *seq_rows, *page_first; /* [n_seq]; first row, rows, first entry in pages */
    const int32_t *pages;
    const int32_t *tiles; /* prefill: [n_tile][2] sequence, first row in it; longest first */
    int n_tile;
    /* decode */
    const int32_t *plan; /* from launch_attend_plan */
    float *part;         /* scratch: attend_part_bytes, all bits set before its first use */
    uint32_t *arrived;   /* [ATTEND_MAX_CTA], zero between launches */
    int n_cta;
    bool let_on; /* the next kernel may come before this one ends: it begins with work of its own, and is large */
    /* The kernel before this one wrote neither the plan nor what it was made from, nor any page but those of the newest tokens: all
     * else may be read while it still runs. */
    bool early;
} AttendArgs;

/* The head size in the pages for a head size of the model; 0: too large. */
int attend_kv_dim(int head_dim);
bool attend_decode_fits(int group);            /* query heads a kv head */
int attend_decode_ctas(int group, int kv_dim); /* CTAs that the device holds at once; 0: it cannot run here */
size_t attend_part_bytes(int group, int kv_dim);
/* Divides the decode sequences' keys among n_cta CTAs; plan [ATTEND_PLAN_INTS * n_cta]. Of *a: the batch, n_kv_head, window,
 * n_cta. */
void launch_attend_plan(Stream s, int32_t *plan, const AttendArgs *a);
void launch_attend_decode(Stream s, const AttendArgs *a);
int attend_prefill_rows(int group); /* new tokens of one prefill tile; 0: a group too large */
void launch_attend_prefill(Stream s, const AttendArgs *a);
/* attend_hopper.cu: the same, faster; launch_attend_prefill takes it where it fits the device and the shape */
bool attend_hopper_fits(const AttendArgs *a);
void launch_attend_hopper(Stream s, const AttendArgs *a);

/* ---- gemv.cu ---- */

enum { GEMV_MAX_ROWS = 16 };
typedef struct {
    void *out;          /* [rows][n] bf16, or f32 */
    const void *in, *w; /* [rows][k], [n][k]; k a multiple of 8, 16-byte aligned rows */
    const float *bias;
    int rows, n, k, in_stride, out_stride;
    bool f32, add;
} GemvArgs;
void launch_gemv(Stream s, const GemvArgs *a);

/* ---- flow.cu ---- */

enum { FLOW_MAX_ROWS = 2, FLOW_LINKS = 8, FLOW_STEP = 512 };

/* A CUtensorMap of w: [k / 64][n][64], boxes of [FLOW_STEP / 64][8][64], 128-byte swizzle. */
typedef struct {
    uint64_t word[16];
} __attribute__((aligned(64))) FlowMap;

typedef enum { FLOW_STORE, FLOW_ADD, FLOW_F32, FLOW_GATE } FlowKind;

/* out = in w^T (+ bias); STORE: bf16, ADD: onto out, F32: f32, GATE: act(first half) * second half, n / 2 columns. */
typedef struct {
    FlowMap map;
    const void *w, *in;  /* [n][k], [rows][k] */
    const int32_t *pick; /* NULL, or which row of `in` is row r */
    const float *norm;   /* NULL, or weights [k] of an RMS norm of the input */
    const float *bias;   /* NULL, or [n] */
    void *out;
    float eps, w_bias;
    int n, k, in_stride, out_stride;
    int kind, act; /* FlowKind, GluAct */
    int slab;      /* set by the launcher */
} FlowLink;

typedef struct {
    FlowLink link[FLOW_LINKS];
    uint32_t *meet; /* a counter for flows alone, one stream's; zeroed once */
    int n_link, rows;
    int n_stage, input_bytes; /* set by the launcher */
} FlowArgs;

/* flow.c: describes the weights to the copy engine; false: the driver cannot. */
bool cuda_flow_map(FlowLink *l);

/* Whether a link can be part of a flow; sm_90 only. */
bool launch_flow_fits(const FlowLink *l, int rows, int n_sm);
/* One kernel for all links, in order. Completes *a. */
void launch_flow(Stream s, FlowArgs *a);

/* ---- thin.cu ---- */

enum { THIN_MAX_ROWS = 8, THIN_PLANES = 8, THIN_MAX_CTA = 512 };

/* out = in w^T (+ bias) as a FlowLink's, for more rows, one product a kernel; completed by the launcher. */
typedef struct {
    FlowMap w_map, in_map; /* [k / 64][n or rows][64], 128-byte swizzle, boxes of [THIN_PLANES][8][64] */
    const void *w, *in;    /* [n][k], [rows][k] */
    const float *bias;     /* NULL, or [n] */
    void *out;
    void *scaled; /* ADD: NULL, or also out * (gain + gain_bias), and sums of squares of out for the next product */
    const float *gain; /* [n] */
    float *square;     /* scratch [THIN_MAX_CTA][THIN_MAX_ROWS], one stream's */
    float gain_bias, eps;
    int rows, n, k, in_stride, out_stride, scaled_stride;
    int kind, act; /* FlowKind, GluAct */
    bool normed;   /* the input is what the product before has `scaled`; the sums are divided by its rms */
    bool whole;    /* set by the launcher: all the input at once */
    int slab;      /* pieces of it at once */
    int n_stage, input_bytes;
} ThinArgs;

/* flow.c: describes weights and input to the copy engine; false: the driver cannot. */
bool cuda_thin_map(ThinArgs *a);
bool launch_thin_fits(const ThinArgs *a); /* sm_90 only */
void launch_thin(Stream s, ThinArgs *a);

/* ---- sample.cu ---- */

enum { DRAW_TOPS = 20 };

/* One row of sampling; lists lie in one array of 32-bit words, *_at are offsets into it. */
typedef struct {
    float inv_temp; /* 0: greedy */
    float top_p, min_p, frequency, presence, repetition;
    float uniform; /* the random number */
    int32_t top_k, n_vocab, target, n_top, want_logprob;
    int32_t seen_at, n_seen;     /* id, then n_out | in_prompt << 16; ids differ */
    int32_t bias_at, n_bias;     /* id, then the float; ids differ */
    int32_t banned_at, n_banned; /* ids; they differ */
    int32_t allowed_at;          /* a bit an id; -1: none */
} DrawRow;

typedef struct {
    float *logits; /* [rows][stride] f32; changed and put back */
    int stride, rows;
    const DrawRow *row;
    const int32_t *list;
    float *save;     /* as many words as the lists have */
    int32_t *token;  /* [rows] */
    float *logprob;  /* [rows] */
    int32_t *top_id; /* [rows][DRAW_TOPS] */
    float *top_logprob;
} DrawArgs;
void launch_draw(Stream s, const DrawArgs *a);

/* ---- plain.cu: for sizes that are no multiple of 8; those above come here by themselves ---- */

void launch_plain_rows(Stream s, void *out, int out_stride, const void *in, int in_stride, const int32_t *index,
                       const int32_t *drawn, int rows, int cols, float scale);
void launch_plain_norm(Stream s, const NormArgs *a);
void launch_plain_add(Stream s, void *x, int x_stride, const void *y, int y_stride, int rows, int cols);
void launch_plain_glu(Stream s, void *out, int out_stride, const void *in, int in_stride, int rows, int cols, int act);
void launch_plain_linear(Stream s, const GemvArgs *a);
void launch_plain_heads(Stream s, const HeadArgs *a);

/* ---- probe.cu ---- */

/* Reads `bytes` (a multiple of 16 KB) and does nothing with them: the ceiling of what a kernel can read. */
void launch_read(Stream s, const void *p, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
