/* grammar_check.c - `radish grammar-check`: constraints and texts as JSON lines on standard input, a verdict and times for each
 * on standard output, a line for a line. Needs no weights. compile_us is compiling and the first mask; mask_us a mask and the
 * acceptance of its token, each of them with "times": true, and by the thread's own clock with "times": "cpu". */
#include <jansson.h>
#include <stdio.h>

#include "base/jsonw.h"
#include "cli/cli.h"
#include "cli/grammar_run.h"
#include "cli/options.h"

enum { LINE_MAX_BYTES = 64 << 20 };

static const struct {
    const char *key;
    GrammarKind kind;
    bool is_text; /* the value is a string that holds the constraint; else the value is the constraint */
} kinds[] = {
    { "schema", GRAMMAR_JSON_SCHEMA, false },
    { "json_schema", GRAMMAR_JSON_SCHEMA, false },
    { "regex", GRAMMAR_REGEX, true },
    { "ebnf", GRAMMAR_EBNF, true },
    { "choice", GRAMMAR_CHOICE, false },
    { "structural_tag", GRAMMAR_STRUCTURAL_TAG, false },
    { "json_object", GRAMMAR_JSON_OBJECT, false },
};

/* A JSON string's own text, appended; false if it is none. */
static bool decode(Str value, Buf *out)
{
    json_t *j = json_loadb(value.p, value.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    bool good = json_is_string(j);
    if (good) buf_add(out, json_string_value(j), json_string_length(j));
    json_decref(j);
    return good;
}

static void print_failure(Buf *out, const char *why, const char *pointer)
{
    buf_str(out, STR("{\"ok\":false,\"error\":"));
    jsonw_str(out, str_of(why));
    buf_str(out, STR(",\"pointer\":"));
    jsonw_str(out, str_of(pointer));
    buf_str(out, STR("}\n"));
}

/* Fills spec from the line; text is where a decoded constraint is kept. */
static bool read_spec(Str line, GrammarSpec *spec, Buf *text)
{
    for (size_t i = 0; i < COUNT(kinds); i++) {
        Str v = grammar_run_member(line, kinds[i].key);
        if (!v.n) continue;
        spec->kind = kinds[i].kind;
        spec->text = v;
        spec->options = grammar_run_member(line, "options");
        if (!kinds[i].is_text && v.p[0] != '"') return true;
        if (!decode(v, text)) return false;
        spec->text = buf_view(text);
        return true;
    }
    return false;
}

typedef struct {
    const Tokenizer *t;
    Grammar *g;
    int tok_flags;
    Buf *out;
    GrammarRun run;
    bool any, times;
} Check;

static void check_text(Check *c, Str text)
{
    GrammarMatcher *m = grammar_matcher_new(c->g);
    double sum = 0, max = 0;
    Err err;
    c->run.n = 0;
    grammar_run_text(m, c->t, text, c->tok_flags, &c->run);
    for (size_t i = 0; i < c->run.n; i++) {
        sum += c->run.us[i];
        max = MAX(max, c->run.us[i]);
    }
    buf_printf(c->out, "%s{\"accepted\":%s,\"mask_us_mean\":%.2f,\"mask_us_max\":%.2f,\"masks\":%zu", c->any ? "," : "",
               c->run.accepted ? "true" : "false", c->run.n ? sum / (double)c->run.n : 0.0, max, c->run.n);
    for (size_t i = 0; i < c->run.n && c->times; i++)
        buf_printf(c->out, "%s%.2f", i ? "," : ",\"mask_us\":[", c->run.us[i]);
    if (c->times && c->run.n) buf_char(c->out, ']');
    if (!c->run.accepted) buf_printf(c->out, ",\"refused_at\":%d", c->run.at);
    if (grammar_matcher_failed(m, &err)) {
        buf_str(c->out, STR(",\"error\":"));
        jsonw_str(c->out, str_of(err.text));
    }
    buf_char(c->out, '}');
    c->any = true;
    grammar_matcher_free(m);
}

/* Each element of the array: as compact JSON, or (texts) the string's own text. */
static void check_all(Check *c, Str array, bool texts)
{
    Buf text = { 0 };
    if (array.n < 2 || array.p[0] != '[') return;
    for (size_t i = 1; i < array.n;) {
        size_t end = grammar_run_value(array, i);
        if (end == SIZE_MAX) break;
        buf_clear(&text);
        Str v = str_trim(str_cut(array, i, end));
        if (texts)
            decode(v, &text);
        else
            grammar_run_compact(v, &text);
        check_text(c, buf_view(&text));
        for (i = end; i < array.n && array.p[i] != ',';) i++;
        i++;
    }
    buf_free(&text);
}

static void check_line(const Tokenizer *t, GrammarVocab *v, Str line, Buf *out)
{
    GrammarSpec spec = { 0 };
    GrammarError err;
    Buf text = { 0 };
    Grammar *g;
    if (!read_spec(line, &spec, &text)) {
        print_failure(out, "the line is no JSON object with schema, regex, ebnf, choice, structural_tag or json_object",
                      "");
        buf_free(&text);
        return;
    }
    int64_t began = clock_ns();
    if (grammar_compile(v, &spec, NULL, NULL, &g, &err) != OK) {
        print_failure(out, err.err.text, err.pointer);
    } else {
        Check c = { .t = t, .g = g, .out = out, .tok_flags = spec.kind == GRAMMAR_STRUCTURAL_TAG ? TOK_SPECIALS : 0 };
        Str times = grammar_run_member(line, "times");
        c.run.cpu = str_is(times, "\"cpu\"");
        c.times = c.run.cpu || str_is(times, "true");
        grammar_run_first_mask(g);
        buf_printf(out, "{\"ok\":true,\"compile_us\":%lld,\"results\":[", (long long)((clock_ns() - began) / 1000));
        check_all(&c, grammar_run_member(line, "instances"), false);
        check_all(&c, grammar_run_member(line, "texts"), true);
        buf_str(out, STR("]}\n"));
        mem_free(c.run.us);
        grammar_drop(g);
    }
    buf_free(&text);
}

/* The next line of standard input, cut where it is longer than LINE_MAX_BYTES: no JSON then. An answer leaves before the next line is read. */
static bool read_line(Buf *in)
{
    char part[1 << 14];
    buf_clear(in);
    while (fgets(part, sizeof part, stdin)) {
        size_t n = strlen(part);
        if (in->n + n <= LINE_MAX_BYTES) buf_add(in, part, n);
        if (n && part[n - 1] == '\n') return true;
    }
    return in->n > 0;
}

int cli_grammar_check(int argc, char **argv)
{
    Options o = { 0 };
    if (!options_read(CMD_GRAMMAR, argc, argv, &o)) return 1;
    const char *path = o.radish.tokenizer_path ? o.radish.tokenizer_path : o.radish.model_path;
    Tokenizer *t;
    GrammarVocab *v;
    Buf in = { 0 }, out = { 0 };
    if (!path) {
        fprintf(stderr, "radish: no tokenizer: radish grammar-check --tokenizer MODEL_OR_TOKENIZER\n");
        return 1;
    }
    if (!grammar_run_open(path, &t, &v, NULL)) return 1;
    while (read_line(&in)) {
        Str line = str_trim(buf_view(&in));
        if (line.n) check_line(t, v, line, &out);
        fwrite(out.p, 1, out.n, stdout);
        fflush(stdout);
        buf_clear(&out);
    }
    grammar_vocab_drop(v);
    tok_close(t);
    buf_free(&in);
    buf_free(&out);
    return 0;
}
