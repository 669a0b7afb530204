/* accept.c - what a pass gave, turned into progress and events; finished jobs go home.
 *
 * Thread: engine. Callbacks run inside; they may submit and cancel, because both only write to the inbox. */
#include "engine/core.h"

static void tell(const Seq *q, Event *ev)
{
    ev->job = q->id;
    if (q->on_event) q->on_event(q->ctx, ev);
}

static void put_logprobs(Event *ev, const Seq *q, const SampleOut *out)
{
    ev->logprob = out->logprob;
    ev->n_top = MAX(q->sampling.n_top_logprobs, 0);
    while (ev->n_top > 0 && out->top_id[ev->n_top - 1] < 0) ev->n_top--; /* a mask may leave fewer */
    ev->top_id = out->top_id;
    ev->top_logprob = out->top_logprob;
}

static void count_jump(Engine *e, int n)
{
    e->step.n_tokens += n;
    e->stats.jumped_tokens += (uint64_t)n;
    e->stats.decode_tokens += (uint64_t)n;
}

static bool leave(Batch *b, int which, const Seq *q)
{
    int at = q->entry[which];
    if (at >= b->n || b->entry[at].q != q) return false;
    b->entry[at].q = NULL;
    return true;
}

/* Frees q, or lets it lie until the last pass that it takes part in is over. What it writes to pages that are given away
 * now comes before anything their next owner writes: calls on a device run in order. */
static void bury(Engine *e, Seq *q)
{
    Batch *grave = NULL;
    for (int i = 0; i < 2; i++)
        if (leave(&e->batch[i], i, q) && grave != e->flying) grave = &e->batch[i];
    if (!grave) {
        seq_free(q);
        return;
    }
    q->next = grave->dead;
    grave->dead = q;
}

void accept_end(Engine *e, Seq *q, EndReason reason, int32_t matched, const SampleOut *last)
{
    e->step.n_ended++;
    Err why = e->fault;
    bool refused = reason == END_FAILED && q->constrain.matcher && grammar_matcher_failed(q->constrain.matcher, &why);
    sched_remove(&e->sched, q, reason != END_FAILED);
    seqs_table_remove(&e->table, q->id);
    e->stats.jobs_cancelled += reason == END_CANCELLED || reason == END_TIMEOUT;
    e->stats.jobs_failed += reason == END_FAILED;
    e->stats.jobs_done += reason == END_STOP || reason == END_LENGTH;
    Event ev = { .kind = EV_END,
                 .reason = reason,
                 .matched = matched,
                 .n_prompt = q->n_prompt,
                 .n_cached = q->n_cached,
                 .n_out = seq_n_out(q),
                 .n_preempted = q->n_preempted,
                 .message = reason == END_FAILED ? why.text : NULL,
                 .refused = refused };
    if (last) {
        ev.index = seq_n_out(q) - 1;
        ev.token = matched;
        put_logprobs(&ev, q, last);
    }
    atomic_fetch_sub(&e->n_live, 1);
    tell(q, &ev);
    bury(e, q);
}

void accept_end_all(Engine *e, EndReason reason, uint64_t up_to)
{
    for (uint64_t i = 0; i <= e->table.mask; i++) /* another may move to i */
        while (e->table.slot[i] && e->table.slot[i]->id <= up_to) accept_end(e, e->table.slot[i], reason, -1, NULL);
}

void accept_started(Engine *e, const Batch *b)
{
    for (int i = 0; i < b->n; i++) {
        Seq *q = b->entry[i].q;
        if (q->started) continue;
        q->started = true;
        Event ev = { .kind = EV_STARTED, .n_prompt = q->n_prompt, .n_cached = q->n_cached };
        tell(q, &ev);
        count_jump(e, q->n_untold);
        for (int at = q->n_tok - q->n_untold; at < q->n_tok; at++) {
            Event token = { .kind = EV_TOKEN, .index = at - q->n_prompt, .token = q->tok[at] };
            tell(q, &token);
        }
        q->n_untold = 0;
    }
}

static void accept_prompt(const Entry *entry, const SampleOut *out)
{
    for (int i = 0; i < entry->n_scored; i++) {
        int at = entry->first_scored + i;
        Event ev = { .kind = EV_PROMPT_LOGPROBS, .index = at, .token = entry->q->tok[at] };
        put_logprobs(&ev, entry->q, &out[i]);
        tell(entry->q, &ev);
    }
}

