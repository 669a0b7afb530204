/* test_golden.c - every family's tiny checkpoint on the GPU against the logits that transformers gave in f32: the whole
 * prompt at once, in chunks, token by token (at the end from graphs), and batched over shared prefix pages. Weights and
 * activations are bf16 here, so the measure is the mean square error. Skipped where there is no GPU. */
#include "model/rig.h"

static const BackendOps *ops;

/* clang-format off */
static const char *const cases[][2] = {
    { "llama3", "llama3" }, { "llama3.gguf", "llama3" }, { "llama_linear", "llama_linear" }, { "llama_yarn", "llama_yarn" },
    { "llama_dynamic", "llama_dynamic" }, { "mistral", "mistral" }, { "mistral.gguf", "mistral" }, { "qwen2", "qwen2" },
    { "qwen2_plain", "qwen2_plain" }, { "qwen3", "qwen3" }, { "qwen3.gguf", "qwen3" }, { "gemma2", "gemma2" }, { "gemma3", "gemma3" },
    { "gemma3_vision", "gemma3_vision" }, { "phi3", "phi3" }, { "phi3.gguf", "phi3" }, { "phi3_long", "phi3_long" },
    { "phi3_long", "phi3_long-short" }, { "blocks32.gguf", "blocks32" }, { "blocks256.gguf", "blocks256" },
};
/* clang-format on */

static const double NMSE_BF16 = 1e-3;
static int n_bad;

static void check(const char *file, const char *way, const float *got, const float *want, size_t n)
{
    double nmse = rig_nmse(got, want, n);
    bool ok = nmse <= NMSE_BF16;
    if (!ok || getenv("RADISH_VERBOSE")) print_message("%s, %s: nmse %.3g%s\n", file, way, nmse, ok ? "" : " TOO FAR");
    n_bad += !ok;
}

static void run_pieces(Rig *r, const Golden *g, const int *sizes, int n_sizes, const int32_t *pages, float *out)
{
    for (int at = 0, k = 0; at < g->n_tok; k++) {
        int n = MIN(sizes[k % n_sizes], g->n_tok - at);
        rig_forward(r, &(Part){ g->ids, at, n, pages }, 1, out + (size_t)at * (size_t)g->n_vocab);
        at += n;
    }
}

/* The second part's prefix is a page of its own sequence's, computed in an earlier pass; another sequence runs beside it. */
static void run_shared(Rig *r, const Golden *g, float *out)
{
    static const int32_t mine[] = { 40, 3, 17, 9, 22, 31 }, others[] = { 40, 60, 5, 11, 44, 2 };
    size_t v = (size_t)g->n_vocab;
    int rest = g->n_tok - RIG_PAGE, n_other = MIN(rest, RIG_ROWS - rest);
    float *both = mem_alloc_array((size_t)(rest + n_other) * v, sizeof(float));
    rig_forward(r, &(Part){ g->ids, 0, RIG_PAGE, mine }, 1, out);
    Part parts[] = { { g->ids, RIG_PAGE, n_other, others }, { g->ids, RIG_PAGE, rest, mine } };
    rig_forward(r, parts, 2, both);
    memcpy(out + RIG_PAGE * v, both + (size_t)n_other * v, (size_t)rest * v * sizeof(float));
    mem_free(both);
}

static void run_case(const char *file, const char *golden)
{
    static const int32_t pages[] = { 7, 1, 63, 12, 30, 5, 18, 2 };
    static const int chunks[] = { 1, 3, 7 }, one[] = { 1 };
    char path[512];
    Err err = { 0 };
    Golden g = golden_read(golden);
    snprintf(path, sizeof(path), "%s/data/golden/%s", RADISH_TESTS, file);
    Rig r = { .ops = ops };
    DeviceOptions d = { 0 };
    ModelOptions o = { .ops = ops,
                       .max_batch_tokens = RIG_ROWS,
                       .max_seqs = RIG_ROWS,
                       .n_pages = RIG_PAGES,
                       .kv_dtype = DT_NONE,
                       .context_length = g.context_length };
    if (ops->open(&d, &r.device, &err) != OK) fail_msg("%s", err.text);
    if (load_open(path, (LoadOptions){ 0 }, &r.checkpoint, &err) != OK) fail_msg("%s", err.text);
    o.device = r.device;
    if (model_open(r.checkpoint, &o, &r.model, &err) != OK) fail_msg("%s: %s", file, err.text);
    size_t n = (size_t)g.n_tok * (size_t)g.n_vocab;
    float *out = mem_alloc_array(n, sizeof(float)), *again = mem_alloc_array(n, sizeof(float));

    rig_forward(&r, &(Part){ g.ids, 0, g.n_tok, pages }, 1, out);
    check(file, "whole", out, g.logits, n);
    run_pieces(&r, &g, chunks, 3, pages, out);
    check(file, "chunks", out, g.logits, n);
    run_pieces(&r, &g, one, 1, pages, out);
    check(file, "token by token", out, g.logits, n);
    run_pieces(&r, &g, one, 1, pages, again);
    if (memcmp(out, again, n * sizeof(float)) != 0) fail_msg("%s: two runs differ", file);
    run_shared(&r, &g, out);
    check(file, "batched", out, g.logits, n);
    mem_free(out);
    mem_free(again);
    arena_free(g.arena);
    rig_close(&r);
}

static void test_goldens(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) run_case(cases[i][0], cases[i][1]);
    assert_int_equal(n_bad, 0);
}

int main(void)
{
    ops = backend_find("cuda");
    if (!ops || ops->count() == 0) {
        print_message("no GPU: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_goldens) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
