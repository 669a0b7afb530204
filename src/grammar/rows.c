/* rows.c - see rows.h. */
#include "grammar/rows.h"

#include <stdlib.h>

enum { FIRST_SLOTS = 256 };

void rows_init(Rows *r, Syms *s, Lexer *l, const GrammarLimits *limits)
{
    *r = (Rows){ .s = s, .l = l, .n_slots = FIRST_SLOTS, .scan_slots = FIRST_SLOTS, .seen_slots = 64 };
    r->max_row_items = limits->row_items;
    r->max_depth = limits->depth;
    r->slots = mem_alloc_array(r->n_slots, sizeof *r->slots);
    r->scans = mem_alloc_array(r->scan_slots * 2, sizeof *r->scans);
    r->seen = mem_alloc_array(r->seen_slots, sizeof *r->seen);
    r->ways = array_room(NULL, 0, &r->cap_ways, sizeof *r->ways); /* never NULL: empty runs point into them */
    r->items = array_room(NULL, 0, &r->cap_items, sizeof *r->items);
    r->work = array_room(NULL, 0, &r->cap_work, sizeof *r->work);
    r->row = mem_alloc_array(16, sizeof *r->row);
    r->cap = 16;
    r->n = 1;
}

void rows_done(Rows *r)
{
    mem_free(r->row);
    mem_free(r->slots);
    mem_free(r->items);
    mem_free(r->ways);
    mem_free(r->scans);
    mem_free(r->work);
    mem_free(r->seen);
    mem_free(r->tmp);
    mem_free(r->lexemes);
}

size_t rows_memory(const Rows *r)
{
    return r->cap * sizeof *r->row + r->n_slots * 4ull + r->cap_items * sizeof *r->items +
           r->cap_ways * sizeof *r->ways + r->scan_slots * 16 + r->cap_work * sizeof *r->work;
}

static void give_up(Rows *r, const char *why)
{
    if (!r->over) r->over_why = why;
    r->over = true;
}

/* ---- a set of items under construction ---- */

static uint64_t item_hash(const Item *i)
{
    return hash_mix(((uint64_t)i->rest << 32 | i->origin) ^ (uint64_t)i->rule * 0x9e3779b97f4a7c15u);
}

static bool item_eq(const Item *a, const Item *b)
{
    return a->rest == b->rest && a->rule == b->rule && a->origin == b->origin;
}

static void work_clear(Rows *r)
{
    r->n_work = 0;
    memset(r->seen, 0, r->seen_slots * sizeof *r->seen);
}

static void work_grow(Rows *r)
{
    mem_free(r->seen);
    r->seen_slots *= 2;
    r->seen = mem_alloc_array(r->seen_slots, sizeof *r->seen);
    for (size_t i = 0; i < r->n_work; i++) {
        size_t at = item_hash(&r->work[i]) & (r->seen_slots - 1);
        while (r->seen[at]) at = (at + 1) & (r->seen_slots - 1);
        r->seen[at] = (uint32_t)i + 1;
    }
}

static void work_add(Rows *r, Item item)
{
    size_t at = item_hash(&item) & (r->seen_slots - 1);
    for (; r->seen[at]; at = (at + 1) & (r->seen_slots - 1))
        if (item_eq(&r->work[r->seen[at] - 1], &item)) return;
    if (r->n_work >= r->max_row_items) {
        give_up(r, "a parser row has more items than the limit");
        return;
    }
    if (r->item_fuel == 0) {
        give_up(r, "parsing takes more items than the limit");
        return;
    }
    r->item_fuel--;
    r->work = array_room(r->work, r->n_work, &r->cap_work, sizeof item);
    r->work[r->n_work++] = item;
    r->seen[at] = (uint32_t)r->n_work;
    if (r->n_work * 2 > r->seen_slots) work_grow(r);
}

/* ---- closure ---- */

static void tmp_way(Rows *r, uint32_t key, Item item)
{
    r->tmp = array_room(r->tmp, r->n_tmp, &r->cap_tmp, sizeof *r->tmp);
    r->tmp[r->n_tmp++] = (Way){ key, item };
}

/* The calls of a rule in a row: a run of ways. */
static const Way *calls_of(const Rows *r, RowId row, uint32_t rule, size_t *n)
{
    const Row *o = &r->row[row];
    const Way *w = r->ways + o->ways + o->n_lexemes + o->n_tokens;
    size_t lo = 0, hi = o->n_calls;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (w[mid].key < rule)
            lo = mid + 1;
        else
            hi = mid;
    }
    size_t end = lo;
    while (end < o->n_calls && w[end].key == rule) end++;
    *n = end - lo;
    return w + lo;
}

/* What waits for the rule where it began, now that the rule is done (or may be). */
static void complete(Rows *r, const Item *done)
{
    size_t n;
    const Way *w = calls_of(r, done->origin, done->rule, &n);
    for (size_t i = 0; i < n; i++) work_add(r, w[i].item);
}

static int by_key(const void *p, const void *q)
{
    const Way *a = p, *b = q;
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    return memcmp(&a->item, &b->item, sizeof a->item);
}

