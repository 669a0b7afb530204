/* pattern.c - regular expressions as users write them, into expressions over bytes.
 *
 * Understood: what ECMA-262 (with the u flag) and Python's re share, and the obvious of each: | ( ) (?: ) (?<n> ) (?P<n> ), the flags
 * i, s and u (for the whole, or a group), * + ? {m} {m,} {m,n} {,n} and their lazy forms (which match the same texts), . ^ $ \A \Z \z,
 * classes with ranges, negation and [:posix:] names, \d \w \s \D \W \S, \p{category}, \n \r \t \f \v \a \0 \xHH \uHHHH (and pairs) \u{H..}
 * \UHHHHHHHH \cX. \d and \w are ASCII as in ECMA-262; \s is Unicode's white space. Refused by name: look-around, back-references,
 * word boundaries, atomic groups, possessive quantifiers, conditions, recursion, scripts. $ is the end, not before a last newline.
 *
 * Anchors: a part of a pattern is four expressions, by whether its match must begin at the text's begin and end at its
 * end. When two parts are joined, a part that stands before one bound to the begin can only be empty there. Under a
 * repetition an anchor is refused unless it repeats at most once. Thread: the Build's. */
#include <stdlib.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "grammar/inside.h"

enum { MAX_CLASS = 8192 /* ranges while a class is read */, LAST_ASSIGNED = 0x323AF };

/* by [must begin at the begin][must end at the end] */
typedef struct {
    Expr v[2][2];
} Part;

typedef struct {
    Build *b;
    Str s;
    size_t at;
    Spelling how;
    bool dot_all, ignore_case, ecma;
    uint32_t depth, nodes_at_start;
} Reader;

typedef struct {
    CharRange *p;
    size_t n, cap;
} Set;

/* ---- parts ---- */

static Part part_of(Expr e)
{
    return (Part){ { { e, EXPR_NOTHING }, { EXPR_NOTHING, EXPR_NOTHING } } };
}

static bool anchored(const Part *p)
{
    return p->v[0][1] | p->v[1][0] | p->v[1][1];
}

static Part part_or(Build *b, Part x, Part y)
{
    for (int i = 0; i < 4; i++) x.v[i / 2][i % 2] = expr_or(b, x.v[i / 2][i % 2], y.v[i / 2][i % 2]);
    return x;
}

static Expr only_empty(Build *b, Expr e)
{
    return expr_matches_empty(b, e) ? EXPR_EMPTY : EXPR_NOTHING;
}

static Part part_cat(Build *b, Part x, Part y)
{
    Part out = { { { EXPR_NOTHING, EXPR_NOTHING }, { EXPR_NOTHING, EXPR_NOTHING } } };
    for (int i = 0; i < 16; i++) {
        int xb = i >> 3, xe = i >> 2 & 1, yb = i >> 1 & 1, ye = i & 1;
        Expr p = x.v[xb][xe], q = y.v[yb][ye];
        if (p == EXPR_NOTHING || q == EXPR_NOTHING) continue;
        if (yb) p = only_empty(b, p);
        if (xe) q = only_empty(b, q);
        Expr *to = &out.v[xb | yb][xe | ye];
        *to = expr_or(b, *to, expr_cat(b, p, q));
    }
    return out;
}

/* ---- reading ---- */

static Status refuse(Reader *r, Status status, const char *what)
{
    if (build_failed(r->b)) return OK;
    return build_fail(r->b, status, "pattern, at byte %zu: %s", r->at, what);
}

static bool more(const Reader *r)
{
    return r->at < r->s.n && !build_failed(r->b);
}

static int peek(const Reader *r)
{
    return more(r) ? (uint8_t)r->s.p[r->at] : -1;
}

static bool take(Reader *r, const char *text)
{
    Str t = str_of(text);
    if (build_failed(r->b) || !str_starts(str_cut(r->s, r->at, r->s.n), t)) return false;
    r->at += t.n;
    return true;
}

static uint32_t take_char(Reader *r)
{
    int len = 1;
    int32_t c = utf8_next(r->s.p, r->s.n, r->at, &len);
    r->at += (size_t)len;
    return (uint32_t)c; /* the pattern is valid UTF-8 */
}

