/* gemm.c - cuBLASLt behind gemm.h.
 *
 * The library is opened with dlopen, so the program starts without it; its header is used for types and constants only. Row
 * major y = x W^T is the library's "TN" product with W as A and x as B: no copies. Each shape is planned once: the library's
 * first suggestion, until gemm_tune has timed its suggestions. What that chose is kept in a file, keyed by the
 * library's version and the GPU's name; algorithms are 64 opaque bytes, checked by the library before they are used.
 * Thread: the device's owner. */
#include "backend/cuda/gemm.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <stdio.h>

#include "base/file.h"

enum { SUGGESTIONS = 20, PLANS_MAX = 8192, CHOICES_MAX = 4096, WORKSPACE = 64 << 20, NEAR_ROWS = 1024 };
static const double HEAVY_FLOP =
    2e10; /* more than about 30 us of arithmetic: power decides, so it is timed for longer */

/* Everything that we call, by name. */
/* clang-format off */
#define FUNCTIONS(F) \
    F(Create) F(Destroy) F(GetVersion) F(Matmul) F(MatmulAlgoGetHeuristic) F(MatmulAlgoCheck) F(MatmulDescInit_internal) \
    F(MatmulDescSetAttribute) F(MatrixLayoutInit_internal) F(MatmulPreferenceInit_internal) F(MatmulPreferenceSetAttribute)
/* clang-format on */

typedef struct {
#define F(name) __typeof__(&cublasLt##name) name; /* NOLINT: a name takes no parentheses */
    FUNCTIONS(F)
#undef F
} Library;

/* A shape without strides: what a choice is made for. */
typedef struct {
    int32_t rows, n, k, kind; /* kind: bits f32, add, bias */
} ChoiceKey;

typedef struct {
    ChoiceKey key;
    float us;       /* what it took */
    uint16_t tried; /* of how many it was the fastest */
    uint16_t other; /* something else than this library was faster */
    cublasLtMatmulAlgo_t algo;
} Choice;

/* Before the choices in the file. */
typedef struct {
    char magic[8];
    uint32_t version, size; /* of a Choice */
} FileHead;
static const FileHead file_head = { "rad gemm", 3, sizeof(Choice) };

typedef struct {
    GemmShape shape;
    bool used, ok;
    cublasLtMatmulDescOpaque_t desc;
    cublasLtMatrixLayoutOpaque_t a, b, c;
    cublasLtMatmulAlgo_t algo;
} Plan;

struct Gemm {
    void *dl;
    Library lt;
    cublasLtHandle_t handle;
    void *workspace;
    Plan *plans; /* open addressing, PLANS_MAX */
    int n_plans, n_choices;
    Choice *choices; /* CHOICES_MAX */
    bool changed;
    char path[512];
};

size_t gemm_workspace_bytes(void)
{
    return WORKSPACE;
}

/* ---- opening ---- */

static Status load(Gemm *g, Err *err)
{
    static const char *const names[] = { "libcublasLt.so.13", "libcublasLt.so.12",
                                         "/usr/local/cuda/lib64/libcublasLt.so.13",
                                         "/usr/local/cuda/lib64/libcublasLt.so.12" };
    for (size_t i = 0; i < COUNT(names) && !g->dl; i++) g->dl = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!g->dl)
        return fail(err, E_UNSUPPORTED,
                    "libcublasLt.so.13 (or .12) was not found: install cuBLAS or set LD_LIBRARY_PATH");
