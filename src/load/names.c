/* names.c - the table from names to indices behind load_find and load_meta_find.
 *
 * Names come from outside, so the hash is seeded: a file cannot be made to fall into one chain. The table is sized once
 * for the known number of names and is at most half full. Thread: as checkpoint.h. */
#include "load/checkpoint.h"

void load_names_init(NameTable *t, Arena *a, size_t n_max)
{
    size_t slots = 8;
    while (slots < n_max * 2) slots *= 2;
    *t = (NameTable){ .slots = ARENA_NEW(a, NameSlot, slots), .n_slots = slots };
    t->seed = hash_mix((uint64_t)clock_ns() ^ (uint64_t)(uintptr_t)t->slots);
}

/* The slot that holds name, or the free one where it belongs. */
static NameSlot *slot_of(const NameTable *t, Str name)
{
    size_t i = hash_bytes(name.p, name.n, t->seed) & (t->n_slots - 1);
    while (t->slots[i].name.p != NULL && !str_eq(t->slots[i].name, name)) i = (i + 1) & (t->n_slots - 1);
    return &t->slots[i];
}

bool load_names_put(NameTable *t, Str name, size_t index)
{
    CHECK(name.p != NULL && t->n < t->n_slots / 2 && index <= UINT32_MAX);
    NameSlot *slot = slot_of(t, name);
    if (slot->name.p != NULL) return false;
    *slot = (NameSlot){ name, (uint32_t)index };
    t->n++;
    return true;
}

bool load_names_find(const NameTable *t, Str name, size_t *index)
{
    if (t->n_slots == 0) return false;
    const NameSlot *slot = slot_of(t, name);
    if (slot->name.p == NULL) return false;
    *index = slot->index;
    return true;
}

ShownName load_shown(Str name)
{
    ShownName shown = { { 0 } };
    size_t max = sizeof shown.text - 4, n = MIN(name.n, max);
    for (size_t i = 0; i < n; i++) shown.text[i] = (char)(name.p[i] >= ' ' && name.p[i] <= '~' ? name.p[i] : '?');
    if (name.n > max) memcpy(shown.text + max, "...", 4);
    return shown;
}
