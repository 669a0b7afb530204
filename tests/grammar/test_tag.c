/* test_tag.c - structural tags: texts that are and are not accepted, format by format; what is refused, and where; free text against a
 * recogniser written out by hand; masks against their definition; five hundred tools at once. */
#include <stdio.h>
#include <stdlib.h>

#include "text_check.h"

static Tokens tokens;
static int32_t first_special;

static bool is_special(void *arg, int32_t id)
{
    (void)arg;
    return id >= first_special;
}

/* <special>, and (marks) those that the styles of some models are made of. */
static GrammarVocab *vocab_with(bool marks)
{
    static const char *const alphabet[] = { "a", "b",  "1",  "\"", "{",  "}", ":", "<", "</", ">",
                                            "/", "<a", "a>", "ab", "\n", " ", ",", "=", "end" };
    static const char *const more[] = { "<|\"|>", "\uff5cDSML\uff5c", "<|open|>", "<|close|>", "<|sep|>" };
    Rng rng = { 5 };
    grammar_vocab_drop(tokens_vocab(&tokens, &rng, alphabet, COUNT(alphabet), 300, 4));
    first_special = tokens.special;
    for (size_t i = 0; marks && i < COUNT(more); i++) tokens_add(&tokens, more[i], strlen(more[i]));
    GrammarVocabSpec spec = { tokens.n, tokens_bytes, is_special, &tokens, &tokens.end, 1 };
    return grammar_vocab_new(&spec);
}

static GrammarVocab *vocab(void)
{
    return vocab_with(false);
}

/* The special token whose text stands at the begin of s, -1. */
static int32_t special_at(Str s)
{
    for (int32_t id = first_special; id < tokens.n; id++)
        if (id != tokens.end && str_starts(s, tokens.token[id])) return id;
    return -1;
}

/* As a tokenizer that knows the special tokens reads it: those where their text stands, the tokens of single bytes elsewhere. How far it
 * gets; text.n + 1: the output may end there. */
static size_t reads(Grammar *g, Str text)
{
    GrammarMatcher *m = grammar_matcher_new(g);
    size_t i = 0;
    Err err;
    for (bool good = true; i < text.n && good;) {
        int32_t id = special_at(str_cut(text, i, text.n));
        good = grammar_accept(m, id >= 0 ? id : (uint8_t)text.p[i]);
        if (good) i += id >= 0 ? tokens.token[id].n : 1;
    }
    if (i == text.n && grammar_can_end(m)) i++;
    if (grammar_matcher_failed(m, &err)) print_message("%.80s: %s\n", text.p, err.text);
    grammar_matcher_free(m);
    return i;
}

/* ---- formats ---- */

#define AB           "{\"type\":\"regex\",\"pattern\":\"[ab]+\"}"
#define ANY          "{\"type\":\"any_text\"}"
#define INT          "{\"type\":\"json_schema\",\"json_schema\":{\"type\":\"integer\"}}"
#define TAG(b, c, e) "{\"type\":\"tag\",\"begin\":" b ",\"content\":" c ",\"end\":" e "}"
#define F(...)       "{\"type\":\"structural_tag\",\"format\":" __VA_ARGS__ "}"
#define SP           "{\"type\":\"token\",\"token\":\"<special>\"}"

typedef struct {
    const char *tag;
    const char *good[8], *bad[9];
} Case;