/* Exactly n hex digits; UINT32_MAX and no move otherwise. */
static uint32_t take_hex(Reader *r, int n)
{
    uint32_t v = 0;
    for (int i = 0; i < n; i++) {
        int d = r->at + (size_t)i < r->s.n ? hex_digit((uint8_t)r->s.p[r->at + (size_t)i]) : -1;
        if (d < 0) return UINT32_MAX;
        v = v << 4 | (uint32_t)d;
    }
    r->at += (size_t)n;
    return v;
}

/* ---- sets of characters ---- */

static void set_add(Reader *r, Set *s, uint32_t first, uint32_t last)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 32;
        CharRange *p = ARENA_NEW(build_arena(r->b), CharRange, cap);
        if (s->n) memcpy(p, s->p, s->n * sizeof *p);
        s->p = p;
        s->cap = cap;
    }
    if (s->n >= MAX_CLASS)
        refuse(r, E_LIMIT, "a character class with too many ranges");
    else
        s->p[s->n++] = (CharRange){ first, last };
}

static int by_first(const void *p, const void *q)
{
    uint32_t a = ((const CharRange *)p)->first, b = ((const CharRange *)q)->first;
    return (a > b) - (a < b);
}

static void set_negate(Reader *r, Set *s)
{
    Set out = { 0 };
    uint32_t next = 0;
    if (s->n) qsort(s->p, s->n, sizeof *s->p, by_first);
    for (size_t i = 0; i < s->n; i++) {
        if (s->p[i].first > next) set_add(r, &out, next, s->p[i].first - 1);
        next = MAX(next, s->p[i].last + 1);
    }
    if (next <= 0x10FFFF) set_add(r, &out, next, 0x10FFFF);
    *s = out;
}

static void set_join(Reader *r, Set *s, const Set *t)
{
    for (size_t i = 0; i < t->n; i++) set_add(r, s, t->p[i].first, t->p[i].last);
}

static void set_ranges(Reader *r, Set *s, const CharRange *p, size_t n)
{
    for (size_t i = 0; i < n; i++) set_add(r, s, p[i].first, p[i].last);
}

/* d, w, s; upper case: the complement. */
static void set_shorthand(Reader *r, Set *s, char c)
{
    static const CharRange digit[] = { { '0', '9' } };
    static const CharRange word[] = { { '0', '9' }, { 'A', 'Z' }, { '_', '_' }, { 'a', 'z' } };
    static const CharRange space[] = { { 9, 13 },          { ' ', ' ' },       { 0xA0, 0xA0 },     { 0x1680, 0x1680 },
                                       { 0x2000, 0x200A }, { 0x2028, 0x2029 }, { 0x202F, 0x202F }, { 0x205F, 0x205F },
                                       { 0x3000, 0x3000 }, { 0xFEFF, 0xFEFF } };
    Set t = { 0 };
    if ((c | 32) == 'd')
        set_ranges(r, &t, digit, COUNT(digit));
    else if ((c | 32) == 'w')
        set_ranges(r, &t, word, COUNT(word));
    else
        set_ranges(r, &t, space, COUNT(space));
    if (c < 'a') set_negate(r, &t);
    set_join(r, s, &t);
}

/* Categories as a mask of bits of utf8proc_category_t; 0: not a category. */
static uint32_t categories_of(Str name)
{
    static const char *const names[] = { "Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd",
                                         "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm",
                                         "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co" };
    static const struct {
        const char *longer, *brief;
    } words[] = { { "Letter", "L" },
                  { "Mark", "M" },
                  { "Number", "N" },
                  { "Punctuation", "P" },
                  { "Symbol", "S" },
                  { "Separator", "Z" },
                  { "Other", "C" },
                  { "Uppercase_Letter", "Lu" },
                  { "Lowercase_Letter", "Ll" },
                  { "Decimal_Number", "Nd" },
                  { "Currency_Symbol", "Sc" },
                  { "Math_Symbol", "Sm" },
                  { "Space_Separator", "Zs" },
                  { "Control", "Cc" } };
    for (size_t i = 0; i < COUNT(words); i++)
        if (str_is(name, words[i].longer)) name = str_of(words[i].brief);
    uint32_t bits = 0;
    for (size_t i = 0; i < COUNT(names); i++)
        if (str_is(name, names[i]) || (name.n == 1 && names[i][0] == name.p[0])) bits |= 1u << i;
    return bits;
}

