/* draw.c - sampling, from the engine's rows to the kernel's and back.
 *
 * Rows and their lists are packed into one block and copied with one command. The drawn tokens stay on the device too:
 * the next pass may be queued before the host has seen them (a batch's token -1 - i). Results come back in the
 * order of the calls, at most RESULTS unread. The uniform number is computed here, so it is that of every backend.
 * Thread: the engine's. */
#include "backend/cuda/cuda.h"

enum { MASK_WORDS = 8192, MASK_ROWS = 256, SEEN_TOKENS = 1024 };

typedef struct {
    size_t rows, seen, bias, banned, allowed; /* first word of each, from the block's start; rows are words too */
    size_t n;
} Layout;

static size_t mask_words(const SampleRow *r)
{
    return ((size_t)r->n_vocab + 31) / 32;
}

static Layout lay_out(const SampleRow *rows, int n)
{
    Layout l = { .seen = ((size_t)n * sizeof(DrawRow) + 15) / 16 * 4 };
    size_t seen = 0, bias = 0, banned = 0, allowed = 0;
    for (int i = 0; i < n; i++) {
        seen += 2 * (size_t)rows[i].n_seen;
        bias += 2 * (size_t)rows[i].n_bias;
        banned += (size_t)rows[i].n_banned;
        if (rows[i].allowed) allowed += mask_words(&rows[i]);
    }
    l.bias = l.seen + seen;
    l.banned = l.bias + bias;
    l.allowed = l.banned + banned;
    l.n = l.allowed + allowed;
    return l;
}

static float inverse_temperature(float t)
{
    float inv = t > 0 ? 1 / t : 0;
    return inv == 0 ? 0 : MAX(1e-30f, MIN(1e30f, inv));
}

/* Distinct ids only: the kernel changes them all at once. */
static int put_banned(int32_t *to, const SampleRow *r)
{
    int n = 0;
    for (int i = 0; i < r->n_banned; i++) {
        bool again = false;
        for (int j = 0; j < n; j++) again = again || to[j] == r->banned[i];
        if (!again) to[n++] = r->banned[i];
    }
    return n;
}

/* Adds on the same id become one. */
static int put_bias(int32_t *to, const SampleRow *r)
{
    int n = 0;
    for (int i = 0; i < r->n_bias; i++) {
        float sum = r->bias[i].add;
        int j = 0;
        while (j < n && to[2 * j] != r->bias[i].id) j++;
        if (j < n) {
            float before;
            memcpy(&before, &to[2 * j + 1], 4);
            sum += before;
        }
        to[2 * j] = r->bias[i].id;
        memcpy(&to[2 * j + 1], &sum, 4);
        n += j == n;
    }
    return n;
}

static void pack(int32_t *block, Layout l, const SampleRow *rows, int n, int cols)
{
    DrawRow *out = (DrawRow *)(void *)block;
    for (int i = 0; i < n; i++) {
        const SampleRow *r = &rows[i];
        int n_vocab = r->n_vocab > 0 ? MIN(r->n_vocab, cols) : cols;
        out[i] = (DrawRow){ .inv_temp = inverse_temperature(r->temperature),
                            .top_p = r->top_p,
                            .min_p = r->min_p,
                            .frequency = r->frequency,
                            .presence = r->presence,
                            .repetition = r->repetition,
                            .uniform = rng_uniform(r->seed, r->counter, 0),
                            .top_k = r->top_k,
                            .n_vocab = n_vocab,
                            .target = r->target,
                            .n_top = r->n_top,
                            .want_logprob = r->want_logprob,
                            .seen_at = (int32_t)l.seen,
                            .n_seen = r->n_seen,
                            .bias_at = (int32_t)l.bias,
                            .banned_at = (int32_t)l.banned,
                            .allowed_at = r->allowed ? (int32_t)l.allowed : -1 };
        for (int j = 0; j < r->n_seen; j++) {
            block[l.seen++] = r->seen[j].id;
            block[l.seen++] = (int32_t)((uint32_t)r->seen[j].n_out | (uint32_t)r->seen[j].in_prompt << 16);
        }
        out[i].n_bias = put_bias(block + l.bias, r);
        out[i].n_banned = put_banned(block + l.banned, r);
        l.bias += 2 * (size_t)r->n_bias;
        l.banned += (size_t)r->n_banned;
        if (!r->allowed) continue;
        memcpy(block + l.allowed, r->allowed, mask_words(r) * 4);
        l.allowed += mask_words(r);
    }
}

