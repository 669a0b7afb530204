#!/usr/bin/env python3
"""Write ../data/tok: small tokenizer.json files of every kind (tiny.py), texts.json, and NAME.ids.json with what Hugging
Face's `tokenizers` (0.23.3) makes of each text: [ids], or [ids, ids with specials and post-processor] where these differ;
and what every third text's last ids decode to.

Also families.json, how the families that GGUF files name cut texts, and NAME.model: small SentencePiece models, with sentencepiece's (0.2.3) ids, which has no specials in texts.

Usage: make_golden.py      (needs tokenizers and sentencepiece)
"""
import json
import pathlib
import struct
import tempfile

import sentencepiece
import tiny

OUT = pathlib.Path(__file__).resolve().parent.parent / "data" / "tok"


def compact(value):
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n"


def golden(t, text):
    special = t.encode(text, add_special_tokens=True).ids
    t.encode_special_tokens = True
    plain = t.encode(text, add_special_tokens=False).ids
    t.encode_special_tokens = False
    return [plain] if plain == special else [plain, special]


def sentencepiece_models(texts):
    for name, options in tiny.sentencepiece_options().items():
        tiny.train_sentencepiece(OUT / f"{name}.model", options)
        model = sentencepiece.SentencePieceProcessor(model_file=str(OUT / f"{name}.model"))
        (OUT / f"{name}.ids.json").write_text(compact({"ids": [[model.encode(s)] for s in texts], "decoded": []}))


def families(texts):
    """families.json: one vocabulary, and for each family that GGUF files name the FNV-1a of each text's ids (little-endian
    int32), as ids would be many: what differs is told by test_hf.py."""
    with tempfile.TemporaryDirectory() as folder:
        files = list(tiny.family_files(pathlib.Path(folder)))
    model = json.loads(files[0][1].to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    hashes = {name: [fnv(t.encode(s, add_special_tokens=False).ids) for s in texts] for name, t, _ in files}
    (OUT / "families.json").write_text(compact({"tokens": tokens, "merges": merges, "families": hashes}))


def fnv(ids):
    h = 0x811C9DC5
    for byte in struct.pack(f"<{len(ids)}i", *ids):
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return h


def main():
    texts = list(dict.fromkeys(tiny.strings()))
    (OUT / "texts.json").write_text(compact(texts))
    for name, build in tiny.builders().items():
        if name == "unigram_charsmap":
            continue  # 300 KB: in test_hf.py only
        t = build()
        data = json.loads(t.to_str())
        (OUT / f"{name}.json").write_text(compact(data))
        ids = [golden(t, s) for s in texts]
        decoded = [t.decode(i[-1], skip_special_tokens=False) if i[-1] else "" for i in ids[::3]]
        (OUT / f"{name}.ids.json").write_text(compact({"ids": ids, "decoded": decoded}))
    families(texts)
    sentencepiece_models(texts)
    size = sum(p.stat().st_size for p in OUT.iterdir())
    print(len(texts), "texts,", size, "bytes")


if __name__ == "__main__":
    main()
