/* unicode.h - what kind of character a code point is, in Unicode 16.0 (see gen_unicode.py for why that one).
 * Two table loads for any code point; surrogates and unassigned code points are UNI_CONTROL. */
#ifndef TOK_UNICODE_H
#define TOK_UNICODE_H

#include "base/base.h"
#include "base/utf8.h"

enum {
    UNI_L = 1 << 0,        /* \p{L} */
    UNI_N = 1 << 1,        /* \p{N} */
    UNI_M = 1 << 2,        /* \p{M} */
    UNI_P = 1 << 3,        /* \p{P} */
    UNI_S = 1 << 4,        /* \p{S} */
    UNI_UPPER = 1 << 5,    /* \p{Lu} \p{Lt} */
    UNI_LOWER = 1 << 6,    /* \p{Ll} */
    UNI_OTHER = 1 << 7,    /* \p{Lm} \p{Lo} */
    UNI_SPACE = 1 << 8,    /* White_Space */
    UNI_HAN = 1 << 9,      /* \p{Han} */
    UNI_WORD = 1 << 10,    /* \w as Unicode technical standard 18 has it */
    UNI_MN = 1 << 11,      /* \p{Mn} */
    UNI_CONTROL = 1 << 12, /* \p{C}: control, format, private use, unassigned */
    UNI_ND = 1 << 13,      /* \p{Nd} */
    /* As the reference's own, older tables have it: */
    UNI_PUNCT = 1 << 14,       /* its Punctuation and BERT pre-tokenizers */
    UNI_BERT_DROP = 1 << 15,   /* what BERT's clean_text takes out */
    UNI_BERT_ACCENT = 1 << 16, /* what BERT's strip_accents takes out */
    UNI_STRIP_ACCENT = 1 << 17 /* what StripAccents takes out */
};

extern const uint32_t uni_ascii[128];
extern const uint32_t uni_classes[];
extern const uint16_t uni_index[];
extern const uint8_t uni_blocks[];
/* Ranges assigned since Unicode 14, each of one class: what a regex engine of that age does not know. */
extern const size_t uni_n_news;
extern const uint32_t uni_news[][2];

/* Where the script changes, as the reference's UnicodeScripts sees it: first code point << 8 | number of the script; 0:
 * goes with any script. */
extern const size_t uni_n_scripts;
extern const uint32_t uni_scripts[];

static inline unsigned uni_class(uint32_t cp)
{
    return uni_classes[uni_blocks[uni_index[cp >> 7] * 128u + (cp & 127)]];
}

/* Reads the code point at p of VALID UTF-8 and its length. */
static inline uint32_t uni_get(const char *text, size_t *len)
{
    const uint8_t *p = (const uint8_t *)text;
    if (p[0] < 0x80) return *len = 1, p[0];
    if (p[0] < 0xE0) return *len = 2, (p[0] & 31u) << 6 | (p[1] & 63u);
    if (p[0] < 0xF0) return *len = 3, (p[0] & 15u) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u);
    return *len = 4, (p[0] & 7u) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63u);
}

/* The class of the character at text, and its length. */
static inline unsigned uni_at(const char *text, size_t *len)
{
    uint8_t c = (uint8_t)*text;
    if (c < 0x80) return *len = 1, uni_ascii[c];
    return uni_class(uni_get(text, len));
}

#endif
