/* test_api.c - the endpoints over a fake model, through sockets: every status, shape and order that clients rely on. */
/* cmocka.h wants these four first, and its fail() must not meet ours. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "api/api.h"

#include <cmocka.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
/* clang-format on */

typedef struct {
    Radish *radish;
    Server *server;
    pthread_t io;
} App;

static void *io_thread(void *server)
{
    api_run(server);
    return NULL;
}

static App app_open(ApiOptions o)
{
    App a;
    Err err;
    o.served_model_name = "fake";
    assert_int_equal(radish_open(NULL, &a.radish, NULL), RADISH_OK);
    assert_int_equal(api_open(&o, a.radish, &a.server, &err), OK);
    pthread_create(&a.io, NULL, io_thread, a.server);
    return a;
}

static void app_close(App *a, int drain_ms)
{
    api_stop(a->server, drain_ms);
    pthread_join(a->io, NULL);
    api_close(a->server);
    radish_close(a->radish);
}

/* ---- the client ---- */

typedef struct {
    int status;
    Buf all; /* as received */
    Str head, body;
    json_t *json; /* of the body, if it is JSON */
} Answer;

static int dial(const App *a)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)api_port(a->server)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void put_all(int fd, const Buf *b)
{
    for (size_t i = 0; i < b->n;) {
        ssize_t n = send(fd, b->p + i, b->n - i, MSG_NOSIGNAL);
        if (n <= 0) return;
        i += (size_t)n;
    }
}

/* HTTP/1.0, so that the body is all that follows until the connection closes. */
static int send_request(const App *a, const char *method, const char *path, const char *headers, Str body)
{
    Buf b = { 0 };
    int fd = dial(a);
    buf_printf(&b, "%s %s HTTP/1.0\r\n%sContent-Length: %zu\r\n\r\n", method, path, headers, body.n);
    buf_str(&b, body);
    put_all(fd, &b);
    buf_free(&b);
    return fd;
}

static Answer receive(int fd)
{
    Answer r = { 0 };
    char part[65536];
    struct pollfd p = { fd, POLLIN, 0 };
    for (ssize_t n; poll(&p, 1, 10000) > 0 && (n = recv(fd, part, sizeof part, 0)) > 0;)
        buf_add(&r.all, part, (size_t)n);
    close(fd);
    buf_char(&r.all, 0);
    r.all.n--;
    Str all = buf_view(&r.all);
    size_t split = str_find(all, STR("\r\n\r\n"), 0);
    assert_true(split != SIZE_MAX);
    r.status = atoi(all.p + 9);
    r.head = str_cut(all, 0, split + 2);
    r.body = str_cut(all, split + 4, all.n);
    r.json = json_loadb(r.body.p, r.body.n, JSON_REJECT_DUPLICATES, NULL);
    return r;
}

static void answer_free(Answer *r)
{
    json_decref(r->json);
    buf_free(&r->all);
}

#define JSON_TYPE "Content-Type: application/json\r\n"

static Answer post(const App *a, const char *path, const char *body)
{
    return receive(send_request(a, "POST", path, JSON_TYPE, str_of(body)));
}

static Answer get(const App *a, const char *path)
{
    return receive(send_request(a, "GET", path, "", (Str){ 0 }));
}

/* Element of nested JSON: "choices/0/text". */
static json_t *at(json_t *x, const char *path)
{
    char copy[200], *save = NULL;
    snprintf(copy, sizeof copy, "%s", path);
    for (char *word = strtok_r(copy, "/", &save); word && x; word = strtok_r(NULL, "/", &save)) {
        x = json_is_array(x) ? json_array_get(x, (size_t)atoi(word)) : json_object_get(x, word);
    }
    return x;
}

static const char *text_at(const Answer *r, const char *path)
{
    const char *s = json_string_value(at(r->json, path));
    if (!s) fail_msg("no string at %s in %s", path, r->all.p);
    return s;
}

static int int_at(const Answer *r, const char *path)
{
    if (!json_is_integer(at(r->json, path))) fail_msg("no integer at %s in %s", path, r->all.p);
    return (int)json_integer_value(at(r->json, path));
}

/* The data of event i of a stream, parsed; NULL: no such event or [DONE]. */
static json_t *event_at(const Answer *r, int i)
{
    size_t from = 0;
    for (;; i--) {
        size_t begin = str_find(r->body, STR("data: "), from), end = str_find(r->body, STR("\n\n"), from);
        if (begin == SIZE_MAX || end == SIZE_MAX) return NULL;
        if (i == 0) return json_loadb(r->body.p + begin + 6, end - begin - 6, JSON_REJECT_DUPLICATES, NULL);
        from = end + 2;
    }
}

/* What a stream's deltas say together, for one choice; path: of the text in a chunk's choice. */
static void join_deltas(const Answer *r, int index, const char *path, Buf *text, int *n_finish)
{
    json_t *e;
    *n_finish = 0;
    for (int i = 0; (e = event_at(r, i)); i++) {
        json_t *choice = at(e, "choices/0");
        if (choice && json_integer_value(at(choice, "index")) == index) {
            const char *s = json_string_value(at(choice, path));
            if (s) buf_str(text, str_of(s));
            *n_finish += json_is_string(at(choice, "finish_reason"));
        }
        json_decref(e);
    }
    buf_char(text, 0);
    assert_true(str_ends(r->body, STR("data: [DONE]\n\n")));
}

static void expect(const App *a, const char *path, const char *body, int status, const char *words)
{
    Answer r = post(a, path, body);
    if (r.status != status || (words && !strstr(r.all.p, words)))
        fail_msg("%s %.200s: expected %d with \"%s\", got %s", path, body, status, words, r.all.p);
    if (status >= 400) {
        assert_true(json_is_string(at(r.json, "error/message")) && json_is_string(at(r.json, "error/type")));
        assert_string_equal(text_at(&r, "object"), "error");
        assert_int_equal(int_at(&r, "code"), status);
    }
    answer_free(&r);
}

/* ---- completions ---- */

