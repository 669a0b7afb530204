/* bench.c - `radish bench`: opens the model and picks the measurement. */
#include "cli/bench.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/log.h"
#include "cli/cli.h"

void bench_random_ids(Rng *rng, int n_vocab, int n, int32_t *out)
{
    int low = n_vocab > 4000 ? 1000 : 0;
    for (int i = 0; i < n; i++) out[i] = low + (int32_t)rng_below(rng, (uint32_t)(n_vocab - low));
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, by_value);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

bool bench_write_json(const char *path, const Buf *json)
{
    Err err;
    if (!path || file_write(path, buf_view(json), &err) == OK) return true;
    fprintf(stderr, "radish: %s\n", err.text);
    return false;
}

static void print_model(Radish *r)
{
    RadishInfo i;
    radish_info(r, &i);
    printf("%s, %.1f M parameters, device %s; weights %.1f MB, KV %.1f MB for %d tokens, activations %.1f MB; batch "
           "%d, %d rows a step\n",
           i.arch, (double)i.n_params / 1e6, i.device, (double)i.weight_bytes / 1e6, (double)i.kv_bytes / 1e6,
           i.max_total_tokens, (double)i.act_bytes / 1e6, i.max_running, i.max_batch_tokens);
}

/* Speed does not depend on what a model was made for: a length that is asked for by name is measured, and with weights that mean
 * nothing the lengths of --prefill and --input-len are. */
static int context_least(const Options *o, const char *kind)
{
    if (o->radish.context_length > 0) return o->radish.context_length;
    return o->radish.dummy_weights && strcmp(kind, "latency") == 0 ? bench_latency_tokens(o) : 0;
}

int cli_bench(int argc, char **argv)
{
    static const char *const kinds[] = { "offline", "latency", "online", "device",      "tokenize",
                                         "traffic", "grammar", "answer", "constrained", NULL };
    Options o = { 0 };
    if (!options_read(CMD_BENCH, argc, argv, &o)) return 1;
    const char *kind = o.n_args ? o.arg[0] : "";
    if (strcmp(kind, "tokenize") == 0) return bench_tokenize(&o);
    if (strcmp(kind, "online") == 0) return bench_online(&o);
    if (strcmp(kind, "device") == 0) return bench_device(&o);
    if (strcmp(kind, "traffic") == 0) return bench_traffic(&o);
    if (strcmp(kind, "grammar") == 0) return bench_grammar(&o);
    if (strcmp(kind, "constrained") == 0) {
        o.n_args = 0;
        return bench_constrained(&o);
    }
    bool offline = strcmp(kind, "offline") == 0, answer = strcmp(kind, "answer") == 0;
    if (!offline && !answer && strcmp(kind, "latency") != 0) {
        const char *near = options_nearest(kind, kinds);
        fprintf(stderr, "radish: bench what? `radish bench %s ...`\n",
                near ? near : "offline|latency|answer|online|device|tokenize|traffic|grammar|constrained");
        return 1;
    }
    o.n_args = 0;
    if (o.log_level && strcmp(o.log_level, "debug") == 0) log_set_level(LOG_DEBUG);
    BenchLimit limit = { 0 };
    o.radish.choose_first = true;
    o.radish.context_least = context_least(&o, kind);
    if (!answer) bench_limit_measure(&o, &limit);
    Radish *r = ask_open(&o);
    if (!r) return 1;
    print_model(r);
    int rc = answer ? bench_answer(r, &o) : offline ? bench_offline(r, &o, &limit) : bench_latency(r, &o, &limit);
    radish_close(r);
    return rc;
}
