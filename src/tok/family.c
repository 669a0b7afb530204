/* family.c - what a GGUF file leaves out because every program is expected to know it: how the family named by
 * tokenizer.ggml.pre splits and normalizes text, and which tokens end a turn.
 *
 * A name that is not here is refused: a wrong split gives wrong ids and no error. */
#include "tok/parts.h"

enum {
    NFC = 1,
    WHOLE = 2, /* a piece that is a token stays whole */
    BOS = 4,
    CHARS = 8 /* pieces are text with U+2581 for a space, as SentencePiece writes it, and bytes are <0xNN> */
};

typedef struct {
    ScanFn scan[3];       /* splits, each on the pieces of the one before */
    const char *regex[7]; /* or patterns for the regex engine; @name: a scanner */
    int flags;
    const char *names; /* separated by spaces */
} Family;

#define TAIL  "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define BLOOM " ?[^(\\s|.,!?\xE2\x80\xA6\xE3\x80\x82\xEF\xBC\x8C\xE3\x80\x81\xE0\xA5\xA4\xDB\x94\xD8\x8C)]+"

/* clang-format off */
static const Family families[] = {
    { { scan_gpt2 }, { 0 }, 0,
      "gpt-2 gpt2 phi-2 jina-es jina-de jina-v1-en jina-v2-es jina-v2-de jina-v2-code a.x-4.0 mellum modern-bert exaone4 mpt olmo "
      "roberta-bpe gigachat whisper jais trillion granite-docling" },
    { { scan_digits_gpt2 }, { 0 }, 0, "smollm starcoder refact codeshell exaone minerva-7b minerva mellum2" },
    { { scan_digits_gpt2 }, { 0 }, NFC, "command-r" },
    { { scan_llama3 }, { 0 }, WHOLE | BOS, "llama3 llama-v3 llama-bpe falcon3 falcon-h1 lfm2 midm-2.0 jina-v5-nano" },
    { { scan_llama3 }, { 0 }, 0, "dbrx smaug-bpe chatglm-bpe phi-4" },
    { { scan_llama3 }, { 0 }, WHOLE, "glm4 glm5" },
    { { scan_numbers3, scan_llama3 }, { 0 }, WHOLE, "minicpm5" },
    { { scan_qwen2 }, { 0 }, NFC, "qwen2 deepseek-r1-qwen stablelm2 megrez kormo openpangu f2llmv2" },
    { { scan_qwen2 }, { 0 }, 0, "hunyuan solar-open grok-2 bailingmoe bailingmoe2 llada-moe" },
    { { scan_qwen35 }, { 0 }, NFC, "qwen35 qwen3.5" },
    { { scan_o200k }, { 0 }, 0, "gpt-4o llama4 kanana2 minimax-m2 o200k gpt-oss talkie" },
    { { scan_o200k }, { 0 }, WHOLE, "granite-embed-multi-97m" },
    { { scan_tekken }, { 0 }, WHOLE | BOS, "tekken pixtral" },
    { { scan_numbers3, scan_cjk, scan_deepseek3 }, { 0 }, 0, "deepseek-v3 deepseek-r1 hunyuan-dense joyai-llm hy_v4" },
    { { scan_kimi }, { 0 }, 0, "kimi-k2" },
    { { 0 }, { BLOOM }, 0, "bloom poro-chat gpt3-finnish" },
    { { 0 }, { BLOOM, "\\p{N}" }, 0, "viking" },
    { { 0 }, { "\\d{1,3}(?=(?:\\d{3})*\\b)", "@o200k" }, 0, "tiny_aya cohere2moe" },
    { { 0 }, { 0 }, CHARS, "gemma4 granite-embed-multi-311m sarvam-moe" },
    { { 0 }, { "[^\\n]+|\\n+", "@qwen2" }, 0, "laguna" },
    { { 0 }, { "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" TAIL }, 0, "ufakzeka" },
    { { 0 }, { "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
               "\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)|\\s{32}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)|\\s{4}(?!\\S)|"
               "\\s{1,2}(?!\\S)|\\s{1}" }, 0, "jais-2" },
    { { 0 }, { "\\p{N}+", "(?=(\\d{3})+(?!\\d))" }, 0, "superbpe" },
    { { scan_numbers3, scan_cjk },
      { "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+|[\\r\\n]|"
        "\\s+(?!\\S)|\\s+", "\\p{N}" }, 0, "spark2_5" },
    { { 0 }, { "[\\x{ac00}-\\x{d7a3}\\x{3131}-\\x{318e}]+|[\\x{ff01}\\x{2026}\\x{201c}\\x{201d}\\x{2018}\\x{2019}\\x{2014}\\x{ff1a}"
               "\\x{ff1b}\\x{ff0c}\\x{3001}-\\x{303f}\\x{fe30}-\\x{fe4f}]+|[\\x{3105}-\\x{312f}]+|"
               "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+", "@youtu" }, WHOLE, "youtu" },
    /* The range from U+8C48 was surely meant to start at U+F900, which looks the same; the public converters agree on this. */
    { { scan_numbers3_right },
      { "[\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{8c48}-\\x{faff}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}\\x{ff65}-\\x{ff9f}"
        "\\x{2f00}-\\x{2fdf}\\x{e40}-\\x{e7f}\\x{e80}-\\x{eff}\\x{1780}-\\x{17ff}\\x{1000}-\\x{109f}\\x{aa60}-\\x{aa7f}\\x{a9e0}-\\x{a9ff}"
        "\\x{ac00}-\\x{d7af}\\x{1100}-\\x{11ff}]+", "@deepseek3" }, 0, "afmoe" },
    { { 0 }, { "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+|"
               "\\s+(?!\\S)|\\s+" }, 0, "seed-coder" },
    { { 0 }, { "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| ?"
               "[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+" }, 0, "exaone-moe" },
    { { 0 }, { "<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )", "\\p{N}",
               "[\\p{P}!-/:-@\\[-`{-~]", "@gpt2" }, BOS, "chameleon" },
    { { 0 }, { "[\\p{P}\\$\\+<=>\\^~\\|]+", "@gpt2", "\\p{N}+", "[0-9][0-9][0-9]" }, 0, "default" },
    { { 0 }, { "[\\p{P}\\$\\+<=>\\^~\\|`]+", "@gpt2", "[0-9][0-9][0-9]" }, 0, "falcon" },
    { { 0 }, { "[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[\xE4\xB8\x80-\xE9\xBE\xA5\xE0\xA0\x80-\xE4\xB8\x80\xEA\xB0\x80-\xED\x9F\xBF]+",
               "\\p{N}" }, 0, "deepseek-coder" },
    { { 0 }, { "[\\r\\n]",
               "\\s?[A-Za-z\xC2\xB5\xC3\x80-\xC3\x96\xC3\x98-\xC3\xB6\xC3\xB8-\xC6\xBA\xC6\xBC-\xC6\xBF\xC7\x84-\xCA\x93\xCA\x95-\xCA\xAF"
               "\xCD\xB0-\xCD\xB3\xCD\xB6\xCD\xB7\xCD\xBB-\xCD\xBD\xCD\xBF\xCE\x86\xCE\x88-\xCE\x8A\xCE\x8C\xCE\x8E-\xCE\xA1\xCE\xA3-\xCF\xB5"
               "\xCF\xB7-\xD2\x81\xD2\x8A-\xD4\xAF\xD4\xB1-\xD5\x96\xE1\x82\xA0-\xE1\x83\x85\xE1\x8E\xA0-\xE1\x8F\xB5\xE1\x8F\xB8-\xE1\x8F\xBD"
               "\xE1\xB2\x90-\xE1\xB2\xBA\xE1\xB2\xBD-\xE1\xB2\xBF\xE1\xB4\x80-\xE1\xB4\xAB\xE1\xB5\xAB-\xE1\xB5\xB7\xE1\xB5\xB9-\xE1\xB6\x9A"
               "\xE1\xB8\x80-\xE1\xBC\x95\xE1\xBC\x98-\xE1\xBC\x9D\xE1\xBC\xA0-\xE1\xBD\x85\xE1\xBD\x88-\xE1\xBD\x8D\xE1\xBD\x90-\xE1\xBD\x97"
               "\xE1\xBD\x99\xE1\xBD\x9B\xE1\xBD\x9D\xE1\xBD\x9F-\xE1\xBD\xBD\xE1\xBE\x80-\xE1\xBE\xB4\xE1\xBE\xB6-\xE1\xBE\xBC\xE1\xBE\xBE"
               "\xE1\xBF\x82-\xE1\xBF\x84\xE1\xBF\x86-\xE1\xBF\x8C\xE1\xBF\x90-\xE1\xBF\x93\xE1\xBF\x96-\xE1\xBF\x9B\xE1\xBF\xA0-\xE1\xBF\xAC"
               "\xE1\xBF\xB2-\xE1\xBF\xB4\xE1\xBF\xB6-\xE1\xBF\xBC\xE2\x84\x82\xE2\x84\x87\xE2\x84\x8A-\xE2\x84\x93\xE2\x84\x95\xE2\x84\x99-"
               "\xE2\x84\x9D\xE2\x84\xA4\xE2\x84\xA6\xE2\x84\xA8\xE2\x84\xAA-\xE2\x84\xAD\xE2\x84\xAF-\xE2\x84\xB4\xE2\x84\xB9\xE2\x84\xBC-"
               "\xE2\x84\xBF\xE2\x85\x85-\xE2\x85\x89\xE2\x85\x8E\xE2\x86\x83\xE2\x86\x84\xE2\xB0\x80-\xE2\xB1\xBB\xE2\xB1\xBE-\xE2\xB3\xA4"
               "\xE2\xB3\xAB-\xE2\xB3\xAE\xE2\xB3\xB2\xE2\xB3\xB3\xEA\x99\x80-\xEA\x99\xAD\xEA\x9A\x80-\xEA\x9A\x9B\xEA\x9C\xA2-\xEA\x9D\xAF"
               "\xEA\x9D\xB1-\xEA\x9E\x87\xEA\x9E\x8B-\xEA\x9E\x8E\xEA\xAD\xB0-\xEA\xAE\xBF\xEF\xAC\x80-\xEF\xAC\x86\xEF\xAC\x93-\xEF\xAC\x97"
               "\xEF\xBC\xA1-\xEF\xBC\xBA\xEF\xBD\x81-\xEF\xBD\x9A\xF0\x90\x90\x80-\xF0\x90\x91\x8F\xF0\x90\x92\xB0-\xF0\x90\x93\x93"
               "\xF0\x90\x93\x98-\xF0\x90\x93\xBB\xF0\x90\xB2\x80-\xF0\x90\xB2\xB2\xF0\x90\xB3\x80-\xF0\x90\xB3\xB2\xF0\x91\xA2\xA0-"
               "\xF0\x91\xA3\x9F\xF0\x9E\xA4\x80-\xF0\x9E\xA5\x83]+",
               "\\s?[!-/:-~\xEF\xBC\x81-\xEF\xBC\x8F\xEF\xBC\x9A-\xEF\xBD\x9E\xE2\x80\x98-\xE2\x80\x9F\xE3\x80\x80-\xE3\x80\x82]+",
               "\\s+$", "[\xE4\xB8\x80-\xE9\xBE\xA5\xE0\xA0\x80-\xE4\xB8\x80\xEA\xB0\x80-\xED\x9F\xBF]+", "\\p{N}+" }, 0, "deepseek-llm" },
};

