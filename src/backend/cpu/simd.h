/* simd.h - the inner loops of the CPU backend as a table of functions, one table per instruction set.
 *
 * The plain table is the definition: plain C loops. The fast tables compute the same thing to rounding, and are compared
 * with it by tests/backend/test_ops.c. A table is chosen once, when the device is opened.
 *
 * The rule for all of them: what comes out for a row depends, bit for bit, on that row alone.
 * Thread: any; no function here keeps anything. */
#ifndef BACKEND_CPU_SIMD_H
#define BACKEND_CPU_SIMD_H

#include "backend/cpu/linear.h"

enum {
    KV_PAGE = 16,    /* tokens of a KV page: KV_PAGE_TOKENS of kv.h, which this layer may not see */
    ATTN_PAGES = 16, /* pages of a block, see attend.h */
    ATTN_BLOCK = ATTN_PAGES * KV_PAGE,
    ATTN_ROWS = 12,     /* query rows of a tile at most */
    ATTN_DIM_MAX = 512, /* of a head */
    CHUNK_LANES = 16,   /* see lane_max */
    CHUNK = 256         /* logits that are looked at, or passed over, together */
};

#define ATTN_TINY 1e-30f /* a largest magnitude below which int8 codes are all 0 */

/* The queries of one tile against one block of pages of one kv head.
 * K of a page is [dim][16 tokens], V is [16 tokens][dim_pad]: a lane is a token for K and a dimension for V.
 * As int8 (DT_I8) K is [dim / 4, rounded up][16 tokens][4], V as above, and each is followed by its tokens' f32 scales, [16].
 * Queries are then int8 as well, so that q.k is a sum of whole numbers: the same on every instruction set. */
typedef struct {
    int n_rows, n_pages;
    int dim, dim_pad; /* dim_pad: rounded up to 16 */
    DType dtype;      /* of K and V */
    float softcap;
    const void *k[ATTN_PAGES];
    const void *v[ATTN_PAGES];
    const void *next[ATTN_PAGES]; /* K that will be wanted after this block, or NULL */
    int k_bytes, v_bytes;         /* of a page */
    bool fetch_v;                 /* V may be asked for while scores are computed */
    int from[ATTN_ROWS];          /* row r sees tokens [from, to) of the block; nothing outside may touch its result, */
    int to[ATTN_ROWS];            /* not even a NaN */
    const float *q;               /* [n_rows][dim_pad], scaled, zero beyond dim; int8: not looked at */
    const int8_t *q_codes;        /* int8: [n_rows][dim_pad] */
    const float *q_scale;         /* int8: [n_rows] */
    const int32_t *q_total;       /* int8: [n_rows] sum of the codes */
    float *score;                 /* [ATTN_ROWS][ATTN_BLOCK] room */
    float *acc[ATTN_ROWS];        /* out: [dim_pad] sum of exp(s - max) * v */
    float max[ATTN_ROWS];         /* out: -INFINITY when nothing is seen */
    float sum[ATTN_ROWS];         /* out: sum of exp(s - max) */
} AttnBlock;

static inline const float *attn_k_scale(const AttnBlock *b, int page)
{
    return (const float *)(const void *)((const char *)b->k[page] + (size_t)((b->dim + 3) & ~3) * KV_PAGE);
}
static inline const float *attn_v_scale(const AttnBlock *b, int page)
{
    return (const float *)(const void *)((const char *)b->v[page] + (size_t)b->dim_pad * KV_PAGE);
}

/* The weight of a logit y <= top: 2^((y - top) * by). */
typedef struct {
    float top, by;
} Weighing;

typedef struct {
    double mass, squares; /* sums of weights, and of their squares */
    int count;
} Tally;

/* One pass over a row: weighs all logits from `low` up, and sets aside those from `from` up to below `to`. */
typedef struct {
    const float *y;
    const float *max; /* of lane_max(y); chunks that do not reach low are passed over */
    int n;
    Weighing g;
    float low, from, to; /* low <= from <= to, low finite */
    double *mass;        /* out: [chunks] weights of y >= to */
    int *start;   /* out: [chunks + 1] index of the first that was set aside in each chunk, then how many there are */
    int32_t *ids; /* out: what was set aside, in rising id order; room for n */
    float *values;
    double above, total; /* out: weights of all y >= to, and of all y >= low */
} Sift;

