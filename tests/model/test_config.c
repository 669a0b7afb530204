/* test_config.c - config.json as both major versions of transformers write it, and what is said about bad ones. */
#include "model/config.h"
#include "model/rig.h"

/* ---- the two spellings mean the same ---- */

static ModelConfig read_file(const char *name, const char *file)
{
    char path[512];
    Str text;
    Err err;
    ModelConfig c;
    const Arch *arch;
    Arena *a = arena_new(0);
    snprintf(path, sizeof(path), RADISH_TESTS "/data/golden/%s/%s", name, file);
    if (file_read(a, path, 1 << 20, &text, &err) != OK) fail_msg("%s", err.text);
    if (config_from_json(text, &arch, &c, &err) != OK) fail_msg("%s: %s", path, err.text);
    arena_free(a);
    return c;
}

static void test_spellings(void **state)
{
    static const char *const names[] = { "llama3",        "llama_linear", "llama_yarn", "llama_dynamic", "mistral",
                                         "qwen2",         "qwen2_plain",  "qwen3",      "gemma2",        "gemma3",
                                         "gemma3_vision", "phi3",         "phi3_long" };
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        ModelConfig v5 = read_file(names[i], "config.json"), v4 = read_file(names[i], "config.v4.json");
        /* the raw keys on the way to rope[] and windowed[] may differ */
        v4.rope_theta = v5.rope_theta;
        v4.partial_rotary = v5.partial_rotary;
        v4.rope_theta_local = v5.rope_theta_local;
        v4.pattern = v5.pattern;
        if (memcmp(&v4, &v5, sizeof(v4)) != 0) fail_msg("%s: config.v4.json reads differently", names[i]);
    }
}

static void test_layer_kinds(void **state)
{
    (void)state;
    ModelConfig c = read_file("gemma3", "config.v4.json");
    for (int i = 0; i < c.n_layer; i++) assert_int_equal(c.windowed[i], i != 5);
    c = read_file("gemma2", "config.v4.json");
    for (int i = 0; i < c.n_layer; i++) assert_int_equal(c.windowed[i], i % 2 == 0);
    c = read_file("qwen2", "config.v4.json");
    for (int i = 0; i < c.n_layer; i++) assert_int_equal(c.windowed[i], i >= 1);
    c = read_file("qwen2_plain", "config.json");
    for (int i = 0; i < c.n_layer; i++) assert_int_equal(c.windowed[i], 0);
    c = read_file("mistral", "config.json");
    for (int i = 0; i < c.n_layer; i++) assert_int_equal(c.windowed[i], 1);
}

/* ---- what published models' configs look like ---- */

#define BODY                                                                                                           \
    "\"architectures\":[\"LlamaForCausalLM\"],\"num_attention_heads\":32,\"num_hidden_layers\":2,\"hidden_size\":"     \
    "4096,"                                                                                                            \
    "\"intermediate_size\":11008,\"vocab_size\":32000"

static Status parse(const char *text, ModelConfig *c, Err *err)
{
    const Arch *arch;
    *err = (Err){ 0 };
    return config_from_json(str_of(text), &arch, c, err);
}

static ModelConfig must(const char *text)
{
    ModelConfig c;
    Err err;
    if (parse(text, &c, &err) != OK) fail_msg("%s", err.text);
    return c;
}

static void test_defaults(void **state)
{
    (void)state;
    ModelConfig c = must("{" BODY "}");
    assert_int_equal(c.n_kv_head, 32);
    assert_int_equal(c.head_dim, 128);
    assert_int_equal(c.rot_dim, 128);
    assert_int_equal(c.d_qkv, 3 * 4096);
    assert_int_equal(c.rope[0].kind, ROPE_PLAIN);
    assert_true(c.rope[0].theta == 10000.0);
    assert_false(c.untied || c.tied);
    c = must("{" BODY
             ",\"head_dim\":null,\"num_key_value_heads\":null,\"rope_scaling\":null,\"tie_word_embeddings\":false}");
    assert_int_equal(c.head_dim, 128);
    assert_true(c.untied && !c.tied);
    /* the text half of a published Gemma 3 says only what differs from the class */
    c = must("{\"architectures\":[\"Gemma3ForConditionalGeneration\"],\"text_config\":{\"hidden_size\":2560,"
             "\"intermediate_size\":10240,"
             "\"num_hidden_layers\":34,\"rope_scaling\":{\"factor\":8.0,\"rope_type\":\"linear\"},\"sliding_window\":"
             "1024}}");
    assert_int_equal(c.n_head, 8);
    assert_int_equal(c.n_kv_head, 4);
    assert_int_equal(c.head_dim, 256);
    assert_int_equal(c.n_vocab, 262208);
    assert_int_equal(c.rope[0].kind, ROPE_LINEAR);
    assert_true(c.rope[0].theta == 1e6 && c.rope[1].theta == 1e4 && c.rope[1].kind == ROPE_PLAIN);
    assert_true(c.norm_bias == 1.0f && c.attn_scale == 1.0f / 16.0f && c.tied);
    /* the first Phi-3 configs call longrope "su" */
    c = must(
        "{\"architectures\":[\"Phi3ForCausalLM\"],\"num_attention_heads\":2,\"num_hidden_layers\":1,\"hidden_size\":8,"
        "\"intermediate_size\":8,\"vocab_size\":9,\"max_position_embeddings\":131072,\"original_max_position_"
        "embeddings\":4096,"
        "\"rope_scaling\":{\"type\":\"su\",\"short_factor\":[1.0,1.1],\"long_factor\":[2,3]}}");
    float freq[2], mscale;
    rope_compute(&c.rope[0], c.rot_dim, c.n_ctx, 131072, freq, &mscale);
    assert_true(fabsf(mscale - 1.1902381f) < 1e-6f); /* sqrt(1 + ln 32 / ln 4096) */
    assert_true(fabsf(freq[0] - 0.5f) < 1e-7f && fabsf(freq[1] - 0.01f / 3) < 1e-8f);
    rope_compute(&c.rope[0], c.rot_dim, c.n_ctx, 4096, freq, &mscale);
    assert_true(fabsf(freq[0] - 1.0f) < 1e-7f);
}

