/* literal.c - values of Python and of Gemma as JSON, byte by byte.
 *
 * Both are brackets, commas and colons around strings, numbers and words; they differ in what begins a string and in whether keys
 * are bare. Numbers and words are gathered, as they are short; strings are passed on as they come. What is not a value of the
 * language is READ_BAD at its first wrong byte; what has been written by then stays. */
#include "base/utf8.h"
#include "dialect/parse.h"

static const char gemma_quote[] = "<|\"|>";

void literal_char(Buf *out, char c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *at = c ? strchr(from, c) : NULL;
    if (at) {
        buf_char(out, '\\');
        buf_char(out, to[at - from]);
    } else if ((unsigned char)c < ' ') {
        buf_printf(out, "\\u%04x", (unsigned)(unsigned char)c);
    } else {
        buf_char(out, c);
    }
}

/* ---- elements and brackets ---- */

static void element(Lit *l, Buf *out)
{
    if (l->comma) buf_str(out, STR(", "));
    l->comma = false;
}

/* An element has ended; taken: the byte at hand was its last. */
static Read over(Lit *l, bool taken)
{
    l->state = LIT_VALUE;
    l->after = true;
    if (l->depth > 0) return READ_MORE;
    return taken ? READ_NEXT : READ_DONE;
}

static bool in_object(const Lit *l)
{
    return l->depth > 0 && l->stack[l->depth - 1] == '}';
}

static Read push(Lit *l, char open, char close, Buf *out)
{
    if (l->depth == DIALECT_MAX_DEPTH || l->want_key) return READ_BAD;
    element(l, out);
    buf_char(out, open);
    l->stack[l->depth++] = close;
    l->want_key = close == '}';
    return READ_MORE;
}

static Read pop(Lit *l, char c, Buf *out)
{
    char want = l->depth ? l->stack[l->depth - 1] : 0;
    bool fits = c == want || (c == ')' && want == ']');
    if (!fits || (want == '}' && l->want_key == l->after)) return READ_BAD; /* a key or a value is missing */
    buf_char(out, want);
    l->depth--;
    l->comma = l->want_key = false;
    return over(l, true);
}

/* A byte after an element, within brackets. */
static Read follow(Lit *l, char c, Buf *out)
{
    if (c == ']' || c == '}' || c == ')') return pop(l, c, out);
    if (c == ':' && l->want_key) {
        buf_str(out, STR(": "));
        l->after = l->want_key = false;
        return READ_MORE;
    }
    if (c != ',' || l->want_key) return READ_BAD;
    l->after = false;
    l->comma = true;
    l->want_key = in_object(l);
    return READ_MORE;
}

/* ---- strings ---- */

static Read open_string(Lit *l, char quote, Buf *out)
{
    element(l, out);
    buf_char(out, '"');
    l->quote = quote;
    l->n_quote = 1;
    l->is_long = false;
    l->state = LIT_OPENING;
    return READ_MORE;
}

static Read close_string(Lit *l, bool taken, Buf *out)
{
    buf_char(out, '"');
    return over(l, taken);
}

static Read string_byte(Lit *l, char c, Buf *out)
{
    int want = l->is_long ? 3 : 1;
    if (c == l->quote) {
        if (++l->n_quote < want) return READ_MORE;
        return close_string(l, true, out);
    }
    for (; l->n_quote; l->n_quote--) literal_char(out, l->quote);
    if (c == '\\')
        l->state = LIT_ESCAPE;
    else
        literal_char(out, c);
    return READ_MORE;
}

/* After a first quote: a second closes it, a third opens a long string. */
static Read opening_byte(Lit *l, char c, Buf *out)
{
    if (c == l->quote && l->n_quote < 3) {
        if (++l->n_quote < 3) return READ_MORE;
        l->is_long = true;
        l->n_quote = 0;
        l->state = LIT_STRING;
        return READ_MORE;
    }
    if (l->n_quote == 2) return close_string(l, false, out);
    l->n_quote = 0;
    l->state = LIT_STRING;
    return string_byte(l, c, out);
}

