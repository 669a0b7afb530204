/* bench.h - what the measuring commands share. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "cli/ask.h"

int bench_offline(Radish *r, const Options *o); /* exit codes */
int bench_latency(Radish *r, const Options *o);
int bench_tokenize(const Options *o);
int bench_traffic(const Options *o);
/* n random ids of the vocabulary, leaving its first ids (specials) out where it is large enough. */
void bench_random_ids(Rng *rng, int n_vocab, int n, int32_t *out);
double bench_median(double *x, int n); /* sorts x */
bool bench_write_json(const char *path, const Buf *json);

#endif
