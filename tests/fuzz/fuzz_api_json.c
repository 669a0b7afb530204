/* fuzz_api_json.c - request bodies through the parsers of the endpoints. The first byte says which endpoint. */
#include "api/chat_tools.h"
#include "api/routes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const Format *const formats[] = { &completions_format, &chat_format, &generate_format };
    if (n == 0) return 0;
    Err err = { 0 };
    json_t *root = NULL;
    Server server = { .model_name = "m",
                      .dialect = dialect_find(STR("hermes")),
                      .reasoning = dialect_reasoning_find(STR("qwen3")) };
    radish_info(NULL, &server.info);
    Call c = { .server = &server, .arena = arena_new(0), .n = 1 };
    if (params_parse((Str){ (const char *)data + 1, n - 1 }, &root, &err) == OK) {
        Status status = formats[data[0] % COUNT(formats)]->prepare(&c, root, &err);
        bool refused = status == E_INVALID || status == E_UNSUPPORTED || status == E_LIMIT;
        CHECK(status == OK || (refused && err.text[0]));
        CHECK(status != OK || (c.n_prompts > 0 && c.n > 0 && (int64_t)c.n_prompts * c.n <= CALL_CHOICES_MAX));
        Buf dump = { 0 };
        json_t *again = NULL;
        params_dump(&dump, root);
        CHECK(params_parse(buf_view(&dump), &again, NULL) == OK &&
              json_equal(root, again)); /* what templates get is what came */
        json_decref(again);
        buf_free(&dump);
    }
    json_decref(root);
    chat_tools_free(&c);
    arena_free(c.arena);
    return 0;
}
