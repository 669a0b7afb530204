/* profile.c - timers around the ops of backends that work while they are called; others keep their own (BackendOps.profile).
 *
 * Every pass is timed op by op: a reading of the clock is nothing beside an op. Time between the end of one pass's drawing and
 * the next pass is the engine's, or nobody's if it is long. Thread: engine; profile_read any, under the lock. */
#include <pthread.h>

#include "model/plan.h"

static const int64_t IDLE_MAX_NS = 50000000; /* longer: there was nothing to do */

struct Profile {
    pthread_mutex_t lock;
    DeviceProfile sum;
    /* of the pass under way */
    ProfileKind now;
    bool decode;
    int64_t began_ns, at_ns, ended_ns;
};

Profile *profile_new(void)
{
    Profile *p = mem_alloc(sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

void profile_free(Profile *p)
{
    if (!p) return;
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

static void spend(Profile *p, ProfilePart part)
{
    int64_t now = clock_ns();
    p->now.part_s[part] += (double)(now - p->at_ns) / 1e9;
    p->at_ns = now;
}

void profile_begin(Profile *p, const DeviceBatch *b)
{
    p->began_ns = p->at_ns = clock_ns();
    int64_t idle = p->ended_ns ? p->began_ns - p->ended_ns : 0;
    p->decode = b->n_tok == b->n_seq;
    p->now = (ProfileKind){ .passes = 1, .looked = 1, .rows = (uint64_t)b->n_tok };
    p->now.idle_s = idle < IDLE_MAX_NS ? (double)idle / 1e9 : 0;
}

void profile_step(Profile *p, const Plan *plan, const PlanStep *s, const DeviceBatch *b, double kv_token_bytes)
{
    bool linear = s->op == OP_LINEAR, attend = s->op == OP_ATTN;
    spend(p, linear ? PART_LINEAR : attend ? PART_ATTEND : PART_OTHER);
    if (linear) p->now.flop += plan_flop(plan, s) * (s->few ? b->n_logit : b->n_tok);
    for (int i = 0; i < b->n_seq && attend; i++)
        p->now.kv_bytes += kv_token_bytes * (s->attn.window > 0 ? MIN(s->attn.window, b->seq_len[i]) : b->seq_len[i]);
}

static void add(ProfileKind *to, const ProfileKind *k)
{
    to->passes += k->passes;
    to->rows += k->rows;
    to->busy_s += k->busy_s;
    to->idle_s += k->idle_s;
    to->looked += k->looked;
    to->looked_s += k->looked_s;
    for (int i = 0; i < PART_COUNT; i++) to->part_s[i] += k->part_s[i];
    to->flop += k->flop;
    to->kv_bytes += k->kv_bytes;
}

void profile_end(Profile *p, bool sampled)
{
    spend(p, sampled ? PART_SAMPLE : PART_OTHER);
    p->ended_ns = p->at_ns;
    p->now.busy_s = p->now.looked_s = (double)(p->ended_ns - p->began_ns) / 1e9;
    pthread_mutex_lock(&p->lock);
    add(p->decode ? &p->sum.decode : &p->sum.prefill, &p->now);
    pthread_mutex_unlock(&p->lock);
}

void profile_read(Profile *p, DeviceProfile *out)
{
    pthread_mutex_lock(&p->lock);
    *out = p->sum;
    pthread_mutex_unlock(&p->lock);
}
