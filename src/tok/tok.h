/* tok.h - text to token ids and back, as the model's makers do it.
 *
 * A Tokenizer is read-only after it is opened: any number of threads may encode and decode at once. Ids equal those of
 * Hugging Face `tokenizers` for the same files. Text is UTF-8; malformed bytes are read as U+FFFD. */
#ifndef TOK_TOK_H
#define TOK_TOK_H

#include "base/base.h"
#include "load/load.h"

typedef struct Tokenizer Tokenizer;

/* From whatever the checkpoint carries: GGUF metadata; or tokenizer.json, tekken.json, tokenizer.model (SentencePiece
 * protobuf or tiktoken ranks), in the order that gives right ids; with tokenizer_config.json, special_tokens_map and
 * generation_config.json for the special ids. The tokenizer keeps no reference to the checkpoint. */
Status tok_open(Checkpoint *c, Tokenizer **out, Err *err);
/* From a path alone: a GGUF file, a folder, tokenizer.json, tekken.json, or tokenizer.model; no weights needed. */
Status tok_open_path(const char *path, Tokenizer **out, Err *err);
/* From the bytes of one such file, without the files that stand beside it; name is for errors. */
Status tok_open_bytes(Str bytes, const char *name, Tokenizer **out, Err *err);
void tok_close(Tokenizer *t);

enum {
    TOK_SPECIALS = 1, /* the text of special tokens becomes their id (prompts made by templates) */
    TOK_ADD_BOS = 2   /* add what the model's post-processor adds: BOS, and EOS where a family does so */
};

/* Appends ids to out. Linear in the text's length, also for hostile text. */
void tok_encode(const Tokenizer *t, Str text, int flags, Ids *out);
/* Appends the text of ids: what `decode` gives, with special tokens left out or not. Unknown ids give nothing. One
 * difference: in a run of <0xNN> pieces that is not valid as a whole, what is valid stays (a stream has shown it already). */
void tok_decode(const Tokenizer *t, const int32_t *ids, size_t n, bool skip_special, Buf *out);

int tok_n_vocab(const Tokenizer *t);           /* highest id + 1 */
Str tok_piece(const Tokenizer *t, int32_t id); /* raw bytes that the id stands for; empty if none. Borrowed */
bool tok_is_special(const Tokenizer *t, int32_t id);
int32_t tok_find(const Tokenizer *t, Str piece); /* id of a token or added token by its exact text, -1: none */
int32_t tok_bos(const Tokenizer *t);             /* -1: none */
int32_t tok_eos(const Tokenizer *t);
bool tok_adds_bos(const Tokenizer *t);
/* Every id that ends generation (eos, eot, generation_config's list). Borrowed. */
const int32_t *tok_stop_ids(const Tokenizer *t, size_t *n);
/* The model's own chat template, empty if it has none; name "" is the default, "tool_use" etc. where there are several. */
Str tok_chat_template(const Tokenizer *t, const char *name);
/* Text of "bos_token", "eos_token", "unk_token", "pad_token" ...; empty if not set. For templates. */
Str tok_special_text(const Tokenizer *t, const char *role);

/* ---- streaming: ids one by one, text out in whole characters ----
 * The concatenation of all pieces equals tok_decode of all ids (a genuine U+FFFD never stalls the stream). */
typedef struct {
    const Tokenizer *t;
    bool skip_special;
    bool started;    /* a leading space has been dealt with */
    bool space;      /* a space is owed before the next piece */
    int32_t last;    /* the id before */
    uint8_t tail[8]; /* bytes of an unfinished character */
    int n_tail;
} TokStream;

void tok_stream_init(TokStream *s, const Tokenizer *t, bool skip_special);
void tok_stream_push(TokStream *s, int32_t id, Buf *out); /* appends only whole characters */
void tok_stream_end(TokStream *s, Buf *out);              /* what was held back, as U+FFFD */

#endif
