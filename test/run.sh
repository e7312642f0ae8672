#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs test programs, two at a time, and says what happened.
#   test/run.sh BUILD_DIR PROGRAM...
# A test prints "ran: NAME COUNT" for what must not go missing; test/required
# lists the least counts on a machine with root and bpf(2). There, a lower count
# (a skip) is a failure. Ends with "N passed, N failed, N skipped".
set -u
build=$1
[ -e /proc/self ] && [ -e /sys/kernel ] || {
	echo "test/run.sh: /proc and /sys must be mounted: mount -t proc proc /proc; mount -t sysfs sys /sys" >&2
	exit 1
}
# In a plain chroot "/" is no mount, and then nothing can be mounted in private; nor are control groups.
if [ -n "${SKEP_TEST_ROOTED-}" ]; then
	mountpoint -q /sys/fs/cgroup || mount -t cgroup2 none /sys/fs/cgroup
	# The memory controller, where the system has it in a hierarchy of its own.
	if grep -q '^memory.[1-9]' /proc/cgroups && ! grep -q ' cgroup .*memory' /proc/self/mounts; then
		memory=$(mktemp -d) && mount -t cgroup -o memory none "$memory" || true
	fi
elif [ "$(id -u)" = 0 ] && ! { mountpoint -q / && mountpoint -q /sys/fs/cgroup; }; then
	SKEP_TEST_ROOTED=1 exec "$build/test/rooted" "$0" "$@"
fi
shift
logs=$build/test-logs
mkdir -p "$logs"
rm -f "$logs"/*
limit=${SKEP_TEST_TIMEOUT:-600}

one() {
	local name log start end rc=0
	name=$(basename "$1")
	log=$logs/$name.log
	start=$(date +%s%N)
	timeout -k 10 "$limit" "$1" >"$log" 2>&1 </dev/null || rc=$?
	end=$(date +%s%N)
	printf '%s\n' "$rc" >"$logs/$name.rc"
	printf '%-28s %s  %5d ms\n' "$name" "$([ $rc = 0 ] && echo ok || echo "FAILED ($rc)")" \
		$(((end - start) / 1000000))
}
export -f one
export logs limit
# Tests of the command stay behind each other: those that read the kernel's one trace pipe
# would take each other's lines.
several() {
	for program in "$@"; do one "$program"; done
}
export -f several
{
	printf '%s ' $(printf '%s\n' "$@" | grep '/test_cmd')
	echo
	printf '%s\n' "$@" | grep -v '/test_cmd'
} | xargs -P "${SKEP_TEST_JOBS:-2}" -L 1 bash -c 'several "$@"' _

sum() { # sums the numbers of cmocka's closing lines
	sed -n "s/^\[ *$1 *\] \([0-9]*\) test(s).*/\1/p" "$logs"/*.log | awk '{n += $1} END {print n + 0}'
}
passed=$(sum PASSED)
skipped=$(sum SKIPPED)
failed=$(sum FAILED)
for rc in "$logs"/*.rc; do
	name=$(basename "$rc" .rc)
	[ "$(cat "$rc")" = 0 ] && continue
	echo "---- $name ----"
	tail -n 60 "$logs/$name.log"
	# A program that died counts, even if cmocka could not say so.
	grep -q '^\[  FAILED  \]' "$logs/$name.log" || failed=$((failed + 1))
done
grep -h '^\[  SKIPPED \] test' "$logs"/*.log | sort -u

if [ "$(id -u)" = 0 ] && bpftool prog list >/dev/null 2>&1; then
	while read -r name least _; do
		case $name in '' | '#'*) continue ;; esac
		got=$(sed -n "s/^ran: $name \([0-9]*\)$/\1/p" "$logs"/*.log | awk '{n += $1} END {print n + 0}')
		if [ "$got" -lt "$least" ]; then
			echo "required: $name ran $got times, at least $least are required"
			failed=$((failed + 1))
		fi
	done <"$(dirname "$0")/required"
else
	echo "no root or no bpf(2): comparisons with the kernel were skipped"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
