#!/usr/bin/env python3
"""Writes data/packages.gguf, data/packages-0000N-of-00003.gguf and data/packages/ with the formats' own Python packages (gguf,
safetensors, torch), so that test_packages.c reads what other people's writers write. Element k of tensor t is (k * 7 % 31 -
15) * 0.25 + t. Run it by hand when something joins; the tests only read the files."""
import json
import pathlib

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as T
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).with_name("data")
TYPES = [T.F32, T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1]


def values(t, *shape):
    k = np.arange(np.prod(shape, dtype=int))
    return ((k * 7 % 31 - 15) * 0.25 + t).astype(np.float32).reshape(shape)


def write_gguf(path, **options):
    w = gguf.GGUFWriter(path, "llama", **options)
    w.add_block_count(3)
    w.add_context_length(4096)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_head_count_kv([1, 2, 3])
    w.add_token_list(["<s>", "Ġthe", "\n", "日本"])
    w.add_token_types([3, 1, 1, 1])
    w.add_add_bos_token(True)
    w.add_uint64("x.big", 2**63 + 1)
    w.add_int64("x.small", -(2**62))
    if not options:
        w.add_custom_alignment(64)
    for t, qtype in enumerate(TYPES):
        data = gguf.quants.quantize(values(t, 3, 64), qtype)
        w.add_tensor(f"t{t}.{qtype.name}", data, raw_dtype=None if qtype in (T.F32, T.F16) else qtype)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_safetensors(folder):
    folder.mkdir(exist_ok=True)
    dtypes = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e5m2]
    tensors = {f"t{t}": torch.from_numpy(values(t, 2, 3, 5)).to(d) for t, d in enumerate(dtypes)}
    tensors["scalar"] = torch.tensor(7, dtype=torch.int64)
    tensors["empty"] = torch.zeros(4, 0)
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[:3], "model-00002-of-00002.safetensors": names[3:]}
    for file, part in shards.items():
        save_file({n: tensors[n] for n in part}, folder / file, {"format": "pt"})
    index = {"metadata": {"total_size": 0}, "weight_map": {n: f for f, part in shards.items() for n in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    (folder / "config.json").write_text('{\n  "model_type": "none"\n}\n')


HERE.mkdir(exist_ok=True)
write_gguf(HERE / "packages.gguf")
write_gguf(HERE / "packages.gguf", split_max_tensors=3)
write_safetensors(HERE / "packages")
