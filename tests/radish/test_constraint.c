/* test_constraint.c - constrained requests through the embedding API, on the real default model: jump-forward and guesses change no text,
 * refusals come as an END that says why, cancelling and closing while something is compiled. Skips where no model is. */
#include <math.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mailbox.h"
#include "radish.h"
#include "test.h"

static char model_path[1024];

typedef struct {
    Buf text;
    Ids ids;
    RadishEvent end;
    char message[512];
    Mailbox *box;
    atomic_int ends;
} Answer;

static void on_event(void *ctx, const RadishEvent *e)
{
    Answer *a = ctx;
    buf_add(&a->text, e->text, e->n_text);
    if (e->kind == RADISH_EV_TOKEN) {
        assert_int_equal(e->index, a->ids.n);
        ids_push(&a->ids, e->token);
    }
    if (e->kind != RADISH_EV_END) return;
    a->end = *e;
    snprintf(a->message, sizeof a->message, "%s", e->message ? e->message : "");
    atomic_fetch_add(&a->ends, 1);
    mailbox_put(a->box, "", 1, NULL, 0);
}

static RadishRequest request(RadishConstraintKind kind, const char *text)
{
    RadishRequest q;
    radish_request_init(&q);
    q.text = "A person, as JSON:";
    q.n_text = strlen(q.text);
    q.max_new_tokens = 120;
    q.temperature = 0;
    q.constraint = kind;
    q.constraint_text = text;
    q.n_constraint_text = strlen(text);
    return q;
}

static void submit(Radish *r, RadishRequest q, Answer *a, uint64_t *id)
{
    RadishError err;
    memset(a, 0, sizeof *a);
    a->box = mailbox_new();
    q.on_event = on_event;
    q.ctx = a;
    if (radish_submit(r, &q, id, &err)) print_error("%s\n", err.text);
}

static void await(Answer *a)
{
    mailbox_wait(a->box);
    assert_int_equal(atomic_load(&a->ends), 1);
    mailbox_free(a->box);
}

static void forget(Answer *a)
{
    buf_free(&a->text);
    ids_free(&a->ids);
}

static Radish *open_radish(RadishOptions o)
{
    Radish *r;
    RadishError err;
    o.model_path = model_path;
    o.max_total_tokens = 8192;
    o.random_seed = 1;
    o.verify = true;
    if (radish_open(&o, &r, &err)) print_error("%s\n", err.text);
    return r;
}

/* The prompts show the form, so that a model writes it as the tokenizer would even token by token. Where it does not, appended text is
 * not the text it would have drawn, but the likelier one: what follows sees tokens as they are in all other text. */
static const struct {
    const char *prompt;
    RadishConstraintKind kind;
    const char *text, *options;
} forms[] = {
    { "Three persons:\n{\"full_name\":\"Ann Lee\",\"year_of_birth\":1980,\"marital_status\":\"married\"}\n"
      "{\"full_name\":\"Tom Hill\",\"year_of_birth\":1991,\"marital_status\":\"single\"}\n",
      RADISH_JSON_SCHEMA,
      "{\"type\":\"object\",\"properties\":{\"full_name\":{\"type\":\"string\",\"maxLength\":30},\"year_of_birth\":{"
      "\"type\":"
      "\"integer\",\"minimum\":1900,\"maximum\":2020},\"marital_status\":{\"enum\":[\"single\",\"married\","
      "\"divorced\"]}},"
      "\"required\":[\"full_name\",\"year_of_birth\",\"marital_status\"],\"additionalProperties\":false}",
      "{\"whitespace\":\"compact\"}" },
    { "A person, as JSON:", RADISH_REGEX,
      "\\{\"name\": \"[A-Z][a-z]{1,12}\", \"email\": \"[a-z]{1,12}@example\\.com\", \"active\": (true|false)\\}",
      NULL },
    { "Is it red? The answer to the question is: yes (as everybody knows).\nIs it blue? ", RADISH_EBNF,
      "root ::= \"The answer to the question is: \" answer \" (as everybody knows).\"\nanswer ::= [a-z]+", NULL },
    { "The results were definitely positive, definitely negative or neutral. Ours was ", RADISH_CHOICE,
      "[\"definitely positive\",\"definitely negative\",\"neutral\"]", NULL },
};

/* What three ways of running say to each form: drawn token by token; with forced text appended; and with guesses as well. */
static void test_same_text(void **state)
{
    (void)state;
    Radish *ways[3] = { open_radish((RadishOptions){ .disable_jump_forward = true }), open_radish((RadishOptions){ 0 }),
                        open_radish((RadishOptions){ .speculative = "ngram" }) };
    for (size_t f = 0; f < COUNT(forms); f++) {
        Answer a[3];
        for (int w = 0; w < 3; w++) {
            RadishRequest q = request(forms[f].kind, forms[f].text);
            q.constraint_options = forms[f].options;
            q.text = forms[f].prompt;
            q.n_text = strlen(q.text);
            submit(ways[w], q, &a[w], NULL);
            await(&a[w]);
            assert_int_equal(a[w].end.reason, RADISH_END_STOP);
            assert_int_equal(a[w].end.n_out, a[w].ids.n);
        }
        if (!str_eq(buf_view(&a[0].text), buf_view(&a[1].text)))
            print_error("%.*s\n%.*s\n", STR_FMT(buf_view(&a[0].text)), STR_FMT(buf_view(&a[1].text)));
        assert_true(str_eq(buf_view(&a[0].text), buf_view(&a[1].text)));
        assert_int_equal(a[1].ids.n, a[2].ids.n);
        assert_memory_equal(a[1].ids.p, a[2].ids.p, a[1].ids.n * sizeof *a[1].ids.p);
        for (int w = 0; w < 3; w++) forget(&a[w]);
    }
    RadishStats s[3];
    for (int w = 0; w < 3; w++) radish_stats(ways[w], &s[w]);
    assert_int_equal(s[0].jumped_tokens, 0);
    assert_true(s[1].jumped_tokens > 20 && s[1].jumped_tokens == s[2].jumped_tokens);
    assert_true(s[1].steps * 3 < s[0].steps * 2);
    for (int w = 0; w < 3; w++) radish_close(ways[w]);
}

