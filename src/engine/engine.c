/* engine.c - the loop, its inbox and its thread.
 *
 * The heart is engine_step: take what has arrived, choose who runs on which pages, run one pass, draw, tell. Everything else
 * here carries messages to that thread and figures away from it. Jobs come through a bounded queue; cancellations and
 * the like through a stack that cannot be full, so that a cancellation is never refused. A control is pushed
 * after its job, so the engine takes the stack first, then the jobs, and applies the controls last.
 * After a fault of the device every job ends END_FAILED, now and from then on: nothing on it can be trusted. */
#include "engine/engine.h"

#include <unistd.h>

#include "base/log.h"
#include "engine/core.h"

enum { MAX_QUEUED = 65536, MAX_RUNNING = 65536, INBOX_CHUNK = 64 };

/* ---- figures ---- */

/* A sequence lock over atomic words: readers try again while the version is odd or has changed. */
static void publish(Engine *e)
{
    KvStats kv = kv_stats(e->kv);
    EngineStats *st = &e->stats;
    st->n_running = e->sched.n_running;
    st->n_waiting = e->sched.waiting.n + e->sched.n_parked;
    st->n_pages = kv.n_pages;
    st->n_pages_free = kv.n_free;
    st->n_pages_tree = kv.n_tree;
    st->preemptions = e->sched.n_preempted;
    st->cached_tokens = e->sched.cached_tokens;
    st->prompt_tokens = e->sched.prompt_tokens;
    uint64_t word[STATS_WORDS] = { 0 }, version = atomic_load_explicit(&e->stats_version, memory_order_relaxed);
    memcpy(word, st, sizeof *st);
    atomic_store_explicit(&e->stats_version, version + 1, memory_order_relaxed);
    for (int i = 0; i < STATS_WORDS; i++) atomic_store_explicit(&e->stats_word[i], word[i], memory_order_release);
    atomic_store_explicit(&e->stats_version, version + 2, memory_order_release);
}

void engine_stats(Engine *e, EngineStats *out)
{
    uint64_t word[STATS_WORDS], before, after;
    do {
        before = atomic_load_explicit(&e->stats_version, memory_order_acquire);
        for (int i = 0; i < STATS_WORDS; i++) word[i] = atomic_load_explicit(&e->stats_word[i], memory_order_acquire);
        after = atomic_load_explicit(&e->stats_version, memory_order_relaxed);
    } while (before != after || before % 2);
    memcpy(out, word, sizeof *out);
}

static void count_pass(Engine *e, const Batch *b, int64_t ended_ns)
{
    EngineStats *st = &e->stats;
    int prefill = b->n_prefill, decode = b->n_decode;
    int64_t took = ended_ns - MAX(b->began_ns, e->ended_ns), of_prefill = took * prefill / (prefill + decode);
    st->steps++;
    st->prefill_tokens += (uint64_t)prefill;
    st->decode_tokens += (uint64_t)(decode - b->n_drafts);
    if (prefill == 0) speculate_measured(&e->speculate, decode, took);
    st->busy_ns += took;
    st->prefill_ns += of_prefill;
    st->decode_ns += took - of_prefill;
    e->ended_ns = ended_ns;
    int64_t window = ended_ns - e->window_ns;
    if (window < 1000000000) return;
    st->tok_s = (double)(st->decode_tokens - e->window_tokens) * 1e9 / (double)window;
    e->window_ns = ended_ns;
    e->window_tokens = st->decode_tokens;
}

/* ---- the inbox ---- */

static void adopt(Engine *e, Seq *q)
{
    seqs_table_add(&e->table, q);
    if (e->fault.status != OK)
        accept_end(e, q, END_FAILED, -1, NULL);
    else
        sched_add(&e->sched, q);
}

