#!/usr/bin/env bash
# deps.sh [PACKAGE...] - installs the Debian/Ubuntu packages that are missing (and those named): as root it does so, otherwise it prints the one
# command to run.
set -u
packages="gcc cmake ninja-build pkg-config libc6-dev libevent-dev libjansson-dev libpcre2-dev libutf8proc-dev libedit-dev libcmocka-dev
          python3 python3-venv python3-pip clang clang-format clang-tidy curl"
missing=
for p in $packages "$@"; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
    echo "radish: this machine has no apt-get; install the equivalents of:$missing" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "radish: some packages are missing; run this once, then again what you ran:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y$missing" >&2
    exit 1
fi
echo "radish: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null || {
    echo "radish: installing packages failed; run: apt-get update && apt-get install -y$missing" >&2
    exit 1
}
