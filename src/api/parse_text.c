/* parse_text.c - /parse_function_call and /separate_reasoning: the text of an answer taken apart, as the server would have done it
 * for a chat. On a text thread. */
#include "api/job.h"
#include "api/routes.h"
#include "base/jsonw.h"

typedef struct {
    Buf reasoning, content, calls, args;
    int n_calls;
    Str name; /* of the call under way, in the arena */
    Arena *arena;
    const DialectTools *tools;
} Parts;

static void gather(void *ctx, const DialectEvent *e)
{
    Parts *p = ctx;
    switch (e->kind) {
    case DIALECT_REASONING: buf_str(&p->reasoning, e->text); break;
    case DIALECT_CONTENT: buf_str(&p->content, e->text); break;
    case DIALECT_CALL:
        p->name = arena_str(p->arena, e->name);
        buf_clear(&p->args);
        break;
    case DIALECT_ARGUMENTS: buf_str(&p->args, e->text); break;
    case DIALECT_CALL_END:
        jsonw_sep(&p->calls);
        buf_printf(&p->calls, "{\"tool_index\":%d,\"name\":", dialect_tools_find(p->tools, p->name));
        jsonw_str(&p->calls, p->name);
        buf_str(&p->calls, STR(",\"parameters\":"));
        jsonw_str(&p->calls, p->args.n ? buf_view(&p->args) : STR(""));
        buf_char(&p->calls, '}');
        break;
    }
}

static void parts_free(Parts *p)
{
    buf_free(&p->reasoning);
    buf_free(&p->content);
    buf_free(&p->calls);
    buf_free(&p->args);
}

static void take_apart(const DialectOptions *o, Str text, Parts *parts)
{
    DialectParser *p = dialect_parser_new(o, gather, parts);
    dialect_parser_feed(p, text);
    dialect_parser_finish(p);
    dialect_parser_free(p);
}

static Status read_text(Params *p, Str *text)
{
    TRY(params_str(p, "text", text));
    return text->p ? OK : params_refuse(p, "text", "is missing: send the text of an answer");
}

/* ---- calls ---- */

static Status read_tools(Params *p, DialectTools **tools)
{
    const json_t *list = params_get(p, "tools");
    Err why;
    if (!json_is_array(list)) return params_refuse(p, "tools", "must be a list");
    if (dialect_tools_read(params_text(p, list), tools, &why) == OK) return OK;
    p->param = "tools";
    return fail(p->err, why.status, "tools%s", why.text);
}

static Status parse_calls(Server *s, Params *p, Buf *out)
{
    Str text = { 0 }, name = { 0 };
    DialectTools *tools = NULL;
    DialectOptions o = { .dialect = s->dialect, .seed = s->id_seed };
    TRY(read_text(p, &text));
    TRY(params_str(p, "tool_call_parser", &name));
    if (name.n) o.dialect = dialect_find(name);
    if (!o.dialect) return params_refuse(p, "tool_call_parser", "must be the name of a way to write calls");
    TRY(read_tools(p, &tools));
    Parts parts = { .arena = p->arena, .tools = o.tools = tools };
    take_apart(&o, text, &parts);
    buf_str(out, STR("{\"normal_text\":"));
    jsonw_str(out, parts.content.n ? buf_view(&parts.content) : STR(""));
    buf_str(out, STR(",\"calls\":["));
    if (parts.calls.n) buf_str(out, buf_view(&parts.calls));
    buf_str(out, STR("]}"));
    parts_free(&parts);
    dialect_tools_free(tools);
    return OK;
}

/* ---- reasoning ---- */

static Status separate(Server *s, Params *p, Buf *out)
{
    Str text = { 0 }, name = { 0 };
    DialectOptions o = { .reasoning = s->reasoning };
    TRY(read_text(p, &text));
    TRY(params_str(p, "reasoning_parser", &name));
    if (name.n) o.reasoning = dialect_reasoning_find(name);
    if (!o.reasoning) return params_refuse(p, "reasoning_parser", "must be the name of a way to write reasoning");
    o.inside = dialect_reasoning_goes_on(o.reasoning, text);
    Parts parts = { .arena = p->arena };
    take_apart(&o, text, &parts);
    buf_str(out, STR("{\"reasoning_text\":"));
    jsonw_str(out, parts.reasoning.n ? buf_view(&parts.reasoning) : STR(""));
    buf_str(out, STR(",\"text\":"));
    jsonw_str(out, parts.content.n ? buf_view(&parts.content) : STR(""));
    buf_char(out, '}');
    parts_free(&parts);
    return OK;
}

static void handle_calls(Server *s, const HttpRequest *q, HttpReply *r)
{
    (void)q;
    job_start(s, r, parse_calls);
}

static void handle_reasoning(Server *s, const HttpRequest *q, HttpReply *r)
{
    (void)q;
    job_start(s, r, separate);
}

const Route parse_function_call_route = { "/parse_function_call", ROUTE_POST, handle_calls };
const Route separate_reasoning_route = { "/separate_reasoning", ROUTE_POST, handle_reasoning };