static const Case cases[] = {
    { F("{\"type\":\"const_string\",\"value\":\"h\xc3\xa9\\n\"}"), { "h\xc3\xa9\n" }, { "", "h", "h\xc3\xa9\n\n" } },
    { F("{\"type\":\"const_string\",\"value\":\"\"}"), { "" }, { "a" } },
    { F("{\"type\":\"const_string\",\"value\":\"a<special>b<special>\"}"),
      { "a<special>b<special>" },
      { "a<special>b", "ab", "<special>" } },
    { F(INT), { "12" }, { "\"a\"", "<" } },
    { F("{\"type\":\"json_schema\",\"style\":\"json\",\"max_whitespace_cnt\":1,\"json_schema\":{\"type\":\"array\"}}"),
      { "[1, 2]", "[ ]", "[1,\n2]" },
      { "[1,  2]" } },
    { F(AB), { "ab" }, { "", "c" } },
    { F("{\"type\":\"regex\",\"pattern\":\"[ab]+\",\"excludes\":[\"bb\"]}"), { "aba", "b" }, { "abb", "bba" } },
    { F("{\"type\":\"grammar\",\"grammar\":\"root ::= \\\"(\\\" root \\\")\\\" | \\\"x\\\"\"}"),
      { "x", "((x))" },
      { "(x" } },
    { F(ANY), { "", "anything", "<a>\n\xc3\xa9" }, { "a\xff", "a<special>" } },
    { F("{\"type\":\"any_text\",\"excludes\":[\"ab\",\"</\"]}"),
      { "", "a", "ba", "a<", "<a/b" },
      { "ab", "xaby", "</" } },
    { F("{\"type\":\"any_text\",\"max_chars\":2,\"excludes\":[\"b\"]}"),
      { "", "\xc3\xa9"
            "a" },
      { "aaa", "b" } },
    { F("{\"type\":\"sequence\",\"elements\":[" AB "," INT "]}"), { "a1", "ba-20" }, { "a", "1", "a1b" } },
    { F("{\"type\":\"or\",\"elements\":[" AB "," INT "]}"), { "a", "1" }, { "a1", "" } },
    { F("{\"type\":\"optional\",\"content\":" INT "}"), { "", "1" }, { "1a" } },
    { F("{\"type\":\"plus\",\"content\":{\"type\":\"const_string\",\"value\":\"ab\"}}"),
      { "ab", "abab" },
      { "", "aba" } },
    { F("{\"type\":\"star\",\"content\":{\"type\":\"const_string\",\"value\":\"ab\"}}"),
      { "", "ab", "abab" },
      { "aba" } },
    { F("{\"type\":\"repeat\",\"min\":2,\"max\":3,\"content\":{\"type\":\"const_string\",\"value\":\"a\"}}"),
      { "aa", "aaa" },
      { "a", "aaaa" } },
    { F("{\"type\":\"repeat\",\"min\":2,\"max\":-1,\"content\":{\"type\":\"const_string\",\"value\":\"a\"}}"),
      { "aa", "aaaaaa" },
      { "a" } },
    { F(TAG("\"<a>\"", ANY, "\"</a>\"")), { "<a></a>", "<a>x</</a>" }, { "<a>", "<a></a></a>", "x<a></a>" } },
    { F(TAG("\"\"", ANY, "\"aa\"")), { "aa", "baa", "abaa" }, { "aaa", "a", "baaa" } },
    { F(TAG("\"\"", ANY, "[\"ab\",\"b\"]")), { "ab", "b", "xab", "aab" }, { "abb", "bb", "x" } },
    { F(TAG("\"<\"", ANY, "[\"</a>\",\"/\"]")), { "<x</a>", "<x/", "<</a>" }, { "<x//", "<x</a></a>", "<x</a" } },
    { F(TAG("\"<\"", ANY, "[\">\",\"\"]")), { "<", "<x", "<x>", "<>" }, { "<x>y", ">" } },
    { F(TAG("\"<\"", "{\"type\":\"any_text\",\"excludes\":[\"b\"]}", "\"b>\"")), { "<b>", "<ab>" }, { "<bb>", "<b" } },
    { F(TAG("\"<\"", "{\"type\":\"sequence\",\"elements\":[" INT "," ANY "]}", "\">\"")),
      { "<1>", "<1a b>" },
      { "<a>", "<1>>" } },
    { F(TAG(SP, INT, SP)), { "<special>1<special>" }, { "1", "<special>1", "<special>a<special>" } },
    { F(TAG("\"x<special>y\"", ANY, "\"<special>\"")),
      { "x<special>yab<special>", "x<special>y<special>" },
      { "xy<special>" } },
    { F("{\"type\":\"triggered_tags\",\"triggers\":[\"<\"],\"tags\":[" TAG("\"<a>\"", INT, "\"</a>\"") "," TAG(
          "\"<b>\"", AB, "\"</b>\"") "]}"),
      { "", "text", "<a>1</a>", "x<b>a</b>y<a>2</a>", "<a>1</a><a>1</a>" },
      { "<", "x<c", "<a>a</a>", "<a>1</a", "<a>1</a>z<" } },
    { F("{\"type\":\"triggered_tags\",\"triggers\":[\"<a\"],\"tags\":[" TAG("\"<a>\"", INT,
                                                                            "\"\"") "],\"at_least_one\":true}"),
      { "<a>1", "<a>1 text", "<a>1<", "<a>12<a>3" },
      { "", "x<a>1", "<a>", "<a>1<a" } },
    { F("{\"type\":\"triggered_tags\",\"triggers\":[\"<a\"],\"tags\":[" TAG("\"<a>\"", INT,
                                                                            "\"/\"") "],\"stop_after_first\":true}"),
      { "", "text", "x<a>1/" },
      { "<a>1/x", "<a>1/<a>1/", "<a" } },
    { F("{\"type\":\"triggered_tags\",\"triggers\":[\"<a\"],\"tags\":[" TAG("\"<a>\"", INT,
                                                                            "\"/\"") "],\"stop_after_first\":true,"
                                                                                     "\"at_least_one\":true}"),
      { "<a>1/" },
      { "", "x<a>1/", "<a>1/<a>1/" } },
    { F("{\"type\":\"triggered_tags\",\"triggers\":[\"<a\"],\"tags\":[" TAG("\"<a>\"", INT,
                                                                            "\"/\"") "],\"excludes\":[\"no\"]}"),
      { "n", "<a>1/n", "on" },
      { "no", "x<a>1/no" } },
    { F("{\"type\":\"triggered_tags\",\"triggers\":[\"<special>\"],\"tags\":[" TAG("\"<special>f\"", INT,
                                                                                   "\"<special>\"") "]}"),
      { "", "text <", "x<special>f1<special>y", "<special>f1<special><special>f2<special>" },
      { "<special>", "<special>g", "<special>f1<special><special>", "x<special>f1" } },
    { F("{\"type\":\"triggered_tags\",\"triggers\":[\"a<special>b\",\"a<special>c\"],\"tags\":[" TAG(
          "\"a<special>b1\"", AB, "\"\"") "," TAG("\"a<special>c\"", INT, "\"\"") "],\"stop_after_first\":true}"),
      { "a", "xa<special>b1ab", "a<special>c5", "aa<special>c5" },
      { "<special>b1a", "x<special>", "a<special>b1", "a<special>a" } },
    { F(TAG("\"<r>\"",
            "{\"type\":\"triggered_tags\",\"triggers\":[\"<a\"],\"tags\":[" TAG("\"<a>\"", ANY, "\"/\"") "]}",
            "\"</r>\"")),
      { "<r></r>", "<r>x<a>1/y</r>", "<r><a></r>/</r>" },
      { "<r></r></r>", "<r><a>1</r>" } },
    { F("{\"type\":\"tags_with_separator\",\"separator\":\", \",\"tags\":[" TAG("\"<\"", INT, "\">\"") "," TAG(
          "\"[\"", AB, "\"]\"") "]}"),
      { "", "<1>", "[a], <1>, <2>" },
      { "<1>,<1>", "<1>, ", ", <1>", "<1> " } },
    { F("{\"type\":\"tags_with_separator\",\"separator\":\"\",\"at_least_one\":true,\"tags\":[" TAG("\"<\"", INT,
                                                                                                    "\">\"") "]}"),
      { "<1>", "<1><2>" },
      { "" } },
    { F("{\"type\":\"tags_with_separator\",\"separator\":\",\",\"stop_after_first\":true,\"tags\":[" TAG("\"<\"", INT,
                                                                                                         "\">\"") "]}"),
      { "", "<1>" },
      { "<1>,<1>" } },
    { F("{\"type\":\"dispatch\",\"rules\":[[\"<a\"," INT "],[\"<b\"," AB "]],\"excludes\":[\"z\"]}"),
      { "", "text", "<a1", "x<a1 <bab1<a2" },
      { "<a", "<ax", "z" } },
    { F("{\"type\":\"dispatch\",\"rules\":[[\"<a\"," INT "]],\"loop\":false}"), { "x", "<a1" }, { "<a1x", "<a" } },
    { F(SP), { "<special>" }, { "", "a" } },
    { F("{\"type\":\"token\",\"token\":97}"), { "a" }, { "b", "<special>" } },
    { F(TAG(SP, "{\"type\":\"any_tokens\"}", SP)),
      { "<special><special>", "<special>\xff\xfe<special>" },
      { "<special>a", "<special><special><special>" } },
    { F("{\"type\":\"exclude_token\",\"exclude_tokens\":[97,\"b\"]}"), { "<special>", "1" }, { "", "a", "b", "11" } },
    { F("{\"type\":\"any_tokens\",\"exclude_tokens\":[\"<special>\"],\"max_tokens\":2}"),
      { "", "ab" },
      { "abb", "<special>" } },
    { F("{\"type\":\"token_triggered_tags\",\"trigger_tokens\":[\"<special>\"],\"exclude_tokens\":[\"b\"],\"tags\":"
        "[" TAG(SP, INT, SP) "]}"),
      { "", "a\xff", "a<special>1<special>a<special>2<special>" },
      { "b", "<special>", "<special>1<special>b" } },
    { F("{\"type\":\"token_triggered_tags\",\"trigger_tokens\":[\"<special>\"],\"at_least_one\":true,\"stop_after_"
        "first\":true,\"tags\":[" TAG(SP, INT, "\"\"") "]}"),
      { "<special>1" },
      { "", "a<special>1", "<special>1a" } },
    { F("{\"type\":\"token_dispatch\",\"rules\":[[\"<special>\"," INT "]],\"loop\":false}"),
      { "ab", "a<special>1" },
      { "<special>a", "<special>1<special>2" } },
    /* SGLang's form; a schema may be a string */
    { "{\"type\":\"structural_tag\",\"structures\":[{\"begin\":\"<f=a>\",\"schema\":{\"type\":\"integer\"},\"end\":\"</"
      "f>\"},"
      "{\"begin\":\"<f=b>\",\"schema\":\"{\\\"const\\\":null}\",\"end\":\"</f>\"}],\"triggers\":[\"<f=\"]}",
      { "", "<f", "see <f=a>1</f> and <f=b>null</f>.", "<f=a>1</f><f=a>2</f>" },
      { "<f=", "<f=c>", "<f=a>null</f>", "<f=a>1" } },
    { "{\"format\":" ANY "}", { "x" }, { "\xff" } },
};

