package dataplane

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/firewall"
	"vrouterd/pkg/nat"
)

// natbed is a test bed with sessions: port A is inside (10.1.0.0/24), B outside, and so is Plain
// where a rule says so. What A sends out of B gets the address 10.2.0.1.
type natbed struct {
	*testbed
	sessions *conntrack.Table
	mappings *nat.Mappings
	ended    int64 // workers count
}

var (
	wan   = addr("10.2.0.1")
	inner = hostA
	other = addr("10.1.0.3") // another inside host
)

// natOptions is what a test bed is made of; zero fields are left out.
type natOptions struct {
	rules    []nat.Rule
	forwards []nat.Forward
	firewall *firewall.Config
	sessions conntrack.Config
	mappings nat.Config
	helpFTP  bool
	tables   func(*Tables)
}

// masquerade is the rule of port B.
func masquerade(change ...func(*nat.Rule)) []nat.Rule {
	r := nat.Rule{Out: uint16(portB), Type: nat.Masquerade, Outside: []packet.Addr{wan}}
	for _, f := range change {
		f(&r)
	}
	return []nat.Rule{r}
}

func ownAddresses() []packet.Addr {
	return []packet.Addr{addr("10.1.0.1"), wan, addr("10.3.0.1"), addr("10.4.0.1")}
}

func sessionConfig(c conntrack.Config) conntrack.Config {
	const s = conntrack.TicksPerSecond
	if c.Max == 0 {
		c.Max = 1 << 20
	}
	if c.Timeouts == (conntrack.Timeouts{}) {
		c.Timeouts = conntrack.Timeouts{UDP: 300 * s, UDPUnreplied: 300 * s, TCPEstablished: 7440 * s, TCPTransitory: 240 * s, TCPReset: 240 * s, ICMP: 60 * s, Other: 600 * s}
	}
	return c
}

func newNATbed(t testing.TB, o natOptions) *natbed {
	t.Helper()
	b := &natbed{testbed: newTestbed(t)}
	b.clock = 1e9
	b.mappings = nat.NewMappings(o.mappings)
	b.sessions = conntrack.NewTable(sessionConfig(o.sessions), 1, b.d.Domain(), func(now conntrack.Tick, s *conntrack.Session) {
		atomic.AddInt64(&b.ended, 1)
		if s.Flags()&conntrack.Mapped != 0 {
			b.mappings.Release(now, s.Key(conntrack.Original), s.Key(conntrack.Reply))
		}
		if id, _ := s.Rules(); id != 0 {
			k := insideKey(s.Key(conntrack.Original), s.Key(conntrack.Reply))
			b.d.Tables().Stateful.Firewall.Ended(id, &k)
		}
	})
	b.change(func(tables *Tables) {
		st := &Stateful{Sessions: b.sessions, HelpFTP: o.helpFTP, Loose: o.sessions.Loose}
		if o.rules != nil || o.forwards != nil {
			st.Mappings, st.NAT = b.mappings, nat.NewPolicy(o.rules, o.forwards, ownAddresses())
		}
		if o.firewall != nil {
			st.Firewall = compile(t, *o.firewall)
		}
		tables.Stateful = st
		if o.tables != nil {
			o.tables(tables)
		}
	})
	return b
}

func compile(t testing.TB, c firewall.Config) *firewall.Policy {
	t.Helper()
	p, err := firewall.Compile(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// home is what `firewall: home` stands for, with more rules before its own.
func home(rules ...firewall.Rule) *firewall.Config {
	return &firewall.Config{
		Zones: []firewall.Zone{{Name: "inside", Ports: []uint16{uint16(portA), uint16(portT), uint16(portPlain)}}, {Name: "outside", Ports: []uint16{uint16(portB)}}},
		Rules: rules,
		Pairs: []firewall.Pair{
			{From: "inside", To: "outside", Action: firewall.Accept},
			{From: "outside", To: "inside", Action: firewall.Drop},
			{From: "outside", To: "router", Action: firewall.Drop},
		},
	}
}

// rule is a stateful rule about a protocol and a destination port.
func rule(from, to string, protocol uint8, port uint16, action firewall.Action) firewall.Rule {
	r := firewall.Rule{Name: "r", From: from, To: to, Action: action}
	r.Match = firewall.Match{Protocol: protocol, ICMPType: -1, ICMPCode: -1, DSCP: -1}
	if port != 0 {
		r.Match.DestPorts = []firewall.PortRange{{Min: port, Max: port}}
	}
	return r
}

// change publishes changed tables.
func (b *natbed) change(f func(*Tables)) {
	tables := *b.d.tables.Load()
	tables.Ports = append([]Port{}, tables.Ports...)
	tables.Adjacencies = append([]Adjacency{}, tables.Adjacencies...)
	if tables.Stateful != nil {
		st := *tables.Stateful
		tables.Stateful = &st
	}
	f(&tables)
	b.d.Publish(&tables)
}

// reroute changes a route, as the control plane does.
func (b *natbed) reroute(prefix string, v uint32) {
	b.t.Helper()
	p := netip.MustParsePrefix(prefix)
	if err := b.d.fib.Insert(packet.AddrFrom(p.Addr()), p.Bits(), fibValue(v)); err != nil {
		b.t.Fatal(err)
	}
	b.d.Changed()
}

// sessionsAre checks how many sessions there are.
func (b *natbed) sessionsAre(n int) {
	b.t.Helper()
	if got := b.sessions.Len(); got != n {
		b.t.Fatalf("%d sessions, want %d; drops: %v", got, n, b.drops())
	}
}

// ends are a packet's addresses and ports, whatever its protocol.
type ends struct {
	src, dst     packet.Addr
	sport, dport uint16
}

func (e ends) back() ends { return ends{e.dst, e.src, e.dport, e.sport} }

func endsOf(ip packet.IPv4) ends {
	e := ends{src: ip.Src(), dst: ip.Dst()}
	switch body := ip.Payload(); ip.Protocol() {
	case packet.ProtoTCP, packet.ProtoUDP:
		e.sport, e.dport = binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:])
	case packet.ProtoICMP:
		e.sport = binary.BigEndian.Uint16(body[4:])
	}
	return e
}

