/* read_model.c - tokenizer.model: SentencePiece's protocol buffer (BPE or Unigram). A file that is text instead goes to
 * read_ranks.c. Only the few fields that decide ids are read; every length is checked against what is left.
 *
 *   ModelProto:     1 piece*, 2 trainer_spec, 3 normalizer_spec
 *   SentencePiece:  1 text, 2 score (f32), 3 type        TrainerSpec: 3 model_type, 35 byte_fallback, 40-43 ids
 *   NormalizerSpec: 2 charsmap, 3 add_dummy_prefix, 4 remove_extra_whitespaces, 5 escape_whitespaces */
#include "base/utf8.h"
#include "tok/parts.h"

enum { WIRE_VARINT = 0, WIRE_I64 = 1, WIRE_BYTES = 2, WIRE_I32 = 5 };
enum { KIND_UNIGRAM = 1, KIND_BPE = 2 };

/* ---- the wire format ---- */

typedef struct {
    uint64_t number; /* of the field */
    int wire;
    uint64_t value; /* of a varint, or the bits of a fixed number */
    Str bytes;
} Field;

static bool take_varint(Str *in, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64 && in->n; shift += 7) {
        uint8_t c = (uint8_t)*in->p;
        *in = str_cut(*in, 1, in->n);
        *out |= (uint64_t)(c & 127) << shift;
        if (c < 128) return true;
    }
    return false;
}

static bool take_fixed(Str *in, size_t n, uint64_t *out)
{
    if (in->n < n) return false;
    *out = 0;
    memcpy(out, in->p, n);
    *in = str_cut(*in, n, in->n);
    return true;
}

/* The next field of a message; false at its end (*in is empty) or where it is malformed. */
static bool take_field(Str *in, Field *f)
{
    uint64_t key, n;
    if (in->n == 0 || !take_varint(in, &key)) return false;
    *f = (Field){ .number = key >> 3, .wire = (int)(key & 7) };
    switch (f->wire) {
    case WIRE_VARINT: return take_varint(in, &f->value);
    case WIRE_I64: return take_fixed(in, 8, &f->value);
    case WIRE_I32: return take_fixed(in, 4, &f->value);
    case WIRE_BYTES:
        if (!take_varint(in, &n) || n > in->n) return false;
        f->bytes = str_cut(*in, 0, (size_t)n);
        *in = str_cut(*in, (size_t)n, in->n);
        return true;
    default: return false;
    }
}

/* ---- the model ---- */

typedef struct {
    Str text;
    float score;
    int type;
} Entry;

typedef struct {
    Entry *piece;
    size_t n, cap;
    uint64_t kind;
    bool byte_fallback, dummy_prefix, collapse, escape;
    int64_t unk, bos, eos, pad;
    Str charsmap;
} Model;

static Status read_piece(Str in, Model *m, Err *err)
{
    Entry e = { .type = TYPE_NORMAL };
    Field f;
    size_t at = m->n;
    while (in.n) {
        if (!take_field(&in, &f)) return fail(err, E_CORRUPT, "piece %zu is malformed", at);
        uint32_t bits = (uint32_t)f.value;
        if (f.number == 1) e.text = f.bytes;
        if (f.number == 2) memcpy(&e.score, &bits, sizeof bits);
        if (f.number == 3) e.type = (int)MIN(f.value, 7u);
    }
    if (!utf8_valid(e.text)) return fail(err, E_CORRUPT, "piece %zu is not valid UTF-8", at);
    if (m->n == MAX_VOCAB) return fail(err, E_LIMIT, "more than %d pieces", MAX_VOCAB);
    if (m->n == m->cap) {
        m->cap = MAX(1024, m->cap * 2);
        m->piece = mem_grow(m->piece, m->cap * sizeof *m->piece);
    }
    m->piece[m->n++] = e;
    return OK;
}

static Status read_trainer(Str in, Model *m, Err *err)
{
    Field f;
    while (in.n) {
        if (!take_field(&in, &f)) return fail(err, E_CORRUPT, "trainer_spec is malformed");
        if (f.number == 3) m->kind = f.value;
        if (f.number == 35) m->byte_fallback = f.value;
        if (f.number == 40) m->unk = (int64_t)f.value;
        if (f.number == 41) m->bos = (int64_t)f.value;
        if (f.number == 42) m->eos = (int64_t)f.value;
        if (f.number == 43) m->pad = (int64_t)f.value;
    }
    return OK;
}

static Status read_normalizer(Str in, Model *m, Err *err)
{
    Field f;
    while (in.n) {
        if (!take_field(&in, &f)) return fail(err, E_CORRUPT, "normalizer_spec is malformed");
        if (f.number == 2) m->charsmap = f.bytes;
        if (f.number == 3) m->dummy_prefix = f.value;
        if (f.number == 4) m->collapse = f.value;
        if (f.number == 5) m->escape = f.value;
    }
    return OK;
}

