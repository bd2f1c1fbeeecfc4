#!/usr/bin/env bash
# Breaks a router's surroundings while it runs: kills it, renames and deletes what it
# stands on, and storms it with changes. Everything happens in namespaces made here,
# which are gone at the end. Needs root.
#
#   scripts/build && test/chaos/chaos.sh bin
#
# shellcheck disable=SC2317  # functions are called by way of check and the trap
set -u
bin=$(realpath "${1:?directory of vrouterd and vrctl}")
id=vrchaos$$
tmp=$(mktemp -d /tmp/chaos.XXXXXX)
h1=$id-h1 h2=$id-h2 net=$id-net
name=$id-r
failed=0
pid=

clean() {
	[ -n "$pid" ] && kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
	for n in "$h1" "$h2" "$net"; do ip netns del "$n" 2>/dev/null; done
	rm -rf "$tmp"
}
trap clean EXIT

say() { printf '%-4s %s\n' "$1" "$2"; }
check() { # what, command...
	local what=$1
	shift
	if "$@" >"$tmp/out" 2>&1; then say ok "$what"; else
		say FAIL "$what"
		sed 's/^/       /' "$tmp/out" | tail -5
		tail -5 "$tmp/log" | sed 's/^/       log: /'
		failed=1
	fi
}
ctl() { "$bin/vrctl" -s "$tmp/run/$name.sock" "$@"; }
ping1() { ip netns exec "$h1" ping -n -c 1 -W 2 "$1" >/dev/null; }
until_ok() { # limit in tenths of a second, command...
	local n=$1
	shift
	while ! "$@" >/dev/null 2>&1; do
		n=$((n - 1))
		[ "$n" -le 0 ] && { "$@"; return; }
		read -rt 0.1 <> <(:) || true
	done
}
start() {
	ip netns exec "$net" "$bin/vrouterd" -c "$tmp/r.yaml" --socket-dir "$tmp/run" --state-dir "$tmp/state" --workers 1 2>>"$tmp/log" &
	pid=$!
}
alive() { kill -0 "$pid"; }
config() {
	cat >"$tmp/r.yaml" <<END
name: $name
ports:
  lan1:
    netns: $h1
    device: eth0
    address: 10.1.0.1/24
    host: {address: 10.1.0.2/24, gateway: 10.1.0.1}
  lan2:
    netns: $h2
    device: eth0
    address: 10.2.0.1/24
    host: {address: 10.2.0.2/24, gateway: 10.2.0.1}
  core: {netns: $net, device: core0, bridge: br0, address: 10.3.0.1/24}
END
}

for n in "$h1" "$h2" "$net"; do ip netns add "$n" && ip -n "$n" link set lo up; done
config
start
check "it starts" until_ok 100 ctl wait ready --timeout 1s
check "it forwards" until_ok 30 ping1 10.2.0.2

kill -9 "$pid"; wait "$pid" 2>/dev/null
start
check "it starts again after kill -9" until_ok 100 ctl wait ready --timeout 1s
check "it forwards after kill -9" until_ok 30 ping1 10.2.0.2

check "a second daemon of the name is refused" bash -c "! timeout 10 ip netns exec $net $bin/vrouterd -c $tmp/r.yaml --socket-dir $tmp/run --state-dir $tmp/state"
check "and the first forwards on" ping1 10.2.0.2

ip -n "$h2" link set eth0 down
ip -n "$h2" link set eth0 name other0 2>/dev/null && ip -n "$h2" link set other0 up
check "a renamed device: the daemon lives" alive
check "a renamed device: its port is up" until_ok 50 ctl assert port lan2 up
check "a renamed device: it forwards, or says why not" until_ok 50 ping1 10.2.0.2
ctl --json show ports >"$tmp/ports"
ip -n "$h2" link set other0 down
ip -n "$h2" link set other0 name eth0 2>/dev/null && ip -n "$h2" link set eth0 up
check "named back: it forwards" until_ok 80 ping1 10.2.0.2

ip netns del "$h2"
check "a deleted namespace: the port is missing" until_ok 50 bash -c "'$bin/vrctl' -s '$tmp/run/$name.sock' --json show ports | grep -q missing"
check "a deleted namespace: the others go on" ping1 10.1.0.1
kill -HUP "$pid"
check "a reload meanwhile: the daemon lives" alive
ip netns add "$h2"
check "made again: it forwards" until_ok 100 ping1 10.2.0.2

ip -n "$net" link del br0
check "a deleted bridge: the port says so" until_ok 50 bash -c "'$bin/vrctl' -s '$tmp/run/$name.sock' --json show ports | grep -q 'bridge br0 in .* was deleted'"
check "a deleted bridge: the others go on" ping1 10.2.0.2
kill -HUP "$pid"
check "a deleted bridge comes back with a reload" until_ok 50 bash -c "ip -n $net link show br0 && '$bin/vrctl' -s '$tmp/run/$name.sock' wait ready --timeout 1s"

ip -n "$h2" link del eth0
check "a deleted device comes back" until_ok 100 ping1 10.2.0.2

mv "$tmp/r.yaml" "$tmp/away"
kill -HUP "$pid"
check "a vanished file: it forwards on" ping1 10.2.0.2
mv "$tmp/away" "$tmp/r.yaml"

# A storm of reloads, with and without a third port, under traffic of unchanged ports.
ip netns exec "$h1" ping -n -i 0.01 -c 300 -W 2 10.2.0.2 >"$tmp/ping" &
p=$!
for _ in $(seq 30); do
	sed -i '/core:/d' "$tmp/r.yaml"; kill -HUP "$pid"; ctl show status >/dev/null
	config; kill -HUP "$pid"; ctl show ports >/dev/null
done
wait $p
check "a storm of reloads loses no packet" grep -q ' 0% packet loss' "$tmp/ping"

clients=
for c in 1 2 3 4; do
	(for i in $(seq 125); do
		ctl route add "30.$c.$i.0/24" via 10.2.0.2 || exit 1
		[ $((i % 5)) = 0 ] || ctl route del "30.$c.$i.0/24" || exit 1
	done) 2>>"$tmp/storm" &
	clients="$clients $!"
done
bad=0
for c in $clients; do wait "$c" || bad=1; done
check "four clients add and delete 500 routes" test "$bad" = 0
[ "$bad" = 0 ] || sed 's/^/       /' "$tmp/storm" | head -3
check "and what is left is right" bash -c "[ \$('$bin/vrctl' -s '$tmp/run/$name.sock' --json show routes | grep -o '30\\.[0-9.]*/24' | sort -u | wc -l) = 100 ]"
check "it forwards" ping1 10.2.0.2

kill "$pid"
check "it stops" wait "$pid"
pid=
check "it takes its socket along" bash -c "! test -e '$tmp/run/$name.sock'"
check "it takes its devices along" bash -c "! ip -n $h1 link show eth0"
check "it takes its bridge along" bash -c "! ip -n $net link show br0"
exit $failed
