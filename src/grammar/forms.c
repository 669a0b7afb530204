/* forms.c - see forms.h.
 *
 * The state of a set is in its node: b numbers the set of parts that are there, c holds which needs are met (8 bits) and how many
 * other entries came (up to where counting ends). The state of a list: b is index * n_counts + the needs' counts, as digits. */
#include "grammar/forms.h"

#include "grammar/expr.h"
#include "grammar/syms.h"

enum { WORD = 64, MAX_WORDS = FORM_MAX_PARTS / WORD, FIRST_SLOTS = 64 };

static size_t set_words(const Form *f)
{
    return (f->spec.n_parts + WORD - 1) / WORD;
}

/* ---- sets ---- */

static uint64_t set_hash(const uint64_t *p, size_t n)
{
    return hash_bytes(p, n * sizeof *p, n);
}

static const uint64_t *set_of(const FormSets *t, uint32_t id)
{
    return t->bits + t->at[id];
}

static void insert_set(FormSets *t, uint32_t id)
{
    size_t at = set_hash(set_of(t, id), t->at[id + 1] - t->at[id]) & (t->n_slots - 1);
    while (t->slots[at]) at = (at + 1) & (t->n_slots - 1);
    t->slots[at] = id + 1;
}

static uint32_t intern_set(FormSets *t, const uint64_t *p, size_t n)
{
    if (t->n_sets * 2 >= t->n_slots) {
        mem_free(t->slots);
        t->n_slots = MAX(t->n_slots * 2, (size_t)FIRST_SLOTS);
        t->slots = mem_alloc_array(t->n_slots, sizeof *t->slots);
        for (uint32_t i = 0; i < t->n_sets; i++) insert_set(t, i);
    }
    for (size_t at = set_hash(p, n) & (t->n_slots - 1); t->slots[at]; at = (at + 1) & (t->n_slots - 1)) {
        uint32_t id = t->slots[at] - 1;
        if (t->at[id + 1] - t->at[id] == n && (n == 0 || memcmp(set_of(t, id), p, n * sizeof *p) == 0)) return id;
    }
    for (size_t i = 0; i < n; i++) {
        t->bits = array_room(t->bits, t->n_bits, &t->cap_bits, sizeof *t->bits);
        t->bits[t->n_bits++] = p[i];
    }
    t->at = array_room(t->at, t->n_sets + 1, &t->cap_sets, sizeof *t->at);
    if (t->n_sets == 0) t->at[0] = 0;
    t->at[++t->n_sets] = (uint32_t)t->n_bits;
    insert_set(t, (uint32_t)t->n_sets - 1);
    return (uint32_t)t->n_sets - 1;
}

/* ---- making forms ---- */

static const Sym *entries_of(const Form *f, bool later, uint32_t part)
{
    return f->spec.entry + ((later ? f->spec.n_parts : 0) + (size_t)part) * FORM_SUBSETS;
}

static void *copied(const void *p, size_t n, size_t size)
{
    if (!p) return NULL;
    void *out = mem_alloc_array(n, size);
    if (n) memcpy(out, p, n * size);
    return out;
}

static Sym node_of(Syms *s, uint32_t form, uint32_t b, uint32_t c)
{
    return syms_form_node(s, form, b, c);
}

