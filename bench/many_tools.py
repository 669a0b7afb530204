"""Writes a file for `radish bench grammar`: many tools at once, Hermes's frame, as a structural tag; texts that call some of them.

python3 bench/many_tools.py 500 > FOLDER/tools.json && radish bench grammar -m TOKENIZER FOLDER"""
import json
import random
import sys

random.seed(1)
KINDS = [{"type": "string"}, {"type": "string", "maxLength": 100000}, {"type": "integer", "minimum": 0}, {"enum": ["r", "w", "x"]},
         {"type": "array", "items": {"type": "string"}}, {"type": "boolean"}, {"type": "string", "format": "date"},
         {"type": "object", "properties": {"lat": {"type": "number"}, "lon": {"type": "number"}}, "required": ["lat", "lon"],
          "additionalProperties": False}]


def value(schema):
    if "enum" in schema:
        return schema["enum"][0]
    plain = {"integer": 42, "boolean": True, "number": 1.5, "array": ["ab c", "d"], "string": "hello world " * 20}
    if schema["type"] == "object":
        return {k: value(v) for k, v in schema["properties"].items()}
    return "2024-01-02" if "format" in schema else plain[schema["type"]]


def main():
    tags, texts = [], ["No tool is called. if (a<b) { x = '<tool'; }\n" * 5]
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    for i in range(n):
        name = f"{random.choice(['get', 'set', 'find', 'list'])}_{i}"
        keys = [f"k{i}_{x}" for x in random.sample(["path", "name", "query", "limit", "city", "date", "mode", "opts"], random.randint(2, 6))]
        schema = {"type": "object", "properties": {k: random.choice(KINDS) for k in keys}, "required": keys[:2], "additionalProperties": False}
        begin, end = '<tool_call>\n{"name": "%s", "arguments": ' % name, "}\n</tool_call>"
        tags.append({"begin": begin, "content": {"type": "json_schema", "json_schema": schema}, "end": end})
        if i % max(n // 100, 1) == 0:
            texts.append("A tool is called now, as 3 < 5.\n" + begin + json.dumps(value(schema)) + end)
    tag = {"type": "structural_tag", "format": {"type": "triggered_tags", "triggers": ["<tool_call>"], "tags": tags}}
    json.dump({"structural_tag": tag, "tests": [{"text": t, "valid": True} for t in texts]}, sys.stdout)


main()
