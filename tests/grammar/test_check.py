"""`radish grammar-check` itself: one answer a line in order, raw texts and compact instances, errors with their place."""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
from test_regex import BUILD, tokenizer

LINES = [
    # each line, then what is accepted, or a piece of the error and the pointer
    ({"regex": "[ab]+\\n", "texts": ["ab\n", "ab", "abc\n", ""]}, [True, False, False, False]),
    ('{"regex":"\\\\{\\"a\\":\\\\[1,-2\\\\.50,1e3\\\\],\\"b\\": ?\\"x y\\\\\\\\n\\"\\\\}", "instances": [ {"a" : [ 1 , -2.50, 1e3 ], "b":"x y\\n"} , {"b":1}]}', [True, False]),
    ({"choice": ["yes", "no", "é\"", "yes sir"], "texts": ["yes", "é\"", "yes sir", "yes s", "maybe"]}, [True, True, True, False, False]),
    ({"choice": ["a", 1], "texts": []}, ("must be a string", "/1")),
    ({"regex": "(a", "texts": ["a"]}, ("without )", "")),
    ({"regex": "a(?<=b)", "texts": ["a"]}, ("look-behind", "")),
    ({"regex": "x{2000000}"}, ("repeats 2000000 times", "")),
    ("not json", ("no JSON object", "")),
    ({"texts": ["a"]}, ("no JSON object", "")),
    ({"regex": "a*"}, []),
    ({"regex": "(a|b)*", "texts": ["ab" * 5000]}, [True]),
    # [CALL] is a special token: it is what the text stands for in a tag, and never text
    ({"structural_tag": {"type": "structural_tag", "format": {"type": "triggered_tags", "triggers": ["[CALL]"], "tags": [
        {"begin": "[CALL]f", "content": {"type": "json_schema", "json_schema": {"type": "integer"}}, "end": ";"}]}},
      "texts": ["text [C", "text[CALL]f12;[CALL]f0;", "[CALL]", "[CALL]g1;", "[CALL]fx;", "[CALL]f12"]}, [True, True, False, False, False, False]),
    ({"structural_tag": {"type": "structural_tag", "format": {"type": "any_text"}}, "texts": ["a", "[CALL]"]}, [True, False]),
    ({"structural_tag": {"format": {"type": "sequence", "elements": [{"type": "regex", "pattern": "("}]}}}, ("", "/format/elements/0/pattern")),
]


def main():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "tokenizer.json")
        tokenizer(path)
        lines = [x if isinstance(x, str) else json.dumps(x) for x, _ in LINES]
        out = subprocess.run([os.path.join(BUILD, "radish"), "grammar-check", "--tokenizer", path], input="\n".join(lines) + "\n\n",
                             capture_output=True, text=True, check=True).stdout.splitlines()
        none = subprocess.run([os.path.join(BUILD, "radish"), "grammar-check"], input="", capture_output=True, text=True)
    assert none.returncode == 1 and "no tokenizer" in none.stderr, none
    assert len(out) == len(LINES), out
    for (_, want), line in zip(LINES, out):
        got = json.loads(line)
        if isinstance(want, tuple):
            assert got["ok"] is False and want[0] in got["error"] and got["pointer"] == want[1], (want, got)
            continue
        assert got["ok"] is True and got["compile_us"] >= 0, got
        assert [r["accepted"] for r in got["results"]] == want, (line, want)
        for r in got["results"]:
            assert r["masks"] >= 1 and 0 <= r["mask_us_mean"] <= r["mask_us_max"], r
    print("[  PASSED  ] 1 test(s).")


main()
