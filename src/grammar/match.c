/* match.c - an output under way: the places after each accepted token, one step after another, so that rolling back is
 * forgetting the last. The places live in one growing array; a step is where its places end. See grammar.h. */
#include "grammar/machine.h"

typedef struct {
    size_t end;   /* of its places */
    bool is_last; /* an end id */
} Step;

struct GrammarMatcher {
    Grammar *g;
    Place *place;
    size_t cap_places;
    Step *step; /* [0]: before anything */
    size_t n_steps, cap_steps;
    Err err; /* status OK: none */
    uint32_t *words;
};

static void push_step(GrammarMatcher *m, const Place *p, size_t n, bool is_last)
{
    size_t end = m->n_steps ? m->step[m->n_steps - 1].end : 0;
    while (end + n > m->cap_places) m->place = array_room(m->place, m->cap_places, &m->cap_places, sizeof *m->place);
    if (n) memcpy(m->place + end, p, n * sizeof *p);
    m->step = array_room(m->step, m->n_steps, &m->cap_steps, sizeof *m->step);
    m->step[m->n_steps++] = (Step){ end + n, is_last };
}

static const Place *current(const GrammarMatcher *m, size_t *n)
{
    size_t begin = m->n_steps > 1 ? m->step[m->n_steps - 2].end : 0;
    *n = m->step[m->n_steps - 1].end - begin;
    return m->place + begin;
}

static void start(GrammarMatcher *m)
{
    m->n_steps = 0;
    m->err.status = OK;
    machine_refuel(m->g);
    Place first = machine_begin(m->g, m->g->first);
    push_step(m, &first, 1, false);
}

GrammarMatcher *grammar_matcher_new(Grammar *g)
{
    GrammarMatcher *m = mem_alloc(sizeof *m);
    m->g = grammar_ref(g);
    pthread_mutex_lock(&g->lock);
    start(m);
    pthread_mutex_unlock(&g->lock);
    return m;
}

void grammar_matcher_free(GrammarMatcher *m)
{
    if (!m) return;
    grammar_drop(m->g);
    mem_free(m->place);
    mem_free(m->step);
    mem_free(m->words);
    mem_free(m);
}

GrammarMatcher *grammar_matcher_clone(const GrammarMatcher *m)
{
    GrammarMatcher *c = mem_alloc(sizeof *c);
    *c = *m;
    grammar_ref(m->g);
    c->words = NULL;
    c->cap_steps = m->n_steps;
    c->cap_places = m->step[m->n_steps - 1].end;
    c->step = mem_alloc_array(c->cap_steps, sizeof *c->step);
    c->place = mem_alloc_array(c->cap_places, sizeof *c->place);
    memcpy(c->step, m->step, c->cap_steps * sizeof *c->step);
    if (c->cap_places) memcpy(c->place, m->place, c->cap_places * sizeof *c->place);
    return c;
}

void grammar_matcher_reset(GrammarMatcher *m)
{
    pthread_mutex_lock(&m->g->lock);
    start(m);
    pthread_mutex_unlock(&m->g->lock);
}

bool grammar_ended(const GrammarMatcher *m)
{
    return m->step[m->n_steps - 1].is_last;
}

bool grammar_matcher_failed(const GrammarMatcher *m, Err *err)
{
    if (m->err.status != OK && err) *err = m->err;
    return m->err.status != OK;
}

static bool dead(const GrammarMatcher *m)
{
    return m->err.status != OK || grammar_ended(m);
}

/* Takes the lock with fresh fuel; false: nothing may be done any more. */
static bool enter(GrammarMatcher *m)
{
    if (dead(m)) return false;
    pthread_mutex_lock(&m->g->lock);
    machine_refuel(m->g);
    return true;
}

/* Gives the lock back; false if a limit was met meanwhile. */
static bool leave(GrammarMatcher *m)
{
    Grammar *g = m->g;
    const char *why = machine_stopped(g);
    if (!why && machine_memory(g) > g->limits.memory) why = "the automaton takes more memory than the limit";
    pthread_mutex_unlock(&g->lock);
    if (why) fail(&m->err, E_LIMIT, "the constraint cannot be followed: %s", why);
    return !why;
}

/* ---- accepting ---- */

