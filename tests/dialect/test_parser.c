/* test_parser.c - what outputs mean, however they are cut: every dialect's examples and damaged ones, whole and in pieces. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "dialect/dialect.h"

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
/* clang-format on */

#include "dialect/cases.h"

typedef struct {
    Buf text; /* events joined, as in cases.h */
    DialectEventKind kind;
    int calls;
    bool open;
    Buf args;
    Buf ids;
} Heard;

static void part(Heard *h, const char *what)
{
    if (h->text.n) buf_char(&h->text, '|');
    buf_str(&h->text, str_of(what));
}

static void hear(void *ctx, const DialectEvent *e)
{
    Heard *h = ctx;
    bool goes_on = h->text.n && h->kind == e->kind;
    switch (e->kind) {
    case DIALECT_REASONING:
    case DIALECT_CONTENT:
        assert_false(h->open);
        assert_true(e->text.n > 0);
        if (!goes_on) part(h, e->kind == DIALECT_REASONING ? "R:" : "C:");
        buf_str(&h->text, e->text);
        break;
    case DIALECT_CALL:
        assert_false(h->open);
        assert_int_equal(e->call, h->calls);
        assert_true(e->id.n > 0 && e->name.n > 0);
        h->calls++;
        h->open = true;
        buf_clear(&h->args);
        part(h, "");
        buf_printf(&h->text, "%d:%.*s(", e->call, STR_FMT(e->name));
        buf_printf(&h->ids, "%.*s ", STR_FMT(e->id));
        break;
    case DIALECT_ARGUMENTS:
        assert_true(h->open && e->call == h->calls - 1);
        buf_str(&h->text, e->text);
        buf_str(&h->args, e->text);
        break;
    case DIALECT_CALL_END:
        assert_true(h->open && e->call == h->calls - 1);
        h->open = false;
        buf_char(&h->text, ')');
        break;
    }
    h->kind = e->kind;
}

static void heard_free(Heard *h)
{
    buf_free(&h->text);
    buf_free(&h->args);
    buf_free(&h->ids);
}

static DialectTools *tools(void)
{
    DialectTools *t;
    Err err;
    if (dialect_tools_read(STR(tools_json), &t, &err) != OK) fail_msg("%s", err.text);
    return t;
}

static DialectOptions options(const Case *c, const DialectTools *t)
{
    DialectOptions o = { .tools = t, .inside = c->inside, .seed = 7 };
    if (c->dialect) o.dialect = dialect_find(str_of(c->dialect));
    if (c->reasoning) o.reasoning = dialect_reasoning_find(str_of(c->reasoning));
    assert_true((!c->dialect || o.dialect) && (!c->reasoning || o.reasoning));
    return o;
}

/* Feeds pieces of 1 to `most` bytes, drawn from rng; most 0: all at once. */
static Heard listen(const DialectOptions *o, Str text, size_t most, Rng *rng)
{
    Heard h = { 0 };
    DialectParser *p = dialect_parser_new(o, hear, &h);
    for (size_t i = 0; i < text.n;) {
        size_t n = most ? 1 + rng_below(rng, (uint32_t)most) : text.n;
        n = MIN(n, text.n - i);
        dialect_parser_feed(p, str_cut(text, i, i + n));
        i += n;
    }
    dialect_parser_finish(p);
    assert_false(h.open);
    assert_int_equal(dialect_parser_calls(p), h.calls);
    dialect_parser_free(p);
    return h;
}

static void same(Heard *a, Heard *b, Str text)
{
    bool equal = str_eq(buf_view(&a->text), buf_view(&b->text)) && str_eq(buf_view(&a->ids), buf_view(&b->ids));
    if (!equal)
        fail_msg("cut differently, \"%.*s\" is\n%.*s\nand\n%.*s", STR_FMT(text), STR_FMT(a->text), STR_FMT(b->text));
}

static void check_cuts(const DialectOptions *o, Str text, uint64_t seed)
{
    Rng rng = { seed };
    Heard whole = listen(o, text, 0, &rng);
    static const size_t most[] = { 1, 2, 3, 7, 20 };
    for (size_t i = 0; i < COUNT(most); i++) {
        Heard cut = listen(o, text, most[i], &rng);
        same(&whole, &cut, text);
        heard_free(&cut);
    }
    heard_free(&whole);
}

static void test_meanings(void **state)
{
    (void)state;
    DialectTools *t = tools();
    for (size_t i = 0; i < COUNT(cases); i++) {
        DialectOptions o = options(&cases[i], t);
        Heard h = listen(&o, str_of(cases[i].text), 0, NULL);
        if (!str_is(buf_view(&h.text), cases[i].meaning))
            fail_msg("case %zu, %s: \"%s\" is\n%.*s\nnot\n%s", i, cases[i].dialect, cases[i].text, STR_FMT(h.text),
                     cases[i].meaning);
        heard_free(&h);
    }
    dialect_tools_free(t);
}

