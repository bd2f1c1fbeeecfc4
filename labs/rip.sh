# shellcheck shell=bash
# The lab `rip` of scripts/netns-lab.sh, which sources this file: five routers, six links, and
# each router's table at every step in the notation of the textbooks, destination: link/cost.
#
# What a textbook calls destination A is a network here, 10.0.1.0/24, in which router A has a
# host: RIP routes to networks. RIP's metric counts networks crossed, the textbook
# counts links: the router's own network is metric 1 to RIP and cost 0 in the book, so
# cost = metric - 1, and RIP's infinity of 16 is infinity. The networks of the links
# themselves (10.9.1.0/24 to 10.9.6.0/24) are announced, too; the tables leave them out.

# shellcheck disable=SC2154 # bin, lab, root, state, dim, bold and plain are the script's
rip_letters=(A B C D E)
rip_links=('' 'A B' 'B C' 'A D' 'B E' 'C E' 'D E')

picture_rip() {
    cat <<'PICTURE'

    hA            hB            hC          A host hangs on each router's own network:
    |             |             |             A 10.0.1.0/24   B 10.0.2.0/24   C 10.0.3.0/24
    A ---- 1 ---- B ---- 2 ---- C             D 10.0.4.0/24   E 10.0.5.0/24
    |             |            /              (the host is .2, the router .1)
    3             4        5
    |             |      /                  Link n is the network 10.9.n.0/24; on it
    D ---- 6 ---- E ----'                     A is .1, B .2, C .3, D .4, E .5
    |             |
    hD            hE
PICTURE
    note "    Each router is a vrouterd process that is told its ports and nothing else: RIP has to find the rest."
}

