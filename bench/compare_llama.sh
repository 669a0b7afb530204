#!/usr/bin/env bash
# Sets radish beside llama.cpp on this machine's cores, model file by model file: decode at several batch sizes, and prefill.
#
#   bench/compare_llama.sh LLAMA_BIN MODEL.gguf...      LLAMA_BIN: the folder that holds llama-bench and llama-batched-bench
#
# In the environment: ROUNDS (5), THREADS (all cores), BATCHES (1,16,64), RADISH (build/release/radish), and FIRST=1 (root, for a machine
# that others use too): measured programs go before other sessions' work, by their autogroup's nice value.
#
# The two take turns, so that a noisy minute hits both; a cell is the median of the rounds' ratios (smallest to largest), and the median
# speeds. Prompts of 128 tokens, 32 new ones, greedy; radish through its engine, with sampling; llama.cpp with flash attention and
# without sampling; at batch 1 the better of its two programs counts.
set -euo pipefail
if [ $# -lt 2 ]; then sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2; fi
llama=$1; shift
radish=${RADISH:-$(dirname "$0")/../build/release/radish} threads=${THREADS:-$(nproc)} batches=${BATCHES:-1,16,64}
measured() {
    if [ -z "${FIRST:-}" ]; then "$@"; else setsid -w sh -c 'echo -20 >/proc/self/autogroup; exec "$@"' sh "$@"; fi
}

ours() { # lines: batch or 0 for prefill, tokens/s
    measured "$radish" bench latency -m "$1" --threads "$threads" --batch "$batches" --input-len 128 --output-len 32 --prefill 512 --runs 1 |
        sed -nE 's/^decode +batch +([0-9]+) .* ([0-9.]+) tokens\/s.*/\1 \2/p; s/^prefill .* ([0-9.]+) tokens\/s.*/0 \1/p'
}

theirs() {
    measured "$llama/llama-bench" -m "$1" -t "$threads" -p 512 -n 32 -fa 1 -r 1 -o jsonl 2>/dev/null |
        sed -nE 's/.*"n_gen": ([0-9]+).*"avg_ts": ([0-9.]+).*/\1 \2/p' | sed 's/^32 /1 /'
    measured "$llama/llama-batched-bench" -m "$1" -c 16384 -b 2048 -ub 512 -fa on -t "$threads" -npp 128 -ntg 32 -npl "$batches" \
        --output-format jsonl 2>/dev/null | sed -nE 's/.*"pl": ([0-9]+).*"speed_tg": ([0-9.]+).*/\1 \2/p'
}

for ((round = 0; round < ${ROUNDS:-5}; round++)); do
    for model; do
        ours "$model" | sed "s#^#$round ours $(basename "$model" .gguf) #"
        theirs "$model" | sed "s#^#$round theirs $(basename "$model" .gguf) #"
    done
done | awk '
    function sorted(list, v, n, i, j, t) {
        n = split(list, v, " ")
        for (i = 2; i <= n; i++) for (j = i; j > 1 && v[j - 1] + 0 > v[j] + 0; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
        return n
    }
    function median(list, v, n) { n = sorted(list, v); return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2 }
    {
        at = $3 SUBSEP $4 SUBSEP $1 SUBSEP $2
        if (!(at in speed) || $5 > speed[at]) speed[at] = $5
        if (!($3 in model)) { model[$3]; order[++models] = $3 }
        if (!($4 in column)) { column[$4]; name[++columns] = $4 }
        if ($1 >= rounds) rounds = $1 + 1
    }
    END {
        if (!models) { print "nothing was measured" > "/dev/stderr"; exit 1 }
        printf "| model |"
        for (c = 1; c <= columns; c++) printf " %s |", name[c] ? "batch " name[c] : "prefill 512"
        printf "\n|---|"
        for (c = 1; c <= columns; c++) printf "--:|"
        for (m = 1; m <= models; m++) {
            printf "\n| %s |", order[m]
            for (c = 1; c <= columns; c++) {
                ratios = mine = other = ""
                for (r = 0; r < rounds; r++) {
                    a = speed[order[m], name[c], r, "ours"]; b = speed[order[m], name[c], r, "theirs"]
                    if (a && b) { ratios = ratios " " a / b; mine = mine " " a; other = other " " b }
                }
                n = sorted(ratios, v)
                if (!n) printf " - |"
                else printf " %.2f (%.2f-%.2f): %.0f / %.0f |", median(ratios), v[1], v[n], median(mine), median(other)
            }
        }
        print ""
    }'
