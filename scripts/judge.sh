#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The kernel's own tests as judges: builds test_verifier of Linux 6.1 and 6.12 and the
# verifier part of 6.12's test_progs from the distribution's source packages, in a
# scratch folder, runs them on an instance (skep exec) and on the running kernel where that is
# permitted, and lists what differs.
#   scripts/judge.sh BUILD_DIR [6.1] [6.12] [progs]      default: all
# SKEP_JUDGE: the scratch folder (default: skep-judge in TMPDIR). It is kept: the second run
# builds nothing. SKEP_JUDGE_OUT: where the outputs go (default: there), so that several runs
# can share what is built.
set -eu
cd "$(dirname "$0")/.."
build=$(realpath "$1")
shift
suites=${*:-6.1 6.12 progs}
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

run() { # NAME VERSION COMMAND...: on both runtimes
	local dir=$scratch/linux-source-$2/$tests
	# The kernel's answers don't change between two runs on one kernel.
	local kernel=$scratch/kernel-$(uname -r)-$1.out
	if [ ! -s "$kernel" ] && [ "$(id -u)" = 0 ]; then
		(cd "$dir" && timeout 600 unshare -m "${@:3}" >"$kernel" 2>&1 </dev/null) || true
	fi
	[ -e "$kernel" ] && cp "$kernel" "$out/$1.kernel" || : >"$out/$1.kernel"
	(cd "$dir" && timeout 600 unshare -m "$build/skep" exec -- "${@:3}" >"$out/$1.skep" 2>&1 </dev/null) || true
}

for s in $suites; do
	case $s in
	6.1) unpack 6.1; compile 6.1 test_verifier; run 6.1 6.1 ./test_verifier ;;
	6.12) unpack 6.12; patch_612; compile 6.12 test_verifier; run 6.12 6.12 ./test_verifier ;;
	progs) unpack 6.12; patch_612; compile 6.12 test_progs; run progs 6.12 ./test_progs -v -a 'verifier*' ;;
	*) echo "judge: no suite '$s'" >&2; exit 2 ;;
	esac
done
exec python3 scripts/judge.py "$out" test/judge $suites