static bool can_end(GrammarMatcher *m)
{
    size_t n;
    const Place *p = current(m, &n);
    for (size_t i = 0; i < n; i++)
        if (machine_fresh(m->g, p[i]) && m->g->r.row[p[i].row].complete) return true;
    return false;
}

/* The places after text; 0: refused. out has MAX_PLACES + 1. */
static size_t step_bytes(Grammar *g, const Place *from, size_t n, Str s, Place *out)
{
    Place turn[2][MAX_PLACES + 1];
    const Place *in = from;
    bool ended;
    if (s.n == 0) return 0;
    for (size_t i = 0; i < s.n && n; i++) {
        n = machine_step(g, in, n, (uint8_t)s.p[i], turn[i & 1], &ended);
        in = turn[i & 1];
    }
    if (n) memcpy(out, in, n * sizeof *in);
    return n;
}

/* Adds the places after a token that rules name by id. */
static size_t step_id(Grammar *g, const Place *from, size_t n, int32_t id, Place *out, size_t n_out)
{
    for (size_t i = 0; i < n && n_out < MAX_PLACES; i++) {
        if (!machine_fresh(g, from[i]) || g->r.row[from[i].row].n_tokens == 0) continue;
        RowId row = rows_scan_token(&g->r, from[i].row, id);
        if (row != ROW_NONE) out[n_out++] = machine_begin(g, row);
    }
    return n_out;
}

static size_t step_token(GrammarMatcher *m, const Place *from, size_t n, int32_t id, Place *out)
{
    size_t k = step_bytes(m->g, from, n, grammar_vocab_bytes(m->g->vocab, id), out);
    return step_id(m->g, from, n, id, out, k);
}

static bool accept_id(GrammarMatcher *m, int32_t id)
{
    Place out[MAX_PLACES + 1];
    size_t n;
    if (grammar_vocab_is_end(m->g->vocab, id) && can_end(m)) {
        push_step(m, NULL, 0, true);
        return true;
    }
    const Place *p = current(m, &n);
    size_t k = step_token(m, p, n, id, out);
    if (k == 0 || m->g->x.stop || m->g->r.over) return false;
    push_step(m, out, k, false);
    return true;
}

bool grammar_accept(GrammarMatcher *m, int32_t token)
{
    if (token < 0 || token >= m->g->vocab->n_tokens || !enter(m)) return false;
    bool good = accept_id(m, token);
    if (leave(m)) return good;
    if (good) m->n_steps--;
    return false;
}

bool grammar_accept_bytes(GrammarMatcher *m, Str bytes)
{
    Place out[MAX_PLACES + 1];
    size_t n;
    if (!enter(m)) return false;
    const Place *p = current(m, &n);
    size_t k = step_bytes(m->g, p, n, bytes, out);
    if (!leave(m) || k == 0) return false;
    push_step(m, out, k, false);
    return true;
}

size_t grammar_accepts(GrammarMatcher *m, const int32_t *tokens, size_t n)
{
    size_t k = 0, steps = m->n_steps;
    while (k < n && grammar_accept(m, tokens[k])) k++;
    m->n_steps = steps;
    return k;
}

size_t grammar_steps(const GrammarMatcher *m)
{
    return m->n_steps - 1;
}

bool grammar_rollback(GrammarMatcher *m, size_t n)
{
    if (n >= m->n_steps) return false;
    m->n_steps -= n;
    return true;
}

bool grammar_can_end(GrammarMatcher *m)
{
    if (dead(m)) return false;
    pthread_mutex_lock(&m->g->lock);
    bool yes = can_end(m);
    pthread_mutex_unlock(&m->g->lock);
    return yes;
}

/* ---- masks ---- */

static void or_words(uint32_t *to, const uint32_t *from, size_t n)
{
    for (size_t i = 0; i < n; i++) to[i] |= from[i];
}

static void set_bit(uint32_t *words, int32_t id)
{
    words[id >> 5] |= 1u << (id & 31);
}

/* The bits from..to - 1. */
static void set_bits(uint32_t *words, int32_t from, int32_t to)
{
    for (; from < to && (from & 31 || to - from < 32); from++) set_bit(words, from);
    for (; to - from >= 32; from += 32) words[from >> 5] = UINT32_MAX;
    for (; from < to; from++) set_bit(words, from);
}