static void set_category(Reader *r, Set *s, uint32_t bits)
{
    uint32_t from = 0;
    bool in = false;
    build_spend(r->b, LAST_ASSIGNED / 64);
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        if (c == LAST_ASSIGNED + 1) c = 0xE0000;
        if (c == 0xE1000) c = 0xF0000;
        if (c == 0xF0001 || c == 0x100001) c += 0xFFFC; /* private planes: all alike but for the last two */
        bool has = bits >> utf8proc_category((utf8proc_int32_t)c) & 1;
        bool jump = c == 0xE0000 || c == 0xF0000;
        if (in && (!has || jump)) {
            uint32_t last = c == 0xE0000 ? LAST_ASSIGNED : c == 0xF0000 ? 0xE0FFF : c - 1;
            set_add(r, s, from, last);
            in = false;
        }
        if (has && !in) from = c;
        in = has;
    }
    if (in) set_add(r, s, from, 0x10FFFF);
    if (bits & 1) { /* what the jumps left out is not assigned */
        set_add(r, s, LAST_ASSIGNED + 1, 0xDFFFF);
        set_add(r, s, 0xE1000, 0xEFFFF);
    }
}

/* After \p or \P. */
static void set_property(Reader *r, Set *s, bool negate)
{
    Str name;
    if (take(r, "{")) {
        size_t end = str_find(r->s, STR("}"), r->at);
        if (end == SIZE_MAX) {
            refuse(r, E_INVALID, "\\p{ without }");
            return;
        }
        name = str_cut(r->s, r->at, end);
        r->at = end + 1;
    } else {
        name = str_cut(r->s, r->at, MIN(r->at + 1, r->s.n));
        r->at += name.n;
    }
    if (name.n && name.p[0] == '^') {
        negate = !negate;
        name = str_cut(name, 1, name.n);
    }
    Str eq = STR("General_Category="), gc = STR("gc=");
    if (str_starts(name, eq)) name = str_cut(name, eq.n, name.n);
    if (str_starts(name, gc)) name = str_cut(name, gc.n, name.n);
    Set t = { 0 };
    uint32_t bits = categories_of(name);
    if (str_is(name, "Any"))
        set_add(r, &t, 0, 0x10FFFF);
    else if (str_is(name, "ASCII"))
        set_add(r, &t, 0, 0x7F);
    else if (bits)
        set_category(r, &t, bits);
    else
        refuse(r, E_UNSUPPORTED, "only general categories are known after \\p (\\p{L}, \\p{Lu} ...), no scripts");
    if (negate) set_negate(r, &t);
    set_join(r, s, &t);
}

static void set_fold(Reader *r, Set *s)
{
    size_t n = s->n;
    for (size_t i = 0; i < n; i++) {
        uint32_t last = MIN(s->p[i].last, (uint32_t)LAST_ASSIGNED);
        build_spend(r->b, s->p[i].first <= last ? (last - s->p[i].first) / 16 : 0);
        for (uint32_t c = s->p[i].first; c <= last && !build_failed(r->b); c++) {
            uint32_t up = (uint32_t)utf8proc_toupper((utf8proc_int32_t)c),
                     low = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
            if (up != c) set_add(r, s, up, up);
            if (low != c) set_add(r, s, low, low);
        }
    }
}

static Expr class_of_set(Reader *r, Set *s)
{
    if (r->ignore_case) set_fold(r, s);
    return expr_class(r->b, s->p, s->n, r->how);
}

/* ---- escapes ---- */

static uint32_t take_u(Reader *r)
{
    if (take(r, "{")) {
        uint32_t v = 0;
        size_t digits = 0;
        for (int d; more(r) && (d = hex_digit(peek(r))) >= 0 && v <= 0x10FFFF; r->at++, digits++)
            v = v << 4 | (uint32_t)d;
        if (!take(r, "}") || digits == 0 || v > 0x10FFFF) refuse(r, E_INVALID, "\\u{...} is no character");
        return v;
    }
    uint32_t v = take_hex(r, 4);
    if (v >= 0xD800 && v < 0xDC00 && take(r, "\\u")) {
        uint32_t low = take_hex(r, 4);
        if (low >= 0xDC00 && low < 0xE000) return 0x10000 + ((v - 0xD800) << 10) + (low - 0xDC00);
        v = UINT32_MAX;
    }
    if (v == UINT32_MAX) refuse(r, E_INVALID, "\\u needs four hex digits");
    return v;
}

