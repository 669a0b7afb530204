/* serve.c - `radish serve`: opens the model, then the port. SIGINT and SIGTERM drain what runs; a second one ends at once.
 * SIGUSR1 prints the engine's last steps. When the device fails the server answers what it has and exits with 1. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "api/api.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "cli/ask.h"
#include "cli/cli.h"

enum { DRAIN_MS = 30000 };

static Server *serving; /* for the signal handler alone */
static Radish *serving_from;
static volatile sig_atomic_t n_signals, n_faults;

static void on_signal(int signo)
{
    (void)signo;
    if (++n_signals > 1) _exit(130);
    if (serving) api_stop(serving, DRAIN_MS);
}

static void on_dump(int signo)
{
    (void)signo;
    if (serving_from) radish_dump_steps(serving_from, STDERR_FILENO);
}

static void on_fault(void *ctx, const char *why)
{
    (void)ctx;
    (void)why; /* the engine has logged it */
    n_faults = 1;
    if (serving) api_stop(serving, DRAIN_MS);
}

static bool set_level(const char *name)
{
    static const char *const names[] = { "error", "warn", "info", "debug" };
    if (!name) return true;
    for (int i = 0; i < (int)COUNT(names); i++) {
        if (strcmp(name, names[i]) != 0 && !(i == 1 && strcmp(name, "warning") == 0)) continue;
        log_set_level((LogLevel)i);
        return true;
    }
    fprintf(stderr, "radish: --log-level %s: use error, warn, info or debug\n", name);
    return false;
}

/* The plan of memory, in SGLang's words where tools read them. */
static void log_plan(Radish *r, double seconds)
{
    RadishInfo i;
    radish_info(r, &i);
    log_info("model=%s arch=%s parameters=%.1fM device=%s", i.model_path, i.arch, (double)i.n_params / 1e6, i.device);
    log_info("memory: weights=%.1fMB kv_cache=%.1fMB activations=%.1fMB work_space=%.1fMB",
             (double)i.weight_bytes / 1e6, (double)i.kv_bytes / 1e6, (double)i.act_bytes / 1e6,
             (double)i.work_bytes / 1e6);
    log_info("max_total_num_tokens=%d, chunked_prefill_size=%d, max_prefill_tokens=%d, max_running_requests=%d, "
             "context_len=%d",
             i.max_total_tokens, i.chunked_prefill_size, i.max_batch_tokens, i.max_running, i.context_length);
    if (!i.has_tokenizer)
        log_warn("no tokenizer: token ids in, token ids out");
    else if (!i.has_chat_template)
        log_warn("no chat template: chat requests are refused; give one with --chat-template FILE");
    log_info("loaded in %.2f s", seconds);
}

/* The options as /server_info shows them. */
static Str args_json(const Options *o, const RadishInfo *i, Arena *a)
{
    Buf b = { 0 };
    buf_str(&b, STR("\"host\":"));
    jsonw_str(&b, str_of(o->host ? o->host : "127.0.0.1"));
    buf_printf(&b,
               ",\"port\":%d,\"schedule_policy\":\"%s\",\"chunked_prefill_size\":%d,\"disable_radix_cache\":%s,"
               "\"device\":\"%s\",\"page_size\":%d",
               o->port, o->radish.schedule_policy ? o->radish.schedule_policy : "lpm", i->chunked_prefill_size,
               o->radish.disable_radix_cache ? "true" : "false", i->device, i->page_size);
    Str s = arena_str(a, buf_view(&b));
    buf_free(&b);
    return s;
}

static int serve(Radish *r, const Options *o)
{
    Err err;
    RadishInfo info;
    Arena *a = arena_new(0);
    radish_info(r, &info);
    ApiOptions api = { .host = o->host,
                       .port = o->port,
                       .served_model_name = o->served_model_name,
                       .api_key = o->api_key,
                       .admin_api_key = o->admin_api_key,
                       .sampling_defaults = o->sampling_defaults,
                       .tool_call_parser = o->tool_call_parser,
                       .reasoning_parser = o->reasoning_parser,
                       .cache_report = o->enable_cache_report,
                       .incremental_streaming = o->incremental_streaming,
                       .server_args_json = args_json(o, &info, a).p };
    Server *server = NULL;
    bool good = api_open(&api, r, &server, &err) == OK;
    if (good) {
        struct sigaction action = { .sa_handler = on_signal }, dump = { .sa_handler = on_dump, .sa_flags = SA_RESTART };
        serving = server;
        serving_from = r;
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
        sigaction(SIGUSR1, &dump, NULL);
        log_info("listening on http://%s:%d", o->host ? o->host : "127.0.0.1", api_port(server));
        log_info("The server is fired up and ready to roll!");
        api_run(server);
        serving = NULL;
        serving_from = NULL;
        log_info("stopped");
    } else {
        fprintf(stderr, "radish: %s\n", err.text);
    }
    api_close(server);
    arena_free(a);
    return good && !n_faults ? 0 : 1;
}

int cli_serve(int argc, char **argv)
{
    Options o = { .port = 30000 };
    int64_t began = clock_ns();
    if (!options_read(CMD_SERVE, argc, argv, &o) || !set_level(o.log_level)) return 1;
    if (o.port < 0 || o.port > 65535) {
        fprintf(stderr, "radish: --port %d is not a port\n", o.port);
        return 1;
    }
    o.radish.on_fault = on_fault;
    Radish *r = ask_open(&o);
    if (!r) return 1;
    log_plan(r, (double)(clock_ns() - began) / 1e9);
    int rc = serve(r, &o);
    radish_close(r);
    return rc;
}
