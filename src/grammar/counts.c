/* counts.c - see counts.h. */
#include "grammar/counts.h"

#include <stdlib.h>

#include "grammar/vocab.h"

static ByteSet plain_bytes(void)
{
    ByteSet s = { { 0 } };
    for (unsigned c = 0x20; c <= 0xF4; c++)
        if (c != '"' && c != '\\' && (c < 0x80 || c >= 0xC2)) s.bits[c >> 6] |= 1ull << (c & 63);
    return s;
}

static bool trails(Str s, size_t from, size_t to)
{
    for (size_t i = from; i < to && i < s.n; i++)
        if (((uint8_t)s.p[i] & 0xC0) != 0x80) return false;
    return true;
}

/* How many characters; UINT32_MAX if the token is not plain. Trailing bytes need not be the right ones: nothing that is well formed
 * is counted wrongly, and no mask has the rest. */
static uint32_t plain_chars(const ByteSet *plain, Str s)
{
    uint32_t n = 0;
    for (size_t i = 0; i < s.n; n++) {
        uint8_t c = (uint8_t)s.p[i];
        size_t len = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
        if (!(plain->bits[c >> 6] >> (c & 63) & 1) || !trails(s, i + 1, i + len)) return UINT32_MAX;
        i += len;
    }
    return n;
}

static int by_length(const void *p, const void *q)
{
    const LongToken *a = p, *b = q;
    if (a->bytes != b->bytes) return a->bytes > b->bytes ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

void counts_init(GrammarVocab *v)
{
    size_t words = grammar_mask_words(v), n_long = 0;
    const Trie *t = &v->trie;
    Counts *c = &v->counts;
    c->begins = plain_bytes();
    c->plain = mem_alloc_array(words, sizeof *c->plain);
    c->few = mem_alloc_array(words * COUNTS_MASKED, sizeof *c->few);
    for (uint32_t i = 0; i < t->n_ranked; i++) n_long += grammar_vocab_bytes(v, t->by_rank[i]).n > COUNTS_MASKED;
    c->longest = mem_alloc_array(n_long, sizeof *c->longest);
    for (uint32_t i = 0; i < t->n_ranked; i++) {
        int32_t id = t->by_rank[i];
        Str s = grammar_vocab_bytes(v, id);
        uint32_t n = plain_chars(&c->begins, s), bit = 1u << (id & 31);
        if (s.n > COUNTS_MASKED) c->longest[c->n_long++] = (LongToken){ id, (uint32_t)s.n };
        if (n == UINT32_MAX) continue;
        c->plain[id >> 5] |= bit;
        if (n < COUNTS_MASKED) c->few[n * words + ((size_t)id >> 5)] |= bit;
    }
    for (size_t i = words; i < words * COUNTS_MASKED; i++) c->few[i] |= c->few[i - words];
    if (c->n_long) qsort(c->longest, c->n_long, sizeof *c->longest, by_length);
}

void counts_done(Counts *c)
{
    mem_free(c->plain);
    mem_free(c->few);
    mem_free(c->longest);
}

size_t counts_memory(const GrammarVocab *v)
{
    return grammar_mask_words(v) * sizeof(uint32_t) * (COUNTS_MASKED + 1) + v->counts.n_long * sizeof(LongToken);
}
