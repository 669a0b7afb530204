# layers.awk - checks every #include "folder/..." against layers.txt (the first file given).
FILENAME == ARGV[1] {
    if ($0 ~ /^#/ || NF == 0) next
    if ($1 == "door:") { door[$2] = 1; next }
    from = $1; sub(/:$/, "", from); allowed[from, from] = 1
    for (i = 2; i <= NF; i++) allowed[from, $i] = 1
    next
}
/^#include "/ {
    split($0, q, "\""); inc = q[2]
    split(FILENAME, p, "/"); from = p[2]
    if (inc == "radish.h") { to = "radish" } else { split(inc, t, "/"); to = t[1] }
    if (!((from, to) in allowed)) { print FILENAME ":" FNR ": " from " may not use " inc; next }
    if (from != to && to != "base" && to != "quant" && inc != "radish.h" && inc != to "/" to ".h" && !(inc in door))
        print FILENAME ":" FNR ": " inc " is not the door of " to
}
