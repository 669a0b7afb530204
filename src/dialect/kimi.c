/* kimi.c - Kimi K2: the call's id is its name and its number in the conversation.
 *
 *   <|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{"a": 1}<|tool_call_end|>
 *   <|tool_calls_section_end|> */
#include "dialect/describe.h"

#define KIMI_CALL                                                                                                      \
    .call = { TEXT("<|tool_call_begin|>"),                                                                             \
              SPACE(""),                                                                                               \
              STEP(PATH),                                                                                              \
              SPACE(""),                                                                                               \
              TEXT("<|tool_call_argument_begin|>"),                                                                    \
              SPACE(""),                                                                                               \
              STEP(ARGS),                                                                                              \
              SPACE(""),                                                                                               \
              TEXT("<|tool_call_end|>") },                                                                             \
    .between = ""

const Dialect dialect_kimi_k2 = {
    .names = { "kimi_k2", "kimi", "kimi-k2" },
    .signs = { "<|tool_call_argument_begin|>" },
    .n_forms = 2,
    .forms = { { .open = { TEXT("<|tool_calls_section_begin|>"), SPACE("") },
                 KIMI_CALL,
                 .close = { TEXT("<|tool_calls_section_end|>") } },
               { KIMI_CALL } },
    .drops = { "<|tool_calls_section_end|>" },
    .ids = IDS_PATH,
};
