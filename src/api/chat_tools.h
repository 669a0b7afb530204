/* chat_tools.h - tools and reasoning of chat requests: what is asked for, what the answer must be for it, and the answer taken apart.
 * Internal to api/. */
#ifndef API_CHAT_TOOLS_H
#define API_CHAT_TOOLS_H

#include "api/call.h"

/* Finds how the server's model writes calls and reasoning: by the names in the options, or by its template. E_INVALID: unknown name. */
Status chat_tools_open(Server *s, Err *err);

/* tools, tool_choice, parallel_tool_calls, separate_reasoning, stream_reasoning. */
Status chat_tools_read(Call *c, Params *p);
/* The tools that the template is to show, or NULL. */
const json_t *chat_tools_shown(const Params *p);
/* Bounds q by what was read, and by a schema that it already has; prompt: rendered. */
Status chat_tools_constrain(Call *c, Params *p, Str prompt, RadishRequest *q);
void chat_tools_free(Call *c);

/* ---- an answer, taken apart ---- */

typedef struct {
    int n_calls;
    Buf content, reasoning;
    Buf calls; /* JSON: the calls, separated by commas, without brackets */
} ChatParts;

typedef struct ChatAnswer ChatAnswer;

/* member: key and value, of a delta object. */
typedef void ChatSend(Choice *h, Str member);

/* Feeds what is new of h's text; the last time after h has ended. With send: each piece as a delta's member. */
void chat_answer_feed(Choice *h, ChatSend *send);
const ChatParts *chat_answer_parts(Choice *h); /* after the last feed without send */
int chat_answer_calls(const Choice *h);        /* begun so far */
int chat_answer_thought(const Choice *h);      /* tokens of reasoning so far */
bool chat_answer_active(const Call *c); /* calls or reasoning are told apart; else nothing of this is called for */
void chat_answer_free(Choice *h);

#endif
