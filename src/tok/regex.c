/* regex.c - split patterns that no scanner knows, run by PCRE2's JIT compiler.
 *
 * PCRE2's idea of white space (it has U+180E) and its Unicode version differ from the engine the models were trained
 * with, so classes are rewritten before compiling: \s becomes the White_Space characters, and \p{L} and the other
 * categories get the ranges that were assigned after Unicode 14 (uni_news). PCRE2 keeps nothing of a match in the
 * pattern, so one Regex serves all threads; match data is made per search from the heap, which is cheap beside the search.
 * ^ and $ stand at line ends too, as in Ruby's syntax, which these patterns are written in.
 * Limits: PATTERN_MAX bytes of pattern, and MATCH_LIMIT steps, after which the text counts as not matching. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "tok/parts.h"
#include "tok/unicode.h"

enum { PATTERN_MAX = 64 << 10, MATCH_LIMIT = 10 * 1000 * 1000 };

struct Regex {
    pcre2_code *code;
    pcre2_match_context *context;
};

#define SPACES "\\x09-\\x0d\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"

/* The class bits of a category's name; 0: leave it to PCRE2. */
static unsigned bits_of(Str name)
{
    static const struct {
        const char *name;
        unsigned bits;
    } known[] = { { "L", UNI_L },   { "N", UNI_N },      { "M", UNI_M },      { "P", UNI_P },
                  { "S", UNI_S },   { "Lu", UNI_UPPER }, { "Ll", UNI_LOWER }, { "Lo", UNI_OTHER },
                  { "Nd", UNI_ND }, { "Mn", UNI_MN },    { "Han", UNI_HAN } };
    for (size_t i = 0; i < COUNT(known); i++)
        if (str_is(name, known[i].name)) return known[i].bits;
    return 0;
}

/* The characters of a class that PCRE2 may not know yet. */
static void add_news(Buf *out, unsigned bits)
{
    for (size_t i = 0; bits && i < uni_n_news; i++)
        if (uni_class(uni_news[i][0]) & bits) buf_printf(out, "\\x{%x}-\\x{%x}", uni_news[i][0], uni_news[i][1]);
}

/* The text of \p{name} with the characters PCRE2 may not know yet; brackets round it outside of a class. */
static void add_property(Buf *out, Str name, bool in_class)
{
    unsigned bits = bits_of(name);
    if (!in_class) buf_char(out, '[');
    buf_printf(out, "\\p{%.*s}", STR_FMT(name));
    add_news(out, bits);
    if (!in_class) buf_char(out, ']');
}

/* Rewrites the escape at s[i] (a backslash); returns its end. */
static size_t rewrite_escape(Str s, size_t i, bool in_class, Buf *out)
{
    char c = i + 1 < s.n ? s.p[i + 1] : 0;
    size_t close = c == 'p' && i + 2 < s.n && s.p[i + 2] == '{' ? str_find(s, STR("}"), i) : SIZE_MAX;
    if (close != SIZE_MAX && s.p[i + 3] != '^') {
        add_property(out, str_cut(s, i + 3, close), in_class);
        return close + 1;
    }
    if (c == 'w' || (c == 'W' && !in_class)) {
        buf_printf(out, in_class ? "" : c == 'w' ? "[" : "[^");
        buf_printf(out, "\\p{Alphabetic}\\p{M}\\p{Pc}\\xb2\\xb3\\xb9\\xbc-\\xbe");
        add_property(out, STR("Nd"), true);
        add_news(out, UNI_WORD);
        if (!in_class) buf_char(out, ']');
    } else if (c == 'd')
        add_property(out, STR("Nd"), in_class);
    else if (c == 's')
        buf_printf(out, in_class ? "%s" : "[%s]", SPACES);
    else if (c == 'S' && !in_class)
        buf_printf(out, "[^%s]", SPACES);
    else
        buf_add(out, s.p + i, MIN((size_t)2, s.n - i));
    return MIN(i + 2, s.n);
}

static void rewrite(Str s, Buf *out)
{
    int depth = 0; /* of character classes: [...&&[...]] nests */
    for (size_t i = 0; i < s.n;) {
        char c = s.p[i];
        if (c == '\\') {
            i = rewrite_escape(s, i, depth > 0, out);
            continue;
        }
        if (c == '[') {
            if (depth > 0) buf_char(out, '\\'); /* in the other engines' syntax an inner bracket is written escaped */
            depth = 1;
        } else if (c == ']' && depth > 0) {
            depth = 0;
        }
        buf_char(out, c);
        i++;
    }
}

Regex *regex_new(Str pattern, Err *err)
{
    if (pattern.n > PATTERN_MAX) {
        fail(err, E_LIMIT, "a split pattern has %zu bytes, over %d", pattern.n, PATTERN_MAX);
        return NULL;
    }
    if (str_find(pattern, STR("&&"), 0) != SIZE_MAX) {
        fail(err, E_UNSUPPORTED, "split pattern %.*s: intersections (&&) are only known in the known patterns",
             STR_FMT(pattern));
        return NULL;
    }
    Buf text = { 0 };
    rewrite(pattern, &text);
    int code;
    PCRE2_SIZE at;
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK | PCRE2_NEVER_BACKSLASH_C | PCRE2_MULTILINE;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)text.p, text.n, options, &code, &at, NULL);
    buf_free(&text);
    if (!compiled) {
        PCRE2_UCHAR why[120];
        pcre2_get_error_message(code, why, sizeof why);
        fail(err, E_UNSUPPORTED, "split pattern %.*s: %s", STR_FMT(pattern), (const char *)why);
        return NULL;
    }
    pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); /* where that is forbidden the interpreter does it */
    Regex *r = mem_alloc(sizeof *r);
    r->code = compiled;
    r->context = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(r->context, MATCH_LIMIT);
    return r;
}

void regex_free(Regex *r)
{
    if (!r) return;
    pcre2_match_context_free(r->context);
    pcre2_code_free(r->code);
    mem_free(r);
}

/* The leftmost match at or after from. */
static bool search(const Regex *r, Str text, size_t from, size_t *start, size_t *end)
{
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    CHECK(data);
    int rc = pcre2_match(r->code, (PCRE2_SPTR)text.p, text.n, from, PCRE2_NO_UTF_CHECK, data, r->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter keeps its stack on the heap */
        rc =
            pcre2_match(r->code, (PCRE2_SPTR)text.p, text.n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, r->context);
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(data);
    bool found = rc >= 0; /* 0: found, but there are groups beside the match */
    if (found) {
        *start = at[0];
        *end = MAX(at[0], at[1]);
    }
    pcre2_match_data_free(data);
    return found;
}

bool regex_next(const Regex *r, Str text, size_t from, bool after_match, size_t *start, size_t *end)
{
    size_t forbidden = after_match ? from : SIZE_MAX, len;
    while (from <= text.n && search(r, text, from, start, end)) {
        if (*end > *start || *end != forbidden) return true;
        if (*end == text.n) return false;
        (void)uni_get(text.p + *end, &len);
        from = *end + len;
    }
    return false;
}
