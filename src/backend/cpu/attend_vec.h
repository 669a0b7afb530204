/* attend_vec.h - the inner part of attention on vectors, in the words of vec_*.h. plain_attend in attend.c defines it.
 *
 *   scores   lanes are the tokens of a page. A register tile of rows x pages: each key vector is converted once for all
 *            rows. Every score is one chain of multiply-adds over the dimensions in rising order.
 *   softmax  of the block, each row for itself; tokens that it does not see have weight 0. The scales of int8 values go into
 *            the weights.
 *   values   lanes are dimensions. A register tile of rows x vectors; every sum is one chain over the tokens in rising order.
 *
 * So a row's sums are the same chains whichever rows share its tile. Tokens that only some rows of a tile see (the
 * diagonal of a prompt, the edge of a window) are run with those rows alone: nothing unseen is ever multiplied in. */
#ifndef BACKEND_CPU_ATTEND_VEC_H
#define BACKEND_CPU_ATTEND_VEC_H

enum { PAGE_VECS = KV_PAGE / VW };

VEC vf kv_load(const void *p, int i, DType t)
{
    if (t == DT_F16) return vf_of_f16((const uint16_t *)p + i);
    if (t == DT_BF16) return vf_of_bf16((const uint16_t *)p + i);
    if (t == DT_I8) return vf_of_i8((const int8_t *)p + i);
    return vf_load((const float *)p + i);
}

/* ---- scores ---- */

VEC void score_tile(const AttnBlock *b, int row, int page, const int rows, const int pages, DType t)
{
    vf sum[SCORE_ROWS][SCORE_PAGES * 2 * PAGE_VECS];
    const int n = pages * PAGE_VECS;
    const float *q = b->q + row * b->dim_pad;
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (int j = 0; j < n; j++) sum[r][j] = vf_zero();
    }
    for (int i = 0; i < b->dim; i++) {
        vf k[SCORE_PAGES * 2 * PAGE_VECS];
#pragma GCC unroll 8
        for (int j = 0; j < n; j++) k[j] = kv_load(b->k[page + j / PAGE_VECS], i * KV_PAGE + j % PAGE_VECS * VW, t);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            vf x = vf_set(q[r * b->dim_pad + i]);
#pragma GCC unroll 8
            for (int j = 0; j < n; j++) sum[r][j] = vf_fma(x, k[j], sum[r][j]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (int j = 0; j < n; j++) vf_store(b->score + (row + r) * ATTN_BLOCK + page * KV_PAGE + j * VW, sum[r][j]);
    }
}

/* The same in whole numbers. */
VEC void score_tile_i8(const AttnBlock *b, int row, int page, const int rows, const int pages)
{
    vi sum[SCORE_ROWS][SCORE_PAGES * 2 * PAGE_VECS];
    const int n = pages * PAGE_VECS;
    const int8_t *q = b->q_codes + row * b->dim_pad;
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (int j = 0; j < n; j++) sum[r][j] = vi_dot4_start(b->q_total[row + r]);
    }
    for (int i = 0; i < b->dim; i += 4) {
        vi k[SCORE_PAGES * 2 * PAGE_VECS];
#pragma GCC unroll 8
        for (int j = 0; j < n; j++) {
            const int8_t *from = b->k[page + j / PAGE_VECS];
            k[j] = vi_dot4_bytes(vi_load(from + i * KV_PAGE + j % PAGE_VECS * 4 * VW));
        }
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
            for (int j = 0; j < n; j++) sum[r][j] = vi_dot4(sum[r][j], k[j], q + r * b->dim_pad + i);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (int j = 0; j < n; j++) {
            vf scale = vf_load(attn_k_scale(b, page + j / PAGE_VECS) + j % PAGE_VECS * VW);
            vf s = vf_mul(vf_of_vi(sum[r][j]), vf_mul(scale, vf_set(b->q_scale[row + r])));
            vf_store(b->score + (row + r) * ATTN_BLOCK + page * KV_PAGE + j * VW, s);
        }
    }
}

/* Asks for memory before it is needed: pages lie anywhere, so the hardware does not guess them. */
VEC void fetch(const void *p, int bytes)
{
    for (int i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)p + i);
}

