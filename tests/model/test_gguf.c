/* test_gguf.c - GGUF metadata as configs: arrays for numbers, factors as tensors, and what is said about bad files. */
#include <unistd.h>

#include "model/config.h"
#include "model/rig.h"

/* ---- a GGUF file made by hand ---- */

typedef struct {
    Buf meta, tensors, data;
    uint64_t n_meta, n_tensors;
} Maker;

static void put(Buf *b, uint64_t x, size_t bytes)
{
    buf_add(b, &x, bytes); /* little-endian, as this test's machines are */
}

static void put_str(Buf *b, const char *s)
{
    put(b, strlen(s), 8);
    buf_add(b, s, strlen(s));
}

static void key(Maker *m, const char *name, MetaType type)
{
    put_str(&m->meta, name);
    put(&m->meta, type, 4);
    m->n_meta++;
}

static void add_int(Maker *m, const char *name, uint32_t x)
{
    key(m, name, META_U32);
    put(&m->meta, x, 4);
}

static void add_float(Maker *m, const char *name, float x)
{
    key(m, name, META_F32);
    buf_add(&m->meta, &x, 4);
}

static void add_text(Maker *m, const char *name, const char *x)
{
    key(m, name, META_STRING);
    put_str(&m->meta, x);
}

static void add_ints(Maker *m, const char *name, MetaType elem, const uint32_t *x, uint64_t n)
{
    key(m, name, META_ARRAY);
    put(&m->meta, elem, 4);
    put(&m->meta, n, 8);
    for (uint64_t i = 0; i < n; i++) put(&m->meta, x[i], elem == META_BOOL ? 1 : 4);
}

static void add_floats(Maker *m, const char *name, const float *x, uint64_t n)
{
    put_str(&m->tensors, name);
    put(&m->tensors, 1, 4);
    put(&m->tensors, n, 8);
    put(&m->tensors, 0, 4);
    put(&m->tensors, m->data.n, 8);
    buf_add(&m->data, x, (size_t)n * 4);
    while (m->data.n % 32) buf_char(&m->data, 0);
    m->n_tensors++;
}

