#!/usr/bin/env python3
"""A server that is asked for its last steps (SIGUSR1), on the simulated device. argv[1] is the build folder."""
import json
import pathlib
import re
import signal
import subprocess
import sys
import urllib.request

BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build/release").resolve()
TINY = pathlib.Path(__file__).resolve().parent / "data" / "tiny"


def read_until(p, pattern):
    for line in p.stderr:
        found = re.search(pattern, line)
        if found:
            return found
    raise AssertionError(f"ended before {pattern!r}")


p = subprocess.Popen([BUILD / "radish", "serve", "-m", TINY, "--load-format", "dummy", "--device", "sim", "--port", "0",
                      "--skip-tokenizer-init", "--max-total-tokens", "4096"], stderr=subprocess.PIPE, text=True)
try:
    port = read_until(p, r"listening on http://127.0.0.1:(\d+)").group(1)
    read_until(p, "ready to roll")
    p.send_signal(signal.SIGUSR1)
    read_until(p, "^0 steps in all")
    body = json.dumps({"input_ids": [5, 6, 7], "sampling_params": {"max_new_tokens": 4, "ignore_eos": True}}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/generate", body, {"Content-Type": "application/json"})
    assert json.load(urllib.request.urlopen(request, timeout=30))["meta_info"]["completion_tokens"] == 4
    p.send_signal(signal.SIGUSR1)
    read_until(p, r"^step 1 at .* queued 1 sequences, rows 3 of prompts")
    read_until(p, r"^step 4 at .*1 ended")
    p.send_signal(signal.SIGTERM)
    assert p.wait(30) == 0
finally:
    p.kill()
print("ok")
