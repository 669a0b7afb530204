/* bpe.c - byte pair encoding: merge the adjacent pair of lowest rank, leftmost first, until none is left.
 *
 * One table of pairs serves every kind of file: merge lists give it directly; rank files (tiktoken, tekken) and
 * SentencePiece's scores become pairs when the file is read, one for each way to cut a piece in two pieces.
 * A word goes three ways, all with the same outcome:
 *   - up to 15 bytes: looked up in the scratch's word cache first, direct-mapped, so a hit costs one cache line;
 *   - up to SMALL symbols: arrays with the ranks kept beside them, the lowest found by looking at all;
 *   - longer: a linked list and a heap of (rank, position), stale entries skipped when they come up: n log n.
 * Thread: any, one Enc each. */
#include "tok/parts.h"
#include "tok/unicode.h"

enum { SMALL = 40 };
#define NO_MERGE     UINT32_MAX
#define MAX_CUT_WORK (4ull << 30)
#define NO_PAIR      UINT64_MAX

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are read as little-endian integers");

/* ---- the pair table ---- */

/* A slot is 8 bytes, as most of the time goes into fetching slots from distant memory: left and right in 20 bits each,
 * then the number of the merge. */
enum { ID_BITS = 20, MERGE_BITS = 24 };
_Static_assert(MAX_VOCAB <= 1 << ID_BITS && MAX_MERGES < 1 << MERGE_BITS, "a pair and its merge fit a slot");

static inline uint64_t pair_key(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << ID_BITS | (uint32_t)right;
}

static inline size_t pair_home(const Bpe *b, uint64_t key)
{
    return (size_t)(key * 0x9E3779B97F4A7C15u >> 32) & b->mask;
}

/* The number of the merge of two pieces, NO_MERGE if there is none. */
static inline uint32_t merge_of(const Bpe *b, int32_t left, int32_t right)
{
    uint64_t key = pair_key(left, right);
    for (size_t i = pair_home(b, key);; i = (i + 1) & b->mask) {
        if (b->pairs[i] >> MERGE_BITS == key) return (uint32_t)b->pairs[i] & ((1u << MERGE_BITS) - 1);
        if (b->pairs[i] == NO_PAIR) return NO_MERGE;
    }
}

/* Of two merges the one of lower rank comes first. */
static inline uint32_t rank_of(const Bpe *b, uint32_t merge)
{
    return b->order && merge != NO_MERGE ? b->order[merge] : merge;
}

static inline int32_t made_by(const Bpe *b, uint32_t merge)
{
    return b->made ? b->made[merge] : (int32_t)merge;
}

void bpe_reserve(Bpe *b, size_t n, size_t n_made)
{
    size_t cap = 16;
    while (cap < n + n / 2 + 2) cap *= 2;
    b->pairs = mem_alloc_array(cap, sizeof *b->pairs);
    memset(b->pairs, 0xFF, cap * sizeof *b->pairs);
    b->mask = cap - 1;
    if (n_made) b->made = mem_alloc_array(n_made, sizeof *b->made);
}

void bpe_add(Bpe *b, int32_t left, int32_t right, uint32_t merge, int32_t id)
{
    uint64_t key = pair_key(left, right);
    size_t i = pair_home(b, key);
    while (b->pairs[i] != NO_PAIR && b->pairs[i] >> MERGE_BITS != key) i = (i + 1) & b->mask;
    b->n_pairs += b->pairs[i] == NO_PAIR;
    CHECK(b->n_pairs <= b->mask);
    b->pairs[i] = key << MERGE_BITS | merge;
    if (b->made) b->made[merge] = id;
}

void bpe_free(Bpe *b)
{
    mem_free(b->pairs);
    mem_free(b->made);
    mem_free(b->order);
}

bool bpe_add_written(Tokenizer *t, Str left, Str right, uint32_t merge, Buf *tmp)
{
    int32_t a = vocab_find_written(t, left, tmp), b = vocab_find_written(t, right, tmp);
    if (a < 0 || b < 0) return false;
    Str first = piece_text(t, a), second = piece_text(t, b);
    if (!t->byte_level && t->bpe.prefix.n) second = str_cut(second, MIN(second.n, t->bpe.prefix.n), second.n);
    buf_clear(tmp);
    buf_str(tmp, first);
    buf_str(tmp, second);
    int32_t id = vocab_find(t, buf_view(tmp));
    if (id >= 0) bpe_add(&t->bpe, a, b, merge, id);
    return id >= 0;
}

