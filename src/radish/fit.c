/* fit.c - see fit.h. Plain arithmetic: no device, no model. */
#include "radish/fit.h"

enum { PAGES_LEAST = 4, PAGES_MOST = 1 << 26, TYPICAL_TOKENS = 1000 };

static double gb(double bytes)
{
    return bytes / 1e9;
}

static int64_t pages_in(const FitInput *in, double share)
{
    double room =
        share * (double)in->free_bytes - (double)in->weight_bytes - (double)in->act_bytes - (double)in->work_bytes;
    double pages = room / (double)MAX(in->page_bytes, (size_t)1);
    return pages <= 0 ? 0 : pages >= PAGES_MOST ? PAGES_MOST : (int64_t)pages;
}

Status fit_pages(const FitInput *in, int *n_pages, Err *err)
{
    int64_t ours = pages_in(in, in->share), all = pages_in(in, 1);
    double fixed = (double)in->weight_bytes + (double)in->act_bytes + (double)in->work_bytes;
    if (all < PAGES_LEAST)
        return fail(err, E_LIMIT,
                    "not enough memory: weights %.2f GB, activations %.2f GB for this batch and work space %.2f GB are "
                    "%.2f GB, "
                    "%.2f GB are free; lower --max-running-requests or --chunked-prefill-size, or take a smaller model",
                    gb((double)in->weight_bytes), gb((double)in->act_bytes), gb((double)in->work_bytes), gb(fixed),
                    gb((double)in->free_bytes));
    int64_t fits = ours * in->page_tokens, most = all * in->page_tokens;
    if (in->want_tokens > most)
        return fail(
            err, E_LIMIT,
            "--max-total-tokens %lld needs %.2f GB of KV cache, %.2f GB are left beside weights and activations: "
            "%lld pages, %lld tokens fit, as one context or %lld requests of %d tokens",
            (long long)in->want_tokens, gb((double)in->want_tokens / in->page_tokens * (double)in->page_bytes),
            gb((double)all * (double)in->page_bytes), (long long)all, (long long)most,
            (long long)MIN(most / TYPICAL_TOKENS, in->max_seqs), TYPICAL_TOKENS);
    if (in->want_tokens == 0 && ours < PAGES_LEAST)
        return fail(
            err, E_LIMIT,
            "a share of %.2f of %.2f GB is less than weights, activations and %d KV pages need (%.2f GB): raise "
            "--mem-fraction",
            in->share, gb((double)in->free_bytes), PAGES_LEAST, gb(fixed + PAGES_LEAST * (double)in->page_bytes));
    int64_t tokens = in->want_tokens > 0 ? in->want_tokens : MIN(fits, in->enough_tokens);
    int64_t pages = tokens / in->page_tokens;
    if (pages < PAGES_LEAST)
        return fail(err, E_LIMIT, "--max-total-tokens %lld: at least %d are needed", (long long)tokens,
                    PAGES_LEAST * in->page_tokens);
    *n_pages = (int)MIN(pages, (int64_t)PAGES_MOST);
    return OK;
}
