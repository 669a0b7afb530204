#!/usr/bin/env python3
"""The commands of the binary, as a person uses them. argv[1] is the build folder; needs the default model, else skips."""
import json
import os
import pathlib
import pty
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build/release")
RADISH = BUILD / "radish"
MODEL = pathlib.Path(os.environ.get("RADISH_MODEL") or
                     os.path.expanduser("~/.cache/radish/models/SmolLM2-135M-Instruct.Q4_1.gguf"))
PRESET = os.environ.get("RADISH_PRESET", "release")
SLOWEST = PRESET in ("tsan", "aarch64")  # about a second a token
SLOW = SLOWEST or PRESET == "asan"


def radish(*args, text=None, fails=False):
    p = subprocess.run([RADISH, *map(str, args)], input=text, capture_output=True, text=True, timeout=600)
    assert (p.returncode == 1) == fails and p.returncode in (0, 1), (args, p.returncode, p.stderr[-2000:])
    return p.stderr if fails else p.stdout


def test_help():
    out = radish("--help")
    assert len(out.splitlines()) <= 24 and "perplexity" in out
    for command in "serve chat run bench tokenize perplexity inspect".split():
        assert "--" in radish(command, "--help"), command


def test_options_of_sglang():
    """Its launch lines work: what changes nothing is taken with a warning, what cannot be honoured is refused."""
    gone = ("-m", "no/such")
    words = radish("serve", *gone, "--enable-trace", "--cuda-graph-bs", "1", "--tp-size", "1", "--nnodes=1", fails=True)
    assert "--enable-trace has no effect" in words and "--cuda-graph-bs has no effect" in words and "no/such" in words, words
    assert "--tp-size 2: needs 1" in radish("serve", *gone, "--tensor-parallel-size", "2", fails=True).replace("tensor-parallel", "tp")
    for option in ["--quantization=fp8", "--enable-lora"]:
        assert "is not supported here" in radish("serve", *gone, option, fails=True)


def test_wrong_words():
    assert "did you mean --port?" in radish("serve", "-m", MODEL, "--prot", "1", fails=True)
    assert "did you mean `radish serve`" in radish("serv", fails=True)
    assert "needs a whole number" in radish("serve", "-m", MODEL, "--port", "x", fails=True)
    assert "needs a value" in radish("serve", "--port", fails=True)
    assert "no/such" in radish("run", "-m", "no/such", "-p", "x", fails=True)
    assert "lpm, fcfs or lof" in radish("run", "-m", MODEL, "-p", "x", "--schedule-policy", "best", fails=True)
    assert "no fp8 caches" in radish("run", "-m", MODEL, "-p", "x", "--kv-cache-dtype", "fp8_e5m2", fails=True)


def test_run():
    n = 4 if SLOWEST else 12
    one = radish("run", "-m", MODEL, "--temperature", 0, "-n", n, "--raw", "-p", "The capital of France is")
    assert one.startswith(" Paris"), one
    two = radish("run", "-m", MODEL, "--temperature", 0, "-n", n, "--raw", text="The capital of France is")
    assert one == two
    short = radish("run", "-m", MODEL, "--temperature", 0, "-n", 2, "--raw", "-p", "The capital of France is", "--kv-cache-dtype", "int8")
    assert short.startswith(" Paris"), short
    sampled = [radish("run", "-m", MODEL, "--temperature", 1.2, "--seed", 5, "-n", n, "-p", "Tell me a story") for _ in range(2)]
    assert sampled[0] == sampled[1]
    assert radish("run", "-m", MODEL, "--temperature", 0, "-n", 2 * n, "-p", "What is 2+2?").strip()


def test_tokenize():
    text = "Hello  world!\n\tΓειά σου 你好 🙂 <|im_start|>"
    ids = json.loads(radish("tokenize", "-m", MODEL, text=text))
    assert ids[-1] == 1, ids
    assert radish("tokenize", "-m", MODEL, "--decode", text=json.dumps(ids)) == text
    assert json.loads(radish("tokenize", "-m", MODEL, "--no-parse-special", text=text))[-1] != 1
    assert "--decode needs" in radish("tokenize", "-m", MODEL, "--decode", text="[1, x]", fails=True)


def test_perplexity():
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as f:
        f.write("It was the best of times, it was the worst of times, it was the age of wisdom. " * 20)
        f.flush()
        last = radish("perplexity", "-m", MODEL, "--context-length", 64, f.name).splitlines()[-1]
        assert last.startswith("ppl ") and 1 < float(last[4:]) < 20, last
        assert "at least two windows" in radish("perplexity", "-m", MODEL, "--context-length", 4096, f.name, fails=True)


