/* linear_tile.h - packing of activations and tile products, written in the words of linear_avx2.h or linear_avx512.h.
 *
 * A tile keeps a vector of sums per token (two for panels of 32 rows): output rows in its lanes. For block formats an 8-bit
 * dot product multiplies 4 columns of VW rows by 4 activations that are broadcast from memory; after a block of 32
 * columns the integer sums are scaled into f32. The offset of the weights is taken off by starting the integer sums at
 * -offset * sum(a), which packing has prepared.
 *
 * A vector may hold a part of the panel's rows only: parts are computed one after the other, from start to end.
 *
 * tile_block and tile_float are written once and compiled for every format and number of tokens (1 to TOKENS_MAX): all
 * their parameters but part and the Tile are constants where they are called. Bounds: loads of broadcasts, two a clock,
 * of which a tile of n tokens needs n + 1 (plus unpacking) for n products.
 *
 * Any thread; no state. */
#ifndef BACKEND_CPU_LINEAR_TILE_H
#define BACKEND_CPU_LINEAR_TILE_H

enum { PARTS = PANEL_ROWS_BLOCK / VW };

/* ---- packing ---- */

INLINE void put_sum(const ActForm *f, float d, int sum, uint8_t *out)
{
    uint32_t off = 0u - (uint32_t)f->offset * (uint32_t)sum; /* a sum of infinite numbers may be anything */
    float scaled = d * (float)sum;
    if (f->sums)
        memcpy(out, &scaled, 4);
    else
        memcpy(out, &off, 4);
}