/* ---- styles of schemas ---- */

#define OBJECT                                                                                                         \
    "{\"type\":\"object\",\"properties\":{\"s\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"},\"e\":{\"enum\":["  \
    "\"c\",\"d e\",null]},\"o\":{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"string\",\"minLength\":2}},"    \
    "\"required\":[\"k\"],\"additionalProperties\":false},\"b\":{\"type\":\"boolean\"},\"a\":{\"type\":\"array\"},"    \
    "\"l\":{\"type\":\"string\",\"maxLength\":3,\"pattern\":\"^a\"}},\"additionalProperties\":false}"
#define STYLE(name, schema) F("{\"type\":\"json_schema\",\"style\":\"" name "\",\"json_schema\":" schema "}")
#define REQUIRED                                                                                                       \
    "{\"type\":\"object\",\"properties\":{\"x\":{},\"y\":{\"type\":[\"integer\",\"null\"]}},\"required\":[\"y\"]}"

static const Case styles[] = {
    { STYLE("qwen_xml", OBJECT),
      { "", "<parameter=s>\na \"b\" < c\n</parameter>\n<parameter=n>\n5\n</parameter>\n", "<parameter=s></parameter>",
        "<parameter=e>\nd e\n</parameter><parameter=o>{\"k\": \"ab\"}</parameter>", "<parameter=e>null</parameter>",
        "<parameter=l>\nab\n</parameter>", "<parameter=s><parameter=n></parameter>" },
      { "<parameter=n>\"5\"</parameter>", "<parameter=e>\"c\"</parameter>", "<parameter=l>abcd</parameter>",
        "<parameter=l>\nb\n</parameter>", "<parameter=o>{\"k\": \"a\"}</parameter>", "<parameter=z>1</parameter>",
        "<parameter=s>x</parameter></parameter>" } },
    { STYLE("xml", REQUIRED),
      { "<parameter=x>anything</parameter> <parameter=y>3</parameter>", "<parameter=y>null</parameter>",
        "<parameter=y>1</parameter><parameter=other>{}</parameter>" },
      { "", "<parameter=x>anything</parameter>", "<parameter=y>a</parameter>",
        "<parameter=y>1</parameter><parameter=y>2</parameter>" } },
    { STYLE("qwen_xml", "{\"type\":\"object\",\"properties\":{\"s\":{\"type\":\"string\",\"not\":{\"const\":\"bad\"}},"
                        "\"m\":{\"type\":\"string\",\"minLength\":2,\"maxLength\":3},\"c\":{\"const\":\"a\\n\"}}}"),
      { "<parameter=s>good</parameter>", "<parameter=s>\n\nbad\n</parameter>", "<parameter=m>\nab\n</parameter>",
        "<parameter=m>a\nb</parameter>", "<parameter=m>\n\n\n\n</parameter>", "<parameter=c>a\n\n</parameter>",
        "<parameter=c>\na\n\n</parameter>" },
      { "<parameter=s>bad</parameter>", "<parameter=s>\nbad\n</parameter>", "<parameter=s>bad\n</parameter>",
        "<parameter=m>a\n</parameter>", "<parameter=m>\na\n</parameter>", "<parameter=m>\nabcd\n</parameter>",
        "<parameter=m>\n\n\n</parameter>", "<parameter=c>a\n</parameter>" } },
    { F("{\"type\":\"qwen_xml_parameter\",\"json_schema\":" OBJECT "}"),
      { "<parameter=b>true</parameter>" },
      { "<parameter=b>1</parameter>" } },
    { STYLE("minimax_xml", OBJECT),
      { "<parameter name=\"s\">x</y></parameter>\n<parameter name=\"a\">[1, \"</parameter>\"]</parameter>" },
      { "<parameter name=\"l\">\na</parameter>", "<parameter=s>x</parameter>" } },
    { STYLE("deepseek_xml", OBJECT),
      { "<\uff5cDSML\uff5cparameter name=\"s\" string=\"true\">x</\uff5cDSML\uff5cparameter>",
        "<\uff5cDSML\uff5cparameter name=\"n\" string=\"false\">7</\uff5cDSML\uff5cparameter>",
        "<\uff5cDSML\uff5cparameter name=\"e\" string=\"false\">null</\uff5cDSML\uff5cparameter>" },
      { "<\uff5cDSML\uff5cparameter name=\"s\" string=\"false\">x</\uff5cDSML\uff5cparameter>",
        "<\uff5cDSML\uff5cparameter name=\"s\" string=\"false\">\"x\"</\uff5cDSML\uff5cparameter>",
        "<\uff5cDSML\uff5cparameter name=\"n\" string=\"true\">7</\uff5cDSML\uff5cparameter>" } },
    { STYLE("deepseek_xml", "{}"),
      { "<\uff5cDSML\uff5cparameter name=\"s\" string=\"true\">x</\uff5cDSML\uff5cparameter>",
        "<\uff5cDSML\uff5cparameter name=\"s\" string=\"false\">[\"x\"]</\uff5cDSML\uff5cparameter>" },
      { "<\uff5cDSML\uff5cparameter name=\"s\" string=\"false\">x</\uff5cDSML\uff5cparameter>" } },
    { STYLE("glm_xml", OBJECT),
      { "<arg_key>s</arg_key>\n<arg_value>x y</arg_value>\n<arg_key>n</arg_key>\n<arg_value>1</arg_value>",
        "<arg_key>e</arg_key><arg_value>c</arg_value>" },
      { "<arg_key>n</arg_key><arg_value>x</arg_value>", "<arg_key>s</arg_key>" } },
    { STYLE("kimi_k3_xml", OBJECT),
      { "<|open|>argument key=\"s\" type=\"string\"<|sep|>x<|close|>argument<|sep|>",
        "<|open|>argument key=\"b\" type=\"boolean\"<|sep|>true<|close|>argument<|sep|>" },
      { "<|open|>argument key=\"s\" type=\"number\"<|sep|>1<|close|>argument<|sep|>" } },
    { STYLE("pythonic", OBJECT),
      { "", "s=\"it's\\n\", n=5", "s=\"\\u00e9\\'\"", "e=None,o={\"k\": \"ab\"}",
        "b=True, a=[None, False, 1.5, {\"x\": []}]", "e=\"d e\"", "s='say \"hi\"\\n', e='c', a=['x\\'']" },
      { "l='abc'", "s='it's'", "b=true", "s=x", "s=\"\\/\"", "o={\"k\": \"a\"}", "e=null", "l=\"b\"", "s=\"x\"," } },
    { STYLE("pythonic", REQUIRED), { "y=1", "x={\"a\": True}, y=None, zed=\"\"" }, { "", "y=1, 2z=1", "y=True" } },
    { STYLE("gemma", OBJECT),
      { "{}", "{s:<|\"|>a \"b\"<|\"|>,n:5}", "{o:{k:<|\"|>ab<|\"|>},b:true,a:[1,<|\"|>x<|\"|>]}" },
      { "{s:\"a\"}", "{s:<|\"|>a<|\"|>b<|\"|>}", "{o:{k:<|\"|>a<|\"|>}}", "{\"n\":5}" } },
};

