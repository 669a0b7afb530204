/* test_hf.c - Hugging Face folders: safetensors whole and sharded, good, cut, flipped and hostile; side files; dummy
 * checkpoints; and the sentences for paths that are no checkpoint at all. */
#include "load/files.h"

static const LoadOptions plain = { 0 };
static const LoadOptions dummy = { .dummy = true };

/* A folder with config.json, gone at the end of the test. */
typedef struct {
    Arena *a;
    const char *dir;
} Folder;

static Folder folder_new(void)
{
    Folder f = { .a = arena_new(0) };
    f.dir = files_new(f.a);
    files_put(f.a, f.dir, "config.json", STR("{\"architectures\": [\"LlamaForCausalLM\"]}\n"));
    return f;
}

static void folder_free(Folder f)
{
    files_free(f.dir);
    arena_free(f.a);
}

static const char *put_weights(Folder f, const char *name, Str header, size_t n)
{
    Buf b = { 0 };
    safetensors_file(&b, header, n);
    const char *path = files_put(f.a, f.dir, name, buf_view(&b));
    buf_free(&b);
    return path;
}

/* ---- one file ---- */

#define GOOD                                                                                                           \
    "{\"__metadata__\":{\"format\":\"pt\"},"                                                                           \
    "\"b.weight\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[8,20]},"                                       \
    "\"a\\u00e9\\n\":{\"shape\":[1,1,1,1,2],\"data_offsets\":[0,8],\"dtype\":\"F32\"},"                                \
    "\"scalar\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[20,28]},"                                            \
    "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,4],\"data_offsets\":[20,20]},"                                          \
    "\"f8\":{\"dtype\":\"F8_E4M3\",\"shape\":[3],\"data_offsets\":[28,31]}}   "
enum { GOOD_DATA = 31 };

static void a_good_file_is_read(void **state)
{
    (void)state;
    Folder f = folder_new();
    put_weights(f, "model.safetensors", STR(GOOD), GOOD_DATA);
    Checkpoint *c = files_open(f.dir);
    assert_int_equal(load_kind(c), LOAD_HF);
    assert_int_equal(load_n_tensors(c), 5);
    const TensorInfo *t = load_find(c, "b.weight");
    assert_ptr_equal(t, load_tensor(c, 0)); /* the header's order */
    assert_int_equal(t->dtype, DT_BF16);
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->shape[0], 2);
    assert_int_equal(t->shape[1], 3);
    assert_int_equal(t->shape[2], 1);
    assert_int_equal(t->size, 12);
    assert_int_equal(t->data[0], 8 * 7 + 1);
    t = load_find(c, "a\xc3\xa9\n");
    assert_non_null(t);
    assert_int_equal(t->n_dims, 5);
    assert_int_equal(t->data[0], 1);
    assert_int_equal(load_find(c, "scalar")->n_dims, 0);
    assert_int_equal(load_find(c, "empty")->size, 0);
    assert_int_equal(load_find(c, "f8")->dtype, DT_F8_E4M3);
    assert_null(load_find(c, "__metadata__"));
    assert_int_equal(load_n_meta(c), 0);
    assert_null(load_meta_find(c, "format"));
    files_touch(c);
    load_close(c);
    folder_free(f);
}

static void an_only_file_of_any_name_is_read(void **state)
{
    (void)state;
    Folder f = folder_new();
    put_weights(f, "weights-v2.safetensors", STR("{}"), 0);
    Checkpoint *c = files_open(f.dir);
    assert_int_equal(load_n_tensors(c), 0);
    load_close(c);
    put_weights(f, "other.safetensors", STR("{}"), 0);
    files_refused(f.dir, plain, E_NOT_FOUND, "several safetensors files but no model.safetensors.index.json");
    folder_free(f);
}

static void every_cut_and_tail_is_refused(void **state)
{
    (void)state;
    Folder f = folder_new();
    Buf b = { 0 };
    safetensors_file(&b, STR(GOOD), GOOD_DATA);
    buf_char(&b, 0); /* one byte too many is wrong as well */
    for (size_t n = 0; n <= b.n; n++) {
        Err err = { 0 };
        Checkpoint *c;
        if (n == b.n - 1) continue; /* whole */
        files_put(f.a, f.dir, "model.safetensors", (Str){ b.p, n });
        if (load_open(f.dir, plain, &c, &err) == OK) fail_msg("read though %zu of %zu bytes", n, b.n - 1);
        assert_non_null(strstr(err.text, "model.safetensors: "));
    }
    buf_free(&b);
    folder_free(f);
}

