#!/usr/bin/env bash
# External symbols of each object must begin with the file's or the folder's name (linear_run, kv_take); backends' tables are lists.
objects=$1
find "$objects"/CMakeFiles/rb_*.dir -name '*.c.o' 2>/dev/null | while read -r o; do
    rel=${o#*dir/src/}; folder=${rel%%/*}; file=$(basename "$rel" .c.o); parent=$(basename "$(dirname "$rel")")
    stem=${file%%_avx512}; stem=${stem%%_avx2}; stem=${stem%%_amx}; stem=${stem%%.tab}
    words=" $(lint_allowed=$(grep -v '^#' lint/symbols.allow 2>/dev/null | tr '\n' ' '); echo "$lint_allowed") "
    nm -g --defined-only "$o" 2>/dev/null | awk '{ print $3 }' | while read -r s; do
        case "$s" in
        "$folder"_* | "$parent"_* | "$stem"_* | "$file"* | "$folder" | "${folder}s" | arch_* | *_route | radish_* | __asan* | __odr* | __ubsan* | __tsan*) ;;
        *) case "$words" in *" $s "* | *" ${s%%_*}_ "*) ;; *) echo "$rel: $s" ;; esac ;;
        esac
    done
done
