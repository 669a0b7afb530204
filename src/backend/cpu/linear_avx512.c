/* linear_avx512.c - packing of activations and tile products for AVX-512 with VNNI and BF16.
 *
 * A tile keeps one vector of sums per token (two for panels of 32 rows): 16 output rows in its lanes. For block formats
 * vpdpbusd multiplies 4 columns of 16 rows (unsigned weights) by 4 activations that are broadcast from memory; after a
 * block of 32 columns the integer sums are scaled into f32. The offset of the weights is taken off by starting the
 * integer sums at -offset * sum(a), which packing has prepared.
 *
 * tile_block and tile_float are written once and compiled for every format and number of tokens (1 to TILE_MAX): all
 * their parameters but the Tile are constants where they are called. Bounds: loads of broadcasts, two a clock, of which
 * a tile of n tokens needs n + 1 (plus unpacking) for n vpdpbusd.
 *
 * Any thread; no state. */
#include <immintrin.h>

#include "backend/cpu/linear_kernels.h"

INLINE __m512i load_i(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}

INLINE __m512i broadcast_i(const uint8_t *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
}

INLINE __m512 broadcast_f(const uint8_t *p)
{
    float v;
    memcpy(&v, p, 4);
    return _mm512_set1_ps(v);
}

INLINE __m512 load_f16(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

INLINE __m512 load_u8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

/* The lower or upper halves of 16 bytes. */
INLINE __m512 load_nibbles(const uint8_t *p, bool upper)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    v = _mm_and_si128(upper ? _mm_srli_epi16(v, 4) : v, _mm_set1_epi8(15));
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(v));
}

INLINE __m512 load_i8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

/* ---- packing ---- */

/* 32 columns of one token: int8 numbers and scale; the sum of each half, or in sum[0] of all. */
INLINE float round_block(const float *x, bool halves, uint8_t *q, int *sum)
{
    __m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16);
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i ma = _mm512_and_si512(_mm512_castps_si512(a), magnitude);
    __m512i mb = _mm512_and_si512(_mm512_castps_si512(b), magnitude);
    int32_t bits = _mm512_reduce_max_epi32(_mm512_max_epi32(ma, mb)); /* NaN is the largest */
    float amax;
    memcpy(&amax, &bits, 4);
    bool none = amax < ACT_TINY;
    const __m512i least = _mm512_set1_epi32(-128); /* instead of what a NaN becomes, so that sums cannot overflow */
    __m512 inv = _mm512_set1_ps(none ? 0 : 127.0f / amax);
    __m512i ia = _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(a, inv)), least);
    __m512i ib = _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(b, inv)), least);
    _mm_storeu_si128((__m128i *)(void *)q, _mm512_cvtsepi32_epi8(ia));
    _mm_storeu_si128((__m128i *)(void *)(q + 16), _mm512_cvtsepi32_epi8(ib));
    sum[0] = _mm512_reduce_add_epi32(halves ? ia : _mm512_add_epi32(ia, ib));
    if (halves) sum[1] = _mm512_reduce_add_epi32(ib);
    return none ? 0 : amax / 127.0f;
}

INLINE void put_sum(const ActForm *f, float d, int sum, uint8_t *out)
{
    uint32_t off = 0u - (uint32_t)f->offset * (uint32_t)sum; /* a sum of infinite numbers may be anything */
    float scaled = d * (float)sum;
    if (f->sums)
        memcpy(out, &scaled, 4);
    else
        memcpy(out, &off, 4);
}

INLINE void pack_int8(const ActForm *f, bool halves, const float *in, size_t in_stride, int n_tok, int cols,
                      uint8_t *out)
{
    size_t block = (size_t)act_bytes(f) * (size_t)n_tok;
    for (int t = 0; t < n_tok; t++) {
        const float *x = in + (size_t)t * in_stride;
        uint8_t *q = out + t * BLOCK_COLS, *extra = out + n_tok * BLOCK_COLS + 4 * t;
        for (int c = 0; c < cols; c += BLOCK_COLS, q += block, extra += block) {
            int sum[2];
            float d = round_block(x + c, halves, q, sum);
            memcpy(extra, &d, 4);
            put_sum(f, d, sum[0], extra + 4 * n_tok);
            if (halves) put_sum(f, d, sum[1], extra + 8 * n_tok);
        }
    }
}