static void apply(Engine *e, Control *c)
{
    Seq *q = c->kind == CONTROL_CANCEL || c->kind == CONTROL_STOP ? seqs_table_find(&e->table, c->id) : NULL;
    if (q) accept_end(e, q, c->kind == CONTROL_CANCEL ? END_CANCELLED : END_STOP, -1, NULL);
    if (c->kind == CONTROL_CANCEL_ALL) accept_end_all(e, END_CANCELLED, c->id);
    if (c->kind != CONTROL_FLUSH) {
        mem_free(c);
        return;
    }
    c->next = e->flushes;
    e->flushes = c;
}

static Control *in_order(Control *c)
{
    Control *first = NULL;
    for (Control *next; c; c = next) {
        next = c->next;
        c->next = first;
        first = c;
    }
    return first;
}

static void inbox_drain(Engine *e)
{
    Control *c = in_order(atomic_exchange_explicit(&e->control, NULL, memory_order_acq_rel));
    void *items[INBOX_CHUNK];
    size_t n;
    do {
        n = queue_pop(e->inbox, items, INBOX_CHUNK);
        for (size_t i = 0; i < n; i++) adopt(e, items[i]);
    } while (n == INBOX_CHUNK);
    for (Control *next; c; c = next) {
        next = c->next;
        apply(e, c);
    }
}

/* Sleeps until something arrives; false: the engine is closing. */
static bool inbox_wait(Engine *e)
{
    void *items[INBOX_CHUNK];
    e->stats.tok_s = 0;
    publish(e);
    size_t n = queue_pop_wait(e->inbox, items, INBOX_CHUNK, -1);
    for (size_t i = 0; i < n; i++) adopt(e, items[i]);
    return !atomic_load(&e->closing);
}

static void answer_flushes(Engine *e)
{
    bool idle = sched_idle(&e->sched), closing = atomic_load(&e->closing);
    for (Control **at = &e->flushes, *c; (c = *at);) {
        if (!idle && !closing && clock_ns() < c->deadline_ns) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        c->flushed = idle;
        if (idle) kv_flush(e->kv);
        publish(e);                     /* who asked may look at the statistics next */
        CHECK(queue_push(c->reply, c)); /* from here on it is its owner's again */
    }
}

static void post(Engine *e, Control *c)
{
    c->next = atomic_load_explicit(&e->control, memory_order_relaxed);
    while (
        !atomic_compare_exchange_weak_explicit(&e->control, &c->next, c, memory_order_release, memory_order_relaxed)) {
    }
    queue_wake(e->inbox);
}

static void post_new(Engine *e, ControlKind kind, uint64_t id)
{
    Control *c = mem_alloc(sizeof *c);
    *c = (Control){ .kind = kind, .id = id };
    post(e, c);
}

/* ---- the step log ---- */

void engine_dump_steps(const Engine *e, int fd)
{
    steplog_dump(&e->log, fd);
}

static void tell_steps(void *engine)
{
    engine_dump_steps(engine, STDERR_FILENO);
}

/* Called twice in a step: when its pass is queued, so that it is there should the rest fail, and at the end. */
static void log_step(Engine *e)
{
    StepRecord *r = &e->step;
    KvStats kv = kv_stats(e->kv);
    r->n_running = e->sched.n_running;
    r->n_waiting = e->sched.waiting.n;
    r->n_parked = e->sched.n_parked;
    r->n_pages_free = kv.n_free;
    r->n_pages_tree = kv.n_tree;
    r->n_preempted = e->sched.n_preempted;
    steplog_put(&e->log, r);
}

/* ---- the loop ---- */

static void expire(Engine *e, int64_t now_ns)
{
    for (Seq *q; (q = sched_expired(&e->sched, now_ns));) accept_end(e, q, END_TIMEOUT, -1, NULL);
}

