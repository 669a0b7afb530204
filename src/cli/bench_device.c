/* bench_device.c - `radish bench device`: what this very device sustains; and the limits that follow from it for a model.
 *
 * A pass can be no faster than its arithmetic at the speed of the device's own best products (or its weights read once,
 * whichever is longer) and then its keys and values read once: attention and products take turns here. */
#include <stdio.h>

#include "backend/backend.h"
#include "base/jsonw.h"
#include "cli/bench.h"

enum { SPEEDS_MAX = 64 };
static const double FULL_S = 0.6, BRIEF_S = 0.4;

static const BackendOps *find_backend(const Options *o)
{
    const char *name = o->radish.device;
    if (name && strcmp(name, "auto") != 0) {
        const BackendOps *ops = backend_find(name);
        if (!ops || ops->count() == 0) fprintf(stderr, "radish: --device %s: there is none here\n", name);
        return ops && ops->count() > 0 ? ops : NULL;
    }
    const BackendOps *best = NULL;
    for (int i = 0; backends[i] && !best; i++)
        if (backends[i]->count() > 0) best = backends[i];
    return best;
}

/* Speeds of the device of the options, which is opened for it and closed again; how many, -1 after printing what is wrong. */
static int measure(const Options *o, const BackendOps *ops, double seconds, bool brief, DeviceSpeed *out,
                   DeviceInfo *info)
{
    Err err;
    Device *d;
    DeviceOptions options = { .index = o->radish.device_index, .threads = o->radish.threads, .isa = o->radish.isa };
    if (!ops->measure) return 0;
    if (ops->open(&options, &d, &err) != OK) {
        fprintf(stderr, "radish: %s\n", err.text);
        return -1;
    }
    ops->info(d, info);
    int n = ops->measure(d, seconds, brief, out, SPEEDS_MAX);
    ops->close(d);
    return n;
}

/* ---- the command ---- */

static void print_speed(const DeviceSpeed *s, Buf *json)
{
    char rows[24] = "", clock[48] = "clock and power unknown";
    if (s->rows > 1) snprintf(rows, sizeof rows, "%d rows", s->rows);
    if (s->mhz > 0) snprintf(clock, sizeof clock, "%5.0f MHz  %4.0f W", s->mhz, s->watts);
    printf("%-24s %10s  %9.1f %s  %s\n", s->what, rows, s->flop_s > 0 ? s->flop_s / 1e9 : s->bytes_s / 1e9,
           s->flop_s > 0 ? "GFLOP/s" : "GB/s   ", clock);
    jsonw_sep(json);
    buf_printf(
        json,
        "{\"what\":\"%s\",\"rows\":%d,\"gb_s\":%.2f,\"gflop_s\":%.2f,\"seconds\":%.3f,\"mhz\":%.0f,\"watts\":%.1f}",
        s->what, s->rows, s->bytes_s / 1e9, s->flop_s / 1e9, s->seconds, s->mhz, s->watts);
}

int bench_device(const Options *o)
{
    DeviceSpeed speed[SPEEDS_MAX];
    DeviceInfo info;
    const BackendOps *ops = find_backend(o);
    if (!ops) return 1;
    int n = measure(o, ops, FULL_S, false, speed, &info);
    if (n == 0) fprintf(stderr, "radish: device %s cannot be measured\n", ops->name);
    if (n <= 0) return 1;
    Buf json = { 0 };
    printf("%s: %s, %.1f GB\n", ops->name, info.name, (double)info.memory_total / 1e9);
    buf_str(&json, STR("{\"device\":"));
    jsonw_str(&json, str_of(info.name));
    buf_str(&json, STR(",\"speeds\":["));
    for (int i = 0; i < n; i++) print_speed(&speed[i], &json);
    buf_str(&json, STR("]}\n"));
    bool good = bench_write_json(o->json, &json);
    buf_free(&json);
    return good ? 0 : 1;
}

/* ---- limits ---- */

void bench_limit_measure(const Options *o, BenchLimit *out)
{
    DeviceSpeed speed[SPEEDS_MAX];
    DeviceInfo info;
    const BackendOps *ops = find_backend(o);
    *out = (BenchLimit){ 0 };
    int n = ops ? measure(o, ops, BRIEF_S, true, speed, &info) : 0;
    for (int i = 0; i < n; i++) {
        if (speed[i].typical && speed[i].rows == 0) out->bytes_s = speed[i].bytes_s;
        if (!speed[i].typical || speed[i].rows == 0 || out->n == (int)COUNT(out->rows)) continue;
        out->rows[out->n] = speed[i].rows;
        out->flop_s[out->n++] = speed[i].flop_s;
    }
    if (!bench_limit_known(out)) return;
    printf("this device sustains %.0f GB/s", out->bytes_s / 1e9);
    for (int i = 0; i < out->n; i++)
        printf("%s %.1f", i == 0 ? ", products" : i + 1 == out->n ? " and" : ",", out->flop_s[i] / 1e12);
    printf(" TFLOP/s at");
    for (int i = 0; i < out->n; i++) printf("%s %d", i == 0 ? "" : ",", out->rows[i]);
    printf(" rows\n");
}

bool bench_limit_known(const BenchLimit *l)
{
    return l->bytes_s > 0 && l->n > 0;
}

/* Between measured numbers of rows: on the line between them. */
static double flop_s_at(const BenchLimit *l, double rows)
{
    if (rows <= l->rows[0]) return l->flop_s[0];
    for (int i = 1; i < l->n; i++) {
        if (rows > l->rows[i]) continue;
        double share = (rows - l->rows[i - 1]) / (l->rows[i] - l->rows[i - 1]);
        return l->flop_s[i - 1] + share * (l->flop_s[i] - l->flop_s[i - 1]);
    }
    return l->flop_s[l->n - 1];
}

double bench_limit_weight_bytes(const RadishInfo *m)
{
    return (double)m->weight_bytes * MIN(1.0, (m->flop_row + m->flop_logit) / 2 / (double)m->n_params);
}

double bench_limit_pass_s(const BenchLimit *l, const RadishInfo *m, const BenchPass *p)
{
    double speed = flop_s_at(l, p->rows);
    double flop = p->rows * m->flop_row + p->logits * m->flop_logit;
    double weights = bench_limit_weight_bytes(m);
    double kv = p->kv_tokens * (double)m->kv_bytes / MAX(m->max_total_tokens, 1);
    double attend = 4.0 * p->attend_pairs * m->n_layer * m->n_head * m->head_dim;
    return MAX(flop / speed, weights / l->bytes_s) + kv / l->bytes_s + attend / speed;
}
