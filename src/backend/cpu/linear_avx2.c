/* linear_avx2.c - packing of activations and tile products for AVX2 with FMA and F16C.
 *
 * The panels, and the order of f32 operations, are those of the AVX-512 path; a panel's rows are taken in parts of 8
 * (16 for floats), one after the other. There is no 8-bit product that sums into 32 bits: vpmaddubsw makes pairs in 16.
 * For 4-, 5- and 6-bit numbers up to 4 of these are added before they are widened (4 * 2 * 31 * 127 < 2^15). Numbers
 * of 8 bits (and codebook values) would overflow as unsigned, so their sign is moved to the activation.
 *
 * Any thread; no state. */
#include <immintrin.h>
#include <math.h>

#include "backend/cpu/linear_kernels.h"

enum { TOKENS_MAX = 4, PART = 8 };

INLINE __m256i load_i(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

INLINE int32_t word(const uint8_t *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return v;
}

INLINE __m256i broadcast_i(const uint8_t *p)
{
    return _mm256_set1_epi32(word(p));
}

INLINE __m256 broadcast_f(const uint8_t *p)
{
    return _mm256_castsi256_ps(broadcast_i(p));
}

INLINE __m256 load_f16(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

INLINE __m256 load_u8(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

/* The lower or upper halves of 8 bytes. */
INLINE __m256 load_nibbles(const uint8_t *p, bool upper)
{
    __m128i v = _mm_loadl_epi64((const __m128i *)(const void *)p);
    v = _mm_and_si128(upper ? _mm_srli_epi16(v, 4) : v, _mm_set1_epi8(15));
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(v));
}

INLINE __m256 load_i8(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

/* ---- packing ---- */

static float largest(const float *x)
{
    int32_t bits = 0;
    for (int i = 0; i < BLOCK_COLS; i++) {
        int32_t v = word((const uint8_t *)(x + i)) & 0x7fffffff; /* NaN is the largest */
        bits = MAX(bits, v);
    }
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

/* 32 columns of one token: int8 numbers and scale; the sum of each half. */
static float round_block(const float *x, uint8_t *q, int *sum)
{
    float amax = largest(x);
    bool none = amax < ACT_TINY;
    __m256 inv = _mm256_set1_ps(none ? 0 : 127.0f / amax);
    for (int h = 0; h < 2; h++) {
        __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 16 * h), inv));
        __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 16 * h + 8), inv));
        __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
        __m128i v = _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
        _mm_storeu_si128((__m128i *)(void *)(q + 16 * h), v);
        __m256i s = _mm256_madd_epi16(w, _mm256_set1_epi16(1));
        __m128i t = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
        t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4e));
        sum[h] = _mm_cvtsi128_si32(_mm_add_epi32(t, _mm_shuffle_epi32(t, 0xb1)));
    }
    return none ? 0 : amax / 127.0f;
}

static void put_sum(const ActForm *f, float d, int sum, uint8_t *out)
{
    uint32_t off = 0u - (uint32_t)f->offset * (uint32_t)sum; /* a sum of infinite numbers may be anything */
    float scaled = d * (float)sum;
    if (f->sums)
        memcpy(out, &scaled, 4);
    else
        memcpy(out, &off, 4);
}

static void pack_int8(const ActForm *f, const float *in, size_t in_stride, int n_tok, int cols, uint8_t *out)
{
    size_t block = (size_t)act_bytes(f) * (size_t)n_tok;
    for (int t = 0; t < n_tok; t++) {
        const float *x = in + (size_t)t * in_stride;
        uint8_t *q = out + t * BLOCK_COLS, *extra = out + n_tok * BLOCK_COLS + 4 * t;
        for (int c = 0; c < cols; c += BLOCK_COLS, q += block, extra += block) {
            int sum[2];
            float d = round_block(x + c, q, sum);
            memcpy(extra, &d, 4);
            put_sum(f, d, f->halves ? sum[0] : sum[0] + sum[1], extra + 4 * n_tok);
            if (f->halves) put_sum(f, d, sum[1], extra + 8 * n_tok);
        }
    }
}

