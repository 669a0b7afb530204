/* sim.c - the device that computes nothing: costs, histories, checks.
 *
 * Tensors have no content. What a row stands for is one 64-bit hash of all tokens of its sequence up to its own. It is made
 * from the hash of the slot before, found through the page table as attention would find it, when layer 0 stores its keys; the
 * other layers only cost time. A slot also keeps its token and position, so that a chain of slots can be checked by itself:
 * a page given to two sequences, or given away too early, breaks the chain of at least one of them. A chain is checked when a
 * page of it is full.
 * What an operation costs is a line over its rows, and a plan has a dozen different ones: the first walk over a plan writes
 * them down, later passes are priced from that list without a walk.
 * Thread: the engine's. */
#include "backend/sim/sim.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { PAGE_TOKENS = 16, TRIES_MAX = 4096 }; /* PAGE_TOKENS: KV_PAGE_TOKENS of kv.h, which this layer may not see */
enum { TERMS_MAX = 64, LOOKS_MAX = 8 };

struct Weight {
    int rows, cols;
    size_t bytes;
};

typedef struct {
    uint64_t hash;
    int32_t token, pos;
} Slot;

struct KvCache {
    KvShape shape;
    Slot *slot; /* [n_pages][PAGE_TOKENS] */
    KvCache *next;
};

/* n operations that cost alike: bytes that move in any case, and what each row adds. */
typedef struct {
    bool few; /* its rows are those whose logits are wanted */
    double bytes, row_bytes, row_flops;
    int n;
} Term;

/* n layers of attention that see alike. */
typedef struct {
    int window, n;
    double row_bytes, position_bytes, product_flops;
} Look;

typedef struct {
    const void *plan; /* NULL: nothing is written down */
    KvCache *kv;
    Term term[TERMS_MAX];
    Look look[LOOKS_MAX];
    int n_terms, n_looks;
} Program;

struct Device {
    SimConfig config;
    Arena *arena; /* boot: weights and tables */
    KvCache *caches;
    size_t weight_bytes;
    int64_t now_ns;
    double pass_ns; /* of the running pass, so far */
    uint64_t n_passes;
    DeviceBatch batch;
    Program program;
    bool writes; /* this walk is being written down */
    struct {
        int window; /* -1: not summed yet */
        double read, products;
    } attention;        /* sums over the batch's sequences, for layers of one window */
    uint64_t *row_hash; /* [n_rows_max] */
    int32_t *drawn;     /* [n_rows_max] by the last sample */
    SampleOut *out[2];  /* [n_rows_max] of samples not yet waited for */
    int n_rows_max, n_drawn, n_sampled, n_waited;
    Err fault; /* the first one, kept */
};

/* ---- what things cost ---- */

static double cost_ns(const Device *d, double bytes, double flops)
{
    double memory_ns = bytes / d->config.bytes_s * 1e9, compute_ns = flops / d->config.flops_s * 1e9;
    return (double)d->config.op_ns + MAX(memory_ns, compute_ns);
}

/* Products run in tiles: the last one is paid whole. */
static double term_ns(const Device *d, const Term *t, int rows)
{
    int tile = MAX(d->config.tile_rows, 1), padded = (rows + tile - 1) / tile * tile;
    return t->n * cost_ns(d, t->bytes + t->row_bytes * rows, t->row_flops * padded);
}

static bool same_term(const Term *a, const Term *b)
{
    return a->few == b->few && a->bytes == b->bytes && a->row_bytes == b->row_bytes && a->row_flops == b->row_flops;
}

/* Too many kinds of operations: every pass is walked. */
static void forget(Device *d)
{
    d->program.plan = NULL;
    d->writes = false;
}

static void write_term(Device *d, const Term *t)
{
    Program *p = &d->program;
    int i = 0;
    while (i < p->n_terms && !same_term(&p->term[i], t)) i++;
    if (i == TERMS_MAX) {
        forget(d);
    } else if (i < p->n_terms) {
        p->term[i].n++;
    } else {
        p->term[p->n_terms++] = *t;
    }
}

static void cost(Device *d, int rows, double bytes, double row_bytes, double row_flops)
{
    Term t = { d->batch.n_logit == rows, bytes, row_bytes, row_flops, 1 };
    d->pass_ns += term_ns(d, &t, rows);
    if (d->writes) write_term(d, &t);
}

static double row_bytes(Tensor t)
{
    return (double)t.cols * quant_info(t.dtype)->block_bytes;
}

