/* radish.c - opens everything in order (checkpoint, tokenizer, template, device, model, engine) and closes it in reverse. */
#include "radish.h"

#include <math.h>
#include <stdatomic.h>
#include <strings.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "radish/fit.h"
#include "radish/state.h"

enum { TEMPLATE_FILE_MAX = 1 << 20, CPU_MAX_TOKENS = 65536, CPU_BATCH_TOKENS = 512, CPU_MAX_RUNNING = 256 };
enum { DEVICE_BATCH_TOKENS = 8192, DEVICE_MAX_RUNNING = 1024 };

const char *radish_version(void)
{
    return RADISH_VERSION;
}

int radish_report(RadishError *out, const Err *err)
{
    if (out) {
        out->status = (RadishStatus)err->status;
        memcpy(out->text, err->text, sizeof out->text);
    }
    return (int)err->status;
}

/* ---- the pieces, in the order they are opened ---- */

static Status open_template(Radish *r, const RadishOptions *o, Err *err)
{
    Str text = { 0 };
    if (o->chat_template && !strchr(o->chat_template, '{')) {
        TRY(file_read(r->boot, o->chat_template, TEMPLATE_FILE_MAX, &text, err));
    } else if (o->chat_template) {
        text = str_of(o->chat_template);
    } else {
        text = tok_chat_template(r->tok, "");
    }
    if (text.n == 0) return OK;
    Status status = template_open(text, &r->chat, err);
    if (status == OK) r->chat_text = arena_str(r->boot, text);
    if (status == OK) return OK;
    if (o->chat_template) return fail_prefix(err, "--chat-template");
    log_warn("chat template not usable, chat requests will be refused: %s", err->text); /* completions still work */
    return OK;
}

static Status open_text(Radish *r, const RadishOptions *o, Err *err)
{
    static const char *const roles[] = { "bos_token", "eos_token", "unk_token", "pad_token",
                                         "sep_token", "cls_token", "mask_token" };
    if (o->skip_tokenizer) return OK;
    if (o->tokenizer_path) {
        TRY(tok_open_path(o->tokenizer_path, &r->tok, err));
    } else if (!load_is_dummy(r->checkpoint) || load_side_file(r->checkpoint, "tokenizer.json").p ||
               load_side_file(r->checkpoint, "tokenizer.model").p) {
        TRY(tok_open(r->checkpoint, &r->tok, err));
    } else {
        return OK; /* dummy weights of a bare config: ids in, ids out */
    }
    TRY(open_template(r, o, err));
    r->specials = ARENA_NEW(r->boot, TemplateVar, COUNT(roles));
    for (size_t i = 0; i < COUNT(roles); i++) {
        Str text = tok_special_text(r->tok, roles[i]);
        if (text.n) r->specials[r->n_specials++] = (TemplateVar){ roles[i], text };
    }
    size_t n;
    const int32_t *ids = tok_stop_ids(r->tok, &n);
    ids_add(&r->stop_ids, ids, n);
    return OK;
}

static Status open_device(Radish *r, const RadishOptions *o, Err *err)
{
    if (o->device && strcmp(o->device, "auto") != 0) {
        r->ops = backend_find(o->device);
        if (!r->ops)
            return fail(err, E_UNSUPPORTED,
                        "--device %s: this build has no such backend; it has cpu, sim and, built with nvcc, cuda",
                        o->device);
        if (r->ops->count() == 0)
            return fail(err, E_DEVICE, "--device %s: no such device here (is the driver installed?)", o->device);
    } else {
        for (int i = 0; backends[i] && !r->ops; i++) {
            if (backends[i]->count() > 0) r->ops = backends[i];
        }
        CHECK(r->ops);
    }
    DeviceOptions d = { .index = o->device_index, .threads = o->threads, .isa = o->isa, .profile = o->profile };
    return r->ops->open(&d, &r->device, err);
}

/* The backend says whether it has such a cache. */
static Status kv_dtype(const char *name, DType *out, Err *err)
{
    *out = DT_NONE;
    if (!name || strcmp(name, "auto") == 0) return OK;
    if (strncmp(name, "fp8", 3) == 0)
        return fail(err, E_UNSUPPORTED, "--kv-cache-dtype %s: there are no fp8 caches; on the CPU int8 takes as little",
                    name);
    *out = strcmp(name, "float16") == 0    ? DT_F16
           : strcmp(name, "bfloat16") == 0 ? DT_BF16
           : strcmp(name, "float32") == 0  ? DT_F32
           : strcmp(name, "int8") == 0     ? DT_I8
                                           : quant_of_name(str_of(name));
    if (*out == DT_F32 || *out == DT_F16 || *out == DT_BF16 || *out == DT_I8) return OK;
    return fail(err, E_INVALID, "--kv-cache-dtype %s: use auto, f32, f16, bf16 or int8", name);
}

