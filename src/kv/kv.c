/* kv.c - the door: pages and the tree put together, and what they did counted.
 *
 * A caller's sequence is one array of page numbers: the first ones are the tree's (those of its KvPrefix), the rest it has
 * taken. kv_remember moves that border to the right. Everything is allocated by kv_new. Thread: the owner's. */
#include "kv/kv.h"

#include "kv/pages.h"
#include "kv/radix.h"

struct Kv {
    Pages pages;
    Radix tree;
    bool use_tree;
    int32_t *found; /* [n_pages] scratch of kv_remember */
    uint64_t hit_tokens, looked_up_tokens, evicted_pages;
};

Kv *kv_new(int n_pages, bool use_tree)
{
    Kv *kv = mem_alloc(sizeof *kv);
    kv->use_tree = use_tree;
    pages_init(&kv->pages, n_pages, use_tree);
    if (!use_tree) return kv;
    radix_init(&kv->tree, &kv->pages);
    kv->found = mem_alloc_array((size_t)n_pages, sizeof *kv->found);
    return kv;
}

void kv_free(Kv *kv)
{
    if (!kv) return;
    if (kv->use_tree) radix_done(&kv->tree);
    pages_done(&kv->pages);
    mem_free(kv->found);
    mem_free(kv);
}

KvPrefix kv_match(Kv *kv, uint64_t salt, const int32_t *tok, int n, int32_t *pages)
{
    if (!kv->use_tree) return (KvPrefix){ NULL, 0 };
    int found;
    KvNode *at = radix_descend(&kv->tree, NULL, salt, tok, n / KV_PAGE_TOKENS, pages, &found);
    radix_pin(&kv->tree, at);
    kv->looked_up_tokens += (uint64_t)n;
    kv->hit_tokens += (uint64_t)found * KV_PAGE_TOKENS;
    return (KvPrefix){ at, found * KV_PAGE_TOKENS };
}

int kv_peek(const Kv *kv, uint64_t salt, const int32_t *tok, int n)
{
    return kv->use_tree ? radix_peek(&kv->tree, salt, tok, n / KV_PAGE_TOKENS) * KV_PAGE_TOKENS : 0;
}

void kv_unpin(Kv *kv, KvPrefix p)
{
    if (p.at) radix_unpin(&kv->tree, p.at);
}

int kv_available(const Kv *kv)
{
    return kv->pages.n_free + kv->tree.n_pages - kv->tree.n_pinned;
}

bool kv_take(Kv *kv, int n, int32_t *pages)
{
    if (n > kv_available(kv)) return false;
    int missing = n - kv->pages.n_free;
    if (missing > 0) kv->evicted_pages += (uint64_t)radix_evict(&kv->tree, missing);
    pages_take(&kv->pages, n, pages);
    return true;
}

void kv_give_back(Kv *kv, int n, const int32_t *pages)
{
    for (int i = n - 1; i >= 0; i--) {
        CHECK(kv->pages.state[pages[i]] == PAGE_TAKEN);
        pages_give_back(&kv->pages, pages[i]);
    }
}

KvPrefix kv_remember(Kv *kv, uint64_t salt, KvPrefix under, const int32_t *tok, int n, int32_t *pages)
{
    int known = under.n_tok / KV_PAGE_TOKENS, whole = n / KV_PAGE_TOKENS;
    if (!kv->use_tree || whole <= known) return under;
    int more;
    KvNode *at = radix_descend(&kv->tree, under.at, salt, tok + under.n_tok, whole - known, kv->found, &more);
    for (int i = 0; i < more; i++) { /* others have told the tree meanwhile: equal content, our double goes home */
        kv_give_back(kv, 1, &pages[known + i]);
        pages[known + i] = kv->found[i];
    }
    known += more;
    if (known < whole) {
        int own_pins = at == under.at ? 1 : 0;
        at = radix_append(&kv->tree, at, own_pins, salt, tok + (size_t)known * KV_PAGE_TOKENS, whole - known,
                          pages + known);
    }
    if (at != under.at) {
        radix_pin(&kv->tree, at);
        kv_unpin(kv, under);
    }
    return (KvPrefix){ at, whole * KV_PAGE_TOKENS };
}

void kv_flush(Kv *kv)
{
    if (kv->use_tree) radix_evict(&kv->tree, kv->pages.n);
}

KvStats kv_stats(const Kv *kv)
{
    const Pages *p = &kv->pages;
    const Radix *t = &kv->tree;
    return (KvStats){ .n_pages = p->n,
                      .n_free = p->n_free,
                      .n_tree = t->n_pages,
                      .n_taken = p->n - p->n_free - t->n_pages,
                      .n_pinned = t->n_pinned,
                      .n_nodes = t->n_nodes,
                      .hit_tokens = kv->hit_tokens,
                      .looked_up_tokens = kv->looked_up_tokens,
                      .evicted_pages = kv->evicted_pages };
}

void kv_verify(const Kv *kv)
{
    const Pages *p = &kv->pages;
    int count[3] = { 0 };
    for (int i = 0; i < p->n; i++) count[p->state[i]]++;
    CHECK(count[PAGE_FREE] == p->n_free && count[PAGE_TREE] == kv->tree.n_pages);
    uint8_t *seen = mem_alloc((size_t)p->n);
    for (int i = 0; i < p->n_free; i++) {
        int32_t page = p->free[i];
        CHECK(page >= 0 && page < p->n && p->state[page] == PAGE_FREE && !seen[page]);
        seen[page] = 1;
    }
    mem_free(seen);
    if (kv->use_tree) radix_verify(&kv->tree);
}
