#!/usr/bin/env python3
"""Makes tests/data/golden/smollm2.json: what the default model answers greedily, in float32 on its dequantised weights.

Run by hand: `python tests/golden/make_smollm2.py SmolLM2-135M-Instruct.Q4_1.gguf`. Each case holds the prompt's text and ids, the greedy
continuation with the gap between the two best logits at each token, and every 48th logit after the prompt.
"""
import json
import os
import sys

import gguf
import numpy as np
import tokenizers
import torch
import transformers

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "golden", "smollm2.json")
PROMPTS = [
    "Say this is a test",
    "The capital of France is",
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\n"
    "What is the color of the sky?<|im_end|>\n<|im_start|>assistant\n",
    "def fibonacci(n):\n    if n < 2:\n        return n\n",
    "1, 2, 3, 4, 5, 6, 7,",
]
N_GREEDY = 16


def field(reader, key):
    return reader.fields[key].contents()


def load_model(reader):
    k = lambda name: field(reader, "llama." + name)
    config = transformers.LlamaConfig(
        vocab_size=k("vocab_size"), hidden_size=k("embedding_length"), intermediate_size=k("feed_forward_length"),
        num_hidden_layers=k("block_count"), num_attention_heads=k("attention.head_count"),
        num_key_value_heads=k("attention.head_count_kv"), max_position_embeddings=k("context_length"),
        rms_norm_eps=k("attention.layer_norm_rms_epsilon"), tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": k("rope.freq_base")})
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    hf = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
    part = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
            "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
            "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    state = {}
    for t in reader.tensors:
        base = t.name.removesuffix(".weight")
        w = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        if base.startswith("blk."):
            _, layer, what = base.split(".")
            if what in ("attn_q", "attn_k"):  # back from the converter's order of rows
                heads = config.num_attention_heads if what == "attn_q" else config.num_key_value_heads
                w = w.reshape(heads, w.shape[0] // heads // 2, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)
            name = f"model.layers.{layer}.{part[what]}"
        else:
            name = hf[base]
        state[name + ".weight"] = torch.from_numpy(w.copy())
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state)
    return model


def load_tokenizer(reader):
    tokens = field(reader, "tokenizer.ggml.tokens")
    types = field(reader, "tokenizer.ggml.token_type")
    merges = [tuple(m.split(" ")) for m in field(reader, "tokenizer.ggml.merges")]
    t = tokenizers.Tokenizer(tokenizers.models.BPE({x: i for i, x in enumerate(tokens)}, merges))
    t.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Digits(individual_digits=True), tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = tokenizers.decoders.ByteLevel()
    t.add_special_tokens([x for x, kind in zip(tokens, types) if kind == 3])
    return t


def main():
    torch.set_num_threads(2)
    reader = gguf.GGUFReader(sys.argv[1])
    model, tok = load_model(reader), load_tokenizer(reader)
    cases = []
    for prompt in PROMPTS:
        ids = tok.encode(prompt).ids
        all_ids, greedy, gaps, probe = list(ids), [], [], None
        for _ in range(N_GREEDY):
            with torch.no_grad():
                row = model(torch.tensor([all_ids]), use_cache=False).logits[0, -1].numpy()
            top = np.sort(row)[-2:]
            probe = [float(f"{x:.6g}") for x in row[::48]] if probe is None else probe
            greedy.append(int(row.argmax()))
            gaps.append(float(f"{top[1] - top[0]:.4g}"))
            all_ids.append(greedy[-1])
        cases.append({"prompt": prompt, "ids": ids, "greedy": greedy, "text": tok.decode(greedy), "gap": gaps,
                      "every_48th_logit": probe})
        print(repr(tok.decode(greedy)), min(gaps))
    with open(OUT, "w") as f:
        f.write('{"versions": "torch %s, transformers %s", "cases": [\n' % (torch.__version__, transformers.__version__))
        f.write(",\n".join(json.dumps(c) for c in cases))
        f.write("\n]}\n")


if __name__ == "__main__":
    main()