static void pack(const ActForm *f, const float *in, size_t in_stride, int n_tok, int cols, uint8_t *out)
{
    if (f->kind == ACT_INT8) {
        pack_int8(f, in, in_stride, n_tok, cols, out);
        return;
    }
    for (int t = 0; t < n_tok; t++) {
        const float *x = in + (size_t)t * in_stride;
        uint8_t *at = out + 4 * t;
        if (f->kind == ACT_F32) {
            for (int c = 0; c < cols; c++) memcpy(at + 4 * (size_t)c * (size_t)n_tok, &x[c], 4);
            continue;
        }
        for (int c = 0; c < cols; c += 2) {
            uint16_t pair[2] = { f32_to_bf16(x[c]), c + 1 < cols ? f32_to_bf16(x[c + 1]) : 0 };
            memcpy(at + 2 * (size_t)c * (size_t)n_tok, pair, 4);
        }
    }
}

/* ---- writing out ---- */

/* 8 rows of one token; first: the row of the panel that lane 0 is. */
INLINE void finish(const Tile *t, int token, int first, __m256 v)
{
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i m = _mm256_cmpgt_epi32(_mm256_set1_epi32(t->n_rows - first), lanes);
    float *out = t->out + (size_t)token * t->out_stride + first;
    if (t->bias) v = _mm256_add_ps(v, _mm256_maskload_ps(t->bias + first, m));
    if (t->add) v = _mm256_add_ps(_mm256_maskload_ps(out, m), v);
    _mm256_maskstore_ps(out, m, v);
}

/* ---- block formats ---- */

typedef struct {
    int bits;
    bool codebook, has_min, offset;
    ScaleKind scale;
    int unit_blocks, header, block, act; /* act: bytes of a token in a block */
} Form;

/* Numbers whose sign has to be moved; their offset is taken off here, exactly. */
INLINE bool is_signed(Form f)
{
    return f.bits == 8 || f.codebook;
}

/* Bits 2j, 2j + 1 of each byte, shifted to 4, 5 (up: what is left around them is for the caller to mask) or to 0, 1. */
INLINE __m256i pairs(__m256i h, int j, bool up)
{
    if (up)
        return j == 0   ? _mm256_slli_epi16(h, 4)
               : j == 1 ? _mm256_slli_epi16(h, 2)
               : j == 2 ? h
                        : _mm256_srli_epi16(h, 2);
    return j == 0 ? h : j == 1 ? _mm256_srli_epi16(h, 2) : j == 2 ? _mm256_srli_epi16(h, 4) : _mm256_srli_epi16(h, 6);
}

/* Adds `top` to the bytes whose bit in a mask of 32 is set. */
INLINE __m256i add_top(const uint8_t *mask, __m256i number, __m256i top)
{
    const __m256i byte_of = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i v = _mm256_and_si256(_mm256_shuffle_epi8(broadcast_i(mask), byte_of), bit);
    return _mm256_or_si256(number, _mm256_and_si256(_mm256_cmpeq_epi8(v, bit), top));
}

/* The numbers of k-group g (columns 4g..4g+3) of rows 8 part..8 part + 7 as bytes. */
INLINE __m256i numbers(Form f, const uint8_t *w, int part, int g)
{
    w += 32 * part;
    if (f.bits == 8) return _mm256_xor_si256(load_i(w + 64 * g), _mm256_set1_epi8(-128));
    const uint8_t *mask = w - 28 * part + 8 * g; /* from the block's first mask: 4 bytes a part */
    if (f.bits <= 3) {
        __m256i v = _mm256_and_si256(pairs(load_i(w + 64 * (g / 4)), g % 4, false), _mm256_set1_epi8(3));
        return f.bits == 3 ? add_top(mask + 128, v, _mm256_set1_epi8(4)) : v;
    }
    __m256i v = load_i(w + 64 * (g % 4));
    v = _mm256_and_si256(g < 4 ? v : _mm256_srli_epi16(v, 4), _mm256_set1_epi8(15));
    if (f.bits == 5) v = add_top(mask + 256, v, _mm256_set1_epi8(16));
    if (f.bits == 6) {
        __m256i h = pairs(load_i(w + 256 + 64 * (g / 4)), g % 4, true);
        v = _mm256_or_si256(v, _mm256_and_si256(h, _mm256_set1_epi8(48)));
    }
    if (f.codebook) {
        const __m256i book = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)panel_iq4));
        v = _mm256_xor_si256(_mm256_shuffle_epi8(book, v), _mm256_set1_epi8(-128));
    }
    return v;
}

