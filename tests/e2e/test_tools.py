#!/usr/bin/env python3
"""Tool calls of `radish serve` with a real model, in one dialect after the other: the official client, jsonschema as the judge.

The model knows none of the dialects; a call that is asked for comes all the same, and the parser must read back what the
constraint let through. argv[1] is the build folder."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
try:
    import jsonschema
    import openai
except ImportError as e:
    print(f"radish-test: skip: {e}")
    sys.exit(77)
from server import PATIENCE, SLOW, SLOWEST, Server, model

BOOK = {"type": "object", "additionalProperties": False, "required": ["name", "guests", "outside"],
        "properties": {"name": {"type": "string", "maxLength": 12}, "guests": {"type": "integer", "minimum": 1, "maximum": 20},
                       "outside": {"type": "boolean"}, "dishes": {"type": "array", "items": {"enum": ["soup", "fish"]}, "maxItems": 2}}}
TOOLS = [{"type": "function", "function": {"name": "book_table", "description": "Book a table", "parameters": BOOK}},
         {"type": "function", "function": {"name": "say", "strict": True, "parameters": {
             "type": "object", "properties": {"word": {"enum": ["yes", "no"]}}, "required": ["word"], "additionalProperties": False}}}]
SCHEMAS = {t["function"]["name"]: t["function"]["parameters"] for t in TOOLS}
ASK = [{"role": "user", "content": "Book a table for two, inside, for Ada."}]
DIALECTS = ["hermes", "qwen3_coder", "llama3", "llama4_pythonic", "mistral", "mistral_v11", "deepseek_v3", "deepseek_v31", "deepseek_v32",
            "gpt-oss", "kimi_k2", "glm45", "minimax_m2", "cohere", "gemma4", "phi4_mini"]


def calls_of(message):
    return [(c.function.name, c.function.arguments) for c in message.tool_calls or []]


def streamed(stream):
    """Calls put together from deltas, ids, and finish reasons; the shape of each delta is checked."""
    calls, ids, finish = [], [], []
    for x in stream:
        for choice in x.choices:
            if choice.finish_reason:
                finish.append(choice.finish_reason)
            for d in choice.delta.tool_calls or []:
                if d.id is not None:
                    assert d.index == len(calls) and d.type == "function" and d.function.name, d
                    calls.append([d.function.name, d.function.arguments or ""])
                    ids.append(d.id)
                else:
                    assert d.index == len(calls) - 1 and d.function.name is None, d
                    calls[-1][1] += d.function.arguments
    return [tuple(c) for c in calls], ids, finish


def check(client, seed, **more):
    """Whole and streamed answers agree; every call fulfils its tool's schema."""
    body = dict(model="smol", messages=ASK, tools=TOOLS, temperature=1, seed=seed, max_tokens=400, **more)
    a = client.chat.completions.create(**body).choices[0]
    calls = calls_of(a.message)
    again, ids, finish = streamed(client.chat.completions.create(stream=True, **body))
    assert again == calls and finish == [a.finish_reason] and len(set(ids)) == len(calls), (again, calls)
    if a.finish_reason == "length":
        return calls
    assert a.finish_reason == "tool_calls" and calls, a
    for name, arguments in calls:
        jsonschema.validate(json.loads(arguments), SCHEMAS[name])
    return calls


