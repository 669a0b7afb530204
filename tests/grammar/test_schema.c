/* test_schema.c - JSON schemas: instances that are and are not accepted, keyword by keyword; what is refused, and where; hostile schemas; and,
 * if RADISH_CORPUS is set, every file of its maskbench-dev/data. */
#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "text_check.h"

static GrammarVocab *vocab(void)
{
    static Tokens t;
    static const char *const alphabet[] = { "a", "b", "1", "-", "\"", "{", "}", "[", "]", ",", ":", "null" };
    Rng rng = { 3 };
    return tokens_vocab(&t, &rng, alphabet, COUNT(alphabet), 300, 4);
}

typedef struct {
    const char *schema;
    const char *good[6], *bad[6];
} Case;

static const Case cases[] = {
    { "true",
      { "1", "{\"a\":[1,{}]}", "\"x\"", "-1.5e+3", "null", "{ \"a\": 1 }" },
      { "", "{", "01", "[1,]", "{\"a\" 1}" } },
    { "{\"type\":\"integer\"}", { "0", "-12", "123456789012345678901" }, { "1.5", "\"1\"", "00", "-", "1e2" } },
    { "{\"type\":[\"string\",\"null\"]}", { "\"a\"", "null" }, { "1", "true" } },
    { "{\"enum\":[1,\"a\",null,[1,2],{\"k\":true},2.5,3.0]}",
      { "1", "\"a\"", "[1,2]", "{\"k\":true}", "2.5", "3.0" },
      { "2", "\"b\"", "[1]", "{}", "false" } },
    { "{\"const\":\"x\\\"y\"}", { "\"x\\\"y\"" }, { "\"xy\"" } },
    { "{\"type\":\"string\",\"enum\":[\"a\",1]}", { "\"a\"" }, { "1" } },
    { "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"string\"},\"c\":{}},"
      "\"required\":[\"b\"],\"additionalProperties\":false}",
      { "{\"b\":\"\"}", "{\"a\":1,\"b\":\"x\"}", "{\"a\":1, \"b\":\"x\", \"c\":[]}", "{\n  \"b\": \"x\"\n}" },
      { "{}", "{\"a\":1}", "{\"b\":\"\",\"d\":1}", "{\"b\":\"\",\"b\":\"\"}", "{\"a\":\"x\",\"b\":\"\"}",
        "{\"b\":\"\",}" } },
    { "{\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"z\"]}",
      { "{\"a\":1,\"z\":0,\"q\":1}", "{\"z\":0}", "5", "{\"z\":0,\"a\":1}", "{\"q\":1,\"z\":0,\"r\":1,\"a\":2}" },
      { "{}", "{\"a\":\"\",\"z\":1}", "{\"z\":1,\"z\":1}", "{\"z\":0,\"a\":1,\"a\":1}", "{\"q\":1}" } },
    { "{\"properties\":{\"a\":{},\"b\":{}},\"required\":[\"a\",\"b\"],\"type\":\"object\"}",
      { "{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":2,\"c\":3}" },
      { "{\"b\":2,\"a\":1}", "{\"a\":1}", "{\"a\":1,\"c\":3,\"b\":2}" } },
    { "{\"properties\":{\"a\":{},\"b\":{}},\"required\":[\"a\"],\"type\":\"object\",\"minProperties\":3,"
      "\"maxProperties\":4}",
      { "{\"b\":1,\"x\":2,\"a\":3}", "{\"x\":1,\"y\":2,\"a\":3}", "{\"x\":1,\"y\":2,\"b\":0,\"a\":3}" },
      { "{\"a\":1,\"b\":2}", "{\"x\":1,\"y\":2,\"z\":3}", "{\"x\":1,\"y\":2,\"z\":3,\"b\":4}",
        "{\"x\":1,\"y\":2,\"z\":3,\"b\":4,\"a\":5}", "{\"a\":1,\"x\":2,\"y\":3,\"z\":4,\"v\":5}" } },
    { "{\"properties\":{\"a\":{},\"b\":{},\"c\":{}},\"additionalProperties\":false,\"type\":\"object\","
      "\"minProperties\":2,"
      "\"required\":[\"c\"],\"maxProperties\":2}",
      { "{\"b\":1,\"c\":2}", "{\"c\":1,\"a\":2}" },
      { "{\"c\":1}", "{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":2,\"c\":3}" } },
    { "{\"type\":\"object\",\"allOf\":[{\"not\":{\"additionalProperties\":{\"type\":\"integer\"}}},"
      "{\"not\":{\"patternProperties\":{\"^x\":{\"type\":\"null\"}}}}],\"properties\":{\"a\":{},\"xa\":{}}}",
      { "{\"xb\":\"\"}", "{\"xa\":1,\"b\":\"\"}", "{\"b\":\"\",\"xc\":0}", "{\"a\":true,\"xa\":1}" },
      { "{}", "{\"xb\":1}", "{\"b\":\"\"}", "{\"xb\":null,\"b\":\"\"}", "{\"a\":1,\"xa\":1}" } },
    { "{\"type\":\"array\",\"contains\":{\"type\":\"null\"},\"minContains\":2,\"maxContains\":3}",
      { "[null,1,null]", "[null,null,null]", "[1,null,2,null,3,null,4]" },
      { "[]", "[null]", "[1,null,2]", "[null,null,null,null]", "[null,null,null,1,null]" } },
    { "{\"type\":\"array\",\"contains\":{\"type\":\"null\"},\"minContains\":0,\"maxContains\":1,\"maxItems\":3}",
      { "[]", "[1,null,2]", "[1,2,3]" },
      { "[null,null]", "[1,2,3,4]", "[null,1,null]" } },
    { "{\"type\":\"array\",\"allOf\":[{\"contains\":{\"minimum\":5,\"type\":\"integer\"}},{\"contains\":{\"maximum\":9,"
      "\"type\":"
      "\"integer\"}},{\"contains\":{\"type\":\"string\"}}],\"maxItems\":2}",
      { "[7,\"\"]", "[\"\",5]" },
      { "[4,\"\"]", "[7]", "[4,10]", "[10,\"\"]" } },
    { "{\"type\":\"array\",\"items\":{\"enum\":[1,2,3,4,5,6,7,8,9,10,11,12,\"1\",null,true]},\"uniqueItems\":true,"
      "\"minItems\":2}",
      { "[1,\"1\"]", "[12,11,10,9,8,7,6,5,4,3,2,1]", "[null,true]" },
      { "[1,1]", "[1]", "[1,2,3,4,5,6,7,8,9,10,11,12,1]", "[null,1,null]" } },
    { "{\"properties\":{\"a\":{\"type\":\"integer\"}},\"type\":\"object\"}",
      { "{\"b\":\"x\"}", "{}" },
      { "{\"b\":1,\"a\":\"x\"}", "{\"\\u0061\":\"x\"}" } },
    { "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"},\"minProperties\":1,\"maxProperties\":2}",
      { "{\"a\":1}", "{\"a\":1,\"b\":2}" },
      { "{}", "{\"a\":1,\"b\":2,\"c\":3}", "{\"a\":\"\"}" } },
    { "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{},\"c\":{}},\"additionalProperties\":false,"
      "\"minProperties\":2,\"maxProperties\":2}",
      { "{\"a\":1,\"b\":2}", "{\"a\":1,\"c\":2}", "{\"b\":1,\"c\":2}" },
      { "{\"a\":1}", "{\"a\":1,\"b\":1,\"c\":1}", "{}" } },
    { "{\"type\":\"object\",\"patternProperties\":{\"^x\":{\"type\":\"integer\"},\"y$\":{\"minimum\":5}},"
      "\"additionalProperties\":false}",
      { "{\"x\":1}", "{\"xy\":7}", "{\"ay\":\"s\"}", "{}" },
      { "{\"xy\":1}", "{\"x\":\"\"}", "{\"q\":1}", "{\"y\":4}" } },
    { "{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^[ab]+$\"},\"properties\":{\"c\":{}}}",
      { "{\"ab\":1}", "{}" },
      { "{\"c\":1}", "{\"abc\":1}" } },
    { "{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1,\"maxItems\":3}",
      { "[1]", "[1,2,3]", "[ 1, 2 ]" },
      { "[]", "[1,2,3,4]", "[\"\"]", "[,1]" } },
    { "{\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"string\"}],\"items\":false,\"type\":\"array\"}",
      { "[]", "[1]", "[1,\"a\"]" },
      { "[\"a\"]", "[1,\"a\",2]" } },
    { "{\"items\":[{\"type\":\"integer\"}],\"additionalItems\":{\"type\":\"null\"},\"type\":\"array\"}",
      { "[1,null,null]" },
      { "[1,1]" } },
    { "{\"type\":\"array\",\"contains\":{\"type\":\"null\"}}",
      { "[null]", "[1,null,2]", "[1,null,null]" },
      { "[]", "[1]" } },
    { "{\"type\":\"array\",\"items\":{\"enum\":[1,2,3]},\"uniqueItems\":true,\"minItems\":1}",
      { "[1]", "[3,1,2]" },
      { "[]", "[1,1]", "[1,2,1]" } },
    { "{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
      { "\"ab\"", "\"\\u00e9\\n\\\"\"", "\"\\ud83d\\ude00a\"" },
      { "\"a\"", "\"abcd\"", "\"\"" } },
    { "{\"type\":\"string\",\"pattern\":\"b+\",\"maxLength\":3}", { "\"abb\"", "\"b\"" }, { "\"a\"", "\"abbb\"" } },
    { "{\"type\":\"string\",\"format\":\"date\"}",
      { "\"2024-02-29\"", "\"1999-12-31\"" },
      { "\"2023-02-29\"", "\"2024-13-01\"", "\"x\"", "\"1900-02-29\"" } },
    { "{\"type\":\"string\",\"format\":\"date-time\"}",
      { "\"2024-02-29T23:59:59Z\"", "\"2024-01-01t00:00:00.123+02:00\"" },
      { "\"2024-02-29\"", "\"2024-02-29T24:00:00Z\"" } },
    { "{\"type\":\"string\",\"format\":\"ipv6\"}",
      { "\"::1\"", "\"2001:db8::8a2e:370:7334\"", "\"1:2:3:4:5:6:7:8\"", "\"::ffff:1.2.3.4\"" },
      { "\"1:2\"", "\"::1::\"", "\"12345::\"" } },
    { "{\"type\":\"string\",\"format\":\"uri\"}",
      { "\"https://a.b/c?d#e\"", "\"urn:x:y\"", "\"http://[::1]:80/\"" },
      { "\"a b\"", "\"//x\"", "\"http://a b\"" } },
    { "{\"type\":\"string\",\"format\":\"email\"}", { "\"a.b@c.de\"" }, { "\"a\"", "\"a@\"", "\"@b\"" } },
    { "{\"type\":\"string\",\"format\":\"uuid\"}", { "\"123e4567-e89b-12d3-a456-426614174000\"" }, { "\"123e4567\"" } },
    { "{\"type\":\"string\",\"format\":\"something\"}", { "\"x\"" }, { "1" } },
    { "{\"type\":\"integer\",\"minimum\":-5,\"maximum\":120}",
      { "-5", "0", "120", "99" },
      { "-6", "121", "1000", "5.5", "-0" } },
    { "{\"type\":\"number\",\"exclusiveMinimum\":0.25,\"maximum\":10}",
      { "0.251", "10", "9.99", "10.0" },
      { "0.25", "10.01", "0.2", "-1", "0.250" } },
    { "{\"type\":\"number\",\"minimum\":-1.5,\"exclusiveMaximum\":0}",
      { "-1.5", "-0.5" },
      { "-1.51", "0", "0.0", "-2" } },
    { "{\"type\":\"integer\",\"minimum\":-9223372036854775808,\"maximum\":9223372036854775807}",
      { "9223372036854775807", "-9223372036854775808", "0" },
      { "9223372036854775808", "-9223372036854775809", "10000000000000000000" } },
    { "{\"type\":\"integer\",\"minimum\":0,\"maximum\":18446744073709551615}",
      { "0", "9223372036854775808", "18446744073709549568" },
      { "18446744073709551616", "20000000000000000000", "-1", "-0" } },
    { "{\"type\":\"number\",\"maximum\":1.5}", { "1.5", "-1", "1.25" }, { "1x5", "1.50001", "15", "1,5" } },
    { "{\"type\":\"string\",\"maxLength\":2}",
      { "\"\\n\\u0001\"", "\"\xc3\xa9\\\"\"", "\"\"" },
      { "\"\x01\"", "\"\n\"", "\"abc\"", "\"\\x\"" } },
    { "{\"minimum\":3,\"exclusiveMinimum\":true,\"type\":\"integer\"}", { "4" }, { "3" } },
    { "{\"type\":\"integer\",\"multipleOf\":12}", { "0", "24", "-36", "120", "1200" }, { "1", "13", "100", "122" } },
    { "{\"type\":\"number\",\"multipleOf\":0.05}", { "0.05", "1.1", "3", "2.50" }, { "0.01", "1.12" } },
    { "{\"type\":\"integer\",\"multipleOf\":19}",
      { "0", "19", "-38", "1900000000000000019" },
      { "1", "18", "190000000000000001" } },
    { "{\"type\":\"integer\",\"multipleOf\":1386}",
      { "0", "1386", "-138600", "1924000848" },
      { "1", "693", "462", "198", "1387" } },
    { "{\"type\":\"number\",\"multipleOf\":2.5}", { "0", "2.5", "-12.50", "110" }, { "0.5", "2", "11", "2.05" } },
    { "{\"type\":\"number\",\"multipleOf\":0.4}", { "0.4", "2", "10.8", "-1.20" }, { "0.5", "1", "10.7", "0.04" } },
    { "{\"type\":\"number\",\"multipleOf\":0.001}", { "0.4", "2", "10.801" }, { "0.0001" } },
    { "{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":1}", { "7", "49", "1001" }, { "0", "8", "50" } },
    { "{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\",\"maxLength\":1}]}",
      { "1", "\"a\"" },
      { "\"ab\"", "null" } },
    { "{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\",\"minimum\":5}]}", { "1", "5.5" }, { "7", "4.5" } },
    { "{\"oneOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}],\"properties\":{\"a\":{},\"b\":{}},\"type\":"
      "\"object\"}",
      { "{\"a\":1}", "{\"b\":1}", "{\"b\":1,\"c\":1}" },
      { "{}", "{\"a\":1,\"b\":1}" } },
    { "{\"oneOf\":[{\"properties\":{\"k\":{\"const\":\"a\"},\"v\":{\"type\":\"integer\"}},\"required\":[\"k\",\"v\"],"
      "\"additionalProperties\":false,\"type\":\"object\"},"
      "{\"properties\":{\"k\":{\"const\":\"b\"},\"w\":{\"type\":\"string\"}},\"required\":[\"k\"],"
      "\"additionalProperties\":false,\"type\":\"object\"}]}",
      { "{\"k\":\"a\",\"v\":1}", "{\"k\":\"b\"}", "{\"k\":\"b\",\"w\":\"\"}" },
      { "{\"k\":\"a\"}", "{\"k\":\"b\",\"v\":1}", "{\"k\":\"c\"}" } },
    { "{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"a\":{}},\"additionalProperties\":false},{\"type\":\"object\","
      "\"required\":[\"b\"]},{\"type\":\"object\",\"required\":[\"a\",\"b\"]}]}",
      { "{}", "{\"a\":1}", "{\"b\":1}" },
      { "{\"a\":1,\"b\":2}", "{\"c\":1}" } },
    { "{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"]},{\"properties\":{\"a\":{"
      "\"minimum\":3},\"b\":{}}}],\"type\":\"object\"}",
      { "{\"a\":3,\"b\":1}" },
      { "{\"a\":2}", "{}" } },
    { "{\"type\":[\"string\",\"integer\"],\"not\":{\"enum\":[\"ab\",3]}}",
      { "\"a\"", "\"abc\"", "4" },
      { "\"ab\"", "3", "\"\\u0061b\"" } },
    { "{\"type\":\"object\",\"not\":{\"required\":[\"a\"]}}",
      { "{}", "{\"b\":1}" },
      { "{\"a\":1}", "{\"b\":1,\"a\":1}" } },
    { "{\"type\":\"object\",\"not\":{\"additionalProperties\":{\"type\":\"integer\"}}}",
      { "{\"b\":\"\"}", "{\"a\":1,\"b\":\"\"}" },
      { "{}", "{\"a\":1}" } },
    { "{\"type\":\"array\",\"not\":{\"items\":{\"type\":\"integer\"}}}", { "[\"\"]", "[1,\"\",2]" }, { "[]", "[1]" } },
    { "{\"type\":\"object\",\"properties\":{\"k\":{\"enum\":[\"x\",\"y\"]},\"n\":{}},\"required\":[\"k\"],\"if\":{"
      "\"properties\":{\"k\":{\"const\":\"x\"}}},\"then\":{\"required\":[\"n\"]},\"else\":{\"properties\":{\"n\":{"
      "\"type\":\"null\"}}}}",
      { "{\"k\":\"x\",\"n\":1}", "{\"k\":\"y\"}", "{\"k\":\"y\",\"n\":null}" },
      { "{\"k\":\"x\"}", "{\"k\":\"y\",\"n\":1}" } },
    { "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}},\"dependentRequired\":{\"a\":[\"b\"]}}",
      { "{}", "{\"b\":1}", "{\"a\":1,\"b\":1}" },
      { "{\"a\":1}" } },
    { "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}},\"dependencies\":{\"a\":{\"properties\":{\"b\":{"
      "\"type\":\"null\"}}}}}",
      { "{\"b\":1}", "{\"a\":1,\"b\":null}" },
      { "{\"a\":1,\"b\":1}" } },
    { "{\"$ref\":\"#/$defs/"
      "t\",\"$defs\":{\"t\":{\"type\":\"object\",\"properties\":{\"c\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/"
      "$defs/t\"}}},\"additionalProperties\":false}}}",
      { "{}", "{\"c\":[{},{\"c\":[]}]}" },
      { "{\"c\":[1]}", "{\"c\":{}}" } },
    { "{\"$ref\":\"#x\",\"$defs\":{\"q\":{\"$anchor\":\"x\",\"type\":\"null\"}}}", { "null" }, { "1" } },
    { "{\"$schema\":\"http://json-schema.org/draft-07/schema#\",\"properties\":{\"a\":{\"$ref\":\"#/definitions/"
      "a~1b\",\"type\":\"null\"}},\"definitions\":{\"a/b\":{\"type\":\"integer\"}},\"type\":\"object\"}",
      { "{\"a\":1}" },
      { "{\"a\":null}" } },
};