/* Bytes that the kernels will want soon; an address past the weights does no harm. */
INLINE void fetch(const uint8_t *w, int bytes)
{
    UNROLL
    for (int i = 0; i < bytes / 64; i++) _mm_prefetch((const char *)w + FETCH_AHEAD + 64 * i, _MM_HINT_T0);
}

/* Adds the integer sums of 16 columns (groups g0..g0+3) to z. */
INLINE void dot_half(Form f, int n, const uint8_t *w, int part, const uint8_t *a, int g0, __m256i *z)
{
    const __m256i ones = _mm256_set1_epi16(1);
    const int together = is_signed(f) ? 1 : f.bits == 6 ? 2 : 4;
    __m256i pairs[TOKENS_MAX];
    UNROLL
    for (int g = 0; g < 4; g++) {
        __m256i v = numbers(f, w, part, g0 + g), size = is_signed(f) ? _mm256_abs_epi8(v) : v;
        UNROLL
        for (int t = 0; t < n; t++) {
            __m256i b = broadcast_i(a + 32 * t + 4 * (g0 + g));
            if (is_signed(f)) b = _mm256_sign_epi8(b, v);
            b = _mm256_maddubs_epi16(size, b);
            pairs[t] = g % together == 0 ? b : _mm256_add_epi16(pairs[t], b);
            if (g % together == together - 1) z[t] = _mm256_add_epi32(z[t], _mm256_madd_epi16(pairs[t], ones));
        }
    }
}

/* x: where the sums that packing prepared stand, one word a token. */
INLINE void start_sums(Form f, int n, const uint8_t *x, __m256i *z)
{
    UNROLL
    for (int t = 0; t < n; t++) z[t] = f.offset && !is_signed(f) ? broadcast_i(x + 4 * t) : _mm256_setzero_si256();
}

/* The scale of block b of a unit; of half block b if SCALE_K16. */
INLINE __m256 scale_of(Form f, const uint8_t *header, int part, int b)
{
    if (f.scale == SCALE_F16) return load_f16(header + b * (f.has_min ? 64 : 32) + 16 * part);
    const uint8_t *sc = header + 64 + 16 * b + PART * part;
    if (f.scale == SCALE_K16 && f.has_min) return _mm256_mul_ps(load_f16(header + 16 * part), load_nibbles(sc, false));
    return _mm256_mul_ps(load_f16(header + 16 * part), f.has_min ? load_u8(sc) : load_i8(sc));
}

INLINE __m256 min_of(Form f, const uint8_t *header, int part, int b)
{
    if (f.scale == SCALE_F16) return load_f16(header + b * 64 + 32 + 16 * part);
    const uint8_t *at = header + 64 + 16 * b + PART * part;
    __m256 mn = f.scale == SCALE_K16 ? load_nibbles(at, true) : load_u8(at + 128);
    __m256 v = _mm256_mul_ps(load_f16(header + 32 + 16 * part), mn);
    return _mm256_sub_ps(_mm256_setzero_ps(), v);
}

INLINE void add_min(int n, __m256 min, const uint8_t *x, __m256 *acc)
{
    UNROLL
    for (int t = 0; t < n; t++) acc[t] = _mm256_fmadd_ps(min, broadcast_f(x + 4 * t), acc[t]);
}

/* One block with one scale. */
INLINE void block_whole(Form f, int n, const uint8_t *w, const uint8_t *header, int part, int b, const uint8_t *a,
                        __m256 *acc)
{
    const uint8_t *d = a + 32 * n, *x = d + 4 * n;
    __m256i z[TOKENS_MAX];
    start_sums(f, n, x, z);
    dot_half(f, n, w, part, a, 0, z);
    dot_half(f, n, w, part, a, 4, z);
    __m256 scale = scale_of(f, header, part, b);
    UNROLL
    for (int t = 0; t < n; t++) {
        __m256 s = _mm256_mul_ps(_mm256_cvtepi32_ps(z[t]), scale);
        acc[t] = _mm256_fmadd_ps(s, broadcast_f(d + 4 * t), acc[t]);
    }
    if (f.has_min) add_min(n, min_of(f, header, part, b), x, acc);
}