static void check_cases(GrammarVocab *v, const Case *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        GrammarError err;
        Grammar *g = text_compile(v, GRAMMAR_STRUCTURAL_TAG, c[i].tag, NULL, &err);
        if (!g) fail_msg("%s: %s at %s", c[i].tag, err.err.text, err.pointer);
        for (size_t k = 0; k < COUNT(c[i].good) && c[i].good[k]; k++) {
            size_t at = reads(g, str_of(c[i].good[k]));
            if (at <= strlen(c[i].good[k])) fail_msg("%s refuses %s at %zu", c[i].tag, c[i].good[k], at);
        }
        for (size_t k = 0; k < COUNT(c[i].bad) && c[i].bad[k]; k++)
            if (reads(g, str_of(c[i].bad[k])) > strlen(c[i].bad[k])) fail_msg("%s accepts %s", c[i].tag, c[i].bad[k]);
        grammar_drop(g);
    }
}

static void test_formats(void **state)
{
    (void)state;
    GrammarVocab *v = vocab();
    check_cases(v, cases, COUNT(cases));
    grammar_vocab_drop(v);
}

static void test_styles(void **state)
{
    (void)state;
    for (int marks = 0; marks < 2; marks++) {
        GrammarVocab *v = vocab_with(marks);
        check_cases(v, styles, COUNT(styles));
        grammar_vocab_drop(v);
    }
}

