/* panel.c - packs rows of a checkpoint into panels, and reads single rows back. Portable C: it runs once per weight.
 *
 * Block formats go through one common form, Split: the numbers of 256 (or 32) columns as bytes, and their scales. What
 * differs between formats is how the file's block is taken apart (split_*) and the panel's field widths (PanelInfo). */
#include "backend/cpu/panel.h"

enum { GROUPS = 8 }; /* words of 4 columns in a block of 32 */

#define F16_BLOCKS(with_min)                                                                                           \
    .scale = SCALE_F16, .unit_blocks = 2, .header = 2 * ((with_min) ? 64 : 32), .has_min = (with_min)
#define K32_BLOCKS(with_min)                                                                                           \
    .scale = SCALE_K32, .unit_blocks = 8, .header = 64 + 128 * ((with_min) ? 2 : 1), .has_min = (with_min)
#define K16_BLOCKS(with_min) .scale = SCALE_K16, .unit_blocks = 8, .header = 64 + 256, .has_min = (with_min)
#define INT8_BLOCK(width)                                                                                              \
    .act = ACT_INT8, .rows = PANEL_ROWS_BLOCK, .cols = BLOCK_COLS, .bits = (width), .block = 64 * (width)

/* clang-format off */
static const PanelInfo kinds[PANEL_COUNT] = {
    [PANEL_F32]    = { DT_F32,  ACT_F32,  .rows = PANEL_ROWS_FLOAT, .cols = 1, .unit_blocks = 1, .block = 128 },
    [PANEL_F16]    = { DT_F16,  ACT_F32,  .rows = PANEL_ROWS_FLOAT, .cols = 1, .unit_blocks = 1, .block = 64 },
    [PANEL_BF16]   = { DT_BF16, ACT_F32,  .rows = PANEL_ROWS_FLOAT, .cols = 2, .unit_blocks = 1, .block = 128 },
    [PANEL_Q4_0]   = { DT_Q4_0,   INT8_BLOCK(4), F16_BLOCKS(false), .offset = 8 },
    [PANEL_Q4_1]   = { DT_Q4_1,   INT8_BLOCK(4), F16_BLOCKS(true) },
    [PANEL_Q5_0]   = { DT_Q5_0,   INT8_BLOCK(5), F16_BLOCKS(false), .offset = 16 },
    [PANEL_Q5_1]   = { DT_Q5_1,   INT8_BLOCK(5), F16_BLOCKS(true) },
    [PANEL_Q8_0]   = { DT_Q8_0,   INT8_BLOCK(8), F16_BLOCKS(false), .offset = 128 },
    [PANEL_IQ4_NL] = { DT_IQ4_NL, INT8_BLOCK(4), F16_BLOCKS(false), .offset = 128, .codebook = true },
    [PANEL_Q4_K]   = { DT_Q4_K,   INT8_BLOCK(4), K32_BLOCKS(true) },
    [PANEL_Q5_K]   = { DT_Q5_K,   INT8_BLOCK(5), K32_BLOCKS(true) },
    [PANEL_IQ4_XS] = { DT_IQ4_XS, INT8_BLOCK(4), K32_BLOCKS(false), .offset = 128, .codebook = true },
    [PANEL_Q6_K]   = { DT_Q6_K,   INT8_BLOCK(6), K16_BLOCKS(false), .offset = 32 },
    [PANEL_Q3_K]   = { DT_Q3_K,   INT8_BLOCK(3), K16_BLOCKS(false), .offset = 4 },
    [PANEL_Q2_K]   = { DT_Q2_K,   INT8_BLOCK(2), K16_BLOCKS(true) },
};
/* clang-format on */

const uint8_t panel_iq4[16] = { 1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241 };

const PanelInfo *panel_info(PanelKind k)
{
    return &kinds[k];
}

PanelKind panel_of(DType t)
{
    for (int k = 0; k < PANEL_COUNT; k++) {
        if (kinds[k].dtype == t) return (PanelKind)k;
    }
    return PANEL_F32;
}

size_t panel_at(const PanelInfo *p, int i)
{
    size_t units = (size_t)(i / p->unit_blocks), rest = (size_t)(i % p->unit_blocks);
    size_t size = units * (size_t)(p->header + p->unit_blocks * p->block);
    if (rest) size += (size_t)p->header + rest * (size_t)p->block;
    return (size + 63) / 64 * 64;
}

/* ---- taking the file's blocks apart ---- */

