/* read_ranks.c - vocabularies that give each piece a rank and no merges: tiktoken's files (lines of base64 and rank), and
 * Mistral's tekken.json. Two pieces merge if together they are a piece, lowest rank first. */
#include <stdio.h>

#include "tok/jread.h"
#include "tok/parts.h"

/* Byte level, whole pieces first, as tiktoken does. */
static void set_byte_level(Tokenizer *t)
{
    t->model = MODEL_BPE;
    t->byte_level = true;
    t->bpe.whole_first = true;
    t->dec.kind = DEC_BYTES;
}

/* Ranks are ids, shifted. */
static Status pairs_by_id(Tokenizer *t, Err *err)
{
    vocab_index(t);
    uint32_t *rank = mem_alloc_array((size_t)t->n_vocab, sizeof *rank);
    for (int32_t id = 0; id < t->n_vocab; id++) rank[id] = (uint32_t)id;
    Status status = bpe_pairs_from_ranks(t, rank, err);
    mem_free(rank);
    return status;
}

static Status add_special(Tokenizer *t, int64_t id, Str text, Err *err)
{
    if (id < 0 || id >= MAX_VOCAB)
        return fail(err, E_LIMIT, "special token %lld: not in 0..%d", (long long)id, MAX_VOCAB - 1);
    return vocab_add_token(t, (Added){ .text = text, .id = (int32_t)id, .special = true }, err);
}

static void set_role(Tokenizer *t, const char *role, Str text, int32_t *out)
{
    int32_t id = tok_find(t, text);
    if (id < 0) return;
    *out = id;
    vocab_set_special(t, role, id, text);
}

/* ---- tiktoken ---- */

/* Takes one line off text; false at the end. */
static bool take_line(Str *text, Str *line)
{
    if (text->n == 0) return false;
    size_t end = str_find(*text, STR("\n"), 0);
    *line = str_cut(*text, 0, MIN(end, text->n));
    *text = str_cut(*text, MIN(end + 1, text->n), text->n);
    if (end == SIZE_MAX) *text = (Str){ 0 };
    return true;
}

static Status take_ranks(Str text, Tokenizer *t, size_t *n, Err *err)
{
    Str line;
    Buf bytes = { 0 };
    Status status = OK;
    *n = 0;
    for (size_t number = 1; status == OK && take_line(&text, &line); number++) {
        line = str_trim(line);
        if (line.n == 0) continue;
        size_t space = str_find(line, STR(" "), 0);
        int64_t rank;
        buf_clear(&bytes);
        if (space == SIZE_MAX || !vocab_base64(str_cut(line, 0, space), &bytes) ||
            !str_to_i64(str_trim(str_cut(line, space, line.n)), &rank))
            status = fail(err, E_CORRUPT, "line %zu is not base64 and a rank", number);
        else
            status = vocab_set(t, rank, buf_view(&bytes), PIECE_MODEL, err);
        ++*n;
    }
    buf_free(&bytes);
    return status;
}

static Status take_specials(Tokenizer *t, const char *list, size_t first, Err *err)
{
    Str all = str_of(list);
    int64_t id = (int64_t)first;
    for (size_t i = 0, end; i < all.n; i = end + 1, id++) {
        end = MIN(str_find(all, STR(" "), i), all.n);
        TRY(add_special(t, id, str_cut(all, i, end), err));
    }
    return OK;
}

/* Llama's files leave the rest of 256 ids to reserved tokens. */
static Status take_reserved(Tokenizer *t, size_t first, Err *err)
{
    char text[64];
    int number = 2;
    for (int64_t id = t->n_vocab; id < (int64_t)first + 256; id++) {
        int n = snprintf(text, sizeof text, "<|reserved_special_token_%d|>", number++);
        TRY(add_special(t, id, (Str){ text, (size_t)n }, err));
    }
    return OK;
}

static Status read_tiktoken(Str text, Tokenizer *t, Err *err)
{
    size_t n;
    const char *specials;
    set_byte_level(t);
    TRY(take_ranks(text, t, &n, err));
    const char *family = family_of_ranks(n, &specials);
    if (!family)
        return fail(err, E_UNSUPPORTED, "no known family has a rank file of %zu tokens; use its tokenizer.json", n);
    CHECK(family_pre(t, str_of(family)));
    t->bpe.whole_first = true;
    TRY(pairs_by_id(t, err));
    TRY(take_specials(t, specials, n, err));
    bool llama = strcmp(family, "llama3") == 0;
    if (llama) TRY(take_reserved(t, n, err));
    set_role(t, "bos_token", STR("<|begin_of_text|>"), &t->bos);
    set_role(t, "eos_token", t->bos >= 0 ? STR("<|end_of_text|>") : STR("<|endoftext|>"), &t->eos);
    if (t->bos >= 0) ids_push(&t->before, t->bos);
    return OK;
}

