#!/usr/bin/env python3
"""Random GGUF and safetensors files by the formats' own Python packages, read back through `radish inspect --json`; and its
answers to what is no checkpoint. argv[1] is the build folder."""
import json
import pathlib
import random
import subprocess
import sys
import tempfile

try:
    import gguf
    import numpy as np
    from safetensors.numpy import save_file
except ImportError as e:
    print(f"radish-test: skip: {e}")
    sys.exit(77)

RADISH = pathlib.Path(sys.argv[1]) / "radish"
NUMPY = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "I16": np.int16,
         "I8": np.int8, "U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "U64": np.uint64, "BOOL": np.bool_}
PLAIN = {"F32", "F16", "F64", "I8", "I16", "I32", "I64"}  # what GGUF has of them
BLOCKED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"]


def inspect(path, work, *options):
    out = work / "out.json"
    done = subprocess.run([RADISH, "inspect", path, "--json", out, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text()), done.stdout


def refused(path, why, *options):
    done = subprocess.run([RADISH, "inspect", path, *options], capture_output=True, text=True)
    assert done.returncode == 1, (path, done.returncode)
    assert why in done.stderr and done.stderr.count("\n") == 1 and not done.stdout, (path, done.stderr)


def random_gguf(rng, path):
    """A file with keys of every type and tensors of every format; what inspect should say of it."""
    w = gguf.GGUFWriter(path, "none")
    metas, tensors = {"general.architecture": "none"}, []
    if rng.random() < 0.5:
        w.add_custom_alignment(1 << rng.randrange(3, 9))
    for i in range(rng.randrange(20)):
        kind, big = rng.choice("uint8 int8 uint16 int16 uint32 int32 uint64 int64 bool string float32 array words".split()), 1 << 63
        value = {"uint64": rng.randrange(2 * big), "int64": rng.randrange(-big, big), "bool": rng.random() < 0.5,
                 "string": "".join(chr(rng.choice([65, 0xE9, 10, 34, 0x65E5, 0x1F600])) for _ in range(rng.randrange(50))),
                 "float32": float(np.float32(rng.gauss(0, 1))), "array": [rng.randrange(1000) for _ in range(rng.randrange(1, 50))],
                 "words": [str(rng.random()) for _ in range(rng.randrange(1, 50))]}.get(kind)
        if value is None:
            bits = int(kind.lstrip("uint"))
            value = rng.randrange(1 << bits) - (0 if kind[0] == "u" else 1 << (bits - 1))
        getattr(w, "add_" + {"words": "array"}.get(kind, kind))(f"key.{i}", value)
        metas[f"key.{i}"] = value
    for i in range(rng.randrange(1, 20)):
        dtype = rng.choice([*PLAIN, *BLOCKED])
        shape = [rng.randrange(1, 5) for _ in range(rng.randrange(1, 5))]
        if dtype in PLAIN:
            data = np.zeros(shape, NUMPY[dtype])
            w.add_tensor(f"tensor.{i}", data)
        else:
            elems, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[dtype]]
            blocks = shape[-1]
            shape[-1] = blocks * elems
            data = np.zeros([*shape[:-1], blocks * size], np.uint8)
            w.add_tensor(f"tensor.{i}", data, raw_dtype=gguf.GGMLQuantizationType[dtype])
        tensors.append({"name": f"tensor.{i}", "dtype": dtype, "shape": shape, "bytes": data.nbytes})
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return metas, tensors


def gguf_files(work):
    for seed in range(25):
        metas, tensors = random_gguf(random.Random(seed), work / "x.gguf")
        got, text = inspect(work / "x.gguf", work)
        assert got["kind"] == "gguf"
        for key, value in metas.items():
            read = got["metadata"][key]
            assert np.float32(read) == np.float32(value) if isinstance(value, float) else read == value, (seed, key, read, value)
        assert got["tensors"] == tensors, (seed, got["tensors"], tensors)
        assert got["elements"] == sum(int(np.prod(t["shape"])) for t in tensors)
        assert got["plan"] is None and "memory plan\n  none: " in text


def safetensors_files(work):
    folder = work / "hf"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "none", "list": [1, 2], "text": "\\u001b[31mred"}')
    for seed in range(25):
        rng = random.Random(seed)
        arrays = {f"layer.{i}": np.zeros([rng.randrange(5) for _ in range(rng.randrange(5))], NUMPY[rng.choice([*NUMPY])])
                  for i in range(rng.randrange(30))}
        save_file(arrays, folder / "model.safetensors", {"format": "np"} if rng.random() < 0.5 else None)
        got, text = inspect(folder, work)
        names = {np.dtype(v): k for k, v in NUMPY.items()}
        want = {n: (names[a.dtype], list(a.shape), a.nbytes) for n, a in arrays.items()}
        assert got["kind"] == "safetensors"
        assert {t["name"]: (t["dtype"], t["shape"], t["bytes"]) for t in got["tensors"]} == want, seed
        assert "\x1b" not in text and '[1,2]' in text


LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
         "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1000,
         "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "torch_dtype": "bfloat16"}


def a_description_has_a_plan(work):
    """Only config.json: parameters and cache follow from it, by hand."""
    path = work / "tiny.json"
    path.write_text(json.dumps(LLAMA))
    got, text = inspect(path, work, "--load-format", "dummy", "--device", "cpu")
    layer = 64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 128 + 2 * 64
    assert got["plan"]["parameters"] == 2 * 1000 * 64 + 2 * layer + 64, got["plan"]
    assert got["plan"]["kv_page_bytes"] // got["plan"]["kv_page_tokens"] in (2 * 2 * 32 * 2, 2 * 2 * 32 * 4)
    assert got["tensors"] == [] and "LlamaForCausalLM" in text and "one full context" in text


def wrong_paths(work):
    empty = work / "empty"
    empty.mkdir()
    (work / "cut.gguf").write_bytes(b"GGUF\3\0\0\0")
    refused("/no/such/file", "no such file or folder")
    refused(empty, "a folder without config.json")
    refused(work / "cut.gguf", "cut.gguf: ends inside the header")
    (work / "config.json").write_text("{}")
    refused(work / "config.json", "give its folder")


def main():
    if not RADISH.exists():
        print("radish-test: skip: no radish binary in this build")
        sys.exit(77)
    tests = [gguf_files, safetensors_files, a_description_has_a_plan, wrong_paths]
    for test in tests:
        with tempfile.TemporaryDirectory() as work:
            test(pathlib.Path(work))
        print(f"[       OK ] {test.__name__}")
    print(f"[  PASSED  ] {len(tests)} test(s).")


main()
