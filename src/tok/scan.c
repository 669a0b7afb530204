/* scan.c - the well-known split patterns as plain loops over character classes.
 *
 * The patterns share their parts, so the file goes: classes of one character, runs, contractions, the white-space tail,
 * then one function per pattern, and last the table of pattern texts. A regex engine tries alternatives in order and
 * backtracks; here each alternative's outcome is worked out from the runs it could take. tests/tok compares every scanner
 * with Hugging Face's engine on the same pattern, over every code point. Any thread; no state. */
#include "tok/scan.h"

#include "tok/unicode.h"

enum {
    NEITHER = UNI_SPACE | UNI_L | UNI_N, /* what [^\s\p{L}\p{N}] leaves out */
    UPPERISH = UNI_UPPER | UNI_OTHER | UNI_M,
    LOWERISH = UNI_LOWER | UNI_OTHER | UNI_M
};

static inline bool is_newline(char c)
{
    return c == '\n' || c == '\r';
}

/* End of the run of characters that have any of the bits. */
static inline size_t run_of(const char *s, size_t n, size_t i, unsigned bits)
{
    while (i < n) {
        size_t len;
        if (!(uni_at(s + i, &len) & bits)) break;
        i += len;
    }
    return i;
}

/* End of the run of characters that have none of the bits. */
static inline size_t run_without(const char *s, size_t n, size_t i, unsigned bits)
{
    while (i < n) {
        size_t len;
        if (uni_at(s + i, &len) & bits) break;
        i += len;
    }
    return i;
}

static inline size_t run_newlines(const char *s, size_t n, size_t i)
{
    while (i < n && is_newline(s[i])) i++;
    return i;
}

static inline size_t run_newlines_slashes(const char *s, size_t n, size_t i)
{
    while (i < n && (is_newline(s[i]) || s[i] == '/')) i++;
    return i;
}

/* Up to max digits. */
static inline size_t run_numbers(const char *s, size_t n, size_t i, int max)
{
    size_t len;
    while (max-- > 0 && i < n && (uni_at(s + i, &len) & UNI_N)) i += len;
    return i;
}

/* 's|'t|'re|'ve|'m|'ll|'d at i, where s[i] is an apostrophe: its end, or 0. */
static size_t contraction(const char *s, size_t n, size_t i)
{
    if (i + 1 >= n) return 0;
    char a = s[i + 1];
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return i + 2;
    if (i + 2 >= n) return 0;
    char b = s[i + 2];
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return i + 3;
    return 0;
}

/* The same without regard to case; U+017F is an s then. */
static size_t contraction_any_case(const char *s, size_t n, size_t i)
{
    if (i >= n || s[i] != '\'' || i + 1 >= n) return 0;
    char a = (char)(s[i + 1] | 32);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return i + 2;
    if (i + 2 >= n) return 0;
    if (s[i + 1] == '\xC5' && s[i + 2] == '\xBF') return i + 3;
    char b = (char)(s[i + 2] | 32);
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return i + 3;
    return 0;
}

