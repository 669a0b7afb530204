/* test_gguf.c - GGUF files good, cut, flipped and hostile, each made here byte by byte. */
#include "load/files.h"

static const LoadOptions plain = { 0 };

/* ---- a good file ---- */

enum { F32 = 0, Q8_0 = 8, Q4_K = 12 };

static void good_metas(Buf *b)
{
    const int32_t ints[] = { 1, -2, 3 };
    const float floats[] = { 0.5f, -1.25f };
    gguf_key(b, "general.architecture", META_STRING);
    put_str(b, "llama");
    gguf_meta(b, "u8", META_U8, &(uint8_t){ 200 }, 1);
    gguf_meta(b, "i8", META_I8, &(int8_t){ -100 }, 1);
    gguf_meta(b, "u16", META_U16, &(uint16_t){ 60000 }, 2);
    gguf_meta(b, "i16", META_I16, &(int16_t){ -30000 }, 2);
    gguf_u32(b, "u32", 4000000000u);
    gguf_meta(b, "i32", META_I32, &(int32_t){ -2000000000 }, 4);
    gguf_meta(b, "f32", META_F32, &(float){ 1e-5f }, 4);
    gguf_meta(b, "yes", META_BOOL, &(uint8_t){ 1 }, 1);
    gguf_meta(b, "no", META_BOOL, &(uint8_t){ 0 }, 1);
    gguf_meta(b, "u64", META_U64, &(uint64_t){ 1ull << 62 }, 8);
    gguf_meta(b, "i64", META_I64, &(int64_t){ -5 }, 8);
    gguf_meta(b, "huge", META_U64, &(uint64_t){ UINT64_MAX }, 8);
    gguf_meta(b, "f64", META_F64, &(double){ 2.5 }, 8);
    gguf_array(b, "ints", META_I32, 3);
    buf_add(b, ints, sizeof ints);
    gguf_array(b, "floats", META_F32, 2);
    buf_add(b, floats, sizeof floats);
    gguf_array(b, "words", META_STRING, 3);
    put_str(b, "one");
    put_str(b, "");
    put_str(b, "three");
    gguf_array(b, "none", META_STRING, 0);
}

static void good(Buf *b, uint32_t version)
{
    gguf_head(b, version, 3, 18);
    good_metas(b);
    gguf_tensor(b, "token_embd.weight", 3, 2, F32, 0);
    gguf_tensor(b, "blk.0.attn_q.weight", 64, 0, Q8_0, 32);
    put_str(b, "scalar");
    put_u32(b, 0);
    put_u32(b, F32);
    put_u64(b, 128);
    put_pad(b, 32);
    put_bytes(b, 132);
}

static void a_good_file_is_read(void **state)
{
    (void)state;
    Arena *a = arena_new(0);
    const char *dir = files_new(a);
    for (uint32_t version = 2; version <= 3; version++) {
        Buf b = { 0 };
        good(&b, version);
        Checkpoint *c = files_open(files_put(a, dir, "good.gguf", buf_view(&b)));
        assert_int_equal(load_kind(c), LOAD_GGUF);
        assert_false(load_is_dummy(c));
        assert_non_null(strstr(load_path(c), "good.gguf"));
        assert_int_equal(load_n_tensors(c), 3);
        const TensorInfo *t = load_find(c, "token_embd.weight");
        assert_ptr_equal(t, load_tensor(c, 0));
        assert_int_equal(t->dtype, DT_F32);
        assert_int_equal(t->n_dims, 2);
        assert_int_equal(t->shape[0], 2); /* slowest first */
        assert_int_equal(t->shape[1], 3);
        assert_int_equal(t->shape[2], 1);
        assert_int_equal(t->size, 24);
        assert_int_equal(t->data[0], 1);
        t = load_find(c, "blk.0.attn_q.weight");
        assert_int_equal(t->dtype, DT_Q8_0);
        assert_int_equal(t->size, 68);
        assert_int_equal(t->data[0], (uint8_t)(32 * 7 + 1));
        t = load_find(c, "scalar");
        assert_int_equal(t->n_dims, 0);
        assert_int_equal(t->size, 4);
        assert_null(load_find(c, "scala"));
        assert_null(load_find(c, ""));
        files_touch(c);
        load_close(c);
        buf_free(&b);
    }
    files_free(dir);
    arena_free(a);
}

