/* seq.c - makes a Seq of a Job, and answers questions about one.
 *
 * seq_new runs on the submitter's thread: it checks, copies and hashes there, so that the engine's thread receives
 * something ready. Afterwards a Seq belongs to the engine's thread. */
#include "engine/seq.h"

#include <math.h>

enum { BIAS_MAX = 4096 };

Sampling sampling_default(void)
{
    return (Sampling){ .temperature = 1.0f,
                       .top_p = 1.0f,
                       .repetition = 1.0f,
                       .max_new = 16,
                       .n_top_logprobs = -1,
                       .prompt_logprobs_from = -1 };
}

/* ---- checks ---- */

static Status check_sampling(const Sampling *p, int n_vocab, Err *err)
{
    if (!(p->temperature >= 0 && p->temperature <= 1e6f))
        return fail(err, E_INVALID, "temperature must be a number from 0 up, not %g", (double)p->temperature);
    if (!(p->top_p > 0 && p->top_p <= 1))
        return fail(err, E_INVALID, "top_p must be above 0 and at most 1, not %g", (double)p->top_p);
    if (!(p->min_p >= 0 && p->min_p <= 1))
        return fail(err, E_INVALID, "min_p must be between 0 and 1, not %g", (double)p->min_p);
    if (p->top_k < 0) return fail(err, E_INVALID, "top_k must be positive, or 0 for off, not %d", p->top_k);
    if (!isfinite(p->frequency) || !isfinite(p->presence))
        return fail(err, E_INVALID, "frequency and presence penalties must be finite numbers");
    if (!(p->repetition > 0 && p->repetition <= 1e6f))
        return fail(err, E_INVALID, "repetition penalty must be above 0, not %g", (double)p->repetition);
    if (p->n_top_logprobs < -1 || p->n_top_logprobs > SAMPLE_TOP_MAX)
        return fail(err, E_INVALID, "at most %d top logprobs can be had, not %d", SAMPLE_TOP_MAX, p->n_top_logprobs);
    if (p->n_bias < 0 || p->n_bias > BIAS_MAX)
        return fail(err, E_INVALID, "logit_bias may name at most %d tokens, not %d", BIAS_MAX, p->n_bias);
    for (int i = 0; i < p->n_bias; i++)
        if (p->bias[i].id < 0 || p->bias[i].id >= n_vocab || !isfinite(p->bias[i].add))
            return fail(err, E_INVALID, "logit_bias names token %d; ids go from 0 to %d, biases must be finite",
                        p->bias[i].id, n_vocab - 1);
    if (p->n_stop_ids < 0 || p->n_stop_ids > SEQ_STOP_IDS_MAX)
        return fail(err, E_INVALID, "at most %d stop token ids may be given, not %d", SEQ_STOP_IDS_MAX, p->n_stop_ids);
    return OK;
}

static size_t mask_words(const ModelInfo *m)
{
    return ((size_t)m->n_vocab + 31) / 32;
}

static Status check_job(const Job *job, const ModelInfo *m, Err *err)
{
    const Sampling *p = &job->sampling;
    if (job->n_prompt < 1) return fail(err, E_INVALID, "the prompt is empty: give at least one token");
    if (job->n_prompt > m->context_length)
        return fail(err, E_INVALID, "the prompt has %d tokens, but the model's context holds %d: shorten the prompt",
                    job->n_prompt, m->context_length);
    for (int i = 0; i < job->n_prompt; i++)
        if (job->prompt[i] < 0 || job->prompt[i] >= m->n_vocab)
            return fail(err, E_INVALID, "token %d of the prompt is %d; ids go from 0 to %d", i, job->prompt[i],
                        m->n_vocab - 1);
    if (p->max_new < 0) return fail(err, E_INVALID, "max_tokens must not be negative, but is %d", p->max_new);
    if (p->max_new > m->context_length - job->n_prompt)
        return fail(
            err, E_INVALID,
            "the prompt's %d tokens and %d new ones are more than the model's context of %d: shorten the prompt "
            "or ask for at most %d new tokens",
            job->n_prompt, p->max_new, m->context_length, m->context_length - job->n_prompt);
    if (p->min_new < 0 || p->min_new > p->max_new)
        return fail(err, E_INVALID, "min_tokens must lie between 0 and max_tokens (%d), but is %d", p->max_new,
                    p->min_new);
    int room = m->n_pages * KV_PAGE_TOKENS, stored = job->n_prompt + MAX(p->max_new - 1, 0);
    if (stored > room)
        return fail(
            err, E_INVALID,
            "the prompt's %d tokens and %d new ones do not fit into the KV cache of %d tokens: ask for fewer, or "
            "start the server with more",
            job->n_prompt, p->max_new, room);
    if (p->prompt_logprobs_from < -1 || p->prompt_logprobs_from > job->n_prompt)
        return fail(err, E_INVALID, "logprobs of the prompt were asked from position %d of %d", p->prompt_logprobs_from,
                    job->n_prompt);
    if (job->grammar && grammar_mask_words(grammar_vocab_of(job->grammar)) > mask_words(m))
        return fail(err, E_INVALID, "the constraint was made for a tokenizer of more ids than the model has");
    return check_sampling(p, m->n_vocab, err);
}

