/* fuzz_safetensors.c - any bytes as model.safetensors, or (first byte odd) as the index of a sharded checkpoint. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "load/load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static volatile uint64_t sink;

static void put(const char *dir, const char *name, const void *p, size_t n)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(p, 1, n, f) != n || fclose(f) != 0) abort();
}

static void drop(const char *dir, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    unlink(path);
}

static void read_all(Checkpoint *c)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < load_n_tensors(c); i++) {
        const TensorInfo *t = load_tensor(c, i);
        size_t bytes, elems = 1;
        for (int k = 0; k < t->n_dims; k++) elems *= (size_t)t->shape[k];
        if (!quant_size(t->dtype, elems, &bytes) || bytes != t->size) abort();
        for (size_t k = 0; k < t->size; k++) sum += t->data[k];
        for (size_t k = 0; k < t->name.n; k++) sum += (uint8_t)t->name.p[k];
    }
    sink = sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char shard[] =
        "\x38\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}     wxyz";
    char dir[] = "/tmp/radish-fuzz-XXXXXX";
    Checkpoint *c;
    Err err = { 0 };
    bool index = n > 0 && (data[0] & 1);
    if (n == 0) return 0;
    if (mkdtemp(dir) == NULL) abort();
    put(dir, "config.json", "{}", 2);
    put(dir, "m-1.safetensors", shard, sizeof shard - 1);
    put(dir, index ? "model.safetensors.index.json" : "model.safetensors", data + 1, n - 1);
    if (load_open(dir, (LoadOptions){ 0 }, &c, &err) == OK) {
        read_all(c);
    } else if (err.text[0] == 0 || strchr(err.text, '\n') != NULL || c != NULL) {
        abort();
    }
    load_close(c);
    drop(dir, "config.json");
    drop(dir, "m-1.safetensors");
    drop(dir, "model.safetensors.index.json");
    drop(dir, "model.safetensors");
    rmdir(dir);
    return 0;
}
