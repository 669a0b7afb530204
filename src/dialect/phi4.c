/* phi4.c - Phi-4-mini: a list of objects, between marks or behind a word.
 *
 *   <|tool_call|>[{"name": "f", "arguments": {"a": 1}}]<|/tool_call|>
 *   functools[{"name": "f", "arguments": {"a": 1}}] */
#include "dialect/describe.h"

#define LIST_CALL .call = { STEP(CALL) }, .between = ", ", .name_key = "name", .args_key = "arguments"

const Dialect dialect_phi4_mini = {
    .names = { "phi4_mini", "phi4_mini_json", "phi4-mini" },
    .signs = { "<|tool|>", "<|/tool|>" },
    .n_forms = 2,
    .forms = { { .open = { TEXT("<|tool_call|>"), SPACE(""), TEXT("[") },
                 LIST_CALL,
                 .close = { TEXT("]"), SPACE(""), TEXT("<|/tool_call|>") } },
               { .open = { TEXT("functools"), SPACE(""), TEXT("[") }, LIST_CALL, .close = { TEXT("]") } } },
};
