/* minimax.c - MiniMax M2: several invocations in one element.
 *
 *   <minimax:tool_call>
 *   <invoke name="f">
 *   <parameter name="a">1</parameter>
 *   </invoke>
 *   </minimax:tool_call> */
#include "dialect/describe.h"

static const Xml xml = { .key_open = "<parameter name=\"",
                         .key_close = "\">",
                         .value_open = "",
                         .value_close = "</parameter>",
                         .style = "minimax_xml" };

const Dialect dialect_minimax_m2 = {
    .names = { "minimax_m2", "minimax-m2", "minimax" },
    .signs = { "minimax:tool_call", "<invoke name=" },
    .n_forms = 1,
    .forms = { { .open = { TEXT("<minimax:tool_call>"), SPACE("\n") },
                 .call = { TEXT("<invoke name=\""), STEP(NAME), TEXT("\">"), SPACE("\n"), STEP(ARGS), SPACE("\n"),
                           TEXT("</invoke>") },
                 .between = "\n",
                 .close = { SPACE("\n"), TEXT("</minimax:tool_call>") },
                 .args = ARGS_XML,
                 .xml = &xml } },
};
