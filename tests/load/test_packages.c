/* test_packages.c - files that the formats' own Python packages wrote (data/, by make_data.py): every value is where and what
 * it was written as, whole, split and sharded. */
#include "load/files.h"

#define DATA RADISH_TESTS "/load/data/"

enum { VALUES_MAX = 3 * 64 };

/* Element k of tensor t, as make_data.py has it. */
static float value(int t, int k)
{
    return (float)(k * 7 % 31 - 15) * 0.25f + (float)t;
}

/* Sees that tensor t holds those values, in its own format's rounding. */
static void check_tensor(const Checkpoint *c, const char *name, int t, int n)
{
    const TensorInfo *info = load_find(c, name);
    float want[VALUES_MAX], got[VALUES_MAX];
    uint8_t coded[VALUES_MAX * 4];
    assert_non_null(info);
    for (int k = 0; k < n; k++) want[k] = value(t, k);
    if (quant_from_f32(info->dtype, want, coded, (size_t)n)) quant_to_f32(info->dtype, coded, want, (size_t)n);
    quant_to_f32(info->dtype, info->data, got, (size_t)n);
    for (int k = 0; k < n; k++) {
        if (got[k] != want[k]) fail_msg("%s[%d] is %g, not %g", name, k, (double)got[k], (double)want[k]);
    }
}

static void check_gguf(const char *path)
{
    static const DType types[] = { DT_F32, DT_F16, DT_BF16, DT_Q8_0, DT_Q4_0, DT_Q4_1, DT_Q5_0, DT_Q5_1 };
    static const char *words[] = { "<s>", "\xc4\xa0the", "\n", "\xe6\x97\xa5\xe6\x9c\xac" };
    Checkpoint *c = files_open(path);
    int64_t v;
    double x;
    bool yes;
    Str s;
    size_t pos = 0;
    assert_int_equal(load_n_tensors(c), COUNT(types));
    for (int t = 0; t < (int)COUNT(types); t++) {
        char name[32];
        snprintf(name, sizeof name, "t%d.%s", t, quant_info(types[t])->name);
        const TensorInfo *info = load_find(c, name);
        assert_non_null(info);
        assert_int_equal(info->dtype, types[t]);
        assert_int_equal(info->n_dims, 2);
        assert_int_equal(info->shape[0], 3);
        assert_int_equal(info->shape[1], 64);
        check_tensor(c, name, t, 3 * 64);
    }
    assert_true(load_meta_str(load_meta_find(c, "general.architecture"), 0, &s) && str_is(s, "llama"));
    assert_true(load_meta_i64(load_meta_find(c, "llama.context_length"), 0, &v) && v == 4096);
    assert_true(load_meta_i64(load_meta_find(c, "llama.attention.head_count_kv"), 2, &v) && v == 3);
    assert_true(load_meta_f64(load_meta_find(c, "llama.attention.layer_norm_rms_epsilon"), 0, &x) &&
                x == (double)1e-5f);
    assert_true(load_meta_bool(load_meta_find(c, "tokenizer.ggml.add_bos_token"), 0, &yes) && yes);
    assert_true(load_meta_i64(load_meta_find(c, "x.small"), 0, &v) && v == -((int64_t)1 << 62));
    assert_false(load_meta_i64(load_meta_find(c, "x.big"), 0, &v)); /* over 2^63 */
    for (size_t i = 0; load_meta_next_str(load_meta_find(c, "tokenizer.ggml.tokens"), &pos, &s); i++) {
        assert_true(i < COUNT(words) && str_is(s, words[i]));
    }
    load_close(c);
}

static void a_whole_gguf_is_read(void **state)
{
    (void)state;
    check_gguf(DATA "packages.gguf");
}

static void a_split_gguf_is_read(void **state)
{
    (void)state;
    check_gguf(DATA "packages-00001-of-00003.gguf");
    check_gguf(DATA "packages-00003-of-00003.gguf");
}

static void sharded_safetensors_are_read(void **state)
{
    (void)state;
    static const DType types[] = { DT_F32, DT_F16, DT_BF16, DT_F64, DT_F8_E5M2 };
    Checkpoint *c = files_open(DATA "packages");
    int64_t seven;
    assert_int_equal(load_n_tensors(c), COUNT(types) + 2);
    for (int t = 0; t < (int)COUNT(types); t++) {
        char name[8];
        snprintf(name, sizeof name, "t%d", t);
        const TensorInfo *info = load_find(c, name);
        assert_non_null(info);
        assert_int_equal(info->dtype, types[t]);
        assert_int_equal(info->n_dims, 3);
        assert_true(info->shape[0] == 2 && info->shape[1] == 3 && info->shape[2] == 5);
        if (types[t] != DT_F8_E5M2) check_tensor(c, name, t, 30);
    }
    const TensorInfo *f8 = load_find(c, "t4"); /* no quantiser here: its first values, rounded to two bits by hand */
    static const float rounded[] = { 0.25f, 2.0f, 4.0f };
    float got[30];
    quant_to_f32(f8->dtype, f8->data, got, 30);
    for (int k = 0; k < 3; k++) assert_true(got[k] == rounded[k]);
    assert_int_equal(load_find(c, "scalar")->n_dims, 0);
    memcpy(&seven, load_find(c, "scalar")->data, 8);
    assert_int_equal(seven, 7);
    assert_int_equal(load_find(c, "empty")->size, 0);
    assert_true(str_starts(load_side_file(c, "config.json"), STR("{")));
    load_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_gguf_is_read),
        cmocka_unit_test(a_split_gguf_is_read),
        cmocka_unit_test(sharded_safetensors_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