/* A character after a backslash that stands for one character; r->at is behind the letter c. */
static uint32_t escaped_char(Reader *r, uint32_t c, bool in_class)
{
    uint32_t v = c;
    switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'f': return '\f';
    case 'v': return '\v';
    case 'a': return 7;
    case 'e': return 27;
    case 'u': return take_u(r);
    case 'x': v = take_hex(r, 2); break;
    case 'U': v = take_hex(r, 8); break;
    case '0':
        v = 0;
        for (int i = 0; i < 2 && peek(r) >= '0' && peek(r) <= '7'; i++) v = v * 8 + (uint32_t)(r->s.p[r->at++] - '0');
        return v;
    case 'c':
        if (!more(r) || (peek(r) | 32) < 'a' || (peek(r) | 32) > 'z')
            v = UINT32_MAX;
        else
            v = (uint32_t)(r->s.p[r->at++] & 31);
        break;
    case 'b':
        if (in_class) return 8;
        refuse(r, E_UNSUPPORTED, "word boundaries (\\b) are not supported");
        return 0;
    default:
        if (c >= '1' && c <= '9')
            refuse(r, E_UNSUPPORTED, "back-references are not supported");
        else if (c == 'k' || c == 'g')
            refuse(r, E_UNSUPPORTED, "back-references are not supported");
        else if (c == 'B')
            refuse(r, E_UNSUPPORTED, "word boundaries (\\B) are not supported");
        else if ((c | 32) >= 'a' && (c | 32) <= 'z')
            refuse(r, E_UNSUPPORTED, "an unknown escape");
    }
    if (v > 0x10FFFF) refuse(r, E_INVALID, "an escape that is no character");
    return v;
}

/* After a backslash: true if it was a set (\d, \p{L}), added to s; else *c is the character. */
static bool take_escape(Reader *r, Set *s, uint32_t *c, bool in_class)
{
    if (!more(r)) {
        refuse(r, E_INVALID, "ends with a backslash");
        return true;
    }
    *c = take_char(r);
    if (*c == 'p' || *c == 'P') {
        set_property(r, s, *c == 'P');
        return true;
    }
    if (*c < 0x80 && strchr("dDwWsS", (int)*c) && *c) {
        set_shorthand(r, s, (char)*c);
        return true;
    }
    *c = escaped_char(r, *c, in_class);
    return false;
}

/* ---- [...] ---- */

static bool take_posix(Reader *r, Set *s)
{
    static const struct {
        const char *name;
        CharRange p[4];
        int n;
    } known[] = { { "alpha", { { 'A', 'Z' }, { 'a', 'z' } }, 2 },
                  { "digit", { { '0', '9' } }, 1 },
                  { "alnum", { { '0', '9' }, { 'A', 'Z' }, { 'a', 'z' } }, 3 },
                  { "upper", { { 'A', 'Z' } }, 1 },
                  { "lower", { { 'a', 'z' } }, 1 },
                  { "space", { { 9, 13 }, { ' ', ' ' } }, 2 },
                  { "blank", { { 9, 9 }, { ' ', ' ' } }, 2 },
                  { "punct", { { '!', '/' }, { ':', '@' }, { '[', '`' }, { '{', '~' } }, 4 },
                  { "xdigit", { { '0', '9' }, { 'A', 'F' }, { 'a', 'f' } }, 3 },
                  { "word", { { '0', '9' }, { 'A', 'Z' }, { '_', '_' }, { 'a', 'z' } }, 4 } };
    size_t end = str_find(r->s, STR(":]"), r->at);
    if (end == SIZE_MAX) return false;
    Str name = str_cut(r->s, r->at + 2, MAX(end, r->at + 2));
    for (size_t i = 0; i < COUNT(known); i++) {
        if (!str_is(name, known[i].name)) continue;
        set_ranges(r, s, known[i].p, (size_t)known[i].n);
        r->at = end + 2;
        return true;
    }
    return false;
}

/* One member of a class; true if it was a set by itself. */
static bool take_member(Reader *r, Set *s, uint32_t *c)
{
    if (take(r, "\\")) return take_escape(r, s, c, true);
    *c = take_char(r);
    return false;
}

