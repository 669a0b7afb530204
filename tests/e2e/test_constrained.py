#!/usr/bin/env python3
"""Constrained answers of `radish serve` with a real model: the official client, jsonschema as the judge. argv[1] is the build folder."""
import concurrent.futures
import json
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
try:
    import jsonschema
    import openai
except ImportError as e:
    print(f"radish-test: skip: {e}")
    sys.exit(77)
from server import PATIENCE, SLOW, run

PERSON = {"type": "object", "additionalProperties": False, "required": ["name", "age", "city", "tags"],
          "properties": {"name": {"type": "string", "maxLength": 24}, "age": {"type": "integer", "minimum": 0, "maximum": 130},
                         "city": {"enum": ["Paris", "London", "Rome"]},
                         "tags": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]{1,8}$"}, "minItems": 1, "maxItems": 3}}}
SHAPES = {"type": "object", "additionalProperties": False, "required": ["shape", "ok"],
          "properties": {"ok": {"type": "boolean"}, "shape": {"$ref": "#/$defs/shape"}},
          "$defs": {"shape": {"anyOf": [
              {"type": "object", "properties": {"r": {"type": "number", "exclusiveMinimum": 0, "maximum": 9}}, "required": ["r"], "additionalProperties": False},
              {"type": "object", "properties": {"w": {"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 100}, "when": {"type": "string", "format": "date"}},
               "required": ["w", "when"], "additionalProperties": False}]}}}
ASK = [{"role": "user", "content": "Describe somebody, or a shape, as JSON."}]


def client(s):
    return openai.OpenAI(base_url=s.url + "/v1", api_key="none", max_retries=0, timeout=PATIENCE)


def formatted(schema):
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def chat(s, **more):
    return client(s).chat.completions.create(model="smol", messages=ASK, **{"max_tokens": 400, **more})


def check(schema, choice):
    value = json.loads(choice.message.content)
    jsonschema.validate(value, schema, format_checker=jsonschema.FormatChecker())
    assert choice.finish_reason == "stop"


def test_schemas_at_temperature_1(s):
    def one(job):
        schema, seed = job
        check(schema, chat(s, temperature=1, seed=seed, response_format=formatted(schema)).choices[0])
    jobs = [(schema, seed) for schema in (PERSON, SHAPES) for seed in range(2 if SLOW else 12)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(one, jobs))


def test_json_object(s):
    for seed in range(2 if SLOW else 6):
        a = chat(s, temperature=0.7, seed=seed, response_format={"type": "json_object"})
        if a.choices[0].finish_reason == "stop":
            assert isinstance(json.loads(a.choices[0].message.content), dict)


def test_stream_is_the_same(s):
    whole = chat(s, temperature=1, seed=7, response_format=formatted(PERSON)).choices[0].message.content
    parts = chat(s, temperature=1, seed=7, response_format=formatted(PERSON), stream=True)
    got = [x.choices[0] for x in parts]
    assert "".join(x.delta.content or "" for x in got) == whole and got[-1].finish_reason == "stop"


def test_regex_choice_ebnf(s):
    for n, pattern in enumerate([r"(yes|no), [0-9]{3}", r"\d{4}-\d{2}-\d{2}", r"[A-Z][a-z]{2,9}( [A-Z][a-z]{2,9}){1,2}"]):
        text = chat(s, temperature=1, seed=n, extra_body={"regex": pattern}).choices[0].message.content
        assert re.fullmatch(pattern, text), (pattern, text)
    for seed in range(4):
        a = chat(s, temperature=1, seed=seed, extra_body={"guided_choice": ["alpha", "beta", "alphabet"]})
        assert a.choices[0].message.content in ["alpha", "beta", "alphabet"]
    a = chat(s, temperature=1, extra_body={"ebnf": 'root ::= "sum: " num ("+" num){1,3}\nnum ::= [1-9] [0-9]?'})
    assert re.fullmatch(r"sum: [1-9][0-9]?(\+[1-9][0-9]?){1,3}", a.choices[0].message.content)
    a = chat(s, temperature=1, extra_body={"structured_outputs": {"json": PERSON, "disable_any_whitespace": True}})
    check(PERSON, a.choices[0])
    assert a.choices[0].message.content == json.dumps(json.loads(a.choices[0].message.content), separators=(",", ":"), ensure_ascii=False)


def test_generate(s):
    a = s.good("/generate", {"text": "Q: a number? A:", "sampling_params": {"regex": " [0-9]{5}", "temperature": 1, "sampling_seed": 3}})
    assert re.fullmatch(r" [0-9]{5}", a["text"]) and a["meta_info"]["finish_reason"]["type"] == "stop", a
    a = s.good("/generate", {"text": "JSON:", "sampling_params": {"json_schema": json.dumps(PERSON), "temperature": 1, "max_new_tokens": 300}})
    jsonschema.validate(json.loads(a["text"]), PERSON)
    a = s.good("/generate", {"text": ["a", "b"], "sampling_params": [{"regex": "x{4}"}, {"max_new_tokens": 3, "temperature": 0}]})
    assert a[0]["text"] == "xxxx" and a[1]["meta_info"]["completion_tokens"] == 3


def test_logprobs_are_of_what_is_allowed(s):
    """Of a choice of two tokens the probabilities add up to one."""
    a = s.good("/generate", {"text": "Heads or tails?", "return_logprob": True, "top_logprobs_num": 5,
                             "sampling_params": {"regex": "[01]", "temperature": 1}})
    (logprob, token, _), tops = a["meta_info"]["output_token_logprobs"][0], a["meta_info"]["output_top_logprobs"][0]
    assert len(tops) == 2 and abs(sum(2.718281828459045 ** t[0] for t in tops) - 1) < 1e-4, tops
    assert [t[0] for t in tops if t[1] == token] == [logprob]


def test_limits_of_the_output(s):
    a = chat(s, max_tokens=5, temperature=0, response_format=formatted(PERSON))
    assert a.choices[0].finish_reason == "length" and a.usage.completion_tokens == 5
    body = {"model": "smol", "messages": ASK, "temperature": 0, "regex": "[0-9]{6}", "min_tokens": 30, "max_tokens": 60, "ignore_eos": True}
    a = s.good("/v1/chat/completions", body)  # the grammar wins
    assert re.fullmatch(r"[0-9]{6}", a["choices"][0]["message"]["content"]) and a["choices"][0]["finish_reason"] == "stop"
    a = s.good("/v1/chat/completions", {"messages": ASK, "regex": "a{3}STOPb{3}", "stop": "STOP", "temperature": 0})
    assert a["choices"][0]["message"]["content"] == "aaa" and a["choices"][0]["matched_stop"] == "STOP"
    a = s.good("/v1/chat/completions", {"messages": ASK, "regex": "[a-z ]{40,}", "min_tokens": 20, "max_tokens": 60, "temperature": 1})
    assert a["usage"]["completion_tokens"] >= 8 and re.fullmatch(r"[a-z ]+", a["choices"][0]["message"]["content"])


TOOLS = [{"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": {
              "type": "object", "properties": {"city": {"type": "string", "maxLength": 20}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
              "required": ["city", "days"], "additionalProperties": False}}},
         {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {"zone": {"enum": ["UTC", "CET"]}},
                                                                           "required": ["zone"], "additionalProperties": False}}}]


def check_call(call):
    schema = {t["function"]["name"]: t["function"]["parameters"] for t in TOOLS}[call["name"]]
    jsonschema.validate(json.loads(call["arguments"]), schema)


def test_tools(s):
    """A call that is asked for comes, with arguments that fulfil its schema, whole and streamed alike."""
    ask = [{"role": "user", "content": "What is the weather in Rome?"}]
    named = {"type": "function", "function": {"name": "clock"}}
    for seed, choice in enumerate(["required", "required", named] * (1 if SLOW else 3)):
        body = dict(model="smol", messages=ask, tools=TOOLS, tool_choice=choice, temperature=1, seed=seed, max_tokens=300, parallel_tool_calls=False)
        a = client(s).chat.completions.create(**body).choices[0]
        assert a.finish_reason == "tool_calls" and len(a.message.tool_calls) == 1, a
        call = a.message.tool_calls[0].function
        check_call({"name": call.name, "arguments": call.arguments})
        assert choice == "required" or call.name == "clock"
        got = {"name": "", "arguments": ""}
        for x in client(s).chat.completions.create(stream=True, **body):
            for d in x.choices[0].delta.tool_calls or []:
                got["name"] += d.function.name or ""
                got["arguments"] += d.function.arguments or ""
        assert got == {"name": call.name, "arguments": call.arguments}, (got, call)
    a = s.good("/v1/chat/completions", {"messages": ask, "tools": TOOLS, "tool_choice": "none", "max_tokens": 5, "temperature": 0})
    assert a["choices"][0]["message"]["tool_calls"] is None
    for more, param in [({"tool_choice": "required", "regex": "a"}, "tool_choice"), ({"tools": [{}]}, "tools"),
                        ({"tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
                        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "foo"}}}], "tool_choice": "required"}, "tools")]:
        status, a = s.post("/v1/chat/completions", {"messages": ask, "tools": TOOLS, "max_tokens": 5, **more})
        assert status == 400 and a["error"]["param"] == param, (more, a)


