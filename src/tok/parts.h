/* parts.h - the inside of a tokenizer: the pieces, and the five stages text goes through.
 *
 *   text -> added tokens cut out (added.c) -> normalize (normal.c) -> split (split.c, scan.c, regex.c)
 *        -> model: bpe.c, unigram.c, wordpiece.c -> ids;         ids -> text: detok.c
 *
 * The readers (read_*.c) fill a Tokenizer through tok_new, vocab_* and the steps below; tok_finish builds the indexes.
 * Everything here is written once, by one thread, before tok_open returns, and only read afterwards; what an encoding
 * needs to write lives in a Scratch, taken from and given back to a queue. */
#ifndef TOK_PARTS_H
#define TOK_PARTS_H

#include "base/queue.h"
#include "tok/scan.h"
#include "tok/tok.h"

enum {
    MAX_VOCAB = 1 << 20, /* ids a file may use */
    MAX_RANKED = 1024,   /* bytes of one in a file of ranks or scores: every cut of it is looked at */
    MAX_PIECE = 4096,    /* bytes of one piece; longer ones are refused */
    MAX_ADDED = 1 << 16,
    MAX_STEPS = 24, /* of one pipeline stage */
    MAX_MERGES = 4 << 20,
    MAX_TEMPLATES = 16,
    MAX_STOPS = 64,
    MAX_FILE = 256 << 20,      /* bytes of a tokenizer file */
    MAX_TEXT = 256 << 20,      /* bytes of all pieces and what they decode to */
    MAX_ADDED_TEXT = 16 << 20, /* bytes of all added tokens */
    MAX_TRIE_TEXT = 32 << 20,  /* bytes of all pieces of a model that looks for them by a trie */
    MAX_STEP_TEXT = 256,       /* bytes that a step or an affix puts in */
    MAX_GROWTH = 16 << 10,     /* times the steps of a pipeline together can lengthen a text */
    MAX_AROUND = 1024,         /* ids that a post-processor puts round a text */
    MAX_WORD_CHARS = 1000      /* characters of a word that WordPiece looks at */
};

/* ---- pieces ---- */

enum {
    PIECE_USED = 1,    /* the id exists */
    PIECE_MODEL = 2,   /* the model may produce it from text */
    PIECE_ADDED = 4,   /* in the table of added tokens */
    PIECE_SPECIAL = 8, /* left out by skip_special */
    PIECE_BYTE = 16    /* <0xNN>: stands for one byte where the decoder has byte fallback */
};

typedef struct {
    uint32_t text, out;     /* offsets into Tokenizer.blob */
    uint16_t n_text, n_out; /* text: the key the model knows; out: what decoding gives */
    uint8_t flags;
} Piece;

/* What SentencePiece says of a piece; GGUF took its numbers over. */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };

/* Text -> id by open addressing; keys are pieces' texts. */
typedef struct {
    uint64_t *slots; /* high half: of the hash; low half: id + 1, 0 for empty */
    size_t mask;
} TextMap;

/* ---- normalizers ---- */

typedef enum {
    NORM_NFC,
    NORM_NFD,
    NORM_NFKC,
    NORM_NFKD,
    NORM_NMT,
    NORM_LOWER,
    NORM_STRIP,
    NORM_STRIP_ACCENTS,
    NORM_BERT_ACCENTS,
    NORM_PREPEND,
    NORM_REPLACE,
    NORM_CHARSMAP,
    NORM_BERT,
    NORM_BYTES,
    NORM_COLLAPSE /* spaces, as SentencePiece removes extra ones */
} NormKind;

typedef struct Regex Regex;

typedef struct {
    NormKind kind;
    bool left, right;                    /* STRIP */
    bool clean, chinese, accents, lower; /* BERT */
    Str pattern, content;                /* REPLACE, PREPEND */
    Regex *regex;                        /* REPLACE by a regex */
    const uint32_t *trie;                /* CHARSMAP: double array, then its replacement strings */
    size_t n_trie;
    Str strings;
    size_t n_longest; /* bytes of the longest of the strings */
    bool graphemes;   /* CHARSMAP as Hugging Face applies it */
} NormStep;

