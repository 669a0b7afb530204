/* tokenize.c - /tokenize and /detokenize: text to ids and back, also of whole conversations. On a text thread. */
#include "api/job.h"
#include "api/openai.h"
#include "api/routes.h"
#include "base/jsonw.h"

/* ---- text to ids ---- */

static Status add_tokens(Server *s, Params *p, Str text, bool specials, Buf *tokens, Buf *counts)
{
    int32_t *ids;
    size_t n;
    RadishError e = { 0 };
    if (radish_tokenize(s->radish, text.p, text.n, true, specials, &ids, &n, &e))
        return fail(p->err, (Status)e.status, "%s", e.text);
    jsonw_sep(tokens);
    jsonw_ids(tokens, ids, n);
    jsonw_sep(counts);
    jsonw_i64(counts, (int64_t)n);
    radish_ids_free(ids);
    return OK;
}

static Status tokenize_texts(Server *s, Params *p, Buf *tokens, Buf *counts)
{
    const json_t *prompt = params_get(p, "prompt"), *messages = params_get(p, "messages");
    bool specials = true;
    Str text = { 0 };
    TRY(params_bool(p, "add_special_tokens", &specials));
    if (!prompt == !messages) return params_refuse(p, "prompt", "or messages must be given, and not both");
    if (messages) {
        TRY(chat_prompt(s, p, &text));
        return add_tokens(s, p, text, false, tokens, counts);
    }
    size_t n = json_is_array(prompt) ? json_array_size(prompt) : 1;
    if (json_is_array(prompt)) buf_char(tokens, '['), buf_char(counts, '[');
    for (size_t i = 0; i < n; i++) {
        const json_t *x = json_is_array(prompt) ? json_array_get(prompt, i) : prompt;
        if (!json_is_string(x)) return params_wrong(p, "prompt", "a string or a list of strings", x);
        TRY(add_tokens(s, p, (Str){ json_string_value(x), json_string_length(x) }, specials, tokens, counts));
    }
    if (json_is_array(prompt)) buf_char(tokens, ']'), buf_char(counts, ']');
    return OK;
}

static Status tokenize(Server *s, Params *p, Buf *out)
{
    Buf tokens = { 0 }, counts = { 0 };
    Status status = tokenize_texts(s, p, &tokens, &counts);
    if (status == OK) {
        buf_str(out, STR("{\"tokens\":"));
        buf_str(out, buf_view(&tokens));
        buf_str(out, STR(",\"count\":"));
        buf_str(out, buf_view(&counts));
        buf_printf(out, ",\"max_model_len\":%d}", s->info.context_length);
    }
    buf_free(&tokens);
    buf_free(&counts);
    return status;
}

/* ---- ids to text ---- */

static Status add_text(Server *s, Params *p, const json_t *list, bool skip_special, Buf *out)
{
    const int32_t *ids;
    int n_ids;
    char *text;
    size_t n;
    RadishError e = { 0 };
    TRY(params_id_list(p, "tokens", list, &ids, &n_ids));
    for (int i = 0; i < n_ids; i++) {
        if (ids[i] >= s->info.n_vocab)
            return params_refuse(p, "tokens", "has the id %d, the vocabulary has %d", ids[i], s->info.n_vocab);
    }
    if (radish_detokenize(s->radish, ids, (size_t)n_ids, skip_special, &text, &n, &e))
        return fail(p->err, (Status)e.status, "%s", e.text);
    jsonw_sep(out);
    jsonw_str(out, (Str){ text, n });
    radish_string_free(text);
    return OK;
}

static Status detokenize(Server *s, Params *p, Buf *out)
{
    const json_t *tokens = params_get(p, "tokens");
    bool skip_special = true;
    TRY(params_bool(p, "skip_special_tokens", &skip_special));
    if (!tokens) return params_refuse(p, "tokens", "is missing: send a list of token ids");
    if (!json_is_array(tokens)) return params_wrong(p, "tokens", "a list of token ids", tokens);
    buf_str(out, STR("{\"text\":"));
    if (json_is_array(json_array_get(tokens, 0))) {
        buf_char(out, '[');
        for (size_t i = 0; i < json_array_size(tokens); i++)
            TRY(add_text(s, p, json_array_get(tokens, i), skip_special, out));
        buf_char(out, ']');
    } else {
        TRY(add_text(s, p, tokens, skip_special, out));
    }
    buf_char(out, '}');
    return OK;
}

static void handle_tokenize(Server *s, const HttpRequest *q, HttpReply *r)
{
    (void)q;
    job_start(s, r, tokenize);
}

static void handle_detokenize(Server *s, const HttpRequest *q, HttpReply *r)
{
    (void)q;
    job_start(s, r, detokenize);
}

const Route tokenize_route = { "/tokenize", ROUTE_POST, handle_tokenize };
const Route tokenize_v1_route = { "/v1/tokenize", ROUTE_POST, handle_tokenize };
const Route detokenize_route = { "/detokenize", ROUTE_POST, handle_detokenize };
const Route detokenize_v1_route = { "/v1/detokenize", ROUTE_POST, handle_detokenize };
