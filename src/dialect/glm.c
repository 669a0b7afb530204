/* glm.c - GLM 4.5 to 5: key and value elements by turns.
 *
 *   <tool_call>f
 *   <arg_key>a</arg_key>
 *   <arg_value>1</arg_value>
 *   </tool_call> */
#include "dialect/describe.h"

static const Xml xml = { .key_open = "<arg_key>",
                         .key_close = "</arg_key>",
                         .value_open = "<arg_value>",
                         .value_close = "</arg_value>",
                         .style = "glm_xml" };

const Dialect dialect_glm45 = {
    .names = { "glm45", "glm", "glm47", "glm4_moe", "glm4.5" },
    .signs = { "<tool_call>", "<arg_key>" },
    .n_forms = 1,
    .forms = { { .call = { TEXT("<tool_call>"), SPACE(""), STEP(NAME), SPACE("\n"), STEP(ARGS), SPACE("\n"),
                           TEXT("</tool_call>") },
                 .between = "\n",
                 .args = ARGS_XML,
                 .xml = &xml } },
};
