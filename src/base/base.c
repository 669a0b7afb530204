/* base.c - errors, string helpers, hashing, numbers from text, clocks, and counter-based random numbers.
 *
 * The only writable state is the table of panic hooks (listed in globals.txt). Any thread. */
#include "base/base.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { PANIC_HOOKS = 16 };

static struct {
    _Atomic(PanicHook *) hook; /* NULL: free. Set last, so who sees it sees its ctx */
    void *_Atomic ctx;
} panic_hooks[PANIC_HOOKS];

static void reserved(void *ctx)
{
    (void)ctx;
}

bool base_on_panic(PanicHook *hook, void *ctx)
{
    for (int i = 0; i < PANIC_HOOKS; i++) {
        PanicHook *free_slot = NULL;
        if (!atomic_compare_exchange_strong(&panic_hooks[i].hook, &free_slot, reserved)) continue;
        atomic_store(&panic_hooks[i].ctx, ctx);
        atomic_store(&panic_hooks[i].hook, hook);
        return true;
    }
    return false;
}

void base_forget_panic(PanicHook *hook, const void *ctx)
{
    for (int i = 0; i < PANIC_HOOKS; i++) {
        if (atomic_load(&panic_hooks[i].hook) != hook || atomic_load(&panic_hooks[i].ctx) != ctx) continue;
        atomic_store(&panic_hooks[i].hook, NULL);
        return;
    }
}

void base_panic(const char *file, int line, const char *what)
{
    fprintf(stderr, "radish: bug at %s:%d: %s\n", file, line, what);
    for (int i = PANIC_HOOKS - 1; i >= 0; i--) {
        PanicHook *hook = atomic_exchange(&panic_hooks[i].hook, reserved); /* one that fails must not call itself */
        if (hook) hook(atomic_load(&panic_hooks[i].ctx));
    }
    abort();
}

Status fail(Err *err, Status status, const char *fmt, ...)
{
    if (!err) return status;
    va_list args;
    va_start(args, fmt);
    err->status = status;
    vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    return status;
}

Status fail_prefix(Err *err, const char *fmt, ...)
{
    CHECK(err);
    char old[sizeof err->text];
    memcpy(old, err->text, sizeof old);
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    size_t used = n < 0 ? 0 : MIN((size_t)n, sizeof err->text - 1);
    snprintf(err->text + used, sizeof err->text - used, ": %s", old);
    return err->status;
}

/* ---- strings ---- */

bool str_eq(Str a, Str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool str_is(Str a, const char *b)
{
    return str_eq(a, str_of(b));
}

bool str_starts(Str s, Str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

bool str_ends(Str s, Str suffix)
{
    return s.n >= suffix.n && (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}

size_t str_find(Str s, Str needle, size_t from)
{
    if (from > s.n) return SIZE_MAX;
    if (needle.n == 0) return from;
    if (needle.n > s.n - from) return SIZE_MAX; /* s.p may be NULL */
    const char *hit = memmem(s.p + from, s.n - from, needle.p, needle.n);
    return hit ? (size_t)(hit - s.p) : SIZE_MAX;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

Str str_trim(Str s)
{
    while (s.n && is_space(s.p[0])) s = str_cut(s, 1, s.n);
    while (s.n && is_space(s.p[s.n - 1])) s.n--;
    return s;
}

bool str_to_i64(Str s, int64_t *out)
{
    char text[32];
    if (s.n == 0 || s.n >= sizeof text || is_space(s.p[0])) return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    char *end;
    errno = 0;
    long long x = strtoll(text, &end, 10);
    if (errno || end != text + s.n) return false;
    *out = x;
    return true;
}

bool str_to_f64(Str s, double *out)
{
    char text[64];
    if (s.n == 0 || s.n >= sizeof text || is_space(s.p[0])) return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    char *end;
    double x = strtod(text, &end);
    if (end != text + s.n) return false;
    *out = x;
    return true;
}

/* Eight bytes at a time, each mixed by a multiply and a fold: enough for hash tables, not for secrets. */
uint64_t hash_bytes(const void *p, size_t n, uint64_t seed)
{
    const uint8_t *b = p;
    uint64_t h = seed ^ (n * 0x9e3779b97f4a7c15u);
    while (n >= 8) {
        uint64_t w;
        memcpy(&w, b, 8);
        h = (h ^ w) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
        b += 8;
        n -= 8;
    }
    uint64_t w = 0;
    if (n) memcpy(&w, b, n);
    return hash_mix(h ^ w);
}

/* ---- time ---- */

int64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t clock_wall_s(void)
{
    return (int64_t)time(NULL);
}

/* ---- random numbers ---- */

uint32_t rng_word(uint64_t seed, uint64_t counter, int i)
{
    uint32_t x[4] = { (uint32_t)counter, (uint32_t)(counter >> 32), (uint32_t)i >> 2, 0 };
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)x[0] * 0xD2511F53u, b = (uint64_t)x[2] * 0xCD9E8D57u;
        uint32_t y0 = (uint32_t)(b >> 32) ^ x[1] ^ k0, y2 = (uint32_t)(a >> 32) ^ x[3] ^ k1;
        x[1] = (uint32_t)b;
        x[3] = (uint32_t)a;
        x[0] = y0;
        x[2] = y2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return x[i & 3];
}

float rng_uniform(uint64_t seed, uint64_t counter, int i)
{
    return (float)(rng_word(seed, counter, i) >> 8) * 0x1p-24f;
}

float rng_normal(Rng *r)
{
    double u = ((double)(rng_next(r) >> 11) + 0.5) * 0x1p-53, v = (double)(rng_next(r) >> 11) * 0x1p-53;
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}
