/* params.c - typed fields out of a JSON object. Every refusal names the field, says what it must be and what it was.
 *
 * Unknown fields are ignored at the top level, because clients of many servers send each other's extensions; a field
 * that is known and cannot be honoured is refused. Any thread. */
#include "api/params.h"

#include <math.h>

#include "base/jsonw.h"
#include "base/utf8.h"

static const char *kind_of(const json_t *x)
{
    switch (json_typeof(x)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "a list";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a number";
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    case JSON_NULL: return "null";
    }
    return "something else";
}

/* ---- bodies ---- */

/* The parser recurses, and what it makes is much larger than the text: depth and number are bounded before it starts. */
static Status check_shape(Str s, Err *err)
{
    int depth = 0, n_values = 0;
    bool in_string = false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (in_string) {
            if (c == '\\') i++;
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > PARAMS_DEPTH_MAX)
                return fail(err, E_INVALID, "the JSON body is nested more than %d levels deep", PARAMS_DEPTH_MAX);
        } else if (c == ']' || c == '}') {
            depth--;
        } else if (c == ',' && ++n_values == PARAMS_VALUES_MAX) {
            return fail(err, E_INVALID, "the JSON body has more than %d values: send several requests",
                        PARAMS_VALUES_MAX);
        }
    }
    return OK;
}

/* How many bytes are fine before the first bad one. */
static size_t utf8_prefix(Str s)
{
    size_t i = 0;
    for (int len; i < s.n && utf8_next(s.p, s.n, i, &len) >= 0; i += (size_t)len) continue;
    return i;
}

Status params_parse(Str body, json_t **out, Err *err)
{
    json_error_t where;
    if (str_trim(body).n == 0) return fail(err, E_INVALID, "the request has no body: send a JSON object");
    if (!utf8_valid(body))
        return fail(err, E_INVALID, "the body is not valid UTF-8 from byte %zu on", utf8_prefix(body));
    TRY(check_shape(body, err));
    *out = json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &where);
    if (!*out) {
        return fail(err, E_INVALID, "the body is not valid JSON: %s (line %d, column %d)", where.text, where.line,
                    where.column);
    }
    if (json_is_object(*out)) return OK;
    fail(err, E_INVALID, "the body must be a JSON object, not %s", kind_of(*out));
    json_decref(*out);
    *out = NULL;
    return E_INVALID;
}

/* ---- one field ---- */

const json_t *params_get(const Params *p, const char *key)
{
    const json_t *x = json_object_get(p->o, key);
    return json_is_null(x) ? NULL : x;
}

Status params_wrong(Params *p, const char *key, const char *what, const json_t *x)
{
    p->param = key;
    return fail(p->err, E_INVALID, "%s%s must be %s, not %s", p->where, key, what, kind_of(x));
}

Status params_refuse(Params *p, const char *key, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    p->param = key;
    return fail(p->err, E_INVALID, "%s%s %s", p->where, key, text);
}

Status params_bool(Params *p, const char *key, bool *io)
{
    const json_t *x = params_get(p, key);
    if (!x) return OK;
    if (!json_is_boolean(x)) return params_wrong(p, key, "true or false", x);
    *io = json_is_true(x);
    return OK;
}

Status params_i64(Params *p, const char *key, int64_t low, int64_t high, int64_t *io)
{
    const json_t *x = params_get(p, key);
    if (!x) return OK;
    int64_t value;
    if (json_is_integer(x)) {
        value = json_integer_value(x);
    } else if (json_is_real(x) && fabs(json_real_value(x)) < 9e15 && floor(json_real_value(x)) == json_real_value(x)) {
        value = (int64_t)json_real_value(x); /* 16.0 is as good as 16 */
    } else {
        return params_wrong(p, key, "an integer", x);
    }
    if (value < low) return params_refuse(p, key, "must be at least %lld, not %lld", (long long)low, (long long)value);
    if (value > high) return params_refuse(p, key, "can be at most %lld, not %lld", (long long)high, (long long)value);
    *io = value;
    return OK;
}

