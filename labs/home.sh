# shellcheck shell=bash
# The labs `home` and `cgnat` of scripts/netns-lab.sh, which sources this file: the home of the
# textbooks behind one public address, and three homes behind a carrier that translates once more.

# shellcheck disable=SC2154 # bin, lab, state, green, dim and plain are the script's

# The page that a web server of these labs serves: its name, and whom it was asked by.
web_page() {
    cat <<'PAGE'
#!/bin/sh
return=$(printf '\r')
while read -r line && [ "$line" != "$return" ]; do :; done
printf 'HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n%s: you are %s, port %s\n' "$1" "$SOCAT_PEERADDR" "$SOCAT_PEERPORT"
PAGE
}

# web_server HOST ADDRESS: a web server, until it answers.
web_server() {
    local deadline=$((SECONDS + 10))
    if [ ! -e "$state/page" ]; then
        web_page >"$state/page"
        chmod +x "$state/page"
    fi
    (setsid ip netns exec "$lab-$1" socat "TCP-LISTEN:80,bind=$2,reuseaddr,fork" "EXEC:$state/page $1" >>"$state/$1.web.log" 2>&1 </dev/null &) # in a shell of its own: this one shall not report its end
    until ip netns exec "$lab-$1" curl -s --max-time 2 "http://$2/" >/dev/null; do
        [ $SECONDS -lt $deadline ] || fail "the web server of $1 was not there within 10 s: $(cat "$state/$1.web.log")"
        sleep 0.05
    done
}

# see TEXT COMMAND...: shows a command, which has to succeed and to print the text.
see() {
    local wanted=$1 out
    shift
    printf '\n%s$ %s%s\n' "$green" "$(shown "$@")" "$plain"
    out=$("$@" 2>&1) || fail "that command was to succeed and ended with status $?: $out"
    echo "$out"
    [[ $out == *"$wanted"* ]] || fail "expected to see: $wanted"
}

# fetch HOST ADDRESS TEXT: a host gets a page, which has to have the text.
fetch() { see "$3" ip netns exec "$lab-$1" curl -sS --max-time 10 "http://$2/"; }

# denied HOST ADDRESS PORT: a host must not get a connection there, nor hear why.
denied() {
    local command=(ip netns exec "$lab-$1" curl -sS --max-time 1 "http://$2:$3/") out code=0
    printf '\n%s$ %s%s\n' "$green" "$(shown "${command[@]}")" "$plain"
    out=$("${command[@]}" 2>&1) || code=$?
    echo "$out"
    [ "$code" -eq 28 ] || fail "expected curl to time out (status 28), it ended with status $code"
}

# ---- one home ---------------------------------------------------------------------------------

home_hosts=(2 5 10 101 104 105)

picture_home() {
    cat <<'PICTURE'

    PC            .2 ---+
    PC, serves    .5 ---+                 192.168.1.1 +----------+ 83.215.152.95        83.215.152.1 +--------+
    laptop       .10 ---+--- switch ------------------| vrouterd |----- switch ----------------------| server |
    game box    .101 ---+       192.168.1.0/24    lan +----------+ wan                               +--------+
    media hub   .104 ---+                                  r1          198.51.100.1 is the server's own address
    printer     .105 ---+
PICTURE
    note "    The PCs and the laptop have their addresses by hand, the others from vrouterd by DHCP; vrouterd has its own from the"
    note "    provider's server, dnsmasq. Everybody inside shares one public address. Port 80 of it leads to 192.168.1.5; nothing else leads inside."
}

