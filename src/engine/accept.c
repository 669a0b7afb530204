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
    ev->top_id = out->top_id;
    ev->top_logprob = out->top_logprob;
}

void accept_end(Engine *e, Seq *q, EndReason reason, int32_t matched, const SampleOut *last)
{
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
                 .message = reason == END_FAILED ? e->fault.text : NULL };
    if (last) {
        ev.index = seq_n_out(q) - 1;
        ev.token = matched;
        put_logprobs(&ev, q, last);
    }
    atomic_fetch_sub(&e->n_live, 1);
    tell(q, &ev);
    seq_free(q);
}

void accept_end_all(Engine *e, EndReason reason, uint64_t up_to)
{
    for (uint64_t i = 0; i <= e->table.mask; i++) /* another may move to i */
        while (e->table.slot[i] && e->table.slot[i]->id <= up_to) accept_end(e, e->table.slot[i], reason, -1, NULL);
}

void accept_started(Engine *e)
{
    for (int i = 0; i < e->sched.n_pick; i++) {
        Seq *q = e->sched.pick[i];
        if (q->started) continue;
        q->started = true;
        Event ev = { .kind = EV_STARTED, .n_prompt = q->n_prompt, .n_cached = q->n_cached };
        tell(q, &ev);
    }
}

/* The rows of prompt positions whose logprobs were asked for. Returns how many there were. */
static int accept_prompt(Seq *q, const SampleOut *out)
{
    int n = 0;
    for (; q->next_logprob < q->n_prompt && q->next_logprob <= q->n_computed; q->next_logprob++, n++) {
        Event ev = { .kind = EV_PROMPT_LOGPROBS, .index = q->next_logprob, .token = q->tok[q->next_logprob] };
        put_logprobs(&ev, q, &out[n]);
        tell(q, &ev);
    }
    return n;
}

static bool stops(const Seq *q, int32_t token)
{
    for (int i = 0; i < q->sampling.n_stop_ids; i++)
        if (q->sampling.stop_ids[i] == token) return true;
    return false;
}

static void accept_drawn(Engine *e, Seq *q, const SampleOut *out)
{
    seq_append(q, out->token);
    if (stops(q, out->token)) {
        accept_end(e, q, END_STOP, out->token, out);
        return;
    }
    Event ev = { .kind = EV_TOKEN, .index = seq_n_out(q) - 1, .token = out->token };
    put_logprobs(&ev, q, out);
    tell(q, &ev);
    if (seq_n_out(q) == q->sampling.max_new) accept_end(e, q, END_LENGTH, -1, NULL);
}

void accept_tokens(Engine *e)
{
    const SampleOut *out = e->batch.out;
    for (int i = 0; i < e->sched.n_pick; i++) {
        Seq *q = e->sched.pick[i];
        const SampleOut *own = out;
        out += q->n_logits;
        q->n_computed += q->n_rows;
        sched_computed(&e->sched, q);
        own += accept_prompt(q, own);
        if (q->n_computed < q->n_tok) continue;
        if (q->sampling.max_new == 0)
            accept_end(e, q, END_LENGTH, -1, NULL);
        else
            accept_drawn(e, q, own);
    }
}
