/* inspect.c - `radish inspect PATH`: what is in a checkpoint, and the memory that serving it takes.
 *
 * Prints metadata (long values shortened), tensors, totals by type and the model's plan; --json FILE writes the same
 * with arrays whole. Loads no weights, so it answers at once for a model of any size. A checkpoint of a family that cannot be
 * served is still shown; its plan is then the reason. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend/backend.h"
#include "base/file.h"
#include "base/jsonw.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "kv/kv.h"
#include "load/load.h"
#include "model/model.h"

enum { SHOWN_ELEMENTS = 6, SHOWN_BYTES = 100, NAME_COLUMNS = 44, SHAPE_COLUMNS = 16 };
/* What `serve` plans for where nobody says otherwise. */
enum { CPU_ROWS = 512, CPU_SEQS = 256, DEVICE_ROWS = 8192, DEVICE_SEQS = 1024 };

/* ---- values ---- */

/* A name from a file in its column: nothing in it may steer the terminal. */
static void add_name(Buf *b, Str name)
{
    size_t start = b->n;
    utf8_repair(b, name);
    for (size_t i = start; i < b->n; i++) {
        if ((unsigned char)b->p[i] < ' ' || b->p[i] == 127) b->p[i] = '?';
    }
    while (b->n - start < NAME_COLUMNS) buf_char(b, ' ');
    buf_char(b, ' ');
}

/* A string as JSON text, cut at a character's end when it is over max bytes (0: never). */
static void add_text(Buf *b, Str s, size_t max)
{
    size_t n = s.n;
    if (max > 0 && n > max) {
        s.n = max;
        s.n -= utf8_tail(s);
    }
    jsonw_str(b, s);
    if (s.n < n) buf_printf(b, "... (%zu bytes)", n);
}

static void add_number(Buf *b, const Meta *m, size_t i)
{
    int64_t whole;
    double x = 0;
    bool yes;
    if (load_meta_bool(m, i, &yes)) {
        jsonw_bool(b, yes);
    } else if (load_meta_i64(m, i, &whole)) {
        jsonw_i64(b, whole);
    } else if (load_meta_f64(m, i, &x) && m->elem == META_F32) {
        jsonw_f32(b, (float)x);
    } else if (m->elem == META_U64) { /* over 2^63: the only integer that is left */
        uint64_t u;
        memcpy(&u, m->data + i * 8, 8);
        buf_printf(b, "%llu", (unsigned long long)u);
    } else {
        jsonw_f64(b, x);
    }
}

/* One value or an array, at most n elements and max bytes of a string. */
static void add_value(Buf *b, const Meta *m, size_t n, size_t max)
{
    Str s;
    size_t shown = MIN(n, m->count), pos = 0;
    if (m->type == META_ARRAY) buf_char(b, '[');
    for (size_t i = 0; i < shown; i++) {
        if (i > 0) buf_str(b, STR(", "));
        if (m->elem != META_STRING)
            add_number(b, m, i);
        else if (load_meta_next_str(m, &pos, &s))
            add_text(b, s, max);
    }
    if (m->type != META_ARRAY) return;
    if (shown < m->count) buf_str(b, STR(", ..."));
    buf_char(b, ']');
    if (shown < m->count) buf_printf(b, " (%zu)", m->count);
}

/* Bytes as people read them: 1000 B, 12.3 MB. */
static void add_bytes(Buf *b, double n)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB" };
    size_t u = 0;
    while (n >= 9999.5 && u + 1 < COUNT(units)) {
        n /= 1000;
        u++;
    }
    buf_printf(b, u == 0 ? "%.0f %s" : "%.1f %s", n, units[u]);
}

/* ---- the parts of the answer ---- */

static void add_metadata(Buf *b, const Checkpoint *c)
{
    buf_printf(b, "\nmetadata (%zu)\n", load_n_meta(c));
    for (size_t i = 0; i < load_n_meta(c); i++) {
        const Meta *m = load_meta(c, i);
        buf_str(b, STR("  "));
        add_name(b, m->key);
        add_value(b, m, SHOWN_ELEMENTS, SHOWN_BYTES);
        buf_char(b, '\n');
    }
}