/* ---- counts ---- */

static TokenCount *count_of(SeqCounts *c, int32_t token)
{
    uint64_t at = hash_mix((uint64_t)(uint32_t)token + 1);
    for (;; at++) {
        int32_t *slot = &c->slot[at & (uint64_t)c->mask];
        if (*slot == 0) {
            c->list[c->n] = (TokenCount){ .id = token };
            *slot = ++c->n;
        }
        TokenCount *t = &c->list[*slot - 1];
        if (t->id == token) return t;
    }
}

void seq_append(Seq *s, int32_t token)
{
    s->tok[s->n_tok++] = token;
    if (s->draft.slot) draft_add(&s->draft, s->tok, s->n_tok);
    if (!s->counts.list) return;
    TokenCount *c = count_of(&s->counts, token);
    if (c->n_out < UINT16_MAX) c->n_out++;
}

/* ---- making one ---- */

/* Offsets of the parts behind the struct; sizes are bounded by check_job. */
typedef struct {
    size_t tok, pages, hash, bias, stop, mask_at, draft, list, slot, end;
    int mask, n_draft_slots;
} Layout;

static bool has_penalty(const Sampling *p)
{
    return p->frequency != 0 || p->presence != 0 || p->repetition != 1;
}

static size_t part(size_t *end, size_t count, size_t size)
{
    size_t at = *end;
    *end += (count * size + 15) / 16 * 16;
    return at;
}

