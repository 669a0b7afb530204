/* models.c - /v1/models and /v1/models/{id}: the one model that is served. */
#include "api/reply.h"
#include "api/routes.h"
#include "base/jsonw.h"

static void add_card(Buf *out, const Server *s)
{
    buf_str(out, STR("{\"id\":"));
    jsonw_str(out, str_of(s->model_name));
    buf_printf(out,
               ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"sglang\",\"root\":", (long long)s->started_s);
    jsonw_str(out, str_of(s->model_name));
    buf_printf(out, ",\"parent\":null,\"max_model_len\":%d}", s->info.context_length);
}

static void list(Server *s, const HttpRequest *q, HttpReply *r)
{
    Buf b = { 0 };
    (void)q;
    buf_str(&b, STR("{\"object\":\"list\",\"data\":["));
    add_card(&b, s);
    buf_str(&b, STR("]}"));
    reply_json(r, &b);
    buf_free(&b);
}

static void one(Server *s, const HttpRequest *q, HttpReply *r)
{
    Buf b = { 0 };
    Str id = str_cut(q->path, strlen(model_route.path), q->path.n);
    if (str_is(id, s->model_name)) {
        add_card(&b, s);
        reply_json(r, &b);
    } else {
        buf_printf(&b, "the model \"%.*s\" does not exist here; GET /v1/models says what does", (int)MIN(id.n, 200u),
                   id.p);
        reply_error(r, 404, buf_view(&b), "model", "model_not_found");
    }
    buf_free(&b);
}

const Route models_route = { "/v1/models", ROUTE_GET, list };
const Route model_route = { "/v1/models/", ROUTE_GET | ROUTE_PREFIX, one };
