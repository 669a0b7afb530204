/* test_params.c - typed fields: what is taken, what is refused and with which words, and what templates get to see. */
/* cmocka.h wants these four first, and its fail() must not meet ours. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "api/params.h"

#include <cmocka.h>
/* clang-format on */

typedef struct {
    Params p;
    json_t *root;
    Err err;
} Case;

static Case *open_case(const char *text)
{
    Case *c = mem_alloc(sizeof *c);
    assert_int_equal(params_parse(str_of(text), &c->root, &c->err), OK);
    c->p = (Params){ .o = c->root, .where = "", .arena = arena_new(0), .err = &c->err };
    return c;
}

static void close_case(Case *c)
{
    json_decref(c->root);
    arena_free(c->p.arena);
    mem_free(c);
}

static void test_numbers(void **state)
{
    (void)state;
    Case *c = open_case(
        "{\"a\":16.0,\"b\":null,\"c\":1.5,\"d\":true,\"e\":9223372036854775807,\"f\":1e300,\"g\":-1,\"h\":0.25}");
    int n = 7;
    int64_t big = 0;
    float x = 9;
    assert_int_equal(params_int(&c->p, "a", 0, 100, &n), OK);
    assert_int_equal(n, 16); /* as Python's validators take it */
    assert_int_equal(params_int(&c->p, "b", 0, 100, &n), OK);
    assert_int_equal(params_int(&c->p, "none", 0, 100, &n), OK);
    assert_int_equal(n, 16); /* null and absent leave it */
    assert_int_equal(params_int(&c->p, "c", 0, 100, &n), E_INVALID);
    assert_string_equal(c->err.text, "c must be an integer, not a number");
    assert_int_equal(params_int(&c->p, "d", 0, 100, &n), E_INVALID);
    assert_string_equal(c->err.text, "d must be an integer, not true");
    assert_int_equal(params_int(&c->p, "e", 0, INT64_MAX, &n), E_INVALID); /* never cut to 32 bits */
    assert_int_equal(params_i64(&c->p, "e", 0, INT64_MAX, &big), OK);
    assert_true(big == INT64_MAX);
    assert_int_equal(params_i64(&c->p, "f", 0, INT64_MAX, &big), E_INVALID);
    assert_int_equal(params_int(&c->p, "g", 0, 100, &n), E_INVALID);
    assert_string_equal(c->err.text, "g must be at least 0, not -1");
    assert_string_equal(c->p.param, "g");
    assert_int_equal(params_f32(&c->p, "h", 0, 1, &x), OK);
    assert_true(x == 0.25f);
    assert_int_equal(params_f32(&c->p, "f", 0, 1, &x), E_INVALID);
    assert_int_equal(params_f32(&c->p, "d", 0, 1, &x), E_INVALID);
    assert_true(x == 0.25f);
    close_case(c);
}

static void test_sampling(void **state)
{
    (void)state;
    Case *c = open_case(
        "{\"temperature\":0,\"top_k\":-1,\"top_p\":0.5,\"stop\":[\"a\",\"b\"],\"stop_token_ids\":[5,6],\"n\":3,"
        "\"seed\":-2,"
        "\"logit_bias\":{\"7\":-100,\"8\":1.5},\"skip_special_tokens\":false,\"min_tokens\":4,\"ignore_eos\":true}");
    RadishRequest q;
    int n = 1;
    radish_request_init(&q);
    assert_int_equal(params_sampling(&c->p, true, &q, &n), OK);
    assert_true(q.temperature == 0 && q.top_p == 0.5f && q.top_k == 0 && q.n_stop == 2 && n == 3);
    assert_string_equal(q.stop[1], "b");
    assert_true(q.n_stop_ids == 2 && q.stop_ids[1] == 6 && q.has_seed && q.seed == (uint64_t)-2 && q.keep_special);
    assert_true(q.n_bias == 2 && q.bias[1].id == 8 && q.bias[1].bias == 1.5f && q.min_new_tokens == 4 && q.ignore_eos);
    close_case(c);
    c = open_case("{\"stop\":\"one\",\"sampling_seed\":3,\"min_new_tokens\":2,\"max_new_tokens\":1}");
    radish_request_init(&q);
    q.max_new_tokens = 1;
    assert_int_equal(params_sampling(&c->p, false, &q, &n), E_INVALID);
    assert_string_equal(c->p.param, "min_new_tokens");
    q.max_new_tokens = 2;
    assert_int_equal(params_sampling(&c->p, false, &q, &n), OK);
    assert_true(q.n_stop == 1 && q.seed == 3 && q.min_new_tokens == 2);
    assert_string_equal(q.stop[0], "one");
    close_case(c);
}

