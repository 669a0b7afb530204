/* base.h - the words every other folder is written in: strings, errors, arenas, checked arithmetic.
 *
 * Nothing here knows what Radish does. Everything is safe to call from any thread as long as one
 * object is used by one thread at a time. */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define NORETURN               __attribute__((noreturn))

/* ---- bugs: CHECK stays in release builds ---- */

/* Prints where and what, runs the hooks (an engine tells its last steps), and aborts. */
NORETURN void base_panic(const char *file, int line, const char *what);
/* Adds a hook, which base_panic calls with ctx on the thread that failed, whatever others are doing: it may only look, and
 * print. Any thread. False: there are 16 already. */
typedef void PanicHook(void *ctx);
bool base_on_panic(PanicHook *hook, void *ctx);
void base_forget_panic(PanicHook *hook, const void *ctx); /* before ctx goes away; not there: nothing */

#define CHECK(cond) ((cond) ? (void)0 : base_panic(__FILE__, __LINE__, #cond))
#ifdef NDEBUG
#define DEBUG_CHECK(cond) ((void)0)
#else
#define DEBUG_CHECK(cond) CHECK(cond)
#endif

/* ---- refusals: a Status and the sentence that says why ---- */

typedef enum {
    OK = 0,
    E_INVALID,     /* the caller's input is wrong: say what to change */
    E_UNSUPPORTED, /* understood, but not something this build or model does */
    E_LIMIT,       /* over a stated limit */
    E_NOT_FOUND,
    E_BUSY, /* try again later: queue full, draining */
    E_IO,
    E_CORRUPT, /* a file or message contradicts itself */
    E_DEVICE,  /* the accelerator failed; nothing on it can be trusted */
    E_CANCELLED
} Status;

typedef struct {
    Status status;
    char text[512];
} Err;

