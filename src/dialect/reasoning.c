/* reasoning.c - marks around what a model thinks before it answers, and the names that engines give to them.
 *
 * Most models think between <think> and </think>; they differ in whether the prompt already opens it, which is looked up in the
 * prompt itself. */
#include "dialect/describe.h"

/* By name only: what tells it from qwen3 is that the model opens its thoughts without saying so. */
static const DialectReasoning deepseek_r1 = { .names = { "deepseek-r1", "deepseek_r1", "qwen3-thinking", "minimax",
                                                         "minimax_m2", "step3", "nano_v3", "nemotron_v3" },
                                              .open = "<think>",
                                              .close = "</think>",
                                              .always = true };
/* A call's mark ends it: these models at times begin a call without closing their thoughts. */
static const DialectReasoning qwen3 = { .names = { "qwen3", "think", "glm45", "deepseek-v3", "deepseek_v3", "kimi_k2",
                                                   "granite", "interns1", "mimo", "olmo3", "nemotron" },
                                        .signs = { "</think>" },
                                        .open = "<think>",
                                        .close = "</think>",
                                        .ends_at_call = true };
static const DialectReasoning kimi = {
    .names = { "kimi" }, .signs = { "◁/think▷" }, .open = "◁think▷", .close = "◁/think▷"
};
static const DialectReasoning mistral = {
    .names = { "mistral", "magistral" }, .signs = { "[THINK]", "[/THINK]" }, .open = "[THINK]", .close = "[/THINK]"
};
static const DialectReasoning seed = { .names = { "seed_oss", "seed-oss" },
                                       .signs = { "<seed:think>" },
                                       .open = "<seed:think>",
                                       .close = "</seed:think>",
                                       .ends_at_call = true };
static const DialectReasoning cohere = { .names = { "cohere", "cohere_command" },
                                         .signs = { "<|START_THINKING|>" },
                                         .open = "<|START_THINKING|>",
                                         .close = "<|END_THINKING|>",
                                         .ends_at_call = true };
static const DialectReasoning gemma4 = { .names = { "gemma4", "gemma" },
                                         .signs = { "<|channel>thought" },
                                         .open = "<|channel>thought",
                                         .close = "<channel|>",
                                         .ends_at_call = true };
static const DialectReasoning gpt_oss = { .names = { "gpt-oss", "gpt_oss", "openai_gptoss", "harmony" },
                                          .signs = { "<|channel|>", "<|message|>", "analysis" },
                                          .open = "<|channel|>analysis<|message|>",
                                          .close = "<|end|>",
                                          .channels = true };

/* Detected in this order. */
static const DialectReasoning *const all[] = {
    &gpt_oss, &gemma4, &cohere, &kimi, &mistral, &seed, &qwen3, &deepseek_r1
};

const DialectReasoning *dialect_reasoning_at(size_t i)
{
    return i < COUNT(all) ? all[i] : NULL;
}

const char *dialect_reasoning_name(const DialectReasoning *r)
{
    return r->names[0];
}

Str dialect_reasoning_close(const DialectReasoning *r)
{
    return str_of(r->close);
}

const DialectReasoning *dialect_reasoning_find(Str name)
{
    for (size_t i = 0; i < COUNT(all); i++)
        for (size_t k = 0; k < COUNT(all[i]->names) && all[i]->names[k]; k++)
            if (str_is(name, all[i]->names[k])) return all[i];
    return NULL;
}

const DialectReasoning *dialect_reasoning_detect(Str chat_template)
{
    for (size_t i = 0; i < COUNT(all); i++) {
        size_t k = 0;
        while (k < COUNT(all[i]->signs) && all[i]->signs[k] &&
               str_find(chat_template, str_of(all[i]->signs[k]), 0) != SIZE_MAX)
            k++;
        if (k > 0 && (k == COUNT(all[i]->signs) || !all[i]->signs[k])) return all[i];
    }
    return NULL;
}

bool dialect_reasoning_inside(const DialectReasoning *r, Str prompt)
{
    if (!r || r->channels) return false;
    return r->always || str_ends(str_trim(prompt), str_of(r->open));
}

bool dialect_reasoning_goes_on(const DialectReasoning *r, Str output)
{
    if (!r || r->channels) return false;
    size_t open = str_find(output, str_of(r->open), 0), close = str_find(output, str_of(r->close), 0);
    return r->always || (close != SIZE_MAX && close < open);
}
