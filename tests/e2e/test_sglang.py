#!/usr/bin/env python3
"""SGLang's own endpoints of `radish serve` with a real model: what its benchmark, its frontend language, its router and its
endpoint tests ask. argv[1] is the build folder."""
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from server import SLOW, run

PARIS = "The capital of France is"


def generate(s, text=PARIS, n=8, **body):
    sampling = {"temperature": 0, "max_new_tokens": n, **body.pop("sampling_params", {})}
    return s.good("/generate", {"text": text, "sampling_params": sampling, **body})


def test_benchmark_client(s):
    """The calls of sglang.bench_serving, in its order and with its fields."""
    status, models = s.get("/v1/models")
    assert status == 200 and models["data"][0]["id"] == "smol"
    assert s.get("/model_info")[1]["tokenizer_path"]
    assert s.post("/flush_cache?timeout=60", {})[0] == 200
    for prompt in [{"text": PARIS}, {"input_ids": [504, 3575, 282, 4649, 314]}]:
        events = s.events("/generate", {**prompt, "sampling_params": {"temperature": 0.0, "max_new_tokens": 20, "ignore_eos": True}, "lora_path": None,
                                        "return_logprob": False, "return_routed_experts": False, "logprob_start_len": -1, "image_data": None, "some_new_field": [1]})
        text, tokens = "", 0
        for e in events:
            assert e["text"].startswith(text) and e["meta_info"]["completion_tokens"] >= tokens and "index" not in e  # cumulative
            text, tokens = e["text"], e["meta_info"]["completion_tokens"]
            assert len(e["output_ids"]) == tokens
        assert tokens == 20 and text.startswith(" Paris") and len(events) >= 20
        assert events[-1]["meta_info"]["finish_reason"] == {"type": "length", "length": 20}
        assert all(e["meta_info"]["finish_reason"] is None for e in events[:-1])
    info = s.get("/server_info")[1]
    assert isinstance(info["internal_states"], list) and isinstance(info["internal_states"][0]["last_gen_throughput"], float)
    assert s.get("/get_server_info")[1]["max_total_num_tokens"] == info["max_total_num_tokens"]
    assert isinstance(info["max_total_num_tokens"], int) and isinstance(info["version"], str)


def test_forms(s):
    one = generate(s)
    assert one["text"].startswith(" Paris") and one["meta_info"]["prompt_tokens"] == 5 and one["meta_info"]["e2e_latency"] > 0
    assert s.ask("PUT", "/generate", {"text": PARIS, "sampling_params": {"temperature": 0, "max_new_tokens": 8}})[1]["text"] == one["text"]
    batch = generate(s, [PARIS, "One, two, three,"])
    assert isinstance(batch, list) and batch[0]["text"] == one["text"] != batch[1]["text"]
    assert isinstance(generate(s, [PARIS]), list)
    many = generate(s, [PARIS, "One, two, three,"], sampling_params={"n": 2})
    assert [x["text"] for x in many] == [batch[0]["text"]] * 2 + [batch[1]["text"]] * 2  # prompt-major
    each = s.good("/generate", {"text": [PARIS, PARIS], "sampling_params": [{"temperature": 0, "max_new_tokens": 2}, {"temperature": 0, "max_new_tokens": 5}]})
    assert [x["meta_info"]["completion_tokens"] for x in each] == [2, 5]
    ids = generate(s, rid=["a", "b"], text=[PARIS, PARIS])
    assert [x["meta_info"]["id"] for x in ids] == ["a", "b"]
    default = s.good("/generate", {"text": PARIS, "sampling_params": {"ignore_eos": True}})
    assert default["meta_info"]["completion_tokens"] == 128
    seen = {}
    for e in s.events("/generate", {"text": [PARIS, "One, two, three,"], "sampling_params": {"temperature": 0, "max_new_tokens": 8}}):
        seen[e["index"]] = e["text"]
    assert seen == {0: batch[0]["text"], 1: batch[1]["text"]}