/* Writes the text (cut to fit; err may be NULL) and returns status. */
Status fail(Err *err, Status status, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Puts "prefix: " before the text already there; returns err's status. For adding a file's name on the way up. */
Status fail_prefix(Err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Forwards a failure. Only where there is nothing to release. */
#define TRY(expr)                                                                                                      \
    do {                                                                                                               \
        Status try_status_ = (expr);                                                                                   \
        if (try_status_ != OK) return try_status_;                                                                     \
    } while (0)

/* ---- strings: a pointer and a length, not terminated, borrowed ---- */

typedef struct {
    const char *p;
    size_t n;
} Str;

#define STR(literal) ((Str){ (literal), sizeof(literal) - 1 })
#define STR_FMT(s)   (int)(s).n, (s).p /* for "%.*s" */

static inline Str str_of(const char *c)
{
    return (Str){ c, c ? strlen(c) : 0 };
}
static inline Str str_cut(Str s, size_t from, size_t to)
{
    return (Str){ s.p + from, to - from };
}
bool str_eq(Str a, Str b);
bool str_is(Str a, const char *b);
bool str_starts(Str s, Str prefix);
bool str_ends(Str s, Str suffix);
/* Offset of the first needle at or after from, or SIZE_MAX. An empty needle is found at from. */
size_t str_find(Str s, Str needle, size_t from);
Str str_trim(Str s); /* ASCII white space off both ends */
/* Whole string as a number; false on anything else (empty, spaces, trailing bytes, overflow). */
bool str_to_i64(Str s, int64_t *out);
bool str_to_f64(Str s, double *out);
/* 0 to 15, in either case; -1: c is no hexadecimal digit. */
static inline int hex_digit(int c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}
/* 64-bit hash of bytes (not cryptographic); seed with something secret for keys from outside. */
uint64_t hash_bytes(const void *p, size_t n, uint64_t seed);
static inline uint64_t hash_mix(uint64_t x) /* splitmix64's finaliser */
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* ---- checked arithmetic for sizes that come from outside: false on overflow ---- */

static inline bool mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool add_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* ---- memory ---- */

/* An arena hands out memory that lives until the arena is reset or freed: one request, one step, one
 * model. It never returns NULL: exhausted host memory ends the process, so bound sizes first.
 * What is at least 64 bytes long is aligned to 64, anything less to 16. One thread at a time. */
typedef struct Arena Arena;

Arena *arena_new(size_t block_size);   /* 0: a default of 16 KiB, growing */
void arena_free(Arena *a);             /* NULL is fine */
void arena_reset(Arena *a);            /* keeps its largest block, so a steady user allocates nothing */
void *arena_alloc(Arena *a, size_t n); /* zeroed */
void *arena_copy(Arena *a, const void *p, size_t n);
Str arena_str(Arena *a, Str s); /* copied, and NUL-terminated for borders */
char *arena_cstr(Arena *a, Str s);
Str arena_printf(Arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
size_t arena_used(const Arena *a);
#define ARENA_NEW(a, type, count) ((type *)arena_alloc_array((a), (count), sizeof(type)))
void *arena_alloc_array(Arena *a, size_t count, size_t size); /* panics on overflow: bound first */

/* Plain heap for objects and growing containers; never NULL, zeroed, freed by mem_free. */
void *mem_alloc(size_t n);
void *mem_alloc_array(size_t count, size_t size);
void *mem_grow(void *p, size_t n); /* realloc; new bytes are not zeroed */
void mem_free(void *p);
/* Page-aligned zeroed memory, huge pages asked for; for weights, KV pages and other large things. */
void *mem_map(size_t n);
void mem_unmap(void *p, size_t n);
uint64_t mem_allocations(void); /* calls so far to mem_* and new arena blocks; a test proves a step makes none */

/* ---- a growing byte buffer ---- */

typedef struct {
    char *p;
    size_t n, cap;
} Buf;

void buf_free(Buf *b);
void buf_reserve(Buf *b, size_t more);
void buf_add(Buf *b, const void *p, size_t n);
static inline void buf_str(Buf *b, Str s)
{
    buf_add(b, s.p, s.n);
}
static inline void buf_char(Buf *b, char c)
{
    buf_add(b, &c, 1);
}
void buf_printf(Buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
static inline void buf_clear(Buf *b)
{
    b->n = 0;
}
static inline Str buf_view(const Buf *b)
{
    return (Str){ b->p, b->n };
}

/* A growing array of token ids: the one typed array that half the tree passes around. */
typedef struct {
    int32_t *p;
    size_t n, cap;
} Ids;

void ids_free(Ids *a);
void ids_reserve(Ids *a, size_t more);
void ids_add(Ids *a, const int32_t *p, size_t n);
static inline void ids_push(Ids *a, int32_t id)
{
    if (a->n == a->cap) ids_reserve(a, 1);
    a->p[a->n++] = id;
}

/* ---- time: callers that must be deterministic take a now_ns parameter instead ---- */

int64_t clock_ns(void);     /* monotonic */
int64_t clock_wall_s(void); /* seconds since 1970 */

/* ---- random numbers: a counter in, a number out; the same on every machine ---- */

/* Philox 4x32-10 (Salmon et al., SC'11): word i of the stream (seed, counter). */
uint32_t rng_word(uint64_t seed, uint64_t counter, int i);
/* Uniform in [0,1), 24 bits. */
float rng_uniform(uint64_t seed, uint64_t counter, int i);
/* A small sequential generator for tests and dummy weights: splitmix64. */
typedef struct {
    uint64_t s;
} Rng;
static inline uint64_t rng_next(Rng *r)
{
    return hash_mix(r->s += 0x9e3779b97f4a7c15u);
}
static inline uint32_t rng_below(Rng *r, uint32_t n)
{
    return (uint32_t)(((rng_next(r) >> 32) * n) >> 32);
}
float rng_normal(Rng *r); /* mean 0, deviation 1 (Box-Muller) */

#endif