/* The masks are there: of tokens known when the pass was filled, or of those that came in since. */
static void queue_draw(Engine *e, Batch *b)
{
    for (int i = 0; i < b->n && b->n_masked; i++) {
        Entry *entry = &b->entry[i];
        Seq *q = entry->q;
        if (!q || !q->constrain.matcher || !entry->draws) continue;
        if (constrain_rows(q, entry->n_drafts, &b->rows[entry->drawn_at]) == CONSTRAIN_FAILED)
            accept_end(e, q, END_FAILED, -1, NULL);
    }
    int64_t host_ns = clock_ns();
    if (b->device.n_logit) model_sample(e->model, b->rows, b->device.n_logit);
    e->device_ns += clock_ns() - host_ns;
}

/* Whether b's draw must wait for tokens of the pass before it, which are not known yet. */
static bool waits_for_masks(const Engine *e, const Batch *b)
{
    return e->o.ahead && b->n_masked > 0;
}

/* Sends a pass on its way. Its sequences move on at once: the next pass may build on it. */
static void queue_pass(Engine *e, Batch *b)
{
    batch_fill(b, e->turn, e->sched.pick, e->sched.n_pick, e->info->n_vocab);
    accept_started(e, b);
    int64_t host_ns = clock_ns();
    e->step.queued_ns = b->began_ns = model_now_ns(e->model);
    steplog_picked(&e->step, b);
    log_step(e);
    model_forward(e->model, &b->device);
    e->device_ns += clock_ns() - host_ns;
    if (!waits_for_masks(e, b)) queue_draw(e, b);
    batch_queued(b);
    for (int i = 0; i < b->n; i++) sched_computed(&e->sched, b->entry[i].q);
}

static void break_down(Engine *e)
{
    log_error("step %llu: the device has failed: %s; the last steps:", (unsigned long long)e->step.step, e->fault.text);
    if (log_level() >= LOG_ERROR) engine_dump_steps(e, STDERR_FILENO);
    atomic_store(&e->failed, true);
    accept_end_all(e, END_FAILED, UINT64_MAX);
    for (int i = 0; i < 2; i++) batch_finish(&e->batch[i]);
    e->flying = NULL;
    if (e->o.on_fault) e->o.on_fault(e->o.fault_ctx, e->fault.text);
}

static void finish_pass(Engine *e, Batch *b)
{
    int64_t host_ns = clock_ns();
    Status status = model_sample_wait(e->model, b->out, b->device.n_logit, &e->fault);
    e->device_ns += clock_ns() - host_ns;
    int64_t ended_ns = model_now_ns(e->model);
    e->step.waited = 1;
    e->step.took_ns = ended_ns - MAX(b->began_ns, e->ended_ns);
    count_pass(e, b, ended_ns);
    if (status != OK) {
        break_down(e);
        return;
    }
    accept_tokens(e, b);
    batch_finish(b);
}

bool engine_step(Engine *e)
{
    int64_t host_ns = clock_ns();
    e->device_ns = 0;
    e->step = (StepRecord){ .step = atomic_load_explicit(&e->log.n, memory_order_relaxed) + 1 };
    inbox_drain(e);
    expire(e, model_now_ns(e->model));
    Batch *next = sched_pick(&e->sched) > 0 ? &e->batch[e->turn] : NULL, *due = next;
    speculate_pick(&e->speculate, &e->sched);
    if (next) queue_pass(e, next);
    if (e->o.ahead) { /* the pass of the step before runs on while the next one is queued behind it */
        due = e->flying;
        e->flying = next;
        e->turn = !e->turn;
    }
    CHECK(next || due || sched_idle(&e->sched));
    if (due) finish_pass(e, due);
    if (e->flying && e->flying == next && waits_for_masks(e, next)) queue_draw(e, next);
    if (e->flushes) answer_flushes(e);
    if (e->o.verify) engine_verify(e);
    e->stats.stepped_ns = clock_ns();
    e->step.sched_ns = e->stats.stepped_ns - host_ns - e->device_ns;
    e->stats.sched_ns += e->step.sched_ns;
    if (next || due) log_step(e);
    publish(e);
    return next || due;
}