def test_structural_tag(s):
    """Free text, and inside the tags what their schema says."""
    tag = {"type": "structural_tag", "structures": [{"begin": "<f>", "schema": TOOLS[1]["function"]["parameters"], "end": "</f>"}], "triggers": ["<f>"]}
    a = chat(s, temperature=1, seed=1, max_tokens=60, response_format=tag).choices[0].message.content
    for inside in re.findall(r"<f>(.*?)</f>", a, re.S):
        jsonschema.validate(json.loads(inside), TOOLS[1]["function"]["parameters"])
    new = {"type": "structural_tag", "format": {"type": "tag", "begin": "<f>", "content": {"type": "json_schema", "json_schema": TOOLS[0]["function"]["parameters"]},
                                                "end": "</f>"}}
    a = chat(s, temperature=1, seed=2, response_format=new).choices[0]
    inside = re.fullmatch(r"<f>(.*)</f>", a.message.content, re.S)
    jsonschema.validate(json.loads(inside[1]), TOOLS[0]["function"]["parameters"])
    status, a = s.post("/v1/chat/completions", {"messages": ASK, "response_format": {"type": "structural_tag", "format": {"type": "nothing"}}})
    assert status == 400 and a["error"]["param"] == "response_format", a


def test_refusals(s):
    begun = s.get("/server_info")[1]
    bad = [({"regex": "(a"}, "regex", "byte 2"),
           ({"regex": "a", "ebnf": "b"}, "ebnf", "one of them"),
           ({"ebnf": "root ::= nothing"}, "ebnf", "nothing"),
           ({"json_schema": "INVALID"}, "json_schema", "no JSON"),
           ({"response_format": formatted({"properties": {"a": {"type": "foo"}}})}, "response_format", "/properties/a/type"),
           ({"response_format": {"type": "json_schema"}}, "response_format", "json_schema"),
           ({"response_format": formatted({"type": "string", "minLength": 5, "maxLength": 2})}, "response_format", "nothing"),
           ({"guided_json": {"$ref": "http://elsewhere/x"}}, "guided_json", "$ref"),
           ({"guided_choice": []}, "guided_choice", "")]
    for stream in [False, True]:
        for more, param, words in bad:
            status, a = s.post("/v1/chat/completions", {"messages": ASK, "max_tokens": 5, "stream": stream, **more})
            assert status == 400 and a["error"]["param"] == param and words in a["error"]["message"], (more, status, a)
    status, a = s.post("/generate", {"text": "x", "sampling_params": {"json_schema": "INVALID"}})
    assert status == 400, a
    assert s.get("/server_info")[0] == 200 and begun


