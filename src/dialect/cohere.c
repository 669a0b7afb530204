/* cohere.c - Command R7B and A: a list of actions between marks; Command R and R+: a fenced list behind "Action:".
 *
 *   <|START_ACTION|>[
 *       {"tool_call_id": "0", "tool_name": "f", "parameters": {"a": 1}}
 *   ]<|END_ACTION|>
 *
 * What they say to the user stands between marks too, which are dropped. */
#include "dialect/describe.h"

const Dialect dialect_cohere = {
    .names = { "cohere", "cohere_command", "command-a", "command_r7b", "command-r" },
    .signs = { "START_OF_TURN_TOKEN", "\"tool_name\"" },
    .n_forms = 2,
    .forms = { { .open = { TEXT("<|START_ACTION|>"), SPACE(""), TEXT("["), SPACE("\n    ") },
                 .call = { STEP(CALL) },
                 .between = ",\n    ",
                 .close = { SPACE("\n"), TEXT("]"), SPACE(""), TEXT("<|END_ACTION|>") },
                 .name_key = "tool_name",
                 .args_key = "parameters",
                 .id_key = "tool_call_id",
                 .id_pattern = "[0-9]{1,4}",
                 .id_first = true },
               { .open = { TEXT("Action:"), SPACE(" "), TEXT("```json"), SPACE("\n"), TEXT("["), SPACE("\n    ") },
                 .call = { STEP(CALL) },
                 .between = ",\n    ",
                 .close = { SPACE("\n"), TEXT("]"), SPACE("\n"), TEXT("```") },
                 .name_key = "tool_name",
                 .args_key = "parameters" } },
    .answer_open = "<|START_RESPONSE|>",
    .answer_close = "<|END_RESPONSE|>",
    .drops = { "<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>" },
};
