/* options.c - reads the command line. Server options keep SGLang's names, so that its launch lines work unchanged: what Radish
 * has no use for is accepted with a warning, what it cannot honour is refused. */
#include "cli/options.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

typedef enum {
    OPT_TEXT,
    OPT_INT,
    OPT_FLOAT,
    OPT_DOUBLE,
    OPT_FLAG,
    OPT_U64,
    OPT_DUMMY,
    OPT_IGNORED,
    OPT_IGNORED_FLAG,
    OPT_ONE, /* a size that can only be 1 */
    OPT_REFUSED
} OptKind;

typedef struct {
    const char *name, *alias;
    int commands;
    OptKind kind;
    size_t field;
    const char *value, *help; /* help NULL: not printed */
} OptSpec;

#define AT(field) offsetof(Options, field)
enum {
    ENGINE = CMD_SERVE | CMD_RUN | CMD_CHAT | CMD_BENCH | CMD_PERPLEXITY,
    SAMPLE = CMD_RUN | CMD_CHAT,
    MODEL = ENGINE | CMD_TOKENIZE | CMD_GRAMMAR
};

/* clang-format off */
#define IGNORED(name)      { name, NULL, CMD_SERVE, OPT_IGNORED }
#define IGNORED_FLAG(name) { name, NULL, CMD_SERVE, OPT_IGNORED_FLAG }
#define ONE(name, alias)   { name, alias, CMD_SERVE, OPT_ONE }
#define REFUSED(name)      { name, NULL, CMD_SERVE, OPT_REFUSED }