def test_dialect(build, dialect):
    s = Server(build, "--tool-call-parser", dialect)
    try:
        client = openai.OpenAI(base_url=s.url + "/v1", api_key="none", max_retries=0, timeout=PATIENCE)
        for seed in range(1 if SLOW else 2):
            one = check(client, seed, tool_choice="required", parallel_tool_calls=False)
            assert len(one) == 1, (dialect, one)
            named = check(client, seed, tool_choice={"type": "function", "function": {"name": "say"}})
            assert [name for name, _ in named] == ["say"], (dialect, named)
        if not SLOW:
            check(client, 7, tool_choice="required")
        # What was called goes back into the prompt.
        name, arguments = one[0]
        more = [{"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}]},
                {"role": "tool", "tool_call_id": "call_1", "content": "done"}]
        a = client.chat.completions.create(model="smol", messages=ASK + more, tools=TOOLS, tool_choice="none", max_tokens=3, temperature=0)
        assert a.choices[0].message.tool_calls is None
        cut = client.chat.completions.create(model="smol", messages=ASK, tools=TOOLS, tool_choice="required", max_tokens=3, temperature=0)
        assert cut.choices[0].finish_reason == "length"
    finally:
        s.stop()


def test_reasoning(build):
    """A model that begins inside its thoughts and is cut there has no content; without the split all is content."""
    s = Server(build, "--reasoning-parser", "deepseek-r1")
    try:
        body = {"messages": ASK, "max_tokens": 12, "temperature": 0}
        a = s.good("/v1/chat/completions", body)["choices"][0]
        assert a["message"]["reasoning_content"] and a["message"]["content"] == "" and a["finish_reason"] == "length", a
        plain = s.good("/v1/chat/completions", {**body, "separate_reasoning": False})["choices"][0]["message"]
        assert plain["reasoning_content"] is None and plain["content"].strip() == a["message"]["reasoning_content"].strip()
        deltas = [c["choices"][0]["delta"].get("reasoning_content") for c in s.events("/v1/chat/completions", body) if c["choices"]]
        assert "".join(d for d in deltas if d) == a["message"]["reasoning_content"] and len([d for d in deltas if d]) > 3
        status, why = s.post("/v1/chat/completions", {**body, "thinking_budget": 5})  # its vocabulary has no </think>
        assert status == 400 and why["error"]["param"] == "thinking_budget", why
        whole = [c["choices"][0]["delta"].get("reasoning_content") for c in s.events("/v1/chat/completions", {**body, "stream_reasoning": False}) if c["choices"]]
        assert [d for d in whole if d] == [a["message"]["reasoning_content"]]
    finally:
        s.stop()


def test_texts(build):
    """Answers that came from elsewhere are taken apart."""
    s = Server(build)
    try:
        text = 'Ok.\n<tool_call>\n{"name": "say", "arguments": {"word": "no"}}\n</tool_call>'
        a = s.good("/parse_function_call", {"text": text, "tools": TOOLS, "tool_call_parser": "qwen25"})
        assert a == {"normal_text": "Ok.", "calls": [{"tool_index": 1, "name": "say", "parameters": '{"word": "no"}'}]}, a
        for given in ("<think>Hm</think>\nok", "Hm</think>ok"):
            a = s.good("/separate_reasoning", {"text": given, "reasoning_parser": "qwen3"})
            assert a == {"reasoning_text": "Hm", "text": "ok"}, a
        for path, body, param in [("/parse_function_call", {"text": text, "tools": TOOLS, "tool_call_parser": "morse"}, "tool_call_parser"),
                                  ("/parse_function_call", {"text": text, "tools": TOOLS}, "tool_call_parser"),
                                  ("/parse_function_call", {"text": text, "tools": [{}], "tool_call_parser": "hermes"}, "tools"),
                                  ("/parse_function_call", {"tools": TOOLS, "tool_call_parser": "hermes"}, "text"),
                                  ("/separate_reasoning", {"text": 1, "reasoning_parser": "qwen3"}, "text"),
                                  ("/separate_reasoning", {"text": "", "reasoning_parser": ""}, "reasoning_parser")]:
            status, a = s.post(path, body)
            assert status == 400 and a["error"]["param"] == param, (body, a)
    finally:
        s.stop()


def main():
    build = sys.argv[1]
    model()
    some = DIALECTS[:1] if SLOWEST else DIALECTS[:4] if SLOW else DIALECTS
    for dialect in some:
        test_dialect(build, dialect)
        print(f"ok {dialect}", flush=True)
    for test in (test_reasoning, test_texts):
        test(build)
        print(f"ok {test.__name__}", flush=True)


main()
