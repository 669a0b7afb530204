/* test_fit.c - KV pages that fit, and the sentence when they do not. */
#include "radish/fit.h"
#include "test.h"

static const size_t GB = 1000000000;

static FitInput eight_b(void)
{
    return (FitInput){ .free_bytes = 150 * GB,
                       .weight_bytes = 16 * GB,
                       .act_bytes = 1 * GB,
                       .work_bytes = GB / 2,
                       .page_bytes = 2 << 20,
                       .page_tokens = 16,
                       .share = 0.9,
                       .enough_tokens = INT32_MAX,
                       .context = 8192,
                       .max_seqs = 1024 };
}

static void refuses(const FitInput *in, const char *part)
{
    Err err = { 0 };
    int n = -7;
    assert_int_equal(fit_pages(in, &n, &err), E_LIMIT);
    if (!strstr(err.text, part)) fail_msg("\"%s\" lacks \"%s\"", err.text, part);
    assert_int_equal(n, -7);
}

static void test_what_fits(void **state)
{
    (void)state;
    Err err = { 0 };
    int n;
    FitInput in = eight_b();
    assert_int_equal(fit_pages(&in, &n, &err), OK);
    assert_int_equal(n, (int)(117.5e9 / (2 << 20)));
    in.enough_tokens = 65536;
    assert_int_equal(fit_pages(&in, &n, &err), OK);
    assert_int_equal(n, 65536 / 16);
    in.want_tokens = 1000000; /* more than our share, less than there is */
    assert_int_equal(fit_pages(&in, &n, &err), OK);
    assert_int_equal(n, 1000000 / 16);
    in.free_bytes = SIZE_MAX / 4;
    in.want_tokens = 0;
    in.enough_tokens = INT64_MAX;
    assert_int_equal(fit_pages(&in, &n, &err), OK);
    assert_int_equal(n, 1 << 26);
}

static void test_what_does_not(void **state)
{
    (void)state;
    FitInput in = eight_b();
    in.free_bytes = 12 * GB;
    refuses(
        &in,
        "weights 16.00 GB, activations 1.00 GB for this batch and work space 0.50 GB are 17.50 GB, 12.00 GB are free");
    in = eight_b();
    in.free_bytes = 19 * GB; /* 1.5 GB are left, but 0.9 of 19 GB is less than the rest */
    refuses(&in, "raise --mem-fraction");
    in.want_tokens = 20000;
    refuses(&in, "715 pages, 11440 tokens fit, as one context or 11 requests of 1000 tokens");
    in.want_tokens = 17;
    refuses(&in, "at least 64");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_what_fits), cmocka_unit_test(test_what_does_not) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
