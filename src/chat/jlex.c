/* jlex.c - template source to tokens, with Jinja's white-space rules already applied to the text between tags.
 *
 * trim_blocks: the newline after a block or comment is dropped. lstrip_blocks: blanks before a block or comment are dropped if
 * nothing else stands before it on its line. A "-" inside a tag strips all white space on its side, a "+" keeps it. */
#include "base/utf8.h"
#include "chat/jinja.h"

enum { BRACKET_DEPTH = 256 };

typedef struct {
    Arena *arena;
    Str s;
    size_t at;
    int line;
    bool line_starting; /* the last tag ended with a newline (or nothing came yet) */
    JToken *out;
    size_t n, cap;
    Err *err;
} Lexer;

static Status lex_fail(Lexer *x, const char *what)
{
    size_t bol = x->at;
    while (bol && x->s.p[bol - 1] != '\n') bol--;
    return fail(x->err, E_INVALID, "chat template line %d, column %zu: %s", x->line, x->at - bol + 1, what);
}

static void push(Lexer *x, JTokenKind kind, Str text)
{
    if (x->n == x->cap) {
        size_t cap = x->cap ? x->cap * 2 : 256;
        JToken *more = ARENA_NEW(x->arena, JToken, cap);
        if (x->n) memcpy(more, x->out, x->n * sizeof *more);
        x->out = more;
        x->cap = cap;
    }
    x->out[x->n++] = (JToken){ kind, text, x->line };
}

static bool at(const Lexer *x, const char *word)
{
    return str_starts(str_cut(x->s, x->at, x->s.n), str_of(word));
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void advance(Lexer *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x->line += x->s.p[x->at + i] == '\n';
    x->at += n;
}

/* \r\n and \r become \n; one newline at the very end is dropped. */
static Str normalized(Arena *a, Str source)
{
    char *p = arena_alloc(a, source.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < source.n; i++) {
        if (source.p[i] == '\r') {
            p[n++] = '\n';
            if (i + 1 < source.n && source.p[i + 1] == '\n') i++;
        } else {
            p[n++] = source.p[i];
        }
    }
    if (n && p[n - 1] == '\n') n--;
    return (Str){ p, n };
}

/* Text up to a tag, less what the tag's left side strips. */
static void push_data(Lexer *x, Str text, char sign, bool is_variable)
{
    if (sign == '-') {
        while (text.n && is_space(text.p[text.n - 1])) text.n--;
    } else if (sign != '+' && !is_variable) {
        size_t bol = text.n;
        while (bol && text.p[bol - 1] != '\n') bol--;
        bool blank = bol < text.n && (bol > 0 || x->line_starting);
        for (size_t i = bol; i < text.n && blank; i++) blank = is_space(text.p[i]);
        if (blank) text.n = bol;
    }
    if (text.n) push(x, JT_DATA, text);
}

/* Behind a closing tag: "-" eats all white space, otherwise trim_blocks eats one newline. */
static void close_tag(Lexer *x, char sign, size_t n, bool trims)
{
    advance(x, n);
    size_t from = x->at;
    if (sign == '-') {
        while (x->at < x->s.n && is_space(x->s.p[x->at])) advance(x, 1);
    } else if (sign != '+' && trims && x->at < x->s.n && x->s.p[x->at] == '\n') {
        advance(x, 1);
    }
    x->line_starting = x->at > from && x->s.p[x->at - 1] == '\n';
}

static Status comment(Lexer *x)
{
    size_t end = str_find(x->s, STR("#}"), x->at + 2);
    if (end == SIZE_MAX) return lex_fail(x, "a comment {# is not closed by #}");
    char sign = end > x->at + 2 ? x->s.p[end - 1] : 0;
    advance(x, end - x->at);
    close_tag(x, sign == '-' || sign == '+' ? sign : 0, 2, true);
    return OK;
}

/* One escape of a string literal, as Python's unicode_escape reads it; s[*i] is behind the backslash. */
static bool unescape(Str s, size_t *i, Buf *out)
{
    static const char from[] = "ntr0abfv\\'\"", to[] = "\n\t\r\0\a\b\f\v\\'\"";
    char c = s.p[(*i)++];
    int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits) {
        uint32_t cp = 0;
        for (int k = 0; k < digits; k++) {
            int d = *i < s.n ? hex_digit(s.p[*i]) : -1;
            if (d < 0) return false;
            cp = cp * 16 + (uint32_t)d;
            (*i)++;
        }
        if (cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) return false;
        char bytes[4];
        buf_add(out, bytes, (size_t)utf8_put(bytes, cp));
        return true;
    }
    if (c == '\n') return true;
    const char *known = memchr(from, c, sizeof from - 1);
    if (!known) buf_char(out, '\\');
    buf_char(out, known ? to[known - from] : c);
    return true;
}

