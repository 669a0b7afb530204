/* bench_grammar.c - `radish bench grammar -m TOKENIZER FOLDER`: every schema of a folder of MaskBench files is compiled, its instances
 * are held against it token by token, and the times are printed as a distribution. One thread; needs no weights.
 *
 * A file is a JSON object with `schema` (or `structural_tag`) and `tests`, each of them with `data` (or `text`, a string as it
 * is) and `valid`. compile is compiling and the first mask; mask is a mask and the acceptance of its token. A file passes
 * if it compiles, its valid instances are accepted to the end and its invalid ones are not. */
#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "cli/bench.h"
#include "cli/grammar_run.h"

enum { FILE_MAX = 64 << 20, PATH_SIZE = 4096, MAX_REASONS = 64, SHOWN_REASONS = 12 };

typedef struct {
    char text[160];
    int n;
} Reason;

typedef struct {
    const Tokenizer *t;
    GrammarVocab *v;
    GrammarRun masks;
    double *compile_us, *bytes;
    size_t n_compiled, cap;
    int files, passed, refused, valid_refused, invalid_accepted, failed_masks;
    int n_valid, n_invalid;
    Reason reason[MAX_REASONS];
    int n_reasons;
} Bench;

static void count_reason(Bench *b, const char *text)
{
    for (int i = 0; i < b->n_reasons; i++) {
        if (strncmp(b->reason[i].text, text, sizeof b->reason[i].text - 1) != 0) continue;
        b->reason[i].n++;
        return;
    }
    if (b->n_reasons == MAX_REASONS) return;
    snprintf(b->reason[b->n_reasons].text, sizeof b->reason->text, "%.159s", text);
    b->reason[b->n_reasons++].n = 1;
}

/* Compiled, with the first mask made; NULL: refused, and counted so. */
static Grammar *compile(Bench *b, Str file)
{
    Str tag = grammar_run_member(file, "structural_tag");
    GrammarSpec spec = { .kind = GRAMMAR_JSON_SCHEMA, .text = grammar_run_member(file, "schema") };
    if (tag.n) spec = (GrammarSpec){ .kind = GRAMMAR_STRUCTURAL_TAG, .text = tag };
    GrammarError err;
    Grammar *g;
    int64_t began = clock_ns();
    if (grammar_compile(b->v, &spec, NULL, NULL, &g, &err) != OK) {
        b->refused++;
        count_reason(b, err.err.text);
        return NULL;
    }
    grammar_run_first_mask(g);
    if (b->n_compiled == b->cap) {
        b->cap = MAX(b->cap * 2, (size_t)256);
        b->compile_us = mem_grow(b->compile_us, b->cap * sizeof *b->compile_us);
        b->bytes = mem_grow(b->bytes, b->cap * sizeof *b->bytes);
    }
    b->compile_us[b->n_compiled++] = (double)(clock_ns() - began) / 1e3;
    return g;
}

static void take_text(Str string, Buf *out)
{
    json_t *j = json_loadb(string.p, string.n, JSON_DECODE_ANY, NULL);
    if (json_is_string(j)) buf_add(out, json_string_value(j), json_string_length(j));
    json_decref(j);
}

/* One instance; false if the verdict is wrong. */
static bool run_test(Bench *b, Grammar *g, Str test, Buf *text)
{
    bool valid = str_is(grammar_run_member(test, "valid"), "true");
    Str string = grammar_run_member(test, "text");
    buf_clear(text);
    if (string.n)
        take_text(string, text);
    else
        grammar_run_compact(grammar_run_member(test, "data"), text);
    GrammarMatcher *m = grammar_matcher_new(g);
    grammar_run_text(m, b->t, buf_view(text), string.n ? TOK_SPECIALS : 0, &b->masks);
    bool failed = grammar_matcher_failed(m, NULL), right = b->masks.accepted == valid && !failed;
    grammar_matcher_free(m);
    b->failed_masks += failed;
    *(valid ? &b->n_valid : &b->n_invalid) += 1;
    b->valid_refused += valid && !b->masks.accepted;
    b->invalid_accepted += !valid && b->masks.accepted;
    return right;
}

