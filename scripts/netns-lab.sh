#!/bin/bash
# A lab of hosts and routers on one machine: hosts are network namespaces, routers
# are vrouterd processes, wires are TUN/TAP devices and bridges. `demo` shows it all.
#
# Everything lives in namespaces called <lab>-<host>; the machine's own network is
# not touched. Files are under /run/vrouterd-lab/<lab>. `down` finds what belongs to the lab by
# those names, so that it also clears away what a killed lab has left.
set -euo pipefail

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/go/bin
export LC_ALL=C

usage() {
    cat <<'USAGE'
usage: scripts/netns-lab.sh COMMAND

  demo                 raise a lab of two hosts and two routers, show it, take it down
  textbook             the same with the internetwork H1..H8 over R1, R2, R3: each hop from H1 to H8; then H9 boots
                       without an address and gets one
  rip                  five routers and six links that find their routes by RIP, step by step: the tables
                       of the textbooks at the start, converged, with a link cut, and counting to infinity
  home                 the home of the textbooks behind one public address: DHCP within and towards the provider, names,
                       NAT, a forward, the same from inside, the firewall, and why each packet goes where it goes
  cgnat                three homes behind a carrier that translates once more, in port blocks for each subscriber
  up [demo|textbook|rip|home|cgnat]
                       raise a lab and leave it running (default: demo)
  exec HOST CMD...     run CMD on a host; on a router: vrctl CMD (exec h1 ping 10.2.0.2, exec r1 show routes)
  shell HOST           a shell on a host
  status               what of the lab is running
  graph                the picture of the lab
  logs ROUTER          the log of a router
  down                 take the lab down, also what is left of a killed one

LAB=name chooses the lab (default: vrlab), so that several can stand side by side.
BIN=folder takes vrouterd and vrctl from there instead of building them.
Root is needed. NO_COLOR turns colours off, as does output that is no terminal.
USAGE
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
lab=${LAB:-vrlab}
labs=/run/vrouterd-lab
state=$labs/$lab
sockets=/run/vrouterd
bin=${BIN:-$root/bin}

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' dim=$'\e[2m' plain=$'\e[0m'
else
    bold='' green='' red='' dim='' plain=''
fi

fail() {
    echo "${red}netns-lab: $*${plain}" >&2
    exit 1
}
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
note() { printf '%s%s%s\n' "$dim" "$*" "$plain"; }

# show prints a command as one would type it, runs it, and stops the lab when it fails.
show() {
    printf '\n%s$ %s%s\n' "$green" "$(shown "$@")" "$plain"
    "$@" 2>&1 || fail "that command was to succeed and ended with status $?"
}

# shown is the command line without what only this script needs.
shown() {
    local line="$*"
    line=${line//"$bin/vrctl"/vrctl}
    echo "${line//ip netns exec "$lab"-/ip netns exec $lab-}"
}

# ---- checks -------------------------------------------------------------------------------

check_name() {
    [[ $lab =~ ^[a-z][a-z0-9]{0,15}$ ]] ||
        fail "LAB=$lab: a lab's name is a lower-case letter and at most 15 more letters and digits"
}

check_machine() {
    [ "$(id -u)" -eq 0 ] || fail "namespaces and devices take root: run sudo $0 $*"
    [ -c /dev/net/tun ] ||
        fail "there is no /dev/net/tun: load the kernel's tun module (modprobe tun), or give the container the device"
    "$root/scripts/install-deps" lab
}

build() {
    if [ -n "${BIN:-}" ]; then
        if [ ! -x "$bin/vrouterd" ] || [ ! -x "$bin/vrctl" ]; then fail "BIN=$BIN holds no vrouterd and vrctl"; fi
        return
    fi
    say "Building vrouterd and vrctl"
    "$root/scripts/build" "$bin"
    note "$bin: $(cd "$bin" && ls -sh --format=commas vrouterd vrctl)"
}

# ---- pieces -------------------------------------------------------------------------------

# namespace NAME: a host, without IPv6 so that tables and captures show only what is taught here.
namespace() {
    # `ip netns add` sets up /run/netns at its first use, and two at once trip over each other.
    flock /run ip netns add "$lab-$1"
    ip netns exec "$lab-$1" sh -c \
        'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6' \
        2>/dev/null || true # a kernel without IPv6
    ip -n "$lab-$1" link set lo up
}

# switch NAME: an Ethernet switch, a bridge in the namespace of the wires.
switch() {
    ip -n "$lab-net" link add "$1" type bridge
    ip -n "$lab-net" link set "$1" up
}

# plug HOST SWITCH ADDRESS/LEN GATEWAY: eth0 of a host, by a cable into a switch.
plug() {
    ip -n "$lab-net" link add "$1" type veth peer name eth0 netns "$lab-$1"
    ip -n "$lab-net" link set "$1" master "$2" up
    ip -n "$lab-$1" addr add "$3" dev eth0
    ip -n "$lab-$1" link set eth0 up
    ip -n "$lab-$1" route add default via "$4"
}

# router NAME <CONFIG: writes the configuration, starts the daemon, waits until it forwards.
# The daemon's own namespace is that of the wires: not even for a moment does a
# device show up in the machine's own.
router() {
    local name=$1 pid deadline
    cat >"$state/$name.yaml"
    "$bin/vrouterd" check "$state/$name.yaml" || fail "the configuration of $name is bad: see above"
    setsid nsenter --net="/run/netns/$lab-net" "$bin/vrouterd" -c "$state/$name.yaml" --state-dir "$state/history" \
        >"$state/$name.log" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"$state/$name.pid"
    deadline=$((SECONDS + 15))
    # Until the socket is there vrctl answers 3, no daemon.
    until "$bin/vrctl" -n "$lab-$name" wait ready --timeout 5s >/dev/null 2>&1; do
        if ! kill -0 "$pid" 2>/dev/null; then
            cat "$state/$name.log" >&2
            fail "vrouterd $name ended instead of starting: its log is above"
        fi
        if [ $SECONDS -ge $deadline ]; then
            cat "$state/$name.log" >&2
            fail "vrouterd $name was not ready within 15 s: its log is above"
        fi
        sleep 0.05
    done
}

# ---- the demo -----------------------------------------------------------------------------

picture_demo() {
    cat <<'PICTURE'

    +----------+             +----------+             +----------+             +----------+
    |    h1    | eth0    lan |    r1    | core   core |    r2    | p2p    eth0 |    h2    |
    | 10.1.0.2 |=============| vrouterd |======#======| vrouterd |- - - - - - -| 10.2.0.2 |
    +----------+  Ethernet   +----------+   br-core   +----------+     TUN     +----------+
                 10.1.0.0/24              10.0.0.0/30              10.2.0.0/30
                 r1: 10.1.0.1             r1: .1, r2: .2           r2: 10.2.0.1
PICTURE
    note "    h1 and h2 are namespaces whose only network card is the kernel end of a router's port."
    note "    r1 and r2 are two vrouterd processes; the kernel forwards nothing between them."
}

raise_demo() {
    namespace net
    namespace h1
    namespace h2
    router r1 <<CONFIG
name: $lab-r1
ports:
  lan:
    netns: $lab-h1
    device: eth0
    address: 10.1.0.1/24
    host: {address: 10.1.0.2/24, gateway: 10.1.0.1}
  core:
    netns: $lab-net
    device: r1-core
    bridge: br-core
    address: 10.0.0.1/30
routes:
  - {to: 10.2.0.0/30, via: 10.0.0.2}
  - {to: 192.0.2.0/24, type: prohibit, comment: an example of a forbidden network}
CONFIG
    router r2 <<CONFIG
name: $lab-r2
ports:
  core:
    netns: $lab-net
    device: r2-core
    bridge: br-core
    address: 10.0.0.2/30
  p2p:
    kind: tun
    netns: $lab-h2
    device: eth0
    address: 10.2.0.1/30
    host: {address: 10.2.0.2/30, gateway: 10.2.0.1}
routes:
  - {to: 0.0.0.0/0, via: 10.0.0.1}
CONFIG
}

show_demo() {
    local host=(ip netns exec "$lab-h1") r1=("$bin/vrctl" -n "$lab-r1") r2=("$bin/vrctl" -n "$lab-r2")
    say "What the hosts know: one address and one gateway each"
    show ip -n "$lab-h1" -br addr show dev eth0
    show ip -n "$lab-h1" route
    show ip -n "$lab-h2" route
    say "The ports of both routers"
    show "${r1[@]}" show ports
    show "${r2[@]}" show ports
    say "h1 reaches h2, on the other side of both routers"
    show "${host[@]}" ping -n -c 3 -i 0.2 10.2.0.2
    say "Every hop answers: r1, r2, h2"
    show "${host[@]}" traceroute -n -q 1 10.2.0.2
    say "And back, from the point-to-point link to the Ethernet"
    show ip netns exec "$lab-h2" traceroute -n -q 1 10.1.0.2
    say "The routers' routes"
    show "${r1[@]}" show routes
    show "${r2[@]}" show routes
    say "Why a packet to h2 goes where it goes"
    show "${r1[@]}" show route 10.2.0.2
    say "The neighbours that ARP has found (r2 has none on its TUN link: there is only one other end)"
    show "${r1[@]}" show neighbors
    show "${r2[@]}" show neighbors
    say "What the dataplane of r1 holds: the FIB"
    show "${r1[@]}" show fib
    say "A forbidden network is refused with an ICMP error, and the drop has a name"
    printf '\n%s$ %s%s\n' "$green" "$(shown "${host[@]}" ping -n -c 1 -W 2 192.0.2.1)" "$plain"
    "${host[@]}" ping -n -c 1 -W 2 192.0.2.1 2>&1 || true # no answer is what it shows
    show "${r1[@]}" show drops
    say "The router can ping, too"
    show "${r1[@]}" ping -c 2 10.2.0.2
}

# ---- the internetwork of the textbooks -------------------------------------------------------

picture_textbook() {
    cat <<'PICTURE'

        H3                                                                          H8
        | network 1                                                    network 4    :
        | Ethernet                                                  point to point  :
     +------+        network 3a        +------+        network 3b        +------+   :
     |  R1  |==========================|  R2  |==========================|  R3  |- -+
     +------+     R1 .251, R2 .252     +------+     R2 .252, R3 .253     +------+
        | network 2                       | network 5                       | network 6
    ----+-----+------ switch         -----+----+----- switch           -----+----+----- switch
        |     |                           |    |                            |    |
        H1    H2   (H9)                   H4   H5                           H6   H7

    network n is 10.n.0.0/24; network 3 is two links, 10.3.1.0/24 (a) and 10.3.2.0/24 (b)
    host Hn has the address that ends in .n; router Rn has, on each of its networks, .25n
PICTURE
    note "    H3's card is the kernel end of R1's TAP port, H8's that of R3's TUN port; the other"
    note "    hosts are cabled to switches (Linux bridges) into which a router's port is plugged. H9 has no address yet."
}

raise_textbook() {
    local h
    namespace net
    for h in 1 2 3 4 5 6 7 8 9; do namespace "h$h"; done
    for h in net2 net5 net6; do switch "$h"; done
    router r1 <<CONFIG
name: $lab-r1
ports:
  net1:
    netns: $lab-h3
    device: eth0
    address: 10.1.0.251/24
    host: {address: 10.1.0.3/24, gateway: 10.1.0.251}
  net2: {netns: $lab-net, device: r1-net2, bridge: net2, address: 10.2.0.251/24}
  net3a: {netns: $lab-net, device: r1-net3a, bridge: net3a, address: 10.3.1.251/24}
dhcp:
  net2: {range: 10.2.0.9-10.2.0.99, dns: none}
routes:
  - {to: 10.3.2.0/24, via: 10.3.1.252}
  - {to: 10.4.0.0/24, via: 10.3.1.252}
  - {to: 10.5.0.0/24, via: 10.3.1.252}
  - {to: 10.6.0.0/24, via: 10.3.1.252}
CONFIG
    router r2 <<CONFIG
name: $lab-r2
ports:
  net3a: {netns: $lab-net, device: r2-net3a, bridge: net3a, address: 10.3.1.252/24}
  net3b: {netns: $lab-net, device: r2-net3b, bridge: net3b, address: 10.3.2.252/24}
  net5: {netns: $lab-net, device: r2-net5, bridge: net5, address: 10.5.0.252/24}
routes:
  - {to: 10.1.0.0/24, via: 10.3.1.251}
  - {to: 10.2.0.0/24, via: 10.3.1.251}
  - {to: 10.4.0.0/24, via: 10.3.2.253}
  - {to: 10.6.0.0/24, via: 10.3.2.253}
CONFIG
    router r3 <<CONFIG
name: $lab-r3
ports:
  net3b: {netns: $lab-net, device: r3-net3b, bridge: net3b, address: 10.3.2.253/24}
  net4:
    kind: tun
    netns: $lab-h8
    device: eth0
    address: 10.4.0.253/24
    host: {address: 10.4.0.8/24, gateway: 10.4.0.253}
  net6: {netns: $lab-net, device: r3-net6, bridge: net6, address: 10.6.0.253/24}
routes:
  - {to: 10.1.0.0/24, via: 10.3.2.252}
  - {to: 10.2.0.0/24, via: 10.3.2.252}
  - {to: 10.3.1.0/24, via: 10.3.2.252}
  - {to: 10.5.0.0/24, via: 10.3.2.252}
CONFIG
    plug h1 net2 10.2.0.1/24 10.2.0.251
    plug h2 net2 10.2.0.2/24 10.2.0.251
    plug h4 net5 10.5.0.4/24 10.5.0.252
    plug h5 net5 10.5.0.5/24 10.5.0.252
    plug h6 net6 10.6.0.6/24 10.6.0.253
    plug h7 net6 10.6.0.7/24 10.6.0.253
    socket h9 net2 02:00:00:00:00:09
}

show_textbook() {
    local r
    say "Before: nobody has asked for anybody, the ARP tables are empty"
    show ip -n "$lab-h1" neigh
    for r in r1 r2 r3; do show "$bin/vrctl" -n "$lab-$r" show neighbors; done
    say "At each router the network part decides: deliver here, or next router"
    for r in r1 r2 r3; do show "$bin/vrctl" -n "$lab-$r" show route 10.4.0.8; done
    say "H1 sends to H8: to its gateway R1, then R2, then R3, which delivers"
    show ip netns exec "$lab-h1" ping -n -c 2 -i 0.2 10.4.0.8
    show ip netns exec "$lab-h1" traceroute -n -q 1 10.4.0.8
    say "After: on every Ethernet along the way ARP has found the next one's link-layer address"
    show ip -n "$lab-h1" neigh
    for r in r1 r2 r3; do show "$bin/vrctl" -n "$lab-$r" show neighbors; done
    note "R3 has no entry for H8: network 4 is point to point, whatever goes in comes out at H8."
    say "Everybody reaches everybody"
    everybody
    say "H9 boots on network 2 without an address, and gets one from R1"
    show ip -n "$lab-h9" -br addr show dev eth0
    boot h9 h9 10.2.0.9
    show ip -n "$lab-h9" -br -4 addr show dev eth0
    see h9 "$bin/vrctl" -n "$lab-r1" show dhcp leases
    say "H3 reaches H9: R1 finds it by ARP"
    show ip netns exec "$lab-h3" ping -n -c 2 -i 0.2 10.2.0.9
    see 10.2.0.9 "$bin/vrctl" -n "$lab-r1" show neighbors
    say "And H8, three routers away, answers it"
    show ip netns exec "$lab-h9" ping -n -c 2 -i 0.2 10.4.0.8
}

# everybody: a table of who reaches whom.
everybody() {
    local from to mark address=('' 10.2.0.1 10.2.0.2 10.1.0.3 10.5.0.4 10.5.0.5 10.6.0.6 10.6.0.7 10.4.0.8)
    local lost=0
    printf '\n from\\to'
    for to in 1 2 3 4 5 6 7 8; do printf ' H%d' "$to"; done
    for from in 1 2 3 4 5 6 7 8; do
        printf '\n     H%d ' "$from"
        for to in 1 2 3 4 5 6 7 8; do
            mark=ok
            if ! ip netns exec "$lab-h$from" ping -n -q -c 1 -W 2 "${address[$to]}" >/dev/null; then
                mark=--
                lost=$((lost + 1))
            fi
            printf ' %s' "$mark"
        done
    done
    echo
    [ "$lost" -eq 0 ] || fail "$lost of 64 pings found no answer"
}

# ---- hosts without an address -----------------------------------------------------------------

# shellcheck source=labs/dhcp.sh
. "$root/labs/dhcp.sh"

# ---- five routers that find their routes ------------------------------------------------------

# shellcheck source=labs/rip.sh
. "$root/labs/rip.sh"

# ---- NAT: a home, and homes behind a carrier --------------------------------------------------

# shellcheck source=labs/home.sh
. "$root/labs/home.sh"

# ---- up and down ----------------------------------------------------------------------------

raise() {
    # The folder is the lab's name: whoever makes it has it.
    mkdir -p "$labs"
    mkdir "$state" 2>/dev/null ||
        fail "the lab $lab is up, or left over: take it down first ($0 down), or choose another name (LAB=name)"
    echo "$1" >"$state/topology"
    say "Raising the lab $lab"
    "raise_$1" "${@:2}"
    "picture_$1"
}

# ours: the lab's namespaces, one a line.
ours() { ip netns list | awk -v p="$lab-" 'index($1, p) == 1 {print $1}'; }

# line PID: the command line of a process; empty when it is gone or a zombie.
line() { { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null || true; }

# daemons: processes that run with a configuration of this lab, by their command line: a
# number from a file might belong to somebody else by now.
daemons() {
    local pid
    for pid in /proc/[0-9]*; do
        case $(line "${pid#/proc/}") in
        *"vrouterd -c $state/"*) echo "${pid#/proc/}" ;;
        esac
    done
}

# everyone: the daemons, and whatever runs inside the lab's namespaces.
everyone() {
    local ns
    daemons
    for ns in $(ours); do ip netns pids "$ns" 2>/dev/null || true; done
}

# end SIGNAL SECONDS PID...: sends the signal and waits for the processes to go.
end() {
    local signal=$1 deadline=$((SECONDS + $2)) pid
    shift 2
    for pid in "$@"; do kill "-$signal" "$pid" 2>/dev/null || true; done
    while [ $SECONDS -lt $deadline ]; do
        local alive=0
        for pid in "$@"; do [ -n "$(line "$pid")" ] && alive=1; done
        # A bare return within a trap would return what the script had failed with, and end the clearing.
        [ $alive -eq 0 ] && return 0
        sleep 0.05
    done
}

lower() {
    local pids ns
    mapfile -t pids < <(daemons)
    end TERM 5 "${pids[@]}"
    mapfile -t pids < <(everyone | sort -u)
    end KILL 5 "${pids[@]}"
    for ns in $(ours); do ip netns del "$ns"; done
    rm -rf "/etc/netns/$lab-"*
    rm -f "$sockets/$lab"-r[0-9a-e].sock*
    rm -rf "$state"
    rmdir "$labs" 2>/dev/null || true # other labs may be up
}

# remains: what is left of the lab on this machine; empty after `down`.
remains() {
    everyone | sed 's/^/process /'
    ours | sed 's/^/namespace /'
    find "$sockets" -name "$lab-*" 2>/dev/null || true
    find "$state" 2>/dev/null || true
    find /etc/netns -maxdepth 1 -name "$lab-*" 2>/dev/null || true
}

interfaces() { ip -o link show | awk -F': ' '{print $2}' | sort; }

status() {
    local file name pid
    if [ ! -d "$state" ] && [ -z "$(ours)" ]; then
        echo "the lab $lab is down"
        return
    fi
    echo "lab $lab ($(cat "$state/topology" 2>/dev/null || echo 'left over: run down')), files in $state"
    for file in "$state"/*.pid; do
        [ -e "$file" ] || continue
        name=$(basename "$file" .pid) pid=$(cat "$file")
        if [[ $(line "$pid") == *"$state/$name.yaml"* ]]; then
            echo "  router $name    runs, process $pid: vrctl -n $lab-$name"
        else
            echo "  router $name    ${red}is dead${plain}, was process $pid: see $state/$name.log"
        fi
    done
    ours | while read -r name; do
        printf '  namespace %-14s %s\n' "$name" "$(ip -n "$name" -br -4 addr show scope global | awk '{printf "%s %s  ", $1, $3}')"
    done
}

need_lab() { [ -d "$state" ] || fail "the lab $lab is not up: raise it with $0 up"; }

in_lab() {
    local where=$1
    shift
    [ $# -gt 0 ] || fail "say what to run: $0 exec HOST CMD..."
    if [ -e "$state/$where.yaml" ]; then
        [ "$1" = vrctl ] && shift
        exec "$bin/vrctl" -n "$lab-$where" "$@"
    fi
    [ -e "/run/netns/$lab-$where" ] ||
        fail "there is no host or router $where in the lab $lab: it has $(ours | sed "s/^$lab-//" | tr '\n' ' ')"
    exec ip netns exec "$lab-$where" "$@"
}

# walk TOPOLOGY [DETAIL]: from nothing to nothing, with a look around in between.
walk() {
    local before after left
    before=$(interfaces)
    build
    trap lower EXIT # also when a step fails or somebody presses Ctrl-C
    trap 'exit 130' INT TERM HUP
    raise "$@"
    "show_$1"
    say "Taking the lab down"
    lower
    trap - EXIT
    left=$(remains)
    after=$(interfaces)
    [ -z "$left" ] || fail "left behind: $left"
    [ "$before" = "$after" ] || fail "the machine's interfaces changed: $(diff <(echo "$before") <(echo "$after"))"
    note "no process, no namespace, no socket, no file is left; the machine's own interfaces are as before"
}

check_name
case ${1:-} in
demo | textbook | home | cgnat)
    check_machine "$1"
    walk "$1"
    ;;
rip)
    check_machine "$1"
    walk rip false # with every link down
    ;;
up)
    case ${2:-demo} in demo | textbook | rip | home | cgnat) ;; *) fail "there is no lab called $2: it is demo, textbook, rip, home or cgnat" ;; esac
    check_machine "$@"
    build
    trap lower EXIT
    trap 'exit 130' INT TERM HUP
    raise "${2:-demo}"
    trap - EXIT
    echo
    status
    case ${2:-demo} in
    rip) note "next: $0 exec ra show rip; $0 exec ha traceroute -n 10.0.3.2; $0 exec rb port down link2; $0 down" ;;
    home) note "next: $0 exec h2 curl http://198.51.100.1/; $0 exec r1 show nat sessions; $0 exec server curl http://83.215.152.95/; $0 down" ;;
    cgnat) note "next: $0 exec h1 curl http://198.51.100.1/; $0 exec rc show nat mappings; $0 down" ;;
    *) note "next: $0 exec h1 ping 10.1.0.1; $0 exec r1 show routes; $0 down" ;;
    esac
    ;;
down)
    check_machine "$1"
    lower
    left=$(remains)
    [ -z "$left" ] || fail "left behind: $left"
    echo "the lab $lab is down"
    ;;
exec)
    check_machine "$@"
    need_lab
    [ $# -gt 2 ] || fail "say where and what: $0 exec HOST CMD..."
    shift
    in_lab "$@"
    ;;
shell)
    check_machine "$@"
    need_lab
    [ $# -eq 2 ] || fail "say where: $0 shell HOST"
    PS1="$2# " in_lab "$2" bash --norc
    ;;
status)
    check_machine "$1"
    status
    ;;
graph)
    need_lab
    "picture_$(cat "$state/topology")"
    ;;
logs)
    need_lab
    [ -e "$state/${2:-}.log" ] || fail "say which router: $0 logs r1"
    cat "$state/$2.log"
    ;;
-h | --help | help)
    usage
    ;;
*)
    usage >&2
    [ $# -eq 0 ] || printf '\n%snetns-lab: there is no command %s%s\n' "$red" "$1" "$plain" >&2
    exit 2
    ;;
esac
