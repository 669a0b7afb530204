/* tag_text.c - marks, free text, and free text in which a trigger must be followed by what it asks for. See tag.h.
 *
 * Exact: text holds a trigger or an excluded text nowhere, or ends with its first trigger: two kinds of lexemes, of which the first may
 * end anywhere, so that an output may end with half a trigger. Each is a meeting of "any text" with one complement over all
 * marks at once, which loops over all characters that begin no mark: its masks are taken in whole subtrees.
 * Text has no special tokens, so a trigger with one is decided as soon as the token comes. Thread: the Build's. */
#include "grammar/inside.h"
#include "grammar/tag.h"

/* ---- marks ---- */

size_t tag_mark_text(Build *b, Str text, int32_t *id, size_t *end)
{
    *id = -1;
    *end = text.n;
    for (size_t i = 0; i < text.n; i++) {
        size_t n = grammar_vocab_special_at(b->vocab, text, i, id);
        if (n == 0) continue;
        *end = i + n;
        return i;
    }
    return text.n;
}

Sym tag_mark(Build *b, Str text)
{
    Sym out = SYM_EMPTY;
    while (text.n && build_spend(b, 1 + text.n / 8)) {
        int32_t id;
        size_t end, n = tag_mark_text(b, text, &id, &end);
        Sym parts[3] = { out, rule_lexeme(b, expr_literal(b, str_cut(text, 0, n))), SYM_EMPTY };
        if (n < text.n) parts[2] = rule_token(b, &id, 1);
        out = rule_seq(b, parts, 3);
        text = str_cut(text, end, text.n);
    }
    return build_failed(b) ? SYM_NOTHING : out;
}

/* ---- free text ---- */

static Expr any_text(Build *b)
{
    return expr_repeat(b, expr_any_char(b, SPELL_UTF8), 0, BUILD_INF);
}

/* Text without any of the marks. */
static Expr without(Build *b, TagTexts marks)
{
    Expr text = any_text(b), one = expr_one_of(b, marks.p, marks.n);
    if (marks.n == 0) return text;
    return expr_without(b, text, expr_cat_n(b, (Expr[]){ text, one, text }, 3));
}

/* Text in which one of the marks is followed by something. */
static Expr early(Build *b, TagTexts marks)
{
    Expr text = any_text(b);
    return expr_cat_n(b, (Expr[]){ text, expr_one_of(b, marks.p, marks.n), expr_any_char(b, SPELL_UTF8), text }, 4);
}

/* body, and at most so many characters of it. */
static Expr limited(Tags *t, json_t *j, Str at, Expr body)
{
    uint32_t most = tag_count(t, j, at, "max_chars");
    json_t *tokens = json_object_get(j, "max_tokens");
    if (tokens && !json_is_null(tokens))
        tag_refuse(t, at, "max_tokens", E_UNSUPPORTED, "text is not counted in tokens; max_chars is enforced");
    if (most == BUILD_INF || build_failed(t->b)) return body;
    build_at(t->b, tag_child(t, at, "max_chars"));
    return expr_and(t->b, expr_repeat(t->b, expr_any_char(t->b, SPELL_UTF8), 0, most), body);
}

static const char *const any_text_keys[] = { "excludes", "max_tokens", "max_chars" };

Sym tag_any_text(Tags *t, json_t *j, Str at, const TagEnds *ends)
{
    if (!tag_known(t, j, at, any_text_keys, COUNT(any_text_keys))) return SYM_NOTHING;
    TagTexts marks = tag_texts_and(t, tag_texts(t, j, at, "excludes", true), ends->texts);
    Expr e = build_failed(t->b) ? EXPR_NOTHING : limited(t, j, at, without(t->b, marks));
    return build_failed(t->b) ? SYM_NOTHING : rule_lexeme(t->b, e);
}

/* The marks that are not inside this one, and itself. */
static TagTexts not_inside(Tags *t, TagTexts marks, Str one)
{
    TagTexts out = { ARENA_NEW(t->mem, Str, marks.n + 1), 0 };
    for (size_t i = 0; i < marks.n && build_spend(t->b, 1 + one.n / 64); i++)
        if (str_eq(marks.p[i], one) || str_find(one, marks.p[i], 0) == SIZE_MAX) out.p[out.n++] = marks.p[i];
    return out;
}

