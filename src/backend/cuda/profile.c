/* profile.c - where device time goes: events around passes, and now and then around every command of one.
 *
 * Each pass is bracketed by two events; the time from one pass's end to the next one's begin is what the device waited. Of
 * each kind of pass every LOOK-th is run command by command instead of from its graph, with an event wherever the kind of
 * work changes (a mark). Between marks there are gaps that a graph does not have; looked_s against the other passes tells what they
 * come to. Results are read when they are there, so nothing waits for the device.
 * Thread: the engine's; cuda_profile any, under the lock. */
#include <pthread.h>

#include "backend/cuda/cuda.h"

enum { FLIGHTS = 8, MARKS = 4096, LOOK_FIRST = 6, LOOK_DECODE = 32, LOOK_PREFILL = 6 };
static const double IDLE_MAX_S = 0.05; /* longer: there was nothing to do */

/* A pass on its way. */
typedef struct {
    cudaEvent_t begin, end;
    bool decode, looked;
    bool over; /* all of it is queued: a draw may come later than the rest */
    int rows;
    double host_s, flop, kv_bytes;
} Flight;

struct Profile {
    pthread_mutex_t lock;
    DeviceProfile sum;
    Flight flight[FLIGHTS];
    int first, n;
    cudaEvent_t last; /* the end of the pass summed last */
    bool has_last, looking;
    cudaEvent_t mark[MARKS];
    uint8_t part[MARKS];
    int n_marks;        /* of one pass at a time */
    uint64_t begun[2];  /* passes so far: prefill, decode */
    int64_t entered_ns; /* the host came into forward_begin or sample */
};

bool cuda_profile_open(Device *d)
{
    Profile *p = mem_alloc(sizeof *p);
    d->profile = p;
    pthread_mutex_init(&p->lock, NULL);
    cuda_ok(d, cudaEventCreate(&p->last));
    for (int i = 0; i < FLIGHTS; i++) {
        cuda_ok(d, cudaEventCreate(&p->flight[i].begin));
        cuda_ok(d, cudaEventCreate(&p->flight[i].end));
    }
    for (int i = 0; i < MARKS; i++) cuda_ok(d, cudaEventCreate(&p->mark[i]));
    return d->error == cudaSuccess;
}

void cuda_profile_close(Device *d)
{
    Profile *p = d->profile;
    if (!p) return;
    for (int i = 0; i < FLIGHTS; i++) {
        if (p->flight[i].begin) cudaEventDestroy(p->flight[i].begin);
        if (p->flight[i].end) cudaEventDestroy(p->flight[i].end);
    }
    for (int i = 0; i < MARKS; i++)
        if (p->mark[i]) cudaEventDestroy(p->mark[i]);
    if (p->last) cudaEventDestroy(p->last);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
    d->profile = NULL;
}

/* ---- summing up ---- */

static double seconds(cudaEvent_t from, cudaEvent_t to)
{
    float ms = 0;
    return cudaEventElapsedTime(&ms, from, to) == cudaSuccess ? (double)ms / 1e3 : 0;
}

static void sum_marks(Profile *p, const Flight *f, ProfileKind *k)
{
    k->looked++;
    k->flop += f->flop;
    k->kv_bytes += f->kv_bytes;
    k->looked_s += seconds(f->begin, f->end);
    for (int i = 0; i < p->n_marks; i++) {
        k->part_s[p->part[i]] += seconds(p->mark[i], i + 1 < p->n_marks ? p->mark[i + 1] : f->end);
        k->part_n[p->part[i]]++;
    }
    p->n_marks = 0;
}

static void sum_oldest(Profile *p)
{
    Flight *f = &p->flight[p->first];
    double idle = p->has_last ? seconds(p->last, f->begin) : 0;
    pthread_mutex_lock(&p->lock);
    ProfileKind *k = f->decode ? &p->sum.decode : &p->sum.prefill;
    k->passes++;
    k->rows += (uint64_t)f->rows;
    k->busy_s += seconds(f->begin, f->end);
    k->idle_s += idle > 0 && idle < IDLE_MAX_S ? idle : 0;
    k->host_s += f->host_s;
    if (f->looked) sum_marks(p, f, k);
    pthread_mutex_unlock(&p->lock);
    cudaEvent_t end = f->end;
    f->end = p->last;
    p->last = end;
    p->has_last = true;
    p->first = (p->first + 1) % FLIGHTS;
    p->n--;
}

