/* parse.c - reasoning, content and the marks between them: the door's functions, and what is told when.
 *
 * Each byte moves one of a few small machines (parse.h). Marks are looked for by comparing what is held with each of
 * them: there are a handful, and text without a mark's first byte is passed on without a look. Events of one kind are gathered and
 * told when the kind changes or the feed ends, so what is told does not depend on how the text was cut. */
#include "dialect/parse.h"

enum {
    RESCAN_MAX = 4096,    /* a longer failed call is handed back without looking for another inside */
    START_SPACE_MAX = 256 /* white space before the first mark */
};

/* ---- telling ---- */

static void flush(DialectParser *p)
{
    if (p->out.n == 0) return;
    DialectEvent e = { .kind = p->out_kind, .call = p->n_calls - 1, .text = buf_view(&p->out) };
    p->sink(p->ctx, &e);
    buf_clear(&p->out);
}

void parse_tell(DialectParser *p, DialectEventKind kind, Str text)
{
    if (text.n == 0 || (kind == DIALECT_ARGUMENTS && p->muted)) return;
    if (kind != p->out_kind) flush(p);
    p->out_kind = kind;
    buf_str(&p->out, text);
}

/* Whether a call of this output has the id already; if not, it is noted. */
static bool id_taken(DialectParser *p, Str id)
{
    Buf line = { 0 };
    buf_printf(&line, "\n%.*s\n", STR_FMT(id));
    bool taken = p->ids.n && str_find(buf_view(&p->ids), buf_view(&line), 0) != SIZE_MAX;
    if (!taken) buf_str(&p->ids, buf_view(&line));
    buf_free(&line);
    return taken;
}

/* The id that the model wrote, unless it wrote none or one twice: results are matched to calls by it. */
static void settle_id(DialectParser *p)
{
    char id[DIALECT_ID_BYTES];
    int number = p->o.first_call + p->n_calls;
    bool good = p->id.n && p->id.n < DIALECT_ID_BYTES && !id_taken(p, buf_view(&p->id));
    for (; !good; number++) {
        dialect_id(p->o.dialect->ids, p->o.seed, number, buf_view(&p->name), id);
        good = !id_taken(p, str_of(id));
        buf_clear(&p->id);
        buf_str(&p->id, str_of(id));
    }
}

void parse_begin(DialectParser *p)
{
    flush(p);
    p->newlines = 0;
    p->at_start = false;
    p->bare_over = true;
    p->muted = p->o.one_call && p->n_calls > 0;
    if (!p->muted) settle_id(p);
    p->tool = dialect_tools_find(p->o.tools, buf_view(&p->name));
    if (!p->muted) {
        DialectEvent e = {
            .kind = DIALECT_CALL, .call = p->n_calls++, .name = buf_view(&p->name), .id = buf_view(&p->id)
        };
        p->sink(p->ctx, &e);
    }
    p->begun = true;
    p->thinking = false;
    p->base = p->pos; /* whatever comes now, it is not read again as text */
}

void parse_end(DialectParser *p)
{
    if (!p->begun) {
        parse_begin(p);
        parse_args(p, STR("{}"));
    }
    flush(p);
    DialectEvent e = { .kind = DIALECT_CALL_END, .call = p->n_calls - 1 };
    if (!p->muted) p->sink(p->ctx, &e);
    p->begun = p->muted = false;
    p->fresh = true;
}

void parse_say_newlines(DialectParser *p, DialectEventKind kind)
{
    for (; p->newlines; p->newlines--) parse_tell(p, kind, STR("\n"));
}

void parse_say(DialectParser *p, DialectEventKind kind, char c)
{
    if (c == '\n') {
        if (!p->fresh) p->newlines++;
        return;
    }
    p->fresh = false;
    if (!parse_space(c)) p->at_start = false;
    parse_say_newlines(p, kind);
    parse_tell(p, kind, (Str){ &c, 1 });
}

bool parse_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.' || c == '/' || c == ':' || c == '$' || (unsigned char)c >= 0x80;
}

/* ---- marks in text ---- */

typedef enum { MARK_NONE, MARK_PART, MARK_WHOLE } MarkFit;

