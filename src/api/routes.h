/* routes.h - an endpoint: its path, its methods, its handler. Internal to api/. */
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include "api/call.h"

enum {
    ROUTE_GET = 1, /* and HEAD */
    ROUTE_POST = 2,
    ROUTE_PUT = 4,
    ROUTE_ANY = 7,
    ROUTE_JSON = 8,   /* Content-Type must be application/json */
    ROUTE_ADMIN = 16, /* needs the admin key, if there is one */
    ROUTE_OPEN = 32,  /* needs no key */
    ROUTE_PREFIX = 64 /* path is what the request's path begins with */
};

typedef struct {
    const char *path;
    int flags;
    /* I/O thread: must not block. Answers, or hands the reply on. */
    void (*handle)(Server *s, const HttpRequest *q, HttpReply *r);
} Route;

extern const Format completions_format, chat_format, generate_format;

/* The route of a path, or NULL. */
const Route *routes_find(Str path);
bool routes_allow(const Route *r, const char *method);
/* "GET, HEAD, POST" */
const char *routes_methods(const Route *r);

extern const Route completions_route, chat_route, models_route, model_route, generate_route;
extern const Route tokenize_route, tokenize_v1_route, detokenize_route, detokenize_v1_route;
extern const Route parse_function_call_route, separate_reasoning_route;
extern const Route root_route, health_route, health_ready_route, health_generate_route, ping_route, version_route;
extern const Route model_info_route, get_model_info_route, server_info_route, get_server_info_route;
extern const Route get_load_route, loads_route, flush_cache_route, abort_route, metrics_route;

#endif
