/* test_template.c - the template engine against what Jinja2 gives: small cases written out, and, where RADISH_CORPUS names a
 * folder of real templates with their expected prompts, every one of those. */
#include <dirent.h>
#include <time.h>

#include "base/file.h"
#include "chat/chat.h"
#include "chat/jinja.h"
#include "test.h"

typedef struct {
    const char *source, *want; /* want NULL: must fail */
} Case;

/* Expected texts come from Jinja2 3.1.6 with trim_blocks and lstrip_blocks. */
/* clang-format off */
static const Case cases[] = {
    { "plain", "plain" },
    { "a\n", "a" },
    { "{{ 1 + 2 * 3 }} {{ 7 // -2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 3 }}", "7 -4 2 3.5 8" },
    { "{{ 1.0 }} {{ 1e20 }} {{ 1e-7 }} {{ 1000000000000000.0 }} {{ 0.1 + 0.2 }}", "1.0 1e+20 1e-07 1000000000000000.0 0.30000000000000004" },
    { "{{ true }} {{ none }} {{ x }}|{{ [1, 'a', none] }} {{ {'k': \"v'q\"} }} {{ (1,) }}", "True None |[1, 'a', None] {'k': \"v'q\"} (1,)" },
    { "{% if x %}a{% elif y is defined %}b{% else %}c{% endif %}", "c" },
    { "{% for i in [1,2,3] %}{{ i }}{{ ',' if not loop.last }}{% endfor %}", "1,2,3" },
    { "{% for i in [1,2,3] if i != 2 %}{{ loop.index }}/{{ loop.length }}:{{ i }} {% endfor %}", "1/2:1 2/2:3 " },
    { "{% for i in [] %}x{% else %}none{% endfor %}", "none" },
    { "{% set x = 1 %}{% for i in [1,2] %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}", "2 3 1" },
    { "{% set ns = namespace(n=0) %}{% for i in [1,2,3] %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "6" },
    { "{% if true %}{% set y = 5 %}{% endif %}{{ y }}", "5" },
    { "{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }} {{ m(1, b=3) }} {{ m(b=4, a=0) }}", "1-2 1-3 0-4" },
    { "{% for q in [1] %}{% macro f() %}[{{ q }}]{% endmacro %}{{ f() }}{% endfor %}", "[1]" },
    { "{% macro f() %}{{ q }}{% endmacro %}{% for q in [1] %}({{ f() }}){% endfor %}", "()" },
    { "{% macro w() %}<{{ caller() }}>{% endmacro %}{% call w() %}in{% endcall %}", "<in>" },
    { "{% set t %}a{{ 1 }}b{% endset %}{{ t | upper }}", "A1B" },
    { "{% filter upper %}abc{% endfilter %}", "ABC" },
    { "  {% if true %}\n  x\n  {% endif %}\ny", "  x\ny" },
    { "a  {%- if true -%}  b  {%- endif %}  c", "ab  c" },
    { "{{ 'x' }}\n{{ 'y' }}\n", "x\ny" },
    { "{# c #}\na", "a" },
    { "{% raw %}{{ x }}{% endraw %}", "{{ x }}" },
    { "{{ 'abc'[0] }}{{ 'abc'[-1] }}{{ 'abc'[1:] }}{{ [1,2,3][::-1] }}{{ 'abc'[::-1] }}{{ [1,2,3,4][1:-1] }}", "acbc[3, 2, 1]cba[2, 3]" },
    { "{{ {'items': 3}.items }}", "<method object>" },
    { "{{ {'items': 3}['items'] }} {{ {'a': 1}.a }} {{ {'a': 1}.b }}|{{ {'a': 1}.get('c', 9) }}", "3 1 |9" },
    { "{{ x.y }}", NULL }, { "{{ 'a' + 1 }}", NULL }, { "{{ none | length }}", NULL }, { "{{ [].append(1) }}", NULL }, { "{{ x() }}", NULL },
    { "{{ ''.__class__ }}", NULL }, { "{% for %}", NULL }, { "{{ 1", NULL }, { "{{ x | nofilter }}", NULL }, { "{{ 'a' is nosuch }}", NULL },
    { "{{ raise_exception('own words') }}", NULL }, { "{% endif %}", NULL }, { "{% if x %}", NULL }, { "{{ 1 // 0 }}", NULL },
    { "{{ x | length }} {{ x | items | list }} {{ x | default('d') }} {{ '' | default('d') }}|{{ '' | default('d', true) }}", "0 [] d |d" },
    { "{{ [3,1,2] | sort | join(',') }} {{ ['b','A'] | sort | join }} {{ {'b':1,'a':2} | dictsort }}", "1,2,3 Ab [('a', 2), ('b', 1)]" },
    { "{{ [{'a':1},{'a':2}] | map(attribute='a') | list }} {{ ['x'] | map('upper') | join }}", "[1, 2] X" },
    { "{{ [{'a':1},{'b':2}] | selectattr('a', 'defined') | list | length }} {{ [1,none] | reject('none') | list }}", "1 [1]" },
    { "{{ {'a': [1, 2.0, 'ä<>&\"'], 'b': none} | tojson }}", "{\"a\": [1, 2.0, \"ä<>&\\\"\"], \"b\": null}" },
    { "{{ {'a': [1], 'b': {}} | tojson(indent=2) }}", "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}" },
    { "{{ {'a': 1} | tojson(separators=(',', ':')) }} {{ 'é' | tojson(ensure_ascii=true) }}", "{\"a\":1} \"\\u00e9\"" },
    { "{{ ' a '.strip() }}{{ 'xxaxx'.strip('x') }}{{ 'a b  c'.split() }}{{ 'a,b'.split(',') }}{{ 'a-b-c'.split('-', 1)[-1] }}", "aa['a', 'b', 'c']['a', 'b']b-c" },
    { "{{ 'abc'.startswith(('x', 'a')) }} {{ 'Hello world'.title() }} {{ 'ÄB' | lower }} {{ 'hello' | capitalize }}", "True Hello World äb Hello" },
    { "{{ 1 == true }} {{ 'a' in 'cat' }} {{ 2 in [1,2] }} {{ 'k' in {'k': 1} }} {{ 1 < 2 < 3 }} {{ not 1 > 2 }}", "True True True True True True" },
    { "{{ true is number }} {{ 'a' is sequence }} {{ {} is mapping }} {{ 3 is odd }} {{ x is defined }} {{ none is not none }} {{ 4 is divisibleby 2 }}", "True True True True False False True" },
    { "{{ 'a' ~ 1 ~ none }} {{ 'a' 'b' }} {{ -3 | abs }} {{ '3' | int + 1 }} {{ 'x' | int(7) }} {{ '%s=%d' % ('a', 3) }} {{ '{} {}'.format(1, 2) }}", "a1None ab 3 4 7 a=3 1 2" },
    { "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{% endfor %} {{ range(3) | list }} {{ range(5, 1, -2) | list }}", "a1b2 [0, 1, 2] [5, 3]" },
    { "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "02" },
    { "{% for i in [1,2] %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }} {{ loop.cycle('a','b') }};{% endfor %}", "<1>2 a;1<2> b;" },
    { "{{ 'line1\nline2' | indent(2) }}", "line1\n  line2" }, { "{{ 'a\\nb' }}", "a\nb" }, { "{% generation %}g{% endgeneration %}", "g" },
    { "{{ '<a>' | e }} {{ [1,2,3,4] | batch(2) | list }} {{ [1,1,2] | unique | list }} {{ [1,2] | sum }} {{ [2,1] | min }}", "&lt;a&gt; [[1, 2], [3, 4]] [1, 2] 3 1" },
    { "{{ '<' | safe + '<' }}{{ '<' | e ~ '<' }}", "<&lt;&lt;<" },
    { "{{ strftime_now('%Y-%m-%d %d %b') }}", "2026-03-05 05 Mar" },
    { "{{ (0 - 9223372036854775807 - 1) % 9223372036854775807 }} {{ 9223372036854775807 % (0 - 5) }} {{ -7 % 3 }} {{ 7 % -3 }}", "9223372036854775806 -3 2 -2" },
    { "{{ (0 - 9223372036854775807 - 1) | abs }}", NULL }, { "{{ '%d' % 1e300 }}", NULL }, { "{{ {(1, 2): 'x', (2, 1): 'y'}[(2, 1)] }} {{ [(1,), (1,), (2,)] | unique | list }}", "y [(1,), (2,)]" }, { "{{ [[1], [1]] | unique | list }}", NULL },
    { "{% macro m() %}x{% break %}y{% endmacro %}{% for i in [1, 2] %}{{ m() }}{{ i }}{% endfor %}", "x1x2" },
    { "{%- set a, b = 1, 2 -%} {{ a }}{{ b }}", "12" }, { "{{ {'a': 1}.items() | list }}", "[('a', 1)]" }, { "{{ 5 if false }}|", "|" },
};
/* clang-format on */

enum { NOW = 1772701623 }; /* 2026-03-05 09:07:03 */

static Status render(const char *source, const RenderInput *in, Buf *out, Err *err)
{
    Template *t;
    Status status = template_open(str_of(source), &t, err);
    if (status != OK) return status;
    status = template_render(t, in, out, err);
    template_close(t);
    return status;
}

static void test_cases(void **state)
{
    (void)state;
    RenderInput in = { .messages_json = STR("[]"), .now_s = NOW };
    int wrong = 0;
    for (size_t i = 0; i < COUNT(cases); i++) {
        Buf out = { 0 };
        Err err = { 0 };
        Status status = render(cases[i].source, &in, &out, &err);
        bool good = cases[i].want ? status == OK && str_is(buf_view(&out), cases[i].want) : status != OK && err.text[0];
        if (!good) {
            print_message("case %zu: %s\n  want %s\n  got  %.*s %s\n", i, cases[i].source,
                          cases[i].want ? cases[i].want : "(an error)", STR_FMT(buf_view(&out)), err.text);
            wrong++;
        }
        buf_free(&out);
    }
    assert_int_equal(wrong, 0);
}

static void test_limits(void **state)
{
    (void)state;
    RenderInput in = { .messages_json = STR("[]") };
    Buf out = { 0 };
    Err err;
    assert_int_equal(
        render("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", &in, &out, &err),
        E_LIMIT);
    assert_int_equal(render("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", &in, &out, &err), E_INVALID);
    assert_int_equal(render("{% set ns = namespace(s='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s "
                            "~ ns.s %}{% endfor %}",
                            &in, &out, &err),
                     E_LIMIT);
    assert_int_equal(out.n, 0);
    Buf deep = { 0 };
    for (int i = 0; i < 100000; i++) buf_char(&deep, '[');
    in.messages_json = buf_view(&deep);
    assert_int_not_equal(render("x", &in, &out, &err), OK);
    buf_clear(&deep);
    buf_str(&deep, STR("{{ "));
    for (int i = 0; i < 100000; i++) buf_char(&deep, '-');
    buf_add(&deep, "1 }}", 5);
    in.messages_json = STR("[]");
    assert_int_equal(render(deep.p, &in, &out, &err), E_INVALID);
    buf_clear(&deep);
    buf_str(&deep, STR("{{ "));
    for (int i = 0; i < 500000; i++) buf_str(&deep, STR("'a' "));
    buf_str(&deep, STR("}}"));
    buf_char(&deep, 0);
    assert_int_equal(render(deep.p, &in, &out, &err), OK);
    assert_int_equal(out.n, 500000);
    buf_free(&deep);
    buf_free(&out);
}

/* Values that are small to keep and endless to walk through, and texts that a few words make huge: refused at once. */
static void test_endless(void **state)
{
    (void)state;
#define TWICE(what)                                                                                                    \
    "{% set n = namespace(a=[1], b=[1], s='x') %}{% for i in range(70) %}{% set n.a = " what                           \
    " %}{% set n.b = [n.b, n.b] %}{% endfor %}"
#define DEEP                                                                                                           \
    "{% set n = namespace(a=[1], b=[1]) %}{% for i in range(100000) %}{% set n.a = [n.a] %}{% set n.b = [n.b] %}{% "   \
    "endfor %}"
#define MEGABYTE "{% set s = 'abcdefgh' * 100000 %}"
    static const char *const sources[] = {
        TWICE("[n.a, n.a]") "{{ n.a == n.b }}",
        TWICE("[n.a, n.a]") "{{ n.a }}",
        TWICE("[n.a, n.a]") "{{ n.a < n.b }}",
        TWICE("[n.a, n.a]") "{{ n.a in [n.b] }}",
        TWICE("(n.a, n.a)") "{% set t = (n.a, (n.a, n.a)) %}{{ [((n.a, n.a), n.a), t, (t, t)] | unique | list }}",
        TWICE("(n.a, n.a)") "{{ '%r' % [n.a] }}",
        TWICE("(n.a, n.a)") "{% set t = (n.a, n.a) %}{% set d = {t: 1, (t, t): 2, ((t, t), t): 3} %}{{ d }}",
        TWICE("{'a': n.a, 'b': n.a}") "{{ n.a | tojson }}",
        DEEP "{{ n.a == n.b }}",
        DEEP "{{ n.a < n.b }}",
        DEEP "{{ n.a }}",
        MEGABYTE "{{ s.replace('', s) }}",
        MEGABYTE "{{ s.replace('a', s) }}",
        MEGABYTE "{{ s.join([s] * 1000) }}",
        MEGABYTE "{{ ([s] * 1000) | join }}",
        MEGABYTE "{{ ('x\n' * 10000) | indent(s) }}",
        MEGABYTE "{{ ('{0}' * 10000).format(s) }}",
        MEGABYTE "{{ ('%s' * 1000) % ((s,) * 1000) }}",
        MEGABYTE "{{ s.rsplit(s ~ 'x') }}",
        MEGABYTE "{{ s.strip(s) }}",
        MEGABYTE "{{ ([s] * 1000) | tojson }}",
        MEGABYTE "{{ range(1000) | list | tojson(separators=(s, s)) }}",
    };
    RenderInput in = { .messages_json = STR("[]") };
    Buf out = { 0 };
    for (size_t i = 0; i < COUNT(sources); i++) {
        Err err = { 0 };
        clock_t start = clock(); /* of this process: the machine may be busy */
        Status status = render(sources[i], &in, &out, &err);
        double s = (double)(clock() - start) / CLOCKS_PER_SEC;
        if (status == OK || !err.text[0] || s > 20) fail_msg("%s: %.1f s, \"%s\"", sources[i], s, err.text);
    }
    buf_free(&out);
}

static void render_any(const char *source)
{
    RenderInput in = { .messages_json = STR("[]") };
    Buf out = { 0 };
    Err err = { 0 };
    if (render(source, &in, &out, &err) != OK && !err.text[0]) fail_msg("%s: no word of why", source);
    buf_free(&out);
}

/* Every method, filter and test, of values of every kind, with arguments of every kind: an answer or a refusal. */
static void test_any_arguments(void **state)
{
    (void)state;
    static const char *const of[] = { "'abc'", "''",   "'%s %d'", "[1,'a']",        "[]",       "{'a':1}", "(1,2)", "7",
                                      "1.5",   "none", "missing", "namespace(a=1)", "range(3)", "dict" };
    static const char *const with[] = { "",        "1",       "none",   "'a'",       "[1]", "{}",
                                        "missing", "'a','b'", "[],{}",  "none,none", "-1",  "9223372036854775807",
                                        "1.5",     "(1,)",    "'','x'", "'a',-5" };
    static const char *const names[] = {
        "% append capitalize changed clear copy count cycle endswith extend find format get index insert "
        "isalnum isalpha isdecimal isdigit islower isnumeric isspace isupper items join keys lower lstrip "
        "partition pop popitem remove removeprefix removesuffix replace reverse rfind rsplit rstrip setdefault "
        "sort split splitlines startswith strip title update upper values", /* methods */
        "abs attr batch capitalize count d default dictsort e escape first float format from_json indent int "
        "items join last length list lower map max min reject rejectattr replace reverse round safe select "
        "selectattr sort string sum title tojson trim unique upper wordcount", /* filters */
        "boolean callable defined divisibleby eq equalto even false filter float ge greaterthan gt in integer "
        "iterable le lessthan lower lt mapping ne none number odd sameas sequence string test true undefined "
        "upper", /* tests */
    };
    static const char *const before[] = { "['", "|", " is " }, *const behind[] = { "']", "", "" };
    char source[200];
    int n = 0;
    for (size_t k = 0; k < COUNT(names); k++)
        for (const char *p = names[k], *end; *p; p = end + (*end == ' ')) {
            end = p + strcspn(p, " ");
            for (size_t i = 0; i < COUNT(of) * COUNT(with); i++, n++) {
                snprintf(source, sizeof source, "{{ (%s)%s%.*s%s(%s) }}", of[i % COUNT(of)], before[k], (int)(end - p),
                         p, behind[k], with[i / COUNT(of)]);
                render_any(source);
            }
        }
    assert_true(n > 20000);
}

static void test_continue(void **state)
{
    (void)state;
    RenderInput in = { .messages_json = STR(
                           "[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\" It is \"}]"),
                       .continue_final_message = true };
    Buf out = { 0 };
    Err err;
    assert_int_equal(render("{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}", &in, &out, &err),
                     OK);
    assert_true(str_is(buf_view(&out), "<user>q</><assistant> It is "));
    buf_clear(&out);
    assert_int_equal(
        render("{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</>{% endfor %}", &in, &out, &err), OK);
    assert_true(str_is(buf_view(&out), "<user>q</><assistant>It is"));
    assert_int_equal(render("nothing", &in, &out, &err), E_INVALID);
    buf_clear(&out);
    in.messages_json = STR("[{\"role\":\"assistant\",\"content\":\"a\\u0000b\"}]");
    assert_int_equal(render("{{ messages[0].content }}</>", &in, &out, &err), OK);
    assert_int_equal(out.n, 3);
    assert_memory_equal(out.p, "a\0b", 3);
    buf_free(&out);
}

static void test_prepare(void **state)
{
    (void)state;
    RenderInput in = { .messages_json = STR("[{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"r\"}]"),
                       .prepare = true };
    Buf out = { 0 };
    Err err;
    assert_int_equal(
        render("{% for m in messages %}{{ m.content is defined }}{{ m.thinking }}{{ m.reasoning_content }}{% endfor %}",
               &in, &out, &err),
        OK);
    assert_true(str_is(buf_view(&out), "Falserr"));
    in.messages_json = STR("[]");
    assert_int_equal(render("x", &in, &out, &err), E_INVALID);
    in.messages_json = STR("{}");
    assert_int_equal(render("x", &in, &out, &err), E_INVALID);
    buf_free(&out);
}

/* ---- the corpus ---- */

static JValue *field(const JValue *of, const char *name)
{
    return jvalue_dict_find(of->u.dict, str_of(name));
}

static Str json_of(JRun *r, const JValue *v)
{
    static const JsonStyle style = { .indent = -1, .item_sep = { ",", 1 }, .key_sep = { ":", 1 } };
    Buf b = { 0 };
    if (!v || v->kind == JV_NONE) return (Str){ 0 };
    assert_int_equal(jjson_write(r, &b, v, &style), OK);
    Str s = arena_str(r->arena, buf_view(&b));
    buf_free(&b);
    return s;
}

static bool run_case(JRun *r, const Template *t, const JValue *file, const JValue *c, const char *name)
{
    static const char *const roles[] = { "bos_token", "eos_token" };
    TemplateVar specials[2];
    RenderInput in = { .messages_json = json_of(r, field(c, "messages")),
                       .tools_json = json_of(r, field(c, "tools")),
                       .specials = specials,
                       .now_s = NOW };
    const JValue *kwargs = field(c, "kwargs"), *generation = field(c, "add_generation_prompt"),
                 *go_on = field(c, "continue_final_message"), *want = field(c, "output"), *error = field(c, "error");
    for (size_t i = 0; i < COUNT(roles); i++) {
        const JValue *v = field(field(file, "special_tokens"), roles[i]);
        if (v && v->kind == JV_STR) specials[in.n_specials++] = (TemplateVar){ roles[i], v->u.s };
    }
    in.kwargs_json = json_of(r, kwargs);
    in.add_generation_prompt = generation && jvalue_truth(generation);
    in.continue_final_message = go_on && jvalue_truth(go_on);
    Buf out = { 0 };
    Err err = { 0 };
    Status status = template_render(t, &in, &out, &err);
    bool good = want ? status == OK && str_eq(buf_view(&out), want->u.s) : status != OK;
    Str raised = STR("TemplateError: ");
    if (good && error && str_starts(error->u.s, raised))
        good = str_is(str_cut(error->u.s, raised.n, error->u.s.n), err.text) || error->u.s.n > 400;
    if (!good) {
        size_t same = 0;
        while (want && same < out.n && same < want->u.s.n && out.p[same] == want->u.s.p[same]) same++;
        print_message("%s, %.*s: %s\n", name, STR_FMT(field(c, "name")->u.s), status == OK ? "differs" : err.text);
        if (want && status == OK)
            print_message("  at %zu: want \"%.60s\" got \"%.60s\"\n", same, want->u.s.p + same,
                          arena_cstr(r->arena, str_cut(buf_view(&out), same, out.n)));
        if (error) print_message("  want the error %.*s\n", STR_FMT(error->u.s));
    }
    buf_free(&out);
    return good;
}

static int run_file(const char *folder, const char *name, int *n_cases)
{
    Arena *a = arena_new(0);
    Err err = { 0 };
    Str text, source;
    JValue *file;
    JRun r = { .arena = a, .fuel = INT64_MAX, .out_max = SIZE_MAX, .err = &err };
    Str path = arena_printf(a, "%s/cases/%s", folder, name);
    assert_int_equal(file_read(a, path.p, 64 << 20, &text, &err), OK);
    assert_int_equal(jjson_parse(a, text, name, &file, &err), OK);
    path = arena_printf(a, "%s/%.*s", folder, STR_FMT(field(file, "template")->u.s));
    assert_int_equal(file_read(a, path.p, 4 << 20, &source, &err), OK);
    Template *t;
    Status status = template_open(source, &t, &err);
    if (status != OK) print_message("%s: %s\n", name, err.text);
    const JValue *list = field(file, "cases");
    int wrong = 0;
    for (int i = 0; i < list->u.list.n; i++) {
        wrong += status != OK || !run_case(&r, t, file, list->u.list.p[i], name);
        ++*n_cases;
    }
    if (status == OK) template_close(t);
    arena_free(a);
    return wrong;
}

static void test_corpus(void **state)
{
    (void)state;
    const char *corpus = getenv("RADISH_CORPUS");
    char folder[1024], cases_dir[1100];
    snprintf(folder, sizeof folder, "%s/templates", corpus ? corpus : "");
    snprintf(cases_dir, sizeof cases_dir, "%s/cases", folder);
    DIR *d = corpus ? opendir(cases_dir) : NULL;
    if (!d) {
        print_message("SKIPPED: real templates: RADISH_CORPUS names no folder that has them\n");
        skip();
    }
    int wrong = 0, n = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] != '.') wrong += run_file(folder, e->d_name, &n);
    }
    closedir(d);
    print_message("%d of %d template cases differ\n", wrong, n);
    assert_true(n > 1000);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_cases),    cmocka_unit_test(test_limits),
                                        cmocka_unit_test(test_endless),  cmocka_unit_test(test_any_arguments),
                                        cmocka_unit_test(test_continue), cmocka_unit_test(test_prepare),
                                        cmocka_unit_test(test_corpus) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
