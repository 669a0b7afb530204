/* constraint.c - a description written out as a structural tag: what an output may be, for the tools and the choice of a request.
 *
 * A call becomes a tag for each tool, from the steps of the dialect's first form: text that is fixed before and after, and between
 * them the arguments' schema in the form's spelling. Marks are written as text; the grammar takes a special token where its text
 * stands. Around the calls come what the choice allows besides (free text, a final answer) and, before all, the reasoning. */
#include "base/jsonw.h"
#include "dialect/describe.h"

/* ---- formats ---- */

static void write_text(Buf *out, Str text)
{
    jsonw_sep(out);
    buf_str(out, STR("{\"type\":\"const_string\",\"value\":"));
    jsonw_str(out, text);
    buf_char(out, '}');
}

static void write_regex(Buf *out, const char *pattern)
{
    jsonw_sep(out);
    buf_str(out, STR("{\"type\":\"regex\",\"pattern\":"));
    jsonw_str(out, str_of(pattern));
    buf_char(out, '}');
}

static void write_schema(Buf *out, Str schema, const char *style)
{
    jsonw_sep(out);
    buf_str(out, STR("{\"type\":\"json_schema\",\"json_schema\":"));
    buf_str(out, schema);
    if (style) {
        jsonw_key(out, "style");
        jsonw_str(out, str_of(style));
    }
    buf_char(out, '}');
}

static void write_open(Buf *out, const char *type)
{
    jsonw_sep(out);
    buf_printf(out, "{\"type\":\"%s\",\"elements\":[", type);
}

static void write_close(Buf *out)
{
    buf_str(out, STR("]}"));
}

static void write_optional(Buf *out, const char *type)
{
    jsonw_sep(out);
    buf_printf(out, "{\"type\":\"%s\",\"content\":", type);
}

/* The members of a tag come as begin, content, end; what is open is closed by tag_end. */
static void tag_begin(Buf *out, Str begin)
{
    jsonw_sep(out);
    buf_str(out, STR("{\"type\":\"tag\",\"begin\":"));
    jsonw_str(out, begin);
    buf_str(out, STR(",\"content\":"));
}

static void tag_end(Buf *out, Str end)
{
    buf_str(out, STR(",\"end\":"));
    jsonw_str(out, end);
    buf_char(out, '}');
}

static void write_any_until(Buf *out, Str begin, Str end)
{
    tag_begin(out, begin);
    buf_str(out, STR("{\"type\":\"any_text\"}"));
    tag_end(out, end);
}

/* ---- a call ---- */

/* Fixed text gathers until something else has to be written. */
typedef struct {
    const Form *form;
    const DialectTool *tool;
    bool held; /* the arguments follow the tool's schema; else they are any object */
    Buf text;  /* fixed, not written yet */
    Buf parts; /* what comes after the first fixed text */
    Buf begin;
    bool begun; /* begin is complete */
} Call;

static void settle(Call *c)
{
    if (!c->begun)
        buf_str(&c->begin, buf_view(&c->text));
    else if (c->text.n)
        write_text(&c->parts, buf_view(&c->text));
    c->begun = true;
    buf_clear(&c->text);
}

/* The grammar's name for the form's spelling of arguments; NULL: JSON. */
static const char *style_of(const Form *f)
{
    switch (f->args) {
    case ARGS_JSON: return NULL;
    case ARGS_XML: return f->xml->style;
    case ARGS_PYTHON: return "pythonic";
    case ARGS_GEMMA: return "gemma";
    }
    return NULL;
}

static void args(Call *c)
{
    bool held = c->held && c->tool->schema.n;
    settle(c);
    write_schema(&c->parts, held ? c->tool->schema : STR("{\"type\":\"object\"}"), style_of(c->form));
    if (c->form->args == ARGS_PYTHON) buf_char(&c->text, ')');
}

