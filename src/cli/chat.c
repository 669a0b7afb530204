/* chat.c - `radish chat`: a conversation in the terminal with line editing, history and /commands. */
#include <histedit.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/jsonw.h"
#include "cli/ask.h"
#include "cli/cli.h"

static volatile sig_atomic_t interrupted; /* set by Ctrl-C, watched while an answer streams */

typedef struct {
    Radish *r;
    Options o;
    Buf turns;      /* JSON objects of the conversation, comma separated, without the system message */
    size_t last;    /* where the last question begins in turns */
    Answer figures; /* of the last answer */
} Talk;

static void on_interrupt(int signo)
{
    (void)signo;
    interrupted = 1;
}

static void add_turn(Talk *t, const char *role, Str text)
{
    if (t->turns.n) buf_char(&t->turns, ',');
    buf_printf(&t->turns, "{\"role\":\"%s\",\"content\":", role);
    jsonw_str(&t->turns, text);
    buf_char(&t->turns, '}');
}

static char *prompt_of(Talk *t, size_t *n)
{
    Buf json = { 0 };
    buf_char(&json, '[');
    if (t->o.system) {
        buf_str(&json, STR("{\"role\":\"system\",\"content\":"));
        jsonw_str(&json, str_of(t->o.system));
        buf_char(&json, '}');
        if (t->turns.n) buf_char(&json, ',');
    }
    buf_str(&json, buf_view(&t->turns));
    buf_add(&json, "]", 2);
    char *prompt = ask_render(t->r, json.p, n);
    buf_free(&json);
    return prompt;
}

static void answer(Talk *t)
{
    size_t n;
    char *prompt = prompt_of(t, &n);
    Buf text = { 0 };
    RadishRequest q;
    bool good = prompt != NULL;
    if (good) {
        ask_request(t->r, &t->o, (Str){ prompt, n }, true, &q);
        interrupted = 0;
        good = ask_run(t->r, &q, (const volatile int *)&interrupted, &text, &t->figures);
        printf("\n");
    }
    if (good)
        add_turn(t, "assistant", buf_view(&text));
    else
        t->turns.n = t->last; /* the question stays out: it could not be answered */
    radish_string_free(prompt);
    buf_free(&text);
}

static void ask(Talk *t, Str question)
{
    t->last = t->turns.n;
    add_turn(t, "user", question);
    answer(t);
}

static void show_figures(const Talk *t)
{
    const Answer *a = &t->figures;
    printf("%d prompt tokens (%d cached), first token after %.0f ms, %d tokens, %.1f a second\n", a->n_prompt,
           a->n_cached, a->first_s * 1e3, a->n_out, a->n_out > 1 ? (a->n_out - 1) / (a->total_s - a->first_s) : 0.0);
}

static void save(const Talk *t, const char *path)
{
    Err err;
    Buf json = { 0 };
    buf_char(&json, '[');
    buf_str(&json, buf_view(&t->turns));
    buf_str(&json, STR("]\n"));
    if (file_write(path, buf_view(&json), &err) == OK)
        printf("saved to %s\n", path);
    else
        printf("%s\n", err.text);
    buf_free(&json);
}

static void set_number(const char *name, Str value, double *field)
{
    if (str_to_f64(value, field) && *field >= 0)
        printf("%s is %g\n", name, *field);
    else
        printf("/%s needs a number, 0 or more\n", name);
}

static void again(Talk *t)
{
    if (t->turns.n == 0) {
        printf("nothing was asked yet\n");
        return;
    }
    /* Cut the last answer: it begins after the end of the last question. */
    Str turns = buf_view(&t->turns);
    size_t at = str_find(turns, STR(",{\"role\":\"assistant\",\"content\":"), t->last);
    if (at != SIZE_MAX) t->turns.n = at;
    answer(t);
}

