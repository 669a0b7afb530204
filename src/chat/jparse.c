/* jparse.c - tokens to a syntax tree, by recursive descent with Jinja's precedences:
 * if-else, or, and, not, comparisons, + -, ~, * / // %, unary - +, **, then primaries with their postfixes and filters. */
#include <errno.h>
#include <stdlib.h>

#include "chat/jinja.h"

enum { PARSE_DEPTH = 200, LIST_MAX = 1 << 16 };

typedef struct {
    Arena *arena;
    const JToken *t; /* the current token */
    int depth;
    Err *err;
    bool failed;
} Parser;

static JNode *expression(Parser *p);
static JNode *unary(Parser *p, bool with_filters);
static JNodes statements(Parser *p, const char *const *ends);

static JNode *parse_fail(Parser *p, const char *what)
{
    if (!p->failed) fail(p->err, E_INVALID, "chat template line %d: %s", p->t->line, what);
    p->failed = true;
    return NULL;
}

static JNode *node(Parser *p, JNodeKind kind)
{
    JNode *n = ARENA_NEW(p->arena, JNode, 1);
    n->kind = kind;
    n->line = p->t->line;
    return n;
}

static bool is_op(const Parser *p, const char *op)
{
    return p->t->kind == JT_OP && str_is(p->t->text, op);
}

static bool is_word(const Parser *p, const char *word)
{
    return p->t->kind == JT_NAME && str_is(p->t->text, word);
}

static bool skip_op(Parser *p, const char *op)
{
    if (!is_op(p, op)) return false;
    p->t++;
    return true;
}

static bool skip_word(Parser *p, const char *word)
{
    if (!is_word(p, word)) return false;
    p->t++;
    return true;
}

static bool want_op(Parser *p, const char *op)
{
    if (skip_op(p, op)) return true;
    Str what = arena_printf(p->arena, "expected '%s'", op);
    parse_fail(p, what.p);
    return false;
}

static Str want_name(Parser *p)
{
    if (p->t->kind != JT_NAME) {
        parse_fail(p, "expected a name");
        return (Str){ 0 };
    }
    return (p->t++)->text;
}

static void add(Parser *p, JNodes *list, JNode *n)
{
    if ((list->n & (list->n - 1)) == 0) { /* room doubles at powers of two */
        JNode **more = ARENA_NEW(p->arena, JNode *, (size_t)(list->n ? list->n * 2 : 1));
        if (list->n) memcpy(more, list->p, (size_t)list->n * sizeof *more);
        list->p = more;
    }
    if (list->n == LIST_MAX)
        parse_fail(p, "a list is too long");
    else
        list->p[list->n++] = n;
}

static void add_named(Parser *p, JArgs *args, Str name, JNode *value)
{
    JNamed *more = ARENA_NEW(p->arena, JNamed, (size_t)args->n_named + 1);
    if (args->n_named) memcpy(more, args->named, (size_t)args->n_named * sizeof *more);
    more[args->n_named] = (JNamed){ name, value };
    args->named = more;
    if (++args->n_named > 256) parse_fail(p, "too many named arguments");
}

/* ---- expressions ---- */

static JNode *constant(Parser *p, JValue *v)
{
    JNode *n = node(p, JN_CONST);
    n->value = v;
    return n;
}

static JNode *integer(Parser *p)
{
    char digits[64];
    size_t n = 0;
    Str s = p->t->text;
    for (size_t i = 0; i < s.n && n < sizeof digits - 1; i++) {
        if (s.p[i] != '_') digits[n++] = s.p[i];
    }
    digits[n] = 0;
    errno = 0;
    long long x = strtoll(digits, NULL, 10);
    if (errno) return parse_fail(p, "a number is too large");
    JNode *c = constant(p, jvalue_int(p->arena, x));
    p->t++;
    return c;
}

static JNode *real(Parser *p)
{
    double x;
    if (!str_to_f64(p->t->text, &x)) return parse_fail(p, "a number is malformed");
    JNode *c = constant(p, jvalue_float(p->arena, x));
    p->t++;
    return c;
}

