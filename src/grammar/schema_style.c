/* schema_style.c - the surfaces that tool calls are written in beside JSON, and members that are text up to a mark. See schema.h.
 *
 * In the XML styles the top object is a list of parameters. A string stands there as it is, up to the first closing mark, and the schema
 * speaks of that text; every other value is JSON. One schema says both, so such a style has two Schema objects over one document: the
 * outer spells strings as they are, the inner as JSON; a term of one is the same schemas in the other. Where a mark before
 * the value tells its kind, the kinds are apart; otherwise a value that may be any text is just that. In the pythonic style the
 * top object is keyword arguments, and what is in them Python's literals. Thread: the Build's. */
#include "grammar/inside.h"
#include "grammar/schema.h"
#include "grammar/tag.h"

#define JSON_KEYS   "([^\"\\\\\\x00-\\x1f]|\\\\[\"\\\\bfnrt]|\\\\u00[01][0-9a-f])*"
#define PYTHON_KEYS "([^\"\\\\\\x00-\\x1f]|\\\\[\"\\\\bfnrt])*"
#define XML_KEYS    "[^<>\"\\x00-\\x1f]+"
#define NAMES       "[A-Za-z_][A-Za-z0-9_]*"
#define BARE_KEYS   "[A-Za-z0-9_.$-]+"

#define JSON_WORDS .null_word = "null", .true_word = "true", .false_word = "false"
#define BRACES     .open = "{", .shut = "}", .comma = ",", .colon = ":"
#define NO_BRACES  .open = "", .shut = "", .comma = "", .colon = ""
#define NO_KINDS                                                                                                       \
    {                                                                                                                  \
        "", "", "", "", "", ""                                                                                         \
    }

const SchemaStyle schema_style_json = { .name = "json",
                                        .spell = SPELL_JSON,
                                        JSON_WORDS,
                                        .quote = "\"",
                                        BRACES,
                                        .key_before = "\"",
                                        .key_after = "\"",
                                        .other_keys = JSON_KEYS };

static const SchemaStyle python = { .name = "python",
                                    .spell = SPELL_PYTHON,
                                    .null_word = "None",
                                    .true_word = "True",
                                    .false_word = "False",
                                    .quote = "\"",
                                    BRACES,
                                    .key_before = "\"",
                                    .key_after = "\"",
                                    .other_keys = PYTHON_KEYS };

#define XML .spell = SPELL_UTF8, JSON_WORDS, .quote = "", NO_BRACES, .other_keys = XML_KEYS, .inner = &schema_style_json

static const SchemaStyle styles[] = {
    { .name = "qwen_xml",
      XML,
      .key_before = "<parameter=",
      .key_after = ">",
      .close = "</parameter>",
      .line = true,
      .kind = NO_KINDS },
    { .name = "minimax_xml",
      XML,
      .key_before = "<parameter name=\"",
      .key_after = "\">",
      .close = "</parameter>",
      .kind = NO_KINDS },
    { .name = "deepseek_xml",
      XML,
      .key_before = "<\uff5cDSML\uff5cparameter name=\"",
      .key_after = "\" string=\"",
      .close = "</\uff5cDSML\uff5cparameter>",
      .kind = { "true\">", "false\">", "false\">", "false\">", "false\">", "false\">" } },
    { .name = "glm_xml",
      XML,
      .key_before = "<arg_key>",
      .key_after = "</arg_key>",
      .value = "<arg_value>",
      .close = "</arg_value>",
      .kind = NO_KINDS },
    { .name = "kimi_k3_xml",
      XML,
      .key_before = "<|open|>argument key=\"",
      .key_after = "\" type=\"",
      .close = "<|close|>argument<|sep|>",
      .kind = { "string\"<|sep|>", "number\"<|sep|>", "boolean\"<|sep|>", "null\"<|sep|>", "array\"<|sep|>",
                "object\"<|sep|>" } },
    { .name = "pythonic",
      .spell = SPELL_PYTHON,
      .null_word = "None",
      .true_word = "True",
      .false_word = "False",
      .quote = "\"",
      .open = "",
      .shut = "",
      .comma = ",",
      .colon = "=",
      .key_before = "",
      .key_after = "",
      .other_keys = NAMES,
      .inner = &python },
    { .name = "gemma",
      .spell = SPELL_UTF8,
      JSON_WORDS,
      .quote = "<|\"|>",
      BRACES,
      .key_before = "",
      .key_after = "",
      .other_keys = BARE_KEYS },
};