/* One block with a scale for each half. */
INLINE void block_halves(Form f, int n, const uint8_t *w, const uint8_t *header, int part, int b, const uint8_t *a,
                         __m256 *acc)
{
    const uint8_t *d = a + 32 * n, *x = d + 4 * n;
    __m256i z[TOKENS_MAX];
    __m256 s[TOKENS_MAX];
    start_sums(f, n, x, z);
    dot_half(f, n, w, part, a, 0, z);
    __m256 scale = scale_of(f, header, part, 2 * b);
    UNROLL
    for (int t = 0; t < n; t++) s[t] = _mm256_mul_ps(_mm256_cvtepi32_ps(z[t]), scale);
    start_sums(f, n, x + 4 * n, z);
    dot_half(f, n, w, part, a, 4, z);
    scale = scale_of(f, header, part, 2 * b + 1);
    UNROLL
    for (int t = 0; t < n; t++) {
        s[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(z[t]), scale, s[t]);
        acc[t] = _mm256_fmadd_ps(s[t], broadcast_f(d + 4 * t), acc[t]);
    }
    if (!f.has_min) return;
    add_min(n, min_of(f, header, part, 2 * b), x, acc);
    add_min(n, min_of(f, header, part, 2 * b + 1), x + 4 * n, acc);
}

INLINE void tile_block(Form f, int n, int part, const Tile *t)
{
    __m256 acc[TOKENS_MAX];
    UNROLL
    for (int i = 0; i < n; i++)
        acc[i] = t->first ? _mm256_setzero_ps() : _mm256_load_ps(t->carry + 16 * i + PART * part);
    const uint8_t *w = t->w, *a = t->act;
    for (int left = t->n_blocks; left > 0; left -= f.unit_blocks) {
        const uint8_t *header = w;
        w += f.header;
        for (int b = 0; b < MIN(left, f.unit_blocks); b++) {
            if (t->fetch && part == 0) fetch(w, f.block);
            if (f.scale == SCALE_K16)
                block_halves(f, n, w, header, part, b, a, acc);
            else
                block_whole(f, n, w, header, part, b, a, acc);
            w += f.block;
            a += f.act * n;
        }
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        if (t->last)
            finish(t, i, PART * part, acc[i]);
        else
            _mm256_store_ps(t->carry + 16 * i + PART * part, acc[i]);
    }
}

/* ---- floats ---- */

/* 8 rows of one block (a column; of bf16 two, added in turn) times one token. */
INLINE __m256 step(PanelKind k, const uint8_t *w, const uint8_t *a, __m256 acc)
{
    if (k == PANEL_F16) return _mm256_fmadd_ps(load_f16(w), broadcast_f(a), acc);
    if (k == PANEL_F32) return _mm256_fmadd_ps(_mm256_castsi256_ps(load_i(w)), broadcast_f(a), acc);
    const __m256i odd = _mm256_set1_epi32((int)0xffff0000);
    __m256i ww = load_i(w), aa = broadcast_i(a);
    acc = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_slli_epi32(ww, 16)),
                          _mm256_castsi256_ps(_mm256_slli_epi32(aa, 16)), acc);
    return _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_and_si256(ww, odd)),
                           _mm256_castsi256_ps(_mm256_and_si256(aa, odd)), acc);
}