/* Room for n words on both sides; the device's is twice that: the second half keeps logits while they are changed. */
static bool make_room(Device *d, SampleStage *s, size_t n)
{
    if (!s->done && !cuda_ok(d, cudaEventCreateWithFlags(&s->done, cudaEventDisableTiming))) return false;
    if (!cuda_ok(d, cudaEventSynchronize(s->done))) return false;
    if (n > s->cap) {
        cudaFreeHost(s->host);
        s->cap = 0;
        if (!cuda_ok(d, cudaMallocHost((void **)&s->host, (n + n / 4) * 4))) return false;
        s->cap = n + n / 4;
    }
    if (n > d->sample_in_cap) {
        cuda_ok(d, cudaStreamSynchronize(d->stream));
        cudaFree(d->sample_in);
        d->sample_in_cap = 0;
        if (!cuda_ok(d, cudaMalloc((void **)&d->sample_in, n * 4 * 4))) return false;
        d->sample_in_cap = n * 2;
    }
    return true;
}

/* The next result to be filled; the oldest is dropped if nobody fetches. */
static SampleResult *take_result(Device *d, int n)
{
    if (d->result_n == RESULTS) {
        d->result_first = (d->result_first + 1) % RESULTS;
        d->result_n--;
    }
    SampleResult *r = &d->results[(d->result_first + d->result_n) % RESULTS];
    if (!r->done && !cuda_ok(d, cudaEventCreateWithFlags(&r->done, cudaEventDisableTiming))) return NULL;
    if (n > r->cap) {
        int cap = MAX(256, 2 * n);
        cudaFreeHost(r->host);
        r->cap = 0;
        if (!cuda_ok(d, cudaMallocHost((void **)&r->host, (size_t)cap * DRAW_WORDS * 4))) return NULL;
        r->cap = cap;
    }
    return r;
}

/* Device and host alike, for d->drawn_cap and r->cap rows: tokens, logprobs, ids and logprobs of alternatives. */
static size_t part_at(int part, int cap)
{
    return (size_t)cap * (size_t)(part < 2 ? part : 2 + (part - 2) * DRAW_TOPS);
}

static void fetch(Device *d, SampleResult *r)
{
    for (int part = 0; part < (r->tops ? 4 : 2); part++) {
        size_t words = (size_t)r->n * (part < 2 ? 1 : DRAW_TOPS);
        cuda_ok(d, cudaMemcpyAsync(r->host + part_at(part, r->cap), d->drawn + part_at(part, DRAW_ROWS_MAX), words * 4,
                                   cudaMemcpyDeviceToHost, d->stream));
    }
    cuda_ok(d, cudaEventRecord(r->done, d->stream));
}

void cuda_sample(Device *d, Tensor logits, const SampleRow *rows, int n)
{
    CHECK(n >= 1 && n <= DRAW_ROWS_MAX && logits.dtype == DT_F32);
    cuda_flush(d);
    cuda_profile_enter(d);
    cuda_profile_part(d, PART_SAMPLE);
    Layout l = lay_out(rows, n);
    SampleStage *s = &d->sample_stage[d->sample_stage_now];
    SampleResult *r = d->error == cudaSuccess && make_room(d, s, l.n) ? take_result(d, n) : NULL;
    if (!r) return;
    d->sample_stage_now = (d->sample_stage_now + 1) % STAGES;
    pack(s->host, l, rows, n, logits.cols);
    cuda_ok(d, cudaMemcpyAsync(d->sample_in, s->host, l.n * 4, cudaMemcpyHostToDevice, d->stream));
    cuda_ok(d, cudaEventRecord(s->done, d->stream));
    int32_t *out = d->drawn;
    DrawArgs a = { .logits = logits.p,
                   .stride = logits.stride,
                   .rows = n,
                   .row = (const DrawRow *)(void *)d->sample_in,
                   .list = d->sample_in,
                   .save = (float *)(void *)(d->sample_in + d->sample_in_cap),
                   .token = out,
                   .logprob = (float *)(void *)(out + part_at(1, DRAW_ROWS_MAX)),
                   .top_id = out + part_at(2, DRAW_ROWS_MAX),
                   .top_logprob = (float *)(void *)(out + part_at(3, DRAW_ROWS_MAX)) };
    launch_draw(d->stream, &a);
    cuda_ok(d, cudaGetLastError());
    r->n = n;
    r->tops = false;
    for (int i = 0; i < n; i++) r->tops = r->tops || rows[i].n_top > 0;
    fetch(d, r);
    d->result_n++;
    cuda_profile_end(d, true);
}

