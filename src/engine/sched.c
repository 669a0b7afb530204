/* sched.c - the pages of sequences, and the pass they run in.
 *
 * A running sequence holds pages for all its known tokens; a waiting one holds nothing. Each pass: (1) every running
 * sequence gets the page for its next token, which may preempt others; (2) all that decode get a row, then
 * prompts that are being filled get chunks; (3) waiting jobs are admitted while rows and pages last (admit.c). A preempted
 * sequence leaves what it computed in the tree and waits again at its old place; when it comes back, its prompt and
 * output are computed again as far as the tree has forgotten them.
 * Invariants: (1) with one sequence running, pages never run out, because a job that could not run alone was refused; so
 * somebody always advances; (2) a parked sequence's leader runs. Thread: engine. */
#include "engine/sched.h"

#include "engine/admit.h"

/* ---- parked sequences ---- */

static void unpark(Sched *s, Seq *q)
{
    Seq *leader = q->leader;
    *(q->prev ? &q->prev->next : &leader->followers) = q->next;
    if (q->next) q->next->prev = q->prev;
    q->leader = q->next = q->prev = NULL;
    s->n_parked--;
}

/* Followers whose shared pages are in the tree now go back to the queue, at their old place. */
static void release_followers(Sched *s, Seq *leader, int n_pages)
{
    for (Seq *q = leader->followers, *next; q; q = next) {
        next = q->next;
        if (q->wait_pages > n_pages) continue;
        unpark(s, q);
        q->state = SEQ_WAITING;
        seqs_heap_push(&s->waiting, q);
        s->blocked = 0;
    }
}

/* ---- pages of a running sequence ---- */

static void remember(Sched *s, Seq *q)
{
    int before = q->prefix.n_tok;
    CHECK(q->n_computed <= q->n_tok); /* a token that is being drawn is known before its position's pass is over */
    q->prefix = kv_remember(s->kv, q->salt, q->prefix, q->tok, q->n_computed, q->pages);
    if (q->prefix.n_tok != before) q->pages_version++;
}

static void release_pages(Sched *s, Seq *q, bool keep)
{
    if (keep) remember(s, q);
    int kept = q->prefix.n_tok / KV_PAGE_TOKENS;
    kv_unpin(s->kv, q->prefix);
    kv_give_back(s->kv, q->n_pages - kept, q->pages + kept);
    q->prefix = (KvPrefix){ NULL, 0 };
    q->n_pages = q->n_computed = 0;
    q->pages_version++;
}

static void stop_filling(Sched *s, const Seq *q)
{
    int n = 0;
    for (int i = 0; i < s->n_filling; i++)
        if (s->filling[i] != q) s->filling[n++] = s->filling[i];
    s->n_filling = n;
}

static void stop_running(Sched *s, Seq *q, bool keep)
{
    Seq *last = s->running[--s->n_running];
    s->running[q->running_at] = last;
    last->running_at = q->running_at;
    stop_filling(s, q);
    release_pages(s, q, keep);
    release_followers(s, q, INT32_MAX);
    s->blocked = 0;
}

void sched_preempt(Sched *s, Seq *q)
{
    stop_running(s, q, true);
    q->state = SEQ_WAITING;
    q->n_preempted++;
    s->n_preempted++;
    s->growth = MIN(1.0f, s->growth + 0.1f);
    seqs_heap_push(&s->waiting, q);
}

Seq *sched_weakest(const Sched *s)
{
    Seq *worst = NULL;
    for (int i = 0; i < s->n_running; i++) {
        Seq *q = s->running[i];
        if (!worst || q->priority < worst->priority || (q->priority == worst->priority && q->arrival > worst->arrival))
            worst = q;
    }
    return worst;
}

/* Every running sequence gets the page that its next token needs. */
static void secure_pages(Sched *s)
{
    for (int i = 0; i < s->n_running; i++) {
        Seq *q = s->running[i];
        int missing = seq_pages_for(seq_n_positions(q)) - q->n_pages;
        if (missing <= 0) continue;
        Seq *victim = NULL;
        while (victim != q && !kv_take(s->kv, missing, q->pages + q->n_pages)) {
            CHECK(s->n_running > 1);
            victim = sched_weakest(s);
            sched_preempt(s, victim);
        }
        if (victim != q) q->n_pages += missing;
        if (victim) i = -1; /* the order has changed: look at all again */
    }
}

/* ---- the pass ---- */

