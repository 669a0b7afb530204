/* test_golden.c - every family's tiny checkpoint gives the logits that transformers gave, from its Hugging Face
 * folder and its GGUF twin, on the plain and the fast path of the CPU, four ways: the whole prompt at once, in chunks, token by
 * token, and batched with another sequence over shared prefix pages. */
#include "model/rig.h"

typedef struct {
    const char *file, *golden;
    enum { EXACT, BF16, QUANT } kind; /* how the fast path treats activations: as f32, as bf16, as int8 */
} Case;

/* clang-format off */
static const Case cases[] = {
    { "llama3", "llama3", EXACT },               { "llama3.gguf", "llama3", EXACT },
    { "llama_linear", "llama_linear", EXACT },   { "llama_linear.gguf", "llama_linear", EXACT },
    { "llama_yarn", "llama_yarn", BF16 },        { "llama_yarn.gguf", "llama_yarn", BF16 },
    { "llama_dynamic", "llama_dynamic", EXACT },
    { "mistral", "mistral", EXACT },             { "mistral.gguf", "mistral", EXACT },
    { "qwen2", "qwen2", EXACT },
    { "qwen2_plain", "qwen2_plain", EXACT },     { "qwen2_plain.gguf", "qwen2_plain", EXACT },
    { "qwen3", "qwen3", EXACT },                 { "qwen3.gguf", "qwen3", EXACT },
    { "gemma2", "gemma2", EXACT },               { "gemma2.gguf", "gemma2", EXACT },
    { "gemma3", "gemma3", EXACT },               { "gemma3.gguf", "gemma3", EXACT },
    { "gemma3_vision", "gemma3_vision", EXACT },
    { "phi3", "phi3", EXACT },                   { "phi3.gguf", "phi3", EXACT },
    { "phi3_long", "phi3_long", EXACT },         { "phi3_long.gguf", "phi3_long", EXACT },
    { "phi3_long", "phi3_long-short", EXACT },   { "phi3_long.gguf", "phi3_long-short", EXACT },
    { "blocks32.gguf", "blocks32", QUANT },      { "blocks256.gguf", "blocks256", QUANT },
};
/* clang-format on */

/* models.md 7.2: f32 against f32; and where activations are rounded, the mean square error. */
static const double WORST_F32 = 2e-5, NMSE_F32 = 1e-10, NMSE_BF16 = 1e-3, NMSE_QUANT = 2e-3;

static void check(const Case *c, const char *isa, const char *way, const float *got, const float *want, size_t n)
{
    bool plain = strcmp(isa, "plain") == 0;
    double worst = rig_worst(got, want, n), nmse = rig_nmse(got, want, n);
    bool ok = isfinite(worst);
    if (plain || c->kind == EXACT)
        ok = ok && worst <= WORST_F32 && nmse <= NMSE_F32;
    else
        ok = ok && nmse <= (c->kind == BF16 ? NMSE_BF16 : NMSE_QUANT);
    if (!ok || getenv("RADISH_VERBOSE"))
        print_message("%s on %s, %s: worst %.3g nmse %.3g\n", c->file, isa, way, worst, nmse);
    if (!ok) fail_msg("%s on %s, %s differs from its golden", c->file, isa, way);
}

/* Tokens [0, g->n_tok) in pieces of the sizes given, over and over. */
static void run_pieces(Rig *r, const Golden *g, const int *sizes, int n_sizes, const int32_t *pages, float *out)
{
    for (int at = 0, k = 0; at < g->n_tok; k++) {
        int n = MIN(sizes[k % n_sizes], g->n_tok - at);
        rig_forward(r, &(Part){ g->ids, at, n, pages }, 1, out + (size_t)at * (size_t)g->n_vocab);
        at += n;
    }
}

/* Another sequence, with the first page of the golden's as its own and other tokens after it, runs in the same pass. */
static void run_shared(Rig *r, const Golden *g, float *out)
{
    static const int32_t mine[] = { 40, 3, 17, 9, 22, 31 }, others[] = { 40, 60, 5, 11, 44, 2 };
    int32_t tok[RIG_ROWS];
    size_t v = (size_t)g->n_vocab;
    int n_shared = RIG_PAGE, rest = g->n_tok - n_shared, n_other = MIN(rest, RIG_ROWS - rest) - 3;
    memcpy(tok, g->ids, (size_t)n_shared * sizeof(int32_t));
    for (int i = 0; i < n_other; i++) tok[n_shared + i] = (g->ids[i] * 7 + 3) % g->n_vocab;
    float *both = mem_alloc_array((size_t)(rest + n_other) * v, sizeof(float));
    float *alone = mem_alloc_array((size_t)n_other * v, sizeof(float));
    rig_forward(r, &(Part){ g->ids, 0, n_shared, mine }, 1, out);
    Part parts[] = { { tok, n_shared, n_other, others }, { g->ids, n_shared, rest, mine } };
    rig_forward(r, parts, 2, both);
    memcpy(out + (size_t)n_shared * v, both + (size_t)n_other * v, (size_t)rest * v * sizeof(float));
    /* the neighbour changes nothing: bit for bit on the CPU */
    rig_forward(r, parts, 1, alone);
    assert_int_equal(memcmp(both, alone, (size_t)n_other * v * sizeof(float)), 0);
    mem_free(both);
    mem_free(alone);
}