static bool is_wanted(void *ctx)
{
    Engine *e = ctx;
    return queue_count(e->inbox) > 0 || atomic_load(&e->control) || atomic_load(&e->closing);
}

/* Nothing runs or waits: the device may prepare itself. False: it has nothing to do either. */
static bool use_idle(Engine *e)
{
    return e->fault.status == OK && model_idle(e->model, is_wanted, e);
}

static void *loop(void *arg)
{
    Engine *e = arg;
    while (!atomic_load(&e->closing))
        if (!engine_step(e) && !use_idle(e) && !inbox_wait(e)) break;
    return NULL;
}

/* ---- any thread ---- */

uint64_t engine_new_id(Engine *e)
{
    return atomic_fetch_add(&e->next_id, 1) + 1;
}

Status engine_submit(Engine *e, const Job *job, uint64_t *id, Err *err)
{
    if (atomic_load(&e->failed)) return fail(err, E_DEVICE, "the device has failed; the server must be restarted");
    Seq *q;
    TRY(seq_new(job, e->info, &e->o, &q, err));
    if (atomic_fetch_add(&e->n_live, 1) >= e->max_jobs) goto busy;
    q->id = job->id ? job->id : engine_new_id(e);
    if (id) *id = q->id;
    if (queue_push(e->inbox, q)) return OK;
busy:
    atomic_fetch_sub(&e->n_live, 1);
    seq_free(q);
    return fail(err, E_BUSY, "%d requests are waiting already: try again later", e->max_jobs);
}

void engine_cancel(Engine *e, uint64_t id)
{
    post_new(e, CONTROL_CANCEL, id);
}

void engine_stop(Engine *e, uint64_t id)
{
    post_new(e, CONTROL_STOP, id);
}

void engine_cancel_all(Engine *e)
{
    post_new(e, CONTROL_CANCEL_ALL, atomic_load(&e->next_id)); /* what comes later is spared */
}

Status engine_flush_cache(Engine *e, int timeout_ms, Err *err)
{
    Control c = { .kind = CONTROL_FLUSH,
                  .reply = queue_new(1),
                  .deadline_ns = clock_ns() + (int64_t)timeout_ms * 1000000 };
    post(e, &c);
    if (!e->threaded) {
        inbox_drain(e);
        c.deadline_ns = 0; /* nobody else will make it idle */
        answer_flushes(e);
    }
    void *item;
    while (queue_pop_wait(c.reply, &item, 1, -1) == 0) {
    }
    queue_free(c.reply);
    return c.flushed ? OK : fail(err, E_BUSY, "the cache cannot be flushed while requests are running");
}

/* ---- life ---- */

bool engine_find_policy(const char *name, SchedPolicy *out)
{
    static const struct {
        const char *name;
        SchedPolicy policy;
    } known[] = { { "lpm", POLICY_LPM }, { "fcfs", POLICY_FCFS }, { "lof", POLICY_LOF } };
    for (size_t i = 0; i < COUNT(known); i++) {
        if (name && strcmp(name, known[i].name) != 0) continue;
        *out = known[i].policy;
        return true;
    }
    return false;
}

