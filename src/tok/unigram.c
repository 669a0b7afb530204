#include "tok/parts.h"
void unigram_encode(Enc *e, Str piece)
{
    (void)e;
    (void)piece;
}
Status unigram_build(Tokenizer *t, Err *err)
{
    (void)t;
    return fail(err, E_UNSUPPORTED, "unigram: not yet");
}
void unigram_free(Unigram *u)
{
    mem_free(u->score);
}