/* Pieces of 4 bytes (a float, or two bf16) of all tokens side by side. */
static void pack_words(bool bf16, const float *in, size_t in_stride, int n_tok, int cols, uint8_t *out)
{
    enum { STEP = 16 };
    int width = bf16 ? 2 : 1; /* columns of a word */
    for (int t = 0; t < n_tok; t++) {
        const float *x = in + (size_t)t * in_stride;
        for (int c = 0; c < cols; c += STEP * width) {
            uint32_t w[STEP];
            int left = cols - c, low = left < 16 ? left : 16, high = left < 16 ? 0 : left < 32 ? left - 16 : 16;
            __m512 a = _mm512_maskz_loadu_ps((__mmask16)((1u << low) - 1), x + c);
            if (bf16) {
                __m512 b = _mm512_maskz_loadu_ps((__mmask16)((1u << high) - 1), x + c + low);
                __m512bh h = _mm512_cvtne2ps_pbh(b, a);
                memcpy(w, &h, sizeof w);
            } else {
                memcpy(w, &a, sizeof w);
            }
            int n = (MIN(left, STEP * width) + width - 1) / width;
            uint8_t *at = out + 4 * ((size_t)(c / width) * (size_t)n_tok + (size_t)t);
            for (int i = 0; i < n; i++) memcpy(at + 4 * i * n_tok, &w[i], 4);
        }
    }
}

static void pack(const ActForm *f, const float *in, size_t in_stride, int n_tok, int cols, uint8_t *out)
{
    if (f->kind == ACT_INT8 && f->halves)
        pack_int8(f, true, in, in_stride, n_tok, cols, out);
    else if (f->kind == ACT_INT8)
        pack_int8(f, false, in, in_stride, n_tok, cols, out);
    else
        pack_words(f->kind == ACT_BF16, in, in_stride, n_tok, cols, out);
}

/* ---- writing out ---- */

/* 16 rows of one token; first: the row of the panel that lane 0 is. */
INLINE void finish(const Tile *t, int token, int first, __m512 v)
{
    int left = t->n_rows - first;
    unsigned lanes = left >= 16 ? 0xffff : left > 0 ? (1u << left) - 1 : 0;
    __mmask16 m = (__mmask16)lanes;
    float *out = t->out + (size_t)token * t->out_stride + first;
    if (t->bias) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(m, t->bias + first));
    if (t->add) v = _mm512_add_ps(_mm512_maskz_loadu_ps(m, out), v);
    _mm512_mask_storeu_ps(out, m, v);
}

/* ---- block formats ---- */

typedef struct {
    int bits;
    bool codebook, has_min, offset;
    ScaleKind scale;
    int unit_blocks, header, block, act; /* act: bytes of a token in a block */
} Form;

/* Bits 2j, 2j + 1 of each byte, shifted to 4, 5 (up: what is left around them is for the caller to mask) or to 0, 1. */
INLINE __m512i pairs(__m512i h, int j, bool up)
{
    if (up)
        return j == 0   ? _mm512_slli_epi16(h, 4)
               : j == 1 ? _mm512_slli_epi16(h, 2)
               : j == 2 ? h
                        : _mm512_srli_epi16(h, 2);
    return j == 0 ? h : j == 1 ? _mm512_srli_epi16(h, 2) : j == 2 ? _mm512_srli_epi16(h, 4) : _mm512_srli_epi16(h, 6);
}

/* Adds the top bit of 3 or 5. */
INLINE __m512i add_top(const uint8_t *mask, __m512i v, __m512i top)
{
    uint64_t m;
    memcpy(&m, mask, 8);
    return _mm512_mask_add_epi8(v, (__mmask64)m, v, top);
}

/* The numbers of k-group g (columns 4g..4g+3) as unsigned bytes. */
INLINE __m512i numbers(Form f, const uint8_t *w, int g)
{
    if (f.bits == 8) return load_i(w + 64 * g);
    if (f.bits <= 3) {
        __m512i v = _mm512_and_si512(pairs(load_i(w + 64 * (g / 4)), g % 4, false), _mm512_set1_epi8(3));
        return f.bits == 3 ? add_top(w + 128 + 8 * g, v, _mm512_set1_epi8(4)) : v;
    }
    __m512i v = load_i(w + 64 * (g % 4));
    v = _mm512_and_si512(g < 4 ? v : _mm512_srli_epi16(v, 4), _mm512_set1_epi8(15));
    if (f.bits == 5) v = add_top(w + 256 + 8 * g, v, _mm512_set1_epi8(16));
    if (f.bits == 6) {
        __m512i h = pairs(load_i(w + 256 + 64 * (g / 4)), g % 4, true);
        v = _mm512_ternarylogic_epi32(v, h, _mm512_set1_epi8(48), 0xf8); /* v | h & 48 */
    }
    if (f.codebook) {
        const __m512i book = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)panel_iq4));
        v = _mm512_shuffle_epi8(book, v);
    }
    return v;
}

