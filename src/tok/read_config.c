/* read_config.c - the files beside a tokenizer: tokenizer_config.json (roles of special tokens, flags, chat templates),
 * generation_config.json and config.json (ids that end generation), chat_template.jinja and chat_template.json.
 * A missing file is nothing special; a malformed one is an error. */
#include "tok/jread.h"
#include "tok/parts.h"

static Status load(const Files *f, const char *name, json_t **out, Err *err)
{
    Str text;
    json_error_t at;
    *out = NULL;
    TRY(files_get(f, name, &text, err));
    if (!text.p) return OK;
    *out = json_loadb(text.p, text.n, JSON_ALLOW_NUL, &at);
    return *out ? OK : fail(err, E_CORRUPT, "%s: line %d: %s", name, at.line, at.text);
}

/* ---- roles ---- */

/* A token given as text or as {"content": text}. */
static Str token_text(const json_t *j)
{
    return json_is_object(j) ? jread_str(j, "content") : jread_text(j);
}

static void take_roles(const json_t *config, Tokenizer *t)
{
    static const char *const roles[] = { "bos_token", "eos_token", "unk_token", "pad_token",
                                         "sep_token", "cls_token", "mask_token" };
    for (size_t i = 0; i < COUNT(roles); i++) {
        Str text = token_text(json_object_get(config, roles[i]));
        if (!text.p) continue;
        int32_t id = tok_find(t, text);
        vocab_set_special(t, roles[i], id, text);
        if (i == 0 && id >= 0) t->bos = id;
        if (i == 1 && id >= 0) t->eos = id;
    }
}

/* added_tokens_decoder: {"128000": {"content": ...}, ...}; for files that do not have their added tokens themselves. */
static Status take_added(const json_t *config, Tokenizer *t, Err *err)
{
    json_t *all = json_object_get(config, "added_tokens_decoder");
    const char *key;
    json_t *j;
    json_object_foreach(all, key, j)
    {
        int64_t id;
        Added a = { .text = jread_str(j, "content"), .special = jread_bool(j, "special", false) };
        if (!a.text.p || !str_to_i64(str_of(key), &id) || id < 0 || id >= MAX_VOCAB)
            return fail(err, E_CORRUPT, "added_tokens_decoder[\"%s\"] has no content or no id", key);
        a.id = (int32_t)id;
        bool known = false;
        for (size_t i = 0; i < t->n_added && !known; i++)
            known = t->added[i].id == a.id && str_eq(t->added[i].text, a.text);
        if (known) continue;
        a.single_word = jread_bool(j, "single_word", false);
        a.lstrip = jread_bool(j, "lstrip", false);
        a.rstrip = jread_bool(j, "rstrip", false);
        TRY(vocab_add_token(t, a, err));
    }
    return OK;
}

/* Only the Llama class of tokenizers builds what goes round a text from these flags. */
static void take_flags(const json_t *config, Tokenizer *t)
{
    Str class = jread_str(config, "tokenizer_class");
    const json_t *bos = json_object_get(config, "add_bos_token"), *eos = json_object_get(config, "add_eos_token");
    bool llama =
        str_starts(class, STR("Llama")) || str_starts(class, STR("CodeLlama")) || str_starts(class, STR("Gemma"));
    if (!llama) return;
    if (json_is_boolean(bos)) {
        t->before.n = 0;
        if (json_is_true(bos) && t->bos >= 0) ids_push(&t->before, t->bos);
    }
    if (json_is_boolean(eos)) {
        t->after.n = 0;
        if (json_is_true(eos) && t->eos >= 0) ids_push(&t->after, t->eos);
    }
}

/* ---- templates ---- */

/* A string, or a list of {"name", "template"}. */
static void take_templates(const json_t *j, Tokenizer *t)
{
    const json_t *one;
    size_t i;
    if (json_is_string(j)) vocab_add_template(t, STR(""), jread_text(j));
    if (!json_is_array(j)) return;
    json_array_foreach(j, i, one)
    {
        Str name = jread_str(one, "name"), text = jread_str(one, "template");
        if (name.p && text.p) vocab_add_template(t, name, text);
    }
}

/* A template file of its own counts before the one in tokenizer_config.json. */
static Status take_template_files(const Files *f, Tokenizer *t, Err *err)
{
    Str text;
    json_t *json;
    TRY(files_get(f, "chat_template.jinja", &text, err));
    if (text.p) vocab_add_template(t, STR(""), text);
    TRY(load(f, "chat_template.json", &json, err));
    take_templates(json_object_get(json, "chat_template"), t);
    json_decref(json);
    return OK;
}

/* ---- ids that end generation ---- */

static void take_stops(const json_t *j, Tokenizer *t)
{
    const json_t *one;
    size_t i;
    if (json_is_integer(j)) vocab_add_stop(t, json_integer_value(j));
    if (json_is_array(j))
        json_array_foreach(j, i, one) if (json_is_integer(one)) vocab_add_stop(t, json_integer_value(one));
}

/* An id given as a number or as the first of a list; -1. */
static int32_t first_id(const json_t *j, const Tokenizer *t)
{
    if (json_is_array(j)) j = json_array_get(j, 0);
    int64_t id = json_is_integer(j) ? json_integer_value(j) : -1;
    return id >= 0 && id < t->n_vocab ? (int32_t)id : -1;
}

static Status take_ids(const Files *f, const char *name, Tokenizer *t, Err *err)
{
    json_t *json;
    TRY(load(f, name, &json, err));
    const json_t *eos = json_object_get(json, "eos_token_id");
    take_stops(eos, t);
    if (t->eos < 0) t->eos = first_id(eos, t);
    if (t->bos < 0) t->bos = first_id(json_object_get(json, "bos_token_id"), t);
    json_decref(json);
    return OK;
}

Status read_json_config(const Files *f, Tokenizer *t, Err *err)
{
    json_t *config, *map;
    TRY(take_template_files(f, t, err));
    TRY(load(f, "special_tokens_map.json", &map, err));
    take_roles(map, t);
    json_decref(map);
    TRY(load(f, "tokenizer_config.json", &config, err));
    Status status = take_added(config, t, err);
    if (status == OK) {
        take_roles(config, t);
        take_flags(config, t);
        take_templates(json_object_get(config, "chat_template"), t);
    }
    json_decref(config);
    if (status != OK) return fail_prefix(err, "tokenizer_config.json");
    TRY(take_ids(f, "generation_config.json", t, err));
    return take_ids(f, "config.json", t, err);
}
