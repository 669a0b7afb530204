/* bench_limit.c - what a model's passes take at the least on a device of measured speed.
 *
 * A pass can be no faster than its arithmetic at the speed of the device's own best products (or its weights read once, whichever is
 * longer) and then its keys and values read once: attention and products take turns here. */
#include <stdio.h>

#include "cli/bench.h"

void bench_limit_measure(const Options *o, BenchLimit *out)
{
    DeviceSpeed speed[16];
    DeviceInfo info;
    *out = (BenchLimit){ 0 };
    int n = bench_device_measure(o, true, speed, (int)COUNT(speed), &info);
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