Status cuda_sample_wait(Device *d, SampleOut *out, int n, Err *err)
{
    cuda_profile_collect(d);
    if (n == 0 && d->error == cudaSuccess) return OK; /* a pass that drew nothing */
    if (d->error == cudaSuccess && d->result_n == 0) return fail(err, E_INVALID, "nothing was sampled");
    SampleResult *r = &d->results[d->result_first];
    if (d->error == cudaSuccess) cuda_ok(d, cudaEventSynchronize(r->done));
    if (d->error != cudaSuccess) return fail(err, E_DEVICE, "%s: %s", d->name, cudaGetErrorString(d->error));
    for (int i = 0; i < MIN(n, r->n); i++) {
        out[i].token = r->host[part_at(0, r->cap) + (size_t)i];
        memcpy(&out[i].logprob, r->host + part_at(1, r->cap) + i, 4);
        if (!r->tops) continue;
        memcpy(out[i].top_id, r->host + part_at(2, r->cap) + (size_t)i * DRAW_TOPS, sizeof out[i].top_id);
        memcpy(out[i].top_logprob, r->host + part_at(3, r->cap) + (size_t)i * DRAW_TOPS, sizeof out[i].top_logprob);
    }
    d->result_first = (d->result_first + 1) % RESULTS;
    d->result_n--;
    return OK;
}

/* Rows, masks of a quarter of a million ids for some of them, and two words for every token that penalties may know of. More at
 * once is rare, and gets it as long as there is memory. */
static size_t most_words(WarmLimits most)
{
    size_t seqs = (size_t)most.seqs, masks = (size_t)MIN(most.seqs, MASK_ROWS) * MASK_WORDS;
    return seqs * sizeof(DrawRow) / 4 + masks + 2 * seqs * (size_t)MIN(most.context, SEEN_TOKENS);
}

size_t cuda_sample_bytes(WarmLimits most)
{
    return most_words(most) * 4 * 4;
}

bool cuda_sample_reserve(Device *d, WarmLimits most)
{
    bool ok = true;
    for (int i = 0; i < STAGES && ok; i++) ok = make_room(d, &d->sample_stage[i], most_words(most));
    for (int i = 0; i < RESULTS && ok; i++) { /* each in turn, as if it were to be filled */
        ok = take_result(d, MIN(most.seqs, DRAW_ROWS_MAX)) != NULL;
        d->result_first = (d->result_first + 1) % RESULTS;
    }
    return ok;
}

Status cuda_sample_open(Device *d, Err *err)
{
    return cuda_alloc((void **)&d->drawn, (size_t)DRAW_ROWS_MAX * DRAW_WORDS * 4, "samples", err);
}

void cuda_sample_free(Device *d)
{
    for (int i = 0; i < RESULTS; i++) {
        if (d->results[i].host) cudaFreeHost(d->results[i].host);
        if (d->results[i].done) cudaEventDestroy(d->results[i].done);
    }
    for (int i = 0; i < STAGES; i++) {
        if (d->sample_stage[i].host) cudaFreeHost(d->sample_stage[i].host);
        if (d->sample_stage[i].done) cudaEventDestroy(d->sample_stage[i].done);
    }
    cudaFree(d->sample_in);
    cudaFree(d->drawn);
}
