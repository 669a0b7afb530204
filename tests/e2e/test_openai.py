#!/usr/bin/env python3
"""The OpenAI endpoints of `radish serve` with a real model: the official client, and raw sockets for what no client sends.
argv[1] is the build folder."""
import concurrent.futures
import json
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
try:
    import openai
except ImportError as e:
    print(f"radish-test: skip: {e}")
    sys.exit(77)
from server import PATIENCE, SLOW, Server, run

GREEDY = {"model": "smol", "temperature": 0}
CHAT = [{"role": "user", "content": "What is 2+2?"}]


def client(s):
    return openai.OpenAI(base_url=s.url + "/v1", api_key="none", max_retries=0, timeout=PATIENCE)


def test_readme(s):
    a = s.good("/v1/completions", {"model": "default", "prompt": "Say this is a test", "max_tokens": 7, "temperature": 0})
    assert a["object"] == "text_completion" and a["choices"][0]["text"] and a["model"] == "default"
    assert a["usage"] == {"prompt_tokens": 5, "total_tokens": 12, "completion_tokens": 7, "prompt_tokens_details": None,
                          "reasoning_tokens": 0}, a["usage"]
    assert a["choices"][0]["finish_reason"] == "length"


def test_completion_forms(s):
    c = client(s)
    for prompt in ["The capital of France is", ["The capital of France is"], [504, 3575, 282, 4649, 314], [[504, 3575, 282, 4649, 314]]]:
        a = c.completions.create(prompt=prompt, max_tokens=4, **GREEDY)
        assert a.choices[0].text.startswith(" Paris"), a
        assert a.usage.prompt_tokens == 5 and a.usage.completion_tokens == 4
    many = c.completions.create(prompt=["The capital of France is", "One, two, three,"], n=2, max_tokens=3, **GREEDY)
    texts = [x.text for x in many.choices]
    assert [x.index for x in many.choices] == [0, 1, 2, 3] and texts[0] == texts[1] != texts[2] == texts[3]
    assert many.usage.completion_tokens == 12 and many.usage.prompt_tokens == 5 + 6  # a prompt counts once


def test_completion_logprobs(s):
    c = client(s)
    a = c.completions.create(prompt="The capital of France is", max_tokens=5, logprobs=5, echo=True, **GREEDY)
    p = a.choices[0].logprobs
    assert "".join(p.tokens) == a.choices[0].text and a.choices[0].text.startswith("The capital of France is Paris")
    assert p.token_logprobs[0] is None and p.top_logprobs[0] is None and len(p.tokens) == 10
    assert all(x <= 0 for x in p.token_logprobs[1:])
    for token, logprob, top in list(zip(p.tokens, p.token_logprobs, p.top_logprobs))[5:]:
        assert len(top) == 5 and max(top, key=top.get) == token and abs(max(top.values()) - logprob) < 1e-5
    for token, offset in zip(p.tokens, p.text_offset):
        assert a.choices[0].text[offset:offset + len(token)] == token
    again = c.completions.create(prompt="The capital of France is", max_tokens=1, logprobs=0, echo=True, **GREEDY).choices[0].logprobs
    assert max(abs(x - y) for x, y in zip(again.token_logprobs[1:5], p.token_logprobs[1:5])) < 1e-4  # cached or not
    scored = s.good("/v1/completions", {"prompt": "The capital of France is", "max_tokens": 0, "echo": True, "logprobs": 1})
    assert scored["choices"][0]["text"] == "The capital of France is" and len(scored["choices"][0]["logprobs"]["tokens"]) == 5


