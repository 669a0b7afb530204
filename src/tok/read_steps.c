/* read_steps.c - the normalizer, pre_tokenizer and decoder of a tokenizer.json.
 *
 * Each is null, one object with a "type", or a Sequence of them, which may nest; the steps are laid out in a row.
 * What is not known is refused by name. Thread: the one that opens. */
#include "tok/jread.h"
#include "tok/parts.h"

enum { MAX_NESTING = 8 };

#define META "\xE2\x96\x81" /* U+2581 */

/* One line of a table from type names to readers. */
typedef Status (*ReadStep)(const json_t *j, Tokenizer *t, Err *err);

typedef struct {
    const char *type;
    ReadStep read;
} Reader;

/* Reads j, of which a Sequence keeps its children under the given key, step by step. */
static Status read_all(const json_t *j, const char *key, const Reader *readers, Tokenizer *t, int depth, Err *err)
{
    if (!j || json_is_null(j)) return OK;
    Str type = jread_str(j, "type");
    if (!type.p) return fail(err, E_CORRUPT, "a step has no \"type\"");
    if (depth > MAX_NESTING) return fail(err, E_LIMIT, "Sequences nest deeper than %d", MAX_NESTING);
    if (str_is(type, "Sequence")) {
        const json_t *list = json_object_get(j, key), *child;
        size_t i;
        if (!json_is_array(list)) return fail(err, E_CORRUPT, "a Sequence has no array \"%s\"", key);
        json_array_foreach(list, i, child) TRY(read_all(child, key, readers, t, depth + 1, err));
        return OK;
    }
    for (; readers->type; readers++)
        if (str_is(type, readers->type)) return readers->read(j, t, err);
    return fail(err, E_UNSUPPORTED, "type \"%.*s\" is not known", STR_FMT(type));
}

/* {"String": s} or {"Regex": s}. */
static Status read_pattern(const json_t *j, Tokenizer *t, Str *text, Regex **regex, Err *err)
{
    const json_t *p = json_object_get(j, "pattern");
    Str plain = json_is_string(p) ? jread_text(p) : jread_str(p, "String"), expression = jread_str(p, "Regex");
    *regex = NULL;
    *text = (Str){ 0 };
    if (plain.p) {
        *text = arena_str(t->mem, plain);
        return OK;
    }
    if (!expression.p) return fail(err, E_CORRUPT, "\"pattern\" is neither {\"String\": ...} nor {\"Regex\": ...}");
    *regex = regex_new(expression, err);
    return *regex ? OK : E_UNSUPPORTED;
}

/* ---- normalizers ---- */

static Status add_norm(Tokenizer *t, NormStep step, Err *err)
{
    if (t->n_norms == MAX_STEPS) {
        regex_free(step.regex);
        return fail(err, E_LIMIT, "more than %d normalizers", MAX_STEPS);
    }
    t->norms[t->n_norms++] = step;
    return OK;
}

static Status norm_simple(const json_t *j, Tokenizer *t, Err *err)
{
    static const struct {
        const char *type;
        NormKind kind;
    } kinds[] = { { "NFC", NORM_NFC },         { "NFD", NORM_NFD },
                  { "NFKC", NORM_NFKC },       { "NFKD", NORM_NFKD },
                  { "Nmt", NORM_NMT },         { "Lowercase", NORM_LOWER },
                  { "ByteLevel", NORM_BYTES }, { "StripAccents", NORM_STRIP_ACCENTS } };
    for (size_t i = 0; i < COUNT(kinds); i++)
        if (jread_is(j, "type", kinds[i].type)) {
            if (kinds[i].kind == NORM_BYTES) t->byte_level = true;
            return add_norm(t, (NormStep){ .kind = kinds[i].kind }, err);
        }
    return OK;
}

static Status norm_strip(const json_t *j, Tokenizer *t, Err *err)
{
    NormStep step = { .kind = NORM_STRIP };
    step.left = jread_bool(j, "strip_left", true);
    step.right = jread_bool(j, "strip_right", true);
    return add_norm(t, step, err);
}