static void test_context(void **state)
{
    (void)state;
    ModelConfig c =
        must("{" BODY ",\"max_position_embeddings\":32768,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4.0,"
             "\"original_max_position_embeddings\":32768}}");
    assert_int_equal(rope_context_max(&c), 131072);
    c = must("{" BODY ",\"max_position_embeddings\":4096,\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2.0}}");
    assert_int_equal(rope_context_max(&c), 8192);
    c = must("{" BODY ",\"max_position_embeddings\":4096,\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.0}}");
    assert_int_equal(rope_context_max(&c), 4096);
}

/* ---- refusals: the status, and words that the sentence must have ---- */

typedef struct {
    const char *text;
    Status status;
    const char *says;
} Bad;

/* clang-format off */
static const Bad bad[] = {
    { "", E_CORRUPT, "config.json: line" },
    { "{", E_CORRUPT, "config.json: line" },
    { "[1]", E_INVALID, "not a JSON object" },
    { "{}", E_INVALID, "neither architectures nor model_type" },
    { "{\"architectures\":[\"MambaForCausalLM\"]}", E_UNSUPPORTED, "\"MambaForCausalLM\" is not supported; supported: LlamaForCausalLM, " },
    { "{\"model_type\":\"mamba\"}", E_UNSUPPORTED, "Qwen3ForCausalLM" },
    { "{\"architectures\":[\"LlamaForCausalLM\"]}", E_INVALID, "num_hidden_layers is missing" },
    { "{" BODY ",\"num_hidden_layers\":0}", E_INVALID, "num_hidden_layers is 0, expected 1 to 512" },
    { "{" BODY ",\"num_hidden_layers\":null}", E_INVALID, "num_hidden_layers is null" },
    { "{" BODY ",\"num_hidden_layers\":2.5}", E_INVALID, "num_hidden_layers is 2.5, expected a whole number" },
    { "{" BODY ",\"num_hidden_layers\":1e300}", E_INVALID, "num_hidden_layers is 1e+300" },
    { "{" BODY ",\"num_hidden_layers\":\"2\"}", E_INVALID, "num_hidden_layers is not one number" },
    { "{" BODY ",\"hidden_size\":-1}", E_INVALID, "hidden_size is -1" },
    { "{" BODY ",\"vocab_size\":99999999999}", E_INVALID, "vocab_size" },
    { "{" BODY ",\"num_key_value_heads\":5}", E_INVALID, "32 attention heads cannot share 5" },
    { "{" BODY ",\"head_dim\":7}", E_UNSUPPORTED, "head_dim is 7" },
    { "{" BODY ",\"rms_norm_eps\":0}", E_INVALID, "epsilon" },
    { "{" BODY ",\"hidden_act\":\"relu2\"}", E_UNSUPPORTED, "hidden_act \"relu2\" is not supported; supported: silu" },
    { "{" BODY ",\"hidden_act\":3}", E_INVALID, "hidden_act is not a string" },
    { "{" BODY ",\"layer_types\":[\"full_attention\"]}", E_INVALID, "layer_types" },
    { "{" BODY ",\"layer_types\":[\"full_attention\",\"mamba\"]}", E_UNSUPPORTED, "layer_types[1] \"mamba\"" },
    { "{" BODY ",\"rope_scaling\":7}", E_INVALID, "rope_scaling is not an object" },
    { "{" BODY ",\"rope_scaling\":{\"type\":\"mrope\"}}", E_UNSUPPORTED, "rope type \"mrope\" is not supported; supported: default, linear" },
    { "{" BODY ",\"rope_scaling\":{\"type\":1}}", E_INVALID, "rope_type is not a string" },
    { "{" BODY ",\"rope_scaling\":{\"type\":\"linear\"}}", E_INVALID, "rope type linear needs a factor" },
    { "{" BODY ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}}", E_INVALID, "rope factor" },
    { "{" BODY ",\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4}}", E_INVALID, "high_freq_factor" },
    { "{" BODY ",\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1]}}", E_INVALID, "short_factor is not a list of 64" },
    { "{" BODY ",\"rope_theta\":0}", E_INVALID, "rope_theta is 0" },
    { "{" BODY ",\"partial_rotary_factor\":0.01}", E_UNSUPPORTED, "rope over 1 of 128" },
    { "{" BODY ",\"quantization_config\":{\"quant_method\":\"gptq\"}}", E_UNSUPPORTED, "quant_method \"gptq\" is not supported; supported: F32" },
};
/* clang-format on */

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        ModelConfig c;
        Err err;
        Status st = parse(bad[i].text, &c, &err);
        if (st != bad[i].status || !strstr(err.text, bad[i].says))
            fail_msg("%s\n  gave %d \"%s\"\n  expected %d \"... %s ...\"", bad[i].text, st, st == OK ? "" : err.text,
                     bad[i].status, bad[i].says);
    }
}

static void test_nesting(void **state)
{
    (void)state;
    Buf b = { 0 };
    ModelConfig c;
    Err err;
    for (int i = 0; i < 100000; i++) buf_char(&b, '[');
    buf_char(&b, 0);
    assert_int_equal(parse(b.p, &c, &err), E_CORRUPT);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spellings), cmocka_unit_test(test_layer_kinds), cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_context),   cmocka_unit_test(test_refusals),    cmocka_unit_test(test_nesting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