/* Rows 16 part .. 16 part + 15 of a panel. */
INLINE void tile_float(PanelKind k, int n, int part, const Tile *t)
{
    const int lane = k == PANEL_F16 ? 16 : 32, block = 4 * lane; /* bytes of 8 rows, of all 32 */
    __m256 acc[2 * TOKENS_MAX];
    UNROLL
    for (int i = 0; i < 2 * n; i++) {
        const float *from = t->carry + 32 * (i / 2) + 16 * part + 8 * (i % 2);
        acc[i] = t->first ? _mm256_setzero_ps() : _mm256_load_ps(from);
    }
    const uint8_t *w = t->w + 2 * lane * part, *a = t->act;
    for (int b = 0; b < t->n_blocks; b++) {
        if (t->fetch && part == 0) fetch(w, 128);
        UNROLL
        for (int i = 0; i < 2 * n; i++) acc[i] = step(k, w + lane * (i % 2), a + 4 * (i / 2), acc[i]);
        w += block;
        a += 4 * n;
    }
    UNROLL
    for (int i = 0; i < 2 * n; i++) {
        if (t->last)
            finish(t, i / 2, 16 * part + 8 * (i % 2), acc[i]);
        else
            _mm256_store_ps(t->carry + 32 * (i / 2) + 16 * part + 8 * (i % 2), acc[i]);
    }
}

/* ---- all instances ---- */

#define TOKENS(X, ...) X(1, __VA_ARGS__) X(2, __VA_ARGS__) X(3, __VA_ARGS__) X(4, __VA_ARGS__)

#define BLOCK_FN(n, kind, ...)                                                                                         \
    static void kind##_##n(const Tile *t)                                                                              \
    {                                                                                                                  \
        for (int part = 0; part < 2; part++) tile_block((Form){ __VA_ARGS__ }, n, part, t);                            \
    }
#define FLOAT_FN(n, kind)                                                                                              \
    static void kind##_##n(const Tile *t)                                                                              \
    {                                                                                                                  \
        for (int part = 0; part < 2; part++) tile_float(PANEL_##kind, n, part, t);                                     \
    }

/* The numbers of panel.c's table as constants: bits, codebook, has_min, offset, scale, unit, header, block, act. */
/* clang-format off */
TOKENS(FLOAT_FN, F32)
TOKENS(FLOAT_FN, F16)
TOKENS(FLOAT_FN, BF16)
TOKENS(BLOCK_FN, Q4_0,   4, false, false, true,  SCALE_F16, 2, 64,  256, 40)
TOKENS(BLOCK_FN, Q4_1,   4, false, true,  false, SCALE_F16, 2, 128, 256, 40)
TOKENS(BLOCK_FN, Q5_0,   5, false, false, true,  SCALE_F16, 2, 64,  320, 40)
TOKENS(BLOCK_FN, Q5_1,   5, false, true,  false, SCALE_F16, 2, 128, 320, 40)
TOKENS(BLOCK_FN, Q8_0,   8, false, false, true,  SCALE_F16, 2, 64,  512, 40)
TOKENS(BLOCK_FN, IQ4_NL, 4, true,  false, true,  SCALE_F16, 2, 64,  256, 40)
TOKENS(BLOCK_FN, Q4_K,   4, false, true,  false, SCALE_K32, 8, 320, 256, 40)
TOKENS(BLOCK_FN, Q5_K,   5, false, true,  false, SCALE_K32, 8, 320, 320, 40)
TOKENS(BLOCK_FN, IQ4_XS, 4, true,  false, true,  SCALE_K32, 8, 192, 256, 40)
TOKENS(BLOCK_FN, Q6_K,   6, false, false, true,  SCALE_K16, 8, 320, 384, 44)
TOKENS(BLOCK_FN, Q3_K,   3, false, false, true,  SCALE_K16, 8, 320, 192, 44)
TOKENS(BLOCK_FN, Q2_K,   2, false, true,  false, SCALE_K16, 8, 320, 128, 44)

#define ENTRY(n, kind) [n] = kind##_##n,
#define ROW(kind) [PANEL_##kind] = { TOKENS(ENTRY, kind) }

const LinearKernels linear_avx2 = {
    .tile_max = TOKENS_MAX,
    .pack = pack,
    .tile = { ROW(F32), ROW(F16), ROW(BF16), ROW(Q4_0), ROW(Q4_1), ROW(Q5_0), ROW(Q5_1), ROW(Q8_0), ROW(IQ4_NL),
              ROW(Q4_K), ROW(Q5_K), ROW(IQ4_XS), ROW(Q6_K), ROW(Q3_K), ROW(Q2_K) }
};
/* clang-format on */