raise_home() {
    local n
    namespace net
    namespace server
    for n in "${home_hosts[@]}"; do namespace "h$n"; done
    switch lan
    switch line
    socket server line 02:00:00:00:00:01
    ip -n "$lab-server" addr add 83.215.152.1/24 dev eth0
    ip -n "$lab-server" addr add 198.51.100.1/32 dev lo
    provider server --dhcp-range=83.215.152.95,83.215.152.95,255.255.255.0,1h --dhcp-option=3,83.215.152.1 --dhcp-option=6,83.215.152.1 \
        --local=/example.com/ --host-record=www.example.com,198.51.100.1 --local-ttl=300
    router r1 <<CONFIG
name: $lab-r1
ports:
  lan: {netns: $lab-net, device: r1-lan, bridge: lan, address: 192.168.1.1/24}
  wan: {netns: $lab-net, device: r1-wan, bridge: line, address: dhcp}   # the default route and the DNS servers come along
dhcp:
  lan:
    range: 192.168.1.100-192.168.1.199
    reservations: [{mac: "02:00:00:00:01:01", address: 192.168.1.101, name: gamebox}]
dns: {listen: [lan], domain: home.arpa}
nat:
  - {out: wan, type: masquerade}
forwards:
  - {in: wan, protocol: tcp, port: 80, to: 192.168.1.5, name: web}
firewall: home
CONFIG
    "$bin/vrctl" -n "$lab-r1" wait lease port wan --timeout 15s || fail "the provider's server gave r1 no address: $(cat "$state/server.dnsmasq.log")"
    for n in 2 5 10; do plug "h$n" lan "192.168.1.$n/24" 192.168.1.1; done
    socket h101 lan 02:00:00:00:01:01
    socket h104 lan 02:00:00:00:01:04
    socket h105 lan 02:00:00:00:01:05
    boot h101 gamebox
    boot h104 mediahub 192.168.1.104
    boot h105 printer 192.168.1.105
    # The way to the inside that a neighbour outside could take who does not ask: it has to lead nowhere.
    ip -n "$lab-server" route add 192.168.1.0/24 via 83.215.152.95
    web_server server 198.51.100.1
    web_server h5 192.168.1.5
}

show_home() {
    local n r1=("$bin/vrctl" -n "$lab-r1")
    say "What the router is told"
    cat "$state/r1.yaml"
    say "The router has its own address from the provider, and with it the default route and whom to ask for names"
    see "83.215.152.95/24" "${r1[@]}" show ports
    see "dhcp" "${r1[@]}" show routes
    say "Three hosts have theirs from the router; each asked for an address, one has it reserved"
    see 192.168.1.105 "${r1[@]}" show dhcp leases
    show "${r1[@]}" show dhcp
    say "Names: of the house, forward and back, and of the world, which the provider's server knows"
    see "192.168.1.105" ip netns exec "$lab-h101" getent ahostsv4 printer
    see "gamebox.home.arpa" ip netns exec "$lab-h104" getent hosts 192.168.1.101
    see "you are 83.215.152.95" ip netns exec "$lab-h104" curl -sS --max-time 10 http://www.example.com/
    see printer.home.arpa "${r1[@]}" show dns names
    see www.example.com "${r1[@]}" show dns cache
    show "${r1[@]}" show dns
    say "ping and traceroute find their way back"
    show ip netns exec "$lab-h10" ping -n -c 2 -i 0.2 198.51.100.1
    see "198.51.100.1" ip netns exec "$lab-h10" traceroute -n -q 1 -N 1 198.51.100.1
    say "What would become of a page request of the laptop, before there is one"
    see "83.215.152.95" "${r1[@]}" explain --in lan --src 192.168.1.10 --dst 198.51.100.1 --proto tcp --sport 40000 --dport 80 --expect forwarded
    say "Everybody inside fetches a page: the server sees one and the same address"
    for n in "${home_hosts[@]}"; do fetch "h$n" 198.51.100.1 "server: you are 83.215.152.95"; done
    say "From outside, port 80 of the public address is the PC at 192.168.1.5"
    fetch server 83.215.152.95 "h5: you are 83.215.152.1"
    say "So it is from inside (hairpin), also for the server itself; it sees the public address"
    fetch h2 83.215.152.95 "h5: you are 83.215.152.95"
    fetch h5 83.215.152.95 "h5: you are 83.215.152.95"
    say "Inside, neighbours speak to each other without the router"
    fetch h2 192.168.1.5 "h5: you are 192.168.1.2"
    say "The rules of NAT and what they have done"
    see masquerade "${r1[@]}" show nat
    say "Who speaks with whom, and as whom"
    see 192.168.1.105 "${r1[@]}" show nat sessions
    say "The sessions of one host; which outside ports are whose"
    see 192.168.1.2 "${r1[@]}" show nat sessions --address 192.168.1.2
    see 192.168.1.10 "${r1[@]}" show nat mappings
    say "Everything else from outside stays outside, and nobody is told so"
    denied server 83.215.152.95 22
    denied server 192.168.1.5 80
    show "${r1[@]}" explain --in wan --src 83.215.152.1 --dst 83.215.152.95 --proto tcp --sport 40000 --dport 22 --expect dropped
    say "What the firewall has counted, and the drops by name"
    see outside "${r1[@]}" show firewall
    show "${r1[@]}" show drops
    home_checks
}

