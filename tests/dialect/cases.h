/* cases.h - example outputs of every dialect, and what they mean. Shared by the tests of the parser and of the constraints.
 *
 * The meaning is written on one line: R:text reasoning, C:text content, then for each call N:name(arguments). Parts are
 * separated by '|'; newlines stand as they are. */
#ifndef TESTS_DIALECT_CASES_H
#define TESTS_DIALECT_CASES_H

static const char tools_json[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"description\":\"d\",\"parameters\":{\"type\":"
    "\"object\",\"properties\":{\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\"},\"exact\":{\"type\":"
    "\"boolean\"},\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"at\":{\"type\":[\"string\",\"null\"]}"
    ","
    "\"any\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}]},\"where\":{\"$ref\":\"#/$defs/where\"}},"
    "\"required\":[\"city\"],\"$defs\":{\"where\":{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"number\"}}}}}}"
    "},"
    "{\"type\":\"function\",\"function\":{\"name\":\"now\"}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"run\",\"strict\":true,\"parameters\":{\"type\":\"object\","
    "\"properties\":{\"code\":{\"type\":\"string\"}},\"required\":[\"code\"],\"additionalProperties\":false}}}]";

typedef struct {
    const char *dialect, *reasoning; /* NULL: none */
    bool inside;
    const char *text, *meaning;
} Case;

static const Case cases[] = {
    /* ---- Hermes, Qwen ---- */
    { "hermes", NULL, false, "Hello, <b>world</b>.\n", "C:Hello, <b>world</b>.\n" },
    { "hermes", NULL, false,
      "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\", \"days\":  2}}\n</tool_call>",
      "0:get_weather({\"city\": \"Paris\", \"days\":  2})" },
    { "hermes", NULL, false,
      "I look.\n\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n{\"name\": "
      "\"get_weather\", \"arguments\": {\"city\": \"a}\\\"{\"}}\n</tool_call>\n",
      "C:I look.|0:now({})|1:get_weather({\"city\": \"a}\\\"{\"})" },
    { "qwen25", NULL, false,
      "<tool_call>{\"arguments\": {\"city\": \"Oslo\"}, \"name\": \"get_weather\"}</tool_call>done",
      "0:get_weather({\"city\": \"Oslo\"})|C:done" },
    { "hermes", NULL, false, "<tool_call>\n{\"name\": \"f\\u0041\", \"arguments\": \"{\\\"a\\\": 1}\"}\n</tool_call>",
      "0:fA({\"a\": 1})" },
    { "hermes", NULL, false, "<tool_call>{\"name\": \"now\"}</tool_call>", "0:now({})" },
    { "hermes", NULL, false,
      "<tool_call>{\"name\": \"now\", \"arguments\": null, \"x\": [1, {\"y\": \"]\"}]}</tool_call>", "0:now({})" },
    { "hermes", NULL, false, "use <tool_call> tags, <tool_ca", "C:use <tool_call> tags, <tool_ca" },
    { "hermes", NULL, false, "<tool_call>\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
      "C:<tool_call>|0:now({})" },
    { "hermes", NULL, false, "<tool_call>{\"nome\": \"now\"}</tool_call>",
      "C:<tool_call>{\"nome\": \"now\"}</tool_call>" },
    { "hermes", NULL, false, "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Par",
      "0:get_weather({\"city\": \"Par)" },
    { "hermes", NULL, false, "<tool_call>\n{\"name\": \"get_wea", "C:<tool_call>\n{\"name\": \"get_wea" },
    /* a bracket is missing: the mark ends the call */
    { "hermes", NULL, false, "<tool_call>{\"name\": \"now\", \"arguments\": {\"a\": 1}\n</tool_call>after",
      "0:now({\"a\": 1})|C:after" },
    { "hermes", "qwen3", false, "<think>\nHmm.\n\nYes.\n</think>\n\nNo.", "R:Hmm.\n\nYes.|C:No." },
    { "hermes", "qwen3", false, "No <think> here </think>.", "C:No <think> here </think>." },
    { "hermes", "qwen3", true, "Hmm.\n</think>\n\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
      "R:Hmm.|0:now({})" },
    /* thoughts that a call ends, and thoughts about a call's mark */
    { "hermes", "qwen3", true, "Hmm.\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
      "R:Hmm.|0:now({})" },
    { "hermes", "qwen3", true, "A <tool_call> is apt.\n</think>ok", "R:A <tool_call> is apt.|C:ok" },
    { "hermes", "qwen3", true, "Hmm", "R:Hmm" },
    { "hermes", "deepseek-r1", true, "<think>\nHmm.</think>ok", "R:Hmm.|C:ok" },
    { NULL, "kimi", false, "◁think▷Hm ◁/thin ◁/think▷Ja", "R:Hm ◁/thin |C:Ja" },
    { NULL, "mistral", false, "[THINK]a[/THINK]b", "R:a|C:b" },
    /* ---- Qwen3-Coder ---- */
    { "qwen3_coder", NULL, false,
      "Sure.\n<tool_call>\n<function=get_weather>\n<parameter=city>\nSão "
      "\"Paulo\"\nBR\n</parameter>\n<parameter=days>\n3\n"
      "</parameter>\n<parameter=exact>\nTrue\n</parameter>\n<parameter=tags>\n[\"a\", 'b']\n</parameter>\n</function>\n"
      "</tool_call>",
      "C:Sure.|0:get_weather({\"city\": \"São \\\"Paulo\\\"\\nBR\", \"days\": 3, \"exact\": true, \"tags\": [\"a\", "
      "\"b\"]})" },
    { "qwen3_coder", NULL, false,
      "<tool_call>\n<function=get_weather>\n<parameter=city>\n\n<a></param>\n\n</parameter>\n<parameter=at>\nnull\n</"
      "parameter>"
      "\n<parameter=any>\n12\n</parameter>\n<parameter=where>\n{\"x\": "
      "1}\n</parameter>\n<parameter=other>\n12\n</parameter>\n"
      "</function>\n</tool_call>\n<tool_call>\n<function=now>\n</function>\n</tool_call>",
      "0:get_weather({\"city\": \"\\n<a></param>\\n\", \"at\": null, \"any\": 12, \"where\": {\"x\": 1}, \"other\": "
      "\"12\"})|1:now({})" },
    { "qwen3_coder", NULL, false, "<function=run>\n<parameter=code>\nx\n</parameter>\n</function>\n</tool_call>",
      "0:run({\"code\": \"x\"})" },
    { "qwen3_coder", NULL, false, "<tool_call>\n<function=run>\n<parameter=code>\nprint(1)\n</para",
      "0:run({\"code\": \"print(1)\\n</para)" },
    { "qwen3_coder", NULL, false, "<tool_call>\n<function=run>\n<parameter=days>\n1", "0:run({\"days\": \"1)" },
    { "qwen3_coder", NULL, false, "<tool_call>\nfunction run", "C:<tool_call>\nfunction run" },
    /* ---- Llama 3 ---- */
    { "llama3", NULL, false, "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Rome\"}}",
      "0:get_weather({\"city\": \"Rome\"})" },
    { "llama3_json", NULL, false,
      "<|python_tag|>{\"name\": \"now\", \"parameters\": {}}; {\"name\": \"get_weather\", \"parameters\": {\"days\": "
      "1}}",
      "0:now({})|1:get_weather({\"days\": 1})" },
    { "llama3", NULL, false,
      "{\"name\": \"now\", \"parameters\": {}};{\"name\": \"now\", \"arguments\": {\"a\":1}}\nBye",
      "0:now({})|1:now({\"a\":1})|C:Bye" },
    { "llama3", NULL, false, "{\"name\": \"Ada\", \"age\": 3}", "C:{\"name\": \"Ada\", \"age\": 3}" },
    { "llama3", NULL, false, " {\"city\": \"Rome\"}", "C: {\"city\": \"Rome\"}" },
    { "llama3", NULL, false, "<|python_tag|>print(1)", "C:<|python_tag|>print(1)" },
    /* ---- pythonic ---- */
    { "llama4", NULL, false, "[get_weather(city=\"Rome\", days=2, exact=True), now()]",
      "0:get_weather({\"city\": \"Rome\", \"days\": 2, \"exact\": true})|1:now({})" },
    { "pythonic", NULL, false,
      "<|python_start|>[get_weather(city='it\\'s \"x\" \\x41\\n', where={'x': (1, -2.5,), \"y\": None, 'z': {}}, "
      "tags=[])]<|python_end|>",
      "0:get_weather({\"city\": \"it's \\\"x\\\" A\\n\", \"where\": {\"x\": [1, -2.5], \"y\": null, \"z\": {}}, "
      "\"tags\": "
      "[]})" },
    { "llama4", NULL, false, "[get_weather(city='''a'b\n''', at='')]",
      "0:get_weather({\"city\": \"a'b\\n\", \"at\": \"\"})" },
    { "llama4", NULL, false, "[x](y) is a link", "C:[x](y) is a link" },
    { "llama4", NULL, false, "[get_weather, now]", "C:[get_weather, now]" },
    { "llama4", NULL, false, "[get_weather(city=\"Ro", "0:get_weather({\"city\": \"Ro)" },
    { "gemma3", NULL, false, "Ok.\n```tool_code\n[now(), get_weather(city='Rome')]\n```\nThen",
      "C:Ok.|0:now({})|1:get_weather({\"city\": \"Rome\"})|C:Then" },
    { "gemma3", NULL, false, "```tool_code\nget_weather(city='Rome')\n```", "0:get_weather({\"city\": \"Rome\"})" },
    { "gemma3", NULL, false, "```python\nprint(1)\n```", "C:```python\nprint(1)\n```" },
    { "lfm2", NULL, false, "<|tool_call_start|>[now(), get_weather(days=2)]<|tool_call_end|>ok",
      "0:now({})|1:get_weather({\"days\": 2})|C:ok" },
    { "apriel", NULL, false, "<tool_calls>[{\"name\": \"now\", \"arguments\": {}}]</tool_calls>", "0:now({})" },
    /* ---- Mistral ---- */
    { "mistral", NULL, false,
      "[TOOL_CALLS][{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Nice\"}, \"id\": \"bbc5b7ede\"}, "
      "{\"name\": "
      "\"now\", \"arguments\": {}}]",
      "0:get_weather({\"city\": \"Nice\"})|1:now({})" },
    { "mistral", NULL, false,
      "Ok [TOOL_CALLS]get_weather[CALL_ID]bbc5b7ede[ARGS]{\"city\": \"Nice\"}[TOOL_CALLS]now[ARGS]{}",
      "C:Ok |0:get_weather({\"city\": \"Nice\"})|1:now({})" },
    { "mistral_v11", NULL, false, "[TOOL_CALLS]now[ARGS]{\"a\": [1]}", "0:now({\"a\": [1]})" },
    { "mistral", NULL, false, "[TOOL_CALLS]now{\"a\": [1]}", "0:now({\"a\": [1]})" },
    { "mistral", NULL, false, "[TOOL_CALLS]hello world", "C:[TOOL_CALLS]hello world" },
    { "mistral", NULL, false, "[TOOL_CALLS][now]", "C:[TOOL_CALLS][now]" },
    /* ---- DeepSeek ---- */
    { "deepseek_v3", NULL, false,
      "Ok<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{\"city\": "
      "\"Nice\"}\n```<"
      "｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜><"
      "｜tool▁calls▁"
      "end｜>",
      "C:Ok|0:get_weather({\"city\": \"Nice\"})|1:now({})" },
    { "deepseek_v31", "deepseek-v3", true,
      "Hm</think><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{\"city\": "
      "\"Nice\"}<｜tool▁call▁end｜>"
      "<｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
      "R:Hm|0:get_weather({\"city\": \"Nice\"})|1:now({})" },
    { "deepseek_v31", NULL, false, "a<｜b<｜tool▁calls▁begin｜>c", "C:a<｜b<｜tool▁calls▁begin｜>c" },
    { "deepseek_v32", NULL, false,
      "\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"get_weather\">\n<｜DSML｜parameter name=\"city\" "
      "string=\"true\">1"
      "</｜DSML｜parameter>\n<｜DSML｜parameter name=\"days\" "
      "string=\"false\">1</｜DSML｜parameter>\n</｜DSML｜invoke>\n"
      "<｜DSML｜invoke name=\"now\">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
      "0:get_weather({\"city\": \"1\", \"days\": 1})|1:now({})" },
    { "deepseek_v4", NULL, false,
      "<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"run\">\n<｜DSML｜parameter name=\"code\" string=\"true\">a\n\tb"
      "</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>",
      "0:run({\"code\": \"a\\n\\tb\"})" },
    /* ---- gpt-oss ---- */
    { "gpt-oss", "gpt-oss", false,
      "<|channel|>analysis<|message|>Hm.\n<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather "
      "<|constrain|>json<|message|>{\"city\": \"Nice\"}<|call|>",
      "R:Hm.\n|0:get_weather({\"city\": \"Nice\"})" },
    { "gpt-oss", "gpt-oss", false,
      "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>b<|end|><|start|>assistant"
      "<|channel|>final<|message|>Hi < you<|return|>",
      "R:a\nb|C:Hi < you" },
    { "gpt-oss", "gpt-oss", false,
      "<|channel|>commentary<|message|>First<|end|><|start|>assistant to=functions.now<|channel|>commentary "
      "json<|message|>",
      "C:First|0:now({})" },
    { "gpt-oss", NULL, false, "Plain text, <|no", "C:Plain text, <|no" },
    { "gpt-oss", NULL, false, "assistant: hi", "C:assistant: hi" },
    { "gpt-oss", "gpt-oss", false, "<|channel|>final<|mess", "" },
    /* ---- Kimi ---- */
    { "kimi_k2", NULL, false,
      "Ok<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{\"city\": "
      "\"Nice\"}<|tool_call_end|><|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>{}<|tool_call_end|>"
      "<|tool_calls_section_end|>",
      "C:Ok|0:get_weather({\"city\": \"Nice\"})|1:now({})" },
    { "kimi_k2", NULL, false, "<|tool_calls_section_begin|>nothing<|tool_calls_section_end|>",
      "C:<|tool_calls_section_begin|>nothing" },
    /* ---- GLM ---- */
    { "glm45", "glm45", false,
      "<think>Hm</think>\n<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Nice, "
      "<b></arg_value>\n<arg_key>days"
      "</arg_key>\n<arg_value>2</arg_value>\n</tool_call>\n<tool_call>now\n</tool_call>",
      "R:Hm|0:get_weather({\"city\": \"Nice, <b>\", \"days\": 2})|1:now({})" },
    { "glm47", NULL, false, "<tool_call>get_weather<arg_key>any</arg_key><arg_value>x1</arg_value></tool_call>",
      "0:get_weather({\"any\": \"x1\"})" },
    { "glm45", NULL, false, "<tool_call>hello world</tool_call>", "C:<tool_call>hello world</tool_call>" },
    /* ---- MiniMax ---- */
    { "minimax_m2", "minimax", true,
      "Hm\n</think>\n\nOk\n<minimax:tool_call>\n<invoke name=\"get_weather\">\n<parameter "
      "name=\"city\">Nice</parameter>\n"
      "<parameter name=\"tags\">[\"a\"]</parameter>\n</invoke>\n<invoke name=\"now\">\n</invoke>\n</minimax:tool_call>",
      "R:Hm|C:Ok|0:get_weather({\"city\": \"Nice\", \"tags\": [\"a\"]})|1:now({})" },
    /* ---- Cohere ---- */
    { "cohere", "cohere", false,
      "<|START_THINKING|>Hm<|END_THINKING|><|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": "
      "\"get_weather\", "
      "\"parameters\": {\"city\": \"Nice\"}},\n    {\"tool_call_id\": \"1\", \"tool_name\": \"now\", \"parameters\": "
      "{}}\n]"
      "<|END_ACTION|>",
      "R:Hm|0:get_weather({\"city\": \"Nice\"})|1:now({})" },
    { "cohere", NULL, false, "<|START_RESPONSE|>Hello<|END_RESPONSE|>", "C:Hello" },
    { "command-r", NULL, false,
      "Action: ```json\n[\n    {\n        \"tool_name\": \"now\",\n        \"parameters\": {}\n    }\n]```",
      "0:now({})" },
    /* ---- Gemma 4 ---- */
    { "gemma4", "gemma4", false,
      "<|channel>thought\nHm\n<channel|><|tool_call>call:get_weather{city:<|\"|>a \"b\" < "
      "c<|\"|>,days:2,where:{x:1.5,y:["
      "true,<|\"|>z<|\"|>]},any:plain}<tool_call|>",
      "R:Hm|0:get_weather({\"city\": \"a \\\"b\\\" < c\", \"days\": 2, \"where\": {\"x\": 1.5, \"y\": [true, \"z\"]}, "
      "\"any\": \"plain\"})" },
    { "gemma4", NULL, false, "<|tool_call>call:now{}<tool_call|><|tool_call>call:now{a:<|\"|><|\"|>}<tool_call|>",
      "0:now({})|1:now({\"a\": \"\"})" },
    /* ---- Phi-4-mini ---- */
    { "phi4_mini", NULL, false,
      "<|tool_call|>[{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Nice\"}}, {\"name\": \"now\", "
      "\"arguments\": {}}]"
      "<|/tool_call|>",
      "0:get_weather({\"city\": \"Nice\"})|1:now({})" },
    { "phi4_mini_json", NULL, false, "functools[{\"name\": \"now\", \"arguments\": {}}]", "0:now({})" },
};

#endif
