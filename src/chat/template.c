/* template.c - a chat template compiled once, rendered for each conversation. Read-only after template_open: any thread. */
#include "chat/chat.h"
#include "chat/jinja.h"

enum { TEMPLATE_SOURCE_MAX = 4 << 20 };

struct Template {
    Arena *arena;
    JNode *root;
};

Status template_open(Str text, Template **out, Err *err)
{
    if (text.n > TEMPLATE_SOURCE_MAX)
        return fail(err, E_LIMIT, "chat template: %zu bytes is over the limit of %d", text.n, TEMPLATE_SOURCE_MAX);
    Template *t = mem_alloc(sizeof *t);
    JToken *tokens = NULL;
    size_t n;
    t->arena = arena_new(0);
    Status status = jlex_run(t->arena, text, &tokens, &n, err);
    if (status == OK) status = jparse_run(t->arena, tokens, &t->root, err);
    if (status != OK) {
        template_close(t);
        return status;
    }
    *out = t;
    return OK;
}

void template_close(Template *t)
{
    if (!t) return;
    arena_free(t->arena);
    mem_free(t);
}

/* ---- variables ---- */

static Status set_json(JRun *r, const char *name, Str json)
{
    JValue *v = (JValue *)(uintptr_t)&jvalue_none;
    if (json.n) TRY(jjson_parse(r->arena, json, name, &v, r->err));
    jeval_set(r, r->globals, str_of(name), v);
    return OK;
}

static Status set_kwargs(JRun *r, Str json)
{
    JValue *v;
    if (json.n == 0) return OK;
    TRY(jjson_parse(r->arena, json, "chat_template_kwargs", &v, r->err));
    if (v->kind != JV_DICT) return fail(r->err, E_INVALID, "chat_template_kwargs must be an object");
    for (int i = 0; i < v->u.dict->n; i++) jeval_set(r, r->globals, v->u.dict->p[i].key->u.s, v->u.dict->p[i].value);
    return OK;
}

/* ---- messages as clients send them ---- */

static JValue *prepared_message(JRun *r, JValue *message)
{
    static const char *const names[] = { "reasoning_content", "thinking", "reasoning" };
    if (message->kind != JV_DICT) return message;
    JValue *out = jvalue_dict(r->arena, JV_DICT), *reasoning = NULL;
    for (int i = 0; i < message->u.dict->n; i++) {
        const JPair *p = &message->u.dict->p[i];
        if (p->value->kind != JV_NONE) jvalue_dict_set(r->arena, out->u.dict, p->key, p->value);
    }
    for (size_t i = 0; i < COUNT(names) && !reasoning; i++) reasoning = jvalue_dict_find(out->u.dict, str_of(names[i]));
    for (size_t i = 0; i < 2 && reasoning; i++) {
        if (!jvalue_dict_find(out->u.dict, str_of(names[i])))
            jvalue_dict_set(r->arena, out->u.dict, jvalue_str(r->arena, str_of(names[i])), reasoning);
    }
    return out;
}

static Status prepare_messages(JRun *r, JValue *messages)
{
    if (messages->kind != JV_LIST) return fail(r->err, E_INVALID, "messages must be an array");
    if (messages->u.list.n == 0) return fail(r->err, E_INVALID, "messages must not be empty");
    for (int i = 0; i < messages->u.list.n; i++) messages->u.list.p[i] = prepared_message(r, messages->u.list.p[i]);
    return OK;
}

/* ---- continuing the final message: transformers' rule ----
 * A tag goes behind the last message's text; the prompt is cut where the tag comes out. If the template stripped the tag's own
 * trailing space, it strips texts, and the end of the prompt is stripped too. */

static const char continue_tag[] = "CONTINUE_FINAL_MESSAGE_TAG ";

