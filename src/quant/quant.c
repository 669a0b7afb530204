/* quant.c - the table of number formats and the doors from a format's name to its code.
 *
 * A format is one header (block struct, value of an element, a whole block) and one line in formats.def; this file
 * only looks up and loops over blocks. Blocks are copied out before they are read because file data has no promised
 * alignment. Pure functions; any thread. */
#include "quant/quant.h"

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
