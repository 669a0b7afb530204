/* fuzz_ebnf.c - an EBNF grammar of any bytes. Every bit of its first masks is held against the machine itself, and a random walk
 * along them never gets stuck. */
#include "fuzz_grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *const tokens[] = { "a",  "b",   "0",        "1",    "\"", "\\", "ab", "aa",
                                      "a0", "0\"", "\xc3\xa9", "\xc3", "(",  ")",  "+",  "," };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    fuzz_grammar((FuzzTokens){ tokens, COUNT(tokens) }, GRAMMAR_EBNF, NULL, data, n);
    return 0;
}
