/* probe.cu - what this very GPU can do, for comparison: reading memory as fast as it goes.
 *
 * One warp a CTA, two CTAs an SM, bulk copies of 16 KB into a ring whose content nobody looks at: nothing but the memory
 * system limits it. Measured on one H200: see docs/perf/gpu-device.md. On chips without the bulk engine it is cp.async,
 * and a lower bound. */
#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.h"

enum { CHUNK = 16384, N_STAGE = 6 };

static __global__ void __launch_bounds__(WARP) read_kernel(const char *p, size_t n_chunk, uint32_t *sink)
{
    extern __shared__ __align__(1024) unsigned char ring[];
    __shared__ uint64_t bars[N_STAGE];
    uint32_t full = shared_addr(bars);
    uint64_t policy = policy_stream();
    if (threadIdx.x == 0) {
        for (int i = 0; i < N_STAGE; i++) bar_init(full + i * 8, COPY_ARRIVALS);
        fence_init();
    }
    __syncwarp();
    size_t i = 0, n = (n_chunk - blockIdx.x + gridDim.x - 1) / gridDim.x;
    for (size_t at = 0; at < n + N_STAGE - 1; at++) {
        if (at >= N_STAGE - 1) {
            bar_wait(full + (uint32_t)(i % N_STAGE) * 8, (int)(i / N_STAGE & 1));
            i++;
        }
        if (at < n)
            copy_blocks(shared_addr(ring) + (uint32_t)(at % N_STAGE) * CHUNK, p + (blockIdx.x + at * gridDim.x) * CHUNK, CHUNK, 1,
                        CHUNK, full + (uint32_t)(at % N_STAGE) * 8, policy);
    }
    if (sink && threadIdx.x == 0) *sink = ring[0];
}

void launch_read(Stream s, const void *p, size_t bytes)
{
    int dev, n_sm;
    cudaGetDevice(&dev);
    cudaDeviceGetAttribute(&n_sm, cudaDevAttrMultiProcessorCount, dev);
    cudaFuncSetAttribute((const void *)read_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, CHUNK * N_STAGE);
    read_kernel<<<2 * n_sm, WARP, CHUNK * N_STAGE, (cudaStream_t)s>>>((const char *)p, bytes / CHUNK, nullptr);
}
