/* text.c - the text functions of the embedding API: tokenizing, detokenizing, chat templates. Any thread. */
#include <stdlib.h>
#include <time.h>

#include "base/utf8.h"
#include "radish.h"
#include "radish/state.h"

static Status need_tokenizer(const Radish *r, Err *err)
{
    return r->tok ? OK : fail(err, E_INVALID, "this model was opened without a tokenizer");
}

int radish_tokenize(Radish *r, const char *text, size_t n, bool parse_specials, bool add_bos, int32_t **ids,
                    size_t *n_ids, RadishError *error)
{
    Err err = { 0 };
    if (need_tokenizer(r, &err) != OK) return radish_report(error, &err);
    Ids out = { 0 };
    ids_reserve(&out, n / 3 + 8);
    tok_encode(r->tok, (Str){ text, n }, (parse_specials ? TOK_SPECIALS : 0) | (add_bos ? TOK_ADD_BOS : 0), &out);
    *ids = out.p;
    *n_ids = out.n;
    return RADISH_OK;
}

int radish_detokenize(Radish *r, const int32_t *ids, size_t n_ids, bool skip_special, char **text, size_t *n,
                      RadishError *error)
{
    Err err = { 0 };
    if (need_tokenizer(r, &err) != OK) return radish_report(error, &err);
    Buf raw = { 0 }, out = { 0 };
    tok_decode(r->tok, ids, n_ids, skip_special, &raw);
    utf8_repair(&out, buf_view(&raw));
    buf_free(&raw);
    *n = out.n;
    buf_char(&out, 0);
    *text = out.p;
    return RADISH_OK;
}

void radish_ids_free(int32_t *ids)
{
    mem_free(ids);
}

void radish_string_free(char *s)
{
    mem_free(s);
}

const char *radish_piece(Radish *r, int32_t id, size_t *n)
{
    Str s = r->tok ? tok_piece(r->tok, id) : (Str){ 0 };
    *n = s.n;
    return s.p;
}

int32_t radish_token_id(Radish *r, const char *text, size_t n)
{
    return r->tok ? tok_find(r->tok, (Str){ text, n }) : -1;
}

const char *radish_chat_template(Radish *r, size_t *n)
{
    *n = r->chat_text.n;
    return r->chat_text.n ? r->chat_text.p : "";
}

/* Templates print the date where the server stands. */
static int64_t local_now(void)
{
    time_t t = (time_t)clock_wall_s();
    struct tm tm;
    localtime_r(&t, &tm);
    return (int64_t)t + tm.tm_gmtoff;
}

int radish_render_chat(Radish *r, const RadishChat *chat, char **prompt, size_t *n, RadishError *error)
{
    Err err = { 0 };
    Buf out = { 0 };
    Status status;
    if (!r->chat) {
        status =
            fail(&err, E_INVALID,
                 "this model has no chat template: use /v1/completions, or start the server with --chat-template FILE");
    } else {
        RenderInput in = { .messages_json = str_of(chat->messages_json),
                           .tools_json = str_of(chat->tools_json),
                           .documents_json = str_of(chat->documents_json),
                           .kwargs_json = str_of(chat->kwargs_json),
                           .specials = r->specials,
                           .n_specials = r->n_specials,
                           .prepare = true,
                           .add_generation_prompt = !chat->no_generation_prompt && !chat->continue_final_message,
                           .continue_final_message = chat->continue_final_message,
                           .now_s = local_now() };
        status = template_render(r->chat, &in, &out, &err);
    }
    if (status != OK) {
        buf_free(&out);
        return radish_report(error, &err);
    }
    *n = out.n;
    buf_char(&out, 0);
    *prompt = out.p;
    return RADISH_OK;
}
