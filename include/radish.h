/* radish.h - Radish as a library: open a model, submit requests, receive tokens and text.
 *
 * Threads: radish_open, radish_close and what they return belong to the caller; every other function may be called from
 * any thread. Callbacks run on Radish's own threads, one at a time for one request and in order; they must return
 * soon, and may call radish_submit and radish_cancel but not radish_close.
 * Strings in are copied. Strings out are borrowed until the callback returns, or freed by radish_string_free where it says so.
 * Every function that can fail returns 0, or a RadishStatus and writes a sentence into err->text. */
#ifndef RADISH_H
#define RADISH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RADISH_VERSION "0.1.0"
#define RADISH_API     __attribute__((visibility("default")))

typedef struct Radish Radish;

typedef enum {
    RADISH_OK = 0,
    RADISH_INVALID, /* the request is wrong: the text says what to change */
    RADISH_UNSUPPORTED,
    RADISH_LIMIT,
    RADISH_NOT_FOUND,
    RADISH_BUSY, /* try again later */
    RADISH_IO,
    RADISH_CORRUPT, /* a file contradicts itself */
    RADISH_DEVICE,
    RADISH_CANCELLED
} RadishStatus;

typedef struct {
    RadishStatus status;
    char text[512];
} RadishError;

/* Zero means the default for every field. */
typedef struct {
    const char *model_path;     /* GGUF file or Hugging Face folder; required */
    const char *tokenizer_path; /* default: the model's own */
    const char *chat_template;  /* a template's text or the path of a .jinja file; default: the model's own */
    const char *device;         /* "cpu", "cuda", "sim"; default: the first that is there */
    const char *isa;            /* CPU: "auto" (default), "plain", "avx2", "avx512", "avx512bf16", "amx" */
    int device_index;
    int threads;         /* CPU workers; default all cores */
    bool dummy_weights;  /* --load-format dummy */
    float dummy_std;     /* default: uniform in +-1e-3 */
    bool skip_tokenizer; /* ids in, ids out; no text functions */
    int context_length;  /* default: the model's own */
    bool choose_first;   /* algorithms for a new kind of GPU are chosen at opening, not while nobody asks */
    int context_least;   /* so many tokens fit, even if the model was made for fewer; for benchmarks (default: 0) */
    int max_running;     /* requests in a batch; default by device */
    int max_queued;
    int max_total_tokens; /* KV tokens; default by memory */
    float mem_fraction;   /* of the device's memory, for weights + KV; default by device */
    int chunked_prefill_size;
    int max_batch_tokens;
    const char *schedule_policy; /* "lpm" (default), "fcfs" or "lof" */
    int max_mixed_tokens;        /* rows of a step in which some decode (2048); fewer: shorter pauses for them */
    bool prefill_first;          /* prompts in passes of their own, before decoding */
    const char *kv_dtype;        /* "auto", "f32", "f16", "bf16", "int8" */
    bool disable_radix_cache;
    const char *speculative;   /* NULL or "NONE"; "NGRAM": tokens are guessed from the request's own text and several
                                    checked in one step. No token changes. Ignored on devices that queue (cuda) */
    int draft_tokens;          /* guesses of a request in a step at most, up to 8; default 8 */
    bool disable_jump_forward; /* text that a constraint forces is drawn token by token */
    bool compact_json;         /* constraints of JSON leave no choice of white space, unless a request says otherwise */
    uint64_t random_seed;      /* base of the seeds of requests that bring none; default: from the clock */
    bool verify;               /* check every invariant after each step (slow) */
    bool profile;              /* keep what radish_profile tells; costs a little */
    /* The device has failed and every request is ended. Engine thread: hand over and return. */
    void (*on_fault)(void *ctx, const char *why);
    void *fault_ctx;
} RadishOptions;

RADISH_API int radish_open(const RadishOptions *o, Radish **out, RadishError *err);
RADISH_API void radish_close(Radish *r); /* cancels what runs; NULL is fine */
RADISH_API const char *radish_version(void);

/* ---- requests ---- */

typedef enum {
    RADISH_EV_STARTED = 0,    /* admitted: n_prompt, n_cached */
    RADISH_EV_PROMPT_LOGPROB, /* one prompt position: index, token, logprob (NaN for the first), top */
    RADISH_EV_TOKEN,          /* one token drawn, and the text that became certain with it (may be empty) */
    RADISH_EV_END             /* always last, exactly once */
} RadishEventKind;