static void test_keywords(void **state)
{
    (void)state;
    GrammarVocab *v = vocab();
    int wrong = 0;
    for (size_t i = 0; i < COUNT(cases); i++) {
        GrammarError err;
        Grammar *g = text_compile(v, GRAMMAR_JSON_SCHEMA, cases[i].schema, NULL, &err);
        if (!g) print_message("%s: %s at %s\n", cases[i].schema, err.err.text, err.pointer);
        wrong += !g;
        for (int k = 0; k < 6 && g; k++) {
            const char *good = cases[i].good[k], *bad = cases[i].bad[k];
            if (good && !text_accepted(g, str_of(good))) {
                wrong++;
                print_message("%s refuses %s\n", cases[i].schema, good);
            }
            if (bad && text_accepted(g, str_of(bad))) {
                wrong++;
                print_message("%s accepts %s\n", cases[i].schema, bad);
            }
        }
        grammar_drop(g);
    }
    assert_int_equal(wrong, 0);
    grammar_vocab_drop(v);
}

static void test_options(void **state)
{
    (void)state;
    GrammarVocab *v = vocab();
    GrammarError err;
    Grammar *g = text_compile(v, GRAMMAR_JSON_OBJECT, "", "{\"whitespace\":\"compact\"}", &err);
    assert_non_null(g);
    assert_true(text_accepted(g, STR("{\"a\":[1,{}]}")));
    assert_false(text_accepted(g, STR("{\"a\": 1}")));
    assert_false(text_accepted(g, STR("[1]")));
    grammar_drop(g);
    g = text_compile(v, GRAMMAR_JSON_OBJECT, "", NULL, &err);
    assert_true(text_accepted(g, STR("{\n\t\"a\": [\n1,\n 2 ] }")));
    assert_false(text_accepted(g, STR("{                         \"a\":1}")));
    grammar_drop(g);
    static const char two[] = "{\"properties\":{\"a\":{},\"b\":{}},\"required\":[\"a\",\"b\"],\"type\":\"object\"}",
                      one[] = "{\"properties\":{\"a\":{},\"b\":{}},\"type\":\"object\"}";
    g = text_compile(v, GRAMMAR_JSON_SCHEMA, two, "{\"order\":\"any\"}", &err);
    assert_true(text_accepted(g, STR("{\"b\":2,\"c\":0,\"a\":1}")));
    grammar_drop(g);
    g = text_compile(v, GRAMMAR_JSON_SCHEMA, one, "{\"order\":\"schema\"}", &err);
    assert_true(text_accepted(g, STR("{\"a\":1,\"b\":2,\"c\":0}")));
    assert_false(text_accepted(g, STR("{\"b\":2,\"a\":1}")));
    grammar_drop(g);
    assert_null(text_compile(v, GRAMMAR_JSON_OBJECT, "", "{\"order\":\"none\"}", &err));
    assert_null(text_compile(v, GRAMMAR_JSON_OBJECT, "", "{\"whitespace\":\"much\"}", &err));
    assert_int_equal(err.err.status, E_INVALID);
    grammar_vocab_drop(v);
}

