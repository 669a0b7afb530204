/* bench_list.h - lists of requests for the measuring commands. */
#ifndef CLI_BENCH_LIST_H
#define CLI_BENCH_LIST_H

#include "base/base.h"

/* One request of a list. */
typedef struct {
    int input, output; /* tokens, >= 1 */
} BenchLength;

/* Reads lines of input_tokens<TAB>output_tokens, at most max (0: all), into memory of a. How many there are; 0 or less after
 * printing what is wrong. */
int bench_list_read(Arena *a, const char *path, int max, BenchLength **out);

#endif