static JNode *strings(Parser *p) /* "a" "b" is "ab" */
{
    Str all = (p->t++)->text;
    Buf joined = { 0 };
    if (p->t->kind == JT_STRING) buf_str(&joined, all);
    for (; p->t->kind == JT_STRING; p->t++) buf_str(&joined, p->t->text);
    if (joined.n) all = arena_str(p->arena, buf_view(&joined));
    buf_free(&joined);
    return constant(p, jvalue_str(p->arena, all));
}

/* What stands between brackets, separated by commas; a trailing comma is fine. */
static JNodes elements(Parser *p, const char *close, bool *comma)
{
    JNodes list = { 0 };
    *comma = false;
    while (!p->failed && !is_op(p, close)) {
        JNode *e = expression(p);
        if (!e) break;
        add(p, &list, e);
        if (!skip_op(p, ",")) break;
        *comma = true;
    }
    want_op(p, close);
    return list;
}

static JNode *parentheses(Parser *p)
{
    bool comma;
    JNode *n = node(p, JN_TUPLE);
    p->t++;
    n->kids = elements(p, ")", &comma);
    return n->kids.n == 1 && !comma ? n->kids.p[0] : n;
}

static JNode *dict(Parser *p)
{
    JNode *n = node(p, JN_DICT);
    p->t++;
    while (!p->failed && !is_op(p, "}")) {
        JNode *key = expression(p);
        if (!key || !want_op(p, ":")) return NULL;
        JNode *value = expression(p);
        if (!value) return NULL;
        add(p, &n->kids, key);
        add(p, &n->other, value);
        if (!skip_op(p, ",")) break;
    }
    want_op(p, "}");
    return n;
}

static JNode *name_or_constant(Parser *p)
{
    Str s = p->t->text;
    JNode *n = node(p, JN_NAME);
    p->t++;
    n->name = s;
    const JValue *v = NULL;
    if (str_is(s, "true") || str_is(s, "True"))
        v = &jvalue_true;
    else if (str_is(s, "false") || str_is(s, "False"))
        v = &jvalue_false;
    else if (str_is(s, "none") || str_is(s, "None"))
        v = &jvalue_none;
    if (!v) return n;
    n->kind = JN_CONST;
    n->value = (JValue *)(uintptr_t)v; /* the three constants are never written */
    return n;
}

static JNode *primary(Parser *p)
{
    bool comma;
    switch (p->t->kind) {
    case JT_NAME: return name_or_constant(p);
    case JT_STRING: return strings(p);
    case JT_INT: return integer(p);
    case JT_FLOAT: return real(p);
    case JT_OP:
        if (is_op(p, "(")) return parentheses(p);
        if (is_op(p, "{")) return dict(p);
        if (is_op(p, "[")) {
            JNode *n = node(p, JN_LIST);
            p->t++;
            n->kids = elements(p, "]", &comma);
            return n;
        }
        break;
    case JT_DATA:
    case JT_OPEN_VAR:
    case JT_CLOSE_VAR:
    case JT_OPEN_BLOCK:
    case JT_CLOSE_BLOCK:
    case JT_END: break;
    }
    return parse_fail(p, "expected an expression");
}

/* Behind "(": arguments, positional then named. */
static bool arguments(Parser *p, JArgs *args)
{
    while (!p->failed && !is_op(p, ")")) {
        if (p->t->kind == JT_NAME && p->t[1].kind == JT_OP && str_is(p->t[1].text, "=")) {
            Str name = p->t->text;
            p->t += 2;
            JNode *v = expression(p);
            if (v) add_named(p, args, name, v);
        } else {
            if (args->n_named) parse_fail(p, "a positional argument after a named one");
            JNode *v = expression(p);
            if (v) add(p, &args->list, v);
        }
        if (!skip_op(p, ",")) break;
    }
    return want_op(p, ")");
}

static JNode *call(Parser *p, JNode *of)
{
    JNode *n = node(p, JN_CALL);
    n->a = of;
    p->t++;
    return arguments(p, &n->args) ? n : NULL;
}