static const struct {
    const char *schema, *place;
    Status status;
} refused[] = {
    { "{", "", E_INVALID },
    { "5", "", E_INVALID },
    { "{\"type\":\"strange\"}", "/type", E_INVALID },
    { "{\"properties\":{\"a\":{\"pattern\":\"(?=x)\"}}}", "/properties/a/pattern", E_UNSUPPORTED },
    { "{\"properties\":{\"a/b\":{\"type\":\"array\",\"uniqueItems\":true}}}", "/properties/a~1b", E_UNSUPPORTED },
    { "{\"$ref\":\"http://example.com/x\"}", "/$ref", E_UNSUPPORTED },
    { "{\"$ref\":\"#/nowhere\"}", "/$ref", E_INVALID },
    { "{\"$ref\":\"#\"}", "", E_UNSUPPORTED },
    { "{\"items\":{\"multipleOf\":0.37}}", "/items/multipleOf", E_UNSUPPORTED },
    { "{\"allOf\":[{\"unevaluatedProperties\":false,\"allOf\":[{}]}]}", "/allOf/0/unevaluatedProperties",
      E_UNSUPPORTED },
    { "{\"minLength\":-1}", "/minLength", E_INVALID },
    { "{\"maxLength\":4000000}", "/maxLength", E_LIMIT },
    { "{\"required\":\"a\"}", "/required", E_INVALID },
    { "{\"anyOf\":[]}", "/anyOf", E_INVALID },
    { "{\"dependencies\":[\"a\"]}", "/dependencies", E_INVALID },
    { "{\"type\":\"string\",\"enum\":[1]}", "", E_INVALID },
    { "false", "", E_INVALID },
    { "{\"properties\":{\"a\":{\"enum\":[1,18446744073709551615]}}}", "/properties/a/enum", E_UNSUPPORTED },
    { "{\"$dynamicRef\":\"#x\"}", "/$dynamicRef", E_UNSUPPORTED },
};