static const OptSpec specs[] = {
    { "--model-path", "-m",      MODEL | CMD_INSPECT, OPT_TEXT, AT(radish.model_path), "PATH", "GGUF file or Hugging Face folder" },
    { "--model", NULL,           MODEL,  OPT_TEXT,  AT(radish.model_path), "PATH", NULL },
    { "--tokenizer-path", NULL,  MODEL,  OPT_TEXT,  AT(radish.tokenizer_path), "PATH", "tokenizer, if not the model's own" },
    { "--tokenizer", NULL,       CMD_GRAMMAR, OPT_TEXT, AT(radish.tokenizer_path), "PATH", "a model or tokenizer file" },
    { "--host", NULL,            CMD_SERVE, OPT_TEXT, AT(host), "ADDR", "address to listen on (127.0.0.1)" },
    { "--port", NULL,            CMD_SERVE, OPT_INT,  AT(port), "N", "port to listen on (30000)" },
    { "--served-model-name", NULL, CMD_SERVE, OPT_TEXT, AT(served_model_name), "NAME", "name in /v1/models and answers" },
    { "--api-key", NULL,         CMD_SERVE, OPT_TEXT, AT(api_key), "KEY", "clients must send it as Bearer token" },
    { "--admin-api-key", NULL,   CMD_SERVE, OPT_TEXT, AT(admin_api_key), "KEY", NULL },
    { "--tool-call-parser", NULL, CMD_SERVE, OPT_TEXT, AT(tool_call_parser), "NAME", "how the model writes tool calls (its template tells)" },
    { "--reasoning-parser", NULL, CMD_SERVE, OPT_TEXT, AT(reasoning_parser), "NAME", "and its reasoning (the same)" },
    { "--chat-template", NULL,   CMD_SERVE | SAMPLE, OPT_TEXT, AT(radish.chat_template), "FILE", "Jinja file, if not the model's own" },
    { "--context-length", "-c",  ENGINE | CMD_INSPECT, OPT_INT,   AT(radish.context_length), "N", "tokens of prompt and answer (the model's)" },
    { "--max-running-requests", NULL, ENGINE, OPT_INT, AT(radish.max_running), "N", "requests in a batch" },
    { "--max-queued-requests", NULL, CMD_SERVE, OPT_INT, AT(radish.max_queued), "N", "more are answered 503" },
    { "--max-total-tokens", NULL, ENGINE, OPT_INT,  AT(radish.max_total_tokens), "N", "tokens of KV cache (by memory)" },
    { "--mem-fraction-static", "--mem-fraction", ENGINE, OPT_FLOAT, AT(radish.mem_fraction), "X", "share of memory for the model and its cache" },
    { "--chunked-prefill-size", NULL, ENGINE, OPT_INT, AT(radish.chunked_prefill_size), "N", "longest piece of a prompt in one step" },
    { "--max-prefill-tokens", NULL, ENGINE, OPT_INT, AT(radish.max_batch_tokens), "N", "rows of a step" },
    { "--schedule-policy", NULL, ENGINE, OPT_TEXT,  AT(radish.schedule_policy), "P", "lpm (longest cached prefix first), fcfs, lof (longest output first)" },
    { "--max-mixed-tokens", NULL, ENGINE, OPT_INT,  AT(radish.max_mixed_tokens), "N", "rows of a step in which some decode (2048)" },
    { "--speculative-algorithm", NULL, ENGINE, OPT_TEXT, AT(radish.speculative), "A", "NGRAM: guess tokens from the text so far; no token changes (CPU)" },
    { "--speculative-num-draft-tokens", NULL, ENGINE, OPT_INT, AT(radish.draft_tokens), "N", "guesses of a request in a step, at most (8)" },
    { "--prefill-first", NULL,   ENGINE, OPT_FLAG,  AT(radish.prefill_first), "", "prompts in passes of their own, before decoding" },
    { "--disable-jump-forward", NULL, ENGINE, OPT_FLAG, AT(radish.disable_jump_forward), "", "draw also what a constraint leaves no choice about" },
    { "--constrained-json-disable-any-whitespace", NULL, CMD_SERVE | CMD_BENCH, OPT_FLAG, AT(radish.compact_json), "", "constrained JSON has no white space" },
    { "--disable-radix-cache", NULL, ENGINE, OPT_FLAG, AT(radish.disable_radix_cache), "", "do not reuse prefixes" },
    { "--kv-cache-dtype", NULL,  ENGINE, OPT_TEXT,  AT(radish.kv_dtype), "T", "auto, f32, f16, bf16 or int8 (CPU)" },
    { "--load-format", NULL,     ENGINE | CMD_INSPECT, OPT_DUMMY, AT(radish.dummy_weights), "F", "auto, or dummy: random weights from a config.json" },
    { "--dummy-std", NULL,       ENGINE, OPT_FLOAT, AT(radish.dummy_std), "X", "normal dummy weights (default uniform +-1e-3)" },
    { "--device", NULL,          ENGINE | CMD_INSPECT, OPT_TEXT,  AT(radish.device), "D", "cpu, cuda or sim (the best there is)" },
    { "--base-gpu-id", NULL,     ENGINE, OPT_INT,   AT(radish.device_index), "N", "which GPU" },
    { "--threads", "-t",         ENGINE, OPT_INT,   AT(radish.threads), "N", "CPU cores to use (all)" },
    { "--isa", NULL,             ENGINE, OPT_TEXT,  AT(radish.isa), "I", "auto, amx, avx512bf16, avx512, avx2 or plain" },
    { "--random-seed", NULL,     ENGINE, OPT_U64,   AT(radish.random_seed), "N", "seed of requests that bring none" },
    { "--skip-tokenizer-init", NULL, CMD_SERVE | CMD_BENCH, OPT_FLAG, AT(radish.skip_tokenizer), "", "ids in, ids out" },
    { "--verify", NULL,          ENGINE, OPT_FLAG,  AT(radish.verify), "", "check every invariant after each step (slow)" },
    { "--sampling-defaults", NULL, CMD_SERVE, OPT_TEXT, AT(sampling_defaults), "W", "model (generation_config.json) or openai" },
    { "--enable-cache-report", NULL, CMD_SERVE, OPT_FLAG, AT(enable_cache_report), "", "cached tokens in usage" },
    { "--enable-metrics", NULL,  CMD_SERVE, OPT_FLAG, AT(enable_metrics), "", NULL },
    { "--incremental-streaming-output", "--stream-output", CMD_SERVE, OPT_FLAG, AT(incremental_streaming), "", "/generate streams deltas" },
    { "--log-level", NULL,       ENGINE, OPT_TEXT,  AT(log_level), "L", "error, warn, info or debug" },
    { "--prompt", "-p",          CMD_RUN | CMD_BENCH, OPT_TEXT, AT(prompt), "TEXT", "what to answer (run: default is standard input)" },
    { "--system", "-s",          SAMPLE, OPT_TEXT,  AT(system), "TEXT", "system message" },
    { "--raw", NULL,             CMD_RUN, OPT_FLAG, AT(no_chat), "", "continue the text, without the chat template" },
    { "--max-tokens", "-n",      SAMPLE, OPT_INT,   AT(max_tokens), "N", "longest answer" },
    { "--temperature", NULL,     SAMPLE | CMD_BENCH, OPT_DOUBLE, AT(temperature), "X", "0: greedy" },
    { "--top-p", NULL,           SAMPLE, OPT_DOUBLE, AT(top_p), "X", "nucleus" },
    { "--top-k", NULL,           SAMPLE, OPT_DOUBLE, AT(top_k), "N", "likeliest only" },
    { "--min-p", NULL,           SAMPLE, OPT_DOUBLE, AT(min_p), "X", "share of the likeliest" },
    { "--repetition-penalty", NULL, SAMPLE, OPT_DOUBLE, AT(repetition_penalty), "X", "1: off" },
    { "--seed", NULL,            SAMPLE | CMD_BENCH, OPT_DOUBLE, AT(seed), "N", "same seed, same answer" },
    { "--decode", NULL,          CMD_TOKENIZE, OPT_FLAG, AT(decode), "", "ids (a JSON array) on standard input to text" },
    { "--add-special-tokens", NULL, CMD_TOKENIZE, OPT_FLAG, AT(add_special), "", "with BOS, as the model's tokenizer adds it" },
    { "--no-parse-special", NULL, CMD_TOKENIZE, OPT_FLAG, AT(no_specials), "", "the text of special tokens stays text" },
    { "--lengths", NULL,         CMD_BENCH, OPT_TEXT, AT(lengths), "FILE", "offline, online, traffic: lines of input<TAB>output tokens" },
    { "--num-prompts", "--num",  CMD_BENCH, OPT_INT,  AT(num), "N", "offline: only the first N lines; online, traffic: N requests; constrained: at once (64)" },
    { "--rate", NULL,            CMD_BENCH, OPT_DOUBLE, AT(rate), "X", "online, traffic: requests a second (all at once)" },
    { "--hide-lengths", NULL,    CMD_BENCH, OPT_FLAG, AT(hide_lengths), "", "traffic: the engine does not know the output lengths" },
    { "--batch", NULL,           CMD_BENCH, OPT_TEXT, AT(batch), "LIST", "latency: decode batches (1,16,64)" },
    { "--input-len", NULL,       CMD_BENCH, OPT_INT,  AT(input_len), "N", "latency: prompt tokens of each (128)" },
    { "--output-len", NULL,      CMD_BENCH, OPT_INT,  AT(output_len), "N", "latency: tokens drawn by each (32); answer: at most (256); constrained: 128" },
    { "--prefill", NULL,         CMD_BENCH, OPT_TEXT, AT(prefill), "LIST", "latency: prompt lengths (512)" },
    { "--runs", NULL,            CMD_BENCH, OPT_INT,  AT(runs), "N", "latency, answer: repetitions, medians are printed (3); constrained: 5" },
    { "--url", NULL,             CMD_BENCH, OPT_TEXT, AT(url), "URL", "online: the server, http://HOST:PORT" },
    { "--profile", NULL,         CMD_BENCH, OPT_FLAG, AT(radish.profile), "", "offline, latency: where the time goes" },
    { "--json", NULL,            CMD_BENCH | CMD_INSPECT, OPT_TEXT, AT(json), "FILE", "write the figures there" },
    /* SGLang's options that change nothing here */
    { "--tokenizer-mode", NULL, CMD_SERVE, OPT_IGNORED }, { "--trust-remote-code", NULL, CMD_SERVE, OPT_IGNORED_FLAG },
    { "--revision", NULL, CMD_SERVE, OPT_IGNORED }, { "--dtype", NULL, ENGINE, OPT_IGNORED },
    { "--schedule-conservativeness", NULL, CMD_SERVE, OPT_IGNORED }, { "--page-size", NULL, CMD_SERVE, OPT_IGNORED },
    { "--stream-interval", NULL, CMD_SERVE, OPT_IGNORED }, { "--watchdog-timeout", NULL, CMD_SERVE, OPT_IGNORED },
    { "--enable-mixed-chunk", NULL, CMD_SERVE, OPT_IGNORED_FLAG }, { "--disable-overlap-schedule", NULL, CMD_SERVE, OPT_IGNORED_FLAG },
    { "--disable-cuda-graph", NULL, CMD_SERVE, OPT_IGNORED_FLAG }, { "--cuda-graph-max-bs", NULL, CMD_SERVE, OPT_IGNORED },
    { "--attention-backend", NULL, CMD_SERVE, OPT_IGNORED }, { "--sampling-backend", NULL, CMD_SERVE, OPT_IGNORED },
    { "--log-requests", NULL, CMD_SERVE, OPT_IGNORED_FLAG }, { "--log-level-http", NULL, CMD_SERVE, OPT_IGNORED },
    { "--decode-log-interval", NULL, CMD_SERVE, OPT_IGNORED }, { "--skip-server-warmup", NULL, CMD_SERVE, OPT_IGNORED_FLAG },
    { "--enable-torch-compile", NULL, CMD_SERVE, OPT_IGNORED_FLAG }, { "--disable-custom-all-reduce", NULL, CMD_SERVE, OPT_IGNORED_FLAG },
    { "--num-continuous-decode-steps", NULL, CMD_SERVE, OPT_IGNORED }, { "--sleep-on-idle", NULL, CMD_SERVE, OPT_IGNORED_FLAG },
    { "--radix-eviction-policy", NULL, CMD_SERVE, OPT_IGNORED }, { "--tokenizer-worker-num", NULL, CMD_SERVE, OPT_IGNORED },
    IGNORED("--detokenizer-worker-num"), IGNORED("--cuda-graph-bs"), IGNORED("--cuda-graph-max-bs-decode"),
    IGNORED("--piecewise-cuda-graph-max-tokens"), IGNORED("--torch-compile-max-bs"),
    IGNORED("--prefill-attention-backend"), IGNORED("--decode-attention-backend"), IGNORED("--grammar-backend"),
    IGNORED("--constrained-json-whitespace-pattern"),
    IGNORED("--priority-scheduling-preemption-threshold"), IGNORED("--prefill-max-requests"),
    IGNORED("--load-balance-method"), IGNORED("--dist-init-addr"), IGNORED("--nccl-port"), IGNORED("--node-rank"),
    IGNORED("--gpu-id-step"), IGNORED("--numa-node"), IGNORED("--moe-dense-tp-size"), IGNORED("--log-requests-level"),
    IGNORED("--log-requests-format"), IGNORED("--crash-dump-folder"), IGNORED("--otlp-traces-endpoint"),
    IGNORED("--model-impl"), IGNORED("--model-loader-extra-config"), IGNORED("--lora-backend"),
    IGNORED("--max-lora-rank"), IGNORED("--max-loras-per-batch"), IGNORED("--hicache-ratio"), IGNORED("--hicache-size"),
    IGNORED("--hicache-write-policy"), IGNORED("--hicache-storage-backend"), IGNORED("--warmups"),
    IGNORED("--cpu-offload-gb"), IGNORED("--preferred-sampling-params"),
    IGNORED_FLAG("--disable-cuda-graph-padding"), IGNORED_FLAG("--disable-piecewise-cuda-graph"),
    IGNORED_FLAG("--enable-priority-scheduling"),
    IGNORED_FLAG("--enable-deterministic-inference"), IGNORED_FLAG("--enable-dp-attention"),
    IGNORED_FLAG("--enable-dp-lm-head"), IGNORED_FLAG("--enable-symm-mem"), IGNORED_FLAG("--enable-nccl-nvls"),
    IGNORED_FLAG("--enable-memory-saver"), IGNORED_FLAG("--enable-trace"),
    IGNORED_FLAG("--enable-request-time-stats-logging"), IGNORED_FLAG("--enable-custom-logit-processor"),
    IGNORED_FLAG("--enable-return-hidden-states"),
    /* one device, one process */
    ONE("--tp-size", "--tensor-parallel-size"), ONE("--pp-size", "--pipeline-parallel-size"),
    ONE("--dp-size", "--data-parallel-size"), ONE("--ep-size", "--expert-parallel-size"), ONE("--attn-cp-size", NULL),
    ONE("--nnodes", NULL),
    /* would change the answers, and cannot be honoured */
    REFUSED("--quantization"), REFUSED("--is-embedding"), REFUSED("--enable-lora"), REFUSED("--lora-paths"),
    REFUSED("--speculative-draft-model-path"), REFUSED("--disaggregation-mode"), REFUSED("--enable-hierarchical-cache"),
    REFUSED("--json-model-override-args"), REFUSED("--allow-auto-truncate"), REFUSED("--completion-template"),
    REFUSED("--hf-chat-template-name"), REFUSED("--fastapi-root-path"), REFUSED("--config"),
};
/* clang-format on */

