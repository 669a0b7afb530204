/* test_keywords.c - JSON Schema keyword by keyword: what is enforced, in part, refused, or says nothing here. What the test finds is the table
 * in docs/structured-output.md, line for line: on a difference it prints the one it should be. */
#include <stdio.h>

#include "base/file.h"
#include "text_check.h"

#define BEGIN "<!-- keywords: tests/grammar/test_keywords.c -->\n"
#define END   "<!-- end -->\n"

typedef struct {
    const char *keyword, *note;
    const char *schema, *good[4], *bad[4];
    const char *refused; /* a schema that is not compiled, for this keyword */
} Row;

#define OBJ    "{\"type\":\"object\","
#define ARR    "{\"type\":\"array\","
#define STRING "{\"type\":\"string\","

static const Row rows[] = {
    { "`type`",
      "all seven, and lists of them; an integer is written without a fraction",
      "{\"type\":[\"integer\",\"null\"]}",
      { "1", "null", "-12" },
      { "1.5", "\"\"", "1.0", "true" },
      NULL },
    { "`enum`, `const`",
      "strings and keys in the one spelling of JSON's shortest form; objects with their keys in order",
      "{\"enum\":[1,\"a\",{\"k\":[true]},2.0]}",
      { "1", "\"a\"", "{\"k\":[true]}", "2.0" },
      { "3", "\"\\u0061\"", "{}", "[true]" },
      NULL },
    { "`properties`, `required`",
      "keys in their order if all are required, else in any; each at most once",
      OBJ "\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{}},\"required\":[\"b\"],\"additionalProperties\":false}",
      { "{\"b\":1,\"a\":null}", "{\"a\":null,\"b\":1}", "{\"b\":1}" },
      { "{}", "{\"a\":null}", "{\"b\":1,\"b\":2}", "{\"b\":1,\"a\":1}" },
      NULL },
    { "`additionalProperties`",
      "keys that are not listed may come twice",
      OBJ "\"properties\":{\"a\":{}},\"additionalProperties\":{\"type\":\"null\"}}",
      { "{\"x\":null,\"a\":1}", "{}" },
      { "{\"x\":1}", "{\"\\u0061\":1}" },
      NULL },
    { "`patternProperties`",
      "a key under several patterns meets all of them",
      OBJ "\"patternProperties\":{\"^x\":{\"type\":\"integer\"},\"y$\":{\"minimum\":5}}}",
      { "{\"x\":1}", "{\"xy\":7}", "{\"z\":\"\"}" },
      { "{\"x\":null}", "{\"xy\":1}", "{\"y\":4}" },
      NULL },
    { "`propertyNames`",
      "",
      OBJ "\"propertyNames\":{\"pattern\":\"^[ab]+$\"}}",
      { "{\"ab\":1}", "{}" },
      { "{\"c\":1}" },
      NULL },
    { "`minProperties`, `maxProperties`",
      "",
      OBJ "\"properties\":{\"a\":{}},\"minProperties\":2,\"maxProperties\":3}",
      { "{\"a\":1,\"b\":2}", "{\"x\":1,\"y\":2,\"a\":3}" },
      { "{\"a\":1}", "{\"a\":1,\"b\":2,\"c\":3,\"d\":4}" },
      NULL },
    { "`dependentRequired`, `dependentSchemas`, `dependencies`",
      "",
      OBJ "\"dependentRequired\":{\"a\":[\"b\"]}}",
      { "{}", "{\"b\":1,\"a\":2}", "{\"b\":1}" },
      { "{\"a\":1}", "{\"a\":1,\"c\":1}" },
      NULL },
    { "`items`, `prefixItems`, `additionalItems`",
      "draft 4's lists of `items` too",
      ARR "\"prefixItems\":[{\"type\":\"null\"}],\"items\":{\"type\":\"integer\"}}",
      { "[]", "[null]", "[null,1,2]" },
      { "[1]", "[null,null]" },
      NULL },
    { "`minItems`, `maxItems`",
      "",
      ARR "\"minItems\":1,\"maxItems\":2}",
      { "[1]", "[1,2]" },
      { "[]", "[1,2,3]" },
      NULL },
    { "`contains`, `minContains`, `maxContains`",
      "at most three of them, or of complements over items, on one array",
      ARR "\"contains\":{\"type\":\"null\"},\"minContains\":2,\"maxContains\":3}",
      { "[null,1,null]" },
      { "[null]", "[]", "[null,null,null,null]" },
      ARR "\"allOf\":[{\"contains\":{\"minimum\":1}},{\"contains\":{\"minimum\":2}},{\"contains\":{\"minimum\":3}},{"
          "\"contains\":{\"minimum\":4}}]}" },
    { "`uniqueItems`",
      "over at most 256 listed values (`enum`, `const`, booleans, null)",
      ARR "\"items\":{\"enum\":[1,2,\"1\"]},\"uniqueItems\":true}",
      { "[]", "[2,\"1\",1]" },
      { "[1,1]", "[2,1,2]" },
      ARR "\"items\":{\"type\":\"string\"},\"uniqueItems\":true}" },
    { "`minLength`, `maxLength`",
      "characters, however they are escaped",
      STRING "\"minLength\":2,\"maxLength\":3}",
      { "\"ab\"", "\"\\u00e9\\n\"", "\"\\ud83d\\ude00a\"" },
      { "\"a\"", "\"abcd\"" },
      NULL },
    { "`pattern`",
      "found anywhere, as ECMA 262 has it; no look-around, no back-references",
      STRING "\"pattern\":\"^\\\\w+-[0-9]{2}\"}",
      { "\"ab-12\"", "\"a-00x\"" },
      { "\"-12\"", "\"ab-1\"" },
      STRING "\"pattern\":\"(?=a)b\"}" },
    { "`format`",
      "date, time, date-time, duration, email, hostname, ipv4, ipv6, uuid, uri, uri-reference, iri, uri-template, "
      "json-pointer and "
      "their relatives; other names are annotations",
      STRING "\"format\":\"date\"}",
      { "\"2024-02-29\"" },
      { "\"2023-02-29\"", "\"x\"" },
      NULL },
    { "`minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`",
      "exact, in plain decimals; draft 4's booleans too",
      "{\"type\":\"number\",\"exclusiveMinimum\":0.25,\"maximum\":10}",
      { "0.251", "10", "9.99" },
      { "0.25", "10.01", "1e1", "-1" },
      NULL },
    { "`multipleOf`",
      "whole numbers up to 10^6 whose prime powers beside 2 and 5 are at most 19, or decimals that divide a power of "
      "ten",
      "{\"type\":\"integer\",\"multipleOf\":12}",
      { "24", "-36", "0" },
      { "1", "100" },
      "{\"type\":\"number\",\"multipleOf\":0.37}" },
    { "`allOf`, `anyOf`",
      "any nesting; siblings count",
      "{\"anyOf\":[{\"type\":\"integer\"},{\"maxLength\":1}],\"allOf\":[{\"type\":[\"string\",\"integer\"]},{"
      "\"minimum\":3}]}",
      { "3", "\"a\"" },
      { "2", "\"ab\"", "null" },
      NULL },
    { "`oneOf`",
      "exact: just one of them",
      "{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\",\"minimum\":5}]}",
      { "1", "5.5" },
      { "7", "4.5" },
      NULL },
    { "`not`",
      "on all types; at most three complements that ask for some other key on one object",
      "{\"type\":[\"string\",\"integer\"],\"not\":{\"enum\":[\"ab\",3]}}",
      { "\"a\"", "4" },
      { "\"ab\"", "3", "\"\\u0061b\"" },
      ARR "\"not\":{\"uniqueItems\":true}}" },
    { "`if`, `then`, `else`",
      "",
      OBJ "\"if\":{\"required\":[\"a\"]},\"then\":{\"required\":[\"b\"]},\"else\":{\"maxProperties\":1}}",
      { "{\"a\":1,\"b\":2}", "{}", "{\"c\":1}" },
      { "{\"a\":1}", "{\"b\":1,\"c\":2}" },
      NULL },
    { "`$ref`, `$defs`, `definitions`, `$anchor`",
      "into the schema itself, recursion too; nothing is fetched",
      "{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/t\"}}}}",
      { "[]", "[[],[[]]]" },
      { "[1]", "1" },
      "{\"$ref\":\"http://example.com/x\"}" },
    { "`$dynamicRef`, `$recursiveRef`", "", NULL, { NULL }, { NULL }, "{\"$dynamicRef\":\"#x\"}" },
    { "`unevaluatedProperties`, `unevaluatedItems`",
      "where no schema beside them applies in place",
      OBJ "\"properties\":{\"a\":{}},\"unevaluatedProperties\":false}",
      { "{\"a\":1}", "{}" },
      { "{\"b\":1}" },
      OBJ "\"allOf\":[{}],\"unevaluatedProperties\":false}" },
    { "`extends`, `disallow`, `divisibleBy`", "of draft 3", NULL, { NULL }, { NULL }, "{\"disallow\":\"string\"}" },
    { "`title`, `description`, `default`, `examples`, `$comment`, unknown keywords",
      "",
      "{\"title\":\"t\",\"default\":1,\"whatever\":2}",
      { "1", "null", "{}" },
      { NULL },
      NULL },
};