/* Sorts tmp by key, moves it to ways; equal ways once. */
static uint32_t keep_ways(Rows *r)
{
    uint32_t n = 0;
    if (r->n_tmp > 1) qsort(r->tmp, r->n_tmp, sizeof *r->tmp, by_key);
    for (size_t i = 0; i < r->n_tmp; i++) {
        if (i && by_key(&r->tmp[i], &r->tmp[i - 1]) == 0) continue;
        r->ways = array_room(r->ways, r->n_ways, &r->cap_ways, sizeof *r->ways);
        r->ways[r->n_ways++] = r->tmp[i];
        n++;
    }
    r->n_tmp = 0;
    return n;
}

/* One pass over the finished items for the symbols of one kind. */
static uint32_t gather(Rows *r, SymKind kind)
{
    for (size_t i = 0; i < r->n_work && !r->over; i++) {
        Item it = r->work[i];
        uint32_t n;
        const SymStep *s = syms_steps(r->s, it.rest, &n);
        for (uint32_t k = 0; k < n; k++) {
            const SymNode *y = &r->s->node[s[k].symbol];
            if (y->kind != kind || (kind == Y_RULE && s[k].rest == SYM_EMPTY)) continue;
            tmp_way(r, y->a, (Item){ s[k].rest, it.rule, it.origin });
        }
    }
    return keep_ways(r);
}

/* Adds to work what follows from item i: rules that begin, rules that may be done. */
static void predict(Rows *r, RowId self, size_t i)
{
    Item it = r->work[i];
    uint32_t n;
    const SymStep *s = syms_steps(r->s, it.rest, &n);
    for (uint32_t k = 0; k < n && !r->over; k++) {
        const SymNode *y = &r->s->node[s[k].symbol];
        if (y->kind != Y_RULE) continue;
        Item body = { r->s->rule[y->a].body, y->a, self };
        if (s[k].rest == SYM_EMPTY) body.rule = it.rule, body.origin = it.origin;
        work_add(r, body);
    }
    bool nullable = r->s->node[it.rest].flags & Y_NULLABLE;
    if (nullable && it.origin != self && it.rule != ROOT_RULE) complete(r, &it);
}

static LexId start_state(Rows *r, const Row *row)
{
    size_t n = 0;
    for (uint32_t i = 0; i < row->n_lexemes; i++) {
        Expr e = r->ways[row->ways + i].key;
        if (n && r->lexemes[n - 1] == e) continue;
        r->lexemes = array_room(r->lexemes, n, &r->cap_lexemes, sizeof e);
        r->lexemes[n++] = e;
    }
    return n ? lexer_start(r->l, r->lexemes, n) : LEX_DEAD;
}

static void close_row(Rows *r, RowId self)
{
    Row *row = &r->row[self];
    for (size_t i = 0; i < r->n_work && !r->over; i++) {
        const Item *it = &r->work[i];
        if (it->rule == ROOT_RULE && (r->s->node[it->rest].flags & Y_NULLABLE)) row->complete = true;
        row->depth = MAX(row->depth, it->origin == self ? 0 : r->row[it->origin].depth + 1);
        predict(r, self, i);
    }
    if (row->depth > r->max_depth) give_up(r, "rules are nested deeper than the limit");
    row->ways = (uint32_t)r->n_ways;
    row->n_lexemes = gather(r, Y_LEXEME);
    row->n_tokens = gather(r, Y_TOKENS);
    row->n_calls = gather(r, Y_RULE);
    if (r->s->over) give_up(r, "the grammar makes more rule nodes than the limit");
    if (!r->over) row->start = start_state(r, row);
}

/* ---- interning rows ---- */

static int by_item(const void *p, const void *q)
{
    const Item *a = p, *b = q;
    if (a->rest != b->rest) return a->rest < b->rest ? -1 : 1;
    if (a->rule != b->rule) return a->rule < b->rule ? -1 : 1;
    return (a->origin > b->origin) - (a->origin < b->origin);
}

static void insert_row(Rows *r, RowId id)
{
    const Row *row = &r->row[id];
    size_t at = hash_bytes(r->items + row->kernel, row->n_kernel * sizeof(Item), 9) & (r->n_slots - 1);
    while (r->slots[at]) at = (at + 1) & (r->n_slots - 1);
    r->slots[at] = id;
}

static RowId find_row(const Rows *r)
{
    size_t at = hash_bytes(r->work, r->n_work * sizeof(Item), 9) & (r->n_slots - 1);
    for (; r->slots[at]; at = (at + 1) & (r->n_slots - 1)) {
        const Row *row = &r->row[r->slots[at]];
        if (row->n_kernel == r->n_work && memcmp(r->items + row->kernel, r->work, r->n_work * sizeof(Item)) == 0)
            return r->slots[at];
    }
    return ROW_NONE;
}

