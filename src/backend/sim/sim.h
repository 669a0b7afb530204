/* sim.h - a device that computes nothing, so that days of traffic run in seconds.
 *
 * It has a virtual clock, moved by a model of what each operation would cost, and it checks the host's bookkeeping: every
 * KV slot remembers the history of tokens that led to it, attention refuses a slot that is not what the sequence wrote, and the
 * token drawn is a function of that history and of how it was asked for. So an engine that mixes up
 * pages, rows or sampling parameters gives other tokens than it would with one job alone, or is refused. */
#ifndef BACKEND_SIM_SIM_H
#define BACKEND_SIM_SIM_H

#include "backend/backend.h"

extern const BackendOps backend_sim;

typedef struct {
    double bytes_s, flops_s; /* of the device */
    int tile_rows;           /* products of fewer rows cost as many, and so on by multiples; 0: 1 */
    int64_t op_ns, pass_ns;  /* to start an operation, and a pass */
    size_t memory;           /* bytes that info claims */
    bool check_all;          /* attention checks every position of every sequence, not only pages just filled */
    /* share of passes that end in a fault, by seed; after the first one all do. 0, or what RADISH_SIM_FAULT says: so that a whole
     * server can be seen to fail */
    float fault_rate;
    float repeat; /* share of tokens that follow from the one before alone, so that the text repeats itself */
    uint64_t seed;
} SimConfig;

SimConfig sim_config_default(void); /* one H200 as measured with Llama 3 8B (docs/perf/gpu-steps.md), faultless */
void sim_configure(Device *d, const SimConfig *c); /* before the first pass */
void sim_advance(Device *d, int64_t ns);           /* time passes with nothing running */

#endif