void sched_give_rows(Sched *s, Seq *q)
{
    int n = MIN(MIN(seq_rows_left(q), s->limits.chunk_tokens), s->rows_left);
    int n_logits;
    while (n > 0 && (n_logits = seq_logits_in(q, n)) > s->logits_left)
        n -= n_logits - s->logits_left; /* a row less is at most one logit row less */
    if (n <= 0) return;
    q->n_rows = n;
    q->n_logits = n_logits;
    s->rows_left -= n;
    s->logits_left -= n_logits;
    s->pick[s->n_pick++] = q;
}

/* More sequences than rows: serve them in a circle, so that each has its turn. */
static void serve_in_turn(Sched *s)
{
    int n = s->n_running, start = n ? s->cursor % n : 0;
    for (int i = 0; i < n && s->rows_left > 0; i++) {
        int at = (start + i) % n;
        sched_give_rows(s, s->running[at]);
        s->cursor = at + 1;
    }
}

/* n_decode: rows of those that decode. */
static void count_running(const Sched *s, int *n_decode, int *n_fill)
{
    *n_decode = *n_fill = 0;
    for (int i = 0; i < s->n_running; i++) {
        int left = seq_rows_left(s->running[i]);
        bool decodes = seq_decodes(s->running[i]);
        *n_decode += decodes ? left : 0;
        *n_fill += left > 1 && !decodes;
    }
}

static void serve_decoding(Sched *s)
{
    for (int i = 0; i < s->n_running; i++)
        if (s->running[i]->n_rows == 0 && seq_decodes(s->running[i])) sched_give_rows(s, s->running[i]);
}

static void serve_filling(Sched *s)
{
    for (int i = 0; i < s->n_running && s->rows_left > 0; i++)
        if (s->running[i]->n_rows == 0 && !seq_decodes(s->running[i])) sched_give_rows(s, s->running[i]);
}

/* Those that decode, and beside them prompts while rows last: a share of the pass is theirs in any case. */
static void pick_mixed(Sched *s)
{
    int n_decode, n_fill, mixed = s->limits.mixed_tokens;
    count_running(s, &n_decode, &n_fill);
    if (n_decode + (n_fill > 0) > s->rows_left) {
        serve_in_turn(s);
    } else {
        if (n_decode) s->rows_left = MIN(s->rows_left, MAX(mixed, n_decode + mixed / 4));
        if (n_decode) serve_decoding(s);
        if (n_fill) serve_filling(s);
    }
    admit_waiting(s);
}

/* Prompts, or else those that decode. */
static void pick_prefill_first(Sched *s)
{
    int n_decode, n_fill;
    count_running(s, &n_decode, &n_fill);
    if (n_fill) serve_filling(s);
    admit_waiting(s);
    if (s->n_pick > 0 || n_decode == 0) return;
    if (n_decode > s->rows_left)
        serve_in_turn(s);
    else
        serve_decoding(s);
}

int sched_pick(Sched *s)
{
    s->n_pick = 0;
    s->rows_left = s->limits.max_batch_tokens;
    s->logits_left = s->limits.max_logits;
    s->growth = MAX(0.1f, s->growth * 0.998f);
    secure_pages(s);
    admit_by_priority(s);
    if (s->limits.prefill_first)
        pick_prefill_first(s);
    else
        pick_mixed(s);
    return s->n_pick;
}

void sched_computed(Sched *s, Seq *q)
{
    int whole = q->n_prompt / KV_PAGE_TOKENS, before = q->prefix.n_tok / KV_PAGE_TOKENS;
    if (before >= whole || !s->limits.use_radix) return;
    remember(s, q);
    int after = q->prefix.n_tok / KV_PAGE_TOKENS;
    if (after > before) release_followers(s, q, after);
    if (after >= whole) stop_filling(s, q);
}

void sched_trim(Sched *s, Seq *q)
{
    int needed = seq_pages_for(seq_n_positions(q));
    if (q->n_pages <= needed) return;
    kv_give_back(s->kv, q->n_pages - needed, q->pages + needed);
    q->n_pages = needed;
    q->pages_version++;
}

/* ---- coming and going ---- */

void sched_add(Sched *s, Seq *q)
{
    if (s->turn_served) {
        s->turn++;
        s->turn_served = false;
    }
    q->arrival = s->n_arrived++;
    q->turn = s->turn;
    q->state = SEQ_WAITING;
    seqs_heap_push(&s->waiting, q);
    if (q->deadline_ns) seqs_heap_push(&s->deadlines, q);
    if (s->waiting.at[0] == q) s->blocked = 0;
}