/* False: leave. */
static bool command(Talk *t, Str line)
{
    static const char *const names[] = { "/help", "/quit",  "/exit",        "/clear",  "/system", "/again",
                                         "/save", "/stats", "/temperature", "/tokens", NULL };
    size_t cut = 0;
    while (cut < line.n && line.p[cut] != ' ') cut++;
    Str name = str_cut(line, 0, cut), rest = str_trim(str_cut(line, cut, line.n));
    if (str_is(name, "/quit") || str_is(name, "/exit")) return false;
    if (str_is(name, "/help")) {
        printf("/clear  forget the conversation      /system TEXT     set the system message\n"
               "/again  answer the last question anew  /temperature X   0 is greedy\n"
               "/save FILE  write it as JSON         /tokens N        longest answer\n"
               "/stats  figures of the last answer   /quit            or Ctrl-D; Ctrl-C stops an answer\n");
    } else if (str_is(name, "/clear")) {
        t->turns.n = 0;
        printf("forgotten\n");
    } else if (str_is(name, "/system")) {
        t->o.system = rest.n ? strndup(rest.p, rest.n) : NULL; /* kept for the life of the process */
        t->turns.n = 0;
        printf(rest.n ? "system message set; a new conversation begins\n" : "no system message\n");
    } else if (str_is(name, "/again")) {
        again(t);
    } else if (str_is(name, "/save") && rest.n) {
        char path[1024];
        snprintf(path, sizeof path, "%.*s", STR_FMT(rest));
        save(t, path);
    } else if (str_is(name, "/stats")) {
        show_figures(t);
    } else if (str_is(name, "/temperature")) {
        set_number("temperature", rest, &t->o.temperature);
        t->o.has_temperature = true;
    } else if (str_is(name, "/tokens")) {
        double n = 0;
        set_number("tokens", rest, &n);
        t->o.max_tokens = (int)MIN(n, 1e9);
    } else {
        char word[64];
        snprintf(word, sizeof word, "%.*s", STR_FMT(name));
        const char *near = options_nearest(word, names);
        printf("unknown command %s%s%s; /help lists them\n", word, near ? ", did you mean " : "", near ? near : "");
    }
    return true;
}

static bool handle(Talk *t, Str line)
{
    line = str_trim(line);
    if (line.n == 0) return true;
    if (line.p[0] == '/') return command(t, line);
    ask(t, line);
    return true;
}

static char *prompt_text(EditLine *el)
{
    (void)el;
    static char text[] = "> "; /* libedit wants it writable */
    return text;
}

static void interactive(Talk *t)
{
    HistEvent ev;
    History *past = history_init();
    EditLine *el = el_init("radish", stdin, stdout, stderr);
    history(past, &ev, H_SETSIZE, 1000);
    history(past, &ev, H_SETUNIQUE, 1);
    el_set(el, EL_PROMPT, prompt_text);
    el_set(el, EL_EDITOR, "emacs");
    el_set(el, EL_SIGNAL, 0);
    el_set(el, EL_HIST, history, past);
    el_source(el, NULL);
    for (;;) {
        int n;
        const char *line = el_gets(el, &n);
        if (!line || n <= 0) {
            if (interrupted) { /* Ctrl-C at the prompt: a fresh line */
                interrupted = 0;
                printf("\n");
                continue;
            }
            break;
        }
        if (n > 1) history(past, &ev, H_ENTER, line);
        if (!handle(t, (Str){ line, (size_t)n })) break;
    }
    el_end(el);
    history_end(past);
}

static void from_pipe(Talk *t)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        if (!handle(t, (Str){ line, (size_t)n })) break;
    }
    free(line); /* NOLINT: getline's */
}

int cli_chat(int argc, char **argv)
{
    Talk t = { 0 };
    if (!options_read(CMD_CHAT, argc, argv, &t.o)) return 1;
    t.r = ask_open(&t.o);
    if (!t.r) return 1;
    RadishInfo info;
    radish_info(t.r, &info);
    if (!info.has_chat_template) {
        fprintf(
            stderr,
            "radish: this model has no chat template; give one with --chat-template FILE, or use `radish run --raw`\n");
        radish_close(t.r);
        return 1;
    }
    setlocale(LC_CTYPE, "");
    struct sigaction action = { .sa_handler = on_interrupt };
    sigaction(SIGINT, &action, NULL);
    if (isatty(STDIN_FILENO)) {
        printf("%s, %d tokens of context. /help shows the commands.\n", info.arch, info.context_length);
        interactive(&t);
    } else {
        from_pipe(&t);
    }
    radish_close(t.r);
    buf_free(&t.turns);
    return 0;
}
