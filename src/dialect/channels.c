/* channels.c - outputs of messages with headers: which channel, and to whom. See harmony.c.
 *
 * A message to a function is a call, one on the channel "analysis" is reasoning, all others are content. Messages of one kind
 * that follow each other are told with a newline between. */
#include "dialect/parse.h"

enum { HEADER_MAX = 1024 };
enum { AT_START, AT_HEADER, AT_BODY };
enum { BODY_REASONING, BODY_CONTENT, BODY_CALL };

static const char *const ends[] = { "<|end|>", "<|call|>", "<|return|>", "<|start|>", "<|channel|>" };
enum { ENDS_HEADERS = 3 }; /* from here on they are a header's */
static const char *const starters[] = { "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>",
                                        " to=",      "to=",         "assistant" };

/* -1: begins like none; n: the whole of mark n; -2: a part of one. */
static int mark_of(Str held, const char *const *mark, int n)
{
    int part = -1;
    for (int i = 0; i < n; i++) {
        size_t len = strlen(mark[i]);
        if (memcmp(held.p, mark[i], MIN(len, held.n)) != 0) continue;
        if (held.n >= len) return i;
        part = -2;
    }
    return part;
}

/* The word behind `label` in a header. */
static Str word_after(Str header, Str label)
{
    size_t from = str_find(header, label, 0), to;
    if (from == SIZE_MAX) return STR("");
    for (to = from += label.n; to < header.n && !parse_space(header.p[to]) && header.p[to] != '<';) to++;
    return str_cut(header, from, to);
}

static void begin_body(DialectParser *p, Str header)
{
    Str to = word_after(header, STR("to=")), functions = STR("functions.");
    bool analysis = str_is(word_after(header, STR("<|channel|>")), "analysis");
    bool function = str_starts(to, functions) && to.n > functions.n;
    p->place = AT_BODY;
    p->args_open = false;
    if (p->o.dialect && to.n && !str_is(to, "user") && (function || !analysis) && to.n <= DIALECT_MAX_NAME) {
        p->channel = BODY_CALL;
        buf_clear(&p->name);
        buf_clear(&p->id);
        buf_str(&p->name, function ? str_cut(to, functions.n, to.n) : to);
        parse_begin(p);
    } else {
        p->channel = analysis && p->o.reasoning ? BODY_REASONING : BODY_CONTENT;
    }
}

static void body_byte(DialectParser *p, char c)
{
    DialectEventKind kind = p->channel == BODY_REASONING ? DIALECT_REASONING : DIALECT_CONTENT;
    if (p->channel == BODY_CALL) {
        parse_args(p, (Str){ &c, 1 });
    } else {
        if (!p->args_open && p->said[p->channel]) parse_tell(p, kind, STR("\n"));
        parse_tell(p, kind, (Str){ &c, 1 });
        p->said[p->channel] = true;
    }
    p->args_open = true;
}

static void end_body(DialectParser *p)
{
    if (p->channel == BODY_CALL && p->begun) {
        if (!p->args_open) parse_args(p, STR("{}"));
        parse_end(p);
    }
    p->channel = BODY_CONTENT;
}

static void plain(DialectParser *p)
{
    p->place = AT_BODY;
    p->channel = BODY_CONTENT;
    p->args_open = true;
    p->pos = p->base;
}

static void start_byte(DialectParser *p)
{
    int mark = mark_of(parse_held(p), starters, COUNT(starters));
    if (mark == -1) {
        plain(p);
        return;
    }
    p->pos++;
    if (mark >= 0) p->place = AT_HEADER;
    if (mark >= 0 && !strcmp(starters[mark], "<|message|>")) {
        begin_body(p, STR(""));
        p->base = p->pos;
    }
}

static void header_byte(DialectParser *p)
{
    Str held = parse_held(p);
    p->pos++;
    if (held.n > HEADER_MAX) {
        plain(p);
        /* What begins it is text whatever it looks like; the rest is looked at again. */
        body_byte(p, p->in.p[p->base++]);
        p->pos = p->base;
        return;
    }
    if (held.p[held.n - 1] != '>') return;
    if (str_ends(held, STR("<|message|>"))) {
        begin_body(p, held);
        p->base = p->pos;
        return;
    }
    for (int i = 0; i < ENDS_HEADERS; i++) {
        if (!str_ends(held, str_of(ends[i]))) continue;
        p->base = p->pos;
        p->place = AT_START;
    }
}

void channels_byte(DialectParser *p)
{
    if (p->place == AT_START) {
        start_byte(p);
        return;
    }
    if (p->place == AT_HEADER) {
        header_byte(p);
        return;
    }
    int mark = mark_of(parse_held(p), ends, COUNT(ends));
    if (mark == -2) {
        p->pos++;
    } else if (mark == -1) {
        body_byte(p, p->in.p[p->base++]);
        p->pos = p->base;
    } else {
        end_body(p);
        p->pos++;
        p->place = mark < ENDS_HEADERS ? AT_START : AT_HEADER;
        if (p->place == AT_START) p->base = p->pos;
    }
}

void channels_finish(DialectParser *p)
{
    Str held = p->in.n ? str_cut(buf_view(&p->in), p->base, p->in.n) : STR("");
    bool header = p->place == AT_HEADER && str_find(held, STR("<|"), 0) != SIZE_MAX;
    if (p->place != AT_BODY && held.n && !header) plain(p);
    if (p->place == AT_BODY)
        while (p->base < p->in.n) body_byte(p, p->in.p[p->base++]);
    p->base = p->pos = p->in.n;
    end_body(p);
}