void cuda_profile_collect(Device *d)
{
    Profile *p = d->profile;
    while (p && p->n && p->flight[p->first].over && cudaEventQuery(p->flight[p->first].end) == cudaSuccess)
        sum_oldest(p);
}

void cuda_profile(Device *d, DeviceProfile *out)
{
    Profile *p = d->profile;
    *out = (DeviceProfile){ 0 };
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    *out = p->sum;
    out->joules = nvml_read(d->nvml).joules;
    pthread_mutex_unlock(&p->lock);
}

/* ---- in a pass ---- */

static Flight *newest(Profile *p)
{
    return &p->flight[(p->first + p->n - 1) % FLIGHTS];
}

void cuda_profile_enter(Device *d)
{
    if (d->profile) d->profile->entered_ns = clock_ns();
}

static bool to_be_looked_at(Profile *p, bool decode)
{
    uint64_t n = p->begun[decode]++, every = decode ? LOOK_DECODE : LOOK_PREFILL;
    return p->n_marks == 0 && n >= LOOK_FIRST && (n - LOOK_FIRST) % every == 0;
}

/* What the written commands are worth. */
static void weigh(const Device *d, Flight *f)
{
    f->flop = f->kv_bytes = 0;
    for (int i = 0; i < d->n_commands; i++) {
        const Command *c = &d->commands[i];
        int rows = c->rows == d->rows ? d->n_tok : d->n_logit;
        if (c->kind == C_LINEAR) f->flop += 2.0 * rows * c->w->rows * c->w->cols;
        if (c->kind != C_ATTEND) continue;
        double tokens = 0;
        for (int s = 0; s < d->batch->n_seq; s++) {
            int window = c->attn.window, len = d->batch->seq_len[s];
            tokens += window > 0 ? MIN(window, len) : len;
        }
        f->kv_bytes += tokens * 4 * c->attn.n_kv_head * c->kv->dim;
    }
}

bool cuda_profile_begin(Device *d, bool decode)
{
    Profile *p = d->profile;
    if (!p) return false;
    if (p->n == FLIGHTS) {
        cuda_ok(d, cudaEventSynchronize(p->flight[p->first].end));
        sum_oldest(p);
    }
    p->n++;
    Flight *f = newest(p);
    f->decode = decode;
    f->looked = p->looking = to_be_looked_at(p, decode);
    f->over = false;
    f->rows = d->n_tok;
    f->host_s = 0;
    if (f->looked) weigh(d, f);
    cuda_ok(d, cudaEventRecord(f->begin, d->stream));
    cuda_profile_part(d, PART_OTHER);
    return f->looked;
}

void cuda_profile_part(Device *d, ProfilePart part)
{
    Profile *p = d->profile;
    if (!p || !p->looking || p->n_marks == MARKS) return;
    if (p->n_marks && p->part[p->n_marks - 1] == (uint8_t)part) return;
    p->part[p->n_marks] = (uint8_t)part;
    cuda_ok(d, cudaEventRecord(p->mark[p->n_marks++], d->stream));
}

void cuda_profile_command(Device *d, const Command *c)
{
    if (!d->profile) return;
    cuda_profile_part(d, c->kind == C_LINEAR ? PART_LINEAR : c->kind == C_ATTEND ? PART_ATTEND : PART_OTHER);
}

void cuda_profile_end(Device *d, bool of_pass)
{
    Profile *p = d->profile;
    if (!p || p->n == 0) return;
    Flight *f = newest(p);
    f->host_s += (double)(clock_ns() - p->entered_ns) / 1e9;
    cuda_ok(d, cudaEventRecord(f->end, d->stream));
    f->over = of_pass;
    p->looking = p->looking && !of_pass;
}