Sym forms_new(Syms *s, const FormSpec *spec)
{
    s->form = array_room32(s->form, s->n_forms, &s->cap_forms, sizeof *s->form);
    Form *f = &s->form[s->n_forms];
    *f = (Form){ .spec = *spec, .n_counts = 1 };
    f->spec.entry = copied(spec->entry, (size_t)spec->n_parts * 2 * FORM_SUBSETS, sizeof *spec->entry);
    f->spec.other = copied(spec->other, (size_t)2 * FORM_SUBSETS, sizeof *spec->other);
    f->spec.required = NULL; /* must has it */
    f->can = mem_alloc_array(set_words(f) + 1, sizeof *f->can);
    f->must = mem_alloc_array(set_words(f) + 1, sizeof *f->must);
    for (uint32_t i = 0; i < spec->n_parts && spec->required; i++)
        if (spec->required[i]) f->must[i / WORD] |= 1ull << (i % WORD);
    for (uint32_t i = 0; i < spec->n_needs; i++)
        f->n_counts *= (spec->need[i].max == BUILD_INF ? spec->need[i].min : spec->need[i].max) + 1;
    f->cap = spec->max == BUILD_INF ? MAX(spec->min, spec->list ? spec->n_parts - 1 : 0) : spec->max;
    if (spec->list) f->alive = mem_alloc_array((size_t)(f->cap + 1) * f->n_counts, 1);
    uint64_t none[MAX_WORDS] = { 0 };
    uint32_t b = spec->list ? 0 : intern_set(&s->form_sets, none, set_words(f));
    return node_of(s, s->n_forms++, b, 0);
}

void forms_done(Syms *s)
{
    for (uint32_t i = 0; i < s->n_forms; i++) {
        mem_free((void *)s->form[i].spec.entry);
        mem_free((void *)s->form[i].spec.other);
        mem_free(s->form[i].can);
        mem_free(s->form[i].must);
        mem_free(s->form[i].alive);
    }
    mem_free(s->form);
    mem_free(s->form_sets.bits);
    mem_free(s->form_sets.at);
    mem_free(s->form_sets.slots);
}

size_t forms_memory(const Syms *s)
{
    size_t n = s->cap_forms * sizeof *s->form + s->form_sets.cap_bits * 8 + s->form_sets.cap_sets * 4 +
               s->form_sets.n_slots * 4;
    for (uint32_t i = 0; i < s->n_forms; i++) n += (size_t)s->form[i].spec.n_parts * 2 * FORM_SUBSETS * sizeof(Sym);
    return n;
}

/* ---- can it be finished? ---- */

static bool is_finite(const Syms *s, Sym e)
{
    return s->node[e].flags & Y_FINITE;
}

/* Fewest entries, beside those already counted, by which each set of needs is met. */
typedef struct {
    uint32_t fewest[FORM_SUBSETS];
} Met;

static Met met_with(const Syms *s, const Met *before, const Sym *entry, uint32_t price, bool may_leave)
{
    Met out;
    for (uint32_t m = 0; m < FORM_SUBSETS; m++) out.fewest[m] = may_leave ? before->fewest[m] : BUILD_INF;
    for (uint32_t set = 0; set < FORM_SUBSETS; set++) {
        if (!is_finite(s, entry[set])) continue;
        for (uint32_t m = 0; m < FORM_SUBSETS; m++)
            if (before->fewest[m] != BUILD_INF)
                out.fewest[m | set] = MIN(out.fewest[m | set], before->fewest[m] + price);
    }
    return out;
}

static bool part_can(const Syms *s, const Sym *entry)
{
    for (uint32_t set = 0; set < FORM_SUBSETS; set++)
        if (is_finite(s, entry[set])) return true;
    return false;
}

static void update_can(const Syms *s, Form *f)
{
    for (uint32_t i = 0; i < f->spec.n_parts; i++)
        if (part_can(s, entries_of(f, true, i))) f->can[i / WORD] |= 1ull << (i % WORD);
}

static bool bit_of(const uint64_t *bits, uint32_t i)
{
    return bits[i / WORD] >> (i % WORD) & 1;
}

static bool needs_can(const Syms *s, const Form *f, const uint64_t *seen, uint32_t met, uint32_t *fewest)
{
    Met now;
    *fewest = 0;
    if (f->spec.n_needs == 0) return true;
    for (uint32_t m = 0; m < FORM_SUBSETS; m++) now.fewest[m] = m == met ? 0 : BUILD_INF;
    for (uint32_t i = 0; i < f->spec.n_parts; i++)
        if (!bit_of(seen, i)) now = met_with(s, &now, entries_of(f, true, i), !bit_of(f->must, i), !bit_of(f->must, i));
    for (uint32_t k = 0; k < f->spec.n_needs && f->spec.other; k++)
        now = met_with(s, &now, f->spec.other + FORM_SUBSETS, 1, true);
    *fewest = now.fewest[(1u << f->spec.n_needs) - 1];
    return *fewest != BUILD_INF;
}