/* The row of the kernel in work (which is changed). */
static RowId intern_row(Rows *r)
{
    if (r->over || r->n_work == 0) return ROW_NONE;
    if (r->n_work > 1) qsort(r->work, r->n_work, sizeof *r->work, by_item);
    RowId known = find_row(r);
    if (known != ROW_NONE) return known;
    size_t items_were = r->n_items, ways_were = r->n_ways;
    r->row = array_room32(r->row, r->n, &r->cap, sizeof *r->row);
    RowId self = r->n++;
    r->row[self] = (Row){ .kernel = (uint32_t)r->n_items, .n_kernel = (uint32_t)r->n_work };
    for (size_t i = 0; i < r->n_work; i++) {
        r->items = array_room(r->items, r->n_items, &r->cap_items, sizeof *r->items);
        r->items[r->n_items++] = r->work[i];
    }
    memset(r->seen, 0, r->seen_slots * sizeof *r->seen);
    for (size_t i = 0; i < r->n_work; i++) { /* sorting moved them */
        size_t at = item_hash(&r->work[i]) & (r->seen_slots - 1);
        while (r->seen[at]) at = (at + 1) & (r->seen_slots - 1);
        r->seen[at] = (uint32_t)i + 1;
    }
    close_row(r, self);
    if (r->over || r->l->x->stop) { /* leave no trace of half a row */
        r->n--;
        r->n_items = items_were;
        r->n_ways = ways_were;
        return ROW_NONE;
    }
    if (r->n * 2 > r->n_slots) {
        mem_free(r->slots);
        r->n_slots *= 2;
        r->slots = mem_alloc_array(r->n_slots, sizeof *r->slots);
        for (RowId i = ROW_FIRST; i < r->n; i++) insert_row(r, i);
    } else {
        insert_row(r, self);
    }
    return self;
}

RowId rows_first(Rows *r, Sym root)
{
    r->over = false;
    work_clear(r);
    work_add(r, (Item){ root, ROOT_RULE, ROW_NONE });
    return intern_row(r);
}

/* Items that are done are replaced by what waits for them, until none is left but the root's. */
static RowId settle(Rows *r)
{
    size_t to = 0;
    for (size_t i = 0; i < r->n_work && !r->over; i++) {
        Item it = r->work[i];
        if (it.rest == SYM_EMPTY && it.rule != ROOT_RULE) complete(r, &it);
    }
    for (size_t i = 0; i < r->n_work; i++)
        if (r->work[i].rest != SYM_EMPTY || r->work[i].rule == ROOT_RULE) r->work[to++] = r->work[i];
    r->n_work = to;
    return intern_row(r);
}

/* ---- scans, remembered ---- */

static size_t scan_slot(const Rows *r, uint64_t key)
{
    size_t at = hash_mix(key) & (r->scan_slots - 1);
    while (r->scans[2 * at] && r->scans[2 * at] != key) at = (at + 1) & (r->scan_slots - 1);
    return at;
}

static void remember_scan(Rows *r, uint64_t key, RowId to)
{
    if (++r->n_scans * 2 > r->scan_slots) {
        uint64_t *old = r->scans;
        size_t had = r->scan_slots;
        r->scan_slots *= 2;
        r->scans = mem_alloc_array(r->scan_slots * 2, sizeof *r->scans);
        for (size_t i = 0; i < had; i++) {
            if (!old[2 * i]) continue;
            size_t at = scan_slot(r, old[2 * i]);
            r->scans[2 * at] = old[2 * i];
            r->scans[2 * at + 1] = old[2 * i + 1];
        }
        mem_free(old);
    }
    size_t at = scan_slot(r, key);
    r->scans[2 * at] = key;
    r->scans[2 * at + 1] = to;
}

static void add_scanned(Rows *r, RowId from, uint32_t accept)
{
    size_t n;
    const Expr *e = lexer_accepted(r->l, accept, &n);
    const Row *row = &r->row[from];
    for (uint32_t i = 0, k = 0; i < row->n_lexemes && k < n; i++) { /* both sorted */
        const Way *w = &r->ways[row->ways + i];
        while (k < n && e[k] < w->key) k++;
        if (k < n && e[k] == w->key) work_add(r, w->item);
    }
}

RowId rows_scan_all(Rows *r, const Scan *scans, size_t n)
{
    if (n == 1) return rows_scan(r, scans->from, scans->accept);
    r->over = false;
    work_clear(r);
    for (size_t i = 0; i < n; i++) add_scanned(r, scans[i].from, scans[i].accept);
    return settle(r);
}

RowId rows_scan(Rows *r, RowId from, uint32_t accept)
{
    uint64_t key = (uint64_t)from << 32 | accept;
    size_t slot = scan_slot(r, key);
    if (r->scans[2 * slot]) return (RowId)r->scans[2 * slot + 1];
    r->over = false;
    work_clear(r);
    add_scanned(r, from, accept);
    RowId to = settle(r);
    if (to != ROW_NONE) remember_scan(r, key, to);
    return to;
}

RowId rows_scan_token(Rows *r, RowId from, int32_t id)
{
    r->over = false;
    work_clear(r);
    const Row *row = &r->row[from];
    for (uint32_t i = 0; i < row->n_tokens; i++) {
        const Way *w = &r->ways[row->ways + row->n_lexemes + i];
        if (syms_token_in(r->s, w->key, id)) work_add(r, w->item);
    }
    return r->n_work ? settle(r) : ROW_NONE;
}
