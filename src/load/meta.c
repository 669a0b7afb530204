/* meta.c - reads single values out of GGUF metadata, whatever integer or float type the writer chose.
 *
 * gguf.c has seen that every value lies inside the file; string lengths are checked once more here because the
 * file may change under its mapping. Any thread. */
#include "load/checkpoint.h"

static const uint8_t sizes[META_F64 + 1] = {
    [META_U8] = 1,  [META_I8] = 1,   [META_U16] = 2, [META_I16] = 2, [META_U32] = 4, [META_I32] = 4,
    [META_F32] = 4, [META_BOOL] = 1, [META_U64] = 8, [META_I64] = 8, [META_F64] = 8,
};

size_t load_meta_size(MetaType t)
{
    return sizes[t];
}

/* The little-endian bytes of element i as a number; false: none, or not of fixed size. */
static bool raw(const Meta *m, size_t i, uint64_t *out)
{
    *out = 0;
    if (m == NULL || i >= m->count || sizes[m->elem] == 0) return false;
    memcpy(out, m->data + i * sizes[m->elem], sizes[m->elem]);
    return true;
}

bool load_meta_i64(const Meta *m, size_t i, int64_t *out)
{
    uint64_t u;
    if (!raw(m, i, &u)) return false;
    switch (m->elem) {
    case META_U8:
    case META_U16:
    case META_U32: *out = (int64_t)u; return true;
    case META_I8: *out = u < 128 ? (int64_t)u : (int64_t)u - 256; return true;
    case META_I16: *out = (int16_t)u; return true;
    case META_I32: *out = (int32_t)u; return true;
    case META_I64: *out = (int64_t)u; return true;
    case META_U64: *out = (int64_t)u; return u <= INT64_MAX;
    case META_F32:
    case META_BOOL:
    case META_STRING:
    case META_ARRAY:
    case META_F64: break;
    }
    return false;
}

bool load_meta_f64(const Meta *m, size_t i, double *out)
{
    uint64_t u;
    int64_t whole;
    if (!raw(m, i, &u)) return false;
    if (m->elem == META_F32) {
        *out = (double)f32_of_bits((uint32_t)u);
        return true;
    }
    if (m->elem == META_F64) {
        memcpy(out, &u, 8);
        return true;
    }
    if (!load_meta_i64(m, i, &whole)) return false;
    *out = (double)whole;
    return true;
}

bool load_meta_bool(const Meta *m, size_t i, bool *out)
{
    uint64_t u;
    if (!raw(m, i, &u) || m->elem != META_BOOL) return false;
    *out = u != 0;
    return true;
}

bool load_meta_next_str(const Meta *m, size_t *pos, Str *out)
{
    uint64_t n;
    if (m == NULL || m->elem != META_STRING || *pos > m->size || m->size - *pos < 8) return false;
    memcpy(&n, m->data + *pos, 8);
    if (n > m->size - *pos - 8) return false;
    *out = (Str){ (const char *)m->data + *pos + 8, (size_t)n };
    *pos += 8 + (size_t)n;
    return true;
}

bool load_meta_str(const Meta *m, size_t i, Str *out)
{
    size_t pos = 0;
    if (m == NULL || i >= m->count) return false;
    for (size_t k = 0; k <= i; k++) {
        if (!load_meta_next_str(m, &pos, out)) return false;
    }
    return true;
}