/* config.json's members; what is long is cut, what is wrong is said. */
static void add_config(Buf *b, Checkpoint *c)
{
    Str text = load_side_file(c, "config.json");
    json_error_t error;
    json_t *config = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &error), *value;
    const char *key;
    buf_printf(b, "\nconfig.json (%zu)\n", json_object_size(config));
    if (config == NULL) buf_printf(b, "  wrong at line %d: %s\n", error.line, error.text);
    json_object_foreach(config, key, value)
    {
        char *shown = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        Str s = str_of(shown);
        if (s.n > SHOWN_BYTES) {
            s.n = SHOWN_BYTES;
            s.n -= utf8_tail(s);
        }
        buf_str(b, STR("  "));
        add_name(b, str_of(key));
        buf_printf(b, "%.*s%s\n", STR_FMT(s), shown && s.n < strlen(shown) ? "..." : "");
        free(shown); /* jansson's: NOLINT */
    }
    json_decref(config);
}

static void add_shape(Buf *b, const TensorInfo *t, const char *separator)
{
    buf_char(b, '[');
    for (int i = 0; i < t->n_dims; i++) buf_printf(b, "%s%lld", i ? separator : "", (long long)t->shape[i]);
    buf_char(b, ']');
}

static void add_tensors(Buf *b, const Checkpoint *c)
{
    buf_printf(b, "\ntensors (%zu)\n", load_n_tensors(c));
    for (size_t i = 0; i < load_n_tensors(c); i++) {
        const TensorInfo *t = load_tensor(c, i);
        buf_str(b, STR("  "));
        add_name(b, t->name);
        buf_printf(b, "%-8s ", quant_info(t->dtype)->name);
        size_t start = b->n;
        add_shape(b, t, ", ");
        while (b->n - start < SHAPE_COLUMNS) buf_char(b, ' ');
        buf_char(b, ' ');
        add_bytes(b, (double)t->size);
        buf_char(b, '\n');
    }
}

typedef struct {
    size_t tensors[DT_COUNT];
    uint64_t elements[DT_COUNT], bytes[DT_COUNT];
    uint64_t all_elements, all_bytes;
} Totals;

static Totals count_totals(const Checkpoint *c)
{
    Totals sum = { 0 };
    for (size_t i = 0; i < load_n_tensors(c); i++) {
        const TensorInfo *t = load_tensor(c, i);
        const DTypeInfo *f = quant_info(t->dtype);
        uint64_t n = (uint64_t)t->size / (uint64_t)f->block_bytes * (uint64_t)f->block_elems;
        sum.tensors[t->dtype]++;
        sum.elements[t->dtype] += n;
        sum.bytes[t->dtype] += t->size;
        sum.all_elements += n;
        sum.all_bytes += t->size;
    }
    return sum;
}

static void add_totals(Buf *b, const Totals *sum)
{
    buf_str(b, STR("\ntotals\n"));
    for (int t = 0; t < DT_COUNT; t++) {
        if (sum->tensors[t] == 0) continue;
        buf_printf(b, "  %-8s %6zu tensors %15llu elements   ", quant_info((DType)t)->name, sum->tensors[t],
                   (unsigned long long)sum->elements[t]);
        add_bytes(b, (double)sum->bytes[t]);
        buf_char(b, '\n');
    }
    buf_printf(b, "  %-8s %6s         %15llu elements   ", "all", "", (unsigned long long)sum->all_elements);
    add_bytes(b, (double)sum->all_bytes);
    if (sum->all_elements > 0) {
        buf_printf(b, ", %.2f bits an element", 8 * (double)sum->all_bytes / (double)sum->all_elements);
    }
    buf_char(b, '\n');
}

/* ---- the plan ---- */

typedef struct {
    bool good;
    Err why; /* not good: the reason */
    ModelInfo info;
    DeviceInfo device;
    int rows, seqs;   /* of a pass */
    size_t workspace; /* what the device needs besides weights, activations and KV cache */
    const char *backend;
} Plan;

static const BackendOps *pick_backend(const char *name)
{
    if (name != NULL && strcmp(name, "auto") != 0) return backend_find(name);
    for (int i = 0; backends[i] != NULL; i++) {
        if (backends[i]->count() > 0) return backends[i];
    }
    return NULL;
}