/* ---- refusals ---- */

static const struct {
    const char *tag, *place;
    Status status;
} refused[] = {
    { "{", "", E_INVALID },
    { "[]", "", E_INVALID },
    { "{}", "", E_INVALID },
    { "{\"type\":\"json\",\"format\":" ANY "}", "/type", E_INVALID },
    { "{\"format\":" ANY ",\"other\":1}", "", E_UNSUPPORTED },
    { F("1"), "/format", E_INVALID },
    { F("{\"value\":\"a\"}"), "/format/type", E_INVALID },
    { F("{\"type\":\"const\"}"), "/format/type", E_UNSUPPORTED },
    { F("{\"type\":\"const_string\"}"), "/format/value", E_INVALID },
    { F("{\"type\":\"const_string\",\"value\":\"a\",\"flags\":1}"), "/format", E_UNSUPPORTED },
    { F("{\"type\":\"json_schema\",\"json_schema\":{\"items\":{\"type\":\"x\"}}}"), "/format/json_schema/items/type",
      E_INVALID },
    { F("{\"type\":\"json_schema\",\"json_schema\":{\"$ref\":\"#/nowhere\"}}"), "/format/json_schema/$ref", E_INVALID },
    { F("{\"type\":\"json_schema\",\"json_schema\":{},\"style\":\"yaml\"}"), "/format/style", E_UNSUPPORTED },
    { F("{\"type\":\"json_schema\",\"json_schema\":{},\"any_order\":true}"), "/format/any_order", E_UNSUPPORTED },
    { F("{\"type\":\"json_schema\",\"json_schema\":false}"), "/format/json_schema", E_INVALID },
    { F("{\"type\":\"sequence\",\"elements\":[" AB ",{\"type\":\"regex\",\"pattern\":\"(?=a)\"}]}"),
      "/format/elements/1/pattern", E_UNSUPPORTED },
    { F("{\"type\":\"grammar\",\"grammar\":\"root ::= \\\"a\"}"), "/format/grammar", E_INVALID },
    { F("{\"type\":\"sequence\",\"elements\":[]}"), "/format/elements", E_INVALID },
    { F("{\"type\":\"any_text\",\"excludes\":[\"\"]}"), "/format/excludes/0", E_INVALID },
    { F("{\"type\":\"any_text\",\"max_tokens\":5}"), "/format/max_tokens", E_UNSUPPORTED },
    { F("{\"type\":\"any_text\",\"max_chars\":-5}"), "/format/max_chars", E_INVALID },
    { F("{\"type\":\"repeat\",\"min\":3,\"max\":2,\"content\":" ANY "}"), "/format/max", E_INVALID },
    { F("{\"type\":\"repeat\",\"min\":1,\"max\":2000000,\"content\":" AB "}"), "/format", E_LIMIT },
    { F(TAG("1", ANY, "\"\"")), "/format/begin", E_INVALID },
    { F(TAG("\"\"", ANY, "[]")), "/format/end", E_INVALID },
    { F(TAG("\"\"", ANY, "[1]")), "/format/end/0", E_INVALID },
    { F("{\"type\":\"tag\",\"begin\":\"a\",\"end\":\"b\"}"), "/format/content", E_INVALID },
    { F("{\"type\":\"token\",\"token\":\"<nowhere>\"}"), "/format/token", E_INVALID },
    { F("{\"type\":\"token\",\"token\":70000}"), "/format/token", E_INVALID },
    { F("{\"type\":\"triggered_tags\",\"triggers\":[\"x\"],\"tags\":[" TAG("\"<a>\"", ANY, "\"\"") "]}"),
      "/format/tags/0/begin", E_INVALID },
    { F("{\"type\":\"triggered_tags\",\"triggers\":[\"<\",\"a<b\"],\"tags\":[" TAG("\"<a>\"", ANY, "\"\"") "]}"),
      "/format/triggers/1", E_INVALID },
    { F("{\"type\":\"triggered_tags\",\"triggers\":[],\"tags\":[" TAG("\"<a>\"", ANY, "\"\"") "]}"), "/format/triggers",
      E_INVALID },
    { F("{\"type\":\"triggered_tags\",\"triggers\":[\"<\"],\"tags\":[]}"), "/format/tags", E_INVALID },
    { F("{\"type\":\"triggered_tags\",\"triggers\":[\"<\"],\"tags\":[" TAG(SP, ANY, "\"\"") "]}"),
      "/format/tags/0/begin", E_INVALID },
    { F("{\"type\":\"token_triggered_tags\",\"trigger_tokens\":[97],\"tags\":[" TAG(SP, ANY, "\"\"") "]}"),
      "/format/tags/0/begin", E_INVALID },
    { "{\"structures\":[{\"begin\":\"<f>\",\"schema\":{\"type\":\"x\"},\"end\":\"\"}],\"triggers\":[\"<f\"]}",
      "/structures/0/schema/type", E_INVALID },
    { "{\"structures\":[{\"begin\":\"f\",\"schema\":{},\"end\":\"\"}],\"triggers\":[\"<f\"]}", "/structures/0/begin",
      E_INVALID },
};

