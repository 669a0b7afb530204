/* regex.c - split patterns that no scanner knows, run by PCRE2's JIT compiler.
 *
 * PCRE2's idea of white space (it has U+180E) and its Unicode version differ from the engine the models were trained
 * with, so classes are rewritten before compiling: \s becomes the White_Space characters, and \p{L} and the other
 * categories get the ranges that were assigned after Unicode 14 (uni_news). PCRE2 keeps nothing of a match in the
 * pattern, so one Regex serves all threads; match data is made per search from the heap, which is cheap beside the search.
 * The patterns are written in Ruby's syntax, where ^ and $ stand at line ends too, \h is a hexadecimal digit, and {1,3}+ is a
 * repetition of a repetition: what Perl's reads otherwise is rewritten, or refused where that is too much.
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

/* The short names of categories that have long ones. */
static Str short_name(Str name)
{
    static const char *const pairs[][2] = { { "Letter", "L" },      { "Number", "N" }, { "Mark", "M" },
                                            { "Punctuation", "P" }, { "Punct", "P" },  { "Symbol", "S" },
                                            { "Separator", "Z" },   { "Digit", "Nd" } };
    for (size_t i = 0; i < COUNT(pairs); i++)
        if (str_is(name, pairs[i][0])) return str_of(pairs[i][1]);
    return name;
}

/* The text of \p{name} with the characters PCRE2 may not know yet; brackets round it outside of a class. */
static void add_property(Buf *out, Str name, bool in_class)
{
    name = short_name(name);
    if (!in_class) buf_char(out, '[');
    buf_printf(out, "\\p{%.*s}", STR_FMT(name));
    add_news(out, bits_of(name));
    if (!in_class) buf_char(out, ']');
}

static void add_words(Buf *out)
{
    buf_printf(out, "\\p{Alphabetic}\\p{M}\\p{Pc}\\xb2\\xb3\\xb9\\xbc-\\xbe");
    add_property(out, STR("Nd"), true);
    add_news(out, UNI_WORD);
}

/* ---- from Ruby's syntax to Perl's ---- */

enum { MAX_GROUPS = 200 };

typedef struct {
    Str s;
    size_t i;
    Buf *out;
    bool in_class;
    size_t atom; /* where in out the last atom begins, which a quantifier would repeat */
    size_t group[MAX_GROUPS];
    int n_groups;
    const char *refused; /* why the pattern is not taken; NULL: it is */
} Rewriter;

/* \p{name}, \P{name}, \p{^name}, \x{code}, \o{code}. */
static void rewrite_braces(Rewriter *w, char kind, Str inside)
{
    bool not = kind == 'P', hat = inside.n && inside.p[0] == '^';
    if (hat) inside = str_cut(inside, 1, inside.n);
    if (kind != 'p' && kind != 'P') {
        buf_printf(w->out, "\\%c{%.*s}", kind, STR_FMT(inside));
    } else if (not == hat) {
        add_property(w->out, inside, w->in_class);
    } else if (w->in_class) { /* new characters stay in: a class cannot take them out of what it has */
        buf_printf(w->out, "\\P{%.*s}", STR_FMT(short_name(inside)));
    } else {
        buf_printf(w->out, "[^");
        add_property(w->out, inside, true);
        buf_char(w->out, ']');
    }
}

/* A backslash and what it escapes. */
static void rewrite_escape(Rewriter *w)
{
    Str s = w->s;
    size_t i = w->i;
    char c = i + 1 < s.n ? s.p[i + 1] : 0;
    bool braces = i + 2 < s.n && s.p[i + 2] == '{' && c && strchr("pPxo", c);
    size_t close = braces ? str_find(s, STR("}"), i) : SIZE_MAX;
    if (close != SIZE_MAX) {
        rewrite_braces(w, c, str_cut(s, i + 3, close));
        w->i = close + 1;
        return;
    }
    w->i = MIN(i + 2, s.n);
    const char *open = w->in_class ? "" : c >= 'a' ? "[" : "[^", *end = w->in_class ? "" : "]";
    bool plain = c >= 'a' || !w->in_class; /* the opposite of a class within a class is PCRE2's own */
    if ((c == 'w' || c == 'W') && plain) {
        buf_str(w->out, str_of(open));
        add_words(w->out);
        buf_str(w->out, str_of(end));
    } else if (c == 'd')
        add_property(w->out, STR("Nd"), w->in_class);
    else if ((c == 's' || c == 'S') && plain)
        buf_printf(w->out, "%s%s%s", open, SPACES, end);
    else if ((c == 'h' || c == 'H') && plain) /* in Ruby these are hexadecimal digits */
        buf_printf(w->out, "%s0-9A-Fa-f%s", open, end);
    else if (c == 'u' && i + 6 <= s.n) {
        buf_printf(w->out, "\\x{%.4s}", s.p + i + 2);
        w->i = i + 6;
    } else
        buf_add(w->out, s.p + i, w->i - i);
}

