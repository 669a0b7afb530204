/* test_base.c - strings, numbers, UTF-8, JSON text, arenas, queues and mailboxes. */
#include <math.h>
#include <pthread.h>

#include "base/jsonw.h"
#include "base/mailbox.h"
#include "base/queue.h"
#include "base/utf8.h"
#include "test.h"

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        double x;
        const char *want; /* Python's repr */
    } cases[] = { { 1, "1.0" },
                  { 0.1, "0.1" },
                  { 1e16, "1e+16" },
                  { 1e15, "1000000000000000.0" },
                  { 123456789.125, "123456789.125" },
                  { 1e-4, "0.0001" },
                  { 1e-5, "1e-05" },
                  { -0.5, "-0.5" },
                  { 5e-324, "5e-324" },
                  { 1.7976931348623157e308, "1.7976931348623157e+308" },
                  { 0, "0.0" },
                  { 2.5e-7, "2.5e-07" } };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[40];
        jsonw_repr(text, cases[i].x);
        assert_string_equal(text, cases[i].want);
    }
    Rng rng = { 3 };
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = rng_next(&rng);
        double x;
        char text[40];
        memcpy(&x, &bits, 8);
        if (!isfinite(x)) continue;
        jsonw_repr(text, x);
        assert_true(strtod(text, NULL) == x);
    }
    int64_t n;
    assert_true(str_to_i64(STR("-12"), &n) && n == -12);
    assert_false(str_to_i64(STR("12 "), &n) || str_to_i64(STR(""), &n) || str_to_i64(STR("9223372036854775808"), &n) ||
                 str_to_i64(STR(" 1"), &n));
}

/* The decoder against the definition: what utf8_put writes comes back, and nothing else is accepted. */
static void test_utf8(void **state)
{
    (void)state;
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        if (cp >= 0xD800 && cp < 0xE000) continue;
        char s[4];
        int len, n = utf8_put(s, cp);
        assert_int_equal(utf8_next(s, (size_t)n, 0, &len), cp);
        assert_int_equal(len, n);
        for (int cut = 1; cut < n; cut++) {
            assert_int_equal(utf8_next(s, (size_t)cut, 0, &len), -1);
            assert_int_equal(utf8_tail((Str){ s, (size_t)cut }), cut);
        }
    }
    static const char *const bad[] = { "\x80",         "\xC0\x80",         "\xC1\xBF",         "\xE0\x80\x80",
                                       "\xED\xA0\x80", "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5",
                                       "\xFF",         "a\xE2\x82z" };
    for (size_t i = 0; i < COUNT(bad); i++) assert_false(utf8_valid(str_of(bad[i])));
    Buf out = { 0 };
    utf8_repair(&out, STR("a\xE2\x82z\xFF\xC3\xA9\xF0\x9F"));
    assert_true(str_is(buf_view(&out), "a\xEF\xBF\xBDz\xEF\xBF\xBD\xC3\xA9\xEF\xBF\xBD"));
    buf_free(&out);
}

static void test_json(void **state)
{
    (void)state;
    Buf b = { 0 };
    buf_char(&b, '{');
    jsonw_key(&b, "a");
    jsonw_str(&b, STR("q\"\\\n\x01\xC3\xA9\xFF"));
    jsonw_key(&b, "b");
    jsonw_f64(&b, NAN);
    jsonw_key(&b, "c");
    jsonw_ids(&b, (int32_t[]){ 1, -2 }, 2);
    jsonw_key(&b, "d");
    jsonw_f32(&b, 0.1f);
    buf_char(&b, '}');
    assert_true(
        str_is(buf_view(&b), "{\"a\":\"q\\\"\\\\\\n\\u0001\xC3\xA9\xEF\xBF\xBD\",\"b\":null,\"c\":[1,-2],\"d\":0.1}"));
    buf_free(&b);
}

