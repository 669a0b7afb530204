/* test_detect.c - descriptions by name and by template. With RADISH_CORPUS: the templates of real models. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "dialect/dialect.h"

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
/* clang-format on */

#include "base/file.h"

static void test_names(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        { "qwen25", "hermes" },
        { "qwen3_xml", "qwen3_coder" },
        { "llama3_json", "llama3" },
        { "llama4_pythonic", "llama4" },
        { "deepseekv31", "deepseek_v31" },
        { "openai", "gpt-oss" },
        { "glm47", "glm45" },
        { "minimax-m2", "minimax_m2" },
        { "phi4_mini_json", "phi4_mini" },
        { "kimi_k2", "kimi_k2" },
        { "mistral", "mistral" },
        { "cohere_command", "cohere" },
    };
    for (size_t i = 0; i < COUNT(names); i++) {
        const Dialect *d = dialect_find(str_of(names[i][0]));
        assert_non_null(d);
        assert_string_equal(dialect_name(d), names[i][1]);
    }
    assert_null(dialect_find(STR("auto")));
    assert_null(dialect_find(STR("")));
    assert_string_equal(dialect_reasoning_name(dialect_reasoning_find(STR("glm45"))), "qwen3");
    assert_string_equal(dialect_reasoning_name(dialect_reasoning_find(STR("qwen3-thinking"))), "deepseek-r1");
    assert_null(dialect_reasoning_find(STR("none")));
    for (size_t i = 0; dialect_at(i); i++)
        assert_ptr_equal(dialect_find(str_of(dialect_name(dialect_at(i)))), dialect_at(i));
    for (size_t i = 0; dialect_reasoning_at(i); i++)
        assert_ptr_equal(dialect_reasoning_find(str_of(dialect_reasoning_name(dialect_reasoning_at(i)))),
                         dialect_reasoning_at(i));
}

static void test_inside(void **state)
{
    (void)state;
    const DialectReasoning *qwen = dialect_reasoning_find(STR("qwen3")),
                           *r1 = dialect_reasoning_find(STR("deepseek-r1"));
    assert_true(dialect_reasoning_inside(qwen, STR("<|im_start|>assistant\n<think>\n")));
    assert_false(dialect_reasoning_inside(qwen, STR("<|im_start|>assistant\n<think>\n\n</think>\n\n")));
    assert_false(dialect_reasoning_inside(qwen, STR("<|im_start|>assistant\n")));
    assert_true(dialect_reasoning_inside(r1, STR("<|im_start|>assistant\n")));
    assert_false(dialect_reasoning_inside(NULL, STR("<think>")));
    assert_true(dialect_reasoning_goes_on(qwen, STR("Hm</think>ok")));
    assert_true(dialect_reasoning_goes_on(r1, STR("Hm")));
    assert_false(dialect_reasoning_goes_on(qwen, STR("Hm")));
    assert_false(dialect_reasoning_goes_on(qwen, STR("<think>Hm</think>ok")));
}

static void test_tools(void **state)
{
    (void)state;
    static const struct {
        const char *json, *why;
    } bad[] = {
        { "{}", " must be a list" },
        { "[1]", "[0] must be an object" },
        { "[{\"type\":\"web\",\"function\":{\"name\":\"f\"}}]", "[0].type" },
        { "[{\"type\":\"function\"}]", "[0].function" },
        { "[{\"function\":{\"name\":\"\"}}]", "[0].function.name" },
        { "[{\"function\":{\"name\":\"a b\"}}]", "[0].function.name" },
        { "[{\"function\":{\"name\":\"f\",\"parameters\":[]}}]", "[0].function.parameters" },
        { "[{\"function\":{\"name\":\"f\",\"strict\":1}}]", "[0].function.strict" },
        { "[{\"function\":{\"name\":\"f\"}},{\"function\":{\"name\":\"f\"}}]", "[1].function.name" },
    };
    DialectTools *t;
    Err err;
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_not_equal(dialect_tools_read(str_of(bad[i].json), &t, &err), OK);
        if (!str_starts(str_of(err.text), str_of(bad[i].why))) fail_msg("%s: %s", bad[i].json, err.text);
    }
    assert_int_equal(dialect_tools_read(STR("[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]"), &t, &err), OK);
    assert_int_equal(dialect_tools_count(t), 1);
    assert_int_equal(dialect_tools_find(t, STR("f")), 0);
    assert_int_equal(dialect_tools_find(t, STR("g")), -1);
    dialect_tools_free(t);
}

