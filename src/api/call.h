/* call.h - one HTTP request that makes tokens: its prompts, its answers under way, and how they become bytes. Internal to api/. */
#ifndef API_CALL_H
#define API_CALL_H

#include <pthread.h>
#include <stdatomic.h>

#include "api/api.h"
#include "api/params.h"
#include "base/workers.h"
#include "dialect/dialect.h"
#include "net/http.h"

typedef struct Call Call;
typedef struct Choice Choice;

enum {
    CALL_PROMPTS_MAX = 16384,
    CALL_CHOICES_MAX = 16384,
    CALL_TOP_MAX = 20,
    CALL_AHEAD_MAX = 128 << 10, /* bytes unsent to a slow client before its deltas are gathered instead of sent */
    CALL_RID_MAX = 256,
    CALL_QUEUED_BYTES_MAX = 1 << 30
};

struct Server {
    ApiOptions o;
    Radish *radish;
    RadishInfo info;
    const char *model_name;
    Http *http;
    Tasks *text; /* parse, render, tokenize */
    Tasks *slow; /* what waits: flushing the cache */
    int64_t started_s, started_ns;
    const Dialect *dialect; /* how the model writes tool calls and reasoning; NULL: not known. chat_tools.h */
    const DialectReasoning *reasoning;
    Ids marks; /* special tokens that both are told by */
    uint64_t id_seed;
    atomic_uint_fast64_t n_ids;
    atomic_uint_fast64_t n_requests, n_aborted, n_refused; /* for /metrics */
    atomic_uint_fast64_t n_prompt_tokens, n_cached_tokens, n_output_tokens;
    atomic_size_t queued_bytes; /* of bodies waiting for a text thread: call_queue's */
    pthread_mutex_t lock;       /* of the list of calls */
    pthread_cond_t idle;
    Call *calls;
    /* /health: I/O thread only */
    uint64_t seen_steps;
    int64_t seen_ns;
};

/* How an endpoint family writes its answers. Functions of one choice are called one at a time and in order; end and whole
 * when every choice has ended. */
typedef struct {
    /* Text thread: JSON to prompts (call_prompts, then each prompt's fields). */
    Status (*prepare)(Call *c, const json_t *body, Err *err);
    void (*prompt_logprob)(Choice *h, const RadishEvent *e); /* may be NULL, as the next */
    void (*token)(Choice *h, const RadishEvent *e);          /* logprobs of a token, if asked for: gather */
    void (*text)(Choice *h);                                 /* not a stream: a token's text has come; may be NULL */
    void (*delta)(Choice *h);         /* stream: send what is new; h->reason says whether it is the last */
    void (*end)(Call *c);             /* stream: what follows the last choice, before [DONE]; may be NULL */
    void (*whole)(Call *c, Buf *out); /* not a stream: the answer */
} Format;

typedef struct {
    Str text; /* or */
    const int32_t *ids;
    int n_ids;
    bool tokenized;  /* ids are radish_ids_free's */
    RadishRequest q; /* everything but the prompt and the callback */
    int top;         /* logprobs: -1 none */
    int start;       /* /generate: logprob_start_len */
    bool text_in_logprobs;
    Str rid;
} Prompt;

enum { FRAGMENTS = 4 };

/* What a chat request says of tools and reasoning; zero for all others. See chat_tools.h. */
typedef struct {
    const Dialect *dialect; /* NULL: calls are not told apart */
    const DialectReasoning *reasoning;
    DialectTools *tools;
    DialectChoice choice;
    int named, first_call; /* first_call: how many the conversation has had */
    int thinking_tokens;   /* 0: no bound */
    bool parallel, inside, whole_reasoning;
} ChatTools;

/* One answer. Fields are written on the thread that brings its events. */
struct Choice {
    Call *call;
    Prompt *prompt;
    int index;
    uint64_t id; /* radish's; readable below n_submitted */
    Str rid;
    int n_prompt, n_cached, n_out, n_preempted;
    Buf text;      /* what is certain so far */
    size_t n_sent; /* bytes of text that deltas have carried */
    Ids ids;
    size_t ids_sent;
    Buf json_text, json_ids; /* /generate: text and ids as JSON, growing */
    Buf part[FRAGMENTS];     /* logprobs as JSON, by the format */
    size_t n_chars;          /* completions: code points before the next token */
    bool opened;             /* chat: the role has been sent */
    bool told;               /* stream: the last delta has been sent */
    RadishEndReason reason;  /* RADISH_END_NONE: running */
    int32_t matched_id;
    Buf matched_stop, message;
    int64_t end_ns;
    Buf scratch;
    struct ChatAnswer *answer; /* chat: taken apart */
};

struct Call {
    Server *server;
    HttpReply *reply;
    const Format *format;
    Call *prev, *next; /* in server->calls */
    Arena *arena;
    Buf body;
    Str request_model; /* what answers call the model */
    int64_t created_s, start_ns;
    Prompt *prompts;
    int n_prompts, n; /* choices = n_prompts * n, prompt-major */
    Choice *choices;
    int n_choices;
    atomic_int n_submitted; /* choices before it have an id */
    bool batch;             /* the prompts came as a list; /generate: or the answer is one */
    bool stream, include_usage, continuous_usage, echo, return_ids, return_prompt_ids;
    const char *id_prefix;
    atomic_int open;  /* choices that have not ended, and one while submitting */
    atomic_int refs;  /* the work, and the reply */
    atomic_bool gone; /* nobody listens: no deltas, nothing more is submitted */
    atomic_bool claimed, failed;
    Err error; /* of a failed call; by whoever claimed it, before `failed` */
    const char *param, *code;
    ChatTools chat;
    const char *constraint; /* the field that constrains the answers, NULL: none does */
};

/* Takes the reply over; the body is moved out of the request. Runs prepare and submits on a text thread. */
void call_start(Server *s, const Format *format, const char *id_prefix, HttpReply *reply);
/* As call_start, for one token after a prompt of one token: a sign of life. */
void call_start_ids(Server *s, const Format *format, HttpReply *reply, int32_t id, int timeout_ms);
/* Queues work(arg) for a text thread, unless too much waits there already: false. n_bytes: of the body that it will work on; work says with
 * call_dequeued that it has begun. */
bool call_queue(Server *s, size_t n_bytes, void (*work)(void *arg), void *arg);
void call_dequeued(Server *s, size_t n_bytes);
/* Room for n_prompts prompts with default requests. */
void call_prompts(Call *c, int n_prompts);
/* What prompts are told apart by: "rid" (a string, of a batch RID_0, RID_1 ...), "cache_salt" and "extra_key"; each a string for all or a list. */
Status call_names(Call *c, Params *p);
/* Cancels the calls (any thread) with an answer whose id begins with rid. Returns how many. */
int call_abort(Server *s, Str rid, bool all);
void call_wait_idle(Server *s);

const char *call_finish_reason(const Choice *h); /* "stop", "tool_calls", "length", "abort" */
/* "matched_stop": the id or the string, or null. */
void call_matched_json(Buf *out, const Choice *h);
/* Sends data of one event unless the client has gone. */
void call_send(Call *c, const Buf *data);
/* Text that no delta has carried yet; marks it as sent. */
Str call_new_text(Choice *h);
/* The usage object of the choices from first on. The prompt's tokens are known from the start. */
void call_usage_json(Buf *out, const Call *c, int first, int n);

#endif
