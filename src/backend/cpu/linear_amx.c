/* linear_amx.c - what AMX adds to AVX-512: products of whole tiles, of int8 and of bf16.
 *
 * The matrix unit multiplies A (16 tokens, 64 bytes of columns) by B (64 bytes of columns of 16 rows, in words of 4 bytes) and
 * adds to C (16 x 16 words). B's order is that of a panel: blocks of 8-bit numbers and pairs of bf16 can be B as they stand.
 *
 * Block formats with one scale a block: the numbers of a block of 32 columns are unpacked to signed bytes (offset off), one product
 * makes the integer sums of 16 tokens, and these are scaled into f32 by AVX-512, in the order of operations of
 * linear_kernels.h: so results equal those of the other instruction sets bit for bit, and fewer than 13 tokens, and formats with a
 * scale for each half, can be left to AVX-512, which is faster there. Four products are under way at a time, each with tiles
 * of its own, while the sums of the four before them are scaled. Measured on a Xeon of 16 cores: products without scaling 780
 * GFLOP/s, unpacking and scaling without products 880 to 1000, together 500 (AVX-512: 425): they hardly overlap.
 *
 * bf16: sums of up to 32 tokens by 32 rows stay in the unit; any number of tokens takes this path, because the unit sums in an
 * order of its own. Bound: 16 clocks for 16 x 16 x 32 products.
 *
 * Rows of A beyond the tile's tokens are whatever lies there; the rows of C that they make are never looked at.
 * Every tile sets the unit up as it needs it; leave puts its state away. */
#include <cpuid.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The words first, then what is written in them. */
/* clang-format off */
#include "backend/cpu/linear_avx512.h"
#include "backend/cpu/linear_tile.h"
/* clang-format on */

enum { AMX_TOKENS = 16, LINE = 64, PAIRS = 16 /* of columns in a tile of bf16 */, GROUP = 4 /* products under way */ };

/* What each tile register is. Intrinsics want their numbers spelled out. */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} TileConfig;

/* 0..3: C; 4 and 6: A, 16 tokens of 32 columns; 5 and 7: B, 8 groups of 4 columns. */
static const TileConfig config_int8 = { .palette = 1,
                                        .row_bytes = { 64, 64, 64, 64, 32, 64, 32, 64 },
                                        .rows = { 16, 16, 16, 16, 16, 8, 16, 8 } };
/* 0..3: C; 4 and 5: A, 16 tokens of 32 columns each; 6 and 7: B, 16 pairs of columns of 16 rows each. */
static const TileConfig config_pairs = { .palette = 1,
                                         .row_bytes = { 64, 64, 64, 64, 64, 64, 64, 64 },
                                         .rows = { 16, 16, 16, 16, 16, 16, 16, 16 } };
_Static_assert(sizeof(TileConfig) == 64, "as ldtilecfg reads it");

static void leave(void)
{
    _tile_release();
}

/* Compilers know the names of these features only of late: cpuid it is. */
bool linear_amx_allowed(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    const unsigned wanted = 1u << 22 | 1u << 24 | 1u << 25; /* bf16, tiles, int8 */
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & wanted) == wanted &&
           syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

