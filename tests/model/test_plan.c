/* test_plan.c - the planner changes no logit, the memory plan is what is used, a pass allocates nothing, and checkpoints that do
 * not fit their config are refused by name. */
#include <unistd.h>

#include "model/rig.h"

#define DATA RADISH_TESTS "/data/golden/"

static const int32_t pages[] = { 3, 1, 63, 12, 30, 5, 18, 2 };

/* ---- the planner ---- */

static const char *const planned[] = { DATA "llama3", DATA "gemma3.gguf", DATA "qwen2", DATA "phi3" };

static void run_flags(const char *path, unsigned flags, float *out, const Golden *g)
{
    Rig r = rig_open(path, "auto", 1, (ModelOptions){ .kv_dtype = DT_F32, .plan_flags = flags });
    rig_forward(&r, &(Part){ g->ids, 0, g->n_tok, pages }, 1, out);
    rig_close(&r);
}

static void test_plan_is_exact(void **state)
{
    static const unsigned flags[] = { MODEL_NO_FUSION, MODEL_NO_CUT, MODEL_NO_SHARING,
                                      MODEL_NO_FUSION | MODEL_NO_CUT | MODEL_NO_SHARING };
    (void)state;
    Golden g = golden_read("llama3"); /* any ids do */
    size_t n = (size_t)g.n_tok * (size_t)g.n_vocab;
    float *all = mem_alloc_array(n, sizeof(float)), *less = mem_alloc_array(n, sizeof(float));
    for (size_t i = 0; i < COUNT(planned); i++) {
        run_flags(planned[i], 0, all, &g);
        for (size_t f = 0; f < COUNT(flags); f++) {
            run_flags(planned[i], flags[f], less, &g);
            if (memcmp(all, less, n * sizeof(float)) != 0)
                fail_msg("%s: plan flags %u change logits", planned[i], flags[f]);
        }
    }
    mem_free(all);
    mem_free(less);
    arena_free(g.arena);
}

/* Only some rows' logits, and a pass that wants none: the same numbers as when all are wanted. */
static void test_wanted_rows(void **state)
{
    (void)state;
    Golden g = golden_read("llama3");
    size_t v = (size_t)g.n_vocab;
    Rig r = rig_open(DATA "llama3", "auto", 1, (ModelOptions){ .kv_dtype = DT_F32, .max_seqs = 2 });
    float out[2 * 131], want[131];
    int32_t start[] = { 0, 20 }, len[] = { 20 }, pos[20], rows[] = { 7, 19 };
    uint64_t id[] = { 1 };
    for (int i = 0; i < 20; i++) pos[i] = i;
    DeviceBatch b = {
        .n_tok = 20, .n_seq = 1, .max_pages = 8, .token = g.ids, .pos = pos, .seq_start = start, .seq_len = len
    };
    b.pages = pages;
    b.seq_id = id;
    b.n_logit = 2;
    b.logit_row = rows;
    model_forward(r.model, &b);
    model_logits(r.model, out);
    assert_true(rig_worst(out, g.logits + 7 * v, v) <= 2e-5);
    assert_true(rig_worst(out + v, g.logits + 19 * v, v) <= 2e-5);
    /* a chunk of a prompt that wants nothing still leaves its keys and values behind */
    rig_forward(&r, &(Part){ g.ids, 0, 30, pages }, 1, NULL);
    rig_forward(&r, &(Part){ g.ids, 30, 1, pages }, 1, want);
    assert_true(rig_worst(want, g.logits + 30 * v, v) <= 2e-5);
    rig_close(&r);
    arena_free(g.arena);
}