/* In two pieces at every place, and in pieces of any size. */
static void test_cuts(void **state)
{
    (void)state;
    DialectTools *t = tools();
    for (size_t i = 0; i < COUNT(cases); i++) {
        DialectOptions o = options(&cases[i], t);
        Str text = str_of(cases[i].text);
        for (size_t at = 1; at < text.n; at++) {
            Heard h = { 0 };
            DialectParser *p = dialect_parser_new(&o, hear, &h);
            dialect_parser_feed(p, str_cut(text, 0, at));
            dialect_parser_feed(p, str_cut(text, at, text.n));
            dialect_parser_finish(p);
            dialect_parser_free(p);
            if (!str_is(buf_view(&h.text), cases[i].meaning))
                fail_msg("case %zu cut at %zu: \"%s\" is\n%.*s\nnot\n%s", i, at, cases[i].text, STR_FMT(h.text),
                         cases[i].meaning);
            heard_free(&h);
        }
        check_cuts(&o, text, i);
    }
    dialect_tools_free(t);
}

/* A text with bytes taken out, put in, doubled, and cut short. */
static void damage(Str text, Rng *rng, Buf *out)
{
    static const char odd[] = "<>{}[]|\"'\\\n :,/=()xT1.-`\xe2";
    buf_clear(out);
    for (size_t i = 0; i < text.n; i++) {
        uint32_t luck = rng_below(rng, 60);
        if (luck == 0) continue;
        if (luck == 1) buf_char(out, odd[rng_below(rng, sizeof odd - 1)]);
        uint32_t again = luck == 2 ? rng_below(rng, 12) : 0;
        i -= MIN(i, again);
        buf_char(out, text.p[i]);
        if (out->n > 4 * text.n + 100) break;
    }
    if (rng_below(rng, 3) == 0) out->n = rng_below(rng, (uint32_t)out->n + 1);
}

static void test_damaged(void **state)
{
    (void)state;
    DialectTools *t = tools();
    Rng rng = { 5 };
    Buf text = { 0 };
    for (int round = 0; round < 150; round++) {
        for (size_t i = 0; i < COUNT(cases); i++) {
            DialectOptions o = options(&cases[i], t);
            damage(str_of(cases[i].text), &rng, &text);
            check_cuts(&o, text.n ? buf_view(&text) : STR(""), rng_next(&rng));
        }
    }
    buf_free(&text);
    dialect_tools_free(t);
}

/* Several outputs in a row: calls, thoughts and text of one dialect, in any order. */
static void test_joined(void **state)
{
    (void)state;
    DialectTools *t = tools();
    Rng rng = { 9 };
    Buf text = { 0 };
    for (int round = 0; round < 2000; round++) {
        size_t first = rng_below(&rng, COUNT(cases));
        DialectOptions o = options(&cases[first], t);
        buf_clear(&text);
        for (int n = 0; n < 4; n++) {
            size_t i = rng_below(&rng, COUNT(cases));
            bool fits = cases[i].dialect && cases[first].dialect && !strcmp(cases[i].dialect, cases[first].dialect);
            if (n == 0) i = first;
            if (n == 0 || fits) buf_str(&text, str_of(cases[i].text));
        }
        check_cuts(&o, buf_view(&text), rng_next(&rng));
    }
    buf_free(&text);
    dialect_tools_free(t);
}

/* Arguments of complete calls read as JSON. */
static void test_made_json(void **state)
{
    (void)state;
    DialectTools *t = tools();
    for (size_t i = 0; i < COUNT(cases); i++) {
        DialectOptions o = options(&cases[i], t);
        Heard h = listen(&o, str_of(cases[i].text), 0, NULL);
        Str m = str_of(cases[i].meaning);
        if (h.calls && str_ends(m, STR("})"))) {
            json_error_t why;
            json_t *x = json_loadb(h.args.p, h.args.n, 0, &why);
            if (!x) fail_msg("case %zu: %.*s: %s", i, STR_FMT(h.args), why.text);
            json_decref(x);
        }
        heard_free(&h);
    }
    dialect_tools_free(t);
}

/* Only what may become a mark is held back. */
typedef struct {
    size_t n;
} Count;

static void count(void *ctx, const DialectEvent *e)
{
    if (e->kind == DIALECT_CONTENT || e->kind == DIALECT_ARGUMENTS) ((Count *)ctx)->n += e->text.n;
}

static void test_prompt(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t told;
    } steps[] = { { "Hello", 5 },     { " <", 6 },
                  { "b", 8 },         { " <tool_cal", 9 },
                  { "s", 19 },        { "\n", 19 },
                  { "x", 21 },        { "<tool_call>{\"name\":\"now\",\"arguments\":{\"a\":", 21 + 5 },
                  { "\"xyz", 21 + 9 } };
    DialectOptions o = { .dialect = dialect_find(STR("hermes")) };
    Count c = { 0 };
    DialectParser *p = dialect_parser_new(&o, count, &c);
    for (size_t i = 0; i < COUNT(steps); i++) {
        dialect_parser_feed(p, str_of(steps[i].text));
        if (c.n != steps[i].told) fail_msg("after \"%s\": %zu bytes told, not %zu", steps[i].text, c.n, steps[i].told);
    }
    dialect_parser_free(p);
}