func udpPacket(e ends, payload []byte, options ...packetOption) packet.IPv4 {
	return ipPacket(e.src, e.dst, packet.ProtoUDP, udp(e.src, e.dst, e.sport, e.dport, payload), options...)
}

// tcpPacket is a segment with sequence numbers.
func tcpPacket(e ends, flags uint8, seq, ack uint32, data []byte, options ...packetOption) packet.IPv4 {
	s := packet.TCP(tcpSegment(e.src, e.dst, flags, nil, data))
	binary.BigEndian.PutUint16(s, e.sport)
	binary.BigEndian.PutUint16(s[2:], e.dport)
	s.SetSeq(seq)
	binary.BigEndian.PutUint32(s[8:], ack)
	binary.BigEndian.PutUint16(s[14:], 65535)
	s.SetChecksum(0)
	s.SetChecksum(^packet.Fold(packet.Sum(s, packet.PseudoHeaderSum(e.src, e.dst, packet.ProtoTCP, len(s)))))
	return ipPacket(e.src, e.dst, packet.ProtoTCP, s, options...)
}

// echo is an ICMP echo request or reply with an identifier.
func echo(src, dst packet.Addr, kind uint8, id uint16, data []byte, options ...packetOption) packet.IPv4 {
	m := packet.ICMP(make([]byte, packet.ICMPLen+len(data)))
	m.SetType(kind)
	m.SetRest(uint32(id)<<16 | 7)
	copy(m.Payload(), data)
	m.SetChecksum(packet.Checksum(m))
	return ipPacket(src, dst, packet.ProtoICMP, m, options...)
}

// icmpError quotes a packet as a host or router would that has received it.
func icmpError(src packet.Addr, kind, code uint8, rest uint32, quoted packet.IPv4) packet.IPv4 {
	m := packet.ICMP(make([]byte, packet.ICMPLen+len(quoted)))
	m.SetType(kind)
	m.SetCode(code)
	m.SetRest(rest)
	copy(m.Payload(), quoted)
	m.SetChecksum(packet.Checksum(m))
	return ipPacket(src, quoted.Src(), packet.ProtoICMP, m)
}

// good checks every sum of a whole packet, quoted ones included.
func good(t testing.TB, ip packet.IPv4) {
	t.Helper()
	if fault := ip.Validate(); fault != packet.HeaderGood {
		t.Fatalf("header fault %d", fault)
	}
	switch ip.Protocol() {
	case packet.ProtoICMP:
		if packet.Checksum(ip.Payload()) != 0 {
			t.Fatal("the ICMP sum is wrong")
		}
		if m := packet.ICMP(ip.Payload()); m.IsError() {
			quoted := packet.IPv4(m.Payload())
			if packet.Checksum(quoted.Header()) != 0 {
				t.Fatal("the quoted header's sum is wrong")
			}
			if quoted.TotalLen() == len(quoted) && (quoted.Protocol() == packet.ProtoTCP || quoted.Protocol() == packet.ProtoUDP) && !transportGood(quoted) {
				t.Fatal("the quoted packet's transport sum is wrong")
			}
		}
	case packet.ProtoUDP:
		if packet.UDP(ip.Payload()).Checksum() == 0 {
			return
		}
		fallthrough
	case packet.ProtoTCP:
		if !transportGood(ip) {
			t.Fatal("the transport sum is wrong")
		}
	}
}

// cross lets a packet arrive at one port and returns what leaves by another, complete.
func (b *natbed) cross(in PortID, ip packet.IPv4, out PortID) packet.IPv4 {
	b.t.Helper()
	b.arrive(in, append(packet.IPv4{}, ip...))
	got := b.one(out).ip
	good(b.t, got)
	return got
}

// refused checks that a packet that arrives is dropped, for this reason and no other.
func (b *natbed) refused(in PortID, ip packet.IPv4, why DropReason) {
	b.t.Helper()
	before := b.drops()
	b.arrive(in, append(packet.IPv4{}, ip...))
	b.none()
	for name, n := range b.drops() {
		want := before[name]
		if name == why.String() {
			want++
		}
		if n != want {
			b.t.Fatalf("drops: %v, before %v; want one more for %v", b.drops(), before, why)
		}
	}
	if b.drops()[why.String()] != before[why.String()]+1 {
		b.t.Fatalf("drops: %v, want one more for %v", b.drops(), why)
	}
}

// connect opens a TCP connection from inside to the server and returns its outside ends as the server sees them.
func (b *natbed) connect(e ends, in, out PortID) ends {
	b.t.Helper()
	seen := endsOf(b.cross(in, tcpPacket(e, packet.TCPSyn, 100, 0, nil), out))
	b.cross(out, tcpPacket(seen.back(), packet.TCPSyn|packet.TCPAck, 900, 101, nil), in)
	b.cross(in, tcpPacket(e, packet.TCPAck, 101, 901, nil), out)
	return seen
}