static void test_refusals(void **state)
{
    (void)state;
    GrammarVocab *v = vocab();
    for (size_t i = 0; i < COUNT(refused); i++) {
        GrammarError err;
        Grammar *g = text_compile(v, GRAMMAR_JSON_SCHEMA, refused[i].schema, NULL, &err);
        if (g) fail_msg("%s compiles", refused[i].schema);
        if (err.err.status != refused[i].status || strcmp(err.pointer, refused[i].place) != 0)
            fail_msg("%s: \"%s\" at \"%s\"", refused[i].schema, err.err.text, err.pointer);
    }
    grammar_vocab_drop(v);
}

/* ---- hostile ---- */

/* Compiles within the limits or is refused by one of them; which, the caller says. */
static void hostile(const Buf *text, bool compiles)
{
    GrammarVocab *v = vocab();
    GrammarSpec spec = { GRAMMAR_JSON_SCHEMA, buf_view(text), { 0 } };
    GrammarError err;
    Grammar *g;
    Status got = grammar_compile(v, &spec, NULL, NULL, &g, &err);
    if ((got == OK) != compiles || (got != OK && got != E_LIMIT))
        fail_msg("%.60s...: %s at %s", text->p, err.err.text, err.pointer);
    grammar_drop(g);
    grammar_vocab_drop(v);
}