/* The intrinsics do not tell the compiler that they read memory. */
static inline void written(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

/* ---- block formats ---- */

typedef struct {
    const uint8_t *w, *header, *a;
    int b; /* of its unit */
} Block;

/* Products under way. */
typedef struct {
    Block block[GROUP];
    int n_blocks;
    alignas(LINE) uint8_t numbers[GROUP][BLOCK_COLS * PANEL_ROWS_BLOCK];
    alignas(LINE) int32_t sums[GROUP][AMX_TOKENS * PANEL_ROWS_BLOCK];
} Group;

INLINE void unpack(Form f, const uint8_t *w, uint8_t *to)
{
    const int offset = f.bits == 8 || f.codebook ? 128 : 1 << (f.bits - 1);
    UNROLL
    for (int g = 0; g < 8; g++) {
        vi v = numbers(f, w, 0, g);
        if (f.offset) v = _mm512_sub_epi8(v, vi_byte(offset));
        _mm512_store_si512(to + LINE * g, v);
    }
}

#define MULTIPLY(c, a, b, act, numbers)                                                                                \
    _tile_zero(c);                                                                                                     \
    _tile_loadd(a, act, BLOCK_COLS);                                                                                   \
    _tile_loadd(b, numbers, LINE);                                                                                     \
    _tile_dpbssd(c, a, b)

INLINE void multiply(Form f, Group *g)
{
    for (int i = 0; i < g->n_blocks; i++) unpack(f, g->block[i].w, g->numbers[i]);
    written();
    MULTIPLY(0, 4, 5, g->block[0].a, g->numbers[0]);
    if (g->n_blocks > 1) {
        MULTIPLY(1, 6, 7, g->block[1].a, g->numbers[1]);
    }
    if (g->n_blocks > 2) {
        MULTIPLY(2, 4, 5, g->block[2].a, g->numbers[2]);
    }
    if (g->n_blocks > 3) {
        MULTIPLY(3, 6, 7, g->block[3].a, g->numbers[3]);
    }
    _tile_stored(0, g->sums[0], LINE); /* of products that were not made: whatever, nobody looks */
    _tile_stored(1, g->sums[1], LINE);
    _tile_stored(2, g->sums[2], LINE);
    _tile_stored(3, g->sums[3], LINE);
    written();
}

INLINE void scale_sums(Form f, int n, const Block *k, const int32_t *sums, vf *acc)
{
    const uint8_t *d = k->a + 32 * n, *x = d + 4 * n;
    vf scale = scale_of(f, k->header, 0, k->b);
    UNROLL
    for (int t = 0; t < n; t++) {
        vf sum = vf_of_vi(_mm512_load_si512(sums + PANEL_ROWS_BLOCK * t));
        acc[t] = vf_fma(vf_mul(sum, scale), vf_word(d + 4 * t), acc[t]);
    }
    if (f.has_min) add_min(n, min_of(f, k->header, 0, k->b), x, acc);
}

INLINE void scale_group(Form f, int n, const Group *g, vf *acc)
{
    for (int i = 0; i < g->n_blocks; i++) scale_sums(f, n, &g->block[i], g->sums[i], acc);
}

/* The next blocks, from `next` on, which moves behind them. */
INLINE void take_blocks(Form f, int n, int n_blocks, Block *next, Group *g)
{
    g->n_blocks = n_blocks;
    for (int i = 0; i < n_blocks; i++) {
        g->block[i] = *next;
        next->a += f.act * n;
        next->w += f.block;
        if (++next->b < f.unit_blocks) continue;
        next->b = 0;
        next->header = next->w;
        next->w += f.header;
    }
}

INLINE void tile_int8(Form f, int n, const Tile *t)
{
    _tile_loadconfig(&config_int8);
    vf acc[AMX_TOKENS];
    Group group[2];
    UNROLL
    for (int i = 0; i < n; i++) acc[i] = t->first ? vf_zero() : vf_load(t->carry + PANEL_ROWS_BLOCK * i);
    Block next = { t->w + f.header, t->w, t->act, 0 };
    int now = 0;
    for (int i = 0; i < t->n_blocks; i += GROUP, now ^= 1) {
        take_blocks(f, n, MIN(GROUP, t->n_blocks - i), &next, &group[now]);
        if (t->fetch) fetch(group[now].block[0].w, GROUP * f.block);
        multiply(f, &group[now]);
        if (i) scale_group(f, n, &group[now ^ 1], acc);
    }
    scale_group(f, n, &group[now ^ 1], acc);
    UNROLL
    for (int i = 0; i < n; i++) {
        if (t->last)
            finish(t, i, 0, acc[i]);
        else
            vf_store(t->carry + PANEL_ROWS_BLOCK * i, acc[i]);
    }
}

/* ---- bf16 ---- */

/* [token][32] bf16 per 32 columns, the last of them filled up with 0. */
static void pack_rows(const ActForm *f, const float *in, size_t in_stride, int n_tok, int cols, uint8_t *out)
{
    (void)f;
    for (int c = 0; c < cols; c += 2 * VW) {
        int low = MIN(cols - c, VW), high = MIN(MAX(cols - c - VW, 0), VW);
        for (int t = 0; t < n_tok; t++, out += LINE) {
            const float *x = in + (size_t)t * in_stride + c;
            vf a = vf_load_n(x, low), b = high ? vf_load_n(x + VW, high) : vf_zero();
            _mm512_storeu_si512(out, (__m512i)_mm512_cvtne2ps_pbh(b, a));
        }
    }
}

/* 16 pairs of columns of all 32 rows at w; more: than 16 tokens. */
INLINE void multiply_pairs(bool more, const uint8_t *w, const uint8_t *a)
{
    _tile_loadd(6, w, 2 * LINE);
    _tile_loadd(4, a, LINE);
    _tile_loadd(7, w + LINE, 2 * LINE);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if (!more) return;
    _tile_loadd(5, a + LINE * AMX_TOKENS, LINE);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

INLINE void tile_pairs(int n, const Tile *t)
{
    enum { SECOND = AMX_TOKENS * PANEL_ROWS_FLOAT };
    const bool more = n > AMX_TOKENS;
    _tile_loadconfig(&config_pairs); /* sums are 0 now */
    if (!t->first) {
        _tile_loadd(0, t->carry, 2 * LINE);
        _tile_loadd(1, t->carry + VW, 2 * LINE);
        if (more) {
            _tile_loadd(2, t->carry + SECOND, 2 * LINE);
            _tile_loadd(3, t->carry + SECOND + VW, 2 * LINE);
        }
    }
    const uint8_t *w = t->w, *a = t->act;
    int left = t->n_blocks;
    for (; left >= PAIRS; left -= PAIRS) {
        if (t->fetch) fetch(w, 2 * LINE * PAIRS);
        multiply_pairs(more, w, a);
        w += 2 * LINE * PAIRS;
        a += LINE * n;
    }
    if (left) {
        alignas(LINE) uint8_t rest[2 * LINE * PAIRS] = { 0 };
        memcpy(rest, w, (size_t)left * 2 * LINE);
        written();
        multiply_pairs(more, rest, a);
    }
    alignas(LINE) float out[2 * SECOND];
    float *to = t->last ? out : t->carry;
    _tile_stored(0, to, 2 * LINE);
    _tile_stored(1, to + VW, 2 * LINE);
    if (more) {
        _tile_stored(2, to + SECOND, 2 * LINE);
        _tile_stored(3, to + SECOND + VW, 2 * LINE);
    }
    written();
    for (int i = 0; i < n && t->last; i++) {
        finish(t, i, 0, vf_load(out + PANEL_ROWS_FLOAT * i));
        finish(t, i, VW, vf_load(out + PANEL_ROWS_FLOAT * i + VW));
    }
}

/* ---- all instances ---- */

#define MANY_TOKENS(X, ...)                                                                                            \
    X(13, __VA_ARGS__)                                                                                                 \
    X(14, __VA_ARGS__)                                                                                                 \
    X(15, __VA_ARGS__)                                                                                                 \
    X(16, __VA_ARGS__)
#define MOST_TOKENS(X, ...)                                                                                            \
    X(17, __VA_ARGS__)                                                                                                 \
    X(18, __VA_ARGS__)                                                                                                 \
    X(19, __VA_ARGS__)                                                                                                 \
    X(20, __VA_ARGS__)                                                                                                 \
    X(21, __VA_ARGS__)                                                                                                 \
    X(22, __VA_ARGS__)                                                                                                 \
    X(23, __VA_ARGS__)                                                                                                 \
    X(24, __VA_ARGS__)                                                                                                 \
    X(25, __VA_ARGS__)                                                                                                 \
    X(26, __VA_ARGS__)                                                                                                 \
    X(27, __VA_ARGS__)                                                                                                 \
    X(28, __VA_ARGS__)                                                                                                 \
    X(29, __VA_ARGS__)                                                                                                 \
    X(30, __VA_ARGS__)                                                                                                 \
    X(31, __VA_ARGS__)                                                                                                 \
    X(32, __VA_ARGS__)

#define INT8_FN(n, kind, ...)                                                                                          \
    static void kind##_##n(const Tile *t)                                                                              \
    {                                                                                                                  \
        tile_int8((Form){ __VA_ARGS__ }, n, t);                                                                        \
    }
#define PAIRS_FN(n, kind)                                                                                              \
    static void kind##_##n(const Tile *t)                                                                              \
    {                                                                                                                  \
        tile_pairs(n, t);                                                                                              \
    }

/* clang-format off */
#define INT8_FNS(...) MANY_TOKENS(INT8_FN, __VA_ARGS__)
WHOLE_FORMATS(INT8_FNS)
TOKENS(PAIRS_FN, BF16)
MANY_TOKENS(PAIRS_FN, BF16)
MOST_TOKENS(PAIRS_FN, BF16)

#define INT8_ROW(kind, ...) [PANEL_##kind] = { MANY_TOKENS(ENTRY, kind) },

const LinearKernels linear_amx = {
    .pair_act = ACT_BF16_ROWS,
    .leave = leave,
    .pack = { [ACT_BF16_ROWS] = pack_rows },
    .tile = { [PANEL_BF16] = { TOKENS(ENTRY, BF16) MANY_TOKENS(ENTRY, BF16) MOST_TOKENS(ENTRY, BF16) }, WHOLE_FORMATS(INT8_ROW) }
};
/* clang-format on */