static bool set_finite(const Syms *s, Form *f, uint32_t b, uint32_t c)
{
    const uint64_t *seen = set_of(&s->form_sets, b);
    uint32_t n = c >> 8, left = 0, more = 0, fewest;
    if (!s->frozen) update_can(s, f);
    for (size_t k = 0; k < set_words(f); k++) {
        n += (uint32_t)__builtin_popcountll(seen[k]);
        left += (uint32_t)__builtin_popcountll(f->must[k] & ~seen[k]);
        more += (uint32_t)__builtin_popcountll(f->can[k] & ~seen[k]);
        if (f->must[k] & ~seen[k] & ~f->can[k]) return false;
    }
    if (!is_finite(s, f->spec.shut[1]) || !needs_can(s, f, seen, c & 0xFF, &fewest)) return false;
    bool others = f->spec.other && part_can(s, f->spec.other + FORM_SUBSETS);
    uint64_t least = MAX((uint64_t)f->spec.min, (uint64_t)n + left + fewest);
    uint64_t most = others ? f->spec.max : MIN((uint64_t)f->spec.max, (uint64_t)n + more);
    return least <= most;
}

/* ---- lists ---- */

static uint32_t top_count(const FormNeed *n)
{
    return n->max == BUILD_INF ? n->min : n->max;
}

/* The counts after an item that does those needs; false: one too many. */
static bool count_on(const Form *f, uint32_t *counts, uint32_t subset)
{
    uint32_t in = *counts, out = 0, unit = 1;
    for (uint32_t i = 0; i < f->spec.n_needs; i++) {
        uint32_t top = top_count(&f->spec.need[i]), had = in % (top + 1), has = had + (subset >> i & 1);
        if (has > top && f->spec.need[i].max != BUILD_INF) return false;
        out += MIN(has, top) * unit;
        unit *= top + 1;
        in /= top + 1;
    }
    *counts = out;
    return true;
}

static bool counts_meet(const Form *f, uint32_t counts)
{
    for (uint32_t i = 0; i < f->spec.n_needs; i++) {
        uint32_t top = top_count(&f->spec.need[i]);
        if (counts % (top + 1) < f->spec.need[i].min) return false;
        counts /= top + 1;
    }
    return true;
}

static uint32_t next_index(const Form *f, uint32_t i)
{
    return i < f->cap ? i + 1 : f->spec.max == BUILD_INF ? i : BUILD_INF;
}

static const Sym *item_of(const Form *f, uint32_t i)
{
    return entries_of(f, i > 0, MIN(i, f->spec.n_parts - 1));
}

static bool list_step(const Form *f, uint32_t i, uint32_t counts, uint32_t subset, uint32_t *b)
{
    uint32_t next = next_index(f, i);
    if (next == BUILD_INF || item_of(f, i)[subset] == SYM_NOTHING || !count_on(f, &counts, subset)) return false;
    *b = next * f->n_counts + counts;
    return true;
}

static bool list_shuts(const Form *f, uint32_t i, uint32_t counts)
{
    return i >= f->spec.min && counts_meet(f, counts);
}

/* From the last index to the first, and from the most counted to the least: what a step leads to is known. */
static void update_alive(const Syms *s, Form *f)
{
    for (uint32_t i = f->cap + 1; i-- > 0;) {
        for (uint32_t k = f->n_counts; k-- > 0;) {
            uint8_t *alive = &f->alive[i * f->n_counts + k];
            *alive |= list_shuts(f, i, k) && is_finite(s, f->spec.shut[i > 0]);
            for (uint32_t set = 0; set < 1u << f->spec.n_needs && !*alive; set++) {
                uint32_t b;
                *alive |= list_step(f, i, k, set, &b) && f->alive[b] && is_finite(s, item_of(f, i)[set]);
            }
        }
    }
}

