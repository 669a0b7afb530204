/* test_radish.c - the embedding API on the real default model: answers, determinism, stop strings, cancelling, the prefix cache,
 * refusals; and the example program. Skips where no model is (RADISH_MODEL, or the user's cache folder). */
#include <math.h>
#include <sys/stat.h>

#include "base/mailbox.h"
#include "radish.h"
#include "test.h"

static char model_path[1024];
static Radish *r;

typedef struct {
    RadishEvent e;
    char matched[64];
} Note;

static void on_event(void *ctx, const RadishEvent *e)
{
    Note n = { .e = *e };
    if (e->matched_stop) snprintf(n.matched, sizeof n.matched, "%s", e->matched_stop);
    mailbox_put(ctx, &n, sizeof n, e->text, e->n_text);
}

typedef struct {
    Buf text;
    Ids ids;
    float logprob[64];
    int n_prompt_logprobs, ends;
    Note end, started;
} Answer;

static void take(const Note *n, size_t size, Answer *a)
{
    buf_add(&a->text, n + 1, size - sizeof *n);
    if (n->e.kind == RADISH_EV_STARTED) a->started = *n;
    if (n->e.kind == RADISH_EV_PROMPT_LOGPROB) a->n_prompt_logprobs++;
    if (n->e.kind == RADISH_EV_TOKEN) {
        if (a->ids.n < COUNT(a->logprob)) a->logprob[a->ids.n] = n->e.logprob;
        ids_push(&a->ids, n->e.token);
    }
    if (n->e.kind == RADISH_EV_END) {
        a->end = *n;
        a->ends++;
    }
}

static void ask(RadishRequest *q, Answer *a)
{
    RadishError err;
    Mailbox *box = mailbox_new();
    memset(a, 0, sizeof *a);
    q->on_event = on_event;
    q->ctx = box;
    assert_int_equal(radish_submit(r, q, NULL, &err), RADISH_OK);
    while (!a->ends && mailbox_wait(box)) {
        size_t n;
        for (const Note *note; (note = mailbox_next(box, &n));) take(note, n, a);
    }
    mailbox_free(box);
}

static void forget(Answer *a)
{
    buf_free(&a->text);
    ids_free(&a->ids);
}

static void request(RadishRequest *q, const char *text, int max_new)
{
    radish_request_init(q);
    q->text = text;
    q->n_text = strlen(text);
    q->max_new_tokens = max_new;
    q->temperature = 0;
}

static const char prompt[] = "The capital of France is";

static void test_greedy(void **state)
{
    (void)state;
    RadishRequest q;
    Answer a, b;
    request(&q, prompt, 8);
    q.top_logprobs = 2;
    ask(&q, &a);
    assert_int_equal(a.end.e.reason, RADISH_END_LENGTH);
    assert_int_equal(a.end.e.n_out, 8);
    assert_int_equal(a.ids.n, 8);
    assert_true(str_starts(buf_view(&a.text), STR(" Paris")));
    for (int i = 0; i < 8; i++) assert_true(a.logprob[i] <= 0 && a.logprob[i] > -20);
    ask(&q, &b); /* the same again, whatever the cache holds now */
    assert_true(str_eq(buf_view(&a.text), buf_view(&b.text)));
    char *text;
    size_t n;
    RadishError err;
    assert_int_equal(radish_detokenize(r, a.ids.p, a.ids.n, true, &text, &n, &err), RADISH_OK);
    assert_true(str_eq(buf_view(&a.text), (Str){ text, n }));
    radish_string_free(text);
    forget(&a);
    forget(&b);
}

static void test_seed(void **state)
{
    (void)state;
    RadishRequest q;
    Answer a, b, c;
    request(&q, "Once upon a time", test_is_slow() ? 6 : 16);
    q.temperature = 1;
    q.has_seed = true;
    q.seed = 7;
    ask(&q, &a);
    ask(&q, &b);
    q.seed = 8;
    ask(&q, &c);
    assert_true(str_eq(buf_view(&a.text), buf_view(&b.text)));
    assert_false(str_eq(buf_view(&a.text), buf_view(&c.text)));
    forget(&a);
    forget(&b);
    forget(&c);
}