static void object(Call *c)
{
    const Form *f = c->form;
    buf_char(&c->text, '{');
    if (f->id_key && f->id_first) {
        buf_printf(&c->text, "\"%s\": \"", f->id_key);
        settle(c);
        write_regex(&c->parts, f->id_pattern);
        buf_str(&c->text, STR("\", "));
    }
    buf_printf(&c->text, "\"%s\": ", f->name_key);
    jsonw_str(&c->text, c->tool->name);
    buf_printf(&c->text, ", \"%s\": ", f->args_key);
    args(c);
    if (f->id_key && !f->id_first) {
        buf_printf(&c->text, ", \"%s\": \"", f->id_key);
        settle(c);
        write_regex(&c->parts, f->id_pattern);
        buf_char(&c->text, '"');
    }
    buf_char(&c->text, '}');
}

static void step(Call *c, const Step *s)
{
    switch (s->kind) {
    case STEP_TEXT:
    case STEP_SPACE:
    case STEP_WORD: buf_str(&c->text, str_of(s->text)); return;
    case STEP_NAME: buf_str(&c->text, c->tool->name); return;
    case STEP_PATH:
        buf_printf(&c->text, "functions.%.*s:", STR_FMT(c->tool->name));
        settle(c);
        write_regex(&c->parts, "[0-9]{1,6}");
        return;
    case STEP_ID:
        settle(c);
        write_regex(&c->parts, s->text);
        return;
    case STEP_CALL: object(c); return;
    case STEP_ARGS: args(c); return;
    case STEP_END: return;
    }
}

static void write_parts(Buf *out, Call *c)
{
    tag_begin(out, buf_view(&c->begin));
    write_open(out, "sequence");
    buf_str(out, buf_view(&c->parts));
    write_close(out);
    tag_end(out, c->text.n ? buf_view(&c->text) : STR(""));
}

/* One call of the tool as a tag. */
static void write_call(const DialectRules *r, const Form *f, const DialectTool *tool, Buf *out)
{
    bool forced = r->choice == DIALECT_REQUIRED || r->choice == DIALECT_NAMED;
    Call c = { .form = f, .tool = tool, .held = tool->strict || (forced && !tool->loose) };
    for (const Step *s = f->call; s < f->call + FORM_CALL && s->kind; s++) step(&c, s);
    write_parts(out, &c); /* never empty: a call has its arguments */
    buf_free(&c.text);
    buf_free(&c.parts);
    buf_free(&c.begin);
}

/* ---- calls ---- */

static void fixed_text(const Step *s, int n, Buf *out)
{
    for (int i = 0; i < n && s[i].kind; i++) buf_str(out, str_of(s[i].text));
}

/* "tags":[...] of every tool that may be called. */
static void write_tags(const DialectRules *r, const Form *f, Buf *out)
{
    jsonw_key(out, "tags");
    buf_char(out, '[');
    for (size_t i = 0; i < dialect_tools_count(r->tools); i++) {
        if (r->choice == DIALECT_NAMED && (int)i != r->named) continue;
        write_call(r, f, dialect_tools_at(r->tools, i), out);
    }
    buf_char(out, ']');
}

/* Calls with what stands between them, one at least. */
static void write_list(const DialectRules *r, const Form *f, Buf *out)
{
    bool one = !r->parallel || r->choice == DIALECT_NAMED;
    jsonw_sep(out);
    buf_str(out, STR("{\"type\":\"tags_with_separator\",\"separator\":"));
    jsonw_str(out, str_of(f->between));
    buf_printf(out, ",\"at_least_one\":true,\"stop_after_first\":%s", one ? "true" : "false");
    write_tags(r, f, out);
    buf_char(out, '}');
}

/* The calls and what opens and closes them, as a tag (even if nothing does). */
static void write_section(const DialectRules *r, Buf *out)
{
    const Form *f = &r->dialect->forms[0];
    Buf open = { 0 }, close = { 0 };
    fixed_text(f->open, FORM_OPEN, &open);
    fixed_text(f->close, FORM_CLOSE, &close);
    tag_begin(out, open.n ? buf_view(&open) : STR(""));
    write_list(r, f, out);
    tag_end(out, close.n ? buf_view(&close) : STR(""));
    buf_free(&open);
    buf_free(&close);
}

