/* test.h - cmocka, with the headers that it wants before itself. Include it after Radish's own headers: cmocka has a macro `fail`. */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
/* clang-format on */

/* True where a token of the real model costs a second: under the thread sanitizer, or emulated. Such runs do the same with less of it. */
static inline int test_is_slow(void)
{
    const char *preset = getenv("RADISH_PRESET");
    return preset && (!strcmp(preset, "tsan") || !strcmp(preset, "aarch64"));
}

#endif
