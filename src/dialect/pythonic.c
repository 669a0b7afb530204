/* pythonic.c - calls as a list of Python: Llama 3.2 and 4; LFM2, between marks; and Gemma 3, which puts it into a fence.
 *
 *   [f(a=1, b="x"), g()]
 *
 *   ```tool_code
 *   [f(a=1)]
 *   ``` */
#include "dialect/describe.h"

#define PYTHON_CALL .call = { STEP(NAME), TEXT("("), STEP(ARGS) }, .between = ", ", .args = ARGS_PYTHON

const Dialect dialect_llama4 = {
    .names = { "llama4", "llama4_pythonic", "pythonic", "olmo3" },
    .signs = { "func_name1(params_name1=" },
    .n_forms = 2,
    .forms = { { .open = { TEXT("[") }, PYTHON_CALL, .close = { TEXT("]") }, .bare = true },
               { .open = { TEXT("<|python_start|>"), SPACE(""), TEXT("[") }, PYTHON_CALL, .close = { TEXT("]") } } },
    .drops = { "<|python_start|>", "<|python_end|>" },
};

const Dialect dialect_lfm2 = {
    .names = { "lfm2" },
    .signs = { "<|tool_list_start|>" },
    .n_forms = 1,
    .forms = { { .open = { TEXT("<|tool_call_start|>"), SPACE(""), TEXT("[") },
                 PYTHON_CALL,
                 .close = { TEXT("]"), SPACE(""), TEXT("<|tool_call_end|>") } } },
};

const Dialect dialect_gemma3 = {
    .names = { "gemma3", "gemma" },
    .signs = { "<start_of_turn>", "tool_code" },
    .n_forms = 4,
    .forms = { { .open = { TEXT("```tool_code"), SPACE("\n"), TEXT("[") },
                 PYTHON_CALL,
                 .close = { TEXT("]"), SPACE("\n"), TEXT("```") } },
               { .open = { TEXT("```tool_code"), SPACE("\n") }, PYTHON_CALL, .close = { SPACE("\n"), TEXT("```") } },
               { .open = { TEXT("```python"), SPACE("\n"), TEXT("[") },
                 PYTHON_CALL,
                 .close = { TEXT("]"), SPACE("\n"), TEXT("```") } },
               { .open = { TEXT("[") }, PYTHON_CALL, .close = { TEXT("]") }, .bare = true } },
};