typedef struct {
    uint8_t q[SUPER_COLS];  /* without the top bit of 3 and 5 */
    uint32_t top[8];        /* that bit, block by block */
    uint16_t d, m;          /* f16: scale, and the minimum or the scale of the minima */
    uint8_t sc[16], mn[16]; /* of K-quants, per block or half block; sc may be signed */
} Split;

static uint16_t u16_at(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}

static uint32_t u32_at(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static void put_u32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, 4);
}

/* The lowest bit of each byte, side by side in bits 0..3: the product moves byte i's bit to bit 24 + i. */
static uint32_t gather_bits(uint32_t w)
{
    return (w & 0x01010101u) * 0x01020408u >> 24 & 15;
}

/* 16 bytes of nibbles: low ones are columns 0..15, high ones 16..31. */
static void split_nibbles(const uint8_t *b, uint8_t *q)
{
    for (int j = 0; j < 16; j++) {
        q[j] = b[j] & 15;
        q[j + 16] = b[j] >> 4;
    }
}

static void split_f16(PanelKind k, const uint8_t *b, Split *s)
{
    const PanelInfo *p = &kinds[k];
    s->d = u16_at(b);
    b += 2;
    if (p->has_min) {
        s->m = u16_at(b);
        b += 2;
    }
    if (p->bits == 8) {
        for (int j = 0; j < 32; j++) s->q[j] = b[j] ^ 0x80;
        return;
    }
    split_nibbles(b + (p->bits == 5 ? 4 : 0), s->q);
    if (p->bits == 5) s->top[0] = u32_at(b);
}

/* The 6-bit scales and minima of Q4_K and Q5_K. */
static void split_k_scales(const uint8_t *b, Split *s)
{
    for (int j = 0; j < 4; j++) {
        s->sc[j] = b[j] & 63;
        s->mn[j] = b[j + 4] & 63;
        s->sc[j + 4] = (uint8_t)((b[j + 8] & 15) | (b[j] >> 6) << 4);
        s->mn[j + 4] = (uint8_t)((b[j + 8] >> 4) | (b[j + 4] >> 6) << 4);
    }
}

static void split_q45_k(const uint8_t *b, bool five, Split *s)
{
    s->d = u16_at(b);
    s->m = u16_at(b + 2);
    split_k_scales(b + 4, s);
    const uint8_t *high = b + 16, *qs = five ? b + 48 : b + 16;
    for (int g = 0; g < 4; g++) {
        uint8_t *q = s->q + 64 * g;
        for (int l = 0; l < 32; l++) {
            q[l] = qs[32 * g + l] & 15;
            q[l + 32] = qs[32 * g + l] >> 4;
        }
        if (!five) continue;
        for (int side = 0; side < 2; side++) {
            uint32_t *bits = &s->top[2 * g + side];
            *bits = 0;
            for (int w = 0; w < GROUPS; w++) *bits |= gather_bits(u32_at(high + 4 * w) >> (2 * g + side)) << (4 * w);
        }
    }
}

static void split_q6_k(const uint8_t *b, Split *s)
{
    for (int h = 0; h < 2; h++) {
        const uint8_t *low = b + 64 * h, *high = b + 128 + 32 * h;
        uint8_t *q = s->q + 128 * h;
        for (int l = 0; l < 32; l++) {
            q[l] = (uint8_t)((low[l] & 15) | (high[l] & 3) << 4);
            q[l + 32] = (uint8_t)((low[l + 32] & 15) | (high[l] >> 2 & 3) << 4);
            q[l + 64] = (uint8_t)(low[l] >> 4 | (high[l] >> 4 & 3) << 4);
            q[l + 96] = (uint8_t)(low[l + 32] >> 4 | high[l] >> 6 << 4);
        }
    }
    memcpy(s->sc, b + 192, 16);
    s->d = u16_at(b + 208);
    s->m = 0;
}

/* 2-bit numbers of Q2_K and Q3_K: element 128h + 32j + l is bits 2j, 2j+1 of byte 32h + l. */
static void split_two_bits(const uint8_t *qs, uint8_t *q)
{
    for (int h = 0; h < 2; h++) {
        for (int j = 0; j < 4; j++) {
            for (int l = 0; l < 32; l++) q[128 * h + 32 * j + l] = qs[32 * h + l] >> (2 * j) & 3;
        }
    }
}

