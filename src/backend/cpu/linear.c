/* linear.c - weights (memory, bands, repacking) and the product: who computes which tile when.
 *
 * A product runs in two phases over the pool: the activations of up to `chunk` rows are packed into tiles of tokens,
 * then (token block, panel) pairs are handed out. A token block is what fits into a core's second-level cache beside
 * a panel, so that a panel comes from memory once per token block; long panels are cut into slices of columns, with the
 * sums carried between slices. Pairs are handed out in shrinking runs of neighbouring panels: one stream of weights per
 * thread at first, small pieces at the end, so that a disturbed core does not hold up the others.
 *
 * None of these cuts changes the order of operations of a single output. */
#include "backend/cpu/linear.h"

#include "backend/cpu/linear_kernels.h"

enum {
    LINE = 64,
    SLAB_BYTES = 64 << 20, /* weights are cut from mappings of at least this size */
    CHUNK_MAX = 528,       /* rows packed at a time, at most: whole tiles of 4, 12 and 16 */
    CHUNK_BYTES = 8 << 20, /* ... and the room they may take, but for */
    CHUNK_MIN = 96,        /* this many */
    TILES_MAX = CHUNK_MAX / TILE_MIN_MAX,
    BLOCK_BYTES = 384 << 10, /* activations of a token block, one slice */
    SMALL_PACK = 1 << 11,    /* elements that the owner packs before the others are called */
    FORMS_MAX = 16,
    LANES = 8, /* partial sums of the plain product */
    COUNTER_PACK = 0,
    COUNTER_ITEMS = 1
};

typedef struct {
    DType dtype;
    PanelKind kind;
    int rows, row0;     /* place in the weight */
    int n_items, item0; /* panels; plain: groups of 16 rows */
    int form;           /* of the weight's forms */
    size_t item_bytes;
    uint8_t *data; /* [n_items][item_bytes]; plain: the rows in the file's format */
} Band;

struct Weight {
    WeightUse use;
    bool plain;
    int rows, cols;
    int n_bands, n_forms, n_items;
    int tile_max; /* tokens of a tile: what the kernels of all bands take */
    Band *bands;
    ActForm *forms;
    float *vector;
};

typedef struct Slab {
    struct Slab *next;
    size_t size, used; /* of the mapping, this header included */
} Slab;

struct Linear {
    CpuIsa isa;
    bool plain;
    LinearKernels kernels; /* of isa and all it builds on; unless plain */
    Pool *pool;
    int n_workers;
    Arena *arena; /* Weights and bands */
    Slab *slabs;
    uint8_t *room; /* packed activations */
    size_t room_size;
    float *carry; /* [worker][carry_floats] */
    size_t carry_floats;
};

/* What an instruction set brings, and what it builds on. */
typedef struct {
    const char *name;
    const LinearKernels *kernels; /* NULL: not in this build; of ISA_PLAIN always */
    CpuIsa base;                  /* ISA_PLAIN: brings everything itself */
} Isa;

#if RADISH_X86
static const Isa isas[ISA_COUNT] = {
    [ISA_PLAIN] = { "plain", NULL, ISA_PLAIN },
    [ISA_AVX2] = { "avx2", &linear_avx2, ISA_PLAIN },
    [ISA_AVX512] = { "avx512", &linear_avx512, ISA_PLAIN },
    [ISA_AVX512BF16] = { "avx512bf16", &linear_avx512bf16, ISA_AVX512 },
    [ISA_AMX] = { "amx", &linear_amx, ISA_AVX512BF16 },
};

static bool cpu_has(CpuIsa isa)
{
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    if (isa == ISA_AVX2 || !avx2) return avx2;
    bool vnni = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vnni");
    if (isa == ISA_AVX512 || !vnni) return vnni;
    bool bf16 = __builtin_cpu_supports("avx512bf16");
    if (isa == ISA_AVX512BF16 || !bf16) return bf16;
    return linear_amx_allowed();
}
#else
static const Isa isas[ISA_COUNT] = {
    [ISA_PLAIN] = { "plain", NULL, ISA_PLAIN },   [ISA_AVX2] = { "avx2", NULL, ISA_PLAIN },
    [ISA_AVX512] = { "avx512", NULL, ISA_PLAIN }, [ISA_AVX512BF16] = { "avx512bf16", NULL, ISA_PLAIN },
    [ISA_AMX] = { "amx", NULL, ISA_PLAIN },
};

