/* dialects.c - the list of dialects: by name, by template, by number. */
#include "dialect/describe.h"

/* Templates are held against them in this order: what is told by more marks comes before what is told by fewer. */
static const Dialect *const all[] = {
    &dialect_gpt_oss,      &dialect_gemma4,      &dialect_deepseek_v32, &dialect_deepseek_v4, &dialect_deepseek_v3,
    &dialect_deepseek_v31, &dialect_kimi_k2,     &dialect_minimax_m2,   &dialect_glm45,       &dialect_qwen3_coder,
    &dialect_mistral_v11,  &dialect_mistral_v13, &dialect_mistral,      &dialect_cohere,      &dialect_phi4_mini,
    &dialect_apriel,       &dialect_lfm2,        &dialect_hermes,       &dialect_llama4,      &dialect_llama3,
    &dialect_gemma3,
};

const Dialect *dialect_at(size_t i)
{
    return i < COUNT(all) ? all[i] : NULL;
}

const char *dialect_name(const Dialect *d)
{
    return d->names[0];
}

const Dialect *dialect_find(Str name)
{
    for (size_t i = 0; i < COUNT(all); i++)
        for (size_t k = 0; k < COUNT(all[i]->names) && all[i]->names[k]; k++)
            if (str_is(name, all[i]->names[k])) return all[i];
    return NULL;
}

static bool shows(Str chat_template, const Dialect *d)
{
    for (size_t k = 0; k < COUNT(d->signs) && d->signs[k]; k++)
        if (str_find(chat_template, str_of(d->signs[k]), 0) == SIZE_MAX) return false;
    return !d->not_sign || str_find(chat_template, str_of(d->not_sign), 0) == SIZE_MAX;
}

const Dialect *dialect_detect(Str chat_template)
{
    for (size_t i = 0; i < COUNT(all); i++)
        if (shows(chat_template, all[i])) return all[i];
    return NULL;
}

const char *dialect_form_mark(const Form *f)
{
    const Step *first = f->open[0].kind ? f->open : f->call;
    return first->kind == STEP_TEXT ? first->text : NULL;
}

typedef struct {
    void (*fn)(void *ctx, Str mark);
    void *ctx;
} Marks;

/* The text, and what in it looks like a token: "<...>", "<|...>" and what stands between full-width bars. */
static void mark(const Marks *m, const char *text)
{
    static const Str bar = { "｜", 3 };
    Str s = str_of(text);
    if (s.n) m->fn(m->ctx, s);
    for (size_t i = str_find(s, STR("<"), 0); i != SIZE_MAX; i = str_find(s, STR("<"), i + 1)) {
        size_t end = str_find(s, STR(">"), i);
        if (end != SIZE_MAX && end + 1 - i < s.n) m->fn(m->ctx, str_cut(s, i, end + 1));
    }
    size_t from = str_find(s, bar, 0), to = from == SIZE_MAX ? from : str_find(s, bar, from + bar.n);
    if (to != SIZE_MAX) m->fn(m->ctx, str_cut(s, from, to + bar.n));
}

static void step_marks(const Step *s, size_t n, const Marks *m)
{
    for (size_t i = 0; i < n && s[i].kind; i++)
        if (s[i].kind == STEP_TEXT) mark(m, s[i].text);
}

static void form_marks(const Form *f, const Marks *m)
{
    step_marks(f->open, FORM_OPEN, m);
    step_marks(f->call, FORM_CALL, m);
    step_marks(f->close, FORM_CLOSE, m);
    if (f->args == ARGS_GEMMA) mark(m, "<|\"|>");
    if (f->xml) {
        mark(m, f->xml->key_open);
        mark(m, f->xml->key_close);
        mark(m, f->xml->value_open);
        mark(m, f->xml->value_close);
    }
}

static void channel_marks(const Marks *m)
{
    static const char *const marks[] = { "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>",
                                         "<|end|>",   "<|call|>",    "<|return|>" };
    for (size_t i = 0; i < COUNT(marks); i++) mark(m, marks[i]);
}

void dialect_marks(const Dialect *d, const DialectReasoning *r, void (*fn)(void *ctx, Str mark), void *ctx)
{
    Marks m = { fn, ctx };
    if ((d && d->channels) || (r && r->channels)) channel_marks(&m);
    for (int i = 0; d && i < d->n_forms; i++) form_marks(&d->forms[i], &m);
    for (size_t i = 0; d && i < COUNT(d->drops) && d->drops[i]; i++) mark(&m, d->drops[i]);
    if (r && !r->channels) {
        mark(&m, r->open);
        mark(&m, r->close);
    }
}
