/* utf8.h - code points in and out of UTF-8 (RFC 3629: no surrogates, nothing above U+10FFFF, no overlongs). */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include "base/base.h"

enum { UTF8_BAD = 0xFFFD };

/* Decodes the code point at s[i], i < n; writes its length (1-4) to *len. On a malformed sequence
 * returns -1 and *len is the length of its maximal valid prefix, at least 1 (Unicode 15, table 3-8). */
int32_t utf8_next(const char *s, size_t n, size_t i, int *len);
/* Writes 1-4 bytes, returns how many. cp must be a scalar value. */
int utf8_put(char *out, uint32_t cp);
bool utf8_valid(Str s);
size_t utf8_count(Str s); /* code points of valid text */
/* How many bytes at the end of s are an unfinished but so far valid sequence: 0-3. */
size_t utf8_tail(Str s);
/* Appends s to out with every malformed sequence replaced by U+FFFD. */
void utf8_repair(Buf *out, Str s);

#endif
