/* groups.h - bytes in 48 groups, so that "which bytes occur below here" and "which bytes loop here" are words.
 * ASCII bytes that grammars tell apart have a group each; a character beyond ASCII counts as its first byte's group. */
#ifndef GRAMMAR_GROUPS_H
#define GRAMMAR_GROUPS_H

#include "base/base.h"

enum {
    GROUP_CONTROL = 3,
    GROUP_SPACE = 4,
    GROUP_DELETE = 46,
    GROUP_LEAD2 = 43,
    GROUP_LEAD3,
    GROUP_LEAD4,
    GROUP_BAD = 47 /* the last one: groups fit 48 bits */
};

static inline int group_of_ascii(uint8_t c)
{
    if (c < 0x20) return c == '\t' ? 0 : c == '\n' ? 1 : c == '\r' ? 2 : GROUP_CONTROL;
    if (c == ' ') return GROUP_SPACE;
    if (c < '0') return 5 + (c - '!');
    if (c <= '9') return c == '0' ? 37 : 38;
    if (c < 'A') return 20 + (c - ':');
    if (c <= 'Z') return c <= 'F' ? 41 : 42;
    if (c < 'a') return 27 + (c - '[');
    if (c <= 'z') return c <= 'f' ? 39 : 40;
    return c == 0x7f ? GROUP_DELETE : 33 + (c - '{');
}

#endif
