/* read_json.c - tokenizer.json: the model, the added tokens, and what is put round a text. The steps of its pipeline
 * are read by read_steps.c, first, because they say whether the vocabulary is written in the byte alphabet.
 * Errors name the key. Thread: the one that opens. */
#include "tok/jread.h"
#include "tok/parts.h"

/* ---- vocabularies ---- */

/* Puts a model's piece in, out of the byte alphabet where that is used. */
static Status take_piece(Tokenizer *t, int64_t id, Str text, Buf *tmp, Err *err)
{
    buf_clear(tmp);
    if (!t->byte_level) return vocab_set(t, id, text, PIECE_MODEL, err);
    if (!vocab_bytes_of(text, tmp)) return vocab_set(t, id, text, 0, err); /* no text can lead to it */
    return vocab_set(t, id, buf_view(tmp), PIECE_MODEL, err);
}

static Status take_vocab(const json_t *model, Tokenizer *t, Err *err)
{
    json_t *vocab = json_object_get(model, "vocab");
    if (!json_is_object(vocab)) return fail(err, E_CORRUPT, "model.vocab is missing or no object");
    Status status = OK;
    Buf tmp = { 0 };
    for (void *i = json_object_iter(vocab); i && status == OK; i = json_object_iter_next(vocab, i)) {
        Str text = { json_object_iter_key(i), json_object_iter_key_len(i) };
        const json_t *id = json_object_iter_value(i);
        status = json_is_integer(id) ? take_piece(t, json_integer_value(id), text, &tmp, err)
                                     : fail(err, E_CORRUPT, "token \"%.*s\" has no integer id", STR_FMT(text));
    }
    buf_free(&tmp);
    vocab_index(t);
    return status == OK ? OK : fail_prefix(err, "model.vocab");
}

/* The id of the piece that a key names, -1 if the key is absent or names none. */
static int32_t piece_named(const json_t *model, const char *key, const Tokenizer *t)
{
    Str text = jread_str(model, key);
    if (!text.p) return -1;
    Buf tmp = { 0 };
    int32_t id = vocab_find_written(t, text, &tmp);
    buf_free(&tmp);
    return id;
}

/* ---- BPE ---- */

/* "left right" or ["left", "right"]. */
static bool read_merge(const json_t *j, Str *left, Str *right)
{
    if (json_is_array(j) && json_array_size(j) == 2) {
        *left = jread_text(json_array_get(j, 0));
        *right = jread_text(json_array_get(j, 1));
        return left->p && right->p;
    }
    Str line = jread_text(j);
    size_t cut = line.n > 2 ? str_find(line, STR(" "), 1) : SIZE_MAX;
    if (cut == SIZE_MAX) return false;
    *left = str_cut(line, 0, cut);
    *right = str_cut(line, cut + 1, line.n);
    return true;
}

static Status take_merges(const json_t *model, Tokenizer *t, Err *err)
{
    const json_t *merges = json_object_get(model, "merges"), *merge;
    if (!json_is_array(merges)) return fail(err, E_CORRUPT, "model.merges is missing or no array");
    if (json_array_size(merges) > MAX_MERGES) return fail(err, E_LIMIT, "model.merges has over %d merges", MAX_MERGES);
    bpe_reserve(&t->bpe, json_array_size(merges), json_array_size(merges));
    Buf tmp = { 0 };
    Status status = OK;
    size_t i;
    json_array_foreach(merges, i, merge)
    {
        Str left, right;
        if (!read_merge(merge, &left, &right))
            status = fail(err, E_CORRUPT, "model.merges[%zu] is not a pair", i);
        else if (!bpe_add_written(t, left, right, (uint32_t)i, &tmp))
            status = fail(err, E_CORRUPT, "model.merges[%zu]: \"%.*s\" and \"%.*s\", or both together, are no tokens",
                          i, STR_FMT(left), STR_FMT(right));
        if (status != OK) break;
    }
    buf_free(&tmp);
    return status;
}

static Status read_bpe(const json_t *model, Tokenizer *t, Err *err)
{
    t->model = MODEL_BPE;
    TRY(take_vocab(model, t, err));
    t->bpe.whole_first = jread_bool(model, "ignore_merges", false);
    t->bpe.byte_fallback = jread_bool(model, "byte_fallback", false);
    t->bpe.fuse_unk = jread_bool(model, "fuse_unk", false);
    t->bpe.prefix = arena_str(t->mem, jread_str(model, "continuing_subword_prefix"));
    t->bpe.suffix = arena_str(t->mem, jread_str(model, "end_of_word_suffix"));
    t->unk = piece_named(model, "unk_token", t);
    return take_merges(model, t, err);
}

/* ---- the other models ---- */