/* Behind "[": an index or a slice. */
static JNode *subscript(Parser *p, JNode *of)
{
    JNode *part[3] = { 0 };
    int colons = 0;
    JNode *n = node(p, JN_ITEM);
    p->t++;
    while (!p->failed && !is_op(p, "]")) {
        if (skip_op(p, ":")) {
            if (++colons > 2) return parse_fail(p, "a slice has at most two colons");
        } else if (part[colons]) {
            return parse_fail(p, "expected ':' or ']'");
        } else {
            part[colons] = expression(p);
        }
    }
    if (!want_op(p, "]")) return NULL;
    n->a = of;
    n->b = part[0];
    if (colons == 0) return part[0] ? n : parse_fail(p, "an empty index");
    n->kind = JN_SLICE;
    n->c = part[1];
    n->d = part[2];
    return n;
}

static JNode *attribute(Parser *p, JNode *of)
{
    JNode *n = node(p, JN_ATTR);
    p->t++;
    n->a = of;
    if (p->t->kind == JT_INT) {
        n->kind = JN_ITEM;
        n->b = integer(p);
    } else {
        n->name = want_name(p);
    }
    return n;
}

static JNode *postfixes(Parser *p, JNode *n)
{
    for (int links = 0; n && !p->failed; links++) {
        if (links > 1000) return parse_fail(p, "an expression is too long");
        if (is_op(p, "."))
            n = attribute(p, n);
        else if (is_op(p, "["))
            n = subscript(p, n);
        else if (is_op(p, "("))
            n = call(p, n);
        else
            break;
    }
    return n;
}

static JNode *filter(Parser *p, JNode *of)
{
    JNode *n = node(p, JN_FILTER);
    n->a = of;
    n->name = want_name(p);
    if (!p->failed && !jfilter_known(n->name)) {
        Str what = arena_printf(p->arena, "no filter named '%.*s'", STR_FMT(n->name));
        return parse_fail(p, what.p);
    }
    if (skip_op(p, "(")) arguments(p, &n->args);
    return n;
}

/* A test's single argument may stand without parentheses: "is divisibleby 3". */
static bool bare_argument(const Parser *p)
{
    if (p->t->kind == JT_NAME)
        return !is_word(p, "else") && !is_word(p, "or") && !is_word(p, "and") && !is_word(p, "is") && !is_word(p, "if");
    return p->t->kind == JT_STRING || p->t->kind == JT_INT || p->t->kind == JT_FLOAT || is_op(p, "[") || is_op(p, "{");
}

static JNode *test(Parser *p, JNode *of)
{
    JNode *n = node(p, JN_TEST);
    n->a = of;
    n->negated = skip_word(p, "not");
    n->name = want_name(p);
    if (!p->failed && !jtest_known(n->name)) {
        Str what = arena_printf(p->arena, "no test named '%.*s'", STR_FMT(n->name));
        return parse_fail(p, what.p);
    }
    if (skip_op(p, "(")) {
        arguments(p, &n->args);
    } else if (bare_argument(p)) {
        JNode *arg = postfixes(p, primary(p));
        if (arg) add(p, &n->args.list, arg);
    }
    return n;
}

static JNode *filters(Parser *p, JNode *n)
{
    for (int links = 0; n && !p->failed; links++) {
        if (links > 1000) return parse_fail(p, "an expression is too long");
        if (skip_op(p, "|"))
            n = filter(p, n);
        else if (skip_word(p, "is"))
            n = test(p, n);
        else if (is_op(p, "("))
            n = call(p, n);
        else
            break;
    }
    return n;
}

static JNode *unary(Parser *p, bool with_filters)
{
    JNode *n;
    if (++p->depth > PARSE_DEPTH) return parse_fail(p, "expressions are nested too deeply");
    if (is_op(p, "-") || is_op(p, "+")) {
        n = node(p, is_op(p, "-") ? JN_NEG : JN_POS);
        p->t++;
        n->a = unary(p, false);
    } else {
        n = postfixes(p, primary(p));
    }
    p->depth--;
    return with_filters && n ? filters(p, n) : n;
}

typedef struct {
    const char *text;
    JOp op;
} OpWord;

static JNode *binary_level(Parser *p, int level);

