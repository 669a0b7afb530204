/* fuzz_config.c - any bytes as a model's description: a config.json, or a whole GGUF file where they begin as one. Refused in one
 * line, or the plan that comes out is one that can be built. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model/config.h"
#include "model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_refusal(const Err *err)
{
    if (err->text[0] == 0 || strchr(err->text, '\n') != NULL) abort();
}

static void check_rope(const ModelConfig *c)
{
    for (int i = 0; i < MODEL_ROPES_MAX; i++) {
        float freq[MODEL_ROPE_PAIRS_MAX], mscale;
        if (i == 1 && c->rope_theta_local <= 0.0f) break;
        rope_compute(&c->rope[i], c->rot_dim, c->n_ctx, rope_context_max(c), freq, &mscale);
        if (!(mscale > 0.0f)) abort();
        for (int k = 0; k < c->rot_dim / 2; k++)
            if (!(freq[k] >= 0.0f)) abort(); /* NaN too */
    }
}

static void as_json(const uint8_t *data, size_t n)
{
    ModelConfig c;
    const Arch *arch;
    Err err = { 0 };
    if (config_from_json((Str){ (const char *)data, n }, &arch, &c, &err) != OK) {
        check_refusal(&err);
        return;
    }
    if (c.n_layer < 1 || c.n_layer > MODEL_LAYERS_MAX || c.n_head % c.n_kv_head != 0 || c.rot_dim > c.head_dim) abort();
    check_rope(&c);
}

static void as_gguf(const uint8_t *data, size_t n)
{
    char path[64];
    Checkpoint *c;
    ModelInfo info;
    Err err = { 0 };
    int fd = memfd_create("fuzz.gguf", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, n) != (ssize_t)n) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (load_open(path, (LoadOptions){ 0 }, &c, &err) == OK) {
        ModelOptions o = { .max_batch_tokens = 64, .max_seqs = 8, .n_pages = 1, .kv_dtype = DT_F16 };
        if (model_plan(c, &o, &info, &err) != OK) check_refusal(&err);
    }
    load_close(c);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n >= 4 && memcmp(data, "GGUF", 4) == 0)
        as_gguf(data, n);
    else
        as_json(data, n);
    return 0;
}
