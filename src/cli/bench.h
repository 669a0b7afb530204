/* bench.h - what the measuring commands share. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "backend/backend.h"
#include "cli/ask.h"

typedef struct BenchLimit BenchLimit;

int bench_offline(Radish *r, const Options *o, const BenchLimit *limit); /* exit codes */
int bench_latency(Radish *r, const Options *o, const BenchLimit *limit);
int bench_latency_tokens(const Options *o); /* of the longest sequence that bench_latency will ask for */
int bench_answer(Radish *r, Options *o);
int bench_tokenize(const Options *o);
int bench_device(const Options *o);
int bench_online(const Options *o);
int bench_traffic(const Options *o);
int bench_grammar(const Options *o);
int bench_constrained(Options *o);
/* n random ids of the vocabulary, leaving its first ids (specials) out where it is large enough. */
void bench_random_ids(Rng *rng, int n_vocab, int n, int32_t *out);
double bench_median(double *x, int n); /* sorts x */
bool bench_write_json(const char *path, const Buf *json);

/* Speeds of the device of the options, which is opened for it and closed again; how many, 0 where none can be measured, -1 after
 * printing what is wrong. */
int bench_device_measure(const Options *o, bool brief, DeviceSpeed *out, int max, DeviceInfo *info);

/* ---- limits: what the device sustains (bench_limit.c) ---- */

struct BenchLimit {
    double bytes_s; /* reading memory */
    int n, rows[8]; /* products, by rising rows */
    double flop_s[8];
};

/* Measures the device of the options and prints what it sustains; a device that cannot be measured leaves *out unknown. */
void bench_limit_measure(const Options *o, BenchLimit *out);
bool bench_limit_known(const BenchLimit *l);

double bench_limit_weight_bytes(const RadishInfo *m); /* that every pass reads */
/* What passes do; several alike may be summed up in one, if their rows are many. */
typedef struct {
    double rows, logits; /* rows computed, rows drawn from */
    double kv_tokens;    /* tokens whose keys and values are read, each sequence's once */
    double attend_pairs; /* of a new token and one that it sees, where rows are many enough to be arithmetic; else 0 */
} BenchPass;
double bench_limit_pass_s(const BenchLimit *l, const RadishInfo *m, const BenchPass *p); /* seconds, at the least */

/* ---- --profile (bench_profile.c) ---- */

typedef struct {
    RadishProfile before;
    RadishStats stats;
} BenchProfile;
void bench_profile_begin(Radish *r, BenchProfile *p);
void bench_profile_end(Radish *r, const BenchProfile *p, const BenchLimit *l, Buf *json); /* prints; json: an object */

#endif