Sym tag_any_text_until(Tags *t, json_t *j, Str at, TagTexts ends)
{
    Build *b = t->b;
    if (!tag_known(t, j, at, any_text_keys, COUNT(any_text_keys))) return SYM_NOTHING;
    TagTexts excludes = tag_texts(t, j, at, "excludes", true), apart = { 0 };
    if (build_failed(b)) return SYM_NOTHING;
    for (size_t i = 0; i < ends.n && (i == 0 || apart.n == ends.n); i++) apart = not_inside(t, ends, ends.p[i]);
    if (apart.n == ends.n) {
        Expr whole = expr_cat(b, limited(t, j, at, without(b, excludes)), expr_one_of(b, ends.p, ends.n));
        Expr e = expr_without(b, whole, early(b, ends));
        return build_failed(b) ? SYM_NOTHING : rule_lexeme(b, e);
    }
    /* An end inside another one does not keep the longer from being reached. */
    Expr body = limited(t, j, at, without(b, tag_texts_and(t, excludes, ends))), e = EXPR_NOTHING;
    for (size_t i = 0; i < ends.n && build_spend(b, 1); i++) {
        Expr one = expr_cat(b, body, expr_literal(b, ends.p[i]));
        e = expr_or(b, e, expr_without(b, one, early(b, not_inside(t, ends, ends.p[i]))));
    }
    return build_failed(b) ? SYM_NOTHING : rule_lexeme(b, e);
}

/* Text that ends with its first trigger, this one; or text and then the token. */
static Sym until_trigger(Tags *t, const TagTrigger *w, TagTexts triggers, Expr before, Expr between)
{
    Build *b = t->b;
    Expr mark = expr_literal(b, w->text);
    if (w->id >= 0) {
        if (w->text.n) between = expr_and(b, between, expr_cat(b, any_text(b), mark));
        Sym text = expr_is_nothing(b, between) ? SYM_NOTHING : rule_lexeme(b, between);
        return rule_seq(b, (Sym[]){ text, rule_token(b, &w->id, 1) }, 2);
    }
    Expr e = expr_without(b, expr_cat(b, before, mark), early(b, triggers));
    if (!build_failed(b) && expr_is_nothing(b, e))
        build_fail(b, E_INVALID, "the trigger \"%.*s\" can never be reached: text ends before it is complete",
                   (int)MIN(w->text.n, (size_t)100), w->text.p);
    return build_failed(b) ? SYM_NOTHING : rule_lexeme(b, e);
}

Sym tag_free_text(Tags *t, const TagTrigger *trigger, size_t n, TagTexts excludes, bool loop)
{
    Build *b = t->b;
    TagTexts triggers = { ARENA_NEW(t->mem, Str, n + 1), 0 };
    for (size_t i = 0; i < n; i++)
        if (trigger[i].id < 0) triggers.p[triggers.n++] = trigger[i].text;
    Expr before = without(b, excludes), between = without(b, tag_texts_and(t, excludes, triggers));
    Sym *alt = ARENA_NEW(t->mem, Sym, n + 1), rule = loop && n ? rule_new(b, STR("text")) : SYM_EMPTY;
    for (size_t i = 0; i < n && build_spend(b, 2); i++) {
        if (trigger[i].after == SYM_NOTHING) continue;
        Sym begin = until_trigger(t, &trigger[i], triggers, before, between);
        alt[i] = rule_seq(b, (Sym[]){ begin, trigger[i].after, rule }, 3);
    }
    if (build_failed(b)) return SYM_NOTHING;
    alt[n] = rule_lexeme(b, between);
    Sym all = rule_alt(b, alt, n + 1);
    if (rule != SYM_EMPTY) rule_define(b, rule, all);
    return rule != SYM_EMPTY ? rule : all;
}

/* ---- dispatch ---- */

Sym tag_dispatch(Tags *t, json_t *j, Str at, const TagEnds *ends)
{
    static const char *const keys[] = { "rules", "loop", "excludes" };
    if (!tag_known(t, j, at, keys, COUNT(keys))) return SYM_NOTHING;
    json_t *list = tag_list(t, j, at, keys[0], false), *v;
    bool loop = tag_flag(t, j, at, keys[1], true);
    TagTexts excludes = tag_texts_and(t, tag_texts(t, j, at, keys[2], true), ends->texts);
    TagTrigger *way = ARENA_NEW(t->mem, TagTrigger, json_array_size(list) + 1);
    size_t n = 0, i;
    json_array_foreach(list, i, v)
    {
        Str place = tag_item(t, tag_child(t, at, keys[0]), i);
        json_t *pattern = json_array_get(v, 0);
        if (!json_is_array(v) || json_array_size(v) != 2 || json_string_length(pattern) == 0)
            tag_refuse(t, place, NULL, E_INVALID, "must be a string and a format");
        if (build_failed(t->b)) return SYM_NOTHING;
        Str text = { json_string_value(pattern), json_string_length(pattern) };
        size_t end, to = tag_mark_text(t->b, text, &way[n].id, &end);
        way[n].text = str_cut(text, 0, to);
        Sym rest[2] = { tag_mark(t->b, str_cut(text, end, text.n)),
                        tag_format(t, json_array_get(v, 1), tag_item(t, place, 1), ends) };
        if (build_failed(t->b)) return SYM_NOTHING;
        way[n++].after = rule_seq(t->b, rest, 2);
    }
    build_at(t->b, tag_child(t, at, keys[0]));
    return build_failed(t->b) ? SYM_NOTHING : tag_free_text(t, way, n, excludes, loop);
}
