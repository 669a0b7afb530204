/* bench_list.c - reads a list of requests: a line each, input_tokens<TAB>output_tokens. */
#include "cli/bench_list.h"

#include <stdio.h>

#include "base/file.h"

enum { REQUESTS_MAX = 60000, FILE_MAX = 8 << 20, TOKENS_MAX = 1 << 24 };

static bool next_number(Str text, size_t *at, int *out)
{
    size_t begin = *at;
    while (*at < text.n && text.p[*at] >= '0' && text.p[*at] <= '9') (*at)++;
    int64_t x;
    if (!str_to_i64(str_cut(text, begin, *at), &x) || x < 1 || x > TOKENS_MAX) return false;
    *out = (int)x;
    return true;
}

int bench_list_read(Arena *a, const char *path, int max, BenchLength **out)
{
    Err err;
    Str text;
    if (file_read(a, path, FILE_MAX, &text, &err) != OK) {
        fprintf(stderr, "radish: %s\n", err.text);
        return -1;
    }
    *out = ARENA_NEW(a, BenchLength, REQUESTS_MAX);
    int n = 0;
    for (size_t at = 0; at < text.n && n < REQUESTS_MAX && (max <= 0 || n < max);) {
        BenchLength *l = &(*out)[n];
        bool good = next_number(text, &at, &l->input) && at < text.n && text.p[at++] == '\t' &&
                    next_number(text, &at, &l->output);
        while (good && at < text.n && text.p[at] == '\r') at++;
        if (!good || (at < text.n && text.p[at] != '\n')) {
            fprintf(stderr, "radish: %s line %d: needs input_tokens<TAB>output_tokens\n", path, n + 1);
            return -1;
        }
        at++;
        n++;
    }
    if (n == 0) fprintf(stderr, "radish: %s is empty\n", path);
    return n;
}
