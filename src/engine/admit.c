/* admit.c - lets waiting jobs begin: in which order, and whether there is room.
 *
 * Order: higher priority first; then fcfs takes them as they came, and lpm takes the one with the longest prefix in
 * the tree out of the first WINDOW that came, so that it runs before the prefix is evicted. Nobody is passed over more
 * than PATIENCE times, and who does not fit is not overtaken at all: the queue's head always gets in at last.
 * Sharing: a job whose next page is just being computed by a running one is parked until that page and all further ones
 * they share are in the tree; a thousand equal prompts are computed once.
 * Room: the pages of all known tokens now, and a forecast that what runs can grow to its guessed end, counting what
 * ends on the way. The forecast may be wrong: then somebody is preempted, and the guess becomes more careful. */
#include "engine/admit.h"

enum {
    WINDOW = 64,   /* jobs that lpm compares */
    PATIENCE = 16, /* times that a job may be overtaken */
    RETRY = 8,     /* passes between two looks at a queue whose head does not fit */
    BUCKETS = 32,  /* of the forecast's time axis */
    GUESS_MAX = 4096
};

/* ---- room ---- */

/* How many tokens q will still add. Without stop ids it is known: all that is allowed. */
static int guess_growth(const Sched *s, const Seq *q)
{
    int allowed = q->n_prompt + q->sampling.max_new - q->n_tok;
    if (q->sampling.n_stop_ids == 0) return allowed;
    return (int)(s->growth * (float)MIN(allowed, GUESS_MAX));
}

/* Sums over the sequences whose guessed end lies in one bucket of the forecast. */
typedef struct {
    int64_t n, tokens, pages, own_pages; /* own: given back at the end, as far as can be told */
} Ending;

static void add_ending(Ending *e, const Seq *q, int n_pages)
{
    e->n++;
    e->tokens += q->n_tok;
    e->pages += n_pages;
    e->own_pages += n_pages - q->n_shared_pages;
}

/* Would the pages last if c took `need` more? All grow in step, each up to a page more than its tokens fill; at the end of
 * a bucket those that have reached their guess are gone with their pages. Sequences of lower priority than c do not
 * count: they will make way. */
static bool forecast(const Sched *s, const Seq *c, int need)
{
    int64_t free_pages = kv_available(s->kv) - need;
    int longest = guess_growth(s, c);
    if (free_pages < 0) return false;
    for (int i = 0; i < s->n_running; i++) longest = MAX(longest, guess_growth(s, s->running[i]));
    int width = longest / BUCKETS + 1;
    Ending ending[BUCKETS] = { 0 }, alive = { 0 };
    add_ending(&ending[guess_growth(s, c) / width], c, seq_pages_for(c->n_tok));
    for (int i = 0; i < s->n_running; i++) {
        const Seq *q = s->running[i];
        if (q->priority >= c->priority) add_ending(&ending[guess_growth(s, q) / width], q, q->n_pages);
    }
    for (int b = 0; b < BUCKETS; b++) {
        alive.n += ending[b].n;
        alive.tokens += ending[b].tokens;
        alive.pages += ending[b].pages;
    }
    for (int b = 0; b < BUCKETS; b++) {
        int64_t full = (alive.tokens + alive.n * ((b + 1) * width + KV_PAGE_TOKENS - 1)) / KV_PAGE_TOKENS;
        if (full - alive.pages > free_pages) return false;
        alive.n -= ending[b].n;
        alive.tokens -= ending[b].tokens;
        alive.pages -= ending[b].pages;
        free_pages += ending[b].own_pages;
    }
    return true;
}

/* Pins what the tree has of it, takes the other pages and makes it run. False: no room now, nothing has changed. */
static bool start(Sched *s, Seq *c)
{
    KvPrefix p = kv_match(s->kv, c->salt, c->tok, seq_usable_prefix(c), c->pages);
    int known = p.n_tok / KV_PAGE_TOKENS, need = seq_pages_for(seq_n_positions(c)) - known;
    bool fits = s->n_running == 0 || forecast(s, c, need);
    if (!fits || !kv_take(s->kv, need, c->pages + known)) {
        CHECK(s->n_running > 0);
        kv_unpin(s->kv, p);
        return false;
    }
    seqs_heap_remove(&s->waiting, c);
    c->state = SEQ_RUNNING;
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
    if (!a_first && a->peeked != b->peeked) return a->peeked > b->peeked;
    return a->arrival < b->arrival;
}

/* Takes the first n out of the queue, in the order in which they are to be tried. */
static int gather(Sched *s, Seq **window, int n)
{
    n = MIN(n, s->waiting.n);
    for (int i = 0; i < n; i++) {
        Seq *c = seqs_heap_pop(&s->waiting);
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
    uint64_t latest = 0;
    int i = 0;
    for (; i < n && s->rows_left > 0 && s->n_running < s->limits.max_running; i++) {
        Seq *c = window[i];
        if (park(s, c)) continue;
        if (!start(s, c)) {
            s->blocked = RETRY;
            break;
        }
        latest = MAX(latest, c->arrival);
        sched_give_rows(s, c);
    }
    for (int k = i; k < n; k++) {
        if (window[k]->arrival < latest) window[k]->passed_over++;
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
