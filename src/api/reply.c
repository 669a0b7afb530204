/* reply.c - errors and small pieces of JSON that several endpoints write. Any thread. */
#include "api/reply.h"

#include <math.h>

#include "base/jsonw.h"

static const char *error_type(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 429: return "rate_limit_error";
    default: return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

void reply_error_json(Buf *out, int status, Str message, const char *param, const char *code)
{
    Buf fields = { 0 };
    buf_str(&fields, STR("\"message\":"));
    jsonw_str(&fields, message);
    buf_printf(&fields, ",\"type\":\"%s\",\"param\":", error_type(status));
    if (param)
        jsonw_str(&fields, str_of(param));
    else
        buf_str(&fields, STR("null"));
    buf_printf(out, "{\"object\":\"error\",%.*s,\"code\":%d,\"error\":{%.*s,\"code\":", STR_FMT(fields), status,
               STR_FMT(fields));
    if (code)
        jsonw_str(out, str_of(code));
    else
        buf_printf(out, "%d", status);
    buf_str(out, STR("}}"));
    buf_free(&fields);
}

void reply_error(HttpReply *r, int status, Str message, const char *param, const char *code)
{
    Buf b = { 0 };
    reply_error_json(&b, status, message, param, code);
    http_reply(r, status, "application/json", NULL, buf_view(&b));
    buf_free(&b);
}

int reply_status(Status status)
{
    switch (status) {
    case OK: return 200;
    case E_INVALID:
    case E_UNSUPPORTED:
    case E_LIMIT: return 400;
    case E_NOT_FOUND: return 404;
    case E_BUSY: return 503;
    case E_IO:
    case E_CORRUPT:
    case E_DEVICE:
    case E_CANCELLED: return 500;
    }
    return 500;
}

void reply_err(HttpReply *r, const Err *err, const char *param, const char *code)
{
    reply_error(r, reply_status(err->status), str_of(err->text), param, code);
}

void reply_json(HttpReply *r, const Buf *body)
{
    http_reply(r, 200, "application/json", NULL, buf_view(body));
}

void reply_piece(Buf *out, Server *s, int32_t id)
{
    Str piece;
    piece.p = radish_piece(s->radish, id, &piece.n);
    jsonw_str(out, piece.p ? piece : STR(""));
}

void reply_logprob(Buf *out, float logprob)
{
    if (isnan(logprob))
        buf_str(out, STR("null"));
    else
        jsonw_f32(out, isinf(logprob) ? -9999.0f : logprob);
}