static void run_file(Bench *b, Str file, const char *name)
{
    Str tests = grammar_run_member(file, "tests");
    Grammar *g = compile(b, file);
    Buf text = { 0 };
    bool right = g != NULL;
    b->files++;
    for (size_t i = 1; g && i < tests.n;) {
        size_t end = grammar_run_value(tests, i);
        if (end == SIZE_MAX) break;
        if (!run_test(b, g, str_trim(str_cut(tests, i, end)), &text)) {
            if (right) printf("wrong: %s\n", name);
            right = false;
        }
        for (i = end; i < tests.n && tests.p[i] != ',';) i++;
        i++;
    }
    if (g) b->bytes[b->n_compiled - 1] = (double)grammar_memory(g);
    b->passed += right;
    grammar_drop(g);
    buf_free(&text);
}

static int by_value(const void *p, const void *q)
{
    double a = *(const double *)p, b = *(const double *)q;
    return (a > b) - (a < b);
}

static void print_row(const char *what, double *x, size_t n)
{
    static const double at[] = { 0.5, 0.9, 0.95, 0.99, 0.999 };
    double sum = 0;
    if (n == 0) return;
    qsort(x, n, sizeof *x, by_value);
    for (size_t i = 0; i < n; i++) sum += x[i];
    printf("%-22s %8zu %9.2f", what, n, sum / (double)n);
    for (size_t i = 0; i < COUNT(at); i++) printf(" %9.2f", x[MIN((size_t)((double)n * at[i]), n - 1)]);
    printf(" %10.1f\n", x[n - 1]);
}

static int by_count(const void *p, const void *q)
{
    return ((const Reason *)q)->n - ((const Reason *)p)->n;
}

static void print_result(Bench *b, double vocab_ms)
{
    int tests = b->n_valid + b->n_invalid;
    printf("vocabulary: %d tokens, made in %.1f ms, %.1f MB\n", grammar_vocab_size(b->v), vocab_ms,
           (double)grammar_vocab_memory(b->v) / 1e6);
    printf("%d files, %d pass (%.1f %%), %d refused when compiled\n", b->files, b->passed,
           b->files ? 100.0 * b->passed / b->files : 0.0, b->refused);
    printf("%d instances: %d valid ones refused, %d invalid ones accepted, %d ended by a limit\n", tests,
           b->valid_refused, b->invalid_accepted, b->failed_masks);
    printf("%-22s %8s %9s %9s %9s %9s %9s %9s %10s\n", "", "n", "mean", "p50", "p90", "p95", "p99", "p99.9", "max");
    print_row("mask us", b->masks.us, b->masks.n);
    print_row("compile + mask us", b->compile_us, b->n_compiled);
    print_row("grammar bytes", b->bytes, b->n_compiled);
    qsort(b->reason, (size_t)b->n_reasons, sizeof *b->reason, by_count);
    for (int i = 0; i < MIN(b->n_reasons, SHOWN_REASONS); i++)
        printf("refused %4d: %s\n", b->reason[i].n, b->reason[i].text);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_json(const struct dirent *e)
{
    return str_ends(str_of(e->d_name), STR(".json"));
}

static bool run_folder(Bench *b, const char *folder)
{
    struct dirent **names;
    int n = scandir(folder, &names, is_json, by_name);
    if (n <= 0) {
        fprintf(stderr, "radish: no .json files in %s\n", folder);
        return false;
    }
    for (int i = 0; i < n; i++) {
        char path[PATH_SIZE];
        Arena *a = arena_new(0);
        Str text;
        Err err;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        if (file_read(a, path, FILE_MAX, &text, &err) == OK)
            run_file(b, text, names[i]->d_name);
        else
            fprintf(stderr, "radish: %s\n", err.text);
        arena_free(a);
        free(names[i]); /* NOLINT: scandir's own */
    }
    free(names); /* NOLINT: scandir's own */
    return true;
}

int bench_grammar(const Options *o)
{
    const char *path = o->radish.tokenizer_path ? o->radish.tokenizer_path : o->radish.model_path;
    Bench b = { 0 };
    Tokenizer *t;
    double vocab_ms;
    if (!path || o->n_args < 2) {
        fprintf(stderr, "radish: usage: radish bench grammar -m TOKENIZER FOLDER\n");
        return 1;
    }
    if (!grammar_run_open(path, &t, &b.v, &vocab_ms)) return 1;
    b.t = t;
    bool good = run_folder(&b, o->arg[1]);
    if (good) print_result(&b, vocab_ms);
    mem_free(b.masks.us);
    mem_free(b.compile_us);
    mem_free(b.bytes);
    grammar_vocab_drop(b.v);
    tok_close(t);
    return good ? 0 : 1;
}