/* After [. */
static Expr take_class(Reader *r)
{
    Set s = { 0 };
    bool negate = take(r, "^"), first = true;
    for (; more(r); first = false) {
        if (peek(r) == ']' && !(first && !r->ecma)) break;
        if (peek(r) == '[' && r->at + 1 < r->s.n && r->s.p[r->at + 1] == ':' && take_posix(r, &s)) continue;
        uint32_t from, to;
        if (take_member(r, &s, &from)) continue;
        to = from;
        if (peek(r) == '-' && r->at + 1 < r->s.n && r->s.p[r->at + 1] != ']') {
            r->at++;
            if (take_member(r, &s, &to)) { /* [a-\d]: the dash is itself */
                set_add(r, &s, '-', '-');
                to = from;
            }
        }
        if (to < from)
            refuse(r, E_INVALID, "a range in a class goes backwards");
        else
            set_add(r, &s, from, to);
    }
    if (!take(r, "]")) refuse(r, E_INVALID, "a class without ]");
    if (r->ignore_case) set_fold(r, &s);
    if (negate) set_negate(r, &s);
    return expr_class(r->b, s.p, s.n, r->how);
}

/* ---- atoms ---- */

static Part take_alternatives(Reader *r);

static bool set_flag(Reader *r, char c, bool on)
{
    if (c == 'i')
        r->ignore_case = on;
    else if (c == 's')
        r->dot_all = on;
    else if (c != 'u' && c != 'a')
        return false;
    return true;
}

/* i, s, u with - before those that are switched off. */
static void take_flags(Reader *r)
{
    bool on = true;
    for (; more(r) && peek(r) != ')' && peek(r) != ':'; r->at++) {
        if (peek(r) == '-')
            on = false;
        else if (!set_flag(r, r->s.p[r->at], on)) {
            refuse(r, E_UNSUPPORTED, "only the flags i, s and u are supported");
            return;
        }
    }
}

static void take_name(Reader *r)
{
    size_t end = str_find(r->s, STR(">"), r->at);
    if (end == SIZE_MAX)
        refuse(r, E_INVALID, "a group's name without >");
    else
        r->at = end + 1;
}

/* What stands behind (?; true if the group is a plain one from here on. */
static bool take_group_kind(Reader *r)
{
    if (take(r, ":")) return true;
    if (take(r, "=") || take(r, "!"))
        refuse(r, E_UNSUPPORTED, "look-ahead is not supported");
    else if (take(r, "<=") || take(r, "<!"))
        refuse(r, E_UNSUPPORTED, "look-behind is not supported");
    else if (take(r, "P=") || take(r, "P>"))
        refuse(r, E_UNSUPPORTED, "back-references are not supported");
    else if (take(r, ">"))
        refuse(r, E_UNSUPPORTED, "atomic groups are not supported");
    else if (take(r, "(") || take(r, "R") || take(r, "|") || take(r, "&"))
        refuse(r, E_UNSUPPORTED, "conditions, recursion and branch resets are not supported");
    else if (take(r, "P<") || take(r, "<") || take(r, "'"))
        take_name(r);
    else {
        take_flags(r);
        return take(r, ":");
    }
    return true;
}

/* After (. */
static Part take_group(Reader *r)
{
    bool ignore_case = r->ignore_case, dot_all = r->dot_all;
    if (++r->depth > build_limits(r->b)->nesting) refuse(r, E_LIMIT, "groups are nested too deeply");
    Part p = part_of(EXPR_EMPTY);
    bool keep_flags = false;
    if (take(r, "?#")) {
        size_t end = str_find(r->s, STR(")"), r->at);
        r->at = end == SIZE_MAX ? r->s.n : end;
    } else if (take(r, "?") && !take_group_kind(r)) {
        keep_flags = true; /* (?i): for the rest of what it stands in */
    } else if (more(r)) {
        p = take_alternatives(r);
    }
    if (!take(r, ")")) refuse(r, E_INVALID, "a ( without )");
    if (!keep_flags) {
        r->ignore_case = ignore_case;
        r->dot_all = dot_all;
    }
    r->depth--;
    return p;
}