static int distance(const char *a, const char *b) /* Levenshtein, for short words */
{
    enum { LONGEST = 48 };
    int row[LONGEST + 1], na = (int)strlen(a), nb = (int)strlen(b);
    if (na > LONGEST || nb > LONGEST) return LONGEST;
    for (int j = 0; j <= nb; j++) row[j] = j;
    for (int i = 1; i <= na; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= nb; j++) {
            int up = row[j], change = diagonal + (a[i - 1] != b[j - 1]);
            row[j] = MIN(MIN(up, row[j - 1]) + 1, change);
            diagonal = up;
        }
    }
    return row[nb];
}

const char *options_nearest(const char *word, const char *const *list)
{
    const char *best = NULL;
    int least = (int)strlen(word) / 2 + 2;
    for (; *list; list++) {
        int d = distance(word, *list);
        if (d >= least) continue;
        least = d;
        best = *list;
    }
    return best;
}

static bool unknown_option(int command, const char *word)
{
    const char *names[2 * COUNT(specs) + 1];
    int n = 0;
    for (size_t i = 0; i < COUNT(specs); i++) {
        if ((specs[i].commands & command) == 0) continue;
        if (specs[i].kind == OPT_REFUSED) continue;
        names[n++] = specs[i].name;
        if (specs[i].alias) names[n++] = specs[i].alias;
    }
    names[n] = NULL;
    const char *near = options_nearest(word, names);
    if (near)
        fprintf(stderr, "radish: unknown option %s; did you mean %s?\n", word, near);
    else
        fprintf(stderr, "radish: unknown option %s; `radish --help` shows the options\n", word);
    return false;
}