Status params_int(Params *p, const char *key, int64_t low, int64_t high, int *io)
{
    int64_t value = *io;
    TRY(params_i64(p, key, MAX(low, INT32_MIN), MIN(high, INT32_MAX), &value));
    *io = (int)value;
    return OK;
}

Status params_f32(Params *p, const char *key, double low, double high, float *io)
{
    const json_t *x = params_get(p, key);
    if (!x) return OK;
    if (!json_is_number(x)) return params_wrong(p, key, "a number", x);
    double value = json_number_value(x);
    if (!(value >= low && value <= high))
        return params_refuse(p, key, "must be between %g and %g, not %g", low, high, value);
    *io = (float)value;
    return OK;
}

Status params_str(Params *p, const char *key, Str *io)
{
    const json_t *x = params_get(p, key);
    if (!x) return OK;
    if (!json_is_string(x)) return params_wrong(p, key, "a string", x);
    *io = (Str){ json_string_value(x), json_string_length(x) };
    return OK;
}

Status params_id_list(Params *p, const char *key, const json_t *list, const int32_t **ids, int *n)
{
    if (!json_is_array(list)) return params_wrong(p, key, "a list of token ids", list);
    size_t count = json_array_size(list);
    if (count > INT32_MAX / 8) return params_refuse(p, key, "is too long");
    int32_t *out = ARENA_NEW(p->arena, int32_t, count + 1);
    for (size_t i = 0; i < count; i++) {
        const json_t *x = json_array_get(list, i);
        if (!json_is_integer(x))
            return params_wrong(p, key, "a list of token ids (integers); one element is wrong: it must be an integer",
                                x);
        json_int_t id = json_integer_value(x);
        if (id < 0 || id > INT32_MAX)
            return params_refuse(p, key, "has the token id %lld, which is not in the vocabulary", (long long)id);
        out[i] = (int32_t)id;
    }
    *ids = out;
    *n = (int)count;
    return OK;
}

Status params_list_of(Params *p, const char *key, int n)
{
    const json_t *x = params_get(p, key);
    if (!json_is_array(x) || json_array_size(x) == (size_t)n) return OK;
    return params_refuse(p, key, "is a list of %zu, but there %s %d prompt%s", json_array_size(x),
                         n == 1 ? "is" : "are", n, n == 1 ? "" : "s");
}

/* ---- sampling ---- */

/* A string or a list of strings; the strings are borrowed from the JSON tree. */
static Status string_list(Params *p, const char *key, const char *const **out, int *n)
{
    const json_t *x = params_get(p, key);
    if (!x) return OK;
    size_t count = json_is_array(x) ? json_array_size(x) : 1;
    if (count > PARAMS_STOP_MAX)
        return params_refuse(p, key, "can have at most %d strings, not %zu", PARAMS_STOP_MAX, count);
    const char **list = ARENA_NEW(p->arena, const char *, count + 1);
    for (size_t i = 0; i < count; i++) {
        const json_t *s = json_is_array(x) ? json_array_get(x, i) : x;
        if (!json_is_string(s)) return params_wrong(p, key, "a string or a list of strings", s);
        if (strlen(json_string_value(s)) != json_string_length(s))
            return params_refuse(p, key, "cannot contain a NUL character");
        list[i] = json_string_value(s);
    }
    *out = list;
    *n = (int)count;
    return OK;
}