static const char *const stops[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<end_of_turn>", "<turn|>", "<|endoftext|>", "</s>", "<|eom_id|>",
    "[EOS]", "[EOT]", "<|end_of_text|>", "<end_of_utterance>", "<|eot|>", "<|eom|>", "<\xEF\xBD\234end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
    "<eos>", "<EOT>", "_<EOT>", "<|END_OF_TURN_TOKEN|>",
};
/* clang-format on */

/* Rank files name neither their pattern nor their special tokens; the number of ranks tells the family. */
/* clang-format off */
static const struct {
    size_t n_ranks;
    const char *family, *specials;
} rank_files[] = {
    { 50256, "gpt2", "<|endoftext|>" },
    { 128000, "llama3",
      "<|begin_of_text|> <|end_of_text|> <|reserved_special_token_0|> <|reserved_special_token_1|> "
      "<|finetune_right_pad_id|> <|step_id|> <|start_header_id|> <|end_header_id|> <|eom_id|> <|eot_id|> "
      "<|python_tag|> <|image|>" },
    { 151643, "qwen2",
      "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> "
      "<|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|> "
      "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|> "
      "<tool_response> </tool_response> <think> </think>" },
    { 248044, "qwen35",
      "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> "
      "<|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|> "
      "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|> "
      "<tool_response> </tool_response> <think> </think> <|audio_start|> <|audio_end|> <tts_pad> <tts_text_bos> "
      "<tts_text_eod> <tts_text_bos_single> <|audio_pad|>" },
    { 199998, "o200k", "<|endoftext|>" },
    { 200000, "llama4",
      "<|begin_of_text|> <|end_of_text|> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|header_start|> "
      "<|header_end|> <|eom|> <|eot|> <|step|> <|text_post_train_reserved_special_token_0|> "
      "<|text_post_train_reserved_special_token_1|> <|text_post_train_reserved_special_token_2|> "
      "<|text_post_train_reserved_special_token_3|> <|text_post_train_reserved_special_token_4|> "
      "<|text_post_train_reserved_special_token_5|> <|python_start|> <|python_end|> <|finetune_right_pad|>" },
    { 163584, "kimi-k2", "" },
};
/* clang-format on */