static Read begin_code(Lit *l, int digits)
{
    l->state = LIT_CODE;
    l->n_code = digits;
    l->code = 0;
    return READ_MORE;
}

static Read escape_byte(Lit *l, char c, Buf *out)
{
    static const char from[] = "ntrbfav0\\'\"", to[] = "\n\t\r\b\f\a\v\0\\'\"";
    const char *at = c ? strchr(from, c) : NULL;
    l->state = LIT_STRING;
    if (c == 'x' || c == 'u' || c == 'U') return begin_code(l, c == 'x' ? 2 : c == 'u' ? 4 : 8);
    if (at) {
        literal_char(out, to[at - from]);
    } else if (c != '\n') { /* a line continued; anything else is no escape */
        literal_char(out, '\\');
        literal_char(out, c);
    }
    return READ_MORE;
}

static Read code_byte(Lit *l, char c, Buf *out)
{
    char utf8[4];
    int digit = hex_digit((unsigned char)c);
    if (digit < 0) return READ_BAD;
    l->code = l->code * 16 + (uint32_t)digit;
    if (--l->n_code) return READ_MORE;
    l->state = LIT_STRING;
    bool bad = l->code > 0x10FFFF || (l->code >= 0xD800 && l->code < 0xE000);
    int n = utf8_put(utf8, bad ? UTF8_BAD : l->code);
    for (int i = 0; i < n; i++) literal_char(out, utf8[i]);
    return READ_MORE;
}

/* ---- numbers and words ---- */

static size_t digits(Str s, size_t i)
{
    while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9') i++;
    return i;
}

/* JSON's grammar of numbers. */
static bool is_number(Str s)
{
    size_t i = s.n && s.p[0] == '-', from = i;
    i = digits(s, i);
    if (i == from || (s.p[from] == '0' && i > from + 1)) return false;
    if (i < s.n && s.p[i] == '.') {
        from = ++i;
        i = digits(s, i);
        if (i == from) return false;
    }
    if (i < s.n && (s.p[i] == 'e' || s.p[i] == 'E')) {
        i++;
        if (i < s.n && (s.p[i] == '+' || s.p[i] == '-')) i++;
        from = i;
        i = digits(s, i);
        if (i == from) return false;
    }
    return i == s.n;
}

/* Python's spelling of a number or a constant as JSON's. */
static bool put_word(Str w, Buf *out)
{
    static const char *const words[][2] = { { "True", "true" }, { "False", "false" }, { "None", "null" },
                                            { "true", "true" }, { "false", "false" }, { "null", "null" } };
    char plain[sizeof((Lit){ 0 }.word) + 2];
    size_t n = 0;
    for (size_t i = 0; i < COUNT(words); i++) {
        if (!str_is(w, words[i][0])) continue;
        buf_str(out, str_of(words[i][1]));
        return true;
    }
    if (w.n && w.p[0] == '+') w = str_cut(w, 1, w.n);
    for (size_t i = 0; i < w.n; i++) {
        bool first = i == 0 || (i == 1 && w.p[0] == '-');
        if (w.p[i] == '.' && first) plain[n++] = '0';
        if (w.p[i] != '_') plain[n++] = w.p[i];
        if (n + 2 > sizeof plain) return false;
    }
    if (n && plain[n - 1] == '.') plain[n++] = '0';
    if (!is_number((Str){ plain, n })) return false;
    buf_add(out, plain, n);
    return true;
}

static bool word_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' ||
           c == '+' || c == '-';
}

static Read add_word(Lit *l, char c)
{
    if (l->n_word == sizeof l->word) return READ_BAD;
    l->word[l->n_word++] = c;
    return READ_MORE;
}

static Read begin_word(Lit *l, char c)
{
    l->n_word = 0;
    l->state = LIT_WORD;
    return add_word(l, c);
}

static Read python_word(Lit *l, char c, Buf *out)
{
    if (word_byte(c)) return add_word(l, c);
    element(l, out);
    if (!put_word((Str){ l->word, l->n_word }, out)) return READ_BAD;
    return over(l, false);
}

/* ---- Python ---- */

