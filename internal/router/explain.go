package router

import (
	"errors"
	"fmt"
	"strings"

	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
	"vrouterd/internal/rib"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/firewall"
	"vrouterd/pkg/nat"
)

// Explain walks a packet that does not exist through the stages that it would meet, and says at each what is
// decided and by which line of the running configuration. It asks the tables that the dataplane asks, in their read-only
// forms: nothing is counted, made or refreshed.
func (r *Router) Explain(q api.ExplainRequest) (out api.Explanation, err error) {
	stopped := r.do(func() {
		var w *walk
		if w, err = r.newWalk(&q); err == nil {
			w.run()
			out = w.out
		}
	})
	return out, errors.Join(stopped, err)
}

// walk is the hypothetical packet on its way.
type walk struct {
	r     *Router
	out   api.Explanation
	lines []string

	in     *portState
	egress *portState
	parsed conntrack.Parsed
	ttl    int
	length int
	df     bool

	session  *conntrack.Info
	dir      conntrack.Direction
	to       nat.Target
	dst      packet.Addr // after inbound translation
	dstPort  uint16
	local    bool
	state    firewall.State
	source   nat.Source
	lookup   rib.Lookup
	neighbor string
}

// newWalk reads the request.
func (r *Router) newWalk(q *api.ExplainRequest) (*walk, error) {
	w := &walk{r: r, lines: strings.Split(r.text, "\n"), ttl: q.TTL, length: q.Length, df: q.DF}
	w.out.Steps = []api.ExplainStep{}
	if w.in = r.ports[q.In]; w.in == nil {
		return nil, &api.Error{Code: api.NotFound, Message: fmt.Sprintf("there is no port %q; the ports are %s", q.In, r.portNames())}
	}
	src, err := parseAddress(q.Src)
	if err != nil {
		return nil, err
	}
	dst, err := parseAddress(q.Dst)
	if err != nil {
		return nil, err
	}
	protocol, err := parseProtocol(q.Protocol)
	if err != nil {
		return nil, err
	}
	if protocol == 0 {
		protocol = packet.ProtoICMP
	}
	for name, n := range map[string]int{"sport": q.SrcPort, "dport": q.DstPort} {
		if n < 0 || n > 65535 {
			return nil, usage(fmt.Errorf("%s %d is not within 0 to 65535", name, n))
		}
	}
	if w.ttl == 0 {
		w.ttl = 64
	}
	if w.ttl < 0 || w.ttl > 255 {
		return nil, usage(fmt.Errorf("ttl %d is not within 1 to 255", q.TTL))
	}
	p := &w.parsed
	p.Class, p.Count = conntrack.ClassOpens, 1
	p.Key = conntrack.MakeKey(protocol, packet.AddrFrom(src), uint16(q.SrcPort), packet.AddrFrom(dst), uint16(q.DstPort))
	if err := w.transport(q); err != nil {
		return nil, err
	}
	w.dst, w.dstPort = p.Key.Dst, p.Key.DstPort
	return w, nil
}

// transport fills in what is particular to the protocol.
func (w *walk) transport(q *api.ExplainRequest) error {
	p := &w.parsed
	headers := packet.IPv4MinLen
	switch p.Key.Protocol {
	case packet.ProtoTCP:
		headers += packet.TCPMinLen
		flags, err := tcpFlags(q.TCPFlags)
		if err != nil {
			return err
		}
		if p.Flags = flags; flags&(packet.TCPSyn|packet.TCPAck) != packet.TCPSyn {
			p.Class = conntrack.ClassContinues
		}
		if p.Key.DstPort == 0 {
			return usage(errors.New("a TCP packet needs a destination port: --dport"))
		}
		if p.Key.SrcPort == 0 {
			p.Key.SrcPort = 49152
		}
	case packet.ProtoUDP:
		headers += packet.UDPLen
		if p.Key.DstPort == 0 {
			return usage(errors.New("a UDP packet needs a destination port: --dport"))
		}
		if p.Key.SrcPort == 0 {
			p.Key.SrcPort = 49152
		}
	case packet.ProtoICMP:
		headers += packet.ICMPLen
		p.ICMPType = uint8(q.ICMPType)
		if q.ICMPType < 0 || q.ICMPType > 255 {
			return usage(fmt.Errorf("icmp_type %d is not within 0 to 255", q.ICMPType))
		}
		if p.Key.SrcPort == 0 {
			p.Key.SrcPort = 1
		}
		p.Key.DstPort = 0
		if q.ICMPType == 0 { // a reply bears the identifier on the other side
			p.Key.SrcPort, p.Key.DstPort = 0, p.Key.SrcPort
			p.Class = conntrack.ClassContinues
		} else if q.ICMPType != 8 && q.ICMPType != 13 {
			return usage(fmt.Errorf("ICMP type %d belongs to another packet's session: explain that packet (types 8, 13 and 0 can be explained)", q.ICMPType))
		}
	}
	if w.length == 0 {
		w.length = headers
	}
	if w.length < headers || w.length > 65535 {
		return usage(fmt.Errorf("length %d is not within %d, the headers, to 65535", w.length, headers))
	}
	p.Length = w.length
	return nil
}

// tcpFlags reads flags as tcpdump writes them; "" is a SYN.
func tcpFlags(s string) (flags uint8, err error) {
	if s == "" {
		return packet.TCPSyn, nil
	}
	for _, c := range strings.ToUpper(s) {
		switch c {
		case 'S':
			flags |= packet.TCPSyn
		case 'A', '.':
			flags |= packet.TCPAck
		case 'F':
			flags |= packet.TCPFin
		case 'R':
			flags |= packet.TCPRst
		case 'P':
			flags |= packet.TCPPsh
		default:
			return 0, usage(fmt.Errorf("%q are no TCP flags: letters of S, A, F, R and P are wanted", s))
		}
	}
	return flags, nil
}

// say adds a step; line is that of the configuration behind it, 0 for none.
func (w *walk) say(stage, decision string, line int, format string, args ...any) {
	step := api.ExplainStep{Stage: stage, Decision: decision, Line: line, Text: fmt.Sprintf(format, args...)}
	if line > 0 && line <= len(w.lines) {
		step.Source = strings.TrimSpace(w.lines[line-1])
	}
	w.out.Steps = append(w.out.Steps, step)
}

// end is a last step.
func (w *walk) end(verdict string, reason dataplane.DropReason, stage string, line int, format string, args ...any) bool {
	decision := map[string]string{"dropped": "drop", "rejected": "reject", "delivered": "deliver", "waits": "resolve", "forwarded": "pass"}[verdict]
	w.say(stage, decision, line, format, args...)
	w.out.Verdict = verdict
	if verdict == "dropped" || verdict == "rejected" {
		w.out.Reason = reason.String()
	}
	return false
}
