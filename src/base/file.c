/* file.c - whole files, mapped or read. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static Status io_error(Err *err, const char *path)
{
    return fail(err, errno == ENOENT ? E_NOT_FOUND : E_IO, "%s: %s", path, strerror(errno));
}

/* Opens a regular file and gives its size. */
static Status open_file(const char *path, int *fd, size_t *size, Err *err)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0) return io_error(err, path);
    struct stat st;
    if (fstat(*fd, &st) != 0) {
        io_error(err, path);
    } else if (!S_ISREG(st.st_mode)) {
        fail(err, E_INVALID, "%s: not a regular file", path);
    } else {
        *size = (size_t)st.st_size;
        return OK;
    }
    close(*fd);
    return err ? err->status : E_IO;
}

Status file_map(const char *path, FileMap *out, Err *err)
{
    int fd = -1;
    size_t n = 0;
    TRY(open_file(path, &fd, &n, err));
    *out = (FileMap){ NULL, n };
    if (n) {
        void *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            io_error(err, path);
            close(fd);
            return E_IO;
        }
        out->p = p;
    }
    close(fd);
    return OK;
}

void file_unmap(FileMap *m)
{
    if (m->p) munmap((void *)(uintptr_t)m->p, m->n);
    *m = (FileMap){ 0 };
}

void file_drop(const void *p, size_t n)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)p + page - 1) / page * page, to = ((uintptr_t)p + n) / page * page; /* whole pages */
    if (from < to) madvise((void *)from, to - from, MADV_DONTNEED);
}

static bool read_all(int fd, char *p, size_t n)
{
    while (n) {
        ssize_t got = read(fd, p, n);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

Status file_read(Arena *a, const char *path, size_t max, Str *out, Err *err)
{
    int fd = -1;
    size_t n = 0;
    TRY(open_file(path, &fd, &n, err));
    Status status = OK;
    if (n > max) {
        status = fail(err, E_LIMIT, "%s: %zu bytes is over the limit of %zu", path, n, max);
    } else {
        char *p = arena_alloc(a, n + 1);
        *out = (Str){ p, n };
        if (!read_all(fd, p, n)) status = fail(err, E_IO, "%s: cannot read all of it", path);
    }
    close(fd);
    return status;
}

Status file_write(const char *path, Str content, Err *err)
{
    char temp[4096];
    if (snprintf(temp, sizeof temp, "%s.tmp%ld", path, (long)getpid()) >= (int)sizeof temp)
        return fail(err, E_LIMIT, "%s: name too long", path);
    FILE *f = fopen(temp, "wb");
    if (!f) return io_error(err, temp);
    bool good = fwrite(content.p ? content.p : "", 1, content.n, f) == content.n;
    good = fclose(f) == 0 && good;
    if (good && rename(temp, path) == 0) return OK;
    io_error(err, path);
    unlink(temp);
    return E_IO;
}

bool file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool file_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int64_t file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? (int64_t)st.st_size : -1;
}

char *file_join(Arena *a, const char *dir, const char *name)
{
    size_t n = strlen(dir);
    const char *slash = n && dir[n - 1] == '/' ? "" : "/";
    Str s = arena_printf(a, "%s%s%s", dir, slash, name);
    return arena_cstr(a, s);
}