static void split_q3_k(const uint8_t *b, Split *s)
{
    const uint8_t *mask = b, *scales = b + 96;
    split_two_bits(b + 32, s->q);
    for (int i = 0; i < 8; i++) { /* a set bit means that 4 is not taken off: with offset 4, that it is added */
        s->top[i] = 0;
        for (int w = 0; w < GROUPS; w++) s->top[i] |= gather_bits(u32_at(mask + 4 * w) >> i) << (4 * w);
    }
    for (int i = 0; i < 16; i++) {
        int low = i < 8 ? scales[i] & 15 : scales[i - 8] >> 4;
        int high = scales[8 + i % 4] >> (2 * (i / 4)) & 3;
        s->sc[i] = (uint8_t)((low | high << 4) - 32);
    }
    s->d = u16_at(b + 108);
    s->m = 0;
}

static void split_q2_k(const uint8_t *b, Split *s)
{
    for (int i = 0; i < 16; i++) {
        s->sc[i] = b[i] & 15;
        s->mn[i] = b[i] >> 4;
    }
    split_two_bits(b + 16, s->q);
    s->d = u16_at(b + 80);
    s->m = u16_at(b + 82);
}

static void split_iq4_xs(const uint8_t *b, Split *s)
{
    s->d = u16_at(b);
    s->m = 0;
    unsigned high = u16_at(b + 2);
    for (int i = 0; i < 8; i++) {
        unsigned low = b[4 + i / 2] >> (4 * (i % 2)) & 15;
        s->sc[i] = (uint8_t)((low | (high >> (2 * i) & 3) << 4) - 32);
        split_nibbles(b + 8 + 16 * i, s->q + 32 * i);
    }
}

static void split(PanelKind k, const uint8_t *b, Split *s)
{
    switch (k) {
    case PANEL_Q4_0:
    case PANEL_Q4_1:
    case PANEL_Q5_0:
    case PANEL_Q5_1:
    case PANEL_Q8_0:
    case PANEL_IQ4_NL: split_f16(k, b, s); break;
    case PANEL_Q4_K: split_q45_k(b, false, s); break;
    case PANEL_Q5_K: split_q45_k(b, true, s); break;
    case PANEL_Q6_K: split_q6_k(b, s); break;
    case PANEL_Q3_K: split_q3_k(b, s); break;
    case PANEL_Q2_K: split_q2_k(b, s); break;
    case PANEL_IQ4_XS: split_iq4_xs(b, s); break;
    case PANEL_F32:
    case PANEL_F16:
    case PANEL_BF16:
    case PANEL_COUNT: base_panic(__FILE__, __LINE__, "not a block format");
    }
}

/* ---- the panel's fields ---- */

/* Pairs of bits of 4 groups side by side in a word: two words of a row. */
static void put_pairs(const uint32_t *w, int shift, int r, uint8_t *plane)
{
    for (int h = 0; h < 2; h++) {
        uint32_t v = 0;
        for (int j = 0; j < 4; j++) v |= (w[4 * h + j] >> shift & 0x03030303u) << (2 * j);
        put_u32(plane + 64 * h + 4 * r, v);
    }
}

static uint32_t get_pairs(const uint8_t *plane, int g, int r)
{
    return u32_at(plane + 64 * (g / 4) + 4 * r) >> (2 * (g % 4)) & 0x03030303u;
}

/* Where the masks of top bits, or the upper pairs, stand in a block. */
static int upper_at(int bits)
{
    return bits == 3 ? 128 : 256;
}

/* Block i of a Split, as row r of a block of the panel. */
static void put_numbers(int bits, const Split *s, int i, int r, uint8_t *block)
{
    uint32_t w[GROUPS];
    memcpy(w, s->q + (ptrdiff_t)32 * i, sizeof w);
    uint8_t *words = block + (ptrdiff_t)4 * r, *upper = block + upper_at(bits);
    if (bits == 8) {
        for (int g = 0; g < 8; g++) put_u32(words + (ptrdiff_t)64 * g, w[g]);
        return;
    }
    if (bits <= 3) {
        put_pairs(w, 0, r, block);
    } else {
        for (int g = 0; g < 4; g++)
            put_u32(words + (ptrdiff_t)64 * g, (w[g] & 0x0f0f0f0fu) | (w[g + 4] & 0x0f0f0f0fu) << 4);
    }
    if (bits == 6) put_pairs(w, 4, r, upper);
    for (int g = 0; bits % 2 && g < 8; g++)
        upper[8 * g + r / 2] |= (uint8_t)((s->top[i] >> (4 * g) & 15) << (4 * (r % 2)));
}

