/* jinja.h - the template engine's own words: tokens, syntax trees, values. Shared by the j*.c files, not a door.
 *
 * A template is compiled once into a tree in its own arena. A rendering has an arena of its own for every value it makes, and a
 * fuel counter that every evaluated node and every produced byte draws on; nothing is shared, so threads may render at once.
 * Semantics are Jinja2 3.1's in the sandbox that Hugging Face uses: values are immutable but for namespaces. */
#ifndef CHAT_JINJA_H
#define CHAT_JINJA_H

#include "base/base.h"

/* ---- tokens (jlex.c) ---- */

typedef enum {
    JT_DATA,
    JT_OPEN_VAR,
    JT_CLOSE_VAR,
    JT_OPEN_BLOCK,
    JT_CLOSE_BLOCK,
    JT_NAME,
    JT_INT,
    JT_FLOAT,
    JT_STRING,
    JT_OP,
    JT_END
} JTokenKind;

typedef struct {
    JTokenKind kind;
    Str text; /* of data, names, numbers; the decoded value of a string; an operator's characters */
    int line;
} JToken;

/* All tokens of a template, ending with JT_END, in the arena. */
Status jlex_run(Arena *a, Str source, JToken **out, size_t *n, Err *err);

/* ---- syntax trees (jparse.c) ---- */

typedef enum {
    /* expressions */
    JN_CONST,
    JN_NAME,
    JN_LIST,
    JN_TUPLE,
    JN_DICT,
    JN_COND,
    JN_AND,
    JN_OR,
    JN_NOT,
    JN_NEG,
    JN_POS,
    JN_BINARY,
    JN_COMPARE,
    JN_ATTR,
    JN_ITEM,
    JN_SLICE,
    JN_CALL,
    JN_FILTER,
    JN_TEST,
    /* statements */
    JN_BLOCK,
    JN_TEXT,
    JN_PRINT,
    JN_IF,
    JN_FOR,
    JN_SET,
    JN_SET_BLOCK,
    JN_MACRO,
    JN_CALL_BLOCK,
    JN_FILTER_BLOCK,
    JN_BREAK,
    JN_CONTINUE
} JNodeKind;

typedef enum {
    JO_ADD,
    JO_SUB,
    JO_MUL,
    JO_DIV,
    JO_FLOORDIV,
    JO_MOD,
    JO_POW,
    JO_CONCAT,
    JO_EQ,
    JO_NE,
    JO_LT,
    JO_LE,
    JO_GT,
    JO_GE,
    JO_IN,
    JO_NOT_IN
} JOp;

typedef struct JNode JNode;
typedef struct JValue JValue;
typedef struct JRun JRun;

typedef struct {
    JNode **p;
    int n;
} JNodes;

typedef struct {
    Str name;
    JNode *value; /* a keyword argument, or a macro's parameter with its default (NULL: none) */
} JNamed;

typedef struct {
    JNodes list;
    JNamed *named;
    int n_named;
} JArgs;

struct JNode {
    JNodeKind kind;
    JOp op;
    bool negated; /* JN_TEST: "is not" */
    int line;
    Str name;      /* name, attribute, filter, test, macro; text of JN_TEXT */
    JValue *value; /* JN_CONST */
    JNode *a, *b, *c,
        *d;      /* JN_COND: then, test, else. JN_SLICE: start, stop, step of a. JN_FOR: target, iterable, filter */
    JNodes kids; /* elements; statements of a body; chained comparisons: operands, with ops in `ops` */
    JOp *ops;
    JNodes other; /* JN_IF, JN_FOR: else body; JN_DICT: values */
    JArgs args;   /* calls, filters, tests; parameters of macros */
};

Status jparse_run(Arena *a, const JToken *tokens, JNode **out, Err *err);

/* ---- values (jvalue.c) ---- */

typedef enum {
    JV_UNDEFINED,
    JV_NONE,
    JV_BOOL,
    JV_INT,
    JV_BIGINT,
    JV_FLOAT,
    JV_STR,
    JV_LIST,
    JV_TUPLE,
    JV_GENERATOR,
    JV_DICT,
    JV_NAMESPACE,
    JV_MACRO,
    JV_FUNCTION,
    JV_METHOD,
    JV_LOOP
} JKind;

typedef struct {
    JValue *key, *value;
} JPair;

typedef struct {
    JRun *run; /* pays for comparing keys; NULL: they are text */
    JPair *p;
    int n, cap;
    int32_t *index; /* open addressing over p once it is large; NULL while small */
    int n_index;
} JDict;

typedef struct JEnv JEnv;

typedef struct {
    JValue **items;
    int at, n, depth;
    JValue *changed; /* what loop.changed() saw last */
} JLoop;

struct JValue {
    JKind kind;
    bool
        markup; /* JV_STR that went through `safe` or `escape`: adding plain text to it escapes that text, as MarkupSafe does */
    union {
        bool flag;
        int64_t i;
        double f;
        Str s; /* JV_STR, JV_BIGINT (its digits), JV_UNDEFINED (the name that was missing), JV_FUNCTION (its name) */
        struct {
            JValue **p;
            int n;
        } list;      /* lists, tuples, generators */
        JDict *dict; /* dicts and namespaces */
        struct {
            const JNode *node;
            JEnv *env;   /* where it was defined */
            JNode *body; /* JN_CALL_BLOCK's caller: NULL otherwise */
        } macro;
        struct {
            JValue *self;
            Str name;
        } method;
        JLoop *loop;
    } u;
};