static void test_stop(void **state)
{
    (void)state;
    RadishRequest q;
    Answer a, b;
    const char *stop[] = { "nowhere to be found", "aris" };
    request(&q, prompt, 32);
    q.stop = stop;
    q.n_stop = 2;
    ask(&q, &a);
    assert_true(str_is(buf_view(&a.text), " P"));
    assert_int_equal(a.end.e.reason, RADISH_END_STOP);
    assert_string_equal(a.end.matched, "aris");
    q.keep_stop = true;
    ask(&q, &b);
    assert_true(str_is(buf_view(&b.text), " Paris"));
    forget(&a);
    forget(&b);
}

static void test_prompt_logprobs(void **state)
{
    (void)state;
    RadishRequest q;
    Answer a;
    request(&q, prompt, 0);
    q.prompt_logprobs_from = 0;
    ask(&q, &a);
    assert_int_equal(a.n_prompt_logprobs, a.started.e.n_prompt);
    assert_int_equal(a.end.e.n_out, 0);
    forget(&a);
}

static void test_cache(void **state)
{
    (void)state;
    RadishError err;
    RadishRequest q;
    Answer a, b, c;
    Buf text = { 0 };
    int n_lines = test_is_slow() ? 8 : 60;
    for (int i = 0; i < n_lines; i++) buf_printf(&text, "Line %d of a prefix that is shared. ", i);
    buf_char(&text, 0);
    assert_int_equal(radish_flush_cache(r, 2000, &err), RADISH_OK);
    request(&q, text.p, 4);
    ask(&q, &a);
    assert_int_equal(a.started.e.n_cached, 0);
    ask(&q, &b);
    assert_int_equal(b.started.e.n_cached,
                     (a.started.e.n_prompt - 1) / 16 * 16); /* whole pages, and one token left to run */
    assert_true(str_eq(buf_view(&a.text), buf_view(&b.text)));
    q.cache_salt = "someone else";
    ask(&q, &c);
    assert_int_equal(c.started.e.n_cached, 0);
    assert_true(str_eq(buf_view(&a.text), buf_view(&c.text)));
    forget(&a);
    forget(&b);
    forget(&c);
    buf_free(&text);
}

static void test_cancel(void **state)
{
    (void)state;
    enum { N = 24 };
    RadishError err;
    RadishRequest q;
    Mailbox *box = mailbox_new();
    uint64_t id[N];
    request(&q, "Count from one to a thousand: one, two,", 400);
    q.ignore_eos = true;
    q.on_event = on_event;
    q.ctx = box;
    for (int i = 0; i < N; i++) assert_int_equal(radish_submit(r, &q, &id[i], &err), RADISH_OK);
    for (int i = 0; i < N; i++) radish_cancel(r, id[i]);
    int ends = 0;
    while (ends < N && mailbox_wait(box)) {
        size_t n;
        for (const Note *note; (note = mailbox_next(box, &n));) {
            if (note->e.kind != RADISH_EV_END) continue;
            ends++;
            assert_int_equal(note->e.reason, RADISH_END_CANCELLED);
        }
    }
    assert_int_equal(radish_flush_cache(r, 2000, &err), RADISH_OK);
    RadishStats s;
    radish_stats(r, &s);
    assert_int_equal(s.running + s.waiting, 0);
    assert_int_equal(s.kv_pages, s.kv_pages_free); /* nothing leaked */
    mailbox_free(box);
}

