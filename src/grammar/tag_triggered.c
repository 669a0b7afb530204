/* tag_triggered.c - free text in which triggers begin tags. See tag.h.
 *
 * A trigger with a special token in it is decided by its first one, so triggers that agree up to there are one way on. After a way comes
 * the rest of what the tags of its triggers begin with. Thread: the Build's. */
#include "grammar/tag.h"

typedef struct {
    Tags *t;
    const TagTriggered *how;
    TagTrigger *way; /* no two the same */
    size_t *used;    /* by way: bytes of a begin that are read by then */
    size_t *way_of;  /* by trigger */
    size_t n_ways;
} Triggers;

static void find_ways(Triggers *r)
{
    Arena *mem = r->t->mem;
    size_t n = r->how->triggers.n;
    r->way = ARENA_NEW(mem, TagTrigger, n + 1);
    r->way_of = ARENA_NEW(mem, size_t, n + 1);
    r->used = ARENA_NEW(mem, size_t, n + 1);
    for (size_t i = 0; i < n && build_spend(r->t->b, 1 + n / 8); i++) {
        TagTrigger w = { .id = -1 };
        size_t end, k = 0, text = tag_mark_text(r->t->b, r->how->triggers.p[i], &w.id, &end);
        w.text = str_cut(r->how->triggers.p[i], 0, text);
        while (k < r->n_ways && (r->way[k].id != w.id || !str_eq(r->way[k].text, w.text))) k++;
        r->way_of[i] = k;
        if (k < r->n_ways) continue;
        r->used[k] = end;
        r->way[r->n_ways++] = w;
    }
}

/* A trigger that holds another would never be reached, or at the same time. */
static void check_apart(Triggers *r)
{
    Str place = tag_child(r->t, r->how->at, "triggers");
    for (size_t i = 0; i < r->how->triggers.n && !build_failed(r->t->b); i++) {
        const TagTrigger *x = &r->way[r->way_of[i]];
        for (size_t k = 0; k < r->n_ways && x->id < 0; k++) {
            const TagTrigger *y = &r->way[k];
            if (!build_spend(r->t->b, 1 + x->text.n / 64)) return;
            if (y != x && y->id < 0 && str_find(x->text, y->text, 0) != SIZE_MAX)
                tag_refuse(r->t, tag_item(r->t, place, i), NULL, E_INVALID, "holds another trigger");
        }
    }
}

/* The way of the one trigger that the tag begins with; SIZE_MAX: failed. */
static size_t way_of_tag(Triggers *r, size_t tag)
{
    size_t found = SIZE_MAX;
    Str begin = r->how->tags[tag].begin, place = tag_item(r->t, r->how->at_tags, tag);
    if (r->how->tags[tag].is_token) tag_refuse(r->t, place, "begin", E_INVALID, "must be a string here");
    for (size_t i = 0; i < r->how->triggers.n && build_spend(r->t->b, 1); i++) {
        if (!str_starts(begin, r->how->triggers.p[i])) continue;
        if (found != SIZE_MAX && r->way_of[i] != found)
            tag_refuse(r->t, place, "begin", E_INVALID, "begins with several triggers");
        found = r->way_of[i];
    }
    if (found == SIZE_MAX) tag_refuse(r->t, place, "begin", E_INVALID, "begins with none of the triggers");
    return build_failed(r->t->b) ? SIZE_MAX : found;
}

/* What follows each way, and any of the tags by itself. */
static Sym join_tags(Triggers *r)
{
    Tags *t = r->t;
    size_t n = r->how->n, *way = ARENA_NEW(t->mem, size_t, n + 1);
    Sym *whole = ARENA_NEW(t->mem, Sym, n + 1), *rest = ARENA_NEW(t->mem, Sym, n + 1);
    Sym *alt = ARENA_NEW(t->mem, Sym, n + 1);
    for (size_t i = 0; i < n; i++) {
        const TagParts *p = &r->how->tags[i];
        way[i] = way_of_tag(r, i);
        if (way[i] == SIZE_MAX) return SYM_NOTHING;
        Str more = str_cut(p->begin, r->used[way[i]], p->begin.n);
        rest[i] = rule_seq(t->b, (Sym[]){ tag_mark(t->b, more), p->inner }, 2);
        whole[i] = rule_seq(t->b, (Sym[]){ tag_mark(t->b, p->begin), p->inner }, 2);
    }
    for (size_t k = 0; k < r->n_ways && build_spend(t->b, 1 + n / 16); k++) {
        size_t n_alt = 0;
        for (size_t i = 0; i < n; i++)
            if (way[i] == k) alt[n_alt++] = rest[i];
        r->way[k].after = rule_alt(t->b, alt, n_alt);
    }
    return rule_alt(t->b, whole, n);
}

Sym tag_after_triggers(Tags *t, const TagTriggered *how)
{
    Triggers r = { .t = t, .how = how };
    find_ways(&r);
    check_apart(&r);
    Sym one = build_failed(t->b) ? SYM_NOTHING : join_tags(&r);
    if (build_failed(t->b) || (how->must && !how->loop)) return one;
    build_at(t->b, tag_child(t, how->at, "triggers"));
    Sym all = tag_free_text(t, r.way, r.n_ways, how->excludes, how->loop);
    return how->must ? rule_seq(t->b, (Sym[]){ one, all }, 2) : all;
}

Sym tag_triggered(Tags *t, json_t *j, Str at, const TagEnds *ends)
{
    static const char *const keys[] = { "triggers", "tags", "at_least_one", "stop_after_first", "excludes" };
    TagTriggered how = { .at = at, .at_tags = tag_child(t, at, "tags") };
    if (!tag_known(t, j, at, keys, COUNT(keys))) return SYM_NOTHING;
    how.triggers = tag_texts(t, j, at, keys[0], false);
    how.must = tag_flag(t, j, at, keys[2], false);
    how.loop = !tag_flag(t, j, at, keys[3], false);
    how.excludes = tag_texts_and(t, tag_texts(t, j, at, keys[4], true), ends->texts);
    if (!build_failed(t->b) && how.triggers.n == 0) tag_refuse(t, at, keys[0], E_INVALID, "must have a trigger");
    how.tags = build_failed(t->b) ? NULL : tag_parts_list(t, j, at, ends, &how.n);
    return how.tags ? tag_after_triggers(t, &how) : SYM_NOTHING;
}
