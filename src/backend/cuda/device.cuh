/* device.cuh - the device side's vocabulary: 16-bit packing, reductions, matrix instructions, barriers in shared memory,
 * copies into it, and the address of an element in a KV page.
 *
 * A KV block is one head of one page: KV_PAGE_TOKENS (16) rows of K, then of V, each split into planes of 64 elements:
 * [plane][token][64], 128 bytes a row, the 16-byte chunks of a row XORed with token & 7. So a block is one plain
 * contiguous copy, and reading it with ldmatrix meets no bank conflict, whichever way it is turned. A plane of 32 (the
 * last of head size 96) has rows of 64 bytes, XORed with (token >> 1) & 3.
 * sm_90 copies with the bulk engine, older chips with cp.async; the functions below hide which. */
#ifndef BACKEND_CUDA_DEVICE_CUH
#define BACKEND_CUDA_DEVICE_CUH

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stdint.h>

typedef __nv_bfloat16 bf16;

#define DEV static __device__ __forceinline__

enum { WARP = 32, PAGE = 16 };
#define NEG_BIG (-1e30f) /* stands for minus infinity where a difference of two of them must be 0 */
#define LOG2E 1.4426950408889634f

/* ---- numbers ---- */

DEV uint32_t pack2(float lo, float hi)
{
    uint32_t r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    return r;
}

DEV float low2(uint32_t v) { return __uint_as_float(v << 16); }
DEV float high2(uint32_t v) { return __uint_as_float(v & 0xffff0000u); }

DEV void unpack8(uint4 v, float f[8])
{
    f[0] = low2(v.x), f[1] = high2(v.x), f[2] = low2(v.y), f[3] = high2(v.y);
    f[4] = low2(v.z), f[5] = high2(v.z), f[6] = low2(v.w), f[7] = high2(v.w);
}

DEV uint4 pack8(const float f[8])
{
    return make_uint4(pack2(f[0], f[1]), pack2(f[2], f[3]), pack2(f[4], f[5]), pack2(f[6], f[7]));
}

DEV float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

DEV float warp_sum(float x)
{
#pragma unroll
    for (int o = 16; o; o >>= 1) x += __shfl_xor_sync(~0u, x, o);
    return x;
}

DEV float warp_max(float x)
{
#pragma unroll
    for (int o = 16; o; o >>= 1) x = fmaxf(x, __shfl_xor_sync(~0u, x, o));
    return x;
}

/* Sum over a block of whole warps, the same in every thread; part[32] is shared. Safe to call twice in a row. */
DEV float block_sum(float x, float *part)
{
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, n = (blockDim.x + WARP - 1) / WARP;
    x = warp_sum(x);
    __syncthreads();
    if (lane == 0) part[warp] = x;
    __syncthreads();
    return warp_sum(lane < n ? part[lane] : 0.f);
}

/* ---- matrix instructions: d += a . b, a 16x16, b 16x8 ---- */

DEV void mma(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

DEV void ldmatrix(uint32_t r[4], uint32_t addr)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(addr) : "memory");
}

DEV void ldmatrix_trans(uint32_t r[4], uint32_t addr)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(addr) : "memory");
}

DEV uint32_t transpose8(uint32_t v) /* an 8x8 of 16-bit elements spread over the warp */
{
    uint32_t r;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(v));
    return r;
}

/* ---- KV blocks ---- */

/* Byte offset of 16-byte chunk c (elements 8c..8c+7) of token t in the K or the V part of a block of head size D. */
template <int D> DEV uint32_t kv_chunk(int t, int c)
{
    if (D % 64 && c >= D / 64 * 8) /* the plane of 32 */
        return (uint32_t)(D / 64 * PAGE * 128 + t * 64 + (((c & 7) ^ ((t >> 1) & 3)) << 4));
    return (uint32_t)((c >> 3) * PAGE * 128 + t * 128 + (((c & 7) ^ (t & 7)) << 4));
}

/* ---- barriers in shared memory ---- */

DEV uint32_t shared_addr(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }

DEV void bar_init(uint32_t bar, int count) { asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(bar), "r"(count) : "memory"); }

DEV void bar_arrive(uint32_t bar)
{
    asm volatile("{ .reg .b64 s; mbarrier.arrive.shared.b64 s, [%0]; }" ::"r"(bar) : "memory");
}

DEV int bar_done(uint32_t bar, int parity)
{
    int done;
#if __CUDA_ARCH__ >= 900
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.s32 %0, 1, 0, p; }"
                 : "=r"(done) : "r"(bar), "r"(parity) : "memory");
#else
    asm volatile("{ .reg .pred p; mbarrier.test_wait.parity.shared.b64 p, [%1], %2; selp.s32 %0, 1, 0, p; }"
                 : "=r"(done) : "r"(bar), "r"(parity) : "memory");
#endif
    return done;
}

DEV void bar_wait(uint32_t bar, int parity)
{
    while (!bar_done(bar, parity)) {}
}

/* Adds 1 and returns what was there. What this thread has seen or met comes before it for the whole device, and what others did
 * before they counted comes before what follows. */
DEV uint32_t count_device(uint32_t *p)
{
    uint32_t before;
    asm volatile("atom.add.acq_rel.gpu.global.u32 %0, [%1], 1;" : "=r"(before) : "l"(p) : "memory");
    return before;
}

