/* fuzz_tag.c - a structural tag of any bytes. Every bit of its first masks is held against the machine itself, and a random walk along
 * them never gets stuck. */
#include "fuzz_grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *const tokens[] = { "a",  "b", "<",  ">", "/",    "<a",        "</",    "a>",
                                      "{",  "}", "\"", ":", "1",    ",",         "=",     " ",
                                      "\n", "[", "]",  "(", "true", "parameter", "<|x|>", "\xc3\xa9" };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    fuzz_grammar((FuzzTokens){ tokens, COUNT(tokens) }, GRAMMAR_STRUCTURAL_TAG, NULL, data, n);
    return 0;
}
