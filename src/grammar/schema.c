/* schema.c - JSON Schema into lexemes and rules. schema.h says how a schema is kept; this file writes it down and is the front end.
 *
 * A term becomes an alternative of one lexeme (all its words, numbers and strings) and a rule for each shape (schema_object.c,
 * schema_array.c). Terms wait in a list for their rules: no recursion, whatever the depth. Options: {"whitespace": "flexible" (runs of
 * at most 20 after and before punctuation, the default), "single" (one space after , and :), "compact" (none); "order": of keys}.
 * Thread: the Build's. */
#include "grammar/schema.h"

#include "grammar/tag.h"

enum { MAX_SPACE = 20 /* white space characters in a run */ };

static const char decimal_pattern[] = "(0|[1-9][0-9]*)(\\.[0-9]+)?|-([1-9][0-9]*(\\.[0-9]+)?|0\\.0*[1-9][0-9]*)";

Status schema_refuse(Schema *s, Str at, const char *key, Status status, const char *why)
{
    if (build_failed(s->b)) return status;
    build_at(s->b, key ? schema_term_child(s, at, key) : at);
    return build_fail(s->b, status, "%s%s%s", key ? key : "", key ? ": " : "", why);
}

static Expr plain(Schema *s, const char *pattern)
{
    return pattern_build(s->b, str_of(pattern), PATTERN_DOT_ALL, SPELL_UTF8);
}

void *schema_room(Schema *s, void *p, uint32_t n, uint32_t *cap, size_t size)
{
    if (n < *cap) return p;
    *cap = MAX(*cap * 2, 4u);
    void *more = arena_alloc(s->mem, *cap * size);
    if (n) memcpy(more, p, n * size);
    return more;
}

static Sym seq3(Schema *s, Sym x, Sym y, Sym z)
{
    return rule_seq(s->b, (Sym[]){ x, y, z }, 3);
}

Sym schema_sym_text(Schema *s, Expr before, Str text, Expr after)
{
    Sym out = SYM_EMPTY;
    while (!build_failed(s->b)) {
        int32_t id;
        size_t end, n = tag_mark_text(s->b, text, &id, &end);
        /* Joined from the right: a loop stands before all that follows it. */
        Expr plain = expr_literal(s->b, str_cut(text, 0, n));
        if (n == text.n) plain = expr_cat(s->b, plain, after);
        Sym lexeme = rule_lexeme(s->b, expr_cat(s->b, before, plain));
        if (n == text.n) return rule_seq(s->b, (Sym[]){ out, lexeme }, 2);
        out = seq3(s, out, lexeme, rule_token(s->b, &id, 1));
        before = EXPR_EMPTY;
        text = str_cut(text, end, text.n);
    }
    return SYM_NOTHING;
}

static Sym text_sym(Schema *s, Expr before, const char *text, Expr after)
{
    return schema_sym_text(s, before, str_of(text), after);
}

/* ---- terms that wait for their rule ---- */

static Sym scalar_sym(Schema *s, const SchemaSet *x);

Sym schema_sym_of_term(Schema *s, Term t)
{
    if (t == TERM_NONE || build_failed(s->b)) return SYM_NOTHING;
    if (s->term[t].has_sym) return s->term[t].sym;
    const SchemaSet *x = schema_term_set(s, t);
    if (!x) return SYM_NOTHING;
    Sym made = SYM_NOTHING;
    if (x->n_arrays || x->n_objects) {
        made = rule_new(s->b, STR("value"));
        s->todo = schema_room(s, s->todo, s->n_todo, &s->cap_todo, sizeof *s->todo);
        s->todo[s->n_todo++] = t;
    } else {
        made = scalar_sym(s, x);
    }
    s->term[t].has_sym = true;
    s->term[t].sym = made;
    return made;
}

/* ---- words, numbers, strings ---- */

static Expr numbers(Schema *s, const SchemaSet *x)
{
    if (x->exponents) return plain(s, "-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?");
    if (x->number == s->integers) return plain(s, "0|-?[1-9][0-9]*");
    if (x->number == EXPR_NOTHING || !x->whole) return x->number;
    return expr_and(s->b, x->number, plain(s, "0|-?[1-9][0-9]*")); /* integers are written without .0 */
}

/* The insides of strings, with the quotes if those are no special tokens. */
static Expr strings(Schema *s, const SchemaSet *x, Expr quote)
{
    Str *text = ARENA_NEW(s->mem, Str, x->n_lits + 1);
    size_t n = 0;
    for (uint32_t i = 0; i < x->n_lits; i++)
        if (x->lit[i].string) text[n++] = x->lit[i].text;
    Expr e = n ? expr_or(s->b, x->string, expr_one_of(s->b, text, n)) : x->string;
    e = expr_cat(s->b, e, quote);
    if (s->style->spell == SPELL_UTF8 && quote != EXPR_EMPTY) /* nothing else tells where such a text ends */
        e = expr_and(s->b, e, expr_until(s->b, str_of(s->style->quote), SPELL_UTF8));
    return expr_cat(s->b, quote, e);
}