Status read_ranks(Str text, const char *name, Tokenizer *t, Err *err)
{
    return read_tiktoken(text, t, err) == OK ? OK : fail_prefix(err, "%s", name);
}

/* ---- tekken ---- */

/* The special tokens of files before version 7, which do not list them. */
static const char *const old_specials[] = {
    "<unk>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
};

static Status take_tekken_specials(const json_t *root, Tokenizer *t, int64_t n_special, Err *err)
{
    const json_t *list = json_object_get(root, "special_tokens"), *j;
    char filler[32];
    size_t i;
    for (int64_t id = 0; id < n_special; id++) {
        int n = snprintf(filler, sizeof filler, "<SPECIAL_%lld>", (long long)id);
        bool old = !json_is_array(list) && id < (int64_t)COUNT(old_specials);
        TRY(add_special(t, id, old ? str_of(old_specials[id]) : (Str){ filler, (size_t)n }, err));
    }
    json_array_foreach(list, i, j)
    {
        int64_t rank = jread_int(j, "rank", (int64_t)i);
        Str text = jread_str(j, "token_str");
        if (!text.p || rank < 0 || rank >= n_special)
            return fail(err, E_CORRUPT, "special_tokens[%zu] has no text or a bad rank", i);
        TRY(add_special(t, rank, text, err));
    }
    return OK;
}

static Status take_tekken_vocab(const json_t *vocab, Tokenizer *t, int64_t n_special, int64_t n_inner, Err *err)
{
    Buf bytes = { 0 };
    Status status = OK;
    for (int64_t i = 0; i < n_inner && status == OK; i++) {
        const json_t *j = json_array_get(vocab, (size_t)i);
        int64_t rank = jread_int(j, "rank", i);
        Str text = jread_str(j, "token_bytes");
        buf_clear(&bytes);
        if (!text.p || rank < 0 || rank >= n_inner || !vocab_base64(text, &bytes))
            status = fail(err, E_CORRUPT, "vocab[%lld] has no token_bytes in base64, or a bad rank", (long long)i);
        else
            status = vocab_set(t, n_special + rank, buf_view(&bytes), PIECE_MODEL, err);
    }
    buf_free(&bytes);
    return status;
}

static Status take_tekken(const json_t *root, Tokenizer *t, Err *err)
{
    const json_t *config = json_object_get(root, "config"), *vocab = json_object_get(root, "vocab");
    Str pattern = jread_str(config, "pattern");
    int64_t n_special = jread_int(config, "default_num_special_tokens", -1);
    int64_t n_vocab = jread_int(config, "default_vocab_size", -1);
    if (!pattern.p || !json_is_array(vocab) || n_special < 0 || n_vocab <= n_special || n_vocab > MAX_VOCAB ||
        (size_t)(n_vocab - n_special) > json_array_size(vocab))
        return fail(err, E_CORRUPT,
                    "config.pattern, config.default_num_special_tokens, config.default_vocab_size or vocab "
                    "is missing or does not fit the others");
    set_byte_level(t);
    SplitStep step = { .kind = SPLIT_SCAN, .scan = scan_for_pattern(pattern) };
    if (!step.scan) {
        step = (SplitStep){ .kind = SPLIT_REGEX, .behavior = ISOLATED, .regex = regex_new(pattern, err) };
        if (!step.regex) return fail_prefix(err, "config.pattern");
    }
    t->splits[t->n_splits++] = step;
    TRY(take_tekken_vocab(vocab, t, n_special, n_vocab - n_special, err));
    TRY(pairs_by_id(t, err));
    TRY(take_tekken_specials(root, t, n_special, err));
    set_role(t, "unk_token", STR("<unk>"), &(int32_t){ 0 });
    set_role(t, "bos_token", STR("<s>"), &t->bos);
    set_role(t, "eos_token", STR("</s>"), &t->eos);
    set_role(t, "pad_token", STR("<pad>"), &(int32_t){ 0 });
    if (t->bos >= 0) ids_push(&t->before, t->bos);
    return OK;
}

Status read_tekken(Str text, const char *name, Tokenizer *t, Err *err)
{
    json_error_t at;
    json_t *root = json_loadb(text.p, text.n, JSON_ALLOW_NUL, &at);
    if (!root) return fail(err, E_CORRUPT, "%s: line %d: %s", name, at.line, at.text);
    Status status = take_tekken(root, t, err);
    json_decref(root);
    return status == OK ? OK : fail_prefix(err, "%s", name);
}
