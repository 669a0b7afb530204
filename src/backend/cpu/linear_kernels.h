/* linear_kernels.h - what a fast instruction set offers to linear.c: packing of activations and products of tiles.
 *
 * A tile is one panel of weights (panel.h) and a few tokens. Its activations are packed first, block of columns
 * after block, the tokens of the tile side by side, so that a kernel reads one stream with constant distances:
 *     ACT_F32   per 2 columns       [column][token] f32 (odd cols: the last column is 0)
 *     ACT_BF16  per 2 columns       [token][2] bf16 (the same)
 *     ACT_BF16_ROWS  per 32 columns [token][32] bf16 (the last ones filled up with 0)
 *     ACT_INT8  per 32 columns      [token][32] i8 a, [token] f32 d, [token] x, and if halves: [token] x2
 *               where x is the i32 -offset * sum(a), or if sums the f32 d * sum(a); if halves, of the first 16 columns,
 *               and x2 of the others
 * with, per token and block: amax the largest magnitude; d = amax / 127, a = x * (127 / amax) rounded to nearest even;
 * both zero if amax < ACT_TINY.
 *
 * The order of f32 operations for one output, block after block (i: integer sum of the block, offset taken off):
 *     SCALE_F16, SCALE_K32  acc = fma(i * scale, d, acc)
 *     SCALE_K16             acc = fma(fma(i1, scale1, i0 * scale0), d, acc)
 *     has_min               acc = fma(min, x, acc), K16: for both halves in turn
 * scale = d * sc and min = -(dmin * mn) of K-quants are f32 products. Every instruction set does exactly this, so their
 * results are equal bit for bit; floats on ACT_F32: acc = fma(w, x, acc) column after column. */
#ifndef BACKEND_CPU_LINEAR_KERNELS_H
#define BACKEND_CPU_LINEAR_KERNELS_H

#include "backend/cpu/panel.h"

#define ACT_TINY 1e-30f

/* A kernel is one inline function with constant parameters, compiled for each format and number of tokens; its loops
 * over tokens must vanish, so that their arrays become registers. Sanitizers check every element of such an array,
 * which would be megabytes of code: for them it stays a function with loops. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KERNEL_IS_CHECKED 1
#elif defined(__clang__)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define KERNEL_IS_CHECKED 1
#endif
#endif
#ifdef KERNEL_IS_CHECKED
#define INLINE static inline
#define UNROLL
#elif defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum {
    TILE_MAX = 32,    /* tokens, of any instruction set */
    TILE_MIN_MAX = 4, /* every one takes at least so many */
    ACT_SLACK = 2048,
    FETCH_AHEAD = 4096 /* of weights: with several tokens a tile computes so long that loads alone run too close */
};

typedef struct {
    ActKind kind;
    int offset;
    bool halves, sums;
} ActForm;

/* Columns of a block of packed activations. */
static inline int act_cols(ActKind k)
{
    return k == ACT_INT8 || k == ACT_BF16_ROWS ? BLOCK_COLS : 2;
}

/* Bytes of one token in such a block. */
static inline int act_bytes(const ActForm *f)
{
    if (f->kind == ACT_INT8) return BLOCK_COLS + (f->halves ? 12 : 8);
    return f->kind == ACT_BF16_ROWS ? 2 * BLOCK_COLS : f->kind == ACT_BF16 ? 4 : 8;
}

typedef struct {
    const uint8_t *w;   /* the panel, from its first block of this call */
    const uint8_t *act; /* the tile's activations, from the same block; ACT_SLACK bytes behind them may be read */
    int n_blocks;
    float *carry;     /* [TILE_MAX][panel rows], 64-byte aligned: sums between the calls for one tile */
    bool first, last; /* of the calls for one tile: start from zero; write out */
    float *out;       /* [token] rows, out_stride apart */
    size_t out_stride;
    const float *bias; /* [n_rows], or NULL */
    int n_rows;        /* valid ones of the panel */
    bool add;          /* out += */
    bool fetch;        /* the first tile of this panel: ask for what lies FETCH_AHEAD bytes further on */
} Tile;

typedef void (*TileFn)(const Tile *t);
typedef void (*PackFn)(const ActForm *f, const float *in, size_t in_stride, int n_tok, int cols, uint8_t *out);

/* What an instruction set lacks here (NULL, 0), linear.c takes from the one that it builds on. */
typedef struct {
    ActKind pair_act;    /* how panels with pairs of columns (bf16) want their activations */
    int slice_bytes;     /* of a panel, to be worked on at a time */
    void (*leave)(void); /* what a thread does after it used tiles; NULL: nothing */
    PackFn pack[ACT_COUNT];
    TileFn tile[PANEL_COUNT][TILE_MAX + 1]; /* [kind][tokens]: 1 up to some number without a gap */
} LinearKernels;

/* The numbers of panel.c's table as constants for the kernels. */
typedef struct {
    int bits;
    bool codebook, has_min, offset;
    ScaleKind scale;
    int unit_blocks, header, block, act; /* act: bytes of a token in a block */
} Form;

/* clang-format off */
#define WHOLE_FORMATS(X) /* one scale a block */                 \
    X(Q4_0,   4, false, false, true,  SCALE_F16, 2, 64,  256, 40) \
    X(Q4_1,   4, false, true,  false, SCALE_F16, 2, 128, 256, 40) \
    X(Q5_0,   5, false, false, true,  SCALE_F16, 2, 64,  320, 40) \
    X(Q5_1,   5, false, true,  false, SCALE_F16, 2, 128, 320, 40) \
    X(Q8_0,   8, false, false, true,  SCALE_F16, 2, 64,  512, 40) \
    X(IQ4_NL, 4, true,  false, true,  SCALE_F16, 2, 64,  256, 40) \
    X(Q4_K,   4, false, true,  false, SCALE_K32, 8, 320, 256, 40) \
    X(Q5_K,   5, false, true,  false, SCALE_K32, 8, 320, 320, 40) \
    X(IQ4_XS, 4, true,  false, true,  SCALE_K32, 8, 192, 256, 40)
#define HALF_FORMATS(X) /* one for each half */                  \
    X(Q6_K,   6, false, false, true,  SCALE_K16, 8, 320, 384, 44) \
    X(Q3_K,   3, false, false, true,  SCALE_K16, 8, 320, 192, 44) \
    X(Q2_K,   2, false, true,  false, SCALE_K16, 8, 320, 128, 44)
#define INT8_FORMATS(X) WHOLE_FORMATS(X) HALF_FORMATS(X)
/* clang-format on */

extern const LinearKernels linear_avx2, linear_avx512, linear_avx512bf16, linear_amx;
bool linear_amx_allowed(
    void); /* this CPU has it; asks the system for it, which keeps the large state back until then */

#endif
