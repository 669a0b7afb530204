/* tok.c - the door: opening by what is there, encoding, and the questions others ask of a tokenizer.
 *
 * An encoding takes a Scratch (word cache and buffers) from the tokenizer's queue, or makes one, and gives it back; so
 * any number of threads may encode at once, and the caches stay warm. */
#include "tok/tok.h"

#include "base/file.h"
#include "base/utf8.h"
#include "tok/parts.h"
#include "tok/unicode.h"

/* ---- opening ---- */

Status files_get(const Files *f, const char *name, Str *out, Err *err)
{
    *out = (Str){ 0 };
    if (f->c) {
        *out = load_side_file(f->c, name);
        return OK;
    }
    char *path = file_join(f->mem, f->dir, name);
    if (!file_exists(path)) return OK;
    return file_read(f->mem, path, MAX_FILE, out, err);
}

/* Reads from a folder what gives right ids: tekken.json before tokenizer.json, whose split of Mistral's releases was
 * wrong; and tokenizer.json before the trainer's own tokenizer.model, which does not know the added tokens. */
static Status read_files(const Files *f, Tokenizer *t, Err *err)
{
    static const char *const models[] = { "tokenizer.model", "qwen.tiktoken", "tokenizer.tiktoken", "spiece.model",
                                          "sentencepiece.bpe.model" };
    Str text;
    TRY(files_get(f, "tekken.json", &text, err));
    if (text.p) return read_tekken(text, "tekken.json", t, err);
    TRY(files_get(f, "tokenizer.json", &text, err));
    if (text.p) return read_json(text, "tokenizer.json", t, err);
    for (size_t i = 0; i < COUNT(models); i++) {
        TRY(files_get(f, models[i], &text, err));
        if (text.p) return read_model(text, models[i], t, err);
    }
    return fail(err, E_NOT_FOUND, "there is no tokenizer.json, tekken.json or tokenizer.model");
}

static Status read_folder(const Files *f, Tokenizer *t, Err *err)
{
    TRY(read_files(f, t, err));
    TRY(read_json_config(f, t, err));
    return vocab_finish(t, err);
}

/* Hands t over if it was read well, closes it otherwise. */
static Status hand_over(Status status, Tokenizer *t, const char *path, Tokenizer **out, Err *err)
{
    if (status == OK) {
        *out = t;
        return OK;
    }
    tok_close(t);
    if (path) fail_prefix(err, "%s", path);
    for (char *c = err ? err->text : NULL; c && *c; c++) /* parts of the file may be quoted: keep it one line */
        if ((uint8_t)*c < 32 || *c == 127) *c = ' ';
    return status;
}

Status tok_open(Checkpoint *c, Tokenizer **out, Err *err)
{
    Tokenizer *t = vocab_new();
    Status status;
    if (load_kind(c) == LOAD_GGUF) {
        status = read_gguf(c, t, err);
        if (status == OK) status = vocab_finish(t, err);
    } else {
        Arena *mem = arena_new(0);
        status = read_folder(&(Files){ .c = c, .mem = mem }, t, err);
        arena_free(mem);
    }
    return hand_over(status, t, load_path(c), out, err);
}

static bool name_ends(const char *path, const char *with)
{
    return str_ends(str_of(path), str_of(with));
}

/* One file of any kind, told by how it begins. */
static Status read_bytes(Str text, const char *name, Tokenizer *t, Err *err)
{
    Str trimmed = str_trim(text);
    if (trimmed.n == 0 || trimmed.p[0] != '{') return read_model(text, name, t, err);
    if (str_find(text, STR("\"token_bytes\""), 0) != SIZE_MAX && !name_ends(name, "tokenizer.json"))
        return read_tekken(text, name, t, err);
    return read_json(text, name, t, err);
}

Status tok_open_bytes(Str bytes, const char *name, Tokenizer **out, Err *err)
{
    Tokenizer *t = vocab_new();
    Status status = read_bytes(bytes, name, t, err);
    if (status == OK) status = vocab_finish(t, err);
    return hand_over(status, t, NULL, out, err);
}

/* A single file; the others of its folder are read for special ids and templates. */
static Status read_file(const char *path, Arena *mem, Tokenizer *t, Err *err)
{
    Str text;
    TRY(file_read(mem, path, MAX_FILE, &text, err));
    const char *slash = strrchr(path, '/');
    Str dir = slash ? (Str){ path, (size_t)(slash - path) + 1 } : STR(".");
    Files files = { .dir = arena_cstr(mem, dir), .mem = mem };
    TRY(read_bytes(text, slash ? slash + 1 : path, t, err));
    TRY(read_json_config(&files, t, err));
    return vocab_finish(t, err);
}