static void flipped_bits_never_crash(void **state)
{
    (void)state;
    Folder f = folder_new();
    Buf b = { 0 };
    int refused = 0;
    safetensors_file(&b, STR(GOOD), GOOD_DATA);
    for (size_t i = 0; i < b.n * 8; i++) {
        Err err = { 0 };
        Checkpoint *c;
        b.p[i / 8] = (char)(b.p[i / 8] ^ 1 << i % 8);
        files_put(f.a, f.dir, "model.safetensors", buf_view(&b));
        if (load_open(f.dir, plain, &c, &err) == OK)
            files_touch(c);
        else
            refused++;
        load_close(c);
        b.p[i / 8] = (char)(b.p[i / 8] ^ 1 << i % 8);
    }
    assert_true(refused > 1000);
    buf_free(&b);
    folder_free(f);
}

#define ONE(dtype, shape, offsets) "{\"w\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void lies_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t n_data;
        Status status;
        const char *why;
    } lies[] = {
        { "[]", 0, E_CORRUPT, "not a safetensors file" },
        { " {}", 0, E_CORRUPT, "not a safetensors file" },
        { "{} x", 0, E_CORRUPT, "text after the end" },
        { "{\"w\":{\"dtype\":\"F32\"", 0, E_CORRUPT, "tensor w: its header entry is wrong at byte 27: a comma" },
        { "{\"w\":7}", 0, E_CORRUPT, "an object was expected" },
        { "{\"w\":{}}", 0, E_CORRUPT, "tensor w: dtype, shape or data_offsets is missing" },
        { "{\"\xff\":{}}", 0, E_CORRUPT, "not UTF-8" },
        { "{\"a\\x\":{}}", 0, E_CORRUPT, "a bad escape" },
        { "{\"a\\ud800\":{}}", 0, E_CORRUPT, "a bad escape" },
        { "{\"a\nb\":{}}", 0, E_CORRUPT, "a control character" },
        { ONE("F32", "[2]", "[0,8"), 8, E_CORRUPT, "a comma or the closing bracket" },
        { ONE("F32", "[2]", "[0]"), 8, E_CORRUPT, "data_offsets needs two numbers" },
        { ONE("F32", "[2]", "[0,8,8]"), 8, E_CORRUPT, "more than two numbers" },
        { ONE("F32", "[-2]", "[0,8]"), 8, E_CORRUPT, "a whole number from 0 on" },
        { ONE("F32", "[2.0]", "[0,8]"), 8, E_CORRUPT, "a whole number was expected" },
        { ONE("F32", "[02]", "[0,8]"), 8, E_CORRUPT, "leading zero" },
        { ONE("F32", "[99999999999999999999]", "[0,8]"), 8, E_CORRUPT, "over 2^63" },
        { ONE("F32", "[1,1,1,1,1,2]", "[0,8]"), 8, E_UNSUPPORTED, "tensor w: over 5 dimensions" },
        { ONE("F32", "[4294967296,4294967296]", "[0,8]"), 8, E_CORRUPT, "tensor w: its dimensions multiply past" },
        { ONE("F32", "[9223372036854775807]", "[0,8]"), 8, E_CORRUPT, "tensor w: its size overflows" },
        { ONE("F4", "[2]", "[0,1]"), 1, E_UNSUPPORTED, "tensor w: dtype F4 is not read" },
        { ONE("Q8_0", "[32]", "[0,34]"), 34, E_UNSUPPORTED, "tensor w: dtype Q8_0 is not read" },
        { ONE("F32", "[2]", "[8,0]"), 8, E_CORRUPT, "tensor w: its data ends before it begins" },
        { ONE("F32", "[2]", "[0,4]"), 8, E_CORRUPT, "tensor w: 4 bytes of data for a shape that needs 8" },
        { ONE("F32", "[2]", "[0,8]"), 4, E_CORRUPT, "tensor w ends past the file" },
        { ONE("F32", "[2]", "[0,8]"), 9, E_CORRUPT, "1 bytes after the last tensor" },
        { ONE("F32", "[2]", "[4,12]"), 12, E_CORRUPT, "tensor w leaves a hole before it" },
        { "{\"w\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1, E_CORRUPT,
          "tensor w: dtype is there twice" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_"
          "offsets\":[1,3]}}",
          3, E_CORRUPT, "tensor b overlaps the one before it" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_"
          "offsets\":[1,2]}}",
          2, E_CORRUPT, "tensor a is there twice" },
    };
    Folder f = folder_new();
    for (size_t i = 0; i < COUNT(lies); i++) {
        put_weights(f, "model.safetensors", str_of(lies[i].header), lies[i].n_data);
        files_refused(f.dir, plain, lies[i].status, lies[i].why);
    }
    folder_free(f);
}