static void metadata_converts_where_it_fits(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int64_t value;
    } whole[] = { { "u8", 200 },
                  { "i8", -100 },
                  { "u16", 60000 },
                  { "i16", -30000 },
                  { "u32", 4000000000 },
                  { "i32", -2000000000 },
                  { "u64", (int64_t)1 << 62 },
                  { "i64", -5 } };
    Arena *a = arena_new(0);
    const char *dir = files_new(a);
    Buf b = { 0 };
    int64_t v;
    double x;
    bool yes;
    Str s;
    good(&b, 3);
    Checkpoint *c = files_open(files_put(a, dir, "good.gguf", buf_view(&b)));
    for (size_t i = 0; i < COUNT(whole); i++) {
        const Meta *m = load_meta_find(c, whole[i].key);
        assert_true(load_meta_i64(m, 0, &v) && v == whole[i].value);
        assert_true(load_meta_f64(m, 0, &x) && x == (double)whole[i].value);
        assert_false(load_meta_i64(m, 1, &v));
        assert_false(load_meta_bool(m, 0, &yes));
        assert_false(load_meta_str(m, 0, &s));
    }
    assert_false(load_meta_i64(load_meta_find(c, "huge"), 0, &v));
    assert_false(load_meta_i64(load_meta_find(c, "f32"), 0, &v));
    assert_true(load_meta_f64(load_meta_find(c, "f32"), 0, &x) && x == (double)1e-5f);
    assert_true(load_meta_f64(load_meta_find(c, "f64"), 0, &x) && x == 2.5);
    assert_true(load_meta_bool(load_meta_find(c, "yes"), 0, &yes) && yes);
    assert_true(load_meta_bool(load_meta_find(c, "no"), 0, &yes) && !yes);
    assert_true(load_meta_i64(load_meta_find(c, "ints"), 1, &v) && v == -2);
    assert_false(load_meta_i64(load_meta_find(c, "ints"), 3, &v));
    assert_true(load_meta_f64(load_meta_find(c, "floats"), 1, &x) && x == -1.25);
    assert_true(load_meta_str(load_meta_find(c, "general.architecture"), 0, &s) && str_is(s, "llama"));
    assert_false(load_meta_i64(load_meta_find(c, "words"), 0, &v));
    assert_null(load_meta_find(c, "nothing"));
    assert_false(load_meta_i64(NULL, 0, &v) || load_meta_str(NULL, 0, &s) || load_meta_bool(NULL, 0, &yes));
    assert_null(load_side_file(c, "config.json").p);
    load_close(c);
    buf_free(&b);
    files_free(dir);
    arena_free(a);
}

static void string_arrays_are_walked(void **state)
{
    (void)state;
    static const char *words[] = { "one", "", "three" };
    Arena *a = arena_new(0);
    const char *dir = files_new(a);
    Buf b = { 0 };
    Str s;
    size_t pos = 0, n = 0;
    good(&b, 3);
    Checkpoint *c = files_open(files_put(a, dir, "good.gguf", buf_view(&b)));
    const Meta *m = load_meta_find(c, "words");
    assert_int_equal(m->type, META_ARRAY);
    assert_int_equal(m->elem, META_STRING);
    assert_int_equal(m->count, 3);
    while (load_meta_next_str(m, &pos, &s)) assert_true(str_is(s, words[n++]));
    assert_int_equal(n, 3);
    for (size_t i = 0; i < 3; i++) assert_true(load_meta_str(m, i, &s) && str_is(s, words[i]));
    assert_false(load_meta_str(m, 3, &s));
    pos = 0;
    assert_false(load_meta_next_str(load_meta_find(c, "none"), &pos, &s));
    pos = 0;
    assert_false(load_meta_next_str(load_meta_find(c, "ints"), &pos, &s));
    load_close(c);
    buf_free(&b);
    files_free(dir);
    arena_free(a);
}

