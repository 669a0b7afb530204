/* job.h - endpoints that answer at once, out of their body alone, on a text thread. Internal to api/. */
#ifndef API_JOB_H
#define API_JOB_H

#include "api/call.h"

/* Writes the JSON of the answer to out, or refuses with p's sentence. */
typedef Status JobWork(Server *s, Params *p, Buf *out);

/* I/O thread: takes the body and hands the reply on. */
void job_start(Server *s, HttpReply *r, JobWork *work);

#endif