static Status logit_bias(Params *p, RadishRequest *q)
{
    const json_t *map = params_get(p, "logit_bias");
    if (!map) return OK;
    if (!json_is_object(map)) return params_wrong(p, "logit_bias", "an object of token id to number", map);
    size_t count = json_object_size(map);
    if (count > PARAMS_BIAS_MAX)
        return params_refuse(p, "logit_bias", "can have at most %d tokens, not %zu", PARAMS_BIAS_MAX, count);
    RadishBias *bias = ARENA_NEW(p->arena, RadishBias, count + 1);
    const char *key;
    json_t *x;
    json_object_foreach((json_t *)(uintptr_t)map, key, x)
    {
        int64_t id;
        if (!str_to_i64(str_of(key), &id) || id < 0 || id > INT32_MAX)
            return params_refuse(p, "logit_bias", "has the key \"%.40s\": keys must be token ids", key);
        if (!json_is_number(x))
            return params_wrong(p, "logit_bias",
                                "an object whose values are numbers; one value is wrong: it must be a number", x);
        if (!(fabs(json_number_value(x)) <= 1e6)) return params_refuse(p, "logit_bias", "has a value beyond 1e6");
        bias[q->n_bias++] = (RadishBias){ (int32_t)id, (float)json_number_value(x) };
    }
    q->bias = bias;
    return OK;
}

static Status top_k(Params *p, RadishRequest *q)
{
    int k = q->top_k == 0 ? -1 : q->top_k;
    TRY(params_int(p, "top_k", -1, INT32_MAX, &k));
    if (k == 0) return params_refuse(p, "top_k", "must be -1 (off) or at least 1, not 0");
    q->top_k = k == -1 ? 0 : k;
    return OK;
}

static Status seed(Params *p, const char *key, RadishRequest *q)
{
    int64_t value = 0;
    if (!params_get(p, key)) return OK;
    TRY(params_i64(p, key, INT64_MIN, INT64_MAX, &value));
    q->has_seed = true;
    q->seed = (uint64_t)value;
    return OK;
}

Status params_sampling(Params *p, bool openai, RadishRequest *q, int *n)
{
    const char *min_key = openai ? "min_tokens" : "min_new_tokens";
    bool skip_special = true;
    const json_t *ids = params_get(p, "stop_token_ids");
    TRY(params_f32(p, "temperature", 0, 1000, &q->temperature));
    TRY(params_f32(p, "top_p", 0, 1, &q->top_p));
    if (q->top_p <= 0)
        return params_refuse(p, "top_p", "must be above 0 (1 is off; for the likeliest token set temperature 0)");
    TRY(params_f32(p, "min_p", 0, 1, &q->min_p));
    TRY(top_k(p, q));
    TRY(params_f32(p, "frequency_penalty", -2, 2, &q->frequency_penalty));
    TRY(params_f32(p, "presence_penalty", -2, 2, &q->presence_penalty));
    TRY(params_f32(p, "repetition_penalty", 0, 2, &q->repetition_penalty));
    if (q->repetition_penalty <= 0) return params_refuse(p, "repetition_penalty", "must be above 0 (1 is off)");
    TRY(params_int(p, min_key, 0, INT32_MAX, &q->min_new_tokens));
    if (q->max_new_tokens >= 0 && q->min_new_tokens > q->max_new_tokens)
        return params_refuse(p, min_key, "(%d) is more than the tokens that may be drawn (%d)", q->min_new_tokens,
                             q->max_new_tokens);
    TRY(params_int(p, "n", 1, 128, n));
    TRY(seed(p, openai ? "seed" : "sampling_seed", q));
    TRY(string_list(p, "stop", &q->stop, &q->n_stop));
    if (ids) TRY(params_id_list(p, "stop_token_ids", ids, &q->stop_ids, &q->n_stop_ids));
    TRY(params_bool(p, "ignore_eos", &q->ignore_eos));
    TRY(params_bool(p, "no_stop_trim", &q->keep_stop));
    TRY(params_bool(p, "skip_special_tokens", &skip_special));
    q->keep_special = !skip_special;
    return logit_bias(p, q);
}

/* ---- what is not built ---- */

/* null, false, "" and empty lists and objects ask for nothing. */
static bool asks(const json_t *x)
{
    if (!x || json_is_null(x) || json_is_false(x)) return false;
    if (json_is_string(x)) return json_string_length(x) > 0;
    if (json_is_array(x)) return json_array_size(x) > 0;
    if (json_is_object(x)) return json_object_size(x) > 0;
    return true;
}

