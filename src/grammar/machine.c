/* machine.c - see machine.h. */
#include "grammar/machine.h"

void machine_refuel(Grammar *g)
{
    g->x.fuel = g->limits.mask_fuel;
    g->r.item_fuel = g->limits.mask_items;
    g->x.deadline_ns = clock_ns() + g->limits.mask_ns;
}

const char *machine_stopped(Grammar *g)
{
    ExprStop stop = g->x.stop;
    if (stop == STOP_NONE && !g->r.over) return NULL;
    const char *why = g->r.over ? g->r.over_why : "the automaton has more states than the limit";
    if (!g->r.over && stop == STOP_FUEL) why = "one step takes more derivatives than the limit";
    if (!g->r.over && stop == STOP_CLOCK) why = "one step takes longer than the limit";
    if (!g->r.over && stop == STOP_HEIGHT) why = "the automaton's expressions are nested too deeply";
    g->r.over = false;
    g->x.stop = STOP_NONE; /* nothing was remembered meanwhile: others may go on */
    return why;
}

size_t machine_memory(const Grammar *g)
{
    return sizeof *g + exprs_memory(&g->x) + syms_memory(&g->s) + lexer_memory(&g->l) + rows_memory(&g->r) +
           masks_memory(g);
}

static Place counted(Grammar *g, Place p)
{
    p.lex = lexer_count(&g->l, p.lex, g->vocab->trie.max_depth + 1, &p.more);
    return p;
}

Place machine_begin(Grammar *g, RowId row)
{
    return counted(g, (Place){ g->r.row[row].start, row, 0 });
}

static size_t add_place(Place *out, size_t n, Place p)
{
    for (size_t i = 0; i < n; i++)
        if (out[i].lex == p.lex && out[i].row == p.row && out[i].more == p.more) return n;
    out[n] = p;
    return n + 1;
}

size_t machine_step(Grammar *g, const Place *in, size_t n, uint8_t byte, Place *out, bool *ended)
{
    Scan scans[MAX_PLACES];
    size_t n_out = 0, n_scans = 0;
    for (size_t i = 0; i < n; i++) {
        LexId to = lexer_step(&g->l, in[i].lex, byte);
        if (to == LEX_DEAD) continue;
        const LexState *s = &g->l.state[to];
        if (s->accept) scans[n_scans++] = (Scan){ in[i].row, s->accept };
        if (s->n) n_out = add_place(out, n_out, counted(g, (Place){ to, in[i].row, in[i].more }));
    }
    *ended = n_scans > 0;
    if (n_scans == 0) return n_out;
    RowId row = rows_scan_all(&g->r, scans, n_scans);
    if (row == ROW_NONE) return 0; /* stopped: an accepted lexeme always leads somewhere */
    if (n_out == MAX_PLACES) {
        g->r.over = true;
        g->r.over_why = "the output can be read in too many ways";
        return 0;
    }
    return add_place(out, n_out, machine_begin(g, row));
}
