/* chat_completions.c - /v1/chat/completions: messages through the model's template, the answer as a message. */
#include <math.h>

#include "api/chat_tools.h"
#include "api/openai.h"
#include "api/reply.h"
#include "api/routes.h"
#include "base/jsonw.h"

enum { PART_CONTENT, MESSAGES_MAX = 16384 };

/* ---- messages: checked, and brought into the one shape that templates know ---- */

static char *lower_role(const char *role, char *out, size_t size)
{
    size_t n = 0;
    for (; role[n] && n + 1 < size; n++) out[n] = (char)(role[n] >= 'A' && role[n] <= 'Z' ? role[n] + 32 : role[n]);
    out[n] = 0;
    return out;
}

static Status write_role(Params *p, Buf *out, const json_t *message, size_t i)
{
    static const char *const roles[] = { "system", "user", "assistant", "tool", "function", "developer" };
    const json_t *role = json_object_get(message, "role");
    char low[16];
    if (!json_is_string(role)) return params_refuse(p, "messages", "[%zu] has no role: give one, such as \"user\"", i);
    lower_role(json_string_value(role), low, sizeof low);
    for (size_t k = 0; k < COUNT(roles); k++) {
        if (strcmp(low, roles[k]) != 0) continue;
        jsonw_key(out, "role");
        jsonw_str(out, str_of(low));
        return OK;
    }
    return params_refuse(p, "messages", "[%zu] has the role \"%.30s\": use system, user, assistant, tool or developer",
                         i, json_string_value(role));
}

/* A list of parts becomes one text, joined by spaces, as SGLang does for templates that expect text. */
static Status write_parts(Params *p, Buf *out, const json_t *parts, size_t i)
{
    Buf text = { 0 };
    Status status = OK;
    for (size_t k = 0; status == OK && k < json_array_size(parts); k++) {
        const json_t *part = json_array_get(parts, k), *type = json_object_get(part, "type"),
                     *t = json_object_get(part, "text");
        if (!json_is_string(type)) {
            status = params_refuse(p, "messages",
                                   "[%zu].content[%zu] has no type: use {\"type\":\"text\",\"text\":...}", i, k);
        } else if (!strcmp(json_string_value(type), "thinking")) {
            continue;
        } else if (strcmp(json_string_value(type), "text") != 0) {
            status = params_refuse(p, "messages", "[%zu].content[%zu] is %.30s: this server reads text only", i, k,
                                   json_string_value(type));
        } else if (!json_is_string(t)) {
            status = params_refuse(p, "messages", "[%zu].content[%zu].text must be a string", i, k);
        } else {
            if (text.n) buf_char(&text, ' ');
            buf_add(&text, json_string_value(t), json_string_length(t));
        }
    }
    if (status == OK) jsonw_str(out, text.n ? buf_view(&text) : STR(""));
    buf_free(&text);
    return status;
}

static Status write_content(Params *p, Buf *out, const json_t *message, size_t i)
{
    const json_t *content = json_object_get(message, "content");
    const char *role = json_string_value(json_object_get(message, "role"));
    bool may_lack = role && (role[0] == 'a' || role[0] == 'A'); /* an assistant's tool calls need no words */
    jsonw_key(out, "content");
    if (json_is_string(content)) {
        jsonw_str(out, (Str){ json_string_value(content), json_string_length(content) });
        return OK;
    }
    if (json_is_array(content)) return write_parts(p, out, content, i);
    if ((!content || json_is_null(content)) && may_lack) {
        jsonw_str(out, STR(""));
        return OK;
    }
    if (!content || json_is_null(content))
        return params_refuse(p, "messages", "[%zu] has no content: send a string", i);
    return params_refuse(p, "messages", "[%zu].content must be a string or a list of parts", i);
}

/* Templates read the arguments of a call as an object; clients send them as a string of JSON. */
static Status write_tool_calls(Params *p, Buf *out, const json_t *calls, size_t i)
{
    if (!json_is_array(calls)) return params_refuse(p, "messages", "[%zu].tool_calls must be a list", i);
    json_t *copy = json_deep_copy(calls);
    for (size_t k = 0; k < json_array_size(copy); k++) {
        json_t *function = json_object_get(json_array_get(copy, k), "function"),
               *arguments = json_object_get(function, "arguments");
        if (!json_is_string(arguments)) continue;
        json_t *parsed = NULL;
        Err ignored;
        Str text = { json_string_value(arguments), json_string_length(arguments) };
        if (params_parse(text, &parsed, &ignored) == OK) json_object_set_new(function, "arguments", parsed);
    }
    jsonw_key(out, "tool_calls");
    params_dump(out, copy);
    json_decref(copy);
    return OK;
}

