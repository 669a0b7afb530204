/* llama3.c - Llama 3.1 to 3.3: JSON objects, at times behind a token that announces code.
 *
 *   {"name": "f", "parameters": {"a": 1}}; {"name": "g", "parameters": {}}
 *   <|python_tag|>{"name": "f", "parameters": {"a": 1}} */
#include "dialect/describe.h"

const Dialect dialect_llama3 = {
    .names = { "llama3", "llama3_json", "llama4_json", "llama3.1", "llama3.2" },
    .signs = { "<|start_header_id|>", "\"parameters\"", "\"name\"" },
    .n_forms = 2,
    .forms = { { .call = { STEP(CALL) }, .between = "; ", .name_key = "name", .args_key = "parameters", .bare = true },
               { .open = { TEXT("<|python_tag|>"), SPACE("") },
                 .call = { STEP(CALL) },
                 .between = "; ",
                 .name_key = "name",
                 .args_key = "parameters" } },
};