static void cost_pointwise(Device *d, Tensor a, Tensor b)
{
    cost(d, a.rows, 0, row_bytes(a) + row_bytes(b), 0);
}

static int64_t spend(Device *d)
{
    d->now_ns += (int64_t)d->pass_ns;
    d->pass_ns = 0;
    return d->now_ns;
}

/* ---- life ---- */

SimConfig sim_config_default(void)
{
    return (SimConfig){ .bytes_s = 4.5e12,
                        .flops_s = 660e12,
                        .tile_rows = 64,
                        .op_ns = 3000,
                        .pass_ns = 20000,
                        .memory = (size_t)139 << 30 };
}

void sim_configure(Device *d, const SimConfig *c)
{
    d->config = *c;
    d->program.plan = NULL;
}

void sim_advance(Device *d, int64_t ns)
{
    d->now_ns += ns;
}

static int sim_count(void)
{
    return 1;
}

static Status sim_open(const DeviceOptions *o, Device **out, Err *err)
{
    (void)err;
    Device *d = mem_alloc(sizeof *d);
    d->config = sim_config_default();
    const char *share = getenv("RADISH_SIM_FAULT");
    if (share) d->config.fault_rate = strtof(share, NULL);
    if (o && o->memory_limit) d->config.memory = o->memory_limit;
    d->arena = arena_new(0);
    *out = d;
    return OK;
}

static void sim_close(Device *d)
{
    if (!d) return;
    for (KvCache *kv = d->caches, *next; kv; kv = next) {
        next = kv->next;
        mem_free(kv->slot);
        mem_free(kv);
    }
    arena_free(d->arena);
    mem_free(d->row_hash);
    mem_free(d->drawn);
    for (int i = 0; i < 2; i++) mem_free(d->out[i]);
    mem_free(d);
}

static void sim_info(Device *d, DeviceInfo *out)
{
    *out = (DeviceInfo){ .memory_total = d->config.memory, .memory_free = d->config.memory - d->weight_bytes };
    snprintf(out->name, sizeof out->name, "simulated, %.1f TB/s, %.0f TFLOP/s", d->config.bytes_s / 1e12,
             d->config.flops_s / 1e12);
}

static bool sim_supports(const Device *d, DType weight)
{
    (void)d;
    return weight < DT_COUNT;
}

/* ---- boot ---- */

static Status sim_weight(Device *d, WeightUse use, const WeightBand *bands, int n_bands, Weight **out, Err *err)
{
    (void)use;
    Weight *w = ARENA_NEW(d->arena, Weight, 1);
    w->cols = bands[0].cols;
    for (int i = 0; i < n_bands; i++) {
        size_t n, bytes;
        if (!mul_size((size_t)bands[i].rows, (size_t)bands[i].cols, &n) || !quant_size(bands[i].dtype, n, &bytes))
            return fail(err, E_CORRUPT, "a weight of %d x %d is no whole number of blocks", bands[i].rows,
                        bands[i].cols);
        w->rows += bands[i].rows;
        w->bytes += bytes;
    }
    d->weight_bytes += w->bytes;
    *out = w;
    return OK;
}

static void sim_weight_plan(const Device *d, WeightUse use, const WeightBand *bands, int n_bands, WeightPlan *out)
{
    (void)d, (void)use;
    *out = (WeightPlan){ 0 };
    for (int i = 0; i < n_bands; i++) {
        size_t bytes = 0;
        CHECK(quant_size(bands[i].dtype, (size_t)bands[i].rows * (size_t)bands[i].cols, &bytes));
        out->bytes += bytes;
    }
}

static void grow_rows(Device *d, int n)
{
    if (n <= d->n_rows_max) return;
    size_t rows = (size_t)n;
    d->row_hash = mem_grow(d->row_hash, rows * sizeof *d->row_hash);
    d->drawn = mem_grow(d->drawn, rows * sizeof *d->drawn);
    for (int i = 0; i < 2; i++) d->out[i] = mem_grow(d->out[i], rows * sizeof *d->out[i]);
    d->n_rows_max = n;
}

static Status sim_tensor(Device *d, int max_rows, int cols, DType dtype, Tensor *out, Err *err)
{
    (void)err;
    grow_rows(d, max_rows);
    *out = (Tensor){ .p = arena_alloc(d->arena, 1), .rows = max_rows, .cols = cols, .stride = cols, .dtype = dtype };
    return OK;
}

static DType kv_dtype(KvShape shape)
{
    return shape.dtype == DT_NONE ? DT_BF16 : shape.dtype;
}

