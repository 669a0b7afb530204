/* harmony.c - gpt-oss: an answer is several messages, each with a header that says the channel and to whom it goes.
 *
 *   <|channel|>analysis<|message|>thoughts<|end|>
 *   <|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"a": 1}<|call|>
 *   <|start|>assistant<|channel|>final<|message|>words<|return|>
 *
 * The reader is channels.c. The last mark of an answer is an end token, so mostly not seen. */
#include "dialect/describe.h"

const Dialect dialect_gpt_oss = {
    .names = { "gpt-oss", "gpt_oss", "openai", "harmony" },
    .signs = { "<|channel|>", "<|message|>", "<|start|>" },
    .channels = true,
};