/* One rendering. */
struct JRun {
    Arena *arena;
    Buf *out;
    size_t out_max; /* of all text produced, captured blocks included */
    int64_t fuel;
    int depth;
    int64_t now_s;
    JEnv *globals;
    Err *err;
    int line; /* of the statement under way */
    enum { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } flow;
};

extern const JValue jvalue_none, jvalue_true, jvalue_false;

JValue *jvalue_undefined(Arena *a, Str name);
JValue *jvalue_bool(bool b);
JValue *jvalue_int(Arena *a, int64_t i);
JValue *jvalue_float(Arena *a, double f);
JValue *jvalue_str(Arena *a, Str s); /* s is not copied */
JValue *jvalue_list(Arena *a, JKind kind, JValue **items, int n);
JValue *jvalue_dict(Arena *a, JKind kind);
void jvalue_dict_set(Arena *a, JDict *d, JValue *key, JValue *value);
JValue *jvalue_dict_get(const JDict *d, const JValue *key); /* NULL: absent */
JValue *jvalue_dict_find(const JDict *d, Str key);

bool jvalue_truth(const JValue *v);
/* Costs fuel, as lists may be long and deep: false after failing too. */
bool jvalue_equal(JRun *r, const JValue *a, const JValue *b);
bool jvalue_is_number(const JValue *v);
double jvalue_number(const JValue *v);
const char *jvalue_type(const JValue *v); /* Python's name of the type */
/* Python's str() and repr(), appended, for fuel. False after failing. */
bool jvalue_print(JRun *r, Buf *out, const JValue *v, bool repr, int depth);
/* Text as a value; output limits apply. */
Str jvalue_text(JRun *r, const JValue *v);
/* Whether a text under way is within the output's limit; if not, it is freed and the rendering fails. */
bool jvalue_fits(JRun *r, Buf *b);
/* A buffer's content as a string, for fuel; the buffer is freed. NULL after failing. */
JValue *jvalue_take(JRun *r, Buf *b);
JValue *jvalue_markup(JRun *r, JValue *v);  /* v marked as markup */
JValue *jvalue_escaped(JRun *r, JValue *v); /* a string escaped for HTML, unless it is markup already */

/* ---- JSON (jjson.c) ---- */

enum { JJSON_DEPTH = 100 };
/* Key order and the text of numbers are kept. what: for messages ("messages"). */
Status jjson_parse(Arena *a, Str text, const char *what, JValue **out, Err *err);
typedef struct {
    bool ascii, sort;
    int indent; /* -1: one line */
    Str item_sep, key_sep;
} JsonStyle;
Status jjson_write(JRun *r, Buf *out, const JValue *v, const JsonStyle *style);

/* ---- evaluation (jeval.c) ---- */

/* Failure of a rendering: the template's line is added. Returns NULL for callers that return values. */
JValue *jeval_fail(JRun *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool jeval_spend(JRun *r, size_t amount); /* fuel; false after failing */
Status jeval_run(JRun *r, const JNode *root);
JEnv *jeval_env(Arena *a, JEnv *parent);
void jeval_set(JRun *r, JEnv *env, Str name, JValue *value);
/* Items of anything that can be iterated; NULL after failing. */
JValue **jeval_items(JRun *r, JValue *v, int *n);
JValue *jeval_attr(JRun *r, JValue *of, Str name);    /* v.name */
JValue *jeval_item(JRun *r, JValue *of, JValue *key); /* v[key] */
JValue *jeval_path(JRun *r, JValue *of, Str path);    /* "a.b.0" of map(attribute=) and sort */
JValue *jeval_binary(JRun *r, JOp op, JValue *a, JValue *b);
bool jeval_compare(JRun *r, JOp op, JValue *a, JValue *b, bool *out); /* false after failing */

/* Arguments of a call, evaluated. */
typedef struct {
    JValue **p;
    int n;
    JNamed *named; /* names; values in named_values */
    JValue **named_values;
    int n_named;
} JCall;

/* Argument `at` or the keyword `name`; NULL: not given. */
JValue *jeval_arg(const JCall *c, int at, const char *name);

/* ---- filters and tests (jfilter.c), methods (jmethod.c), functions (jfunction.c) ---- */
JValue *jfilter_apply(JRun *r, Str name, JValue *in, const JCall *c);
bool jfilter_known(Str name);
bool jtest_apply(JRun *r, Str name, JValue *in, const JCall *c, bool *out); /* false after failing */
bool jtest_known(Str name);
JValue *jmethod_call(JRun *r, JValue *self, Str name, const JCall *c);
bool jmethod_known(const JValue *self, Str name);
JValue *jfunction_call(JRun *r, Str name, const JCall *c);
void jfunction_globals(JRun *r, JEnv *globals);

#endif