static void lying_lengths_are_refused(void **state)
{
    (void)state;
    Folder f = folder_new();
    static const struct {
        uint64_t n;
        const char *why;
    } lengths[] = { { 3, "ends inside its header" },
                    { 100000001, "promises a header of 100000001 bytes, over the limit" },
                    { UINT64_MAX, "over the limit" },
                    { 0, "not a safetensors file" } };
    for (size_t i = 0; i < COUNT(lengths); i++) {
        Buf b = { 0 };
        put_u64(&b, lengths[i].n);
        buf_str(&b, STR("{}"));
        files_put(f.a, f.dir, "model.safetensors", buf_view(&b));
        files_refused(f.dir, plain, E_CORRUPT, lengths[i].why);
        buf_free(&b);
    }
    folder_free(f);
}

/* A header whose metadata is 100,000 brackets deep must not use up the stack. */
static void deep_nesting_is_refused(void **state)
{
    (void)state;
    Folder f = folder_new();
    Buf b = { 0 };
    buf_str(&b, STR("{\"__metadata__\":"));
    for (int i = 0; i < 100000; i++) buf_char(&b, '[');
    put_weights(f, "model.safetensors", buf_view(&b), 0);
    files_refused(f.dir, plain, E_CORRUPT, "nested too deep");
    buf_free(&b);
    folder_free(f);
}

/* ---- shards ---- */

#define SHARD(name) "{\"" name "\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}"
#define INDEX       "model.safetensors.index.json"

static void shards_are_joined(void **state)
{
    (void)state;
    Folder f = folder_new();
    files_put(f.a, f.dir, INDEX,
              STR("{\"metadata\": {\"total_size\": 1e99, \"x\": [null, true, {\"y\": -1.5}]}, \"weight_map\": "
                  "{\"b\": \"m-2.safetensors\", \"a\": \"m-1.safetensors\"}}\n"));
    put_weights(f, "m-1.safetensors", STR(SHARD("a")), 4);
    put_weights(f, "m-2.safetensors", STR(SHARD("b")), 4);
    Checkpoint *c = files_open(f.dir);
    assert_int_equal(load_n_tensors(c), 2);
    assert_non_null(load_find(c, "a"));
    assert_non_null(load_find(c, "b"));
    files_touch(c);
    load_close(c);
    folder_free(f);
}

