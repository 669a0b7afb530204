/* describe.h - what a description is made of. Internal to dialect/.
 *
 * A call is a list of steps, walked by the parser as bytes come and written out by constraint.c. Several forms of one dialect
 * may begin alike: the parser tries them in order. The first form is the one that is enforced. */
#ifndef DIALECT_DESCRIBE_H
#define DIALECT_DESCRIBE_H

#include <jansson.h>

#include "dialect/dialect.h"

typedef enum {
    STEP_END = 0,
    STEP_TEXT,  /* exactly this text */
    STEP_SPACE, /* any white space; text: what is enforced */
    STEP_NAME,  /* the function's name */
    STEP_PATH,  /* "functions.NAME:3", which is the call's id too */
    STEP_ID,    /* the call's id; text: what is enforced, a regular expression */
    STEP_WORD,  /* a word of no meaning; text: what is enforced */
    STEP_CALL,  /* a JSON object with the name and the arguments in it */
    STEP_ARGS   /* the arguments, in the form's spelling */
} StepKind;

typedef struct {
    StepKind kind;
    const char *text;
} Step;

typedef enum {
    ARGS_JSON,   /* an object */
    ARGS_XML,    /* an element for each argument, see Xml */
    ARGS_PYTHON, /* a=1, b="x" up to a closing parenthesis that the step takes along */
    ARGS_GEMMA   /* {a:1,b:<|"|>x<|"|>} */
} ArgsKind;

/* key_open KEY key_close value_open VALUE value_close */
typedef struct {
    const char *key_open, *key_close, *value_open, *value_close;
    bool typed;        /* after key_close stands true (a string) or false (JSON), then value_open */
    bool trim;         /* one newline after value_open and one before value_close are no part of the value */
    const char *style; /* the grammar's name for this spelling */
} Xml;

enum { FORM_OPEN = 7, FORM_CALL = 12, FORM_CLOSE = 5, DIALECT_FORMS = 4 };

typedef struct {
    Step open[FORM_OPEN]; /* before the first call; may be empty */
    Step call[FORM_CALL];
    const char *between; /* of two calls: white space, with at most one other byte in it */
    Step close[FORM_CLOSE];
    ArgsKind args;
    const Xml *xml;
    const char *name_key, *args_key; /* of STEP_CALL */
    const char *id_key;              /* NULL: none is enforced */
    const char *id_pattern;          /* its value, a regular expression */
    bool id_first;                   /* before the name; else behind the arguments */
    bool bare; /* has no mark: looked for at the beginning of the answer only, and the tool must be known */
} Form;

typedef enum { IDS_OPENAI, IDS_PATH, IDS_MISTRAL } IdStyle;

struct Dialect {
    const char *names[14]; /* the first is ours */
    const char *signs[6];  /* a template of this dialect holds all of these */
    const char *not_sign;  /* and not this; may be NULL */
    Form forms[DIALECT_FORMS];
    int n_forms;
    const char *drops[8];                   /* marks that are never content */
    const char *answer_open, *answer_close; /* what the model puts around words, of those; NULL: nothing */
    IdStyle ids;
    bool channels; /* messages with headers instead of forms: channels.c */
};

struct DialectReasoning {
    const char *names[12];
    const char *signs[4]; /* a template holds all of these */
    const char *open, *close;
    bool always;       /* an output begins inside, whatever the prompt shows */
    bool ends_at_call; /* a call's mark ends it */
    bool channels;     /* as the dialect's */
};

#define TEXT(s)                                                                                                        \
    {                                                                                                                  \
        STEP_TEXT, s                                                                                                   \
    }
#define SPACE(s)                                                                                                       \
    {                                                                                                                  \
        STEP_SPACE, s                                                                                                  \
    }
#define STEP(kind)                                                                                                     \
    {                                                                                                                  \
        STEP_##kind, NULL                                                                                              \
    }
#define STEP_OF(kind, s)                                                                                               \
    {                                                                                                                  \
        STEP_##kind, s                                                                                                 \
    }

extern const Dialect dialect_hermes, dialect_qwen3_coder, dialect_llama3, dialect_llama4;
extern const Dialect dialect_mistral, dialect_mistral_v11, dialect_mistral_v13;
extern const Dialect dialect_deepseek_v3, dialect_deepseek_v31, dialect_deepseek_v32, dialect_deepseek_v4;
extern const Dialect dialect_gpt_oss, dialect_kimi_k2, dialect_glm45, dialect_minimax_m2, dialect_cohere;
extern const Dialect dialect_gemma3, dialect_gemma4, dialect_phi4_mini, dialect_apriel, dialect_lfm2;

/* The mark that a form begins with: its first text; NULL if that is a JSON object. */
const char *dialect_form_mark(const Form *f);

/* What the schema of a function's parameter says of a value spelt without quotes. */
typedef enum {
    VALUE_STRING,         /* text as it stands */
    VALUE_STRING_OR_NULL, /* text, but for "null" */
    VALUE_JSON            /* JSON if it is that, text otherwise */
} ValueKind;

typedef struct {
    Str name;
    Str schema;         /* JSON of the parameters; "" if the tool has none */
    bool strict, loose; /* "strict": true, false */
} DialectTool;

const DialectTool *dialect_tools_at(const DialectTools *t, size_t i);
/* tool -1: unknown. */
ValueKind dialect_tools_value(const DialectTools *t, int tool, Str parameter);

/* x without spaces, numbers in their shortest form, key order kept. */
void dialect_write_json(Buf *out, const json_t *x);

/* Writes a call's id: at most DIALECT_ID_BYTES with the NUL. number: of the call in its conversation. */
void dialect_id(IdStyle style, uint64_t seed, int number, Str name, char *out);

#endif