static bool cpu_has(CpuIsa isa)
{
    return isa == ISA_PLAIN;
}
#endif

const char *linear_isa_name(CpuIsa isa)
{
    return isas[isa].name;
}

bool linear_isa_ok(CpuIsa isa)
{
    return isa == ISA_PLAIN || (isas[isa].kernels && cpu_has(isa));
}

CpuIsa linear_isa_best(void)
{
    int isa = ISA_COUNT - 1;
    while (!linear_isa_ok((CpuIsa)isa)) isa--;
    return (CpuIsa)isa;
}

/* Lays the kernels of isa over those of its base. */
static void kernels_init(LinearKernels *k, CpuIsa isa)
{
    const LinearKernels *own = isas[isa].kernels;
    if (isas[isa].base != ISA_PLAIN) kernels_init(k, isas[isa].base);
    k->pair_act = own->pair_act;
    if (own->slice_bytes) k->slice_bytes = own->slice_bytes;
    k->leave = own->leave;
    for (int i = 0; i < ACT_COUNT; i++) {
        if (own->pack[i]) k->pack[i] = own->pack[i];
    }
    for (int i = 0; i < PANEL_COUNT; i++) {
        for (int n = 1; n <= TILE_MAX; n++) {
            if (own->tile[i][n]) k->tile[i][n] = own->tile[i][n];
        }
    }
}

/* ---- memory ---- */

Linear *linear_new(CpuIsa isa, Pool *pool)
{
    CHECK(linear_isa_ok(isa));
    Linear *l = mem_alloc(sizeof *l);
    l->isa = isa;
    l->plain = isa == ISA_PLAIN;
    if (!l->plain) kernels_init(&l->kernels, isa);
    l->pool = pool;
    l->n_workers = pool ? pool_size(pool) : 1;
    l->arena = arena_new(0);
    return l;
}

void linear_free(Linear *l)
{
    if (!l) return;
    for (Slab *s = l->slabs, *next; s; s = next) {
        next = s->next;
        mem_unmap(s, s->size);
    }
    mem_unmap(l->room, l->room_size);
    mem_unmap(l->carry, (size_t)l->n_workers * l->carry_floats * sizeof(float));
    arena_free(l->arena);
    mem_free(l);
}

size_t linear_bytes(const Linear *l)
{
    size_t n = l->room_size + (size_t)l->n_workers * l->carry_floats * sizeof(float);
    for (const Slab *s = l->slabs; s; s = s->next) n += s->used - LINE;
    return n;
}

bool linear_supports(const Linear *l, DType weight)
{
    (void)l;
    return quant_can_dequant(weight);
}

static size_t whole_lines(size_t n)
{
    return (n + LINE - 1) / LINE * LINE;
}

/* Zeroed, on a cache line. */
static void *take(Linear *l, size_t n)
{
    n = whole_lines(n);
    if (!l->slabs || l->slabs->size - l->slabs->used < n) {
        size_t size = MAX((size_t)SLAB_BYTES, n + LINE);
        Slab *s = mem_map(size);
        *s = (Slab){ l->slabs, size, LINE };
        l->slabs = s;
    }
    void *p = (uint8_t *)l->slabs + l->slabs->used;
    l->slabs->used += n;
    return p;
}

/* Bytes of n_tok tokens, columns [0, cols); cols: whole blocks, or all. */
static size_t act_size(const Weight *w, int form, int n_tok, int cols)
{
    int per_block = act_cols(w->forms[form].kind);
    return (size_t)act_bytes(&w->forms[form]) * (size_t)n_tok * (size_t)((cols + per_block - 1) / per_block);
}

/* Bytes that one row of activations takes in all forms of a weight. */
static size_t row_room(const Weight *w)
{
    size_t n = 0;
    for (int i = 0; i < w->n_forms; i++) n += act_size(w, i, 1, w->cols);
    return n;
}