#define F(name)                                                                                                        \
    *(void **)(void *)&g->lt.name = dlsym(g->dl, "cublasLt" #name);                                                    \
    if (!g->lt.name)                                                                                                   \
        return fail(err, E_UNSUPPORTED, "libcublasLt has no cublasLt" #name ": version 12 or 13 is needed");
    FUNCTIONS(F)
#undef F
    return OK;
}

static void read_choices(Gemm *g)
{
    Arena *a = arena_new(0);
    Str s;
    size_t head = sizeof file_head;
    if (file_exists(g->path) && file_read(a, g->path, head + sizeof(Choice) * CHOICES_MAX, &s, NULL) == OK &&
        s.n >= head && memcmp(s.p, &file_head, head) == 0 && (s.n - head) % sizeof(Choice) == 0) {
        memcpy(g->choices, s.p + head, s.n - head);
        g->n_choices = (int)((s.n - head) / sizeof(Choice));
    }
    arena_free(a);
}

static void name_file(Gemm *g, const char *gpu, const char *dir)
{
    char name[96];
    size_t n = 0;
    for (const char *p = gpu; *p && n < sizeof name - 1; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');
        name[n++] = plain ? *p : '-';
    }
    name[n] = 0;
    snprintf(g->path, sizeof g->path, "%s/gemm-%s-%zu.bin", dir, name, g->lt.GetVersion());
}

Status gemm_open(const char *gpu, const char *cache_dir, Gemm **out, Err *err)
{
    Gemm *g = mem_alloc(sizeof *g);
    Status st = load(g, err);
    if (st == OK && g->lt.Create(&g->handle) != CUBLAS_STATUS_SUCCESS)
        st = fail(err, E_DEVICE, "cuBLASLt could not start on this GPU");
    if (st == OK && cudaMalloc(&g->workspace, WORKSPACE) != cudaSuccess)
        st = fail(err, E_LIMIT, "no GPU memory for cuBLASLt's workspace");
    if (st != OK) {
        gemm_close(g);
        return st;
    }
    g->plans = mem_alloc_array(PLANS_MAX, sizeof(Plan));
    g->choices = mem_alloc_array(CHOICES_MAX, sizeof(Choice));
    if (cache_dir[0]) {
        name_file(g, gpu, cache_dir);
        read_choices(g);
    }
    *out = g;
    return OK;
}

void gemm_close(Gemm *g)
{
    if (!g) return;
    if (g->handle) g->lt.Destroy(g->handle);
    if (g->workspace) cudaFree(g->workspace);
    if (g->dl) dlclose(g->dl);
    mem_free(g->plans);
    mem_free(g->choices);
    mem_free(g);
}

void gemm_save(Gemm *g)
{
    if (!g->changed || !g->path[0]) return;
    g->changed = false;
    Buf b = { 0 };
    buf_add(&b, &file_head, sizeof file_head);
    buf_add(&b, g->choices, sizeof(Choice) * (size_t)g->n_choices);
    file_write(g->path, buf_view(&b), NULL);
    buf_free(&b);
}

/* ---- choices ---- */

static ChoiceKey key_of(const GemmShape *s)
{
    return (ChoiceKey){ s->rows, s->n, s->k, (s->f32 ? 1 : 0) | (s->add ? 2 : 0) | (s->bias ? 4 : 0) };
}

static Choice *find_choice(Gemm *g, const GemmShape *s)
{
    ChoiceKey key = key_of(s);
    for (int i = 0; i < g->n_choices; i++)
        if (memcmp(&g->choices[i].key, &key, sizeof key) == 0) return &g->choices[i];
    return NULL;
}

bool gemm_is_new(const Gemm *g)
{
    return g->n_choices == 0;
}

bool gemm_is_tuned(Gemm *g, GemmShape shape)
{
    return find_choice(g, &shape) != NULL;
}

static void keep_choice(Gemm *g, const GemmShape *s, const cublasLtMatmulAlgo_t *algo, double us, int tried)
{
    Choice *c = find_choice(g, s);
    if (!c) {
        if (g->n_choices == CHOICES_MAX) return;
        c = &g->choices[g->n_choices++];
    }
    *c = (Choice){ .key = key_of(s), .us = (float)us, .tried = (uint16_t)tried, .algo = *algo };
    g->changed = true;
}

void gemm_note_other(Gemm *g, GemmShape shape, double us)
{
    Choice *c = find_choice(g, &shape);
    if (!c) return;
    c->other = us < (double)c->us;
    g->changed = true;
}

bool gemm_other_is_faster(Gemm *g, GemmShape shape)
{
    Choice *c = find_choice(g, &shape);
    return c && c->other;
}

/* ---- plans ---- */

static void set_desc(Gemm *g, Plan *p, cublasLtMatmulDescAttributes_t what, const void *value, size_t n)
{
    CHECK(g->lt.MatmulDescSetAttribute(&p->desc, what, value, n) == CUBLAS_STATUS_SUCCESS);
}

static void describe(Gemm *g, Plan *p)
{
    const GemmShape *s = &p->shape;
    cublasOperation_t turn = CUBLAS_OP_T;
    cudaDataType_t out = s->f32 ? CUDA_R_32F : CUDA_R_16BF;
    g->lt.MatmulDescInit_internal(&p->desc, sizeof p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    set_desc(g, p, CUBLASLT_MATMUL_DESC_TRANSA, &turn, sizeof turn);
    if (s->bias) {
        cublasLtEpilogue_t e = CUBLASLT_EPILOGUE_BIAS;
        const void *some = g->workspace; /* only its alignment counts until a product is queued */
        set_desc(g, p, CUBLASLT_MATMUL_DESC_EPILOGUE, &e, sizeof e);
        set_desc(g, p, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &out, sizeof out);
        set_desc(g, p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &some, sizeof some);
    }
    g->lt.MatrixLayoutInit_internal(&p->a, sizeof p->a, CUDA_R_16BF, (uint64_t)s->k, (uint64_t)s->n, s->k);
    g->lt.MatrixLayoutInit_internal(&p->b, sizeof p->b, CUDA_R_16BF, (uint64_t)s->k, (uint64_t)s->rows, s->in_stride);
    g->lt.MatrixLayoutInit_internal(&p->c, sizeof p->c, out, (uint64_t)s->n, (uint64_t)s->rows, s->out_stride);
}

static int suggest(Gemm *g, Plan *p, cublasLtMatmulHeuristicResult_t *out, int most)
{
    cublasLtMatmulPreferenceOpaque_t pref;
    uint64_t room = WORKSPACE;
    int n = 0;
    g->lt.MatmulPreferenceInit_internal(&pref, sizeof pref);
    g->lt.MatmulPreferenceSetAttribute(&pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &room, sizeof room);
    cublasStatus_t st =
        g->lt.MatmulAlgoGetHeuristic(g->handle, &p->desc, &p->a, &p->b, &p->c, &p->c, &pref, most, out, &n);
    return st == CUBLAS_STATUS_SUCCESS ? n : 0;
}

static bool usable(Gemm *g, Plan *p, const cublasLtMatmulAlgo_t *algo)
{
    cublasLtMatmulHeuristicResult_t r;
    return g->lt.MatmulAlgoCheck(g->handle, &p->desc, &p->a, &p->b, &p->c, &p->c, algo, &r) == CUBLAS_STATUS_SUCCESS &&
           r.workspaceSize <= WORKSPACE;
}

/* The library suggests at most 8 ways for a shape; what it suggests for other numbers of rows often suits this one too. */
static int suggest_wide(Gemm *g, Plan *p, cublasLtMatmulAlgo_t *out, int most)
{
    static const double scale[] = { 1, 0.5, 2, 0.75, 1.5, 4, 0.25 };
    cublasLtMatmulHeuristicResult_t found[8];
    Plan other;
    int n = 0;
    for (size_t i = 0; i < COUNT(scale) && n < most; i++) {
        other = *p;
        other.shape.rows = MAX(1, (int)(p->shape.rows * scale[i]));
        describe(g, &other);
        int m = suggest(g, &other, found, (int)COUNT(found));
        for (int k = 0; k < m && n < most; k++) {
            bool again = false;
            for (int j = 0; j < n; j++) again = again || memcmp(&out[j], &found[k].algo, sizeof *out) == 0;
            if (!again && usable(g, p, &found[k].algo)) out[n++] = found[k].algo;
        }
    }
    return n;
}

/* Of many rows: what was chosen for the nearest number of rows, as a ratio; NULL: nothing within a factor of 1.5. Below NEAR_ROWS
 * the number of waves decides and a neighbour's choice may take twice as long; above it gains a per cent or two. */
static Choice *find_near(Gemm *g, const GemmShape *s)
{
    ChoiceKey key = key_of(s);
    Choice *best = NULL;
    double least = 1.5;
    for (int i = 0; i < g->n_choices && key.rows >= NEAR_ROWS; i++) {
        Choice *c = &g->choices[i];
        double ratio = (double)c->key.rows / key.rows;
        ratio = ratio < 1 ? 1 / ratio : ratio;
        if (c->key.n != key.n || c->key.k != key.k || c->key.kind != key.kind || c->key.rows < NEAR_ROWS) continue;
        if (ratio < least) best = c, least = ratio;
    }
    return best;
}

static void make_plan(Gemm *g, Plan *p)
{
    cublasLtMatmulHeuristicResult_t first;
    Choice *c = find_choice(g, &p->shape);
    if (!c) c = find_near(g, &p->shape);
    describe(g, p);
    p->used = true;
    if (c && usable(g, p, &c->algo)) {
        p->algo = c->algo;
        p->ok = true;
        return;
    }
    p->ok = suggest(g, p, &first, 1) > 0;
    p->algo = first.algo;
}

void gemm_replan(Gemm *g)
{
    memset(g->plans, 0, sizeof(Plan) * PLANS_MAX);
    g->n_plans = 0;
}

static Plan *plan_of(Gemm *g, const GemmShape *s)
{
    if (g->n_plans > PLANS_MAX / 2) gemm_replan(g); /* simple, and happens once in thousands of shapes */
    size_t at = hash_bytes(s, sizeof *s, 0) % PLANS_MAX;
    while (g->plans[at].used && memcmp(&g->plans[at].shape, s, sizeof *s) != 0) at = (at + 1) % PLANS_MAX;
    Plan *p = &g->plans[at];
    if (!p->used) {
        p->shape = *s;
        make_plan(g, p);
        g->n_plans++;
    }
    return p;
}

/* ---- running ---- */

static bool run(Gemm *g, cudaStream_t s, Plan *p, const cublasLtMatmulAlgo_t *algo, void *out, const void *in,
                const void *w, const void *bias)
{
    const float one = 1, beta = p->shape.add ? 1 : 0;
    if (p->shape.bias) set_desc(g, p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
    return g->lt.Matmul(g->handle, &p->desc, &one, w, &p->a, in, &p->b, &beta, out, &p->c, out, &p->c, algo,
                        g->workspace, WORKSPACE, s) == CUBLAS_STATUS_SUCCESS;
}

bool gemm_run(Gemm *g, Stream s, GemmShape shape, void *out, const void *in, const void *w, const void *bias)
{
    Plan *p = plan_of(g, &shape);
    return p->ok && run(g, s, p, &p->algo, out, in, w, bias);
}

/* ---- choosing ---- */

/* One suggestion in the race; us: the mean over what it has run so far, 0: it failed. */
typedef struct {
    cublasLtMatmulAlgo_t algo;
    double us, sum;
    int n;
} Runner;

typedef struct {
    Gemm *g;
    cudaStream_t s;
    Plan *p;
    const GemmData *data;
    Runner r[SUGGESTIONS];
    int n; /* still in the race, the fastest first after each heat */
} Race;

/* Microseconds of one product, over about ms; us: what it is thought to take, 0: unknown. 0: it failed. */
static double time_algo(Race *race, const cublasLtMatmulAlgo_t *algo, double us, double ms)
{
    const GemmData *t = race->data;
    cudaEvent_t from, to;
    float took = 0;
    bool ok = true;
    cudaEventCreate(&from);
    cudaEventCreate(&to);
    for (int round = us > 0 ? 1 : 0; round < 2 && ok; round++) {
        int n = round == 0 ? 1 : MAX(1, MIN(2000, (int)(ms * 1e3 / us)));
        cudaEventRecord(from, race->s);
        for (int i = 0; i < n && ok; i++)
            ok = run(race->g, race->s, race->p, algo, t->out, t->in, t->w[i % t->n_w], t->bias);
        cudaEventRecord(to, race->s);
        ok = ok && cudaEventSynchronize(to) == cudaSuccess && cudaEventElapsedTime(&took, from, to) == cudaSuccess;
        us = MAX(0.5, (double)took * 1e3 / n);
    }
    cudaEventDestroy(from);
    cudaEventDestroy(to);
    return ok ? us : 0;
}

/* Everybody left runs `rounds` times in turn, about ms each time; then those over `within` times the best drop out, and all
 * but `most`. Taking turns keeps clocks and power alike for all. */
static void heat(Race *race, int rounds, double ms, double within, int most)
{
    for (int i = 0; i < race->n; i++) race->r[i].sum = race->r[i].n = 0;
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < race->n; i++) {
            Runner *r = &race->r[i];
            if (race->data->wanted && race->data->wanted(race->data->ctx)) {
                race->n = 0;
                return;
            }
            double us = time_algo(race, &r->algo, r->us, ms);
            r->sum += us;
            r->n += us > 0;
        }
    int n = 0;
    for (int i = 0; i < race->n; i++) {
        Runner r = race->r[i];
        r.us = r.n ? r.sum / r.n : 0;
        int at = n;
        if (r.n < rounds) continue; /* it failed */
        for (; at > 0 && race->r[at - 1].us > r.us; at--) race->r[at] = race->r[at - 1];
        race->r[at] = r;
        n++;
    }
    race->n = MIN(n, most);
    while (race->n > 1 && race->r[race->n - 1].us > race->r[0].us * within) race->n--;
}

int gemm_tune(Gemm *g, Stream s, GemmShape shape, const GemmData *data, double *first_us, double *best_us)
{
    cublasLtMatmulAlgo_t found[SUGGESTIONS];
    Race race = { .g = g, .s = s, .p = plan_of(g, &shape), .data = data };
    bool heavy = 2.0 * shape.rows * shape.n * shape.k > HEAVY_FLOP;
    race.n = suggest_wide(g, race.p, found, SUGGESTIONS);
    int tried = race.n;
    for (int i = 0; i < race.n; i++) race.r[i].algo = found[i];
    heat(&race, 1, heavy ? 0.8 : 0.3, 1.3, SUGGESTIONS);
    if (race.n == 0) return 0;
    heat(&race, 2, heavy ? 4 : 1, 1.06, 5);
    if (race.n == 0) return 0;
    if (race.n > 1) heat(&race, heavy ? 4 : 3, heavy ? 9 : 2, 1.03, 3);
    if (race.n == 0) return 0;
    if (first_us) *first_us = time_algo(&race, &found[0], 0, heavy ? 30 : 5);
    if (best_us) *best_us = race.r[0].us;
    race.p->algo = race.r[0].algo;
    race.p->ok = true;
    keep_choice(g, &shape, &race.p->algo, race.r[0].us, tried);
    return tried;
}
