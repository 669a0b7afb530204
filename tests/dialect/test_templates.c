/* test_templates.c - with RADISH_CORPUS: what real templates make of earlier calls is read back as those calls.
 *
 * The templates' makers wrote there how their models write, so this holds the descriptions against them. A rendered prompt is
 * parsed as if it were an output: the calls of its messages must come out, in order (instructions may hold examples that
 * come out too). */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "dialect/dialect.h"

#include <cmocka.h>
#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
/* clang-format on */

#include "base/file.h"

typedef struct {
    json_t *list; /* of [name, arguments] */
    Buf args;
    char name[300];
} Heard;

static void hear(void *ctx, const DialectEvent *e)
{
    Heard *h = ctx;
    if (e->kind == DIALECT_CALL) {
        buf_clear(&h->args);
        snprintf(h->name, sizeof h->name, "%.*s", STR_FMT(e->name));
    } else if (e->kind == DIALECT_ARGUMENTS) {
        buf_str(&h->args, e->text);
    } else if (e->kind == DIALECT_CALL_END) {
        json_t *x = json_loadb(h->args.p, h->args.n, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
        json_array_append_new(h->list, json_pack("[so]", h->name, x ? x : json_null()));
    }
}

/* What these templates write is no dialect's, or no output's. */
static const char *const excused[][2] = {
    { "mistral-common--v2", "" }, /* quotes come out as &#34; */
    { "mistral-common--v3", "" },
    { "mistral-common--v7", "" },
    { "LFM2-8B-A1B", "" }, /* leaves calls out */
    { "DeepSeek-R1-Distill-Llama-8B", "" },
    { "Llama-3", "tool_result_no_tools" },     /* without a mark a tool must be known */
    { "gpt-oss-120b", "tool_calls_parallel" }, /* the template shows the first call only */
};

static bool is_excused(const char *file, const char *name)
{
    for (size_t i = 0; i < COUNT(excused); i++)
        if (strstr(file, excused[i][0]) && strstr(name, excused[i][1])) return true;
    return false;
}

/* The calls of a case's messages, as [name, arguments]. */
static json_t *wanted(const json_t *c)
{
    json_t *out = json_array(), *m, *call;
    size_t i, k;
    json_array_foreach(json_object_get(c, "messages"), i, m)
    {
        json_array_foreach(json_object_get(m, "tool_calls"), k, call)
        {
            json_t *f = json_object_get(call, "function"), *of = f ? f : call;
            json_t *args = json_object_get(of, "arguments"), *name = json_object_get(of, "name");
            if (json_is_string(name) && json_is_object(args)) json_array_append_new(out, json_pack("[OO]", name, args));
        }
    }
    return out;
}

static bool alike_value(const json_t *v, const json_t *g);

/* Equal; where the tool is unknown a dialect that does not tell types gives text. */
static bool alike(const json_t *want, const json_t *got)
{
    const char *key;
    json_t *v;
    if (!json_is_object(got) || json_object_size(got) != json_object_size(want)) return false;
    json_object_foreach((json_t *)(uintptr_t)want, key, v)
    {
        if (!alike_value(v, json_object_get(got, key))) return false;
    }
    return true;
}

static bool alike_value(const json_t *v, const json_t *g)
{
    if (json_is_object(v) && json_is_object(g)) return alike(v, g);
    if (json_is_number(v) && json_is_number(g)) return json_number_value(v) == json_number_value(g);
    if (json_is_array(v) && json_is_array(g)) {
        bool same = json_array_size(v) == json_array_size(g);
        for (size_t i = 0; same && i < json_array_size(v); i++)
            same = alike_value(json_array_get(v, i), json_array_get(g, i));
        return same;
    }
    return json_equal(v, g) || (g && json_is_string(g) && !json_is_string(v));
}

/* Calls without a mark begin an answer: the prompt is taken from the first call on. */
static Str answer_part(const Dialect *d, Str output, const json_t *want)
{
    char text[400];
    if (strcmp(dialect_name(d), "llama3") != 0) return output;
    snprintf(text, sizeof text, "{\"name\": \"%s\"", json_string_value(json_array_get(json_array_get(want, 0), 0)));
    size_t at = str_find(output, str_of(text), 0);
    return at == SIZE_MAX ? output : str_cut(output, at, output.n);
}

static DialectTools *tools_of(const json_t *c)
{
    DialectTools *t = NULL;
    char *text = json_dumps(json_object_get(c, "tools"), 0);
    if (text && dialect_tools_read(str_of(text), &t, NULL) != OK) t = NULL;
    free(text);
    return t;
}

static Heard read_back(const Dialect *d, const json_t *c, Str text)
{
    Heard h = { .list = json_array() };
    DialectTools *tools = tools_of(c);
    DialectOptions o = { .dialect = d, .tools = tools };
    DialectParser *p = dialect_parser_new(&o, hear, &h);
    dialect_parser_feed(p, text);
    dialect_parser_finish(p);
    dialect_parser_free(p);
    dialect_tools_free(tools);
    buf_free(&h.args);
    return h;
}

/* Number of calls read back. */
static int check_case(const Dialect *d, const char *file, const json_t *c)
{
    json_t *want = wanted(c);
    const json_t *output = json_object_get(c, "output");
    const char *name = json_string_value(json_object_get(c, "name"));
    size_t n = json_array_size(want), found = 0;
    if (n && json_is_string(output) && !is_excused(file, name)) {
        Str s = { json_string_value(output), json_string_length(output) };
        Heard h = read_back(d, c, answer_part(d, s, want));
        for (size_t i = 0; i < json_array_size(h.list) && found < n; i++) {
            const json_t *g = json_array_get(h.list, i), *w = json_array_get(want, found);
            found += json_equal(json_array_get(w, 0), json_array_get(g, 0)) &&
                     alike(json_array_get(w, 1), json_array_get(g, 1));
        }
        if (found < n)
            fail_msg("%s, %s: as %s only %zu of %zu calls were read back of\n%s", file, name, dialect_name(d), found, n,
                     s.p);
        json_decref(h.list);
    }
    json_decref(want);
    return (int)found;
}

static int check_file(const char *corpus, const char *name)
{
    char path[1000];
    int n_calls = 0;
    size_t i;
    Str text;
    snprintf(path, sizeof path, "%s/templates/cases/%s", corpus, name);
    json_t *file = json_load_file(path, JSON_DECODE_INT_AS_REAL, NULL), *c;
    if (!file) return 0;
    Arena *mem = arena_new(0);
    snprintf(path, sizeof path, "%s/templates/%s", corpus, json_string_value(json_object_get(file, "template")));
    if (file_read(mem, path, 1 << 20, &text, NULL) != OK) fail_msg("%s: not read", path);
    const Dialect *d = dialect_detect(text);
    json_array_foreach(json_object_get(file, "cases"), i, c)
    {
        if (d) n_calls += check_case(d, name, c);
    }
    arena_free(mem);
    json_decref(file);
    return n_calls;
}

static void test_templates(void **state)
{
    (void)state;
    const char *corpus = getenv("RADISH_CORPUS");
    char path[1000];
    int n_calls = 0;
    if (!corpus) skip();
    snprintf(path, sizeof path, "%s/templates/cases", corpus);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) n_calls += check_file(corpus, e->d_name);
    closedir(dir);
    assert_true(n_calls > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_templates) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
