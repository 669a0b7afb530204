/* cpu.h - what the files of the CPU backend share: the device and its helpers.
 *
 * A Device owns everything: the pool of workers, the weights (linear.h), the KV caches, activation tensors, rope tables and
 * the room that ops need. All of it is allocated at boot; a step allocates nothing once every batch size has been seen.
 * Calls run at once, in the caller's thread and the pool's: nothing is queued, so "waits" costs nothing.
 * Thread: the device's owner. */
#ifndef BACKEND_CPU_CPU_H
#define BACKEND_CPU_CPU_H

#include "backend/cpu/simd.h"

enum { ROPE_TABLES_MAX = 16 };

/* K and V of all layers: [page][layer][kv head], each K [head_dim][16] then V [16][dim_pad], see AttnBlock. Page first, so that
 * a cache that is mostly empty is mostly untouched: the kernel clears 2 MiB at a first touch. */
struct KvCache {
    KvShape shape; /* dtype settled */
    int dim_pad;
    size_t k_bytes, head_bytes, size; /* of K of one page and head; of both; of all */
    char *data;
    KvCache *next; /* of the device */
};

typedef struct {
    float *inv_freq; /* [half] */
    int half, max_pos;
    bool interleaved;
    float mscale;
    float *cos_sin; /* [max_pos][2 * half], filled up to n_filled as positions come up */
    size_t size;
    int n_filled;
} CpuRope;

typedef struct Mapping {
    void *p;
    size_t size;
    struct Mapping *next;
} Mapping;

typedef struct AttendRoom AttendRoom; /* attend.c */
typedef struct SampleRoom SampleRoom; /* sample.c */

struct Device {
    Arena *arena;
    Pool *pool;
    Linear *linear;
    const Simd *simd;
    CpuIsa isa;
    size_t memory_limit;
    Mapping *mappings; /* activation tensors */
    KvCache *caches;
    CpuRope rope[ROPE_TABLES_MAX];
    int n_rope;
    const DeviceBatch *batch; /* of the running forward */
    AttendRoom *attend;
    SampleRoom *sample;
};

static inline float *cpu_row(Tensor t, int row)
{
    return (float *)t.p + (size_t)row * (size_t)t.stride;
}

static inline char *cpu_kv_at(const KvCache *kv, int layer, int page, int kv_head)
{
    size_t at = ((size_t)page * (size_t)kv->shape.n_layer + (size_t)layer) * (size_t)kv->shape.n_kv_head;
    return kv->data + (at + (size_t)kv_head) * kv->head_bytes;
}
static inline char *cpu_kv_v(const KvCache *kv, char *k)
{
    return k + kv->k_bytes;
}

/* Calls fn for ranges that make up [0, n), on the pool if n * cost (about nanoseconds) is worth waking it. */
void cpu_split(Device *d, int n, size_t cost, void (*fn)(void *arg, int begin, int end), void *arg);

/* pointwise.c */
void cpu_embed(Device *d, Tensor out, const Weight *table, float scale);
void cpu_norm(Device *d, Tensor out, Tensor in, const Weight *w, float eps, float w_bias);
void cpu_add_norm(Device *d, Tensor x, Tensor out, Tensor add, const Weight *w, float eps, float w_bias);
void cpu_add(Device *d, Tensor x, Tensor y);
void cpu_head_norm(Device *d, Tensor x, int first, int n_heads, int head_dim, const Weight *w, float eps, float w_bias);
void cpu_rope(Device *d, Tensor qkv, int n_rot_heads, int head_dim, int table);
void cpu_glu(Device *d, Tensor out, Tensor gate_up, GluAct act);
void cpu_gather(Device *d, Tensor out, Tensor in);
void cpu_softcap(Device *d, Tensor logits, float cap);

/* attend.c */
AttendRoom *cpu_attend_room(Device *d);
void cpu_attend_room_free(AttendRoom *r);
void cpu_attend_reserve(Device *d, int n_seq);          /* makes room for such a batch */
void cpu_attend_begin(Device *d, const DeviceBatch *b); /* looks who shares pages */
void cpu_kv_store(Device *d, KvCache *kv, int layer, Tensor qkv, int n_head);
void cpu_attend(Device *d, Tensor out, Tensor qkv, KvCache *kv, int layer, const AttnParams *p);

/* sample.c */
SampleRoom *cpu_sample_room(Device *d);
void cpu_sample_room_free(SampleRoom *r);
void cpu_sample_reserve(Device *d, int n_rows, int n_vocab);
int32_t cpu_drawn(const Device *d, int row); /* the token that row `row` of the last sample drew */
void cpu_sample(Device *d, Tensor logits, const SampleRow *rows, int n);
Status cpu_sample_wait(Device *d, SampleOut *out, int n, Err *err);

/* measure.c */
int cpu_measure(Device *d, double seconds, bool brief, DeviceSpeed *out, int max);

#endif
