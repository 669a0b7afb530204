#!/usr/bin/env python3
"""`radish bench traffic`: the scheduler on the simulated device, as a person asks it. argv[1] is the build folder."""
import json
import pathlib
import subprocess
import sys
import tempfile

BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build/release").resolve()
HERE = pathlib.Path(__file__).resolve().parent


def traffic(*args, lines="100\t20\n30\t50\n7\t1\n", fails=False):
    with tempfile.TemporaryDirectory() as folder:
        lengths, out = pathlib.Path(folder, "lengths.tsv"), pathlib.Path(folder, "out.json")
        lengths.write_text(lines)
        p = subprocess.run([BUILD / "radish", "bench", "traffic", "-m", HERE / "data" / "tiny", "--lengths", lengths, "--json", out,
                            *map(str, args)], capture_output=True, text=True, timeout=120)
        assert p.returncode == (1 if fails else 0), (args, p.stderr)
        return p.stderr if fails else json.loads(out.read_text())


def test_figures():
    j = traffic("--num", 300, "--verify")
    assert (j["requests"], j["input_tokens"], j["output_tokens"]) == (300, 13700, 7100)
    assert abs(j["output_tok_s"] - 7100 / j["wall_s"]) < 1e-3 * j["output_tok_s"]
    for name in "first_token_s", "between_tokens_s", "request_s":
        assert 0 < j[name]["p50"] <= j[name]["p90"] <= j[name]["p99"] < j["wall_s"] * 1.02, j


def test_same_again():
    one, two = (traffic("--num", 60, "--rate", 500, "--hide-lengths") for _ in range(2))
    for j in one, two:
        del j["real_s"], j["sched_us"]
    assert one == two


def test_rate():
    fast, slow = traffic("--num", 90, "--rate", 1000), traffic("--num", 90, "--rate", 10)
    assert 5 < slow["wall_s"] < 15 and fast["wall_s"] < 1, (fast, slow)
    assert slow["steps"] > fast["steps"] and slow["rows"] < fast["rows"]
    assert slow["request_s"]["p50"] < fast["request_s"]["p50"]


def test_settings():
    lines = "".join(f"50\t{n}\n" for n in (40, 40, 40, 40, 200))  # the long one comes last
    fcfs, lof = (traffic("--max-running-requests", 2, "--schedule-policy", p, lines=lines) for p in ("fcfs", "lof"))
    assert lof["wall_s"] < fcfs["wall_s"] * 0.9
    mixed, apart = (traffic("--num", 300, "--rate", 3000, *more) for more in ((), ("--prefill-first",)))
    assert apart["steps"] > mixed["steps"]


def test_wrong():
    assert "lpm, fcfs or lof" in traffic("--schedule-policy", "best", fails=True)
    assert "does not fit the context" in traffic(lines="5000\t1\n", fails=True)
    assert "line 2" in traffic(lines="5\t1\nx\n", fails=True)
    assert "is empty" in traffic(lines="", fails=True)
    p = subprocess.run([BUILD / "radish", "bench", "traffic"], capture_output=True, text=True)
    assert p.returncode == 1 and "--lengths" in p.stderr


for name, test in list(globals().items()):
    if name.startswith("test_"):
        test()
        print("ok", name)
