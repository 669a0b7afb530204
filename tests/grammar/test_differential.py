"""JSON schemas through `radish grammar-check` against the jsonschema package: random schemas, random valid documents, and mutations of
them. A document is accepted if and only if jsonschema takes it (its keys are written in the order of the schema)."""
import copy
import json
import os
import random
import subprocess
import sys
import tempfile

import jsonschema

sys.path.insert(0, os.path.dirname(__file__))
from test_regex import BUILD, tokenizer

N_SCHEMAS, N_DOCUMENTS, N_MUTATIONS = 150, 4, 8
KEYS = ["a", "b", "ab", "c d", "é", "x1", "x2"]


def scalar_schema(r):
    kind = r.randrange(7)
    if kind == 0:
        lo = r.randint(-20, 20)
        return {"type": "integer", "minimum": lo, "maximum": lo + r.randint(0, 30)}
    if kind == 1:
        return {"type": "number", r.choice(["minimum", "exclusiveMinimum"]): r.choice([0, -1.5, 2.25]), "maximum": 9}
    if kind == 2:
        lo = r.randint(0, 3)
        return {"type": "string", "minLength": lo, "maxLength": lo + r.randint(0, 4)}
    if kind == 3:
        return {"type": "string", "pattern": r.choice(["^a+b?$", "b", "^[a-c]{2}", "c$", "^(ab|c)*$"])}
    if kind == 4:
        return {"enum": r.sample(["a", "b", 1, 2, 3, None, True, "é\"\\"], r.randint(1, 5))}
    if kind == 5:
        return {"type": "integer", "multipleOf": r.choice([2, 3, 5, 12])}
    return {"type": r.sample(["null", "boolean", "integer", "string"], r.randint(1, 3))}


def object_schema(r, depth):
    keys = r.sample(KEYS, r.randint(0, 4))
    s = {"type": "object", "properties": {k: schema(r, depth - 1) for k in keys}}
    if keys:
        s["required"] = r.sample(keys, r.randint(0, len(keys)))
    more = r.randrange(4)
    if more == 0:
        s["additionalProperties"] = False
    if more == 1:
        s["additionalProperties"] = scalar_schema(r)
    if r.randrange(4) == 0:
        s["patternProperties"] = {"^x": scalar_schema(r)}
    if r.randrange(5) == 0:
        s["minProperties"] = r.randint(0, 2)
        s["maxProperties"] = r.randint(2, 5)
    if len(keys) > 1 and r.randrange(5) == 0:
        s["dependentRequired"] = {keys[0]: [keys[1]]}
    return s


def array_schema(r, depth):
    s = {"type": "array", "items": schema(r, depth - 1), "maxItems": r.randint(2, 5)}
    if r.randrange(3) == 0:
        s["prefixItems"] = [scalar_schema(r)]
    if r.randrange(3) == 0:
        s["minItems"] = r.randint(1, 2)
    if r.randrange(4) == 0:
        s["contains"] = scalar_schema(r)
        s["minContains"] = r.randint(0, 2)
        if r.randrange(2):
            s["maxContains"] = r.randint(2, 3)
    return s


def schema(r, depth):
    kind = r.randrange(9) if depth else 0
    if kind < 3:
        return scalar_schema(r)
    if kind < 5:
        return object_schema(r, depth)
    if kind == 5:
        return array_schema(r, depth)
    if kind == 6:
        return {r.choice(["anyOf", "oneOf"]): [schema(r, depth - 1) for _ in range(r.randint(1, 3))]}
    if kind == 7:
        return {"allOf": [schema(r, depth - 1)], "not": {"enum": r.sample(["a", 1, 2, None, [], {}], 2)}}
    return {"if": scalar_schema(r), "then": schema(r, depth - 1), "else": schema(r, depth - 1), "type": ["integer", "string", "object"]}