INLINE void pack_blocks(const ActForm *f, bool halves, const float *in, size_t in_stride, int n_tok, int cols,
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

static inline void pack_int8(const ActForm *f, const float *in, size_t in_stride, int n_tok, int cols, uint8_t *out)
{
    if (f->halves)
        pack_blocks(f, true, in, in_stride, n_tok, cols, out);
    else
        pack_blocks(f, false, in, in_stride, n_tok, cols, out);
}

static inline void pack_f32(const ActForm *f, const float *in, size_t in_stride, int n_tok, int cols, uint8_t *out)
{
    (void)f;
    for (int t = 0; t < n_tok; t++) {
        const float *x = in + (size_t)t * in_stride;
        for (int c = 0; c < cols; c++) memcpy(out + 4 * ((size_t)c * (size_t)n_tok + (size_t)t), &x[c], 4);
    }
    if (cols % 2) memset(out + 4 * (size_t)cols * (size_t)n_tok, 0, 4 * (size_t)n_tok);
}

/* ---- writing out ---- */

/* VW rows of one token; first: the row of the panel that lane 0 is. */
INLINE void finish(const Tile *t, int token, int first, vf v)
{
    int n = MIN(t->n_rows - first, VW);
    if (n <= 0) return;
    float *out = t->out + (size_t)token * t->out_stride + first;
    if (t->bias) v = vf_add(v, vf_load_n(t->bias + first, n));
    if (t->add) v = vf_add(vf_load_n(out, n), v);
    vf_store_n(out, v, n);
}

/* ---- block formats ---- */

/* Bits 2j, 2j + 1 of each byte, shifted to 4, 5 (up: what is left around them is for the caller to mask) or to 0, 1. */
INLINE vi pairs(vi h, int j, bool up)
{
    if (up) return j == 0 ? vi_shl(h, 4) : j == 1 ? vi_shl(h, 2) : j == 2 ? h : vi_shr(h, 2);
    return j == 0 ? h : j == 1 ? vi_shr(h, 2) : j == 2 ? vi_shr(h, 4) : vi_shr(h, 6);
}

/* Numbers whose sign has to be moved; their offset is taken off here, exactly. */
INLINE bool is_signed(Form f)
{
    return NEEDS_SIGN && (f.bits == 8 || f.codebook);
}

/* The numbers of k-group g (columns 4g..4g+3) of one part as bytes. */
INLINE vi numbers(Form f, const uint8_t *w, int part, int g)
{
    const uint8_t *mask = w + VW / 2 * part + 8 * g + (f.bits == 3 ? 128 : 256);
    w += 4 * VW * part;
    if (f.bits == 8) return is_signed(f) ? vi_less_128(vi_load(w + 64 * g)) : vi_load(w + 64 * g);
    if (f.bits <= 3) {
        vi v = vi_and(pairs(vi_load(w + 64 * (g / 4)), g % 4, false), vi_byte(3));
        return f.bits == 3 ? vi_add_where(v, mask, vi_byte(4)) : v;
    }
    vi v = vi_load(w + 64 * (g % 4));
    v = vi_and(g < 4 ? v : vi_shr(v, 4), vi_byte(15));
    if (f.bits == 5) v = vi_add_where(v, mask, vi_byte(16));
    if (f.bits == 6) v = vi_or_and(v, pairs(vi_load(w + 256 + 64 * (g / 4)), g % 4, true), vi_byte(48));
    if (f.codebook) v = vi_look_up(panel_iq4, v);
    return f.codebook && is_signed(f) ? vi_less_128(v) : v;
}

INLINE vf of_f16(const uint8_t *p)
{
    return vf_of_f16((const uint16_t *)(const void *)p);
}

/* The scale of block b of a unit; of half block b if SCALE_K16. */
INLINE vf scale_of(Form f, const uint8_t *header, int part, int b)
{
    const uint8_t *d = header + 2 * VW * part, *sc = header + 64 + 16 * b + VW * part;
    if (f.scale == SCALE_F16) return of_f16(d + b * (f.has_min ? 64 : 32));
    if (f.scale == SCALE_K16 && f.has_min) return vf_mul(of_f16(d), vf_of_nibbles(sc, false));
    return vf_mul(of_f16(d), f.has_min ? vf_of_u8(sc) : vf_of_i8(sc));
}

INLINE vf min_of(Form f, const uint8_t *header, int part, int b)
{
    const uint8_t *d = header + 32 + 2 * VW * part, *sc = header + 64 + 16 * b + VW * part;
    if (f.scale == SCALE_F16) return of_f16(d + b * 64);
    vf mn = f.scale == SCALE_K16 ? vf_of_nibbles(sc, true) : vf_of_u8(sc + 128);
    return vf_sub(vf_zero(), vf_mul(of_f16(d), mn));
}

/* Bytes that the kernels will want soon; an address past the weights does no harm. */
INLINE void fetch(const uint8_t *w, int bytes)
{
    UNROLL
    for (int i = 0; i < bytes / 64; i++) _mm_prefetch((const char *)w + FETCH_AHEAD + 64 * i, _MM_HINT_T0);
}

/* Adds the integer sums of 16 columns (groups g0..g0+3) to z. */
INLINE void dot_half(Form f, int n, const uint8_t *w, int part, const uint8_t *a, int g0, vi *z)
{
    vi part_sums[TOKENS_MAX];
    UNROLL
    for (int g = 0; g < 4; g++) dot_group(f, n, numbers(f, w, part, g0 + g), a + 4 * (g0 + g), g, part_sums, z);
}

/* x: where the sums that packing prepared stand, one word a token. */
INLINE void start_sums(Form f, int n, const uint8_t *x, vi *z)
{
    UNROLL
    for (int t = 0; t < n; t++) z[t] = f.offset && !is_signed(f) ? vi_word(x + 4 * t) : vi_zero();
}

INLINE void add_min(int n, vf min, const uint8_t *x, vf *acc)
{
    UNROLL
    for (int t = 0; t < n; t++) acc[t] = vf_fma(min, vf_word(x + 4 * t), acc[t]);
}

/* One block with one scale. */
INLINE void block_whole(Form f, int n, const uint8_t *w, const uint8_t *header, int part, int b, const uint8_t *a,
                        vf *acc)
{
    const uint8_t *d = a + 32 * n, *x = d + 4 * n;
    vi z[TOKENS_MAX];
    start_sums(f, n, x, z);
    dot_half(f, n, w, part, a, 0, z);
    dot_half(f, n, w, part, a, 4, z);
    vf scale = scale_of(f, header, part, b);
    UNROLL
    for (int t = 0; t < n; t++) acc[t] = vf_fma(vf_mul(vf_of_vi(z[t]), scale), vf_word(d + 4 * t), acc[t]);
    if (f.has_min) add_min(n, min_of(f, header, part, b), x, acc);
}

/* One block with a scale for each half. */
INLINE void block_halves(Form f, int n, const uint8_t *w, const uint8_t *header, int part, int b, const uint8_t *a,
                         vf *acc)
{
    const uint8_t *d = a + 32 * n, *x = d + 4 * n;
    vi z[TOKENS_MAX];
    vf s[TOKENS_MAX];
    start_sums(f, n, x, z);
    dot_half(f, n, w, part, a, 0, z);
    vf scale = scale_of(f, header, part, 2 * b);
    UNROLL
    for (int t = 0; t < n; t++) s[t] = vf_mul(vf_of_vi(z[t]), scale);
    start_sums(f, n, x + 4 * n, z);
    dot_half(f, n, w, part, a, 4, z);
    scale = scale_of(f, header, part, 2 * b + 1);
    UNROLL
    for (int t = 0; t < n; t++) {
        s[t] = vf_fma(vf_of_vi(z[t]), scale, s[t]);
        acc[t] = vf_fma(s[t], vf_word(d + 4 * t), acc[t]);
    }
    if (!f.has_min) return;
    add_min(n, min_of(f, header, part, 2 * b), x, acc);
    add_min(n, min_of(f, header, part, 2 * b + 1), x + 4 * n, acc);
}

INLINE void tile_block(Form f, int n, int part, const Tile *t)
{
    vf acc[TOKENS_MAX];
    float *carry = t->carry + VW * part;
    UNROLL
    for (int i = 0; i < n; i++) acc[i] = t->first ? vf_zero() : vf_load(carry + PANEL_ROWS_BLOCK * i);
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
            finish(t, i, VW * part, acc[i]);
        else
            vf_store(carry + PANEL_ROWS_BLOCK * i, acc[i]);
    }
}