static Status write_message(Params *p, Buf *out, const json_t *message, size_t i)
{
    const char *key;
    json_t *x;
    if (!json_is_object(message))
        return params_refuse(p, "messages", "[%zu] must be an object with role and content", i);
    jsonw_sep(out);
    buf_char(out, '{');
    TRY(write_role(p, out, message, i));
    TRY(write_content(p, out, message, i));
    json_object_foreach((json_t *)(uintptr_t)message, key, x)
    {
        if (!strcmp(key, "role") || !strcmp(key, "content") || json_is_null(x)) continue;
        if (!strcmp(key, "tool_calls")) {
            if (!json_is_array(x) || json_array_size(x)) TRY(write_tool_calls(p, out, x, i));
            continue;
        }
        jsonw_sep(out);
        jsonw_str(out, str_of(key));
        buf_char(out, ':');
        params_dump(out, x);
    }
    buf_char(out, '}');
    return OK;
}

static Status write_messages(Params *p, Buf *out)
{
    const json_t *list = params_get(p, "messages");
    if (!list) return params_refuse(p, "messages", "is missing: send a list of {\"role\":...,\"content\":...}");
    if (!json_is_array(list)) return params_wrong(p, "messages", "a list", list);
    size_t n = json_array_size(list);
    if (n == 0) return params_refuse(p, "messages", "is empty: send at least one message");
    if (n > MESSAGES_MAX) return params_refuse(p, "messages", "can have at most %d messages, not %zu", MESSAGES_MAX, n);
    buf_char(out, '[');
    for (size_t i = 0; i < n; i++) TRY(write_message(p, out, json_array_get(list, i), i));
    buf_str(out, STR("]"));
    return OK;
}

/* chat_template_kwargs, and reasoning_effort, which templates read too. */
static Status write_kwargs(Params *p, Buf *out)
{
    const json_t *kwargs = params_get(p, "chat_template_kwargs"), *effort = params_get(p, "reasoning_effort");
    if (kwargs && !json_is_object(kwargs)) return params_wrong(p, "chat_template_kwargs", "an object", kwargs);
    json_t *all = kwargs ? json_copy((json_t *)(uintptr_t)kwargs) : json_object();
    if (effort) json_object_set(all, "reasoning_effort", (json_t *)(uintptr_t)effort);
    params_dump(out, all);
    json_decref(all);
    return OK;
}

static Status render(Server *s, Params *p, Buf *messages, Buf *kwargs, Buf *tools, Str *text)
{
    RadishChat chat = { 0 };
    RadishError e = { 0 };
    char *prompt;
    size_t n;
    TRY(write_messages(p, messages));
    TRY(write_kwargs(p, kwargs));
    TRY(params_bool(p, "continue_final_message", &chat.continue_final_message));
    chat.no_generation_prompt = chat.continue_final_message;
    TRY(params_bool(p, "no_generation_prompt", &chat.no_generation_prompt));
    buf_char(messages, 0);
    buf_char(kwargs, 0);
    chat.messages_json = messages->p;
    chat.kwargs_json = kwargs->p;
    if (chat_tools_shown(p)) {
        params_dump(tools, chat_tools_shown(p));
        buf_char(tools, 0);
        chat.tools_json = tools->p;
    }
    p->param = "messages";
    if (radish_render_chat(s->radish, &chat, &prompt, &n, &e)) return fail(p->err, (Status)e.status, "%s", e.text);
    p->param = NULL;
    *text = arena_str(p->arena, (Str){ prompt, n });
    radish_string_free(prompt);
    return OK;
}

Status chat_prompt(Server *s, Params *p, Str *text)
{
    Buf messages = { 0 }, kwargs = { 0 }, tools = { 0 };
    Status status = render(s, p, &messages, &kwargs, &tools, text);
    buf_free(&messages);
    buf_free(&kwargs);
    buf_free(&tools);
    return status;
}

