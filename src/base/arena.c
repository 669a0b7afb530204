/* arena.c - memory: arenas, the plain heap behind growing containers, and large mapped regions.
 *
 * An arena is a list of blocks, newest first; only the newest is allocated from. A reset frees all but the largest block, so
 * an arena that is reset every step soon stops allocating. mem_allocations() counts what reaches the heap: the
 * counter is how a test proves that a decode step allocates nothing. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/base.h"

enum { ALIGN = 64, SMALL = 16, DEFAULT_BLOCK = 16 << 10, MAX_GROWTH = 4 << 20 };

typedef struct Block {
    struct Block *older;
    size_t size, used; /* of data */
    size_t pad[5];
    char data[]; /* aligned: the header is 64 bytes */
} Block;
_Static_assert(sizeof(Block) == ALIGN, "block data must start aligned");

struct Arena {
    Block *newest;
    size_t block_size;
    bool grows;
};

static _Atomic uint64_t n_allocations;

uint64_t mem_allocations(void)
{
    return atomic_load_explicit(&n_allocations, memory_order_relaxed);
}

static void *counted(void *p, size_t n)
{
    if (!p) {
        fprintf(stderr, "radish: out of memory (%zu bytes)\n", n);
        abort();
    }
    atomic_fetch_add_explicit(&n_allocations, 1, memory_order_relaxed);
    return p;
}

void *mem_alloc(size_t n)
{
    return counted(calloc(1, n ? n : 1), n);
}

void *mem_alloc_array(size_t count, size_t size)
{
    return counted(calloc(count ? count : 1, size ? size : 1), count);
}

void *mem_grow(void *p, size_t n)
{
    return counted(realloc(p, n ? n : 1), n);
}

void mem_free(void *p)
{
    free(p);
}

/* mmap rounds to pages by itself; 2 MiB alignment lets the kernel use huge pages from the first byte. */
void *mem_map(size_t n)
{
    const size_t huge = 2 << 20;
    size_t size;
    CHECK(add_size(n, huge, &size));
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) counted(NULL, n);
    counted(p, n);
    size_t skip = (huge - (uintptr_t)p % huge) % huge, page = 4096;
    size_t keep = (n + page - 1) / page * page;
    if (skip) munmap(p, skip);
    if (skip + keep < size) munmap(p + skip + keep, size - skip - keep);
    if (n >= huge) madvise(p + skip, keep, MADV_HUGEPAGE);
    return p + skip;
}

void mem_unmap(void *p, size_t n)
{
    if (p) munmap(p, (n + 4095) / 4096 * 4096);
}

/* ---- arenas ---- */

static Block *block_new(size_t size, Block *older)
{
    size_t whole;
    CHECK(add_size(size, sizeof(Block) + ALIGN, &whole));
    whole = (whole + ALIGN - 1) / ALIGN * ALIGN;
    Block *b = counted(aligned_alloc(ALIGN, whole), whole);
    b->older = older;
    b->size = size;
    b->used = 0;
    return b;
}

Arena *arena_new(size_t block_size)
{
    Arena *a = mem_alloc(sizeof *a);
    a->block_size = block_size ? block_size : DEFAULT_BLOCK;
    a->grows = block_size == 0;
    return a;
}

void arena_free(Arena *a)
{
    if (!a) return;
    for (Block *b = a->newest; b;) {
        Block *older = b->older;
        free(b);
        b = older;
    }
    free(a);
}

void arena_reset(Arena *a)
{
    Block *largest = a->newest;
    for (Block *b = a->newest; b; b = b->older) {
        if (b->size > largest->size) largest = b;
    }
    for (Block *b = a->newest; b;) {
        Block *older = b->older;
        if (b != largest) free(b);
        b = older;
    }
    if (largest) {
        largest->older = NULL;
        largest->used = 0;
    }
    a->newest = largest;
}

void *arena_alloc(Arena *a, size_t n)
{
    CHECK(n <= SIZE_MAX / 2);
    size_t unit = n < ALIGN ? SMALL : ALIGN; /* from a cache line on, whole lines of its own: SIMD may read them */
    size_t need = (n + unit - 1) / unit * unit;
    Block *b = a->newest;
    size_t at = b ? (b->used + unit - 1) / unit * unit : 0;
    if (!b || at > b->size || b->size - at < need) {
        b = a->newest = block_new(MAX(need, a->block_size), b);
        if (a->grows && a->block_size < MAX_GROWTH) a->block_size *= 2;
        at = 0;
    }
    void *p = b->data + at;
    b->used = at + need;
    memset(p, 0, n);
    return p;
}

void *arena_alloc_array(Arena *a, size_t count, size_t size)
{
    size_t n;
    CHECK(mul_size(count, size, &n));
    return arena_alloc(a, n);
}

void *arena_copy(Arena *a, const void *p, size_t n)
{
    void *q = arena_alloc(a, n);
    if (n) memcpy(q, p, n);
    return q;
}

char *arena_cstr(Arena *a, Str s)
{
    char *p = arena_alloc(a, s.n + 1);
    if (s.n) memcpy(p, s.p, s.n);
    return p;
}

Str arena_str(Arena *a, Str s)
{
    return (Str){ arena_cstr(a, s), s.n };
}

Str arena_printf(Arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    CHECK(n >= 0);
    char *p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return (Str){ p, (size_t)n };
}

size_t arena_used(const Arena *a)
{
    size_t n = 0;
    for (const Block *b = a->newest; b; b = b->older) n += b->used;
    return n;
}

/* ---- growing containers ---- */

/* Doubles until `more` fits: appending n times costs O(n). */
static size_t grown(size_t n, size_t cap, size_t more, size_t least)
{
    size_t need;
    CHECK(add_size(n, more, &need) && need <= SIZE_MAX / 4);
    size_t to = MAX(cap, least);
    while (to < need) to *= 2;
    return to;
}

void buf_free(Buf *b)
{
    free(b->p);
    *b = (Buf){ 0 };
}

void buf_reserve(Buf *b, size_t more)
{
    if (b->p && b->cap - b->n >= more) return;
    b->cap = grown(b->n, b->cap, more, 64);
    b->p = mem_grow(b->p, b->cap);
}

void buf_add(Buf *b, const void *p, size_t n)
{
    if (n == 0) return;
    buf_reserve(b, n);
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void buf_printf(Buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    CHECK(n >= 0);
    buf_reserve(b, (size_t)n + 1);
    vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
    va_end(again);
    b->n += (size_t)n;
}

void ids_free(Ids *a)
{
    free(a->p);
    *a = (Ids){ 0 };
}

void ids_reserve(Ids *a, size_t more)
{
    if (a->p && a->cap - a->n >= more) return;
    a->cap = grown(a->n, a->cap, more, 16);
    a->p = mem_grow(a->p, a->cap * sizeof *a->p);
}

void ids_add(Ids *a, const int32_t *p, size_t n)
{
    if (n == 0) return;
    ids_reserve(a, n);
    memcpy(a->p + a->n, p, n * sizeof *p);
    a->n += n;
}
