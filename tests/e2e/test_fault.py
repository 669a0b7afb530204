#!/usr/bin/env python3
"""A server whose device fails: what runs ends with the reason, and the process exits with 1, not 0 and not never. On the simulated
device; argv[1] is the build folder."""
import http.client
import json
import os
import pathlib
import re
import subprocess
import sys

BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build/release").resolve()
TINY = pathlib.Path(__file__).resolve().parents[1] / "engine" / "data" / "tiny"


def read_until(p, pattern):
    for line in p.stderr:
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"ended before {pattern!r}")


def serve(share):
    p = subprocess.Popen([BUILD / "radish", "serve", "-m", TINY, "--load-format", "dummy", "--device", "sim", "--port", "0",
                          "--skip-tokenizer-init", "--max-total-tokens", "4096"], stderr=subprocess.PIPE, text=True,
                         env={**os.environ, "RADISH_SIM_FAULT": share})
    return p, int(read_until(p, r"listening on http://127.0.0.1:(\d+)").group(1))


def generate(port, stream):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    sampling = {"max_new_tokens": 200, "ignore_eos": True}
    c.request("POST", "/generate", json.dumps({"input_ids": [5, 6, 7], "sampling_params": sampling, "stream": stream}),
              {"Content-Type": "application/json"})
    r = c.getresponse()
    return r.status, r.read().decode()


def test(share, stream):
    """Some way into a stream its status has been told already; before that it is 500."""
    p, port = serve(share)
    try:
        status, body = generate(port, stream)
        assert re.search(r"simulated fault in pass \d+", body), body
        assert status == (200 if stream else 500), (status, body)
        assert body.count("data: ") > 1 or not stream, body
        read_until(p, "the device has failed: simulated fault")
        assert p.wait(60) == 1
    finally:
        p.kill()


def test_none():
    p, port = serve("0")
    try:
        status, body = generate(port, False)
        assert status == 200 and json.loads(body)["meta_info"]["completion_tokens"] == 200, body
        p.terminate()
        assert p.wait(60) == 0
    finally:
        p.kill()


test("1", False)
test("0.03", True)
test_none()
print("ok")
