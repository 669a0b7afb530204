/* fuzz_dialect.c - an output of any bytes in any dialect: cut into pieces it means what it means whole, and every call that is
 * told is begun once and ended once. The first bytes choose the dialect, the reasoning and the cuts. */
#include <stdlib.h>

#include "dialect/dialect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

typedef struct {
    Buf text;
    DialectEventKind kind;
    bool open;
} Heard;

static void hear(void *ctx, const DialectEvent *e)
{
    Heard *h = ctx;
    bool of_call = e->kind == DIALECT_ARGUMENTS || e->kind == DIALECT_CALL_END;
    if (of_call != h->open) abort();
    if (!h->text.n || e->kind != h->kind || e->kind == DIALECT_CALL) buf_printf(&h->text, "\n%d:", (int)e->kind);
    if (e->kind == DIALECT_CALL) h->open = true;
    if (e->kind == DIALECT_CALL_END) h->open = false;
    h->kind = e->kind;
    buf_str(&h->text, e->text);
    buf_str(&h->text, e->name);
}

static DialectTools *tools(void)
{
    static const char json[] =
        "[{\"function\":{\"name\":\"f\",\"parameters\":{\"properties\":{\"a\":{\"type\":\"string\"},"
        "\"b\":{\"type\":\"integer\"},\"c\":{\"type\":[\"string\",\"null\"]}}}}}]";
    DialectTools *t;
    if (dialect_tools_read(STR(json), &t, NULL) != OK) abort();
    return t;
}

static Heard listen(const DialectOptions *o, Str text, uint32_t most, uint64_t seed)
{
    Heard h = { 0 };
    Rng rng = { seed };
    DialectParser *p = dialect_parser_new(o, hear, &h);
    for (size_t i = 0; i < text.n;) {
        size_t k = most ? 1 + rng_below(&rng, most) : text.n;
        k = MIN(k, text.n - i);
        dialect_parser_feed(p, str_cut(text, i, i + k));
        i += k;
    }
    dialect_parser_finish(p);
    dialect_parser_free(p);
    if (h.open) abort();
    return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 3 || n > 1 << 16) return 0;
    size_t n_dialects = 0, n_reasonings = 0;
    while (dialect_at(n_dialects)) n_dialects++;
    while (dialect_reasoning_at(n_reasonings)) n_reasonings++;
    DialectTools *t = tools();
    DialectOptions o = { .dialect = dialect_at(data[0] % (n_dialects + 1)),
                         .reasoning = dialect_reasoning_at((size_t)(data[1] >> 1) % (n_reasonings + 1)),
                         .tools = t,
                         .inside = data[1] & 1 };
    if (!o.reasoning) o.inside = false;
    Str text = { (const char *)data + 3, n - 3 };
    Heard whole = listen(&o, text, 0, 0), cut = listen(&o, text, 1 + data[2] % 16u, data[2]);
    if (!str_eq(buf_view(&whole.text), buf_view(&cut.text))) abort();
    buf_free(&whole.text);
    buf_free(&cut.text);
    dialect_tools_free(t);
    return 0;
}