const SchemaStyle *schema_style_find(Str name)
{
    if (str_is(name, "json")) return &schema_style_json;
    if (str_is(name, "xml")) return &styles[0];
    for (size_t i = 0; i < COUNT(styles); i++)
        if (str_is(name, styles[i].name)) return &styles[i];
    return NULL;
}

/* ---- values as text up to a mark ---- */

enum { STRINGS = 1, NUMBERS = 2, BOOLEANS = 4, NULLS = 8, ARRAYS = 16, OBJECTS = 32 };

/* White space, the value as JSON, white space, the mark; only values of these kinds. */
static Sym json_value(Schema *s, Term t, unsigned kinds, Sym close)
{
    Schema *in = s->inner;
    const SchemaSet *x = schema_term_set(in, schema_term_inner(s, t));
    if (!x) return SYM_NOTHING;
    SchemaSet y = { .words = x->words &
                             ((kinds & NULLS ? WORD_NULL : 0u) | (kinds & BOOLEANS ? WORD_ALL & ~WORD_NULL : 0u)) };
    if (kinds & NUMBERS) {
        y.number = x->number;
        y.whole = x->whole;
        y.exponents = x->exponents;
        y.lit = ARENA_NEW(s->mem, SchemaLit, x->n_lits + 1);
        for (uint32_t i = 0; i < x->n_lits; i++)
            if (!x->lit[i].string) y.lit[y.n_lits++] = x->lit[i];
    }
    if (kinds & ARRAYS) y.array = x->array, y.n_arrays = x->n_arrays;
    if (kinds & OBJECTS) y.object = x->object, y.n_objects = x->n_objects;
    Sym value = schema_sym_of_set(in, &y), space = rule_lexeme(s->b, s->space);
    return value == SYM_NOTHING ? SYM_NOTHING : rule_seq(s->b, (Sym[]){ space, value, space, close }, 4);
}

/* A value that is text: its expression, the mark behind it as far as that is text, and text up to the mark (EXPR_NOTHING: a special token
 * ends it). */
typedef struct {
    Build *b;
    Expr value, mark, until;
} Raw;

/* Text, the tail, and nothing of the mark before. What is behind a meeting stands behind each of its parts, if it is one string: the
 * parts can be counted then. */
static Expr raw_text(const Raw *r, Expr text, Expr tail)
{
    Build *b = r->b;
    ExprNode n = b->x.node[text];
    Expr behind = expr_cat(b, tail, r->mark), all = r->until;
    bool fixed = b->x.node[tail].kind != X_REPEAT;
    for (uint32_t i = 0; n.kind == X_AND && fixed && i < n.b; i++) {
        Expr part = expr_cat(b, b->x.kids[n.a + i], behind);
        all = all == EXPR_NOTHING ? part : expr_and(b, all, part);
    }
    if (n.kind == X_AND && fixed) return all;
    Expr e = expr_cat(b, text, behind);
    return all == EXPR_NOTHING ? e : expr_and(b, e, all);
}

static Expr other_than_line_end(Build *b)
{
    return expr_class(b, (CharRange[]){ { 0, 9 }, { 11, 0x10FFFF } }, 2, SPELL_UTF8);
}

/* Lengths and nothing more: C{m,n} of any character. */
static bool is_length(const Raw *r, const ExprNode **out)
{
    *out = &r->b->x.node[r->value];
    return (*out)->kind == X_REPEAT && (*out)->a == expr_any_char(r->b, SPELL_UTF8);
}

/* Those of the values that do not end with a line end, and the mark. A length stays one, with a last character. */
static Expr ends_otherwise(const Raw *r)
{
    Build *b = r->b;
    Expr last = other_than_line_end(b), any = expr_repeat(b, expr_any_char(b, SPELL_UTF8), 0, BUILD_INF);
    const ExprNode *n;
    if (is_length(r, &n) && n->b > 0) {
        uint32_t a = n->a, min = n->b, max = n->c;
        return raw_text(r, expr_repeat(b, a, min - 1, max == BUILD_INF ? max : max - 1), last);
    }
    Expr ends = expr_or(b, EXPR_EMPTY, expr_cat(b, any, last));
    return raw_text(r, expr_and(b, r->value, ends), EXPR_EMPTY);
}

