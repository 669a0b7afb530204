#include "tok/parts.h"
Status read_json(Str text, const char *name, Tokenizer *t, Err *err)
{
    (void)text;
    (void)t;
    return fail(err, E_UNSUPPORTED, "%s: not yet", name);
}
Status read_json_config(const Files *f, Tokenizer *t, Err *err)
{
    (void)f;
    (void)t;
    (void)err;
    return OK;
}
Status read_tekken(Str text, const char *name, Tokenizer *t, Err *err)
{
    (void)text;
    (void)t;
    return fail(err, E_UNSUPPORTED, "%s: not yet", name);
}
Status read_model(Str bytes, const char *name, const Files *f, Tokenizer *t, Err *err)
{
    (void)bytes;
    (void)f;
    (void)t;
    return fail(err, E_UNSUPPORTED, "%s: not yet", name);
}
