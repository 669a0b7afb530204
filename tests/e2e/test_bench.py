#!/usr/bin/env python3
"""`radish bench latency` on the simulated device: lengths that the model was not made for. argv[1] is the build folder."""
import json
import pathlib
import subprocess
import sys
import tempfile

BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build/release").resolve()
TINY = pathlib.Path(__file__).resolve().parents[1] / "engine" / "data" / "tiny"  # made for 4,096 tokens


def latency(*args, fails=False):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "out.json")
        p = subprocess.run([BUILD / "radish", "bench", "latency", "-m", TINY, "--load-format", "dummy", "--device", "sim", "--batch", "1",
                            "--skip-tokenizer-init", "--runs", "1", "--json", out, *map(str, args)], capture_output=True, text=True,
                           timeout=120)
        assert p.returncode == (1 if fails else 0), (args, p.stderr)
        return p.stderr if fails else json.loads(out.read_text())


def test_lengths():
    rows = latency("--prefill", "512,16384,32768", "--input-len", 5000)
    assert [r["input_len"] for r in rows] == [5000, 512, 16384, 32768]
    assert all(r["tok_s"] > 0 for r in rows)
    assert len(latency("--prefill", "16384", "-c", 20000)) == 2


def test_refused():
    assert "the context length is 3000" in latency("--prefill", "16384", "-c", 3000, fails=True)
    assert "is over" in latency("--prefill", 1 << 30, fails=True)
    assert "the context length is 1024" in latency("--prefill", "16384", "--max-total-tokens", 1024, fails=True)


test_lengths()
test_refused()
print("ok")
