/* ebnf_read.c - the text of an EBNF grammar, as llama.cpp (GBNF) and XGrammar (what SGLang takes) write it.
 *
 * name ::= alternatives; | ( ) * + ? {m} {m,} {m,n} {,n}; "text" and 'text'; [a-z] [^a-z]; . is any character; /regex/; <[id]> and
 * !<[id]> are tokens; # begins a comment. Escapes: \n \r \t \b \f \v \a \e \0 \\ \" \' \] \[ \- \^ \/ \xHH \uHHHH \UHHHHHHHH.
 * A rule ends where the next one begins (a name and ::=), so lines may be broken anywhere: that is XGrammar's way, and every
 * text that llama.cpp reads means the same. Refused by name: look-ahead (= ), TagDispatch, tokens by their text.
 * Thread: the Build's. */
#include "base/utf8.h"
#include "grammar/ebnf.h"

enum { MAX_RANGES = 8192 };

typedef struct {
    Ebnf *e;
    Build *b;
    Str s;
    size_t at;
    uint32_t depth;
} Reader;

static void refuse_at(Reader *r, size_t at, Status status, const char *what)
{
    if (build_failed(r->b)) return;
    build_at(r->b, arena_printf(build_arena(r->b), "byte %zu", at));
    build_fail(r->b, status, "the grammar, at byte %zu: %s", at, what);
}

static void refuse(Reader *r, Status status, const char *what)
{
    refuse_at(r, r->at, status, what);
}

static int peek(const Reader *r)
{
    return r->at < r->s.n && !build_failed(r->b) ? (uint8_t)r->s.p[r->at] : -1;
}

static bool take(Reader *r, const char *text)
{
    Str t = str_of(text);
    if (build_failed(r->b) || !str_starts(str_cut(r->s, r->at, r->s.n), t)) return false;
    r->at += t.n;
    return true;
}

static void skip_space(Reader *r)
{
    for (int c; (c = peek(r)) >= 0; r->at++) {
        if (c == '#')
            while (r->at + 1 < r->s.n && r->s.p[r->at + 1] != '\n') r->at++;
        else if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            return;
    }
}

static bool name_byte(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
}

/* A name begins with anything but . so that a dot stays "any character". */
static Str take_name(Reader *r)
{
    size_t from = r->at;
    if (peek(r) != '.')
        while (peek(r) >= 0 && name_byte(peek(r))) r->at++;
    return str_cut(r->s, from, r->at);
}

/* True where a new rule begins: a name and ::=. Moves nothing. */
static bool at_rule(Reader *r)
{
    size_t at = r->at;
    bool is = take_name(r).n > 0;
    if (is) {
        skip_space(r);
        is = take(r, "::=");
    }
    r->at = at;
    return is;
}

static EbnfNode *node(Reader *r, EbnfKind kind)
{
    EbnfNode *n = ARENA_NEW(build_arena(r->b), EbnfNode, 1);
    build_spend(r->b, 1);
    n->kind = kind;
    n->at = (uint32_t)r->at;
    return n;
}

/* ---- rules by name ---- */

static void grow_slots(Ebnf *e)
{
    e->n_slots = e->n_slots ? e->n_slots * 2 : 64;
    e->slots = ARENA_NEW(build_arena(e->b), uint32_t, e->n_slots);
    for (uint32_t i = 0; i < e->n_rules; i++) {
        uint32_t at = (uint32_t)hash_bytes(e->rule[i].name.p, e->rule[i].name.n, 0) & (e->n_slots - 1);
        while (e->slots[at]) at = (at + 1) & (e->n_slots - 1);
        e->slots[at] = i + 1;
    }
}

/* The rule of that name, made if it is not there. */
static uint32_t rule_named(Ebnf *e, Str name, uint32_t at)
{
    if (e->n_rules * 2 >= e->n_slots) grow_slots(e);
    uint32_t slot = (uint32_t)hash_bytes(name.p, name.n, 0) & (e->n_slots - 1);
    for (; e->slots[slot]; slot = (slot + 1) & (e->n_slots - 1))
        if (str_eq(e->rule[e->slots[slot] - 1].name, name)) return e->slots[slot] - 1;
    if (e->n_rules == e->cap_rules) {
        e->cap_rules = e->cap_rules ? e->cap_rules * 2 : 32;
        EbnfRule *p = ARENA_NEW(build_arena(e->b), EbnfRule, e->cap_rules);
        if (e->n_rules) memcpy(p, e->rule, e->n_rules * sizeof *p);
        e->rule = p;
    }
    e->rule[e->n_rules] = (EbnfRule){ name, at, NULL };
    e->slots[slot] = ++e->n_rules;
    return e->n_rules - 1;
}