/* ---- pre-tokenizers ---- */

typedef enum {
    SPLIT_SCAN,
    SPLIT_REGEX,
    SPLIT_TEXT,
    SPLIT_DIGITS,
    SPLIT_BYTES,
    SPLIT_METASPACE,
    SPLIT_WORDS,
    SPLIT_SPACES,
    SPLIT_PUNCT,
    SPLIT_FIXED,
    SPLIT_SCRIPTS
} SplitKind;

typedef enum { REMOVED, ISOLATED, MERGED_PREVIOUS, MERGED_NEXT, CONTIGUOUS } Behavior;
typedef enum { PREPEND_NEVER, PREPEND_FIRST, PREPEND_ALWAYS } Prepend;

typedef struct {
    SplitKind kind;
    Behavior behavior;
    bool invert;
    ScanFn scan;       /* SCAN; BYTES with its own pattern */
    Regex *regex;      /* REGEX */
    Str text;          /* TEXT: what separates; METASPACE: what stands for a space */
    Prepend prepend;   /* METASPACE */
    bool split;        /* METASPACE */
    bool prefix_space; /* BYTES */
    size_t length;     /* FIXED, in characters */
} SplitStep;

/* ---- models ---- */

typedef enum { MODEL_BPE, MODEL_UNIGRAM, MODEL_LONGEST, MODEL_WORDPIECE, MODEL_WORDLEVEL } ModelKind;

typedef struct {
    uint64_t *pairs; /* open addressing: left, right, number of the merge; ~0 for an empty slot */
    size_t mask, n_pairs;
    int32_t *made;        /* by merge: the piece it makes; NULL: the merge's number is its id */
    uint32_t *order;      /* by merge: which comes first; NULL: the lower number */
    int32_t byte_id[256]; /* byte level: the piece of one byte, -1: none; else the <0xNN> pieces */
    bool whole_first;     /* ignore_merges */
    bool byte_fallback, fuse_unk;
    Str prefix, suffix; /* continuing_subword_prefix, end_of_word_suffix */
} Bpe;

typedef struct {
    double *score; /* [n_vocab] */
    double unk_score;
    bool byte_fallback;
    bool from_end; /* PLaMo's variant */
    int32_t byte_id[256];
    struct UniNode *trie; /* of the model's pieces; [0] is the root */
} Unigram;

typedef struct {
    Str prefix;
    size_t max_chars;
} WordPiece;

/* ---- added tokens ---- */

typedef struct {
    Str text;
    Str find; /* what is looked for, if not the text: its normalized form */
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
} Added;

typedef struct Matcher Matcher; /* leftmost-longest search for many strings */

/* ---- decoders ---- */

typedef enum { DEC_NONE, DEC_BYTES, DEC_PIECES, DEC_WORDPIECE, DEC_SUFFIX, DEC_CTC } DecKind;

typedef struct {
    DecKind kind;
    bool byte_fallback;
    int strip_left;        /* leading spaces taken off the whole output, at most */
    bool drop_first_space; /* Metaspace: the first piece loses every leading replacement */
    bool space_between;    /* no decoder at all: pieces are joined by spaces */
    bool cleanup;
    bool fused; /* while reading: a Fuse has been seen */
    Str prefix; /* WORDPIECE: "##"; SUFFIX: "</w>"; CTC: the pad token */
    Str meta;   /* what stands for a space: Metaspace, CTC's word delimiter */
    struct {
        Str from, to;
    } replace[8];
    int n_replaces;
} Decoder;

/* ---- the whole ---- */

typedef struct {
    char role[24];
    int32_t id;
    Str text;
} Special;