static void test_refusals(void **state)
{
    (void)state;
    GrammarVocab *v = vocab();
    for (size_t i = 0; i < COUNT(refused); i++) {
        GrammarError err;
        Grammar *g = text_compile(v, GRAMMAR_STRUCTURAL_TAG, refused[i].tag, NULL, &err);
        if (g) fail_msg("%s compiles", refused[i].tag);
        if (err.err.status != refused[i].status || strcmp(err.pointer, refused[i].place) != 0)
            fail_msg("%s: %d \"%s\" at \"%s\"", refused[i].tag, err.err.status, err.err.text, err.pointer);
    }
    grammar_vocab_drop(v);
}

/* A tree of formats deeper than the limit, and one as deep as the JSON reader goes. */
static void test_nesting(void **state)
{
    (void)state;
    GrammarVocab *v = vocab();
    for (int depth = 100; depth <= 10000; depth *= 10) {
        Buf t = { 0 };
        GrammarError err;
        buf_str(&t, STR("{\"format\":"));
        for (int i = 0; i < depth; i++) buf_str(&t, STR("{\"type\":\"optional\",\"content\":"));
        buf_str(&t, STR(INT));
        for (int i = 0; i < depth; i++) buf_char(&t, '}');
        buf_str(&t, STR("}"));
        buf_char(&t, 0);
        Grammar *g = text_compile(v, GRAMMAR_STRUCTURAL_TAG, t.p, NULL, &err);
        if (g == NULL) assert_int_equal(err.err.status, E_LIMIT);
        assert_int_equal(g != NULL, depth == 100);
        grammar_drop(g);
        buf_free(&t);
    }
    grammar_vocab_drop(v);
}

/* ---- free text, by hand ---- */

typedef struct {
    const char *trigger, *begin, *content[3], *end;
} HandTag;

typedef struct {
    HandTag tag[3];
    const char *excluded;
    bool must, stop;
} HandText;

static const HandText texts[] = {
    { { { "aa", "aab", { "", "a" }, "b" } }, NULL, false, false },
    { { { "ab", "ab", { "", "b", "aa" }, "" }, { "bb", "bba", { "a" }, "b" } }, NULL, false, false },
    { { { "aba", "abab", { "a", "b" }, "a" } }, "bb", false, false },
    { { { "aba", "aba", { "", "ab" }, "b" }, { "bb", "bb", { "a" }, "" } }, NULL, false, true },
    { { { "b", "ba", { "", "bb" }, "b" } }, "aaa", true, false },
    { { { "aa", "aab", { "b" }, "" }, { "aa", "aaa", { "", "b" }, "a" } }, NULL, true, true },
};

static bool hand_free(const HandText *h, Str s);

/* s begins with the tag: what is left is fine. */
static bool hand_tag(const HandText *h, const HandTag *t, Str s)
{
    for (size_t i = 0; i < COUNT(t->content) && t->content[i]; i++) {
        char whole[64];
        int n = snprintf(whole, sizeof whole, "%s%s%s", t->begin, t->content[i], t->end);
        if (!str_starts(s, (Str){ whole, (size_t)n })) continue;
        Str rest = str_cut(s, (size_t)n, s.n);
        if (h->stop ? rest.n == 0 : hand_free(h, rest)) return true;
    }
    return false;
}

/* The trigger whose occurrence is complete first decides. */
static bool hand_free(const HandText *h, Str s)
{
    size_t end = SIZE_MAX, from = 0;
    for (size_t i = 0; i < COUNT(h->tag) && h->tag[i].trigger; i++) {
        size_t at = str_find(s, str_of(h->tag[i].trigger), 0), n = strlen(h->tag[i].trigger);
        if (at == SIZE_MAX || at + n >= end) continue;
        end = at + n;
        from = at;
    }
    Str text = str_cut(s, 0, end == SIZE_MAX ? s.n : from);
    if (h->excluded && str_find(text, str_of(h->excluded), 0) != SIZE_MAX) return false;
    if (end == SIZE_MAX) return true;
    for (size_t i = 0; i < COUNT(h->tag) && h->tag[i].trigger; i++)
        if (str_eq(str_of(h->tag[i].trigger), str_cut(s, from, end)) && hand_tag(h, &h->tag[i], str_cut(s, from, s.n)))
            return true;
    return false;
}

static bool hand(const HandText *h, Str s)
{
    if (!h->must) return hand_free(h, s);
    for (size_t i = 0; i < COUNT(h->tag) && h->tag[i].trigger; i++)
        if (hand_tag(h, &h->tag[i], s)) return true;
    return false;
}