static MarkFit fits(Str held, const char *mark)
{
    size_t n = strlen(mark);
    if (memcmp(held.p, mark, MIN(held.n, n)) != 0) return MARK_NONE;
    return held.n < n ? MARK_PART : MARK_WHOLE;
}

/* The first form that begins with what is held; *fit says how far. -1: none. */
static int form_of(const DialectParser *p, Str held, MarkFit *fit)
{
    const Dialect *d = p->o.dialect;
    *fit = MARK_NONE;
    for (int i = 0; d && i < d->n_forms; i++) {
        const char *mark = dialect_form_mark(&d->forms[i]);
        if (d->forms[i].bare || !mark) continue;
        MarkFit f = fits(held, mark);
        if (f == MARK_WHOLE || (f == MARK_PART && *fit == MARK_NONE)) *fit = f;
        if (f == MARK_WHOLE) return i;
    }
    return -1;
}

static MarkFit drop_of(const DialectParser *p, Str held)
{
    const Dialect *d = p->o.dialect;
    MarkFit all = MARK_NONE;
    for (size_t i = 0; d && i < COUNT(d->drops) && d->drops[i]; i++) {
        MarkFit f = fits(held, d->drops[i]);
        if (f == MARK_WHOLE) return f;
        all = MAX(all, f);
    }
    return all;
}

/* What is held began like a mark and is none: its first byte is text, the rest is read again. */
static void say_first(DialectParser *p, DialectEventKind kind)
{
    parse_say(p, kind, p->in.p[p->base++]);
    p->pos = p->base;
}

static void content_byte(DialectParser *p)
{
    MarkFit fit, drop;
    Str held = parse_held(p);
    int form = form_of(p, held, &fit);
    if (form >= 0) {
        steps_start(p, form, 0);
        return;
    }
    drop = drop_of(p, held);
    if (drop == MARK_WHOLE) {
        p->pos++;
        p->base = p->pos;
    } else if (fit == MARK_PART || drop == MARK_PART) {
        p->pos++;
    } else {
        say_first(p, DIALECT_CONTENT);
    }
}

static void reasoning_over(DialectParser *p)
{
    p->newlines = 0;
    p->fresh = true;
    p->state = PARSE_START;
    p->at_start = false;
    if (p->out_kind == DIALECT_REASONING) flush(p);
}

static void reasoning_byte(DialectParser *p)
{
    const DialectReasoning *r = p->o.reasoning;
    Str held = parse_held(p);
    MarkFit close = fits(held, r->close), call = MARK_NONE;
    int form = r->ends_at_call ? form_of(p, held, &call) : -1;
    if (close == MARK_WHOLE) {
        p->pos++;
        p->base = p->pos;
        reasoning_over(p);
    } else if (form >= 0) {
        p->thinking = true;
        steps_start(p, form, 0);
    } else if (close == MARK_PART || call == MARK_PART) {
        p->pos++;
    } else {
        say_first(p, DIALECT_REASONING);
    }
}

/* A failed call's bytes are text: the first at once, the others after another look. */
void parse_give_back(DialectParser *p)
{
    DialectEventKind kind = p->thinking ? DIALECT_REASONING : DIALECT_CONTENT;
    size_t n = p->pos - p->base;
    p->state = p->thinking ? PARSE_REASONING : PARSE_CONTENT;
    p->thinking = false;
    p->bare_over = true;
    for (size_t i = 0; i < (n > RESCAN_MAX ? n : 1) && p->base < p->in.n; i++) parse_say(p, kind, p->in.p[p->base++]);
    p->pos = p->base;
}

/* ---- the start, of an output or of an answer ---- */

/* The form without a mark that a first byte begins; -1: none. */
static int bare_form(const DialectParser *p, char c)
{
    const Dialect *d = p->o.dialect;
    for (int i = 0; d && !p->bare_over && i < d->n_forms; i++) {
        const char *mark = dialect_form_mark(&d->forms[i]);
        if (d->forms[i].bare && c == (mark ? mark[0] : '{')) return i;
    }
    return -1;
}

static void begin_reasoning(DialectParser *p)
{
    p->pos++;
    p->base = p->pos;
    p->state = PARSE_REASONING;
    p->fresh = true;
    p->at_start = p->o.inside = false;
}

