# SPDX-License-Identifier: Apache-2.0
# A pinned iterator (of the first program in the object) is read by its name, each time anew.
# iters.sh OBJECT
set -eu
pin=/sys/fs/bpf/skt_iter
bpftool iter pin "$1" $pin
cat $pin
bpftool map create /sys/fs/bpf/skt_more type array key 4 value 8 entries 3 name skt_more
grep skt_more $pin
head -c 10 $pin
bpftool link show pinned $pin | grep -c 'iter.*target_name bpf_map'
bpftool link show | grep -c 'iter.*target_name bpf_map'
rm $pin /sys/fs/bpf/skt_more
! cat $pin 2>/dev/null
