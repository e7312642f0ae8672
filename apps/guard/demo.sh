#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The main job: a real HTTP server, real clients, a SYN flood, and guard in the
# wire between them. First without guard (a plain wire), then with it. All of it
# in network namespaces that this script makes; an ordinary user gets them from an
# unprivileged user namespace. Without namespaces, a recorded capture is replayed.
#   apps/guard/demo.sh BUILD_DIR
set -u
cd "$(dirname "$0")/../.."
build=${1:-build}
seconds=${GUARD_DEMO_SECONDS:-8}
flood_pps=${GUARD_DEMO_PPS:-20000}

replay() {
	echo "No network namespaces here ($1): replaying a recorded capture of the same traffic."
	echo
	exec "$build/guard" --capture apps/guard/flood.pcap --packet-clock
}

# Everything happens inside one private network namespace.
if [ -z "${GUARD_DEMO_INSIDE-}" ]; then
	[ -e /proc/self/ns/net ] || replay "/proc is not mounted"
	if [ "$(id -u)" = 0 ]; then how="unshare -n"; else how="unshare -r -n"; fi
	$how true 2>/dev/null || replay "\"$how\" is not permitted"
	GUARD_DEMO_INSIDE=1 exec $how "$0" "$build"
fi

work=$(mktemp -d)
pids=()
cleanup() {
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null; done
	wait 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT

# A process that holds a namespace of its own; prints nothing, its pid names the namespace.
host() {
	unshare -n sleep 600 &
	pids+=($!)
	eval "$1=$!"
	for _ in $(seq 100); do
		[ "$(readlink /proc/$!/ns/net)" != "$(readlink /proc/self/ns/net)" ] && return
		sleep 0.01
	done
	echo "demo: no namespace for $1" >&2
	exit 1
}
in_ns() { nsenter -t "$1" -n "${@:2}"; }

host out	# clients and attacker
host srv	# the server
# out0 -- wireA (guard) wireB -- srv0; guard's ends have no address.
ip link add wireA type veth peer name out0 netns "$out"
ip link add wireB type veth peer name srv0 netns "$srv"
for i in wireA wireB; do
	echo 1 >/proc/sys/net/ipv6/conf/$i/disable_ipv6
	ip link set $i up
done
for n in "$out" "$srv"; do in_ns "$n" ip link set lo up; done
for i in $(seq 1 5); do in_ns "$out" ip addr add 10.9.0.$((10 + i))/24 dev out0; done
in_ns "$out" ip link set out0 up
in_ns "$srv" ip addr add 10.9.0.1/24 dev srv0
in_ns "$srv" ip link set srv0 up
# Replies to forged addresses leave by the same link and end nowhere.
in_ns "$srv" ip route add 198.18.0.0/15 via 10.9.0.254
in_ns "$srv" ip neigh add 10.9.0.254 lladdr 02:00:00:00:00:66 dev srv0
# Without SYN cookies the server shows what a flood does to its queue.
in_ns "$srv" bash -c 'echo 0 >/proc/sys/net/ipv4/tcp_syncookies; echo 512 >/proc/sys/net/ipv4/tcp_max_syn_backlog' 2>/dev/null

mkdir "$work/www"
echo "hello from behind guard" >"$work/www/index.html"
cat >"$work/server.py" <<'END'
import functools, http.server, sys
http.server.ThreadingHTTPServer.request_queue_size = 512
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
http.server.ThreadingHTTPServer(("10.9.0.1", 80), handler).serve_forever()
END
mac=$(in_ns "$srv" ip -o link show srv0 | sed 's/.*link.ether \([0-9a-f:]*\).*/\1/')

# Five clients ask for a page every tenth of a second.
client() {
	local end=$((SECONDS + seconds))
	while [ $SECONDS -lt $end ]; do
		in_ns "$out" curl -s -o /dev/null --interface "10.9.0.$1" --max-time 3 \
			-w '%{http_code} %{time_total}\n' http://10.9.0.1/
		sleep 0.1
	done >>"$2"
}

round() { # NAME COMMAND...: what the clients saw while COMMAND was the wire
	local name=$1 c=()
	shift
	# A server of its own: half-open connections of the round before are gone with theirs.
	nsenter -t "$srv" -n python3 "$work/server.py" "$work/www" >"$work/$name.server" 2>&1 &
	local server=$!
	pids+=($server)
	"$@" >"$work/$name.wire" 2>&1 &
	local wire=$!
	pids+=($wire)
	# The capture that is replayed where there are no namespaces was made here.
	if [ "$name" = with ] && [ -n "${GUARD_DEMO_RECORD-}" ]; then
		tcpdump -i wireA -Q in -w "$GUARD_DEMO_RECORD" 2>/dev/null &
		pids+=($!)
	fi
	sleep 1
	in_ns "$out" "$build/flood" out0 "$mac" 10.9.0.1 80 198.18.0.0 "$flood_pps" \
		$((flood_pps * seconds)) >"$work/$name.flood" &
	c+=($!)
	sleep 0.5
	for i in $(seq 11 15); do client $i "$work/$name.clients" & c+=($!); done
	wait "${c[@]}"
	kill -INT $wire 2>/dev/null
	wait $wire
	kill $server 2>/dev/null
	wait $server 2>/dev/null
	awk -v name="$name" '
		$1 == 200 { ok++; t[ok] = $2 }
		$1 != 200 { bad++ }
		END {
			for (i = 1; i <= ok; i++) for (j = i + 1; j <= ok; j++) if (t[j] < t[i]) { x = t[i]; t[i] = t[j]; t[j] = x }
			printf "  %-14s %4d pages served, %3d requests failed", name, ok, bad
			if (ok) printf ", median %.1f ms, slowest %.0f ms", t[int((ok + 1) / 2)] * 1000, t[ok] * 1000
			printf "\n"
		}' "$work/$name.clients"
}

echo "A web server, five clients, and a flood of $flood_pps SYNs a second from forged addresses."
echo "What the clients saw in $seconds seconds:"
round without "$build/skep" run examples/xdp_pass.bpf.c --iface wireA --bridge wireB
round with "$build/guard" --iface wireA --bridge wireB --flood 1000
echo
echo "What guard did:"
cat "$work/with.wire"
