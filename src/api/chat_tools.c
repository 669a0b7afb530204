/* chat_tools.c - from the fields of a chat request to the rules its answer is bound by. How a model writes calls is the dialect
 * folder's; here it is decided what is asked for, and what goes first where two wishes meet: a response format becomes the form of
 * the final answer beside calls and after reasoning; any other constraint is the whole answer, so that a call cannot be asked for
 * with it. Any thread. */
#include "api/chat_tools.h"

#include "base/jsonw.h"
#include "base/log.h"

enum { MARKS_MAX = 256, THINKING_MAX = 1 << 20 };

/* ---- the server's model ---- */

static void note_mark(void *server, Str mark)
{
    Server *s = server;
    int32_t id = radish_token_id(s->radish, mark.p, mark.n);
    for (size_t i = 0; i < s->marks.n; i++)
        if (s->marks.p[i] == id) return;
    if (id >= 0 && s->marks.n < MARKS_MAX) ids_push(&s->marks, id);
}

Status chat_tools_open(Server *s, Err *err)
{
    const char *calls = s->o.tool_call_parser, *reasoning = s->o.reasoning_parser;
    Str text;
    text.p = radish_chat_template(s->radish, &text.n);
    if (!calls || !strcmp(calls, "auto"))
        s->dialect = dialect_detect(text);
    else if (strcmp(calls, "none") != 0 && !(s->dialect = dialect_find(str_of(calls))))
        return fail(err, E_INVALID, "--tool-call-parser %s: there is no such; leave it out and the template tells",
                    calls);
    if (!reasoning || !strcmp(reasoning, "auto"))
        s->reasoning = dialect_reasoning_detect(text);
    else if (strcmp(reasoning, "none") != 0 && !(s->reasoning = dialect_reasoning_find(str_of(reasoning))))
        return fail(err, E_INVALID, "--reasoning-parser %s: there is no such; leave it out and the template tells",
                    reasoning);
    if (s->dialect || s->reasoning)
        log_info("tool calls: %s; reasoning: %s", s->dialect ? dialect_name(s->dialect) : "none",
                 s->reasoning ? dialect_reasoning_name(s->reasoning) : "none");
    dialect_marks(s->dialect, s->reasoning, note_mark, s);
    return OK;
}

/* ---- in ---- */

static bool says(const json_t *x, const char *word)
{
    return json_is_string(x) && !strcmp(json_string_value(x), word);
}

/* Without tools nothing can be asked for; with them a model may call one, unless the choice says other. */
static Status read_choice(Params *p, bool have_tools, DialectChoice *choice, Str *name)
{
    const json_t *x = params_get(p, "tool_choice");
    const json_t *named = json_object_get(json_object_get(x, "function"), "name");
    *choice = have_tools ? DIALECT_AUTO : DIALECT_NONE;
    if (!x || says(x, "auto")) return OK;
    if (says(x, "none")) {
        *choice = DIALECT_NONE;
        return OK;
    }
    if (!says(x, "required") && !json_is_string(named))
        return params_refuse(p, "tool_choice",
                             "must be none, auto, required or {\"type\":\"function\",\"function\":{\"name\":...}}");
    if (!have_tools) return params_refuse(p, "tool_choice", "needs tools");
    *choice = json_is_string(named) ? DIALECT_NAMED : DIALECT_REQUIRED;
    if (json_is_string(named)) *name = (Str){ json_string_value(named), json_string_length(named) };
    return OK;
}

const json_t *chat_tools_shown(const Params *p)
{
    const json_t *tools = params_get(p, "tools");
    bool shown = json_array_size(tools) > 0 && !says(params_get(p, "tool_choice"), "none");
    return shown ? tools : NULL;
}

static int calls_before(const Params *p)
{
    const json_t *messages = params_get(p, "messages");
    int n = 0;
    for (size_t i = 0; i < json_array_size(messages); i++)
        n += (int)json_array_size(json_object_get(json_array_get(messages, i), "tool_calls"));
    return n;
}

static Status read_tools(Call *c, Params *p)
{
    ChatTools *t = &c->chat;
    const json_t *tools = params_get(p, "tools");
    Str name = { 0 };
    Err why;
    if (tools && !json_is_array(tools)) return params_wrong(p, "tools", "a list", tools);
    TRY(read_choice(p, json_array_size(tools) > 0, &t->choice, &name));
    TRY(params_bool(p, "parallel_tool_calls", &t->parallel));
    if (t->choice == DIALECT_NONE) return OK;
    if (dialect_tools_read(params_text(p, tools), &t->tools, &why) != OK) {
        p->param = "tools";
        return fail(p->err, why.status, "tools%s", why.text);
    }
    t->first_call = calls_before(p);
    t->dialect = c->server->dialect;
    if (!t->dialect && t->choice != DIALECT_AUTO)
        t->dialect = dialect_find(STR("hermes")); /* any way that is known will do */
    if (t->choice != DIALECT_NAMED) return OK;
    t->named = dialect_tools_find(t->tools, name);
    if (t->named >= 0) return OK;
    return params_refuse(p, "tool_choice", "names %.*s, which is none of the tools", (int)MIN(name.n, 64u), name.p);
}