def test_logprobs(s):
    a = generate(s, n=6, return_logprob=True, logprob_start_len=0, top_logprobs_num=5, return_text_in_logprobs=True)
    m = a["meta_info"]
    assert len(m["input_token_logprobs"]) == 5 and m["input_token_logprobs"][0][0] is None and m["input_top_logprobs"][0] is None
    assert "".join(t[2] for t in m["input_token_logprobs"]) == PARIS
    assert "".join(t[2] for t in m["output_token_logprobs"]) == a["text"]
    assert len(m["output_token_logprobs"]) == 6 == m["output_token_logprobs_length"]
    for chosen, top in zip(m["output_token_logprobs"], m["output_top_logprobs"]):
        assert len(top) == 5 and top[0][1] == chosen[1] and abs(top[0][0] - chosen[0]) < 1e-5  # greedy takes the likeliest
    for start in [1, 3, 5]:
        part = generate(s, n=2, return_logprob=True, logprob_start_len=start)["meta_info"]
        assert part["prompt_tokens"] == start + len(part["input_token_logprobs"]), part
        assert all(t[2] is None for t in part["output_token_logprobs"])
    ids = [t[1] for t in m["input_token_logprobs"] + m["output_token_logprobs"]]
    again = s.good("/generate", {"input_ids": ids, "sampling_params": {"temperature": 0, "max_new_tokens": 0}, "return_logprob": True, "logprob_start_len": 0})
    assert again["text"] == "" and again["meta_info"]["completion_tokens"] == 0 and again["meta_info"]["output_token_logprobs"] == []
    scored = [t[0] for t in again["meta_info"]["input_token_logprobs"]]
    drawn = [t[0] for t in m["input_token_logprobs"] + m["output_token_logprobs"]]
    assert len(scored) == 11 and max(abs(x - y) for x, y in zip(scored[1:], drawn[1:])) < 0.05  # decoded or prefilled
    none = generate(s, n=2, return_logprob=True)["meta_info"]
    assert none["input_token_logprobs"] == [] and len(none["output_token_logprobs"]) == 2
    assert "input_token_logprobs" not in generate(s, n=2)["meta_info"]


def test_frontend_select(s):
    """What the frontend language's select() does."""
    assert s.get("/get_model_info")[1]["model_path"]
    prefix = "The capital of France is the city of"
    n = generate(s, prefix, 0)["meta_info"]["prompt_tokens"]
    answers = s.good("/generate", {"text": [prefix + c for c in [" Paris", " Tokyo", " banana"]], "return_logprob": True, "return_text_in_logprobs": True,
                                   "logprob_start_len": n - 2, "sampling_params": {"max_new_tokens": 0, "temperature": 0}})
    scores = []
    for a in answers:
        m = a["meta_info"]
        assert m["output_token_logprobs"] == [] and m["prompt_tokens"] == n - 2 + len(m["input_token_logprobs"])
        scores.append(m["input_token_logprobs"][-1][0])
    assert max(scores) == scores[0], scores


def test_cached_tokens(s):
    """Whole pages of 16 that an earlier request computed, at most all tokens but the last."""
    def cached(ids):
        return s.good("/generate", {"input_ids": ids, "sampling_params": {"temperature": 0, "max_new_tokens": 1}})["meta_info"]["cached_tokens"]
    base = [(i * 37) % 20000 + 100 for i in range(500)]
    assert s.get("/flush_cache?timeout=10")[0] == 200
    assert cached(base[:100]) == 0
    assert cached(base[:100]) == 96
    assert cached(base[:96]) == 80  # the last token always runs
    assert cached(base[:500]) == 96
    assert cached(base[:500]) == 496
    assert cached(base[:50] + [5] * 50) == 48
    body = {"input_ids": base[:100], "sampling_params": {"temperature": 0, "max_new_tokens": 1}, "cache_salt": "mine"}
    assert s.good("/generate", body)["meta_info"]["cached_tokens"] == 0  # another tenant's prefix is not shared
    assert s.good("/generate", body)["meta_info"]["cached_tokens"] == 96
    assert s.good("/generate", {**body, "extra_key": "k"})["meta_info"]["cached_tokens"] == 0
    alone = generate(s, n=12)
    assert generate(s, n=12)["text"] == alone["text"]  # cached or not, the same words


def test_stop(s):
    text = generate(s, n=20)["text"]
    a = generate(s, n=20, sampling_params={"stop": [text[8:12]]})
    assert a["text"] == text[:text.index(text[8:12])] and a["meta_info"]["finish_reason"] == {"type": "stop", "matched": text[8:12]}
    eos = generate(s, "<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n", 60)
    assert eos["meta_info"]["finish_reason"] == {"type": "stop", "matched": 2}, eos
    assert eos["output_ids"][-1] == 2 and len(eos["output_ids"]) == eos["meta_info"]["completion_tokens"] and "<|" not in eos["text"]
    shown = generate(s, "<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n", 60, sampling_params={"ignore_eos": True, "skip_special_tokens": False})
    assert "<|im_end|>" in shown["text"]


def test_text_endpoints(s):
    texts = ["Hello, world!", "Grüße, 世界 🙂", ""]
    a = s.good("/tokenize", {"prompt": texts, "add_special_tokens": False})
    assert a["count"] == [len(t) for t in a["tokens"]] and a["max_model_len"] == 8192
    assert s.good("/detokenize", {"tokens": a["tokens"]})["text"] == texts
    one = s.good("/v1/tokenize", {"prompt": texts[1]})
    assert s.good("/v1/detokenize", {"tokens": one["tokens"]})["text"] == texts[1]
    chat = s.good("/tokenize", {"messages": [{"role": "user", "content": "hi"}]})
    assert "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n" in s.good("/detokenize", {"tokens": chat["tokens"], "skip_special_tokens": False})["text"]
    for path, body in [("/tokenize", {"prompt": 5}), ("/detokenize", {"tokens": ["a"]}), ("/detokenize", {"tokens": [10 ** 9]}), ("/tokenize", {})]:
        assert s.post(path, body)[0] == 400, body


