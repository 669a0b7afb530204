#!/usr/bin/env bash
# Objects in .data and .bss against globals.txt ("name  why").
objects=$1
find "$objects"/CMakeFiles/rb_*.dir -name '*.c.o' 2>/dev/null | while read -r o; do
    objdump -t "$o" | awk -v o="${o##*dir/}" '($2 ~ /^l|^g/ || $3 ~ /^O/) && / O (\.data|\.bss)[^.]/ { print $NF, o }'
done | grep -vE '\.data\.rel\.ro' | while read -r name where; do
    name=${name%%.[0-9]*}
    grep -q "^$name " globals.txt || echo "$where: $name"
done
