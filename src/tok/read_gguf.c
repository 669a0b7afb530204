/* read_gguf.c - a tokenizer from GGUF metadata (tokenizer.ggml.*). Keys and defaults: those llama.cpp writes and assumes.
 * Errors name the key. */
#include "base/utf8.h"
#include "tok/parts.h"

#define KEY(name) "tokenizer.ggml." name

static Str text_at(Checkpoint *c, const char *key)
{
    Str s = { 0 };
    const Meta *m = load_meta_find(c, key);
    if (m && !load_meta_str(m, 0, &s)) s = (Str){ 0 };
    return s;
}

static bool flag_at(Checkpoint *c, const char *key, bool otherwise)
{
    const Meta *m = load_meta_find(c, key);
    bool value;
    return m && load_meta_bool(m, 0, &value) ? value : otherwise;
}

static int32_t id_at(Checkpoint *c, const Tokenizer *t, const char *key, int32_t otherwise)
{
    const Meta *m = load_meta_find(c, key);
    int64_t id;
    if (!m || !load_meta_i64(m, 0, &id)) return otherwise < t->n_vocab ? otherwise : -1;
    return id >= 0 && id < t->n_vocab ? (int32_t)id : -1;
}

/* ---- tokens ---- */

typedef struct {
    const Meta *tokens, *types, *scores;
    Buf bytes;
} Source;

static Status open_source(Checkpoint *c, Source *s, Err *err)
{
    *s = (Source){ .tokens = load_meta_find(c, KEY("tokens")),
                   .types = load_meta_find(c, KEY("token_type")),
                   .scores = load_meta_find(c, KEY("scores")) };
    if (!s->tokens || s->tokens->type != META_ARRAY || s->tokens->elem != META_STRING)
        return fail(err, E_CORRUPT, KEY("tokens") " is missing or no array of strings");
    size_t n = s->tokens->count;
    if (n == 0 || n > MAX_VOCAB) return fail(err, E_LIMIT, KEY("tokens") " has %zu tokens, not 1 to %d", n, MAX_VOCAB);
    if (s->types && (s->types->type != META_ARRAY || s->types->count != n))
        return fail(err, E_CORRUPT, KEY("token_type") " does not have one entry for each of %zu tokens", n);
    if (s->scores && (s->scores->type != META_ARRAY || s->scores->count != n))
        return fail(err, E_CORRUPT, KEY("scores") " does not have one entry for each of %zu tokens", n);
    return OK;
}

static int type_of(const Source *s, size_t id)
{
    int64_t type = TYPE_NORMAL;
    if (s->types && !load_meta_i64(s->types, id, &type)) type = TYPE_NORMAL;
    return (int)type;
}

/* RWKV's tokens are bytes as a C string literal has them: \\t \\n \\r \\xNN, and a backslash before anything else for itself. */
static void unescape(Str s, Buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '\\' && i + 1 < s.n) {
            c = s.p[++i];
            int byte = c == 'x' && i + 2 < s.n ? vocab_hex_byte(s.p + i + 1) : -1;
            if (byte >= 0) {
                c = (char)byte;
                i += 2;
            } else {
                c = c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c;
            }
        }
        buf_char(out, c);
    }
}

/* Puts piece id in: as the model's own, as an added token, or as both. */
static Status take_token(Tokenizer *t, Source *s, int32_t id, Str text, Err *err)
{
    int type = type_of(s, (size_t)id);
    bool added = type == TYPE_CONTROL || type == TYPE_USER || (type == TYPE_UNKNOWN && t->byte_level);
    bool model = t->byte_level ? !added : type != TYPE_CONTROL && type != TYPE_UNKNOWN && type != TYPE_UNUSED;
    Str piece = text;
    buf_clear(&s->bytes);
    if (t->model == MODEL_LONGEST && !added) {
        unescape(text, &s->bytes);
        piece = buf_view(&s->bytes);
        model = type != TYPE_UNUSED;
    } else if (t->byte_level && !added) {
        if (vocab_bytes_of(text, &s->bytes))
            piece = buf_view(&s->bytes);
        else
            model = false;
    }
    if (t->model == MODEL_WORDPIECE && !added) { /* the start of a word is marked here, elsewhere its continuation */
        bool starts = str_starts(text, STR("\xE2\x96\x81"));
        if (!starts) buf_str(&s->bytes, STR("##"));
        buf_str(&s->bytes, starts ? str_cut(text, 3, text.n) : text);
        piece = buf_view(&s->bytes);
    }
    TRY(vocab_set(t, id, piece, model ? PIECE_MODEL : 0, err));
    if (type == TYPE_UNKNOWN) t->pieces[id].flags |= PIECE_SPECIAL;
    if (!added) return OK;
    /* SentencePiece looks for its user-defined pieces in normalized text, and for control pieces nowhere. */
    Added a = {
        .text = text, .id = id, .special = type != TYPE_USER, .normalized = type == TYPE_USER && !t->byte_level
    };
    return vocab_add_token(t, a, err);
}

