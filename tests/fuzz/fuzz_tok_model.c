/* fuzz_tok_model.c - any bytes as a tokenizer.model (a SentencePiece protocol buffer or tiktoken ranks) or a tekken.json. */
#include "fuzz/tok_open.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    return fuzz_tok_open(data, n, "tokenizer.model");
}