static void start_byte(DialectParser *p)
{
    const DialectReasoning *r = p->o.reasoning;
    Str held = parse_held(p);
    bool thinks = r && !r->channels && p->at_start;
    size_t space = 0;
    while (space < held.n && parse_space(held.p[space])) space++;
    Str rest = str_cut(held, space, held.n);
    MarkFit open = thinks && rest.n ? fits(rest, r->open) : MARK_NONE;
    if ((rest.n == 0 && space < START_SPACE_MAX) || open == MARK_PART) {
        p->pos++;
        return;
    }
    if (open == MARK_WHOLE) {
        begin_reasoning(p);
        return;
    }
    int bare = rest.n && !p->o.inside ? bare_form(p, rest.p[0]) : -1;
    p->pos = p->base;
    if (p->o.inside && p->at_start) {
        p->state = PARSE_REASONING;
        p->at_start = false;
        p->fresh = true;
        p->o.inside = false;
    } else if (bare >= 0) {
        steps_start(p, bare, space);
    } else {
        p->state = PARSE_CONTENT;
    }
}

/* ---- the door ---- */

DialectParser *dialect_parser_new(const DialectOptions *o, DialectSink *sink, void *ctx)
{
    DialectParser *p = mem_alloc(sizeof *p);
    p->o = *o;
    p->sink = sink;
    p->ctx = ctx;
    p->at_start = true;
    p->tool = -1;
    bool channels = (o->dialect && o->dialect->channels) || (o->reasoning && o->reasoning->channels);
    p->state = channels ? PARSE_CHANNELS : PARSE_START;
    return p;
}

void dialect_parser_free(DialectParser *p)
{
    if (!p) return;
    buf_free(&p->in);
    buf_free(&p->out);
    buf_free(&p->name);
    buf_free(&p->id);
    buf_free(&p->ids);
    buf_free(&p->key);
    buf_free(&p->value);
    mem_free(p);
}

int dialect_parser_calls(const DialectParser *p)
{
    return p->n_calls;
}

static void read_byte(DialectParser *p)
{
    switch (p->state) {
    case PARSE_START: start_byte(p); return;
    case PARSE_REASONING: reasoning_byte(p); return;
    case PARSE_CONTENT: content_byte(p); return;
    case PARSE_CALLS: steps_byte(p); return;
    case PARSE_CHANNELS: channels_byte(p); return;
    }
}

/* Bytes before base have been told: they go. */
static void forget(DialectParser *p)
{
    if (p->base == 0) return;
    memmove(p->in.p, p->in.p + p->base, p->in.n - p->base);
    p->in.n -= p->base;
    p->pos -= p->base;
    p->base = 0;
}

void dialect_parser_feed(DialectParser *p, Str text)
{
    buf_str(&p->in, text);
    while (p->pos < p->in.n) read_byte(p);
    forget(p);
    if (p->o.whole_reasoning && p->out_kind == DIALECT_REASONING) return;
    flush(p);
}

void dialect_parser_finish(DialectParser *p)
{
    /* Whoever holds something at the end either tells it or hands it back, which may open a shorter held piece. */
    while (p->base < p->in.n || p->state == PARSE_CALLS) {
        while (p->pos < p->in.n) read_byte(p);
        if (p->state == PARSE_CALLS) {
            if (p->begun || p->phase == PHASE_BETWEEN || p->phase == PHASE_CLOSE)
                steps_finish(p);
            else
                parse_give_back(p);
        } else if (p->state == PARSE_REASONING || (p->state == PARSE_START && p->o.inside && p->at_start)) {
            p->state = PARSE_REASONING;
            while (p->base < p->in.n) parse_say(p, DIALECT_REASONING, p->in.p[p->base++]);
            p->pos = p->base;
        } else if (p->state == PARSE_CHANNELS) {
            channels_finish(p);
        } else {
            while (p->base < p->in.n) parse_say(p, DIALECT_CONTENT, p->in.p[p->base++]);
            p->pos = p->base;
        }
    }
    if (p->state == PARSE_CHANNELS) channels_finish(p);
    if (p->state == PARSE_CONTENT || p->state == PARSE_START) parse_say_newlines(p, DIALECT_CONTENT);
    flush(p);
    forget(p);
}
