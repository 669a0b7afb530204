/* mistral.c - Mistral: a list of objects behind one mark up to tokenizer v7, name and arguments behind marks from v11 on.
 *
 *   [TOOL_CALLS][{"name": "f", "arguments": {"a": 1}, "id": "bbc5b7ede"}]      to v7
 *   [TOOL_CALLS]f[CALL_ID]bbc5b7ede[ARGS]{"a": 1}                             v11
 *   [TOOL_CALLS]f[ARGS]{"a": 1}                                               v13
 *
 * Which one a model writes depends on the model alone: all are extracted by either description. */
#include "dialect/describe.h"

#define LIST_FORM                                                                                                      \
    {                                                                                                                  \
        .open = { TEXT("[TOOL_CALLS]"), SPACE(""), TEXT("[") }, .call = { STEP(CALL) }, .between = ", ",               \
        .close = { TEXT("]") }, .name_key = "name", .args_key = "arguments", .id_key = "id",                           \
        .id_pattern = "[a-zA-Z0-9]{9}"                                                                                 \
    }
#define ID_FORM                                                                                                        \
    {                                                                                                                  \
        .call = { TEXT("[TOOL_CALLS]"),          SPACE(""),      STEP(NAME), TEXT("[CALL_ID]"),                        \
                  STEP_OF(ID, "[a-zA-Z0-9]{9}"), TEXT("[ARGS]"), STEP(ARGS) },                                         \
        .between = ""                                                                                                  \
    }
#define ARGS_FORM                                                                                                      \
    {                                                                                                                  \
        .call = { TEXT("[TOOL_CALLS]"), SPACE(""), STEP(NAME), TEXT("[ARGS]"), STEP(ARGS) }, .between = ""             \
    }
#define PLAIN_FORM                                                                                                     \
    {                                                                                                                  \
        .call = { TEXT("[TOOL_CALLS]"), SPACE(""), STEP(NAME), STEP(ARGS) }, .between = ""                             \
    }

const Dialect dialect_mistral = {
    .names = { "mistral", "mistral_v3", "mistral_v7" },
    .signs = { "[TOOL_CALLS]" },
    .not_sign = "[ARGS]",
    .n_forms = 4,
    .forms = { LIST_FORM, ID_FORM, ARGS_FORM, PLAIN_FORM },
    .ids = IDS_MISTRAL,
};

const Dialect dialect_mistral_v11 = {
    .names = { "mistral_v11" },
    .signs = { "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]" },
    .n_forms = 4,
    .forms = { ID_FORM, ARGS_FORM, LIST_FORM, PLAIN_FORM },
    .ids = IDS_MISTRAL,
};

const Dialect dialect_mistral_v13 = {
    .names = { "mistral_v13" },
    .signs = { "[TOOL_CALLS]", "[ARGS]" },
    .not_sign = "[CALL_ID]",
    .n_forms = 4,
    .forms = { ARGS_FORM, ID_FORM, LIST_FORM, PLAIN_FORM },
    .ids = IDS_MISTRAL,
};
