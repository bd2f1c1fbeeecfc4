package firewall

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"vrouterd/internal/packet"
)

// Action of a rule.
type Action uint8

// The actions.
const (
	Accept Action = iota
	Drop
	Reject        // TCP: reset; else ICMP port unreachable
	RejectAdmin   // ICMP administratively prohibited
	RejectReset   // TCP reset; other protocols as Reject
	RejectHost    // ICMP host unreachable
	RejectNetwork // ICMP network unreachable

	numActions
)

// Answer is what the source of a refused packet is told: a TCP reset, or ICMP destination unreachable (type 3) with this code
// (RFC 792; 13: RFC 1812 section 5.2.7.1). It has a meaning for the reject actions only.
func (a Action) Answer(protocol uint8) (reset bool, icmpCode uint8) {
	switch a {
	case RejectAdmin:
		return false, packet.ICMPAdminProhibited
	case RejectHost:
		return false, packet.ICMPHostUnreachable
	case RejectNetwork:
		return false, packet.ICMPNetUnreachable
	}
	return protocol == protocolTCP, packet.ICMPPortUnreachable
}

// Rejects reports whether the source is told.
func (a Action) Rejects() bool { return a >= Reject }

// String is the action's word in the configuration.
func (a Action) String() string {
	if a < numActions {
		return actionWords()[a]
	}
	return "action " + strconv.Itoa(int(a))
}

func actionWords() [numActions]string {
	return [...]string{"accept", "drop", "reject", "reject_admin", "reject_reset", "reject_host", "reject_network"}
}

// ParseAction is the action of a word of the configuration.
func ParseAction(word string) (Action, error) {
	for i, w := range actionWords() {
		if w == word {
			return Action(i), nil
		}
	}
	words := actionWords()
	return 0, fmt.Errorf("unknown action %q: it is one of %s", word, strings.Join(words[:], ", "))
}

// State of a packet with regard to sessions, as rules match it.
type State uint8

// The states, as bits.
const (
	New         State = 1 << iota
	Invalid           // belongs to no session and can open none; stateful rules that accept take it only if they name it
	Forwarded         // new, and let in by a forward, 1:1 or an explicit mapping
	Mapped            // new, and let in by the filtering of a dynamic mapping
	Related           // an ICMP error about a session, or a session that a helper foresaw
	Established       // only access rules and tables meet it: sessions are judged once

	allStates = 1<<iota - 1
)

// String is the states' words in the configuration, with commas; "any" for 0.
func (s State) String() string {
	if s == 0 {
		return "any"
	}
	var words []string
	for i, w := range stateWords() {
		if s>>i&1 != 0 {
			words = append(words, w)
		}
	}
	if rest := s &^ allStates; rest != 0 {
		words = append(words, fmt.Sprintf("state %#x", uint8(rest)))
	}
	return strings.Join(words, ",")
}

func stateWords() []string {
	return []string{"new", "invalid", "forwarded", "mapped", "related", "established"}
}

// ParseState is the state of one word of the configuration.
func ParseState(word string) (State, error) {
	for i, w := range stateWords() {
		if w == word {
			return 1 << i, nil
		}
	}
	return 0, fmt.Errorf("unknown state %q: it is one of %s", word, strings.Join(stateWords(), ", "))
}

// String is what the match asks for, in the words of the configuration; "any" for nothing.
func (m *Match) String() string {
	var w words
	if m.Protocol != 0 {
		w.add(protocolWord(m.Protocol))
	}
	w.prefixes("from", m.Source, m.NotSource)
	w.name("source_set", m.SourceSet)
	w.ports("source_port", m.SourcePorts)
	w.prefixes("to", m.Destination, m.NotDestination)
	w.name("destination_set", m.DestinationSet)
	w.ports("port", m.DestPorts)
	if m.ICMPType >= 0 {
		w.add("icmp_type", icmpWord(m.ICMPType))
	}
	if m.ICMPCode >= 0 {
		w.add("icmp_code", strconv.Itoa(m.ICMPCode))
	}
	if m.TCPMask != 0 {
		w.add("flags", flagWords(m.TCPFlags, m.TCPMask))
	}
	if m.States != 0 {
		w.add("state", m.States.String())
	}
	if m.DSCP >= 0 {
		w.add("dscp", strconv.Itoa(m.DSCP))
	}
	switch {
	case m.LengthMin > 0 && m.LengthMax > 0:
		w.add("length", strconv.Itoa(m.LengthMin)+"-"+strconv.Itoa(m.LengthMax))
	case m.LengthMin > 0:
		w.add("length at least", strconv.Itoa(m.LengthMin))
	case m.LengthMax > 0:
		w.add("length at most", strconv.Itoa(m.LengthMax))
	}
	if len(w) == 0 {
		return "any"
	}
	return strings.Join(w, " ")
}