static const OptSpec *find(int command, Str name)
{
    for (size_t i = 0; i < COUNT(specs); i++) {
        const OptSpec *s = &specs[i];
        if ((s->commands & command) && (str_is(name, s->name) || (s->alias && str_is(name, s->alias)))) return s;
    }
    return NULL;
}

static bool bad_value(const OptSpec *s, const char *value, const char *want)
{
    fprintf(stderr, "radish: %s %s: needs %s\n", s->name, value, want);
    return false;
}

static bool store(const OptSpec *s, const char *value, Options *o)
{
    char *field = (char *)o + s->field;
    int64_t i;
    double x;
    switch (s->kind) {
    case OPT_TEXT: memcpy(field, &value, sizeof value); return true;
    case OPT_FLAG: *(bool *)field = true; return true;
    case OPT_INT:
        if (!str_to_i64(str_of(value), &i) || i < -1 || i > INT32_MAX) return bad_value(s, value, "a whole number");
        *(int *)(void *)field = (int)i;
        return true;
    case OPT_U64:
        if (!str_to_i64(str_of(value), &i)) return bad_value(s, value, "a whole number");
        *(uint64_t *)(void *)field = (uint64_t)i;
        return true;
    case OPT_FLOAT:
        if (!str_to_f64(str_of(value), &x)) return bad_value(s, value, "a number");
        *(float *)(void *)field = (float)x;
        return true;
    case OPT_DOUBLE:
        if (!str_to_f64(str_of(value), &x)) return bad_value(s, value, "a number");
        *(double *)(void *)field = x;
        if (s->field == AT(temperature)) o->has_temperature = true;
        if (s->field == AT(seed)) o->has_seed = true;
        return true;
    case OPT_DUMMY:
        o->radish.dummy_weights = strcmp(value, "dummy") == 0;
        if (o->radish.dummy_weights || strcmp(value, "auto") == 0 || strcmp(value, "gguf") == 0 ||
            strcmp(value, "safetensors") == 0)
            return true;
        return bad_value(s, value, "auto or dummy");
    case OPT_IGNORED:
    case OPT_IGNORED_FLAG: log_warn("%s has no effect here", s->name); return true;
    case OPT_ONE: return strcmp(value, "1") == 0 || bad_value(s, value, "1: this server is one process on one device");
    case OPT_REFUSED: fprintf(stderr, "radish: %s is not supported here: leave it out\n", s->name); return false;
    }
    return false;
}