/* [:name:] inside a class. */
static void rewrite_posix(Rewriter *w)
{
    size_t end = str_find(w->s, STR(":]"), w->i + 2);
    Str name = end == SIZE_MAX ? STR("") : str_cut(w->s, w->i + 2, end);
    if (str_is(name, "space"))
        buf_printf(w->out, "%s", SPACES);
    else if (str_is(name, "digit"))
        add_property(w->out, STR("Nd"), true);
    else if (str_is(name, "word"))
        add_words(w->out);
    else if (str_is(name, "punct")) {
        add_property(w->out, STR("P"), true);
        add_property(w->out, STR("S"), true);
    } else
        w->refused = "a class in double brackets is not known";
    w->i = end == SIZE_MAX ? w->s.n : end + 2;
}

/* {n,m} after an atom. In Ruby's syntax {,m} begins at 0, and a + behind it repeats once more instead of being possessive. */
static void rewrite_interval(Rewriter *w)
{
    size_t i = w->i + 1;
    bool digits = false;
    while (i < w->s.n && ((w->s.p[i] >= '0' && w->s.p[i] <= '9') || w->s.p[i] == ',')) digits |= w->s.p[i++] != ',';
    if (!digits || i == w->s.n || w->s.p[i] != '}') {
        buf_printf(w->out, "\\{"); /* a brace like any other character */
        w->i++;
        return;
    }
    bool again = i + 1 < w->s.n && w->s.p[i + 1] == '+';
    if (again) {
        Buf atom = { 0 };
        buf_add(&atom, w->out->p + w->atom, w->out->n - w->atom);
        w->out->n = w->atom;
        buf_str(w->out, STR("(?:"));
        buf_str(w->out, buf_view(&atom));
        buf_free(&atom);
    }
    buf_printf(w->out, w->s.p[w->i + 1] == ',' ? "{0" : "{");
    buf_add(w->out, w->s.p + w->i + 1, i - w->i);
    if (again) buf_char(w->out, ')');
    w->i = i + 1;
}

static void rewrite_in_class(Rewriter *w)
{
    char c = w->s.p[w->i], next = w->i + 1 < w->s.n ? w->s.p[w->i + 1] : 0;
    if (c == '\\') {
        rewrite_escape(w);
    } else if (c == '[' && next == ':') {
        rewrite_posix(w);
    } else if (c == '[') {
        w->refused = "a class within a class is not known";
        w->i++;
    } else {
        w->in_class = c != ']';
        buf_char(w->out, c);
        w->i++;
    }
}

static void rewrite_outside(Rewriter *w)
{
    char c = w->s.p[w->i];
    if (c == '{') {
        rewrite_interval(w);
        return;
    }
    if (c == ')')
        w->atom = w->n_groups ? w->group[--w->n_groups] : w->out->n;
    else if (!strchr("*+?|", c) || !c)
        w->atom = w->out->n;
    if (c == '\\') {
        rewrite_escape(w);
        return;
    }
    if (c == '(' && w->n_groups == MAX_GROUPS) w->refused = "groups are nested too deeply";
    if (c == '(' && !w->refused) w->group[w->n_groups++] = w->out->n;
    w->in_class = c == '[';
    size_t n = 1;
    if (c == '[' && w->i + 1 < w->s.n && w->s.p[w->i + 1] == '^') n++;
    if (c == '[' && w->i + n < w->s.n && w->s.p[w->i + n] == ']')
        n++; /* a bracket that comes first is one of the class */
    while ((uint8_t)c >= 0xC0 && w->i + n < w->s.n && ((uint8_t)w->s.p[w->i + n] & 0xC0) == 0x80) n++;
    buf_add(w->out, w->s.p + w->i, n);
    w->i += n;
}

/* NULL, or why the pattern is refused. */
static const char *rewrite(Str s, Buf *out)
{
    Rewriter w = { .s = s, .out = out };
    while (w.i < s.n && !w.refused) {
        if (w.in_class)
            rewrite_in_class(&w);
        else
            rewrite_outside(&w);
    }
    return w.refused;
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
    const char *refused = rewrite(pattern, &text);
    if (refused) {
        buf_free(&text);
        fail(err, E_UNSUPPORTED, "split pattern %.*s: %s", STR_FMT(pattern), refused);
        return NULL;
    }
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