static void test_refusals(void **state)
{
    (void)state;
    RadishError err;
    RadishRequest q;
    request(&q, prompt, 1);
    q.on_event = on_event;
    q.temperature = -1;
    assert_int_equal(radish_submit(r, &q, NULL, &err), RADISH_INVALID);
    assert_non_null(strstr(err.text, "temperature"));
    q.temperature = NAN;
    assert_int_equal(radish_submit(r, &q, NULL, &err), RADISH_INVALID);
    request(&q, prompt, 1 << 20);
    q.on_event = on_event;
    assert_int_equal(radish_submit(r, &q, NULL, &err), RADISH_INVALID);
    assert_non_null(strstr(err.text, "context length"));
    int32_t bad[] = { 5, -3 };
    request(&q, "", 1);
    q.on_event = on_event;
    q.ids = bad;
    q.n_ids = 2;
    assert_int_equal(radish_submit(r, &q, NULL, &err), RADISH_INVALID);
    char *out;
    size_t n;
    assert_int_equal(radish_render_chat(r, &(RadishChat){ .messages_json = "[{]" }, &out, &n, &err), RADISH_INVALID);
    Radish *none;
    assert_int_equal(radish_open(&(RadishOptions){ .model_path = "/nowhere" }, &none, &err), RADISH_NOT_FOUND);
    assert_int_equal(radish_open(&(RadishOptions){ .model_path = model_path, .device = "abacus" }, &none, &err),
                     RADISH_UNSUPPORTED);
}

/* Two engines, of which one guesses: the same answers, greedy and drawn, and fewer steps. */
static void test_guessing(void **state)
{
    (void)state;
    static const char text[] = "The cat sat on the mat. The dog sat on the mat. The cat sat on the mat. The dog sat on";
    Radish *plain = r, *guessing;
    RadishError err;
    RadishStats s;
    RadishOptions o = { .model_path = model_path, .max_total_tokens = 4096, .speculative = "ngram", .verify = true };
    assert_int_equal(radish_open(&o, &guessing, &err), RADISH_OK);
    for (int i = 0; i < 4; i++) {
        RadishRequest q;
        Answer a, b;
        request(&q, i % 2 ? text : prompt, test_is_slow() ? 8 : 48);
        q.top_logprobs = 0;
        q.temperature = i < 2 ? 0 : 0.8f;
        q.has_seed = true;
        q.seed = 5;
        ask(&q, &a);
        r = guessing;
        ask(&q, &b);
        r = plain;
        assert_int_equal(a.ids.n, b.ids.n);
        assert_memory_equal(a.ids.p, b.ids.p, a.ids.n * sizeof *a.ids.p);
        assert_memory_equal(a.logprob, b.logprob, sizeof a.logprob);
        assert_true(str_eq(buf_view(&a.text), buf_view(&b.text)));
        forget(&a);
        forget(&b);
    }
    radish_stats(guessing, &s);
    assert_true(s.accepted_tokens > 0 && s.accepted_tokens <= s.drafted_tokens);
    radish_close(guessing);
    o.speculative = "EAGLE";
    assert_int_equal(radish_open(&o, &guessing, &err), RADISH_UNSUPPORTED);
    o.speculative = "NGRAM";
    o.draft_tokens = 9;
    assert_int_equal(radish_open(&o, &guessing, &err), RADISH_INVALID);
}

static void test_example(void **state)
{
    (void)state;
    const char *build = getenv("RADISH_BUILD");
    char command[3000], answer[4096] = "";
    snprintf(command, sizeof command, "%s/bin/example_ask %s 'What is 2+2?' 2>&1", build ? build : "build/release",
             model_path);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    size_t n = fread(answer, 1, sizeof answer - 1, p);
    assert_int_equal(pclose(p), 0);
    assert_true(n > 0);
    assert_non_null(strstr(answer, "4"));
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
    RadishError err;
    RadishOptions o = { .model_path = model_path, .random_seed = 1, .max_total_tokens = 16384, .verify = true };
    if (radish_open(&o, &r, &err)) {
        printf("[  FAILED  ] 1 test(s): %s\n", err.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),          cmocka_unit_test(test_seed),    cmocka_unit_test(test_stop),
        cmocka_unit_test(test_prompt_logprobs), cmocka_unit_test(test_cache),   cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_refusals),        cmocka_unit_test(test_example), cmocka_unit_test(test_guessing),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    radish_close(r);
    return failed;
}