static Status make_plan(Checkpoint *c, const Options *o, Plan *out)
{
    Device *device;
    DeviceOptions want = { .index = o->radish.device_index, .threads = o->radish.threads };
    const BackendOps *ops = pick_backend(o->radish.device);
    if (ops == NULL) return fail(&out->why, E_UNSUPPORTED, "this build has no device %s", o->radish.device);
    TRY(ops->open(&want, &device, &out->why));
    ModelOptions m = { .ops = ops,
                       .device = device,
                       .max_batch_tokens = ops->act == DT_F32 ? CPU_ROWS : DEVICE_ROWS,
                       .max_seqs = ops->act == DT_F32 ? CPU_SEQS : DEVICE_SEQS,
                       .context_length = o->radish.context_length,
                       .kv_dtype = DT_NONE,
                       .n_pages = 1 };
    ops->info(device, &out->device);
    out->backend = ops->name;
    Status s = model_plan(c, &m, &out->info, &out->why);
    WarmLimits most = { m.max_batch_tokens, m.max_seqs, out->info.context_length, false };
    out->rows = m.max_batch_tokens;
    out->seqs = m.max_seqs;
    if (s == OK && ops->warm_bytes) out->workspace = ops->warm_bytes(device, most);
    ops->close(device);
    return s;
}

static void add_amount(Buf *b, const char *what, double bytes)
{
    buf_printf(b, "  %-18s ", what);
    add_bytes(b, bytes);
}