/* Rows packed at a time: whole tiles. */
static int chunk_rows(const Weight *w)
{
    size_t rows = CHUNK_BYTES / MAX(row_room(w), (size_t)1);
    return (int)MIN(MAX(rows, (size_t)CHUNK_MIN), (size_t)CHUNK_MAX) / w->tile_max * w->tile_max;
}

/* Of one worker's sums. */
static size_t carry_floats(const Weight *w)
{
    size_t floats = MAX((size_t)(CHUNK_MAX + TILE_MAX) * PANEL_ROWS_MAX, (size_t)w->cols);
    return (floats + 1023) / 1024 * 1024;
}

static size_t room_size(const Linear *l, const Weight *w)
{
    return l->plain ? 0 : (size_t)chunk_rows(w) * row_room(w) + ACT_SLACK;
}

/* Makes room for products with w. */
static void reserve(Linear *l, const Weight *w)
{
    size_t floats = carry_floats(w), room = room_size(l, w);
    if (floats > l->carry_floats) {
        mem_unmap(l->carry, (size_t)l->n_workers * l->carry_floats * sizeof(float));
        l->carry = mem_map((size_t)l->n_workers * floats * sizeof(float));
        l->carry_floats = floats;
    }
    if (room > l->room_size) {
        mem_unmap(l->room, l->room_size);
        l->room = mem_map(room);
        l->room_size = room;
    }
}

/* ---- dummy weights ---- */

/* How to make a block of random bytes one of the wanted spread: where its scale and minimum stand, the standard
 * deviation of its values with scale 1, and the minimum (or scale of minima) that brings their mean to zero. */
typedef struct {
    DType dtype;
    int d_at, m_at;
    float spread, center;
} DummyBlock;

/* clang-format off */
static const DummyBlock dummy_blocks[] = {
    { DT_Q4_0, 0, -1, 4.6f, 0 },    { DT_Q4_1, 0, 2, 4.6f, -7.5f },  { DT_Q5_0, 0, -1, 9.2f, 0 },
    { DT_Q5_1, 0, 2, 9.2f, -15.5f },{ DT_Q8_0, 0, -1, 73.9f, 0 },    { DT_IQ4_NL, 0, -1, 67.4f, 0 },
    { DT_Q4_K, 0, 2, 257, 7.5f },   { DT_Q5_K, 0, 2, 524, 15.5f },   { DT_Q6_K, 208, -1, 1365, 0 },
    { DT_Q3_K, 108, -1, 43, 0 },    { DT_Q2_K, 80, 82, 13.9f, 1.5f },{ DT_IQ4_XS, 0, -1, 1245, 0 },
};
/* clang-format on */

static float dummy_value(Rng *rng, float std)
{
    uint64_t u = rng_next(rng);
    if (!(std > 0)) return 1e-3f * ((float)(u >> 40) * 0x1p-23f - 1);
    /* The sum of four uniform numbers is close enough to normal here, and ten times faster. */
    float sum = 0;
    for (int i = 0; i < 4; i++) sum += (float)(u >> (16 * i) & 0xffff) * 0x1p-16f;
    return (sum - 2) * 1.7320508f * std;
}

static void dummy_blocks_fill(const DummyBlock *f, Rng *rng, float std, uint8_t *out, int n_blocks)
{
    int bytes = quant_info(f->dtype)->block_bytes;
    float d = (std > 0 ? std : 5.8e-4f) / f->spread;
    uint16_t scale = f32_to_f16(d), min = f32_to_f16(d * f->center);
    for (int b = 0; b < n_blocks; b++, out += bytes) {
        for (int i = 0; i < bytes; i += 8) {
            uint64_t u = rng_next(rng);
            memcpy(out + i, &u, (size_t)MIN(8, bytes - i));
        }
        memcpy(out + f->d_at, &scale, 2);
        if (f->m_at >= 0) memcpy(out + f->m_at, &min, 2);
    }
}