static void one_of(Buf *out, int depth)
{
    if (depth == 0) {
        buf_str(out, STR("{\"type\":\"integer\"}"));
        return;
    }
    buf_printf(out, "{\"oneOf\":[{\"type\":\"object\",\"required\":[\"a%d\"],\"properties\":{\"k\":", depth);
    one_of(out, depth - 1);
    buf_printf(out, "}},{\"type\":\"object\",\"required\":[\"b%d\"]}]}", depth);
}

static void test_hostile(void **state)
{
    (void)state;
    Buf t = { 0 };
    for (int i = 0; i < 60000; i++) buf_str(&t, STR("{\"items\":"));
    hostile(&t, false);
    buf_clear(&t);
    for (int i = 0; i < 300; i++) buf_str(&t, STR("{\"allOf\":["));
    buf_str(&t, STR("true"));
    for (int i = 0; i < 300; i++) buf_str(&t, STR("]}"));
    hostile(&t, false);
    buf_clear(&t);
    buf_str(&t, STR("{\"enum\":["));
    for (int i = 0; i < 5000; i++) buf_printf(&t, "%s\"value %d\"", i ? "," : "", i);
    buf_str(&t, STR("]}"));
    hostile(&t, true);
    buf_clear(&t);
    one_of(&t, 12);
    hostile(&t, true);
    buf_clear(&t);
    buf_str(&t, STR("{\"type\":\"object\",\"properties\":{"));
    for (int i = 0; i < 50000; i++) buf_printf(&t, "%s\"p%d\":{}", i ? "," : "", i);
    buf_str(&t, STR("}}"));
    hostile(&t, false);
    buf_free(&t);
}