VEC void score_pages(const AttnBlock *b, int row, int page, const int rows, const int pages, DType t)
{
    for (int i = 0; i < pages && row == 0 && b->fetch_v; i++) fetch(b->v[page + i], b->v_bytes);
    if (t == DT_I8)
        score_tile_i8(b, row, page, rows, pages);
    else
        score_tile(b, row, page, rows, pages, t);
}

VEC void score_rows(const AttnBlock *b, int row, const int rows, DType t)
{
    const int wide = rows * 2 <= SCORE_ROWS ? 2 * SCORE_PAGES : SCORE_PAGES;
    int page = 0;
    for (; page + wide <= b->n_pages; page += wide) score_pages(b, row, page, rows, wide, t);
    for (; page < b->n_pages; page++) score_pages(b, row, page, rows, 1, t);
}

VEC void scores_as(const AttnBlock *b, DType t)
{
    for (int row = 0; row < b->n_rows; row += SCORE_ROWS) {
        switch (MIN(SCORE_ROWS, b->n_rows - row)) {
        case 1: score_rows(b, row, 1, t); break;
        case 2: score_rows(b, row, 2, t); break;
        case 3: score_rows(b, row, 3, t); break;
        case 4: score_rows(b, row, 4, t); break;
        case 5: score_rows(b, row, 5, t); break;
        case 6: score_rows(b, row, 6, t); break;
#if VEC_WIDE_TILES
        case 7: score_rows(b, row, 7, t); break;
        case 8: score_rows(b, row, 8, t); break;
        case 9: score_rows(b, row, 9, t); break;
        case 10: score_rows(b, row, 10, t); break;
        case 11: score_rows(b, row, 11, t); break;
        case 12: score_rows(b, row, 12, t); break;
#endif
        }
    }
}

/* ---- softmax ---- */

/* Lanes of the vector at token t that a row sees, of whose tokens [from, to) it is. */
VEC vm seen(vf from, vf to, int t)
{
    vf at = vf_add(vf_iota(), vf_set((float)t));
    return vm_and(vf_ge(at, from), vf_lt(at, to));
}

static void softmax_row(AttnBlock *b, int r)
{
    float *s = b->score + r * ATTN_BLOCK;
    int first = b->from[r] / VW * VW, end = b->to[r];
    vf from = vf_set((float)b->from[r]), to = vf_set((float)end);
    bool capped = b->softcap > 0, scaled = b->dtype == DT_I8;
    vf cap = vf_set(b->softcap), top = vf_set(-INFINITY), sum = vf_zero();
    for (int t = first; t < end; t += VW) {
        vf x = vf_load(s + t);
        if (capped) x = vf_mul(cap, vf_tanh(vf_div(x, cap)));
        x = vf_if(seen(from, to, t), x, vf_set(-INFINITY));
        vf_store(s + t, x);
        top = vf_max(x, top);
    }
    float max = vf_top(top);
    vf base = vf_set(max);
    for (int t = first; t < end; t += VW) {
        vf e = vf_exp(vf_sub(vf_load(s + t), base));
        e = vf_keep(seen(from, to, t), e); /* also where max is -infinity */
        sum = vf_add(sum, e);
        if (scaled) e = vf_keep(seen(from, to, t), vf_mul(e, vf_load(attn_v_scale(b, t / KV_PAGE) + t % KV_PAGE)));
        vf_store(s + t, e);
    }
    b->max[r] = max;
    b->sum[r] = vf_sum(sum);
}

/* ---- values ---- */