/* Left-associative levels: 0 is + -, 1 is ~, 2 is * / // %, 3 is **. */
static JNode *binary_level(Parser *p, int level)
{
    static const OpWord words[4][5] = {
        { { "+", JO_ADD }, { "-", JO_SUB } },
        { { "~", JO_CONCAT } },
        { { "*", JO_MUL }, { "/", JO_DIV }, { "//", JO_FLOORDIV }, { "%", JO_MOD } },
        { { "**", JO_POW } },
    };
    if (level == 4) return unary(p, true);
    JNode *left = binary_level(p, level + 1);
    for (int links = 0; left && !p->failed; links++) {
        const OpWord *w = words[level];
        while (w->text && !is_op(p, w->text)) w++;
        if (!w->text) return left;
        if (links > 1000) return parse_fail(p, "an expression is too long");
        JNode *n = node(p, JN_BINARY);
        p->t++;
        n->op = w->op;
        n->a = left;
        n->b = binary_level(p, level + 1);
        left = n->b ? n : NULL;
    }
    return left;
}

static bool comparison_op(Parser *p, JOp *op)
{
    static const OpWord words[] = { { "==", JO_EQ }, { "!=", JO_NE }, { "<", JO_LT },
                                    { "<=", JO_LE }, { ">", JO_GT },  { ">=", JO_GE } };
    for (size_t i = 0; i < COUNT(words); i++) {
        if (!skip_op(p, words[i].text)) continue;
        *op = words[i].op;
        return true;
    }
    if (skip_word(p, "in")) {
        *op = JO_IN;
        return true;
    }
    if (is_word(p, "not") && p->t[1].kind == JT_NAME && str_is(p->t[1].text, "in")) {
        p->t += 2;
        *op = JO_NOT_IN;
        return true;
    }
    return false;
}

static JNode *comparison(Parser *p)
{
    JOp ops[16], op;
    int n_ops = 0;
    JNode *first = binary_level(p, 0);
    JNode *n = NULL;
    while (first && !p->failed && comparison_op(p, &op)) {
        if (!n) {
            n = node(p, JN_COMPARE);
            add(p, &n->kids, first);
        }
        if (n_ops == (int)COUNT(ops)) return parse_fail(p, "too many comparisons in a row");
        ops[n_ops++] = op;
        JNode *right = binary_level(p, 0);
        if (right) add(p, &n->kids, right);
    }
    if (!n) return first;
    n->ops = arena_copy(p->arena, ops, sizeof ops[0] * (size_t)n_ops);
    return n;
}

static JNode *negation(Parser *p)
{
    if (!is_word(p, "not")) return comparison(p);
    if (++p->depth > PARSE_DEPTH) return parse_fail(p, "expressions are nested too deeply");
    JNode *n = node(p, JN_NOT);
    p->t++;
    n->a = negation(p);
    p->depth--;
    return n->a ? n : NULL;
}

static JNode *logical(Parser *p, bool is_or)
{
    JNode *left = is_or ? logical(p, false) : negation(p);
    while (left && !p->failed && is_word(p, is_or ? "or" : "and")) {
        JNode *n = node(p, is_or ? JN_OR : JN_AND);
        p->t++;
        n->a = left;
        n->b = is_or ? logical(p, false) : negation(p);
        left = n->b ? n : NULL;
    }
    return left;
}

static JNode *expression_without_if(Parser *p)
{
    return logical(p, true);
}

static JNode *expression(Parser *p)
{
    if (++p->depth > PARSE_DEPTH) return parse_fail(p, "expressions are nested too deeply");
    JNode *value = logical(p, true);
    while (value && !p->failed && is_word(p, "if")) {
        JNode *n = node(p, JN_COND);
        p->t++;
        n->a = value;
        n->b = logical(p, true);
        if (skip_word(p, "else")) n->c = expression(p);
        value = n->b ? n : NULL;
    }
    p->depth--;
    return value;
}

/* a, b: a tuple without parentheses, as {{ }} , set and for take it. */
static JNode *tuple(Parser *p, bool with_if)
{
    JNode *first = with_if ? expression(p) : expression_without_if(p);
    if (!first || !is_op(p, ",")) return first;
    JNode *n = node(p, JN_TUPLE);
    add(p, &n->kids, first);
    while (!p->failed && skip_op(p, ",")) {
        if (p->t->kind == JT_CLOSE_BLOCK || p->t->kind == JT_CLOSE_VAR || is_op(p, "=") || is_word(p, "in")) break;
        JNode *e = with_if ? expression(p) : expression_without_if(p);
        if (e) add(p, &n->kids, e);
    }
    return n;
}