static void many_tensors_are_found(void **state)
{
    (void)state;
    enum { N = 20000 };
    Arena *a = arena_new(0);
    const char *dir = files_new(a);
    Buf b = { 0 };
    char name[32];
    gguf_head(&b, 3, N, 0);
    for (uint32_t i = 0; i < N; i++) {
        snprintf(name, sizeof name, "blk.%u.w", i);
        gguf_tensor(&b, name, 8, 0, F32, i * 32u);
    }
    put_pad(&b, 32);
    put_bytes(&b, N * 32);
    Checkpoint *c = files_open(files_put(a, dir, "many.gguf", buf_view(&b)));
    for (uint32_t i = 0; i < N; i++) {
        snprintf(name, sizeof name, "blk.%u.w", i);
        assert_ptr_equal(load_find(c, name), load_tensor(c, i));
    }
    load_close(c);
    buf_free(&b);
    files_free(dir);
    arena_free(a);
}

/* ---- damage ---- */

static void every_cut_is_refused(void **state)
{
    (void)state;
    Arena *a = arena_new(0);
    const char *dir = files_new(a);
    Buf b = { 0 };
    good(&b, 3);
    for (size_t n = 0; n < b.n; n++) {
        Err err = { 0 };
        Checkpoint *c;
        const char *path = files_put(a, dir, "cut.gguf", (Str){ b.p, n });
        if (load_open(path, plain, &c, &err) == OK) fail_msg("read though cut at %zu of %zu", n, b.n);
        assert_non_null(strstr(err.text, "cut.gguf: "));
    }
    buf_free(&b);
    files_free(dir);
    arena_free(a);
}

static void flipped_bits_never_crash(void **state)
{
    (void)state;
    Arena *a = arena_new(0);
    const char *dir = files_new(a);
    Buf b = { 0 };
    int refused = 0;
    good(&b, 3);
    for (size_t i = 0; i < b.n * 8; i++) {
        Err err = { 0 };
        Checkpoint *c;
        b.p[i / 8] = (char)(b.p[i / 8] ^ 1 << i % 8);
        const char *path = files_put(a, dir, "flip.gguf", buf_view(&b));
        if (load_open(path, plain, &c, &err) == OK) {
            files_touch(c);
        } else {
            refused++;
            assert_true(err.text[0] != 0);
        }
        load_close(c);
        b.p[i / 8] = (char)(b.p[i / 8] ^ 1 << i % 8);
    }
    assert_true(refused > 1000); /* most of the header's bits matter */
    buf_free(&b);
    files_free(dir);
    arena_free(a);
}

/* ---- lies ---- */

static void wrong_magic(Buf *b)
{
    buf_str(b, STR("GGUX\3\0\0\0"));
    put_bytes(b, 64);
}

static void big_endian(Buf *b)
{
    gguf_head(b, 3u << 24, 0, 0);
}

static void version_1(Buf *b)
{
    gguf_head(b, 1, 0, 0);
}

static void version_9(Buf *b)
{
    gguf_head(b, 9, 0, 0);
}

static void endless_metas(Buf *b)
{
    gguf_head(b, 3, 0, UINT64_MAX);
    put_bytes(b, 19);
}

static void endless_tensors(Buf *b)
{
    gguf_head(b, 3, 1ull << 60, 0);
    put_bytes(b, 100);
}

static void too_many_metas(Buf *b)
{
    gguf_head(b, 3, 0, 70000);
    put_bytes(b, 70000 * 20);
}

static void key_past_end(Buf *b)
{
    gguf_head(b, 3, 0, 1);
    put_u64(b, UINT64_MAX - 3);
    put_bytes(b, 30);
}

static void empty_key(Buf *b)
{
    gguf_head(b, 3, 0, 1);
    gguf_u32(b, "", 1);
    put_bytes(b, 30);
}

static void string_past_end(Buf *b)
{
    gguf_head(b, 3, 0, 1);
    gguf_key(b, "general.name", META_STRING);
    put_u64(b, 1ull << 40);
    put_bytes(b, 30);
}

static void unknown_meta_type(Buf *b)
{
    gguf_head(b, 3, 0, 1);
    gguf_key(b, "odd\nkey", 13);
    put_bytes(b, 30);
}

static void twice_the_key(Buf *b)
{
    gguf_head(b, 3, 0, 2);
    gguf_u32(b, "a.b", 1);
    gguf_u32(b, "a.b", 1);
}

static void array_too_long(Buf *b)
{
    gguf_head(b, 3, 0, 1);
    gguf_array(b, "tokenizer.ggml.scores", META_F32, 1ull << 62);
    put_bytes(b, 30);
}