/* ---- in ---- */

static void model_defaults(const Server *s, RadishRequest *q)
{
    const RadishInfo *i = &s->info;
    if (s->o.sampling_defaults && !strcmp(s->o.sampling_defaults, "openai")) return;
    if (!isnan(i->temperature)) q->temperature = i->temperature;
    if (!isnan(i->top_p)) q->top_p = i->top_p;
    if (!isnan(i->min_p)) q->min_p = i->min_p;
    if (!isnan(i->repetition_penalty)) q->repetition_penalty = i->repetition_penalty;
    if (i->top_k > 0) q->top_k = i->top_k;
}

static Status read_logprobs(Params *p, Prompt *one)
{
    bool wanted = false;
    int top = 0;
    TRY(params_bool(p, "logprobs", &wanted));
    TRY(params_int(p, "top_logprobs", 0, OPENAI_TOP_MAX, &top));
    if (top > 0 && !wanted) return params_refuse(p, "top_logprobs", "needs \"logprobs\":true");
    if (wanted) one->top = one->q.top_logprobs = top;
    return OK;
}

static Status read_body(Call *c, Params *p)
{
    const json_t *ids = params_get(p, "input_ids");
    bool meta = false;
    call_prompts(c, 1);
    Prompt *one = &c->prompts[0];
    RadishRequest *q = &one->q;
    model_defaults(c->server, q);
    TRY(params_int(p, "max_tokens", 1, INT32_MAX, &q->max_new_tokens));
    TRY(params_int(p, "max_completion_tokens", 1, INT32_MAX, &q->max_new_tokens));
    TRY(openai_common(c, p, q));
    TRY(read_logprobs(p, one));
    TRY(params_bool(p, "return_meta_info", &meta));
    if (meta) return params_refuse(p, "return_meta_info", "is not supported here: use /generate");
    TRY(call_names(c, p));
    TRY(chat_tools_read(c, p));
    q->parse_specials = true;
    q->add_bos = false; /* the template writes it */
    if (ids) {
        TRY(params_id_list(p, "input_ids", ids, &one->ids, &one->n_ids));
        if (one->n_ids == 0) return params_refuse(p, "input_ids", "cannot be empty");
    } else {
        TRY(chat_prompt(c->server, p, &one->text));
    }
    TRY(chat_tools_constrain(c, p, one->text, q));
    if (!chat_answer_active(c)) return OK;
    q->kept_ids = c->server->marks.p;
    q->n_kept_ids = (int)c->server->marks.n;
    return OK;
}

static Status prepare(Call *c, const json_t *body, Err *err)
{
    Params p = { .o = body, .where = "", .arena = c->arena, .err = err };
    Status status = read_body(c, &p);
    c->param = status == OK ? NULL : p.param;
    return status;
}

/* ---- logprobs ---- */

static void add_token(Buf *out, Server *s, int32_t id, float logprob)
{
    Str piece;
    piece.p = radish_piece(s->radish, id, &piece.n);
    buf_str(out, STR("{\"token\":"));
    reply_piece(out, s, id);
    buf_str(out, STR(",\"bytes\":["));
    for (size_t i = 0; piece.p && i < piece.n; i++)
        buf_printf(out, "%s%u", i ? "," : "", (unsigned)(unsigned char)piece.p[i]);
    buf_str(out, STR("],\"logprob\":"));
    reply_logprob(out, logprob);
}

static void on_token(Choice *h, const RadishEvent *e)
{
    Buf *out = &h->part[PART_CONTENT];
    if (out->n) buf_char(out, ',');
    add_token(out, h->call->server, e->token, e->logprob);
    buf_str(out, STR(",\"top_logprobs\":["));
    for (int i = 0; i < MIN(e->n_top, h->prompt->top); i++) {
        if (i) buf_char(out, ',');
        add_token(out, h->call->server, e->top_id[i], e->top_logprob[i]);
        buf_char(out, '}');
    }
    buf_str(out, STR("]}"));
}

static void add_logprobs(Buf *out, const Choice *h)
{
    if (h->prompt->top < 0) {
        buf_str(out, STR(",\"logprobs\":null"));
        return;
    }
    buf_str(out, STR(",\"logprobs\":{\"content\":["));
    buf_str(out, buf_view(&h->part[PART_CONTENT]));
    buf_str(out, STR("]}"));
}