def test_bench():
    with tempfile.TemporaryDirectory() as d:
        lengths, out = pathlib.Path(d, "lengths.tsv"), pathlib.Path(d, "out.json")
        rows = [(20, 2), (7, 3)] if SLOWEST else [(20, 5), (100, 3), (7, 9)]
        lengths.write_text("".join(f"{i}\t{o}\n" for i, o in rows))
        radish("bench", "offline", "-m", MODEL, "--lengths", lengths, "--json", out)
        row = json.loads(out.read_text())
        assert row["input_tokens"] == sum(i for i, _ in rows) and row["output_tokens"] == sum(o for _, o in rows)
        assert row["wall_s"] > 0 and row["output_tok_s"] > 0
        radish("bench", "latency", "-m", MODEL, "--batch", "1,3", "--input-len", 12, "--output-len", 4, "--prefill", "40",
               "--runs", 1, "--json", out)
        rows = json.loads(out.read_text())
        assert [r["kind"] for r in rows] == ["decode", "decode", "prefill"] and rows[1]["batch"] == 3
        assert all(r["tok_s"] > 0 for r in rows)
        assert all("profile" not in r for r in rows)
        guessed = radish("bench", "offline", "-m", MODEL, "--lengths", lengths, "--speculative-algorithm", "NGRAM",
                         "--json", out)
        told = json.loads(out.read_text())
        assert 0 <= told["accepted_tokens"] <= told["drafted_tokens"]
        assert ("guesses" in guessed) == (told["drafted_tokens"] > 0)
        out_text = radish("bench", "offline", "-m", MODEL, "--lengths", lengths, "--profile", "--json", out)
        profile = json.loads(out.read_text())["profile"]
        parts = profile["decode"]
        assert parts["passes"] >= (2 if SLOWEST else 8) and "products" in out_text, profile
        shares = sum(parts[k] for k in ("products", "attention", "other", "sampling"))
        assert 0.5 < shares <= 1.001 and parts["products"] > parts["sampling"], parts
        assert profile["prefill"]["passes"] >= 1, profile
        lengths.write_text("20 5\n")
        assert "line 1" in radish("bench", "offline", "-m", MODEL, "--lengths", lengths, fails=True)


def test_bench_device():
    with tempfile.TemporaryDirectory() as d:
        out = pathlib.Path(d, "out.json")
        text = radish("bench", "device", "--device", "cpu", "--json", out)
        speeds = json.loads(out.read_text())["speeds"]
        assert "read memory" in text and speeds[0]["gb_s"] > 0.1 and speeds[1]["gflop_s"] > 0.1, speeds
        assert "there is none here" in radish("bench", "device", "--device", "abacus", fails=True)
    text = radish("bench", "latency", "-m", MODEL, "--batch", "1", "--output-len", 4, "--prefill", "20", "--runs", 1)
    assert "% of this device's" in text, text


def test_bench_online():
    """Streams of a running server, counted and timed; a refusal is told with its reason."""
    from server import Server
    with tempfile.TemporaryDirectory() as d:
        lengths, out = pathlib.Path(d, "lengths.tsv"), pathlib.Path(d, "out.json")
        lengths.write_text("20\t5\n100\t3\n7\t9\n")
        server = Server(RADISH.parent)
        for path in ("", "/v1/completions"):
            radish("bench", "online", "--url", server.url + path, "--lengths", lengths, "--rate", 50, "--num", 5, "--json", out)
            got = json.loads(out.read_text())
            assert got["done"] == 5 and got["failed"] == 0 and got["output_tok_s"] > 0, got
            assert 0 < got["ttft_ms"]["median"] <= got["e2e_ms"]["median"] and got["itl_ms"]["p99"] > 0, got
        lengths.write_text("20\t9999999\n")
        text = radish("bench", "online", "--url", server.url, "--lengths", lengths, fails=True)
        server.stop()
        text = radish("bench", "online", "--url", server.url, "--lengths", lengths, fails=True)
        assert "usage" in radish("bench", "online", "--url", "ftp://x", "--lengths", lengths, fails=True)


def test_chat():
    """Through a pseudo terminal, as typed: line editing, a command, an answer, an unknown command, the end."""
    try:
        pid, fd = pty.fork()
    except OSError as e:  # no /dev/pts: a bare chroot
        print(f"SKIPPED: radish chat in a terminal: {e}")
        return
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(RADISH, [str(RADISH), "chat", "-m", str(MODEL), "--temperature", "0", "-n", "12"])
    seen = b""

    def wait(what, seconds=120):
        nonlocal seen
        end = time.time() + seconds
        while what not in seen:
            assert time.time() < end, (what, seen)
            seen += os.read(fd, 4096)
        seen = seen[seen.index(what) + len(what):]

    wait(b"/help shows")
    wait(b"> ")
    os.write(fd, b"What is 2+2\x7f2?\n")
    wait(b"4")
    wait(b"> ")
    os.write(fd, b"/stats\n")
    wait(b"prompt tokens")
    wait(b"> ")
    os.write(fd, b"/clera\n")
    wait(b"did you mean /clear")
    os.write(fd, b"/quit\n")
    end = time.time() + 60
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        assert time.time() < end
        try:
            os.read(fd, 4096)
        except OSError:
            pass
    os.close(fd)


def main():
    if not MODEL.is_file():
        print("SKIPPED: no default model; `make model` fetches it")
        sys.exit(77)
    tests = [f for name, f in sorted(globals().items()) if name.startswith("test_")]
    failed = []
    for test in tests:
        if SLOW and test in (test_perplexity, test_chat):
            continue
        try:
            test()
            print(f"[       OK ] {test.__name__}")
        except Exception as e:  # a test must not hide the others
            failed.append(test.__name__)
            print(f"[  FAILED  ] {test.__name__}: {e!r}")
    print(f"[  PASSED  ] {len(tests) - len(failed)} test(s).")
    if failed:
        print(f"[  FAILED  ] {len(failed)} test(s).")
    sys.exit(bool(failed))


main()