/* ---- characters ---- */

static uint32_t take_hex(Reader *r, int n)
{
    uint32_t v = 0;
    for (int i = 0; i < n; i++, r->at++) {
        int d = hex_digit(peek(r));
        if (d < 0 || v > 0x10FFFF) {
            refuse(r, E_INVALID, "an escape without its hex digits, or past U+10FFFF");
            return 0;
        }
        v = v << 4 | (uint32_t)d;
    }
    return v;
}

static uint32_t take_u(Reader *r)
{
    if (!take(r, "{")) return take_hex(r, 4);
    uint32_t v = 0;
    for (int d; (d = hex_digit(peek(r))) >= 0 && v <= 0x10FFFF; r->at++) v = v << 4 | (uint32_t)d;
    if (!take(r, "}")) refuse(r, E_INVALID, "\\u{ without }");
    return v;
}

/* Behind a backslash. */
static uint32_t take_escape(Reader *r)
{
    int c = peek(r);
    size_t at = r->at++;
    uint32_t v = (uint32_t)c;
    switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'b': return '\b';
    case 'f': return '\f';
    case 'v': return '\v';
    case 'a': return 7;
    case 'e': return 27;
    case '0': return 0;
    case 'x': return take_hex(r, 2);
    case 'u': v = take_u(r); break;
    case 'U': v = take_hex(r, 8); break;
    default:
        if (c < 0 || name_byte(c) ? c != '-' && c != '_' && c != '.' : c >= 0x80)
            refuse_at(r, at, E_INVALID, "an unknown escape");
    }
    if (v > 0x10FFFF || (v >= 0xD800 && v < 0xE000)) {
        refuse_at(r, at, E_INVALID, "an escape that is no character");
        return 0;
    }
    return v;
}

static uint32_t take_char(Reader *r)
{
    int len = 1;
    if (take(r, "\\")) return take_escape(r);
    int32_t c = utf8_next(r->s.p, r->s.n, r->at, &len);
    r->at += (size_t)len;
    return (uint32_t)c; /* the text is valid UTF-8 */
}

static EbnfNode *take_literal(Reader *r, char quote)
{
    EbnfNode *n = node(r, EBNF_LITERAL);
    Buf text = { 0 };
    r->at++;
    while (peek(r) >= 0 && peek(r) != quote) {
        char bytes[4];
        if (peek(r) == '\n') refuse(r, E_INVALID, "a line ends inside a string");
        uint32_t c = take_char(r);
        if (!build_failed(r->b)) buf_add(&text, bytes, (size_t)utf8_put(bytes, c));
    }
    if (!take(r, (char[]){ quote, 0 })) refuse_at(r, n->at, E_INVALID, "a string that does not end");
    n->text = arena_str(build_arena(r->b), buf_view(&text));
    buf_free(&text);
    return n;
}

static EbnfNode *take_class(Reader *r)
{
    EbnfNode *n = node(r, EBNF_CLASS);
    r->at++;
    n->negate = take(r, "^");
    uint32_t cap = 8;
    n->range = ARENA_NEW(build_arena(r->b), CharRange, cap);
    while (peek(r) >= 0 && peek(r) != ']') {
        if (n->n == cap) {
            CharRange *p = ARENA_NEW(build_arena(r->b), CharRange, cap * 2);
            memcpy(p, n->range, cap * sizeof *p);
            n->range = p;
            cap *= 2;
        }
        uint32_t from = take_char(r), to = from;
        if (peek(r) == '-' && r->at + 1 < r->s.n && r->s.p[r->at + 1] != ']') {
            r->at++;
            to = take_char(r);
        }
        if (to < from) refuse(r, E_INVALID, "a range in a class goes backwards");
        if (n->n >= MAX_RANGES) refuse(r, E_LIMIT, "a class with too many ranges");
        n->range[n->n++] = (CharRange){ from, to };
    }
    if (!take(r, "]")) refuse_at(r, n->at, E_INVALID, "a class without ]");
    if (n->n == 0 && !n->negate) refuse_at(r, n->at, E_INVALID, "a class without characters");
    return n;
}

