/* sample_draw.h - from changed logits, temperature and limits to a token; see sample_draw.c. */
#ifndef BACKEND_CPU_SAMPLE_DRAW_H
#define BACKEND_CPU_SAMPLE_DRAW_H

#include "backend/cpu/cpu.h"

enum { SAMPLE_PROBES = 4096 };

/* One worker's room for rows of up to n logits. */
typedef struct {
    float *y;                                /* [n] changed logits, when something changes them */
    float *max, *max2, *max_w;               /* lane_max of the logits, of max, and weights of max */
    float *value, *value_w;                  /* [n] what was collected or set aside, and its weights */
    int32_t *id;                             /* [n] */
    uint32_t *key, *rank, *key_to, *rank_to; /* [n] of the sort, and where it moves to */
    double *mass;                            /* [chunks] */
    int *start;                              /* [chunks + 1] */
    float *probe, *probe_w;                  /* [SAMPLE_PROBES] */
    char *data;
    size_t size;
} SampleDesk;

void sample_draw_desk(SampleDesk *t, int n); /* makes or widens the room */
void sample_draw_desk_free(SampleDesk *t);

/* y holds no +infinity; NaN and -infinity are never drawn. top: the largest, finite; t->max holds lane_max's of y. */
int32_t sample_draw(const Simd *s, SampleDesk *t, const SampleRow *r, const float *y, int n, float top);

#endif
