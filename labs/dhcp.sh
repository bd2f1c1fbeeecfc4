# shellcheck shell=bash
# What the labs of scripts/netns-lab.sh, which sources this file, need of DHCP: hosts that boot without an address, and a
# provider's server.

# shellcheck disable=SC2154 # lab and state are the script's

# socket HOST SWITCH MAC: eth0 of a host without an address, by a cable into a switch.
socket() {
    ip -n "$lab-net" link add "$1" type veth peer name eth0 netns "$lab-$1"
    ip -n "$lab-net" link set "$1" master "$2" up
    ip -n "$lab-$1" link set eth0 address "$3" up
}

# What a host does with a lease: the address, the way out, and whom to ask for names.
lease_script() {
    cat <<'SCRIPT'
#!/bin/sh
case $1 in
bound | renew)
    ip addr replace "$ip/$mask" dev "$interface"
    [ -z "${router:-}" ] || ip route replace default via "${router%% *}"
    {
        [ -z "${domain:-}" ] || echo "search $domain"
        for server in ${dns:-}; do echo "nameserver $server"; done
    } >/etc/resolv.conf
    echo "$ip/$mask router ${router:-none} dns ${dns:-none} lease $lease s"
    ;;
deconfig) ip addr flush dev "$interface" ;;
esac
SCRIPT
}

# boot HOST NAME [ADDRESS]: the host asks for an address by DHCP, for the one that it had where it is given, and keeps it renewed.
boot() {
    local host=$1 name=$2 ask=()
    if [ ! -e "$state/lease" ]; then
        lease_script >"$state/lease"
        chmod +x "$state/lease"
    fi
    [ $# -lt 3 ] || ask=(-r "$3")
    # `ip netns exec` lays the files of this folder over those of /etc on the host.
    mkdir -p "/etc/netns/$lab-$host"
    : >"/etc/netns/$lab-$host/resolv.conf"
    ip netns exec "$lab-$host" udhcpc -i eth0 -b -S -t 10 -T 1 -A 1 -x "hostname:$name" "${ask[@]}" -s "$state/lease" -p "$state/$host.dhcp" 2>&1 |
        grep -v '^udhcpc:' || true # in the background udhcpc speaks to the system's log
    ip -n "$lab-$host" -4 -br addr show dev eth0 | grep -q / || fail "$host got no address within ten seconds"
}

# provider HOST ARGUMENT...: the provider's DHCP and DNS, until it answers.
provider() {
    local host=$1 deadline=$((SECONDS + 10))
    shift
    # No file of the machine is read: the configuration is what stands here.
    (setsid ip netns exec "$lab-$host" dnsmasq --conf-file=/dev/null --no-resolv --no-hosts --keep-in-foreground --user=root --pid-file= \
        --dhcp-leasefile="$state/$host.leases" --log-facility="$state/$host.dnsmasq.log" --bind-interfaces --interface=eth0 --dhcp-authoritative --no-ping "$@" \
        >>"$state/$host.dnsmasq.log" 2>&1 </dev/null &) # in a shell of its own: this one shall not report its end
    until ip netns exec "$lab-$host" ss -Huln 'sport = :67' 2>/dev/null | grep -q .; do
        [ $SECONDS -lt $deadline ] || fail "dnsmasq of $host was not there within 10 s: $(cat "$state/$host.dnsmasq.log")"
        sleep 0.05
    done
}