uint32_t score_rank(float score)
{
    uint32_t u;
    memcpy(&u, &score, sizeof u);
    u = u >> 31 ? ~u : u | 1u << 31; /* as integers these are in the order of the floats */
    u = ~u;
    return u == NO_MERGE ? NO_MERGE - 1 : u;
}

/* Visits every cut of every ranked piece into two pieces; counts them, or adds them to the table: the merge is the id. */
static size_t each_cut(Tokenizer *t, const uint32_t *rank, bool add)
{
    size_t n = 0;
    for (int32_t id = 0; id < t->n_vocab; id++) {
        Str s = piece_text(t, id);
        if (!(t->pieces[id].flags & PIECE_MODEL) || rank[id] == BPE_NO_RANK) continue;
        for (size_t cut = 1; cut < s.n; cut++) {
            if (!t->byte_level && ((uint8_t)s.p[cut] & 0xC0) == 0x80) continue;
            int32_t left = vocab_find(t, str_cut(s, 0, cut));
            if (left < 0) continue;
            int32_t right = vocab_find(t, str_cut(s, cut, s.n));
            if (right < 0) continue;
            n++;
            if (add) bpe_add(&t->bpe, left, right, (uint32_t)id, id);
        }
    }
    return n;
}

/* True if ids are in the order of their ranks, so that these need not be kept. */
static bool in_order(const Tokenizer *t, const uint32_t *rank)
{
    uint32_t last = 0;
    bool any = false;
    for (int32_t id = 0; id < t->n_vocab; id++) {
        if (!(t->pieces[id].flags & PIECE_MODEL) || rank[id] == BPE_NO_RANK) continue;
        if (any && rank[id] <= last) return false;
        last = rank[id];
        any = true;
    }
    return true;
}

Status bpe_pairs_from_ranks(Tokenizer *t, const uint32_t *rank, Err *err)
{
    uint64_t work = 0; /* bytes that are hashed: both parts of every cut */
    for (int32_t id = 0; id < t->n_vocab; id++) {
        uint64_t n = t->pieces[id].flags & PIECE_MODEL ? t->pieces[id].n_text : 0;
        if (n > MAX_RANKED) return fail(err, E_LIMIT, "token %d has %d bytes, over %d", id, (int)n, MAX_RANKED);
        work += n * n;
    }
    if (work > MAX_CUT_WORK)
        return fail(err, E_LIMIT, "the tokens are too long: their cuts have %llu bytes in all",
                    (unsigned long long)work);
    bpe_reserve(&t->bpe, each_cut(t, rank, false), 0);
    each_cut(t, rank, true);
    if (in_order(t, rank)) return OK;
    t->bpe.order = mem_alloc_array((size_t)t->n_vocab, sizeof *t->bpe.order);
    memcpy(t->bpe.order, rank, (size_t)t->n_vocab * sizeof *rank);
    return OK;
}

/* ---- merging ---- */

/* Merges id[0..n) in place, n <= SMALL; returns how many are left. */
static size_t merge_small(const Bpe *b, int32_t *id, size_t n)
{
    uint32_t rank[SMALL], merge[SMALL];
    for (size_t i = 0; i + 1 < n; i++) {
        merge[i] = merge_of(b, id[i], id[i + 1]);
        rank[i] = rank_of(b, merge[i]);
    }
    while (n > 1) {
        size_t at = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[at]) at = i;
        if (merge[at] == NO_MERGE) break;
        id[at] = made_by(b, merge[at]);
        n--;
        for (size_t i = at + 1; i < n; i++) {
            id[i] = id[i + 1];
            rank[i] = rank[i + 1];
            merge[i] = merge[i + 1];
        }
        for (size_t i = at ? at - 1 : 0; i <= at && i + 1 < n; i++) {
            merge[i] = merge_of(b, id[i], id[i + 1]);
            rank[i] = rank_of(b, merge[i]);
        }
    }
    return n;
}

typedef struct {
    int32_t id;
    uint32_t merge; /* with the next symbol */
    uint32_t prev, next;
} Node;

typedef struct {
    uint64_t *e; /* rank << 32 | position */
    size_t n;
} Heap;