static void index_lies_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *index;
        Status status;
        const char *why;
    } lies[] = {
        { "{\"weight_map\":{\"a\":\"../m-1.safetensors\"}}", E_CORRUPT, "tensor a: bad file name ../m-1.safetensors" },
        { "{\"weight_map\":{\"a\":\"/etc/x.safetensors\"}}", E_CORRUPT, "bad file name" },
        { "{\"weight_map\":{\"a\":\"x\\\\y.safetensors\"}}", E_CORRUPT, "bad file name" },
        { "{\"weight_map\":{\"a\":\"x\\u0000.safetensors\"}}", E_CORRUPT, "bad file name" },
        { "{\"weight_map\":{\"a\":\"pytorch_model.bin\"}}", E_CORRUPT, "bad file name" },
        { "{\"weight_map\":{\"a\":\"m-9.safetensors\"}}", E_NOT_FOUND,
          "m-9.safetensors: not there; download the missing file" },
        { "{\"weight_map\":{\"zz\":\"m-1.safetensors\"}}", E_CORRUPT,
          "m-1.safetensors: tensor zz is not in it, though the index says so" },
        { "{\"weight_map\":{\"a\":\"m-2.safetensors\",\"b\":\"m-1.safetensors\"}}", E_CORRUPT,
          "tensor a is not in it" },
        { "{\"weight_map\":{\"a\":\"m-1.safetensors\",\"b\":\"m-3.safetensors\"}}", E_CORRUPT,
          "tensor a is there twice" },
        { "{\"weight_map\":{}}", E_CORRUPT, "no weight_map, or an empty one" },
        { "{}", E_CORRUPT, "no weight_map, or an empty one" },
        { "{\"weight_map\":{\"a\":1}}", E_CORRUPT, "a string was expected" },
        { "{\"weight_map\":{\"a\":\"m-1.safetensors\"}", E_CORRUPT, "a comma or the closing bracket" },
        { "{\"weight_map\":{\"a\":\"m-1.safetensors\"},\"weight_map\":{}}", E_CORRUPT, "weight_map is there twice" },
        { "", E_CORRUPT, "empty; download it again" },
        { "version https://git-lfs.github.com/spec/v1\n", E_CORRUPT, "git lfs pull" },
    };
    Folder f = folder_new();
    put_weights(f, "m-1.safetensors", STR(SHARD("a")), 4);
    put_weights(f, "m-2.safetensors", STR(SHARD("b")), 4);
    put_weights(f, "m-3.safetensors", STR(SHARD("a")), 4);
    for (size_t i = 0; i < COUNT(lies); i++) {
        files_put(f.a, f.dir, INDEX, str_of(lies[i].index));
        files_refused(f.dir, plain, lies[i].status, lies[i].why);
    }
    files_put(f.a, f.dir, INDEX, STR("{\"weight_map\":{\"a\":\"m-4.safetensors\"}}"));
    files_put(f.a, f.dir, "m-4.safetensors", STR("version https://git-lfs.github.com/spec/v1\noid sha256:00\n"));
    files_refused(f.dir, plain, E_CORRUPT, "m-4.safetensors: a Git LFS pointer");
    folder_free(f);
}

static void an_index_cut_anywhere_is_refused(void **state)
{
    (void)state;
    Folder f = folder_new();
    Str index = STR("{\"metadata\":{\"total_size\":4},\"weight_map\":{\"a\":\"m-1.safetensors\"}}");
    put_weights(f, "m-1.safetensors", STR(SHARD("a")), 4);
    for (size_t n = 0; n < index.n; n++) {
        files_put(f.a, f.dir, INDEX, str_cut(index, 0, n));
        files_refused(f.dir, plain, E_CORRUPT, INDEX ": ");
    }
    folder_free(f);
}

/* ---- side files and dummy checkpoints ---- */

static void side_files_are_handed_out(void **state)
{
    (void)state;
    Folder f = folder_new();
    put_weights(f, "model.safetensors", STR("{}"), 0);
    files_put(f.a, f.dir, "chat_template.jinja", STR("{{ x }}"));
    files_put(f.a, f.dir, "empty.txt", STR(""));
    Checkpoint *c = files_open(f.dir);
    Str s = load_side_file(c, "chat_template.jinja");
    assert_true(str_is(s, "{{ x }}"));
    assert_ptr_equal(load_side_file(c, "chat_template.jinja").p, s.p);
    assert_true(str_starts(load_side_file(c, "config.json"), STR("{\"architectures\"")));
    assert_null(load_side_file(c, "tokenizer.json").p);
    assert_null(load_side_file(c, "empty.txt").p);
    assert_null(load_side_file(c, "../config.json").p);
    assert_null(load_side_file(c, "/etc/passwd").p);
    assert_null(load_side_file(c, "..").p);
    assert_null(load_side_file(c, "").p);
    load_close(c);
    folder_free(f);
}

static void a_dummy_needs_config_alone(void **state)
{
    (void)state;
    Folder f = folder_new();
    const char *other = files_put(f.a, f.dir, "llama-8b.json", STR("{\"hidden_size\": 4096}"));
    const char *paths[] = { f.dir, file_join(f.a, f.dir, "config.json"), other };
    for (size_t i = 0; i < COUNT(paths); i++) {
        Checkpoint *c;
        Err err;
        if (load_open(paths[i], dummy, &c, &err) != OK) fail_msg("%s", err.text);
        assert_true(load_is_dummy(c));
        assert_int_equal(load_kind(c), LOAD_HF);
        assert_int_equal(load_n_tensors(c), 0);
        assert_null(load_find(c, "model.embed_tokens.weight"));
        const char *key = paths[i] == other ? "{\"hidden_size\"" : "{\"architectures\"";
        assert_true(str_starts(load_side_file(c, "config.json"), str_of(key)));
        load_close(c);
    }
    folder_free(f);
}