typedef enum {
    RADISH_END_NONE = 0,
    RADISH_END_STOP, /* end token, stop id or stop string: see matched_* */
    RADISH_END_LENGTH,
    RADISH_END_CANCELLED,
    RADISH_END_TIMEOUT,
    RADISH_END_FAILED /* message says why */
} RadishEndReason;

typedef struct {
    RadishEventKind kind;
    uint64_t request;
    int n_prompt, n_cached;
    int index;
    int32_t token;
    float logprob;
    int n_top;
    const int32_t *top_id;
    const float *top_logprob;
    const char *text; /* EV_TOKEN and EV_END (what had been held back): n_text bytes, whole characters */
    size_t n_text;
    RadishEndReason reason;
    int32_t matched_id;       /* -1, or the id that ended it */
    const char *matched_stop; /* NULL, or the stop string that ended it */
    int n_out;                /* tokens of output counted (up to and with the one that completed a stop string) */
    int n_preempted;
    const char *message;
    RadishStatus
        status; /* RADISH_END_FAILED: INVALID, UNSUPPORTED, LIMIT: the request's constraint; else the server's fault */
} RadishEvent;

/* What the whole output must be. Compiled on threads of its own; one that cannot be honoured ends the request with RADISH_END_FAILED
 * before anything else is told, so that an answer is never unconstrained. The output ends where nothing may follow. */
typedef enum {
    RADISH_FREE = 0,
    RADISH_REGEX,         /* text: a regular expression that the whole output matches */
    RADISH_CHOICE,        /* text: a JSON array of strings, one of which is the output */
    RADISH_EBNF,          /* text: rules, GBNF or SGLang's dialect */
    RADISH_JSON_SCHEMA,   /* text: a schema */
    RADISH_JSON_OBJECT,   /* any JSON object; no text */
    RADISH_STRUCTURAL_TAG /* text: JSON, SGLang's and XGrammar's forms */
} RadishConstraintKind;

typedef struct {
    int32_t id;
    float bias;
} RadishBias;

typedef struct {
    /* the prompt: ids, or text */
    const int32_t *ids;
    int n_ids;
    const char *text;
    size_t n_text;
    bool parse_specials; /* of text: special tokens become ids (true for rendered chat prompts) */
    bool add_bos;        /* of text: what the model's tokenizer adds by itself */

    int max_new_tokens; /* -1: to the end of the context; 0: prefill only */
    int min_new_tokens;
    float temperature;                                             /* 0: greedy */
    float top_p, min_p;                                            /* 1, 0: off */
    int top_k;                                                     /* 0: off */
    float frequency_penalty, presence_penalty, repetition_penalty; /* 0, 0, 1: off */
    bool has_seed;
    uint64_t seed;
    const RadishBias *bias;
    int n_bias;
    const char *const *stop; /* stop strings */
    int n_stop;
    const int32_t *stop_ids; /* besides the model's own */
    int n_stop_ids;
    bool ignore_eos, keep_stop, keep_special;
    const int32_t *kept_ids; /* special tokens whose text is told also without keep_special */
    int n_kept_ids;
    int top_logprobs;                /* -1: no logprobs; 0: chosen token only; up to 20 alternatives */
    int prompt_logprobs_from;        /* -1: none */
    RadishConstraintKind constraint; /* needs a tokenizer */
    const char *constraint_text;
    size_t n_constraint_text;
    const char
        *constraint_options; /* NULL, or a JSON object of options of its kind: "root" of EBNF; of JSON "whitespace" */
    const char *cache_salt;  /* requests of different salts never share cached prefixes */
    int priority;            /* higher first */
    int timeout_ms;          /* 0: none */
    void (*on_event)(void *ctx, const RadishEvent *e);
    void *ctx;
} RadishRequest;

RADISH_API void radish_request_init(RadishRequest *q); /* every default; temperature 1 */
/* Once it has returned 0, on_event will be called with RADISH_EV_END exactly once. */
RADISH_API int radish_submit(Radish *r, const RadishRequest *q, uint64_t *id, RadishError *err);
RADISH_API void radish_cancel(Radish *r, uint64_t id); /* unknown and finished ids are fine */
RADISH_API void radish_cancel_all(Radish *r);

/* ---- text ---- */

/* *ids is freed by radish_ids_free. */
RADISH_API int radish_tokenize(Radish *r, const char *text, size_t n, bool parse_specials, bool add_bos, int32_t **ids,
                               size_t *n_ids, RadishError *err);
