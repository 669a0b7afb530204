/* vocab.c - a tokenizer's pieces and tables while a reader fills them, and the indexes built when it is done.
 * Thread: the one that opens the tokenizer. */
#include <stdio.h>

#include "tok/parts.h"
#include "tok/unicode.h"

Tokenizer *vocab_new(void)
{
    Tokenizer *t = mem_alloc(sizeof *t);
    t->mem = arena_new(0);
    t->unk = t->bos = t->eos = -1;
    for (int i = 0; i < 256; i++) t->bpe.byte_id[i] = t->unigram.byte_id[i] = -1;
    t->scratches = queue_new(64);
    buf_reserve(&t->blob, 1024); /* offsets into it are valid from the start */
    return t;
}

/* ---- pieces ---- */

static uint32_t keep(Tokenizer *t, Str s)
{
    uint32_t at = (uint32_t)t->blob.n;
    buf_str(&t->blob, s);
    return at;
}

Status vocab_set(Tokenizer *t, int64_t id, Str text, int flags, Err *err)
{
    if (id < 0 || id >= MAX_VOCAB)
        return fail(err, E_LIMIT, "token id %lld is not in 0..%d", (long long)id, MAX_VOCAB - 1);
    if (text.n > MAX_PIECE)
        return fail(err, E_LIMIT, "token %lld has %zu bytes, over %d", (long long)id, text.n, MAX_PIECE);
    if (t->blob.n > MAX_TEXT) return fail(err, E_LIMIT, "the tokens have over %d bytes of text", MAX_TEXT);
    if ((size_t)id >= t->cap_vocab) {
        size_t cap = MAX((size_t)id + 1, t->cap_vocab * 2);
        t->pieces = mem_grow(t->pieces, cap * sizeof *t->pieces);
        memset(t->pieces + t->cap_vocab, 0, (cap - t->cap_vocab) * sizeof *t->pieces);
        t->cap_vocab = cap;
    }
    Piece *p = &t->pieces[id];
    p->flags = (uint8_t)(p->flags | flags | PIECE_USED);
    p->text = p->out = keep(t, text);
    p->n_text = p->n_out = (uint16_t)text.n;
    t->n_vocab = MAX(t->n_vocab, (int)id + 1);
    return OK;
}

void vocab_set_out(Tokenizer *t, int32_t id, Str out)
{
    t->pieces[id].out = keep(t, out);
    t->pieces[id].n_out = (uint16_t)out.n;
}

/* The byte alphabet: printable Latin-1 stands for itself, the other 68 bytes are U+0100 and up in order. */
static bool is_itself(unsigned b)
{
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
}

/* Byte of the alphabet's n-th stand-in: 0-32, 127-160, 173. */
static unsigned nth_other(unsigned n)
{
    return n < 33 ? n : n < 67 ? n - 33 + 127 : 173;
}

bool vocab_bytes_of(Str text, Buf *out)
{
    size_t before = out->n;
    for (size_t i = 0, len; i < text.n; i += len) {
        uint32_t cp = uni_get(text.p + i, &len);
        if (cp >= 256 + 68 || (cp < 256 && !is_itself(cp))) {
            out->n = before;
            return false;
        }
        buf_char(out, (char)(cp < 256 ? cp : nth_other(cp - 256)));
    }
    return true;
}

void vocab_alphabet_of(Str bytes, Buf *out)
{
    buf_reserve(out, bytes.n * 2);
    for (size_t i = 0; i < bytes.n; i++) {
        unsigned b = (uint8_t)bytes.p[i];
        unsigned cp = is_itself(b) ? b : 256 + (b < 33 ? b : b < 161 ? b - 127 + 33 : 67);
        out->n += (size_t)utf8_put(out->p + out->n, cp);
    }
}

int vocab_hex_byte(const char *two)
{
    int high = hex_digit(two[0]), low = high < 0 ? -1 : hex_digit(two[1]);
    return low < 0 ? -1 : high * 16 + low;
}

int vocab_byte_piece(Str text)
{
    return text.n == 6 && memcmp(text.p, "<0x", 3) == 0 && text.p[5] == '>' ? vocab_hex_byte(text.p + 3) : -1;
}

/* ---- text -> id ---- */