static Status read_unigram(const json_t *model, Tokenizer *t, Err *err)
{
    const json_t *vocab = json_object_get(model, "vocab"), *entry;
    if (!json_is_array(vocab)) return fail(err, E_CORRUPT, "model.vocab is missing or no array");
    size_t n = json_array_size(vocab), i;
    if (n == 0 || n > MAX_VOCAB) return fail(err, E_LIMIT, "model.vocab has %zu tokens, not 1 to %d", n, MAX_VOCAB);
    t->model = MODEL_UNIGRAM;
    t->unigram.byte_fallback = jread_bool(model, "byte_fallback", false);
    t->unigram.score = mem_alloc_array(n, sizeof *t->unigram.score);
    Buf tmp = { 0 };
    Status status = OK;
    json_array_foreach(vocab, i, entry)
    {
        Str text = jread_text(json_array_get(entry, 0));
        const json_t *score = json_array_get(entry, 1);
        if (!text.p || !json_is_number(score))
            status = fail(err, E_CORRUPT, "model.vocab[%zu] is not [text, score]", i);
        else
            status = take_piece(t, (int64_t)i, text, &tmp, err);
        if (status != OK) break;
        t->unigram.score[i] = json_number_value(score);
    }
    buf_free(&tmp);
    int64_t unk = jread_int(model, "unk_id", -1);
    if (unk >= (int64_t)n) return fail(err, E_CORRUPT, "model.unk_id %lld is not below %zu", (long long)unk, n);
    t->unk = (int32_t)MAX(unk, -1);
    return status;
}

static Status read_wordpiece(const json_t *model, Tokenizer *t, Err *err)
{
    t->model = MODEL_WORDPIECE;
    TRY(take_vocab(model, t, err));
    Str prefix = jread_str(model, "continuing_subword_prefix");
    t->wordpiece.prefix = prefix.p ? arena_str(t->mem, prefix) : STR("##");
    int64_t max = jread_int(model, "max_input_chars_per_word", 100);
    if (max < 0 || max > MAX_WORD_CHARS)
        return fail(err, E_LIMIT, "model.max_input_chars_per_word is %lld, not 0 to %d", (long long)max,
                    MAX_WORD_CHARS);
    t->wordpiece.max_chars = (size_t)max;
    t->unk = piece_named(model, "unk_token", t);
    return OK;
}

static Status read_wordlevel(const json_t *model, Tokenizer *t, Err *err)
{
    t->model = MODEL_WORDLEVEL;
    TRY(take_vocab(model, t, err));
    t->unk = piece_named(model, "unk_token", t);
    return OK;
}

/* Old files have no type: then the keys tell. */
static Status read_json_model(const json_t *model, Tokenizer *t, Err *err)
{
    Str type = jread_str(model, "type");
    if (!json_is_object(model)) return fail(err, E_CORRUPT, "model is missing or no object");
    if (!type.p && json_object_get(model, "merges")) type = STR("BPE");
    if (!type.p && json_is_array(json_object_get(model, "vocab"))) type = STR("Unigram");
    if (!type.p && json_object_get(model, "max_input_chars_per_word")) type = STR("WordPiece");
    if (str_is(type, "BPE")) return read_bpe(model, t, err);
    if (str_is(type, "Unigram")) return read_unigram(model, t, err);
    if (str_is(type, "WordPiece")) return read_wordpiece(model, t, err);
    if (str_is(type, "WordLevel") || !type.p) return read_wordlevel(model, t, err);
    return fail(err, E_UNSUPPORTED, "model.type \"%.*s\" is not known", STR_FMT(type));
}

/* ---- added tokens ---- */

/* What normalized text looks like where the token stands. */
static Str normalized_text(Tokenizer *t, Str text)
{
    Scratch s = { 0 };
    Str out = arena_str(t->mem, norm_run(t, &s, text));
    buf_free(&s.norm[0]);
    buf_free(&s.norm[1]);
    return out;
}

static Status take_added(const json_t *list, Tokenizer *t, Err *err)
{
    const json_t *j;
    size_t i;
    if (!list || json_is_null(list)) return OK;
    if (!json_is_array(list)) return fail(err, E_CORRUPT, "added_tokens is no array");
    json_array_foreach(list, i, j)
    {
        Added a = { .text = jread_str(j, "content"), .single_word = jread_bool(j, "single_word", false) };
        int64_t id = jread_int(j, "id", -1);
        if (!a.text.p || id < 0 || id >= MAX_VOCAB)
            return fail(err, E_CORRUPT, "added_tokens[%zu] has no content, or no id in 0..%d", i, MAX_VOCAB - 1);
        a.id = (int32_t)id;
        a.lstrip = jread_bool(j, "lstrip", false);
        a.rstrip = jread_bool(j, "rstrip", false);
        a.special = jread_bool(j, "special", false);
        a.normalized = jread_bool(j, "normalized", !a.special);
        if (a.normalized) a.find = normalized_text(t, a.text);
        if (vocab_add_token(t, a, err) != OK) return fail_prefix(err, "added_tokens[%zu]", i);
    }
    return OK;
}

/* ---- post-processors ---- */

