/* fuzz_jinja.c - a template and a conversation of any bytes: the input is split at its first NUL. */
#include "chat/chat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const uint8_t *nul = n ? memchr(data, 0, n) : NULL;
    size_t cut = nul ? (size_t)(nul - data) : n;
    RenderInput in = { .messages_json = STR("[{\"role\":\"user\",\"content\":\"hi\"}]"),
                       .add_generation_prompt = true };
    if (nul) in.messages_json = (Str){ (const char *)nul + 1, n - cut - 1 };
    Template *t;
    Err err;
    if (template_open((Str){ (const char *)data, cut }, &t, &err) != OK) return 0;
    Buf out = { 0 };
    in.continue_final_message = n & 1;
    template_render(t, &in, &out, &err);
    buf_free(&out);
    template_close(t);
    return 0;
}