/* ---- a corpus ---- */

typedef struct {
    int files, compiled, valid, accepted, invalid, caught;
} Tally;

static void check_instances(Grammar *g, json_t *tests, const char *name, Tally *n)
{
    json_t *test;
    size_t i;
    json_array_foreach(tests, i, test)
    {
        bool valid = json_is_true(json_object_get(test, "valid"));
        char *text = json_dumps(json_object_get(test, "data"), JSON_COMPACT | JSON_ENCODE_ANY);
        size_t length = text ? strlen(text) : 0, at = text ? text_accepts(g, str_of(text)) : 0;
        bool got = at > length;
        if (got && !valid) print_message("%s, instance %zu: INVALID, ACCEPTED\n", name, i);
        if (!got && valid)
            print_message("%s, instance %zu: valid, refused behind %.*s\n", name, i, (int)MIN(at, (size_t)60),
                          text + at - MIN(at, (size_t)60));
        n->valid += valid;
        n->accepted += valid && got;
        n->invalid += !valid;
        n->caught += !valid && !got;
        free(text);
    }
}

static void check_file(GrammarVocab *v, const char *path, const char *name, Tally *n)
{
    json_t *j = json_load_file(path, 0, NULL);
    char *schema = j ? json_dumps(json_object_get(j, "schema"), JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (schema) {
        GrammarError err;
        Grammar *g = text_compile(v, GRAMMAR_JSON_SCHEMA, schema, NULL, &err);
        n->files++;
        n->compiled += g != NULL;
        if (!g) print_message("%s: %s at %s\n", name, err.err.text, err.pointer);
        if (g) check_instances(g, json_object_get(j, "tests"), name, n);
        grammar_drop(g);
    }
    free(schema);
    json_decref(j);
}

static void test_corpus(void **state)
{
    (void)state;
    const char *root = getenv("RADISH_CORPUS");
    char path[1024];
    Tally n = { 0 };
    if (!root) skip();
    snprintf(path, sizeof path, "%s/maskbench-dev/data", root);
    DIR *d = opendir(path);
    if (!d) skip();
    GrammarVocab *v = vocab();
    for (struct dirent *e; (e = readdir(d));) {
        if (!strstr(e->d_name, ".json")) continue;
        snprintf(path, sizeof path, "%s/maskbench-dev/data/%s", root, e->d_name);
        check_file(v, path, e->d_name, &n);
    }
    closedir(d);
    grammar_vocab_drop(v);
    print_message("%d of %d schemas compiled; %d of %d valid accepted; %d of %d invalid refused\n", n.compiled, n.files,
                  n.accepted, n.valid, n.caught, n.invalid);
    assert_int_equal(n.caught, n.invalid);
    assert_true(n.compiled * 10 >= n.files * 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keywords), cmocka_unit_test(test_options), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_hostile),  cmocka_unit_test(test_corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