static void dummy_row(const WeightBand *b, int row, float *tmp, uint8_t *out)
{
    Rng rng = { hash_mix(b->dummy_seed + 0x632be59bd9b4e019u * (uint64_t)(row + 1)) };
    for (size_t i = 0; i < COUNT(dummy_blocks); i++) {
        if (dummy_blocks[i].dtype != b->dtype) continue;
        dummy_blocks_fill(&dummy_blocks[i], &rng, b->dummy_std, out, b->cols / quant_info(b->dtype)->block_elems);
        return;
    }
    for (int c = 0; c < b->cols; c++) tmp[c] = dummy_value(&rng, b->dummy_std);
    CHECK(quant_from_f32(b->dtype, tmp, out, (size_t)b->cols));
}

static bool dummy_possible(DType t)
{
    float x[SUPER_COLS] = { 0 };
    uint8_t y[SUPER_COLS * 8];
    for (size_t i = 0; i < COUNT(dummy_blocks); i++) {
        if (dummy_blocks[i].dtype == t) return true;
    }
    return quant_from_f32(t, x, y, (size_t)quant_info(t)->block_elems);
}

/* ---- weights ---- */

static Status check_band(const WeightBand *b, int cols, Err *err)
{
    size_t bytes;
    if (!quant_can_dequant(b->dtype))
        return fail(err, E_UNSUPPORTED, "the CPU backend does not read weights of type %s", quant_info(b->dtype)->name);
    if (b->cols != cols) return fail(err, E_CORRUPT, "stacked weights of %d and %d columns", cols, b->cols);
    if (b->rows < 1 || cols < 1 || b->rows > (1 << 24) || cols > (1 << 24) ||
        !quant_size(b->dtype, (size_t)cols, &bytes))
        return fail(err, E_CORRUPT, "a weight of %d x %d elements of type %s", b->rows, cols,
                    quant_info(b->dtype)->name);
    if (!b->data && !dummy_possible(b->dtype))
        return fail(err, E_UNSUPPORTED, "no dummy weights of type %s", quant_info(b->dtype)->name);
    return OK;
}

static Status check_heads(int n, int heads, Err *err)
{
    if (heads > 0 && n % (2 * heads) != 0) return fail(err, E_CORRUPT, "%d rows are not %d rotary heads", n, heads);
    return OK;
}

/* The file's row that belongs at row r: the converter wrote element pairs of a rotary head side by side, Hugging
 * Face (and we) keep its halves apart. */
static int file_row(int rows, int heads, int r)
{
    if (heads <= 0) return r;
    int dim = rows / heads, head = r / dim, i = r % dim;
    return head * dim + 2 * (i % (dim / 2)) + i / (dim / 2);
}

static size_t row_bytes(DType t, int cols)
{
    size_t n;
    CHECK(quant_size(t, (size_t)cols, &n));
    return n;
}

/* How a panel wants its activations. */
static int find_form(const Linear *l, Weight *w, PanelKind k)
{
    const PanelInfo *p = panel_info(k);
    ActKind act = k == PANEL_BF16 ? l->kernels.pair_act : p->act;
    ActForm f = { act, p->has_min ? 0 : p->offset, p->scale == SCALE_K16, p->has_min };
    for (int i = 0; i < w->n_forms; i++) {
        const ActForm *g = &w->forms[i];
        if (g->kind == f.kind && g->offset == f.offset && g->halves == f.halves && g->sums == f.sums) return i;
    }
    w->forms[w->n_forms] = f;
    return w->n_forms++;
}

/* Tokens that a tile may have. */
static int tile_max(const Linear *l, PanelKind k)
{
    int n = 1; /* plain: unused */
    while (n < TILE_MAX && l->kernels.tile[k][n + 1]) n++;
    return n;
}

/* Everything about a band but its memory; returns how much it takes. */
static size_t shape_band(const Linear *l, Weight *w, const WeightBand *from)
{
    Band *to = &w->bands[w->n_bands++];
    const PanelInfo *p = panel_info(panel_of(from->dtype));
    int per_item = w->plain ? PANEL_ROWS_BLOCK : p->rows;
    to->dtype = from->dtype;
    to->kind = panel_of(from->dtype);
    to->rows = from->rows;
    to->row0 = w->rows;
    to->n_items = (from->rows + per_item - 1) / per_item;
    to->item0 = w->n_items;
    to->form = find_form(l, w, to->kind);
    w->tile_max = MIN(w->tile_max, tile_max(l, to->kind));
    size_t row = row_bytes(from->dtype, from->cols);
    to->item_bytes = w->plain ? row * (size_t)per_item : panel_at(p, panel_blocks(p, from->cols));
    w->rows += from->rows;
    w->n_items += to->n_items;
    return w->plain ? row * (size_t)from->rows : to->item_bytes * (size_t)to->n_items;
}