/* ---- statements ---- */

static bool want_close(Parser *p)
{
    if (p->t->kind == JT_CLOSE_BLOCK) {
        p->t++;
        return true;
    }
    parse_fail(p, "expected %}");
    return false;
}

static bool at_end(const Parser *p, const char *const *ends)
{
    if (p->t->kind != JT_OPEN_BLOCK || p->t[1].kind != JT_NAME) return false;
    for (; ends && *ends; ends++) {
        if (str_is(p->t[1].text, *ends)) return true;
    }
    return false;
}

/* Statements up to {% end %}, which is skipped whole. */
static JNodes body(Parser *p, const char *end)
{
    const char *ends[] = { end, NULL };
    JNodes b = statements(p, ends);
    if (!p->failed) {
        p->t += 2;
        want_close(p);
    }
    return b;
}

static JNode *if_statement(Parser *p)
{
    static const char *const ends[] = { "elif", "else", "endif", NULL };
    JNode *n = node(p, JN_IF);
    p->t++;
    n->a = tuple(p, true);
    if (!n->a || !want_close(p)) return NULL;
    n->kids = statements(p, ends);
    if (p->failed) return NULL;
    p->t++; /* {% */
    if (is_word(p, "elif")) {
        if (++p->depth > PARSE_DEPTH) return parse_fail(p, "too many elif");
        JNode *rest = if_statement(p); /* takes the endif along */
        p->depth--;
        if (rest) add(p, &n->other, rest);
    } else if (skip_word(p, "else")) {
        if (want_close(p)) n->other = body(p, "endif");
    } else {
        p->t++;
        want_close(p);
    }
    return n;
}

/* Loop variables: a name, or names to unpack into. */
static JNode *target(Parser *p)
{
    bool parens = skip_op(p, "(");
    JNode *list = node(p, JN_TUPLE);
    do {
        JNode *name = node(p, JN_NAME);
        name->name = want_name(p);
        add(p, &list->kids, name);
    } while (!p->failed && skip_op(p, ",") && p->t->kind == JT_NAME && !is_word(p, "in"));
    if (parens) want_op(p, ")");
    return list->kids.n == 1 ? list->kids.p[0] : list;
}

static JNode *for_statement(Parser *p)
{
    static const char *const ends[] = { "else", "endfor", NULL };
    JNode *n = node(p, JN_FOR);
    p->t++;
    n->a = target(p);
    if (p->failed) return NULL;
    if (!skip_word(p, "in")) return parse_fail(p, "expected 'in'");
    n->b = tuple(p, false);
    if (skip_word(p, "if")) n->c = expression(p);
    if (is_word(p, "recursive")) return parse_fail(p, "recursive loops are not supported");
    if (!n->b || !want_close(p)) return NULL;
    n->kids = statements(p, ends);
    if (p->failed) return NULL;
    p->t++;
    bool has_else = is_word(p, "else");
    p->t++;
    if (!want_close(p)) return NULL;
    if (has_else) n->other = body(p, "endfor");
    return n;
}

static JNode *set_statement(Parser *p)
{
    JNode *n = node(p, JN_SET);
    p->t++;
    if (p->t->kind == JT_NAME && p->t[1].kind == JT_OP && str_is(p->t[1].text, ".")) {
        JNode *of = node(p, JN_NAME);
        of->name = want_name(p);
        n->a = attribute(p, of);
    } else {
        n->a = target(p);
    }
    if (p->failed) return NULL;
    if (skip_op(p, "=")) {
        n->b = tuple(p, true);
        return n->b && want_close(p) ? n : NULL;
    }
    n->kind = JN_SET_BLOCK;
    if (is_op(p, "|")) { /* {% set x | filter %}: the captured text goes through the filter */
        JNode *hole = node(p, JN_NAME);
        n->c = filters(p, hole);
    }
    if (!want_close(p)) return NULL;
    n->kids = body(p, "endset");
    return n;
}

