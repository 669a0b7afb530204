/* nodes.c - reads the system's list of memory nodes and their cores. */
#include "base/nodes.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { LIST_MAX = 4096, NUMBERS_MAX = 1024 }; /* bytes of a list; node numbers may have gaps */

static int read_number(const char **at)
{
    int v = 0, digits = 0;
    for (; **at >= '0' && **at <= '9' && v < CPU_SETSIZE; (*at)++, digits++) v = 10 * v + (**at - '0');
    return digits ? v : -1;
}

/* "0-3,8,10-11\n". False: it says something else. */
static bool parse_list(const char *at, cpu_set_t *out)
{
    CPU_ZERO(out);
    while (*at && *at != '\n') {
        int first = read_number(&at), last = first;
        if (first >= 0 && *at == '-') {
            at++;
            last = read_number(&at);
        }
        if (first < 0 || last < first || last >= CPU_SETSIZE) return false;
        for (int c = first; c <= last; c++) CPU_SET((size_t)c, out);
        if (*at == ',') at++;
    }
    return true;
}

/* False: no such node. */
static bool read_node(const char *dir, int number, cpu_set_t *out)
{
    char path[512], text[LIST_MAX];
    int n = snprintf(path, sizeof path, "%s/node%d/cpulist", dir, number);
    if (n < 0 || n >= (int)sizeof path) return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got < 0) return false;
    text[got] = 0;
    return parse_list(text, out);
}

void nodes_find(const char *dir, const cpu_set_t *allowed, Nodes *out)
{
    int n_cores = 0;
    out->n = 0;
    for (int i = 0; i < NUMBERS_MAX; i++) {
        cpu_set_t node;
        if (!read_node(dir, i, &node)) continue;
        CPU_AND(&node, &node, allowed);
        if (!CPU_COUNT(&node)) continue;
        if (out->n == NODES_MAX) break;
        n_cores += CPU_COUNT(&node);
        out->cores[out->n++] = node;
    }
    if (out->n > 0 && n_cores == CPU_COUNT(allowed)) return;
    out->n = 1;
    out->cores[0] = *allowed;
}