static Status take_tokens(Tokenizer *t, Source *s, Err *err)
{
    Str text;
    size_t pos = 0;
    for (size_t id = 0; id < s->tokens->count; id++) {
        if (!load_meta_next_str(s->tokens, &pos, &text))
            return fail(err, E_CORRUPT, KEY("tokens") " ends at token %zu", id);
        if (!utf8_valid(text)) return fail(err, E_CORRUPT, KEY("tokens") ": token %zu is not valid UTF-8", id);
        if (take_token(t, s, (int32_t)id, text, err) != OK) return fail_prefix(err, KEY("tokens"));
    }
    return OK;
}

/* ---- merges ---- */

/* "left right", cut at the first space that is not the first character; one that names no tokens is passed over. */
static void take_merge(Tokenizer *t, Str line, uint32_t rank, Buf *tmp)
{
    size_t cut = line.n > 2 ? str_find(line, STR(" "), 1) : SIZE_MAX;
    if (cut == SIZE_MAX || !utf8_valid(line)) return;
    bpe_add_written(t, str_cut(line, 0, cut), str_cut(line, cut + 1, line.n), rank, tmp);
}

static Status take_merges(Checkpoint *c, Tokenizer *t, Err *err)
{
    const Meta *m = load_meta_find(c, KEY("merges"));
    if (!m || m->type != META_ARRAY || m->elem != META_STRING)
        return fail(err, E_CORRUPT, KEY("merges") " is missing or no array of strings");
    if (m->count > MAX_MERGES)
        return fail(err, E_LIMIT, KEY("merges") " has %zu merges, over %d", m->count, MAX_MERGES);
    vocab_index(t);
    bpe_reserve(&t->bpe, m->count, m->count);
    Str line;
    Buf tmp = { 0 };
    size_t pos = 0;
    for (uint32_t rank = 0; load_meta_next_str(m, &pos, &line); rank++) take_merge(t, line, rank, &tmp);
    buf_free(&tmp);
    return OK;
}

/* ---- the kinds of model ---- */

/* Merges over characters: U+2581 for a space, bytes as <0xNN>, runs of unknown characters as one. */
static void set_chars(Checkpoint *c, Tokenizer *t)
{
    t->bpe.byte_fallback = t->bpe.fuse_unk = true;
    t->unk = id_at(c, t, KEY("unknown_token_id"), -1);
    family_spm_steps(t, false);
}

static Status read_bpe(Checkpoint *c, Tokenizer *t, Source *s, Str pre, Err *err)
{
    if (!pre.p) pre = STR("default");
    if (!family_pre(t, pre))
        return fail(err, E_UNSUPPORTED, KEY("pre") " is \"%.*s\": that way to split text is not known", STR_FMT(pre));
    t->model = MODEL_BPE;
    t->dec.kind = DEC_BYTES;
    TRY(take_tokens(t, s, err));
    if (!t->byte_level) set_chars(c, t);
    return take_merges(c, t, err);
}

/* SentencePiece's scores as ranks: higher scores come first, equal scores are equal. */
static Status ranks_of_scores(const Source *s, uint32_t *rank, Err *err)
{
    if (!s->scores) return fail(err, E_CORRUPT, KEY("scores") " is missing");
    for (size_t i = 0; i < s->scores->count; i++) {
        double score;
        if (!load_meta_f64(s->scores, i, &score)) return fail(err, E_CORRUPT, KEY("scores") " are no numbers");
        rank[i] = type_of(s, i) == TYPE_BYTE ? BPE_NO_RANK : score_rank((float)score);
    }
    return OK;
}