# home_checks: what the tables must say.
home_checks() {
    local n sessions inside
    say "Checked"
    sessions=$("$bin/vrctl" -n "$lab-r1" --json show nat sessions)
    for n in "${home_hosts[@]}"; do
        inside=$(jq -r --arg a "192.168.1.$n:" '[.[] | select(.inside | startswith($a)) | select(.protocol == "tcp") | .outside] | unique | join(" ")' <<<"$sessions")
        [ -n "$inside" ] || fail "there is no session of 192.168.1.$n: $sessions"
        jq -e --arg a "192.168.1.$n:" 'all(.[]; (.inside | startswith($a) | not) or (.outside | startswith("83.215.152.95")))' <<<"$sessions" >/dev/null ||
            fail "a session of 192.168.1.$n has another outside address: $inside"
        printf '    192.168.1.%-4s left as %s\n' "$n" "$inside"
    done
    jq -e '([.[].outside] | length) > 0' <<<"$sessions" >/dev/null || fail "no sessions: $sessions"
    "$bin/vrctl" -n "$lab-r1" --json show nat |
        jq -e 'any(.[]; .kind == "forward" and .name == "web" and .created >= 3)' >/dev/null ||
        fail "the forward was to have counted the three connections that it let in"
    note "    every host leaves by the public address, and the forward has served outside and inside"
}

# ---- three homes behind a carrier ---------------------------------------------------------------

picture_cgnat() {
    cat <<'PICTURE'

    h1 192.168.1.2 --- r1 --- 100.64.0.11 --+
                                            |  100.64.0.0/10          +----+ 192.0.2.2    192.0.2.1 +--------+
    h2 192.168.1.2 --- r2 --- 100.64.0.12 --+--- access -- 100.64.0.1 | rc |------------------------| server |
                                            |                         +----+                        +--------+
    h3 192.168.1.2 --- r3 --- 100.64.0.13 --+                     203.0.113.1, .2        198.51.100.1
PICTURE
    note "    Two NATs in a row: each home's router translates to the address that the carrier has lent it, the carrier"
    note "    to one of its two public addresses, in blocks of 512 ports, of which a subscriber gets at most two."
}

raise_cgnat() {
    local n
    namespace net
    namespace server
    for n in 1 2 3; do namespace "h$n"; done
    switch access
    router rc <<CONFIG
name: $lab-rc
ports:
  access: {netns: $lab-net, device: rc-access, bridge: access, address: 100.64.0.1/10}
  core:
    netns: $lab-server
    device: eth0
    address: 192.0.2.2/30
    host: {address: 192.0.2.1/30}
routes:
  - {to: default, via: 192.0.2.1}
nat:
  - {out: core, type: cgnat, source: 100.64.0.0/10, to: 203.0.113.1-203.0.113.2, block_size: 512, max_blocks: 2, name: subscribers}
firewall:
  zones:
    subscribers: {ports: [access]}
    core: {ports: [core]}
  policy:
    - {from: subscribers, to: core, action: accept}
    - {from: core, to: subscribers, action: drop}
    - {from: core, to: router, action: drop}
  rules:
    - {name: peers, from: core, to: subscribers, state: mapped, action: accept}
CONFIG
    for n in 1 2 3; do
        router "r$n" <<CONFIG
name: $lab-r$n
ports:
  lan:
    netns: $lab-h$n
    device: eth0
    address: 192.168.1.1/24
    host: {address: 192.168.1.2/24, gateway: 192.168.1.1}
  wan: {netns: $lab-net, device: r$n-wan, bridge: access, address: 100.64.0.1$n/10}
routes:
  - {to: default, via: 100.64.0.1}
nat:
  - {out: wan, type: masquerade}
firewall: home
CONFIG
    done
    ip -n "$lab-server" addr add 198.51.100.1/32 dev lo
    ip -n "$lab-server" route add 203.0.113.0/24 via 192.0.2.2
    web_server server 198.51.100.1
}

