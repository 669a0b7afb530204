/* reply.h - answers that are not tokens: JSON bodies and errors. Internal to api/. */
#ifndef API_REPLY_H
#define API_REPLY_H

#include "api/call.h"

/* The error object: OpenAI's under "error", SGLang's fields beside it, so that the clients of both find theirs. */
void reply_error_json(Buf *out, int status, Str message, const char *param, const char *code);
void reply_error(HttpReply *r, int status, Str message, const char *param, const char *code);
void reply_err(HttpReply *r, const Err *err, const char *param, const char *code);
int reply_status(Status status); /* HTTP's */
void reply_json(HttpReply *r, const Buf *body);
/* An answer token to JSON: its bytes as text. */
void reply_piece(Buf *out, Server *s, int32_t id);
void reply_logprob(Buf *out, float logprob); /* finite or null */

#endif