static EbnfNode *take_any(Reader *r)
{
    EbnfNode *n = node(r, EBNF_CLASS);
    r->at++;
    n->negate = true;
    return n;
}

/* /regex/, where \/ is a slash. */
static EbnfNode *take_pattern(Reader *r)
{
    EbnfNode *n = node(r, EBNF_PATTERN);
    Buf text = { 0 };
    r->at++;
    for (int c; (c = peek(r)) >= 0 && c != '/' && c != '\n'; r->at++) {
        if (c == '\\' && r->at + 1 < r->s.n) {
            r->at++;
            if (peek(r) != '/') buf_char(&text, '\\');
        }
        buf_char(&text, r->s.p[r->at]);
    }
    if (!take(r, "/")) refuse_at(r, n->at, E_INVALID, "a regular expression without its second /");
    n->text = arena_str(build_arena(r->b), buf_view(&text));
    buf_free(&text);
    return n;
}

/* <[id]>, with ! before it: any other. */
static EbnfNode *take_token(Reader *r)
{
    EbnfNode *n = node(r, EBNF_TOKENS);
    int64_t id = 0;
    n->negate = take(r, "!");
    if (!take(r, "<[")) {
        refuse(r, E_UNSUPPORTED, "tokens are written <[id]> here; naming them by text is not supported");
        return n;
    }
    size_t from = r->at;
    while (peek(r) >= '0' && peek(r) <= '9') r->at++;
    if (!str_to_i64(str_cut(r->s, from, r->at), &id) || id >= GRAMMAR_MAX_TOKENS || !take(r, "]>"))
        refuse_at(r, n->at, E_INVALID, "a token is written <[id]>");
    n->id = (int32_t)id;
    return n;
}

/* ---- expressions ---- */

static EbnfNode *take_alternatives(Reader *r);

static EbnfNode *take_group(Reader *r)
{
    size_t at = r->at++;
    if (++r->depth > build_limits(r->b)->nesting) refuse_at(r, at, E_LIMIT, "groups are nested too deeply");
    if (peek(r) == '=') refuse_at(r, at, E_UNSUPPORTED, "look-ahead (= ) is not supported");
    EbnfNode *n = build_failed(r->b) ? node(r, EBNF_SEQ) : take_alternatives(r);
    skip_space(r);
    if (!take(r, ")")) refuse_at(r, at, E_INVALID, "a ( without )");
    r->depth--;
    return n;
}

static EbnfNode *take_ref(Reader *r)
{
    EbnfNode *n = node(r, EBNF_REF);
    Str name = take_name(r);
    if (peek(r) == '(') {
        refuse_at(r, n->at, E_UNSUPPORTED, "macros such as TagDispatch( ) are not supported");
        return n;
    }
    n->rule = rule_named(r->e, name, n->at);
    if (++r->e->n_refs > build_limits(r->b)->references) refuse_at(r, n->at, E_LIMIT, "too many references to rules");
    return n;
}

static EbnfNode *take_atom(Reader *r)
{
    int c = peek(r);
    if (c == '"' || c == '\'') return take_literal(r, (char)c);
    if (c == '[') return take_class(r);
    if (c == '.') return take_any(r);
    if (c == '(') return take_group(r);
    if (c == '/') return take_pattern(r);
    if (c == '<' || c == '!') return take_token(r);
    if (c >= 0 && name_byte(c)) return take_ref(r);
    refuse(r, E_INVALID,
           c == '*' || c == '+' || c == '?' || c == '{' ? "nothing to repeat" : "an unexpected character");
    return node(r, EBNF_SEQ);
}

static uint32_t take_number(Reader *r)
{
    uint64_t v = 0;
    skip_space(r);
    if (peek(r) < '0' || peek(r) > '9') return UINT32_MAX;
    for (; peek(r) >= '0' && peek(r) <= '9'; r->at++)
        v = MIN(v * 10 + (uint64_t)(peek(r) - '0'), (uint64_t)UINT32_MAX - 1);
    skip_space(r);
    return (uint32_t)v;
}