void sched_remove(Sched *s, Seq *q, bool keep)
{
    seqs_heap_remove(&s->deadlines, q);
    if (q->state == SEQ_RUNNING)
        stop_running(s, q, keep);
    else if (q->state == SEQ_PARKED)
        unpark(s, q);
    else
        seqs_heap_remove(&s->waiting, q);
}

Seq *sched_expired(Sched *s, int64_t now_ns)
{
    return s->deadlines.n && s->deadlines.at[0]->deadline_ns <= now_ns ? s->deadlines.at[0] : NULL;
}

void sched_init(Sched *s, const SchedLimits *limits, Kv *kv)
{
    *s = (Sched){ .limits = *limits, .kv = kv, .growth = 0.6f };
    static const SeqOrder orders[] = {
        [POLICY_FCFS] = ORDER_ARRIVAL, [POLICY_LPM] = ORDER_CLASS, [POLICY_LOF] = ORDER_LENGTH
    };
    seqs_heap_init(&s->waiting, HEAP_WAITING, orders[limits->policy], limits->max_jobs);
    seqs_heap_init(&s->deadlines, HEAP_DEADLINE, ORDER_ARRIVAL, limits->max_jobs);
    s->running = mem_alloc_array((size_t)limits->max_running, sizeof(Seq *));
    s->filling = mem_alloc_array((size_t)limits->max_running, sizeof(Seq *));
    s->pick = mem_alloc_array((size_t)limits->max_running, sizeof(Seq *));
}

void sched_done(Sched *s)
{
    seqs_heap_done(&s->waiting);
    seqs_heap_done(&s->deadlines);
    mem_free(s->running);
    mem_free(s->filling);
    mem_free(s->pick);
}

/* ---- verify ---- */

static void verify_running(const Sched *s, const Seq *q, uint8_t *seen)
{
    int kept = q->prefix.n_tok / KV_PAGE_TOKENS;
    CHECK(q->state == SEQ_RUNNING && q->heap_at[HEAP_WAITING] < 0);
    CHECK(q->n_computed <= seq_n_positions(q) && (q->n_drawing > 0 || seq_rows_left(q) > 0 || !q->sampling.max_new));
    CHECK(seq_n_planned(q) <= q->n_prompt + q->sampling.max_new && q->n_drawing <= 1);
    CHECK(q->prefix.n_tok <= q->n_computed && q->n_computed <= q->n_pages * KV_PAGE_TOKENS);
    CHECK(q->n_rows == 0 && q->n_drafts == 0 && q->next_logprob >= MIN(q->n_computed + 1, q->n_prompt));
    for (int i = kept; i < q->n_pages; i++) {
        int32_t page = q->pages[i];
        CHECK(!seen[page]); /* a page that was taken is one sequence's alone */
        seen[page] = 1;
    }
    for (const Seq *f = q->followers; f; f = f->next) {
        CHECK(f->state == SEQ_PARKED && f->leader == q && f->wait_pages > kept);
        CHECK(!f->next || f->next->prev == f);
    }
    (void)s;
}

void sched_verify(const Sched *s)
{
    KvStats kv = kv_stats(s->kv);
    uint8_t *seen = mem_alloc((size_t)kv.n_pages);
    int n_taken = 0, n_parked = 0;
    for (int i = 0; i < s->n_running; i++) {
        const Seq *q = s->running[i];
        CHECK(q->running_at == i);
        verify_running(s, q, seen);
        n_taken += q->n_pages - q->prefix.n_tok / KV_PAGE_TOKENS;
        for (const Seq *f = q->followers; f; f = f->next) n_parked++;
    }
    CHECK(n_taken == kv.n_taken && n_parked == s->n_parked); /* so nobody else holds a page */
    CHECK(s->n_running > 0 || kv.n_pinned == 0);
    for (int i = 0; i < s->waiting.n; i++) {
        const Seq *q = s->waiting.at[i];
        CHECK(q->state == SEQ_WAITING && q->heap_at[HEAP_WAITING] == i && q->n_pages == 0 && !q->followers);
    }
    for (int i = 0; i < s->n_filling; i++) {
        const Seq *q = s->filling[i];
        CHECK(q->state == SEQ_RUNNING && q->prefix.n_tok / KV_PAGE_TOKENS < q->n_prompt / KV_PAGE_TOKENS);
    }
    mem_free(seen);
}
