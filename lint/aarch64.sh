#!/usr/bin/env bash
# Makes build/aarch64/sysroot: the arm64 libraries that the preset `aarch64` compiles and runs against. They are this distribution's own
# packages, resolved by a private apt state and unpacked, so neither root nor a foreign architecture in the host's dpkg is needed
# (and libevent-dev cannot be installed for two architectures at once).
set -eu
cd "$(dirname "$0")/.."
packages="libc6-dev libevent-dev libjansson-dev libpcre2-dev libutf8proc-dev libedit-dev libcmocka-dev"
sysroot=$PWD/build/aarch64/sysroot state=$PWD/build/aarch64/apt
[ "$(cat "$sysroot/made-for" 2>/dev/null)" = "$packages" ] && exit 0
rm -rf "$sysroot" "$state"
mkdir -p "$sysroot" "$state/lists/partial" "$state/cache/archives/partial"
: >"$state/status"
options="-o Dir::State=$state -o Dir::State::lists=$state/lists -o Dir::State::status=$state/status -o Dir::Cache=$state/cache
         -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Debug::NoLocking=1 -o APT::Sandbox::User="
. /etc/os-release
if [ "${ID:-}" = ubuntu ]; then # keeps arm64 on a server of its own
    echo "deb http://ports.ubuntu.com/ubuntu-ports $VERSION_CODENAME main universe" >"$state/sources.list"
    options="$options -o Dir::Etc::sourcelist=$state/sources.list -o Dir::Etc::sourceparts=-"
fi
echo "radish: fetching arm64 libraries into build/aarch64/sysroot" >&2
apt-get $options update -qq && apt-get $options install -y -qq --download-only --no-install-recommends $packages >"$state/log" || {
    echo "radish: the package sources of this machine have no arm64 packages" >&2
    exit 1
}
for deb in "$state"/cache/archives/*.deb; do dpkg-deb -x "$deb" "$sysroot"; done
[ -e "$sysroot/lib" ] || ln -s usr/lib "$sysroot/lib" # where the dynamic loader is looked for
rm -rf "$state"
echo "$packages" >"$sysroot/made-for"