RADISH_API int radish_detokenize(Radish *r, const int32_t *ids, size_t n_ids, bool skip_special, char **text, size_t *n,
                                 RadishError *err);
RADISH_API void radish_ids_free(int32_t *ids);
RADISH_API void radish_string_free(char *s);
/* Raw bytes that a token stands for; n bytes, borrowed for as long as r lives. NULL: no such token. */
RADISH_API const char *radish_piece(Radish *r, int32_t id, size_t *n);

/* The token that is exactly this text; -1: there is none. */
RADISH_API int32_t radish_token_id(Radish *r, const char *text, size_t n);

/* The template's text, borrowed for as long as r lives; empty if there is none. */
RADISH_API const char *radish_chat_template(Radish *r, size_t *n);
/* Everything JSON: messages an array, tools an array or NULL, kwargs an object or NULL. *prompt: radish_string_free. */
typedef struct {
    const char *messages_json, *tools_json, *documents_json, *kwargs_json;
    bool no_generation_prompt, continue_final_message;
} RadishChat;
RADISH_API int radish_render_chat(Radish *r, const RadishChat *chat, char **prompt, size_t *n, RadishError *err);

/* ---- what is running ---- */

typedef struct {
    const char *model_path, *tokenizer_path, *arch, *model_type, *device, *kv_dtype; /* borrowed, as long as r lives */
    int n_layer, n_head, n_kv_head, head_dim, d_model, n_vocab;
    int n_ctx;          /* of the model */
    int context_length; /* served */
    int max_total_tokens, max_running, max_batch_tokens, chunked_prefill_size, page_size;
    uint64_t n_params;
    size_t weight_bytes, kv_bytes, act_bytes, work_bytes; /* work: what the device needs besides, as planned */
    double flop_row, flop_logit; /* arithmetic of products: a row of a pass, and in addition a row that is drawn from */
    bool has_chat_template, has_tokenizer;
    int32_t bos_id, eos_id;
    /* sampling defaults of generation_config.json; NaN or -1 where it says nothing */
    float temperature, top_p, min_p, repetition_penalty;
    int top_k;
} RadishInfo;
RADISH_API void radish_info(Radish *r, RadishInfo *out);
RADISH_API const int32_t *radish_stop_ids(Radish *r, size_t *n); /* the model's own end tokens */

typedef struct {
    int running, waiting;
    int kv_pages, kv_pages_free, kv_pages_cached;
    uint64_t steps, prompt_tokens, prefill_tokens, cached_tokens, output_tokens;
    uint64_t jumped_tokens;                   /* of output: forced by a constraint, and not drawn */
    uint64_t drafted_tokens, accepted_tokens; /* guessed (RadishOptions.speculative), and of these drawn */
    uint64_t requests_done, requests_cancelled, requests_failed, preemptions;
    double busy_s, sched_s, prefill_s, decode_s;
    double tokens_per_s; /* output, over the last second or so */
} RadishStats;
RADISH_API void radish_stats(Radish *r, RadishStats *out);
/* Writes what the last 64 steps ran to fd, a line each. Any thread, also in a signal handler. */
RADISH_API void radish_dump_steps(Radish *r, int fd);
/* Where time went, over passes of one kind; all shares are of the `looked` passes that were timed op by op. */
typedef struct {
    uint64_t passes, rows;
    double busy_s, idle_s, host_s; /* device at work; device waiting for the next pass; host in the device's driver */
    uint64_t looked;
    double looked_s; /* the device at work on them */
    double linear_s, attend_s, other_s, sample_s;
    uint64_t n_linear, n_attend, n_other, n_sample; /* stretches timed; 0: nothing lies between them */
    double flop, kv_bytes;                          /* of products; read by attention at least */
} RadishProfileKind;

typedef struct {
    RadishProfileKind decode, prefill; /* passes of single new tokens; all others */
    double joules;                     /* the device's since some moment; 0: unknown */
} RadishProfile;
/* Since the start, if RadishOptions.profile is set. */
RADISH_API void radish_profile(Radish *r, RadishProfile *out);
/* Drops every cached prefix; waits up to timeout_ms for running requests, else RADISH_BUSY. */
RADISH_API int radish_flush_cache(Radish *r, int timeout_ms, RadishError *err);

#ifdef __cplusplus
}
#endif
#endif
