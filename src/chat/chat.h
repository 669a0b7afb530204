/* chat.h - conversations to prompts, and tokens back to text that is safe to show.
 *
 * Template: a chat template compiled once (Jinja as Hugging Face runs it: trim_blocks, lstrip_blocks, loop controls,
 * tojson without escapes) and rendered for each request under fuel and output limits. Read-only after
 * compiling: any number of threads may render at once.
 *
 * Output: one running answer: ids in, text deltas out, stop strings held back and cut. */
#ifndef CHAT_CHAT_H
#define CHAT_CHAT_H

#include "base/base.h"
#include "tok/tok.h"

typedef struct Template Template;

/* text is copied. E_INVALID names line and column. */
Status template_open(Str text, Template **out, Err *err);
void template_close(Template *t);

typedef struct {
    const char *name;
    Str text;
} TemplateVar;

typedef struct {
    Str messages_json;           /* the JSON array as the client sent it (key order and number text are kept) */
    Str tools_json;              /* JSON array or empty */
    Str documents_json;          /* JSON array or empty */
    Str kwargs_json;             /* JSON object of further variables (chat_template_kwargs), or empty */
    const TemplateVar *specials; /* bos_token, eos_token ... */
    int n_specials;
    bool prepare; /* messages as clients send them: null keys dropped, reasoning under all its names, an empty
                                 conversation refused, as transformers does before a template sees them */
    bool add_generation_prompt;
    bool continue_final_message; /* the last message is left open, as transformers' rule does it */
    int64_t now_s;               /* what strftime_now formats, seconds since 1970, UTC */
} RenderInput;

enum {
    TEMPLATE_OUTPUT_MAX = 64 << 20,
    TEMPLATE_FUEL = 4 * 1000 * 1000 /* also bounds a rendering's memory to some 500 MB at worst */
};

/* Appends the prompt to out. E_INVALID: the template raised (its own words) or the input does not fit it; E_LIMIT: fuel or size. */
Status template_render(const Template *t, const RenderInput *in, Buf *out, Err *err);

/* ---- output ---- */

typedef struct Output Output;

typedef struct {
    const Str *stop; /* copied */
    int n_stop;
    bool keep_stop; /* no_stop_trim: the matched string stays in the text */
    bool skip_special;
    const int32_t *kept; /* special tokens whose text stays all the same; copied */
    int n_kept;
} OutputOptions;

Output *output_new(const Tokenizer *t, const OutputOptions *o);
void output_free(Output *o);
/* Appends to `delta` the text that is certain after this token. True: a stop string was matched; nothing may follow. */
bool output_push(Output *o, int32_t id, Buf *delta);
void output_end(Output *o, Buf *delta); /* the end came otherwise: what was held back */
int output_matched(const Output *o);    /* which stop string, -1: none */

#endif
