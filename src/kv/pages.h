/* pages.h - inside kv: the store of page numbers, each free, taken by the caller, or a link of one edge of the tree. */
#ifndef KV_PAGES_H
#define KV_PAGES_H

#include "kv/kv.h"

typedef enum { PAGE_FREE, PAGE_TAKEN, PAGE_TREE } PageState;

typedef struct {
    int32_t id[KV_PAGE_TOKENS]; /* the tokens whose keys and values the page holds */
} PageTokens;

/* Everything about a page that the tree needs lies in arrays indexed by the page's number, so edges are lists of page
 * numbers and nothing is ever allocated after pages_init. */
typedef struct {
    int n, n_free;
    int32_t *free;        /* [n] a stack: the page given back last goes out first */
    uint8_t *state;       /* [n] PageState */
    int32_t *next, *prev; /* [n] along an edge; -1: its end. Only for PAGE_TREE */
    PageTokens *tok;      /* [n] only for PAGE_TREE */
} Pages;

void pages_init(Pages *p, int n, bool with_tree);
void pages_done(Pages *p);
void pages_take(Pages *p, int n, int32_t *out); /* n <= n_free */
void pages_give_back(Pages *p, int32_t page);   /* from either other state */

#endif
