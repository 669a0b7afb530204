/* detok.c - ids to text, whole or as a stream.
 *
 * What each id gives was worked out when the tokenizer was opened (Piece.out), so decoding copies bytes. Left to do here:
 * take leading spaces off, join words for the kinds that leave spaces out, and make malformed UTF-8 into U+FFFD, holding
 * back a character's first bytes until the rest arrives. A stream and tok_decode are the same code, so that their text
 * is the same. Where byte pieces form no character each byte gives one U+FFFD, as Hugging Face's ByteFallback does;
 * unlike there, a valid character in the same run of byte pieces stays. Thread: any, one stream each. */
#include "base/utf8.h"
#include "tok/parts.h"

#define REPLACEMENT "\xEF\xBF\xBD"

void tok_stream_init(TokStream *s, const Tokenizer *t, bool skip_special)
{
    *s = (TokStream){ .t = t, .skip_special = skip_special };
}

/* Appends p[0..n), which continues the bytes held back; keeps an unfinished character at the end. */
static void push_bytes(TokStream *s, const char *p, size_t n, Buf *out)
{
    size_t i = 0;
    while (s->n_tail && i < n) {
        s->tail[s->n_tail++] = (uint8_t)p[i++];
        int len;
        const char *tail = (const char *)s->tail;
        if (utf8_next(tail, (size_t)s->n_tail, 0, &len) >= 0) {
            buf_add(out, tail, (size_t)s->n_tail);
            s->n_tail = 0;
        } else if (utf8_tail((Str){ tail, (size_t)s->n_tail }) != (size_t)s->n_tail) {
            s->n_tail--; /* it cannot go on with this byte */
            i--;
            tok_stream_end(s, out);
        }
    }
    size_t hold = utf8_tail((Str){ p + i, n - i });
    Str whole = { p + i, n - i - hold };
    if (utf8_valid(whole))
        buf_str(out, whole);
    else
        utf8_repair(out, whole);
    memcpy(s->tail + s->n_tail, p + n - hold, hold);
    s->n_tail += (int)hold;
}

void tok_stream_end(TokStream *s, Buf *out)
{
    if (!s->n_tail) return;
    int n = s->t->dec.kind == DEC_PIECES ? s->n_tail : 1;
    for (int i = 0; i < n; i++) buf_str(out, STR(REPLACEMENT));
    s->n_tail = 0;
}

/* Before or after the words of kinds that have no spaces in their pieces. */
static Str word_of(TokStream *s, Str piece, Buf *out)
{
    const Decoder *d = &s->t->dec;
    if (d->kind == DEC_WORDPIECE) {
        if (!s->started) return piece;
        if (d->prefix.n && str_starts(piece, d->prefix)) return str_cut(piece, d->prefix.n, piece.n);
        buf_char(out, ' ');
    } else if (d->space_between && s->started) {
        buf_char(out, ' ');
    }
    return piece;
}

void tok_stream_push(TokStream *s, int32_t id, Buf *out)
{
    const Tokenizer *t = s->t;
    if (id < 0 || id >= t->n_vocab || !(t->pieces[id].flags & PIECE_USED)) return;
    if (s->skip_special && (t->pieces[id].flags & PIECE_SPECIAL)) return;
    Str piece = word_of(s, piece_out(t, id), out);
    if (!s->started) {
        int strip = t->dec.strip_left;
        while (strip-- > 0 && piece.n && piece.p[0] == ' ') piece = str_cut(piece, 1, piece.n);
        s->started = true;
    }
    push_bytes(s, piece.p, piece.n, out);
}

void tok_decode(const Tokenizer *t, const int32_t *ids, size_t n, bool skip_special, Buf *out)
{
    TokStream s;
    tok_stream_init(&s, t, skip_special);
    buf_reserve(out, n * 5);
    for (size_t i = 0; i < n; i++) tok_stream_push(&s, ids[i], out);
    tok_stream_end(&s, out);
}