static Status read_proto(Str in, Model *m, Err *err)
{
    Field f;
    while (in.n) {
        if (!take_field(&in, &f))
            return fail(err, E_CORRUPT, "the protocol buffer is malformed %zu bytes before its end", in.n);
        if (f.wire != WIRE_BYTES) continue;
        if (f.number == 1) TRY(read_piece(f.bytes, m, err));
        if (f.number == 2) TRY(read_trainer(f.bytes, m, err));
        if (f.number == 3) TRY(read_normalizer(f.bytes, m, err));
    }
    return m->n ? OK : fail(err, E_CORRUPT, "there are no pieces");
}

/* ---- into a tokenizer ---- */

static Status take_piece(Tokenizer *t, int32_t id, const Entry *e, Err *err)
{
    bool control = e->type == TYPE_CONTROL || e->type == TYPE_UNKNOWN;
    bool model = e->type == TYPE_NORMAL || e->type == TYPE_USER || e->type == TYPE_BYTE;
    TRY(vocab_set(t, id, e->text, model ? PIECE_MODEL : 0, err));
    if (!control && e->type != TYPE_USER) return OK;
    /* User-defined pieces are looked for in normalized text. Control pieces stand in no text; templates write them. */
    Added a = { .text = e->text, .id = id, .special = control, .normalized = !control };
    return vocab_add_token(t, a, err);
}

static Status take_steps(const Model *m, Tokenizer *t, Err *err)
{
    if (m->charsmap.n) TRY(charsmap_read(m->charsmap, t->mem, &t->norms[t->n_norms++], err));
    if (m->collapse) t->norms[t->n_norms++] = (NormStep){ .kind = NORM_COLLAPSE };
    family_spm_steps(t, m->dummy_prefix);
    if (!m->escape) t->n_norms--;
    t->dec.byte_fallback = m->byte_fallback;
    return OK;
}

static void take_role(Tokenizer *t, const char *role, int64_t id, int32_t *out)
{
    if (id < 0 || id >= t->n_vocab) return;
    *out = (int32_t)id;
    vocab_set_special(t, role, (int32_t)id, piece_text(t, (int32_t)id));
}

static Status take_scores(const Model *m, Tokenizer *t, Err *err)
{
    vocab_index(t);
    if (m->kind == KIND_UNIGRAM) {
        t->model = MODEL_UNIGRAM;
        t->unigram.byte_fallback = m->byte_fallback;
        t->unigram.score = mem_alloc_array(m->n, sizeof *t->unigram.score);
        for (size_t i = 0; i < m->n; i++) t->unigram.score[i] = (double)m->piece[i].score;
        return OK;
    }
    if (m->kind != KIND_BPE)
        return fail(err, E_UNSUPPORTED, "model_type %llu is neither Unigram nor BPE", (unsigned long long)m->kind);
    t->model = MODEL_BPE;
    t->bpe.byte_fallback = m->byte_fallback;
    t->bpe.fuse_unk = true;
    uint32_t *rank = mem_alloc_array(m->n, sizeof *rank);
    for (size_t i = 0; i < m->n; i++)
        rank[i] = m->piece[i].type == TYPE_BYTE ? BPE_NO_RANK : score_rank(m->piece[i].score);
    Status status = bpe_pairs_from_ranks(t, rank, err);
    mem_free(rank);
    return status;
}

static Status take_model(const Model *m, Tokenizer *t, Err *err)
{
    int32_t pad = -1;
    for (size_t i = 0; i < m->n; i++) TRY(take_piece(t, (int32_t)i, &m->piece[i], err));
    TRY(take_steps(m, t, err));
    TRY(take_scores(m, t, err));
    take_role(t, "unk_token", m->unk, &t->unk);
    take_role(t, "bos_token", m->bos, &t->bos);
    take_role(t, "eos_token", m->eos, &t->eos);
    take_role(t, "pad_token", m->pad, &pad);
    t->add_bos = m->kind == KIND_BPE;
    t->add_eos = m->kind == KIND_UNIGRAM;
    if (t->add_bos && t->bos >= 0) ids_push(&t->before, t->bos);
    if (t->add_eos && t->eos >= 0) ids_push(&t->after, t->eos);
    return OK;
}

/* Rank files are lines of base64 and a number; a protocol buffer begins with the tag of a piece, a line feed. */
static bool is_text(Str bytes)
{
    for (size_t i = 0; i < MIN(bytes.n, (size_t)64); i++) {
        char c = bytes.p[i];
        if (i == 0 && c == '\n') return false;
        if ((c < 33 || c > 126) && c != ' ' && c != '\n' && c != '\r') return false;
    }
    return bytes.n > 0;
}

Status read_model(Str bytes, const char *name, Tokenizer *t, Err *err)
{
    if (is_text(bytes)) return read_ranks(bytes, name, t, err);
    Model m = {
        .kind = KIND_UNIGRAM, .dummy_prefix = true, .collapse = true, .escape = true, .bos = 1, .eos = 2, .pad = -1
    };
    Status status = read_proto(bytes, &m, err);
    if (status == OK) status = take_model(&m, t, err);
    mem_free(m.piece);
    return status == OK ? OK : fail_prefix(err, "%s", name);
}
