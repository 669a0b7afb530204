#!/usr/bin/env bash
# deps.sh [WHAT or PACKAGE...] - installs the Debian/Ubuntu packages that are missing: as root it does so, otherwise it prints the one command
# to run. WHAT: test, lint, fuzz, aarch64, for what those need beyond building; so that a first `make serve` need not wait for LLVM.
set -u
packages="gcc cmake ninja-build pkg-config libc6-dev libevent-dev libjansson-dev libpcre2-dev libutf8proc-dev libedit-dev libcmocka-dev
          python3 python3-pip curl"
export DEBIAN_FRONTEND=noninteractive
options="-qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300" # mirrors fail now and then, and machines update themselves after booting
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1; then
    apt-get $options update # a bare container: without lists it cannot be said what there is
fi
# Formatting differs between versions: 14 is the reference where it can be had.
llvm() { if apt-cache show "$1-14" >/dev/null 2>&1; then echo "$1-14"; else echo "$1"; fi; }
for what; do
    case $what in
    test) packages="$packages python3-venv" ;;
    lint) packages="$packages git $(llvm clang-format) $(llvm clang-tidy)" ;;
    fuzz) packages="$packages clang" ;;
    aarch64) packages="$packages gcc-aarch64-linux-gnu qemu-user-static" ;;
    *) packages="$packages $what" ;;
    esac
done
missing=
for p in $packages; do
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
apt-get $options update && apt-get $options install -y --no-install-recommends $missing >/dev/null || {
    echo "radish: installing packages failed; run: apt-get update && apt-get install -y$missing" >&2
    exit 1
}
