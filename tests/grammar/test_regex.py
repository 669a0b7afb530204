"""Regular expressions through `radish grammar-check` against Python's re.fullmatch, on random patterns and random texts."""
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile

BUILD = sys.argv[1]
ALPHABET = list("abcAB01 _-.,\"\\{}\n") + ["é", "ß", "日", "😀"]


def byte_alphabet():
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    out, n = {}, 0
    for b in range(256):
        if b in keep:
            out[b] = chr(b)
        else:
            out[b] = chr(256 + n)
            n += 1
    return out


def tokenizer(path):
    """A byte-level BPE with a few merges, so that tokens run over the ends of what a pattern tells apart."""
    a = byte_alphabet()
    vocab = {a[b]: b for b in range(256)}
    merges = []
    for x, y in ["ab", "bc", "aa", "01", "00", "\"a", "a\"", ",\"", " a", "__", "AB", "{}", ".,"]:
        left, right = a[ord(x)], a[ord(y)]
        vocab[left + right] = len(vocab)
        merges.append([left, right])
    for x, y in [("é",) * 2]:
        b = [a[c] for c in x.encode()]
        vocab[b[0] + b[1]] = len(vocab)
        merges.append([b[0], b[1]])
    end = len(vocab)
    with open(path, "w") as f:
        json.dump({"version": "1.0", "added_tokens": [{"id": end + i, "content": text, "special": True, "single_word": False,
                                                       "lstrip": False, "rstrip": False, "normalized": False}
                                                      for i, text in enumerate(["</s>", "[CALL]"])],
                   "normalizer": None, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
                   "post_processor": None, "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
                   "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                             "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": merges}}, f)
    with open(os.path.join(os.path.dirname(path), "tokenizer_config.json"), "w") as f:
        json.dump({"eos_token": "</s>"}, f)


def a_class(r):
    members = []
    for _ in range(r.randint(1, 4)):
        kind = r.randrange(6)
        if kind == 0:
            members.append(r.choice(["a-c", "0-9", "A-B", "\\x20-\\x40", "à-ÿ"]))
        elif kind == 1:
            members.append(r.choice(["\\d", "\\w", "\\D", "\\W", "\\n", "\\\\", "\\]", "\\-"]))
        else:
            members.append(re.escape(r.choice(ALPHABET)))
    return "[" + r.choice(["", "", "^"]) + "".join(members) + "]"


def atom(r, depth):
    kind = r.randrange(10)
    if kind < 4 or depth == 0:
        return re.escape(r.choice(ALPHABET))
    if kind < 6:
        return a_class(r)
    if kind == 6:
        return r.choice([".", "\\d", "\\w", "\\D", "\\W"])
    return r.choice(["(", "(?:", "(?P<n%d>" % r.randrange(10 ** 9)]) + alternatives(r, depth - 1) + ")"


def piece(r, depth):
    p = atom(r, depth)
    q = r.randrange(12)
    if q == 0:
        p += "*"
    elif q == 1:
        p += "+"
    elif q == 2:
        p += "?"
    elif q == 3:
        m = r.randrange(4)
        p += r.choice(["{%d}" % m, "{%d,}" % m, "{%d,%d}" % (m, m + r.randrange(4)), "{,%d}" % (m + 1)])
    if q < 4 and r.randrange(4) == 0:
        p += "?"
    return p


def alternatives(r, depth):
    return "|".join("".join(piece(r, depth) for _ in range(r.randrange(1, 5))) for _ in range(r.choice([1, 1, 1, 2, 3])))


def pattern(r):
    p = alternatives(r, 3)
    if r.randrange(6) == 0:
        p = "^" + p
    if r.randrange(6) == 0:
        p = p + "$"
    if r.randrange(12) == 0:
        p = "(?i)" + p
    return p


def texts(r, p):
    """Random texts, and texts that the pattern nearly makes: parts of it without its operators."""
    for _ in range(6):
        yield "".join(r.choice(ALPHABET) for _ in range(r.randrange(8)))
    plain = [c for c in p if c in ALPHABET] or ["a"]
    for _ in range(10):
        yield "".join(r.choice(plain) for _ in range(r.randrange(10)))
    for _ in range(8):
        yield sample(r, p)


def sample(r, p):
    """A text that should match, by walking Python's own parse of the pattern."""
    import warnings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import re._parser as parser
        except ImportError:
            import sre_parse as parser
    return "".join(walk(r, parser.parse(p, re.ASCII)))


def walk(r, parsed):
    for op, arg in parsed:
        name = str(op)
        if name == "LITERAL":
            yield chr(arg)
        elif name == "NOT_LITERAL":
            yield r.choice([c for c in ALPHABET if c != chr(arg)])
        elif name == "ANY":
            yield r.choice([c for c in ALPHABET if c != "\n"])
        elif name == "IN":
            yield one_of(r, arg)
        elif name == "BRANCH":
            yield from walk(r, r.choice(arg[1]))
        elif name == "SUBPATTERN":
            yield from walk(r, arg[-1])
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            low, high, what = arg
            for _ in range(r.randint(low, min(int(high), low + 3))):
                yield from walk(r, what)


def one_of(r, members):
    ok = []
    for c in ALPHABET + ["x", "5", "z"]:
        hit, negate = False, False
        for op, arg in members:
            name = str(op)
            if name == "NEGATE":
                negate = True
            elif name == "LITERAL":
                hit |= ord(c) == arg
            elif name == "RANGE":
                hit |= arg[0] <= ord(c) <= arg[1]
            elif name == "CATEGORY":
                what = str(arg)
                w = {"DIGIT": c.isascii() and c.isdigit(), "WORD": c.isascii() and (c.isalnum() or c == "_")}["DIGIT" if "DIGIT" in what else "WORD"]
                hit |= w != ("NOT" in what)
        if hit != negate:
            ok.append(c)
    return r.choice(ok or ["a"])


class TooLong(Exception):
    pass


def expire(*_):
    raise TooLong


def matches(c, text):
    """re.fullmatch, None if its backtracking takes too long."""
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        hit = c.fullmatch(text) is not None
        signal.setitimer(signal.ITIMER_REAL, 0)
        return hit
    except TooLong:
        return None


def main():
    signal.signal(signal.SIGALRM, expire)
    r = random.Random(int(os.environ.get("SEED", "1")))
    cases = []
    while len(cases) < int(os.environ.get("CASES", "600")):
        p = pattern(r)
        try:
            c = re.compile(p, re.ASCII)
        except re.error:
            continue
        cases.append((p, c, list(dict.fromkeys(t for t in texts(r, p) if len(t) < 20))))
    with tempfile.TemporaryDirectory() as d:
        tokenizer(os.path.join(d, "tokenizer.json"))
        lines = "".join(json.dumps({"regex": p, "texts": t}) + "\n" for p, _, t in cases)
        out = subprocess.run([os.path.join(BUILD, "radish"), "grammar-check", "--tokenizer", os.path.join(d, "tokenizer.json")],
                             input=lines, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(out) == len(cases), (len(out), len(cases))
    wrong = matched = n = 0
    for (p, c, ts), line in zip(cases, out):
        got = json.loads(line)
        if not got["ok"]:
            empty = "nothing can satisfy" in got["error"] and not any(matches(c, t) for t in ts)
            anchor = "anchor inside" in got["error"]
            if not empty and not anchor:
                print("refused", repr(p), got["error"])
                wrong += 1
            continue
        for t, res in zip(ts, got["results"]):
            want = matches(c, t)
            if want is None:
                continue
            matched += want
            n += 1
            if want != res["accepted"]:
                print("pattern", repr(p), "text", repr(t), "re:", want, "radish:", res)
                wrong += 1
    assert wrong == 0, f"{wrong} wrong"
    assert matched > n // 5, (matched, n)
    print(f"{len(cases)} patterns, {n} texts, {matched} of them match")
    print("[  PASSED  ] 1 test(s).")


if __name__ == "__main__":
    main()
