/* steps.c - walking the steps of a form as bytes come: marks, names, ids, one call after the other.
 *
 * A call that does not fit before it has been told is tried as the dialect's next form with the same mark, then handed back as
 * text. One that does not fit after that ends there, and what follows is text. */
#include "dialect/parse.h"

static const Form *form_at(const DialectParser *p)
{
    return &p->o.dialect->forms[p->form];
}

/* The steps of the phase under way; *n: how many there can be. */
static const Step *steps_of(const DialectParser *p, int *n)
{
    const Form *f = form_at(p);
    *n = p->phase == PHASE_OPEN ? FORM_OPEN : p->phase == PHASE_CALL ? FORM_CALL : FORM_CLOSE;
    return p->phase == PHASE_OPEN ? f->open : p->phase == PHASE_CALL ? f->call : f->close;
}

static StepKind step_kind(const DialectParser *p)
{
    int n;
    const Step *s = steps_of(p, &n);
    return p->step < n ? s[p->step].kind : STEP_END;
}

static void enter(DialectParser *p, Phase phase)
{
    p->phase = phase;
    p->step = 0;
    p->sub = 0;
    p->place = 0;
    p->mark = p->pos - p->base;
    if (phase != PHASE_CALL) return;
    buf_clear(&p->name);
    buf_clear(&p->id);
    buf_clear(&p->key);
    buf_clear(&p->value);
    p->args_open = p->args_done = p->in_string = p->escaped = false;
    p->depth = 0;
    p->from = p->to = 0;
}

static void advance(DialectParser *p)
{
    p->step++;
    p->sub = 0;
    p->place = 0;
    p->mark = p->pos - p->base;
}

void steps_start(DialectParser *p, int form, size_t at)
{
    p->state = PARSE_CALLS;
    p->form = form;
    p->in_form = 0;
    p->start = at;
    p->pos = p->base + at;
    enter(p, form_at(p)->open[0].kind ? PHASE_OPEN : PHASE_CALL);
}

static void leave(DialectParser *p)
{
    p->state = PARSE_CONTENT;
    p->pos = p->base;
}

bool steps_last(const DialectParser *p)
{
    int n;
    const Step *s = steps_of(p, &n);
    return p->step + 1 >= n || s[p->step + 1].kind == STEP_END;
}

/* ---- failing ---- */

/* Another form that begins with the same mark; -1: none. */
static int next_form(const DialectParser *p)
{
    const Dialect *d = p->o.dialect;
    const char *mark = dialect_form_mark(form_at(p));
    for (int i = p->form + 1; mark && i < d->n_forms; i++) {
        const char *other = dialect_form_mark(&d->forms[i]);
        if (other && !strcmp(mark, other) && d->forms[i].bare == form_at(p)->bare) return i;
    }
    return -1;
}

static void mismatch(DialectParser *p)
{
    int other;
    if (p->begun) {
        parse_end(p);
        leave(p);
    } else if (p->in_form > 0 && p->phase != PHASE_CALL) {
        leave(p);
    } else if (p->in_form == 0 && (other = next_form(p)) >= 0) {
        steps_start(p, other, p->start);
    } else {
        parse_give_back(p);
    }
}

/* ---- the steps ---- */

static Read read_text(DialectParser *p, const char *text, char c)
{
    if (text[p->sub] != c) return READ_BAD;
    return text[++p->sub] ? READ_MORE : READ_NEXT;
}

static Read read_word(DialectParser *p, char c, Buf *word)
{
    if (!parse_name_byte(c)) return p->sub ? READ_DONE : READ_BAD;
    if (++p->sub > DIALECT_MAX_NAME) return READ_BAD;
    if (word) buf_char(word, c);
    return READ_MORE;
}

/* "functions.f:0": the whole is the id, f the name. */
static Read read_path(DialectParser *p, char c)
{
    Read r = read_word(p, c, &p->id);
    if (r != READ_DONE) return r;
    Str path = buf_view(&p->id), head = STR("functions.");
    size_t from = str_starts(path, head) ? head.n : 0, to = path.n;
    while (to > from && path.p[to - 1] >= '0' && path.p[to - 1] <= '9') to--;
    if (to == path.n || to <= from + 1 || path.p[to - 1] != ':') {
        to = path.n; /* no number: the id is ours to make */
        buf_str(&p->name, str_cut(path, from, to));
        buf_clear(&p->id);
        return READ_DONE;
    }
    buf_str(&p->name, str_cut(path, from, to - 1));
    return READ_DONE;
}

static Read read_args(DialectParser *p, char c)
{
    switch (form_at(p)->args) {
    case ARGS_JSON: return read_json_args(p, c);
    case ARGS_XML: return read_xml_args(p, c);
    case ARGS_PYTHON: return read_python_args(p, c);
    case ARGS_GEMMA: return read_gemma(p, c);
    }
    return READ_BAD;
}

