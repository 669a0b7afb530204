/* quant.c - the table of number formats and the doors from a format's name to its code.
 *
 * A format is one header (block struct, value of an element, a whole block) and one line in formats.def; this file
 * only looks up and loops over blocks. Blocks are copied out before they are read because file data has no promised
 * alignment. Pure functions; any thread. */
#include "quant/quant.h"

#include "quant/block.h"
#include "quant/fp8.h"

static const DTypeInfo formats[DT_COUNT] = {
#define FORMAT(id, name, ggml, elems, bytes) [DT_##id] = { name, ggml, elems, bytes },
#include "quant/formats.def"
#undef FORMAT
};

const DTypeInfo *quant_info(DType t)
{
    CHECK((unsigned)t < DT_COUNT);
    return &formats[t];
}

DType quant_of_ggml(uint32_t ggml_type)
{
    for (int t = 0; t < DT_COUNT; t++) {
        if (formats[t].ggml >= 0 && (uint32_t)formats[t].ggml == ggml_type) return (DType)t;
    }
    return DT_NONE;
}

static bool same_letters(Str a, const char *b)
{
    for (size_t i = 0; i < a.n; i++) {
        char c = a.p[i];
        if (c >= 'a' && c <= 'z') c = (char)(c - 'a' + 'A');
        if (c != b[i]) return false; /* also at b's end: c is then not NUL, or the names differ in length */
    }
    return b[a.n] == 0;
}

DType quant_of_name(Str name)
{
    for (int t = 0; t < DT_COUNT; t++) {
        if (name.n == strlen(formats[t].name) && same_letters(name, formats[t].name)) return (DType)t;
    }
    return DT_NONE;
}

bool quant_size(DType t, size_t n, size_t *bytes)
{
    const DTypeInfo *f = quant_info(t);
    if (n % (size_t)f->block_elems != 0) return false;
    return mul_size(n / (size_t)f->block_elems, (size_t)f->block_bytes, bytes);
}

/* ---- values ---- */

static void block_to_f32(DType t, const AnyBlock *b, float *out)
{
    switch ((int)t) {
    case DT_Q4_0: q4_0_dequant(&b->q4_0, out); break;
    case DT_Q4_1: q4_1_dequant(&b->q4_1, out); break;
    case DT_Q5_0: q5_0_dequant(&b->q5_0, out); break;
    case DT_Q5_1: q5_1_dequant(&b->q5_1, out); break;
    case DT_Q8_0: q8_0_dequant(&b->q8_0, out); break;
    case DT_Q2_K: q2_k_dequant(&b->q2_k, out); break;
    case DT_Q3_K: q3_k_dequant(&b->q3_k, out); break;
    case DT_Q4_K: q4_k_dequant(&b->q4_k, out); break;
    case DT_Q5_K: q5_k_dequant(&b->q5_k, out); break;
    case DT_Q6_K: q6_k_dequant(&b->q6_k, out); break;
    case DT_IQ4_NL: iq4_nl_dequant(&b->iq4_nl, out); break;
    case DT_IQ4_XS: iq4_xs_dequant(&b->iq4_xs, out); break;
    default: CHECK(false);
    }
}

static void f16_row(const uint8_t *src, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, src + i * 2, 2);
        out[i] = f16_to_f32(h);
    }
}

static void bf16_row(const uint8_t *src, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, src + i * 2, 2);
        out[i] = bf16_to_f32(h);
    }
}

static void f64_row(const uint8_t *src, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double x;
        memcpy(&x, src + i * 8, 8);
        out[i] = (float)x;
    }
}

static void block_rows(DType t, const uint8_t *src, float *out, size_t n)
{
    AnyBlock b;
    size_t elems = (size_t)formats[t].block_elems, bytes = (size_t)formats[t].block_bytes;
    for (size_t i = 0; i < n / elems; i++) {
        memcpy(&b, src + i * bytes, bytes);
        block_to_f32(t, &b, out + i * elems);
    }
}

bool quant_can_dequant(DType t)
{
    const DTypeInfo *f = quant_info(t);
    return f->block_elems > 1 || t == DT_F32 || t == DT_F16 || t == DT_BF16 || t == DT_F64 || t == DT_F8_E4M3 ||
           t == DT_F8_E5M2;
}

void quant_to_f32(DType t, const void *src, float *out, size_t n)
{
    const uint8_t *p = src;
    CHECK(quant_can_dequant(t) && n % (size_t)formats[t].block_elems == 0);
    switch ((int)t) {
    case DT_F32: memcpy(out, src, n * 4); break;
    case DT_F16: f16_row(p, out, n); break;
    case DT_BF16: bf16_row(p, out, n); break;
    case DT_F64: f64_row(p, out, n); break;
    case DT_F8_E4M3:
        for (size_t i = 0; i < n; i++) out[i] = f8_e4m3_to_f32(p[i]);
        break;
    case DT_F8_E5M2:
        for (size_t i = 0; i < n; i++) out[i] = f8_e5m2_to_f32(p[i]);
        break;
    default: block_rows(t, p, out, n);
    }
}