struct Tokenizer {
    Arena *mem;
    Buf blob;
    Piece *pieces;
    int n_vocab;
    size_t cap_vocab;
    TextMap by_text; /* the model's pieces */
    bool byte_level; /* the model's pieces are bytes; the file writes them in the byte alphabet */
    int32_t unk;     /* -1: none */
    ModelKind model;
    Bpe bpe;
    Unigram unigram;
    WordPiece wordpiece;
    NormStep norms[MAX_STEPS];
    SplitStep splits[MAX_STEPS];
    int n_norms, n_splits;
    Added *added;
    size_t n_added, cap_added, n_added_text;
    Matcher *raw, *normed; /* added tokens found in raw text, and those found in normalized text; may be NULL */
    Decoder dec;
    bool add_bos, add_eos; /* while reading: before and after follow from them unless set */
    Ids before, after;     /* what TOK_ADD_BOS puts round the text */
    int32_t bos, eos;
    int32_t stops[MAX_STOPS];
    size_t n_stops;
    Special specials[32];
    int n_specials;
    struct {
        Str name, text;
    } templates[MAX_TEMPLATES];
    int n_templates;
    Queue *scratches;
};

static inline Str piece_text(const Tokenizer *t, int32_t id)
{
    const Piece *p = &t->pieces[id];
    return (Str){ t->blob.p + p->text, p->n_text };
}

static inline Str piece_out(const Tokenizer *t, int32_t id)
{
    const Piece *p = &t->pieces[id];
    return (Str){ t->blob.p + p->out, p->n_out };
}

/* ---- vocab.c ---- */

Tokenizer *vocab_new(void);
/* Adds or replaces id's piece. */
Status vocab_set(Tokenizer *t, int64_t id, Str text, int flags, Err *err);
/* Gives a piece another output than its text. */
void vocab_set_out(Tokenizer *t, int32_t id, Str out);
/* From the byte alphabet to bytes; false (out untouched) if a character is not of the alphabet. */
bool vocab_bytes_of(Str text, Buf *out);
/* The other way: one character of the alphabet for each byte. */
void vocab_alphabet_of(Str bytes, Buf *out);
bool vocab_base64(Str text, Buf *out);
/* The id of a piece as files write it: in the byte alphabet where the tokenizer has one; -1. */
int32_t vocab_find_written(const Tokenizer *t, Str written, Buf *tmp);
void vocab_index(Tokenizer *t);                   /* builds by_text from pieces with PIECE_MODEL */
int32_t vocab_find(const Tokenizer *t, Str text); /* among the model's pieces; -1 */
Status vocab_add_token(Tokenizer *t, Added a, Err *err);
void vocab_set_special(Tokenizer *t, const char *role, int32_t id, Str text);
void vocab_add_stop(Tokenizer *t, int64_t id);
void vocab_add_template(Tokenizer *t, Str name, Str text);
/* Two hexadecimal digits -> the byte, or -1; and <0xNN> -> the byte, or -1. */
int vocab_hex_byte(const char *two);
int vocab_byte_piece(Str text);
/* After a reader is done: checks, indexes, matchers, stop ids. */
Status vocab_finish(Tokenizer *t, Err *err);

/* ---- an encoding under way ---- */

typedef struct {
    uint64_t lo, hi; /* up to 15 bytes, the length in the last */
    int32_t n, ids[3];
} CacheSlot;

enum { CACHE_SLOTS = 1 << 15, CACHE_WORD = 15, CACHE_IDS = 3 };

typedef struct {
    CacheSlot *cache; /* [CACHE_SLOTS] */
    Buf repaired, norm[2], piece[MAX_STEPS + 1], marked;
    Ids ids;
    void *work; /* of the model: symbols, heap, lattice */
    size_t n_work;
} Scratch;

typedef struct {
    const Tokenizer *t;
    Scratch *s;
    Ids *out;
    const char *wide; /* words that begin in [wide, wide + n_wide) can be read 16 bytes at a time */
    size_t n_wide;
} Enc;

void *enc_work(Enc *e, size_t n); /* at least n bytes, kept with the scratch */

/* ---- stages ---- */

Str norm_run(const Tokenizer *t, Scratch *s, Str text); /* borrowed from text or s */
Str charsmap_run(const NormStep *n, Str s, Buf *out);
/* Reads SentencePiece's precompiled map into a step; the bytes are kept. */
Status charsmap_read(Str blob, Arena *mem, NormStep *out, Err *err);
void split_run(Enc *e, Str text, bool at_start); /* text is normalized; ends in the model */
void tok_encode_piece(Enc *e, Str piece);
void bpe_encode(Enc *e, Str piece);
void unigram_encode(Enc *e, Str piece);
void unigram_encode_longest(Enc *e, Str piece); /* RWKV's: no scores, the longest piece at each byte */
void wordpiece_encode(Enc *e, Str piece);