static void get_numbers(int bits, const uint8_t *block, int r, uint8_t *q)
{
    const uint8_t *words = block + (ptrdiff_t)4 * r, *upper = block + upper_at(bits);
    int low = bits <= 3 ? 2 : 4; /* bits outside the masks */
    for (int g = 0; g < GROUPS; g++) {
        uint32_t w;
        if (bits <= 3)
            w = get_pairs(block, g, r);
        else if (bits == 8)
            w = u32_at(words + (ptrdiff_t)64 * g);
        else
            w = u32_at(words + (ptrdiff_t)64 * (g % 4)) >> (g < 4 ? 0 : 4) & 0x0f0f0f0fu;
        if (bits == 6) w |= get_pairs(upper, g, r) << 4;
        for (int i = 0; i < 4; i++) {
            unsigned top = bits % 2 ? (unsigned)upper[8 * g + r / 2] >> (4 * (r % 2) + i) & 1 : 0;
            q[4 * g + i] = (uint8_t)(w >> (8 * i) | top << low);
        }
    }
}

/* Blocks of a Split: 1 for the formats with f16 scales, 8 for K-quants. */
static int split_blocks(const PanelInfo *p)
{
    return p->scale == SCALE_F16 ? 1 : SUPER_COLS / BLOCK_COLS;
}

static void put_scales(const PanelInfo *p, const Split *s, int i, int r, uint8_t *header)
{
    if (p->scale == SCALE_F16) {
        uint8_t *at = header + (p->has_min ? 64 : 32) * i + 2 * r;
        memcpy(at, &s->d, 2);
        if (p->has_min) memcpy(at + 32, &s->m, 2);
        return;
    }
    memcpy(header + 2 * r, &s->d, 2);
    memcpy(header + 32 + 2 * r, &s->m, 2);
    if (p->scale == SCALE_K16) {
        for (int j = 0; j < 16; j++)
            header[64 + 16 * j + r] = (uint8_t)(p->has_min ? s->sc[j] | s->mn[j] << 4 : s->sc[j]);
        return;
    }
    for (int j = 0; j < 8; j++) {
        header[64 + 16 * j + r] = s->sc[j];
        if (p->has_min) header[64 + 16 * (8 + j) + r] = s->mn[j];
    }
}

/* Blocks [from, to) of one row. */
static void pack_row_blocks(PanelKind k, const uint8_t *row, int r, int from, int to, uint8_t *panel)
{
    const PanelInfo *p = &kinds[k];
    int step = split_blocks(p);
    size_t file_bytes = (size_t)quant_info(p->dtype)->block_bytes;
    Split s;
    for (int b = from; b < to; b += step) {
        int in_unit = b % p->unit_blocks;
        uint8_t *header = panel + panel_at(p, b - in_unit);
        uint8_t *numbers = header + p->header + (size_t)in_unit * (size_t)p->block;
        split(k, row + (size_t)(b / step) * file_bytes, &s);
        put_scales(p, &s, in_unit, r, header);
        for (int i = 0; i < step; i++) put_numbers(p->bits, &s, i, r, numbers + (size_t)i * (size_t)p->block);
    }
}

/* In steps whose part of the panel stays in the cache, and whose part of a row is long enough to be fetched ahead. */
static void pack_blocks(PanelKind k, const void *const *rows, int cols, uint8_t *panel)
{
    enum { STEP = 64 };
    int n = cols / BLOCK_COLS;
    for (int from = 0; from < n; from += STEP) {
        for (int r = 0; r < PANEL_ROWS_BLOCK; r++) {
            if (rows[r]) pack_row_blocks(k, rows[r], r, from, MIN(from + STEP, n), panel);
        }
    }
}

/* Columns [from, to) of 32 rows. Words of 4 bytes (a float, or two bf16) or 2 (an f16) change places. */
static void turn_words(const void *const *rows, size_t from, size_t to, uint8_t *panel)
{
    for (int r = 0; r < PANEL_ROWS_FLOAT; r++) {
        const uint8_t *row = rows[r];
        if (!row) continue;
        for (size_t c = from; c < to; c++) memcpy(panel + 128 * c + 4 * r, row + 4 * c, 4);
    }
}

static void turn_halves(const void *const *rows, size_t from, size_t to, uint8_t *panel)
{
    for (int r = 0; r < PANEL_ROWS_FLOAT; r++) {
        const uint8_t *row = rows[r];
        if (!row) continue;
        for (size_t c = from; c < to; c++) memcpy(panel + 64 * c + 2 * r, row + 2 * c, 2);
    }
}

