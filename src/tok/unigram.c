/* unigram.c - the segmentation of a text into pieces with the highest sum of log probabilities (Viterbi).
 *
 * From each character every piece that fits is tried by one walk down a trie, so the work is the text's length times
 * the longest piece's. A character that no piece covers costs the lowest score less 10; runs of them become one unk, or
 * their bytes. Scores are doubles and a later path must be better, not equal, to replace an earlier one: both decide
 * ties as Hugging Face's model does. The trie lays the children of a node in a row, sorted by byte.
 *
 * Two relatives share the trie: PLaMo's model, which works from the end of the text in whole ten-thousandths and takes the
 * longer piece on a tie, and RWKV's, which has no scores and takes the longest piece at each place. */
#include <math.h>
#include <stdlib.h>

#include "tok/parts.h"
#include "tok/unicode.h"

struct UniNode {
    uint32_t child; /* of the first child */
    int32_t id;     /* of the piece that ends here, -1: none */
    uint16_t n_child;
    uint8_t byte;
};

#define UNK_PENALTY   10.0
#define PLAMO_UNKNOWN (-1e7) /* the score of a character that no piece covers */
#define PLAMO_INVALID (-2e7) /* pieces of this score or less are never used */

/* ---- the trie ---- */

typedef struct {
    Str text;
    int32_t id;
} Entry;

