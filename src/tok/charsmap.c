/* charsmap.c - SentencePiece's precompiled normalization: a double-array trie from byte strings to replacements.
 *
 * The blob: u32 size of the trie in bytes, the trie's 32-bit units, then the replacements, each ended by a NUL. A unit
 * holds an offset to its children, a label, and whether a value follows. The longest key at each place is replaced.
 * Units come from outside: every index is checked before it is used. Any thread. */
#include <utf8proc.h>

#include "base/utf8.h"
#include "tok/parts.h"
#include "tok/unicode.h"

enum { CHARSMAP_MAX = 64 << 20 };

static inline bool has_leaf(uint32_t unit)
{
    return unit >> 8 & 1;
}

static inline uint32_t value_of(uint32_t unit)
{
    return unit & 0x7FFFFFFFu;
}

static inline uint32_t label_of(uint32_t unit)
{
    return unit & 0x800000FFu;
}

static inline uint32_t offset_of(uint32_t unit)
{
    return (unit >> 10) << ((unit & 1u << 9) >> 6);
}

Status charsmap_read(Str blob, Arena *mem, NormStep *out, Err *err)
{
    uint32_t size;
    *out = (NormStep){ .kind = NORM_CHARSMAP };
    if (blob.n > CHARSMAP_MAX) return fail(err, E_LIMIT, "precompiled_charsmap: %zu bytes", blob.n);
    if (blob.n < 4) return fail(err, E_CORRUPT, "precompiled_charsmap: %zu bytes are too few", blob.n);
    memcpy(&size, blob.p, 4);
    if (size > blob.n - 4 || size % 4 || size < 4)
        return fail(err, E_CORRUPT, "precompiled_charsmap: a trie of %u bytes in %zu", size, blob.n);
    out->trie = arena_copy(mem, blob.p + 4, size);
    out->n_trie = size / 4;
    out->strings = arena_str(mem, str_cut(blob, 4 + size, blob.n));
    for (size_t i = 0, n; i < out->strings.n; i += n + 1) {
        n = strnlen(out->strings.p + i, out->strings.n - i);
        out->n_longest = MAX(out->n_longest, n);
    }
    if (out->n_longest <= MAX_STEP_TEXT) return OK;
    return fail(err, E_LIMIT, "precompiled_charsmap: a replacement of %zu bytes, over %d", out->n_longest,
                MAX_STEP_TEXT);
}

/* A key that s begins with, the longest or the shortest: its length (0: none) and the replacement. */
static size_t match(const NormStep *n, Str s, bool shortest, Str *content)
{
    size_t best = 0;
    uint32_t at = offset_of(n->trie[0]);
    for (size_t i = 0; i < s.n && !(best && shortest); i++) {
        uint8_t c = (uint8_t)s.p[i];
        at ^= c;
        if (c == 0 || at >= n->n_trie) break;
        uint32_t unit = n->trie[at];
        if (label_of(unit) != c) break;
        at ^= offset_of(unit);
        if (!has_leaf(unit) || at >= n->n_trie) continue;
        uint32_t value = value_of(n->trie[at]);
        if (value >= n->strings.n) continue;
        const char *p = n->strings.p + value;
        *content = (Str){ p, strnlen(p, n->strings.n - value) };
        best = i + 1;
    }
    return best;
}

/* As SentencePiece does: the longest key at each place. */
static void by_longest(const NormStep *n, Str s, Buf *out)
{
    for (size_t i = 0; i < s.n;) {
        Str content;
        size_t len = match(n, str_cut(s, i, s.n), false, &content);
        if (len) {
            buf_str(out, content);
        } else {
            (void)uni_get(s.p + i, &len);
            buf_add(out, s.p + i, len);
        }
        i += len;
    }
}

static void each_char(const NormStep *n, Str s, Buf *out)
{
    for (size_t i = 0, len; i < s.n; i += len) {
        Str content;
        (void)uni_get(s.p + i, &len);
        Str c = str_cut(s, i, i + len);
        buf_str(out, match(n, c, true, &content) ? content : c);
    }
}

/* As Hugging Face does: a short grapheme cluster becomes what the shortest key at its start becomes, all of it; the
 * characters of others one by one. */
static void by_grapheme(const NormStep *n, Str s, Buf *out)
{
    enum { SHORT = 6 };
    for (size_t i = 0, end, len; i < s.n; i = end) {
        int32_t state = 0;
        Str content;
        int32_t last = (int32_t)uni_get(s.p + i, &len);
        for (end = i + len; end < s.n; end += len) {
            int32_t next = (int32_t)uni_get(s.p + end, &len);
            if (utf8proc_grapheme_break_stateful(last, next, &state)) break;
            last = next;
        }
        Str cluster = str_cut(s, i, end);
        if (cluster.n < SHORT && match(n, cluster, true, &content))
            buf_str(out, content);
        else
            each_char(n, cluster, out);
    }
}

Str charsmap_run(const NormStep *n, Str s, Buf *out)
{
    buf_clear(out);
    if (n->graphemes)
        by_grapheme(n, s, out);
    else
        by_longest(n, s, out);
    if (utf8_valid(buf_view(out))) return buf_view(out);
    Buf repaired = { 0 }; /* replacements come from outside */
    utf8_repair(&repaired, buf_view(out));
    buf_clear(out);
    buf_str(out, buf_view(&repaired));
    buf_free(&repaired);
    return buf_view(out);
}