static void array_of_strings_cut(Buf *b)
{
    gguf_head(b, 3, 0, 1);
    gguf_array(b, "tokenizer.ggml.tokens", META_STRING, 2);
    put_str(b, "fine");
    put_u64(b, 100);
    put_bytes(b, 30);
}

static void array_of_arrays(Buf *b)
{
    gguf_head(b, 3, 0, 1);
    gguf_array(b, "deep", META_ARRAY, 1);
    put_bytes(b, 30);
}

static void array_of_unknown(Buf *b)
{
    gguf_head(b, 3, 0, 1);
    gguf_array(b, "odd", 77, 1);
    put_bytes(b, 30);
}

static void alignment_of(Buf *b, uint32_t alignment)
{
    gguf_head(b, 3, 1, 1);
    gguf_u32(b, "general.alignment", alignment);
    gguf_tensor(b, "w", 8, 0, F32, 0);
    put_bytes(b, 300);
}

static void alignment_0(Buf *b)
{
    alignment_of(b, 0);
}

static void alignment_odd(Buf *b)
{
    alignment_of(b, 48);
}

static void alignment_huge(Buf *b)
{
    alignment_of(b, 1u << 31);
}

static void alignment_text(Buf *b)
{
    gguf_head(b, 3, 0, 1);
    gguf_key(b, "general.alignment", META_STRING);
    put_str(b, "32");
}

/* One tensor with the given entry, and data. */
static void one_tensor(Buf *b, const char *name, uint64_t fast, uint64_t slow, uint32_t type, uint64_t offset)
{
    gguf_head(b, 3, 1, 0);
    gguf_tensor(b, name, fast, slow, type, offset);
    put_pad(b, 32);
    put_bytes(b, 1024);
}

static void name_empty(Buf *b)
{
    one_tensor(b, "", 8, 0, F32, 0);
}

static void name_long(Buf *b)
{
    char name[400];
    memset(name, 'x', sizeof name);
    name[399] = 0;
    one_tensor(b, name, 8, 0, F32, 0);
}

static void dims_overflow(Buf *b)
{
    one_tensor(b, "w", 1ull << 32, 1ull << 32, F32, 0);
}

static void dims_wrap_small(Buf *b)
{
    one_tensor(b, "w", (1ull << 63) + 4, 2, F32, 0); /* the product wraps round to 8 */
}

static void size_overflow(Buf *b)
{
    one_tensor(b, "w", 1ull << 62, 0, F32, 0);
}

static void dim_zero(Buf *b)
{
    gguf_head(b, 3, 1, 0);
    put_str(b, "w");
    put_u32(b, 2);
    put_u64(b, 0);
    put_u64(b, 8);
    put_u32(b, F32);
    put_u64(b, 0);
    put_bytes(b, 300);
}

static void many_dims(Buf *b)
{
    gguf_head(b, 3, 1, 0);
    put_str(b, "w");
    put_u32(b, UINT32_MAX);
    put_bytes(b, 300);
}

static void ragged_block(Buf *b)
{
    one_tensor(b, "w", 128, 2, Q4_K, 0); /* 256 elements in all, but rows are cut */
}

static void unread_type(Buf *b)
{
    one_tensor(b, "blk.0.ffn_up.weight", 256, 0, 16, 0);
}

static void unknown_type(Buf *b)
{
    one_tensor(b, "w", 256, 0, 1000, 0);
}

static void offset_odd(Buf *b)
{
    one_tensor(b, "w", 8, 0, F32, 4);
}

static void offset_past_end(Buf *b)
{
    one_tensor(b, "w", 8, 0, F32, UINT64_MAX - 31);
}

static void data_past_end(Buf *b)
{
    one_tensor(b, "w", 9, 0, F32, 1024 - 32);
}

static void overlap(Buf *b)
{
    gguf_head(b, 3, 2, 0);
    gguf_tensor(b, "a", 16, 0, F32, 0);
    gguf_tensor(b, "b", 16, 0, F32, 32);
    put_pad(b, 32);
    put_bytes(b, 1024);
}