static GrammarVocab *vocab(Tokens *t)
{
    static const char *const alphabet[] = { "a", "1", "\"", "{", "}", "[", "]", ",", ":", "null" };
    Rng rng = { 3 };
    return tokens_vocab(t, &rng, alphabet, COUNT(alphabet), 200, 4);
}

static void check_instances(GrammarVocab *v, const Row *r)
{
    GrammarError err;
    Grammar *g = text_compile(v, GRAMMAR_JSON_SCHEMA, r->schema, NULL, &err);
    if (!g) fail_msg("%s: %s at %s", r->schema, err.err.text, err.pointer);
    for (int i = 0; i < 4 && r->good[i]; i++)
        if (!text_accepted(g, str_of(r->good[i]))) fail_msg("%s refuses %s", r->schema, r->good[i]);
    for (int i = 0; i < 4 && r->bad[i]; i++)
        if (text_accepted(g, str_of(r->bad[i]))) fail_msg("%s accepts %s", r->schema, r->bad[i]);
    grammar_drop(g);
}

static void check_refused(GrammarVocab *v, const Row *r)
{
    GrammarError err;
    Grammar *g = text_compile(v, GRAMMAR_JSON_SCHEMA, r->refused, NULL, &err);
    if (g) fail_msg("%s compiles", r->refused);
    if (err.err.status != E_UNSUPPORTED) fail_msg("%s: %s", r->refused, err.err.text);
}

