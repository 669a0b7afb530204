/* hermes.c - Hermes 2 and 3, Qwen 2.5 and 3, and the many models that follow them: JSON objects between tags.
 *
 *   <tool_call>
 *   {"name": "f", "arguments": {"a": 1}}
 *   </tool_call> */
#include "dialect/describe.h"

const Dialect dialect_hermes = {
    .names = { "hermes", "qwen", "qwen25", "qwen2_5", "qwen3", "mimo", "granite-hermes" },
    .signs = { "<tool_call>", "arguments" },
    .n_forms = 1,
    .forms = { { .call = { TEXT("<tool_call>"), SPACE("\n"), STEP(CALL), SPACE("\n"), TEXT("</tool_call>") },
                 .between = "\n",
                 .name_key = "name",
                 .args_key = "arguments" } },
};

/* Apriel: one list of the same objects, <tool_calls>[{...}, {...}]</tool_calls>. */
const Dialect dialect_apriel = {
    .names = { "apriel" },
    .signs = { "<tool_calls>[" },
    .n_forms = 1,
    .forms = { { .open = { TEXT("<tool_calls>"), SPACE(""), TEXT("[") },
                 .call = { STEP(CALL) },
                 .between = ", ",
                 .close = { TEXT("]"), SPACE(""), TEXT("</tool_calls>") },
                 .name_key = "name",
                 .args_key = "arguments" } },
};
