# sizes.awk - functions over 70 lines, files over 1000, headers over 320. The first file lists what is allowed: "file" or "file:function".
FILENAME == ARGV[1] { if ($1 != "" && $1 !~ /^#/) ok[$1] = 1; next }
FNR == 1 { if (last != "" && total > limit && !(last in ok)) print last ": " total " lines"
           last = FILENAME; limit = FILENAME ~ /\.h$/ ? 320 : 1000; start = 0 }
{ total = FNR }
/^[A-Za-z_].*\)$/ || /^[A-Za-z_].*\) *\{$/ || /^ +.*\)$/ { head = $0; headline = FNR }
/^\{/ { start = FNR; name = head; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
/^\}/ { if (start && FNR - start + 1 > 72 && !((FILENAME ":" name) in ok)) print FILENAME ":" start ": " name " has " FNR - start - 1 " lines"
        start = 0 }
END { if (total > limit && !(last in ok)) print last ": " total " lines" }
