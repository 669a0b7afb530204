/* routes.c - the list of endpoints. A new one is a file with a const Route, and a line here. */
#include "api/routes.h"

static const Route *const routes[] = {
    &generate_route,
    &completions_route,
    &chat_route,
    &models_route,
    &model_route,
    &tokenize_route,
    &tokenize_v1_route,
    &detokenize_route,
    &detokenize_v1_route,
    &parse_function_call_route,
    &separate_reasoning_route,
    &root_route,
    &health_route,
    &health_ready_route,
    &health_generate_route,
    &ping_route,
    &version_route,
    &model_info_route,
    &get_model_info_route,
    &server_info_route,
    &get_server_info_route,
    &get_load_route,
    &loads_route,
    &flush_cache_route,
    &abort_route,
    &metrics_route,
};

const Route *routes_find(Str path)
{
    for (size_t i = 0; i < COUNT(routes); i++) {
        const Route *r = routes[i];
        size_t n = strlen(r->path);
        if (r->flags & ROUTE_PREFIX ? path.n > n && str_starts(path, str_of(r->path)) : str_is(path, r->path)) return r;
    }
    return NULL;
}

static int method_flag(const char *method)
{
    if (!strcmp(method, "GET") || !strcmp(method, "HEAD")) return ROUTE_GET;
    if (!strcmp(method, "POST")) return ROUTE_POST;
    return !strcmp(method, "PUT") ? ROUTE_PUT : 0;
}

bool routes_allow(const Route *r, const char *method)
{
    return (r->flags & ROUTE_ANY & method_flag(method)) != 0;
}

const char *routes_methods(const Route *r)
{
    static const char *const names[] = { "",    "GET, HEAD",      "POST",      "GET, HEAD, POST",
                                         "PUT", "GET, HEAD, PUT", "POST, PUT", "GET, HEAD, POST, PUT" };
    return names[r->flags & ROUTE_ANY];
}