/* The band of item i, which becomes an index into it. */
static const Band *band_of(const Weight *w, int *i)
{
    const Band *b = w->bands;
    *i %= w->n_items;
    while (*i >= b->item0 + b->n_items) b++;
    *i -= b->item0;
    return b;
}

typedef struct {
    const Weight *w;
    const WeightBand *from; /* [w->n_bands] */
    Pool *pool;             /* NULL: one worker */
} Packing;

/* An item: 16 or 32 rows. buf: [rows][row_bytes] for dummies. */
static void pack_item(const Packing *p, int item, float *tmp, uint8_t *buf)
{
    const Band *to = band_of(p->w, &item);
    const WeightBand *b = &p->from[to - p->w->bands];
    size_t bytes = row_bytes(b->dtype, b->cols);
    int per_item = p->w->plain ? PANEL_ROWS_BLOCK : panel_info(to->kind)->rows;
    CHECK(b->data || buf);
    const void *rows[PANEL_ROWS_MAX] = { 0 };
    for (int i = 0; i < per_item && item * per_item + i < b->rows; i++) {
        int row = file_row(b->rows, b->rope_heads, item * per_item + i);
        rows[i] = b->data ? (const uint8_t *)b->data + (size_t)row * bytes : buf + (size_t)i * bytes;
        if (!b->data) dummy_row(b, row, tmp, buf + (size_t)i * bytes);
        if (p->w->plain) memcpy(to->data + (size_t)(item * per_item + i) * bytes, rows[i], bytes);
    }
    if (!p->w->plain) panel_pack(to->kind, b->dtype, rows, b->cols, tmp, to->data + (size_t)item * to->item_bytes);
}

static void pack_worker(void *arg, int worker, int n_workers)
{
    (void)n_workers;
    const Packing *p = arg;
    size_t bytes = 0;
    for (int i = 0; i < p->w->n_bands; i++)
        if (!p->from[i].data) bytes = MAX(bytes, row_bytes(p->from[i].dtype, p->from[i].cols));
    float *tmp = mem_alloc_array((size_t)p->w->cols, sizeof *tmp);
    uint8_t *buf = bytes ? mem_alloc_array(PANEL_ROWS_MAX, bytes) : NULL;
    int n = p->w->n_items, begin = 0, end = n;
    while (p->pool ? pool_next_near(p->pool, COUNTER_ITEMS, worker, n, &begin, &end) : begin < n) {
        for (int i = begin; i < end; i++) pack_item(p, i, tmp, buf);
        if (!p->pool) break;
    }
    mem_free(buf);
    mem_free(tmp);
}

/* Writes all panels, each by a worker of the node whose workers will read it. */
static void pack_bands(Linear *l, const Weight *w, const WeightBand *from)
{
    Packing p = { w, from, l->pool };
    if (l->pool)
        pool_share(l->pool, pack_worker, &p);
    else
        pack_worker(&p, 0, 1);
}

static Status make_vector(Linear *l, Weight *w, const WeightBand *bands, int n_bands, Err *err)
{
    size_t n = 0;
    for (int i = 0; i < n_bands; i++) {
        TRY(check_band(&bands[i], bands[i].cols, err));
        TRY(check_heads(bands[i].cols, bands[i].rope_heads, err));
        if (bands[i].rows != 1) return fail(err, E_CORRUPT, "a vector of %d rows", bands[i].rows);
        n += (size_t)bands[i].cols;
    }
    if (n > 1 << 24) return fail(err, E_LIMIT, "a vector of %zu elements", n);
    w->vector = take(l, n * sizeof(float));
    w->rows = 1;
    for (int i = 0; i < n_bands; i++) {
        const WeightBand *b = &bands[i];
        float *tmp = mem_alloc_array((size_t)b->cols, sizeof *tmp);
        uint8_t *raw = b->data ? NULL : mem_alloc(row_bytes(b->dtype, b->cols));
        if (!b->data) dummy_row(b, 0, tmp, raw);
        quant_to_f32(b->dtype, b->data ? b->data : raw, tmp, (size_t)b->cols);
        for (int c = 0; c < b->cols; c++) w->vector[w->cols + c] = tmp[file_row(b->cols, b->rope_heads, c)];
        w->cols += b->cols;
        mem_free(raw);
        mem_free(tmp);
    }
    return OK;
}

