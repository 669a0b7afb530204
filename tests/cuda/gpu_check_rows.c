/* gpu_check_rows.c - speed of what stands between the products, at the sizes of Llama-3-8B, beside the bytes it must move. */
#include "gpu_check.h"

enum { D = 4096, F = 14336, H = 32, KV = 8, HD = 128, LAYERS = 6, MOST = 8192 };

/* Each call works on another layer's tensors, so that nothing waits in the cache but what the size allows. */
typedef struct {
    int rows;
    void *x[LAYERS], *y[LAYERS], *gate_up[LAYERS], *qkv[LAYERS], *kv[LAYERS];
    void *out;
    float *w, *rope;
    int32_t *pos, *slot;
} Rows;

static void run_norm(void *ctx)
{
    Rows *r = ctx;
    for (int i = 0; i < LAYERS; i++) {
        NormArgs a = { r->x[i], r->y[i], r->out, r->w, r->rows, D, D, D, D, 1e-5f, 0 };
        launch_norm(stream, &a);
    }
}

static void run_glu(void *ctx)
{
    Rows *r = ctx;
    for (int i = 0; i < LAYERS; i++) launch_glu(stream, r->out, F, r->gate_up[i], 2 * F, r->rows, F, 0);
}

static void run_heads(void *ctx)
{
    Rows *r = ctx;
    for (int i = 0; i < LAYERS; i++) {
        HeadArgs a = { .qkv = r->qkv[i],
                       .stride = (H + 2 * KV) * HD,
                       .rows = r->rows,
                       .n_head = H,
                       .n_kv_head = KV,
                       .head_dim = HD,
                       .rope = r->rope,
                       .rot_dim = HD,
                       .n_rot = H + KV,
                       .pos = r->pos,
                       .slot = r->slot,
                       .kv = r->kv[i],
                       .kv_dim = HD };
        launch_heads(stream, &a);
    }
}

static void row(const char *name, Rows *r, void (*run)(void *), double bytes_a_row, double ceiling)
{
    double us = time_ms(run, r, 60) * 1e3 / LAYERS, rate = bytes_a_row * r->rows / us * 1e6;
    printf("%-9s rows %5d %8.2f us  %.2f TB/s of bytes moved  %5.1f %% of what reads reach\n", name, r->rows, us,
           rate / 1e12, 100 * rate / 1e12 / ceiling);
}

void bench_rows(double ceiling)
{
    static const int sizes[] = { 1, 64, 256, 1024, 4096, 8192 };
    Rows r = { .out = dev_alloc((size_t)MOST * F * 2) };
    int32_t *pos = malloc(sizeof *pos * MOST), *slot = malloc(sizeof *slot * MOST);
    uint16_t *some = random_bf16((size_t)MOST * 2 * F, 1.f);
    float *w = random_f32(D, 1.f, 0.3f), freq[HD / 2];
    for (int i = 0; i < MOST; i++) pos[i] = i % 3000, slot[i] = (i % 512) * PAGE_TOKENS + i / 512;
    for (int i = 0; i < HD / 2; i++) freq[i] = (float)pow(5e5, -2.0 * i / HD);
    for (int i = 0; i < LAYERS; i++) {
        r.x[i] = dev_copy(some, (size_t)MOST * D * 2);
        r.y[i] = dev_copy(some, (size_t)MOST * D * 2);
        r.gate_up[i] = dev_copy(some, (size_t)MOST * 2 * F * 2);
        r.qkv[i] = dev_copy(some, (size_t)MOST * (H + 2 * KV) * HD * 2);
        r.kv[i] = dev_alloc((size_t)MOST * KV * HD * 2 * 2);
    }
    r.w = dev_copy(w, D * 4), r.pos = dev_copy(pos, MOST * 4), r.slot = dev_copy(slot, MOST * 4);
    r.rope = dev_alloc(sizeof(float) * HD * 3000);
    launch_rope_table(stream, r.rope, dev_copy(freq, sizeof freq), HD / 2, 3000, 1);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        r.rows = sizes[i];
        row("add_norm", &r, run_norm, 4.0 * D * 2, ceiling);
        row("glu", &r, run_glu, 3.0 * F * 2, ceiling);
        row("heads", &r, run_heads, 2.0 * (H + KV) * HD * 2 + 2.0 * KV * HD * 2 + KV * HD * 2, ceiling);
    }
    for (int i = 0; i < LAYERS; i++)
        cudaFree(r.x[i]), cudaFree(r.y[i]), cudaFree(r.gate_up[i]), cudaFree(r.qkv[i]), cudaFree(r.kv[i]);
    free(pos), free(slot), free(some), free(w);
}
