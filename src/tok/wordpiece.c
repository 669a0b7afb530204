/* wordpiece.c - greedy longest match from the left, inner pieces with a prefix; a word that cannot be covered is one unk.
 * Also WordLevel, which knows whole words only. */
#include "base/utf8.h"
#include "tok/parts.h"

static void put_unk(Enc *e)
{
    if (e->t->unk >= 0) ids_push(e->out, e->t->unk);
}

/* The longest piece at the start of s, dressed with the prefix if inner: its id and length, -1 if none. */
static int32_t longest(Enc *e, Str s, bool inner, size_t *len)
{
    Str prefix = inner ? e->t->wordpiece.prefix : STR("");
    Buf *tmp = &e->s->marked;
    buf_clear(tmp);
    buf_str(tmp, prefix);
    buf_add(tmp, s.p, MIN(s.n, (size_t)MAX_PIECE));
    for (size_t n = tmp->n - prefix.n; n > 0; n--) {
        if (n < s.n && ((uint8_t)s.p[n] & 0xC0) == 0x80) continue;
        int32_t id = vocab_find(e->t, (Str){ tmp->p, prefix.n + n });
        if (id < 0) continue;
        *len = n;
        return id;
    }
    return -1;
}

void wordpiece_encode(Enc *e, Str piece)
{
    if (e->t->model == MODEL_WORDLEVEL) {
        int32_t id = vocab_find(e->t, piece);
        if (id >= 0)
            ids_push(e->out, id);
        else
            put_unk(e);
        return;
    }
    size_t before = e->out->n, len = 0;
    bool bad = utf8_count(piece) > e->t->wordpiece.max_chars;
    for (size_t i = 0; i < piece.n && !bad; i += len) {
        int32_t id = longest(e, str_cut(piece, i, piece.n), i > 0, &len);
        bad = id < 0;
        if (!bad) ids_push(e->out, id);
    }
    if (!bad) return;
    e->out->n = before;
    put_unk(e);
}