Status linear_weight(Linear *l, WeightUse use, const WeightBand *bands, int n_bands, Weight **out, Err *err)
{
    CHECK(n_bands >= 1);
    Weight *w = ARENA_NEW(l->arena, Weight, 1);
    w->use = use;
    w->plain = l->plain;
    *out = w;
    if (use == WEIGHT_VECTOR) return make_vector(l, w, bands, n_bands, err);
    for (int i = 0; i < n_bands; i++) {
        TRY(check_band(&bands[i], bands[0].cols, err));
        TRY(check_heads(bands[i].rows, bands[i].rope_heads, err));
    }
    w->cols = bands[0].cols;
    w->tile_max = TILE_MAX;
    w->bands = ARENA_NEW(l->arena, Band, (size_t)n_bands);
    w->forms = ARENA_NEW(l->arena, ActForm, (size_t)n_bands);
    for (int i = 0; i < n_bands; i++) {
        size_t bytes = shape_band(l, w, &bands[i]);
        w->bands[i].data = take(l, bytes);
    }
    pack_bands(l, w, bands);
    reserve(l, w);
    return OK;
}

void linear_plan(const Linear *l, WeightUse use, const WeightBand *bands, int n_bands, WeightPlan *out)
{
    *out = (WeightPlan){ 0 };
    if (use == WEIGHT_VECTOR) {
        size_t n = 0;
        for (int i = 0; i < n_bands; i++) n += (size_t)bands[i].cols;
        out->bytes = whole_lines(n * sizeof(float));
        return;
    }
    CHECK(n_bands >= 1 && n_bands <= FORMS_MAX);
    Band shaped[FORMS_MAX];
    ActForm forms[FORMS_MAX];
    Weight w = {
        .use = use, .plain = l->plain, .cols = bands[0].cols, .tile_max = TILE_MAX, .bands = shaped, .forms = forms
    };
    for (int i = 0; i < n_bands; i++) out->bytes += whole_lines(shape_band(l, &w, &bands[i]));
    out->room[0] = room_size(l, &w);
    out->room[1] = (size_t)l->n_workers * carry_floats(&w) * sizeof(float);
}

int linear_rows(const Weight *w)
{
    return w->rows;
}

int linear_cols(const Weight *w)
{
    return w->cols;
}

const float *linear_vector(const Weight *w)
{
    return w->vector;
}

void linear_embed_row(const Weight *w, int row, float *out)
{
    CHECK(w->bands && row >= 0 && row < w->rows);
    const Band *b = w->bands;
    while (row >= b->row0 + b->rows) b++;
    row -= b->row0;
    if (w->plain) {
        quant_to_f32(b->dtype, b->data + (size_t)row * row_bytes(b->dtype, w->cols), out, (size_t)w->cols);
        return;
    }
    int per_item = panel_info(b->kind)->rows;
    panel_row(b->kind, b->data + (size_t)(row / per_item) * b->item_bytes, row % per_item, w->cols, out);
}

/* ---- the definition ---- */

typedef struct {
    Linear *l;
    const Weight *w;
    const float *bias;
    const LinearIo *io;
    int row0, n_rows;         /* this chunk of io's rows */
    int n_tiles;              /* of tokens: as even as can be */
    int begin[TILES_MAX + 1]; /* row of each tile, from row0 */
    int tiles_per_block, n_blocks;
    size_t form_at[FORMS_MAX]; /* where each form's tiles begin in the room */
    bool packed;
} Product;

