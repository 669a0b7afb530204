/* bench_device.c - `radish bench device`: what this very device sustains, and at what clock and power. */
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

int bench_device_measure(const Options *o, bool brief, DeviceSpeed *out, int max, DeviceInfo *info)
{
    Err err;
    Device *d;
    const BackendOps *ops = find_backend(o);
    if (!ops) return -1;
    DeviceOptions options = { .index = o->radish.device_index, .threads = o->radish.threads, .isa = o->radish.isa };
    if (!ops->measure) return 0;
    if (ops->open(&options, &d, &err) != OK) {
        fprintf(stderr, "radish: %s\n", err.text);
        return -1;
    }
    ops->info(d, info);
    int n = ops->measure(d, brief ? BRIEF_S : FULL_S, brief, out, max);
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
    int n = bench_device_measure(o, false, speed, SPEEDS_MAX, &info);
    if (n == 0) fprintf(stderr, "radish: this device cannot be measured\n");
    if (n <= 0) return 1;
    Buf json = { 0 };
    printf("%s, %.1f GB\n", info.name, (double)info.memory_total / 1e9);
    buf_str(&json, STR("{\"device\":"));
    jsonw_str(&json, str_of(info.name));
    buf_str(&json, STR(",\"speeds\":["));
    for (int i = 0; i < n; i++) print_speed(&speed[i], &json);
    buf_str(&json, STR("]}\n"));
    bool good = bench_write_json(o->json, &json);
    buf_free(&json);
    return good ? 0 : 1;
}
