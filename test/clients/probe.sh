#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What bpftool feature probe answers otherwise on an instance than on the kernel: each such line must
# be in the list of known ones. Says what is no longer different, so that the list shrinks.
#   probe.sh KERNEL SKEP KNOWN
set -u
# Helpers by their program type.
flat='/^eBPF helpers supported for program type/ {type = $(NF)} /^\t/ {print type $0; next} {print}'
t=$(mktemp -d) || exit 1
trap 'rm -rf "$t"' EXIT
awk "$flat" "$1" >"$t/kernel"
awk "$flat" "$2" >"$t/skep"
[ "$(wc -l <"$t/skep")" -gt 1000 ] || { echo "no answers:"; tail -5 "$2"; exit 1; }
diff "$t/kernel" "$t/skep" | sed -n 's/^> //p; s/^< \(.*:\t- \)/missing: \1/p' | sort >"$t/now"
sed -e '/^#/d' -e 's/ *#.*//' -e '/^$/d' "$3" | sort >"$t/known"
comm -13 "$t/known" "$t/now" >"$t/new"
comm -23 "$t/known" "$t/now" | sed 's/^/no longer different: /'
if [ -s "$t/new" ]; then
	echo "differences that are not in the list:"
	cat "$t/new"
	exit 1
fi