/* Greedy tokens as the reference drew them, as far as its choice was clear. */
static void run_greedy(Rig *r, const Golden *g, const char *file, double clear, const int32_t *pages)
{
    float *logits = mem_alloc_array((size_t)RIG_ROWS * (size_t)g->n_vocab, sizeof(float));
    rig_forward(r, &(Part){ g->ids, 0, g->n_tok, pages }, 1, logits);
    for (int i = 0; i < g->n_greedy; i++) {
        SampleRow row = { .top_p = 1, .repetition = 1, .n_vocab = g->n_vocab, .target = -1 };
        SampleOut out;
        Err err;
        rig_forward(r, &(Part){ g->ids, g->n_tok + i - 1, 1, pages }, 1, logits);
        model_sample(r->model, &row, 1);
        if (model_sample_wait(r->model, &out, 1, &err) != OK) fail_msg("%s", err.text);
        if ((double)g->gap[i] > clear && out.token != g->ids[g->n_tok + i])
            fail_msg("%s: greedy token %d is %d, the reference drew %d", file, i, out.token, g->ids[g->n_tok + i]);
    }
    mem_free(logits);
}

static void run_case(const Case *c, const char *isa, int threads)
{
    static const int32_t pages[] = { 7, 1, 63, 12, 30, 5, 18, 2 };
    static const int chunks[] = { 1, 3, 7 }, one[] = { 1 };
    char path[512];
    Golden g = golden_read(c->golden);
    snprintf(path, sizeof(path), "%s/data/golden/%s", RADISH_TESTS, c->file);
    Rig r = rig_open(path, isa, threads, (ModelOptions){ .context_length = g.context_length, .kv_dtype = DT_F32 });
    size_t n = (size_t)g.n_tok * (size_t)g.n_vocab;
    float *out = mem_alloc_array(n, sizeof(float));
    assert_int_equal(model_info(r.model)->n_vocab, g.n_vocab);

    rig_forward(&r, &(Part){ g.ids, 0, g.n_tok, pages }, 1, out);
    check(c, isa, "whole", out, g.logits, n);
    run_pieces(&r, &g, chunks, 3, pages, out);
    check(c, isa, "chunks", out, g.logits, n);
    run_pieces(&r, &g, one, 1, pages, out);
    check(c, isa, "token by token", out, g.logits, n);
    run_shared(&r, &g, out);
    check(c, isa, "batched", out, g.logits, n);
    bool rounded = strcmp(isa, "plain") != 0 && c->kind != EXACT;
    run_greedy(&r, &g, c->file, rounded ? 0.3 : 1e-3, pages);
    mem_free(out);
    rig_close(&r);
    arena_free(g.arena);
}

static void test_plain(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) run_case(&cases[i], "plain", 1);
}

static void test_fast(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) run_case(&cases[i], "auto", 2);
}

/* What serving uses keeps 16 bits, or 8 if asked: the rounding must stay small. */
static void test_short_cache(void **state)
{
    (void)state;
    static const int32_t pages[] = { 7, 1, 63, 12, 30, 5 };
    static const DType kinds[] = { DT_F16, DT_BF16, DT_I8 };
    Golden g = golden_read("qwen3");
    size_t n = (size_t)g.n_tok * (size_t)g.n_vocab;
    float *out = mem_alloc_array(n, sizeof(float));
    for (size_t i = 0; i < COUNT(kinds); i++) {
        Rig r = rig_open(RADISH_TESTS "/data/golden/qwen3", "auto", 1, (ModelOptions){ .kv_dtype = kinds[i] });
        rig_forward(&r, &(Part){ g.ids, 0, g.n_tok, pages }, 1, out);
        assert_true(rig_nmse(out, g.logits, n) <= (kinds[i] == DT_F16 ? 1e-5 : 1e-3));
        rig_close(&r);
    }
    mem_free(out);
    arena_free(g.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_fast),
        cmocka_unit_test(test_short_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