def test_stream_equals_whole(s):
    c = client(s)
    for extra in [{}, {"logprobs": 2}, {"echo": True}, {"n": 2}]:
        whole = c.completions.create(prompt="Once upon a time", max_tokens=24, **GREEDY, **extra)
        texts, finishes, usage = {}, {}, None
        for chunk in c.completions.create(prompt="Once upon a time", max_tokens=24, stream=True, stream_options={"include_usage": True},
                                          **GREEDY, **extra):
            assert chunk.id and chunk.object == "text_completion"
            if not chunk.choices:
                assert usage is None
                usage = chunk.usage
                continue
            x = chunk.choices[0]
            texts[x.index] = texts.get(x.index, "") + x.text
            finishes[x.index] = finishes.get(x.index, []) + ([x.finish_reason] if x.finish_reason else [])
        assert texts == {x.index: x.text for x in whole.choices}, (texts, whole)
        assert all(f == ["length"] for f in finishes.values())
        assert (usage.prompt_tokens, usage.completion_tokens) == (whole.usage.prompt_tokens, whole.usage.completion_tokens)
    events = s.events("/v1/completions", {"prompt": "a", "max_tokens": 3, **GREEDY, "stream_options": {"continuous_usage_stats": True}})
    assert s.good("/v1/completions", {"prompt": "a", "max_tokens": 1, "stream_options": {"include_usage": True}})["usage"]  # ignored
    assert [e["usage"]["completion_tokens"] for e in events[:3]] == [1, 2, 3], events


def test_stop(s):
    c = client(s)
    full = c.completions.create(prompt="Count: one, two,", max_tokens=30, **GREEDY).choices[0].text
    stop = full[9:14]
    expected = full[:full.index(stop)]
    for extra in [{}, {"stream": True}]:
        a = c.completions.create(prompt="Count: one, two,", max_tokens=30, stop=["\u2603", stop], **GREEDY, **extra)
        parts = [x.choices[0] for x in a] if extra else a.choices
        assert "".join(x.text for x in parts) == expected, (parts, expected)
        assert parts[-1].finish_reason == "stop" and parts[-1].matched_stop == stop
    kept = s.good("/v1/completions", {"prompt": "Count: one, two,", "max_tokens": 30, "temperature": 0, "stop": stop, "no_stop_trim": True})
    assert kept["choices"][0]["text"] == expected + stop
    ids = s.good("/tokenize", {"prompt": full, "add_special_tokens": False})["tokens"]
    token = s.good("/v1/completions", {"prompt": "Count: one, two,", "max_tokens": 30, "temperature": 0, "stop_token_ids": [ids[2]]})
    assert token["choices"][0]["matched_stop"] == ids[2] and token["usage"]["completion_tokens"] <= 3
    assert full.startswith(token["choices"][0]["text"])


def test_sampling(s):
    c = client(s)

    def draw(**kw):
        return c.completions.create(model="smol", prompt="My favourite word is", max_tokens=12, temperature=1.5, **kw).choices
    assert draw(seed=7)[0].text == draw(seed=7)[0].text != draw(seed=8)[0].text
    assert len({x.text for x in draw(seed=7, n=4)}) == 4
    assert [x.text for x in draw(seed=7, n=4)] == [x.text for x in draw(seed=7, n=4)]
    forced = c.completions.create(prompt="The capital of France is", max_tokens=3, logit_bias={"2000": 100}, **GREEDY)
    text = s.good("/detokenize", {"tokens": [2000] * 3})["text"]
    assert forced.choices[0].text == text, forced
    free = c.completions.create(prompt="The capital of France is", max_tokens=3, **GREEDY)
    assert free.choices[0].text.startswith(" Paris")
    greedy = [c.completions.create(prompt="Hello", max_tokens=10, **GREEDY, extra_body={"top_k": 1}).choices[0].text for _ in range(2)]
    assert greedy[0] == greedy[1]
    long = s.good("/v1/completions", {"prompt": "Hi", "max_tokens": 40, "ignore_eos": True, "temperature": 0})
    assert long["usage"]["completion_tokens"] == 40
    atleast = s.good("/v1/chat/completions", {"messages": CHAT, "max_tokens": 40, "min_tokens": 30, "temperature": 0})
    assert atleast["usage"]["completion_tokens"] >= 30


