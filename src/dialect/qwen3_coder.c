/* qwen3_coder.c - Qwen3-Coder, Qwen 3.5 and 3.6, Nemotron 3: one element for each argument, values as they are.
 *
 *   <tool_call>
 *   <function=f>
 *   <parameter=a>
 *   1
 *   </parameter>
 *   </function>
 *   </tool_call>
 *
 * The outer tag is sometimes left out by the model; the second form is that. */
#include "dialect/describe.h"

static const Xml xml = { .key_open = "<parameter=",
                         .key_close = ">",
                         .value_open = "",
                         .value_close = "</parameter>",
                         .trim = true,
                         .style = "qwen_xml" };

#define FUNCTION TEXT("<function="), STEP(NAME), TEXT(">"), SPACE("\n"), STEP(ARGS), SPACE("\n"), TEXT("</function>")

const Dialect dialect_qwen3_coder = {
    .names = { "qwen3_coder", "qwen3_xml", "qwen3-coder", "nemotron3", "nano_v3" },
    .signs = { "<tool_call>", "<function=", "<parameter=" },
    .n_forms = 2,
    .forms = { { .call = { TEXT("<tool_call>"), SPACE("\n"), FUNCTION, SPACE("\n"), TEXT("</tool_call>") },
                 .between = "\n",
                 .args = ARGS_XML,
                 .xml = &xml },
               { .call = { FUNCTION }, .between = "\n", .args = ARGS_XML, .xml = &xml } },
    .drops = { "</tool_call>" },
};
