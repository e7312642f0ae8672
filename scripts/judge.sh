#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The kernel's own tests as judges: builds test_verifier of Linux 6.1 and 6.12 and the
# verifier part of 6.12's test_progs from the distribution's source packages, in a
# scratch folder, runs them on an instance (skep exec) and on the running kernel where that is
# permitted, and lists what differs.
#   scripts/judge.sh BUILD_DIR [6.1] [6.12] [progs] [conformance] [corpus] [maps]      default: all but maps
# maps is 6.1's test_maps, whose stress tests take many minutes: JUDGE_LIMIT (seconds, default 300) ends a case.
# SKEP_JUDGE: the scratch folder (default: skep-judge in TMPDIR). It is kept: the second run
# builds nothing. SKEP_JUDGE_OUT: where the outputs go (default: there), so that several runs
# can share what is built.
set -eu
cd "$(dirname "$0")/.."
build=$(realpath "$1")
shift
suites=${*:-6.1 6.12 progs conformance corpus}
scratch=${SKEP_JUDGE:-${TMPDIR:-/tmp}/skep-judge}
out=${SKEP_JUDGE_OUT:-$scratch}
mkdir -p "$scratch" "$out"
flags="CLANG=clang-19 LLVM_CONFIG=llvm-config-19 LLVM_STRIP=llvm-strip-19 VMLINUX_BTF=/sys/kernel/btf/vmlinux"
tests=tools/testing/selftests/bpf

[ -r /sys/kernel/btf/vmlinux ] || { echo "judge: this kernel has no BTF, which the tests are built with"; exit 1; }

unpack() { # VERSION
	local dir=$scratch/linux-source-$1
	[ -d "$dir" ] && return
	echo "judge: unpacking linux-source-$1"
	tar -C "$scratch" -xf "/usr/src/linux-source-$1.tar.xz" --wildcards \
		"linux-source-$1/"{tools,include,scripts,kernel/bpf,lib,arch/x86,Documentation/bpf} \
		"linux-source-$1/"{Makefile,Kbuild,Kconfig}
}

