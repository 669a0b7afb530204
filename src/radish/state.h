/* state.h - what the files of this folder share: the open model and one request under way. Not a door. */
#ifndef RADISH_STATE_H
#define RADISH_STATE_H

#include <pthread.h>

#include "backend/backend.h"
#include "base/mailbox.h"
#include "chat/chat.h"
#include "engine/engine.h"
#include "load/load.h"
#include "radish.h"
#include "tok/tok.h"

typedef struct Constraints Constraints; /* constraint.c */

struct Radish {
    Arena *boot; /* strings and tables that live as long as this does */
    Checkpoint *checkpoint;
    Tokenizer *tok;
    Template *chat;
    Str chat_text; /* what it was made of */
    TemplateVar *specials;
    int n_specials;
    const BackendOps *ops;
    Device *device;
    Model *model;
    Engine *engine;
    int draft_tokens; /* that it may guess of a request in a step */
    bool compact_json;
    Constraints *constraints; /* NULL: without a tokenizer there are none */
    Mailbox *events;          /* engine thread to text thread */
    pthread_t text_thread;
    bool text_runs;
    RadishInfo info;
    Ids stop_ids;
    uint64_t seed;               /* base for requests that bring none */
    _Atomic uint64_t n_requests; /* numbers them */
};

/* One request, from submit to RADISH_EV_END. Owner: the caller of submit until the engine has it, then the text thread. */
typedef struct {
    Radish *r;
    Output *output; /* NULL without a tokenizer */
    void (*on_event)(void *ctx, const RadishEvent *e);
    void *ctx;
    char **stop; /* stop strings, for RadishEvent.matched_stop */
    int n_stop;
    int n_out;
    int32_t first_id; /* of the prompt, if its logprobs are wanted from the start: it has none itself; else -1 */
    bool stopped;     /* a stop string was matched and END reported: what still comes is dropped */
    Arena *arena;
} Request;

int radish_report(RadishError *out, const Err *err); /* copies an Err out; returns its status */
void *radish_text_main(void *radish);                /* the text thread */
void radish_on_engine_event(void *request, const Event *e);
void radish_request_free(Request *q);
/* The request ends before it began. Any thread. */
void radish_end_unbegun(Request *q, uint64_t id, EndReason reason, const Err *why);

/* constraint.c */
Constraints *radish_constraints_new(Radish *r);
void radish_constraints_close(
    Constraints *c); /* ends what is being compiled; before the engine is closed. NULL is fine */
/* Submits job once the constraint of q is compiled, which may be later and on another thread. From OK on the Request is not the caller's. */
Status radish_submit_constrained(Radish *r, const RadishRequest *q, const Job *job, uint64_t *id, Err *err);
bool radish_constraints_cancel(Constraints *c, uint64_t id, bool all); /* false: no such request waits here */
Status radish_read_defaults(Radish *r, Err *err);                      /* generation_config.json into info */

#endif
