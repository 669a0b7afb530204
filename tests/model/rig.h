/* rig.h - what the tests of model/ share: a device, a checkpoint opened on it, goldens, and batches made by hand.
 *
 * A golden is what tests/golden/make_golden.py wrote; its format is told there. */
#ifndef TESTS_MODEL_RIG_H
#define TESTS_MODEL_RIG_H

#include <math.h>

#include "base/file.h"
#include "model/model.h"
#include "test.h"

enum { RIG_ROWS = 128, RIG_PAGES = 64, RIG_PAGE = 16 };

typedef struct {
    int n_tok, n_vocab, n_greedy, context_length;
    const int32_t *ids;  /* [n_tok + n_greedy] */
    const float *gap;    /* [n_greedy] top logit minus second */
    const float *logits; /* [n_tok][n_vocab] */
    Arena *arena;
} Golden;

static inline Golden golden_read(const char *name)
{
    Golden g = { .arena = arena_new(0) };
    char path[512];
    Str s;
    Err err;
    snprintf(path, sizeof(path), "%s/data/golden/%s.golden", RADISH_TESTS, name);
    if (file_read(g.arena, path, 16 << 20, &s, &err) != OK) fail_msg("%s", err.text);
    const int32_t *head = (const int32_t *)(const void *)s.p;
    assert_memory_equal(s.p, "RGLD", 4);
    g.n_tok = head[1];
    g.n_vocab = head[2];
    g.n_greedy = head[3];
    g.context_length = head[4];
    g.ids = head + 8;
    g.gap = (const float *)(const void *)(g.ids + g.n_tok + g.n_greedy);
    g.logits = g.gap + g.n_greedy;
    assert_int_equal(s.n, 4 * (8 + g.n_tok + 2 * g.n_greedy + g.n_tok * g.n_vocab));
    return g;
}

typedef struct {
    const BackendOps *ops;
    Device *device;
    Checkpoint *checkpoint;
    Model *model;
} Rig;

static inline Rig rig_open(const char *path, const char *isa, int threads, ModelOptions o)
{
    Rig r = { .ops = backend_find("cpu") };
    Err err = { 0 };
    DeviceOptions d = { .threads = threads, .isa = isa };
    if (r.ops->open(&d, &r.device, &err) != OK) fail_msg("%s", err.text);
    if (load_open(path, (LoadOptions){ 0 }, &r.checkpoint, &err) != OK) fail_msg("%s", err.text);
    o.ops = r.ops;
    o.device = r.device;
    if (!o.max_batch_tokens) o.max_batch_tokens = RIG_ROWS;
    if (!o.max_seqs) o.max_seqs = RIG_ROWS;
    if (!o.n_pages) o.n_pages = RIG_PAGES;
    if (model_open(r.checkpoint, &o, &r.model, &err) != OK) fail_msg("%s", err.text);
    return r;
}

static inline void rig_close(Rig *r)
{
    model_close(r->model);
    load_close(r->checkpoint);
    r->ops->close(r->device);
}

/* Tokens [from, from + n) of a sequence whose pages are `pages`. */
typedef struct {
    const int32_t *tok;
    int from, n;
    const int32_t *pages;
} Part;

/* One forward pass over the parts; logits of every row ([sum of n][n_vocab]) if out is given, else of none. */
static inline void rig_forward(Rig *r, const Part *parts, int n_parts, float *out)
{
    int32_t token[RIG_ROWS], pos[RIG_ROWS], rows[RIG_ROWS], start[RIG_ROWS + 1] = { 0 }, len[RIG_ROWS];
    int32_t pages[RIG_ROWS * RIG_PAGES] = { 0 };
    uint64_t id[RIG_ROWS];
    int n = 0;
    for (int p = 0; p < n_parts; p++) {
        for (int i = 0; i < parts[p].n; i++, n++) {
            assert_true(n < RIG_ROWS);
            token[n] = parts[p].tok[parts[p].from + i];
            pos[n] = parts[p].from + i;
            rows[n] = n;
        }
        start[p + 1] = n;
        len[p] = parts[p].from + parts[p].n;
        id[p] = (uint64_t)p + 1;
        int n_pages = (len[p] + RIG_PAGE - 1) / RIG_PAGE;
        memcpy(pages + p * RIG_PAGES, parts[p].pages, (size_t)n_pages * sizeof(int32_t));
    }
    DeviceBatch b = {
        .n_tok = n, .n_seq = n_parts, .max_pages = RIG_PAGES, .token = token, .pos = pos, .seq_start = start
    };
    b.seq_len = len;
    b.pages = pages;
    b.seq_id = id;
    b.n_logit = out ? n : 0;
    b.logit_row = rows;
    model_forward(r->model, &b);
    if (out) model_logits(r->model, out);
}

static inline double rig_nmse(const float *a, const float *want, size_t n)
{
    double d2 = 0, w2 = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - (double)want[i];
        d2 += d * d;
        w2 += (double)want[i] * (double)want[i];
    }
    return d2 / (w2 > 0 ? w2 : 1);
}

/* Largest |a - want| as a part of the largest |want|. NaN anywhere gives infinity. */
static inline double rig_worst(const float *a, const float *want, size_t n)
{
    double worst = 0, top = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)want[i]);
        if (!(d <= 1e30)) return INFINITY;
        worst = d > worst ? d : worst;
        top = fabs((double)want[i]) > top ? fabs((double)want[i]) : top;
    }
    return worst / (top > 0 ? top : 1);
}

#endif
