/* main.c - picks the command. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "radish.h"

typedef struct {
    const char *name;
    int (*run)(int argc, char **argv);
    int options;
    const char *args, *help;
} Command;

/* clang-format off */
static const Command commands[] = {
    { "serve",      cli_serve,      CMD_SERVE,      "-m MODEL",              "serve it over the OpenAI API and SGLang's, on port 30000" },
    { "chat",       cli_chat,       CMD_CHAT,       "-m MODEL",              "talk to it in the terminal" },
    { "run",        cli_run,        CMD_RUN,        "-m MODEL -p TEXT",      "one answer on standard output" },
    { "bench",      cli_bench,      CMD_BENCH,      "offline|latency|online|...", "measure throughput, latency, scheduling" },
    { "tokenize",   cli_tokenize,   CMD_TOKENIZE,   "-m MODEL",              "text on standard input to token ids (--decode: back)" },
    { "perplexity", cli_perplexity, CMD_PERPLEXITY, "-m MODEL FILE",         "how well it predicts a text" },
    { "grammar-check", cli_grammar_check, CMD_GRAMMAR, "--tokenizer PATH",    "constraints against texts, JSON lines on standard input" },
    { "inspect",    cli_inspect,    CMD_INSPECT,    "PATH",                  "what is in a checkpoint, and what memory it needs" },
};
/* clang-format on */

static int help(void)
{
    printf("radish %s - serves language models\n\nusage: radish COMMAND [options]\n\n", radish_version());
    for (size_t i = 0; i < COUNT(commands); i++)
        printf("  %-13s %-26s %s\n", commands[i].name, commands[i].args, commands[i].help);
    printf("\nMODEL is a GGUF file or a Hugging Face folder. `radish COMMAND --help` lists a command's options.\n"
           "Try: radish serve -m model.gguf, then\n"
           "  curl http://localhost:30000/v1/completions -H 'Content-Type: application/json' \\\n"
           "    -d '{\"model\":\"default\",\"prompt\":\"Say this is a test\",\"max_tokens\":7,\"temperature\":0}'\n");
    return 0;
}

static int unknown_command(const char *word)
{
    const char *names[COUNT(commands) + 1] = { 0 };
    for (size_t i = 0; i < COUNT(commands); i++) names[i] = commands[i].name;
    const char *near = options_nearest(word, names);
    if (near)
        fprintf(stderr, "radish: unknown command %s; did you mean `radish %s`?\n", word, near);
    else
        fprintf(stderr, "radish: unknown command %s; `radish --help` lists them\n", word);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
        return help();
    if (strcmp(argv[1], "--version") == 0) {
        printf("radish %s\n", radish_version());
        return 0;
    }
    for (size_t i = 0; i < COUNT(commands); i++) {
        const Command *c = &commands[i];
        if (strcmp(argv[1], c->name) != 0) continue;
        for (int k = 2; k < argc; k++) {
            if (strcmp(argv[k], "--help") != 0 && strcmp(argv[k], "-h") != 0) continue;
            printf("usage: radish %s %s [options]\n%s\n\n", c->name, c->args, c->help);
            options_print(c->options);
            return 0;
        }
        return c->run(argc - 1, argv + 1);
    }
    return unknown_command(argv[1]);
}
