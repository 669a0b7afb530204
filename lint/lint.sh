#!/usr/bin/env bash
# Every check that needs no run: format, layers, doors, sizes, symbols, globals, clang-tidy on changed files (ALL=1: on all).
set -u
cd "$(dirname "$0")/.."
bad=0
report() { if [ -n "$2" ]; then printf 'lint: %s\n%s\n' "$1" "$2" >&2; bad=1; fi; }
format=$(command -v clang-format-14 || command -v clang-format) && tidy=$(command -v clang-tidy-14 || command -v clang-tidy) ||
    { echo "lint: clang-format or clang-tidy is missing: lint/deps.sh lint" >&2; exit 1; }
sources=$(git ls-files 'src/*.c' 'src/*.h' 'include/*.h' 'tests/*.c' 'tests/*.h' | grep -v '\.tab\.c$')
[ -n "$sources" ] || { echo "lint: git lists no files here; is this a clone of yours (git config safe.directory)?" >&2; exit 1; }

report "not formatted (make fmt)" "$(printf '%s\n' $sources | xargs "$format" --dry-run 2>&1 | grep -oE '^[^:]+:[0-9]+' | sort -u -t: -k1,1 | head -20)"
report "an include that layers.txt does not allow" "$(git ls-files 'src/*.c' 'src/*.h' 'src/*.cu' 'src/*.cuh' | xargs awk -f lint/layers.awk layers.txt)"
report "functions over 70 lines, files over 1000, headers over 320 (or allow in lint/sizes.allow)" "$(printf '%s\n' $sources | xargs awk -f lint/sizes.awk lint/sizes.allow)"
report "malloc family outside src/base" "$(git grep -nE '\b(malloc|calloc|realloc|free|alloca|strdup)\(' -- 'src/*.c' ':!src/base' | grep -vE '^\S+:\s*(/?\*|//)' | grep -v 'NOLINT' | head)"
report "words that do not belong in the tree" "$(git grep -nIE '/work/|\.\./shared' -- . ':!.ci/run' ':!lint/lint.sh' | head)"
report "binaries over 1 MB" "$(git ls-files -z | xargs -0 -r stat -c '%s %n' 2>/dev/null | awk '$1 > 1048576 && $2 !~ /\.tab\.c$|\.tsv$/')"

objects=${OBJECTS:-build/release}
if [ ! -f "$objects/build.ninja" ]; then
    cmake --preset release -B "$objects" >/dev/null 2>&1
fi
libs=$(awk -F: '/^[a-z]+:/ && $1 != "door" { print "rb_" $1 }' layers.txt)
for lib in $libs; do ninja -C "$objects" "$lib" >/dev/null 2>"$objects/lint.err" || { report "cannot build $lib" "$(ninja -C "$objects" "$lib" 2>&1 | grep -E 'error|warning' | head -5)"; }; done
report "external symbols that do not begin with their file or folder" "$(lint/symbols.sh "$objects")"
report "writable globals not in globals.txt" "$(lint/globals.sh "$objects")"

if [ -n "${ALL:-}" ]; then changed=$(printf '%s\n' $sources | grep '^src/.*\.c$')
else changed=$({ git diff --name-only HEAD~1 2>/dev/null; git diff --name-only; } | grep '^src/.*\.c$' | sort -u | head -12); fi
for f in $changed; do
    grep -q "/$f\"" "$objects/compile_commands.json" || continue # gone, or not built here (without nvcc)
    report "clang-tidy" "$("$tidy" --quiet -p "$objects" "$f" 2>/dev/null | grep -E 'warning:|error:' | head -10)"
done
[ $bad = 0 ] && echo "lint: clean"
exit $bad