static size_t sim_kv_page_bytes(const Device *d, KvShape s)
{
    (void)d;
    size_t elem = (size_t)quant_info(kv_dtype(s))->block_bytes;
    return 2 * elem * PAGE_TOKENS * (size_t)s.n_layer * (size_t)s.n_kv_head * (size_t)s.head_dim;
}

static Status sim_kv_cache(Device *d, KvShape shape, KvCache **out, Err *err)
{
    (void)err;
    KvCache *kv = mem_alloc(sizeof *kv);
    kv->shape = shape;
    kv->slot = mem_alloc_array((size_t)shape.n_pages * PAGE_TOKENS, sizeof *kv->slot);
    kv->next = d->caches;
    d->caches = kv;
    d->program.plan = NULL; /* of another model, whose address may come again */
    *out = kv;
    return OK;
}

static Status sim_rope_table(Device *d, const RopeTable *t, int max_pos, int *handle, Err *err)
{
    (void)d, (void)t, (void)max_pos, (void)err;
    *handle = 0;
    return OK;
}

static size_t sim_weight_bytes(const Device *d)
{
    return d->weight_bytes;
}

/* ---- a step ---- */

static void sim_forward_begin(Device *d, const DeviceBatch *b)
{
    CHECK(b->n_tok <= d->n_rows_max && b->n_logit <= d->n_rows_max);
    d->batch = *b;
    d->attention.window = -1;
    d->pass_ns += (double)d->config.pass_ns;
}

static void sim_forward_end(Device *d)
{
    spend(d);
    d->writes = false;
    d->n_passes++;
    if (d->fault.status == OK && d->config.fault_rate > 0 &&
        rng_uniform(d->config.seed, d->n_passes, 0) < d->config.fault_rate)
        fail(&d->fault, E_DEVICE, "simulated fault in pass %llu", (unsigned long long)d->n_passes);
}

static void sim_embed(Device *d, Tensor out, const Weight *table, float scale)
{
    (void)table, (void)scale;
    cost_pointwise(d, out, out);
}

static void sim_norm(Device *d, Tensor out, Tensor in, const Weight *w, float eps, float w_bias)
{
    (void)w, (void)eps, (void)w_bias;
    cost_pointwise(d, out, in);
}

static void sim_add_norm(Device *d, Tensor x, Tensor out, Tensor add, const Weight *w, float eps, float w_bias)
{
    (void)add;
    cost_pointwise(d, x, x);
    sim_norm(d, out, x, w, eps, w_bias);
}

static void sim_add(Device *d, Tensor x, Tensor y)
{
    cost_pointwise(d, x, y);
}

static void sim_linear(Device *d, Tensor out, Tensor in, const Weight *w, const Weight *bias, bool add)
{
    (void)bias, (void)add;
    cost(d, in.rows, (double)w->bytes, row_bytes(in) + row_bytes(out), 2.0 * w->rows * w->cols);
}

static void sim_head_norm(Device *d, Tensor x, int first, int n_heads, int head_dim, const Weight *w, float eps,
                          float w_bias)
{
    (void)first, (void)n_heads, (void)head_dim, (void)w, (void)eps, (void)w_bias;
    cost_pointwise(d, x, x);
}

static void sim_rope(Device *d, Tensor qkv, int n_rot_heads, int head_dim, int table)
{
    (void)n_rot_heads, (void)head_dim, (void)table;
    cost_pointwise(d, qkv, qkv);
}

static void sim_glu(Device *d, Tensor out, Tensor gate_up, GluAct act)
{
    (void)act;
    cost_pointwise(d, out, gate_up);
}

static void sim_gather(Device *d, Tensor out, Tensor in)
{
    (void)in;
    cost_pointwise(d, out, out);
}

static void sim_softcap(Device *d, Tensor logits, float cap)
{
    (void)cap;
    cost_pointwise(d, logits, logits);
}

/* ---- histories ---- */

static uint64_t next_hash(uint64_t before, int32_t token)
{
    return hash_mix(before * 0x9e3779b97f4a7c15u + (uint64_t)(uint32_t)token + 1);
}

/* The slot of a position, by way of the page table; NULL: no page that the cache has. */
static Slot *slot_at(const KvCache *kv, const DeviceBatch *b, int seq, int pos)
{
    int at = pos / PAGE_TOKENS;
    int32_t page = at < b->max_pages ? b->pages[(size_t)seq * (size_t)b->max_pages + (size_t)at] : -1;
    if (page < 0 || page >= kv->shape.n_pages) return NULL;
    return &kv->slot[(size_t)page * PAGE_TOKENS + (size_t)(pos % PAGE_TOKENS)];
}