static void test_no_allocation(void **state)
{
    (void)state;
    Golden g = golden_read("gemma2");
    float *out = mem_alloc_array((size_t)RIG_ROWS * (size_t)g.n_vocab, sizeof(float));
    Rig r = rig_open(DATA "gemma2.gguf", "auto", 2, (ModelOptions){ .kv_dtype = DT_NONE });
    for (int pass = 0; pass < 2; pass++) {
        uint64_t before = mem_allocations();
        rig_forward(&r, &(Part){ g.ids, 0, g.n_tok, pages }, 1, out);
        for (int i = 0; i < 4; i++) rig_forward(&r, &(Part){ g.ids, g.n_tok + i, 1, pages }, 1, out);
        if (pass == 1) assert_int_equal(mem_allocations(), before);
    }
    rig_close(&r);
    mem_free(out);
    arena_free(g.arena);
}

/* ---- the memory plan ---- */

static Checkpoint *open_file(const char *path, bool dummy)
{
    Checkpoint *c;
    Err err;
    if (load_open(path, (LoadOptions){ .dummy = dummy }, &c, &err) != OK) fail_msg("%s", err.text);
    return c;
}

static Device *open_device(const BackendOps *ops)
{
    Device *d;
    Err err;
    if (ops->open(&(DeviceOptions){ .threads = 1, .isa = "plain" }, &d, &err) != OK) fail_msg("%s", err.text);
    return d;
}

static void test_memory(void **state)
{
    (void)state;
    const BackendOps *ops = backend_find("cpu");
    Device *d = open_device(ops);
    Checkpoint *c = open_file(DATA "llama3", false);
    ModelOptions o = {
        .ops = ops, .device = d, .max_batch_tokens = 64, .max_seqs = 8, .n_pages = 5, .kv_dtype = DT_F16
    };
    ModelInfo plan, host;
    Model *m;
    Err err;
    assert_int_equal(model_plan(c, &o, &plan, &err), OK);
    assert_int_equal(plan.n_params, 3 * (48 * (60 + 20 + 20) + 60 * 48 + 3 * 48 * 77 + 2 * 48) + 2 * 131 * 48 + 48);
    assert_int_equal(plan.kv_page_bytes,
                     ops->kv_page_bytes(
                         d, (KvShape){ .n_layer = 3, .n_kv_head = 2, .head_dim = 10, .n_pages = 5, .dtype = DT_F16 }));
    assert_int_equal(plan.kv_bytes, 5 * plan.kv_page_bytes);
    assert_int_equal(plan.context_length, 128);
    assert_int_equal(ops->weight_bytes(d), 0); /* nothing was loaded */
    assert_int_equal(model_open(c, &o, &m, &err), OK);
    assert_int_equal(model_info(m)->act_bytes, plan.act_bytes);
    assert_int_equal(model_info(m)->kv_bytes, plan.kv_bytes);
    assert_int_equal(model_info(m)->n_params, plan.n_params);
    assert_int_equal(model_info(m)->context_length, 5 * 16); /* what the pages hold */
    assert_int_equal(model_info(m)->weight_bytes, plan.weight_bytes);
    model_close(m);
    /* without a device: for `radish inspect` */
    o.ops = NULL;
    o.device = NULL;
    assert_int_equal(model_plan(c, &o, &host, &err), OK);
    assert_int_equal(host.weight_bytes, 2 * (plan.n_params - 7 * 48) + 4 * 7 * 48); /* as in the file */
    assert_int_equal(host.act_bytes, plan.act_bytes);
    assert_int_equal(host.kv_page_bytes, 2 * 2 * 16 * 3 * 2 * 10);
    load_close(c);
    ops->close(d);
}

