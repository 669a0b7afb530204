/* speculate.c - chooses the drafts of a pass: the numbers of guesses with which most tokens a second should come.
 *
 * A pass of r sequences gives r tokens; each guess adds a row, and the chance that it and all before it hold. What rows cost
 * is measured, pass by pass; a number of rows never tried is taken to cost what the next smaller one does, so it is tried
 * soon. From time to time a pass runs without guesses, or what is known of larger passes is forgotten, so that neither side of
 * the comparison grows old. None of this can change a token: a guess that does not hold is drawn again.
 * Guesses take only what nobody else wants: rows left over in a pass of which no row belongs to a prompt, and pages as long as
 * each running sequence could still have another. Thread: engine. */
#include "engine/speculate.h"

enum { PLAIN_EVERY = 64, RETRY_EVERY = 256 };
static const double RATE = 1.0 / 8;

void speculate_measured(Speculate *p, int rows, int64_t ns)
{
    if (!p->most || rows < 1 || rows > SPECULATE_ROWS) return;
    double *known = &p->ns[rows], now = (double)ns;
    if (*known > 0) now = *known + RATE * (MIN(now, 2 * *known) - *known); /* a hiccup says little */
    *known = now;
}

double speculate_cost(const Speculate *p, int rows)
{
    int low = MIN(rows, SPECULATE_ROWS), high = rows;
    while (low > 0 && p->ns[low] <= 0) low--;
    while (high <= SPECULATE_ROWS && p->ns[high] <= 0) high++;
    if (low == 0) return high <= SPECULATE_ROWS ? p->ns[high] : 0;
    if (low >= high || high > SPECULATE_ROWS) return p->ns[low];
    return p->ns[low] + (p->ns[high] - p->ns[low]) * (rows - low) / (high - low);
}

static bool decodes(const Seq *q)
{
    return q->n_rows == 1 && q->n_computed >= q->n_prompt && q->n_computed + 1 == q->n_tok;
}

/* What q may have of rows, logits, output and pages; the guesses are made in any case, so that they are compared. */
static int guess(const Speculate *p, const Sched *s, Seq *q, int rows)
{
    if (!seq_may_draft(q)) return 0;
    int n = MIN(draft_guess(&q->draft, q->tok, q->n_tok, p->most), q->sampling.max_new - seq_n_out(q) - 1);
    n = constrain_holds(q, q->draft.token, MIN(n, MIN(s->rows_left, s->logits_left)));
    if (!p->always) n = MIN(n, SPECULATE_ROWS - rows);
    int room = q->n_pages * KV_PAGE_TOKENS - q->n_tok;
    return n > room && kv_available(s->kv) <= s->n_running ? room : n;
}

/* Which of 0..n guesses give most tokens a second, where the pass has `rows` rows and *tokens to expect without them. */
static int choose(const Speculate *p, const Seq *q, int n, int rows, double *tokens)
{
    if (p->always) return n;
    double sum = *tokens, all = 1, best = sum / speculate_cost(p, rows);
    int chosen = 0;
    for (int i = 0; i < n; i++) {
        all *= draft_chance(&q->draft, i);
        sum += all;
        double rate = sum / speculate_cost(p, rows + i + 1);
        if (rate <= best) continue;
        best = rate;
        chosen = i + 1;
        *tokens = sum;
    }
    return chosen;
}

static int give(Sched *s, Seq *q, int n)
{
    int missing = seq_pages_for(q->n_tok + n) - q->n_pages;
    if (missing > 0) {
        if (!kv_take(s->kv, missing, q->pages + q->n_pages)) return 0;
        q->n_pages += missing;
    }
    q->n_drafts = n;
    q->n_rows += n;
    q->n_logits += n;
    s->rows_left -= n;
    s->logits_left -= n;
    return n;
}

/* Whether this pass is to show what passes cost without guesses. */
static bool must_run_plain(const Speculate *p, int rows)
{
    return !p->always && (p->ns[rows] <= 0 || p->since_plain >= PLAIN_EVERY);
}

static void note_pass(Speculate *p, int rows, int n_wanted, int n_drafts)
{
    if (n_wanted == 0) return;
    p->since_plain = n_drafts ? p->since_plain + 1 : 0;
    p->since_drafted = n_drafts ? 0 : p->since_drafted + 1;
    if (p->since_drafted < RETRY_EVERY) return;
    p->since_drafted = 0;
    for (int i = rows + 1; i <= SPECULATE_ROWS; i++) p->ns[i] = 0;
}

void speculate_pick(Speculate *p, Sched *s)
{
    int rows = s->n_pick, n_wanted = 0;
    double tokens = rows;
    if (!p->most || rows == 0 || (!p->always && rows >= SPECULATE_ROWS)) return;
    for (int i = 0; i < s->n_pick; i++)
        if (!decodes(s->pick[i])) return;
    bool plain = must_run_plain(p, rows);
    for (int i = 0; i < s->n_pick; i++) {
        Seq *q = s->pick[i];
        int n = guess(p, s, q, rows);
        n_wanted += n;
        if (!plain && n > 0) rows += give(s, q, choose(p, q, n, rows, &tokens));
    }
    note_pass(p, s->n_pick, n_wanted, rows - s->n_pick);
}