const char *family_of_ranks(size_t n_ranks, const char **specials)
{
    for (size_t i = 0; i < COUNT(rank_files); i++) {
        if (rank_files[i].n_ranks != n_ranks) continue;
        *specials = rank_files[i].specials;
        return rank_files[i].family;
    }
    return NULL;
}

bool family_is_stop(Str text)
{
    for (size_t i = 0; i < COUNT(stops); i++)
        if (str_is(text, stops[i])) return true;
    return false;
}

static bool has_name(const char *names, Str name)
{
    Str all = str_of(names);
    if (name.n == 0 || str_find(name, STR(" "), 0) != SIZE_MAX) return false;
    for (size_t at = 0; (at = str_find(all, name, at)) != SIZE_MAX; at++) {
        bool starts = at == 0 || all.p[at - 1] == ' ';
        bool ends = at + name.n == all.n || all.p[at + name.n] == ' ';
        if (starts && ends) return true;
    }
    return false;
}

/* The scanner that a family's row names. */
static ScanFn scan_named(const char *name)
{
    static const struct {
        const char *name;
        ScanFn scan;
    } named[] = { { "@gpt2", scan_gpt2 },
                  { "@qwen2", scan_qwen2 },
                  { "@o200k", scan_o200k },
                  { "@youtu", scan_youtu },
                  { "@deepseek3", scan_deepseek3 } };
    size_t i = 0;
    while (strcmp(name, named[i].name) != 0) CHECK(++i < COUNT(named));
    return named[i].scan;
}