def value(r, s, depth=4):
    """Something that often is of the schema: the caller asks jsonschema."""
    if s is True or s is False or not s or depth == 0:
        return r.choice([None, True, 0, 1, 5, "a", "ab", "", [], {}])
    for key in ("anyOf", "oneOf", "allOf"):
        if key in s:
            return value(r, r.choice(s[key]), depth - 1)
    if "if" in s:
        return value(r, s[r.choice(["then", "else"])], depth - 1)
    if "enum" in s:
        return copy.deepcopy(r.choice(s["enum"]))
    kind = s["type"] if isinstance(s["type"], str) else r.choice(s["type"])
    if kind == "integer":
        return r.randint(-20, 20) * s.get("multipleOf", 1)
    if kind == "number":
        return r.choice([0, 2.25, -1.5, 3.75, 8, 9, 0.5])
    if kind == "string":
        return "".join(r.choice("abcé\"") if "pattern" not in s else r.choice("abc") for _ in range(r.randint(0, 4)))
    if kind == "array":
        items = [value(r, p, depth - 1) for p in s.get("prefixItems", [])]
        items += [value(r, s.get("items", {}), depth - 1) for _ in range(r.randint(0, 3))]
        if "contains" in s:
            items += [value(r, s["contains"], depth - 1) for _ in range(r.randint(0, 2))]
        return items
    if kind == "object":
        out = {k: value(r, v, depth - 1) for k, v in s.get("properties", {}).items() if k in s.get("required", []) or r.randrange(2)}
        if r.randrange(3) == 0:
            out[r.choice(["z", "x3"])] = value(r, s.get("additionalProperties", True), depth - 1)
        return out
    return {"null": None, "boolean": True}[kind]


def mutated(r, doc):
    """One change somewhere."""
    if isinstance(doc, dict) and doc and r.randrange(3):
        k = r.choice(list(doc))
        if r.randrange(3) == 0:
            return {x: v for x, v in doc.items() if x != k}
        return {x: mutated(r, v) if x == k else v for x, v in doc.items()}
    if isinstance(doc, list) and doc and r.randrange(3):
        i = r.randrange(len(doc))
        return doc[:i] + ([] if r.randrange(3) == 0 else [mutated(r, doc[i])]) + doc[i + 1:]
    if isinstance(doc, dict):
        return {**doc, "zz": r.choice([0, "a", None])}
    if isinstance(doc, list):
        return doc + [r.choice([0, "a", None])]
    if isinstance(doc, str) and r.randrange(2):
        return doc + r.choice("ab\"é")
    if isinstance(doc, (int, float)) and not isinstance(doc, bool) and r.randrange(2):
        return doc + r.choice([1, -1, 7])
    return r.choice([None, False, 3, "b", [1], {"a": 1}])


def has_point(doc):
    """A whole number written with a fraction is an integer to jsonschema, and is not written so here."""
    if isinstance(doc, float):
        return doc == int(doc)
    inside = doc.values() if isinstance(doc, dict) else doc if isinstance(doc, list) else []
    return any(has_point(x) for x in inside)


def main():
    r = random.Random(20)
    lines, want = [], []
    while len(lines) < N_SCHEMAS:
        s = schema(r, 3)
        check = jsonschema.Draft202012Validator(s)
        docs = []
        for _ in range(N_DOCUMENTS):
            doc = value(r, s)
            docs += [doc] + [mutated(r, doc) for _ in range(N_MUTATIONS)]
        docs = [d for d in docs if not has_point(d)]
        verdicts = [check.is_valid(d) for d in docs]
        if not any(verdicts):
            continue
        lines.append(json.dumps({"schema": s, "instances": docs, "options": {"order": "any"}}, ensure_ascii=False))
        want.append((s, docs, verdicts))
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "tokenizer.json")
        tokenizer(path)
        out = subprocess.run([os.path.join(BUILD, "radish"), "grammar-check", "--tokenizer", path], input="\n".join(lines) + "\n",
                             capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(out) == len(lines), (len(out), len(lines))
    compiled = valid = invalid = 0
    for (s, docs, verdicts), line in zip(want, out):
        got = json.loads(line)
        if not got["ok"]:
            continue
        compiled += 1
        for doc, v, result in zip(docs, verdicts, got["results"]):
            assert result["accepted"] == v, (json.dumps(s), json.dumps(doc), v, result)
            valid += v
            invalid += not v
    print(f"{compiled} of {len(lines)} schemas compiled; {valid} valid documents accepted, {invalid} invalid ones refused")
    assert compiled > len(lines) * 0.9 and valid > 500 and invalid > 1000
    print("[  PASSED  ] 1 test(s).")


main()