static void test_templates(void **state)
{
    (void)state;
    static const char *const known[][3] = {
        { "ik_llama.cpp/Qwen-Qwen2.5-7B-Instruct", "hermes", "-" },
        { "ik_llama.cpp/Qwen-Qwen3-0.6B", "hermes", "qwen3" },
        { "ik_llama.cpp/Qwen3-Coder", "qwen3_coder", "-" },
        { "ik_llama.cpp/Qwen3.5-4B", "qwen3_coder", "qwen3" },
        { "ik_llama.cpp/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "qwen3_coder", "qwen3" },
        { "ik_llama.cpp/GLM-4.6", "glm45", "qwen3" },
        { "ik_llama.cpp/Kimi-K2-Thinking", "kimi_k2", "qwen3" },
        { "ik_llama.cpp/deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "deepseek_v3", "qwen3" },
        { "ik_llama.cpp/deepseek-ai-DeepSeek-V3.1", "deepseek_v31", "qwen3" },
        { "ik_llama.cpp/deepseek-ai-DeepSeek-V3.2", "deepseek_v32", "qwen3" },
        { "ik_llama.cpp/deepseek-ai-DeepSeek-V4", "deepseek_v4", "qwen3" },
        { "ik_llama.cpp/openai-gpt-oss-120b", "gpt-oss", "gpt-oss" },
        { "ik_llama.cpp/google-gemma-4-31B-it", "gemma4", "gemma4" },
        { "ik_llama.cpp/meta-llama-Llama-3.3-70B-Instruct", "llama3", "-" },
        { "ik_llama.cpp/CohereForAI-c4ai-command-r7b-12-2024-tool_use", "cohere", "cohere" },
        { "ik_llama.cpp/unsloth-Apriel-1.5", "apriel", "-" },
        { "ik_llama.cpp/LFM2-8B-A1B", "lfm2", "-" },
        { "mistral-common/v3", "mistral", "-" },
        { "mistral-common/v7", "mistral", "-" },
        { "mistral-common/v11", "mistral_v11", "-" },
        { "mistral-common/v13_think", "mistral_v13", "mistral" },
        { "smollm2/SmolLM2-135M-Instruct", "-", "-" },
        { "ik_llama.cpp/google-gemma-2-2b-it", "-", "-" },
    };
    const char *corpus = getenv("RADISH_CORPUS");
    char path[1000];
    if (!corpus) skip();
    for (size_t i = 0; i < COUNT(known); i++) {
        Arena *mem = arena_new(0);
        Str text;
        Err err;
        snprintf(path, sizeof path, "%s/templates/%s.jinja", corpus, known[i][0]);
        if (file_read(mem, path, 1 << 20, &text, &err) != OK) fail_msg("%s", err.text);
        const Dialect *d = dialect_detect(text);
        const DialectReasoning *r = dialect_reasoning_detect(text);
        if (strcmp(d ? dialect_name(d) : "-", known[i][1]) != 0 ||
            strcmp(r ? dialect_reasoning_name(r) : "-", known[i][2]) != 0)
            fail_msg("%s is seen as %s, %s", known[i][0], d ? dialect_name(d) : "-",
                     r ? dialect_reasoning_name(r) : "-");
        arena_free(mem);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_inside),
        cmocka_unit_test(test_tools),
        cmocka_unit_test(test_templates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