static Status norm_prepend(const json_t *j, Tokenizer *t, Err *err)
{
    return add_norm(t, (NormStep){ .kind = NORM_PREPEND, .content = arena_str(t->mem, jread_str(j, "prepend")) }, err);
}

static Status norm_replace(const json_t *j, Tokenizer *t, Err *err)
{
    NormStep step = { .kind = NORM_REPLACE, .content = arena_str(t->mem, jread_str(j, "content")) };
    TRY(read_pattern(j, t, &step.pattern, &step.regex, err));
    return add_norm(t, step, err);
}

static Status norm_charsmap(const json_t *j, Tokenizer *t, Err *err)
{
    Str text = jread_str(j, "precompiled_charsmap");
    if (text.n == 0) return OK;
    Buf bytes = { 0 };
    NormStep step;
    Status status = vocab_base64(text, &bytes) ? charsmap_read(buf_view(&bytes), t->mem, &step, err)
                                               : fail(err, E_CORRUPT, "precompiled_charsmap is not base64");
    buf_free(&bytes);
    step.graphemes = true;
    return status == OK ? add_norm(t, step, err) : status;
}

static Status norm_bert(const json_t *j, Tokenizer *t, Err *err)
{
    bool lower = jread_bool(j, "lowercase", true), accents = jread_bool(j, "strip_accents", lower);
    NormStep first = { .kind = NORM_BERT };
    first.clean = jread_bool(j, "clean_text", true);
    first.chinese = jread_bool(j, "handle_chinese_chars", true);
    TRY(add_norm(t, first, err));
    if (accents) {
        TRY(add_norm(t, (NormStep){ .kind = NORM_NFD }, err));
        TRY(add_norm(t, (NormStep){ .kind = NORM_BERT_ACCENTS }, err));
    }
    return lower ? add_norm(t, (NormStep){ .kind = NORM_LOWER }, err) : OK;
}

static const Reader norm_readers[] = {
    { "NFC", norm_simple },          { "NFD", norm_simple },
    { "NFKC", norm_simple },         { "NFKD", norm_simple },
    { "Nmt", norm_simple },          { "Lowercase", norm_simple },
    { "ByteLevel", norm_simple },    { "StripAccents", norm_simple },
    { "Strip", norm_strip },         { "Prepend", norm_prepend },
    { "Replace", norm_replace },     { "Precompiled", norm_charsmap },
    { "BertNormalizer", norm_bert }, { NULL, NULL },
};

Status steps_read_normalizer(const json_t *j, Tokenizer *t, Err *err)
{
    return read_all(j, "normalizers", norm_readers, t, 0, err);
}

/* ---- pre-tokenizers ---- */

static Status add_split(Tokenizer *t, SplitStep step, Err *err)
{
    if (t->n_splits == MAX_STEPS) {
        regex_free(step.regex);
        return fail(err, E_LIMIT, "more than %d pre-tokenizers", MAX_STEPS);
    }
    t->splits[t->n_splits++] = step;
    return OK;
}

static Status read_behavior(const json_t *j, Behavior otherwise, Behavior *out, Err *err)
{
    static const char *const names[] = { "Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous" };
    Str name = jread_str(j, "behavior");
    *out = otherwise;
    if (!name.p) return OK;
    for (size_t i = 0; i < COUNT(names); i++)
        if (str_is(name, names[i])) {
            *out = (Behavior)i;
            return OK;
        }
    return fail(err, E_UNSUPPORTED, "behavior \"%.*s\" is not known", STR_FMT(name));
}