/* Every model that there is, on every instruction set: what the plan says of weights is what lies in memory after loading. */
static void test_weights_as_planned(void **state)
{
    static const char *const isas[] = { "plain", "avx2", "avx512", "auto" };
    static const char *const files[] = { DATA "llama3", DATA "gemma3.gguf", DATA "qwen3.gguf", DATA "phi3" };
    (void)state;
    for (size_t i = 0; i < COUNT(isas) * COUNT(files); i++) {
        Device *d;
        Err err;
        const BackendOps *ops = backend_find("cpu");
        if (ops->open(&(DeviceOptions){ .threads = 2, .isa = isas[i % COUNT(isas)] }, &d, &err) != OK) continue;
        Checkpoint *c = open_file(files[i / COUNT(isas)], false);
        ModelOptions o = { .ops = ops, .device = d, .max_batch_tokens = 64, .max_seqs = 8, .n_pages = 5 };
        ModelInfo plan;
        Model *m;
        assert_int_equal(model_plan(c, &o, &plan, &err), OK);
        assert_int_equal(model_open(c, &o, &m, &err), OK);
        assert_int_equal(plan.weight_bytes, ops->weight_bytes(d));
        model_close(m);
        load_close(c);
        ops->close(d);
    }
}

static void add_plan(WeightPlan *sum, const WeightPlan *p)
{
    sum->bytes += p->bytes;
    for (size_t i = 0; i < COUNT(p->room); i++) sum->room[i] = MAX(sum->room[i], p->room[i]);
}

/* Dummies of every format: stacks of formats, few and odd rows, wide and narrow, one after the other. */
static void plan_weights(const BackendOps *ops, const char *isa)
{
    Device *d;
    Err err;
    if (ops->open(&(DeviceOptions){ .threads = 3, .isa = isa }, &d, &err) != OK) return;
    WeightPlan sum = { 0 }, one;
    int n = 0;
    for (int t = 0; t < DT_COUNT; t++) {
        DType next = (DType)((t + 1) % DT_COUNT);
        WeightBand bands[] = { { .dtype = (DType)t, .rows = 40 + 5 * t, .cols = 256 * (1 + t % 3) },
                               { .dtype = next, .rows = 7, .cols = 256 * (1 + t % 3) } };
        for (int n_bands = 1; n_bands <= 2; n_bands++) {
            Weight *w;
            WeightUse use = t % 2 ? WEIGHT_LINEAR : WEIGHT_EMBED;
            if (ops->weight(d, use, bands, n_bands, &w, &err) != OK) continue;
            ops->weight_plan(d, use, bands, n_bands, &one);
            add_plan(&sum, &one);
            assert_int_equal(sum.bytes + sum.room[0] + sum.room[1], ops->weight_bytes(d));
            n++;
        }
        WeightBand vector = { .dtype = DT_F32, .rows = 1, .cols = 33 + t };
        Weight *w;
        assert_int_equal(ops->weight(d, WEIGHT_VECTOR, &vector, 1, &w, &err), OK);
        ops->weight_plan(d, WEIGHT_VECTOR, &vector, 1, &one);
        add_plan(&sum, &one);
    }
    assert_int_equal(sum.bytes + sum.room[0] + sum.room[1], ops->weight_bytes(d));
    assert_true(n > 10);
    ops->close(d);
}

static void test_formats_as_planned(void **state)
{
    (void)state;
    plan_weights(backend_find("cpu"), "plain");
    plan_weights(backend_find("cpu"), "avx2");
    plan_weights(backend_find("cpu"), "auto");
    plan_weights(backend_find("sim"), NULL);
}

