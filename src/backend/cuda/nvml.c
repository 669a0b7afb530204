/* nvml.c - see nvml.h. The library's few functions are declared here: its header is not a part of the CUDA toolkit's
 * runtime packages, and their signatures have not changed since version 2 of each. */
#include "backend/cuda/nvml.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include "base/base.h"

enum { SUCCESS = 0, CLOCK_SM = 1 };

struct Nvml {
    void *dl, *device;
    int (*init)(void);
    int (*shutdown)(void);
    int (*find)(const char *bus_id, void **device);
    int (*clock)(void *device, unsigned type, unsigned *mhz);
    int (*power)(void *device, unsigned *milliwatts);
    int (*limit)(void *device, unsigned *milliwatts);
    int (*energy)(void *device, unsigned long long *millijoules);
};

static bool load(Nvml *n)
{
    n->dl = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!n->dl) return false;
    *(void **)(void *)&n->init = dlsym(n->dl, "nvmlInit_v2");
    *(void **)(void *)&n->shutdown = dlsym(n->dl, "nvmlShutdown");
    *(void **)(void *)&n->find = dlsym(n->dl, "nvmlDeviceGetHandleByPciBusId_v2");
    *(void **)(void *)&n->clock = dlsym(n->dl, "nvmlDeviceGetClockInfo");
    *(void **)(void *)&n->power = dlsym(n->dl, "nvmlDeviceGetPowerUsage");
    *(void **)(void *)&n->limit = dlsym(n->dl, "nvmlDeviceGetEnforcedPowerLimit");
    *(void **)(void *)&n->energy = dlsym(n->dl, "nvmlDeviceGetTotalEnergyConsumption");
    return n->init && n->shutdown && n->find && n->clock && n->power && n->limit && n->energy;
}

Nvml *nvml_open(int index)
{
    char bus[32];
    Nvml *n = mem_alloc(sizeof *n);
    if (!load(n) || cudaDeviceGetPCIBusId(bus, sizeof bus, index) != cudaSuccess || n->init() != SUCCESS) goto none;
    if (n->find(bus, &n->device) == SUCCESS) return n;
    n->shutdown();
none:
    if (n->dl) dlclose(n->dl);
    mem_free(n);
    return NULL;
}

void nvml_close(Nvml *n)
{
    if (!n) return;
    n->shutdown();
    dlclose(n->dl);
    mem_free(n);
}

NvmlNow nvml_read(Nvml *n)
{
    unsigned mhz = 0, power = 0, limit = 0;
    unsigned long long energy = 0;
    if (!n) return (NvmlNow){ 0 };
    if (n->clock(n->device, CLOCK_SM, &mhz) != SUCCESS) mhz = 0;
    if (n->power(n->device, &power) != SUCCESS) power = 0;
    if (n->limit(n->device, &limit) != SUCCESS) limit = 0;
    if (n->energy(n->device, &energy) != SUCCESS) energy = 0;
    return (NvmlNow){ mhz, power / 1e3, limit / 1e3, (double)energy / 1e3 };
}