static Status split_split(const json_t *j, Tokenizer *t, Err *err)
{
    SplitStep step = { .kind = SPLIT_TEXT, .invert = jread_bool(j, "invert", false) };
    Str expression = jread_str(json_object_get(j, "pattern"), "Regex");
    TRY(read_behavior(j, ISOLATED, &step.behavior, err));
    ScanFn scan = expression.p ? scan_for_pattern(expression) : NULL;
    bool all = scan && scan != scan_numbers && scan != scan_numbers1 && scan != scan_numbers3 && scan != scan_cjk &&
               scan != scan_deepseek3;
    /* A pattern that matches everything cuts the same whether matches are kept or what is not matched is removed. */
    if (scan && (step.behavior == ISOLATED || (all && step.invert && step.behavior == REMOVED)))
        return add_split(t, (SplitStep){ .kind = SPLIT_SCAN, .scan = scan }, err);
    TRY(read_pattern(j, t, &step.text, &step.regex, err));
    if (step.regex) step.kind = SPLIT_REGEX;
    return add_split(t, step, err);
}

static Status split_bytes(const json_t *j, Tokenizer *t, Err *err)
{
    SplitStep step = { .kind = SPLIT_BYTES, .prefix_space = jread_bool(j, "add_prefix_space", true) };
    if (jread_bool(j, "use_regex", true)) step.scan = scan_gpt2;
    t->byte_level = true;
    SplitStep *before = t->n_splits ? &t->splits[t->n_splits - 1] : NULL;
    if (before && !step.prefix_space && !step.scan && before->kind == SPLIT_SCAN) {
        before->kind = SPLIT_BYTES; /* one step for both */
        return OK;
    }
    if (before && !step.prefix_space && step.scan && before->kind == SPLIT_DIGITS && before->behavior == ISOLATED) {
        *before = (SplitStep){ .kind = SPLIT_BYTES, .scan = scan_digits_gpt2 };
        return OK;
    }
    return add_split(t, step, err);
}

static Status split_metaspace(const json_t *j, Tokenizer *t, Err *err)
{
    SplitStep step = { .kind = SPLIT_METASPACE, .behavior = MERGED_NEXT, .prepend = PREPEND_ALWAYS };
    Str text = jread_str(j, "replacement");
    step.text = text.n ? arena_str(t->mem, text) : STR(META);
    if (jread_is(j, "prepend_scheme", "first")) step.prepend = PREPEND_FIRST;
    if (jread_is(j, "prepend_scheme", "never")) step.prepend = PREPEND_NEVER;
    if (!jread_bool(j, "add_prefix_space", true)) step.prepend = PREPEND_NEVER;
    step.split = jread_bool(j, "split", true);
    return add_split(t, step, err);
}

static Status split_digits(const json_t *j, Tokenizer *t, Err *err)
{
    bool individual = jread_bool(j, "individual_digits", false);
    return add_split(t, (SplitStep){ .kind = SPLIT_DIGITS, .behavior = individual ? ISOLATED : CONTIGUOUS }, err);
}

static Status split_words(const json_t *j, Tokenizer *t, Err *err)
{
    (void)j;
    return add_split(t, (SplitStep){ .kind = SPLIT_WORDS, .behavior = REMOVED, .invert = true }, err);
}

static Status split_spaces(const json_t *j, Tokenizer *t, Err *err)
{
    (void)j;
    return add_split(t, (SplitStep){ .kind = SPLIT_SPACES, .behavior = REMOVED }, err);
}

static Status split_punctuation(const json_t *j, Tokenizer *t, Err *err)
{
    SplitStep step = { .kind = SPLIT_PUNCT };
    TRY(read_behavior(j, ISOLATED, &step.behavior, err));
    return add_split(t, step, err);
}

static Status split_bert(const json_t *j, Tokenizer *t, Err *err)
{
    TRY(split_spaces(j, t, err));
    return add_split(t, (SplitStep){ .kind = SPLIT_PUNCT, .behavior = ISOLATED }, err);
}

static Status split_delimiter(const json_t *j, Tokenizer *t, Err *err)
{
    Str text = arena_str(t->mem, jread_str(j, "delimiter"));
    return add_split(t, (SplitStep){ .kind = SPLIT_TEXT, .behavior = REMOVED, .text = text }, err);
}

