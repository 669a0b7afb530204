/* run.c - `radish run`: one answer on standard output, figures on standard error. */
#include <stdio.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/cli.h"

enum { PROMPT_MAX = 16 << 20 };

int cli_run(int argc, char **argv)
{
    Options o = { 0 };
    Buf text = { 0 };
    if (!options_read(CMD_RUN, argc, argv, &o)) return 1;
    if (o.prompt)
        buf_str(&text, str_of(o.prompt));
    else if (!ask_stdin(&text, PROMPT_MAX))
        return 1;
    Radish *r = ask_open(&o);
    if (!r) return 1;
    RadishInfo info;
    radish_info(r, &info);
    bool is_chat = info.has_chat_template && !o.no_chat, good = !is_chat || ask_as_chat(r, &o, &text);
    Answer a = { 0 };
    if (good) {
        RadishRequest q;
        ask_request(r, &o, buf_view(&text), is_chat, &q);
        good = ask_run(r, &q, NULL, NULL, &a);
    }
    if (good && isatty(STDOUT_FILENO)) putchar('\n');
    if (good && isatty(STDERR_FILENO))
        fprintf(stderr, "[%d prompt tokens, first after %.0f ms; %d tokens, %.1f a second]\n", a.n_prompt,
                a.first_s * 1e3, a.n_out, a.n_out > 1 ? (a.n_out - 1) / (a.total_s - a.first_s) : 0.0);
    radish_close(r);
    buf_free(&text);
    return good ? 0 : 1;
}