static void refuse(Device *d, int seq, int pos, const char *what)
{
    if (d->fault.status != OK) return;
    fail(&d->fault, E_DEVICE, "pass %llu, sequence %llu, position %d: %s", (unsigned long long)d->n_passes,
         (unsigned long long)d->batch.seq_id[seq], pos, what);
}

static int32_t token_of(const Device *d, int row)
{
    int32_t token = d->batch.token[row];
    if (token >= 0) return token;
    CHECK(-1 - token < d->n_drawn);
    return d->drawn[-1 - token];
}

static void store_seq(Device *d, KvCache *kv, int seq)
{
    const DeviceBatch *b = &d->batch;
    for (int row = b->seq_start[seq]; row < b->seq_start[seq + 1]; row++) {
        int pos = b->pos[row];
        const Slot *before = pos ? slot_at(kv, b, seq, pos - 1) : NULL;
        Slot *slot = slot_at(kv, b, seq, pos);
        if (!slot || (pos && !before)) {
            refuse(d, seq, pos, "there is no page for it");
            return;
        }
        int32_t token = token_of(d, row);
        *slot = (Slot){ .hash = next_hash(pos ? before->hash : 0, token), .token = token, .pos = pos };
        d->row_hash[row] = slot->hash;
    }
}

/* The last page that this pass has filled, if any; or everything. */
static int check_from(const Device *d, int seq)
{
    const DeviceBatch *b = &d->batch;
    int len = b->seq_len[seq], whole = len / PAGE_TOKENS, before = b->pos[b->seq_start[seq]] / PAGE_TOKENS;
    if (d->config.check_all) return 0;
    return whole > before ? (whole - 1) * PAGE_TOKENS : len;
}

static void check_seq(Device *d, const KvCache *kv, int seq)
{
    const DeviceBatch *b = &d->batch;
    int len = b->seq_len[seq], from = check_from(d, seq);
    const Slot *before = from ? slot_at(kv, b, seq, from - 1) : NULL;
    for (int pos = from; pos < len; pos++) {
        const Slot *slot = slot_at(kv, b, seq, pos);
        if (!slot || slot->pos != pos || slot->hash != next_hash(pos ? before->hash : 0, slot->token)) {
            refuse(d, seq, pos, "its page holds what another sequence wrote");
            return;
        }
        before = slot;
    }
    for (int row = b->seq_start[seq]; row < b->seq_start[seq + 1]; row++) {
        const Slot *slot = slot_at(kv, b, seq, b->pos[row]);
        if (!slot || slot->hash != d->row_hash[row])
            refuse(d, seq, b->pos[row], "another sequence of this pass has written to its page");
    }
    int last = b->seq_start[seq + 1] - 1;
    if (b->pos[last] + 1 != len) refuse(d, seq, len, "seq_len is not its last row's position and one");
}

static void store_all(Device *d, KvCache *kv)
{
    for (int seq = 0; seq < d->batch.n_seq; seq++) store_seq(d, kv, seq);
}

static void sim_kv_store(Device *d, KvCache *kv, int layer, Tensor qkv, int n_head)
{
    (void)n_head;
    cost(d, qkv.rows, 0, row_bytes(qkv), 0);
    if (layer != 0) return;
    store_all(d, kv);
    if (d->writes) d->program.kv = kv;
}

/* Positions read, and products of a row with a position. */
static void sum_attention(Device *d, int window)
{
    const DeviceBatch *b = &d->batch;
    double read = 0, products = 0;
    for (int seq = 0; seq < b->n_seq; seq++) {
        int rows = b->seq_start[seq + 1] - b->seq_start[seq], seen = b->seq_len[seq];
        if (window > 0) seen = MIN(seen, window + rows);
        read += seen;
        products += (double)rows * (seen - (rows - 1) / 2.0);
    }
    d->attention.window = window;
    d->attention.read = read;
    d->attention.products = products;
}

static double look_ns(Device *d, const Look *l)
{
    if (d->attention.window != l->window) sum_attention(d, l->window);
    double bytes = l->row_bytes * d->batch.n_tok + l->position_bytes * d->attention.read;
    return l->n * cost_ns(d, bytes, l->product_flops * d->attention.products);
}