/* (a, b=1) of a macro. */
static void parameters(Parser *p, JArgs *args)
{
    if (!want_op(p, "(")) return;
    while (!p->failed && !is_op(p, ")")) {
        Str name = want_name(p);
        JNode *value = NULL;
        if (!p->failed && skip_op(p, "=")) value = expression(p);
        add_named(p, args, name, value);
        if (!skip_op(p, ",")) break;
    }
    want_op(p, ")");
}

static JNode *macro_statement(Parser *p)
{
    JNode *n = node(p, JN_MACRO);
    p->t++;
    n->name = want_name(p);
    parameters(p, &n->args);
    if (p->failed || !want_close(p)) return NULL;
    n->kids = body(p, "endmacro");
    return n;
}

static JNode *call_statement(Parser *p)
{
    JNode *n = node(p, JN_CALL_BLOCK);
    p->t++;
    if (is_op(p, "(")) parameters(p, &n->args);
    if (!p->failed) n->a = expression(p);
    if (!n->a || n->a->kind != JN_CALL) return parse_fail(p, "{% call %} needs a call");
    if (!want_close(p)) return NULL;
    n->kids = body(p, "endcall");
    return n;
}

static JNode *filter_statement(Parser *p)
{
    JNode *n = node(p, JN_FILTER_BLOCK);
    p->t++;
    JNode *hole = node(p, JN_NAME);
    n->a = filters(p, filter(p, hole));
    if (p->failed || !want_close(p)) return NULL;
    n->kids = body(p, "endfilter");
    return n;
}

static JNode *simple_statement(Parser *p, JNodeKind kind, const char *end)
{
    JNode *n = node(p, kind);
    p->t++;
    if (!want_close(p)) return NULL;
    if (end) n->kids = body(p, end);
    return n;
}

static JNode *statement(Parser *p)
{
    p->t++; /* {% */
    if (is_word(p, "if")) return if_statement(p);
    if (is_word(p, "for")) return for_statement(p);
    if (is_word(p, "set")) return set_statement(p);
    if (is_word(p, "macro")) return macro_statement(p);
    if (is_word(p, "call")) return call_statement(p);
    if (is_word(p, "filter")) return filter_statement(p);
    if (is_word(p, "break")) return simple_statement(p, JN_BREAK, NULL);
    if (is_word(p, "continue")) return simple_statement(p, JN_CONTINUE, NULL);
    if (is_word(p, "generation")) return simple_statement(p, JN_BLOCK, "endgeneration");
    Str what = arena_printf(p->arena, "unknown statement '%.*s'", STR_FMT(p->t->text));
    return parse_fail(p, what.p);
}

static JNode *piece(Parser *p)
{
    JNode *n;
    if (p->t->kind == JT_DATA) {
        n = node(p, JN_TEXT);
        n->name = (p->t++)->text;
        return n;
    }
    if (p->t->kind == JT_OPEN_BLOCK) return statement(p);
    n = node(p, JN_PRINT);
    p->t++;
    n->a = tuple(p, true);
    if (n->a && p->t->kind != JT_CLOSE_VAR) return parse_fail(p, "expected }}");
    p->t++;
    return n->a ? n : NULL;
}

static JNodes statements(Parser *p, const char *const *ends)
{
    JNodes list = { 0 };
    if (++p->depth > PARSE_DEPTH) parse_fail(p, "blocks are nested too deeply");
    while (!p->failed && !at_end(p, ends)) {
        if (p->t->kind == JT_END) {
            if (ends) {
                Str what = arena_printf(p->arena, "the template ends before {%% %s %%}", ends[0]);
                parse_fail(p, what.p);
            }
            break;
        }
        JNode *n = piece(p);
        if (n) add(p, &list, n);
    }
    p->depth--;
    return list;
}

Status jparse_run(Arena *a, const JToken *tokens, JNode **out, Err *err)
{
    Err local;
    Parser p = { .arena = a, .t = tokens, .err = err ? err : &local };
    JNode *root = ARENA_NEW(a, JNode, 1);
    root->kind = JN_BLOCK;
    root->line = 1;
    root->kids = statements(&p, NULL);
    *out = root;
    return p.failed ? E_INVALID : OK;
}
