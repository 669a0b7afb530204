#!/usr/bin/env python3
"""Ids and decoded texts equal those of Hugging Face `tokenizers`, for small tokenizers of every kind trained on the spot:
every code point, random Unicode, pieces of real words, added tokens everywhere. Usage: test_hf.py BUILD_DIR [NAME...]
RADISH_THOROUGH=1 tries every code point with every kind of tokenizer (minutes); without it, a sample of them."""
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

try:
    import tokenizers
    import tiny
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

THOROUGH = os.environ.get("RADISH_THOROUGH") == "1"
TOOL = pathlib.Path(sys.argv[1]) / "bin" / "tok_test_golden"
# Normalizers of the library use older tables than its splits; for these kinds only long-assigned characters are tried.
OLD_TABLES = {"qwen2", "qwen35", "unigram", "unigram_words", "subword", "bert", "bert_cased", "clip", "ctc"}


def texts(r, old):
    """One tokenizer's texts: all code points in groups with letters between, then random mixtures."""
    known = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and not (old and is_new(c))]
    for i in range(0, len(known), 61):
        if not THOROUGH and r.random() < (0.5 if known[i] < 0x3000 else 0.98):
            continue
        yield "".join(chr(c) + r.choice(["", "", "a", " ", "1", "\n", "B "]) for c in known[i:i + 61])
    words = [w for line in tiny.CORPUS for w in line.split(" ")] + [a.content for a in tiny.SPECIALS] + [" ", "  ", "\n", "\t", "'s", "<0x41>"]
    pool = [[c for c in known if c < top] for top in (0x80, 0x250, 0x3000, 0x20000)]
    for i in range(1500 if THOROUGH else 200):
        parts = [r.choice(words) if r.random() < 0.6 else "".join(chr(r.choice(r.choice(pool))) for _ in range(r.randrange(4))) for _ in range(r.randrange(1, 12))]
        yield r.choice(["", " "]).join(parts)


def is_new(c):
    """Assigned after Unicode 9, roughly; or not at all."""
    import unicodedata
    return unicodedata.category(chr(c)) == "Cn" or c in NEW


def new_characters():
    """Code points that the library's normalizers treat otherwise than this Python does: their tables differ in age."""
    import unicodedata
    forms = {f: getattr(tokenizers.normalizers, f)() for f in ("NFC", "NFD", "NFKC", "NFKD")}
    lower = tokenizers.normalizers.Lowercase()
    new = set()
    for c in range(0x80, 0x110000):
        s = chr(c)
        if 0xD800 <= c < 0xE000:
            continue
        if unicodedata.combining(s) or any(f.normalize_str(s) != unicodedata.normalize(n, s) for n, f in forms.items()):
            if any(f.normalize_str("a" + s + "\u0301\u0323") != unicodedata.normalize(n, "a" + s + "\u0301\u0323") for n, f in forms.items()):
                new.add(c)
        if lower.normalize_str(s) != s.lower():
            new.add(c)
    return new


NEW = new_characters()


def ours(what, path, lines):
    made = subprocess.run([TOOL, what, path], input="".join(json.dumps(x) + "\n" for x in lines), capture_output=True, text=True, check=True)
    return [json.loads(line) for line in made.stdout.split("\n") if line]


def theirs(t, text):
    special = t.encode(text, add_special_tokens=True).ids
    t.encode_special_tokens = True
    plain = t.encode(text, add_special_tokens=False).ids
    t.encode_special_tokens = False
    return [plain, special]


def tokenizers_of(folder):
    """Name, reference, and the file that we read: of every kind as tokenizer.json, and of every family as GGUF."""
    for name, build in tiny.builders().items():
        t, path = build(), folder / f"{name}.json"
        path.write_text(t.to_str())
        yield name, t, path
    yield from ((f"{name}.gguf", t, path) for name, t, path in tiny.family_files(folder))


def check(name, t, path, seed):
    lines = list(texts(random.Random(seed), name in OLD_TABLES))
    bad = 0
    got = ours("encode", path, lines)
    assert len(got) == len(lines)
    for text, mine in zip(lines, got):
        want = theirs(t, text)
        if mine != want and (bad := bad + 1) < 3:
            print(f"{name}: {json.dumps(text)}\n  want {want}\n  got  {mine}")
    ids = [w for w in (theirs(t, s)[1] for s in lines[-500:]) if w]
    for i, mine in zip(ids, ours("decode", path, ids)):
        want = t.decode(i, skip_special_tokens=False)
        if mine != want and (bad := bad + 1) < 3:
            print(f"{name}: decode {i}\n  want {want!r}\n  got  {mine!r}")
    return len(lines) + len(ids), bad


def main():
    n = bad = 0
    only = sys.argv[2:]
    with tempfile.TemporaryDirectory() as folder:
        for seed, (name, t, path) in enumerate(tokenizers_of(pathlib.Path(folder))):
            if only and name not in only:
                continue
            more, wrong = check(name, t, path, seed)
            n, bad = n + more, bad + wrong
            if wrong:
                print(f"{name}: {wrong} of {more} differ")
    print(n, "texts")
    print("[  FAILED  ] 1 test(s)." if bad else "[  PASSED  ] 1 test(s).")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