/* Threads [0, n) of the block meet; id 1..15. */
DEV void part_sync(int id, int n) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(n) : "memory"); }

/* ---- chained launches: a kernel may start while its predecessor ends ---- */

/* Every kernel that is launched by CHAIN says chain_wait before it touches anything that an earlier kernel writes or reads: it
 * returns when all earlier kernels are done. What lies before may only read what no kernel of the pass writes: weights, the
 * batch's arrays, pages of earlier passes; or what a kernel wrote that another has waited for before it let others come.
 * chain_go lets successors onto the SMs before a kernel's end. Where a product's CTAs came and took bandwidth that was
 * measured to cost 20 % of a decode step at batch 1; before a flow or a thin product, which then fills its ring, it gains 2 %. */
#if __CUDA_ARCH__ >= 900
DEV void chain_wait(void) { asm volatile("griddepcontrol.wait;" ::: "memory"); }
DEV void chain_go(void) { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }
#else
DEV void chain_wait(void) {}
DEV void chain_go(void) {}
#endif

#ifndef CHAIN_ON
#define CHAIN_ON 1 /* 0: to try code for older chips on a newer one, which would not wait */
#endif

typedef struct {
    cudaLaunchConfig_t config;
    cudaLaunchAttribute attr;
} Chain;

static inline void chain_set(Chain *c, dim3 grid, int threads, size_t shared, void *stream)
{
    int dev = 0, major = 0;
    cudaGetDevice(&dev);
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, dev);
    *c = (Chain){};
    c->attr.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    c->attr.val.programmaticStreamSerializationAllowed = 1;
    c->config.gridDim = grid;
    c->config.blockDim = dim3((unsigned)threads);
    c->config.dynamicSmemBytes = shared;
    c->config.stream = (cudaStream_t)stream;
    c->config.attrs = &c->attr;
    c->config.numAttrs = major == 9 && CHAIN_ON;
}

#define CHAIN(kernel, grid, threads, shared, stream, ...)                                                                        \
    do {                                                                                                                         \
        Chain chain_;                                                                                                            \
        chain_set(&chain_, grid, threads, shared, stream);                                                                       \
        cudaLaunchKernelEx(&chain_.config, kernel, __VA_ARGS__);                                                                 \
    } while (0)

/* act: 0 SiLU, 1 GELU by tanh, 2 GELU by erf; as GluAct */
DEV float activated(int act, float x)
{
    if (act == 0) return x / (1.f + __expf(-x));
    if (act == 1) return 0.5f * x * (1.f + tanhf(0.7978845608028654f * (x + 0.044715f * x * x * x)));
    return 0.5f * x * (1.f + erff(x * 0.7071067811865476f));
}

/* ---- copies into shared memory, by a whole warp, that complete on a barrier ---- */

#if __CUDA_ARCH__ >= 900
enum { COPY_ARRIVALS = 1 }; /* arrivals that a warp makes on the barrier of a stage */

DEV void fence_init(void) { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
DEV void fence_async(void) { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

DEV uint64_t policy_stream(void) /* read once: leave early */
{
    uint64_t p;
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(p));
    return p;
}

DEV void bar_expect(uint32_t bar, int bytes)
{
    asm volatile("{ .reg .b64 s; mbarrier.arrive.expect_tx.shared.b64 s, [%0], %1; }" ::"r"(bar), "r"(bytes) : "memory");
}

/* One thread: a block that copy_blocks expected but did not copy. */
DEV void copy_late(uint32_t dst, const void *src, int bytes, uint32_t bar, uint64_t policy)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;"
                 ::"r"(dst), "l"(src), "r"(bytes), "r"(bar), "l"(policy) : "memory");
}

/* Lane i < n copies `bytes` from src (its own) to dst (its own). n_bytes: of all lanes together. */
DEV void copy_blocks(uint32_t dst, const void *src, int bytes, int n, int n_bytes, uint32_t bar, uint64_t policy)
{
    int lane = threadIdx.x % WARP;
    if (lane == 0)
        asm volatile("{ .reg .b64 s; mbarrier.arrive.expect_tx.shared.b64 s, [%0], %1; }" ::"r"(bar), "r"(n_bytes) : "memory");
    __syncwarp();
    if (lane < n) copy_late(dst, src, bytes, bar, policy);
}
#else
enum { COPY_ARRIVALS = 32 };

DEV void fence_init(void) {}
DEV void fence_async(void) {}
DEV uint64_t policy_stream(void) { return 0; }
DEV void bar_expect(uint32_t, int) {}

DEV void copy_late(uint32_t, const void *, int, uint32_t, uint64_t) {}

DEV void copy_blocks(uint32_t dst, const void *src, int bytes, int n, int, uint32_t bar, uint64_t)
{
    int lane = threadIdx.x % WARP;
    for (int i = 0; i < n; i++) {
        uint32_t to = __shfl_sync(~0u, dst, i);
        const char *from = (const char *)__shfl_sync(~0u, (unsigned long long)src, i);
        for (int b = lane * 16; b < bytes; b += WARP * 16)
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to + b), "l"(from + b) : "memory");
    }
    asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(bar) : "memory");
}
#endif

#endif