static void heap_down(Heap *h, size_t i)
{
    uint64_t x = h->e[i];
    for (size_t child; (child = 2 * i + 1) < h->n; i = child) {
        if (child + 1 < h->n && h->e[child + 1] < h->e[child]) child++;
        if (h->e[child] >= x) break;
        h->e[i] = h->e[child];
    }
    h->e[i] = x;
}

static void heap_push(Heap *h, uint64_t x)
{
    size_t i = h->n++;
    for (; i > 0 && h->e[(i - 1) / 2] > x; i = (i - 1) / 2) h->e[i] = h->e[(i - 1) / 2];
    h->e[i] = x;
}

/* Without regard to the order, which heap_down makes later. */
static void heap_append(Heap *h, uint64_t x)
{
    h->e[h->n++] = x;
}

static uint64_t heap_pop(Heap *h)
{
    uint64_t top = h->e[0];
    h->e[0] = h->e[--h->n];
    heap_down(h, 0);
    return top;
}

/* Works out the merge of i and its successor; if there is one, pushes it. */
static inline void rate(const Bpe *b, Node *node, uint32_t i, uint32_t end, Heap *heap, void (*push)(Heap *, uint64_t))
{
    uint32_t merge = node[i].next == end ? NO_MERGE : merge_of(b, node[i].id, node[node[i].next].id);
    node[i].merge = merge;
    if (merge != NO_MERGE) push(heap, (uint64_t)rank_of(b, merge) << 32 | i);
}

/* As merge_small for any n; work holds n nodes and 2 n heap entries: each of fewer than n merges takes one out and adds at
 * most two. */
static size_t merge_large(const Bpe *b, int32_t *id, size_t n, void *work)
{
    Heap heap = { .e = work };
    Node *node = (Node *)(void *)(heap.e + 2 * n);
    uint32_t end = (uint32_t)n;
    for (uint32_t i = 0; i < end; i++) node[i] = (Node){ .id = id[i], .prev = i - 1, .next = i + 1 };
    for (uint32_t i = 0; i < end; i++) rate(b, node, i, end, &heap, heap_append);
    for (size_t i = heap.n / 2; i-- > 0;) heap_down(&heap, i);
    while (heap.n) {
        uint64_t top = heap_pop(&heap);
        uint32_t at = (uint32_t)top, next = node[at].next, merge = node[at].merge;
        if (merge == NO_MERGE || rank_of(b, merge) != top >> 32) continue; /* the pair changed since, or is gone */
        node[at].id = made_by(b, merge);
        node[next].merge = NO_MERGE;
        node[at].next = node[next].next;
        if (node[at].next != end) node[node[at].next].prev = at;
        rate(b, node, at, end, &heap, heap_push);
        if (at > 0) rate(b, node, node[at].prev, end, &heap, heap_push);
    }
    size_t left = 0;
    for (uint32_t i = 0; i != end; i = node[i].next) id[left++] = node[i].id;
    return left;
}

/* ---- symbols ---- */

/* Where a piece's symbols are gathered: unknown ones wait in unk, so that neighbours can be fused. */
typedef struct {
    int32_t *id;
    size_t n;
    bool unk;
} Symbols;

static inline void add_symbol(const Tokenizer *t, Symbols *out, int32_t id)
{
    if (out->unk) out->id[out->n++] = t->unk;
    out->unk = false;
    out->id[out->n++] = id;
}

static void add_unknown(const Tokenizer *t, Symbols *out)
{
    if (t->unk < 0) return; /* nothing stands for it: it is dropped before its neighbours merge */
    if (out->unk && !t->bpe.fuse_unk) out->id[out->n++] = t->unk;
    out->unk = true;
}

/* The <0xNN> pieces of a character; false if one is missing. */
static bool add_bytes(const Bpe *b, Symbols *out, Str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (b->byte_id[(uint8_t)s.p[i]] < 0) return false;
    for (size_t i = 0; i < s.n; i++) out->id[out->n++] = b->byte_id[(uint8_t)s.p[i]];
    return true;
}

static void symbols_of_bytes(const Tokenizer *t, Str piece, Symbols *out)
{
    for (size_t i = 0; i < piece.n; i++) {
        int32_t id = t->bpe.byte_id[(uint8_t)piece.p[i]];
        if (id >= 0)
            add_symbol(t, out, id);
        else
            add_unknown(t, out);
    }
}