static void test_refused(void **state)
{
    Radish *r = *state;
    static const struct {
        RadishConstraintKind kind;
        const char *text, *words;
        RadishStatus status;
    } bad[] = {
        { RADISH_REGEX, "(a", "byte 2", RADISH_INVALID },
        { RADISH_REGEX, "(?=a)b", "byte", RADISH_UNSUPPORTED },
        { RADISH_JSON_SCHEMA, "{\"properties\":{\"a\":{\"type\":\"foo\"}}}", "/properties/a/type", RADISH_INVALID },
        { RADISH_CHOICE, "[1]", "/0", RADISH_INVALID },
        { RADISH_EBNF, "root ::= other", "other", RADISH_INVALID },
        { RADISH_REGEX, "((a{1000}){1000}){1000}", "", RADISH_LIMIT },
    };
    for (int round = 0; round < 2; round++) /* the second time from the cache of failures */
        for (size_t i = 0; i < COUNT(bad); i++) {
            Answer a;
            submit(r, request(bad[i].kind, bad[i].text), &a, NULL);
            await(&a);
            if (a.end.reason == RADISH_END_STOP || a.end.reason == RADISH_END_LENGTH) { /* a limit generous enough */
                assert_int_equal(bad[i].status, RADISH_LIMIT);
                forget(&a);
                continue;
            }
            if (a.end.status != bad[i].status) print_error("%s: %s\n", bad[i].text, a.message);
            assert_int_equal(a.end.reason, RADISH_END_FAILED);
            assert_int_equal(a.end.status, bad[i].status);
            assert_non_null(strstr(a.message, bad[i].words));
            assert_int_equal(a.ids.n, 0);
            forget(&a);
        }
    RadishError err;
    RadishRequest q = request((RadishConstraintKind)99, "");
    q.on_event = on_event;
    assert_int_equal(radish_submit(r, &q, NULL, &err), RADISH_INVALID);
    Radish *ids_only = open_radish((RadishOptions){ .skip_tokenizer = true });
    static const int32_t one = 1;
    q = request(RADISH_REGEX, "a");
    q.on_event = on_event;
    q.ids = &one;
    q.n_ids = 1;
    assert_int_equal(radish_submit(ids_only, &q, NULL, &err), RADISH_INVALID);
    assert_non_null(strstr(err.text, "tokenizer"));
    radish_close(ids_only);
}

/* Cancelled at any moment: before, while and after its constraint is compiled. */
static void test_cancel(void **state)
{
    Radish *r = *state;
    for (int i = 0; i < 60; i++) {
        char pattern[64];
        Answer a;
        uint64_t id;
        snprintf(pattern, sizeof pattern, "([a-z]{%d} ){40}", i + 3); /* each is new */
        RadishRequest q = request(RADISH_REGEX, pattern);
        submit(r, q, &a, &id);
        if (i % 3) usleep((useconds_t)(i * 40));
        if (i % 2)
            radish_cancel(r, id);
        else
            radish_cancel_all(r);
        await(&a);
        assert_int_equal(a.end.reason, RADISH_END_CANCELLED);
        assert_true(a.end.request == id);
        forget(&a);
    }
}

static void test_close_while_compiling(void **state)
{
    (void)state;
    Radish *r = open_radish((RadishOptions){ 0 });
    Answer a[12];
    for (int i = 0; i < 12; i++) {
        char pattern[64];
        snprintf(pattern, sizeof pattern, "((a|b)*a(a|b){%d}c){5}", i + 20);
        submit(r, request(RADISH_REGEX, pattern), &a[i], NULL);
    }
    radish_close(r);
    for (int i = 0; i < 12; i++) {
        await(&a[i]);
        assert_true(a[i].end.reason == RADISH_END_CANCELLED || a[i].end.reason == RADISH_END_FAILED);
        forget(&a[i]);
    }
}

static int open_one(void **state)
{
    *state = open_radish((RadishOptions){ 0 });
    return *state == NULL;
}

static int close_one(void **state)
{
    radish_close(*state);
    return 0;
}

int main(void)
{
    const char *given = getenv("RADISH_MODEL"), *home = getenv("HOME");
    struct stat st;
    if (given)
        snprintf(model_path, sizeof model_path, "%s", given);
    else
        snprintf(model_path, sizeof model_path, "%s/.cache/radish/models/SmolLM2-135M-Instruct.Q4_1.gguf",
                 home ? home : "");
    if (stat(model_path, &st) != 0) {
        printf("SKIPPED: no default model; `make model` fetches it\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_text),
        cmocka_unit_test_setup_teardown(test_refused, open_one, close_one),
        cmocka_unit_test_setup_teardown(test_cancel, open_one, close_one),
        cmocka_unit_test(test_close_while_compiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
