#!/usr/bin/env bash
# fuzz.sh SECONDS [TARGET] - runs libFuzzer targets from their committed seeds.
set -u
seconds=${1:-60} only=${2:-}
cd "$(dirname "$0")/.."
cmake --preset fuzz >/dev/null && ninja -C build/fuzz >build/fuzz/build.log 2>&1 || { tail -20 build/fuzz/build.log; exit 1; }
failed=0
for f in tests/fuzz/fuzz_*.c; do
    name=$(basename "$f" .c); what=${name#fuzz_}
    [ -n "$only" ] && [ "$only" != "$what" ] && continue
    mkdir -p "build/fuzz/corpus/$what"
    echo "== $what, $seconds s"
    build/fuzz/bin/"$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -artifact_prefix=build/fuzz/ -verbosity=0 \
        "build/fuzz/corpus/$what" "tests/fuzz/seeds/$what" >"build/fuzz/$what.log" 2>&1 || { tail -30 "build/fuzz/$what.log"; failed=$((failed + 1)); }
done
[ $failed = 0 ] && echo "fuzz: clean" || { echo "fuzz: $failed targets failed"; exit 1; }
