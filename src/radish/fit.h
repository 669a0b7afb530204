/* fit.h - how many KV pages fit into a device, and what is said when too few do. Not a door. */
#ifndef RADISH_FIT_H
#define RADISH_FIT_H

#include "base/base.h"

typedef struct {
    size_t free_bytes, weight_bytes, act_bytes, work_bytes; /* free now; what must go in there besides pages */
    size_t page_bytes;
    int page_tokens;
    double share;          /* of what is free that we take by ourselves, 0 to 1 */
    int64_t want_tokens;   /* asked for; 0: as many as fit */
    int64_t enough_tokens; /* more is never taken unasked */
    int context, max_seqs; /* of a sequence; at once: for the text alone */
} FitInput;

/* E_LIMIT with a sentence that says what would fit. A wish may pass our share, but not what is free. */
Status fit_pages(const FitInput *in, int *n_pages, Err *err);

#endif