void vocab_index(Tokenizer *t)
{
    size_t cap = 16, n = 0;
    for (int32_t id = 0; id < t->n_vocab; id++) n += (t->pieces[id].flags & PIECE_MODEL) != 0;
    while (cap < n * 2) cap *= 2;
    mem_free(t->by_text.slots);
    t->by_text = (TextMap){ .slots = mem_alloc_array(cap, sizeof *t->by_text.slots), .mask = cap - 1 };
    for (int32_t id = 0; id < t->n_vocab; id++) {
        if (!(t->pieces[id].flags & PIECE_MODEL)) continue;
        Str s = piece_text(t, id);
        if (vocab_find(t, s) >= 0) continue; /* of equal pieces the first counts */
        uint64_t h = hash_bytes(s.p, s.n, 0);
        size_t i = h & t->by_text.mask;
        while (t->by_text.slots[i]) i = (i + 1) & t->by_text.mask;
        t->by_text.slots[i] = (h & ~0xFFFFFFFFull) | ((uint32_t)id + 1);
    }
}

int32_t vocab_find(const Tokenizer *t, Str text)
{
    if (!t->by_text.slots) return -1;
    uint64_t h = hash_bytes(text.p, text.n, 0);
    for (size_t i = h & t->by_text.mask;; i = (i + 1) & t->by_text.mask) {
        uint64_t slot = t->by_text.slots[i];
        if (!slot) return -1;
        if ((slot ^ h) >> 32) continue;
        int32_t id = (int32_t)(uint32_t)(slot - 1);
        if (str_eq(piece_text(t, id), text)) return id;
    }
}

int32_t vocab_find_written(const Tokenizer *t, Str written, Buf *tmp)
{
    if (!t->byte_level) return vocab_find(t, written);
    buf_clear(tmp);
    return vocab_bytes_of(written, tmp) ? vocab_find(t, buf_view(tmp)) : -1;
}