static Status check_options(EngineOptions *o, Err *err)
{
    if (!o->max_queued) o->max_queued = MAX_QUEUED;
    if (!o->chunk_tokens) o->chunk_tokens = o->max_batch_tokens;
    o->chunk_tokens = MIN(o->chunk_tokens, o->max_batch_tokens);
    if (!o->mixed_tokens) o->mixed_tokens = o->max_batch_tokens;
    if (!o->max_logits) o->max_logits = o->max_running;
    if (o->max_running < 1 || o->max_running > MAX_RUNNING)
        return fail(err, E_INVALID, "max_running must be between 1 and %d, not %d", MAX_RUNNING, o->max_running);
    if (o->draft_tokens < 0 || o->draft_tokens > ENGINE_DRAFT_MAX || (o->draft_tokens && o->ahead))
        return fail(err, E_INVALID, "draft_tokens must be between 0 and %d, and 0 where the engine runs ahead, not %d",
                    ENGINE_DRAFT_MAX, o->draft_tokens);
    if (o->max_queued < 0 || o->max_queued > INT32_MAX / 4)
        return fail(err, E_INVALID, "max_queued must be positive, not %d", o->max_queued);
    if (o->max_batch_tokens < 1 || o->chunk_tokens < 1 || o->mixed_tokens < 1)
        return fail(err, E_INVALID,
                    "a pass must have room for a token: max_batch_tokens %d, chunk_tokens %d, mixed_tokens %d",
                    o->max_batch_tokens, o->chunk_tokens, o->mixed_tokens);
    return OK;
}

Status engine_open(const EngineOptions *o, Engine **out, Err *err)
{
    EngineOptions checked = *o;
    TRY(check_options(&checked, err));
    Engine *e = mem_alloc(sizeof *e);
    e->o = checked;
    e->model = o->model;
    e->info = model_info(o->model);
    e->max_jobs = checked.max_queued + checked.max_running;
    e->inbox = queue_new((size_t)e->max_jobs);
    e->kv = kv_new(e->info->n_pages, checked.use_radix);
    seqs_table_init(&e->table, e->max_jobs);
    SchedLimits limits = { .policy = checked.policy,
                           .max_running = checked.max_running,
                           .max_logits = checked.max_logits,
                           .max_batch_tokens = checked.max_batch_tokens,
                           .chunk_tokens = checked.chunk_tokens,
                           .mixed_tokens = checked.mixed_tokens,
                           .max_jobs = e->max_jobs,
                           .use_radix = checked.use_radix,
                           .prefill_first = checked.prefill_first,
                           .ahead = checked.ahead };
    sched_init(&e->sched, &limits, e->kv);
    e->speculate = (Speculate){ .most = checked.draft_tokens, .always = checked.draft_always };
    int longest = MIN(seq_pages_for(e->info->context_length), e->info->n_pages + 1);
    for (int i = 0; i < 1 + checked.ahead; i++)
        batch_init(&e->batch[i], checked.max_batch_tokens, checked.max_running, checked.max_logits, longest);
    e->window_ns = model_now_ns(e->model);
    publish(e);
    base_on_panic(tell_steps, e); /* no place left: one of many engines, which says less when it dies */
    *out = e;
    return OK;
}

Status engine_start(Engine *e, Err *err)
{
    CHECK(!e->threaded);
    e->threaded = true;
    if (pthread_create(&e->thread, NULL, loop, e) != 0) {
        e->threaded = false;
        return fail(err, E_LIMIT, "the engine's thread could not be started");
    }
    return OK;
}

void engine_close(Engine *e)
{
    if (!e) return;
    base_forget_panic(tell_steps, e);
    atomic_store(&e->closing, true);
    queue_close(e->inbox);
    if (e->threaded) pthread_join(e->thread, NULL);
    if (e->flying) model_sample_wait(e->model, e->flying->out, e->flying->device.n_logit, NULL);
    inbox_drain(e);
    accept_end_all(e, END_CANCELLED, UINT64_MAX);
    for (int i = 0; i < 2; i++) batch_finish(&e->batch[i]);
    answer_flushes(e);
    engine_verify(e);
    seqs_table_done(&e->table);
    sched_done(&e->sched);
    for (int i = 0; i < 2; i++) batch_done(&e->batch[i]);
    kv_free(e->kv);
    queue_free(e->inbox);
    ids_free(&e->forced);
    mem_free(e);
}

void engine_verify(Engine *e)
{
    CHECK(e->table.n == e->sched.waiting.n + e->sched.n_parked + e->sched.n_running);
    sched_verify(&e->sched);
    kv_verify(e->kv);
}
