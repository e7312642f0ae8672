#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# bpftool at work, to be run on the kernel and on an instance, with the same output but for what
# `norm` replaces: numbers of objects, times, sizes of code, which differ from run to run.
#   bpftool.sh OBJECT FOLDER
object=$1 dir=$2
fs=/sys/fs/bpf
norm() {
	sed -E -e 's/^[0-9]+: /N: /' -e 's/loaded_at [^ ]+ /loaded_at T /' \
		-e 's/(xlated|jited|memlock|size) [0-9]+B/\1 SIZE/g' \
		-e 's/(btf_id|prog_ids?|map_ids?|id) [0-9,]+/\1 N/g' \
		-e 's/\[id:[0-9]+\]/[id:N]/g' \
		-e 's/duration( \(average\))?: [0-9]+ns/duration\1 T/' \
		-e 's/map\[id:[0-9]+\]/map[id:N]/; s/name <anon>/name ANON/' \
		-e 's/"(id|btf_id|loaded_at|bytes_xlated|bytes_jited|bytes_memlock|duration)":[0-9]+/"\1":N/g' \
		-e 's/"map_ids":\[[0-9,]*\]/"map_ids":N/g; s/"pids":\[[^]]*\],?//g' \
		-e 's/^\tpids .*$//' -e '/^$/d'
}
say() { # a command, its output and how it ended
	out=$("$@" 2>&1)
	rc=$?
	echo "\$ $*" | sed "s|$object|OBJECT|; s|$dir|DIR|g; s/ id [0-9]* / id N /"
	printf '%s\n' "$out" | norm
	echo "-> $rc"
}
set -u
say bpftool prog load "$object" $fs/none/such
say bpftool prog loadall "$object" $fs/skt pinmaps $fs/skt_maps
say bpftool prog show pinned $fs/skt/skt_xdp
say bpftool prog show name skt_filter
say bpftool -j prog show name skt_cls
say bpftool prog show pinned $fs/skt/none
say bpftool prog pin name skt_cls $fs/skt_cls
say bpftool prog pin name skt_cls $fs/skt_cls
say bpftool prog show pinned $fs/skt_cls
say ls -I '*.debug' $fs $fs/skt
say stat -c '%F %a %U %s %n' $fs/skt_cls
say stat -c '%F %a %U %n' $fs/skt
say stat -f -c '%T %s %l %b' $fs $fs/skt_cls
say mkdir $fs/skt_dir
say mv $fs/skt_cls $fs/skt_dir/moved
say bpftool prog show pinned $fs/skt_cls
say bpftool prog show pinned $fs/skt_dir/moved
say ln -s skt_dir/moved $fs/skt_link
say bpftool prog show pinned $fs/skt_link
say rmdir $fs/skt_dir
say bpftool prog pin name skt_cls $fs/skt_dir
say bpftool prog pin name skt_cls $fs/skt_none/such
say bpftool prog pin name skt_cls $fs/skt.dot
say rm $fs/skt_dir/moved $fs/skt_link
say rmdir $fs/skt_dir
say bpftool prog show pinned $fs/skt_dir/moved
say bpftool map create $fs/skt_gone type array key 4 value 8 entries 4 name skt_gone
say bpftool map show name skt_gone
say rm $fs/skt_gone
say bpftool map show name skt_gone
say bpftool prog dump xlated pinned $fs/skt/skt_none
say bpftool prog dump jited pinned $fs/skt/skt_xdp
say bpftool map show name skt_seen
say bpftool map show pinned $fs/skt_maps/skt_seen
say bpftool -j map show name skt_ring
say bpftool map dump name skt_seen
say bpftool map update name skt_seen key 2 0 0 0 value 1 0 0 0 2 0 0 0
say bpftool map update name skt_seen key 9 0 0 0 value 1 0 0 0 2 0 0 0
say bpftool map update name skt_seen key 2 0 0 value 1 0 0 0 2 0 0 0
say bpftool map lookup name skt_seen key 2 0 0 0
say bpftool -j map lookup name skt_seen key 2 0 0 0
say bpftool map getnext name skt_seen key 1 0 0 0
say bpftool map delete name skt_seen key 2 0 0 0
head -c 64 /dev/zero >"$dir/in64"
head -c 160 /dev/zero >"$dir/in160"
say bpftool prog run pinned $fs/skt/skt_xdp data_in "$dir/in64" data_out "$dir/out"
say cmp "$dir/in64" "$dir/out"
say bpftool prog run pinned $fs/skt/skt_xdp data_in "$dir/in160" repeat 3
say bpftool prog run pinned $fs/skt/skt_filter data_in "$dir/in64"
say bpftool prog run pinned $fs/skt/skt_cls data_in "$dir/in64" repeat 2
say bpftool prog run pinned $fs/skt/skt_xdp data_in "$dir/none"
say bpftool map dump name skt_seen
say bpftool -j -p map dump name skt_seen
for type in hash lru_hash array percpu_array percpu_hash lru_percpu_hash; do
	say bpftool map create $fs/skt_$type type $type key 4 value 8 entries 4 name skt_$type
	say bpftool map show pinned $fs/skt_$type
	say bpftool map update pinned $fs/skt_$type key hex 01 00 00 00 value hex 01 02 03 04 05 06 07 08
	case $type in
	*percpu*) bpftool map lookup pinned $fs/skt_$type key 1 0 0 0 | head -2 ;;
	*) say bpftool map lookup pinned $fs/skt_$type key 1 0 0 0 ;;
	esac
	say bpftool map delete pinned $fs/skt_$type key 1 0 0 0
	say bpftool map delete pinned $fs/skt_$type key 1 0 0 0
