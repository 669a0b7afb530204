/* file.h - whole files, mapped or read. Paths are NUL-terminated: this is the OS border. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/base.h"

typedef struct {
    const uint8_t *p; /* read-only; NULL for an empty file */
    size_t n;
} FileMap;

Status file_map(const char *path, FileMap *out, Err *err);
void file_unmap(FileMap *m);
/* [p, p + n) of a mapped file has been used: it need not stay in this process's memory. It comes back if it is read again. */
void file_drop(const void *p, size_t n);
/* Reads a file of at most max bytes into the arena (NUL-terminated beyond n). */
Status file_read(Arena *a, const char *path, size_t max, Str *out, Err *err);
Status file_write(const char *path, Str content, Err *err); /* through a temporary name, then renamed */
bool file_exists(const char *path);
bool file_is_dir(const char *path);
int64_t file_size(const char *path); /* -1 if there is none */
/* "dir/name" in the arena. */
char *file_join(Arena *a, const char *dir, const char *name);

#endif