static void test_unsupported(void **state)
{
    (void)state;
    static const char *const fine[] = {
        "{}",
        "{\"regex\":null,\"lora_path\":\"\",\"image_data\":[],\"session_params\":{},\"return_hidden_states\":false}",
        "{\"regex\":\"a\"}", "{\"what_is_this\":1}"
    };
    static const char *const bad[] = { "{\"return_hidden_states\":\"last\"}", "{\"input_embeds\":[[0.1]]}" };
    for (size_t i = 0; i < COUNT(fine); i++) {
        Case *c = open_case(fine[i]);
        assert_int_equal(params_unsupported(&c->p), OK);
        close_case(c);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        Case *c = open_case(bad[i]);
        assert_int_equal(params_unsupported(&c->p), E_INVALID);
        assert_non_null(c->p.param);
        close_case(c);
    }
}

typedef struct {
    const char *body;
    RadishConstraintKind kind;
    const char *text, *field, *options;
} Constraint;

static void test_constraints(void **state)
{
    (void)state;
#define FORMAT(rest) "{\"response_format\":{\"type\":" rest "}}"
    static const Constraint good[] = {
        { "{}", RADISH_FREE, NULL, NULL, NULL },
        { "{\"regex\":\"\",\"ebnf\":null,\"guided_json\":null}", RADISH_FREE, NULL, NULL, NULL },
        { FORMAT("\"text\""), RADISH_FREE, NULL, NULL, NULL },
        { "{\"regex\":\"a|b\"}", RADISH_REGEX, "a|b", "regex", NULL },
        { "{\"ebnf\":\"root ::= x\"}", RADISH_EBNF, "root ::= x", "ebnf", NULL },
        { "{\"json_schema\":\"{ }\"}", RADISH_JSON_SCHEMA, "{ }", "json_schema", NULL },
        { "{\"json_schema\":{\"b\":1,\"a\":[]}}", RADISH_JSON_SCHEMA, "{\"b\":1,\"a\":[]}", "json_schema", NULL },
        { "{\"structural_tag\":{\"x\":1}}", RADISH_STRUCTURAL_TAG, "{\"x\":1}", "structural_tag", NULL },
        { "{\"guided_regex\":\"a\"}", RADISH_REGEX, "a", "guided_regex", NULL },
        { "{\"guided_grammar\":\"g\"}", RADISH_EBNF, "g", "guided_grammar", NULL },
        { "{\"guided_json\":true}", RADISH_JSON_SCHEMA, "true", "guided_json", NULL },
        { "{\"guided_choice\":[\"a\",\"b\"]}", RADISH_CHOICE, "[\"a\",\"b\"]", "guided_choice", NULL },
        { "{\"structured_outputs\":{\"json\":{},\"disable_any_whitespace\":true}}", RADISH_JSON_SCHEMA, "{}",
          "structured_outputs", "{\"whitespace\":\"compact\"}" },
        { "{\"structured_outputs\":{\"regex\":\"a\",\"disable_any_whitespace\":true}}", RADISH_REGEX, "a",
          "structured_outputs", NULL },
        { "{\"structured_outputs\":{\"json_object\":true}}", RADISH_JSON_OBJECT, "", "structured_outputs", NULL },
        { "{\"structured_outputs\":{\"json_object\":false,\"choice\":[\"x\"]}}", RADISH_CHOICE, "[\"x\"]",
          "structured_outputs", NULL },
        { FORMAT("\"json_object\""), RADISH_JSON_OBJECT, "", "response_format", NULL },
        { FORMAT("\"json_object\",\"schema\":{\"a\":1}"), RADISH_JSON_SCHEMA, "{\"a\":1}", "response_format", NULL },
        { FORMAT("\"json_schema\",\"json_schema\":{\"name\":\"n\",\"strict\":true,\"schema\":{\"a\":1}}"),
          RADISH_JSON_SCHEMA, "{\"a\":1}", "response_format", NULL },
        { FORMAT("\"structural_tag\",\"triggers\":[]"), RADISH_STRUCTURAL_TAG,
          "{\"type\":\"structural_tag\",\"triggers\":[]}", "response_format", NULL },
    };
    for (size_t i = 0; i < COUNT(good); i++) {
        Case *c = open_case(good[i].body);
        RadishRequest q = { 0 };
        const char *field = NULL;
        assert_int_equal(constraint_read(&c->p, true, &q, &field), OK);
        assert_int_equal(q.constraint, good[i].kind);
        assert_true(str_eq((Str){ q.constraint_text, q.n_constraint_text }, str_of(good[i].text)));
        assert_true(str_eq(str_of(q.constraint_options), str_of(good[i].options)));
        assert_true(str_eq(str_of(field), str_of(good[i].field)));
        close_case(c);
    }
}