/* Python's other quotes, for strings that nothing more is said of and for single ones. */
static Expr single_quoted(Schema *s, const SchemaSet *x)
{
    static const char any[] =
        "'([^'\\\\\\x00-\\x1f]|\\\\[\"'\\\\bfnrt]|\\\\u([0-9a-cefA-CEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}))*'";
    Str *text = ARENA_NEW(s->mem, Str, x->n_lits + 1);
    size_t n = 0;
    for (uint32_t i = 0; i < x->n_lits; i++)
        if (x->lit[i].string && str_find(x->lit[i].text, STR("'"), 0) == SIZE_MAX)
            text[n++] = arena_printf(s->mem, "'%.*s'", STR_FMT(x->lit[i].text));
    Expr e = n ? expr_one_of(s->b, text, n) : EXPR_NOTHING;
    return x->string == s->all_strings ? expr_or(s->b, e, plain(s, any)) : e;
}

static Sym scalar_sym(Schema *s, const SchemaSet *x)
{
    const char *const words[] = { s->style->null_word, s->style->true_word, s->style->false_word };
    Str *text = ARENA_NEW(s->mem, Str, (size_t)x->n_lits * 2 + COUNT(words)), quote = str_of(s->style->quote);
    size_t n = 0, end;
    int32_t id;
    for (size_t i = 0; i < COUNT(words); i++)
        if (x->words >> i & 1) text[n++] = str_of(words[i]);
    for (uint32_t i = 0; i < x->n_lits; i++) {
        if (x->lit[i].string) continue;
        text[n++] = x->lit[i].text;
        if (x->lit[i].point) text[n++] = arena_printf(s->mem, "%.*s.0", STR_FMT(x->lit[i].text));
    }
    Expr e = expr_or(s->b, n ? expr_one_of(s->b, text, n) : EXPR_NOTHING, numbers(s, x));
    bool plain_quote = tag_mark_text(s->b, quote, &id, &end) == quote.n;
    Expr inside = strings(s, x, plain_quote ? expr_literal(s->b, quote) : EXPR_EMPTY);
    if (s->style->spell == SPELL_PYTHON) e = expr_or(s->b, e, single_quoted(s, x));
    if (plain_quote) {
        e = expr_or(s->b, e, inside);
        return expr_is_nothing(s->b, e) ? SYM_NOTHING : rule_lexeme(s->b, e);
    }
    Sym mark = text_sym(s, EXPR_EMPTY, s->style->quote, EXPR_EMPTY);
    Sym string = expr_is_nothing(s->b, inside) ? SYM_NOTHING : seq3(s, mark, rule_lexeme(s->b, inside), mark);
    Sym other = expr_is_nothing(s->b, e) ? SYM_NOTHING : rule_lexeme(s->b, e);
    return rule_alt(s->b, (Sym[]){ string, other }, 2);
}

/* ---- all of it ---- */

static Str place_of(Schema *s, Term t)
{
    return t > TERM_NONE ? s->node[s->term[t].lit[0] / 2].pointer : STR("");
}

Sym schema_sym_of_set(Schema *s, const SchemaSet *x)
{
    Sym *alt = ARENA_NEW(s->mem, Sym, (size_t)x->n_arrays + x->n_objects + 1);
    size_t n = 0;
    if (!s->style->close) alt[n++] = scalar_sym(s, x);
    for (uint32_t i = 0; i < x->n_arrays && !s->style->close; i++) alt[n++] = schema_array_sym(s, &x->array[i]);
    for (uint32_t i = 0; i < x->n_objects && !build_failed(s->b); i++)
        alt[n++] = schema_object_sym(s, &x->object[i], x->n_objects == 1);
    return n && !build_failed(s->b) ? rule_alt(s->b, alt, n) : SYM_NOTHING;
}

static void read_order(Schema *s, json_t *v)
{
    static const char *const names[] = { "auto", "schema", "any" };
    for (unsigned i = 0; i < COUNT(names) && v; i++) {
        if (!json_is_string(v) || strcmp(json_string_value(v), names[i]) != 0) continue;
        s->order = i;
        return;
    }
    if (v) build_fail(s->b, E_INVALID, "order is \"auto\", \"schema\" or \"any\"");
}