Status tok_open_path(const char *path, Tokenizer **out, Err *err)
{
    bool dir = file_is_dir(path);
    if (!dir && name_ends(path, ".gguf")) {
        Checkpoint *c = NULL;
        TRY(load_open(path, (LoadOptions){ 0 }, &c, err));
        Status status = tok_open(c, out, err);
        load_close(c);
        return status;
    }
    Tokenizer *t = vocab_new();
    Arena *mem = arena_new(0);
    Status status = dir ? read_folder(&(Files){ .dir = path, .mem = mem }, t, err) : read_file(path, mem, t, err);
    arena_free(mem);
    return hand_over(status, t, path, out, err);
}

/* ---- scratches ---- */

enum { KEPT = 1 << 20 }; /* bytes of a buffer that wait for the next text */

static Scratch *scratch_take(const Tokenizer *t)
{
    void *item;
    if (queue_pop(t->scratches, &item, 1)) return item;
    Scratch *s = mem_alloc(sizeof *s);
    s->cache = mem_alloc_array(CACHE_SLOTS, sizeof *s->cache);
    return s;
}

static void scratch_free(Scratch *s)
{
    for (size_t i = 0; i < COUNT(s->piece); i++) buf_free(&s->piece[i]);
    buf_free(&s->repaired);
    buf_free(&s->norm[0]);
    buf_free(&s->norm[1]);
    buf_free(&s->marked);
    ids_free(&s->ids);
    mem_free(s->cache);
    mem_free(s->work);
    mem_free(s);
}

/* Keeps what usual texts need, not what the longest one did. */
static void scratch_trim(Scratch *s)
{
    Buf *bufs[] = { &s->repaired, &s->norm[0], &s->norm[1], &s->marked };
    for (size_t i = 0; i < COUNT(bufs); i++)
        if (bufs[i]->cap > KEPT) buf_free(bufs[i]);
    for (size_t i = 0; i < COUNT(s->piece); i++)
        if (s->piece[i].cap > KEPT) buf_free(&s->piece[i]);
    if (s->n_work <= KEPT) return;
    mem_free(s->work);
    s->work = NULL;
    s->n_work = 0;
}

static void scratch_give_back(const Tokenizer *t, Scratch *s)
{
    scratch_trim(s);
    if (!queue_push(t->scratches, s)) scratch_free(s);
}

void *enc_work(Enc *e, size_t n)
{
    if (n > e->s->n_work) {
        mem_free(e->s->work);
        e->s->n_work = MAX(n, 4096);
        e->s->work = mem_alloc(e->s->n_work);
    }
    return e->s->work;
}

void tok_close(Tokenizer *t)
{
    if (!t) return;
    void *item;
    while (queue_pop(t->scratches, &item, 1)) scratch_free(item);
    queue_free(t->scratches);
    for (int i = 0; i < t->n_norms; i++) regex_free(t->norms[i].regex);
    for (int i = 0; i < t->n_splits; i++) regex_free(t->splits[i].regex);
    matcher_free(t->raw);
    matcher_free(t->normed);
    bpe_free(&t->bpe);
    unigram_free(&t->unigram);
    mem_free(t->by_text.slots);
    mem_free(t->pieces);
    mem_free(t->added);
    buf_free(&t->blob);
    ids_free(&t->before);
    ids_free(&t->after);
    arena_free(t->mem);
    mem_free(t);
}

/* ---- encoding ---- */

void tok_encode_piece(Enc *e, Str piece)
{
    switch (e->t->model) {
    case MODEL_BPE: bpe_encode(e, piece); break;
    case MODEL_UNIGRAM: unigram_encode(e, piece); break;
    case MODEL_LONGEST: unigram_encode_longest(e, piece); break;
    case MODEL_WORDPIECE:
    case MODEL_WORDLEVEL: wordpiece_encode(e, piece); break;
    }
}

/* True if a word character ends before (begins at) the given place: a single_word token may not stand there. */
static bool word_before(Str text, size_t at)
{
    size_t i = at, len;
    while (i > 0 && ((uint8_t)text.p[i - 1] & 0xC0) == 0x80) i--;
    return i > 0 && (uni_at(text.p + i - 1, &len) & UNI_WORD);
}

static bool word_after(Str text, size_t at)
{
    size_t len;
    return at < text.n && (uni_at(text.p + at, &len) & UNI_WORD);
}

