/* split.c - pre-tokenizers: cuts normalized text into the pieces that the model encodes one by one.
 *
 * The steps of a pipeline are run depth first: each piece that step k finds goes to step k + 1 at once, the last one's to
 * the model, so no list of pieces is ever made. A step is either a scanner, which covers the text, or a finder of matches
 * plus a Behavior that says what becomes of the matches and of the text between them.
 * The byte-level step changes the alphabet; that is done only if later steps must see it (Falcon's do). Thread: one Enc. */
#include "tok/parts.h"
#include "tok/unicode.h"

static void stage(Enc *e, int k, Str s, bool at_start, bool mapped);

/* Where pieces of one step go. */
typedef struct {
    Enc *e;
    int k; /* of the next step */
    bool at_start, mapped;
} Sink;

static inline void emit(const Sink *to, Str s, size_t from, size_t end)
{
    if (from == end) return;
    stage(to->e, to->k, str_cut(s, from, end), to->at_start && from == 0, to->mapped);
}

/* ---- finders ---- */

static bool is_wanted(const SplitStep *step, const char *s, size_t *len)
{
    unsigned wanted = step->kind == SPLIT_PUNCT ? UNI_PUNCT : step->kind == SPLIT_DIGITS ? UNI_N : UNI_SPACE;
    return uni_at(s, len) & wanted;
}

/* The next character of the wanted kind at or after from. */
static bool find_char(const SplitStep *step, Str s, size_t from, size_t *start, size_t *end)
{
    for (size_t i = from, len; i < s.n; i += len) {
        if (!is_wanted(step, s.p + i, &len)) continue;
        *start = i;
        *end = i + len;
        return true;
    }
    return false;
}

/* \w+|[^\w\s]+ */
static bool find_word(Str s, size_t from, size_t *start, size_t *end)
{
    size_t i = from, len;
    while (i < s.n && (uni_at(s.p + i, &len) & UNI_SPACE)) i += len;
    if (i == s.n) return false;
    *start = i;
    unsigned word = uni_at(s.p + i, &len) & UNI_WORD;
    do i += len;
    while (i < s.n && (uni_at(s.p + i, &len) & (UNI_WORD | UNI_SPACE)) == word);
    *end = i;
    return true;
}

static bool find(const SplitStep *step, Str s, size_t from, bool after_match, size_t *start, size_t *end)
{
    if (step->kind == SPLIT_REGEX) return regex_next(step->regex, s, from, after_match, start, end);
    if (step->kind == SPLIT_WORDS) return find_word(s, from, start, end);
    if (step->kind != SPLIT_TEXT && step->kind != SPLIT_METASPACE) return find_char(step, s, from, start, end);
    if (step->text.n == 0) return false;
    *start = str_find(s, step->text, from);
    *end = *start + step->text.n;
    return *start != SIZE_MAX;
}

/* ---- behaviours ---- */

/* One part of the text, a match or what lies between two, held until its successor is known. */
typedef struct {
    size_t start, end;
    bool match, any;
} Part;

/* Takes the next part; gives away what can no longer grow. An empty match is a part too: it cuts, and joins. */
static void behave(const Sink *to, Str s, Behavior behavior, Part *held, Part part)
{
    bool join = false;
    if (held->any) {
        if (behavior == CONTIGUOUS) join = held->match == part.match;
        if (behavior == MERGED_PREVIOUS) join = part.match && !held->match;
        if (behavior == MERGED_NEXT) join = held->match && !part.match;
    }
    if (join) {
        held->end = part.end;
        held->match = part.match;
        return;
    }
    if (held->any && !(behavior == REMOVED && held->match)) emit(to, s, held->start, held->end);
    *held = part;
    held->any = true;
}

static void split_matches(const Sink *to, const SplitStep *step, Str s)
{
    Part held = { 0 };
    size_t at = 0, start, end;
    for (bool after = false; find(step, s, at, after, &start, &end); at = end, after = true) {
        if (start > at)
            behave(to, s, step->behavior, &held, (Part){ .start = at, .end = start, .match = step->invert });
        behave(to, s, step->behavior, &held, (Part){ .start = start, .end = end, .match = !step->invert });
    }
    if (at < s.n) behave(to, s, step->behavior, &held, (Part){ .start = at, .end = s.n, .match = step->invert });
    if (held.any && !(step->behavior == REMOVED && held.match)) emit(to, s, held.start, held.end);
}

/* ---- steps that are not finders ---- */

static void split_fixed(const Sink *to, const SplitStep *step, Str s)
{
    size_t start = 0, count = 0, len;
    for (size_t i = 0; i < s.n; i += len) {
        if (count == step->length) {
            emit(to, s, start, i);
            start = i;
            count = 0;
        }
        (void)uni_get(s.p + i, &len);
        count++;
    }
    emit(to, s, start, s.n);
}