typedef struct {
    const char *name;

    /* out = in / rms(in) * (w + w_bias); out may be in */
    void (*norm)(float *out, const float *in, const float *w, int n, float eps, float w_bias);
    void (*add)(float *x, const float *y, int n);
    void (*scale)(float *x, int n, float by);
    void (*softcap)(float *x, int n, float cap);
    /* turns the first 2 * half elements of a head; cos_sin is [half] cosines, then [half] sines */
    void (*rope)(float *x, const float *cos_sin, int half, bool interleaved);
    void (*glu)(float *out, const float *gate, const float *up, int n, GluAct act);

    /* codes = x in steps of *scale = amax / 127, rounded to nearest even, and their sum; *scale is 0 where amax < 1e-30, and NaN
     * with codes of 0 if any x is NaN or infinite */
    void (*quantize)(int8_t *codes, const float *x, int n, float *scale, int32_t *total);
    /* one token's k and v of one head into slot `slot` of a page; values beyond F16 saturate */
    void (*kv_store)(void *k_page, void *v_page, const float *k, const float *v, int dim, int slot, DType dtype);
    void (*attend)(AttnBlock *b);

    /* index of the largest of x[0..n), the lowest of equals, NaN never; -1: all are NaN or -infinity */
    int (*argmax)(const float *x, int n);
    /* the lowest index >= from with x > t, or n */
    int (*find_above)(const float *x, int from, int n, float t);
    /* sum of exp(x - top), top being the largest; NaN counts as nothing */
    double (*sum_exp)(const float *x, int n, float top);
    /* y = x with NaN and what `allowed` (may be NULL) lacks as -infinity, and +infinity as the largest float */
    void (*clean)(float *y, const float *x, const uint32_t *allowed, int n);
    /* max[16 c + j] = the largest of y[256 c + j], y[256 c + 16 + j], ... that are below n, NaN never; -infinity: none.
     * c runs over all chunks, the last may be short. Returns the largest of all. */
    float (*lane_max)(const float *y, int n, float *max);
    /* w = the weights of y, 0 where they are below 2^-124.9 */
    void (*weigh)(float *w, const float *y, int n, Weighing g);
    /* of the w whose y >= t; the squares may overflow to infinity */
    void (*tally)(const float *y, const float *w, int n, float t, Tally *out);
    /* ids and values with y >= t, in rising id order, max being lane_max's; returns how many; room for n */
    int (*collect)(int32_t *ids, float *values, const float *y, const float *max, int n, float t);
    void (*sift)(Sift *s);
} Simd;

/* NULL: not in this build. */
const Simd *simd_find(CpuIsa isa);

extern const Simd simd_plain;
#if RADISH_X86
extern const Simd simd_avx2;
extern const Simd simd_avx512;
#endif

/* The plain versions, which the plain table is made of and a fast table may borrow. */
void plain_norm(float *out, const float *in, const float *w, int n, float eps, float w_bias);
void plain_add(float *x, const float *y, int n);
void plain_scale(float *x, int n, float by);
void plain_softcap(float *x, int n, float cap);
void plain_rope(float *x, const float *cos_sin, int half, bool interleaved);
void plain_glu(float *out, const float *gate, const float *up, int n, GluAct act);
void plain_quantize(int8_t *codes, const float *x, int n, float *scale, int32_t *total);
void plain_kv_store(void *k_page, void *v_page, const float *k, const float *v, int dim, int slot, DType dtype);
void plain_attend(AttnBlock *b);
int plain_argmax(const float *x, int n);
int plain_find_above(const float *x, int from, int n, float t);
double plain_sum_exp(const float *x, int n, float top);
void plain_clean(float *y, const float *x, const uint32_t *allowed, int n);
float plain_lane_max(const float *y, int n, float *max);
void plain_weigh(float *w, const float *y, int n, Weighing g);
void plain_tally(const float *y, const float *w, int n, float t, Tally *out);
int plain_collect(int32_t *ids, float *values, const float *y, const float *max, int n, float t);
void plain_sift(Sift *s);

#endif
