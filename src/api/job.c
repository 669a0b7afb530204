/* job.c - a body is parsed, worked on and answered on a text thread: see job.h. */
#include "api/job.h"

#include "api/reply.h"

typedef struct {
    Server *server;
    HttpReply *reply;
    Buf body;
    JobWork *work;
} Job;

static void run_job(void *job)
{
    Job *j = job;
    Err err = { 0 };
    json_t *root = NULL;
    Buf out = { 0 };
    Params p = { .where = "", .arena = arena_new(0), .err = &err };
    call_dequeued(j->server, j->body.n);
    Status status = params_parse(buf_view(&j->body), &root, &err);
    p.o = root;
    if (status == OK) status = j->work(j->server, &p, &out);
    if (status == OK)
        reply_json(j->reply, &out);
    else
        reply_err(j->reply, &err, p.param, NULL);
    json_decref(root);
    arena_free(p.arena);
    buf_free(&out);
    buf_free(&j->body);
    mem_free(j);
}

void job_start(Server *s, HttpReply *r, JobWork *work)
{
    Job *j = mem_alloc(sizeof *j);
    *j = (Job){ s, r, http_take_body(r), work };
    if (call_queue(s, j->body.n, run_job, j)) return;
    reply_error(r, 503, STR("too many requests are waiting; try again"), NULL, NULL);
    buf_free(&j->body);
    mem_free(j);
}