static bool stops(const Seq *q, int32_t token)
{
    for (int i = 0; i < q->sampling.n_stop_ids; i++)
        if (q->sampling.stop_ids[i] == token) return true;
    return false;
}

/* A token of the output, whatever its mask says of the one after it. False: q has ended. */
static bool accept_one(Engine *e, Seq *q, const SampleOut *out)
{
    seq_append(q, out->token);
    ConstrainState state = constrain_take(q);
    if (state == CONSTRAIN_FAILED) {
        accept_end(e, q, END_FAILED, -1, NULL);
        return false;
    }
    if (state == CONSTRAIN_ENDED || stops(q, out->token)) {
        accept_end(e, q, END_STOP, out->token, out);
        return false;
    }
    Event ev = { .kind = EV_TOKEN, .index = seq_n_out(q) - 1, .token = out->token };
    put_logprobs(&ev, q, out);
    tell(q, &ev);
    return true;
}

/* What follows the last token: more, or the end. False: q has ended. */
static bool go_on(Engine *e, Seq *q)
{
    ConstrainState state = constrain_next(q);
    bool full = seq_n_out(q) >= q->sampling.max_new;
    if (state == CONSTRAIN_ON && !full) return true;
    bool stopped = state == CONSTRAIN_COMPLETE;
    accept_end(e, q, state == CONSTRAIN_FAILED ? END_FAILED : stopped ? END_STOP : END_LENGTH, -1, NULL);
    return false;
}

/* A token that was drawn. False: q has ended. */
static bool accept_token(Engine *e, Seq *q, const SampleOut *out)
{
    e->step.n_tokens++;
    return accept_one(e, q, out) && go_on(e, q);
}

/* A pass under way draws for q what is known by now, and perhaps spelt otherwise: that does not count. */
static void drop_draw(Engine *e, Seq *q)
{
    if (q->n_drawing == 0) return;
    int which = (int)(e->flying - e->batch);
    Entry *entry = &e->flying->entry[q->entry[which]];
    CHECK(entry->q == q && entry->draws && q->n_drawing == 1);
    e->flying->n_decode -= entry->decodes;
    e->flying->n_prefill += entry->decodes;
    entry->draws = entry->decodes = false;
    q->n_drawing = 0;
}

typedef enum { JUMP_NONE, JUMP_DONE, JUMP_ENDED } Jump;

/* Jump-forward: text that the grammar forces joins the output at once, as the tokenizer would write it, and is computed in one
 * piece with the next pass. ENDED: so has q. */
static Jump jump(Engine *e, Seq *q)
{
    e->forced.n = 0;
    constrain_forced(q, q->sampling.max_new - seq_n_out(q), &e->forced);
    int n = (int)e->forced.n;
    if (n == 0) return JUMP_NONE;
    drop_draw(e, q);
    count_jump(e, n);
    for (int i = 0; i < n; i++)
        if (!accept_one(e, q, &(SampleOut){ .token = e->forced.p[i] })) return JUMP_ENDED;
    return go_on(e, q) ? JUMP_DONE : JUMP_ENDED;
}

/* The draw after a guess counts if the guess was what was drawn: then the pass has computed just what one without guesses
 * would have computed next. The first that differs is still a draw after known tokens alone; so is one after which text is
 * forced, and what was guessed behind that text is left. */
static void accept_drawn(Engine *e, Seq *q, int n_drafts, const SampleOut *out)
{
    q->n_drawing--;
    e->stats.drafted_tokens += (uint64_t)n_drafts;
    for (int i = 0;; i++) {
        bool holds = i < n_drafts && out[i].token == q->draft.token[i];
        q->n_computed += holds;
        e->stats.accepted_tokens += holds;
        e->stats.decode_tokens += holds;
        if (!accept_token(e, q, &out[i])) return;
        Jump jumped = jump(e, q);
        if (jumped == JUMP_ENDED) return;
        if (!holds || jumped) break;
    }
    if (n_drafts) sched_trim(&e->sched, q);
}

void accept_tokens(Engine *e, Batch *b)
{
    const SampleOut *out = b->out;
    for (int i = 0; i < b->n; i++) {
        const Entry *entry = &b->entry[i];
        const SampleOut *own = out;
        out += entry->n_logits;
        if (!entry->q) continue;
        accept_prompt(entry, own);
        if (entry->draws)
            accept_drawn(e, entry->q, entry->n_drafts, own + entry->n_scored);
        else if (entry->fills_last)
            accept_end(e, entry->q, END_LENGTH, -1, NULL);
    }
}
