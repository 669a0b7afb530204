/* info.c - what is open and what is running: facts for /model_info, counters for /metrics. Any thread. */
#include <jansson.h>
#include <math.h>

#include "radish.h"
#include "radish/state.h"

void radish_info(Radish *r, RadishInfo *out)
{
    *out = r->info;
}

const int32_t *radish_stop_ids(Radish *r, size_t *n)
{
    *n = r->stop_ids.n;
    return r->stop_ids.p;
}

void radish_stats(Radish *r, RadishStats *out)
{
    EngineStats s;
    engine_stats(r->engine, &s);
    *out = (RadishStats){
        .running = s.n_running,
        .waiting = s.n_waiting,
        .kv_pages = s.n_pages,
        .kv_pages_free = s.n_pages_free,
        .kv_pages_cached = s.n_pages_tree,
        .steps = s.steps,
        .prompt_tokens = s.prompt_tokens,
        .prefill_tokens = s.prefill_tokens,
        .cached_tokens = s.cached_tokens,
        .output_tokens = s.decode_tokens,
        .jumped_tokens = s.jumped_tokens,
        .drafted_tokens = s.drafted_tokens,
        .accepted_tokens = s.accepted_tokens,
        .requests_done = s.jobs_done,
        .requests_cancelled = s.jobs_cancelled,
        .requests_failed = s.jobs_failed,
        .preemptions = s.preemptions,
        .busy_s = (double)s.busy_ns / 1e9,
        .sched_s = (double)s.sched_ns / 1e9,
        .prefill_s = (double)s.prefill_ns / 1e9,
        .decode_s = (double)s.decode_ns / 1e9,
        .tokens_per_s = s.tok_s,
    };
}

static RadishProfileKind told(const ProfileKind *k)
{
    return (RadishProfileKind){ .passes = k->passes,
                                .rows = k->rows,
                                .busy_s = k->busy_s,
                                .idle_s = k->idle_s,
                                .host_s = k->host_s,
                                .looked = k->looked,
                                .looked_s = k->looked_s,
                                .linear_s = k->part_s[PART_LINEAR],
                                .attend_s = k->part_s[PART_ATTEND],
                                .other_s = k->part_s[PART_OTHER],
                                .sample_s = k->part_s[PART_SAMPLE],
                                .n_linear = k->part_n[PART_LINEAR],
                                .n_attend = k->part_n[PART_ATTEND],
                                .n_other = k->part_n[PART_OTHER],
                                .n_sample = k->part_n[PART_SAMPLE],
                                .flop = k->flop,
                                .kv_bytes = k->kv_bytes };
}

void radish_profile(Radish *r, RadishProfile *out)
{
    DeviceProfile p;
    model_profile(r->model, &p);
    *out = (RadishProfile){ told(&p.decode), told(&p.prefill), p.joules };
}

void radish_dump_steps(Radish *r, int fd)
{
    engine_dump_steps(r->engine, fd);
}

int radish_flush_cache(Radish *r, int timeout_ms, RadishError *error)
{
    Err err = { 0 };
    if (engine_flush_cache(r->engine, timeout_ms, &err) == OK) return RADISH_OK;
    return radish_report(error, &err);
}

/* ---- generation_config.json ---- */

static float number_or_nan(const json_t *o, const char *key)
{
    const json_t *x = json_object_get(o, key);
    return json_is_number(x) ? (float)json_number_value(x) : NAN;
}

static void add_stop_id(Radish *r, const json_t *x)
{
    int64_t id = json_is_integer(x) ? json_integer_value(x) : -1;
    if (id < 0 || id >= r->info.n_vocab) return;
    for (size_t i = 0; i < r->stop_ids.n; i++) {
        if (r->stop_ids.p[i] == id) return;
    }
    ids_push(&r->stop_ids, (int32_t)id);
}

Status radish_read_defaults(Radish *r, Err *err)
{
    RadishInfo *i = &r->info;
    i->temperature = i->top_p = i->min_p = i->repetition_penalty = NAN;
    i->top_k = -1;
    Str text = load_side_file(r->checkpoint, "generation_config.json");
    if (!text.p) return OK;
    json_error_t where;
    json_t *o = json_loadb(text.p, text.n, 0, &where);
    if (!json_is_object(o)) {
        json_decref(o);
        return fail(err, E_CORRUPT, "%s/generation_config.json: not a JSON object (line %d: %s)",
                    load_path(r->checkpoint), where.line, where.text);
    }
    i->temperature = number_or_nan(o, "temperature");
    i->top_p = number_or_nan(o, "top_p");
    i->min_p = number_or_nan(o, "min_p");
    i->repetition_penalty = number_or_nan(o, "repetition_penalty");
    const json_t *k = json_object_get(o, "top_k");
    if (json_is_integer(k)) i->top_k = (int)json_integer_value(k);
    const json_t *eos = json_object_get(o, "eos_token_id");
    add_stop_id(r, eos);
    for (size_t j = 0; j < json_array_size(eos); j++) add_stop_id(r, json_array_get(eos, j));
    json_decref(o);
    return OK;
}
