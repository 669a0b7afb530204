#!/usr/bin/env python3
"""Makes tests/data/golden: tiny random checkpoints of each family, their GGUF twins, and the logits that transformers gives.

Run by hand (`python tests/golden/make_golden.py`) with the versions in tests/data/golden/VERSIONS or newer; its output is committed
and CI never runs it. Every parameter is perturbed (models fresh from their constructor have norms of 1, biases of 0 and
flat logits, which hides bugs), shapes are odd on purpose, sequences are longer than windows and rope's original context.

A golden (NAME.golden) is little-endian: int32 magic 'RGLD', n_tok, n_vocab, n_greedy, context_length, 0, 0, 0; int32 ids[n_tok];
int32 greedy[n_greedy] and float32 gap[n_greedy] (top logit minus second) that continue the ids; float32 logits[n_tok][n_vocab].
"""
import copy
import json
import os
import shutil
import struct
import sys

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Q

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "golden")
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16}


def perturb(model, seed):
    gen = torch.Generator().manual_seed(seed)
    text = getattr(model.config, "text_config", model.config)
    # tied, an embedding that outweighs the layers would only ever predict the token just read
    embed_std = text.hidden_size ** -0.5 if text.tie_word_embeddings else 1.0
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if p.dim() == 1:
                p.add_(torch.randn(p.shape, generator=gen) * 0.2)
            elif "embed_tokens" in name:
                p.copy_(torch.randn(p.shape, generator=gen) * embed_std)
            else:
                p.copy_(torch.randn(p.shape, generator=gen) / p.shape[-1] ** 0.5)
    return gen


def round_to(model, dtype):
    """What is computed is what is stored. Buffers (rope's frequencies) stay as they are: float32."""
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.to(dtype).float())


def build(config, seed, dtype):
    torch.manual_seed(seed)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    gen = perturb(model, seed)
    round_to(model, dtype)
    return model, gen


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0].float().numpy()


def golden(path, model, gen, n_tok, n_greedy, context_length=0):
    text = getattr(model.config, "text_config", model.config)
    ids = torch.randint(0, text.vocab_size, (n_tok,), generator=gen).tolist()
    logits = logits_of(model, ids)
    greedy, gaps, all_ids, row = [], [], list(ids), logits[-1]
    for _ in range(n_greedy):
        top = np.sort(row)[::-1]
        greedy.append(int(row.argmax()))
        gaps.append(float(top[0] - top[1]))
        all_ids.append(greedy[-1])
        row = logits_of(model, all_ids)[-1]
    with open(path, "wb") as f:
        f.write(struct.pack("<4s7i", b"RGLD", n_tok, logits.shape[1], n_greedy, context_length, 0, 0, 0))
        f.write(np.array(ids + greedy, "<i4").tobytes())
        f.write(np.array(gaps, "<f4").tobytes())
        f.write(logits.astype("<f4").tobytes())
    print(f"{os.path.basename(path)}: std {logits.std():.2f} max {abs(logits).max():.2f} gaps {min(gaps, default=0):.3f}")


