/* test_file.c - mapped files: what was dropped from memory comes back as it was. */
/* cmocka.h wants these four first, and its fail() must not meet ours. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/file.h"

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
/* clang-format on */

enum { BYTES = 100 * 1000 + 7 };

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 131 >> 3);
}

static int pages_in_memory(const FileMap *m)
{
    unsigned char in[BYTES / 4096 + 2] = { 0 };
    long page = sysconf(_SC_PAGESIZE);
    int n = 0;
    assert_true(page >= 4096);
    assert_int_equal(mincore((void *)(uintptr_t)m->p, m->n, in), 0);
    for (size_t i = 0; i < sizeof in; i++) n += in[i] & 1;
    return n;
}

static void dropped_pages_come_back(void **state)
{
    (void)state;
    char path[] = "/tmp/radish-file-XXXXXX";
    int fd = mkstemp(path);
    uint8_t *bytes = malloc(BYTES);
    assert_true(fd >= 0);
    for (size_t i = 0; i < BYTES; i++) bytes[i] = byte_at(i);
    assert_int_equal(write(fd, bytes, BYTES), BYTES);
    close(fd);
    Err err;
    FileMap m;
    assert_int_equal(file_map(path, &m, &err), OK);
    const uint8_t *p = (const uint8_t *)m.p;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < BYTES; i++) assert_int_equal(p[i], byte_at(i));
        assert_true(pages_in_memory(&m) > 0);
        file_drop(p + 5, BYTES - 9 - (size_t)round * 5000);
        file_drop(p + 100, 200); /* within a page: nothing */
    }
    file_unmap(&m);
    unlink(path);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(dropped_pages_come_back) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
