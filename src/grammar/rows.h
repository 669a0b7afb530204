/* rows.h - the parser: Earley rows that are interned by what they hold, not by where they stand. Not a door.
 *
 * An item is (what is left of a rule, the rule, the row where the rule began). The kernel of a row is the set of items that the last
 * lexeme left; its closure adds the rules that may begin here. Two positions with equal kernels are the same row, so a list
 * comes back to the same row after each of its elements, a row id is a persistent stack (fork and rollback copy a
 * number), and whatever is computed for a row - lexemes, masks - holds wherever it comes up again.
 *
 * When the rest of a rule is empty the item is replaced at once by what waits for the rule in the row where it began; a rule called
 * last in another is begun in the other's name (Leo's right recursion, a tail call). Left recursion needs no care: calls are
 * kept by row and rule. A row's closure depends on its kernel alone. Thread: the grammar's lock. */
#ifndef GRAMMAR_ROWS_H
#define GRAMMAR_ROWS_H

#include "grammar/lexer.h"
#include "grammar/syms.h"

typedef uint32_t RowId;

enum { ROW_NONE = 0 /* the row in which the root rule waits; never current */, ROW_FIRST = 1 };

typedef struct {
    Sym rest;
    uint32_t rule; /* number in Syms.rule; the root is ROOT_RULE */
    RowId origin;
} Item;

#define ROOT_RULE UINT32_MAX

/* What a row can do next with a symbol: a lexeme (its expression), a token set or a rule (its number). */
typedef struct {
    uint32_t key;
    Item item;
} Way;

typedef struct {
    uint32_t kernel, n_kernel; /* in Rows.items, sorted */
    uint32_t ways, n_lexemes, n_tokens,
        n_calls; /* in Rows.ways: lexemes, then token sets, then calls, each sorted by key */
    LexId start;
    uint32_t depth; /* of rules that began before and are not done */
    bool complete;  /* the root is done, or may be: the output may end here */
} Row;

typedef struct {
    Syms *s;
    Lexer *l;
    Row *row;
    uint32_t n, cap;
    uint32_t *slots, n_slots;
    Item *items;
    size_t n_items, cap_items;
    Way *ways;
    size_t n_ways, cap_ways;
    uint64_t *scans; /* (row, accept set) -> row, two words an entry */
    size_t n_scans, scan_slots;
    /* scratch */
    Item *work; /* a closure under construction */
    size_t n_work, cap_work;
    uint32_t *seen; /* open addressing over work: index + 1 */
    size_t seen_slots;
    Way *tmp;
    size_t n_tmp, cap_tmp;
    Expr *lexemes;
    size_t cap_lexemes;
    uint32_t max_row_items, max_depth;
    uint64_t item_fuel; /* items that may still be made; the owner sets it */
    bool over;          /* a limit was met: nothing of the last call counts */
    const char *over_why;
} Rows;

void rows_init(Rows *r, Syms *s, Lexer *l, const GrammarLimits *limits);
void rows_done(Rows *r);
size_t rows_memory(const Rows *r);
/* The row before anything was read; ROW_NONE if a limit was met. */
RowId rows_first(Rows *r, Sym root);
/* The row after one of the accept set's lexemes; ROW_NONE: a limit was met. */
RowId rows_scan(Rows *r, RowId from, uint32_t accept);
/* The row after any of several lexemes that end at the same place. */
typedef struct {
    RowId from;
    uint32_t accept;
} Scan;
RowId rows_scan_all(Rows *r, const Scan *scans, size_t n);
/* The row after a token that the row's token sets have; ROW_NONE: none has it (or over). */
RowId rows_scan_token(Rows *r, RowId from, int32_t id);

#endif
