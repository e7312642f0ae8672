#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs what building, testing and running skep needs on Debian 12, from the
# distribution's packages. Does nothing (and asks for nothing) when all is there.
#   scripts/deps.sh [build] [test] [lint] [bench] [judge] [fuzz]      default: build
set -eu

build="gcc make libc6-dev libbpf-dev libelf-dev zlib1g-dev libpcap-dev libseccomp-dev libzydis-dev clang llvm"
run="iproute2 python3-minimal python3 curl"
test="$run clang-16 g++ gdb libcmocka-dev bpftool gcc-bpf iputils-ping procps ethtool python3-bpfcc bpftrace linux-headers-$(dpkg --print-architecture 2>/dev/null || true) golang-go golang-github-cilium-ebpf-dev strace systemtap-sdt-dev"
lint="git clang-format clang-tidy cppcheck libcmocka-dev"
bench="$test libbpf-tools xdp-tools"
judge="$run bpftool libbpf-tools xdp-tools clang-16 coreutils linux-source-6.1 linux-source-6.12 clang-19 llvm-19 llvm-19-dev libcap-dev libzstd-dev libssl-dev bison flex bc perl xz-utils"
fuzz="clang libclang-rt-dev"

want=$build
for part in "$@"; do
	case $part in
	build | run | test | lint | bench | judge | fuzz) want="$want ${!part}" ;;
	*) echo "deps.sh: unknown part '$part'" >&2; exit 2 ;;
	esac
done

command -v dpkg-query >/dev/null || {
	echo "deps.sh: no dpkg here: install by yourself what Debian 12 calls: $want" >&2
	exit 1
}
installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 2>/dev/null | sed -n 's/^ii *//p')
missing=
for p in $(printf '%s\n' $want | sort -u); do
	grep -qx "$p" <<<"$installed" || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || {
		echo "deps.sh: these packages are missing and you are not root:$missing" >&2
		echo "deps.sh: as root, run: apt-get update && apt-get install --no-install-recommends$missing" >&2
		exit 1
	}
	sudo=sudo
fi
echo "Installing:$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
