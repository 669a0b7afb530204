/* options.h - the command line: one table of options, which commands take them, and what they fill. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "base/base.h"
#include "radish.h"

/* Everything any command can be told; zero means not given. */
typedef struct {
    RadishOptions radish;
    /* serve */
    const char *host, *served_model_name, *api_key, *admin_api_key, *sampling_defaults, *tool_call_parser,
        *reasoning_parser;
    int port;
    bool enable_cache_report, enable_metrics, incremental_streaming;
    const char *log_level;
    /* run, chat */
    const char *prompt, *system;
    int max_tokens;
    bool no_chat, has_temperature, has_seed;
    double temperature, top_p, top_k, min_p, repetition_penalty, seed;
    /* tokenize */
    bool decode, add_special, no_specials;
    /* bench */
    const char *lengths, *json, *batch, *prefill, *url;
    int num, input_len, output_len, runs;
    double rate;
    bool hide_lengths;
    /* the arguments that are no options */
    const char *arg[4];
    int n_args;
} Options;

enum {
    CMD_SERVE = 1,
    CMD_RUN = 2,
    CMD_CHAT = 4,
    CMD_BENCH = 8,
    CMD_TOKENIZE = 16,
    CMD_PERPLEXITY = 32,
    CMD_INSPECT = 64,
    CMD_GRAMMAR = 128,
    CMD_ALL = 255
};

/* Fills o from argv[1..]; false after printing one line that says the nearest right option. */
bool options_read(int command, int argc, char **argv, Options *o);
void options_print(int command); /* the options of a command, a line each */
/* The word of a list that is nearest to `word`, or NULL when none is near. The list ends with NULL. */
const char *options_nearest(const char *word, const char *const *list);
/* "1,16,64" as numbers: how many, 0 if malformed; at most max. */
int options_int_list(const char *text, int *out, int max);

#endif