static bool read_options(Schema *s, const SchemaHow *how)
{
    Str options = how->options;
    json_t *j = options.n ? json_loadb(options.p, options.n, 0, NULL) : json_object(),
           *v = json_object_get(j, "whitespace");
    const char *way = v ? json_string_value(v) : "flexible";
    bool compact = way && strcmp(way, "compact") == 0, single = way && strcmp(way, "single") == 0;
    bool good = json_is_object(j) && way && (compact || single || strcmp(way, "flexible") == 0);
    if (!good)
        build_fail(s->b, E_INVALID, "options are an object; whitespace is \"flexible\", \"single\" or \"compact\"");
    read_order(s, json_object_get(j, "order"));
    Expr one = plain(s, " ?");
    uint32_t most = how->max_space == BUILD_INF ? MAX_SPACE : how->max_space;
    s->space = compact || single ? EXPR_EMPTY : expr_repeat(s->b, plain(s, "[ \\t\\n\\r]"), 0, most);
    Expr after = single ? one : s->space;
    s->comma = expr_cat(s->b, expr_literal(s->b, str_of(s->style->comma)), after);
    s->colon = expr_cat(s->b, expr_literal(s->b, str_of(s->style->colon)), after);
    if (s->style->close) { /* a value is all text behind its key */
        s->comma = s->space = expr_repeat(s->b, plain(s, "[ \\t\\n\\r]"), 0, most);
        s->colon = s->style->value ? expr_cat(s->b, s->space, expr_literal(s->b, str_of(s->style->value))) : EXPR_EMPTY;
    }
    json_decref(j);
    return good && !build_failed(s->b);
}

static void constants(Schema *s)
{
    s->all_strings = expr_repeat(s->b, expr_any_char(s->b, s->style->spell), 0, BUILD_INF);
    s->decimals = plain(s, decimal_pattern);
    s->integers = plain(s, "(0|-?[1-9][0-9]*)(\\.0+)?");
    s->key_text = plain(s, s->style->other_keys);
    SchemaSet any = { .words = WORD_ALL, .exponents = true, .number = s->decimals, .string = s->all_strings };
    SchemaArray a = { .rest = TERM_ANY, .max = BUILD_INF };
    SchemaClass c = { s->all_strings, TERM_ANY };
    SchemaObject o = { .class = arena_copy(s->mem, &c, sizeof c), .n_classes = 1, .max = BUILD_INF };
    any.array = arena_copy(s->mem, &a, sizeof a);
    any.object = arena_copy(s->mem, &o, sizeof o);
    any.n_arrays = any.n_objects = 1;
    s->any = arena_copy(s->mem, &any, sizeof any);
    schema_term_const(s, s->root, STR("")); /* the two terms that are always there */
}

static void legacy(Schema *s)
{
    static const char *const drafts[] = { "draft-03", "draft-04", "draft-05", "draft-06", "draft-07" };
    const char *v = json_string_value(json_object_get(s->root, "$schema"));
    for (size_t i = 0; i < COUNT(drafts) && v; i++) s->legacy_refs |= strstr(v, drafts[i]) != NULL;
}

/* Rules of the terms that wait, and of those that come up meanwhile. */
static void define_terms(Schema *s, uint32_t *from)
{
    for (; *from < s->n_todo && !build_failed(s->b); ++*from) {
        Term t = s->todo[*from];
        build_at(s->b, place_of(s, t));
        Sym body = schema_sym_of_set(s, schema_term_set(s, t));
        if (!build_failed(s->b)) rule_define(s->b, s->term[t].sym, body);
    }
}

static bool begin(Schema *s, Build *b, json_t *root, const SchemaStyle *style, const SchemaHow *how)
{
    *s = (Schema){ .b = b, .mem = build_arena(b), .root = root, .style = style };
    s->exact_numbers = how->exact;
    if (!read_options(s, how)) return false;
    legacy(s);
    constants(s);
    return !build_failed(b);
}

Sym schema_sym(Build *b, json_t *root, const SchemaHow *how)
{
    Schema s, inner;
    uint32_t done = 0, done_inside = 0;
    if (!begin(&s, b, root, how->style, how)) return SYM_NOTHING;
    if (s.style->inner && !begin(&inner, b, root, s.style->inner, how)) return SYM_NOTHING;
    if (s.style->inner) s.inner = &inner;
    Term t = schema_term_of(&s, root, STR(""));
    const SchemaSet *x = schema_term_set(&s, t);
    if (!x) return SYM_NOTHING;
    Sym out = s.inner ? schema_sym_of_set(&s, &(SchemaSet){ .object = x->object, .n_objects = x->n_objects })
                      : schema_sym_of_term(&s, t);
    define_terms(&s, &done);
    if (s.inner) define_terms(&inner, &done_inside);
    build_at(b, STR(""));
    if (out == SYM_NOTHING) build_fail(b, E_INVALID, "nothing can satisfy this schema");
    return out;
}

Sym schema_front(Build *b, const GrammarSpec *spec)
{
    json_error_t why;
    Str text = spec->kind == GRAMMAR_JSON_OBJECT ? STR("{\"type\":\"object\"}") : spec->text;
    json_t *root = json_loadb(text.p, text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    bool exact = root != NULL;
    if (!root) root = json_loadb(text.p, text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &why);
    if (!root) {
        bool deep = json_error_code(&why) == json_error_stack_overflow;
        build_fail(b, deep ? E_LIMIT : E_INVALID, "the schema is %s (%s, at byte %d)",
                   deep ? "nested too deeply" : "no JSON", why.text, why.position);
        return SYM_NOTHING;
    }
    Sym out = schema_sym(b, root, &(SchemaHow){ spec->options, BUILD_INF, &schema_style_json, exact });
    json_decref(root);
    return out;
}