static void add_plan(Buf *b, const Plan *p)
{
    const ModelInfo *m = &p->info;
    if (!p->good) {
        buf_printf(b, "\nmemory plan\n  none: %s\n", p->why.text);
        return;
    }
    double per_token = (double)m->kv_page_bytes / KV_PAGE_TOKENS;
    int context_pages = (m->n_ctx + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
    buf_printf(b, "\nmodel\n  %s, %.1f million parameters\n", m->arch, (double)m->n_params / 1e6);
    buf_printf(b, "  %d layers of width %d, %d heads of %d (%d for keys and values), feed-forward %d\n", m->n_layer,
               m->d_model, m->n_head, m->head_dim, m->n_kv_head, m->d_ff);
    buf_printf(b, "  %d tokens in the vocabulary, context of %d tokens\n", m->n_vocab, m->n_ctx);
    buf_printf(b, "\nmemory plan (%s, %s)\n", p->backend, p->device.name);
    add_amount(b, "weights", (double)m->weight_bytes);
    buf_char(b, '\n');
    add_amount(b, "activations", (double)m->act_bytes);
    buf_printf(b, " for %d rows of %d requests\n", p->rows, p->seqs);
    if (p->workspace) {
        add_amount(b, "workspace", (double)p->workspace);
        buf_char(b, '\n');
    }
    add_amount(b, "KV cache", per_token);
    buf_str(b, STR(" a token, "));
    add_bytes(b, (double)m->kv_page_bytes * context_pages);
    buf_str(b, STR(" for one full context\n"));
    double room = (double)p->device.memory_free - (double)m->weight_bytes - (double)m->act_bytes;
    room -= (double)p->workspace;
    add_amount(b, "free here", (double)p->device.memory_free);
    if (room > 0)
        buf_printf(b, ", room for %.0f tokens of KV cache beside the rest\n", room / per_token);
    else
        buf_str(b, STR(", which is not enough\n"));
}

/* ---- the same for programs ---- */

static void json_tensors(Buf *b, const Checkpoint *c)
{
    jsonw_key(b, "tensors");
    buf_char(b, '[');
    for (size_t i = 0; i < load_n_tensors(c); i++) {
        const TensorInfo *t = load_tensor(c, i);
        jsonw_sep(b);
        buf_str(b, STR("\n{"));
        jsonw_key(b, "name");
        jsonw_str(b, t->name);
        jsonw_key(b, "dtype");
        jsonw_str(b, str_of(quant_info(t->dtype)->name));
        jsonw_key(b, "shape");
        add_shape(b, t, ",");
        jsonw_key(b, "bytes");
        jsonw_i64(b, (int64_t)t->size);
        buf_char(b, '}');
    }
    buf_char(b, ']');
}

static void json_metadata(Buf *b, const Checkpoint *c)
{
    jsonw_key(b, "metadata");
    buf_char(b, '{');
    for (size_t i = 0; i < load_n_meta(c); i++) {
        const Meta *m = load_meta(c, i);
        jsonw_sep(b);
        buf_char(b, '\n');
        jsonw_str(b, m->key);
        buf_char(b, ':');
        add_value(b, m, SIZE_MAX, 0);
    }
    buf_char(b, '}');
}

static void json_number(Buf *b, const char *key, uint64_t v)
{
    jsonw_key(b, key);
    jsonw_i64(b, (int64_t)v);
}

static void json_plan(Buf *b, const Plan *p)
{
    const ModelInfo *m = &p->info;
    jsonw_key(b, "plan");
    if (!p->good) {
        buf_str(b, STR("null"));
        jsonw_key(b, "why");
        jsonw_str(b, str_of(p->why.text));
        return;
    }
    buf_char(b, '{');
    jsonw_key(b, "arch");
    jsonw_str(b, str_of(m->arch));
    json_number(b, "parameters", m->n_params);
    json_number(b, "context_length", (uint64_t)m->n_ctx);
    json_number(b, "weight_bytes", m->weight_bytes);
    json_number(b, "activation_bytes", m->act_bytes);
    json_number(b, "workspace_bytes", p->workspace);
    json_number(b, "kv_page_tokens", KV_PAGE_TOKENS);
    json_number(b, "kv_page_bytes", m->kv_page_bytes);
    json_number(b, "memory_free", p->device.memory_free);
    buf_char(b, '}');
}

static void add_json(Buf *b, const Checkpoint *c, const Totals *sum, const Plan *p)
{
    buf_char(b, '{');
    jsonw_key(b, "path");
    jsonw_str(b, str_of(load_path(c)));
    jsonw_key(b, "kind");
    jsonw_str(b, load_kind(c) == LOAD_GGUF ? STR("gguf") : STR("safetensors"));
    json_number(b, "elements", sum->all_elements);
    json_number(b, "bytes", sum->all_bytes);
    json_metadata(b, c);
    json_tensors(b, c);
    json_plan(b, p);
    buf_str(b, STR("}\n"));
}

/* ---- the command ---- */

static Status inspect(Checkpoint *c, const Options *o, Err *err)
{
    Buf text = { 0 }, json = { 0 };
    Totals sum = count_totals(c);
    Plan plan = { 0 };
    Status s = OK;
    plan.good = make_plan(c, o, &plan) == OK;
    buf_printf(&text, "%s: %s\n", load_path(c),
               load_is_dummy(c)            ? "a description; weights would be random"
               : load_kind(c) == LOAD_GGUF ? "GGUF"
                                           : "Hugging Face safetensors");
    if (load_kind(c) == LOAD_GGUF)
        add_metadata(&text, c);
    else
        add_config(&text, c);
    if (!load_is_dummy(c)) {
        add_tensors(&text, c);
        add_totals(&text, &sum);
    }
    add_plan(&text, &plan);
    fwrite(text.p, 1, text.n, stdout);
    if (o->json != NULL) {
        add_json(&json, c, &sum, &plan);
        s = file_write(o->json, buf_view(&json), err);
    }
    buf_free(&text);
    buf_free(&json);
    return s;
}

int cli_inspect(int argc, char **argv)
{
    Options o = { 0 };
    Checkpoint *c;
    Err err;
    if (!options_read(CMD_INSPECT, argc, argv, &o)) return 1;
    const char *path = o.radish.model_path ? o.radish.model_path : o.arg[0];
    if (path == NULL) {
        fprintf(stderr, "radish: no model: radish inspect PATH\n");
        return 1;
    }
    Status s = load_open(path, (LoadOptions){ .dummy = o.radish.dummy_weights }, &c, &err);
    if (s == OK) s = inspect(c, &o, &err);
    if (s != OK) fprintf(stderr, "radish: %s\n", err.text);
    load_close(c);
    return s == OK ? 0 : 1;
}
