/* bench_profile.c - --profile: where a run's time went, beside what the device could do. */
#include <stdio.h>

#include "cli/bench.h"

static RadishProfileKind less(const RadishProfileKind *a, const RadishProfileKind *b)
{
    return (RadishProfileKind){ .passes = a->passes - b->passes,
                                .rows = a->rows - b->rows,
                                .busy_s = a->busy_s - b->busy_s,
                                .idle_s = a->idle_s - b->idle_s,
                                .host_s = a->host_s - b->host_s,
                                .looked = a->looked - b->looked,
                                .looked_s = a->looked_s - b->looked_s,
                                .linear_s = a->linear_s - b->linear_s,
                                .attend_s = a->attend_s - b->attend_s,
                                .other_s = a->other_s - b->other_s,
                                .sample_s = a->sample_s - b->sample_s,
                                .n_linear = a->n_linear - b->n_linear,
                                .n_attend = a->n_attend - b->n_attend,
                                .n_other = a->n_other - b->n_other,
                                .n_sample = a->n_sample - b->n_sample,
                                .flop = a->flop - b->flop,
                                .kv_bytes = a->kv_bytes - b->kv_bytes };
}

void bench_profile_begin(Radish *r, BenchProfile *p)
{
    radish_profile(r, &p->before);
    radish_stats(r, &p->stats);
}

/* Op by op there are gaps that a pass in one piece does not have, and their time counts to the stretches around them. They are alike, so
 * each stretch gives back its share of what these passes took longer than the others. That compares only where passes are alike too.
 * Returns what a stretch gives back. */
static double close_gaps(RadishProfileKind *k)
{
    double n = (double)(k->n_linear + k->n_attend + k->n_other + k->n_sample), plain = (double)(k->passes - k->looked);
    if (n <= 0 || plain <= 0) return 0;
    double longer = k->looked_s - (k->busy_s - k->looked_s) / plain * (double)k->looked, gap = MAX(longer, 0) / n;
    k->linear_s = MAX(k->linear_s - gap * (double)k->n_linear, 0);
    k->attend_s = MAX(k->attend_s - gap * (double)k->n_attend, 0);
    k->other_s = MAX(k->other_s - gap * (double)k->n_other, 0);
    k->sample_s = MAX(k->sample_s - gap * (double)k->n_sample, 0);
    return gap;
}

/* Shares are those of the passes that were looked at op by op, spread over all passes of the kind. gap_s: from close_gaps. */
static void print_kind(const char *name, const RadishProfileKind *k, double gap_s, double weight_bytes,
                       const BenchLimit *l, Buf *json)
{
    if (k->passes == 0) return;
    double parts = k->linear_s + k->attend_s + k->other_s + k->sample_s, n = (double)k->passes;
    double all = k->busy_s + k->idle_s, of = parts > 0 ? 100 * k->busy_s / all / parts : 0;
    printf("%s: %llu passes of %.0f rows, %.3f ms each; device waits %.3f ms of it, host works %.3f ms\n", name,
           (unsigned long long)k->passes, (double)k->rows / n, all / n * 1e3, k->idle_s / n * 1e3, k->host_s / n * 1e3);
    buf_printf(json, "\"%s\":{\"passes\":%llu,\"rows\":%.1f,\"ms\":%.4f,\"idle_ms\":%.4f,\"host_ms\":%.4f", name,
               (unsigned long long)k->passes, (double)k->rows / n, all / n * 1e3, k->idle_s / n * 1e3,
               k->host_s / n * 1e3);
    if (k->looked) {
        double tflops = k->linear_s > 0 ? k->flop / k->linear_s / 1e12 : 0,
               gb_s = k->attend_s > 0 ? k->kv_bytes / k->attend_s / 1e9 : 0;
        printf("  products %.1f %%, attention %.1f %%, other ops %.1f %%, sampling %.1f %%, device waits %.2f %% (%llu "
               "passes op by op, %.3f ms each",
               of * k->linear_s, of * k->attend_s, of * k->other_s, of * k->sample_s, 100 * k->idle_s / all,
               (unsigned long long)k->looked, k->looked_s / (double)k->looked * 1e3);
        if (gap_s > 0) printf("; the %.2f us of each gap between ops are taken off", gap_s * 1e6);
        printf(")\n");
        double weights = k->linear_s > 0 ? weight_bytes * (double)k->looked / k->linear_s / 1e9 : 0;
        printf("  products %.2f TFLOP/s, reading weights at %.0f GB/s; attention reads %.0f GB/s", tflops, weights,
               gb_s);
        if (bench_limit_known(l))
            printf(" (alone: %.1f TFLOP/s, %.0f GB/s)", l->flop_s[l->n - 1] / 1e12, l->bytes_s / 1e9);
        printf("\n");
        buf_printf(json,
                   ",\"products\":%.4f,\"attention\":%.4f,\"other\":%.4f,\"sampling\":%.4f,\"product_tflop_s\":%.3f,"
                   "\"weight_gb_s\":%.1f,\"attention_gb_s\":%.1f,\"gap_us\":%.3f",
                   of * k->linear_s / 100, of * k->attend_s / 100, of * k->other_s / 100, of * k->sample_s / 100,
                   tflops, weights, gb_s, gap_s * 1e6);
    }
    buf_str(json, STR("},"));
}

void bench_profile_end(Radish *r, const BenchProfile *p, const BenchLimit *l, Buf *json)
{
    RadishProfile now;
    RadishStats s;
    radish_profile(r, &now);
    radish_stats(r, &s);
    RadishProfileKind decode = less(&now.decode, &p->before.decode), prefill = less(&now.prefill, &p->before.prefill);
    double tokens = (double)(s.output_tokens - p->stats.output_tokens), joules = now.joules - p->before.joules,
           steps = (double)(s.steps - p->stats.steps);
    RadishInfo m;
    radish_info(r, &m);
    double weights = bench_limit_weight_bytes(&m);
    buf_str(json, STR("{"));
    double gap_s = close_gaps(&decode); /* passes with prompts are of all sizes, and long beside their gaps */
    print_kind("decode", &decode, gap_s, weights, l, json);
    print_kind("prefill", &prefill, 0, weights, l, json);
    double sched_ms = steps > 0 ? (s.sched_s - p->stats.sched_s) / steps * 1e3 : 0;
    printf("scheduler %.3f ms a step", sched_ms);
    if (now.joules > 0 && tokens > 0) printf(", %.2f mJ an output token", joules / tokens * 1e3);
    printf("\n");
    buf_printf(json, "\"sched_ms\":%.4f,\"joules_per_token\":%.6f}", sched_ms,
               now.joules > 0 && tokens > 0 ? joules / tokens : 0);
}
