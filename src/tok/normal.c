/* normal.c - normalizers: text to text before it is split.
 *
 * Each step reads one buffer and writes the other, or hands its input on where nothing changes, which is the usual case:
 * text that is all below U+0300 is already in NFC, and utf8proc is asked only about the rest. Thread: one Scratch. */
#include <utf8proc.h>

#include "base/utf8.h"
#include "tok/parts.h"
#include "tok/unicode.h"

/* ---- Unicode forms ---- */

/* True if no character at or above the lowest that the form could change occurs. */
static bool is_below(Str s, uint8_t lead)
{
    for (size_t i = 0; i < s.n; i++)
        if ((uint8_t)s.p[i] >= lead) return false;
    return true;
}

static unsigned combining(int32_t cp)
{
    return (uint8_t)utf8proc_get_property(cp)->combining_class;
}

/* Stable sort of marks by class. utf8proc's own is quadratic in a run of marks, which a hostile text makes long. */
static void sort_marks(int32_t *cp, size_t n, Buf *tmp)
{
    size_t start[257] = { 0 };
    buf_clear(tmp);
    buf_add(tmp, cp, n * sizeof *cp);
    for (size_t i = 0; i < n; i++) start[combining(cp[i]) + 1]++;
    for (size_t c = 0; c < 256; c++) start[c + 1] += start[c];
    for (size_t i = 0; i < n; i++) {
        int32_t c;
        memcpy(&c, tmp->p + i * sizeof c, sizeof c);
        cp[start[combining(c)]++] = c;
    }
}

static void order(int32_t *cp, size_t n)
{
    Buf tmp = { 0 };
    for (size_t i = 0, end; i < n; i = end) {
        end = i + 1;
        if (!combining(cp[i])) continue;
        bool sorted = true;
        for (; end < n && combining(cp[end]); end++) sorted = sorted && combining(cp[end - 1]) <= combining(cp[end]);
        if (!sorted) sort_marks(cp + i, end - i, &tmp);
    }
    buf_free(&tmp);
}

static Str unicode_form(Str s, utf8proc_option_t how, Buf *out)
{
    enum { MOST = 18 }; /* characters that one decomposes to */
    Buf points = { 0 };
    size_t n = 0;
    utf8proc_option_t apart = (how & ~(unsigned)UTF8PROC_COMPOSE) | UTF8PROC_DECOMPOSE;
    for (size_t i = 0, len; i < s.n; i += len) {
        int bound = 0;
        int32_t made[MOST];
        int32_t cp = (int32_t)uni_get(s.p + i, &len);
        utf8proc_ssize_t k = cp < 0x80 ? 0 : utf8proc_decompose_char(cp, made, MOST, apart, &bound);
        if (k <= 0 || k > MOST) made[0] = cp, k = 1;
        buf_add(&points, made, (size_t)k * sizeof *made);
        n += (size_t)k;
    }
    int32_t *cp = (int32_t *)(void *)points.p;
    order(cp, n);
    if (how & UTF8PROC_COMPOSE) n = (size_t)utf8proc_normalize_utf32(cp, (utf8proc_ssize_t)n, how);
    buf_clear(out);
    for (size_t i = 0; cp && i < n; i++) {
        buf_reserve(out, 4);
        out->n += (size_t)utf8_put(out->p + out->n, (uint32_t)cp[i]);
    }
    buf_free(&points);
    return buf_view(out);
}

/* ---- one character to some ---- */

/* Nmt: control characters go, exotic spaces become spaces. */
static bool nmt_drops(uint32_t c)
{
    return (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
}

static bool nmt_space(uint32_t c)
{
    return c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) || c == 0x2028 ||
           c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
}

static void put(Buf *out, uint32_t cp)
{
    buf_reserve(out, 4);
    out->n += (size_t)utf8_put(out->p + out->n, cp);
}

static void put_lower(Buf *out, uint32_t cp)
{
    if (cp == 0x130) { /* the only character whose full lower case is two */
        put(out, 'i');
        put(out, 0x307);
        return;
    }
    put(out, cp < 0x80 ? (uint32_t)(cp >= 'A' && cp <= 'Z' ? cp + 32 : cp)
                       : (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp));
}

static Str each_char(NormKind kind, Str s, Buf *out)
{
    buf_clear(out);
    for (size_t i = 0, len; i < s.n; i += len) {
        uint32_t cp = uni_get(s.p + i, &len);
        if (kind == NORM_LOWER)
            put_lower(out, cp);
        else if (kind == NORM_STRIP_ACCENTS || kind == NORM_BERT_ACCENTS) {
            unsigned mark = kind == NORM_BERT_ACCENTS ? UNI_BERT_ACCENT : UNI_STRIP_ACCENT;
            if (!(uni_class(cp) & mark)) buf_add(out, s.p + i, len);
        } else if (!nmt_drops(cp))
            put(out, nmt_space(cp) ? ' ' : cp);
    }
    return buf_view(out);
}

