"""Starts `radish serve` for a test, and asks it things. Used by the test_*.py beside this file."""
import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import traceback

PRESET = os.environ.get("RADISH_PRESET", "release")
SLOWEST = PRESET in ("tsan", "aarch64")  # about a second a token: few tests, the fake model of tests/api carries the rest there
SLOW = SLOWEST or PRESET in ("asan", "debug")  # fewer tokens where each costs more
PATIENCE = 600 if SLOWEST else 120  # seconds for one answer
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"


def model():
    """The small real model; without it the whole test is skipped."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    path = pathlib.Path(os.environ.get("RADISH_MODEL", cache / "radish" / "models" / NAME))
    if not path.exists():
        print(f"radish-test: skip: no model at {path}; set RADISH_MODEL")
        sys.exit(77)
    return path


class Server:
    def __init__(self, build, *options):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        command = [pathlib.Path(build) / "radish", "serve", "-m", model(), "--port", str(self.port),
                   "--served-model-name", "smol", *options]
        self.log = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for _ in range(6000):
            if self.log.poll() is not None:
                raise RuntimeError("radish serve ended: " + self.log.stderr.read())
            try:
                if self.get("/health")[0] == 200:
                    return
            except OSError:
                time.sleep(0.01)
        raise RuntimeError("radish serve is not ready after a minute")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method, path, body=None, headers=None):
        """Status and body, parsed if it is JSON."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        c.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
        r = c.getresponse()
        data = r.read()
        c.close()
        try:
            return r.status, json.loads(data)
        except ValueError:
            return r.status, data.decode()

    def get(self, path, headers=None):
        return self.ask("GET", path, headers=headers)

    def post(self, path, body, headers=None):
        return self.ask("POST", path, body, headers)

    def good(self, path, body):
        status, answer = self.post(path, body)
        assert status == 200, (path, body, answer)
        return answer

    def events(self, path, body):
        """The data of each event of a stream, parsed, without [DONE]."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        c.request("POST", path, json.dumps({**body, "stream": True}), {"Content-Type": "application/json"})
        r = c.getresponse()
        text = r.read().decode()
        c.close()
        assert r.status == 200, text
        assert r.headers["Content-Type"].startswith("text/event-stream")
        parts = text.split("\n\n")
        assert parts[-2:] == ["data: [DONE]", ""], parts[-3:]
        return [json.loads(p[len("data: "):]) for p in parts[:-2]]

    def raw(self, data, timeout=5.0):
        """What the server says to these bytes, until it closes or is silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as s:
            try:
                s.sendall(data)
                got = b""
                while part := s.recv(65536):
                    got += part
            except (TimeoutError, ConnectionError):
                pass
            return got

    def connect(self, path, body):
        """A connection with the request sent and nothing read."""
        s = socket.create_connection(("127.0.0.1", self.port), 60)
        data = json.dumps(body).encode()
        s.sendall(f"POST {path} HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
        return s

    def load(self):
        return self.get("/get_load")[1][0]["num_reqs"]

    def wait_load(self, want, seconds=PATIENCE / 4):
        """Until that many requests run or wait."""
        end = time.monotonic() + seconds
        while (n := self.load()) != want:
            assert time.monotonic() < end, f"{n} requests, not {want}"
            time.sleep(0.01)

    def stop(self):
        """SIGTERM; the exit code."""
        self.log.terminate()
        code = self.log.wait(90)
        self.errors = self.log.stderr.read()
        return code


def run(build, tests, few, *options):
    """Runs tests(server) one after the other against one server and exits as CTest wants it. few: those with few tokens, which are
    what the slowest builds have time for."""
    failed, tests = [], few if SLOWEST else tests
    server = Server(build, *options)
    try:
        for test in tests:
            begin = time.monotonic()
            try:
                test(server)
                print(f"[       OK ] {test.__name__} ({time.monotonic() - begin:.1f} s)", flush=True)
            except Exception:
                traceback.print_exc()
                print(f"[  FAILED  ] {test.__name__}", flush=True)
                failed.append(test)
    finally:
        code = server.stop()
    if code != 0:
        print(f"[  FAILED  ] radish serve exited with {code}: {server.errors}")
    print(f"[  PASSED  ] {len(tests) - len(failed)} test(s).")
    if failed or code:
        print(f"[  FAILED  ] {max(len(failed), 1)} test(s)")
    sys.exit(1 if failed or code else 0)