static void write_look(Device *d, const Look *l)
{
    Program *p = &d->program;
    int i = 0;
    while (i < p->n_looks && p->look[i].window != l->window) i++;
    if (i == LOOKS_MAX) {
        forget(d);
    } else if (i < p->n_looks) {
        p->look[i].n++;
    } else {
        p->look[p->n_looks++] = *l;
    }
}

static void check_all(Device *d, const KvCache *kv)
{
    for (int seq = 0; seq < d->batch.n_seq; seq++) check_seq(d, kv, seq);
}

static void sim_attend(Device *d, Tensor out, Tensor qkv, KvCache *kv, int layer, const AttnParams *p)
{
    (void)qkv;
    double elem = quant_info(kv_dtype(kv->shape))->block_bytes;
    Look l = { p->window, 1, row_bytes(out), 2 * p->n_kv_head * p->head_dim * elem, 4.0 * p->n_head * p->head_dim };
    d->pass_ns += look_ns(d, &l);
    if (d->writes) write_look(d, &l);
    if (layer == 0) check_all(d, kv);
}

/* A plan is written down in a pass whose wanted rows are fewer than all, so that each operation shows which it runs on. */
static bool sim_replay(Device *d, const void *plan)
{
    Program *p = &d->program;
    const DeviceBatch *b = &d->batch;
    if (p->plan != plan) {
        d->writes = b->n_logit > 0 && b->n_logit < b->n_tok;
        if (d->writes) *p = (Program){ .plan = plan };
        return false;
    }
    store_all(d, p->kv);
    check_all(d, p->kv);
    for (int i = 0; i < p->n_terms; i++)
        if (!p->term[i].few || b->n_logit > 0)
            d->pass_ns += term_ns(d, &p->term[i], p->term[i].few ? b->n_logit : b->n_tok);
    for (int i = 0; i < p->n_looks; i++) d->pass_ns += look_ns(d, &p->look[i]);
    return true;
}

/* ---- drawing ---- */

static uint64_t float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Everything about the row that may change what is drawn, and nothing else. */
static uint64_t draw_hash(uint64_t history, const SampleRow *r)
{
    uint64_t h = history;
    if (r->temperature > 0) {
        h = hash_mix(h + r->seed * 0x9e3779b97f4a7c15u + r->counter);
        h = hash_mix(h + (float_bits(r->temperature) << 32) + float_bits(r->top_p));
        h = hash_mix(h + (float_bits(r->min_p) << 32) + (uint64_t)(uint32_t)r->top_k);
    }
    if (r->frequency != 0 || r->presence != 0 || r->repetition != 1) {
        uint64_t sum = 0; /* in any order */
        for (int i = 0; i < r->n_seen; i++)
            sum += hash_mix(((uint64_t)(uint32_t)r->seen[i].id << 32) + r->seen[i].n_out * 2u + r->seen[i].in_prompt);
        h = hash_mix(h + sum + float_bits(r->frequency) + (float_bits(r->presence) << 16) +
                     (float_bits(r->repetition) << 32));
    }
    for (int i = 0; i < r->n_bias; i++)
        h = hash_mix(h + ((uint64_t)(uint32_t)r->bias[i].id << 32) + float_bits(r->bias[i].add));
    return h;
}

static bool may_draw(const SampleRow *r, int32_t id)
{
    for (int i = 0; i < r->n_banned; i++)
        if (r->banned[i] == id) return false;
    return !r->allowed || (r->allowed[id / 32] >> (id % 32) & 1);
}

static uint32_t allowed_word(const SampleRow *r, int i)
{
    int left = r->n_vocab - 32 * i;
    uint32_t bits = r->allowed[i] & (left >= 32 ? UINT32_MAX : (1u << left) - 1);
    for (int k = 0; k < r->n_banned; k++)
        if (r->banned[k] >= 0 && r->banned[k] / 32 == i) bits &= ~(1u << (r->banned[k] % 32));
    return bits;
}

/* One of those that a mask allows, each as likely as the others; -1: there is none. */
static int32_t draw_masked(uint64_t hash, const SampleRow *r)
{
    int n_words = (r->n_vocab + 31) / 32;
    uint64_t n = 0, k;
    for (int i = 0; i < n_words; i++) n += (uint64_t)__builtin_popcount(allowed_word(r, i));
    if (n == 0) return -1;
    k = hash_mix(hash) % n;
    for (int i = 0;; i++) {
        uint32_t bits = allowed_word(r, i);
        uint64_t m = (uint64_t)__builtin_popcount(bits);
        for (; k < m && k > 0; k--) bits &= bits - 1;
        if (k < m) return i * 32 + __builtin_ctz(bits);
        k -= m;
    }
}