static Read python_value(Lit *l, char c, Buf *out)
{
    if (parse_space(c)) return READ_MORE;
    if (l->after) return follow(l, c, out);
    if (c == '\'' || c == '"') return open_string(l, c, out);
    if (c == '[' || c == '(') return push(l, '[', ']', out);
    if (c == '{') return push(l, '{', '}', out);
    if (l->depth && (c == ']' || c == '}' || c == ')')) return pop(l, c, out);
    if (!word_byte(c) || l->want_key) return READ_BAD;
    return begin_word(l, c);
}

static Read string_state(Lit *l, char c, Buf *out)
{
    if (l->state == LIT_OPENING) return opening_byte(l, c, out);
    if (l->state == LIT_ESCAPE) return escape_byte(l, c, out);
    return l->state == LIT_CODE ? code_byte(l, c, out) : string_byte(l, c, out);
}

Read literal_python(Lit *l, char c, Buf *out)
{
    LitState was = l->state;
    if (was == LIT_VALUE) return python_value(l, c, out);
    Read r = was == LIT_WORD ? python_word(l, c, out) : string_state(l, c, out);
    /* Within brackets the byte that ended a word, or an empty string, is still to be read. */
    bool left = (was == LIT_WORD && !word_byte(c)) || (was == LIT_OPENING && l->n_quote == 2 && c != l->quote);
    return r == READ_MORE && left ? python_value(l, c, out) : r;
}

/* ---- Gemma ---- */

/* A bare key, or a value that is no string: up to a byte that ends it. */
static Read gemma_word(Lit *l, char c, Buf *out)
{
    bool ends = l->want_key ? c == ':' : c == ',' || c == '}' || c == ']' || c == ':';
    if (!ends) return add_word(l, c);
    Str w = str_trim((Str){ l->word, l->n_word });
    element(l, out);
    if (l->want_key || !put_word(w, out)) {
        buf_char(out, '"');
        for (size_t i = 0; i < w.n; i++) literal_char(out, w.p[i]);
        buf_char(out, '"');
    }
    l->state = LIT_VALUE;
    l->after = true;
    return follow(l, c, out);
}

static Read gemma_value(Lit *l, char c, Buf *out)
{
    if (parse_space(c)) return READ_MORE;
    if (l->after) return follow(l, c, out);
    if (c == '<') return open_string(l, c, out);
    if (c == '[') return push(l, '[', ']', out);
    if (c == '{') return push(l, '{', '}', out);
    if (l->depth && (c == ']' || c == '}')) return pop(l, c, out);
    if (c == '"') {
        open_string(l, c, out);
        l->state = LIT_STRING;
        l->n_quote = 0;
        return READ_MORE;
    }
    l->n_word = 0;
    if (c == ':' && l->want_key) return gemma_word(l, c, out); /* an empty key */
    return l->depth && c != ',' && c != ':' ? begin_word(l, c) : READ_BAD;
}

/* Within the marks nothing is escaped. */
static Read gemma_string(Lit *l, char c, Buf *out)
{
    if (c == gemma_quote[l->n_quote]) {
        if (gemma_quote[++l->n_quote]) return READ_MORE;
        l->n_quote = 0;
        return close_string(l, true, out);
    }
    for (int i = 0; i < l->n_quote; i++) literal_char(out, gemma_quote[i]);
    l->n_quote = c == gemma_quote[0];
    if (!l->n_quote) literal_char(out, c);
    return READ_MORE;
}

Read literal_gemma(Lit *l, char c, Buf *out)
{
    if (l->state == LIT_VALUE) return gemma_value(l, c, out);
    if (l->state == LIT_WORD) return gemma_word(l, c, out);
    if (l->quote != gemma_quote[0]) return string_state(l, c, out);
    if (l->state == LIT_STRING) return gemma_string(l, c, out);
    if (c != gemma_quote[l->n_quote]) return READ_BAD;
    if (gemma_quote[++l->n_quote]) return READ_MORE;
    l->n_quote = 0;
    l->state = LIT_STRING;
    return READ_MORE;
}
