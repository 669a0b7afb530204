/* jscan.h - reads JSON of a known shape in one pass, without building a tree. Internal to src/load.
 *
 * A safetensors header may be 100 MB of hostile text, and a tree of it would take many times that; a pass that keeps
 * only what was asked for takes none. Errors stick: after the first, bad is set with a reason and every call
 * answers false. Usage:
 *     jscan_open(&j, '{');
 *     while (jscan_more(&j, '}')) { jscan_key(&j, &key); ... read or jscan_skip the value ... }
 *     if (j.bad) ...                                                                          */
#ifndef LOAD_JSCAN_H
#define LOAD_JSCAN_H

#include "base/base.h"

typedef struct {
    Arena *arena; /* for strings with escapes; the others are borrowed from p */
    const char *p;
    size_t n, at;
    bool fresh;      /* an object or array was just opened: no comma before the next member */
    const char *bad; /* NULL, or what is wrong at p[at] */
} Jscan;

bool jscan_open(Jscan *j, char bracket);
bool jscan_more(Jscan *j, char closing); /* another member follows; false: closed (and passed), or bad */
bool jscan_key(Jscan *j, Str *out);      /* the name of a member and its colon */
bool jscan_str(Jscan *j, Str *out);
bool jscan_i64(Jscan *j, int64_t *out); /* a whole number from 0 to 2^63-1 */
bool jscan_skip(Jscan *j);              /* any value, to 64 levels deep */
bool jscan_end(Jscan *j);               /* only white space is left */

#endif