/* The character at [i, i + len) with the prefix of inner ones and the suffix of the last one. */
static Str dressed(const Bpe *b, Str piece, size_t i, size_t len, Buf *tmp)
{
    bool inner = i > 0 && b->prefix.n, last = i + len == piece.n && b->suffix.n;
    if (!inner && !last) return str_cut(piece, i, i + len);
    buf_clear(tmp);
    if (inner) buf_str(tmp, b->prefix);
    buf_add(tmp, piece.p + i, len);
    if (last) buf_str(tmp, b->suffix);
    return buf_view(tmp);
}

static void symbols_of_chars(const Tokenizer *t, Str piece, Symbols *out, Buf *tmp)
{
    for (size_t i = 0, len; i < piece.n; i += len) {
        (void)uni_get(piece.p + i, &len);
        Str s = dressed(&t->bpe, piece, i, len, tmp);
        int32_t id = vocab_find(t, s);
        if (id >= 0)
            add_symbol(t, out, id);
        else if (!t->bpe.byte_fallback || !add_bytes(&t->bpe, out, s))
            add_unknown(t, out);
    }
}

/* ---- words ---- */

static void encode_slow(Enc *e, Str piece)
{
    const Tokenizer *t = e->t;
    const Bpe *b = &t->bpe;
    if (b->whole_first) {
        int32_t id = vocab_find(t, piece);
        if (id >= 0) {
            ids_push(e->out, id);
            return;
        }
    }
    /* An unknown character may bring a waiting unk with it, and a dressed one more bytes than it has. */
    size_t room = 2 * piece.n + b->prefix.n * piece.n + b->suffix.n + 2;
    bool small = room <= SMALL;
    int32_t stack[SMALL];
    Symbols out = { .id = stack };
    if (!small) out.id = enc_work(e, room * sizeof *out.id);
    if (t->byte_level)
        symbols_of_bytes(t, piece, &out);
    else
        symbols_of_chars(t, piece, &out, &e->s->marked);
    if (out.unk) out.id[out.n++] = t->unk;
    ids_reserve(e->out, out.n);
    if (out.n <= SMALL) {
        ids_add(e->out, out.id, merge_small(b, out.id, out.n));
        return;
    }
    size_t at = e->out->n; /* the symbols move to the output, so that the work memory is free */
    ids_add(e->out, out.id, out.n);
    void *work = enc_work(e, out.n * (sizeof(Node) + 2 * sizeof(uint64_t)));
    e->out->n = at + merge_large(b, e->out->p + at, out.n, work);
}

/* Reads n <= 15 bytes as a key that is equal for equal words only. */
static inline void word_key(const Enc *e, Str w, uint64_t *lo, uint64_t *hi)
{
    uint64_t k[2] = { 0, 0 };
    if ((uintptr_t)w.p - (uintptr_t)e->wide < e->n_wide) {
        memcpy(k, w.p, 16);
        uint64_t low = w.n >= 8 ? ~0ull : (1ull << 8 * w.n) - 1;
        uint64_t high = w.n > 8 ? (1ull << 8 * (w.n - 8)) - 1 : 0;
        k[0] &= low;
        k[1] &= high;
    } else {
        memcpy(k, w.p, w.n);
    }
    *lo = k[0];
    *hi = k[1] | (uint64_t)w.n << 56;
}

void bpe_encode(Enc *e, Str piece)
{
    if (piece.n > CACHE_WORD) {
        encode_slow(e, piece);
        return;
    }
    uint64_t lo, hi;
    word_key(e, piece, &lo, &hi);
    uint64_t h = (lo ^ hi * 0x9E3779B97F4A7C15u) * 0xBF58476D1CE4E5B9u;
    CacheSlot *slot = &e->s->cache[(h ^ h >> 32) >> 16 & (CACHE_SLOTS - 1)];
    Ids *out = e->out;
    if (slot->lo == lo && slot->hi == hi) {
        if (out->cap - out->n < CACHE_IDS) ids_reserve(out, CACHE_IDS);
        memcpy(out->p + out->n, slot->ids, sizeof slot->ids);
        out->n += (size_t)slot->n;
        return;
    }
    size_t before = out->n;
    encode_slow(e, piece);
    size_t n = out->n - before;
    if (n > CACHE_IDS) return;
    *slot = (CacheSlot){ .lo = lo, .hi = hi, .n = (int32_t)n };
    if (n) memcpy(slot->ids, out->p + before, n * sizeof *slot->ids);
}