def test_chat(s):
    c = client(s)
    a = c.chat.completions.create(messages=CHAT, max_tokens=24, logprobs=True, top_logprobs=3, **GREEDY)
    x = a.choices[0]
    assert "4" in x.message.content and x.message.role == "assistant" and x.finish_reason == "stop", a
    assert x.matched_stop == 2 and x.message.tool_calls is None
    assert len(x.logprobs.content) == a.usage.completion_tokens
    assert all(len(t.top_logprobs) == 3 and t.top_logprobs[0].token == t.token for t in x.logprobs.content)
    assert b"".join(bytes(t.bytes) for t in x.logprobs.content).decode().startswith(x.message.content)
    texts, roles, finishes = {}, {}, {}
    usage = None
    for chunk in c.chat.completions.create(messages=CHAT, max_tokens=24, n=2, stream=True, stream_options={"include_usage": True}, **GREEDY):
        assert chunk.object == "chat.completion.chunk"
        if not chunk.choices:
            usage = chunk.usage
            continue
        d = chunk.choices[0]
        if d.index not in roles:
            assert d.delta.role == "assistant" and d.delta.content == ""
        roles[d.index] = roles.get(d.index, 0) + (d.delta.role is not None)
        texts[d.index] = texts.get(d.index, "") + (d.delta.content or "")
        if d.finish_reason:
            assert d.delta.content is None
            finishes[d.index] = finishes.get(d.index, 0) + 1
    assert texts == {0: x.message.content, 1: x.message.content} and roles == finishes == {0: 1, 1: 1}
    assert usage.completion_tokens == 2 * a.usage.completion_tokens and usage.prompt_tokens == a.usage.prompt_tokens
    parts = c.chat.completions.create(messages=[{"role": "user", "content": [{"type": "text", "text": CHAT[0]["content"]}]}], max_tokens=24, **GREEDY)
    assert parts.choices[0].message.content == x.message.content
    prefill = s.good("/v1/chat/completions", {"messages": CHAT + [{"role": "assistant", "content": "The capital of France is"}],
                                              "continue_final_message": True, "max_tokens": 4, "temperature": 0})
    assert prefill["choices"][0]["message"]["content"].startswith(" Paris"), prefill
    rendered = s.good("/tokenize", {"messages": CHAT})
    by_ids = s.good("/v1/chat/completions", {"messages": CHAT, "input_ids": rendered["tokens"], "max_tokens": 24, "temperature": 0})
    assert by_ids["choices"][0]["message"]["content"] == x.message.content
    assert rendered["count"] == a.usage.prompt_tokens


def test_models(s):
    c = client(s)
    card = c.models.list().data[0]
    assert card.id == "smol" and card.max_model_len == 8192 and c.models.retrieve("smol").id == "smol"
    try:
        c.models.retrieve("other")
        raise AssertionError("found")
    except openai.NotFoundError as e:
        assert e.code == "model_not_found" and e.param == "model"


