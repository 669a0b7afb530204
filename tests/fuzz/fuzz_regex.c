/* fuzz_regex.c - a pattern of any bytes: the first says how it is read, what follows it is the pattern. Every bit of its first masks is held
 * against the machine itself, and a random walk along them never gets stuck. */
#include "fuzz_grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *const tokens[] = { "a",        "b",    "0",    "1",  "\"",  "\\", "ab", "aa", "a0", "0\"",
                                      "\xc3\xa9", "\xc3", "\xa9", "u0", "\\u", "x",  "-",  ".",  "\n", "b\"a" };

static Sym front(Build *b, const GrammarSpec *spec)
{
    int how = spec->text.n ? spec->text.p[0] : 0;
    Str pattern = str_cut(spec->text, spec->text.n > 0, spec->text.n);
    Expr e = pattern_build(b, pattern, (how & 1 ? PATTERN_SEARCH : 0) | (how & 4 ? PATTERN_DOT_ALL : 0),
                           how & 2 ? SPELL_JSON : SPELL_UTF8);
    return build_failed(b) ? SYM_NOTHING : rule_lexeme(b, e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    fuzz_grammar((FuzzTokens){ tokens, COUNT(tokens) }, GRAMMAR_REGEX, front, data, n);
    return 0;
}