/* \s+(?!\S)|\s+ at a white-space character: all of the run at the end of the text, else all but its last character. */
static size_t spaces_tail(const char *s, size_t n, size_t i, unsigned stop)
{
    size_t last = i, end = i;
    while (end < n) {
        size_t len;
        unsigned c = uni_at(s + end, &len);
        if (c & stop) return end; /* to this pattern the text ends here */
        if (!(c & UNI_SPACE)) return last > i ? last : end;
        last = end;
        end += len;
    }
    return end;
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ at a white-space character. */
static size_t newlines_tail(const char *s, size_t n, size_t i)
{
    size_t last = i, end = i, newline = 0;
    while (end < n) {
        size_t len;
        if (!(uni_at(s + end, &len) & UNI_SPACE)) break;
        if (is_newline(s[end])) newline = end + 1;
        last = end;
        end += len;
    }
    if (newline) return newline;
    return end == n || last == i ? end : last;
}

static inline size_t gpt2(const char *s, size_t n, size_t i, unsigned stop)
{
    size_t len, at = i;
    if (s[i] == '\'') {
        size_t end = contraction(s, n, i);
        if (end) return end;
    }
    if (s[i] == ' ' && i + 1 < n) at = i + 1;
    unsigned c = uni_at(s + at, &len);
    if (!(c & (UNI_SPACE | stop))) {
        if (c & UNI_L) return run_of(s, n, at + len, UNI_L);
        if (c & UNI_N) return run_of(s, n, at + len, UNI_N);
        return run_without(s, n, at + len, NEITHER);
    }
    return spaces_tail(s, n, i, stop);
}

size_t scan_gpt2(const char *s, size_t n, size_t i)
{
    return gpt2(s, n, i, 0);
}

size_t scan_digits_gpt2(const char *s, size_t n, size_t i)
{
    size_t len;
    if (uni_at(s + i, &len) & UNI_N) return i + len;
    return gpt2(s, n, i, UNI_N);
}

/* [^\r\n\p{L}\p{N}]?[letters]+|\p{N}{1,max}| ?[^\s letters \p{N}]+[\r\n]*|tail */
static inline size_t words(const char *s, size_t n, size_t i, unsigned letters, int max_numbers)
{
    size_t len, len2;
    unsigned c = uni_at(s + i, &len);
    if (c & letters) return run_of(s, n, i + len, letters);
    if (c & UNI_N) return run_numbers(s, n, i, max_numbers);
    unsigned next = i + len < n ? uni_at(s + i + len, &len2) : 0;
    if (!is_newline(s[i]) && (next & letters)) return run_of(s, n, i + len + len2, letters);
    if (!(c & UNI_SPACE)) return run_newlines(s, n, run_without(s, n, i + len, UNI_SPACE | UNI_N | letters));
    if (s[i] == ' ' && i + 1 < n && !(next & (UNI_SPACE | UNI_N | letters)))
        return run_newlines(s, n, run_without(s, n, i + 1, UNI_SPACE | UNI_N | letters));
    return newlines_tail(s, n, i);
}

size_t scan_llama3(const char *s, size_t n, size_t i)
{
    size_t end = contraction_any_case(s, n, i);
    return end ? end : words(s, n, i, UNI_L, 3);
}

size_t scan_qwen2(const char *s, size_t n, size_t i)
{
    size_t end = contraction_any_case(s, n, i);
    return end ? end : words(s, n, i, UNI_L, 1);
}

size_t scan_qwen35(const char *s, size_t n, size_t i)
{
    size_t end = contraction_any_case(s, n, i);
    return end ? end : words(s, n, i, UNI_L | UNI_M, 1);
}

/* A character's class with Han characters taken out of the letters, for the patterns that narrow them so. */
static inline unsigned class_but(const char *s, size_t i, size_t *len, unsigned without)
{
    unsigned c = uni_at(s + i, len);
    return c & without ? c & ~(unsigned)(UPPERISH | LOWERISH) : c;
}

/* [U]*[l]+ at i, where U and l share all letters without case: its end, or 0. */
static size_t cased_word(const char *s, size_t n, size_t i, unsigned without)
{
    size_t both = 0, len; /* both: the end of the last character that is in U and in l */
    while (i < n) {
        unsigned c = class_but(s, i, &len, without);
        if (!(c & UPPERISH)) {
            if (!(c & LOWERISH)) return both;
            do i += len;
            while (i < n && (class_but(s, i, &len, without) & LOWERISH));
            return i;
        }
        i += len;
        if (c & LOWERISH) both = i;
    }
    return both;
}

/* [U]+[l]* at i where cased_word failed, so that no l follows: the run of U, or 0. */
static size_t upper_word(const char *s, size_t n, size_t i, unsigned without)
{
    size_t start = i, len;
    while (i < n && (class_but(s, i, &len, without) & UPPERISH)) i += len;
    return i > start ? i : 0;
}

/* The two word alternatives of o200k, each with its optional leading character; 0: neither. */
static inline size_t word_o200k(const char *s, size_t n, size_t i, unsigned without)
{
    size_t len, end;
    unsigned c = uni_at(s + i, &len);
    bool lead = !(c & (UNI_L | UNI_N)) && !is_newline(s[i]);
    bool in_word = c & (UPPERISH | LOWERISH);
    if (lead && (end = cased_word(s, n, i + len, without))) return end;
    if (in_word && (end = cased_word(s, n, i, without))) return end;
    if (lead && (end = upper_word(s, n, i + len, without))) return end;
    return in_word ? upper_word(s, n, i, without) : 0;
}

static inline size_t o200k(const char *s, size_t n, size_t i, int max_numbers, bool contractions, unsigned without)
{
    size_t len, end = word_o200k(s, n, i, without);
    if (end) {
        size_t more = contractions ? contraction_any_case(s, n, end) : 0;
        return more ? more : end;
    }
    unsigned c = uni_at(s + i, &len);
    if (c & UNI_N) return run_numbers(s, n, i, max_numbers);
    size_t at = i;
    if (s[i] == ' ' && i + 1 < n) c = uni_at(s + ++at, &len);
    if (!(c & NEITHER)) {
        end = run_without(s, n, at + len, NEITHER);
        return without ? run_newlines(s, n, end) : run_newlines_slashes(s, n, end);
    }
    return newlines_tail(s, n, i);
}

size_t scan_o200k(const char *s, size_t n, size_t i)
{
    return o200k(s, n, i, 3, true, 0);
}

size_t scan_youtu(const char *s, size_t n, size_t i)
{
    return o200k(s, n, i, 1, true, 0);
}

size_t scan_tekken(const char *s, size_t n, size_t i)
{
    return o200k(s, n, i, 1, false, 0);
}

size_t scan_kimi(const char *s, size_t n, size_t i)
{
    size_t end = run_of(s, n, i, UNI_HAN);
    return end > i ? end : o200k(s, n, i, 3, true, UNI_HAN);
}

/* deepseek-v3's third pattern at i: the end of the match, or 0. */
static size_t deepseek_match(const char *s, size_t n, size_t i)
{
    size_t len, len2 = 0;
    unsigned c = uni_at(s + i, &len);
    unsigned next = i + len < n ? uni_at(s + i + len, &len2) : 0;
    bool ascii_mark = len == 1 && (c & (UNI_P | UNI_S));
    if (ascii_mark && (next & UNI_L) && len2 == 1) {
        size_t end = i + 1;
        while (end < n && (uint8_t)((s[end] | 32) - 'a') < 26) end++;
        return end;
    }
    unsigned letters = UNI_L | UNI_M;
    if (c & letters) return run_of(s, n, i + len, letters);
    if (!(c & (UNI_P | UNI_S)) && !is_newline(s[i]) && (next & letters)) return run_of(s, n, i + len, letters);
    if (c & (UNI_P | UNI_S)) return run_newlines(s, n, run_of(s, n, i + len, UNI_P | UNI_S));
    if (s[i] == ' ' && (next & (UNI_P | UNI_S))) return run_newlines(s, n, run_of(s, n, i + 1, UNI_P | UNI_S));
    return c & UNI_SPACE ? newlines_tail(s, n, i) : 0;
}

size_t scan_deepseek3(const char *s, size_t n, size_t i)
{
    size_t end = deepseek_match(s, n, i), len;
    while (!end) { /* what nothing matches stays together, up to the next match */
        (void)uni_at(s + i, &len);
        i += len;
        end = i == n || deepseek_match(s, n, i) ? i : 0;
    }
    return end;
}

size_t scan_numbers3(const char *s, size_t n, size_t i)
{
    size_t end = run_numbers(s, n, i, 3);
    return end > i ? end : run_without(s, n, i, UNI_N);
}

size_t scan_numbers1(const char *s, size_t n, size_t i)
{
    size_t end = run_numbers(s, n, i, 1);
    return end > i ? end : run_without(s, n, i, UNI_N);
}

size_t scan_numbers(const char *s, size_t n, size_t i)
{
    size_t end = run_of(s, n, i, UNI_N);
    return end > i ? end : run_without(s, n, i, UNI_N);
}

/* Whether the character before i is a number. */
static bool number_before(const char *s, size_t i)
{
    size_t len;
    if (i == 0) return false;
    do i--;
    while (i > 0 && ((uint8_t)s[i] & 0xC0) == 0x80);
    return uni_at(s + i, &len) & UNI_N;
}

size_t scan_numbers3_right(const char *s, size_t n, size_t i)
{
    size_t len, count = 0;
    if (!(uni_at(s + i, &len) & UNI_N)) return run_without(s, n, i, UNI_N);
    if (number_before(s, i)) return run_numbers(s, n, i, 3); /* what is too much for threes has been cut off */
    for (size_t k = i; k < n && (uni_at(s + k, &len) & UNI_N); k += len) count++;
    return run_numbers(s, n, i, count % 3 ? (int)(count % 3) : 3);
}

static bool is_cjk(const char *s, size_t *len)
{
    uint32_t cp = uni_get(s, len);
    return (cp >= 0x4E00 && cp <= 0x9FA5) || (cp >= 0x3040 && cp <= 0x30FF);
}

size_t scan_cjk(const char *s, size_t n, size_t i)
{
    size_t len;
    bool want = is_cjk(s + i, &len);
    do i += len;
    while (i < n && is_cjk(s + i, &len) == want);
    return i;
}

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define OTHERS       " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define TAIL         "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPERS       "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWERS       "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define LEAD         "[^\\r\\n\\p{L}\\p{N}]?"

static const struct {
    const char *pattern;
    ScanFn scan;
} patterns[] = {
    { "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", scan_gpt2 },
    { CONTRACTIONS "|" LEAD "\\p{L}+|\\p{N}{1,3}|" OTHERS "|" TAIL, scan_llama3 },
    { CONTRACTIONS "|" LEAD "\\p{L}+|\\p{N}|" OTHERS "|" TAIL, scan_qwen2 },
    { CONTRACTIONS "|" LEAD "[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" TAIL, scan_qwen35 },
    { LEAD UPPERS "*" LOWERS "+" CONTRACTIONS "?|" LEAD UPPERS "+" LOWERS "*" CONTRACTIONS
                  "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" TAIL,
      scan_o200k },
    { LEAD UPPERS "*" LOWERS "+" CONTRACTIONS "?|" LEAD UPPERS "+" LOWERS "*" CONTRACTIONS
                  "?|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" TAIL,
      scan_youtu },
    { LEAD UPPERS "*" LOWERS "+|" LEAD UPPERS "+" LOWERS "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" TAIL,
      scan_tekken },
    { "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
      "?[\\p{P}\\p{S}]+[\\r\\n]*|" TAIL,
      scan_deepseek3 },
    { "[\\p{Han}]+|" LEAD
      "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]+" CONTRACTIONS
      "?|" LEAD "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]+"
      "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]*" CONTRACTIONS "?|\\p{N}{1,3}|" OTHERS "|" TAIL,
      scan_kimi },
    { "\\p{N}{1,3}", scan_numbers3 },
    { "\\p{N}", scan_numbers1 },
    { "\\p{N}+", scan_numbers },
    { "[\xE4\xB8\x80-\xE9\xBE\xA5\xE3\x81\x80-\xE3\x82\x9F\xE3\x82\xA0-\xE3\x83\xBF]+", scan_cjk },
};

ScanFn scan_for_pattern(Str pattern)
{
    for (size_t i = 0; i < COUNT(patterns); i++)
        if (str_is(pattern, patterns[i].pattern)) return patterns[i].scan;
    return NULL;
}