static void twice_the_tensor(Buf *b)
{
    gguf_head(b, 3, 2, 0);
    gguf_tensor(b, "a", 8, 0, F32, 0);
    gguf_tensor(b, "a", 8, 0, F32, 32);
    put_pad(b, 32);
    put_bytes(b, 1024);
}

static void lies_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        void (*make)(Buf *);
        Status status;
        const char *why;
    } lies[] = {
        { wrong_magic, E_CORRUPT, "not a GGUF file" },
        { big_endian, E_UNSUPPORTED, "big-endian" },
        { version_1, E_UNSUPPORTED, "version 1" },
        { version_9, E_UNSUPPORTED, "version 9" },
        { endless_metas, E_CORRUPT, "18446744073709551615 metadata keys" },
        { endless_tensors, E_CORRUPT, "tensors, more than the file holds" },
        { too_many_metas, E_CORRUPT, "70000 metadata keys" },
        { key_past_end, E_CORRUPT, "ends inside a metadata key" },
        { empty_key, E_CORRUPT, "a metadata key of 0 bytes" },
        { string_past_end, E_CORRUPT, "key general.name: its string ends past the file" },
        { unknown_meta_type, E_CORRUPT, "key odd?key: unknown type 13" },
        { twice_the_key, E_CORRUPT, "key a.b is there twice" },
        { array_too_long, E_CORRUPT, "key tokenizer.ggml.scores: promises 4611686018427387904 elements" },
        { array_of_strings_cut, E_CORRUPT, "key tokenizer.ggml.tokens: string 1 ends past the file" },
        { array_of_arrays, E_UNSUPPORTED, "key deep: an array of arrays" },
        { array_of_unknown, E_CORRUPT, "key odd: array of unknown type 77" },
        { alignment_0, E_CORRUPT, "general.alignment: 0 is not a power of two" },
        { alignment_odd, E_CORRUPT, "general.alignment: 48 is not a power of two" },
        { alignment_huge, E_CORRUPT, "general.alignment: 2147483648 is not in" },
        { alignment_text, E_CORRUPT, "general.alignment: not a whole number" },
        { name_empty, E_CORRUPT, "a tensor's name of 0 bytes" },
        { name_long, E_CORRUPT, "a tensor's name of 399 bytes" },
        { dims_overflow, E_CORRUPT, "tensor w: its dimensions multiply past" },
        { dims_wrap_small, E_CORRUPT, "tensor w: its dimensions multiply past" },
        { size_overflow, E_CORRUPT, "tensor w: its size overflows" },
        { dim_zero, E_CORRUPT, "tensor w: a dimension is 0" },
        { many_dims, E_CORRUPT, "tensor w: 4294967295 dimensions" },
        { ragged_block, E_CORRUPT, "tensor w: rows of 128 elements are no multiple of Q4_K's block of 256" },
        { unread_type, E_UNSUPPORTED, "tensor blk.0.ffn_up.weight: format IQ2_XXS is not read" },
        { unknown_type, E_CORRUPT, "tensor w: unknown format 1000" },
        { offset_odd, E_CORRUPT, "tensor w: offset 4 is no multiple of the alignment 32" },
        { offset_past_end, E_CORRUPT, "tensor w: ends past the file" },
        { data_past_end, E_CORRUPT, "tensor w: ends past the file: 36 bytes at 992, but 1024 bytes" },
        { overlap, E_CORRUPT, "tensor b: overlaps the tensor before it" },
        { twice_the_tensor, E_CORRUPT, "tensor a is there twice" },
    };
    Arena *a = arena_new(0);
    const char *dir = files_new(a);
    for (size_t i = 0; i < COUNT(lies); i++) {
        Buf b = { 0 };
        lies[i].make(&b);
        files_refused(files_put(a, dir, "lie.gguf", buf_view(&b)), plain, lies[i].status, lies[i].why);
        buf_free(&b);
    }
    files_free(dir);
    arena_free(a);
}

/* ---- split files ---- */