static void test_bad_constraints(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        { "{\"regex\":1}", "regex must be a string" },
        { "{\"json_schema\":[1]}", "json_schema must be a schema" },
        { "{\"structural_tag\":true}", "structural_tag must be an object" },
        { "{\"guided_choice\":\"a\"}", "guided_choice must be a list" },
        { "{\"structured_outputs\":{\"grammar\":{}}}", "structured_outputs.grammar must be a string" },
        { "{\"structured_outputs\":{\"whitespace_pattern\":\" \"}}", "whitespace_pattern is not supported" },
        { "{\"regex\":\"a\",\"ebnf\":\"b\"}", "ebnf asks for one constraint of the answer and regex for another" },
        { "{\"guided_json\":{},\"response_format\":{\"type\":\"json_object\"}}", "guided_json asks for one" },
        { "{\"structured_outputs\":{\"regex\":\"a\",\"json\":{}}}", "asks for one constraint" },
        { "{\"response_format\":\"text\"}", "must be an object with a type" },
        { FORMAT("\"yaml\""), "has the type yaml" },
        { FORMAT("\"json_schema\""), "needs json_schema" },
        { FORMAT("\"json_schema\",\"json_schema\":{\"name\":\"n\"}"), "has no json_schema.schema" },
        { FORMAT("\"json_schema\",\"json_schema\":{\"schema\":3}"), "is no object" },
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        Case *c = open_case(bad[i][0]);
        RadishRequest q = { 0 };
        const char *field = NULL;
        assert_int_equal(constraint_read(&c->p, true, &q, &field), E_INVALID);
        if (!strstr(c->err.text, bad[i][1])) print_error("%s: %s\n", bad[i][0], c->err.text);
        assert_non_null(strstr(c->err.text, bad[i][1]));
        assert_non_null(c->p.param);
        close_case(c);
    }
#undef FORMAT
    Case *c = open_case("{\"guided_regex\":\"a\",\"response_format\":{\"type\":\"json_object\"}}");
    RadishRequest q = { 0 };
    const char *field = NULL;
    assert_int_equal(constraint_read(&c->p, false, &q, &field), OK); /* not /generate's fields */
    assert_int_equal(q.constraint, RADISH_FREE);
    close_case(c);
}