static Sym lexeme_or_nothing(Build *b, Expr e)
{
    return build_failed(b) || expr_is_nothing(b, e) ? SYM_NOTHING : rule_lexeme(b, e);
}

/* A line end before the value and one behind it are taken off if they are there, so a value that begins or ends with one is spelled
 * with one more. A length from 0 on holds whatever is taken off: there a simple form says the same. */
static Sym between_lines(const Raw *r)
{
    Build *b = r->b;
    const ExprNode *n;
    Expr turn = expr_literal(b, STR("\n")), any = expr_repeat(b, expr_any_char(b, SPELL_UTF8), 0, BUILD_INF);
    Sym line = rule_lexeme(b, turn);
    if (is_length(r, &n) && n->b == 0) {
        Expr e = raw_text(r, r->value, expr_repeat(b, turn, 0, 1));
        return rule_seq(b, (Sym[]){ rule_repeat(b, line, 0, 1), lexeme_or_nothing(b, e) }, 2);
    }
    Expr e[2] = { raw_text(r, r->value, turn), ends_otherwise(r) };
    Expr begins = expr_or(b, EXPR_EMPTY, expr_cat(b, other_than_line_end(b), any));
    Sym with[2], without[2];
    for (int i = 0; i < 2; i++) {
        with[i] = lexeme_or_nothing(b, e[i]);
        without[i] = lexeme_or_nothing(b, expr_and(b, e[i], begins));
    }
    Sym first = rule_seq(b, (Sym[]){ line, rule_alt(b, with, 2) }, 2);
    return rule_alt(b, (Sym[]){ first, without[0], without[1] }, 3);
}

/* The strings of a set as they are, and the mark. */
static Sym raw_value(Schema *s, const SchemaSet *x)
{
    Raw r = { .b = s->b };
    Str *text = ARENA_NEW(s->mem, Str, x->n_lits + 1), close = str_of(s->style->close);
    size_t n = 0, end;
    int32_t id;
    for (uint32_t i = 0; i < x->n_lits; i++)
        if (x->lit[i].string) text[n++] = x->lit[i].text;
    r.value = n ? expr_or(s->b, x->string, expr_one_of(s->b, text, n)) : x->string;
    size_t plain = tag_mark_text(s->b, close, &id, &end);
    r.mark = expr_literal(s->b, str_cut(close, 0, plain));
    if (plain == close.n) r.until = expr_until(s->b, close, SPELL_UTF8);
    Sym before;
    if (r.value == s->all_strings)
        before = rule_lexeme(s->b, r.until ? r.until : expr_cat(s->b, r.value, r.mark));
    else if (s->style->line)
        before = between_lines(&r);
    else
        before = lexeme_or_nothing(s->b, raw_text(&r, r.value, EXPR_EMPTY));
    return rule_seq(s->b, (Sym[]){ before, tag_mark(s->b, str_cut(close, plain, close.n)) }, 2);
}

/* One value for each kind of mark before it. */
static Sym value_up_to_mark(Schema *s, Term t)
{
    const SchemaSet *x = schema_term_set(s, t);
    const char *const *kind = s->style->kind;
    Sym alt[6 * 2], close = tag_mark(s->b, str_of(s->style->close));
    size_t n = 0;
    if (!x) return SYM_NOTHING;
    for (unsigned i = 0, done = 0; i < 6 && !build_failed(s->b); i++) {
        unsigned same = 0;
        for (unsigned k = i; k < 6; k++) same |= strcmp(kind[i], kind[k]) == 0 ? 1u << k : 0u;
        if (done >> i & 1) continue;
        done |= same;
        Sym raw = same & STRINGS ? raw_value(s, x) : SYM_NOTHING, json = SYM_NOTHING;
        if (!(same & STRINGS) || x->string != s->all_strings) json = json_value(s, t, same, close);
        Sym either = rule_alt(s->b, (Sym[]){ raw, json }, 2);
        alt[n++] = rule_seq(s->b, (Sym[]){ tag_mark(s->b, str_of(kind[i])), either }, 2);
    }
    return build_failed(s->b) ? SYM_NOTHING : rule_alt(s->b, alt, n);
}

Sym schema_style_value(Schema *s, Term t)
{
    if (s->style->close) return value_up_to_mark(s, t);
    return s->inner ? schema_sym_of_term(s->inner, schema_term_inner(s, t)) : schema_sym_of_term(s, t);
}