/* How many entries there are, and whether the form may be shut now. */
static bool set_shuts(const Syms *s, const Form *f, uint32_t b, uint32_t c, uint32_t *count)
{
    const uint64_t *seen = set_of(&s->form_sets, b);
    bool done = (c & 0xFF) == (1u << f->spec.n_needs) - 1;
    *count = c >> 8;
    for (size_t k = 0; k < set_words(f); k++) {
        *count += (uint32_t)__builtin_popcountll(seen[k]);
        done &= !(f->must[k] & ~seen[k]);
    }
    return done && *count >= f->spec.min;
}

unsigned forms_flags(Syms *s, uint32_t form, uint32_t b, uint32_t c)
{
    Form *f = &s->form[form];
    uint32_t count = b / f->n_counts;
    bool finite, shuts;
    if (f->spec.list) {
        if (!s->frozen && b == 0) update_alive(s, f);
        finite = f->alive[b];
        shuts = list_shuts(f, count, b % f->n_counts);
    } else {
        finite = set_finite(s, f, b, c);
        shuts = set_shuts(s, f, b, c, &count);
    }
    bool nullable = shuts && (s->node[f->spec.shut[count > 0]].flags & Y_NULLABLE);
    return (finite ? Y_FINITE : 0u) | (nullable ? Y_NULLABLE : 0u);
}

/* ---- ways on ---- */

static void collect_list(Syms *s, const SymNode *n)
{
    const Form *f = &s->form[n->a];
    uint32_t i = n->b / f->n_counts, counts = n->b % f->n_counts, b;
    if (list_shuts(f, i, counts)) syms_collect_before(s, f->spec.shut[i > 0], SYM_EMPTY);
    for (uint32_t set = 0; set < 1u << f->spec.n_needs; set++)
        if (list_step(f, i, counts, set, &b)) syms_collect_before(s, item_of(f, i)[set], node_of(s, n->a, b, 0));
}

/* One entry in each variant that does something more. */
static void collect_entry(Syms *s, const SymNode *n, const Sym *entry, uint32_t b, uint32_t others)
{
    uint32_t met = n->c & 0xFF;
    for (uint32_t set = 0; set < 1u << s->form[n->a].spec.n_needs; set++)
        if (entry[set] != SYM_NOTHING && !(set & met))
            syms_collect_before(s, entry[set], node_of(s, n->a, b, met | set | others << 8));
}

static void collect_set(Syms *s, const SymNode *n)
{
    const Form *f = &s->form[n->a];
    size_t words = set_words(f);
    uint64_t seen[MAX_WORDS] = { 0 };
    uint32_t others = n->c >> 8, count;
    if (words) memcpy(seen, set_of(&s->form_sets, n->b), words * sizeof *seen);
    if (set_shuts(s, f, n->b, n->c, &count)) syms_collect_before(s, f->spec.shut[count > 0], SYM_EMPTY);
    if (count >= f->spec.max) return;
    for (uint32_t i = 0; i < f->spec.n_parts; i++) {
        uint64_t bit = 1ull << (i % WORD);
        if (bit_of(seen, i)) continue;
        seen[i / WORD] |= bit;
        uint32_t b = intern_set(&s->form_sets, seen, words);
        seen[i / WORD] &= ~bit;
        collect_entry(s, n, entries_of(f, count > 0, i), b, others);
    }
    uint32_t more = MIN(others + 1, MAX(f->cap, 1u)); /* one at least: the first entry has no comma before it */
    if (f->spec.other) collect_entry(s, n, f->spec.other + (count > 0 ? FORM_SUBSETS : 0), n->b, more);
}

void forms_collect(Syms *s, Sym e)
{
    SymNode n = s->node[e];
    if (s->form[n.a].spec.list)
        collect_list(s, &n);
    else
        collect_set(s, &n);
}