static Str collapse(Str s, Buf *out)
{
    buf_clear(out);
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != ' ' || (out->n && out->p[out->n - 1] != ' ')) buf_char(out, s.p[i]);
    Str made = buf_view(out); /* at the end, what looks like an escaped space goes too */
    while (str_ends(made, STR(" ")) || str_ends(made, STR("\xE2\x96\x81"))) made.n -= made.p[made.n - 1] == ' ' ? 1 : 3;
    return made;
}

/* ---- BERT ---- */

static bool is_chinese(uint32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

/* The first part of BertNormalizer; its other parts are steps of their own. */
static Str bert(const NormStep *n, Str s, Buf *out)
{
    buf_clear(out);
    for (size_t i = 0, len; i < s.n; i += len) {
        uint32_t cp = uni_get(s.p + i, &len);
        unsigned c = uni_class(cp);
        if (n->clean && (c & UNI_BERT_DROP)) continue;
        if (n->clean && (c & UNI_SPACE)) cp = ' ';
        bool wide = n->chinese && is_chinese(cp);
        if (wide) buf_char(out, ' ');
        put(out, cp);
        if (wide) buf_char(out, ' ');
    }
    return buf_view(out);
}

/* ---- text to text ---- */

static Str strip(const NormStep *n, Str s)
{
    size_t len;
    while (n->left && s.n && (uni_at(s.p, &len) & UNI_SPACE)) s = str_cut(s, len, s.n);
    while (n->right && s.n) {
        size_t i = s.n - 1;
        while (i > 0 && ((uint8_t)s.p[i] & 0xC0) == 0x80) i--;
        if (!(uni_at(s.p + i, &len) & UNI_SPACE)) break;
        s.n = i;
    }
    return s;
}

static bool find(const NormStep *n, Str s, size_t from, bool after_match, size_t *start, size_t *end)
{
    if (n->regex) return regex_next(n->regex, s, from, after_match, start, end);
    *start = n->pattern.n ? str_find(s, n->pattern, from) : SIZE_MAX;
    *end = *start + n->pattern.n;
    return *start != SIZE_MAX;
}

static Str replace(const NormStep *n, Str s, Buf *out)
{
    size_t at = 0, start, end;
    if (s.n == 0 || !find(n, s, 0, false, &start, &end)) return s;
    buf_clear(out);
    do {
        buf_add(out, s.p + at, start - at);
        buf_str(out, n->content);
        at = end;
    } while (find(n, s, at, true, &start, &end));
    buf_add(out, s.p + at, s.n - at);
    return buf_view(out);
}

static Str prepend(const NormStep *n, Str s, Buf *out)
{
    if (s.n == 0) return s;
    buf_clear(out);
    buf_str(out, n->content);
    buf_str(out, s);
    return buf_view(out);
}

static Str alphabet(Str s, Buf *out)
{
    buf_clear(out);
    vocab_alphabet_of(s, out);
    return buf_view(out);
}

static Str apply(const NormStep *n, Str s, Buf *out)
{
    utf8proc_option_t compose = UTF8PROC_STABLE | UTF8PROC_COMPOSE, decompose = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    switch (n->kind) {
    case NORM_NFC: return is_below(s, 0xCC) ? s : unicode_form(s, compose, out);   /* U+0300 begins with CC */
    case NORM_NFD: return is_below(s, 0xC3) ? s : unicode_form(s, decompose, out); /* U+00C0 with C3 */
    case NORM_NFKC: return is_below(s, 0xC2) ? s : unicode_form(s, compose | UTF8PROC_COMPAT, out);
    case NORM_NFKD: return is_below(s, 0xC2) ? s : unicode_form(s, decompose | UTF8PROC_COMPAT, out);
    case NORM_NMT:
    case NORM_LOWER:
    case NORM_STRIP_ACCENTS:
    case NORM_BERT_ACCENTS: return each_char(n->kind, s, out);
    case NORM_STRIP: return strip(n, s);
    case NORM_PREPEND: return prepend(n, s, out);
    case NORM_REPLACE: return replace(n, s, out);
    case NORM_CHARSMAP: return charsmap_run(n, s, out);
    case NORM_BERT: return bert(n, s, out);
    case NORM_BYTES: return alphabet(s, out);
    case NORM_COLLAPSE: return collapse(s, out);
    }
    return s;
}

Str norm_run(const Tokenizer *t, Scratch *s, Str text)
{
    int which = 0;
    for (int i = 0; i < t->n_norms; i++) {
        Str made = apply(&t->norms[i], text, &s->norm[which]);
        if (made.p == s->norm[which].p) which = !which;
        text = made;
    }
    return text;
}