static void write_file(Maker *m, char *path)
{
    Buf all = { 0 };
    Err err;
    strcpy(path, "/tmp/radish-gguf-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    buf_str(&all, STR("GGUF"));
    put(&all, 3, 4);
    put(&all, m->n_tensors, 8);
    put(&all, m->n_meta, 8);
    buf_str(&all, buf_view(&m->meta));
    buf_str(&all, buf_view(&m->tensors));
    while (all.n % 32) buf_char(&all, 0);
    buf_str(&all, buf_view(&m->data));
    if (file_write(path, buf_view(&all), &err) != OK) fail_msg("%s", err.text);
    buf_free(&all);
    buf_free(&m->meta);
    buf_free(&m->tensors);
    buf_free(&m->data);
    *m = (Maker){ 0 };
}

/* A Llama that lacks nothing; keys added later may stand beside these, not repeat them. */
static Maker llama(void)
{
    Maker m = { 0 };
    add_text(&m, "general.architecture", "llama");
    add_int(&m, "llama.embedding_length", 64);
    add_int(&m, "llama.feed_forward_length", 96);
    add_int(&m, "llama.attention.head_count", 8);
    add_int(&m, "llama.context_length", 256);
    add_int(&m, "llama.vocab_size", 100);
    return m;
}

static Status read_config(Maker *m, ModelConfig *c, Err *err)
{
    char path[64];
    Checkpoint *file;
    const Arch *arch;
    *err = (Err){ 0 };
    write_file(m, path);
    if (load_open(path, (LoadOptions){ 0 }, &file, err) != OK) fail_msg("%s", err->text);
    Status st = config_read(file, &arch, c, err);
    load_close(file);
    unlink(path);
    return st;
}

static ModelConfig must(Maker *m)
{
    ModelConfig c;
    Err err;
    if (read_config(m, &c, &err) != OK) fail_msg("%s", err.text);
    return c;
}

/* ---- tests ---- */

static void test_arrays(void **state)
{
    static const uint32_t kv[] = { 2, 2, 2 }, kinds[] = { 1, 0, 1 };
    (void)state;
    Maker m = llama();
    add_int(&m, "llama.block_count", 3);
    add_ints(&m, "llama.attention.head_count_kv", META_I32, kv, 3);
    ModelConfig c = must(&m);
    assert_int_equal(c.n_kv_head, 2);
    assert_int_equal(c.windowed[0], 0);
    m = (Maker){ 0 };
    add_text(&m, "general.architecture", "gemma3");
    add_int(&m, "gemma3.block_count", 3);
    add_int(&m, "gemma3.embedding_length", 64);
    add_int(&m, "gemma3.feed_forward_length", 64);
    add_int(&m, "gemma3.vocab_size", 100);
    add_int(&m, "gemma3.attention.sliding_window", 16);
    add_ints(&m, "gemma3.attention.sliding_window_pattern", META_BOOL, kinds, 3);
    c = must(&m);
    assert_true(c.windowed[0] && !c.windowed[1] && c.windowed[2]);
    assert_true(c.norm_bias == 0.0f); /* the converter has added the 1 */
}

static void test_ropes(void **state)
{
    (void)state;
    static const float divide[] = { 1, 2, 4, 8 };
    float freq[4], mscale;
    Maker m = llama();
    add_int(&m, "llama.block_count", 1);
    add_floats(&m, "rope_freqs.weight", divide, 4);
    ModelConfig c = must(&m);
    rope_compute(&c.rope[0], c.rot_dim, c.n_ctx, c.n_ctx, freq, &mscale);
    for (int i = 0; i < 4; i++) assert_true(fabs((double)freq[i] * pow(1e4, i / 4.0) * (double)divide[i] - 1) < 1e-6);

    m = llama(); /* a factor without a type is a linear one */
    add_int(&m, "llama.block_count", 1);
    add_float(&m, "llama.rope.scaling.factor", 4);
    c = must(&m);
    assert_int_equal(c.rope[0].kind, ROPE_LINEAR);
    assert_true(c.rope[0].factor == 4);

    m = llama();
    add_int(&m, "llama.block_count", 1);
    add_text(&m, "llama.rope.scaling.type", "yarn");
    add_float(&m, "llama.rope.scaling.factor", 8);
    add_int(&m, "llama.rope.scaling.original_context_length", 32);
    c = must(&m);
    rope_compute(&c.rope[0], c.rot_dim, c.n_ctx, c.n_ctx, freq, &mscale);
    assert_true(fabs((double)mscale - (0.1 * log(8) + 1)) < 1e-6);
    assert_int_equal(rope_context_max(&c), 256);
}

static void bad(Maker *m, Status want, const char *says)
{
    ModelConfig c;
    Err err;
    Status st = read_config(m, &c, &err);
    if (st != want || !strstr(err.text, says)) fail_msg("expected %d \"%s\", got %d \"%s\"", want, says, st, err.text);
}

static void test_refusals(void **state)
{
    static const uint32_t differ[] = { 2, 4 };
    static const float zero[] = { 1, 0, 1, 1 };
    (void)state;
    Maker m = { 0 };
    add_int(&m, "llama.block_count", 1);
    bad(&m, E_INVALID, "general.architecture is missing");
    add_text(&m, "general.architecture", "mamba");
    bad(&m, E_UNSUPPORTED,
        "architecture \"mamba\" is not supported; supported: llama, qwen2, qwen3, gemma2, gemma3 and phi3");
    m = llama();
    bad(&m, E_INVALID, "llama.block_count is missing");
    m = llama();
    add_int(&m, "llama.block_count", 4000000000u);
    bad(&m, E_INVALID, "llama.block_count is 4e+09, expected 1 to 512");
    m = llama();
    add_text(&m, "llama.block_count", "1");
    bad(&m, E_INVALID, "llama.block_count is not one number");
    m = llama();
    add_int(&m, "llama.block_count", 2);
    add_ints(&m, "llama.attention.head_count_kv", META_U32, differ, 2);
    bad(&m, E_INVALID, "llama.attention.head_count_kv is not one number (the same for all layers)");
    m = llama();
    add_int(&m, "llama.block_count", 2);
    add_int(&m, "llama.attention.value_length", 4);
    bad(&m, E_UNSUPPORTED, "heads of 8 for keys and 4 for values");
    m = llama();
    add_int(&m, "llama.block_count", 2);
    add_text(&m, "llama.rope.scaling.type", "spiral");
    bad(&m, E_UNSUPPORTED,
        "llama.rope.scaling.type: rope type \"spiral\" is not supported; supported: default, linear");
    m = llama();
    add_int(&m, "llama.block_count", 2);
    add_text(&m, "llama.rope.scaling.type", "longrope");
    bad(&m, E_CORRUPT, "rope_factors_long.weight is missing");
    m = llama();
    add_int(&m, "llama.block_count", 2);
    add_floats(&m, "rope_freqs.weight", zero, 4);
    bad(&m, E_CORRUPT, "rope_freqs.weight holds numbers not above 0");
    m = llama();
    add_int(&m, "llama.block_count", 2);
    add_floats(&m, "rope_freqs.weight", zero, 3);
    bad(&m, E_CORRUPT, "rope_freqs.weight is not a vector of 4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_ropes),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