/* Value of a base64 digit, -1 for anything else. */
static int digit64(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool vocab_base64(Str text, Buf *out)
{
    while (text.n && text.p[text.n - 1] == '=') text.n--;
    if (text.n % 4 == 1) return false;
    uint32_t bits = 0;
    int n = 0;
    buf_reserve(out, text.n);
    for (size_t i = 0; i < text.n; i++) {
        int d = digit64(text.p[i]);
        if (d < 0) return false;
        bits = bits << 6 | (uint32_t)d;
        n += 6;
        if (n < 8) continue;
        n -= 8;
        buf_char(out, (char)(bits >> n));
    }
    return true;
}

/* ---- added tokens, roles, stops, templates ---- */

Status vocab_add_token(Tokenizer *t, Added a, Err *err)
{
    if (a.text.n == 0) return OK;
    if (t->n_added == MAX_ADDED) return fail(err, E_LIMIT, "more than %d added tokens", MAX_ADDED);
    size_t n = MAX(a.text.n, a.find.n);
    if (n > MAX_PIECE) return fail(err, E_LIMIT, "added token %d has %zu bytes, over %d", a.id, n, MAX_PIECE);
    t->n_added_text += n;
    if (t->n_added_text > MAX_ADDED_TEXT)
        return fail(err, E_LIMIT, "the added tokens have over %d bytes", MAX_ADDED_TEXT);
    if (t->n_added == t->cap_added) {
        t->cap_added = MAX(64, t->cap_added * 2);
        t->added = mem_grow(t->added, t->cap_added * sizeof *t->added);
    }
    int flags = PIECE_ADDED | (a.special ? PIECE_SPECIAL : 0);
    bool known = a.id >= 0 && a.id < t->n_vocab && (t->pieces[a.id].flags & PIECE_USED);
    bool again = known && (t->pieces[a.id].flags & PIECE_ADDED);
    if (known) {
        t->pieces[a.id].flags = (uint8_t)(t->pieces[a.id].flags | flags);
    } else {
        TRY(vocab_set(t, a.id, a.text, flags, err));
    }
    vocab_set_out(t, a.id, a.find.n ? a.find : a.text);
    a.text = arena_str(t->mem, a.text);
    a.find = a.find.n ? arena_str(t->mem, a.find) : a.text;
    for (size_t i = 0; again && i < t->n_added; i++) {
        if (t->added[i].id != a.id) continue;
        t->added[i] = a;
        return OK;
    }
    t->added[t->n_added++] = a;
    return OK;
}

void vocab_set_special(Tokenizer *t, const char *role, int32_t id, Str text)
{
    int i = 0;
    while (i < t->n_specials && strcmp(t->specials[i].role, role) != 0) i++;
    if (i == (int)COUNT(t->specials) || strlen(role) >= sizeof t->specials[i].role) return;
    if (i == t->n_specials) t->n_specials++;
    t->specials[i] = (Special){ .id = id, .text = arena_str(t->mem, text) };
    memcpy(t->specials[i].role, role, strlen(role));
}

void vocab_add_stop(Tokenizer *t, int64_t id)
{
    if (id < 0 || id >= MAX_VOCAB || t->n_stops == MAX_STOPS) return;
    for (size_t i = 0; i < t->n_stops; i++)
        if (t->stops[i] == id) return;
    t->stops[t->n_stops++] = (int32_t)id;
}

void vocab_add_template(Tokenizer *t, Str name, Str text)
{
    if (str_is(name, "default")) name = STR("");
    for (int i = 0; i < t->n_templates; i++)
        if (str_eq(t->templates[i].name, name)) return;
    if (t->n_templates == MAX_TEMPLATES) return;
    t->templates[t->n_templates].name = arena_str(t->mem, name);
    t->templates[t->n_templates++].text = arena_str(t->mem, text);
}

/* ---- the end of reading ---- */

/* s with every from made to. */
static void replace_all(Str s, Str from, Str to, Buf *out)
{
    buf_clear(out);
    for (size_t i = 0, at; i <= s.n; i = at + from.n) {
        at = from.n ? str_find(s, from, i) : SIZE_MAX;
        if (at == SIZE_MAX) at = s.n;
        buf_add(out, s.p + i, at - i);
        if (at == s.n) return;
        buf_str(out, to);
    }
}

/* What id gives in text: bytes for <0xNN>, spaces for U+2581. tmp: room for two texts. */
static Status set_output(Tokenizer *t, int32_t id, Buf *tmp, Err *err)
{
    const Decoder *d = &t->dec;
    Str s = piece_out(t, id);
    int which = 0;
    for (int i = 0; i < d->n_replaces; i++) {
        if (str_find(s, d->replace[i].from, 0) == SIZE_MAX) continue;
        replace_all(s, d->replace[i].from, d->replace[i].to, &tmp[which]);
        s = buf_view(&tmp[which]);
        which = !which;
        if (s.n > UINT16_MAX || t->blob.n > MAX_TEXT) return fail(err, E_LIMIT, "token %d decodes to too much", id);
    }
    int byte = d->byte_fallback ? vocab_byte_piece(s) : -1;
    char c = (char)byte;
    if (byte >= 0) {
        t->pieces[id].flags |= PIECE_BYTE;
        s = (Str){ &c, 1 };
    }
    if (s.p != t->blob.p + t->pieces[id].out) vocab_set_out(t, id, s);
    return OK;
}

/* What ids give is worked out once. */
static Status set_outputs(Tokenizer *t, Err *err)
{
    Buf tmp[2] = { { 0 } };
    Status status = OK;
    for (int32_t id = 0; id < t->n_vocab && t->dec.kind == DEC_PIECES && status == OK; id++)
        status = set_output(t, id, tmp, err);
    buf_free(&tmp[0]);
    buf_free(&tmp[1]);
    return status;
}

static void set_byte_ids(Tokenizer *t, int32_t *byte_id)
{
    for (int b = 0; b < 256; b++) {
        char c = (char)b, code[8];
        Str s = { &c, 1 };
        if (!t->byte_level) s = (Str){ code, (size_t)snprintf(code, sizeof code, "<0x%02X>", (unsigned)b) };
        byte_id[b] = vocab_find(t, s);
    }
}

Status vocab_finish(Tokenizer *t, Err *err)
{
    if (t->n_vocab == 0) return fail(err, E_CORRUPT, "there are no tokens");
    if (!t->by_text.slots) vocab_index(t);
    set_byte_ids(t, t->model == MODEL_UNIGRAM ? t->unigram.byte_id : t->bpe.byte_id);
    if (!t->bpe.pairs) bpe_reserve(&t->bpe, 0, 0);
    if (t->model == MODEL_UNIGRAM || t->model == MODEL_LONGEST) TRY(unigram_build(t, err));
    TRY(set_outputs(t, err));
    t->raw = matcher_new(t->added, t->n_added, false);
    t->normed = matcher_new(t->added, t->n_added, true);
    if (t->before.n + t->after.n > MAX_AROUND)
        return fail(err, E_LIMIT, "the post-processor puts %zu ids round a text, over %d", t->before.n + t->after.n,
                    MAX_AROUND);
    if (t->bos >= t->n_vocab || t->eos >= t->n_vocab)
        return fail(err, E_CORRUPT, "the ids of bos and eos (%d, %d) are not below the %d tokens", t->bos, t->eos,
                    t->n_vocab);
    vocab_add_stop(t, t->eos);
    /* In gpt-oss's format <|end|> ends a message, not the answer. */
    bool harmony = tok_find(t, STR("<|return|>")) >= 0 && tok_find(t, STR("<|call|>")) >= 0;
    for (size_t i = 0; i < t->n_added; i++)
        if (family_is_stop(t->added[i].text) && !(harmony && str_is(t->added[i].text, "<|end|>")))
            vocab_add_stop(t, t->added[i].id);
    return OK;
}