/* The final answer in its schema, within the marks that the model puts around words. */
static void write_answer(const DialectRules *r, Buf *out)
{
    const Dialect *d = r->dialect;
    if (d && d->answer_open) tag_begin(out, str_of(d->answer_open));
    write_schema(out, r->answer, NULL);
    if (d && d->answer_open) tag_end(out, str_of(d->answer_close));
}

/* Words within their marks, as one more tag: a mark that is a special token is no text. */
static void write_words(const Dialect *d, Buf *out)
{
    if (d->answer_open) write_any_until(out, str_of(d->answer_open), str_of(d->answer_close));
}

/* Text in which a call may begin at any place. */
static void write_triggered(const DialectRules *r, Buf *out)
{
    const Form *f = &r->dialect->forms[0];
    jsonw_sep(out);
    buf_str(out, STR("{\"type\":\"triggered_tags\",\"triggers\":["));
    jsonw_str(out, str_of(dialect_form_mark(f)));
    if (r->dialect->answer_open) {
        jsonw_sep(out);
        jsonw_str(out, str_of(r->dialect->answer_open));
    }
    buf_printf(out, "],\"stop_after_first\":%s", r->parallel ? "false" : "true");
    if (!f->open[0].kind) {
        write_tags(r, f, out);
    } else {
        buf_str(out, STR(",\"tags\":["));
        write_section(r, out);
        write_words(r->dialect, out);
        buf_char(out, ']');
    }
    buf_char(out, '}');
}

/* Calls that have no mark: the answer's first character says which it is. */
static void write_bare(const DialectRules *r, Buf *out)
{
    const char *mark = dialect_form_mark(&r->dialect->forms[0]);
    write_open(out, "or");
    write_section(r, out);
    write_optional(out, "optional");
    write_open(out, "sequence");
    write_regex(out, mark ? "[^\\[\\s]" : "[^{\\s]");
    buf_str(out, STR(",{\"type\":\"any_text\"}"));
    write_close(out);
    buf_str(out, STR("}"));
    write_close(out);
}

static bool any_strict(const DialectTools *t)
{
    for (size_t i = 0; i < dialect_tools_count(t); i++)
        if (dialect_tools_at(t, i)->strict) return true;
    return false;
}

/* Text without a call's marks. */
static void write_no_calls(const DialectRules *r, Buf *out)
{
    const Dialect *d = r->dialect;
    jsonw_sep(out);
    buf_str(out, STR("{\"type\":\"any_text\",\"excludes\":["));
    for (int i = 0; i < d->n_forms; i++) {
        if (d->forms[i].bare || !dialect_form_mark(&d->forms[i])) continue;
        jsonw_sep(out);
        jsonw_str(out, str_of(dialect_form_mark(&d->forms[i])));
    }
    buf_str(out, STR("]}"));
}

/* ---- messages with headers ---- */

static const Form channel_form = {
    .call = { TEXT("<|channel|>commentary to=functions."), STEP(NAME), TEXT(" <|constrain|>json<|message|>"),
              STEP(ARGS) },
};

static void write_channel_calls(const DialectRules *r, Buf *out)
{
    jsonw_sep(out);
    buf_str(out, STR("{\"type\":\"tags_with_separator\",\"separator\":\"\",\"at_least_one\":true,"
                     "\"stop_after_first\":true"));
    write_tags(r, &channel_form, out);
    buf_char(out, '}');
}

/* Begin, thoughts, end: as long as the model likes, or up to so many tokens. */
static void write_thoughts(const DialectRules *r, Str begin, Str end, Buf *out)
{
    if (r->thinking_tokens <= 0 || !r->reasoning) {
        write_any_until(out, begin, end);
        return;
    }
    tag_begin(out, begin);
    buf_str(out, STR("{\"type\":\"any_tokens\",\"exclude_tokens\":["));
    jsonw_str(out, str_of(r->reasoning->close));
    buf_printf(out, "],\"max_tokens\":%d}", r->thinking_tokens);
    tag_end(out, end);
}

