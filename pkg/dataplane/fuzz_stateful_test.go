package dataplane

import (
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/internal/reassembly"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/firewall"
)

// statefulBeds are the configurations that FuzzStateful lets frames into.
func statefulBed(t testing.TB, kind uint8) *natbed {
	o := natOptions{rules: plainToo(), forwards: web(), helpFTP: true, sessions: conntrack.Config{Loose: kind&4 != 0}}
	switch kind & 3 {
	case 1:
		o.firewall = home()
	case 2:
		log := rule("inside", "outside", 0, 0, firewall.Reject)
		log.Log = true
		log.Match.DestPorts = []firewall.PortRange{{Min: 1, Max: 30}}
		no := rule("", "", packet.ProtoUDP, 99, firewall.Drop)
		no.In = uint16(portA)
		o.firewall = home(log)
		o.firewall.Access = []firewall.Rule{no}
	case 3:
		o.rules, o.forwards = nil, nil
	}
	o.tables = func(t *Tables) {
		t.SourceRoute = kind&8 != 0
		t.Ports[portB].MTU, t.Ports[portPlain].MTU = 700, 600
		t.Ports[portA].MSSClamp = 1000
	}
	return newNATbed(t, o)
}

// FuzzStateful lets any octets arrive at a router with sessions, after some that it knows: nothing panics, what leaves is
// a valid packet, no inside address leaves by an outside port, and every reference to a mapping is given back.
func FuzzStateful(f *testing.F) {
	seen := ends{wan, hostB, 5000, 53}
	tcp := ends{inner, hostB, 40000, 80}
	add := func(kind uint8, id PortID, frame []byte) { f.Add(kind, uint8(id-portA), frame) }
	for kind := range uint8(16) {
		for _, dst := range []packet.Addr{hostB, addr("10.4.0.2"), wan, addr("10.2.0.77"), addr("10.2.0.255"), addr("172.16.1.1"), packet.Broadcast, addr("224.0.0.9"), addr("9.9.9.9")} {
			add(kind, portA, frameFor(portA, udpPacket(ends{inner, dst, 5000, 21}, numbered(900))))
			add(kind, portA, frameFor(portA, tcpPacket(ends{inner, dst, 40001, 21}, packet.TCPSyn, 1, 0, nil)))
			add(kind, portB, frameFor(portB, tcpPacket(ends{hostB, dst, 9, 80}, packet.TCPSyn, 1, 0, nil)))
		}
		add(kind, portB, frameFor(portB, udpPacket(seen.back(), numbered(200))))
		add(kind, portB, frameFor(portB, icmpError(peer, 3, 4, 500, udpPacket(seen, numbered(100)))))
		add(kind, portA, frameFor(portA, icmpError(inner, 3, 3, 0, udpPacket(ends{hostB, inner, 53, 5000}, numbered(100)))))
		add(kind, portA, frameFor(portA, tcpPacket(tcp, packet.TCPAck, 101, 901, numbered(30))))
		ip, v := superTCP(inner, hostB, packet.TCPAck, nil, numbered(5000), 900)
		add(kind, portA, frameFor(portA, ip, v))
		for _, part := range cut(udpPacket(ends{inner, hostB, 5000, 53}, numbered(3000)), 1480) {
			add(kind, portA, frameFor(portA, part))
		}
		add(kind, portA, frameFor(portA, echo(inner, hostB, 8, 3, numbered(1000))))
	}
	f.Fuzz(func(t *testing.T, kind, port uint8, frame []byte) {
		id := portA + PortID(port)%(numPorts-1)
		if len(frame) == 0 || len(frame) > 60000 {
			return
		}
		b := statefulBed(t, kind)
		b.arrive(portA, udpPacket(ends{inner, hostB, 5000, 53}, nil))
		b.arrive(portA, tcpPacket(tcp, packet.TCPSyn, 100, 0, nil))
		b.arrive(portB, tcpPacket(ends{hostB, wan, 80, 40000}, packet.TCPSyn|packet.TCPAck, 900, 101, nil))
		check := func() {
			for out := portA; out < numPorts; out++ {
				for _, s := range b.all(out) {
					if mtu := b.d.tables.Load().Ports[out].MTU; len(s.ip) > mtu && !s.vnet.IsSuper() {
						t.Fatalf("%d octets left by a port with an MTU of %d", len(s.ip), mtu)
					}
					if b.d.Tables().Stateful.outside(uint16(out)) && id == portA && s.ip.Src() == inner {
						t.Fatalf("an inside address left by outside port %d: % x", out, []byte(s.ip))
					}
				}
			}
		}
		check()
		for b.popAll(func(*Punt) {}) {
		}
		fix(frame, id)
		for range 2 {
			before := b.fate()
			b.receive(id, frame)
			check()
			if b.fate() == before {
				t.Fatalf("the frame vanished: drops %v", b.drops())
			}
			rounds := 0
			for b.popAll(func(p *Punt) {
				switch p.Reason {
				case PuntError, PuntHeldSYN:
					if e := packet.IPv4(ICMPError(p, addr("10.1.0.1"))); e.Validate() != packet.HeaderGood {
						t.Fatalf("ICMP error % x", []byte(e))
					}
				case PuntReset:
					if r := TCPReset(p); r != nil {
						good(t, r)
						b.d.Control().Output(r)
					}
				case PuntHelper:
					b.d.Control().ForwardHelped(p)
				case PuntResolve, PuntRouterAlert:
					b.d.Control().Forward(p)
				}
			}) {
				if rounds++; rounds > 3 {
					break // what waits for a neighbour would come round for ever
				}
			}
			check()
			b.d.Changed()
		}
		b.clock += 8000e9
		for rounds := 0; b.sessions.Len() > 0; rounds++ {
			b.sessions.Expire(conntrack.TickOf(b.clock), 1000)
			if rounds > 1000 {
				t.Fatalf("%d sessions do not end", b.sessions.Len())
			}
		}
		if n := b.mappings.Counts().Mappings; n != 0 {
			t.Fatalf("%d mappings without a session", n)
		}
	})
}

// fate grows with all that may become of a frame.
func (b *natbed) fate() (n uint64) {
	f := b.fates()
	n = f.dropped + f.sent + f.waiting + b.d.FragmentCount(reassembly.Held) + b.d.FragmentCount(reassembly.Duplicate)
	for _, p := range b.d.Counters().Punts {
		n += p
	}
	return n
}

// popAll takes the punts that wait now, and reports whether there were any.
func (b *natbed) popAll(f func(*Punt)) bool {
	var list []Punt
	for {
		p, ok := b.d.NextPunt()
		if !ok {
			break
		}
		list = append(list, p)
	}
	for i := range list {
		f(&list[i])
	}
	return len(list) > 0
}