static Read read_name(DialectParser *p, char c)
{
    Read r = read_word(p, c, &p->name);
    /* Without a mark only a name that is known makes a call of what may be anything. */
    if (r == READ_DONE && form_at(p)->bare && dialect_tools_find(p->o.tools, buf_view(&p->name)) < 0) return READ_BAD;
    return r;
}

static Read read_step(DialectParser *p, char c)
{
    int n;
    const Step *s = steps_of(p, &n) + p->step;
    switch (s->kind) {
    case STEP_TEXT: return read_text(p, s->text, c);
    case STEP_SPACE: return parse_space(c) ? READ_MORE : READ_DONE;
    case STEP_NAME: return read_name(p, c);
    case STEP_PATH: return read_path(p, c);
    case STEP_ID: return read_word(p, c, &p->id);
    case STEP_WORD: return read_word(p, c, NULL);
    case STEP_CALL: return read_call(p, c);
    case STEP_ARGS: return read_args(p, c);
    case STEP_END: break;
    }
    return READ_BAD;
}

/* ---- between calls ---- */

/* Whether `rest` begins as the first of these steps does. */
static bool may_be(const Step *s, Str rest, bool *whole)
{
    *whole = true;
    while (s->kind == STEP_SPACE) s++;
    if (s->kind == STEP_TEXT) {
        size_t n = strlen(s->text);
        *whole = rest.n >= n;
        return memcmp(rest.p, s->text, MIN(n, rest.n)) == 0;
    }
    if (s->kind == STEP_CALL) return rest.p[0] == '{';
    return s->kind == STEP_NAME && parse_name_byte(rest.p[0]);
}

/* White space and the separator have been passed; *at: how many bytes. False: there may be more of it. */
static bool past_separator(const DialectParser *p, Str held, size_t *at)
{
    Str mark = str_trim(str_of(form_at(p)->between));
    size_t i = 0;
    while (i < held.n && parse_space(held.p[i])) i++;
    if (mark.n && i < held.n && held.p[i] == mark.p[0]) i++;
    while (i < held.n && parse_space(held.p[i])) i++;
    *at = i;
    return i < held.n;
}

static void between_byte(DialectParser *p)
{
    const Form *f = form_at(p);
    Str held = parse_held(p);
    size_t at;
    bool whole, call, close;
    if (!past_separator(p, held, &at)) {
        if (held.n > DIALECT_MAX_NAME) /* of nothing but white space */
            leave(p);
        else
            p->pos++;
        return;
    }
    Str rest = str_cut(held, at, held.n);
    call = may_be(f->call, rest, &whole);
    if (call && whole) {
        p->start = at;
        p->pos = p->base + at;
        enter(p, PHASE_CALL);
        return;
    }
    bool closed;
    close = f->close[0].kind && may_be(f->close, rest, &closed);
    if (close && closed) {
        p->pos = p->base + at;
        enter(p, PHASE_CLOSE);
    } else if (call || close) {
        p->pos++;
    } else {
        leave(p);
    }
}

/* The steps of a phase have all been read; pos is behind them. */
static void phase_over(DialectParser *p)
{
    if (p->phase == PHASE_OPEN) {
        enter(p, PHASE_CALL);
        return;
    }
    if (p->phase == PHASE_CALL) {
        const Form *f = form_at(p);
        parse_end(p);
        p->in_form++;
        p->base = p->pos;
        if (!f->open[0].kind && dialect_form_mark(f))
            leave(p); /* the next one has a mark of its own */
        else
            enter(p, PHASE_BETWEEN);
        return;
    }
    p->base = p->pos;
    leave(p);
}

static void settle(DialectParser *p)
{
    while (p->state == PARSE_CALLS && p->phase != PHASE_BETWEEN && step_kind(p) == STEP_END) phase_over(p);
}

void steps_byte(DialectParser *p)
{
    if (p->phase == PHASE_BETWEEN) {
        between_byte(p);
        return;
    }
    if (p->pos - p->base > DIALECT_MAX_HOLD) {
        mismatch(p);
        return;
    }
    switch (read_step(p, parse_byte(p))) {
    case READ_MORE: p->pos++; return;
    case READ_NEXT:
        p->pos++;
        advance(p);
        break;
    case READ_DONE: advance(p); break;
    case READ_BACK:
        p->pos = p->base + p->mark;
        advance(p);
        break;
    case READ_BAD: mismatch(p); return;
    }
    settle(p);
}

void steps_finish(DialectParser *p)
{
    if (p->begun) {
        if (step_kind(p) == STEP_ARGS && form_at(p)->args == ARGS_XML && p->phase == PHASE_CALL) read_xml_finish(p);
        parse_end(p);
        p->base = p->pos;
    }
    /* What was held behind the last call is text, unless it is the beginning of what closes it. */
    bool cut = p->phase != PHASE_BETWEEN;
    leave(p);
    if (cut) p->base = p->pos = p->in.n;
}