/* How many tokens the engine may guess; 0: none. */
static Status draft_tokens(const Radish *r, const RadishOptions *o, int *out, Err *err)
{
    const char *name = o->speculative;
    *out = 0;
    if (!name || strcasecmp(name, "none") == 0) return OK;
    if (strcasecmp(name, "ngram") != 0)
        return fail(err, E_UNSUPPORTED, "--speculative-algorithm %s: there is NGRAM, or NONE", name);
    if (o->draft_tokens < 0 || o->draft_tokens > ENGINE_DRAFT_MAX)
        return fail(err, E_INVALID, "--speculative-num-draft-tokens %d: use 1 to %d", o->draft_tokens,
                    ENGINE_DRAFT_MAX);
    if (r->ops->queues) {
        log_warn(
            "--speculative-algorithm has no effect on %s: the next step is queued before this one's tokens are known",
            r->ops->name);
        return OK;
    }
    *out = o->draft_tokens > 0 ? o->draft_tokens : ENGINE_DRAFT_MAX;
    return OK;
}

/* Fills what the options leave to us, then asks the model's plan what it costs and how many pages fit. */
static Status plan_memory(Radish *r, const RadishOptions *o, ModelOptions *m, ModelInfo *plan, Err *err)
{
    bool cpu = r->ops->act == DT_F32;
    *m = (ModelOptions){ .ops = r->ops,
                         .device = r->device,
                         .context_length = o->context_length,
                         .context_least = o->context_least,
                         .dummy_std = o->dummy_std,
                         .profile = o->profile,
                         .dummy_seed = 1234 };
    TRY(draft_tokens(r, o, &r->draft_tokens, err));
    r->info.max_running = o->max_running > 0 ? o->max_running : cpu ? CPU_MAX_RUNNING : DEVICE_MAX_RUNNING;
    m->max_seqs = r->info.max_running + MIN(ENGINE_DRAFT_LOGITS, r->draft_tokens * r->info.max_running);
    int chunk = o->chunked_prefill_size > 0 ? o->chunked_prefill_size : cpu ? CPU_BATCH_TOKENS : DEVICE_BATCH_TOKENS;
    m->max_batch_tokens = MAX(o->max_batch_tokens > 0 ? o->max_batch_tokens : chunk, m->max_seqs);
    TRY(kv_dtype(o->kv_dtype, &m->kv_dtype, err));
    m->n_pages = 1;
    TRY(model_plan(r->checkpoint, m, plan, err));
    DeviceInfo device;
    r->ops->info(r->device, &device);
    double share = o->mem_fraction > 0 ? (double)o->mem_fraction : cpu ? 0.5 : 0.9;
    WarmLimits most = { m->max_batch_tokens, m->max_seqs, plan->context_length, false };
    size_t warm = r->ops->warm_bytes ? r->ops->warm_bytes(r->device, most) : 0;
    FitInput in = { .free_bytes = device.memory_free,
                    .weight_bytes = cpu ? 0 : plan->weight_bytes, /* a CPU's are mapped, and counted by nobody */
                    .act_bytes = cpu ? 0 : plan->act_bytes,
                    .work_bytes = warm,
                    .page_bytes = plan->kv_page_bytes,
                    .page_tokens = KV_PAGE_TOKENS,
                    .share = share,
                    .want_tokens = MAX(o->max_total_tokens, 0),
                    .enough_tokens = cpu ? CPU_MAX_TOKENS : INT32_MAX,
                    .context = plan->context_length,
                    .max_seqs = r->info.max_running };
    r->info.work_bytes = warm;
    return fit_pages(&in, &m->n_pages, err);
}

static Status open_engine(Radish *r, const RadishOptions *o, const ModelOptions *m, Err *err)
{
    EngineOptions e = { .model = r->model,
                        .max_running = r->info.max_running,
                        .max_logits = m->max_seqs,
                        .draft_tokens = r->draft_tokens,
                        .max_queued = o->max_queued,
                        .max_batch_tokens = m->max_batch_tokens,
                        .mixed_tokens = o->max_mixed_tokens > 0 ? o->max_mixed_tokens : ENGINE_MIXED_TOKENS,
                        .use_radix = !o->disable_radix_cache,
                        .prefill_first = o->prefill_first,
                        .ahead = r->ops->queues,
                        .no_jump = o->disable_jump_forward,
                        .verify = o->verify,
                        .on_fault = o->on_fault,
                        .fault_ctx = o->fault_ctx };
    e.chunk_tokens =
        MIN(o->chunked_prefill_size > 0 ? o->chunked_prefill_size : m->max_batch_tokens, m->max_batch_tokens);
    if (!engine_find_policy(o->schedule_policy, &e.policy))
        return fail(err, E_INVALID, "--schedule-policy %s: use " ENGINE_POLICIES, o->schedule_policy);
    TRY(engine_open(&e, &r->engine, err));
    r->info.max_batch_tokens = e.max_batch_tokens;
    r->info.chunked_prefill_size = e.chunk_tokens;
    return OK;
}