static Expr dot(Reader *r)
{
    if (r->dot_all) return expr_any_char(r->b, r->how);
    static const CharRange ecma[] = { { 0, 9 }, { 11, 12 }, { 14, 0x2027 }, { 0x202A, 0x10FFFF } };
    static const CharRange python[] = { { 0, 9 }, { 11, 0x10FFFF } };
    return r->ecma ? expr_class(r->b, ecma, COUNT(ecma), r->how) : expr_class(r->b, python, COUNT(python), r->how);
}

static Part anchor(bool begin)
{
    Part p = part_of(EXPR_NOTHING);
    p.v[begin][!begin] = EXPR_EMPTY;
    return p;
}

/* One atom; true if it was a plain character, then only *c is set. */
static bool take_atom(Reader *r, Part *p, uint32_t *c)
{
    *c = take_char(r);
    switch (*c) {
    case '(': *p = take_group(r); return false;
    case '[': *p = part_of(take_class(r)); return false;
    case '.': *p = part_of(dot(r)); return false;
    case '^': *p = anchor(true); return false;
    case '$': *p = anchor(false); return false;
    case '*':
    case '+':
    case '?': refuse(r, E_INVALID, "nothing to repeat"); return false;
    case '\\': {
        Set s = { 0 };
        int next = peek(r);
        if (next == 'A' || next == 'Z' || next == 'z') {
            r->at++;
            *p = anchor(next == 'A');
            return false;
        }
        if (!take_escape(r, &s, c, false)) return true;
        *p = part_of(class_of_set(r, &s));
        return false;
    }
    default: return true;
    }
}

/* ---- repetitions ---- */

static uint32_t take_number(Reader *r)
{
    uint64_t v = 0;
    if (peek(r) < '0' || peek(r) > '9') return UINT32_MAX;
    for (; peek(r) >= '0' && peek(r) <= '9'; r->at++)
        v = MIN(v * 10 + (uint64_t)(peek(r) - '0'), (uint64_t)UINT32_MAX - 1);
    return (uint32_t)v;
}

/* {m}, {m,}, {m,n}, {,n}; anything else is text, and false. */
static bool take_braces(Reader *r, uint32_t *min, uint32_t *max)
{
    size_t at = r->at++;
    uint32_t m = take_number(r), n = m;
    bool comma = take(r, ",");
    if (comma) n = take_number(r);
    if (!take(r, "}") || (m == UINT32_MAX && (!comma || n == UINT32_MAX))) {
        r->at = at;
        return false;
    }
    *min = m == UINT32_MAX ? 0 : m;
    *max = comma && n == UINT32_MAX ? BUILD_INF : n;
    return true;
}

static bool take_quantifier(Reader *r, uint32_t *min, uint32_t *max)
{
    *min = 0;
    *max = BUILD_INF;
    if (take(r, "*")) return true;
    if (take(r, "+")) {
        *min = 1;
        return true;
    }
    if (take(r, "?")) {
        *max = 1;
        return true;
    }
    return peek(r) == '{' && take_braces(r, min, max);
}

static Part repeated(Reader *r, Part p, uint32_t min, uint32_t max)
{
    if (max != BUILD_INF && min > max) refuse(r, E_INVALID, "a repetition whose bounds are the wrong way round");
    if (!anchored(&p)) return part_of(expr_repeat(r->b, p.v[0][0], min, max));
    if (max > 1) {
        refuse(r, E_UNSUPPORTED, "an anchor inside a repeated group is not supported");
        return p;
    }
    if (max == 0) return part_of(EXPR_EMPTY);
    return min ? p : part_or(r->b, p, part_of(EXPR_EMPTY));
}

/* ---- sequences ---- */

typedef struct {
    Part *p;
    size_t n, cap;
} Parts;

static void parts_add(Reader *r, Parts *l, Part p)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 8;
        Part *q = ARENA_NEW(build_arena(r->b), Part, cap);
        if (l->n) memcpy(q, l->p, l->n * sizeof *q);
        l->p = q;
        l->cap = cap;
    }
    l->p[l->n++] = p;
}

static Expr char_expr(Reader *r, uint32_t c)
{
    if (!r->ignore_case) {
        char text[4];
        if (c >= 0xD800 && c < 0xE000) {
            refuse(r, E_INVALID, "half of a surrogate pair");
            return EXPR_NOTHING;
        }
        return expr_text(r->b, (Str){ text, (size_t)utf8_put(text, c) }, r->how);
    }
    Set s = { 0 };
    set_add(r, &s, c, c);
    return class_of_set(r, &s);
}