static void test_completions(void **state)
{
    App *a = *state;
    Answer r = post(a, "/v1/completions", "{\"model\":\"m\",\"prompt\":\"abc\",\"max_tokens\":5}");
    assert_int_equal(r.status, 200);
    assert_string_equal(text_at(&r, "choices/0/text"), "abcab");
    assert_string_equal(text_at(&r, "choices/0/finish_reason"), "length");
    assert_string_equal(text_at(&r, "model"), "m");
    assert_string_equal(text_at(&r, "object"), "text_completion");
    assert_int_equal(int_at(&r, "usage/prompt_tokens"), 3);
    assert_int_equal(int_at(&r, "usage/completion_tokens"), 5);
    assert_int_equal(int_at(&r, "usage/total_tokens"), 8);
    assert_true(json_is_null(at(r.json, "usage/prompt_tokens_details")));
    answer_free(&r);
    r = post(a, "/v1/completions",
             "{\"prompt\":[\"ab\",\"xyz\"],\"n\":2,\"echo\":true,\"max_tokens\":3,\"logprobs\":2}");
    assert_int_equal(json_array_size(at(r.json, "choices")), 4); /* prompt-major */
    assert_string_equal(text_at(&r, "choices/1/text"), "ababa");
    assert_string_equal(text_at(&r, "choices/2/text"), "xyzxyz");
    assert_int_equal(int_at(&r, "usage/prompt_tokens"), 5);
    assert_int_equal(int_at(&r, "usage/completion_tokens"), 12);
    assert_true(json_is_null(at(r.json, "choices/2/logprobs/token_logprobs/0")));
    assert_true(json_is_null(at(r.json, "choices/2/logprobs/top_logprobs/0")));
    assert_int_equal(json_array_size(at(r.json, "choices/2/logprobs/tokens")), 6);
    assert_string_equal(text_at(&r, "choices/2/logprobs/tokens/5"), "z");
    assert_int_equal(int_at(&r, "choices/2/logprobs/text_offset/5"), 5);
    assert_true(json_real_value(at(r.json, "choices/2/logprobs/top_logprobs/3/x")) == -0.25);
    answer_free(&r);
    r = post(a, "/v1/completions", "{\"prompt\":[97,98],\"max_tokens\":16,\"stop\":[\"zz\",\"ba\"]}");
    assert_string_equal(text_at(&r, "choices/0/finish_reason"), "stop");
    assert_string_equal(text_at(&r, "choices/0/matched_stop"), "ba");
    answer_free(&r);
    r = post(a, "/v1/completions", "{\"prompt\":\"!eos\",\"return_token_ids\":true}");
    assert_int_equal(int_at(&r, "choices/0/matched_stop"), 257);
    assert_int_equal(int_at(&r, "usage/completion_tokens"), 4); /* the token that ended it counts */
    assert_int_equal(json_array_size(at(r.json, "choices/0/token_ids")), 4);
    answer_free(&r);
}

static void test_completions_stream(void **state)
{
    App *a = *state;
    Answer r = post(a, "/v1/completions",
                    "{\"prompt\":[\"abc\",\"xy\"],\"max_tokens\":40,\"stream\":true,\"stream_options\":{\"include_"
                    "usage\":true},\"logprobs\":1}");
    assert_int_equal(r.status, 200);
    assert_true(str_find(r.head, STR("Content-Type: text/event-stream\r\n"), 0) != SIZE_MAX);
    for (int k = 0; k < 2; k++) {
        Buf text = { 0 };
        int n_finish;
        join_deltas(&r, k, "text", &text, &n_finish);
        assert_int_equal(n_finish, 1);
        assert_int_equal(strlen(text.p), 40);
        assert_true(!strncmp(text.p, k ? "xyxy" : "abca", 4));
        buf_free(&text);
    }
    json_t *e = NULL, *last = NULL;
    int n_usage = 0;
    for (int i = 0; (e = event_at(&r, i)); i++) {
        n_usage += json_is_object(at(e, "usage"));
        json_decref(last);
        last = e;
    }
    assert_int_equal(n_usage, 1);
    assert_int_equal(json_array_size(at(last, "choices")), 0);
    assert_int_equal(json_integer_value(at(last, "usage/completion_tokens")), 80);
    json_decref(last);
    answer_free(&r);
    r = post(
        a, "/v1/completions",
        "{\"prompt\":\"ab\",\"max_tokens\":3,\"stream\":true,\"stream_options\":{\"continuous_usage_stats\":true}}");
    e = event_at(&r, 0);
    assert_int_equal(json_integer_value(at(e, "usage/completion_tokens")), 1);
    json_decref(e);
    answer_free(&r);
}

/* ---- chat ---- */

static void test_chat(void **state)
{
    App *a = *state;
    Answer r =
        post(a, "/v1/chat/completions",
             "{\"messages\":[{\"role\":\"User\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\","
             "\"text\":\"b\"}]}],"
             "\"max_completion_tokens\":3,\"logprobs\":true,\"top_logprobs\":1,\"chat_template_kwargs\":{\"k\":0.1}}");
    assert_int_equal(r.status, 200);
    assert_string_equal(text_at(&r, "choices/0/message/content"), "[{\"");
    assert_string_equal(text_at(&r, "choices/0/message/role"), "assistant");
    assert_string_equal(text_at(&r, "object"), "chat.completion");
    assert_int_equal(json_array_size(at(r.json, "choices/0/logprobs/content")), 3);
    assert_string_equal(text_at(&r, "choices/0/logprobs/content/0/top_logprobs/0/token"), "x");
    assert_int_equal(int_at(&r, "usage/prompt_tokens"),
                     strlen("[{\"role\":\"user\",\"content\":\"a b\"}]{\"k\":0.1}|00"));
    answer_free(&r);
    r = post(a, "/v1/chat/completions",
             "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":30,\"n\":2,\"stream\":true}");
    for (int k = 0; k < 2; k++) {
        Buf text = { 0 };
        int n_finish;
        join_deltas(&r, k, "delta/content", &text, &n_finish);
        assert_int_equal(n_finish, 1);
        assert_string_equal(text.p, "[{\"role\":\"user\",\"content\":\"hi\"");
        buf_free(&text);
    }
    int n_roles = 0;
    json_t *e;
    for (int i = 0; (e = event_at(&r, i)); i++) {
        json_t *delta = at(e, "choices/0/delta");
        n_roles += json_is_string(at(delta, "role"));
        if (json_is_string(at(e, "choices/0/finish_reason"))) assert_int_equal(json_object_size(delta), 0);
        json_decref(e);
    }
    assert_int_equal(n_roles, 2);
    answer_free(&r);
    r = post(a, "/v1/chat/completions",
             "{\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"function\":{\"name\":\"f\","
             "\"arguments\":\"{\\\"x\\\": 1}\"}}]}],"
             "\"continue_final_message\":true,\"tools\":[{\"type\":\"function\"}],\"tool_choice\":\"none\",\"max_"
             "tokens\":150}");
    assert_non_null(
        strstr(text_at(&r, "choices/0/message/content"),
               "\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1}}}]}]{}|11"));
    answer_free(&r);
    expect(a, "/v1/chat/completions", "{\"messages\":[{\"role\":\"user\",\"content\":\"!raise\"}]}", 400,
           "the template raised");
}

