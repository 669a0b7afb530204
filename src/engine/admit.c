/* admit.c - lets waiting jobs begin: in which order, and whether there is room.
 *
 * Order: higher priority first; then as the queue has them (seqs.h). lpm takes the one with the longest prefix in
 * the tree out of the first WINDOW of the queue, so that it runs before the prefix is evicted. Nobody is passed over more
 * than PATIENCE times, and who does not fit is not overtaken at all: the queue's head always gets in at last.
 * lpm and lof queue those that waited together (a turn) by length: a long one that begins last runs on when all
 * others are done, and the device idles. Only a known length counts. New jobs go to a later turn, so nobody starves.
 * Sharing: a job whose next page is just being computed by a running one is parked until that page and all further ones
 * they share are in the tree; a thousand equal prompts are computed once.
 * Room: the pages of all known tokens now, and a forecast that what runs can grow to its end, counting what ends on the
 * way. Where no token can end a job its end is known, and then nobody is preempted; where one can, it is a guess: if it was
 * wrong somebody is preempted, and the guess becomes more careful. */
#include "engine/admit.h"

enum {
    WINDOW = 64,   /* jobs that lpm compares */
    PATIENCE = 16, /* times that a job may be overtaken */
    RETRY = 8,     /* passes between two looks at a queue whose head does not fit */
    BUCKETS = 128, /* of the forecast's time axis */
    GUESS_MAX = 4096
};

/* ---- room ---- */

/* How many positions q will still add to those that its pages hold. */
static int guess_growth(const Sched *s, const Seq *q)
{
    int allowed = q->n_prompt + MAX(q->sampling.max_new - 1, 0) - seq_n_positions(q);
    return seq_length_known(q) ? allowed : (int)(s->growth * (float)MIN(allowed, GUESS_MAX));
}

/* Passes from now until its pages come home. A prompt in chunks is behind those that draw a token in each, and an engine that is
 * ahead learns of an end a pass later. */
static int guess_end(const Sched *s, const Seq *q, int n_computed)
{
    const SchedLimits *l = &s->limits;
    int chunk = MIN(l->prefill_first ? l->max_batch_tokens : MAX(l->mixed_tokens / 4, 1), l->chunk_tokens);
    return guess_growth(s, q) + l->ahead + (seq_n_positions(q) - n_computed) / chunk;
}

/* Sums over the sequences that end in one bucket of the forecast. */
typedef struct {
    int64_t n, now, at_end, held, shared; /* pages: of known tokens, at the end, held now, of these the tree's */
} Ending;

static void add_ending(Ending *e, const Sched *s, const Seq *q, int n_held, int n_shared)
{
    e->n++;
    e->now += seq_pages_for(seq_n_positions(q));
    e->at_end += seq_pages_for(seq_n_positions(q) + guess_growth(s, q));
    e->held += n_held;
    e->shared += n_shared;
}

/* Would the pages last if c, of which the tree knows `known` pages, took `need` more? Time is cut into buckets of whole
 * pages, so that by the end of one each sequence has grown by as many; those that end inside it have grown to their
 * end, and give their own pages back. Sequences of lower priority than c do not count: they will make way. */
static bool forecast(const Sched *s, const Seq *c, int known, int need)
{
    int64_t free_pages = kv_available(s->kv) - need;
    int c_end = guess_end(s, c, known * KV_PAGE_TOKENS), longest = c_end;
    if (free_pages < 0) return false;
    for (int i = 0; i < s->n_running; i++)
        longest = MAX(longest, guess_end(s, s->running[i], s->running[i]->n_computed));
    int pages = longest / (BUCKETS * KV_PAGE_TOKENS) + 1, width = pages * KV_PAGE_TOKENS; /* of a bucket */
    Ending ending[BUCKETS] = { 0 }, alive = { 0 };
    add_ending(&ending[c_end / width], s, c, known + need, known);
    alive.n = 1, alive.now = alive.held = known + need;
    for (int i = 0; i < s->n_running; i++) {
        const Seq *q = s->running[i];
        if (q->priority < c->priority) continue;
        add_ending(&ending[guess_end(s, q, q->n_computed) / width], s, q, q->n_pages, q->n_shared_pages);
        alive.n++, alive.now += seq_pages_for(seq_n_positions(q)), alive.held += q->n_pages;
    }
    for (int b = 0; b < BUCKETS && alive.n > 0; b++) {
        const Ending *e = &ending[b];
        int64_t grown = alive.now - e->now + (alive.n - e->n) * (b + 1) * pages;
        if (grown + e->at_end - alive.held > free_pages) return false;
        alive.n -= e->n;
        alive.now -= e->now;
        alive.held -= e->held;
        free_pages += e->held - e->shared;
    }
    return true;
}

