/* fuzz_gguf.c - any bytes as a GGUF file: refused, or every tensor and value that it lends can be read. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "load/load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static volatile uint64_t sink;

static void read_all(Checkpoint *c)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < load_n_tensors(c); i++) {
        const TensorInfo *t = load_tensor(c, i);
        size_t bytes, elems = 1;
        for (int k = 0; k < t->n_dims; k++) elems *= (size_t)t->shape[k];
        if (!quant_size(t->dtype, elems, &bytes) || bytes != t->size) abort();
        for (size_t k = 0; k < t->size; k++) sum += t->data[k];
    }
    for (size_t i = 0; i < load_n_meta(c); i++) {
        const Meta *m = load_meta(c, i);
        Str s;
        double x;
        bool yes;
        size_t strings = 0;
        for (size_t k = 0; k < m->size; k++) sum += m->data[k];
        for (size_t pos = 0; load_meta_next_str(m, &pos, &s); strings++) sum += s.n ? (uint8_t)s.p[s.n - 1] : 0;
        if (m->elem == META_STRING && strings != m->count) abort();
        for (size_t k = 0; k <= m->count; k++) sum += load_meta_f64(m, k, &x) + load_meta_bool(m, k, &yes);
    }
    sink = sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char path[64];
    Checkpoint *c;
    Err err = { 0 };
    int fd = memfd_create("fuzz.gguf", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, n) != (ssize_t)n) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (load_open(path, (LoadOptions){ 0 }, &c, &err) == OK) {
        read_all(c);
    } else if (err.text[0] == 0 || strchr(err.text, '\n') != NULL || c != NULL) {
        abort(); /* a refusal is one line of text */
    }
    load_close(c);
    close(fd);
    return 0;
}