Status params_unsupported(Params *p)
{
    static const struct {
        const char *key, *why;
    } fields[] = {
        { "stop_regex", "is not supported yet: use stop with plain strings" },
        { "suffix", "is not supported: the text after the answer cannot be given" },
        { "lora_path", "is not supported: this server has no adapters, leave the field out" },
        { "custom_logit_processor", "is not supported: it would be Python code; logit_bias may do" },
        { "return_hidden_states", "is not supported: hidden states are not available" },
        { "return_routed_experts", "is not supported" },
        { "return_entropy", "is not supported" },
        { "token_ids_logprob", "is not supported yet: use top_logprobs_num" },
        { "input_embeds", "is not supported: send text or token ids" },
        { "image_data", "is not supported: this server answers text only" },
        { "video_data", "is not supported: this server answers text only" },
        { "audio_data", "is not supported: this server answers text only" },
        { "session_params", "is not supported: send the whole text, its prefix is cached" },
        { "session_id", "is not supported: send the whole text, its prefix is cached" },
        { "beam_width", "is not supported: leave it out" },
        { "bootstrap_host", "is not supported: this server computes prompt and answer itself" },
    };
    for (size_t i = 0; i < COUNT(fields); i++) {
        if (asks(json_object_get(p->o, fields[i].key))) return params_refuse(p, fields[i].key, "%s", fields[i].why);
    }
    return OK;
}

static Status salt_part(Params *p, const char *key, size_t index, Str *out)
{
    const json_t *x = params_get(p, key);
    if (json_is_array(x)) x = json_array_get(x, index);
    if (!x || json_is_null(x)) return OK;
    if (!json_is_string(x)) return params_wrong(p, key, "a string", x);
    *out = (Str){ json_string_value(x), json_string_length(x) };
    return OK;
}

Status params_salt(Params *p, size_t index, const char **out)
{
    Str salt = { 0 }, extra = { 0 };
    TRY(salt_part(p, "cache_salt", index, &salt));
    TRY(salt_part(p, "extra_key", index, &extra));
    *out =
        salt.n + extra.n == 0 ? NULL : arena_printf(p->arena, "%zu:%.*s%.*s", salt.n, STR_FMT(salt), STR_FMT(extra)).p;
    return OK;
}

/* ---- dumping ---- */

static void dump_real(Buf *out, double x)
{
    char text[40];
    int n = jsonw_repr(text, x);
    buf_add(out, text, (size_t)n);
}

/* Depth is bounded by params_parse. */
void params_dump(Buf *out, const json_t *x)
{
    json_t *value;
    const char *key;
    size_t i;
    switch (json_typeof(x)) {
    case JSON_OBJECT:
        buf_char(out, '{');
        json_object_foreach((json_t *)(uintptr_t)x, key, value)
        {
            jsonw_sep(out);
            jsonw_str(out, str_of(key));
            buf_char(out, ':');
            params_dump(out, value);
        }
        buf_char(out, '}');
        break;
    case JSON_ARRAY:
        buf_char(out, '[');
        json_array_foreach((json_t *)(uintptr_t)x, i, value)
        {
            if (i > 0) buf_char(out, ',');
            params_dump(out, value);
        }
        buf_char(out, ']');
        break;
    case JSON_STRING: jsonw_str(out, (Str){ json_string_value(x), json_string_length(x) }); break;
    case JSON_INTEGER: jsonw_i64(out, json_integer_value(x)); break;
    case JSON_REAL: dump_real(out, json_real_value(x)); break;
    case JSON_TRUE: buf_str(out, STR("true")); break;
    case JSON_FALSE: buf_str(out, STR("false")); break;
    case JSON_NULL: buf_str(out, STR("null")); break;
    }
}

Str params_text(Params *p, const json_t *x)
{
    Buf b = { 0 };
    params_dump(&b, x);
    Str text = arena_str(p->arena, buf_view(&b));
    buf_free(&b);
    return text;
}
