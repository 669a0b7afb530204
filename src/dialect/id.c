/* id.c - ids of calls, in the form that the model's own template expects to see again. */
#include <stdio.h>

#include "dialect/describe.h"

/* n characters drawn from the alphabet; word i of the stream (seed, number). */
static void draw(char *out, int n, const char *alphabet, uint32_t size, uint64_t seed, int number)
{
    Rng rng = { hash_mix(seed ^ hash_mix((uint64_t)(unsigned)number + 1)) };
    for (int i = 0; i < n; i++) out[i] = alphabet[rng_below(&rng, size)];
    out[n] = 0;
}

void dialect_id(IdStyle style, uint64_t seed, int number, Str name, char *out)
{
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    switch (style) {
    case IDS_PATH:
        snprintf(out, DIALECT_ID_BYTES, "functions.%.*s:%d", (int)MIN(name.n, (size_t)DIALECT_MAX_NAME), name.p,
                 number);
        return;
    case IDS_MISTRAL: draw(out, 9, letters, sizeof letters - 1, seed, number); return;
    case IDS_OPENAI:
        memcpy(out, "call_", sizeof "call_");
        draw(out + 5, 24, "0123456789abcdef", 16, seed, number);
        return;
    }
}