def test_hostile_beside_others(s):
    """Constraints that take all the limits allow are refused, and free requests beside them do not wait for that."""
    alternatives = "|".join("(a|b)*" + "ab"[i % 2] + "(a|b){%d}" % (400 + i) for i in range(60))
    bad = [{"regex": alternatives + "{%d}" % k} for k in range(2, 6)] + [{"regex": "(" * 5000 + ")" * 5000}]
    bad += [{"json_schema": json.dumps({"allOf": [{"oneOf": [{"type": "object", "properties": {f"p{i}{j}{k}": {"type": "string"}}} for j in range(40)]} for i in range(6)]})}
            for k in range(2)]

    def hostile(more):
        return s.post("/v1/chat/completions", {"messages": ASK, "max_tokens": 4, **more})

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(hostile, b) for b in bad]
        begin = time.monotonic()
        s.good("/v1/completions", {"prompt": "One, two,", "max_tokens": 2, "temperature": 0})
        free = time.monotonic() - begin
        answers = [w.result() for w in waiting]
    assert all(status in (200, 400) for status, _ in answers), answers
    assert any(status == 400 for status, _ in answers)
    assert SLOW or free < 2.5, free


def test_mixed_load(s):
    """Constrained and free requests at once, half of them left; nothing stays behind."""
    held = [s.connect("/v1/chat/completions", {"messages": ASK, "max_tokens": 2000, "stream": True, "regex": "[a-z ]{1500,}"}) for _ in range(4)]
    s.wait_load(4)

    def ask(i):
        if i % 2:
            return s.good("/v1/completions", {"prompt": f"{i} birds", "max_tokens": 8, "temperature": 0})
        text = chat(s, temperature=1, seed=i, extra_body={"regex": f"{i}-[a-f]{{5}}"}).choices[0].message.content
        assert re.fullmatch(f"{i}-[a-f]{{5}}", text), text
        return None
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(ask, range(8 if SLOW else 40)))
    for h in held:
        h.close()
    s.wait_load(0)
    assert s.get("/flush_cache?timeout=10")[0] == 200


TESTS = [test_schemas_at_temperature_1, test_json_object, test_stream_is_the_same, test_regex_choice_ebnf, test_generate,
         test_logprobs_are_of_what_is_allowed, test_limits_of_the_output, test_tools,
         test_structural_tag, test_refusals, test_hostile_beside_others, test_mixed_load]
FEW = [test_generate, test_refusals]
if __name__ == "__main__":
    run(sys.argv[1], TESTS, FEW, "--verify")