static void hand_json(const HandText *h, Buf *out)
{
    buf_str(out, STR("{\"format\":{\"type\":\"triggered_tags\",\"triggers\":["));
    for (size_t i = 0; i < COUNT(h->tag) && h->tag[i].trigger; i++)
        buf_printf(out, "%s\"%s\"", i ? "," : "", h->tag[i].trigger);
    buf_str(out, STR("],\"tags\":["));
    for (size_t i = 0; i < COUNT(h->tag) && h->tag[i].trigger; i++) {
        buf_printf(out, "%s{\"begin\":\"%s\",\"end\":\"%s\",\"content\":{\"type\":\"regex\",\"pattern\":\"",
                   i ? "," : "", h->tag[i].begin, h->tag[i].end);
        for (size_t k = 0; k < COUNT(h->tag[i].content) && h->tag[i].content[k]; k++)
            buf_printf(out, "%s%s", k ? "|" : "", h->tag[i].content[k]);
        buf_str(out, STR("\"}}"));
    }
    buf_printf(out, "],\"at_least_one\":%s,\"stop_after_first\":%s", h->must ? "true" : "false",
               h->stop ? "true" : "false");
    if (h->excluded) buf_printf(out, ",\"excludes\":[\"%s\"]", h->excluded);
    buf_str(out, STR("}}"));
    buf_char(out, 0);
}

/* Every text of up to 11 letters a and b. */
static void test_free_text(void **state)
{
    (void)state;
    GrammarVocab *v = vocab();
    for (size_t i = 0; i < COUNT(texts); i++) {
        Buf json = { 0 };
        GrammarError err;
        hand_json(&texts[i], &json);
        Grammar *g = text_compile(v, GRAMMAR_STRUCTURAL_TAG, json.p, NULL, &err);
        if (!g) fail_msg("%s: %s at %s", json.p, err.err.text, err.pointer);
        int accepted = 0;
        for (uint32_t n = 0; n <= 11; n++) {
            for (uint32_t bits = 0; bits < 1u << n; bits++) {
                char s[12];
                for (uint32_t k = 0; k < n; k++) s[k] = bits >> k & 1 ? 'b' : 'a';
                bool want = hand(&texts[i], (Str){ s, n }), got = text_accepted(g, (Str){ s, n });
                accepted += want;
                if (want != got) fail_msg("%s, \"%.*s\": %d", json.p, (int)n, s, got);
            }
        }
        assert_true(accepted > 2);
        grammar_drop(g);
        buf_free(&json);
    }
    grammar_vocab_drop(v);
}

/* ---- masks ---- */

static bool bit(const uint32_t *w, int32_t id)
{
    return w[id >> 5] >> (id & 31) & 1;
}

/* Each bit is what trying the token says; the end's, what grammar_can_end says. Tokens that no rule names must go byte by byte. */
static void check_mask(GrammarMatcher *m, bool by_id)
{
    uint32_t words[160];
    assert_true(grammar_mask(m, words, COUNT(words)));
    for (int32_t id = 0; id < tokens.n; id++) {
        bool want = id == tokens.end ? grammar_can_end(m) : grammar_accepts(m, &id, 1) == 1;
        assert_int_equal(bit(words, id), want);
        if (by_id || id >= first_special) continue;
        GrammarMatcher *c = grammar_matcher_clone(m);
        bool bytes = true;
        for (size_t i = 0; i < tokens.token[id].n && bytes; i++)
            bytes = grammar_accept_bytes(c, str_cut(tokens.token[id], i, i + 1));
        grammar_matcher_free(c);
        assert_int_equal(bytes, want);
    }
}

static void walk(Grammar *g, Rng *rng, int steps, bool by_id)
{
    GrammarMatcher *m = grammar_matcher_new(g);
    uint32_t words[160];
    for (int i = 0; i < steps && !grammar_ended(m); i++) {
        int32_t id;
        check_mask(m, by_id);
        grammar_mask(m, words, COUNT(words));
        for (id = first_special; id < tokens.n && (id == tokens.end || !bit(words, id)); id++) {
        }
        if (id == tokens.n || rng_below(rng, 2)) do
                id = (int32_t)rng_below(rng, (uint32_t)tokens.n);
            while (!bit(words, id));
        assert_true(grammar_accept(m, id));
    }
    assert_false(grammar_matcher_failed(m, NULL));
    grammar_matcher_free(m);
}

static void walk_cases(GrammarVocab *v, const Case *c, size_t n)
{
    Rng rng = { 11 };
    for (size_t i = 0; i < n; i++) {
        GrammarError err;
        Grammar *g = text_compile(v, GRAMMAR_STRUCTURAL_TAG, c[i].tag, NULL, &err);
        assert_non_null(g);
        bool by_id = strstr(c[i].tag, "token") != NULL;
        for (int k = 0; k < 3; k++) walk(g, &rng, 8, by_id);
        grammar_drop(g);
    }
}

static void test_masks(void **state)
{
    (void)state;
    for (int marks = 0; marks < 2; marks++) {
        GrammarVocab *v = vocab_with(marks);
        if (!marks) walk_cases(v, cases, COUNT(cases));
        walk_cases(v, styles, COUNT(styles));
        grammar_vocab_drop(v);
    }
}

/* ---- lengths of text up to a mark ---- */

/* The mask before each byte allows it, and the output goes on; then whether it may end. */
static bool follows(Grammar *g, Str text)
{
    GrammarMatcher *m = grammar_matcher_new(g);
    uint32_t words[160];
    Err err = { 0 };
    bool good = true;
    for (size_t i = 0; i < text.n && good; i++)
        good = grammar_mask(m, words, COUNT(words)) && bit(words, (uint8_t)text.p[i]) &&
               grammar_accept(m, (uint8_t)text.p[i]);
    good = good && grammar_can_end(m);
    if (grammar_matcher_failed(m, &err)) fail_msg("%s", err.text);
    grammar_matcher_free(m);
    return good;
}