static Layout layout(const Job *job, const ModelInfo *m, bool drafts)
{
    Layout l = { .end = (sizeof(Seq) + 15) / 16 * 16 };
    size_t n_tok = (size_t)job->n_prompt + (size_t)job->sampling.max_new;
    l.tok = part(&l.end, n_tok, sizeof(int32_t));
    l.pages = part(&l.end, (n_tok + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS, sizeof(int32_t));
    l.hash = part(&l.end, (size_t)job->n_prompt / KV_PAGE_TOKENS, sizeof(uint64_t));
    l.bias = part(&l.end, (size_t)job->sampling.n_bias, sizeof(LogitBias));
    l.stop = part(&l.end, (size_t)job->sampling.n_stop_ids, sizeof(int32_t));
    bool penalty = has_penalty(&job->sampling);
    if (drafts && !penalty) /* see seq_may_draft */
        l.n_draft_slots = draft_n_slots((int)n_tok);
    l.draft = part(&l.end, (size_t)l.n_draft_slots, sizeof(int32_t));
    size_t n_masks = !job->grammar ? 0 : l.n_draft_slots ? 1 + DRAFT_MAX : 1;
    l.mask_at = part(&l.end, n_masks * mask_words(m), sizeof(uint32_t));
    if (!penalty) return l;
    for (l.mask = 15; (size_t)l.mask < 2 * n_tok;) l.mask = l.mask * 2 + 1;
    l.list = part(&l.end, n_tok, sizeof(TokenCount));
    l.slot = part(&l.end, (size_t)l.mask + 1, sizeof(int32_t));
    return l;
}

static void copy_sampling(Seq *s, const Job *job, int n_vocab, char *block, const Layout *l)
{
    s->sampling = job->sampling;
    LogitBias *bias = (LogitBias *)(void *)(block + l->bias);
    int32_t *stop = (int32_t *)(void *)(block + l->stop);
    if (s->sampling.n_bias) memcpy(bias, job->sampling.bias, (size_t)s->sampling.n_bias * sizeof *bias);
    s->sampling.n_stop_ids = 0;
    for (int i = 0; i < job->sampling.n_stop_ids; i++) { /* ids outside the vocabulary can never be drawn */
        int32_t id = job->sampling.stop_ids[i];
        if (id >= 0 && id < n_vocab) stop[s->sampling.n_stop_ids++] = id;
    }
    s->sampling.bias = bias;
    s->sampling.stop_ids = stop;
    if (!l->mask) return;
    s->counts.list = (TokenCount *)(void *)(block + l->list);
    s->counts.slot = (int32_t *)(void *)(block + l->slot);
    s->counts.mask = l->mask;
    memset(s->counts.slot, 0, ((size_t)l->mask + 1) * sizeof *s->counts.slot);
    for (int i = 0; i < s->n_prompt; i++) count_of(&s->counts, s->tok[i])->in_prompt = 1;
}

static void index_prompt(Seq *s, int32_t *slot, int n_slots)
{
    if (!n_slots) return;
    draft_init(&s->draft, slot, n_slots);
    for (int n = 1; n <= s->n_prompt; n++) draft_add(&s->draft, s->tok, n);
}

/* The first mask, and the text that the output must begin with, less a token that is drawn in any case. */
static Status begin_output(Seq *s, const Job *job, size_t n_words, bool jumps, uint32_t *mask, Err *err)
{
    Constrain *c = &s->constrain;
    Ids forced = { 0 };
    *c = (Constrain){ .mask = mask, .n_words = n_words, .encode_arg = job->encode_arg };
    c->encode = jumps ? job->encode : NULL;
    c->vocab = grammar_vocab_of(job->grammar);
    c->matcher = grammar_matcher_new(job->grammar);
    ConstrainState state = constrain_next(s);
    if (state == CONSTRAIN_ON && job->sampling.prompt_logprobs_from < 0)
        constrain_forced(s, job->sampling.max_new - 1, &forced);
    for (size_t i = 0; i < forced.n && state == CONSTRAIN_ON; i++) {
        seq_append(s, forced.p[i]);
        s->n_untold++;
        state = constrain_take(s);
    }
    if (forced.n && state == CONSTRAIN_ON) state = constrain_next(s);
    ids_free(&forced);
    if (state != CONSTRAIN_FAILED) return OK;
    grammar_matcher_failed(c->matcher, err);
    return err->status;
}

Status seq_new(const Job *job, const ModelInfo *m, const EngineOptions *o, Seq **out, Err *err)
{
    TRY(check_job(job, m, err));
    Layout l = layout(job, m, o->draft_tokens > 0);
    char *block = mem_grow(NULL, l.end); /* not zeroed: pages of a long output that never comes stay untouched */
    Seq *s = (Seq *)(void *)block;
    *s = (Seq){ .state = SEQ_NEW,
                .tok = (int32_t *)(void *)(block + l.tok),
                .pages = (int32_t *)(void *)(block + l.pages),
                .page_hash = (uint64_t *)(void *)(block + l.hash),
                .n_prompt = job->n_prompt,
                .n_tok = job->n_prompt,
                .salt = job->salt,
                .priority = job->priority,
                .deadline_ns = job->deadline_ns,
                .next_logprob = job->n_prompt,
                .on_event = job->on_event,
                .ctx = job->ctx,
                .heap_at = { -1, -1 } };
    memcpy(s->tok, job->prompt, (size_t)job->n_prompt * sizeof *s->tok);
    uint64_t hash = hash_mix(job->salt + 1);
    for (int i = 0; i < s->n_prompt / KV_PAGE_TOKENS; i++)
        s->page_hash[i] = hash = hash_bytes(s->tok + (size_t)i * KV_PAGE_TOKENS, KV_PAGE_TOKENS * sizeof *s->tok, hash);
    copy_sampling(s, job, m->n_vocab, block, &l);
    index_prompt(s, (int32_t *)(void *)(block + l.draft), l.n_draft_slots);
    if (job->sampling.prompt_logprobs_from >= 0) s->next_logprob = MAX(job->sampling.prompt_logprobs_from, 1);
    Status status = OK;
    if (job->grammar && job->sampling.max_new > 0)
        status = begin_output(s, job, mask_words(m), !o->no_jump, (uint32_t *)(void *)(block + l.mask_at), err);
    if (status != OK) seq_free(s);
    *out = status == OK ? s : NULL;
    return status;
}

void seq_free(Seq *s)
{
    grammar_matcher_free(s->constrain.matcher);
    mem_free(s);
}

/* ---- questions ---- */

int seq_usable_prefix(const Seq *s)
{
    return s->next_logprob < s->n_prompt ? s->next_logprob - 1 : seq_n_positions(s) - 1;
}

int seq_shared_pages(const Seq *a, const Seq *b, int known)
{
    int low = known, high = MIN(a->n_prompt, b->n_prompt) / KV_PAGE_TOKENS;
    while (low < high) { /* equal up to low, differing (or at the end) somewhere in (low, high] */
        int mid = low + (high - low + 1) / 2;
        if (a->page_hash[mid - 1] == b->page_hash[mid - 1])
            low = mid;
        else
            high = mid - 1;
    }
    return low;
}

int seq_first_scored(const Seq *s)
{
    return MAX(s->n_computed, s->next_logprob - 1);
}

int seq_logits_in(const Seq *s, int n_rows)
{
    int end = s->n_computed + n_rows; /* positions before it */
    int n = MIN(end, s->n_prompt - 1) - seq_first_scored(s);
    return MAX(n, 0) + (end == seq_n_planned(s) && s->sampling.max_new > 0);
}

void seq_sample_row(const Seq *s, int32_t target, int n_out, int n_vocab, SampleRow *row)
{
    const Sampling *p = &s->sampling;
    bool too_early = n_out < p->min_new;
    *row = (SampleRow){ .temperature = p->temperature,
                        .top_p = p->top_p,
                        .min_p = p->min_p,
                        .top_k = p->top_k,
                        .frequency = p->frequency,
                        .presence = p->presence,
                        .repetition = p->repetition,
                        .seed = p->seed,
                        .counter = (uint64_t)n_out,
                        .seen = s->counts.list,
                        .n_seen = s->counts.n,
                        .bias = p->bias,
                        .n_bias = p->n_bias,
                        .banned = p->stop_ids,
                        .n_banned = too_early ? p->n_stop_ids : 0,
                        .n_vocab = n_vocab,
                        .target = target,
                        .want_logprob = target >= 0 || p->n_top_logprobs >= 0,
                        .n_top = MAX(p->n_top_logprobs, 0) };
}
