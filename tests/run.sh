#!/usr/bin/env bash
# Builds the tests with PRESET and runs them all. The last line is "N passed, N failed": single test cases, not programs.
# RADISH_CORPUS may name a folder of larger corpora; RADISH_MODEL another default model. TESTS=regex runs some of them.
set -u
cd "$(dirname "$0")/.."
preset=${PRESET:-release} jobs=${JOBS:-$(nproc)} build=build/${PRESET:-release}
python=$PWD/.venv/bin/python3
want=$(cat tests/requirements.txt 2>/dev/null | sha256sum | cut -c1-16)
if [ "$(cat .venv/made-for 2>/dev/null)" != "$want" ]; then
    echo "== preparing a Python environment for the tests"
    rm -rf .venv
    python3 -m venv .venv && .venv/bin/pip install -q --disable-pip-version-check --retries 8 -r tests/requirements.txt &&
        echo "$want" >.venv/made-for || { echo "radish: cannot install tests/requirements.txt" >&2; echo "0 passed, 1 failed"; exit 1; }
fi
if [ -z "${RADISH_MODEL:-}" ]; then
    RADISH_MODEL=$(lint/fetch_model.sh) && export RADISH_MODEL || unset RADISH_MODEL
fi
if [ -n "${RADISH_CORPUS:-}" ] && [ -z "${RADISH_VOCABS:-}" ]; then
    RADISH_VOCABS=$(lint/fetch_vocabs.sh) && export RADISH_VOCABS
fi
cuda=()
[ "$preset" = release ] && cuda=(-DRADISH_CUDA="${CUDA:-auto}")
mkdir -p "$build"
cmake --preset "$preset" "${cuda[@]}" -DRADISH_PYTHON="$python" >"$build/configure.log" 2>&1 ||
    { cat "$build/configure.log"; echo "0 passed, 1 failed"; exit 1; }
echo "== building ($preset)"
ninja -C "$build" -j "$jobs" >"$build/build.log" 2>&1 || { grep -v '^\[' "$build/build.log" | tail -60; echo "0 passed, 1 failed"; exit 1; }
echo "== testing"
log=$build/test.log
select=()
[ -n "${TESTS:-}" ] && select=(-R "$TESTS")
export RADISH_BUILD=$PWD/$build RADISH_PRESET=$preset
[ -d "$build/emulated" ] && RADISH_BUILD=$RADISH_BUILD/emulated # built for another machine
ctest --test-dir "$build" -V -j "${TEST_JOBS:-1}" "${select[@]}" >"$log" 2>&1
status=$?
grep -E '^ *[0-9]+/[0-9]+ Test' "$log"
grep -hE 'SKIP(PED)?:|radish-test: skip' "$log" | sed -E 's/^[0-9]+: //' | sort | uniq -c | head -20
if [ $status -ne 0 ]; then
    grep -E '\[  FAILED  \]|\[  ERROR   \]|ERROR: |error: |Error|assert|SUMMARY|bug at|Traceback' "$log" | grep -v '0 test(s)' | head -60
fi
passed=$(grep -oE '\[  PASSED  \] [0-9]+ test' "$log" | awk '{ n += $4 } END { print n + 0 }')
failed=$(grep -oE '\[  FAILED  \] [0-9]+ test' "$log" | awk '{ n += $4 } END { print n + 0 }')
# a program that crashed or timed out printed no count: it is one failure
broken=$(grep -cE '^ *[0-9]+/[0-9]+ Test .*\*\*\*(Failed|Exception|Timeout|Not Run)' "$log")
[ "$failed" -ge "$broken" ] || failed=$broken
[ $status -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
