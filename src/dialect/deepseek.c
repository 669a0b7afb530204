/* deepseek.c - DeepSeek: marks with full-width bars. V3 and R1 fence the JSON, V3.1 does not, V3.2 and V4 write elements.
 *
 *   <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f
 *   ```json
 *   {"a": 1}
 *   ```<｜tool▁call▁end｜><｜tool▁calls▁end｜>
 *
 *   <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{"a": 1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>
 *
 *   <｜DSML｜function_calls>
 *   <｜DSML｜invoke name="f">
 *   <｜DSML｜parameter name="a" string="false">1</｜DSML｜parameter>
 *   </｜DSML｜invoke>
 *   </｜DSML｜function_calls> */
#include "dialect/describe.h"

#define FENCED_FORM                                                                                                    \
    {                                                                                                                  \
        .open = { TEXT("<｜tool▁calls▁begin｜>"), SPACE("") },                                                         \
        .call = { TEXT("<｜tool▁call▁begin｜>"),                                                                       \
                  STEP_OF(WORD, "function"),                                                                           \
                  TEXT("<｜tool▁sep｜>"),                                                                              \
                  STEP(NAME),                                                                                          \
                  SPACE("\n"),                                                                                         \
                  TEXT("```json"),                                                                                     \
                  SPACE("\n"),                                                                                         \
                  STEP(ARGS),                                                                                          \
                  SPACE("\n"),                                                                                         \
                  TEXT("```"),                                                                                         \
                  SPACE(""),                                                                                           \
                  TEXT("<｜tool▁call▁end｜>") },                                                                       \
        .between = "\n", .close = {                                                                                    \
            TEXT("<｜tool▁calls▁end｜>")                                                                               \
        }                                                                                                              \
    }
#define PLAIN_FORM                                                                                                     \
    {                                                                                                                  \
        .open = { TEXT("<｜tool▁calls▁begin｜>"), SPACE("") },                                                         \
        .call = { TEXT("<｜tool▁call▁begin｜>"), STEP(NAME), TEXT("<｜tool▁sep｜>"), STEP(ARGS), SPACE(""),            \
                  TEXT("<｜tool▁call▁end｜>") },                                                                       \
        .between = "", .close = {                                                                                      \
            TEXT("<｜tool▁calls▁end｜>")                                                                               \
        }                                                                                                              \
    }

const Dialect dialect_deepseek_v3 = {
    .names = { "deepseek_v3", "deepseekv3", "deepseek_r1", "deepseek-v3" },
    .signs = { "<｜tool▁calls▁begin｜>", "```json" },
    .n_forms = 2,
    .forms = { FENCED_FORM, PLAIN_FORM },
};

const Dialect dialect_deepseek_v31 = {
    .names = { "deepseek_v31", "deepseekv31", "deepseek-v3.1" },
    .signs = { "<｜tool▁calls▁begin｜>" },
    .not_sign = "```json",
    .n_forms = 2,
    .forms = { PLAIN_FORM, FENCED_FORM },
};

static const Xml dsml = { .key_open = "<｜DSML｜parameter name=\"",
                          .key_close = "\" string=\"",
                          .value_open = "\">",
                          .value_close = "</｜DSML｜parameter>",
                          .typed = true,
                          .style = "deepseek_xml" };

#define DSML_CALL                                                                                                      \
    .call = { TEXT("<｜DSML｜invoke name=\""), STEP(NAME), TEXT("\">"), SPACE("\n"), STEP(ARGS), SPACE("\n"),          \
              TEXT("</｜DSML｜invoke>") },                                                                             \
    .between = "\n", .args = ARGS_XML, .xml = &dsml

const Dialect dialect_deepseek_v32 = {
    .names = { "deepseek_v32", "deepseekv32", "deepseek-v3.2" },
    .signs = { "｜DSML｜", "function_calls" },
    .n_forms = 1,
    .forms = { { .open = { TEXT("<｜DSML｜function_calls>"), SPACE("\n") },
                 DSML_CALL,
                 .close = { SPACE("\n"), TEXT("</｜DSML｜function_calls>") } } },
};

const Dialect dialect_deepseek_v4 = {
    .names = { "deepseek_v4", "deepseekv4", "deepseek-v4" },
    .signs = { "｜DSML｜", "tool_calls" },
    .not_sign = "function_calls",
    .n_forms = 1,
    .forms = { { .open = { TEXT("<｜DSML｜tool_calls>"), SPACE("\n") },
                 DSML_CALL,
                 .close = { SPACE("\n"), TEXT("</｜DSML｜tool_calls>") } } },
};