/* In steps, as pack_blocks. */
static void pack_16bit(PanelKind k, const void *const *rows, int cols, uint8_t *panel)
{
    enum { STEP = 256 };
    size_t words = (size_t)(k == PANEL_BF16 ? cols / 2 : cols);
    for (size_t from = 0; from < words; from += STEP) {
        size_t to = MIN(from + STEP, words);
        if (k == PANEL_BF16)
            turn_words(rows, from, to, panel);
        else
            turn_halves(rows, from, to, panel);
    }
    if (k == PANEL_F16 || cols % 2 == 0) return;
    for (int r = 0; r < PANEL_ROWS_FLOAT; r++) { /* the last column of an odd number, beside a zero */
        if (rows[r]) memcpy(panel + 128 * words + 4 * r, (const uint8_t *)rows[r] + 4 * words, 2);
    }
}

static void pack_f32(DType t, const void *const *rows, int cols, float *tmp, uint8_t *panel)
{
    for (int r = 0; r < PANEL_ROWS_FLOAT; r++) {
        if (!rows[r]) continue;
        quant_to_f32(t, rows[r], tmp, (size_t)cols);
        for (int c = 0; c < cols; c++) memcpy(panel + 128 * (size_t)c + 4 * r, &tmp[c], 4);
    }
}

void panel_pack(PanelKind k, DType t, const void *const *rows, int cols, float *tmp, uint8_t *panel)
{
    if (k == PANEL_F32)
        pack_f32(t, rows, cols, tmp, panel);
    else if (k == PANEL_F16 || k == PANEL_BF16)
        pack_16bit(k, rows, cols, panel);
    else
        pack_blocks(k, rows, cols, panel);
}

/* ---- one row back ---- */

/* The scale and minimum of half block `half` (16 columns) of a unit, in the order of operations of quant_to_f32. */
static void row_scales(const PanelInfo *p, const uint8_t *header, int half, int r, float *scale, float *min)
{
    if (p->scale == SCALE_F16) {
        const uint8_t *at = header + (p->has_min ? 64 : 32) * (half / 2) + 2 * r;
        *scale = f16_to_f32(u16_at(at));
        *min = p->has_min ? f16_to_f32(u16_at(at + 32)) : 0;
        return;
    }
    const uint8_t *at = header + 64 + (ptrdiff_t)16 * (p->scale == SCALE_K16 ? half : half / 2) + r;
    bool nibbles = p->scale == SCALE_K16 && p->has_min;
    int sc = !p->has_min ? (int8_t)at[0] : nibbles ? at[0] & 15 : at[0];
    int mn = !p->has_min ? 0 : nibbles ? at[0] >> 4 : at[128];
    *scale = f16_to_f32(u16_at(header + 2 * r)) * (float)sc;
    *min = -(f16_to_f32(u16_at(header + 32 + 2 * r)) * (float)mn);
}

static void row_of_blocks(const PanelInfo *p, const uint8_t *panel, int r, int cols, float *out)
{
    uint8_t q[BLOCK_COLS];
    for (int b = 0; b < cols / BLOCK_COLS; b++) {
        int in_unit = b % p->unit_blocks;
        const uint8_t *header = panel + panel_at(p, b - in_unit);
        get_numbers(p->bits, header + p->header + (size_t)in_unit * (size_t)p->block, r, q);
        for (int half = 0; half < 2; half++) {
            float scale, min;
            row_scales(p, header, 2 * in_unit + half, r, &scale, &min);
            for (int i = 16 * half; i < 16 * half + 16; i++) {
                float v = scale * (float)((p->codebook ? panel_iq4[q[i]] : q[i]) - p->offset);
                *out++ = p->has_min ? v + min : v;
            }
        }
    }
}

void panel_row(PanelKind k, const uint8_t *panel, int r, int cols, float *out)
{
    const PanelInfo *p = &kinds[k];
    if (p->act == ACT_INT8) {
        row_of_blocks(p, panel, r, cols, out);
        return;
    }
    for (int c = 0; c < cols; c++) {
        const uint8_t *block = panel + (size_t)(c / p->cols) * (size_t)p->block;
        if (k == PANEL_F32)
            memcpy(&out[c], block + 4 * r, 4);
        else if (k == PANEL_F16)
            out[c] = f16_to_f32(u16_at(block + 2 * r));
        else
            out[c] = bf16_to_f32(u16_at(block + 2 * (2 * r + c % 2)));
    }
}