VEC void value_tile(AttnBlock *b, int row, int col, int from, int to, const int rows, const int vecs, DType t)
{
    vf acc[VALUE_ROWS][VALUE_VECS];
    const float *p = b->score + row * ATTN_BLOCK;
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (int j = 0; j < vecs; j++) acc[r][j] = vf_load(b->acc[row + r] + col + j * VW);
    }
    for (int page = from / KV_PAGE; page * KV_PAGE < to; page++) {
        if (row == 0 && col == 0 && b->next[page]) fetch(b->next[page], b->k_bytes);
        int begin = MAX(from, page * KV_PAGE), end = MIN(to, (page + 1) * KV_PAGE);
        for (int i = begin; i < end; i++) {
            vf v[VALUE_VECS];
#pragma GCC unroll 8
            for (int j = 0; j < vecs; j++)
                v[j] = kv_load(b->v[page], (i - page * KV_PAGE) * b->dim_pad + col + j * VW, t);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                vf x = vf_set(p[r * ATTN_BLOCK + i]);
#pragma GCC unroll 8
                for (int j = 0; j < vecs; j++) acc[r][j] = vf_fma(x, v[j], acc[r][j]);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (int j = 0; j < vecs; j++) vf_store(b->acc[row + r] + col + j * VW, acc[r][j]);
    }
}

VEC void value_rows(AttnBlock *b, int row, int from, int to, const int rows, DType t)
{
    int col = 0;
    for (; col + VALUE_VECS * VW <= b->dim_pad; col += VALUE_VECS * VW) {
        value_tile(b, row, col, from, to, rows, VALUE_VECS, t);
    }
    if (VALUE_VECS > 2 && col + 2 * VW <= b->dim_pad) {
        value_tile(b, row, col, from, to, rows, 2, t);
        col += 2 * VW;
    }
    for (; col < b->dim_pad; col += VW) value_tile(b, row, col, from, to, rows, 1, t);
}

/* Rows [row, row + n) against tokens [from, to), which all of them see. */
VEC void values_as(AttnBlock *b, int row, int n, int from, int to, DType t)
{
    if (from >= to) return;
    for (int end = row + n; row < end; row += VALUE_ROWS) {
        switch (MIN(VALUE_ROWS, end - row)) {
        case 1: value_rows(b, row, from, to, 1, t); break;
        case 2: value_rows(b, row, from, to, 2, t); break;
        case 3: value_rows(b, row, from, to, 3, t); break;
        case 4: value_rows(b, row, from, to, 4, t); break;
        case 5: value_rows(b, row, from, to, 5, t); break;
        case 6: value_rows(b, row, from, to, 6, t); break;
        }
    }
}

static void values(AttnBlock *b, int row, int n, int from, int to)
{
    if (b->dtype == DT_F16)
        values_as(b, row, n, from, to, DT_F16);
    else if (b->dtype == DT_BF16)
        values_as(b, row, n, from, to, DT_BF16);
    else if (b->dtype == DT_I8)
        values_as(b, row, n, from, to, DT_I8);
    else
        values_as(b, row, n, from, to, DT_F32);
}

/* Rows one after the other that see the same tokens: the heads of a query. */
static int alike(const AttnBlock *b, int row)
{
    int n = 1;
    while (row + n < b->n_rows && b->from[row + n] == b->from[row] && b->to[row + n] == b->to[row]) n++;
    return n;
}

static void weigh_values(AttnBlock *b)
{
    int from = 0, to = ATTN_BLOCK; /* seen by all */
    for (int r = 0; r < b->n_rows; r++) {
        for (int c = 0; c < b->dim_pad; c += VW) vf_store(b->acc[r] + c, vf_zero());
        from = MAX(from, b->from[r]);
        to = MIN(to, b->to[r]);
    }
    bool shared = from < to;
    for (int r = 0, n; r < b->n_rows && shared; r += n) {
        n = alike(b, r);
        values(b, r, n, b->from[r], from);
    }
    if (shared) values(b, 0, b->n_rows, from, to);
    for (int r = 0, n; r < b->n_rows; r += n) {
        n = alike(b, r);
        values(b, r, n, shared ? to : b->from[r], b->to[r]);
    }
}

static void vec_attend(AttnBlock *b)
{
    if (b->dtype == DT_F16)
        scores_as(b, DT_F16);
    else if (b->dtype == DT_BF16)
        scores_as(b, DT_BF16);
    else if (b->dtype == DT_I8)
        scores_as(b, DT_I8);
    else
        scores_as(b, DT_F32);
    for (int r = 0; r < b->n_rows; r++) softmax_row(b, r);
    weigh_values(b);
}

#endif
