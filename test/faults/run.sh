#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Does the harness find what is wrong? Switches the planted faults on, one after the other, and
# lets the generators of random programs and numbers look for them.
#   test/faults/run.sh TREE_BUILD [NAME...]
# SKEP_FAULT_SECONDS: how long each is looked for (default 600). Ends with "ran: faults FOUND".
set -u
build=$1
shift
list=$(dirname "$0")/list
export seconds=${SKEP_FAULT_SECONDS:-600} build
names=${*:-$(sed -n 's/^\([a-z][a-z0-9-]*\) src.*/\1/p' "$list")}

# Each test ends at the first thing it finds. Time is limited by scale: about four seconds each.
look() { # FAULT SECONDS: prints who found it, after how long
	local start found=nobody
	start=$(date +%s%N)
	for finder in "test_scalar:test_boundaries" "test_scalar:test_narrow" "test_scalar:test_random" "test_soundness:test_accepted_is_safe"; do
		SKEP_FAULT=$1 SKEP_TEST_SEED=1 SKEP_TEST_ONLY=${finder#*:} \
			SKEP_TEST_SCALE=$([ "${finder%%:*}" = test_soundness ] && echo $(($2 / 4)) || echo 1) \
			timeout $(($2 + 60)) "$build/test/${finder%%:*}" >/dev/null 2>&1
		case $? in 0 | 124) ;; *) found=${finder#*:}; break ;; esac
	done
	printf '%s %s %d\n' "$1" "$found" $((($(date +%s%N) - start) / 1000000))
}
export -f look

# Without a fault nothing may be found.
read -r _ found _ < <(look none 8)
[ "$found" = nobody ] || { echo "without any fault, $found fails"; exit 1; }
printf '%s\n' $names | xargs -P "$(nproc)" -I{} bash -c 'look {} $seconds' | while read -r name by ms; do
	printf '%-18s %-24s %6d ms\n' "$name" "$by" "$ms"
done | tee "$build/faults.txt"
planted=$(wc -w <<<"$names")
missed=$(grep -c ' nobody ' "$build/faults.txt")
echo "$planted faults planted, $((planted - missed)) found"
echo "ran: faults $((planted - missed))"
[ "$missed" = 0 ]