def eventually(ask, good, seconds=20):
    """Counters are those of the last finished step: an answer may arrive a moment before it is counted."""
    end = time.time() + seconds
    while not good(value := ask()) and time.time() < end:
        time.sleep(0.02)
    return value


def test_router(s):
    info, model = s.get("/server_info")[1], s.get("/model_info")[1]
    assert info["served_model_name"] == "smol" and info["dp_size"] == 1 and model["architectures"] and model["is_generation"] is True
    load = eventually(lambda: s.get("/get_load")[1], lambda x: x[0]["num_reqs"] == 0)
    assert load[0]["dp_rank"] == 0 and load[0]["num_reqs"] == 0 and load[0]["num_tokens"] >= 0
    loads = s.get("/v1/loads?include=core")[1]
    assert loads["loads"][0]["max_total_num_tokens"] == info["max_total_num_tokens"]
    assert s.get("/health_generate") == (200, "")
    for _ in range(2):
        generate(s, "A prompt that is longer than one page of sixteen tokens, so that the second time some of it is known already.", 1)
    status, metrics = s.get("/metrics")
    values = {line.split("{")[0]: float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines() if not line.startswith("#")}
    assert status == 200 and values["sglang:prompt_tokens_total"] > 0 and values["sglang:cached_tokens_total"] > 0
    before = values["sglang:generation_tokens_total"]
    generate(s, n=7)
    def generated():
        lines = {line.split("{")[0]: line for line in s.get("/metrics")[1].splitlines()}
        return float(lines["sglang:generation_tokens_total"].rsplit(" ", 1)[1])

    assert eventually(generated, lambda x: x == before + 7) == before + 7


def test_errors(s):
    cases = [({}, "text"), ({"input_ids": []}, "empty"), ({"text": "a", "sampling_params": {"temperature": -1}}, "temperature"),
             ({"text": "a", "sampling_params": {"tempreature": 1}}, "tempreature"), ({"text": ["a", "b"], "rid": ["x", "x"]}, "twice"),
             ({"text": "a", "sampling_params": {"regex": "(a"}}, "without )"), ({"text": "a" * 100000}, "context length"),
             ({"text": "a", "sampling_params": {"max_new_tokens": 2, "min_new_tokens": 3}}, "min_new_tokens"),
             ({"text": "a", "sampling_params": {"logit_bias": {"99999999": 1}}}, "vocabulary"), ({"text": "a", "lora_path": "x"}, "adapter"),
             ({"input_ids": [1, 2, 10 ** 6]}, "vocabulary"), ({"text": "a", "custom_logit_processor": "x"}, "Python")]
    for body, words in cases:
        status, answer = s.post("/generate", body)
        assert status == 400 and words in answer["error"]["message"], (body, answer)
    assert s.get("/generate")[0] == 405


def test_abort(s):
    got = {}

    def ask():
        got.update(s.good("/generate", {"text": "A very long story:", "rid": "job-7", "sampling_params": {"max_new_tokens": 4000, "ignore_eos": True}}))
    t = threading.Thread(target=ask)
    t.start()
    s.wait_load(1)
    assert s.get("/flush_cache")[0] == 400  # not while it runs
    assert s.post("/abort_request", {"rid": "job-7"})[0] == 200
    t.join(30)
    assert got["meta_info"]["finish_reason"]["type"] == "abort" and got["meta_info"]["id"] == "job-7"
    s.wait_load(0)


def test_many_streams(s):
    """A burst, as the benchmark sends it: every stream whole, lengths exact."""
    n, results = (8 if SLOW else 64), {}

    def ask(i):
        length = 3 + i % 7
        events = s.events("/generate", {"text": f"Number {i}:", "sampling_params": {"temperature": 0, "max_new_tokens": length, "ignore_eos": True}})
        results[i] = events[-1]["meta_info"]["completion_tokens"] == length
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(n)]
    begin = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(results) == n and all(results.values()), results
    print(f"{n} streams in {time.monotonic() - begin:.2f} s")


TESTS = [test_benchmark_client, test_forms, test_logprobs, test_frontend_select, test_cached_tokens, test_stop, test_text_endpoints,
         test_router, test_errors, test_abort, test_many_streams]
FEW = [test_frontend_select, test_text_endpoints, test_router, test_errors, test_abort]
run(sys.argv[1], TESTS, FEW)