/* ---- tools and reasoning ---- */

#define TOOLS                                                                                                          \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"add\",\"parameters\":{\"type\":\"object\","            \
    "\"properties\":{\"a\":"                                                                                           \
    "{\"type\":\"integer\"}},\"required\":[\"a\"]}}},{\"type\":\"function\",\"function\":{\"name\":\"stop\"}}]"

/* A chat whose answer is `says`; more: further members. The prompt comes as ids, past the template. */
static Answer say(const App *a, const char *says, const char *more)
{
    Buf b = { 0 };
    buf_str(&b, STR("{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"input_ids\":["));
    for (const char *s = "!once "; *s; s++) buf_printf(&b, "%d,", *s);
    for (const char *s = says; *s; s++) buf_printf(&b, "%s%d", s == says ? "" : ",", (unsigned char)*s);
    buf_printf(&b, "]%s}%c", more, 0);
    Answer r = post(a, "/v1/chat/completions", b.p);
    buf_free(&b);
    if (r.status != 200) fail_msg("%s", r.all.p);
    return r;
}

static const char two_calls[] =
    "<think>\nSums.</think>\n\nLet me see. <tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": [1, "
    "\"}\"]}}\n</tool_call>\n<tool_call>\n{\"name\": \"stop\", \"arguments\": {}}\n</tool_call>";

static void check_two_calls(const Answer *r)
{
    assert_string_equal(text_at(r, "choices/0/message/reasoning_content"), "Sums.");
    assert_non_null(strstr(text_at(r, "choices/0/message/content"), "Let me see."));
    assert_null(strstr(text_at(r, "choices/0/message/content"), "tool_call"));
    assert_int_equal(json_array_size(at(r->json, "choices/0/message/tool_calls")), 2);
    assert_string_equal(text_at(r, "choices/0/message/tool_calls/0/function/name"), "add");
    assert_string_equal(text_at(r, "choices/0/message/tool_calls/0/function/arguments"), "{\"a\": [1, \"}\"]}");
    assert_string_equal(text_at(r, "choices/0/message/tool_calls/0/type"), "function");
    assert_string_equal(text_at(r, "choices/0/message/tool_calls/1/function/name"), "stop");
    assert_int_equal(int_at(r, "choices/0/message/tool_calls/1/index"), 1);
    assert_string_not_equal(text_at(r, "choices/0/message/tool_calls/0/id"),
                            text_at(r, "choices/0/message/tool_calls/1/id"));
    assert_string_equal(text_at(r, "choices/0/finish_reason"), "tool_calls");
}

/* A stream's deltas, joined, are the whole answer. */
static void check_streamed_calls(const App *a)
{
    Buf args[2] = { { 0 }, { 0 } }, content = { 0 }, reasoning = { 0 };
    int n_names = 0, n_finish = 0;
    Answer r = say(a, two_calls, ",\"stream\":true," TOOLS);
    json_t *e;
    for (int i = 0; (e = event_at(&r, i)); i++) {
        json_t *delta = at(e, "choices/0/delta"), *call = at(delta, "tool_calls/0");
        size_t k = (size_t)json_integer_value(at(call, "index"));
        assert_true(k < 2);
        n_names += at(call, "function/name") != NULL;
        if (at(call, "function/name")) assert_true(at(call, "id") && at(call, "type"));
        if (call) buf_str(&args[k], str_of(json_string_value(at(call, "function/arguments"))));
        buf_str(&content, str_of(json_string_value(at(delta, "content"))));
        buf_str(&reasoning, str_of(json_string_value(at(delta, "reasoning_content"))));
        const char *finish = json_string_value(at(e, "choices/0/finish_reason"));
        if (finish) assert_string_equal(finish, "tool_calls");
        n_finish += finish != NULL;
        json_decref(e);
    }
    assert_true(n_names == 2 && n_finish == 1);
    assert_true(str_is(buf_view(&args[0]), "{\"a\": [1, \"}\"]}") && str_is(buf_view(&args[1]), "{}"));
    assert_true(str_is(buf_view(&reasoning), "Sums."));
    Answer whole = say(a, two_calls, "," TOOLS);
    assert_true(str_is(buf_view(&content), text_at(&whole, "choices/0/message/content")));
    check_two_calls(&whole);
    answer_free(&whole);
    answer_free(&r);
    for (int k = 0; k < 2; k++) buf_free(&args[k]);
    buf_free(&content);
    buf_free(&reasoning);
}

/* What the request is bound by: the fake says it. */
static void check_rules(const App *a)
{
#define ASK "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":2000,"
    Answer r = post(a, "/v1/chat/completions", ASK TOOLS ",\"tool_choice\":\"required\",\"separate_reasoning\":false}");
    const char *said = text_at(&r, "choices/0/message/content");
    assert_true(str_starts(str_of(said), STR("6 {\"type\":\"structural_tag\"")) && strstr(said, "add") &&
                strstr(said, "stop"));
    answer_free(&r);
    r = post(a, "/v1/chat/completions",
             ASK TOOLS
             ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"stop\"}},\"separate_reasoning\":false}");
    said = text_at(&r, "choices/0/message/content");
    assert_true(strstr(said, "stop") && !strstr(said, "integer"));
    answer_free(&r);
    r = post(a, "/v1/chat/completions",
             ASK "\"separate_reasoning\":false,\"response_format\":{\"type\":\"json_object\"}}");
    said = text_at(&r, "choices/0/message/content"); /* after what it may think first */
    assert_true(str_starts(str_of(said), STR("6 ")) && strstr(said, "think") && strstr(said, "\"object\""));
    answer_free(&r);
    r = post(a, "/v1/chat/completions", ASK TOOLS ",\"tool_choice\":\"none\",\"regex\":\"abc\"}");
    assert_string_equal(text_at(&r, "choices/0/message/content"), "1 abc ");
    answer_free(&r);
    expect(a, "/v1/chat/completions", ASK TOOLS ",\"tool_choice\":\"required\",\"regex\":\"a\"}", 400,
           "asks for a call and regex for an answer of another form");
    expect(a, "/v1/chat/completions", ASK TOOLS ",\"tool_choice\":\"sometimes\"}", 400,
           "tool_choice must be none, auto");
    expect(a, "/v1/chat/completions",
           ASK TOOLS ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"sub\"}}}", 400,
           "names sub, which is none of the tools");
    expect(a, "/v1/chat/completions", ASK "\"tools\":{}}", 400, "tools must be a list");
    expect(a, "/v1/chat/completions", ASK "\"thinking_budget\":5}", 400,
           "thinking_budget needs a model whose reasoning ends with a token of its own");
#undef ASK
}

static void test_tools(void **state)
{
    (void)state;
    App a = app_open((ApiOptions){ .tool_call_parser = "qwen25", .reasoning_parser = "qwen3" });
    check_streamed_calls(&a);
    check_rules(&a);
    Answer r = say(&a, "no call <tool_call>\nbroken", "," TOOLS);
    assert_string_equal(text_at(&r, "choices/0/message/content"), "no call <tool_call>\nbroken");
    assert_string_equal(text_at(&r, "choices/0/finish_reason"), "stop");
    assert_true(json_is_null(at(r.json, "choices/0/message/tool_calls")));
    answer_free(&r);
    r = say(&a, two_calls, ",\"separate_reasoning\":false"); /* nobody asked for anything to be told apart */
    assert_string_equal(text_at(&r, "choices/0/message/content"), two_calls);
    answer_free(&r);
    r = say(&a, "<think>one</think>two", ",\"stream\":true,\"stream_reasoning\":false,\"logprobs\":true");
    Buf thought = { 0 };
    int n_finish, n_logprobs = 0;
    join_deltas(&r, 0, "delta/reasoning_content", &thought, &n_finish);
    assert_string_equal(thought.p, "one");
    Answer whole = say(&a, "<think>one</think>two", "");
    int n_thought = int_at(&whole, "usage/reasoning_tokens"); /* the fake's tokens are bytes */
    assert_in_range(n_thought, strlen("one"), strlen("<think>one</think>"));
    answer_free(&whole);
    json_t *e;
    for (int i = 0; (e = event_at(&r, i)); i++) {
        n_logprobs += (int)json_array_size(at(e, "choices/0/logprobs/content"));
        json_decref(e);
    }
    assert_int_equal(n_logprobs, strlen("<think>one</think>two")); /* each once */
    buf_free(&thought);
    answer_free(&r);
    app_close(&a, 1000);
    Radish *radish;
    Server *server;
    Err err;
    assert_int_equal(radish_open(NULL, &radish, NULL), RADISH_OK);
    assert_int_equal(api_open(&(ApiOptions){ .tool_call_parser = "morse" }, radish, &server, &err), E_INVALID);
    assert_non_null(strstr(err.text, "--tool-call-parser morse"));
    radish_close(radish);
}

/* ---- /generate ---- */

static void test_generate(void **state)
{
    App *a = *state;
    Answer r = post(a, "/generate",
                    "{\"text\":\"abc\",\"sampling_params\":{\"max_new_tokens\":2,\"temperature\":0},\"lora_path\":null,"
                    "\"unknown\":1,"
                    "\"return_logprob\":true,\"logprob_start_len\":0,\"top_logprobs_num\":2,\"return_text_in_"
                    "logprobs\":true,\"rid\":\"r1\"}");
    assert_int_equal(r.status, 200);
    assert_string_equal(text_at(&r, "text"), "ab");
    assert_int_equal(int_at(&r, "output_ids/1"), 98);
    assert_string_equal(text_at(&r, "meta_info/id"), "r1");
    assert_string_equal(text_at(&r, "meta_info/finish_reason/type"), "length");
    assert_int_equal(json_array_size(at(r.json, "meta_info/input_token_logprobs")), 3);
    assert_true(json_is_null(at(r.json, "meta_info/input_token_logprobs/0/0")));
    assert_string_equal(text_at(&r, "meta_info/input_token_logprobs/2/2"), "c");
    assert_int_equal(json_array_size(at(r.json, "meta_info/output_top_logprobs/1")), 2);
    assert_true(json_real_value(at(r.json, "meta_info/e2e_latency")) > 0);
    answer_free(&r);
    r = post(a, "/generate",
             "{\"input_ids\":[[97],[98,99]],\"sampling_params\":[{\"max_new_tokens\":1,\"n\":2},{\"max_new_tokens\":0,"
             "\"n\":2}],\"rid\":\"q\"}");
    assert_int_equal(json_array_size(r.json), 4);
    assert_string_equal(text_at(&r, "0/text"), "a");
    assert_string_equal(text_at(&r, "2/text"), "");
    assert_int_equal(int_at(&r, "3/meta_info/prompt_tokens"), 2);
    assert_string_equal(text_at(&r, "3/meta_info/id"), "q_1_1");
    answer_free(&r);
    r = post(a, "/generate", "{\"text\":[\"abc\"],\"stream\":true,\"sampling_params\":{\"max_new_tokens\":20}}");
    json_t *e;
    size_t before = 0;
    int tokens = 0;
    for (int i = 0; (e = event_at(&r, i)); i++) {
        const char *text = json_string_value(at(e, "text"));
        assert_true(strlen(text) >= before && !strncmp(text, "abcabcabcabcabcabcab", strlen(text))); /* cumulative */
        before = strlen(text);
        tokens = (int)json_integer_value(at(e, "meta_info/completion_tokens"));
        assert_int_equal(json_array_size(at(e, "output_ids")), tokens);
        assert_int_equal(json_integer_value(at(e, "index")), 0);
        json_decref(e);
    }
    assert_int_equal(tokens, 20);
    answer_free(&r);
}

/* The fake's answer is the constraint that reached it. */
static void test_constraints(void **state)
{
    App *a = *state;
    Answer r = post(a, "/v1/completions", "{\"prompt\":\"x\",\"max_tokens\":50,\"guided_choice\":[\"a\"]}");
    assert_string_equal(text_at(&r, "choices/0/text"), "2 [\"a\"] ");
    assert_string_equal(text_at(&r, "choices/0/finish_reason"), "stop");
    assert_true(json_is_null(at(r.json, "choices/0/matched_stop")));
    answer_free(&r);
    r = post(a, "/v1/chat/completions",
             "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":80,\"response_format\":{\"type\":"
             "\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{\"z\":1,\"a\":2}}}}");
    assert_string_equal(text_at(&r, "choices/0/message/content"), "4 {\"z\":1,\"a\":2} ");
    answer_free(&r);
    r = post(a, "/generate",
             "{\"text\":[\"x\",\"y\",\"z\"],\"sampling_params\":[{\"regex\":\"a\"},{\"max_new_tokens\":2},{\"ebnf\":"
             "\"r\"}]}");
    assert_string_equal(text_at(&r, "0/text"), "1 a ");
    assert_string_equal(text_at(&r, "1/text"), "yy");
    assert_string_equal(text_at(&r, "2/text"), "3 r ");
    answer_free(&r);
}

static void test_other_endpoints(void **state)
{
    App *a = *state;
    Answer r = post(a, "/tokenize", "{\"prompt\":[\"ab\",\"c\"]}");
    assert_int_equal(int_at(&r, "tokens/0/1"), 98);
    assert_int_equal(int_at(&r, "count/1"), 1);
    answer_free(&r);
    r = post(a, "/v1/tokenize", "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}");
    assert_int_equal(int_at(&r, "tokens/0"), '[');
    assert_int_equal(int_at(&r, "max_model_len"), 4096);
    answer_free(&r);
    r = post(a, "/detokenize", "{\"tokens\":[[97],[98,99]]}");
    assert_string_equal(text_at(&r, "text/1"), "bc");
    answer_free(&r);
    static const struct {
        const char *path, *words;
    } gets[] = {
        { "/", "running" },
        { "/health", "" },
        { "/health_generate", "" },
        { "/v1/models", "\"id\":\"fake\"" },
        { "/v1/models/fake", "\"object\":\"model\"" },
        { "/model_info", "\"model_path\":\"fake/model\"" },
        { "/get_model_info", "\"is_generation\":true" },
        { "/server_info", "\"internal_states\":[{" },
        { "/get_server_info", "\"max_total_num_tokens\":65536" },
        { "/get_load", "\"num_tokens\":" },
        { "/v1/loads", "\"loads\":[{\"dp_rank\":0" },
        { "/metrics", "sglang:prompt_tokens_total{model_name=\"fake\"}" },
        { "/version", RADISH_VERSION },
        { "/flush_cache?timeout=5", "Cache flushed" },
    };
    for (size_t i = 0; i < COUNT(gets); i++) {
        r = get(a, gets[i].path);
        if (r.status != 200 || !strstr(r.all.p, gets[i].words)) fail_msg("%s: %s", gets[i].path, r.all.p);
        answer_free(&r);
    }
    r = get(a, "/v1/models/none");
    assert_int_equal(r.status, 404);
    assert_string_equal(text_at(&r, "error/code"), "model_not_found");
    assert_string_equal(text_at(&r, "error/param"), "model");
    assert_string_equal(text_at(&r, "error/type"), "invalid_request_error");
    answer_free(&r);
    r = get(a, "/v1/loads?include=core&format=prometheus");
    assert_int_equal(r.status, 400);
    assert_string_equal(text_at(&r, "error/param"), "format");
    answer_free(&r);
}

/* ---- what is wrong gets a sentence ---- */

static void test_bad_input(void **state)
{
    App *a = *state;
    static const struct {
        const char *path, *body, *words;
    } cases[] = {
#define C "/v1/completions"
#define M "/v1/chat/completions"
#define G "/generate"
        { C, "", "no body" },
        { C, "{\"prompt\":", "line 1" },
        { C, "{\n\"prompt\":\"a\",}", "line 2" },
        { C, "[1]", "must be a JSON object, not a list" },
        { C, "{\"a\":1,\"a\":2}", "duplicate" },
        { C, "{\"prompt\":\"\xff\"}", "UTF-8" },
        { C, "{\"prompt\":\"\\ud800\"}", "valid JSON" },
        { C, "{}", "prompt is missing" },
        { C, "{\"prompt\":5}", "prompt must be a string" },
        { C, "{\"prompt\":[]}", "empty" },
        { C, "{\"prompt\":[1,\"a\"]}", "integer" },
        { C, "{\"prompt\":[1,-1]}", "vocabulary" },
        { C, "{\"prompt\":\"a\",\"max_tokens\":0}", "max_tokens must be at least 1" },
        { C, "{\"prompt\":\"a\",\"max_tokens\":\"5\"}", "max_tokens must be an integer, not a string" },
        { C, "{\"prompt\":\"a\",\"max_tokens\":5000}", "context length of 4096" },
        { C, "{\"prompt\":\"a\",\"temperature\":-1}", "temperature must be between" },
        { C, "{\"prompt\":\"a\",\"top_p\":1.5}", "top_p must be between" },
        { C, "{\"prompt\":\"a\",\"top_p\":0}", "top_p must be above 0" },
        { C, "{\"prompt\":\"a\",\"top_k\":0}", "top_k must be -1 (off) or at least 1" },
        { C, "{\"prompt\":\"a\",\"n\":0}", "n must be at least 1" },
        { C, "{\"prompt\":\"a\",\"n\":1000}", "n can be at most 128" },
        { C, "{\"prompt\":\"a\",\"best_of\":3}", "best_of" },
        { C, "{\"prompt\":\"a\",\"stop\":[1]}", "stop must be a string or a list of strings" },
        { C, "{\"prompt\":\"a\",\"logit_bias\":{\"x\":1}}", "keys must be token ids" },
        { C, "{\"prompt\":\"a\",\"logprobs\":true}", "logprobs must be a number" },
        { C, "{\"prompt\":\"a\",\"stream\":1}", "stream must be true or false, not an integer" },
        { C, "{\"prompt\":\"a\",\"stream\":true,\"stream_options\":1}", "stream_options must be an object" },
        { C, "{\"prompt\":\"a\",\"min_tokens\":17}", "min_tokens (17)" },
        { C, "{\"prompt\":\"a\",\"repetition_penalty\":0}", "repetition_penalty" },
        { C, "{\"prompt\":\"a\",\"regex\":\"a*\",\"ebnf\":\"b\"}", "ebnf asks for one constraint" },
        { C, "{\"prompt\":\"a\",\"response_format\":{\"type\":\"json_schema\"}}", "needs json_schema" },
        { C, "{\"prompt\":\"a\",\"regex\":\"!\"}",
          "the fake does not like it\",\"type\":\"invalid_request_error\",\"param\":\"regex\"" },
        { C, "{\"prompt\":\"a\",\"regex\":\"!\",\"stream\":true}", "the fake does not like it" },
        { C, "{\"prompt\":[\"a\",\"b\"],\"n\":2,\"guided_json\":\"!\"}", "\"param\":\"guided_json\"" },
        { C, "{\"prompt\":\"a\",\"lora_path\":\"x\"}", "no adapters" },
        { C, "{\"prompt\":\"a\",\"model\":\"fake:x\"}", "adapter" },
        { C, "{\"prompt\":\"a\",\"suffix\":\"b\"}", "suffix" },
        { M, "{}", "messages is missing" },
        { M, "{\"messages\":[]}", "messages is empty" },
        { M, "{\"messages\":\"hi\"}", "must be a list, not a string" },
        { M, "{\"messages\":[{}]}", "[0] has no role" },
        { M, "{\"messages\":[{\"role\":\"king\",\"content\":\"a\"}]}", "role \\\"king\\\"" },
        { M, "{\"messages\":[{\"role\":\"user\"}]}", "no content" },
        { M, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}", "text only" },
        { M, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"tools\":[{}]}",
          "tools[0].function must be an object" },
        { M, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"tool_choice\":\"required\"}", "needs tools" },
        { M, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"top_logprobs\":2}", "logprobs" },
        { M, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"max_tokens\":4090}", "context length" },
        { G, "{}", "text or input_ids" },
        { G, "{\"input_ids\":[]}", "empty" },
        { G, "{\"input_ids\":[[1],[]]}", "empty prompt" },
        { G, "{\"text\":[\"a\",\"b\"],\"rid\":[\"x\",\"x\"]}", "twice" },
        { G, "{\"text\":[\"a\",\"b\"],\"rid\":[\"x\"]}", "rid is a list of 1, but there are 2 prompts" },
        { C, "{\"prompt\":[\"a\",\"b\"],\"rid\":[\"x\",\"x\"]}", "twice" },
        { C, "{\"prompt\":\"a\",\"rid\":[\"x\",\"y\"]}", "rid is a list of 2, but there is 1 prompt" },
        { C, "{\"prompt\":[\"a\",\"b\"],\"cache_salt\":[\"x\"]}", "cache_salt is a list of 1" },
        { M, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"rid\":7}", "a string or a list of strings" },
        { G, "{\"text\":\"a\",\"sampling_params\":{\"max_tokens\":1}}", "no field \\\"max_tokens\\\"" },
        { G, "{\"text\":\"a\",\"sampling_params\":{\"json_schema\":\"!\"}}", "\"param\":\"json_schema\"" },
        { G, "{\"text\":\"a\",\"sampling_params\":{\"json_schema\":3}}",
          "sampling_params.json_schema must be a schema" },
        { G, "{\"text\":\"a\",\"sampling_params\":3}", "must be an object" },
        { G, "{\"text\":\"a\",\"return_logprob\":true,\"logprob_start_len\":9}", "only 1 tokens" },
        { G, "{\"text\":\"a\",\"image_data\":\"x\"}", "text only" },
        { "/tokenize", "{\"prompt\":3}", "string" },
        { "/tokenize", "{}", "prompt or messages" },
        { "/detokenize", "{\"tokens\":[\"a\"]}", "integer" },
        { "/detokenize", "{\"tokens\":[999]}", "vocabulary has 258" },
        { "/abort_request", "{}", "rid" },
#undef C
#undef M
#undef G
    };
    for (size_t i = 0; i < COUNT(cases); i++) expect(a, cases[i].path, cases[i].body, 400, cases[i].words);
    Buf deep = { 0 };
    buf_str(&deep, STR("{\"prompt\":"));
    for (int i = 0; i < 5000; i++) buf_char(&deep, '[');
    buf_char(&deep, 0);
    expect(a, "/v1/completions", deep.p, 400, "nested more than 100");
    buf_free(&deep);
    expect(a, "/v1/nothing", "{}", 404, "nothing at /v1/nothing");
    expect(a, "/v1/models", "{}", 405, "only GET, HEAD");
    Answer r =
        receive(send_request(a, "POST", "/v1/completions", "Content-Type: text/plain\r\n", STR("{\"prompt\":\"a\"}")));
    assert_int_equal(r.status, 400);
    assert_non_null(strstr(r.all.p, "Content-Type must be application/json"));
    answer_free(&r);
    r = post(a, "/v1/completions", "{\"prompt\":\"a\",\"max_tokens\":5000}");
    assert_string_equal(text_at(&r, "error/code"), "context_length_exceeded");
    answer_free(&r);
    r = post(a, "/generate", "{\"text\":\"a\",\"sampling_params\":{\"max_new_tokens\":5000}}");
    assert_true(json_is_null(at(r.json, "error/param"))); /* the sum is wrong, no field is */
    answer_free(&r);
    r = post(a, "/v1/completions", "{\"prompt\":\"a\",\"temperature\":\"hot\"}");
    assert_string_equal(text_at(&r, "error/param"), "temperature");
    answer_free(&r);
    Buf big = { 0 };
    for (int i = 0; i < 2 << 20; i++) buf_char(&big, ' ');
    r = receive(send_request(a, "POST", "/v1/completions", JSON_TYPE, buf_view(&big)));
    assert_int_equal(r.status, 413);
    assert_string_equal(text_at(&r, "object"), "error");
    answer_free(&r);
    buf_free(&big);
}

static bool eventually_idle(const App *a)
{
    RadishStats s;
    for (int i = 0; i < 600; i++) {
        radish_stats(a->radish, &s);
        if (s.running == 0) return true;
        usleep(5000);
    }
    return false;
}

static void test_trouble(void **state)
{
    App *a = *state;
    expect(a, "/v1/completions", "{\"prompt\":\"!busy\"}", 503, "queue is full");
    expect(a, "/v1/completions", "{\"prompt\":[\"!slow\",\"!slow\",\"!busy\"],\"stream\":true}", 503,
           "queue is full"); /* the others are cancelled */
    expect(a, "/v1/completions", "{\"prompt\":\"!fail\"}", 500, "the fake failed");
    Answer r = post(a, "/v1/completions", "{\"prompt\":\"!fail\",\"stream\":true}"); /* too late for a status */
    assert_int_equal(r.status, 200);
    json_t *e = event_at(&r, 2);
    assert_non_null(strstr(json_string_value(at(e, "error/message")), "the fake failed"));
    assert_true(str_ends(r.body, STR("data: [DONE]\n\n")));
    json_decref(e);
    answer_free(&r);
    assert_true(eventually_idle(a));
}

static void wait_running(const App *a, int n)
{
    RadishStats s;
    for (int i = 0; i < 1000; i++) {
        radish_stats(a->radish, &s);
        if (s.running >= n) return;
        usleep(2000);
    }
    fail_msg("%d of %d running", s.running, n);
}

static void test_leaving_cancels(void **state)
{
    App *a = *state;
    static const char *const bodies[] = {
        "{\"prompt\":\"!never\"}", "{\"prompt\":[\"!slow\",\"!slow\",\"!never\"],\"stream\":true,\"max_tokens\":4000}"
    };
    for (size_t k = 0; k < COUNT(bodies); k++) {
        int fds[8];
        for (size_t i = 0; i < COUNT(fds); i++)
            fds[i] = send_request(a, "POST", "/v1/completions", JSON_TYPE, str_of(bodies[k]));
        wait_running(a, k ? 24 : 8);
        for (size_t i = 0; i < COUNT(fds); i++) close(fds[i]);
        assert_true(eventually_idle(a));
    }
    for (int i = 0; i < 200; i++) { /* at every moment of its life */
        int fd = send_request(a, "POST", "/v1/completions", JSON_TYPE,
                              STR("{\"prompt\":[\"!slow\",\"abc\"],\"n\":3,\"max_tokens\":2000,\"stream\":true}"));
        usleep((useconds_t)(i * 10));
        close(fd);
    }
    assert_true(eventually_idle(a));
}

static void test_abort(void **state)
{
    App *a = *state;
    int one = send_request(a, "POST", "/generate", "",
                           STR("{\"text\":\"!slow\",\"rid\":\"job-1\",\"sampling_params\":{\"max_new_tokens\":4000}}"));
    int two = send_request(a, "POST", "/v1/completions", JSON_TYPE,
                           STR("{\"prompt\":\"!slow\",\"rid\":\"other\",\"max_tokens\":4000}"));
    wait_running(a, 2);
    expect(a, "/abort_request", "{\"rid\":\"job\"}", 200, NULL);
    Answer r = receive(one);
    assert_int_equal(r.status, 200);
    assert_string_equal(text_at(&r, "meta_info/finish_reason/type"), "abort");
    answer_free(&r);
    r = get(a, "/flush_cache");
    assert_int_equal(r.status, 400);
    answer_free(&r);
    expect(a, "/abort_request", "{\"abort_all\":true}", 200, NULL);
    r = receive(two);
    assert_string_equal(text_at(&r, "choices/0/finish_reason"), "abort");
    answer_free(&r);
    assert_true(eventually_idle(a));
}

/* Each prompt of a list can be named, and is aborted by its name alone. */
static void test_rids(void **state)
{
    App *a = *state;
    Answer r = post(a, "/v1/completions", "{\"prompt\":\"a\",\"rid\":\"mine\"}");
    assert_string_equal(text_at(&r, "id"), "mine");
    answer_free(&r);
    r = post(a, "/v1/completions", "{\"prompt\":[\"a\",\"b\"],\"rid\":\"mine\"}");
    assert_string_equal(text_at(&r, "id"), "mine_0");
    answer_free(&r);
    r = post(a, "/v1/chat/completions",
             "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"max_tokens\":1,\"rid\":[\"m\"]}");
    assert_string_equal(text_at(&r, "id"), "m");
    answer_free(&r);
    int fd = send_request(a, "POST", "/v1/completions", JSON_TYPE,
                          STR("{\"prompt\":[\"!slow\",\"!never\"],\"rid\":[\"x-1\",\"y-2\"],\"max_tokens\":5}"));
    wait_running(a, 2);
    expect(a, "/abort_request", "{\"rid\":\"y-2\"}", 200, NULL);
    r = receive(fd);
    assert_string_equal(text_at(&r, "id"), "x-1");
    assert_string_equal(text_at(&r, "choices/0/finish_reason"), "length");
    assert_string_equal(text_at(&r, "choices/1/finish_reason"), "abort");
    answer_free(&r);
}

/* Many long answers that end together are more than a stream may leave unsent; a client that looks away still gets them all. */
static void test_slow_reader_of_many(void **state)
{
    enum { N = 100 };
    App *a = *state;
    Buf body = { 0 };
    buf_str(&body, STR("{\"stream\":true,\"sampling_params\":{\"max_new_tokens\":4000},\"text\":[\"abc\""));
    for (int i = 1; i < N; i++) buf_str(&body, STR(",\"abc\""));
    buf_str(&body, STR("]}"));
    int fd = send_request(a, "POST", "/generate", "", buf_view(&body)), n_finished = 0;
    wait_running(a, N);
    usleep(100000); /* the first pieces fill what the sockets hold */
    while (!eventually_idle(a)) continue;
    usleep(200000);
    Answer r = receive(fd);
    for (size_t at = 0; (at = str_find(r.body, STR("\"type\":\"length\",\"length\":4000"), at)) != SIZE_MAX; at++)
        n_finished++;
    assert_int_equal(n_finished, N);
    assert_true(str_ends(r.body, STR("data: [DONE]\n\n")));
    answer_free(&r);
    buf_free(&body);
}

/* A client that does not read gets fewer, larger pieces, and the same text in the end. */
static void test_slow_reader(void **state)
{
    App *a = *state;
    int fd = send_request(a, "POST", "/generate", "",
                          STR("{\"text\":\"abc\",\"stream\":true,\"sampling_params\":{\"max_new_tokens\":4000}}"));
    assert_true((wait_running(a, 1), eventually_idle(a))); /* 4,000 growing texts would be 64 MB */
    Answer r = receive(fd);
    assert_true(r.all.n < 8 << 20);
    json_t *e, *last = NULL;
    for (int i = 0; (e = event_at(&r, i)) && i < 5000; i++) {
        json_decref(last);
        last = e;
    }
    assert_int_equal(strlen(json_string_value(at(last, "text"))), 4000);
    assert_true(str_ends(r.body, STR("data: [DONE]\n\n")));
    json_decref(last);
    answer_free(&r);
}

/* ---- keys, draining ---- */

static int status_with(const App *a, const char *method, const char *path, const char *headers)
{
    Answer r = receive(send_request(a, method, path, headers, (Str){ 0 }));
    int status = r.status;
    answer_free(&r);
    return status;
}

static void test_keys(void **state)
{
    (void)state;
    App a = app_open((ApiOptions){ .api_key = "k1",
                                   .admin_api_key = "k2",
                                   .cache_report = true,
                                   .server_args_json = "\"device\":\"none\",\"extra\":7" });
    Answer info = receive(send_request(&a, "GET", "/server_info", "Authorization: Bearer k1\r\n", (Str){ 0 }));
    assert_int_equal(int_at(&info, "extra"), 7);
    assert_string_equal(text_at(&info, "device"), "none"); /* once, or it would not have parsed */
    answer_free(&info);
    assert_int_equal(status_with(&a, "GET", "/v1/models", ""), 401);
    assert_int_equal(status_with(&a, "GET", "/v1/models", "Authorization: Bearer k\r\n"), 401);
    assert_int_equal(status_with(&a, "GET", "/v1/models", "Authorization: Bearer k11\r\n"), 401);
    assert_int_equal(status_with(&a, "GET", "/v1/models", "Authorization: k1\r\n"), 401);
    assert_int_equal(status_with(&a, "GET", "/v1/models", "Authorization: Bearer k1\r\n"), 200);
    assert_int_equal(status_with(&a, "GET", "/v1/models", "Authorization: Bearer k2\r\n"), 200);
    assert_int_equal(status_with(&a, "GET", "/flush_cache", "Authorization: Bearer k1\r\n"), 401);
    assert_int_equal(status_with(&a, "GET", "/flush_cache", "Authorization: Bearer k2\r\n"), 200);
    assert_int_equal(status_with(&a, "GET", "/nowhere", ""), 401);
    assert_int_equal(status_with(&a, "GET", "/metrics", ""), 200); /* scrapers have no keys */
    assert_int_equal(status_with(&a, "GET", "/health", ""), 200);
    assert_int_equal(status_with(&a, "GET", "/health_generate", ""), 200);
    assert_int_equal(status_with(&a, "OPTIONS", "/v1/completions", "Origin: x\r\n"), 204);
    Answer r = receive(send_request(&a, "POST", "/v1/completions", JSON_TYPE "Authorization: Bearer k1\r\n",
                                    STR("{\"prompt\":\"0123456789abcdefX\"}")));
    assert_int_equal(int_at(&r, "usage/prompt_tokens_details/cached_tokens"), 16);
    answer_free(&r);
    app_close(&a, 0);
}

static void *collect(void *fd)
{
    Answer *r = mem_alloc(sizeof *r);
    *r = receive((int)(intptr_t)fd);
    return r;
}

static void test_drain(void **state)
{
    (void)state;
    App a = app_open((ApiOptions){ .host = "127.0.0.1" });
    pthread_t readers[6];
    for (int i = 0; i < 6; i++) {
        const char *body = i % 2 ? "{\"prompt\":\"!slow\",\"max_tokens\":60,\"stream\":true}"
                                 : "{\"prompt\":\"!slow\",\"max_tokens\":60}";
        pthread_create(&readers[i], NULL, collect,
                       (void *)(intptr_t)send_request(&a, "POST", "/v1/completions", JSON_TYPE, str_of(body)));
    }
    wait_running(&a, 6);
    app_close(&a, 10000);
    for (int i = 0; i < 6; i++) {
        void *got;
        pthread_join(readers[i], &got);
        Answer *r = got;
        assert_int_equal(r->status, 200);
        assert_non_null(strstr(r->all.p, "\"finish_reason\":\"length\""));
        answer_free(r);
        mem_free(r);
    }
    a = app_open((ApiOptions){ 0 });
    int fd = send_request(&a, "POST", "/v1/completions", JSON_TYPE,
                          STR("{\"prompt\":[\"!never\",\"!slow\"],\"max_tokens\":4000}"));
    wait_running(&a, 2);
    int64_t begin = clock_ns();
    app_close(&a, 100); /* the rest is cut and cancelled */
    assert_true(clock_ns() - begin < 3 * 1000000000LL);
    close(fd);
}

static int open_shared(void **state)
{
    App *a = mem_alloc(sizeof *a);
    *a = app_open((ApiOptions){ .max_body = 1 << 20 });
    *state = a;
    return 0;
}

static int close_shared(void **state)
{
    app_close(*state, 1000);
    mem_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_completions),
        cmocka_unit_test(test_completions_stream),
        cmocka_unit_test(test_chat),
        cmocka_unit_test(test_generate),
        cmocka_unit_test(test_constraints),
        cmocka_unit_test(test_tools),
        cmocka_unit_test(test_other_endpoints),
        cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_trouble),
        cmocka_unit_test(test_leaving_cancels),
        cmocka_unit_test(test_abort),
        cmocka_unit_test(test_rids),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_slow_reader_of_many),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_drain),
    };
    return cmocka_run_group_tests(tests, open_shared, close_shared);
}
