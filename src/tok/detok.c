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
    if (n == 0) return;
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

/* s with every from made to, in out. */
static void add_replaced(Buf *out, Str s, Str from, const char *to)
{
    for (size_t i = 0, at; i < s.n; i = at + from.n) {
        at = from.n ? MIN(str_find(s, from, i), s.n) : s.n;
        buf_add(out, s.p + i, at - i);
        if (at == s.n) return;
        buf_str(out, str_of(to));
    }
}

/* What English tokenizers of the first years do to the spaces before punctuation. */
static void clean_up(Buf *b, Buf *tmp)
{
    static const char *const pairs[][2] = { { " .", "." },     { " ?", "?" },           { " !", "!" },
                                            { " ,", "," },     { " ' ", "'" },          { " n't", "n't" },
                                            { " 'm", "'m" },   { " do not", " don't" }, { " 's", "'s" },
                                            { " 've", "'ve" }, { " 're", "'re" } };
    for (size_t i = 0; i < COUNT(pairs); i++) {
        if (str_find(buf_view(b), str_of(pairs[i][0]), 0) == SIZE_MAX) continue;
        buf_clear(tmp);
        add_replaced(tmp, buf_view(b), str_of(pairs[i][0]), pairs[i][1]);
        buf_clear(b);
        buf_str(b, buf_view(tmp));
    }
}

/* The kinds whose pieces are words without spaces, and the last decoders of old models. */
static void push_word(TokStream *s, Str piece, int32_t id, Buf *out)
{
    const Decoder *d = &s->t->dec;
    Buf word = { 0 }, tmp = { 0 };
    bool repeated = d->kind == DEC_CTC && s->started && s->last == id;
    if (d->kind == DEC_WORDPIECE) {
        bool inner = s->started && d->prefix.n && str_starts(piece, d->prefix);
        if (s->started && !inner) buf_char(&word, ' ');
        buf_str(&word, inner ? str_cut(piece, d->prefix.n, piece.n) : piece);
    } else if (d->kind == DEC_SUFFIX) { /* an end of word is a space, once there is a next word */
        if (s->space) buf_char(&word, ' ');
        s->space = str_ends(piece, d->prefix);
        add_replaced(&word, s->space ? str_cut(piece, 0, piece.n - d->prefix.n) : piece, d->prefix, " ");
    } else {
        add_replaced(&word, piece, d->prefix, "");
    }
    if (d->cleanup) clean_up(&word, &tmp);
    if (d->kind == DEC_CTC && d->cleanup) {
        buf_clear(&tmp);
        add_replaced(&tmp, buf_view(&word), d->meta, " ");
        buf_clear(&word);
        buf_str(&word, buf_view(&tmp));
    }
    if (!repeated) push_bytes(s, word.p, word.n, out);
    buf_free(&word);
    buf_free(&tmp);
}

/* The first piece of pipelines that put a space in front of the text: that space is taken off again. */
static Str first_piece(const Decoder *d, const Tokenizer *t, int32_t id)
{
    Str piece = piece_out(t, id);
    int strip = d->strip_left;
    if (d->drop_first_space) strip = (int)piece.n;
    while (strip-- > 0 && piece.n && piece.p[0] == ' ') piece = str_cut(piece, 1, piece.n);
    return piece;
}

void tok_stream_push(TokStream *s, int32_t id, Buf *out)
{
    const Tokenizer *t = s->t;
    if (id < 0 || id >= t->n_vocab || !(t->pieces[id].flags & PIECE_USED)) return;
    if (s->skip_special && (t->pieces[id].flags & PIECE_SPECIAL)) return;
    if (t->dec.kind == DEC_PIECES || t->dec.kind == DEC_BYTES) {
        Str piece = s->started ? piece_out(t, id) : first_piece(&t->dec, t, id);
        if (s->started && t->dec.space_between) push_bytes(s, " ", 1, out);
        push_bytes(s, piece.p, piece.n, out);
    } else {
        push_word(s, piece_out(t, id), id, out);
    }
    s->started = true;
    s->last = id;
}

/* The outputs of all ids in a row, as they are. False if this tokenizer has more to do than that. */
static bool decode_plain(const Tokenizer *t, const int32_t *ids, size_t n, bool skip_special, Buf *out)
{
    const Decoder *d = &t->dec;
    uint8_t unwanted = skip_special ? PIECE_SPECIAL : 0;
    if ((d->kind != DEC_BYTES && d->kind != DEC_PIECES) || d->space_between) return false;
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        if ((uint32_t)ids[i] >= (uint32_t)t->n_vocab) continue;
        const Piece *p = &t->pieces[ids[i]];
        if (!(p->flags & PIECE_USED) || (p->flags & unwanted)) continue;
        Str s = first ? first_piece(d, t, ids[i]) : piece_out(t, ids[i]);
        first = false;
        if (out->cap - out->n < s.n + 16) buf_reserve(out, s.n + 16 + (n - i) * 4);
        if (s.n <= 16 && s.p + 16 <= t->blob.p + t->blob.n)
            memcpy(out->p + out->n, s.p, 16); /* most pieces are shorter; what is too much is written over */
        else
            memcpy(out->p + out->n, s.p, s.n);
        out->n += s.n;
    }
    return true;
}

void tok_decode(const Tokenizer *t, const int32_t *ids, size_t n, bool skip_special, Buf *out)
{
    size_t before = out->n;
    if (decode_plain(t, ids, n, skip_special, out) &&
        utf8_valid((Str){ out->p ? out->p + before : "", out->n - before }))
        return;
    out->n = before; /* a character is broken somewhere, or there are spaces to see to */
    TokStream s;
    tok_stream_init(&s, t, skip_special);
    for (size_t i = 0; i < n; i++) tok_stream_push(&s, ids[i], out);
    tok_stream_end(&s, out);
}