static Status split_fixed(const json_t *j, Tokenizer *t, Err *err)
{
    int64_t length = jread_int(j, "length", 5);
    if (length < 1) return fail(err, E_CORRUPT, "FixedLength has length %lld", (long long)length);
    return add_split(t, (SplitStep){ .kind = SPLIT_FIXED, .length = (size_t)length }, err);
}

static Status split_scripts(const json_t *j, Tokenizer *t, Err *err)
{
    (void)j;
    return add_split(t, (SplitStep){ .kind = SPLIT_SCRIPTS }, err);
}

static const Reader split_readers[] = {
    { "Split", split_split },
    { "ByteLevel", split_bytes },
    { "Metaspace", split_metaspace },
    { "Digits", split_digits },
    { "Whitespace", split_words },
    { "WhitespaceSplit", split_spaces },
    { "Punctuation", split_punctuation },
    { "BertPreTokenizer", split_bert },
    { "CharDelimiterSplit", split_delimiter },
    { "FixedLength", split_fixed },
    { "UnicodeScripts", split_scripts },
    { NULL, NULL },
};

Status steps_read_pre_tokenizer(const json_t *j, Tokenizer *t, Err *err)
{
    return read_all(j, "pretokenizers", split_readers, t, 0, err);
}

/* ---- decoders ---- */

static Status dec_bytes(const json_t *j, Tokenizer *t, Err *err)
{
    (void)j, (void)err;
    t->dec.kind = DEC_BYTES;
    return OK;
}

static Status add_replace(Tokenizer *t, Str from, Str to, Err *err)
{
    Decoder *d = &t->dec;
    if (d->n_replaces == (int)COUNT(d->replace))
        return fail(err, E_LIMIT, "more than %zu Replace decoders", COUNT(d->replace));
    d->replace[d->n_replaces].from = arena_str(t->mem, from);
    d->replace[d->n_replaces++].to = arena_str(t->mem, to);
    return OK;
}

static Status dec_metaspace(const json_t *j, Tokenizer *t, Err *err)
{
    Str text = jread_str(j, "replacement");
    t->dec.drop_first_space = !jread_is(j, "prepend_scheme", "never") && jread_bool(j, "add_prefix_space", true);
    t->dec.meta = text.n ? arena_str(t->mem, text) : STR(META);
    return add_replace(t, t->dec.meta, STR(" "), err);
}

static Status dec_replace(const json_t *j, Tokenizer *t, Err *err)
{
    Str from, to = jread_str(j, "content");
    Regex *regex = NULL;
    TRY(read_pattern(j, t, &from, &regex, err));
    if (!regex) return add_replace(t, from, to, err);
    regex_free(regex);
    return fail(err, E_UNSUPPORTED, "a Replace decoder has a Regex pattern");
}

static Status dec_byte_fallback(const json_t *j, Tokenizer *t, Err *err)
{
    (void)j, (void)err;
    t->dec.byte_fallback = true;
    return OK;
}

static Status dec_fuse(const json_t *j, Tokenizer *t, Err *err)
{
    (void)j, (void)err;
    t->dec.fused = true;
    return OK;
}

static Status dec_strip(const json_t *j, Tokenizer *t, Err *err)
{
    int64_t start = jread_int(j, "start", 0), stop = jread_int(j, "stop", 0);
    if (!jread_is(j, "content", " ") || !t->dec.fused || stop != 0 || start < 0 || start > 100)
        return fail(err, E_UNSUPPORTED, "a Strip decoder that does not take spaces off the start of the fused text");
    t->dec.strip_left = (int)start;
    return OK;
}

static Status dec_wordpiece(const json_t *j, Tokenizer *t, Err *err)
{
    (void)err;
    Str prefix = jread_str(j, "prefix");
    t->dec.kind = DEC_WORDPIECE;
    t->dec.prefix = prefix.p ? arena_str(t->mem, prefix) : STR("##");
    t->dec.cleanup = jread_bool(j, "cleanup", true);
    return OK;
}

