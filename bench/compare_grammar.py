#!/usr/bin/env python3
"""Constrained decoding beside llguidance and XGrammar, from their Python packages, over a folder of MaskBench files.

    pip install llguidance xgrammar tiktoken
    taskset -c 0 python3 bench/compare_grammar.py --radish build/release/radish --tokenizer llama3-tokenizer.model FOLDER

Every file's schema is compiled and its instances, written compactly, are held against it token by token by each engine in turn: same
vocabulary (a tiktoken file with Llama 3's pattern), same token ids, one core, one file after the other by all three. compile is compiling
and the first mask; mask is a mask and the acceptance of its token. Radish times itself in C; the others are timed from Python, so
theirs hold a call's own cost too (printed: an empty call). Compiling by Radish is always by the wall. A file passes if it compiles, its valid instances are accepted to
the end and its invalid ones are not. Each engine has its defaults, but XGrammar's strict mode is off, as it refuses what a schema allows;
a compilation by it that takes longer than --patience runs on in a process of its own and is ended there.
"""
import argparse
import base64
import gc
import json
import multiprocessing
import os
import subprocess
import time

PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
N_SPECIAL = 256
clock = time.perf_counter_ns


def encoding(path):
    import tiktoken
    ranks = {base64.b64decode(p): int(i) for p, i in (line.split() for line in open(path, "rb") if line.strip())}
    names = ["<|begin_of_text|>", "<|end_of_text|>"] + [f"<|reserved_{i}|>" for i in range(2, N_SPECIAL)]
    names[9] = "<|eot_id|>"
    return tiktoken.Encoding("llama3", pat_str=PATTERN, mergeable_ranks=ranks,
                             special_tokens={name: len(ranks) + i for i, name in enumerate(names)})


class Score:
    def __init__(self, name):
        self.name, self.compile_us, self.mask_us = name, [], []
        self.passed = self.refused = self.slow = self.valid_refused = self.invalid_accepted = 0


class Radish:
    name = "Radish"

    def __init__(self, args, enc):
        self.cpu = args.clock == "cpu"
        self.p = subprocess.Popen([args.radish, "grammar-check", "--tokenizer", args.tokenizer], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)

    def run(self, schema, texts, ids, score):
        line = json.dumps({"schema": schema, "instances": texts, "times": "cpu" if self.cpu else True}, ensure_ascii=False)
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()
        out = json.loads(self.p.stdout.readline())
        if not out["ok"]:
            return None
        score.compile_us.append(out["compile_us"])
        for r in out["results"]:
            score.mask_us += r["mask_us"]
        return [r["accepted"] for r in out["results"]]


class Timed:
    """An engine with fill (mask into self.words) and commit (a token, whether it was accepted)."""

    def follow(self, start, ids, score):
        now = clock
        m = start()
        for t in ids:
            t0 = now()
            self.fill(m)
            t1 = now()
            allowed = self.words[0, t >> 5] >> (t & 31) & 1
            t2 = now()
            good = allowed and self.commit(m, t)
            score.mask_us.append((t1 - t0 + now() - t2) / 1e3)
            if not good:
                return False
        t0 = now()
        self.fill(m)
        score.mask_us.append((now() - t0) / 1e3)
        return any(self.words[0, e >> 5] >> (e & 31) & 1 for e in self.ends)


class LLGuidance(Timed):
    name = "llguidance"

    def __init__(self, args, enc):
        import llguidance
        import llguidance.numpy as np
        import llguidance.tiktoken
        self.ll, self.np = llguidance, np
        self.ends = [len(enc._mergeable_ranks) + 1, len(enc._mergeable_ranks) + 9]
        self.tok = llguidance.tiktoken.lltokenizer_from_encoding(enc, n_vocab=enc.n_vocab, eos_token=self.ends,
                                                                 slices=llguidance.LLTokenizer.json_slices())
        self.words = np.allocate_token_bitmask(1, enc.n_vocab)
        self.address, self.bytes = self.words.ctypes.data, self.words.size * 4

    def fill(self, m):
        m.unsafe_compute_mask_ptr(self.address, self.bytes)

    def commit(self, m, t):
        return m.consume_token(t)

    def run(self, schema, texts, ids, score):
        t0 = clock()
        m = self.ll.LLMatcher(self.tok, self.ll.LLMatcher.grammar_from_json_schema(json.dumps(schema)), log_level=0)
        if m.is_error():
            return None
        self.fill(m)
        score.compile_us.append((clock() - t0) / 1e3)
        return [self.follow(m.deep_copy, x, score) for x in ids]


def compile_aside(pipe, args):
    """XGrammar's compiler in a process that can be ended: says when it has compiled, so that only what is known to end is run here."""
    os.sched_setaffinity(0, os.sched_getaffinity(os.getppid()))
    engine = XGrammar(args, encoding(args.tokenizer), aside=False)
    while True:
        schema = pipe.recv()
        try:
            engine.compile(schema)
            pipe.send(True)
        except Exception:  # pylint: disable=broad-except
            pipe.send(False)