def test_errors_of_the_client(s):
    c = client(s)
    cases = [({"prompt": "a" * 60000, "max_tokens": 5}, "context length of 8192", "context_length_exceeded"),
             ({"prompt": "a", "max_tokens": 10000}, "context length of 8192", "context_length_exceeded"),
             ({"prompt": "a", "temperature": -3}, "temperature must be between", None),
             ({"prompt": "a", "max_tokens": -1}, "max_tokens must be at least 1", None),
             ({"prompt": [1, 10 ** 7]}, "not in the vocabulary", None),
             ({"prompt": "a", "logit_bias": {"99999999": 1}}, "not in the vocabulary", None),
             ({"prompt": "a", "extra_body": {"regex": "(a+"}}, "a ( without )", None)]
    for request, words, code in cases:
        for stream in [False, True]:  # a stream that cannot begin is a 400 too
            try:
                c.completions.create(model="smol", stream=stream, **request)
                raise AssertionError(request)
            except openai.BadRequestError as e:
                assert words in e.message and (code is None or e.code == code), (request, e.message, e.code)
    for request, words in [({"messages": []}, "messages is empty"), ({"messages": CHAT, "tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
                           ({"messages": CHAT, "response_format": {"type": "yaml"}}, "has the type yaml")]:
        try:
            c.chat.completions.create(model="smol", **request)
            raise AssertionError(request)
        except openai.BadRequestError as e:
            assert words in e.message, e.message


def test_raw_badness(s):
    def status(data):
        got = s.raw(data)
        assert got.startswith(b"HTTP/1.1 "), (data[:80], got)
        answer = json.loads(got.split(b"\r\n\r\n", 1)[1])
        assert answer["object"] == "error" and answer["error"]["message"] and answer["code"] == int(got[9:12])
        return int(got[9:12])

    def post(body, length=None):
        head = f"POST /v1/completions HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length or len(body)}\r\n\r\n"
        return head.encode() + body
    assert status(post(b'{"prompt": "x"')) == 400
    assert status(post(b'{"prompt": "\xff\xfe"}')) == 400
    assert status(post(b'{"prompt": ' + b"[" * 100000 + b"]" * 100000 + b"}")) == 400
    assert status(post(b'{"prompt": "a", "prompt": "b"}')) == 400
    assert status(post(b'{"prompt": "a", "max_tokens": 1e999}')) == 400
    assert status(post(b'{"prompt": "a", "max_tokens": 99999999999999999999}')) == 400
    assert status(post(b"\x00" * 100)) == 400
    assert status(post(b"{}", 10 ** 12)) == 413
    assert status(b"BREW /coffee HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n") == 404
    assert status(b"DELETE /v1/completions HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n") == 405
    assert status(b"GET /%2e%2e/etc/passwd HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n") == 404
    assert status(b"GET / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n") == 400
    assert status(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n") == 400  # TLS spoken to a plain port
    assert s.get("/health")[0] == 200


def test_concurrent(s):
    """32 at once give what each gives alone."""
    c = client(s)
    prompts = [f"{i} little birds sat on a" for i in range(32)]

    def ask(p):
        return c.completions.create(prompt=p, max_tokens=8 if SLOW else 16, **GREEDY).choices[0].text
    alone = [ask(p) for p in prompts[:8]]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        together = list(pool.map(ask, prompts))
    assert together[:8] == alone, (together[:8], alone)
    s.wait_load(0)


def test_leaving_frees(s):
    for stream in [True, False]:
        held = [s.connect("/v1/completions", {"prompt": f"Tell me story {i}", "max_tokens": 4000, "ignore_eos": True, "stream": stream}) for i in range(6)]
        s.wait_load(6)
        for h in held:
            h.close()
        s.wait_load(0)
    assert s.get("/flush_cache?timeout=10")[0] == 200


def test_keys_and_drain(s):
    """A server of its own: keys, and SIGTERM while requests run."""
    own = Server(sys.argv[1], "--api-key", "secret", "--enable-cache-report")
    try:
        assert own.get("/v1/models")[0] == 401 and own.get("/health")[0] == 200
        c = openai.OpenAI(base_url=own.url + "/v1", api_key="secret", max_retries=0, timeout=PATIENCE)
        text = "Once upon a time there was a little girl who lived in a small house at the edge of a large forest. "
        first = c.completions.create(prompt=text * 2, max_tokens=2, **GREEDY)
        second = c.completions.create(prompt=text * 2, max_tokens=2, **GREEDY)
        assert first.usage.prompt_tokens_details.cached_tokens == 0
        assert second.usage.prompt_tokens_details.cached_tokens >= 16 and second.usage.prompt_tokens_details.cached_tokens % 16 == 0
        try:
            openai.OpenAI(base_url=own.url + "/v1", api_key="wrong", max_retries=0).models.list()
            raise AssertionError("let in")
        except openai.AuthenticationError:
            pass
        n_tokens, got = (30 if SLOW else 200), [None] * 4

        def stream(i):
            a = c.completions.create(prompt=f"Number {i} is", max_tokens=n_tokens, stream=True, **GREEDY, extra_body={"ignore_eos": True})
            got[i] = [x.choices[0].finish_reason for x in a][-1]
        threads = [threading.Thread(target=stream, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        time.sleep(0.3)
    finally:
        code = own.stop()
    for t in threads:
        t.join()
    assert code == 0 and got == ["length"] * 4, (code, got, own.errors)


TESTS = [test_readme, test_completion_forms, test_completion_logprobs, test_stream_equals_whole, test_stop, test_sampling, test_chat,
         test_models, test_errors_of_the_client, test_raw_badness, test_concurrent, test_leaving_frees, test_keys_and_drain]
FEW = [test_readme, test_completion_forms, test_models, test_errors_of_the_client, test_raw_badness, test_leaving_frees]
run(sys.argv[1], TESTS, FEW)