static void add_scan(Tokenizer *t, ScanFn scan)
{
    t->splits[t->n_splits++] = (SplitStep){ .kind = SPLIT_SCAN, .scan = scan };
}

bool family_pre(Tokenizer *t, Str name)
{
    const Family *f = families;
    while (f < families + COUNT(families) && !has_name(f->names, name)) f++;
    if (f == families + COUNT(families)) return false;
    for (size_t i = 0; i < COUNT(f->scan) && f->scan[i]; i++) add_scan(t, f->scan[i]);
    for (size_t i = 0; i < COUNT(f->regex) && f->regex[i]; i++) {
        if (f->regex[i][0] == '@') {
            add_scan(t, scan_named(f->regex[i]));
            continue;
        }
        Regex *regex = regex_new(str_of(f->regex[i]), NULL);
        CHECK(regex);
        t->splits[t->n_splits++] = (SplitStep){ .kind = SPLIT_REGEX, .behavior = ISOLATED, .regex = regex };
    }
    if (f->flags & NFC) t->norms[t->n_norms++] = (NormStep){ .kind = NORM_NFC };
    t->bpe.whole_first = f->flags & WHOLE;
    if (f->flags & BOS) t->add_bos = true;
    t->byte_level = !(f->flags & CHARS);
    return true;
}

void family_spm_steps(Tokenizer *t, bool prefix)
{
    if (prefix) t->norms[t->n_norms++] = (NormStep){ .kind = NORM_PREPEND, .content = STR(" ") };
    t->norms[t->n_norms++] = (NormStep){ .kind = NORM_REPLACE, .pattern = STR(" "), .content = STR("\xE2\x96\x81") };
    t->dec = (Decoder){ .kind = DEC_PIECES, .byte_fallback = true, .strip_left = prefix, .n_replaces = 1 };
    t->dec.replace[0].from = STR("\xE2\x96\x81");
    t->dec.replace[0].to = STR(" ");
}
