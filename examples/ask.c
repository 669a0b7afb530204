/* ask.c - Radish as a library, in one page: open a model, ask a question, print the answer as it comes.
 *
 *   cc ask.c -Iinclude -Lbuild/release -lradish -lpthread -o ask && LD_LIBRARY_PATH=build/release ./ask model.gguf "Who are you?"
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "radish.h"

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    int done;
} Wait;

/* Runs on a thread of Radish's: print, and wake main at the end. */
static void on_event(void *ctx, const RadishEvent *e)
{
    Wait *w = ctx;
    fwrite(e->text, 1, e->n_text, stdout);
    fflush(stdout);
    if (e->kind != RADISH_EV_END) return;
    pthread_mutex_lock(&w->lock);
    w->done = e->reason == RADISH_END_FAILED ? 2 : 1;
    pthread_cond_signal(&w->ended);
    pthread_mutex_unlock(&w->lock);
}

int main(int argc, char **argv)
{
    if (argc < 3) return fprintf(stderr, "usage: ask MODEL QUESTION\n"), 2;
    RadishError err;
    Radish *r;
    char messages[4096], *prompt;
    size_t n;
    if (radish_open(&(RadishOptions){ .model_path = argv[1] }, &r, &err)) return fprintf(stderr, "%s\n", err.text), 1;
    snprintf(messages, sizeof messages, "[{\"role\":\"user\",\"content\":\"%s\"}]", argv[2]);
    if (radish_render_chat(r, &(RadishChat){ .messages_json = messages }, &prompt, &n, &err))
        return fprintf(stderr, "%s\n", err.text), 1;

    Wait w = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 };
    RadishRequest q;
    radish_request_init(&q);
    q.text = prompt;
    q.n_text = n;
    q.parse_specials = true;
    q.add_bos = false;
    q.temperature = 0;
    q.max_new_tokens = 48;
    q.on_event = on_event;
    q.ctx = &w;
    if (radish_submit(r, &q, NULL, &err)) return fprintf(stderr, "%s\n", err.text), 1;
    pthread_mutex_lock(&w.lock);
    while (!w.done) pthread_cond_wait(&w.ended, &w.lock);
    pthread_mutex_unlock(&w.lock);
    printf("\n");
    radish_string_free(prompt);
    radish_close(r);
    return w.done == 1 ? 0 : 1;
}