/* ---- floats ---- */

#ifndef PAIR_ACT_BYTES
/* Two columns of bf16 as f32, added in turn. An includer with a product of bf16 brings its own. */
enum { PAIR_ACT_BYTES = 8 };
INLINE vf pair_step(int n, const uint8_t *w, const uint8_t *a, vf acc)
{
    vi ww = vi_load(w);
    acc = vf_fma(vf_low_bf16(ww), vf_word(a), acc);
    return vf_fma(vf_high_bf16(ww), vf_word(a + 4 * n), acc);
}
#endif

/* One block (a column, or two of bf16) of VW rows times one of n tokens. */
INLINE vf step(PanelKind k, int n, const uint8_t *w, const uint8_t *a, vf acc)
{
    if (k == PANEL_BF16) return pair_step(n, w, a, acc);
    return vf_fma(k == PANEL_F16 ? of_f16(w) : vf_load((const float *)(const void *)w), vf_word(a), acc);
}

/* A part is 2 * VW rows of the panel's 32. */
INLINE void tile_float(PanelKind k, int n, int part, const Tile *t)
{
    const int lanes = k == PANEL_F16 ? 2 * VW : 4 * VW; /* bytes of VW rows */
    vf lo[TOKENS_MAX], hi[TOKENS_MAX];
    float *carry = t->carry + 2 * VW * part;
    UNROLL
    for (int i = 0; i < n; i++) {
        lo[i] = t->first ? vf_zero() : vf_load(carry + PANEL_ROWS_FLOAT * i);
        hi[i] = t->first ? vf_zero() : vf_load(carry + PANEL_ROWS_FLOAT * i + VW);
    }
    const uint8_t *w = t->w + 2 * lanes * part, *a = t->act;
    for (int b = 0; b < t->n_blocks; b++) {
        if (t->fetch && part == 0) fetch(w, 128);
        UNROLL
        for (int i = 0; i < n; i++) {
            lo[i] = step(k, n, w, a + 4 * i, lo[i]);
            hi[i] = step(k, n, w + lanes, a + 4 * i, hi[i]);
        }
        w += 2 * lanes * PARTS;
        a += (k == PANEL_BF16 ? PAIR_ACT_BYTES : 4) * n;
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        if (t->last) {
            finish(t, i, 2 * VW * part, lo[i]);
            finish(t, i, 2 * VW * part + VW, hi[i]);
        } else {
            vf_store(carry + PANEL_ROWS_FLOAT * i, lo[i]);
            vf_store(carry + PANEL_ROWS_FLOAT * i + VW, hi[i]);
        }
    }
}

/* ---- instances: TOKENS(BLOCK_FN, kind, its Form), TOKENS(FLOAT_FN, kind), and their row of the table ---- */

#define BLOCK_FN(n, kind, ...)                                                                                         \
    static void kind##_##n(const Tile *t)                                                                              \
    {                                                                                                                  \
        for (int part = 0; part < PARTS; part++) tile_block((Form){ __VA_ARGS__ }, n, part, t);                        \
    }
#define FLOAT_FN(n, kind)                                                                                              \
    static void kind##_##n(const Tile *t)                                                                              \
    {                                                                                                                  \
        for (int part = 0; part < PARTS; part++) tile_float(PANEL_##kind, n, part, t);                                 \
    }
#define ENTRY(n, kind)       [n] = kind##_##n,
#define FLOAT_ROW(kind)      [PANEL_##kind] = { TOKENS(ENTRY, kind) },
#define BLOCK_ROW(kind, ...) FLOAT_ROW(kind)

#endif
