/* cli.h - the commands of the binary. Each takes its own argv (argv[0] is the command's name) and returns the exit code. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

int cli_serve(int argc, char **argv);
int cli_run(int argc, char **argv);
int cli_chat(int argc, char **argv);
int cli_bench(int argc, char **argv);
int cli_tokenize(int argc, char **argv);
int cli_perplexity(int argc, char **argv);
int cli_grammar_check(int argc, char **argv);
int cli_inspect(int argc, char **argv);

#endif