/* LANES partial sums over the columns, then pairs of them. */
static float plain_dot(const float *a, const float *b, int n)
{
    float s[LANES] = { 0 };
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int j = 0; j < LANES; j++) s[j] += a[i + j] * b[i + j];
    }
    for (int j = 0; i < n; i++, j++) s[j] += a[i] * b[i];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

/* One band's 16 rows, all tokens. */
static void plain_item(const Product *p, const Band *b, int item, float *row)
{
    size_t bytes = row_bytes(b->dtype, p->w->cols);
    for (int r = item * PANEL_ROWS_BLOCK; r < MIN((item + 1) * PANEL_ROWS_BLOCK, b->rows); r++) {
        quant_to_f32(b->dtype, b->data + (size_t)r * bytes, row, (size_t)p->w->cols);
        for (int t = 0; t < p->io->n_rows; t++) {
            float v = plain_dot(row, p->io->in + (size_t)t * p->io->in_stride, p->w->cols);
            if (p->bias) v += p->bias[b->row0 + r];
            float *out = p->io->out + (size_t)t * p->io->out_stride + b->row0 + r;
            *out = p->io->add ? *out + v : v;
        }
    }
}

/* ---- tiles ---- */

static uint8_t *tile_act(const Product *p, int form, int tile)
{
    return p->l->room + p->form_at[form] + act_size(p->w, form, p->begin[tile], p->w->cols);
}

static void pack_tile(const Product *p, int i)
{
    int form = i / p->n_tiles, tile = i % p->n_tiles, begin = p->begin[tile];
    const float *in = p->io->in + (size_t)(p->row0 + begin) * p->io->in_stride;
    const ActForm *f = &p->w->forms[form];
    p->l->kernels.pack[f->kind](f, in, p->io->in_stride, p->begin[tile + 1] - begin, p->w->cols,
                                tile_act(p, form, tile));
}

/* Blocks of a panel that are worked on at a time. */
static int slice_blocks(const Product *p, const PanelInfo *info)
{
    int unit = SUPER_COLS / info->cols;
    int units = p->l->kernels.slice_bytes / (info->block * unit);
    return MAX(units, 1) * unit;
}

static void panel_item(const Product *p, const Band *b, int panel, int block, float *carry)
{
    const PanelInfo *info = panel_info(b->kind);
    int n = panel_blocks(info, p->w->cols), slice = slice_blocks(p, info);
    int first_tile = block * p->tiles_per_block, end_tile = MIN(first_tile + p->tiles_per_block, p->n_tiles);
    int row = b->row0 + panel * info->rows;
    Tile t = { .out_stride = p->io->out_stride,
               .add = p->io->add,
               .bias = p->bias ? p->bias + row : NULL,
               .n_rows = MIN(info->rows, b->rows - panel * info->rows) };
    for (int at = 0; at < n; at += slice) {
        t.w = b->data + (size_t)panel * b->item_bytes + panel_at(info, at);
        t.n_blocks = MIN(slice, n - at);
        t.first = at == 0;
        t.last = at + slice >= n;
        for (int tile = first_tile; tile < end_tile; tile++) {
            int begin = p->begin[tile], n_tok = p->begin[tile + 1] - begin;
            t.fetch = tile == first_tile;
            t.act = tile_act(p, b->form, tile) + act_size(p->w, b->form, n_tok, at * info->cols);
            t.carry = carry + (size_t)(tile - first_tile) * (size_t)(p->w->tile_max * info->rows);
            t.out = p->io->out + (size_t)(p->row0 + begin) * p->io->out_stride + row;
            p->l->kernels.tile[b->kind][n_tok](&t);
        }
    }
}

static void run_item(const Product *p, int i, float *carry)
{
    int block = i / p->w->n_items;
    const Band *b = band_of(p->w, &i);
    if (p->w->plain)
        plain_item(p, b, i, carry);
    else
        panel_item(p, b, i, block, carry);
}

/* Asks for the first bytes of an item that comes next and does not lie next. */
static void fetch_item(const Product *p, int i)
{
    const Band *b = band_of(p->w, &i);
    const uint8_t *w = b->data + (size_t)i * b->item_bytes;
    for (size_t at = 0; at < MIN(b->item_bytes, (size_t)FETCH_AHEAD); at += 64) __builtin_prefetch(w + at);
}

