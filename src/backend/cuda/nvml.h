/* nvml.h - clock, power and energy of one GPU, through the driver's management library, opened at run time.
 * Thread: any, one at a time for one Nvml. */
#ifndef BACKEND_CUDA_NVML_H
#define BACKEND_CUDA_NVML_H

#include <stdbool.h>

typedef struct Nvml Nvml;

typedef struct {
    double sm_mhz, watts, limit_watts;
    double joules; /* drawn since the driver was loaded; steps of about 20-100 ms */
} NvmlNow;

/* The GPU that the CUDA runtime calls `index`. NULL: no library, or it does not know the device. */
Nvml *nvml_open(int index);
void nvml_close(Nvml *n); /* NULL is fine */
/* What the GPU does not tell is 0; of NULL everything is. */
NvmlNow nvml_read(Nvml *n);

#endif