/* ---- out ---- */

/* One chunk; member: of the delta object. with_logprobs takes what has been gathered. */
static void send_chunk(Choice *h, Str member, bool with_logprobs, bool last)
{
    Buf *b = &h->scratch;
    buf_clear(b);
    openai_head(b, h->call, "chat.completion.chunk");
    buf_printf(b, "{\"index\":%d,\"delta\":{", h->index);
    if (!h->opened) buf_str(b, member.n ? STR("\"role\":\"assistant\",") : STR("\"role\":\"assistant\""));
    buf_str(b, member);
    buf_char(b, '}');
    if (with_logprobs) {
        add_logprobs(b, h);
        buf_clear(&h->part[PART_CONTENT]);
    } else {
        buf_str(b, STR(",\"logprobs\":null"));
    }
    openai_finish(b, h, !last);
    buf_char(b, '}');
    openai_chunk_tail(b, h->call, h);
    call_send(h->call, b);
    h->opened = true;
}

static void open_answer(Choice *h)
{
    if (!h->opened) send_chunk(h, STR("\"content\":\"\""), false, false);
}

static void send_part(Choice *h, Str member)
{
    open_answer(h);
    send_chunk(h, member, true, false);
}

static void send_text(Choice *h)
{
    Str text = call_new_text(h);
    Buf member = { 0 };
    if (text.n == 0) return;
    jsonw_key(&member, "content");
    jsonw_str(&member, text);
    send_part(h, buf_view(&member));
    buf_free(&member);
}

static void on_delta(Choice *h)
{
    bool last = h->reason != RADISH_END_NONE, apart = chat_answer_active(h->call);
    if (apart)
        chat_answer_feed(h, send_part);
    else
        send_text(h);
    bool waits = apart && !last; /* logprobs go with the text they belong to, and that may be held back */
    if (h->part[PART_CONTENT].n && !waits) send_part(h, STR("\"content\":\"\""));
    if (!last) return;
    open_answer(h);
    send_chunk(h, (Str){ 0 }, false, true);
}

static void on_end(Call *c)
{
    openai_send_usage(c, "chat.completion.chunk");
}

static void add_message(Buf *out, Choice *h)
{
    const ChatParts *p = NULL;
    if (chat_answer_active(h->call)) {
        chat_answer_feed(h, NULL);
        p = chat_answer_parts(h);
    }
    const Buf *content = p ? &p->content : &h->text;
    buf_str(out, STR("\"content\":"));
    jsonw_str(out, content->n ? buf_view(content) : STR(""));
    buf_str(out, STR(",\"reasoning_content\":"));
    if (p && p->reasoning.n)
        jsonw_str(out, buf_view(&p->reasoning));
    else
        buf_str(out, STR("null"));
    buf_str(out, STR(",\"tool_calls\":"));
    if (p && p->calls.n)
        buf_printf(out, "[%.*s]", STR_FMT(buf_view(&p->calls)));
    else
        buf_str(out, STR("null"));
}

static void whole(Call *c, Buf *out)
{
    openai_head(out, c, "chat.completion");
    for (int i = 0; i < c->n_choices; i++) {
        Choice *h = &c->choices[i];
        buf_printf(out, "%s{\"index\":%d,\"message\":{\"role\":\"assistant\",", i ? "," : "", i);
        add_message(out, h);
        buf_char(out, '}');
        add_logprobs(out, h);
        openai_finish(out, h, false);
        openai_ids(out, h);
        buf_char(out, '}');
    }
    openai_tail(out, c);
}

static void on_text(Choice *h)
{
    if (chat_answer_active(h->call)) chat_answer_feed(h, NULL);
}

const Format chat_format = {
    .prepare = prepare, .token = on_token, .text = on_text, .delta = on_delta, .end = on_end, .whole = whole
};

static void handle(Server *s, const HttpRequest *q, HttpReply *r)
{
    (void)q;
    call_start(s, &chat_format, "chatcmpl-", r);
}

const Route chat_route = { "/v1/chat/completions", ROUTE_POST | ROUTE_JSON, handle };
