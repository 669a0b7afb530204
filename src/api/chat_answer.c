/* chat_answer.c - the running text of one chat answer becomes reasoning, content and calls.
 *
 * The parser is told text as it comes, and any split of it gives the same parts: a stream sends them as members of deltas, a whole
 * answer gathers them. Pieces of one kind that come together are sent together. Thread: the one that brings the choice's events. */
#include "api/chat_tools.h"
#include "base/jsonw.h"

struct ChatAnswer {
    DialectParser *parser;
    Choice *h;
    ChatParts parts;
    ChatSend *send; /* during a feed; NULL: gather */
    DialectEventKind kind;
    int call;
    Buf pending;           /* text of that kind (and call) not yet sent */
    int n_seen, n_thought; /* tokens fed; of reasoning, marks included */
    bool thinking, ended;
};

bool chat_answer_active(const Call *c)
{
    return (c->chat.tools && c->chat.dialect) || c->chat.reasoning;
}

/* ---- a stream ---- */

static void write_fragment(Buf *out, int call, Str text)
{
    buf_printf(out, "\"tool_calls\":[{\"index\":%d,\"function\":{\"arguments\":", call);
    jsonw_str(out, text);
    buf_str(out, STR("}}]"));
}

static void flush(ChatAnswer *a)
{
    Buf out = { 0 };
    if (a->pending.n == 0) return;
    if (a->kind == DIALECT_ARGUMENTS) {
        write_fragment(&out, a->call, buf_view(&a->pending));
    } else {
        jsonw_key(&out, a->kind == DIALECT_REASONING ? "reasoning_content" : "content");
        jsonw_str(&out, buf_view(&a->pending));
    }
    a->send(a->h, buf_view(&out));
    buf_clear(&a->pending);
    buf_free(&out);
}

static void write_call(Buf *out, const DialectEvent *e)
{
    buf_printf(out, "{\"index\":%d,\"id\":", e->call);
    jsonw_str(out, e->id);
    buf_str(out, STR(",\"type\":\"function\",\"function\":{\"name\":"));
    jsonw_str(out, e->name);
    buf_str(out, STR(",\"arguments\":"));
}

static void stream_event(ChatAnswer *a, const DialectEvent *e)
{
    if (e->kind != a->kind || e->call != a->call) flush(a);
    a->kind = e->kind;
    a->call = e->call;
    if (e->kind == DIALECT_CALL_END) return;
    if (e->kind != DIALECT_CALL) {
        buf_str(&a->pending, e->text);
        return;
    }
    Buf out = { 0 };
    buf_str(&out, STR("\"tool_calls\":["));
    write_call(&out, e);
    buf_str(&out, STR("\"\"}}]"));
    a->send(a->h, buf_view(&out));
    buf_free(&out);
}

/* ---- a whole ---- */

static void gather_event(ChatAnswer *a, const DialectEvent *e)
{
    ChatParts *p = &a->parts;
    switch (e->kind) {
    case DIALECT_REASONING: buf_str(&p->reasoning, e->text); break;
    case DIALECT_CONTENT: buf_str(&p->content, e->text); break;
    case DIALECT_CALL:
        if (p->calls.n) buf_char(&p->calls, ',');
        write_call(&p->calls, e);
        break;
    case DIALECT_ARGUMENTS: buf_str(&a->pending, e->text); break;
    case DIALECT_CALL_END:
        jsonw_str(&p->calls, a->pending.n ? buf_view(&a->pending) : STR(""));
        buf_str(&p->calls, STR("}}"));
        buf_clear(&a->pending);
        break;
    }
}

static void on_part(void *answer, const DialectEvent *e)
{
    ChatAnswer *a = answer;
    bool thought = e->kind == DIALECT_REASONING, whole = a->h->call->chat.whole_reasoning;
    a->thinking = thought && !whole;
    if (thought && whole) a->n_thought = a->h->n_out; /* all of it, just now over */
    if (e->kind == DIALECT_CALL) a->parts.n_calls++;
    if (a->send)
        stream_event(a, e);
    else
        gather_event(a, e);
}

/* ---- both ---- */

static ChatAnswer *answer_of(Choice *h)
{
    const Call *c = h->call;
    if (h->answer) return h->answer;
    ChatAnswer *a = mem_alloc(sizeof *a);
    DialectOptions o = { .dialect = c->chat.tools ? c->chat.dialect : NULL,
                         .reasoning = c->chat.reasoning,
                         .tools = c->chat.tools,
                         .one_call = !c->chat.parallel,
                         .inside = c->chat.reasoning && c->chat.inside,
                         .whole_reasoning = c->chat.whole_reasoning,
                         .seed = hash_mix(c->server->id_seed + atomic_fetch_add(&c->server->n_ids, 1)),
                         .first_call = c->chat.first_call };
    a->h = h;
    a->thinking = o.inside && !c->chat.whole_reasoning;
    a->parser = dialect_parser_new(&o, on_part, a);
    h->answer = a;
    return a;
}

void chat_answer_feed(Choice *h, ChatSend *send)
{
    ChatAnswer *a = answer_of(h);
    Str text = call_new_text(h);
    a->send = send;
    if (text.n) dialect_parser_feed(a->parser, text);
    a->n_thought += a->thinking ? h->n_out - a->n_seen : 0;
    a->n_seen = h->n_out;
    if (h->reason != RADISH_END_NONE && !a->ended) {
        a->ended = true;
        dialect_parser_finish(a->parser);
    }
    if (send) flush(a);
}

const ChatParts *chat_answer_parts(Choice *h)
{
    return &answer_of(h)->parts;
}

int chat_answer_calls(const Choice *h)
{
    return h->answer ? h->answer->parts.n_calls : 0;
}

int chat_answer_thought(const Choice *h)
{
    return h->answer ? h->answer->n_thought : 0;
}

void chat_answer_free(Choice *h)
{
    ChatAnswer *a = h->answer;
    if (!a) return;
    dialect_parser_free(a->parser);
    buf_free(&a->parts.content);
    buf_free(&a->parts.reasoning);
    buf_free(&a->parts.calls);
    buf_free(&a->pending);
    mem_free(a);
    h->answer = NULL;
}