static void test_salt(void **state)
{
    (void)state;
    static const char *const texts[] = { "{}",
                                         "{\"cache_salt\":\"a\"}",
                                         "{\"extra_key\":\"a\"}",
                                         "{\"cache_salt\":\"a\",\"extra_key\":\"b\"}",
                                         "{\"cache_salt\":\"ab\"}",
                                         "{\"cache_salt\":[\"x\",\"a\"]}" };
    const char *salts[COUNT(texts)];
    Case *c[COUNT(texts)];
    for (size_t i = 0; i < COUNT(texts); i++) {
        c[i] = open_case(texts[i]);
        assert_int_equal(params_salt(&c[i]->p, 1, &salts[i]), OK);
    }
    assert_null(salts[0]);
    for (size_t i = 1; i < 5; i++) {
        for (size_t k = 1; k < i; k++) assert_string_not_equal(salts[i], salts[k]); /* what differs is never shared */
    }
    assert_string_equal(salts[5], salts[1]);
    for (size_t i = 0; i < COUNT(texts); i++) close_case(c[i]);
}

static void test_dump(void **state)
{
    (void)state;
    static const char text[] =
        "{\"b\":[1,-2.50,1e22,0.1,1.0,true,null],\"a\":\"\\u00e9\\n\\u0000\\ud83d\\ude00\",\"c\":{\"z\":{},\"y\":[]}}";
    Case *c = open_case(text);
    Buf b = { 0 };
    params_dump(&b, c->root);
    buf_char(&b, 0);
    assert_string_equal(b.p, "{\"b\":[1,-2.5,1e+22,0.1,1.0,true,null],\"a\":\"\xc3\xa9\\n\\u0000\xf0\x9f\x98\x80\","
                             "\"c\":{\"z\":{},\"y\":[]}}");
    buf_free(&b);
    close_case(c);
}

static void test_bodies(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        { " \n", "no body" },
        { "{\"a\":1,}", "line 1, column 8" },
        { "{\n\n\"a\":tru}", "line 3" },
        { "{\"a\":01}", "valid JSON" },
        { "{\"a\":NaN}", "valid JSON" },
        { "{\"a\":1} {", "valid JSON" },
        { "{\"a\":\"\xc0\xaf\"}", "UTF-8 from byte 6" },
        { "{\"a\":\"\xed\xa0\x80\"}", "UTF-8 from byte 6" },
        { "\"text\"", "valid JSON" },
        { "[]", "must be a JSON object, not a list" },
        { "{\"a\":\"[[[[\\\"[[\"", "valid JSON" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        json_t *root = NULL;
        Err err;
        assert_int_equal(params_parse(str_of(cases[i].text), &root, &err), E_INVALID);
        if (!strstr(err.text, cases[i].words)) fail_msg("%s: %s", cases[i].text, err.text);
        assert_null(root);
    }
}

static void test_many_values(void **state)
{
    (void)state;
    Err err;
    json_t *root = NULL;
    Buf b = { 0 };
    buf_str(&b, STR("{\"a\":[\",,,\""));
    for (int i = 1; i < PARAMS_VALUES_MAX; i++) buf_str(&b, STR(",1"));
    buf_str(&b, STR("]}"));
    assert_int_equal(params_parse(buf_view(&b), &root, &err), OK); /* commas in strings do not count */
    json_decref(root);
    b.n -= 2;
    buf_str(&b, STR(",1]}"));
    assert_int_equal(params_parse(buf_view(&b), &root, &err), E_INVALID);
    assert_non_null(strstr(err.text, "more than 4194304 values"));
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_many_values), cmocka_unit_test(test_numbers),
                                        cmocka_unit_test(test_sampling),    cmocka_unit_test(test_unsupported),
                                        cmocka_unit_test(test_constraints), cmocka_unit_test(test_bad_constraints),
                                        cmocka_unit_test(test_salt),        cmocka_unit_test(test_dump),
                                        cmocka_unit_test(test_bodies) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