// Words are all that the rule asks for and does besides its action: match, rate, limit of sessions and set; zones and ports apart.
func (r *Rule) Words() string {
	w := words{r.Match.String()}
	if r.Rate != nil {
		if r.Over {
			w.add("rate over", r.Rate.String())
		} else {
			w.add("rate", r.Rate.String())
		}
	}
	if r.MaxHost > 0 {
		w.add("max_sessions", strconv.Itoa(r.MaxHost))
	}
	if r.AddTo != "" {
		w.add("add_to", r.AddTo)
		if r.AddFor > 0 {
			w.add("add_for", r.AddFor.String())
		}
	}
	if len(w) > 1 && w[0] == "any" {
		w = w[1:]
	}
	return strings.Join(w, " ")
}

// String is the rate as the configuration writes it: 10/s burst 20 per source.
func (r *Rate) String() string {
	w := words{strconv.Itoa(r.Packets) + "/" + perWord(r.Per)}
	if r.Burst > 0 && r.Burst != r.Packets {
		w.add("burst", strconv.Itoa(r.Burst))
	}
	if r.PerHost {
		w.add("per source")
	}
	return strings.Join(w, " ")
}

func perWord(d time.Duration) string {
	switch d {
	case time.Second:
		return "s"
	case time.Minute:
		return "m"
	case time.Hour:
		return "h"
	case 24 * time.Hour:
		return "d"
	}
	return d.String()
}

// words of a sentence.
type words []string

func (w *words) add(more ...string) { *w = append(*w, more...) }

func (w *words) name(key, name string) {
	if set, not := strings.CutPrefix(name, "!"); not {
		w.add("not_"+key, set)
	} else if name != "" {
		w.add(key, name)
	}
}

func (w *words) prefixes(key string, list []netip.Prefix, not bool) {
	if len(list) == 0 {
		return
	}
	w.add(key)
	if not {
		w.add("not")
	}
	w.add(prefixWords(list))
}

func (w *words) ports(key string, list []PortRange) {
	if len(list) > 0 {
		w.add(key, portWords(list))
	}
}

// prefixWords leaves the length out where a prefix is one address.
func prefixWords(list []netip.Prefix) string {
	out := make([]string, len(list))
	for i, p := range list {
		if out[i] = p.String(); p.IsSingleIP() {
			out[i] = p.Addr().String()
		}
	}
	return strings.Join(out, ",")
}

func portWords(list []PortRange) string {
	out := make([]string, len(list))
	for i, r := range list {
		if out[i] = strconv.Itoa(int(r.Min)); r.Min != r.Max {
			out[i] += "-" + strconv.Itoa(int(r.Max))
		}
	}
	return strings.Join(out, ",")
}

func protocolWord(p uint8) string {
	switch p {
	case protocolICMP:
		return "icmp"
	case 2:
		return "igmp"
	case protocolTCP:
		return "tcp"
	case protocolUDP:
		return "udp"
	case 47:
		return "gre"
	case 50:
		return "esp"
	case 51:
		return "ah"
	case protocolSCTP:
		return "sctp"
	}
	return "protocol " + strconv.Itoa(int(p))
}

// icmpWord is a type's word (IANA, "ICMP Type Numbers"), or its number.
func icmpWord(t int) string {
	switch t {
	case packet.ICMPEchoReply:
		return "echo_reply"
	case packet.ICMPUnreachable:
		return "destination_unreachable"
	case packet.ICMPSourceQuench:
		return "source_quench"
	case packet.ICMPRedirect:
		return "redirect"
	case packet.ICMPEchoRequest:
		return "echo_request"
	case 9:
		return "router_advertisement"
	case 10:
		return "router_solicitation"
	case packet.ICMPTimeExceeded:
		return "time_exceeded"
	case packet.ICMPParamProblem:
		return "parameter_problem"
	case packet.ICMPTimestamp:
		return "timestamp_request"
	case packet.ICMPTimestampReply:
		return "timestamp_reply"
	case 17:
		return "address_mask_request"
	case 18:
		return "address_mask_reply"
	}
	return strconv.Itoa(t)
}

// flagWords are the flags of mask: those that have to be set, and with ! those that must not be.
func flagWords(flags, mask uint8) string {
	var out []string
	for i, w := range [...]string{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"} {
		switch bit := uint8(1) << i; {
		case mask&bit == 0:
		case flags&bit == 0:
			out = append(out, "!"+w)
		default:
			out = append(out, w)
		}
	}
	return strings.Join(out, ",")
}