/* The scale of block b of a unit; of half block b if SCALE_K16. */
INLINE __m512 scale_of(Form f, const uint8_t *header, int b)
{
    if (f.scale == SCALE_F16) return load_f16(header + b * (f.has_min ? 64 : 32));
    const uint8_t *sc = header + 64 + 16 * b;
    if (f.scale == SCALE_K16 && f.has_min) return _mm512_mul_ps(load_f16(header), load_nibbles(sc, false));
    return _mm512_mul_ps(load_f16(header), f.has_min ? load_u8(sc) : load_i8(sc));
}

INLINE __m512 min_of(Form f, const uint8_t *header, int b)
{
    if (f.scale == SCALE_F16) return load_f16(header + b * 64 + 32);
    const uint8_t *at = header + 64 + 16 * b;
    __m512 mn = f.scale == SCALE_K16 ? load_nibbles(at, true) : load_u8(at + 128);
    __m512 v = _mm512_mul_ps(load_f16(header + 32), mn);
    return _mm512_sub_ps(_mm512_setzero_ps(), v);
}

/* Bytes that the kernels will want soon; an address past the weights does no harm. */
INLINE void fetch(const uint8_t *w, int bytes)
{
    UNROLL
    for (int i = 0; i < bytes / 64; i++) _mm_prefetch((const char *)w + FETCH_AHEAD + 64 * i, _MM_HINT_T0);
}

/* Integer sums of 16 columns (groups g0..g0+3). */
INLINE void dot_half(Form f, int n, const uint8_t *w, const uint8_t *a, int g0, __m512i *z)
{
    UNROLL
    for (int g = 0; g < 4; g++) {
        __m512i v = numbers(f, w, g0 + g);
        UNROLL
        for (int t = 0; t < n; t++) z[t] = _mm512_dpbusd_epi32(z[t], v, broadcast_i(a + 32 * t + 4 * (g0 + g)));
    }
}

/* x: where the sums that packing prepared stand, one word a token. */
INLINE void start_sums(Form f, int n, const uint8_t *x, __m512i *z)
{
    UNROLL
    for (int t = 0; t < n; t++) z[t] = f.offset ? broadcast_i(x + 4 * t) : _mm512_setzero_si512();
}

INLINE void add_min(int n, __m512 min, const uint8_t *x, __m512 *acc)
{
    UNROLL
    for (int t = 0; t < n; t++) acc[t] = _mm512_fmadd_ps(min, broadcast_f(x + 4 * t), acc[t]);
}

/* One block with one scale. */
INLINE void block_whole(Form f, int n, const uint8_t *w, const uint8_t *header, int b, const uint8_t *a, __m512 *acc)
{
    const uint8_t *d = a + 32 * n, *x = d + 4 * n;
    __m512i z[TILE_MAX];
    start_sums(f, n, x, z);
    dot_half(f, n, w, a, 0, z);
    dot_half(f, n, w, a, 4, z);
    __m512 scale = scale_of(f, header, b);
    UNROLL
    for (int t = 0; t < n; t++) {
        __m512 s = _mm512_mul_ps(_mm512_cvtepi32_ps(z[t]), scale);
        acc[t] = _mm512_fmadd_ps(s, broadcast_f(d + 4 * t), acc[t]);
    }
    if (f.has_min) add_min(n, min_of(f, header, b), x, acc);
}

/* One block with a scale for each half. */
INLINE void block_halves(Form f, int n, const uint8_t *w, const uint8_t *header, int b, const uint8_t *a, __m512 *acc)
{
    const uint8_t *d = a + 32 * n, *x = d + 4 * n;
    __m512i z[TILE_MAX];
    __m512 s[TILE_MAX];
    start_sums(f, n, x, z);
    dot_half(f, n, w, a, 0, z);
    __m512 scale = scale_of(f, header, 2 * b);
    UNROLL
    for (int t = 0; t < n; t++) s[t] = _mm512_mul_ps(_mm512_cvtepi32_ps(z[t]), scale);
    start_sums(f, n, x + 4 * n, z);
    dot_half(f, n, w, a, 4, z);
    scale = scale_of(f, header, 2 * b + 1);
    UNROLL
    for (int t = 0; t < n; t++) {
        s[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(z[t]), scale, s[t]);
        acc[t] = _mm512_fmadd_ps(s[t], broadcast_f(d + 4 * t), acc[t]);
    }
    if (!f.has_min) return;
    add_min(n, min_of(f, header, 2 * b), x, acc);
    add_min(n, min_of(f, header, 2 * b + 1), x + 4 * n, acc);
}

