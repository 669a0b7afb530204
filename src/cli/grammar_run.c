/* grammar_run.c - see grammar_run.h. */
#include "cli/grammar_run.h"

#include <ctype.h>
#include <stdio.h>
#include <time.h>

static Str piece(void *arg, int32_t id)
{
    return tok_piece(arg, id);
}

static bool special(void *arg, int32_t id)
{
    return tok_is_special(arg, id);
}

bool grammar_run_open(const char *path, Tokenizer **t, GrammarVocab **v, double *vocab_ms)
{
    Err err;
    if (tok_open_path(path, t, &err) != OK) {
        fprintf(stderr, "radish: %s\n", err.text);
        return false;
    }
    GrammarVocabSpec spec = { .n_tokens = tok_n_vocab(*t), .bytes = piece, .special = special, .arg = *t };
    spec.end_ids = tok_stop_ids(*t, &spec.n_end_ids);
    int64_t began = clock_ns();
    *v = grammar_vocab_new(&spec);
    if (vocab_ms) *vocab_ms = (double)(clock_ns() - began) / 1e6;
    return true;
}

void grammar_run_first_mask(Grammar *g)
{
    size_t n = grammar_mask_words(grammar_vocab_of(g));
    uint32_t *words = mem_alloc_array(n, sizeof *words);
    GrammarMatcher *m = grammar_matcher_new(g);
    grammar_mask(m, words, n);
    grammar_matcher_free(m);
    mem_free(words);
}

static int64_t now_ns(const GrammarRun *r)
{
    struct timespec t;
    if (!r->cpu) return clock_ns();
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void add_us(GrammarRun *r, int64_t began)
{
    int64_t now = now_ns(r);
    if (r->n == r->cap) {
        r->cap = MAX(r->cap * 2, (size_t)256);
        r->us = mem_grow(r->us, r->cap * sizeof *r->us);
    }
    r->us[r->n++] = (double)(now - began) / 1e3;
}

static bool allowed(const uint32_t *words, int32_t id)
{
    return words[id >> 5] >> (id & 31) & 1;
}

void grammar_run_text(GrammarMatcher *m, const Tokenizer *t, Str text, int tok_flags, GrammarRun *run)
{
    Ids ids = { 0 };
    size_t n_words = ((size_t)tok_n_vocab(t) + 31) / 32, n_ends, i = 0;
    uint32_t *words = mem_alloc_array(n_words, sizeof *words);
    const int32_t *end = tok_stop_ids(t, &n_ends);
    tok_encode(t, text, tok_flags, &ids);
    for (bool good = true; i < ids.n && good; i += good) {
        int64_t began = now_ns(run);
        good = grammar_mask(m, words, n_words) && allowed(words, ids.p[i]) && grammar_accept(m, ids.p[i]);
        add_us(run, began);
    }
    run->at = (int)i;
    run->accepted = false;
    if (i == ids.n) {
        int64_t began = now_ns(run);
        bool good = grammar_mask(m, words, n_words);
        add_us(run, began);
        for (size_t k = 0; k < n_ends && good; k++) run->accepted |= allowed(words, end[k]);
    }
    mem_free(words);
    ids_free(&ids);
}

/* ---- JSON text as it stands ---- */

static size_t skip_space(Str s, size_t i)
{
    while (i < s.n && isspace((unsigned char)s.p[i])) i++;
    return i;
}

/* s[i] is a quote: behind its partner. */
static size_t skip_string(Str s, size_t i)
{
    for (i++; i < s.n && s.p[i] != '"'; i++)
        if (s.p[i] == '\\') i++;
    return i < s.n ? i + 1 : SIZE_MAX;
}

size_t grammar_run_value(Str s, size_t i)
{
    int depth = 0;
    i = skip_space(s, i);
    if (i >= s.n) return SIZE_MAX;
    do {
        char c = s.p[i];
        if (c == '"') {
            i = skip_string(s, i);
            if (i == SIZE_MAX) return i;
            continue;
        }
        if (depth == 0 && c != '{' && c != '[') { /* a number or a word */
            size_t from = i;
            while (i < s.n && !strchr(",]} \t\r\n", s.p[i])) i++;
            return i > from ? i : SIZE_MAX;
        }
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        i++;
    } while (depth > 0 && i < s.n);
    return depth == 0 ? i : SIZE_MAX;
}

Str grammar_run_member(Str s, const char *key)
{
    Str none = { 0 };
    size_t i = skip_space(s, 0);
    if (i >= s.n || s.p[i] != '{') return none;
    for (i++; (i = skip_space(s, i)) < s.n && s.p[i] == '"';) {
        size_t end = skip_string(s, i);
        if (end == SIZE_MAX) return none;
        bool here = str_is(str_cut(s, i + 1, end - 1), key);
        i = skip_space(s, end);
        if (i >= s.n || s.p[i] != ':') return none;
        i = skip_space(s, i + 1);
        end = grammar_run_value(s, i);
        if (end == SIZE_MAX) return none;
        if (here) return str_cut(s, i, end);
        i = skip_space(s, end);
        if (i < s.n && s.p[i] == ',') i++;
    }
    return none;
}

void grammar_run_compact(Str value, Buf *out)
{
    for (size_t i = 0; i < value.n;) {
        size_t end = value.p[i] == '"' ? skip_string(value, i) : i + 1;
        if (end == SIZE_MAX) end = value.n;
        if (!isspace((unsigned char)value.p[i])) buf_add(out, value.p + i, end - i);
        i = end;
    }
}
