/* fuzz_tok_json.c - any bytes as a tokenizer.json. */
#include "fuzz/tok_open.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    return fuzz_tok_open(data, n, "tokenizer.json");
}