/* Pins what the tree has of it, takes the other pages and makes it run. False: no room now, nothing has changed. */
static bool start(Sched *s, Seq *c)
{
    KvPrefix p = kv_match(s->kv, c->salt, c->tok, seq_usable_prefix(c), c->pages);
    int known = p.n_tok / KV_PAGE_TOKENS, need = seq_pages_for(seq_n_positions(c)) - known;
    bool fits = s->n_running == 0 || forecast(s, c, known, need);
    if (!fits || !kv_take(s->kv, need, c->pages + known)) {
        CHECK(s->n_running > 0);
        kv_unpin(s->kv, p);
        return false;
    }
    seqs_heap_remove(&s->waiting, c);
    c->state = SEQ_RUNNING;
    s->turn_served = s->turn_served || c->turn == s->turn;
    c->prefix = p;
    c->n_pages = known + need;
    c->n_shared_pages = known;
    c->n_computed = p.n_tok;
    c->running_at = s->n_running;
    s->running[s->n_running++] = c;
    if (s->limits.use_radix && known < c->n_prompt / KV_PAGE_TOKENS) s->filling[s->n_filling++] = c;
    if (c->started) return true;
    c->n_cached = p.n_tok;
    s->cached_tokens += (uint64_t)c->n_cached;
    s->prompt_tokens += (uint64_t)c->n_prompt;
    return true;
}

/* ---- sharing ---- */

static int look(const Sched *s, const Seq *c)
{
    return kv_peek(s->kv, c->salt, c->tok, seq_usable_prefix(c)) / KV_PAGE_TOKENS;
}

/* If somebody is computing the page that follows the known ones, c waits for it. The hash stands for all tokens before, too. */
static bool park(Sched *s, Seq *c)
{
    if (s->n_filling == 0) return false;
    int known = look(s, c), usable = MIN(seq_usable_prefix(c), c->n_prompt) / KV_PAGE_TOKENS;
    if (known >= usable) return false;
    Seq *leader = NULL;
    for (int i = 0; i < s->n_filling && !leader; i++) {
        Seq *q = s->filling[i];
        if (known < q->n_prompt / KV_PAGE_TOKENS && q->page_hash[known] == c->page_hash[known]) leader = q;
    }
    if (!leader) return false;
    seqs_heap_remove(&s->waiting, c);
    c->state = SEQ_PARKED;
    c->wait_pages = MIN(seq_shared_pages(leader, c, known + 1), usable);
    c->leader = leader;
    c->next = leader->followers;
    if (c->next) c->next->prev = c;
    leader->followers = c;
    s->n_parked++;
    return true;
}

/* ---- order ---- */

static bool goes_before(const Seq *a, const Seq *b)
{
    if (a->priority != b->priority) return a->priority > b->priority;
    bool a_first = a->passed_over >= PATIENCE, b_first = b->passed_over >= PATIENCE;
    if (a_first != b_first) return a_first;
    return !a_first && a->peeked > b->peeked; /* else as the queue had them */
}

/* Takes the first n out of the queue, in the order in which they are to be tried. */
static int gather(Sched *s, Seq **window, int n)
{
    n = MIN(n, s->waiting.n);
    for (int i = 0; i < n; i++) {
        Seq *c = seqs_heap_pop(&s->waiting);
        c->place = i;
        if (n > 1) c->peeked = look(s, c);
        int at = i;
        for (; at > 0 && goes_before(c, window[at - 1]); at--) window[at] = window[at - 1];
        window[at] = c;
    }
    return n;
}

/* Returns how many of the window have left the queue; fewer than n: no more fit now. */
static int admit_window(Sched *s, Seq **window, int n)
{
    int i = 0, last = 0;
    for (; i < n && s->rows_left > 0 && s->n_running < s->limits.max_running; i++) {
        Seq *c = window[i];
        if (park(s, c)) continue;
        if (!start(s, c)) {
            s->blocked = RETRY;
            break;
        }
        last = MAX(last, c->place);
        sched_give_rows(s, c);
    }
    for (int k = i; k < n; k++) {
        if (window[k]->place < last) window[k]->passed_over++;
        seqs_heap_push(&s->waiting, window[k]);
    }
    return i;
}

void admit_waiting(Sched *s)
{
    Seq *window[WINDOW];
    if (s->blocked > 0 && s->n_running > 0) {
        s->blocked--;
        return;
    }
    int want = s->limits.policy == POLICY_LPM ? WINDOW : 1, n;
    do {
        if (s->rows_left == 0 || s->n_running == s->limits.max_running) return;
        n = gather(s, window, want);
    } while (n > 0 && admit_window(s, window, n) == n);
}

void admit_by_priority(Sched *s)
{
    while (s->waiting.n > 0 && s->n_running > 0) {
        Seq *c = s->waiting.at[0], *weakest = sched_weakest(s);
        if (weakest->priority >= c->priority) return;
        if (park(s, c)) continue;
        if (s->n_running < s->limits.max_running && start(s, c)) continue;
        sched_preempt(s, weakest);
    }
}
