/* parse.h - the parser's state, shared by its files. Internal to dialect/.
 *
 * Bytes are kept in `in` from `base` on: what lies between base and pos has been read but is not told yet. Whoever tells some of
 * it moves base; whoever finds that it is no call sets pos back and lets it be read as content. Positions within `in` that are kept
 * from byte to byte are counted from base, so that bytes before base can go. */
#ifndef DIALECT_PARSE_H
#define DIALECT_PARSE_H

#include "dialect/describe.h"

typedef enum {
    PARSE_START,     /* white space, then perhaps the reasoning's mark, or a form that has no mark */
    PARSE_REASONING, /* until its closing mark */
    PARSE_CONTENT,   /* until a mark */
    PARSE_CALLS,     /* in a form: steps.c */
    PARSE_CHANNELS   /* channels.c */
} ParseState;

typedef enum { PHASE_OPEN, PHASE_CALL, PHASE_BETWEEN, PHASE_CLOSE } Phase;

/* What became of a byte in a step. */
typedef enum {
    READ_MORE, /* taken; the step goes on */
    READ_NEXT, /* taken; the step is done */
    READ_DONE, /* not taken; the step is done */
    READ_BACK, /* not taken, nor what came after p->mark; the step is done */
    READ_BAD   /* this is no call */
} Read;

/* A value of Python or Gemma on its way to JSON (literal.c). Zeroed: before its first byte. */
typedef enum { LIT_VALUE, LIT_OPENING, LIT_STRING, LIT_ESCAPE, LIT_CODE, LIT_WORD } LitState;

typedef struct {
    LitState state;
    char stack[DIALECT_MAX_DEPTH]; /* closing brackets */
    int depth;
    char quote;   /* of the string under way; '<': Gemma's mark */
    int n_quote;  /* bytes of an opening or closing mark seen so far */
    bool is_long; /* Python's three quotes */
    int n_code;   /* digits of an escape still to come */
    uint32_t code;
    char word[80]; /* a number, True, a bare key */
    size_t n_word;
    bool comma;    /* owed before the next element */
    bool after;    /* an element has just ended */
    bool want_key; /* within {}: no colon yet */
} Lit;

struct DialectParser {
    DialectOptions o;
    DialectSink *sink;
    void *ctx;

    Buf in;
    size_t base, pos;
    ParseState state;
    bool at_start;  /* nothing has been told: reasoning may open */
    bool bare_over; /* forms without a mark are not looked for any more */
    bool fresh;     /* newlines are dropped until something else comes */
    size_t newlines;

    Buf out; /* what is to be told of out_kind */
    DialectEventKind out_kind;

    /* the form under way */
    int form;
    Phase phase;
    int step;
    size_t sub;    /* place within a step; 0 when it begins */
    size_t start;  /* of the first mark, counted from base */
    size_t mark;   /* for READ_BACK, counted from base */
    int in_form;   /* calls of this form told so far */
    bool begun;    /* the call under way has been told */
    bool muted;    /* it is one too many: read, and not told */
    bool thinking; /* the form's mark stood within reasoning: so does what follows, if it is no call */
    int tool;      /* of the call under way, -1: unknown */
    int n_calls;
    Buf name, id;
    Buf ids; /* of all calls so far, a line each with a newline before it too */

    /* arguments (read_*.c) */
    int place;      /* the reader's state */
    bool args_open; /* "{" of made JSON has been told */
    bool args_done; /* a JSON object's arguments have been read */
    int depth;      /* of brackets */
    bool in_string, escaped;
    size_t from, to; /* of something within `in`, counted from base */
    Buf key, value;
    ValueKind kind;
    Lit lit;

    /* channels.c */
    int channel;
    bool said[2]; /* reasoning, content */
};

/* ---- telling (parse.c) ---- */

void parse_tell(DialectParser *p, DialectEventKind kind, Str text);
static inline void parse_args(DialectParser *p, Str text)
{
    parse_tell(p, DIALECT_ARGUMENTS, text);
}
/* The call named p->name begins; what was held is no longer. */
void parse_begin(DialectParser *p);
/* It ends; if it has not begun it does so now, without arguments. */
void parse_end(DialectParser *p);
/* Content or reasoning, newlines held back. */
void parse_say(DialectParser *p, DialectEventKind kind, char c);
void parse_say_newlines(DialectParser *p, DialectEventKind kind);
/* What is held from base to pos is no call. */
void parse_give_back(DialectParser *p);

static inline char parse_byte(const DialectParser *p)
{
    return p->in.p[p->pos];
}
static inline Str parse_held(const DialectParser *p) /* with the byte at hand */
{
    return (Str){ p->in.p + p->base, p->pos + 1 - p->base };
}
/* What has been read is told, or need not be; the next byte is the first that is kept. */
static inline void parse_commit(DialectParser *p)
{
    p->base = p->pos + 1;
}
static inline bool parse_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}
/* Bytes of names of functions and parameters that need no quotes. */
bool parse_name_byte(char c);

/* ---- steps.c ---- */

/* The form's first mark begins `at` bytes after base. pos is anywhere. */
void steps_start(DialectParser *p, int form, size_t at);
/* One byte of a form. pos is moved. */
void steps_byte(DialectParser *p);
/* The output's end within a form. */
void steps_finish(DialectParser *p);
bool steps_last(const DialectParser *p); /* no step follows the one under way */

/* ---- read_json.c ---- */

Read read_call(DialectParser *p, char c);      /* STEP_CALL */
Read read_json_args(DialectParser *p, char c); /* STEP_ARGS */

/* ---- read_xml.c ---- */

Read read_xml_args(DialectParser *p, char c);
void read_xml_finish(DialectParser *p);
/* A value spelt without quotes as JSON. */
void read_xml_value(Str text, ValueKind kind, Buf *out);

/* {"key":  or , "key":  of arguments that are made into JSON. */
void read_open_key(DialectParser *p);

/* ---- literal.c ---- */

/* One byte of a value, as JSON to out. READ_NEXT: the value's last byte. READ_DONE: the byte behind it. */
Read literal_python(Lit *l, char c, Buf *out);
Read literal_gemma(Lit *l, char c, Buf *out);
/* c as it stands within a JSON string. */
void literal_char(Buf *out, char c);

/* ---- read_python.c: arguments in both ---- */

Read read_python_args(DialectParser *p, char c);
Read read_gemma(DialectParser *p, char c);

/* ---- channels.c ---- */

void channels_byte(DialectParser *p);
void channels_finish(DialectParser *p);

#endif