static Status dec_suffix(const json_t *j, Tokenizer *t, Err *err)
{
    (void)err;
    Str suffix = jread_str(j, "suffix");
    t->dec.kind = DEC_SUFFIX;
    t->dec.prefix = suffix.p ? arena_str(t->mem, suffix) : STR("</w>");
    return OK;
}

static Status dec_ctc(const json_t *j, Tokenizer *t, Err *err)
{
    (void)err;
    Str pad = jread_str(j, "pad_token"), word = jread_str(j, "word_delimiter_token");
    t->dec.kind = DEC_CTC;
    t->dec.prefix = pad.p ? arena_str(t->mem, pad) : STR("<pad>");
    t->dec.meta = word.p ? arena_str(t->mem, word) : STR("|");
    t->dec.cleanup = jread_bool(j, "cleanup", true);
    return OK;
}

static const Reader dec_readers[] = {
    { "ByteLevel", dec_bytes },
    { "Metaspace", dec_metaspace },
    { "Replace", dec_replace },
    { "Fuse", dec_fuse },
    { "ByteFallback", dec_byte_fallback },
    { "Strip", dec_strip },
    { "WordPiece", dec_wordpiece },
    { "BPEDecoder", dec_suffix },
    { "CTC", dec_ctc },
    { NULL, NULL },
};

Status steps_read_decoder(const json_t *j, Tokenizer *t, Err *err)
{
    t->dec.kind = DEC_PIECES;
    t->dec.space_between = !j || json_is_null(j);
    return read_all(j, "decoders", dec_readers, t, 0, err);
}

/* ---- all of them together ---- */

/* How many bytes one byte can become, at most or nearly so. */
static double norm_growth(const NormStep *n)
{
    switch (n->kind) {
    case NORM_NFKC:
    case NORM_NFKD: return 11;
    case NORM_NFC:
    case NORM_NFD: return 3;
    case NORM_BERT:
    case NORM_BYTES:
    case NORM_LOWER: return 2;
    case NORM_PREPEND: return (double)n->content.n + 1;
    case NORM_REPLACE:
        if (n->regex) return (double)n->content.n + 1;
        return MAX(1.0, (double)n->content.n / (double)MAX(n->pattern.n, (size_t)1));
    case NORM_CHARSMAP: return MAX(1.0, (double)n->n_longest);
    case NORM_NMT:
    case NORM_STRIP:
    case NORM_STRIP_ACCENTS:
    case NORM_BERT_ACCENTS:
    case NORM_COLLAPSE: break;
    }
    return 1;
}

static double split_growth(const SplitStep *s)
{
    if (s->kind == SPLIT_METASPACE) return 2 * (double)s->text.n;
    return s->kind == SPLIT_BYTES ? s->prefix_space ? 4 : 2 : 1;
}

Status steps_check(const Tokenizer *t, Err *err)
{
    double growth = 1;
    size_t longest = MAX(t->bpe.prefix.n, MAX(t->bpe.suffix.n, t->wordpiece.prefix.n));
    for (int i = 0; i < t->n_norms; i++) {
        longest = MAX(longest, t->norms[i].content.n);
        growth *= norm_growth(&t->norms[i]);
    }
    for (int i = 0; i < t->n_splits; i++) {
        if (t->splits[i].kind == SPLIT_METASPACE) longest = MAX(longest, t->splits[i].text.n);
        growth *= split_growth(&t->splits[i]);
    }
    for (int i = 0; i < t->dec.n_replaces; i++) longest = MAX(longest, t->dec.replace[i].to.n);
    if (longest > MAX_STEP_TEXT)
        return fail(err, E_LIMIT, "a prefix, suffix, replacement or content has %zu bytes, over %d", longest,
                    MAX_STEP_TEXT);
    if (growth > MAX_GROWTH)
        return fail(err, E_LIMIT, "normalizers and pre-tokenizers could make a text %.0f times as long, over %d",
                    growth, MAX_GROWTH);
    return OK;
}