static int compare(const void *a, const void *b)
{
    const Entry *x = a, *y = b;
    int c = memcmp(x->text.p, y->text.p, MIN(x->text.n, y->text.n));
    if (c) return c;
    if (x->text.n != y->text.n) return x->text.n < y->text.n ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

/* A node whose pieces are entries [low, high), all equal in their first depth bytes. */
typedef struct {
    uint32_t low, high, node;
    uint32_t depth;
} Range;

/* Lays out the children of one range; appends their ranges. */
static void spread(struct UniNode *node, size_t *n_node, const Entry *e, Range r, Range *queue, size_t *n_queue)
{
    while (r.low < r.high && e[r.low].text.n == r.depth) node[r.node].id = e[r.low++].id;
    node[r.node].child = (uint32_t)*n_node;
    for (uint32_t i = r.low, end; i < r.high; i = end) {
        uint8_t byte = (uint8_t)e[i].text.p[r.depth];
        for (end = i + 1; end < r.high && (uint8_t)e[end].text.p[r.depth] == byte;) end++;
        node[*n_node] = (struct UniNode){ .byte = byte, .id = -1 };
        queue[(*n_queue)++] = (Range){ i, end, (uint32_t)*n_node, r.depth + 1 };
        node[r.node].n_child++;
        (*n_node)++;
    }
}

Status unigram_build(Tokenizer *t, Err *err)
{
    size_t n = 0, bytes = 1;
    Entry *e = mem_alloc_array((size_t)t->n_vocab + 1, sizeof *e);
    double lowest = 0;
    bool any = false;
    for (int32_t id = 0; id < t->n_vocab; id++) {
        if (!(t->pieces[id].flags & PIECE_MODEL)) continue;
        double score = t->unigram.score[id];
        if (!any || score < lowest) lowest = score;
        any = true;
        e[n++] = (Entry){ piece_text(t, id), id };
        bytes += piece_text(t, id).n;
    }
    if (bytes > MAX_TRIE_TEXT) {
        mem_free(e);
        return fail(err, E_LIMIT, "the tokens have %zu bytes, over %d", bytes, MAX_TRIE_TEXT);
    }
    qsort(e, n, sizeof *e, compare);
    struct UniNode *node = mem_alloc_array(bytes, sizeof *node);
    Range *queue = mem_alloc_array(bytes, sizeof *queue);
    size_t n_node = 1, n_queue = 1;
    node[0].id = -1;
    queue[0] = (Range){ 0, (uint32_t)n, 0, 0 };
    for (size_t i = 0; i < n_queue; i++) spread(node, &n_node, e, queue[i], queue, &n_queue);
    mem_free(queue);
    mem_free(e);
    node[0].id = -1;
    t->unigram.trie = mem_grow(node, n_node * sizeof *node);
    t->unigram.unk_score = lowest - UNK_PENALTY;
    return any ? OK : fail(err, E_CORRUPT, "the model has no tokens");
}

void unigram_from_end(Tokenizer *t)
{
    t->unigram.from_end = t->unigram.byte_fallback = true;
    for (int32_t id = 0; id < t->n_vocab; id++) {
        double score = round(t->unigram.score[id] * 1e4);
        bool usable = score > PLAMO_INVALID && score < -PLAMO_INVALID;
        t->unigram.score[id] = usable ? score : 0;
        if (!usable) t->pieces[id].flags &= (uint8_t)~PIECE_MODEL;
    }
}

void unigram_free(Unigram *u)
{
    mem_free(u->trie);
    mem_free(u->score);
}

static const struct UniNode *step(const struct UniNode *trie, const struct UniNode *at, uint8_t byte)
{
    const struct UniNode *p = trie + at->child;
    size_t n = at->n_child;
    while (n > 0) {
        size_t half = n / 2;
        if (p[half].byte == byte) return p + half;
        if (p[half].byte < byte) {
            p += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return NULL;
}

/* ---- encoding ---- */

/* The best way found to a position. */
typedef struct {
    double score;
    uint32_t from; /* UINT32_MAX: none yet */
    int32_t id;
} Best;

static inline void offer(Best *to, double score, size_t from, int32_t id)
{
    if (to->from != UINT32_MAX && score <= to->score) return;
    *to = (Best){ score, (uint32_t)from, id };
}

static void fill(const Tokenizer *t, Str s, Best *best)
{
    const struct UniNode *trie = t->unigram.trie;
    for (size_t i = 1; i <= s.n; i++) best[i].from = UINT32_MAX;
    best[0] = (Best){ 0 };
    for (size_t i = 0, len; i < s.n; i += len) {
        bool covered = false;
        (void)uni_get(s.p + i, &len);
        const struct UniNode *at = trie;
        for (size_t k = i; k < s.n && (at = step(trie, at, (uint8_t)s.p[k])); k++) {
            if (at->id < 0) continue;
            offer(&best[k + 1], best[i].score + t->unigram.score[at->id], i, at->id);
            covered = covered || k + 1 == i + len;
        }
        if (!covered) offer(&best[i + len], best[i].score + t->unigram.unk_score, i, t->unk);
    }
}

/* PLaMo's: best[i].from is where the piece that starts at i ends. Of equal ways the one whose first piece is longer. */
static void fill_from_end(const Tokenizer *t, Str s, Best *best)
{
    best[s.n] = (Best){ 0 };
    for (size_t i = s.n, len; i > 0;) {
        do i--;
        while (i > 0 && ((uint8_t)s.p[i] & 0xC0) == 0x80);
        (void)uni_get(s.p + i, &len);
        best[i] = (Best){ best[i + len].score + PLAMO_UNKNOWN, (uint32_t)(i + len), t->unk };
        const struct UniNode *at = t->unigram.trie;
        for (size_t k = i; k < s.n && (at = step(t->unigram.trie, at, (uint8_t)s.p[k])); k++) {
            if (at->id < 0) continue;
            double score = best[k + 1].score + t->unigram.score[at->id];
            if (score >= best[i].score) best[i] = (Best){ score, (uint32_t)(k + 1), at->id };
        }
    }
}

/* What a run of unknown characters becomes. */
static void put_unknown(Enc *e, Str s)
{
    const Tokenizer *t = e->t;
    const Unigram *u = &t->unigram;
    int32_t id = u->from_end ? -1 : vocab_find(t, s);
    bool bytes = u->byte_fallback && id < 0;
    for (size_t i = 0; bytes && i < s.n; i++) bytes = u->byte_id[(uint8_t)s.p[i]] >= 0;
    if (bytes) {
        for (size_t i = 0; i < s.n; i++) ids_push(e->out, u->byte_id[(uint8_t)s.p[i]]);
    } else if (id >= 0 || t->unk >= 0) {
        ids_push(e->out, id >= 0 ? id : t->unk);
    }
}

/* The way is known from its end: turn it round, so that best[i] says where the piece that starts at i ends. */
static void turn_round(Best *best, size_t n)
{
    Best step = best[n];
    for (uint32_t end = (uint32_t)n; end > 0;) {
        uint32_t start = step.from;
        Best before = best[start];
        best[start] = (Best){ .from = end, .id = step.id };
        step = before;
        end = start;
    }
}

void unigram_encode(Enc *e, Str piece)
{
    const Tokenizer *t = e->t;
    Best *best = enc_work(e, (piece.n + 1) * sizeof *best);
    if (t->unigram.from_end) {
        fill_from_end(t, piece, best);
    } else {
        fill(t, piece, best);
        turn_round(best, piece.n);
    }
    for (size_t i = 0, end; i < piece.n; i = end) {
        end = best[i].from;
        if (best[i].id != t->unk) {
            ids_push(e->out, best[i].id);
            continue;
        }
        while (end < piece.n && best[end].id == t->unk) end = best[end].from;
        put_unknown(e, str_cut(piece, i, end));
    }
}

void unigram_encode_longest(Enc *e, Str piece)
{
    const struct UniNode *trie = e->t->unigram.trie;
    for (size_t i = 0, end; i < piece.n; i = end) {
        const struct UniNode *at = trie;
        int32_t id = e->t->unk;
        end = i + 1;
        for (size_t k = i; k < piece.n && (at = step(trie, at, (uint8_t)piece.p[k])); k++) {
            if (at->id < 0) continue;
            id = at->id;
            end = k + 1;
        }
        if (id >= 0) ids_push(e->out, id);
    }
}
