/* fuzz_tok_gguf.c - any bytes as a GGUF file with a tokenizer in its metadata. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz/tok_open.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char path[64];
    Checkpoint *c = NULL;
    Tokenizer *t = NULL;
    Err err = { 0 };
    int fd = memfd_create("fuzz.gguf", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, n) != (ssize_t)n) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (load_open(path, (LoadOptions){ 0 }, &c, &err) == OK) {
        if (tok_open(c, &t, &err) == OK)
            fuzz_tok_use(t, STR("Hello  world, it's 2024! <s>\xE4\xB8\xAD e\xCC\x81 \xFF\x80 "
                                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
        else if (err.text[0] == 0 || strchr(err.text, '\n'))
            abort();
        tok_close(t);
    }
    load_close(c);
    close(fd);
    return 0;
}