/* The model ends its output behind a call, so there is one at most. */
static void write_channels(const DialectRules *r, bool calls, bool words, Buf *out)
{
    write_open(out, "sequence");
    if (r->thinking != DIALECT_NO_REASONING) {
        write_optional(out, "optional");
        write_thoughts(r, STR("<|channel|>analysis<|message|>"), STR("<|end|><|start|>assistant"), out);
        buf_char(out, '}');
    }
    if (calls && words) { /* said before a call that is free */
        write_optional(out, "optional");
        write_any_until(out, STR("<|channel|>commentary<|message|>"), STR("<|end|><|start|>assistant"));
        buf_char(out, '}');
    }
    write_open(out, "or");
    if (calls) write_channel_calls(r, out);
    if (words) {
        write_open(out, "sequence");
        write_text(out, STR("<|channel|>final<|message|>"));
        if (r->answer.n)
            write_schema(out, r->answer, NULL);
        else
            buf_str(out, STR(",{\"type\":\"any_text\"}"));
        write_close(out);
    }
    write_close(out);
    write_close(out);
}

/* ---- the whole ---- */

/* What follows the reasoning. */
static void write_rest(const DialectRules *r, bool must_call, bool may_call, Buf *out)
{
    if (must_call) {
        write_section(r, out);
    } else if (may_call && r->answer.n) {
        write_open(out, "or");
        write_section(r, out);
        write_answer(r, out);
        write_close(out);
    } else if (may_call) {
        if (r->dialect->forms[0].bare)
            write_bare(r, out);
        else
            write_triggered(r, out);
    } else if (r->answer.n) {
        write_answer(r, out);
    } else if (r->dialect && r->choice == DIALECT_NONE && r->tools) {
        write_no_calls(r, out);
    } else {
        jsonw_sep(out);
        buf_str(out, STR("{\"type\":\"any_text\"}"));
    }
}

static void write_reasoning(const DialectRules *r, Buf *out)
{
    CHECK(r->reasoning);
    bool inside = r->thinking == DIALECT_INSIDE;
    if (!inside) write_optional(out, "optional");
    write_open(out, "sequence");
    write_thoughts(r, inside ? STR("") : str_of(r->reasoning->open), str_of(r->reasoning->close), out);
    write_regex(out, "\\n{0,2}");
    write_close(out);
    if (!inside) buf_char(out, '}');
}

void dialect_constraint(const DialectRules *r, Buf *out)
{
    bool tools = dialect_tools_count(r->tools) > 0 && r->dialect;
    bool must = tools && (r->choice == DIALECT_REQUIRED || r->choice == DIALECT_NAMED);
    bool bounded = r->reasoning && r->thinking != DIALECT_NO_REASONING && r->thinking_tokens > 0;
    bool may = must || (tools && r->choice == DIALECT_AUTO && (any_strict(r->tools) || r->answer.n || bounded));
    bool channels = (r->dialect && r->dialect->channels) || (r->reasoning && r->reasoning->channels);
    if (r->choice == DIALECT_NAMED) CHECK(r->named >= 0 && (size_t)r->named < dialect_tools_count(r->tools));
    if (!may && !r->answer.n && !bounded && !(tools && r->choice == DIALECT_NONE && !channels)) return;
    buf_str(out, STR("{\"type\":\"structural_tag\",\"format\":"));
    if (channels) {
        write_channels(r, may, !must, out);
    } else if (r->thinking != DIALECT_NO_REASONING && r->reasoning) {
        write_open(out, "sequence");
        write_reasoning(r, out);
        write_rest(r, must, may, out);
        write_close(out);
    } else {
        write_rest(r, must, may, out);
    }
    buf_char(out, '}');
}