static void put_ids(Ids *to, bool in_front, const int32_t *ids, size_t n)
{
    Ids rest = { 0 };
    ids_add(&rest, to->p, in_front ? to->n : 0);
    if (in_front) to->n = 0;
    ids_add(to, ids, n);
    ids_add(to, rest.p, rest.n);
    ids_free(&rest);
}

/* One "SpecialToken" of a template: its ids, in the order of the template. */
static Status template_token(const json_t *post, Str name, Ids *to, Err *err)
{
    const json_t *token = json_object_getn(json_object_get(post, "special_tokens"), name.p, name.n);
    const json_t *ids = json_object_get(token, "ids"), *id;
    size_t i;
    if (!json_is_array(ids) || json_array_size(ids) > 64)
        return fail(err, E_CORRUPT, "post_processor.special_tokens has no ids for \"%.*s\"", STR_FMT(name));
    json_array_foreach(ids, i, id)
    {
        int64_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        if (value < 0 || value >= MAX_VOCAB) return fail(err, E_CORRUPT, "post_processor.special_tokens has a bad id");
        ids_push(to, (int32_t)value);
    }
    return OK;
}

static Status post_template(const json_t *post, Tokenizer *t, Err *err)
{
    const json_t *single = json_object_get(post, "single"), *part;
    Ids sides[2] = { { 0 } };
    int side = 0;
    size_t i;
    Status status = json_is_array(single) ? OK : fail(err, E_CORRUPT, "post_processor.single is no array");
    if (status == OK && json_array_size(single) > 256)
        status = fail(err, E_LIMIT, "post_processor.single has over 256 parts");
    if (status == OK) {
        json_array_foreach(single, i, part)
        {
            const json_t *special = json_object_get(part, "SpecialToken");
            if (json_object_get(part, "Sequence")) side = 1;
            if (special) status = template_token(post, jread_str(special, "id"), &sides[side], err);
            if (status != OK) break;
        }
    }
    put_ids(&t->before, true, sides[0].p, sides[0].n);
    put_ids(&t->after, false, sides[1].p, sides[1].n);
    ids_free(&sides[0]);
    ids_free(&sides[1]);
    return status;
}

/* BertProcessing and RobertaProcessing: "cls": [text, id], "sep": [text, id]. */
static Status post_pair(const json_t *post, Tokenizer *t, Err *err)
{
    static const char *const keys[] = { "cls", "sep" };
    for (int i = 0; i < 2; i++) {
        const json_t *id = json_array_get(json_object_get(post, keys[i]), 1);
        int64_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        if (value < 0 || value >= MAX_VOCAB)
            return fail(err, E_CORRUPT, "post_processor.%s is not [text, id]", keys[i]);
        int32_t one = (int32_t)value;
        put_ids(i ? &t->after : &t->before, i == 0, &one, 1);
    }
    return OK;
}

static Status read_post(const json_t *post, Tokenizer *t, int depth, Err *err)
{
    if (!post || json_is_null(post) || jread_is(post, "type", "ByteLevel")) return OK;
    if (jread_is(post, "type", "TemplateProcessing")) return post_template(post, t, err);
    if (jread_is(post, "type", "BertProcessing") || jread_is(post, "type", "RobertaProcessing"))
        return post_pair(post, t, err);
    const json_t *list = json_object_get(post, "processors"), *child;
    size_t i;
    if (!jread_is(post, "type", "Sequence") || !json_is_array(list) || depth > 4)
        return fail(err, E_UNSUPPORTED, "post_processor has a type that is not known");
    json_array_foreach(list, i, child) TRY(read_post(child, t, depth + 1, err));
    return OK;
}

static Status read_root(const json_t *root, Tokenizer *t, Err *err)
{
    if (!json_is_object(root)) return fail(err, E_CORRUPT, "it is no JSON object");
    if (steps_read_normalizer(json_object_get(root, "normalizer"), t, err) != OK) return fail_prefix(err, "normalizer");
    if (steps_read_pre_tokenizer(json_object_get(root, "pre_tokenizer"), t, err) != OK)
        return fail_prefix(err, "pre_tokenizer");
    if (steps_read_decoder(json_object_get(root, "decoder"), t, err) != OK) return fail_prefix(err, "decoder");
    TRY(read_json_model(json_object_get(root, "model"), t, err));
    TRY(steps_check(t, err));
    TRY(take_added(json_object_get(root, "added_tokens"), t, err));
    return read_post(json_object_get(root, "post_processor"), t, 0, err);
}

Status read_json(Str text, const char *name, Tokenizer *t, Err *err)
{
    json_error_t at;
    json_t *root = json_loadb(text.p, text.n, JSON_ALLOW_NUL, &at);
    if (!root) return fail(err, E_CORRUPT, "%s: line %d: %s", name, at.line, at.text);
    Status status = read_root(root, t, err);
    json_decref(root);
    return status == OK ? OK : fail_prefix(err, "%s", name);
}