done
say bpftool map create $fs/skt_lpm type lpm_trie key 8 value 4 entries 4 name skt_lpm flags 1
say bpftool map update pinned $fs/skt_lpm key 8 0 0 0 10 0 0 0 value 1 0 0 0 noexist
say bpftool map update pinned $fs/skt_lpm key 8 0 0 0 10 0 0 0 value 1 0 0 0 noexist
say bpftool map lookup pinned $fs/skt_lpm key 32 0 0 0 10 1 2 3
say bpftool map create $fs/skt_queue type queue value 4 entries 2 name skt_queue
say bpftool map push pinned $fs/skt_queue value 1 2 3 4
say bpftool map push pinned $fs/skt_queue value 2 2 3 4
say bpftool map push pinned $fs/skt_queue value 3 2 3 4
say bpftool map peek pinned $fs/skt_queue
say bpftool map pop pinned $fs/skt_queue
say bpftool map create $fs/skt_stack type stack value 4 entries 2 name skt_stack
say bpftool map enqueue pinned $fs/skt_stack value 1 2 3 4
say bpftool map dequeue pinned $fs/skt_stack
say bpftool map dequeue pinned $fs/skt_stack
say bpftool map freeze pinned $fs/skt_array
say bpftool -f map show name skt_array
say bpftool -f -j map show name skt_array
say bpftool -f prog show name skt_filter
say bpftool map update pinned $fs/skt_array key 1 0 0 0 value 0 0 0 0 0 0 0 0
say bpftool map show pinned $fs/skt_array
say bpftool map create $fs/skt_outer type array_of_maps key 4 value 4 entries 2 name skt_outer inner_map pinned $fs/skt_hash
say bpftool map update pinned $fs/skt_outer key 0 0 0 0 value pinned $fs/skt_hash
say bpftool map update pinned $fs/skt_outer key 1 0 0 0 value pinned $fs/skt_queue
say bpftool map dump pinned $fs/skt_outer | sed 's/value: .*/value: ID/'
say bpftool map create $fs/skt_progs type prog_array key 4 value 4 entries 2 name skt_progs
say bpftool map update pinned $fs/skt_progs key 0 0 0 0 value pinned $fs/skt/skt_cls
say bpftool map update pinned $fs/skt_progs key 1 0 0 0 value pinned $fs/skt/skt_xdp
say bpftool map dump pinned $fs/skt_progs | sed 's/value: .*/value: ID/'
say bpftool map create $fs/skt_bad type hash key 0 value 8 entries 4 name skt_bad
say bpftool map create $fs/skt_bad type hash key 4 value 8 entries 4 name skt-bad
id=$(bpftool prog show pinned $fs/skt/skt_xdp | sed -n 's/.*btf_id //p')
say bpftool btf dump id "$id" format raw
say bpftool btf dump id "$id" format c
say bpftool btf dump map pinned $fs/skt_maps/skt_seen
say bpftool btf dump file "$object" format c
say bpftool prog dump xlated pinned $fs/skt/skt_xdp visual | head -2
say bpftool gen object "$dir/linked.o" "$object"
say bpftool gen skeleton "$dir/linked.o" name client
say bpftool net show
say bpftool cgroup tree | head -2
