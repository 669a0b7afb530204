/* output.c - one running answer: ids to whole characters, stop strings found across token edges and held back.
 *
 * Text is released only when no stop string can still begin in it: the longest suffix that is a prefix of a stop string waits. Work
 * a token is proportional to its text times the stop strings, not to the answer. Thread: whoever owns the answer. */
#include "chat/chat.h"

struct Output {
    TokStream stream;
    Str *stop;
    int n_stop, matched;
    bool keep_stop, skip_special;
    Ids kept;
    Buf held; /* text not yet released */
};

Output *output_new(const Tokenizer *t, const OutputOptions *o)
{
    size_t bytes = 0;
    for (int i = 0; i < o->n_stop; i++) bytes += o->stop[i].n;
    Output *out = mem_alloc(sizeof *out + (size_t)o->n_stop * sizeof(Str) + bytes); /* strings behind the struct */
    out->stop = (Str *)(out + 1);
    char *p = (char *)(out->stop + o->n_stop);
    for (int i = 0; i < o->n_stop; i++) {
        memcpy(p, o->stop[i].p, o->stop[i].n);
        out->stop[i] = (Str){ p, o->stop[i].n };
        p += o->stop[i].n;
    }
    out->n_stop = o->n_stop;
    out->matched = -1;
    out->keep_stop = o->keep_stop;
    out->skip_special = o->skip_special;
    if (o->skip_special && o->n_kept > 0) ids_add(&out->kept, o->kept, (size_t)o->n_kept);
    tok_stream_init(&out->stream, t, o->skip_special);
    return out;
}

void output_free(Output *o)
{
    if (!o) return;
    buf_free(&o->held);
    ids_free(&o->kept);
    mem_free(o);
}

/* The match that ends first; of those the one that began first, then the first in the list. */
static bool find_stop(Output *o, size_t *at)
{
    size_t best_end = SIZE_MAX;
    for (int i = 0; i < o->n_stop; i++) {
        size_t hit = str_find(buf_view(&o->held), o->stop[i], 0);
        if (hit == SIZE_MAX || hit + o->stop[i].n > best_end) continue;
        if (hit + o->stop[i].n == best_end && hit >= *at) continue;
        best_end = hit + o->stop[i].n;
        *at = hit;
        o->matched = i;
    }
    return o->matched >= 0;
}

/* Bytes at the end of held that begin a stop string. */
static size_t pending(const Output *o)
{
    size_t most = 0;
    Str held = buf_view(&o->held);
    for (int i = 0; i < o->n_stop; i++) {
        for (size_t n = MIN(o->stop[i].n - 1, held.n); n > most; n--) {
            if (str_ends(held, str_cut(o->stop[i], 0, n))) most = n;
        }
    }
    return most;
}

static void release(Output *o, size_t n, Buf *delta)
{
    buf_add(delta, o->held.p, n);
    memmove(o->held.p, o->held.p + n, o->held.n - n);
    o->held.n -= n;
}

static bool skips(const Output *o, int32_t id)
{
    for (size_t i = 0; i < o->kept.n; i++)
        if (o->kept.p[i] == id) return false;
    return o->skip_special;
}

bool output_push(Output *o, int32_t id, Buf *delta)
{
    size_t at = 0;
    o->stream.skip_special = skips(o, id);
    if (o->n_stop == 0) {
        tok_stream_push(&o->stream, id, delta);
        return false;
    }
    tok_stream_push(&o->stream, id, &o->held);
    if (o->held.n == 0) return false;
    if (!find_stop(o, &at)) {
        release(o, o->held.n - pending(o), delta);
        return false;
    }
    release(o, at + (o->keep_stop ? o->stop[o->matched].n : 0), delta);
    buf_clear(&o->held);
    return true;
}

void output_end(Output *o, Buf *delta)
{
    if (o->matched >= 0) return;
    tok_stream_end(&o->stream, &o->held);
    if (o->held.n) release(o, o->held.n, delta);
}

int output_matched(const Output *o)
{
    return o->matched;
}