static Status read_spm(Checkpoint *c, Tokenizer *t, Source *s, Err *err)
{
    t->model = MODEL_BPE;
    t->bpe.byte_fallback = t->bpe.fuse_unk = true;
    t->add_bos = true;
    t->bos = 1;
    t->eos = 2;
    TRY(take_tokens(t, s, err));
    family_spm_steps(t, flag_at(c, KEY("add_space_prefix"), true));
    t->unk = id_at(c, t, KEY("unknown_token_id"), 0);
    vocab_index(t);
    uint32_t *rank = mem_alloc_array((size_t)t->n_vocab, sizeof *rank);
    Status status = ranks_of_scores(s, rank, err);
    if (status == OK) status = bpe_pairs_from_ranks(t, rank, err);
    mem_free(rank);
    return status;
}

static Status take_scores(const Source *s, Tokenizer *t, Err *err)
{
    if (!s->scores) return fail(err, E_CORRUPT, KEY("scores") " is missing");
    t->unigram.score = mem_alloc_array((size_t)t->n_vocab, sizeof *t->unigram.score);
    for (int32_t id = 0; id < t->n_vocab; id++)
        if (!load_meta_f64(s->scores, (size_t)id, &t->unigram.score[id]))
            return fail(err, E_CORRUPT, KEY("scores") " are no numbers");
    return OK;
}

static Status read_unigram(Checkpoint *c, Tokenizer *t, Source *s, Err *err)
{
    t->model = MODEL_UNIGRAM;
    t->add_eos = true;
    t->eos = 1;
    TRY(take_tokens(t, s, err));
    const Meta *map = load_meta_find(c, KEY("precompiled_charsmap"));
    if (map && map->type == META_ARRAY && (map->elem == META_U8 || map->elem == META_I8) && map->count)
        TRY(charsmap_read((Str){ (const char *)map->data, map->count }, t->mem, &t->norms[t->n_norms++], err));
    if (flag_at(c, KEY("remove_extra_whitespaces"), false))
        t->norms[t->n_norms++] = (NormStep){ .kind = NORM_COLLAPSE };
    family_spm_steps(t, flag_at(c, KEY("add_space_prefix"), true));
    t->unk = id_at(c, t, KEY("unknown_token_id"), 2);
    return take_scores(s, t, err);
}

/* PLaMo 2: the best segmentation by scores, found from the end of the text; spaces are spaces. */
static Status read_plamo2(Checkpoint *c, Tokenizer *t, Source *s, Err *err)
{
    t->model = MODEL_UNIGRAM;
    t->dec = (Decoder){ .kind = DEC_PIECES, .byte_fallback = true };
    t->bos = 1;
    t->eos = 2;
    TRY(take_tokens(t, s, err));
    vocab_index(t); /* the pieces of bytes are found by their text, but no text becomes one */
    for (int32_t id = 0; id < t->n_vocab; id++)
        if (type_of(s, (size_t)id) == TYPE_BYTE) t->pieces[id].flags &= (uint8_t)~PIECE_MODEL;
    t->unk = id_at(c, t, KEY("unknown_token_id"), 0);
    TRY(take_scores(s, t, err));
    unigram_from_end(t);
    return OK;
}

static Status read_rwkv(Checkpoint *c, Tokenizer *t, Source *s, Err *err)
{
    t->model = MODEL_LONGEST;
    t->byte_level = true;
    t->dec.kind = DEC_BYTES;
    TRY(take_tokens(t, s, err));
    t->unk = id_at(c, t, KEY("unknown_token_id"), -1);
    t->unigram.score = mem_alloc_array((size_t)t->n_vocab, sizeof *t->unigram.score);
    return OK;
}

static Status read_wordpiece(Checkpoint *c, Tokenizer *t, Source *s, Err *err)
{
    t->model = MODEL_WORDPIECE;
    t->wordpiece = (WordPiece){ .prefix = STR("##"), .max_chars = 100 };
    t->dec = (Decoder){ .kind = DEC_WORDPIECE, .prefix = STR("##"), .cleanup = true };
    TRY(take_tokens(t, s, err));
    t->norms[t->n_norms++] = (NormStep){ .kind = NORM_BERT, .clean = true, .chinese = true };
    t->norms[t->n_norms++] = (NormStep){ .kind = NORM_NFD };
    t->norms[t->n_norms++] = (NormStep){ .kind = NORM_BERT_ACCENTS };
    t->norms[t->n_norms++] = (NormStep){ .kind = NORM_LOWER };
    t->splits[t->n_splits++] = (SplitStep){ .kind = SPLIT_SPACES, .behavior = REMOVED };
    t->splits[t->n_splits++] = (SplitStep){ .kind = SPLIT_PUNCT, .behavior = ISOLATED };
    t->unk = id_at(c, t, KEY("unknown_token_id"), 100);
    int32_t cls = id_at(c, t, KEY("cls_token_id"), 101), sep = id_at(c, t, KEY("seperator_token_id"), 102);
    if (cls >= 0) ids_push(&t->before, cls);
    if (sep >= 0) ids_push(&t->after, sep);
    return OK;
}

