package router

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/dataplane"
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

// walk is the hypothetical packet on its way. Its stages are the dataplane's, in the same order.
type walk struct {
	r     *Router
	st    *dataplane.Stateful // nil: no sessions
	out   api.Explanation
	lines []string

	in     *portState
	ip     packet.IPv4 // the packet itself, so that it is read as any other
	parsed conntrack.Parsed

	session   *conntrack.Info // that it belongs to
	dir       conntrack.Direction
	ended     *conntrack.Info // that ends with it
	target    nat.Target
	inside    conntrack.Key // source before, destination after translation: what rules see
	leaves    conntrack.Key // as it goes on
	natRule   uint16        // of the session that it would make
	rule      uint16
	adjacency *dataplane.Adjacency
	egress    *portState // nil: the router itself
}

// newWalk reads the request.
func (r *Router) newWalk(q *api.ExplainRequest) (*walk, error) {
	w := &walk{r: r, st: r.fwd.stateful, lines: strings.Split(r.text, "\n")}
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
	if q.TTL < 0 || q.TTL > 255 {
		return nil, usage(fmt.Errorf("ttl %d is not within 1 to 255", q.TTL))
	}
	if err := w.build(q, protocol, packet.AddrFrom(src), packet.AddrFrom(dst)); err != nil {
		return nil, err
	}
	conntrack.Parse(w.ip, &w.parsed)
	w.parsed.Count = 1
	w.inside, w.leaves = w.parsed.Key, w.parsed.Key
	w.target = nat.Target{Rule: -1, Rules: -1}
	return w, nil
}

// build makes the packet.
func (w *walk) build(q *api.ExplainRequest, protocol uint8, src, dst packet.Addr) error {
	headers := packet.IPv4MinLen
	sport, dport := uint16(q.SrcPort), uint16(q.DstPort)
	flags := uint8(0)
	switch protocol {
	case packet.ProtoTCP, packet.ProtoUDP:
		if dport == 0 {
			return usage(fmt.Errorf("a %s packet needs a destination port: --dport", strings.ToUpper(protocolName(protocol))))
		}
		sport = cmp.Or(sport, 49152)
		headers += packet.UDPLen
		if protocol == packet.ProtoTCP {
			headers += packet.TCPMinLen - packet.UDPLen
			var err error
			if flags, err = tcpFlags(q.TCPFlags); err != nil {
				return err
			}
		}
	case packet.ProtoICMP:
		sport = cmp.Or(sport, 1)
		headers += packet.ICMPLen
		switch q.ICMPType {
		case packet.ICMPUnreachable, packet.ICMPSourceQuench, packet.ICMPRedirect, packet.ICMPTimeExceeded, packet.ICMPParamProblem:
			return usage(fmt.Errorf("ICMP type %d is about another packet: explain that one", q.ICMPType))
		case packet.ICMPTimestamp, packet.ICMPTimestampReply:
			headers += 12
		}
		if q.ICMPType < 0 || q.ICMPType > 255 {
			return usage(fmt.Errorf("icmp_type %d is not within 0 to 255", q.ICMPType))
		}
	}
	length := cmp.Or(q.Length, headers)
	if length < headers || length > 65535 {
		return usage(fmt.Errorf("length %d is not within %d, the headers, to 65535", length, headers))
	}
	ip := packet.IPv4(make([]byte, length))
	ip[0] = 4<<4 | packet.IPv4MinLen/4
	ip.SetTotalLen(length)
	ip.SetTTL(uint8(cmp.Or(q.TTL, 64)))
	ip.SetProtocol(protocol)
	ip.SetSrc(src)
	ip.SetDst(dst)
	if q.DF {
		ip.SetFlagsFragment(packet.FlagDF)
	}
	ip.UpdateHeaderChecksum()
	switch body := ip[packet.IPv4MinLen:]; protocol {
	case packet.ProtoTCP:
		binary.BigEndian.PutUint16(body, sport)
		binary.BigEndian.PutUint16(body[2:], dport)
		body[12] = packet.TCPMinLen / 4 << 4
		packet.TCP(body).SetFlags(flags)
	case packet.ProtoUDP:
		packet.UDP(body).SetSrcPort(sport)
		packet.UDP(body).SetDstPort(dport)
		packet.UDP(body).SetLength(len(body))
	case packet.ProtoICMP:
		body[0] = uint8(q.ICMPType)
		binary.BigEndian.PutUint16(body[4:], sport)
	}
	w.ip = ip
	return nil
}

// tcpFlags reads flags as tcpdump writes them; "" is a SYN.
func tcpFlags(s string) (flags uint8, err error) {
	switch s {
	case "":
		return packet.TCPSyn, nil
	case "none":
		return 0, nil
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
		case 'U':
			flags |= packet.TCPUrg
		case 'E':
			flags |= packet.TCPEce
		case 'W':
			flags |= packet.TCPCwr
		default:
			return 0, usage(fmt.Errorf("%q are no TCP flags: letters of FSRPAUEW, or none, are wanted", s))
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

// end is a last step; it is false, for whoever has nothing more to do.
func (w *walk) end(verdict string, reason dataplane.DropReason, stage string, line int, format string, args ...any) bool {
	decision := map[string]string{"dropped": "drop", "rejected": "reject", "delivered": "deliver", "waits": "resolve", "forwarded": "pass"}[verdict]
	w.say(stage, decision, line, format, args...)
	w.out.Verdict = verdict
	if verdict == "dropped" || verdict == "rejected" {
		w.out.Reason = reason.String()
		w.out.Session, w.out.Exists, w.out.Out = nil, false, ""
	}
	return false
}
