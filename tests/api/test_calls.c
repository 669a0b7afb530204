/* test_calls.c - one description, two uses: what a constraint lets through, the parser reads as the calls that were asked for.
 *
 * For every dialect: the structural tag is compiled against a vocabulary of bytes, outputs are drawn along its masks, and the
 * parser's arguments must be JSON that has what the tools require. The examples of the dialects are accepted too. */
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

#include "grammar/grammar.h"
#include "grammar/vocab_of.h"

/* No free strings within "where": as JSON in an element they could hold the mark that ends the element. */
static const char tools_json[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"strict\":true,\"parameters\":{\"type\":"
    "\"object\","
    "\"properties\":{\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\"},\"where\":{\"type\":\"object\","
    "\"properties\":{\"x\":{\"type\":\"boolean\"},\"y\":{\"enum\":[\"p\",\"q\"]}},\"required\":[\"x\",\"y\"],"
    "\"additionalProperties\":false}},\"required\":[\"city\",\"days\",\"where\"],\"additionalProperties\":false}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"unit\",\"strict\":true,\"parameters\":{\"type\":\"object\","
    "\"properties\":{\"name\":{\"enum\":[\"C\",\"F\"]},\"on\":{\"type\":\"boolean\"}},\"required\":[\"on\"],"
    "\"additionalProperties\":false}}}]";

enum { STEPS_MAX = 4000, DRAWS = 30 };

typedef struct {
    Buf args, content, reasoning;
    int calls;
    char last[64];
    Str whole;
} Heard;

static void check_call(Heard *h)
{
    json_error_t why;
    json_t *x = json_loadb(h->args.p, h->args.n, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &why);
    if (!x) fail_msg("%s(%.*s): %s in %.*s", h->last, STR_FMT(h->args), why.text, STR_FMT(h->whole));
    const json_t *where = json_object_get(x, "where");
    bool weather = json_is_string(json_object_get(x, "city")) && json_is_number(json_object_get(x, "days")) &&
                   json_is_boolean(json_object_get(where, "x")) && json_is_string(json_object_get(where, "y"));
    bool unit = json_is_boolean(json_object_get(x, "on"));
    if (strcmp(h->last, "unit") ? !weather : !unit)
        fail_msg("%s(%.*s) of %.*s", h->last, STR_FMT(h->args), STR_FMT(h->whole));
    json_decref(x);
}

static void hear(void *ctx, const DialectEvent *e)
{
    Heard *h = ctx;
    switch (e->kind) {
    case DIALECT_REASONING: buf_str(&h->reasoning, e->text); break;
    case DIALECT_CONTENT: buf_str(&h->content, e->text); break;
    case DIALECT_CALL:
        h->calls++;
        buf_clear(&h->args);
        snprintf(h->last, sizeof h->last, "%.*s", STR_FMT(e->name));
        break;
    case DIALECT_ARGUMENTS: buf_str(&h->args, e->text); break;
    case DIALECT_CALL_END: check_call(h); break;
    }
}

static void heard_free(Heard *h)
{
    buf_free(&h->args);
    buf_free(&h->content);
    buf_free(&h->reasoning);
}

static bool is_special(void *arg, int32_t id)
{
    Str s = ((Tokens *)arg)->token[id];
    return id == ((Tokens *)arg)->end || (id >= 256 && (str_starts(s, STR("<|")) || str_starts(s, STR("<｜")) ||
                                                        str_starts(s, STR("｜")) || s.p[0] == '['));
}

static void add_mark(void *arg, Str mark)
{
    Tokens *t = arg;
    for (int i = 0; i < t->n; i++)
        if (str_eq(t->token[i], mark)) return;
    /* Several tokens. */
    bool inner = str_find(mark, STR("<"), 1) != SIZE_MAX || str_find(mark, STR("｜DSML"), 1) != SIZE_MAX;
    if (mark.n > 4 && mark.n < 60 && !inner) tokens_add(t, mark.p, mark.n);
}

/* Bytes, and the marks of all dialects: those that look so are special tokens, the others text. */
static GrammarVocab *vocab(Tokens *t)
{
    tokens_add_bytes(t);
    for (size_t i = 0; dialect_at(i); i++) dialect_marks(dialect_at(i), NULL, add_mark, t);
    for (size_t i = 0; dialect_reasoning_at(i); i++) dialect_marks(NULL, dialect_reasoning_at(i), add_mark, t);
    t->end = t->n;
    tokens_add(t, "<end>", 5);
    GrammarVocabSpec spec = { t->n, tokens_bytes, is_special, t, &t->end, 1 };
    return grammar_vocab_new(&spec);
}

/* Draws along the masks; marks and brackets are liked, so that outputs end. False: it did not. */
static bool draw(GrammarMatcher *m, const Tokens *t, Rng *rng, Buf *out)
{
    uint32_t words[(4096 + 31) / 32];
    int allowed[512];
    buf_clear(out);
    for (int step = 0; step < STEPS_MAX; step++) {
        int n = 0, liked[64], n_liked = 0;
        assert_true(grammar_mask(m, words, COUNT(words)));
        for (int id = 0; id < t->n; id++) {
            if (!(words[id / 32] >> (id % 32) & 1)) continue;
            if (id == t->end) {
                if (rng_below(rng, 2) == 0) return true;
                continue;
            }
            allowed[n++] = id;
            bool mark = id >= 256 || (id && strchr("\"<}])|>/", id));
            if (mark && n_liked < 64) liked[n_liked++] = id;
        }
        if (n == 0) return true; /* only the end */
        int id = n_liked && rng_below(rng, 3) ? liked[rng_below(rng, (uint32_t)n_liked)]
                                              : allowed[rng_below(rng, (uint32_t)n)];
        assert_true(grammar_accept(m, id));
        buf_str(out, t->token[id]);
    }
    return false;
}

static Grammar *compile(GrammarVocab *v, const DialectRules *r)
{
    Buf text = { 0 };
    Grammar *g;
    GrammarError err = { 0 };
    dialect_constraint(r, &text);
    assert_true(text.n > 0);
    GrammarSpec spec = { GRAMMAR_STRUCTURAL_TAG, buf_view(&text), STR("") };
    if (grammar_compile(v, &spec, NULL, NULL, &g, &err) != OK)
        fail_msg("%s: %s at %s in %.*s", r->dialect ? dialect_name(r->dialect) : "-", err.err.text, err.pointer,
                 STR_FMT(text));
    buf_free(&text);
    return g;
}

static Heard parse(const DialectRules *r, Str text)
{
    Heard h = { .whole = text };
    DialectOptions o = {
        .dialect = r->dialect, .tools = r->tools, .reasoning = r->reasoning, .inside = r->thinking == DIALECT_INSIDE
    };
    DialectParser *p = dialect_parser_new(&o, hear, &h);
    dialect_parser_feed(p, text);
    dialect_parser_finish(p);
    dialect_parser_free(p);
    return h;
}

static DialectTools *tools(void)
{
    DialectTools *t;
    Err err;
    if (dialect_tools_read(STR(tools_json), &t, &err) != OK) fail_msg("%s", err.text);
    return t;
}

static void check_draws(GrammarVocab *v, const Tokens *t, const DialectRules *r, uint64_t seed)
{
    Grammar *g = compile(v, r);
    Rng rng = { seed };
    Buf out = { 0 };
    int ended = 0;
    for (int i = 0; i < DRAWS; i++) {
        GrammarMatcher *m = grammar_matcher_new(g);
        if (draw(m, t, &rng, &out)) {
            Heard h = parse(r, buf_view(&out));
            ended++;
            if (h.calls < 1 || h.content.n || (!r->parallel && h.calls > 1))
                fail_msg("%s: %d calls and \"%.*s\" in %.*s", dialect_name(r->dialect), h.calls, STR_FMT(h.content),
                         STR_FMT(out));
            if (r->choice == DIALECT_NAMED) assert_string_equal(h.last, "unit");
            heard_free(&h);
        }
        grammar_matcher_free(m);
    }
    if (ended < 3) fail_msg("%s: only %d of %d outputs ended", dialect_name(r->dialect), ended, DRAWS);
    buf_free(&out);
    grammar_drop(g);
}

static void test_required(void **state)
{
    (void)state;
    static Tokens t;
    GrammarVocab *v = vocab(&t);
    DialectTools *list = tools();
    for (size_t i = 0; dialect_at(i); i++) {
        DialectRules r = { .dialect = dialect_at(i), .tools = list, .choice = DIALECT_REQUIRED, .parallel = true };
        check_draws(v, &t, &r, i);
        r.parallel = false;
        check_draws(v, &t, &r, i + 100);
        r.choice = DIALECT_NAMED;
        r.named = 1;
        r.parallel = true;
        check_draws(v, &t, &r, i + 200);
    }
    dialect_tools_free(list);
    grammar_vocab_drop(v);
}

static void test_reasoning_first(void **state)
{
    (void)state;
    static Tokens t;
    GrammarVocab *v = vocab(&t);
    DialectTools *list = tools();
    static const char *const pairs[][2] = {
        { "hermes", "qwen3" }, { "deepseek_v31", "qwen3" }, { "gpt-oss", "gpt-oss" }, { "cohere", "cohere" }
    };
    for (size_t i = 0; i < COUNT(pairs); i++) {
        DialectRules r = { .dialect = dialect_find(str_of(pairs[i][0])),
                           .reasoning = dialect_reasoning_find(str_of(pairs[i][1])),
                           .tools = list,
                           .choice = DIALECT_REQUIRED,
                           .thinking = DIALECT_MAY_REASON };
        check_draws(v, &t, &r, i);
        if (!strcmp(pairs[i][0], "gpt-oss")) continue; /* has no inside */
        r.thinking = DIALECT_INSIDE;
        check_draws(v, &t, &r, i);
    }
    dialect_tools_free(list);
    grammar_vocab_drop(v);
}

/* ---- single texts ---- */

static bool accepts(GrammarVocab *v, const DialectRules *r, const char *text)
{
    Grammar *g = compile(v, r);
    GrammarMatcher *m = grammar_matcher_new(g);
    bool ok = grammar_accept_bytes(m, str_of(text)) && grammar_can_end(m);
    grammar_matcher_free(m);
    grammar_drop(g);
    return ok;
}

static bool accept_each(GrammarMatcher *m, const char *bytes)
{
    for (; *bytes; bytes++)
        if (!grammar_accept(m, (unsigned char)*bytes)) return false;
    return true;
}

static int token_of(const Tokens *t, const char *mark)
{
    int id = 256;
    while (!str_is(t->token[id], mark)) id++;
    return id;
}

/* Bytes, one token, bytes, and perhaps another token. */
static bool accepts_tokens(GrammarVocab *v, const Tokens *t, const DialectRules *r, const char *a, const char *mark,
                           const char *b, const char *end)
{
    Grammar *g = compile(v, r);
    GrammarMatcher *m = grammar_matcher_new(g);
    bool ok = accept_each(m, a) && grammar_accept(m, token_of(t, mark)) && accept_each(m, b) &&
              (!end || grammar_accept(m, token_of(t, end))) && grammar_can_end(m);
    grammar_matcher_free(m);
    grammar_drop(g);
    return ok;
}

static void test_choices(void **state)
{
    (void)state;
    static Tokens t;
    GrammarVocab *v = vocab(&t);
    DialectTools *list = tools();
    static const char call[] = "<tool_call>\n{\"name\": \"unit\", \"arguments\": {\"on\":true}}\n</tool_call>";
    static const char wrong[] = "<tool_call>\n{\"name\": \"unit\", \"arguments\": {\"on\":1}}\n</tool_call>";
    DialectRules r = { .dialect = dialect_find(STR("hermes")), .tools = list, .parallel = true };
    assert_true(accepts(v, &r, "Just words."));
    assert_true(accepts(v, &r, call));
    assert_false(accepts(v, &r, wrong));
    r.choice = DIALECT_NONE;
    assert_true(accepts(v, &r, "Just <b>words</b>."));
    assert_false(accepts(v, &r, call));
    r.choice = DIALECT_REQUIRED;
    assert_false(accepts(v, &r, "Just words."));
    assert_true(accepts(v, &r, call));
    r.choice = DIALECT_AUTO;
    r.answer = STR("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"],"
                   "\"additionalProperties\":false}");
    assert_true(accepts(v, &r, call));
    assert_true(accepts(v, &r, "{\"a\":1}"));
    assert_false(accepts(v, &r, "words"));
    r.thinking = DIALECT_INSIDE;
    r.reasoning = dialect_reasoning_find(STR("qwen3"));
    assert_true(accepts(v, &r, "Hm {\n</think>\n\n{\"a\":1}"));
    assert_false(accepts(v, &r, "{\"a\":1}"));
    /* Words within marks that are tokens. */
    DialectRules marked = { .dialect = dialect_find(STR("cohere")), .tools = list, .parallel = true };
    assert_true(accepts_tokens(v, &t, &marked, "", "<|START_RESPONSE|>", "words", "<|END_RESPONSE|>"));
    assert_true(accepts(v, &marked, "words"));
    /* Thoughts of at most three tokens, which are bytes here. */
    DialectRules brief = { .reasoning = r.reasoning, .thinking = DIALECT_INSIDE, .thinking_tokens = 3 };
    assert_true(accepts_tokens(v, &t, &brief, "abc", "</think>", "words", NULL));
    assert_true(accepts_tokens(v, &t, &brief, "a", "</think>", "", NULL));
    assert_false(accepts_tokens(v, &t, &brief, "abcd", "</think>", "words", NULL));
    dialect_tools_free(list);
    /* Nothing to enforce: no text at all. */
    Buf out = { 0 };
    Err err;
    assert_int_equal(dialect_tools_read(STR("[{\"function\":{\"name\":\"f\"}}]"), &list, &err), OK);
    DialectRules loose = { .dialect = dialect_find(STR("hermes")), .tools = list, .parallel = true };
    dialect_constraint(&loose, &out);
    assert_int_equal(out.n, 0);
    dialect_tools_free(list);
    grammar_vocab_drop(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_required),
        cmocka_unit_test(test_reasoning_first),
        cmocka_unit_test(test_choices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