# cgnat_block HOME: the first port of the blocks of a subscriber, one a line.
cgnat_block() {
    "$bin/vrctl" -n "$lab-rc" --json show nat sessions --address "100.64.0.1$1" |
        jq -r '.[] | select(.protocol == "tcp" or .protocol == "udp") | .outside | split(":") | .[0] + ":" + ((.[1] | tonumber / 512 | floor * 512) | tostring)' | sort -u
}

show_cgnat() {
    local n blocks all='' rc=("$bin/vrctl" -n "$lab-rc")
    say "What the carrier's router is told"
    cat "$state/rc.yaml"
    say "Every home fetches a page; inside, all three hosts have one and the same address"
    for n in 1 2 3; do fetch "h$n" 198.51.100.1 "server: you are 203.0.113."; done
    say "Through both routers, and back through both"
    see "100.64.0.1" ip netns exec "$lab-h1" traceroute -n -q 1 -N 1 198.51.100.1
    show ip netns exec "$lab-h1" ping -n -c 2 -i 0.2 198.51.100.1
    say "The same session at the home's router and at the carrier's"
    see 192.168.1.2 "$bin/vrctl" -n "$lab-r1" show nat sessions
    see 100.64.0.11 "${rc[@]}" show nat sessions --address 100.64.0.11
    say "Each subscriber has a block of its own"
    see 100.64.0.12 "${rc[@]}" show nat mappings
    for n in 1 2 3; do
        blocks=$(cgnat_block "$n")
        [ "$(wc -l <<<"$blocks")" -eq 1 ] || fail "100.64.0.1$n has not one block: $blocks"
        printf '    100.64.0.1%s has the 512 ports from %s\n' "$n" "$blocks"
        [[ $all != *" $blocks "* ]] || fail "two subscribers share the block from $blocks"
        all+=" $blocks "
    done
    say "The block log: who had which ports, and when (RFC 6888 REQ-12)"
    cgnat_log
    say "One home takes all that it may have: a thousand datagrams from a thousand ports, and a hundred more"
    # shellcheck disable=SC2016 # fd is for the shell on the host
    ip netns exec "$lab-h1" bash -c 'ulimit -n 4096; for i in {1..1150}; do exec {fd}>/dev/udp/198.51.100.1/9; echo >&$fd; done' 2>/dev/null || true # refused ones are what it shows
    show "${rc[@]}" show drops
    [ "$(cgnat_block 1 | wc -l)" -eq 2 ] || fail "100.64.0.11 was to have two blocks: $(cgnat_block 1)"
    "${rc[@]}" --json show drops | jq -e 'any(.[]; (.reason | test("block|ports")) and .packets > 0)' >/dev/null ||
        fail "the refusals were to stand among the drops"
    say "The others do not notice"
    for n in 2 3; do fetch "h$n" 198.51.100.1 "server: you are 203.0.113."; done
    note "    each home has blocks of its own, the greedy one was refused by name, and everybody else is served"
}

# cgnat_log: what the carrier's router has logged of blocks, as soon as it has told of all three.
cgnat_log() {
    local log n deadline=$((SECONDS + 10))
    until log=$("$bin/vrctl" -n "$lab-rc" show events | grep ' ports ') &&
        for n in 1 2 3; do [[ $log == *"100.64.0.1$n"* ]] || break; done && [[ $log == *"100.64.0.1$n"* ]]; do
        [ $SECONDS -lt $deadline ] || fail "the log of blocks lacks a subscriber: $log"
        sleep 0.1
    done
    echo "$log"
}
