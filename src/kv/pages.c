/* pages.c - hands out page numbers from a stack of free ones and knows the state of each.
 *
 * The stack starts so that pages go out in rising order: a fresh sequence gets neighbours. Thread: the Kv's owner. */
#include "kv/pages.h"

void pages_init(Pages *p, int n, bool with_tree)
{
    CHECK(n > 0);
    *p = (Pages){ .n = n, .n_free = n };
    p->free = mem_alloc_array((size_t)n, sizeof *p->free);
    p->state = mem_alloc((size_t)n);
    for (int i = 0; i < n; i++) p->free[i] = n - 1 - i;
    if (!with_tree) return;
    p->next = mem_alloc_array((size_t)n, sizeof *p->next);
    p->prev = mem_alloc_array((size_t)n, sizeof *p->prev);
    p->tok = mem_alloc_array((size_t)n, sizeof *p->tok);
}

void pages_done(Pages *p)
{
    mem_free(p->free);
    mem_free(p->state);
    mem_free(p->next);
    mem_free(p->prev);
    mem_free(p->tok);
}

void pages_take(Pages *p, int n, int32_t *out)
{
    CHECK(n <= p->n_free);
    for (int i = 0; i < n; i++) {
        int32_t page = p->free[--p->n_free];
        DEBUG_CHECK(p->state[page] == PAGE_FREE);
        p->state[page] = PAGE_TAKEN;
        out[i] = page;
    }
}

void pages_give_back(Pages *p, int32_t page)
{
    CHECK(page >= 0 && page < p->n && p->state[page] != PAGE_FREE);
    p->state[page] = PAGE_FREE;
    p->free[p->n_free++] = page;
}
