/* params.h - typed fields out of a JSON object, with sentences for the client. Internal to api/. */
#ifndef API_PARAMS_H
#define API_PARAMS_H

#include <jansson.h>

#include "base/base.h"
#include "radish.h"

enum {
    PARAMS_DEPTH_MAX = 100,      /* nesting of a body */
    PARAMS_VALUES_MAX = 4 << 20, /* values in a body: a token id of two bytes becomes 40 when it is parsed */
    PARAMS_STOP_MAX = 64,
    PARAMS_BIAS_MAX = 4096
};

/* Where fields are read from and where the refusal goes. A field that is absent or null leaves *io alone. */
typedef struct {
    const json_t *o;
    const char *where; /* before a field's name in sentences: "" or "sampling_params." */
    Arena *arena;      /* for lists */
    Err *err;
    const char *param; /* the field that was refused, or NULL */
} Params;

/* The body as a JSON object. E_INVALID names line and column. */
Status params_parse(Str body, json_t **out, Err *err);

const json_t *params_get(const Params *p, const char *key); /* NULL: absent or null */
Status params_bool(Params *p, const char *key, bool *io);
Status params_int(Params *p, const char *key, int64_t low, int64_t high, int *io);
Status params_i64(Params *p, const char *key, int64_t low, int64_t high, int64_t *io);
Status params_f32(Params *p, const char *key, double low, double high, float *io);
Status params_str(Params *p, const char *key, Str *io);
/* A list of token ids; elements are checked against what an int32 holds. */
Status params_id_list(Params *p, const char *key, const json_t *list, const int32_t **ids, int *n);
/* A field that may be a list, one element for each of n prompts: refused if it is a list of another length. */
Status params_list_of(Params *p, const char *key, int n);
/* "KEY must be WHAT, not a string" */
Status params_wrong(Params *p, const char *key, const char *what, const json_t *x);
Status params_refuse(Params *p, const char *key, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Everything about drawing tokens but the prompt and the logprobs. openai: the names of /v1 (max_tokens, min_tokens, seed), else of
 * /generate (max_new_tokens, min_new_tokens, sampling_seed). *n: how many answers. */
Status params_sampling(Params *p, bool openai, RadishRequest *q, int *n);
/* constraint.c: what the answer must be, if anything; its text is borrowed from p. *field: the field that says so, for refusals that come later; it
 * is left alone if there is none. openai: the fields of /v1 besides SGLang's. */
Status constraint_read(Params *p, bool openai, RadishRequest *q, const char **field);
/* Refuses what is asked for but not built, so that it is never silently ignored. */
Status params_unsupported(Params *p);
/* cache_salt and extra_key as one salt; NULL if neither is given. index: of the prompt, for lists. */
Status params_salt(Params *p, size_t index, const char **out);

/* Appends x as Python's json.dumps(ensure_ascii=False) would, key order kept. */
void params_dump(Buf *out, const json_t *x);
Str params_text(Params *p, const json_t *x); /* the same, in the arena */

#endif