static void test_arena(void **state)
{
    (void)state;
    Arena *a = arena_new(0);
    for (int round = 0; round < 3; round++) {
        for (size_t n = 1; n < 3000; n += 7) {
            char *p = arena_alloc(a, n);
            assert_int_equal((uintptr_t)p % (n < 64 ? 16 : 64), 0);
            for (size_t i = 0; i < n; i++) assert_int_equal(p[i], 0);
            memset(p, 0xAA, n);
        }
        arena_reset(a);
    }
    char *big = arena_alloc(a, 100000); /* one block now holds a whole round */
    arena_reset(a);
    uint64_t before = mem_allocations();
    for (int i = 0; i < 100; i++) {
        big = arena_alloc(a, 90000);
        arena_reset(a);
    }
    assert_int_equal(mem_allocations(), before);
    (void)big;
    arena_free(a);
    char *p = mem_map(5 << 20);
    p[0] = p[(5 << 20) - 1] = 1;
    mem_unmap(p, 5 << 20);
}

/* Philox 4x32-10's published test vectors (Random123 kat_vectors): counter and key zero, and all ones. */
static void test_rng(void **state)
{
    (void)state;
    static const uint32_t zero[4] = { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 };
    for (int i = 0; i < 4; i++) assert_int_equal(rng_word(0, 0, i), zero[i]);
    double sum = 0, squares = 0;
    for (uint64_t c = 0; c < 100000; c++) {
        float u = rng_uniform(42, c, 0);
        assert_true(u >= 0 && u < 1);
        sum += u;
        squares += u * u;
    }
    assert_true(fabs(sum / 1e5 - 0.5) < 0.005 && fabs(squares / 1e5 - 1.0 / 3) < 0.005);
}

enum { PRODUCERS = 3, EACH = 20000 };

static void *produce(void *arg)
{
    Queue *q = arg;
    for (uintptr_t i = 1; i <= EACH; i++) queue_push_wait(q, (void *)i);
    return NULL;
}

static void test_queue(void **state)
{
    (void)state;
    Queue *q = queue_new(64);
    pthread_t t[PRODUCERS];
    for (int i = 0; i < PRODUCERS; i++) pthread_create(&t[i], NULL, produce, q);
    uint64_t sum = 0, n = 0;
    while (n < PRODUCERS * EACH) {
        void *items[32];
        size_t got = queue_pop_wait(q, items, 32, -1);
        for (size_t i = 0; i < got; i++) sum += (uintptr_t)items[i];
        n += got;
    }
    for (int i = 0; i < PRODUCERS; i++) pthread_join(t[i], NULL);
    assert_int_equal(sum, (uint64_t)PRODUCERS * EACH * (EACH + 1) / 2);
    void *item;
    assert_int_equal(queue_pop_wait(q, &item, 1, 1000000), 0); /* times out */
    queue_close(q);
    assert_false(queue_push(q, &item));
    assert_int_equal(queue_pop_wait(q, &item, 1, -1), 0);
    queue_free(q);
}

static void *post(void *arg)
{
    for (int i = 0; i < EACH; i++) mailbox_put(arg, &i, sizeof i, "tail of odd length", (size_t)i % 19);
    return NULL;
}

static void test_mailbox(void **state)
{
    (void)state;
    Mailbox *m = mailbox_new();
    pthread_t t[PRODUCERS];
    for (int i = 0; i < PRODUCERS; i++) pthread_create(&t[i], NULL, post, m);
    int64_t n = 0, sum = 0;
    while (n < PRODUCERS * EACH && mailbox_wait(m)) {
        size_t size;
        for (const int *r; (r = mailbox_next(m, &size)); n++) {
            assert_int_equal(size, sizeof(int) + (size_t)*r % 19);
            assert_memory_equal(r + 1, "tail of odd length", (size_t)*r % 19);
            sum += *r;
        }
    }
    for (int i = 0; i < PRODUCERS; i++) pthread_join(t[i], NULL);
    assert_int_equal(sum, (int64_t)PRODUCERS * EACH * (EACH - 1) / 2);
    mailbox_close(m);
    assert_false(mailbox_wait(m));
    mailbox_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_numbers), cmocka_unit_test(test_utf8),
                                        cmocka_unit_test(test_json),    cmocka_unit_test(test_arena),
                                        cmocka_unit_test(test_rng),     cmocka_unit_test(test_queue),
                                        cmocka_unit_test(test_mailbox) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