/* What the cache holds, where the choice was the backend's: told by the size of a page. */
static const char *kv_name(const Radish *r, const ModelInfo *m, DType asked)
{
    size_t numbers = (size_t)m->n_layer * 2 * (size_t)m->n_kv_head * (size_t)m->head_dim * KV_PAGE_TOKENS;
    if (asked == DT_I8) return "int8";
    if (asked != DT_NONE) return asked == DT_F32 ? "float32" : asked == DT_F16 ? "float16" : "bfloat16";
    return m->kv_page_bytes >= 4 * numbers ? "float32" : r->ops->act == DT_BF16 ? "bfloat16" : "float16";
}

static void fill_info(Radish *r, const RadishOptions *o, DType kv_asked)
{
    const ModelInfo *m = model_info(r->model);
    RadishInfo *i = &r->info;
    i->model_path = arena_cstr(r->boot, str_of(o->model_path));
    i->tokenizer_path = o->tokenizer_path ? arena_cstr(r->boot, str_of(o->tokenizer_path)) : i->model_path;
    i->arch = m->arch;
    i->model_type = m->model_type;
    i->device = r->ops->name;
    i->kv_dtype = kv_name(r, m, kv_asked);
    i->n_layer = m->n_layer;
    i->n_head = m->n_head;
    i->n_kv_head = m->n_kv_head;
    i->head_dim = m->head_dim;
    i->d_model = m->d_model;
    i->n_vocab = m->n_vocab;
    i->n_ctx = m->n_ctx;
    i->context_length = m->context_length;
    i->max_total_tokens = m->n_pages * KV_PAGE_TOKENS;
    i->page_size = KV_PAGE_TOKENS;
    i->n_params = m->n_params;
    i->weight_bytes = m->weight_bytes;
    i->kv_bytes = m->kv_bytes;
    i->act_bytes = m->act_bytes;
    i->flop_row = m->flop_row;
    i->flop_logit = m->flop_logit;
    i->has_chat_template = r->chat != NULL;
    i->has_tokenizer = r->tok != NULL;
    i->bos_id = r->tok ? tok_bos(r->tok) : -1;
    i->eos_id = r->tok ? tok_eos(r->tok) : -1;
}

static void tell_choosing(void)
{
    log_info("no algorithms are known for this GPU yet: choosing them takes up to 40 s, this once");
}

static void tell_later(void)
{
    log_info("no algorithms are known for this GPU yet: the library's own serve until better ones are chosen, while "
             "nobody asks");
}

static Status open_all(Radish *r, const RadishOptions *o, Err *err)
{
    if (!o->model_path) return fail(err, E_INVALID, "no model: give --model-path a GGUF file or a Hugging Face folder");
    ModelOptions m;
    ModelInfo plan;
    TRY(load_open(o->model_path, (LoadOptions){ .dummy = o->dummy_weights }, &r->checkpoint, err));
    TRY(open_text(r, o, err));
    int64_t at[4] = { clock_ns() };
    TRY(open_device(r, o, err));
    at[1] = clock_ns();
    TRY(plan_memory(r, o, &m, &plan, err));
    TRY(model_open(r->checkpoint, &m, &r->model, err));
    at[2] = clock_ns();
    TRY(model_warm(r->model, !o->choose_first, o->choose_first ? tell_choosing : tell_later, err));
    at[3] = clock_ns();
    log_debug("opening: device %.2f s, weights and pages %.2f s, warming up %.2f s", (double)(at[1] - at[0]) / 1e9,
              (double)(at[2] - at[1]) / 1e9, (double)(at[3] - at[2]) / 1e9);
    TRY(open_engine(r, o, &m, err));
    fill_info(r, o, m.kv_dtype);
    TRY(radish_read_defaults(r, err));
    r->events = mailbox_new();
    if (pthread_create(&r->text_thread, NULL, radish_text_main, r) != 0)
        return fail(err, E_LIMIT, "cannot start a thread");
    r->text_runs = true;
    r->compact_json = o->compact_json;
    if (r->tok) r->constraints = radish_constraints_new(r);
    load_close(r->checkpoint); /* weights are on the device now: the mapped file need not stay resident */
    r->checkpoint = NULL;
    return engine_start(r->engine, err);
}

int radish_open(const RadishOptions *o, Radish **out, RadishError *error)
{
    Err err = { 0 };
    Radish *r = mem_alloc(sizeof *r);
    r->boot = arena_new(0);
    r->seed = o->random_seed ? o->random_seed : hash_mix((uint64_t)clock_ns() ^ (uint64_t)getpid());
    atomic_init(&r->n_requests, 0);
    if (open_all(r, o, &err) != OK) {
        radish_close(r);
        return radish_report(error, &err);
    }
    *out = r;
    return RADISH_OK;
}

void radish_close(Radish *r)
{
    if (!r) return;
    radish_constraints_close(r->constraints);
    engine_close(r->engine); /* ends every job; their events are in the mailbox now */
    if (r->events) mailbox_close(r->events);
    if (r->text_runs) pthread_join(r->text_thread, NULL);
    mailbox_free(r->events);
    model_close(r->model);
    if (r->ops && r->device) r->ops->close(r->device);
    template_close(r->chat);
    tok_close(r->tok);
    load_close(r->checkpoint);
    ids_free(&r->stop_ids);
    arena_free(r->boot);
    mem_free(r);
}
