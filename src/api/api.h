/* api.h - the HTTP endpoints: OpenAI's and SGLang's names over the embedding API. One file per endpoint family. */
#ifndef API_API_H
#define API_API_H

#include "base/base.h"
#include "radish.h"

typedef struct Server Server;

/* Strings are kept: they must outlive the server. Zero means the default for every field. */
typedef struct {
    const char *host;              /* default 127.0.0.1 */
    int port;                      /* 0: any free one; see api_port */
    const char *served_model_name; /* default: the model's path */
    const char *api_key;           /* NULL: open to everyone */
    const char *admin_api_key;     /* for flushing and aborting; default: api_key */
    const char *sampling_defaults; /* of chat: "model" (generation_config.json; default) or "openai" */
    size_t max_body;               /* bytes of a request; default 64 MB */
    int text_threads;              /* that parse, render and tokenize; default by cores */
    bool cache_report;             /* usage.prompt_tokens_details.cached_tokens */
    bool incremental_streaming;    /* /generate streams deltas instead of the whole text each time */
    const char *tool_call_parser;  /* how the model writes tool calls: a name, "none", or by its template (default) */
    const char *reasoning_parser;  /* and its reasoning */
    const char *server_args_json;  /* options to show in /server_info: "\"key\":value,..." or NULL */
} ApiOptions;

/* Binds and listens; the model is borrowed and must outlive the server. */
Status api_open(const ApiOptions *o, Radish *radish, Server **out, Err *err);
int api_port(const Server *s);
void api_run(Server *s); /* serves on the calling thread until api_stop, then until drained */
void api_stop(Server *s,
              int drain_ms); /* any thread and signal handlers: no new requests; running ones get so long to end */
void api_close(Server *s);   /* after api_run; NULL is fine */

#endif