static size_t spaces_before(Str text, size_t low, size_t at)
{
    while (at > low) {
        size_t i = at - 1, len;
        while (i > low && ((uint8_t)text.p[i] & 0xC0) == 0x80) i--;
        if (!(uni_at(text.p + i, &len) & UNI_SPACE)) break;
        at = i;
    }
    return at;
}

static size_t spaces_after(Str text, size_t at)
{
    size_t len;
    while (at < text.n && (uni_at(text.p + at, &len) & UNI_SPACE)) at += len;
    return at;
}

typedef void (*PlainFn)(Enc *e, Str text, bool at_start, int flags);

/* Cuts the added tokens out of text; what lies between goes on. An emptied piece goes nowhere. */
static void cut_added(Enc *e, const Matcher *m, Str text, bool at_start, int flags, PlainFn plain)
{
    size_t done = 0, from = 0, start, end;
    uint32_t which;
    while (m && matcher_next(m, text, from, &start, &end, &which)) {
        const Added *a = &e->t->added[which];
        from = end;
        if (a->special && !(flags & TOK_SPECIALS)) continue;
        if (a->single_word && (word_before(text, start) || word_after(text, end))) continue;
        if (a->lstrip) start = spaces_before(text, MIN(done, start), start);
        if (a->rstrip) end = spaces_after(text, end);
        if (done < start) plain(e, str_cut(text, done, start), at_start && done == 0, flags);
        ids_push(e->out, a->id);
        done = end;
    }
    if (done < text.n) plain(e, str_cut(text, done, text.n), at_start && done == 0, flags);
}

static void encode_normalized(Enc *e, Str text, bool at_start, int flags)
{
    (void)flags;
    e->wide = text.p;
    e->n_wide = text.n >= 16 ? text.n - 15 : 0;
    split_run(e, text, at_start);
}

static void encode_plain(Enc *e, Str text, bool at_start, int flags)
{
    Str s = norm_run(e->t, e->s, text);
    cut_added(e, e->t->normed, s, at_start, flags, encode_normalized);
}

void tok_encode(const Tokenizer *t, Str text, int flags, Ids *out)
{
    Enc e = { .t = t, .s = scratch_take(t), .out = out };
    if (!utf8_valid(text)) {
        buf_clear(&e.s->repaired);
        utf8_repair(&e.s->repaired, text);
        text = buf_view(&e.s->repaired);
    }
    ids_reserve(out, text.n / 4 + 16);
    if (flags & TOK_ADD_BOS) ids_add(out, t->before.p, t->before.n);
    cut_added(&e, t->raw, text, true, flags, encode_plain);
    if (flags & TOK_ADD_BOS) ids_add(out, t->after.p, t->after.n);
    scratch_give_back(t, e.s);
}

/* ---- questions ---- */

int tok_n_vocab(const Tokenizer *t)
{
    return t->n_vocab;
}

static bool is_id(const Tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->n_vocab && (t->pieces[id].flags & PIECE_USED);
}

Str tok_piece(const Tokenizer *t, int32_t id)
{
    return is_id(t, id) ? piece_out(t, id) : STR("");
}

bool tok_is_special(const Tokenizer *t, int32_t id)
{
    return is_id(t, id) && (t->pieces[id].flags & PIECE_SPECIAL);
}

int32_t tok_find(const Tokenizer *t, Str piece)
{
    for (size_t i = 0; i < t->n_added; i++)
        if (str_eq(t->added[i].text, piece)) return t->added[i].id;
    return vocab_find(t, piece);
}

int32_t tok_bos(const Tokenizer *t)
{
    return t->bos;
}

int32_t tok_eos(const Tokenizer *t)
{
    return t->eos;
}

bool tok_adds_bos(const Tokenizer *t)
{
    for (size_t i = 0; i < t->before.n; i++)
        if (t->before.p[i] == t->bos) return true;
    return false;
}

const int32_t *tok_stop_ids(const Tokenizer *t, size_t *n)
{
    *n = t->n_stops;
    return t->stops;
}

Str tok_chat_template(const Tokenizer *t, const char *name)
{
    for (int i = 0; i < t->n_templates; i++)
        if (str_is(t->templates[i].name, name)) return t->templates[i].text;
    return STR("");
}

Str tok_special_text(const Tokenizer *t, const char *role)
{
    for (int i = 0; i < t->n_specials; i++)
        if (strcmp(t->specials[i].role, role) == 0) return t->specials[i].text;
    return STR("");
}
