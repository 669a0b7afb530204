/* nodes.h - which cores are near which memory. */
#ifndef BASE_NODES_H
#define BASE_NODES_H

#include <sched.h>

#include "base/base.h"

enum { NODES_MAX = 16 };
#define NODES_DIR "/sys/devices/system/node"

typedef struct {
    int n; /* >= 1 */
    cpu_set_t cores[NODES_MAX];
} Nodes;

/* The nodes that the allowed cores belong to, by dir's nodeN/cpulist. One node with all of them where the system does not
 * say, says something else than each core once, or has more than NODES_MAX such nodes. Any thread. */
void nodes_find(const char *dir, const cpu_set_t *allowed, Nodes *out);

#endif