class XGrammar(Timed):
    name = "XGrammar"

    def __init__(self, args, enc, aside=True):
        import numpy
        import xgrammar
        self.xgr, self.args = xgrammar, args
        n = len(enc._mergeable_ranks)
        vocab = [b""] * enc.n_vocab
        for text, i in enc._mergeable_ranks.items():
            vocab[i] = text
        for text, i in enc._special_tokens.items():
            vocab[i] = text.encode()
        self.ends = [n + 1, n + 9]
        info = xgrammar.TokenizerInfo(vocab, xgrammar.VocabType.RAW, vocab_size=enc.n_vocab, stop_token_ids=self.ends)
        self.compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        self.words = numpy.full((1, (enc.n_vocab + 31) // 32), -1, dtype=numpy.int32)
        self.aside = None
        if aside:
            self.start_aside()

    def start_aside(self):
        here, there = multiprocessing.Pipe()
        self.aside = multiprocessing.Process(target=compile_aside, args=(there, self.args), daemon=True)
        self.pipe = here
        self.aside.start()

    def compile(self, schema):
        return self.compiler.compile_json_schema(json.dumps(schema), strict_mode=False)

    def ends_in_time(self, schema, score):
        self.pipe.send(schema)
        if not self.pipe.poll(self.args.patience):
            self.aside.kill()
            self.aside.join()
            self.start_aside()
            score.slow += 1
            score.compile_us.append(self.args.patience * 1e6)
            return False
        try:
            return self.pipe.recv()
        except EOFError:  # it died
            self.start_aside()
            return False

    def fill(self, m):
        m.fill_next_token_bitmask(self.words)

    def commit(self, m, t):
        return m.accept_token(t)

    def run(self, schema, texts, ids, score):
        if not self.ends_in_time(schema, score):
            return None
        t0 = clock()
        try:
            grammar = self.compile(schema)
            m = self.xgr.GrammarMatcher(grammar)
        except RuntimeError:
            return None
        self.fill(m)
        score.compile_us.append((clock() - t0) / 1e3)
        return [self.follow(lambda: self.xgr.GrammarMatcher(grammar), x, score) for x in ids]


def run_file(path, engines, scores, enc):
    file = json.load(open(path, encoding="utf-8"))
    texts = [t["data"] for t in file["tests"]]
    ids = [enc.encode_ordinary(json.dumps(t, ensure_ascii=False, separators=(",", ":"))) for t in texts]
    for engine, score in zip(engines, scores):
        out = engine.run(file["schema"], texts, ids, score)
        if out is None:
            score.refused += 1
            continue
        wrong = [(t["valid"], got) for t, got in zip(file["tests"], out) if t["valid"] != got]
        score.valid_refused += sum(valid for valid, _ in wrong)
        score.invalid_accepted += sum(got for _, got in wrong)
        score.passed += not wrong


def at(sorted_values, q):
    return sorted_values[min(int(len(sorted_values) * q), len(sorted_values) - 1)] if sorted_values else 0.0


def print_row(name, values):
    v = sorted(values)
    cells = [sum(v) / max(len(v), 1)] + [at(v, q) for q in (0.5, 0.9, 0.95, 0.99, 0.999)] + [v[-1] if v else 0.0]
    print(f"| {name} | {len(v)} | " + " | ".join(f"{x:.1f}" for x in cells) + " |")


def print_table(scores, n_files, call_us):
    print("\n| us | n | mean | p50 | p90 | p95 | p99 | p99.9 | max |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for s in scores:
        print_row(f"mask, {s.name}", s.mask_us)
    for s in scores:
        print_row(f"compile + first mask, {s.name}", s.compile_us)
    print("\n| | files that pass | refused when compiled | too slow to compile | valid instances refused | invalid accepted |")
    print("|---|--:|--:|--:|--:|--:|")
    for s in scores:
        print(f"| {s.name} | {s.passed} of {n_files} ({100 * s.passed / max(n_files, 1):.1f} %) | {s.refused - s.slow} | {s.slow} | "
              f"{s.valid_refused} | {s.invalid_accepted} |")
    print(f"\na call from Python: {call_us:.2f} us")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder")
    p.add_argument("--radish", default="build/release/radish")
    p.add_argument("--tokenizer", required=True)
    p.add_argument("--engines", default="radish,llguidance,xgrammar")
    p.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: the thread's own time, where others are busy too")
    p.add_argument("--every", type=int, default=1, help="only each n-th file")
    p.add_argument("--patience", type=float, default=10.0, help="seconds for a compilation by XGrammar")
    args = p.parse_args()
    global clock  # pylint: disable=global-statement
    if args.clock == "cpu":
        clock = time.thread_time_ns
    known = {"radish": Radish, "llguidance": LLGuidance, "xgrammar": XGrammar}
    enc = encoding(args.tokenizer)
    engines = [known[e](args, enc) for e in args.engines.split(",")]
    scores = [Score(e.name) for e in engines]
    files = sorted(f for f in os.listdir(args.folder) if f.endswith(".json"))[::args.every]
    gc.disable()
    for i, f in enumerate(files):
        run_file(os.path.join(args.folder, f), engines, scores, enc)
        if i % 100 == 99:
            gc.collect()
            print(f"{i + 1} files", flush=True)
    t0 = time.perf_counter_ns()
    for _ in range(10000):
        enc.n_vocab.bit_length()
    print_table(scores, len(files), (time.perf_counter_ns() - t0) / 1e7)


if __name__ == "__main__":
    main()