/* ---- what is no checkpoint ---- */

static void wrong_paths_get_advice(void **state)
{
    (void)state;
    Folder f = folder_new();
    const char *config = file_join(f.a, f.dir, "config.json");
    files_refused("", plain, E_INVALID, "no model was named");
    files_refused("/no/such/model", plain, E_NOT_FOUND, "/no/such/model: no such file or folder");
    files_refused(config, plain, E_INVALID, "config.json: a model's description; give its folder: /tmp/radish-load");
    files_refused(f.dir, plain, E_NOT_FOUND, "no *.safetensors in it; download them");
    files_put(f.a, f.dir, "pytorch_model.bin", STR("PK\3\4"));
    files_refused(f.dir, plain, E_UNSUPPORTED, "pickled weights only");
    const char *weights = put_weights(f, "model.safetensors", STR("{}"), 0);
    files_refused(weights, plain, E_INVALID, "weights alone do not make a model; give the folder");
    files_refused(weights, dummy, E_INVALID, "dummy weights are made from a config.json");
    files_put(f.a, f.dir, "model.safetensors", STR("version https://git-lfs.github.com/spec/v1\n"));
    files_refused(f.dir, plain, E_CORRUPT, "git lfs pull");
    files_put(f.a, f.dir, "config.json", STR("version https://git-lfs.github.com/spec/v1\n"));
    files_refused(f.dir, plain, E_CORRUPT, "config.json: a Git LFS pointer");
    files_put(f.a, f.dir, "config.json", STR("[]"));
    files_refused(f.dir, dummy, E_CORRUPT, "config.json: not a JSON object");
    files_put(f.a, f.dir, "config.json", STR(""));
    files_refused(f.dir, plain, E_CORRUPT, "config.json: empty");
    folder_free(f);
}

static void wrong_files_get_advice(void **state)
{
    (void)state;
    static const struct {
        Str content;
        Status status;
        const char *why;
    } files[] = {
        { { "", 0 }, E_INVALID, "empty; download it again" },
        { { "PK\3\4....", 8 }, E_INVALID, "pickle or other zip file" },
        { { "\x80\2\x8a\nl\xfc", 6 }, E_INVALID, "a Python pickle" },
        { { "<!DOCTYPE html>", 15 }, E_INVALID, "a web page, not a model" },
        { { "version https://git-lfs.github.com/spec/v1", 42 }, E_INVALID, "git lfs pull" },
        { { "lmgg\1\0\0\0", 8 }, E_INVALID, "an old GGML file" },
        { { "hello, world", 12 }, E_CORRUPT, "not a GGUF file" },
    };
    Arena *a = arena_new(0);
    const char *dir = files_new(a);
    files_refused(dir, plain, E_INVALID, "a folder without config.json");
    for (size_t i = 0; i < COUNT(files); i++) {
        files_refused(files_put(a, dir, "model.gguf", files[i].content), plain, files[i].status, files[i].why);
    }
    files_refused(dir, plain, E_INVALID, "a folder with a GGUF file; give the file: ");
    files_refused(dir, dummy, E_NOT_FOUND, "config.json: not there");
    files_put(a, dir, "second.gguf", STR(""));
    files_refused(dir, plain, E_INVALID, "a folder with 2 GGUF files");
    files_free(dir);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_is_read),           cmocka_unit_test(an_only_file_of_any_name_is_read),
        cmocka_unit_test(every_cut_and_tail_is_refused), cmocka_unit_test(flipped_bits_never_crash),
        cmocka_unit_test(lies_are_refused_by_name),      cmocka_unit_test(lying_lengths_are_refused),
        cmocka_unit_test(deep_nesting_is_refused),       cmocka_unit_test(shards_are_joined),
        cmocka_unit_test(index_lies_are_refused),        cmocka_unit_test(an_index_cut_anywhere_is_refused),
        cmocka_unit_test(side_files_are_handed_out),     cmocka_unit_test(a_dummy_needs_config_alone),
        cmocka_unit_test(wrong_paths_get_advice),        cmocka_unit_test(wrong_files_get_advice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
