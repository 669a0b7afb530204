/* backend.c - the list of backends, best first. Adding one is adding two lines here and a folder beside this file. */
#include "backend/backend.h"

#include "backend/sim/sim.h"

extern const BackendOps backend_cpu;
#if RADISH_CUDA
extern const BackendOps backend_cuda;
#endif

const BackendOps *const backends[] = {
#if RADISH_CUDA
    &backend_cuda,
#endif
    &backend_cpu,
    &backend_sim,
    NULL,
};

const BackendOps *backend_find(const char *name)
{
    for (int i = 0; backends[i]; i++) {
        if (strcmp(backends[i]->name, name) == 0) return backends[i];
    }
    return NULL;
}