static void test_budget(void **state)
{
    (void)state;
    const BackendOps *ops = backend_find("cpu");
    Device *d = open_device(ops);
    Checkpoint *c = open_file(DATA "qwen3.gguf", false);
    ModelOptions o = {
        .ops = ops, .device = d, .max_batch_tokens = 64, .max_seqs = 8, .n_pages = 1, .kv_dtype = DT_F16
    };
    ModelInfo one, info;
    Err err;
    assert_int_equal(model_plan(c, &o, &one, &err), OK);
    o.n_pages = 0;
    o.memory_budget = one.weight_bytes + one.act_bytes + 10 * one.kv_page_bytes + one.kv_page_bytes / 2;
    assert_int_equal(model_plan(c, &o, &info, &err), OK);
    assert_int_equal(info.n_pages, 10);
    o.memory_budget = one.weight_bytes + one.act_bytes;
    assert_int_equal(model_plan(c, &o, &info, &err), E_LIMIT);
    assert_non_null(strstr(err.text, "cannot hold"));
    o.memory_budget = 0;
    assert_int_equal(model_plan(c, &o, &info, &err), E_INVALID);
    o.n_pages = 4;
    o.context_length = 129;
    assert_int_equal(model_plan(c, &o, &info, &err), E_LIMIT);
    assert_non_null(strstr(err.text, "over the model's own 128"));
    o.context_least = 129;
    assert_int_equal(model_plan(c, &o, &info, &err), OK);
    assert_int_equal(info.context_length, 129);
    o.context_length = 0;
    o.context_least = 1000;
    assert_int_equal(model_plan(c, &o, &info, &err), OK);
    assert_int_equal(info.context_length, 1000);
    o.context_least = INT32_MAX;
    assert_int_equal(model_plan(c, &o, &info, &err), E_LIMIT);
    o.context_least = 0;
    o.max_seqs = 0;
    assert_int_equal(model_plan(c, &o, &info, &err), E_INVALID);
    load_close(c);
    ops->close(d);
}

/* ---- dummy weights ---- */

static void dummy_logits(const char *path, uint64_t seed, float *out, int n_vocab)
{
    const BackendOps *ops = backend_find("cpu");
    Rig r = { .ops = ops, .device = open_device(ops), .checkpoint = open_file(path, true) };
    ModelOptions o = {
        .ops = ops, .device = r.device, .max_batch_tokens = RIG_ROWS, .max_seqs = RIG_ROWS, .n_pages = RIG_PAGES
    };
    o.kv_dtype = DT_F32;
    o.dummy_std = 0.2f;
    o.dummy_seed = seed;
    Err err = { 0 };
    if (model_open(r.checkpoint, &o, &r.model, &err) != OK) fail_msg("%s", err.text);
    assert_int_equal(model_info(r.model)->n_vocab, n_vocab);
    static const int32_t ids[] = { 1, 2, 3, 4, 5 };
    rig_forward(&r, &(Part){ ids, 0, 5, pages }, 1, out);
    rig_close(&r);
}

static void test_dummy(void **state)
{
    static const struct {
        const char *path;
        int n_vocab;
    } models[] = {
        { DATA "qwen2", 131 }, { DATA "gemma3", 131 }, { DATA "phi3", 131 }, { DATA "llama_linear/config.json", 101 }
    };
    (void)state;
    for (size_t i = 0; i < COUNT(models); i++) {
        float a[5 * 131], b[5 * 131], other[5 * 131];
        size_t n = 5 * (size_t)models[i].n_vocab;
        dummy_logits(models[i].path, 1, a, models[i].n_vocab);
        dummy_logits(models[i].path, 1, b, models[i].n_vocab);
        dummy_logits(models[i].path, 2, other, models[i].n_vocab);
        assert_int_equal(memcmp(a, b, n * sizeof(float)), 0);
        assert_true(rig_worst(other, a, n) > 0.01 && isfinite(rig_worst(other, a, n)));
    }
}

/* ---- checkpoints that contradict their config ---- */

