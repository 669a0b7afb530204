/* constrain.c - masks of a sequence under a grammar, and what its grammar forces. See constrain.h.
 *
 * Tokens banned before min_new leave the mask here, unless nothing else is left in it: where the grammar's text is complete the
 * grammar wins. Forced text is only looked for where all allowed tokens may begin alike, which their first and their last
 * tell at once in nearly all places where there is a choice. Thread: engine; before that the submitter's. */
#include "engine/seq.h"

enum { TOKENS_BACK = 2 /* that are encoded again with what is forced: see grammar_forced_tokens */ };

static bool has_bit(const uint32_t *words, int32_t id)
{
    return words[id / 32] >> (id % 32) & 1;
}

static bool any_bit(const uint32_t *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (words[i]) return true;
    return false;
}

/* Whether the mask has nothing but tokens that end the output. */
static bool only_ends(Constrain *c)
{
    if (!grammar_can_end(c->matcher)) return false;
    for (size_t i = 0; i < c->n_words; i++) {
        for (uint32_t bits = c->mask[i]; bits; bits &= bits - 1) {
            int32_t id = (int32_t)(i * 32) + __builtin_ctz(bits);
            bool took = grammar_accept(c->matcher, id), ended = grammar_ended(c->matcher);
            if (took) grammar_rollback(c->matcher, 1);
            if (!ended) return false;
        }
    }
    return true;
}

/* Takes out what may not be drawn as output token n_out, as long as something stays. */
static void ban(const Seq *s, uint32_t *words, size_t n_words, int n_out)
{
    const Sampling *p = &s->sampling;
    int32_t cleared[SEQ_STOP_IDS_MAX];
    int n_cleared = 0;
    for (int i = 0; n_out < p->min_new && i < p->n_stop_ids; i++) {
        int32_t id = p->stop_ids[i];
        if (!has_bit(words, id)) continue;
        words[id / 32] &= ~(1u << (id % 32));
        cleared[n_cleared++] = id;
    }
    if (n_cleared == 0 || any_bit(words, n_words)) return;
    for (int i = 0; i < n_cleared; i++) words[cleared[i] / 32] |= 1u << (cleared[i] % 32);
}

ConstrainState constrain_take(Seq *s)
{
    Constrain *c = &s->constrain;
    if (!c->matcher) return CONSTRAIN_ON;
    if (!grammar_accept(c->matcher, s->tok[s->n_tok - 1])) {
        CHECK(grammar_matcher_failed(c->matcher, NULL)); /* what a mask allows is accepted */
        return CONSTRAIN_FAILED;
    }
    return grammar_ended(c->matcher) ? CONSTRAIN_ENDED : CONSTRAIN_ON;
}

ConstrainState constrain_next(Seq *s)
{
    Constrain *c = &s->constrain;
    if (!c->matcher) return CONSTRAIN_ON;
    if (!grammar_mask(c->matcher, c->mask, c->n_words)) return CONSTRAIN_FAILED;
    if (only_ends(c)) return CONSTRAIN_COMPLETE;
    ban(s, c->mask, c->n_words, seq_n_out(s));
    return CONSTRAIN_ON;
}

ConstrainState constrain_rows(Seq *s, int n_drafts, SampleRow *row)
{
    Constrain *c = &s->constrain;
    size_t taken = 0;
    bool failed = false;
    row[0].allowed = c->mask;
    row[0].n_banned = 0;
    for (int i = 0; i < n_drafts; i++) {
        uint32_t *words = c->mask + (size_t)(i + 1) * c->n_words;
        if (!grammar_accept(c->matcher, s->draft.token[i])) break; /* rows after a wrong guess are never looked at */
        taken++;
        if (grammar_ended(c->matcher) || !grammar_mask(c->matcher, words, c->n_words)) break;
        ban(s, words, c->n_words, seq_n_out(s) + 1 + i);
        row[i + 1].allowed = words;
        row[i + 1].n_banned = 0;
    }
    failed = grammar_matcher_failed(c->matcher, NULL);
    grammar_rollback(c->matcher, taken);
    return failed ? CONSTRAIN_FAILED : CONSTRAIN_ON;
}

int constrain_holds(Seq *s, const int32_t *tok, int n)
{
    return s->constrain.matcher ? (int)grammar_accepts(s->constrain.matcher, tok, (size_t)n) : n;
}

/* The first and the last id of the mask that begin with different bytes, or stand for no text, show that there is a choice. */
static bool may_be_forced(const Constrain *c)
{
    size_t first = 0, last = c->n_words;
    while (first < last && !c->mask[first]) first++;
    while (last > first && !c->mask[last - 1]) last--;
    if (first == last) return false;
    Str a = grammar_vocab_bytes(c->vocab, (int32_t)(first * 32) + __builtin_ctz(c->mask[first]));
    Str b = grammar_vocab_bytes(c->vocab, (int32_t)((last - 1) * 32) + 31 - __builtin_clz(c->mask[last - 1]));
    return a.n && b.n && a.p[0] == b.p[0];
}

static bool stops(const Seq *s, int32_t token)
{
    for (int i = 0; i < s->sampling.n_stop_ids; i++)
        if (s->sampling.stop_ids[i] == token) return true;
    return false;
}

void constrain_forced(Seq *s, int room, Ids *out)
{
    Constrain *c = &s->constrain;
    if (!c->matcher || !c->encode || room <= 0 || s->sampling.n_top_logprobs >= 0) return;
    if (!may_be_forced(c)) return;
    size_t back = (size_t)MIN(seq_n_out(s), TOKENS_BACK), had = out->n, n = 0;
    grammar_forced_tokens(c->matcher, s->tok + s->n_tok - back, back, c->encode, c->encode_arg, out);
    while (had + n < out->n && n < (size_t)room && !stops(s, out->p[had + n])) n++;
    out->n = had + n;
}