/* Phi-3's added tokens take the white space after them; the file has no place to say so. */
static void take_phi3(Checkpoint *c, Tokenizer *t)
{
    if (!str_is(text_at(c, "general.architecture"), "phi3") || t->byte_level) return;
    for (size_t i = 0; i < t->n_added; i++) {
        Added *a = &t->added[i];
        a->rstrip = !str_is(a->text, "<s>") && !str_is(a->text, "<|endoftext|>") && !str_is(a->text, "<unk>");
    }
}

/* ---- special ids ---- */

static const struct {
    const char *key, *role;
} roles[] = {
    { KEY("bos_token_id"), "bos_token" },       { KEY("eos_token_id"), "eos_token" },
    { KEY("unknown_token_id"), "unk_token" },   { KEY("padding_token_id"), "pad_token" },
    { KEY("seperator_token_id"), "sep_token" }, { KEY("cls_token_id"), "cls_token" },
    { KEY("mask_token_id"), "mask_token" },
};

static void take_roles(Checkpoint *c, Tokenizer *t)
{
    for (size_t i = 0; i < COUNT(roles); i++) {
        int32_t id = id_at(c, t, roles[i].key, i == 0 ? t->bos : i == 1 ? t->eos : -1);
        if (i == 0) t->bos = id;
        if (i == 1) t->eos = id;
        if (id < 0) continue;
        vocab_set_special(t, roles[i].role, id, piece_text(t, id));
    }
    vocab_add_stop(t, id_at(c, t, KEY("eot_token_id"), -1));
    vocab_add_stop(t, id_at(c, t, KEY("eom_token_id"), -1));
    t->add_bos = flag_at(c, KEY("add_bos_token"), t->add_bos);
    t->add_eos = flag_at(c, KEY("add_eos_token"), t->add_eos);
    if (t->model == MODEL_WORDPIECE) return;
    if (t->add_bos && t->bos >= 0) ids_push(&t->before, t->bos);
    if (t->add_eos && t->eos >= 0) ids_push(&t->after, t->eos);
}

static void take_templates(Checkpoint *c, Tokenizer *t)
{
    static const char base[] = "tokenizer.chat_template";
    for (size_t i = 0; i < load_n_meta(c); i++) {
        const Meta *m = load_meta(c, i);
        Str text, name = m->key;
        if (!str_starts(name, STR(base)) || !load_meta_str(m, 0, &text)) continue;
        name = str_cut(name, sizeof base - 1, name.n);
        if (name.n == 0 || name.p[0] == '.') vocab_add_template(t, name.n ? str_cut(name, 1, name.n) : name, text);
    }
}

Status read_gguf(Checkpoint *c, Tokenizer *t, Err *err)
{
    Source s;
    Str model = text_at(c, KEY("model"));
    if (!model.p) return fail(err, E_NOT_FOUND, KEY("model") " is missing: the file has no tokenizer");
    TRY(open_source(c, &s, err));
    Status status;
    if (str_is(model, "gpt2"))
        status = read_bpe(c, t, &s, text_at(c, KEY("pre")), err);
    else if (str_is(model, "gemma4"))
        status = read_bpe(c, t, &s, STR("gemma4"), err);
    else if (str_is(model, "llama"))
        status = read_spm(c, t, &s, err);
    else if (str_is(model, "t5"))
        status = read_unigram(c, t, &s, err);
    else if (str_is(model, "bert"))
        status = read_wordpiece(c, t, &s, err);
    else if (str_is(model, "rwkv"))
        status = read_rwkv(c, t, &s, err);
    else if (str_is(model, "plamo2"))
        status = read_plamo2(c, t, &s, err);
    else
        status =
            fail(err, E_UNSUPPORTED, KEY("model") " is \"%.*s\": that kind of tokenizer is not known", STR_FMT(model));
    buf_free(&s.bytes);
    if (status != OK) return status;
    take_roles(c, t);
    take_phi3(c, t);
    take_templates(c, t);
    return OK;
}
