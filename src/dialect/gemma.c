/* gemma.c - Gemma 4: objects with bare keys, strings between marks of their own. (Gemma 3: pythonic.c.)
 *
 *   <|tool_call>call:f{a:1,b:<|"|>x<|"|>}<tool_call|> */
#include "dialect/describe.h"

const Dialect dialect_gemma4 = {
    .names = { "gemma4" },
    .signs = { "<|tool_call>call:", "<tool_call|>" },
    .n_forms = 1,
    .forms = { { .call = { TEXT("<|tool_call>"), SPACE(""), TEXT("call:"), STEP(NAME), STEP(ARGS), SPACE(""),
                           TEXT("<tool_call|>") },
                 .between = "",
                 .args = ARGS_GEMMA } },
};
