/* ask.h - one request at a time for the commands: submit, print what comes, wait for the end. */
#ifndef CLI_ASK_H
#define CLI_ASK_H

#include "base/base.h"
#include "cli/options.h"
#include "radish.h"

typedef struct {
    RadishEndReason reason;
    int n_prompt, n_cached, n_out;
    double first_s, total_s; /* from submit to the first token, and to the end */
    char message[256];
} Answer;

/* Opens the model of the options; prints why and returns NULL if it cannot. */
Radish *ask_open(Options *o);
/* The request that options and defaults make; text points into prompt. */
void ask_request(Radish *r, const Options *o, Str prompt, bool is_chat, RadishRequest *q);
/* Runs q to its end, printing text to standard output as it comes and appending it to answer (may be NULL).
 * *interrupted (may be NULL) is watched: when it becomes nonzero the request is cancelled. False: refused, the reason printed. */
bool ask_run(Radish *r, RadishRequest *q, const volatile int *interrupted, Buf *answer, Answer *out);
/* Renders a chat of JSON messages; NULL after printing why. radish_string_free. */
char *ask_render(Radish *r, const char *messages_json, size_t *n);
/* Makes of the text a conversation that it is the last message of, as the model's template has it; false after printing why not. */
bool ask_as_chat(Radish *r, const Options *o, Buf *text);
/* All of standard input, at most max bytes. */
bool ask_stdin(Buf *out, size_t max);

#endif