/* The number of a character's script. */
static unsigned script_of(uint32_t cp)
{
    size_t low = 0, high = uni_n_scripts;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (uni_scripts[middle] >> 8 <= cp)
            low = middle;
        else
            high = middle;
    }
    return uni_scripts[low] & 255;
}

/* Cuts where the script changes. Characters that go with any script stay with what is before them; at the start of the
 * text they are lost, as they are in the reference. */
static void split_scripts(const Sink *to, Str s)
{
    unsigned last = 0;
    size_t start = 0;
    for (size_t i = 0, len; i < s.n; i += len) {
        unsigned script = script_of(uni_get(s.p + i, &len));
        if (script == 0 || script == last) continue;
        if (last) emit(to, s, start, i);
        start = i;
        last = script;
    }
    if (last) emit(to, s, start, s.n);
}

static void split_metaspace(const Sink *to, const SplitStep *step, Str s, Buf *tmp)
{
    buf_clear(tmp);
    bool wants = step->prepend == PREPEND_ALWAYS || (step->prepend == PREPEND_FIRST && to->at_start);
    if (wants && !str_starts(s, step->text) && s.p[0] != ' ') buf_str(tmp, step->text);
    for (size_t i = 0, next; i < s.n; i = next) {
        const char *p = memchr(s.p + i, ' ', s.n - i);
        next = p ? (size_t)(p - s.p) : s.n;
        buf_add(tmp, s.p + i, next - i);
        if (p) buf_str(tmp, step->text);
        next += p != NULL;
    }
    if (step->split)
        split_matches(to, step, buf_view(tmp));
    else
        emit(to, buf_view(tmp), 0, tmp->n);
}

static void split_scan(const Sink *to, ScanFn scan, Str s)
{
    if (to->k == to->e->t->n_splits && !to->mapped) {
        for (size_t i = 0, end; i < s.n; i = end) {
            end = scan(s.p, s.n, i);
            tok_encode_piece(to->e, str_cut(s, i, end));
        }
        return;
    }
    for (size_t i = 0, end; i < s.n; i = end) {
        end = scan(s.p, s.n, i);
        emit(to, s, i, end);
    }
}

/* The rest of the byte-level step for one piece: the alphabet, if anybody is to see it. */
static void split_map(Sink to, Str s)
{
    if (to.k == to.e->t->n_splits && !to.mapped) {
        tok_encode_piece(to.e, s);
        return;
    }
    Buf *tmp = &to.e->s->piece[to.k];
    buf_clear(tmp);
    vocab_alphabet_of(s, tmp);
    to.mapped = true;
    emit(&to, buf_view(tmp), 0, tmp->n);
}

static void split_bytes(const Sink *to, const SplitStep *step, Str s, Buf *tmp)
{
    if (step->prefix_space && s.p[0] != ' ') {
        buf_clear(tmp);
        buf_char(tmp, ' ');
        buf_str(tmp, s);
        s = buf_view(tmp);
    }
    for (size_t i = 0, end; i < s.n; i = end) {
        end = step->scan ? step->scan(s.p, s.n, i) : s.n;
        split_map(*to, str_cut(s, i, end));
    }
}

/* A piece for the model; out of the byte alphabet where an earlier step put it there. */
static void last_stage(Enc *e, Str s, bool mapped)
{
    if (mapped && e->t->byte_level) {
        Buf *tmp = &e->s->piece[MAX_STEPS];
        buf_clear(tmp);
        if (vocab_bytes_of(s, tmp)) s = buf_view(tmp);
    }
    if (s.n) tok_encode_piece(e, s);
}

static void stage(Enc *e, int k, Str s, bool at_start, bool mapped)
{
    if (s.n == 0) return;
    if (k == e->t->n_splits) {
        last_stage(e, s, mapped);
        return;
    }
    const SplitStep *step = &e->t->splits[k];
    Sink to = { .e = e, .k = k + 1, .at_start = at_start, .mapped = mapped };
    if (step->kind == SPLIT_SCAN)
        split_scan(&to, step->scan, s);
    else if (step->kind == SPLIT_BYTES)
        split_bytes(&to, step, s, &e->s->piece[k]);
    else if (step->kind == SPLIT_METASPACE)
        split_metaspace(&to, step, s, &e->s->piece[k]);
    else if (step->kind == SPLIT_FIXED)
        split_fixed(&to, step, s);
    else if (step->kind == SPLIT_SCRIPTS)
        split_scripts(&to, s);
    else
        split_matches(&to, step, s);
}

void split_run(Enc *e, Str text, bool at_start)
{
    bool mapped = false;
    for (int i = 0; i < e->t->n_norms; i++) mapped = mapped || e->t->norms[i].kind == NORM_BYTES;
    stage(e, 0, text, at_start, mapped);
}