/* What the instances show of a keyword. */
static const char *found(GrammarVocab *v, const Row *r)
{
    if (r->schema) check_instances(v, r);
    if (r->refused) check_refused(v, r);
    if (!r->schema) return "refused";
    if (r->refused) return "in part";
    return r->bad[0] ? "yes" : "annotation";
}

static void test_table(void **state)
{
    Tokens *t = mem_alloc(sizeof *t);
    GrammarVocab *v = vocab(t);
    Buf table = { 0 };
    (void)state;
    buf_str(&table, STR("| keyword | enforced | |\n|---|---|---|\n"));
    for (size_t i = 0; i < COUNT(rows); i++)
        buf_printf(&table, "| %s | %s | %s |\n", rows[i].keyword, found(v, &rows[i]), rows[i].note);
    Arena *a = arena_new(0);
    Str doc;
    Err err;
    if (file_read(a, RADISH_TESTS "/../docs/structured-output.md", 1 << 20, &doc, &err) != OK) fail_msg("%s", err.text);
    size_t from = str_find(doc, STR(BEGIN), 0), to = str_find(doc, STR(END), 0);
    assert_true(from < to && to != SIZE_MAX);
    bool same = str_eq(str_cut(doc, from + sizeof BEGIN - 1, to), buf_view(&table));
    if (!same) printf("docs/structured-output.md should have\n%.*s", STR_FMT(buf_view(&table)));
    assert_true(same);
    arena_free(a);
    buf_free(&table);
    grammar_vocab_drop(v);
    mem_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_table) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
