/* openai.h - what /v1/completions and /v1/chat/completions share. Internal to api/. */
#ifndef API_OPENAI_H
#define API_OPENAI_H

#include "api/call.h"

enum { OPENAI_TOP_MAX = CALL_TOP_MAX };

/* Fields that mean the same in both: model, stream, stream_options, priority, sampling, constraints, n. q: the request to fill, with the defaults
 * in it. */
Status openai_common(Call *c, Params *p, RadishRequest *q);
/* {"id":..,"object":..,"created":..,"model":..,"choices":[ */
void openai_head(Buf *out, const Call *c, const char *object);
/* ],"usage":..} of a chunk; h NULL: no choice */
void openai_chunk_tail(Buf *out, const Call *c, const Choice *h);
/* The chunk of the whole usage, if it was asked for. */
void openai_send_usage(Call *c, const char *object);
/* ],"usage":..,"metadata":..} of a whole answer */
void openai_tail(Buf *out, const Call *c);
/* "finish_reason":..,"matched_stop":.. */
void openai_finish(Buf *out, const Choice *h, bool running);
/* ,"token_ids":..,"prompt_token_ids":.. of a choice of a whole answer, as far as they were asked for */
void openai_ids(Buf *out, const Choice *h);
/* The messages, rendered; from chat_completions.c. The text lives in p's arena. */
Status chat_prompt(Server *s, Params *p, Str *text);

#endif
