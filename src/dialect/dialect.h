/* dialect.h - how models write tool calls and reasoning: one description for each way, and its two uses.
 *
 * A Dialect says what a model writes around a call: marks, order, how arguments are spelt. From the one description come
 *   - enforcing: dialect_constraint writes the structural tag (the grammar folder's JSON form) that lets an output be nothing else;
 *   - extracting: a DialectParser takes the text as it comes and tells reasoning, content and calls apart.
 *
 * The parser looks at bytes, never at where one piece of text ends: any split of the same bytes gives the same events, but for
 * where a delta is cut. It holds back what may be the beginning of a mark, and newlines that may stand before one, nothing
 * else. What begins like a call and is none comes out as content, byte for byte.
 *
 * Arguments of dialects that write JSON are the model's own bytes. Others are made into JSON as they come; what a value is (a
 * string, or something else) is the tool's schema's word.
 *
 * Descriptions are const and shared. DialectTools is read-only after reading. A parser belongs to one thread at a time. */
#ifndef DIALECT_DIALECT_H
#define DIALECT_DIALECT_H

#include "base/base.h"

enum {
    DIALECT_MAX_TOOLS = 1024,
    DIALECT_MAX_NAME = 256,     /* bytes of a function's name in an output; longer: no call */
    DIALECT_MAX_HOLD = 1 << 20, /* bytes held back before a call is known to be one; more: content */
    DIALECT_MAX_DEPTH = 64,     /* of arguments that are not JSON; deeper: the call ends there */
    DIALECT_ID_BYTES = 300      /* of a call's id, NUL included */
};

/* ---- descriptions ---- */

typedef struct Dialect Dialect;
typedef struct DialectReasoning DialectReasoning;

/* By the name that Radish, SGLang or vLLM gives its parser ("hermes", "qwen25", "llama3_json"); NULL: unknown. */
const Dialect *dialect_find(Str name);
/* From a chat template's text; NULL: it shows no dialect. */
const Dialect *dialect_detect(Str chat_template);
const char *dialect_name(const Dialect *d);
/* All of them, in order; NULL past the last. */
const Dialect *dialect_at(size_t i);

const DialectReasoning *dialect_reasoning_find(Str name);
const DialectReasoning *dialect_reasoning_detect(Str chat_template);
const char *dialect_reasoning_name(const DialectReasoning *r);
const DialectReasoning *dialect_reasoning_at(size_t i);
/* The mark that ends it. */
Str dialect_reasoning_close(const DialectReasoning *r);
/* Whether an output begins inside the reasoning: the prompt's end opens it, or the model always does so. */
bool dialect_reasoning_inside(const DialectReasoning *r, Str prompt);

/* The same of an output whose prompt is not known: it closes what it has not opened, or the model always does so. */
bool dialect_reasoning_goes_on(const DialectReasoning *r, Str output);

/* Calls fn with every mark, and with the parts of marks that a tokenizer may hold as special tokens: the text of those must reach
 * the parser. A mark may come twice; some are no more than a bracket. Either description may be NULL. */
void dialect_marks(const Dialect *d, const DialectReasoning *r, void (*fn)(void *ctx, Str mark), void *ctx);

/* ---- the tools of a request ---- */

typedef struct DialectTools DialectTools;

/* json: the request's "tools" as OpenAI has them. E_INVALID: err says which and why, without "tools" before it. */
Status dialect_tools_read(Str json, DialectTools **out, Err *err);
void dialect_tools_free(DialectTools *t); /* NULL is fine */
size_t dialect_tools_count(const DialectTools *t);
/* Index of a function; -1: there is none. */
int dialect_tools_find(const DialectTools *t, Str name);

/* ---- extracting ---- */

typedef enum {
    DIALECT_REASONING, /* text */
    DIALECT_CONTENT,   /* text */
    DIALECT_CALL,      /* a call begins: name, id */
    DIALECT_ARGUMENTS, /* text: the next piece of the call's JSON */
    DIALECT_CALL_END   /* a call cut short by the output's end has one too */
} DialectEventKind;

typedef struct {
    DialectEventKind kind;
    int call; /* 0, 1, ...; of the last three */
    Str text, name, id;
} DialectEvent;

/* The strings are borrowed during the call. */
typedef void DialectSink(void *ctx, const DialectEvent *e);

typedef struct {
    const Dialect *dialect;            /* NULL: no calls */
    const DialectReasoning *reasoning; /* NULL: none is told apart */
    const DialectTools *tools;         /* kept by reference: outlives the parser. NULL: types are unknown */
    bool inside;                       /* dialect_reasoning_inside */
    bool one_call;                     /* calls after the first are not told */
    bool whole_reasoning;              /* reasoning comes in one piece, when it has ended */
    uint64_t seed;                     /* of the ids */
    int first_call;                    /* number of the conversation's calls so far, which some ids count on */
} DialectOptions;

typedef struct DialectParser DialectParser;

DialectParser *dialect_parser_new(const DialectOptions *o, DialectSink *sink, void *ctx);
void dialect_parser_free(DialectParser *p); /* NULL is fine */
/* What is certain after these bytes is told before it returns. */
void dialect_parser_feed(DialectParser *p, Str text);
/* The output has ended: what was held back is told. A call under way stays as it is. */
void dialect_parser_finish(DialectParser *p);
int dialect_parser_calls(const DialectParser *p); /* begun so far */

/* ---- enforcing ---- */

typedef enum { DIALECT_AUTO, DIALECT_REQUIRED, DIALECT_NAMED, DIALECT_NONE } DialectChoice;
typedef enum { DIALECT_NO_REASONING, DIALECT_MAY_REASON, DIALECT_INSIDE } DialectThinking;

typedef struct {
    const Dialect *dialect;            /* may be NULL if there are no tools */
    const DialectReasoning *reasoning; /* may be NULL if thinking is DIALECT_NO_REASONING */
    const DialectTools *tools;         /* may be NULL */
    DialectChoice choice;
    int named;     /* index of the tool, for DIALECT_NAMED */
    bool parallel; /* more calls than one */
    DialectThinking thinking;
    int thinking_tokens; /* reasoning is closed after so many tokens, 0: when the model closes it. Needs a closing mark that is one
                            token of the model (dialect_reasoning_close) */
    Str answer; /* a JSON Schema that a final answer fulfils; empty: free text */
} DialectRules;

/* Appends {"type":"structural_tag",...}; nothing if nothing needs enforcing. Arguments are held to a tool's schema if it is strict,
 * and if the call is asked for and the tool does not say "strict":false; otherwise they are any object. */
void dialect_constraint(const DialectRules *rules, Buf *out);

#endif
