/* jsonw.h - writes JSON text into a Buf. A writer keeps no state but the buffer: commas are the caller's,
 * through jsonw_key and jsonw_sep. Numbers print in the shortest form that reads back the same. */
#ifndef BASE_JSONW_H
#define BASE_JSONW_H

#include "base/base.h"

void jsonw_str(Buf *b, Str s);    /* quoted; bad UTF-8 becomes U+FFFD; non-ASCII stays raw */
void jsonw_f64(Buf *b, double x); /* shortest round trip; nan and infinities become null */
void jsonw_f32(Buf *b, float x);
void jsonw_i64(Buf *b, int64_t x);
void jsonw_bool(Buf *b, bool x);
/* Writes a comma unless the last byte opens an object or array, then "key": . key is a plain literal. */
void jsonw_key(Buf *b, const char *key);
void jsonw_sep(Buf *b);                               /* a comma unless the last byte is [ or { or : */
void jsonw_ids(Buf *b, const int32_t *ids, size_t n); /* [1,2,3] */

/* Formats x into out (at least 32 bytes) as Python's repr(float) does: 1.0, 1e+20, 1e-07. */
int jsonw_repr(char *out, double x);

#endif