INLINE void tile_block(Form f, int n, const Tile *t)
{
    __m512 acc[TILE_MAX];
    UNROLL
    for (int i = 0; i < n; i++) acc[i] = t->first ? _mm512_setzero_ps() : _mm512_load_ps(t->carry + 16 * i);
    const uint8_t *w = t->w, *a = t->act;
    for (int left = t->n_blocks; left > 0; left -= f.unit_blocks) {
        const uint8_t *header = w;
        w += f.header;
        for (int b = 0; b < MIN(left, f.unit_blocks); b++) {
            if (t->fetch) fetch(w, f.block);
            if (f.scale == SCALE_K16)
                block_halves(f, n, w, header, b, a, acc);
            else
                block_whole(f, n, w, header, b, a, acc);
            w += f.block;
            a += f.act * n;
        }
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        if (t->last)
            finish(t, i, 0, acc[i]);
        else
            _mm512_store_ps(t->carry + 16 * i, acc[i]);
    }
}

/* ---- floats ---- */

/* One block (a column, or two of bf16) of 16 rows times one token. */
INLINE __m512 step(ActKind act, __m512 w, const uint8_t *a, __m512 acc)
{
    if (act == ACT_F32) return _mm512_fmadd_ps(w, broadcast_f(a), acc);
    return _mm512_dpbf16_ps(acc, (__m512bh)_mm512_castps_si512(w), (__m512bh)broadcast_i(a));
}

INLINE void tile_float(PanelKind k, int n, const Tile *t)
{
    ActKind act = k == PANEL_BF16 ? ACT_BF16 : ACT_F32;
    __m512 lo[TILE_MAX], hi[TILE_MAX];
    UNROLL
    for (int i = 0; i < n; i++) {
        lo[i] = t->first ? _mm512_setzero_ps() : _mm512_load_ps(t->carry + 32 * i);
        hi[i] = t->first ? _mm512_setzero_ps() : _mm512_load_ps(t->carry + 32 * i + 16);
    }
    const uint8_t *w = t->w, *a = t->act;
    for (int b = 0; b < t->n_blocks; b++) {
        if (t->fetch) fetch(w, 128);
        __m512 w0 = k == PANEL_F16 ? load_f16(w) : _mm512_castsi512_ps(load_i(w));
        __m512 w1 = k == PANEL_F16 ? load_f16(w + 32) : _mm512_castsi512_ps(load_i(w + 64));
        UNROLL
        for (int i = 0; i < n; i++) {
            lo[i] = step(act, w0, a + 4 * i, lo[i]);
            hi[i] = step(act, w1, a + 4 * i, hi[i]);
        }
        w += k == PANEL_F16 ? 64 : 128;
        a += 4 * n;
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        if (t->last) {
            finish(t, i, 0, lo[i]);
            finish(t, i, 16, hi[i]);
        } else {
            _mm512_store_ps(t->carry + 32 * i, lo[i]);
            _mm512_store_ps(t->carry + 32 * i + 16, hi[i]);
        }
    }
}

/* ---- all instances ---- */

#define TOKENS(X, ...)                                                                                                 \
    X(1, __VA_ARGS__)                                                                                                  \
    X(2, __VA_ARGS__)                                                                                                  \
    X(3, __VA_ARGS__)                                                                                                  \
    X(4, __VA_ARGS__)                                                                                                  \
    X(5, __VA_ARGS__)                                                                                                  \
    X(6, __VA_ARGS__)                                                                                                  \
    X(7, __VA_ARGS__)                                                                                                  \
    X(8, __VA_ARGS__)                                                                                                  \
    X(9, __VA_ARGS__)                                                                                                  \
    X(10, __VA_ARGS__)                                                                                                 \
    X(11, __VA_ARGS__)                                                                                                 \
    X(12, __VA_ARGS__)

#define BLOCK_FN(n, kind, ...)                                                                                         \
    static void kind##_##n(const Tile *t)                                                                              \
    {                                                                                                                  \
        tile_block((Form){ __VA_ARGS__ }, n, t);                                                                       \
    }
#define FLOAT_FN(n, kind)                                                                                              \
    static void kind##_##n(const Tile *t)                                                                              \
    {                                                                                                                  \
        tile_float(PANEL_##kind, n, t);                                                                                \
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

const LinearKernels linear_avx512 = {
    .tile_max = TILE_MAX,
    .pack = pack,
    .tile = { ROW(F32), ROW(F16), ROW(BF16), ROW(Q4_0), ROW(Q4_1), ROW(Q5_0), ROW(Q5_1), ROW(Q8_0), ROW(IQ4_NL),
              ROW(Q4_K), ROW(Q5_K), ROW(IQ4_XS), ROW(Q6_K), ROW(Q3_K), ROW(Q2_K) }
};
/* clang-format on */