/* Writes part no of count with the tensor name in it. */
static const char *put_part(Arena *a, const char *dir, int named, uint16_t no, uint16_t count, const char *tensor)
{
    Buf b = { 0 };
    char name[64];
    gguf_head(&b, 3, 1, no == 0 ? 4 : 3);
    gguf_meta(&b, "split.no", META_U16, &no, 2);
    gguf_meta(&b, "split.count", META_U16, &count, 2);
    gguf_meta(&b, "split.tensors.count", META_I32, &(int32_t){ 3 }, 4);
    if (no == 0) gguf_u32(&b, "llama.block_count", 7);
    gguf_tensor(&b, tensor, 8, 0, F32, 0);
    put_pad(&b, 32);
    put_bytes(&b, 32);
    snprintf(name, sizeof name, "big-%05d-of-%05d.gguf", named, count);
    const char *path = files_put(a, dir, name, buf_view(&b));
    buf_free(&b);
    return path;
}

static void parts_are_joined(void **state)
{
    (void)state;
    Arena *a = arena_new(0);
    const char *dir = files_new(a);
    const char *paths[3];
    static const char *names[] = { "a", "b", "c" };
    for (int i = 0; i < 3; i++) paths[i] = put_part(a, dir, i + 1, (uint16_t)i, 3, names[i]);
    for (int i = 0; i < 3; i++) { /* any of them stands for all */
        int64_t v;
        Checkpoint *c = files_open(paths[i]);
        assert_int_equal(load_n_tensors(c), 3);
        for (int k = 0; k < 3; k++) assert_ptr_equal(load_find(c, names[k]), load_tensor(c, (size_t)k));
        assert_true(load_meta_i64(load_meta_find(c, "llama.block_count"), 0, &v) && v == 7);
        files_touch(c);
        load_close(c);
    }
    files_free(dir);
    arena_free(a);
}

static void parts_must_agree(void **state)
{
    (void)state;
    Arena *a = arena_new(0);
    const char *dir = files_new(a);
    const char *first = put_part(a, dir, 1, 0, 3, "a");
    put_part(a, dir, 2, 1, 3, "b");
    files_refused(first, plain, E_NOT_FOUND, "big-00003-of-00003.gguf: part 3 of 3 is missing");
    put_part(a, dir, 3, 1, 3, "c");
    files_refused(first, plain, E_CORRUPT, "says that it is part 2 of 3, but its name says 3 of 3");
    put_part(a, dir, 3, 2, 3, "a");
    files_refused(first, plain, E_CORRUPT, "tensor a is there twice");
    Buf b = { 0 };
    gguf_head(&b, 3, 0, 3);
    gguf_u32(&b, "split.no", 2);
    gguf_u32(&b, "split.count", 3);
    gguf_u32(&b, "split.tensors.count", 3);
    files_put(a, dir, "big-00003-of-00003.gguf", buf_view(&b));
    files_refused(first, plain, E_CORRUPT, "its parts hold 2 tensors, but split.tensors.count says 3");
    files_refused(files_put(a, dir, "renamed.gguf", buf_view(&b)), plain, E_INVALID,
                  "its name does not end in -00001-of-00003.gguf");
    buf_free(&b);
    gguf_head(&b, 3, 0, 1);
    gguf_u32(&b, "split.count", 60000);
    files_refused(files_put(a, dir, "x-00001-of-60000.gguf", buf_view(&b)), plain, E_CORRUPT,
                  "split.count: 60000 is not in");
    buf_free(&b);
    files_free(dir);
    arena_free(a);
}

/* A vocabulary alone has no tensors, and its file may end before the data would begin. */
static void a_vocabulary_alone_is_read(void **state)
{
    (void)state;
    Arena *a = arena_new(0);
    const char *dir = files_new(a);
    Buf b = { 0 };
    gguf_head(&b, 3, 0, 1);
    gguf_u32(&b, "x", 1);
    Checkpoint *c = files_open(files_put(a, dir, "vocab.gguf", buf_view(&b)));
    assert_int_equal(load_n_tensors(c), 0);
    assert_null(load_find(c, "x"));
    load_close(c);
    buf_free(&b);
    files_free(dir);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_is_read),      cmocka_unit_test(metadata_converts_where_it_fits),
        cmocka_unit_test(string_arrays_are_walked), cmocka_unit_test(many_tensors_are_found),
        cmocka_unit_test(every_cut_is_refused),     cmocka_unit_test(flipped_bits_never_crash),
        cmocka_unit_test(lies_are_refused_by_name), cmocka_unit_test(parts_are_joined),
        cmocka_unit_test(parts_must_agree),         cmocka_unit_test(a_vocabulary_alone_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