# What keeps these from building or running alone: modules, other tests' skeletons, and
# three prototypes that newer kernels declare otherwise.
patch_612() {
	local dir=$scratch/linux-source-6.12/$tests
	[ -f "$dir/.judge" ] && return
	(
		cd "$dir"
		sed -i 's/if (load_bpf_testmod(verbose))/if (0)/' test_verifier.c
		mkdir -p ../others && mv prog_tests ../others/ && mkdir prog_tests
		cp ../others/prog_tests/verifier.c prog_tests/
		mkdir -p ../others/progs
		for f in progs/*.c; do case $f in progs/verifier_*) ;; *) mv "$f" ../others/progs/ ;; esac done
		for v in LINKED_SKELS LSKELS LSKELS_EXTRA TRUNNER_EXTRA_FILES; do
			perl -0pi -e "s/^$v :=(?:[^\\n]*\\\\\\n)*[^\\n]*\\n/$v :=\\n/mg" Makefile
		done
		sed -i '/skel\.h-deps :=/d' Makefile
		sed -i 's/bpf_lookup_user_key(__u32 serial/bpf_lookup_user_key(__s32 serial/' \
			progs/verifier_ref_tracking.c bpf_kfuncs.h
		sed -i 's/bpf_path_d_path(struct path \*/bpf_path_d_path(const struct path */' bpf_experimental.h
		sed -i 's/^\tstruct path \*path;/\tconst struct path *path;/' progs/verifier_vfs_accept.c
		touch .judge
	)
}

# test_maps: the few programs that it loads, and each case in a process of its own, with its
# verdict and time, so that one that fails or hangs stops no others.
patch_maps() {
	local dir=$scratch/linux-source-6.1/$tests
	[ -f "$dir/.judge-maps" ] && return
	(
		cd "$dir"
		mkdir -p ../others/progs
		for f in progs/*.c; do
			case $f in
			progs/sockmap_*_prog.c | progs/test_map_in_map*.c | progs/read_bpf_task_storage_busy.c) ;;
			*) mv "$f" ../others/progs/ ;;
			esac
		done
		for v in LINKED_SKELS LSKELS LSKELS_EXTRA TRUNNER_EXTRA_FILES; do
			perl -0pi -e "s/^$v :=(?:[^\\n]*\\\\\\n)*[^\\n]*\\n/$v :=\\n/mg" Makefile
		done
		cat >judge_case.h <<-'EOF'
			#include <signal.h>
			#include <stdio.h>
			#include <stdlib.h>
			#include <time.h>
			#include <unistd.h>
			#include <sys/wait.h>
			static unsigned judge_nr;
			#define JUDGE_CASE(call)                                                   \
				do {                                                               \
					const char *limit = getenv("JUDGE_LIMIT");                 \
					long end = (limit ? atol(limit) : 300) * 1000, ms = 0;     \
					struct timespec a, b;                                      \
					int st = 0, late = 0;                                      \
					fflush(NULL);                                              \
					clock_gettime(CLOCK_MONOTONIC, &a);                        \
					pid_t p = fork();                                          \
					if (!p) {                                                  \
						setpgid(0, 0);                                     \
						call;                                              \
						fflush(NULL);                                      \
						_exit(0);                                          \
					}                                                          \
					while (!waitpid(p, &st, WNOHANG)) {                        \
						usleep(500);                                       \
						clock_gettime(CLOCK_MONOTONIC, &b);                \
						ms = (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000; \
						if (ms > end && !late++)                           \
							kill(-p, SIGKILL);                         \
					}                                                          \
					clock_gettime(CLOCK_MONOTONIC, &b);                        \
					ms = (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000; \
					printf("\n#%u %s %u %s %ld\n", ++judge_nr, __func__[0] == 'm' ? "map_tests" : "run_all", \
					       map_opts.map_flags, late ? "late" : st ? "FAIL" : "ok", ms); \
					printf("#= %u %s\n", judge_nr, #call);                     \
					fflush(stdout);                                            \
				} while (0)
		EOF
		perl -0pi -e 's/(static void run_all_tests\(void\)\n\{\n)(.*?)(\n\}\n)/my ($h, $b, $t) = ($1, $2, $3); $b =~ s|^\t(test_\w+\([^;]*\));|\tJUDGE_CASE($1);|mg; "#include \"judge_case.h\"\n$h$b$t"/se; s/#define DEFINE_TEST\(name\) test_##name\(\);/#define DEFINE_TEST(name) JUDGE_CASE(test_##name());/' test_maps.c
		touch .judge-maps
	)
}

compile() { # VERSION TARGET...
	local dir=$scratch/linux-source-$1/$tests
	for t in "${@:2}"; do [ -x "$dir/$t" ] || break; done
	[ -x "$dir/$t" ] && return
	echo "judge: building ${*:2} of $1"
	# As if called by hand: within another make, the selftests' build takes OUTPUT for given.
	env -u MAKELEVEL -u MAKEFLAGS -u MFLAGS make -C "$dir" -k -j"$(nproc)" $flags "${@:2}" >"$scratch/build-$1.log" 2>&1 || true
	for t in "${@:2}"; do
		[ -x "$dir/$t" ] || { echo "judge: $t was not built, see $scratch/build-$1.log"; exit 1; }
	done
}

# The tests print to a file as to a terminal, so that what they say stands in order.
timed() { # OUT COMMAND...: status of COMMAND, seconds in OUT.time
	local out=$1 start rc=0
	start=$(date +%s.%N)
	(cd "$dir" && timeout -k 5 600 unshare -m "${@:2}" >>"$out" 2>&1 </dev/null) || rc=$?
	echo "$(cat "$out.time" 2>/dev/null || echo 0) $(date +%s.%N) $start" | awk '{printf "%.1f\n", $1 + $2 - $3}' >"$out.time.new"
	mv "$out.time.new" "$out.time"
	return $rc
}

on_kernel() { # SUITE VERSION COMMAND...
	local dir=$scratch/linux-source-$2/$tests
	# The kernel's answers don't change between two runs on one kernel.
	local kernel=$scratch/kernel-$(uname -r)-$1.out
	if [ ! -s "$kernel" ] && [ "$(id -u)" = 0 ] && bpftool prog list >/dev/null 2>&1; then
		rm -f "$kernel.time"
		timed "$kernel" stdbuf -o0 "${@:3}" || true
	fi
	: >"$out/$1.kernel"
	rm -f "$out/$1.kernel.time"
	[ ! -e "$kernel" ] || cp "$kernel" "$out/$1.kernel"
	[ ! -e "$kernel.time" ] || cp "$kernel.time" "$out/$1.kernel.time"
}

# One that ends it all (a crash, a hang) is noted, and the rest goes on behind it.
on_skep() { # SUITE VERSION COMMAND...
	local dir=$scratch/linux-source-$2/$tests o=$out/$1.skep rc tries=0 more=()
	: >"$o"
	rm -f "$o.time"
	while :; do
		rc=0
		timed "$o" "$build/skep" exec -- stdbuf -o0 "${@:3}" "${more[@]}" || rc=$?
		! tail -n 3 "$o" | grep -q '^Summary' || break
		tries=$((tries + 1))
		echo >>"$o"
		[ $tries -lt 20 ] || { echo "judge: ended too often" >>"$o"; break; }
		# shellcheck disable=SC2207
		more=($(rest_"$1" "$o" "$out/$1.kernel" $rc)) || break
	done
}

# What is said of where it ended, into the output, and which arguments go on behind it.
rest_verifier() { # OUT KERNEL_OUT STATUS
	local last end
	last=$(grep -oE '^#[0-9]+/[pu] .*' "$1" | tail -n 1)
	end=$(grep -oE '^#[0-9]+/' "$2" | tail -n 1 | tr -d '#/')
	echo "judge: ended in ${last:-#0/p the beginning} with status $3" >>"$1"
	last=${last#\#}
	last=${last%%/*}
	[ "${last:-0}" -lt "${end:-0}" ] || return 1
	echo "$((last + 1)) $end"
}
rest_6.1() { rest_verifier "$@"; }
rest_6.12() { rest_verifier "$@"; }
rest_progs() {
	local last
	last=$(grep -oE '^#[0-9]+ ' "$1" | tail -n 1 | tr -d '# ')
	echo "judge: ended in test $((${last:-0} + 1)) with status $3" >>"$1"
	[ "${last:-0}" -lt 998 ] || return 1
	echo "-n $((${last:-0} + 2))-999"
}
rest_testrun() { rest_progs "$@"; }

run() { # SUITE VERSION COMMAND...: on both runtimes
	on_kernel "$@"
	on_skep "$@"
}

# Our own cases of each instruction, by way of bpf(2); the raw ways are in `make test`.
conformance() (
	set -o pipefail
	echo "conformance: bpf(2) of an instance"
	SKEP_PLUGIN="$build/test/conformance_plugin --bpf" "$build/skep" exec -- "$build/test/test_conformance" | grep -a -e "^ran:" -e says -e status
	bpftool prog list >/dev/null 2>&1 || return 0
	echo "conformance: bpf(2) of the kernel"
	SKEP_PLUGIN="$build/test/conformance_plugin --bpf" "$build/test/test_conformance" | grep -a -e "^ran:" -e says -e status
)

# Real programs: what tools ship, the larger tests and our own, compiled in several ways.
corpus() {
	local dir=$scratch/linux-source-6.12/$tests
	python3 scripts/corpus.py gather "$scratch/corpus" "$dir"
	python3 scripts/corpus.py load "$build/skep" "$scratch/corpus" "$out"
}

# Each case of test_maps: its verdicts and its times on both runtimes.
maps() {
	local dir=$scratch/linux-source-6.1/$tests kernel
	kernel=$scratch/kernel-$(uname -r)-maps.out
	if [ ! -s "$kernel" ] && [ "$(id -u)" = 0 ] && bpftool prog list >/dev/null 2>&1; then
		(cd "$dir" && timeout -k 5 1800 unshare -m ./test_maps >"$kernel" 2>&1 </dev/null) || true
	fi
	[ ! -e "$kernel" ] && : >"$out/maps.kernel" || cp "$kernel" "$out/maps.kernel"
	(cd "$dir" && timeout -k 5 1800 unshare -m "$build/skep" exec -- ./test_maps >"$out/maps.skep" 2>&1 </dev/null) || true
	awk '
		/^#[0-9]+ / { v[FILENAME, $1] = $4; ms[FILENAME, $1] = $5; last = $1; flags[$1] = $3 }
		/^#= /      { name[last] = substr($0, index($0, $3)); if (!(last in seen)) { order[++n] = last; seen[last] = 1 } }
		END {
			for (i = 1; i <= n; i++) {
				c = order[i]
				k = v[ARGV[1], c]; s = v[ARGV[2], c]
				printf "%-4s %-48s flags %s  kernel %-5s %7s ms  skep %-5s %7s ms\n", c, name[c], flags[c], k == "" ? "-" : k, ms[ARGV[1], c], s == "" ? "-" : s, ms[ARGV[2], c]
				good += s == "ok"; worse += k == "ok" && s != "ok"
				slow += k == "ok" && s == "ok" && ms[ARGV[2], c] > 2 * ms[ARGV[1], c] + 20
			}
			printf "maps   %d cases pass on skep, %d that pass on the kernel do not, %d take more than twice its time\n", good, worse, slow
			printf "ran: judge_maps %d\n", good
		}' "$out/maps.kernel" "$out/maps.skep"
}

for s in $suites; do
	case $s in
	6.1) unpack 6.1; compile 6.1 test_verifier; run 6.1 6.1 ./test_verifier ;;
	6.12) unpack 6.12; patch_612; compile 6.12 test_verifier; run 6.12 6.12 ./test_verifier ;;
	progs) unpack 6.12; patch_612; compile 6.12 test_progs; run progs 6.12 ./test_progs -v -a 'verifier*' ;;
	conformance) conformance ;;
	corpus) unpack 6.12; patch_612; compile 6.12 test_progs; corpus ;;
	maps) unpack 6.1; patch_maps; compile 6.1 test_maps; maps ;;
	*) echo "judge: no suite '$s'" >&2; exit 2 ;;
	esac
done
case ${UPDATE:-} in
'') update= ;;
begin) update="--update --begin" ;; # a new suite: all that differs is known
*) update=--update ;;
esac
compared=$(printf '%s\n' $suites | grep -v -x -e conformance -e maps) || exit 0
exec python3 scripts/judge.py $update "$out" test/judge $compared