def v4_config(v5):
    """The same config as transformers 4 wrote it."""
    c = json.loads(json.dumps(v5))
    for part in [c] + ([c["text_config"]] if "text_config" in c else []):
        if "dtype" in part:
            part["torch_dtype"] = part.pop("dtype")
        rope = part.pop("rope_parameters", None)
        if rope and "full_attention" in rope:  # Gemma 3
            full, local = dict(rope["full_attention"]), rope["sliding_attention"]
            part["rope_theta"] = full.pop("rope_theta")
            part["rope_local_base_freq"] = local["rope_theta"]
            part["rope_scaling"] = None if full["rope_type"] == "default" else full
        elif rope:
            rope = dict(rope)
            part["rope_theta"] = rope.pop("rope_theta")
            if "partial_rotary_factor" in rope:
                part["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
            part["rope_scaling"] = None if rope["rope_type"] == "default" else rope
        if part["model_type"] in ("gemma2", "gemma3_text", "mistral"):
            types = part.pop("layer_types", None)
            if part["model_type"] == "gemma3_text":
                part["sliding_window_pattern"] = types.index("full_attention") + 1
    c["transformers_version"] = "4.49.0"
    return c


def save(name, model, dtype):
    folder = os.path.join(OUT, name)
    shutil.rmtree(folder, ignore_errors=True)
    copy.deepcopy(model).to(dtype).save_pretrained(folder)
    for extra in ("generation_config.json",):
        if os.path.exists(os.path.join(folder, extra)):
            os.remove(os.path.join(folder, extra))
    os.chmod(os.path.join(folder, "model.safetensors"), 0o644)
    with open(os.path.join(folder, "config.json")) as f:
        v5 = json.load(f)
    with open(os.path.join(folder, "config.v4.json"), "w") as f:
        json.dump(v4_config(v5), f, indent=2)
        f.write("\n")
    return folder


# ---- GGUF ----

NAMES = [("model.embed_tokens.", "token_embd."), ("model.norm.", "output_norm."), ("lm_head.", "output."),
         ("model.layers.", "blk."), ("self_attn.q_proj.", "attn_q."), ("self_attn.k_proj.", "attn_k."),
         ("self_attn.v_proj.", "attn_v."), ("self_attn.o_proj.", "attn_output."), ("self_attn.qkv_proj.", "attn_qkv."),
         ("self_attn.q_norm.", "attn_q_norm."), ("self_attn.k_norm.", "attn_k_norm."),
         ("mlp.gate_proj.", "ffn_gate."), ("mlp.up_proj.", "ffn_up."), ("mlp.gate_up_proj.", "ffn_up."),
         ("mlp.down_proj.", "ffn_down."), ("input_layernorm.", "attn_norm."),
         ("pre_feedforward_layernorm.", "ffn_norm."), ("post_feedforward_layernorm.", "post_ffw_norm.")]


def gguf_name(name, sandwich):
    for a, b in NAMES:
        name = name.replace(a, b)
    return name.replace("post_attention_layernorm.", "post_attention_norm." if sandwich else "ffn_norm.")


def permute(w, heads):
    """The order that llama.cpp's converter gives the rows of q and k."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def writer(path, arch, c):
    w = gguf.GGUFWriter(path, arch)
    w.add_block_count(c.num_hidden_layers)
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    w.add_key_length(head_dim)
    w.add_value_length(head_dim)
    rope = c.rope_parameters.get("full_attention", c.rope_parameters)
    w.add_rope_freq_base(rope["rope_theta"])
    w.add_rope_dimension_count(int(head_dim * rope.get("partial_rotary_factor", 1.0)))
    kind = rope["rope_type"]
    if kind in ("linear", "yarn"):
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR if kind == "linear" else gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(rope["factor"])
    if kind in ("yarn", "longrope"):
        w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if kind == "llama3":
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
        plain = rope["rope_theta"] ** -(torch.arange(0, head_dim, 2).double() / head_dim)
        scaled = ROPE_INIT_FUNCTIONS["llama3"](c, "cpu")[0].double()
        w.add_tensor("rope_freqs.weight", (plain / scaled).float().numpy())
    if kind == "longrope":
        w.add_tensor("rope_factors_long.weight", np.array(rope["long_factor"], np.float32))
        w.add_tensor("rope_factors_short.weight", np.array(rope["short_factor"], np.float32))
    if getattr(c, "sliding_window", None) and arch != "qwen2":
        w.add_sliding_window(c.sliding_window)
    if arch == "gemma2":
        w.add_attn_logit_softcapping(c.attn_logit_softcapping)
        w.add_final_logit_softcapping(c.final_logit_softcapping)
    if hasattr(c, "query_pre_attn_scalar") and c.query_pre_attn_scalar != head_dim:
        w.add_float32(f"{arch}.attention.scale", c.query_pre_attn_scalar ** -0.5)
    return w


def raw(data, qtype):
    """Bytes of a matrix in a format that numpy or the gguf package can write."""
    if qtype == Q.F32:
        return data.astype(np.float32)
    return gguf.quants.quantize(data.astype(np.float32), qtype)


def twin(path, arch, model, qtype):
    """The checkpoint as llama.cpp's converter would have written it."""
    c = model.config
    sandwich = arch.startswith("gemma")
    w = writer(path, arch, c)
    tied = c.tie_word_embeddings
    for name, p in model.state_dict().items():
        if tied and name == "lm_head.weight":
            continue
        data = p.float().numpy()
        if arch == "llama" and ("q_proj" in name or "k_proj" in name):
            data = permute(data, c.num_attention_heads if "q_proj" in name else c.num_key_value_heads)
        if sandwich and name.endswith("norm.weight"):
            data = data + 1.0
        if data.ndim == 1:
            w.add_tensor(gguf_name(name, sandwich), data.astype(np.float32))
        else:
            w.add_tensor(gguf_name(name, sandwich), raw(data, qtype), raw_dtype=qtype)
    finish(w)


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


# ---- quantised checkpoints: random blocks, so that every bit pattern occurs; the golden is of the dequantised weights ----

def random_blocks(rng, rows, cols, qtype):
    """Blocks of random bits with scales such that the values have mean near 0 and deviation near cols^-0.5."""
    elems, size = gguf.GGML_QUANT_SIZES[qtype]
    n = rows * cols // elems
    b = rng.integers(0, 256, (n, size), dtype=np.uint8)

    def put(at, value):
        b[:, at:at + 2] = (value * rng.uniform(0.5, 1.5, n)).astype("<f2").reshape(n, 1).view(np.uint8)

    unit = cols ** -0.5
    if qtype in (Q.Q4_0, Q.Q5_0, Q.IQ4_NL, Q.Q8_0):
        put(0, unit / {Q.Q4_0: 4.6, Q.Q5_0: 9.2, Q.IQ4_NL: 70.0, Q.Q8_0: 74.0}[qtype])
    elif qtype in (Q.Q4_1, Q.Q5_1):
        step = unit / (4.6 if qtype == Q.Q4_1 else 9.2)
        put(0, step)
        put(2, -step * (7.5 if qtype == Q.Q4_1 else 15.5))
    elif qtype in (Q.Q4_K, Q.Q5_K):
        step = unit / (200.0 if qtype == Q.Q4_K else 400.0)
        put(0, step)
        put(2, step * (7.5 if qtype == Q.Q4_K else 15.5))
    elif qtype == Q.Q2_K:
        put(80, unit / 13.0)
        put(82, unit / 13.0 * 1.5)
    elif qtype == Q.Q3_K:
        put(108, unit / 42.0)
    elif qtype == Q.Q6_K:
        put(208, unit / 1400.0)
    elif qtype == Q.IQ4_XS:
        put(0, unit / 1300.0)
    return b.reshape(rows, cols // elems * size)


def quantised(name, config, types, seed):
    rng = np.random.default_rng(seed)
    model, gen = build(config, seed, torch.float32)
    path = os.path.join(OUT, name + ".gguf")
    w = writer(path, "llama", config)
    state = model.state_dict()
    for key, p in state.items():
        kind = key.split(".")[-2]
        if p.dim() == 1:
            w.add_tensor(gguf_name(key, False), p.numpy())
            continue
        qtype = types[kind]
        rows, cols = p.shape
        blocks = random_blocks(rng, rows, cols, qtype)
        values = gguf.quants.dequantize(blocks, qtype).astype(np.float32)
        assert np.isfinite(values).all()
        if kind in ("q_proj", "k_proj"):  # the file's order is the permuted one
            heads = config.num_attention_heads if kind == "q_proj" else config.num_key_value_heads
            values = values.reshape(heads, rows // heads // 2, 2, cols).swapaxes(1, 2).reshape(rows, cols)
        state[key] = torch.from_numpy(values.copy())
        w.add_tensor(gguf_name(key, False), blocks, raw_dtype=qtype)
    finish(w)
    model.load_state_dict(state)
    golden(os.path.join(OUT, name + ".golden"), model, gen, 37, 8)


# ---- the list ----

def checkpoints():
    T = transformers
    base = dict(vocab_size=131, hidden_size=48, intermediate_size=77, num_hidden_layers=3, num_attention_heads=6,
                num_key_value_heads=2, head_dim=10, max_position_embeddings=128, pad_token_id=None)
    small = dict(base, hidden_size=32, num_attention_heads=4, head_dim=8, intermediate_size=51, num_hidden_layers=2,
                 vocab_size=101)
    theta = {"rope_type": "default", "rope_theta": 10000.0}
    f16, bf16, f32 = torch.float16, torch.bfloat16, torch.float32
    gemma3_rope = {"full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
                   "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}
    gemma3 = dict(base, num_hidden_layers=7, sliding_window=8, query_pre_attn_scalar=24, rope_parameters=gemma3_rope,
                  hidden_size=32, num_attention_heads=4, intermediate_size=51, sliding_window_pattern=6)
    longrope = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 64,
                "partial_rotary_factor": 0.75, "short_factor": [1.0, 1.1, 1.25, 1.5, 1.75, 2.0],
                "long_factor": [1.0, 2.0, 4.0, 8.0, 12.5, 20.0]}
    phi = {k: v for k, v in base.items() if k != "head_dim"}
    phi.update(hidden_size=48, num_attention_heads=4, num_key_value_heads=2, intermediate_size=70, bos_token_id=1, eos_token_id=2)
    phi_long = dict(phi, hidden_size=64, num_hidden_layers=2, max_position_embeddings=256)
    # name, config, stored type, GGUF architecture, prompt tokens
    yield "llama3", T.LlamaConfig(**base, rope_parameters=LLAMA3), f16, "llama", 37
    yield "llama_linear", T.LlamaConfig(**small, tie_word_embeddings=True, attention_bias=True, mlp_bias=True,
                                        rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}), f32, "llama", 37
    yield "llama_yarn", T.LlamaConfig(**small, rope_parameters={
        "rope_type": "yarn", "rope_theta": 1e4, "factor": 8.0, "original_max_position_embeddings": 16}), bf16, "llama", 37
    yield "llama_dynamic", T.LlamaConfig(**dict(small, max_position_embeddings=24), rope_parameters={
        "rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}), f16, None, 50
    yield "mistral", T.MistralConfig(**base, sliding_window=8, rope_parameters=theta), f16, "llama", 37
    yield "qwen2", T.Qwen2Config(**{k: v for k, v in base.items() if k != "head_dim"}, tie_word_embeddings=True,
                                 use_sliding_window=True, sliding_window=7, max_window_layers=1,
                                 rope_parameters={"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0,
                                                  "original_max_position_embeddings": 16}), f16, None, 37
    yield "qwen2_plain", T.Qwen2Config(**{k: v for k, v in small.items() if k != "head_dim"},
                                       rope_parameters=dict(theta, rope_theta=1e6)), f16, "qwen2", 37
    yield "qwen3", T.Qwen3Config(**base, rope_parameters=dict(theta, rope_theta=1e6)), f16, "qwen3", 37
    yield "gemma2", T.Gemma2Config(**base, sliding_window=8, query_pre_attn_scalar=24, attn_logit_softcapping=5.0,
                                   final_logit_softcapping=10.0, rope_parameters=theta), f16, "gemma2", 37
    yield "gemma3", T.Gemma3TextConfig(**gemma3), f16, "gemma3", 37
    yield "phi3", T.Phi3Config(**phi, sliding_window=9, rope_parameters=theta), f16, "phi3", 37
    yield "phi3_long", T.Phi3Config(**phi_long, original_max_position_embeddings=64, rope_parameters=longrope), f16, "phi3", 80


def gemma3_with_vision():
    T = transformers
    text = dict(vocab_size=101, hidden_size=32, intermediate_size=51, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, head_dim=8, max_position_embeddings=128, sliding_window=8, layer_types=[
                    "sliding_attention", "full_attention"])
    vision = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=8, patch_size=4)
    c = T.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=1, image_token_index=100,
                       boi_token_index=98, eoi_token_index=99)
    torch.manual_seed(5)
    model = T.Gemma3ForConditionalGeneration._from_config(c, attn_implementation="eager").float().eval()
    gen = perturb(model, 5)
    round_to(model, torch.float16)
    save("gemma3_vision", model, torch.float16)
    golden(os.path.join(OUT, "gemma3_vision.golden"), model, gen, 24, 6)


def main():
    torch.set_num_threads(1)
    os.makedirs(OUT, exist_ok=True)
    only = sys.argv[1:]
    for seed, (name, config, dtype, arch, n_tok) in enumerate(checkpoints(), start=11):
        if only and name not in only:
            continue
        model, gen = build(config, seed, dtype)
        save(name, model, dtype)
        if arch:
            qtype = {torch.float16: Q.F16, torch.bfloat16: Q.BF16, torch.float32: Q.F32}[dtype]
            twin(os.path.join(OUT, name + ".gguf"), arch, model, qtype)
        # dynamic's angles depend on the length: fixed by the context served, so the golden is of just that length
        fixed = n_tok if name == "llama_dynamic" else 0
        golden(os.path.join(OUT, name + ".golden"), model, gen, n_tok, 0 if fixed else 8, fixed)
        if name == "phi3_long":
            golden(os.path.join(OUT, name + "-short.golden"), model, gen, 37, 8, 64)
    if not only or "gemma3_vision" in only:
        gemma3_with_vision()
    q = dict(num_key_value_heads=2, max_position_embeddings=128, pad_token_id=None, rope_parameters={
        "rope_type": "default", "rope_theta": 10000.0})
    if not only or "blocks32" in only:
        quantised("blocks32", transformers.LlamaConfig(vocab_size=131, hidden_size=64, intermediate_size=96, num_hidden_layers=3,
                                                       num_attention_heads=4, head_dim=16, **q),
                  dict(embed_tokens=Q.Q8_0, q_proj=Q.Q4_0, k_proj=Q.Q5_0, v_proj=Q.Q5_1, o_proj=Q.Q4_1, gate_proj=Q.IQ4_NL,
                       up_proj=Q.Q4_0, down_proj=Q.Q8_0, lm_head=Q.Q5_0), 31)
    if not only or "blocks256" in only:
        quantised("blocks256", transformers.LlamaConfig(vocab_size=160, hidden_size=256, intermediate_size=256, num_hidden_layers=2,
                                                        num_attention_heads=4, head_dim=64, **q),
                  dict(embed_tokens=Q.Q4_K, q_proj=Q.Q2_K, k_proj=Q.Q3_K, v_proj=Q.Q5_K, o_proj=Q.IQ4_XS, gate_proj=Q.Q4_K,
                       up_proj=Q.Q6_K, down_proj=Q.Q4_K, lm_head=Q.Q6_K), 32)
    with open(os.path.join(OUT, "VERSIONS"), "w") as f:
        f.write(f"torch {torch.__version__}\ntransformers {transformers.__version__}\ngguf 0.19.0\nnumpy {np.__version__}\n")


if __name__ == "__main__":
    main()