/* Where the last message keeps its text: in "content", or in the last part of a list of parts. NULL: it has none. */
static JDict *final_holder(JValue *messages, Str *key)
{
    if (messages->kind != JV_LIST || messages->u.list.n == 0) return NULL;
    JValue *last = messages->u.list.p[messages->u.list.n - 1];
    if (last->kind != JV_DICT) return NULL;
    JValue *content = jvalue_dict_find(last->u.dict, STR("content"));
    *key = STR("content");
    if (content && content->kind == JV_STR) return last->u.dict;
    if (!content || content->kind != JV_LIST || content->u.list.n == 0) return NULL;
    JValue *part = content->u.list.p[content->u.list.n - 1];
    *key = STR("text");
    JValue *text = part->kind == JV_DICT ? jvalue_dict_find(part->u.dict, *key) : NULL;
    return text && text->kind == JV_STR ? part->u.dict : NULL;
}

static Status mark_final(JRun *r, JValue *messages, Str *final)
{
    Str key;
    JDict *holder = final_holder(messages, &key);
    if (!holder) return fail(r->err, E_INVALID, "continue_final_message: the last message has no text to continue");
    *final = jvalue_dict_find(holder, key)->u.s;
    char *marked = arena_alloc(r->arena, final->n + sizeof continue_tag); /* the text may hold NULs */
    if (final->n) memcpy(marked, final->p, final->n);
    memcpy(marked + final->n, continue_tag, sizeof continue_tag);
    Str text = { marked, final->n + sizeof continue_tag - 1 };
    jvalue_dict_set(r->arena, holder, jvalue_str(r->arena, key), jvalue_str(r->arena, text));
    return OK;
}

static bool is_white(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static Status cut_final(JRun *r, size_t begin, Str final)
{
    Str tag = STR(continue_tag), bare = str_trim(tag),
        text = str_cut(buf_view(r->out), MIN(begin, r->out->n), r->out->n);
    size_t at = str_find(text, bare, 0);
    if (at == SIZE_MAX || str_find(text, str_trim(final), 0) == SIZE_MAX)
        return fail(r->err, E_INVALID, "continue_final_message: the template does not show the last message as it is");
    for (size_t next; (next = str_find(text, bare, at + 1)) != SIZE_MAX;) at = next;
    bool stripped = !str_starts(str_cut(text, at, text.n), tag);
    size_t end = begin + at;
    while (stripped && end > begin && is_white(r->out->p[end - 1])) end--;
    r->out->n = end;
    return OK;
}

/* ---- rendering ---- */

static Status set_variables(JRun *r, const RenderInput *in, Str *final)
{
    JValue *messages;
    jfunction_globals(r, r->globals);
    for (int i = 0; i < in->n_specials; i++)
        jeval_set(r, r->globals, str_of(in->specials[i].name), jvalue_str(r->arena, in->specials[i].text));
    TRY(jjson_parse(r->arena, in->messages_json, "messages", &messages, r->err));
    if (in->prepare) TRY(prepare_messages(r, messages));
    if (in->continue_final_message) TRY(mark_final(r, messages, final));
    jeval_set(r, r->globals, STR("messages"), messages);
    TRY(set_json(r, "tools", in->tools_json));
    TRY(set_json(r, "documents", in->documents_json));
    TRY(set_kwargs(r, in->kwargs_json));
    jeval_set(r, r->globals, STR("add_generation_prompt"), jvalue_bool(in->add_generation_prompt));
    return OK;
}

Status template_render(const Template *t, const RenderInput *in, Buf *out, Err *err)
{
    Err local = { 0 };
    Str final = { 0 };
    size_t begin = out->n;
    buf_reserve(out, 1024);
    JRun r = { .arena = arena_new(0),
               .out = out,
               .out_max = begin + TEMPLATE_OUTPUT_MAX,
               .fuel = TEMPLATE_FUEL,
               .now_s = in->now_s,
               .err = &local };
    r.globals = jeval_env(r.arena, NULL);
    Status status = set_variables(&r, in, &final);
    if (status == OK) status = jeval_run(&r, t->root);
    if (status == OK && in->continue_final_message) status = cut_final(&r, begin, final);
    arena_free(r.arena);
    if (status != OK) {
        out->n = begin;
        if (err) *err = local;
    }
    return status;
}
