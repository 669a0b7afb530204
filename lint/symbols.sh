#!/usr/bin/env bash
# External symbols of each object must begin with the file's or the folder's name (linear_run, kv_take); backends' tables are lists.
# None may be in two objects: of two archives' the linker takes whichever it meets first.
objects=$1
current() { # objects whose source is still there
    find "$objects"/CMakeFiles/rb_*.dir -name '*.c.o' 2>/dev/null | while read -r o; do
        rel=${o#*dir/}; [ -e "${rel%.o}" ] && echo "$o"
    done
}
current | xargs -r nm -gA --defined-only 2>/dev/null | awk '
    $NF !~ /^__(asan|odr|ubsan|tsan)/ { split($1, at, ":"); if ($NF in seen) print $NF ": in " seen[$NF] " and " at[1]; seen[$NF] = at[1] }' |
    sed "s#$objects/CMakeFiles/rb_[a-z_]*.dir/##g"
current | while read -r o; do
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