bool options_read(int command, int argc, char **argv, Options *o)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (word[0] != '-' || !word[1]) {
            if (o->n_args == (int)COUNT(o->arg)) {
                fprintf(stderr, "radish: too many arguments: %s\n", word);
                return false;
            }
            o->arg[o->n_args++] = word;
            continue;
        }
        const char *equals = strchr(word, '=');
        Str name = equals ? (Str){ word, (size_t)(equals - word) } : str_of(word);
        const OptSpec *s = find(command, name);
        if (!s) return unknown_option(command, word);
        const char *value = equals ? equals + 1 : "";
        bool alone = s->kind == OPT_FLAG || s->kind == OPT_IGNORED_FLAG || s->kind == OPT_REFUSED;
        if (!alone && !equals) {
            if (i + 1 == argc) {
                fprintf(stderr, "radish: %s needs a value\n", word);
                return false;
            }
            value = argv[++i];
        }
        if (!store(s, value, o)) return false;
    }
    return true;
}

void options_print(int command)
{
    for (size_t i = 0; i < COUNT(specs); i++) {
        const OptSpec *s = &specs[i];
        if ((s->commands & command) == 0 || !s->help) continue;
        char left[64];
        snprintf(left, sizeof left, "%s%s%s %s", s->name, s->alias ? ", " : "", s->alias ? s->alias : "", s->value);
        printf("  %-34s %s\n", left, s->help);
    }
}

int options_int_list(const char *text, int *out, int max)
{
    int n = 0;
    while (*text) {
        char *end;
        long x = strtol(text, &end, 10);
        if (end == text || x < 1 || x > INT32_MAX || n == max) return 0;
        out[n++] = (int)x;
        if (*end && *end != ',') return 0;
        text = *end ? end + 1 : end;
    }
    return n;
}