/* A folder with the tensors of `name` and its config with one text replaced by another. */
static void bent(const char *name, const char *from, const char *to, char *dir)
{
    char path[512], target[512];
    Arena *a = arena_new(0);
    Str text;
    Err err;
    Buf b = { 0 };
    strcpy(dir, "/tmp/radish-model-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), DATA "%s/config.json", name);
    assert_int_equal(file_read(a, path, 1 << 20, &text, &err), OK);
    size_t at = str_find(text, str_of(from), 0);
    assert_true(at != SIZE_MAX);
    buf_str(&b, str_cut(text, 0, at));
    buf_str(&b, str_of(to));
    buf_str(&b, str_cut(text, at + strlen(from), text.n));
    snprintf(path, sizeof(path), "%s/config.json", dir);
    assert_int_equal(file_write(path, buf_view(&b), &err), OK);
    snprintf(target, sizeof(target), DATA "%s/model.safetensors", name);
    snprintf(path, sizeof(path), "%s/model.safetensors", dir);
    assert_int_equal(symlink(target, path), 0);
    buf_free(&b);
    arena_free(a);
}

static void unbend(const char *dir)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/config.json", dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s/model.safetensors", dir);
    unlink(path);
    rmdir(dir);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *name, *from, *to, *says;
    } bends[] = {
        { "llama3", "\"vocab_size\": 131", "\"vocab_size\": 132",
          "tensor model.embed_tokens.weight has shape [131, 48], expected [132, 48]" },
        { "llama3", "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4",
          "tensor model.layers.3.input_layernorm.weight is missing" },
        { "llama3", "\"head_dim\": 10", "\"head_dim\": 12",
          "self_attn.q_proj.weight has shape [60, 48], expected [72, 48]" },
        { "llama_linear", "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false",
          "tensor lm_head.weight is missing" },
        { "llama3", "\"attention_bias\": false", "\"attention_bias\": true", "self_attn.q_proj.bias is missing" },
        { "qwen3", "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3",
          "self_attn.k_proj.weight has shape [20, 48]" },
    };
    (void)state;
    const BackendOps *ops = backend_find("cpu");
    for (size_t i = 0; i < COUNT(bends); i++) {
        char dir[64];
        Model *m;
        Err err = { 0 };
        bent(bends[i].name, bends[i].from, bends[i].to, dir);
        Device *d = open_device(ops);
        Checkpoint *c = open_file(dir, false);
        ModelOptions o = { .ops = ops, .device = d, .max_batch_tokens = 8, .max_seqs = 8, .n_pages = 4 };
        ModelInfo info;
        Status st = model_open(c, &o, &m, &err);
        if (st != E_CORRUPT || m || !strstr(err.text, bends[i].says) || !strstr(err.text, dir))
            fail_msg("expected \"%s\", got %d \"%s\"", bends[i].says, st, err.text);
        assert_int_equal(model_plan(c, &o, &info, &err), E_CORRUPT);
        load_close(c);
        ops->close(d);
        unbend(dir);
    }
}

/* Without the key, a missing head means that the embedding is used; a tied config ignores a stray head. */
static void test_tying(void **state)
{
    char dir[64];
    (void)state;
    Golden g = golden_read("llama_linear");
    float *out = mem_alloc_array((size_t)g.n_tok * (size_t)g.n_vocab, sizeof(float));
    bent("llama_linear", "\"tie_word_embeddings\": true,", "", dir);
    Rig r = rig_open(dir, "plain", 1, (ModelOptions){ .kv_dtype = DT_F32 });
    rig_forward(&r, &(Part){ g.ids, 0, g.n_tok, pages }, 1, out);
    assert_true(rig_worst(out, g.logits, (size_t)g.n_tok * (size_t)g.n_vocab) <= 2e-5);
    rig_close(&r);
    unbend(dir);
    bent("llama3", "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true", dir);
    r = rig_open(dir, "plain", 1, (ModelOptions){ .kv_dtype = DT_F32 });
    assert_int_equal(model_info(r.model)->n_params,
                     3 * (48 * (60 + 20 + 20) + 60 * 48 + 3 * 48 * 77 + 2 * 48) + 131 * 48 + 48);
    rig_close(&r);
    unbend(dir);
    mem_free(out);
    arena_free(g.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_is_exact),
        cmocka_unit_test(test_wanted_rows),
        cmocka_unit_test(test_no_allocation),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_weights_as_planned),
        cmocka_unit_test(test_formats_as_planned),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_dummy),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_tying),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