/* Tokens that the row's rules name by id. */
static void add_named(const Grammar *g, const Row *row, uint32_t *words)
{
    for (uint32_t i = 0; i < row->n_tokens; i++) {
        const TokenSet *t = &g->s.set[g->r.ways[row->ways + row->n_lexemes + i].key];
        for (uint32_t k = 0; !t->all_but && k < t->n; k++) set_bit(words, g->s.ids[t->at + k]);
        if (!t->all_but) continue;
        int32_t from = 0;
        for (uint32_t k = 0; k < t->n; k++) {
            set_bits(words, from, g->s.ids[t->at + k]);
            from = g->s.ids[t->at + k] + 1;
        }
        set_bits(words, from, g->vocab->n_tokens);
    }
}

static bool fill_mask(GrammarMatcher *m, uint32_t *words, size_t n_words)
{
    Grammar *g = m->g;
    size_t n, own = grammar_mask_words(g->vocab);
    const Place *p = current(m, &n);
    bool filled = false;
    for (size_t i = 0; i < n; i++) {
        const Mask *k = mask_of(g, p[i]);
        if (!k) return false;
        const uint32_t *dense[2] = { k->base ? k->base->words : NULL, k->words };
        for (int d = 0; d < 2; d++) {
            if (!dense[d]) continue;
            if (filled)
                or_words(words, dense[d], own);
            else
                memcpy(words, dense[d], own * sizeof *words);
            if (!filled) memset(words + own, 0, (n_words - own) * sizeof *words);
            filled = true;
        }
        if (!filled) memset(words, 0, n_words * sizeof *words);
        filled = true;
        for (uint32_t j = 0; j < k->n_ids; j++) set_bit(words, g->m.ids[k->ids + j]);
        if (machine_fresh(g, p[i])) add_named(g, &g->r.row[p[i].row], words);
    }
    if (can_end(m))
        for (size_t i = 0; i < g->vocab->n_ends; i++) set_bit(words, g->vocab->ends[i]);
    return filled;
}

static bool any_bit(const uint32_t *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (words[i]) return true;
    return false;
}

bool grammar_mask(GrammarMatcher *m, uint32_t *words, size_t n_words)
{
    CHECK(n_words >= grammar_mask_words(m->g->vocab));
    if (!enter(m)) return false;
    bool good = fill_mask(m, words, n_words);
    if (!leave(m)) return false;
    if (good && any_bit(words, n_words)) return true;
    fail(&m->err, E_CORRUPT, "the constraint leaves no token (the vocabulary cannot spell what must come next)");
    return false;
}

/* ---- what is forced ---- */

static uint32_t *scratch(GrammarMatcher *m)
{
    if (!m->words) m->words = mem_alloc_array(grammar_mask_words(m->g->vocab), sizeof *m->words);
    return m->words;
}

int32_t grammar_forced_token(GrammarMatcher *m)
{
    size_t n = grammar_mask_words(m->g->vocab);
    uint32_t *w = scratch(m);
    int32_t found = -1;
    if (!grammar_mask(m, w, n)) return -1;
    for (size_t i = 0; i < n; i++) {
        if (!w[i]) continue;
        if (found >= 0 || (w[i] & (w[i] - 1))) return -1;
        found = (int32_t)(i * 32) + __builtin_ctz(w[i]);
    }
    return found;
}

/* The bytes that may come next as far as the first bytes of expressions tell: at least all that may. */
static ByteSet first_bytes(const Grammar *g, const Place *p, size_t n)
{
    ByteSet all = { { 0 } };
    for (size_t i = 0; i < n; i++) {
        const LexState *s = &g->l.state[p[i].lex];
        for (uint32_t k = 0; k < s->n; k++) {
            const ByteSet *f = &g->x.sets[g->x.node[g->l.part[s->at + k].rest].first];
            for (int w = 0; w < 4; w++) all.bits[w] |= f->bits[w];
        }
    }
    return all;
}

/* The one byte that may come next, its places in out; -1: a choice, an end or a token by id may stand here. */
static int forced_byte(Grammar *g, const Place *p, size_t n, Place *out, size_t *n_out)
{
    for (size_t i = 0; i < n; i++)
        if (machine_fresh(g, p[i]) && (g->r.row[p[i].row].complete || g->r.row[p[i].row].n_tokens)) return -1;
    ByteSet all = first_bytes(g, p, n);
    int count = 0, found = -1;
    bool ended;
    for (int w = 0; w < 4; w++) count += __builtin_popcountll(all.bits[w]);
    if (count > 4) return -1; /* only complements have first bytes that die, and few of them */
    for (int c = 0; c < 256; c++) {
        Place tried[MAX_PLACES + 1];
        if (!set_has(&all, (uint8_t)c)) continue;
        size_t k = machine_step(g, p, n, (uint8_t)c, tried, &ended);
        if (k == 0) continue;
        if (found >= 0) return -1;
        found = c;
        memcpy(out, tried, k * sizeof *out);
        *n_out = k;
    }
    return found;
}

