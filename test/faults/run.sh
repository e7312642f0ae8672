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
# NAME FILE, one a line.
faults=$(sed -n 's/^\([a-z][a-z0-9-]*\) \(src[^ ]*\) .*/\1 \2/p' "$list")
[ $# = 0 ] || faults=$(printf '%s\n' "$faults" | grep -E "^($(IFS='|'; echo "$*")) ")

# By part: who looks, in this order. Each ends at the first thing it finds.
finders() { # FILE
	case $1 in
	src/exec/*) echo test_exec:test_computations ;;
	src/verifier/scalar.c | src/verifier/tnum.c | src/verifier/branch.c)
		echo test_scalar:test_boundaries test_scalar:test_narrow test_scalar:test_random test_soundness:test_accepted_is_safe ;;
	*) echo test_soundness:test_accepted_is_safe ;;
	esac
}
look() { # FAULT FILE SECONDS: prints who found it, after how long
	local start found=nobody scale
	start=$(date +%s%N)
	for finder in $(finders "$2"); do
		case $finder in
		test_scalar:*) scale=1 ;; # goes through all once
		test_soundness:*) scale=$(($3 / 4)) ;; # four seconds each
		test_exec:*) scale=$(($3 * 2 / 5)) ;; # two and a half
		esac
		SKEP_FAULT=$1 SKEP_TEST_SEED=${SKEP_TEST_SEED:-1} SKEP_TEST_ONLY=${finder#*:} SKEP_TEST_SCALE=$scale \
			SKEP_TEST_NO_KERNEL=1 timeout $(($3 + 60)) "$build/test/${finder%%:*}" >/dev/null 2>&1
		case $? in 0 | 124) ;; 99) found=unplanted; break ;; *) found=${finder#*:}; break ;; esac
	done
	printf '%s %s %d\n' "$1" "$found" $((($(date +%s%N) - start) / 1000000))
}
export -f look finders

# Without a fault nothing may be found.
for part in src/verifier/scalar.c src/exec/; do
	read -r _ found _ < <(look none $part 8)
	[ "$found" = nobody ] || { echo "without any fault, $found fails"; exit 1; }
done
printf '%s\n' "$faults" | xargs -P "$(nproc)" -I{} bash -c 'look {} $seconds' | while read -r name by ms; do
	printf '%-18s %-24s %6d ms\n' "$name" "$by" "$ms"
done | tee "$build/faults.txt"
planted=$(wc -l <<<"$faults")
missed=$(grep -cE ' (nobody|unplanted) ' "$build/faults.txt")
echo "$planted faults planted, $((planted - missed)) found"
echo "ran: faults $((planted - missed))"
[ "$missed" = 0 ]