/* Reserves room for n pairs and n_made merges (0: a merge's number is its piece's id); then adds them, a later one of the same pair replacing an earlier one. */
void bpe_reserve(Bpe *b, size_t n, size_t n_made);
void bpe_add(Bpe *b, int32_t left, int32_t right, uint32_t merge, int32_t id);
/* Adds a merge of two pieces as files write them; false if they or their union are no pieces. */
bool bpe_add_written(Tokenizer *t, Str left, Str right, uint32_t merge, Buf *tmp);
/* A score as a rank: the higher the score, the lower the rank; equal scores give equal ranks. */
uint32_t score_rank(float score);
#define BPE_NO_RANK UINT32_MAX /* of a piece that no merge makes */
/* Every way to put a piece together from two pieces is a merge; rank[id] orders them. */
Status bpe_pairs_from_ranks(Tokenizer *t, const uint32_t *rank, Err *err);
void bpe_free(Bpe *b);
Status unigram_build(Tokenizer *t, Err *err);
/* Makes a model whose scores are read PLaMo's variant. */
void unigram_from_end(Tokenizer *t);
void unigram_free(Unigram *u);

/* Of those added tokens that want (or do not want) normalized text; NULL: there are none. */
Matcher *matcher_new(const Added *added, size_t n, bool normalized);
void matcher_free(Matcher *m);
/* The next match at or after from: false if none. which is an index into added. */
bool matcher_next(const Matcher *m, Str text, size_t from, size_t *start, size_t *end, uint32_t *which);

/* ---- regex.c: PCRE2 with our character classes ---- */

Regex *regex_new(Str pattern, Err *err); /* NULL on failure */
void regex_free(Regex *r);
/* The next match at or after from; after_match: a match ends at from, where no empty one may follow. */
bool regex_next(const Regex *r, Str text, size_t from, bool after_match, size_t *start, size_t *end);

/* ---- readers ---- */

typedef struct json_t json_t;

/* Where a checkpoint's small files come from: an open checkpoint or a folder. */
typedef struct {
    Checkpoint *c;
    const char *dir;
    Arena *mem;
} Files;

Status files_get(const Files *f, const char *name, Str *out, Err *err); /* out->p NULL: there is none */

Status read_gguf(Checkpoint *c, Tokenizer *t, Err *err);
Status read_json(Str text, const char *name, Tokenizer *t, Err *err); /* tokenizer.json */
Status read_json_config(const Files *f, Tokenizer *t, Err *err);      /* tokenizer_config.json and the like */
Status steps_read_normalizer(const json_t *j, Tokenizer *t, Err *err);
Status steps_read_pre_tokenizer(const json_t *j, Tokenizer *t, Err *err);
Status steps_read_decoder(const json_t *j, Tokenizer *t, Err *err);
/* Refuses steps that together would make much text of little. To be asked before the first text is normalized. */
Status steps_check(const Tokenizer *t, Err *err);
Status read_tekken(Str text, const char *name, Tokenizer *t, Err *err);
Status read_model(Str bytes, const char *name, Tokenizer *t, Err *err); /* tokenizer.model of either kind */
Status read_ranks(Str text, const char *name, Tokenizer *t, Err *err);  /* tiktoken's */
/* Splits and normalizers of a family by its name in GGUF's tokenizer.ggml.pre; false: not known. */
bool family_pre(Tokenizer *t, Str name);
/* The family of a rank file, told by how many ranks it has: its name for family_pre, and its special tokens as a list
 * separated by spaces, which follow the ranks; NULL: not known. */
const char *family_of_ranks(size_t n_ranks, const char **specials);
/* Steps of SentencePiece: one space more in front if prefix, each space written as U+2581; and their decoder. */
void family_spm_steps(Tokenizer *t, bool prefix);
/* Text that ends a turn in some family: its id is a stop id wherever it exists. */
bool family_is_stop(Str text);

#endif