/* Hands out [0, n), in shrinking runs. */
static bool next_run(const Product *p, int worker, int n, int *begin, int *end)
{
    if (p->l->pool) return pool_next_near(p->l->pool, COUNTER_ITEMS, worker, n, begin, end);
    *begin = *end;
    *end = n;
    return *begin < n;
}

static void tile_worker(void *arg, int worker, int n_workers)
{
    (void)worker, (void)n_workers;
    Product *p = arg;
    int begin = 0, end = 0;
    while (pool_next(p->l->pool, COUNTER_PACK, p->n_tiles * p->w->n_forms, 1, &begin, &end)) pack_tile(p, begin);
}

static void product_worker(void *arg, int worker, int n_workers)
{
    (void)n_workers;
    Product *p = arg;
    int begin = 0, end = 0, n = p->n_blocks * p->w->n_items;
    float *carry = p->l->carry + (size_t)worker * p->l->carry_floats;
    bool more = next_run(p, worker, n, &begin, &end);
    while (more) {
        for (int i = begin; i < end - 1; i++) run_item(p, i, carry);
        int last = end - 1;
        more = next_run(p, worker, n, &begin, &end);
        if (more) fetch_item(p, begin);
        run_item(p, last, carry);
    }
    if (p->l->kernels.leave) p->l->kernels.leave();
}

static void run_chunk(Product *p)
{
    if (p->l->pool) {
        if (!p->packed) pool_share(p->l->pool, tile_worker, p);
        pool_share(p->l->pool, product_worker, p);
    } else {
        product_worker(p, 0, 1);
    }
}

/* Cuts the chunk into tiles and token blocks, and packs it here and now if it is small. */
static void plan_chunk(Product *p)
{
    const Weight *w = p->w;
    int most = w->tile_max;
    p->n_tiles = (p->n_rows + most - 1) / most;
    CHECK(p->n_tiles > 0);
    for (int i = 0; i <= p->n_tiles; i++) p->begin[i] = p->n_rows * i / p->n_tiles;
    size_t at = 0, per_row = 1;
    for (int i = 0; i < w->n_forms; i++) {
        p->form_at[i] = at;
        at += act_size(w, i, p->n_rows, w->cols);
    }
    for (int i = 0; i < w->n_bands; i++) {
        const PanelInfo *info = panel_info(w->bands[i].kind);
        int cols = MIN(slice_blocks(p, info) * info->cols, w->cols);
        per_row = MAX(per_row, act_size(w, w->bands[i].form, 1, cols));
    }
    size_t tiles = BLOCK_BYTES / (per_row * (size_t)most);
    p->tiles_per_block = (int)MAX((size_t)1, MIN(tiles, (size_t)p->n_tiles));
    int wanted = 4 * p->l->n_workers; /* items, so that there is something to share out */
    while (p->tiles_per_block > 1 && w->n_items * ((p->n_tiles - 1) / p->tiles_per_block + 1) < wanted)
        p->tiles_per_block = (p->tiles_per_block + 1) / 2;
    p->n_blocks = (p->n_tiles - 1) / p->tiles_per_block + 1;
    p->packed = !p->l->pool || p->l->n_workers == 1 || (int64_t)p->n_rows * w->cols <= SMALL_PACK;
    for (int i = 0; p->packed && i < p->n_tiles * w->n_forms; i++) pack_tile(p, i);
}

void linear_run(Linear *l, const Weight *w, const Weight *bias, const LinearIo *io)
{
    CHECK(w->bands && (!bias || (bias->vector && bias->cols == w->rows)));
    Product p = { .l = l, .w = w, .bias = bias ? bias->vector : NULL, .io = io };
    if (w->plain) {
        p.n_blocks = 1;
        p.packed = true;
        run_chunk(&p);
        return;
    }
    for (int chunk = chunk_rows(w); p.row0 < io->n_rows; p.row0 += p.n_rows) {
        p.n_rows = MIN(chunk, io->n_rows - p.row0);
        plan_chunk(&p);
        run_chunk(&p);
    }
}