/* Appends what is forced from the current places; end has the places after it. */
static void forced_run(GrammarMatcher *m, size_t max, Buf *out, Place *end, size_t *n_end)
{
    Grammar *g = m->g;
    size_t n;
    const Place *p = current(m, &n);
    memcpy(end, p, n * sizeof *end);
    *n_end = n;
    for (size_t i = 0; i < max; i++) {
        Place next[MAX_PLACES + 1];
        size_t k = 0;
        int c = forced_byte(g, end, *n_end, next, &k);
        if (c < 0 || g->x.stop || g->r.over) return;
        buf_char(out, (char)c);
        memcpy(end, next, k * sizeof *end);
        *n_end = k;
    }
}

void grammar_forced_bytes(GrammarMatcher *m, size_t max, Buf *out)
{
    Place end[MAX_PLACES + 1];
    size_t n, had = out->n;
    if (!enter(m)) return;
    forced_run(m, max, out, end, &n);
    if (!leave(m)) out->n = had;
}

/* True if some token begins with s and goes on with what the places allow. */
static bool token_spans(Grammar *g, Str s, const Place *end, size_t n)
{
    const Trie *t = &g->vocab->trie;
    uint32_t at = 0;
    for (size_t i = 0; i < s.n; i++) {
        uint32_t c = at + 1, stop = at + t->node[at].span;
        while (c < stop && t->node[c].byte != (uint8_t)s.p[i]) c += t->node[c].span;
        if (c >= stop) return false;
        at = c;
    }
    Place next[MAX_PLACES + 1];
    bool ended;
    /* The first byte beyond decides whether to look further; a token further down may still fail, which only forces less. */
    for (uint32_t c = at + 1; c < at + t->node[at].span; c += t->node[c].span)
        if (machine_step(g, end, n, t->node[c].byte, next, &ended)) return true;
    return false;
}

/* How many of the tokens stay: from the first one in whose place a longer token may come on, all are dropped. */
static size_t settled(Grammar *g, const Ids *ids, size_t from, Str forced, const Place *end, size_t n_end)
{
    size_t at = 0;
    for (size_t i = from; i < ids->n; i++) {
        if (forced.n - at <= g->vocab->trie.max_depth && token_spans(g, str_cut(forced, at, forced.n), end, n_end))
            return i;
        at += grammar_vocab_bytes(g->vocab, ids->p[i]).n;
    }
    return ids->n;
}

void grammar_forced_tokens(GrammarMatcher *m, const int32_t *last, size_t n_back, GrammarEncode encode, void *arg,
                           Ids *out)
{
    enum { MAX_RUN = 4096 };
    Place end[MAX_PLACES + 1];
    Buf text = { 0 };
    Ids ids = { 0 };
    size_t n_end = 0, back_bytes, bytes = 0, had = out->n;
    if (!enter(m)) return;
    for (size_t i = 0; i < n_back; i++) buf_str(&text, grammar_vocab_bytes(m->g->vocab, last[i]));
    back_bytes = text.n;
    forced_run(m, MAX_RUN, &text, end, &n_end);
    Str forced = str_cut(buf_view(&text), back_bytes, text.n);
    if (forced.n && !m->g->x.stop && !m->g->r.over) {
        encode(arg, buf_view(&text), &ids);
        for (size_t i = 0; i < ids.n; i++) bytes += grammar_vocab_bytes(m->g->vocab, ids.p[i]).n;
        bool same =
            ids.n > n_back && bytes == text.n && (n_back == 0 || memcmp(ids.p, last, n_back * sizeof *last) == 0);
        size_t keep = same ? settled(m->g, &ids, n_back, forced, end, n_end) : n_back;
        if (keep > n_back) ids_add(out, ids.p + n_back, keep - n_back);
    }
    if (!leave(m)) out->n = had;
    buf_free(&text);
    ids_free(&ids);
}