# rip_number LETTER: A is 1.
rip_number() {
    local before=ABCDE
    before=${before%%"$1"*}
    echo $((${#before} + 1))
}

rip_lower() { echo "${1,,}"; }

# rip_ends LINK: the letters of the two routers at a link.
rip_ends() { echo "${rip_links[$1]}"; }

# rip_config LETTER SPLIT-HORIZON LINK-STATE: a router's configuration.
rip_config() {
    local letter=$1 split=$2 enabled=$3 n link
    n=$(rip_number "$letter")
    cat <<CONFIG
name: $lab-r$(rip_lower "$letter")
ports:
  self:
    netns: $lab-h$(rip_lower "$letter")
    device: eth0
    address: 10.0.$n.1/24
    host: {address: 10.0.$n.2/24, gateway: 10.0.$n.1}
CONFIG
    for link in 1 2 3 4 5 6; do
        case " $(rip_ends $link) " in *" $letter "*)
            echo "  link$link: {netns: $lab-net, device: $(rip_lower "$letter")-link$link, bridge: link$link, address: 10.9.$link.$n/24, enabled: $enabled}"
            ;;
        esac
    done
    cat <<CONFIG
rip:
  timers: {update: 1s, timeout: 6s, garbage: 4s}
  ports:
    self: {passive: true}
CONFIG
    for link in 1 2 3 4 5 6; do
        case " $(rip_ends $link) " in *" $letter "*) echo "    link$link: {split_horizon: $split}" ;; esac
    done
}

raise_rip() {
    local letter
    namespace net
    for letter in "${rip_letters[@]}"; do namespace "h$(rip_lower "$letter")"; done
    for letter in "${rip_letters[@]}"; do
        rip_config "$letter" poisoned "${1:-true}" | router "r$(rip_lower "$letter")"
    done
}

# rip_row LETTER: the router's table, a line such as "B 1/1 local/0 2/1 1/2 or 4/2 4/1" with
# tabs between its columns.
rip_row() {
    "$bin/vrctl" -n "$lab-r$(rip_lower "$1")" --json show rip | jq -r --arg at "$1" '
        . as $all
        | [range(1; 6) | "10.0.\(.).0/24" as $net
            | [$all[] | select(.prefix == $net)]
            | if length == 0 then "-"
              elif any(.[]; .source == "port") then "local/0"
              elif all(.[]; .state != "valid") then "-/inf"
              else [.[] | select(.state == "valid" and .selected) | {link: (.port | ltrimstr("link")), cost: (.metric - 1)}]
                | sort_by(.link) | map("\(.link)/\(.cost)") | join(" or ")
              end]
        | [$at] + . | join("\t")'
}

# rip_now: the tables of all five as they are.
rip_now() {
    local letter
    printf 'at\tA\tB\tC\tD\tE\n'
    for letter in "${rip_letters[@]}"; do rip_row "$letter"; done
}

# rip_expected NAME: the tables of labs/rip-tables.txt with that name.
rip_expected() {
    awk -v name="$1:" '$0 == name {on = 1; next} on && NF == 0 {exit} on {gsub(/  +/, "\t"); print}' "$root/labs/rip-tables.txt"
}

rip_print() { sed 's/^/    /' | awk -F'\t' '{printf "%-7s", $1; for (i = 2; i <= NF; i++) printf "%-12s", $i; print ""}'; }

# rip_table NAME: waits until all five tables are those of the textbook, and shows them.
rip_table() {
    local want have began=$EPOCHREALTIME deadline=$((SECONDS + 30))
    want=$(rip_expected "$1")
    have=$(rip_now)
    until [ "$have" = "$want" ]; do
        if [ $SECONDS -ge $deadline ]; then
            echo "the tables are" && rip_print <<<"$have"
            echo "and the textbook has" && rip_print <<<"$want"
            fail "after 30 s the tables are still not those of the textbook ($1 in labs/rip-tables.txt)"
        fi
        sleep 0.02
        have=$(rip_now)
    done
    echo
    rip_print <<<"$have"
    note "$(awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN {printf "    as in the textbook, seen %.1f s after the step", b - a}')"
}

# rip_link up|down LINK...: both ends of links. A router notices at once when a port of its goes down.
rip_link() {
    local what=$1 link end
    shift
    for link in "$@"; do
        for end in $(rip_ends "$link"); do
            "$bin/vrctl" -n "$lab-r$(rip_lower "$end")" port "$what" "link$link"
        done
    done
}

# rip_split MODE: another split horizon for all.
rip_split() {
    local letter name
    for letter in "${rip_letters[@]}"; do
        name=r$(rip_lower "$letter")
        rip_config "$letter" "$1" true >"$state/$name.yaml"
        "$bin/vrctl" -n "$lab-$name" config apply "$state/$name.yaml" >/dev/null
    done
}

# rip_events LETTER SINCE NETWORK: what has happened to a router's route since an event number.
rip_events() {
    "$bin/vrctl" -n "$lab-r$(rip_lower "$1")" --json show events |
        jq -r --argjson since "$2" --arg net "$3" '.[] | select(.sequence > $since and .subject == $net) | "\(.time)\t\(.message)"'
}

rip_last_event() { "$bin/vrctl" -n "$lab-r$(rip_lower "$1")" --json show events | jq '.[-1].sequence'; }

# rip_clock: times of day to milliseconds, tabs to spaces.
rip_clock() { sed -E 's/^[^T]*T([0-9:]+\.[0-9]{3})[0-9]*[^\t]*\t/    \1  /'; }

show_rip() {
    local since letter text climbed host=(ip netns exec "$lab-ha")
    say "1. At the start every link is down: each router knows itself, at cost 0"
    rip_table start

    say "2. The six links come up"
    rip_link up 1 2 3 4 5 6
    note "Neighbours tell each other their tables. A row learned on link n costs one more than the neighbour says, and leaves through n."
    note "It replaces what is held if it is cheaper; of equal ways all are kept (\"or\") and share the traffic."
    rip_table converged
    say "How A learned of the networks of the others: near ones first, better ways replace worse"
    for letter in 2 3 4 5; do rip_events A 0 "10.0.$letter.0/24"; done | sort | grep -v 'metric 16 -> 0' | rip_clock
    say "A's table of RIP (metric = cost + 1), and the routes that it forwards by"
    show "$bin/vrctl" -n "$lab-ra" show rip 10.0.0.0/16
    show "$bin/vrctl" -n "$lab-ra" show routes
    say "Packets take that way: from hA to hC by A, B, C"
    show "${host[@]}" traceroute -n -q 1 -N 1 10.0.3.2

    say "3. Link 2, between B and C, is cut"
    since=$(rip_last_event B)
    rip_link down 2
    note "B and C see the fault: the cost of all that went through 2 is infinity, and they say so at once. E has another way."
    rip_table cut2
    say "What became of C's network at B"
    rip_events B "$since" 10.0.3.0/24 | rip_clock
    say "From hA to hC by A, then B or D, then E and C"
    show "${host[@]}" traceroute -n -q 1 -N 1 10.0.3.2

    say "4. Link 2 is back: the old tables"
    rip_link up 2
    rip_table converged

    say "5. Counting to infinity: links 2 and 5 are cut, C is alone"
    note "First with split horizon and poisoned reverse, as RIP has it by default: who learned a way from a neighbour"
    note "tells that neighbour that it has none, so no two neighbours mislead each other."
    since=$(rip_last_event B)
    rip_link down 2 5
    rip_table alone
    say "What became of C's network at B"
    text=$(rip_events B "$since" 10.0.3.0/24)
    rip_clock <<<"$text"
    if grep -q learned <<<"$text"; then
        note "A rumour of C was quicker than the bad news, and went round the ring A, B, E, D, 4 higher each time:"
        note "split horizon sees two neighbours, not four routers. Infinity is the bound."
    else
        note "The bad news was quicker than any rumour of C. (It need not be: round the ring A, B, E, D even poisoned"
        note "reverse lets a rumour go, 4 higher each time, until it is infinite. Some runs show it.)"
    fi
    rip_link up 2 5
    rip_table converged
    say "6. The same without split horizon"
    rip_split none
    rip_table converged
    since=$(rip_last_event B)
    rip_link down 2 5
    note "B has lost its own way to C, but A and E still say that they have one (by B!). B believes it, they then"
    note "have to go one higher, and so on, until the cost is infinite. In the end the tables are the same:"
    rip_table alone
    say "What became of C's network at B, this time"
    text=$(rip_events B "$since" 10.0.3.0/24)
    rip_clock <<<"$text"
    climbed=$(grep -c 'metric' <<<"$text")
    note "C's network took $climbed steps at B. Infinity is 16, so that this ends: the only bound that the algorithm has by itself."
    [ "$climbed" -ge 4 ] || fail "without split horizon the cost was to climb to infinity step by step"
    rip_link up 2 5
    rip_split poisoned
    rip_table converged
    show "${host[@]}" ping -n -c 2 -i 0.2 10.0.3.2
}
