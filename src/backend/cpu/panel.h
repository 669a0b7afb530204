/* panel.h - weights in the order in which the fast kernels read them.
 *
 * A panel is a few neighbouring output rows (16 for block formats, 32 for plain floats), all columns. SIMD lanes are
 * output rows, so no sum across lanes is ever needed, and one 4-byte piece of an activation row serves all lanes. The
 * bytes of a panel are read once, front to back.
 *
 * Floats: [col][32 rows]; bf16 in pairs of columns: [col / 2][32 rows][2].
 *
 * Block formats: units of `unit_blocks` blocks of 32 columns. A unit is a header (scales and minima of its blocks) and
 * then the numbers q of each block, unsigned, as 32-bit words: word (g, r) holds columns 4g..4g+3 of row r.
 *     2 bits: [h 0..1][16 rows] words: bits 2j, 2j+1 of a byte are group 4h + j
 *     3 bits: the same, then [g 0..7] 64-bit masks: bit 4r + i is the top bit of column 4g + i of row r
 *     4 bits: [g 0..3][16 rows] words: low nibbles are group g, high nibbles group g + 4
 *     5 bits: the same, then masks as for 3 bits
 *     6 bits: the same, then [h 0..1][16 rows] words: bits 2j, 2j+1 of a byte are the upper bits of group 4h + j
 *     8 bits: [g 0..7][16 rows] words
 * Headers: SCALE_F16  [block] { f16 scale[16]; f16 min[16] if has_min }
 *          SCALE_K32  f16 d[16]; f16 dmin[16]; i8 or u8 sc[8 blocks][16]; u8 mn[8][16] if has_min
 *          SCALE_K16  f16 d[16]; f16 dmin[16]; i8 sc[16 half blocks][16], or if has_min u8 sc | mn << 4
 * Value of a number: (q - offset) * scale (+ min), or d * sc * (q - offset) (- dmin * mn). Everything that the file
 * says is kept exactly. All units but the last are whole; sizes are multiples of 64 bytes: rows of words are aligned.
 *
 * Pure functions; any thread. */
#ifndef BACKEND_CPU_PANEL_H
#define BACKEND_CPU_PANEL_H

#include "quant/quant.h"

typedef enum {
    PANEL_F32,
    PANEL_F16,
    PANEL_BF16,
    PANEL_Q4_0,
    PANEL_Q4_1,
    PANEL_Q5_0,
    PANEL_Q5_1,
    PANEL_Q8_0,
    PANEL_IQ4_NL,
    PANEL_Q4_K,
    PANEL_Q5_K,
    PANEL_IQ4_XS,
    PANEL_Q6_K,
    PANEL_Q3_K,
    PANEL_Q2_K,
    PANEL_COUNT
} PanelKind;

typedef enum { SCALE_NONE, SCALE_F16, SCALE_K32, SCALE_K16 } ScaleKind;

/* What a kernel wants to know of the activations. */
typedef enum {
    ACT_F32,
    ACT_BF16,
    ACT_BF16_ROWS,
    ACT_INT8, /* with the sums that `offset`, `has_min` and `scale` call for: see linear.c */
    ACT_COUNT
} ActKind;

enum {
    PANEL_ROWS_FLOAT = 32,
    PANEL_ROWS_BLOCK = 16,
    PANEL_ROWS_MAX = 32,
    BLOCK_COLS = 32, /* of block formats; a K-quant's super-block is 8 of them */
    SUPER_COLS = 256
};

typedef struct {
    DType dtype;
    ActKind act;   /* of bf16 that of the kernels, see LinearKernels */
    int rows;      /* side by side */
    int cols;      /* of a block: 1, 2 (bf16) or 32 */
    int bits;      /* 2 to 6, 8; 0 for floats */
    int offset;    /* of q */
    bool codebook; /* q is an index of panel_iq4 */
    bool has_min;
    ScaleKind scale;
    int unit_blocks; /* blocks of a unit */
    int header;      /* bytes of a unit's header */
    int block;       /* bytes of a block */
} PanelInfo;

const PanelInfo *panel_info(PanelKind k);
/* The kind for a file's format; formats without their own become PANEL_F32. */
PanelKind panel_of(DType t);
extern const uint8_t panel_iq4[16]; /* the codebook of IQ4_NL and IQ4_XS, plus 128 */

static inline int panel_blocks(const PanelInfo *p, int cols)
{
    return (cols + p->cols - 1) / p->cols;
}
/* Where block i begins, for i a multiple of unit_blocks; for i the number of blocks: the size of the panel. */
size_t panel_at(const PanelInfo *p, int i);

/* Writes one panel into zeroed memory. rows[i]: row i of the panel in the file's format (PANEL_F32: any that can be
 * dequantised), NULL: none. tmp: [cols] floats, used for formats without their own kind. */
void panel_pack(PanelKind k, DType t, const void *const *rows, int cols, float *tmp, uint8_t *panel);
/* Row r of a panel as f32, exactly what quant_to_f32 gives for the file's bytes. */
void panel_row(PanelKind k, const uint8_t *panel, int r, int cols, float *out);

#endif