static void take_braces(Reader *r, EbnfNode *n)
{
    n->min = take_number(r);
    bool comma = take(r, ",");
    n->max = comma ? take_number(r) : n->min;
    if ((n->min == UINT32_MAX && (!comma || n->max == UINT32_MAX)) || !take(r, "}"))
        refuse_at(r, n->at, E_INVALID, "a repetition is written {m}, {m,}, {,n} or {m,n}");
    if (n->min == UINT32_MAX) n->min = 0;
    if (comma && n->max == UINT32_MAX) n->max = BUILD_INF;
    if (n->max < n->min) refuse_at(r, n->at, E_INVALID, "a repetition whose bounds are the wrong way round");
    if ((n->max == BUILD_INF ? n->min : n->max) > build_limits(r->b)->repeat)
        refuse_at(r, n->at, E_LIMIT, "a repetition with too large a bound");
}

/* The atom with all that is said of its repetition; every sign wraps it once more. */
static EbnfNode *take_item(Reader *r)
{
    EbnfNode *n = take_atom(r);
    for (uint32_t wraps = 0;; wraps++) {
        skip_space(r);
        int c = peek(r);
        if (c != '*' && c != '+' && c != '?' && c != '{') return n;
        EbnfNode *rep = node(r, EBNF_REPEAT);
        r->at++;
        rep->first = n;
        rep->min = c == '+';
        rep->max = c == '?' ? 1 : BUILD_INF;
        if (c == '{') take_braces(r, rep);
        if (wraps >= build_limits(r->b)->nesting) refuse(r, E_LIMIT, "repetitions are nested too deeply");
        n = rep;
    }
}

static EbnfNode *take_sequence(Reader *r)
{
    EbnfNode *seq = node(r, EBNF_SEQ), **tail = &seq->first;
    for (;;) {
        skip_space(r);
        int c = peek(r);
        if (c < 0 || c == '|' || c == ')' || (r->depth == 0 && name_byte(c) && at_rule(r))) break;
        *tail = take_item(r);
        tail = &(*tail)->next;
    }
    return seq->first && !seq->first->next ? seq->first : seq;
}

static EbnfNode *take_alternatives(Reader *r)
{
    EbnfNode *alt = node(r, EBNF_ALT), **tail = &alt->first;
    uint32_t n = 0;
    do {
        if (++n > build_limits(r->b)->alternatives) refuse(r, E_LIMIT, "too many alternatives in one rule");
        *tail = take_sequence(r);
        tail = &(*tail)->next;
        skip_space(r);
    } while (take(r, "|"));
    return n == 1 ? alt->first : alt;
}

static void take_rule(Reader *r)
{
    size_t at = r->at;
    Str name = take_name(r);
    if (name.n == 0) {
        refuse(r, E_INVALID, "a rule begins with its name and ::=");
        return;
    }
    skip_space(r);
    if (!take(r, "::=")) {
        refuse(r, E_INVALID, "::= must follow the name of a rule");
        return;
    }
    uint32_t k = rule_named(r->e, name, (uint32_t)at);
    if (r->e->rule[k].body) refuse_at(r, at, E_INVALID, "this rule is defined a second time");
    EbnfNode *body = take_alternatives(r);
    r->e->rule[k].body = body;
}

void ebnf_read(Ebnf *e, Str text)
{
    Reader r = { .e = e, .b = e->b, .s = text };
    if (!utf8_valid(text)) {
        build_fail(e->b, E_INVALID, "a grammar that is not valid UTF-8");
        return;
    }
    for (skip_space(&r); peek(&r) >= 0; skip_space(&r)) {
        if (r.s.p[r.at] == ')') refuse(&r, E_INVALID, "a ) without (");
        take_rule(&r);
    }
    for (uint32_t i = 0; i < e->n_rules && !build_failed(e->b); i++) {
        if (e->rule[i].body) continue;
        build_at(e->b, arena_printf(build_arena(e->b), "byte %u", e->rule[i].at));
        build_fail(e->b, E_INVALID, "the rule \"%.*s\", first used at byte %u, is not defined",
                   (int)MIN(e->rule[i].name.n, (size_t)100), e->rule[i].name.p, e->rule[i].at);
    }
}