static int32_t draw(uint64_t hash, const SampleRow *r)
{
    uint64_t n = (uint64_t)r->n_vocab;
    if (r->allowed) return MAX(draw_masked(hash, r), 0);
    for (uint64_t i = 0; i < TRIES_MAX; i++) {
        int32_t id = (int32_t)(hash_mix(hash + i) % n);
        if (may_draw(r, id)) return id;
    }
    for (int32_t id = 0; id < r->n_vocab; id++)
        if (may_draw(r, id)) return id;
    return 0;
}

static float logprob_of(uint64_t history, int32_t id)
{
    return -(float)(hash_mix(history ^ ((uint64_t)(uint32_t)id << 20)) % 8192) / 512.0f;
}

static void draw_row(const Device *d, int row, const SampleRow *r, SampleOut *out)
{
    uint64_t history = d->row_hash[row], hash = draw_hash(history, r);
    if (d->config.repeat > 0 && rng_uniform(history, 1, 0) < d->config.repeat)
        hash = hash_mix((uint64_t)(uint32_t)token_of(d, row));
    out->token = r->target >= 0 ? r->target : draw(hash, r);
    out->logprob = logprob_of(history, out->token);
    int n = 0; /* neighbours of one id, so that no two are equal */
    for (int i = 0; i < r->n_vocab && n < r->n_top; i++) {
        int32_t id = (int32_t)((history % (uint64_t)r->n_vocab + (uint64_t)i) % (uint64_t)r->n_vocab);
        if (r->target < 0 && r->allowed && !(r->allowed[id / 32] >> (id % 32) & 1)) continue;
        out->top_id[n] = id;
        out->top_logprob[n] = -(float)n / 8.0f;
        n++;
    }
    for (; n < r->n_top; n++) out->top_id[n] = -1, out->top_logprob[n] = -INFINITY;
}

static void sim_sample(Device *d, Tensor logits, const SampleRow *rows, int n)
{
    cost_pointwise(d, logits, logits);
    spend(d);
    CHECK(d->n_sampled - d->n_waited < 2);
    SampleOut *out = d->out[d->n_sampled++ % 2];
    for (int i = 0; i < n; i++) {
        draw_row(d, d->batch.logit_row[i], &rows[i], &out[i]);
        d->drawn[i] = out[i].token;
    }
    d->n_drawn = n;
}

static Status sim_sample_wait(Device *d, SampleOut *out, int n, Err *err)
{
    if (d->fault.status != OK) return fail(err, d->fault.status, "%s", d->fault.text);
    if (n == 0) return OK;
    CHECK(d->n_waited < d->n_sampled);
    memcpy(out, d->out[d->n_waited++ % 2], (size_t)n * sizeof *out);
    return OK;
}

static void sim_download(Device *d, void *dst, Tensor src)
{
    float *out = dst;
    for (int i = 0; i < src.rows; i++)
        for (int c = 0; c < src.cols; c++)
            *out++ = logprob_of(i < d->batch.n_logit ? d->row_hash[d->batch.logit_row[i]] : 0, c);
}

static int64_t sim_now_ns(Device *d)
{
    return d->now_ns;
}

const BackendOps backend_sim = {
    .name = "sim",
    .act = DT_BF16,
    .count = sim_count,
    .open = sim_open,
    .close = sim_close,
    .info = sim_info,
    .supports = sim_supports,
    .weight = sim_weight,
    .weight_plan = sim_weight_plan,
    .tensor = sim_tensor,
    .kv_cache = sim_kv_cache,
    .kv_page_bytes = sim_kv_page_bytes,
    .rope_table = sim_rope_table,
    .weight_bytes = sim_weight_bytes,
    .forward_begin = sim_forward_begin,
    .replay = sim_replay,
    .embed = sim_embed,
    .norm = sim_norm,
    .add_norm = sim_add_norm,
    .add = sim_add,
    .linear = sim_linear,
    .head_norm = sim_head_norm,
    .rope = sim_rope,
    .kv_store = sim_kv_store,
    .attend = sim_attend,
    .glu = sim_glu,
    .gather = sim_gather,
    .softcap = sim_softcap,
    .forward_end = sim_forward_end,
    .sample = sim_sample,
    .sample_wait = sim_sample_wait,
    .download = sim_download,
    .now_ns = sim_now_ns,
};