/* Tokens of reasoning after which it is closed. */
static Status read_budget(Call *c, Params *p)
{
    static const char *const keys[] = { "thinking_token_budget", "thinking_budget" };
    const DialectReasoning *r = c->server->reasoning;
    for (size_t i = 0; i < COUNT(keys); i++) {
        if (!params_get(p, keys[i])) continue;
        TRY(params_int(p, keys[i], 1, THINKING_MAX, &c->chat.thinking_tokens));
        Str close = r ? dialect_reasoning_close(r) : (Str){ 0 };
        if (!r || radish_token_id(c->server->radish, close.p, close.n) < 0)
            return params_refuse(p, keys[i], "needs a model whose reasoning ends with a token of its own");
    }
    return OK;
}

Status chat_tools_read(Call *c, Params *p)
{
    ChatTools *t = &c->chat;
    bool separate = true, streamed = true;
    t->parallel = true;
    TRY(params_bool(p, "separate_reasoning", &separate));
    TRY(params_bool(p, "stream_reasoning", &streamed));
    t->reasoning = separate ? c->server->reasoning : NULL;
    t->whole_reasoning = !streamed;
    TRY(read_budget(c, p));
    return read_tools(c, p);
}

/* ---- rules ---- */

/* The schema of the final answer, if q asks for one that is JSON itself. */
static bool answer_schema(const RadishRequest *q, Str *schema)
{
    *schema = (Str){ q->constraint_text, q->n_constraint_text };
    if (q->constraint == RADISH_JSON_OBJECT) *schema = STR("{\"type\":\"object\"}");
    json_t *x = json_loadb(schema->p, schema->n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    bool good = x != NULL;
    json_decref(x);
    return good;
}

static Status meet_constraint(Call *c, Params *p, const RadishRequest *q)
{
    ChatTools *t = &c->chat;
    if (t->choice == DIALECT_REQUIRED || t->choice == DIALECT_NAMED)
        return params_refuse(p, "tool_choice", "asks for a call and %s for an answer of another form: send one of them",
                             c->constraint);
    if (t->thinking_tokens)
        return params_refuse(p, "thinking_budget",
                             "bounds what comes before the answer, and %s is for all of it: send one", c->constraint);
    if (q->constraint == RADISH_STRUCTURAL_TAG) return OK; /* which may well write calls */
    t->dialect = NULL;
    t->reasoning = NULL;
    return OK;
}

Status chat_tools_constrain(Call *c, Params *p, Str prompt, RadishRequest *q)
{
    ChatTools *t = &c->chat;
    const DialectReasoning *reasoning = c->server->reasoning;
    bool json = q->constraint == RADISH_JSON_SCHEMA || q->constraint == RADISH_JSON_OBJECT;
    t->inside = reasoning && dialect_reasoning_inside(reasoning, prompt);
    if (q->constraint != RADISH_FREE && !json) return meet_constraint(c, p, q);
    DialectRules rules = { .dialect = t->dialect,
                           .reasoning = reasoning,
                           .tools = t->dialect ? t->tools : NULL,
                           .choice = t->tools && t->dialect ? t->choice : DIALECT_NONE,
                           .named = t->named,
                           .parallel = t->parallel,
                           .thinking_tokens = t->thinking_tokens,
                           .thinking = !reasoning  ? DIALECT_NO_REASONING
                                       : t->inside ? DIALECT_INSIDE
                                                   : DIALECT_MAY_REASON };
    bool alone = !rules.tools && !reasoning;
    if (json && (alone || !answer_schema(q, &rules.answer))) return OK;
    if (!json && alone) return OK;
    Buf b = { 0 };
    dialect_constraint(&rules, &b);
    if (b.n) {
        Str text = arena_str(p->arena, buf_view(&b));
        q->constraint = RADISH_STRUCTURAL_TAG;
        q->constraint_text = text.p;
        q->n_constraint_text = text.n;
        q->constraint_options = NULL;
        if (!c->constraint) c->constraint = rules.tools ? "tools" : "thinking_budget";
    }
    buf_free(&b);
    return OK;
}

void chat_tools_free(Call *c)
{
    dialect_tools_free(c->chat.tools);
}