static void test_whole_reasoning(void **state)
{
    (void)state;
    Heard h = { 0 };
    DialectOptions o = { .reasoning = dialect_reasoning_find(STR("qwen3")), .inside = true, .whole_reasoning = true };
    DialectParser *p = dialect_parser_new(&o, hear, &h);
    dialect_parser_feed(p, STR("one "));
    dialect_parser_feed(p, STR("two"));
    assert_int_equal(h.text.n, 0);
    dialect_parser_feed(p, STR("</think>"));
    assert_true(str_is(buf_view(&h.text), "R:one two"));
    dialect_parser_finish(p);
    dialect_parser_free(p);
    heard_free(&h);
}

static void test_ids(void **state)
{
    (void)state;
    static const struct {
        const char *dialect, *text, *id;
        size_t n;
    } some[] = {
        { "hermes", "<tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>", "call_", 29 },
        { "mistral", "[TOOL_CALLS]now[ARGS]{}", "", 9 },
        { "mistral", "[TOOL_CALLS]now[CALL_ID]abcdefghi[ARGS]{}", "abcdefghi", 9 },
        { "kimi_k2", "<|tool_call_begin|>functions.now:4<|tool_call_argument_begin|>{}<|tool_call_end|>",
          "functions.now:4", 15 },
        { "kimi_k2", "<|tool_call_begin|>now<|tool_call_argument_begin|>{}<|tool_call_end|>", "functions.now:3", 15 },
    };
    for (size_t i = 0; i < COUNT(some); i++) {
        DialectOptions o = { .dialect = dialect_find(str_of(some[i].dialect)), .seed = i, .first_call = 3 };
        Heard a = listen(&o, str_of(some[i].text), 0, NULL);
        o.seed += 100;
        Heard b = listen(&o, str_of(some[i].text), 0, NULL);
        assert_int_equal(a.ids.n, some[i].n + 1);
        assert_true(str_starts(buf_view(&a.ids), str_of(some[i].id)));
        bool drawn = strlen(some[i].id) < some[i].n;
        assert_int_equal(str_eq(buf_view(&a.ids), buf_view(&b.ids)), !drawn);
        heard_free(&a);
        heard_free(&b);
    }
}

/* An id that the model writes twice is kept once: results could not be told apart. */
static void test_ids_differ(void **state)
{
    (void)state;
    DialectOptions o = { .dialect = dialect_find(STR("kimi_k2")) };
    Buf text = { 0 };
    for (int i = 0; i < 3; i++)
        buf_str(&text, STR("<|tool_call_begin|>functions.f:1<|tool_call_argument_begin|>{}<|tool_call_end|>"));
    Heard h = listen(&o, buf_view(&text), 0, NULL);
    assert_true(str_is(buf_view(&h.ids), "functions.f:1 functions.f:2 functions.f:3 "));
    heard_free(&h);
    buf_free(&text);
}

static void test_one_call(void **state)
{
    (void)state;
    DialectTools *t = tools();
    for (size_t i = 0; i < COUNT(cases); i++) {
        DialectOptions o = options(&cases[i], t);
        Heard all = listen(&o, str_of(cases[i].text), 0, NULL);
        o.one_call = true;
        Heard one = listen(&o, str_of(cases[i].text), 0, NULL);
        assert_int_equal(one.calls, MIN(all.calls, 1));
        if (all.calls <= 1) same(&all, &one, str_of(cases[i].text));
        heard_free(&all);
        heard_free(&one);
    }
    dialect_tools_free(t);
}

/* Work stays in proportion to the text. */
static void test_long(void **state)
{
    (void)state;
    DialectOptions o = { .dialect = dialect_find(STR("hermes")) };
    Buf text = { 0 };
    for (int i = 0; i < 40000; i++) buf_str(&text, STR("<tool_call>{\"a\":"));
    Heard h = listen(&o, buf_view(&text), 0, NULL);
    assert_int_equal(h.calls, 0);
    assert_int_equal(h.text.n, text.n + 2);
    heard_free(&h);
    buf_clear(&text);
    buf_str(&text, STR("<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\""));
    for (int i = 0; i < 3 * DIALECT_MAX_HOLD; i++) buf_char(&text, 'x');
    buf_str(&text, STR("\"}}</tool_call>"));
    Heard l = listen(&o, buf_view(&text), 0, NULL);
    assert_int_equal(l.calls, 1);
    assert_int_equal(l.args.n, 8 + 3 * DIALECT_MAX_HOLD);
    heard_free(&l);
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meanings),        cmocka_unit_test(test_cuts),      cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_joined),          cmocka_unit_test(test_made_json), cmocka_unit_test(test_prompt),
        cmocka_unit_test(test_whole_reasoning), cmocka_unit_test(test_ids),       cmocka_unit_test(test_ids_differ),
        cmocka_unit_test(test_one_call),        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