static Status string(Lexer *x)
{
    char quote = x->s.p[x->at];
    size_t begin = x->at + 1, end = begin;
    while (end < x->s.n && x->s.p[end] != quote) end += x->s.p[end] == '\\' ? 2 : 1;
    if (end >= x->s.n) return lex_fail(x, "a string is not closed");
    Str raw = str_cut(x->s, begin, end);
    Buf text = { 0 };
    bool good = true;
    for (size_t i = 0; i < raw.n && good;) {
        if (raw.p[i] != '\\')
            buf_char(&text, raw.p[i++]);
        else
            good = ++i < raw.n && unescape(raw, &i, &text);
    }
    if (good) push(x, JT_STRING, arena_str(x->arena, buf_view(&text)));
    buf_free(&text);
    if (!good) return lex_fail(x, "a string has a bad escape");
    advance(x, end + 1 - x->at);
    return OK;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(char c, bool first)
{
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (uint8_t)c >= 0x80 ||
           (!first && is_digit(c));
}

static void number(Lexer *x)
{
    size_t i = x->at;
    bool real = false;
    while (i < x->s.n && (is_digit(x->s.p[i]) || x->s.p[i] == '_')) i++;
    if (i + 1 < x->s.n && x->s.p[i] == '.' && is_digit(x->s.p[i + 1])) {
        real = true;
        i++;
        while (i < x->s.n && (is_digit(x->s.p[i]) || x->s.p[i] == '_')) i++;
    }
    if (i < x->s.n && (x->s.p[i] | 32) == 'e') {
        size_t k = i + 1;
        if (k < x->s.n && (x->s.p[k] == '+' || x->s.p[k] == '-')) k++;
        if (k < x->s.n && is_digit(x->s.p[k])) {
            real = true;
            for (i = k; i < x->s.n && is_digit(x->s.p[i]);) i++;
        }
    }
    push(x, real ? JT_FLOAT : JT_INT, str_cut(x->s, x->at, i));
    advance(x, i - x->at);
}

static Status operator_token(Lexer *x, char *open, int *depth)
{
    static const char *const two[] = { "==", "!=", "<=", ">=", "//", "**" };
    char c = x->s.p[x->at];
    size_t n = 1;
    for (size_t i = 0; i < COUNT(two); i++) {
        if (at(x, two[i])) n = 2;
    }
    if (n == 1 && !strchr("+-*/%~<>=.,:;|()[]{}", c)) return lex_fail(x, "an unexpected character");
    if (c == '(' || c == '[' || c == '{') {
        if (*depth == BRACKET_DEPTH) return lex_fail(x, "brackets are nested too deeply");
        open[(*depth)++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
        if (*depth == 0 || open[*depth - 1] != c) return lex_fail(x, "a closing bracket without its opening one");
        (*depth)--;
    }
    push(x, JT_OP, str_cut(x->s, x->at, x->at + n));
    advance(x, n);
    return OK;
}

/* The inside of {{ }} or {% %}. */
static Status tag(Lexer *x, bool is_variable)
{
    const char *end = is_variable ? "}}" : "%}";
    char open[BRACKET_DEPTH];
    int depth = 0;
    while (x->at < x->s.n) {
        char c = x->s.p[x->at];
        bool signed_end =
            (c == '-' || (c == '+' && !is_variable)) && str_starts(str_cut(x->s, x->at + 1, x->s.n), str_of(end));
        if (depth == 0 && (signed_end || at(x, end))) {
            push(x, is_variable ? JT_CLOSE_VAR : JT_CLOSE_BLOCK, (Str){ 0 });
            close_tag(x, signed_end ? c : 0, signed_end ? 3 : 2, !is_variable);
            return OK;
        }
        if (is_space(c)) {
            advance(x, 1);
        } else if (c == '"' || c == '\'') {
            TRY(string(x));
        } else if (is_digit(c)) {
            number(x);
        } else if (is_name(c, true)) {
            size_t i = x->at;
            while (i < x->s.n && is_name(x->s.p[i], false)) i++;
            push(x, JT_NAME, str_cut(x->s, x->at, i));
            advance(x, i - x->at);
        } else {
            TRY(operator_token(x, open, &depth));
        }
    }
    return lex_fail(x, is_variable ? "{{ is not closed by }}" : "{% is not closed by %}");
}

/* Where the next tag begins, or the end. */
static size_t next_tag(const Lexer *x)
{
    for (size_t i = x->at; i + 1 < x->s.n; i++) {
        if (x->s.p[i] == '{' && (x->s.p[i + 1] == '{' || x->s.p[i + 1] == '%' || x->s.p[i + 1] == '#')) return i;
    }
    return x->s.n;
}

/* {% raw %} ... {% endraw %}: the inside is text. True if one was there. */
static Status raw_block(Lexer *x, bool *found)
{
    size_t i = x->at + 2, end;
    if (i < x->s.n && (x->s.p[i] == '-' || x->s.p[i] == '+')) i++;
    while (i < x->s.n && is_space(x->s.p[i])) i++;
    *found = str_starts(str_cut(x->s, MIN(i, x->s.n), x->s.n), STR("raw")) && i + 3 < x->s.n &&
             !is_name(x->s.p[i + 3], false);
    if (!*found) return OK;
    size_t close = str_find(x->s, STR("%}"), i);
    if (close == SIZE_MAX) return lex_fail(x, "{% raw is not closed");
    char sign = x->s.p[close - 1] == '-' ? '-' : 0;
    advance(x, close - x->at);
    close_tag(x, sign, 2, true);
    for (end = x->at; (end = str_find(x->s, STR("{%"), end)) != SIZE_MAX; end++) {
        i = end + 2;
        char left = i < x->s.n && (x->s.p[i] == '-' || x->s.p[i] == '+') ? x->s.p[i++] : 0;
        while (i < x->s.n && is_space(x->s.p[i])) i++;
        if (!str_starts(str_cut(x->s, MIN(i, x->s.n), x->s.n), STR("endraw"))) continue;
        push_data(x, str_cut(x->s, x->at, end), left, false);
        close = str_find(x->s, STR("%}"), i);
        if (close == SIZE_MAX) break;
        sign = x->s.p[close - 1] == '-' ? '-' : 0;
        advance(x, close - x->at);
        close_tag(x, sign, 2, true);
        return OK;
    }
    return lex_fail(x, "{% raw %} has no {% endraw %}");
}

Status jlex_run(Arena *a, Str source, JToken **out, size_t *n, Err *err)
{
    Lexer x = { .arena = a, .s = normalized(a, source), .line = 1, .line_starting = true, .err = err };
    while (x.at < x.s.n) {
        size_t begin = next_tag(&x);
        char sign = begin + 2 < x.s.n ? x.s.p[begin + 2] : 0;
        bool is_variable = begin + 1 < x.s.n && x.s.p[begin + 1] == '{';
        Str text = str_cut(x.s, x.at, begin);
        if (begin == x.s.n) {
            if (text.n) push(&x, JT_DATA, text);
            break;
        }
        push_data(&x, text, sign == '-' || (sign == '+' && !is_variable) ? sign : 0, is_variable);
        advance(&x, begin - x.at);
        bool raw = false;
        if (x.s.p[x.at + 1] == '#') {
            TRY(comment(&x));
            continue;
        }
        if (!is_variable) TRY(raw_block(&x, &raw));
        if (raw) continue;
        push(&x, is_variable ? JT_OPEN_VAR : JT_OPEN_BLOCK, (Str){ 0 });
        advance(&x, sign == '-' || (sign == '+' && !is_variable) ? 3 : 2);
        TRY(tag(&x, is_variable));
    }
    push(&x, JT_END, (Str){ 0 });
    *out = x.out;
    *n = x.n;
    return OK;
}
