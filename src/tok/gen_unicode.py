#!/usr/bin/env python3
"""Write unicode.tab.c: the character classes that tokenizers ask for, from Unicode 16.0.

Usage: gen_unicode.py > unicode.tab.c      (needs unicodedata2==16.0.0 for categories; regex for scripts and Alphabetic;
tokenizers 0.23, whose BERT parts and UnicodeScripts use older tables: what those say is asked of the library itself)

Unicode 16.0 is what the regex engine of Hugging Face `tokenizers` 0.20 to 0.23 knows, checked over every code point; a
newer table would cut newly assigned letters differently from what models were trained with.
"""
import sys
import unicodedata

import regex
import unicodedata2
from tokenizers import normalizers, pre_tokenizers

assert unicodedata.unidata_version == "14.0.0", "run by Python 3.11: what is new since Unicode 14 is listed"
assert unicodedata2.unidata_version == "16.0.0", unicodedata2.unidata_version

SPACES = {*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
HAN = regex.compile(r"\p{Script=Han}")
ALPHABETIC = regex.compile(r"\p{Alphabetic}")
BLOCK = 128

PUNCTUATION = pre_tokenizers.Punctuation()
CLEAN = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
ACCENTS = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
MARKS = normalizers.StripAccents()
SCRIPTS = pre_tokenizers.UnicodeScripts()


def bits(cp):
    """The class word of a code point; the order of bits is that of the enum in unicode.h."""
    char = chr(cp)
    cat = unicodedata2.category(char)
    assigned = cat != "Cn"
    word = cat[0] == "M" or cat in ("Nd", "Pc") or (assigned and ALPHABETIC.match(char)) or cp in (0x200C, 0x200D)
    flags = [cat[0] == "L", cat[0] == "N", cat[0] == "M", cat[0] == "P", cat[0] == "S", cat in ("Lu", "Lt"), cat == "Ll",
             cat in ("Lm", "Lo"), cp in SPACES, assigned and HAN.match(char), word, cat == "Mn", cat[0] == "C", cat == "Nd", len(PUNCTUATION.pre_tokenize_str(f"a{char}b")) == 3,
             CLEAN.normalize_str(f"a{char}b") == "ab", ACCENTS.normalize_str(char) == "", MARKS.normalize_str(char) == ""]
    return sum(1 << i for i, f in enumerate(flags) if f)


def apart(a, b):
    """Whether the library's UnicodeScripts cuts between two characters."""
    return len(SCRIPTS.pre_tokenize_str(a + b)) == 2


def scripts():
    """Where the script changes: first code point << 8 | number of the script, 0 for characters that go with any."""
    known, changes, now = [], [], 0
    for cp in range(0x110000):
        char = chr(cp)
        if 0xD800 <= cp < 0xE000 or not (apart("a", char) or apart("\u03b1", char)):
            now = 0
        elif now == 0 or apart(known[now - 1], char):
            now = next((i for i, other in enumerate(known, 1) if not apart(other, char)), len(known) + 1)
            known += [char] if now > len(known) else []
        if not changes or changes[-1] & 255 != now:
            changes.append(cp << 8 | now)
    assert len(known) < 256
    return changes


def rows(values, width, form):
    for i in range(0, len(values), width):
        yield "    " + ", ".join(form % v for v in values[i:i + width]) + ","


def main():
    words = [1 << 12 if 0xD800 <= cp < 0xE000 else bits(cp) for cp in range(0x110000)]
    classes = sorted(set(words))
    code = {w: i for i, w in enumerate(classes)}
    assert len(classes) <= 256
    blocks, index = [], []
    seen = {}
    for start in range(0, 0x110000, BLOCK):
        block = tuple(code[w] for w in words[start:start + BLOCK])
        if block not in seen:
            seen[block] = len(blocks)
            blocks.append(block)
        index.append(seen[block])
    flat = [v for b in blocks for v in b]
    news = []  # ranges of one class word, assigned after the Unicode version of this Python (14.0)
    for cp in range(0x110000):
        if unicodedata.category(chr(cp)) == "Cn" and unicodedata2.category(chr(cp)) != "Cn":
            if news and news[-1][1] == cp - 1 and words[cp] == words[cp - 1]:
                news[-1][1] = cp
            else:
                news.append([cp, cp])
    changes = scripts()
    out = ["/* unicode.tab.c - made by gen_unicode.py from Unicode 16.0; do not edit. */", "/* clang-format off */",
           '#include "tok/unicode.h"', "",
           "const uint32_t uni_ascii[128] = {", *rows(words[:128], 16, "0x%05x"), "};",
           f"const uint32_t uni_classes[{len(classes)}] = {{", *rows(classes, 16, "0x%05x"), "};",
           f"const uint16_t uni_index[{len(index)}] = {{", *rows(index, 24, "%d"), "};",
           f"const uint8_t uni_blocks[{len(flat)}] = {{", *rows(flat, 32, "%d"), "};",
           f"const size_t uni_n_news = {len(news)};",
           f"const uint32_t uni_news[{len(news)}][2] = {{", *rows(["{0x%x, 0x%x}" % (a, b) for a, b in news], 8, "%s"), "};",
           f"const size_t uni_n_scripts = {len(changes)};",
           f"const uint32_t uni_scripts[{len(changes)}] = {{", *rows(changes, 16, "0x%x"), "};"]
    sys.stdout.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