/* What a schema says of a string besides its maxLength. */
static void check_length(GrammarVocab *v, const GrammarLimits *limits, const char *more, int length)
{
    char json[400];
    Buf text = { 0 };
    GrammarError err;
    Grammar *g;
    snprintf(json, sizeof json,
             STYLE("qwen_xml", "{\"type\":\"object\",\"properties\":{\"s\":{\"type\":\"string\",%s\"maxLength\":%d}}}"),
             more, length);
    grammar_compile(v, &(GrammarSpec){ GRAMMAR_STRUCTURAL_TAG, str_of(json), { 0 } }, limits, NULL, &g, &err);
    if (!g) fail_msg("%s: %s at %s", json, err.err.text, err.pointer);
    buf_str(&text, STR("<parameter=s>\n"));
    for (int k = 0; k < length; k++) buf_char(&text, "text <b>here</b></p "[k % 20]);
    size_t whole = text.n;
    buf_str(&text, STR("\n</parameter>"));
    if (!follows(g, buf_view(&text))) fail_msg("%s: %d characters refused", json, length);
    text.n = whole;
    buf_str(&text, STR("x\n</parameter>"));
    if (follows(g, buf_view(&text))) fail_msg("%s: %d characters accepted", json, length + 1);
    grammar_drop(g);
    buf_free(&text);
}

/* Exact at the bound, however large, and no step costs more than the limits allow. */
static void test_lengths(void **state)
{
    (void)state;
    static const int lengths[] = { 3, 70, 300, 2500 };
    GrammarVocab *v = vocab();
    GrammarLimits limits = grammar_default_limits;
    limits.mask_fuel = 40000;
    check_length(v, &limits, "", 0);
    for (size_t i = 0; i < COUNT(lengths); i++) {
        check_length(v, &limits, "", lengths[i]);
        check_length(v, &limits, "\"minLength\":2,", lengths[i]);
        check_length(v, &limits, "\"pattern\":\"^te\",", lengths[i]);
    }
    grammar_vocab_drop(v);
}

/* ---- long outputs ---- */

/* What a grammar has learned of free text does not grow with the text, and the last mask is as the first. */
static void test_long_text(void **state)
{
    (void)state;
    GrammarVocab *v = vocab();
    GrammarError err;
    Grammar *g = text_compile(v, GRAMMAR_STRUCTURAL_TAG,
                              F("{\"type\":\"triggered_tags\",\"triggers\":[\"<\uff5ct\uff5c>\"],\"tags\":[" TAG(
                                  "\"<\uff5ct\uff5c>\"", ANY, "\"</\uff5ct\uff5c>\"") "]}"),
                              NULL, &err);
    GrammarMatcher *m = grammar_matcher_new(g);
    static const char text[] = "free <text>, <\uff5ct\uff5c>in</>side</\uff5ct\uff5c> \xc3\xa9 <\uff5ct. ";
    uint32_t first[160], last[160];
    size_t memory = 0;
    assert_non_null(g);
    assert_true(grammar_mask(m, first, COUNT(first)));
    for (int i = 0; i < 300; i++) {
        for (size_t k = 0; k < sizeof text - 1; k++) {
            assert_true(grammar_mask(m, last, COUNT(last)));
            assert_true(grammar_accept_bytes(m, (Str){ text + k, 1 }));
        }
        if (i == 2) memory = grammar_memory(g);
    }
    assert_int_equal(grammar_memory(g), memory);
    assert_true(grammar_mask(m, last, COUNT(last)));
    assert_memory_equal(first, last, sizeof first);
    grammar_matcher_free(m);
    grammar_drop(g);
    grammar_vocab_drop(v);
}

/* ---- many tools ---- */

static void test_many_tools(void **state)
{
    (void)state;
    GrammarVocab *v = vocab();
    Buf t = { 0 };
    GrammarError err;
    buf_str(&t, STR("{\"format\":{\"type\":\"triggered_tags\",\"triggers\":[\"<f=\"],\"tags\":["));
    for (int i = 0; i < 500; i++)
        buf_printf(
            &t,
            "%s{\"begin\":\"<f=tool_%d>\",\"end\":\"</f>\",\"content\":{\"type\":\"json_schema\",\"json_schema\":{"
            "\"type\":\"object\",\"properties\":{\"path_%d\":{\"type\":\"string\",\"maxLength\":100000},\"n\":{"
            "\"type\":\"integer\",\"minimum\":0},\"mode\":{\"enum\":[\"r\",\"w\"]},\"tags\":{\"type\":\"array\","
            "\"items\":{\"type\":\"string\"}}},\"required\":[\"path_%d\"],\"additionalProperties\":false}}}",
            i ? "," : "", i, i, i);
    buf_str(&t, STR("]}}"));
    buf_char(&t, 0);
    Grammar *g = text_compile(v, GRAMMAR_STRUCTURAL_TAG, t.p, NULL, &err);
    if (!g) fail_msg("%s at %s", err.err.text, err.pointer);
    assert_true(text_accepted(
        g, STR("so <f=tool_499>{\"path_499\": \"a\", \"n\": 3}</f> and <f=tool_0>{\"path_0\":\"\"}</f>")));
    assert_false(text_accepted(g, STR("<f=tool_499>{\"path_498\": \"a\"}</f>")));
    assert_int_equal(text_accepts(g, STR("<f=tool_500>")), 10);
    grammar_drop(g);
    buf_free(&t);
    grammar_vocab_drop(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats), cmocka_unit_test(test_styles),    cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_nesting), cmocka_unit_test(test_free_text), cmocka_unit_test(test_masks),
        cmocka_unit_test(test_lengths), cmocka_unit_test(test_long_text), cmocka_unit_test(test_many_tools),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