/* Puts collected plain text into the list. */
static void flush(Reader *r, Parts *l, Buf *text)
{
    if (text->n) parts_add(r, l, part_of(expr_text(r->b, buf_view(text), r->how)));
    buf_clear(text);
}

static void take_one(Reader *r, Parts *l, Buf *text)
{
    Part p = part_of(EXPR_NOTHING);
    uint32_t c = 0, min, max;
    bool plain = take_atom(r, &p, &c), scalar = c < 0xD800 || c >= 0xE000;
    if (build_failed(r->b)) return;
    bool repeat = take_quantifier(r, &min, &max);
    if (plain && !repeat && !r->ignore_case && scalar) {
        char bytes[4];
        buf_add(text, bytes, (size_t)utf8_put(bytes, c));
        return;
    }
    flush(r, l, text);
    if (plain) p = part_of(char_expr(r, c));
    if (repeat) {
        p = repeated(r, p, min, max);
        if (!take(r, "?") && take(r, "+")) refuse(r, E_UNSUPPORTED, "possessive quantifiers are not supported");
        if (take_quantifier(r, &min, &max)) refuse(r, E_INVALID, "a repetition of a repetition");
    }
    parts_add(r, l, p);
    if (r->b->x.n - r->nodes_at_start > build_limits(r->b)->pattern_nodes)
        refuse(r, E_LIMIT, "the pattern needs too many nodes");
}

static Part take_sequence(Reader *r)
{
    Parts l = { 0 };
    Buf text = { 0 };
    bool any = false;
    while (more(r) && peek(r) != '|' && peek(r) != ')') take_one(r, &l, &text);
    flush(r, &l, &text);
    buf_free(&text);
    for (size_t i = 0; i < l.n; i++) any |= anchored(&l.p[i]);
    Part out = part_of(EXPR_EMPTY);
    while (l.n) {
        Part p = l.p[--l.n];
        out = any ? part_cat(r->b, p, out) : part_of(expr_cat(r->b, p.v[0][0], out.v[0][0]));
    }
    return out;
}

static Part take_alternatives(Reader *r)
{
    Parts l = { 0 };
    do parts_add(r, &l, take_sequence(r));
    while (take(r, "|"));
    if (l.n == 1) return l.p[0];
    Part out;
    Expr *e = ARENA_NEW(build_arena(r->b), Expr, l.n);
    for (int k = 0; k < 4; k++) {
        for (size_t i = 0; i < l.n; i++) e[i] = l.p[i].v[k / 2][k % 2];
        out.v[k / 2][k % 2] = expr_or_n(r->b, e, l.n);
    }
    return out;
}

Expr pattern_read(Build *b, Str pattern, int flags, Spelling how)
{
    Reader r = { .b = b, .s = pattern, .how = how, .dot_all = flags & PATTERN_DOT_ALL, .ecma = flags & PATTERN_SEARCH };
    r.nodes_at_start = b->x.n;
    if (!utf8_valid(pattern)) {
        build_fail(b, E_INVALID, "a pattern that is not valid UTF-8");
        return EXPR_NOTHING;
    }
    if (!build_spend(b, 1 + pattern.n)) return EXPR_NOTHING;
    Part p = take_alternatives(&r);
    if (r.at < r.s.n) refuse(&r, E_INVALID, "a ) without (");
    if (build_failed(b)) return EXPR_NOTHING;
    Expr any = expr_repeat(b, expr_any_char(b, how), 0, BUILD_INF), pad = flags & PATTERN_SEARCH ? any : EXPR_EMPTY;
    Expr e[4] = { expr_cat(b, pad, expr_cat(b, p.v[0][0], pad)), expr_cat(b, pad, p.v[0][1]),
                  expr_cat(b, p.v[1][0], pad), p.v[1][1] };
    return expr_or_n(b, e, 4);
}

Sym pattern_front(Build *b, const GrammarSpec *spec)
{
    Expr e = pattern_build(b, spec->text, 0, SPELL_UTF8);
    return build_failed(b) ? SYM_NOTHING : rule_lexeme(b, e);
}
