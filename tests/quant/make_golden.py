#!/usr/bin/env python3
"""Writes golden.bin for test_quant.c with the gguf package (pip install gguf numpy): what blocks mean, and how floats round.

A record is: kind (b'D' dequantise or b'Q' quantise), 7 bytes of format name padded with zeros, u32 elements, u32 bytes,
the block bytes, the floats. Run it by hand when a format joins; the tests only read the file."""
import pathlib
import struct

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

BLOCKED = [T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q2_K, T.Q3_K, T.Q4_K, T.Q5_K, T.Q6_K, T.IQ4_NL, T.IQ4_XS]
# where each format keeps its f16 numbers
HALVES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q2_K: [80, 82], T.Q3_K: [108],
          T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.IQ4_NL: [0], T.IQ4_XS: [0]}
ROUNDED = [T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0]
rng = np.random.default_rng(3)


def record(kind, qtype, raw, floats):
    raw = np.ascontiguousarray(raw).tobytes()
    floats = np.ascontiguousarray(floats, dtype=np.float32)
    return kind + qtype.name.encode().ljust(7, b"\0") + struct.pack("<II", floats.size, len(raw)) + raw + floats.tobytes()


def finite_half():
    """Any finite f16: all exponents are as likely, subnormals and the largest included."""
    while True:
        h = int(rng.integers(0, 65536))
        if h & 0x7C00 != 0x7C00:
            return struct.pack("<H", h)


def random_blocks(qtype, n):
    elems, size = gguf.GGML_QUANT_SIZES[qtype]
    raw = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for block in raw:
        for at in HALVES[qtype]:
            block[at:at + 2] = np.frombuffer(finite_half(), dtype=np.uint8)
    return raw


def rows_to_round():
    """Rows of 32: ordinary weights at several scales, and the corners (zeros, constants, ties, one outlier)."""
    rows = [rng.normal(0, s, 32) for s in (1, 0.02, 30, 1e-3, 1e-6) for _ in range(3)]
    rows += [np.zeros(32), np.full(32, 0.5), np.full(32, -3.25), np.arange(32), np.arange(32) - 16.0, -np.arange(32)]
    rows += [np.where(np.arange(32) == 7, 100.0, rng.normal(0, 1, 32))]
    rows += [np.linspace(-1, 1, 32), np.tile([-8, 8], 16) * 0.25, np.tile([127, 0.5, -0.5, 1.5], 8)]
    return np.array(rows, dtype=np.float32)


def main():
    out = b""
    for qtype in BLOCKED:
        n = 24 if gguf.GGML_QUANT_SIZES[qtype][0] == 32 else 6
        raw = random_blocks(qtype, n)
        out += record(b"D", qtype, raw, gguf.quants.dequantize(raw, qtype))
    for qtype in ROUNDED:
        rows = rows_to_round()
        raw = gguf.quants.quantize(rows, qtype)
        out += record(b"Q", qtype, raw, rows)
        if qtype is T.F16:
            out += record(b"D", qtype, raw, raw.astype(np.float32))
        elif qtype is T.BF16:
            out += record(b"D", qtype, raw, gguf.quants.dequantize(raw, qtype))
    path = pathlib.Path(__file__).with_name("golden.bin")
    path.write_bytes(out)
    print(path, len(out), "bytes")


main()
