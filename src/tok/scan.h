/* scan.h - cuts text into the pieces that the well-known split patterns give, without a regex engine.
 *
 * A ScanFn takes VALID UTF-8 and a position i < n, and returns where the piece that starts at i ends (> i). Together the
 * pieces cover the text, so a scanner is a Split with behaviour Isolated. Each is linear in the text: it looks at most at
 * the white-space run or letter run that it is about to return, and one character beyond. */
#ifndef TOK_SCAN_H
#define TOK_SCAN_H

#include "base/base.h"

typedef size_t (*ScanFn)(const char *s, size_t n, size_t i);

size_t scan_gpt2(const char *s, size_t n, size_t i);
size_t scan_digits_gpt2(const char *s, size_t n, size_t i); /* \p{N} one by one, then gpt2 on what is between */
size_t scan_llama3(const char *s, size_t n, size_t i);      /* cl100k in Hugging Face's writing */
size_t scan_qwen2(const char *s, size_t n, size_t i);
size_t scan_qwen35(const char *s, size_t n, size_t i);
size_t scan_o200k(const char *s, size_t n, size_t i);
size_t scan_youtu(const char *s, size_t n, size_t i); /* o200k with digits one by one */
size_t scan_tekken(const char *s, size_t n, size_t i);
size_t scan_kimi(const char *s, size_t n, size_t i);
size_t scan_deepseek3(const char *s, size_t n, size_t i);      /* the third of its splits */
size_t scan_numbers3(const char *s, size_t n, size_t i);       /* \p{N}{1,3} */
size_t scan_numbers3_right(const char *s, size_t n, size_t i); /* groups of 3 counted from the right: 1 234 567 */
size_t scan_numbers1(const char *s, size_t n, size_t i);       /* \p{N} */
size_t scan_numbers(const char *s, size_t n, size_t i);        /* \p{N}+ */
size_t scan_cjk(const char *s, size_t n, size_t i);            /* [U+4E00-U+9FA5 U+3040-U+309F U+30A0-U+30FF]+ */

/* The scanner that does what the pattern says (same pattern, byte for byte), or NULL. */
ScanFn scan_for_pattern(Str pattern);

#endif
